/* SPDX-License-Identifier: MIT */
/* tests/unit/test_mmu.c - page walks, the software TLB, linear access. */
/* Run: build/tests/unit/test_mmu [NAME...] */
#include "rig.h"

#define OK 0xffffffffu
#define GVA 0x40403000ull	/* distinct indexes on every level */
#define PAGE 0x5000ull

/* What an access gives: OK or the #PF error code. */
static u32 probe(u64 gva, enum mem_access acc, enum mmu_idx idx)
{
	struct mmu_walk w;
	int r = mmu_translate(rig.c, gva, acc, idx, &w);

	if (r == CPU_OK)
		return OK;
	assert_int_equal(rig.c->fault.vector, EXC_PF);
	assert_int_equal(rig.c->fault.payload, gva);
	return rig.c->fault.error;
}

enum { WP = 1, SMEP = 2, SMAP = 4, NXE = 8 };

static const struct rights_row {
	u64 upper, leaf;
	u32 controls;
	enum mem_access acc;
	enum mmu_idx idx;
	u32 want;
} rights[] = {
	/* not present, at either level */
	{ P | W | U, 0, WP, MEM_R, MMU_KERNEL, 0 },
	{ P | W | U, W | U, WP, MEM_W, MMU_USER, PF_W | PF_U },
	{ 0, 0, WP | NXE, MEM_X, MMU_USER, PF_U | PF_I },
	{ 0, 0, WP, MEM_X, MMU_KERNEL, 0 },
	{ 0, 0, WP | SMEP, MEM_X, MMU_KERNEL, PF_I },
	/* user and supervisor */
	{ P | W | U, P | W | U, WP, MEM_R, MMU_USER, OK },
	{ P | W | U, P | W | U, WP, MEM_W, MMU_USER, OK },
	{ P | W | U, P | W | U, WP, MEM_X, MMU_USER, OK },
	{ P | W | U, P | W, WP, MEM_R, MMU_USER, PF_P | PF_U },
	{ P | W, P | W | U, WP, MEM_R, MMU_USER, PF_P | PF_U },
	{ P | W, P | W | U, WP, MEM_W, MMU_USER, PF_P | PF_U | PF_W },
	{ P | W, P | W | U, WP, MEM_W, MMU_KERNEL, OK },
	{ P | W | U, P | W, WP | NXE, MEM_X, MMU_USER, PF_P | PF_U | PF_I },
	/* write protection */
	{ P | W | U, P | U, WP, MEM_W, MMU_USER, PF_P | PF_U | PF_W },
	{ P | W | U, P | U, 0, MEM_W, MMU_USER, PF_P | PF_U | PF_W },
	{ P | W | U, P | U, WP, MEM_W, MMU_KERNEL, PF_P | PF_W },
	{ P | W | U, P | U, 0, MEM_W, MMU_KERNEL, OK },
	{ P | U, P | W | U, WP, MEM_W, MMU_KERNEL, PF_P | PF_W },
	{ P | U, P | W | U, 0, MEM_W, MMU_KERNEL, OK },
	{ P | U, P | U, WP, MEM_R, MMU_USER, OK },
	/* no-execute */
	{ P | W | U, P | W | U | NX, WP | NXE, MEM_X, MMU_USER, PF_P | PF_U | PF_I },
	{ P | W | U, P | W | U | NX, WP | NXE, MEM_X, MMU_KERNEL, PF_P | PF_I },
	{ P | W | U | NX, P | W | U, WP | NXE, MEM_X, MMU_KERNEL, PF_P | PF_I },
	{ P | W | U, P | W | U | NX, WP | NXE, MEM_W, MMU_USER, OK },
	{ P | W | U, P | W | U | NX, WP, MEM_R, MMU_KERNEL, PF_P | PF_RSVD },
	{ P | W | U | NX, P | W | U, WP, MEM_W, MMU_USER, PF_P | PF_RSVD | PF_W | PF_U },
	/* SMEP */
	{ P | W | U, P | W | U, WP | SMEP, MEM_X, MMU_KERNEL, PF_P | PF_I },
	{ P | W | U, P | W | U, WP | SMEP, MEM_X, MMU_USER, OK },
	{ P | W | U, P | W, WP | SMEP, MEM_X, MMU_KERNEL, OK },
	{ P | W, P | W | U, WP | SMEP, MEM_X, MMU_KERNEL, OK },
	/* SMAP, overridden by EFLAGS.AC */
	{ P | W | U, P | W | U, WP | SMAP, MEM_R, MMU_KERNEL, PF_P },
	{ P | W | U, P | W | U, WP | SMAP, MEM_W, MMU_KERNEL, PF_P | PF_W },
	{ P | W | U, P | W | U, SMAP, MEM_W, MMU_KERNEL, PF_P | PF_W },
	{ P | W | U, P | W | U, WP | SMAP, MEM_R, MMU_KERNEL_AC, OK },
	{ P | W | U, P | W | U, WP | SMAP, MEM_W, MMU_KERNEL_AC, OK },
	{ P | W | U, P | W | U, WP | SMAP, MEM_R, MMU_USER, OK },
	{ P | W | U, P | W | U, WP | SMAP, MEM_X, MMU_KERNEL, OK },
	{ P | W | U, P | W, WP | SMAP, MEM_R, MMU_KERNEL, OK },
};

static const struct format {
	enum paging pg;
	int level;
} formats[] = {
	{ PG_32, 0 },	{ PG_32, 1 },	{ PG_PAE, 0 },	{ PG_PAE, 1 },
	{ PG_LONG, 0 }, { PG_LONG, 1 }, { PG_LONG, 2 },
};

T(rights)
{
	struct cpu *c = rig.c;

	for (u32 f = 0; f < ARRAY_SIZE(formats); f++) {
		for (u32 i = 0; i < ARRAY_SIZE(rights); i++) {
			const struct rights_row *t = &rights[i];
			enum paging pg = formats[f].pg;
			bool wide = pg != PG_32;
			/* PAE has no rights above its page directory. */
			bool lone = pg != PG_LONG && formats[f].level == 1;
			u64 leaf = t->leaf;
			u32 want = t->want, got;

			if ((!wide && ((t->upper | t->leaf) & NX || t->controls & NXE)) ||
			    (lone && t->upper != (P | W | U)))
				continue;
			rig.next_table = TABLES;
			rig_paging(pg);
			c->cr0 = CR0_PE | CR0_PG | (t->controls & WP ? CR0_WP : 0);
			c->cr4 |= (t->controls & SMEP ? CR4_SMEP : 0) |
				  (t->controls & SMAP ? CR4_SMAP : 0);
			c->efer = (c->efer & ~EFER_NX) | (t->controls & NXE ? EFER_NX : 0);
			if (leaf & P)
				leaf |= formats[f].level ? PS : PAGE;
			rig_page(pg, GVA, formats[f].level, t->upper, leaf);
			/* twice: by a full walk and by the walk cache */
			for (int again = 0; again < 2; again++) {
				got = probe(GVA, t->acc, t->idx);
				if (got != want)
					print_error("format %u row %u try %d\n", f, i, again);
				assert_int_equal(got, want);
			}
		}
	}
}

#define KEY(n) ((u64)(n) << 59)
#define AD(n) (1u << 2 * (n))
#define WD(n) (2u << 2 * (n))

T(keys)
{
	static const struct {
		u64 leaf;
		u32 pkru, cr0;
		enum mem_access acc;
		enum mmu_idx idx;
		u32 want;
	} t[] = {
		{ P | W | U | KEY(5), 0, CR0_WP, MEM_W, MMU_USER, OK },
		{ P | W | U | KEY(5), ~(AD(5) | WD(5)), CR0_WP, MEM_W, MMU_USER, OK },
		{ P | W | U | KEY(5), AD(5), CR0_WP, MEM_R, MMU_USER, PF_P | PF_U | PF_PK },
		{ P | W | U | KEY(5), AD(5), CR0_WP, MEM_X, MMU_USER, OK },
		{ P | W | U | KEY(5), AD(5), CR0_WP, MEM_R, MMU_KERNEL, PF_P | PF_PK },
		{ P | W | U | KEY(15), AD(15), 0, MEM_W, MMU_KERNEL, PF_P | PF_W | PF_PK },
		{ P | W | U | KEY(5), WD(5), CR0_WP, MEM_R, MMU_USER, OK },
		{ P | W | U | KEY(5), WD(5), CR0_WP, MEM_W, MMU_USER, PF_P | PF_U | PF_W | PF_PK },
		{ P | W | U | KEY(5), WD(5), 0, MEM_W, MMU_USER, PF_P | PF_U | PF_W | PF_PK },
		{ P | W | U | KEY(5), WD(5), CR0_WP, MEM_W, MMU_KERNEL, PF_P | PF_W | PF_PK },
		{ P | W | U | KEY(5), WD(5), 0, MEM_W, MMU_KERNEL, OK },
		/* key 0 is one like others; supervisor pages have none; the page's own rights */
		{ P | W | U, AD(0), CR0_WP, MEM_R, MMU_USER, PF_P | PF_U | PF_PK },
		{ P | W | KEY(5), AD(5), CR0_WP, MEM_W, MMU_KERNEL, OK },
		{ P | W | KEY(5), AD(5), CR0_WP, MEM_R, MMU_USER, PF_P | PF_U },
		{ P | U | KEY(5), WD(5), CR0_WP, MEM_W, MMU_USER, PF_P | PF_U | PF_W | PF_PK },
		{ P | U | KEY(5), 0, CR0_WP, MEM_W, MMU_USER, PF_P | PF_U | PF_W },
		{ W | U | KEY(5), AD(5), CR0_WP, MEM_R, MMU_USER, PF_U },
	};
	struct cpu *c = rig.c;
	struct mmu_walk w;

	for (u32 level = 0; level < 3; level++)
		for (u32 i = 0; i < ARRAY_SIZE(t); i++) {
			u64 leaf = t[i].leaf;

			if (leaf & P)
				leaf |= level ? PS : PAGE;
			rig.next_table = TABLES;
			rig_paging(PG_LONG);
			c->cr0 = CR0_PE | CR0_PG | t[i].cr0;
			c->cr4 |= CR4_PKE;
			c->pkru = t[i].pkru;
			rig_page(PG_LONG, GVA, (int)level, P | W | U, leaf);
			for (int again = 0; again < 2; again++)
				if (probe(GVA, t[i].acc, t[i].idx) != t[i].want)
					fail_msg("level %u row %u try %d", level, i, again);
			/* What a read may say about writes; without CR4.PKE keys are nothing. */
			if (t[i].acc == MEM_R && t[i].want == OK && level == 0) {
				assert_int_equal(mmu_translate(c, GVA, MEM_W, t[i].idx, &w),
						 t[i].pkru & WD(5) ? CPU_FAULT : CPU_OK);
			}
			c->cr4 &= ~CR4_PKE;
			if (t[i].want & PF_PK && !(t[i].acc == MEM_W && !(t[i].leaf & W)))
				assert_int_equal(probe(GVA, t[i].acc, t[i].idx), OK);
		}
	c->pkru = 0;
}

T(reserved_bits)
{
	static const struct {
		enum paging pg;
		int level;
		u64 leaf;
		bool rsvd;
	} t[] = {
		{ PG_LONG, 0, BIT64(39), false },
		{ PG_LONG, 0, BIT64(40), true },
		{ PG_LONG, 0, BIT64(51), true },
		{ PG_LONG, 0, BIT64(52), false },
		{ PG_LONG, 0, BIT64(62), false },
		{ PG_LONG, 0, PS, false },
		{ PG_LONG, 1, PS | BIT64(13), true },
		{ PG_LONG, 1, PS | BIT64(20), true },
		{ PG_LONG, 1, PS | BIT64(12), false },
		{ PG_LONG, 1, PS | BIT64(21), false },
		{ PG_LONG, 2, PS | BIT64(29), true },
		{ PG_LONG, 2, PS | BIT64(30), false },
		{ PG_LONG, 3, PS, true },
		{ PG_LONG, 3, G, true },
		{ PG_PAE, 0, BIT64(40), true },
		{ PG_PAE, 0, BIT64(52), true },
		{ PG_PAE, 0, BIT64(62), true },
		{ PG_PAE, 1, PS | BIT64(13), true },
		{ PG_32, 1, PS | BIT64(21), true },
		{ PG_32, 1, PS | BIT64(20), false },
		{ PG_32, 1, PS | BIT64(13), false },
	};

	for (u32 i = 0; i < ARRAY_SIZE(t); i++) {
		u32 want = t[i].rsvd ? PF_P | PF_RSVD : OK;

		rig.next_table = TABLES;
		rig_paging(t[i].pg);
		rig_page(t[i].pg, GVA, t[i].level, P | W | U, t[i].leaf | P | W);
		if (probe(GVA, MEM_R, MMU_KERNEL) != want)
			fail_msg("row %u", i);
	}
	rig_paging(PG_LONG);
	rig.c->has_1g_pages = 0;
	rig_page(PG_LONG, GVA, 2, P | W | U, PS | P | W);
	assert_int_equal(probe(GVA, MEM_R, MMU_KERNEL), PF_P | PF_RSVD);
}

T(physical_address)
{
	struct mmu_walk w;

	rig_paging(PG_32);
	rig_page(PG_32, GVA, 1, 0, P | W | PS | 0xc00000 | 0x5 << 13);
	assert_int_equal(mmu_translate(rig.c, GVA + 0x123, MEM_R, MMU_KERNEL, &w), CPU_OK);
	assert_int_equal(w.gpa, 0x500c03123);
	assert_int_equal(w.page_size, 4 << 20);
	rig_paging(PG_LONG);
	rig_page(PG_LONG, GVA, 1, P | W | U, P | W | PS | 0x600000);
	assert_int_equal(mmu_translate(rig.c, GVA + 0x123, MEM_R, MMU_KERNEL, &w), CPU_OK);
	assert_int_equal(w.gpa, 0x600000 + (GVA & 0x1fffff) + 0x123);
	u64 gpa;

	assert_true(mmu_peek(rig.c, GVA + 7, &gpa));
	assert_int_equal(gpa, 0x600000 + (GVA & 0x1fffff) + 7);
	assert_false(mmu_peek(rig.c, GVA + (1ull << 39), &gpa));
	rig_paging(PG_NONE);
	assert_int_equal(mmu_translate(rig.c, 0x1234, MEM_W, MMU_USER, &w), CPU_OK);
	assert_int_equal(w.gpa, 0x1234);
}

T(accessed_dirty)
{
	struct mmu_walk w;

	rig_paging(PG_LONG);
	rig_page(PG_LONG, GVA, 0, P | W | U, PAGE | P | U);
	/* a refused access leaves no trace */
	assert_int_equal(probe(GVA, MEM_W, MMU_USER), PF_P | PF_W | PF_U);
	for (int l = 0; l < 4; l++)
		assert_int_equal(rig_pte(PG_LONG, GVA, l) & (A | D), 0);
	assert_int_equal(probe(GVA, MEM_R, MMU_USER), OK);
	for (int l = 0; l < 4; l++)
		assert_int_equal(rig_pte(PG_LONG, GVA, l) & (A | D), A);
	rig_page(PG_LONG, GVA, 0, 0, PAGE | P | U | W);
	assert_int_equal(mmu_translate(rig.c, GVA, MEM_R, MMU_USER, &w), CPU_OK);
	assert_false(w.writable);
	assert_int_equal(mmu_translate(rig.c, GVA, MEM_W, MMU_USER, &w), CPU_OK);
	assert_true(w.writable);
	assert_int_equal(rig_pte(PG_LONG, GVA, 0) & (A | D), A | D);
	assert_int_equal(rig_pte(PG_LONG, GVA, 1) & (A | D), A);

	/* 4-byte entries keep their neighbours */
	rig_paging(PG_32);
	rig_page(PG_32, GVA, 0, P | W | U, PAGE | P | W);
	rig_page(PG_32, GVA + 4096, 0, P | W | U, 0xabcd0000);
	assert_int_equal(probe(GVA, MEM_W, MMU_KERNEL), OK);
	assert_int_equal(rig_pte(PG_32, GVA, 0), PAGE | P | W | A | D);
	assert_int_equal(rig_pte(PG_32, GVA + 4096, 0), 0xabcd0000);

	/* tables in ROM work without the bits, tables in nothing are not present */
	rig_paging(PG_LONG);
	rig_page(PG_LONG, GVA, 1, P | W | U, ROM_GPA | P | W | U);
	((u64 *)rig.rom)[GVA >> 12 & 511] = PAGE | P | W;
	assert_int_equal(probe(GVA, MEM_W, MMU_KERNEL), OK);
	assert_int_equal(((u64 *)rig.rom)[GVA >> 12 & 511], PAGE | P | W);
	mmu_flush(rig.c, true);
	rig_page(PG_LONG, GVA, 1, P | W | U, MMIO_GPA | P | W | U);
	assert_int_equal(probe(GVA, MEM_W, MMU_KERNEL), PF_W);
}

/* Upper-level rights loosened in place: no invalidation needed before a retry. */
T(walk_cache_never_faults)
{
	rig_paging(PG_LONG);
	rig_page(PG_LONG, GVA, 1, P | W | U | A, 0x200000 | P | U | A);
	((u64 *)(rig.ram + 0x200000))[GVA >> 12 & 511] = PAGE | P | W | U;
	assert_int_equal(probe(GVA, MEM_R, MMU_USER), OK);
	assert_int_equal(probe(GVA, MEM_R, MMU_USER), OK);
	assert_int_equal(probe(GVA, MEM_W, MMU_USER), PF_P | PF_W | PF_U);
	rig_page(PG_LONG, GVA, 1, 0, 0x200000 | P | W | U | A);
	assert_int_equal(probe(GVA, MEM_W, MMU_USER), OK);
}

T(canonical)
{
	struct mmu_walk w;
	u64 v;

	rig_paging(PG_LONG);
	assert_fault(mmu_translate(rig.c, 0x800000000000, MEM_R, MMU_KERNEL, &w), EXC_GP, 0);
	assert_fault(mmu_mem_read(rig.c, 0xffff7fffffffffff, &v, 1, MMU_KERNEL), EXC_GP, 0);
	assert_int_equal(probe(0xffff800000000000, MEM_R, MMU_KERNEL), 0);
}

T(pdptes)
{
	u64 *t;

	rig_paging(PG_PAE);
	t = (u64 *)(rig.ram + rig.c->cr3);
	t[3] = 0;
	assert_int_equal(mmu_load_pdptes(rig.c, rig.c->cr3), CPU_OK);
	assert_int_equal(rig.c->pdpte[3], 0);
	for (int i = 0; i < 64; i++) {
		bool rsvd = i == 1 || i == 2 || (i >= 5 && i <= 8) || i >= 40;

		t[3] = P | BIT64(i);
		if (rsvd)
			assert_fault(mmu_load_pdptes(rig.c, rig.c->cr3), EXC_GP, 0);
		else
			assert_int_equal(mmu_load_pdptes(rig.c, rig.c->cr3), CPU_OK);
	}
	t[3] = BIT64(1);	/* not present: nothing is checked */
	assert_int_equal(mmu_load_pdptes(rig.c, rig.c->cr3), CPU_OK);
}

/* -- TLB -- */

static bool cached(u64 gva, enum mmu_idx idx, bool write)
{
	u32 slot = (u32)(gva >> 12) % TLB_SIZE;
	struct tlb_entry *e = write ? &rig.c->tlb[idx].w[slot] : &rig.c->tlb[idx].r[slot];

	return e->tag == (gva & PAGE_MASK);
}

T(fill_rights)
{
	struct cpu *c = rig.c;

	rig_paging(PG_LONG);
	rig_map4k(GVA, PAGE, P | W | U);
	assert_int_equal(mmu_tlb_fill(c, GVA, MEM_R, MMU_USER), CPU_OK);
	assert_true(cached(GVA, MMU_USER, false));
	assert_false(cached(GVA, MMU_USER, true));	/* D is clear */
	assert_false(cached(GVA, MMU_KERNEL, false));
	assert_int_equal(mmu_tlb_fill(c, GVA, MEM_W, MMU_USER), CPU_OK);
	assert_true(cached(GVA, MMU_USER, true));
	/* D set: a read brings the write entry along */
	assert_int_equal(mmu_tlb_fill(c, GVA, MEM_R, MMU_KERNEL), CPU_OK);
	assert_true(cached(GVA, MMU_KERNEL, true));
	/* an empty slot is hit by nothing */
	for (u32 s = 0; s < TLB_SIZE; s++) {
		assert_int_not_equal(tlb_empty_tag(s) >> 12 & (TLB_SIZE - 1), s);
		/* Nor behind: the last byte of what begins there. */
		assert_int_not_equal(tlb_empty_tag(s) >> 12 & (TLB_SIZE - 1), (s + 1) % TLB_SIZE);
	}
	/* a fault drops the page */
	rig_map4k(GVA, PAGE, W | U);
	mmu_drop_all_writes(c);
	assert_int_equal(mmu_tlb_fill(c, GVA, MEM_W, MMU_USER), CPU_FAULT);
	assert_false(cached(GVA, MMU_USER, false));
}

/* What may not come about is looked up without a trace, and only told when there would be one. */
T(fill_tentative)
{
	struct cpu *c = rig.c;
	struct mem_ref m;

	rig_paging(PG_LONG);
	rig_map4k(GVA, PAGE, P | W | U);
	c->tentative = 1;
	assert_int_equal(mmu_tlb_fill(c, GVA, MEM_R, MMU_KERNEL), CPU_SLOW);
	assert_int_equal(mmu_tlb_fill(c, GVA, MEM_W, MMU_KERNEL), CPU_SLOW);
	assert_false(*(u64 *)rig_entry(PG_LONG, GVA, 0, 0) & (A | D));
	assert_false(cached(GVA, MMU_KERNEL, false));
	c->tentative = 0;
	assert_int_equal(mmu_tlb_fill(c, GVA, MEM_R, MMU_KERNEL), CPU_OK);
	c->tentative = 1;
	assert_int_equal(mmu_tlb_fill(c, GVA, MEM_R, MMU_KERNEL), CPU_OK);
	assert_int_equal(mmu_tlb_fill(c, GVA, MEM_W, MMU_KERNEL), CPU_SLOW);
	assert_false(*(u64 *)rig_entry(PG_LONG, GVA, 0, 0) & D);
	c->tentative = 0;
	assert_int_equal(mmu_tlb_fill(c, GVA, MEM_W, MMU_KERNEL), CPU_OK);
	c->tentative = 1;
	assert_int_equal(mmu_tlb_fill(c, GVA, MEM_W, MMU_KERNEL), CPU_OK);
	c->tentative = 0;
	/* a store whose second page faults, then one that goes through */
	rig_map4k(GVA + 0x1000, PAGE + 0x1000, P | W | U);
	rig_map4k(GVA + 0x2000, PAGE + 0x2000, 0);
	assert_fault(mmu_mem_open(c, GVA + 0x1ffc, 8, MEM_W, MMU_KERNEL, &m), EXC_PF, PF_W);
	assert_int_equal(c->fault.payload, GVA + 0x2000);
	assert_false(*(u64 *)rig_entry(PG_LONG, GVA + 0x1000, 0, 0) & D);
	rig_map4k(GVA + 0x2000, PAGE + 0x2000, P | W | U);
	assert_int_equal(mmu_mem_open(c, GVA + 0x1ffc, 8, MEM_W, MMU_KERNEL, &m), CPU_OK);
	assert_ptr_equal(mem_place(&m, true), rig.ram + PAGE + 0x1ffc);
	assert_true(*(u64 *)rig_entry(PG_LONG, GVA + 0x1000, 0, 0) & D);
	assert_true(*(u64 *)rig_entry(PG_LONG, GVA + 0x2000, 0, 0) & D);
	/* memory that is apart is in no place */
	rig_map4k(GVA + 0x3000, PAGE, P | W | U);
	assert_int_equal(mmu_mem_open(c, GVA + 0x2ffc, 8, MEM_W, MMU_KERNEL, &m), CPU_OK);
	assert_null(mem_place(&m, true));
	assert_int_equal(m.n, 2);
}

T(fill_indirect)
{
	struct cpu *c = rig.c;

	rig_paging(PG_LONG);
	rig_map4k(GVA, MMIO_GPA, P | W | D);
	rig_map4k(GVA + 0x1000, ROM_GPA, P | W | D);
	rig_map4k(GVA + 0x2000, PAGE, P | W | D);
	assert_int_equal(mmu_tlb_fill(c, GVA, MEM_R, MMU_KERNEL), CPU_SLOW);
	assert_int_equal(mmu_tlb_fill(c, GVA + 0x1000, MEM_R, MMU_KERNEL), CPU_OK);
	assert_false(cached(GVA + 0x1000, MMU_KERNEL, true));
	assert_int_equal(mmu_tlb_fill(c, GVA + 0x1000, MEM_W, MMU_KERNEL), CPU_SLOW);
	/* code: readable, not writable; what was cached goes away */
	assert_int_equal(mmu_tlb_fill(c, GVA + 0x2000, MEM_W, MMU_KERNEL), CPU_OK);
	mmu_code_page(c, PAGE, NULL, 0);
	assert_false(cached(GVA + 0x2000, MMU_KERNEL, true));
	assert_true(cached(GVA + 0x2000, MMU_KERNEL, false));
	assert_int_equal(mmu_tlb_fill(c, GVA + 0x2000, MEM_W, MMU_KERNEL), CPU_SLOW);
	mmu_code_page(c, PAGE, NULL, MEMORY_SERIAL);
	assert_int_equal(mmu_tlb_fill(c, GVA + 0x2000, MEM_W, MMU_KERNEL), CPU_OK);
}

T(flush)
{
	struct cpu *c = rig.c;

	rig_paging(PG_LONG);
	for (u32 i = 0; i < 64; i++)
		rig_map4k(GVA + i * 4096, PAGE, P | W | U | D | (i & 1 ? G : 0));
	for (u32 i = 0; i < 64; i++)
		mmu_tlb_fill(c, GVA + i * 4096, MEM_W, MMU_KERNEL);
	rig.itlb_flushes = rig.itlb_global = 0;
	mmu_flush(c, false);
	assert_int_equal(rig.itlb_flushes, 1);
	assert_int_equal(rig.itlb_global, 0);
	for (u32 i = 0; i < 64; i++)
		assert_int_equal(cached(GVA + i * 4096, MMU_KERNEL, true), i & 1);
	mmu_flush(c, true);
	for (u32 i = 0; i < 64; i++)
		assert_false(cached(GVA + i * 4096, MMU_KERNEL, false));
	/* without CR4.PGE nothing is global */
	c->cr4 &= ~CR4_PGE;
	mmu_tlb_fill(c, GVA + 4096, MEM_W, MMU_KERNEL);
	mmu_flush(c, false);
	assert_false(cached(GVA + 4096, MMU_KERNEL, false));
}

T(invlpg)
{
	struct cpu *c = rig.c;
	u64 big = 0x40000000;

	rig_paging(PG_LONG);
	rig_page(PG_LONG, big, 1, P | W | U | A, 0x200000 | PS | P | W | D);
	rig_page(PG_LONG, big + 0x200000, 1, P | W | U | A, 0x400000 | PS | P | W | D);
	rig_map4k(GVA, PAGE, P | W | D);
	rig_map4k(GVA + 4096, PAGE, P | W | D);
	mmu_tlb_fill(c, GVA, MEM_W, MMU_KERNEL);
	mmu_tlb_fill(c, GVA + 4096, MEM_W, MMU_KERNEL);
	mmu_tlb_fill(c, big + 0x1000, MEM_W, MMU_KERNEL);
	mmu_tlb_fill(c, big + 0x5000, MEM_R, MMU_USER);
	mmu_tlb_fill(c, big + 0x5000, MEM_R, MMU_KERNEL_AC);
	mmu_tlb_fill(c, big + 0x200000, MEM_R, MMU_KERNEL);
	mmu_invlpg(c, GVA + 123);
	assert_false(cached(GVA, MMU_KERNEL, true));
	assert_true(cached(GVA + 4096, MMU_KERNEL, true));
	assert_true(cached(big + 0x1000, MMU_KERNEL, true));
	/* any address in a large page drops all of it */
	mmu_invlpg(c, big + 0x100000);
	assert_false(cached(big + 0x1000, MMU_KERNEL, true));
	assert_false(cached(big + 0x5000, MMU_KERNEL_AC, false));
	assert_true(cached(big + 0x200000, MMU_KERNEL, false));
	assert_true(cached(GVA + 4096, MMU_KERNEL, true));
}

T(invlpg_code)
{
	struct cpu *c = rig.c;
	struct fetch_page fp;

	rig_paging(PG_LONG);
	rig_page(PG_LONG, 0x40000000, 1, P | W | U | A, 0x200000 | PS | P | G);
	rig_map4k(GVA, PAGE, P);
	assert_int_equal(mmu_fetch(c, GVA + 5, &fp), CPU_OK);
	assert_int_equal(fp.gpa, PAGE);
	assert_ptr_equal(fp.host, rig.ram + PAGE);
	assert_false(fp.global);
	rig.itlb_flushes = rig.itlb_pages = 0;
	mmu_invlpg(c, 0x40001000);
	assert_int_equal(rig.itlb_flushes, 0);
	assert_int_equal(rig.itlb_pages, 1);
	assert_int_equal(mmu_fetch(c, 0x40003005, &fp), CPU_OK);
	assert_int_equal(fp.gpa, 0x203000);
	assert_true(fp.global);
	mmu_invlpg(c, 0x40001000);
	assert_int_equal(rig.itlb_flushes, 1);
	mmu_invlpg(c, 0x40201000);
	assert_int_equal(rig.itlb_pages, 2);
	/* execution from nothing, and a fault */
	rig_map4k(GVA, MMIO_GPA, P);
	mmu_invlpg(c, GVA);
	assert_int_equal(mmu_fetch(c, GVA, &fp), CPU_OK);
	assert_null(fp.host);
	rig_map4k(GVA, PAGE, P | NX);
	mmu_invlpg(c, GVA);
	assert_fault(mmu_fetch(c, GVA, &fp), EXC_PF, PF_P | PF_I);
}

/* -- access -- */

T(crossing)
{
	struct cpu *c = rig.c;
	u8 b[64], want[64];

	rig_paging(PG_LONG);
	rig_map4k(GVA, 0x7000, P | W);
	rig_map4k(GVA + 4096, 0x3000, P | W);
	for (u32 i = 0; i < 64; i++)
		want[i] = (u8)(i * 7 + 1);
	for (u32 len = 1; len <= 64; len++) {
		for (u32 at = 4096 - 64; at < 4096 + 8; at += 3) {
			memset(rig.ram + 0x3000, 0, 4096);
			memset(rig.ram + 0x7000, 0, 4096);
			assert_int_equal(mmu_mem_write(c, GVA + at, want, len, MMU_KERNEL), CPU_OK);
			memset(b, 0xcc, sizeof(b));
			assert_int_equal(mmu_mem_read(c, GVA + at, b, len, MMU_KERNEL), CPU_OK);
			assert_memory_equal(b, want, len);
			for (u32 i = 0; i < len; i++)
				assert_int_equal(at + i < 4096 ? rig.ram[0x7000 + at + i]
							       : rig.ram[0x3000 + at + i - 4096],
						 want[i]);
		}
	}
	/* the second page faults: the first stays as it is, CR2 is the second's */
	memset(rig.ram + 0x3000, 0x11, 4096);
	assert_fault(mmu_mem_write(c, GVA + 8190, want, 8, MMU_KERNEL), EXC_PF, PF_W);
	assert_int_equal(c->fault.payload, GVA + 8192);
	assert_int_equal(rig.ram[0x3ffe], 0x11);
	assert_fault(mmu_mem_read(c, GVA + 8190, b, 8, MMU_USER), EXC_PF, PF_P | PF_U);
	assert_int_equal(c->fault.payload, GVA + 8190);
	assert_fault(mmu_mem_probe_w(c, GVA + 4097, 4096, MMU_KERNEL), EXC_PF, PF_W);
}

T(wrap_4g)
{
	u32 v = 0x04030201, b = 0;

	rig_paging(PG_32);
	rig_page(PG_32, 0xfffff000, 0, P | W, 0x7000 | P | W);
	rig_page(PG_32, 0, 0, P | W, 0x3000 | P | W);
	assert_int_equal(mmu_mem_write(rig.c, 0xfffffffe, &v, 4, MMU_KERNEL), CPU_OK);
	assert_int_equal(*(u16 *)(rig.ram + 0x7ffe), 0x0201);
	assert_int_equal(*(u16 *)(rig.ram + 0x3000), 0x0403);
	assert_int_equal(mmu_mem_read(rig.c, 0xfffffffe, &b, 4, MMU_KERNEL), CPU_OK);
	assert_int_equal(b, v);
}

T(mmio)
{
	struct cpu *c = rig.c;
	u8 b[32];

	rig_paging(PG_LONG);
	rig_map4k(GVA, 0x7000, P | W);
	rig_map4k(GVA + 4096, MMIO_GPA, P | W);
	assert_int_equal(mmu_mem_read(c, GVA + 4096 - 2, b, 16, MMU_KERNEL), CPU_OK);
	assert_int_equal(rig.mmio_reads, 2);	/* 14 bytes: 8 + 6 */
	assert_int_equal(rig.mmio_len[0], 8);
	assert_int_equal(rig.mmio_len[1], 6);
	assert_int_equal(rig.mmio_gpa[1], MMIO_GPA + 8);
	assert_int_equal(b[2], 0);
	assert_int_equal(b[15], 13);
	rig.mmio_result = CPU_USER;
	rig.mmio_reads = 0;
	assert_int_equal(mmu_mem_read(c, GVA + 4096, b, 16, MMU_KERNEL), CPU_USER);
	assert_int_equal(rig.mmio_reads, 1);
	/* a write queues every piece */
	rig.mmio_result = CPU_DONE;
	assert_int_equal(mmu_mem_write(c, GVA + 4096, b, 16, MMU_KERNEL), CPU_DONE);
	assert_int_equal(rig.mmio_writes, 2);
	/* a probe and a refused access do nothing to the device */
	assert_int_equal(mmu_mem_probe_w(c, GVA + 4096, 8, MMU_KERNEL), CPU_OK);
	assert_fault(mmu_mem_write(c, GVA + 8190, b, 4, MMU_KERNEL), EXC_PF, PF_W);
	assert_int_equal(rig.mmio_writes, 2);
	/* read-only slot */
	rig_map4k(GVA + 8192, ROM_GPA, P | W);
	rig.rom[3] = 0x77;
	assert_int_equal(mmu_mem_write(c, GVA + 8192 + 3, b, 1, MMU_KERNEL), CPU_DONE);
	assert_int_equal(rig.mmio_gpa[2], ROM_GPA + 3);
	assert_int_equal(mmu_mem_read(c, GVA + 8192 + 3, b, 1, MMU_KERNEL), CPU_OK);
	assert_int_equal(b[0], 0x77);
}

T(dirty_log)
{
	struct cpu *c = rig.c;
	u64 v = 1;

	rig_log_dirty();
	rig_paging(PG_LONG);
	rig_map4k(GVA, PAGE, P | W | A | D);
	assert_int_equal(mmu_mem_read(c, GVA, &v, 8, MMU_KERNEL), CPU_OK);
	assert_false(rig_is_dirty(PAGE));
	assert_false(cached(GVA, MMU_KERNEL, true));
	assert_int_equal(rig.dirtied, 0);
	assert_int_equal(mmu_mem_write(c, GVA, &v, 8, MMU_KERNEL), CPU_OK);
	assert_true(rig_is_dirty(PAGE));
	assert_true(cached(GVA, MMU_KERNEL, true));
	assert_int_equal(rig.dirtied, 1);
	/* harvested: the next write must be seen again */
	rig.dirty[0] = 0;
	mmu_drop_all_writes(c);
	assert_int_equal(mmu_mem_write(c, GVA, &v, 8, MMU_KERNEL), CPU_OK);
	assert_true(rig_is_dirty(PAGE));
	/* A and D of a table entry dirty the table */
	rig_map4k(GVA, PAGE, P | W);
	mmu_flush(c, true);
	memset((void *)rig.dirty, 0, RAM_SIZE / 4096 / 8);
	assert_int_equal(probe(GVA, MEM_R, MMU_KERNEL), OK);
	assert_true(rig_is_dirty((u64)((u8 *)rig_entry(PG_LONG, GVA, 0, 0) - rig.ram)));
}

T(code_write)
{
	struct cpu *c = rig.c;
	struct mem_ref m;
	u64 v = 1;

	rig_paging(PG_LONG);
	rig_map4k(GVA, PAGE, P | W | A | D);
	assert_int_equal(mmu_mem_write(c, GVA + 8, &v, 8, MMU_KERNEL), CPU_OK);
	assert_int_equal(rig.code_writes, 0);
	mmu_code_page(c, PAGE, NULL, 0);
	/* it could be written here until now: other readers of its bytes are told */
	assert_int_equal(rig.code_told, 1);
	assert_int_equal(mmu_mem_write(c, GVA + 8, &v, 8, MMU_KERNEL), CPU_OK);
	assert_int_equal(rig.code_writes, 1);
	assert_int_equal(rig.code_told, 2);
	assert_int_equal(rig.code_gpa, PAGE + 8);
	assert_int_equal(mmu_mem_open(c, GVA + 16, 8, MEM_W, MMU_KERNEL, &m), CPU_OK);
	assert_ptr_equal(mem_place(&m, true), rig.ram + PAGE + 16);
	mmu_mem_used(c, &m, true);
	assert_int_equal(rig.code_writes, 2);
	/* somebody outside writes */
	assert_int_equal(phys_write(&rig.phys, PAGE + 4090, &v, 8), 0);
	assert_int_equal(rig.code_told, 4);
	assert_int_equal(phys_write(&rig.phys, RAM_SIZE - 4, &v, 8), -14);
	/* counts: two holders, a page is free when both are gone; 255 stays */
	mmu_code_page(c, PAGE, NULL, 0);
	mmu_code_page(c, PAGE, NULL, MEMORY_SERIAL);
	assert_int_equal(mmu_tlb_fill(c, GVA, MEM_W, MMU_KERNEL), CPU_SLOW);
	for (int i = 0; i < 300; i++)
		phys_code_get(&rig.phys, PAGE, 0);
	for (int i = 0; i < 300; i++)
		phys_code_put(&rig.phys, PAGE, NULL, MEMORY_SERIAL);
	assert_int_equal(rig.code[PAGE / 4096], 255);
	/* what was counted elsewhere is not taken away here */
	assert_int_equal(phys_code_get(&rig.phys, PAGE + 4096, 0), MEMORY_SERIAL);
	phys_code_put(&rig.phys, PAGE + 4096, NULL, MEMORY_SERIAL + 1);
	assert_int_equal(rig.code[PAGE / 4096 + 1], 1);
}

T(watch)
{
	struct cpu *c = rig.c;
	u64 addr[4] = { GVA + 8, GVA + 0x100, 0, 0 };
	u64 v = 0;

	rig_paging(PG_LONG);
	rig_map4k(GVA, PAGE, P | W | A | D);
	rig_map4k(GVA + 4096, 0x7000, P | W | A | D);
	mmu_tlb_fill(c, GVA, MEM_W, MMU_KERNEL);
	/* 0: 8 bytes, write; 1: 1 byte, read or write */
	mmu_set_watch(c, addr, 0x2 | 0x8 | 9u << 16 | 3u << 20);
	assert_int_equal(mmu_tlb_fill(c, GVA, MEM_R, MMU_KERNEL), CPU_SLOW);
	assert_int_equal(mmu_tlb_fill(c, GVA + 4096, MEM_R, MMU_KERNEL), CPU_OK);
	mmu_mem_read(c, GVA + 8, &v, 8, MMU_KERNEL);
	mmu_mem_write(c, GVA, &v, 8, MMU_KERNEL);
	assert_int_equal(c->watch_hit, 0);
	mmu_mem_write(c, GVA + 14, &v, 4, MMU_KERNEL);
	assert_int_equal(c->watch_hit, 1);
	mmu_mem_read(c, GVA + 0xf9, &v, 8, MMU_KERNEL);
	assert_int_equal(c->watch_hit, 3);
	mmu_set_watch(c, addr, 0);
	assert_int_equal(mmu_tlb_fill(c, GVA, MEM_W, MMU_KERNEL), CPU_OK);
}

/* The second level: what has lost its slot of the first one comes back, until it is flushed. */
#define OTHER (GVA + TLB_SIZE * 4096ull)

static bool again(u64 gva, bool write, enum mmu_idx idx)
{
	bool had = cached(gva, idx, write);

	return mmu_tlb_again(rig.c, gva, (u64)idx << 1 | write) == cpu_short_cut(CPU_OK, 0) && !had;
}

T(second_level)
{
	static struct tlb2_entry table[TLB2_SIZE] __attribute__((aligned(4096)));
	struct cpu *c = rig.c;

	rig_paging(PG_LONG);
	for (u32 global = 0; global < 2; global++) {
		c->tlb2 = table;
		mmu_tlb_init(c);
		c->cr4 |= CR4_PGE;
		rig_map4k(GVA, PAGE, P | W | U | A | D | (global ? G : 0));
		rig_map4k(OTHER, 0x7000, P | U | A | (global ? G : 0));
		assert_false(again(GVA, false, MMU_USER));
		assert_int_equal(mmu_tlb_fill(c, GVA, MEM_W, MMU_USER), CPU_OK);
		/* It is there: an operand that goes on in the next page. */
		assert_false(again(GVA, true, MMU_USER));
		assert_int_equal(mmu_tlb_fill(c, OTHER, MEM_R, MMU_USER), CPU_OK);
		for (u32 k = 0; k < 3; k++) {
			assert_true(again(GVA, false, MMU_USER));
			assert_true(cached(GVA, MMU_USER, false));
			assert_true(again(OTHER, false, MMU_USER));
		}
		/* Of another privilege, and to write what may only be read. */
		assert_false(again(OTHER, true, MMU_USER));
		assert_false(again(GVA, false, MMU_KERNEL));
		assert_false(again(GVA, false, MMU_L2 + MMU_USER));
		/* The right to write goes alone. */
		mmu_drop_all_writes(c);
		assert_false(again(GVA, true, MMU_USER));
		assert_true(again(GVA, false, MMU_USER));
		/* INVLPG, with the other one in the slot of the first level; flushes. */
		assert_true(again(OTHER, false, MMU_USER));
		mmu_invlpg(c, GVA);
		assert_false(again(GVA, false, MMU_USER));
		assert_int_equal(mmu_tlb_fill(c, GVA, MEM_W, MMU_USER), CPU_OK);
		mmu_flush(c, false);
		assert_int_equal(again(OTHER, false, MMU_USER), global);
		mmu_flush(c, true);
		assert_false(again(GVA, false, MMU_USER));
		assert_false(again(OTHER, false, MMU_USER));
		/* More generations than fit. */
		assert_int_equal(mmu_tlb_fill(c, GVA, MEM_W, MMU_USER), CPU_OK);
		for (u32 k = 0; k < 5000; k++)
			mmu_flush(c, false), mmu_drop_all_writes(c);
		mmu_flush(c, true);
		for (u32 k = 0; k < 5000; k++) {
			assert_false(again(GVA, false, MMU_USER));
			assert_false(again(GVA, true, MMU_USER));
			mmu_flush(c, k & 1);
			mmu_drop_all_writes(c);
		}
	}
	c->tlb2 = NULL;
}

T_EACH(rig_setup, rig_teardown);
