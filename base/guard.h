/* SPDX-License-Identifier: MIT */
/*
 * base/guard.h - a place to continue at when memory turns out to be gone.
 *
 * Guest memory belongs to the VMM, which may unmap it while a vCPU uses it. Real KVM
 * then fails the system call; here it is a host fault in the middle of C code. guard_set()
 * marks where to go on in that case, guard_land() sends the faulting thread there from
 * its signal handler by changing the interrupted context, so that signal mask and vector
 * registers are restored on the way.
 *
 * Whatever ran between the two is abandoned: it must hold no lock while it touches guest
 * memory. A guard belongs to one thread and is valid until the caller of guard_set() returns.
 */
#ifndef BASE_GUARD_H
#define BASE_GUARD_H

#include "base/types.h"

struct guard {
	u64 rbx, rbp, r12, r13, r14, r15, rsp, rip;	/* order known to guard.c */
};

/* 0; returns a second time, with 1, after guard_land(). */
int guard_set(struct guard *g) __attribute__((returns_twice));
/* Async-signal-safe. */
void guard_land(const struct guard *g, void *ucontext);

/* To be called where guard_set() has returned for the second time: AddressSanitizer still has the
 * abandoned frames, below this one, marked as in use. */
#ifdef __SANITIZE_ADDRESS__
void __asan_unpoison_memory_region(const volatile void *addr, size_t n);
#define guard_landed() \
	__asan_unpoison_memory_region((char *)__builtin_frame_address(0) - (128 << 10), 128 << 10)
#else
#define guard_landed() ((void)0)
#endif

#endif
