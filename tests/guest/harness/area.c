/* SPDX-License-Identifier: MIT */
/* tests/guest/harness/area.c - see area.h. */
#include "tests/guest/harness/area.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/trace.h"

static const struct trace_area *find(void)
{
	const struct trace_area *a = NULL;
	char path[300], link[64];
	struct dirent *e;
	DIR *d = opendir("/proc/self/fd");

	while (d && !a && (e = readdir(d))) {
		ssize_t n;
		void *p;
		int fd;

		snprintf(path, sizeof(path), "/proc/self/fd/%s", e->d_name);
		n = readlink(path, link, sizeof(link) - 1);
		if (n <= 0)
			continue;
		link[n] = 0;
		if (strcmp(link, "/memfd:standin (deleted)"))
			continue;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		p = mmap(NULL, sizeof(*a), PROT_READ, MAP_SHARED, fd, 0);
		close(fd);
		if (p != MAP_FAILED)
			a = p;
	}
	if (d)
		closedir(d);
	return a && a->magic == TRACE_MAGIC ? a : NULL;
}

bool area_inhibits(u32 *mask)
{
	static const struct trace_area *a;
	u32 n;

	if (!a)
		a = find();
	if (!a)
		return false;
	n = atomic_load(&a->nr_vms);
	if (!n)
		return false;
	*mask = atomic_load(&a->vms[n - 1].inhibits);
	return true;
}
