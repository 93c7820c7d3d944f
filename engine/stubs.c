/* SPDX-License-Identifier: MIT */
/*
 * engine/stubs.c - the way into and out of translated code, emitted once per
 * vCPU because the addresses of its state are built in.
 */
#include "engine/emit.h"

/* Of the caller in C. */
static const u8 kept[] = { H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15 };
/* Alignment, and room for the red zone a careless signal frame might reach into. */
#define FRAME 0x78

/* All guest registers, but RAX and the flags, to their places in memory, or back. */
static void emit_gprs(struct translator *t, bool put_away)
{
	for (u8 g = 1; g < 16; g++)
		if (hreg(g) >= 0) {
			if (put_away)
				st_abs(t, (u32)hreg(g), &t->e->c->gpr[g]);
			else
				ld_abs(t, (u32)hreg(g), &t->e->c->gpr[g]);
		}
}

/* What translated code has in registers, from the CPU's state; RIP in rcx. */
static void load_state(struct translator *t)
{
	struct cpu *c = t->e->c;

	ld_ah_abs(t, &c->rflags);
	op_abs(t, false, OP_LOAD8, H_RAX, (u8 *)&c->rflags + 1);
	shr_al(t, 3);
	alu_al(t, ALU_AND, 1);
	emit_flags_from_ax(t);
	ld_abs(t, H_RAX, &c->gpr[R_RAX]);
	emit_gprs(t, false);
	ld_abs(t, H_RCX, &c->rip);		/* an e_ind entry compares it */
}

/* rcx and rsi are left alone. */
static void store_state(struct translator *t)
{
	st_abs(t, H_RAX, &t->e->c->gpr[R_RAX]);
	emit_flags_to_ax(t);
	op_abs(t, false, OP_STORE, H_RAX, &t->e->exit_flags);
	emit_gprs(t, true);
}

/*
 * RSP as it was when translated code was entered. C's registers come off the stack, and should not
 * wait for RSP to come from memory: most often it is right, and the branch is predicted. What is
 * returned is for stack_back().
 */
static u8 *stack_empty(struct translator *t)
{
	op_abs(t, true, OP_CMP, H_RSP, &t->e->host_rsp);
	return jcc32(t, CC_NE);
}

/* Behind the code that ends at `site` + 4. */
static void stack_back(struct translator *t, u8 *site)
{
	set_rel32(site, t->p);
	ld_abs(t, H_RSP, &t->e->host_rsp);
	set_rel32(jmp32(t), site + 4);
}

/* To whoever has called `enter`, with rax. */
static void back_to_c(struct translator *t)
{
	alu_ri(t, ALU_ADD, true, H_RSP, FRAME + 8);
	for (u32 i = ARRAY_SIZE(kept); i-- > 0;)
		pop_r(t, kept[i]);
	ret(t);
}

/*
 * As an exit and an entry, for C to look at guest memory: where that is gone it is left by a jump
 * (engine_abandon()). The stack of return addresses stays as it is.
 */
static void emit_confirm(struct translator *t)
{
	struct engine *e = t->e;
	struct cpu *c = e->c;

	e->stub_confirm = rx_of(t, t->p);
	e->confirm_fn = itlb_confirm;
	store_state(t);
	mov_ri(t, H_RDI, lo32(c));
	mov_rr(t, H_RBP, H_RSI);
	mov_rr(t, H_RSI, H_RCX);
	mov_rr(t, H_RBX, H_RSP);
	alu_ri8(t, ALU_AND, true, H_RSP, -16);
	call_abs(t, &e->confirm_fn);
	mov_rr(t, H_RSP, H_RBX);
	mov_rr(t, H_RSI, H_RBP);
	mov_rr(t, H_RCX, H_RAX);
	ld_abs32(t, H_RAX, &e->exit_flags);
	emit_flags_from_ax(t);
	ld_abs(t, H_RAX, &c->gpr[R_RAX]);
	emit_gprs(t, false);

	u8 *confirmed = jrcxz(t);

	mov_rr(t, H_RCX, H_RSI);
	jmp_rx(t, e->stub_exit);
	jump_here(t, confirmed);
	ret(t);
}

/* rcx = the record of an instruction for C, which is called from here; run.c has the rest. */
static void exec_stub(struct translator *t)
{
	struct engine *e = t->e;
	u8 *deep, *leave;

	e->stub_exec = rx_of(t, t->p);
	e->exec_in_line = engine_exec_in_line;
	store_state(t);
	deep = stack_empty(t);
	mov_ri(t, H_RDI, lo32(e));
	mov_rr(t, H_RSI, H_RCX);
	alu_ri8(t, ALU_ADD, true, H_RSP, 8);	/* for alignment; ret_none may change, too */
	call_abs(t, &e->exec_in_line);
	push_abs(t, &e->ret_none);
	op_rr(t, true, OP_TEST, H_RAX, H_RAX);
	leave = jcc32(t, CC_E);
	st_abs(t, H_RAX, &e->tmp2);
	load_state(t);
	jmp_abs(t, &e->tmp2);
	stack_back(t, deep);
	set_rel32(leave, t->p);
	ld_abs(t, H_RAX, &e->left_by);
	back_to_c(t);
}

int stubs_emit(struct engine *e)
{
	struct translator *t = e->tr;
	struct cpu *c = e->c;
	u8 *deep;

	t->e = e;
	t->p = e->mem.rw;

	/* enter(code in rdi) */
	e->enter = (struct record * (*)(u8 *))(uintptr_t)rx_of(t, t->p);
	for (u32 i = 0; i < ARRAY_SIZE(kept); i++)
		push_r(t, kept[i]);
	alu_ri8(t, ALU_SUB, true, H_RSP, FRAME);
	push_abs(t, &e->ret_none);
	st_abs(t, H_RSP, &e->host_rsp);
	st_abs(t, H_RDI, &e->tmp2);
	load_state(t);
	jmp_abs(t, &e->tmp2);

	/* indirect miss: RIP is in rcx */
	e->stub_ind_miss = rx_of(t, t->p);
	st_abs(t, H_RCX, &c->rip);
	emit_flags_save(t, false);
	imul32_rri(t, H_RSI, H_RCX, JC2_MULT);
	shift_ri(t, SHIFT_R, false, H_RSI, (u8)(32 - e->jc2_bits));
	_Static_assert(sizeof(struct jc2_entry) == 32, "shl esi, 5");
	shift_ri(t, SHIFT_L, false, H_RSI, 5);
	op_mem(t, true, OP_CMP, H_RCX, H_RSI, (s32)lo32(&e->jc2->rip));
	u8 *other_rip = jcc32(t, CC_NE);

	ld_abs(t, H_RCX, &e->jc_salt);
	op_mem(t, true, OP_CMP, H_RCX, H_RSI, (s32)lo32(&e->jc2->salt));
	u8 *other_mode = jcc32(t, CC_NE);

	emit_flags_restore(t);
	jmp_mem(t, H_RSI, (s32)lo32(&e->jc2->code));
	set_rel32(other_rip, t->p);
	set_rel32(other_mode, t->p);
	emit_flags_restore(t);
	e->stub_ind_leave = rx_of(t, t->p);
	mov_ri(t, H_RCX, (u64)(uintptr_t)&e->miss_rec);
	e->miss_rec.kind = REC_INDIRECT;
	e->done_rec.kind = REC_DONE;

	/* exit: rcx = record */
	e->stub_exit = rx_of(t, t->p);
	store_state(t);
	mov_rr(t, H_RAX, H_RCX);
	deep = stack_empty(t);
	back_to_c(t);
	stack_back(t, deep);

	emit_confirm(t);
	exec_stub(t);
	apic_stubs(t);
	returns_stubs(t);
	window_stubs(t);
	again_stubs(t);

	u8 *end = rx_of(t, t->p);

	e->mem.hot_start = e->mem.hot = e->mem.rx + ALIGN_UP((u64)(end - e->mem.rx), 64);
	e->mem.hot_end = e->mem.rx + ALIGN_DOWN(e->mem.size / 5 * 3, PAGE_SIZE);
	e->mem.cold_start = e->mem.cold = e->mem.hot_end;
	e->mem.cold_end = e->mem.rx + e->mem.size;
	e->mem.hot_there = e->mem.hot_start;
	e->mem.cold_there = e->mem.cold_start;
	for (u32 i = 0; i < 256; i++)
		e->cli_table[i] = (u8)(i & ~(FL_IF >> 8));
	e->bit_mask[0] = 15;
	e->bit_mask[1] = 31;
	e->bit_mask[2] = 63;
	e->page_bits = PAGE_MASK;
	e->slot_bits = (TLB_SIZE - 1) << 4;
	return 0;
}
