/* SPDX-License-Identifier: MIT */
/*
 * engine/itlb.c - which linear pages may be executed, and as which code page.
 * A slot's token equals the code page's only while the mapping is known to
 * hold and the bytes are known to be unchanged; translated code compares it
 * whenever it enters another page.
 */
#include "engine/engine_priv.h"

struct itlb_slot *itlb_slot(struct engine *e, u32 class, u64 lin)
{
	u64 page = lin >> PAGE_SHIFT;

	/* A kernel and its modules lie at the same places of different GiB. */
	return &e->itlb[class][(page ^ page >> ITLB_BITS) & (ITLB_SIZE - 1)];
}

static void set_token(struct engine *e, u32 class, struct itlb_slot *s)
{
	s->token = s->cp->token;
	e->itlb_live[class] |= BIT64((u32)(s - e->itlb[class]) / 64);
}

int itlb_get(struct engine *e, u64 lin, struct cpage **cp)
{
	struct cpu *c = e->c;
	u32 k = itlb_class(cpu_mmu_idx(c));
	struct itlb_slot *s = itlb_slot(e, k, lin);

	if (likely(s->tag == ((lin & PAGE_MASK) | 1))) {
		if (unlikely(!s->token)) {
			cache_validate(e, s->cp->pp);
			set_token(e, k, s);
		}
		*cp = s->cp;
		return CPU_OK;
	}

	struct fetch_page fp = { 0 };
	int r = c->ops->fetch(c, lin, &fp);

	if (r != CPU_OK)
		return r;
	if (!fp.host)
		return CPU_EXIT;
	s->tag = 0;
	s->token = 0;
	*cp = cache_cpage(e, lin, &fp);
	if (!*cp)
		return CPU_EXIT;
	/* Always: a device may have written the page since, with nothing on this CPU to tell of it.
	 * The guest maps a page before it runs what was read into it. */
	cache_compare(e, (*cp)->pp);
	u32 i = (u32)(s - e->itlb[k]);

	s->tag = (lin & PAGE_MASK) | 1;
	s->cp = *cp;
	s->global = fp.global;
	set_token(e, k, s);
	e->itlb_filled[k][i / 64] |= BIT64(i % 64);
	return CPU_OK;
}

void engine_itlb_flush(struct cpu *c, bool l2, bool global)
{
	struct engine *e = c->engine;

	for (u32 k = l2 ? 2 : 0; k < (l2 ? 4 : 2); k++)
		for (u32 w = 0; w < ITLB_SIZE / 64; w++) {
			u64 keep = 0;

			for (u64 left = e->itlb_filled[k][w]; left; left &= left - 1) {
				u32 i = (u32)__builtin_ctzll(left);
				struct itlb_slot *s = &e->itlb[k][w * 64 + i];

				if (!global && s->global) {
					keep |= BIT64(i);
					continue;
				}
				s->token = 0;
				s->tag = 0;
			}
			e->itlb_filled[k][w] = keep;
		}
}

void engine_itlb_flush_page(struct cpu *c, bool l2, u64 gva)
{
	for (u32 k = l2 ? 2 : 0; k < (l2 ? 4 : 2); k++) {
		struct itlb_slot *s = itlb_slot(c->engine, k, gva);

		if (s->tag == ((gva & PAGE_MASK) | 1)) {
			s->token = 0;
			s->tag = 0;
		}
	}
}

void engine_code_suspect(struct cpu *c)
{
	struct engine *e = c->engine;

	e->suspect_gen++;
	/* Once for each KVM_RUN: only what has been used since. */
	for (u32 k = 0; k < ITLB_CLASSES; k++) {
		for (u64 words = e->itlb_live[k]; words; words &= words - 1) {
			u32 w = (u32)__builtin_ctzll(words);

			for (u64 left = e->itlb_filled[k][w]; left; left &= left - 1)
				e->itlb[k][w * 64 + (u32)__builtin_ctzll(left)].token = 0;
		}
		e->itlb_live[k] = 0;
	}
}
