/* SPDX-License-Identifier: MIT */
/* base/guard.c - see guard.h. */
#include "base/guard.h"

#include <stddef.h>
#include <ucontext.h>

_Static_assert(offsetof(struct guard, rip) == 56, "layout used below");

/* The registers a callee must preserve, the caller's stack pointer and return address. */
__asm__(
	".text\n"
	".p2align 4\n"
	".globl guard_set\n"
	".hidden guard_set\n"
	".type guard_set, @function\n"
	"guard_set:\n"
	"	mov %rbx, (%rdi)\n"
	"	mov %rbp, 8(%rdi)\n"
	"	mov %r12, 16(%rdi)\n"
	"	mov %r13, 24(%rdi)\n"
	"	mov %r14, 32(%rdi)\n"
	"	mov %r15, 40(%rdi)\n"
	"	lea 8(%rsp), %rax\n"
	"	mov %rax, 48(%rdi)\n"
	"	mov (%rsp), %rax\n"
	"	mov %rax, 56(%rdi)\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	".size guard_set, . - guard_set\n");

void guard_land(const struct guard *g, void *ucontext)
{
	enum { DF = 0x400 };
	ucontext_t *uc = ucontext;
	greg_t *r = uc->uc_mcontext.gregs;

	r[REG_RBX] = (greg_t)g->rbx;
	r[REG_RBP] = (greg_t)g->rbp;
	r[REG_R12] = (greg_t)g->r12;
	r[REG_R13] = (greg_t)g->r13;
	r[REG_R14] = (greg_t)g->r14;
	r[REG_R15] = (greg_t)g->r15;
	r[REG_RSP] = (greg_t)g->rsp;
	r[REG_RIP] = (greg_t)g->rip;
	r[REG_RAX] = 1;
	/* A string instruction may have been going backwards. */
	r[REG_EFL] &= ~(greg_t)DF;
}
