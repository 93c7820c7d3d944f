/* SPDX-License-Identifier: MIT */
/*
 * door/thread.c - regions, and the program's clone, fork and exit.
 *
 * The program makes its threads by system call, and our libc knows nothing of them; but our code
 * needs its thread-local storage (errno, malloc, locks that know their owner). So for each of them
 * we let our libc make a thread of its own in the region, the donor, which ends at once without
 * telling libc: what it had of libc is from then on the program's thread's. When that ends, the
 * donor is joined.
 */
#include "door/door.h"

#include <limits.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "door/hot.h"

static pthread_mutex_t thread_lock = PTHREAD_MUTEX_INITIALIZER;
static struct door_thread *leaving;	/* on their way out, or gone; thread_lock */
static struct door_thread *main_thread;
static pthread_mutex_t region_lock = PTHREAD_MUTEX_INITIALIZER;	/* within thread_lock */
static u64 spare[4096];
static u32 nr_spare;
/* Where libc keeps a thread's number in what pthread_self() points to: locks that know their owner
 * go by it; and the word there that the kernel clears when a thread has left, for pthread_join().
 * Until glibc 2.42 that is the same one. 0: not known (yet); thread_lock. */
static size_t tid_at, left_at;
enum { PTHREAD_BYTES = 2048 };

typedef void *start_fn(void *arg);

int __real_pthread_create(pthread_t *out, const pthread_attr_t *attr, start_fn *fn, void *arg);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attr, start_fn *fn, void *arg);
int __real_pthread_join(pthread_t p, void **ret);
int __wrap_pthread_join(pthread_t p, void **ret);
pid_t __wrap__Fork(void);

/* fork() of our libc, by whatever thread. */
static void lock_threads(void)
{
	pthread_mutex_lock(&thread_lock);
	pthread_mutex_lock(&region_lock);
}

static void unlock_threads(void)
{
	pthread_mutex_unlock(&region_lock);
	pthread_mutex_unlock(&thread_lock);
}

struct door_thread *thread_main(void)
{
	return main_thread;
}

/* Not where the kernel would put them: in a hole that the program has made, in a slot of a guest
 * for one, memory of ours must not turn up. */
static u64 region_alloc(void)
{
	static u64 next = REGIONS_BASE;		/* region_lock */
	u64 base;
	void *p;

	pthread_mutex_lock(&region_lock);
	base = nr_spare ? spare[--nr_spare] : 0;
	while (!base && next < REGIONS_END) {
		p = mmap(user_ptr(next), REGION_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
		if (p == MAP_FAILED && errno != EEXIST)
			break;
		if (p == user_ptr(next) && !mprotect(p, REGION_GUARD, PROT_NONE))
			base = next;
		next += REGION_BYTES;
	}
	pthread_mutex_unlock(&region_lock);
	return base;
}

static void region_free(u64 base)
{
	/* Empty when it is used again. */
	madvise(user_ptr(base + REGION_GUARD), REGION_BYTES - REGION_GUARD, MADV_DONTNEED);
	pthread_mutex_lock(&region_lock);
	if (nr_spare < ARRAY_SIZE(spare))
		spare[nr_spare++] = base;
	else
		munmap(user_ptr(base), REGION_BYTES);
	pthread_mutex_unlock(&region_lock);
}

static u64 stack_low(const struct door_thread *t)
{
	return region_base(t) + REGION_GUARD + PAGE_SIZE + HOT_BYTES;
}

/* The part of a region that threads run on. */
static stack_t stack_of(const struct door_thread *t)
{
	u64 end = region_base(t) + REGION_BYTES;

	if (t->libc)
		end = ALIGN_DOWN((u64)t->libc - 8192, 64);	/* TLS lies below it */
	return (stack_t){ .ss_sp = user_ptr(stack_low(t)), .ss_size = end - stack_low(t) };
}

int threads_init(void)
{
	u64 base = region_alloc();
	stack_t s;

	_Static_assert(sizeof(struct door_thread) <= PAGE_SIZE, "a region's first page");
	if (!base)
		return -ENOMEM;
	main_thread = region_thread(base);
	main_thread->fs = door_get_fs();
	main_thread->alt.ss_flags = SS_DISABLE;
	s = stack_of(main_thread);
	if (sigaltstack(&s, NULL))
		return -errno;
	return -pthread_atfork(lock_threads, unlock_threads, unlock_threads);
}

/* -- threads of our own: they run in regions too, so that a fault there finds its way -- */

struct start {
	struct door_thread *t;
	start_fn *fn;
	void *arg;
};

static void *own_thread(void *arg)
{
	struct start s = *(struct start *)arg;

	free(arg);
	s.t->fs = door_get_fs();
	return s.fn(s.arg);
}

static int create(struct door_thread *t, pthread_t *out, start_fn *fn, void *arg)
{
	u64 end = region_base(t) + REGION_BYTES;
	pthread_attr_t attr;
	int r = pthread_attr_init(&attr);

	if (r)
		return r;
	r = pthread_attr_setstack(&attr, user_ptr(stack_low(t)), end - stack_low(t));
	if (!r)
		r = __real_pthread_create(out, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return r;
}

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attr, start_fn *fn, void *arg)
{
	struct start *s = malloc(sizeof(*s));
	u64 base = s ? region_alloc() : 0;
	int r;

	if (!base) {
		free(s);
		return EAGAIN;
	}
	*s = (struct start){ region_thread(base), fn, arg };
	s->t->alt.ss_flags = SS_DISABLE;
	r = create(s->t, out, own_thread, s);
	if (r) {
		region_free(base);
		free(s);
	}
	return r;
}

/* A region of a thread that was detached is kept: nobody tells when libc has left it. */
int __wrap_pthread_join(pthread_t p, void **ret)
{
	int r = __real_pthread_join(p, ret);

	if (!r)
		region_free(ALIGN_DOWN((u64)p, REGION_BYTES));
	return r;
}

/* -- donors -- */

struct donation {
	struct door_thread *t;
	_Atomic u32 ready;
};

static size_t find_word(u32 value, size_t from)
{
	const u32 *p = (const u32 *)(uintptr_t)pthread_self();

	for (size_t i = from / 4; i < PTHREAD_BYTES / 4; i++)
		if (p[i] == value)
			return i * 4;
	return 0;
}

static u32 own_tid(void)
{
	return (u32)RAW(SYS_gettid);
}

/* What the kernel clears when this thread leaves, if the kernel tells
 * (CONFIG_CHECKPOINT_RESTORE). */
static size_t find_left(size_t otherwise)
{
	u64 at = 0, self = (u64)pthread_self();

	if (RAW(SYS_prctl, PR_GET_TID_ADDRESS, &at, 0, 0, 0) || at - self >= PTHREAD_BYTES)
		return otherwise;
	return at - self;
}

/* thread_lock held by the creator, who waits. */
static void *donor(void *arg)
{
	struct donation *d = arg;
	size_t at = tid_at ? tid_at : find_word(own_tid(), 4);
	struct door_thread *t = d->t;

	t->fs = door_get_fs();
	t->libc = pthread_self();
	t->libc_tid = own_tid();
	tid_at = at;
	if (!left_at)
		left_at = find_left(at);
	door_exit_donor(&d->ready);
}

static _Atomic u32 *word_of(const struct door_thread *t, size_t at)
{
	return (_Atomic u32 *)(uintptr_t)((u64)t->libc + at);
}

/* thread_lock held, signals blocked. NULL: no memory, or no thread can be made. */
static struct door_thread *thread_new(void)
{
	struct donation d = { .ready = 0 };
	u64 base = region_alloc();
	pthread_t p;
	u32 here;

	if (!base)
		return NULL;
	d.t = region_thread(base);
	if (create(d.t, &p, donor, &d)) {
		region_free(base);
		return NULL;
	}
	while (!atomic_load(&d.ready))
		RAW(SYS_sched_yield);
	/* The kernel clears the word when it has left, and wakes who waits for that. */
	while (left_at && (here = atomic_load(word_of(d.t, left_at))))
		RAW(SYS_futex, word_of(d.t, left_at), FUTEX_WAIT, here, NULL, NULL, 0);
	if (tid_at)
		atomic_store(word_of(d.t, tid_at), d.t->libc_tid);
	return d.t;
}

/* thread_lock held. Nobody runs on t's region. */
static void thread_free(struct door_thread *t)
{
	if (left_at)
		atomic_store(word_of(t, left_at), 0);
	__real_pthread_join(t->libc, NULL);
	region_free(region_base(t));
}

/* thread_lock held. */
static void reap(void)
{
	struct door_thread **p = &leaving, *t;

	while ((t = *p)) {
		if (!atomic_load(&t->gone)) {
			p = &t->next;
			continue;
		}
		*p = t->next;
		thread_free(t);
	}
}

_Noreturn void thread_exit(struct door_thread *t, long status)
{
	u64 old;

	signals_block(&old);
	hot_gone(t);
	if (t != main_thread && !t->other_process && t->libc) {
		pthread_mutex_lock(&thread_lock);
		t->next = leaving;
		leaving = t;
		pthread_mutex_unlock(&thread_lock);
	}
	door_exit_thread(&t->gone, status);
}

/* -- clone -- */

struct clone {
	u64 flags, stack, parent_tid, child_tid, tls;
	struct clone_args args;		/* of clone3 */
	size_t size;			/* of it, 0: not clone3 */
	bool clear;			/* CLONE_CLEAR_SIGHAND */
};
/* Older headers do not have it. */
#define CLEAR_SIGHAND 0x100000000ull

static long clone_args_get(struct clone *c, long nr, const u64 a[6])
{
	u8 rest;

	memset(c, 0, sizeof(*c));
	switch (nr) {
	case SYS_fork:
		c->flags = SIGCHLD;
		return 0;
	case SYS_vfork:
		c->flags = CLONE_VFORK | CLONE_VM | SIGCHLD;
		return 0;
	case SYS_clone:
		c->flags = (u32)a[0];
		c->stack = a[1];
		c->parent_tid = a[2];
		c->child_tid = a[3];
		c->tls = a[4];
		return 0;
	}
	if (a[1] < CLONE_ARGS_SIZE_VER0)
		return -EINVAL;
	if (a[1] > PAGE_SIZE)
		return -E2BIG;
	c->size = a[1] < sizeof(c->args) ? a[1] : sizeof(c->args);
	if (user_get(&c->args, user_ptr(a[0]), c->size))
		return -EFAULT;
	for (u64 i = c->size; i < a[1]; i++) {
		if (user_get(&rest, user_ptr(a[0] + i), 1))
			return -EFAULT;
		if (rest)
			return -E2BIG;
	}
	/* It would take our handlers along. A child with memory of its own gives up the program's
	 * itself; one that shares ours is on its way to exec (posix_spawn), which does. */
	c->clear = c->args.flags & CLEAR_SIGHAND;
	c->args.flags &= ~CLEAR_SIGHAND;
	c->flags = c->args.flags;
	c->tls = c->args.tls;
	if (c->args.stack)
		c->stack = c->args.stack + c->args.stack_size;
	return 0;
}

/* A frame on the child's stack that returns to the program. Its address. */
static u64 child_frame(const struct kucontext *uc, const struct clone *c, struct door_thread *child)
{
	size_t fp = uc->fpstate ? fpstate_bytes(uc) : 0;
	stack_t s = stack_of(child);
	u64 top = (u64)(uintptr_t)s.ss_sp + s.ss_size;
	u64 fpstate = ALIGN_DOWN(top - fp, 64);
	struct ksigframe *f = user_ptr(ALIGN_DOWN(fpstate - sizeof(*f), 16));

	memset(f, 0, sizeof(*f));
	f->uc = *uc;
	if (fp) {
		memcpy(user_ptr(fpstate), user_ptr(uc->fpstate), fp);
		f->uc.fpstate = fpstate;
	}
	f->uc.stack = s;
	f->uc.gregs[REG_RAX] = 0;
	if (c->stack)
		f->uc.gregs[REG_RSP] = (greg_t)c->stack;
	return (u64)(uintptr_t)f;
}

/* A thread, or a child that shares our memory. */
static long clone_shared(struct door_thread *t, struct kucontext *uc, u64 fs, struct clone *c)
{
	u64 args[5] = { c->flags, 0, c->parent_tid, c->child_tid, c->tls }, frame, old;
	long nr = SYS_clone, r = -EAGAIN;
	struct door_thread *child;
	stack_t s;

	if (t->held)
		return DOOR_RESTART;
	signals_block(&old);
	pthread_mutex_lock(&thread_lock);
	reap();
	child = thread_new();
	pthread_mutex_unlock(&thread_lock);
	if (!child)
		goto out;
	child->alt.ss_flags = SS_DISABLE;
	if (c->flags & CLONE_VFORK)
		child->alt = t->alt;
	child->unblocked = t->unblocked;
	child->other_process = !(c->flags & CLONE_THREAD);
	frame = child_frame(uc, c, child);
	args[1] = frame;
	if (c->size) {
		s = stack_of(child);
		nr = SYS_clone3;
		c->args.stack = (u64)(uintptr_t)s.ss_sp;
		c->args.stack_size = frame - c->args.stack;
		args[0] = (u64)(uintptr_t)&c->args;
		args[1] = c->size;
	}
	t->trapped = 0;
	r = door_clone_to(nr, args, frame, c->flags & CLONE_SETTLS ? 0 : fs);
	/* After vfork the child is gone from our memory. */
	if (r < 0 || (c->flags & CLONE_VFORK && !(c->flags & CLONE_THREAD))) {
		pthread_mutex_lock(&thread_lock);
		thread_free(child);
		pthread_mutex_unlock(&thread_lock);
	}
out:
	signals_restore(&old);
	return r;
}

static _Thread_local struct {
	struct door_thread *t;
	const struct clone *c;
	long result;
} forking;

/* fork() of our libc with its locks and handlers, but the program's kind of clone. */
pid_t __wrap__Fork(void)
{
	const struct clone *c = forking.c;
	struct clone_args args;
	long r;

	if (!c) {
		r = RAW(SYS_fork);
	} else if (c->size) {
		args = c->args;
		args.flags &= ~(u64)CLONE_SETTLS;
		args.stack = args.stack_size = 0;
		r = PASS(forking.t, SYS_clone3, &args, c->size);
	} else {
		r = PASS(forking.t, SYS_clone, c->flags & ~(u64)CLONE_SETTLS, 0, c->parent_tid,
			 c->child_tid, 0);
	}
	if (!r && tid_at)
		*(_Atomic u32 *)(uintptr_t)((u64)pthread_self() + tid_at) = own_tid();
	forking.result = r;
	if (r >= 0)
		return (pid_t)r;
	errno = (int)-r;
	return -1;
}

static long clone_copied(struct door_thread *t, struct kucontext *uc, struct clone *c)
{
	forking.t = t;
	forking.c = c;
	if (fork()) {
		forking.c = NULL;
		return forking.result;
	}
	forking.c = NULL;
	leaving = NULL;
	t->other_process = false;
	hot_forked(t);
	if (c->clear)
		signals_clear();
	if (c->stack)
		uc->gregs[REG_RSP] = (greg_t)c->stack;
	return 0;
}

long thread_clone(struct door_thread *t, struct kucontext *uc, u64 *fs, long nr, const u64 a[6])
{
	struct clone c;
	long r = clone_args_get(&c, nr, a);

	if (r)
		return r;
	if (c.flags & CLONE_VM)
		return clone_shared(t, uc, *fs, &c);
	r = clone_copied(t, uc, &c);
	if (!r && c.flags & CLONE_SETTLS)
		*fs = c.tls;
	return r;
}
