/* SPDX-License-Identifier: MIT */
/*
 * vcpu/vcpu.h - KVM's side of one virtual CPU.
 *
 * Locking: `lock` is held by whoever executes an ioctl on the vCPU, KVM_RUN
 * included; all fields are its holder's unless marked. `requests` is atomic.
 */
#ifndef VCPU_VCPU_H
#define VCPU_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>

#include "cpu/sys.h"
#include "engine/engine.h"
#include "irq/irqchip.h"
#include "vcpu/stats.h"

struct vcpu;

/* Requests, serviced by the owner before it enters the guest (order of service: docs/kvm-apic.md
 * 1.4). */
#define VCPU_REQUESTS(X) \
	X(TLB_FLUSH)	/* memory map changed: drop everything, leave old map */ \
	X(WRITES_FLUSH)	/* dirty log cleared: drop all write TLB entries */ \
	X(CODE_PAGES)	/* pages in code_queue hold code now: drop their write entries; or that \
			 * code has been written: revalidate it */ \
	X(GUEST_TLB)	/* Hyper-V's flush: drop what the guest's tables gave */ \
	X(CODE_SUSPECT)	/* another CPU or the VMM wrote code: revalidate all of it */ \
	X(ALONE)	/* another vCPU works on memory alone: touch none until the bit is gone */ \
	X(TRIPLE_FAULT) X(NMI) X(SMI) X(IOAPIC_EOI_EXIT) X(SCAN_IOAPIC) \
	X(APICV_UPDATE) X(EVENT) X(UNBLOCK) X(CLOCK_UPDATE) X(STEAL_UPDATE) \
	X(APIC_EVENT)	/* INIT or SIPI arrived at the LAPIC */ \
	X(TIMER)	/* lapic_next_event_ns() changed */ \
	X(REPORT_TPR)	/* KVM_EXIT_TPR_ACCESS is prepared */ \
	X(HYPERV)	/* Hyper-V: an exit is prepared, or timers are to be looked at */ \
	X(PMU)		/* the event filter is another one */ \
	X(NESTED_STATE)	/* KVM_SET_NESTED_STATE: what needs guest memory is to be done */ \
	X(DIRTY_FULL)	/* the vCPU's dirty ring is soft-full: ask vm_ops->dirty_ring_full */
enum vcpu_request {
#define X(n) VREQ_##n,
	VCPU_REQUESTS(X)
#undef X
	VREQ_COUNT
};

/* What a vCPU asks of its VM (implemented by vm/). */
struct vcpu_vm_ops {
	/* In-kernel device bus and ioeventfd/coalesced zones. 0 = handled, -ENOENT = user space. */
	int (*mmio_read)(void *vm, struct vcpu *v, u64 gpa, void *buf, u32 len);
	int (*mmio_write)(void *vm, struct vcpu *v, u64 gpa, const void *buf, u32 len);
	int (*pio_read)(void *vm, struct vcpu *v, u16 port, void *buf, u32 size);
	int (*pio_write)(void *vm, struct vcpu *v, u16 port, const void *buf, u32 size);
	/* PIC: vector of a pending ExtINT or -1; ack takes it. */
	int (*extint_pending)(void *vm);
	int (*extint_ack)(void *vm);
	u64 (*clock_ns)(void *vm);	/* kvmclock, ns */
	bool (*msr_allowed)(void *vm, u32 msr, bool write);	/* KVM_X86_SET_MSR_FILTER */
	/* KVM_SET_PMU_EVENT_FILTER: event and unit mask */
	bool (*pmu_allowed)(void *vm, u64 event);
	/* The LAPIC timer of a vCPU that is not blocked is due at this time (CLOCK_MONOTONIC ns, 0
	 * = none): request EVENT then. Called only when the deadline has changed. */
	void (*arm_timer)(void *vm, struct vcpu *v, u64 deadline_ns);
	/* Optional. One (host TSC, kvmclock ns) pair that is the same for all vCPUs until
	 * the clock is set again; gives guests the TSC_STABLE flag. */
	bool (*master_clock)(void *vm, u64 *host_tsc, u64 *ns);
	/* Keep all other vCPUs from guest memory, from the call with true to the one with false.
	 * Meanwhile requests of the caller may be served. */
	void (*alone)(void *vm, struct vcpu *v, bool begin);
	/* The vCPUs in order of creation, NULL behind the last; any thread. Optional only as long
	 * as no guest uses Hyper-V's calls. */
	struct vcpu *(*vcpu_at)(void *vm, u32 index);
	/* Optional: signal the eventfd of a connection (KVM_HYPERV_EVENTFD); false: none. */
	bool (*hyperv_signal)(void *vm, u32 conn);
	/* The VM has come to a state that does not exist: see vcpu_vm_config.dead. Optional. */
	void (*dead)(void *vm);
	/* Optional. KVM_EXIT_DIRTY_RING_FULL is due. */
	bool (*dirty_ring_full)(void *vm, struct vcpu *v);
};

/*
 * What keeps the TSCs of a VM's vCPUs together (docs/kvm-abi.md 5.2, KVM_SET_MSRS of the
 * TSC): one per VM, zero-filled, `lock` is a spin lock over the rest.
 */
struct vcpu_tsc_sync {
	_Atomic u32 lock;
	u64 ns;		/* when the last synchronising write was made */
	u64 tsc;	/* what it wrote */
	u64 offset;	/* the offset it gave */
	u64 ratio;
	bool user_set;	/* user space has set a TSC (docs/kvm-abi.md 5.2) */
};

/* VM-wide settings a vCPU reads; owned by vm/, which changes the atomic ones at any time and the
 * others before there are vCPUs. */
struct vcpu_vm_config {
	void *place;			/* where a vCPU that is made now should be; vm.lock */
	struct irq_settings shared;	/* with the irqchip, whose lock-free settings they are
					 * too */
	_Atomic u64 disabled_exits;	/* KVM_X86_DISABLE_EXITS_* */
	_Atomic u32 user_space_msr_mask;
	_Atomic u32 irqchip;		/* 0 none, 1 full, 2 split */
	_Atomic u32 bsp_id;
	_Atomic u32 halt_poll_ns;	/* longest poll in HLT, 0 = none */
	u32 host_cpus;		/* CPUs for the process; with less than 2 no vCPU polls */
	u32 online_cpus;	/* of the host */
	int load_fd;		/* for cpus_running() */
	_Atomic bool exception_payload, triple_fault_event, exit_on_emulation_failure;
	_Atomic bool hypercall_map_gpa_range;
	_Atomic bool msr_platform_info_off;	/* KVM_CAP_MSR_PLATFORM_INFO cleared: guest reads
						 * give #GP */
	_Atomic bool bus_lock_exit;	/* of vCPUs made from now on */
	bool pmu_off;		/* KVM_PMU_CAP_DISABLE */
	_Atomic bool pmu_filter;	/* vm_ops->pmu_allowed must be asked */
	_Atomic bool dead;	/* for good: every ioctl fails with EIO */
	_Atomic bool msr_filter;	/* vm_ops->msr_allowed must be asked */
	_Atomic u32 tsc_khz;		/* default for new vCPUs */
	u64 tsc_offset;		/* guest TSC - scaled host TSC for new vCPUs, without tsc_sync */
	struct vcpu_tsc_sync *tsc_sync;	/* NULL: vCPUs are not kept together */
	struct irqchip *irq;	/* NULL without irqchip */
	struct hyperv_vm *hv;	/* NULL: no Hyper-V interface */
	u16 trace_vm;		/* the VM in trace records */
};

struct vcpu {
	struct cpu *c;
	struct kvm_run *run;		/* mapping of the vCPU fd's memfd, 3 pages */
	u8 *pio_data;			/* page 1 */
	u32 id;				/* KVM vcpu id = initial APIC id */
	void *vm;			/* opaque */
	const struct vcpu_vm_ops *vm_ops;
	const struct vcpu_vm_config *cfg;
	struct lapic *lapic;		/* NULL without in-kernel LAPIC */
	struct phys *phys;

	pthread_mutex_t lock;
	_Atomic u64 requests;
	_Atomic u32 in_guest;		/* 1 while a thread may use the memory map */
	_Atomic u32 servicing;		/* 1 while the owner carries out flush requests */
	_Atomic u32 parked;		/* 1 while the owner waits for VREQ_ALONE to go */
	_Atomic u32 wake_seq;		/* futex word for blocking (HLT, wait-for-SIPI) */
	_Atomic u32 blocked;		/* the owner sleeps, or is about to, on wake_seq */
	struct vcpu_stats *_Atomic stats;	/* moved under the lock */
	struct vcpu_stats plain_stats;
	u64 made_told;		/* sum of what the statistics have of engine_counts; the owner's */
	struct engine_counts reported;	/* to trace_area, in look `look`; the owner's */
	u32 look;

	struct vcpu_priv *p;		/* vcpu_priv.h: events, cpuid, msrs, pio/mmio fragments,
					 * debug */
};

/* -- life cycle -- */
/* run_fd: the memfd of >= 3 pages that holds kvm_run. 0 or -errno. */
int vcpu_create(struct vcpu **out, u32 id, u32 index, int run_fd, void *vm,
		const struct vcpu_vm_ops *ops, const struct vcpu_vm_config *cfg, struct phys *phys,
		struct lapic *lapic);
/* For a LAPIC that needs the vCPU first; before the vCPU runs. */
void vcpu_attach_lapic(struct vcpu *v, struct lapic *lapic);
void vcpu_destroy(struct vcpu *v);
/* Is any of its engine's memory in [hva, hva + bytes)? */
bool vcpu_within(const struct vcpu *v, const void *hva, u64 bytes);

/* -- cross-thread (any thread) -- */
void vcpu_request(struct vcpu *v, enum vcpu_request r);	/* set + kick + wake from block */
/* Post and wait until the vCPU is either outside the guest or has serviced it. */
void vcpu_request_wait(struct vcpu *v, enum vcpu_request r);
/* vcpu_vm_ops.alone, around it: by the vCPU's own thread. */
void vcpu_alone(struct vcpu *v, bool begin);
/* For its implementation: wait until v is outside the guest or parked; NULL: a moment. The
 * requests of self are served. */
void vcpu_alone_wait(struct vcpu *self, struct vcpu *v);
/* Queue a page for VREQ_CODE_PAGES: of address space `as`, it holds code now; somebody else has
 * written in it. */
void vcpu_code_page(struct vcpu *v, u32 as, u64 gpa);
void vcpu_code_written(struct vcpu *v, u64 gpa);
void vcpu_kick(struct vcpu *v);
/* The vCPU for which this thread is using guest memory: KVM_RUN or a state ioctl. NULL: none. */
struct vcpu *vcpu_touching(void);
/* irq_ops of the interrupt library, its vCPU side. */
void vcpu_irq_wake(void *vcpu, enum irq_wake why);
u64 vcpu_tsc_now(void *vcpu);
u64 vcpu_tsc_to_ns(void *vcpu, u64 tsc_delta);
/*
 * A signal handler of the program is about to run on this thread: end KVM_RUN
 * soon. Async-signal-safe; does nothing outside KVM_RUN. To be called by the
 * trampoline that the shim puts before every handler.
 */
void vcpu_signal_seen(void);
/* The same to a KVM_RUN on any thread; from any thread. Async-signal-safe. */
void vcpu_end_run(struct vcpu *v);
/*
 * Signals that the thread blocks and KVM_SET_SIGNAL_MASK opens end KVM_RUN without being
 * delivered: they are still pending when it returns. hold: such a signal has come; the
 * trampoline blocks it again and sends it back. prepare, set by the shim at start: these
 * signals may come, see to it that they meet the trampoline whatever their disposition is.
 */
bool vcpu_signal_hold(int sig);
extern void (*vcpu_signals_prepare)(u64 set);
/* KVM_RUN has put the thread's mask back to this. Set by the shim at start. */
extern void (*vcpu_signals_restored)(u64 mask);
/* How many handlers of this thread wait for its request to be done (base/deferred.h): KVM_RUN does
 * not enter the guest while it is not 0. A thread that never calls this has none. */
void vcpu_signals_wait_at(const _Atomic u32 *n);
/*
 * From the handler of a SIGSEGV or SIGBUS that translated code has not raised: true when
 * this thread's KVM_RUN touched guest memory that is gone; the context has been changed so
 * that KVM_RUN fails. Async-signal-safe.
 */
bool vcpu_host_fault(int sig, void *siginfo, void *ucontext);
/* On a thread that makes requests, before its first. */
void vcpu_thread_ready(void);
/* Process-wide, idempotent: engine, callbacks. 0 or -errno. vcpu_create() calls it. */
int vcpu_init_once(void);

/* -- ioctls; caller holds v->lock; every function returns 0/positive or -errno -- */
int vcpu_run(struct vcpu *v);
int vcpu_get_regs(struct vcpu *v, struct kvm_regs *r);
int vcpu_set_regs(struct vcpu *v, const struct kvm_regs *r);
int vcpu_get_sregs(struct vcpu *v, struct kvm_sregs *s);
int vcpu_set_sregs(struct vcpu *v, const struct kvm_sregs *s);
int vcpu_get_sregs2(struct vcpu *v, struct kvm_sregs2 *s);
int vcpu_set_sregs2(struct vcpu *v, const struct kvm_sregs2 *s);
int vcpu_get_fpu(struct vcpu *v, struct kvm_fpu *f);
int vcpu_set_fpu(struct vcpu *v, const struct kvm_fpu *f);
int vcpu_get_xsave(struct vcpu *v, void *buf, u32 size);
int vcpu_set_xsave(struct vcpu *v, const void *buf, u32 size);
int vcpu_get_xcrs(struct vcpu *v, struct kvm_xcrs *x);
int vcpu_set_xcrs(struct vcpu *v, const struct kvm_xcrs *x);
int vcpu_get_debugregs(struct vcpu *v, struct kvm_debugregs *d);
int vcpu_set_debugregs(struct vcpu *v, const struct kvm_debugregs *d);
int vcpu_get_events(struct vcpu *v, struct kvm_vcpu_events *e);
int vcpu_set_events(struct vcpu *v, const struct kvm_vcpu_events *e);
int vcpu_get_mp_state(struct vcpu *v, struct kvm_mp_state *m);
int vcpu_set_mp_state(struct vcpu *v, const struct kvm_mp_state *m);
/* KVM_GET/SET_NESTED_STATE (vcpu/nested_state.c). get: the size needed; *image is written when
 * that is more than the header. set: 0, -EINVAL, or 1: again with the image. */
struct vmcb;
u32 vcpu_get_nested_state(struct vcpu *v, struct kvm_nested_state *hdr, struct vmcb *image);
int vcpu_set_nested_state(struct vcpu *v, const struct kvm_nested_state *hdr,
			  const struct vmcb *image);
int vcpu_set_cpuid2(struct vcpu *v, const struct kvm_cpuid_entry2 *e, u32 n);
int vcpu_get_cpuid2(struct vcpu *v, struct kvm_cpuid_entry2 *e, u32 *n);
int vcpu_get_msr(struct vcpu *v, u32 msr, u64 *val);		/* host-initiated: 0, or -EINVAL
								 * unknown */
int vcpu_set_msr(struct vcpu *v, u32 msr, u64 val);
int vcpu_get_lapic(struct vcpu *v, struct kvm_lapic_state *s);
int vcpu_set_lapic(struct vcpu *v, const struct kvm_lapic_state *s);
int vcpu_interrupt(struct vcpu *v, u32 irq);
int vcpu_nmi(struct vcpu *v);
int vcpu_smi(struct vcpu *v);
int vcpu_set_guest_debug(struct vcpu *v, const struct kvm_guest_debug *d);
int vcpu_translate(struct vcpu *v, struct kvm_translation *t);
int vcpu_set_signal_mask(struct vcpu *v, const void *sigset8);	/* NULL removes */
int vcpu_set_tsc_khz(struct vcpu *v, u32 khz);
u32 vcpu_get_tsc_khz(struct vcpu *v);
int vcpu_get_tsc_offset(struct vcpu *v, u64 *off);
int vcpu_set_tsc_offset(struct vcpu *v, u64 off);
int vcpu_kvmclock_ctrl(struct vcpu *v);
int vcpu_set_vapic(struct vcpu *v, u64 gpa);
void vcpu_set_tpr_reporting(struct vcpu *v, bool on);
int vcpu_setup_mce(struct vcpu *v, u64 mcg_cap);
int vcpu_set_mce(struct vcpu *v, const struct kvm_x86_mce *m);
int vcpu_enable_cap(struct vcpu *v, const struct kvm_enable_cap *cap);

/* -- system-wide tables (vcpu/cpuid.c, vcpu/msr.c) -- */
int cpuid_supported(struct kvm_cpuid_entry2 *e, u32 *n);	/* -E2BIG when *n is too small */
int cpuid_emulated(struct kvm_cpuid_entry2 *e, u32 *n);
u32 msr_index_list(u32 *out, u32 max);		/* returns the total; fills at most max */
u32 msr_feature_list(u32 *out, u32 max);
int msr_feature_get(u32 msr, u64 *val);
u32 tsc_host_khz(void);
u64 tsc_host_to_ns(u64 host_tsc_delta);
bool pmu_offered(void);				/* STANDIN_PMU */
u64 mce_cap_supported(void);			/* KVM_X86_GET_MCE_CAP_SUPPORTED */

#endif
