/* SPDX-License-Identifier: MIT */
/*
 * vm/eventfd.c - is it an eventfd, and which. No descriptor is made to find that out: it would take
 * the lowest free number, which another thread may just have closed and still be using.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vm/vm.h"

#define EVENTFD_LINK "anon_inode:[eventfd]"
#define DUPFD_QUERY (1024 + 3)	/* F_DUPFD_QUERY of newer headers */
#define KCMP_FILE 0

int vm_eventfd_check(int fd)
{
	char path[40], link[32];
	ssize_t n;

	if (fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link));
	if (n < 0)	/* closed meanwhile, or no /proc: then take its word */
		return fcntl(fd, F_GETFD) < 0 ? -EBADF : 0;
	if (n != (ssize_t)strlen(EVENTFD_LINK) || memcmp(link, EVENTFD_LINK, (size_t)n))
		return -EINVAL;
	return 0;
}

/* The last resort, on old kernels where kcmp() is not allowed. */
static long long fdinfo_id(int fd)
{
	char path[40], buf[512];
	long long id = -1;
	const char *p;
	ssize_t n;
	int f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = open(path, O_RDONLY | O_CLOEXEC);
	if (f < 0)
		return -1;
	n = read(f, buf, sizeof(buf) - 1);
	close(f);
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
	long r = fcntl(a, DUPFD_QUERY, b);
	long long id;

	if (r >= 0)
		return r;
	if (errno == EBADF)
		return false;
	r = syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b);
	if (r >= 0)
		return !r;
	if (errno == EBADF)
		return false;
	id = fdinfo_id(a);
	return id >= 0 ? id == fdinfo_id(b) : a == b;
}
