/* SPDX-License-Identifier: MIT */
/*
 * mmu/nested.c - the second dimension of a nested guest's translation (APM2 15.25):
 * walks of the tables at nCR3 in L1's paging mode, and whose translations L2's TLB holds.
 */
#include "engine/engine.h"
#include "mmu/mmu_priv.h"

/* How nested tables are read: L1's paging mode at VMRUN (APM2 15.25.3). */
enum npt_mode { NPT_32, NPT_32_PSE, NPT_PAE, NPT_LONG4, NPT_LONG5 };

/* Bits of L2's control registers that its TLB entries depend on. */
#define CR0_PAGING (CR0_PE | CR0_WP | CR0_PG)
#define CR4_PAGING (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE | \
		    CR4_LA57)
#define EFER_PAGING (EFER_NX | EFER_LMA)

/* Bits that must be zero in a present entry whatever its level. */
static u64 reserved_bits(const struct cpu *c, u8 mode, bool nx)
{
	u64 r = BIT64(52) - BIT64(c->maxphyaddr < 52 ? c->maxphyaddr : 52);

	if (mode == NPT_PAE)
		r |= GENMASK64(62, 52);
	if (!nx)
		r |= PTE_NX;
	return r;
}

/* Nested accesses are user accesses, so CR0.WP, SMEP and SMAP of L1 say nothing. */
static inline bool npt_allowed(u64 rights, enum mem_access acc)
{
	return (rights & PTE_U) && (acc != MEM_W || (rights & PTE_W)) &&
	       (acc != MEM_X || !(rights & PTE_NX));
}

static enum walk_status npt_fault(struct cpu *c, u64 gpa, enum mem_access acc, u64 where, u32 error)
{
	error |= PF_U;
	if (acc == MEM_W)
		error |= PF_W;
	if (acc == MEM_X && (c->l2.nx || c->l2.smep))
		error |= PF_I;
	c->fault = (struct cpu_fault){
		.vector = EXC_NPF, .payload = gpa, .info = where | error,
	};
	return WALK_NPF;
}

/* Check rights and set A/D on the path from `top` down to the leaf. *error without PF_U etc. */
static enum walk_status npt_finish(struct cpu *c, enum mem_access acc, struct step *path, int level,
				   int top, u64 rights, u32 size, u32 *error)
{
	u32 want = PTE_A | (acc == MEM_W ? (u32)PTE_D : 0);

	if (unlikely(!npt_allowed(rights, acc))) {
		*error = PF_P;
		return WALK_FAULT;
	}
	for (int i = top; i > level; i--)
		if (unlikely(!(path[i].pte & PTE_A)) && !pte_set_bits(c, &path[i], size, PTE_A))
			return WALK_AGAIN;
	if (unlikely((path[level].pte & want) != want) &&
	    !pte_set_bits(c, &path[level], size, want))
		return WALK_AGAIN;
	return WALK_OK;
}

static inline bool npt_step(struct cpu *c, struct step *s, u64 gpa, u32 size)
{
	s->slot = mmu_slot(c, gpa, HINT_TABLE);
	s->gpa = gpa;
	if (unlikely(!s->slot))
		return false;
	s->p = s->slot->hva + (gpa - s->slot->gpa);
	s->pte = pte_load(s->p, size);
	return s->pte & PTE_P;
}

static inline void npt_done(struct npt_result *out, u64 addr, u64 gpa, u32 shift, u64 pte,
			    u64 rights)
{
	out->gpa = addr | (gpa & (BIT64(shift) - 1));
	out->writable = (pte & PTE_D) && (rights & PTE_W);
}

/* Through the walk cache; false: do a full walk. */
static inline bool npt_cached(struct cpu *c, u64 gpa, enum mem_access acc, struct npt_result *out)
{
	struct mmu_npwc *n = &c->l2.npwc[(gpa >> 21) % PWC_SIZE];
	u32 i = n->large ? 0 : (u32)(gpa >> 12) & 511, shift = n->large ? 21 : 12, error;
	struct step s;
	u64 rights;

	if (n->tag != gpa >> 21)
		return false;
	s.p = n->p + i;
	s.pte = pte_load(s.p, 8);
	s.gpa = n->gpa + i * 8;
	s.slot = NULL;
	rights = (s.pte & n->rights & PTE_RIGHTS) | ((s.pte | n->rights) & PTE_NX);
	if (likely((s.pte & PTE_P) && !(s.pte & c->l2.rsvd) &&
		   (!n->large || ((s.pte & PTE_PS) && !(s.pte & 0x1fe000)))) &&
	    npt_finish(c, acc, &s, 0, 0, rights, 8, &error) == WALK_OK) {
		npt_done(out, s.pte & PTE_ADDR & ~(BIT64(shift) - 1), gpa, shift, s.pte, rights);
		return true;
	}
	/* Rights may be out of date: only a full walk may fault. */
	n->tag = ~0ull;
	return false;
}

static void npt_cache(struct cpu *c, u64 gpa, const struct step *s, u64 rights, bool large)
{
	u64 low = large ? 0 : ~PAGE_MASK;

	c->l2.npwc[(gpa >> 21) % PWC_SIZE] = (struct mmu_npwc){
		.tag = gpa >> 21, .rights = rights, .gpa = s->gpa & ~low, .large = large,
		.p = (u64 *)((uintptr_t)s->p & ~low),
	};
}

/* PAE and long mode. */
static enum walk_status npt_wide(struct cpu *c, u64 gpa, enum mem_access acc,
				 struct npt_result *out, u32 *error)
{
	struct mmu_l2 *l = &c->l2;
	int top = l->mode == NPT_LONG5 ? 4 : l->mode == NPT_LONG4 ? 3 : 1;
	u64 table = l->ncr3 & PTE_ADDR, rights = PTE_RIGHTS, high = c->l2.rsvd;
	bool all_accessed = true;
	struct step path[5];
	enum walk_status r;

	*error = 0;
	/* What the tables cannot name is not present. */
	if (unlikely(gpa >> (l->mode == NPT_PAE ? 32 : 12 + 9 * (top + 1))))
		return WALK_FAULT;
	if (l->mode == NPT_PAE) {
		struct step s;

		if (!npt_step(c, &s, (l->ncr3 & 0xffffffe0) + (gpa >> 30) * 8, 8))
			return WALK_FAULT;
		if (s.pte & (GENMASK64(2, 1) | GENMASK64(8, 5) | GENMASK64(63, 52) | high)) {
			*error = PF_P | PF_RSVD;
			return WALK_FAULT;
		}
		table = s.pte & PTE_ADDR;
	}
	for (int level = top;; level--) {
		u32 shift = 12 + 9 * (u32)level;
		struct step *s = &path[level];
		u64 rsvd = high, above = rights;
		bool leaf;

		if (!npt_step(c, s, table + ((gpa >> shift) & 511) * 8, 8))
			return WALK_FAULT;
		leaf = level == 0 || (level < 3 && (s->pte & PTE_PS));
		if (level >= 3)
			rsvd |= PTE_PS | PTE_G;
		else if (level == 2 && !c->has_1g_pages)
			rsvd |= PTE_PS;
		else if (level && leaf)
			rsvd |= (BIT64(shift) - 1) & ~0x1fffull;
		if (unlikely(s->pte & rsvd)) {
			*error = PF_P | PF_RSVD;
			return WALK_FAULT;
		}
		rights = (rights & s->pte & PTE_RIGHTS) | ((rights | s->pte) & PTE_NX);
		if (leaf) {
			r = npt_finish(c, acc, path, level, top, rights, 8, error);
			if (r)
				return r;
			if (level < 2 && all_accessed)
				npt_cache(c, gpa, s, above, level);
			npt_done(out, s->pte & PTE_ADDR & ~(BIT64(shift) - 1), gpa, shift, s->pte,
				 rights);
			return WALK_OK;
		}
		if (!(s->pte & PTE_A))
			all_accessed = false;
		table = s->pte & PTE_ADDR;
	}
}

/* 32-bit paging of L1. */
static enum walk_status npt_narrow(struct cpu *c, u64 gpa, enum mem_access acc,
				   struct npt_result *out, u32 *error)
{
	struct step path[2];
	u64 rights;
	enum walk_status r;

	*error = 0;
	if (gpa >> 32 || !npt_step(c, &path[1], (c->l2.ncr3 & 0xfffff000) + (gpa >> 22) * 4, 4))
		return WALK_FAULT;
	rights = path[1].pte & PTE_RIGHTS;
	if ((path[1].pte & PTE_PS) && c->l2.mode == NPT_32_PSE) {
		u64 e = path[1].pte;
		u32 m = c->maxphyaddr < 40 ? c->maxphyaddr : 40;

		if (e & (BIT64(22) - BIT64(m < 32 ? 13 : m - 19))) {
			*error = PF_P | PF_RSVD;
			return WALK_FAULT;
		}
		r = npt_finish(c, acc, path, 1, 1, rights, 4, error);
		if (r == WALK_OK)
			npt_done(out, (e & 0xffc00000) | (e >> 13 & 0xff) << 32, gpa, 22,
				 path[1].pte, rights);
		return r;
	}
	if (!npt_step(c, &path[0], (path[1].pte & 0xfffff000) + (gpa >> 12 & 1023) * 4, 4))
		return WALK_FAULT;
	rights &= path[0].pte;
	r = npt_finish(c, acc, path, 0, 1, rights, 4, error);
	if (r == WALK_OK)
		npt_done(out, path[0].pte & 0xfffff000, gpa, 12, path[0].pte, rights);
	return r;
}

enum walk_status npt_walk(struct cpu *c, u64 gpa, enum mem_access acc, u64 where,
			  struct npt_result *out)
{
	enum walk_status r;
	u32 error;

	if (likely(npt_cached(c, gpa, acc, out)))
		return WALK_OK;
	do {
		r = c->l2.mode <= NPT_32_PSE ? npt_narrow(c, gpa, acc, out, &error)
					     : npt_wide(c, gpa, acc, out, &error);
	} while (unlikely(r == WALK_AGAIN));
	return likely(r == WALK_OK) ? WALK_OK : npt_fault(c, gpa, acc, where, error);
}

/* An entry without side effects; false: not present or not memory. */
static bool peek(struct cpu *c, u64 gpa, u32 size, u64 *pte)
{
	const struct phys_slot *s = phys_find(c->phys, gpa);

	if (!s)
		return false;
	*pte = pte_load(s->hva + (gpa - s->gpa), size);
	return *pte & PTE_P;
}

bool npt_peek(struct cpu *c, u64 gpa, u64 *out)
{
	struct mmu_l2 *l = &c->l2;
	bool wide = l->mode >= NPT_PAE;
	u32 bits = wide ? 9 : 10, size = wide ? 8 : 4;
	int level = l->mode == NPT_LONG5 ? 4 : l->mode == NPT_LONG4 ? 3 : 1;
	u64 table = l->ncr3, pte;

	if (gpa >> (l->mode <= NPT_PAE ? 32 : 12 + 9 * (level + 1)))
		return false;
	if (l->mode == NPT_PAE && !peek(c, (table & 0xffffffe0) + (gpa >> 30) * 8, 8, &table))
		return false;
	for (table &= PTE_ADDR;; level--) {
		u32 shift = 12 + bits * (u32)level;
		u64 mask = BIT64(shift) - 1;

		if (!peek(c, table + (gpa >> shift & (BIT64(bits) - 1)) * size, size, &pte) ||
		    !(pte & PTE_U) || (wide && (pte & c->l2.rsvd)))
			return false;
		if (level == 0 || (level < 3 && (pte & PTE_PS) && l->mode != NPT_32)) {
			u64 addr = pte & PTE_ADDR;

			if (!wide && level)
				addr = (pte & 0xffc00000) | (pte >> 13 & 0xff) << 32;
			*out = (addr & ~mask) | (gpa & mask);
			return true;
		}
		table = pte & PTE_ADDR;
	}
}

void npt_forget(struct cpu *c)
{
	for (u32 i = 0; i < PWC_SIZE; i++)
		c->l2.npwc[i].tag = ~0ull;
}

void npt_note_regs(struct cpu *c)
{
	c->l2.cr0 = c->cr0;
	c->l2.cr3 = c->cr3;
	c->l2.cr4 = c->cr4;
	c->l2.efer = c->efer;
}

static u8 host_mode(const struct mmu_nested *n)
{
	if (n->host_efer & EFER_LMA)
		return n->host_cr4 & CR4_LA57 ? NPT_LONG5 : NPT_LONG4;
	if (n->host_cr4 & CR4_PAE)
		return NPT_PAE;
	return n->host_cr4 & CR4_PSE ? NPT_32_PSE : NPT_32;
}

void mmu_enter_guest(struct cpu *c, const struct mmu_nested *n)
{
	struct mmu_l2 *l = &c->l2;
	u8 mode = n->np ? host_mode(n) : 0;
	bool nx = n->np && (n->host_efer & EFER_NX), smep = n->np && (n->host_cr4 & CR4_SMEP);
	u64 ncr3 = n->np ? n->ncr3 : 0;
	u8 ctl = n->tlb_ctl;
	bool all = ctl == TLB_CTL_ASID;

	c->in_l2 = 1;
	if (unlikely(ctl && ctl != TLB_CTL_ASID && ctl != TLB_CTL_ASID_LOCAL)) {
		tlb_flush(c, false, true);
		all = true;
	}
	/* The TLB holds one guest's translations: those of another one go. */
	if (l->asid != n->asid || l->np != n->np || l->ncr3 != ncr3 || l->mode != mode ||
	    l->nx != nx || l->smep != smep || l->apic_page != n->apic_page)
		all = true;
	/* An L1 that changes L2's registers between two runs is to flush by itself
	 * (APM2 15.16); the ones that forget are cheap to serve. */
	if (((l->cr0 ^ c->cr0) & CR0_PAGING) | ((l->cr4 ^ c->cr4) & CR4_PAGING) |
	    ((l->efer ^ c->efer) & EFER_PAGING))
		all = true;
	l->asid = n->asid;
	l->np = n->np;
	l->ncr3 = ncr3;
	l->apic_page = n->apic_page;
	l->mode = mode;
	l->nx = nx;
	l->smep = smep;
	l->rsvd = reserved_bits(c, mode, nx);
	if (all || ctl)
		npt_forget(c);
	if (all)
		tlb_flush(c, true, true);
	else if (l->cr3 != c->cr3 || ctl == TLB_CTL_ASID_LOCAL)
		tlb_flush(c, true, false);
	npt_note_regs(c);
	cpu_mode_changed(c);
}

void mmu_leave_guest(struct cpu *c)
{
	c->in_l2 = 0;
	/* PAE: VMRUN may have replaced them. Bad ones fault when they are used. */
	if ((c->cr0 & CR0_PG) && (c->cr4 & CR4_PAE) && !(c->efer & EFER_LMA))
		mmu_load_pdptes(c, c->cr3);
	cpu_mode_changed(c);
}

void mmu_invlpga(struct cpu *c, u64 gva, u32 asid)
{
	if (!asid) {
		tlb_invlpg(c, false, gva);
	} else if (asid == c->l2.asid) {
		npt_forget(c);
		tlb_invlpg(c, true, gva);
	}
}

enum cpu_result mmu_nested_translate(struct cpu *c, u64 gpa, enum mem_access acc, u64 *l1_gpa)
{
	struct npt_result n;

	*l1_gpa = gpa;
	if (!c->in_l2 || !c->l2.np)
		return CPU_OK;
	if (npt_walk(c, gpa, acc, NPF_FINAL, &n))
		return CPU_FAULT;
	*l1_gpa = n.gpa;
	return CPU_OK;
}
