/* SPDX-License-Identifier: MIT */
/* engine/arena.c - memory for what is known about units: given out piece by piece, freed as a
 * whole. */
#include "base/mem.h"
#include "engine/engine_priv.h"

static void *take(struct engine *e, size_t n, size_t align)
{
	struct arena *a = &e->arena;
	size_t at = ALIGN_UP(a->used, align);

	n = ALIGN_UP(n, 8);
	if (at + n > a->size)
		return NULL;
	a->used = at + n;
	return a->mem + at;
}

static void *zeroed(void *p, size_t n)
{
	if (p)
		cpu_zero_words(p, ALIGN_UP(n, 8) / 8);
	return p;
}

void *arena_alloc(struct engine *e, size_t n)
{
	return zeroed(take(e, n, 8), n);
}

void *arena_alloc_line(struct engine *e, size_t n)
{
	return zeroed(take(e, n, 64), n);
}

void *arena_alloc_raw(struct engine *e, size_t n)
{
	return take(e, n, 64);
}

void arena_free(struct arena *a)
{
	a->used = 0;
}
