/* SPDX-License-Identifier: MIT */
/* svm/svm.c - life of struct svm, VMCB windows, LBR state. */
#include "svm/svm_priv.h"

void svm_init(struct cpu *c, struct svm *s, const struct svm_ops *ops, u16 trace_vm, s16 trace_vcpu)
{
	c->svm = s;
	s->trace_vm = trace_vm;
	s->trace_vcpu = trace_vcpu;
	s->ops = ops;
	s->gif = true;
	s->vmcb_pa = s->msrpm_vmcb = ~0ull;
	s->msr.tsc_ratio = BIT64(32);
}

void svm_reset(struct cpu *c, bool init)
{
	struct svm *s = c->svm;

	svm_leave(c);
	s->gif = true;
	s->run_pending = s->resume = false;
	if (init)
		return;
	s->msr = (struct svm_msrs){ .tsc_ratio = BIT64(32) };
	s->vmcb_pa = s->msrpm_vmcb = ~0ull;
}

bool svm_window_open(struct cpu *c, struct vmcb_window *w, u64 pa)
{
	w->slot = phys_find(c->phys, pa);
	if (!w->slot || (w->slot->flags & PHYS_READONLY))
		return false;
	w->pa = pa;
	w->vmcb = (struct vmcb *)(w->slot->hva + (pa - w->slot->gpa));
	return true;
}

void svm_window_close(struct cpu *c, const struct vmcb_window *w)
{
	struct phys *p = c->phys;

	/* After the stores: a harvest in between would lose them. */
	phys_mark_dirty(p, w->slot, w->pa);
	if (unlikely(phys_is_code(w->slot, w->pa)))
		phys_code_written(p, w->slot, w->pa, PAGE_SIZE, PHYS_BY_NOBODY);
}

void svm_pat_load(struct cpu *c, u64 g_pat)
{
	struct svm *s = c->svm;

	s->own_pat = svm_separate_pat(&s->caps) && (s->ctl.misc_ctl & SVM_NP_ENABLE);
	if (likely(!s->own_pat))
		return;
	s->l1_pat = c->pat;
	c->pat = g_pat;
}

/* -- LBR virtualisation -- */

void svm_lbr_read(const struct vmcb_save *v, u64 *ctl, u64 *lbr)
{
	*ctl = v->dbgctl & DEBUGCTL_VALID;
	lbr[0] = v->br_from;
	lbr[1] = v->br_to;
	lbr[2] = v->last_excp_from;
	lbr[3] = v->last_excp_to;
}

void svm_lbr_write(struct vmcb_save *v, u64 ctl, const u64 *lbr)
{
	v->dbgctl = ctl;
	v->br_from = lbr[0];
	v->br_to = lbr[1];
	v->last_excp_from = lbr[2];
	v->last_excp_to = lbr[3];
}

void svm_lbr_load(struct cpu *c, const struct vmcb_save *v)
{
	struct svm *s = c->svm;

	s->l1_debugctl = c->debugctl;
	for (u32 i = 0; i < ARRAY_SIZE(c->lbr); i++)
		s->l1_lbr[i] = c->lbr[i];
	svm_lbr_read(v, &c->debugctl, c->lbr);
}

void svm_lbr_drop(struct cpu *c)
{
	const struct svm *s = c->svm;

	c->debugctl = s->l1_debugctl;
	for (u32 i = 0; i < ARRAY_SIZE(c->lbr); i++)
		c->lbr[i] = s->l1_lbr[i];
}
