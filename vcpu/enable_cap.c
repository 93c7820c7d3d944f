/* SPDX-License-Identifier: MIT */
/* vcpu/enable_cap.c - what can be enabled for one vCPU (KVM_ENABLE_CAP). */
#include "vcpu/vcpu_priv.h"

int vcpu_enable_cap(struct vcpu *v, const struct kvm_enable_cap *cap)
{
	if (cap->flags)
		return -EINVAL;
	switch (cap->cap) {
	case KVM_CAP_ENFORCE_PV_FEATURE_CPUID:
		v->p->enforce_pv = cap->args[0];
		return 0;
	case KVM_CAP_HYPERV_ENFORCE_CPUID:
		v->p->hv.enforce = cap->args[0];
		return 0;
	case KVM_CAP_HYPERV_SYNIC:
		return hyperv_synic_enable(v, false);
	case KVM_CAP_HYPERV_SYNIC2:
		return cap->args[0] ? -EINVAL : hyperv_synic_enable(v, true);
	/* Intel's VMCS; and flushes that L0 hands on to a hypervisor below it. */
	case KVM_CAP_HYPERV_ENLIGHTENED_VMCS:
	case KVM_CAP_HYPERV_DIRECT_TLBFLUSH:
		return -ENOTTY;
	}
	return -EINVAL;
}
