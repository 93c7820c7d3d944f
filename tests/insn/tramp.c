/* SPDX-License-Identifier: MIT */
/*
 * tests/insn/tramp.c - the code around every sequence, the same natively and in the
 * guest: load registers from a case, jump, and store everything afterwards.
 *
 * It is copied to A_TRAMP and uses absolute 32-bit addresses only.
 */
#include "tests/insn/layout.h"

#define S(x) A_STR(x)
#define EACH_GPR(X) \
	X("rax", 0) X("rcx", 8) X("rdx", 16) X("rbx", 24) X("rbp", 40) X("rsi", 48) X("rdi", 56) \
	X("r8", 64) X("r9", 72) X("r10", 80) X("r11", 88) X("r12", 96) X("r13", 104) \
	X("r14", 112) X("r15", 120)
#define EACH_VEC(X) \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define LOAD_GPR(r, off) "	mov " S(A_CUR) " + " #off ", %" r "\n"
#define STORE_GPR(r, off) "	mov %" r ", " S(A_RES) " + " #off "\n"
#define LOAD_HI(n) "	vinsertf128 $1, " S(A_CUR) " + 704 + 16 * " #n ", %ymm" #n ", %ymm" #n "\n"
#define STORE_HI(n) "	vextractf128 $1, %ymm" #n ", " S(A_RES) " + 704 + 16 * " #n "\n"

__asm__(
"	.pushsection .rodata\n	.balign 16\n	.globl tramp_start, tramp_exit, tramp_int80, tramp_end\n"
"tramp_start:\n"
"	mov " S(A_CTRL) ", %eax\n"
"	cmp " S(A_CTRL) " + 4, %eax\n"
"	jae 9f\n"
"	cld\n"
"	imul $" S(STATE_BYTES_S) ", %eax, %esi\n"
"	add $" S(A_CASES) ", %esi\n"
"	mov $" S(A_CUR) ", %edi\n"
"	mov $" S(STATE_BYTES_S) " / 8, %ecx\n"
"	rep movsq\n"
"	mov $" S(A_INIT) ", %esi\n"
"	mov $" S(A_DATA) ", %edi\n"
"	mov $(" S(A_DATA_END) " - " S(A_DATA) ") / 8, %ecx\n"
"	rep movsq\n"
"	movq $-1, " S(A_RES) " + 144\n"
"	fxrstor64 " S(A_CUR) " + 192\n"
	EACH_VEC(LOAD_HI)
"	mov $" S(A_TSTACK) ", %esp\n"
"	pushq " S(A_CUR) " + 128\n"
"	popfq\n"
	EACH_GPR(LOAD_GPR)
	LOAD_GPR("rsp", 32)
"	jmp *" S(A_CUR) " + 136\n"
"tramp_exit:\n"
	EACH_GPR(STORE_GPR)
	STORE_GPR("rsp", 32)
"	mov $" S(A_TSTACK) ", %esp\n"
"	pushfq\n"
"	popq " S(A_RES) " + 128\n"
"	pushq $0x202\n"
"	popfq\n"
"	fxsave64 " S(A_RES) " + 192\n"
	EACH_VEC(STORE_HI)
"	imul $" S(RESULT_BYTES_S) ", " S(A_CTRL) ", %edi\n"
"	add $" S(A_RESULTS) ", %edi\n"
"	lea 0x1000(%rdi), %rbx\n"
"	mov $" S(A_RES) ", %esi\n"
"	mov $" S(STATE_BYTES_S) " / 8, %ecx\n"
"	rep movsq\n"
"	mov %rbx, %rdi\n"
"	mov $" S(A_DATA) ", %esi\n"
"	mov $(" S(A_DATA_END) " - " S(A_DATA) ") / 8, %ecx\n"
"	rep movsq\n"
"	incl " S(A_CTRL) "\n"
"	jmp tramp_start\n"
"9:	jmp *" S(A_CTRL) " + 8\n"
"tramp_int80:\n"
"	int $0x80\n"
"tramp_end:\n"
"	.popsection\n");
