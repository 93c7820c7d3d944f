/* SPDX-License-Identifier: MIT */
/* tests/door/machine.h - the smallest machine: one vCPU in real mode, 64 KiB, code at 1000h. */
#ifndef TESTS_DOOR_MACHINE_H
#define TESTS_DOOR_MACHINE_H

#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

static int cpu;
static struct kvm_run *run;

/* 0, or what did not work. */
static int machine(const unsigned char *code, size_t bytes)
{
	struct kvm_userspace_memory_region slot = { .memory_size = 0x10000 };
	const char *node = getenv("STANDIN_NODE");
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };
	struct kvm_sregs sregs;
	unsigned char *mem;
	int sys, vm;

	sys = open(node ? node : "/dev/kvm", O_RDWR | O_CLOEXEC);
	vm = ioctl(sys, KVM_CREATE_VM, 0);
	mem = mmap(NULL, slot.memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		   0);
	memcpy(mem + 0x1000, code, bytes);
	slot.userspace_addr = (unsigned long)mem;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot))
		return 1;
	cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	run = mmap(NULL, ioctl(sys, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED,
		   cpu, 0);
	if (run == MAP_FAILED || ioctl(cpu, KVM_GET_SREGS, &sregs))
		return 2;
	sregs.cs.base = sregs.cs.selector = 0;
	return ioctl(cpu, KVM_SET_SREGS, &sregs) || ioctl(cpu, KVM_SET_REGS, &regs) ? 3 : 0;
}

#endif
