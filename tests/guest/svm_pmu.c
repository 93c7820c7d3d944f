/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/svm_pmu.c - performance counters and nested guests: who is counted (HG_ONLY, APM2
 * 13.2.1), and RDPMC and the counters' MSRs in L2.
 */
/* Run: build/standin run -- build/tests/guest/guest_svm_pmu [NAME...] */
#include "tests/guest/harness/svm.h"

#define SEL(i) (0xc0010200u + 2 * (i))
#define CTR(i) (0xc0010201u + 2 * (i))
#define EFER 0xc0000080
#define SVME BIT64(12)
#define OS BIT64(17)
#define INT BIT64(20)
#define EN BIT64(22)
#define GUEST_ONLY BIT64(40)
#define HOST_ONLY BIT64(41)
#define INSNS 0xc0
#define GP 13

static void need(struct svm_guest *s)
{
	if (!guest_has(s->g, 0x80000001, 2, 23))
		test_skip("no performance counters");
}

static void start(struct guest_cpu *c, u32 i, u64 sel)
{
	cpu_set_msr(c, CTR(i), 0);
	cpu_set_msr(c, SEL(i), EN | OS | sel);
}

CODE64(l2, "nop\n nop\n nop\n nop\n nop\n vmmcall");

T(guest_only, "HG_ONLY: guest mode's instructions, the host's, or both")
{
	struct svm_guest s = svm_with(l2);
	struct stop st;
	u64 guest, host, both, all;

	need(&s);
	svm_want(&s, SVM_I_VMMCALL);
	start(s.c, 0, INSNS | GUEST_ONLY);
	start(s.c, 1, INSNS | HOST_ONLY);
	start(s.c, 2, INSNS | HOST_ONLY | GUEST_ONLY);
	start(s.c, 3, INSNS);
	st = svm_run(&s);
	CHECK_EXIT(&s, st, SVM_EXIT_VMMCALL);
	guest = cpu_msr(s.c, CTR(0));
	host = cpu_msr(s.c, CTR(1));
	both = cpu_msr(s.c, CTR(2));
	all = cpu_msr(s.c, CTR(3));
	/* VMMCALL has not retired: it was intercepted. */
	CHECK_EQ(guest, 5);
	CHECK(host >= 1);
	CHECK_EQ(both, guest + host);
	CHECK_EQ(all, both);
}

CODE64(plain, "nop\n nop\n nop" DONE);

T(without_svm, "with EFER.SVME clear nothing counts where one of the bits is set")
{
	struct guest *g = guest_with(M_LONG, plain);
	struct stop st;

	if (!guest_has(g, 0x80000001, 2, 23))
		test_skip("no performance counters");
	start(cpu0(g), 0, INSNS | GUEST_ONLY);
	start(cpu0(g), 1, INSNS | HOST_ONLY);
	start(cpu0(g), 2, INSNS);
	st = run(g);
	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(cpu_msr(cpu0(g), CTR(0)), 0);
	CHECK_EQ(cpu_msr(cpu0(g), CTR(1)), 0);
	CHECK_EQ(cpu_msr(cpu0(g), CTR(2)), 3);
}

CODE64(svme, "mov $0xc0000080, %ecx\n rdmsr\n or $0x1000, %eax\n wrmsr\n nop\n nop\n nop" DONE);

T(svme_begins, "... and the host's begin to when it is set")
{
	struct guest *g = guest_with(M_LONG, svme);
	struct stop st;

	if (!guest_has(g, 0x80000001, 2, 23) || !guest_has(g, 0x80000001, 2, 2))
		test_skip("no performance counters, or no SVM");
	start(cpu0(g), 0, INSNS | HOST_ONLY);
	start(cpu0(g), 1, INSNS);
	st = run(g);
	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(cpu_msr(cpu0(g), CTR(0)), 3);
	CHECK_EQ(cpu_msr(cpu0(g), CTR(1)), 7);
}

#define SVME_ON "mov $0xc0000080, %ecx\n rdmsr\n or $0x1000, %eax\n wrmsr\n"
CODE64(gif, SVME_ON "clgi\n nop\n nop\n nop\n stgi\n" DONE);

T(gif, "GIF is no mode of counting: what runs while it is clear is the host's, as before")
{
	struct guest *g = guest_with(M_LONG, gif);
	struct stop st;

	if (!guest_has(g, 0x80000001, 2, 23) || !guest_has(g, 0x80000001, 2, 2))
		test_skip("no performance counters, or no SVM");
	start(cpu0(g), 0, INSNS | HOST_ONLY);
	start(cpu0(g), 1, INSNS);
	start(cpu0(g), 2, INSNS | GUEST_ONLY);
	st = run(g);
	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(cpu_msr(cpu0(g), CTR(0)), 5);
	CHECK_EQ(cpu_msr(cpu0(g), CTR(1)), 9);
	CHECK_EQ(cpu_msr(cpu0(g), CTR(2)), 0);
}

/* LVTPC is an NMI. The counter overflows at the second NOP. */
CODE64(gif_nmi, G_APIC_ON "movl $0x400, 0x340(%rbp)\n" SVME_ON
       "clgi\n mov $0xc0010201, %ecx\n mov $-2, %eax\n mov $0xffff, %edx\n wrmsr\n"
       "nop\n nop\n nop\n nop\n nop\n nop\n nop\n nop\n stgi\n"
       "gif_nmi_at: jmp gif_nmi_at\n gif_nmi_h:" STOP(1));
LABEL(gif_nmi_at);
LABEL(gif_nmi_h);

T(gif_nmi, "a counter's NMI while GIF is clear waits for STGI (APM2 15.17)")
{
	struct guest *g =
		guest_with_apic(gif_nmi_b, (u32)(gif_nmi_e - gif_nmi_b), 2, AT(gif_nmi, gif_nmi_h));
	struct stop st;

	if (!guest_has(g, 0x80000001, 2, 23) || !guest_has(g, 0x80000001, 2, 2))
		test_skip("no performance counters, or no SVM");
	start(cpu0(g), 0, INSNS | INT);
	st = run(g);
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 1);
	CHECK_EQ(*g64(g, st.r.rsp), AT(gif_nmi, gif_nmi_at));
	guest_free(g);
}

CODE64(rdpmc0, "xor %ecx, %ecx\n rdpmc\n vmmcall");
CODE64(rdpmc9, "mov $9, %ecx\n rdpmc\n vmmcall");

T(rdpmc, "RDPMC in L2: L1's intercept; a counter that is not there is #GP before that")
{
	struct svm_guest s = svm_with(rdpmc0);
	struct stop st;

	need(&s);
	svm_want(&s, SVM_I_RDPMC);
	svm_want(&s, SVM_I_VMMCALL);
	st = svm_run(&s);
	CHECK_EXIT(&s, st, SVM_EXIT_RDPMC);
	s = svm_with(rdpmc9);
	svm_want(&s, SVM_I_RDPMC);
	svm_want(&s, SVM_I_EXCP + GP);
	st = svm_run(&s);
	CHECK_EXIT(&s, st, SVM_EXIT_EXCP + GP);
	/* Not intercepted: the vCPU's. */
	s = svm_with(rdpmc0);
	svm_want(&s, SVM_I_VMMCALL);
	cpu_set_msr(s.c, CTR(0), 0x1234);
	st = svm_run(&s);
	CHECK_EXIT(&s, st, SVM_EXIT_VMMCALL);
	CHECK_EQ((u32)s.save->rax, 0x1234);
}

CODE64(msrs, "mov $0xc0010201, %ecx\n mov $7, %eax\n xor %edx, %edx\n wrmsr\n vmmcall");

T(msrs, "the permission map keeps L2 from the counters, or lets it")
{
	struct svm_guest s = svm_with(msrs);
	struct stop st;

	need(&s);
	svm_want(&s, SVM_I_VMMCALL);
	st = svm_run(&s);
	CHECK_EXIT(&s, st, SVM_EXIT_VMMCALL);
	CHECK_EQ(cpu_msr(s.c, CTR(0)), 7);
	s = svm_with(msrs);
	svm_want(&s, SVM_I_VMMCALL);
	svm_want(&s, SVM_I_MSR);
	s.ctl->msrpm = G_MSRPM;
	/* APM2 15.11: C001_0000 and on are from 1000h, two bits each. */
	memset(s.g->ram + G_MSRPM, 0, 0x2000);
	s.g->ram[G_MSRPM + 0x1000 + 0x201 / 4] = 2 << 0x201 % 4 * 2;
	st = svm_run(&s);
	CHECK_EXIT(&s, st, SVM_EXIT_MSR);
	CHECK_EQ(cpu_msr(s.c, CTR(0)), 0);
}
