/* SPDX-License-Identifier: MIT */
/*
 * mmu/access.c - from a linear address to memory: TLB fill, writes to pages that hold translated
 * code, watchpoints.
 */
#include "engine/engine.h"
#include "mmu/mmu_priv.h"

/* The same bytes at other guest-physical addresses of one address space. Within a page. */
static void wrote_aliases(struct cpu *c, const struct phys *p, const struct phys_slot *s, u64 gpa,
			  u32 len)
{
	const struct phys_map *m = atomic_load_explicit(&p->map, memory_order_acquire);
	const u8 *host = s->hva + (gpa - s->gpa);

	phys_for_each_slot(m, t) if (t->code_serial == s->code_serial && host >= t->hva &&
				     (u64)(host - t->hva) < t->size &&
				     t->gpa + (u64)(host - t->hva) != gpa)
	{
		engine_code_written(c, t->gpa + (u64)(host - t->hva), len);
		cpu_direct_changed(c, DIRECT_CODE, t->gpa + (u64)(host - t->hva));
	}
}

void mmu_wrote(struct cpu *c, const struct phys_slot *s, u64 gpa, u32 len)
{
	engine_code_written(c, gpa, len);
	cpu_direct_changed(c, DIRECT_CODE, gpa);
	if (unlikely(s->flags & PHYS_ALIASED)) {
		wrote_aliases(c, c->phys, s, gpa, len);
		if (c->phys->twin)
			wrote_aliases(c, c->phys->twin, s, gpa, len);
	}
	phys_code_written(c->phys, s, gpa, len, c->index);
}

/* -- data watchpoints (APM2 13.1.4) -- */

void mmu_set_watch(struct cpu *c, const u64 addr[4], u32 dr7)
{
	u32 live = 0;

	for (u32 i = 0; i < 4; i++) {
		u32 rw = dr7 >> (16 + 4 * i) & 3;

		c->watch_addr[i] = addr[i];
		if ((dr7 >> (2 * i) & 3) && (rw & 1))
			live |= (3u << (2 * i)) | (dr7 & (15u << (16 + 4 * i)));
	}
	if (live || c->watch_dr7)
		mmu_flush_all(c);
	c->watch_dr7 = live;
}

/* DR6 bits of the watchpoints that [gva, gva + len) touches. */
static u32 watch_match(const struct cpu *c, u64 gva, u32 len, bool write, bool any)
{
	static const u8 size[] = { 1, 2, 8, 4 };
	u32 hit = 0;

	for (u32 i = 0; i < 4; i++) {
		u32 n = size[c->watch_dr7 >> (18 + 4 * i) & 3];
		u64 a = c->watch_addr[i] & ~(u64)(n - 1);

		if (!(c->watch_dr7 >> (2 * i) & 3))
			continue;
		if (!any && !write && (c->watch_dr7 >> (16 + 4 * i) & 3) == 1)
			continue;
		if (gva < a + n && a < gva + len)
			hit |= BIT(i);
	}
	return hit;
}

void mmu_watch_hit(struct cpu *c, u64 gva, u32 len, bool write)
{
	c->watch_hit |= watch_match(c, gva, len, write, false);
}

/* -- resolution -- */

enum cpu_result mmu_resolve(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx,
			    struct mmu_target *t)
{
	const struct phys_slot *s;
	struct mmu_walk w;
	struct mmu_io_entry *io = &c->io_tlb[(gva >> PAGE_SHIFT) % IO_TLB_SIZE];
	u8 *page;
	bool write;
	enum cpu_result r;

	idx = cpu_idx_here(c, idx);
	if (io->tag == ((gva & PAGE_MASK) | acc) && io->idx == idx) {
		*t = (struct mmu_target){ .gpa = io->gpa + (gva & ~PAGE_MASK),
					  .page_size = PAGE_SIZE };
		return CPU_OK;
	}
	r = mmu_translate(c, gva, acc, idx, &w);
	if (unlikely(r))
		return r;
	s = mmu_slot(c, w.gpa, HINT_DATA);
	*t = (struct mmu_target){
		.gpa = w.gpa, .slot = s, .global = w.global, .page_size = w.page_size,
	};
	if (unlikely(c->tentative) &&
	    (c->unmarked || (acc == MEM_W && s && phys_is_clean(s, w.gpa))))
		return CPU_OK;
	if (unlikely(!s)) {
		if (acc != MEM_X)
			*io = (struct mmu_io_entry){ .tag = (gva & PAGE_MASK) | acc,
						     .gpa = w.gpa & PAGE_MASK, .idx = (u8)idx };
		return CPU_OK;
	}
	if (acc == MEM_W) {
		if (unlikely(s->flags & PHYS_READONLY))
			return CPU_OK;
		phys_mark_dirty(c->phys, s, w.gpa);
	}
	t->host = s->hva + (w.gpa - s->gpa);
	if (acc == MEM_X)
		return CPU_OK;
	if (unlikely(c->watch_dr7 && watch_match(c, gva & PAGE_MASK, PAGE_SIZE, true, true)))
		return CPU_OK;
	/* A write entry needs D and the dirty bit set and no code on the page; a read
	 * may bring it along when all of that holds already. */
	if (phys_is_code(s, w.gpa))
		write = false;
	else if (acc == MEM_W)
		write = true;
	else
		write = w.writable && !(s->flags & PHYS_READONLY) && !s->dirty;
	page = t->host - (gva & ~PAGE_MASK);
	t->direct = acc == MEM_R || write;
	tlb_install(c, idx, false, gva, page, &w);
	if (write)
		tlb_install(c, idx, true, gva, page, &w);
	tlb2_put(c, idx, write, gva, (u64)(uintptr_t)page, w.global, w.page_size > PAGE_SIZE);
	return CPU_OK;
}

enum cpu_result mmu_tlb_fill(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx)
{
	struct mmu_target t;
	enum cpu_result r;

	c->unmarked = 0;
	if (c->tlb2 && !((c->tlb2[(gva >> PAGE_SHIFT) % TLB2_SIZE].tag ^ gva) & PAGE_MASK) &&
	    tlb2_take(c, gva, acc == MEM_W, cpu_idx_here(c, idx)))
		return CPU_OK;
	r = mmu_resolve(c, gva, acc, idx, &t);
	if (r)
		return r;
	return t.direct ? CPU_OK : CPU_SLOW;
}

/* Extend the range in which INVLPG must drop all execute translations. */
static void note_large_code(struct cpu *c, u64 gva, u64 size)
{
	struct mmu_ctx *m = &c->mmu[c->in_l2];
	u32 h = gva >> 63;
	u64 mask = m->xmask[h] & ~(size - 1);

	if (m->xbase[h] == 1)
		m->xbase[h] = gva;
	while ((m->xbase[h] ^ gva) & mask)
		mask <<= 1;
	m->xmask[h] = mask;
	m->xbase[h] &= mask;
}

enum cpu_result mmu_fetch(struct cpu *c, u64 gva, struct fetch_page *out)
{
	struct mmu_target t;
	enum cpu_result r = mmu_resolve(c, gva, MEM_X, cpu_mmu_idx(c), &t);

	if (r)
		return r;
	if (t.page_size > PAGE_SIZE)
		note_large_code(c, gva, t.page_size);
	*out = (struct fetch_page){
		.gpa = t.gpa & PAGE_MASK,
		.host = t.host ? t.host - (gva & ~PAGE_MASK) : NULL,
		.global = t.global,
	};
	return CPU_OK;
}
