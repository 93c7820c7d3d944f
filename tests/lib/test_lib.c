/* SPDX-License-Identifier: MIT */
/* tests/lib/test_lib.c - what include/standin.h promises, function by function. */
/* Run: build/tests/lib/test_lib [NAME...] */

#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <standin.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MEMORY = 0x10000, CODE = 0x1000 };

struct machine {
	int sys, vm, cpu;
	struct kvm_run *run;
	unsigned char *memory;
};

static const unsigned char loop_forever[] = { 0xeb, 0xfe };	/* jmp . */
static const unsigned char count_up[] = { 0xff, 0x06, 0x00, 0x20, 0xeb, 0xfa };	/* incw 0x2000 */
static const unsigned char out_al[] = { 0xe6, 0x10, 0xf4 };	/* out %al, $0x10; hlt */

static long request(int h, unsigned long nr, void *arg)
{
	return standin_ioctl_ptr(h, nr, arg);
}

static void machine_create(struct machine *m, const unsigned char *code, size_t n)
{
	struct kvm_userspace_memory_region slot = { .memory_size = MEMORY };
	struct kvm_regs regs = { .rip = CODE, .rflags = 2, .rax = 0x5a };
	struct kvm_sregs sregs;
	void *run;

	m->sys = standin_open(0);
	assert_true(m->sys >= 0);
	m->vm = (int)standin_ioctl(m->sys, KVM_CREATE_VM, 0);
	assert_true(m->vm >= 0);
	m->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(m->memory, MAP_FAILED);
	memcpy(m->memory + CODE, code, n);
	slot.userspace_addr = (uintptr_t)m->memory;
	assert_int_equal(request(m->vm, KVM_SET_USER_MEMORY_REGION, &slot), 0);
	m->cpu = (int)standin_ioctl(m->vm, KVM_CREATE_VCPU, 0);
	assert_true(m->cpu >= 0);
	assert_int_equal(standin_mmap(m->cpu, 3 * 4096, 0, &run), 0);
	m->run = run;
	assert_int_equal(request(m->cpu, KVM_GET_SREGS, &sregs), 0);
	sregs.cs.base = sregs.cs.selector = 0;
	assert_int_equal(request(m->cpu, KVM_SET_SREGS, &sregs), 0);
	assert_int_equal(request(m->cpu, KVM_SET_REGS, &regs), 0);
}

static void machine_free(struct machine *m)
{
	munmap(m->run, 3 * 4096);
	munmap(m->memory, MEMORY);
	assert_int_equal(standin_close(m->cpu), 0);
	assert_int_equal(standin_close(m->vm), 0);
	assert_int_equal(standin_close(m->sys), 0);
}

/* -- faults of the program -- */

#define IN_CHILD(expression) \
	do { \
		int status_; \
		pid_t pid_ = fork(); \
		assert_true(pid_ >= 0); \
		if (!pid_) \
			_exit((expression) ? 0 : 1); \
		assert_int_equal(waitpid(pid_, &status_, 0), pid_); \
		assert_int_equal(status_, 0); \
	} while (0)

static sigjmp_buf landing;

static void fault_at_16(void)
{
	volatile int *p = (void *)16;

	__asm__("" : "+r"(p));
	*p = 1;
}

static void on_fault(int sig, siginfo_t *info, void *uc)
{
	siglongjmp(landing, info->si_addr == (void *)16 ? 1 : 2);
}

static void on_fault_own(int sig, siginfo_t *info, void *uc)
{
	if (!standin_signal(sig, info, uc))
		on_fault(sig, info, uc);
}

/* A host fault of the program reaches the handler that it had set before. */
static bool fault_arrives(unsigned int flags)
{
	struct sigaction a = {
		.sa_sigaction = flags & STANDIN_OWN_SIGNALS ? on_fault_own : on_fault,
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};
	int sys, vm;

	sigaction(SIGSEGV, &a, NULL);
	sys = standin_open(flags);
	vm = (int)standin_ioctl(sys, KVM_CREATE_VM, 0);
	/* Ours: a bad argument. */
	if (standin_ioctl(vm, KVM_SET_USER_MEMORY_REGION, 16) != -EFAULT)
		return false;
	switch (sigsetjmp(landing, 1)) {
	case 0:
		fault_at_16();
		return false;
	case 1:
		return !standin_close(vm) && !standin_close(sys);
	default:
		return false;
	}
}

/* Run first: each child is a process that has not opened anything yet. */
T(faults_of_the_program_reach_its_own_handler)
{
	IN_CHILD(fault_arrives(0));
	IN_CHILD(fault_arrives(STANDIN_OWN_SIGNALS));
}

T(an_unhandled_fault_is_fatal_as_ever)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		standin_open(0);
		fault_at_16();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* -- errors -- */

T(unknown_flags_are_refused)
{
	assert_int_equal(standin_open(2), -EINVAL);
	assert_int_equal(standin_open(~0u), -EINVAL);
}

T(version_of_header_and_library_agree)
{
	assert_int_equal(standin_version(), STANDIN_VERSION_NUMBER);
}

T(what_is_no_handle_is_ebadf_and_stays_open)
{
	int fd = open("/dev/null", O_RDONLY), sys = standin_open(0);
	void *p;

	for (int i = 0; i < 3; i++) {
		const int bad[] = { -1, fd, 1 << 20 };

		assert_int_equal(standin_ioctl(bad[i], KVM_GET_API_VERSION, 0), -EBADF);
		assert_int_equal(standin_mmap(bad[i], 4096, 0, &p), -EBADF);
		assert_int_equal(standin_dup(bad[i]), -EBADF);
		assert_int_equal(standin_close(bad[i]), -EBADF);
	}
	assert_int_equal(close(fd), 0);
	assert_int_equal(standin_close(sys), 0);
	assert_int_equal(standin_close(sys), -EBADF);
	assert_int_equal(standin_ioctl(sys, KVM_GET_API_VERSION, 0), -EBADF);
}

static void on_segv(int sig, siginfo_t *info, void *uc)
{
	if (!standin_signal(sig, info, uc))
		_exit(99);
}

/* cmocka has put its own handler of SIGSEGV in front by now: the case in which a
 * program calls standin_signal(). */
T(requests_fail_as_in_kvm_and_leave_errno_alone)
{
	struct sigaction a = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };
	struct machine m;

	sigaction(SIGSEGV, &a, NULL);
	machine_create(&m, out_al, sizeof(out_al));
	errno = 77;
	assert_int_equal(standin_ioctl(m.sys, KVM_GET_API_VERSION, 1), -EINVAL);
	assert_int_equal(standin_ioctl(m.sys, KVM_RUN, 0), -EINVAL);
	assert_int_equal(standin_ioctl(m.vm, KVM_RUN, 0), -ENOTTY);
	assert_int_equal(standin_ioctl(m.cpu, KVM_CREATE_VM, 0), -EINVAL);
	assert_int_equal(standin_ioctl(m.vm, KVM_CREATE_VCPU, 0), -EEXIST);
	assert_int_equal(request(m.cpu, KVM_GET_REGS, (void *)8), -EFAULT);
	assert_int_equal(request(m.cpu, KVM_SET_REGS, (void *)-4096l), -EFAULT);
	assert_int_equal(errno, 77);
	machine_free(&m);
}

T(only_a_vcpu_can_be_mapped)
{
	struct machine m;
	void *p;

	machine_create(&m, out_al, sizeof(out_al));
	assert_int_equal(standin_mmap(m.sys, 4096, 0, &p), -EINVAL);
	assert_int_equal(standin_mmap(m.vm, 4096, 0, &p), -EINVAL);
	assert_int_equal(standin_mmap(m.cpu, 0, 0, &p), -EINVAL);
	assert_int_equal(standin_mmap(m.cpu, 4096, 1, &p), -EINVAL);
	assert_int_equal(standin_mmap(m.cpu, 4096, ~4095ull, &p), -EINVAL);
	machine_free(&m);
}

/* -- objects -- */

T(a_guest_runs_to_its_exits)
{
	struct machine m;

	machine_create(&m, out_al, sizeof(out_al));
	assert_int_equal(standin_ioctl(m.cpu, KVM_RUN, 0), 0);
	assert_int_equal(m.run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(m.run->io.port, 0x10);
	assert_int_equal(((unsigned char *)m.run)[m.run->io.data_offset], 0x5a);
	assert_int_equal(standin_ioctl(m.cpu, KVM_RUN, 0), 0);
	assert_int_equal(m.run->exit_reason, KVM_EXIT_HLT);
	machine_free(&m);
}

T(a_vm_lives_while_a_vcpu_or_a_dup_does)
{
	struct machine m;
	int dup;

	machine_create(&m, out_al, sizeof(out_al));
	dup = standin_dup(m.vm);
	assert_true(dup >= 0 && dup != m.vm);
	assert_int_equal(fcntl(dup, F_GETFD), FD_CLOEXEC);
	assert_int_equal(standin_close(m.vm), 0);
	assert_int_equal(standin_ioctl(dup, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS), 32764);
	m.vm = dup;
	assert_int_equal(standin_close(m.vm), 0);
	assert_int_equal(standin_ioctl(m.cpu, KVM_RUN, 0), 0);
	assert_int_equal(m.run->exit_reason, KVM_EXIT_IO);
	m.vm = standin_dup(m.cpu);
	machine_free(&m);
}

T(a_mapping_outlives_its_handle)
{
	struct machine m;

	machine_create(&m, out_al, sizeof(out_al));
	assert_int_equal(standin_ioctl(m.cpu, KVM_RUN, 0), 0);
	assert_int_equal(standin_close(m.cpu), 0);
	assert_int_equal(standin_close(m.vm), 0);
	assert_int_equal(m.run->io.port, 0x10);
	munmap(m.run, 3 * 4096);
	munmap(m.memory, MEMORY);
	assert_int_equal(standin_close(m.sys), 0);
}

/* The ring is the VM's: a write seen on one vCPU's page is on the other's too. */
T(the_coalesced_ring_is_one_for_all_vcpus)
{
	struct machine m;
	uint32_t *a, *b;
	void *p;
	int other;

	machine_create(&m, out_al, sizeof(out_al));
	other = (int)standin_ioctl(m.vm, KVM_CREATE_VCPU, 1);
	assert_true(other >= 0);
	a = (uint32_t *)(void *)((char *)m.run + 2 * 4096);
	assert_int_equal(standin_mmap(other, 3 * 4096, 0, &p), 0);
	b = (uint32_t *)(void *)((char *)p + 2 * 4096);
	a[5] = 0x12345;
	assert_int_equal(b[5], 0x12345);
	munmap(p, 3 * 4096);
	assert_int_equal(standin_close(other), 0);
	machine_free(&m);
}

/* -- fork -- */


T(machines_are_not_inherited)
{
	struct kvm_regs regs;
	struct machine m;

	machine_create(&m, out_al, sizeof(out_al));
	IN_CHILD(standin_ioctl(m.cpu, KVM_RUN, 0) == -EIO);
	IN_CHILD(request(m.cpu, KVM_GET_REGS, &regs) == -EIO);
	IN_CHILD(standin_ioctl(m.vm, KVM_CREATE_VCPU, 5) == -EIO);
	IN_CHILD(!standin_close(m.cpu) && !standin_close(m.vm) && !standin_close(m.sys));
	IN_CHILD(standin_open(0) >= 0);
	assert_int_equal(standin_ioctl(m.cpu, KVM_RUN, 0), 0);
	machine_free(&m);
}

/* -- signals -- */

static struct kvm_run *volatile alarm_run;

static void on_alarm(int sig)
{
	if (alarm_run)
		alarm_run->immediate_exit = 1;
	standin_interrupt();
}

/* TSan keeps a signal to itself until the thread calls something; guest code never does. */
#ifdef __SANITIZE_THREAD__
#define NEEDS_SIGNALS skip()
#else
#define NEEDS_SIGNALS ((void)0)
#endif

T(a_handler_ends_kvm_run)
{
	struct sigaction a = { .sa_handler = on_alarm };
	struct machine m;

	NEEDS_SIGNALS;
	machine_create(&m, loop_forever, sizeof(loop_forever));
	sigaction(SIGALRM, &a, NULL);
	/* Outside KVM_RUN it does nothing. */
	standin_interrupt();
	alarm_run = m.run;
	alarm(1);
	assert_int_equal(standin_ioctl(m.cpu, KVM_RUN, 0), -EINTR);
	alarm_run = NULL;
	machine_free(&m);
}

/* -- threads -- */

/* The guest counts, so its thread is inside KVM_RUN. */
static void wait_until_it_runs(struct machine *m)
{
	while (!*(volatile unsigned short *)(void *)(m->memory + 0x2000))
		usleep(1000);
}

static void *close_it(void *arg)
{
	struct machine *m = arg;

	wait_until_it_runs(m);
	standin_close(m->cpu);
	standin_close(m->vm);
	m->run->immediate_exit = 1;
	return NULL;
}

static void *run_it(void *arg)
{
	struct machine *m = arg;

	return (void *)standin_ioctl(m->cpu, KVM_RUN, 0);
}

/* Both handles closed while the vCPU runs: the machine goes when KVM_RUN is out. */
T(closing_a_running_machine_is_safe)
{
	struct sigaction a = { .sa_handler = on_alarm };
	pthread_t run, closer;
	struct machine m;
	void *result;

	NEEDS_SIGNALS;
	sigaction(SIGUSR1, &a, NULL);
	machine_create(&m, count_up, sizeof(count_up));
	assert_int_equal(pthread_create(&run, NULL, run_it, &m), 0);
	assert_int_equal(pthread_create(&closer, NULL, close_it, &m), 0);
	pthread_join(closer, NULL);
	pthread_kill(run, SIGUSR1);
	pthread_join(run, &result);
	assert_int_equal((long)result, -EINTR);
	munmap(m.run, 3 * 4096);
	munmap(m.memory, MEMORY);
	assert_int_equal(standin_close(m.sys), 0);
}

/* A loop, and a processor asleep in HLT with interrupts off. */
T(a_kick_ends_kvm_run_without_a_signal)
{
	static const unsigned char halt[] = { 0xf4, 0xeb, 0xfd };
	const unsigned char *const code[] = { loop_forever, halt };

	for (int i = 0; i < 2; i++) {
		struct machine m;
		pthread_t run;
		void *result;

		machine_create(&m, code[i], i ? 3 : 2);
		if (i) {
			/* With an in-kernel APIC HLT does not exit. */
			assert_int_equal(standin_close(m.cpu), 0);
			assert_int_equal(standin_close(m.vm), 0);
			munmap(m.run, 3 * 4096);
			m.vm = (int)standin_ioctl(m.sys, KVM_CREATE_VM, 0);
			assert_int_equal(standin_ioctl(m.vm, KVM_CREATE_IRQCHIP, 0), 0);
			m.cpu = (int)standin_ioctl(m.vm, KVM_CREATE_VCPU, 0);
			assert_int_equal(standin_mmap(m.cpu, 3 * 4096, 0, &result), 0);
			m.run = result;
			struct kvm_userspace_memory_region slot = {
				.memory_size = MEMORY, .userspace_addr = (uintptr_t)m.memory,
			};
			struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
			struct kvm_sregs s;

			assert_int_equal(request(m.vm, KVM_SET_USER_MEMORY_REGION, &slot), 0);
			assert_int_equal(request(m.cpu, KVM_GET_SREGS, &s), 0);
			s.cs.base = s.cs.selector = 0;
			assert_int_equal(request(m.cpu, KVM_SET_SREGS, &s), 0);
			assert_int_equal(request(m.cpu, KVM_SET_REGS, &regs), 0);
		}
		assert_int_equal(standin_kick(m.cpu), 0);	/* nothing to end */
		assert_int_equal(pthread_create(&run, NULL, run_it, &m), 0);
		usleep(50 * 1000);
		m.run->immediate_exit = 1;
		assert_int_equal(standin_kick(m.cpu), 0);
		pthread_join(run, &result);
		assert_int_equal((long)result, -EINTR);
		assert_int_equal(standin_kick(m.vm), -EINVAL);
		assert_int_equal(standin_kick(-1), -EBADF);
		IN_CHILD(standin_kick(m.cpu) == -EIO);
		machine_free(&m);
	}
}
