/* SPDX-License-Identifier: MIT */
/*
 * vm/guest.c - what the mmu reports to the VM from inside the guest. Built
 * with the guest side: the guest's vector registers may be live here.
 */
#include "vm/vm.h"

static void code_page(void *owner, u64 gpa, u32 by)
{
	struct vm *vm = owner;
	struct vm_vcpu *vv;

	vm_for_each_vcpu(vm, i, vv)
		if (i != by)
			vcpu_code_page(vv->v, gpa);
}

static void code_written(void *owner, u64 gpa, u32 len, u32 by)
{
	struct vm *vm = owner;
	struct vm_vcpu *vv;

	vm_for_each_vcpu(vm, i, vv)
		if (i != by)
			vcpu_request(vv->v, VREQ_CODE_SUSPECT);
}

const struct phys_ops vm_phys_ops = {
	.code_page = code_page,
	.code_written = code_written,
};
