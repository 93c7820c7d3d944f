/* SPDX-License-Identifier: MIT */
/* tests/door/threads.c - threads by libc and by raw clone, each a vCPU of its own; fork and vfork
 * meanwhile. */
/* Run: tests/door/run build/standin-door tests/door quick */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 200, ROUNDS = 20 };

static int vm, sys;
static size_t run_size;
static __thread int mine;
static atomic_int good;

/* in $0x10, %al forever */
static const unsigned char code[] = { 0xe4, 0x10, 0xeb, 0xfc };

static const char *node(void)
{
	const char *n = getenv("STANDIN_NODE");

	return n ? n : "/dev/kvm";
}

static void *vcpu(void *arg)
{
	int id = (int)(long)arg, fd = ioctl(vm, KVM_CREATE_VCPU, id);
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };
	struct kvm_run *run;
	char *p;

	mine = id;
	if (fd < 0)
		return NULL;
	run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (run == MAP_FAILED || ioctl(fd, KVM_GET_SREGS, &sregs))
		return NULL;
	sregs.cs.base = sregs.cs.selector = 0;
	ioctl(fd, KVM_SET_SREGS, &sregs);
	ioctl(fd, KVM_SET_REGS, &regs);
	for (int i = 0; i < ROUNDS; i++) {
		if (ioctl(fd, KVM_RUN, 0) || run->exit_reason != KVM_EXIT_IO)
			return NULL;
		p = malloc(100 + i);
		memset(p, id, 100 + i);
		free(p);
		if (mine != id)
			return NULL;
	}
	munmap(run, run_size);
	close(fd);
	atomic_fetch_add(&good, 1);
	return NULL;
}

static int empty(void *arg)
{
	*(volatile int *)arg = 1 + (access("/nonexistent", R_OK) < 0);
	syscall(SYS_exit, 0);
	return 0;
}

/* Threads that no libc knows, with the smallest stack there may be. */
static int raw_threads(void)
{
	int ok = 1;

	for (int i = 0; i < 50; i++) {
		char *stack = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				   -1, 0);
		volatile int result = 0;
		int tid = 1;

		if (clone(empty, stack + 16384,
			  CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
				  CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
			  (void *)&result, &tid, NULL, &tid) < 0)
			return errno == EINVAL;		/* musl 1.2.4 and newer refuse */
		while (*(volatile int *)&tid)
			sched_yield();
		ok &= result == 2;
		munmap(stack, 16384);
	}
	return ok;
}

static int forks(void)
{
	int status, ok = 1;

	for (int i = 0; i < 10; i++) {
		pid_t p = fork();

		if (!p) {
			/* Objects of the parent's are not the child's; its own are. */
			int own = open(node(), O_RDWR);
			int vm2 = ioctl(own, KVM_CREATE_VM, 0);

			if (ioctl(vm, KVM_CREATE_VCPU, 900) >= 0 || errno != EIO || vm2 < 0)
				_exit(1);
			vm = vm2;
			free(malloc(1000));
			_exit(0);
		}
		waitpid(p, &status, 0);
		ok &= !status;
		p = vfork();
		if (!p)
			_exit(3);
		waitpid(p, &status, 0);
		ok &= WIFEXITED(status) && WEXITSTATUS(status) == 3;
	}
	return ok;
}

int main(void)
{
	struct kvm_userspace_memory_region slot = { .memory_size = 0x10000 };
	pthread_t t[THREADS];
	unsigned char *mem;
	int made = 0;

	sys = open(node(), O_RDWR | O_CLOEXEC);
	vm = ioctl(sys, KVM_CREATE_VM, 0);
	run_size = ioctl(sys, KVM_GET_VCPU_MMAP_SIZE, 0);
	mem = mmap(NULL, slot.memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		   0);
	memcpy(mem + 0x1000, code, sizeof(code));
	slot.userspace_addr = (unsigned long)mem;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot)) {
		perror("memory");
		return 1;
	}
	for (int i = 0; i < THREADS; i++)
		made += !pthread_create(&t[i], NULL, vcpu, (void *)(long)i);
	if (!forks())
		printf("forks failed\n");
	if (!raw_threads())
		printf("raw threads failed\n");
	for (int i = 0; i < made; i++)
		pthread_join(t[i], NULL);
	if (made != THREADS || good != THREADS) {
		printf("%d threads, %d good\n", made, good);
		return 1;
	}
	/* Many, one after the other: nothing of them stays. */
	for (int i = 0; i < 300; i++) {
		pthread_create(&t[0], NULL, (void *(*)(void *))atoi, "1");
		pthread_join(t[0], NULL);
	}
	printf("threads: ok\n");
	return 0;
}
