/* SPDX-License-Identifier: MIT */
/* base/node.h - what the node looks like to those who look at it: Linux's misc device. */
#ifndef BASE_NODE_H
#define BASE_NODE_H

#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/types.h"

enum { NODE_MAJOR = 10, NODE_MINOR = 232, NODE_MODE = S_IFCHR | 0666, NODE_INO = 232 };
#define NODE_RDEV makedev(NODE_MAJOR, NODE_MINOR)

static inline void node_stat(struct stat *st, dev_t dev, struct timespec made)
{
	memset(st, 0, sizeof(*st));
	st->st_mode = NODE_MODE;
	st->st_rdev = NODE_RDEV;
	st->st_nlink = 1;
	st->st_ino = NODE_INO;
	st->st_dev = dev;
	st->st_blksize = 4096;
	st->st_atim = st->st_mtim = st->st_ctim = made;
}

static inline void node_statx(struct statx *sx, dev_t dev, struct timespec made)
{
	struct statx_timestamp t = { .tv_sec = made.tv_sec, .tv_nsec = (u32)made.tv_nsec };

	memset(sx, 0, sizeof(*sx));
	sx->stx_mask = STATX_BASIC_STATS;
	sx->stx_mode = NODE_MODE;
	sx->stx_nlink = 1;
	sx->stx_ino = NODE_INO;
	sx->stx_blksize = 4096;
	sx->stx_rdev_major = NODE_MAJOR;
	sx->stx_rdev_minor = NODE_MINOR;
	sx->stx_dev_major = major(dev);
	sx->stx_dev_minor = minor(dev);
	sx->stx_atime = sx->stx_mtime = sx->stx_ctime = t;
}

#endif
