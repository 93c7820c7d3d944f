/* SPDX-License-Identifier: MIT */
/* cpu/far.c - far CALL, JMP and RET, call gates included. */
#include "cpu/access.h"
#include "cpu/exec_priv.h"

struct far_ptr {
	u64 off;
	u16 sel;
	u8 size;	/* operand size in bytes */
	bool call;
	u64 ret;	/* return address */
};

static enum cpu_result finish(const struct stk *s)
{
	return s->queued ? CPU_DONE : CPU_OK;
}

static enum cpu_result far_real(struct cpu *c, const struct far_ptr *p)
{
	struct cpu_seg cs;
	struct stk s;
	enum cpu_result r;

	seg_real(c, S_CS, p->sel, &cs);
	if (p->off > cs.limit)
		return cpu_raise_err(c, EXC_GP, 0);
	stk_current(c, &s);
	if (p->call) {
		r = stk_push(c, &s, c->seg[S_CS].sel, p->size);
		if (!r)
			r = stk_push(c, &s, p->ret, p->size);
		if (r)
			return r;
		stk_commit_sp(c, &s);
	}
	seg_commit(c, S_CS, &cs);
	c->rip = p->off;
	return finish(&s);
}

/* Push CS:RIP on the current stack (when it is a call) and go. */
static enum cpu_result far_same_level(struct cpu *c, const struct far_ptr *p, u32 size,
				      const struct code_target *t)
{
	struct stk s;
	enum cpu_result r;

	stk_current(c, &s);
	/* A 64-bit call gate entered from compatibility mode pushes on a 64-bit stack. */
	if (t->is64 && size == 8)
		s.mask = ~0ull;
	if (p->call) {
		r = stk_push(c, &s, c->seg[S_CS].sel, size);
		if (!r)
			r = stk_push(c, &s, p->ret, size);
		if (r)
			return r;
		stk_commit_sp(c, &s);
	}
	code_commit(c, t);
	return finish(&s);
}

/* Direct transfer to a code segment: never changes the CPL (APM2 4.11.1). */
static enum cpu_result far_code(struct cpu *c, const struct far_ptr *p, struct desc *d)
{
	struct code_target t;
	enum cpu_result r;

	if (desc_is_conforming(d)) {
		if (desc_dpl(d) > c->cpl)
			return cpu_raise_err(c, EXC_GP, sel_error(p->sel, 0));
	} else if (sel_rpl(p->sel) > c->cpl || desc_dpl(d) != c->cpl) {
		return cpu_raise_err(c, EXC_GP, sel_error(p->sel, 0));
	}
	if (!desc_p(d))
		return cpu_raise_err(c, EXC_NP, sel_error(p->sel, 0));
	r = code_prepare(c, d, c->cpl, p->off, 0, &t);
	if (r)
		return r;
	return far_same_level(c, p, p->size, &t);
}

/* Copy `n` parameters from the caller's stack, deepest first (APM2 4.11.3). */
static enum cpu_result copy_params(struct cpu *c, struct stk *to, u32 n, u32 size)
{
	for (u32 i = n; i--;) {
		struct stk from;
		u64 v;
		enum cpu_result r;

		stk_current(c, &from);
		stk_skip(&from, (u64)i * size);
		r = stk_pop(c, &from, &v, size);
		if (!r)
			r = stk_push(c, to, v, size);
		if (r)
			return r;
	}
	return CPU_OK;
}

/* Call through a gate to an inner level: new stack from the TSS (APM2 4.11.2). */
static enum cpu_result gate_inner(struct cpu *c, const struct far_ptr *p, const struct desc *gate,
				  u32 size, const struct code_target *t)
{
	struct stk s;
	enum cpu_result r;

	r = stk_from_tss(c, &s, t->cpl, 0, true, 0);
	if (r)
		return r;
	r = stk_push(c, &s, c->seg[S_SS].sel, size);
	if (!r)
		r = stk_push(c, &s, c->gpr[R_RSP], size);
	/* Long-mode gates have no parameter count (APM2 4.8.3). */
	if (!r && !cpu_in_lm(c))
		r = copy_params(c, &s, gate_count(gate), size);
	if (!r)
		r = stk_push(c, &s, c->seg[S_CS].sel, size);
	if (!r)
		r = stk_push(c, &s, p->ret, size);
	if (r)
		return r;
	code_commit(c, t);
	stk_commit(c, &s);
	return finish(&s);
}

static enum cpu_result far_gate(struct cpu *c, const struct far_ptr *p, struct desc *gate)
{
	u16 sel = gate_sel(gate);
	u32 type = desc_type(gate);
	struct code_target t;
	struct desc d;
	u32 size, cpl;
	u64 off;
	enum cpu_result r;

	/* Gate DPL >= max(CPL, RPL) (APM2 4.11.2). */
	if (desc_dpl(gate) < c->cpl || desc_dpl(gate) < sel_rpl(p->sel))
		return cpu_raise_err(c, EXC_GP, sel_error(p->sel, 0));
	if (!desc_p(gate))
		return cpu_raise_err(c, EXC_NP, sel_error(p->sel, 0));
	if (cpu_in_lm(c)) {
		r = desc_read_wide(c, gate, EXC_GP, 0);
		if (r)
			return r;
	}
	if (sel_null(sel))
		return cpu_raise_err(c, EXC_GP, 0);
	r = desc_read(c, sel, &d, EXC_GP, 0);
	if (r)
		return r;
	if (!desc_is_code(&d) || desc_dpl(&d) > c->cpl)
		return cpu_raise_err(c, EXC_GP, sel_error(sel, 0));
	/* Long-mode gates lead to 64-bit code only (APM2 4.8.3). */
	if (cpu_in_lm(c) && (!desc_l(&d) || desc_db(&d)))
		return cpu_raise_err(c, EXC_GP, sel_error(sel, 0));
	cpl = desc_is_conforming(&d) ? c->cpl : desc_dpl(&d);
	/* JMP cannot raise the privilege (APM2 4.11.2). */
	if (!p->call && cpl != c->cpl)
		return cpu_raise_err(c, EXC_GP, sel_error(sel, 0));
	if (!desc_p(&d))
		return cpu_raise_err(c, EXC_NP, sel_error(sel, 0));

	size = cpu_in_lm(c) ? 8 : type == DT_CALL16 ? 2 : 4;
	off = gate_offset(gate);
	if (size == 2)
		off &= 0xffff;
	r = code_prepare(c, &d, cpl, off, 0, &t);
	if (r)
		return r;
	if (cpl != c->cpl)
		return gate_inner(c, p, gate, size, &t);
	return far_same_level(c, p, size, &t);
}

static enum cpu_result far_task(struct cpu *c, const struct far_ptr *p, u16 tss)
{
	struct task_switch t = {
		.sel = tss, .why = p->call ? TASK_CALL : TASK_JMP, .rip = p->ret,
		.rflags = c->rflags,
	};

	return cpu_task_switch(c, &t);
}

static enum cpu_result far_protected(struct cpu *c, const struct far_ptr *p)
{
	struct desc d;
	enum cpu_result r;

	if (sel_null(p->sel))
		return cpu_raise_err(c, EXC_GP, 0);
	r = desc_read(c, p->sel, &d, EXC_GP, 0);
	if (r)
		return r;
	if (desc_is_code(&d))
		return far_code(c, p, &d);
	if (desc_s(&d))
		return cpu_raise_err(c, EXC_GP, sel_error(p->sel, 0));

	switch (desc_type(&d)) {
	case DT_CALL32:
		return far_gate(c, p, &d);
	case DT_CALL16:
		if (!cpu_in_lm(c))
			return far_gate(c, p, &d);
		break;
	case DT_TASK_GATE:
		/* No hardware tasks in long mode (APM2 12.1). */
		if (cpu_in_lm(c))
			break;
		if (desc_dpl(&d) < c->cpl || desc_dpl(&d) < sel_rpl(p->sel))
			break;
		if (!desc_p(&d))
			return cpu_raise_err(c, EXC_NP, sel_error(p->sel, 0));
		return far_task(c, p, gate_sel(&d));
	case DT_TSS16:
	case DT_TSS32:
		if (cpu_in_lm(c) || desc_dpl(&d) < c->cpl || desc_dpl(&d) < sel_rpl(p->sel))
			break;
		return far_task(c, p, p->sel);
	}
	return cpu_raise_err(c, EXC_GP, sel_error(p->sel, 0));
}

static enum cpu_result far_transfer(struct cpu *c, const struct insn *in, bool call)
{
	struct far_ptr p = { .call = call, .size = far_opsize(in), .ret = next_rip(c, in) };
	enum cpu_result r;

	if (in->has_mem) {
		/* AMD's CPUs have no pointers with a 64-bit offset (APM3 CALL (Far), JMP (Far)):
		 * REX.W only makes the pushes wider. */
		u32 size = p.size == 8 ? 4 : p.size;
		u8 buf[6];

		r = cpu_read_aligned(c, in->seg, insn_ea(c, in), buf, size + 2, size);
		if (r)
			return r;
		for (u32 i = 0; i < size; i++)
			p.off |= (u64)buf[i] << (i * 8);
		p.sel = buf[size] | buf[size + 1] << 8;
	} else {
		p.off = in->imm & (p.size == 2 ? 0xffff : 0xffffffff);
		p.sel = in->imm2;
	}
	if (cpu_real_mode(c) || cpu_v86(c))
		return far_real(c, &p);
	return far_protected(c, &p);
}

enum cpu_result exec_far_call(struct cpu *c, const struct insn *in)
{
	return far_transfer(c, in, true);
}

enum cpu_result exec_far_jmp(struct cpu *c, const struct insn *in)
{
	return far_transfer(c, in, false);
}

/* RETF [imm16]. */
enum cpu_result exec_far_ret(struct cpu *c, const struct insn *in)
{
	u32 size = far_opsize(in);
	u64 extra = in->opcode == 0xca ? in->imm & 0xffff : 0;
	u64 rip, cs, rsp, ss;
	struct code_target t;
	struct stk s, outer;
	struct cpu_seg seg;
	enum cpu_result r;

	stk_current(c, &s);
	r = stk_pop(c, &s, &rip, size);
	if (!r)
		r = stk_pop(c, &s, &cs, size);
	if (r)
		return r;
	if (cpu_real_mode(c) || cpu_v86(c)) {
		seg_real(c, S_CS, cs, &seg);
		if (rip > seg.limit)
			return cpu_raise_err(c, EXC_GP, 0);
		stk_skip(&s, extra);
		stk_commit_sp(c, &s);
		seg_commit(c, S_CS, &seg);
		c->rip = rip;
		return CPU_OK;
	}
	r = code_return(c, cs, rip, &t);
	if (r)
		return r;
	stk_skip(&s, extra);
	if (t.cpl == c->cpl) {
		stk_commit_sp(c, &s);
		code_commit(c, &t);
		return CPU_OK;
	}
	r = stk_pop(c, &s, &rsp, size);
	if (!r)
		r = stk_pop(c, &s, &ss, size);
	if (!r)
		r = seg_prepare(c, S_SS, ss, t.cpl, t.is64, EXC_GP, 0, &seg);
	if (r)
		return r;
	stk_new(c, &outer, &seg, rsp, t.cpl, t.is64, 0);
	stk_skip(&outer, extra);
	code_commit(c, &t);
	stk_commit(c, &outer);
	seg_drop_inner(c);
	return CPU_OK;
}
