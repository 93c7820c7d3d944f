/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/svm_checks.c - the consistency checks of VMRUN through a real VMRUN (APM2 15.5.1,
 * 15.20, 15.25.4; docs/kvm-svm.md 4.2-4.5): verdict, exit code -1, and L1 as it was.
 */
/* Run: build/standin run -- build/tests/guest/guest_svm_checks [NAME...] */
#include <stdlib.h>
#include <sys/ioctl.h>

#include "tests/guest/harness/svm.h"
#include "tests/unit/svm_border.h"

/* HLT: the intercept of VMMCALL may be what a test takes away. */
CODE64(call, "vmmcall\n hlt\n jmp .");

static u64 top_of_physical(const struct svm_guest *s)
{
	for (u32 i = 0; i < s->g->cpuid->nent; i++)
		if (s->g->cpuid->entries[i].function == 0x80000008)
			return BIT64(s->g->cpuid->entries[i].eax & 0xff);
	return BIT64(36);
}

#define same(a, b) (!memcmp(&(a), &(b), sizeof(a)))

/* VMRUN must be refused, and nothing else may have happened. */
static void refused(struct svm_guest *s, const char *what)
{
	struct kvm_sregs before = cpu_sregs(s->c), after;
	struct kvm_regs r = cpu_regs(s->c);
	struct vmcb_save save = *s->save;
	struct stop st;

	s->ctl->exit_info_1 = s->ctl->exit_info_2 = 0x1234;
	s->ctl->exit_int_info = 0x5678;
	st = svm_run(s);
	if (!CHECK_EXIT(s, st, SVM_EXIT_INVALID))
		printf("# ... %s\n", what);
	CHECK_EQ(s->ctl->exit_info_1, 0);
	CHECK_EQ(s->ctl->exit_info_2, 0);
	CHECK_EQ(s->ctl->event_inj, 0);
	CHECK_EQ(s->ctl->event_inj_err, 0);
	CHECK_EQ(s->ctl->exit_int_info, 0x5678);
	after = cpu_sregs(s->c);
	CHECK(same(before, after));
	CHECK(same(save, *s->save));
	/* Everything but RIP, which is behind VMRUN. */
	CHECK_EQ(st.r.rax, r.rax);
	CHECK_EQ(st.r.rbx, r.rbx);
	CHECK_EQ(st.r.rsp, r.rsp);
	CHECK_EQ(st.r.rflags, r.rflags);
	CHECK(!(nested_flags(s->c) & KVM_STATE_NESTED_GIF_SET));
}

static void runs(struct svm_guest *s, const char *what)
{
	struct stop st = svm_run(s);

	if (!CHECK_EXIT(s, st, SVM_EXIT_VMMCALL))
		printf("# ... %s\n", what);
}

#define REFUSED(s, change) do { svm_rewind(s); change; refused(s, #change); } while (0)
#define RUNS(s, change) do { svm_rewind(s); change; runs(s, #change); } while (0)

T(save, "save area: every rule refuses, the value beside it runs")
{
	struct svm_guest s = svm_with(call);
	struct vmcb_save *v = s.save;
	u64 top = top_of_physical(&s);

	RUNS(&s, (void)0);
	REFUSED(&s, v->efer &= ~BIT64(12));
	REFUSED(&s, v->cr0 |= BIT64(29));
	RUNS(&s, v->cr0 |= BIT64(30));
	RUNS(&s, v->cr0 |= BIT64(29) | BIT64(30));
	REFUSED(&s, v->cr4 &= ~BIT64(5));
	REFUSED(&s, v->cr0 &= ~BIT64(0));
	REFUSED(&s, v->cs.attrib |= 0x400);
	REFUSED(&s, v->cr3 |= top);
	for (u32 bit = 32; bit < 64; bit++) {
		REFUSED(&s, v->cr0 |= BIT64(bit));
		REFUSED(&s, v->dr6 |= BIT64(bit));
		REFUSED(&s, v->dr7 |= BIT64(bit));
		REFUSED(&s, v->cr4 |= BIT64(bit));
		REFUSED(&s, v->efer |= BIT64(bit));
	}
	for (u32 bit = 52; bit < 64; bit++)
		REFUSED(&s, v->cr3 |= BIT64(bit));
	REFUSED(&s, v->efer |= BIT64(9));
	REFUSED(&s, v->cr4 |= BIT64(23));
	/* Ignored. */
	RUNS(&s, v->cr3 |= 0xfe7);
	RUNS(&s, v->efer &= ~BIT64(10));
}

T(unchecked, "not checked: descriptor table and segment bases, CPL, TLB control, G_PAT")
{
	struct svm_guest s = svm_with(call);
	struct vmcb_save *v = s.save;

	RUNS(&s, v->es.base = v->ss.base = v->ds.base = BIT64(62));
	RUNS(&s, v->gdtr.base = BIT64(62));
	RUNS(&s, v->idtr.base = BIT64(62));
	RUNS(&s, v->cs.base = BIT64(62));
	RUNS(&s, v->g_pat = ~0ull);
	for (u32 i = 0; i < 8; i++)
		RUNS(&s, s.ctl->tlb_ctl = (u8)i);
	RUNS(&s, s.ctl->asid = 0xffffffff);
	RUNS(&s, s.ctl->clean = ~0u);
}

T(control, "control area: intercept of VMRUN, ASID, nCR3, V_NMI")
{
	struct svm_guest s = svm_with(call);
	u64 top = top_of_physical(&s);

	REFUSED(&s, vmcb_clear_intercept(s.ctl, SVM_I_VMRUN));
	REFUSED(&s, s.ctl->asid = 0);
	REFUSED(&s, (svm_npt(&s), s.ctl->ncr3 |= top));
	REFUSED(&s, (svm_npt(&s), s.ctl->ncr3 |= BIT64(63)));
	RUNS(&s, s.ctl->ncr3 = ~0ull);
	RUNS(&s, svm_npt(&s));
	REFUSED(&s, s.ctl->int_ctl = SVM_V_NMI_ENABLE);
	RUNS(&s, (s.ctl->int_ctl = SVM_V_NMI_ENABLE, svm_want(&s, SVM_I_NMI)));
}

T(bitmaps, "permission maps: the last byte counts, the low 12 bits do not")
{
	struct svm_guest s = svm_with(call);
	u64 top = top_of_physical(&s);

	REFUSED(&s, s.ctl->msrpm = top - 0x1000);
	REFUSED(&s, s.ctl->msrpm = top);
	REFUSED(&s, s.ctl->iopm = top - 0x2000);
	REFUSED(&s, s.ctl->iopm = top - 0x1000);
	REFUSED(&s, s.ctl->iopm = ~0ull);
	RUNS(&s, s.ctl->iopm = top - 0x4000);
	RUNS(&s, s.ctl->iopm = top - 0x3000);
	RUNS(&s, s.ctl->iopm = top - 0x2000 - 2);
	RUNS(&s, (s.ctl->iopm = top - 0x3000, svm_want(&s, SVM_I_IOIO)));
	/* Legal but not memory: the MSR map is read when it is used. */
	RUNS(&s, s.ctl->msrpm = top - 0x2000);
	RUNS(&s, s.ctl->msrpm |= 0xfff);
	for (u32 i = 0; i < 2; i++) {

		svm_rewind(&s);
		svm_want(&s, SVM_I_MSR);
		s.ctl->msrpm = i ? G_RAM_SIZE - 0x1000 : top - 0x2000;
		SVM_EXITS(&s, SVM_EXIT_INVALID);
	}
}

/* CPUID with or without the features that make #CP and #VC exceptions. */
static void offer(struct guest *g, bool shstk, bool sev_es)
{
	static struct {
		struct kvm_cpuid2 hdr;
		struct kvm_cpuid_entry2 e[256];
	} c;
	u32 n = g->cpuid->nent;

	c.hdr.nent = n;
	memcpy(c.e, g->cpuid->entries, n * sizeof(c.e[0]));
	for (u32 i = 0; i < n; i++) {
		if (c.e[i].function == 7 && c.e[i].index == 0)
			c.e[i].ecx = (c.e[i].ecx & ~BIT(7)) | (shstk ? BIT(7) : 0);
		if (c.e[i].function == 0x80000000 && c.e[i].eax < 0x8000001f)
			c.e[i].eax = 0x8000001f;
	}
	c.e[c.hdr.nent++] = (struct kvm_cpuid_entry2){
		.function = 0x8000001f, .eax = sev_es ? BIT(3) : 0,
	};
	vcpu_ioctl(cpu0(g), KVM_SET_CPUID2, &c, "KVM_SET_CPUID2");
}

/* L2 handles what it is given with the stubs, or exits; back to L1 by its VMMCALL. */
static u64 inject(struct svm_guest *s, u32 event)
{
	struct stop st;

	svm_rewind(s);
	s->ctl->event_inj = event;
	s->ctl->event_inj_err = 0;
	/* INTn of a software event. */
	s->ctl->next_rip = G_L2;
	st = svm_run(s);
	if (st.kind == ST_EXC) {
		/* An NMI has vector 2 whatever is asked for. */
		CHECK_EQ(st.vec, svm_event_type(event) == SVM_EVENT_NMI ? 2 : event & 0xff);
		WITH_REGS(s->c, r) {
			r.rip = G_L2;
			r.rsp = G_L2_STACK;
		}
		st = svm_run(s);
	}
	if (st.kind != ST_OUT || st.port != PORT_L1) {
		test_fail(__FILE__, __LINE__, "event %#x: stopped by %s", event, stop_text(&st));
		return 0;
	}
	return s->ctl->exit_code;
}

static void all_events(bool shstk, bool sev_es)
{
	struct svm_guest s = svm_with(call);
	struct oracle_cpu cpu = { .shstk = shstk, .sev_es = sev_es };
	u32 valid = 0;

	offer(s.g, shstk, sev_es);
	for (u32 type = 0; type < 8; type++)
		for (u32 vec = 0; vec < 256; vec++) {
			u32 ev = BIT(31) | type << 8 | vec;
			bool ok = oracle_event_type_ok(ev) && oracle_event_vector_ok(&cpu, ev);
			u64 code = inject(&s, ev);

			if (code != (ok ? SVM_EXIT_VMMCALL : SVM_EXIT_INVALID))
				test_fail(__FILE__, __LINE__, "type %u vector %u: exit %llx", type,
					  vec, (unsigned long long)code);
			valid += ok;
		}
	CHECK_EQ(valid, 3 * 256 + 19 + shstk + sev_es);
}

T(events, "EVENTINJ: 8 types x 256 vectors, a CPU without #CP and #VC")
{
	all_events(false, false);
}

T(events_shstk, "... with SHSTK: #CP")
{
	all_events(true, false);
}

T(events_sev_es, "... with SEV-ES: #VC")
{
	all_events(false, true);
}

T(events_both, "... with both")
{
	all_events(true, true);
}

T(event_reserved,
  "EVENTINJ: reserved bits and the error-code bit take no part; not valid, not looked at")
{
	struct svm_guest s = svm_with(call);

	CHECK_EQ(inject(&s, 0xfffff800 | 3 << 8 | 6), SVM_EXIT_VMMCALL);
	CHECK_EQ(inject(&s, 0xfffff800 | 3 << 8 | 2), SVM_EXIT_INVALID);
	CHECK_EQ(inject(&s, 0xfffff800 | 5 << 8 | 6), SVM_EXIT_INVALID);
	CHECK_EQ(inject(&s, 0x7fffffff), SVM_EXIT_VMMCALL);
}

/* -- found after the switch: CR3 and PDPTEs outside long mode -- */

#define PDPT G_SVM_DATA
#define PD (G_SVM_DATA + 0x1000)

/* L2 in 32-bit protected mode with PAE paging, everything mapped to itself. */
static void pae(struct svm_guest *s)
{
	struct guest *g = s->g;

	for (u32 i = 0; i < 4; i++)
		*g64(g, PDPT + 8 * i) = (PD + 0x1000 * i) | 1;
	for (u32 i = 0; i < 2048; i++)
		*g64(g, PD + 8 * i) = (u64)i << 21 | 0x83;
	s->save->efer = BIT64(12);
	s->save->cs.attrib = 0xc9b;
	s->save->cr3 = PDPT;
}

static void pae_late(struct svm_guest *s, const char *what)
{
	struct kvm_sregs before = cpu_sregs(s->c), after;
	struct stop st = svm_run(s);

	if (!CHECK_EXIT(s, st, SVM_EXIT_INVALID))
		printf("# ... %s\n", what);
	CHECK_EQ(s->ctl->exit_info_1, 0);
	CHECK_EQ(s->ctl->exit_info_2, 0);
	CHECK_EQ(s->save->rip, G_L2);
	after = cpu_sregs(s->c);
	CHECK(same(before, after));
	CHECK(!(nested_flags(s->c) & KVM_STATE_NESTED_GIF_SET));
}

T(pae, "PAE without nested paging: CR3 and reserved bits of any PDPTE")
{
	struct svm_guest s = svm_with(call);
	u64 top = top_of_physical(&s);

	RUNS(&s, pae(&s));
	RUNS(&s, (pae(&s), s.save->cr3 |= 0x1f));
	svm_rewind(&s);
	pae(&s);
	s.save->cr3 |= top;
	pae_late(&s, "CR3");
	for (u32 i = 0; i < 4; i++) {
		static const u8 bits[] = { 1, 2, 5, 6, 7, 8, 52, 60, 62, 63 };

		for (u32 b = 0; b < sizeof(bits); b++) {
			svm_rewind(&s);
			pae(&s);
			*g64(s.g, PDPT + 8 * i) |= BIT64(bits[b]);
			pae_late(&s, "PDPTE");
		}
		RUNS(&s, (pae(&s), *g64(s.g, PDPT + 8 * i) |= 7 << 9));
		/* Not present: nothing of it is reserved. */
		if (i)
			RUNS(&s, (pae(&s), *g64(s.g, PDPT + 8 * i) = ~1ull));
	}
	/* Real mode: CR3 is loaded all the same. */
	svm_rewind(&s);
	s.save->cr0 = 0x10;
	s.save->efer = BIT64(12);
	s.save->cr3 = top;
	pae_late(&s, "CR3 in real mode");
}

T(pae_npt, "PAE with nested paging: PDPTEs are read when they are walked")
{
	struct svm_guest s = svm_with(call);

	RUNS(&s, (svm_npt(&s), pae(&s)));
	for (u32 i = 1; i < 4; i++)
		RUNS(&s, (svm_npt(&s), pae(&s), *g64(s.g, PDPT + 8 * i) |= 2));
	svm_rewind(&s);
	svm_npt(&s);
	pae(&s);
	svm_want(&s, SVM_I_EXCP + 14);
	s.ctl->tlb_ctl = SVM_TLB_ASID;
	*g64(s.g, PDPT) |= BIT64(62);
	SVM_EXITS(&s, SVM_EXIT_EXCP + 14);
	CHECK_EQ(s.ctl->exit_info_1 & 9, 9);
	CHECK_EQ(s.ctl->exit_info_2, G_L2);
}

/* -- the border, by real VMRUNs -- */

#define BORDER_RUNS 60000

static struct oracle_cpu this_cpu(const struct svm_guest *s)
{
	struct guest *g = s->g;
	/* VME PVI TSD DE PSE PAE MCE PGE PCE OSFXSR OSXMMEXCPT are everybody's. */
	u64 cr4 = 0x7ff;
	struct { u32 leaf; int reg, bit, cr4; } by[] = {
		{ 7, 2, 2, 11 }, { 7, 1, 0, 16 }, { 1, 2, 17, 17 }, { 1, 2, 26, 18 },
		{ 7, 1, 7, 20 }, { 7, 1, 20, 21 }, { 7, 2, 3, 22 }, { 7, 2, 16, 12 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(by); i++)
		if (guest_has(g, by[i].leaf, by[i].reg, by[i].bit))
			cr4 |= BIT64(by[i].cr4);
	return (struct oracle_cpu){
		.npt = guest_has(g, 0x8000000a, 3, 0), .avic = guest_has(g, 0x8000000a, 3, 13),
		.shstk = guest_has(g, 7, 2, 7), .phys_bits = __builtin_ctzll(top_of_physical(s)),
		.cr4_allowed = cr4,
		.efer_allowed = 0x1d01 | (guest_has(g, 0x80000021, 0, 8) ? BIT64(21) : 0) |
				(guest_has(g, 0x80000001, 3, 25) ? BIT64(14) : 0),
	};
}

T(border, "60000 VMCBs near the border: refused exactly when the independent rules say so")
{
	struct svm_guest s = svm_with(call);
	struct oracle_cpu cpu = this_cpu(&s);
	u32 invalid = 0;

	for (u32 n = 0; n < BORDER_RUNS; n++) {
		bool pdptes, is_invalid;
		char want[32];
		struct stop st;

		svm_rewind(&s);
		if (n & 1)
			svm_npt(&s);
		if (n & 2)
			s.save->cs.attrib ^= 0x600;
		/* Whatever L2 does, L1 gets to see it. */
		s.ctl->intercept[2] = ~0u;
		s.ctl->intercept[3] = BIT(31) | BIT(27) | BIT(24);
		memset(s.g->ram + G_IOPM, 0xff, 0x3000);
		border_move((u8 *)s.vmcb, &cpu, 1 + below(3));
		oracle(&cpu, (u8 *)s.vmcb, want);
		/* What the MSR map and the PDPTEs hold is not the rules' business. */
		vmcb_clear_intercept(s.ctl, SVM_I_MSR);
		pdptes = (s.save->cr0 & BIT64(31)) && (s.save->cr4 & BIT64(5)) &&
			 !(s.save->efer & BIT64(8)) && !(s.ctl->misc_ctl & 1);
		st = svm_run(&s);
		if (st.kind != ST_OUT || st.port != PORT_L1) {
			/* An intercept was among what was moved: L2 has run, take it away. */
			struct kvm_nested_state leave = {
				.format = KVM_STATE_NESTED_FORMAT_SVM, .size = sizeof(leave),
			};

			s.ctl->exit_code = 0;
			vcpu_ioctl(s.c, KVM_SET_NESTED_STATE, &leave, "KVM_SET_NESTED_STATE");
			st = svm_run(&s);
			if (st.kind != ST_OUT || st.port != PORT_L1) {
				test_fail(__FILE__, __LINE__, "VMCB %u: then %s", n,
					  stop_text(&st));
				return;
			}
		}
		is_invalid = s.ctl->exit_code == SVM_EXIT_INVALID;
		if (is_invalid != !!want[0] && !(pdptes && is_invalid)) {
			test_fail(__FILE__, __LINE__, "VMCB %u: exit %llx, rules broken: \"%s\"", n,
				  (unsigned long long)s.ctl->exit_code, want);
			return;
		}
		invalid += !!want[0];
	}
	CHECK(invalid > BORDER_RUNS / 8 && invalid < BORDER_RUNS * 7 / 8);
}
