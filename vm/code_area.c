/* SPDX-License-Identifier: MIT */
/*
 * vm/code_area.c - which host pages hold translated code: one count a page, for each piece of
 * host memory that slots show. Slots over the same host memory share the counts, so that
 * code seen through one is protected from stores through another.
 *
 * Areas are sorted by host address and do not overlap. A slot that reaches beyond an area
 * gives it, and all it touches, a new one: its counts begin at zero, and every vCPU counts its
 * pages again when it follows the map change (engine_map_changed()).
 *
 * All of it under slots_lock, for writing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vm/vm.h"

#define BIG (1u << 20)	/* bytes from which on memory is mapped, and only on use */

void *vm_zeroed(size_t bytes)
{
	void *p;

	if (bytes < BIG)
		return calloc(1, bytes ? bytes : 1);
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	return p == MAP_FAILED ? NULL : p;
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

/* Index of the first area that ends above `lo`. */
static u32 first_above(const struct vm *vm, const u8 *lo)
{
	u32 a = 0, b = vm->nr_areas;

	while (a < b) {
		u32 mid = (a + b) / 2;

		if (end_of(vm->areas[mid]) <= lo)
			a = mid + 1;
		else
			b = mid;
	}
	return a;
}

/* Replace n areas from index `at` by one. */
static int splice(struct vm *vm, u32 at, u32 n, struct vm_code_area *a)
{
	struct vm_code_area **grown = realloc(vm->areas, (vm->nr_areas + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	vm->areas = grown;
	memmove(&grown[at + 1], &grown[at + n], (vm->nr_areas - at - n) * sizeof(*grown));
	grown[at] = a;
	vm->nr_areas = vm->nr_areas + 1 - n;
	return 0;
}

static void point(struct phys_slot *s, struct vm_code_area *a)
{
	s->code = a->count + ((u64)(s->hva - a->hva) >> PAGE_SHIFT);
	s->code_serial = a->serial;
	s->flags &= ~(u32)PHYS_ALIASED;
	if (a->slots > 1)
		s->flags |= PHYS_ALIASED;
}

/* Every slot of the area, in the list and in the map to be published. */
static void point_all(struct vm *vm, struct phys_map *map, struct vm_code_area *a)
{
	for (u32 i = 0; i < map->n; i++) {
		struct phys_slot *s = &map->slot[i];

		if (s->hva < a->hva || s->hva >= end_of(a))
			continue;
		point(s, a);
		vm_slot_find(vm, s->id)->area = a;
		point(&vm_slot_find(vm, s->id)->s, a);
	}
}

int vm_code_join(struct vm *vm, struct phys_map *map, struct vm_slot *slot)
{
	u8 *lo = slot->s.hva, *hi = lo + slot->s.size;
	u32 at = first_above(vm, lo), n = 0, slots = 1;
	struct vm_code_area *a;

	while (at + n < vm->nr_areas && vm->areas[at + n]->hva < hi)
		slots += vm->areas[at + n++]->slots;
	if (n == 1 && vm->areas[at]->hva <= lo && end_of(vm->areas[at]) >= hi) {
		a = vm->areas[at];
		a->slots++;
		slot->area = a;
		point_all(vm, map, a);
		return 0;
	}
	if (n) {
		if (vm->areas[at]->hva < lo)
			lo = vm->areas[at]->hva;
		if (end_of(vm->areas[at + n - 1]) > hi)
			hi = end_of(vm->areas[at + n - 1]);
	}
	a = area_new(vm, lo, hi);
	if (!a)
		return -ENOMEM;
	for (u32 i = 0; i < n; i++) {
		vm->areas[at + i]->next = vm->retired.areas;
		vm->retired.areas = vm->areas[at + i];
	}
	if (splice(vm, at, n, a)) {
		/* Nothing was taken out; the list must not hold them twice. */
		for (u32 i = 0; i < n; i++)
			vm->retired.areas = vm->retired.areas->next;
		vm_code_area_free(a);
		return -ENOMEM;
	}
	a->slots = slots;
	slot->area = a;
	if (n)
		point_all(vm, map, a);
	else
		point(&slot->s, a);
	return 0;
}

void vm_code_leave(struct vm *vm, struct phys_map *map, struct vm_slot *slot)
{
	struct vm_code_area *a = slot->area;
	u32 at;

	if (--a->slots) {
		if (a->slots == 1)
			point_all(vm, map, a);
		return;
	}
	at = first_above(vm, a->hva);
	vm->nr_areas--;
	memmove(&vm->areas[at], &vm->areas[at + 1], (vm->nr_areas - at) * sizeof(*vm->areas));
	a->next = vm->retired.areas;
	vm->retired.areas = a;
}
