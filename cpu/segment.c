/* SPDX-License-Identifier: MIT */
/* cpu/segment.c - loading segment registers, and instructions that move them. */
#include <Zydis/Zydis.h>

#include "cpu/access.h"
#include "cpu/exec_priv.h"

/* P clear marks it unusable; DPL follows the CPL so that SS.DPL = CPL always holds. */
void seg_set_null(struct cpu_seg *s, u16 sel, u32 cpl)
{
	*s = (struct cpu_seg){ .sel = sel, .attr = cpl << SEG_DPL_SHIFT };
}

/*
 * Base and limit stay what they were, without NullSelectorClearsBase (CPUID 8000_0021 EAX[6]).
 * Nobody can use the segment, but 64-bit code uses the bases of FS and GS all the same.
 */
void seg_load_null(const struct cpu *c, enum cpu_sreg s, u16 sel, u32 cpl, struct cpu_seg *out)
{
	u32 limit = c->seg[s].limit;
	u64 base = c->seg[s].base;

	seg_set_null(out, sel, cpl);
	if (!c->null_clears_base) {
		out->base = base;
		out->limit = limit;
	}
}

/*
 * Real mode: only the base follows the selector, so limits loaded in protected mode survive
 * ("unreal" mode). Virtual-8086 mode: fixed 64 KiB segments at DPL 3 (APM2 10.2.1).
 */
void seg_real(const struct cpu *c, enum cpu_sreg s, u16 sel, struct cpu_seg *out)
{
	const struct cpu_seg *old = &c->seg[s];

	out->sel = sel;
	out->base = (u32)sel << 4;
	if (cpu_v86(c)) {
		out->limit = 0xffff;
		out->attr = SEG_P | SEG_DPL | SEG_S | SEG_RW | SEG_ACCESSED;
		return;
	}
	out->limit = old->attr & SEG_P ? old->limit : 0xffff;
	out->attr = (old->attr & SEG_P ? old->attr & (SEG_G | SEG_DB | SEG_AVL) : 0) | SEG_P |
		    SEG_S | SEG_RW | SEG_ACCESSED | (s == S_CS ? SEG_CODE : 0);
}

void cpu_load_seg_real(struct cpu *c, enum cpu_sreg s, u16 sel)
{
	struct cpu_seg seg;

	seg_real(c, s, sel, &seg);
	seg_commit(c, s, &seg);
}

void seg_commit(struct cpu *c, enum cpu_sreg s, const struct cpu_seg *seg)
{
	/* Bases and limits of ES, SS and DS mean nothing to 64-bit code (APM2 4.5.3). */
	if (!cpu_in_64(c) || (s != S_DS && s != S_ES && s != S_SS))
		cpu_mode_changed(c);
	c->seg[s] = *seg;
}

enum cpu_result seg_prepare(struct cpu *c, enum cpu_sreg s, u16 sel, u32 cpl, bool is64, u8 vec,
			    u32 ext, struct cpu_seg *out)
{
	struct desc d;
	enum cpu_result r;

	if (sel_null(sel)) {
		/* A null SS only for 64-bit code below CPL 3 (APM2 4.5.1). */
		if (s == S_SS && (!is64 || cpl == 3 || sel_rpl(sel) != cpl))
			return cpu_raise_err(c, vec, ext);
		seg_load_null(c, s, sel, s == S_SS ? cpl : 0, out);
		return CPU_OK;
	}
	r = desc_read(c, sel, &d, vec, ext);
	if (r)
		return r;
	if (s == S_SS) {
		/* Writable data with RPL = DPL = CPL (APM2 4.10.1). */
		if (sel_rpl(sel) != cpl || desc_dpl(&d) != cpl || !desc_is_stack(&d))
			return cpu_raise_err(c, vec, sel_error(sel, ext));
		if (!desc_p(&d))
			return cpu_raise_err(c, EXC_SS, sel_error(sel, ext));
	} else {
		u32 t = desc_type(&d);

		/* Data or readable code (APM2 4.10.1). */
		if (!desc_s(&d) || (t & (SEG_CODE | SEG_RW)) == SEG_CODE)
			return cpu_raise_err(c, vec, sel_error(sel, ext));
		/* DPL >= max(CPL, RPL) except for conforming code (APM2 4.10.2). */
		if (!desc_is_conforming(&d) && (sel_rpl(sel) > desc_dpl(&d) || cpl > desc_dpl(&d)))
			return cpu_raise_err(c, vec, sel_error(sel, ext));
		if (!desc_p(&d))
			return cpu_raise_err(c, EXC_NP, sel_error(sel, ext));
	}
	r = desc_set_accessed(c, &d);
	if (r)
		return r;
	desc_to_seg(&d, sel, out);
	return CPU_OK;
}

enum cpu_result cpu_load_seg(struct cpu *c, enum cpu_sreg s, u16 sel)
{
	struct cpu_seg seg;
	enum cpu_result r;

	if (cpu_real_mode(c) || cpu_v86(c)) {
		cpu_load_seg_real(c, s, sel);
		return CPU_OK;
	}
	r = seg_prepare(c, s, sel, c->cpl, cpu_in_64(c), EXC_GP, 0, &seg);
	if (r)
		return r;
	seg_commit(c, s, &seg);
	return CPU_OK;
}

enum cpu_result code_prepare(struct cpu *c, struct desc *d, u32 cpl, u64 rip, u32 ext,
			     struct code_target *t)
{
	enum cpu_result r;

	t->is64 = cpu_in_lm(c) && desc_l(d);
	/* L and D together are reserved in long mode (APM2 4.8.1). */
	if (t->is64 && desc_db(d))
		return cpu_raise_err(c, EXC_GP, sel_error(d->sel, ext));
	if (t->is64 ? !cpu_canonical(c, rip) : rip > desc_limit(d))
		return cpu_raise_err(c, EXC_GP, ext);
	r = desc_set_accessed(c, d);
	if (r)
		return r;
	desc_to_seg(d, (d->sel & 0xfffc) | cpl, &t->cs);
	t->rip = rip;
	t->cpl = cpl;
	return CPU_OK;
}

void code_commit(struct cpu *c, const struct code_target *t)
{
	const struct cpu_seg *cs = &c->seg[S_CS];

	/* An interrupt of the kernel and the return from it change nothing here. */
	if (c->cpl != t->cpl || cs->attr != t->cs.attr || cs->base != t->cs.base ||
	    cs->limit != t->cs.limit)
		cpu_mode_changed(c);
	c->seg[S_CS] = t->cs;
	c->cpl = t->cpl;
	c->rip = t->rip;
}

enum cpu_result code_return(struct cpu *c, u16 sel, u64 rip, struct code_target *t)
{
	u32 rpl = sel_rpl(sel);
	struct desc d;
	enum cpu_result r;

	if (sel_null(sel))
		return cpu_raise_err(c, EXC_GP, 0);
	r = desc_read(c, sel, &d, EXC_GP, 0);
	if (r)
		return r;
	/* Returns go to the same or an outer level (APM2 4.11.5). */
	if (rpl < c->cpl || !desc_is_code(&d))
		return cpu_raise_err(c, EXC_GP, sel_error(sel, 0));
	if (desc_is_conforming(&d) ? desc_dpl(&d) > rpl : desc_dpl(&d) != rpl)
		return cpu_raise_err(c, EXC_GP, sel_error(sel, 0));
	if (!desc_p(&d))
		return cpu_raise_err(c, EXC_NP, sel_error(sel, 0));
	return code_prepare(c, &d, rpl, rip, 0, t);
}

void seg_drop_inner(struct cpu *c)
{
	static const u8 regs[] = { S_ES, S_DS, S_FS, S_GS };

	for (u32 i = 0; i < ARRAY_SIZE(regs); i++) {
		struct cpu_seg *s = &c->seg[regs[i]];
		u32 dpl = (s->attr & SEG_DPL) >> SEG_DPL_SHIFT;
		bool conforming = (s->attr & (SEG_CODE | SEG_EC)) == (SEG_CODE | SEG_EC);

		if ((s->attr & SEG_P) && !conforming && dpl < c->cpl)
			seg_load_null(c, regs[i], 0, 0, s);
	}
}

static enum cpu_result write_mem(struct cpu *c, const struct insn *in, const void *v, u32 size)
{
	enum cpu_result r = cpu_write(c, in->seg, insn_ea(c, in), v, size);

	return r;
}

/* MOV r/m, Sreg (8C) and MOV Sreg, r/m16 (8E). */
enum cpu_result exec_mov_sreg(struct cpu *c, const struct insn *in)
{
	u16 sel;
	enum cpu_result r;

	if (in->reg > S_GS)
		return cpu_raise(c, EXC_UD);
	if (in->opcode == 0x8c) {
		sel = c->seg[in->reg].sel;
		if (in->has_mem)
			return write_mem(c, in, &sel, 2);
		insn_set_reg(c, in->rm, in->opsize, sel);
		return CPU_OK;
	}
	/* CS is loaded by far transfers only (APM3 MOV). */
	if (in->reg == S_CS)
		return cpu_raise(c, EXC_UD);
	if (in->has_mem) {
		r = cpu_read(c, in->seg, insn_ea(c, in), &sel, 2);
		if (r)
			return r;
	} else {
		sel = c->gpr[in->rm];
	}
	r = cpu_load_seg(c, in->reg, sel);
	if (r)
		return r;
	/* The next instruction is shielded from interrupts and debug traps (APM2 8.1.4). */
	if (in->reg == S_SS)
		c->shadow_ss = 1;
	return CPU_OK;
}

/* 06/07 ES, 0E CS, 16/17 SS, 1E/1F DS; 0F A0/A1 FS, 0F A8/A9 GS. */
static enum cpu_sreg stacked_sreg(const struct insn *in)
{
	if (in->map == 1)
		return in->opcode < 0xa8 ? S_FS : S_GS;
	return in->opcode >> 3;
}

enum cpu_result exec_push_sreg(struct cpu *c, const struct insn *in)
{
	enum cpu_result r = cpu_push(c, c->seg[stacked_sreg(in)].sel, push_opsize(in));

	return r;
}

enum cpu_result exec_pop_sreg(struct cpu *c, const struct insn *in)
{
	enum cpu_sreg s = stacked_sreg(in);
	u64 rsp = c->gpr[R_RSP];
	u64 v;
	enum cpu_result r;

	r = cpu_pop(c, &v, push_opsize(in));
	if (r)
		return r;
	r = cpu_load_seg(c, s, v);
	if (r) {
		c->gpr[R_RSP] = rsp;
		return r;
	}
	if (s == S_SS)
		c->shadow_ss = 1;
	return CPU_OK;
}

/* LES, LDS, LSS, LFS, LGS: a far pointer from memory. */
enum cpu_result exec_load_far(struct cpu *c, const struct insn *in)
{
	u32 size = in->opsize == 8 ? 4 : in->opsize;	/* REX.W: m16:32 all the same (APM3 LSS) */
	enum cpu_sreg s;
	u8 buf[6];
	u64 off = 0;
	u16 sel;
	enum cpu_result r;

	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_LES: s = S_ES; break;
	case ZYDIS_MNEMONIC_LDS: s = S_DS; break;
	case ZYDIS_MNEMONIC_LSS: s = S_SS; break;
	case ZYDIS_MNEMONIC_LFS: s = S_FS; break;
	default: s = S_GS; break;
	}
	if (!in->has_mem)
		return cpu_raise(c, EXC_UD);
	r = cpu_read_aligned(c, in->seg, insn_ea(c, in), buf, size + 2, size);
	if (r)
		return r;
	for (u32 i = 0; i < size; i++)
		off |= (u64)buf[i] << (i * 8);
	sel = buf[size] | buf[size + 1] << 8;
	r = cpu_load_seg(c, s, sel);
	if (r)
		return r;
	insn_set_reg(c, in->reg, size, off);
	return CPU_OK;
}
