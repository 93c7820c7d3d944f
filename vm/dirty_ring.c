/* SPDX-License-Identifier: MIT */
/*
 * vm/dirty_ring.c - KVM_CAP_DIRTY_LOG_RING: a ring of dirtied pages per vCPU, mapped by user
 * space behind the vCPU's other pages (docs/kvm-abi.md 5.6).
 *
 * The slot's bitmap stays and says which pages are in a ring or have been harvested but not
 * reset; it is what keeps write entries out of the TLBs. A reset takes the bits out again.
 *
 * The producer is the thread that runs the vCPU (vm/guest.c); the consumer of `reset` is the
 * holder of slots_lock. Both indices run freely, modulo the size they are places in the ring.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/sys.h"
#include "vm/vm.h"

#define GFN_DIRTY BIT(0)
#define GFN_RESET BIT(1)

/* vm.lock held. */
int vm_dirty_ring_enable(struct vm *vm, u64 bytes)
{
	if (!bytes || (bytes & (bytes - 1)))
		return -EINVAL;
	if (bytes < PAGE_SIZE || bytes < VM_RING_RESERVE * sizeof(struct kvm_dirty_gfn))
		return -EINVAL;
	if (bytes > VM_RING_BYTES_MAX)
		return -E2BIG;
	if (vm->ring_bytes || vm_has_vcpus(vm))
		return -EINVAL;
	vm->ring_bytes = (u32)bytes;
	return 0;
}

size_t vm_vcpu_fd_bytes(const struct vm *vm)
{
	return vm->ring_bytes ? VM_DIRTY_RING_OFFSET + vm->ring_bytes : VM_RUN_BYTES;
}

bool vm_dirty_ring_map_ok(const struct vm *vm, u64 off, u64 len, bool exec, bool shared)
{
	if (!vm->ring_bytes || off + len <= VM_DIRTY_RING_OFFSET)
		return true;
	return shared && !exec;
}

int vm_dirty_ring_attach(struct vm_vcpu *vv, int run_fd)
{
	struct vm_dirty_ring *r = &vv->ring;
	u32 bytes = vv->vm->ring_bytes;
	int error;

	if (!bytes)
		return 0;
	r->overflow = malloc(VM_RING_OVERFLOW * sizeof(*r->overflow));
	if (!r->overflow)
		return -ENOMEM;
	r->gfn = sys_map_file(run_fd, bytes, VM_DIRTY_RING_OFFSET);
	error = sys_map_error(r->gfn);
	if (error) {
		r->gfn = NULL;
		return error;
	}
	r->size = bytes / sizeof(*r->gfn);
	pthread_mutex_init(&r->lock, NULL);
	return 0;
}

void vm_dirty_ring_detach(struct vm_vcpu *vv)
{
	struct vm_dirty_ring *r = &vv->ring;

	if (r->gfn) {
		munmap(r->gfn, r->size * sizeof(*r->gfn));
		pthread_mutex_destroy(&r->lock);
	}
	free(r->overflow);
}

/* User space can write the ring: nothing in an entry is trusted. */
static bool take_bit(struct vm *vm, u32 id, u64 page)
{
	struct vm_slot *s = vm_slot_find(vm, id);

	if (!s || !s->s.dirty || page >= s->s.size >> PAGE_SHIFT)
		return false;
	return atomic_fetch_and(&s->s.dirty[page / 64], ~BIT64(page % 64)) & BIT64(page % 64);
}

static u32 reset_one(struct vm *vm, struct vm_dirty_ring *r, bool *any)
{
	u32 n = 0, head = atomic_load(&r->reset);

	while (head != atomic_load(&r->dirty)) {
		struct kvm_dirty_gfn *g = &r->gfn[head % r->size];

		if (!(__atomic_load_n(&g->flags, __ATOMIC_ACQUIRE) & GFN_RESET))
			break;
		*any |= take_bit(vm, g->slot, g->offset);
		__atomic_store_n(&g->flags, 0, __ATOMIC_RELEASE);
		head++;
		n++;
	}
	atomic_store(&r->reset, head);
	return n;
}

int vm_reset_dirty_rings(struct vm *vm)
{
	struct vm_vcpu *vv;
	bool any = false;
	u32 n = 0;

	if (!vm->ring_bytes)
		return -EINVAL;
	pthread_rwlock_wrlock(&vm->slots_lock);
	vm_for_each_vcpu(vm, i, vv) {
		n += reset_one(vm, &vv->ring, &any);
		pthread_mutex_lock(&vv->ring.lock);
		vm_dirty_ring_refill(&vv->ring);
		pthread_mutex_unlock(&vv->ring.lock);
	}
	/* A store through an old entry comes before the return of this ioctl: user space has
	 * not read the page yet. */
	if (any)
		vm_request_all(vm, VREQ_WRITES_FLUSH, true);
	pthread_rwlock_unlock(&vm->slots_lock);
	return (int)n;
}
