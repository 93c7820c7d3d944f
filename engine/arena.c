/* SPDX-License-Identifier: MIT */
/* engine/arena.c - memory for what is known about units: given out piece by piece, freed as a whole. */
#include "base/mem.h"
#include "engine/engine_priv.h"

/* The first chunk does for a small guest. Those that follow are huge pages where the host has
 * them: each of their pages would otherwise cost a fault. */
#define ARENA_FIRST (256u << 10)
#define ARENA_CHUNK (2u << 20)

struct arena_chunk {
	struct arena_chunk *next;
	size_t bytes;	/* this header included */
	u8 mem[] __attribute__((aligned(64)));
};

static bool grow(struct arena *a)
{
	size_t bytes = a->head ? ARENA_CHUNK : ARENA_FIRST;
	struct arena_chunk *c = a->head ? pages_alloc_huge(bytes) : pages_alloc(bytes);

	if (!c)
		return false;
	c->next = a->head;
	c->bytes = bytes;
	a->head = c;
	a->used = 0;
	a->size = bytes - sizeof(*c);
	return true;
}

static void *take(struct engine *e, size_t n, size_t align)
{
	struct arena *a = &e->arena;

	n = ALIGN_UP(n, 8);
	a->used = ALIGN_UP(a->used, align);
	if (!a->head || a->used + n > a->size) {
		/* libc may use vector registers. */
		engine_fpu_save(e->c);
		if (!grow(a))
			return NULL;
	}
	void *p = a->head->mem + a->used;

	a->used += n;
	return p;
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
	while (a->head) {
		struct arena_chunk *c = a->head;

		a->head = c->next;
		pages_free(c, c->bytes);
	}
	a->used = a->size = 0;
}
