/* SPDX-License-Identifier: MIT */
/*
 * vm/eventfd.c - is it an eventfd, which, and adding to it. No descriptor is made to find that out:
 * it would take the lowest free number, which another thread may just have closed and still be
 * using.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sys.h"
#include "vm/vm.h"

#define EVENTFD_LINK "anon_inode:[eventfd]"
#define DUPFD_QUERY (1024 + 3)	/* F_DUPFD_QUERY of newer headers */

int vm_eventfd_check(int fd)
{
	char path[40], link[32];
	long n;

	if (sys_fcntl(fd, F_GETFD, 0) < 0)
		return -EBADF;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = sys_readlink(path, link, sizeof(link));
	if (n < 0)	/* closed meanwhile, or no /proc: then take its word */
		return sys_fcntl(fd, F_GETFD, 0) < 0 ? -EBADF : 0;
	if (n != (long)strlen(EVENTFD_LINK) || memcmp(link, EVENTFD_LINK, (size_t)n))
		return -EINVAL;
	return 0;
}

void vm_eventfd_signal(const struct vm *vm, int fd, const char *what, u64 which)
{
	const u64 one = 1;
	long r = sys_write(fd, &one, sizeof(one));

	/* EAGAIN: the counter is full, so the reader has a signal pending. */
	if (r < 0 && r != -EAGAIN)
		log_warn("vm%u: %s %#lx: errno %ld", vm->serial, what, (unsigned long)which, -r);
}

/* The last resort, on old kernels where kcmp() is not allowed. */
static long long fdinfo_id(int fd)
{
	char path[40], buf[512];
	long long id = -1;
	const char *p;
	long n;
	int f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = sys_open(path, O_RDONLY | O_CLOEXEC);
	if (f < 0)
		return -1;
	n = sys_read(f, buf, sizeof(buf) - 1);
	sys_close(f);
	if (n <= 0)
		return -1;
	buf[n] = 0;
	p = strstr(buf, "eventfd-id:");
	if (p)
		id = strtoll(p + strlen("eventfd-id:"), NULL, 10);
	return id;
}

bool vm_eventfd_same(int a, int b)
{
	int r = sys_fcntl(a, DUPFD_QUERY, (unsigned long)b);
	long long id;

	if (r >= 0)
		return r;
	if (r == -EBADF)
		return false;
	r = sys_compare_files(a, b);
	if (r >= 0)
		return !r;
	if (r == -EBADF)
		return false;
	id = fdinfo_id(a);
	return id >= 0 ? id == fdinfo_id(b) : a == b;
}
