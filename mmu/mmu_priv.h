/* SPDX-License-Identifier: MIT */
/* mmu/mmu_priv.h - shared by the files of mmu/ only. */
#ifndef MMU_PRIV_H
#define MMU_PRIV_H

#include "mmu/mmu.h"
#include "mmu/nested.h"

enum mmu_hint { HINT_TABLE, HINT_DATA };

/* phys_find() that tries the slot this CPU hit last. An index is kept, not a
 * pointer: it stays harmless when the map behind it is exchanged. */
static inline const struct phys_slot *mmu_slot(struct cpu *c, u64 gpa, enum mmu_hint h)
{
	const struct phys_map *m = atomic_load_explicit(&c->phys->map, memory_order_acquire);
	const struct phys_slot *s;
	u32 i = c->phys_hint[h];

	if (unlikely(!m))
		return NULL;
	if (likely(i / PHYS_CHUNK < m->n)) {
		s = &m->part[i / PHYS_CHUNK].chunk->slot[i % PHYS_CHUNK];
		if (likely(gpa - s->gpa < s->size))
			return s;
	}
	return phys_find_in(m, gpa, &c->phys_hint[h]);
}

/* tlb.c: into the first level. */
void tlb_put(struct cpu *c, enum mmu_idx idx, bool write, u64 gva, u64 host, bool global,
	     bool large);

/* tlb2.c: the second level, of L1 and of guests without nesting. Without one nothing is done. */
void tlb2_init(struct cpu *c);
void tlb2_flush(struct cpu *c, bool global);
void tlb2_drop_writes(struct cpu *c);
void tlb2_drop_page(struct cpu *c, u64 gva);
void tlb2_put(struct cpu *c, enum mmu_idx idx, bool write, u64 gva, u64 host, bool global,
	      bool large);
/* Bring what it knows into the first level. False: nothing. */
bool tlb2_take(struct cpu *c, u64 gva, bool write, enum mmu_idx idx);

/* This CPU stored to [gpa, gpa + len) of a page that may hold translated code. */
void mmu_wrote(struct cpu *c, const struct phys_slot *s, u64 gpa, u32 len);

/* An access to [gva, gva + len) has been made: note which watchpoints it hit. */
void mmu_watch_hit(struct cpu *c, u64 gva, u32 len, bool write);

/* -- page-table entries (APM2 5.4) -- */
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
	u64 gpa;	/* in the VM's (L1's) physical space */
	const struct phys_slot *slot;	/* NULL: look it up by gpa when needed */
};

enum walk_status {
	WALK_OK,
	WALK_FAULT,	/* #PF of the walk at hand */
	WALK_AGAIN,	/* an entry changed under it */
	WALK_NPF,	/* c->fault holds a nested page fault */
};

static inline u64 pte_load(const void *p, u32 size)
{
	if (size == 4)
		return __atomic_load_n((const u32 *)p, __ATOMIC_RELAXED);
	return __atomic_load_n((const u64 *)p, __ATOMIC_RELAXED);
}

/* Set A/D bits the way the CPU does: atomically. False: the entry has changed. While c->tentative,
 * only c->unmarked is set: they would have been. */
bool pte_set_bits(struct cpu *c, struct step *s, u32 size, u32 bits);

/* mmu/nested.c */
/* Where `gpa` of L2 is. acc and `where` (NPF_FINAL or NPF_TABLE) say what for. */
struct npt_result {
	u64 gpa;
	bool writable;	/* writes allowed and D set */
};
enum walk_status npt_walk(struct cpu *c, u64 gpa, enum mem_access acc, u64 where,
			  struct npt_result *out);
/* Without faults and side effects. */
bool npt_peek(struct cpu *c, u64 gpa, u64 *out);
/* Empty the walk cache of the nested tables. What L2 itself flushes is not in it: it maps
 * L2-physical addresses. */
void npt_forget(struct cpu *c);
/* L2's translations were dropped: those to come are made under the registers of now. */
void npt_note_regs(struct cpu *c);

/* mmu/tlb.c */
void tlb_install(struct cpu *c, enum mmu_idx idx, bool write, u64 gva, u8 *host,
		 const struct mmu_walk *w);
/* Forget every entry for one 4 KiB page (not those of a large page around it). */
void tlb_drop_page(struct cpu *c, u64 gva);
/* mmu_flush(), mmu_invlpg() of one guest mode. */
void tlb_flush(struct cpu *c, bool l2, bool global);
void tlb_invlpg(struct cpu *c, bool l2, u64 gva);

/* Where a byte is, after all checks. */
struct mmu_target {
	u8 *host;	/* of the byte; NULL: goes to mmio_ops */
	u64 gpa;
	const struct phys_slot *slot;
	bool direct;	/* a TLB entry was installed */
	bool global;
	u64 page_size;
};
/* Translate, find the memory and install TLB entries as allowed. CPU_OK or
 * CPU_FAULT. */
enum cpu_result mmu_resolve(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx,
			    struct mmu_target *t);

#endif
