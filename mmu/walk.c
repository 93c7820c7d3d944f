/* SPDX-License-Identifier: MIT */
/*
 * mmu/walk.c - page walks of every paging mode (APM2 5.2, 5.3): rights, reserved
 * bits, error codes (APM2 8.4.2), accessed and dirty bits.
 *
 * The walkers are made twice, the second time for L2 under nested paging: there every
 * table is found, and the result is, through the nested tables (mmu/nested.c).
 */
#include "engine/engine.h"
#include "mmu/mmu_priv.h"

#define INLINE static inline __attribute__((always_inline))

static inline bool la57(const struct cpu *c)
{
	return c->cr4 & CR4_LA57;
}

static bool canonical(const struct cpu *c, u64 a)
{
	u32 n = la57(c) ? 7 : 16;

	return (u64)((s64)(a << n) >> n) == a;
}

static inline bool nested_paging(const struct cpu *c)
{
	return c->in_l2 && c->l2.np;
}

static enum cpu_result page_fault(struct cpu *c, u64 gva, u32 error, enum mem_access acc,
				  enum mmu_idx idx)
{
	if (acc == MEM_W)
		error |= PF_W;
	if (idx % MMU_L2 == MMU_USER)
		error |= PF_U;
	if (acc == MEM_X && (((c->cr4 & CR4_PAE) && (c->efer & EFER_NX)) || (c->cr4 & CR4_SMEP)))
		error |= PF_I;
	/* A fault drops what was cached for the page, so that a guest which only
	 * loosens an entry need not invalidate (APM2 5.5.2). */
	tlb_drop_page(c, gva);
	c->fault = (struct cpu_fault){
		.vector = EXC_PF, .has_error = true, .error = error, .payload = gva,
	};
	return CPU_FAULT;
}

/* rights: W and U of all levels and-ed, NX or-ed (APM2 5.6). */
static inline bool allowed(const struct cpu *c, enum mem_access acc, enum mmu_idx idx, u64 rights)
{
	bool user = rights & PTE_U;

	idx %= MMU_L2;
	if (idx == MMU_USER) {
		if (!user)
			return false;
		if (acc == MEM_W)
			return rights & PTE_W;
		return acc != MEM_X || !(rights & PTE_NX);
	}
	if (acc == MEM_X)
		return !(rights & PTE_NX) && !(user && (c->cr4 & CR4_SMEP));
	if (user && idx == MMU_KERNEL && (c->cr4 & CR4_SMAP))
		return false;
	return acc != MEM_W || (rights & PTE_W) || !(c->cr0 & CR0_WP);
}

/* Protection keys (APM2 5.6.7): data of user pages in long mode, whoever asks. The leaf has the
 * key. */
static inline bool key_denies(const struct cpu *c, enum mem_access acc, enum mmu_idx idx, u64 leaf,
			      u64 rights)
{
	u32 own;

	if (likely(!(c->cr4 & CR4_PKE)) || !(c->efer & EFER_LMA) || !(rights & PTE_U) ||
	    acc == MEM_X)
		return false;
	own = c->pkru >> (2 * (leaf >> 59 & 15));
	return (own & PKRU_AD) ||
	       (acc == MEM_W && (own & PKRU_WD) && (idx % MMU_L2 == MMU_USER || (c->cr0 & CR0_WP)));
}

/* Reserved bits that do not depend on the level. */
static inline u64 reserved_high(const struct cpu *c, bool pae)
{
	u64 r = BIT64(52) - BIT64(c->maxphyaddr < 52 ? c->maxphyaddr : 52);

	if (pae)
		r |= GENMASK64(62, 52);
	if (!(c->efer & EFER_NX))
		r |= PTE_NX;
	return r;
}

bool pte_set_bits(struct cpu *c, struct step *s, u32 size, u32 bits)
{
	if (!s->slot)
		s->slot = mmu_slot(c, s->gpa, HINT_TABLE);
	/* Tables in ROM: the write has no effect, the walk goes on. */
	if (!s->slot || (s->slot->flags & PHYS_READONLY))
		return true;
	if (unlikely(c->tentative)) {
		c->unmarked = 1;
		return true;
	}
	if (size == 4) {
		u32 old = (u32)s->pte;

		if (!__atomic_compare_exchange_n((u32 *)s->p, &old, old | bits, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			return false;
	} else {
		u64 old = s->pte;

		if (!__atomic_compare_exchange_n((u64 *)s->p, &old, old | bits, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			return false;
	}
	s->pte |= bits;
	phys_mark_dirty(c->phys, s->slot, s->gpa);
	if (unlikely(phys_is_code(s->slot, s->gpa)))
		mmu_wrote(c, s->slot, s->gpa, size);
	return true;
}

/* Find the entry at gpa and read it. Under nested paging an access to a guest's table
 * counts as a write whatever it is for (APM2 15.25.6, EXITINFO1 bit 1). */
INLINE enum walk_status step_to(struct cpu *c, struct step *s, u64 gpa, u32 size, bool nested)
{
	if (nested) {
		struct npt_result n;
		enum walk_status r = npt_walk(c, gpa, MEM_W, NPF_TABLE, &n);

		if (unlikely(r))
			return r;
		gpa = n.gpa;
	}
	s->slot = mmu_slot(c, gpa, HINT_TABLE);
	s->gpa = gpa;
	s->pte = 0;
	if (unlikely(!s->slot))
		return WALK_FAULT;
	s->p = s->slot->hva + (gpa - s->slot->gpa);
	s->pte = pte_load(s->p, size);
	return s->pte & PTE_P ? WALK_OK : WALK_FAULT;
}

/* Leaf found: check rights, set A/D on the path, fill in the result. `top` is the
 * first of the path's entries that may lack A; path[level] is the leaf. */
static inline enum walk_status finish(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx,
				      struct step *path, int level, int top, u64 rights, u64 addr,
				      u32 shift, u32 size, struct mmu_walk *w, u32 *error)
{
	struct step *leaf = &path[level];
	u32 want = PTE_A;

	bool denied = key_denies(c, acc, idx, leaf->pte, rights);

	if (unlikely(denied || !allowed(c, acc, idx, rights))) {
		*error = PF_P | (denied ? PF_PK : 0);
		return WALK_FAULT;
	}
	for (int i = top; i > level; i--)
		if (unlikely(!(path[i].pte & PTE_A)) && !pte_set_bits(c, &path[i], size, PTE_A))
			return WALK_AGAIN;
	if (acc == MEM_W)
		want |= PTE_D;
	if (unlikely((leaf->pte & want) != want) && !pte_set_bits(c, leaf, size, want))
		return WALK_AGAIN;
	w->page_size = BIT64(shift);
	w->gpa = addr | (gva & (BIT64(shift) - 1));
	w->global = (leaf->pte & PTE_G) && (c->cr4 & CR4_PGE);
	w->user = rights & PTE_U;
	/* D unset only when it could not be set (ROM). */
	w->writable = ((leaf->pte & PTE_D) || acc == MEM_W) && allowed(c, MEM_W, idx, rights) &&
		      !key_denies(c, MEM_W, idx, leaf->pte, rights);
	return WALK_OK;
}

/* PAE from its page directory (top 1) and long mode (top 3 or 4). */
INLINE enum walk_status walk_wide(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx,
				  u64 table, int top, bool pae, bool nested, struct mmu_walk *w,
				  u32 *error)
{
	struct mmu_pwc *pwc = &c->mmu[nested || c->in_l2].pwc[(gva >> 21) % PWC_SIZE];
	struct step path[5];
	u64 high = reserved_high(c, pae);
	u64 rights = PTE_RIGHTS;
	bool all_accessed = true;

	if (likely(pwc->tag == gva >> 21)) {
		u32 i = (u32)(gva >> 12) & 511;

		path[0].p = pwc->table + i;
		path[0].pte = pte_load(path[0].p, 8);
		path[0].gpa = pwc->gpa + i * 8;
		path[0].slot = NULL;
		rights = (path[0].pte & pwc->rights & PTE_RIGHTS) |
			 ((path[0].pte | pwc->rights) & PTE_NX);
		if (likely((path[0].pte & PTE_P) && !(path[0].pte & high)) &&
		    finish(c, gva, acc, idx, path, 0, 0, rights, path[0].pte & PTE_ADDR, 12, 8, w,
			   error) == WALK_OK)
			return WALK_OK;
		/* Cached rights may be out of date: only a full walk may fault. */
		pwc->tag = ~0ull;
		rights = PTE_RIGHTS;
	}
	for (int level = top;; level--) {
		u32 shift = 12 + 9 * (u32)level;
		struct step *s = &path[level];
		u64 rsvd = high;
		enum walk_status r = step_to(c, s, table + ((gva >> shift) & 511) * 8, 8, nested);

		if (level == 0 && all_accessed && s->slot && r != WALK_NPF)
			*pwc = (struct mmu_pwc){
				.tag = gva >> 21, .rights = rights, .gpa = s->gpa & PAGE_MASK,
				.table = (u64 *)((uintptr_t)s->p & PAGE_MASK),
			};
		if (r) {
			*error = 0;
			return r;
		}
		if (level >= 3)
			rsvd |= PTE_PS | PTE_G;
		else if (level == 2 && !c->has_1g_pages)
			rsvd |= PTE_PS;
		else if (level && (s->pte & PTE_PS))
			rsvd |= (BIT64(shift) - 1) & ~0x1fffull;
		if (unlikely(s->pte & rsvd)) {
			*error = PF_P | PF_RSVD;
			return WALK_FAULT;
		}
		rights = (rights & s->pte & PTE_RIGHTS) | ((rights | s->pte) & PTE_NX);
		if (level == 0 || (level < 3 && (s->pte & PTE_PS))) {
			return finish(c, gva, acc, idx, path, level, top, rights,
				      s->pte & PTE_ADDR & ~(BIT64(shift) - 1), shift, 8, w, error);
		}
		if (!(s->pte & PTE_A))
			all_accessed = false;
		table = s->pte & PTE_ADDR;
	}
}

/* 32-bit paging without PAE; 4 MiB pages with up to 40 bits (APM2 5.2.2). */
INLINE enum walk_status walk_narrow(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx,
				    bool nested, struct mmu_walk *w, u32 *error)
{
	struct step path[2];
	enum walk_status r;
	u64 rights;

	*error = 0;
	r = step_to(c, &path[1], (c->cr3 & 0xfffff000) + (gva >> 22 & 1023) * 4, 4, nested);
	if (r)
		return r;
	rights = path[1].pte & PTE_RIGHTS;
	if ((path[1].pte & PTE_PS) && (c->cr4 & CR4_PSE)) {
		u64 e = path[1].pte;
		u32 m = c->maxphyaddr < 40 ? c->maxphyaddr : 40;
		u64 rsvd = BIT64(22) - BIT64(m < 32 ? 13 : m - 19);

		if (e & rsvd) {
			*error = PF_P | PF_RSVD;
			return WALK_FAULT;
		}
		return finish(c, gva, acc, idx, path, 1, 1, rights,
			      (e & 0xffc00000) | (e >> 13 & 0xff) << 32, 22, 4, w, error);
	}
	r = step_to(c, &path[0], (path[1].pte & 0xfffff000) + (gva >> 12 & 1023) * 4, 4, nested);
	if (r)
		return r;
	rights &= path[0].pte;
	return finish(c, gva, acc, idx, path, 0, 1, rights, path[0].pte & 0xfffff000, 12, 4, w,
		      error);
}

/* MBZ in a PDPTE: 2:1, 8:5, everything above the physical width (APM2 5.2.3). */
static u64 pdpte_reserved(const struct cpu *c)
{
	return GENMASK64(2, 1) | GENMASK64(8, 5) |
	       ~(BIT64(c->maxphyaddr < 52 ? c->maxphyaddr : 52) - 1);
}

INLINE enum walk_status walk_pae(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx,
				 bool nested, struct mmu_walk *w, u32 *error)
{
	u64 pdpte = c->pdpte[gva >> 30 & 3];

	if (nested) { /* not held in the CPU (APM2 15.25.10) */
		struct step s;
		enum walk_status r =
			step_to(c, &s, (c->cr3 & 0xffffffe0) + (gva >> 30 & 3) * 8, 8, true);

		*error = 0;
		if (r)
			return r;
		pdpte = s.pte;
		if (unlikely(pdpte & pdpte_reserved(c))) {
			*error = PF_P | PF_RSVD;
			return WALK_FAULT;
		}
	}
	/* Reserved bits were checked when CR3 was loaded. */
	if (!(pdpte & PTE_P)) {
		*error = 0;
		return WALK_FAULT;
	}
	return walk_wide(c, gva, acc, idx, pdpte & PTE_ADDR, 1, true, nested, w, error);
}

INLINE enum walk_status walk(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx,
			     bool nested, struct mmu_walk *w, u32 *error)
{
	if (c->efer & EFER_LMA)
		return walk_wide(c, gva, acc, idx, c->cr3 & PTE_ADDR, la57(c) ? 4 : 3, false,
				 nested, w, error);
	if (c->cr4 & CR4_PAE)
		return walk_pae(c, gva, acc, idx, nested, w, error);
	return walk_narrow(c, gva, acc, idx, nested, w, error);
}

/* The second dimension: w->gpa was L2's. */
static enum cpu_result through_npt(struct cpu *c, enum mem_access acc, struct mmu_walk *w)
{
	struct npt_result n;

	if (npt_walk(c, w->gpa, acc, NPF_FINAL, &n))
		return CPU_FAULT;
	if (unlikely((w->gpa & PAGE_MASK) == c->l2.apic_page && acc != MEM_X)) {
		w->gpa = MMU_APIC_PAGE | (w->gpa & ~PAGE_MASK);
		return CPU_OK;
	}
	w->gpa = n.gpa;
	w->writable &= n.writable;
	return CPU_OK;
}

static __attribute__((noinline)) enum walk_status walk_nested(struct cpu *c, u64 gva,
							      enum mem_access acc, enum mmu_idx idx,
							      struct mmu_walk *w, u32 *error)
{
	enum walk_status r = walk(c, gva, acc, idx, true, w, error);

	if (r == WALK_OK && through_npt(c, acc, w))
		return WALK_NPF;
	return r;
}

enum cpu_result mmu_translate(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx,
			      struct mmu_walk *w)
{
	bool nested = nested_paging(c);
	enum walk_status r;
	u32 error = 0;

	if (unlikely(!(c->cr0 & CR0_PG))) {
		*w = (struct mmu_walk){
			.gpa = (u32)gva, .page_size = PAGE_SIZE, .global = true,
			.writable = true, .user = true,
		};
		return nested ? through_npt(c, acc, w) : CPU_OK;
	}
	if (unlikely((c->efer & EFER_LMA) && !canonical(c, gva)))
		return cpu_raise_err(c, EXC_GP, 0);
	do {
		if (unlikely(nested))
			r = walk_nested(c, gva, acc, idx, w, &error);
		else
			r = walk(c, gva, acc, idx, false, w, &error);
	} while (unlikely(r == WALK_AGAIN));
	if (likely(r == WALK_OK))
		return CPU_OK;
	if (r == WALK_NPF) {
		tlb_drop_page(c, gva);
		return CPU_FAULT;
	}
	return page_fault(c, gva, error, acc, idx);
}

/* -- looking without touching -- */

/* An entry for mmu_peek(); false: not present or not memory. */
static bool peek_entry(struct cpu *c, u64 gpa, u32 size, u64 *pte)
{
	const struct phys_slot *s;

	if (nested_paging(c) && !npt_peek(c, gpa, &gpa))
		return false;
	s = phys_find(c->phys, gpa);
	if (!s)
		return false;
	*pte = pte_load(s->hva + (gpa - s->gpa), size);
	return *pte & PTE_P;
}

static bool peek_narrow(struct cpu *c, u64 gva, u64 *gpa)
{
	u64 pte;

	if (!peek_entry(c, (c->cr3 & 0xfffff000) + (gva >> 22 & 1023) * 4, 4, &pte))
		return false;
	if ((pte & PTE_PS) && (c->cr4 & CR4_PSE)) {
		*gpa = (pte & 0xffc00000) | (pte >> 13 & 0xff) << 32 | (gva & 0x3fffff);
		return true;
	}
	if (!peek_entry(c, (pte & 0xfffff000) + (gva >> 12 & 1023) * 4, 4, &pte))
		return false;
	*gpa = (pte & 0xfffff000) | (gva & ~PAGE_MASK);
	return true;
}

static bool peek_wide(struct cpu *c, u64 gva, u64 *gpa)
{
	bool lma = c->efer & EFER_LMA;
	int level = la57(c) ? 4 : 3;
	u64 table = c->cr3 & PTE_ADDR, pte;

	if (lma && !canonical(c, gva))
		return false;
	if (!lma) {
		u64 i = gva >> 30 & 3;

		table = c->pdpte[i];
		if (nested_paging(c) && !peek_entry(c, (c->cr3 & 0xffffffe0) + i * 8, 8, &table))
			return false;
		if (!(table & PTE_P))
			return false;
		table &= PTE_ADDR;
		level = 1;
	}
	for (;; level--) {
		u32 shift = 12 + 9 * (u32)level;
		u64 mask = BIT64(shift) - 1;

		if (!peek_entry(c, table + (gva >> shift & 511) * 8, 8, &pte))
			return false;
		if (pte & reserved_high(c, !lma))
			return false;
		if (level == 0 || (level < 3 && (pte & PTE_PS))) {
			*gpa = (pte & PTE_ADDR & ~mask) | (gva & mask);
			return true;
		}
		table = pte & PTE_ADDR;
	}
}

bool mmu_peek(struct cpu *c, u64 gva, u64 *gpa)
{
	if (!(c->cr0 & CR0_PG)) {
		*gpa = (u32)gva;
	} else if (!(c->efer & EFER_LMA) && !(c->cr4 & CR4_PAE)) {
		if (!peek_narrow(c, gva, gpa))
			return false;
	} else if (!peek_wide(c, gva, gpa)) {
		return false;
	}
	return !nested_paging(c) || npt_peek(c, *gpa, gpa);
}

enum cpu_result mmu_load_pdptes(struct cpu *c, u64 cr3)
{
	u64 rsvd = pdpte_reserved(c);
	u64 base = cr3 & 0xffffffe0;
	u64 e[4];

	/* Nested paging: they are read when they are walked. */
	if (nested_paging(c))
		return CPU_OK;
	for (u32 i = 0; i < 4; i++) {
		const struct phys_slot *s = phys_find(c->phys, base + i * 8);

		/* Nothing there: as if not present, like any other table. */
		e[i] = s ? pte_load(s->hva + (base + i * 8 - s->gpa), 8) : 0;
		if ((e[i] & PTE_P) && (e[i] & rsvd))
			return cpu_raise_err(c, EXC_GP, 0);
	}
	for (u32 i = 0; i < 4; i++)
		c->pdpte[i] = e[i];
	return CPU_OK;
}
