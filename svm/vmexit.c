/* SPDX-License-Identifier: MIT */
/* svm/vmexit.c - #VMEXIT: from L2 back into L1 (APM2 15.6). */
#include "svm/svm_priv.h"

#include "base/mem.h"
#include "engine/engine.h"

/* The guest stopped in front of an instruction that stands in an interrupt shadow. */
static bool in_shadow(const struct cpu *c)
{
	return c->shadow_sti || c->shadow_ss || (c->shadow_left && c->shadow_rip == c->rip);
}

static void store_state(struct cpu *c, struct vmcb_save *v)
{
	svm_seg_store(&v->es, &c->seg[S_ES]);
	svm_seg_store(&v->cs, &c->seg[S_CS]);
	svm_seg_store(&v->ss, &c->seg[S_SS]);
	svm_seg_store(&v->ds, &c->seg[S_DS]);
	v->gdtr.base = c->gdtr.base;
	v->gdtr.limit = c->gdtr.limit;
	v->idtr.base = c->idtr.base;
	v->idtr.limit = c->idtr.limit;
	v->efer = c->efer;
	v->cr0 = c->cr0;
	v->cr2 = c->cr2;
	v->cr3 = c->cr3;
	v->cr4 = c->cr4;
	v->rflags = c->rflags;
	v->rip = c->rip;
	v->rsp = c->gpr[R_RSP];
	v->rax = c->gpr[R_RAX];
	v->dr6 = c->dr6;
	v->dr7 = c->dr7;
	v->cpl = c->cpl;
}

#define V_CHANGES (SVM_V_TPR_FIELD | SVM_V_IRQ | SVM_V_GIF | SVM_V_NMI_PENDING | SVM_V_NMI_BLOCKING)

static void store_exit(struct cpu *c, struct vmcb_control *v, u64 code, u64 info1, u64 info2)
{
	struct svm *s = c->svm;

	v->int_state = in_shadow(c) ? SVM_INT_SHADOW : 0;
	v->exit_code = code;
	v->exit_info_1 = info1;
	v->exit_info_2 = info2;
	/* A refusal is no exit of an event: APM2 15.5.1 names the fields it writes. */
	if (code != SVM_EXIT_INVALID) {
		v->exit_int_info = s->exit_int_info;
		v->exit_int_info_err = s->exit_int_info_err;
	}
	if (svm_has(&s->caps, SVM_FEAT_NRIPS))
		v->next_rip = s->exit_next_rip;
	/* CR8 is V_TPR, except that without masking it is the physical TPR as well. */
	if (!svm_intr_masking(c) || s->avic_on)
		svm_write_vtpr(c, cpu_hooks->read_cr8(c));
	if (svm_has(&s->caps, SVM_FEAT_DECODE_ASSISTS)) {
		v->insn_len = s->exit_insn_len;
		cpu_copy(v->insn_bytes, s->exit_insn, sizeof(v->insn_bytes));
	}
	/* What L2's run has changed of the control area, and no more (APM2 15.6): the rest may be
	 * wider in the VMCB than the copy that was checked. */
	v->int_ctl = (v->int_ctl & ~V_CHANGES) | (s->ctl.int_ctl & V_CHANGES);
	v->event_inj = 0;
	v->event_inj_err = 0;
}

static void load_l1(struct cpu *c, const struct svm_l1 *l)
{
	c->seg[S_ES] = l->es;
	c->seg[S_CS] = l->cs;
	c->seg[S_SS] = l->ss;
	c->seg[S_DS] = l->ds;
	c->gdtr = l->gdtr;
	c->idtr = l->idtr;
	c->cr0 = l->cr0 | CR0_PE;
	c->cr3 = l->cr3;
	c->cr4 = l->cr4;
	c->efer = l->efer;
	c->rflags = (l->rflags | FL_FIXED) & ~(u64)FL_VM;
	c->rip = l->rip;
	c->gpr[R_RSP] = l->rsp;
	c->gpr[R_RAX] = l->rax;
	c->cpl = 0;
	svm_set_dr7(c, DR7_FIXED);
}

void svm_abandon(struct cpu *c)
{
	struct svm *s = c->svm;

	if (s->ctl.misc_ctl2 & SVM_LBRV_ENABLE)
		svm_lbr_drop(c);
	if (unlikely(s->own_pat))
		c->pat = s->l1_pat;
	s->own_pat = false;
	c->tsc_offset = s->l1_tsc_offset;
	c->tsc_ratio = s->l1_tsc_ratio;
	c->shadow_sti = c->shadow_ss = c->shadow_left = 0;
	c->single_step = 0;
	/* Nobody is told of what L2's last instruction has hit. */
	c->watch_hit = 0;
	c->debug_note = 0;
	s->run_pending = s->resume = s->soft_rip = false;
	s->avic_on = s->avic_trapped = false;
	s->exit_int_info = s->exit_int_info_err = 0;
	s->exit_next_rip = 0;
	s->exit_insn_len = 0;
	mmu_leave_guest(c);
	cpu_mode_changed(c);
}

enum cpu_result svm_vmexit(struct cpu *c, u64 code, u64 info1, u64 info2)
{
	struct svm *s = c->svm;
	bool trap = s->l1.rflags & FL_TF;
	struct vmcb_window w;

	engine_serialise(c, true);
	svm_trace(kvm_nested_vmexit, s, c->rip, code, info1, info2, s->exit_int_info);
	if (unlikely(!svm_window_open(c, &w, s->vmcb_pa))) {
		svm_leave(c);
		s->gif = false;
		return s->ops->triple_fault(c);
	}
	store_state(c, &w.vmcb->save);
	if (s->ctl.misc_ctl2 & SVM_LBRV_ENABLE)
		svm_lbr_write(&w.vmcb->save, c->debugctl, c->lbr);
	store_exit(c, &w.vmcb->control, code, info1, info2);
	if (unlikely(s->own_pat))
		w.vmcb->save.g_pat = c->pat;
	svm_window_close(c, &w);
	/* Only now: should the page be gone on the host, all is as before (vcpu/host_fault.c). */
	s->gif = false;
	load_l1(c, &s->l1);
	svm_abandon(c);
	s->ops->left(c, trap);
	return CPU_OK;
}

enum cpu_result svm_vmexit_insn(struct cpu *c, const struct insn *in, u64 code, u64 info1,
				u64 info2)
{
	u64 rip = c->rip;

	insn_retire(c, in);
	c->svm->exit_next_rip = c->rip;
	c->rip = rip;
	return svm_vmexit(c, code, info1, info2);
}

void svm_leave(struct cpu *c)
{
	if (!c->in_l2)
		return;
	load_l1(c, &c->svm->l1);
	svm_abandon(c);
}

/* -- exceptions (APM2 15.12) -- */

/* Decode assists: the bytes of the instruction that hit a page fault (APM2 15.8.4). An
 * instruction fetch has none. */
static void note_insn(struct cpu *c)
{
	struct svm *s = c->svm;
	u64 lin = cpu_in_64(c) ? c->rip : (u32)(c->seg[S_CS].base + c->rip), gpa;
	u32 n = 0;

	cpu_zero(s->exit_insn, sizeof(s->exit_insn));
	while (n < sizeof(s->exit_insn) && mmu_peek(c, lin + n, &gpa)) {
		const struct phys_slot *slot = phys_find(c->phys, gpa);

		if (!slot)
			break;
		s->exit_insn[n++] = slot->hva[gpa - slot->gpa];
	}
	s->exit_insn_len = (u8)n;
}

bool svm_exception(struct cpu *c, const struct cpu_fault *f, const struct cpu_event *during,
		   enum cpu_result *res)
{
	struct svm *s = c->svm;
	u64 info1 = f->has_error ? f->error : 0, info2 = 0;
	u32 code = SVM_EXIT_EXCP + f->vector;

	if (f->vector == EXC_NPF) {
		code = SVM_EXIT_NPF;
		info1 = f->info;
	} else if (f->vector == EXC_AVIC) {
		code = f->error;
		info1 = f->info;
	} else if (f->vector == EXC_MF && !(c->cr0 & CR0_NE) &&
		   svm_intercepts(c, SVM_I_FERR_FREEZE)) {
		/* Without CR0.NE the error goes to FERR (APM2 15.14.2). */
		code = SVM_EXIT_FERR_FREEZE;
	} else if (!svm_intercepts(c, code)) {
		return false;
	}
	s->exit_int_info = f->during;
	s->exit_int_info_err = 0;
	if (during) {
		s->exit_int_info = cpu_event_info(during);
		s->exit_int_info_err = during->has_error ? during->error : 0;
	}
	switch (f->vector) {
	case EXC_AVIC:
		info2 = f->payload;
		break;
	case EXC_NPF:
	case EXC_PF:	/* CR2 keeps its value */
		info2 = f->payload;
		if (svm_has(&s->caps, SVM_FEAT_DECODE_ASSISTS) && !(info1 & PF_I))
			note_insn(c);
		break;
	case EXC_DB:	/* DR6 and DR7 change before the intercept (APM2 15.12.2) */
		c->dr6 = (c->dr6 & ~0xfull) | f->payload;
		c->dr7 &= ~DR7_GD;
		cpu_debugctl_db(c);
		break;
	}
	*res = svm_vmexit(c, code, info1, info2);
	return true;
}

bool svm_shutdown(struct cpu *c, enum cpu_result *res)
{
	if (!c->in_l2 || !svm_intercepts(c, SVM_I_SHUTDOWN))
		return false;
	*res = svm_vmexit(c, SVM_EXIT_SHUTDOWN, 0, 0);
	return true;
}
