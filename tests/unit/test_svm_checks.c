/* SPDX-License-Identifier: MIT */
/* tests/unit/test_svm_checks.c - which VMCBs VMRUN refuses, and what it says about it. */
/* Run: build/tests/unit/test_svm_checks [NAME...] */

#include "tests/unit/unit.h"

#include "engine/cpu.h"
#include "svm/checks.h"
#include "svm_oracle.h"

#define CR4_ALLOWED 0x3f07ffull		/* all up to OSXMMEXCPT, FSGSBASE..SMAP but no UMIP */
#define EFER_ALLOWED (EFER_SCE | EFER_LME | EFER_LMA | EFER_NX | EFER_SVME)

static struct svm_caps caps(u64 features)
{
	struct svm_caps k = {
		.maxphyaddr = 48, .cr4_reserved = ~CR4_ALLOWED, .efer_reserved = ~EFER_ALLOWED,
	};

	svm_caps_features(&k, features);
	return k;
}

#define NPT BIT64(SVM_FEAT_NPT)
#define TOP BIT64(48)

/* A 64-bit guest with nested paging that every rule is content with. */
static struct vmcb good(void)
{
	static struct vmcb v;

	memset(&v, 0, sizeof(v));
	vmcb_set_intercept(&v.control, SVM_I_VMRUN);
	v.control.asid = 1;
	v.control.misc_ctl = SVM_NP_ENABLE;
	v.control.ncr3 = 0x5000;
	v.control.msrpm = 0x10000;
	v.control.iopm = 0x12000;
	v.save.efer = EFER_SVME | EFER_LME | EFER_LMA | EFER_NX;
	v.save.cr0 = CR0_PE | CR0_ET | CR0_PG;
	v.save.cr3 = 0x3000;
	v.save.cr4 = CR4_PAE;
	v.save.cs.attrib = SEG_P | SEG_S | SEG_CODE | SEG_RW | SEG_L;
	v.save.dr6 = 0xffff0ff0;
	v.save.dr7 = 0x400;
	v.save.g_pat = 0x0007040600070406ull;
	return v;
}

static const char *const rule_names[] = {
#define X(id, ...) #id,
	SVM_RULES(X)
#undef X
};

/* The first rule that VMRUN reports for *v: the save area is looked at first. */
static const char *refusal(const struct svm_caps *k, const struct vmcb *v)
{
	struct vmcb_control ctl;
	struct svm_refusal why;

	svm_sanitize(k, &ctl, &v->control);
	if (svm_check_save(k, &ctl, &v->save, &why) || svm_check_control(k, &ctl, &why) ||
	    svm_check_late(k, &v->save, &why)) {
		assert_string_equal(why.name, rule_names[why.rule]);
		return why.name;
	}
	return "runs";
}

#define expect(k, v, what) assert_string_equal(refusal(&(k), &(v)), what)

/* -- EVENTINJ (APM2 15.20) -- */

static const u64 event_features[] = {
	0, BIT64(SVM_FEAT_SHSTK), BIT64(SVM_FEAT_SEV_ES),
	BIT64(SVM_FEAT_SHSTK) | BIT64(SVM_FEAT_SEV_ES),
};

T(eventinj_types_vectors_features)
{
	u32 valid[4] = { 0 };

	for (u32 f = 0; f < 4; f++) {
		struct svm_caps k = caps(event_features[f] | NPT);
		struct oracle_cpu cpu = { .shstk = f & 1, .sev_es = f & 2 };

		for (u32 type = 0; type < 8; type++)
			for (u32 vec = 0; vec < 256; vec++) {
				struct vmcb v = good();
				u32 ev = 0x80000000u | type << 8 | vec;
				const char *want = "runs";

				if (!oracle_event_type_ok(ev))
					want = "EVENT_TYPE";
				else if (!oracle_event_vector_ok(&cpu, ev))
					want = "EVENT_VECTOR";
				else
					valid[f]++;
				v.control.event_inj = ev;
				expect(k, v, want);
				/* The error-code bit and its code take no part. */
				v.control.event_inj = ev | BIT(11);
				v.control.event_inj_err = ~0u;
				expect(k, v, want);
				/* Reserved bits 30:12 are ignored, whatever they are. */
				v.control.event_inj = ev | 0x7ffff000u;
				expect(k, v, want);
				/* Without the valid bit nothing is looked at. */
				v.control.event_inj = ev & ~BIT(31);
				expect(k, v, "runs");
			}
	}
	/* INTR, NMI and SOFT take 256 vectors each; of exceptions there are 19. */
	assert_int_equal(valid[0], 3 * 256 + 19);
	assert_int_equal(valid[1], 3 * 256 + 20);
	assert_int_equal(valid[2], 3 * 256 + 20);
	assert_int_equal(valid[3], 3 * 256 + 21);
}

T(eventinj_reserved_bits_one_by_one)
{
	struct svm_caps k = caps(NPT);

	for (u32 bit = 12; bit < 31; bit++) {
		struct vmcb v = good();
		struct vmcb_control ctl;

		v.control.event_inj = 0x80000300u | BIT(bit) | EXC_UD;
		expect(k, v, "runs");
		svm_sanitize(&k, &ctl, &v.control);
		assert_int_equal(ctl.event_inj, 0x80000300u | EXC_UD);
		v.control.event_inj = 0x80000300u | BIT(bit) | EXC_NMI;
		expect(k, v, "EVENT_VECTOR");
	}
}

/* Seed pitfall: the vector's number is not a mask. #DB is bit 1 = 2 = NMI's number. */
T(eventinj_nmi_is_no_exception_but_db_is)
{
	struct svm_caps k = caps(NPT);
	struct vmcb v = good();

	v.control.event_inj = 0x80000300u | 2;
	expect(k, v, "EVENT_VECTOR");
	v.control.event_inj = 0x80000300u | 1;
	expect(k, v, "runs");
	v.control.event_inj = 0x80000300u | 20;
	expect(k, v, "EVENT_VECTOR");
	v.control.event_inj = 0x80000300u | 9;
	expect(k, v, "EVENT_VECTOR");
	v.control.event_inj = 0x80000300u;
	expect(k, v, "runs");
}

T(exceptions_of_the_table)
{
	u32 n = 0;

	for (u32 v = 0; v < 256; v++) {
		n += exc_name((u8)v) != NULL;
		assert_int_equal(exc_name((u8)v) != NULL, v < 32 && (EXC_MASK >> v & 1));
		assert_true(!exc_has_error((u8)v) || exc_name((u8)v));
	}
	assert_int_equal(n, EXC_ROWS);
	assert_string_equal(exc_name(14), "PF");
	/* APM2 8.2: error codes */
	for (u32 v = 0; v < 32; v++)
		assert_int_equal(exc_has_error((u8)v), v == 8 || (v >= 10 && v <= 14) || v == 17 ||
							       v == 21 || v == 29 || v == 30);
	assert_int_equal(exc_mask_of(EXC_SHSTK), BIT(21));
	assert_int_equal(exc_mask_of(EXC_SEV_ES), BIT(29));
}

/* -- save area, one test a rule -- */

#define SAVE_RULE(test, rule, setup) \
	T(test) \
	{ \
		struct svm_caps k = caps(NPT); \
		struct vmcb v = good(); \
		expect(k, v, "runs"); \
		setup; \
		expect(k, v, rule); \
	}

SAVE_RULE(efer_svme_must_be_set, "SVME", v.save.efer &= ~EFER_SVME)
SAVE_RULE(cr0_nw_without_cd, "CACHE", v.save.cr0 |= CR0_NW)
SAVE_RULE(cr0_nw_with_cd_runs, "runs", v.save.cr0 |= CR0_NW | CR0_CD)
SAVE_RULE(cr0_cd_alone_runs, "runs", v.save.cr0 |= CR0_CD)
SAVE_RULE(long_mode_needs_pae, "LM_PAE", v.save.cr4 &= ~CR4_PAE)
SAVE_RULE(long_mode_needs_pe, "LM_PE", v.save.cr0 &= ~CR0_PE)
SAVE_RULE(paging_without_pe_outside_long_mode_runs, "runs",
	  (v.save.cr0 &= ~CR0_PE, v.save.efer &= ~(EFER_LME | EFER_LMA)))
SAVE_RULE(lma_takes_no_part, "runs", v.save.efer &= ~EFER_LMA)
SAVE_RULE(cs_l_and_d, "LM_CS", v.save.cs.attrib |= SEG_DB)
SAVE_RULE(cs_l_and_d_outside_long_mode_runs, "runs",
	  (v.save.cs.attrib |= SEG_DB, v.save.efer &= ~(EFER_LME | EFER_LMA)))
SAVE_RULE(rip_flags_and_bases_are_not_checked, "runs",
	  (v.save.rip = v.save.gdtr.base = v.save.idtr.base = v.save.cs.base = v.save.ds.base =
	   v.save.es.base = v.save.ss.base = BIT64(63), v.save.rflags = ~0ull, v.save.cpl = 0xff,
	   v.save.ss.attrib = 0xffff, v.save.cr2 = ~0ull))

T(every_high_bit)
{
	struct svm_caps k = caps(NPT);

	for (u32 bit = 32; bit < 64; bit++) {
		struct vmcb v = good();

		v.save.cr0 |= BIT64(bit);
		expect(k, v, "CR0_HIGH");
		v = good();
		v.save.dr6 |= BIT64(bit);
		expect(k, v, "DR6_HIGH");
		v = good();
		v.save.dr7 |= BIT64(bit);
		expect(k, v, "DR7_HIGH");
	}
	for (u32 bit = 0; bit < 32; bit++) {
		struct vmcb v = good();

		v.save.dr6 ^= BIT64(bit);
		v.save.dr7 ^= BIT64(bit);
		expect(k, v, "runs");
	}
}

T(every_cr4_and_efer_bit)
{
	struct svm_caps k = caps(NPT);

	for (u32 bit = 0; bit < 64; bit++) {
		struct vmcb v = good();

		v.save.cr4 |= BIT64(bit);
		expect(k, v, CR4_ALLOWED & BIT64(bit) ? "runs" : "CR4_RESERVED");
		v = good();
		v.save.efer |= BIT64(bit);
		expect(k, v, EFER_ALLOWED & BIT64(bit) ? "runs" : "EFER_RESERVED");
	}
}

T(every_cr3_bit)
{
	for (u32 width = 36; width <= 52; width++) {
		struct svm_caps k = caps(NPT);

		k.maxphyaddr = (u8)width;
		for (u32 bit = 0; bit < 64; bit++) {
			struct vmcb v = good();

			v.save.cr3 = BIT64(bit);
			expect(k, v, bit < width ? "runs" : "LM_CR3");
			/* The same outside long mode, but found after the switch. */
			v.save.efer = EFER_SVME;
			expect(k, v, bit < width ? "runs" : "CR3");
			v.save.cr0 = 0;
			expect(k, v, bit < width ? "runs" : "CR3");
			v = good();
			v.control.ncr3 = BIT64(bit);
			expect(k, v, bit < width ? "runs" : "NCR3");
			v.control.misc_ctl = 0;
			expect(k, v, "runs");
		}
	}
}

/* Only when L2 has a PAT of its own (APM2 15.25.4). */
static const _Atomic u64 own_pat = QUIRK_NESTED_SVM_SHARED_PAT;

T(g_pat_types)
{
	for (u32 byte = 0; byte < 8; byte++)
		for (u32 type = 0; type < 256; type++) {
			bool ok = type < 8 && type != 2 && type != 3;
			struct svm_caps k = caps(NPT);
			struct vmcb v = good();

			v.save.g_pat &= ~(0xffull << (byte * 8));
			v.save.g_pat |= (u64)type << (byte * 8);
			expect(k, v, "runs");
			k.quirks_off = &own_pat;
			expect(k, v, ok ? "runs" : "G_PAT");
			v.control.misc_ctl = 0;
			expect(k, v, "runs");
		}
}

/* -- control area -- */

T(vmrun_must_be_intercepted)
{
	struct svm_caps k = caps(NPT);
	struct vmcb v = good();

	vmcb_clear_intercept(&v.control, SVM_I_VMRUN);
	expect(k, v, "VMRUN_INTERCEPT");
	memset(v.control.intercept, 0xff, sizeof(v.control.intercept));
	expect(k, v, "runs");
}

T(asid_zero)
{
	struct svm_caps k = caps(NPT);
	struct vmcb v = good();

	v.control.asid = 0;
	expect(k, v, "ASID");
	/* There is no check against the number of ASIDs, and all 32 bits count. */
	v.control.asid = 0x10000;
	expect(k, v, "runs");
}

T(np_enable_without_the_feature_is_ignored)
{
	struct svm_caps k = caps(0);
	struct vmcb v = good();

	v.control.ncr3 = ~0ull;
	expect(k, v, "runs");
}

T(vnmi_needs_the_nmi_intercept)
{
	struct svm_caps k = caps(NPT);
	struct vmcb v = good();

	v.control.int_ctl = SVM_V_NMI_ENABLE;
	expect(k, v, "VNMI_INTERCEPT");
	vmcb_set_intercept(&v.control, SVM_I_NMI);
	expect(k, v, "runs");
}

T(tlb_control_is_not_checked)
{
	struct svm_caps k = caps(NPT);
	struct vmcb v = good();

	for (u32 i = 0; i < 256; i++) {
		v.control.tlb_ctl = (u8)i;
		expect(k, v, "runs");
	}
}

T(avic_pointers_only_with_avic)
{
	struct svm_caps k = caps(NPT);
	struct vmcb v = good();

	v.control.avic_physical = TOP;
	v.control.int_ctl = SVM_AVIC_ENABLE;
	expect(k, v, "runs");
	svm_caps_features(&k, NPT | BIT64(SVM_FEAT_AVIC));
	expect(k, v, "AVIC_POINTER");
	v.control.avic_physical = 0xfff;
	expect(k, v, "runs");
	v.control.avic_logical = BIT64(63);
	expect(k, v, "AVIC_POINTER");
}

/* The save area is looked at before the control area. */
T(save_area_comes_first)
{
	struct svm_caps k = caps(NPT);
	struct vmcb v;

	memset(&v, 0, sizeof(v));
	expect(k, v, "SVME");
	v.save.efer = EFER_SVME;
	expect(k, v, "VMRUN_INTERCEPT");
}

/* -- what kvm-unit-tests' svm.flat expects -- */

T(kvm_unit_tests_bitmaps)
{
	struct svm_caps k = caps(NPT);
	static const struct {
		u64 msrpm, iopm;
		const char *want;
	} rows[] = {
		/* The map at the limit - 8 KiB is legal; that it is not backed is seen when
		 * it is read, so kvm-unit-tests's row is the caller's (SVM_RULE_MSRPM_READ). */
		{ TOP - 0x2000, 0, "runs" },  { TOP - 0x2000 + 1, 0, "runs" },
		{ TOP - 0x1000, 0, "MSRPM" }, { TOP, 0, "MSRPM" },
		{ ~0ull, 0, "MSRPM" },	      { 0, TOP - 0x4000, "runs" },
		{ 0, TOP - 0x3000, "runs" },  { 0, TOP - 0x2000 - 2, "runs" },
		{ 0, TOP - 0x2000, "IOPM" },  { 0, TOP - 0x1000, "IOPM" },
		{ 0, ~0ull, "IOPM" },
	};

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vmcb v = good();

		v.control.msrpm = rows[i].msrpm;
		v.control.iopm = rows[i].iopm;
		expect(k, v, rows[i].want);
		/* Whether or not the maps are used. */
		vmcb_set_intercept(&v.control, SVM_I_MSR);
		vmcb_set_intercept(&v.control, SVM_I_IOIO);
		expect(k, v, rows[i].want);
	}
}

T(kvm_unit_tests_cr3)
{
	struct svm_caps k = caps(NPT);
	struct vmcb v = good();

	for (u32 bit = 52; bit < 64; bit++) {
		v.save.cr3 = 0x3000 | BIT64(bit);
		expect(k, v, "LM_CR3");
	}
	/* Bits 11:5 and 2:0 are ignored in every mode. */
	v.save.cr3 = 0x3fe7;
	expect(k, v, "runs");
	v.save.efer = EFER_SVME;
	expect(k, v, "runs");
	v.save.cr4 = 0;
	expect(k, v, "runs");
}

T(kvm_unit_tests_cr4)
{
	struct svm_caps k = caps(NPT);

	k.cr4_reserved = ~0xf70fffull;
	for (u32 bit = 24; bit < 64; bit += 4) {
		struct vmcb v = good();

		v.save.cr4 |= BIT64(bit);
		expect(k, v, "CR4_RESERVED");
		v.save.efer = EFER_SVME;	/* also in legacy mode */
		expect(k, v, "CR4_RESERVED");
	}
}

/* -- sanitising (the copy that is checked) -- */

T(sanitise_field_by_field)
{
	static const struct {
		u32 off, len;
		u64 keep;
	} rows[] = {
		{ 0x3c, 2, ~0ull },
		{ 0x3e, 2, ~0ull },
		{ 0x40, 8, ~0xfffull },
		{ 0x48, 8, ~0xfffull },
		{ 0x50, 8, ~0ull },
		{ 0x58, 4, ~0ull },
		{ 0x5c, 1, 7 },
		{ 0x5d, 1, ~0ull },
		{ 0x60, 4, 0x3fffffff },
		{ 0x64, 4, 0xff },
		{ 0x68, 4, 1 },
		{ 0x70, 8, ~0ull },
		{ 0x78, 8, ~0ull },
		{ 0x80, 8, ~0ull },
		{ 0x88, 4, ~0ull },
		{ 0x8c, 4, ~0ull },
		{ 0x90, 8, 0 },
		{ 0x98, 8, ~0ull },
		{ 0xa8, 4, 0x80000fff },
		{ 0xac, 4, ~0ull },
		{ 0xb0, 8, ~0ull },
		{ 0xb8, 8, 0 },
		{ 0xc0, 4, ~0ull },
		{ 0xc8, 8, ~0ull },
		{ 0xe0, 8, ~0ull },
		{ 0xf0, 8, ~0ull },
		{ 0xf8, 8, ~0ull },
		{ 0x120, 4, ~0ull },
		/* Software's: svm/hyperv.c decides. */
		{ 0x3e0, 4, ~0ull },
		{ 0x3e4, 4, ~0ull },
		{ 0x3e8, 8, ~0ull },
		{ 0x3f0, 8, ~0ull },
	};
	struct svm_caps k = caps(0);
	static struct vmcb_control from, to;
	static u8 want[0x400];

	memset(&from, 0xff, sizeof(from));
	memset(&to, 0xa5, sizeof(to));
	memset(want, 0, sizeof(want));
	memset(want, 0xff, 24);
	/* Intercepts of SKINIT, RDTSCP, XSETBV, RDPRU and INVPCID, which this CPU lacks. */
	want[134 / 8] &= (u8) ~(1 << 134 % 8 | 1 << 135 % 8);
	want[141 / 8] &= (u8) ~(1 << 141 % 8 | 1 << 142 % 8);
	want[162 / 8] &= (u8) ~(1 << 162 % 8);
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		memcpy(want + rows[i].off, &rows[i].keep, rows[i].len);
	svm_sanitize(&k, &to, &from);
	for (u32 i = 0; i < sizeof(want); i++)
		if (((u8 *)&to)[i] != want[i])
			fail_msg("control+%#x is %#x, should be %#x", i, ((u8 *)&to)[i], want[i]);
}

T(sanitise_keeps_what_the_cpu_has)
{
	static struct vmcb_control from, to;
	struct svm_caps k = caps(~0ull);

	memset(&from, 0xff, sizeof(from));
	svm_sanitize(&k, &to, &from);
	for (u32 i = 0; i < 6; i++)
		assert_int_equal(to.intercept[i], ~0u);
	assert_int_equal(to.int_ctl, ~0u);
	assert_true(to.misc_ctl == (SVM_NP_ENABLE | SVM_GMET_ENABLE));
	assert_true(to.misc_ctl2 == (SVM_LBRV_ENABLE | SVM_VLS_ENABLE));
}

/* -- features come from the vCPU's CPUID and nowhere else -- */

static bool only_one(const void *arg, enum cpuid_feature f)
{
	return f == *(const u32 *)arg;
}

T(caps_follow_cpuid)
{
	static const u32 rows[][2] = {
		{ CPUID_F_SVM, SVM_FEAT_SVM }, { CPUID_F_SVM_NPT, SVM_FEAT_NPT },
		{ CPUID_F_SHSTK, SVM_FEAT_SHSTK }, { CPUID_F_SEV_ES, SVM_FEAT_SEV_ES },
		{ CPUID_F_SVM_AVIC, SVM_FEAT_AVIC }, { CPUID_F_SVM_X2AVIC, SVM_FEAT_X2AVIC },
		{ CPUID_F_SVM_VNMI, SVM_FEAT_VNMI }, { CPUID_F_XSAVE, SVM_FEAT_XSAVE },
	};
	const u32 common = exc_mask_of(EXC_ALWAYS);

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct svm_caps k = { 0 };

		svm_caps_set(&k, only_one, rows[i]);
		assert_true(k.features == BIT64(rows[i][1]));
		assert_int_equal(k.exceptions,
				 common | (rows[i][1] == SVM_FEAT_SHSTK ? BIT(21) : 0) |
					 (rows[i][1] == SVM_FEAT_SEV_ES ? BIT(29) : 0));
	}
}

/* -- text -- */

T(refusals_in_words)
{
	struct svm_caps k = caps(NPT);
	struct vmcb v = good();
	struct svm_refusal why;
	char buf[SVM_TEXT_MAX];
	size_t n;

	v.control.event_inj = 0x80000314;
	assert_int_equal(svm_check_control(&k, &v.control, &why), -22);
	n = svm_refusal_format(&why, buf);
	assert_string_equal(buf, "VMRUN refused: EVENTINJ type 3 vector 20 is not an exception "
				 "this CPU has (APM2 15.20)");
	assert_int_equal(n, strlen(buf));
	assert_int_equal(why.offset, 0xa8);
	assert_true(why.value == 0x80000314);

	v.control.event_inj = 0x80000505;
	svm_check_control(&k, &v.control, &why);
	svm_refusal_format(&why, buf);
	assert_string_equal(buf, "VMRUN refused: EVENTINJ type 5 vector 5 has a reserved type "
				 "(APM2 15.20)");
	v = good();
	v.save.cr4 = CR4_PAE | CR4_PKE;
	svm_check_save(&k, &v.control, &v.save, &why);
	svm_refusal_reason(&why, buf);
	assert_string_equal(buf, "CR4 0x400020 sets bits 0x400000 that this CPU reserves "
				 "(APM2 15.5.1)");
	assert_int_equal(why.offset, 0x548);
	/* The caller's own rules, and no place to report to. */
	assert_int_equal(svm_refuse(NULL, SVM_RULE_PDPTE, 0, 0), -22);
	svm_refuse(&why, SVM_RULE_MSRPM_READ, 0x10000, 0x11000);
	svm_refusal_reason(&why, buf);
	assert_string_equal(buf, "MSRPM_BASE_PA 0x10000: the map at 0x11000 is not backed by "
				 "memory (APM2 15.11)");
}

/* Every text ends within the buffer and has used all of its parts. */
T(every_rule_has_text)
{
	for (u32 r = 0; r < SVM_RULE_COUNT; r++) {
		struct svm_refusal why;
		char buf[SVM_TEXT_MAX];
		size_t n;

		svm_refuse(&why, r, ~0ull, ~0ull);
		n = svm_refusal_format(&why, buf);
		assert_int_equal(n, strlen(buf));
		assert_true(n < SVM_TEXT_MAX - 1);
		assert_null(strchr(buf, '$'));
		assert_string_equal(strrchr(buf, '(') + 1 + strlen(why.section), ")");
	}
}

T(long_text_is_cut)
{
	static char text[400];
	struct svm_refusal why;
	char buf[SVM_TEXT_MAX];

	memset(text, 'x', sizeof(text) - 1);
	svm_refuse(&why, SVM_RULE_ASID, 0, 0);
	why.text = text;
	assert_int_equal(svm_refusal_format(&why, buf), SVM_TEXT_MAX - 1);
	assert_int_equal(strlen(buf), SVM_TEXT_MAX - 1);
}

T(exit_names)
{
	char buf[32];

	assert_string_equal(svm_exit_name(0x80, buf), "VMRUN");
	assert_string_equal(svm_exit_name(0x4e, buf), "EXCP_PF");
	assert_string_equal(svm_exit_name(0x49, buf), "EXCP_9");
	assert_string_equal(svm_exit_name(0x14, buf), "CR_WRITE_4");
	assert_string_equal(svm_exit_name(0x2f, buf), "DR_READ_15");
	assert_string_equal(svm_exit_name(0x98, buf), "CR_WRITE_TRAP_8");
	assert_string_equal(svm_exit_name(0x400, buf), "NPF");
	assert_string_equal(svm_exit_name(0x402, buf), "AVIC_UNACCELERATED_ACCESS");
	assert_string_equal(svm_exit_name(~0ull, buf), "INVALID");
	assert_string_equal(svm_exit_name(0xa7, buf), "0xa7");
	assert_string_equal(svm_exit_name(0xffffffff, buf), "0xffffffff");
}

/* Numbers against the manual's appendix C, a sample of each word. */
T(intercept_numbers)
{
	struct vmcb_control c = { 0 };

	vmcb_set_intercept(&c, SVM_I_CR_WRITE + 3);
	vmcb_set_intercept(&c, SVM_I_EXCP + EXC_PF);
	vmcb_set_intercept(&c, SVM_I_MSR);
	vmcb_set_intercept(&c, SVM_I_VMMCALL);
	vmcb_set_intercept(&c, SVM_I_INVPCID);
	assert_int_equal(c.intercept[0], 1u << 19);
	assert_int_equal(c.intercept[2], 1u << 14);
	assert_int_equal(c.intercept[3], 1u << 28);
	assert_int_equal(c.intercept[4], 1u << 1);
	assert_int_equal(c.intercept[5], 1u << 2);
	assert_int_equal(SVM_EXIT_VMMCALL, 0x81);
	assert_int_equal(SVM_EXIT_INVPCID, 0xa2);
	assert_int_equal(SVM_EXIT_SHUTDOWN, 0x7f);
	assert_int_equal(svm_msrpm_bit(0x10), 0x20);
	assert_int_equal(svm_msrpm_bit(0x1fff), 0x3ffe);
	assert_int_equal(svm_msrpm_bit(0x2000), -1);
	assert_int_equal(svm_msrpm_bit(0xc0000080), 0x4100);
	assert_int_equal(svm_msrpm_bit(0xc0011fff), 0xbffe);
	assert_int_equal(svm_msrpm_bit(0xc0012000), -1);
}
