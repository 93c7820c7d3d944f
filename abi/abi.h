/* SPDX-License-Identifier: MIT */
/*
 * abi/abi.h - what the shim asks of the KVM implementation. -errno convention; the shim is the
 * one place that turns it into -1 and errno.
 */
#ifndef ABI_ABI_H
#define ABI_ABI_H

#include "abi/handle.h"

struct kvm_create_device;
struct kvm_enable_cap;
struct vm;
struct vm_vcpu;
struct vcpu;

/* Open the node: an fd or -errno. open_flags: of open(2). Starts nothing; -ENOTSUP: this host's
 * processor cannot run guests. */
int abi_open(int open_flags);
/* An ioctl of type 0xAE on a handle. */
long abi_ioctl(struct handle *h, unsigned long request, unsigned long arg);
/* vcpu_thread_ready() of vcpu/vcpu.h. */
void abi_thread_ready(void);
/* Once per process, before the first abi_ioctl(): 0 or -errno. */
int abi_start(void);
/* From a handler of SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGTRAP: true when the signal was ours and
 * has been dealt with. Async-signal-safe, as is the next. */
bool abi_fault(int sig, void *siginfo, void *ucontext);
/* A signal for a handler of the program has come: end this thread's KVM_RUN. */
void abi_signal_seen(void);
/* vcpu_signals_wait_at() of vcpu/vcpu.h, for this thread. */
void abi_signals_wait_at(const _Atomic u32 *n);
/* End the KVM_RUN of this vCPU, on whatever thread. 0, or -EINVAL: h is no vCPU. */
int abi_kick(struct handle *h);
/* May this signal not reach the program, because only KVM_RUN's mask opens it
 * (vcpu_signal_hold)? Async-signal-safe. */
bool abi_signal_hold(int sig);
/* Set by whoever owns the handlers. prepare: these signals may come while KVM_RUN's mask is in
 * force. restored: it is no longer, and the thread's own mask is this. */
void abi_set_signal_hooks(void (*prepare)(u64 set), void (*restored)(u64 mask));
/* The program has mapped h's descriptor at p: put in what is not the descriptor's own. */
int abi_mapped(struct handle *h, void *p, size_t len, int prot, int flags, off_t off);
/* AVIC is modelled (kvm_amd's parameter of that name). */
bool abi_avic(void);
u32 abi_halt_poll_ns(void);	/* kvm's parameter of that name */

/* vm_irqfd_written() and vm_irqfd_closed() of vm/vm.h. */
bool abi_irqfd_maybe(int fd);	/* a quick look, without promise */
bool abi_irqfd_written(int fd);
void abi_irqfd_closed(u32 first, u32 last);

/* -- between the files of abi/ -- */
long sys_ioctl(struct handle *h, u32 code, unsigned long arg);
long vm_ioctl(struct vm *vm, u32 code, unsigned long arg);
/* Of a KVM_CREATE_DEVICE, and what that does. */
long device_ioctl(struct vm *vm, u32 code, unsigned long arg);
int device_create(struct vm *vm, struct kvm_create_device *d);
long vcpu_ioctl(struct vm_vcpu *vv, u32 code, unsigned long arg);
long hyperv_cpuid_list(struct vcpu *v, void *user);	/* v may be NULL */
long vci_get_nested_state(struct vm_vcpu *vv, void *user);
long vci_set_nested_state(struct vm_vcpu *vv, void *user);
int cap_check(struct vm *vm, unsigned long nr);
const char *cap_name(unsigned long nr);	/* for tests */
int vm_enable_cap(struct vm *vm, const struct kvm_enable_cap *cap);
int stats_vm_fd(struct vm *vm);
int stats_vcpu_fd(struct vm_vcpu *vv);
/* The fd that holds the coalesced ring page of this vCPU's VM, -1: none, or its own. */
int abi_ring_fd(struct handle *h);

#endif
