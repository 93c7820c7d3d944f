/* SPDX-License-Identifier: MIT */
/* lib/standin.c - include/standin.h over abi/: the KVM API as functions. */
#pragma GCC visibility push(default)
#include "include/standin.h"
#pragma GCC visibility pop

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/abi.h"
#include "base/log.h"
#include "lib/lib.h"

static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;
static bool started;	/* start_lock */

static int start(unsigned int flags)
{
	int r = 0;

	pthread_mutex_lock(&start_lock);
	if (!started) {
		log_init();
		handle_init();
		r = abi_start();
		if (!r && !(flags & STANDIN_OWN_SIGNALS))
			r = lib_signals_start();
		started = !r;
	}
	pthread_mutex_unlock(&start_lock);
	return r;
}

unsigned int standin_version(void)
{
	return STANDIN_VERSION_NUMBER;
}

int standin_open(unsigned int flags)
{
	int r;

	if (flags & ~STANDIN_OWN_SIGNALS)
		return -EINVAL;
	r = start(flags);
	return r ? r : abi_open(O_CLOEXEC);
}

long standin_ioctl(int handle, unsigned long request, unsigned long arg)
{
	static _Thread_local bool ready;
	struct handle *h = handle_get(handle);
	long r;

	if (!h)
		return -EBADF;
	if (unlikely(!ready)) {
		lib_thread_ready();
		ready = true;
	}
	r = abi_ioctl(h, request, arg);
	handle_put(h);
	return r;
}

static int map(struct handle *h, int fd, size_t bytes, uint64_t offset, void **out)
{
	const int prot = PROT_READ | PROT_WRITE;
	void *p;
	int r;

	if (h->kind != HANDLE_VCPU || !bytes || offset % PAGE_SIZE || offset > INT64_MAX - bytes)
		return -EINVAL;
	p = mmap(NULL, bytes, prot, MAP_SHARED, fd, (off_t)offset);
	if (p == MAP_FAILED)
		return -errno;
	r = abi_mapped(h, p, bytes, prot, MAP_SHARED, (off_t)offset);
	if (r)
		munmap(p, bytes);
	else
		*out = p;
	return r;
}

int standin_mmap(int handle, size_t bytes, uint64_t offset, void **out)
{
	struct handle *h = handle_get(handle);
	int saved = errno, r;

	if (!h)
		return -EBADF;
	r = map(h, handle, bytes, offset, out);
	handle_put(h);
	errno = saved;
	return r;
}

int standin_dup(int handle)
{
	struct handle *h = handle_get(handle);
	int saved = errno, r;

	if (!h)
		return -EBADF;
	r = fcntl(handle, F_DUPFD_CLOEXEC, 0);
	if (r < 0)
		r = -errno;
	if (!handle_dup_end(h, r)) {
		/* The handle that was meant had been closed by then. */
		syscall(SYS_close, r);
		r = -EBADF;
	}
	errno = saved;
	return r;
}

int standin_close(int handle)
{
	struct handle *h = handle_get(handle), *entry;
	int saved = errno;

	if (!h)
		return -EBADF;
	/* Two threads that close one handle: the second finds no entry and closes nothing. */
	entry = handle_take(handle);
	handle_put(h);
	if (!entry)
		return -EBADF;
	/* By system call: TSan sees descriptors as memory, and a number that another thread uses by
	 * mistake as a race. */
	syscall(SYS_close, handle);
	handle_closed(handle, entry);
	errno = saved;
	return 0;
}

void standin_interrupt(void)
{
	abi_signal_seen();
}

int standin_kick(int handle)
{
	struct handle *h = handle_get(handle);
	int r;

	if (!h)
		return -EBADF;
	r = abi_kick(h);
	handle_put(h);
	return r;
}

int standin_signal(int sig, void *siginfo, void *ucontext)
{
	return abi_fault(sig, siginfo, ucontext);
}
