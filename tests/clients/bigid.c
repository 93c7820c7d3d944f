/* SPDX-License-Identifier: MIT */
/*
 * tests/clients/bigid.c - can this KVM create a vCPU with a given id, and does it run? Prints one
 * line: "ID errno-or-0 exit-reason". Exit status 0 when the question could be asked.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
	unsigned long id = argc > 1 ? strtoul(argv[1], NULL, 0) : 600;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, first, vcpu, size;
	struct kvm_userspace_memory_region slot = { .memory_size = 4096 };
	struct kvm_mp_state running = { KVM_MP_STATE_RUNNABLE };
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	struct kvm_enable_cap x2 = { .cap = KVM_CAP_X2APIC_API, .args = { 1 } };
	struct kvm_sregs s;
	struct kvm_run *run;
	unsigned char *ram;

	if (kvm < 0)
		return 2;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	ram = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm < 0 || size < 0 || ram == MAP_FAILED)
		return 2;
	memcpy(ram, "\xe6\x10\xf4", 3);	/* out %al, $0x10; hlt */
	slot.userspace_addr = (unsigned long)ram;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) || ioctl(vm, KVM_ENABLE_CAP, &split) ||
	    ioctl(vm, KVM_ENABLE_CAP, &x2))
		return 2;
	first = ioctl(vm, KVM_CREATE_VCPU, 0ul);
	if (first < 0)
		return 2;
	vcpu = ioctl(vm, KVM_CREATE_VCPU, id);
	if (vcpu < 0) {
		printf("%lu %d -\n", id, errno);
		return 0;
	}
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED || ioctl(vcpu, KVM_GET_SREGS, &s))
		return 2;
	s.cs.base = 0;
	s.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &s) || ioctl(vcpu, KVM_SET_MP_STATE, &running) ||
	    ioctl(vcpu, KVM_SET_REGS, &(struct kvm_regs){ .rflags = 2 }) || ioctl(vcpu, KVM_RUN, 0))
		return 2;
	printf("%lu 0 %u\n", id, run->exit_reason);
	return 0;
}
