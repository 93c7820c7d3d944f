/* SPDX-License-Identifier: MIT */
/*
 * abi/abi.h - what the shim asks of the KVM implementation. -errno convention; the shim is the
 * one place that turns it into -1 and errno.
 */
#ifndef ABI_ABI_H
#define ABI_ABI_H

#include "abi/handle.h"

struct kvm_enable_cap;
struct vm;
struct vm_vcpu;

/* Open the node: an fd or -errno. open_flags: of open(2). */
int abi_open(int open_flags);
/* An ioctl of type 0xAE on a handle. */
long abi_ioctl(struct handle *h, unsigned long request, unsigned long arg);
/* The fd and offset that hold the coalesced ring page of this vCPU's VM, -1: none. */
int abi_ring_fd(struct handle *h);
/* AVIC is modelled (kvm_amd's parameter of that name). */
bool abi_avic(void);

/* -- between the files of abi/ -- */
long sys_ioctl(struct handle *h, u32 code, unsigned long arg);
long vm_ioctl(struct vm *vm, u32 code, unsigned long arg);
long vcpu_ioctl(struct vm_vcpu *vv, u32 code, unsigned long arg);
int cap_check(struct vm *vm, unsigned long nr);
const char *cap_name(unsigned long nr);
int vm_enable_cap(struct vm *vm, const struct kvm_enable_cap *cap);
int stats_vm_fd(struct vm *vm);
int stats_vcpu_fd(struct vm_vcpu *vv);

#endif
