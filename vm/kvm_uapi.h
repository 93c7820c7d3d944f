/* SPDX-License-Identifier: MIT */
/*
 * vm/kvm_uapi.h - <linux/kvm.h> plus the parts of the ABI that are newer than
 * the oldest kernel headers we build with (6.1).
 */
#ifndef VM_KVM_UAPI_H
#define VM_KVM_UAPI_H

#include <linux/kvm.h>

#include "base/types.h"

#ifndef KVM_SET_USER_MEMORY_REGION2
#define KVM_SET_USER_MEMORY_REGION2 0x40a0ae49
struct kvm_userspace_memory_region2 {
	u32 slot, flags;
	u64 guest_phys_addr, memory_size, userspace_addr;
	u64 guest_memfd_offset;
	u32 guest_memfd, pad1;
	u64 pad2[14];
};
#endif
#ifndef KVM_PRE_FAULT_MEMORY
#define KVM_PRE_FAULT_MEMORY 0xc040aed5
struct kvm_pre_fault_memory {
	u64 gpa, size, flags;
	u64 padding[5];
};
#endif

#ifndef KVM_CAP_DIRTY_LOG_RING_ACQ_REL
#define KVM_CAP_DIRTY_LOG_RING_ACQ_REL 223
#endif

#ifndef KVM_CAP_VM_DISABLE_NX_HUGE_PAGES
#define KVM_CAP_VM_DISABLE_NX_HUGE_PAGES 220
#endif
#define KVM_UAPI_DISABLE_EXITS_APERFMPERF BIT64(4)
#define KVM_UAPI_X2APIC_ENABLE_SEOIB BIT64(2)
#define KVM_UAPI_X2APIC_DISABLE_SEOIB BIT64(3)

/* Limits (docs/kvm-abi.md 5.2, 5.3). */
#define VM_MAX_VCPUS 1024
#define VM_MAX_VCPU_ID 4096
#define VM_USER_SLOTS 32764
#define VM_SPACES 2	/* guest-physical address spaces: ordinary, and in SMM */
#define VM_MAX_ROUTES 4096
#define VM_SLOT_MAX_PAGES ((1ull << 31) - 1)
#define VM_RUN_PAGES 3		/* kvm_run, PIO data, coalesced ring */
#define VM_COALESCED_PAGE 2
#define VM_RUN_BYTES (VM_RUN_PAGES * 4096)
#define VM_DIRTY_RING_OFFSET (64 * 4096)
#define VM_RING_BYTES_MAX (1u << 20)
#define VM_RING_RESERVE 64

#endif
