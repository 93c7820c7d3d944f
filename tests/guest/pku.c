/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/pku.c - protection keys (APM2 5.6.7): RDPKRU and WRPKRU, CR4.PKE, what they deny,
 * PKRU in XSAVE areas and in KVM_GET_XSAVE. On hosts without them STANDIN_PKU=1 offers them.
 */
/* Run: STANDIN_PKU=1 build/standin run -- build/tests/guest/guest_pku [NAME...] */
#include <sys/ioctl.h>

#include "tests/guest/harness/svm.h"

#define CR4_OSXSAVE (1u << 18)
#define CR4_PKE (1u << 22)
#define PKRU_BIT 9
#define PAGE_VA 0x300000ull
#define KEY(n) ((u64)(n) << 59)

static u32 place;	/* of PKRU in a standard area */

static struct guest *keys(const u8 *code, u64 n)
{
	struct guest *g = guest_with_code(M_LONG, code, (u32)n);

	if (!guest_has(g, 7, 2, 3))
		test_skip("no protection keys");
	for (u32 i = 0; i < g->cpuid->nent; i++)
		if (g->cpuid->entries[i].function == 0xd && g->cpuid->entries[i].index == PKRU_BIT)
			place = g->cpuid->entries[i].ebx;
	WITH_SREGS(cpu0(g), sr) {
		sr.cr4 |= CR4_OSXSAVE | CR4_PKE;
		sr.cr0 |= 1u << 16;
	}
	return g;
}
#define KEYS(snip) keys(snip##_b, LEN(snip))

CODE64(insns, "xor %ecx, %ecx\n xor %edx, %edx\n mov $0x55555550, %eax\n wrpkru\n"
	" mov $-1, %rax\n mov $-1, %rdx\n"
	" rdpkru\n mov %rax, %r12\n mov %rdx, %r13\n mov $7, %eax\n xor %ecx, %ecx\n cpuid\n"
	" mov %ecx, %r14d" DONE);
CODE64(no_pke, "xor %ecx, %ecx\n rdpkru" DONE);
CODE64(bad_ecx, "mov $1, %ecx\n rdpkru" DONE);
CODE64(bad_edx, "xor %ecx, %ecx\n mov $1, %edx\n wrpkru" DONE);
T(insns, "RDPKRU and WRPKRU: #UD without CR4.PKE, #GP for ECX and EDX; CPUID shows OSPKE")
{
	struct guest *g = KEYS(insns);
	struct stop s = run(g);

	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.r12, 0x55555550);
	CHECK_EQ(s.r.r13, 0);
	CHECK_EQ(s.r.r14 >> 3 & 3, 3);
	guest_free(g);
	g = KEYS(no_pke);
	WITH_SREGS(cpu0(g), sr)
		sr.cr4 &= ~(u64)CR4_PKE;
	s = run(g);
	CHECK_EXC(s, 6, -1);
	guest_free(g);
	g = KEYS(bad_ecx);
	s = run(g);
	CHECK_EXC(s, 13, 0);
	guest_free(g);
	g = KEYS(bad_edx);
	s = run(g);
	CHECK_EXC(s, 13, 0);
	guest_free(g);
}

/* Ring 3 loads and stores in a loop, so that the translation is warm; then PKRU takes it away. */
CODE64(deny, "mov $0x300000, %esi\n mov $100, %edi\n 1: mov (%rsi), %r12d\n"
	" mov %r12d, 8(%rsi)\n dec %edi\n jnz 1b\n"
	" xor %ecx, %ecx\n xor %edx, %edx\n mov $0x800, %eax\n wrpkru\n mov (%rsi), %r13d\n"
	" deny_w: mov %r13d, 8(%rsi)\n"
	" mov $0x400, %eax\n wrpkru\n deny_r: mov (%rsi), %r14d" DONE3);
LABEL(deny_w); LABEL(deny_r);
T(denied, "WRPKRU in ring 3 takes writes away, then reads: #PF with PK")
{
	struct guest *g = KEYS(deny);
	struct stop s;

	*guest_pte(g, PAGE_VA) |= PTE_U | KEY(5);
	*g32(g, PAGE_VA) = 0x1234;
	cpu_ring3(cpu0(g), G_CODE);
	s = run(g);
	CHECK_EXC(s, 14, 0x27);
	CHECK_EQ(s.rip, AT(deny, deny_w));
	CHECK_EQ(s.cr2, PAGE_VA + 8);
	CHECK_EQ(s.r.r13, 0x1234);
	cpu_resume(cpu0(g), &s, AT(deny, deny_w) + 4);
	s = run(g);
	CHECK_EXC(s, 14, 0x25);
	CHECK_EQ(s.rip, AT(deny, deny_r));
	CHECK_EQ(s.cr2, PAGE_VA);
	guest_free(g);
}

CODE64(area, "xor %ecx, %ecx\n xor %edx, %edx\n mov $0x203, %eax\n xsetbv\n"
	" mov $0x1230, %eax\n wrpkru\n"
	" mov $-1, %eax\n mov $-1, %edx\n xsave (%rdi)\n xsavec 0x1000(%rdi)\n"
	" xor %edx, %edx\n xor %eax, %eax\n wrpkru\n"
	" mov $0x200, %eax\n xrstor (%rdi)\n xor %ecx, %ecx\n rdpkru\n mov %eax, %r12d\n" STOP(1)
	" xor %ecx, %ecx\n rdpkru\n mov %eax, %r13d\n movq $0, 512(%rdi)\n"
	" mov $0x200, %eax\n xor %edx, %edx\n xrstor (%rdi)\n"
	" rdpkru\n mov %eax, %r14d\n mov $0x200, %eax\n xor %edx, %edx\n"
	" xrstor 0x1000(%rdi)\n rdpkru\n mov %eax, %r15d" DONE);
T(areas, "PKRU is component 9: XSAVE, XSAVEC, XRSTOR with and without it; GET and SET_XSAVE")
{
	struct guest *g = KEYS(area);
	static u8 x[4096];
	struct stop s;

	WITH_REGS(cpu0(g), r)
		r.rdi = 0x300000;
	s = run(g);
	CHECK_STOP(s, ST_OUT);
	CHECK_EQ(s.r.r12, 0x1230);
	CHECK_EQ(*g64(g, 0x300000 + 512) & 0x200, 0x200);
	CHECK_EQ(*g64(g, 0x300000 + place), 0x1230);
	CHECK_EQ(*g64(g, 0x301000 + 512) & 0x200, 0x200);
	CHECK_EQ(*g64(g, 0x301000 + 576), 0x1230);	/* the first behind the header */
	vcpu_ioctl(cpu0(g), KVM_GET_XSAVE, x, "KVM_GET_XSAVE");
	CHECK_EQ(*(u64 *)(void *)(x + 512) >> PKRU_BIT & 1, 1);
	CHECK_EQ(*(u32 *)(void *)(x + place), 0x1230);
	*(u32 *)(void *)(x + place) = 0x4560;
	vcpu_ioctl(cpu0(g), KVM_SET_XSAVE, x, "KVM_SET_XSAVE");
	/* An image without the component leaves it alone. */
	*(u64 *)(void *)(x + 512) &= ~BIT64(PKRU_BIT);
	vcpu_ioctl(cpu0(g), KVM_SET_XSAVE, x, "KVM_SET_XSAVE");
	s = run(g);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.r13, 0x4560);
	CHECK_EQ(s.r.r14, 0);
	CHECK_EQ(s.r.r15, 0x1230);
	guest_free(g);
}

/* L2 is denied by L1's PKRU, which is the processor's. */
CODE64(l2, "mov $0x300000, %esi\n mov (%rsi), %r12d\n xor %ecx, %ecx\n xor %edx, %edx\n"
	" mov $0x400, %eax\n wrpkru\n"
	" l2_at: mov (%rsi), %r13d\n vmmcall");
LABEL(l2_at);
T(l2, "L2 has PKRU as L1 left it, and CR4.PKE of its own")
{
	for (u32 i = 0; i < 2; i++) {
		struct svm_guest s = svm_with(l2);
		struct stop st;

		if (!guest_has(s.g, 7, 2, 3))
			test_skip("no protection keys");
		WITH_SREGS(s.c, sr)
			sr.cr4 |= CR4_PKE;
		if (i)
			svm_npt(&s);
		s.save->cr4 |= CR4_PKE;
		svm_want(&s, SVM_I_EXCP + 14);
		*guest_pte(s.g, PAGE_VA) |= PTE_U | KEY(5);
		st = svm_run(&s);
		CHECK_EXIT(&s, st, SVM_EXIT_EXCP + 14);
		CHECK_EQ(s.ctl->exit_info_1, 0x21);
		CHECK_EQ(s.save->rip, AT_L2(l2, l2_at));
		/* Without PKE in L2: #UD for WRPKRU. */
		svm_rewind(&s);
		svm_want(&s, SVM_I_EXCP + 6);
		s.save->cr4 &= ~(u64)CR4_PKE;
		st = svm_run(&s);
		CHECK_EXIT(&s, st, SVM_EXIT_EXCP + 6);
		guest_free(s.g);
	}
}
