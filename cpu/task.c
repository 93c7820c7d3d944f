/* SPDX-License-Identifier: MIT */
/* cpu/task.c - hardware task switches (APM2 12.2-12.3). */
#include "base/mem.h"
#include "cpu/exec_priv.h"
#include "mmu/mmu.h"

/* The fields of a TSS that a switch saves or loads, in its own order. */
struct tss_state {
	u32 cr3;
	u32 eip;
	u32 eflags;
	u32 gpr[8];
	u16 sel[6];	/* ES CS SS DS FS GS */
	u16 ldt;
	bool trap;
};

enum {
	TSS32_CR3 = 0x1c, TSS32_EIP = 0x20, TSS32_FLAGS = 0x24, TSS32_GPR = 0x28,
	TSS32_SEL = 0x48, TSS32_LDT = 0x60, TSS32_TRAP = 0x64, TSS32_SIZE = 0x68,
	TSS16_IP = 0x0e, TSS16_FLAGS = 0x10, TSS16_GPR = 0x12, TSS16_SEL = 0x22,
	TSS16_LDT = 0x2a, TSS16_SIZE = 0x2c,
	TSS16_SELS = 4,
};

static void put16(u8 *p, u32 v) { __builtin_memcpy(p, &(u16){ v }, 2); }
static void put32(u8 *p, u32 v) { __builtin_memcpy(p, &v, 4); }
static u16 get16(const u8 *p) { u16 v; __builtin_memcpy(&v, p, 2); return v; }
static u32 get32(const u8 *p) { u32 v; __builtin_memcpy(&v, p, 4); return v; }

/* Save the outgoing task's dynamic fields. */
static enum cpu_result save_old(struct cpu *c, u64 rip, u64 flags)
{
	const struct cpu_seg *tr = &c->seg[S_TR];
	u8 b[TSS32_SIZE];
	u32 first, end;

	if (tr->attr & DT_32) {
		first = TSS32_EIP;
		end = TSS32_LDT;
		put32(b + TSS32_EIP, rip);
		put32(b + TSS32_FLAGS, flags);
		for (u32 i = 0; i < 8; i++)
			put32(b + TSS32_GPR + i * 4, c->gpr[i]);
		for (u32 i = 0; i < 6; i++)
			put32(b + TSS32_SEL + i * 4, c->seg[i].sel);
	} else {
		first = TSS16_IP;
		end = TSS16_LDT;
		put16(b + TSS16_IP, rip);
		put16(b + TSS16_FLAGS, flags);
		for (u32 i = 0; i < 8; i++)
			put16(b + TSS16_GPR + i * 2, c->gpr[i]);
		for (u32 i = 0; i < TSS16_SELS; i++)
			put16(b + TSS16_SEL + i * 2, c->seg[i].sel);
	}
	return sys_write(c, (u32)(tr->base + first), b + first, end - first);
}

static enum cpu_result load_new(struct cpu *c, u64 base, bool is32, struct tss_state *t)
{
	u8 b[TSS32_SIZE];
	enum cpu_result r = sys_read(c, (u32)base, b, is32 ? TSS32_SIZE : TSS16_SIZE);

	if (r)
		return r;
	*t = (struct tss_state){ 0 };
	if (is32) {
		t->cr3 = get32(b + TSS32_CR3);
		t->eip = get32(b + TSS32_EIP);
		t->eflags = get32(b + TSS32_FLAGS);
		for (u32 i = 0; i < 8; i++)
			t->gpr[i] = get32(b + TSS32_GPR + i * 4);
		for (u32 i = 0; i < 6; i++)
			t->sel[i] = get16(b + TSS32_SEL + i * 4);
		t->ldt = get16(b + TSS32_LDT);
		t->trap = b[TSS32_TRAP] & 1;
	} else {
		t->eip = get16(b + TSS16_IP);
		t->eflags = get16(b + TSS16_FLAGS);
		for (u32 i = 0; i < 8; i++)
			t->gpr[i] = 0xffff0000 | get16(b + TSS16_GPR + i * 2);
		for (u32 i = 0; i < TSS16_SELS; i++)
			t->sel[i] = get16(b + TSS16_SEL + i * 2);
		t->ldt = get16(b + TSS16_LDT);
	}
	return CPU_OK;
}

/* CS of the incoming task: its RPL is the new CPL (APM2 12.3.2). */
static enum cpu_result load_cs(struct cpu *c, u16 sel, struct cpu_seg *cs)
{
	struct desc d;
	enum cpu_result r;

	if (sel_null(sel))
		return cpu_raise_err(c, EXC_TS, 0);
	r = desc_read(c, sel, &d, EXC_TS, 0);
	if (r)
		return r;
	if (!desc_is_code(&d) ||
	    (desc_is_conforming(&d) ? desc_dpl(&d) > sel_rpl(sel) : desc_dpl(&d) != sel_rpl(sel)))
		return cpu_raise_err(c, EXC_TS, sel_error(sel, 0));
	if (!desc_p(&d))
		return cpu_raise_err(c, EXC_NP, sel_error(sel, 0));
	r = desc_set_accessed(c, &d);
	if (r)
		return r;
	desc_to_seg(&d, sel, cs);
	return CPU_OK;
}

/* Load LDTR and the segments. Faults here belong to the new task (APM2 12.3.1). */
static enum cpu_result load_segments(struct cpu *c, const struct tss_state *t)
{
	static const u8 order[] = { S_ES, S_DS, S_FS, S_GS };
	struct cpu_seg seg;
	enum cpu_result r;

	r = ldtr_prepare(c, t->ldt, EXC_TS, &seg);
	if (r)
		return r;
	c->seg[S_LDTR] = seg;
	if (c->rflags & FL_VM) {
		for (u32 i = S_ES; i <= S_GS; i++)
			cpu_load_seg_real(c, i, t->sel[i]);
		return CPU_OK;
	}
	r = load_cs(c, t->sel[S_CS], &seg);
	if (r)
		return r;
	c->seg[S_CS] = seg;
	r = seg_prepare(c, S_SS, t->sel[S_SS], c->cpl, false, EXC_TS, 0, &seg);
	if (r)
		return r;
	c->seg[S_SS] = seg;
	for (u32 i = 0; i < ARRAY_SIZE(order); i++) {
		r = seg_prepare(c, order[i], t->sel[order[i]], c->cpl, false, EXC_TS, 0, &seg);
		if (r)
			return r;
		c->seg[order[i]] = seg;
	}
	if (c->rip > c->seg[S_CS].limit)
		return cpu_raise_err(c, EXC_GP, 0);
	return CPU_OK;
}

static enum cpu_result push_error(struct cpu *c, const struct task_switch *t, bool is32)
{
	struct stk s;
	enum cpu_result r;

	stk_current(c, &s);
	r = stk_push(c, &s, t->error, is32 ? 4 : 2);
	if (r)
		return r;
	stk_commit_sp(c, &s);
	return s.queued ? CPU_DONE : CPU_OK;
}

/* Everything of the new task except its segments, which may still fault. */
static enum cpu_result enter(struct cpu *c, const struct task_switch *t, const struct tss_state *n,
			     const struct cpu_seg *tr, bool is32)
{
	u64 flags = n->eflags & (FL_POP32 | FL_IF | FL_IOPL | FL_RF | FL_VM | FL_VIF | FL_VIP);

	c->seg[S_TR] = *tr;
	c->cr0 |= CR0_TS;
	if (is32 && (c->cr0 & CR0_PG)) {
		enum cpu_result r = cpu_set_cr3(c, n->cr3);

		if (r)
			return r;
	}
	if (t->why == TASK_CALL || t->why == TASK_EVENT)
		flags |= FL_NT;
	c->rip = n->eip;
	for (u32 i = 0; i < 8; i++)
		c->gpr[i] = n->gpr[i];
	c->cpl = flags & FL_VM ? 3 : sel_rpl(n->sel[S_CS]);
	for (u32 i = S_ES; i <= S_GS; i++)
		seg_set_null(&c->seg[i], n->sel[i], 0);
	seg_set_null(&c->seg[S_LDTR], n->ldt, 0);
	/* Local breakpoints are per task (APM2 13.1.1.4). */
	cpu_set_dr7(c, c->dr7 & ~0x55ull);
	cpu_set_flags(c, flags, ~0ull);
	c->debug_note = NOTE_RF;
	cpu_mode_changed(c);
	return CPU_OK;
}

static enum cpu_result bad_tss(struct cpu *c, const struct task_switch *t, u8 vec)
{
	return cpu_raise_err(c, vec, sel_error(t->sel, t->ext));
}

/* The incoming TSS's descriptor: in the GDT, the right type, present, large enough
 * (APM2 12.2.2). */
static enum cpu_result check_tss(struct cpu *c, const struct task_switch *t, struct desc *d)
{
	u8 vec = t->why == TASK_IRET ? EXC_TS : EXC_GP;
	u32 type;
	enum cpu_result r;

	if (sel_null(t->sel) || (t->sel & 4))
		return bad_tss(c, t, vec);
	r = desc_read(c, t->sel, d, vec, t->ext);
	if (r)
		return r;
	type = desc_type(d);
	if (desc_s(d) || (type & ~(u32)(DT_BUSY | DT_32)) != DT_TSS16)
		return bad_tss(c, t, vec);
	/* Tasks are not re-entrant: only IRET goes to a busy one (APM2 12.3.4). */
	if (!!(type & DT_BUSY) != (t->why == TASK_IRET))
		return bad_tss(c, t, vec);
	if (!desc_p(d))
		return bad_tss(c, t, EXC_NP);
	if (desc_limit(d) < (type & DT_32 ? 0x67 : 0x2b))
		return bad_tss(c, t, EXC_TS);
	return CPU_OK;
}

enum cpu_result cpu_task_switch(struct cpu *c, const struct task_switch *t)
{
	u16 old_sel = c->seg[S_TR].sel;
	u64 flags = t->rflags;
	struct desc nd, od;
	struct tss_state n;
	struct cpu_seg tr;
	bool is32, busy;
	enum cpu_result r;

	r = check_tss(c, t, &nd);
	if (r)
		return r;
	if (unlikely(c->in_l2)) {
		struct cpu_task task = { .sel = t->sel, .why = t->why,
					 .has_error = t->has_error, .error = t->error,
					 .event = t->event, .rf = t->rflags & FL_RF };

		r = cpu_hooks->task_switch ? cpu_hooks->task_switch(c, &task) : CPU_OK;
		if (r)
			return r;
	}
	is32 = desc_type(&nd) & DT_32;
	r = load_new(c, desc_base(&nd), is32, &n);
	if (r)
		return r;
	/* Whatever can still fault in the old task's context is tried before memory changes. */
	r = c->ops->mem_probe_w(c, (u32)desc_base(&nd), 2, MMU_KERNEL);
	if (r == CPU_FAULT)
		return r;
	if (t->why == TASK_IRET)
		flags &= ~(u64)FL_NT;
	r = save_old(c, t->rip, flags);
	if (r)
		return r;
	if (t->why == TASK_JMP || t->why == TASK_IRET) {
		r = desc_read(c, old_sel, &od, EXC_TS, t->ext);
		if (!r)
			r = desc_set_busy(c, &od, false, &busy);
		if (r)
			return r;
	}
	if (t->why == TASK_CALL || t->why == TASK_EVENT) {
		r = sys_write(c, (u32)desc_base(&nd), &old_sel, 2);
		if (r)
			return r;
	}
	if (t->why != TASK_IRET) {
		r = desc_set_busy(c, &nd, true, &busy);
		if (r)
			return r;
	}
	desc_to_seg(&nd, t->sel, &tr);
	tr.attr |= DT_BUSY;

	/* Point of no return: faults from here on are the new task's. */
	r = enter(c, t, &n, &tr, is32);
	if (!r)
		r = load_segments(c, &n);
	if (!r && t->has_error)
		r = push_error(c, t, is32);
	if (!r && n.trap) {
		/* T bit: debug trap before the first instruction (APM2 13.1.3.5). */
		c->fault = (struct cpu_fault){ .vector = EXC_DB, .payload = BIT64(15) };
		return CPU_FAULT;
	}
	return r;
}
