/* SPDX-License-Identifier: MIT */
/*
 * svm/hyperv.c - what an L1 that uses Hyper-V's interface says in the software area of a VMCB
 * (TLFS, nested virtualization): whether L0 is to carry out L2's TLB flushes, and when the MSR
 * permission map has changed. The hypercall itself is vcpu/hyperv_call.c's.
 */
#include "svm/svm_priv.h"

#include "base/mem.h"

void svm_hv_claims(struct cpu *c)
{
	struct vmcb_control *ctl = &c->svm->ctl;

	if (likely(!(ctl->hv_control | ctl->hv_vp_id | ctl->hv_vm_id | ctl->hv_assist)))
		return;
	if (c->svm->ops->hyperv && c->svm->ops->hyperv(c))
		return;
	ctl->hv_control = ctl->hv_vp_id = 0;
	ctl->hv_vm_id = ctl->hv_assist = 0;
}

/*
 * Without the enlightenment the map in memory is read at each access. With it, a map that L1 calls
 * unchanged is the one that this VMCB last ran with, whatever is in memory by now: L1 may be in the
 * middle of changing it.
 */
void svm_hv_msrpm(struct cpu *c)
{
	struct svm *s = c->svm;

	s->msrpm_own =
		(s->ctl.hv_control & SVM_HV_MSR_BITMAP) && vmcb_intercepts(&s->ctl, SVM_I_MSR);
	if (likely(!s->msrpm_own)) {
		s->msrpm_vmcb = ~0ull;
		return;
	}
	if (s->msrpm_vmcb == s->vmcb_pa && (s->ctl.clean & BIT(SVM_CLEAN_SOFTWARE)))
		return;
	s->msrpm_vmcb = s->vmcb_pa;
	if (phys_read(c->phys, s->ctl.msrpm, s->msrpm, SVM_MSRPM_USED))
		for (u32 i = 0; i < SVM_MSRPM_USED; i++)
			s->msrpm[i] = 0xff;
}

bool svm_hv_call(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	struct svm *s = c->svm;

	if (likely(!(s->ctl.hv_control & SVM_HV_DIRECT_FLUSH)))
		return false;
	switch (s->ops->hv_call(c, in, res)) {
	case SVM_HV_NOT_OURS:
		return false;
	case SVM_HV_TRAP:	/* RIP is behind the call */
		s->exit_next_rip = c->rip;
		*res = svm_vmexit(c, SVM_EXIT_SOFTWARE, SVM_HV_TRAP_AFTER_FLUSH, 0);
		break;
	case SVM_HV_DONE:
		break;
	}
	return true;
}
