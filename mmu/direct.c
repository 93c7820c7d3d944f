/* SPDX-License-Identifier: MIT */
/*
 * mmu/direct.c - in-place access to pages that are kept out of the write TLB
 * because they hold translated code: locked operations must stay atomic there.
 */
#include "engine/engine.h"
#include "mmu/internal.h"

int mmu_mem_direct(struct cpu *c, u64 gva, u32 len, enum mmu_idx idx, u8 **host, u64 *gpa)
{
	struct mmu_target t;
	int r;

	if ((gva & ~PAGE_MASK) + len > PAGE_SIZE)
		return CPU_EXIT;
	r = mmu_resolve(c, gva, MEM_W, idx, &t);
	if (r)
		return r;
	if (!t.host || c->watch_dr7)
		return CPU_EXIT;
	*host = t.host;
	*gpa = t.gpa;
	return CPU_OK;
}

void mmu_mem_written(struct cpu *c, u64 gpa, u32 len)
{
	const struct phys_slot *s = mmu_slot(c, gpa, HINT_DATA);

	if (s && phys_is_code(s, gpa))
		mmu_wrote(c, s, gpa, len);
}
