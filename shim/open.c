/* SPDX-License-Identifier: MIT */
/* shim/open.c - opening the node, by whatever name libc has for it. */
#include "shim/shim.h"

#include <pthread.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "abi/abi.h"

static int start_result;

static void start_once(void)
{
	start_result = abi_start();
	if (!start_result)
		shim_signals_start();
}

int shim_engine_start(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, start_once);
	return start_result;
}

int shim_open_node(int flags)
{
	int r;

	if ((flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (flags & O_DIRECTORY)
		return -ENOTDIR;
	r = shim_engine_start();
	return r ? r : abi_open(flags);
}

/* A path that reached the real device by another name (a symbolic link, a bind mount)
 * gets ours all the same: the real one is never handed out. */
static int check_device(int fd, int flags)
{
	struct stat st;
	int saved = errno;

	if (fd < 0 || !shim_node_is_default())
		return fd;
	/* Our own fstat() believes in entries, and fd may have an old one (abi/handle.h). */
	if (syscall(SYS_fstat, fd, &st) || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(10, 232)) {
		errno = saved;
		return fd;
	}
	NEXT(close)(fd);
	errno = saved;
	return (int)shim_ret(shim_open_node(flags & ~(O_CREAT | O_EXCL)));
}

#define TAKE_MODE(flags) \
	mode_t mode = 0; \
	if ((flags) & (O_CREAT | __O_TMPFILE)) { \
		va_list ap; \
		va_start(ap, flags); \
		mode = va_arg(ap, mode_t); \
		va_end(ap); \
	}

#define OPEN(name) \
	EXPORT int name(const char *path, int flags, ...) \
	{ \
		TAKE_MODE(flags) \
		int fd = shim_open_param(path, flags); \
		if (fd != -ENOSYS) \
			return (int)shim_ret(fd); \
		if (shim_is_node(AT_FDCWD, path)) \
			return (int)shim_ret(shim_open_node(flags)); \
		return check_device(NEXT(name)(path, flags, mode), flags); \
	}
#define OPENAT(name) \
	EXPORT int name(int dir, const char *path, int flags, ...) \
	{ \
		TAKE_MODE(flags) \
		int fd = shim_open_param(path, flags); \
		if (fd != -ENOSYS) \
			return (int)shim_ret(fd); \
		if (shim_is_node(dir, path)) \
			return (int)shim_ret(shim_open_node(flags)); \
		return check_device(NEXT(name)(dir, path, flags, mode), flags); \
	}
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* The fortified forms: without a mode. */
EXPORT int __open_2(const char *path, int flags)
{
	return open(path, flags);
}

EXPORT int __open64_2(const char *path, int flags)
{
	return open64(path, flags);
}

EXPORT int __openat_2(int dir, const char *path, int flags)
{
	return openat(dir, path, flags);
}

EXPORT int __openat64_2(int dir, const char *path, int flags)
{
	return openat64(dir, path, flags);
}

static FILE *fopen_node(const char *mode)
{
	int fd = (int)shim_ret(shim_open_node(O_RDWR));
	FILE *f;

	if (fd < 0)
		return NULL;
	f = fdopen(fd, mode);
	if (!f)
		close(fd);
	return f;
}

EXPORT FILE *fopen(const char *restrict path, const char *restrict mode)
{
	return shim_is_node(AT_FDCWD, path) ? fopen_node(mode) : NEXT(fopen)(path, mode);
}

EXPORT FILE *fopen64(const char *restrict path, const char *restrict mode)
{
	return shim_is_node(AT_FDCWD, path) ? fopen_node(mode) : NEXT(fopen64)(path, mode);
}
