/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/groups.c - accesses off the same base that share a check (engine/translate.c): what stands between
 * them, and displacements at the ends of their range.
 */
#include "tests/guest/harness/harness.h"

/* Two operands whose home is memory, while the scratch register for the second holds the group's pointer. */
CODE64(lea16, "mov $0x1122334455667788, %rax\n mov $0x99aabbccddeeff00, %rdi\n mov $0x100, %r13d\n mov $0x23, %r14d\n"
	"push %rbx\n lea (%r13,%r14), %ax\n lea (%r13,%r14,2), %di\n pop %rbx" DONE);
TEST(lea16, "LEA with a 16-bit destination leaves the rest of the register alone")
{
	struct stop s = run(guest_with(M_LONG, lea16));

	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rax, 0x1122334455660123);
	CHECK_EQ(s.r.rdi, 0x99aabbccddee0146);
}

/* A page fault at `cr2` when run with this RBX. */
static void check_fault(struct guest *g, u64 rbx, u64 cr2)
{
	struct stop s;

	WITH_REGS(cpu0(g), r) r.rbx = rbx;
	s = run(g);
	CHECK_EXC(s, 14, 0);
	CHECK_EQ(s.cr2, cr2);
}

CODE64(lea32, "mov (%rbx), %rax\n lea 0x7fffffff(%rbx), %rbx\n lea 0x7fffffff(%rbx), %rbx\n mov 2(%rbx), %rcx" DONE);
TEST(lea32, "a base that LEA moves by 4 GiB is another base")
{
	check_fault(guest_with(M_LONG, lea32), 0x300000, 0x100300000);
}

/* The lower of the two is 0x300000 if the displacement wraps. */
CODE64(disp32, "mov 0x300000, %rdx\n mov -0x80000000(%rbx), %rax\n sub $8, %rbx\n"
	"mov -0x80000000(%rbx), %rcx" DONE);
TEST(disp32, "a displacement of -2 GiB, and a base that goes down")
{
	check_fault(guest_with(M_LONG, disp32), 0xffffffff80300008, 0xffffffff00300008);
}
