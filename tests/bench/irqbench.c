/* SPDX-License-Identifier: MIT */
/*
 * Costs of interrupts, as a client of /dev/kvm: accesses to the local APIC, IPIs, timers,
 * irqfds, and VMs with very many vCPUs. Prints "name value unit" lines; latencies are
 * "name p50 p99 unit".
 *
 *	irqbench [PERCENT [NAME...]]
 *
 * With a PIT that re-injects lost ticks APIC acceleration is inhibited (KVM's rule); the
 * rows that end in "-inhibited" were measured so. "-halted" is with polling as it is by
 * default; it needs a CPU to spare. "-asleep" is with KVM_CAP_HALT_POLL 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

#ifndef KVM_VCPU_TSC_CTRL
#define KVM_VCPU_TSC_CTRL 0
#define KVM_VCPU_TSC_OFFSET 0
#endif

/* Guest-physical layout; the first 4 GiB are mapped 1:1 with 2 MiB pages. */
enum {
	MEM_SIZE = 16 << 20,
	GDT = 0x1000, IDT = 0x2000, PML4 = 0x4000, PDPT = 0x5000, PD = 0x6000,
	CODE = 0x10000,		/* 4 KiB for each vCPU role */
	SHARED = 0x20000,	/* struct shared */
	STACKS = 0x400000,	/* 4 KiB a vCPU */
	VECTOR = 0x41, PORT = 0x3f8, GSI = 5,
	MAX_VCPUS = 1024, MAX_SAMPLES = 20000,
};

/* What host and guests share. RSI points to it in every guest. */
struct shared {
	volatile uint64_t t0;		/* 0: TSC when the interrupt was caused */
	volatile uint64_t t1;		/* 8: TSC in the handler */
	volatile uint64_t count;	/* 16: interrupts handled */
	volatile uint64_t total;	/* 24: of the broadcast, TSC cycles; receiver is ready */
	volatile uint64_t sample[MAX_SAMPLES];	/* 32 */
};

#define GUEST(name, body) \
	extern const char guest_##name[], guest_##name##_end[]; \
	__asm__(".pushsection .rodata\nguest_" #name ":\n" body "\nguest_" #name "_end:\n" \
		".popsection")
#define DONE "mov $0x3f8, %edx\nout %al, %dx\njmp 9f\n9: hlt\n"
#define TSC_RAX "rdtsc\nshl $32, %rdx\nor %rdx, %rax\n"
#define ENABLE "mov $0xfee00000, %edi\nmovl $0x1ff, 0xf0(%rdi)\n"
#define ENABLE_X2 "mov $0x80f, %ecx\nmov $0x1ff, %eax\nxor %edx, %edx\nwrmsr\n"
#define EOI "movl $0, 0xb0(%rdi)\n"
#define EOI_X2 "mov $0x80b, %ecx\nxor %eax, %eax\nxor %edx, %edx\nwrmsr\n"

GUEST(eoi, ENABLE "1: movl $0, 0xb0(%rdi)\ndec %rbx\njnz 1b\n" DONE);
GUEST(tpr, ENABLE "1: movl $0x10, 0x80(%rdi)\ndec %rbx\njnz 1b\n" DONE);
GUEST(cr8, ENABLE "mov $1, %eax\n1: mov %rax, %cr8\ndec %rbx\njnz 1b\n" DONE);
GUEST(eoi_x2, ENABLE_X2 EOI_X2 "1: wrmsr\ndec %rbx\njnz 1b\n" DONE);
GUEST(tpr_x2, ENABLE_X2 "mov $0x808, %ecx\nmov $0x10, %eax\n1: wrmsr\ndec %rbx\njnz 1b\n" DONE);

/* R12 counts what arrived, RBX is how many are wanted. */
#define ONE_EACH(send) \
	"xor %r12d, %r12d\nsti\n1: mov %r12, %r13\n" send \
	"2: cmp %r13, %r12\nje 2b\ncmp %r12, %rbx\nja 1b\ncli\n" DONE
GUEST(self, ENABLE ONE_EACH("movl $0x44041, 0x300(%rdi)\n"));
GUEST(self_handler, "inc %r12\n" EOI "iretq\n");
GUEST(self_x2, ENABLE_X2 ONE_EACH("mov $0x83f, %ecx\nmov $0x41, %eax\nxor %edx, %edx\nwrmsr\n"));
GUEST(self_x2_handler, "inc %r12\n" EOI_X2 "iretq\n");

/* R14: cycles to wait before each IPI, so that the other side is at rest. */
GUEST(sender, ENABLE "movl $0x01000000, 0x310(%rdi)\nxor %r12d, %r12d\n"
	      "1: " TSC_RAX "lea (%rax,%r14), %r15\n3: " TSC_RAX "cmp %r15, %rax\njb 3b\n"
	      "inc %r12\n" TSC_RAX "mov %rax, (%rsi)\nmovl $0x4041, 0x300(%rdi)\n"
	      "2: cmp %r12, 16(%rsi)\njne 2b\n"
	      TSC_RAX "sub (%rsi), %rax\nmov %rax, 32(%rsi,%r12,8)\n"
	      "cmp %rbx, %r12\njb 1b\n" DONE);
/* One-way latencies go behind the sender's round trips: sample[10000] on. */
GUEST(spinner, ENABLE "incq 24(%rsi)\nsti\n1: jmp 1b\n");
GUEST(sleeper, ENABLE "incq 24(%rsi)\n1: sti\nhlt\njmp 1b\n");
GUEST(receive_handler, TSC_RAX "mov %rax, 8(%rsi)\n" EOI "incq 16(%rsi)\niretq\n");
GUEST(oneway_handler, TSC_RAX "sub (%rsi), %rax\nmov 16(%rsi), %rcx\n"
		      "mov %rax, 80032(%rsi,%rcx,8)\n" EOI "incq 16(%rsi)\niretq\n");

/* TSC-deadline timer, R14 cycles ahead. */
#define TIMER(wait) \
	ENABLE "movl $0x40041, 0x320(%rdi)\nxor %r12d, %r12d\n" \
	"1: mov %r12, %r13\n" TSC_RAX "add %r14, %rax\nmov %rax, %r15\nmov %rax, %rdx\n" \
	"shr $32, %rdx\nmov $0x6e0, %ecx\nwrmsr\n2: " wait "cmp %r13, %r12\nje 2b\n" \
	"cmp %rbx, %r12\njb 1b\n" DONE
GUEST(timer_spin, TIMER("sti\n"));
GUEST(timer_halt, TIMER("cli\ncmp %r13, %r12\njne 4f\nsti\nhlt\n4: "));
GUEST(timer_handler, TSC_RAX "sub %r15, %rax\nmov %rax, 32(%rsi,%r12,8)\ninc %r12\n" EOI "iretq\n");

/* To all others, by shorthand, and wait until all have answered. RBX: how many they are. */
GUEST(shout, ENABLE_X2 "1: cmp %rbx, 16(%rsi)\njne 1b\n"	/* all are up */
	     "movq $0, 16(%rsi)\n" TSC_RAX "mov %rax, %r15\n"
	     "mov $0x830, %ecx\nmov $0xc4041, %eax\nxor %edx, %edx\nwrmsr\n"
	     "2: cmp %rbx, 16(%rsi)\njne 2b\n" TSC_RAX "sub %r15, %rax\nmov %rax, 24(%rsi)\n"
	     "mov $0x3f8, %edx\nout %al, %dx\njmp 1b\n");
GUEST(crowd, ENABLE_X2 "lock incq 16(%rsi)\n1: sti\nhlt\njmp 1b\n");
GUEST(crowd_handler, EOI_X2 "lock incq 16(%rsi)\niretq\n");

struct vcpu {
	int fd;
	struct kvm_run *run;
	pthread_t thread;
};

static int kvm, vm;
static struct vcpu vcpus[MAX_VCPUS];
static struct shared *shared;
static double tsc_per_ns;
static char **wanted;

static uint64_t tsc(void)
{
	return __builtin_ia32_rdtsc();
}

static void create_vm(int inhibited)
{
	struct kvm_userspace_memory_region slot = { .memory_size = MEM_SIZE };
	struct kvm_pit_config pit = { 0 };
	struct kvm_enable_cap ids = { .cap = KVM_CAP_X2APIC_API,
				      .args = { KVM_X2APIC_API_USE_32BIT_IDS } };
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry e;
	} route = {
		.head.nr = 1,
		.e = { .gsi = GSI,
		       .type = KVM_IRQ_ROUTING_MSI,
		       .u.msi = { .address_lo = 0xfee00000, .data = VECTOR } },
	};

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		die("/dev/kvm");
	memory = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	shared = (struct shared *)(memory + SHARED);
	vm = must(kvm, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
	must(vm, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");
	must(vm, KVM_ENABLE_CAP, &ids, "KVM_CAP_X2APIC_API");
	if (inhibited)
		must(vm, KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2");
	must(vm, KVM_SET_GSI_ROUTING, &route, "KVM_SET_GSI_ROUTING");
	slot.userspace_addr = (uintptr_t)memory;
	must(vm, KVM_SET_USER_MEMORY_REGION, &slot, "KVM_SET_USER_MEMORY_REGION");
	put64(GDT + 8, 0x00209b0000000000);
	put64(GDT + 16, 0x00cf93000000ffff);
	put64(PML4, PDPT | 7);
	for (int i = 0; i < 4; i++)
		put64(PDPT + i * 8, (PD + i * 0x1000) | 7);
	for (uint64_t i = 0; i < 2048; i++)
		put64(PD + i * 8, i << 21 | 0x87);
}

static void create_vcpu(int i)
{
	int size = must(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE");
	struct vcpu *v = &vcpus[i];

	v->fd = must(vm, KVM_CREATE_VCPU, (void *)(uintptr_t)i, "KVM_CREATE_VCPU");
	v->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED)
		die("mmap of the vCPU");
}

static void set_cpuid(int i)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[256];
	} cpuid;

	cpuid.head.nent = 256;
	must(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid, "KVM_GET_SUPPORTED_CPUID");
	for (unsigned k = 0; k < cpuid.head.nent; k++)
		if (cpuid.entry[k].function == 1)
			cpuid.entry[k].ecx |= 1 << 21 | 1 << 24;	/* x2APIC, TSC deadline */
	must(vcpus[i].fd, KVM_SET_CPUID2, &cpuid, "KVM_SET_CPUID2");
}

struct program {
	const char *code, *end, *handler, *handler_end;
};
#define PROGRAM(name, h) \
	(struct program){ guest_##name, guest_##name##_end, guest_##h, guest_##h##_end }

/* Code and handler at CODE + role * 4096; all vCPUs share one IDT, so one handler. */
static void start(int i, int role, struct program p, int x2, uint64_t rbx, uint64_t r14)
{
	struct kvm_segment code = { .selector = 8, .limit = ~0u, .type = 11, .s = 1, .present = 1,
				    .g = 1, .l = 1 };
	struct kvm_segment data = { .selector = 16, .limit = ~0u, .type = 3, .s = 1, .present = 1,
				    .g = 1, .db = 1 };
	unsigned at = CODE + role * 0x1000;
	uint64_t handler = at + 0x800;
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_regs r = { .rip = at, .rsp = STACKS + (i + 1) * 4096, .rbx = rbx, .r14 = r14,
			      .rsi = SHARED, .rflags = 2 };
	struct kvm_sregs s;

	memcpy(memory + at, p.code, p.end - p.code);
	if (p.handler) {
		memcpy(memory + handler, p.handler, p.handler_end - p.handler);
		put64(IDT + VECTOR * 16, (handler & 0xffff) | 8 << 16 | 0x8e00ull << 32 |
						 (handler & 0xffff0000) << 32);
		put64(IDT + VECTOR * 16 + 8, 0);
	}
	must(vcpus[i].fd, KVM_GET_SREGS, &s, "KVM_GET_SREGS");
	s.cs = code;
	s.ss = s.ds = s.es = s.fs = s.gs = data;
	s.tr = (struct kvm_segment){ .limit = 0x67, .type = 11, .present = 1 };
	s.ldt = (struct kvm_segment){ .unusable = 1 };
	s.gdt = (struct kvm_dtable){ .base = GDT, .limit = 0x17 };
	s.idt = (struct kvm_dtable){ .base = IDT, .limit = 0xfff };
	s.cr0 = 0x80010031;
	s.cr3 = PML4;
	s.cr4 = 0x20;
	s.efer = 0xd01;
	s.apic_base = (s.apic_base & ~0xc00ull) | (x2 ? 0xc00 : 0x800);
	must(vcpus[i].fd, KVM_SET_SREGS, &s, "KVM_SET_SREGS");
	must(vcpus[i].fd, KVM_SET_REGS, &r, "KVM_SET_REGS");
	must(vcpus[i].fd, KVM_SET_MP_STATE, &mp, "KVM_SET_MP_STATE");
	shared->t0 = shared->t1 = shared->count = shared->total = 0;
}

/* Runs until the guest's OUT, or for ever. */
static void run_to_end(int i)
{
	struct kvm_run *run = vcpus[i].run;
	int r;

	do
		r = ioctl(vcpus[i].fd, KVM_RUN, 0);
	while (r < 0 && (errno == EINTR || errno == EAGAIN));
	if (r < 0)
		die("KVM_RUN");
	if (run->exit_reason == KVM_EXIT_IO)
		return;
	fprintf(stderr, "irqbench: vCPU %d: exit reason %u\n", i, run->exit_reason);
	_exit(1);
}

/* Sender and receiver on CPUs of their own, so that neither waits for a time slice. */
static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		sched_setaffinity(0, sizeof(set), &set);
}

static void *pinned_thread(void *arg)
{
	pin(0);
	run_to_end((int)(intptr_t)arg);
	return NULL;
}

static void *vcpu_thread(void *arg)
{
	run_to_end((int)(intptr_t)arg);
	return NULL;
}

static void start_thread(int i, int pinned)
{
	pthread_attr_t a;
	int r;

	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 128 << 10);
	r = pthread_create(&vcpus[i].thread, &a, pinned ? pinned_thread : vcpu_thread,
			   (void *)(intptr_t)i);
	if (r) {
		errno = r;
		die("pthread_create");
	}
	pthread_attr_destroy(&a);
}

/* A disabled APIC takes no interrupts. */
static void wait_until_ready(void)
{
	while (!shared->total)
		usleep(1000);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void print_latency(const char *name, const char *suffix, volatile uint64_t *sample, long n)
{
	uint64_t *s = malloc(n * sizeof(*s));

	/* The first are spent on translating and on page faults. */
	long skip = n / 20;

	for (long i = 0; i < n; i++)
		s[i] = sample[i];
	qsort(s + skip, n - skip, sizeof(*s), by_value);
	n -= skip;
	printf("%s%s %.2f %.2f us\n", name, suffix, s[skip + n / 2] / tsc_per_ns / 1e3,
	       s[skip + n * 99 / 100] / tsc_per_ns / 1e3);
	free(s);
}

/* -- the rows -- */

static void loop_row(const char *name, const char *suffix, struct program p, int x2, long n)
{
	double best = 1e18;

	/* Many short runs: on a busy host the best of them was not interrupted. */
	for (int k = 0; k < 25; k++) {
		double t;

		start(0, 0, p, x2, n, 0);
		t = now_ns();
		run_to_end(0);
		t = (now_ns() - t) / n;
		best = t < best ? t : best;
	}
	printf("%s%s %.1f ns\n", name, suffix, best);
}

static void one_vcpu(const char *suffix, long n)
{
	create_vcpu(0);
	set_cpuid(0);
	loop_row("eoi", suffix, (struct program){ guest_eoi, guest_eoi_end, 0, 0 }, 0, n);
	loop_row("tpr", suffix, (struct program){ guest_tpr, guest_tpr_end, 0, 0 }, 0, n);
	loop_row("cr8", suffix, (struct program){ guest_cr8, guest_cr8_end, 0, 0 }, 0, n);
	loop_row("self-ipi", suffix, PROGRAM(self, self_handler), 0, n / 20);
	loop_row("eoi-x2", suffix, (struct program){ guest_eoi_x2, guest_eoi_x2_end, 0, 0 }, 1, n);
	loop_row("tpr-x2", suffix, (struct program){ guest_tpr_x2, guest_tpr_x2_end, 0, 0 }, 1, n);
	loop_row("self-ipi-x2", suffix, PROGRAM(self_x2, self_x2_handler), 1, n / 20);
}

static void get_regs(long n)
{
	struct kvm_regs r;
	double best = 1e18;

	create_vcpu(0);
	for (int k = 0; k < 5; k++) {
		double t = now_ns();

		for (long i = 0; i < n; i++)
			must(vcpus[0].fd, KVM_GET_REGS, &r, "KVM_GET_REGS");
		t = (now_ns() - t) / n;
		best = t < best ? t : best;
	}
	printf("get-regs %.1f ns\n", best);
}

/* Halted vCPUs do not poll first. */
static void never_poll(void)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_HALT_POLL };

	must(vm, KVM_ENABLE_CAP, &cap, "KVM_CAP_HALT_POLL");
}

/* vCPU 0 sends, vCPU 1 receives, spinning or halted. Both directions of the time are taken. */
static void ipi(const char *suffix, int asleep, long n)
{
	const char *way = asleep ? "ipi-to-halted" : "ipi",
		   *trip = asleep ? "ipi-round-trip-halted" : "ipi-round-trip";
	struct program receiver =
		asleep ? PROGRAM(sleeper, oneway_handler) : PROGRAM(spinner, oneway_handler);

	n = n > MAX_SAMPLES / 2 - 8 ? MAX_SAMPLES / 2 - 8 : n;
	for (int i = 0; i < 2; i++) {
		create_vcpu(i);
		set_cpuid(i);
	}
	start(1, 1, receiver, 0, 0, 0);
	start(0, 0, (struct program){ guest_sender, guest_sender_end, 0, 0 }, 0, n,
	      (asleep ? 50000 : 2000) * tsc_per_ns);
	start_thread(1, 1);
	pin(1);
	wait_until_ready();
	run_to_end(0);
	print_latency(way, suffix, shared->sample + 10000, n);
	print_latency(trip, suffix, shared->sample + 1, n);
}

static void timer(const char *suffix, int halt, long n)
{
	n = n > MAX_SAMPLES ? MAX_SAMPLES : n;
	create_vcpu(0);
	set_cpuid(0);
	start(0, 0, halt ? PROGRAM(timer_halt, timer_handler) : PROGRAM(timer_spin, timer_handler),
	      0, n, 100000 * tsc_per_ns);
	run_to_end(0);
	print_latency(halt ? "timer-halted" : "timer", suffix, shared->sample, n);
}

/* The kernel writes as no library call does. */
static void plain_write(int fd, const void *buf, unsigned long n)
{
	long r;

	__asm__ volatile("syscall" : "=a"(r) : "0"((long)SYS_write), "D"((long)fd), "S"(buf), "d"(n)
			 : "rcx", "r11", "memory");
	if (r != (long)n)
		die("write");
}

static void irqfd(const char *name, const char *suffix, int asleep, int behind, long n)
{
	struct kvm_irqfd irqfd = { .gsi = GSI };
	struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET };
	uint64_t one = 1, offset = 0;
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	n = n > MAX_SAMPLES ? MAX_SAMPLES : n;
	irqfd.fd = fd;
	create_vcpu(0);
	set_cpuid(0);
	start(0, 0, asleep ? PROGRAM(sleeper, receive_handler) : PROGRAM(spinner, receive_handler),
	      0, 0, 0);
	attr.addr = (uintptr_t)&offset;
	must(vcpus[0].fd, KVM_GET_DEVICE_ATTR, &attr, "KVM_VCPU_TSC_OFFSET");
	must(vm, KVM_IRQFD, &irqfd, "KVM_IRQFD");
	start_thread(0, 1);
	pin(1);
	wait_until_ready();
	for (long i = 0; i < n; i++) {
		struct timespec rest = { .tv_nsec = 50000 };
		uint64_t t0;

		nanosleep(&rest, NULL);
		t0 = tsc();
		if (behind)
			plain_write(fd, &one, 8);
		else if (write(fd, &one, 8) != 8)
			die("write to the irqfd");
		while (shared->count != (uint64_t)i + 1)
			sched_yield();
		shared->sample[i] = shared->t1 - offset - t0;
	}
	print_latency(name, suffix, shared->sample, n);
}

static void many(int n)
{
	struct rlimit lim;
	long before = resident_kib();
	double t;

	if (!getrlimit(RLIMIT_NOFILE, &lim) && lim.rlim_cur < 8192) {
		lim.rlim_cur = lim.rlim_max < 8192 ? lim.rlim_max : 8192;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
	t = now_ns();
	for (int i = 0; i < n; i++)
		create_vcpu(i);
	printf("%d-vcpus-create %.1f us\n", n, (now_ns() - t) / n / 1e3);
	printf("%d-vcpus-memory-idle %ld KiB\n", n, (resident_kib() - before) / n);
	for (int i = n - 1; i >= 0; i--) {
		set_cpuid(i);
		start(i, i ? 1 : 0,
		      i ? PROGRAM(crowd, crowd_handler)
			: (struct program){ guest_shout, guest_shout_end, 0, 0 },
		      1, n - 1, 0);
	}
	t = now_ns();
	for (int i = 1; i < n; i++)
		start_thread(i, 0);
	run_to_end(0);		/* includes waiting for all to be up, so it is thrown away */
	printf("%d-vcpus-start %.1f ms\n", n, (now_ns() - t) / 1e6);
	for (int k = 0; k < 20; k++) {
		run_to_end(0);
		shared->sample[k] = shared->total;
	}
	qsort((void *)shared->sample, 20, 8, by_value);
	printf("%d-vcpus-broadcast %.2f ms\n", n, shared->sample[10] / tsc_per_ns / 1e6);
	printf("%d-vcpus-memory %ld KiB\n", n, (resident_kib() - before) / n);
}

static int want(const char *name)
{
	if (!wanted || !*wanted)
		return 1;
	for (char **w = wanted; *w; w++)
		if (!fnmatch(*w, name, 0))
			return 1;
	return 0;
}

/* A child for each VM: threads and mappings go with it. */
static int child(const char *name)
{
	int status;
	pid_t p;

	if (!want(name))
		return 0;
	fflush(stdout);
	p = fork();
	if (p < 0)
		die("fork");
	if (!p)
		return 1;
	if (waitpid(p, &status, 0) < 0 || status) {
		fprintf(stderr, "irqbench: %s failed (status %#x)\n", name, status);
		exit(1);
	}
	return 0;
}

#define ROW(name, inhibited, body) do { \
	if (child(name)) { \
		create_vm(inhibited); \
		body; \
		fflush(stdout); \
		_exit(0); \
	} \
} while (0)

int main(int argc, char **argv)
{
	long percent = argc > 1 ? atol(argv[1]) : 100, n = 2000 * percent / 100;
	double t = now_ns();
	uint64_t c = tsc();

	wanted = argc > 2 ? argv + 2 : NULL;
	n = n > 100 ? n : 100;
	usleep(20000);
	tsc_per_ns = (tsc() - c) / (now_ns() - t);
	ROW("get-regs", 0, get_regs(n * 20));
	for (int inhibited = 0; inhibited < 2; inhibited++) {
		const char *s = inhibited ? "-inhibited" : "";
		const char *asleep = inhibited ? "-asleep-inhibited" : "-asleep";

		ROW("one", inhibited, one_vcpu(s, n * 50));
		ROW("ipi", inhibited, ipi(s, 0, n * 2));
		ROW("ipi-to-halted", inhibited, ipi(s, 1, n));
		ROW("ipi-to-halted-asleep", inhibited, (never_poll(), ipi(asleep, 1, n)));
		ROW("timer", inhibited, timer(s, 0, n));
		ROW("timer-halted", inhibited, timer(s, 1, n));
		ROW("timer-halted-asleep", inhibited, (never_poll(), timer(asleep, 1, n)));
		ROW("irqfd", inhibited, irqfd("irqfd", s, 0, 0, n));
		ROW("irqfd-halted", inhibited, irqfd("irqfd-halted", s, 1, 0, n));
		ROW("irqfd-halted-asleep", inhibited,
		    (never_poll(), irqfd("irqfd-halted", asleep, 1, 0, n)));
		ROW("irqfd-kernel", inhibited, irqfd("irqfd-kernel", s, 0, 1, n));
	}
	ROW("288-vcpus", 0, many(288));
	ROW("1024-vcpus", 0, many(1024));
	return 0;
}
