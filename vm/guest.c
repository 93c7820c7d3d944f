/* SPDX-License-Identifier: MIT */
/*
 * vm/guest.c - what the mmu reports to the VM from inside the guest. Built
 * with the guest side: the guest's vector registers may be live here.
 */
#include "vm/vm.h"

/* The guest's vector state may be in the registers, and the vCPUs' queues have locks of libc's. */
static void save_fpu(void)
{
	struct vcpu *v = vcpu_touching();

	if (v)
		engine_fpu_save(v->c);
}

static void code_page(void *owner, u32 as, u64 gpa, u32 by)
{
	struct vm *vm = owner;
	struct vm_vcpu *vv;

	save_fpu();
	vm_for_each_vcpu(vm, i, vv) if (i != by) vcpu_code_page(vv->v, as, gpa);
}

static void code_written(void *owner, u64 gpa, u32 len, u32 by)
{
	struct vm *vm = owner;
	struct vm_vcpu *vv;

	save_fpu();
	/* The store before the flags: with in_guest = 1 and the comparing on the other side, one
	 * of the two sees the other. */
	atomic_thread_fence(memory_order_seq_cst);
	vm_for_each_vcpu(vm, i, vv) {
		/* Who is not in the guest compares its code when it comes back, after raising the
		 * flag that is read here. */
		if (i == by || !atomic_load(&vv->v->in_guest))
			continue;
		/* Within a page, or anything. */
		if (len && (gpa & ~PAGE_MASK) + len <= PAGE_SIZE)
			vcpu_code_written(vv->v, gpa);
		else
			vcpu_request(vv->v, VREQ_CODE_SUSPECT);
	}
}

/* -- dirty rings -- */

static void put(struct vm_dirty_ring *r, u32 slot, u64 page)
{
	u32 at = atomic_load_explicit(&r->dirty, memory_order_relaxed);
	struct kvm_dirty_gfn *g = &r->gfn[at % r->size];

	g->slot = slot;
	g->offset = page;
	__atomic_store_n(&g->flags, KVM_DIRTY_GFN_F_DIRTY, __ATOMIC_RELEASE);
	atomic_store(&r->dirty, at + 1);
}

static bool full(const struct vm_dirty_ring *r)
{
	return atomic_load(&r->dirty) - atomic_load(&r->reset) >= r->size;
}

/* r->lock held. Entries that found no place go in as soon as there is some. */
void vm_dirty_ring_refill(struct vm_dirty_ring *r)
{
	while (r->overflowed && !full(r)) {
		r->overflowed--;
		put(r, r->overflow[r->overflowed].slot, r->overflow[r->overflowed].page);
	}
}

bool vm_dirty_ring_soft_full(const struct vm_dirty_ring *r)
{
	return r->overflowed ||
	       atomic_load(&r->dirty) - atomic_load(&r->reset) >= r->size - VM_RING_RESERVE;
}

/*
 * The reserve is for what one pass through the guest may dirty after the ring was found
 * soft-full. A pass may touch more pages than real hardware does before it comes to an end,
 * hence the overflow behind it.
 */
static void dirty(void *owner, const struct phys_slot *s, u64 gpa)
{
	struct vm *vm = owner;
	struct vcpu *v = vcpu_touching();
	struct vm_dirty_ring *r;
	struct vm_vcpu *vv;
	u64 page = (gpa - s->gpa) >> PAGE_SHIFT;

	if (likely(!vm->ring_bytes) || !v)
		return;
	vv = atomic_load(&vm->vcpus[v->c->index]);
	if (!vv)
		return;
	r = &vv->ring;
	/* The engine's stores may be in vector registers now; the lock is libc's. */
	engine_fpu_save(v->c);
	pthread_mutex_lock(&r->lock);
	vm_dirty_ring_refill(r);
	if (likely(!full(r))) {
		put(r, s->id, page);
	} else if (r->overflowed < VM_RING_OVERFLOW) {
		r->overflow[r->overflowed].slot = s->id;
		r->overflow[r->overflowed++].page = page;
	}
	pthread_mutex_unlock(&r->lock);
	if (vm_dirty_ring_soft_full(r))
		vcpu_request(v, VREQ_DIRTY_FULL);
}

const struct phys_ops vm_phys_ops = {
	.code_page = code_page,
	.code_written = code_written,
	.dirty = dirty,
};
