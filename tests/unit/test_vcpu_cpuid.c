/* SPDX-License-Identifier: MIT */
/* tests/unit/test_vcpu_cpuid.c - the CPUID table, look-up rules, what follows from CPUID. */
/* Run: build/tests/unit/test_vcpu_cpuid [NAME...] */
#include "engine/xstate.h"
#include "vcpu_rig.h"

static void host(u32 leaf, u32 sub, u32 out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
			 : "a"(leaf), "c"(sub));
}

static void ask(u32 leaf, u32 sub, u32 out[4])
{
	cpuid_hook(R.v->c, leaf, sub, out);
}

T(supported_is_consistent)
{
	struct kvm_cpuid_entry2 e[256];
	u32 n = 3, out[4], h[4];

	assert_int_equal(cpuid_supported(e, &n), -E2BIG);
	n = 256;
	assert_int_equal(cpuid_supported(e, &n), 0);
	for (u32 i = 0; i < n; i++)
		for (u32 j = 0; j < i; j++)
			assert_false(e[i].function == e[j].function && e[i].index == e[j].index);
	rig_cpuid();
	/* Nothing that runs on the host is offered unless the host has it. */
	for (u32 f = 0; f < CPUID_F_COUNT; f++) {
		const struct cpuid_feature_row *row = &cpuid_feature_rows[f];

		if (row->host == CPUID_N || row->host == CPUID_P) {
			assert_true(cpuid_has(R.v, f));
			continue;
		}
		host(row->leaf, row->sub, h);
		if (!(h[row->reg] & BIT(row->bit)))
			assert_false(cpuid_has(R.v, f));
	}
	/* AVX-512 and the state it works on go together. */
	ask(7, 0, out);
	assert_int_equal(!!(out[1] & BIT(16)), !!(xcr0_host_supported() & XSTATE_AVX512));
	assert_int_equal(!!(out[2] & BIT(3)), !!(xcr0_host_supported() & XSTATE_PKRU));
	/* Never: AMX, CET, LA57, MPX, MONITOR, VMX, SKINIT. */
	ask(7, 0, out);
	assert_int_equal(out[1] & BIT(14), 0);
	assert_int_equal(out[2] & (BIT(7) | BIT(16)), 0);
	assert_int_equal(out[3] & (BIT(20) | BIT(22) | BIT(24) | BIT(25)), 0);
	ask(1, 0, out);
	assert_int_equal(out[2] & (BIT(3) | BIT(5)), 0);
	ask(0x80000001, 0, out);
	assert_int_equal(out[2] & (BIT(2) | BIT(12)), BIT(2));
	/* SVM as KVM offers it (docs/kvm-svm.md 4.1): no SVM lock, decode assists, AVIC, x2AVIC. */
	ask(0x8000000a, 0, out);
	assert_int_equal(out[0], 1);
	assert_int_equal(out[1], 8);
	assert_int_equal(out[2], 0);
	assert_int_equal(out[3], 0x1201947b);
	ask(0, 0, out);
	assert_int_equal(out[1], 0x68747541);
}

T(set_rules)
{
	struct kvm_cpuid_entry2 e[257] = { { .function = 0x80000008, .eax = 40 | 47 << 8 } };
	u32 n = 1;

	assert_int_equal(vcpu_set_cpuid2(R.v, e, 257), -E2BIG);
	assert_int_equal(vcpu_set_cpuid2(R.v, e, 1), -EINVAL);
	e[0].eax = 40 | 48 << 8;
	assert_int_equal(vcpu_set_cpuid2(R.v, e, 1), 0);
	assert_int_equal(R.v->c->maxphyaddr, 40);
	n = 0;
	assert_int_equal(vcpu_get_cpuid2(R.v, e, &n), -E2BIG);
	assert_int_equal(n, 0);
}

T(frozen_after_run)
{
	static const u8 code[] = { 0xf4 };
	struct kvm_cpuid_entry2 e[256];
	u32 n = 256;

	rig_cpuid();
	rig_code(code, 1);
	vcpu_run(R.v);
	assert_int_equal(vcpu_get_cpuid2(R.v, e, &n), 0);
	assert_int_equal(vcpu_set_cpuid2(R.v, e, n), 0);
	assert_int_equal(vcpu_set_cpuid2(R.v, e, n - 1), -EINVAL);
	e[3].eax ^= 1;
	assert_int_equal(vcpu_set_cpuid2(R.v, e, n), -EINVAL);
}

T(lookup)
{
	struct kvm_cpuid_entry2 e[] = {
		{ .function = 7, .index = 1, .flags = 1, .eax = 71 },
		{ .function = 4, .eax = 40 },	/* every sub-leaf */
		{ .function = 7, .index = 0, .flags = 1, .eax = 70 },
		{ .function = 0, .eax = 7, .ebx = 0x68747541, .ecx = 0x444d4163,
		  .edx = 0x69746e65 },
		{ .function = 0xb, .index = 0, .flags = 1, .eax = 1, .edx = 9 },
	};
	u32 out[4];

	assert_int_equal(vcpu_set_cpuid2(R.v, e, ARRAY_SIZE(e)), 0);
	ask(7, 1, out);
	assert_int_equal(out[0], 71);
	ask(7, 0, out);
	assert_int_equal(out[0], 70);
	ask(7, 2, out);
	assert_int_equal(out[0], 0);
	ask(4, 99, out);
	assert_int_equal(out[0], 40);
	/* AMD: zeros out of range. */
	ask(0x100, 0, out);
	assert_int_equal(out[0] | out[1] | out[2] | out[3], 0);
	/* Levels past the last. */
	ask(0xb, 5, out);
	assert_int_equal(out[2], 5);
	assert_int_equal(out[3], 9);
	/* Other makers: the highest basic leaf. */
	e[3].ebx = 0x756e6547;
	e[3].edx = 0x49656e69;
	e[3].ecx = 0x6c65746e;
	assert_int_equal(vcpu_set_cpuid2(R.v, e, ARRAY_SIZE(e)), 0);
	ask(0x100, 1, out);
	assert_int_equal(out[0], 71);
	ask(5, 0, out);	/* in range, absent */
	assert_int_equal(out[0], 0);
}

T(follows_state)
{
	struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs[0].value = 7 };
	struct kvm_sregs s;
	u32 out[4];

	rig_cpuid();
	if (!cpuid_has(R.v, CPUID_F_XSAVE))
		skip();
	ask(1, 0, out);
	assert_int_equal(out[2] & BIT(27), 0);
	assert_int_equal(out[3] & BIT(9), BIT(9));
	vcpu_get_sregs(R.v, &s);
	s.cr4 |= CR4_OSXSAVE;
	s.apic_base &= ~(1ull << 11);
	assert_int_equal(vcpu_set_sregs(R.v, &s), 0);
	ask(1, 0, out);
	assert_int_equal(out[2] & BIT(27), BIT(27));
	assert_int_equal(out[3] & BIT(9), 0);
	ask(0xd, 0, out);
	assert_int_equal(out[1], 576);
	if (!(xcr0_host_supported() & 4))
		return;
	assert_int_equal(vcpu_set_xcrs(R.v, &x), 0);
	ask(0xd, 0, out);
	assert_int_equal(out[1], 832);
	assert_int_equal(out[2], xstate_size(xcr0_host_supported(), false));
}

/* A VMM may not know where a component of ours is. Linux, told 0, hung in its first signal. */
T(place_of_a_component)
{
	struct kvm_cpuid_entry2 e[] = {
		{ .index = 2, .eax = 256 },
		{ .index = 11, .eax = 16, .ecx = 1 },
		{ .index = 5, .eax = 64, .ebx = 900 },
		{ .index = 63, .eax = 8 },
	};
	u32 out[4];

	for (u32 i = 0; i < ARRAY_SIZE(e); i++) {
		e[i].function = 0xd;
		e[i].flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	}
	assert_int_equal(vcpu_set_cpuid2(R.v, e, ARRAY_SIZE(e)), 0);
	ask(0xd, 2, out);
	assert_int_equal(out[0], 256);
	assert_int_equal(out[1], 576);
	ask(0xd, 11, out);	/* a supervisor's has no place */
	assert_int_equal(out[1], 0);
	ask(0xd, 5, out);
	assert_int_equal(out[1], 900);
	ask(0xd, 63, out);
	assert_int_equal(out[1], 0);
}

T(derived)
{
	struct cpu *c = R.v->c;

	assert_int_equal(vcpu_set_cpuid2(R.v, NULL, 0), 0);
	assert_int_equal(c->maxphyaddr, 36);
	assert_true(c->cr4_reserved & CR4_SMEP);
	assert_true(c->efer_reserved & EFER_NX);
	assert_false(c->cr4_reserved & CR4_PAE);
	rig_cpuid();
	assert_int_equal(c->maxphyaddr, 48);
	assert_false(c->cr4_reserved & (CR4_SMEP | CR4_SMAP | CR4_UMIP | CR4_PCIDE | CR4_FSGSBASE));
	assert_true(c->cr4_reserved & CR4_LA57);
	assert_int_equal(!(c->cr4_reserved & CR4_PKE), !!(xcr0_host_supported() & XSTATE_PKRU));
	assert_false(c->efer_reserved & (EFER_NX | EFER_LME | EFER_SCE));
	assert_false(c->efer_reserved & EFER_SVME);
	assert_true(c->has_lm && c->has_nx && c->has_1g_pages && c->has_pcid && c->has_syscall);
}

T(no_unhalt_without_exits)
{
	u32 out[4];

	rig_cpuid();
	ask(0x40000001, 0, out);
	assert_true(out[0] & BIT(7));
	R.cfg.disabled_exits = KVM_X86_DISABLE_EXITS_HLT;
	ask(0x40000001, 0, out);
	assert_false(out[0] & BIT(7));
}

T_EACH(rig_setup, rig_teardown);
