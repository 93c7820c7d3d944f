/* SPDX-License-Identifier: MIT */
/* abi/one_reg.h - handlers of the ioctls on single registers. */
#ifndef ABI_ONE_REG_H
#define ABI_ONE_REG_H

#include "vm/kvm_uapi.h"

struct vm_vcpu;
long vci_get_one_reg(struct vm_vcpu *vv, struct kvm_one_reg *r);
long vci_set_one_reg(struct vm_vcpu *vv, struct kvm_one_reg *r);
long vci_reg_list(struct vm_vcpu *vv, void *user);

#endif
