/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/limits.c - resource limits: what a vCPU needs it gets when it is made, or creation
 * fails with an errno. Nothing is left to fail, or to appear in the address space, while the guest
 * runs.
 */
/* Run: build/standin run -- build/tests/guest/guest_limits [NAME...] */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"

enum { GROWTH = 6 << 20 };

/* Calls 6 MiB of code, of which each 64 bytes are a unit. */
CODE64(large, "mov $0x400000, %eax\n call *%rax\n" DONE);

static void runs_large(struct guest_cpu *c)
{
	struct stop s;

	cpu_setup(c);
	s = cpu_run(c);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.r10 % (GROWTH / G_UNIT_BYTES), 0);
}

static u64 status(const char *field)
{
	char line[256];
	u64 kib = 0;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, field, strlen(field)))
			kib = strtoull(line + strlen(field) + 1, NULL, 10);
	if (f)
		fclose(f);
	return kib;
}

/* In a hole that the VMM has made inside a slot, a new mapping would be guest memory. */
T(no_mappings, "while the guest runs nothing is mapped, however much is translated")
{
	struct guest *g = guest_with(M_LONG, large);
	struct stop s;
	u64 before;

	/* A first exit and all that the harness allocates. */
	g->ram[G_FREE] = 0xc3;
	s = RUN_TO(g, ST_DONE);
	status("VmSize");
	guest_grow(g, GROWTH);
	cpu_setup(cpu0(g));
	before = status("VmSize");
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.r10, GROWTH / G_UNIT_BYTES);
	CHECK_EQ(status("VmSize"), before);
	guest_free(g);
}

/* Whatever is mapped executable in [at, at + bytes). */
static int executable_within(const u8 *at, u64 bytes)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long lo, hi;
	char line[512], x;
	int n = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %*c%*c%c", &lo, &hi, &x) == 3 && x == 'x')
			n += lo < (unsigned long)at + bytes && hi > (unsigned long)at;
	if (f)
		fclose(f);
	return n;
}

T(hole, "a vCPU that is made while a slot has a hole does not have its memory in there")
{
	const u64 size = 4ull << 30, hole = 3ull << 30;
	struct guest *g = guest_new(M_LONG);
	struct kvm_userspace_memory_region slot = {
		.slot = 5, .guest_phys_addr = 1ull << 32, .memory_size = size,
	};
	u8 *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		test_skip("4 GiB of addresses");
	slot.userspace_addr = (uintptr_t)p;
	CHECK_EQ(ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &slot), 0);
	munmap(p + (1 << 29), hole);
	for (int i = 0; i < 3; i++)
		guest_add_cpu(g);
	CHECK_EQ(executable_within(p + (1 << 29), hole), 0);
	guest_load(g, G_CODE, large);
	guest_grow(g, GROWTH);
	runs_large(&g->cpu[3]);
	guest_free(g);
}

T(locked, "mlockall(MCL_FUTURE) does not make each vCPU lock all its address space")
{
	struct guest *g = guest_with(M_LONG, large);
	u64 locked, resident;
	void *reserved;

	guest_grow(g, GROWTH);
	if (mlockall(MCL_FUTURE))
		test_skip("mlockall: %s", strerror(errno));
	/* Without CAP_IPC_LOCK what is only reserved counts against RLIMIT_MEMLOCK, too. */
	reserved = mmap(NULL, 1ull << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			-1, 0);
	if (reserved == MAP_FAILED) {
		munlockall();
		test_skip("RLIMIT_MEMLOCK lets no vCPU be made");
	}
	munmap(reserved, 1ull << 30);
	locked = status("VmLck");
	resident = status("VmRSS");
	for (int i = 0; i < 3; i++)
		guest_add_cpu(g);
	/* Three vCPUs; each has 12 KiB of kvm_run, twice, and a stack may be there. */
	CHECK(status("VmLck") - locked < 8 << 10);
	CHECK(status("VmRSS") - resident < 16 << 10);
	runs_large(&g->cpu[3]);
	guest_free(g);
}

/* The whole life of a guest under a limit on files. */
static void file_limit(u64 bytes)
{
	struct rlimit old, now;
	struct guest *g;

	getrlimit(RLIMIT_FSIZE, &old);
	now = (struct rlimit){ bytes, old.rlim_max };
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &now), 0);
	g = guest_with(M_LONG, large);
	guest_grow(g, GROWTH);
	runs_large(cpu0(g));
	guest_free(g);
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &now), 0);
	CHECK_EQ(now.rlim_cur, bytes);
	setrlimit(RLIMIT_FSIZE, &old);
}

T(file_size, "RLIMIT_FSIZE: a guest runs whatever the size of a file may be")
{
	file_limit(100 << 20);
	file_limit(1 << 20);
	file_limit(1 << 14);
	file_limit(0);
}

static u64 address_space(void)
{
	return status("VmSize") << 10;
}

/* Each machine runs, until one cannot be made: -ENOMEM, and the others go on. */
static void space_limit(u64 more)
{
	struct rlimit old, now;
	struct guest *g = guest_with(M_LONG, large);
	int made = 1, e = 0;

	guest_grow(g, GROWTH);
	getrlimit(RLIMIT_AS, &old);
	now = (struct rlimit){ address_space() + more, old.rlim_max };
	CHECK_EQ(setrlimit(RLIMIT_AS, &now), 0);
	while (made < 64) {
		int fd = ioctl(g->vm, KVM_CREATE_VCPU, made);

		if (fd < 0) {
			e = errno;
			break;
		}
		made++;
	}
	CHECK(e == ENOMEM || e == EAGAIN || made == 64);
	runs_large(cpu0(g));
	setrlimit(RLIMIT_AS, &old);
	printf("# %llu MiB more: %d vCPUs\n", (unsigned long long)(more >> 20), made);
	guest_free(g);
}

T(space, "RLIMIT_AS: a vCPU is made with less, or not at all; what was made runs")
{
	space_limit(2048ull << 20);
	space_limit(256 << 20);
	space_limit(4 << 20);
}

T(space_growth, "RLIMIT_AS reached after creation: the guest runs on")
{
	struct guest *g = guest_with(M_LONG, large);
	struct rlimit now;

	guest_grow(g, GROWTH);
	getrlimit(RLIMIT_AS, &now);
	now.rlim_cur = address_space();
	CHECK_EQ(setrlimit(RLIMIT_AS, &now), 0);
	runs_large(cpu0(g));
	now.rlim_cur = now.rlim_max;
	setrlimit(RLIMIT_AS, &now);
	guest_free(g);
}

/* -- threads -- */

static void no_threads(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
	};
	struct sock_fprog p = { .len = ARRAY_SIZE(code), .filter = code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p))
		test_skip("seccomp: %s", strerror(errno));
}

/* A one-shot timer while the guest spins. */
CODE64(timed, "mov $0xfee00000, %ebp\n xor %r8d, %r8d\n movl $0x1ff, 0xf0(%rbp)\n"
	      "movl $0xb, 0x3e0(%rbp)\n movl $0x61, 0x320(%rbp)\n movl $3000000, 0x380(%rbp)\n"
	      "sti\n 1: test %r8d, %r8d\n jz 1b\n" DONE
	      "timed_h: inc %r8\n movl $0, 0xb0(%rbp)\n iretq\n");
LABEL(timed_h);

T(timer_thread, "no thread can be made any more: a spinning guest gets its timer")
{
	struct guest *g = guest_apic_irq(timed, 0x61);

	no_threads();
	RUN_TO(g, ST_DONE);
}

T(no_thread, "no thread can be made: KVM_CREATE_IRQCHIP says so")
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	struct guest *g = guest_new(M_LONG);
	int vm;

	no_threads();
	vm = ioctl(g->sys, KVM_CREATE_VM, 0);
	CHECK(vm >= 0);
	CHECK_EQ(ioctl(vm, KVM_CREATE_IRQCHIP, 0), -1);
	CHECK_EQ(errno, EAGAIN);
	CHECK_EQ(ioctl(vm, KVM_ENABLE_CAP, &split), -1);
	CHECK_EQ(errno, EAGAIN);
}
