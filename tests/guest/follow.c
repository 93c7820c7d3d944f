/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/follow.c - short code behind a direct jump or call, in another page, that the
 * translator makes part of what goes there (engine/follow.c): it changes, moves and faults like any
 * other code.
 */
/* Run: build/standin run -- build/tests/guest/guest_follow [NAME...] */
#include "tests/guest/harness/harness.h"

/* A call of 0x200000, from wherever it stands in a snippet at G_CODE. */
#define CALL_TO(name, target) ".byte 0xe8\n .long " target " - (0x8000 + (. + 4 - " name "_b))\n"
#define JMP_TO(name, target) ".byte 0xe9\n .long " target " - (0x8000 + (. + 4 - " name "_b))\n"

CODE64(loop, "mov $200, %ecx\n xor %eax, %eax\n 1: " CALL_TO("loop", "0x200000") "dec %ecx\n"
	" jnz 1b" DONE);
static const u8 add1[] = { 0x83, 0xc0, 0x01, 0xc3 };	/* add eax, 1; ret */
static const u8 add2[] = { 0x83, 0xc0, 0x02, 0xc3 };

static struct guest *prepare(const u8 *b, const u8 *e)
{
	struct guest *g = guest_new(M_LONG);

	guest_write(g, G_CODE, b, (u32)(e - b));
	guest_write(g, 0x200000, add1, sizeof(add1));
	return g;
}

T(plain, "a short function in another page")
{
	struct guest *g = prepare(loop_b, loop_e);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.rax, 200);
}

/* call thunk; thunk: lea rsp, [rsp + 8]; ret - as Linux returns where RET is not trusted. */
CODE64(chain, "mov $200, %ecx\n xor %eax, %eax\n 1: call 2f\n inc %eax\n dec %ecx\n jnz 1b" DONE
	"2: " JMP_TO("chain", "0x201ff0"));
static const u8 thunk[] = { 0xe8, 0x0b, 0x10, 0x00, 0x00, 0x0f, 0x0b };	/* call 0x203000; ud2 */
static const u8 safe_ret[] = { 0x48, 0x8d, 0x64, 0x24, 0x08, 0xc3 };

static struct guest *prepare_thunk(const u8 *b, const u8 *e)
{
	struct guest *g = prepare(b, e);

	guest_write(g, 0x201ff0, thunk, sizeof(thunk));
	guest_write(g, 0x203000, safe_ret, sizeof(safe_ret));
	return g;
}

T(chain, "a return by way of two more pages, and what it leaves below the stack pointer")
{
	struct guest *g = prepare_thunk(chain_b, chain_e);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.rax, 200);
	CHECK_EQ(s.r.rsp, G_STACK);
	CHECK_EQ(*g64(g, G_STACK - 16), 0x201ff5);
}

CODE64(patch, "mov $200, %ecx\n xor %eax, %eax\n 1: " CALL_TO("patch", "0x200000")
	"cmp $100, %ecx\n jne 2f\n movb $2, 0x200002\n 2: dec %ecx\n jnz 1b" DONE);
T(patch, "the guest changes it")
{
	struct guest *g = prepare(patch_b, patch_e);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.rax, 101 + 2 * 99);
}

CODE64(remap, "mov $200, %ecx\n xor %eax, %eax\n 1: " CALL_TO("remap", "0x200000")
	"cmp $100, %ecx\n jne 2f\n mov %rdi, (%rsi)\n invlpg 0x200000\n 2: dec %ecx\n jnz 1b" DONE);

/* Run with RDI to be stored at RSI, which maps 0x300000 at `va`. */
static struct stop run_to_map(struct guest *g, u64 va)
{
	WITH_REGS(cpu0(g), r) {
		r.rsi = (u64)((u8 *)guest_pte(g, va) - g->ram);
		r.rdi = 0x300000 | 7;
	}
	return run(g);
}

T(remap, "another page is mapped there")
{
	struct guest *g = prepare(remap_b, remap_e);
	struct stop s;

	guest_write(g, 0x300000, add2, sizeof(add2));
	s = run_to_map(g, 0x200000);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rax, 101 + 2 * 99);
}

CODE64(exits, "mov $200, %ecx\n xor %eax, %eax\n 1: " CALL_TO("exits", "0x200000")
	"cmp $100, %ecx\n jne 2f\n mov %eax, %edi\n" STOP(1) "mov %edi, %eax\n 2: dec %ecx\n"
		" jnz 1b" DONE);
T(vmm, "user space changes it between two runs")
{
	struct guest *g = prepare(exits_b, exits_e);
	struct stop s = RUN_TO(g, ST_OUT);

	g->ram[0x200002] = 2;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rax, 101 + 2 * 99);
}

CODE64(unmap, "mov $200, %ecx\n xor %eax, %eax\n 1: " CALL_TO("unmap", "0x200000")
	"cmp $100, %ecx\n jne 2f\n movq $0, (%rsi)\n invlpg 0x200000\n 2: dec %ecx\n jnz 1b" DONE);
T(unmap, "it is not mapped any more: the fetch faults with the return address pushed")
{
	struct guest *g = prepare(unmap_b, unmap_e);
	struct stop s;

	WITH_REGS(cpu0(g), r)
		r.rsi = (u64)((u8 *)guest_pte(g, 0x200000) - g->ram);
	s = RUN_EXC(g, 14, 0);
	CHECK_EQ(s.rip, 0x200000);
	CHECK_EQ(s.cr2, 0x200000);
	CHECK_EQ(s.r.rax, 101);
}

/* div by zero, and a load that faults, inside what was followed */
static const u8 divide[] = { 0xf7, 0xf6, 0xc3 };	/* div esi; ret */
static const u8 load[] = { 0x48, 0x8b, 0x06, 0xc3 };	/* mov rax, [rsi]; ret */
CODE64(once, "mov $1, %eax\n xor %edx, %edx\n " CALL_TO("once", "0x200000") "nop" DONE);
T(faults, "a fault inside it has its own RIP")
{
	struct guest *g = prepare(once_b, once_e);
	struct stop s;

	guest_write(g, 0x200000, divide, sizeof(divide));
	WITH_REGS(cpu0(g), r)
		r.rsi = 0;
	s = RUN_EXC(g, 0, -1);
	CHECK_EQ(s.rip, 0x200000);
	CHECK_EQ(s.sp, G_STACK - 8);

	g = prepare(once_b, once_e);
	guest_write(g, 0x200000, load, sizeof(load));
	*guest_pte(g, 0x3f0000) = 0;
	WITH_REGS(cpu0(g), r)
		r.rsi = 0x3f0008;
	s = RUN_EXC(g, 14, 0);
	CHECK_EQ(s.rip, 0x200000);
	CHECK_EQ(s.cr2, 0x3f0008);
	CHECK_EQ(s.sp, G_STACK - 8);
}

/* PLT: call; jmp *(table) */
CODE64(plt, "mov $200, %ecx\n xor %eax, %eax\n 1: " CALL_TO("plt", "0x201000") "dec %ecx\n"
	" jnz 1b" DONE);
static const u8 jump_table[] = { 0xff, 0x25, 0xfa, 0x0f, 0x00, 0x00 };	/* jmp [rip + 0xffa]:
									 * 0x202000 */
T(plt, "a call through a table")
{
	struct guest *g = prepare(plt_b, plt_e);
	u64 to = 0x200000;
	struct stop s;

	guest_write(g, 0x201000, jump_table, sizeof(jump_table));
	guest_write(g, 0x202000, &to, sizeof(to));
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rax, 200);
}

/* The flags of a function's end are put aside for all of it, and its pushes and pops share a
 * check. */
CODE64(ends, "mov $200, %ecx\n xor %esi, %esi\n 1: test %ebp, %ebp\n jz 3f\n invlpg 0x203000\n"
	"3: call 2f\n pushfq\n pop %rdi\n and $0x8d5, %edi\n add %rdi, %rsi\n dec %ecx\n jnz 1b"
	DONE
	"2: push %rbx\n push %r13\n xor %ebx, %ebx\n xor %r13d, %r13d\n cmp $100, %cl\n pop %r13\n"
	" pop %rbx\n"
	JMP_TO("ends", "0x201ff0"));

static u64 flags_of_ends(void)
{
	u64 sum = 0, fl;

	for (u32 n = 200; n; n--) {
		__asm__ volatile("cmpb $100, %b1\n pushfq\n pop %0" : "=r"(fl) : "q"(n) : "cc",
				 "memory");
		sum += fl & 0x8d5;
	}
	return sum;
}

T(ends, "flags and registers at the end of a function, wherever its stack is")
{
	/* Without and with the second page doubted before each call. */
	for (u32 doubt = 0; doubt < 2; doubt++)
		for (int k = -4; k <= 4; k++) {
			struct guest *g = prepare_thunk(ends_b, ends_e);
			u64 sp = 0x302000 + 8 * (u64)(s64)k;
			struct stop s;

			WITH_REGS(cpu0(g), r) {
				r.rsp = sp;
				r.rbp = doubt;
				r.rbx = 0x1234567887654321;
				r.r13 = 0x8877665544332211;
			}
			s = RUN_TO(g, ST_DONE);
			CHECK_EQ(s.r.rsi, flags_of_ends());
			CHECK_EQ(s.r.rsp, sp);
			CHECK_EQ(s.r.rbx, 0x1234567887654321);
			CHECK_EQ(s.r.r13, 0x8877665544332211);
			CHECK_EQ(*g64(g, sp - 16), 0x201ff5);
		}
}

CODE64(other, "mov $200, %ecx\n xor %eax, %eax\n 1: call 2f\n cmp $100, %ecx\n jne 3f\n"
	" mov %rdi, (%rsi)\n"
	"invlpg 0x203000\n 3: dec %ecx\n jnz 1b" DONE
	"2: push %rbx\n cmp $50, %cl\n pop %rbx\n" JMP_TO("other", "0x201ff0"));
/* adc eax, 0; lea rsp, [rsp + 8]; ret */
static const u8 counting_ret[] = { 0x83, 0xd0, 0x00, 0x48, 0x8d, 0x64, 0x24, 0x08, 0xc3 };
T(other, "another page is mapped there, which wants the flags")
{
	struct guest *g = prepare_thunk(other_b, other_e);
	struct stop s;

	guest_write(g, 0x300000, counting_ret, sizeof(counting_ret));
	s = run_to_map(g, 0x203000);
	CHECK_STOP(s, ST_DONE);
	/* From 99 on they are counted: those below 50. */
	CHECK_EQ(s.r.rax, 49);
}
