/* SPDX-License-Identifier: MIT */
/*
 * shim/stat.c - the node exists for whoever asks: scripts and VMMs test for it before they open it.
 *
 * The kernel is asked first. It has read the path then, and refuses bad addresses itself; what it
 * says about the node (which may be there, with other rights) is replaced.
 */
#include "shim/shim.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "abi/handle.h"
#include "base/node.h"
#include "base/raw.h"

/* The node is in it, and nobody has touched it since the folder was made. */
static struct stat folder_stat(void)
{
	char folder[PATH_MAX];
	struct stat in = { 0 };

	strcpy(folder, shim_node());
	strcpy(strrchr(folder, '/') + 1, ".");
	RAW(SYS_newfstatat, AT_FDCWD, folder, &in, 0);
	return in;
}

/* struct stat and struct stat64 are the same on x86-64. The kernel has not looked at `out` when it
 * did not find the path. */
static int fill(void *out)
{
	struct stat in;

	if (!shim_can_write(out, sizeof(struct stat)))
		return (int)shim_ret(-EFAULT);
	in = folder_stat();
	node_stat(out, in.st_dev, in.st_ctim);
	return 0;
}

bool shim_is_node_fd(int fd)
{
	struct stat st;

	return !RAW(SYS_fstat, fd, &st) && (handle_is_system(&st) || shim_is_path_fd(fd, &st));
}

/* The call was about the descriptor alone. */
static bool no_path(int r, const char *path, int flags)
{
	return flags & AT_EMPTY_PATH && (!path || (!r && !*path));
}

/* What the kernel has answered: by the inode if it was about a descriptor of the node. */
static int settle(int r, int dir, const char *path, void *st, int flags)
{
	if (!r && (handle_is_system(st) || shim_is_device(st)))
		return fill(st);
	if (no_path(r, path, flags))
		return !r && shim_is_path_fd(dir, st) ? fill(st) : r;
	if (likely(!shim_was_node(r < 0, dir, path, !(flags & AT_SYMLINK_NOFOLLOW))))
		return r;
	return fill(st);
}

#define STAT(name, type, flags) \
	EXPORT int name(const char *restrict path, type *restrict st) \
	{ \
		return settle(NEXT(name)(path, st), AT_FDCWD, path, st, flags); \
	}
STAT(stat, struct stat, 0)
STAT(stat64, struct stat64, 0)
STAT(lstat, struct stat, AT_SYMLINK_NOFOLLOW)
STAT(lstat64, struct stat64, AT_SYMLINK_NOFOLLOW)

/* The node, opened: a character device for fstat too. */
static int settle_fd(int r, int fd, void *st)
{
	return !r && unlikely(handle_is_system(st) || shim_is_path_fd(fd, st)) ? fill(st) : r;
}

#define FSTAT(name, type) \
	EXPORT int name(int fd, type *st) \
	{ \
		return settle_fd(NEXT(name)(fd, st), fd, st); \
	}
FSTAT(fstat, struct stat)
FSTAT(fstat64, struct stat64)

#define STATAT(name, type) \
	EXPORT int name(int dir, const char *restrict path, type *restrict st, int flags) \
	{ \
		return settle(NEXT(name)(dir, path, st, flags), dir, path, st, flags); \
	}
STATAT(fstatat, struct stat)
STATAT(fstatat64, struct stat64)

/* What binaries linked against glibc before 2.33 call. */
#define XSTAT(name, type, flags) \
	EXPORT int name(int ver, const char *path, type *st) \
	{ \
		return settle(NEXT(name)(ver, path, st), AT_FDCWD, path, st, flags); \
	}
#define FXSTAT(name, type) \
	EXPORT int name(int ver, int fd, type *st) \
	{ \
		return settle_fd(NEXT(name)(ver, fd, st), fd, st); \
	}
FXSTAT(__fxstat, struct stat)
FXSTAT(__fxstat64, struct stat64)

XSTAT(__xstat, struct stat, 0)
XSTAT(__xstat64, struct stat64, 0)
XSTAT(__lxstat, struct stat, AT_SYMLINK_NOFOLLOW)
XSTAT(__lxstat64, struct stat64, AT_SYMLINK_NOFOLLOW)

#define XSTATAT(name, type) \
	EXPORT int name(int ver, int dir, const char *path, type *st, int flags) \
	{ \
		return settle(NEXT(name)(ver, dir, path, st, flags), dir, path, st, flags); \
	}
XSTATAT(__fxstatat, struct stat)
XSTATAT(__fxstatat64, struct stat64)

/* fd: what the call was about if it had no path, or -1. */
static bool is_system_statx(int fd, const struct statx *sx)
{
	struct stat st = {
		.st_mode = sx->stx_mode, .st_nlink = sx->stx_nlink, .st_size = (off_t)sx->stx_size,
		.st_mtim = { sx->stx_mtime.tv_sec, sx->stx_mtime.tv_nsec },
		.st_rdev = makedev(sx->stx_rdev_major, sx->stx_rdev_minor),
	};

	return handle_is_system(&st) || shim_is_device(&st) ||
	       (fd >= 0 && shim_is_path_fd(fd, &st));
}

static int fill_statx(struct statx *sx)
{
	struct stat in;

	if (!shim_can_write(sx, sizeof(*sx)))
		return (int)shim_ret(-EFAULT);
	in = folder_stat();
	node_statx(sx, in.st_dev, in.st_ctim);
	return 0;
}

EXPORT int statx(int dir, const char *restrict path, int flags, unsigned int mask,
		 struct statx *restrict sx)
{
	int r = NEXT(statx)(dir, path, flags, mask, sx);

	if (!r && is_system_statx(no_path(r, path, flags) ? dir : -1, sx))
		return fill_statx(sx);
	if (no_path(r, path, flags))
		return r;
	if (likely(!shim_was_node(r < 0, dir, path, !(flags & AT_SYMLINK_NOFOLLOW))))
		return r;
	return fill_statx(sx);
}

/* Readable and writable for everyone; not executable. */
static int may(int mode)
{
	if (mode & ~(R_OK | W_OK | X_OK))
		return (int)shim_ret(-EINVAL);
	return mode & X_OK ? (int)shim_ret(-EACCES) : 0;
}

#define ACCESS(name) \
	EXPORT int name(const char *path, int mode) \
	{ \
		int r = NEXT(name)(path, mode); \
		return shim_was_node(r < 0, AT_FDCWD, path, true) ? may(mode) : r; \
	}
ACCESS(access)
ACCESS(eaccess)
ACCESS(euidaccess)

EXPORT int faccessat(int dir, const char *path, int mode, int flags)
{
	int r = NEXT(faccessat)(dir, path, mode, flags);

	if (flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return r;
	if (no_path(r, path, flags))
		return !r && shim_is_node_fd(dir) ? may(mode) : r;
	return shim_was_node(r < 0, dir, path, !(flags & AT_SYMLINK_NOFOLLOW)) ? may(mode) : r;
}

/* The node is no link. A descriptor of it is one below /proc, and says the node's name. */
static ssize_t settle_link(ssize_t r, int dir, const char *path, char *buf, size_t len)
{
	static const char ours[] = "/memfd:standin:kvm (deleted)";
	size_t n = sizeof(ours) - 1 < len ? sizeof(ours) - 1 : len;

	if (r < 0)
		return shim_was_node(true, dir, path, false) ? shim_ret(-EINVAL) : r;
	if (likely((size_t)r != n || memcmp(buf, ours, n)))
		return r;
	n = strlen(shim_node()) < len ? strlen(shim_node()) : len;
	memcpy(buf, shim_node(), n);
	return (ssize_t)n;
}

EXPORT ssize_t readlink(const char *restrict path, char *restrict buf, size_t len)
{
	return settle_link(NEXT(readlink)(path, buf, len), AT_FDCWD, path, buf, len);
}

EXPORT ssize_t readlinkat(int dir, const char *restrict path, char *restrict buf, size_t len)
{
	return settle_link(NEXT(readlinkat)(dir, path, buf, len), dir, path, buf, len);
}

/* The fortified forms: the compiler knows the buffer's size. */
EXPORT ssize_t __readlink_chk(const char *path, char *buf, size_t len, size_t size)
{
	if (len > size)
		__builtin_trap();
	return readlink(path, buf, len);
}

EXPORT ssize_t __readlinkat_chk(int dir, const char *path, char *buf, size_t len, size_t size)
{
	if (len > size)
		__builtin_trap();
	return readlinkat(dir, path, buf, len);
}

EXPORT char *canonicalize_file_name(const char *path)
{
	return realpath(path, NULL);
}

EXPORT char *realpath(const char *restrict path, char *restrict out)
{
	char *p = NEXT(realpath)(path, out);

	if (p || errno != ENOENT || !shim_was_node(true, AT_FDCWD, path, true))
		return p;
	return out ? strcpy(out, shim_node()) : strdup(shim_node());
}

EXPORT char *__realpath_chk(const char *path, char *out, size_t len)
{
	return realpath(path, out);
}
