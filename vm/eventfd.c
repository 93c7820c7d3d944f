/* SPDX-License-Identifier: MIT */
/*
 * vm/eventfd.c - is it an eventfd, which, and adding to it. No low descriptor is made to find that
 * out: it would take a number which another thread may just have closed and still be using. What
 * the kernel says of a descriptor is read through a file that is opened once, and moved: it shows
 * whatever has a certain high number, and what is asked about is copied to that number meanwhile.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sys.h"
#include "vm/vm.h"

#define EVENTFD_LINK "anon_inode:[eventfd]"
#define DUPFD_QUERY (1024 + 3)	/* F_DUPFD_QUERY of newer headers */
#define HIGH_FD 900	/* ours, below the usual limit of 1024 */

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

static pthread_mutex_t show_lock = PTHREAD_MUTEX_INITIALIZER;	/* innermost */
static struct {
	int file;	/* /proc/self/fdinfo/number */
	int number;	/* free, but while something is shown */
	pid_t pid;	/* 0: not opened yet */
} show;			/* show_lock */

/* As high as there may be any. */
static int move_up(int fd)
{
	int high = sys_fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);

	if (high < 0)
		return fd;
	sys_close(fd);
	return high;
}

/* In a child the file is still about the parent. */
static bool show_open(void)
{
	const int pid = sys_getpid();
	char path[40];
	int fd;

	if (show.pid == pid)
		return show.file >= 0;
	if (show.pid && show.file >= 0)
		sys_close(show.file);
	show.pid = pid;
	show.file = -1;
	fd = sys_open("/proc/self/fdinfo", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
	if (fd < 0)
		return false;
	show.number = move_up(fd);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", show.number);
	fd = sys_open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		show.file = move_up(fd);
	sys_close(show.number);
	return show.file >= 0;
}

/* With the VM, and not when something is asked: then no descriptor of ours appears later. */
void vm_eventfd_prepare(void)
{
	pthread_mutex_lock(&show_lock);
	show_open();
	pthread_mutex_unlock(&show_lock);
}

bool vm_fdinfo(int fd, char *text, size_t size)
{
	size_t n = 0;
	long r = -1;
	int at = -1;

	pthread_mutex_lock(&show_lock);
	if (show_open())
		at = sys_fcntl(fd, F_DUPFD_CLOEXEC, (unsigned long)show.number);
	/* Another one: the program has taken the number. */
	if (at == show.number)
		while (n < size - 1 && (r = sys_pread(show.file, text + n, size - 1 - n, n)) > 0)
			n += (size_t)r;
	if (at >= 0)
		sys_close(at);
	pthread_mutex_unlock(&show_lock);
	text[n] = 0;
	return !r && n;
}

long long vm_eventfd_id(int fd)
{
	const char key[] = "eventfd-id:";
	char text[512];
	const char *p;

	if (!vm_fdinfo(fd, text, sizeof(text)))
		return -1;
	p = strstr(text, key);
	return p ? strtoll(p + strlen(key), NULL, 10) : -1;
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
	id = vm_eventfd_id(a);
	return id >= 0 ? id == vm_eventfd_id(b) : a == b;
}
