/* SPDX-License-Identifier: MIT */
/* base/memfd.c - see memfd.h. */
#include "base/memfd.h"

#include <errno.h>
#include <sys/resource.h>

#include "base/sys.h"

int memfd_size(int fd, u64 size)
{
	struct rlimit before, limit;
	int r;

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
	r = sys_resize(fd, size);
	if (before.rlim_cur < size)
		setrlimit(RLIMIT_FSIZE, &before);
	return r;
}
