/* SPDX-License-Identifier: MIT */
/*
 * svm/smm.c - SMM out of guest mode, and back into it (APM2 15.22, docs/kvm-svm.md 4.11).
 *
 * In SMM nothing is left of guest mode but what stands in memory: in the save-state area that there
 * was one, and its VMCB; in that VMCB L1's control area; in the host save area L1's registers. So a
 * VMM that saves and restores the vCPU there needs to know nothing of it.
 */
#include "svm/svm_priv.h"

int svm_enter_smm(struct cpu *c)
{
	struct svm *s = c->svm;
	struct svm_l1 l1 = s->l1;
	struct vmcb_window vmcb, host;

	/* The VMCB first: without it #VMEXIT is a shutdown. */
	if (!svm_window_open(c, &vmcb, s->vmcb_pa) || !svm_pa_legal(c, s->msr.hsave_pa) ||
	    !svm_window_open(c, &host, s->msr.hsave_pa))
		return -EFAULT;
	svm_vmexit(c, SVM_EXIT_SOFTWARE, 0, 0);
	svm_l1_image(&l1, &host.vmcb->save);
	svm_window_close(c, &host);
	/* GIF is the handler's own: SMM holds back what it would. */
	s->gif = true;
	return 0;
}

int svm_leave_smm(struct cpu *c, u64 vmcb_pa)
{
	struct svm *s = c->svm;
	struct vmcb_control raw, unused;
	struct vmcb_save save, l1;
	struct svm_refusal why;

	if (!svm_has(&s->caps, SVM_FEAT_SVM) || !svm_pa_legal(c, vmcb_pa) ||
	    !svm_pa_legal(c, s->msr.hsave_pa) || !svm_vmcb_read(c, vmcb_pa, &raw, &save) ||
	    !svm_vmcb_read(c, s->msr.hsave_pa, &unused, &l1))
		return -EINVAL;
	s->vmcb_pa = vmcb_pa;
	svm_sanitize(&s->caps, &s->ctl, &raw);
	/* VMRUN has had its event. */
	s->ctl.event_inj = s->ctl.event_inj_err = 0;
	if (svm_check_save(&s->caps, &s->ctl, &save, &why) ||
	    svm_check_control(&s->caps, &s->ctl, &why) || !svm_l1_valid(&s->caps, &s->ctl, &l1))
		return -EINVAL;
	svm_l1_load(&s->l1, &l1);
	if (!svm_switch(c, &save, &why)) {
		svm_leave(c);
		return -EINVAL;
	}
	s->ops->entered(c);
	return 0;
}
