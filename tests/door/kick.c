/* SPDX-License-Identifier: MIT */
/* tests/door/kick.c - signals that end KVM_RUN: handlers run when it has returned. */
/* Run: tests/door/run build/standin-door tests/door quick */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "machine.h"

static int failed;
static const unsigned char code[] = { 0xfe, 0xc3, 0xeb, 0xfc };	/* inc %bl; jmp */

#define IS(what, cond) \
	do { \
		if (!(cond)) { \
			printf("kick:%d: %s (errno %d)\n", __LINE__, what, errno); \
			failed = 1; \
		} \
	} while (0)

static volatile int alarms, usable;
static sigjmp_buf jump;
static volatile int jumping;

static void on_alarm(int sig)
{
	struct kvm_regs regs;

	alarms++;
	/* With KVM_RUN still going on, this would wait for itself. */
	usable = !ioctl(cpu, KVM_GET_REGS, &regs) && regs.rip >= 0x1000 && regs.rip < 0x1004;
	if (jumping)
		siglongjmp(jump, 1);
}

static void alarm_in(int us)
{
	struct itimerval t = { .it_value = { .tv_usec = us } };

	alarms = usable = 0;
	setitimer(ITIMER_REAL, &t, NULL);
}

static volatile int stop;
static pthread_t main_thread;

static void *kicker(void *arg)
{
	for (int i = 0; i < 3000; i++) {
		pthread_kill(main_thread, SIGUSR2);
		if (i % 64 == 0)
			usleep(100);
	}
	stop = 1;
	/* The last one may have come between two looks at `stop`. */
	for (int i = 0; i < 20 && stop == 1; i++) {
		usleep(10000);
		pthread_kill(main_thread, SIGUSR2);
	}
	return NULL;
}

static volatile int kicks;

static void on_kick(int sig)
{
	kicks++;
}

int main(void)
{
	struct {
		struct kvm_signal_mask m;
		unsigned long set;
	} mask = { .m.len = 8 };
	struct sigaction a;
	sigset_t set;
	siginfo_t info;
	struct timespec none = { 0, 0 };
	pthread_t t;
	int r;

	if ((r = machine(code, sizeof(code)))) {
		printf("machine %d: %s\n", r, strerror(errno));
		return 1;
	}
	memset(&a, 0, sizeof(a));
	a.sa_handler = on_alarm;
	a.sa_flags = SA_RESTART;	/* KVM_RUN never is */
	sigaction(SIGALRM, &a, NULL);
	alarm_in(50000);
	errno = 0;
	r = ioctl(cpu, KVM_RUN, 0);
	IS("ended by a signal", r < 0 && errno == EINTR && alarms == 1 && usable);
	IS("exit reason", run->exit_reason == KVM_EXIT_INTR);

	for (volatile int i = 0; i < 5; i++)
		if (!sigsetjmp(jump, 1)) {
			jumping = 1;
			alarm_in(20000);
			ioctl(cpu, KVM_RUN, 0);
			IS("left by siglongjmp", 0);
		}
	jumping = 0;
	IS("left by siglongjmp", usable);

	/* A signal that only KVM_RUN's mask lets through stays pending, whatever its action. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	IS("KVM_SET_SIGNAL_MASK", !ioctl(cpu, KVM_SET_SIGNAL_MASK, &mask));
	a.sa_handler = SIG_DFL;
	sigaction(SIGUSR1, &a, NULL);
	raise(SIGUSR1);
	r = ioctl(cpu, KVM_RUN, 0);
	IS("pending before", r < 0 && errno == EINTR);
	IS("is still", sigtimedwait(&set, &info, &none) == SIGUSR1);
	IS("and was one", sigtimedwait(&set, &info, &none) < 0);
	ioctl(cpu, KVM_SET_SIGNAL_MASK, NULL);

	run->immediate_exit = 1;
	IS("immediate_exit", ioctl(cpu, KVM_RUN, 0) < 0 && errno == EINTR);
	run->immediate_exit = 0;

	a.sa_handler = on_kick;
	sigaction(SIGUSR2, &a, NULL);
	main_thread = pthread_self();
	pthread_create(&t, NULL, kicker, NULL);
	while (!stop)
		if (ioctl(cpu, KVM_RUN, 0) >= 0 || errno != EINTR)
			failed = 1;
	stop = 2;
	pthread_join(t, NULL);
	IS("kicks", kicks > 10 && !failed);
	if (failed)
		return 1;
	printf("kick: ok\n");
	return 0;
}
