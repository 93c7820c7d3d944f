/* SPDX-License-Identifier: MIT */
/* svm/nested_state.c - see nested_state.h; the order of the checks is KVM's (docs/kvm-svm.md
 * 4.13). */
#include "svm/nested_state.h"

#include "base/mem.h"
#include "svm/svm_priv.h"

#define FLAGS_KNOWN (KVM_STATE_NESTED_GUEST_MODE | KVM_STATE_NESTED_RUN_PENDING | \
		     KVM_STATE_NESTED_GIF_SET)

u32 svm_nested_size(const struct cpu *c)
{
	return (u32)(c->in_l2 ? SVM_NESTED_MAX : SVM_NESTED_HEADER);
}

/* Newer headers have it behind vmcb_pa. */
#define GPAT 8

static u64 header_gpat(const struct kvm_nested_state *hdr)
{
	u64 v;

	cpu_copy(&v, hdr->hdr.pad + GPAT, sizeof(v));
	return v;
}

static void header_gpat_set(struct kvm_nested_state *hdr, u64 v)
{
	cpu_copy(hdr->hdr.pad + GPAT, &v, sizeof(v));
}

/* -- get -- */

static void control_image(const struct svm *s, struct vmcb_control *out)
{
	*out = s->ctl;
	out->clean = 0;
	/* It is among the vCPU's events since VMRUN, and KVM_GET_VCPU_EVENTS shows it there. A
	 * state that has not run since it was restored still has it here. */
	if (!s->resume)
		out->event_inj = out->event_inj_err = 0;
	/* VMRUN's is for the event that it injects; later it is that of L2's last exit. */
	if (!s->resume && !s->run_pending)
		out->next_rip = s->last_next_rip;
}

void svm_l1_image(const struct svm_l1 *l, struct vmcb_save *out)
{
	svm_seg_store(&out->es, &l->es);
	svm_seg_store(&out->cs, &l->cs);
	svm_seg_store(&out->ss, &l->ss);
	svm_seg_store(&out->ds, &l->ds);
	out->gdtr = (struct vmcb_seg){ .base = l->gdtr.base, .limit = l->gdtr.limit };
	out->idtr = (struct vmcb_seg){ .base = l->idtr.base, .limit = l->idtr.limit };
	out->cr0 = l->cr0;
	out->cr3 = l->cr3;
	out->cr4 = l->cr4;
	out->efer = l->efer;
	out->rflags = l->rflags;
	out->rip = l->rip;
	out->rsp = l->rsp;
	out->rax = l->rax;
	out->cpl = 0;
}

static void l1_image(const struct svm_l1 *l, struct vmcb_save *out)
{
	cpu_zero(out, sizeof(*out));
	svm_l1_image(l, out);
	/* #VMEXIT gives L1 these; the checks of a later set look at them. */
	out->dr6 = DR6_FIXED;
	out->dr7 = DR7_FIXED;
}

void svm_nested_get(const struct cpu *c, struct kvm_nested_state *hdr, struct vmcb *image)
{
	const struct svm *s = c->svm;

	cpu_zero(hdr, sizeof(*hdr));
	hdr->format = KVM_STATE_NESTED_FORMAT_SVM;
	hdr->size = svm_nested_size(c);
	if (s->gif)
		hdr->flags |= KVM_STATE_NESTED_GIF_SET;
	if (!c->in_l2)
		return;
	hdr->flags |= KVM_STATE_NESTED_GUEST_MODE;
	if (s->run_pending)
		hdr->flags |= KVM_STATE_NESTED_RUN_PENDING;
	hdr->hdr.svm.vmcb_pa = s->vmcb_pa;
	if (s->own_pat)
		header_gpat_set(hdr, c->pat);
	control_image(s, &image->control);
	l1_image(&s->l1, &image->save);
	/* The MSRs in force are L2's, and user space saves those. */
	if (s->ctl.misc_ctl2 & SVM_LBRV_ENABLE)
		svm_lbr_write(&image->save, s->l1_debugctl, s->l1_lbr);
}

/* -- set -- */

int svm_nested_header(struct cpu *c, const struct kvm_nested_state *hdr)
{
	u32 flags = hdr->flags;

	if (hdr->size < SVM_NESTED_HEADER)
		return -EINVAL;
	if ((flags & KVM_STATE_NESTED_RUN_PENDING) && !(flags & KVM_STATE_NESTED_GUEST_MODE))
		return -EINVAL;
	if (hdr->format != KVM_STATE_NESTED_FORMAT_SVM)
		return -EINVAL;
	if (flags & ~(u32)FLAGS_KNOWN)
		return -EINVAL;
	/* Without SVM there is nothing but GIF, and clearing SVME leaves GIF alone. */
	if (!(c->efer & EFER_SVME) && flags && flags != KVM_STATE_NESTED_GIF_SET)
		return -EINVAL;
	/* What SMM has interrupted is in its save-state area. */
	if (c->in_smm && (flags & KVM_STATE_NESTED_GUEST_MODE))
		return -EINVAL;
	if (!(flags & KVM_STATE_NESTED_GUEST_MODE)) {
		svm_leave(c);
		c->svm->gif = flags & KVM_STATE_NESTED_GIF_SET;
		return 0;
	}
	if (!svm_pa_legal(c, hdr->hdr.svm.vmcb_pa))
		return -EINVAL;
	if (hdr->size < SVM_NESTED_MAX)
		return -EINVAL;
	return 1;
}

/* L1's registers as VMRUN could have saved them. */
bool svm_l1_valid(const struct svm_caps *caps, const struct vmcb_control *ctl,
		  const struct vmcb_save *l1)
{
	struct svm_caps k = *caps;

	/* VMRUN needs protected mode with paging, and is not for virtual-8086 mode. */
	if (!(l1->cr0 & CR0_PG) || !(l1->cr0 & CR0_PE) || (l1->rflags & FL_VM))
		return false;
	if ((l1->efer & EFER_LMA) && !(l1->efer & EFER_LME))
		return false;
	/* L1's PAT is an MSR of its own. */
	k.quirks_off = NULL;
	return !svm_check_save(&k, ctl, l1, NULL);
}

void svm_l1_load(struct svm_l1 *l, const struct vmcb_save *v)
{
	svm_seg_load(&l->es, &v->es);
	svm_seg_load(&l->cs, &v->cs);
	svm_seg_load(&l->ss, &v->ss);
	svm_seg_load(&l->ds, &v->ds);
	l->gdtr = (struct cpu_dtr){ .base = v->gdtr.base, .limit = v->gdtr.limit };
	l->idtr = (struct cpu_dtr){ .base = v->idtr.base, .limit = v->idtr.limit };
	l->cr0 = v->cr0;
	l->cr3 = v->cr3;
	l->cr4 = v->cr4;
	l->efer = v->efer;
	l->rflags = v->rflags | FL_FIXED;
	l->rip = v->rip;
	l->rsp = v->rsp;
	l->rax = v->rax;
}

int svm_nested_set(struct cpu *c, const struct kvm_nested_state *hdr, const struct vmcb *image)
{
	struct svm *s = c->svm;
	struct vmcb_control ctl;

	svm_sanitize(&s->caps, &ctl, &image->control);
	if (svm_check_control(&s->caps, &ctl, NULL))
		return -EINVAL;
	/* The registers in force are L2's. */
	if ((c->cr0 & (CR0_CD | CR0_NW)) == CR0_NW)
		return -EINVAL;
	if (!svm_l1_valid(&s->caps, &ctl, &image->save))
		return -EINVAL;
	if (svm_separate_pat(&s->caps) && (ctl.misc_ctl & SVM_NP_ENABLE) &&
	    !svm_pat_valid(header_gpat(hdr)))
		return -EINVAL;
	if (c->cr3 >> c->maxphyaddr)
		return -EINVAL;

	if (c->in_l2)
		svm_abandon(c);
	s->gif = hdr->flags & KVM_STATE_NESTED_GIF_SET;
	s->run_pending = hdr->flags & KVM_STATE_NESTED_RUN_PENDING;
	s->vmcb_pa = hdr->hdr.svm.vmcb_pa;
	s->msrpm_vmcb = ~0ull;
	s->ctl = ctl;
	s->last_next_rip = ctl.next_rip;
	svm_l1_load(&s->l1, &image->save);
	if (ctl.misc_ctl2 & SVM_LBRV_ENABLE)
		svm_lbr_read(&image->save, &s->l1_debugctl, s->l1_lbr);
	svm_pat_load(c, header_gpat(hdr));
	svm_resume(c);
	return 0;
}
