/* SPDX-License-Identifier: MIT */
/*
 * door/dir.c - the node in the list of its folder, where the kernel has none to list: it comes
 * last, as shim/dir.c does it for libc's functions.
 *
 * Which descriptors have listed it is a small table by number. An entry goes when the kernel lists
 * something by that number again: it was rewound, or is another folder.
 */
#include <dirent.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/node.h"
#include "door/door.h"
#include "shim/shim.h"

enum { TOLD = 64 };
static _Atomic int told[TOLD];	/* number + 1, 0: free */
static _Atomic bool any;	/* one was ever set */

static _Atomic int *find(int number)
{
	for (u32 i = 0; i < TOLD; i++)
		if (atomic_load_explicit(&told[i], memory_order_relaxed) == number)
			return &told[i];
	return NULL;
}

/* The folder of the node, and no node in it. */
static bool lacks_node(int fd)
{
	const char *node = shim_node();
	size_t n = (size_t)(strrchr(node, '/') - node) + 1;
	char folder[PATH_MAX + 1];
	struct stat a, b;

	if (shim_passive)
		return false;
	memcpy(folder, node, n);
	strcpy(folder + n, ".");
	return !RAW(SYS_fstat, fd, &a) && !RAW(SYS_newfstatat, AT_FDCWD, folder, &b, 0) &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino &&
	       RAW(SYS_newfstatat, AT_FDCWD, node, &b, AT_SYMLINK_NOFOLLOW) == -ENOENT;
}

/* getdents64(fd, buffer, size) */
long dir_call(struct door_thread *t, const u64 a[6])
{
	long r = door_pass_call(t, SYS_getdents64, a);
	struct dirent64 e = { .d_ino = NODE_INO, .d_type = DT_CHR };
	const char *name = strrchr(shim_node(), '/') + 1;
	size_t n = ALIGN_UP(offsetof(struct dirent64, d_name) + strlen(name) + 1, 8);
	int fd = (int)a[0], none = 0;
	_Atomic int *at;

	if (r > 0 && unlikely(atomic_load_explicit(&any, memory_order_relaxed)) &&
	    (at = find(fd + 1)))
		atomic_store(at, 0);
	if (r || find(fd + 1) || !lacks_node(fd))
		return r;
	if ((u32)a[2] < n)
		return -EINVAL;
	at = find(0);
	/* Too many at once: it stays out of this one. */
	if (!at || !atomic_compare_exchange_strong(at, &none, fd + 1))
		return 0;
	atomic_store(&any, true);
	e.d_off = RAW(SYS_lseek, fd, 0, SEEK_CUR);
	e.d_reclen = (unsigned short)n;
	strcpy(e.d_name, name);
	return user_put(user_ptr(a[1]), &e, n) ? -EFAULT : (long)n;
}
