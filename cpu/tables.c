/* SPDX-License-Identifier: MIT */
/* cpu/tables.c - instructions on descriptor tables and single descriptors. */
#include <Zydis/Zydis.h>

#include "cpu/access.h"
#include "cpu/exec_priv.h"
#include "engine/engine.h"

static enum cpu_result gp0(struct cpu *c)
{
	return cpu_raise_err(c, EXC_GP, 0);
}

static enum cpu_result store(struct cpu *c, const struct insn *in, const void *v, u32 n)
{
	enum cpu_result r = cpu_write(c, in->seg, insn_ea(c, in), v, n);

	return r;
}

/* -- GDTR, IDTR -- */

static enum cpu_result load_dtr(struct cpu *c, const struct insn *in, struct cpu_dtr *t)
{
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) v = { 0 };
	enum cpu_result r;

	r = cpu_read(c, in->seg, insn_ea(c, in), &v, in->mode == 8 ? 10 : 6);
	if (r)
		return r;
	if (in->mode == 8) {
		if (!cpu_canonical_base(c, v.base))
			return gp0(c);
	} else if (in->opsize == 2) {
		/* 24-bit base with 16-bit operands (APM3 LGDT). */
		v.base &= 0xffffff;
	}
	t->base = v.base;
	t->limit = v.limit;
	engine_serialise(c, true);
	return CPU_OK;
}

enum cpu_result exec_lgdt(struct cpu *c, const struct insn *in)
{
	return load_dtr(c, in, &c->gdtr);
}

enum cpu_result exec_lidt(struct cpu *c, const struct insn *in)
{
	return load_dtr(c, in, &c->idtr);
}

static enum cpu_result store_dtr(struct cpu *c, const struct insn *in, const struct cpu_dtr *t)
{
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) v = { t->limit, t->base };

	/* AMD stores all 32 bits of the base with any operand size (APM3 SGDT). */
	return store(c, in, &v, in->mode == 8 ? 10 : 6);
}

enum cpu_result exec_sgdt(struct cpu *c, const struct insn *in)
{
	return store_dtr(c, in, &c->gdtr);
}

enum cpu_result exec_sidt(struct cpu *c, const struct insn *in)
{
	return store_dtr(c, in, &c->idtr);
}

/* -- LDTR, TR -- */

/* The 16-bit operand all of the following take. */
static enum cpu_result operand16(struct cpu *c, const struct insn *in, u16 *v)
{
	if (in->has_mem)
		return cpu_read(c, in->seg, insn_ea(c, in), v, 2);
	*v = c->gpr[in->rm];
	return CPU_OK;
}

/* A system segment: 16 bytes in long mode, its base canonical (APM2 4.8.3). */
static enum cpu_result system_to_seg(struct cpu *c, struct desc *d, u16 sel, u8 vec,
				     struct cpu_seg *out)
{
	if (cpu_in_lm(c)) {
		enum cpu_result r = desc_read_wide(c, d, vec, 0);

		if (r)
			return r;
		if (!cpu_canonical_base(c, desc_base(d)))
			return cpu_raise_err(c, vec, sel_error(sel, 0));
	}
	desc_to_seg(d, sel, out);
	return CPU_OK;
}

/* Rules for LDTR (APM2 4.6.3); vec: #GP for LLDT, #TS in a task switch. */
enum cpu_result ldtr_prepare(struct cpu *c, u16 sel, u8 vec, struct cpu_seg *out)
{
	struct desc d;
	enum cpu_result r;

	if (sel_null(sel)) {
		seg_set_null(out, sel, 0);
		return CPU_OK;
	}
	if (sel & 4)
		return cpu_raise_err(c, vec, sel_error(sel, 0));
	r = desc_read(c, sel, &d, vec, 0);
	if (r)
		return r;
	if (desc_s(&d) || desc_type(&d) != DT_LDT)
		return cpu_raise_err(c, vec, sel_error(sel, 0));
	if (!desc_p(&d))
		return cpu_raise_err(c, vec == EXC_TS ? EXC_TS : EXC_NP, sel_error(sel, 0));
	return system_to_seg(c, &d, sel, vec, out);
}

enum cpu_result exec_lldt(struct cpu *c, const struct insn *in)
{
	struct cpu_seg seg;
	u16 sel;
	enum cpu_result r;

	r = operand16(c, in, &sel);
	if (!r)
		r = ldtr_prepare(c, sel, EXC_GP, &seg);
	if (!r)
		c->seg[S_LDTR] = seg;
	if (!r)
		engine_serialise(c, true);
	return r;
}

/* LTR: an available TSS, which becomes busy (APM2 12.2.3). */
enum cpu_result exec_ltr(struct cpu *c, const struct insn *in)
{
	struct cpu_seg seg;
	struct desc d;
	u16 sel;
	u32 type;
	bool busy;
	enum cpu_result r;

	engine_serialise(c, true);
	r = operand16(c, in, &sel);
	if (r)
		return r;
	if (sel_null(sel))
		return gp0(c);
	if (sel & 4)
		return cpu_raise_err(c, EXC_GP, sel_error(sel, 0));
	r = desc_read(c, sel, &d, EXC_GP, 0);
	if (r)
		return r;
	type = desc_type(&d);
	if (desc_s(&d) || (type != DT_TSS32 && (type != DT_TSS16 || cpu_in_lm(c))))
		return cpu_raise_err(c, EXC_GP, sel_error(sel, 0));
	if (!desc_p(&d))
		return cpu_raise_err(c, EXC_NP, sel_error(sel, 0));
	r = system_to_seg(c, &d, sel, EXC_GP, &seg);
	if (!r)
		r = desc_set_busy(c, &d, true, &busy);
	if (r)
		return r;
	if (unlikely(busy))	/* another CPU's since it was read */
		return cpu_raise_err(c, EXC_GP, sel_error(sel, 0));
	seg.attr |= DT_BUSY;
	c->seg[S_TR] = seg;
	return CPU_OK;
}

static enum cpu_result store_sel(struct cpu *c, const struct insn *in, u16 sel)
{
	if (in->has_mem)
		return store(c, in, &sel, 2);
	insn_set_reg(c, in->rm, in->opsize, sel);
	return CPU_OK;
}

enum cpu_result exec_sldt(struct cpu *c, const struct insn *in)
{
	return store_sel(c, in, c->seg[S_LDTR].sel);
}

enum cpu_result exec_str(struct cpu *c, const struct insn *in)
{
	return store_sel(c, in, c->seg[S_TR].sel);
}

/* -- LAR, LSL, VERR, VERW -- */

/* System types each instruction accepts, as bit masks: legacy and long mode (APM3). */
#define T(n) (1u << (n))
enum {
	LAR_LEGACY = T(DT_TSS16) | T(DT_LDT) | T(DT_TSS16_BUSY) | T(DT_CALL16) | T(DT_TASK_GATE) |
		     T(DT_TSS32) | T(DT_TSS32_BUSY) | T(DT_CALL32),
	LAR_LONG = T(DT_LDT) | T(DT_TSS32) | T(DT_TSS32_BUSY) | T(DT_CALL32),
	LSL_LEGACY = T(DT_TSS16) | T(DT_LDT) | T(DT_TSS16_BUSY) | T(DT_TSS32) | T(DT_TSS32_BUSY),
	LSL_LONG = T(DT_LDT) | T(DT_TSS32) | T(DT_TSS32_BUSY),
};

/*
 * Fetch the descriptor the operand names. *ok = false: not accessible, which these
 * instructions report by ZF = 0 instead of a fault.
 */
static enum cpu_result probe(struct cpu *c, const struct insn *in, u32 legacy, u32 lng,
			     struct desc *d, bool *ok)
{
	u16 sel;
	enum cpu_result r;

	*ok = false;
	r = operand16(c, in, &sel);
	if (r)
		return r;
	if (sel_null(sel))
		return CPU_OK;
	r = desc_read(c, sel, d, EXC_GP, 0);
	/* Outside the table: not an error here; a page fault is one. */
	if (r == CPU_FAULT && c->fault.vector == EXC_GP)
		return CPU_OK;
	if (r)
		return r;
	if (!desc_s(d) && !((cpu_in_lm(c) ? lng : legacy) & T(desc_type(d))))
		return CPU_OK;
	if (desc_s(d) && desc_is_conforming(d)) {
		*ok = true;
		return CPU_OK;
	}
	*ok = desc_dpl(d) >= c->cpl && desc_dpl(d) >= sel_rpl(sel);
	return CPU_OK;
}

static void set_zf(struct cpu *c, bool zf)
{
	c->rflags = (c->rflags & ~(u64)FL_ZF) | (zf ? FL_ZF : 0);
}

enum cpu_result exec_lar(struct cpu *c, const struct insn *in)
{
	struct desc d;
	bool ok;
	enum cpu_result r = probe(c, in, LAR_LEGACY, LAR_LONG, &d, &ok);

	if (r)
		return r;
	set_zf(c, ok);
	if (ok)
		/* The manual leaves bits 19:16 open; processors leave the limit's there. */
		insn_set_reg(c, in->reg, in->opsize, d.lo >> 32 & 0x00ffff00);
	return CPU_OK;
}

enum cpu_result exec_lsl(struct cpu *c, const struct insn *in)
{
	struct desc d;
	bool ok;
	enum cpu_result r = probe(c, in, LSL_LEGACY, LSL_LONG, &d, &ok);

	if (r)
		return r;
	set_zf(c, ok);
	if (ok)
		insn_set_reg(c, in->reg, in->opsize, desc_limit(&d));
	return CPU_OK;
}

enum cpu_result exec_verr(struct cpu *c, const struct insn *in)
{
	struct desc d;
	bool ok;
	enum cpu_result r = probe(c, in, 0, 0, &d, &ok);

	if (r)
		return r;
	/* Readable: any data segment, or code with R. */
	set_zf(c, ok && (!(desc_type(&d) & SEG_CODE) || (desc_type(&d) & SEG_RW)));
	return CPU_OK;
}

enum cpu_result exec_verw(struct cpu *c, const struct insn *in)
{
	struct desc d;
	bool ok;
	enum cpu_result r = probe(c, in, 0, 0, &d, &ok);

	if (r)
		return r;
	set_zf(c, ok && desc_is_stack(&d));
	return CPU_OK;
}
