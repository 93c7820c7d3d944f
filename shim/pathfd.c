/* SPDX-License-Identifier: MIT */
/*
 * shim/pathfd.c - O_PATH descriptors of the node.
 *
 * File servers and other helpers open so whatever they walk over. They may have a seccomp filter
 * that kills, so nothing but openat() may be used here that they would not use themselves. A real
 * node is opened; where there is none, /dev/null stands for it: a character device as well, and
 * what a copy of the descriptor shows where we lose sight of it. Which ones are ours is a small
 * table by number. An entry counts only while its descriptor is still an O_PATH one of that device.
 */
#include "shim/shim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "abi/abi.h"
#include "base/raw.h"

enum { ENTRIES = 64 };
static _Atomic int entry[ENTRIES];	/* number + 1, 0: free */
static _Atomic u32 used;		/* entries that were ever set: the end of a search */

static _Atomic int *find(int fd)
{
	u32 n = atomic_load_explicit(&used, memory_order_relaxed);

	for (u32 i = 0; i < n && i < ENTRIES; i++)
		if (atomic_load(&entry[i]) == fd + 1)
			return &entry[i];
	return NULL;
}

static void note(int fd)
{
	_Atomic int *e = find(fd);

	for (u32 i = 0; !e && i < ENTRIES; i++) {
		int none = 0;

		if (!atomic_compare_exchange_strong(&entry[i], &none, fd + 1))
			continue;
		if (atomic_load(&used) <= i)
			atomic_store(&used, i + 1);
		return;
	}
	/* More than anybody keeps open: the oldest go. */
	if (!e)
		atomic_store(&entry[(u32)fd % ENTRIES], fd + 1);
}

static bool is_null(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}

bool shim_is_path_fd(int fd, const struct stat *st)
{
	_Atomic int *e;

	if (likely(!is_null(st)) || !(e = find(fd)))
		return false;
	if (RAW(SYS_fcntl, fd, F_GETFL) & O_PATH)
		return true;
	atomic_store(e, 0);
	return false;
}

void shim_path_fd_opened(int fd, const struct stat *st)
{
	_Atomic int *e;

	if (unlikely(is_null(st)) && (e = find(fd)))
		atomic_store(e, 0);
}

void shim_path_fd_copied(int from, int to)
{
	if (to >= 0 && unlikely(find(from) != NULL))
		note(to);
}

bool shim_is_path_fd_link(const char *path, const struct stat *st)
{
	const char *at = "/proc/self/fd/";
	struct stat of;
	int fd;

	if (likely(!is_null(st)) || strncmp(path, at, strlen(at)))
		return false;
	fd = atoi(path + strlen(at));
	return !RAW(SYS_fstat, fd, &of) && shim_is_path_fd(fd, &of);
}

int shim_open_path(int flags)
{
	int fd = (int)RAW(SYS_openat, AT_FDCWD, shim_node(), flags);
	struct stat st;

	if (fd >= 0 && !RAW(SYS_fstat, fd, &st) && shim_is_device(&st))
		return fd;
	if (fd >= 0)
		NEXT(close)(fd);
	fd = (int)RAW(SYS_openat, AT_FDCWD, "/dev/null", flags);
	if (fd < 0)
		return abi_open(flags);
	note(fd);
	return fd;
}
