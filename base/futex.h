/* SPDX-License-Identifier: MIT */
/*
 * base/futex.h - waking and sleeping. The wake-up is one system call without libc, so that it may
 * be made in the guest, with its vector state in the registers.
 */
#ifndef BASE_FUTEX_H
#define BASE_FUTEX_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "base/types.h"

/* Any thread. errno is left alone. */
static inline void futex_wake(_Atomic u32 *word, int n)
{
	register long r10 __asm__("r10") = 0;
	long ret = SYS_futex;

	__asm__ volatile("syscall" : "+a"(ret)
			 : "D"(word), "S"((long)FUTEX_WAKE_PRIVATE), "d"((long)n), "r"(r10)
			 : "rcx", "r11", "memory");
}

/*
 * How late the kernel has been of late with ending sleeps. A sleeper goes to sleep that much
 * before its deadline and spins for the rest, at most SLEEPER_SPIN_MAX.
 */
struct sleeper {
	u64 early;	/* ns; belongs to the one who sleeps */
};
#define SLEEPER_SPIN_MAX 20000u

/* Sleep while *word is seq, until deadline (CLOCK_MONOTONIC ns, ~0 = none): 0, or an errno of
 * futex(2): EAGAIN, ETIMEDOUT, EINTR. */
int futex_sleep(_Atomic u32 *word, u32 seq, u64 deadline, struct sleeper *s);
u64 monotonic_ns(void);

#endif
