/* SPDX-License-Identifier: MIT */
/*
 * shim/attr.c - changing the node, or putting something in its place: as if root's crw-rw-rw- were
 * there. What root may change about it is accepted and forgotten, so that scripts which set a
 * node up go on; a real node of the machine is left alone.
 */
#include "shim/shim.h"

#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include "base/raw.h"

/* Is the call about the node, also through a link that the kernel cannot follow to it? */
static bool about(int dir, const char *path, bool follow)
{
	return shim_path(path) &&
	       (shim_is_node_read(dir, path) || (follow && shim_leads_to_node(dir, path)));
}

static int for_root(void)
{
	return RAW(SYS_geteuid) ? (int)shim_ret(-EPERM) : 0;
}

/* X(the function's arguments, about which path, follows links): what is left to its owner. */
#define OWNERS(name, dir, path, follow, params, args) \
	EXPORT int name params \
	{ \
		return about(dir, path, follow) ? for_root() : NEXT(name) args; \
	}
#define FOLLOWS(flags) (!((flags) & AT_SYMLINK_NOFOLLOW))
OWNERS(chmod, AT_FDCWD, path, true, (const char *path, mode_t mode), (path, mode))
OWNERS(fchmodat, dir, path, FOLLOWS(flags), (int dir, const char *path, mode_t mode, int flags),
       (dir, path, mode, flags))
OWNERS(chown, AT_FDCWD, path, true, (const char *path, uid_t u, gid_t g), (path, u, g))
OWNERS(lchown, AT_FDCWD, path, false, (const char *path, uid_t u, gid_t g), (path, u, g))
OWNERS(fchownat, dir, path, FOLLOWS(flags),
       (int dir, const char *path, uid_t u, gid_t g, int flags), (dir, path, u, g, flags))

/* By descriptor. The inode's times are its mark, so nobody else may set them. */
#define OWNERS_FD(name, params, args) \
	EXPORT int name params \
	{ \
		return shim_is_node_fd(fd) ? for_root() : NEXT(name) args; \
	}
OWNERS_FD(fchmod, (int fd, mode_t mode), (fd, mode))
OWNERS_FD(fchown, (int fd, uid_t u, gid_t g), (fd, u, g))

/* -- times: now for who may write, which is everybody; others for root -- */

static int for_times(bool now)
{
	return now ? 0 : for_root();
}

EXPORT int utimensat(int dir, const char *path, const struct timespec t[2], int flags)
{
	bool now = !t || (shim_can_read(t, 2 * sizeof(*t)) && t[0].tv_nsec == UTIME_NOW &&
			  t[1].tv_nsec == UTIME_NOW);

	return about(dir, path, FOLLOWS(flags)) ? for_times(now)
						: NEXT(utimensat)(dir, path, t, flags);
}

EXPORT int futimens(int fd, const struct timespec t[2])
{
	return shim_is_node_fd(fd) ? for_times(!t) : NEXT(futimens)(fd, t);
}

#define TIMES(name, path, follow, params, args) \
	EXPORT int name params \
	{ \
		return about(AT_FDCWD, path, follow) ? for_times(!t) : NEXT(name) args; \
	}
TIMES(utimes, path, true, (const char *path, const struct timeval t[2]), (path, t))
TIMES(lutimes, path, false, (const char *path, const struct timeval t[2]), (path, t))
TIMES(utime, path, true, (const char *path, const struct utimbuf *t), (path, t))

EXPORT int futimes(int fd, const struct timeval t[2])
{
	return shim_is_node_fd(fd) ? for_times(!t) : NEXT(futimes)(fd, t);
}

/* -- something else by its name: the name is taken -- */

#define TAKEN(name, dir, path, params, args) \
	EXPORT int name params \
	{ \
		return about(dir, path, false) ? (int)shim_ret(-EEXIST) : NEXT(name) args; \
	}
TAKEN(mknod, AT_FDCWD, path, (const char *path, mode_t mode, dev_t dev), (path, mode, dev))
TAKEN(mknodat, dir, path, (int dir, const char *path, mode_t mode, dev_t dev),
      (dir, path, mode, dev))
TAKEN(__xmknod, AT_FDCWD, path, (int ver, const char *path, mode_t mode, dev_t *dev),
      (ver, path, mode, dev))
TAKEN(__xmknodat, dir, path, (int ver, int dir, const char *path, mode_t mode, dev_t *dev),
      (ver, dir, path, mode, dev))
TAKEN(mkfifo, AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))
TAKEN(mkfifoat, dir, path, (int dir, const char *path, mode_t mode), (dir, path, mode))
TAKEN(mkdir, AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))
TAKEN(mkdirat, dir, path, (int dir, const char *path, mode_t mode), (dir, path, mode))
TAKEN(symlink, AT_FDCWD, path, (const char *to, const char *path), (to, path))
TAKEN(symlinkat, dir, path, (const char *to, int dir, const char *path), (to, dir, path))
TAKEN(link, AT_FDCWD, path, (const char *from, const char *path), (from, path))
TAKEN(linkat, dir, path, (int from_dir, const char *from, int dir, const char *path, int flags),
      (from_dir, from, dir, path, flags))

/* -- extended attributes: it has none, no ACL either -- */

enum { NAME_BYTES = 256 };	/* XATTR_NAME_MAX and its end */

static bool begins(const char *name, const char *with)
{
	return !strncmp(name, with, strlen(with));
}

static int get_attribute(const char *name)
{
	ssize_t n = shim_string(name, NAME_BYTES);

	if (n < 0)
		return n == -EFAULT ? -EFAULT : -ERANGE;
	if (begins(name, "system.posix_acl_") || begins(name, "user.") ||
	    begins(name, "trusted.") || begins(name, "security."))
		return -ENODATA;
	return -EOPNOTSUPP;
}

/* user.* is for files and folders (xattr(7)). */
static int set_attribute(const char *name)
{
	int r = get_attribute(name);

	if (r != -ENODATA)
		return r;
	return begins(name, "user.") || RAW(SYS_geteuid) ? -EPERM : 0;
}

/* A default ACL is for folders. */
static int remove_attribute(const char *name)
{
	int r = set_attribute(name);

	if (r)
		return r;
	return begins(name, "system.posix_acl_access") ? 0 : -ENODATA;
}

#define GET(name, test) \
	EXPORT ssize_t name(const char *path, const char *key, void *value, size_t n) \
	{ \
		return test ? shim_ret(get_attribute(key)) : NEXT(name)(path, key, value, n); \
	}
#define LIST(name, test) \
	EXPORT ssize_t name(const char *path, char *list, size_t n) \
	{ \
		return test ? 0 : NEXT(name)(path, list, n); \
	}
#define SET(name, test) \
	EXPORT int name(const char *path, const char *key, const void *value, size_t n, int flags) \
	{ \
		return test ? (int)shim_ret(set_attribute(key)) : \
			      NEXT(name)(path, key, value, n, flags); \
	}
#define REMOVE(name, test) \
	EXPORT int name(const char *path, const char *key) \
	{ \
		return test ? (int)shim_ret(remove_attribute(key)) : NEXT(name)(path, key); \
	}
#define BY_LINK about(AT_FDCWD, path, true)
#define BY_NAME about(AT_FDCWD, path, false)
GET(getxattr, BY_LINK)
GET(lgetxattr, BY_NAME)
LIST(listxattr, BY_LINK)
LIST(llistxattr, BY_NAME)
SET(setxattr, BY_LINK)
SET(lsetxattr, BY_NAME)
REMOVE(removexattr, BY_LINK)
REMOVE(lremovexattr, BY_NAME)

EXPORT ssize_t fgetxattr(int fd, const char *key, void *value, size_t n)
{
	return shim_is_node_fd(fd) ? shim_ret(get_attribute(key))
				   : NEXT(fgetxattr)(fd, key, value, n);
}

EXPORT ssize_t flistxattr(int fd, char *list, size_t n)
{
	return shim_is_node_fd(fd) ? 0 : NEXT(flistxattr)(fd, list, n);
}

/* -- inotify: a watch that never says anything, since nothing happens to the node. It must be on
 * some inode: on that of a device that hardly anybody opens, for what happens to its name. -- */

EXPORT int inotify_add_watch(int fd, const char *path, u32 mask)
{
	const u32 quiet = IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF;

	if (!about(AT_FDCWD, path, !(mask & IN_DONT_FOLLOW)))
		return NEXT(inotify_add_watch)(fd, path, mask);
	if (mask & IN_ONLYDIR)
		return (int)shim_ret(-ENOTDIR);
	if (!(mask & IN_ALL_EVENTS))
		return (int)shim_ret(-EINVAL);
	mask = (mask & quiet) | (mask & ~(u32)IN_ALL_EVENTS);
	return NEXT(inotify_add_watch)(fd, "/dev/full",
				       mask & quiet ? mask : mask | IN_DELETE_SELF);
}
