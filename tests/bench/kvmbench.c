/* SPDX-License-Identifier: MIT */
/*
 * Costs of the KVM ABI itself, in nanoseconds: a client of /dev/kvm with one VM, one vCPU in
 * 64-bit mode and small loops as guest code. Prints "name nanoseconds" lines, or, for what
 * is not a time, "name value unit".
 *
 *	kvmbench [PERCENT [NAME]]	(NAME: only that row)
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

/* Guest-physical layout; the first 4 GiB are mapped 1:1 with 2 MiB pages. */
enum {
	MEM_SIZE = 2 << 20,
	GDT = 0x1000,
	IDT = 0x2000,
	TSS = 0x3000,
	PML4 = 0x4000,
	PDPT = 0x5000,
	PD = 0x6000,		/* four pages */
	PT = 0xa000,		/* maps the 2 MiB at FAULT_VA */
	CODE = 0x10000,
	STACK = 0x20000,
	SPARE = 0x30000,	/* what the page-fault test maps */
	MMIO = 0x40000000,
	FAULT_VA = 0x80000000,
	PORT = 0x3f8,
	VECTOR = 0x40,
};

enum {
	SEL_CODE = 0x08,
	SEL_DATA = 0x10,
	SEL_USER_DATA = 0x1b,
	SEL_USER_CODE = 0x23,
	SEL_TSS = 0x28
};

/*
 * The guest's code. RBX counts the repetitions; each loop ends with OUT to PORT. The code is
 * copied to CODE, so it refers to itself only relative to RIP.
 */
#define GUEST(name, body) \
	extern const char guest_##name[], guest_##name##_end[]; \
	__asm__(".pushsection .rodata\nguest_" #name ":\n" body "\nguest_" #name "_end:\n" \
		".popsection")
#define DONE "mov $0x3f8, %edx\nout %al, %dx\njmp 9f\n9: hlt\n"

GUEST(out, "mov $0x3f8, %edx\n1: out %al, %dx\njmp 1b\n");
GUEST(mmio, "mov $0x40000000, %edi\n1: mov (%rdi), %eax\njmp 1b\n");
GUEST(nothing, "1: dec %rbx\njnz 1b\n" DONE);
GUEST(cpuid, "mov %rbx, %rsi\n1: xor %eax, %eax\ncpuid\ndec %rsi\njnz 1b\n" DONE);
GUEST(eoi, "mov $0xfee000b0, %edi\n1: movl $0, (%rdi)\ndec %rbx\njnz 1b\n" DONE);
/* The handler of VECTOR is `ipi_handler`; RCX counts what arrived. */
GUEST(ipi, "mov $0xfee00000, %edi\nmovl $0x1ff, 0xf0(%rdi)\nxor %ecx, %ecx\nsti\n"
	   "1: mov %rcx, %rax\nmovl $0x44040, 0x300(%rdi)\n"
	   "2: cmp %rax, %rcx\nje 2b\ncmp %rcx, %rbx\nja 1b\ncli\n" DONE);
GUEST(ipi_handler, "inc %rcx\nmovl $0, 0xb0(%rdi)\niretq\n");
GUEST(syscall, "1: syscall\ndec %rbx\njnz 1b\n" DONE);
GUEST(sysret, "sysretq\n");
/* Each round unmaps the page, touches it, and the handler maps it again. */
GUEST(fault, "mov $0xa000, %esi\nmov $0x80000000, %edi\n"
	     "1: movq $0, (%rsi)\ninvlpg (%rdi)\nmov (%rdi), %al\ndec %rbx\njnz 1b\n" DONE);
GUEST(fault_handler, "add $8, %rsp\nmovq $0x30003, (%rsi)\niretq\n");
GUEST(invlpg, "mov $0x80000000, %edi\nmov $0xa000, %esi\nmovq $0x30003, (%rsi)\n"
	      "1: invlpg (%rdi)\nmov (%rdi), %al\ndec %rbx\njnz 1b\n" DONE);

static int vm, vcpu;
static struct kvm_run *run;
static const char *only;

static void put_gate(int vector, uint64_t handler)
{
	put64(IDT + vector * 16,
	      (handler & 0xffff) | SEL_CODE << 16 | 0x8e00ull << 32 | (handler & 0xffff0000) << 32);
	put64(IDT + vector * 16 + 8, handler >> 32);
}

static void build_memory(void)
{
	memset(memory, 0, MEM_SIZE);
	put64(GDT + SEL_CODE, 0x00209b0000000000);
	put64(GDT + SEL_DATA, 0x00cf93000000ffff);
	put64(GDT + (SEL_USER_DATA & ~7), 0x00cff3000000ffff);
	put64(GDT + (SEL_USER_CODE & ~7), 0x0020fb0000000000);
	put64(GDT + SEL_TSS, 0x0000890000000067 | (uint64_t)TSS << 16);
	put64(TSS + 4, STACK);
	put64(PML4, PDPT | 7);
	for (int i = 0; i < 4; i++)
		put64(PDPT + i * 8, (PD + i * 0x1000) | 7);
	for (uint64_t i = 0; i < 2048; i++)
		put64(PD + i * 8, i << 21 | 0x87);
	put64(PD + (FAULT_VA >> 21) * 8ull, PT | 7);
}

static void segment(struct kvm_segment *s, int selector, int type, int user)
{
	*s = (struct kvm_segment){
		.selector = selector, .limit = 0xffffffff, .type = type, .s = 1, .present = 1,
		.dpl = user ? 3 : 0, .g = 1, .l = type == 11, .db = type != 11,
	};
}

/* Puts the guest at the start of one loop. */
static void start(const char *code, const char *end, const char *handler, const char *handler_end,
		  int vector, int user, uint64_t count)
{
	struct kvm_sregs s;
	struct kvm_regs r = { .rip = CODE, .rsp = STACK, .rbx = count, .rflags = 2 };

	build_memory();
	memcpy(memory + CODE, code, end - code);
	if (handler) {
		memcpy(memory + CODE + 0x1000, handler, handler_end - handler);
		if (vector >= 0)
			put_gate(vector, CODE + 0x1000);
	}
	must(vcpu, KVM_GET_SREGS, &s, "KVM_GET_SREGS");
	segment(&s.cs, user ? SEL_USER_CODE : SEL_CODE, 11, user);
	segment(&s.ss, user ? SEL_USER_DATA : SEL_DATA, 3, user);
	segment(&s.ds, user ? SEL_USER_DATA : SEL_DATA, 3, user);
	s.es = s.fs = s.gs = s.ds;
	s.tr = (struct kvm_segment){ .selector = SEL_TSS, .base = TSS, .limit = 0x67, .type = 11,
				     .present = 1 };
	s.ldt = (struct kvm_segment){ .unusable = 1 };
	s.gdt = (struct kvm_dtable){ .base = GDT, .limit = 0x37 };
	s.idt = (struct kvm_dtable){ .base = IDT, .limit = 0xfff };
	s.cr0 = 0x80010031;
	s.cr3 = PML4;
	s.cr4 = 0x20;
	s.efer = 0xd01;
	must(vcpu, KVM_SET_SREGS, &s, "KVM_SET_SREGS");
	if (user)
		r.rflags |= 3 << 12;	/* IOPL 3: the loop ends with OUT */
	must(vcpu, KVM_SET_REGS, &r, "KVM_SET_REGS");
}

static void set_msrs(void)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[3];
	} m = {
		.head.nmsrs = 3,
		.entry = {
			{ .index = 0xc0000081,	/* STAR */
			  .data = (uint64_t)(SEL_DATA | 3) << 48 | (uint64_t)SEL_CODE << 32 },
			{ .index = 0xc0000082, .data = CODE + 0x1000 },	/* LSTAR */
			{ .index = 0xc0000084, .data = 0 },		/* SFMASK */
		},
	};

	if (must(vcpu, KVM_SET_MSRS, &m, "KVM_SET_MSRS") != 3)
		die("KVM_SET_MSRS");
}

static void expect(unsigned reason, const char *name)
{
	int r;

	do
		r = ioctl(vcpu, KVM_RUN, 0);
	while (r < 0 && (errno == EINTR || errno == EAGAIN));
	if (r < 0)
		die(name);
	if (run->exit_reason != reason) {
		fprintf(stderr, "kvmbench: %s: exit reason %u instead of %u", name,
			run->exit_reason, reason);
		if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
			fprintf(stderr, ", suberror %u", run->internal.suberror);
		fprintf(stderr, "\n");
		exit(1);
	}
}

/* Exits and re-entries: the guest exits for ever. */
static void round_trips(const char *name, const char *code, const char *end, unsigned reason,
			long n)
{
	double best = 1e18;

	if (only && strcmp(only, name))
		return;
	start(code, end, NULL, NULL, -1, 0, 0);
	expect(reason, name);
	for (int k = 0; k < 5; k++) {
		double t = now_ns();

		for (long i = 0; i < n; i++)
			expect(reason, name);
		t = (now_ns() - t) / n;
		best = t < best ? t : best;
	}
	printf("%s %.1f\n", name, best);
	/* The exit's operation must be completed before the state may be changed. */
	run->immediate_exit = 1;
	if (!ioctl(vcpu, KVM_RUN, 0) || errno != EINTR)
		die("KVM_RUN with immediate_exit");
	run->immediate_exit = 0;
}

static void leave(int sig)
{
	(void)sig;
	run->immediate_exit = 1;
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/*
 * How a VMM gets a vCPU out of KVM_RUN: a signal with a handler. The guest spins; from the time
 * that a timer was set for until KVM_RUN has returned, the median.
 */
static void kick(long n)
{
	struct sigevent e = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	const struct itimerspec soon = { .it_value.tv_nsec = 60000 };
	struct sigaction a = { .sa_handler = leave };
	timer_t timer;
	double *t;

	if (only && strcmp(only, "kick"))
		return;
	t = calloc(n, sizeof(*t));
	e._sigev_un._tid = gettid();
	if (!t || sigaction(SIGUSR1, &a, NULL) || timer_create(CLOCK_MONOTONIC, &e, &timer))
		die("kick");
	start(guest_nothing, guest_nothing_end, NULL, NULL, -1, 0, -1);
	for (long i = 0; i < n; i++) {
		run->immediate_exit = 0;
		t[i] = now_ns() + 60000;
		timer_settime(timer, 0, &soon, NULL);
		if (ioctl(vcpu, KVM_RUN, 0) != -1 || errno != EINTR)
			die("KVM_RUN with a signal");
		t[i] = now_ns() - t[i];
	}
	run->immediate_exit = 0;
	qsort(t, n, sizeof(*t), by_size);
	printf("kick %.0f\n", t[n / 2]);
	timer_delete(timer);
	free(t);
}

/* The guest loops n times, then exits once. */
static double loop(const char *name, const char *code, const char *end, const char *handler,
		   const char *handler_end, int vector, int user, long n)
{
	double best = 1e18;

	if (only && strcmp(only, name))
		return 0;
	for (int k = 0; k < 5; k++) {
		double t;

		start(code, end, handler, handler_end, vector, user, n);
		t = now_ns();
		expect(KVM_EXIT_IO, name);
		t = (now_ns() - t) / n;
		best = t < best ? t : best;
	}
	printf("%s %.1f\n", name, best);
	fflush(stdout);
	return best;
}

#define LOOP(name, n) \
	loop(#name, guest_##name, guest_##name##_end, NULL, NULL, -1, 0, n)
#define LOOP_HANDLER(name, handler, vector, user, n) \
	loop(#name, guest_##name, guest_##name##_end, guest_##handler, guest_##handler##_end, \
	     vector, user, n)

static void create(void)
{
	struct kvm_userspace_memory_region slot = { .memory_size = MEM_SIZE };
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[256];
	} cpuid = { .head.nent = 256 };
	int size, kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0)
		die("/dev/kvm");
	memory = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	vm = must(kvm, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
	must(vm, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");
	slot.userspace_addr = (uintptr_t)memory;
	must(vm, KVM_SET_USER_MEMORY_REGION, &slot, "KVM_SET_USER_MEMORY_REGION");
	vcpu = must(vm, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU");
	size = must(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE");
	run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		die("mmap of the vCPU");
	must(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid, "KVM_GET_SUPPORTED_CPUID");
	must(vcpu, KVM_SET_CPUID2, &cpuid, "KVM_SET_CPUID2");
}

int main(int argc, char **argv)
{
	long percent = argc > 1 ? atol(argv[1]) : 100, n = 20000 * percent / 100;
	long resident = resident_kib();
	double t = now_ns();

	n = n > 100 ? n : 100;
	only = argc > 2 ? argv[2] : NULL;
	create();
	start(guest_out, guest_out_end, NULL, NULL, -1, 0, 0);
	expect(KVM_EXIT_IO, "first exit");
	printf("create %.3f ms\n", (now_ns() - t) / 1e6);
	printf("memory %ld KiB\n", resident_kib() - resident);
	fflush(stdout);

	round_trips("out", guest_out, guest_out_end, KVM_EXIT_IO, n);
	round_trips("mmio", guest_mmio, guest_mmio_end, KVM_EXIT_MMIO, n);
	kick(n / 10);
	set_msrs();
	LOOP(nothing, n * 100);
	LOOP(cpuid, n);
	LOOP(eoi, n * 10);
	LOOP_HANDLER(syscall, sysret, -1, 1, n * 10);
	LOOP_HANDLER(fault, fault_handler, 14, 0, n);
	LOOP(invlpg, n);
	LOOP_HANDLER(ipi, ipi_handler, VECTOR, 0, n);
	return 0;
}
