/* SPDX-License-Identifier: MIT */
/* shim/syscall.c - syscall(2), for programs that open the node or issue ioctls through it. */
#include "shim/shim.h"

#include <linux/seccomp.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "base/raw.h"

long shim_raw_syscall2(long nr, long a, long b)
{
	return RAW(nr, a, b);
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
	case SYS_creat:
		return creat((const char *)a[0], (mode_t)a[1]);
	case SYS_openat:
		return openat((int)a[0], (const char *)a[1], (int)a[2], (mode_t)a[3]);
	case SYS_openat2:
		return shim_ret(
			shim_openat2((int)a[0], (const char *)a[1], (const void *)a[2], a[3]));
	case SYS_access:
		return access((const char *)a[0], (int)a[1]);
	case SYS_faccessat:
		return faccessat((int)a[0], (const char *)a[1], (int)a[2], 0);
	case SYS_faccessat2:
		return faccessat((int)a[0], (const char *)a[1], (int)a[2], (int)a[3]);
	case SYS_readlink:
		return readlink((const char *)a[0], (char *)a[1], a[2]);
	case SYS_readlinkat:
		return readlinkat((int)a[0], (const char *)a[1], (char *)a[2], a[3]);
	case SYS_stat:
		return stat((const char *)a[0], (struct stat *)a[1]);
	case SYS_lstat:
		return lstat((const char *)a[0], (struct stat *)a[1]);
	case SYS_fstat:
		return fstat((int)a[0], (struct stat *)a[1]);
	case SYS_newfstatat:
		return fstatat((int)a[0], (const char *)a[1], (struct stat *)a[2], (int)a[3]);
	case SYS_statx:
		return statx((int)a[0], (const char *)a[1], (int)a[2], (unsigned int)a[3],
			     (struct statx *)a[4]);
	case SYS_chmod:
		return chmod((const char *)a[0], (mode_t)a[1]);
	case SYS_fchmodat:
		return fchmodat((int)a[0], (const char *)a[1], (mode_t)a[2], 0);
	case SYS_chown:
		return chown((const char *)a[0], (uid_t)a[1], (gid_t)a[2]);
	case SYS_fchownat:
		return fchownat((int)a[0], (const char *)a[1], (uid_t)a[2], (gid_t)a[3], (int)a[4]);
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
	case SYS_execveat:
		return execveat((int)a[0], (const char *)a[1], (char *const *)a[2],
				(char *const *)a[3], (int)a[4]);
	case SYS_seccomp:
		if (a[0] <= SECCOMP_SET_MODE_FILTER)
			shim_confine((unsigned int)a[0], (const void *)a[2]);
		break;
	case SYS_prctl:
		shim_confine_prctl((int)a[0], a[1], (const void *)a[2]);
		break;
	case SYS_execve:
		return execve((const char *)a[0], (char *const *)a[1], (char *const *)a[2]);
	}
	return shim_ret(raw_syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]));
}
