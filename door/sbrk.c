/* SPDX-License-Identifier: MIT */
/*
 * door/sbrk.c - our libc's heap. The kernel's break belongs to the program, which may rely on
 * nobody else moving it; and mappings at addresses that the kernel chooses could come into a hole
 * that the program has made. So the heap has a range of its own; where it cannot be had (a limit of
 * address space), an array, and then malloc falls back to mmap.
 */
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "door/door.h"

void *__sbrk(intptr_t n);

/* libc's start needs some before it has thread-local storage. */
static char first[256 << 10] __attribute__((aligned(64)));
static char *heap = first;		/* these three: malloc's lock */
static size_t size = sizeof(first), used;

void *__sbrk(intptr_t n)
{
	char *p = heap + used;

	if (n > (intptr_t)(size - used) || -n > (intptr_t)used) {
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

void heap_init(void)
{
	void *p = mmap(user_ptr(HEAP_BASE), HEAP_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != user_ptr(HEAP_BASE))
		return;
	/* malloc takes a jump of the break for somebody else's memory in between. */
	heap = p;
	size = HEAP_BYTES;
	used = 0;
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
}
