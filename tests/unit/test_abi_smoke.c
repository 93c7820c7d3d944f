/* SPDX-License-Identifier: MIT */
/*
 * A small VMM, run under the preload object: descriptors, errnos, memory slots, eventfds and
 * a few real-mode instructions, all through the public ABI. It refuses to run without the
 * preload, so that it never reaches a real node.
 */
/* Run: build/standin run -- build/tests/unit/test_abi_smoke [NAME...] */

#include "tests/unit/preload.h"
#include "tests/unit/unit.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEM_SIZE 0x10000u
#define CODE 0x1000u
#define BAD_PTR ((void *)8)

struct rig {
	int sys, vm, vcpu;
	uint8_t *mem;
	struct kvm_run *run;
};

#define assert_errno(call, e) \
	do { \
		errno = 0; \
		assert_int_equal((call), -1); \
		assert_int_equal(errno, (e)); \
	} while (0)

static int set_slot(int vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *hva)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot, .flags = flags, .guest_phys_addr = gpa, .memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r);
}

static int setup(void **state)
{
	struct rig *g = calloc(1, sizeof(*g));

	*state = g;
	g->sys = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	g->vm = ioctl(g->sys, KVM_CREATE_VM, 0);
	g->mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return g->sys < 0 || g->vm < 0 || g->mem == MAP_FAILED;
}

static int teardown(void **state)
{
	struct rig *g = *state;

	if (g->run)
		munmap(g->run, 3 * 4096);
	if (g->vcpu > 0)
		close(g->vcpu);
	close(g->vm);
	close(g->sys);
	munmap(g->mem, MEM_SIZE);
	free(g);
	return 0;
}

/* A vCPU in real mode at 0:CODE. */
static void add_vcpu(struct rig *g, const void *code, size_t n)
{
	struct kvm_regs regs = { .rip = CODE, .rflags = 2, .rax = 2, .rbx = 3, .rsp = 0x8000 };
	struct kvm_sregs s;

	assert_int_equal(set_slot(g->vm, 0, 0, 0, MEM_SIZE, g->mem), 0);
	memcpy(g->mem + CODE, code, n);
	g->vcpu = ioctl(g->vm, KVM_CREATE_VCPU, 0);
	assert_true(g->vcpu >= 0);
	g->run = mmap(NULL, (size_t)ioctl(g->sys, KVM_GET_VCPU_MMAP_SIZE, 0),
		      PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu, 0);
	assert_ptr_not_equal(g->run, MAP_FAILED);
	assert_int_equal(ioctl(g->vcpu, KVM_GET_SREGS, &s), 0);
	s.cs.base = s.cs.selector = 0;
	assert_int_equal(ioctl(g->vcpu, KVM_SET_SREGS, &s), 0);
	assert_int_equal(ioctl(g->vcpu, KVM_SET_REGS, &regs), 0);
}

T(system_fd)
{
	struct rig *g = *state;
	struct stat st;

	assert_int_equal(ioctl(g->sys, KVM_GET_API_VERSION, 0), 12);
	assert_int_equal(ioctl(g->sys, KVM_GET_VCPU_MMAP_SIZE, 0), 12288);
	assert_errno(ioctl(g->sys, KVM_GET_API_VERSION, 1), EINVAL);
	assert_errno(ioctl(g->sys, KVM_CREATE_VM, 77), EINVAL);
	assert_errno(ioctl(g->sys, KVM_RUN, 0), EINVAL);
	assert_errno(ioctl(g->sys, _IO(KVMIO, 0xfe), 0), EINVAL);
	assert_errno(ioctl(g->vm, _IO(KVMIO, 0xfe), 0), ENOTTY);
	assert_errno(ioctl(g->sys, _IO('x', 1), 0), EINVAL);
	assert_errno(ioctl(g->sys, KVM_GET_SUPPORTED_CPUID, BAD_PTR), EFAULT);
	assert_int_equal(access("/dev/kvm", R_OK | W_OK), 0);
	assert_int_equal(stat("/dev/../dev/kvm", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	assert_errno(open("/dev/kvm", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	assert_errno(openat(AT_FDCWD, "/dev/kvm", O_DIRECTORY), ENOTDIR);
}

T(descriptors)
{
	struct rig *g = *state;
	int dir = open("/dev", O_RDONLY | O_DIRECTORY), a, b;
	FILE *f;

	a = openat(dir, "kvm", O_RDWR);
	assert_int_equal(ioctl(a, KVM_GET_API_VERSION, 0), 12);
	b = fcntl(a, F_DUPFD, 100);
	close(a);
	assert_int_equal(ioctl(b, KVM_GET_API_VERSION, 0), 12);
	assert_int_equal(dup2(g->vm, b), b);
	assert_errno(ioctl(b, KVM_GET_API_VERSION, 0), ENOTTY);
	/* A number closed behind our back and used again. */
	syscall(SYS_close, b);
	assert_int_equal(dup2(dir, b), b);
	assert_errno(ioctl(b, KVM_GET_API_VERSION, 0), ENOTTY);
	close(b);
	/* The same by libc, whose fclose() makes the system call itself. */
	f = fopen("/dev/kvm", "r+");
	assert_non_null(f);
	a = fileno(f);
	assert_int_equal(ioctl(a, KVM_GET_API_VERSION, 0), 12);
	fclose(f);
	assert_int_equal(open("/dev/null", O_RDWR), a);
	for (int i = 0; i < 2; i++) {
		b = i ? fcntl(a, F_DUPFD, 0) : dup(a);
		assert_true(b >= 0);
		assert_int_equal(write(b, "x", 1), 1);
		assert_errno(ioctl(b, KVM_GET_API_VERSION, 0), ENOTTY);
		close(b);
	}
	close(a);
	/* Copied behind our back: resolved by inode. */
	b = (int)syscall(SYS_dup, g->sys);
	assert_int_equal(ioctl(b, KVM_GET_API_VERSION, 0), 12);
	close(b);
	a = (int)syscall(SYS_openat, AT_FDCWD, "/dev/kvm", O_RDWR);
	assert_int_equal(syscall(SYS_ioctl, a, KVM_GET_API_VERSION, 0), 12);
	close(a);
	close(dir);
	assert_errno(ioctl(a, KVM_GET_API_VERSION, 0), EBADF);
}

T(fork_child_is_fenced)
{
	struct rig *g = *state;
	int status, r;
	pid_t p = fork();

	if (!p) {
		r = ioctl(g->vm, KVM_CREATE_VCPU, 0) == -1 && errno == EIO &&
		    ioctl(g->sys, KVM_GET_API_VERSION, 0) == 12;
		close(g->vm);
		_exit(r ? 0 : 1);
	}
	assert_int_equal(waitpid(p, &status, 0), p);
	assert_int_equal(status, 0);
	assert_true(ioctl(g->vm, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP) == 1);
}

T(vcpu_ids)
{
	struct rig *g = *state;
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MAX_VCPU_ID, .args = { 5000 } };

	assert_errno(ioctl(g->vm, KVM_CREATE_VCPU, 4096), EINVAL);
	assert_errno(ioctl(g->vm, KVM_ENABLE_CAP, &cap), EINVAL);
	/* the BSP's id may equal the limit, not exceed it (docs/kvm-abi.md 5.4) */
	assert_int_equal(ioctl(g->vm, KVM_SET_BOOT_CPU_ID, 8), 0);
	cap.args[0] = 7;
	assert_errno(ioctl(g->vm, KVM_ENABLE_CAP, &cap), EINVAL);
	cap.args[0] = 8;
	assert_int_equal(ioctl(g->vm, KVM_ENABLE_CAP, &cap), 0);
	cap.args[0] = 9;
	assert_errno(ioctl(g->vm, KVM_ENABLE_CAP, &cap), EINVAL);
	assert_errno(ioctl(g->vm, KVM_SET_BOOT_CPU_ID, 8), EINVAL);
	assert_errno(ioctl(g->vm, KVM_CREATE_VCPU, 8), EINVAL);
	g->vcpu = ioctl(g->vm, KVM_CREATE_VCPU, 7);
	assert_true(g->vcpu >= 0);
	assert_errno(ioctl(g->vm, KVM_CREATE_VCPU, 7), EEXIST);
	assert_errno(ioctl(g->vm, KVM_SET_BOOT_CPU_ID, 1), EBUSY);
	assert_errno(ioctl(g->vm, KVM_CREATE_IRQCHIP, 0), EINVAL);
	assert_errno(ioctl(g->vcpu, _IO(KVMIO, 0xfe), 0), EINVAL);
	assert_errno(ioctl(g->vcpu, KVM_GET_REGS, BAD_PTR), EFAULT);
	assert_errno(ioctl(g->vcpu, KVM_SET_REGS, BAD_PTR), EFAULT);
	/* The id stays taken when the fd is closed, as the vCPU belongs to the VM. */
	close(g->vcpu);
	g->vcpu = 0;
	assert_errno(ioctl(g->vm, KVM_CREATE_VCPU, 7), EEXIST);
}

T(slots)
{
	struct rig *g = *state;
	int vm = g->vm;
	uint8_t *m = g->mem;

	assert_errno(set_slot(vm, 0, 4, 0, 0x1000, m), EINVAL);
	assert_errno(set_slot(vm, 0, 0, 0x10, 0x1000, m), EINVAL);
	assert_errno(set_slot(vm, 0, 0, 0, 0x1001, m), EINVAL);
	assert_errno(set_slot(vm, 0, 0, 0, 0x1000, m + 1), EINVAL);
	assert_errno(set_slot(vm, 32764, 0, 0, 0x1000, m), EINVAL);
	assert_errno(set_slot(vm, 2 << 16, 0, 0, 0x1000, m), EINVAL);
	assert_errno(set_slot(vm, 0, 0, ~0xfffull, 0x2000, m), EINVAL);
	assert_errno(set_slot(vm, 0, 0, 0, 0, m), EINVAL);	/* nothing to delete */
	assert_int_equal(set_slot(vm, 0, 0, 0, 0x4000, m), 0);
	assert_int_equal(set_slot(vm, 0, 0, 0, 0x4000, m), 0);	/* no change */
	assert_errno(set_slot(vm, 1, 0, 0x3000, 0x1000, m), EEXIST);
	assert_int_equal(set_slot(vm, 1, 0, 0x4000, 0x1000, m), 0);
	assert_errno(set_slot(vm, 0, 0, 0x1000, 0x4000, m), EEXIST);	/* move onto 1 */
	assert_int_equal(set_slot(vm, 0, 0, 0x8000, 0x4000, m), 0);
	assert_errno(set_slot(vm, 0, 0, 0x8000, 0x3000, m), EINVAL);
	assert_errno(set_slot(vm, 0, 0, 0x8000, 0x4000, m + 0x1000), EINVAL);
	assert_errno(set_slot(vm, 0, KVM_MEM_READONLY, 0x8000, 0x4000, m), EINVAL);
	assert_int_equal(set_slot(vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0x8000, 0x4000, m), 0);
	assert_int_equal(set_slot(vm, 0, 0, 0x8000, 0x4000, m), 0);
	assert_int_equal(set_slot(vm, 0, 0, 0x8000, 0, m), 0);
	assert_int_equal(set_slot(vm, 1, 0, 0x4000, 0, m), 0);
}

T(real_mode)
{
	/* mov dx,0x3f8; add al,bl; add al,'0'; out dx,al; mov al,10; out dx,al; hlt */
	static const uint8_t code[] = { 0xba, 0xf8, 0x03, 0x00, 0xd8, 0x04, '0', 0xee, 0xb0, '\n',
					0xee, 0xf4 };
	struct rig *g = *state;
	struct kvm_regs regs;
	char out[2];

	add_vcpu(g, code, sizeof(code));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ioctl(g->vcpu, KVM_RUN, 0), 0);
		assert_int_equal(g->run->exit_reason, KVM_EXIT_IO);
		assert_int_equal(g->run->io.port, 0x3f8);
		assert_int_equal(g->run->io.direction, KVM_EXIT_IO_OUT);
		out[i] = *((char *)g->run + g->run->io.data_offset);
	}
	assert_memory_equal(out, "5\n", 2);
	assert_int_equal(ioctl(g->vcpu, KVM_RUN, 0), 0);
	assert_int_equal(g->run->exit_reason, KVM_EXIT_HLT);
	assert_int_equal(ioctl(g->vcpu, KVM_GET_REGS, &regs), 0);
	assert_int_equal(regs.rip, CODE + sizeof(code));
	assert_errno(ioctl(g->vcpu, KVM_RUN, 1), EINVAL);
}

T(dirty_log)
{
	/* mov byte [0x3000],1; mov byte [0x5000],2; hlt */
	static const uint8_t code[] = {
		0xc6, 0x06, 0x00, 0x30, 1, 0xc6, 0x06, 0x00, 0x50, 2, 0xf4
	};
	struct rig *g = *state;
	uint64_t map = 0;
	struct kvm_dirty_log log = { .dirty_bitmap = &map };
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };

	add_vcpu(g, code, sizeof(code));
	assert_errno(ioctl(g->vm, KVM_GET_DIRTY_LOG, &log), ENOENT);
	assert_int_equal(ioctl(g->vcpu, KVM_RUN, 0), 0);
	assert_int_equal(set_slot(g->vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, MEM_SIZE, g->mem), 0);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(ioctl(g->vcpu, KVM_SET_REGS, &regs), 0);
		assert_int_equal(ioctl(g->vcpu, KVM_RUN, 0), 0);
		assert_int_equal(g->run->exit_reason, KVM_EXIT_HLT);
		assert_int_equal(ioctl(g->vm, KVM_GET_DIRTY_LOG, &log), 0);
		assert_int_equal(map, 0x28);
		assert_int_equal(ioctl(g->vm, KVM_GET_DIRTY_LOG, &log), 0);
		assert_int_equal(map, 0);
	}
	log.dirty_bitmap = BAD_PTR;
	assert_errno(ioctl(g->vm, KVM_GET_DIRTY_LOG, &log), EFAULT);
	assert_int_equal(g->mem[0x5000], 2);
}

T(mmio_and_eventfds)
{
	/* mov ax,0x2000; mov ds,ax; mov [0x0010],al; mov [0x0020],al; mov [0x0030],al; hlt:
	 * all beyond memory, at 0x20010 (ioeventfd), 0x20020 (coalesced), 0x20030 (exit) */
	static const uint8_t code[] = { 0xb8, 0x00, 0x20, 0x8e, 0xd8, 0xa2, 0x10, 0x00, 0xa2, 0x20,
					0x00, 0xa2, 0x30, 0x00, 0xf4 };
	struct rig *g = *state;
	int fd = eventfd(0, EFD_NONBLOCK);
	struct kvm_ioeventfd io = { .addr = 0x20010, .len = 1, .fd = fd };
	struct kvm_coalesced_mmio_zone z = { .addr = 0x20020, .size = 8 };
	struct kvm_coalesced_mmio_ring *ring;
	uint64_t n;

	add_vcpu(g, code, sizeof(code));
	assert_int_equal(ioctl(g->vm, KVM_IOEVENTFD, &io), 0);
	assert_errno(ioctl(g->vm, KVM_IOEVENTFD, &io), EEXIST);
	io.len = 2;
	assert_int_equal(ioctl(g->vm, KVM_IOEVENTFD, &io), 0);
	io.len = 3;
	assert_errno(ioctl(g->vm, KVM_IOEVENTFD, &io), EINVAL);
	io.len = 1;
	io.fd = g->sys;
	assert_errno(ioctl(g->vm, KVM_IOEVENTFD, &io), EINVAL);
	io.fd = 999;
	assert_errno(ioctl(g->vm, KVM_IOEVENTFD, &io), EBADF);
	assert_int_equal(ioctl(g->vm, KVM_REGISTER_COALESCED_MMIO, &z), 0);
	assert_int_equal(ioctl(g->vcpu, KVM_RUN, 0), 0);
	assert_int_equal(g->run->exit_reason, KVM_EXIT_MMIO);
	assert_int_equal(g->run->mmio.phys_addr, 0x20030);
	assert_int_equal(g->run->mmio.len, 1);
	assert_int_equal(g->run->mmio.is_write, 1);
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	assert_int_equal(n, 1);
	ring = (void *)((uint8_t *)g->run + 2 * 4096);
	assert_int_equal(ring->first, 0);
	assert_int_equal(ring->last, 1);
	assert_int_equal(ring->coalesced_mmio[0].phys_addr, 0x20020);
	io.flags = KVM_IOEVENTFD_FLAG_DEASSIGN;
	io.fd = fd;
	assert_int_equal(ioctl(g->vm, KVM_IOEVENTFD, &io), 0);
	assert_errno(ioctl(g->vm, KVM_IOEVENTFD, &io), ENOENT);
	assert_int_equal(ioctl(g->vcpu, KVM_RUN, 0), 0);
	assert_int_equal(g->run->exit_reason, KVM_EXIT_HLT);
	close(fd);
}

T(ring_is_shared)
{
	struct rig *g = *state;
	int a = ioctl(g->vm, KVM_CREATE_VCPU, 0), b = ioctl(g->vm, KVM_CREATE_VCPU, 1);
	uint8_t *pa = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, a, 0);
	uint8_t *pb = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, b, 0);

	assert_ptr_not_equal(pa, MAP_FAILED);
	assert_ptr_not_equal(pb, MAP_FAILED);
	pa[8192 + 100] = 42;
	assert_int_equal(pb[8192 + 100], 42);
	assert_int_equal(pb[100], 0);
	munmap(pa, 12288);
	munmap(pb, 12288);
	close(a);
	close(b);
}

T(irqfds)
{
	struct rig *g = *state;
	int fd = eventfd(0, 0), again = dup(fd);
	struct kvm_irqfd f = { .fd = (uint32_t)fd, .gsi = 5 };
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_PIC_MASTER };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	const uint64_t one = 1;

	assert_errno(ioctl(g->vm, KVM_IRQFD, &f), EINVAL);
	assert_errno(ioctl(g->vm, KVM_GET_IRQCHIP, &chip), ENXIO);
	assert_int_equal(ioctl(g->vm, KVM_CREATE_IRQCHIP, 0), 0);
	assert_errno(ioctl(g->vm, KVM_CREATE_IRQCHIP, 0), EEXIST);
	assert_int_equal(ioctl(g->vm, KVM_IRQFD, &f), 0);
	f.fd = (uint32_t)again;
	assert_errno(ioctl(g->vm, KVM_IRQFD, &f), EBUSY);
	f.fd = (uint32_t)g->sys;
	assert_errno(ioctl(g->vm, KVM_IRQFD, &f), EINVAL);
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
	/* The interrupt controller side consumes the event and latches the edge. */
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(ioctl(g->vm, KVM_GET_IRQCHIP, &chip), 0);
		if (chip.chip.pic.irr & 0x20)
			break;
		usleep(1000);
	}
	assert_int_equal(chip.chip.pic.irr & 0x20, 0x20);
	assert_int_equal(poll(&p, 1, 0), 0);
	f.fd = (uint32_t)fd;
	f.flags = KVM_IRQFD_FLAG_DEASSIGN;
	assert_int_equal(ioctl(g->vm, KVM_IRQFD, &f), 0);
	close(again);
	close(fd);
}

static volatile int got_signal;

static void on_signal(int sig)
{
	got_signal = sig;
}

static void *kick_later(void *arg)
{
	usleep(50000);
	pthread_kill(*(pthread_t *)arg, SIGUSR1);
	return NULL;
}

T(signal_ends_run)
{
	static const uint8_t code[] = { 0xeb, 0xfe };	/* jmp $ */
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, q;
	struct rig *g = *state;
	pthread_t self = pthread_self(), t;

	assert_int_equal(sigaction(SIGUSR1, &sa, NULL), 0);
	assert_int_equal(sigaction(SIGUSR1, NULL, &q), 0);
	assert_ptr_equal(q.sa_handler, on_signal);
	assert_int_equal(q.sa_flags & SA_RESTART, SA_RESTART);
	add_vcpu(g, code, sizeof(code));
	assert_int_equal(pthread_create(&t, NULL, kick_later, &self), 0);
	assert_errno(ioctl(g->vcpu, KVM_RUN, 0), EINTR);
	pthread_join(t, NULL);
	assert_int_equal(got_signal, SIGUSR1);
	assert_int_equal(g->run->exit_reason, KVM_EXIT_INTR);
	g->run->immediate_exit = 1;
	assert_errno(ioctl(g->vcpu, KVM_RUN, 0), EINTR);
	signal(SIGUSR1, SIG_DFL);
}

static sigjmp_buf fault_jmp;
static volatile int *volatile nowhere = (int *)16;

static void on_fault(int sig, siginfo_t *info, void *uc)
{
	got_signal = (int)(intptr_t)info->si_addr;
	siglongjmp(fault_jmp, 1);
}

T(faults_reach_the_program)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO }, old;

	assert_int_equal(sigaction(SIGSEGV, &sa, &old), 0);
	if (!sigsetjmp(fault_jmp, 1)) {
		*nowhere = 1;
		fail();
	}
	assert_int_equal(got_signal, 16);
	sa.sa_flags |= (int)SA_RESETHAND;
	assert_int_equal(sigaction(SIGSEGV, &sa, NULL), 0);
	if (!sigsetjmp(fault_jmp, 1)) {
		*nowhere = 1;
		fail();
	}
	assert_int_equal(sigaction(SIGSEGV, &old, &sa), 0);
	assert_ptr_equal(sa.sa_handler, SIG_DFL);
}

T(stats)
{
	struct rig *g = *state;
	struct kvm_stats_header h;
	int fd = ioctl(g->vm, KVM_GET_STATS_FD, NULL);
	uint64_t v;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &h, sizeof(h), 0), sizeof(h));
	assert_true(h.num_desc > 0);
	assert_int_equal(pread(fd, &v, 8, h.data_offset + h.num_desc * 8), 0);
	assert_int_equal(set_slot(g->vm, 0, 0, 0, 0x1000, g->mem), 0);
	assert_int_equal(pread(fd, &v, 8, h.data_offset), 8);
	assert_int_equal(v, 1);
	assert_true(write(fd, &v, 8) < 0);
	close(fd);
}

static int count_lines(const char *path)
{
	FILE *f = fopen(path, "r");
	int n = 0, ch;

	while (f && (ch = getc(f)) != EOF)
		n += ch == '\n';
	if (f)
		fclose(f);
	return n;
}

/* Closing the last descriptor of a VM and of its vCPUs, in any order, frees everything. */
T(nothing_is_left)
{
	struct rig *g = *state;
	int first = 0, maps = 0;

	for (int i = 0; i < 40; i++) {
		int vm = ioctl(g->sys, KVM_CREATE_VM, 0), a, b;

		assert_int_equal(ioctl(vm, KVM_CREATE_IRQCHIP, 0), 0);
		a = ioctl(vm, KVM_CREATE_VCPU, 0);
		b = ioctl(vm, KVM_CREATE_VCPU, 1);
		assert_true(vm >= 0 && a >= 0 && b >= 0);
		close(i & 1 ? vm : a);
		close(b);
		close(i & 1 ? a : vm);
		if (!i)
			first = vm;
		assert_int_equal(vm, first);
		if (i == 10)
			maps = count_lines("/proc/self/maps");
	}
	assert_true(count_lines("/proc/self/maps") < maps + 20);
}

T(capabilities)
{
	struct rig *g = *state;
	struct kvm_enable_cap c = { .cap = KVM_CAP_X2APIC_API, .args = { 4 } };
	struct kvm_msr_filter f = { .flags = KVM_MSR_FILTER_DEFAULT_DENY };
	uint64_t bits = 0;

	assert_errno(ioctl(g->vm, KVM_ENABLE_CAP, &c), EINVAL);	/* no irqchip yet */
	c.args[0] = 12;
	assert_errno(ioctl(g->vm, KVM_ENABLE_CAP, &c), EINVAL);
	c.args[0] = 0x10;
	assert_errno(ioctl(g->vm, KVM_ENABLE_CAP, &c), EINVAL);
	c.args[0] = 3;
	assert_int_equal(ioctl(g->vm, KVM_ENABLE_CAP, &c), 0);
	c.flags = 1;
	assert_errno(ioctl(g->vm, KVM_ENABLE_CAP, &c), EINVAL);
	c = (struct kvm_enable_cap){ .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 5000 } };
	assert_errno(ioctl(g->vm, KVM_ENABLE_CAP, &c), EINVAL);
	c.args[0] = 24;
	assert_int_equal(ioctl(g->vm, KVM_ENABLE_CAP, &c), 0);
	assert_errno(ioctl(g->vm, KVM_ENABLE_CAP, &c), EEXIST);
	assert_errno(ioctl(g->vm, KVM_CREATE_IRQCHIP, 0), EEXIST);
	assert_errno(ioctl(g->vm, KVM_CREATE_PIT, 0), ENOENT);
	c = (struct kvm_enable_cap){ .cap = KVM_CAP_X2APIC_API, .args = { 4 } };
	assert_int_equal(ioctl(g->vm, KVM_ENABLE_CAP, &c), 0);
	c = (struct kvm_enable_cap){ .cap = 9999 };
	assert_errno(ioctl(g->vm, KVM_ENABLE_CAP, &c), EINVAL);
	c = (struct kvm_enable_cap){ .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { 2 } };
	assert_errno(ioctl(g->vm, KVM_ENABLE_CAP, &c), EINVAL);

	assert_errno(ioctl(g->vm, KVM_X86_SET_MSR_FILTER, &f), EINVAL);	/* denies everything */
	f.ranges[0] = (struct kvm_msr_filter_range){ .flags = 4, .nmsrs = 1,
						     .bitmap = (void *)&bits };
	assert_errno(ioctl(g->vm, KVM_X86_SET_MSR_FILTER, &f), EINVAL);
	f.ranges[0].flags = KVM_MSR_FILTER_READ;
	assert_int_equal(ioctl(g->vm, KVM_X86_SET_MSR_FILTER, &f), 0);
	f.ranges[0].bitmap = BAD_PTR;
	assert_errno(ioctl(g->vm, KVM_X86_SET_MSR_FILTER, &f), EFAULT);
	f.ranges[0].nmsrs = 0x600 * 8 + 1;
	assert_errno(ioctl(g->vm, KVM_X86_SET_MSR_FILTER, &f), EINVAL);
}

T(manual_dirty_log)
{
	static const uint8_t code[] = { 0xc6, 0x06, 0x00, 0x30, 1, 0xf4 };
	struct kvm_enable_cap c = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { 1 } };
	struct rig *g = *state;
	uint64_t map = 0, mask;
	struct kvm_dirty_log log = { .dirty_bitmap = &map };
	struct kvm_clear_dirty_log clear = { .num_pages = MEM_SIZE >> 12, .dirty_bitmap = &mask };
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };

	assert_int_equal(ioctl(g->vm, KVM_ENABLE_CAP, &c), 0);
	add_vcpu(g, code, sizeof(code));
	assert_int_equal(set_slot(g->vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, MEM_SIZE, g->mem), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ioctl(g->vcpu, KVM_SET_REGS, &regs), 0);
		assert_int_equal(ioctl(g->vcpu, KVM_RUN, 0), 0);
		for (int twice = 0; twice < 2; twice++) {
			assert_int_equal(ioctl(g->vm, KVM_GET_DIRTY_LOG, &log), 0);
			assert_int_equal(map, 8);
		}
		mask = 8;
		assert_int_equal(ioctl(g->vm, KVM_CLEAR_DIRTY_LOG, &clear), 0);
		assert_int_equal(ioctl(g->vm, KVM_GET_DIRTY_LOG, &log), 0);
		assert_int_equal(map, 0);
	}
	clear.first_page = 1;
	assert_errno(ioctl(g->vm, KVM_CLEAR_DIRTY_LOG, &clear), EINVAL);
	clear.first_page = 0;
	clear.num_pages = 3;
	assert_errno(ioctl(g->vm, KVM_CLEAR_DIRTY_LOG, &clear), EINVAL);
}

T(read_only_slot)
{
	/* mov al,[0x0000]; mov [0x0000],al with DS = 0x1000: slot 1 at 0x10000; hlt */
	static const uint8_t code[] = { 0xb8, 0x00, 0x10, 0x8e, 0xd8, 0xa0, 0x00, 0x00, 0xa2, 0x01,
					0x00, 0xf4 };
	struct rig *g = *state;
	uint8_t *rom = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	rom[0] = 0x77;
	add_vcpu(g, code, sizeof(code));
	assert_int_equal(set_slot(g->vm, 1, KVM_MEM_READONLY, 0x10000, 4096, rom), 0);
	mprotect(rom, 4096, PROT_READ);
	assert_int_equal(ioctl(g->vcpu, KVM_RUN, 0), 0);
	assert_int_equal(g->run->exit_reason, KVM_EXIT_MMIO);
	assert_int_equal(g->run->mmio.phys_addr, 0x10001);
	assert_int_equal(g->run->mmio.is_write, 1);
	assert_int_equal(g->run->mmio.data[0], 0x77);
	assert_int_equal(rom[1], 0);
	munmap(rom, 4096);
}

struct runner {
	int vcpu;
	struct kvm_run *run;
	pthread_t thread;
	_Atomic int stop, result;
};

static void *run_until_told(void *arg)
{
	struct runner *r = arg;

	while (!r->stop && !r->result)
		if (ioctl(r->vcpu, KVM_RUN, 0) == 0 || errno != EINTR)
			r->result = errno ? errno : -1;
	return NULL;
}

/* Two vCPUs store in turn to their own page, without ever leaving the guest, while the slots
 * around them change and the dirty log of the one they write is harvested. */
T(slots_while_running)
{
	/* inc word [bx]; jmp $-2 */
	static const uint8_t code[] = { 0xff, 0x07, 0xeb, 0xfc };
	struct sigaction sa = { .sa_handler = on_signal };
	struct rig *g = *state;
	struct runner r[2] = { 0 };
	uint64_t map = 0;
	struct kvm_dirty_log log = { .dirty_bitmap = &map };

	sigaction(SIGUSR1, &sa, NULL);
	memcpy(g->mem + CODE, code, sizeof(code));
	assert_int_equal(set_slot(g->vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, MEM_SIZE, g->mem), 0);
	for (int i = 0; i < 2; i++) {
		struct kvm_regs regs = { .rip = CODE, .rflags = 2, .rbx = 0x3000 + i * 0x1000 };
		struct kvm_sregs s;

		r[i].vcpu = ioctl(g->vm, KVM_CREATE_VCPU, i);
		r[i].run = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, r[i].vcpu, 0);
		assert_int_equal(ioctl(r[i].vcpu, KVM_GET_SREGS, &s), 0);
		s.cs.base = s.cs.selector = 0;
		assert_int_equal(ioctl(r[i].vcpu, KVM_SET_SREGS, &s), 0);
		assert_int_equal(ioctl(r[i].vcpu, KVM_SET_REGS, &regs), 0);
		assert_int_equal(pthread_create(&r[i].thread, NULL, run_until_told, &r[i]), 0);
	}
	for (int i = 0; i < 50; i++) {
		assert_int_equal(set_slot(g->vm, 1, 0, 0x40000, 0x1000, g->mem), 0);
		assert_int_equal(set_slot(g->vm, 1, 0, 0x50000, 0x1000, g->mem), 0);
		assert_int_equal(ioctl(g->vm, KVM_GET_DIRTY_LOG, &log), 0);
		/* The pages of the loop, plus A bits nowhere: real mode has no page tables. */
		assert_int_equal(map & ~0x18ull, 0);
		assert_int_equal(set_slot(g->vm, 1, 0, 0x50000, 0, g->mem), 0);
	}
	for (int i = 0; i < 2; i++) {
		r[i].stop = 1;
		r[i].run->immediate_exit = 1;
		pthread_kill(r[i].thread, SIGUSR1);
		pthread_join(r[i].thread, NULL);
		assert_int_equal(r[i].result, 0);
		munmap(r[i].run, 12288);
		close(r[i].vcpu);
	}
	signal(SIGUSR1, SIG_DFL);
}

T_EACH(setup, teardown);

T_START(argc, argv)
{
	needs_preload();
	return 0;
}
