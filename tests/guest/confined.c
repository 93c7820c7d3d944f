/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/confined.c - a VMM that confines its vCPU thread before KVM_RUN: the thread is killed
 * at any system call that docs/run-path.md does not list.
 */
/* Run: build/standin run -- build/tests/guest/guest_confined [NAME...] */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"

/* docs/run-path.md; write(2) and exit_group(2) are for the test's own end too. */
static const int listed[] = {
	SYS_ioctl, SYS_futex, SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_write, SYS_exit_group,
};

static void confine(unsigned int flags)
{
	static struct sock_filter code[2 + 2 * ARRAY_SIZE(listed)];
	struct sock_fprog p = { .filter = code };

	code[p.len++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						     offsetof(struct seccomp_data, nr));
	for (u32 i = 0; i < ARRAY_SIZE(listed); i++) {
		code[p.len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							     (u32)listed[i], 0, 1);
		code[p.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	code[p.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	fflush(stdout);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p))
		test_skip("seccomp: %s", strerror(errno));
}

/*
 * One-shot timers with HLT and without, 2 MiB of code that writes to memory, AVX, MMIO: what the
 * engine needs for them must be there.
 */
CODE64(busy, "mov $0xfee00000, %ebp\n xor %r8d, %r8d\n movl $0x1ff, 0xf0(%rbp)\n"
	     "movl $0xb, 0x3e0(%rbp)\n movl $0x61, 0x320(%rbp)\n mov $40, %edi\n"
	     "9: mov %r8, %r9\n movl $3000000, 0x380(%rbp)\n"
	     "8: cli\n cmp %r8, %r9\n jne 7f\n sti\n hlt\n jmp 8b\n 7: sti\n"
	     "mov %r8, %r9\n movl $300000, 0x380(%rbp)\n"
	     "6: cmp %r8, %r9\n je 6b\n"
	     "dec %edi\n jnz 9b\n"
	     "mov $0x400000, %eax\n call *%rax\n"
	     "vpaddq %ymm1, %ymm2, %ymm3\n vmovups %ymm3, 0x10000\n"
	     "mov $0x10000000, %edi\n mov (%rdi), %eax\n mov %eax, 8(%rdi)\n"
	     "in $0x41, %al\n" DONE
	     "busy_h: inc %r8\n movl $0, 0xb0(%rbp)\n iretq\n");
LABEL(busy_h);
enum { VEC = 0x61, GROWTH = 2 << 20 };

static struct guest *ready(void)
{
	struct guest *g = guest_apic_irq(busy, VEC);

	guest_grow(g, GROWTH);
	WITH_SREGS(cpu0(g), s) {
		s.cr4 |= 1 << 18 | 1 << 9;
	}
	struct {
		struct kvm_xcrs x;
	} x = { .x.nr_xcrs = 1, .x.xcrs[0] = { .xcr = 0, .value = 7 } };

	vcpu_ioctl(cpu0(g), KVM_SET_XCRS, &x.x, "KVM_SET_XCRS");
	return g;
}

/* From the first KVM_RUN of the thread on. */
static void whole_life(struct guest *g)
{
	struct guest_cpu *c = cpu0(g);
	struct kvm_guest_debug step = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
	}, none = { 0 };
	struct stop s = cpu_run(c);

	CHECK_STOP(s, ST_MMIO);
	CHECK_EQ(s.r.r10, GROWTH / G_UNIT_BYTES);
	CHECK_EQ(s.r.r8, 80);
	cpu_answer(c, 1);
	s = cpu_run(c);
	CHECK_STOP(s, ST_MMIO);
	s = cpu_run(c);
	CHECK_STOP(s, ST_IN);
	cpu_answer(c, 1);
	vcpu_ioctl(c, KVM_SET_GUEST_DEBUG, &step, "KVM_SET_GUEST_DEBUG");
	s = cpu_run(c);
	CHECK_STOP(s, ST_DEBUG);
	vcpu_ioctl(c, KVM_SET_GUEST_DEBUG, &none, "KVM_SET_GUEST_DEBUG");
	s = cpu_run(c);
	CHECK_STOP(s, ST_DONE);
}

T(filter, "a vCPU thread under a filter for what KVM_RUN needs, and no more")
{
	struct guest *g = ready();

	confine(0);
	whole_life(g);
}

/* The threads of the VM are confined too. */
T(tsync, "the same filter on all threads")
{
	struct guest *g = ready();

	confine(SECCOMP_FILTER_FLAG_TSYNC);
	whole_life(g);
}

CODE64(steals, "mov $0x4b564d03, %ecx\n mov $0x18001, %eax\n xor %edx, %edx\n wrmsr\n"
	       "mov $0x4b564d01, %ecx\n mov $0x19001, %eax\n wrmsr\n"
	       "1: mov $50000000, %ecx\n 2: dec %ecx\n jnz 2b\n" STOP(7) "jmp 1b\n");

T(clocks, "kvmclock and steal time under the filter")
{
	struct guest *g = guest_with(M_LONG, steals);

	confine(0);
	for (int i = 0; i < 5; i++) {
		RUN_TO(g, ST_OUT);
	}
}

static volatile sig_atomic_t seen;

static void note(int sig)
{
	(void)sig;
	seen++;
}

CODE64(waits, "mov $0x10000000, %edi\n 1: mov %eax, (%rdi)\n cli\n hlt\n jmp 1b\n");

static _Atomic bool kicked_enough;

/* On a busy host two of them may become one, or come between two runs: as many as it takes. */
static void *kicks(void *arg)
{
	while (!kicked_enough) {
		usleep(3000);
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
	}
	return NULL;
}

T(kicked, "signals, irqfd and ioeventfd under the filter")
{
	struct guest *g = guest_new_flags(M_LONG, GUEST_IRQCHIP);
	int irq = eventfd(0, EFD_CLOEXEC), io = eventfd(0, EFD_CLOEXEC);
	struct kvm_irqfd f = { .fd = (u32)irq, .gsi = 5 };
	struct kvm_ioeventfd e = { .fd = io, .addr = G_MMIO, .len = 4 };
	struct sigaction a = { .sa_handler = note };
	pthread_t self = pthread_self(), t;

	guest_load(g, G_CODE, waits);
	sigaction(SIGUSR1, &a, NULL);
	CHECK_EQ(ioctl(g->vm, KVM_IRQFD, &f), 0);
	CHECK_EQ(ioctl(g->vm, KVM_IOEVENTFD, &e), 0);
	CHECK_EQ(pthread_create(&t, NULL, kicks, &self), 0);
	confine(0);
	for (int i = 0; i < 20; i++) {
		u64 one = 1;

		RUN_TO(g, ST_INTR);
		CHECK_EQ(write(irq, &one, sizeof(one)), 8);
	}
	kicked_enough = true;
	CHECK(seen >= 20);
}

/* A filter of the other kind: what it does not refuse is still used, the rest is not. */
T(by_prctl, "a filter by prctl(2) with errors instead of a kill")
{
	struct guest *g = ready();
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrusage, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog p = { .len = ARRAY_SIZE(code), .filter = code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p))
		test_skip("seccomp: %s", strerror(errno));
	whole_life(g);
}
