/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/signals.c - signals of the program on a thread that is in KVM_RUN.
 *
 * Whatever comes, the guest notices nothing, KVM_RUN returns -EINTR, and the program's
 * handler gets what was sent.
 */
/* Run: build/standin run -- build/tests/guest/guest_signals [NAME...] */
#include <linux/perf_event.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
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
	_Atomic u32 stay;	/* it is there until this is 0 again */
};

static void *runner_thread(void *arg)
{
	struct runner *r = arg;

	if (r->prepare)
		r->prepare();
	r->tid = (pid_t)syscall(SYS_gettid);
	r->stop = run(r->g);
	while (r->stay)
		usleep(500);
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
T(sent_faults, "a sent SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGTRAP is no exception of the guest")
{
	static const int sigs[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGUSR1 };
	static const int codes[] = { SI_QUEUE, SI_TKILL, SI_TIMER, SI_ASYNCIO };
	struct guest *g = guest_with(M_LONG, faulty);
	struct stop s;

	WITH_REGS(cpu0(g), r) {
		r.rsi = G_WINDOW;
		r.rdi = 0x7f0000000000;
	}
	s = RUN_EXC(g, 14, -1);
	cpu_resume(cpu0(g), &s, s.rip + 3);
	s = RUN_TO(g, ST_OUT);
	s = RUN_EXC(g, 0, -1);
	cpu_resume(cpu0(g), &s, s.rip + 2);
	s = RUN_TO(g, ST_OUT);
	s = RUN_EXC(g, 6, -1);
	cpu_resume(cpu0(g), &s, s.rip + 2);
	for (u32 i = 0; i < ARRAY_SIZE(sigs); i++)
		for (u32 k = 0; k < ARRAY_SIZE(codes); k++)
			ends_the_run(g, sigs[i], codes[k], g->ram + G_WINDOW);
	guest_free(g);
}

/* The kernel's own news about the program's performance events has a code above 0 too. */
T(perf_trap, "a SIGTRAP of a performance event is the program's")
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr),
		.config = PERF_COUNT_SW_TASK_CLOCK, .sample_period = 20000000,
		.sigtrap = 1, .remove_on_exec = 1, .exclude_kernel = 1, .exclude_hv = 1,
	};
	struct guest *g = guest_with(M_LONG, spin);
	int fd;

	WITH_REGS(cpu0(g), r) {
		r.rsi = G_WINDOW;
	}
	catch(SIGTRAP, 0);
	fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	if (fd < 0)
		test_skip("perf_event_open: %s", strerror(errno));
	RUN_TO(g, ST_INTR);
	CHECK(seen);
	CHECK_EQ(last.si_code, 6);	/* TRAP_PERF */
	close(fd);
	guest_free(g);
}

/* -- the handler runs when KVM_RUN has returned -- */

CODE64(halted, "1: sti\n hlt\n jmp 1b\n");

static struct guest *spinning(void)
{
	struct guest *g = guest_with(M_LONG, spin);

	WITH_REGS(cpu0(g), r) {
		r.rsi = G_WINDOW;
	}
	return g;
}

/* An in-kernel APIC: HLT sleeps inside KVM_RUN. */
static struct guest *sleeping(void)
{
	struct guest *g = guest_new_flags(M_LONG, GUEST_IRQCHIP);

	guest_load(g, G_CODE, halted);
	return g;
}

static void in_us(u32 first, u32 again)
{
	struct itimerval t = { { 0, (suseconds_t)again }, { 0, (suseconds_t)first } };

	setitimer(ITIMER_REAL, &t, NULL);
}

static struct guest_cpu *asked;
static struct kvm_regs answer;
static int answered;

static void asks(int sig)
{
	(void)sig;
	seen++;
	answered = ioctl(asked->fd, KVM_GET_REGS, &answer) ? errno : -1;
}

static void asks_in(struct guest *g)
{
	struct sigaction a = { .sa_handler = asks };
	struct stop s;

	asked = cpu0(g);
	seen = 0;
	sigaction(SIGALRM, &a, NULL);
	in_us(20000, 0);
	s = RUN_TO(g, ST_INTR);
	CHECK_EQ(cpu0(g)->run->exit_reason, KVM_EXIT_INTR);
	CHECK_EQ(seen, 1);
	CHECK_EQ(answered, -1);
	/* What the handler saw is what there is. */
	CHECK_EQ(answer.rip, s.r.rip);
	CHECK_EQ(answer.rflags, s.r.rflags);
	guest_free(g);
}

T(handler_ioctl, "a handler may use the vCPU whose KVM_RUN it has ended")
{
	asks_in(spinning());
	asks_in(sleeping());
}

static sigjmp_buf out;

static void jumps(int sig)
{
	siglongjmp(out, sig);
}

T(handler_jumps, "a handler that jumps away leaves a vCPU that can be used")
{
	struct guest *both[2] = { spinning(), sleeping() };
	struct sigaction a = { .sa_handler = jumps };
	struct kvm_regs r;
	volatile int jumped = 0;

	sigaction(SIGALRM, &a, NULL);
	for (volatile int i = 0; i < 50; i++) {
		struct guest_cpu *c = cpu0(both[i % 2]);

		if (sigsetjmp(out, 1)) {
			jumped++;
		} else {
			in_us(2000, 0);
			ioctl(c->fd, KVM_RUN, 0);
			test_die("KVM_RUN has returned");
		}
		vcpu_ioctl(c, KVM_GET_REGS, &r, "KVM_GET_REGS");
	}
	CHECK_EQ(jumped, 50);
	catch(SIGALRM, 0);
	in_us(2000, 0);
	CHECK_EQ(run(both[0]).kind, ST_INTR);
	CHECK_EQ(seen, 1);
	guest_free(both[0]);
	guest_free(both[1]);
}

static sem_t entered, go;

static void waits(int sig)
{
	(void)sig;
	sem_post(&entered);
	while (sem_wait(&go) && errno == EINTR)
		;
}

static void waits_in(struct guest *g)
{
	struct sigaction a = { .sa_handler = waits };
	struct kvm_userspace_memory_region slot = {
		.slot = 7, .guest_phys_addr = 1ull << 32, .memory_size = 4096,
		.userspace_addr = (uintptr_t)g->ram,
	};
	struct runner r = { .prepare = NULL };

	sem_init(&entered, 0, 0);
	sem_init(&go, 0, 0);
	sigaction(SIGUSR1, &a, NULL);
	runner_start(&r, g);
	pthread_kill(r.thread, SIGUSR1);
	while (sem_wait(&entered))
		;
	/* Needs every vCPU to have left its old map. */
	CHECK_EQ(ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &slot), 0);
	sem_post(&go);
	pthread_join(r.thread, NULL);
	CHECK_STOP(r.stop, ST_INTR);
	guest_free(g);
}

T(handler_waits, "a handler may wait for another thread that changes a slot")
{
	waits_in(spinning());
	waits_in(sleeping());
}

static struct guest *line_guest;

static void raises_a_line(int sig)
{
	struct kvm_irq_level l = { .irq = 5, .level = (u32)(seen++ & 1) };

	(void)sig;
	if (ioctl(line_guest->vm, KVM_IRQ_LINE, &l))
		test_die("KVM_IRQ_LINE");
}

/* Every request is a system call in KVM: a handler never meets a lock that its own thread holds. */
T(other_ioctls, "handlers do not run in the middle of other ioctls either")
{
	struct sigaction a = { .sa_handler = raises_a_line };

	line_guest = guest_new_flags(M_LONG, GUEST_IRQCHIP);
	sigaction(SIGALRM, &a, NULL);
	seen = 0;
	in_us(100, 100);
	for (int i = 0; i < 300000 || (seen < 200 && i < 3000000); i++) {
		struct kvm_irq_level l = { .irq = 6, .level = (u32)i & 1 };

		if (ioctl(line_guest->vm, KVM_IRQ_LINE, &l))
			test_die("KVM_IRQ_LINE");
	}
	in_us(0, 0);
	CHECK(seen > 10);
	guest_free(line_guest);
}

static int threads(void)
{
	char line[256];
	int n = -1;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "Threads: %d", &n);
	if (f)
		fclose(f);
	return n;
}

/* The VM has a thread for its timers: it is there for as long as anybody holds the VM. */
T(jump_storm, "handlers that jump away at any moment leave nothing behind")
{
	struct sigaction a = { .sa_handler = jumps };
	struct guest *g = guest_new_flags(M_LONG, GUEST_IRQCHIP);
	volatile int jumped = 0;
	volatile u32 i = 0;

	CHECK_EQ(threads(), 2);
	sigaction(SIGALRM, &a, NULL);
	sigsetjmp(out, 1);
	if (!jumped++)
		in_us(50, 50);
	while (jumped < 8000 && i++ < 30000000) {
		struct kvm_irq_level l = { .irq = 6, .level = i & 1 };

		ioctl(g->vm, KVM_IRQ_LINE, &l);
	}
	in_us(0, 0);
	signal(SIGALRM, SIG_IGN);
	CHECK(jumped > 100);
	guest_free(g);
	for (int k = 0; k < 100 && threads() != 1; k++)
		usleep(10000);
	CHECK_EQ(threads(), 1);
}

/* -- what the handler gets -- */

enum { QUEUED = 16 };
static int order[QUEUED + 8], ordered;

static void in_order(int sig, siginfo_t *info, void *uc)
{
	(void)sig;
	(void)uc;
	if (ordered < (int)ARRAY_SIZE(order))
		order[ordered++] = info->si_value.sival_int;
}

/* It has ended, and all signals of the burst have come as they were sent. */
static void all_in_order(struct runner *r)
{
	pthread_join(r->thread, NULL);
	CHECK_STOP(r->stop, ST_INTR);
	CHECK_EQ(ordered, QUEUED);
	for (int i = 0; i < ordered; i++)
		CHECK_EQ(order[i], i);
}

/* signal(7): real-time signals are delivered in the order in which they were sent. */
T(queue_order, "queued real-time signals keep their order and their values")
{
	struct sigaction a = { .sa_sigaction = in_order, .sa_flags = SA_SIGINFO };
	struct guest *both[2] = { spinning(), sleeping() };

	sigaction(SIGRTMIN + 3, &a, NULL);
	for (int k = 0; k < 20; k++) {
		struct runner r = { .stay = 1 };

		ordered = 0;
		runner_start(&r, both[k % 2]);
		for (long i = 0; i < QUEUED; i++)
			send(&r, SIGRTMIN + 3, SI_QUEUE, (void *)i);
		r.stay = 0;
		all_in_order(&r);
	}
	guest_free(both[0]);
	guest_free(both[1]);
}

static bool is_blocked(int sig)
{
	sigset_t now;

	pthread_sigmask(SIG_SETMASK, NULL, &now);
	return sigismember(&now, sig);
}

static bool blocked_in[3], leave_blocked;

static void looks(int sig, siginfo_t *info, void *uc)
{
	(void)sig;
	(void)info;
	seen++;
	blocked_in[0] = is_blocked(SIGALRM);
	blocked_in[1] = is_blocked(SIGUSR2);
	blocked_in[2] = is_blocked(SIGHUP);
	if (leave_blocked)
		sigaddset(&((ucontext_t *)uc)->uc_sigmask, SIGHUP);
}

static void mask_case(struct guest *g, int flags, bool leave)
{
	struct sigaction a = { .sa_sigaction = looks, .sa_flags = SA_SIGINFO | flags };
	sigset_t hup;

	sigaddset(&a.sa_mask, SIGUSR2);
	sigaction(SIGALRM, &a, NULL);
	seen = 0;
	leave_blocked = leave;
	in_us(5000, 0);
	CHECK_EQ(run(g).kind, ST_INTR);
	CHECK_EQ(seen, 1);
	CHECK_EQ(blocked_in[0], !(flags & SA_NODEFER));
	CHECK_EQ(blocked_in[1], true);
	CHECK_EQ(blocked_in[2], false);
	CHECK_EQ(is_blocked(SIGALRM), false);
	CHECK_EQ(is_blocked(SIGUSR2), false);
	CHECK_EQ(is_blocked(SIGHUP), leave);
	sigemptyset(&hup);
	sigaddset(&hup, SIGHUP);
	pthread_sigmask(SIG_UNBLOCK, &hup, NULL);
}

T(handler_mask, "a handler runs with sa_mask, and returns to the mask in its context")
{
	struct guest *g = spinning();

	mask_case(g, 0, false);
	mask_case(g, (int)SA_NODEFER, false);
	mask_case(g, 0, true);
	mask_case(g, SA_RESTART, false);
	guest_free(g);
}

static int depth, deepest, count[2];

static void nests(int sig)
{
	if (++depth > deepest)
		deepest = depth;
	count[sig == SIGUSR2]++;
	usleep(1000);
	depth--;
}

T(two_signals, "two signals at once: both handlers run, once each")
{
	struct sigaction a = { .sa_handler = nests };
	struct guest *g = spinning();

	sigaddset(&a.sa_mask, SIGUSR1);
	sigaddset(&a.sa_mask, SIGUSR2);
	sigaction(SIGUSR1, &a, NULL);
	sigaction(SIGUSR2, &a, NULL);
	for (int i = 1; i <= 20; i++) {
		struct runner r = { .stay = 1 };

		runner_start(&r, g);
		pthread_kill(r.thread, SIGUSR1);
		pthread_kill(r.thread, SIGUSR2);
		r.stay = 0;
		pthread_join(r.thread, NULL);
		CHECK_STOP(r.stop, ST_INTR);
		CHECK_EQ(count[0], i);
		CHECK_EQ(count[1], i);
	}
	CHECK_EQ(deepest, 1);
	guest_free(g);
}

static u8 *alt_stack;
enum { ALT = 64 << 10 };
static volatile int on_alt, alt_now;

static void where(int sig)
{
	stack_t s;
	u8 here;

	(void)sig;
	seen++;
	on_alt = &here >= alt_stack && &here < alt_stack + ALT;
	sigaltstack(NULL, &s);
	alt_now = s.ss_flags;
}

static void stack_case(struct guest *g, int flags, int ss_flags, int alt_then)
{
	struct sigaction a = { .sa_handler = where, .sa_flags = flags };
	stack_t s = { .ss_sp = alt_stack, .ss_size = ALT, .ss_flags = ss_flags }, after;

	if (sigaltstack(&s, NULL))
		test_die("sigaltstack");
	sigaction(SIGALRM, &a, NULL);
	seen = 0;
	in_us(5000, 0);
	CHECK_EQ(run(g).kind, ST_INTR);
	CHECK_EQ(seen, 1);
	CHECK_EQ(on_alt, !!(flags & SA_ONSTACK));
	CHECK_EQ(alt_now, alt_then);
	sigaltstack(NULL, &after);
	CHECK_EQ(after.ss_flags, ss_flags);
	CHECK(after.ss_sp == alt_stack);
}

T(alternate_stack, "SA_ONSTACK: the handler runs on the alternate stack, others do not")
{
	struct guest *g = spinning();
	int autodisarm = (int)(1u << 31);

	alt_stack = malloc(ALT);
	stack_case(g, 0, 0, 0);
	stack_case(g, SA_ONSTACK, 0, SS_ONSTACK);
	stack_case(g, SA_ONSTACK, autodisarm, SS_DISABLE);
	guest_free(g);
}

static void elsewhere(void)
{
	_exit(42);
}

static void redirects(int sig, siginfo_t *info, void *uc)
{
	greg_t *g = ((ucontext_t *)uc)->uc_mcontext.gregs;

	(void)sig;
	(void)info;
	g[REG_RIP] = (greg_t)(uintptr_t)elsewhere;
	g[REG_RSP] = (g[REG_RSP] & ~(greg_t)15) - 8;
}

/* The end of a child that runs fn: its wait status. */
static int child(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		fn();
		_exit(1);
	}
	waitpid(pid, &status, 0);
	return status;
}

static void redirected(void)
{
	struct sigaction a = { .sa_sigaction = redirects, .sa_flags = SA_SIGINFO };
	struct guest *g = spinning();

	sigaction(SIGALRM, &a, NULL);
	in_us(5000, 0);
	run(g);
}

T(context, "a handler that changes RIP in its context returns to there")
{
	int s = child(redirected);

	CHECK(WIFEXITED(s));
	CHECK_EQ(WEXITSTATUS(s), 42);
}

static void reset_once(void)
{
	struct guest *g = spinning();

	catch(SIGALRM, (int)SA_RESETHAND);
	in_us(5000, 0);
	if (run(g).kind != ST_INTR || seen != 1)
		_exit(2);
	in_us(5000, 0);
	run(g);
}

T(reset, "SA_RESETHAND: once, and then the default action")
{
	int s = child(reset_once);

	CHECK(WIFSIGNALED(s));
	CHECK_EQ(WTERMSIG(s), SIGALRM);
}

/* -- default actions -- */

static void runs_for_ever(void)
{
	struct guest *g = spinning();

	run(g);
}

T(default_actions, "SIGTERM ends the program, SIGSTOP stops it, SIGCONT lets it go on")
{
	struct guest *g = spinning();
	pid_t pid = fork();
	int s;

	guest_free(g);
	if (!pid) {
		runs_for_ever();
		runs_for_ever();	/* SIGCONT may have ended the first, as in KVM */
		runs_for_ever();
		_exit(1);
	}
	usleep(300000);
	kill(pid, SIGSTOP);
	CHECK_EQ(waitpid(pid, &s, WUNTRACED), pid);
	CHECK(WIFSTOPPED(s));
	kill(pid, SIGCONT);
	usleep(50000);
	kill(pid, SIGTERM);
	CHECK_EQ(waitpid(pid, &s, 0), pid);
	CHECK(WIFSIGNALED(s));
	CHECK_EQ(WTERMSIG(s), SIGTERM);
}

/* -- KVM_SET_SIGNAL_MASK -- */

static void set_kvm_mask(struct guest_cpu *c, u64 mask)
{
	struct {	/* struct kvm_signal_mask */
		u32 len;
		u64 set;
	} __attribute__((packed)) m = { .len = 8, .set = mask };

	vcpu_ioctl(c, KVM_SET_SIGNAL_MASK, &m, "KVM_SET_SIGNAL_MASK");
}

static void block_rt(void)
{
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, SIGRTMIN + 4);
	pthread_sigmask(SIG_BLOCK, &s, NULL);
}

static void *collects(void *arg)
{
	struct runner *r = arg;
	const struct timespec soon = { .tv_nsec = 300000000 };
	siginfo_t info;
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, SIGRTMIN + 4);
	runner_thread(r);
	usleep(100000);
	while (sigtimedwait(&s, &info, &soon) > 0)
		in_order(0, &info, NULL);
	return NULL;
}

/* KVM: kvm_run's mask opens it, the thread's own leaves it pending. */
T(mask_pending, "signals that only KVM_RUN's mask opens stay pending, in their order")
{
	struct guest *both[2] = { spinning(), sleeping() };

	for (int k = 0; k < 4; k++) {
		struct guest *g = both[k % 2];
		struct runner r = { .g = g, .prepare = block_rt };

		set_kvm_mask(cpu0(g), 0);
		ordered = 0;
		CHECK_EQ(pthread_create(&r.thread, NULL, collects, &r), 0);
		while (!r.tid)
			usleep(100);
		usleep(20000);
		for (long i = 0; i < QUEUED; i++)
			send(&r, SIGRTMIN + 4, SI_QUEUE, (void *)i);
		all_in_order(&r);
	}
	guest_free(both[0]);
	guest_free(both[1]);
}

T(mask_handler, "a signal that both masks leave open: its handler sees the thread's own mask")
{
	struct guest *g = spinning();

	/* KVM_RUN's blocks SIGUSR2 and SIGHUP. */
	set_kvm_mask(cpu0(g), 1ull << (SIGUSR2 - 1) | 1ull << (SIGHUP - 1));
	mask_case(g, 0, false);
	mask_case(g, (int)SA_NODEFER, false);
	guest_free(g);
}

/* -- no signal is lost, however it falls -- */

static _Atomic u32 rounds;
static _Atomic bool over;

static void *enters(void *arg)
{
	struct runner *r = arg;
	struct guest_cpu *c = cpu0(r->g);

	r->tid = (pid_t)syscall(SYS_gettid);
	while (!over) {
		/* Sent before KVM_RUN it is KVM's caller's to notice: immediate_exit. */
		if (ioctl(c->fd, KVM_RUN, 0) == -1 && errno == EINTR) {
			c->run->immediate_exit = 0;
			atomic_fetch_add(&rounds, 1);
		}
	}
	return NULL;
}

static struct kvm_run *leaving;

static void leaves(int sig)
{
	(void)sig;
	leaving->immediate_exit = 1;
}

static void storm(struct guest *g, u32 n)
{
	struct sigaction a = { .sa_handler = leaves };
	struct runner r = { .g = g };
	u32 random = 12345;

	leaving = cpu0(g)->run;
	sigaction(SIGUSR1, &a, NULL);
	over = false;
	rounds = 0;
	CHECK_EQ(pthread_create(&r.thread, NULL, enters, &r), 0);
	while (!r.tid)
		usleep(100);
	for (u32 i = 0; i < n; i++) {
		u32 before = rounds, waited = 0;

		random = random * 1103515245 + 12345;
		for (volatile u32 k = random >> 16 & 0x3ff; k; k--)
			;
		pthread_kill(r.thread, SIGUSR1);
		while (rounds == before && waited++ < 40000)
			usleep(50);
		if (rounds == before) {
			test_fail(__FILE__, __LINE__, "signal %u was lost", i);
			break;
		}
	}
	over = true;
	pthread_kill(r.thread, SIGUSR1);
	pthread_join(r.thread, NULL);
	guest_free(g);
}

T(no_lost_signals, "a signal at any moment ends KVM_RUN, spinning or halted")
{
	storm(spinning(), 4000);
	storm(sleeping(), 4000);
}

CODE64(counts, "1: dec %rcx\n jnz 1b\n" DONE);

T(alarm_storm, "a guest gets on under a storm of alarms")
{
	struct guest *g = guest_with(M_LONG, counts);
	struct stop s;
	int interrupted = 0;

	WITH_REGS(cpu0(g), r) {
		r.rcx = 300000000;
	}
	catch(SIGALRM, SA_RESTART);
	in_us(200, 200);
	for (;;) {
		s = run(g);
		if (s.kind != ST_INTR)
			break;
		interrupted++;
	}
	in_us(0, 0);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rcx, 0);
	CHECK(interrupted > 10);
	guest_free(g);
}
