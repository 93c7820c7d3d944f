/* SPDX-License-Identifier: MIT */
/*
 * How long KVM objects live, whatever is done to their descriptors, and that nothing stays behind.
 * Runs under the preload object. Every test ends with a count of descriptors, threads and mappings.
 */
/* Run: build/standin run -- build/tests/unit/test_lifetimes [NAME...] */

#include "tests/unit/preload.h"
#include "tests/unit/unit.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fuzz/leaks.h"

enum { MEMORY = 0x10000, CODE = 0x1000, RUN_BYTES = 3 * 4096 };

static const u8 loop_forever[] = { 0xeb, 0xfe };
static const u8 out_forever[] = { 0xe6, 0x10, 0xeb, 0xfc };	/* out %al, $0x10; jmp back */

struct machine {
	int vm, cpu;
	struct kvm_run *run;
	u8 *memory;
	pthread_t thread;
	_Atomic int stop;
	int result;
};

static int sys;
static struct leaks before;

static int set_slot(int vm, u32 slot, u64 gpa, u64 size, void *hva)
{
	struct kvm_userspace_memory_region m = {
		.slot = slot, .guest_phys_addr = gpa, .memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &m);
}

static int real_mode_at(int cpu, u64 rip)
{
	struct kvm_regs regs = { .rip = rip, .rflags = 2 };
	struct kvm_sregs s;

	if (ioctl(cpu, KVM_GET_SREGS, &s))
		return -1;
	s.cs.base = s.cs.selector = 0;
	return ioctl(cpu, KVM_SET_SREGS, &s) || ioctl(cpu, KVM_SET_REGS, &regs) ? -1 : 0;
}

static void machine_create(struct machine *m, const u8 *code, size_t n)
{
	memset(m, 0, sizeof(*m));
	m->vm = ioctl(sys, KVM_CREATE_VM, 0);
	assert_true(m->vm >= 0);
	m->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(m->memory, MAP_FAILED);
	memcpy(m->memory + CODE, code, n);
	assert_int_equal(set_slot(m->vm, 0, 0, MEMORY, m->memory), 0);
	m->cpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	assert_true(m->cpu >= 0);
	m->run = mmap(NULL, RUN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, m->cpu, 0);
	assert_ptr_not_equal(m->run, MAP_FAILED);
	assert_int_equal(real_mode_at(m->cpu, CODE), 0);
}

static void machine_unmap(struct machine *m)
{
	munmap(m->run, RUN_BYTES);
	munmap(m->memory, MEMORY);
}

static void machine_free(struct machine *m)
{
	close(m->cpu);
	close(m->vm);
	machine_unmap(m);
}

static bool runs(int cpu, struct kvm_run *run)
{
	return !ioctl(cpu, KVM_RUN, 0) && run->exit_reason == KVM_EXIT_IO && run->io.port == 0x10;
}

static void on_signal(int sig)
{
}

static void *run_loop(void *arg)
{
	struct machine *m = arg;

	do {
		m->result = ioctl(m->cpu, KVM_RUN, 0) ? errno : 0;
	} while (!m->stop && (!m->result || m->result == EINTR));
	return NULL;
}

static void run_start(struct machine *m)
{
	assert_int_equal(pthread_create(&m->thread, NULL, run_loop, m), 0);
	usleep(20000);
}

static void run_stop(struct machine *m)
{
	m->stop = 1;
	m->run->immediate_exit = 1;
	pthread_kill(m->thread, SIGUSR1);
	pthread_join(m->thread, NULL);
}

/* What the first use allocates for good is no leak. */
static int warm_up(void **state)
{
	struct machine m;

	sys = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	machine_create(&m, out_forever, sizeof(out_forever));
	machine_free(&m);
	return close(sys);
}

static int setup(void **state)
{
	signal(SIGUSR1, on_signal);
	leaks_count(&before);
	sys = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	return sys < 0;
}

static int teardown(void **state)
{
	const char *what;
	struct leaks after;

	close(sys);
	/* Threads that end asynchronously have a moment for it. */
	for (int i = 0; i < 500; i++) {
		leaks_count(&after);
		what = leaks_found(&before, &after);
		if (!what)
			return 0;
		usleep(10000);
	}
	print_error("leak: %s\n", what);
	leaks_print_fds();
	return 1;
}

/* -- closing -- */

T(a_vm_lives_while_its_vcpus_do)
{
	struct machine m;

	machine_create(&m, out_forever, sizeof(out_forever));
	close(m.vm);
	assert_true(runs(m.cpu, m.run));
	m.vm = -1;
	machine_free(&m);
}

/* The last descriptors go while the guest executes; KVM_RUN ends when it is asked to. */
T(everything_closed_while_the_vcpu_runs)
{
	struct machine m;

	machine_create(&m, loop_forever, sizeof(loop_forever));
	run_start(&m);
	close(m.vm);
	close(m.cpu);
	usleep(10000);
	run_stop(&m);
	assert_true(m.result == EINTR || m.result == EBADF);
	machine_unmap(&m);
}

/* The same with in-kernel devices: their threads must not outlive the VM. */
T(closed_with_timers_and_eventfds)
{
	struct kvm_irqfd q = { .gsi = 5 };
	struct kvm_pit_config pit = { 0 };
	struct machine m;
	int vm = ioctl(sys, KVM_CREATE_VM, 0);

	q.fd = (u32)eventfd(0, EFD_CLOEXEC);
	assert_int_equal(ioctl(vm, KVM_CREATE_IRQCHIP, 0), 0);
	assert_int_equal(ioctl(vm, KVM_CREATE_PIT2, &pit), 0);
	assert_int_equal(ioctl(vm, KVM_IRQFD, &q), 0);
	machine_create(&m, loop_forever, sizeof(loop_forever));
	close(m.vm);
	close(m.cpu);
	machine_unmap(&m);
	close(vm);
	close((int)q.fd);
}

/* -- copies of a descriptor -- */

static int by_dup(int fd) { return dup(fd); }
static int by_dup2(int fd) { return dup2(fd, 300); }
static int by_dup3(int fd) { return dup3(fd, 301, O_CLOEXEC); }
static int by_dupfd(int fd) { return fcntl(fd, F_DUPFD, 200); }
static int by_dupfd_cloexec(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 200); }
static int by_raw_dup(int fd)
{
	long r;

	__asm__ volatile("syscall" : "=a"(r) : "0"(SYS_dup), "D"(fd) : "rcx", "r11", "memory");
	/* An unseen copy is found at its first use. */
	ioctl((int)r, KVM_CHECK_EXTENSION, 0);
	return (int)r;
}

T(every_copy_keeps_the_object)
{
	int (*const copy[])(int) = {
		by_dup, by_dup2, by_dup3, by_dupfd, by_dupfd_cloexec, by_raw_dup,
	};

	for (size_t i = 0; i < ARRAY_SIZE(copy); i++) {
		struct machine m;
		int vm, cpu;

		machine_create(&m, out_forever, sizeof(out_forever));
		vm = copy[i](m.vm);
		assert_true(vm >= 0);
		close(m.vm);
		assert_int_equal(ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS), 32764);
		m.vm = vm;
		/* dup2 to the same number again would close the VM's. */
		cpu = copy[i] == by_dup2 || copy[i] == by_dup3 ? dup(m.cpu) : copy[i](m.cpu);
		close(m.cpu);
		m.cpu = cpu;
		assert_true(runs(m.cpu, m.run));
		machine_free(&m);
	}
}

T(dup2_over_the_last_descriptor_ends_the_object)
{
	struct machine m;
	int null = open("/dev/null", O_RDONLY);

	machine_create(&m, out_forever, sizeof(out_forever));
	assert_int_equal(dup2(null, m.vm), m.vm);
	assert_int_equal(ioctl(m.vm, KVM_CHECK_EXTENSION, 0), -1);
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(dup2(null, m.cpu), m.cpu);
	assert_int_equal(ioctl(m.cpu, KVM_RUN, 0), -1);
	assert_int_equal(errno, ENOTTY);
	close(null);
	machine_free(&m);
}

T(close_range_ends_objects)
{
	struct machine m;
	int vm, cpu;

	machine_create(&m, out_forever, sizeof(out_forever));
	vm = dup2(m.vm, 310);
	cpu = dup2(m.cpu, 311);
	close(m.vm);
	close(m.cpu);
	/* Only a flag: they stay. */
	assert_int_equal(close_range(310, 311, CLOSE_RANGE_CLOEXEC), 0);
	assert_true(runs(cpu, m.run));
	assert_int_equal(close_range(310, 320, 0), 0);
	assert_int_equal(ioctl(vm, KVM_CHECK_EXTENSION, 0), -1);
	assert_int_equal(errno, EBADF);
	machine_unmap(&m);
}

/* -- through sockets -- */

static void send_fd(int s, int fd)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} c = { 0 };
	struct iovec v = { "x", 1 };
	struct msghdr m = {
		.msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c),
	};

	c.h.cmsg_level = SOL_SOCKET;
	c.h.cmsg_type = SCM_RIGHTS;
	c.h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&c.h), &fd, sizeof(fd));
	assert_int_equal(sendmsg(s, &m, 0), 1);
}

static int receive_fd(int s)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} c;
	char byte;
	struct iovec v = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c),
	};
	int fd;

	if (recvmsg(s, &m, MSG_CMSG_CLOEXEC) != 1)
		return -1;
	memcpy(&fd, CMSG_DATA(&c.h), sizeof(fd));
	return fd;
}

/* A new one, and its descriptors in flight. */
static void machine_sent(struct machine *m, int socket)
{
	machine_create(m, out_forever, sizeof(out_forever));
	send_fd(socket, m->vm);
	send_fd(socket, m->cpu);
}

T(an_object_lives_in_flight)
{
	struct machine m;
	int s[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	machine_sent(&m, s[0]);
	close(m.vm);
	close(m.cpu);
	usleep(10000);
	m.vm = receive_fd(s[1]);
	m.cpu = receive_fd(s[1]);
	assert_int_equal(ioctl(m.vm, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS), 32764);
	assert_true(runs(m.cpu, m.run));
	/* And once more. */
	send_fd(s[0], m.cpu);
	close(m.cpu);
	m.cpu = receive_fd(s[1]);
	assert_true(runs(m.cpu, m.run));
	machine_free(&m);
	close(s[0]);
	close(s[1]);
}

/* Sent, closed, and the message is thrown away with its socket. */
T(an_object_ends_with_the_message_that_holds_it)
{
	struct machine m;
	int s[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	machine_sent(&m, s[0]);
	machine_free(&m);
	close(s[0]);
	close(s[1]);
}

T(another_process_gets_eio)
{
	struct machine m;
	int s[2], status;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	pid = fork();
	if (!pid) {
		int vm, cpu, system, mine;

		/* Nothing was inherited: the machine is made later. */
		vm = receive_fd(s[1]);
		cpu = receive_fd(s[1]);
		system = receive_fd(s[1]);
		if (ioctl(vm, KVM_CREATE_VCPU, 7) != -1 || errno != EIO)
			_exit(1);
		if (ioctl(cpu, KVM_RUN, 0) != -1 || errno != EIO)
			_exit(2);
		mine = ioctl(system, KVM_CREATE_VM, 0);
		if (mine < 0 || ioctl(mine, KVM_CREATE_VCPU, 0) < 0)
			_exit(3);
		_exit(0);
	}
	machine_sent(&m, s[0]);
	send_fd(s[0], sys);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(runs(m.cpu, m.run));
	machine_free(&m);
	close(s[0]);
	close(s[1]);
}

/* -- fork and exec -- */

T(a_fork_child_gets_eio_and_the_parent_goes_on)
{
	struct kvm_regs regs;
	struct machine m;
	int status;
	pid_t pid;

	machine_create(&m, loop_forever, sizeof(loop_forever));
	run_start(&m);
	pid = fork();
	if (!pid) {
		if (ioctl(m.cpu, KVM_GET_REGS, &regs) != -1 || errno != EIO)
			_exit(1);
		if (ioctl(m.vm, KVM_CHECK_EXTENSION, 0) != -1 || errno != EIO)
			_exit(2);
		close(m.cpu);
		close(m.vm);
		_exit(ioctl(sys, KVM_GET_API_VERSION, 0) == 12 ? 0 : 3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	run_stop(&m);
	assert_int_equal(ioctl(m.cpu, KVM_GET_REGS, &regs), 0);
	machine_free(&m);
}

/* A vfork child has its own descriptors but our memory: closing there must close nothing here. */
T(a_vfork_child_may_close_what_it_likes)
{
	struct machine m;
	int status;
	pid_t pid;

	machine_create(&m, out_forever, sizeof(out_forever));
	pid = vfork();
	if (!pid) {
		close(m.cpu);
		close(m.vm);
		close_range(3, ~0u, 0);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(runs(m.cpu, m.run));
	machine_free(&m);
}

/* What the program does when it is started with "inherited SYS VM VCPU". */
static int inherited(char **argv)
{
	static const u8 code[] = { 0xe6, 0x10 };
	int vm, cpu;
	struct machine m;

	sys = atoi(argv[2]);
	vm = atoi(argv[3]);
	cpu = atoi(argv[4]);
	if (ioctl(vm, KVM_CREATE_VCPU, 7) != -1 || errno != EIO)
		return 1;
	if (ioctl(cpu, KVM_RUN, 0) != -1 || errno != EIO)
		return 2;
	if (ioctl(sys, KVM_GET_API_VERSION, 0) != 12)
		return 3;
	/* The system object works to the full: a bad pointer too. */
	if (ioctl(sys, KVM_GET_SUPPORTED_CPUID, 8) != -1 || errno != EFAULT)
		return 4;
	machine_create(&m, code, sizeof(code));
	return runs(m.cpu, m.run) ? 0 : 5;
}

T(exec_inherits_the_system_and_nothing_else)
{
	char text[3][12];
	struct machine m;
	int fd[3], status;
	pid_t pid;

	machine_create(&m, out_forever, sizeof(out_forever));
	fd[0] = dup(sys);
	fd[1] = dup(m.vm);
	fd[2] = dup(m.cpu);
	for (int i = 0; i < 3; i++)
		snprintf(text[i], sizeof(text[i]), "%d", fd[i]);
	pid = fork();
	if (!pid) {
		execl("/proc/self/exe", "inherited", "inherited", text[0], text[1], text[2], NULL);
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 0);
	for (int i = 0; i < 3; i++)
		close(fd[i]);
	assert_true(runs(m.cpu, m.run));
	machine_free(&m);
}

/* -- many -- */

T(a_thousand_and_twenty_four_vcpus)
{
	int vm = ioctl(sys, KVM_CREATE_VM, 0), *cpu = calloc(1024, sizeof(*cpu));
	struct rlimit files = { 0 }, more;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	more = files;
	more.rlim_cur = files.rlim_max > 4096 ? 4096 : files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &more);
	assert_int_equal(ioctl(vm, KVM_CREATE_IRQCHIP, 0), 0);
	for (int i = 0; i < 1024; i++) {
		/* Sparse ids up to the limit. */
		cpu[i] = ioctl(vm, KVM_CREATE_VCPU, i * 4);
		assert_true(cpu[i] >= 0);
	}
	assert_int_equal(ioctl(vm, KVM_CREATE_VCPU, 1), -1);
	assert_int_equal(errno, EINVAL);
	for (int i = 0; i < 1024; i++)
		close(cpu[i]);
	close(vm);
	free(cpu);
	setrlimit(RLIMIT_NOFILE, &files);
}

T(sixty_four_vms_at_once)
{
	struct machine *m = calloc(64, sizeof(*m));

	for (int i = 0; i < 64; i++)
		machine_create(&m[i], out_forever, sizeof(out_forever));
	for (int round = 0; round < 20; round++)
		for (int i = 0; i < 64; i++)
			assert_true(runs(m[i].cpu, m[i].run));
	for (int i = 0; i < 64; i++)
		machine_free(&m[63 - i]);
	free(m);
}

T(a_thousand_times_made_and_ended)
{
	struct leaks warm, after;
	struct machine m;

	for (int i = 0; i < 1000; i++) {
		machine_create(&m, out_forever, sizeof(out_forever));
		assert_true(runs(m.cpu, m.run));
		machine_free(&m);
		if (i == 100)
			leaks_count(&warm);
	}
	leaks_count(&after);
	assert_int_equal(after.fds, warm.fds);
	assert_int_equal(after.threads, warm.threads);
#ifndef __SANITIZE_ADDRESS__	/* it keeps freed memory for a while */
	assert_in_range(after.maps, 0, warm.maps + 4);
	assert_in_range(after.rss, 0, warm.rss + 2048);
#endif
}

/* -- slots -- */

/* The slot that holds the running code goes away and comes back, with other bytes. */
T(the_slot_under_the_running_code)
{
	struct machine m;
	u8 *other = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	machine_create(&m, loop_forever, sizeof(loop_forever));
	for (int i = 0; i < 20; i++) {
		memcpy(other, loop_forever, sizeof(loop_forever));
		assert_int_equal(set_slot(m.vm, 1, 0x20000, 0x1000, other), 0);
		assert_int_equal(real_mode_at(m.cpu, 0x1000), 0);
		/* 0x20000 is out of reach of a zero CS base: use another. */
		struct kvm_sregs s;

		assert_int_equal(ioctl(m.cpu, KVM_GET_SREGS, &s), 0);
		s.cs.base = 0x1f000;
		s.cs.selector = 0x1f00;
		assert_int_equal(ioctl(m.cpu, KVM_SET_SREGS, &s), 0);
		m.stop = 0;
		m.run->immediate_exit = 0;
		assert_int_equal(pthread_create(&m.thread, NULL, run_loop, &m), 0);
		usleep(3000);
		m.stop = 1;
		assert_int_equal(set_slot(m.vm, 1, 0x20000, 0, other), 0);
		pthread_join(m.thread, NULL);
		/* Nothing is there: KVM cannot execute it. */
		assert_int_equal(m.run->exit_reason, KVM_EXIT_INTERNAL_ERROR);
	}
	munmap(other, 0x1000);
	machine_free(&m);
}

/* A slot is made, moved and deleted while two vCPUs read and write it. */
T(slots_change_under_running_vcpus)
{
	/* again: mov %ax, 0x4000; mov 0x5000, %bx; jmp again  (data segment at 0x20000) */
	static const u8 code[] = { 0xa3, 0x00, 0x40, 0x8b, 0x1e, 0x00, 0x50, 0xeb, 0xf7 };
	u8 *page = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct machine m[2];
	struct kvm_sregs s;

	machine_create(&m[0], code, sizeof(code));
	m[1] = m[0];
	m[1].cpu = ioctl(m[0].vm, KVM_CREATE_VCPU, 1);
	m[1].run = mmap(NULL, RUN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, m[1].cpu, 0);
	assert_int_equal(real_mode_at(m[1].cpu, CODE), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ioctl(m[i].cpu, KVM_GET_SREGS, &s), 0);
		s.ds.base = 0x20000;
		s.ds.selector = 0x2000;
		assert_int_equal(ioctl(m[i].cpu, KVM_SET_SREGS, &s), 0);
		run_start(&m[i]);	/* MMIO exits while nothing is there: it goes on */
	}
	for (int i = 0; i < 200; i++) {
		assert_int_equal(set_slot(m[0].vm, 1, 0x24000, 0x2000, page), 0);
		usleep(100);
		assert_int_equal(set_slot(m[0].vm, 1, 0x23000, 0x2000, page), 0);
		usleep(100);
		assert_int_equal(set_slot(m[0].vm, 1, 0, 0, page), 0);
	}
	run_stop(&m[0]);
	run_stop(&m[1]);
	assert_true(m[0].result == 0 || m[0].result == EINTR);
	munmap(m[1].run, RUN_BYTES);
	close(m[1].cpu);
	munmap(page, 0x2000);
	machine_free(&m[0]);
}

/* -- races -- */

static _Atomic int victim, racing;

static void *use_victim(void *arg)
{
	while (racing)
		ioctl(victim, KVM_CHECK_EXTENSION, 0);
	return NULL;
}

/* A request that starts while its descriptor is being closed must not keep the object. */
T(a_request_against_a_closing_descriptor)
{
	pthread_t t;

	racing = 1;
	victim = -1;
	assert_int_equal(pthread_create(&t, NULL, use_victim, NULL), 0);
	for (int i = 0; i < 3000; i++) {
		int vm = ioctl(sys, KVM_CREATE_VM, 0), cpu;

		cpu = i % 8 ? -1 : ioctl(vm, KVM_CREATE_VCPU, 0);
		victim = vm;
		/* The number moves, so that a stale entry is not overwritten by chance. */
		close(i % 2 ? dup(sys) : dup2(sys, 400 + i % 100));
		close(vm);
		if (cpu >= 0)
			close(cpu);
	}
	racing = 0;
	pthread_join(t, NULL);
}

static _Atomic int strangers;

static void *guess(void *arg)
{
	while (racing)
		if (ioctl(victim, KVM_CHECK_EXTENSION, 0) < 0 && errno == EIO)
			strangers++;
	return NULL;
}

/* A number that another thread asks about while an object is being made under it: no such
 * descriptor, or the new object, but never somebody else's. */
T(an_object_in_the_making_is_not_a_strangers)
{
	pthread_t t;
	int next = dup(sys);

	close(next);
	strangers = 0;
	victim = next;
	racing = 1;
	assert_int_equal(pthread_create(&t, NULL, guess, NULL), 0);
	for (int i = 0; i < 3000; i++)
		close(ioctl(sys, KVM_CREATE_VM, 0));
	racing = 0;
	pthread_join(t, NULL);
	assert_int_equal(strangers, 0);
}

T_EACH(setup, teardown);
T_ALL(warm_up, NULL);

T_START(argc, argv)
{
	needs_preload();
	if (argc == 5 && !strcmp(argv[1], "inherited"))
		exit(inherited(argv));
	return 0;
}
