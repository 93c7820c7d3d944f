/* SPDX-License-Identifier: MIT */
/* tests/abi/rules_vcpu.c - the state of a vCPU (docs/kvm-abi.md 5.2). */
/* Run: build/standin run -- build/tests/abi/abi_rules [NAME...] */
#include <stdlib.h>

#include "tests/abi/abi.h"

T(regs_round_trip, "5.2: GET/SET_REGS: round trip; reserved flags fixed")
{
	struct kvm_regs r = { .rax = 1, .rbx = 2, .rcx = 3, .rdx = 4, .rsi = 5, .rdi = 6, .rsp = 7,
			      .rbp = 8, .r8 = 9, .r9 = 10, .r10 = 11, .r11 = 12, .r12 = 13,
			      .r13 = 14,
			      .r14 = 15, .r15 = 16, .rip = 17, .rflags = 0x246 }, s;

	machine(0);
	IS(ioctl(m.cpu, KVM_SET_REGS, &r), 0);
	IS(ioctl(m.cpu, KVM_GET_REGS, &s), 0);
	EQ(memcmp(&r, &s, sizeof(r)), 0);
	r.rflags = 0;
	IS(ioctl(m.cpu, KVM_SET_REGS, &r), 0);
	EQ(regs().rflags, 2);
	IS(ioctl(m.cpu, KVM_GET_REGS, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_SET_REGS, BAD), -EFAULT);
}

static int set(const struct kvm_sregs *s)
{
	return ioctl(m.cpu, KVM_SET_SREGS, s);
}

T(sregs_rules, "5.2: SET_SREGS: LME+PG needs PAE, LMA, a legal CR3; else LMA and CS.L are 0")
{
	struct kvm_sregs good, s;

	machine(M_CPUID);
	MUST(!enter64());
	good = s = sregs();
	IS(set(&s), 0);
	s.cr4 &= ~0x20ull;
	IS(set(&s), -EINVAL);
	s = good;
	s.efer &= ~0x400ull;
	IS(set(&s), -EINVAL);
	s = good;
	s.cr3 |= 1ull << 58;
	IS(set(&s), -EINVAL);
	s = good;
	s.efer &= ~0x100ull;	/* LMA without LME */
	IS(set(&s), -EINVAL);
	s = good;
	s.cr0 &= ~0x80000000ull;
	IS(set(&s), -EINVAL);
	s.efer &= ~0x400ull;
	IS(set(&s), -EINVAL);	/* CS.L */
	s.cs.l = 0;
	IS(set(&s), 0);
	s = good;
	s.cr4 |= 1ull << 31;
	IS(set(&s), -EINVAL);
	s = good;
	s.cr0 |= 1ull << 40;
	IS(set(&s), -EINVAL);
	s = good;
	s.apic_base = (s.apic_base & ~0x800ull) | 0x400;
	IS(set(&s), -EINVAL);
	IS(set(BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_GET_SREGS, BAD), -EFAULT);
	IS(set(&good), 0);
	s = sregs();
	EQ(memcmp(&s, &good, sizeof(s)), 0);
}

T(sregs_bitmap, "5.2: interrupt_bitmap: its lowest bit is queued as injected; GET shows it")
{
	struct kvm_vcpu_events e;
	struct kvm_sregs s;

	machine(0);
	s = sregs();
	s.interrupt_bitmap[1] = 0x6;	/* 65 and 66 */
	IS(set(&s), 0);
	MUST(!ioctl(m.cpu, KVM_GET_VCPU_EVENTS, &e));
	EQ(e.interrupt.injected, 1);
	EQ(e.interrupt.nr, 65);
	EQ(sregs().interrupt_bitmap[1], 2);
}

T(sregs2, "5.2: SREGS2: flags 1 = PDPTRs, refused when not PAE; other flags EINVAL")
{
	struct kvm_sregs2 s, t;

	machine(M_CPUID);
	IS(ioctl(m.cpu, KVM_GET_SREGS2, &s), 0);
	EQ(s.flags, 0);
	IS(ioctl(m.cpu, KVM_SET_SREGS2, &s), 0);
	s.flags = 2;
	IS(ioctl(m.cpu, KVM_SET_SREGS2, &s), -EINVAL);
	s.flags = 1;
	IS(ioctl(m.cpu, KVM_SET_SREGS2, &s), -EINVAL);
	s.cr4 |= 0x20;
	s.cr0 |= 0x80000001;
	for (int i = 0; i < 4; i++)
		s.pdptrs[i] = 0;
	s.pdptrs[2] = 0x5001;
	IS(ioctl(m.cpu, KVM_SET_SREGS2, &s), 0);
	IS(ioctl(m.cpu, KVM_GET_SREGS2, &t), 0);
	EQ(t.flags, 1);
	EQ(t.pdptrs[2], 0x5001);
	IS(ioctl(m.cpu, KVM_GET_SREGS2, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_SET_SREGS2, BAD), -EFAULT);
}

/* -- CPUID -- */

static struct kvm_cpuid2 *cpuid_buf(u32 n)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 300 * sizeof(c->entries[0]));

	MUST(c);
	c->nent = n;
	return c;
}

T(cpuid_set, "5.2: SET_CPUID2: nent > 256 E2BIG; after KVM_RUN a change EINVAL, the same 0")
{
	struct kvm_cpuid2 *c = cpuid_buf(256), *d = cpuid_buf(257);

	machine(0);
	MUST(!ioctl(m.sys, KVM_GET_SUPPORTED_CPUID, c));
	IS(ioctl(m.cpu, KVM_SET_CPUID2, d), -E2BIG);
	IS(ioctl(m.cpu, KVM_SET_CPUID2, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_SET_CPUID2, c), 0);
	LOAD(0xf4);
	EQ(run(), KVM_EXIT_HLT);
	IS(ioctl(m.cpu, KVM_SET_CPUID2, c), 0);
	c->nent--;
	IS(ioctl(m.cpu, KVM_SET_CPUID2, c), -EINVAL);
	c->nent++;
	c->entries[0].eax++;
	IS(ioctl(m.cpu, KVM_SET_CPUID2, c), -EINVAL);
}

T(cpuid_get, "5.2: GET_CPUID2: nent too small: E2BIG, nent is not updated")
{
	struct kvm_cpuid2 *c = cpuid_buf(256), *d = cpuid_buf(256);

	machine(M_CPUID);
	MUST(!ioctl(m.sys, KVM_GET_SUPPORTED_CPUID, c));
	d->nent = c->nent - 1;
	IS(ioctl(m.cpu, KVM_GET_CPUID2, d), -E2BIG);
	EQ(d->nent, c->nent - 1);
	d->nent = 256;
	IS(ioctl(m.cpu, KVM_GET_CPUID2, d), 0);
	EQ(d->nent, c->nent);
	IS(ioctl(m.cpu, KVM_GET_CPUID2, BAD), -EFAULT);
}

T(cpuid_old, "5.1: SET_CPUID, the old form: entries without sub-leaves")
{
	struct {
		struct kvm_cpuid h;
		struct kvm_cpuid_entry e[2];
	} o = { .h.nent = 2,
		.e = { { .function = 0, .eax = 1 }, { .function = 1, .eax = 0x123 } } };
	struct kvm_cpuid2 *c = cpuid_buf(256);

	machine(0);
	IS(ioctl(m.cpu, KVM_SET_CPUID, &o), 0);
	IS(ioctl(m.cpu, KVM_GET_CPUID2, c), 0);
	EQ(c->nent, 2);
	EQ(c->entries[1].eax, 0x123);
	o.h.nent = 257;
	IS(ioctl(m.cpu, KVM_SET_CPUID, &o), -E2BIG);
	IS(ioctl(m.cpu, KVM_SET_CPUID, BAD), -EFAULT);
}

/* -- MSRs -- */

T(msrs_count, "5.2: GET/SET_MSRS: the number processed; stop at the first failure; 256: E2BIG")
{
	struct {
		struct kvm_msrs h;
		struct kvm_msr_entry e[3];
	} q = { .h.nmsrs = 3,
		.e = { { .index = 0x174 }, { .index = 0x12345678 }, { .index = 0x175 } } };

	machine(M_CPUID);
	IS(ioctl(m.cpu, KVM_GET_MSRS, &q), 1);
	IS(ioctl(m.cpu, KVM_SET_MSRS, &q), 1);
	q.e[1].index = 0x176;
	IS(ioctl(m.cpu, KVM_GET_MSRS, &q), 3);
	q.e[1].data = 0x1234;
	IS(ioctl(m.cpu, KVM_SET_MSRS, &q), 3);
	q.e[1].data = 0;
	IS(ioctl(m.cpu, KVM_GET_MSRS, &q), 3);
	EQ(q.e[1].data, 0x1234);
	q.h.nmsrs = 256;
	IS(ioctl(m.cpu, KVM_GET_MSRS, &q), -E2BIG);
	IS(ioctl(m.cpu, KVM_SET_MSRS, &q), -E2BIG);
	q.h.nmsrs = 0;
	IS(ioctl(m.cpu, KVM_GET_MSRS, &q), 0);
	IS(ioctl(m.cpu, KVM_GET_MSRS, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_SET_MSRS, BAD), -EFAULT);
}

T(msrs_pv, "6.2: KVM's MSRs: reserved bits refused, values kept")
{
	static const struct {
		u32 msr;
		u64 good, bad;
	} t[] = {
		{ 0x4b564d03, DATA | 1, DATA | 3 },
		{ 0x4b564d04, DATA | 1, DATA | 2 },
		{ 0x4b564d05, 0, 2 },
		{ 0x4b564d06, 0x42, 0x100 },
		{ 0x4b564d02, 0, 0x10 },
	};
	u64 v;

	machine(M_CPUID | M_IRQCHIP);
	for (u32 i = 0; i < ARRAY_SIZE(t); i++) {
		char name[40];

		snprintf(name, sizeof(name), "MSR %#x", t[i].msr);
		check(__FILE__, __LINE__, name, 0, set_msr(m.cpu, t[i].msr, t[i].bad), true, false,
		      0, 0);
		check(__FILE__, __LINE__, name, 1, set_msr(m.cpu, t[i].msr, t[i].good), true, false,
		      0, 0);
		EQ(get_msr(m.cpu, t[i].msr, &v), 1);
		EQ(v, t[i].good);
	}
	/* The clock's page may be anywhere: it is just not written. */
	EQ(set_msr(m.cpu, 0x4b564d01, 0x40000001), 1);
	/* PV EOI and async page faults need memory there. */
	EQ(set_msr(m.cpu, 0x4b564d04, 0x40000001), 0);
	EQ(get_msr(m.cpu, 0x4b564d07, &v), 1);
	EQ(v, 0);
}

T(pv_memory_gone, "6.2: enabling the clock on unmapped host memory is quiet")
{
	u8 *h;

	machine(M_CPUID | M_IRQCHIP);
	h = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(!slot(m.vm, 1, 0, RAM, 0x2000, h));
	MUST(!munmap(h, 0x2000));
	EQ(set_msr(m.cpu, 0x4b564d01, RAM | 1), 1);
	EQ(set_msr(m.cpu, 0x4b564d00, RAM), 1);
	EQ(set_msr(m.cpu, 0x4b564d03, RAM | 1), 1);
	set_msr(m.cpu, 0x4b564d04, RAM | 1);
	EQ(set_msr(m.cpu, 0x10, 0), 1);
	IS(ioctl(m.cpu, KVM_KVMCLOCK_CTRL, 0), 0);
	/* and the vCPU runs on: the clock page is simply not written */
	LOAD(0xe6, 0x55, 0xf4);
	EQ(run(), KVM_EXIT_IO);
}

/* -- events, debug -- */

static int set_events(struct kvm_vcpu_events e)
{
	return ioctl(m.cpu, KVM_SET_VCPU_EVENTS, &e);
}

T(events_rules, "5.2: SET_VCPU_EVENTS: flags, exception numbers, capabilities")
{
	struct kvm_vcpu_events e, z = { 0 };

	machine(0);
	IS(ioctl(m.cpu, KVM_GET_VCPU_EVENTS, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_SET_VCPU_EVENTS, BAD), -EFAULT);
	e = z;
	e.flags = 0x40;
	IS(set_events(e), -EINVAL);
	e.flags = KVM_VCPUEVENT_VALID_PAYLOAD;
	IS(set_events(e), -EINVAL);
	e.flags = KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	IS(set_events(e), -EINVAL);
	e = z;
	e.exception.injected = 1;
	e.exception.nr = 32;
	IS(set_events(e), -EINVAL);
	e.exception.nr = 2;
	IS(set_events(e), -EINVAL);
	e.exception.nr = 13;
	e.exception.has_error_code = 1;
	IS(set_events(e), 0);
	IS(ioctl(m.cpu, KVM_GET_VCPU_EVENTS, &e), 0);
	EQ(e.exception.injected, 1);
	EQ(e.exception.nr, 13);
	/* pending without the payload flag is dropped */
	e = z;
	e.exception.pending = 1;
	e.exception.nr = 40;
	IS(set_events(e), 0);
	IS(ioctl(m.cpu, KVM_GET_VCPU_EVENTS, &e), 0);
	EQ(e.exception.pending | e.exception.injected, 0);
	EQ(e.flags & ~0xful, 0);
}

T(events_payload, "5.2: with the capability: pending wins over injected; payload is kept")
{
	struct kvm_vcpu_events e = { .flags = KVM_VCPUEVENT_VALID_PAYLOAD,
				     .exception_has_payload = 1,
		.exception_payload = 0x4000, .exception = { .injected = 1, .pending = 1,
			.nr = 1 } };

	machine(0);
	IS(enable(m.vm, KVM_CAP_EXCEPTION_PAYLOAD, 1), 0);
	IS(set_events(e), 0);
	IS(ioctl(m.cpu, KVM_GET_VCPU_EVENTS, &e), 0);
	EQ(e.exception.pending, 1);
	EQ(e.exception.injected, 0);
	EQ(e.exception_has_payload, 1);
	EQ(e.exception_payload, 0x4000);
	TRUE(e.flags & KVM_VCPUEVENT_VALID_PAYLOAD);
}

T(events_triple_fault, "5.2: a pending triple fault is reported, set, and ends the next run")
{
	struct kvm_vcpu_events e = { .flags = KVM_VCPUEVENT_VALID_TRIPLE_FAULT,
				     .triple_fault.pending = 1 };

	machine(0);
	IS(enable(m.vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1), 0);
	LOAD(0xf4);
	IS(set_events(e), 0);
	IS(ioctl(m.cpu, KVM_GET_VCPU_EVENTS, &e), 0);
	EQ(e.triple_fault.pending, 1);
	EQ(run(), KVM_EXIT_SHUTDOWN);
	e = (struct kvm_vcpu_events){ .flags = KVM_VCPUEVENT_VALID_TRIPLE_FAULT };
	IS(set_events(e), 0);
	EQ(run(), KVM_EXIT_HLT);
}

T(debugregs, "5.2: SET_DEBUGREGS: flags not 0, DR6 or DR7 high half: EINVAL; round trip")
{
	struct kvm_debugregs d = { .db = { 1, 2, 3, 4 }, .dr6 = 0xffff0ff0, .dr7 = 0x400 }, e;

	machine(0);
	IS(ioctl(m.cpu, KVM_SET_DEBUGREGS, &d), 0);
	IS(ioctl(m.cpu, KVM_GET_DEBUGREGS, &e), 0);
	EQ(memcmp(&d, &e, sizeof(d)), 0);
	d.flags = 1;
	IS(ioctl(m.cpu, KVM_SET_DEBUGREGS, &d), -EINVAL);
	d.flags = 0;
	d.dr6 = 1ull << 32;
	IS(ioctl(m.cpu, KVM_SET_DEBUGREGS, &d), -EINVAL);
	d.dr6 = 0xffff0ff0;
	d.dr7 = 1ull << 32;
	IS(ioctl(m.cpu, KVM_SET_DEBUGREGS, &d), -EINVAL);
	IS(ioctl(m.cpu, KVM_GET_DEBUGREGS, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_SET_DEBUGREGS, BAD), -EFAULT);
}

static int guest_debug(u32 control)
{
	struct kvm_guest_debug d = { .control = control };

	return ioctl(m.cpu, KVM_SET_GUEST_DEBUG, &d);
}

T(guest_debug, "5.2: SET_GUEST_DEBUG: INJECT with an exception pending: EBUSY")
{
	struct kvm_vcpu_events e = { .exception = { .injected = 1, .nr = 13 } };

	machine(0);
	IS(guest_debug(0), 0);
	IS(guest_debug(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP), 0);
	LOAD(0x90, 0x90, 0xf4);
	EQ(run(), KVM_EXIT_DEBUG);
	EQ(m.run->debug.arch.exception, 1);
	EQ(m.run->debug.arch.pc, CODE + 1);
	EQ(m.run->debug.arch.dr6 & 0x4000, 0x4000);
	IS(guest_debug(0), 0);
	EQ(run(), KVM_EXIT_HLT);
	IS(set_events(e), 0);
	IS(guest_debug(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_DB), 0);
	/* Now one is pending. */
	IS(guest_debug(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_BP), -EBUSY);
	IS(ioctl(m.cpu, KVM_SET_GUEST_DEBUG, BAD), -EFAULT);
}

T(guest_debug_breaks, "5.2: software and hardware breakpoints, watchpoints end in KVM_EXIT_DEBUG")
{
	struct kvm_guest_debug d = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP };

	machine(0);
	LOAD(0x90, 0xcc, 0xa2, 0x00, 0x40, 0x90, 0xf4);
	IS(ioctl(m.cpu, KVM_SET_GUEST_DEBUG, &d), 0);
	EQ(run(), KVM_EXIT_DEBUG);
	EQ(m.run->debug.arch.exception, 3);
	EQ(m.run->debug.arch.pc, CODE + 1);
	m.ram[CODE + 1] = 0x90;
	d.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
	d.arch.debugreg[0] = DATA;		/* watchpoint: write, 1 byte */
	d.arch.debugreg[1] = CODE + 6;		/* breakpoint */
	d.arch.debugreg[7] = 0x1 << 16 | 0x400 | 0x1 | 0x4;
	IS(ioctl(m.cpu, KVM_SET_GUEST_DEBUG, &d), 0);
	EQ(run(), KVM_EXIT_DEBUG);
	EQ(m.run->debug.arch.pc, CODE + 5);
	EQ(m.run->debug.arch.dr6 & 0xf, 1);
	EQ(run(), KVM_EXIT_DEBUG);
	EQ(m.run->debug.arch.pc, CODE + 6);
	EQ(m.run->debug.arch.dr6 & 0xf, 2);
}

/* -- vector state -- */

T(xsave_state, "5.1: GET/SET_XSAVE, GET_XSAVE2, XCRS, FPU: round trip and refusals")
{
	struct kvm_xsave *x = aligned_alloc(4096, 16384), *y = aligned_alloc(4096, 16384);
	struct kvm_xcrs c;
	struct kvm_fpu f, g;

	machine(M_CPUID);
	MUST(x && y);
	IS(ioctl(m.cpu, KVM_GET_XSAVE, x), 0);
	x->region[40] = 0xdeadbeef;		/* XMM0, byte 160 */
	*(u64 *)(void *)&x->region[128] |= 2;	/* XSTATE_BV */
	IS(ioctl(m.cpu, KVM_SET_XSAVE, x), 0);
	IS(ioctl(m.cpu, KVM_GET_XSAVE2, y), 0);
	EQ(y->region[40], 0xdeadbeef);
	IS(ioctl(m.cpu, KVM_GET_FPU, &f), 0);
	EQ(*(u32 *)(void *)f.xmm[0], 0xdeadbeef);
	f.xmm[1][3] = 0x55;
	IS(ioctl(m.cpu, KVM_SET_FPU, &f), 0);
	IS(ioctl(m.cpu, KVM_GET_FPU, &g), 0);
	EQ(memcmp(f.xmm, g.xmm, sizeof(f.xmm)), 0);
	x->region[6] = 0xffffffff;		/* MXCSR with reserved bits */
	IS(ioctl(m.cpu, KVM_SET_XSAVE, x), -EINVAL);
	*(u64 *)(void *)&x->region[128] = 1;	/* it is within the x87's part */
	IS(ioctl(m.cpu, KVM_SET_XSAVE, x), -EINVAL);
	*(u64 *)(void *)&x->region[128] = 0;
	IS(ioctl(m.cpu, KVM_SET_XSAVE, x), 0);
	x->region[6] = 0x1f80;
	/* KVM_GET_FPU has no MXCSR, KVM_SET_FPU does not look at it. */
	x->region[6] |= 0x20;
	*(u64 *)(void *)&x->region[128] = 3;
	IS(ioctl(m.cpu, KVM_SET_XSAVE, x), 0);
	IS(ioctl(m.cpu, KVM_GET_FPU, &f), 0);
	EQ(f.mxcsr, 0);
	f.mxcsr = ~0u;
	IS(ioctl(m.cpu, KVM_SET_FPU, &f), 0);
	IS(ioctl(m.cpu, KVM_GET_XSAVE, y), 0);
	EQ(y->region[6], 0x1fa0);
	x->region[6] = 0x1f80;
	*(u64 *)(void *)&x->region[128] |= 1ull << 40;
	IS(ioctl(m.cpu, KVM_SET_XSAVE, x), -EINVAL);
	IS(ioctl(m.cpu, KVM_GET_XSAVE, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_GET_XSAVE2, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_SET_XSAVE, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_GET_FPU, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_SET_FPU, BAD), -EFAULT);
	memset(&c, 0, sizeof(c));
	IS(ioctl(m.cpu, KVM_GET_XCRS, &c), 0);
	EQ(c.nr_xcrs, 1);
	EQ(c.xcrs[0].value, 1);
	c.xcrs[0].value = 3;
	IS(ioctl(m.cpu, KVM_SET_XCRS, &c), 0);
	IS(ioctl(m.cpu, KVM_GET_XCRS, &c), 0);
	EQ(c.xcrs[0].value, 3);
	c.xcrs[0].value = 2;			/* x87 must be on */
	IS(ioctl(m.cpu, KVM_SET_XCRS, &c), -EINVAL);
	c.xcrs[0].value = 3;
	c.flags = 1;
	IS(ioctl(m.cpu, KVM_SET_XCRS, &c), -EINVAL);
	c.flags = 0;
	c.nr_xcrs = 17;
	IS(ioctl(m.cpu, KVM_SET_XCRS, &c), -EINVAL);
	IS(ioctl(m.cpu, KVM_GET_XCRS, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_SET_XCRS, BAD), -EFAULT);
}

/* -- the rest -- */

T(translate, "5.2: TRANSLATE: valid 0 if unmapped; writeable 1, usermode 0; always 0")
{
	struct kvm_translation t = { .linear_address = 0x5123 };

	machine(M_CPUID);
	IS(ioctl(m.cpu, KVM_TRANSLATE, &t), 0);
	EQ(t.valid, 1);
	EQ(t.physical_address, 0x5123);
	EQ(t.writeable, 1);
	EQ(t.usermode, 0);
	MUST(!enter64());
	t.linear_address = 1ull << 40;
	IS(ioctl(m.cpu, KVM_TRANSLATE, &t), 0);
	EQ(t.valid, 0);
	EQ(t.writeable, 1);
	IS(ioctl(m.cpu, KVM_TRANSLATE, BAD), -EFAULT);
}

T(signal_mask, "5.7: SET_SIGNAL_MASK: len must be 8; NULL removes it")
{
	struct {
		u32 len;
		u8 set[8];
	} s = { .len = 4 };

	machine(0);
	IS(ioctl(m.cpu, KVM_SET_SIGNAL_MASK, &s), -EINVAL);
	s.len = 8;
	IS(ioctl(m.cpu, KVM_SET_SIGNAL_MASK, &s), 0);
	IS(ioctl(m.cpu, KVM_SET_SIGNAL_MASK, NULL), 0);
	IS(ioctl(m.cpu, KVM_SET_SIGNAL_MASK, BAD), -EFAULT);
}

T(tpr_reporting, "5.1: TPR_ACCESS_REPORTING: flags not 0 EINVAL")
{
	struct kvm_tpr_access_ctl c = { .enabled = 1, .flags = 1 };

	machine(M_IRQCHIP);
	IS(ioctl(m.cpu, KVM_TPR_ACCESS_REPORTING, &c), -EINVAL);
	c.flags = 0;
	IS(ioctl(m.cpu, KVM_TPR_ACCESS_REPORTING, &c), 0);
	c.enabled = 0;
	IS(ioctl(m.cpu, KVM_TPR_ACCESS_REPORTING, &c), 0);
	IS(ioctl(m.cpu, KVM_TPR_ACCESS_REPORTING, BAD), -EFAULT);
}

T(kvmclock_ctrl, "5.2: KVMCLOCK_CTRL: EINVAL unless the guest enabled kvmclock; flag 2 is shown")
{
	machine(M_CPUID);
	IS(ioctl(m.cpu, KVM_KVMCLOCK_CTRL, 0), -EINVAL);
	EQ(set_msr(m.cpu, 0x4b564d01, DATA | 1), 1);
	IS(ioctl(m.cpu, KVM_KVMCLOCK_CTRL, 0), 0);
	LOAD(0xf4);
	EQ(run(), KVM_EXIT_HLT);
	EQ(m.ram[DATA + 29] & 2, 2);
	EQ(m.ram[DATA] & 1, 0);
}

T(tsc_offset_attr, "5.1: vCPU attribute 0/0: TSC offset; others ENXIO")
{
	u64 off = 0x123456789abcull, got = 0;
	struct kvm_device_attr a = { .addr = (uintptr_t)&off }, bad = { .attr = 5 };

	machine(0);
	IS(ioctl(m.cpu, KVM_HAS_DEVICE_ATTR, &a), 0);
	IS(ioctl(m.cpu, KVM_SET_DEVICE_ATTR, &a), 0);
	a.addr = (uintptr_t)&got;
	IS(ioctl(m.cpu, KVM_GET_DEVICE_ATTR, &a), 0);
	EQ(got, off);
	a.addr = 8;
	IS(ioctl(m.cpu, KVM_GET_DEVICE_ATTR, &a), -EFAULT);
	IS(ioctl(m.cpu, KVM_SET_DEVICE_ATTR, &a), -EFAULT);
	IS(ioctl(m.cpu, KVM_HAS_DEVICE_ATTR, &bad), -ENXIO);
	IS(ioctl(m.cpu, KVM_GET_DEVICE_ATTR, &bad), -ENXIO);
	IS(ioctl(m.cpu, KVM_SET_DEVICE_ATTR, &bad), -ENXIO);
	bad = (struct kvm_device_attr){ .group = 4 };
	IS(ioctl(m.cpu, KVM_HAS_DEVICE_ATTR, &bad), -ENXIO);
	IS(ioctl(m.cpu, KVM_HAS_DEVICE_ATTR, BAD), -EFAULT);
}

T(mce, "5.1: X86_SETUP_MCE, X86_SET_MCE: banks and bits; a UC error without CR4.MCE shuts down")
{
	u64 cap_ = 0, v;
	struct kvm_x86_mce e = { .bank = 1, .status = 1ull << 63 | 5, .addr = 0x1000, .misc = 7 };

	machine(M_CPUID);
	MUST(!ioctl(m.sys, KVM_X86_GET_MCE_CAP_SUPPORTED, &cap_));
	v = (cap_ & ~0xffull) | 10;
	IS(ioctl(m.cpu, KVM_X86_SETUP_MCE, &v), 0);
	EQ(get_msr(m.cpu, 0x179, &v), 1);
	EQ(v & 0xff, 10);
	v = cap_ & ~0xffull;
	IS(ioctl(m.cpu, KVM_X86_SETUP_MCE, &v), -EINVAL);	/* no bank */
	v = (cap_ & ~0xffull) | 33;
	IS(ioctl(m.cpu, KVM_X86_SETUP_MCE, &v), -EINVAL);
	v = 1ull << 40 | 10;
	IS(ioctl(m.cpu, KVM_X86_SETUP_MCE, &v), -EINVAL);
	IS(ioctl(m.cpu, KVM_X86_SETUP_MCE, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_X86_SET_MCE, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_X86_SET_MCE, &e), 0);
	EQ(get_msr(m.cpu, 0x405, &v), 1);
	EQ(v, e.status);
	EQ(get_msr(m.cpu, 0x406, &v), 1);
	EQ(v, 0x1000);
	e.bank = 10;
	IS(ioctl(m.cpu, KVM_X86_SET_MCE, &e), -EINVAL);
	e.bank = 1;
	e.status = 5;			/* not valid */
	IS(ioctl(m.cpu, KVM_X86_SET_MCE, &e), -EINVAL);
	e.status = 1ull << 63 | 1ull << 61;	/* no action required: logged */
	IS(ioctl(m.cpu, KVM_X86_SET_MCE, &e), 0);
	EQ(get_msr(m.cpu, 0x405, &v), 1);
	EQ(v, e.status);
	LOAD(0xf4);
	EQ(run(), KVM_EXIT_HLT);
	e.status |= 1ull << 57;			/* the CPU's context is corrupt */
	IS(ioctl(m.cpu, KVM_X86_SET_MCE, &e), 0);
	EQ(run(), KVM_EXIT_SHUTDOWN);
}

T(pre_fault, "5.1: PRE_FAULT_MEMORY: flags, alignment EINVAL; no slot ENOENT; advances")
{
	struct kvm_pre_fault_memory p = { .gpa = 0x2000, .size = 0x3000 };

	machine(0);
	NEED(cap(m.vm, 236), "not offered");
	IS(ioctl(m.cpu, KVM_PRE_FAULT_MEMORY, &p), 0);
	EQ(p.gpa, 0x5000);
	EQ(p.size, 0);
	p.size = 0x1000;
	p.flags = 1;
	IS(ioctl(m.cpu, KVM_PRE_FAULT_MEMORY, &p), -EINVAL);
	p.flags = 0;
	p.gpa = 1;
	IS(ioctl(m.cpu, KVM_PRE_FAULT_MEMORY, &p), -EINVAL);
	p.gpa = RAM - 0x1000;
	p.size = 0;
	IS(ioctl(m.cpu, KVM_PRE_FAULT_MEMORY, &p), -EINVAL);
	p.size = 0x2000;
	IS(ioctl(m.cpu, KVM_PRE_FAULT_MEMORY, &p), 0);	/* a part */
	EQ(p.gpa, RAM);
	EQ(p.size, 0x1000);
	IS(ioctl(m.cpu, KVM_PRE_FAULT_MEMORY, &p), -ENOENT);
	IS(ioctl(m.cpu, KVM_PRE_FAULT_MEMORY, BAD), -EFAULT);
}

T(x2apic_api, "2.3: X2APIC_API: bits outside EINVAL; enable and disable together EINVAL")
{
	machine(M_NO_CPU | M_IRQCHIP);
	IS(enable(m.vm, KVM_CAP_X2APIC_API, 0x10), -EINVAL);
	IS(enable(m.vm, KVM_CAP_X2APIC_API, 0), 0);
	IS(enable(m.vm, KVM_CAP_X2APIC_API, 3), 0);
	NEED(cap(m.vm, KVM_CAP_X2APIC_API) == 0xf, "before 7.0");
	IS(enable(m.vm, KVM_CAP_X2APIC_API, 0xc), -EINVAL);
}

T(nested_state,
  "4.13: GET/SET_NESTED_STATE: size too small, unknown flags or format refused; round trip")
{
	struct kvm_nested_state *s = calloc(1, 8192);
	u64 v;

	machine(M_CPUID);
	MUST(s);
	s->size = 128;
	if (!cap(m.sys, KVM_CAP_NESTED_STATE)) {
		IS(ioctl(m.cpu, KVM_GET_NESTED_STATE, s), -EINVAL);
		IS(ioctl(m.cpu, KVM_SET_NESTED_STATE, s), -EINVAL);
		return;
	}
	IS(ioctl(m.cpu, KVM_GET_NESTED_STATE, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_SET_NESTED_STATE, BAD), -EFAULT);
	s->size = 8;
	IS(ioctl(m.cpu, KVM_GET_NESTED_STATE, s), -E2BIG);
	TRUE(s->size >= 128);
	s->size = 8192;
	IS(ioctl(m.cpu, KVM_GET_NESTED_STATE, s), 0);
	TRUE(s->size >= 128 && s->size <= 8192);
	NEED(get_msr(m.cpu, 0xc0010114, &v) == 1 && s->format == 1, "not an AMD guest");
	IS(ioctl(m.cpu, KVM_SET_NESTED_STATE, s), 0);
	s->flags = 0x8000;
	IS(ioctl(m.cpu, KVM_SET_NESTED_STATE, s), -EINVAL);
	s->flags = 0;
	s->format = 0;
	IS(ioctl(m.cpu, KVM_SET_NESTED_STATE, s), -EINVAL);
	s->format = 1;
	s->size = 64;
	IS(ioctl(m.cpu, KVM_SET_NESTED_STATE, s), -EINVAL);
}
