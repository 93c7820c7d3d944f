/* SPDX-License-Identifier: MIT */
/* cpu/exception.c - delivery of exceptions and interrupts, and INT n. */
#include "cpu/exec_priv.h"

/* One delivery in progress. */
struct delivery {
	const struct cpu_event *e;
	u64 rip;	/* pushed return address */
	u64 rflags;	/* pushed flags */
	u32 ext;	/* EXT bit of error codes raised on the way (APM2 8.4.1) */
};

static bool is_soft(const struct cpu_event *e)
{
	return e->kind == EV_SOFT_INT || e->kind == EV_SOFT_EXC || e->kind == EV_PRIV_SOFT;
}

/* Fault-class exceptions push RF = 1 so that the return does not trip over an instruction
 * breakpoint again (APM2 3.1.6); #DB, #BP, #OF are traps, #DF and #MC aborts. */
static bool pushes_rf(const struct cpu_event *e)
{
	switch (e->vector) {
	case EXC_DB: case EXC_NMI: case EXC_BP: case EXC_OF: case EXC_DF: case EXC_MC:
		return false;
	}
	return e->kind == EV_EXCEPTION;
}

static u32 idt_error(const struct delivery *d)
{
	return (u32)d->e->vector << 3 | 2 | d->ext;
}

static enum cpu_result finish(struct cpu *c, const struct stk *s)
{
	c->shadow_sti = 0;
	c->shadow_ss = 0;
	return s->queued ? CPU_DONE : CPU_OK;
}

/* Real mode: a far pointer per vector (APM2 8.6). Error codes are not pushed. */
static enum cpu_result deliver_real(struct cpu *c, const struct delivery *d)
{
	u32 off = d->e->vector * 4;
	struct cpu_seg cs;
	struct stk s;
	u32 v;
	enum cpu_result r;

	if (off + 3 > c->idtr.limit)
		return cpu_raise_err(c, EXC_GP, idt_error(d));
	r = sys_read(c, cpu_sys_addr(c, c->idtr.base + off), &v, 4);
	if (r)
		return r;
	stk_current(c, &s);
	r = stk_push(c, &s, d->rflags, 2);
	if (!r)
		r = stk_push(c, &s, c->seg[S_CS].sel, 2);
	if (!r)
		r = stk_push(c, &s, d->rip, 2);
	if (r)
		return r;
	seg_real(c, S_CS, v >> 16, &cs);
	stk_commit_sp(c, &s);
	seg_commit(c, S_CS, &cs);
	c->rip = v & 0xffff;
	cpu_set_flags(c, 0, FL_IF | FL_TF | FL_AC | FL_RF);
	return finish(c, &s);
}

/* Long mode: always a five-quadword frame on a 16-byte boundary (APM2 8.9.3). */
static enum cpu_result push_long(struct cpu *c, const struct delivery *d, u32 ist, u32 cpl,
				 struct stk *s)
{
	bool inner = cpl != c->cpl;
	u64 f[6];
	u32 n = 0;

	if (inner || ist) {
		enum cpu_result r = stk_from_tss(c, s, cpl, ist, inner, d->ext);

		if (r)
			return r;
	} else {
		stk_current(c, s);
		s->mask = ~0ull;
		s->err = d->ext;
	}
	s->sp &= ~0xfull;
	if (d->e->has_error)
		f[n++] = d->e->error;
	f[n++] = d->rip;
	f[n++] = c->seg[S_CS].sel;
	f[n++] = d->rflags;
	f[n++] = c->gpr[R_RSP];
	f[n++] = c->seg[S_SS].sel;
	return stk_push_block(c, s, f, n);
}

/* Protected mode: SS:ESP only on a change of level, the data segments when leaving
 * virtual-8086 mode (APM2 8.7.3, 10.2.4). */
static enum cpu_result push_legacy(struct cpu *c, const struct delivery *d, u32 size, u32 cpl,
				   struct stk *s)
{
	static const u8 v86_order[] = { S_GS, S_FS, S_DS, S_ES };
	enum cpu_result r = CPU_OK;

	if (cpl != c->cpl) {
		r = stk_from_tss(c, s, cpl, 0, true, d->ext);
		if (r)
			return r;
		if (c->rflags & FL_VM)
			for (u32 i = 0; !r && i < ARRAY_SIZE(v86_order); i++)
				r = stk_push(c, s, c->seg[v86_order[i]].sel, size);
		if (!r)
			r = stk_push(c, s, c->seg[S_SS].sel, size);
		if (!r)
			r = stk_push(c, s, c->gpr[R_RSP], size);
	} else {
		stk_current(c, s);
		s->err = d->ext;
	}
	if (!r)
		r = stk_push(c, s, d->rflags, size);
	if (!r)
		r = stk_push(c, s, c->seg[S_CS].sel, size);
	if (!r)
		r = stk_push(c, s, d->rip, size);
	if (!r && d->e->has_error)
		r = stk_push(c, s, d->e->error, size);
	return r;
}

static enum cpu_result deliver_gate(struct cpu *c, const struct delivery *d,
				    const struct desc *gate)
{
	bool lm = cpu_in_lm(c), v86 = cpu_v86(c), inner;
	u16 sel = gate_sel(gate);
	u32 size = lm ? 8 : desc_type(gate) & DT_32 ? 4 : 2;
	u64 off = gate_offset(gate);
	u64 clear = FL_TF | FL_NT | FL_VM | FL_RF;
	struct code_target t;
	struct desc cd;
	struct stk s;
	u32 cpl;
	enum cpu_result r;

	if (sel_null(sel))
		return cpu_raise_err(c, EXC_GP, d->ext);
	r = desc_read(c, sel, &cd, EXC_GP, d->ext);
	if (r)
		return r;
	if (!desc_is_code(&cd) || desc_dpl(&cd) > c->cpl)
		return cpu_raise_err(c, EXC_GP, sel_error(sel, d->ext));
	/* Handlers are 64-bit code in long mode (APM2 8.9.1). */
	if (lm && (!desc_l(&cd) || desc_db(&cd)))
		return cpu_raise_err(c, EXC_GP, sel_error(sel, d->ext));
	if (!desc_p(&cd))
		return cpu_raise_err(c, EXC_NP, sel_error(sel, d->ext));
	cpl = desc_is_conforming(&cd) ? c->cpl : desc_dpl(&cd);
	/* Virtual-8086 mode is left to CPL 0 only (APM2 10.2.4). */
	if (v86 && cpl != 0)
		return cpu_raise_err(c, EXC_GP, sel_error(sel, d->ext));
	if (size == 2)
		off &= 0xffff;
	r = code_prepare(c, &cd, cpl, off, d->ext, &t);
	if (r)
		return r;
	inner = cpl != c->cpl;
	if (lm)
		r = push_long(c, d, gate_ist(gate), cpl, &s);
	else
		r = push_legacy(c, d, size, cpl, &s);
	if (r)
		return r;

	code_commit(c, &t);
	if (inner)
		stk_commit(c, &s);
	else
		stk_commit_sp(c, &s);
	if (v86)
		for (u32 i = S_ES; i <= S_GS; i++)
			if (i != S_CS && i != S_SS)
				seg_load_null(c, i, 0, 0, &c->seg[i]);
	/* Interrupt gates (even types) mask interrupts, trap gates do not (APM2 8.7.3). */
	if (!(desc_type(gate) & 1))
		clear |= FL_IF;
	cpu_set_flags(c, 0, clear);
	return finish(c, &s);
}

static enum cpu_result deliver_task(struct cpu *c, const struct delivery *d,
				    const struct desc *gate)
{
	struct task_switch t = {
		.sel = gate_sel(gate), .why = TASK_EVENT, .ext = d->ext, .rip = d->rip,
		.has_error = d->e->has_error, .error = d->e->error,
		.event = cpu_event_info(d->e), .rflags = d->rflags,
	};
	enum cpu_result r = cpu_task_switch(c, &t);

	if (r == CPU_OK) {
		c->shadow_sti = 0;
		c->shadow_ss = 0;
	}
	return r;
}

static enum cpu_result deliver_protected(struct cpu *c, const struct delivery *d)
{
	bool lm = cpu_in_lm(c);
	u32 size = lm ? 16 : 8;
	u32 off = d->e->vector * size;
	struct desc gate = { 0 };
	u64 raw[2] = { 0 };
	enum cpu_result r;

	/* The IDT is indexed by 8 or 16 bytes; outside it #GP (APM2 8.7.1, 8.9.1). */
	if (off + size - 1 > c->idtr.limit)
		return cpu_raise_err(c, EXC_GP, idt_error(d));
	r = sys_read(c, cpu_sys_addr(c, c->idtr.base + off), raw, size);
	if (r)
		return r;
	gate.lo = raw[0];
	gate.hi = raw[1] & 0xffffffff;

	if (desc_s(&gate))
		return cpu_raise_err(c, EXC_GP, idt_error(d));
	switch (desc_type(&gate)) {
	case DT_INT32: case DT_TRAP32:
		break;
	case DT_INT16: case DT_TRAP16: case DT_TASK_GATE:
		if (!lm)
			break;
		/* fallthrough */
	default:
		return cpu_raise_err(c, EXC_GP, idt_error(d));
	}
	/* INT n, INT3 and INTO need gate DPL >= CPL (APM2 8.7.4). */
	if ((d->e->kind == EV_SOFT_INT || d->e->kind == EV_SOFT_EXC) && desc_dpl(&gate) < c->cpl)
		return cpu_raise_err(c, EXC_GP, idt_error(d));
	if (!desc_p(&gate))
		return cpu_raise_err(c, EXC_NP, idt_error(d));
	if (desc_type(&gate) == DT_TASK_GATE)
		return deliver_task(c, d, &gate);
	return deliver_gate(c, d, &gate);
}

/* CR2 and DR6 change when the exception is recognised, before its handler is looked up
 * (APM2 8.2.15, 13.1.1.3). */
static void apply_payload(struct cpu *c, const struct cpu_event *e)
{
	if (e->kind != EV_EXCEPTION)
		return;
	if (e->vector == EXC_PF) {
		c->cr2 = e->payload;
	} else if (e->vector == EXC_DB) {
		/* B0-B3 report this trap only; BD, BS and BT accumulate. */
		c->dr6 = (c->dr6 & ~0xfull) | e->payload;
		/* A handler may use the debug registers (APM2 13.1.1.4). */
		c->dr7 &= ~DR7_GD;
	}
}

/* INT 1 is no #DB, ICEBP is. */
static bool is_db(const struct cpu_event *e)
{
	return e->vector == EXC_DB && (e->kind == EV_EXCEPTION || e->kind == EV_PRIV_SOFT);
}

/* APM2 13.1.6.1: the branch before the event goes to the second pair, except for #MC. */
static void record_event(struct cpu *c, const struct cpu_event *e, u64 from)
{
	if (e->kind != EV_EXCEPTION || e->vector != EXC_MC) {
		c->lbr[2] = c->lbr[0];
		c->lbr[3] = c->lbr[1];
	}
	cpu_record_branch(c, from, c->rip);
}

enum cpu_result cpu_deliver(struct cpu *c, const struct cpu_event *e)
{
	struct delivery d = {
		.e = e,
		.rip = is_soft(e) ? e->next_rip : c->rip,
		.rflags = c->rflags,
		/* External to the program: not its instructions, not their exceptions. */
		.ext = e->kind == EV_INTR || e->kind == EV_NMI || e->kind == EV_PRIV_SOFT,
	};
	u64 from = c->rip;
	u32 hit = c->watch_hit;
	enum cpu_result r;

	apply_payload(c, e);
	if (is_db(e))
		cpu_debugctl_db(c);
	if (pushes_rf(e))
		d.rflags |= FL_RF;
	else if (is_soft(e))
		d.rflags &= ~(u64)FL_RF;	/* the instruction has completed */
	r = cpu_real_mode(c) ? deliver_real(c, &d) : deliver_protected(c, &d);
	/* NoNestedDataBp: a #DB whose delivery led to the next one would never reach its
	 * handler. */
	if (is_db(e))
		c->watch_hit = hit;
	if (r == CPU_OK) {
		c->count.n[COUNT_BRANCH]++;	/* events are retired branches too (PPR, PMCx0C2) */
		c->frames[c->frame++ % ARRAY_SIZE(c->frames)] = c->gpr[R_RSP];
		if (unlikely(c->debugctl & DEBUGCTL_LBR))
			record_event(c, e, from);
	}
	return r;
}

u32 cpu_event_info(const struct cpu_event *e)
{
	static const u8 type[] = {
		[EV_INTR] = 0, [EV_NMI] = 2, [EV_EXCEPTION] = 3, [EV_SOFT_INT] = 4,
		[EV_SOFT_EXC] = 3, [EV_PRIV_SOFT] = 3,
	};

	return BIT(31) | (u32)type[e->kind] << 8 | (e->has_error ? BIT(11) : 0) | e->vector;
}

/* APM2 8.2.9, table 8-3. */
int cpu_merge_faults(u8 first, u8 second)
{
	if (first == EXC_DF)
		return -1;
	if (exc_contributory(first) && exc_contributory(second))
		return EXC_DF;
	if (first == EXC_PF && (second == EXC_PF || exc_contributory(second)))
		return EXC_DF;
	return 0;
}

/* -- INT n and its relatives -- */

static enum cpu_result soft(struct cpu *c, const struct insn *in, u8 vector, u8 kind)
{
	struct cpu_event e = { .vector = vector, .kind = kind, .next_rip = next_rip(c, in) };
	bool tf = c->rflags & FL_TF;
	enum cpu_result r = cpu_deliver(c, &e);

	/* The gate has cleared TF: no single-step trap follows (APM2 13.1.4). */
	if (r == CPU_OK && tf)
		c->debug_note = NOTE_NO_STEP;
	if (r == CPU_FAULT)
		c->fault.during = cpu_event_info(&e);
	return r;
}

/*
 * INT n in virtual-8086 mode (APM2 8.10.4): with VME a clear bit in the TSS's redirection map sends
 * it to the program's own vector table; otherwise IOPL must be 3.
 */
static enum cpu_result int_v86(struct cpu *c, const struct insn *in, u8 vector)
{
	const struct cpu_seg *tr = &c->seg[S_TR];
	bool virt = cpu_iopl(c) < 3;
	struct cpu_event e = { .vector = vector, .kind = EV_SOFT_INT };
	u64 fl = c->rflags, from;
	u16 iomap;
	u32 vec, off;
	u8 map;
	struct cpu_seg cs;
	struct stk s;
	enum cpu_result r;

	if (!(c->cr4 & CR4_VME))
		goto monitor;
	if (tr->limit < 0x67)
		return cpu_raise_err(c, EXC_GP, 0);
	r = sys_read(c, (u32)(tr->base + 0x66), &iomap, 2);
	if (r)
		return r;
	off = iomap - 32 + vector / 8;
	if (iomap < 32 || off > tr->limit)
		return cpu_raise_err(c, EXC_GP, 0);
	r = sys_read(c, (u32)(tr->base + off), &map, 1);
	if (r)
		return r;
	if (map & 1 << (vector & 7))
		goto monitor;

	r = c->ops->mem_read(c, vector * 4, &vec, 4, MMU_USER);
	if (r)
		return r;
	if (virt)
		fl = (fl & ~(u64)FL_IF) | FL_IOPL | (fl & FL_VIF ? FL_IF : 0);
	stk_current(c, &s);
	r = stk_push(c, &s, fl, 2);
	if (!r)
		r = stk_push(c, &s, c->seg[S_CS].sel, 2);
	if (!r)
		r = stk_push(c, &s, next_rip(c, in), 2);
	if (r)
		return r;
	seg_real(c, S_CS, vec >> 16, &cs);
	stk_commit_sp(c, &s);
	seg_commit(c, S_CS, &cs);
	from = c->rip;
	c->rip = vec & 0xffff;
	cpu_set_flags(c, 0, FL_TF | FL_NT | FL_RF | (virt ? FL_VIF : FL_IF));
	if (unlikely(c->debugctl & DEBUGCTL_LBR))
		record_event(c, &e, from);
	return finish(c, &s);
monitor:
	if (virt)
		return cpu_raise_err(c, EXC_GP, 0);
	return soft(c, in, vector, EV_SOFT_INT);
}

enum cpu_result exec_int(struct cpu *c, const struct insn *in)
{
	if (cpu_v86(c))
		return int_v86(c, in, in->imm);
	return soft(c, in, in->imm, EV_SOFT_INT);
}

/* A debugger outside the guest may own INT3 and INT1. */
static enum cpu_result breakpoint(struct cpu *c, const struct insn *in, u8 vector, u8 kind)
{
	enum cpu_result r = cpu_hooks->breakpoint ? cpu_hooks->breakpoint(c, vector) : CPU_OK;

	return r ? r : soft(c, in, vector, kind);
}

enum cpu_result exec_int3(struct cpu *c, const struct insn *in)
{
	return breakpoint(c, in, EXC_BP, EV_SOFT_EXC);
}

enum cpu_result exec_int1(struct cpu *c, const struct insn *in)
{
	return breakpoint(c, in, EXC_DB, EV_PRIV_SOFT);
}

enum cpu_result exec_into(struct cpu *c, const struct insn *in)
{
	if (in->mode == 8)
		return cpu_raise(c, EXC_UD);
	if (!(c->rflags & FL_OF)) {
		insn_retire(c, in);
		return CPU_OK;
	}
	return soft(c, in, EXC_OF, EV_SOFT_EXC);
}
