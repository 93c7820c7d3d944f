/* SPDX-License-Identifier: MIT */
/*
 * vm/memslot.c - KVM_SET_USER_MEMORY_REGION(2): the list of slots, and the
 * immutable physical map that is rebuilt from it at every change.
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
#include "vm/vm.h"

#define USER_TOP 0x7ffffffff000ull	/* TASK_SIZE_MAX with 4-level page tables */
#define GPA_TOP (1ull << 52)		/* AMD64: at most 52 physical bits */

static void retire_free(struct vm *vm)
{
	struct vm_retired *r = &vm->retired;
	struct vm_code_area *a;

	free(r->map);
	vm_zeroed_free(r->dirty, r->dirty_bytes);
	while ((a = r->areas)) {
		r->areas = a->next;
		vm_code_area_free(a);
	}
	memset(r, 0, sizeof(*r));
}

struct vm_slot *vm_slot_find(struct vm *vm, u32 id)
{
	return id < VM_USER_SLOTS && vm->by_id ? vm->by_id[id] : NULL;
}

/* The current map without the slot `drop`, with `add`; NULL: no memory. */
static struct phys_map *map_with(struct vm *vm, const struct vm_slot *drop,
				 const struct phys_slot *add)
{
	const struct phys_map *old = atomic_load(&vm->phys.map);
	struct phys_map *m = malloc(sizeof(*m) + (old->n + 1) * sizeof(m->slot[0]));

	if (!m)
		return NULL;
	m->n = 0;
	for (u32 i = 0; i < old->n; i++) {
		const struct phys_slot *s = &old->slot[i];

		if (drop && s->id == drop->s.id)
			continue;
		if (add && add->gpa < s->gpa) {
			m->slot[m->n++] = *add;
			add = NULL;
		}
		m->slot[m->n++] = *s;
	}
	if (add)
		m->slot[m->n++] = *add;
	return m;
}

static struct phys_slot *in_map(struct phys_map *m, const struct phys_slot *s)
{
	u32 lo = 0, hi = m->n;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (m->slot[mid].gpa < s->gpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	return &m->slot[lo];
}

/* Make `m` the current map and the old one retired. */
static void map_publish(struct vm *vm, struct phys_map *m)
{
	vm->retired.map = atomic_exchange(&vm->phys.map, m);
	vm_count(vm->stats, remote_tlb_flush);
	vm_count(vm->stats, remote_tlb_flush_requests);
	vm_request_all(vm, VREQ_TLB_FLUSH, true);
}

static bool overlaps(struct vm *vm, const struct vm_slot *self, u64 gpa, u64 size)
{
	const struct phys_map *m = atomic_load(&vm->phys.map);
	u32 lo = 0, hi = m->n;

	while (lo < hi) {	/* the first that ends above gpa */
		u32 mid = (lo + hi) / 2;

		if (m->slot[mid].gpa + m->slot[mid].size <= gpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < m->n && m->slot[lo].gpa < gpa + size; lo++)
		if (!self || m->slot[lo].id != self->s.id)
			return true;
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
	struct phys_map *map = NULL;
	struct vm_slot *s;

	if (overlaps(vm, NULL, m->guest_phys_addr, m->memory_size))
		return -EEXIST;
	if (!vm->by_id) {
		vm->by_id = calloc(VM_USER_SLOTS, sizeof(*vm->by_id));
		if (!vm->by_id)
			return -ENOMEM;
	}
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
	map = map_with(vm, NULL, &s->s);
	if (!map)
		goto nomem;
	retire_free(vm);
	vm->by_id[m->slot] = s;
	if (vm_code_join(vm, map, s)) {
		vm->by_id[m->slot] = NULL;
		goto nomem;
	}
	*in_map(map, &s->s) = s->s;
	s->next = vm->slots;
	s->prev = &vm->slots;
	if (s->next)
		s->next->prev = &s->next;
	vm->slots = s;
	vm->slot_pages += m->memory_size >> PAGE_SHIFT;
	map_publish(vm, map);
	return 0;
nomem:
	vm_zeroed_free((void *)s->s.dirty, s->dirty_bytes);
	free(s);
	free(map);
	return -ENOMEM;
}

static int slot_delete(struct vm *vm, struct vm_slot *s)
{
	struct phys_map *map = map_with(vm, s, NULL);

	if (!map)
		return -ENOMEM;
	retire_free(vm);
	vm->by_id[s->s.id] = NULL;
	*s->prev = s->next;
	if (s->next)
		s->next->prev = s->prev;
	vm->slot_pages -= s->s.size >> PAGE_SHIFT;
	vm->retired.dirty = (void *)s->s.dirty;
	vm->retired.dirty_bytes = s->dirty_bytes;
	vm_code_leave(vm, map, s);
	free(s);
	map_publish(vm, map);
	return 0;
}

static int slot_change(struct vm *vm, struct vm_slot *s,
		       const struct kvm_userspace_memory_region2 *m)
{
	const u32 user = PHYS_READONLY | PHYS_LOG_DIRTY;
	u32 flags = phys_flags(m->flags);
	bool move = m->guest_phys_addr != s->s.gpa;
	bool on = flags & PHYS_LOG_DIRTY;
	struct phys_slot n = s->s;
	struct phys_map *map;

	if (user_ptr(m->userspace_addr) != s->s.hva || m->memory_size != s->s.size ||
	    ((flags ^ s->s.flags) & PHYS_READONLY))
		return -EINVAL;
	if (!move && flags == (s->s.flags & user))
		return 0;
	if (move && overlaps(vm, s, m->guest_phys_addr, m->memory_size))
		return -EEXIST;
	n.gpa = m->guest_phys_addr;
	n.flags = flags | (s->s.flags & ~user);
	map = map_with(vm, s, &n);
	if (!map)
		return -ENOMEM;
	if (on && !s->s.dirty && dirty_alloc(vm, s)) {
		free(map);
		return -ENOMEM;
	}
	retire_free(vm);
	n.dirty = on ? s->s.dirty : NULL;
	if (!on && s->s.dirty) {
		vm->retired.dirty = (void *)s->s.dirty;
		vm->retired.dirty_bytes = s->dirty_bytes;
	}
	s->s = n;
	*in_map(map, &n) = n;
	map_publish(vm, map);
	return 0;
}

/* Order of the checks: facts 5.2. */
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
	/* No SMM: address space 0 is the only one. */
	if ((m->slot & 0xffff) >= VM_USER_SLOTS || m->slot >> 16)
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
	for (u32 i = 0; i < vm->nr_areas; i++)
		vm_code_area_free(vm->areas[i]);
	free(vm->areas);
	free(vm->by_id);
	free(atomic_exchange(&vm->phys.map, NULL));
}
