/* SPDX-License-Identifier: MIT */
/* vcpu/hyperv_priv.h - Hyper-V's part of a vCPU, for the files of vcpu/. */
#ifndef VCPU_HYPERV_PRIV_H
#define VCPU_HYPERV_PRIV_H

#include "vcpu/hyperv.h"

#define HV_SINTS 16
#define HV_STIMERS 4
#define HV_ENABLE 1ull		/* bit 0 of SIMP, SIEFP, the hypercall, TSC and assist pages */
#define HV_SINT_MASKED BIT64(16)
#define HV_SINT_AUTO_EOI BIT64(17)

struct hyperv_stimer {
	u64 config, count;
	u64 expires;		/* reference time, 100 ns; 0 = not started */
	u64 deadline_ns;	/* CLOCK_MONOTONIC, 0 = none */
	bool pending;		/* to be looked at before the next entry */
	bool undelivered;	/* its message waits for a free slot */
};

enum { HV_TODO_CRASH = 1, HV_TODO_RESET = 2, HV_TODO_EXIT = 4 };

struct hyperv_vcpu {
	bool on;		/* CPUID has the interface */
	bool enforce;		/* KVM_CAP_HYPERV_ENFORCE_CPUID */
	u32 cpuid[HV_REGS];	/* enum hyperv_reg */
	bool syndbg;		/* CPUID 0x40000082: kernel debugging */
	_Atomic u32 vp_index;
	u64 assist;
	u64 runtime_offset;

	_Atomic bool synic;	/* KVM_CAP_HYPERV_SYNIC(2) */
	bool keep_pages;	/* SYNIC2: the guest's pages are not zeroed */
	u64 control, version, siefp, simp;
	_Atomic u64 sint[HV_SINTS];
	_Atomic s32 sint_gsi[HV_SINTS];	/* -1 = none */
	struct hyperv_stimer stimer[HV_STIMERS];

	/* What L1 calls the L2 that runs here, or ran last; other vCPUs' L2s flush by it. */
	_Atomic u64 l2_vm;
	_Atomic u32 l2_vp;
	bool l2_direct;		/* the VP assist page allows direct hypercalls */
	bool l2_trap;		/* of the call that is being made: L1 is to hear of it */

	u8 todo;		/* HV_TODO_*, with VREQ_HYPERV */
	struct kvm_hyperv_exit exit;
};

void hyperv_init(struct vcpu *v);
void hyperv_cpuid_changed(struct vcpu *v);
bool hyperv_has(const struct vcpu *v, enum hyperv_bit bit);	/* in the guest's CPUID */
/* The guest may use what `bit` stands for: enforced only on request. */
bool hyperv_may(const struct vcpu *v, enum hyperv_bit bit);
bool hyperv_hides_invariant_tsc(const struct vcpu *v);

/* -- hyperv.c -- */
int hyperv_msr_read(struct vcpu *v, u32 msr, u64 *val, bool host);
int hyperv_msr_write(struct vcpu *v, u32 msr, u64 val, bool host);
u32 hyperv_msr_list(u32 *out, u32 max);
/* Reference time, 100 ns. Takes the VM's lock. */
u64 hyperv_ref_time(struct vcpu *v);
void hyperv_tsc_page_update(struct vcpu *v);
/* VREQ_HYPERV: CPU_OK or CPU_USER. */
enum cpu_result hyperv_service(struct vcpu *v);
void hyperv_syndbg_complete(struct vcpu *v);

/* -- hyperv_synic.c -- */
int hyperv_synic_read(struct vcpu *v, u32 msr, u64 *val, bool host);
int hyperv_synic_write(struct vcpu *v, u32 msr, u64 val, bool host);
int hyperv_stimer_read(struct vcpu *v, u32 msr, u64 *val);
int hyperv_stimer_write(struct vcpu *v, u32 msr, u64 val, bool host);
int hyperv_synic_enable(struct vcpu *v, bool keep_pages);
/* Owner, vector state saved: what is due. And when the next one is (monotonic ns, 0 = none). */
void hyperv_stimers_poll(struct vcpu *v);
u64 hyperv_stimers_next(const struct vcpu *v);

/* -- hyperv_call.c -- */
bool hyperv_call_enabled(const struct vcpu *v);
enum cpu_result hyperv_call(struct vcpu *v, const struct insn *in);
void hyperv_call_complete(struct vcpu *v);	/* user space has answered */
/* L2 is about to run, with what its VMCB says. */
void hyperv_l2_entered(struct vcpu *v);
/* svm_ops.hv_call */
enum svm_hv_call hyperv_l2_call(struct cpu *c, const struct insn *in, enum cpu_result *res);

#endif
