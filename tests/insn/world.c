/* SPDX-License-Identifier: MIT */
/* tests/insn/world.c - the tables of worlds and of their segments. */
#include "tests/insn/world.h"

#include <string.h>

enum {
	L_CODE32, L_DATA32, L_CODE32_BASE, L_CODE16, L_DATA16, L_DATA_LIMIT, L_DOWN16, L_DOWN32,
	L_RO,
	L_CODE_READ, L_CODE_ONLY, L_DOWN_FLAT,
};
#define SEL(i) ((u16)((i) << 3 | 7))

const struct world_desc world_ldt[WORLD_LDT] = {
	[L_CODE32] = { .limit = ~0u, .code = 1, .big = 1 },
	[L_DATA32] = { .limit = ~0u, .big = 1 },
	[L_CODE32_BASE] = { .base = A_CODE, .limit = 0x1ffff, .code = 1, .big = 1 },
	[L_CODE16] = { .base = A_CODE, .limit = 0xffff, .code = 1 },
	[L_DATA16] = { .base = W_BASE, .limit = 0xffff },
	/* Ends in the middle of the data. */
	[L_DATA_LIMIT] = { .base = W_BASE, .limit = 0x57fb, .big = 1 },
	/* Above 0x4803, to 64 KiB and to 4 GiB. */
	[L_DOWN16] = { .base = W_BASE, .limit = 0x4803, .down = 1 },
	[L_DOWN32] = { .base = W_BASE, .limit = 0x4803, .down = 1, .big = 1 },
	[L_RO] = { .base = W_BASE, .limit = 0xffff, .ro = 1, .big = 1 },
	[L_CODE_READ] = { .base = W_BASE, .limit = 0xffff, .code = 1 },
	[L_CODE_ONLY] = { .base = A_CODE, .limit = 0xffff, .code = 1, .ro = 1 },
	[L_DOWN_FLAT] = { .limit = A_DATA + 0x7ff, .down = 1, .big = 1 },
};

static const struct world worlds[] = {
	{ .name = "64", .bits = 64, .batch = BATCH },
	/* Flat, as of an operating system; FS expand-down with its bound in the data. */
	{ .name = "32", .bits = 32, .batch = BATCH, .cs = SEL(L_CODE32), .ss = SEL(L_DATA32),
	  .ds = SEL(L_DATA32), .es = SEL(L_DATA32), .fs = SEL(L_DOWN_FLAT), .gs = SEL(L_DATA32) },
	/* Bases and limits everywhere. */
	{ .name = "32-limits", .bits = 32, .batch = BATCH, .cs_base = A_CODE,
	  .cs = SEL(L_CODE32_BASE),
	  .ss = SEL(L_DATA_LIMIT), .ds = SEL(L_DATA_LIMIT), .es = SEL(L_DOWN32), .fs = SEL(L_RO),
	  .gs = SEL(L_CODE_READ), .base = W_BASE, .ss_base = W_BASE },
	{ .name = "32-readonly", .bits = 32, .batch = BATCH, .cs_base = A_CODE,
	  .cs = SEL(L_CODE32_BASE), .ss = SEL(L_DOWN32), .ds = SEL(L_RO), .es = SEL(L_DATA_LIMIT),
	  .fs = SEL(L_CODE_READ), .gs = SEL(L_DOWN16), .base = W_BASE, .ss_base = W_BASE },
	/* A 16-bit stack below 32-bit code, as of a DOS extender. */
	{ .name = "32-stack16", .bits = 32, .batch = BATCH, .cs = SEL(L_CODE32),
	  .ss = SEL(L_DATA16),
	  .ds = SEL(L_DATA32), .es = SEL(L_DATA32), .fs = SEL(L_DATA32), .gs = SEL(L_DATA32),
	  .ss_base = W_BASE, .ss16 = true },
	{ .name = "16", .bits = 16, .batch = 64, .cs_base = A_CODE, .cs = SEL(L_CODE16),
	  .ss = SEL(L_DATA16), .ds = SEL(L_DATA16), .es = SEL(L_DATA16), .fs = SEL(L_RO),
	  .gs = SEL(L_DOWN16), .base = W_BASE, .ss_base = W_BASE, .ss16 = true },
	{ .name = "16-stack32", .bits = 16, .batch = 64, .cs_base = A_CODE, .cs = SEL(L_CODE_ONLY),
	  .ss = SEL(L_DATA_LIMIT), .ds = SEL(L_DATA_LIMIT), .es = SEL(L_DOWN32),
	  .fs = SEL(L_CODE_READ),
	  .gs = SEL(L_RO), .base = W_BASE, .ss_base = W_BASE },
	{ .name = "16-down", .bits = 16, .batch = 64, .cs_base = A_CODE, .cs = SEL(L_CODE16),
	  .ss = SEL(L_DOWN16), .ds = SEL(L_DOWN16), .es = SEL(L_RO), .fs = SEL(L_DATA16),
	  .gs = SEL(L_CODE_READ), .base = W_BASE, .ss_base = W_BASE, .ss16 = true },
};

const struct world *world_find(const char *name)
{
	for (u32 i = 0; i < ARRAY_SIZE(worlds); i++)
		if (!strcmp(worlds[i].name, name))
			return &worlds[i];
	return NULL;
}
