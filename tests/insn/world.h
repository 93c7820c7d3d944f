/* SPDX-License-Identifier: MIT */
/*
 * tests/insn/world.h - in which code and with which segments sequences run: 64-bit code, or 32- and
 * 16-bit code in segments of an LDT that has the same entries, and so the same selectors, natively
 * and in the guest.
 */
#ifndef INSN_WORLD_H
#define INSN_WORLD_H

#include "tests/insn/layout.h"

/* Segments with a base have the data pages at 0x4000. */
#define W_BASE (A_DATA - 0x4000)

struct world {
	const char *name;
	u8 bits;	/* of the code: 16, 32, 64 */
	u8 batch;	/* cases that have room in CS */
	u32 cs_base;
	u16 cs, ss, ds, es, fs, gs;	/* selectors; 0 in 64-bit code */
	u32 base;	/* of DS, ES, FS and GS */
	u32 ss_base;
	bool ss16;	/* the stack pointer is SP */
};

/* Debug registers: DR0 and DR1 watch data, DR2 and DR3 instructions. */
struct watch {
	u64 dr[4];
	u32 dr7;
};

/* NULL: no such world. */
const struct world *world_find(const char *name);

/* Linux's segments of 64-bit user code, which the guest has as well. */
enum { USER_CS = 0x33, USER_SS = 0x2b };

enum { WORLD_LDT = 12 };
struct world_desc {
	u32 base, limit;	/* limit in bytes; ~0: 4 GiB */
	u8 code, down, ro, big;	/* execute-only code: ro */
};
extern const struct world_desc world_ldt[WORLD_LDT];

#endif
