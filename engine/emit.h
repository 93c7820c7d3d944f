/* SPDX-License-Identifier: MIT */
/*
 * engine/emit.h - x86-64 encodings the translator itself emits. `abs` operands
 * are addresses below 2 GiB, encoded without a base (SIB form 0x25).
 */
#ifndef ENGINE_EMIT_H
#define ENGINE_EMIT_H

#include "engine/translate_priv.h"

static inline void b1(struct translator *t, u32 v) { *t->p++ = (u8)v; }
static inline void b2(struct translator *t, u32 a, u32 b) { b1(t, a); b1(t, b); }
static inline void b3(struct translator *t, u32 a, u32 b, u32 c) { b2(t, a, b); b1(t, c); }
static inline void d4(struct translator *t, u32 v) { __builtin_memcpy(t->p, &v, 4); t->p += 4; }
static inline void q8(struct translator *t, u64 v) { __builtin_memcpy(t->p, &v, 8); t->p += 8; }
static inline u8 *rx_of(const struct translator *t, u8 *rw)
{
	return t->e->mem.rx + (rw - t->e->mem.rw);
}
static inline u32 code_off(const struct translator *t, const u8 *rw)
{
	return (u32)(rw - t->e->mem.rw);
}
static inline bool is_simm32(u64 v) { return (u64)(s64)(s32)v == v; }
static inline u32 lo32(const void *p) { return (u32)(uintptr_t)p; }

/* REX for (w, reg, index, base); emitted only when needed. */
static inline void rex(struct translator *t, bool w, u32 reg, u32 idx, u32 base)
{
	u32 v = 0x40 | (w ? 8 : 0) | ((reg >> 3) & 1) << 2 | ((idx >> 3) & 1) << 1 |
		((base >> 3) & 1);

	if (v != 0x40)
		b1(t, v);
}

/* op reg, [abs] (and the store forms). */
static inline void op_abs(struct translator *t, bool w, u32 op, u32 reg, const void *abs)
{
	rex(t, w, reg, 0, 0);
	b1(t, op);
	b2(t, 0x04 | (reg & 7) << 3, 0x25);
	d4(t, lo32(abs));
}
static inline void ld_abs(struct translator *t, u32 reg, const void *abs)
{
	op_abs(t, true, 0x8b, reg, abs);
}
static inline void st_abs(struct translator *t, u32 reg, const void *abs)
{
	op_abs(t, true, 0x89, reg, abs);
}
static inline void ld_abs32(struct translator *t, u32 reg, const void *abs)
{
	op_abs(t, false, 0x8b, reg, abs);
}

/* op reg, rm (register form) */
static inline void op_rr(struct translator *t, bool w, u32 op, u32 reg, u32 rm)
{
	rex(t, w, reg, 0, rm);
	b2(t, op, 0xc0 | (reg & 7) << 3 | (rm & 7));
}
static inline void mov_rr(struct translator *t, u32 dst, u32 src)
{
	if (dst != src)
		op_rr(t, true, 0x8b, dst, src);
}
static inline void mov_rr32(struct translator *t, u32 dst, u32 src)
{
	op_rr(t, false, 0x8b, dst, src);
}
static inline void movzx16(struct translator *t, u32 dst, u32 src)
{
	rex(t, false, dst, 0, src);
	b3(t, 0x0f, 0xb7, 0xc0 | (dst & 7) << 3 | (src & 7));
}
static inline void mov_ri(struct translator *t, u32 reg, u64 v)
{
	if (v <= 0xffffffffu) {
		rex(t, false, 0, 0, reg);
		b1(t, 0xb8 | (reg & 7));
		d4(t, (u32)v);
	} else if (is_simm32(v)) {
		rex(t, true, 0, 0, reg);
		b2(t, 0xc7, 0xc0 | (reg & 7));
		d4(t, (u32)v);
	} else {
		rex(t, true, 0, 0, reg);
		b1(t, 0xb8 | (reg & 7));
		q8(t, v);
	}
}

/* The same of an address that moves with the unit: all eight bytes of it. */
static inline void mov_rip(struct translator *t, u32 reg, u64 v)
{
	if (!t->may_move) {
		mov_ri(t, reg, v);
		return;
	}
	rex(t, true, 0, 0, reg);
	b1(t, 0xb8 | (reg & 7));
	q8(t, v);
	note_fixup(t, t->p - 8, FIX_RIP);
}

/* modrm/sib/disp for [base + disp] or, base < 0, [abs disp]. */
static inline void modrm_mem(struct translator *t, u32 reg, int base, s32 disp)
{
	reg = (reg & 7) << 3;
	if (base < 0) {
		b2(t, 0x04 | reg, 0x25);
		d4(t, (u32)disp);
		return;
	}
	u32 b = (u32)base & 7;
	u32 mod = disp == 0 && b != 5 ? 0 : disp >= -128 && disp < 128 ? 0x40 : 0x80;

	b1(t, mod | reg | b);
	if (b == 4)
		b1(t, 0x24);
	if (mod == 0x40)
		b1(t, (u8)disp);
	else if (mod == 0x80)
		d4(t, (u32)disp);
}
/* The same without the short form of a displacement, which EVEX counts in operands (SDM2 2.7.5). */
static inline void modrm_mem32(struct translator *t, u32 reg, int base, s32 disp)
{
	if (base < 0 || disp == 0) {
		modrm_mem(t, reg, base, disp);
		return;
	}
	b1(t, 0x80 | (reg & 7) << 3 | ((u32)base & 7));
	if (((u32)base & 7) == 4)
		b1(t, 0x24);
	d4(t, (u32)disp);
}
/* op reg, [base + disp] */
static inline void op_mem(struct translator *t, bool w, u32 op, u32 reg, int base, s32 disp)
{
	rex(t, w, reg, 0, base < 0 ? 0 : (u32)base);
	b1(t, op);
	modrm_mem(t, reg, base, disp);
}

/* lea dst, [base + index*scale + disp]; base or index may be -1 */
static inline void lea(struct translator *t, bool w, u32 dst, int base, int index, u32 scale,
		       s32 disp)
{
	u32 ss = scale == 8 ? 3 : scale == 4 ? 2 : scale == 2 ? 1 : 0;

	if (index < 0 && base >= 0) {
		if (disp == 0 && w) {
			mov_rr(t, dst, (u32)base);
			return;
		}
		op_mem(t, w, 0x8d, dst, base, disp);
		return;
	}
	rex(t, w, dst, index < 0 ? 0 : (u32)index, base < 0 ? 0 : (u32)base);
	b1(t, 0x8d);
	u32 reg = (dst & 7) << 3;
	u32 idx = index < 0 ? 4 : (u32)index & 7;

	if (base < 0) {
		b2(t, 0x04 | reg, ss << 6 | idx << 3 | 5);
		d4(t, (u32)disp);
		return;
	}
	u32 b = (u32)base & 7;
	u32 mod = disp == 0 && b != 5 ? 0 : disp >= -128 && disp < 128 ? 0x40 : 0x80;

	b2(t, mod | reg | 4, ss << 6 | idx << 3 | b);
	if (mod == 0x40)
		b1(t, (u8)disp);
	else if (mod == 0x80)
		d4(t, (u32)disp);
}

/* Without flags (BMI2): dst = src rotated right; the bits of src that [abs] selects, moved
 * together; the lowest bits of src, moved to where [abs] has ones. */
static inline void rorx32(struct translator *t, u32 dst, u32 src, u32 n)
{
	b3(t, 0xc4, 0xe3, 0x7b);
	b3(t, 0xf0, 0xc0 | dst << 3 | src, n);
}
static inline void pext_abs(struct translator *t, u32 dst, u32 src, const void *abs)
{
	b3(t, 0xc4, 0xe2, 0x82 | (~src & 15) << 3);
	b3(t, 0xf5, 0x04 | dst << 3, 0x25);
	d4(t, lo32(abs));
}
static inline void pdep32_abs(struct translator *t, u32 dst, u32 src, const void *abs)
{
	b3(t, 0xc4, 0xe2, 0x03 | (~src & 15) << 3);
	b3(t, 0xf5, 0x04 | dst << 3, 0x25);
	d4(t, lo32(abs));
}
static inline void not_r(struct translator *t, u32 reg)
{
	rex(t, true, 0, 0, reg);
	b2(t, 0xf7, 0xc0 | 2 << 3 | (reg & 7));
}

/* jcc rel32 with the displacement left open; returns its (rw) place */
static inline u8 *jcc32(struct translator *t, u32 cc)
{
	b2(t, 0x0f, 0x80 | cc);
	d4(t, 0);
	return t->p - 4;
}
static inline u8 *jmp32(struct translator *t)
{
	b1(t, 0xe9);
	d4(t, 0);
	return t->p - 4;
}
static inline void set_rel32(u8 *site, const u8 *target_rw)
{
	s32 rel = (s32)(target_rw - (site + 4));

	__builtin_memcpy(site, &rel, 4);
}
static inline void jmp_rx(struct translator *t, const u8 *rx)
{
	u8 *s = jmp32(t);
	s32 rel = (s32)(rx - (rx_of(t, s) + 4));

	__builtin_memcpy(s, &rel, 4);
}

enum {
	CC_O,
	CC_NO,
	CC_B,
	CC_AE,
	CC_E,
	CC_NE,
	CC_BE,
	CC_A,
	CC_S,
	CC_NS,
	CC_P,
	CC_NP,
	CC_L,
	CC_GE,
	CC_LE,
	CC_G
};

/* Guest register -> host register, or -1 when it lives in memory. */
static inline int hreg(u8 g)
{
	return engine_hreg[g] == HREG_MEM ? -1 : engine_hreg[g];
}
static inline void *greg_mem(const struct translator *t, u8 g) { return &t->e->c->gpr[g]; }

#endif
