/* SPDX-License-Identifier: MIT */
/* vcpu/sync_regs.c - register classes passed in kvm_run (KVM_CAP_SYNC_REGS, docs/kvm-abi.md
 * 5.6). */
#include "vcpu/vcpu_priv.h"

#define VALID (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS)

void sync_regs_store(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	struct kvm_sync_regs *s = &run->s.regs;
	u64 valid = run->kvm_valid_regs;

	if (valid & KVM_SYNC_X86_REGS)
		vcpu_get_regs(v, &s->regs);
	if (valid & KVM_SYNC_X86_SREGS)
		vcpu_get_sregs(v, &s->sregs);
	if (valid & KVM_SYNC_X86_EVENTS)
		vcpu_get_events(v, &s->events);
}

/* kvm_run is shared with the program, which may write it while we read: take copies. */
int sync_regs_load(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	u64 dirty = *(volatile __u64 *)&run->kvm_dirty_regs;

	if ((run->kvm_valid_regs & ~(u64)VALID) || (dirty & ~(u64)VALID))
		return -EINVAL;
	if (!dirty)
		return 0;
	engine_fpu_save(v->c);
	if (dirty & KVM_SYNC_X86_REGS) {
		struct kvm_regs r = run->s.regs.regs;

		vcpu_set_regs(v, &r);
		run->kvm_dirty_regs &= ~(u64)KVM_SYNC_X86_REGS;
	}
	if (dirty & KVM_SYNC_X86_SREGS) {
		struct kvm_sregs s = run->s.regs.sregs;

		if (vcpu_set_sregs(v, &s))
			return -EINVAL;
		run->kvm_dirty_regs &= ~(u64)KVM_SYNC_X86_SREGS;
	}
	if (dirty & KVM_SYNC_X86_EVENTS) {
		struct kvm_vcpu_events e = run->s.regs.events;

		if (vcpu_set_events(v, &e))
			return -EINVAL;
		run->kvm_dirty_regs &= ~(u64)KVM_SYNC_X86_EVENTS;
	}
	return 0;
}
