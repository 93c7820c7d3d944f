/* SPDX-License-Identifier: MIT */
/*
 * engine/slow_vec.c - vector instructions with more than one memory address or
 * a per-element mask: gathers and MASKMOV. They work on the saved vector image.
 */
#include "engine/engine_priv.h"
#include "engine/vecreg.h"

bool slow_wide_indices(const struct insn *in)
{
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_VGATHERQPD: case ZYDIS_MNEMONIC_VGATHERQPS:
	case ZYDIS_MNEMONIC_VPGATHERQD: case ZYDIS_MNEMONIC_VPGATHERQQ:
	case ZYDIS_MNEMONIC_VSCATTERQPD: case ZYDIS_MNEMONIC_VSCATTERQPS:
	case ZYDIS_MNEMONIC_VPSCATTERQD: case ZYDIS_MNEMONIC_VPSCATTERQQ:
		return true;
	default:
		return false;
	}
}

u64 slow_vsib_ea(const struct cpu *c, const struct insn *in, const u8 *idx, u32 i)
{
	struct insn b = *in;
	s64 off;

	if (slow_wide_indices(in))
		off = *(const s64 *)(idx + 8 * i);
	else
		off = *(const s32 *)(idx + 4 * i);
	b.index = INSN_NOREG;
	b.disp += off * in->scale;
	return insn_ea(c, &b);
}

/* VSIB gathers (APM4): elements whose mask sign bit is set, in order; the mask
 * element is cleared as each one completes, so a fault restarts where it was. */
enum cpu_result slow_gather(struct engine *e, const struct insn *in)
{
	struct cpu *c = e->c;
	u32 esz = in->rex_w ? 8 : 4, isz = slow_wide_indices(in) ? 8 : 4;
	u32 vl = in->vex_l ? 32 : 16;
	u32 n = vl / (esz > isz ? esz : isz);
	u8 dst[VEC_BYTES], mask[VEC_BYTES];
	u8 idx[VEC_BYTES] __attribute__((aligned(8)));
	enum cpu_result r = CPU_OK;

	engine_fpu_save(c);
	if (in->reg == in->index || in->reg == in->vvvv || in->index == in->vvvv)
		return cpu_raise(c, EXC_UD);
	vec_get(c, in->reg, dst);
	vec_get(c, in->index, idx);
	vec_get(c, in->vvvv, mask);
	for (u32 i = 0; i < n; i++) {
		u64 lin;

		if (!(mask[i * esz + esz - 1] & 0x80))
			continue;
		r = c->ops->linear(c, in->seg, slow_vsib_ea(c, in, idx, i), esz, false, &lin);
		if (r == CPU_OK)
			r = c->ops->mem_read(c, lin, dst + i * esz, esz, cpu_mmu_idx(c));
		if (r != CPU_OK)
			break;
		cpu_zero(mask + i * esz, esz);
	}
	if (r == CPU_OK) {
		cpu_zero(mask, VEC_BYTES);
		cpu_zero(dst + n * esz, VEC_BYTES - n * esz);
	}
	vec_put(c, in->reg, dst);
	vec_put(c, in->vvvv, mask);
	if (r == CPU_OK)
		insn_retire(c, in);
	return r;
}

static u32 x87_top(struct cpu *c)
{
	return *(u16 *)(c->xsave + XSAVE_FSW) >> 11 & 7;
}

/* The x87 part of the image is only meaningful when its XSTATE_BV bit is set. */
static void x87_materialize(struct cpu *c)
{
	u64 *bv = (u64 *)(c->xsave + XSAVE_BV);

	if (*bv & XSTATE_X87)
		return;
	cpu_zero(c->xsave, XSAVE_MXCSR);
	cpu_zero(c->xsave + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
	*(u16 *)(c->xsave + XSAVE_FCW) = FCW_INIT;
	*bv |= XSTATE_X87;
}

/* Every MMX instruction but EMMS makes all tags valid and TOP 0 (APM1 5.13). The
 * image holds registers relative to TOP. */
static void enter_mmx(struct cpu *c)
{
	u32 top = x87_top(c);
	u8 old[128];

	cpu_copy(old, c->xsave + XSAVE_ST, 128);
	for (u32 i = 0; i < 8; i++)
		cpu_copy(c->xsave + XSAVE_ST + 16 * i, old + 16 * ((i - top) & 7), 16);
	*(u16 *)(c->xsave + XSAVE_FSW) &= (u16)~0x3800;
	c->xsave[XSAVE_FTW] = 0xff;
}

/* MASKMOVQ/MASKMOVDQU: bytes selected by the mask to seg:[rDI]. */
enum cpu_result slow_maskmov(struct engine *e, const struct insn *in)
{
	struct cpu *c = e->c;
	u8 src[VEC_BYTES], mask[VEC_BYTES];
	u32 n = in->mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ? 8 : 16;
	u64 ea = c->gpr[R_RDI];
	bool exit = false;
	u8 seg = in->prefixes & PFX_SEG ? in->seg : S_DS;

	engine_fpu_save(c);
	if (n == 8) {
		x87_materialize(c);
		cpu_copy(src, c->xsave + XSAVE_ST + 16u * ((in->reg - x87_top(c)) & 7), 8);
		cpu_copy(mask, c->xsave + XSAVE_ST + 16u * ((in->rm - x87_top(c)) & 7), 8);
	} else {
		vec_get(c, in->reg, src);
		vec_get(c, in->rm, mask);
	}
	if (in->addrsize == 4)
		ea = (u32)ea;
	else if (in->addrsize == 2)
		ea = (u16)ea;
	for (u32 pass = 0; pass < 2; pass++)
		for (u32 i = 0; i < n; i++) {
			u64 lin;
			enum cpu_result r;

			if (!(mask[i] & 0x80))
				continue;
			r = c->ops->linear(c, seg, ea + i, 1, true, &lin);
			/* MASKMOVDQU is a store of dwords for this (measured). */
			if (r == CPU_OK)
				r = cpu_align(c, lin - i, n == 8 ? 7 : 3);
			if (r == CPU_OK)
				r = pass ? c->ops->mem_write(c, lin, &src[i], 1, cpu_mmu_idx(c))
					 : c->ops->mem_probe_w(c, lin, 1, cpu_mmu_idx(c));
			if (r == CPU_DONE && pass)
				exit = true;
			else if (r != CPU_OK)
				return r;
		}
	if (n == 8)
		enter_mmx(c);
	insn_retire(c, in);
	return exit ? CPU_DONE : CPU_OK;
}

/* VMASKMOVPx, VPMASKMOVx (APM4): elements whose mask sign bit is set; the others are
 * neither read nor written, and zero in a loaded register. */
enum cpu_result slow_vmaskmov(struct engine *e, const struct insn *in)
{
	struct cpu *c = e->c;
	bool wide = in->mnemonic == ZYDIS_MNEMONIC_VMASKMOVPD ||
		    in->mnemonic == ZYDIS_MNEMONIC_VPMASKMOVQ;
	u32 esz = wide ? 8 : 4, vl = in->vex_l ? 32 : 16;
	u64 ea = insn_ea(c, in);
	u8 v[VEC_BYTES], mask[VEC_BYTES];
	bool exit = false;

	engine_fpu_save(c);
	vec_get(c, in->vvvv, mask);
	if (in->mem_w)
		vec_get(c, in->reg, v);
	else
		cpu_zero(v, VEC_BYTES);
	/* Permission for all before the first byte is stored. */
	for (u32 pass = in->mem_w ? 0 : 1; pass < 2; pass++)
		for (u32 i = 0; i < vl; i += esz) {
			u64 lin;
			enum cpu_result r;

			if (!(mask[i + esz - 1] & 0x80))
				continue;
			r = c->ops->linear(c, in->seg, insn_element(c, ea + i), esz, in->mem_w,
					   &lin);
			if (r == CPU_OK && !in->mem_w)
				r = c->ops->mem_read(c, lin, v + i, esz, cpu_mmu_idx(c));
			else if (r == CPU_OK)
				r = pass ? c->ops->mem_write(c, lin, v + i, esz, cpu_mmu_idx(c))
					 : c->ops->mem_probe_w(c, lin, esz, cpu_mmu_idx(c));
			if (r == CPU_DONE && in->mem_w && pass)
				exit = true;
			else if (r != CPU_OK)
				return r;
		}
	if (!in->mem_w)
		vec_put(c, in->reg, v);
	insn_retire(c, in);
	return exit ? CPU_DONE : CPU_OK;
}
