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
#include <sys/mman.h>

#include "base/log.h"
#include "base/user.h"
#include "vm/vm.h"

#define USER_TOP 0x7ffffffff000ull	/* TASK_SIZE_MAX with 4-level page tables */
#define GPA_TOP (1ull << 52)		/* AMD64: at most 52 physical bits */

static void *pages_alloc(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void pages_free(void *p, size_t bytes)
{
	if (p)
		munmap(p, bytes);
}

static void retire_free(struct vm *vm)
{
	struct vm_retired *r = &vm->retired;

	free(r->map);
	pages_free(r->dirty, r->dirty_bytes);
	pages_free(r->code, r->code_bytes);
	memset(r, 0, sizeof(*r));
}

struct vm_slot *vm_slot_find(struct vm *vm, u32 id)
{
	for (struct vm_slot *s = vm->slots; s; s = s->next)
		if (s->s.id == id)
			return s;
	return NULL;
}

static int by_gpa(const void *a, const void *b)
{
	const struct phys_slot *x = a, *y = b;

	return x->gpa < y->gpa ? -1 : x->gpa > y->gpa;
}

static struct phys_map *map_alloc(struct vm *vm, u32 extra)
{
	u32 n = extra;
	struct phys_map *m;

	for (struct vm_slot *s = vm->slots; s; s = s->next)
		n++;
	m = calloc(1, sizeof(*m) + n * sizeof(m->slot[0]));
	return m;
}

/* Fill `m` from the list, make it the current map and the old one retired. */
static void map_publish(struct vm *vm, struct phys_map *m)
{
	for (struct vm_slot *s = vm->slots; s; s = s->next)
		m->slot[m->n++] = s->s;
	qsort(m->slot, m->n, sizeof(m->slot[0]), by_gpa);
	vm->retired.map = atomic_exchange(&vm->phys.map, m);
	vm_count(vm->stats, remote_tlb_flush);
	vm_count(vm->stats, remote_tlb_flush_requests);
	vm_request_all(vm, VREQ_TLB_FLUSH, true);
}

static bool overlaps(struct vm *vm, const struct vm_slot *self, u64 gpa, u64 size)
{
	for (struct vm_slot *s = vm->slots; s; s = s->next)
		if (s != self && gpa < s->s.gpa + s->s.size && s->s.gpa < gpa + size)
			return true;
	return false;
}

static int dirty_alloc(struct vm *vm, struct vm_slot *s)
{
	u64 pages = s->s.size >> PAGE_SHIFT, words = (pages + 63) / 64;

	s->dirty_bytes = words * 8;
	s->s.dirty = pages_alloc(s->dirty_bytes);
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
	struct phys_map *map;
	struct vm_slot *s;

	if (overlaps(vm, NULL, m->guest_phys_addr, m->memory_size))
		return -EEXIST;
	s = calloc(1, sizeof(*s));
	map = map_alloc(vm, 1);
	if (!s || !map)
		goto nomem;
	s->s.id = m->slot;
	s->s.gpa = m->guest_phys_addr;
	s->s.size = m->memory_size;
	s->s.hva = user_ptr(m->userspace_addr);
	s->s.flags = phys_flags(m->flags);
	s->code_bytes = m->memory_size >> PAGE_SHIFT;
	s->s.code = pages_alloc(s->code_bytes);
	if (!s->s.code || ((s->s.flags & PHYS_LOG_DIRTY) && dirty_alloc(vm, s)))
		goto nomem;
	retire_free(vm);
	s->next = vm->slots;
	vm->slots = s;
	vm->slot_pages += m->memory_size >> PAGE_SHIFT;
	map_publish(vm, map);
	return 0;
nomem:
	if (s)
		pages_free(s->s.code, s->code_bytes);
	free(s);
	free(map);
	return -ENOMEM;
}

static int slot_delete(struct vm *vm, struct vm_slot *s)
{
	struct phys_map *map = map_alloc(vm, 0);
	struct vm_slot **p;

	if (!map)
		return -ENOMEM;
	retire_free(vm);
	for (p = &vm->slots; *p != s; p = &(*p)->next)
		;
	*p = s->next;
	vm->slot_pages -= s->s.size >> PAGE_SHIFT;
	vm->retired.dirty = (void *)s->s.dirty;
	vm->retired.dirty_bytes = s->dirty_bytes;
	vm->retired.code = (void *)s->s.code;
	vm->retired.code_bytes = s->code_bytes;
	free(s);
	map_publish(vm, map);
	return 0;
}

static int slot_change(struct vm *vm, struct vm_slot *s,
		       const struct kvm_userspace_memory_region2 *m)
{
	u32 flags = phys_flags(m->flags);
	bool move = m->guest_phys_addr != s->s.gpa;
	_Atomic u8 *code = NULL;
	struct phys_map *map;

	if (user_ptr(m->userspace_addr) != s->s.hva || m->memory_size != s->s.size ||
	    ((flags ^ s->s.flags) & PHYS_READONLY))
		return -EINVAL;
	if (!move && flags == s->s.flags)
		return 0;
	if (move && overlaps(vm, s, m->guest_phys_addr, m->memory_size))
		return -EEXIST;
	map = map_alloc(vm, 0);
	if (!map)
		return -ENOMEM;
	retire_free(vm);
	if (move) {
		/* Counts of translated pages belong to guest-physical places. */
		code = pages_alloc(s->code_bytes);
		if (!code)
			goto nomem;
	}
	if ((flags & PHYS_LOG_DIRTY) && !s->s.dirty && dirty_alloc(vm, s))
		goto nomem;
	if (!(flags & PHYS_LOG_DIRTY) && s->s.dirty) {
		vm->retired.dirty = (void *)s->s.dirty;
		vm->retired.dirty_bytes = s->dirty_bytes;
		s->s.dirty = NULL;
	}
	if (move) {
		vm->retired.code = (void *)s->s.code;
		vm->retired.code_bytes = s->code_bytes;
		s->s.code = code;
	}
	s->s.gpa = m->guest_phys_addr;
	s->s.flags = flags;
	map_publish(vm, map);
	return 0;
nomem:
	pages_free((void *)code, s->code_bytes);
	free(map);
	return -ENOMEM;
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
		pages_free((void *)s->s.dirty, s->dirty_bytes);
		pages_free((void *)s->s.code, s->code_bytes);
		free(s);
	}
	free(atomic_exchange(&vm->phys.map, NULL));
}
