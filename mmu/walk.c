/* SPDX-License-Identifier: MIT */
/*
 * mmu/walk.c - page walks of every paging mode (APM2 5.2, 5.3): rights, reserved
 * bits, error codes (APM2 8.4.2), accessed and dirty bits.
 */
#include "engine/engine.h"
#include "mmu/internal.h"

enum {
	PTE_P = BIT(0), PTE_W = BIT(1), PTE_U = BIT(2), PTE_A = BIT(5), PTE_D = BIT(6),
	PTE_PS = BIT(7), PTE_G = BIT(8),
};
#define PTE_NX BIT64(63)
#define PTE_RIGHTS (PTE_P | PTE_W | PTE_U)
#define PTE_ADDR GENMASK64(51, 12)

/* One entry on the path of a walk. */
struct step {
	void *p;
	u64 pte;
	u64 gpa;
	const struct phys_slot *slot;	/* NULL: look it up by gpa when needed */
};

enum walk_status { WALK_OK, WALK_FAULT, WALK_AGAIN };

static bool canonical(u64 a)
{
	return (u64)((s64)(a << 16) >> 16) == a;
}

static int page_fault(struct cpu *c, u64 gva, u32 error, enum mem_access acc, enum mmu_idx idx)
{
	if (acc == MEM_W)
		error |= PF_W;
	if (idx == MMU_USER)
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

static inline u64 load_entry(const void *p, u32 size)
{
	if (size == 4)
		return __atomic_load_n((const u32 *)p, __ATOMIC_RELAXED);
	return __atomic_load_n((const u64 *)p, __ATOMIC_RELAXED);
}

/* Set A/D bits the way the CPU does: atomically, only if nothing changed. */
static bool set_bits(struct cpu *c, struct step *s, u32 size, u32 bits)
{
	if (!s->slot)
		s->slot = mmu_slot(c, s->gpa, HINT_TABLE);
	/* Tables in ROM: the write has no effect, the walk goes on. */
	if (!s->slot || (s->slot->flags & PHYS_READONLY))
		return true;
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

static inline bool step_to(struct cpu *c, struct step *s, u64 gpa, u32 size)
{
	s->slot = mmu_slot(c, gpa, HINT_TABLE);
	s->gpa = gpa;
	if (unlikely(!s->slot))
		return false;
	s->p = s->slot->hva + (gpa - s->slot->gpa);
	s->pte = load_entry(s->p, size);
	return s->pte & PTE_P;
}

/* Leaf found: check rights, set A/D on the path, fill in the result. `top` is the
 * first of the path's entries that may lack A; path[level] is the leaf. */
static inline enum walk_status finish(struct cpu *c, u64 gva, enum mem_access acc,
				      enum mmu_idx idx, struct step *path, int level, int top,
				      u64 rights, u64 addr, u32 shift, u32 size,
				      struct mmu_walk *w, u32 *error)
{
	struct step *leaf = &path[level];
	u32 want = PTE_A;

	if (unlikely(!allowed(c, acc, idx, rights))) {
		*error = PF_P;
		return WALK_FAULT;
	}
	for (int i = top; i > level; i--)
		if (unlikely(!(path[i].pte & PTE_A)) && !set_bits(c, &path[i], size, PTE_A))
			return WALK_AGAIN;
	if (acc == MEM_W)
		want |= PTE_D;
	if (unlikely((leaf->pte & want) != want) && !set_bits(c, leaf, size, want))
		return WALK_AGAIN;
	w->page_size = BIT64(shift);
	w->gpa = addr | (gva & (BIT64(shift) - 1));
	w->global = (leaf->pte & PTE_G) && (c->cr4 & CR4_PGE);
	w->user = rights & PTE_U;
	/* D unset only when it could not be set (ROM). */
	w->writable = ((leaf->pte & PTE_D) || acc == MEM_W) && allowed(c, MEM_W, idx, rights);
	return WALK_OK;
}

/* PAE from its page directory (top 1) and long mode (top 3). */
static inline __attribute__((always_inline)) enum walk_status
walk_wide(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx, u64 table, int top,
	  bool pae, struct mmu_walk *w, u32 *error)
{
	struct mmu_pwc *pwc = &c->pwc[(gva >> 21) % PWC_SIZE];
	struct step path[4];
	u64 high = reserved_high(c, pae);
	u64 rights = PTE_RIGHTS;
	bool all_accessed = true;

	if (likely(pwc->tag == gva >> 21)) {
		u32 i = (u32)(gva >> 12) & 511;

		path[0].p = pwc->table + i;
		path[0].pte = load_entry(path[0].p, 8);
		path[0].gpa = pwc->gpa + i * 8;
		path[0].slot = NULL;
		rights = (path[0].pte & pwc->rights & PTE_RIGHTS) |
			 ((path[0].pte | pwc->rights) & PTE_NX);
		if (likely((path[0].pte & PTE_P) && !(path[0].pte & high)) &&
		    finish(c, gva, acc, idx, path, 0, 0, rights, path[0].pte & PTE_ADDR, 12, 8,
			   w, error) == WALK_OK)
			return WALK_OK;
		/* Cached rights may be out of date: only a full walk may fault. */
		pwc->tag = ~0ull;
		rights = PTE_RIGHTS;
	}
	for (int level = top;; level--) {
		u32 shift = 12 + 9 * (u32)level;
		struct step *s = &path[level];
		u64 rsvd = high;

		if (!step_to(c, s, table + ((gva >> shift) & 511) * 8, 8)) {
			*error = 0;
			return WALK_FAULT;
		}
		if (level == 3)
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
		if (level == 1 && all_accessed) {
			const struct phys_slot *slot = mmu_slot(c, table, HINT_TABLE);

			if (slot)
				*pwc = (struct mmu_pwc){
					.tag = gva >> 21, .rights = rights, .gpa = table,
					.table = (u64 *)(slot->hva + (table - slot->gpa)),
				};
		}
	}
}

/* 32-bit paging without PAE; 4 MiB pages with up to 40 bits (APM2 5.2.2). */
static enum walk_status walk_narrow(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx,
				    struct mmu_walk *w, u32 *error)
{
	struct step path[2];
	u64 rights;

	*error = 0;
	if (!step_to(c, &path[1], (c->cr3 & 0xfffff000) + (gva >> 22 & 1023) * 4, 4))
		return WALK_FAULT;
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
	if (!step_to(c, &path[0], (path[1].pte & 0xfffff000) + (gva >> 12 & 1023) * 4, 4))
		return WALK_FAULT;
	rights &= path[0].pte;
	return finish(c, gva, acc, idx, path, 0, 1, rights, path[0].pte & 0xfffff000, 12, 4, w,
		      error);
}

static enum walk_status walk_pae(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx,
				 struct mmu_walk *w, u32 *error)
{
	u64 pdpte = c->pdpte[gva >> 30 & 3];

	/* Reserved bits were checked when CR3 was loaded. */
	if (!(pdpte & PTE_P)) {
		*error = 0;
		return WALK_FAULT;
	}
	return walk_wide(c, gva, acc, idx, pdpte & PTE_ADDR, 1, true, w, error);
}

static enum walk_status walk_long(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx,
				  struct mmu_walk *w, u32 *error)
{
	return walk_wide(c, gva, acc, idx, c->cr3 & PTE_ADDR, 3, false, w, error);
}

int mmu_translate(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx,
		  struct mmu_walk *w)
{
	enum walk_status r;
	u32 error = 0;

	if (unlikely(!(c->cr0 & CR0_PG))) {
		*w = (struct mmu_walk){
			.gpa = (u32)gva, .page_size = PAGE_SIZE, .global = true,
			.writable = true, .user = true,
		};
		return CPU_OK;
	}
	do {
		if (c->efer & EFER_LMA) {
			if (unlikely(!canonical(gva)))
				return cpu_raise_err(c, EXC_GP, 0);
			r = walk_long(c, gva, acc, idx, w, &error);
		} else if (c->cr4 & CR4_PAE) {
			r = walk_pae(c, gva, acc, idx, w, &error);
		} else {
			r = walk_narrow(c, gva, acc, idx, w, &error);
		}
	} while (unlikely(r == WALK_AGAIN));
	if (likely(r == WALK_OK))
		return CPU_OK;
	return page_fault(c, gva, error, acc, idx);
}

/* An entry for mmu_peek(); false: not present or not memory. */
static bool peek_entry(struct cpu *c, u64 gpa, u32 size, u64 *pte)
{
	const struct phys_slot *s = phys_find(c->phys, gpa);

	if (!s)
		return false;
	*pte = load_entry(s->hva + (gpa - s->gpa), size);
	return *pte & PTE_P;
}

bool mmu_peek(struct cpu *c, u64 gva, u64 *gpa)
{
	bool lma = c->efer & EFER_LMA;
	u64 table, pte;
	int level;

	if (!(c->cr0 & CR0_PG)) {
		*gpa = (u32)gva;
		return true;
	}
	if (!lma && !(c->cr4 & CR4_PAE)) {
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
	if (lma) {
		if (!canonical(gva))
			return false;
		level = 3;
		table = c->cr3 & PTE_ADDR;
	} else {
		level = 1;
		table = c->pdpte[gva >> 30 & 3];
		if (!(table & PTE_P))
			return false;
		table &= PTE_ADDR;
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

int mmu_load_pdptes(struct cpu *c, u64 cr3)
{
	/* MBZ in a PDPTE: 2:1, 8:5, everything above the physical width (APM2 5.2.3). */
	u64 rsvd = GENMASK64(2, 1) | GENMASK64(8, 5) |
		   ~(BIT64(c->maxphyaddr < 52 ? c->maxphyaddr : 52) - 1);
	u64 base = cr3 & 0xffffffe0;
	u64 e[4];

	for (u32 i = 0; i < 4; i++) {
		const struct phys_slot *s = phys_find(c->phys, base + i * 8);

		/* Nothing there: as if not present, like any other table. */
		e[i] = s ? load_entry(s->hva + (base + i * 8 - s->gpa), 8) : 0;
		if ((e[i] & PTE_P) && (e[i] & rsvd))
			return cpu_raise_err(c, EXC_GP, 0);
	}
	for (u32 i = 0; i < 4; i++)
		c->pdpte[i] = e[i];
	return CPU_OK;
}
