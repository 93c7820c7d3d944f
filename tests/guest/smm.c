/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/smm.c - system management mode: the way in, the save-state area, RSM, what waits
 * meanwhile (APM2 chapter 10, docs/kvm-abi.md 5.9).
 */
/* Run: build/standin run -- build/tests/guest/guest_smm [NAME...] */
#include <pthread.h>
#include <sys/ioctl.h>

#include "tests/guest/harness/smm.h"

#define DR6_INIT 0xffff0ff0u
#define SMBASE_MSR 0x9e
#define SMI_COUNT 0x34

CODE16(h_out, "out %al, $0x51\n rsm");
CODE16(h_rsm, "rsm");
CODE64(spin, "sp_1: nop\n out %al, $0x50\n sp_2: inc %ebx\n" DONE);
LABEL(sp_2);

/* Up to port 0x50, and an SMI behind it: the next run begins in the handler. */
static void to_smi(struct smm *m)
{
	struct stop st = run(m->g);

	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 0x50);
	smm_smi(m->c);
}

T(entry_state, "the handler begins flat and 16-bit at SMBASE + 8000h, all else off")
{
	struct smm m = smm_with(M_LONG, spin, h_out);
	struct kvm_debugregs d = { .dr6 = 0xffff0ff1, .dr7 = 0x455 };
	struct kvm_sregs before, s;
	struct kvm_vcpu_events e;
	struct stop st;

	to_smi(&m);
	WITH_REGS(m.c, r)
		r.r15 = 0x1234567890;
	cpu_complete(m.c);
	vcpu_ioctl(m.c, KVM_SET_DEBUGREGS, &d, "KVM_SET_DEBUGREGS");
	before = cpu_sregs(m.c);
	CHECK_EQ(m.c->run->flags & KVM_RUN_X86_SMM, 0);
	st = run(m.g);
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 0x51);
	CHECK_EQ(m.c->run->flags & KVM_RUN_X86_SMM, KVM_RUN_X86_SMM);
	CHECK_EQ(st.r.rip, 0x8000);
	CHECK_EQ(st.r.rflags, 2);
	CHECK_EQ(st.r.r15, 0x1234567890);
	s = cpu_sregs(m.c);
	CHECK_EQ(s.cs.base, G_SMBASE);
	CHECK_EQ(s.cs.selector, (G_SMBASE >> 4) & 0xffff);
	struct kvm_segment *seg[] = { &s.cs, &s.ds, &s.es, &s.fs, &s.gs, &s.ss };

	for (u32 i = 0; i < ARRAY_SIZE(seg); i++) {
		CHECK_EQ(seg[i]->limit, 0xffffffff);
		CHECK_EQ(seg[i]->type, 3);
		CHECK_EQ(seg[i]->s, 1);
		CHECK_EQ(seg[i]->g, 1);
		CHECK_EQ(seg[i]->db | seg[i]->l | seg[i]->dpl, 0);
		if (i) {
			CHECK_EQ(seg[i]->selector, 0);
			CHECK_EQ(seg[i]->base, 0);
		}
	}
	CHECK_EQ(s.cr0, before.cr0 & ~0x8000000dull);
	CHECK_EQ(s.cr3, before.cr3);
	CHECK_EQ(s.cr4, 0);
	CHECK_EQ(s.efer, 0);
	CHECK_EQ(s.idt.limit, 0);
	CHECK_EQ(s.idt.base, 0);
	CHECK_EQ(s.gdt.base, before.gdt.base);
	CHECK_EQ(s.tr.base, before.tr.base);
	vcpu_ioctl(m.c, KVM_GET_DEBUGREGS, &d, "KVM_GET_DEBUGREGS");
	CHECK_EQ(d.dr6, 0xffff0ff1);
	CHECK_EQ(d.dr7, 0x400);
	e = smm_events(m.c);
	CHECK_EQ(e.smi.smm, 1);
	CHECK_EQ(e.smi.pending, 0);
	CHECK_EQ(e.smi.smm_inside_nmi, 0);
	CHECK_EQ(e.nmi.masked, 1);
	CHECK_EQ(cpu_msr(m.c, SMI_COUNT), 1);
	st = run(m.g);
	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(m.c->run->flags & KVM_RUN_X86_SMM, 0);
	e = smm_events(m.c);
	CHECK_EQ(e.smi.smm, 0);
	CHECK_EQ(e.nmi.masked, 0);
}

/* -- the map -- */

struct word {
	u32 at, bytes;
	u64 val;
};

static void check_map(const struct smm *m, const struct word *w, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		u64 got = smm_get(m, w[i].at, w[i].bytes);

		if (got != w[i].val)
			test_fail(__FILE__, __LINE__, "offset %#x: %#llx, expected %#llx", w[i].at,
				  (unsigned long long)got, (unsigned long long)w[i].val);
	}
}

T(map_64, "the AMD64 save-state map holds each register at its place, and zeroes elsewhere")
{
	struct smm m = smm_with(M_LONG, spin, h_out);
	struct kvm_debugregs d = { .dr6 = 0xffff0ff2, .dr7 = 0x401 };
	struct kvm_sregs s;
	struct stop st;
	u32 sum = 0;

	to_smi(&m);
	cpu_complete(m.c);
	vcpu_ioctl(m.c, KVM_SET_DEBUGREGS, &d, "KVM_SET_DEBUGREGS");
	WITH_REGS(m.c, r) {
		r.rax = 0x1111111111111100, r.rcx = 0x1111111111111101, r.rdx = 0x1111111111111102;
		r.rbx = 0x1111111111111103, r.rsp = 0x7ff0, r.rbp = 0x1111111111111105;
		r.rsi = 0x1111111111111106, r.rdi = 0x1111111111111107, r.r8 = 0x1111111111111108;
		r.r9 = 0x1111111111111109, r.r10 = 0x111111111111110a, r.r11 = 0x111111111111110b;
		r.r12 = 0x111111111111110c, r.r13 = 0x111111111111110d, r.r14 = 0x111111111111110e;
		r.r15 = 0x111111111111110f, r.rflags = 0x8d7;
	}
	WITH_SREGS(m.c, t) {
		t.fs.base = 0xffff888000001000;
		t.fs.selector = 0x3b;
		t.gs.base = 0x7f0000002000;
		t.es.selector = 0x10;
	}
	s = cpu_sregs(m.c);
	st = run(m.g);
	CHECK_EQ(st.port, 0x51);

#define ATTR(x) (u64)((x).type | (x).s << 4 | (x).dpl << 5 | (x).present << 7 | (x).avl << 12 | \
		      (x).l << 13 | (x).db << 14 | (x).g << 15)
#define SEG(at, x) { at, 2, (x).selector }, { at + 2, 2, ATTR(x) }, { at + 4, 4, (x).limit }, \
		   { at + 8, 8, (x).base }
	const struct word want[] = {
		SEG(0xfe00, s.es), SEG(0xfe10, s.cs), SEG(0xfe20, s.ss), SEG(0xfe30, s.ds),
		SEG(0xfe40, s.fs), SEG(0xfe50, s.gs), SEG(0xfe70, s.ldt), SEG(0xfe90, s.tr),
		{ 0xfe64, 4, s.gdt.limit }, { 0xfe68, 8, s.gdt.base },
		{ 0xfe84, 4, s.idt.limit }, { 0xfe88, 8, s.idt.base },
		{ 0xfea0, 8, 0 }, { 0xfec0, 8, 0 }, { 0xfec8, 8, 0 },
		{ 0xfed0, 8, s.efer }, { 0xfed8, 8, 0 }, { 0xfee0, 8, 0 },
		{ 0xfefc, 4, 0x20064 }, { 0xff00, 4, G_SMBASE },
		{ 0xff48, 8, s.cr4 }, { 0xff50, 8, s.cr3 }, { 0xff58, 8, s.cr0 },
		{ 0xff60, 8, 0x401 }, { 0xff68, 8, 0xffff0ff2 }, { 0xff70, 8, 0x8d7 },
		{ 0xff78, 8, AT(spin, sp_2) },
		{ 0xff80, 8, 0x111111111111110f }, { 0xff88, 8, 0x111111111111110e },
		{ 0xff90, 8, 0x111111111111110d }, { 0xff98, 8, 0x111111111111110c },
		{ 0xffa0, 8, 0x111111111111110b }, { 0xffa8, 8, 0x111111111111110a },
		{ 0xffb0, 8, 0x1111111111111109 }, { 0xffb8, 8, 0x1111111111111108 },
		{ 0xffc0, 8, 0x1111111111111107 }, { 0xffc8, 8, 0x1111111111111106 },
		{ 0xffd0, 8, 0x1111111111111105 }, { 0xffd8, 8, 0x7ff0 },
		{ 0xffe0, 8, 0x1111111111111103 }, { 0xffe8, 8, 0x1111111111111102 },
		{ 0xfff0, 8, 0x1111111111111101 }, { 0xfff8, 8, 0x1111111111111100 },
	};
#undef SEG
	check_map(&m, want, ARRAY_SIZE(want));
	for (u32 at = 0xff04; at < 0xff48; at++)
		sum += (u32)smm_get(&m, at, 1);
	CHECK_EQ(sum, 0);
}

T(map_32, "a CPU without long mode has the older map")
{
	struct smm m = smm_new(M_PM32);
	struct kvm_sregs s;
	struct stop st;

	smm_cpuid_clear(&m, 0x80000001, 3, 29);
	guest_load(m.g, G_CODE, spin);
	smm_handler(&m, h_out);
	to_smi(&m);
	WITH_REGS(m.c, r) {
		r.rax = 0x10, r.rcx = 0x11, r.rdx = 0x12, r.rbx = 0x13, r.rbp = 0x15, r.rsi = 0x16;
		r.rdi = 0x17;
	}
	cpu_complete(m.c);
	s = cpu_sregs(m.c);
	st = run(m.g);
	CHECK_EQ(st.port, 0x51);
#define SEG(at, sel, x) { at, 4, ATTR(x) << 8 }, { at + 4, 4, (x).limit }, \
			{ at + 8, 4, (x).base }, { sel, 4, (x).selector }
	const struct word want[] = {
		{ 0xfef8, 4, G_SMBASE }, { 0xfefc, 4, 0x20000 }, { 0xff00, 4, 0 },
		{ 0xff14, 4, s.cr4 },
		SEG(0xff2c, 0xffb4, s.ds), SEG(0xff38, 0xffb8, s.fs), SEG(0xff44, 0xffbc, s.gs),
		SEG(0xff5c, 0xffc4, s.tr), SEG(0xff78, 0xffc0, s.ldt), SEG(0xff84, 0xffa8, s.es),
		SEG(0xff90, 0xffac, s.cs), SEG(0xff9c, 0xffb0, s.ss),
		{ 0xff54, 4, s.idt.limit }, { 0xff58, 4, s.idt.base },
		{ 0xff70, 4, s.gdt.limit }, { 0xff74, 4, s.gdt.base },
		{ 0xffc8, 4, 0x400 }, { 0xffcc, 4, DR6_INIT },
		{ 0xffd0, 4, 0x10 }, { 0xffd4, 4, 0x11 }, { 0xffd8, 4, 0x12 }, { 0xffdc, 4, 0x13 },
		{ 0xffe0, 4, G_STACK }, { 0xffe4, 4, 0x15 }, { 0xffe8, 4, 0x16 },
		{ 0xffec, 4, 0x17 },
		{ 0xfff0, 4, AT(spin, sp_2) }, { 0xfff4, 4, 2 }, { 0xfff8, 4, s.cr3 },
		{ 0xfffc, 4, s.cr0 },
	};
#undef SEG
	check_map(&m, want, ARRAY_SIZE(want));
	smm_put(&m, 0xffd0, 4, 0x77);
	st = run(m.g);
	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(st.r.rax & 0xff, 0x77);
	CHECK_EQ(st.r.rbx, 0x14);
}

static u64 sregs_differ(const struct kvm_sregs *a, const struct kvm_sregs *b)
{
	const u8 *p = (const u8 *)a, *q = (const u8 *)b;

	for (u32 i = 0; i < sizeof(*a); i++)
		if (p[i] != q[i])
			return i + 1;
	return 0;
}

CODE16(spin16, "nop\n out %al, $0x50\n inc %bx\n out %al, $0xf0");
T(modes, "an SMI and RSM leave every mode as it was")
{
	for (enum mode mode = 0; mode < M_COUNT; mode++) {
		struct smm m = smm_new(mode);
		struct kvm_sregs before, after;
		struct kvm_regs regs;
		struct stop st;
		bool small = mode == M_REAL || mode == M_PM16;

		if (small)
			guest_load(m.g, G_CODE, spin16);
		else
			guest_load(m.g, G_CODE, spin);
		smm_handler(&m, h_rsm);
		st = run(m.g);
		CHECK_EQ(st.port, 0x50);
		cpu_complete(m.c);
		WITH_REGS(m.c, r)
			r.rflags |= 0x8d5, r.rbx = 5;
		before = cpu_sregs(m.c);
		regs = cpu_regs(m.c);
		smm_smi(m.c);
		/* One step of the debugger's: RSM. */
		struct kvm_guest_debug dbg = { .control = KVM_GUESTDBG_ENABLE |
							  KVM_GUESTDBG_SINGLESTEP };

		vcpu_ioctl(m.c, KVM_SET_GUEST_DEBUG, &dbg, "KVM_SET_GUEST_DEBUG");
		st = run(m.g);
		CHECK_STOP(st, ST_DEBUG);
		after = cpu_sregs(m.c);
		CHECK_EQ(sregs_differ(&before, &after), 0);
		regs.rflags &= ~0x100ull;
		st.r.rflags &= ~0x100ull;
		CHECK_EQ(st.r.rip, regs.rip);
		CHECK_EQ(st.r.rflags, regs.rflags);
		CHECK_EQ(memcmp(&regs, &st.r, sizeof(regs)), 0);
		dbg.control = 0;
		vcpu_ioctl(m.c, KVM_SET_GUEST_DEBUG, &dbg, "KVM_SET_GUEST_DEBUG");
		st = run(m.g);
		CHECK_STOP(st, ST_DONE);
		CHECK_EQ(st.r.rbx, 6);
		CHECK_EQ(cpu_msr(m.c, SMI_COUNT), 1);
		smm_free(&m);
	}
}

/* -- RSM -- */

CODE64(rsm_out, "rsm" DONE);
T(rsm_outside, "RSM outside of SMM is #UD")
{
	for (enum mode mode = M_PM32; mode < M_COUNT; mode++) {
		struct guest *g = guest_with(mode, rsm_out);
		struct stop st = run(g);

		CHECK_EXC(st, 6, -1);
		guest_free(g);
	}
}

T(rsm_loads, "RSM loads what the handler has written")
{
	struct smm m = smm_with(M_LONG, spin, h_out);
	struct kvm_sregs s;
	struct stop st;

	to_smi(&m);
	run(m.g);
	smm_put(&m, 0xffe0, 8, 0xabcdef0123456788);	/* RBX */
	smm_put(&m, 0xffb8, 8, 0x8888);			/* R8 */
	smm_put(&m, 0xfe48, 8, 0xffff900000000000);	/* FS base */
	smm_put(&m, 0xff70, 8, 0x40 | 0x8028);		/* RFLAGS with reserved bits */
	st = run(m.g);
	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(st.r.rbx, 0x23456789);
	CHECK_EQ(st.r.r8, 0x8888);
	CHECK_EQ(st.r.rflags & 0x802a, 2);
	s = cpu_sregs(m.c);
	CHECK_EQ(s.fs.base, 0xffff900000000000);
}

T(rsm_checks, "RSM of a state that cannot be is a shutdown, out of SMM")
{
	static const struct {
		const char *what;
		u32 at, bytes;
		u64 clear, set;
	} bad[] = {
		{ "CR0, high half", 0xff58, 8, 0, 1ull << 32 },
		{ "CR0.NW without CD", 0xff58, 8, 1 << 30, 1 << 29 },
		{ "CR0.PG without PE", 0xff58, 8, 1, 0 },
		{ "CR4, reserved bit", 0xff48, 8, 0, 1 << 15 },
		{ "CR4, high half", 0xff48, 8, 0, 1ull << 40 },
		{ "CR4.PAE clear in long mode", 0xff48, 8, 1 << 5, 0 },
		{ "CR3 beyond the physical address size", 0xff50, 8, 0, 1ull << 60 },
		{ "EFER, reserved bit", 0xfed0, 8, 0, 1 << 9 },
		{ "EFER, high half", 0xfed0, 8, 0, 1ull << 35 },
		{ "DR6, high half", 0xff68, 8, 0, 1ull << 32 },
		{ "DR7, high half", 0xff60, 8, 0, 1ull << 32 },
		{ "CS.L and CS.D", 0xfe12, 2, 0, 1 << 14 },
		{ "RFLAGS.VM in long mode", 0xff70, 8, 0, 1 << 17 },
		{ "guest mode without SVME", 0xfed8, 8, 0, 1 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		struct smm m = smm_with(M_LONG, spin, h_out);
		struct stop st;

		to_smi(&m);
		run(m.g);
		smm_put(&m, bad[i].at, bad[i].bytes,
			(smm_get(&m, bad[i].at, bad[i].bytes) & ~bad[i].clear) | bad[i].set);
		st = run(m.g);
		if (st.kind != ST_SHUTDOWN)
			test_fail(__FILE__, __LINE__, "%s: %s", bad[i].what, stop_text(&st));
		CHECK_EQ(m.c->run->flags & KVM_RUN_X86_SMM, 0);
		CHECK_EQ(smm_events(m.c).smi.smm, 0);
		smm_free(&m);
	}
}

T(rsm_no_long_mode, "EFER.LMA in the map counts for nothing: LME and CR0.PG make it")
{
	struct smm m = smm_with(M_LONG, spin, h_out);
	struct stop st;

	to_smi(&m);
	run(m.g);
	smm_put(&m, 0xfed0, 8, smm_get(&m, 0xfed0, 8) & ~0x400ull);
	st = run(m.g);
	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(cpu_sregs(m.c).efer & 0x500, 0x500);
}

T(relocation, "SMBASE in the map is the next SMI's; the MSR is user space's alone")
{
	struct smm m = smm_with(M_LONG, spin, h_out);
	struct stop st;
	static const u8 handler2[] = { 0xe6, 0x52, 0x0f, 0xaa };

	memcpy(m.smram + 0x10000 + 0x8000, handler2, sizeof(handler2));
	to_smi(&m);
	run(m.g);
	smm_put(&m, 0xff00, 4, G_SMBASE + 0x10000);
	st = run(m.g);
	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(cpu_msr(m.c, SMBASE_MSR), G_SMBASE + 0x10000);
	smm_smi(m.c);
	st = run(m.g);
	CHECK_EQ(st.port, 0x52);
	CHECK_EQ(cpu_sregs(m.c).cs.base, G_SMBASE + 0x10000);
	CHECK_EQ(*(u32 *)(void *)(m.smram + 0x1ff00), G_SMBASE + 0x10000);
}

CODE64(rd_smbase, "mov $0x9e, %ecx\n rdmsr" DONE);
T(smbase_msr, "the guest cannot read the SMBASE MSR; at first it is 30000h")
{
	struct guest *g = guest_with(M_LONG, rd_smbase);
	struct stop st;

	CHECK_EQ(cpu_msr(cpu0(g), SMBASE_MSR), 0x30000);
	st = run(g);
	CHECK_EXC(st, 13, 0);
}

T(no_idt, "an interrupt in SMM before LIDT is a shutdown")
{
	struct smm m = smm_new(M_LONG);
	static const u8 h[] = { 0xcd, 0x20 };
	struct stop st;

	guest_load(m.g, G_CODE, spin);
	memcpy(m.smram + 0x8000, h, sizeof(h));
	to_smi(&m);
	st = run(m.g);
	CHECK_STOP(st, ST_SHUTDOWN);
}

T(no_memory, "an SMI without memory for the save-state area is the end of the VM: EIO")
{
	struct smm m = smm_with(M_LONG, spin, h_out);
	struct kvm_regs r;

	cpu_set_msr(m.c, SMBASE_MSR, 0x10000000);
	to_smi(&m);
	CHECK_EQ(ioctl(m.c->fd, KVM_RUN, 0), -1);
	CHECK_EQ(errno, EIO);
	CHECK_EQ(ioctl(m.c->fd, KVM_GET_REGS, &r), -1);
	CHECK_EQ(errno, EIO);
	CHECK_EQ(ioctl(m.g->vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY), -1);
	CHECK_EQ(errno, EIO);
}

/* -- what waits -- */

T(smi_latched, "one SMI is latched in SMM, and taken right behind RSM")
{
	struct smm m = smm_with(M_LONG, spin, h_out);
	struct stop st;

	to_smi(&m);
	run(m.g);
	smm_smi(m.c);
	smm_smi(m.c);
	CHECK_EQ(smm_events(m.c).smi.pending, 1);
	st = run(m.g);
	CHECK_EQ(st.port, 0x51);
	CHECK_EQ(smm_get(&m, 0xff78, 8), AT(spin, sp_2));
	st = run(m.g);
	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(cpu_msr(m.c, SMI_COUNT), 2);
}

T(nmi_latched, "an NMI waits for RSM, and then comes before the next instruction")
{
	struct smm m = smm_with(M_LONG, spin, h_out);
	struct stop st;

	to_smi(&m);
	run(m.g);
	vcpu_ioctl(m.c, KVM_NMI, NULL, "KVM_NMI");
	st = run(m.g);
	CHECK_EXC(st, 2, -1);
	CHECK_EQ(st.rip, AT(spin, sp_2));
}

T(inside_nmi, "an SMI in an NMI's handler: RSM leaves NMIs masked")
{
	struct smm m = smm_with(M_LONG, spin, h_out);
	struct kvm_vcpu_events e;
	struct stop st;

	to_smi(&m);
	e = smm_events(m.c);
	e.nmi.masked = 1;
	e.flags = 0;
	vcpu_ioctl(m.c, KVM_SET_VCPU_EVENTS, &e, "KVM_SET_VCPU_EVENTS");
	run(m.g);
	CHECK_EQ(smm_events(m.c).smi.smm_inside_nmi, 1);
	vcpu_ioctl(m.c, KVM_NMI, NULL, "KVM_NMI");
	st = run(m.g);
	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(smm_events(m.c).smi.smm_inside_nmi, 0);
	CHECK_EQ(smm_events(m.c).nmi.masked, 1);
	CHECK_EQ(smm_events(m.c).nmi.pending, 1);
}

T(init_latched, "an INIT is latched in SMM: RSM first, then the reset state; a SIPI is lost")
{
	struct smm m = smm_new_flags(M_LONG, GUEST_IRQCHIP);
	struct kvm_msi init = { .address_lo = 0xfee00000, .data = 0x4500 };
	struct stop st;

	guest_load(m.g, G_CODE, spin);
	smm_handler(&m, h_out);
	/* The reset vector. */
	struct kvm_userspace_memory_region slot = {
		.slot = 5, .guest_phys_addr = 0xfffff000, .memory_size = 0x1000,
		.userspace_addr = (u64)(uintptr_t)(m.smram + 0x20000),
	};
	static const u8 reset[] = { 0xe6, 0x53, 0xf4 };

	memcpy(m.smram + 0x20ff0, reset, sizeof(reset));
	CHECK_EQ(ioctl(m.g->vm, KVM_SET_USER_MEMORY_REGION, &slot), 0);
	to_smi(&m);
	st = run(m.g);
	CHECK_EQ(st.port, 0x51);
	CHECK_EQ(ioctl(m.g->vm, KVM_SIGNAL_MSI, &init), 1);
	init.data = 0x4610;
	ioctl(m.g->vm, KVM_SIGNAL_MSI, &init);
	CHECK_EQ(smm_events(m.c).smi.latched_init, 1);
	CHECK_EQ(smm_events(m.c).smi.smm, 1);
	st = run(m.g);
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 0x53);
	CHECK_EQ(cpu_sregs(m.c).cs.base, 0xffff0000);
	/* INIT leaves SMBASE alone. */
	CHECK_EQ(cpu_msr(m.c, SMBASE_MSR), G_SMBASE);
}

CODE64(halts, "cli\n out %al, $0x50\n hlt\n ha_1: inc %ebx\n" DONE);
LABEL(ha_1);
T(halt_restart, "an SMI ends HLT; RSM goes back to it unless the handler says otherwise")
{
	for (u32 again = 0; again < 2; again++) {
		struct smm m = smm_new_flags(M_LONG, GUEST_IRQCHIP);
		struct kvm_mp_state mp;
		struct stop st;

		guest_load(m.g, G_CODE, halts);
		smm_handler(&m, h_out);
		st = run(m.g);
		CHECK_EQ(st.port, 0x50);
		cpu_complete(m.c);
		mp.mp_state = KVM_MP_STATE_HALTED;
		WITH_REGS(m.c, r)
			r.rip = AT(halts, ha_1);
		vcpu_ioctl(m.c, KVM_SET_MP_STATE, &mp, "KVM_SET_MP_STATE");
		smm_smi(m.c);
		st = run(m.g);
		CHECK_EQ(st.port, 0x51);
		CHECK_EQ(smm_get(&m, 0xfec9, 1), 1);
		CHECK_EQ(smm_get(&m, 0xff78, 8), AT(halts, ha_1));
		if (!again)
			smm_put(&m, 0xfec9, 1, 0);
		if (again)
			vcpu_ioctl(m.c, KVM_NMI, NULL, "KVM_NMI");
		st = run(m.g);
		if (again)
			CHECK_EXC(st, 2, -1);
		else
			CHECK_STOP(st, ST_DONE);
		smm_free(&m);
	}
}

CODE64(self_smi, G_APIC_ON "movl $0x44200, 0x300(%rbp)\n nop\n nop" DONE);
T(by_apic, "an IPI of the local APIC's with the SMI mode is an SMI")
{
	struct smm m = smm_new_flags(M_LONG, GUEST_IRQCHIP);
	struct stop st;

	guest_map_apic(m.g);
	guest_load(m.g, G_CODE, self_smi);
	smm_handler(&m, h_out);
	st = run(m.g);
	CHECK_EQ(st.port, 0x51);
	CHECK_EQ(m.c->run->flags & KVM_RUN_X86_SMM, KVM_RUN_X86_SMM);
	st = run(m.g);
	CHECK_STOP(st, ST_DONE);
}

/* -- memory -- */

CODE64(loop_call, "mov $3000, %r12d\n lc_1: mov $0x500000, %eax\n call *%rax\n add %ebx, %r13d\n"
	"dec %r12d\n jnz lc_1\n out %al, $0x50\n jmp loop_call_b");
T(two_memories, "one address, two memories: each world runs its own code, before and after")
{
	struct smm m = smm_new(M_LONG);
	static const u8 outside[] = { 0xbb, 1, 0, 0, 0, 0xc3 };	/* mov $1, %ebx; ret */
	/* mov $imm16, %ax; out %al, $0x51; rsm */
	u8 inside[] = { 0xb8, 2, 0, 0xe6, 0x51, 0x0f, 0xaa };
	struct stop st;

	guest_load(m.g, G_CODE, loop_call);
	guest_write(m.g, 0x500000, outside, sizeof(outside));
	/* The handler lies at 500000h as well. */
	smm_move(&m, 0x500000 - 0x8000);
	memcpy(m.smram + 0x8000, inside, sizeof(inside));
	for (u32 i = 1; i < 20; i++) {
		st = run(m.g);
		CHECK_EQ(st.port, 0x50);
		CHECK_EQ(st.r.r13, 3000 * i);
		smm_smi(m.c);
		st = run(m.g);
		CHECK_EQ(st.port, 0x51);
		CHECK_EQ(st.r.rax & 0xffff, i + 1);
		/* Written from outside, for the next time. */
		m.smram[0x8001]++;
	}
}

/* mov $0x600000, %edi (32-bit); movb $al, 1(%edi) with an address of 32 bits; rsm */
CODE16(h_patch, "mov $0x600000, %edi\n incb 1(%edi)\n rsm");
CODE64(patched, "mov $0x600000, %eax\n call *%rax\n out %al, $0x50\n jmp patched_b");
T(handler_patches, "code that the handler changes is changed code outside, by another address too")
{
	for (u32 alias = 0; alias < 2; alias++) {
		struct smm m = smm_new(M_LONG);
		static const u8 fn[] = { 0xbb, 1, 0, 0, 0, 0xc3 };
		struct stop st;

		guest_load(m.g, G_CODE, patched);
		guest_write(m.g, 0x600000, fn, sizeof(fn));
		smm_handler(&m, h_patch);
		if (alias) {
			/* 800000h is what 600000h is outside. */
			smm_slot(&m, 0, 0, 0, NULL);
			smm_slot(&m, 0, 0x600000, 0x1000, m.g->ram + 0x800000);
			guest_write(m.g, G_CODE + 1, "\0\0\x80", 3);
			guest_write(m.g, 0x800000, fn, sizeof(fn));
		}
		for (u32 i = 1; i < 50; i++) {
			st = run(m.g);
			CHECK_EQ(st.port, 0x50);
			CHECK_EQ(st.r.rbx, i);
			smm_smi(m.c);
		}
		smm_free(&m);
	}
}

T(unseen, "memory of SMM alone is a device outside")
{
	struct smm m = smm_new(M_PM32);
	static const u8 rd[] = { 0xa1, 0, 0, 0, 0x02, 0xe6, 0xf0 };	/* mov 0x2000000, %eax */
	struct stop st;

	guest_write(m.g, G_CODE, rd, sizeof(rd));
	m.smram[0] = 0x5a;
	st = run(m.g);
	CHECK_STOP(st, ST_MMIO);
	CHECK_EQ(st.gpa, G_SMBASE);
}

static u64 dirty_word(struct smm *m, u32 slot)
{
	static u64 bits[G_RAM_SIZE / 4096 / 64];
	struct kvm_dirty_log d = { .slot = slot, .dirty_bitmap = bits };

	if (ioctl(m->g->vm, KVM_GET_DIRTY_LOG, &d))
		test_die("KVM_GET_DIRTY_LOG: %s", strerror(errno));
	return bits[0x600000 / 4096 / 64];
}

T(dirty_log, "a store of the handler's is in the log of the second address space")
{
	struct smm m = smm_with(M_LONG, spin, h_patch);
	struct stop st;

	smm_log(&m, true);
	dirty_word(&m, 0);
	dirty_word(&m, 1 << 16);
	to_smi(&m);
	st = run(m.g);
	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(dirty_word(&m, 1 << 16), 1);
	CHECK_EQ(dirty_word(&m, 0), 0);
}

T(translate, "KVM_TRANSLATE and the debugger see what the CPU sees")
{
	struct smm m = smm_with(M_LONG, spin, h_out);
	struct kvm_translation t = { .linear_address = 0x12345 };

	to_smi(&m);
	run(m.g);
	vcpu_ioctl(m.c, KVM_TRANSLATE, &t, "KVM_TRANSLATE");
	CHECK_EQ(t.physical_address, 0x12345);
	CHECK_EQ(t.valid, 1);
}

/* -- state by ioctls -- */

T(moved, "a vCPU in SMM goes on in another VM, and leaves it there")
{
	struct smm a = smm_with(M_LONG, spin, h_out), b;
	struct kvm_vcpu_events e;
	struct kvm_sregs s;
	struct stop st;

	to_smi(&a);
	WITH_REGS(a.c, r)
		r.r14 = 0x1234;
	st = run(a.g);
	CHECK_EQ(st.port, 0x51);
	cpu_complete(a.c);
	b = smm_with(M_LONG, spin, h_out);
	memcpy(b.g->ram, a.g->ram, G_RAM_SIZE);
	memcpy(b.smram, a.smram, SMRAM_ALL);
	s = cpu_sregs(a.c);
	cpu_set_sregs(b.c, &s);
	e = smm_events(a.c);
	vcpu_ioctl(b.c, KVM_SET_VCPU_EVENTS, &e, "KVM_SET_VCPU_EVENTS");
	WITH_REGS(b.c, r)
		r = cpu_regs(a.c);
	CHECK_EQ(smm_events(b.c).smi.smm, 1);
	st = run(b.g);
	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(st.r.r14, 0x1234);
	CHECK_EQ(cpu_sregs(b.c).efer & 0x500, 0x500);
}

T(events_pending, "KVM_SET_VCPU_EVENTS queues an SMI, and takes it away")
{
	struct smm m = smm_with(M_LONG, spin, h_out);
	struct kvm_vcpu_events e;
	struct stop st;

	st = run(m.g);
	e = smm_events(m.c);
	e.smi.pending = 1;
	vcpu_ioctl(m.c, KVM_SET_VCPU_EVENTS, &e, "KVM_SET_VCPU_EVENTS");
	CHECK_EQ(smm_events(m.c).smi.pending, 1);
	e.flags &= ~(u32)KVM_VCPUEVENT_VALID_SMM;
	e.smi.pending = 0;
	vcpu_ioctl(m.c, KVM_SET_VCPU_EVENTS, &e, "KVM_SET_VCPU_EVENTS");
	CHECK_EQ(smm_events(m.c).smi.pending, 1);
	e.flags |= KVM_VCPUEVENT_VALID_SMM;
	vcpu_ioctl(m.c, KVM_SET_VCPU_EVENTS, &e, "KVM_SET_VCPU_EVENTS");
	e.smi.pending = 1;
	vcpu_ioctl(m.c, KVM_SET_VCPU_EVENTS, &e, "KVM_SET_VCPU_EVENTS");
	st = run(m.g);
	CHECK_EQ(st.port, 0x51);
	st = run(m.g);
	CHECK_STOP(st, ST_DONE);
}

CODE64(two, "nop\n out %al, $0x50\n inc %ebx\n inc %ebx" DONE);
T(step_forgotten, "a step that was owed is not reported when the debugger has gone")
{
	for (u32 bad = 0; bad < 2; bad++) {
		struct smm m = smm_with(M_LONG, two, h_out);
		struct kvm_guest_debug d = { .control = KVM_GUESTDBG_ENABLE |
							KVM_GUESTDBG_SINGLESTEP };
		struct stop st;

		to_smi(&m);
		run(m.g);
		cpu_complete(m.c);
		/* A shadow of MOV SS holds the report back; a shutdown takes it away. */
		smm_put(&m, 0xfecb, 1, 1);
		if (bad)
			smm_put(&m, 0xff58, 8, 1ull << 40);
		vcpu_ioctl(m.c, KVM_SET_GUEST_DEBUG, &d, "KVM_SET_GUEST_DEBUG");
		st = run(m.g);
		CHECK_STOP(st, bad ? ST_SHUTDOWN : ST_DEBUG);
		if (!bad) {
			CHECK_EQ(st.r.rbx & 3, 1);
			continue;
		}
		d.control = 0;
		vcpu_ioctl(m.c, KVM_SET_GUEST_DEBUG, &d, "KVM_SET_GUEST_DEBUG");
		smm_smi(m.c);
		st = run(m.g);
		CHECK_STOP(st, ST_OUT);
		CHECK_EQ(st.port, 0x51);
		smm_free(&m);
	}
}

/* -- two CPUs -- */

CODE64(watcher, "wa_1: mov $0x600000, %eax\n call *%rax\n cmp $100, %ebx\n jne wa_1" DONE);
CODE64(knocker, "kn_1: out %al, $0x50\n jmp kn_1");

static void *knock(void *arg)
{
	struct guest_cpu *c = arg;

	for (u32 i = 1; i <= 100; i++) {
		struct stop st = cpu_run(c);

		CHECK_EQ(st.port, 0x50);
		smm_smi(c);
	}
	return NULL;
}

T(two_cpus, "what one CPU's handler writes is what the other runs, by the same address or another")
{
	for (u32 alias = 0; alias < 2; alias++) {
		struct smm m = smm_new(M_LONG);
		static const u8 fn[] = { 0xbb, 1, 0, 0, 0, 0xc3 };
		struct guest_cpu *other = guest_add_cpu(m.g);
		u64 at = alias ? 0x800000 : 0x600000;
		pthread_t t;
		struct stop st;

		guest_load(m.g, G_CODE, watcher);
		guest_load(m.g, G_CODE + 0x100, knocker);
		WITH_REGS(other, r)
			r.rip = G_CODE + 0x100;
		cpu_set_msr(other, SMBASE_MSR, G_SMBASE + 0x10000);
		memcpy(m.smram + 0x18000, h_patch_b, LEN(h_patch));
		guest_write(m.g, at, fn, sizeof(fn));
		if (alias) {
			smm_slot(&m, 0, 0, 0, NULL);
			smm_slot(&m, 0, 0x600000, 0x1000, m.g->ram + at);
			guest_write(m.g, G_CODE + 1, "\0\0\x80", 3);
		}
		CHECK_EQ(pthread_create(&t, NULL, knock, other), 0);
		st = run(m.g);
		CHECK_STOP(st, ST_DONE);
		/* The last one is taken by nobody's run. */
		pthread_join(t, NULL);
		smm_free(&m);
	}
}
