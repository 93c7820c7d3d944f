/* SPDX-License-Identifier: MIT */
/* vcpu/misc.c - small vCPU ioctls: signal mask, capabilities. */
#include "vcpu/priv.h"

int vcpu_set_signal_mask(struct vcpu *v, const void *sigset8)
{
	struct vcpu_priv *p = v->p;

	p->sigmask_set = sigset8;
	if (sigset8) {
		cpu_zero(&p->sigmask, sizeof(p->sigmask));
		cpu_copy(&p->sigmask, sigset8, 8);
	}
	return 0;
}

int vcpu_enable_cap(struct vcpu *v, const struct kvm_enable_cap *cap)
{
	if (cap->flags)
		return -EINVAL;
	switch (cap->cap) {
	case KVM_CAP_ENFORCE_PV_FEATURE_CPUID:
		v->p->enforce_pv = cap->args[0];
		return 0;
	}
	return -EINVAL;
}
