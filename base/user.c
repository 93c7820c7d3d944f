/* SPDX-License-Identifier: MIT */
/* base/user.c - see user.h. */
#include "base/user.h"

#include <errno.h>
#include <ucontext.h>

/* int copy(rdi dst, rsi src, rdx n). The fault lands on the rep instruction
 * itself (SDM2 REP: registers hold the progress), hence a single address. */
__asm__(
	".text\n"
	".p2align 4\n"
	".local standin_user_copy\n"
	".type standin_user_copy, @function\n"
	"standin_user_copy:\n"
	"	mov %rdx, %rcx\n"
	"	xor %eax, %eax\n"
	".local standin_user_copy_insn\n"
	"standin_user_copy_insn:\n"
	"	rep movsb\n"
	"	ret\n"
	".local standin_user_copy_fixup\n"
	"standin_user_copy_fixup:\n"
	"	mov $1, %eax\n"
	"	ret\n"
	".size standin_user_copy, . - standin_user_copy\n");
extern int standin_user_copy(void *dst, const void *src, size_t n);
extern const char standin_user_copy_insn[], standin_user_copy_fixup[];

int user_get(void *dst, const void *usr, size_t n)
{
	return standin_user_copy(dst, usr, n) ? -EFAULT : 0;
}

int user_put(void *usr, const void *src, size_t n)
{
	return standin_user_copy(usr, src, n) ? -EFAULT : 0;
}

bool user_fault(void *ucontext)
{
	ucontext_t *uc = ucontext;
	greg_t *rip = &uc->uc_mcontext.gregs[REG_RIP];

	if (*rip != (greg_t)(uintptr_t)standin_user_copy_insn)
		return false;
	*rip = (greg_t)(uintptr_t)standin_user_copy_fixup;
	return true;
}
