/* SPDX-License-Identifier: MIT */
/* tests/unit/test_vcpu_state.c - register, FPU and event state in and out, and what is refused. */
/* Run: build/tests/unit/test_vcpu_state [NAME...] */
#include "vcpu_rig.h"

static struct kvm_sregs sregs(void)
{
	struct kvm_sregs s;

	assert_int_equal(vcpu_get_sregs(R.v, &s), 0);
	return s;
}

static struct kvm_vcpu_events events(void)
{
	struct kvm_vcpu_events e;

	assert_int_equal(vcpu_get_events(R.v, &e), 0);
	return e;
}

T(regs_round_trip)
{
	struct kvm_regs a, b;

	memset(&a, 0x5a, sizeof(a));
	a.rflags = ~0ull;
	assert_int_equal(vcpu_set_regs(R.v, &a), 0);
	assert_int_equal(vcpu_get_regs(R.v, &b), 0);
	assert_memory_equal(&a, &b, offsetof(struct kvm_regs, rflags));
	assert_int_equal(b.rflags, 0x3f7fd7);
}

T(reset_values)
{
	struct kvm_sregs s = sregs();

	assert_int_equal(s.cs.selector, 0xf000);
	assert_int_equal(s.cs.base, 0xffff0000);
	assert_int_equal(rig_rip(), 0xfff0);
	assert_int_equal(s.cr0, 0x60000010);
	assert_int_equal(s.apic_base, 0xfee00900);
}

/* One row: what to change in a valid state, and whether it is then valid. */
struct row {
	const char *name;
	u64 cr0, cr4, efer, cr3;
	bool cs_l, ok;
};

T(sregs_validity)
{
	static const struct row rows[] = {
		{ "real mode", 0x60000010, 0, 0, 0, false, true },
		{ "PG without PE", CR0_PG, 0, 0, 0, false, false },
		{ "NW without CD", CR0_NW, 0, 0, 0, false, false },
		{ "NW with CD", CR0_NW | CR0_CD, 0, 0, 0, false, true },
		{ "CR0 bit 32", BIT64(32), 0, 0, 0, false, false },
		{ "long mode", CR0_PE | CR0_PG, CR4_PAE, EFER_LME | EFER_LMA, 0x1000, true, true },
		{ "LME without LMA", CR0_PE | CR0_PG, CR4_PAE, EFER_LME, 0, false, false },
		{ "LMA without PAE", CR0_PE | CR0_PG, 0, EFER_LME | EFER_LMA, 0, false, false },
		{ "LMA without PG", CR0_PE, CR4_PAE, EFER_LME | EFER_LMA, 0, false, false },
		{ "CS.L outside long mode", CR0_PE, 0, 0, 0, true, false },
		{ "CR3 too wide", CR0_PE | CR0_PG, CR4_PAE, EFER_LME | EFER_LMA, BIT64(50), true,
		  false },
		{ "LA57", CR0_PE, CR4_LA57, 0, 0, false, false },
		{ "PKE", CR0_PE, CR4_PKE, 0, 0, false, false },
		{ "SMEP", CR0_PE, CR4_SMEP, 0, 0, false, true },
		{ "VMXE", CR0_PE, BIT64(13), 0, 0, false, false },
		/* KVM looks at the bit alone. */
		{ "PCIDE outside long mode", CR0_PE, CR4_PCIDE, 0, 0, false, true },
		{ "unknown EFER bit", 0, 0, BIT64(30), 0, false, false },
	};

	rig_cpuid();
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct kvm_sregs s = sregs(), old = s, now;
		int r;

		s.cr0 = rows[i].cr0;
		s.cr4 = rows[i].cr4;
		s.efer = rows[i].efer;
		s.cr3 = rows[i].cr3;
		s.cs.l = rows[i].cs_l;
		r = vcpu_set_sregs(R.v, &s);
		if (r != (rows[i].ok ? 0 : -EINVAL))
			fail_msg("%s: %d", rows[i].name, r);
		now = sregs();
		if (r)	/* refused: nothing has changed */
			assert_memory_equal(&now, &old, sizeof(now));
		assert_int_equal(vcpu_set_sregs(R.v, &old), 0);
	}
	/* Without the feature in CPUID the bit is reserved. */
	struct kvm_sregs s = sregs();

	vcpu_set_cpuid2(R.v, NULL, 0);
	s.cr4 = CR4_SMEP;
	assert_int_equal(vcpu_set_sregs(R.v, &s), -EINVAL);
}

T(interrupt_bitmap)
{
	struct kvm_sregs s = sregs();

	assert_int_equal(s.interrupt_bitmap[0], 0);
	s.interrupt_bitmap[1] = 0x30;
	assert_int_equal(vcpu_set_sregs(R.v, &s), 0);
	s = sregs();
	assert_int_equal(s.interrupt_bitmap[1], 0x10);	/* the lowest counts */
	assert_int_equal(events().interrupt.nr, 68);
	assert_int_equal(events().interrupt.injected, 1);
}

T(segments)
{
	struct kvm_sregs s = sregs();

	s.cr0 |= CR0_PE;
	s.fs = (struct kvm_segment){ .base = 0x123456789, .limit = 0xffffffff, .selector = 0x33,
				     .type = 2, .present = 1, .dpl = 3, .db = 1, .s = 1, .g = 1 };
	s.gs = (struct kvm_segment){ .unusable = 1, .present = 1 };
	s.ss.dpl = 3;
	assert_int_equal(vcpu_set_sregs(R.v, &s), 0);
	s = sregs();
	assert_true(s.fs.base == 0x123456789);
	assert_int_equal(s.fs.type, 3);	/* accessed */
	assert_int_equal(s.fs.g, 1);
	assert_int_equal(s.gs.unusable, 1);
	assert_int_equal(s.gs.present, 0);
	assert_int_equal(s.ss.dpl, 3);
	assert_int_equal(R.v->c->cpl, 3);
	assert_int_equal(s.tr.type & 2, 2);
}

T(sregs2)
{
	struct kvm_sregs2 s;

	rig_cpuid();
	vcpu_get_sregs2(R.v, &s);
	assert_int_equal(s.flags, 0);
	s.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	assert_int_equal(vcpu_set_sregs2(R.v, &s), -EINVAL);
	s.flags = 2;
	assert_int_equal(vcpu_set_sregs2(R.v, &s), -EINVAL);
	s.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	s.cr0 = CR0_PE | CR0_PG;
	s.cr4 = CR4_PAE;
	s.pdptrs[2] = 0x7001;
	assert_int_equal(vcpu_set_sregs2(R.v, &s), 0);
	memset(&s, 0, sizeof(s));
	vcpu_get_sregs2(R.v, &s);
	assert_int_equal(s.flags, KVM_SREGS2_FLAGS_PDPTRS_VALID);
	assert_int_equal(s.pdptrs[2], 0x7001);
}

T(fpu)
{
	struct kvm_fpu f;
	u8 x[4096];

	vcpu_get_fpu(R.v, &f);
	assert_int_equal(f.mxcsr, 0);	/* KVM neither gives nor takes it here */
	memset(f.xmm[3], 0x33, 16);
	f.fcw = 0x27f;
	f.mxcsr = 0x1fa0;
	assert_int_equal(vcpu_set_fpu(R.v, &f), 0);
	assert_int_equal(vcpu_get_xsave(R.v, x, sizeof(x)), 0);
	assert_int_equal(*(u16 *)x, 0x27f);
	assert_int_equal(*(u32 *)(x + 24), 0x1f80);
	assert_int_equal(x[160 + 48], 0x33);
	assert_int_equal(*(u64 *)(x + 512) & 3, 3);
	x[160 + 48] = 0x44;
	assert_int_equal(vcpu_set_xsave(R.v, x, sizeof(x)), 0);
	vcpu_get_fpu(R.v, &f);
	assert_int_equal(f.xmm[3][0], 0x44);
	*(u64 *)(x + 512) |= 1 << 9;	/* PKRU */
	assert_int_equal(vcpu_set_xsave(R.v, x, sizeof(x)), -EINVAL);
	*(u64 *)(x + 512) &= 7;
	*(u32 *)(x + 24) |= 1u << 31;
	assert_int_equal(vcpu_set_xsave(R.v, x, sizeof(x)), -EINVAL);
	*(u32 *)(x + 24) = 0x1f80;
	x[540] = 1;
	assert_int_equal(vcpu_set_xsave(R.v, x, sizeof(x)), -EINVAL);
	x[540] = 0;
	/* Initial state whatever the bytes say. */
	*(u64 *)(x + 512) = 0;
	assert_int_equal(vcpu_set_xsave(R.v, x, sizeof(x)), 0);
	vcpu_get_fpu(R.v, &f);
	assert_int_equal(f.xmm[3][0], 0);
	assert_int_equal(f.fcw, 0x37f);
}

T(xcrs)
{
	struct kvm_xcrs x = { .nr_xcrs = 1 };

	assert_int_equal(vcpu_set_xcrs(R.v, &x), -EINVAL);	/* no XSAVE in CPUID */
	rig_cpuid();
	if (!R.v->c->has_xsave)
		skip();
	assert_int_equal(vcpu_get_xcrs(R.v, &x), 0);
	assert_int_equal(x.nr_xcrs, 1);
	assert_int_equal(x.xcrs[0].value, 1);
	x.xcrs[0].value = 2;
	assert_int_equal(vcpu_set_xcrs(R.v, &x), -EINVAL);
	x.xcrs[0].value = 5;
	assert_int_equal(vcpu_set_xcrs(R.v, &x), -EINVAL);
	x.xcrs[0].value = 1ull << 9 | 3;
	assert_int_equal(vcpu_set_xcrs(R.v, &x), -EINVAL);
	x.xcrs[0].value = 3;
	x.flags = 1;
	assert_int_equal(vcpu_set_xcrs(R.v, &x), -EINVAL);
	x.flags = 0;
	x.nr_xcrs = 17;
	assert_int_equal(vcpu_set_xcrs(R.v, &x), -EINVAL);
	x.nr_xcrs = 1;
	assert_int_equal(vcpu_set_xcrs(R.v, &x), 0);
}

T(debugregs)
{
	struct kvm_debugregs d;

	vcpu_get_debugregs(R.v, &d);
	assert_int_equal(d.dr6, 0xffff0ff0);
	assert_int_equal(d.dr7, 0x400);
	d.flags = 1;
	assert_int_equal(vcpu_set_debugregs(R.v, &d), -EINVAL);
	d.flags = 0;
	d.dr6 |= 1ull << 32;
	assert_int_equal(vcpu_set_debugregs(R.v, &d), -EINVAL);
	d.dr6 = 0xffff0ff0;
	d.dr7 |= 1ull << 40;
	assert_int_equal(vcpu_set_debugregs(R.v, &d), -EINVAL);
	d.dr7 = 0x400;
	d.db[2] = 0x1234;
	assert_int_equal(vcpu_set_debugregs(R.v, &d), 0);
	assert_int_equal(R.v->c->dr[2], 0x1234);
}

T(event_rules)
{
	struct kvm_vcpu_events e = events();

	assert_int_equal(e.flags, KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW |
					  KVM_VCPUEVENT_VALID_SMM);
	e.flags = 0x40;
	assert_int_equal(vcpu_set_events(R.v, &e), -EINVAL);
	e.flags = KVM_VCPUEVENT_VALID_PAYLOAD;	/* not enabled */
	assert_int_equal(vcpu_set_events(R.v, &e), -EINVAL);
	e.flags = KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	assert_int_equal(vcpu_set_events(R.v, &e), -EINVAL);
	/* Without PAYLOAD only "injected" counts. */
	e.flags = 0;
	e.exception.pending = 1;
	e.exception.nr = EXC_PF;
	assert_int_equal(vcpu_set_events(R.v, &e), 0);
	assert_int_equal(events().exception.injected, 0);
	e.exception.injected = 1;
	assert_int_equal(vcpu_set_events(R.v, &e), 0);
	assert_int_equal(events().exception.injected, 1);
	e.exception.nr = 32;
	assert_int_equal(vcpu_set_events(R.v, &e), -EINVAL);
	e.exception.nr = EXC_NMI;
	assert_int_equal(vcpu_set_events(R.v, &e), -EINVAL);
	e.exception.injected = e.exception.pending = 0;
	assert_int_equal(vcpu_set_events(R.v, &e), 0);
	/* With it, pending wins. */
	R.cfg.exception_payload = true;
	e.flags = KVM_VCPUEVENT_VALID_PAYLOAD;
	e.exception.nr = EXC_PF;
	e.exception.injected = e.exception.pending = 1;
	e.exception_has_payload = 1;
	e.exception_payload = 0x1234000;
	assert_int_equal(vcpu_set_events(R.v, &e), 0);
	e = events();
	assert_int_equal(e.exception.pending, 1);
	assert_int_equal(e.exception.injected, 0);
	assert_int_equal(e.exception_payload, 0x1234000);
	assert_int_equal(R.v->c->cr2, 0);
	/* A reader that does not know payloads sees the register written instead. */
	R.cfg.exception_payload = false;
	e = events();
	assert_int_equal(e.exception.injected, 1);
	assert_int_equal(R.v->c->cr2, 0x1234000);
}

T(shadow_and_nmi)
{
	struct kvm_vcpu_events e = events();

	e.flags = KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_NMI_PENDING;
	e.interrupt.shadow = 2;
	e.nmi.pending = 5;
	e.nmi.masked = 1;
	assert_int_equal(vcpu_set_events(R.v, &e), 0);
	e = events();
	assert_int_equal(e.interrupt.shadow, 2);
	assert_int_equal(e.nmi.pending, 1);
	assert_int_equal(e.nmi.masked, 1);
	e.flags = KVM_VCPUEVENT_VALID_SMM;
	e.smi.smm = 1;
	e.smi.smm_inside_nmi = 1;
	assert_int_equal(vcpu_set_events(R.v, &e), 0);
	e = events();
	assert_int_equal(e.smi.smm, 1);
	assert_int_equal(e.smi.smm_inside_nmi, 1);
	e.smi.smm = 0;
	assert_int_equal(vcpu_set_events(R.v, &e), 0);
	assert_int_equal(events().smi.smm_inside_nmi, 0);
}

T(triple_fault_event)
{
	static const u8 code[] = { 0xf4 };
	struct kvm_vcpu_events e;

	R.cfg.triple_fault_event = true;
	rig_code(code, 1);
	e = events();
	assert_true(e.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT);
	e.triple_fault.pending = 1;
	assert_int_equal(vcpu_set_events(R.v, &e), 0);
	assert_int_equal(events().triple_fault.pending, 1);
	assert_int_equal(vcpu_run(R.v), 0);
	assert_int_equal(R.v->run->exit_reason, KVM_EXIT_SHUTDOWN);
}

/* An exception that user space left injected is delivered first. */
T(injected_exception_runs_handler)
{
	static const u8 code[] = { 0xf4 }, handler[] = { 0xe6, 0x77 };
	struct kvm_vcpu_events e;

	rig_code(code, 1);
	memcpy(R.ram + 0x3000, handler, sizeof(handler));
	*(u32 *)(R.ram + 4 * EXC_UD) = 0x3000;
	e = events();
	e.exception.injected = 1;
	e.exception.nr = EXC_UD;
	assert_int_equal(vcpu_set_events(R.v, &e), 0);
	assert_int_equal(vcpu_run(R.v), 0);
	assert_int_equal(R.v->run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(R.v->run->io.port, 0x77);
	assert_int_equal(events().exception.injected, 0);
}

T(mp_states)
{
	struct kvm_mp_state m = { KVM_MP_STATE_HALTED };

	vcpu_get_mp_state(R.v, &m);
	assert_int_equal(m.mp_state, KVM_MP_STATE_RUNNABLE);
	m.mp_state = KVM_MP_STATE_HALTED;	/* no in-kernel LAPIC */
	assert_int_equal(vcpu_set_mp_state(R.v, &m), -EINVAL);
	m.mp_state = 77;
	assert_int_equal(vcpu_set_mp_state(R.v, &m), -EINVAL);
	m.mp_state = KVM_MP_STATE_RUNNABLE;
	assert_int_equal(vcpu_set_mp_state(R.v, &m), 0);
}

T_EACH(rig_setup, rig_teardown);
