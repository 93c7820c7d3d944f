/* SPDX-License-Identifier: MIT */
/*
 * door/file.c - calls with a path: the node, the parameters of KVM's modules, and /proc/self/exe,
 * which would name our object.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "abi/abi.h"
#include "base/log.h"
#include "base/node.h"
#include "door/door.h"
#include "shim/shim.h"

static char program_path[DOOR_PATH];	/* empty: /proc/self/exe is right */

/* For shim/node.c: paths are copies here. */
bool shim_path(const char *path)
{
	return path != NULL;
}

void file_init(const char *program)
{
	if (strlen(program) < sizeof(program_path))
		strcpy(program_path, program);
}

int user_path(char out[DOOR_PATH], u64 user)
{
	size_t n = 0, step;

	while (n < DOOR_PATH) {
		step = PAGE_SIZE - (user + n) % PAGE_SIZE;
		if (step > 256)
			step = 256;
		if (step > DOOR_PATH - n)
			step = DOOR_PATH - n;
		if (user_get(out + n, user_ptr(user + n), step))
			return -EFAULT;
		if (memchr(out + n, 0, step))
			return 0;
		n += step;
	}
	return -ENAMETOOLONG;
}

static bool is_own_exe(const char *path)
{
	char own[64];

	if (!program_path[0] || strncmp(path, "/proc/", 6))
		return false;
	if (!strcmp(path, "/proc/self/exe") || !strcmp(path, "/proc/thread-self/exe"))
		return true;
	snprintf(own, sizeof(own), "/proc/%ld/exe", RAW(SYS_getpid));
	return !strcmp(path, own);
}

const char *file_program_of(const char *path)
{
	return is_own_exe(path) ? program_path : path;
}

static bool is_system_fd(int fd)
{
	struct handle *h = handle_any() ? handle_peek(fd) : NULL;
	bool yes = h && h->kind == HANDLE_SYSTEM;

	if (h)
		handle_put(h);
	return yes;
}

static long open_node(int flags)
{
	int r;

	if ((flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (flags & O_DIRECTORY)
		return -ENOTDIR;
	if (flags & O_PATH)
		return RAW(SYS_openat, AT_FDCWD, "/dev/null", O_PATH | (flags & O_CLOEXEC));
	r = fd_engine_start();
	return r ? r : abi_open(flags);
}

/* The call as the program's filters judge it, when its result is ours to say: what fails in a way
 * that a path does not explain is their answer. */
static long judged(struct door_thread *t, long nr, const u64 a[6])
{
	long r;

	if (!atomic_load_explicit(&filter_program_has, memory_order_relaxed))
		return 0;
	r = door_pass_now(t, nr, a);
	switch (r) {
	case DOOR_TRAPPED:
		return r;
	case -ENOENT:
	case -EACCES:
	case -EROFS:
	case -ENXIO:
	case -ENODEV:
	case -EEXIST:
	case -ENOTDIR:
	case -ELOOP:
	case -EINVAL:
		return 0;
	}
	if (r < 0)
		return r;
	switch (nr) {
	case SYS_open:
	case SYS_creat:
	case SYS_openat:
	case SYS_openat2:
		RAW(SYS_close, r);
	}
	return 0;
}

/* A path that reached the real device by another name gets ours all the same. */
static long check_device(long fd, int flags)
{
	struct stat st;

	if (fd < 0 || RAW(SYS_fstat, fd, &st) || !shim_is_device(&st))
		return fd;
	RAW(SYS_close, fd);
	return open_node(flags & ~(O_CREAT | O_EXCL));
}

static long do_open(struct door_thread *t, long nr, const u64 a[6], int dir, u64 user, int flags)
{
	char path[DOOR_PATH];
	u64 b[6];
	long r, param;

	if (user_path(path, user))
		return door_pass_call(t, nr, a);	/* the kernel finds the same fault */
	if (shim_is_node_read(dir, path)) {
		r = judged(t, nr, a);
		return r ? r : open_node(flags);
	}
	if (is_own_exe(path) && nr != SYS_creat) {
		memcpy(b, a, sizeof(b));
		b[nr == SYS_open ? 0 : 1] = (u64)(uintptr_t)program_path;
		return door_pass_call(t, nr, b);
	}
	param = shim_passive ? -ENOSYS : shim_open_param(path, flags);
	if (param == -ENOSYS)
		param = shim_open_cpuinfo(dir, path, flags);
	if (param != -ENOSYS) {
		r = judged(t, nr, a);
		if (r && param >= 0)
			RAW(SYS_close, param);
		return r ? r : param;
	}
	r = door_pass_call(t, nr, a);
	/* A link that leads to the node, which is not there for the kernel to follow it to. */
	if (r == -ENOENT && !(flags & O_NOFOLLOW) && shim_leads_to_node(dir, path))
		return open_node(flags & ~O_CREAT);
	return check_device(r, flags);
}

static long do_openat2(struct door_thread *t, const u64 a[6])
{
	const u64 known = O_ACCMODE | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CREAT |
			  O_EXCL | O_DIRECTORY | O_TRUNC | O_APPEND | O_PATH | O_DSYNC | O_SYNC |
			  O_NOATIME | O_DIRECT | O_ASYNC | __O_LARGEFILE;
	struct open_how how;

	if (a[3] < sizeof(how) || user_get(&how, user_ptr(a[2]), sizeof(how)) || how.flags & ~known)
		return door_pass_call(t, SYS_openat2, a);
	return do_open(t, SYS_openat2, a, (int)a[0], a[1], (int)how.flags);
}

/* As devtmpfs has it. */
#define NODE_DEV makedev(0, 5)
static const struct timespec never;

static long put_stat(u64 out)
{
	struct stat st;

	node_stat(&st, NODE_DEV, never);
	return user_put(user_ptr(out), &st, sizeof(st));
}

static long put_statx(u64 out)
{
	struct statx sx;

	node_statx(&sx, NODE_DEV, never);
	sx.stx_mask &= ~(STATX_ATIME | STATX_MTIME | STATX_CTIME | STATX_SIZE | STATX_BLOCKS);
	return user_put(user_ptr(out), &sx, sizeof(sx));
}

/* Readable and writable for everyone; not executable. */
static long may(int mode)
{
	if (mode & ~(R_OK | W_OK | X_OK))
		return -EINVAL;
	return mode & X_OK ? -EACCES : 0;
}

static long put_link(u64 out, u64 size)
{
	size_t n = strlen(program_path);

	if ((int)size <= 0)
		return -EINVAL;
	if (n > size)
		n = size;
	return user_put(user_ptr(out), program_path, n) ? -EFAULT : (long)n;
}

long shim_raw_syscall2(long nr, long a, long b)
{
	return RAW(nr, a, b);
}

/* The call with the program's own path for /proc/self/exe at argument i. */
static long with_exe(struct door_thread *t, long nr, const u64 a[6], int i)
{
	u64 b[6];

	memcpy(b, a, sizeof(b));
	b[i] = (u64)(uintptr_t)program_path;
	return door_pass_call(t, nr, b);
}

/* What is asked about the node. */
static long about_node(long nr, const u64 a[6])
{
	switch (nr) {
	case SYS_stat:
	case SYS_lstat:
		return put_stat(a[1]);
	case SYS_newfstatat:
		return put_stat(a[2]);
	case SYS_statx:
		return put_statx(a[4]);
	case SYS_access:
		return may((int)a[1]);
	case SYS_faccessat:
	case SYS_faccessat2:
		return may((int)a[2]);
	}
	return -EINVAL;		/* readlink: it is none */
}

/* Calls that change or ask for what the node has none of. Where there is a node, the program's own
 * for one, the kernel has done it; where there is none, or it may not be made, it is as if. */
static long manner(struct door_thread *t, long nr, const u64 a[6])
{
	bool at = nr == SYS_mknodat || nr == SYS_fchmodat || nr == SYS_fchownat;
	bool make = nr == SYS_mknod || nr == SYS_mknodat;
	long r = door_pass_call(t, nr, a);
	char path[DOOR_PATH];

	if (r != -ENOENT && !(make && (r == -EPERM || r == -EROFS || r == -EACCES)))
		return r;
	if (user_path(path, a[at]) || !shim_is_node_read(at ? (int)a[0] : AT_FDCWD, path))
		return r;
	if (make && (!S_ISCHR((mode_t)a[at + 1]) || a[at + 2] != NODE_RDEV))
		return r;
	return nr == SYS_getxattr || nr == SYS_lgetxattr ? -ENODATA : 0;
}

long file_call(struct door_thread *t, long nr, const u64 a[6])
{
	bool at = false;
	char path[DOOR_PATH];
	int dir = AT_FDCWD, flags = 0;
	u64 user = a[0];
	long r;

	switch (nr) {
	case SYS_open:
		return do_open(t, nr, a, AT_FDCWD, a[0], (int)a[1]);
	case SYS_creat:
		return do_open(t, nr, a, AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC);
	case SYS_openat:
		return do_open(t, nr, a, (int)a[0], a[1], (int)a[2]);
	case SYS_openat2:
		return do_openat2(t, a);
	case SYS_mknod:
	case SYS_mknodat:
	case SYS_chmod:
	case SYS_fchmodat:
	case SYS_chown:
	case SYS_lchown:
	case SYS_fchownat:
	case SYS_getxattr:
	case SYS_lgetxattr:
	case SYS_setxattr:
	case SYS_lsetxattr:
	case SYS_listxattr:
	case SYS_llistxattr:
		return manner(t, nr, a);
	case SYS_fstat:
		return is_system_fd((int)a[0]) ? put_stat(a[1]) : door_pass_call(t, nr, a);
	case SYS_newfstatat:
		flags = (int)a[3];
		at = true;
		break;
	case SYS_statx:
		flags = (int)a[2];
		at = true;
		break;
	case SYS_faccessat:
	case SYS_faccessat2:
	case SYS_readlinkat:
		at = true;
	}
	if (at) {
		dir = (int)a[0];
		user = a[1];
	}
	if (user_path(path, user))
		return door_pass_call(t, nr, a);
	if (path[0] ? shim_is_node_read(dir, path)
		    : at && flags & AT_EMPTY_PATH && is_system_fd(dir)) {
		r = judged(t, nr, a);
		return r ? r : about_node(nr, a);
	}
	if (is_own_exe(path)) {
		if (nr == SYS_readlink || nr == SYS_readlinkat) {
			r = judged(t, nr, a);
			return r ? r : put_link(a[at + 1], a[at + 2]);
		}
		if (nr != SYS_lstat && !(flags & AT_SYMLINK_NOFOLLOW))
			return with_exe(t, nr, a, at);
	}
	return door_pass_call(t, nr, a);
}
