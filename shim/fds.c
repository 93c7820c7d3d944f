/* SPDX-License-Identifier: MIT */
/* shim/fds.c - calls that close, copy or send descriptors, so that abi/handle.h's table stays
 * right. */
#include "shim/shim.h"

#include <stdarg.h>

#include "abi/abi.h"
#include "base/optional.h"
#include "base/user.h"

EXPORT int close(int fd)
{
	abi_irqfd_closed((u32)fd, (u32)fd);
	/* Forget first: the moment the kernel has closed it, another thread may get the number. */
	struct handle *h = handle_take(fd);
	int r = NEXT(close)(fd);

	if (unlikely(handle_any())) {
		int saved = errno;

		shim_enter();
		handle_closed(fd, h);
		shim_leave();
		errno = saved;
	}
	return r;
}

/*
 * Adding 1 to an eventfd that is an irqfd raises the interrupt here, without the thread
 * that waits for writes from elsewhere. In a signal handler that has interrupted us, and in
 * the child of vfork(), it is just written.
 */
static bool irqfd_written(int fd, u64 value)
{
	bool ours;
	int saved;

	if (value != 1 || shim_busy || !optional_may(OPTIONAL_OWN))
		return false;
	saved = errno;
	shim_enter();
	ours = handle_own_process() && abi_irqfd_written(fd);
	shim_leave();
	errno = saved;
	return ours;
}

EXPORT ssize_t write(int fd, const void *buf, size_t n)
{
	u64 value;
	int refused;

	if (n == sizeof(value) && unlikely(abi_irqfd_maybe(fd)) && !user_get(&value, buf, n) &&
	    irqfd_written(fd, value))
		return sizeof(value);
	refused = shim_refusal(fd, false);
	return unlikely(refused) ? shim_ret(-refused) : NEXT(write)(fd, buf, n);
}

EXPORT int eventfd_write(int fd, u64 value)
{
	return write(fd, &value, sizeof(value)) == sizeof(value) ? 0 : -1;
}

/* False: not a copy of h (see handle_dup_end()). */
static bool note_copy(struct handle *h, int to)
{
	int saved = errno;
	bool same;

	if (to >= 0)
		abi_irqfd_closed((u32)to, (u32)to);
	same = handle_dup_end(h, to);
	errno = saved;
	return same;
}

/* What `to` is instead: it gets its entry. False: an object that has ended. */
static bool other_copied(int from, int to)
{
	int saved = errno;
	struct handle *h;
	bool usable;

	shim_enter();
	/* The entry of a number that was closed without us knowing, by fclose() for one. */
	handle_closed(from, NULL);
	h = handle_get(to);
	usable = !h || h->kind == HANDLE_SYSTEM || !handle_foreign_mm(h);
	if (h)
		handle_put(h);
	shim_leave();
	errno = saved;
	return usable;
}

/* The copy has a number that was free: it can be taken back, as if close(from) had come first. */
static int copied_anywhere(struct handle *h, int from, int to)
{
	shim_path_fd_copied(from, to);
	if (likely(note_copy(h, to)) || other_copied(from, to))
		return to;
	shim_enter();
	handle_close_own(to);
	shim_leave();
	errno = EBADF;
	return -1;
}

static int copied_to(struct handle *h, int from, int to)
{
	shim_path_fd_copied(from, to);
	if (unlikely(!note_copy(h, to)))
		other_copied(from, to);
	return to;
}

EXPORT int dup(int fd)
{
	struct handle *h = handle_dup_begin(fd);

	return copied_anywhere(h, fd, NEXT(dup)(fd));
}

EXPORT int dup2(int from, int to)
{
	struct handle *h;

	if (from == to)		/* copies nothing */
		return NEXT(dup2)(from, to);
	h = handle_dup_begin(from);
	return copied_to(h, from, NEXT(dup2)(from, to));
}

EXPORT int dup3(int from, int to, int flags)
{
	struct handle *h = handle_dup_begin(from);

	return copied_to(h, from, NEXT(dup3)(from, to, flags));
}

EXPORT int fcntl(int fd, int cmd, ...)
{
	unsigned long arg;
	struct handle *h;
	va_list ap;

	va_start(ap, cmd);
	arg = va_arg(ap, unsigned long);
	va_end(ap);
	if (cmd != F_DUPFD && cmd != F_DUPFD_CLOEXEC)
		return NEXT(fcntl)(fd, cmd, arg);
	h = handle_dup_begin(fd);
	return copied_anywhere(h, fd, NEXT(fcntl)(fd, cmd, arg));
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

	if (!r && !(flags & (int)CLOSE_RANGE_CLOEXEC)) {
		abi_irqfd_closed(first, last);
		handle_forget(first, last);
	}
	errno = saved;
	return r;
}

EXPORT void closefrom(int from)
{
	close_range(from < 0 ? 0 : (unsigned int)from, ~0u, 0);
}

/* The descriptors that a message carries leave the table's sight. */
static void lend(const struct msghdr *m)
{
	int saved = errno;

	if (!shim_can_read(m, sizeof(*m)) || !m->msg_control ||
	    m->msg_controllen < sizeof(struct cmsghdr) ||
	    !shim_can_read(m->msg_control, m->msg_controllen))
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
		    c->cmsg_len < CMSG_LEN(0))
			continue;
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++)
			handle_lend(((int *)(void *)CMSG_DATA(c))[i]);
	}
	errno = saved;
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	if (unlikely(handle_any()))
		lend(m);
	return NEXT(sendmsg)(fd, m, flags);
}

EXPORT int sendmmsg(int fd, struct mmsghdr *v, unsigned int n, int flags)
{
	if (unlikely(handle_any()))
		for (unsigned int i = 0; i < n && shim_can_read(&v[i], sizeof(v[i])); i++)
			lend(&v[i].msg_hdr);
	return NEXT(sendmmsg)(fd, v, n, flags);
}
