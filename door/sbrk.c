/* SPDX-License-Identifier: MIT */
/*
 * door/sbrk.c - our libc's heap. The kernel's break belongs to the program, which may rely on
 * nobody else moving it; so ours begins in an array, and goes on with mmap, as malloc does where
 * sbrk fails.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

void *__sbrk(intptr_t n);

/* libc's start needs some before it has thread-local storage. */
static char heap[256 << 10] __attribute__((aligned(64)));
static size_t used;	/* under malloc's lock */

void *__sbrk(intptr_t n)
{
	char *p = heap + used;

	if (n > (intptr_t)(sizeof(heap) - used) || -n > (intptr_t)used) {
		errno = ENOMEM;
		return (void *)-1;
	}
	used = (size_t)((intptr_t)used + n);
	return p;
}

void *sbrk(intptr_t n)
{
	return __sbrk(n);
}
