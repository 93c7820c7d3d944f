/* SPDX-License-Identifier: MIT */
/* svm/svm_priv.h - what the files of svm/ share. */
#ifndef SVM_SVM_PRIV_H
#define SVM_SVM_PRIV_H

#include <errno.h>

#include "mmu/mmu.h"
#include "mmu/nested.h"
#include "base/trace.h"
#include "svm/svm.h"

/* A trace point (base/trace_events.h). */
#define svm_trace(name, s, ...) trace(name, (s)->trace_vm, (s)->trace_vcpu, ##__VA_ARGS__)

/* A VMCB in guest memory while #VMEXIT or VMSAVE writes to it. */
struct vmcb_window {
	struct vmcb *vmcb;
	const struct phys_slot *slot;
	u64 pa;
};
/* False: not writable memory. */
bool svm_window_open(struct cpu *c, struct vmcb_window *w, u64 pa);
/* The stores are done: dirty log, code tracking. */
void svm_window_close(struct cpu *c, const struct vmcb_window *w);

/* Operand of VMRUN, VMLOAD, VMSAVE, INVLPGA: rAX in the address size (APM3). */
static inline u64 svm_operand(const struct cpu *c, const struct insn *in)
{
	return in->addrsize == 8   ? c->gpr[R_RAX]
	       : in->addrsize == 4 ? (u32)c->gpr[R_RAX]
				   : (u16)c->gpr[R_RAX];
}
static inline bool svm_pa_legal(const struct cpu *c, u64 pa)
{
	return !(pa & ~PAGE_MASK) && !(pa >> c->maxphyaddr);
}
static inline void svm_retire(struct cpu *c, const struct insn *in)
{
	insn_retire(c, in);
	c->rflags &= ~(u64)FL_RF;
}

/* The enable bits count only where CPUID has the feature. */
static inline bool svm_vgif_on(const struct svm *s)
{
	return (s->ctl.int_ctl & SVM_V_GIF_ENABLE) && svm_has(&s->caps, SVM_FEAT_VGIF);
}
static inline bool svm_vnmi_on(const struct svm *s)
{
	return (s->ctl.int_ctl & SVM_V_NMI_ENABLE) && svm_has(&s->caps, SVM_FEAT_VNMI);
}

static inline void svm_seg_load(struct cpu_seg *s, const struct vmcb_seg *v)
{
	*s = (struct cpu_seg){ .sel = v->selector, .attr = v->attrib & 0xfff,
			       .limit = v->limit, .base = v->base };
}
static inline void svm_seg_store(struct vmcb_seg *v, const struct cpu_seg *s)
{
	*v = (struct vmcb_seg){ .selector = s->sel, .attrib = s->attr, .limit = s->limit,
				.base = s->base };
}
static inline void svm_set_dr7(struct cpu *c, u64 v)
{
	u64 old = c->dr7;

	c->dr7 = v;
	if (unlikely((old | v) & 0xff) && old != v)
		cpu_hooks->debug_changed(c);
}

/* -- vmrun.c, vmexit.c, svm.c -- */
/* A VMCB as VMRUN reads it. False: no writable memory. */
bool svm_vmcb_read(struct cpu *c, u64 pa, struct vmcb_control *raw, struct vmcb_save *save);
/* Into guest mode, with registers of a save area that has been checked; s->ctl and s->l1 are
 * there. False: it is in guest mode, and may not be. */
bool svm_switch(struct cpu *c, const struct vmcb_save *save, struct svm_refusal *why);
/* nested_state.c: L1's registers in the form of a save area: as VMRUN could have saved them? */
bool svm_l1_valid(const struct svm_caps *caps, const struct vmcb_control *ctl,
		  const struct vmcb_save *l1);
void svm_l1_load(struct svm_l1 *l, const struct vmcb_save *v);
/* Fields that are not saved are left alone. */
void svm_l1_image(const struct svm_l1 *l, struct vmcb_save *out);
enum cpu_result svm_vmrun(struct cpu *c, const struct insn *in);
/* Out of guest mode, but the registers are still L2's. */
void svm_abandon(struct cpu *c);
/* A PAT of L2's own, when it is to have one (APM2 15.25.4). */
/* L2's TSC changed with L1's. */
void svm_tsc_changed(struct cpu *c);
void svm_pat_load(struct cpu *c, u64 g_pat);
/* LBR virtualisation (APM2 15.23): L1's are kept in struct svm while L2's are in force. */
void svm_lbr_load(struct cpu *c, const struct vmcb_save *v);
void svm_lbr_drop(struct cpu *c);
/* DEBUGCTL and the four records in a save area. */
void svm_lbr_read(const struct vmcb_save *v, u64 *ctl, u64 *lbr);
void svm_lbr_write(struct vmcb_save *v, u64 ctl, const u64 *lbr);

/* -- hyperv.c -- */
/* The VMCB's software area means something only where L1 uses Hyper-V's interface. */
void svm_hv_claims(struct cpu *c);
/* The MSR permission map that is to count, before L2 runs. */
void svm_hv_msrpm(struct cpu *c);
/* VMMCALL in L2: true when L0 has done it for L1. */
bool svm_hv_call(struct cpu *c, const struct insn *in, enum cpu_result *res);

/* -- intercept_io.c: true = L1 wants it -- */
bool svm_msr_intercepted(const struct cpu *c, u32 msr, bool write);
bool svm_io_intercepted(const struct cpu *c, u16 port, u32 size);
bool svm_intercept_io(struct cpu *c, const struct insn *in, enum cpu_result *res);
bool svm_intercept_msr(struct cpu *c, const struct insn *in, enum cpu_result *res);

#endif
