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

void slot_edit_begin(struct slot_edit *e, struct vm *vm)
{
	*e = (struct slot_edit){ .vm = vm, .serial = ++vm->map_serial };
}

/* The address space of a slot, as this change's own. */
static struct slot_space *space(struct slot_edit *e, const struct phys_slot *s)
{
	u32 as = s->id >> VM_SPACE_SHIFT;
	const struct phys_map *old = atomic_load(&e->vm->phys[as].map);
	struct slot_space *p = &e->as[as];

	if (p->map)
		return p;
	p->room = old->n + 2;
	p->map = malloc(sizeof(*p->map) + p->room * sizeof(p->map->part[0]));
	if (!p->map)
		return NULL;
	p->map->n = old->n;
	memcpy(p->map->part, old->part, old->n * sizeof(old->part[0]));
	return p;
}

static struct phys_chunk *chunk_new(struct slot_edit *e, struct slot_space *p)
{
	struct phys_chunk *c = calloc(1, sizeof(*c));

	if (c && remember(&p->fresh, c)) {
		free(c);
		return NULL;
	}
	if (c)
		c->serial = e->serial;
	return c;
}

/* The chunk of part k, as this change's own. */
static struct phys_chunk *own(struct slot_edit *e, struct slot_space *p, u32 k)
{
	struct phys_chunk *c = p->map->part[k].chunk, *copy;

	if (c->serial == e->serial)
		return c;
	copy = chunk_new(e, p);
	if (!copy || remember(&p->old, c))
		return NULL;
	memcpy(copy->slot, c->slot, sizeof(copy->slot));
	copy->n = c->n;
	p->map->part[k].chunk = copy;
	return copy;
}

static int part_insert(struct slot_space *e, u32 at, struct phys_chunk *c, u64 gpa)
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
static int split(struct slot_edit *e, struct slot_space *p, u32 k)
{
	struct phys_chunk *a = own(e, p, k), *b = a ? chunk_new(e, p) : NULL;
	const u32 half = PHYS_CHUNK / 2;

	if (!b || part_insert(p, k + 1, b, a->slot[half].gpa))
		return -ENOMEM;
	b->n = a->n - half;
	memcpy(b->slot, &a->slot[half], b->n * sizeof(b->slot[0]));
	memset(&a->slot[half], 0, b->n * sizeof(a->slot[0]));
	a->n = half;
	return 0;
}

int slot_edit_insert(struct slot_edit *e, const struct phys_slot *s)
{
	struct slot_space *p = space(e, s);
	struct phys_chunk *c;
	u32 k, i = 0;

	if (!p)
		return -ENOMEM;
	k = phys_part_of(p->map, s->gpa);
	if (!p->map->n) {
		c = chunk_new(e, p);
		if (!c || part_insert(p, 0, c, s->gpa))
			return -ENOMEM;
	}
	if (k == ~0u)
		k = 0;
	if (p->map->part[k].chunk->n == PHYS_CHUNK) {
		if (split(e, p, k))
			return -ENOMEM;
		if (s->gpa > p->map->part[k + 1].gpa)
			k++;
	}
	c = own(e, p, k);
	if (!c)
		return -ENOMEM;
	while (i < c->n && c->slot[i].gpa < s->gpa)
		i++;
	memmove(&c->slot[i + 1], &c->slot[i], (c->n - i) * sizeof(c->slot[0]));
	c->slot[i] = *s;
	c->n++;
	p->map->part[k].gpa = c->slot[0].gpa;
	return 0;
}

static void part_remove(struct slot_space *p, u32 k)
{
	struct phys_map *m = p->map;

	m->n--;
	memmove(&m->part[k], &m->part[k + 1], (m->n - k) * sizeof(m->part[0]));
}

/* Two that would not fill half a chunk become one, so that there are never many nearly empty
 * ones. */
static int join(struct slot_edit *e, struct slot_space *p, u32 k)
{
	struct phys_chunk *a, *b;

	if (k + 1 >= p->map->n ||
	    p->map->part[k].chunk->n + p->map->part[k + 1].chunk->n > PHYS_CHUNK / 2)
		return 0;
	a = own(e, p, k);
	b = p->map->part[k + 1].chunk;
	/* One of our own stays in the list of fresh ones until the end. */
	if (!a || (b->serial != e->serial && remember(&p->old, b)))
		return -ENOMEM;
	memcpy(&a->slot[a->n], b->slot, b->n * sizeof(b->slot[0]));
	a->n += b->n;
	b->n = b->serial == e->serial ? 0 : b->n;
	part_remove(p, k + 1);
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

int slot_edit_remove(struct slot_edit *e, const struct phys_slot *s)
{
	struct slot_space *p = space(e, s);
	u32 k = p ? phys_part_of(p->map, s->gpa) : ~0u, i;
	struct phys_chunk *c = k == ~0u ? NULL : own(e, p, k);

	if (!c)
		return -ENOMEM;
	i = index_of(c, s->gpa);
	if (i == c->n || c->slot[i].gpa != s->gpa)
		return -ENOENT;
	c->n--;
	memmove(&c->slot[i], &c->slot[i + 1], (c->n - i) * sizeof(c->slot[0]));
	c->slot[c->n] = (struct phys_slot){ 0 };
	if (!c->n) {
		part_remove(p, k);
		return 0;
	}
	p->map->part[k].gpa = c->slot[0].gpa;
	return join(e, p, k) || (k && join(e, p, k - 1)) ? -ENOMEM : 0;
}

struct phys_slot *slot_edit_slot(struct slot_edit *e, const struct phys_slot *s)
{
	struct slot_space *p = space(e, s);
	u32 k = p ? phys_part_of(p->map, s->gpa) : ~0u, i;
	struct phys_chunk *c = k == ~0u ? NULL : own(e, p, k);

	if (!c)
		return NULL;
	i = index_of(c, s->gpa);
	return i < c->n && c->slot[i].gpa == s->gpa ? &c->slot[i] : NULL;
}

void slot_edit_abort(struct slot_edit *e)
{
	for (u32 i = 0; i < VM_SPACES; i++) {
		slot_chunks_free(&e->as[i].fresh);
		free(e->as[i].old.chunk);
		free(e->as[i].map);
	}
}

void slot_edit_commit(struct slot_edit *e)
{
	struct vm *vm = e->vm;

	for (u32 k = 0; k < VM_SPACES; k++) {
		struct slot_space *p = &e->as[k];

		if (!p->map)
			continue;
		/* Made here and emptied again by a join. */
		for (u32 i = 0; i < p->fresh.n; i++)
			if (!p->fresh.chunk[i]->n)
				free(p->fresh.chunk[i]);
		free(p->fresh.chunk);
		vm->retired.chunks[k] = p->old;
		vm->retired.map[k] = atomic_exchange(&vm->phys[k].map, p->map);
	}
}
