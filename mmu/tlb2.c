/* SPDX-License-Identifier: MIT */
/*
 * mmu/tlb2.c - the second level of the software TLB: what has been in the first one. Translated
 * code asks for it where that misses, without being left (engine/again.c), so nothing here
 * touches guest memory. An entry is void when its generation is over, which makes flushes cheap:
 * one generation each for global mappings and others, and one for the right to write.
 */
#include "base/mem.h"
#include "mmu/mmu_priv.h"

static struct tlb2_entry *at(const struct cpu *c, u64 gva)
{
	return &c->tlb2[(gva >> PAGE_SHIFT) % TLB2_SIZE];	/* as in engine/again.c */
}

/* The page of the table that it stands in. */
static u32 table_page(u64 gva)
{
	return (u32)(gva >> PAGE_SHIFT) % TLB2_SIZE / (u32)(PAGE_SIZE / sizeof(struct tlb2_entry));
}

/* What has been written to is zeroed: pages of the table, one bit each. */
static void wipe(struct cpu *c)
{
	for (u32 w = 0; w < ARRAY_SIZE(c->tlb2_used); w++) {
		for (u64 left = c->tlb2_used[w]; left; left &= left - 1)
			cpu_zero((u8 *)c->tlb2 + (w * 64 + (u32)__builtin_ctzll(left)) * PAGE_SIZE,
				 PAGE_SIZE);
		c->tlb2_used[w] = 0;
	}
	c->tlb2_gen[0] = c->tlb2_gen[1] = c->tlb2_wgen = 1;
}

void tlb2_init(struct cpu *c)
{
	if (c->tlb2)
		wipe(c);
}

void tlb2_flush(struct cpu *c, bool global)
{
	if (!c->tlb2)
		return;
	c->tlb2_gen[0]++;
	c->tlb2_gen[1] += global;
	if (c->tlb2_gen[0] > T2_GEN_MAX || c->tlb2_gen[1] > T2_GEN_MAX)
		wipe(c);
}

void tlb2_drop_writes(struct cpu *c)
{
	if (c->tlb2 && ++c->tlb2_wgen > T2_WRITE_MAX)
		wipe(c);
}

void tlb2_drop_page(struct cpu *c, u64 gva)
{
	u32 page = table_page(gva);

	/* Whatever is there: to look would wait for the cache. What it becomes is no page of the
	 * slot's. */
	if (c->tlb2_used[page / 64] & BIT64(page % 64))
		at(c, gva)->tag = ~gva;
}

void tlb2_put(struct cpu *c, enum mmu_idx idx, bool write, u64 gva, u64 host, bool global,
	      bool large)
{
	struct tlb2_entry *e;
	u32 page;

	if (!c->tlb2 || idx >= MMU_L2)
		return;
	e = at(c, gva);
	e->tag = (gva & PAGE_MASK) | idx | (global ? T2_GLOBAL : 0) | (large ? T2_LARGE : 0) |
		 (write ? c->tlb2_wgen << T2_WRITE_SHIFT : 0);
	e->host = host | c->tlb2_gen[global];
	page = table_page(gva);
	c->tlb2_used[page / 64] |= BIT64(page % 64);
}

bool tlb2_take(struct cpu *c, u64 gva, bool write, enum mmu_idx idx)
{
	const struct tlb2_entry *e;
	bool global;

	if (!c->tlb2 || idx >= MMU_L2)
		return false;
	e = at(c, gva);
	global = e->tag & T2_GLOBAL;
	if (((e->tag ^ gva) & PAGE_MASK) || (e->tag & T2_IDX) != idx ||
	    (e->host & ~PAGE_MASK) != c->tlb2_gen[global] ||
	    (write && (e->tag & ~PAGE_MASK) >> T2_WRITE_SHIFT != c->tlb2_wgen))
		return false;
	tlb_put(c, idx, write, gva, e->host & PAGE_MASK, global, e->tag & T2_LARGE);
	return true;
}

u64 mmu_tlb_again(struct cpu *c, u64 gva, u64 what)
{
	enum mmu_idx idx = (enum mmu_idx)(what >> 1);
	bool write = what & 1;
	const struct tlb *t = &c->tlb[idx];
	u32 slot = (u32)(gva >> PAGE_SHIFT) % TLB_SIZE;

	/* It is there: the operand goes on into the next page. */
	if ((write ? t->w : t->r)[slot].tag == (gva & PAGE_MASK) || !tlb2_take(c, gva, write, idx))
		return cpu_short_cut(CPU_SLOW, 0);
	return cpu_short_cut(CPU_OK, 0);
}
