/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/noncanon.c - near branches to addresses that are not canonical: #GP(0) at the branch,
 * which has neither pushed nor popped (APM3 CALL, JMP, RET). Alone, with operands that C moves, and
 * out of translated code that has made the same jump before.
 */
/* Run: build/standin run -- build/tests/guest/guest_noncanon [NAME...] */
#include <sys/ioctl.h>

#include "tests/guest/harness/harness.h"

#define BAD 0x0000900000000000ull
enum { SP = G_DATA + 0x800 };

#define BRANCH(id, text) CODE64(id, "mov %rax, %rbx\n" #id "_x: " text); LABEL(id##_x)
BRANCH(b_jmp, "jmp *%rax");
BRANCH(b_jmpm, "jmp *(%rdi)");
BRANCH(b_call, "call *%rax");
BRANCH(b_callm, "call *(%rdi)");
BRANCH(b_ret, "ret");
BRANCH(b_retn, "ret $0x20");

static const struct row {
	const char *name;
	const u8 *b, *e, *x;
	bool by_rdi;
} rows[] = {
#define R(id, by) { #id, id##_b, id##_e, id##_x, by }
	R(b_jmp, false),  R(b_jmpm, true), R(b_call, false),
	R(b_callm, true), R(b_ret, false), R(b_retn, false),
};

static void branch(const struct row *r, u64 target, bool tf, u64 rdi)
{
	struct guest *g = guest_with_code(M_LONG, r->b, (u32)(r->e - r->b));
	struct stop s;

	WITH_REGS(cpu0(g), x) {
		x.rax = target;
		x.rdi = rdi;
		x.rsp = SP;
		x.rflags |= tf ? 0x100 : 0;
	}
	*g64(g, SP) = target;
	*g64(g, SP - 8) = 0x1234;
	if (rdi < G_RAM_SIZE)
		*g64(g, rdi) = target;
	for (;;) {
		s = run(g);
		if (s.kind != ST_EXC || s.vec != 1)
			break;
		cpu_resume(cpu0(g), &s, s.rip);
	}
	if (!CHECK_EXC(s, 13, 0) || !CHECK_EQ(s.rip, G_CODE + (u64)(r->x - r->b)) ||
	    !CHECK_EQ(s.sp, SP))
		printf("# %s to %llx, TF %u\n", r->name, (unsigned long long)target, tf);
	guest_free(g);
}

T(stepped, "under single step")
{
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		branch(&rows[i], BAD, true, G_DATA);
}

/*
 * The same branches in a loop: to `back` as often as r10 says, then to the target in r11. The loop
 * sets the stack up anew each time, with what nobody may have written.
 */
#define CHAIN(id, text) \
	CODE64(id, "1: mov %r8, %rsp\n mov %r9, %rax\n dec %r10\n cmovs %r11, %rax\n" \
		   "mov %rax, (%rdi)\n movq $0x1234, -8(%rsp)\n mov %rax, (%rsp)\n stc\n" \
		   #id "_x: " text "\n" #id "_back: jmp 1b"); \
	LABEL(id##_x); LABEL(id##_back)
CHAIN(c_jmp, "jmp *%rax");
CHAIN(c_jmpm, "jmp *(%rdi)");
CHAIN(c_call, "call *%rax");
CHAIN(c_callm, "call *(%rdi)");
CHAIN(c_ret, "ret");
CHAIN(c_retn, "ret $0x20");

static const struct chain {
	const char *name;
	const u8 *b, *e, *x, *back;
} chains[] = {
#define C(id) { #id, id##_b, id##_e, id##_x, id##_back }
	C(c_jmp), C(c_jmpm), C(c_call), C(c_callm), C(c_ret), C(c_retn),
};

static void chained(const struct chain *r, u64 target, u32 rounds, u64 cr4)
{
	struct guest *g = guest_with_code(M_LONG, r->b, (u32)(r->e - r->b));
	struct stop s;

	if (cr4) {
		struct kvm_sregs sr = cpu_sregs(cpu0(g));
		u64 *top = (u64 *)(void *)(g->ram + G_FREE);

		memset(top, 0, 4096);
		for (u32 i = 0; i < g->cpuid->nent; i++)
			if (g->cpuid->entries[i].function == 7 && g->cpuid->entries[i].index == 0)
				g->cpuid->entries[i].ecx |= BIT(16);
		vcpu_ioctl(cpu0(g), KVM_SET_CPUID2, g->cpuid, "KVM_SET_CPUID2");
		top[0] = sr.cr3 | 7;
		sr.cr3 = G_FREE;
		sr.cr4 |= cr4;
		if (ioctl(cpu0(g)->fd, KVM_SET_SREGS, &sr)) {
			guest_free(g);
			test_skip("no LA57");
		}
	}
	guest_gate(g, 13, SEL_CODE64, G_STUBS + 13 * 16, 0xe, 0, 1);
	WITH_REGS(cpu0(g), x) {
		x.r8 = SP;
		x.r9 = G_CODE + (u64)(r->back - r->b);
		x.r10 = rounds;
		x.r11 = target;
		x.rdi = G_DATA;
	}
	s = run(g);
	if (!CHECK_EXC(s, 13, 0) || !CHECK_EQ(s.rip, G_CODE + (u64)(r->x - r->b)) ||
	    !CHECK_EQ(s.sp, SP) || !CHECK_EQ(*g64(g, SP - 8), 0x1234) || !CHECK_EQ(s.rflags & 1, 1))
		printf("# %s to %llx after %u rounds\n", r->name, (unsigned long long)target,
		       rounds);
	guest_free(g);
}

T(chained, "in translated code, the first time and behind others of its kind")
{
	static const u64 bad[] = { BAD, 0x0000800000000000, 0xffff7fffffffffff,
				   0x7fffffffffffffff };

	for (u32 k = 0; k < ARRAY_SIZE(bad); k++)
		for (u32 i = 0; i < ARRAY_SIZE(chains); i++)
			for (u32 n = 0; n < 12; n += 3)
				chained(&chains[i], bad[k], n, 0);
}

T(alias, "to what differs from a target that is known in the upper 16 bits alone")
{
	for (u32 i = 0; i < ARRAY_SIZE(chains); i++)
		for (u64 k = 1; k < 0x10000; k = k * 2 + 1)
			chained(&chains[i],
				G_CODE + (u64)(chains[i].back - chains[i].b) + (k << 48), 5, 0);
}

T(la57, "with 57 bits of address")
{
	static const u64 bad[] = { 0x0100000000000000, 0xfeffffffffffffff, 0x7fffffffffffffff };

	for (u32 k = 0; k < ARRAY_SIZE(bad); k++)
		for (u32 i = 0; i < ARRAY_SIZE(chains); i++)
			for (u32 n = 0; n < 12; n += 3)
				chained(&chains[i], bad[k], n, BIT64(12));
}

T(split, "with an operand in two pages")
{
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].by_rdi)
			branch(&rows[i], BAD, false, 0x20ffc);
}

T(borders, "the first and the last address that is not canonical, and bit 63 alone")
{
	static const u64 bad[] = {
		0x0000800000000000, 0xffff7fffffffffff, 0x8000000000000000, 0x7fffffffffffffff,
		0x0001000000008000, 0xfffe000000008000,
	};

	for (u32 k = 0; k < ARRAY_SIZE(bad); k++)
		for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
			branch(&rows[i], bad[k], true, G_DATA);
}

CODE64(run_on, "nop\n nop");
T(run_on, "running on into them is the next instruction's #GP")
{
	struct guest *g = guest_with(M_LONG, run_on);
	u64 *pml4 = (u64 *)(void *)(g->ram + cpu_sregs(cpu0(g)).cr3);
	u64 *t = (u64 *)(void *)(g->ram + G_FREE);
	struct stop s;

	/* The last page below the hole is the code's. */
	memset(t, 0, 3 * 4096);
	pml4[255] = G_FREE | 7;
	t[511] = (G_FREE + 0x1000) | 7;
	t[512 + 511] = (G_FREE + 0x2000) | 7;
	t[1024 + 511] = (G_FREE + 0x3000) | 7;
	memset(g->ram + G_FREE + 0x3ff0, 0x90, 16);
	WITH_REGS(cpu0(g), r)
		r.rip = 0x7ffffffffff0;
	s = RUN_EXC(g, 13, 0);
	CHECK_EQ(s.rip, 0x800000000000);
	/* and a jump over it is the jump's */
	for (u32 call = 0; call < 2; call++) {
		memcpy(g->ram + G_FREE + 0x3ff0, call ? "\xe8\x10\0\0\0" : "\xe9\x10\0\0\0", 5);
		cpu_complete(cpu0(g));
		WITH_REGS(cpu0(g), r) {
			r.rip = 0x7ffffffffff0;
			r.rsp = SP;
		}
		s = RUN_EXC(g, 13, 0);
		CHECK_EQ(s.rip, 0x7ffffffffff0);
		CHECK_EQ(s.sp, SP);
	}
	guest_free(g);
}
