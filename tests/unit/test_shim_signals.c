/* SPDX-License-Identifier: MIT */
/*
 * What a program may do with signals and with seccomp under the preload object. The guest's own
 * faults are signals too: it must not notice anything, and neither must the program.
 */
/* Run: build/standin run -- build/tests/unit/test_shim_signals [NAME...] */

#include "tests/unit/preload.h"
#include "tests/unit/unit.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MEMORY = 0x10000, CODE = 0x1000, RUN_BYTES = 3 * 4096, ALT_BYTES = 64 << 10 };

/*
 * Divides by zero, over and over: the handler of vector 0 at 0:0x1100 counts in %si, after 100 it
 * ends with HLT.
 *	again: xor %cx, %cx; div %cx; jmp again
 */
static const unsigned char divides[] = { 0x31, 0xc9, 0xf7, 0xf1, 0xeb, 0xfa };
/* inc %si; cmp $100, %si; je hlt; iret; hlt */
static const unsigned char handler0[] = { 0x46, 0x83, 0xfe, 0x64, 0x74, 0x01, 0xcf, 0xf4 };
static const unsigned char loop_forever[] = { 0xeb, 0xfe };

struct machine {
	int sys, vm, cpu;
	struct kvm_run *run;
	unsigned char *memory;
};

static void reset(struct machine *m)
{
	struct kvm_regs regs = { .rip = CODE, .rflags = 2, .rsp = 0x8000 };
	struct kvm_sregs s;

	assert_int_equal(ioctl(m->cpu, KVM_GET_SREGS, &s), 0);
	s.cs.base = s.cs.selector = 0;
	assert_int_equal(ioctl(m->cpu, KVM_SET_SREGS, &s), 0);
	assert_int_equal(ioctl(m->cpu, KVM_SET_REGS, &regs), 0);
}

static void machine_create(struct machine *m, const unsigned char *code, size_t n)
{
	struct kvm_userspace_memory_region slot = { .memory_size = MEMORY };

	m->sys = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	m->vm = ioctl(m->sys, KVM_CREATE_VM, 0);
	m->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(m->memory, MAP_FAILED);
	memcpy(m->memory + CODE, code, n);
	memcpy(m->memory + 0x1100, handler0, sizeof(handler0));
	memcpy(m->memory, "\x00\x11\x00\x00", 4);
	slot.userspace_addr = (uintptr_t)m->memory;
	assert_int_equal(ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &slot), 0);
	m->cpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	m->run = mmap(NULL, RUN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, m->cpu, 0);
	assert_ptr_not_equal(m->run, MAP_FAILED);
	reset(m);
}

static void machine_free(struct machine *m)
{
	munmap(m->run, RUN_BYTES);
	munmap(m->memory, MEMORY);
	close(m->cpu);
	close(m->vm);
	close(m->sys);
}

/* A hundred guest faults, each a SIGFPE of this thread. */
static bool faults_work(struct machine *m)
{
	struct kvm_regs regs;

	reset(m);
	if (ioctl(m->cpu, KVM_RUN, 0) || m->run->exit_reason != KVM_EXIT_HLT)
		return false;
	return !ioctl(m->cpu, KVM_GET_REGS, &regs) && regs.rsi == 100;
}

static volatile sig_atomic_t seen, on_alt;
static char *alt;

static void note(int sig)
{
	char here;

	seen++;
	on_alt = alt && &here >= alt && &here < alt + ALT_BYTES;
}

static void in_ms(long ms)
{
	struct itimerval t = { .it_value.tv_usec = ms * 1000 };

	setitimer(ITIMER_REAL, &t, NULL);
}

/* -- handlers -- */

/* QEMU asks so, before anything of KVM's. */
T(asking_for_seccomp_changes_nothing)
{
	assert_int_equal(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 1, NULL), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (void *)16), -1);
	assert_int_equal(errno, EFAULT);
}

T(sigaction_shows_the_programs_own)
{
	struct sigaction a = { .sa_handler = note, .sa_flags = SA_RESTART | SA_ONSTACK }, b;
	struct machine m;

	machine_create(&m, divides, sizeof(divides));
	sigaddset(&a.sa_mask, SIGUSR2);
	sigaddset(&a.sa_mask, SIGSEGV);
	for (int sig = 1; sig < 32; sig++) {
		if (sig == SIGKILL || sig == SIGSTOP)
			continue;
		assert_int_equal(sigaction(sig, &a, NULL), 0);
		assert_int_equal(sigaction(sig, NULL, &b), 0);
		assert_ptr_equal(b.sa_handler, note);
		assert_int_equal(b.sa_flags & (int)~0x4000000u, a.sa_flags);
		assert_int_equal(sigismember(&b.sa_mask, SIGUSR2), 1);
		assert_int_equal(sigismember(&b.sa_mask, SIGSEGV), 1);
		assert_true(faults_work(&m));
		assert_ptr_equal(signal(sig, SIG_DFL), note);
	}
	machine_free(&m);
}

T(a_handler_on_its_own_stack_ends_kvm_run)
{
	struct sigaction a = { .sa_handler = note, .sa_flags = SA_ONSTACK };
	stack_t s = { .ss_size = ALT_BYTES }, old;
	struct machine m;

	machine_create(&m, loop_forever, sizeof(loop_forever));
	alt = s.ss_sp = malloc(ALT_BYTES);
	assert_int_equal(sigaltstack(&s, &old), 0);
	assert_int_equal(sigaction(SIGALRM, &a, NULL), 0);
	seen = 0;
	in_ms(20);
	assert_int_equal(ioctl(m.cpu, KVM_RUN, 0), -1);
	assert_int_equal(errno, EINTR);
	assert_int_equal(seen, 1);
	assert_true(on_alt);
	/* Guest faults with an alternate stack in place. */
	memcpy(m.memory + CODE, divides, sizeof(divides));
	assert_true(faults_work(&m));
	s.ss_flags = SS_DISABLE;
	sigaltstack(&s, NULL);
	free(alt);
	alt = NULL;
	signal(SIGALRM, SIG_DFL);
	machine_free(&m);
}

T(an_ignored_signal_ends_nothing)
{
	struct sigaction a = { .sa_handler = note };
	struct timeval before, after;
	struct machine m;

	machine_create(&m, loop_forever, sizeof(loop_forever));
	signal(SIGVTALRM, SIG_IGN);
	sigaction(SIGALRM, &a, NULL);
	seen = 0;
	setitimer(ITIMER_VIRTUAL, &(struct itimerval){ { 0, 2000 }, { 0, 2000 } }, NULL);
	gettimeofday(&before, NULL);
	in_ms(50);
	assert_int_equal(ioctl(m.cpu, KVM_RUN, 0), -1);
	assert_int_equal(errno, EINTR);
	gettimeofday(&after, NULL);
	assert_int_equal(seen, 1);
	assert_in_range((after.tv_sec - before.tv_sec) * 1000000 + after.tv_usec - before.tv_usec,
			45000, 10000000);
	setitimer(ITIMER_VIRTUAL, &(struct itimerval){ 0 }, NULL);
	signal(SIGVTALRM, SIG_DFL);
	signal(SIGALRM, SIG_DFL);
	machine_free(&m);
}

T(faults_work_whatever_the_program_sets)
{
	static const int sigs[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	struct machine m;

	machine_create(&m, divides, sizeof(divides));
	for (int i = 0; i < 5; i++) {
		signal(sigs[i], SIG_IGN);
		assert_true(faults_work(&m));
		signal(sigs[i], SIG_DFL);
		assert_true(faults_work(&m));
		seen = 0;
		signal(sigs[i], note);
		assert_true(faults_work(&m));
		assert_int_equal(seen, 0);
		/* Sent by somebody: the program's. */
		raise(sigs[i]);
		assert_int_equal(seen, 1);
		signal(sigs[i], SIG_DFL);
	}
	machine_free(&m);
}

/* -- masks -- */

static void everything_blocked(struct machine *m)
{
	sigset_t all, old, now;

	sigfillset(&all);
	sigemptyset(&old);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &all, &old), 0);
	assert_true(faults_work(m));
	/* The program sees what it has asked for. */
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &now), 0);
	assert_int_equal(sigismember(&now, SIGFPE), 1);
	assert_int_equal(sigismember(&now, SIGUSR1), 1);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
	assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &now), 0);
	assert_int_equal(sigismember(&now, SIGFPE), 0);
	assert_int_equal(sigprocmask(SIG_BLOCK, &all, NULL), 0);
	assert_true(faults_work(m));
	assert_int_equal(sigprocmask(SIG_UNBLOCK, &all, &now), 0);
	assert_int_equal(sigismember(&now, SIGSEGV), 1);
	assert_int_equal(sigprocmask(SIG_SETMASK, &old, &now), 0);
	assert_int_equal(sigismember(&now, SIGSEGV), 0);
	assert_int_equal(pthread_sigmask(77, &all, NULL), EINVAL);
	errno = 0;
	assert_int_equal(sigprocmask(77, &all, NULL), -1);
	assert_int_equal(errno, EINVAL);
}

T(blocked_signals_do_not_kill_the_guest)
{
	struct machine m;

	machine_create(&m, divides, sizeof(divides));
	everything_blocked(&m);
	machine_free(&m);
}

static void *thread_that_inherits_a_full_mask(void *arg)
{
	return (void *)(intptr_t)faults_work(arg);
}

T(a_thread_started_with_everything_blocked)
{
	struct machine m;
	sigset_t all, old;
	pthread_t t;
	void *ok;

	machine_create(&m, divides, sizeof(divides));
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	assert_int_equal(pthread_create(&t, NULL, thread_that_inherits_a_full_mask, &m), 0);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_join(t, &ok);
	assert_true(ok != NULL);
	machine_free(&m);
}

/* KVM_SET_SIGNAL_MASK with everything: the guest's faults are none of the program's signals. */
T(a_full_kvm_signal_mask)
{
	struct {
		struct kvm_signal_mask h;
		unsigned char set[8];
	} mask = { .h.len = 8 };
	struct machine m;

	machine_create(&m, divides, sizeof(divides));
	memset(mask.h.sigset, 0xff, 8);
	assert_int_equal(ioctl(m.cpu, KVM_SET_SIGNAL_MASK, &mask), 0);
	assert_true(faults_work(&m));
	assert_int_equal(ioctl(m.cpu, KVM_SET_SIGNAL_MASK, NULL), 0);
	machine_free(&m);
}

/* -- seccomp -- */

/* Kills the process for what a confined VMM has no use for (the classes of QEMU's -sandbox). */
static int confine(void)
{
#define KILL(nr) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), \
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		KILL(SYS_fork), KILL(SYS_vfork), KILL(SYS_execve), KILL(SYS_execveat),
		KILL(SYS_ptrace), KILL(SYS_setuid), KILL(SYS_setgid), KILL(SYS_setpgid),
		KILL(SYS_setsid), KILL(SYS_setpriority), KILL(SYS_sched_setscheduler),
		KILL(SYS_sched_setaffinity), KILL(SYS_reboot), KILL(SYS_swapon), KILL(SYS_mount),
		KILL(SYS_init_module), KILL(SYS_acct), KILL(SYS_nfsservctl), KILL(SYS_ustat),
		KILL(SYS_userfaultfd), KILL(SYS_perf_event_open), KILL(SYS_bpf),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { sizeof(code) / sizeof(code[0]), code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p);
}

T(a_confined_program_runs_guests)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct kvm_pit_config pit = { 0 };
		struct machine m;
		int vm;

		if (confine())
			_exit(77);
		machine_create(&m, divides, sizeof(divides));
		vm = ioctl(m.sys, KVM_CREATE_VM, 0);
		if (ioctl(vm, KVM_CREATE_IRQCHIP, 0) || ioctl(vm, KVM_CREATE_PIT2, &pit))
			_exit(2);
		if (!faults_work(&m))
			_exit(1);
		machine_free(&m);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

T_START(argc, argv)
{
	needs_preload();
	return 0;
}
