/* SPDX-License-Identifier: MIT */
/* abi/nested_state.c - KVM_GET/SET_NESTED_STATE: the argument's size is in the argument. */
#include <errno.h>
#include <linux/kvm.h>

#include "abi/abi.h"
#include "base/log.h"
#include "base/user.h"
#include "svm/vmcb.h"
#include "vm/vm.h"

#define FLAGS_KNOWN (KVM_STATE_NESTED_GUEST_MODE | KVM_STATE_NESTED_RUN_PENDING | \
		     KVM_STATE_NESTED_EVMCS | KVM_STATE_NESTED_MTF_PENDING | \
		     KVM_STATE_NESTED_GIF_SET)

static void *image_of(void *user)
{
	return (u8 *)user + offsetof(struct kvm_nested_state, data);
}

static void *size_of(void *user)
{
	return (u8 *)user + offsetof(struct kvm_nested_state, size);
}

long vci_get_nested_state(struct vm_vcpu *vv, void *user)
{
	struct kvm_nested_state hdr;
	struct vmcb image;
	u32 capacity, need;

	if (user_get(&capacity, size_of(user), sizeof(capacity)))
		return -EFAULT;
	need = vcpu_get_nested_state(vv->v, &hdr, &image);
	if (capacity < need) {
		/* Less than a header never learns of the image. */
		if (capacity < sizeof(hdr))
			need = sizeof(hdr);
		return user_put(size_of(user), &need, sizeof(need)) ? -EFAULT : -E2BIG;
	}
	if (user_put(user, &hdr, sizeof(hdr)))
		return -EFAULT;
	if (need > sizeof(hdr) && user_put(image_of(user), &image, sizeof(image)))
		return -EFAULT;
	return 0;
}

static long set(struct vm_vcpu *vv, const struct kvm_nested_state *hdr, const struct vmcb *image)
{
	long r;

	pthread_rwlock_rdlock(&vv->vm->slots_lock);
	r = vcpu_set_nested_state(vv->v, hdr, image);
	pthread_rwlock_unlock(&vv->vm->slots_lock);
	return r;
}

long vci_set_nested_state(struct vm_vcpu *vv, void *user)
{
	struct kvm_nested_state hdr;
	struct vmcb image;
	long r;

	if (user_get(&hdr, user, sizeof(hdr)))
		return -EFAULT;
	if (hdr.flags & ~FLAGS_KNOWN)
		return -EINVAL;
	r = set(vv, &hdr, NULL);
	if (r <= 0)
		return r;
	if (user_get(&image, image_of(user), sizeof(image)))
		return -EFAULT;
	r = set(vv, &hdr, &image);
	if (!r)
		log_info("vCPU %u: nested state of a running L2 restored", vv->v->id);
	return r;
}
