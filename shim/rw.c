/* SPDX-License-Identifier: MIT */
/*
 * shim/rw.c - reading, writing and cutting KVM's descriptors, which KVM refuses. Ours are memory: a
 * run page could be read, and the errors of a sealed memfd are others.
 */
#include "shim/shim.h"

#include "abi/abi.h"

/* What the kernel says of reads and writes of KVM's files: /dev/kvm has no such operation, the
 * others have no position either. 0: not one of ours. */
int shim_refusal(int fd, bool at_offset)
{
	struct handle *h = unlikely(handle_any()) ? handle_peek(fd) : NULL;
	int r;

	if (likely(!h))
		return 0;
	r = at_offset && h->kind != HANDLE_SYSTEM ? ESPIPE : EINVAL;
	handle_put(h);
	return r;
}

#define REFUSED(fd, at_offset) \
	int error_ = shim_refusal(fd, at_offset); \
	if (unlikely(error_)) \
		return (int)shim_ret(-error_);

EXPORT ssize_t read(int fd, void *buf, size_t n)
{
	REFUSED(fd, false)
	return NEXT(read)(fd, buf, n);
}

EXPORT ssize_t readv(int fd, const struct iovec *v, int n)
{
	REFUSED(fd, false)
	return NEXT(readv)(fd, v, n);
}

EXPORT ssize_t writev(int fd, const struct iovec *v, int n)
{
	REFUSED(fd, false)
	return NEXT(writev)(fd, v, n);
}

#define AT_OFFSET(name, type, buffer, count) \
	EXPORT ssize_t name(int fd, buffer, count n, type off) \
	{ \
		REFUSED(fd, true) \
		return NEXT(name)(fd, p, n, off); \
	}
AT_OFFSET(pread, off_t, void *p, size_t)
AT_OFFSET(pread64, off64_t, void *p, size_t)
AT_OFFSET(pwrite, off_t, const void *p, size_t)
AT_OFFSET(pwrite64, off64_t, const void *p, size_t)
AT_OFFSET(preadv, off_t, const struct iovec *p, int)
AT_OFFSET(preadv64, off64_t, const struct iovec *p, int)
AT_OFFSET(pwritev, off_t, const struct iovec *p, int)
AT_OFFSET(pwritev64, off64_t, const struct iovec *p, int)

#define TRUNCATE(name, type) \
	EXPORT int name(int fd, type size) \
	{ \
		REFUSED(fd, false) \
		return NEXT(name)(fd, size); \
	}
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define ALLOCATE(name, type) \
	EXPORT int name(int fd, int mode, type off, type len) \
	{ \
		if (shim_refusal(fd, false)) \
			return (int)shim_ret(-ENODEV); \
		return NEXT(name)(fd, mode, off, len); \
	}
ALLOCATE(fallocate, off_t)
ALLOCATE(fallocate64, off64_t)

/* They have no position: it stays 0 (noop_llseek). */
#define SEEK(name, type) \
	EXPORT type name(int fd, type off, int whence) \
	{ \
		return shim_refusal(fd, false) ? 0 : NEXT(name)(fd, off, whence); \
	}
SEEK(lseek, off_t)
SEEK(lseek64, off64_t)
