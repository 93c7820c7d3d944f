/* SPDX-License-Identifier: MIT */
/*
 * engine/again.c - a missed check of an access asks the second level of the TLB (mmu/tlb2.c),
 * without leaving translated code.
 *
 * What is found there is used as it is, and the first level left as it was: two pages that share a
 * slot of it would push each other out for ever, and to fill it costs more than to ask. Every 16th
 * time C brings it into the first level all the same, so that what is used much gets there.
 */
#include "engine/emit.h"

#define TURN_MASK 15	/* power of two, less one */

void emit_again(struct translator *t, const struct cold_stub *s)
{
	u32 idx = mode_idx(t->mode);
	bool sub = s->again == AGAIN_SUB;
	u8 *fail;

	if (!sub)
		emit_ea_flagless(t, &s->a, true);
	push_i(t, (s32)s->rec->len - 1);
	call_rx(t, t->e->stub_again[idx][s->rec->write][sub]);
	fail = jrcxz(t);
	jmp_rx(t, codemem_at(&t->e->mem, s->behind));
	jump_here(t, fail);
}

/* RAX := the entry's lower half, if it is of the page at RCX; its address to RSI. */
static u8 *find(struct translator *t)
{
	_Static_assert(TLB2_BITS == 16 && sizeof(struct tlb2_entry) == 16, "movzx; shl 4");
	rorx32(t, H_RSI, H_RCX, PAGE_SHIFT);
	movzx16(t, H_RSI, H_RSI);
	shift_ri(t, SHIFT_L, false, H_RSI, 4);
	op_abs(t, true, OP_ADD, H_RSI, &t->e->c->tlb2);
	op_mem(t, true, OP_LOAD, H_RAX, H_RSI, (s32)offsetof(struct tlb2_entry, tag));
	op_rr(t, true, OP_XOR, H_RAX, H_RCX);
	shift_ri(t, SHIFT_R, true, H_RAX, PAGE_SHIFT);
	return jcc32(t, CC_NE);
}

/*
 * With RCX the address, or (sub) what is left of it less the tag of the slot at RSI, and on the
 * stack how many bytes follow the first: RCX := where it is in the host's memory; 0: nothing is
 * known of it. Takes that off the stack. Without `sub` no flag changes.
 */
static void again_stub(struct translator *t, enum mmu_idx idx, bool write, bool sub, const u8 *call)
{
	struct engine *e = t->e;
	const struct tlb *tlb = &e->c->tlb[idx];
	u8 *no[6], *done;
	u32 n = 0;

	e->stub_again[idx][write][sub] = rx_of(t, t->p);
	if (sub)
		op_mem(t, true, OP_ADD, H_RCX, H_RSI,
		       (s32)lo32(write ? &tlb->w->tag : &tlb->r->tag));
	push_r(t, H_RAX);
	if (!sub) {
		emit_flags_to_ax(t);
		push_r(t, H_RAX);
	}
	no[n++] = find(t);
	mov_rr32(t, H_RAX, H_RCX);
	alu_ri(t, ALU_AND, false, H_RAX, (u32)~PAGE_MASK);
	op_mem(t, true, OP_ADD, H_RAX, H_RSP, sub ? 16 : 24);
	alu_ri(t, ALU_CMP, false, H_RAX, (u32)~PAGE_MASK);
	no[n++] = jcc32(t, CC_A);
	if (write) {
		op_mem(t, false, OP_LOAD, H_RAX, H_RSI, (s32)offsetof(struct tlb2_entry, tag));
		shift_ri(t, SHIFT_R, false, H_RAX, T2_WRITE_SHIFT);
		alu_ri(t, ALU_AND, false, H_RAX, T2_WRITE_MAX);
		op_abs(t, false, OP_CMP, H_RAX, &e->c->tlb2_wgen);
		no[n++] = jcc32(t, CC_NE);
	}
	op_mem(t, false, OP_LOAD, H_RAX, H_RSI, (s32)offsetof(struct tlb2_entry, tag));
	alu_ri(t, ALU_AND, false, H_RAX, T2_IDX | T2_GLOBAL);
	alu_ri(t, ALU_XOR, false, H_RAX, idx);
	test8_ri(t, H_RAX, T2_IDX);
	no[n++] = jcc32(t, CC_NE);
	/* 0 or T2_GLOBAL, which is the place of the generation, too. */
	_Static_assert(T2_GLOBAL == sizeof(e->c->tlb2_gen[0]), "index");
	op_mem(t, false, OP_LOAD, H_RAX, H_RAX, (s32)lo32(e->c->tlb2_gen));
	op_mem(t, true, OP_XOR, H_RAX, H_RSI, (s32)offsetof(struct tlb2_entry, host));
	mov_rr32(t, H_RSI, H_RAX);
	alu_ri(t, ALU_AND, false, H_RSI, (u32)~PAGE_MASK);
	no[n++] = jcc32(t, CC_NE);
	ld_abs32(t, H_RSI, &e->again_turn);
	alu_ri8(t, ALU_ADD, false, H_RSI, 1);
	op_abs(t, false, OP_STORE, H_RSI, &e->again_turn);
	alu_ri(t, ALU_AND, false, H_RSI, TURN_MASK);
	done = jcc8(t, CC_NE);
	push_r(t, H_RCX);
	mov_ri(t, H_RSI, idx << 1 | write);
	call_rx(t, call);
	pop_r(t, H_RCX);
	jump_here(t, done);
	alu_ri(t, ALU_AND, false, H_RCX, (u32)~PAGE_MASK);
	op_rr(t, true, OP_ADD, H_RCX, H_RAX);
	done = t->p;
	if (!sub) {
		pop_r(t, H_RAX);
		emit_flags_from_ax(t);
	}
	pop_r(t, H_RAX);
	ret_drop(t, 8);
	while (n)
		set_rel32(no[--n], t->p);
	mov_ri(t, H_RCX, 0);
	jmp_rx(t, rx_of(t, done));
}

void again_stubs(struct translator *t)
{
	const u8 *call = emit_call(t, &t->e->near.tlb_again, false);

	for (u32 idx = 0; idx < MMU_L2; idx++)
		for (u32 k = 0; k < 4; k++)
			again_stub(t, (enum mmu_idx)idx, k & 1, k & 2, call);
}
