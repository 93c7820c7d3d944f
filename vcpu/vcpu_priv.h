/* SPDX-License-Identifier: MIT */
/*
 * vcpu/vcpu_priv.h - the parts of a vCPU that only vcpu/ knows.
 *
 * Everything belongs to the holder of vcpu.lock unless it is _Atomic.
 */
#ifndef VCPU_PRIV_H
#define VCPU_PRIV_H

#include <errno.h>
#include <signal.h>

#include "base/msrs.h"
#include "base/futex.h"
#include "base/guard.h"
#include "base/mem.h"
#include "mmu/phys.h"
#include "svm/svm.h"
#include "base/trace.h"
#include "vcpu/fault_report.h"
#include "vcpu/halt_poll.h"
#include "vcpu/hyperv_priv.h"
#include "vcpu/vcpu.h"

/* -- events waiting for delivery -- */

/*
 * KVM distinguishes an exception that is pending (may still be intercepted, DR6
 * or CR2 not yet written) from one that is injected (delivery has begun). Our
 * delivery is atomic, so `injected` is set by user space only, or when delivery
 * could not finish.
 */
struct vcpu_exception {
	bool pending, injected;
	bool has_error, has_payload;
	u8 vector;
	u32 error;
	u64 payload;
};

struct vcpu_events {
	struct vcpu_exception exc;
	bool intr_injected, intr_soft;
	u8 intr_vector;
	u16 held;	/* KVM_INTERRUPT while it belongs to L1: 0x100 | vector, 0 = none */
	bool nmi_injected, nmi_masked;
	u8 nmi_pending;			/* at most 2 */
	bool triple_fault;
	bool smi_pending;
	bool smm_in_nmi;	/* SMM has interrupted an NMI's handler: they stay masked */
	s16 ext_vector;			/* split irqchip: KVM_INTERRUPT's slot, -1 = free */
	u32 sipi_vector;
};

/* -- what has to be finished when KVM_RUN is called again -- */

enum vcpu_pending {
	PEND_NONE,
	PEND_PIO_OUT,		/* scalar OUT: retire */
	PEND_PIO_IN,		/* scalar IN: RAX, retire */
	PEND_PIO_INS,		/* string IN: run the instruction again with the data */
	PEND_MMIO_READ,		/* data into the last fragment, run the instruction again */
	PEND_MMIO_WRITE,	/* emit the remaining fragments */
	PEND_MSR_READ,
	PEND_MSR_WRITE,
	PEND_HYPERCALL,
	PEND_HYPERV_CALL, PEND_HYPERV_SYNDBG,
};

#define MMIO_FRAGS 352		/* the largest XSAVE image in 8-byte pieces, and some */

struct mmio_frag {
	u64 gpa;
	u8 data[8];
	u8 len;
	bool done;		/* read: data is valid */
};

struct vcpu_mmio {
	/* Reads of the current instruction, in order; replayed when it runs again. */
	struct mmio_frag read[MMIO_FRAGS];
	u32 reads;
	u32 replay;		/* next fragment to hand out; == reads: none left */
	u64 rip, rcx;		/* which instruction (iteration) the reads belong to */
	/* Writes of an instruction that has retired, not yet shown to user space. */
	struct mmio_frag write[MMIO_FRAGS];
	u32 writes, written;
};

struct vcpu_pio {
	u16 port;
	u8 size;
	u32 count;
	u32 done;		/* INS: items handed out so far ... */
	bool ready;		/* ... of the count that the data page holds */
};

struct vcpu_debug {
	u32 control;		/* KVM_GUESTDBG_* */
	u64 dr[4], dr7;		/* of user space, with USE_HW_BP */
	bool stale;		/* breakpoints have changed: debug_update() */
	bool watching;		/* execution or data breakpoints are on */
	/* An instruction has retired whose writes user space has still to see; the step of the
	 * debugger, and TF's, come behind them. */
	bool step_owed, tf_owed;
};

/* -- CPUID -- */

#define CPUID_MAX 256

struct vcpu_cpuid {
	u32 n;
	struct kvm_cpuid_entry2 e[CPUID_MAX];
	u16 order[CPUID_MAX];	/* indices into e, sorted by (function, index) */
	bool amd;		/* out-of-range rule */
	u32 apic_features;	/* what apic_lapic has been told */
	struct lapic *apic_lapic;
	u32 pv_leaf;		/* where KVM's feature bits are, 0 = nowhere ... */
	u32 pv_features;	/* ... and its EAX */
};

/* -- MSRs without a home in struct cpu -- */


struct vcpu_msrs {
	u64 mtrr_def, mtrr_fixed[11], mtrr_var[16];
	u64 tsc_adjust;
	u64 misc_enable, misc_features, hwcr, platform_info, ucode_rev, de_cfg, arch_cap, spec_ctrl,
		virt_spec_ctrl;
	u64 osvw_len, osvw_status;
	u64 mcg_cap, mcg_status, mcg_ctl, mc[MC_BANKS][4], mc_ctl2[MC_BANKS];
	u64 smi_count, power_ctl, smbase;
	u64 apf_en, apf_int, poll_control, pv_eoi, steal;
	u64 system_time, wall_clock;
};

struct vcpu_clock {
	bool stopped;		/* KVMCLOCK_CTRL: show GUEST_STOPPED once */
	u64 steal_base;		/* the thread's run delay at the last update */
	u64 steal_tsc;		/* when that was */
	bool away;		/* the guest has been told that the vCPU does not run */
};

/* -- performance counters (pmu.c) -- */

#define PMU_COUNTERS 6

struct vcpu_pmu {
	u8 n, version;		/* 0: none */
	u8 active;		/* a bit for each that counts in some state ... */
	u8 state;		/* ... of which this is the current one */
	bool running;		/* KVM_RUN, and not halted */
	u8 what[PMU_COUNTERS], where[PMU_COUNTERS];
	u64 sel[PMU_COUNTERS], ctr[PMU_COUNTERS];	/* the latter as of ... */
	u64 ctl, status;
	u64 since, seen[COUNT_KINDS];	/* ... this TSC, and these cpu.count.n */
	s64 given;			/* and this cpu.count.left */
	u64 linger;		/* TSC until which units go on counting */
	u64 deadline;		/* TSC, 0 = none */
};

struct vcpu_priv {
	struct vcpu_events ev;
	enum vcpu_pending pend;
	u64 pend_rip;		/* linear RIP at the exit */
	u64 pend_next;		/* RIP after the instruction */
	struct vcpu_pio pio;
	struct vcpu_mmio mmio;
	struct vcpu_debug dbg;
	struct fault_chain chain;
	struct past past;
	struct vcpu_cpuid cpuid;
	struct vcpu_msrs msr;
	struct vcpu_clock clock;
	struct hyperv_vcpu hv;
	struct svm svm;		/* c->svm */
	const struct insn *insn;	/* instruction inside cpu_exec() */

	_Atomic u32 mp_state;	/* KVM_MP_STATE_*; written under the lock, read by wakers */
	bool woken;		/* from HLT, and nothing has been executed since */
	bool hw_halted;		/* HLT with HLT exits disabled: halted without an MP state */
	bool pv_unhalted;
	bool set_tpr_exit;
	bool bus_lock_told;	/* user space knows of the bus lock at ... */
	u64 bus_lock_rip;	/* ... this linear RIP, which may be made now */
	bool tpr_reporting;	/* KVM_TPR_ACCESS_REPORTING */
	u64 vapic;		/* KVM_SET_VAPIC_ADDR, 0 = none */
	bool step_shadow;	/* an event waits for the end of an STI or MOV SS shadow */
	bool pv_eoi_pending;	/* the guest may have taken the PV EOI short cut */
	bool user_pdptes;	/* KVM_SET_SREGS2 gave them: do not load them from memory */
	bool ran;		/* has entered the guest once */
	bool enforce_pv;	/* KVM_CAP_ENFORCE_PV_FEATURE_CPUID */
	u64 cr8;		/* without LAPIC */
	u64 apic_base;		/* without LAPIC */
	u32 tsc_khz;
	struct halt_poll halt_poll;
	bool in_crowd;		/* counted as awake (block.c); changed by crowd_join() alone */
	struct sleeper sleeper;	/* of vcpu_block() */
	u64 armed_ns;		/* deadline given to vm_ops->arm_timer */
	u64 pauses;

	bool sigmask_set;
	bool told_self;		/* its own thread has: TOLD_INSIDE, for that thread only */
	sigset_t sigmask;
	/* Who has posted something since the last interrupt was delivered: TOLD_*, set by them. */
	_Atomic u32 told;
	_Atomic u32 signal_seen;	/* by vcpu_signal_seen() on the own thread */
	_Atomic u64 held;	/* signals to be left pending; own thread and its handlers */
	u64 held_prepared;

	/* Where KVM_RUN ends when guest memory is gone; own thread and its signal handler. */
	struct guard guard;
	volatile bool guarded;
	bool alone;		/* between vcpu_alone() with true and with false */
	bool delivering;	/* cpu_deliver() is at work on ... */
	struct cpu_event event;
	u64 fault_hva;

	pthread_mutex_t code_lock;	/* over code_queue: written by any thread */
	u64 code_queue[16];		/* pages, with CODE_WAS_WRITTEN in bit 0 */
	u32 code_queued;		/* > 16: overflow, drop all writes and suspect all code */

	struct vcpu_pmu pmu;	/* at the end: nobody has to be near it */
};

/* By a thread that runs no guest; by one that does. */
enum { TOLD_OUTSIDE = 1, TOLD_INSIDE = 2 };

/* -- inject.c -- */
/* Deliver what is deliverable. CPU_OK, CPU_DONE, CPU_USER or CPU_SHUTDOWN, as the three below. Sets
 * up single_step / window watching. */
enum cpu_result vcpu_inject(struct vcpu *v);
void vcpu_queue_exception(struct vcpu *v, const struct cpu_fault *f);
enum cpu_result vcpu_deliver_fault(struct vcpu *v, const struct cpu_fault *f);
enum cpu_result vcpu_deliver_trap(struct vcpu *v, const struct cpu_fault *f);
bool vcpu_interrupt_allowed(const struct vcpu *v);
bool vcpu_has_interrupt(struct vcpu *v);	/* PIC or LAPIC has a vector to give */
bool vcpu_has_events(struct vcpu *v);		/* a blocked vCPU must wake */
bool vcpu_ready_for_interrupt(struct vcpu *v);	/* kvm_run.ready_for_interrupt_injection */
void vcpu_take_nmis(struct vcpu *v);
bool vcpu_userspace_pic(const struct vcpu *v);	/* ExtINT comes by KVM_INTERRUPT */
void pv_eoi_sync(struct vcpu *v);
/* Delivery was abandoned half way (nothing is committed): let the event wait again. */
void vcpu_undeliver(struct vcpu *v);

/* -- host_fault.c -- */
/* An access to `hva` has failed: CPU_EFAULT. */
enum cpu_result exit_memory_fault(struct vcpu *v, u64 hva);
void vcpu_unguard(struct vcpu *v);
int vcpu_run_guarded(struct vcpu *v, int (*run)(struct vcpu *v));	/* 0 or -errno */
/* For ioctls: fn may use guest memory by linear address or by page walks, and may be abandoned
 * there: -EFAULT. It must hold no lock then. phys_read() and phys_write() need none of this. */
int vcpu_mem_do(struct vcpu *v, int (*fn)(struct vcpu *v, void *arg), void *arg);

/* -- exit.c -- */
/* CPU_OK when it was L2's and L1 intercepts it. */
enum cpu_result exit_shutdown(struct vcpu *v);
enum cpu_result exit_debug(struct vcpu *v, u32 exception, u64 pc, u64 dr6, u64 dr7);
enum cpu_result exit_bus_lock(struct cpu *c);	/* cpu_ops.bus_lock */
enum cpu_result exit_internal_error(struct vcpu *v, u32 suberror);
enum cpu_result exit_delivery(struct vcpu *v, const struct cpu_event *e);
/* KVM's emulator does not know the instruction at RIP. CPU_FAULT or CPU_USER. */
enum cpu_result exit_not_emulable(struct vcpu *v);
/* The instruction that caused an exit is complete: RIP := next, shadows end. CPU_USER when single
 * stepping makes an exit of it. */
enum cpu_result vcpu_retire(struct vcpu *v, u64 next_rip);
u64 vcpu_linear_rip(const struct vcpu *v);
/* Note where the instruction in progress is, for its completion at re-entry. */
void vcpu_pend(struct vcpu *v, enum vcpu_pending kind, const struct insn *in);
/* Finish what the last exit began. CPU_OK, CPU_POLL (not begun) or what ends KVM_RUN. */
enum cpu_result vcpu_complete(struct vcpu *v);

/* -- vcpu.c -- */
void vcpu_flush_requests(struct vcpu *v);
void vcpu_mem_begin(struct vcpu *v);	/* brackets uses of guest memory outside the loop */
void vcpu_mem_end(struct vcpu *v);
struct vcpu *vcpu_current(void);	/* the vCPU whose KVM_RUN this thread is in */
void vcpu_set_current(struct vcpu *v);
bool vcpu_signals_wait(void);	/* taken before this thread's KVM_RUN could see it */

/* -- run.c -- */
/* The signals of this thread that are to be left pending because only the mask of KVM_RUN opens
 * them; their handlers are in place. */
u64 vcpu_signals_held(struct vcpu *v);
/* One pass through the engine; step: a single instruction, no injection before it, and CPU_POLL if
 * it has not come about. */
enum cpu_result vcpu_enter(struct vcpu *v, bool step);
/* What the run loop does about it: CPU_OK, or why KVM_RUN ends. */
enum cpu_result vcpu_settle(struct vcpu *v, enum cpu_result r);
u64 vcpu_next_timer(struct vcpu *v);	/* of the LAPIC or Hyper-V; 0 = none */

/* -- block.c -- */
/* Sleep until the vCPU has events, a signal or a request. CPU_OK or CPU_EINTR. */
enum cpu_result vcpu_block(struct vcpu *v);
bool vcpu_signal_pending(struct vcpu *v);
/* Whether the vCPU's thread wants a CPU; others go by it when they may poll. Called by the thread,
 * or when there is none. */
void crowd_join(struct vcpu *v, bool awake);
void vcpu_wake(struct vcpu *v);

/* -- mmio.c / pio.c -- */
enum cpu_result mmio_complete(struct vcpu *v);
enum cpu_result mmio_emit_write(struct vcpu *v);	/* CPU_USER: an exit is prepared */
enum cpu_result mmio_read(struct cpu *c, u64 gpa, void *buf, u32 len);
enum cpu_result mmio_probe_w(struct cpu *c, u64 gpa, u32 len);
enum cpu_result mmio_write(struct cpu *c, u64 gpa, const void *buf, u32 len);
enum cpu_result pio_complete(struct vcpu *v, enum vcpu_pending kind);
enum cpu_result pio_in(struct cpu *c, const struct insn *in, u16 port, u32 size, void *buf,
		       u32 *count);
enum cpu_result pio_out(struct cpu *c, const struct insn *in, u16 port, u32 size, const void *buf,
			u32 *count);

/* -- vapic.c -- */
void tpr_accessed(struct vcpu *v, u32 offset, bool write);
void vapic_store(struct vcpu *v);
void vapic_load(struct vcpu *v);

/* -- emulable.c -- */
bool insn_emulable(const struct insn *in);

/* -- apic_fast.c -- */
/* Where the APIC's page is may have changed: base or mode. */
void vcpu_apic_page_update(struct vcpu *v);

/* -- debug.c -- */
enum cpu_result debug_halted(struct vcpu *v);	/* CPU_USER: a debugger outside has it */
enum cpu_result debug_exec(struct cpu *c, const struct insn *in); /* CPU_OK: go on with cpu_exec */
enum cpu_result debug_breakpoint(struct cpu *c, u8 vector);		/* cpu_hooks.breakpoint */
void debug_update(struct vcpu *v);	/* before entering: follow DR7 and the control word */
bool debug_at_breakpoint(struct vcpu *v, enum cpu_result *r);
void debug_left(struct vcpu *v, enum cpu_result why, bool moved, bool tf, u64 held);
bool debug_pending(struct vcpu *v, enum cpu_result *r);	/* true: *r is the run loop's result */
/* An instruction has retired under single step. */
enum cpu_result debug_stepped(struct vcpu *v, bool tf);
bool debug_wants_step(const struct vcpu *v);

/* -- smm.c -- */
/* An SMI of the local APIC's waits like one of user space's. */
void vcpu_take_smi(struct vcpu *v);
bool vcpu_smi_allowed(const struct vcpu *v);
bool vcpu_init_allowed(const struct vcpu *v);	/* neither GIF nor SMM holds it back */
/* Into SMM. halted: out of HLT. CPU_OK or CPU_DEAD. */
enum cpu_result vcpu_enter_smm(struct vcpu *v, bool halted);
enum cpu_result vcpu_rsm(struct cpu *c);	/* cpu_hooks.rsm */
/* The flag alone, and the address space that goes with it. */
void vcpu_smm_changed(struct vcpu *v, bool in);

/* -- mp_state.c -- */
int vcpu_apic_events(struct vcpu *v);
void vcpu_set_mp(struct vcpu *v, u32 state);
static inline u32 vcpu_mp(const struct vcpu *v)
{
	return atomic_load_explicit(&v->p->mp_state, memory_order_relaxed);
}

/* -- sync_regs.c -- */
void sync_regs_store(struct vcpu *v);
int sync_regs_load(struct vcpu *v);

/* -- regs.c -- */
int vcpu_set_cr8(struct vcpu *v, u64 cr8);
u64 vcpu_get_cr8(struct vcpu *v);
u64 vcpu_get_apic_base(struct vcpu *v);
int vcpu_set_apic_base(struct vcpu *v, u64 val, bool host);

/* -- cpuid.c -- */
/* CPUID and the feature MSRs are what they are: the guest may have looked at them, or what was
 * derived from them is in force (a nested guest's state). */
static inline bool vcpu_frozen(const struct vcpu *v)
{
	return v->p->ran || v->c->in_l2;
}
void cpuid_init(struct vcpu *v);
void cpuid_update_dynamic(struct vcpu *v);
void cpuid_hook(struct cpu *c, u32 leaf, u32 subleaf, u32 out[4]);
const struct kvm_cpuid_entry2 *cpuid_find(const struct vcpu *v, u32 leaf, u32 subleaf);

/* -- msr.c -- */
enum cpu_result msr_hook_read(struct cpu *c, u32 msr, u64 *val);
enum cpu_result msr_hook_write(struct cpu *c, u32 msr, u64 val);
enum cpu_result msr_complete(struct vcpu *v, bool read);
void msr_reset(struct vcpu *v);
void pv_eoi_set(struct vcpu *v, u64 val);	/* the MSR's value, checked */

/* -- pmu.c -- */
void pmu_refresh(struct vcpu *v);	/* CPUID has changed */
void pmu_reprogram(struct vcpu *v);	/* VREQ_PMU */
void pmu_poll(struct vcpu *v);		/* the deadline may have come */
u64 pmu_deadline_ns(const struct vcpu *v);	/* CLOCK_MONOTONIC; 0 = none */
void pmu_counted(struct cpu *c);	/* cpu_ops.counted */
u64 pmu_rdpmc(struct cpu *c, u32 i);	/* cpu_hooks.rdpmc */
/* The vCPU begins to run the guest; stops to do so, or halts. */
void pmu_resume(struct vcpu *v);
void pmu_pause(struct vcpu *v);

/* -- kvmclock.c -- */
int kvmclock_set_system_time(struct vcpu *v, u64 val, bool host);
void kvmclock_write_wall(struct vcpu *v, u64 gpa);
void kvmclock_update(struct vcpu *v);
int steal_set(struct vcpu *v, u64 val);
void steal_update(struct vcpu *v);
/* Within KVM_RUN: the vCPU will not run for some time; it is about to run again. */
void steal_away(struct vcpu *v);
void steal_back(struct vcpu *v);

/* -- hypercall.c -- */
enum cpu_result hypercall_hook(struct cpu *c, const struct insn *in);
/* VMCALL at RIP: true when the quirk lets it be, after making a VMMCALL of it. */
bool hypercall_fix(struct cpu *c);

/* May the guest use this feature of KVM's own (KVM_FEATURE_*)? */
static inline bool pv_has(const struct vcpu *v, u32 feature)
{
	return !v->p->enforce_pv || (v->p->cpuid.pv_features & BIT(feature));
}

/* -- nested.c -- */
void nested_init(struct vcpu *v);
void nested_caps(struct vcpu *v);	/* CPUID has changed */
/* Guest mode may have changed without VMRUN and #VMEXIT: the counter follows. */
void nested_note(struct vcpu *v);
/* GIF is set, and no event of VMRUN's waits to be delivered first. */
static inline bool nested_gif(const struct vcpu *v)
{
	return svm_gif(v->c) && !svm_event_waits(v->c);
}
void nested_stopped(struct vcpu *v, enum cpu_result why);
/* The event of VMRUN has been delivered. */
void nested_injected(struct vcpu *v);
/* Part of VREQ_NESTED_STATE. -EINVAL: an exit is prepared, the request stays. */
int vcpu_finish_nested_state(struct vcpu *v);
enum cpu_result nested_task_switch(struct cpu *c, const struct cpu_task *t);

/* -- tsc.c -- */
u64 tsc_guest(const struct vcpu *v);
void tsc_host_write(struct vcpu *v, u64 val);	/* KVM_SET_MSRS, with synchronisation */
void tsc_init(struct vcpu *v);
static inline u64 tsc_host(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}
static inline u64 tsc_scale(u64 tsc, u64 ratio)
{
	return ratio == BIT64(32) ? tsc : (u64)(((u128)tsc * ratio) >> 32);
}

/* L1's TSC, which is the vCPU's for everything outside L2. */
static inline u64 tsc_offset(const struct vcpu *v)
{
	return svm_l1_tsc_offset(v->c);
}
static inline u64 tsc_ratio(const struct vcpu *v)
{
	return svm_l1_tsc_ratio(v->c);
}
static inline void tsc_set(struct vcpu *v, u64 offset, u64 ratio)
{
	if (unlikely(v->c->in_l2)) {
		svm_set_l1_tsc(v->c, offset, ratio);
	} else {
		v->c->tsc_offset = offset;
		v->c->tsc_ratio = ratio;
	}
}

/* A trace point of a vCPU (base/trace_events.h). */
#define vcpu_trace(name, v, ...) trace(name, (v)->cfg->trace_vm, (s32)(v)->id, ##__VA_ARGS__)

#endif
