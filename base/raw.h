/* SPDX-License-Identifier: MIT */
/*
 * base/raw.h - the system call instruction, for code that must not go through libc: our own
 * functions of libc's names, vfork children, a loader that has no libc. -errno; no errno, no
 * cancellation.
 */
#ifndef BASE_RAW_H
#define BASE_RAW_H

static inline long raw_syscall(long nr, unsigned long a, unsigned long b, unsigned long c,
			       unsigned long d, unsigned long e, unsigned long f)
{
	register unsigned long r10 __asm__("r10") = d;
	register unsigned long r8 __asm__("r8") = e;
	register unsigned long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/* Any number of arguments up to six, of any type that fits a register. */
#define RAW_ARG(x) ((unsigned long)(x))
#define RAW_(nr, a, b, c, d, e, f, ...) \
	raw_syscall(nr, RAW_ARG(a), RAW_ARG(b), RAW_ARG(c), RAW_ARG(d), RAW_ARG(e), RAW_ARG(f))
#define RAW(nr, ...) RAW_(nr, __VA_ARGS__ __VA_OPT__(,) 0, 0, 0, 0, 0, 0)

#endif
