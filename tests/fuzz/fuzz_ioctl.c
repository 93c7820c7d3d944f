/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/fuzz_ioctl.c - streams of KVM requests over several VMs, vCPUs and threads, with
 * small guests running, objects closed and duplicated in between, and kvm_run scribbled on.
 *
 * Right is: every request ends in time with a result or an errno of KVM's, the process lives,
 * and when all is closed no descriptor, thread or mapping is left. Everything a case
 * does follows from its seed; cases of one thread repeat exactly but for the moment of signals.
 */
/* Run: build/standin run -- build/tests/fuzz/fuzz_ioctl --seconds 20 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "tests/fuzz/door.h"
#include "tests/fuzz/driver.h"
#include "tests/fuzz/ioctl_args.h"
#include "tests/fuzz/leaks.h"

enum { SLOTS = 6, MAX_THREADS = 3, MAX_MAPS = 48, RUN_BYTES = 3 * 4096, HANG_S = 40 };

/* Objects by kind. An entry is taken out (exchanged with -1) by whoever closes it. */
static _Atomic int fds[FD_KINDS][SLOTS];
/* Mappings of vCPUs, kept until the end of the case so that everybody may scribble. */
static _Atomic(struct kvm_run *) maps[MAX_MAPS];
static _Atomic u32 nr_maps;
static u8 *arena;
static int eventfds[EVENTFDS];
static bool loud;

struct worker {
	pthread_t thread;
	struct args a;
	struct door_run run;
	u32 steps;
	_Atomic u32 done;
	bool bad;	/* read after the join */
};
static struct worker workers[MAX_THREADS];

static void on_kick(int sig)
{
}

static void *guarded(size_t n)
{
	u8 *p = mmap(NULL, n + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p, n, PROT_READ | PROT_WRITE))
		exit(2);
	return p;
}

/* -- what a thread does -- */

static void put(enum fd_kind kind, int fd, u32 at)
{
	int old = atomic_exchange(&fds[kind][at], fd);

	if (old >= 0)
		door_close(old);
}

static void map_vcpu(int fd)
{
	u32 at = atomic_load(&nr_maps);
	void *p;

	if (at >= MAX_MAPS)
		return;
	p = door_mmap(fd, RUN_BYTES);
	if (p == MAP_FAILED)
		return;
	at = atomic_fetch_add(&nr_maps, 1);
	if (at < MAX_MAPS)
		atomic_store(&maps[at], p);
	else
		munmap(p, RUN_BYTES);
}

/* A request that makes descriptors has succeeded. */
static void adopt(struct args *a, u32 code, int fd)
{
	switch (code) {
	case KVM_CREATE_VM:
		put(FD_VM, fd, (u32)pick(a, 3));
		break;
	case KVM_CREATE_VCPU:
		map_vcpu(fd);
		put(FD_VCPU, fd, (u32)pick(a, SLOTS));
		break;
	case (u32)KVM_GET_STATS_FD:
	case 0x4004aef0:
		close(fd);
		break;
	}
}

/* EIO: of a VM that is dead, for an SMI came where there is no memory for SMRAM. */
static bool errno_is_kvms(int e)
{
	switch (e) {
	case EIO:
	case EINVAL: case EFAULT: case ENOTTY: case EBADF: case EEXIST: case ENOENT: case ENXIO:
	case EBUSY: case EPERM: case E2BIG: case ENOMEM: case EAGAIN: case EINTR: case ENODEV:
	case ENOSPC: case EOPNOTSUPP: case ERANGE:
		return true;
	}
	return false;
}

static const struct request *some_request(struct args *a)
{
	for (;;) {
		const struct request *r = &requests[pick(a, nr_requests)];

		if (r->code != KVM_RUN && pick(a, 16) < r->weight)
			return r;
	}
}

static bool request_step(struct worker *w)
{
	struct args *a = &w->a;
	bool run = pick(a, 6) == 0;
	const struct request *r = run ? NULL : some_request(a);
	unsigned long arg;
	int fd, ret;

	for (u32 i = 0; run && i < nr_requests; i++)
		if (requests[i].code == KVM_RUN)
			r = &requests[i];
	/* Seldom: most VMs do not live through it, and a dead VM refuses all else. */
	if (r->code == KVM_SMI && pick(a, 64))
		return true;
	fd = atomic_load(&fds[r->kind][pick(a, SLOTS)]);
	/* Now and then an object of another kind. */
	if (!pick(a, 64))
		fd = atomic_load(&fds[pick(a, FD_KINDS)][pick(a, SLOTS)]);
	if (fd < 0)
		return true;
	arg = make_arg(a, r, fd);
	if (r->code == KVM_CREATE_VCPU && pick(a, 8))
		arg = pick(a, 5);
	if (r->code == KVM_CREATE_VM && pick(a, 8))
		arg = 0;
	errno = 0;
	ret = run ? door_run(&w->run, fd, arg) : door_ioctl(fd, r->code, arg);
	if (loud)
		printf("# fd %d %s %#lx: %d errno %d\n", fd, r->name, arg, ret,
		       ret < 0 ? errno : 0);
	if (ret < 0 && !errno_is_kvms(errno)) {
		printf("# %s: errno %d is not KVM's\n", r->name, errno);
		return false;
	}
	atomic_fetch_add_explicit(&fuzz->count[ret < 0 ? 1 : 0], 1, memory_order_relaxed);
	if (ret >= 0)
		adopt(a, r->code, ret);
	return true;
}

/* A vCPU at the start of a page of code in real mode. */
static void start_step(struct worker *w)
{
	struct args *a = &w->a;
	int fd = atomic_load(&fds[FD_VCPU][pick(a, SLOTS)]);
	struct kvm_regs r = { .rip = pick(a, 16) << 12,
			      .rsp = 0x8000,
			      .rflags = 2 | pick(a, 2) << 9 };
	struct kvm_mp_state runnable = { KVM_MP_STATE_RUNNABLE };
	struct kvm_sregs s;

	if (fd < 0 || door_ioctl(fd, (u32)KVM_GET_SREGS, (unsigned long)&s))
		return;
	s.cs.base = s.ds.base = s.es.base = s.ss.base = 0;
	s.cs.selector = s.ds.selector = s.es.selector = s.ss.selector = 0;
	if (pick(a, 2)) {
		/* Flat 32-bit protected mode. */
		s.cr0 |= 1;
		s.cs.db = s.ss.db = 1;
		s.cs.limit = s.ds.limit = s.es.limit = s.ss.limit = 0xffffffff;
		s.cs.g = s.ds.g = s.es.g = s.ss.g = 1;
		s.cs.selector = 8;
		s.ds.selector = s.es.selector = s.ss.selector = 16;
	}
	for (u32 i = 0; i < 8; i++)
		(&r.rax)[i] = i == 6 ? r.rsp : pick(a, 2) ? pick(a, 0x10000) : border(a);
	door_ioctl(fd, (u32)KVM_SET_SREGS, (unsigned long)&s);
	door_ioctl(fd, (u32)KVM_SET_REGS, (unsigned long)&r);
	door_ioctl(fd, (u32)KVM_SET_MP_STATE, (unsigned long)&runnable);
}

static void memory_step(struct worker *w)
{
	struct args *a = &w->a;
	u8 *page = arena + (pick(a, ARENA_BYTES / 4096) << 12);

	if (pick(a, 8))
		fuzz_code(page, 1 + (u32)pick(a, 512), &a->rng);
	else
		madvise(page, 4096, MADV_DONTNEED);
}

static void run_page_step(struct worker *w)
{
	struct args *a = &w->a;
	struct kvm_run *run = atomic_load(&maps[pick(a, MAX_MAPS)]);
	u64 v = border(a);

	if (!run)
		return;
	switch (pick(a, 6)) {
	case 0: run->request_interrupt_window = (u8)v; break;
	case 1: run->immediate_exit = pick(a, 4) == 0; break;
	case 2: run->cr8 = v; break;
	case 3: run->kvm_valid_regs = v & 0xf; break;
	case 4: run->kvm_dirty_regs = v & 0xf; break;
	default:
		memcpy((u8 *)run + pick(a, RUN_BYTES / 8) * 8, &v, 8);
	}
}

static void fd_step(struct worker *w)
{
	struct args *a = &w->a;
	enum fd_kind kind = (enum fd_kind)pick(a, FD_KINDS);
	u32 at = (u32)pick(a, SLOTS), to = (u32)pick(a, SLOTS);
	u64 one = 1;
	int fd;

	switch (pick(a, 8)) {
	case 0:
		fd = atomic_exchange(&fds[kind][at], -1);
		if (fd >= 0)
			door_close(fd);
		break;
	case 1:
		fd = atomic_load(&fds[kind][at]);
		fd = fd < 0 ? -1 : door_dup(fd);
		/* The number may have been somebody else's by then: the kind is what it is. */
		if (fd >= 0)
			put(kind, fd, to);
		break;
	case 2: case 3:
		if (write(eventfds[at % EVENTFDS], &one, 8) < 0 && errno != EAGAIN)
			w->bad = true;
		break;
	case 4:
		fd = atomic_load(&fds[FD_VCPU][at]);
		if (fd >= 0)
			map_vcpu(fd);
		break;
	default:
		/* Keep the world alive. */
		if (atomic_load(&fds[FD_SYSTEM][0]) < 0)
			put(FD_SYSTEM, door_open(), 0);
		fd = door_ioctl(atomic_load(&fds[FD_SYSTEM][0]), KVM_CREATE_VM, 0);
		if (fd >= 0)
			put(FD_VM, fd, (u32)pick(a, 3));
	}
}

/* A VM with memory and a processor or two. */
static void build_step(struct worker *w)
{
	struct args *a = &w->a;
	int vm = atomic_load(&fds[FD_VM][pick(a, 3)]), fd;
	struct kvm_userspace_memory_region m = {
		.memory_size = ARENA_BYTES, .userspace_addr = (u64)(uintptr_t)arena,
	};
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };

	if (vm < 0)
		return;
	switch (pick(a, 4)) {
	case 0: door_ioctl(vm, KVM_CREATE_IRQCHIP, 0); break;
	case 1: door_ioctl(vm, (u32)KVM_ENABLE_CAP, (unsigned long)&split); break;
	}
	door_ioctl(vm, (u32)KVM_SET_USER_MEMORY_REGION, (unsigned long)&m);
	for (u32 i = 0, n = 1 + (u32)pick(a, 2); i < n; i++) {
		fd = door_ioctl(vm, KVM_CREATE_VCPU, i);
		if (fd >= 0)
			adopt(a, KVM_CREATE_VCPU, fd);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (u32 i = 0; i < w->steps && !w->bad; i++) {
		fuzz_beat();
		switch (pick(&w->a, 32)) {
		case 0: memory_step(w); break;
		case 1: case 2: run_page_step(w); break;
		case 3: fd_step(w); break;
		case 4: if (i < 40 || !pick(&w->a, 8)) build_step(w); break;
		case 5: case 6: start_step(w); break;
		default: w->bad = !request_step(w);
		}
	}
	atomic_store(&w->done, 1);
	return NULL;
}

/* -- a case -- */

static u32 threads_of(u64 seed)
{
	return seed % 4 == 0 ? MAX_THREADS : seed % 4 == 1 ? 2 : 1;
}

static const char *kind(u64 seed)
{
	return threads_of(seed) == 1 ? "one thread" : "several threads";
}

static void prepare(void)
{
	struct sigaction sa = { .sa_handler = on_kick };

	sigaction(KICK_SIGNAL, &sa, NULL);
	/* Slots may reach beyond the arena: nothing else lies there. */
	arena = mmap(NULL, ARENA_RESERVED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		     -1, 0);
	if (arena == MAP_FAILED || mprotect(arena, ARENA_BYTES, PROT_READ | PROT_WRITE))
		exit(2);
	for (u32 i = 0; i < EVENTFDS; i++)
		eventfds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (u32 i = 0; i < MAX_THREADS; i++) {
		door_run_init(&workers[i].run);
		workers[i].a.buf = guarded(BUF_BYTES);
		workers[i].a.readonly = guarded(4096);
		mprotect(workers[i].a.readonly, 4096, PROT_READ);
		workers[i].a.arena = arena;
		memcpy(workers[i].a.eventfd, eventfds, sizeof(eventfds));
	}
}

static void wait_for_workers(u32 n)
{
	for (;;) {
		struct timespec nap = { 0, 1500 * 1000 };
		u32 left = 0;

		nanosleep(&nap, NULL);
		for (u32 i = 0; i < n; i++)
			if (!atomic_load(&workers[i].done)) {
				left++;
				door_kick(&workers[i].run, workers[i].thread);
			}
		if (!left)
			break;
	}
	for (u32 i = 0; i < n; i++)
		pthread_join(workers[i].thread, NULL);
}

static void clean_up(void)
{
	struct kvm_run *p;

	for (u32 k = 0; k < FD_KINDS; k++)
		for (u32 i = 0; i < SLOTS; i++)
			put((enum fd_kind)k, -1, i);
	for (u32 i = 0; i < MAX_MAPS; i++) {
		p = atomic_exchange(&maps[i], NULL);
		if (p)
			munmap(p, RUN_BYTES);
	}
	atomic_store(&nr_maps, 0);
}

static bool one_case(u64 seed, bool check)
{
	u32 n = threads_of(seed);
	struct leaks before, after;
	u64 rng = seed * 0x9e3779b97f4a7c15ull, drop;
	bool bad = false;

	atomic_store(&fuzz->seed, seed);
	for (u32 k = 0; k < FD_KINDS; k++)
		for (u32 i = 0; i < SLOTS; i++)
			atomic_store(&fds[k][i], -1);
	leaks_count(&before);
	for (u32 i = 0; i < ARENA_BYTES; i += 4096)
		fuzz_code(arena + i, 256, &rng);
	put(FD_SYSTEM, door_open(), 0);
	put(FD_VM, door_ioctl(atomic_load(&fds[FD_SYSTEM][0]), KVM_CREATE_VM, 0), 0);
	for (u32 i = 0; i < n; i++) {
		struct worker *w = &workers[i];

		w->a.rng = rng ^ (u64)(i + 1) << 56;
		w->steps = 300;
		w->bad = false;
		atomic_store(&w->done, 0);
		if (!i)
			build_step(w);
		if (pthread_create(&w->thread, NULL, work, w))
			exit(2);
	}
	wait_for_workers(n);
	for (u32 i = 0; i < n; i++)
		bad |= workers[i].bad;
	clean_up();
	/* Our own eventfds start every case empty. */
	for (u32 i = 0; i < EVENTFDS; i++)
		if (read(eventfds[i], &drop, 8) < 0 && errno != EAGAIN)
			bad = true;
	leaks_count(&after);
	if (check && leaks_found(&before, &after)) {
		printf("# seed %llu (%s): leak: %s\n", (unsigned long long)seed, kind(seed),
		       leaks_found(&before, &after));
		leaks_print_fds();
		bad = true;
	} else if (check && bad) {
		printf("# seed %llu (%s): wrong result\n", (unsigned long long)seed, kind(seed));
	}
	atomic_fetch_add_explicit(&fuzz->done, 1, memory_order_relaxed);
	return !bad;
}

static bool cases(u64 seed, double end)
{
	prepare();
	/* What the first use of anything allocates once is no leak. */
	one_case(seed, false);
	for (; fuzz_now() < end; seed++)
		if (!one_case(seed, true))
			return false;
	return true;
}

static bool single(u64 seed)
{
	bool ok = true;

	prepare();
	one_case(seed, false);
	loud = true;
	for (u32 i = 0; ok && i < (threads_of(seed) > 1 ? 20 : 2); i++)
		ok = one_case(seed, true);
	return ok;
}

static void report(void)
{
	printf("# %llu requests succeeded, %llu failed\n", (unsigned long long)fuzz->count[0],
	       (unsigned long long)fuzz->count[1]);
}

int main(int argc, char **argv)
{
	static const struct fuzzer f = {
		.title = "random requests", .hang_s = HANG_S, .kind = kind, .cases = cases,
		.one = single, .report = report,
	};

	return fuzz_main(&f, argc, argv);
}
