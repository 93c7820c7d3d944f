/* SPDX-License-Identifier: MIT */
/*
 * tests/unit/test_npt.c - translation of a nested guest: walks through nested tables
 * (APM2 15.25), EXITINFO1 of every nested page fault, and what L2's TLB keeps (15.16).
 */
/* Run: build/tests/unit/test_npt [NAME...] */
#include "rig.h"
#include "mmu/nested.h"

#define GVA 0x40403000ull	/* distinct indexes on every level */
#define DATA 0x5000ull		/* L2-physical page that GVA maps to */
#define AT 0x800000ull		/* L1-physical page behind it: of any size up to 4 MiB */
#define TABLES_END 0x400000ull
#define OTHER 0x9000ull

static struct mmu_nested nested;
static enum paging host;	/* of the nested tables */

/* Entry for gpa in the nested tables. */
static void *npt_entry(u64 gpa, int level, u64 upper)
{
	u64 cr3 = rig.c->cr3;
	void *e;

	rig.c->cr3 = nested.ncr3;
	e = rig_entry(host, gpa, level, upper);
	rig.c->cr3 = cr3;
	return e;
}

static u64 npt_pte(u64 gpa, int level)
{
	u64 v = 0;

	memcpy(&v, npt_entry(gpa, level, P | W | U), host == PG_32 ? 4 : 8);
	return v;
}

static void npt_map(u64 gpa, int level, u64 upper, u64 leaf)
{
	memcpy(npt_entry(gpa, level, upper), &leaf, host == PG_32 ? 4 : 8);
}

/* Forget what L2's TLB and walk caches hold, as L1 asks for it. */
static void reenter(u8 tlb_ctl)
{
	nested.tlb_ctl = tlb_ctl;
	mmu_leave_guest(rig.c);
	mmu_enter_guest(rig.c, &nested);
	nested.tlb_ctl = 0;
}

static void host_mode(enum paging pg, bool nx)
{
	host = pg;
	nested.host_cr0 = CR0_PE | CR0_PG;
	nested.host_cr4 = (pg >= PG_PAE ? CR4_PAE : 0) | CR4_PSE | (pg == PG_LA57 ? CR4_LA57 : 0);
	nested.host_efer = (pg >= PG_LONG ? EFER_LME | EFER_LMA : 0) | (nx ? EFER_NX : 0);
}

/*
 * L2 with `guest` paging and empty tables, on nested tables of `pg`: identity for L2's page
 * tables, DATA at AT. Not entered yet.
 */
static void setup(enum paging pg, enum paging guest)
{
	if (rig.c->in_l2)
		mmu_leave_guest(rig.c);
	rig.next_table = TABLES;
	nested = (struct mmu_nested){ .np = true, .asid = 1 };
	host_mode(pg, pg != PG_32);
	nested.ncr3 = rig_table();
	if (pg == PG_PAE)
		for (int i = 0; i < 4; i++)
			*(u64 *)(rig.ram + nested.ncr3 + i * 8) = rig_table() | P;
	for (u64 a = TABLES; a < TABLES_END; a += 4096)
		npt_map(a, 0, P | W | U | A, a | P | W | U | A | D);
	npt_map(DATA, 0, P | W | U | A, AT | P | W | U);
	rig_paging(guest);
}

static void enter(void)
{
	nested.tlb_ctl = TLB_CTL_ASID;
	mmu_enter_guest(rig.c, &nested);
	nested.tlb_ctl = 0;
}

static void map_gva(void)
{
	rig_page(PG_LONG, GVA, 0, P | W | U | A, DATA | P | W | U);
}

/* EXITINFO1 of the nested fault an access takes; 0: it succeeds; ~error: #PF. */
static u64 npf(u64 gva, enum mem_access acc, enum mmu_idx idx, u64 gpa)
{
	struct mmu_walk w;

	if (mmu_translate(rig.c, gva, acc, idx, &w) == CPU_OK)
		return 0;
	if (rig.c->fault.vector == EXC_PF) {
		assert_int_equal(rig.c->fault.payload, gva);
		return ~(u64)rig.c->fault.error;
	}
	assert_int_equal(rig.c->fault.vector, EXC_NPF);
	assert_int_equal(rig.c->fault.payload, gpa);
	return rig.c->fault.info;
}

/* -- EXITINFO1 (APM2 15.25.6) -- */

static const struct npf_row {
	u64 upper, leaf;
	bool nx;
	enum mem_access acc;
	u32 want;	/* 0: no fault */
} npf_rows[] = {
	/* not present */
	{ P | W | U, 0, true, MEM_R, PF_U },
	{ P | W | U, 0, true, MEM_W, PF_U | PF_W },
	{ P | W | U, 0, true, MEM_X, PF_U | PF_I },
	{ P | W | U, 0, false, MEM_X, PF_U },
	{ 0, 0, true, MEM_R, PF_U },
	/* supervisor entries: every nested access is a user's */
	{ P | W | U, P | W, true, MEM_R, PF_P | PF_U },
	{ P | W, P | W | U, true, MEM_R, PF_P | PF_U },
	{ P | W, P | W | U, true, MEM_W, PF_P | PF_U | PF_W },
	/* read-only */
	{ P | W | U, P | U, true, MEM_R, 0 },
	{ P | W | U, P | U, true, MEM_W, PF_P | PF_U | PF_W },
	{ P | U, P | W | U, true, MEM_W, PF_P | PF_U | PF_W },
	{ P | U, P | W | U, true, MEM_X, 0 },
	/* no execute, and what the bit is without EFER.NXE of L1 */
	{ P | W | U, P | W | U | NX, true, MEM_X, PF_P | PF_U | PF_I },
	{ P | W | U | NX, P | W | U, true, MEM_X, PF_P | PF_U | PF_I },
	{ P | W | U, P | W | U | NX, true, MEM_W, 0 },
	{ P | W | U, P | W | U | NX, false, MEM_R, PF_P | PF_U | PF_RSVD },
	{ P | W | U | NX, P | W | U, false, MEM_W, PF_P | PF_U | PF_W | PF_RSVD },
	{ P | W | U, P | W | U, true, MEM_W, 0 },
};

T(npf_error_of_final_access)
{
	static const enum paging hosts[] = { PG_LA57, PG_LONG, PG_PAE, PG_32 };

	for (u32 h = 0; h < ARRAY_SIZE(hosts); h++)
		for (int level = 0; level < 2; level++)
			for (u32 i = 0; i < ARRAY_SIZE(npf_rows); i++) {
				const struct npf_row *t = &npf_rows[i];
				bool wide = hosts[h] != PG_32;
				/* under upper entries that nothing else uses */
				u64 base = hosts[h] >= PG_LONG ? BIT64(39) : 0x800000;
				u64 gpa = base + 0x123, want = t->want, leaf = t->leaf;

				/* no rights above the page directory; no NX */
				if ((hosts[h] <= PG_PAE && level && t->upper != (P | W | U)) ||
				    (!wide && ((t->upper | t->leaf) & NX)))
					continue;
				setup(hosts[h], PG_LONG);
				host_mode(host, wide && t->nx);
				if (!wide && t->acc == MEM_X)
					want &= ~(u64)PF_I;
				if (leaf & P)
					leaf |= (level ? PS : 0) | AT;
				npt_map(base, level, t->upper, leaf);
				rig_page(PG_LONG, GVA, 0, P | W | U | A, base | P | W | U);
				enter();
				for (int again = 0; again < 2; again++) {
					u64 got = npf(GVA + 0x123, t->acc, MMU_KERNEL, gpa);

					if (got != (want ? want | NPF_FINAL : 0))
						fail_msg("host %u level %d row %u: %#lx", h, level,
							 i, (long)got);
				}
			}
}

/* "Host table walks for guest page tables are always treated as data writes." */
T(npf_error_of_table_access_is_a_write)
{
	static const enum mem_access acc[] = { MEM_R, MEM_W, MEM_X };
	static const struct {
		u64 leaf;
		u64 want;
	} t[] = {
		{ 0, PF_U | PF_W },
		{ P | U, PF_P | PF_U | PF_W },
		{ P | W, PF_P | PF_U | PF_W },
		{ P | W | U | NX, 0 },
		{ P | W | U | BIT64(45), PF_P | PF_U | PF_W | PF_RSVD },
	};

	for (u32 i = 0; i < ARRAY_SIZE(t); i++)
		for (u32 a = 0; a < ARRAY_SIZE(acc); a++)
			for (int level = 0; level < 4; level++) {
				u64 entry, page;

				setup(PG_LONG, PG_LONG);
				map_gva();
				entry = (u64)((u8 *)rig_entry(PG_LONG, GVA, level, 0) - rig.ram);
				page = entry & ~0xfffull;
				npt_map(page, 0, P | W | U, t[i].leaf ? page | t[i].leaf : 0);
				enter();
				assert_int_equal(npf(GVA, acc[a], MMU_USER, entry),
						 t[i].want ? t[i].want | NPF_TABLE : 0);
			}
}

T(npf_reserved_bits_by_level_and_mode)
{
	static const struct {
		enum paging pg;
		int level;
		u64 bits;
		bool rsvd;
	} t[] = {
		{ PG_LONG, 0, BIT64(39), false },
		{ PG_LONG, 0, BIT64(40), true },
		{ PG_LONG, 0, BIT64(51), true },
		{ PG_LONG, 0, BIT64(52), false },
		{ PG_LONG, 1, PS | BIT64(13), true },
		{ PG_LONG, 1, PS | BIT64(20), true },
		{ PG_LONG, 1, PS | BIT64(12), false },
		{ PG_LONG, 2, PS | BIT64(29), true },
		{ PG_LONG, 2, PS, false },
		{ PG_LONG, 3, PS, true },
		{ PG_LONG, 3, G, true },
		{ PG_LA57, 4, PS, true },
		{ PG_LA57, 4, G, true },
		{ PG_LA57, 3, PS, true },
		{ PG_LA57, 2, PS, false },
		{ PG_LA57, 1, PS | BIT64(14), true },
		{ PG_PAE, 0, BIT64(40), true },
		{ PG_PAE, 0, BIT64(52), true },
		{ PG_PAE, 1, PS | BIT64(13), true },
		{ PG_PAE, 1, PS, false },
		{ PG_32, 1, PS | BIT64(21), true },
		{ PG_32, 1, PS | BIT64(20), false },
	};
	u64 gpa;

	for (u32 i = 0; i < ARRAY_SIZE(t); i++) {
		/* under upper entries that nothing else uses */
		gpa = BIT64(t[i].level == 4 ? 48 : t[i].level == 3 ? 39 : 30);
		rig.c->maxphyaddr = t[i].level == 4 ? 52 : 40;
		setup(t[i].pg, PG_LONG);
		rig_page(PG_LONG, GVA, 0, P | W | U | A, gpa | P | W | U);
		npt_map(gpa, t[i].level, P | W | U, P | W | U | t[i].bits);
		enter();
		if (npf(GVA, MEM_R, MMU_KERNEL, gpa) !=
		    (t[i].rsvd ? NPF_FINAL | PF_P | PF_U | PF_RSVD : 0))
			fail_msg("row %u", i);
	}
	gpa = BIT64(30);
	setup(PG_LONG, PG_LONG);
	rig_page(PG_LONG, GVA, 0, P | W | U | A, gpa | P | W | U);
	npt_map(gpa, 2, P | W | U, P | W | U | PS);
	rig.c->has_1g_pages = 0;
	enter();
	assert_int_equal(npf(GVA, MEM_R, MMU_KERNEL, gpa), NPF_FINAL | PF_P | PF_U | PF_RSVD);
}

/* L1 without PAE or long mode has 32-bit nested addresses, 4-level tables have 48. */
T(npf_beyond_the_reach_of_the_tables)
{
	static const struct {
		enum paging pg;
		u64 gpa;
	} t[] = { { PG_32, BIT64(32) }, { PG_PAE, BIT64(32) }, { PG_LONG, BIT64(48) } };

	for (u32 i = 0; i < ARRAY_SIZE(t); i++) {
		u64 gpa = t[i].gpa | DATA;

		rig.c->maxphyaddr = 52;
		setup(t[i].pg, PG_LONG);
		rig_page(PG_LONG, GVA, 0, P | W | U | A, gpa | P | W | U);
		enter();
		assert_int_equal(npf(GVA, MEM_R, MMU_KERNEL, gpa), NPF_FINAL | PF_U);
	}
}

/* -- both dimensions -- */

T(every_host_mode_carries_every_guest_mode)
{
	static const enum paging modes[] = { PG_NONE, PG_32, PG_PAE, PG_LONG, PG_LA57 };
	u64 v = 0x1122334455667788, b;

	for (u32 h = 1; h < ARRAY_SIZE(modes); h++)
		for (u32 g = 0; g < ARRAY_SIZE(modes); g++)
			for (int hl = 0; hl < 2; hl++)
				for (int gl = 0; gl < (g ? 3 : 1); gl++) {
					enum paging guest = modes[g];
					u64 gva = guest == PG_NONE ? 0xc05008 : 0x40c05008;
					u64 at;

					if (gl == 2 && guest < PG_LONG)
						continue;
					setup(modes[h], guest);
					/* DATA lies in [12M, 16M) of L2, in [8M, 12M) of L1 */
					if (guest != PG_NONE)
						rig_page(guest, gva, gl, P | W | U,
							 P | W | (gl ? PS : 0) |
								 (gl == 2 ? 0
								  : gl	  ? 0xc00000
									  : 0xc05000));
					if (hl)
						npt_map(0xc00000, 1, P | W | U,
							AT | P | W | U | PS);
					else
						npt_map(0xc05000, 0, P | W | U,
							(AT + 0x5000) | P | W | U);
					enter();
					at = AT + 0x5000 + (gva & 0xfff);
					memcpy(rig.ram + at, &v, 8);
					b = 0;
					if (mmu_mem_read(rig.c, gva, &b, 8, MMU_KERNEL) || b != v)
						fail_msg("host %u/%d guest %u/%d", h, hl, g, gl);
					b = ~v;
					assert_int_equal(
						mmu_mem_write(rig.c, gva, &b, 8, MMU_KERNEL),
						CPU_OK);
					assert_memory_equal(rig.ram + at, &b, 8);
					mmu_peek(rig.c, gva, &b);
					assert_int_equal(b, at);
				}
}

T(accessed_and_dirty_in_both_tables)
{
	struct mmu_walk w;
	u64 leaf_page;

	setup(PG_LONG, PG_LONG);
	map_gva();
	leaf_page = (u64)((u8 *)rig_entry(PG_LONG, GVA, 0, 0) - rig.ram) & ~0xfffull;
	npt_map(leaf_page, 0, P | W | U, leaf_page | P | W | U);
	enter();
	assert_int_equal(mmu_translate(rig.c, GVA, MEM_R, MMU_USER, &w), CPU_OK);
	assert_int_equal(w.gpa, AT);
	assert_false(w.writable);	/* D is clear in the guest's and in the nested entry */
	assert_int_equal(rig_pte(PG_LONG, GVA, 0) & (A | D), A);
	assert_int_equal(npt_pte(DATA, 0) & (A | D), A);
	/* the guest's table was written as far as the nested tables can tell */
	assert_int_equal(npt_pte(leaf_page, 0) & (A | D), A | D);
	assert_int_equal(mmu_translate(rig.c, GVA, MEM_W, MMU_USER, &w), CPU_OK);
	assert_true(w.writable);
	assert_int_equal(rig_pte(PG_LONG, GVA, 0) & (A | D), A | D);
	assert_int_equal(npt_pte(DATA, 0) & (A | D), A | D);
	/* D of the guest alone does not make a page writable */
	npt_map(DATA, 0, P | W | U | A, AT | P | U | A);
	reenter(TLB_CTL_ASID);
	assert_int_equal(mmu_translate(rig.c, GVA, MEM_R, MMU_USER, &w), CPU_OK);
	assert_false(w.writable);
}

/* APM2 15.25.5: the guest's own fault comes before that of its final address. */
T(guest_fault_before_final_npf)
{
	setup(PG_LONG, PG_LONG);
	rig_page(PG_LONG, GVA, 0, P | W | U | A, DATA | P | U);
	npt_map(DATA, 0, P | W | U, 0);
	enter();
	assert_int_equal(npf(GVA, MEM_W, MMU_USER, 0), ~(u64)(PF_P | PF_W | PF_U));
	assert_int_equal(npf(GVA, MEM_R, MMU_USER, DATA), NPF_FINAL | PF_U);
}

/* APM2 15.25.10: with nested paging PDPTEs are not held in the CPU. */
T(pae_pdptes_are_read_when_walked)
{
	u64 *pdpte;

	setup(PG_LONG, PG_PAE);
	rig_page(PG_PAE, GVA, 0, P | W | U, DATA | P | W | U);
	pdpte = (u64 *)(rig.ram + rig.c->cr3) + (GVA >> 30);
	enter();
	assert_int_equal(npf(GVA, MEM_R, MMU_USER, 0), 0);
	*pdpte |= BIT64(5);
	reenter(TLB_CTL_ASID);
	assert_int_equal(mmu_load_pdptes(rig.c, rig.c->cr3), CPU_OK);
	assert_int_equal(npf(GVA, MEM_R, MMU_USER, 0), ~(u64)(PF_P | PF_U | PF_RSVD));
	*pdpte = 0;
	reenter(TLB_CTL_ASID);
	assert_int_equal(npf(GVA, MEM_R, MMU_USER, 0), ~(u64)PF_U);
	npt_map(rig.c->cr3, 0, P | W | U, rig.c->cr3 | P | U);
	reenter(TLB_CTL_ASID);
	assert_int_equal(npf(GVA, MEM_R, MMU_USER, rig.c->cr3 + (GVA >> 30) * 8),
			 NPF_TABLE | PF_P | PF_W | PF_U);
}

T(without_nested_paging_l2_walks_l1_space)
{
	struct mmu_walk w;

	setup(PG_LONG, PG_LONG);
	map_gva();
	nested.np = false;
	enter();
	assert_int_equal(mmu_translate(rig.c, GVA, MEM_W, MMU_USER, &w), CPU_OK);
	assert_int_equal(w.gpa, DATA);
}

/* -- what VMRUN, #VMEXIT and flushes keep -- */

static bool cached(u64 gva, u32 idx, bool write)
{
	u32 slot = (u32)(gva >> 12) & (TLB_SIZE - 1);
	struct tlb_entry *e = write ? &rig.c->tlb[idx].w[slot] : &rig.c->tlb[idx].r[slot];

	return e->tag == (gva & ~0xfffull);
}

#define GLOBAL_GVA (GVA + 0x4000)

static void fill_both(void)
{
	u64 v;

	assert_int_equal(mmu_mem_read(rig.c, GVA, &v, 8, MMU_KERNEL), CPU_OK);
	assert_int_equal(mmu_mem_read(rig.c, GLOBAL_GVA, &v, 8, MMU_KERNEL), CPU_OK);
}

/* L1 and L2 share their page tables (addresses, not meaning): DATA is at DATA for L1. */
static void setup_tlb(void)
{
	setup(PG_LONG, PG_LONG);
	map_gva();
	rig_page(PG_LONG, GLOBAL_GVA, 0, P | W | U | A, DATA | P | W | U | G);
	fill_both();
	enter();
	fill_both();
}

static void assert_cached(bool l1, bool l2, bool l2_global)
{
	assert_int_equal(cached(GVA, MMU_KERNEL, false), l1);
	assert_int_equal(cached(GVA, MMU_L2 + MMU_KERNEL, false), l2);
	assert_int_equal(cached(GLOBAL_GVA, MMU_L2 + MMU_KERNEL, false), l2_global);
}

T(vmrun_and_vmexit_flush_nothing)
{
	u64 v = 1, b;

	setup_tlb();
	rig.itlb_flushes = 0;
	assert_cached(true, true, true);
	mmu_leave_guest(rig.c);
	assert_cached(true, true, true);
	mmu_enter_guest(rig.c, &nested);
	assert_cached(true, true, true);
	assert_int_equal(rig.itlb_flushes, 0);
	/* and they do not answer for each other */
	memcpy(rig.ram + AT, &v, 8);
	v = 2;
	memcpy(rig.ram + DATA, &v, 8);
	mmu_mem_read(rig.c, GVA, &b, 8, MMU_KERNEL);
	assert_int_equal(b, 1);
	mmu_leave_guest(rig.c);
	mmu_mem_read(rig.c, GVA, &b, 8, MMU_KERNEL);
	assert_int_equal(b, 2);
}

T(tlb_control)
{
	static const struct {
		u8 ctl;
		bool l1, l2, l2_global;
	} t[] = {
		{ 0, true, true, true },  { 1, false, false, false }, { 3, true, false, false },
		{ 7, true, false, true }, { 2, false, false, false }, { 0xff, false, false, false },
	};

	for (u32 i = 0; i < ARRAY_SIZE(t); i++) {
		setup_tlb();
		reenter(t[i].ctl);
		assert_cached(t[i].l1, t[i].l2, t[i].l2_global);
	}
}

T(another_guest_finds_an_empty_tlb)
{
	setup_tlb();
	nested.asid = 2;
	reenter(0);
	assert_cached(true, false, false);
	setup_tlb();
	nested.ncr3 += 0x1000;
	reenter(0);
	assert_cached(true, false, false);
	setup_tlb();
	nested.np = false;
	reenter(0);
	assert_cached(true, false, false);
	setup_tlb();
	nested.host_efer &= ~EFER_NX;
	reenter(0);
	assert_cached(true, false, false);
}

/* L1 wrote another CR3 or CR4 into the VMCB and did not ask for a flush. */
T(changed_registers_of_l2)
{
	setup_tlb();
	mmu_leave_guest(rig.c);
	rig.c->cr3 += 0x1000;
	mmu_enter_guest(rig.c, &nested);
	assert_cached(true, false, true);
	setup_tlb();
	mmu_leave_guest(rig.c);
	rig.c->cr4 |= CR4_SMAP;
	mmu_enter_guest(rig.c, &nested);
	assert_cached(true, false, false);
	/* what L2 itself loads while it runs is no change */
	setup_tlb();
	rig.c->cr3 |= 8;
	mmu_flush(rig.c, false);
	assert_cached(true, false, true);
	fill_both();
	mmu_leave_guest(rig.c);
	mmu_enter_guest(rig.c, &nested);
	assert_cached(true, true, true);
}

T(flushes_act_on_the_mode_they_run_in)
{
	setup_tlb();
	mmu_flush(rig.c, true);
	assert_cached(true, false, false);
	setup_tlb();
	mmu_invlpg(rig.c, GVA);
	assert_cached(true, false, true);
	setup_tlb();
	mmu_leave_guest(rig.c);
	mmu_invlpg(rig.c, GVA);
	assert_cached(false, true, true);
	mmu_flush(rig.c, true);
	assert_cached(false, true, true);
	mmu_flush_all(rig.c);
	assert_cached(false, false, false);
}

T(invlpga_names_an_asid)
{
	setup_tlb();
	mmu_leave_guest(rig.c);
	mmu_invlpga(rig.c, GVA, 5);
	assert_cached(true, true, true);
	mmu_invlpga(rig.c, GVA, 1);
	assert_cached(true, false, true);
	mmu_invlpga(rig.c, GVA, 0);
	assert_cached(false, false, true);
}

/* L1 makes a page read-only, or moves it, and asks for a flush: nothing remembers. */
T(nested_walk_cache_is_flushed)
{
	struct mmu_walk w;

	setup_tlb();
	npt_map(DATA, 0, P | W | U | A, OTHER | P | U);
	reenter(TLB_CTL_ASID);
	assert_int_equal(mmu_translate(rig.c, GVA, MEM_R, MMU_USER, &w), CPU_OK);
	assert_int_equal(w.gpa, OTHER);
	assert_int_equal(npf(GVA, MEM_W, MMU_USER, DATA), NPF_FINAL | PF_P | PF_W | PF_U);
}

T(read_only_nested_page_is_not_in_the_write_tlb)
{
	setup(PG_LONG, PG_LONG);
	rig_page(PG_LONG, GVA, 0, P | W | U | A, DATA | P | W | U | A | D);
	npt_map(DATA, 0, P | W | U, AT | P | U);
	enter();
	assert_int_equal(mmu_tlb_fill(rig.c, GVA, MEM_R, MMU_KERNEL), CPU_OK);
	assert_true(cached(GVA, MMU_L2 + MMU_KERNEL, false));
	assert_false(cached(GVA, MMU_L2 + MMU_KERNEL, true));
	assert_int_equal(mmu_tlb_fill(rig.c, GVA, MEM_W, MMU_KERNEL), CPU_FAULT);
	assert_int_equal(rig.c->fault.vector, EXC_NPF);
}

T(dirty_log_and_code_reach_both_tlbs)
{
	setup_tlb();
	npt_map(DATA, 0, P | W | U | A, DATA | P | W | U | A | D);	/* same page as L1's */
	reenter(TLB_CTL_ASID);
	mmu_tlb_fill(rig.c, GVA, MEM_W, MMU_KERNEL);
	mmu_leave_guest(rig.c);
	mmu_tlb_fill(rig.c, GVA, MEM_W, MMU_KERNEL);
	assert_true(cached(GVA, MMU_KERNEL, true) && cached(GVA, MMU_L2 + MMU_KERNEL, true));
	assert_true(mmu_drop_writes(rig.c, DATA));
	assert_false(cached(GVA, MMU_KERNEL, true) || cached(GVA, MMU_L2 + MMU_KERNEL, true));
	/* a write of L2 is in the log under its L1-physical address */
	rig_log_dirty();
	mmu_enter_guest(rig.c, &nested);
	mmu_tlb_fill(rig.c, GVA, MEM_W, MMU_KERNEL);
	assert_true(rig_is_dirty(DATA));
}

T(mmio_of_l1_through_nested_tables)
{
	u32 v = 0;

	setup(PG_LONG, PG_LONG);
	map_gva();
	assert_int_equal(mmu_mem_read(rig.c, GVA, &v, 4, MMU_KERNEL), CPU_OK);
	npt_map(DATA, 0, P | W | U, MMIO_GPA | P | W | U);
	enter();
	for (int again = 0; again < 2; again++) {
		assert_int_equal(mmu_mem_read(rig.c, GVA + 8, &v, 4, MMU_KERNEL), CPU_OK);
		assert_int_equal(rig.mmio_gpa[again], MMIO_GPA + 8);
	}
	/* the same address of L1 is memory still */
	mmu_leave_guest(rig.c);
	assert_int_equal(mmu_mem_read(rig.c, GVA + 8, &v, 4, MMU_KERNEL), CPU_OK);
	assert_int_equal(rig.mmio_reads, 2);
	mmu_enter_guest(rig.c, &nested);
	npt_map(DATA, 0, P | W | U, AT | P | W | U);
	reenter(TLB_CTL_ASID);
	assert_int_equal(mmu_mem_read(rig.c, GVA + 8, &v, 4, MMU_KERNEL), CPU_OK);
	assert_int_equal(rig.mmio_reads, 2);
}

T(watchpoints_stand_in_both_modes)
{
	u64 addr[4] = { GVA }, v;

	setup_tlb();
	mmu_set_watch(rig.c, addr, 2 | 3u << 16);
	assert_cached(false, false, false);
	mmu_mem_read(rig.c, GVA, &v, 1, MMU_KERNEL);
	assert_int_equal(rig.c->watch_hit, 1);
	assert_false(cached(GVA, MMU_L2 + MMU_KERNEL, false));
}

T(la57_addresses)
{
	struct mmu_walk w;

	rig_paging(PG_LA57);
	rig_page(PG_LA57, BIT64(55) | GVA, 0, P | W | U, DATA | P | W | U);
	assert_int_equal(mmu_translate(rig.c, BIT64(55) | GVA, MEM_R, MMU_USER, &w), CPU_OK);
	assert_int_equal(w.gpa, DATA);
	assert_fault(mmu_translate(rig.c, BIT64(56), MEM_R, MMU_USER, &w), EXC_GP, 0);
	assert_fault(mmu_translate(rig.c, 0x1ffull << 55, MEM_R, MMU_KERNEL, &w), EXC_PF, 0);
	rig_page(PG_LA57, GVA, 4, P | W | U, P | PS);
	assert_fault(mmu_translate(rig.c, GVA, MEM_R, MMU_KERNEL, &w), EXC_PF, PF_P | PF_RSVD);
}

T_EACH(rig_setup, rig_teardown);
