/* SPDX-License-Identifier: MIT */
/*
 * vm/timer.c - one thread per VM, made with its interrupt controllers, that sleeps until the next
 * deadline: PIT and I/O APIC work, and the LAPIC timers of vCPUs (a running one must leave
 * translated code to notice the time, a halted one must wake).
 *
 * Protocol: a deadline is an atomic word per vCPU (and one for the chip). Whoever lowers one
 * below `sleeping_until` bumps `seq` and wakes the futex. The thread publishes
 * sleeping_until, then reads all deadlines; an arm that misses the store is seen by the
 * read, one that comes later sees the store (both sides sequentially consistent).
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/futex.h"
#include "base/log.h"
#include "base/sys.h"
#include "vm/vm.h"

#define NEVER (~0ull)
#define STACK (256u << 10)

struct vm_timer {
	struct vm *vm;
	pthread_t thread;
	bool started;		/* vm.lock */
	_Atomic u32 stop;
	_Atomic u32 seq;	/* futex word */
	_Atomic u64 sleeping_until;
	_Atomic u64 chip_deadline;
	struct sleeper sleeper;	/* the thread's */
};

struct start {
	void *(*fn)(void *);
	void *arg;
	_Atomic u32 *up;	/* futex word of the maker */
};

static void *thread(void *arg)
{
	struct start s = *(struct start *)arg;

	/* The kernel may be 50 us late by default, to join timers; a guest's may not. */
	sys_timer_slack(1);
	atomic_store(s.up, 1);
	/* The word may be gone by now: nobody is woken then, or somebody for nothing. */
	futex_wake(s.up, 1);
	return s.fn(s.arg);
}

int vm_thread_start(pthread_t *t, void *(*fn)(void *), void *arg, const char *name)
{
	_Atomic u32 up = 0;
	struct start s = { fn, arg, &up };
	struct sleeper sleeper = { 0 };
	pthread_attr_t attr;
	sigset_t all, old;
	int r;

	sigfillset(&all);
	/* Faults of our own threads are not the VMM's either, but blocking a
	 * synchronous signal would only turn it into an unexplained kill. */
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGTRAP);
	sys_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	/* Under mlockall(MCL_FUTURE) all of it is there at once. Too small if the program has a lot
	 * of thread-local storage. */
	pthread_attr_setstacksize(&attr, STACK);
	r = pthread_create(t, &attr, thread, &s);
	if (r == EINVAL)
		r = pthread_create(t, NULL, thread, &s);
	pthread_attr_destroy(&attr);
	sys_sigmask(SIG_SETMASK, &old, NULL);
	if (r) {
		log_error("thread %s: %d", name, r);
		return -r;
	}
	/* What a thread does to get going is done: a filter for all threads may come now. */
	while (!atomic_load(&up))
		futex_sleep(&up, 0, ~0ull, &sleeper);
	pthread_setname_np(*t, name);
	return 0;
}

/* Earliest deadline after firing everything that is due. */
static u64 fire(struct vm_timer *t)
{
	u64 now = monotonic_ns(), next = NEVER, d;
	struct vm *vm = t->vm;
	struct vm_vcpu *vv;

	d = atomic_load(&t->chip_deadline);
	if (d && d <= now) {
		/* irqchip_timer() gives the next one through irq_ops.timer. */
		if (atomic_compare_exchange_strong(&t->chip_deadline, &d, 0))
			irqchip_timer(vm_chip(vm));
		d = atomic_load(&t->chip_deadline);
	}
	if (d)
		next = d;
	vm_for_each_vcpu(vm, i, vv) {
		d = atomic_load(&vv->deadline);
		if (d && d <= now) {
			if (atomic_compare_exchange_strong(&vv->deadline, &d, 0)) {
				vcpu_request(vv->v, VREQ_EVENT);
				continue;
			}
		}
		if (d && d < next)
			next = d;
	}
	return next;
}

static void *timer_thread(void *arg)
{
	struct vm_timer *t = arg;

	for (;;) {
		/* Before `stop`, which is set before seq is counted up: it is seen, or we do not
		 * sleep. */
		u32 seq = atomic_load(&t->seq);
		u64 next;

		if (atomic_load(&t->stop))
			break;
		/* While we look, every arm bumps seq. */
		atomic_store(&t->sleeping_until, NEVER);
		next = fire(t);
		atomic_store(&t->sleeping_until, next);
		futex_sleep(&t->seq, seq, next, &t->sleeper);
	}
	return NULL;
}

int vm_timer_start(struct vm *vm)
{
	struct vm_timer *t = vm->timer;
	int r = 0;

	if (!t->started)
		r = vm_thread_start(&t->thread, timer_thread, t, "standin-timer");
	t->started |= !r;
	return r;
}

/* Called with irqchip locks held: takes none. */
static void kick(struct vm_timer *t, u64 deadline)
{
	if (deadline < atomic_load(&t->sleeping_until)) {
		atomic_fetch_add(&t->seq, 1);
		futex_wake(&t->seq, 1);
	}
}

void vm_timer_arm(struct vm_vcpu *vv, u64 deadline_ns)
{
	u64 old = atomic_exchange(&vv->deadline, deadline_ns);

	if (deadline_ns && deadline_ns != old)
		kick(vv->vm->timer, deadline_ns);
}

void vm_timer_arm_chip(struct vm *vm, u64 deadline_ns)
{
	atomic_store(&vm->timer->chip_deadline, deadline_ns);
	if (deadline_ns)
		kick(vm->timer, deadline_ns);
}

int vm_timer_init(struct vm *vm)
{
	vm->timer = calloc(1, sizeof(*vm->timer));
	if (!vm->timer)
		return -ENOMEM;
	vm->timer->vm = vm;
	atomic_store(&vm->timer->sleeping_until, NEVER);
	return 0;
}

void vm_timer_destroy(struct vm *vm)
{
	struct vm_timer *t = vm->timer;

	if (!t)
		return;
	if (t->started) {
		atomic_store(&t->stop, 1);
		atomic_fetch_add(&t->seq, 1);
		futex_wake(&t->seq, 1);
		pthread_join(t->thread, NULL);
	}
	free(t);
	vm->timer = NULL;
}
