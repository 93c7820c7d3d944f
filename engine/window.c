/* SPDX-License-Identifier: MIT */
/*
 * engine/window.c - accesses off RSP: the page that the stack is in, without the software TLB.
 *
 * Half of what a program's calls, returns, pushes and pops cost is to look up the same page again
 * and again. Its address and where it is in the host's memory are kept in two words for each
 * privilege (cpu.window), and the check is a subtraction and a comparison. Without flags, as before
 * a call into another page, it is half as long as the one that asks the TLB.
 *
 * The window is filled from the TLB for writes by whoever misses it, in the window's stub, and
 * emptied by all that takes something out of the TLB (mmu/tlb.c). A page that may be written may be
 * read, and is the same memory. A page that is in the TLB for reads only is read through the stub.
 * An access that stands in no page, or in none of the TLB's, goes the way of all missed checks.
 */
#include "engine/emit.h"

/* Farther off it is another page as a rule, and the window would go to and fro. */
#define WINDOW_BELOW 512
#define WINDOW_ABOVE 2048

bool window_serves(const struct translator *t, const struct access *a)
{
	return a->base == R_RSP && a->index == INSN_NOREG && a->bitreg == INSN_NOREG && t64(t) &&
	       a->addrsize == 8 && a->seg != S_FS && a->seg != S_GS && a->disp >= -WINDOW_BELOW &&
	       a->disp < WINDOW_ABOVE && !(t->mode & (~MODE_CPU | MODE_ALIGN));
}

static void add_miss(struct translator *t, u8 *site, const struct access *a, u32 len,
		     struct rec_tlb *r, enum flags_at flags)
{
	add_cold(t, site, &r->r, flags);
	if (!t->n_cold)
		return;
	struct cold_stub *s = &t->cold[t->n_cold - 1];

	s->again = AGAIN_EA;
	s->a = *a;
	s->window = (u16)len;
}

/* Of `len` bytes there, none is in another page if these bits of its offset are clear; NULL: the
 * last byte must be looked at, too. */
static const u64 *bits_of(const struct translator *t, const struct access *a, u32 len)
{
	if (len > 8 || (len & (len - 1)) || (a->disp & (len - 1)))
		return NULL;
	return &t->e->window_bits[__builtin_ctz(len)];
}

static void check_flagless(struct translator *t, const struct access *a, u32 len,
			   const struct cpu_window *w, struct rec_tlb *r)
{
	const u64 *bits = bits_of(t, a, len);
	int sp = hreg(R_RSP);
	u8 *over;

	ld_abs(t, SCR_TMP, &w->minus);
	lea(t, true, SCR_TMP, SCR_TMP, sp, 1, (s32)a->disp);
	pext_abs(t, SCR_PTR, SCR_TMP, bits ? bits : &t->e->page_bits);
	if (!bits) {
		lea(t, true, SCR_TMP, SCR_TMP, -1, 1, (s32)len - 1);
		pext_abs(t, SCR_TMP, SCR_TMP, &t->e->page_bits);
		lea(t, true, SCR_PTR, SCR_PTR, SCR_TMP, 1, 0);
	}
	over = jrcxz(t);
	add_miss(t, jmp32(t), a, len, r, FLAGS_HOST);
	jump_here(t, over);
	if (bits) {
		ld_abs(t, SCR_PTR, &w->host);
		lea(t, true, SCR_PTR, SCR_PTR, SCR_TMP, 1, 0);
	} else {
		ld_abs(t, SCR_PTR, &w->delta);
		lea(t, true, SCR_PTR, SCR_PTR, sp, 1, (s32)a->disp);
	}
}

void emit_window_check(struct translator *t, const struct access *a, u32 len, struct rec_tlb *r,
		       bool save_flags)
{
	const struct cpu_window *w = &t->e->c->window[mode_idx(t->mode)];

	r->flagless = true;
	r->r.aside = t->aside;
	t->aside_used |= t->aside;
	if (save_flags && !t->aside) {
		check_flagless(t, a, len, w, r);
	} else {
		lea(t, true, SCR_PTR, hreg(R_RSP), -1, 1, (s32)a->disp);
		op_abs(t, true, OP_ADD, SCR_PTR, &w->minus);
		alu_ri(t, ALU_CMP, true, SCR_PTR, (u32)PAGE_SIZE - len);
		add_miss(t, jcc32(t, CC_A), a, len, r, t->aside ? FLAGS_ASIDE : FLAGS_HOST);
		op_abs(t, true, OP_ADD, SCR_PTR, &w->host);
	}
	if (t->n_cold)
		t->cold[t->n_cold - 1].behind = code_off(t, t->p);
}

void emit_window_miss(struct translator *t, const struct cold_stub *s)
{
	u8 *fail;

	emit_ea_plain(t, &s->a);
	mov_ri(t, SCR_TMP, s->window - 1u);
	call_rx(t, t->e->stub_window[mode_idx(t->mode)][s->rec->write]);
	fail = jrcxz(t);
	jmp_rx(t, codemem_at(&t->e->mem, s->behind));
	jump_here(t, fail);
}

/* Is the page of RCX the one that the slot at RSI is for? RAX is lost. */
static u8 *unless_page(struct translator *t, const struct tlb_entry *te)
{
	op_mem(t, true, OP_LOAD, H_RAX, H_RSI, (s32)lo32(&te->tag));
	op_rr(t, true, OP_XOR, H_RAX, H_RCX);
	shift_ri(t, SHIFT_R, true, H_RAX, PAGE_SHIFT);
	return jcc8(t, CC_NE);
}

/* RCX := where the byte at RCX is in the host's memory, and RSI more that follow it; 0: ask
 * elsewhere. Nothing else and no flag has changed. */
static void window_stub(struct translator *t, enum mmu_idx idx, bool write)
{
	const struct tlb *tlb = &t->e->c->tlb[idx];
	struct cpu_window *w = &t->e->c->window[idx];
	u8 *two_pages, *other, *none = NULL, *found;

	t->e->stub_window[idx][write] = rx_of(t, t->p);
	push_r(t, H_RAX);
	emit_flags_to_ax(t);
	push_r(t, H_RAX);
	lea(t, true, H_RAX, H_RCX, H_RSI, 1, 0);
	op_rr(t, true, OP_XOR, H_RAX, H_RCX);
	shift_ri(t, SHIFT_R, true, H_RAX, PAGE_SHIFT);
	two_pages = jcc32(t, CC_NE);
	rorx32(t, H_RSI, H_RCX, 8);
	alu_ri(t, ALU_AND, false, H_RSI, (TLB_SIZE - 1) << 4);
	other = unless_page(t, tlb->w);
	op_mem(t, true, OP_LOAD, H_RAX, H_RSI, (s32)lo32(&tlb->w->tag));
	not_r(t, H_RAX);
	lea(t, true, H_RAX, H_RAX, -1, 1, 1);
	st_abs(t, H_RAX, &w->minus);
	op_mem(t, true, OP_LOAD, H_RSI, H_RSI, (s32)lo32(&tlb->w->host));
	st_abs(t, H_RSI, &w->host);
	lea(t, true, H_RAX, H_RAX, H_RSI, 1, 0);
	st_abs(t, H_RAX, &w->delta);
	lea(t, true, H_RCX, H_RCX, H_RAX, 1, 0);
	found = t->p;
	pop_r(t, H_RAX);
	emit_flags_from_ax(t);
	pop_r(t, H_RAX);
	ret(t);
	jump_here(t, other);
	if (!write) {
		none = unless_page(t, tlb->r);
		op_mem(t, true, OP_SUB, H_RCX, H_RSI, (s32)lo32(&tlb->r->tag));
		op_mem(t, true, OP_ADD, H_RCX, H_RSI, (s32)lo32(&tlb->r->host));
		jmp_rx(t, rx_of(t, found));
		jump_here(t, none);
	}
	set_rel32(two_pages, t->p);
	mov_ri(t, H_RCX, 0);
	jmp_rx(t, rx_of(t, found));
}

void window_stubs(struct translator *t)
{
	struct engine *e = t->e;

	for (u32 idx = 0; idx < MMU_IDX_COUNT; idx++)
		for (u32 write = 0; write < 2; write++)
			window_stub(t, (enum mmu_idx)idx, write);
	for (u32 k = 0; k < ARRAY_SIZE(e->window_bits); k++)
		e->window_bits[k] = PAGE_MASK | (BIT(k) - 1);
}
