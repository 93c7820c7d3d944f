/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/many_vcpus.c - VMs with 288 and 1024 vCPUs: every vCPU runs and is reached by
 * broadcast, by its id and by its logical id, by IPI and by MSI, also above 255 and above 511.
 *
 * Each vCPU has a thread of its own; the test's thread runs vCPU 0.
 */
/* Run: build/standin run -- build/tests/guest/guest_many_vcpus [NAME...] */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"

enum {
	VEC = 0x61, MAX = 1024,
	UP = G_DATA,		/* vCPUs that have come up */
	GOT = G_DATA + 8,	/* interrupts handled */
	SEEN = G_DATA + 0x1000,	/* one u32 for each id: interrupts it has handled */
	IDS = G_DATA + 0x4000,	/* one u32 for each id: how often it came up */
	STACKS = G_FREE,	/* 1 KiB each */
};

#define X2APIC_ON "mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n" \
		  "mov $0x80f, %ecx\n mov $0x1ff, %eax\n xor %edx, %edx\n wrmsr\n"

CODE64(member, X2APIC_ON "mov $0x802, %ecx\n rdmsr\n mov %rax, %rbp\n"
	       "lock incl 0x14000(,%rbp,4)\n lock incq 0x10000\n 1: sti\n hlt\n jmp 1b\n"
	       "member_handler: lock incl 0x11000(,%rbp,4)\n lock incq 0x10008\n"
	       "mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n iretq\n");
LABEL(member_handler);

/* rbx: the others. All come up; then sends rax to rdx' as user space asks: rdi = how many
 * interrupts that makes. */
CODE64(leader, X2APIC_ON "1: cmp %rbx, 0x10000\n jne 1b\n" STOP(1)
	       "2: mov $0x830, %ecx\n movq $0, 0x10008\n mov %rsi, %rax\n wrmsr\n"
	       "3: cmp %rdi, 0x10008\n jne 3b\n" STOP(2) "jmp 2b\n");

static struct guest_cpu cpus[MAX];
static pthread_t threads[MAX];

static void on_signal(int sig)
{
}

static void *member_thread(void *arg)
{
	struct guest_cpu *c = arg;
	struct stop s;

	do
		s = cpu_run(c);
	while (s.kind == ST_INTR && !c->run->immediate_exit);
	if (s.kind != ST_INTR)
		test_fail(__FILE__, __LINE__, "vCPU %d: %s", c->index, stop_text(&s));
	return NULL;
}

static void add(struct guest *g, int id)
{
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct guest_cpu *c = &cpus[id];

	*c = *cpu0(g);
	if (!id)
		return;
	c->index = id;
	c->fd = ioctl(g->vm, KVM_CREATE_VCPU, (unsigned long)id);
	if (c->fd < 0)
		test_die("KVM_CREATE_VCPU %d: %s", id, strerror(errno));
	c->run = mmap(NULL, c->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (c->run == MAP_FAILED)
		test_die("mmap of vCPU %d: %s", id, strerror(errno));
	vcpu_ioctl(c, KVM_SET_CPUID2, g->cpuid, "KVM_SET_CPUID2");
	cpu_setup(c);
	vcpu_ioctl(c, KVM_SET_MP_STATE, &mp, "KVM_SET_MP_STATE");
	WITH_REGS(c, r) {
		r.rip = G_CODE + 0x1000;
		r.rsp = STACKS + (u64)id * 1024;
	}
}

static void send(struct guest *g, u32 icr, u32 dest, u64 reached)
{
	struct stop s;

	WITH_REGS(cpu0(g), r) {
		r.rsi = icr;
		r.rdx = dest;
		r.rdi = reached;
	}
	s = run(g);
	if (!CHECK_STOP(s, ST_OUT))
		test_die("ICR %#x to %#x did not reach %llu vCPUs", icr, dest,
			 (unsigned long long)reached);
}

static void send_msi(struct guest *g, u32 id)
{
	struct kvm_msi m = { .address_lo = 0xfee00000 | (id & 0xff) << 12,
			     .address_hi = id & ~0xffu, .data = VEC };

	*g64(g, GOT) = 0;
	CHECK_EQ(ioctl(g->vm, KVM_SIGNAL_MSI, &m), 1);
	for (int i = 0; i < 5000 && !*(volatile u64 *)g64(g, GOT); i++)
		usleep(1000);
	CHECK_EQ(*g64(g, GOT), 1);
}

static void reach_all(int n)
{
	struct guest *g = guest_new_flags(M_LONG, GUEST_IRQCHIP | GUEST_X2APIC_API(1));
	u32 want = 0;

	guest_load(g, G_CODE, leader);
	guest_load(g, G_CODE + 0x1000, member);
	guest_gate(g, VEC, SEL_CODE64, G_CODE + 0x1000 + (u64)(member_handler - member_b), 0xe, 0,
		   0);
	for (int i = 0; i < n; i++)
		add(g, i);
	for (int i = 1; i < n; i++) {
		pthread_attr_t a;

		pthread_attr_init(&a);
		pthread_attr_setstacksize(&a, 256 << 10);
		if (pthread_create(&threads[i], &a, member_thread, &cpus[i]))
			test_skip("only %d threads are to be had", i);
		pthread_attr_destroy(&a);
	}
	WITH_REGS(cpu0(g), r)
		r.rbx = (u64)n - 1;
	RUN_TO(g, ST_OUT);
	for (int i = 1; i < n; i++)
		CHECK_EQ(*g32(g, IDS + 4 * (u64)i), 1);

	send(g, 0xc4000 | VEC, 0, (u64)n - 1);		/* all others */
	want++;
	for (int i = 1; i < n; i++)
		CHECK_EQ(*g32(g, SEEN + 4 * (u64)i), want);
	for (int i = 1; i < n; i++)			/* each, by its id */
		send(g, 0x4000 | VEC, (u32)i, 1);
	want++;
	for (int i = 1; i < n; i++)
		CHECK_EQ(*g32(g, SEEN + 4 * (u64)i), want);
	/* Logical: one in the last cluster, then the whole cluster (SDM3 11.12.10.2). */
	send(g, 0x4800 | VEC, (u32)(n - 1) / 16 << 16 | 1u << ((n - 1) % 16), 1);
	CHECK_EQ(*g32(g, SEEN + 4 * ((u64)n - 1)), want + 1);
	send(g, 0x4800 | VEC, (u32)(n - 1) / 16 << 16 | 0xffff, 16);
	CHECK_EQ(*g32(g, SEEN + 4 * ((u64)n - 1)), want + 2);
	CHECK_EQ(*g32(g, SEEN + 4 * ((u64)n - 16)), want + 1);
	CHECK_EQ(*g32(g, SEEN + 4 * ((u64)n - 17)), want);
	send_msi(g, (u32)n - 1);
	send_msi(g, 260);
	CHECK_EQ(*g32(g, SEEN + 4 * 260), want + 1);

	for (int i = 1; i < n; i++) {
		cpus[i].run->immediate_exit = 1;
		pthread_kill(threads[i], SIGUSR1);
	}
	for (int i = 1; i < n; i++) {
		pthread_join(threads[i], NULL);
		munmap(cpus[i].run, cpus[i].run_size);
		close(cpus[i].fd);
	}
	guest_free(g);
}

static void enough(int n)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct rlimit l;

	sigaction(SIGUSR1, &sa, NULL);
	if (getrlimit(RLIMIT_NOFILE, &l))
		test_die("getrlimit: %s", strerror(errno));
	if (l.rlim_max < (u64)n * 3)
		test_skip("at most %llu files may be open", (unsigned long long)l.rlim_max);
	if (l.rlim_cur < (u64)n * 3) {
		l.rlim_cur = (u64)n * 3;
		if (setrlimit(RLIMIT_NOFILE, &l))
			test_die("setrlimit: %s", strerror(errno));
	}
}

T(many_288, "288 vCPUs all run and are all reached")
{
	enough(288);
	reach_all(288);
}

T(many_1024, "1024 vCPUs all run and are all reached")
{
	enough(1024);
	reach_all(1024);
}

/* Translated code wants each vCPU's state in the first 2 GiB, where the heap of a program
 * that is not position-independent lies too. */
T(heap, "KVM_CREATE_VCPU 1024 times beside a heap in the first 2 GiB")
{
	const size_t heap = 160u << 20;
	struct guest *g = guest_new(M_LONG);
	void *p = mmap((void *)0x30000000, heap, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	enough(MAX);
	if (p == MAP_FAILED)
		test_skip("0x30000000 is taken: %s", strerror(errno));
	for (unsigned long i = 1; i < MAX; i++)
		if (ioctl(g->vm, KVM_CREATE_VCPU, i) < 0)
			test_die("KVM_CREATE_VCPU %lu: %s", i, strerror(errno));
	munmap(p, heap);
}
