/* SPDX-License-Identifier: MIT */
/*
 * direct/trampoline.c - the only code of the stub that is ours. One page; it makes the system calls
 * of a list and stops. The list is in memory that the stub can only read, what is left to do in
 * registers, which only the tracer sets. User code that jumps here makes no system call: it is
 * stopped at the first.
 */
#include "direct/direct_priv.h"

_Static_assert(sizeof(struct order) == 0x40, "trampoline");
_Static_assert(sizeof(struct orders) + 512 <= STUB_SHARED, "room for the data of the start");

/* ebx: how many, r13: where. At the end ebx is 0; or one failed, that many before the end, with
 * rax. */
__asm__(".pushsection .rodata.direct_stub,\"a\",@progbits\n"
	".balign 16\n"
	".globl direct_stub_code, direct_stub_loop, direct_stub_done, direct_stub_end\n"
	".hidden direct_stub_code, direct_stub_loop, direct_stub_done, direct_stub_end\n"
	"direct_stub_code:\n"
	"	syscall\n"
	"	int3\n"
	"direct_stub_loop:\n"
	"	test %ebx, %ebx\n"
	"	jz 1f\n"
	"	mov (%r13), %rax\n"
	"	mov 8(%r13), %rdi\n"
	"	mov 16(%r13), %rsi\n"
	"	mov 24(%r13), %rdx\n"
	"	mov 32(%r13), %r10\n"
	"	mov 40(%r13), %r8\n"
	"	mov 48(%r13), %r9\n"
	"	syscall\n"
	"	cmp $-4096, %rax\n"
	"	ja 1f\n"
	"	add $64, %r13\n"
	"	dec %ebx\n"
	"	jmp direct_stub_loop\n"
	"1:	int3\n"
	"direct_stub_done:\n"
	"direct_stub_end:\n"
	".popsection\n");
