/* SPDX-License-Identifier: MIT */
/*
 * tests/door/filters.c - programs that confine themselves with seccomp: what they allow works, what
 * they do not allow fails the way they chose, and the guest runs.
 *
 * Each case is a child: a filter of a kind (what happens to a call that is not in the list), set by
 * seccomp(2) or prctl(2), before the node is opened or after the first KVM_RUN, for the thread
 * or (TSYNC) for all. Without a node (argument "native") the guest is left out.
 */
/* Run: tests/door/run build/standin-door tests/door quick */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"

#ifndef SECCOMP_RET_KILL_PROCESS
#define SECCOMP_RET_KILL_PROCESS 0x80000000u
#endif
#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1
#endif

enum { ERRNO = 77 };
static int native;

/* -- the guest -- */
static const unsigned char code[] = { 0xe4, 0x10, 0xeb, 0xfc };	/* in $0x10, %al forever */

static int runs(void)
{
	for (int i = 0; i < 100 && !native; i++)
		if (ioctl(cpu, KVM_RUN, 0) || run->exit_reason != KVM_EXIT_IO)
			return 1;
	return 0;
}

/* -- the filter: what this program needs, and nothing else -- */
static const int allowed[] = {
	SYS_open, SYS_openat, SYS_ioctl, SYS_mmap, SYS_munmap, SYS_write, SYS_writev, SYS_exit,
	SYS_exit_group, SYS_close, SYS_rt_sigreturn, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_brk,
	SYS_futex, SYS_seccomp, SYS_prctl, SYS_madvise, SYS_newfstatat, SYS_fstat,
};

static int confine(unsigned int otherwise, int by_prctl, unsigned int flags)
{
	struct sock_filter f[64];
	unsigned short n = 0, count = sizeof(allowed) / sizeof(*allowed);
	struct sock_fprog prog = { .filter = f };

	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					      offsetof(struct seccomp_data, arch));
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					      offsetof(struct seccomp_data, nr));
	for (int i = 0; i < count; i++)
		f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i],
						      (unsigned char)(count - i), 0);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, otherwise);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	prog.len = n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return 1;
	if (by_prctl)
		return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) != 0;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog) != 0;
}

static volatile int trapped_nr, trapped_code, trapped_data;
static void *volatile trapped_at;

static void on_sigsys(int sig, siginfo_t *info, void *uc)
{
	trapped_nr = info->si_syscall;
	trapped_code = info->si_code;
	trapped_data = info->si_errno;
	trapped_at = info->si_call_addr;
}

/* Two calls that are not in the list: one that standin takes an interest in, and one that it does
 * not. 0: both failed as the kind of filter says. For kinds that kill: does not return. */
static int denied(unsigned int kind, int first)
{
	static const int nr[] = { SYS_readlink, SYS_getppid };
	long r;

	for (int i = 0; i < 2; i++) {
		int k = first ^ i;

		trapped_nr = -1;
		errno = 0;
		r = syscall(nr[k], "/proc/self/exe", NULL, 0);
		switch (kind & 0xffff0000) {
		case SECCOMP_RET_ERRNO:
			if (r != -1 || errno != ERRNO)
				return 10 + k;
			break;
		case SECCOMP_RET_TRAP:
			if (trapped_nr != nr[k] || trapped_code != SYS_SECCOMP ||
			    trapped_data != 5 || !trapped_at)
				return 20 + k;
			break;
		default:
			return 30 + k;
		}
	}
	return 0;
}

static unsigned int kind;
static int by_prctl, late, tsync, first;
static pthread_barrier_t barrier;

static void *other_thread(void *arg)
{
	pthread_barrier_wait(&barrier);
	/* With TSYNC the list is ours too; without, we may still do what we like. */
	pthread_barrier_wait(&barrier);
	if (tsync)
		return (void *)(long)(denied(kind, 0) ? 1 : 0);
	return (void *)(long)(syscall(SYS_getppid) <= 0);
}

static int one(void)
{
	struct sigaction a;
	void *result = NULL;
	pthread_t t;
	int threads = (kind & 0xffff0000) == SECCOMP_RET_ERRNO, r;

	memset(&a, 0, sizeof(a));
	a.sa_sigaction = on_sigsys;
	a.sa_flags = SA_SIGINFO;
	if ((kind & 0xffff0000) == SECCOMP_RET_TRAP)
		sigaction(SIGSYS, &a, NULL);
	if (threads) {
		pthread_barrier_init(&barrier, NULL, 2);
		pthread_create(&t, NULL, other_thread, NULL);
		pthread_barrier_wait(&barrier);
	}
	if (late && !native && (r = machine(code, sizeof(code))))
		return 40 + r;
	if (late && runs())
		return 50;
	if (prctl(PR_GET_SECCOMP) != 0)
		return 51;
	if (confine(kind, by_prctl, tsync ? SECCOMP_FILTER_FLAG_TSYNC : 0))
		return 52;
	if (prctl(PR_GET_SECCOMP) != 2)
		return 53;
	if (!late && !native && (r = machine(code, sizeof(code))))
		return 60 + r;
	if (runs())
		return 70;
	if (threads) {
		pthread_barrier_wait(&barrier);
		pthread_join(t, &result);
		if (result)
			return 80;
	}
	r = denied(kind, first);
	if (r)
		return r;
	return runs() ? 71 : 0;
}

/* A child without threads may end by a signal of its own. */
static int check(const char *name, unsigned int k)
{
	int kills = k == SECCOMP_RET_KILL_PROCESS || k == SECCOMP_RET_KILL_THREAD, status;
	pid_t p;

	kind = k;
	p = fork();
	if (!p) {
		const struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		alarm(30);
		_exit(one());
	}
	waitpid(p, &status, 0);
	if (kills ? WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS
		  : WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	printf("%s%s%s%s%s: ", name, by_prctl ? " prctl" : "", late ? " late" : "",
	       tsync ? " tsync" : "", first ? " uninteresting" : "");
	if (WIFSIGNALED(status))
		printf("signal %d\n", WTERMSIG(status));
	else
		printf("exit %d\n", WEXITSTATUS(status));
	return 1;
}

int main(int argc, char **argv)
{
	int bad = 0;

	native = argc > 1;
	setvbuf(stdout, NULL, _IONBF, 0);
	for (late = 0; late < 2; late++)
		for (by_prctl = 0; by_prctl < 2; by_prctl++)
			for (tsync = 0; tsync < 2 - by_prctl; tsync++)
				for (first = 0; first < 2; first++) {
					bad += check("errno", SECCOMP_RET_ERRNO | ERRNO);
					bad += check("trap", SECCOMP_RET_TRAP | 5);
					bad += check("kill thread", SECCOMP_RET_KILL_THREAD);
					bad += check("kill process", SECCOMP_RET_KILL_PROCESS);
				}
	if (bad)
		return 1;
	printf("filters: ok\n");
	return 0;
}
