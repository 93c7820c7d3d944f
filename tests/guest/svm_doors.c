/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/svm_doors.c - what L2 gets from L0 when L1 does not intercept it (vcpu/doors.h,
 * docs/svm.md): never L0's hypercalls; the CPU's own resources as L1 has passed them on.
 */
/* Run: build/standin run -- build/tests/guest/guest_svm_doors [NAME...] */
#include <linux/kvm_para.h>
#include <sys/ioctl.h>

#include "tests/guest/harness/svm.h"

#define SENTINEL 0x5a5a5a5a5a5a5a5aull
enum { G_TARGET = 0x800000 };	/* L1's: not in L2's nested tables */

/* Nested tables with nothing but the first 8 MiB. */
static void small_npt(struct svm_guest *s)
{
	u64 *pd;

	svm_npt(s);
	pd = (u64 *)(void *)(s->g->ram + G_NPT + 0x2000);
	for (u32 i = 4; i < 512; i++)
		pd[i] = 0;
	for (u64 a = G_TARGET; a < G_TARGET + 0x40; a += 8)
		*g64(s->g, a) = SENTINEL;
}

static void check_target(struct svm_guest *s)
{
	for (u64 a = G_TARGET; a < G_TARGET + 0x40; a += 8)
		CHECK_EQ(*g64(s->g, a), SENTINEL);
}

static void allow_hypercall_exit(struct svm_guest *s)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_EXIT_HYPERCALL, .args = { BIT64(KVM_HC_MAP_GPA_RANGE) },
	};

	if (ioctl(s->g->vm, KVM_ENABLE_CAP, &cap))
		test_die("KVM_CAP_EXIT_HYPERCALL");
}

CODE64(vmmcall, "vmmcall\n out %al, $0x99");
CODE64(vmcall, "vmcall\n out %al, $0x99");
CODE32(vmmcall32, "vmmcall\n out %al, $0x99");

static const struct call {
	const char *name;
	u64 rax, rbx, rcx, rdx, rsi;
} calls[] = {
	{ "VAPIC_POLL_IRQ", KVM_HC_VAPIC_POLL_IRQ, 0, 0, 0, 0 },
	{ "KICK_CPU", KVM_HC_KICK_CPU, 0, 0, 0, 0 },
	{ "CLOCK_PAIRING", KVM_HC_CLOCK_PAIRING, G_TARGET, 0, 0, 0 },
	{ "SEND_IPI", KVM_HC_SEND_IPI, 1, 0, 0, 0x41 },
	{ "SCHED_YIELD", KVM_HC_SCHED_YIELD, 0, 0, 0, 0 },
	{ "MAP_GPA_RANGE", KVM_HC_MAP_GPA_RANGE, 0x1000, 1, 0x10, 0 },
	{ "unknown", 0x1234, 1, 2, 3, 4 },
};

static bool irr(struct svm_guest *s, u8 vec)
{
	struct kvm_lapic_state l;

	if (ioctl(s->c->fd, KVM_GET_LAPIC, &l))
		test_die("KVM_GET_LAPIC");
	return l.regs[0x200 + (vec >> 5) * 16 + (vec >> 3 & 3)] & 1 << (vec & 7);
}

static void no_hypercall(const u8 *b, u64 len, bool ring3, bool intercept_ud)
{
	for (u32 i = 0; i < ARRAY_SIZE(calls); i++) {
		struct svm_guest s = svm_new(M_LONG, GUEST_IRQCHIP, b, len);
		const struct call *k = &calls[i];
		struct stop st;

		allow_hypercall_exit(&s);
		small_npt(&s);
		vmcb_clear_intercept(s.ctl, SVM_I_VMMCALL);
		if (intercept_ud)
			svm_want(&s, SVM_I_EXCP + 6);
		if (ring3) {
			s.save->cs.attrib |= 0x60;
			s.save->ss.attrib |= 0x60;
			s.save->cs.selector = SEL_UCODE64;
			s.save->ss.selector = SEL_UDATA;
			s.save->cpl = 3;
			s.save->rsp = G_STACK3;
		}
		WITH_REGS(s.c, r)
			r.rbx = k->rbx, r.rcx = k->rcx, r.rdx = k->rdx, r.rsi = k->rsi;
		s.save->rax = k->rax;
		st = svm_run(&s);
		if (intercept_ud)
			CHECK_EXIT(&s, st, SVM_EXIT_EXCP + 6);
		else
			CHECK_EXC(st, 6, -1);
		if (intercept_ud ? s.save->rip != G_L2 || s.save->rax != k->rax
				 : st.rip != G_L2 || st.r.rax != k->rax)
			test_fail(__FILE__, __LINE__, "%s: RIP or RAX has changed", k->name);
		check_target(&s);
		CHECK(!irr(&s, 0x41));
		guest_free(s.g);
	}
}

T(hypercall, "VMMCALL that L1 does not intercept is #UD in L2, whatever it asks for")
{
	no_hypercall(vmmcall_b, LEN(vmmcall), false, false);
}

T(hypercall3, "the same at CPL 3")
{
	no_hypercall(vmmcall_b, LEN(vmmcall), true, false);
}

T(hypercall_ud, "and L1 may intercept that #UD")
{
	no_hypercall(vmmcall_b, LEN(vmmcall), false, true);
}

T(foreign, "VMCALL becomes VMMCALL and is #UD too")
{
	no_hypercall(vmcall_b, LEN(vmcall), false, false);
}

CODE64(vmcall3, "vmcall" DONE3);
T(foreign3, "VMCALL at CPL 3 is #GP(0) and stays as it is, in L1 and in L2; VMMCALL says EPERM")
{
	static const u8 insn[] = { 0x0f, 0x01, 0xc1 };
	struct guest *g = guest_with(M_LONG, vmcall3);
	struct svm_guest s;
	struct stop st;

	cpu_ring3(cpu0(g), G_CODE);
	st = RUN_EXC(g, 13, 0);
	CHECK(!memcmp(g->ram + G_CODE, insn, 3));
	g->ram[G_CODE + 2] = 0xd9;
	cpu_complete(cpu0(g));
	cpu_ring3(cpu0(g), G_CODE);
	st = RUN_EXC(g, VEC_DONE3, -1);
	CHECK_EQ((s64)st.r.rax, -1);
	guest_free(g);

	s = svm_with(vmcall);
	s.save->cs.attrib |= 0x60;
	s.save->ss.attrib |= 0x60;
	s.save->cs.selector = SEL_UCODE64;
	s.save->ss.selector = SEL_UDATA;
	s.save->cpl = 3;
	svm_want(&s, SVM_I_EXCP + 13);
	st = SVM_EXITS(&s, SVM_EXIT_EXCP + 13);
	CHECK(!memcmp(s.g->ram + G_L2, insn, 3));
	guest_free(s.g);
}

T(hypercall_modes, "in 32-bit modes too")
{
	static const u8 modes[] = { M_PG32, M_PAE, M_COMPAT };

	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		struct svm_guest s = svm_new(modes[i], 0, vmmcall32_b, LEN(vmmcall32));
		struct stop st;

		vmcb_clear_intercept(s.ctl, SVM_I_VMMCALL);
		s.save->rax = 1;
		st = svm_run(&s);
		CHECK_EXC(st, 6, -1);
		CHECK_EQ(st.r.rax, 1);
		guest_free(s.g);
	}
}

CODE64(l1_vmmcall, "mov $1, %eax\n vmmcall" DONE);
T(hypercall_l1, "L1's own hypercalls work, before and behind L2")
{
	struct svm_guest s = svm_with(vmmcall);
	struct stop st;

	guest_load(s.g, G_CODE + 0x100, l1_vmmcall);
	for (u32 i = 0; i < 2; i++) {
		struct kvm_regs back = cpu_regs(s.c);

		WITH_REGS(s.c, r)
			r.rip = G_CODE + 0x100;
		st = svm_run(&s);
		CHECK_STOP(st, ST_DONE);
		CHECK_EQ(st.r.rax, 0);
		cpu_complete(s.c);
		cpu_set_regs(s.c, &back);
		if (i)
			break;
		st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
		cpu_complete(s.c);
	}
}

/* -- the other doors, one snippet each: RAX when L2 stops -- */

CODE64(d_skinit, "skinit");
CODE64(d_rsm, "rsm");
CODE64(d_rdpmc, "xor %ecx, %ecx\n rdpmc\n mov $0x77, %eax\n vmmcall");
CODE64(d_mwait, "mov $0x10000, %eax\n xor %ecx, %ecx\n xor %edx, %edx\n monitor\n"
		"xor %eax, %eax\n mwait\n mov $0x77, %eax\n vmmcall");
CODE64(d_cpuid, "mov $0x40000000, %eax\n cpuid\n mov %ebx, %eax\n vmmcall");
CODE64(d_invlpga, "xor %ecx, %ecx\n mov $0x10000, %eax\n invlpga\n mov $0x77, %eax\n vmmcall");
CODE64(d_cr8, "mov $5, %eax\n mov %rax, %cr8\n xor %eax, %eax\n mov %cr8, %rax\n vmmcall");
CODE64(d_kvmclock, "mov $0x4b564d01, %ecx\n rdmsr\n mov $0x4b564d01, %ecx\n mov $0x900001, %eax\n"
		   "xor %edx, %edx\n wrmsr\n rdmsr\n vmmcall");
CODE64(d_port, "mov $0x42, %al\n out %al, $0x99");

T(others, "ports, CPUID, MSRs, CR8, counters are the vCPU's; SKINIT and RSM are #UD")
{
	static const struct {
		const char *name;
		const u8 *b, *e;
		enum stop_kind kind;	/* ST_OTHER: VMMCALL reached */
		u64 want;		/* vector, port or RAX */
	} d[] = {
#define D(n, k, w) { #n, d_##n##_b, d_##n##_e, k, w }
		D(skinit, ST_EXC, 6),
		D(rsm, ST_EXC, 6),
		D(rdpmc, ST_OTHER, 0x77),
		D(mwait, ST_OTHER, 0x77),
		D(cpuid, ST_OTHER, 0x4b4d564b),
		D(invlpga, ST_OTHER, 0x77),
		D(cr8, ST_OTHER, 5),
		D(kvmclock, ST_OTHER, 0x900001),
		D(port, ST_OUT, 0x99),
	};

	for (u32 i = 0; i < ARRAY_SIZE(d); i++) {
		struct svm_guest s = svm_new(M_LONG, GUEST_IRQCHIP, d[i].b, (u64)(d[i].e - d[i].b));
		struct stop st = svm_run(&s);
		bool ok;

		if (d[i].kind == ST_OTHER)
			ok = CHECK_EXIT(&s, st, SVM_EXIT_VMMCALL) &&
			     CHECK_EQ(s.save->rax, d[i].want);
		else
			ok = CHECK_STOP(st, d[i].kind) &&
			     CHECK_EQ(d[i].kind == ST_EXC ? st.vec : st.port, d[i].want);
		if (!ok)
			printf("# %s\n", d[i].name);
		guest_free(s.g);
	}
}

T(pv_msr, "KVM's own MSRs are outside the permission map: any MSR intercept keeps L2 from them")
{
	struct svm_guest s = svm_with(d_kvmclock);

	svm_want(&s, SVM_I_MSR);	/* and an empty map */
	SVM_EXITS(&s, SVM_EXIT_MSR);
	CHECK_EQ(cpu_msr(s.c, 0x4b564d01), 0);
}

T(vtpr, "CR8 is V_TPR with V_INTR_MASKING and L1's TPR stays")
{
	struct svm_guest s = svm_with_apic(d_cr8);

	s.ctl->int_ctl = SVM_V_INTR_MASKING;
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.ctl->int_ctl & SVM_V_TPR, 5);
	CHECK_EQ(cpu_sregs(s.c).cr8, 0);
}
