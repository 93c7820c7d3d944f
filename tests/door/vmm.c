/* SPDX-License-Identifier: MIT */
/*
 * tests/door/vmm.c - a small VMM that knows nothing of standin, to be linked in every way there is.
 *
 *	vmm [RUNS]	a guest in real mode counts to RUNS, with one exit for each
 */
/* Run: tests/door/run build/standin-door tests/door quick */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const char *node(void)
{
	const char *n = getenv("STANDIN_NODE");

	return n ? n : "/dev/kvm";
}

#define CHECK(call) \
	({ \
		long r_ = (long)(call); \
		if (r_ < 0) { \
			printf("%s: %s\n", #call, strerror(errno)); \
			exit(1); \
		} \
		r_; \
	})

/* mov $0x10, %dx; again: in %dx, %al; add %al, %bl; out %al, %dx; jmp again */
static const unsigned char code[] = { 0xba, 0x10, 0x00, 0xec, 0x00, 0xc3, 0xee, 0xeb, 0xfa };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : 1000, sys, vm, cpu;
	struct kvm_userspace_memory_region slot = { .memory_size = 0x10000 };
	unsigned char *mem, sum = 0, want = 0;
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };
	struct kvm_run *run;
	double begin;

	sys = (int)CHECK(open(node(), O_RDWR | O_CLOEXEC));
	if (CHECK(ioctl(sys, KVM_GET_API_VERSION, 0)) != 12)
		return 1;
	vm = (int)CHECK(ioctl(sys, KVM_CREATE_VM, 0));
	mem = mmap(NULL, slot.memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		   0);
	memcpy(mem + 0x1000, code, sizeof(code));
	slot.userspace_addr = (unsigned long)mem;
	CHECK(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot));
	cpu = (int)CHECK(ioctl(vm, KVM_CREATE_VCPU, 0));
	run = mmap(NULL, (size_t)CHECK(ioctl(sys, KVM_GET_VCPU_MMAP_SIZE, 0)),
		   PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
	if (run == MAP_FAILED) {
		printf("mmap: %s\n", strerror(errno));
		return 1;
	}
	CHECK(ioctl(cpu, KVM_GET_SREGS, &sregs));
	sregs.cs.base = sregs.cs.selector = 0;
	CHECK(ioctl(cpu, KVM_SET_SREGS, &sregs));
	CHECK(ioctl(cpu, KVM_SET_REGS, &regs));
	begin = now();
	for (int i = 0; i < runs; i++) {
		CHECK(ioctl(cpu, KVM_RUN, 0));
		if (run->exit_reason != KVM_EXIT_IO || run->io.port != 0x10 || run->io.size != 1) {
			printf("exit %u\n", run->exit_reason);
			return 1;
		}
		if (run->io.direction == KVM_EXIT_IO_IN)
			want += ((unsigned char *)run)[run->io.data_offset] =
				(unsigned char)(i * 7);
	}
	if (argc > 2)
		printf("%.0f ns a KVM_RUN\n", (now() - begin) / runs);
	CHECK(ioctl(cpu, KVM_GET_REGS, &regs));
	sum = (unsigned char)regs.rbx;
	/* The last read has not been added if no run followed it. */
	if (runs % 2)
		want -= (unsigned char)((runs - 1) * 7);
	close(cpu);
	close(vm);
	close(sys);
	if (sum != want) {
		printf("the guest has %u instead of %u\n", sum, want);
		return 1;
	}
	printf("vmm: ok\n");
	return 0;
}
