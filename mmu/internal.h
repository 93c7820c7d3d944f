/* SPDX-License-Identifier: MIT */
/* mmu/internal.h - shared by the files of mmu/ only. */
#ifndef MMU_INTERNAL_H
#define MMU_INTERNAL_H

#include "mmu/mmu.h"

enum mmu_hint { HINT_TABLE, HINT_DATA };

/* phys_find() that tries the slot this CPU hit last. An index is kept, not a
 * pointer: it stays harmless when the map behind it is exchanged. */
static inline const struct phys_slot *mmu_slot(struct cpu *c, u64 gpa, enum mmu_hint h)
{
	const struct phys_map *m = atomic_load_explicit(&c->phys->map, memory_order_acquire);
	const struct phys_slot *s;
	u32 i = c->phys_hint[h];

	if (likely(m && i < m->n)) {
		s = &m->slot[i];
		if (likely(gpa - s->gpa < s->size))
			return s;
	}
	s = phys_find(c->phys, gpa);
	if (s && m && s >= m->slot && s < m->slot + m->n)
		c->phys_hint[h] = (u32)(s - m->slot);
	return s;
}

/* This CPU stored to [gpa, gpa + len) of a page that may hold translated code. */
void mmu_wrote(struct cpu *c, const struct phys_slot *s, u64 gpa, u32 len);

/* mmu/tlb.c */
void tlb_install(struct cpu *c, enum mmu_idx idx, bool write, u64 gva, u8 *host,
		 const struct mmu_walk *w);
/* Forget every entry for one 4 KiB page (not those of a large page around it). */
void tlb_drop_page(struct cpu *c, u64 gva);

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
int mmu_resolve(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx,
		struct mmu_target *t);

#endif
