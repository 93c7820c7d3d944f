/* SPDX-License-Identifier: MIT */
/* shim/syscall.c - syscall(2), for programs that open the node or issue ioctls through it. */
#include "shim/shim.h"

#include <linux/openat2.h>
#include <stdarg.h>
#include <sys/syscall.h>

static long raw(long nr, const unsigned long a[6])
{
	register unsigned long r10 __asm__("r10") = a[3];
	register unsigned long r8 __asm__("r8") = a[4];
	register unsigned long r9 __asm__("r9") = a[5];
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

long shim_raw_syscall2(long nr, long a, long b)
{
	const unsigned long args[6] = { (unsigned long)a, (unsigned long)b };

	return raw(nr, args);
}

/* The node has no parts and no links: the resolve restrictions all hold. */
static int open_how(const struct open_how *how, size_t size)
{
	const u64 known = O_ACCMODE | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CREAT |
			  O_EXCL | O_DIRECTORY | O_TRUNC | O_APPEND | O_PATH | O_DSYNC | O_SYNC |
			  O_NOATIME | O_DIRECT | O_ASYNC | __O_LARGEFILE;
	struct open_how h;

	if (size < sizeof(h))
		return -EINVAL;
	h = *how;
	return h.flags & ~known ? -EINVAL : shim_open_node((int)h.flags);
}

/* All six are taken, however many the caller has passed. Nobody looks at the rest, but the
 * address sanitizer would complain of it. */
EXPORT __attribute__((no_sanitize("address"))) long syscall(long nr, ...)
{
	unsigned long a[6];
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	switch (nr) {
	case SYS_open:
		return open((const char *)a[0], (int)a[1], (mode_t)a[2]);
	case SYS_openat:
		/* Our own logging and probing come through here before anything is set up. */
		if (!shim_is_node((int)a[0], (const char *)a[1]))
			break;
		return shim_ret(shim_open_node((int)a[2]));
	case SYS_openat2:
		if (!shim_is_node((int)a[0], (const char *)a[1]))
			break;
		return shim_ret(open_how((const void *)a[2], a[3]));
	case SYS_access:
		return access((const char *)a[0], (int)a[1]);
	case SYS_faccessat:
	case SYS_faccessat2:
		if (!shim_is_node((int)a[0], (const char *)a[1]))
			break;
		return faccessat((int)a[0], (const char *)a[1], (int)a[2],
				 nr == SYS_faccessat2 ? (int)a[3] : 0);
	case SYS_readlink:
		return readlink((const char *)a[0], (char *)a[1], a[2]);
	case SYS_readlinkat:
		return readlinkat((int)a[0], (const char *)a[1], (char *)a[2], a[3]);
	case SYS_stat:
		return stat((const char *)a[0], (struct stat *)a[1]);
	case SYS_lstat:
		return lstat((const char *)a[0], (struct stat *)a[1]);
	case SYS_newfstatat:
		/* Asked by shim_is_node() itself, never about the node's own name. */
		if (!shim_is_node((int)a[0], (const char *)a[1]))
			break;
		return fstatat((int)a[0], (const char *)a[1], (struct stat *)a[2], (int)a[3]);
	case SYS_statx:
		if (!shim_is_node((int)a[0], (const char *)a[1]))
			break;
		return statx((int)a[0], (const char *)a[1], (int)a[2], (unsigned int)a[3],
			     (struct statx *)a[4]);
	case SYS_ioctl:
		return ioctl((int)a[0], a[1], a[2]);
	case SYS_write:
		return write((int)a[0], (const void *)a[1], a[2]);
	case SYS_close:
		return close((int)a[0]);
	case SYS_close_range:
		return close_range((unsigned int)a[0], (unsigned int)a[1], (int)a[2]);
	case SYS_dup:
		return dup((int)a[0]);
	case SYS_dup2:
		return dup2((int)a[0], (int)a[1]);
	case SYS_dup3:
		return dup3((int)a[0], (int)a[1], (int)a[2]);
	case SYS_execve:
		return execve((const char *)a[0], (char *const *)a[1], (char *const *)a[2]);
	}
	return shim_ret(raw(nr, a));
}
