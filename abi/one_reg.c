/* SPDX-License-Identifier: MIT */
/*
 * abi/one_reg.c - KVM_GET_ONE_REG, KVM_SET_ONE_REG, KVM_GET_REG_LIST: on x86 one MSR at a time, and
 * registers of KVM's own, of which the only one (the shadow stack pointer) needs a CPU with CET.
 */
#include <errno.h>

#include "abi/abi.h"
#include "abi/one_reg.h"
#include "base/user.h"
#include "vm/vm.h"

#define TYPE_MSR 2

/* Of the 64-bit id, from its low end: index (32), type (8), reserved (12), size (4),
 * architecture. */
static long msr_of(const struct kvm_one_reg *r, u32 *msr)
{
	if ((r->id & KVM_REG_ARCH_MASK) != KVM_REG_X86 || (r->id >> 40 & 0xfff))
		return -EINVAL;
	if ((r->id >> 32 & 0xff) != TYPE_MSR || (r->id & KVM_REG_SIZE_MASK) != KVM_REG_SIZE_U64)
		return -EINVAL;
	*msr = (u32)r->id;
	return 0;
}

long vci_get_one_reg(struct vm_vcpu *vv, struct kvm_one_reg *r)
{
	u32 msr;
	u64 val;

	if (msr_of(r, &msr) || vcpu_get_msr(vv->v, msr, &val))
		return -EINVAL;
	return user_put(user_ptr(r->addr), &val, sizeof(val));
}

long vci_set_one_reg(struct vm_vcpu *vv, struct kvm_one_reg *r)
{
	u32 msr;
	u64 val;
	long ret;

	if (msr_of(r, &msr))
		return -EINVAL;
	if (user_get(&val, user_ptr(r->addr), sizeof(val)))
		return -EFAULT;
	pthread_rwlock_rdlock(&vv->vm->slots_lock);
	ret = vcpu_set_msr(vv->v, msr, val);
	pthread_rwlock_unlock(&vv->vm->slots_lock);
	return ret;
}

/* MSRs have their own list. */
long vci_reg_list(struct vm_vcpu *vv, void *user)
{
	u64 given, none = 0;

	return user_get(&given, user, sizeof(given)) || user_put(user, &none, sizeof(none))
		       ? -EFAULT
		       : 0;
}
