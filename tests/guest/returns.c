/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/returns.c - calls and returns that do not pair: what the host's return stack holds
 * (engine/returns.c) is a guess, and never decides where the guest goes.
 */
/* Run: build/standin run -- build/tests/guest/guest_returns [NAME...] */
#include "tests/guest/harness/harness.h"

static void runs(const u8 *b, const u8 *e, u64 rax)
{
	struct guest *g = guest_with_code(M_LONG, b, (u32)(e - b));
	struct stop s;

	/* Twice: the second time with all jumps linked. */
	for (u32 i = 0; i < 2; i++) {
		WITH_REGS(cpu0(g), r) {
			r.rip = G_CODE;
			r.rsp = 0xf00000;
		}
		s = run(g);
		CHECK_STOP(s, ST_DONE);
		CHECK_EQ(s.r.rax, rax);
		CHECK_EQ(s.r.rsp, 0xf00000);
	}
	guest_free(g);
}

CODE64(deep, "xor %eax, %eax\n mov $200000, %ecx\n call 1f" DONE
	"1: inc %eax\n dec %ecx\n jz 2f\n call 1b\n add $2, %eax\n 2: ret");
T(deep, "200,000 calls deep, and back")
{
	runs(deep_b, deep_e, 200000 + 199999 * 2);
}

/* Where it begins flags are live. */
CODE64(live, "xor %eax, %eax\n mov $100000, %ecx\n call 1f" DONE
	"1: jz 2f\n inc %eax\n dec %ecx\n call 1b\n 2: ret");
T(live, "100,000 calls of a function that begins with a conditional jump")
{
	runs(live_b, live_e, 0);
}

CODE64(never, "xor %eax, %eax\n mov $300000, %ecx\n 1: call 2f\n ud2\n"
	"2: pop %rdx\n inc %eax\n dec %ecx\n jnz 1b" DONE);
T(never, "calls that nobody returns from")
{
	runs(never_b, never_e, 300000);
}

/* Every other return goes somewhere else than behind its call. */
CODE64(other, "xor %eax, %eax\n mov $10000, %ecx\n 1: call 2f\n inc %eax\n dec %ecx\n jnz 1b" DONE
	"2: test $1, %cl\n jz 3f\n addq $(4f - 5f), (%rsp)\n 3: ret\n"
	"5: ud2\n 4: ud2");
CODE64(flags, "xor %eax, %eax\n mov $10000, %ecx\n lea 3f(%rip), %rbx\n"
	"1: call 2f\n ud2\n 3: adc $0, %eax\n dec %ecx\n jnz 1b" DONE
	"2: mov %rbx, (%rsp)\n stc\n ret");
T(flags, "a return to another place than was called from takes the flags along")
{
	runs(flags_b, flags_e, 10000);
}
T(other, "returns two bytes further than behind the call, now and then")
{
	/* INC EAX, which is skipped, has two bytes; UD2 as well. */
	runs(other_b, other_e, 5000);
}

/* setjmp, 40 calls, longjmp: then returns from what was called before. */
CODE64(jump, "xor %eax, %eax\n mov $1000, %ecx\n 1: call 2f\n dec %ecx\n jnz 1b" DONE
	"2: call 3f\n inc %eax\n ret\n"
	"3: mov %rsp, %rbp\n mov $40, %edx\n 4: call 5f\n ud2\n 5: dec %edx\n jnz 4b\n"
	" mov %rbp, %rsp\n inc %eax\n ret");
T(jump, "a jump over the frames of many calls")
{
	runs(jump_b, jump_e, 2000);
}

/* As a retpoline goes to a function, whose return is behind the first call. */
CODE64(retpoline, "xor %eax, %eax\n mov $1000, %ecx\n lea 8f(%rip), %rbx\n 1: call 2f\n inc %eax\n"
	" dec %ecx\n jnz 1b" DONE "2: call 3f\n ud2\n 3: mov %rbx, (%rsp)\n ret\n"
	"8: inc %eax\n ret");
T(retpoline, "a call that is made of a return")
{
	runs(retpoline_b, retpoline_e, 2000);
}
