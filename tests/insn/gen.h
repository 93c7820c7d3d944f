/* SPDX-License-Identifier: MIT */
/* tests/insn/gen.h - random sequences of user-mode instructions. */
#ifndef INSN_GEN_H
#define INSN_GEN_H

#include <stdio.h>

#include "tests/insn/layout.h"
#include "tests/insn/world.h"

enum fix_kind {
	FIX_NONE,
	FIX_RIPREL,	/* disp32 to `target` */
	FIX_JUMP,	/* to item `to` */
	FIX_ADDRESS,	/* of item `to` */
};

struct gen_insn {
	u8 bytes[16];
	u8 len;
	u8 fix, fix_off, fix_size;
	u8 to;			/* FIX_JUMP, FIX_ADDRESS: index of an item; SEQ end when >= n */
	u8 group;		/* items of one template: removed together; 0 = alone */
	bool dead;		/* removed by the shrinker */
	u64 target;		/* FIX_RIPREL */
	/* Flags that have no defined value before and after it (gen_layout()). */
	u16 undef_before, undef_after;
	u16 leaves;	/* flags it leaves without a defined value */
	bool may_keep;	/* it may leave all flags alone */
	bool odd_fault;	/* what of it is done at a fault is up to the CPU */
	bool two_reads;	/* CMPS: which operand is read first is up to the CPU */
	/* Flags the instruction reads, and those it surely overwrites; flags that may
	 * still be read when it begins. */
	u16 reads, kills, live;
	u64 addr;		/* set by gen_layout() */
};

struct gen_case {
	u64 seed;
	u32 n;
	struct gen_insn insn[SEQ_MAX + 12];
	struct insn_state in;
	bool ill;	/* gen_layout(): reads a flag without a defined value */
	const struct world *world;
};

/* What may be generated: one bit per enum feature below. */
struct gen_options {
	u64 features;
	bool ring0;
	bool watch;	/* breakpoints: not what reads as much as the CPU likes */
	bool step;	/* TF and RF in the flags, at first and by POPF */
	u32 evex;	/* per cent of all instructions, with AVX-512 */
	const struct world *world;
};
#define GEN_FEATURES(X) /* name, leaf, register (0 eax..3 edx), bit */ \
	X(MMX, 1, 3, 23) X(SSE3, 1, 2, 0) X(PCLMUL, 1, 2, 1) X(SSSE3, 1, 2, 9) X(FMA, 1, 2, 12) \
	X(CX16, 1, 2, 13) X(SSE41, 1, 2, 19) X(SSE42, 1, 2, 20) X(MOVBE, 1, 2, 22) \
	X(POPCNT, 1, 2, 23) X(AES, 1, 2, 25) X(AVX, 1, 2, 28) X(F16C, 1, 2, 29) X(BMI1, 7, 1, 3) \
	X(AVX2, 7, 1, 5) X(BMI2, 7, 1, 8) X(ADX, 7, 1, 19) X(SHA, 7, 1, 29) X(GFNI, 7, 2, 8) \
	X(AVX512F, 7, 1, 16) X(VAES, 7, 2, 9) X(VPCLMUL, 7, 2, 10) X(LAHF, 0x80000001, 2, 0) \
	X(LZCNT, 0x80000001, 2, 5) \
	X(SSE4A, 0x80000001, 2, 6) X(PREFETCHW, 0x80000001, 2, 8)
enum gen_feature {
#define X(n, leaf, reg, bit) GF_##n,
	GEN_FEATURES(X)
#undef X
	GF_COUNT
};

/* Fill the initial content of the data pages. */
void gen_data(u64 seed, u8 *data, u32 n);
void gen_make(struct gen_case *c, u64 seed, const struct gen_options *o);
/* Write the live items' bytes for a slot at address `at`, an offset in CS, ending in a jump to
 * `exit_at` (16- and 32-bit code: to USER_CS:A_LOW); sets addresses. Returns the length. */
u32 gen_layout(struct gen_case *c, u8 *out, u64 at, u64 exit_at);
/* Undefined flags when the case ended (rip = exit) or faulted at rip. */
u32 gen_undef(const struct gen_case *c, u64 rip, bool fault);
/*
 * Flags that matter at a fault at rip. Others are overwritten before anything but the
 * fault's handler could read them; a translator may leave them out.
 */
u32 gen_live(const struct gen_case *c, u64 rip);
/* A fault at rip: only its vector can be compared. */
bool gen_odd_fault(const struct gen_case *c, u64 rip);
/* A fault at rip may be that of either memory operand. */
bool gen_two_reads(const struct gen_case *c, u64 rip);
/* Remove item i, and those it makes sense with only; or bring them back. */
void gen_set_dead(struct gen_case *c, u32 i, bool dead);
void gen_print(const struct gen_case *c, FILE *f);

#endif
