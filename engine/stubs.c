/* SPDX-License-Identifier: MIT */
/*
 * engine/stubs.c - the way into and out of translated code, emitted once per
 * vCPU because the addresses of its state are built in.
 */
#include "engine/emit.h"

int stubs_emit(struct engine *e)
{
	struct translator *t = e->tr;
	struct cpu *c = e->c;

	t->e = e;
	t->p = e->mem.rw;

	/* enter(code in rdi) */
	e->enter = (struct record * (*)(u8 *))(uintptr_t)rx_of(t, t->p);
	b1(t, 0x53);		/* push rbx */
	b1(t, 0x55);		/* push rbp */
	b2(t, 0x41, 0x54);	/* push r12 .. r15 */
	b2(t, 0x41, 0x55);
	b2(t, 0x41, 0x56);
	b2(t, 0x41, 0x57);
	b2(t, 0x48, 0x83); /* sub rsp, 136: alignment, and room for the red zone a
				 * careless signal frame might reach into */
	b2(t, 0xec, 0x78);
	st_abs(t, H_RSP, &e->host_rsp);
	b3(t, 0xff, 0x34, 0x25);		/* push [ret_none] */
	d4(t, lo32(&e->ret_none));
	st_abs(t, H_RDI, &e->tmp2);
	/* AH = low flags, OF through an addition that overflows */
	b3(t, 0x8a, 0x24, 0x25);		/* mov ah, [rflags] */
	d4(t, lo32(&c->rflags));
	b3(t, 0x8a, 0x04, 0x25);		/* mov al, [rflags + 1] */
	d4(t, lo32(&c->rflags) + 1);
	b3(t, 0xc0, 0xe8, 3);			/* shr al, 3 */
	b2(t, 0x24, 1);				/* and al, 1 */
	b2(t, 0x04, 0x7f);			/* add al, 0x7f */
	b1(t, 0x9e);				/* sahf */
	for (u8 g = 0; g < 16; g++)
		if (hreg(g) >= 0)
			ld_abs(t, (u32)hreg(g), &c->gpr[g]);
	ld_abs(t, H_RCX, &c->rip);		/* an e_ind entry compares it */
	b3(t, 0xff, 0x24, 0x25);		/* jmp [tmp2] */
	d4(t, lo32(&e->tmp2));

	/* indirect miss: RIP is in rcx */
	e->stub_ind_miss = rx_of(t, t->p);
	st_abs(t, H_RCX, &c->rip);
	emit_flags_save(t, false);
	b2(t, 0x69, 0xc0 | H_RSI << 3 | H_RCX);	/* imul esi, ecx, JC2_MULT */
	d4(t, JC2_MULT);
	b3(t, 0xc1, 0xe8 | H_RSI, (u8)(32 - e->jc2_bits));	/* shr esi, 32 - jc2_bits */
	_Static_assert(sizeof(struct jc2_entry) == 32, "shl esi, 5");
	b3(t, 0xc1, 0xe0 | H_RSI, 5);	/* shl esi, 5 */
	op_mem(t, true, 0x3b, H_RCX, H_RSI, (s32)lo32(&e->jc2->rip));	/* cmp */
	u8 *other_rip = jcc32(t, CC_NE);

	ld_abs(t, H_RCX, &e->jc_salt);
	op_mem(t, true, 0x3b, H_RCX, H_RSI, (s32)lo32(&e->jc2->salt));
	u8 *other_mode = jcc32(t, CC_NE);

	emit_flags_restore(t);
	op_mem(t, false, 0xff, 4, H_RSI, (s32)lo32(&e->jc2->code));	/* jmp */
	set_rel32(other_rip, t->p);
	set_rel32(other_mode, t->p);
	emit_flags_restore(t);
	e->stub_ind_leave = rx_of(t, t->p);
	mov_ri(t, H_RCX, (u64)(uintptr_t)&e->miss_rec);
	e->miss_rec.kind = REC_INDIRECT;

	/* exit: rcx = record */
	e->stub_exit = rx_of(t, t->p);
	st_abs(t, H_RAX, &c->gpr[R_RAX]);
	b1(t, 0x9f);
	b3(t, 0x0f, 0x90, 0xc0);
	op_abs(t, false, 0x89, H_RAX, &e->exit_flags);
	for (u8 g = 1; g < 16; g++)
		if (hreg(g) >= 0)
			st_abs(t, (u32)hreg(g), &c->gpr[g]);
	mov_rr(t, H_RAX, H_RCX);
	ld_abs(t, H_RSP, &e->host_rsp);
	b2(t, 0x48, 0x83);
	b2(t, 0xc4, 0x78);	/* add rsp, 120 */
	b2(t, 0x41, 0x5f);
	b2(t, 0x41, 0x5e);
	b2(t, 0x41, 0x5d);
	b2(t, 0x41, 0x5c);
	b1(t, 0x5d);
	b1(t, 0x5b);
	b1(t, 0xc3);

	apic_stubs(t);
	returns_stubs(t);

	u8 *end = rx_of(t, t->p);

	e->mem.hot_start = e->mem.hot = e->mem.rx + ALIGN_UP((u64)(end - e->mem.rx), 64);
	e->mem.hot_end = e->mem.rx + ALIGN_DOWN(e->mem.size / 3 * 2, PAGE_SIZE);
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
