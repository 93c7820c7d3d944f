/* SPDX-License-Identifier: MIT */
/*
 * shim/dir.c - the node in the list of its folder, where the kernel has none to list: it comes
 * last.
 *
 * What has been listed is remembered by the stream, so rewinding begins anew.
 */
#include "shim/shim.h"

#include <dirent.h>
#include <glob.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/node.h"
#include "base/raw.h"

enum { STREAMS = 64 };
static DIR *_Atomic told[STREAMS];	/* streams that have listed the node */
static _Atomic u32 telling;		/* how many there are */

static const char *node_name(void)
{
	return strrchr(shim_node(), '/') + 1;
}

static DIR *_Atomic *find(DIR *d)
{
	if (likely(!atomic_load_explicit(&telling, memory_order_relaxed)))
		return NULL;
	for (u32 i = 0; i < STREAMS; i++)
		if (atomic_load(&told[i]) == d)
			return &told[i];
	return NULL;
}

static void forget(DIR *d)
{
	DIR *_Atomic *at = find(d);

	if (at) {
		atomic_store(at, NULL);
		atomic_fetch_sub(&telling, 1);
	}
}

/* False: too many at once; the node stays out of this one. */
static bool note(DIR *d)
{
	for (u32 i = 0; i < STREAMS; i++) {
		DIR *none = NULL;

		if (atomic_compare_exchange_strong(&told[i], &none, d)) {
			atomic_fetch_add(&telling, 1);
			return true;
		}
	}
	return false;
}

static bool is_folder(int dir, const char *path)
{
	char folder[PATH_MAX];
	struct stat a, b;

	if (shim_passive)
		return false;
	strcpy(folder, shim_node());
	strcpy(strrchr(folder, '/') + 1, ".");
	return !RAW(SYS_newfstatat, dir, path, &a, *path ? 0 : AT_EMPTY_PATH) &&
	       !RAW(SYS_newfstatat, AT_FDCWD, folder, &b, 0) && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* struct dirent64 is the same on x86-64. */
static struct dirent *node_entry(void)
{
	static struct dirent e;
	static _Atomic bool ready;

	/* Every writer writes the same. */
	if (!atomic_load(&ready)) {
		e.d_ino = NODE_INO;
		e.d_type = DT_CHR;
		e.d_reclen = sizeof(e);
		strncpy(e.d_name, node_name(), sizeof(e.d_name) - 1);
		atomic_store(&ready, true);
	}
	return &e;
}

static void *settle(DIR *d, void *entry)
{
	struct dirent *e = entry;

	if (e) {
		if (unlikely(!strcmp(e->d_name, node_name())) && !find(d) &&
		    is_folder(dirfd(d), ""))
			note(d);	/* a real one */
		return e;
	}
	if (errno || find(d) || !is_folder(dirfd(d), "") || !note(d))
		return NULL;
	return node_entry();
}

#define READDIR(name, type) \
	EXPORT type *name(DIR *d) \
	{ \
		int saved = errno; \
		type *e; \
		errno = 0; \
		e = settle(d, NEXT(name)(d)); \
		if (e || !errno) \
			errno = saved; \
		return e; \
	}
READDIR(readdir, struct dirent)
READDIR(readdir64, struct dirent64)

EXPORT int closedir(DIR *d)
{
	forget(d);
	return NEXT(closedir)(d);
}

EXPORT void rewinddir(DIR *d)
{
	forget(d);
	NEXT(rewinddir)(d);
}

EXPORT void seekdir(DIR *d, long at)
{
	forget(d);
	NEXT(seekdir)(d, at);
}

/* -- scandir: libc reads the folder itself -- */

static int scanned(int n, int dir, const char *path, struct dirent ***list,
		   int (*want)(const struct dirent *),
		   int (*compare)(const struct dirent **, const struct dirent **))
{
	struct dirent **more, *e;
	int saved = errno;

	if (n < 0 || !is_folder(dir, path) || (want && !want(node_entry())))
		return n;
	for (int i = 0; i < n; i++)
		if (!strcmp((*list)[i]->d_name, node_name()))
			return n;
	more = realloc(*list, ((size_t)n + 1) * sizeof(*more));
	if (!more)
		return n;
	*list = more;
	e = malloc(sizeof(*e));
	if (!e)
		return n;
	*e = *node_entry();
	more[n++] = e;
	if (compare)
		qsort(more, (size_t)n, sizeof(*more), (int (*)(const void *, const void *))compare);
	errno = saved;
	return n;
}

/* The filters and comparers of the 64-bit forms are called with the same bytes. */
#define SCANDIR(name, type) \
	EXPORT int name(const char *path, type ***list, int (*want)(const type *), \
			int (*compare)(const type **, const type **)) \
	{ \
		return scanned(NEXT(name)(path, list, want, compare), AT_FDCWD, path, \
			       (void *)list, (void *)want, (void *)compare); \
	}
#define SCANDIRAT(name, type) \
	EXPORT int name(int dir, const char *path, type ***list, int (*want)(const type *), \
			int (*compare)(const type **, const type **)) \
	{ \
		return scanned(NEXT(name)(dir, path, list, want, compare), dir, path, \
			       (void *)list, (void *)want, (void *)compare); \
	}
SCANDIR(scandir, struct dirent)
SCANDIR(scandir64, struct dirent64)
SCANDIRAT(scandirat, struct dirent)
SCANDIRAT(scandirat64, struct dirent64)

/* -- glob: with our functions for libc's own -- */

static void *open_folder(const char *path)
{
	return opendir(path);
}

static void close_folder(void *d)
{
	closedir(d);
}

static struct dirent *read_folder(void *d)
{
	return readdir(d);
}

static int stat_file(const char *restrict path, struct stat *restrict st)
{
	return stat(path, st);
}

static int lstat_file(const char *restrict path, struct stat *restrict st)
{
	return lstat(path, st);
}

/* The members of the 64-bit form have other types and the same place. */
#define GLOB(name, type) \
	EXPORT int name(const char *restrict pattern, int flags, \
			int (*error)(const char *, int), type *restrict g) \
	{ \
		type before; \
		int r; \
		if (flags & GLOB_ALTDIRFUNC || shim_passive) \
			return NEXT(name)(pattern, flags, error, g); \
		before = *g; \
		g->gl_opendir = open_folder; \
		g->gl_closedir = close_folder; \
		g->gl_readdir = (void *)read_folder; \
		g->gl_stat = (void *)stat_file; \
		g->gl_lstat = (void *)lstat_file; \
		r = NEXT(name)(pattern, flags | GLOB_ALTDIRFUNC, error, g); \
		g->gl_opendir = before.gl_opendir; \
		g->gl_closedir = before.gl_closedir; \
		g->gl_readdir = before.gl_readdir; \
		g->gl_stat = before.gl_stat; \
		g->gl_lstat = before.gl_lstat; \
		g->gl_flags &= ~GLOB_ALTDIRFUNC; \
		return r; \
	}
GLOB(glob, glob_t)
GLOB(glob64, glob64_t)
