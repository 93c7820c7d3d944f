/* SPDX-License-Identifier: MIT */
/*
 * engine/cache.c - translated units: finding them, linking them, and getting
 * rid of them when the bytes they were made from change.
 *
 * The bytes of every 64-byte line that any unit was decoded from are kept in
 * ppage.copy; comparing them with memory is what makes writes from outside
 * (the VMM, DMA, other vCPUs) visible.
 */
#include <errno.h>

#include "base/mem.h"
#include "engine/engine_priv.h"

int cache_init(struct engine *e)
{
	e->hash = pool_take(e, sizeof(*e->hash) << UNIT_HASH_BITS);
	e->cpages = pool_take(e, sizeof(*e->cpages) << CPAGE_HASH_BITS);
	e->ppages = pool_take(e, sizeof(*e->ppages) << CPAGE_HASH_BITS);
	e->cap_units = (u32)UNITS_MAX(e->mem.size);
	e->by_addr = pool_take(e, e->cap_units * sizeof(*e->by_addr));
	struct itlb_slot *slots = pool_take(e, ITLB_CLASSES * ITLB_SIZE * sizeof(*slots));

	for (u32 k = 0; k < ITLB_CLASSES && slots; k++)
		e->itlb[k] = slots + k * ITLB_SIZE;
	if (!e->hash || !e->cpages || !e->ppages || !e->by_addr || !slots)
		return -ENOMEM;
	e->next_token = 1;
	e->token_noise = __builtin_ia32_rdtsc() ^ (u64)(uintptr_t)&e;
	e->suspect_gen = 1;
	return 0;
}

/* Held, but not counted anywhere: memory that nobody tracks. */
#define NO_SERIAL (~0u)

static void page_get(struct engine *e, struct ppage *pp)
{
	u32 serial = e->c->ops->code_page(e->c, pp->gpa, pp->host, 0);

	pp->ref = serial ? serial : NO_SERIAL;
}

static void page_put(struct engine *e, struct ppage *pp)
{
	e->c->ops->code_page(e->c, pp->gpa, pp->host, pp->ref);
	pp->ref = 0;
}

/* Its bytes are there now. Who asks compares them next, and so holds the page anew. */
static void page_at(struct engine *e, struct ppage *pp, const u8 *host)
{
	if (unlikely(pp->host != host) && pp->ref)
		page_put(e, pp);
	pp->host = host;
}

/* Memory that was never written stays untouched: an idle vCPU costs next to nothing. */
static void ppages_release(struct engine *e)
{
	if (!e->arena.used)
		return;
	for (u32 i = 0; i < 1u << CPAGE_HASH_BITS; i++) {
		for (struct ppage *pp = e->ppages[i]; pp; pp = pp->hash_next)
			if (pp->ref)
				page_put(e, pp);
		e->ppages[i] = NULL;
		e->cpages[i] = NULL;
	}
}

void cache_destroy(struct engine *e)
{
	if (e->ppages && e->cpages)
		ppages_release(e);
}

void cache_flush(struct engine *e)
{
	e->flush_pending = false;
	ppages_release(e);
	arena_free(&e->arena);
	if (e->n_units)
		cpu_zero(e->hash, sizeof(*e->hash) << UNIT_HASH_BITS);
	e->n_units = 0;
	cpu_zero(e->rf_units, sizeof(e->rf_units));
	e->next_token = 1;
	engine_itlb_flush(e->c, false, true);
	engine_itlb_flush(e->c, true, true);
	jump_cache_flush(e);
	e->mem.hot = e->mem.hot_start;
	e->mem.cold = e->mem.cold_start;
	e->counts.flushes++;
}

/*
 * By the page's token and the place in the page: programs have their code at the same addresses as
 * other programs, and one page is mapped at many addresses.
 */
static u32 unit_hash(const struct cpage *cp, u64 lin, u32 mode)
{
	u64 number = cp->token >> TOKEN_SHIFT;

	return (u32)((number << 20 ^ (lin & ~PAGE_MASK) ^ (u64)mode << 40) *
			     0x9e3779b97f4a7c15ull >>
		     (64 - UNIT_HASH_BITS));
}

/* The caller has made sure that the page of lin maps to cp (itlb_get). */
struct unit *cache_lookup(struct engine *e, struct cpage *cp, u64 lin, u32 mode)
{
	for (struct unit *u = e->hash[unit_hash(cp, lin, mode)]; u; u = u->hash_next) {
		if (((u->lin ^ lin) & ~PAGE_MASK) || u->mode != mode || !unit_in_cs(u, e) ||
		    u->cp != cp)
			continue;
		if (unlikely(unit_left(u)) && !unit_follow_page(e, u))
			return NULL;
		return u;
	}
	return NULL;
}

static void unit_unhash(struct engine *e, struct unit *u)
{
	for (struct unit **pp = &e->hash[unit_hash(u->cp, u->lin, u->mode)]; *pp;
	     pp = &(*pp)->hash_next)
		if (*pp == u) {
			*pp = u->hash_next;
			break;
		}
}

void cache_insert(struct engine *e, struct unit *u)
{
	struct unit **b = &e->hash[unit_hash(u->cp, u->lin, u->mode)];

	u->hash_next = *b;
	*b = u;
	u->page_next = u->cp->units;
	u->cp->units = u;
	if (u->cp2) {
		u->page2_next = u->cp2->units2;
		u->cp2->units2 = u;
	}
	e->by_addr[e->n_units++] = u;
	e->counts.units++;
}

static void point_at(struct engine *e, const struct rec_link *r, u32 target)
{
	u32 rel = target - (r->patch + 4);

	__builtin_memcpy(e->mem.rw + r->patch, &rel, 4);
}

void link_patch(struct engine *e, struct rec_link *r, struct unit *to)
{
	bool by_cross = r->r.cross || (r->r.len && to->live);

	if (by_cross)
		unit_want_cross(e, to);

	u32 entry = by_cross ? to->e_cross : r->r.backward ? to->e_poll : to->e_body;

	if (!entry)
		return;
	point_at(e, r, entry);
	r->r.linked = to;
	to->crossed |= r->r.cross;
	r->next_in = to->links_in;
	to->links_in = r;
}

void link_break(struct engine *e, struct rec_link *r)
{
	point_at(e, r, r->stub);
	r->r.linked = NULL;
}

void cache_unlink(struct engine *e, struct rec_link *r)
{
	for (struct rec_link **pp = &r->r.linked->links_in; *pp; pp = &(*pp)->next_in)
		if (*pp == r) {
			*pp = r->next_in;
			break;
		}
	link_break(e, r);
}

void cache_kill_unit(struct engine *e, struct unit *u)
{
	if (u->dead)
		return;
	u->dead = true;
	e->counts.dropped++;
	for (struct rec_link *r = u->links_in; r; r = r->next_in)
		link_break(e, r);
	u->links_in = NULL;
	for (struct rec_link *r = u->links; r; r = r->next)
		if (r->r.linked)
			cache_unlink(e, r);
	unit_unhash(e, u);
	for (struct unit **pp = &u->cp->units; *pp; pp = &(*pp)->page_next)
		if (*pp == u) {
			*pp = u->page_next;
			break;
		}
	if (u->cp2)
		for (struct unit **pp = &u->cp2->units2; *pp; pp = &(*pp)->page2_next)
			if (*pp == u) {
				*pp = u->page2_next;
				break;
			}
	cache_forget_jumps(e, u);
}

static u32 page_hash(u64 a)
{
	return (u32)((a >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ull >> (64 - CPAGE_HASH_BITS));
}

/* The same linear page in many address spaces is as many pages. */
static u32 cpage_hash(u64 lin, u64 gpa)
{
	return page_hash(lin ^ gpa << 20);
}

static struct ppage *ppage_find(struct engine *e, u64 gpa)
{
	for (struct ppage *pp = e->ppages[page_hash(gpa)]; pp; pp = pp->hash_next)
		if (pp->gpa == gpa)
			return pp;
	return NULL;
}

void cache_cpage_rehash(struct engine *e, struct cpage *cp)
{
	struct cpage **b = &e->cpages[cpage_hash(cp->lin, cp->pp->gpa)];

	cp->hash_next = *b;
	*b = cp;
}

void cache_cpage_unhash(struct engine *e, struct cpage *cp)
{
	for (struct cpage **p = &e->cpages[cpage_hash(cp->lin, cp->pp->gpa)]; *p;
	     p = &(*p)->hash_next)
		if (*p == cp) {
			*p = cp->hash_next;
			break;
		}
}

/* Numbers that a guest does not foresee (Steele and others, splitmix). */
static u64 noise(struct engine *e)
{
	u64 z = e->token_noise += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

struct cpage *cache_cpage(struct engine *e, u64 lin, const struct fetch_page *fp)
{
	lin &= PAGE_MASK;
	for (struct cpage *cp = e->cpages[cpage_hash(lin, fp->gpa)]; cp; cp = cp->hash_next)
		if (cp->lin == lin && cp->pp->gpa == fp->gpa) {
			page_at(e, cp->pp, fp->host);
			return cp;
		}

	struct ppage *pp = ppage_find(e, fp->gpa);

	if (!pp) {
		pp = arena_alloc_line(e, sizeof(*pp));
		if (!pp)
			return NULL;
		pp->copy = arena_alloc_raw(e, PAGE_SIZE);
		if (!pp->copy)
			return NULL;
		pp->gpa = fp->gpa;
		pp->checked = e->suspect_gen;
		pp->hash_next = e->ppages[page_hash(fp->gpa)];
		e->ppages[page_hash(fp->gpa)] = pp;
	}
	page_at(e, pp, fp->host);

	struct cpage *cp = cpage_move(e, pp, lin);

	if (cp)
		return cp;
	if (e->next_token > TOKEN_MAX)
		return NULL;
	cp = arena_alloc_line(e, sizeof(*cp));
	if (!cp)
		return NULL;
	cp->lin = lin;
	cp->pp = pp;
	cp->token = (u64)e->next_token << TOKEN_SHIFT | noise(e) >> (64 - TOKEN_SHIFT);
	e->next_token += 2;
	cp->pp_next = pp->cpages;
	pp->cpages = cp;
	cache_cpage_rehash(e, cp);
	translator_took(e);
	return cp;
}

/*
 * Make the lines of [off, off+len) readable through pp->copy. The first use of
 * a page announces it as code, which takes it out of every write TLB, before
 * any byte is read.
 */
void cache_fetch_lines(struct engine *e, struct ppage *pp, u32 off, u32 len)
{
	u32 first = off >> CODE_LINE_SHIFT, last = (off + len - 1) >> CODE_LINE_SHIFT;

	/* len is that of an instruction: two lines at most. */
	if (likely(pp->ref && (pp->lines >> first & pp->lines >> (last & 63) & 1)))
		return;
	if (!pp->ref)
		page_get(e, pp);
	for (u32 l = first; l <= last && l < 64; l++) {
		if (pp->lines & BIT64(l))
			continue;
		u64 *d = (u64 *)(pp->copy + (l << CODE_LINE_SHIFT));
		const u64 *s = (const u64 *)(pp->host + (l << CODE_LINE_SHIFT));

		for (u32 i = 0; i < 8; i++)
			d[i] = s[i];
		pp->lines |= BIT64(l);
	}
}

/* Kill the units of pp whose bytes overlap [from, to) within the page. */
static void kill_range(struct engine *e, struct ppage *pp, u32 from, u32 to)
{
	for (struct cpage *cp = pp->cpages; cp; cp = cp->pp_next) {
		struct unit *next;

		for (struct unit *u = cp->units; u; u = next) {
			u32 off = (u32)(u->lin & ~PAGE_MASK);

			next = u->page_next;
			if ((off < to && off + u->len > from) ||
			    (u->peek_lo < to && u->peek_hi > from))
				cache_kill_unit(e, u);
		}
		for (struct unit_dep *d = cp->deps; d; d = d->next)
			if (d->lo < to && d->hi > from)
				cache_kill_unit(e, d->u);
		for (struct unit *u = cp->units2; u; u = next) {
			u32 tail = (u32)((u->lin + u->len) & ~PAGE_MASK);

			next = u->page2_next;
			if (from < tail)
				cache_kill_unit(e, u);
		}
	}
}

/* Most of this comes from far away: the more reads at once, the better. */
static inline u64 line_differs(const struct ppage *pp, u32 l)
{
	const u64 *d = (const u64 *)(pp->copy + (l << CODE_LINE_SHIFT));
	const u64 *s = (const u64 *)(pp->host + (l << CODE_LINE_SHIFT));
	u64 diff = 0;

#pragma GCC unroll 8
	for (u32 i = 0; i < 8; i++)
		diff |= d[i] ^ s[i];
	return diff;
}

bool cache_confirm(struct engine *e, struct ppage *pp)
{
	if (pp->checked == e->suspect_gen)
		return true;
	if (!pp->ref)
		return false;
	for (u64 left = pp->lines; left; left &= left - 1)
		if (unlikely(line_differs(pp, (u32)__builtin_ctzll(left))))
			return false;
	itlb_compared(e);
	e->counts.compared++;
	pp->checked = e->suspect_gen;
	pp->writes = 0;
	return true;
}

void cache_validate(struct engine *e, struct ppage *pp)
{
	if (pp->checked == e->suspect_gen)
		return;
	itlb_compared(e);
	cache_compare(e, pp);
}

void cache_compare(struct engine *e, struct ppage *pp)
{
	pp->checked = e->suspect_gen;
	e->counts.compared++;
	pp->writes = 0;
	/* The map has changed: counted anew, before the bytes are looked at. */
	if (!pp->ref && pp->lines)
		page_get(e, pp);
	for (u64 left = pp->lines; left; left &= left - 1) {
		u32 l = (u32)__builtin_ctzll(left);
		u64 *d = (u64 *)(pp->copy + (l << CODE_LINE_SHIFT));
		const u64 *s = (const u64 *)(pp->host + (l << CODE_LINE_SHIFT));

		if (likely(!line_differs(pp, l)))
			continue;
		for (u32 i = 0; i < 8; i++)
			d[i] = s[i];
		kill_range(e, pp, l << CODE_LINE_SHIFT, (l + 1) << CODE_LINE_SHIFT);
	}
}

void engine_map_changed(struct cpu *c)
{
	struct engine *e = c->engine;

	if (!e->arena.used)
		return;
	for (u32 i = 0; i < 1u << CPAGE_HASH_BITS; i++)
		for (struct ppage *pp = e->ppages[i]; pp; pp = pp->hash_next)
			if (pp->ref)
				page_put(e, pp);
	engine_code_suspect(c);
}

void engine_page_suspect(struct cpu *c, u64 gpa)
{
	struct engine *e = c->engine;
	struct ppage *pp = ppage_find(e, gpa & PAGE_MASK);

	if (!pp)
		return;
	pp->checked = e->suspect_gen - 1;
	for (struct cpage *cp = pp->cpages; cp; cp = cp->pp_next)
		itlb_distrust(e, cp);
}

/* A page that is written often is data again until code in it runs again. */
#define CODE_WRITES_MAX 64

void engine_code_written(struct cpu *c, u64 gpa, u32 len)
{
	struct engine *e = c->engine;

	while (len) {
		u32 off = (u32)(gpa & ~PAGE_MASK);
		u32 n = len < PAGE_SIZE - off ? len : (u32)(PAGE_SIZE - off);
		struct ppage *pp = ppage_find(e, gpa & PAGE_MASK);

		if (pp && pp->ref) {
			if (++pp->writes > CODE_WRITES_MAX) {
				kill_range(e, pp, 0, PAGE_SIZE);
				pp->lines = 0;
				pp->writes = 0;
				page_put(e, pp);
			} else {
				kill_range(e, pp, off, off + n);
				for (u32 i = off; i < off + n; i++)
					if (pp->lines & BIT64(i >> CODE_LINE_SHIFT))
						pp->copy[i] = pp->host[i];
			}
		}
		gpa += n;
		len -= n;
	}
}

struct unit *cache_unit_at(struct engine *e, u64 host_rip)
{
	u32 lo = 0, hi = e->n_units, off = (u32)(host_rip - (u64)e->mem.rx);

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;
		struct unit *u = e->by_addr[mid];

		if (u->code_end <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < e->n_units && e->by_addr[lo]->code <= off)
		return e->by_addr[lo];
	return NULL;
}
