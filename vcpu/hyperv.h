/* SPDX-License-Identifier: MIT */
/*
 * vcpu/hyperv.h - Hyper-V's paravirtual interface (Microsoft's TLFS), as KVM offers it to Windows:
 * MSRs, hypercalls, reference time, SynIC and synthetic timers.
 *
 * It is part of vcpu/, because nearly all of it is state of one vCPU and runs on its thread. What
 * belongs to the whole VM ("partition-wide") is struct hyperv_vm, under its lock; what other
 * threads look at in struct hyperv_vcpu is atomic, the rest is the vCPU lock holder's.
 */
#ifndef VCPU_HYPERV_H
#define VCPU_HYPERV_H

#include "vcpu/vcpu.h"

#define HYPERV_MAX_VPS 1024	/* as many as a VM has vCPUs */

/* -- CPUID of HV_FEATURES, HV_HINTS and HV_NESTED: which register, which bit (TLFS 2.4) -- */
enum hyperv_reg { HV_EAX, HV_EBX, HV_EDX, HV_HINT_EAX, HV_HINT_EBX, HV_NEST_EAX, HV_NEST_EBX,
		  HV_REGS };
#define HYPERV_BITS(X) \
	X(VP_RUNTIME, HV_EAX, 0) X(REF_COUNT, HV_EAX, 1) X(SYNIC, HV_EAX, 2) X(STIMER, HV_EAX, 3) \
	X(APIC, HV_EAX, 4) X(HYPERCALL, HV_EAX, 5) X(VP_INDEX, HV_EAX, 6) X(RESET, HV_EAX, 7) \
	X(REF_TSC, HV_EAX, 9) X(FREQUENCY, HV_EAX, 11) X(REENLIGHTEN, HV_EAX, 13) \
	X(INVARIANT_TSC, HV_EAX, 15) \
	X(POST_MESSAGES, HV_EBX, 4) X(SIGNAL_EVENTS, HV_EBX, 5) X(DEBUGGING, HV_EBX, 11) \
	X(EXTENDED_CALLS, HV_EBX, 20) \
	X(GUEST_DEBUGGING, HV_EDX, 1) X(XMM_INPUT, HV_EDX, 4) X(FREQUENCY_MSRS, HV_EDX, 8) \
	X(CRASH, HV_EDX, 10) X(DEBUG_MSRS, HV_EDX, 11) X(GVA_RANGES, HV_EDX, 14) \
	X(STIMER_DIRECT, HV_EDX, 19) \
	X(HINT_REMOTE_FLUSH, HV_HINT_EAX, 2) X(HINT_APIC, HV_HINT_EAX, 3) \
	X(HINT_RELAXED, HV_HINT_EAX, 5) X(HINT_NO_AUTO_EOI, HV_HINT_EAX, 9) \
	X(HINT_CLUSTER_IPI, HV_HINT_EAX, 10) X(HINT_EX_MASKS, HV_HINT_EAX, 11) \
	X(NEST_DIRECT_FLUSH, HV_NEST_EAX, 17) X(NEST_MSR_BITMAP, HV_NEST_EAX, 19) \
	/* For VMX; KVM shows it on every host. */ \
	X(NEST_PERF_GLOBAL_CTRL, HV_NEST_EBX, 0)

enum hyperv_bit {
#define X(name, reg, bit) HVB_##name,
	HYPERV_BITS(X)
#undef X
	HVB_COUNT
};

/*
 * The MSRs (TLFS appendix F).
 *   X(name, first, count, handler, access bit, scope, list, argument)
 * scope: VM (partition-wide, under hyperv_vm.lock) or VP. list: L = in KVM_GET_MSR_INDEX_LIST.
 */
#define HYPERV_MSRS(X) \
	X(GUEST_OS_ID,	0x40000000, 1, os_id,		HYPERCALL,	VM, L, 0) \
	X(HYPERCALL,	0x40000001, 1, hypercall,	HYPERCALL,	VM, L, 0) \
	X(VP_INDEX,	0x40000002, 1, vp_index,	VP_INDEX,	VP, L, 0) \
	X(RESET,	0x40000003, 1, reset,		RESET,		VM, L, 0) \
	X(VP_RUNTIME,	0x40000010, 1, runtime,		VP_RUNTIME,	VP, L, 0) \
	X(REF_COUNT,	0x40000020, 1, ref_count,	REF_COUNT,	VM, L, 0) \
	X(REF_TSC,	0x40000021, 1, ref_tsc,		REF_TSC,	VM, L, 0) \
	X(TSC_FREQ,	0x40000022, 1, tsc_freq,	FREQUENCY,	VP, L, 0) \
	X(APIC_FREQ,	0x40000023, 1, apic_freq,	FREQUENCY,	VP, L, 0) \
	X(EOI,		0x40000070, 1, eoi,		APIC,		VP, N, 0) \
	X(ICR,		0x40000071, 1, icr,		APIC,		VP, N, 0) \
	X(TPR,		0x40000072, 1, tpr,		APIC,		VP, N, 0) \
	X(ASSIST_PAGE,	0x40000073, 1, assist,		APIC,		VP, L, 0) \
	X(SCONTROL,	0x40000080, 1, synic,		SYNIC,		VP, L, 0) \
	X(SVERSION,	0x40000081, 1, synic,		SYNIC,		VP, N, 0) \
	X(SIEFP,	0x40000082, 1, synic,		SYNIC,		VP, N, 0) \
	X(SIMP,		0x40000083, 1, synic,		SYNIC,		VP, N, 0) \
	X(EOM,		0x40000084, 1, synic,		SYNIC,		VP, N, 0) \
	X(SINT,		0x40000090, 16, synic,		SYNIC,		VP, N, 0) \
	X(STIMER0_CONFIG, 0x400000b0, 1, stimer,	STIMER,		VP, L, 0) \
	X(STIMER,	0x400000b1, 7, stimer,		STIMER,		VP, N, 0) \
	X(SYNDBG,	0x400000f1, 5, syndbg,		DEBUG_MSRS,	VM, L, 0) \
	X(SYNDBG_OPTIONS, 0x400000ff, 1, syndbg,	DEBUG_MSRS,	VM, L, 0) \
	X(CRASH_P,	0x40000100, 5, crash,		CRASH,		VM, L, 0) \
	X(CRASH_CTL,	0x40000105, 1, crash_ctl,	CRASH,		VM, L, 0) \
	X(REENLIGHTEN,	0x40000106, 1, plain,		REENLIGHTEN,	VM, L, 0) \
	X(TSC_EMU_CTL,	0x40000107, 1, plain,		REENLIGHTEN,	VM, L, 1) \
	X(TSC_EMU_STATUS, 0x40000108, 1, emu_status,	REENLIGHTEN,	VM, L, 0) \
	X(TSC_INVARIANT, 0x40000118, 1, invariant,	INVARIANT_TSC,	VM, L, 0)

enum {
#define X(name, first, count, ...) HV_MSR_##name = first,
	HYPERV_MSRS(X)
#undef X
	HV_MSR_FIRST = 0x40000000, HV_MSR_COUNT = 0x200,
};

/* -- the VM's part -- */

enum hyperv_tsc_page {
	HV_TSC_UNSET,		/* switched off */
	HV_TSC_GUEST_CHANGED,	/* the guest has set it up, it is to be written */
	HV_TSC_HOST_CHANGED,	/* user space has, or the clock behind it changed */
	HV_TSC_SET,
	HV_TSC_BROKEN,		/* cannot be written: the guest reads the MSR instead */
};

struct hyperv_vm {
	pthread_mutex_t lock;		/* innermost but for interrupt delivery */
	_Atomic u64 os_id;		/* written under the lock: 0 = no hypercalls */
	u64 hypercall, ref_tsc;
	enum hyperv_tsc_page tsc_page;
	u64 tsc_scale, tsc_offset;	/* what is in the page */
	u64 crash[5], crash_ctl;
	u64 plain[2];			/* re-enlightenment control, TSC emulation control */
	u64 emu_status;
	_Atomic u64 invariant;
	u64 syndbg[5], syndbg_options;	/* control, status, send, receive and pending buffer */
};
void hyperv_vm_init(struct hyperv_vm *hv);
void hyperv_vm_destroy(struct hyperv_vm *hv);
/* The clock under the reference TSC page has changed: it is written again at the next entry. */
void hyperv_clock_changed(struct hyperv_vm *hv);

/* KVM_GET_SUPPORTED_HV_CPUID. v: of a vCPU, or NULL. -E2BIG when *n is too small. */
int hyperv_cpuid(struct vcpu *v, struct kvm_cpuid_entry2 *e, u32 *n);
/* An interrupt of a SynIC source: KVM_IRQ_ROUTING_HV_SINT, any thread. As irqchip_set_irq(). */
int hyperv_set_sint(struct vcpu *v, u32 sint);
void hyperv_sint_gsi(struct vcpu *v, u32 sint, u32 gsi);
bool hyperv_is_vp(const struct vcpu *v, u32 index);	/* any thread */
/* irq_ops.synic_eoi */
void hyperv_synic_eoi(void *vcpu, u8 vector);

#endif
