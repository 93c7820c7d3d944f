/* SPDX-License-Identifier: MIT */
/* cpu/iret.c - IRET in all modes (APM3 IRET, APM2 8.6.3, 8.7.4, 8.9.5, 10.2). */
#include "cpu/exec_priv.h"
#include "engine/engine.h"

enum { FL_VIRT = FL_VIF | FL_VIP };

/* Events blocked by the interrupt that ends here may come again. */
static enum cpu_result done(struct cpu *c)
{
	cpu_hooks->iret(c);
	c->debug_note = NOTE_RF;
	return CPU_OK;
}

/* Flags an IRET at the current CPL may change. */
static u64 iret_mask(const struct cpu *c, u32 size)
{
	u64 m = size == 2 ? FL_POP16 : FL_POP32 | FL_RF;

	if (c->cpl <= cpu_iopl(c))
		m |= FL_IF;
	if (c->cpl == 0) {
		m |= FL_IOPL;
		if (size != 2)
			m |= FL_VIRT;
	}
	return m;
}

static enum cpu_result iret_real(struct cpu *c, u32 size)
{
	u64 rip, cs, fl, mask;
	struct cpu_seg seg;
	struct stk s;
	enum cpu_result r;

	stk_current(c, &s);
	r = stk_pop(c, &s, &rip, size);
	if (!r)
		r = stk_pop(c, &s, &cs, size);
	if (!r)
		r = stk_pop(c, &s, &fl, size);
	if (r)
		return r;
	seg_real(c, S_CS, cs, &seg);
	if (rip > seg.limit)
		return cpu_raise_err(c, EXC_GP, 0);

	mask = (size == 2 ? FL_POP16 : FL_POP32 | FL_RF) | FL_IF | FL_IOPL;
	if (cpu_v86(c)) {
		mask &= ~(u64)FL_IOPL;
		if (cpu_iopl(c) < 3) {
			/* Only the 16-bit form with VME; IF becomes VIF (APM2 8.10.1). */
			if (!(c->cr4 & CR4_VME) || size != 2)
				return cpu_raise_err(c, EXC_GP, 0);
			if ((fl & FL_TF) || ((fl & FL_IF) && (c->rflags & FL_VIP)))
				return cpu_raise_err(c, EXC_GP, 0);
			fl = (fl & ~(u64)FL_VIF) | (fl & FL_IF ? FL_VIF : 0);
			mask = (mask & ~(u64)FL_IF) | FL_VIF;
		}
	}
	stk_commit_sp(c, &s);
	seg_commit(c, S_CS, &seg);
	c->rip = rip;
	cpu_set_flags(c, fl, mask);
	return done(c);
}

/* Return to a virtual-8086 program: six more words on the stack (APM2 10.2.3). */
static enum cpu_result iret_to_v86(struct cpu *c, struct stk *s, u64 rip, u64 cs, u64 fl)
{
	static const u8 order[] = { S_ES, S_DS, S_FS, S_GS };
	u64 rsp, ss, sel[ARRAY_SIZE(order)];
	enum cpu_result r;

	if (rip > 0xffff)
		return cpu_raise_err(c, EXC_GP, 0);
	r = stk_pop(c, s, &rsp, 4);
	if (!r)
		r = stk_pop(c, s, &ss, 4);
	for (u32 i = 0; !r && i < ARRAY_SIZE(order); i++)
		r = stk_pop(c, s, &sel[i], 4);
	if (r)
		return r;
	/* VM first: it decides what the segment loads below mean. */
	cpu_set_flags(c, fl, FL_POP32 | FL_RF | FL_IF | FL_IOPL | FL_VIRT | FL_VM);
	c->cpl = 3;
	cpu_load_seg_real(c, S_CS, cs);
	cpu_load_seg_real(c, S_SS, ss);
	for (u32 i = 0; i < ARRAY_SIZE(order); i++)
		cpu_load_seg_real(c, order[i], sel[i]);
	c->gpr[R_RSP] = (u32)rsp;
	c->rip = rip;
	return done(c);
}

/* IRET with NT set: back to the task in the link field (APM2 12.3.3). */
static enum cpu_result iret_task(struct cpu *c, const struct insn *in)
{
	struct task_switch t = { .why = TASK_IRET, .rip = next_rip(c, in),
				 .rflags = c->rflags };
	u16 link;
	enum cpu_result r;

	r = sys_read(c, cpu_sys_addr(c, c->seg[S_TR].base), &link, 2);
	if (r)
		return r;
	t.sel = link;
	r = cpu_task_switch(c, &t);
	if (r == CPU_OK)
		cpu_hooks->iret(c);
	return r;
}

static enum cpu_result pop_frame(struct cpu *c, struct stk *s, u32 size, u64 *v, u32 n)
{
	enum cpu_result r = CPU_OK;

	if (size == 8 && s->mask == ~0ull)
		return stk_pop_block(c, s, v, n);
	for (u32 i = 0; !r && i < n; i++)
		r = stk_pop(c, s, &v[i], size);
	return r;
}

static enum cpu_result iret_protected(struct cpu *c, const struct insn *in, u32 size)
{
	bool from64 = cpu_in_64(c);
	struct code_target t;
	struct stk s, new;
	struct cpu_seg ss;
	bool outer;
	u64 f[5];	/* RIP CS RFLAGS RSP SS */
	u64 mask;
	enum cpu_result r;

	if (c->rflags & FL_NT) {
		/* No hardware tasks in long mode (APM2 8.9.5). */
		if (cpu_in_lm(c))
			return cpu_raise_err(c, EXC_GP, 0);
		return iret_task(c, in);
	}
	stk_current(c, &s);
	/* 64-bit code always pops SS:RSP, whether or not the CPL changes (APM2 8.9.5). */
	r = pop_frame(c, &s, size, f, from64 ? 5 : 3);
	if (r)
		return r;
	if (!cpu_in_lm(c) && size == 4 && c->cpl == 0 && (f[2] & FL_VM))
		return iret_to_v86(c, &s, f[0], (u16)f[1], f[2]);
	r = code_return(c, f[1], f[0], &t);
	if (r)
		return r;
	outer = t.cpl != c->cpl;
	if (outer && !from64)
		r = pop_frame(c, &s, size, f + 3, 2);
	if (r)
		return r;
	mask = iret_mask(c, size);
	if (outer || from64) {
		r = seg_prepare(c, S_SS, f[4], t.cpl, t.is64, EXC_GP, 0, &ss);
		if (r)
			return r;
		stk_new(c, &new, &ss, f[3], t.cpl, t.is64, 0);
		code_commit(c, &t);
		stk_commit(c, &new);
		if (outer)
			seg_drop_inner(c);
	} else {
		stk_commit_sp(c, &s);
		code_commit(c, &t);
	}
	cpu_set_flags(c, f[2], mask);
	return done(c);
}

/* Is the frame one that an event has left, under its error code perhaps? */
static bool from_handler(const struct cpu *c)
{
	for (u32 i = 0; i < ARRAY_SIZE(c->frames); i++)
		if (c->gpr[R_RSP] - c->frames[i] <= 8)
			return true;
	return false;
}

enum cpu_result exec_iret(struct cpu *c, const struct insn *in)
{
	u32 size = far_opsize(in), cpl = c->cpl;
	bool handler = from_handler(c);
	enum cpu_result r =
		cpu_real_mode(c) || cpu_v86(c) ? iret_real(c, size) : iret_protected(c, in, size);

	/* With a frame of its own making, and to the same level, it is what code does that wants
	 * to be serialised. Handlers end with one all the time. */
	if (r != CPU_FAULT)
		engine_serialise(c, handler || c->cpl != cpl);
	return r;
}
