/* SPDX-License-Identifier: MIT */
/*
 * vm/memslot.c - KVM_SET_USER_MEMORY_REGION(2): the list of slots, and the
 * immutable physical map, of which every change makes another one (vm/slot_map.c).
 *
 * What a change takes out of use is not freed before the next change: by then
 * every vCPU has been seen outside the guest twice, so that nobody can hold a
 * pointer into it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/user.h"
#include "direct/direct.h"
#include "vm/slot_map.h"

#define USER_TOP 0x7ffffffff000ull	/* TASK_SIZE_MAX with 4-level page tables */
#define GPA_TOP (1ull << 52)		/* AMD64: at most 52 physical bits */

static void retire_free(struct vm *vm)
{
	struct vm_retired *r = &vm->retired;
	struct vm_code_area *a;

	for (u32 i = 0; i < VM_SPACES; i++) {
		free(r->map[i]);
		slot_chunks_free(&r->chunks[i]);
	}
	vm_zeroed_free(r->dirty, r->dirty_bytes);
	while ((a = r->areas)) {
		r->areas = a->next;
		vm_code_area_free(a);
	}
	memset(r, 0, sizeof(*r));
}

struct vm_slot *vm_slot_find(struct vm *vm, u32 id)
{
	struct vm_slot **by_id = vm_slot_id_ok(id) ? vm->by_id[id >> VM_SPACE_SHIFT] : NULL;

	return by_id ? by_id[id & 0xffff] : NULL;
}

/* The new map becomes the current one, the old one retired. */
static void publish(struct slot_edit *e)
{
	struct vm *vm = e->vm;

	slot_edit_commit(e);
	vm_count(vm->stats, remote_tlb_flush);
	vm_count(vm->stats, remote_tlb_flush_requests);
	vm_request_all(vm, VREQ_TLB_FLUSH, true);
}

static bool overlaps(struct vm *vm, u32 as, const struct vm_slot *self, u64 gpa, u64 size)
{
	const struct phys_map *m = atomic_load(&vm->phys[as].map);
	u32 k = phys_part_of(m, gpa);

	/* The part before may reach in; then all that begin in the range. */
	for (k = k == ~0u ? 0 : k; k < m->n && m->part[k].gpa < gpa + size; k++)
		for (u32 i = 0; i < m->part[k].chunk->n; i++) {
			const struct phys_slot *s = &m->part[k].chunk->slot[i];

			if (s->gpa < gpa + size && s->gpa + s->size > gpa &&
			    (!self || s->id != self->s.id))
				return true;
		}
	return false;
}

static int dirty_alloc(struct vm *vm, struct vm_slot *s)
{
	u64 pages = s->s.size >> PAGE_SHIFT, words = (pages + 63) / 64;

	s->dirty_bytes = words * 8;
	s->s.dirty = vm_zeroed(s->dirty_bytes);
	if (!s->s.dirty)
		return -ENOMEM;
	/* With a ring the bits mean "in the ring", and nothing is. */
	if ((vm->manual_dirty & KVM_DIRTY_LOG_INITIALLY_SET) && !vm->ring_bytes) {
		memset((void *)s->s.dirty, 0xff, s->dirty_bytes);
		if (pages % 64)
			s->s.dirty[words - 1] = BIT64(pages % 64) - 1;
	}
	return 0;
}

static u32 phys_flags(u32 kvm)
{
	return (kvm & KVM_MEM_READONLY ? PHYS_READONLY : 0) |
	       (kvm & KVM_MEM_LOG_DIRTY_PAGES ? PHYS_LOG_DIRTY : 0);
}

static int slot_create(struct vm *vm, const struct kvm_userspace_memory_region2 *m)
{
	u32 as = m->slot >> VM_SPACE_SHIFT;
	struct slot_edit e;
	struct vm_slot *s;

	if (overlaps(vm, as, NULL, m->guest_phys_addr, m->memory_size))
		return -EEXIST;
	if (!vm->by_id[as]) {
		vm->by_id[as] = calloc(VM_USER_SLOTS, sizeof(*vm->by_id[as]));
		if (!vm->by_id[as])
			return -ENOMEM;
	}
	if (!(m->flags & KVM_MEM_READONLY))
		direct_share(vm, user_ptr(m->userspace_addr), m->memory_size);
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->s.id = m->slot;
	s->s.gpa = m->guest_phys_addr;
	s->s.size = m->memory_size;
	s->s.hva = user_ptr(m->userspace_addr);
	s->s.flags = phys_flags(m->flags);
	if ((s->s.flags & PHYS_LOG_DIRTY) && dirty_alloc(vm, s))
		goto nomem;
	retire_free(vm);
	slot_edit_begin(&e, vm);
	if (slot_edit_insert(&e, &s->s) || vm_code_join(&e, s)) {
		slot_edit_abort(&e);
		goto nomem;
	}
	*slot_edit_slot(&e, &s->s) = s->s;	/* is this change's own already */
	vm->by_id[as][m->slot & 0xffff] = s;
	s->next = vm->slots;
	s->prev = &vm->slots;
	if (s->next)
		s->next->prev = &s->next;
	vm->slots = s;
	publish(&e);
	return 0;
nomem:
	vm_zeroed_free((void *)s->s.dirty, s->dirty_bytes);
	free(s);
	return -ENOMEM;
}

static int slot_delete(struct vm *vm, struct vm_slot *s)
{
	struct slot_edit e;

	retire_free(vm);
	slot_edit_begin(&e, vm);
	if (vm_code_may_leave(&e, s) || slot_edit_remove(&e, &s->s)) {
		slot_edit_abort(&e);
		return -ENOMEM;
	}
	vm->by_id[s->s.id >> VM_SPACE_SHIFT][s->s.id & 0xffff] = NULL;
	*s->prev = s->next;
	if (s->next)
		s->next->prev = s->prev;
	vm->retired.dirty = (void *)s->s.dirty;
	vm->retired.dirty_bytes = s->dirty_bytes;
	vm_code_leave(vm, s);
	free(s);
	publish(&e);
	return 0;
}

static int slot_change(struct vm *vm, struct vm_slot *s,
		       const struct kvm_userspace_memory_region2 *m)
{
	const u32 user = PHYS_READONLY | PHYS_LOG_DIRTY;
	u32 flags = phys_flags(m->flags);
	bool move = m->guest_phys_addr != s->s.gpa;
	bool on = flags & PHYS_LOG_DIRTY, had = s->s.dirty;
	struct phys_slot n = s->s;
	struct slot_edit e;

	if (user_ptr(m->userspace_addr) != s->s.hva || m->memory_size != s->s.size ||
	    ((flags ^ s->s.flags) & PHYS_READONLY))
		return -EINVAL;
	if (!move && flags == (s->s.flags & user))
		return 0;
	if (move && overlaps(vm, m->slot >> VM_SPACE_SHIFT, s, m->guest_phys_addr, m->memory_size))
		return -EEXIST;
	retire_free(vm);
	if (on && !had && dirty_alloc(vm, s))
		return -ENOMEM;
	n.gpa = m->guest_phys_addr;
	n.flags = flags | (s->s.flags & ~user);
	n.dirty = on ? s->s.dirty : NULL;
	slot_edit_begin(&e, vm);
	if (slot_edit_remove(&e, &s->s) || slot_edit_insert(&e, &n) ||
	    vm_code_may_move(&e, s, n.gpa)) {
		slot_edit_abort(&e);
		goto nomem;
	}
	if (!on && had) {
		vm->retired.dirty = (void *)s->s.dirty;
		vm->retired.dirty_bytes = s->dirty_bytes;
	}
	s->s = n;
	vm_code_move(&e, s);
	publish(&e);
	return 0;
nomem:
	if (on && !had) {
		vm_zeroed_free((void *)s->s.dirty, s->dirty_bytes);
		s->s.dirty = NULL;
	}
	return -ENOMEM;
}

/* Order of the checks: docs/kvm-abi.md 5.2. */
int vm_set_memory(struct vm *vm, const struct kvm_userspace_memory_region2 *m)
{
	struct vm_slot *s;
	int r;

	if (m->flags & ~(u32)(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY))
		return -EINVAL;
	if ((m->memory_size | m->guest_phys_addr | m->userspace_addr) & ~PAGE_MASK)
		return -EINVAL;
	if (m->userspace_addr >= USER_TOP || m->memory_size > USER_TOP - m->userspace_addr)
		return -EINVAL;
	if (!vm_slot_id_ok(m->slot))
		return -EINVAL;
	if (m->guest_phys_addr + m->memory_size < m->guest_phys_addr ||
	    m->memory_size >> PAGE_SHIFT > VM_SLOT_MAX_PAGES)
		return -EINVAL;

	pthread_rwlock_wrlock(&vm->slots_lock);
	s = vm_slot_find(vm, m->slot);
	if (!m->memory_size)
		r = s ? slot_delete(vm, s) : -EINVAL;
	else if (m->guest_phys_addr + m->memory_size > GPA_TOP)
		r = -EINVAL;
	else
		r = s ? slot_change(vm, s, m) : slot_create(vm, m);
	pthread_rwlock_unlock(&vm->slots_lock);
	log_debug("vm%u: slot %u gpa %#lx size %#lx hva %#lx flags %u: %d", vm->serial, m->slot,
		  (unsigned long)m->guest_phys_addr, (unsigned long)m->memory_size,
		  (unsigned long)m->userspace_addr, m->flags, r);
	return r;
}

void vm_memory_destroy(struct vm *vm)
{
	struct vm_slot *s;

	retire_free(vm);
	while ((s = vm->slots)) {
		vm->slots = s->next;
		vm_zeroed_free((void *)s->s.dirty, s->dirty_bytes);
		free(s);
	}
	vm_code_areas_free(vm);
	for (u32 i = 0; i < VM_SPACES; i++) {
		free(vm->by_id[i]);
		phys_map_free(atomic_exchange(&vm->phys[i].map, NULL));
	}
	direct_unshare(vm);
}
