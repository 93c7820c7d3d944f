/* SPDX-License-Identifier: MIT */
/*
 * base/user.h - access to ioctl arguments.
 *
 * The VMM is our own process, so an argument is a plain pointer, but a wrong
 * one must give EFAULT, not a crash. Copies are a single `rep movsb` at a known
 * address; the SIGSEGV/SIGBUS trampoline asks user_fault() first, which turns a
 * fault of that instruction into an error return. No system call, no
 * sigsetjmp: the good path costs what the copy costs.
 */
#ifndef BASE_USER_H
#define BASE_USER_H

#include "base/types.h"

/* 0 or -EFAULT. A failed copy may have moved a part. */
int user_get(void *dst, const void *usr, size_t n);
int user_put(void *usr, const void *src, size_t n);
static inline void *user_ptr(u64 a)
{
	return (void *)(uintptr_t)a;
}

/* From a SIGSEGV/SIGBUS handler: true when the fault was a user copy's; the
 * context has been changed so that the copy fails. Async-signal-safe. */
bool user_fault(void *ucontext);

#endif
