/* SPDX-License-Identifier: MIT */
/*
 * engine/jump_cache.c - where indirect jumps lead: code by RIP.
 *
 * A slot holds an entry that proves by itself that RIP and page are its unit's; what has lost its
 * slot to another is found in a second table, by RIP and mode (stubs.c). Code of one mode knows one
 * bank of slots. Modes that a guest goes back and forth between have banks of their own: 64-bit and
 * other code, with vector state and, while CR0.TS says that it is somebody else's, without.
 */
#include "base/mem.h"
#include "engine/engine_priv.h"

enum { KIND_64, KIND_64_NO_FPU, KIND_32, KIND_32_NO_FPU, KINDS };

/*
 * log2 of the slots. The kernel's returns and indirect calls come from all over its text; a
 * compiler's or an interpreter's from no less (gcc: 1.3 million misses in a small file with 2^13).
 */
static const u8 slot_bits[MMU_IDX_COUNT][KINDS] = {
	[MMU_KERNEL] = { 14, 10, 13, 9 },
	[MMU_USER] = { 15, 10, 13, 9 },
	[MMU_KERNEL_AC] = { 10, 8, 8, 8 },
	[MMU_L2 + MMU_KERNEL] = { 14, 9, 11, 8 },
	[MMU_L2 + MMU_USER] = { 13, 9, 11, 8 },
	[MMU_L2 + MMU_KERNEL_AC] = { 10, 8, 8, 8 },
};
/* Of the second table. */
#define JC2_BITS 14
#define JC2_BITS_SMALL 12
_Static_assert(JC_BANKS == MMU_IDX_COUNT * KINDS, "jc_bank()");

static u32 bits_of(u32 bank, bool small)
{
	u32 bits = slot_bits[bank / KINDS][bank % KINDS];

	return small && bits > 8 ? bits - 1 - (bits == 15) : bits;
}

size_t jump_cache_bytes(bool small)
{
	size_t n = 0;

	for (u32 b = 0; b < JC_BANKS; b++)
		n += sizeof(u8 *) << bits_of(b, small);
	return n + (sizeof(struct jc2_entry) << (small ? JC2_BITS_SMALL : JC2_BITS));
}

void jump_cache_init(struct engine *e, void *tables, bool small)
{
	u8 **at;

	e->jc2 = tables;
	e->jc2_bits = small ? JC2_BITS_SMALL : JC2_BITS;
	at = e->jc_slots = (u8 **)(void *)(e->jc2 + (1u << e->jc2_bits));

	for (u32 b = 0; b < JC_BANKS; b++) {
		e->jc[b] = (struct jc_bank){ .slots = at, .mode = JC_UNUSED };
		e->jc_mask[b] = ((1u << bits_of(b, small)) - 1) << 1;
		at += 1u << bits_of(b, small);
	}
}

u32 jc_bank(u32 mode)
{
	bool fpu = mode & (MODE_X87 | MODE_SSE | MODE_AVX);
	bool wide = (mode & MODE_SIZE) == MODE_SIZE64;

	return mode_idx(mode) * KINDS + (wide ? KIND_64 : KIND_32) + !fpu;
}

static struct jc2_entry *jc2_of(struct engine *e, u64 rip)
{
	return &e->jc2[(u32)rip * JC2_MULT >> (32 - e->jc2_bits)];
}

/* All that is known of the bank's indirect jumps is void. */
static void reset(struct engine *e, u32 b)
{
	e->jc[b].salt = ++e->next_salt;
	for (u32 i = 0; i <= e->jc_mask[b] >> 1; i++)
		e->jc[b].slots[i] = e->stub_ind_miss;
}

void jump_cache_flush(struct engine *e)
{
	for (u32 b = 0; b < JC_BANKS; b++)
		if (e->jc[b].mode != JC_UNUSED)
			reset(e, b);
	if (e->next_salt)
		cpu_zero(e->jc2, sizeof(*e->jc2) << e->jc2_bits);
	e->jc_salt = e->jc[jc_bank(e->mode)].salt;
}

void jump_cache_mode(struct engine *e)
{
	u32 b = jc_bank(e->mode);

	/* With a base or a limit no jump cache is used: firmware goes back and forth all the
	 * time. */
	if (!(e->mode & MODE_CSBASE) && e->jc[b].mode != e->mode) {
		e->jc[b].mode = e->mode;
		reset(e, b);
	}
	jump_cache_use(e, b);
}

u8 **engine_jc_slot(struct engine *e, u32 mode, u64 rip)
{
	u32 b = jc_bank(mode);

	return &e->jc[b].slots[((u32)rip & e->jc_mask[b]) >> 1];
}

void cache_jc_fill(struct engine *e, struct unit *u)
{
	u8 **slot = engine_jc_slot(e, u->mode, u->rip);

	if (u->mode & (~MODE_CPU | MODE_CSBASE))
		return;
	unit_want_ind(e, u);
	/* Two that want the slot are both found in the other table from now on. */
	if (!u->e_ind || *slot != e->stub_ind_miss) {
		unit_want_cross(e, u);
		if (u->e_cross) {
			*jc2_of(e, u->rip) = (struct jc2_entry){
				.rip = u->rip, .salt = e->jc[jc_bank(u->mode)].salt,
				.code = codemem_at(&e->mem, u->e_cross),
			};
			u->jc2 = true;
		}
	}
	if (u->e_ind)
		*slot = codemem_at(&e->mem, u->e_ind);
}

static bool in_jc(struct engine *e, const struct unit *u)
{
	return u->e_ind && *engine_jc_slot(e, u->mode, u->rip) == codemem_at(&e->mem, u->e_ind);
}

static bool in_jc2(struct engine *e, const struct unit *u)
{
	return u->jc2 && jc2_of(e, u->rip)->code == codemem_at(&e->mem, u->e_cross);
}

void cache_forget_jumps(struct engine *e, const struct unit *u)
{
	if (in_jc(e, u))
		*engine_jc_slot(e, u->mode, u->rip) = e->stub_ind_miss;
	if (in_jc2(e, u))
		*jc2_of(e, u->rip) = (struct jc2_entry){ 0 };
}

void cache_move_jumps(struct engine *e, const struct unit *u, u64 rip)
{
	/* A look at either table waits for the host's memory. */
	if (in_jc(e, u)) {
		u8 **slot = engine_jc_slot(e, u->mode, rip);

		*engine_jc_slot(e, u->mode, u->rip) = e->stub_ind_miss;
		if (*slot == e->stub_ind_miss)
			*slot = codemem_at(&e->mem, u->e_ind);
	}
	if (in_jc2(e, u)) {
		struct jc2_entry j = *jc2_of(e, u->rip);

		*jc2_of(e, u->rip) = (struct jc2_entry){ 0 };
		j.rip = rip;
		*jc2_of(e, rip) = j;
	}
}
