/* SPDX-License-Identifier: MIT */
/* shim/syscall.c - syscall(2), for programs that open the node or issue ioctls through it. */
#include "shim/shim.h"

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

EXPORT long syscall(long nr, ...)
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
	case SYS_ioctl:
		return ioctl((int)a[0], a[1], a[2]);
	case SYS_write:
		return write((int)a[0], (const void *)a[1], a[2]);
	case SYS_close:
		return close((int)a[0]);
	}
	return shim_ret(raw(nr, a));
}
