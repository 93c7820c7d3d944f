/* SPDX-License-Identifier: MIT */
/* shim/open.c - opening the node, by whatever name libc has for it. */
#include "shim/shim.h"

#include <linux/openat2.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>

#include "abi/abi.h"
#include "base/raw.h"

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
	if (flags & O_PATH)
		flags &= O_PATH | O_CLOEXEC | O_NOFOLLOW | O_DIRECTORY;
	if ((flags & O_CREAT) && (flags & O_DIRECTORY))
		return -EINVAL;
	if ((flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (flags & O_DIRECTORY)
		return -ENOTDIR;
	return flags & O_PATH ? shim_open_path(flags) : abi_open(flags);
}

/* Is the call about the node before the kernel has seen it? path can be read. A file must not be
 * made where a link leads to the node. */
static bool about_node(int dir, const char *path, int flags)
{
	return shim_is_node_read(dir, path) ||
	       ((flags & (O_CREAT | O_EXCL | O_NOFOLLOW | O_PATH)) == O_CREAT &&
		shim_leads_to_node(dir, path));
}

/* A path that reached the real device by another name (a symbolic link, a bind mount) gets ours all
 * the same: the real one is never handed out. So does a link that leads to where none is. */
static int check_device(int fd, int dir, const char *path, int flags)
{
	struct stat st;
	int saved = errno;

	if (fd < 0) {
		if (!shim_was_node(true, dir, path, !(flags & O_NOFOLLOW)))
			return fd;
		return (int)shim_ret(shim_open_node(flags));
	}
	/* Our own fstat() believes in entries, and fd may have an old one (abi/handle.h). */
	if (RAW(SYS_fstat, fd, &st))
		return fd;
	if (likely(!shim_is_device(&st) && !shim_is_path_fd_link(path, &st))) {
		shim_path_fd_opened(fd, &st);
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

/* Whatever cannot be read as a path is the kernel's to refuse. */
#define OPEN_AT(dir, path, flags, next) \
	if (unlikely(!shim_path(path))) \
		return next; \
	int fd = shim_passive ? -ENOSYS : shim_open_param(path, flags); \
	if (fd == -ENOSYS) \
		fd = shim_open_cpuinfo(dir, path, flags); \
	if (fd != -ENOSYS) \
		return (int)shim_ret(fd); \
	if (about_node(dir, path, flags)) \
		return (int)shim_ret(shim_open_node(flags)); \
	return check_device(next, dir, path, flags)

#define OPEN(name) \
	EXPORT int name(const char *path, int flags, ...) \
	{ \
		TAKE_MODE(flags) \
		OPEN_AT(AT_FDCWD, path, flags, NEXT(name)(path, flags, mode)); \
	}
#define OPENAT(name) \
	EXPORT int name(int dir, const char *path, int flags, ...) \
	{ \
		TAKE_MODE(flags) \
		OPEN_AT(dir, path, flags, NEXT(name)(dir, path, flags, mode)); \
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

EXPORT int creat(const char *path, mode_t mode)
{
	return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

EXPORT int creat64(const char *path, mode_t mode)
{
	return open64(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

/* openat2(2), which libc has no function for. */
long shim_openat2(int dir, const char *path, const struct open_how *how, size_t size)
{
	const u64 known = O_ACCMODE | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CREAT |
			  O_EXCL | O_DIRECTORY | O_TRUNC | O_APPEND | O_PATH | O_DSYNC | O_SYNC |
			  O_NOATIME | O_DIRECT | O_ASYNC | __O_LARGEFILE;
	const u64 resolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS |
			    RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_CACHED;
	struct open_how h;
	const char *p = path;
	bool follow;
	long r;

	if (size < sizeof(h) || !shim_can_read(how, sizeof(h)) || !shim_path(path))
		goto kernel;
	h = *how;
	if (h.resolve & RESOLVE_IN_ROOT)
		p += strspn(p, "/");
	/* An absolute path leaves the folder, and is refused for that. */
	if (h.flags & ~known || h.resolve & ~resolve ||
	    (*path == '/' && h.resolve & RESOLVE_BENEATH) || (h.mode && !(h.flags & O_CREAT)))
		goto kernel;
	if (shim_is_node_read(dir, p))
		return shim_open_node((int)h.flags);
	r = h.resolve ? -ENOSYS : shim_open_cpuinfo(dir, path, (int)h.flags);
	if (r != -ENOSYS)
		return r;
	follow = !(h.resolve & (RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT)) &&
		 !(h.flags & O_NOFOLLOW);
	if (follow && (h.flags & O_CREAT) && about_node(dir, path, (int)h.flags))
		return shim_open_node((int)h.flags);
	r = RAW(SYS_openat2, dir, path, how, size);
	errno = r < 0 ? (int)-r : 0;
	r = check_device(r < 0 ? -1 : (int)r, dir, path, (int)h.flags | (follow ? 0 : O_NOFOLLOW));
	return r < 0 ? -errno : r;
kernel:
	return RAW(SYS_openat2, dir, path, how, size);
}

/* -- streams: libc opens the file itself. mode can be read, as libc reads it -- */

static int mode_flags(const char *mode)
{
	int flags = *mode == 'r' ? 0 : O_CREAT;

	flags |= strchr(mode, '+') ? O_RDWR : *mode == 'r' ? O_RDONLY : O_WRONLY;
	if (strchr(mode, 'e'))
		flags |= O_CLOEXEC;
	if (strchr(mode, 'x') && flags & O_CREAT)
		flags |= O_EXCL;
	return flags;
}

/* fd becomes the stream's, or is closed; negative: there is none. */
static FILE *stream(int fd, const char *mode)
{
	FILE *f = fd < 0 ? NULL : fdopen(fd, mode);

	if (!f && fd >= 0)
		close(fd);
	return f;
}

static FILE *fopen_node(const char *mode)
{
	return stream((int)shim_ret(shim_open_node(mode_flags(mode))), mode);
}

static FILE *check_stream(FILE *f, const char *path, const char *mode)
{
	struct stat st;

	if (!f)
		return shim_was_node(true, AT_FDCWD, path, true) ? fopen_node(mode) : NULL;
	if (RAW(SYS_fstat, fileno(f), &st) || likely(!shim_is_device(&st)))
		return f;
	fclose(f);
	return fopen_node(mode);
}

/* A text of ours as a stream; NULL: the file is not one of those. */
static FILE *fopen_text(const char *path, const char *mode)
{
	int fd = shim_passive ? -ENOSYS : shim_open_param(path, mode_flags(mode));

	if (fd == -ENOSYS)
		fd = shim_open_cpuinfo(AT_FDCWD, path, mode_flags(mode));
	return stream(fd, mode);
}

#define FOPEN(name) \
	EXPORT FILE *name(const char *restrict path, const char *restrict mode) \
	{ \
		FILE *f; \
		if (!shim_path(path)) \
			return NEXT(name)(path, mode); \
		f = fopen_text(path, mode); \
		if (f) \
			return f; \
		if (about_node(AT_FDCWD, path, mode_flags(mode))) \
			return fopen_node(mode); \
		return check_stream(NEXT(name)(path, mode), path, mode); \
	}
FOPEN(fopen)
FOPEN(fopen64)

/* The stream keeps its identity, so libc has to open something, and what it has opened becomes the
 * node. */
static FILE *freopen_node(FILE *(*next)(const char *, const char *, FILE *), const char *mode,
			  FILE *f)
{
	int node = shim_open_node(mode_flags(mode) | O_CLOEXEC), r;

	f = next(node < 0 ? "" : "/dev/null", mode, f);
	if (node < 0 || !f) {
		if (node >= 0)
			close(node);
		else
			errno = -node;
		return NULL;
	}
	r = dup3(node, fileno(f), mode_flags(mode) & O_CLOEXEC);
	close(node);
	if (r < 0) {
		fclose(f);
		return NULL;
	}
	return f;
}

#define FREOPEN(name) \
	EXPORT FILE *name(const char *restrict path, const char *restrict mode, FILE *restrict f) \
	{ \
		if (!shim_path(path) || (!about_node(AT_FDCWD, path, mode_flags(mode)) && \
					 !shim_leads_to_node(AT_FDCWD, path))) \
			return NEXT(name)(path, mode, f); \
		return freopen_node(NEXT(name), mode, f); \
	}
FREOPEN(freopen)
FREOPEN(freopen64)
