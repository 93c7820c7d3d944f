/* SPDX-License-Identifier: MIT */
/* vm/slot_map.c - changes of the physical map. */
#include "vm/slot_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int remember(struct vm_chunks *l, struct phys_chunk *c)
{
	if (l->n == l->room) {
		u32 room = l->room ? l->room * 2 : EDIT_CHUNKS;
		struct phys_chunk **grown = realloc(l->chunk, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		l->chunk = grown;
		l->room = room;
	}
	l->chunk[l->n++] = c;
	return 0;
}

void slot_chunks_free(struct vm_chunks *l)
{
	for (u32 i = 0; i < l->n; i++)
		free(l->chunk[i]);
	free(l->chunk);
	*l = (struct vm_chunks){ 0 };
}

int slot_edit_begin(struct slot_edit *e, struct vm *vm)
{
	const struct phys_map *old = atomic_load(&vm->phys.map);

	*e = (struct slot_edit){ .vm = vm, .room = old->n + 2, .serial = ++vm->map_serial };
	e->map = malloc(sizeof(*e->map) + e->room * sizeof(e->map->part[0]));
	if (!e->map)
		return -ENOMEM;
	e->map->n = old->n;
	memcpy(e->map->part, old->part, old->n * sizeof(old->part[0]));
	return 0;
}

static struct phys_chunk *chunk_new(struct slot_edit *e)
{
	struct phys_chunk *c = calloc(1, sizeof(*c));

	if (c && remember(&e->fresh, c)) {
		free(c);
		return NULL;
	}
	if (c)
		c->serial = e->serial;
	return c;
}

/* The chunk of part k, as this change's own. */
static struct phys_chunk *own(struct slot_edit *e, u32 k)
{
	struct phys_chunk *c = e->map->part[k].chunk, *copy;

	if (c->serial == e->serial)
		return c;
	copy = chunk_new(e);
	if (!copy || remember(&e->old, c))
		return NULL;
	memcpy(copy->slot, c->slot, sizeof(copy->slot));
	copy->n = c->n;
	e->map->part[k].chunk = copy;
	return copy;
}

static int part_insert(struct slot_edit *e, u32 at, struct phys_chunk *c, u64 gpa)
{
	struct phys_map *m = e->map;

	if (m->n == e->room) {
		m = realloc(m, sizeof(*m) + (e->room + 8) * sizeof(m->part[0]));
		if (!m)
			return -ENOMEM;
		e->map = m;
		e->room += 8;
	}
	memmove(&m->part[at + 1], &m->part[at], (m->n - at) * sizeof(m->part[0]));
	m->part[at] = (struct phys_part){ gpa, c };
	m->n++;
	return 0;
}

/* A full chunk becomes two. */
static int split(struct slot_edit *e, u32 k)
{
	struct phys_chunk *a = own(e, k), *b = a ? chunk_new(e) : NULL;
	const u32 half = PHYS_CHUNK / 2;

	if (!b || part_insert(e, k + 1, b, a->slot[half].gpa))
		return -ENOMEM;
	b->n = a->n - half;
	memcpy(b->slot, &a->slot[half], b->n * sizeof(b->slot[0]));
	memset(&a->slot[half], 0, b->n * sizeof(a->slot[0]));
	a->n = half;
	return 0;
}

int slot_edit_insert(struct slot_edit *e, const struct phys_slot *s)
{
	u32 k = phys_part_of(e->map, s->gpa), i = 0;
	struct phys_chunk *c;

	if (!e->map->n) {
		c = chunk_new(e);
		if (!c || part_insert(e, 0, c, s->gpa))
			return -ENOMEM;
	}
	if (k == ~0u)
		k = 0;
	if (e->map->part[k].chunk->n == PHYS_CHUNK) {
		if (split(e, k))
			return -ENOMEM;
		if (s->gpa > e->map->part[k + 1].gpa)
			k++;
	}
	c = own(e, k);
	if (!c)
		return -ENOMEM;
	while (i < c->n && c->slot[i].gpa < s->gpa)
		i++;
	memmove(&c->slot[i + 1], &c->slot[i], (c->n - i) * sizeof(c->slot[0]));
	c->slot[i] = *s;
	c->n++;
	e->map->part[k].gpa = c->slot[0].gpa;
	return 0;
}

static void part_remove(struct slot_edit *e, u32 k)
{
	struct phys_map *m = e->map;

	m->n--;
	memmove(&m->part[k], &m->part[k + 1], (m->n - k) * sizeof(m->part[0]));
}

/* Two that would not fill half a chunk become one, so that there are never many nearly empty
 * ones. */
static int join(struct slot_edit *e, u32 k)
{
	struct phys_chunk *a, *b;

	if (k + 1 >= e->map->n ||
	    e->map->part[k].chunk->n + e->map->part[k + 1].chunk->n > PHYS_CHUNK / 2)
		return 0;
	a = own(e, k);
	b = e->map->part[k + 1].chunk;
	/* One of our own stays in the list of fresh ones until the end. */
	if (!a || (b->serial != e->serial && remember(&e->old, b)))
		return -ENOMEM;
	memcpy(&a->slot[a->n], b->slot, b->n * sizeof(b->slot[0]));
	a->n += b->n;
	b->n = b->serial == e->serial ? 0 : b->n;
	part_remove(e, k + 1);
	return 0;
}

static u32 index_of(const struct phys_chunk *c, u64 gpa)
{
	u32 lo = 0, hi = c->n;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (c->slot[mid].gpa < gpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int slot_edit_remove(struct slot_edit *e, u64 gpa)
{
	u32 k = phys_part_of(e->map, gpa), i;
	struct phys_chunk *c = k == ~0u ? NULL : own(e, k);

	if (!c)
		return -ENOMEM;
	i = index_of(c, gpa);
	if (i == c->n || c->slot[i].gpa != gpa)
		return -ENOENT;
	c->n--;
	memmove(&c->slot[i], &c->slot[i + 1], (c->n - i) * sizeof(c->slot[0]));
	c->slot[c->n] = (struct phys_slot){ 0 };
	if (!c->n) {
		part_remove(e, k);
		return 0;
	}
	e->map->part[k].gpa = c->slot[0].gpa;
	return join(e, k) || (k && join(e, k - 1)) ? -ENOMEM : 0;
}

struct phys_slot *slot_edit_slot(struct slot_edit *e, u64 gpa)
{
	u32 k = phys_part_of(e->map, gpa), i;
	struct phys_chunk *c = k == ~0u ? NULL : own(e, k);

	if (!c)
		return NULL;
	i = index_of(c, gpa);
	return i < c->n && c->slot[i].gpa == gpa ? &c->slot[i] : NULL;
}

void slot_edit_abort(struct slot_edit *e)
{
	slot_chunks_free(&e->fresh);
	free(e->old.chunk);
	free(e->map);
}

void slot_edit_commit(struct slot_edit *e)
{
	struct vm *vm = e->vm;

	/* Made here and emptied again by a join. */
	for (u32 i = 0; i < e->fresh.n; i++)
		if (!e->fresh.chunk[i]->n)
			free(e->fresh.chunk[i]);
	free(e->fresh.chunk);
	vm->retired.chunks = e->old;
	vm->retired.map = atomic_exchange(&vm->phys.map, e->map);
}
