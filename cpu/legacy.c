/* SPDX-License-Identifier: MIT */
/*
 * cpu/legacy.c - instructions the host does not have in 64-bit mode: BCD
 * arithmetic, PUSHA/POPA, BOUND, ARPL, SALC; and ENTER and XLAT, which are not
 * worth translating.
 */
#include <Zydis/Zydis.h>

#include "cpu/access.h"

/* A handler's last store may have been queued (CPU_DONE): the instruction is complete all
 * the same. CPU_USER, from a read, never comes here. */
static enum cpu_result stored(struct cpu *c, const struct insn *in, enum cpu_result ret)
{
	if (ret == CPU_DONE)
		insn_retire(c, in);
	return ret;
}

static u8 al(const struct cpu *c)
{
	return (u8)c->gpr[R_RAX];
}

static void set_al(struct cpu *c, u8 v)
{
	insn_set_reg(c, R_RAX, 1, v);
}

static void set_ax(struct cpu *c, u16 v)
{
	insn_set_reg(c, R_RAX, 2, v);
}

/*
 * The manual leaves some flags of these undefined; hardware sets them from the sum it
 * forms inside, so that is how they are made here: v = a + b or a - b, `bits` wide.
 */
static void set_flags(struct cpu *c, u32 a, u32 b, bool sub, u32 bits)
{
	u32 sign = 1u << (bits - 1), mask = sign * 2 - 1;
	u32 v = (sub ? a - b : a + b) & mask;
	u32 carry = sub ? (~a & b) | ((~a | b) & v) : (a & b) | ((a | b) & ~v);
	u32 f = 0;

	if (v & sign)
		f |= FL_SF;
	if (!v)
		f |= FL_ZF;
	if (!(__builtin_popcount(v & 0xff) & 1))
		f |= FL_PF;
	if (carry & 8)
		f |= FL_AF;
	if (carry & sign)
		f |= FL_CF;
	if ((sub ? (a ^ b) & (a ^ v) : ~(a ^ b) & (a ^ v)) & sign)
		f |= FL_OF;
	c->rflags = (c->rflags & ~(u64)FL_ARITH) | f;
}

/* The flags the manual does define, after the others. */
static void force_flags(struct cpu *c, bool af, bool cf)
{
	c->rflags = (c->rflags & ~(u64)(FL_AF | FL_CF)) | (af ? FL_AF : 0) | (cf ? FL_CF : 0);
}

/* AAA, AAS (APM3). The adjustment carries from AL into AH as one 16-bit sum. */
static enum cpu_result ascii_adjust(struct cpu *c, const struct insn *in)
{
	bool add = in->mnemonic == ZYDIS_MNEMONIC_AAA;
	bool adjust = (al(c) & 15) > 9 || (c->rflags & FL_AF);
	u16 ax = (u16)c->gpr[R_RAX];
	u16 by = adjust ? 0x106 : 0;

	set_ax(c, (add ? ax + by : ax - by) & 0xff0f);
	set_flags(c, ax, by, !add, 16);
	force_flags(c, adjust, adjust);
	return CPU_OK;
}

static enum cpu_result decimal_adjust(struct cpu *c, const struct insn *in)
{
	bool add = in->mnemonic == ZYDIS_MNEMONIC_DAA;
	u8 old = al(c);
	bool af = (old & 15) > 9 || (c->rflags & FL_AF);
	bool cf = old > 0x99 || (c->rflags & FL_CF);
	u8 by = (af ? 6 : 0) + (cf ? 0x60 : 0);

	/* DAS: a borrow out of the low step counts as well. */
	if (!add && af && old < 6)
		cf = true;
	set_al(c, add ? old + by : old - by);
	set_flags(c, old, by, !add, 8);
	force_flags(c, af, cf);
	return CPU_OK;
}

static enum cpu_result aam(struct cpu *c, const struct insn *in)
{
	u8 base = (u8)in->imm;
	u8 v = al(c);

	if (!base)
		return cpu_raise(c, EXC_DE);
	set_ax(c, (u16)(v / base << 8 | v % base));
	set_flags(c, v % base, 0, false, 8);
	return CPU_OK;
}

static enum cpu_result aad(struct cpu *c, const struct insn *in)
{
	u8 high = (u8)((u8)(c->gpr[R_RAX] >> 8) * (u8)in->imm);
	u8 low = al(c);

	set_ax(c, (u8)(low + high));
	set_flags(c, low, high, false, 8);
	return CPU_OK;
}

static enum cpu_result salc(struct cpu *c, const struct insn *in)
{
	set_al(c, c->rflags & FL_CF ? 0xff : 0);
	return CPU_OK;
}

static enum cpu_result xlat(struct cpu *c, const struct insn *in)
{
	u64 ea = (c->gpr[R_RBX] + al(c)) & cpu_addr_mask(in->addrsize);
	u8 v;
	enum cpu_result r = cpu_read(c, cpu_data_seg(in), ea, &v, 1);

	if (r == CPU_OK)
		set_al(c, v);
	return r;
}

/* AX CX DX BX SP BP SI DI, SP as it was before. All eight are probed first, one by
 * one because a 16-bit stack may wrap between them. */
static enum cpu_result pusha(struct cpu *c, const struct insn *in)
{
	u64 mask = cpu_stack_mask(c);
	u64 sp = c->gpr[R_RSP];
	u32 size = in->opsize;
	enum cpu_result ret = CPU_OK;
	enum cpu_result r;

	for (u32 i = 0; i < 8; i++) {
		r = cpu_probe_w(c, S_SS, (sp - (i + 1) * size) & mask, size);
		if (r)
			return r;
	}
	for (u32 i = 0; i < 8; i++) {
		r = cpu_write(c, S_SS, (sp - (i + 1) * size) & mask, &c->gpr[i], size);
		if (r == CPU_FAULT)
			return r;
		if (r)
			ret = r;
	}
	cpu_set_sp(c, sp - 8 * size);
	return stored(c, in, ret);
}

static enum cpu_result popa(struct cpu *c, const struct insn *in)
{
	u64 mask = cpu_stack_mask(c);
	u64 sp = c->gpr[R_RSP];
	u32 size = in->opsize;
	u64 v[8] = { 0 };

	for (u32 i = 0; i < 8; i++) {
		enum cpu_result r = cpu_read(c, S_SS, (sp + i * size) & mask, &v[7 - i], size);

		if (r)
			return r;
	}
	for (u32 i = 0; i < 8; i++)
		if (i != R_RSP)
			insn_set_reg(c, (u8)i, size, v[i]);
	cpu_set_sp(c, sp + 8 * size);
	return CPU_OK;
}

static enum cpu_result bound(struct cpu *c, const struct insn *in)
{
	union {
		s16 w[2];
		s32 l[2];
	} b;
	bool inside;
	u64 ea = insn_ea(c, in);
	/* Two loads: a fault of the first comes before whatever is wrong with the second, as the
	 * host has it. */
	enum cpu_result r = cpu_read_aligned(c, in->seg, ea, &b, in->opsize, in->opsize);

	if (!r)
		r = cpu_read_aligned(c, in->seg, ea + in->opsize, (u8 *)&b + in->opsize, in->opsize,
				     in->opsize);
	if (r)
		return r;
	if (in->opsize == 2) {
		s16 v = (s16)c->gpr[in->reg];

		inside = v >= b.w[0] && v <= b.w[1];
	} else {
		s32 v = (s32)c->gpr[in->reg];

		inside = v >= b.l[0] && v <= b.l[1];
	}
	return inside ? CPU_OK : cpu_raise(c, EXC_BR);
}

/* ENTER (APM3): registers change only when every access has worked. */
static enum cpu_result enter(struct cpu *c, const struct insn *in)
{
	u32 size = in->mode == 8 ? (in->prefixes & PFX_OPSIZE && !in->rex_w ? 2 : 8) : in->opsize;
	u32 level = (u32)in->imm2 & 31;
	u64 mask = cpu_stack_mask(c);
	u64 sp = (c->gpr[R_RSP] - size) & mask;
	u64 bp = c->gpr[R_RBP];
	u64 frame = (c->gpr[R_RSP] & ~mask) | sp;	/* a 16-bit stack leaves ESP's upper half
							 * alone */
	enum cpu_result ret, r;

	ret = cpu_write(c, S_SS, sp, &bp, size);
	if (ret == CPU_FAULT)
		return ret;
	for (u32 i = 1; i < level; i++) {
		u64 v = 0;

		bp -= size;
		r = cpu_read(c, S_SS, bp & mask, &v, size);
		if (r)
			return r;
		sp = (sp - size) & mask;
		r = cpu_write(c, S_SS, sp, &v, size);
		if (r == CPU_FAULT)
			return r;
		if (r)
			ret = r;
	}
	if (level) {
		sp = (sp - size) & mask;
		r = cpu_write(c, S_SS, sp, &frame, size);
		if (r == CPU_FAULT)
			return r;
		if (r)
			ret = r;
	}
	sp = (sp - (u16)in->imm) & mask;
	/* The new top of the stack must be writable. */
	r = cpu_probe_w(c, S_SS, sp, size);
	if (r)
		return r;
	insn_set_reg(c, R_RBP, size, frame);
	cpu_set_sp(c, sp);
	return stored(c, in, ret);
}

static enum cpu_result arpl(struct cpu *c, const struct insn *in)
{
	u16 src = (u16)c->gpr[in->reg] & 3;
	u64 ea = 0;
	enum cpu_result ret = CPU_OK;
	u16 dst;

	if (cpu_real_mode(c) || cpu_v86(c))
		return cpu_raise(c, EXC_UD);
	if (in->has_mem) {
		ea = insn_ea(c, in);
		ret = cpu_probe_w(c, in->seg, ea, 2);
		if (!ret)
			ret = cpu_read(c, in->seg, ea, &dst, 2);
		if (ret)
			return ret;
	} else {
		dst = (u16)c->gpr[in->rm];
	}
	if ((dst & 3) >= src) {
		c->rflags &= ~(u64)FL_ZF;
		return CPU_OK;
	}
	dst = (dst & ~3) | src;
	if (in->has_mem)
		ret = cpu_write(c, in->seg, ea, &dst, 2);
	else
		insn_set_reg(c, in->rm, 2, dst);
	if (ret != CPU_FAULT)
		c->rflags |= FL_ZF;
	return stored(c, in, ret);
}

static const struct {
	u16 mnemonic;
	bool valid64;
	enum cpu_result (*run)(struct cpu *c, const struct insn *in);
} table[] = {
	{ ZYDIS_MNEMONIC_AAA, false, ascii_adjust },
	{ ZYDIS_MNEMONIC_AAS, false, ascii_adjust },
	{ ZYDIS_MNEMONIC_DAA, false, decimal_adjust },
	{ ZYDIS_MNEMONIC_DAS, false, decimal_adjust },
	{ ZYDIS_MNEMONIC_AAM, false, aam },
	{ ZYDIS_MNEMONIC_AAD, false, aad },
	{ ZYDIS_MNEMONIC_SALC, false, salc },
	{ ZYDIS_MNEMONIC_XLAT, true, xlat },
	{ ZYDIS_MNEMONIC_PUSHA, false, pusha },
	{ ZYDIS_MNEMONIC_PUSHAD, false, pusha },
	{ ZYDIS_MNEMONIC_POPA, false, popa },
	{ ZYDIS_MNEMONIC_POPAD, false, popa },
	{ ZYDIS_MNEMONIC_BOUND, false, bound },
	{ ZYDIS_MNEMONIC_ENTER, true, enter },
	{ ZYDIS_MNEMONIC_ARPL, false, arpl },
};

enum cpu_result cpu_exec_legacy(struct cpu *c, const struct insn *in)
{
	u32 i;
	enum cpu_result r;

	for (i = 0; i < ARRAY_SIZE(table) && table[i].mnemonic != in->mnemonic; i++)
		;
	if (i == ARRAY_SIZE(table) || (in->mode == 8 && !table[i].valid64) ||
	    (in->prefixes & PFX_LOCK))
		return cpu_raise(c, EXC_UD);
	r = table[i].run(c, in);
	if (r == CPU_OK)
		insn_retire(c, in);
	return r;
}
