/* SPDX-License-Identifier: MIT */
/*
 * svm/svm.h - AMD's secure virtual machine for the guest's own use: VMRUN, #VMEXIT and
 * what decides between them (APM2 chapter 15).
 *
 * L1 is the guest's hypervisor, L2 its guest. Everything here belongs to the thread that is
 * inside KVM_RUN on the vCPU, or to whoever holds the vCPU lock. The VMCB is read once by
 * VMRUN and written once by #VMEXIT; in between the copy in struct svm counts.
 */
#ifndef SVM_SVM_H
#define SVM_SVM_H

#include "cpu/sys.h"
#include "irq/avic.h"
#include "svm/checks.h"
#include "svm/vmcb.h"

/* L1's registers while L2 runs: what #VMEXIT loads (APM2 15.5.1, 15.6). */
struct svm_l1 {
	struct cpu_seg es, cs, ss, ds;
	struct cpu_dtr gdtr, idtr;
	u64 cr0, cr3, cr4, efer;
	u64 rflags, rip, rsp, rax;
};

/* MSRs of SVM (APM2 15.30). */
struct svm_msrs {
	u64 vm_cr, hsave_pa, tsc_ratio;
};

enum svm_hv_call {
	SVM_HV_NOT_OURS,
	SVM_HV_DONE,
	SVM_HV_TRAP,		/* done, and L1 wants to hear of it */
};

/*
 * What svm/ asks of vcpu/. Events that wait for delivery are vcpu/'s: EVENTINJ is put
 * among them as an event that user space had injected.
 */
struct svm_ops {
	/* L2 has been entered; ctl.event_inj is to be delivered before its first instruction.
	 * True: the run loop has to look at events first. */
	bool (*entered)(struct cpu *c);
	/* L1 runs again: events meant for L2 are gone, a halted CPU runs. trap: VMRUN itself
	 * was single-stepped by L1, its #DB is due. */
	void (*left)(struct cpu *c, bool trap);
	/* GIF has been set: what was held pending may be delivered. */
	void (*gif_set)(struct cpu *c);
	/* The state cannot be represented: shutdown. CPU_WORK. */
	enum cpu_result (*triple_fault)(struct cpu *c);
	/* VMCALL, which is not ours: true when it is taken for VMMCALL, and patched. */
	bool (*fix_hypercall)(struct cpu *c);
	/* L1 uses Hyper-V's interface. */
	bool (*hyperv)(struct cpu *c);
	/* A hypercall of L2 that L1 may have left to L0; *res when it was one. */
	enum svm_hv_call (*hv_call)(struct cpu *c, const struct insn *in, enum cpu_result *res);
	/* An operand's page is legal but not memory: KVM_EXIT_INTERNAL_ERROR. CPU_USER. */
	enum cpu_result (*unbacked)(struct cpu *c);
	/* AVIC doorbell to the CPU with this APIC id: it is to look at its virtual APIC. */
	void (*doorbell)(struct cpu *c, u32 apic_id);
};

struct svm {
	bool gif;		/* L1's global interrupt flag (APM2 15.17) */
	bool run_pending;	/* VMRUN is done, its EVENTINJ not yet delivered */
	bool resume;		/* guest mode was restored: finish at the next KVM_RUN */
	bool soft_rip;		/* inj_rip is the return address of the event to inject */
	u16 pause_left;
	u64 pause_tsc;		/* of the last PAUSE */
	u64 inj_rip;
	bool own_pat;		/* L2 runs with G_PAT: c->pat is L2's, l1_pat L1's */
	u64 l1_pat;
	u64 vmcb_pa;		/* of the VMCB that VMRUN was given last; ~0 = none */
	struct vmcb_control ctl; /* L1's, as VMRUN took it over */
	struct svm_l1 l1;
	/* L1's, while in L2 those in struct cpu are L2's */
	u64 l1_tsc_offset, l1_tsc_ratio;
	u64 l1_debugctl, l1_lbr[4];
	struct svm_msrs msr;
	struct svm_caps caps;
	const struct svm_ops *ops;
	/* -- of the exit being made -- */
	u32 exit_int_info, exit_int_info_err;	/* event in delivery; 0 = none */
	u64 exit_next_rip;
	u64 last_next_rip;	/* nRIP of L2's last exit to L0, which KVM_GET_NESTED_STATE shows */
	u8 exit_insn_len, exit_insn[15];	/* decode assists (APM2 15.8.4) */
	bool write_traps;	/* L1 wants to hear of finished writes to CRs or EFER */
	/* -- AVIC of the VMCB that runs (svm/avic.c) -- */
	bool avic_on;
	bool avic_trapped;	/* avic_trap is to be made when the instruction has retired */
	struct avic_hw avic;
	struct avic_exit avic_trap;
	/* -- Hyper-V's enlightened MSR bitmap (svm/hyperv.c) -- */
	bool msrpm_own;		/* L2's map is msrpm[]: as it was when L1 last said that it
				 * changed */
	u64 msrpm_vmcb;		/* the VMCB that msrpm[] is of; ~0 = none */
	u8 msrpm[SVM_MSRPM_USED];
	u16 trace_vm;			/* of trace records */
	s16 trace_vcpu;
};

/*
 * The fields of struct svm are svm/'s own: the layers above use the functions
 * (tests/unit/layers.py). s becomes c's for good; the trace ids are of its records.
 */
void svm_init(struct cpu *c, struct svm *s, const struct svm_ops *ops, u16 trace_vm,
	      s16 trace_vcpu);
/* RESET and INIT (APM2 14.1.3, 15.17): out of guest mode, GIF = 1. */
void svm_reset(struct cpu *c, bool init);

static inline bool svm_intercepts(const struct cpu *c, u32 number)
{
	return vmcb_intercepts(&c->svm->ctl, number);
}
static inline const struct vmcb_control *svm_control(const struct cpu *c) { return &c->svm->ctl; }
static inline u64 svm_vmcb_pa(const struct cpu *c) { return c->svm->vmcb_pa; }
/* What the guest's CPUID allows; its owner fills in what svm_caps_set() does not know. */
static inline struct svm_caps *svm_caps(const struct cpu *c) { return &c->svm->caps; }
static inline bool svm_gif(const struct cpu *c) { return c->svm->gif; }
static inline bool svm_intr_masking(const struct cpu *c)
{
	return c->svm->ctl.int_ctl & SVM_V_INTR_MASKING;
}
/* RFLAGS.IF as physical interrupts see it (APM2 15.21.1). */
static inline bool svm_host_if(const struct cpu *c)
{
	u64 fl = c->in_l2 && svm_intr_masking(c) ? c->svm->l1.rflags : c->rflags;

	return fl & FL_IF;
}

/* -- EVENTINJ between VMRUN and its delivery; false outside L2 -- */
static inline bool svm_event_waits(const struct cpu *c)
{
	return unlikely(c->in_l2) && c->svm->run_pending;
}
static inline void svm_event_done(struct cpu *c)
{
	c->svm->run_pending = c->svm->soft_rip = false;
}
/* The event is a software one: the address that it returns to, else `otherwise`. */
static inline bool svm_event_soft(const struct cpu *c)
{
	return unlikely(c->in_l2) && c->svm->soft_rip;
}
static inline u64 svm_event_next_rip(const struct cpu *c, u64 otherwise)
{
	return svm_event_soft(c) ? c->svm->inj_rip : otherwise;
}

/* -- what L1 has while L2 runs -- */
static inline u64 svm_l1_tsc_offset(const struct cpu *c)
{
	return c->in_l2 ? c->svm->l1_tsc_offset : c->tsc_offset;
}
static inline u64 svm_l1_tsc_ratio(const struct cpu *c)
{
	return c->in_l2 ? c->svm->l1_tsc_ratio : c->tsc_ratio;
}
/* In L2: L1's TSC, and with it L2's. */
void svm_set_l1_tsc(struct cpu *c, u64 offset, u64 ratio);
static inline u64 *svm_l1_pat(struct cpu *c)
{
	return c->svm->own_pat ? &c->svm->l1_pat : &c->pat;
}

/* -- instructions -- */
/* cpu_hooks.svm: VMRUN VMLOAD VMSAVE STGI CLGI SKINIT INVLPGA. */
enum cpu_result svm_exec(struct cpu *c, const struct insn *in);
/* Before any instruction that C executes in L2. True: L1 intercepts it (or it has raised what
 * comes before the intercept); *res is what the handler returns. */
bool svm_intercept(struct cpu *c, const struct insn *in, enum cpu_result *res);
/* A CR or EFER write has retired and L1 traps it (APM2 15.8.3, 15.35.x): RIP is behind it. */
void svm_write_trap(struct cpu *c, const struct insn *in);
static inline bool svm_write_traps(const struct cpu *c) { return c->svm->write_traps; }
/* PAUSE in L2: true when the filter has run out (APM2 15.14.4). */
bool svm_pause_exits(struct cpu *c);

/* -- #VMEXIT (svm/vmexit.c): enum cpu_result -- */
/* An event (in EXITINTINFO's form) is being delivered: the next exit reports it. */
static inline void svm_delivering(struct cpu *c, u32 event, u32 error)
{
	c->svm->exit_int_info = event;
	c->svm->exit_int_info_err = error;
}
/* L2 has come to L0: what KVM_GET_NESTED_STATE shows as nRIP. */
static inline void svm_stopped(struct cpu *c, u64 next_rip)
{
	c->svm->last_next_rip = next_rip;
}
/* Back to L1. svm/ has set exit_next_rip where it is not 0. */
enum cpu_result svm_vmexit(struct cpu *c, u64 code, u64 info1, u64 info2);
/* Of an instruction at c->rip: with nRIP. */
enum cpu_result svm_vmexit_insn(struct cpu *c, const struct insn *in, u64 code, u64 info1,
				u64 info2);
/* An exception in L2, or EXC_NPF. `during`: what was being delivered, or NULL. False: L1 does
 * not want it. True: done, *res as svm_vmexit(). */
bool svm_exception(struct cpu *c, const struct cpu_fault *f, const struct cpu_event *during,
		   enum cpu_result *res);
/* Shutdown in L2: true when L1 intercepts it. */
bool svm_shutdown(struct cpu *c, enum cpu_result *res);
/* Out of guest mode without a #VMEXIT: L1's state is loaded, nothing is written. */
void svm_leave(struct cpu *c);

/* -- SMM (svm/smm.c) -- */
/* In guest mode, whose registers have been saved: L1's are in force, nothing is in guest mode any
 * more. 0, or -EFAULT: there is no memory for that, and nothing has happened. */
int svm_enter_smm(struct cpu *c);
/* RSM into guest mode of this VMCB; L2's own registers are still to be loaded. 0, or -EINVAL: it
 * is not in guest mode. */
int svm_leave_smm(struct cpu *c, u64 vmcb_pa);

/* -- entry (svm/vmrun.c) -- */
/* L2's registers are in place, s->ctl and s->l1 too: go on as after VMRUN (restoring a state). The
 * MMU part is done by svm_finish_resume() at the next KVM_RUN; 0 or -EINVAL there. */
void svm_resume(struct cpu *c);
int svm_finish_resume(struct cpu *c, bool load_pdptes);
static inline bool svm_resuming(const struct cpu *c) { return c->in_l2 && c->svm->resume; }

/* -- virtual interrupts and NMIs (svm/virq.c) -- */
enum svm_virq { SVM_VIRQ_NONE, SVM_VIRQ_SHADOW /* after the shadow */, SVM_VIRQ_NOW };
enum svm_virq svm_virq(const struct cpu *c);
enum svm_virq svm_vnmi(const struct cpu *c);
u8 svm_virq_take(struct cpu *c);
void svm_vnmi_take(struct cpu *c);
/* Something virtual waits for a window. */
bool svm_virtual_waits(const struct cpu *c);
/* IRET in L2 with NMI virtualisation on: true = it was the virtual NMI's. */
bool svm_vnmi_iret(struct cpu *c);
/* CR8 in L2 with V_INTR_MASKING is V_TPR. */
static inline bool svm_cr8_virtual(const struct cpu *c)
{
	return c->in_l2 && (svm_intr_masking(c) || c->svm->avic_on);
}
u64 svm_avic_cr8(const struct cpu *c);
static inline u64 svm_read_vtpr(const struct cpu *c)
{
	return unlikely(c->svm->avic_on) ? svm_avic_cr8(c) : c->svm->ctl.int_ctl & SVM_V_TPR;
}
void svm_write_vtpr(struct cpu *c, u64 v);

/* -- AVIC (svm/avic.c) -- */
/* After the VMCB was accepted. False: the backing page is not memory. */
bool svm_avic_enter(struct cpu *c);
/* L2-physical page whose accesses are the APIC's, or ~0. */
u64 svm_avic_bar(const struct svm *s);
/* An access to that page: CPU_OK, CPU_FAULT with EXC_AVIC, or, for writes, CPU_DONE: a #VMEXIT
 * follows the instruction. */
enum cpu_result svm_avic_read(struct cpu *c, u32 offset, void *buf, u32 len);
enum cpu_result svm_avic_write(struct cpu *c, u32 offset, const void *buf, u32 len);
/* Before the instruction does anything: would its write fault? CPU_OK or CPU_FAULT. */
enum cpu_result svm_avic_probe(struct cpu *c, u32 offset, u32 len);
/* x2AVIC; the MSR permission map has let the access through. CPU_OK or CPU_FAULT. */
bool svm_avic_has_msr(const struct cpu *c, u32 msr);
enum cpu_result svm_avic_rdmsr(struct cpu *c, u32 msr, u64 *val);
enum cpu_result svm_avic_wrmsr(struct cpu *c, u32 msr, u64 val);
static inline bool svm_avic_on(const struct cpu *c) { return c->svm->avic_on; }
/* The #VMEXIT that a write has left pending. */
static inline bool svm_avic_trapped(const struct cpu *c) { return c->svm->avic_trapped; }
void svm_avic_exit(struct cpu *c);
void svm_avic_set_cr8(struct cpu *c, u64 v);
/* The vector that L2 may be given, or -1; take: IRR -> ISR. */
int svm_avic_pending(const struct cpu *c);
int svm_avic_take(struct cpu *c);

/* -- MSRs (svm/msrs.c): 0, -EINVAL (#GP), -ENOENT (not one of ours) -- */
int svm_msr_read(const struct cpu *c, u32 msr, u64 *val, bool host);
int svm_msr_write(struct cpu *c, u32 msr, u64 val, bool host);
/* VM_CR.R_INIT: INIT is #SX (APM2 15.30.1). */
bool svm_init_redirected(const struct cpu *c);
/* May the guest write this EFER (as far as SVME goes)? 0 or -EINVAL. */
int svm_efer_check(const struct cpu *c, u64 efer);
/* EFER.SVME has been changed by the guest. */
void svm_efer_changed(struct cpu *c);
/* User space is about to set EFER. */
void svm_efer_forced(struct cpu *c, u64 efer);

#endif
