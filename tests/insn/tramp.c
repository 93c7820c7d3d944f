/* SPDX-License-Identifier: MIT */
/*
 * tests/insn/tramp.c - the code around every sequence, the same natively and in the
 * guest: load registers from a case, jump, and store everything afterwards.
 *
 * It is copied to A_TRAMP and reaches the rest of the private part RIP-relative.
 */
#include "tests/insn/layout.h"

#define S(x) A_STR(x)
/* The private part's address `a` as an operand. */
#define P(a) "tramp_start + (" A_STR(a) " - " A_STR(A_TRAMP) ")(%rip)"
#define EACH_GPR(X) \
	X("rax", 0) X("rcx", 8) X("rdx", 16) X("rbx", 24) X("rbp", 40) X("rsi", 48) X("rdi", 56) \
	X("r8", 64) X("r9", 72) X("r10", 80) X("r11", 88) X("r12", 96) X("r13", 104) \
	X("r14", 112) X("r15", 120)
#define EACH_VEC(X) \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define LOAD_GPR(r, off) "	mov " P(A_CUR + off) ", %" r "\n"
#define STORE_GPR(r, off) "	mov %" r ", " P(A_RES + off) "\n"
#define LOAD_HI(n) "	vinsertf128 $1, " P(A_CUR + 704 + 16 * n) ", %ymm" #n ", %ymm" #n "\n"
#define LOAD_ZHI(n) "	vinserti64x4 $1, " P(A_CUR + 960 + 32 * n) ", %zmm" #n ", %zmm" #n "\n"
#define STORE_ZHI(n) "	vextracti64x4 $1, %zmm" #n ", " P(A_RES + 960 + 32 * n) "\n"
#define EACH_VEC16(X) \
	X(16, 0) X(17, 1) X(18, 2) X(19, 3) X(20, 4) X(21, 5) X(22, 6) X(23, 7) X(24, 8) X(25, 9) \
	X(26, 10) X(27, 11) X(28, 12) X(29, 13) X(30, 14) X(31, 15)
#define LOAD_Z(n, i) "	vmovdqu64 " P(A_CUR + 1472 + 64 * i) ", %zmm" #n "\n"
#define STORE_Z(n, i) "	vmovdqu64 %zmm" #n ", " P(A_RES + 1472 + 64 * i) "\n"
#define EACH_MASK(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define LOAD_K(n) "	kmovq " P(A_CUR + 2496 + 8 * n) ", %k" #n "\n"
#define STORE_K(n) "	kmovq %k" #n ", " P(A_RES + 2496 + 8 * n) "\n"
#define STORE_HI(n) "	vextractf128 $1, %ymm" #n ", " P(A_RES + 704 + 16 * n) "\n"

__asm__(
"	.pushsection .rodata\n	.balign 16\n	.globl tramp_start, tramp_exit, tramp_exit_low, "
"tramp_int80, tramp_end\n"
"tramp_start:\n"
"	mov " P(A_CTRL) ", %eax\n"
"	cmp " P(A_CTRL + 4) ", %eax\n"
"	jae 9f\n"
"	cld\n"
"	imul $" S(STATE_BYTES_S) ", %rax, %rdx\n"
"	lea " P(A_CASES) ", %rsi\n"
"	add %rdx, %rsi\n"
"	lea " P(A_CUR) ", %rdi\n"
"	mov $" S(STATE_BYTES_S) " / 8, %ecx\n"
"	rep movsq\n"
"	mov $" S(A_INIT) ", %esi\n"
"	mov $" S(A_DATA) ", %edi\n"
"	mov $(" S(A_DATA_END) " - " S(A_DATA) ") / 8, %ecx\n"
"	rep movsq\n"
"	movq $-1, " P(A_RES + 144) "\n"
"	movq $0, " P(A_RES + STATE_BYTES_S) "\n"
"	fxrstor64 " P(A_CUR + 192) "\n"
	EACH_VEC(LOAD_HI)
"	cmpl $0, " P(A_CTRL + 32) "\n"
"	je 2f\n"
	EACH_VEC(LOAD_ZHI)
	EACH_VEC16(LOAD_Z)
	EACH_MASK(LOAD_K)
"2:\n"
"	lea " P(A_TSTACK) ", %rsp\n"
"	cmpw $0, " P(A_CTRL + 28) "\n"
"	jne 2f\n"
"	cmpw $0, " P(A_CTRL + 16) "\n"
"	jne 1f\n"
"	pushq " P(A_CUR + 128) "\n"
"	popfq\n"
	EACH_GPR(LOAD_GPR)
	LOAD_GPR("rsp", 32)
"	jmp *" P(A_CUR + 136) "\n"
"1:	mov " P(A_CTRL + 16) ", %ds\n"
"	mov " P(A_CTRL + 18) ", %es\n"
"	mov " P(A_CTRL + 20) ", %fs\n"
"	mov " P(A_CTRL + 22) ", %gs\n"
"	pushq " P(A_CUR + 128) "\n"
"	popfq\n"
	EACH_GPR(LOAD_GPR)
"	mov " P(A_CTRL + 24) ", %ss\n"
	LOAD_GPR("rsp", 32)
"	ljmpl *" P(A_CUR + 136) "\n"
/* By IRET: the first trap is that behind the case's first instruction. */
"2:	mov %ss, %eax\n"
"	mov %cs, %ecx\n"
"	cmpw $0, " P(A_CTRL + 16) "\n"
"	je 3f\n"
"	mov " P(A_CTRL + 16) ", %ds\n"
"	mov " P(A_CTRL + 18) ", %es\n"
"	mov " P(A_CTRL + 20) ", %fs\n"
"	mov " P(A_CTRL + 22) ", %gs\n"
"	movzwl " P(A_CTRL + 24) ", %eax\n"
"	mov " P(A_CUR + 140) ", %ecx\n"
"3:	push %rax\n"
"	pushq " P(A_CUR + 32) "\n"
"	pushq " P(A_CUR + 128) "\n"
"	push %rcx\n"
"	mov " P(A_CUR + 136) ", %eax\n"
"	push %rax\n"
	EACH_GPR(LOAD_GPR)
"	iretq\n"
/* From A_LOW. */
"tramp_exit_low:\n"
"	mov " P(A_CTRL + 26) ", %ss\n"
"tramp_exit:\n"
	EACH_GPR(STORE_GPR)
	STORE_GPR("rsp", 32)
"	lea " P(A_TSTACK) ", %rsp\n"
"	pushfq\n"
"	popq " P(A_RES + 128) "\n"
"	pushq $0x202\n"
"	popfq\n"
"	fxsave64 " P(A_RES + 192) "\n"
	EACH_VEC(STORE_HI)
"	cmpl $0, " P(A_CTRL + 32) "\n"
"	je 2f\n"
	EACH_VEC(STORE_ZHI)
	EACH_VEC16(STORE_Z)
	EACH_MASK(STORE_K)
"2:\n"
"	imul $" S(RESULT_BYTES_S) ", " P(A_CTRL) ", %edx\n"
"	lea " P(A_RESULTS) ", %rdi\n"
"	add %rdx, %rdi\n"
"	lea 0x2000(%rdi), %rbx\n"
"	lea " P(A_RES) ", %rsi\n"
"	mov $" S(STATE_BYTES_S) " / 8, %ecx\n"
"	rep movsq\n"
"	mov (%rsi), %ecx\n"		/* struct insn_steps */
"	inc %ecx\n"
"	rep movsq\n"
"	mov %rbx, %rdi\n"
"	mov $" S(A_DATA) ", %esi\n"
"	mov $(" S(A_DATA_END) " - " S(A_DATA) ") / 8, %ecx\n"
"	rep movsq\n"
"	incl " P(A_CTRL) "\n"
"	jmp tramp_start\n"
"9:	jmp *" P(A_CTRL + 8) "\n"
"tramp_int80:\n"
"	int $0x80\n"
"tramp_end:\n"
"	.popsection\n");
