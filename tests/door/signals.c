/* SPDX-License-Identifier: MIT */
/* tests/door/signals.c - a program's own signals under the second door are as without it. */
/* Run: tests/door/run build/standin-door tests/door quick */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <poll.h>
#include <fcntl.h>

static int failed;
#define IS(what, cond) \
	do { \
		if (!(cond)) { \
			printf("%s:%d: %s\n", "signals", __LINE__, what); \
			failed = 1; \
		} \
	} while (0)

static volatile int count, on_stack;
static char alt[65536];
static __thread int own_tls = 77;
static volatile int tls_seen;

static void handler(int sig, siginfo_t *info, void *uc)
{
	char here;

	count++;
	on_stack = &here >= alt && &here < alt + sizeof(alt);
	tls_seen = own_tls;
	errno = 1234;
}

static void set(int sig, int flags)
{
	struct sigaction a;

	memset(&a, 0, sizeof(a));
	a.sa_sigaction = handler;
	a.sa_flags = SA_SIGINFO | flags;
	sigaction(sig, &a, NULL);
	count = 0;
}

static sigjmp_buf jump;
static volatile uintptr_t fault_at;

static void fault(int sig, siginfo_t *info, void *uc)
{
	fault_at = (uintptr_t)info->si_addr;
	siglongjmp(jump, 1);
}

static void skip_ud2(int sig, siginfo_t *info, void *uc)
{
	((ucontext_t *)uc)->uc_mcontext.gregs[16 /* REG_RIP */] += 2;
	count++;
}

static void faults(void)
{
	struct sigaction a, old;
	char *p = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(&a, 0, sizeof(a));
	a.sa_sigaction = fault;
	a.sa_flags = SA_SIGINFO;
	IS("sigaction", !sigaction(SIGSEGV, &a, &old));
	IS("SIGSEGV was the default", old.sa_handler == SIG_DFL);
	for (int i = 0; i < 3; i++)
		if (!sigsetjmp(jump, 1)) {
			p[5 + i] = 1;
			IS("no fault", 0);
		} else {
			IS("si_addr", fault_at == (uintptr_t)p + 5 + i);
		}
	IS("shown", !sigaction(SIGSEGV, NULL, &old) && old.sa_sigaction == fault);
	a.sa_sigaction = skip_ud2;
	sigaction(SIGILL, &a, NULL);
	count = 0;
	__asm__ volatile("ud2");
	IS("a changed RIP counts", count == 1);
	a.sa_handler = SIG_DFL;
	sigaction(SIGSEGV, &a, NULL);
	if (!fork()) {
		p[0] = 1;
		_exit(0);
	}
	int st;
	wait(&st);
	IS("a fault without handler kills", WIFSIGNALED(st) && WTERMSIG(st) == SIGSEGV);
}

static void stacks(void)
{
	stack_t s, old;

	memset(&s, 0, sizeof(s));
	IS("no signal stack", !sigaltstack(NULL, &old) && old.ss_flags == SS_DISABLE);
	s.ss_sp = alt;
	s.ss_size = sizeof(alt);
	IS("set", !sigaltstack(&s, NULL));
	IS("get", !sigaltstack(NULL, &old) && old.ss_sp == alt && old.ss_size == sizeof(alt) &&
			  !old.ss_flags);
	set(SIGUSR1, SA_ONSTACK);
	raise(SIGUSR1);
	IS("on the stack", count == 1 && on_stack);
	set(SIGUSR1, 0);
	raise(SIGUSR1);
	IS("not on it", count == 1 && !on_stack);
	IS("thread-local storage of the program's", tls_seen == 77);
	s.ss_flags = SS_DISABLE;
	sigaltstack(&s, NULL);
}

static void masks(void)
{
	sigset_t all, old, now;

	sigfillset(&all);
	set(SIGUSR1, 0);
	IS("block all", !sigprocmask(SIG_SETMASK, &all, &old));
	raise(SIGUSR1);
	IS("blocked", !count);
	/* Calls that come to standin, SIGSYS "blocked". */
	IS("open", open("/nonexistent", O_RDONLY) < 0 && errno == ENOENT);
	sigprocmask(SIG_SETMASK, NULL, &now);
	IS("SIGSYS seems blocked", sigismember(&now, SIGSYS) && sigismember(&now, SIGUSR1));
	sigpending(&now);
	IS("pending", sigismember(&now, SIGUSR1));
	sigprocmask(SIG_SETMASK, &old, NULL);
	IS("delivered", count == 1);
	sigprocmask(SIG_SETMASK, NULL, &now);
	IS("as before", !sigismember(&now, SIGSYS) && !sigismember(&now, SIGUSR1));
	/* sa_mask, and a handler under a temporary mask. */
	struct sigaction a;

	memset(&a, 0, sizeof(a));
	a.sa_sigaction = handler;
	sigfillset(&a.sa_mask);
	a.sa_flags = SA_SIGINFO;
	sigaction(SIGUSR2, &a, NULL);
	count = 0;
	raise(SIGUSR2);
	IS("with a full sa_mask", count == 1);
}

static void opening(int sig)
{
	count += open("/nonexistent", O_RDONLY) < 0;
}

static void suspended(void)
{
	struct itimerval t;
	struct sigaction a;
	sigset_t most;

	memset(&a, 0, sizeof(a));
	a.sa_handler = opening;
	sigfillset(&a.sa_mask);
	sigaction(SIGALRM, &a, NULL);
	memset(&t, 0, sizeof(t));
	t.it_value.tv_usec = 20000;
	count = 0;
	setitimer(ITIMER_REAL, &t, NULL);
	sigfillset(&most);
	sigdelset(&most, SIGALRM);
	sigsuspend(&most);
	IS("a handler under sigsuspend's mask can make calls", count == 1);
}

static volatile int handled, returned;

static void note(int sig)
{
	handled++;
}

static pthread_t opener;

/* Until open() has been interrupted. */
static void *interrupt(void *arg)
{
	while (!returned) {
		usleep(20000);
		pthread_kill(opener, SIGUSR1);
	}
	return NULL;
}

/* Signals first, then what it waits for. */
static void *let_open(void *arg)
{
	int fd;

	while (handled < 3) {
		usleep(20000);
		pthread_kill(opener, SIGUSR1);
	}
	fd = open("fifo", O_WRONLY);
	while (!returned)
		usleep(1000);
	close(fd);
	return NULL;
}

/* open() of a FIFO blocks: it is interrupted, or goes on, as the handler's flag says. */
static void interrupted(void)
{
	struct sigaction a;
	pthread_t other;
	int fd;

	opener = pthread_self();
	unlink("fifo");
	mkfifo("fifo", 0600);
	memset(&a, 0, sizeof(a));
	a.sa_handler = note;
	for (int restart = 0; restart < 2; restart++) {
		a.sa_flags = restart ? SA_RESTART : 0;
		sigaction(SIGUSR1, &a, NULL);
		handled = returned = 0;
		pthread_create(&other, NULL, restart ? let_open : interrupt, NULL);
		errno = 0;
		fd = open("fifo", O_RDONLY);
		returned = 1;
		if (restart)
			IS("restarted", fd >= 0 && handled >= 3);
		else
			IS("EINTR", fd < 0 && errno == EINTR && handled);
		pthread_join(other, NULL);
		close(fd);
	}
	unlink("fifo");
}

static void reset(void)
{
	struct sigaction old;

	set(SIGUSR1, SA_RESETHAND);
	raise(SIGUSR1);
	IS("once", count == 1 && !sigaction(SIGUSR1, NULL, &old) && old.sa_handler == SIG_DFL);
	IS("errors", sigaction(SIGKILL, &old, NULL) < 0 && errno == EINVAL);
	IS("errors", syscall(SYS_rt_sigaction, SIGUSR1, 1, NULL, 8) < 0 && errno == EFAULT);
	IS("errors", syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4) < 0 && errno == EINVAL);
	IS("errors", syscall(SYS_rt_sigprocmask, 7, &old, NULL, 8) < 0 && errno == EINVAL);
	IS("errors", syscall(SYS_open, 1, 0) < 0 && errno == EFAULT);
	IS("errors", syscall(SYS_execve, 1, 0, 0) < 0 && errno == EFAULT);
	IS("errors", syscall(SYS_clone3, 1, 8) < 0);
}

/* The registers that a system call keeps are kept by a trap, vector registers included. */
static void registers(void)
{
	long r;
	unsigned char in[32], out[32];

	for (int i = 0; i < 32; i++)
		in[i] = i * 3 + 1;
	__asm__ volatile("vmovdqu %2, %%ymm7\n mov $2, %%eax\n lea %3, %%rdi\n xor %%esi, %%esi\n"
			 "mov $0x1234567, %%r12\n syscall\n vmovdqu %%ymm7, %1\n"
			 "cmp $0x1234567, %%r12\n jne 1f\n jmp 2f\n 1: xor %%eax, %%eax\n 2:\n"
			 : "=&a"(r), "=m"(out) : "m"(in), "m"(*"/nonexistent")
			 : "rdi", "rsi", "rcx", "r11", "r12", "xmm7", "memory");
	IS("result", r == -ENOENT);
	IS("ymm", !memcmp(in, out, 32));
}

int main(void)
{
	registers();
	faults();
	stacks();
	masks();
	suspended();
	interrupted();
	reset();
	if (failed)
		return 1;
	printf("signals: ok\n");
	return 0;
}
