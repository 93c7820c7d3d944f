/* SPDX-License-Identifier: MIT */
/* tests/guest/svm_msrs.c - EFER.SVME and the MSRs of SVM (APM2 15.4, 15.30; docs/kvm-svm.md
 * 4.12). */
/* Run: build/standin run -- build/tests/guest/guest_svm_msrs [NAME...] */
#include <sys/ioctl.h>

#include "tests/guest/harness/svm.h"

enum {
	TSC = 0x10, EFER = 0xc0000080, TSC_RATIO = 0xc0000104, VM_CR = 0xc0010114,
	IGNNE = 0xc0010115, VM_HSAVE_PA = 0xc0010117,
};
#define SVME BIT64(12)
#define LOCK BIT64(3)
#define SVMDIS BIT64(4)
#define GP 13

CODE64(wr, "wrmsr" DONE);
CODE64(rd, "rdmsr" DONE);

/* WRMSR in the guest: 0, or the vector it raised. */
static int guest_wrmsr(struct guest *g, u32 msr, u64 val)
{
	struct stop st;

	guest_load(g, G_CODE, wr);
	WITH_REGS(cpu0(g), r) {
		r.rip = G_CODE;
		r.rsp = G_STACK;
		r.rcx = msr;
		r.rax = (u32)val;
		r.rdx = val >> 32;
	}
	st = run(g);
	if (st.kind == ST_EXC)
		return st.vec;
	CHECK_STOP(st, ST_DONE);
	return 0;
}

static u64 guest_rdmsr(struct guest *g, u32 msr, int *vec)
{
	struct stop st;

	guest_load(g, G_CODE, rd);
	WITH_REGS(cpu0(g), r) {
		r.rip = G_CODE;
		r.rsp = G_STACK;
		r.rcx = msr;
	}
	st = run(g);
	*vec = st.kind == ST_EXC ? st.vec : 0;
	return (u32)st.r.rax | st.r.rdx << 32;
}

static struct guest *guest_svm(void)
{
	struct guest *g = guest_new(M_LONG);

	if (!guest_has(g, 0x80000001, 2, 2))
		test_skip("no SVM");
	return g;
}

/* One that has not run, without a bit of CPUID. */
static struct guest *guest_without(u32 leaf, int reg, int bit)
{
	struct guest *g = guest_svm();

	for (u32 i = 0; i < g->cpuid->nent; i++)
		if (g->cpuid->entries[i].function == leaf)
			(&g->cpuid->entries[i].eax)[reg] &= ~BIT(bit);
	vcpu_ioctl(cpu0(g), KVM_SET_CPUID2, g->cpuid, "KVM_SET_CPUID2");
	return g;
}

static u64 efer(struct guest *g)
{
	return cpu_msr(cpu0(g), EFER);
}

T(svme, "EFER.SVME needs SVM in CPUID, and VM_CR.SVMDIS clear")
{
	struct guest *g = guest_svm();

	CHECK_EQ(guest_wrmsr(g, EFER, efer(g) | SVME), 0);
	CHECK(efer(g) & SVME);
	CHECK_EQ(guest_wrmsr(g, EFER, efer(g) & ~SVME), 0);
	CHECK_EQ(guest_wrmsr(g, VM_CR, SVMDIS), 0);
	CHECK_EQ(guest_wrmsr(g, EFER, efer(g) | SVME), GP);
	CHECK(!(efer(g) & SVME));
	g = guest_without(0x80000001, 2, 2);
	CHECK_EQ(guest_wrmsr(g, EFER, efer(g) | SVME), GP);
}

T(vm_cr, "VM_CR: bits 4:0; SVMDIS sticks together with LOCK; not while SVME is set")
{
	struct guest *g = guest_svm();
	int vec;

	CHECK_EQ(guest_rdmsr(g, VM_CR, &vec), 0);
	CHECK_EQ(vec, 0);
	CHECK_EQ(guest_wrmsr(g, VM_CR, 7), 0);
	CHECK_EQ(guest_rdmsr(g, VM_CR, &vec), 7);
	for (u32 bit = 5; bit < 64; bit++)
		CHECK_EQ(guest_wrmsr(g, VM_CR, BIT64(bit)), GP);
	CHECK_EQ(guest_rdmsr(g, VM_CR, &vec), 7);
	CHECK_EQ(guest_wrmsr(g, EFER, efer(g) | SVME), 0);
	CHECK_EQ(guest_wrmsr(g, VM_CR, SVMDIS), GP);
	CHECK_EQ(guest_wrmsr(g, EFER, efer(g) & ~SVME), 0);
	CHECK_EQ(guest_wrmsr(g, VM_CR, SVMDIS), 0);
	/* From here on LOCK and SVMDIS do not move, the others do. */
	CHECK_EQ(guest_wrmsr(g, VM_CR, LOCK | 1), 0);
	CHECK_EQ(guest_rdmsr(g, VM_CR, &vec), SVMDIS | 1);
	CHECK_EQ(guest_wrmsr(g, VM_CR, 0), 0);
	CHECK_EQ(guest_rdmsr(g, VM_CR, &vec), SVMDIS);
}

T(ignne, "VM_IGNNE: writes are ignored")
{
	struct guest *g = guest_svm();
	int vec;

	CHECK_EQ(guest_wrmsr(g, IGNNE, 1), 0);
	CHECK_EQ(guest_rdmsr(g, IGNNE, &vec), 0);
	CHECK_EQ(vec, 0);
}

T(hsave, "VM_HSAVE_PA: the guest writes a page below MAXPHYADDR, user space anything")
{
	struct guest *g = guest_svm();
	int vec;

	CHECK_EQ(guest_wrmsr(g, VM_HSAVE_PA, 0x5000), 0);
	CHECK_EQ(guest_rdmsr(g, VM_HSAVE_PA, &vec), 0x5000);
	CHECK_EQ(guest_wrmsr(g, VM_HSAVE_PA, 0x5001), GP);
	CHECK_EQ(guest_wrmsr(g, VM_HSAVE_PA, BIT64(52)), GP);
	CHECK_EQ(guest_rdmsr(g, VM_HSAVE_PA, &vec), 0x5000);
	cpu_set_msr(cpu0(g), VM_HSAVE_PA, BIT64(52) | 0x6123);
	CHECK_EQ(cpu_msr(cpu0(g), VM_HSAVE_PA), BIT64(52) | 0x6000);
}

T(ratio, "TSC_RATIO: bits 39:0, 1.0 at reset, only with the feature")
{
	struct guest *g = guest_svm();
	int vec;

	CHECK_EQ(guest_rdmsr(g, TSC_RATIO, &vec), BIT64(32));
	CHECK_EQ(guest_wrmsr(g, TSC_RATIO, 0x1fffffffff), 0);
	CHECK_EQ(guest_rdmsr(g, TSC_RATIO, &vec), 0x1fffffffff);
	for (u32 bit = 40; bit < 64; bit++)
		CHECK_EQ(guest_wrmsr(g, TSC_RATIO, BIT64(bit)), GP);
	g = guest_without(0x8000000a, 3, 4);
	CHECK_EQ(guest_wrmsr(g, TSC_RATIO, BIT64(32)), GP);
	guest_rdmsr(g, TSC_RATIO, &vec);
	CHECK_EQ(vec, GP);
	/* User space may write back what it has read. */
	cpu_set_msr(cpu0(g), TSC_RATIO, BIT64(32));
	CHECK_EQ(cpu_msr(cpu0(g), TSC_RATIO), BIT64(32));
}

/* -- in L2 -- */

CODE64(tsc2, "rdtsc\n mov %eax, %ebx\n mov %edx, %ecx\n vmmcall");
static u64 l2_tsc(struct svm_guest *s)
{
	struct stop st;

	svm_rewind(s);
	st = SVM_EXITS(s, SVM_EXIT_VMMCALL);
	return (u32)st.r.rbx | st.r.rcx << 32;
}

T(ratio_l2, "L2's TSC is L1's times the ratio plus TSC_OFFSET; L1's is not scaled")
{
	struct svm_guest s = svm_with(tsc2);
	struct stop st;
	u64 l1, l2;

	cpu_set_msr(s.c, TSC, BIT64(40));
	cpu_set_msr(s.c, TSC_RATIO, BIT64(31));	/* half */
	l2 = l2_tsc(&s);
	l1 = cpu_msr(s.c, TSC);
	CHECK(l1 >= BIT64(40) && l1 < BIT64(40) + BIT64(38));
	CHECK(l2 >= BIT64(39) && l2 < l1 / 2 + 1);
	svm_rewind(&s);
	s.ctl->tsc_offset = BIT64(50);
	st = svm_run(&s);
	l2 = (u32)st.r.rbx | st.r.rcx << 32;
	CHECK(l2 >= BIT64(50) + BIT64(39) && l2 < BIT64(50) + BIT64(40));
	cpu_set_msr(s.c, TSC_RATIO, BIT64(33));	/* twice */
	l2 = l2_tsc(&s);
	CHECK(l2 >= BIT64(41) && l2 < BIT64(42));
}

CODE64(ratio2, "mov $0xc0000104, %ecx\n xor %eax, %eax\n mov $4, %edx\n wrmsr\n"
	" rdtsc\n mov %eax, %ebx\n mov %edx, %ecx\n vmmcall");
T(ratio_in_l2, "a ratio that L2 writes by itself takes effect at once")
{
	struct svm_guest s = svm_with(ratio2);
	struct stop st;
	u64 l2;

	cpu_set_msr(s.c, TSC, BIT64(40));
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	l2 = (u32)st.r.rbx | st.r.rcx << 32;
	CHECK(l2 >= BIT64(42) && l2 < BIT64(43));
	CHECK(cpu_msr(s.c, TSC) < BIT64(41));
}

CODE64(clear_svme, "mov $0xc0000080, %ecx\n rdmsr\n btr $12, %eax\n wrmsr\n vmmcall");
T(svme_l2, "L2 that clears EFER.SVME is a shutdown")
{
	struct svm_guest s = svm_with(clear_svme);
	struct stop st = svm_run(&s);

	CHECK_STOP(st, ST_SHUTDOWN);
}

CODE64(cl, "clgi\n out %al, $0x20\n mov $0xc0000080, %ecx\n rdmsr\n btr $12, %eax\n wrmsr" DONE);
T(svme_gif, "clearing EFER.SVME leaves GIF alone")
{
	struct guest *g = guest_with(M_LONG, cl);

	cpu_set_msr(cpu0(g), EFER, efer(g) | SVME);
	RUN_TO(g, ST_OUT);
	CHECK_EQ(nested_flags(cpu0(g)), 0);
	RUN_TO(g, ST_DONE);
	CHECK(!(efer(g) & SVME));
	CHECK_EQ(nested_flags(cpu0(g)), 0);
}

CODE64(stop2, "out %al, $0x10\n vmmcall");
T(svme_user, "user space that clears EFER.SVME in the middle of L2 takes L2 away")
{
	for (u32 how = 0; how < 2; how++) {
		struct svm_guest s = svm_with(stop2);
		struct stop st = svm_run(&s);

		CHECK_EQ(st.port, 0x10);
		CHECK(nested_flags(s.c) & KVM_STATE_NESTED_GUEST_MODE);
		if (how)
			cpu_set_msr(s.c, EFER, cpu_msr(s.c, EFER) & ~SVME);
		else
			WITH_SREGS(s.c, sr)
				sr.efer &= ~SVME;
		CHECK(!(nested_flags(s.c) & KVM_STATE_NESTED_GUEST_MODE));
		CHECK(!(cpu_msr(s.c, EFER) & SVME));
	}
}

T(reset, "the MSRs survive as user space reads and writes them")
{
	struct guest *g = guest_svm(), *h = guest_svm();
	static const struct { u32 msr; u64 val; } rows[] = {
		{ VM_CR, 0x1f }, { VM_HSAVE_PA, 0x7000 }, { TSC_RATIO, 0x180000000 }, { IGNNE, 0 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		cpu_set_msr(cpu0(g), rows[i].msr, rows[i].val);
		CHECK_EQ(cpu_msr(cpu0(g), rows[i].msr), rows[i].val);
		cpu_set_msr(cpu0(h), rows[i].msr, cpu_msr(cpu0(g), rows[i].msr));
		CHECK_EQ(cpu_msr(cpu0(h), rows[i].msr), rows[i].val);
	}
}
