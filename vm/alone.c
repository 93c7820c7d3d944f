/* SPDX-License-Identifier: MIT */
/*
 * vm/alone.c - one vCPU alone with the guest's memory, for a LOCK whose operand lies in two
 * places.
 *
 * vm.alone says who; the others have VREQ_ALONE, and are outside the guest or parked where they
 * serve their requests. A vCPU that comes into the guest looks at its requests first. Who waits,
 * for the others or for its turn, serves its own, so that two who want to be alone do not wait for
 * each other.
 */
#include "vm/vm.h"

static void begin(struct vm *vm, struct vcpu *v)
{
	struct vm_vcpu *vv;
	u32 nobody = 0;

	while (!atomic_compare_exchange_strong(&vm->alone, &nobody, v->c->index + 1)) {
		nobody = 0;
		vcpu_alone_wait(v, NULL);
	}
	vm_for_each_vcpu(vm, i, vv) if (vv->v != v) vcpu_request(vv->v, VREQ_ALONE);
	vm_for_each_vcpu(vm, i, vv) if (vv->v != v) vcpu_alone_wait(v, vv->v);
}

static void end(struct vm *vm, struct vcpu *v)
{
	struct vm_vcpu *vv;

	vm_for_each_vcpu(vm, i, vv) if (vv->v != v)
		atomic_fetch_and(&vv->v->requests, ~BIT64(VREQ_ALONE));
	atomic_store(&vm->alone, 0);
}

void vm_alone(void *o, struct vcpu *v, bool on)
{
	struct vm *vm = o;

	if (on)
		begin(vm, v);
	else
		end(vm, v);
}

void vm_alone_created(struct vm *vm)
{
	while (atomic_load(&vm->alone))
		__builtin_ia32_pause();
}
