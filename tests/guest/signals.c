/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/signals.c - signals of the program on a thread that is in KVM_RUN.
 *
 * Whatever comes, the guest notices nothing, KVM_RUN returns -EINTR, and the program's
 * handler gets what was sent.
 */
#include <linux/perf_event.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"

CODE64(spin, "1: incq (%rsi)\n jmp 1b\n");
/* A #PF, a #DE and an #UD first: the thread has had faults of its own. */
CODE64(faulty, "mov (%rdi), %rax\n" STOP(1) "xor %ecx, %ecx\n div %ecx\n" STOP(2) "ud2\n"
	       "1: incq (%rsi)\n jmp 1b\n");

static volatile sig_atomic_t seen;
static siginfo_t last;

static void note(int sig, siginfo_t *info, void *uc)
{
	(void)sig;
	(void)uc;
	last = *info;
	seen++;
}

static void catch(int sig, int flags)
{
	struct sigaction a = { .sa_sigaction = note, .sa_flags = SA_SIGINFO | flags };

	if (sigaction(sig, &a, NULL))
		test_die("sigaction(%d)", sig);
	seen = 0;
}

/* KVM_RUN on a thread of its own. */
struct runner {
	pthread_t thread;
	struct guest *g;
	struct stop stop;
	_Atomic pid_t tid;
	void (*prepare)(void);	/* on the thread */
};

static void *runner_thread(void *arg)
{
	struct runner *r = arg;

	if (r->prepare)
		r->prepare();
	r->tid = (pid_t)syscall(SYS_gettid);
	r->stop = run(r->g);
	return NULL;
}

static void runner_start(struct runner *r, struct guest *g)
{
	r->g = g;
	if (pthread_create(&r->thread, NULL, runner_thread, r))
		test_die("pthread_create");
	while (!r->tid)
		usleep(100);
	usleep(10000);
}

/* From this thread to that one. */
static void send(struct runner *r, int sig, int code, void *p)
{
	siginfo_t info = { .si_signo = sig, .si_code = code };

	info.si_value.sival_ptr = p;
	if (code == SI_TKILL)
		CHECK_EQ(syscall(SYS_tgkill, getpid(), r->tid, sig), 0);
	else
		CHECK_EQ(syscall(SYS_rt_tgsigqueueinfo, getpid(), r->tid, sig, &info), 0);
}

/* The guest spins; the signal is the program's, and the guest goes on as if nothing had been. */
static void ends_the_run(struct guest *g, int sig, int code, void *p)
{
	u64 before = *g64(g, G_WINDOW);
	struct runner r = { .prepare = NULL };

	catch(sig, 0);
	memset(&last, 0, sizeof(last));
	runner_start(&r, g);
	send(&r, sig, code, p);
	pthread_join(r.thread, NULL);
	CHECK_STOP(r.stop, ST_INTR);
	CHECK_EQ(seen, 1);
	CHECK_EQ(last.si_signo, sig);
	CHECK_EQ(last.si_code, code);
	if (code != SI_TKILL)
		CHECK_EQ((u64)(uintptr_t)last.si_value.sival_ptr, (u64)(uintptr_t)p);
	CHECK(*g64(g, G_WINDOW) > before);
}

/* sigaction(2): an si_code of 0 or less was sent by somebody. */
TEST(sent_faults, "a sent SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGTRAP is no exception of the guest")
{
	static const int sigs[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGUSR1 };
	static const int codes[] = { SI_QUEUE, SI_TKILL, SI_TIMER, SI_ASYNCIO };
	struct guest *g = guest_with(M_LONG, faulty);
	struct stop s;

	WITH_REGS(cpu0(g), r) {
		r.rsi = G_WINDOW;
		r.rdi = 0x7f0000000000;
	}
	s = run(g);
	CHECK_EXC(s, 14, -1);
	cpu_resume(cpu0(g), &s, s.rip + 3);
	s = run(g);
	CHECK_STOP(s, ST_OUT);
	s = run(g);
	CHECK_EXC(s, 0, -1);
	cpu_resume(cpu0(g), &s, s.rip + 2);
	s = run(g);
	CHECK_STOP(s, ST_OUT);
	s = run(g);
	CHECK_EXC(s, 6, -1);
	cpu_resume(cpu0(g), &s, s.rip + 2);
	for (u32 i = 0; i < ARRAY_SIZE(sigs); i++)
		for (u32 k = 0; k < ARRAY_SIZE(codes); k++)
			ends_the_run(g, sigs[i], codes[k], g->ram + G_WINDOW);
	guest_free(g);
}

/* The kernel's own news about the program's performance events has a code above 0 too. */
TEST(perf_trap, "a SIGTRAP of a performance event is the program's")
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr),
		.config = PERF_COUNT_SW_TASK_CLOCK, .sample_period = 20000000,
		.sigtrap = 1, .remove_on_exec = 1, .exclude_kernel = 1, .exclude_hv = 1,
	};
	struct guest *g = guest_with(M_LONG, spin);
	struct stop s;
	int fd;

	WITH_REGS(cpu0(g), r) {
		r.rsi = G_WINDOW;
	}
	catch(SIGTRAP, 0);
	fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	if (fd < 0)
		test_skip("perf_event_open: %s", strerror(errno));
	s = run(g);
	CHECK_STOP(s, ST_INTR);
	CHECK(seen);
	CHECK_EQ(last.si_code, 6);	/* TRAP_PERF */
	close(fd);
	guest_free(g);
}
