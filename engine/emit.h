/* SPDX-License-Identifier: MIT */
/*
 * engine/emit.h - the host instructions that the translator itself emits, by name. Bytes are
 * written here and, for the guest's own instructions, in reencode.c (tests/unit/layers.py looks);
 * everybody else calls a form. `abs` operands are addresses below 2 GiB, encoded without a base
 * (SIB form 0x25).
 *
 * A form knows what it does to the flags and to the scratch registers, and says so to the
 * translator, who knows what is still needed (translator.hold). tests/unit/test_emit.c
 * disassembles each, and holds what it says against the decoder.
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

/* -- what is still needed (translate_priv.h, enum hold) -- */

static inline void flags_change(struct translator *t)
{
	t->spoilt |= t->hold & HOLD_FLAGS;
}
static inline void reg_changes(struct translator *t, u32 reg)
{
	if (reg == SCR_PTR)
		t->spoilt |= t->hold & HOLD_PTR;
}

static inline void hold_ptr(struct translator *t, bool held)
{
	t->hold = (u8)((t->hold & ~HOLD_PTR) | (held ? HOLD_PTR : 0));
}

/* Opcodes of the form `op reg, r/m`, but for the stores. */
enum op {
	OP_ADD = 0x03, OP_OR = 0x0b, OP_AND = 0x23, OP_SUB = 0x2b, OP_XOR = 0x33, OP_CMP = 0x3b,
	OP_CMP_TO = 0x39,	/* op r/m, reg */
	OP_MOVSXD = 0x63, OP_TEST = 0x85, OP_STORE = 0x89, OP_LOAD = 0x8b, OP_LEA = 0x8d,
	OP_STORE8 = 0x88, OP_LOAD8 = 0x8a,
};
/* Of the forms with an immediate operand. */
enum alu { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };
enum shift { SHIFT_L = 4, SHIFT_R = 5, SHIFT_AR = 7 };

static inline void op_does(struct translator *t, enum op op, u32 reg)
{
	if (op <= OP_CMP || op == OP_TEST)
		flags_change(t);
	if (op != OP_CMP && op != OP_CMP_TO && op != OP_TEST && op != OP_STORE && op != OP_STORE8)
		reg_changes(t, reg);
}

/* op reg, [abs] (and the store forms). */
static inline void op_abs(struct translator *t, bool w, enum op op, u32 reg, const void *abs)
{
	op_does(t, op, reg);
	rex(t, w, reg, 0, 0);
	b1(t, op);
	b2(t, 0x04 | (reg & 7) << 3, 0x25);
	d4(t, lo32(abs));
}
static inline void ld_abs(struct translator *t, u32 reg, const void *abs)
{
	op_abs(t, true, OP_LOAD, reg, abs);
}
static inline void st_abs(struct translator *t, u32 reg, const void *abs)
{
	op_abs(t, true, OP_STORE, reg, abs);
}
static inline void ld_abs32(struct translator *t, u32 reg, const void *abs)
{
	op_abs(t, false, OP_LOAD, reg, abs);
}

/* op reg, rm (register form) */
static inline void op_rr(struct translator *t, bool w, enum op op, u32 reg, u32 rm)
{
	op_does(t, op, reg);
	rex(t, w, reg, 0, rm);
	b2(t, op, 0xc0 | (reg & 7) << 3 | (rm & 7));
}
static inline void mov_rr(struct translator *t, u32 dst, u32 src)
{
	if (dst != src)
		op_rr(t, true, OP_LOAD, dst, src);
}
static inline void mov_rr32(struct translator *t, u32 dst, u32 src)
{
	op_rr(t, false, OP_LOAD, dst, src);
}
static inline void movzx16(struct translator *t, u32 dst, u32 src)
{
	reg_changes(t, dst);
	rex(t, false, dst, 0, src);
	b3(t, 0x0f, 0xb7, 0xc0 | (dst & 7) << 3 | (src & 7));
}
static inline void mov_ri64(struct translator *t, u32 reg, u64 v)
{
	reg_changes(t, reg);
	rex(t, true, 0, 0, reg);
	b1(t, 0xb8 | (reg & 7));
	q8(t, v);
}
static inline void mov_ri(struct translator *t, u32 reg, u64 v)
{
	reg_changes(t, reg);
	if (v <= 0xffffffffu) {
		rex(t, false, 0, 0, reg);
		b1(t, 0xb8 | (reg & 7));
		d4(t, (u32)v);
	} else if (is_simm32(v)) {
		rex(t, true, 0, 0, reg);
		b2(t, 0xc7, 0xc0 | (reg & 7));
		d4(t, (u32)v);
	} else {
		mov_ri64(t, reg, v);
	}
}

/* The same of an address that moves with the unit: all eight bytes of it. */
static inline void mov_rip(struct translator *t, u32 reg, u64 v)
{
	if (!t->may_move) {
		mov_ri(t, reg, v);
		return;
	}
	mov_ri64(t, reg, v);
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
static inline void op_mem(struct translator *t, bool w, enum op op, u32 reg, int base, s32 disp)
{
	op_does(t, op, reg);
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
		op_mem(t, w, OP_LEA, dst, base, disp);
		return;
	}
	reg_changes(t, dst);
	rex(t, w, dst, index < 0 ? 0 : (u32)index, base < 0 ? 0 : (u32)base);
	b1(t, OP_LEA);
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
	reg_changes(t, dst);
	b3(t, 0xc4, 0xe3, 0x7b);
	b3(t, 0xf0, 0xc0 | dst << 3 | src, n);
}
static inline void pext_abs(struct translator *t, u32 dst, u32 src, const void *abs)
{
	reg_changes(t, dst);
	b3(t, 0xc4, 0xe2, 0x82 | (~src & 15) << 3);
	b3(t, 0xf5, 0x04 | dst << 3, 0x25);
	d4(t, lo32(abs));
}
static inline void pext32_abs(struct translator *t, u32 dst, u32 src, const void *abs)
{
	reg_changes(t, dst);
	b3(t, 0xc4, 0xe2, 0x02 | (~src & 15) << 3);
	b3(t, 0xf5, 0x04 | dst << 3, 0x25);
	d4(t, lo32(abs));
}
static inline void pdep32_abs(struct translator *t, u32 dst, u32 src, const void *abs)
{
	reg_changes(t, dst);
	b3(t, 0xc4, 0xe2, 0x03 | (~src & 15) << 3);
	b3(t, 0xf5, 0x04 | dst << 3, 0x25);
	d4(t, lo32(abs));
}
static inline void not_r(struct translator *t, u32 reg)
{
	reg_changes(t, reg);
	rex(t, true, 0, 0, reg);
	b2(t, 0xf7, 0xc0 | 2 << 3 | (reg & 7));
}

/* dst = src >> (by & 63) */
static inline void shrx(struct translator *t, u32 dst, u32 src, u32 by)
{
	reg_changes(t, dst);
	b3(t, 0xc4, 0xe2, 0x83 | (~by & 15) << 3);
	b2(t, 0xf7, 0xc0 | dst << 3 | src);
}

/* -- with an immediate operand -- */

static inline void alu_does(struct translator *t, enum alu op, u32 reg)
{
	flags_change(t);
	if (op != ALU_CMP)
		reg_changes(t, reg);
}
static inline void alu_ri(struct translator *t, enum alu op, bool w, u32 reg, u32 v)
{
	alu_does(t, op, reg);
	rex(t, w, 0, 0, reg);
	b2(t, 0x81, 0xc0 | op << 3 | (reg & 7));
	d4(t, v);
}
static inline void alu_ri8(struct translator *t, enum alu op, bool w, u32 reg, s8 v)
{
	alu_does(t, op, reg);
	rex(t, w, 0, 0, reg);
	b3(t, 0x83, 0xc0 | op << 3 | (reg & 7), (u8)v);
}
/* The short ones of the accumulator. */
static inline void alu_al(struct translator *t, enum alu op, u8 v)
{
	alu_does(t, op, H_RAX);
	b2(t, op << 3 | 4, v);
}
static inline void alu_eax(struct translator *t, enum alu op, u32 v)
{
	alu_does(t, op, H_RAX);
	b1(t, op << 3 | 5);
	d4(t, v);
}
static inline void cmp_abs_i(struct translator *t, bool w, const void *abs, u32 v)
{
	flags_change(t);
	rex(t, w, 0, 0, 0);
	b3(t, 0x81, 0x04 | ALU_CMP << 3, 0x25);
	d4(t, lo32(abs));
	d4(t, v);
}
static inline void cmp8_abs_i(struct translator *t, const void *abs, u8 v)
{
	flags_change(t);
	b3(t, 0x80, 0x04 | ALU_CMP << 3, 0x25);
	d4(t, lo32(abs));
	b1(t, v);
}
static inline void test8_abs_i(struct translator *t, const void *abs, u8 v)
{
	flags_change(t);
	b3(t, 0xf6, 0x04, 0x25);
	d4(t, lo32(abs));
	b1(t, v);
}
/* The low byte of RAX, RCX, RDX or RBX. */
static inline void test8_ri(struct translator *t, u32 reg, u8 v)
{
	flags_change(t);
	b3(t, 0xf6, 0xc0 | reg, v);
}
static inline void shift_ri(struct translator *t, enum shift op, bool w, u32 reg, u8 n)
{
	flags_change(t);
	reg_changes(t, reg);
	rex(t, w, 0, 0, reg);
	b3(t, 0xc1, 0xc0 | op << 3 | (reg & 7), n);
}
static inline void shr_al(struct translator *t, u8 n)
{
	flags_change(t);
	reg_changes(t, H_RAX);
	b3(t, 0xc0, 0xc0 | SHIFT_R << 3, n);
}
static inline void imul32_rri(struct translator *t, u32 dst, u32 src, u32 v)
{
	flags_change(t);
	reg_changes(t, dst);
	b2(t, 0x69, 0xc0 | dst << 3 | src);
	d4(t, v);
}

/* -- bytes and words -- */

static inline void ldzx8_abs(struct translator *t, u32 reg, const void *abs)
{
	reg_changes(t, reg);
	b2(t, 0x0f, 0xb6);
	modrm_mem(t, reg, -1, (s32)lo32(abs));
}
static inline void ldzx16_abs(struct translator *t, u32 reg, const void *abs)
{
	reg_changes(t, reg);
	b2(t, 0x0f, 0xb7);
	modrm_mem(t, reg, -1, (s32)lo32(abs));
}
static inline void ldzx16_mem(struct translator *t, u32 reg, int base, s32 disp)
{
	reg_changes(t, reg);
	rex(t, false, reg, 0, base < 0 ? 0 : (u32)base);
	b2(t, 0x0f, 0xb7);
	modrm_mem(t, reg, base, disp);
}
/* From RAX..RBX, or with 4 more from AH..BH. */
static inline void movzx8(struct translator *t, u32 dst, u32 src)
{
	reg_changes(t, dst);
	b3(t, 0x0f, 0xb6, 0xc0 | dst << 3 | src);
}
static inline void movsx16(struct translator *t, u32 dst, u32 src)
{
	reg_changes(t, dst);
	rex(t, true, dst, 0, src);
	b3(t, 0x0f, 0xbf, 0xc0 | (dst & 7) << 3 | (src & 7));
}
/* The low half of 32 bits: the rest of dst stays. */
static inline void mov_rr16(struct translator *t, u32 dst, u32 src)
{
	b1(t, 0x66);
	op_rr(t, false, OP_LOAD, dst, src);
}
static inline void ld16_mem(struct translator *t, u32 dst, int base, s32 disp)
{
	b1(t, 0x66);
	op_mem(t, false, OP_LOAD, dst, base, disp);
}
static inline void st16_abs(struct translator *t, u32 reg, const void *abs)
{
	b1(t, 0x66);
	op_abs(t, false, OP_STORE, reg, abs);
}
/* A general register of 2, 4 or 8 bytes to and from memory; the load clears what is above. */
static inline void st_size(struct translator *t, u32 size, u32 reg, int base, s32 disp)
{
	if (size == 2)
		b1(t, 0x66);
	op_mem(t, size == 8, OP_STORE, reg, base, disp);
}
static inline void ld_size(struct translator *t, u32 size, u32 reg, int base, s32 disp)
{
	if (size == 2)
		ldzx16_mem(t, reg, base, disp);
	else
		op_mem(t, size == 8, OP_LOAD, reg, base, disp);
}
/* The same of an immediate; 64 bits take one of 32, with its sign. */
static inline void st_imm(struct translator *t, u32 size, u32 v, int base, s32 disp)
{
	if (size == 2)
		b1(t, 0x66);
	rex(t, size == 8, 0, 0, base < 0 ? 0 : (u32)base);
	b1(t, 0xc7);
	modrm_mem(t, 0, base, disp);
	if (size == 2)
		b2(t, (u8)v, (u8)(v >> 8));
	else
		d4(t, v);
}
static inline void st8_imm(struct translator *t, const void *abs, u8 v)
{
	b1(t, 0xc6);
	modrm_mem(t, 0, -1, (s32)lo32(abs));
	b1(t, v);
}
/* MOV AH, [abs] */
static inline void ld_ah_abs(struct translator *t, const void *abs)
{
	reg_changes(t, H_RAX);
	b1(t, OP_LOAD8);
	modrm_mem(t, 4, -1, (s32)lo32(abs));
}

/* -- flags -- */

static inline void lahf(struct translator *t)
{
	reg_changes(t, H_RAX);
	b1(t, 0x9f);
}
static inline void seto_al(struct translator *t)
{
	reg_changes(t, H_RAX);
	b3(t, 0x0f, 0x90, 0xc0);
}
static inline void sahf(struct translator *t)
{
	flags_change(t);
	b1(t, 0x9e);
}

/* -- stack, control flow -- */

static inline void push_r(struct translator *t, u32 reg)
{
	rex(t, false, 0, 0, reg);
	b1(t, 0x50 | (reg & 7));
}
static inline void pop_r(struct translator *t, u32 reg)
{
	reg_changes(t, reg);
	rex(t, false, 0, 0, reg);
	b1(t, 0x58 | (reg & 7));
}
static inline void push_abs(struct translator *t, const void *abs)
{
	b1(t, 0xff);
	modrm_mem(t, 6, -1, (s32)lo32(abs));
}
static inline void push_i(struct translator *t, s32 v)
{
	if (v >= -128 && v < 128) {
		b2(t, 0x6a, (u8)v);
		return;
	}
	b1(t, 0x68);
	d4(t, (u32)v);
}
static inline void ret(struct translator *t) { b1(t, 0xc3); }
/* And n bytes behind the return address are gone. */
static inline void ret_drop(struct translator *t, u32 n)
{
	b3(t, 0xc2, n & 0xff, n >> 8);
}
static inline void call_abs(struct translator *t, const void *abs)
{
	b1(t, 0xff);
	modrm_mem(t, 2, -1, (s32)lo32(abs));
}
static inline void jmp_abs(struct translator *t, const void *abs)
{
	b1(t, 0xff);
	modrm_mem(t, 4, -1, (s32)lo32(abs));
}
static inline void jmp_mem(struct translator *t, u32 base, s32 disp)
{
	b1(t, 0xff);
	modrm_mem(t, 4, (int)base, disp);
}
/* Through [table + index * 8]. */
static inline void jmp_table(struct translator *t, u32 index, const void *table, bool call)
{
	b3(t, 0xff, 0x04 | (call ? 2 : 4) << 3, 0xc5 | (index & 7) << 3);
	d4(t, lo32(table));
}
/* Short jumps forward: to where jump_here() is called with what they return. */
static inline u8 *jrcxz(struct translator *t)
{
	b2(t, 0xe3, 0);
	return t->p;
}
static inline u8 *jcc8(struct translator *t, u32 cc)
{
	b2(t, 0x70 | cc, 0);
	return t->p;
}
static inline u8 *jmp8(struct translator *t)
{
	b2(t, 0xeb, 0);
	return t->p;
}
/* RCX less 1, and there unless it is 0 now. */
static inline u8 *loop(struct translator *t)
{
	reg_changes(t, H_RCX);
	b2(t, 0xe2, 0);
	return t->p;
}
static inline void jump_here(struct translator *t, u8 *from) { from[-1] = (u8)(t->p - from); }
/* REP MOVS or STOS of 1, 4 or 8 bytes, by the opcode of the two shorter ones. */
static inline void rep_string(struct translator *t, u8 op, u32 size)
{
	reg_changes(t, H_RCX);
	b1(t, 0xf3);
	if (size == 8)
		b1(t, 0x48);
	b1(t, op);
}
/* Of 16 bytes, and the upper half of YMM is cleared. */
static inline void vpxor_self(struct translator *t, u32 xmm)
{
	b2(t, 0xc5, 0x80 | (~xmm & 15) << 3 | 1);
	b2(t, 0xef, 0xc0 | xmm << 3 | xmm);
}
static inline void vmovaps_self(struct translator *t, u32 xmm)
{
	b2(t, 0xc5, 0xf8);
	b2(t, 0x28, 0xc0 | xmm << 3 | xmm);
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
static inline u8 *call32(struct translator *t)
{
	b1(t, 0xe8);
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
