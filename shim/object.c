/* SPDX-License-Identifier: MIT */
/*
 * shim/object.c - our own file, which programs that are started get through LD_PRELOAD.
 *
 * By its path, mostly. The dynamic loader splits that list at blanks and colons, and behind
 * chroot(2), pivot_root(2) or another mount namespace the path leads nowhere: then the program
 * inherits a descriptor, and the list says /proc/self/fd/N. The constructor closes it before the
 * program sees it. What is needed for that stays mapped, since no descriptor may be kept.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/raw.h"
#include "door/launch.h"
#include "shim/exec.h"

#define BY_FD "/proc/self/fd/"

enum { LOW_FD = 3, HIGH_FD = 200 };

/* Written by the constructor only. */
static char path[PATH_MAX];		/* empty: unknown */
static bool path_splits;
static dev_t dev;
static ino_t ino;
static const u8 *image;			/* the file, mapped; NULL: it could not be */
static size_t image_size;

bool object_is(const char *word, size_t n)
{
	return (path[0] && n == strlen(path) && !memcmp(word, path, n)) ||
	       (n > strlen(BY_FD) && !memcmp(word, BY_FD, strlen(BY_FD)));
}

/* The loader of the second door lies beside us. */
static void find_door(void)
{
	char door[PATH_MAX];
	char *slash = strrchr(path, '/');

	if (!slash || (size_t)(slash - path) + sizeof("/" DOOR_NAME) > sizeof(door))
		return;
	memcpy(door, path, (size_t)(slash - path) + 1);
	strcpy(door + (slash - path) + 1, DOOR_NAME);
	door_object(door);
}

static void map(int fd)
{
	struct stat st;
	void *p;

	if (RAW(SYS_fstat, fd, &st))
		return;
	dev = st.st_dev;
	ino = st.st_ino;
	p = NEXT(mmap)(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return;
	image = p;
	image_size = (size_t)st.st_size;
	door_read_object(image, image_size);
}

void object_init(void)
{
	static const char here;
	Dl_info info;
	long fd, n;

	if (!dladdr(&here, &info) || !info.dli_fname)
		return;
	if (!strncmp(info.dli_fname, BY_FD, strlen(BY_FD))) {
		n = RAW(SYS_readlinkat, AT_FDCWD, info.dli_fname, path, sizeof(path) - 1);
		path[n > 0 ? n : 0] = 0;
		/* "/memfd:... (deleted)" is the descriptor's only name. */
		if (!strncmp(path, "/memfd:", 7))
			path[0] = 0;
		fd = atoi(info.dli_fname + strlen(BY_FD));
	} else {
		if (!NEXT(realpath)(info.dli_fname, path))
			path[0] = 0;
		fd = RAW(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	}
	path_splits = strpbrk(path, " :") != NULL;
	if (fd < 0)
		return;
	map((int)fd);
	RAW(SYS_close, fd);
	find_door();
}

static bool path_leads_here(void)
{
	struct stat st;

	/* access(2) looks without the capabilities that a program which has dropped its user loses
	 * in exec. */
	return path[0] && !RAW(SYS_newfstatat, AT_FDCWD, path, &st, 0) && st.st_dev == dev &&
	       st.st_ino == ino && !RAW(SYS_faccessat, AT_FDCWD, path, R_OK);
}

const char *object_word(char *name, int *fd)
{
	bool there = path_leads_here();
	long from, to;
	char *p;

	*fd = -1;
	if (there && !path_splits)
		return path;
	if (RAW(SYS_faccessat, AT_FDCWD, "/proc/self/fd", F_OK) ||
	    (!there && (!image || !door_object_alone)))
		return NULL;
	from = there ? RAW(SYS_openat, AT_FDCWD, path, O_RDONLY)
		     : door_image_file("standin-preload", image, image_size);
	if (from < 0)
		return NULL;
	/* Out of the way of what the loader opens, and never a standard stream. */
	to = RAW(SYS_fcntl, from, F_DUPFD, HIGH_FD);
	if (to < 0)
		to = RAW(SYS_fcntl, from, F_DUPFD, LOW_FD);
	RAW(SYS_close, from);
	if (to < 0)
		return NULL;
	*fd = (int)to;
	p = stpcpy(name, BY_FD) + 10;
	*p = 0;
	do
		*--p = (char)('0' + to % 10);
	while (to /= 10);
	memmove(name + strlen(BY_FD), p, strlen(p) + 1);
	return name;
}
