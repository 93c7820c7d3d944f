/* SPDX-License-Identifier: MIT */
/*
 * engine/move.c - a code page is mapped at another address: its units go there.
 *
 * Address randomisation gives each start of a program new linear addresses for the same physical
 * pages of its text and libraries. Units have addresses in their code (operands relative to RIP,
 * what a CALL pushes, the page's slot in the execute TLB), so each address would want units of its
 * own, and most of the time of a shell script would be spent on making them. A page that nobody has
 * run for a while is most likely that of a program that has ended: its units are taken along
 * instead (docs/engine.md, "Addresses that move").
 */
#include "engine/translate_priv.h"

/* So long ago, in cycles of the TSC, and the page counts as left. */
#define LEFT_AFTER (8ull << 20)
/* Programs that run side by side have their pages to themselves. */
#define PAGES_KEPT 2

/* Kernels and programs that are not position-independent stay where they are. */
bool move_worth(u32 mode, u64 rip)
{
	return (mode & (MODE_SIZE | MODE_CPL0)) == MODE_SIZE64 && rip >> 32 && !(rip >> 63);
}

/* Returns the slot that it was in. */
static u32 fix_tlb(struct engine *e, const struct unit *u, u8 *at, u64 delta)
{
	struct tlb *tlb = &e->c->tlb[mode_idx(u->mode)];
	u32 v, base, was;

	__builtin_memcpy(&v, at, 4);
	base = (u32)(uintptr_t)tlb->w;
	if (v - base >= sizeof(tlb->w))
		base = (u32)(uintptr_t)tlb->r;
	was = (v - base) / (u32)sizeof(struct tlb_entry);
	v = base + ((v - base + (u32)(delta >> PAGE_SHIFT) * (u32)sizeof(struct tlb_entry)) &
		    (u32)(sizeof(tlb->r) - 1));
	__builtin_memcpy(at, &v, 4);
	return was;
}
_Static_assert((sizeof(((struct tlb *)0)->r) & (sizeof(((struct tlb *)0)->r) - 1)) == 0,
	       "fix_tlb()");

/* What is not in those four bytes of the page's address follows from its slot. */
static void fix_page(u8 *at, u32 slot, u64 delta, bool minus)
{
	u32 v;

	__builtin_memcpy(&v, at, 4);
	v = minus ? -v : v;
	v += (u32)((((u64)slot << PAGE_SHIFT) + delta) >> TLB_PAGE_SHIFT);
	v = minus ? -v : v;
	__builtin_memcpy(at, &v, 4);
}

static void move_code(struct engine *e, const struct unit *u, u64 delta)
{
	const struct fixup *f = unit_fixups(u);

	for (u32 i = 0; i < u->n_fixups; i++) {
		u8 *at = e->mem.rw + u->code + f[i].at;
		u64 v;

		if (f[i].kind == FIX_TLB) {
			fix_tlb(e, u, at, delta);
			continue;
		}
		if (f[i].kind == FIX_TLB_PAGE) {
			fix_page(at + 4, fix_tlb(e, u, at, delta), delta, false);
			continue;
		}
		if (f[i].kind == FIX_TLB_MINUS_PAGE) {
			fix_page(at + TLB_MINUS_AT, fix_tlb(e, u, at, delta), delta, true);
			continue;
		}
		__builtin_memcpy(&v, at, 8);
		v += f[i].kind == FIX_MINUS_RIP ? -delta : delta;
		__builtin_memcpy(at, &v, 8);
	}
}

/* What lies at the same distance from the new address is anybody's guess. */
static void break_links(struct engine *e, struct unit *u)
{
	for (struct rec_link *r = u->links; r; r = r->next)
		if (r->r.linked && r->r.cross)
			cache_unlink(e, r);
	if (!u->crossed)
		return;
	u->crossed = false;
	for (struct rec_link **p = &u->links_in; *p;) {
		struct rec_link *r = *p;

		if (r->r.cross) {
			*p = r->next_in;
			link_break(e, r);
		} else {
			p = &r->next_in;
		}
	}
}

static void relocate(struct engine *e, struct unit *u)
{
	u64 delta = (u->cp->lin ^ u->lin) & PAGE_MASK;

	delta = (u->lin ^ delta) - u->lin;
	cache_move_jumps(e, u, u->rip + delta);
	break_links(e, u);
	u->lin += delta;
	u->rip += delta;
	move_code(e, u, delta);
	unit_entries_move(e, u, delta);
	e->counts.units_moved++;
}

static bool may_go(const struct unit *u)
{
	return !u->fixed && !u->cp2;
}

/* With all that it leads to inside its page, without anybody's looking them up. */
bool unit_follow_page(struct engine *e, struct unit *u)
{
	if (!may_go(u)) {
		cache_kill_unit(e, u);
		return false;
	}
	relocate(e, u);
	u->move_next = NULL;
	for (struct unit *list = u; list;) {
		struct rec_link *r = list->links;

		list = list->move_next;
		for (; r; r = r->next) {
			struct unit *to = r->r.linked;

			if (!to || r->r.cross || !unit_left(to))
				continue;
			if (!may_go(to)) {
				cache_kill_unit(e, to);
				continue;
			}
			relocate(e, to);
			to->move_next = list;
			list = to;
		}
	}
	return true;
}

static struct cpage *oldest(const struct engine *e, struct ppage *pp)
{
	struct cpage *old = NULL;
	u32 n = 0;

	for (struct cpage *cp = pp->cpages; cp; cp = cp->pp_next) {
		if (!cp->units || cp->held == e->move_gen || !move_worth(MODE_SIZE64, cp->lin))
			continue;
		n++;
		if (!old || cp->used < old->used)
			old = cp;
	}
	return n > PAGES_KEPT || e->move_eager ? old : NULL;
}

/*
 * Units that are left behind are safe from being run as long as their page is in none of the
 * execute-TLB slots that they look at.
 */
static bool must_take_all(const struct cpage *cp, u64 lin)
{
	u32 i = itlb_index(lin);

	if (cp->n_past == CPAGE_PAST - 1 || i == itlb_index(cp->lin))
		return true;
	for (u32 k = 0; k < cp->n_past; k++)
		if (cp->past[k] == i)
			return true;
	return false;
}

struct cpage *cpage_move(struct engine *e, struct ppage *pp, u64 lin)
{
	struct cpage *cp;
	struct unit *next;
	bool all;

	if (!e->may_move || !move_worth(MODE_SIZE64, lin))
		return NULL;
	cp = oldest(e, pp);
	if (!cp || (__builtin_ia32_rdtsc() - cp->used < LEFT_AFTER && !e->move_eager))
		return NULL;
	e->counts.moved++;
	/* Units that begin elsewhere and have bytes of this page know it by its address. */
	for (struct unit_dep *d = cp->deps; d; d = d->next)
		cache_kill_unit(e, d->u);
	cp->deps = NULL;
	for (struct unit *u = cp->units2; u; u = next) {
		next = u->page2_next;
		cache_kill_unit(e, u);
	}
	itlb_forget(e, cp);
	cache_cpage_unhash(e, cp);
	all = must_take_all(cp, lin);
	cp->past[cp->n_past++] = (u16)itlb_index(cp->lin);
	cp->lin = lin;
	cp->moved = true;
	cache_cpage_rehash(e, cp);
	if (!all)
		return cp;
	for (struct unit *u = cp->units; u; u = next) {
		next = u->page_next;
		if (may_go(u))
			relocate(e, u);
		else
			cache_kill_unit(e, u);
	}
	cp->n_past = 0;
	return cp;
}
