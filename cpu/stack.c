/* SPDX-License-Identifier: MIT */
/* cpu/stack.c - a copy of SS:RSP that far transfers push to and pop from. */
#include "cpu/exec_priv.h"

void stk_current(const struct cpu *c, struct stk *s)
{
	s->ss = c->seg[S_SS];
	s->sp = c->gpr[R_RSP];
	s->mask = cpu_in_64(c) ? ~0ull : s->ss.attr & SEG_DB ? 0xffffffff : 0xffff;
	s->err = 0;
	s->idx = idx_for_cpl(c, c->cpl);
	s->queued = false;
}

void stk_new(const struct cpu *c, struct stk *s, const struct cpu_seg *ss, u64 sp, u32 cpl, bool lm,
	     u32 err)
{
	s->ss = *ss;
	s->sp = sp;
	s->mask = lm ? ~0ull : ss->attr & SEG_DB ? 0xffffffff : 0xffff;
	s->err = err;
	s->idx = idx_for_cpl(c, cpl);
	s->queued = false;
}

/* Linear address of [off, off+size), or #SS (APM2 4.12.1 limits, 5.3.1 canonical form). What CPL 3
 * pushes and pops by itself is aligned or #AC, each number of `unit` bytes (APM2 8.2.18). */
static enum cpu_result stk_linear(struct cpu *c, const struct stk *s, u64 off, u32 size, u32 unit,
				  u64 *lin)
{
	u64 last = off + size - 1;

	if (s->mask == ~0ull) {
		if (!cpu_canonical(c, off) || !cpu_canonical(c, last))
			goto fault;
		*lin = off;
		goto aligned;
	}
	if (!cpu_real_mode(c) && !(s->ss.attr & SEG_P))
		goto fault;
	if ((s->ss.attr & (SEG_CODE | SEG_EC)) == SEG_EC) {
		u64 top = s->ss.attr & SEG_DB ? 0xffffffff : 0xffff;

		if (off <= s->ss.limit || last > top)
			goto fault;
	} else if (last > s->ss.limit && s->ss.limit != 0xffffffff) {
		goto fault;
	}
	*lin = (u32)(s->ss.base + off);
aligned:
	return s->idx % MMU_L2 == MMU_USER ? cpu_align(c, *lin, unit - 1) : CPU_OK;
fault:
	return cpu_raise_err(c, EXC_SS, s->err);
}

static void stk_move(struct stk *s, u64 delta)
{
	s->sp = (s->sp & ~s->mask) | ((s->sp + delta) & s->mask);
}

enum cpu_result stk_push(struct cpu *c, struct stk *s, u64 v, u32 size)
{
	u64 lin;
	enum cpu_result r;

	r = stk_linear(c, s, (s->sp - size) & s->mask, size, size, &lin);
	if (r)
		return r;
	r = c->ops->mem_write(c, lin, &v, size, s->idx);
	if (r == CPU_FAULT)
		return r;
	s->queued |= r == CPU_DONE;
	stk_move(s, -(u64)size);
	return CPU_OK;
}

enum cpu_result stk_pop(struct cpu *c, struct stk *s, u64 *v, u32 size)
{
	u64 lin;
	enum cpu_result r;

	r = stk_linear(c, s, s->sp & s->mask, size, size, &lin);
	if (r)
		return r;
	*v = 0;
	r = c->ops->mem_read(c, lin, v, size, s->idx);
	if (r)
		return r;
	stk_move(s, size);
	return CPU_OK;
}

enum cpu_result stk_push_block(struct cpu *c, struct stk *s, const u64 *v, u32 n)
{
	u64 lin;
	enum cpu_result r;

	r = stk_linear(c, s, s->sp - n * 8, n * 8, 8, &lin);
	if (r)
		return r;
	r = c->ops->mem_write(c, lin, v, n * 8, s->idx);
	if (r == CPU_FAULT)
		return r;
	s->queued |= r == CPU_DONE;
	s->sp -= n * 8;
	return CPU_OK;
}

enum cpu_result stk_pop_block(struct cpu *c, struct stk *s, u64 *v, u32 n)
{
	u64 lin;
	enum cpu_result r;

	r = stk_linear(c, s, s->sp, n * 8, 8, &lin);
	if (r)
		return r;
	r = c->ops->mem_read(c, lin, v, n * 8, s->idx);
	if (r)
		return r;
	s->sp += n * 8;
	return CPU_OK;
}

void stk_skip(struct stk *s, u64 bytes)
{
	stk_move(s, bytes);
}

void stk_commit_sp(struct cpu *c, const struct stk *s)
{
	/* A 32-bit stack pointer zero-extends, a 16-bit one merges. */
	if (s->mask == 0xffff)
		c->gpr[R_RSP] = (c->gpr[R_RSP] & ~0xffffull) | (s->sp & 0xffff);
	else
		c->gpr[R_RSP] = s->sp & s->mask;
}

void stk_commit(struct cpu *c, const struct stk *s)
{
	stk_commit_sp(c, s);
	seg_commit(c, S_SS, &s->ss);
}

/* SS:ESP or SS:SP of level `cpl` from a legacy TSS, with the rules for SS (APM2 4.11.4). */
static enum cpu_result stk_from_legacy_tss(struct cpu *c, struct stk *s, u32 cpl, u32 ext)
{
	const struct cpu_seg *tr = &c->seg[S_TR];
	bool is32 = tr->attr & DT_32;
	u32 off = is32 ? 4 + cpl * 8 : 2 + cpl * 4;
	struct cpu_seg ss;
	struct desc d;
	u64 v = 0;
	u16 sel;
	u64 sp;
	enum cpu_result r;

	if (off + (is32 ? 5 : 3) > tr->limit)
		return cpu_raise_err(c, EXC_TS, sel_error(tr->sel, ext));
	r = sys_read(c, cpu_sys_addr(c, tr->base + off), &v, is32 ? 6 : 4);
	if (r)
		return r;
	sp = is32 ? (u32)v : (u16)v;
	sel = is32 ? v >> 32 : v >> 16;
	if (sel_null(sel))
		return cpu_raise_err(c, EXC_TS, ext);
	r = desc_read(c, sel, &d, EXC_TS, ext);
	if (r)
		return r;
	if (sel_rpl(sel) != cpl || desc_dpl(&d) != cpl || !desc_is_stack(&d))
		return cpu_raise_err(c, EXC_TS, sel_error(sel, ext));
	if (!desc_p(&d))
		return cpu_raise_err(c, EXC_SS, sel_error(sel, ext));
	r = desc_set_accessed(c, &d);
	if (r)
		return r;
	desc_to_seg(&d, sel, &ss);
	stk_new(c, s, &ss, sp, cpl, false, sel_error(sel, ext));
	return CPU_OK;
}

enum cpu_result stk_from_tss(struct cpu *c, struct stk *s, u32 cpl, u32 ist, bool switch_ss,
			     u32 ext)
{
	const struct cpu_seg *tr = &c->seg[S_TR];
	struct cpu_seg ss = c->seg[S_SS];
	u32 off = ist ? 0x1c + ist * 8 : 4 + cpl * 8;
	u64 rsp;
	enum cpu_result r;

	if (!cpu_in_lm(c))
		return stk_from_legacy_tss(c, s, cpl, ext);
	if (off + 7 > tr->limit)
		return cpu_raise_err(c, EXC_TS, sel_error(tr->sel, ext));
	r = sys_read(c, tr->base + off, &rsp, 8);
	if (r)
		return r;
	/* Long mode loads a null SS with RPL = new CPL (APM2 8.9.3). */
	if (switch_ss)
		seg_set_null(&ss, cpl, cpl);
	stk_new(c, s, &ss, rsp, cpl, true, ext);
	return CPU_OK;
}
