/* SPDX-License-Identifier: MIT */
/*
 * tests/insn/layout.h - the arena in which instruction sequences run, at the same
 * linear addresses natively and in the guest, so that pointers compare equal.
 * Assembler text takes the A_* numbers as strings.
 */
#ifndef INSN_LAYOUT_H
#define INSN_LAYOUT_H

#include "base/types.h"

/* What sequences are meant to touch. */
#define A_BASE 0x10000000
#define A_LOW 0x10008000		/* r-x: where 16- and 32-bit code jumps to when it ends */
#define A_RO 0x10010000		/* r--: just below the data */
#define A_DATA 0x10011000	/* rw: two pages; above them nothing */
#define A_DATA_END 0x10013000
#define A_INIT 0x10020000	/* r--: the data's content at the start of each case */
#define A_CODE 0x10040000	/* r-x: one slot per case */
#define A_CODE_END 0x10060000
#define A_END 0x10100000
/* The trampoline's own, where neither a 32-bit number nor a changed pointer leads. */
#define A_PRIV 0x2a5700000000
#define A_TRAMP 0x2a5700000000	/* r-x: loads a case, jumps to it, stores the result */
#define A_CTRL 0x2a5700001000	/* rw: struct arena_ctrl */
#define A_CUR 0x2a5700002000	/* rw: the case that runs now, struct insn_state */
#define A_RES 0x2a5700003000	/* rw: its result; two pages */
#define A_TSTACK 0x2a5700006000	/* rw: top of the trampoline's own stack, one page */
#define A_CASES 0x2a5700100000	/* r-- */
#define A_RESULTS 0x2a5700200000	/* rw */
#define A_PRIV_END 0x2a5700400000
/* Both parts in one file or one piece of guest memory. */
#define A_SIZE (A_END - A_BASE + A_PRIV_END - A_PRIV)
#define A_STR_(x) #x
#define A_STR(x) A_STR_(x)

enum {
	DATA_BYTES = A_DATA_END - A_DATA,
	BATCH = 128,
	SLOT = 1024,		/* bytes of code per case */
	SEQ_MAX = 20,
	STATE_BYTES = 2560,
	RESULT_BYTES = 0x2000 + DATA_BYTES,
	STEPS_MAX = 390,
	NO_VECTOR = 0xff,
};
#define STATE_BYTES_S 2560
#define RESULT_BYTES_S 16384
#define STEPS_MAX_S 390

static inline u64 arena_offset(u64 at)
{
	return at < A_PRIV ? at - A_BASE : at - A_PRIV + (A_END - A_BASE);
}

/* Registers before a case, or after it. The offsets are in the assembler below. */
struct insn_state {
	u64 gpr[16];
	u64 rflags;	/* 128 */
	u64 entry;	/* 136; of 16- and 32-bit code: selector << 32 | offset */
	u64 vec;	/* 144: vector, or all ones */
	u64 err;
	u64 cr2;
	u64 fault_rip;	/* 168 */
	u64 fault_flags; /* 176 */
	u64 pad;
	u8 fx[512];	/* 192: FXSAVE64 image */
	u8 ymm_hi[16][16];
	/* With AVX-512 only. */
	u8 zmm_hi[16][32];	/* 960 */
	u8 zmm16[16][64];	/* 1472 */
	u64 k[8];		/* 2496 */
};
_Static_assert(sizeof(struct insn_state) == STATE_BYTES, "state");
_Static_assert(offsetof(struct insn_state, fx) == 192, "fx");
_Static_assert(offsetof(struct insn_state, fault_rip) == 168, "fault_rip");
_Static_assert(offsetof(struct insn_state, zmm_hi) == 960, "zmm_hi");
_Static_assert(offsetof(struct insn_state, zmm16) == 1472, "zmm16");
_Static_assert(offsetof(struct insn_state, k) == 2496, "k");
_Static_assert(BATCH *STATE_BYTES <= A_RESULTS - A_CASES, "cases");
_Static_assert((u64)A_CODE + BATCH * SLOT <= A_CODE_END, "code");
_Static_assert(STEPS_MAX == STEPS_MAX_S && RESULT_BYTES == RESULT_BYTES_S &&
		       STATE_BYTES == STATE_BYTES_S,
	       "strings");
_Static_assert(BATCH *RESULT_BYTES <= A_PRIV_END - A_RESULTS, "results");

struct arena_ctrl {
	u32 i;		/* the case that runs */
	u32 n;		/* cases in the batch */
	u64 finish;	/* where to go after the last */
	/* 16: of 16- and 32-bit code, ds = 0: 64-bit code */
	u16 ds, es, fs, gs, ss;
	u16 ss64;	/* 26: a flat stack segment to go back to */
	u16 traps;	/* 28: enter by IRET, because TF or RF is set */
	u32 avx512;	/* 32: its registers are loaded and stored, too */
};
_Static_assert(offsetof(struct arena_ctrl, avx512) == 32, "avx512");
_Static_assert(offsetof(struct arena_ctrl, ss64) == 26, "ss64");

/* The #DBs of a case, in their order. */
struct insn_steps {
	u64 n;
	u64 at[STEPS_MAX];	/* EIP; from bit 32 on the flags of STEP_FLAGS, STEP_BS */
};
enum { STEP_FLAGS = 0x10dd5, STEP_BS = 1 << 24, STEP_RF = 1 << 16 };

struct insn_result {
	struct insn_state s;
	struct insn_steps steps;
	u8 pad[0x2000 - STATE_BYTES - sizeof(struct insn_steps)];
	u8 data[DATA_BYTES];
};

/* Pieces of the trampoline, in tramp.c. */
extern const u8 tramp_start[], tramp_exit[], tramp_exit_low[], tramp_int80[], tramp_end[];

#endif
