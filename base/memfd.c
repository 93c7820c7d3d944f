/* SPDX-License-Identifier: MIT */
/* base/memfd.c - see memfd.h. */
#include "base/memfd.h"

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

int memfd_size(int fd, u64 size)
{
	struct rlimit before, limit;
	int r = 0;

	if (getrlimit(RLIMIT_FSIZE, &before))
		return -errno;
	limit = (struct rlimit){ before.rlim_max, before.rlim_max };
	if (before.rlim_cur < size) {
		if (before.rlim_max < size)
			return -EFBIG;
		/* For the whole process, and for a moment only. */
		if (setrlimit(RLIMIT_FSIZE, &limit))
			return -errno;
	}
	if (ftruncate(fd, (off_t)size))
		r = -errno;
	if (before.rlim_cur < size)
		setrlimit(RLIMIT_FSIZE, &before);
	return r;
}
