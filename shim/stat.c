/* SPDX-License-Identifier: MIT */
/*
 * shim/stat.c - the node exists for whoever asks: scripts and VMMs test for it
 * before they open it.
 */
#include "shim/shim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "abi/handle.h"

#define NODE_MODE (S_IFCHR | 0666)
#define NODE_INO 232

/* struct stat and struct stat64 are the same on x86-64. */
static int fill(void *out)
{
	struct stat *st = out;

	memset(st, 0, sizeof(*st));
	st->st_mode = NODE_MODE;
	st->st_rdev = makedev(10, 232);
	st->st_nlink = 1;
	st->st_ino = NODE_INO;
	st->st_dev = makedev(0, 5);
	st->st_blksize = 4096;
	return 0;
}

#define STAT(name, type) \
	EXPORT int name(const char *restrict path, type *restrict st) \
	{ \
		return shim_is_node(AT_FDCWD, path) ? fill(st) : NEXT(name)(path, st); \
	}
STAT(stat, struct stat)
STAT(stat64, struct stat64)
STAT(lstat, struct stat)
STAT(lstat64, struct stat64)

/* The node, opened: a character device for fstat too. */
static bool is_system_fd(int fd)
{
	struct handle *h = handle_any() ? handle_peek(fd) : NULL;
	bool yes = h && h->kind == HANDLE_SYSTEM;

	if (h)
		handle_put(h);
	return yes;
}

static bool is_node_at(int dir, const char *path, int flags)
{
	if (path && !*path && (flags & AT_EMPTY_PATH))
		return is_system_fd(dir);
	return shim_is_node(dir, path);
}

#define FSTAT(name, type) \
	EXPORT int name(int fd, type *st) \
	{ \
		return is_system_fd(fd) ? fill(st) : NEXT(name)(fd, st); \
	}
FSTAT(fstat, struct stat)
FSTAT(fstat64, struct stat64)

#define STATAT(name, type) \
	EXPORT int name(int dir, const char *restrict path, type *restrict st, int flags) \
	{ \
		return is_node_at(dir, path, flags) ? fill(st) : NEXT(name)(dir, path, st, flags); \
	}
STATAT(fstatat, struct stat)
STATAT(fstatat64, struct stat64)

/* What binaries linked against glibc before 2.33 call. */
#define XSTAT(name, type) \
	EXPORT int name(int ver, const char *path, type *st) \
	{ \
		return shim_is_node(AT_FDCWD, path) ? fill(st) : NEXT(name)(ver, path, st); \
	}
#define FXSTAT(name, type) \
	EXPORT int name(int ver, int fd, type *st) \
	{ \
		return is_system_fd(fd) ? fill(st) : NEXT(name)(ver, fd, st); \
	}
FXSTAT(__fxstat, struct stat)
FXSTAT(__fxstat64, struct stat64)

XSTAT(__xstat, struct stat)
XSTAT(__xstat64, struct stat64)
XSTAT(__lxstat, struct stat)
XSTAT(__lxstat64, struct stat64)

#define XSTATAT(name, type) \
	EXPORT int name(int ver, int dir, const char *path, type *st, int flags) \
	{ \
		return is_node_at(dir, path, flags) ? fill(st) : \
						      NEXT(name)(ver, dir, path, st, flags); \
	}
XSTATAT(__fxstatat, struct stat)
XSTATAT(__fxstatat64, struct stat64)

EXPORT int statx(int dir, const char *restrict path, int flags, unsigned int mask,
		 struct statx *restrict sx)
{
	if (!is_node_at(dir, path, flags))
		return NEXT(statx)(dir, path, flags, mask, sx);
	memset(sx, 0, sizeof(*sx));
	sx->stx_mask = STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_UID | STATX_GID | STATX_INO;
	sx->stx_mode = NODE_MODE;
	sx->stx_nlink = 1;
	sx->stx_ino = NODE_INO;
	sx->stx_blksize = 4096;
	sx->stx_rdev_major = 10;
	sx->stx_rdev_minor = 232;
	sx->stx_dev_minor = 5;
	return 0;
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
		return shim_is_node(AT_FDCWD, path) ? may(mode) : NEXT(name)(path, mode); \
	}
ACCESS(access)
ACCESS(eaccess)
ACCESS(euidaccess)

EXPORT int faccessat(int dir, const char *path, int mode, int flags)
{
	return shim_is_node(dir, path) ? may(mode) : NEXT(faccessat)(dir, path, mode, flags);
}

EXPORT ssize_t readlink(const char *restrict path, char *restrict buf, size_t len)
{
	return shim_is_node(AT_FDCWD, path) ? shim_ret(-EINVAL) : NEXT(readlink)(path, buf, len);
}

EXPORT ssize_t readlinkat(int dir, const char *restrict path, char *restrict buf, size_t len)
{
	return shim_is_node(dir, path) ? shim_ret(-EINVAL) : NEXT(readlinkat)(dir, path, buf, len);
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
	if (!shim_is_node(AT_FDCWD, path))
		return NEXT(realpath)(path, out);
	return out ? strcpy(out, shim_node()) : strdup(shim_node());
}

EXPORT char *__realpath_chk(const char *path, char *out, size_t len)
{
	return realpath(path, out);
}
