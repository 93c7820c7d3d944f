/* SPDX-License-Identifier: MIT */
/* vcpu/nested_state.c - KVM_GET/SET_NESTED_STATE around svm/nested_state.c. */
#include "svm/nested_state.h"
#include "vcpu/vcpu_priv.h"

u32 vcpu_get_nested_state(struct vcpu *v, struct kvm_nested_state *hdr, struct vmcb *image)
{
	svm_nested_get(v->c, hdr, image);
	return hdr->size;
}

int vcpu_set_nested_state(struct vcpu *v, const struct kvm_nested_state *hdr,
			  const struct vmcb *image)
{
	int r;

	vcpu_mem_begin(v);
	r = image ? svm_nested_set(v->c, hdr, image) : svm_nested_header(v->c, hdr);
	vcpu_mem_end(v);
	nested_note(v);
	if (r)
		return r;
	if (image)
		vcpu_request(v, VREQ_NESTED_STATE);
	/* GIF may have changed, or whose interrupts they are. */
	vcpu_request(v, VREQ_EVENT);
	return 0;
}

int vcpu_finish_nested_state(struct vcpu *v)
{
	/* It may have been left again. */
	if (!svm_resuming(v->c))
		return 0;
	if (svm_finish_resume(v->c, !v->p->user_pdptes)) {
		vcpu_request(v, VREQ_NESTED_STATE);
		exit_internal_error(v, KVM_INTERNAL_ERROR_EMULATION);
		/* No instruction is to blame. */
		v->run->internal.ndata = 0;
		return -EINVAL;
	}
	hyperv_l2_entered(v);
	v->p->user_pdptes = false;
	return 0;
}
