/* SPDX-License-Identifier: MIT */
/*
 * base/sys.h - the system calls that libc has under a name of shim/'s. Below shim/ such a name
 * would be our own function: what we open or close would count as the program's. So nobody there
 * calls one: tests/unit/layers.py looks at the objects, and knows the names from the preload object
 * itself.
 *
 * -errno; errno is left alone, nothing is a cancellation point, and no vector register is touched,
 * so that guest-side code may call these too. A call that shim/ does not take over is libc's.
 */
#ifndef BASE_SYS_H
#define BASE_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>

#include "base/raw.h"
#include "base/types.h"

/* Relative paths do not occur here. */
static inline int sys_open(const char *path, int flags)
{
	return (int)RAW(SYS_openat, AT_FDCWD, path, flags, 0644);
}

static inline int sys_close(int fd)
{
	return (int)RAW(SYS_close, fd);
}

/* A descriptor of ours for fd's open file. */
static inline int sys_dup(int fd)
{
	return (int)RAW(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
}

static inline int sys_fcntl(int fd, int cmd, unsigned long arg)
{
	return (int)RAW(SYS_fcntl, fd, cmd, arg);
}

static inline long sys_read(int fd, void *to, size_t n)
{
	return RAW(SYS_read, fd, to, n);
}

static inline long sys_pread(int fd, void *to, size_t n, u64 at)
{
	return RAW(SYS_pread64, fd, to, n, at);
}

static inline long sys_write(int fd, const void *from, size_t n)
{
	return RAW(SYS_write, fd, from, n);
}

static inline int sys_stat_of(int fd, struct stat *st)
{
	return (int)RAW(SYS_fstat, fd, st);
}

static inline long sys_readlink(const char *path, char *to, size_t n)
{
	return RAW(SYS_readlink, path, to, n);
}

static inline int sys_resize(int fd, u64 size)
{
	return (int)RAW(SYS_ftruncate, fd, size);
}

static inline int sys_set_times(int fd, const struct timespec times[2])
{
	return (int)RAW(SYS_utimensat, fd, NULL, times, 0);
}

/* Address, or what sys_map_error() knows. */
static inline void *sys_mmap(void *at, size_t n, int prot, int flags, int fd, u64 offset)
{
	return (void *)RAW(SYS_mmap, at, n, prot, flags, fd, offset);
}

static inline int sys_map_error(const void *p)
{
	return (uintptr_t)p >= (uintptr_t)-4095l ? (int)(intptr_t)p : 0;
}

/* Shared and writable, of a file. */
static inline void *sys_map_file(int fd, size_t n, u64 offset)
{
	return sys_mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
}

/* The kernel's signal sets have 8 bytes; libc's function would hide its own signals from us. */
static inline int sys_sigmask(int how, const void *set, void *old)
{
	return (int)RAW(SYS_rt_sigprocmask, how, set, old, sizeof(u64));
}

static inline u64 sys_sigpending(void)
{
	u64 set = 0;

	RAW(SYS_rt_sigpending, &set, sizeof(set));
	return set;
}

static inline int sys_futex(_Atomic u32 *word, int op, u32 value, const struct timespec *until,
			    u32 bits)
{
	return (int)RAW(SYS_futex, word, op, value, until, NULL, bits);
}

/* How late this thread's timers may be, ns. */
static inline void sys_timer_slack(unsigned long ns)
{
	RAW(SYS_prctl, PR_SET_TIMERSLACK, ns);
}

static inline int sys_getpid(void)
{
	return (int)RAW(SYS_getpid, 0);
}

static inline int sys_gettid(void)
{
	return (int)RAW(SYS_gettid, 0);
}

/* kcmp(2) of two descriptors of this process. */
static inline int sys_compare_files(int a, int b)
{
	const int kcmp_file = 0, pid = sys_getpid();

	return (int)RAW(SYS_kcmp, pid, pid, kcmp_file, a, b);
}

static inline bool sys_capable(int capability)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { { 0 } };

	return !RAW(SYS_capget, &h, d) && d[capability / 32].effective & BIT(capability % 32);
}

#endif
