/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/svm_lifetimes.c - a machine goes away, or its memory does, while it is in L2. Nothing
 * stays behind: descriptors, threads and mappings are counted.
 */
/* Run: build/standin run -- build/tests/guest/guest_svm_lifetimes [NAME...] */
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fuzz/leaks.h"
#include "tests/guest/harness/svm.h"

/* Counts at G_SVM_DATA, for ever. */
CODE64(count, "again: incl 0x440000\n jmp again");

struct runner {
	pthread_t thread;
	struct guest_cpu *c;
	int fd;
	struct kvm_run *run;
	int result;	/* errno or 0; after the join */
};

static void on_signal(int sig)
{
}

static void *run_it(void *arg)
{
	struct runner *r = arg;

	r->result = ioctl(r->fd, KVM_RUN, 0) ? errno : 0;
	return NULL;
}

static void start(struct runner *r, struct svm_guest *s)
{
	u32 now;

	_Static_assert(G_SVM_DATA == 0x440000, "the address in the code");
	signal(SIGUSR1, on_signal);
	*g32(s->g, G_SVM_DATA) = 0;
	r->c = s->c;
	r->fd = s->c->fd;
	r->run = s->c->run;
	if (pthread_create(&r->thread, NULL, run_it, r))
		test_die("no thread");
	do {
		usleep(1000);
		now = *(volatile g_u32 *)g32(s->g, G_SVM_DATA);
	} while (!now);
}

static void stop(struct runner *r)
{
	r->run->immediate_exit = 1;
	pthread_kill(r->thread, SIGUSR1);
	pthread_join(r->thread, NULL);
}

/* The first machine of a process leaves allocations for good behind. */
static void warm_up(void)
{
	struct svm_guest s = svm_with(count);
	struct runner r;

	start(&r, &s);
	stop(&r);
	guest_free(s.g);
}

static void nothing_left(const struct leaks *before)
{
	struct leaks after;

	for (int i = 0; i < 100; i++) {
		leaks_count(&after);
		if (!leaks_found(before, &after))
			return;
		usleep(10000);
	}
	test_fail(__FILE__, __LINE__, "%s", leaks_found(before, &after));
	leaks_print_fds();
}

T(closed, "all descriptors closed while the vCPU is in L2: it runs on until it is stopped")
{
	struct leaks before;
	struct runner r;
	u32 seen;

	warm_up();
	leaks_count(&before);
	for (int i = 0; i < 3; i++) {
		struct svm_guest s = svm_with(count);

		start(&r, &s);
		close(s.g->vm);
		close(s.c->fd);
		seen = *g32(s.g, G_SVM_DATA);
		/* Its thread need not get a CPU at once. */
		for (int j = 0; j < 1000 && *(volatile g_u32 *)g32(s.g, G_SVM_DATA) == seen; j++)
			usleep(5000);
		CHECK(*(volatile g_u32 *)g32(s.g, G_SVM_DATA) != seen);
		stop(&r);
		CHECK_EQ(r.result, EINTR);
		s.g->vm = s.c->fd = -1;
		guest_free(s.g);
	}
	nothing_left(&before);
}

T(slot, "the slot that holds L1, L2 and their tables is deleted under L2")
{
	struct svm_guest s = svm_with(count);
	struct kvm_userspace_memory_region none = { 0 };
	struct runner r;

	start(&r, &s);
	CHECK_EQ(ioctl(s.g->vm, KVM_SET_USER_MEMORY_REGION, &none), 0);
	/* No tables and no IDT are left: L2 shuts down, or it cannot be executed. */
	pthread_join(r.thread, NULL);
	CHECK_EQ(r.result, 0);
	CHECK(r.run->exit_reason == KVM_EXIT_SHUTDOWN ||
	      r.run->exit_reason == KVM_EXIT_INTERNAL_ERROR);
	guest_free(s.g);
}

T(moves, "a slot is made, moved and deleted beside a running L2")
{
	struct svm_guest s = svm_with(count);
	void *page = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region m = {
		.slot = 1, .memory_size = 0x2000, .userspace_addr = (u64)(uintptr_t)page,
	};
	struct runner r;

	start(&r, &s);
	for (int i = 0; i < 100; i++) {
		m.memory_size = 0x2000;
		m.guest_phys_addr = G_RAM_SIZE;
		CHECK_EQ(ioctl(s.g->vm, KVM_SET_USER_MEMORY_REGION, &m), 0);
		m.guest_phys_addr = G_RAM_SIZE + 0x1000;
		CHECK_EQ(ioctl(s.g->vm, KVM_SET_USER_MEMORY_REGION, &m), 0);
		m.memory_size = 0;
		CHECK_EQ(ioctl(s.g->vm, KVM_SET_USER_MEMORY_REGION, &m), 0);
	}
	stop(&r);
	CHECK_EQ(r.result, EINTR);
	munmap(page, 0x2000);
	guest_free(s.g);
}

T(fork, "a fork while the vCPU is in L2: the child gets EIO, the parent goes on")
{
	struct svm_guest s = svm_with(count);
	struct runner r;
	int status;
	pid_t pid;

	start(&r, &s);
	pid = fork();
	if (!pid) {
		struct kvm_regs regs;

		_exit(ioctl(s.c->fd, KVM_GET_REGS, &regs) == -1 && errno == EIO ? 0 : 1);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	stop(&r);
	CHECK_EQ(r.result, EINTR);
	guest_free(s.g);
}
