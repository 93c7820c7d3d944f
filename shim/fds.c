/* SPDX-License-Identifier: MIT */
/* shim/fds.c - calls that close or copy descriptors, so that abi/handle.h's table stays right. */
#include "shim/shim.h"

#include <stdarg.h>

#include "abi/handle.h"

EXPORT int close(int fd)
{
	/* Forget first: the moment the kernel has closed it, another thread may get the number. */
	struct handle *h = handle_take(fd);
	int r = NEXT(close)(fd);

	if (unlikely(h != NULL)) {
		int saved = errno;

		handle_put(h);
		errno = saved;
	}
	return r;
}

static int copied(int from, int to)
{
	int saved = errno;

	if (to >= 0)
		handle_dup(from, to);
	errno = saved;
	return to;
}

EXPORT int dup(int fd)
{
	return copied(fd, NEXT(dup)(fd));
}

EXPORT int dup2(int from, int to)
{
	return copied(from, NEXT(dup2)(from, to));
}

EXPORT int dup3(int from, int to, int flags)
{
	return copied(from, NEXT(dup3)(from, to, flags));
}

EXPORT int fcntl(int fd, int cmd, ...)
{
	unsigned long arg;
	va_list ap;
	int r;

	va_start(ap, cmd);
	arg = va_arg(ap, unsigned long);
	va_end(ap);
	r = NEXT(fcntl)(fd, cmd, arg);
	return cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC ? copied(fd, r) : r;
}

EXPORT int fcntl64(int fd, int cmd, ...)
{
	unsigned long arg;
	va_list ap;

	va_start(ap, cmd);
	arg = va_arg(ap, unsigned long);
	va_end(ap);
	return fcntl(fd, cmd, arg);
}

EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
	int r = NEXT(close_range)(first, last, flags);
	int saved = errno;

	if (!r && !(flags & (int)CLOSE_RANGE_CLOEXEC))
		handle_forget(first, last);
	errno = saved;
	return r;
}

EXPORT void closefrom(int from)
{
	close_range(from < 0 ? 0 : (unsigned int)from, ~0u, 0);
}
