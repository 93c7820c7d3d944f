/* SPDX-License-Identifier: MIT */
/*
 * mmu/nested.h - address translation of a nested guest (APM2 15.16, 15.25).
 *
 * L2 has a software TLB, page-walk caches and execute translations of its own, so
 * VMRUN and #VMEXIT flush nothing by themselves. What they hold belongs to one
 * (ASID, nested paging, nCR3); another one empties them.
 *
 * Thread rule: the CPU's own thread.
 */
#ifndef MMU_NESTED_H
#define MMU_NESTED_H

#include "engine/cpu.h"

/* TLB_CONTROL of the VMCB (APM2 15.16.1). */
enum mmu_tlb_ctl {
	TLB_CTL_NONE = 0,
	TLB_CTL_ALL = 1,	/* every ASID, the host's too */
	TLB_CTL_ASID = 3,	/* this guest's */
	TLB_CTL_ASID_LOCAL = 7,	/* this guest's, except global ones */
};

/* A physical address beyond all others. */
#define MMU_APIC_PAGE BIT64(62)

struct mmu_nested {
	bool np;	/* nested paging is on */
	u64 ncr3;
	u32 asid;
	u8 tlb_ctl;	/* other values than those above: as ALL */
	/* L1's registers: the paging mode of the nested tables (APM2 15.25.3). */
	u64 host_cr0, host_cr4, host_efer;
	/* L2-physical page of the APIC when AVIC is on, else ~0: accesses that nested paging
	 * allows go to MMU_APIC_PAGE + offset instead of memory. */
	u64 apic_page;
	u64 g_pat;	/* memory types are not modelled: kept, not used */
};

/*
 * The CPU's registers (CR0, CR3, CR4, EFER, segments, CPL, RFLAGS) are the guest's from now
 * on: call it after they were switched. Sets c->in_l2. c->l2_inline must be set before.
 * PDPTEs of a PAE guest without nested paging are the caller's: mmu_load_pdptes().
 */
void mmu_enter_guest(struct cpu *c, const struct mmu_nested *n);
/* The registers are L1's again. Clears c->in_l2; reloads L1's PDPTEs if it uses PAE paging. */
void mmu_leave_guest(struct cpu *c);
/* INVLPGA: ASID 0 is the host. */
void mmu_invlpga(struct cpu *c, u64 gva, u32 asid);

/* Nested paging in force: L2-physical to L1-physical, with the side effects of a guest access
 * (A/D bits), for VMLOAD/VMSAVE virtualization and the like. Without nested paging, or
 * outside L2: the identity. CPU_OK or CPU_FAULT with EXC_NPF. */
enum cpu_result mmu_nested_translate(struct cpu *c, u64 gpa, enum mem_access acc, u64 *l1_gpa);

#endif
