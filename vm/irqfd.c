/* SPDX-License-Identifier: MIT */
/*
 * vm/irqfd.c - eventfds that raise interrupts (KVM_IRQFD), plain and with resampling.
 *
 * One thread per VM waits on all of them with epoll. irqfd_lock covers the list and the
 * life of its entries; the thread takes it for each event and finds the entry by serial,
 * so that one removed meanwhile is simply not found. The lock is recursive because an
 * injection may end in an ack of the same GSI.
 *
 * A write that the program makes through libc does not go that way: the shim asks
 * vm_irqfd_written() first, which injects on the spot. As in KVM, the eventfd's count then never
 * becomes visible. by_fd[] holds the entry that each descriptor number was registered
 * with; closing or overwriting the number takes it out.
 *
 * KVM keeps no descriptor either: an irqfd is over when the last one of the program's is closed,
 * whoever holds it. Ours is a copy, which would keep the eventfd alive. So when the registered
 * number is closed the copy goes, too; the registration with epoll stays, for as long as the
 * eventfd is somewhere, and is looked for in the epoll's fdinfo. Without a copy the count is not
 * taken any more, but each write is still told (EPOLLET).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include "base/futex.h"
#include "base/grace.h"
#include "base/log.h"
#include "base/optional.h"
#include "base/sys.h"
#include "vm/vm.h"

struct vm_irqfd {
	struct vm *vm;
	struct vm_irqfd *next;
	struct vm_irqfd *claims;	/* by_fd_lock: the next of all VMs' */
	u64 serial;
	u32 gsi;
	int fd;		/* our dup, -1 = the program has closed its number */
	long long id;	/* the kernel's for the eventfd; -1 = not known */
	_Atomic bool closed;	/* fd is to go */
	int resample_fd;	/* our dup, -1 = plain */
	int user_fd;	/* the program's number for it; index into by_fd[] */
};

struct vm_poller {
	pthread_t thread;
	int epoll, wake;
	_Atomic bool stop;
	pid_t pid;
	u64 next_serial;
	u32 looks;	/* at eventfds that may be about to go; the thread's own */
	u64 look_ns;	/* when it looks next; its own */
};

#define FAST_FDS 4096
static _Atomic(struct vm_irqfd *) by_fd[FAST_FDS];
static struct grace by_fd_grace;	/* of readers of by_fd[] */
static pthread_mutex_t by_fd_lock = PTHREAD_MUTEX_INITIALIZER;	/* of writers; innermost */
static struct vm_irqfd *claimed;	/* by_fd_lock */

static void inject(struct vm *vm, struct vm_irqfd *f)
{
	struct irqchip *chip = vm_chip(vm);

	vm_count(vm->stats, irqfd_injections);
	if (f->resample_fd >= 0) {
		irqchip_set_irq(chip, f->gsi, 1, IRQ_SOURCE_RESAMPLE, false);
	} else {
		irqchip_set_irq(chip, f->gsi, 1, IRQ_SOURCE_USER, false);
		irqchip_set_irq(chip, f->gsi, 0, IRQ_SOURCE_USER, false);
	}
}

bool vm_irqfd_maybe(int fd)
{
	return (u32)fd < FAST_FDS && atomic_load_explicit(&by_fd[fd], memory_order_relaxed);
}

bool vm_irqfd_written(int fd)
{
	struct vm_irqfd *f;
	u32 g;

	if (!vm_irqfd_maybe(fd))
		return false;
	g = grace_enter(&by_fd_grace);
	f = atomic_load(&by_fd[fd]);
	if (f)
		inject(f->vm, f);
	grace_leave(&by_fd_grace, g);
	return f;
}

void vm_irqfd_forked(void)
{
	for (u32 fd = 0; fd < FAST_FDS; fd++)
		if (unlikely(atomic_load_explicit(&by_fd[fd], memory_order_relaxed) != NULL))
			atomic_store(&by_fd[fd], NULL);
}

/* What that takes, the poller's thread included (docs/run-path.md). */
static bool may_look(void)
{
	return optional_may(OPTIONAL_LOOK) && optional_may(OPTIONAL_LOOK_AT) &&
	       optional_may(OPTIONAL_OWN) && optional_may(OPTIONAL_LOAD) &&
	       optional_may(OPTIONAL_STEAL_CLOSE);
}

void vm_irqfd_closed(u32 first, u32 last)
{
	const u64 one = 1;

	if (last >= FAST_FDS)
		last = FAST_FDS - 1;
	for (u32 fd = first; fd <= last; fd++) {
		struct vm_irqfd *f;
		u32 g;

		if (likely(!atomic_load_explicit(&by_fd[fd], memory_order_relaxed)))
			continue;
		g = grace_enter(&by_fd_grace);
		f = atomic_exchange(&by_fd[fd], NULL);
		/* A child that shares our memory has closed its own. */
		if (f && may_look() && f->vm->poller->pid == sys_getpid()) {
			atomic_store(&f->closed, true);
			sys_write(f->vm->poller->wake, &one, sizeof(one));
		}
		grace_leave(&by_fd_grace, g);
	}
}

/* Does the epoll have it still? Then the eventfd is open somewhere. */
static bool registered(const char *fdinfo, u64 serial)
{
	for (const char *p = fdinfo; (p = strstr(p, "data:")); p += 5)
		if (strtoull(p + 5, NULL, 16) == serial)
			return true;
	return false;
}

#define TARGETS_MAX (4u << 20)	/* a text; a line has less than 100 */

/* What the epoll has, to be freed; NULL: nothing can be told. */
static char *targets(const struct vm_poller *p)
{
	for (size_t size = 4096; size <= TARGETS_MAX; size *= 4) {
		char *text = malloc(size);

		if (!text || vm_fdinfo(p->epoll, text, size))
			return text;
		free(text);
	}
	return NULL;
}

/* by_fd_lock held. The kernel gives numbers again: is the one without a copy over? */
static bool same(const struct vm_irqfd *f, int fd)
{
	char *text;
	bool r;

	if (f->fd >= 0)
		return vm_eventfd_same(f->fd, fd);
	if (f->id != vm_eventfd_id(fd))
		return false;
	text = targets(f->vm->poller);
	r = !text || registered(text, f->serial);
	free(text);
	return r;
}

static bool is(const struct vm_irqfd *f, int fd)
{
	bool r;

	pthread_mutex_lock(&by_fd_lock);
	r = same(f, fd);
	pthread_mutex_unlock(&by_fd_lock);
	return r;
}

/* An eventfd raises one GSI of one VM, in KVM since 6.17. False: it has an owner already. */
static bool claim(struct vm_irqfd *f)
{
	struct vm_irqfd *q;

	pthread_mutex_lock(&by_fd_lock);
	for (q = claimed; q && !same(q, f->fd); q = q->claims)
		;
	if (!q) {
		f->claims = claimed;
		claimed = f;
	}
	pthread_mutex_unlock(&by_fd_lock);
	return !q;
}

static void unclaim(struct vm_irqfd *f)
{
	pthread_mutex_lock(&by_fd_lock);
	for (struct vm_irqfd **q = &claimed; *q; q = &(*q)->claims) {
		if (*q == f) {
			*q = f->claims;
			break;
		}
	}
	pthread_mutex_unlock(&by_fd_lock);
}

static void fast_open(struct vm_irqfd *f)
{
	if ((u32)f->user_fd >= FAST_FDS)
		return;
	pthread_mutex_lock(&by_fd_lock);
	atomic_store(&by_fd[f->user_fd], f);
	pthread_mutex_unlock(&by_fd_lock);
}

static void fast_close(struct vm_irqfd *f)
{
	if ((u32)f->user_fd >= FAST_FDS)
		return;
	pthread_mutex_lock(&by_fd_lock);
	if (atomic_load(&by_fd[f->user_fd]) == f)
		atomic_store(&by_fd[f->user_fd], NULL);
	pthread_mutex_unlock(&by_fd_lock);
}

/* After fast_close(): nobody is injecting through a closed entry any more. An injection may
 * take irqfd_lock, which must not be held here. */
static void fast_wait(void)
{
	pthread_mutex_lock(&by_fd_lock);
	grace_wait(&by_fd_grace);
	pthread_mutex_unlock(&by_fd_lock);
}

static struct vm_irqfd *find_serial(struct vm *vm, u64 serial)
{
	for (struct vm_irqfd *f = vm->irqfds; f; f = f->next)
		if (f->serial == serial)
			return f;
	return NULL;
}

/* Take the count without ever blocking, whatever the VMM's flags are. */
static bool consume(int fd)
{
	u64 count;
	struct iovec v = { &count, sizeof(count) };
	ssize_t n = preadv2(fd, &v, 1, -1, RWF_NOWAIT);

	if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
		n = sys_read(fd, &count, sizeof(count));
	return n == (ssize_t)sizeof(count);
}

/* The eventfd of a number that was closed is looked for so often: the program tells before it
 * closes. */
#define LOOKS 5
#define LOOK_NS 20000000

static void free_all(struct vm *vm, struct vm_irqfd *gone);

/* irqfd_lock held. The list goes on at *q. */
static void take_out(struct vm_irqfd **q, struct vm_irqfd **gone)
{
	struct vm_irqfd *f = *q;

	*q = f->next;
	fast_close(f);
	f->next = *gone;
	*gone = f;
}

static void look(struct vm *vm)
{
	struct vm_irqfd **q, *f, *gone = NULL;
	char *text = NULL;
	bool any = false;

	if (!may_look())
		return;
	pthread_mutex_lock(&vm->irqfd_lock);
	for (f = vm->irqfds; f; f = f->next) {
		struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = f->serial };

		if (f->fd >= 0 && f->id >= 0 && atomic_load(&f->closed) &&
		    !epoll_ctl(vm->poller->epoll, EPOLL_CTL_MOD, f->fd, &ev)) {
			pthread_mutex_lock(&by_fd_lock);	/* same() */
			sys_close(f->fd);
			f->fd = -1;
			pthread_mutex_unlock(&by_fd_lock);
		}
		any |= f->fd < 0;
	}
	if (any)
		text = targets(vm->poller);
	for (q = &vm->irqfds; text && (f = *q);)
		if (f->fd < 0 && !registered(text, f->serial))
			take_out(q, &gone);
		else
			q = &f->next;
	pthread_mutex_unlock(&vm->irqfd_lock);
	free(text);
	free_all(vm, gone);
}

static void *poller_thread(void *arg)
{
	struct vm *vm = arg;
	struct vm_poller *p = vm->poller;
	struct epoll_event ev[16];

	for (;;) {
		int n = epoll_wait(p->epoll, ev, ARRAY_SIZE(ev), p->looks ? LOOK_NS / 1000000 : -1);

		if (n < 0 && errno != EINTR) {
			log_error("vm%u: irqfd thread: epoll_wait: errno %d", vm->serial, errno);
			return NULL;
		}
		for (int i = 0; i < n; i++) {
			struct vm_irqfd *f;

			if (!ev[i].data.u64) {
				/* In this order: the count taken may be that of the end. */
				consume(p->wake);
				if (atomic_load(&p->stop))
					return NULL;
				p->looks = LOOKS;
				p->look_ns = monotonic_ns() + LOOK_NS;
				continue;
			}
			pthread_mutex_lock(&vm->irqfd_lock);
			f = find_serial(vm, ev[i].data.u64);
			if (f && (f->fd < 0 || consume(f->fd)))
				inject(vm, f);
			pthread_mutex_unlock(&vm->irqfd_lock);
		}
		if (p->looks && monotonic_ns() >= p->look_ns) {
			p->looks--;
			p->look_ns = monotonic_ns() + LOOK_NS;
			look(vm);
		}
	}
}

/* vm.lock held. */
static int poller_start(struct vm *vm)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct vm_poller *p;
	int r;

	if (vm->poller)
		return 0;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->next_serial = 1;
	p->pid = sys_getpid();
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->epoll < 0 || p->wake < 0 || epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->wake, &ev)) {
		r = -errno;
		goto fail;
	}
	vm->poller = p;
	r = vm_thread_start(&p->thread, poller_thread, vm, "standin-irqfd");
	if (!r)
		return 0;
	vm->poller = NULL;
fail:
	if (p->epoll >= 0)
		sys_close(p->epoll);
	if (p->wake >= 0)
		sys_close(p->wake);
	free(p);
	return r;
}

static void irqfd_free(struct vm *vm, struct vm_irqfd *f)
{
	unclaim(f);
	if (f->resample_fd >= 0) {
		irqchip_ack_unregister(vm_chip(vm), f->gsi);
		sys_close(f->resample_fd);
	}
	if (f->fd >= 0) {
		epoll_ctl(vm->poller->epoll, EPOLL_CTL_DEL, f->fd, NULL);
		sys_close(f->fd);
	}
	free(f);
}

static int irqfd_assign(struct vm *vm, const struct kvm_irqfd *p)
{
	bool resample = p->flags & KVM_IRQFD_FLAG_RESAMPLE;
	struct irqchip *chip = vm_chip(vm);
	struct epoll_event ev = { .events = EPOLLIN };
	struct vm_irqfd *f;
	int r;

	if (!chip || (resample && irqchip_get_mode(chip) != IRQCHIP_FULL))
		return -EINVAL;
	r = vm_eventfd_check((int)p->fd);
	if (!r && resample)
		r = vm_eventfd_check((int)p->resamplefd);
	if (r)
		return r;
	r = poller_start(vm);
	if (r)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->vm = vm;
	f->gsi = p->gsi;
	f->user_fd = (int)p->fd;
	f->resample_fd = -1;
	f->id = -1;
	f->fd = r = sys_dup((int)p->fd);
	if (r < 0)
		goto fail;
	if (!claim(f)) {
		sys_close(f->fd);
		free(f);
		return -EBUSY;
	}
	if (resample) {
		r = sys_dup((int)p->resamplefd);
		if (r < 0)
			goto fail;
		f->resample_fd = r;
		/* A GSI that no pin can be routed to is never acknowledged. */
		if (f->gsi < IRQCHIP_MAX_GSI)
			irqchip_ack_register(chip, f->gsi);
	}
	r = 0;
	f->id = vm_eventfd_id(f->fd);
	f->serial = vm->poller->next_serial++;
	ev.data.u64 = f->serial;
	pthread_mutex_lock(&vm->irqfd_lock);
	/* There already: of an entry without a copy, and our copy got its number again. */
	if (epoll_ctl(vm->poller->epoll, EPOLL_CTL_ADD, f->fd, &ev) &&
	    (errno != EEXIST || epoll_ctl(vm->poller->epoll, EPOLL_CTL_MOD, f->fd, &ev))) {
		r = -errno;
		irqfd_free(vm, f);
	} else {
		f->next = vm->irqfds;
		vm->irqfds = f;
		fast_open(f);
	}
	pthread_mutex_unlock(&vm->irqfd_lock);
	return r;
fail:
	irqfd_free(vm, f);
	return r;
}

/* They are out of the list. irqfd_lock not held. */
static void free_all(struct vm *vm, struct vm_irqfd *gone)
{
	struct vm_irqfd *f;

	if (!gone)
		return;
	fast_wait();
	pthread_mutex_lock(&vm->irqfd_lock);
	while ((f = gone)) {
		gone = f->next;
		irqfd_free(vm, f);
	}
	pthread_mutex_unlock(&vm->irqfd_lock);
}

static int irqfd_deassign(struct vm *vm, const struct kvm_irqfd *p)
{
	struct vm_irqfd **q, *f, *gone = NULL;
	int r = vm_eventfd_check((int)p->fd);

	if (r)
		return r;
	pthread_mutex_lock(&vm->irqfd_lock);
	for (q = &vm->irqfds; (f = *q);)
		if (f->gsi == p->gsi && is(f, (int)p->fd))
			take_out(q, &gone);
		else
			q = &f->next;
	pthread_mutex_unlock(&vm->irqfd_lock);
	free_all(vm, gone);
	return 0;
}

int vm_irqfd(struct vm *vm, const struct kvm_irqfd *p)
{
	int r;

	if (p->flags & ~(u32)(KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE))
		return -EINVAL;
	pthread_mutex_lock(&vm->lock);
	if (vm->poller)
		look(vm);
	r = p->flags & KVM_IRQFD_FLAG_DEASSIGN ? irqfd_deassign(vm, p) : irqfd_assign(vm, p);
	pthread_mutex_unlock(&vm->lock);
	return r;
}

/* irq_ops.ack: source RESAMPLE is low again; tell every sharer to sample its device. */
void vm_irqfd_ack(struct vm *vm, u32 gsi)
{
	pthread_mutex_lock(&vm->irqfd_lock);
	for (struct vm_irqfd *f = vm->irqfds; f; f = f->next)
		if (f->resample_fd >= 0 && f->gsi == gsi)
			vm_eventfd_signal(vm, f->resample_fd, "resample of GSI", gsi);
	pthread_mutex_unlock(&vm->irqfd_lock);
}

void vm_irqfd_release(struct vm *vm)
{
	struct vm_poller *p;
	struct vm_irqfd *f;
	const u64 one = 1;

	pthread_mutex_lock(&vm->lock);
	p = vm->poller;
	pthread_mutex_unlock(&vm->lock);
	if (!p)
		return;
	atomic_store(&p->stop, true);
	if (sys_write(p->wake, &one, sizeof(one)) < 0)
		log_error("vm%u: irqfd thread cannot be stopped", vm->serial);
	pthread_join(p->thread, NULL);
	pthread_mutex_lock(&vm->irqfd_lock);
	for (f = vm->irqfds; f; f = f->next)
		fast_close(f);
	pthread_mutex_unlock(&vm->irqfd_lock);
	fast_wait();
	pthread_mutex_lock(&vm->irqfd_lock);
	while ((f = vm->irqfds)) {
		vm->irqfds = f->next;
		irqfd_free(vm, f);
	}
	pthread_mutex_unlock(&vm->irqfd_lock);
	sys_close(p->epoll);
	sys_close(p->wake);
	vm->poller = NULL;
	free(p);
}
