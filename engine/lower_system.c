/* SPDX-License-Identifier: MIT */
/*
 * engine/lower_system.c - system and string instructions that kernels execute so often that leaving
 * translated code for them would show: CLI, STI, SWAPGS, PUSHF, REP MOVS and REP STOS. Whatever is
 * out of the ordinary about them is left to C.
 */
#include "engine/emit.h"

void emit_swapgs(struct translator *t)
{
	struct cpu *c = t->e->c;

	/* No flags change, and none may be used up. */
	ld_abs(t, SCR_PTR, &c->seg[S_GS].base);
	ld_abs(t, SCR_TMP, &c->kernel_gs_base);
	st_abs(t, SCR_PTR, &c->kernel_gs_base);
	st_abs(t, SCR_TMP, &c->seg[S_GS].base);
}

void emit_cli(struct translator *t)
{
	u8 *fl = (u8 *)&t->e->c->rflags + 1;

	ldzx8_abs(t, H_RCX, fl);
	op_mem(t, false, OP_LOAD8, H_RCX, H_RCX, (s32)lo32(t->e->cli_table));
	op_abs(t, false, OP_STORE8, H_RCX, fl);
}

/*
 * Interrupts wait until the instruction behind it has been executed (APM2 8.1.4). That one is in
 * the same unit, and nothing is polled in between; cpu.shadow_sti tells those who look meanwhile
 * because its memory operand needs C.
 */
void emit_sti(struct translator *t)
{
	t->e->near.sti = t->e->c->ops->sti;
	call_rx(t, t->e->stub_sti);
}

void emit_shadow_end(struct translator *t, u64 rip)
{
	struct cpu *c = t->e->c;
	struct record *r = new_record(t, REC_POLL, rip);

	if (!r)
		return;
	st8_imm(t, &c->shadow_sti, 0);
	ld_abs32(t, H_RCX, (void *)&c->poll);
	need_rcx_zero(t, r);
}

/* What PUSHF pushes, into SCR_TMP. */
void emit_pushf_value(struct translator *t)
{
	emit_flags_save(t, false);	/* ah: SF ZF AF PF CF; al: OF */
	movzx8(t, SCR_TMP, H_RAX + 4);	/* ah */
	alu_ri(t, ALU_AND, false, SCR_TMP, FL_ARITH & 0xff);
	movzx8(t, H_RAX, H_RAX);
	shift_ri(t, SHIFT_L, false, H_RAX, 11);
	op_rr(t, false, OP_OR, SCR_TMP, H_RAX);
	ld_abs32(t, H_RAX, &t->e->c->rflags);
	/* The rest but RF and VM (APM3, PUSHF). */
	alu_eax(t, ALU_AND, ~(u32)(FL_ARITH | FL_RF | FL_VM));
	op_rr(t, false, OP_OR, SCR_TMP, H_RAX);
	emit_flags_restore(t);
}

/* Kernels look at CS and SS to return to themselves with IRET, once for each place they patch. */
void emit_get_sreg(struct translator *t, const struct insn *in)
{
	ldzx16_abs(t, SCR_TMP, &t->e->c->seg[in->reg].sel);
	store_greg(t, in->rm, SCR_TMP, in->opsize);
}

/* -- REP MOVS and REP STOS -- */

static u32 element(const struct insn *in)
{
	return in->opcode & 1 ? in->opsize : 1;
}

static bool is_movs(const struct insn *in)
{
	return (in->opcode & 0xfe) == 0xa4;
}

bool rep_inline(const struct translator *t, const struct insn *in)
{
	if (!t64(t) || t->mode & (~MODE_CPU | MODE_ALIGN) || t->e->max1.on)
		return false;
	return in->map == 0 && in->addrsize == 8 && element(in) != 2 &&
	       (in->prefixes & ~PFX_OPSIZE) == PFX_REP &&
	       (is_movs(in) || (in->opcode & 0xfe) == 0xaa);
}

/* RCX elements at a register: leave unless they lie in one page. */
static void check_span(struct translator *t, u32 reg, u32 size, struct record *r)
{
	mov_rr32(t, SCR_TMP, reg);
	alu_ri(t, ALU_AND, false, SCR_TMP, PAGE_SIZE - 1);
	lea(t, true, SCR_TMP, SCR_TMP, engine_hreg[R_RCX], size, 0);
	alu_ri(t, ALU_CMP, false, SCR_TMP, PAGE_SIZE);
	add_cold(t, jcc32(t, CC_A), r, FLAGS_SAVED);
}

/* SCR_PTR := host address of the byte at a register. C fills the TLB for the next time. */
static void check_page(struct translator *t, u32 reg, bool write, struct record *r)
{
	struct tlb *tlb = &t->e->c->tlb[mode_idx(t->mode)];
	struct tlb_entry *te = write ? tlb->w : tlb->r;

	mov_rr(t, SCR_PTR, reg);
	add_cold(t, emit_tlb_check(t, te, 1), r, FLAGS_SAVED);
	op_mem(t, true, OP_ADD, SCR_PTR, SCR_TMP, (s32)lo32(&te->host));
}

void emit_rep(struct translator *t, struct di *d)
{
	struct engine *e = t->e;
	struct record *r = new_record(t, REC_EXEC, d->rip);
	bool movs = is_movs(&d->in);
	u32 size = element(&d->in), count = engine_hreg[R_RCX];

	if (!r)
		return;
	r->insn = keep_insn(t, d);
	emit_flags_save(t, false);
	test8_abs_i(t, (u8 *)&e->c->rflags + 1, FL_DF >> 8);
	add_cold(t, jcc32(t, CC_NE), r, FLAGS_SAVED);
	/* Nothing at all is touched when RCX is 0. */
	op_rr(t, true, OP_TEST, count, count);
	add_cold(t, jcc32(t, CC_E), r, FLAGS_SAVED);
	alu_ri(t, ALU_CMP, true, count, (u32)PAGE_SIZE / size);
	add_cold(t, jcc32(t, CC_A), r, FLAGS_SAVED);
	check_span(t, H_RDI, size, r);
	if (movs) {
		check_span(t, engine_hreg[R_RSI], size, r);
		check_page(t, engine_hreg[R_RSI], false, r);
		st_abs(t, SCR_PTR, &e->tmp);
	}
	check_page(t, H_RDI, true, r);
	emit_flags_restore(t);

	st_abs(t, H_RDI, &e->spill[0]);
	t->spill_reg[0] = H_RDI;
	t->n_spilled = 1;
	mov_rr(t, H_RDI, SCR_PTR);
	if (movs)
		ld_abs(t, H_RSI, &e->tmp);
	mov_rr(t, H_RCX, count);
	rep_string(t, d->in.opcode, size);
	ld_abs(t, H_RDI, &e->spill[0]);
	lea(t, true, H_RDI, H_RDI, (int)count, size, 0);
	if (movs)
		lea(t, true, engine_hreg[R_RSI], engine_hreg[R_RSI], (int)count, size, 0);
	mov_ri(t, count, 0);
}
