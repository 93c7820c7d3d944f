/* SPDX-License-Identifier: MIT */
/* mmu/nested.c - entering and leaving a nested guest. */
#include "mmu/internal.h"
#include "mmu/nested.h"

void mmu_enter_guest(struct cpu *c, const struct mmu_nested *n)
{
	c->in_l2 = 1;
	mmu_flush(c, true);
	cpu_mode_changed(c);
}

void mmu_leave_guest(struct cpu *c)
{
	c->in_l2 = 0;
	if ((c->cr0 & CR0_PG) && (c->cr4 & CR4_PAE) && !(c->efer & EFER_LMA))
		mmu_load_pdptes(c, c->cr3);
	mmu_flush(c, true);
	cpu_mode_changed(c);
}

void mmu_invlpga(struct cpu *c, u64 gva, u32 asid)
{
	mmu_invlpg(c, gva);
}

int mmu_nested_translate(struct cpu *c, u64 gpa, enum mem_access acc, u64 *l1_gpa)
{
	*l1_gpa = gpa;
	return CPU_OK;
}
