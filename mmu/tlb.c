/* SPDX-License-Identifier: MIT */
/*
 * mmu/tlb.c - the software TLB: what is in it, and how it is forgotten.
 *
 * Bitmaps name the filled slots, apart for global mappings, so that a CR3 load
 * visits only what it must drop; they cannot overflow. A second set marks
 * entries cut from large pages: INVLPG must drop all of such a page.
 *
 * L1 and L2 each have their arrays. Flushes act on one of them; what concerns memory
 * itself (dirty logging, code, the guest-physical map) on both.
 */
#include "engine/engine.h"
#include "mmu/mmu_priv.h"

static inline struct tlb_entry *array(struct cpu *c, u32 a)
{
	struct tlb *t = &c->tlb[a / 2];

	return a % 2 ? t->w : t->r;
}

#define CTX_ARRAYS (TLB_ARRAYS / 2)
static inline u32 first_array(bool l2)
{
	return l2 ? CTX_ARRAYS : 0;
}

static inline u32 slot_of(u64 gva)
{
	return (u32)(gva >> PAGE_SHIFT) % TLB_SIZE;
}

static inline void put(struct cpu *c, enum mmu_idx idx, bool write, u64 gva, u64 host, bool global,
		       bool large)
{
	u32 a = (u32)idx * 2 + write;
	u32 slot = slot_of(gva);
	u64 bit = BIT64(slot % 64);
	struct tlb_entry *e = array(c, a) + slot;

	e->tag = gva & PAGE_MASK;
	e->host = host;
	c->tlb_used[global][a][slot / 64] |= bit;
	c->tlb_used[!global][a][slot / 64] &= ~bit;
	c->tlb_used_words[global][a] |= BIT64(slot / 64);
	if (large)
		c->tlb_large[a][slot / 64] |= bit;
	else
		c->tlb_large[a][slot / 64] &= ~bit;
}

void tlb_put(struct cpu *c, enum mmu_idx idx, bool write, u64 gva, u64 host, bool global,
	     bool large)
{
	put(c, idx, write, gva, host, global, large);
}

void tlb_install(struct cpu *c, enum mmu_idx idx, bool write, u64 gva, u8 *host,
		 const struct mmu_walk *w)
{
	bool large = w->page_size > PAGE_SIZE;

	put(c, idx, write, gva, (u64)(uintptr_t)host, w->global, large);
	if (large) {
		struct mmu_ctx *m = &c->mmu[idx >= MMU_L2];
		u32 h = gva >> 63;
		u64 lo = gva & ~(w->page_size - 1), hi = lo + (w->page_size - 1);

		if (lo < m->large_lo[h])
			m->large_lo[h] = lo;
		if (hi > m->large_hi[h])
			m->large_hi[h] = hi;
		if (w->page_size > m->large_size)
			m->large_size = w->page_size;
	}
}

/* Empty the slots whose bits are set in one word of a bitmap. */
static inline void drop_bits(struct tlb_entry *e, u32 word, u64 bits)
{
	for (; bits; bits &= bits - 1) {
		u32 slot = word * 64 + (u32)__builtin_ctzll(bits);

		e[slot].tag = tlb_empty_tag(slot);
	}
}

static void drop_pwc(struct cpu *c, bool l2)
{
#pragma GCC unroll 16
	for (u32 i = 0; i < PWC_SIZE; i++)
		c->mmu[l2].pwc[i].tag = ~0ull;
#pragma GCC unroll 8
	for (u32 i = 0; i < IO_TLB_SIZE; i++)
		c->io_tlb[i].tag = ~0ull;
}

/* All that takes something out of the TLB takes it out of the windows, too. */
static inline void drop_windows(struct cpu *c, bool l2)
{
#pragma GCC unroll 3
	for (u32 k = 0; k < MMU_L2; k++)
		cpu_window_empty(&c->window[(l2 ? MMU_L2 : 0) + k]);
}

static void drop_used(struct cpu *c, bool l2, bool global)
{
	for (u32 a = first_array(l2); a < first_array(l2) + CTX_ARRAYS; a++) {
		u64 *used = c->tlb_used[global][a];

		for (u64 words = c->tlb_used_words[global][a]; words; words &= words - 1) {
			u32 i = (u32)__builtin_ctzll(words);

			drop_bits(array(c, a), i, used[i]);
			c->tlb_large[a][i] &= ~used[i];
			used[i] = 0;
		}
		c->tlb_used_words[global][a] = 0;
	}
}

static void forget_large(struct mmu_ctx *m)
{
	m->large_size = 0;
	for (u32 h = 0; h < 2; h++) {
		m->large_lo[h] = ~0ull;
		m->large_hi[h] = 0;
		m->xmask[h] = ~0ull;
		m->xbase[h] = 1;	/* no page address equals it */
	}
}

void tlb_flush(struct cpu *c, bool l2, bool global)
{
	drop_used(c, l2, false);
	drop_windows(c, l2);
	drop_pwc(c, l2);
	cpu_direct_changed(c, DIRECT_TABLES, DIRECT_ALL);
	if (!l2)
		tlb2_flush(c, global);
	if (global) {
		drop_used(c, l2, true);
		forget_large(&c->mmu[l2]);
	}
	engine_itlb_flush(c, l2, global);
}

void mmu_flush(struct cpu *c, bool global)
{
	tlb_flush(c, c->in_l2, global);
	if (c->in_l2)
		npt_note_regs(c);
}

void mmu_flush_all(struct cpu *c)
{
	/* Also where memory of the VMM was gone in the middle of a walk. */
	c->tentative = 0;
	tlb_flush(c, false, true);
	tlb_flush(c, true, true);
	npt_forget(c);
	if (c->in_l2)
		npt_note_regs(c);
}

void mmu_keys_changed(struct cpu *c)
{
	for (u32 i = 0; i < IO_TLB_SIZE; i++)
		c->io_tlb[i].tag = ~0ull;
	for (u32 l2 = 0; l2 < 2; l2++) {
		drop_used(c, l2, false);
		drop_used(c, l2, true);
		drop_windows(c, l2);
	}
	tlb2_flush(c, true);
}

static void drop_page(struct cpu *c, bool l2, u64 gva)
{
	u32 slot = slot_of(gva);

	if (!l2)
		tlb2_drop_page(c, gva);
	/* The bitmaps may go on naming the slot; dropping it twice does no harm. */
	struct tlb *t = &c->tlb[l2 ? MMU_L2 : 0];
	struct cpu_window *w = &c->window[l2 ? MMU_L2 : 0];

	gva &= PAGE_MASK;
#pragma GCC unroll 3
	for (u32 k = 0; k < MMU_L2; k++) {
		if (unlikely(t[k].r[slot].tag == gva))
			t[k].r[slot].tag = tlb_empty_tag(slot);
		if (unlikely(t[k].w[slot].tag == gva))
			t[k].w[slot].tag = tlb_empty_tag(slot);
		if (unlikely(w[k].minus == -gva))
			cpu_window_empty(&w[k]);
	}
}

void tlb_drop_page(struct cpu *c, u64 gva)
{
	cpu_direct_changed(c, DIRECT_TABLES, gva);
	drop_page(c, c->in_l2, gva);
}

static void drop_large(struct cpu *c, bool l2, u64 gva)
{
	u64 mask = ~(c->mmu[l2].large_size - 1);

	drop_windows(c, l2);
	if (!l2)
		tlb2_flush(c, true);
	for (u32 a = first_array(l2); a < first_array(l2) + CTX_ARRAYS; a++) {
		struct tlb_entry *e = array(c, a);

		u64 words = c->tlb_used_words[0][a] | c->tlb_used_words[1][a];

		for (; words; words &= words - 1) {
			u32 i = (u32)__builtin_ctzll(words);

			for (u64 bits = c->tlb_large[a][i]; bits; bits &= bits - 1) {
				u32 slot = i * 64 + (u32)__builtin_ctzll(bits);

				if (((e[slot].tag ^ gva) & mask) == 0)
					e[slot].tag = tlb_empty_tag(slot);
			}
		}
	}
}

void tlb_invlpg(struct cpu *c, bool l2, u64 gva)
{
	const struct mmu_ctx *m = &c->mmu[l2];
	u32 half = gva >> 63;

	cpu_direct_changed(c, DIRECT_TABLES,
			   gva >= m->large_lo[half] && gva <= m->large_hi[half] ? DIRECT_ALL : gva);
	drop_page(c, l2, gva);
	if (gva >= m->large_lo[half] && gva <= m->large_hi[half])
		drop_large(c, l2, gva);
	/* INVLPG drops upper-level entries too (APM2 5.5.2, EFER.TCE clear). */
	drop_pwc(c, l2);
	if (((gva & PAGE_MASK) & m->xmask[half]) == m->xbase[half])
		engine_itlb_flush(c, l2, true);
	else
		engine_itlb_flush_page(c, l2, gva);
}

void mmu_invlpg(struct cpu *c, u64 gva)
{
	tlb_invlpg(c, c->in_l2, gva);
}

static bool drop_writes(struct cpu *c, u64 host, bool all)
{
	bool had = false;

	cpu_direct_changed(c, DIRECT_WRITES, all ? DIRECT_ALL : host);
	tlb2_drop_writes(c);
	for (u32 k = 0; k < MMU_IDX_COUNT; k++) {
		if (!all && c->window[k].host != host)
			continue;
		cpu_window_empty(&c->window[k]);
		had = true;
	}
	for (u32 a = 1; a < TLB_ARRAYS; a += 2) {
		struct tlb_entry *e = array(c, a);

		u64 words = c->tlb_used_words[0][a] | c->tlb_used_words[1][a];

		for (; words; words &= words - 1) {
			u32 i = (u32)__builtin_ctzll(words);
			u64 bits = c->tlb_used[0][a][i] | c->tlb_used[1][a][i];

			if (all) {
				drop_bits(e, i, bits);
				c->tlb_used[0][a][i] = c->tlb_used[1][a][i] = 0;
				c->tlb_large[a][i] = 0;
				continue;
			}
			for (; bits; bits &= bits - 1) {
				u32 slot = i * 64 + (u32)__builtin_ctzll(bits);

				if (e[slot].host != host || e[slot].tag == tlb_empty_tag(slot))
					continue;
				e[slot].tag = tlb_empty_tag(slot);
				had = true;
			}
		}
	}
	return had;
}

static bool drop_page_writes(struct cpu *c, const struct phys_slot *s, u64 gpa)
{
	return s && drop_writes(c, (u64)(uintptr_t)(s->hva + ((gpa & PAGE_MASK) - s->gpa)), false);
}

void mmu_switch_space(struct cpu *c, struct phys *to)
{
	if (c->phys == to)
		return;
	/* What it holds was taken from the map of before. */
	cpu_direct_changed(c, DIRECT_MAP, DIRECT_ALL);
	c->phys = to;
	mmu_flush_all(c);
}

bool mmu_drop_writes(struct cpu *c, u64 gpa)
{
	return drop_page_writes(c, phys_find(c->phys, gpa & PAGE_MASK), gpa);
}

/* The page became code while it could still be written here: whoever translated it
 * may have read bytes that have changed since. */
void mmu_drop_code_writes(struct cpu *c, u32 as, u64 gpa)
{
	struct phys *p = c->phys->as == as ? c->phys : c->phys->twin;
	const struct phys_slot *s = phys_find(p, gpa & PAGE_MASK);

	/* Also if it is in no write TLB any more: it may have been there when the bytes were read,
	 * and have gone since (MOV CR3) with a store made in between. */
	drop_page_writes(c, s, gpa);
	if (s)
		phys_code_written(p, s, gpa & PAGE_MASK, PAGE_SIZE, c->index);
}

void mmu_drop_all_writes(struct cpu *c)
{
	drop_writes(c, 0, true);
}

u32 mmu_code_page(struct cpu *c, u64 gpa, const u8 *host, u32 put)
{
	const struct phys_slot *s;
	u32 serial;

	if (put) {
		phys_code_put(c->phys, gpa, host, put);
		return 0;
	}
	/* Counted first: from here on no fill installs a write entry again. */
	serial = phys_code_get(c->phys, gpa, c->index);
	s = phys_find(c->phys, gpa & PAGE_MASK);
	if (drop_page_writes(c, s, gpa))
		phys_code_written(c->phys, s, gpa & PAGE_MASK, PAGE_SIZE, c->index);
	return serial;
}

/* *c is zeroed, or has been through here before. */
void mmu_tlb_init(struct cpu *c)
{
	for (u32 l2 = 0; l2 < 2; l2++) {
		drop_used(c, l2, false);
		drop_used(c, l2, true);
		drop_windows(c, l2);
		forget_large(&c->mmu[l2]);
		drop_pwc(c, l2);
	}
	npt_forget(c);
	tlb2_init(c);
	for (u32 a = 0; a < TLB_ARRAYS; a++)
		tlb_array_init(array(c, a));
}
