/* SPDX-License-Identifier: MIT */
/* cpu/control.c - control, debug and extended control registers. */
#include "cpu/access.h"
#include "cpu/exec_priv.h"
#include "engine/engine.h"
#include "engine/xstate.h"
#include "mmu/mmu.h"

#define CR0_DEFINED (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | \
		     CR0_NW | CR0_CD | CR0_PG)
/* CR0/CR4 bits that change what a translation permits. */
#define CR0_PAGING (CR0_PE | CR0_WP | CR0_PG)
#define CR4_PAGING (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE | \
		    CR4_LA57)
#define CR4_PDPTE (CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP)
#define CR3_NOFLUSH BIT64(63)
#define CR3_PCID 0xfffull

static enum cpu_result gp0(struct cpu *c)
{
	return cpu_raise_err(c, EXC_GP, 0);
}

static bool pae_paging(u64 cr0, u64 cr4, u64 efer)
{
	return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LME);
}

enum cpu_result cpu_set_cr0(struct cpu *c, u64 v)
{
	u64 old = c->cr0, changed;
	bool pg = v & CR0_PG, was_pg = old & CR0_PG;
	enum cpu_result r;

	/* APM2 3.1.1: bits 63:32 are MBZ, other reserved bits are ignored, ET is always 1. */
	if (v >> 32)
		return gp0(c);
	v = (v & CR0_DEFINED) | CR0_ET;
	if ((v & CR0_NW) && !(v & CR0_CD))
		return gp0(c);
	if (pg && !(v & CR0_PE))
		return gp0(c);
	if (pg && !was_pg && (c->efer & EFER_LME)) {
		/* Long-mode consistency checks (APM2 14.8.1). */
		if (!(c->cr4 & CR4_PAE) || (c->seg[S_CS].attr & SEG_L))
			return gp0(c);
	}
	if (!pg && was_pg) {
		/* Paging is left from compatibility mode and without PCIDs only (APM2 5.5.1). */
		if (cpu_in_64(c) || (c->cr4 & CR4_PCIDE))
			return gp0(c);
	}
	changed = old ^ v;
	if (pae_paging(v, c->cr4, c->efer) && (changed & (CR0_PG | CR0_CD | CR0_NW))) {
		r = mmu_load_pdptes(c, c->cr3);
		if (r)
			return r;
	}
	c->cr0 = v;
	if (pg && (c->efer & EFER_LME))
		c->efer |= EFER_LMA;
	else
		c->efer &= ~EFER_LMA;
	if (changed & CR0_PE)
		c->cpl = 0;
	if (changed & CR0_PAGING)
		mmu_flush(c, true);
	cpu_mode_changed(c);
	return CPU_OK;
}

enum cpu_result cpu_set_cr3(struct cpu *c, u64 v)
{
	bool pcide = c->cr4 & CR4_PCIDE;
	bool keep = false;
	enum cpu_result r;

	if (pcide && (v & CR3_NOFLUSH)) {
		v &= ~CR3_NOFLUSH;
		/* Our TLB holds one address space: nothing of another one may survive. */
		keep = v == c->cr3;
	}
	/* Bits above the physical address width are MBZ (APM2 5.3.2). */
	if (v >> c->maxphyaddr)
		return gp0(c);
	if (pae_paging(c->cr0, c->cr4, c->efer)) {
		r = mmu_load_pdptes(c, v);
		if (r)
			return r;
	}
	c->cr3 = v;
	if (!keep)
		mmu_flush(c, false);
	return CPU_OK;
}

enum cpu_result cpu_set_cr4(struct cpu *c, u64 v)
{
	u64 changed = c->cr4 ^ v;
	enum cpu_result r;

	if (v & c->cr4_reserved)
		return gp0(c);
	if (cpu_in_lm(c)) {
		/* PAE stays set while long mode is active (APM2 14.8.1), LA57 cannot change. */
		if (!(v & CR4_PAE) || (changed & CR4_LA57))
			return gp0(c);
	}
	/* PCIDE only in long mode, starting at PCID 0 (APM2 5.5.1). */
	if (changed & v & CR4_PCIDE)
		if (!cpu_in_lm(c) || (c->cr3 & CR3_PCID))
			return gp0(c);
	if (pae_paging(c->cr0, v, c->efer) && (changed & CR4_PDPTE)) {
		u64 old = c->cr4;

		c->cr4 = v;
		r = mmu_load_pdptes(c, c->cr3);
		if (r) {
			c->cr4 = old;
			return r;
		}
	}
	c->cr4 = v;
	if (changed & CR4_PAGING)
		mmu_flush(c, true);
	cpu_mode_changed(c);
	return CPU_OK;
}

enum cpu_result cpu_set_efer(struct cpu *c, u64 v)
{
	u64 changed;

	if (v & c->efer_reserved)
		return gp0(c);
	/* LMA follows LME and PG; writes to it are ignored (APM2 3.1.7). */
	v = (v & ~EFER_LMA) | (c->efer & EFER_LMA);
	changed = c->efer ^ v;
	/* LME cannot change while paging is on (APM2 14.8.1). */
	if ((changed & EFER_LME) && (c->cr0 & CR0_PG))
		return gp0(c);
	c->efer = v;
	if (changed & EFER_NX)
		mmu_flush(c, true);
	cpu_mode_changed(c);
	return CPU_OK;
}

enum cpu_result cpu_set_xcr0(struct cpu *c, u64 v)
{
	if (!xcr0_valid(v, c->xcr0_supported))
		return gp0(c);
	engine_fpu_save(c);
	c->xcr0 = v;
	cpu_mode_changed(c);
	return CPU_OK;
}

/* -- MOV CRn -- */

/* Without REX.R, LOCK reaches CR8 (APM3 MOV CRn, AltMovCr8). */
static u32 cr_number(const struct insn *in)
{
	return in->reg + (in->prefixes & PFX_LOCK ? 8 : 0);
}

static enum cpu_result write_cr(struct cpu *c, u32 cr, u64 v)
{
	enum cpu_result r;

	switch (cr) {
	case 0: return cpu_set_cr0(c, v);
	case 2: c->cr2 = v; return CPU_OK;
	case 3: return cpu_set_cr3(c, v);
	case 4: return cpu_set_cr4(c, v);
	case 8:
		r = cpu_hooks->write_cr8(c, v);
		/* A lower TPR may let an interrupt in. */
		if (r == CPU_OK)
			cpu_hooks->window(c);
		return r;
	}
	return cpu_raise(c, EXC_UD);
}

static enum cpu_result read_cr(struct cpu *c, u32 cr, u64 *v)
{
	switch (cr) {
	case 0: *v = c->cr0; break;
	case 2: *v = c->cr2; break;
	case 3: *v = c->cr3; break;
	case 4: *v = c->cr4; break;
	case 8: *v = cpu_hooks->read_cr8(c); break;
	default: return cpu_raise(c, EXC_UD);
	}
	return CPU_OK;
}

static bool cr_exists(u32 cr)
{
	return cr == 0 || cr == 2 || cr == 3 || cr == 4 || cr == 8;
}

enum cpu_result exec_mov_cr(struct cpu *c, const struct insn *in)
{
	/* The operand is 64 bits in 64-bit mode, else 32, whatever the prefixes (APM3). */
	u32 size = in->mode == 8 ? 8 : 4;
	u32 cr = cr_number(in);
	u64 v;
	enum cpu_result r;

	if (!cr_exists(cr))
		return cpu_raise(c, EXC_UD);
	if (c->cpl)
		return gp0(c);
	if (in->opcode == 0x22) {
		r = write_cr(c, cr, insn_reg(c, in->rm, size));
		if (r == CPU_OK && cr != 8)
			engine_serialise(c, true);
		return r;
	}
	r = read_cr(c, cr, &v);
	if (r == CPU_OK)
		insn_set_reg(c, in->rm, size, v);
	return r;
}

/* -- MOV DRn -- */

static enum cpu_result write_dr(struct cpu *c, u32 dr, u64 v)
{
	switch (dr) {
	case 6:
	case 7:
		/* Bits 63:32 are MBZ (APM2 13.1.1.3, 13.1.1.4). */
		if (v >> 32)
			return gp0(c);
		if (dr == 6)
			c->dr6 = (v & DR6_WRITABLE) | DR6_FIXED;
		else
			cpu_set_dr7(c, (v & DR7_WRITABLE) | DR7_FIXED);
		break;
	default:
		c->dr[dr] = v;
		if (c->dr7 & DR7_ENABLES)
			cpu_hooks->debug_changed(c);
	}
	cpu_mode_changed(c);
	engine_serialise(c, true);
	return CPU_OK;
}

enum cpu_result exec_mov_dr(struct cpu *c, const struct insn *in)
{
	u32 size = in->mode == 8 ? 8 : 4;
	u32 dr = in->reg;
	u64 v;

	/* DR4/DR5 are DR6/DR7 unless CR4.DE (APM2 13.1.1.2). */
	if (dr > 7 || ((dr & ~1u) == 4 && (c->cr4 & CR4_DE)))
		return cpu_raise(c, EXC_UD);
	if (c->cpl)
		return gp0(c);
	if (c->dr7 & DR7_GD) {
		c->fault = (struct cpu_fault){ .vector = EXC_DB, .payload = DR6_BD };
		return CPU_FAULT;
	}
	if ((dr & ~1u) == 4)
		dr += 2;
	if (in->opcode == 0x23)
		return write_dr(c, dr, insn_reg(c, in->rm, size));
	v = dr == 6 ? c->dr6 : dr == 7 ? c->dr7 : c->dr[dr];
	insn_set_reg(c, in->rm, size, v);
	return CPU_OK;
}

enum cpu_result exec_clts(struct cpu *c, const struct insn *in)
{
	c->cr0 &= ~CR0_TS;
	cpu_mode_changed(c);
	return CPU_OK;
}

enum cpu_result exec_lmsw(struct cpu *c, const struct insn *in)
{
	u64 low = CR0_PE | CR0_MP | CR0_EM | CR0_TS;
	u16 v;

	engine_serialise(c, true);
	if (in->has_mem) {
		enum cpu_result r = cpu_read(c, in->seg, insn_ea(c, in), &v, 2);

		if (r)
			return r;
	} else {
		v = c->gpr[in->rm];
	}
	/* PE can be set this way but not cleared (APM3 LMSW). */
	return cpu_set_cr0(c, (c->cr0 & ~low) | (v & low) | (c->cr0 & CR0_PE));
}

enum cpu_result exec_smsw(struct cpu *c, const struct insn *in)
{
	u16 v = c->cr0;
	enum cpu_result r;

	if (!in->has_mem) {
		insn_set_reg(c, in->rm, in->opsize, c->cr0);
		return CPU_OK;
	}
	r = cpu_write(c, in->seg, insn_ea(c, in), &v, 2);
	return r;
}
