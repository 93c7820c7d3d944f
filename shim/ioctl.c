/* SPDX-License-Identifier: MIT */
/*
 * shim/ioctl.c - ioctl(2), and mmap(2) of a vCPU. An ioctl that is not of KVM's type (0xAE)
 * costs a compare; one of that type a table look-up (abi/handle.h).
 */
#include "shim/shim.h"

#include <linux/kvm.h>
#include <stdarg.h>

#include "abi/abi.h"

_Thread_local u32 shim_busy;
_Thread_local struct deferred shim_deferred;

/* Between shim_enter() and its end. */
static int ioctl_ours(struct handle *h, unsigned long request, unsigned long arg)
{
	static _Thread_local bool ready __attribute__((tls_model("initial-exec")));
	long r = 0;

	/* A system fd that came through exec or a socket is used without any open(). */
	if (unlikely(!ready)) {
		r = shim_engine_start();
		shim_thread_ready();
		ready = !r;
	}
	if (likely(!r))
		r = abi_ioctl(h, request, arg);
	handle_put(h);
	/* Nothing is held here any more, and errno is set behind the program's handlers. */
	shim_leave();
	return (int)shim_ret(r);
}

/* The generic ioctls (FIOCLEX, FIONBIO, ...) are the kernel's to answer on our fds too; what
 * it does not know gets the errno of the KVM fd instead of a memfd's. */
static int ioctl_failed(int fd, int r)
{
	struct handle *h;

	if (errno != ENOTTY)
		return r;
	h = handle_peek(fd);
	if (!h)
		return r;
	errno = h->kind == HANDLE_VM || h->kind == HANDLE_DEVICE ? ENOTTY : EINVAL;
	handle_put(h);
	return r;
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	unsigned long arg;
	struct handle *h;
	va_list ap;
	int r;

	va_start(ap, request);
	arg = va_arg(ap, unsigned long);
	va_end(ap);
	if (((request >> 8) & 0xff) == KVMIO) {
		/* First: a handler that jumps away may leave no reference behind. */
		shim_enter();
		h = handle_get(fd);
		if (likely(h != NULL))
			return ioctl_ours(h, request, arg);
		shim_leave();
	}
	r = NEXT(ioctl)(fd, request, arg);
	return unlikely(r < 0) ? ioctl_failed(fd, r) : r;
}

static void *mapped(void *p, size_t len, int prot, int flags, int fd, off_t off)
{
	struct handle *h;
	int r = 0;

	shim_enter();
	h = handle_peek(fd);
	if (h) {
		r = abi_mapped(h, p, len, prot, flags, off);
		if (r)
			munmap(p, len);
		handle_put(h);
	}
	shim_leave();
	if (!r)
		return p;
	errno = -r;
	return MAP_FAILED;
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	void *p = NEXT(mmap)(addr, len, prot, flags, fd, off);

	if (fd < 0 || p == MAP_FAILED || (flags & MAP_ANONYMOUS))
		return p;
	return mapped(p, len, prot, flags, fd, off);
}

EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	return mmap(addr, len, prot, flags, fd, off);
}
