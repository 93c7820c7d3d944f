/* SPDX-License-Identifier: MIT */
/*
 * engine/insn.h - one decoded instruction, small enough to be kept with the
 * translated block so that C handlers never decode again.
 */
#ifndef ENGINE_INSN_H
#define ENGINE_INSN_H

#include "engine/cpu.h"

enum insn_prefix {
	PFX_OPSIZE = 1, PFX_ADDRSIZE = 2, PFX_LOCK = 4, PFX_REP = 8 /* F3 */,
	PFX_REPNE = 16 /* F2 */, PFX_SEG = 32 /* explicit override */,
};

enum { INSN_NOREG = 0xff, INSN_RIP = 0xfe };

enum insn_mask_form {
	MASK_ELEMENTS,	/* a bit for each element */
	MASK_ANY,	/* broadcast: all of the operand or nothing */
	MASK_PACKED,	/* VPCOMPRESS, VPEXPAND: as many elements as there are bits, one after the
			 * other */
};

/*
 * Encoding map numbers: 0 one-byte, 1 0F, 2 0F38, 3 0F3A, 8+ VEX, EVEX (8|map).
 * `mnemonic` is Zydis's (ZYDIS_MNEMONIC_*).
 */
struct insn {
	u16 mnemonic;
	u8 len;
	u8 map;
	u8 opcode;
	u8 prefixes;
	u8 rex_w;
	u8 mode;	/* bytes of the default operation: 2, 4 or 8 (64-bit mode) */
	u8 opsize;	/* effective operand size in bytes: 2, 4, 8 (8-bit forms: see opcode) */
	u8 addrsize;	/* 2, 4, 8 */
	bool has_modrm;
	bool has_mem;	/* modrm (or moffs) names memory */
	bool has_rex;
	u8 mod, reg, rm;	/* reg, rm with REX, VEX, EVEX extension bits: 0..15, EVEX 0..31 */
	u8 vvvv;
	u8 opreg;	/* register in the opcode byte (PUSH, POP), 0..15 */
	u8 vex_l;	/* VEX and EVEX: vectors of 16 << vex_l bytes (of EVEX's memory forms) */
	bool evex;
	/* Memory of which a mask chooses elements, and nothing else is touched (SDM2 2.8: all
	 * classes but NF). mask 0: not so. */
	u8 mask;	/* k1 to k7 */
	u8 mask_form;	/* enum insn_mask_form */
	u8 mask_n;	/* bits of the mask that count */
	u8 mask_elem;	/* bytes of an element in memory */
	u8 vsib_mask;	/* k of an EVEX gather or scatter */
	u8 seg;		/* enum cpu_sreg used by the memory operand (override applied) */
	u8 base, index;	/* 0..15, INSN_NOREG, INSN_RIP (base); index of EVEX vectors 0..31 */
	u8 scale;	/* 1 2 4 8 */
	u8 memsize;	/* bytes the operand accesses; 0 = address only / special */
	u8 mem_r, mem_w; /* operand is read / written */
	u8 state;	/* of one whose state is switched off: enum insn_state (engine/insns.h) */
	s64 disp;
	u64 imm;	/* first immediate, sign-extended to 64; far pointers: offset */
	u64 imm2;	/* second immediate; far pointers: selector */
	u8 bytes[15];
};

/*
 * Decode the instruction at `bytes` (n available) in a mode of `mode` bytes
 * (2, 4, 8). 0, -EILSEQ (#UD), -E2BIG (longer than 15 bytes: #GP) or -EAGAIN (needs more bytes).
 */
int insn_decode(struct insn *in, const u8 *bytes, u32 n, u32 mode);

/* An x87 or MMX instruction that reports the unmasked exception of its predecessor first (APM2
 * 8.5); of those with a memory operand, and MASKMOVQ. */
bool insn_waits(const struct insn *in);
/* CLFLUSH, CLFLUSHOPT, CLWB: the operand is a line of the caches, and checked like the load of a
 * byte. */
bool insn_is_flush(const struct insn *in);
/* BT BTS BTR BTC with a register offset and a memory operand: the operand is a bit
 * string, and the offset's upper bits move the address (APM3, BT). */
bool insn_is_bitstring(const struct insn *in);
/* 16-byte operand that must be aligned: legacy SSE except the unaligned moves, the
 * aligned VEX moves, CMPXCHG16B (APM1 4.3.2, 4.6.3). VEX 32-byte forms: 32. */
bool insn_needs_alignment(const struct insn *in);
/* A number that the x87 stores, unless that raises an unmasked exception: it completes, and memory
 * is as it was (APM1 6.8.2). All others store their whole operand or fault, or are not run on a
 * copy (slow_vec.c). */
bool insn_may_skip_store(const struct insn *in);
/* Address bits that must be zero in an operand of `size` bytes while alignment is
 * checked (APM2 8.2.18); 0: never #AC. */
u32 insn_align_mask(const struct insn *in, u32 size);
/* Effective address (offset within the segment, masked to the address size). */
u64 insn_ea(const struct cpu *c, const struct insn *in);

/* The address of an element of memory under a mask: beyond 4 GiB it is at 0 outside 64-bit mode,
 * with no limit between. */
static inline u64 insn_element(const struct cpu *c, u64 ea)
{
	return cpu_in_64(c) ? ea : (u32)ea;
}

/* Advance c->rip past the instruction, wrapped to the code size. */
void insn_retire(struct cpu *c, const struct insn *in);

/* 8-bit register `r` of an instruction (AH..BH without REX). */
/* Read / write a register with an operand size: 4 zero-extends, 2 and 1 merge. */
u64 insn_reg(const struct cpu *c, u8 r, u32 size);
void insn_set_reg(struct cpu *c, u8 r, u32 size, u64 v);

#endif
