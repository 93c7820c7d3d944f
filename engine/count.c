/* SPDX-License-Identifier: MIT */
/*
 * engine/count.c - counting what retires, for performance counters (cpu.count).
 *
 * While anybody counts, units are made in a mode of their own (MODE_COUNT): they have no side
 * exits, and where their body begins they take all their instructions off cpu.count.left. Whoever
 * leaves one in the middle gives back what has not been executed; C counts what it executes itself.
 * A unit that would take more than there is left is not entered: its instructions run one by one
 * until nothing is left, so that a counter overflows at the very instruction.
 */
#include "engine/emit.h"
#include "engine/insns.h"

static void add_abs(struct translator *t, u32 reg, void *counter, s32 n)
{
	ld_abs(t, reg, counter);
	lea(t, true, reg, (int)reg, -1, 1, n);
	st_abs(t, reg, counter);
}

/* Behind the entries: the scratch registers are free, flags may be live. */
void emit_count(struct translator *t)
{
	struct cpu_count *k = &t->e->c->count;
	struct record *r;
	u32 kinds[COUNT_KINDS] = { 0 };

	if (!(t->mode & MODE_COUNT))
		return;
	for (u32 i = 0; i < t->n; i++) {
		const struct insn *in = &t->d[i].in;

		kinds[COUNT_BRANCH] += insn_is_branch(in);
		if (in->memsize && t->d[i].n_acc)
			kinds[in->mem_w ? COUNT_STORE + in->mem_r : COUNT_LOAD]++;
	}
	t->u->branch = kinds[COUNT_BRANCH];
	if (t->mode & (MODE_STEP | MODE_BOUNCE))
		return;
	r = new_record(t, REC_COUNT, t->u->rip);
	if (!r)
		return;
	add_abs(t, H_RCX, &k->left, -(s32)t->n);
	/* The sign alone: shrx rcx, rcx, rsi */
	mov_ri(t, H_RSI, 63);
	shrx(t, H_RCX, H_RCX, H_RSI);
	need_rcx_zero(t, r);
	for (u32 i = 0; i < COUNT_KINDS; i++)
		if (kinds[i])
			add_abs(t, H_RCX, &k->n[i], (s32)kinds[i]);
}

/* How many of its instructions a unit that is left through r has not executed. */
static u32 undone(const struct record *r)
{
	const struct unit *u = r->unit;
	s64 rel = r->rel;

	switch (r->kind) {
	case REC_COUNT:
		return u->n_insns;
	case REC_TLB: case REC_EXEC: case REC_UD: case REC_NM: case REC_SLOW: case REC_TOO_LONG:
		break;
	case REC_POLL:	/* the entry's is before anything was counted */
		if (rel)
			break;
		return 0;
	default:
		return 0;
	}
	for (u32 i = u->n_insns; i-- > 0;)
		if (u->insns[i].guest == rel)
			return u->n_insns - i;
	return 0;
}

static void give_back(struct cpu *c, const struct unit *u, u32 n)
{
	c->count.left += n;
	/* A branch is the last one; and a unit refused has counted nothing else yet. */
	if (n && u->branch)
		c->count.n[COUNT_BRANCH]--;
}

void count_leave(struct engine *e, const struct record *r)
{
	const struct unit *u = r->unit;

	if (!u || !(u->mode & MODE_COUNT) || u->mode & (MODE_STEP | MODE_BOUNCE))
		return;
	if (r->kind == REC_COUNT)
		e->c->count.left += u->n_insns;
	else
		give_back(e->c, u, undone(r));
}

void count_signal(struct engine *e, const struct unit *u, u32 at)
{
	if (u->mode & MODE_COUNT && !(u->mode & (MODE_STEP | MODE_BOUNCE)))
		give_back(e->c, u, u->n_insns - at);
}

void count_stepped(struct engine *e, const struct record *r)
{
	struct cpu *c = e->c;

	switch (r->kind) {
	case REC_INDIRECT:
		cpu_count_retired(c, true);
		break;
	case REC_LINK: case REC_STEPPED:
		cpu_count_retired(c, r->unit->branch);
		break;
	default:
		break;
	}
}

void count_done(struct engine *e, const struct insn *in, u64 from, bool l2, bool done)
{
	struct cpu *c = e->c;
	bool branch = in && insn_is_branch(in);

	/* A string instruction that is to go on has not retired yet, and what a #VMEXIT came
	 * instead of never does. */
	if ((c->rip != from || (branch && done)) && !(l2 && !c->in_l2))
		cpu_count_retired(c, branch);
}
