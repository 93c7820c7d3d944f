/* SPDX-License-Identifier: MIT */
/*
 * vm/code_area.c - which host pages hold translated code: one count a page, for each piece of
 * host memory that slots show. Slots over the same host memory share the counts, so that
 * code seen through one is protected from stores through another.
 *
 * Areas stand in a tree by host address and do not overlap. A slot that reaches beyond an area
 * gives it, and all it touches, a new one: its counts begin at zero, and every vCPU counts its
 * pages again when it follows the map change (engine_map_changed()).
 *
 * All of it under slots_lock, for writing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "vm/slot_map.h"

#define BIG (1u << 20)	/* bytes from which on memory is mapped, and only on use */

void *vm_zeroed(size_t bytes)
{
	void *p;

	if (bytes < BIG)
		return calloc(1, bytes ? bytes : 1);
	p = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return sys_map_error(p) ? NULL : p;
}

void vm_zeroed_free(void *p, size_t bytes)
{
	if (p && bytes >= BIG)
		munmap(p, bytes);
	else
		free(p);
}

void vm_code_area_free(struct vm_code_area *a)
{
	if (!a)
		return;
	vm_zeroed_free((void *)a->count, a->size >> PAGE_SHIFT);
	free(a);
}

static struct vm_code_area *area_new(struct vm *vm, u8 *lo, u8 *hi)
{
	struct vm_code_area *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->hva = lo;
	a->size = (u64)(hi - lo);
	a->serial = ++vm->code_serial;
	a->count = vm_zeroed(a->size >> PAGE_SHIFT);
	if (!a->count) {
		free(a);
		return NULL;
	}
	return a;
}

static u8 *end_of(const struct vm_code_area *a)
{
	return a->hva + a->size;
}

/* -- the tree of areas: a treap, whose priorities are a hash of the address -- */

static u64 priority(const struct vm_code_area *a)
{
	u64 h = (u64)(uintptr_t)a->hva >> PAGE_SHIFT;

	h *= 0x9e3779b97f4a7c15;
	return h ^ h >> 29;
}

/* All that lie below `hva`, and the others. */
static void tree_split(struct vm_code_area *t, const u8 *hva, struct vm_code_area **lo,
		       struct vm_code_area **hi)
{
	while (t) {
		if (t->hva < hva) {
			*lo = t;
			lo = &t->right;
			t = t->right;
		} else {
			*hi = t;
			hi = &t->left;
			t = t->left;
		}
	}
	*lo = *hi = NULL;
}

static void tree_add(struct vm *vm, struct vm_code_area *a)
{
	struct vm_code_area **p = &vm->areas;

	while (*p && priority(*p) >= priority(a))
		p = a->hva < (*p)->hva ? &(*p)->left : &(*p)->right;
	tree_split(*p, a->hva, &a->left, &a->right);
	*p = a;
}

static void tree_remove(struct vm *vm, struct vm_code_area *a)
{
	struct vm_code_area **p = &vm->areas, *l = a->left, *r = a->right;

	while (*p != a)
		p = a->hva < (*p)->hva ? &(*p)->left : &(*p)->right;
	while (l && r) {
		if (priority(l) >= priority(r)) {
			*p = l;
			p = &l->right;
			l = l->right;
		} else {
			*p = r;
			p = &r->left;
			r = r->left;
		}
	}
	*p = l ? l : r;
	a->left = a->right = NULL;
}

/* The first area that ends above `lo`. */
static struct vm_code_area *first_above(const struct vm *vm, const u8 *lo)
{
	struct vm_code_area *t = vm->areas, *best = NULL;

	while (t) {
		if (end_of(t) > lo) {
			best = t;
			t = t->left;
		} else {
			t = t->right;
		}
	}
	return best;
}

void vm_code_areas_free(struct vm *vm)
{
	struct vm_code_area *a;

	while ((a = vm->areas)) {
		tree_remove(vm, a);
		vm_code_area_free(a);
	}
}

/* -- slots -- */

/* Between where a slot is for the host and for the guest. With the same distance everywhere a
 * host page has one guest-physical address, whichever slot and address space shows it: no
 * aliases. */
static u64 distance(const struct phys_slot *s)
{
	return (u64)(uintptr_t)s->hva - s->gpa;
}

static void link_slot(struct vm_code_area *a, struct vm_slot *s)
{
	s->area = a;
	if (a->first && distance(&a->first->s) != distance(&s->s))
		a->mixed = true;
	s->area_next = a->first;
	s->area_prev = &a->first;
	if (s->area_next)
		s->area_next->area_prev = &s->area_next;
	a->first = s;
	a->slots++;
}

static void unlink_slot(struct vm_slot *s)
{
	*s->area_prev = s->area_next;
	if (s->area_next)
		s->area_next->area_prev = s->area_prev;
	s->area->slots--;
}

static void point(struct phys_slot *s, const struct vm_code_area *a)
{
	s->code = a->count + ((u64)(s->hva - a->hva) >> PAGE_SHIFT);
	s->code_serial = a->serial;
	s->flags &= ~(u32)PHYS_ALIASED;
	if (a->mixed)
		s->flags |= PHYS_ALIASED;
}

/* Every slot of the area, in the new map as well: there they are this change's own already. */
static void point_all(struct slot_edit *e, struct vm_code_area *a, const struct vm_slot *except)
{
	for (struct vm_slot *s = a->first; s; s = s->area_next) {
		point(&s->s, a);
		if (s != except)
			*slot_edit_slot(e, &s->s) = s->s;
	}
}

/* What may fail of that. */
static int own_all(struct slot_edit *e, const struct vm_code_area *a)
{
	for (struct vm_slot *s = a->first; s; s = s->area_next)
		if (!slot_edit_slot(e, &s->s))
			return -ENOMEM;
	return 0;
}

int vm_code_join(struct slot_edit *e, struct vm_slot *slot)
{
	struct vm *vm = e->vm;
	u8 *lo = slot->s.hva, *hi = lo + slot->s.size, *from = lo, *to = hi;
	struct vm_code_area *first = first_above(vm, lo), *a, *next;
	bool any = first && first->hva < hi;

	if (any && first->hva <= lo && end_of(first) >= hi) {
		/* The first one at another distance makes all the others aliases. */
		bool turns = !first->mixed && distance(&first->first->s) != distance(&slot->s);

		if (turns && own_all(e, first))
			return -ENOMEM;
		link_slot(first, slot);
		point(&slot->s, first);
		if (turns)
			point_all(e, first, slot);
		return 0;
	}
	for (a = first; a && a->hva < hi; a = first_above(vm, end_of(a))) {
		if (own_all(e, a))
			return -ENOMEM;
		if (a->hva < from)
			from = a->hva;
		if (end_of(a) > to)
			to = end_of(a);
	}
	a = area_new(vm, from, to);
	if (!a)
		return -ENOMEM;
	for (; any && first && first->hva < hi; first = next) {
		next = first_above(vm, end_of(first));
		while (first->first) {
			struct vm_slot *s = first->first;

			unlink_slot(s);
			link_slot(a, s);
		}
		tree_remove(vm, first);
		first->next = vm->retired.areas;
		vm->retired.areas = first;
	}
	tree_add(vm, a);
	link_slot(a, slot);
	point_all(e, a, slot);
	return 0;
}

int vm_code_may_leave(struct slot_edit *e, struct vm_slot *slot)
{
	struct vm_slot *other = slot->area->first;
	struct phys_slot *p;

	if (slot->area->slots != 2 || !slot->area->mixed)
		return 0;
	if (other == slot)
		other = other->area_next;
	/* It is alone from now on. */
	p = slot_edit_slot(e, &other->s);
	if (!p)
		return -ENOMEM;
	p->flags &= ~(u32)PHYS_ALIASED;
	return 0;
}

static bool turns(const struct vm_slot *slot, u64 to)
{
	const struct vm_code_area *a = slot->area;

	return a->slots > 1 && !a->mixed && to != slot->s.gpa;
}

int vm_code_may_move(struct slot_edit *e, const struct vm_slot *slot, u64 to)
{
	struct phys_slot there = slot->s;

	if (!turns(slot, to))
		return 0;
	there.gpa = to;
	for (struct vm_slot *s = slot->area->first; s; s = s->area_next)
		if (!slot_edit_slot(e, s == slot ? &there : &s->s))
			return -ENOMEM;
	return 0;
}

void vm_code_move(struct slot_edit *e, struct vm_slot *slot)
{
	struct vm_code_area *a = slot->area;

	if (a->slots < 2 || a->mixed)
		return;
	for (struct vm_slot *s = a->first; s && !a->mixed; s = s->area_next)
		a->mixed = distance(&s->s) != distance(&slot->s);
	if (a->mixed)
		point_all(e, a, NULL);
}

void vm_code_leave(struct vm *vm, struct vm_slot *slot)
{
	struct vm_code_area *a = slot->area;

	unlink_slot(slot);
	if (a->slots == 1) {
		a->mixed = false;
		a->first->s.flags &= ~(u32)PHYS_ALIASED;
	}
	if (a->slots)
		return;
	tree_remove(vm, a);
	a->next = vm->retired.areas;
	vm->retired.areas = a;
}
