/* SPDX-License-Identifier: MIT */
/*
 * tests/door/hot.c - KVM_RUN from system call instructions that the second door rewrites
 * (door/hot.c): what a program could notice.
 *
 *	hot [times RUNS]	how long KVM_RUN takes, where it is rewritten and where not
 */
/* Run: tests/door/run build/standin-door tests/door quick */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum { MANY = 400 };

/*
 * any_site(nr, a, b, c): any call, as Go's runtime makes them; its SYSCALL can be rewritten.
 * mov_site(fd, cmd, arg): as compilers do it; either its SYSCALL (PIE) or its MOV (no PIE) can.
 * odd_site(fd, cmd, arg): neither can, by alignment.
 * sham_site(fd, cmd, arg): what is in front of SYSCALL only looks like "mov $16, %eax".
 * runs(fd, in, out): a site with all registers loaded from in, and stored to out.
 */
__asm__(".text\n"
	"	.p2align 6\n"
	"any_site:\n"
	"	mov %rdi, %rax\n"
	"	mov %rsi, %rdi\n"
	"	mov %rdx, %rsi\n"
	"	mov %rcx, %rdx\n"
	"	.p2align 3\n"
	"any_call:\n"
	"	syscall\n"
	"	cmp $0xfffffffffffff001, %rax\n"
	"	ret\n"
	"	.skip 64, 0x90\n"
	"	.p2align 6\n"
	"	.skip 63, 0x90\n"
	"	xor %ecx, %ecx\n"
	"mov_site:\n"
	"	.p2align 3\n"
	"mov_call:\n"
	"	mov $16, %eax\n"
	"	syscall\n"
	"	movslq %eax, %rdi\n"
	"	mov %rdi, %rax\n"
	"	test %rax, %rax\n"
	"	ret\n"
	"	.skip 80, 0x90\n"
	"	.p2align 3\n"
	"odd_site:\n"
	"	nop\n"
	"	mov $16, %eax\n"
	"	nop\n"
	"odd_call:\n"
	"	syscall\n"
	"	movslq %eax, %rdi\n"
	"	mov %rdi, %rax\n"
	"	ret\n"
	"	.skip 80, 0x90\n"
	"	.p2align 3\n"
	"sham_site:\n"
	"	mov $16, %eax\n"
	"	nop\n"
	"	nop\n"
	"	movl $16, -0x48(%rsp)\n"
	"sham_call:\n"
	"	syscall\n"
	"	movslq %eax, %rdi\n"
	"	mov %rdi, %rax\n"
	"	test %rax, %rax\n"
	"	ret\n"
	"	.skip 80, 0x90\n"
	"	.p2align 6\n"
	"runs:\n"
	"	push %rbx\n"
	"	push %rbp\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	push %rdx\n"
	"	mov %rsi, %rax\n"
	"	mov 0(%rax), %rbx\n"
	"	mov 8(%rax), %rbp\n"
	"	mov 16(%rax), %r8\n"
	"	mov 24(%rax), %r9\n"
	"	mov 32(%rax), %r10\n"
	"	mov 40(%rax), %r12\n"
	"	mov 48(%rax), %r13\n"
	"	mov 56(%rax), %r14\n"
	"	mov 64(%rax), %r15\n"
	"	movdqu 128(%rax), %xmm0\n"
	"	movdqu 144(%rax), %xmm7\n"
	"	movdqu 160(%rax), %xmm15\n"
	"	fninit\n"
	"	fld1\n"
	"	fldcw 112(%rax)\n"
	"	ldmxcsr 104(%rax)\n"
	"	push 96(%rax)\n"
	"	mov $16, %eax\n"
	"	mov $0xae80, %esi\n"
	"	mov $0, %edx\n"
	"	popfq\n"
	"	.p2align 3\n"
	"runs_call:\n"
	"	syscall\n"
	"	cmovo %rax, %rax\n" /* 48 0f 40 c0: a distance of 1 GiB */
	"	pushfq\n"
	"	push %rcx\n"
	"	mov 16(%rsp), %rcx\n"
	"	mov %rbx, 0(%rcx)\n"
	"	mov %rbp, 8(%rcx)\n"
	"	mov %r8, 16(%rcx)\n"
	"	mov %r9, 24(%rcx)\n"
	"	mov %r10, 32(%rcx)\n"
	"	mov %r12, 40(%rcx)\n"
	"	mov %r13, 48(%rcx)\n"
	"	mov %r14, 56(%rcx)\n"
	"	mov %r15, 64(%rcx)\n"
	"	mov %rdi, 72(%rcx)\n"
	"	mov %rsi, 80(%rcx)\n"
	"	mov %rdx, 88(%rcx)\n"
	"	pop %rbx\n"
	"	mov %rbx, 120(%rcx)\n"
	"	pop 96(%rcx)\n"
	"	cld\n"
	"	stmxcsr 104(%rcx)\n"
	"	fnstcw 112(%rcx)\n"
	"	fstpt 176(%rcx)\n"
	"	movdqu %xmm0, 128(%rcx)\n"
	"	movdqu %xmm7, 144(%rcx)\n"
	"	movdqu %xmm15, 160(%rcx)\n"
	"	fninit\n"
	"	push $0x1f80\n"
	"	ldmxcsr (%rsp)\n"
	"	pop %rdx\n"
	"	pop %rdx\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbp\n"
	"	pop %rbx\n"
	"	ret\n");
long any_site(long nr, long a, long b, long c) __attribute__((visibility("hidden")));
long mov_site(long fd, long cmd, long arg) __attribute__((visibility("hidden")));
long odd_site(long fd, long cmd, long arg) __attribute__((visibility("hidden")));
long sham_site(long fd, long cmd, long arg) __attribute__((visibility("hidden")));
struct registers {
	uint64_t general[12];	/* rbx rbp r8 r9 r10 r12 r13 r14 r15 | rdi rsi rdx */
	uint64_t flags, mxcsr, cw, rcx;
	uint64_t xmm[6];
	uint8_t st0[16];
};
long runs(long fd, const struct registers *in, struct registers *out)
	__attribute__((visibility("hidden")));
extern const unsigned char any_call[] __attribute__((visibility("hidden"))),
	mov_call[] __attribute__((visibility("hidden"))),
	odd_call[] __attribute__((visibility("hidden"))),
	sham_call[] __attribute__((visibility("hidden"))),
	runs_call[] __attribute__((visibility("hidden")));

static int failures;

static void check(int ok, const char *what)
{
	if (ok)
		return;
	printf("not so: %s (errno %d)\n", what, errno);
	failures++;
}

static void need(int ok, const char *what)
{
	if (ok)
		return;
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

/* in %dx, %al; out %al, %dx; again */
static const unsigned char code[] = { 0xba, 0x10, 0x00, 0xec, 0xee, 0xeb, 0xfc };

struct guest {
	int sys, vm, cpu;
	struct kvm_run *run;
};

static struct guest start(void)
{
	struct kvm_userspace_memory_region slot = { .memory_size = 0x4000 };
	const char *node = getenv("STANDIN_NODE");
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };
	struct kvm_sregs sregs;
	struct guest g;
	void *mem = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	g.sys = open(node ? node : "/dev/kvm", O_RDWR | O_CLOEXEC);
	need(g.sys >= 0, "open");
	g.vm = ioctl(g.sys, KVM_CREATE_VM, 0);
	memcpy((char *)mem + 0x1000, code, sizeof(code));
	slot.userspace_addr = (uintptr_t)mem;
	need(!ioctl(g.vm, KVM_SET_USER_MEMORY_REGION, &slot), "slot");
	g.cpu = ioctl(g.vm, KVM_CREATE_VCPU, 0);
	g.run = mmap(NULL, (size_t)ioctl(g.sys, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
		     MAP_SHARED, g.cpu, 0);
	need(g.run != MAP_FAILED, "run");
	need(!ioctl(g.cpu, KVM_GET_SREGS, &sregs), "sregs");
	sregs.cs.base = sregs.cs.selector = 0;
	need(!ioctl(g.cpu, KVM_SET_SREGS, &sregs) && !ioctl(g.cpu, KVM_SET_REGS, &regs), "regs");
	return g;
}

static void end(struct guest *g)
{
	munmap(g->run, (size_t)ioctl(g->sys, KVM_GET_VCPU_MMAP_SIZE, 0));
	close(g->cpu);
	close(g->vm);
	close(g->sys);
}

static int any_run(const struct guest *g)
{
	return (int)any_site(SYS_ioctl, g->cpu, KVM_RUN, 0);
}

/* Alternately in and out of port 16. */
static int goes_on(const struct guest *g, int runs)
{
	for (int i = 0; i < runs; i++)
		if (any_run(g) || g->run->exit_reason != KVM_EXIT_IO || g->run->io.port != 16)
			return 0;
	return 1;
}

/* STANDIN_HOT=0: none is to be; the rest is the same. */
static int rewritten = 1;

static int is_jump(const unsigned char *at)
{
	return (at[0] == 0xe9) == rewritten;
}

/* -- the tests -- */

static void sites(const struct guest *g)
{
	int pie = (uintptr_t)any_call >> 32 != 0;

	for (int i = 0; i < MANY; i++) {
		check(!any_run(g), "KVM_RUN by any_site");
		check(!mov_site(g->cpu, KVM_RUN, 0), "KVM_RUN by mov_site");
		check(!odd_site(g->cpu, KVM_RUN, 0), "KVM_RUN by odd_site");
		check(!sham_site(g->cpu, KVM_RUN, 0), "KVM_RUN by sham_site");
	}
	check(is_jump(any_call), "any_site has become a jump");
	check(!memcmp(any_call + 2, "\x48\x3d\x01", 3), "but only its system call");
	check(is_jump(mov_call) || is_jump(mov_call + 5), "mov_site has become a jump");
	check(pie || is_jump(mov_call), "without PIE: its mov");
	check(!memcmp(odd_call - 6, "\xb8\x10\0\0\0\x90\x0f\x05", 8), "odd_site stays");
	check(!memcmp(sham_call - 8, "\xc7\x44\x24\xb8\x10\0\0\0\x0f\x05", 10), "sham_site stays");
	/* Other calls from there. */
	check(any_site(SYS_getpid, 0, 0, 0) == getpid(), "getpid() by any_site");
	check(any_site(SYS_ioctl, g->sys, KVM_GET_API_VERSION, 0) == 12,
	      "another ioctl by any_site");
	check(any_site(SYS_ioctl, -1, KVM_RUN, 0) == -EBADF, "KVM_RUN of no descriptor");
	check(any_site(SYS_ioctl, g->vm, KVM_RUN, 0) == -ENOTTY, "KVM_RUN of a VM");
	check(any_site(SYS_ioctl, 0, KVM_RUN, 0) < 0, "KVM_RUN of a file");
	check(any_site(SYS_ioctl, g->cpu, KVM_RUN, 1) == -EINVAL, "KVM_RUN with an argument");
	check(mov_site(g->sys, KVM_GET_API_VERSION, 0) == 12, "another ioctl by mov_site");
}

static void registers(const struct guest *g)
{
	struct registers in, out;

	for (unsigned i = 0; i < sizeof(in.general) / 8; i++)
		in.general[i] = 0x123456789abcdef0ull * (i + 3);
	for (unsigned i = 0; i < 6; i++)
		in.xmm[i] = 0xfedcba9876543210ull * (i + 5);
	in.mxcsr = 0x5fa0;		/* rounding, and a sticky bit */
	in.cw = 0x0e7f;
	for (int i = 0; i < MANY; i++) {
		in.flags = i % 2 ? 0x202 | 0x8d5 : 0x202 | 0x400;	/* all; or DF */
		memset(&out, 0, sizeof(out));
		check(!runs(g->cpu, &in, &out), "KVM_RUN with loaded registers");
		check(!memcmp(in.general, out.general, 72), "rbx, rbp, r8, r9, r10, r12 to r15");
		check(out.general[9] == (unsigned)g->cpu && out.general[10] == KVM_RUN &&
			      !out.general[11],
		      "rdi, rsi, rdx");
		check(out.flags == in.flags, "flags");
		check(out.rcx == (uintptr_t)runs_call + 2, "rcx");
		check((uint32_t)out.mxcsr == in.mxcsr && (uint16_t)out.cw == in.cw, "MXCSR, CW");
		check(!memcmp(in.xmm, out.xmm, sizeof(in.xmm)), "xmm0, xmm7, xmm15");
		check(out.st0[9] == 0x3f && out.st0[8] == 0xff && out.st0[7] == 0x80, "st0");
		if (failures)
			return;
	}
	check(is_jump(runs_call), "runs has become a jump");
}

static struct {
	volatile int count, outside;
	volatile uint64_t where;
} got;
static uint64_t stubs[2];

static void handler(int sig, siginfo_t *info, void *context)
{
	uint64_t rip = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];

	if (rip >> 38 == 0x554000000000 >> 38 || rip - stubs[0] < 64 || rip - stubs[1] < 64) {
		got.outside++;
		got.where = rip;
	}
	got.count++;
}

static uint64_t stub_of(const unsigned char *jump)
{
	int32_t rel;

	memcpy(&rel, jump + 1, 4);
	return (uint64_t)(uintptr_t)jump + 5 + (uint64_t)(int64_t)rel;
}

static pid_t runner;
enum { SENT = 3000 };

static void *send(void *arg)
{
	siginfo_t si = { .si_code = SI_QUEUE, .si_signo = SIGRTMIN + 3 };
	const struct timespec pause = { .tv_nsec = 20000 };

	for (int i = 0; i < SENT; i++) {
		si.si_value.sival_int = i;
		si.si_pid = getpid();
		while (syscall(SYS_rt_tgsigqueueinfo, getpid(), runner, SIGRTMIN + 3, &si))
			nanosleep(&pause, NULL);
		if (i % 3 == 0)
			nanosleep(&pause, NULL);
	}
	return NULL;
}

static void set_handler(int sig, int flags)
{
	struct sigaction a = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };

	sigaction(sig, &a, NULL);
}

/* None is lost, and what they interrupt is the program. */
static void signals(const struct guest *g)
{
	const struct itimerval every = { { 0, 300 }, { 0, 300 } }, none = { { 0, 0 }, { 0, 0 } };
	pthread_t sender;
	sigset_t now;
	int bad = 0, last, out = -1;
	time_t give_up = time(NULL) + 40;

	stubs[0] = stub_of(any_call);
	stubs[1] = stub_of(is_jump(mov_call) ? mov_call : mov_call + 5);
	runner = (pid_t)syscall(SYS_gettid);
	set_handler(SIGRTMIN + 3, 0);
	memset(&got, 0, sizeof(got));
	pthread_create(&sender, NULL, send, NULL);
	while (got.count < SENT && time(NULL) < give_up) {
		long r = got.count % 2 ? any_run(g) : mov_site(g->cpu, KVM_RUN, 0);

		bad += r && r != -EINTR;
		/* One that ends with a signal has not run. */
		if (r)
			continue;
		last = g->run->io.direction;
		bad += last == out;
		out = last;
	}
	pthread_join(sender, NULL);
	check(got.count == SENT, "all signals came");
	check(!got.outside, "they interrupt the program");
	check(!bad, "KVM_RUN goes on where it was");
	set_handler(SIGALRM, SA_RESTART);
	memset(&got, 0, sizeof(got));
	setitimer(ITIMER_REAL, &every, NULL);
	while (got.count < 2000 && time(NULL) < give_up)
		any_run(g);
	setitimer(ITIMER_REAL, &none, NULL);
	check(got.count >= 2000 && !got.outside, "timer");
	if (got.outside)
		printf("seen at %llx\n", (unsigned long long)got.where);
	sigemptyset(&now);
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	for (int sig = 1; sig < 64; sig++)
		check(sig == 32 || sig == 33 || sigismember(&now, sig) != 1,
		      "nothing stays blocked");
}

/* What the program blocks stays blocked, faults included. */
static void masks(const struct guest *g)
{
	sigset_t all, before, after, pending;

	set_handler(SIGRTMIN + 4, 0);
	memset(&got, 0, sizeof(got));
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	raise(SIGRTMIN + 4);
	check(goes_on(g, 200), "KVM_RUN with all signals blocked");
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	for (int sig = 1; sig < 64; sig++)
		check(sigismember(&before, sig) == sigismember(&after, sig), "what was blocked is");
	sigpending(&pending);
	check(sigismember(&pending, SIGRTMIN + 4) == 1 && !got.count, "it is pending");
	sigemptyset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	check(got.count == 1, "and comes when it may");
}

static volatile int steps;

static void stepper(int sig)
{
	steps++;
}

/* A program that steps through itself. */
static void stepped(const struct guest *g)
{
	long r, s;

	signal(SIGTRAP, stepper);
	for (int i = 0; i < 20; i++) {
		steps = 0;
		__asm__ volatile("pushfq\n orl $0x100, (%%rsp)\n popfq" ::: "memory", "cc");
		r = any_run(g);
		s = mov_site(g->cpu, KVM_RUN, 0);
		__asm__ volatile("pushfq\n andl $~0x100, (%%rsp)\n popfq" ::: "memory", "cc");
		check(!r && !s && steps > 10 && steps < 1000, "KVM_RUN in single steps");
	}
	check(goes_on(g, 100), "KVM_RUN after that");
}

static sigjmp_buf out;
static volatile int jumping;

static void jumper(int sig)
{
	if (jumping)
		siglongjmp(out, 1);
}

static void jumps(const struct guest *g)
{
	const struct itimerval every = { { 0, 500 }, { 0, 500 } }, none = { { 0, 0 }, { 0, 0 } };
	volatile int n = 0;

	signal(SIGALRM, jumper);
	setitimer(ITIMER_REAL, &every, NULL);
	while (n < 300) {
		if (!sigsetjmp(out, 1)) {
			jumping = 1;
			for (;;)
				any_run(g);
		}
		jumping = 0;
		n++;
	}
	setitimer(ITIMER_REAL, &none, NULL);
	check(goes_on(g, 4), "KVM_RUN after many jumps out of it");
}

static void *thread(void *arg)
{
	struct guest g = start();
	int ok = goes_on(&g, 300);

	end(&g);
	return ok ? arg : NULL;
}

static void threads(void)
{
	pthread_t t[8];
	void *r;

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 8; i++)
			need(!pthread_create(&t[i], NULL, thread, &failures), "a thread");
		for (int i = 0; i < 8; i++) {
			pthread_join(t[i], &r);
			check(r != NULL, "KVM_RUN in threads");
		}
	}
}

static int status_of(pid_t p)
{
	int status = -1;

	waitpid(p, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void processes(const struct guest *g)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_RUN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(f) / sizeof(f[0]), f };
	struct guest own;
	long p = any_site(SYS_fork, 0, 0, 0);

	if (!p)
		_exit(7);
	check(status_of((pid_t)p) == 7, "fork() by any_site");
	p = fork();
	if (!p) {
		/* The parent's vCPU. */
		int r = any_run(g) == odd_site(g->cpu, KVM_RUN, 0);

		own = start();
		_exit(r && goes_on(&own, 300) ? 8 : 1);
	}
	check(status_of((pid_t)p) == 8, "KVM_RUN in a child");
	p = fork();
	if (!p) {
		own = start();
		if (!goes_on(&own, 200))
			_exit(1);
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
			_exit(2);
		for (int i = 0; i < 200; i++)
			if (any_run(&own) != -EXDEV)
				_exit(3);
		_exit(9);
	}
	check(status_of((pid_t)p) == 9, "a filter that comes later");
	check(goes_on(g, 100), "KVM_RUN after that");
}

static double ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void times(const struct guest *g, int runs)
{
	double a = 0, b = 0, begin;

	goes_on(g, MANY);
	for (int i = 0; i < 20; i++) {
		begin = ns();
		goes_on(g, runs / 20);
		a += ns() - begin;
		begin = ns();
		for (int k = 0; k < runs / 20; k++)
			odd_site(g->cpu, KVM_RUN, 0);
		b += ns() - begin;
	}
	printf("%.0f ns a KVM_RUN, %.0f with a trap\n", a / runs, b / runs);
}

int main(int argc, char **argv)
{
	const char *hot = getenv("STANDIN_HOT");
	struct guest g = start();

	rewritten = !hot || *hot != '0';
	if (argc > 2) {
		times(&g, atoi(argv[2]));
		return 0;
	}
	sites(&g);
	if (!failures) {
		registers(&g);
		signals(&g);
		masks(&g);
		stepped(&g);
		jumps(&g);
		threads();
		processes(&g);
	}
	end(&g);
	if (!failures)
		printf("hot: ok\n");
	return failures != 0;
}
