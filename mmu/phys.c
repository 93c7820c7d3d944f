/* SPDX-License-Identifier: MIT */
/* mmu/phys.c - look-ups in the guest-physical map, dirty log, code tracking. */
#include "mmu/phys.h"

#include <errno.h>
#include <stdlib.h>

#include "base/user.h"

u32 phys_part_of(const struct phys_map *m, u64 gpa)
{
	u32 lo = 0, hi = m->n;

	while (lo < hi) {
		u32 mid = lo + (hi - lo) / 2;

		if (gpa < m->part[mid].gpa)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo - 1;
}

const struct phys_slot *phys_find_in(const struct phys_map *m, u64 gpa, u32 *at)
{
	u32 k = phys_part_of(m, gpa), lo = 0, hi;
	const struct phys_chunk *c;

	if (k == ~0u)
		return NULL;
	c = m->part[k].chunk;
	for (hi = c->n; lo < hi;) {
		u32 mid = lo + (hi - lo) / 2;

		if (gpa < c->slot[mid].gpa) {
			hi = mid;
		} else if (gpa - c->slot[mid].gpa >= c->slot[mid].size) {
			lo = mid + 1;
		} else {
			*at = k * PHYS_CHUNK + mid;
			return &c->slot[mid];
		}
	}
	return NULL;
}

const struct phys_slot *phys_find(const struct phys *p, u64 gpa)
{
	const struct phys_map *m = atomic_load_explicit(&p->map, memory_order_acquire);
	u32 at;

	return m ? phys_find_in(m, gpa, &at) : NULL;
}

struct phys_map *phys_map_new(const struct phys_slot *slots, u32 n)
{
	struct phys_map *m = calloc(1, sizeof(*m) + sizeof(m->part[0]));

	if (!m || !n)
		return m;
	m->part[0].chunk = calloc(1, sizeof(*m->part[0].chunk));
	if (!m->part[0].chunk) {
		free(m);
		return NULL;
	}
	m->n = 1;
	m->part[0].gpa = slots[0].gpa;
	m->part[0].chunk->n = n;
	for (u32 i = 0; i < n; i++)
		m->part[0].chunk->slot[i] = slots[i];
	return m;
}

void phys_map_free(struct phys_map *m)
{
	for (u32 k = 0; m && k < m->n; k++)
		free(m->part[k].chunk);
	free(m);
}

void phys_mark_dirty(struct phys *p, const struct phys_slot *s, u64 gpa)
{
	u64 page = (gpa - s->gpa) >> PAGE_SHIFT;
	u64 bit = BIT64(page % 64);
	_Atomic u64 *word;

	if (!s->dirty)
		return;
	word = &s->dirty[page / 64];
	if (atomic_load_explicit(word, memory_order_relaxed) & bit)
		return;
	/* seq_cst: ordered before the store that follows, and against the
	 * fetch-and-clear of whoever harvests the log. */
	if (atomic_fetch_or(word, bit) & bit)
		return;
	if (p->ops && p->ops->dirty)
		p->ops->dirty(p->owner, s, gpa & PAGE_MASK);
}

u8 *phys_ptr(struct phys *p, u64 gpa, bool write)
{
	const struct phys_slot *s = phys_find(p, gpa);

	if (!s)
		return NULL;
	if (write) {
		if (s->flags & PHYS_READONLY)
			return NULL;
		phys_mark_dirty(p, s, gpa);
	}
	return s->hva + (gpa - s->gpa);
}

/* Bytes of [gpa, gpa + len) that lie in the page of gpa. */
static u64 page_part(u64 gpa, u64 len)
{
	u64 room = PAGE_SIZE - (gpa & ~PAGE_MASK);

	return len < room ? len : room;
}

int phys_read(struct phys *p, u64 gpa, void *buf, u64 len)
{
	u8 *d = buf;

	while (len) {
		u64 n = page_part(gpa, len);
		const u8 *s = phys_ptr(p, gpa, false);

		if (!s)
			return -EFAULT;
		if (user_get(d, s, n))
			return -EFAULT;
		d += n;
		gpa += n;
		len -= n;
	}
	return 0;
}

int phys_write(struct phys *p, u64 gpa, const void *buf, u64 len)
{
	const u8 *b = buf;

	while (len) {
		u64 n = page_part(gpa, len);
		const struct phys_slot *s = phys_find(p, gpa);

		if (!s || (s->flags & PHYS_READONLY))
			return -EFAULT;
		if (user_put(s->hva + (gpa - s->gpa), b, n))
			return -EFAULT;
		/* After the store: a harvest in between would lose it. */
		phys_mark_dirty(p, s, gpa);
		if (phys_is_code(s, gpa))
			phys_code_written(p, s, gpa, (u32)n, PHYS_BY_NOBODY);
		b += n;
		gpa += n;
		len -= n;
	}
	return 0;
}

u32 phys_code_get(struct phys *p, u64 gpa, u32 by)
{
	const struct phys_slot *s = phys_find(p, gpa);
	_Atomic u8 *count;
	u8 v;

	if (!s || !s->code)
		return 0;
	count = &s->code[(gpa - s->gpa) >> PAGE_SHIFT];
	v = atomic_load_explicit(count, memory_order_relaxed);
	do {
		if (v == UINT8_MAX)
			return s->code_serial;
	} while (!atomic_compare_exchange_weak(count, &v, (u8)(v + 1)));
	if (!v && p->ops && p->ops->code_page)
		p->ops->code_page(p->owner, p->as, gpa & PAGE_MASK, by);
	return s->code_serial;
}

static bool code_put(struct phys *p, u64 gpa, const u8 *host, u32 serial)
{
	const struct phys_slot *s = phys_find(p, gpa);
	_Atomic u8 *count;
	u8 v;

	if (!s || !s->code || s->code_serial != serial)
		return false;
	if (host && s->hva + ((gpa & PAGE_MASK) - s->gpa) != host)
		return false;
	count = &s->code[(gpa - s->gpa) >> PAGE_SHIFT];
	v = atomic_load_explicit(count, memory_order_relaxed);
	do {
		/* A saturated count has lost track and stays. */
		if (v == 0 || v == UINT8_MAX)
			return true;
	} while (!atomic_compare_exchange_weak(count, &v, (u8)(v - 1)));
	return true;
}

void phys_code_put(struct phys *p, u64 gpa, const u8 *host, u32 serial)
{
	if (!code_put(p, gpa, host, serial) && host && p->twin)
		code_put(p->twin, gpa, host, serial);
}

void phys_code_written(struct phys *p, const struct phys_slot *s, u64 gpa, u32 len, u32 by)
{
	if (p->ops && p->ops->code_written)
		p->ops->code_written(p->owner, gpa, s->flags & PHYS_ALIASED ? 0 : len, by);
}
