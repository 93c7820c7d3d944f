/* SPDX-License-Identifier: MIT */
/* door/fds.c - calls on descriptors that are ours: the ioctls, and what abi/handle.h has to know
 * of. */
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>

#include "abi/abi.h"
#include "base/log.h"
#include "door/door.h"

static int start_result;

static void watch_once(void)
{
	if (filter_install_fds())
		log_warn("calls on descriptors of KVM are not seen: objects may live too long");
}

void fd_watch(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, watch_once);
}

/* valgrind takes the vDSO away, where our libc has found its functions. */
static bool vdso_gone;

static void start_once(void)
{
	u8 resident;

	vdso_gone = RAW(SYS_mincore, getauxval(AT_SYSINFO_EHDR), PAGE_SIZE, &resident) != 0;
	start_result = abi_start();
	if (start_result)
		return;
	signal_engine_started();
	fd_watch();
}

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	if (unlikely(vdso_gone))
		return (int)RAW(SYS_clock_gettime, id, ts);
	return __real_clock_gettime(id, ts);
}

int __real_sched_getcpu(void);
int __wrap_sched_getcpu(void);
int __wrap_sched_getcpu(void)
{
	u32 cpu;

	if (likely(!vdso_gone))
		return __real_sched_getcpu();
	return RAW(SYS_getcpu, &cpu, NULL, NULL) ? -1 : (int)cpu;
}

int fd_engine_start(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, start_once);
	return start_result;
}

/* The generic ioctls are the kernel's to answer on our descriptors too; what it does not know gets
 * the errno of the KVM descriptor instead of a memfd's. */
static long other_ioctl(struct door_thread *t, const u64 a[6])
{
	long r = door_pass_call(t, SYS_ioctl, a);
	struct handle *h = r == -ENOTTY ? handle_peek((int)a[0]) : NULL;

	if (!h)
		return r;
	r = h->kind == HANDLE_VM || h->kind == HANDLE_DEVICE ? -ENOTTY : -EINVAL;
	handle_put(h);
	return r;
}

static long do_ioctl(struct door_thread *t, const u64 a[6])
{
	struct handle *h;
	long r;

	if (((a[1] >> 8) & 0xff) != KVMIO)
		return other_ioctl(t, a);
	h = handle_get((int)a[0]);
	if (unlikely(!h))
		return door_pass_call(t, SYS_ioctl, a);
	/* To the kernel it is an unknown ioctl of a memfd; another answer is a filter's. */
	if (unlikely(atomic_load_explicit(&filter_program_has, memory_order_relaxed))) {
		r = door_pass_now(t, SYS_ioctl, a);
		if (r != -ENOTTY) {
			handle_put(h);
			return r;
		}
	}
	r = fd_engine_start();
	if (!r)
		r = abi_ioctl(h, a[1], a[2]);
	handle_put(h);
	return r;
}

/* Programs and libraries that a loader maps come where our filter sees their system calls. */
static long map_file(struct door_thread *t, const u64 a[6])
{
	static _Atomic u64 next = MAPPED_BASE;
	u64 b[6], bytes = ALIGN_UP(a[1], PAGE_SIZE);
	long r;

	if (a[0] || !a[1] || (a[3] & MAP_TYPE) != MAP_PRIVATE || a[3] & MAP_32BIT ||
	    bytes > (1ull << 32))
		return door_pass_call(t, SYS_mmap, a);
	memcpy(b, a, sizeof(b));
	b[0] = atomic_fetch_add(&next, bytes + PAGE_SIZE);
	if (b[0] + bytes > MAPPED_END)
		return door_pass_call(t, SYS_mmap, a);
	b[3] |= MAP_FIXED_NOREPLACE;
	r = door_pass_call(t, SYS_mmap, b);
	return r == -EEXIST ? door_pass_call(t, SYS_mmap, a) : r;
}

static long do_mmap(struct door_thread *t, const u64 a[6])
{
	long p = map_file(t, a);
	struct handle *h;
	int r;

	if (p < 0 && p > -4096)
		return p;
	if (p == DOOR_RESTART || p == DOOR_TRAPPED)
		return p;
	h = handle_any() ? handle_peek((int)a[4]) : NULL;
	if (!h)
		return p;
	r = abi_mapped(h, user_ptr((u64)p), a[1], (int)a[2], (int)a[3], (off_t)a[5]);
	handle_put(h);
	if (!r)
		return p;
	munmap(user_ptr((u64)p), a[1]);
	return r;
}

static long do_close(struct door_thread *t, const u64 a[6])
{
	int fd = (int)a[0];
	struct handle *h;
	long r;

	abi_irqfd_closed((u32)fd, (u32)fd);
	/* Forgotten first: the moment the kernel has closed it, another thread may get the
	 * number. */
	h = handle_take(fd);
	r = door_pass_now(t, SYS_close, a);
	if (handle_any())
		handle_closed(fd, h);
	return r;
}

static long do_close_range(struct door_thread *t, const u64 a[6])
{
	long r = door_pass_now(t, SYS_close_range, a);

	if (!r && !(a[2] & CLOSE_RANGE_CLOEXEC)) {
		abi_irqfd_closed((u32)a[0], (u32)a[1]);
		handle_forget((u32)a[0], (u32)a[1]);
	}
	return r;
}

/* What `to` is when its original was closed meanwhile. False: an object that has ended. */
static bool other_copied(int from, int to)
{
	struct handle *h;
	bool usable;

	handle_closed(from, NULL);
	h = handle_get(to);
	usable = !h || h->kind == HANDLE_SYSTEM || !handle_foreign_mm(h);
	if (h)
		handle_put(h);
	return usable;
}

static long do_dup(struct door_thread *t, long nr, const u64 a[6])
{
	int from = (int)a[0];
	struct handle *h = handle_dup_begin(from);
	long to = door_pass_now(t, nr, a);

	if (to >= 0)
		abi_irqfd_closed((u32)to, (u32)to);
	if (handle_dup_end(h, to < 0 ? -1 : (int)to) || other_copied(from, (int)to) ||
	    nr == SYS_dup2 || nr == SYS_dup3)
		return to;
	/* The number was free: as if the close had come first. */
	handle_close_own((int)to);
	return -EBADF;
}

/* The descriptors that a message carries leave the table's sight. */
static void lend(u64 message)
{
	struct msghdr m;
	struct cmsghdr c;
	u64 at, end;
	int fd;

	if (user_get(&m, user_ptr(message), sizeof(m)) || !m.msg_control)
		return;
	at = (u64)m.msg_control;
	end = at + m.msg_controllen;
	while (end - at >= sizeof(c) && !user_get(&c, user_ptr(at), sizeof(c)) &&
	       c.cmsg_len >= sizeof(c) && c.cmsg_len <= end - at) {
		bool rights = c.cmsg_level == SOL_SOCKET && c.cmsg_type == SCM_RIGHTS;
		u64 p = rights ? at + CMSG_LEN(0) : end;

		for (; p + sizeof(fd) <= at + c.cmsg_len; p += sizeof(fd))
			if (!user_get(&fd, user_ptr(p), sizeof(fd)))
				handle_lend(fd);
		if (CMSG_ALIGN(c.cmsg_len) > end - at)
			break;
		at += CMSG_ALIGN(c.cmsg_len);
	}
}

static long do_send(struct door_thread *t, long nr, const u64 a[6])
{
	if (nr == SYS_sendmsg)
		lend(a[1]);
	else
		for (u64 i = 0; i < (u32)a[2] && i < 1024; i++)
			lend(a[1] + i * sizeof(struct mmsghdr));
	return door_pass_call(t, nr, a);
}

/* Adding 1 to an irqfd raises the interrupt here, without the thread that waits for writes from
 * elsewhere. */
static long do_write(struct door_thread *t, const u64 a[6])
{
	u64 value;

	if (abi_irqfd_maybe((int)a[0]) && !user_get(&value, user_ptr(a[1]), sizeof(value)) &&
	    value == 1 && !atomic_load_explicit(&filter_program_has, memory_order_relaxed) &&
	    handle_own_process() && abi_irqfd_written((int)a[0]))
		return sizeof(value);
	return door_pass_call(t, SYS_write, a);
}

long fd_call(struct door_thread *t, long nr, const u64 a[6])
{
	switch (nr) {
	case SYS_ioctl:
		return do_ioctl(t, a);
	case SYS_mmap:
		return do_mmap(t, a);
	case SYS_close:
		return do_close(t, a);
	case SYS_close_range:
		return do_close_range(t, a);
	case SYS_dup2:
		if (a[0] == a[1])	/* copies nothing */
			return door_pass_now(t, nr, a);
		return do_dup(t, nr, a);
	case SYS_dup:
	case SYS_dup3:
	case SYS_fcntl:
		return do_dup(t, nr, a);
	case SYS_write:
		return do_write(t, a);
	case SYS_fstat:
		return file_call(t, nr, a);
	}
	return do_send(t, nr, a);
}
