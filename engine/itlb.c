/* SPDX-License-Identifier: MIT */
/*
 * engine/itlb.c - which linear pages may be executed, and as which code page.
 * A slot's token equals the code page's only while the mapping is known to
 * hold and the bytes are known to be unchanged; translated code compares it
 * whenever it enters another page.
 */
#include "engine/engine_priv.h"

u32 itlb_index(u64 lin)
{
	u64 page = lin >> PAGE_SHIFT;

	/* A kernel and its modules lie at the same places of different GiB. */
	return (u32)(page ^ page >> ITLB_BITS) & (ITLB_SIZE - 1);
}

/*
 * What runs between two events that serialise is compared anew: at each page fault's IRET and
 * INVLPG that made page faults four times as dear, and switches between processes three times. So
 * events that come often wait until the last look has been paid for: some 5 us for each page that
 * it has compared, which take 0.1 to 0.2, and 4 ms at most.
 */
#define LOOK_TSC_PAGE 16000
#define LOOK_TSC_MAX 12000000
/*
 * RDTSC takes some 12 ns, and a page fault has three such events: in a burst, when the last
 * eight have taken less than 20 us, only the eighth of the next eight looks at the clock.
 */
#define BURST_EVENTS 8
#define BURST_TSC 60000

static void looked(struct engine *e)
{
	e->suspect_gen++;
	/* The next event that wants to know looks again and at the clock: none may ever come. */
	e->suspected = 0;
	e->look_wait = LOOK_TSC_PAGE;
	e->burst_left = e->burst_seen = 0;
}

void itlb_compared(struct engine *e)
{
	if (e->look_wait < LOOK_TSC_MAX)
		e->look_wait += LOOK_TSC_PAGE;
}

static void set_token(struct engine *e, u32 class, u32 i)
{
	_Static_assert(ITLB_SIZE / 64 <= 64, "itlb_words and itlb_live have one bit a word");
	e->itlb_token[class][i] = e->itlb[class][i].cp->token;
	e->itlb_live[class] |= BIT64(i / 64);
	if (e->n_live < LIVE_MAX) {
		e->live[e->n_live].class = class;
		e->live[e->n_live].slot = i;
	}
	e->n_live += e->n_live <= LIVE_MAX;
}

static void drop(struct engine *e, u32 class, u32 i)
{
	e->itlb_token[class][i] = 0;
	e->itlb[class][i].tag = 0;
}

static enum cpu_result get(struct engine *e, u64 lin, struct cpage **cp)
{
	struct cpu *c = e->c;
	u32 k = itlb_class(cpu_mmu_idx(c));
	u32 i = itlb_index(lin);
	struct itlb_slot *s = &e->itlb[k][i];

	if (likely(s->tag == ((lin & PAGE_MASK) | 1))) {
		if (unlikely(!e->itlb_token[k][i])) {
			cache_validate(e, s->pp);
			set_token(e, k, i);
		}
		*cp = s->cp;
		return CPU_OK;
	}

	e->counts.fetches++;

	struct fetch_page fp = { 0 };
	enum cpu_result r = c->ops->fetch(c, lin, &fp);

	if (r != CPU_OK)
		return r;
	if (!fp.host)
		return CPU_UNBACKED;
	drop(e, k, i);
	*cp = cache_cpage(e, lin, &fp);
	if (!*cp)
		return CPU_AGAIN;
	/* Always: a device may have written the page since, with nothing on this CPU to tell of it.
	 * The guest maps a page before it runs what was read into it. */
	cache_compare(e, (*cp)->pp);
	s->tag = (lin & PAGE_MASK) | 1;
	s->cp = *cp;
	s->pp = (*cp)->pp;
	s->global = fp.global;
	s->cp->used = __builtin_ia32_rdtsc();
	set_token(e, k, i);
	e->itlb_filled[k][i / 64] |= BIT64(i % 64);
	e->itlb_words[k] |= BIT64(i / 64);
	return CPU_OK;
}

enum cpu_result itlb_get(struct engine *e, u64 lin, struct cpage **cp)
{
	enum cpu_result r = get(e, lin, cp);

	if (r == CPU_OK)
		(*cp)->held = e->move_gen;
	return r;
}

u64 itlb_confirm(struct cpu *c, const struct unit *u)
{
	struct engine *e = c->engine;
	u32 k = itlb_class(mode_idx(u->mode)), i = itlb_index(u->lin);
	const struct itlb_slot *s = &e->itlb[k][i];

	/* A page that has moved is not in the slot any more. */
	if (s->tag != ((u->lin & PAGE_MASK) | 1) || s->cp != u->cp || u->dead)
		return 1;
	/* All is in its place, should the VMM have taken the memory away. */
	c->rip = u->lin;
	c->rflags = (c->rflags & ~(u64)FL_ARITH) | flags_of_image(e->exit_flags);
	if (!cache_confirm(e, s->pp))
		return 1;
	set_token(e, k, i);
	return 0;
}

void engine_itlb_flush(struct cpu *c, bool l2, bool global)
{
	struct engine *e = c->engine;

	for (u32 k = l2 ? 2 : 0; k < (l2 ? 4 : 2); k++)
		for (u64 words = e->itlb_words[k]; words; words &= words - 1) {
			u32 w = (u32)__builtin_ctzll(words);
			u64 keep = 0;

			for (u64 left = e->itlb_filled[k][w]; left; left &= left - 1) {
				u32 i = (u32)__builtin_ctzll(left);

				if (!global && e->itlb[k][w * 64 + i].global)
					keep |= BIT64(i);
				else
					drop(e, k, w * 64 + i);
			}
			e->itlb_filled[k][w] = keep;
			if (!keep)
				e->itlb_words[k] &= ~BIT64(w);
		}
}

void engine_itlb_flush_page(struct cpu *c, bool l2, u64 gva)
{
	for (u32 k = l2 ? 2 : 0; k < (l2 ? 4 : 2); k++) {
		u32 i = itlb_index(gva);

		if (c->engine->itlb[k][i].tag == ((gva & PAGE_MASK) | 1))
			drop(c->engine, k, i);
	}
}

/*
 * A guest that talks to its VMM all the time runs the same few pages between two exits. To have
 * them compared in one go costs less than to leave translated code at each. What has not been
 * needed for a while is forgotten now and then.
 */
#define RECHECKS 32

void engine_code_recheck(struct cpu *c)
{
	struct engine *e = c->engine;

	if (e->n_live > LIVE_MAX || ++e->rechecks > RECHECKS) {
		e->rechecks = 0;
		engine_code_suspect(c);
		return;
	}
	looked(e);
	for (u32 i = 0; i < e->n_live; i++) {
		u32 k = e->live[i].class, slot = e->live[i].slot;

		/* Those that have been dropped stand there still. */
		if (e->itlb_token[k][slot])
			cache_validate(e, e->itlb[k][slot].pp);
	}
}

void itlb_forget(struct engine *e, const struct cpage *cp)
{
	u32 i = itlb_index(cp->lin);

	for (u32 k = 0; k < ITLB_CLASSES; k++)
		if (e->itlb[k][i].cp == cp)
			drop(e, k, i);
}

void itlb_distrust(struct engine *e, const struct cpage *cp)
{
	u32 i = itlb_index(cp->lin);

	for (u32 k = 0; k < ITLB_CLASSES; k++)
		if (e->itlb[k][i].cp == cp)
			e->itlb_token[k][i] = 0;
}

void engine_serialise(struct cpu *c, bool often)
{
	struct engine *e = c->engine;

	if (often) {
		if (e->burst_left) {
			e->burst_left--;
			return;
		}
		u64 now = __builtin_ia32_rdtsc();

		if (e->suspected && now - e->suspected < e->look_wait) {
			if (++e->burst_seen >= BURST_EVENTS) {
				bool burst = now - e->burst_began < BURST_TSC;

				e->burst_left = e->burst_seen = burst ? BURST_EVENTS - 1 : 0;
				e->burst_began = now;
			}
			return;
		}
		engine_code_recheck(c);
		e->suspected = now;
		return;
	}
	engine_code_recheck(c);
}

void engine_code_suspect(struct cpu *c)
{
	struct engine *e = c->engine;

	looked(e);
	/* Once for each KVM_RUN: only what has been used since. */
	for (u32 k = 0; k < ITLB_CLASSES; k++) {
		for (u64 words = e->itlb_live[k]; words; words &= words - 1) {
			u32 w = (u32)__builtin_ctzll(words);

			for (u64 left = e->itlb_filled[k][w]; left; left &= left - 1)
				e->itlb_token[k][w * 64 + (u32)__builtin_ctzll(left)] = 0;
		}
		e->itlb_live[k] = 0;
	}
	e->n_live = 0;
}
