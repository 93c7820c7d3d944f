/* SPDX-License-Identifier: MIT */
/*
 * shim/safe.c - looking at memory that the program says is there. Its calls fail with EFAULT
 * where it is not, so ours must find out without touching it: no handler of SIGSEGV is ours before
 * the engine is started, and a thread may have the signal blocked.
 *
 * The kernel is asked. rt_sigprocmask() reads 8 bytes before it looks at what to do with them, so
 * that a bad `how` gives EFAULT or EINVAL and changes nothing; without a new set it writes the old
 * one. It costs less than 0.1 us, takes no lock, and no filter of a program that has threads
 * refuses it. Aligned words do not cross pages.
 */
#include "shim/shim.h"

#include <limits.h>
#include <sys/syscall.h>

#include "base/raw.h"

#define PAGES_FROM(p) (PAGE_SIZE - ((uintptr_t)(p) & (PAGE_SIZE - 1)))

static bool word_readable(uintptr_t a)
{
	/* NULL would mean: no new set. */
	return a >= 8 && RAW(SYS_rt_sigprocmask, -1, a & ~7ul, NULL, 8) != -EFAULT;
}

static bool word_writable(uintptr_t a)
{
	return a >= 8 && RAW(SYS_rt_sigprocmask, SIG_BLOCK, NULL, a & ~7ul, 8) != -EFAULT;
}

static bool every_page(const void *p, size_t n, bool (*ok)(uintptr_t))
{
	uintptr_t a = (uintptr_t)p, last = a + n - 1;

	if (!n)
		return true;
	if (last < a)
		return false;
	for (;; a = (a | (PAGE_SIZE - 1)) + 1) {
		if (!ok(a))
			return false;
		if ((a | (PAGE_SIZE - 1)) >= last)
			return true;
	}
}

bool shim_can_read(const void *p, size_t n)
{
	return every_page(p, n, word_readable);
}

bool shim_can_write(void *p, size_t n)
{
	/* The probe writes a mask; the whole buffer is written over it afterwards. */
	return every_page(p, n, word_writable);
}

ssize_t shim_string(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max) {
		size_t part = PAGES_FROM(s + n);

		if (!word_readable((uintptr_t)(s + n)))
			return -EFAULT;
		for (; part && n < max; part--, n++)
			if (!s[n])
				return (ssize_t)n;
	}
	return -ENAMETOOLONG;
}

bool shim_path(const char *path)
{
	return shim_string(path, PATH_MAX) >= 0;
}

ssize_t shim_list(char *const *list)
{
	uintptr_t page = 1, text = 1;
	ssize_t n = 0;

	if (!list)
		return 0;
	for (;; n++) {
		const char *s;
		size_t at = 0;

		if (((uintptr_t)(list + n) & PAGE_MASK) != page || (uintptr_t)(list + n) & 7) {
			if (!shim_can_read(list + n, sizeof(*list)))
				return -EFAULT;
			page = (uintptr_t)(list + n) & PAGE_MASK;
		}
		s = list[n];
		if (!s)
			return n;
		/* Most strings lie beside each other. */
		do {
			if (((uintptr_t)(s + at) & PAGE_MASK) != text) {
				if (!word_readable((uintptr_t)(s + at)))
					return -EFAULT;
				text = (uintptr_t)(s + at) & PAGE_MASK;
			}
		} while (s[at++]);
	}
}
