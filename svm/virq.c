/* SPDX-License-Identifier: MIT */
/* svm/virq.c - virtual interrupts and NMIs of L2 (APM2 15.21). */
#include "svm/svm_priv.h"

/* APM2 15.33: with VGIF on, V_GIF gates what is virtual; otherwise L1's GIF does. */
static bool virtual_gif(const struct svm *s)
{
	return svm_vgif_on(s) ? s->ctl.int_ctl & SVM_V_GIF : s->gif;
}

static enum svm_virq after_shadow(const struct cpu *c)
{
	return c->shadow_sti || c->shadow_ss ? SVM_VIRQ_SHADOW : SVM_VIRQ_NOW;
}

enum svm_virq svm_virq(const struct cpu *c)
{
	const struct svm *s = c->svm;
	u32 ctl = s->ctl.int_ctl;

	/* APM2 15.29.3: AVIC takes the place of V_IRQ. */
	if (unlikely(s->avic_on)) {
		if (!virtual_gif(s) || !(c->rflags & FL_IF) || svm_avic_pending(c) < 0)
			return SVM_VIRQ_NONE;
		return after_shadow(c);
	}
	if (!c->in_l2 || !(ctl & SVM_V_IRQ) || !virtual_gif(s) || !(c->rflags & FL_IF))
		return SVM_VIRQ_NONE;
	if (!(ctl & SVM_V_IGN_TPR) && (ctl & SVM_V_PRIO) >> SVM_V_PRIO_SHIFT <= (ctl & SVM_V_TPR))
		return SVM_VIRQ_NONE;
	return after_shadow(c);
}

enum svm_virq svm_vnmi(const struct cpu *c)
{
	const struct svm *s = c->svm;
	u32 ctl = s->ctl.int_ctl;

	if (!c->in_l2 || !svm_vnmi_on(s) || !(ctl & SVM_V_NMI_PENDING))
		return SVM_VIRQ_NONE;
	if ((ctl & SVM_V_NMI_BLOCKING) || !virtual_gif(s))
		return SVM_VIRQ_NONE;
	return after_shadow(c);
}

u8 svm_virq_take(struct cpu *c)
{
	if (unlikely(c->svm->avic_on))
		return (u8)svm_avic_take(c);
	c->svm->ctl.int_ctl &= ~SVM_V_IRQ;
	return (u8)c->svm->ctl.int_vector;
}

void svm_vnmi_take(struct cpu *c)
{
	c->svm->ctl.int_ctl = (c->svm->ctl.int_ctl & ~SVM_V_NMI_PENDING) | SVM_V_NMI_BLOCKING;
}

bool svm_virtual_waits(const struct cpu *c)
{
	const struct svm *s = c->svm;

	if (!c->in_l2)
		return false;
	if (unlikely(s->avic_on) && svm_avic_pending(c) >= 0)
		return true;
	return s->ctl.int_ctl & ((s->avic_on ? 0 : SVM_V_IRQ) | SVM_V_NMI_PENDING);
}

bool svm_vnmi_iret(struct cpu *c)
{
	if (!c->in_l2 || !svm_vnmi_on(c->svm))
		return false;
	c->svm->ctl.int_ctl &= ~SVM_V_NMI_BLOCKING;
	return true;
}

void svm_write_vtpr(struct cpu *c, u64 v)
{
	c->svm->ctl.int_ctl = (c->svm->ctl.int_ctl & ~SVM_V_TPR_FIELD) | (v & SVM_V_TPR);
	if (unlikely(c->svm->avic_on))
		svm_avic_set_cr8(c, v);
}
