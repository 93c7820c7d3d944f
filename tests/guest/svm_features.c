/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/svm_features.c - TSC offset and ratio, PAUSE filter, LBR and VMLOAD/VMSAVE
 * virtualization, nRIP without the feature, decode assists, write traps, L1 in other modes (APM2
 * 15; docs/kvm-svm.md 4.11).
 */
/* Run: build/standin run -- build/tests/guest/guest_svm_features [NAME...] */
#include <stdlib.h>

#include "tests/guest/harness/svm.h"

#define TSC 0x10
#define TSC_RATIO 0xc0000104
#define DEBUGCTL 0x1d9

/* -- time -- */
CODE64(tsc, "rdtsc\n shl $32, %rdx\n or %rax, %rdx\n mov %rdx, %rbx\n mov $0x10, %ecx\n"
	"rdmsr\n shl $32, %rdx\n or %rax, %rdx\n mov %rdx, %rsi\n vmmcall");

static void near(const char *file, int line, u64 got, u64 want)
{
	/* a second of 4 GHz is far more than a test takes */
	if (got - want > 4000000000ull)
		test_fail(file, line, "%llx is not soon after %llx", (unsigned long long)got,
			  (unsigned long long)want);
}
#define NEAR(got, want) near(__FILE__, __LINE__, got, want)

T(tsc, "L2's TSC is L1's times the ratio plus the offset, by RDTSC and RDMSR")
{
	static const u64 ratios[] = { BIT64(32), BIT64(33), 3ull << 31, BIT64(31), BIT64(39) };
	u64 offset = 0x123456789abcdefull;

	for (u32 i = 0; i < ARRAY_SIZE(ratios); i++) {
		struct svm_guest s = svm_with(tsc);
		struct stop st;
		u64 before, after;

		cpu_set_msr(s.c, TSC, 0x1000000000);
		cpu_set_msr(s.c, TSC_RATIO, ratios[i]);
		s.ctl->tsc_offset = offset;
		before = cpu_msr(s.c, TSC);
		st = svm_run(&s);
		after = cpu_msr(s.c, TSC);
		CHECK_EXIT(&s, st, SVM_EXIT_VMMCALL);
		NEAR(st.r.rbx, (u64)((u128)before * ratios[i] >> 32) + offset);
		NEAR((u64)((u128)after * ratios[i] >> 32) + offset, st.r.rsi);
		NEAR(st.r.rsi, st.r.rbx);
		/* L1's own has not changed */
		NEAR(after, before);
		CHECK_EQ(cpu_msr(s.c, TSC_RATIO), ratios[i]);
		guest_free(s.g);
	}
}

T(tsc_host, "user space reads and writes L1's TSC while L2 runs")
{
	/* out; rdtsc; vmmcall */
	static const u8 code[] = { 0xe6, 0x77, 0x0f, 0x31, 0x0f, 0x01, 0xd9 };
	struct svm_guest s = svm_new(M_LONG, 0, code, sizeof(code));
	struct stop st;

	cpu_set_msr(s.c, TSC, 0x1000000000);
	s.ctl->tsc_offset = BIT64(60);
	st = svm_run(&s);
	CHECK_STOP(st, ST_OUT);
	NEAR(cpu_msr(s.c, TSC), 0x1000000000);
	cpu_set_msr(s.c, TSC, 0x5000000000);
	NEAR(cpu_msr(s.c, TSC), 0x5000000000);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	NEAR((s.save->rax & 0xffffffff) | st.r.rdx << 32, BIT64(60) + 0x5000000000);
	NEAR(cpu_msr(s.c, TSC), 0x5000000000);
}

/* TSC_ADJUST in EDI and then EBX, the TSC in ESI: upper halves. L2's TSC offset is 2^56 */
CODE64(tsc_set, "mov $0x3b, %ecx\n rdmsr\n mov %edx, %edi\n mov $0x10, %ecx\n xor %eax, %eax\n"
	"mov $0x100, %edx\n wrmsr\n mov $0x3b, %ecx\n rdmsr\n mov %edx, %ebx\n rdtsc\n"
	"mov %edx, %esi\n vmmcall");
T(tsc_write, "a WRMSR to the TSC in L2 sets L1's, and moves L1's TSC_ADJUST by as much")
{
	struct svm_guest s = svm_with(tsc_set);
	struct stop st;

	if (!guest_has(s.g, 7, 1, 1))
		test_skip("no TSC_ADJUST");
	cpu_set_msr(s.c, TSC, 0x50000000000);
	s.ctl->tsc_offset = BIT64(56);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.rdi, 0);
	NEAR(cpu_msr(s.c, TSC), 0x10000000000);
	CHECK((s32)st.r.rbx < -0x3f0 && (s32)st.r.rbx >= -0x402);
	CHECK_EQ(st.r.rsi, 0x1000100);
}

/* -- PAUSE (APM2 15.14.4) -- */
CODE64(pause5, "mov $5, %ebx\n pause_1: pause\n dec %ebx\n jnz pause_1\n vmmcall");
T(pause_filter, "the PAUSE filter counts down; a PAUSE too far from the last starts over")
{
	struct svm_guest s = svm_with(pause5);
	struct stop st;

	svm_want(&s, SVM_I_PAUSE);
	s.ctl->pause_count = 3;
	st = SVM_EXITS(&s, SVM_EXIT_PAUSE);
	CHECK_EQ(st.r.rbx, 2);
	svm_rewind(&s);
	svm_want(&s, SVM_I_PAUSE);
	s.ctl->pause_count = 5;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	/* a threshold of one cycle is exceeded by any loop */
	svm_rewind(&s);
	svm_want(&s, SVM_I_PAUSE);
	s.ctl->pause_count = 2;
	s.ctl->pause_thresh = 1;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
}

/* -- LBR virtualisation (APM2 15.23) -- */
CODE64(lbr, "mov $0x1db, %ecx\n rdmsr\n mov %eax, %ebx\n mov $0x1d9, %ecx\n xor %edx, %edx\n"
	"mov $2, %eax\n wrmsr\n vmmcall");
T(lbrv, "LBRV: DEBUGCTL and the four LBR MSRs are switched; without it shared")
{
	struct svm_guest s = svm_with(lbr);
	struct stop st;

	cpu_set_msr(s.c, DEBUGCTL, 0);
	s.ctl->misc_ctl2 = SVM_LBRV_ENABLE;
	s.save->br_from = 0x1111;
	s.save->last_excp_to = 0x4444;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.rbx, 0x1111);
	CHECK_EQ(s.save->dbgctl, 2);
	CHECK_EQ(s.save->br_from, 0x1111);
	CHECK_EQ(s.save->last_excp_to, 0x4444);
	CHECK_EQ(cpu_msr(s.c, DEBUGCTL), 0);
	CHECK_EQ(cpu_msr(s.c, 0x1db), 0);
	guest_free(s.g);
	s = svm_with(lbr);
	s.save->br_from = 0x1111;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.rbx, 0);
	CHECK_EQ(s.save->dbgctl, 0);
	CHECK_EQ(cpu_msr(s.c, DEBUGCTL), 2);
}

CODE64(lbr_on, "mov $0x1d9, %ecx\n xor %edx, %edx\n mov $1, %eax\n wrmsr\n"
	"lo_f: jmp lo_t\n nop\n lo_t: vmmcall\n lo_1: int $0x40\n");
LABEL(lo_f);
LABEL(lo_t);
LABEL(lo_1);
#define LBR_FROM 0x1db
#define LBR_TO 0x1dc

T(lbr_records, "L2's branches are recorded in the VMCB with LBRV, among L1's without; VMRUN, "
	       "#VMEXIT and what L1 intercepts are no branches")
{
	for (u32 lbrv = 0; lbrv < 2; lbrv++) {
		struct svm_guest s = svm_with(lbr_on);
		u64 from = lbrv ? 0x1111 : AT_L2(lbr_on, lo_f);
		u64 to = lbrv ? 0x2222 : AT_L2(lbr_on, lo_t);

		cpu_set_msr(s.c, DEBUGCTL, lbrv);	/* L1's own goes on, or there is none */
		cpu_set_msr(s.c, LBR_FROM, 0x1111);
		cpu_set_msr(s.c, LBR_TO, 0x2222);
		s.ctl->misc_ctl2 = lbrv ? SVM_LBRV_ENABLE : 0;
		svm_want(&s, SVM_I_INTN);
		SVM_EXITS(&s, SVM_EXIT_VMMCALL);
		CHECK_EQ(cpu_msr(s.c, DEBUGCTL), 1);
		CHECK_EQ(cpu_msr(s.c, LBR_FROM), from);
		CHECK_EQ(cpu_msr(s.c, LBR_TO), to);
		CHECK_EQ(s.save->dbgctl, lbrv);
		CHECK_EQ(s.save->br_from, lbrv ? AT_L2(lbr_on, lo_f) : 0);
		CHECK_EQ(s.save->br_to, lbrv ? AT_L2(lbr_on, lo_t) : 0);
		CHECK_EQ(s.save->last_excp_from, 0);
		/* DEBUGCTL.LBR comes with the VMCB, or is L1's */
		cpu_complete(s.c);
		WITH_REGS(s.c, r)
			r.rip = G_CODE;
		s.save->rip = AT_L2(lbr_on, lo_1);
		SVM_EXITS(&s, SVM_EXIT_INTN);
		CHECK_EQ(cpu_msr(s.c, LBR_FROM), from);
		CHECK_EQ(s.save->br_to, lbrv ? AT_L2(lbr_on, lo_t) : 0);
		CHECK_EQ(s.save->last_excp_from, 0);
		guest_free(s.g);
	}
}

CODE64(lbr_iret, "li_f: call li_t\n nop\n li_t: iretq");
LABEL(li_f);
LABEL(li_t);
T(lbr_iret, "an intercepted IRET is no branch, nor is an exception that L1 takes; a #DB ends it")
{
	struct svm_guest s = svm_with(lbr_iret);

	cpu_set_msr(s.c, DEBUGCTL, 1);
	svm_want(&s, SVM_I_IRET);
	SVM_EXITS(&s, SVM_EXIT_IRET);
	CHECK_EQ(cpu_msr(s.c, LBR_FROM), AT_L2(lbr_iret, li_f));
	CHECK_EQ(cpu_msr(s.c, LBR_TO), AT_L2(lbr_iret, li_t));
	CHECK_EQ(cpu_msr(s.c, DEBUGCTL), 1);
	/* #GP: nothing on the stack is a selector */
	cpu_complete(s.c);
	WITH_REGS(s.c, r)
		r.rip = G_CODE;
	s.ctl->misc_ctl2 = SVM_LBRV_ENABLE;
	s.save->dbgctl = 1;
	vmcb_clear_intercept(s.ctl, SVM_I_IRET);
	svm_want(&s, SVM_I_EXCP + 13);
	memset(s.g->ram + G_L2_STACK - 0x100, 0xff, 0x100);
	s.save->rip = G_L2;
	SVM_EXITS(&s, SVM_EXIT_EXCP + 13);
	CHECK_EQ(s.save->br_from, AT_L2(lbr_iret, li_f));
	CHECK_EQ(s.save->last_excp_from, 0);
	CHECK_EQ(s.save->dbgctl, 1);
	cpu_complete(s.c);
	WITH_REGS(s.c, r)
		r.rip = G_CODE;
	for (u32 icebp = 0; icebp < 2; icebp++) {
		s.save->dbgctl = 1;
		s.save->rip = G_L2;
		s.save->rflags = icebp ? 2 : 0x102;
		if (icebp)
			s.g->ram[G_L2] = 0xf1;
		svm_want(&s, SVM_I_EXCP + 1);
		SVM_EXITS(&s, SVM_EXIT_EXCP + 1);
		CHECK_EQ(s.save->dbgctl, 0);
		cpu_complete(s.c);
		WITH_REGS(s.c, r)
			r.rip = G_CODE;
	}
}

T(lbr_inject, "an event that L1 injects is recorded among L2's")
{
	struct svm_guest s = svm_with(lbr_on);
	struct stop st;

	s.ctl->misc_ctl2 = SVM_LBRV_ENABLE;
	s.save->dbgctl = 1;
	s.save->br_from = 0x1111;
	s.save->br_to = 0x2222;
	s.ctl->event_inj = 0x80000055;
	st = svm_run(&s);
	CHECK_EXC(st, 0x55, -1);
	CHECK_EQ(cpu_msr(s.c, LBR_FROM), G_L2);
	CHECK_EQ(cpu_msr(s.c, LBR_TO), G_STUBS + 0x550);
	CHECK_EQ(cpu_msr(s.c, 0x1dd), 0x1111);
	CHECK_EQ(cpu_msr(s.c, 0x1de), 0x2222);
}

/* -- VMLOAD and VMSAVE in L2 (APM2 15.33.1) -- */
CODE64(vls, "mov $0x440000, %eax\n vmload %rax\n movl $0x441000, %eax\n vmsave %rax\n vmmcall");
T(vls, "VLS: the operand is an address of L2; without it one of L1; intercepts come first")
{
	struct svm_guest s = svm_with(vls);
	struct vmcb *own = (void *)(s.g->ram + 0x440000), *other = (void *)(s.g->ram + 0x640000);
	u64 *pd = (void *)(s.g->ram + G_NPT + 0x2000);

	/* L2 sees 4 MiB.. at 6 MiB.. */
	own->save.star = 0x1234;
	other->save.star = 0x5678;
	other->save.tr = own->save.tr = (struct vmcb_seg){ 0x48, 0x8b, 0x67, 0x3000 };
	svm_npt(&s);
	memcpy(s.g->ram + 0x600000, s.g->ram + 0x400000, 0x40000);
	pd[2] = 0x600000 | 0x87;
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(cpu_msr(s.c, 0xc0000081), 0x1234);
	CHECK_EQ(((struct vmcb *)(void *)(s.g->ram + 0x441000))->save.star, 0x1234);
	s.save->rip = G_L2;
	s.ctl->misc_ctl2 = SVM_VLS_ENABLE;
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(cpu_msr(s.c, 0xc0000081), 0x5678);
	CHECK_EQ(((struct vmcb *)(void *)(s.g->ram + 0x641000))->save.star, 0x5678);
	/* an operand that nested paging does not map */
	s.save->rip = G_L2;
	/* mov $0x800000, %eax; vmload */
	guest_write(s.g, 0x610000, "\xb8\x00\x00\x80\x00\x0f\x01\xda", 8);
	pd[4] &= ~1ull;
	s.ctl->tlb_ctl = SVM_TLB_ALL;
	SVM_EXITS(&s, SVM_EXIT_NPF);
	CHECK_EQ(s.ctl->exit_info_2, 0x800000);
	CHECK_EQ(s.save->rip, G_L2 + 5);
}

/* -- CPUID without NRIPS -- */
CODE64(nop, "nop\n vmmcall");
static void cpuid_clear(struct svm_guest *s, u32 leaf, u32 clear)
{
	for (u32 i = 0; i < s->g->cpuid->nent; i++)
		if (s->g->cpuid->entries[i].function == leaf)
			s->g->cpuid->entries[i].edx &= ~clear;
	vcpu_ioctl(s->c, KVM_SET_CPUID2, s->g->cpuid, "KVM_SET_CPUID2");
}

T(no_nrips, "without NRIPS nRIP is neither written nor used")
{
	struct svm_guest s = svm_with(nop);
	struct stop st;

	cpuid_clear(&s, 0x8000000a, BIT(3));
	s.ctl->next_rip = 0x777;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.ctl->next_rip, 0x777);
	s.save->rip = G_L2;
	s.ctl->event_inj = 0x80000440;
	st = svm_run(&s);
	CHECK_EXC(st, 0x40, -1);
	CHECK_EQ(st.rip, G_L2);
}

T(no_npt, "without NPT in CPUID the bit is ignored")
{
	struct svm_guest s = svm_with(nop);

	cpuid_clear(&s, 0x8000000a, BIT(0));
	s.ctl->misc_ctl = SVM_NP_ENABLE;
	s.ctl->ncr3 = ~0ull;
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
}

CODE64(stgi, "stgi\n vmmcall");
T(no_vgif, "without VGIF and vNMI in CPUID their enable bits do nothing")
{
	struct svm_guest s = svm_with(stgi);

	cpuid_clear(&s, 0x8000000a, BIT(16) | BIT(25));
	svm_want(&s, SVM_I_NMI);
	s.ctl->int_ctl = SVM_V_GIF_ENABLE | SVM_V_NMI_ENABLE | SVM_V_NMI_PENDING;
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.ctl->int_ctl, SVM_V_GIF_ENABLE | SVM_V_NMI_ENABLE | SVM_V_NMI_PENDING);
}

/* -- decode assists, by option -- */
CODE64(movcr, "mov %r11, %cr3");
CODE64(movdr, "mov %db7, %r9");
CODE64(intn, "int $0x77");
CODE64(invlpg, "mov $0x1000, %ebx\n invlpg 8(%rbx)");
CODE64(pf, "mov $0x7fff0000, %ebx\n pf_1: mov %ecx, 4(%rbx)\n nop");
LABEL(pf_1);
T(assists, "decode assists: GPR, vector, address and instruction bytes")
{
	static const struct {
		const u8 *b, *e;
		u32 number;
		u64 info;
	} x[] = {
		{ movcr_b, movcr_e, SVM_I_CR_WRITE + 3, BIT64(63) | 11 },
		{ movdr_b, movdr_e, SVM_I_DR_READ + 7, 9 },
		{ intn_b, intn_e, SVM_I_INTN, 0x77 },
		{ invlpg_b, invlpg_e, SVM_I_INVLPG, 0x1008 },
	};
	struct svm_guest s;

	setenv("STANDIN_SVM", "decodeassists", 1);
	for (u32 i = 0; i < ARRAY_SIZE(x); i++) {
		s = svm_new(M_LONG, 0, x[i].b, (u64)(x[i].e - x[i].b));
		if (!guest_has(s.g, 0x8000000a, 3, 7))
			test_skip("no decode assists");
		svm_want(&s, x[i].number);
		SVM_EXITS(&s, x[i].number);
		CHECK_EQ(s.ctl->exit_info_1, x[i].info);
		guest_free(s.g);
	}
	s = svm_with(pf);
	svm_want(&s, SVM_I_EXCP + 14);
	SVM_EXITS(&s, SVM_EXIT_EXCP + 14);
	CHECK_EQ(s.ctl->insn_len, 15);
	CHECK(!memcmp(s.ctl->insn_bytes, pf_1, 3));
	/* an instruction fetch has no bytes */
	s.save->rip = 0x7fff0000;
	SVM_EXITS(&s, SVM_EXIT_EXCP + 14);
	CHECK_EQ(s.ctl->exit_info_1 & 1, 0);
	CHECK_EQ(s.ctl->insn_len, 0);
}

/* -- write traps -- */
CODE64(traps, "mov %cr4, %rbx\n or $4, %ebx\n mov %rbx, %cr4\n"
	"traps_1: mov $0xc0000080, %ecx\n rdmsr\n or $1, %eax\n wrmsr\n traps_2: vmmcall");
LABEL(traps_1);
LABEL(traps_2);
T(write_traps, "CR and EFER write traps: after the instruction, with the new value")
{
	struct svm_guest s = svm_with(traps);

	svm_want(&s, SVM_I_CR_WRITE_TRAP + 4);
	svm_want(&s, SVM_I_EFER_WRITE_TRAP);
	SVM_EXITS(&s, SVM_EXIT_CR_WRITE_TRAP + 4);
	CHECK_EQ(s.save->rip, AT_L2(traps, traps_1));
	CHECK_EQ(s.save->cr4 & 4, 4);
	CHECK_EQ(s.ctl->exit_info_1, s.save->cr4);
	SVM_EXITS(&s, SVM_EXIT_EFER_WRITE_TRAP);
	CHECK_EQ(s.save->rip, AT_L2(traps, traps_2));
	CHECK_EQ(s.ctl->exit_info_1, s.save->efer);
	CHECK_EQ(s.save->efer & 1, 1);
}

/* -- L1 in other modes -- */
CODE32(l1_32, "mov $0x400000, %eax\n vmrun\n out %al, $0xf1");
CODE32(l2_32, "mov $0x1234, %ebx\n vmmcall");
T(modes, "VMRUN in every mode: #UD without paging, otherwise L2 runs")
{
	for (int m = M_PM32; m < M_COUNT; m++) {
		struct svm_guest s;
		struct stop st;

		if (m == M_LONG)
			continue;
		s = svm_new((enum mode)m, 0, l2_32_b, LEN(l2_32));
		guest_load(s.g, G_CODE, l1_32);
		if (m == M_PG32)
			s.save->cr4 |= 0x10;
		st = svm_run(&s);
		if (m == M_PM32) {
			CHECK_EXC(st, 6, -1);
		} else {
			if (!CHECK_EXIT(&s, st, SVM_EXIT_VMMCALL))
				printf("# %s\n", mode_name[m]);
			CHECK_EQ(st.r.rbx & 0xffffffff, 0x1234);
		}
		guest_free(s.g);
	}
}

CODE16(rm, "vmrun");
T(real, "in real mode the instructions are #UD")
{
	struct guest *g = guest_with(M_REAL, rm);

	cpu_set_msr(cpu0(g), 0xc0000080, BIT64(12));
	RUN_EXC(g, 6, -1);
}

/* -- EFER.SVME (docs/kvm-svm.md 4.12) -- */
CODE64(svme_off, "mov $0xc0000080, %ecx\n rdmsr\n and $~0x1000, %eax\n wrmsr\n out %al, $0x55");
T(svme_off, "clearing EFER.SVME in L2 is a shutdown, which L1 may intercept")
{
	struct svm_guest s = svm_with(svme_off);
	struct stop st = svm_run(&s);

	CHECK_STOP(st, ST_SHUTDOWN);
	guest_free(s.g);
	s = svm_with(svme_off);
	svm_want(&s, SVM_I_SHUTDOWN);
	st = SVM_EXITS(&s, SVM_EXIT_SHUTDOWN);
}

T(svme_user, "user space that clears EFER.SVME puts the vCPU back into L1")
{
	static const u8 code[] = { 0xe6, 0x77, 0x0f, 0x01, 0xd9 };	/* out 0x77; vmmcall */
	struct svm_guest s = svm_new(M_LONG, 0, code, sizeof(code));
	struct stop st;

	s.save->ds.limit = 0x777;
	st = svm_run(&s);
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(cpu_sregs(s.c).ds.limit, 0x777);
	cpu_complete(s.c);
	cpu_set_msr(s.c, 0xc0000080, cpu_msr(s.c, 0xc0000080) & ~BIT64(12));
	CHECK_EQ(cpu_sregs(s.c).ds.limit, 0xffffffff);
}

/* -- without an in-kernel APIC: KVM_INTERRUPT -- */
CODE64(wait, "wait_1: out %al, $0x77\n jmp wait_1");
CODE64(ext_l1, "nop\n nop\n stgi\n nop\n sti\n nop\n ext_l1_1: nop\n nop" DONE);
LABEL(ext_l1_1);
T(ext_intr, "KVM_INTERRUPT in L2 exits if INTR is intercepted; L1 takes it behind STGI, STI")
{
	struct svm_guest s = svm_with(wait);
	struct stop st;

	svm_want(&s, SVM_I_INTR);
	s.save->rflags |= 0x200;
	st = svm_run(&s);
	CHECK_STOP(st, ST_OUT);
	cpu_interrupt(s.c, 0x99);
	st = SVM_EXITS(&s, SVM_EXIT_INTR);
	CHECK_EQ(s.ctl->exit_int_info, 0);
	guest_load(s.g, G_CODE + 0x100, ext_l1);
	WITH_REGS(s.c, r)
		r.rip = G_CODE + 0x100;
	st = svm_run(&s);
	CHECK_EXC(st, 0x99, -1);
	CHECK_EQ(st.rip, G_CODE + 0x100 + (u64)(ext_l1_1 - ext_l1_b));
}

/* -- VM_CR (APM2 15.30.1) -- */
CODE64(efer_on, "mov $0xc0000080, %ecx\n rdmsr\n or $0x1000, %eax\n wrmsr" DONE);
T(svmdis, "VM_CR.SVMDIS: EFER.SVME cannot be set")
{
	struct guest *g = guest_with(M_LONG, efer_on);

	RUN_TO(g, ST_DONE);
	guest_free(g);
	g = guest_with(M_LONG, efer_on);
	cpu_set_msr(cpu0(g), 0xc0010114, 0x10);
	RUN_EXC(g, 13, 0);
}
