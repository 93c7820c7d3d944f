/* SPDX-License-Identifier: MIT */
/*
 * base/mem.h - memory copies for code that runs while the guest's vector state
 * is in the host's registers: libc's versions would clobber it.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "base/types.h"

static inline void cpu_copy(void *d, const void *s, size_t n)
{
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
}

static inline void cpu_zero(void *d, size_t n)
{
	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(0) : "memory");
}

/* Short and of whole words: "rep" takes longer to start than these to end. The empty asm keeps
 * the compiler from making a call of libc's of them. */
static inline void cpu_copy_words(u64 *d, const u64 *s, size_t words)
{
	for (size_t i = 0; i < words; i++) {
		d[i] = s[i];
		__asm__ volatile("" ::: "memory");
	}
}

static inline void cpu_zero_words(u64 *d, size_t words)
{
	for (size_t i = 0; i < words; i++) {
		d[i] = 0;
		__asm__ volatile("" ::: "memory");
	}
}

/* Eight bytes at most: the same holds, and what "rep" has stored by bytes is slow to load. */
static inline void cpu_copy_few(void *d, const void *s, size_t n)
{
	switch (n) {
	case 1: __builtin_memcpy(d, s, 1); break;
	case 2: __builtin_memcpy(d, s, 2); break;
	case 4: __builtin_memcpy(d, s, 4); break;
	case 8: __builtin_memcpy(d, s, 8); break;
	default: cpu_copy(d, s, n); break;
	}
}

static inline bool cpu_equal(const void *a, const void *b, size_t n)
{
	const u8 *x = a, *y = b;

	for (; n >= 8; n -= 8, x += 8, y += 8) {
		u64 p, q;

		__builtin_memcpy(&p, x, 8);
		__builtin_memcpy(&q, y, 8);
		if (p != q)
			return false;
	}
	while (n--)
		if (*x++ != *y++)
			return false;
	return true;
}

#endif
