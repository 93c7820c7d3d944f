/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/noncanon.c - near branches to addresses that are not canonical: #GP(0) at the branch,
 * which has neither pushed nor popped (APM3 CALL, JMP, RET). Of indirect ones that translated code
 * makes by itself the fault comes at the target (docs/engine.md); these are the others.
 */
/* Run: build/standin run -- build/tests/guest/guest_noncanon [NAME...] */
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
	s = run(g);
	CHECK_EXC(s, 13, 0);
	CHECK_EQ(s.rip, 0x800000000000);
	/* and a jump over it is the jump's */
	memcpy(g->ram + G_FREE + 0x3ff0, "\xe9\x10\0\0\0", 5);
	cpu_complete(cpu0(g));
	WITH_REGS(cpu0(g), r) {
		r.rip = 0x7ffffffffff0;
		r.rsp = SP;
	}
	s = run(g);
	CHECK_EXC(s, 13, 0);
	CHECK_EQ(s.rip, 0x7ffffffffff0);
	memcpy(g->ram + G_FREE + 0x3ff0, "\xe8\x10\0\0\0", 5);
	cpu_complete(cpu0(g));
	WITH_REGS(cpu0(g), r) {
		r.rip = 0x7ffffffffff0;
		r.rsp = SP;
	}
	s = run(g);
	CHECK_EXC(s, 13, 0);
	CHECK_EQ(s.rip, 0x7ffffffffff0);
	CHECK_EQ(s.sp, SP);
	guest_free(g);
}
