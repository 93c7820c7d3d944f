/* SPDX-License-Identifier: MIT */
/*
 * engine/translate.c - building a unit: decode, find which flags are live,
 * group memory accesses, then emit.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/emit.h"

/* PUSH of memory through non-flat segments has two checks with the flags saved around each. */
#define UNIT_MAX_HOT (UNIT_MAX_INSNS * 400u + 512)
_Static_assert(UNIT_MAX_HOT < 1u << 15, "unit_insn.host");
#define UNIT_MAX_COLD (MAX_COLD * 128u)
/* Of the arena: the unit, its records and instructions, the pages that it follows jumps to. */
#define UNIT_MAX_ARENA (64u << 10)
/* Kept free for units that run one instruction for C, which still needs that instruction's record:
 * a flush in the middle would take it away. */
#define RESERVE 4u

/* The longest group, in the order in which they are tried; 0: each access is checked alone. */
static const s32 group_spans[] = { 1024, 64, 0 };

int translator_init(struct engine *e)
{
	e->tr = pool_take(e, sizeof(*e->tr));
	if (!e->tr)
		return -ENOMEM;
	e->tr->e = e;
	return 0;
}

static bool translator_room(const struct engine *e, u32 units)
{
	const struct code_mem *m = &e->mem;

	return (u64)(m->hot_end - m->hot) >= units * UNIT_MAX_HOT &&
	       (u64)(m->cold_end - m->cold) >= units * UNIT_MAX_COLD &&
	       e->arena.size - e->arena.used >= units * UNIT_MAX_ARENA &&
	       e->cap_units - e->n_units >= units;
}

static u8 *narrow_of(struct engine *e, const struct unit *u)
{
	return &e->narrow[u->lin * 0x9e3779b97f4a7c15ull >> (64 - NARROW_BITS)];
}

void translator_narrow(struct engine *e, struct unit *u)
{
	u8 *n = narrow_of(e, u);

	/* Checks that are only hoisted stay, and cross pages as they like. */
	if (*n == ARRAY_SIZE(group_spans) - 1)
		return;
	++*n;
	cache_kill_unit(e, u);
}

void engine_cpuid_changed(struct cpu *c, u64 missing)
{
	if (c->insn_missing == missing)
		return;
	c->insn_missing = missing;
	memo_forget(c->engine->tr);
	engine_flush_all(c);
}

void translator_took(struct engine *e)
{
	if (unlikely(!translator_room(e, RESERVE / 2) || e->next_token > TOKEN_MAX - 16))
		e->flush_pending = true;
}

static bool ends_unit(u8 cls)
{
	switch (cls) {
	case CL_JMP: case CL_JMP_IND: case CL_CALL: case CL_CALL_IND: case CL_RET:
	case CL_EXEC: case CL_SLOW: case CL_UD: case CL_NM:
		return true;
	default:
		return false;
	}
}

/* May this instruction run in the shadow of an STI of the same unit? No branch, nothing that C
 * may have to execute, and HLT least of all: then C does the STI as well. */
static bool shadow_ok(const struct di *d)
{
	switch (d->cls) {
	case CL_COMPUTE:
		return !d->fpu && d->n_acc < 2;
	case CL_NOP: case CL_LEA: case CL_MOFFS: case CL_PUSH_REG: case CL_PUSH_IMM:
	case CL_POP_REG: case CL_PUSHF:
		return true;
	default:
		return false;
	}
}

/* The last instruction decoded is an STI: is it left to C after all? */
static void sti_to_c(struct translator *t)
{
	if (t->n && t->d[t->n - 1].cls == CL_STI) {
		t->d[t->n - 1].cls = CL_EXEC;
		t->d[t->n - 1].exits = false;
	}
}

bool decode_insn(struct translator *t, struct di *d, struct cpage *cp, u32 off, u32 n, u64 rip)
{
	cache_fetch_lines(t->e, cp->pp, off, n);
	if (!ZYAN_SUCCESS(decode_one(t, d, cp->pp->copy + off, n)))
		return false;
	d->rip = rip;
	return true;
}

/* Do `len` bytes at rip reach over the limit of CS? Their fetch is #GP(0) (APM2 4.12). */
static bool beyond_cs(const struct translator *t, u64 rip, u32 len)
{
	return unlikely(t->u->cs_limit != ~0u) && rip + len - 1 > t->u->cs_limit;
}

/* In the place of an instruction that cannot be had. */
static void no_insn(struct di *d)
{
	*d = (struct di){
		.cls = CL_UD, .group = -1, .fl_read = FL_ARITH, .in.len = 1, .rip = d->rip,
		.off = d->off,
	};
}

/* A unit that find_unit() lets nobody enter. */
static enum cpu_result unit_beyond(struct translator *t)
{
	struct di *d = &t->d[0];

	d->rip = t->u->rip;
	d->off = 0;
	no_insn(d);
	t->u->beyond = true;
	t->n = t->u->len = 1;
	return CPU_OK;
}

/*
 * Decode from the start of the unit until something ends it. CPU_OK: at least one
 * instruction. Otherwise what the fetch of a second page has given.
 */
static enum cpu_result decode_unit(struct translator *t)
{
	struct unit *u = t->u;
	u32 off = (u32)(u->lin & ~PAGE_MASK);
	u32 max = in_range(&t->e->max1, t->u->rip) || t->mode & (MODE_STEP | MODE_BOUNCE)
			  ? 1
			  : UNIT_MAX_INSNS;
	u64 rip = u->rip;

	t->n = 0;
	while (t->n < max && off < PAGE_SIZE) {
		struct di *d = &t->d[t->n];
		u32 left = (u32)PAGE_SIZE - off;
		u32 n = left < 15 ? left : 15;
		const u8 *p = u->cp->pp->copy + off;
		u8 buf[16];

		cache_fetch_lines(t->e, u->cp->pp, off, n);
		ZyanStatus st = decode_one(t, d, p, n);

		if (st == ZYDIS_STATUS_NO_MORE_DATA && n < 15) {
			if (t->n)
				break;
			if (beyond_cs(t, rip, n + 1))
				return unit_beyond(t);
			/* One instruction across the page boundary is a unit of its own. */
			enum cpu_result r =
				itlb_get(t->e, (u->lin & PAGE_MASK) + PAGE_SIZE, &u->cp2);

			if (r != CPU_OK)
				return r;
			cache_fetch_lines(t->e, u->cp2->pp, 0, 15 - n);
			for (u32 i = 0; i < 15; i++)
				buf[i] = i < n ? p[i] : u->cp2->pp->copy[i - n];
			p = buf;
			n = 15;
			max = 1;
			st = decode_one(t, d, p, n);
		}
		d->rip = rip;
		d->off = (u16)(off - (u32)(u->lin & ~PAGE_MASK));
		if (!ZYAN_SUCCESS(st)) {
			if (t->n && d[-1].cls == CL_STI)
				break;
			no_insn(d);
			/* Longer than 15 bytes is #GP, not #UD (APM2 8.2.14). */
			d->too_long = st == ZYDIS_STATUS_INSTRUCTION_TOO_LONG ||
				      (st == ZYDIS_STATUS_NO_MORE_DATA && n == 15);
			t->n++;
			u->len = (u16)(d->off + 1);
			return CPU_OK;
		}
		if (beyond_cs(t, rip, d->in.len)) {
			if (!t->n)
				return unit_beyond(t);
			break;
		}
		if (t->n && d[-1].cls == CL_STI) {
			if (!shadow_ok(d))
				break;
			d->shadowed = d->exits = true;
		}
		t->n++;
		off += d->in.len;
		rip += d->in.len;
		if (!t64(t))
			rip = (u32)rip;
		u->len = (u16)(d->off + d->in.len);
		if (ends_unit(d->cls)) {
			if (d->cls == CL_JMP || d->cls == CL_CALL)
				follow(t);
			break;
		}
		/* Counted as a whole: nothing leaves it half way (count.c). */
		if (unlikely(t->mode & MODE_COUNT) && d->exits && d->cls != CL_STI)
			break;
	}
	sti_to_c(t);
	return CPU_OK;
}

void note_peek(struct unit *u, u32 from, u32 to)
{
	if (u->peek_hi == 0 || from < u->peek_lo)
		u->peek_lo = (u16)from;
	if (to > u->peek_hi)
		u->peek_hi = (u16)to;
}

/*
 * Flags that may be read at a direct target before they are overwritten, from a
 * few instructions of this page. The bytes looked at are noted: when they change,
 * this unit must go too.
 */
static u32 target_live(struct translator *t, u64 rip)
{
	struct unit *u = t->u;
	u64 lin = rip + t->cs_base;
	u32 live = FL_ARITH, need = 0;

	if ((lin ^ u->lin) & PAGE_MASK)
		return FL_ARITH;
	if (lin == u->lin)
		return FL_ARITH;

	u32 off = (u32)(lin & ~PAGE_MASK);

	for (u32 k = 0; k < 4 && live; k++) {
		u32 n = PAGE_SIZE - off < 15 ? (u32)(PAGE_SIZE - off) : 15;

		if (!n)
			break;
		cache_fetch_lines(t->e, u->cp->pp, off, n);

		const struct di *d = decode_peek(t, u->cp->pp->copy + off, n);

		if (!d)
			break;
		if (d->cls != CL_COMPUTE && d->cls != CL_LEA && d->cls != CL_NOP &&
		    d->cls != CL_PUSH_REG && d->cls != CL_POP_REG && d->cls != CL_PUSH_IMM)
			break;
		need |= d->fl_read & live;
		live &= ~d->fl_kill;
		off += d->in.len;
		note_peek(u, off - d->in.len, off);
	}
	return need | live;
}

static u64 next_rip(const struct translator *t, const struct di *d)
{
	u64 v = d->rip + d->in.len;

	return t64(t) ? v : (u32)v;
}

static void liveness(struct translator *t)
{
	struct di *last = &t->d[t->n - 1];
	u32 live;

	if (t->mode & ~MODE_CPU & ~MODE_NOGROUP) {
		live = FL_ARITH;
	} else if (last->cls == CL_JMP || last->cls == CL_CALL) {
		live = last->in.opsize == 2 ? FL_ARITH
					    : target_live(t, next_rip(t, last) + last->in.imm);
	} else if (ends_unit(last->cls)) {
		live = FL_ARITH;
	} else {
		live = target_live(t, next_rip(t, last));
	}
	for (u32 i = t->n; i-- > 0;) {
		struct di *d = &t->d[i];

		if (d->exits)
			live |= d->cls == CL_JCC && d->in.opsize != 2 &&
						!(t->mode & ~MODE_CPU & ~MODE_NOGROUP)
					? target_live(t, next_rip(t, d) + d->in.imm)
					: FL_ARITH;
		d->live_out = live;
		live = (live & ~d->fl_kill) | d->fl_read;
		if (d->cls == CL_EXEC || d->cls == CL_SLOW || d->cls == CL_UD || d->cls == CL_NM ||
		    d->cls == CL_REP || (d->cls >= CL_WRMSR && d->cls <= CL_GET_CR8))
			live = FL_ARITH;
		if (in_range(&t->e->precise_flags, t->u->rip))
			live = FL_ARITH;
		d->live = live;
	}
}

/* -- grouping: one check for accesses off the same base and index -- */

static void reg_written(struct regver *v, u8 g, u16 *next)
{
	if (g < 16) {
		v->ver[g] = (*next)++;
		v->off[g] = 0;
	}
}

/* What a base may be moved by, and stay the same: with UNIT_MAX_INSNS of them, all positions that
 * begin at GROUP_DISP_MAX at most are still displacements of 32 bits. */
#define GROUP_DISP_MAX 0x70000000
_Static_assert(GROUP_DISP_MAX + 2ll * UNIT_MAX_INSNS * 65536 < 0x7fffffff, "make_groups()");
static bool is_small(s64 v) { return v < 65536 && v > -65536; }

/* What dst holds is src's value and a constant more. */
static void copied(struct regver *v, u8 dst, u8 src, s32 more)
{
	v->ver[dst] = v->ver[src];
	v->off[dst] = v->off[src] + more;
}

static bool is_copy(const struct insn *in)
{
	return in->mnemonic == ZYDIS_MNEMONIC_MOV && in->map == 0 && (in->opcode & ~2) == 0x89 &&
	       !in->has_mem;
}

static void track(struct translator *t, const struct di *d, struct regver *v, u16 *next)
{
	const struct insn *in = &d->in;
	u32 word = mode_bytes(t->mode);
	bool full = t64(t) || (t->mode & MODE_SS32);

	switch (d->cls) {
	case CL_PUSH_REG: case CL_PUSH_IMM: case CL_PUSH_MEM: case CL_CALL: case CL_CALL_IND:
	case CL_PUSHF: case CL_CALL_ON:
		if (full)
			v->off[R_RSP] -= in->opsize;
		else
			reg_written(v, R_RSP, next);
		return;
	case CL_POP_REG:
		if (full)
			v->off[R_RSP] += in->opsize;
		else
			reg_written(v, R_RSP, next);
		reg_written(v, d->greg, next);
		return;
	case CL_LEAVE:
		reg_written(v, R_RSP, next);
		reg_written(v, R_RBP, next);
		return;
	case CL_LOOP:
		reg_written(v, R_RCX, next);
		return;
	case CL_LEA:
		if (in->base < 16 && in->index == INSN_NOREG && in->opsize == word &&
		    in->addrsize == word && is_small(in->disp))
			copied(v, in->reg, in->base, (s32)in->disp);
		else
			reg_written(v, in->reg, next);
		return;
	default:
		break;
	}
	if (d->add && in->opsize == word && is_small((s64)in->imm)) {
		v->off[d->greg] += d->add * (s32)in->imm;
		return;
	}
	if (is_copy(in) && in->opsize == word) {
		if (in->opcode & 2)
			copied(v, in->reg, in->rm, 0);
		else
			copied(v, in->rm, in->reg, 0);
		return;
	}
	for (u32 left = d->gpr_written; left; left &= left - 1)
		reg_written(v, (u8)__builtin_ctz(left), next);
}

static bool groupable(const struct translator *t, const struct access *a)
{
	if (access_const(t, a) || a->size == 0 || a->size > 64 || a->bitreg != INSN_NOREG)
		return false;
	if (a->base == INSN_NOREG || a->base == INSN_RIP)
		return false;
	if (a->disp > GROUP_DISP_MAX || a->disp < -GROUP_DISP_MAX)
		return false;
	if (t64(t))
		return a->addrsize == 8 && a->seg != S_FS && a->seg != S_GS;
	return (t->mode & MODE_SIZE) == MODE_SIZE32 && (t->mode & MODE_FLAT) && a->addrsize == 4 &&
	       a->seg != S_FS && a->seg != S_GS && a->seg != S_CS;
}

/* The group that an access at pos can join. */
static int group_for(struct translator *t, const struct access *a, s64 pos, const struct regver *v,
		     s64 span)
{
	bool indexed = a->index != INSN_NOREG;
	u16 iver = indexed ? v->ver[a->index] : 0;
	s32 ioff = indexed ? v->off[a->index] : 0;

	for (u32 k = t->n_groups; k-- > t->open_from;) {
		struct group *g = &t->g[k];
		s64 lo = pos < g->lo ? pos : g->lo;
		s64 hi = pos + a->size > g->hi ? pos + a->size : g->hi;

		if ((g->a.index != INSN_NOREG) != indexed || g->a.scale != a->scale ||
		    g->base_ver != v->ver[a->base] || g->index_ver != iver ||
		    g->index_off != ioff || (a->write && !g->write && g->exit_since) ||
		    hi - lo > span)
			continue;
		g->lo = lo;
		g->hi = hi;
		return (int)k;
	}
	return -1;
}

static int new_group(struct translator *t, const struct access *a, u32 i, s64 pos,
		     const struct regver *v)
{
	t->g[t->n_groups] = (struct group){
		.a = *a, .first = (u8)i, .lo = pos, .hi = pos + a->size, .kept = -1,
		.base_ver = v->ver[a->base],
		.index_ver = a->index == INSN_NOREG ? 0 : v->ver[a->index],
		.index_off = a->index == INSN_NOREG ? 0 : v->off[a->index],
	};
	return (int)t->n_groups++;
}

/* Behind it no pointer is good any more. */
static bool closes_groups(const struct di *d)
{
	return d->shadowed || d->cls == CL_REP || (d->cls >= CL_WRMSR && d->cls <= CL_GET_CR8);
}

/* Where SCR_PTR has a pointer for later. */
static void note_pointers(struct translator *t)
{
	bool need = false;

	for (u32 i = t->n; i-- > 0;) {
		struct di *d = &t->d[i];

		d->keep_ptr = need;
		if (d->group >= 0)
			need = !d->reload;
		for (u32 k = 0; k < t->n_groups; k++)
			if (t->g[k].at == i)
				need = false;
	}
}

static void make_groups(struct translator *t)
{
	struct regver v;
	u16 next = 16;
	s64 span = group_spans[*narrow_of(t->e, t->u)];
	int in_ptr = -1;	/* the group whose pointer SCR_PTR still has */
	s8 kept = 0;

	t->n_groups = t->open_from = 0;
	for (u32 k = 0; k < 16; k++) {
		v.ver[k] = (u16)k;
		v.off[k] = 0;
	}
	for (u32 i = 0; i < t->n; i++) {
		struct di *d = &t->d[i];

		t->ver[i] = v;
		d->group = -1;
		d->reload = false;
		if (d->n_acc && groupable(t, &d->acc[0])) {
			struct access *a = &d->acc[0];
			s64 pos = a->disp + v.off[a->base];
			int k = group_for(t, a, pos, &v, span);
			struct group *g;

			if (k < 0) {
				k = new_group(t, a, i, pos, &v);
				g = &t->g[k];
			} else {
				g = &t->g[k];
				d->reload = in_ptr != k;
				if (d->reload && g->kept < 0)
					g->kept = kept++;
			}
			in_ptr = k;
			g->write |= a->write;
			g->last = (u8)i;
			g->count++;
			d->group = (s8)k;
			d->group_off = (s32)pos; /* made relative below */
		} else if (d->n_acc) {
			in_ptr = -1;
		}
		if (d->needs_rcx || d->n_acc > 1 || d->cls == CL_LEAVE)
			in_ptr = -1;
		if (closes_groups(d)) {
			in_ptr = -1;
			t->open_from = t->n_groups;
		}
		if (d->exits)
			for (u32 k = t->open_from; k < t->n_groups; k++)
				t->g[k].exit_since = true;
		track(t, d, &v, &next);
	}

	for (u32 k = 0; k < t->n_groups; k++) {
		struct group *g = &t->g[k];
		u32 at = g->first;
		u8 base = g->a.base, index = g->a.index;

		/* The stack's page is at hand (window.c). */
		if (t64(t) && index == INSN_NOREG && t->ver[at].ver[R_RSP] == g->base_ver)
			g->a.base = base = R_RSP;
		g->save_flags = t->d[at].live != 0;
		for (u32 j = at; g->save_flags && j-- > 0;) {
			const struct di *d = &t->d[j];

			if (d->n_acc || d->needs_rcx || d->exits ||
			    t->ver[j].ver[base] != t->ver[at].ver[base])
				break;
			if (index != INSN_NOREG && (t->ver[j].ver[index] != t->ver[at].ver[index] ||
						    t->ver[j].off[index] != t->ver[at].off[index]))
				break;
			if (d->live == 0) {
				g->save_flags = false;
				at = j;
			}
		}
		g->at = (u8)at;
		g->a.disp = g->lo - t->ver[at].off[base];
		g->len = (u32)(g->hi - g->lo);
		for (u32 i = g->first; i <= g->last; i++)
			if (t->d[i].group == (s8)k)
				t->d[i].group_off -= (s32)g->lo;
	}
	note_pointers(t);
}

static void mark_checks(struct translator *t)
{
	for (u32 i = 0; i < t->n; i++)
		t->check_at[i] = t->tlb_at[i] = false;
	for (u32 k = 0; k < t->n_groups; k++) {
		t->check_at[t->g[k].at] = true;
		t->tlb_at[t->g[k].at] |= !window_serves(t, &t->g[k].a);
	}
}

static void emit_group_checks(struct translator *t, u32 i)
{
	if (!t->check_at[i])
		return;
	for (u32 k = 0; k < t->n_groups; k++) {
		struct group *g = &t->g[k];

		if (g->at != i)
			continue;
		g->add = emit_check(t, &g->a, g->len, g->write, t->d[i].rip, &t->d[g->first],
				    g->count > 1 || g->at != g->first, g->save_flags);
		if (g->kept >= 0)
			st_abs(t, SCR_PTR, &t->e->group_ptr[g->kept]);
	}
}

static void emit_insn(struct translator *t, u32 i)
{
	struct di *d = &t->d[i];
	int ptr = -1;
	s32 off = 0;
	bool keep = d->keep_ptr;

	switch (d->cls) {
	case CL_NOP:	/* those of insn_is_flush() are checked */
		if (d->n_acc)
			emit_access(t, d, 0, &ptr, &off);
		break;
	case CL_COMPUTE:
		if (d->n_acc)
			emit_access(t, d, 0, &ptr, &off);
		emit_compute(t, d, ptr, off, keep);
		break;
	case CL_LEA:
		emit_lea(t, d, keep);
		break;
	case CL_MOFFS: {
		emit_access(t, d, 0, &ptr, &off);
		bool store = d->in.opcode & 2;

		if (!(d->in.opcode & 1))
			op_mem(t, false, store ? OP_STORE8 : OP_LOAD8, H_RAX, ptr, off);
		else if (store)
			st_size(t, d->in.opsize, H_RAX, ptr, off);
		else if (d->in.opsize == 2)
			ld16_mem(t, H_RAX, ptr, off);
		else
			ld_size(t, d->in.opsize, H_RAX, ptr, off);
		break;
	}
	case CL_PUSH_REG: case CL_PUSH_IMM: case CL_PUSH_MEM: case CL_POP_REG: case CL_LEAVE:
	case CL_PUSHF:
		emit_stack(t, d, i);
		break;
	case CL_SWAPGS:
		emit_swapgs(t);
		break;
	case CL_GET_SREG:
		emit_get_sreg(t, &d->in);
		break;
	case CL_CLI:
		emit_cli(t);
		break;
	case CL_STI:
		emit_sti(t);
		break;
	case CL_REP:
		emit_rep(t, d);
		break;
	case CL_WRMSR: case CL_RDMSR: case CL_SET_CR8: case CL_GET_CR8:
		emit_apic(t, d);
		break;
	case CL_EXEC:
		emit_exec(t, d);
		break;
	case CL_SLOW:
		emit_exit(t, REC_SLOW, d->rip, keep_insn(t, d));
		break;
	case CL_UD:
		emit_exit(t, d->too_long ? REC_TOO_LONG : REC_UD, d->rip, NULL);
		break;
	case CL_NM:
		emit_exit(t, REC_NM, d->rip, keep_insn(t, d));
		break;
	default:
		emit_branch(t, d, i);
		break;
	}
}

static bool spares_flags(const struct di *d)
{
	return d->spares && !d->shadowed;
}

/* One for which flags would be put aside. */
static bool has_check(const struct translator *t, u32 i)
{
	return t->tlb_at[i] || (t->d[i].n_acc && t->d[i].group < 0);
}

/* May flags that instruction i puts aside stay there for the next check? */
static bool aside_pays(const struct translator *t, u32 i, int fpu_at)
{
	if (!t64(t) || t->mode & ~MODE_CPU)
		return false;
	while (spares_flags(&t->d[i]) && (int)i != fpu_at && ++i < t->n)
		if (has_check(t, i))
			return spares_flags(&t->d[i]) && (int)i != fpu_at;
	return false;
}

static void emit_unit(struct translator *t)
{
	struct unit *u = t->u;
	struct unit_insn *at = t->at;
	int fpu_at = -1;
	bool fpu_save = false;

	for (u32 i = 0; i < t->n; i++) {
		if (!t->d[i].fpu || t->d[i].cls == CL_NM || t->d[i].cls == CL_SLOW)
			continue;
		/* Loading leaves translated code, which loses SCR_PTR: do it outside
		 * groups, and where no flags are live if there is such a place. */
		fpu_at = 0;
		fpu_save = t->d[0].live != 0;
		for (u32 j = i + 1; j-- > 0;) {
			if (j && t->d[j - 1].keep_ptr)
				continue;
			if (t->d[j].live && !(fpu_save && fpu_at == 0))
				continue;
			fpu_at = (int)j;
			fpu_save = t->d[j].live != 0;
			if (!fpu_save)
				break;
		}
		break;
	}
	t->spoilt = 0;
	emit_entry(t);
	t->hold = t->d[0].live ? HOLD_FLAGS : 0;
	emit_count(t);
	t->tmp_at = NULL;
	t->aside = false;
	for (u32 i = 0; i < t->n; i++) {
		at[i].host = (u16)(code_off(t, t->p) - u->code) & 0x7fff;
		at[i].guest = (s32)(t->d[i].rip - u->rip);
		t->n_spilled = 0;
		if (!spares_flags(&t->d[i]) || fpu_at == (int)i) {
			if (t->d[i].live)
				emit_flags_back(t);
			t->aside = false;
		}
		t->may_aside = aside_pays(t, i, fpu_at);
		t->aside_used = t->aside;
		t->hold = t->d[i].live && !t->aside ? HOLD_FLAGS : 0;
		hold_ptr(t, i && t->d[i - 1].keep_ptr);
		if (fpu_at == (int)i)
			emit_fpu_check(t, t->d[i].rip, fpu_save);
		t->apic_rec = NULL;
		if (t->check_at[i]) {
			hold_ptr(t, false);
			emit_group_checks(t, i);
			hold_ptr(t, t->d[i].keep_ptr || (t->d[i].group >= 0 && !t->d[i].reload));
		}
		emit_insn(t, i);
		if (t->d[i].shadowed)
			emit_shadow_end(t, next_rip(t, &t->d[i]));
		if (t->apic_rec) {
			t->apic_rec->behind = code_off(t, t->p);
			t->tmp_at = NULL;	/* another way leads here */
		}
		at[i].aside = t->aside_used;
		for (u32 k = 0; k < 2; k++)
			at[i].spilled[k] = k < t->n_spilled ? t->spill_reg[k] : 0xff;
	}

	struct di *last = &t->d[t->n - 1];

	emit_flags_back(t);
	if (unlikely(t->spoilt))
		log_warn("translator: a unit at %lx writes over %s that it still needs", u->rip,
			 t->spoilt & HOLD_FLAGS ? "flags" : "a pointer");
	if (t->mode & MODE_BOUNCE)
		emit_exit(t, REC_BOUNCED, next_rip(t, last), NULL);
	else if ((t->mode & MODE_STEP) && !ends_unit(last->cls))
		emit_exit(t, REC_STEPPED, next_rip(t, last), NULL);
	else if (!ends_unit(last->cls))
		emit_link(t, last->rip, next_rip(t, last));
}

/* What is to be known of places in its code goes with the unit. */
static bool keep_places(struct translator *t)
{
	struct unit *u = t->u;

	if (u->fixed)
		t->n_fixups = 0;
	u->n_fixups = t->n_fixups;
	u->insns = arena_alloc(t->e, t->n * sizeof(*u->insns) + t->n_fixups * sizeof(struct fixup));
	if (!u->insns)
		return false;
	__builtin_memcpy(u->insns, t->at, t->n * sizeof(*u->insns));
	__builtin_memcpy(unit_fixups(u), t->fixups, t->n_fixups * sizeof(struct fixup));
	return true;
}

struct unit *translate(struct engine *e, struct cpage *cp, u64 rip, u32 mode, enum unit_way way,
		       enum cpu_result *res)
{
	struct translator *t = e->tr;
	struct code_mem *m = &e->mem;

	*res = CPU_OK;
	/* Zydis uses vector registers. */
	engine_fpu_save(e->c);
	if (!translator_room(e, mode & MODE_BOUNCE ? 1 : RESERVE))
		return NULL;
	if (m->hot + PAGE_SIZE > m->hot_there)
		codemem_populate(m, m->hot, m->hot_start, m->hot_end, &m->hot_there);
	if (m->cold + PAGE_SIZE > m->cold_there)
		codemem_populate(m, m->cold, m->cold_start, m->cold_end, &m->cold_there);
	struct unit *u = arena_alloc_line(e, sizeof(*u));

	if (!u)
		return NULL;
	t->u = u;
	t->mode = mode;
	t->cs_base = e->cs_base;
	t->way = way;
	t->n_cold = t->n_groups = 0;
	t->oom = t->grouped = false;
	t->n_fixups = 0;
	t->may_move = move_worth(mode, rip);
	u->rip = rip;
	u->lin = t64(t) ? rip : (u32)(rip + e->cs_base);
	u->cs_base = e->cs_base;
	u->cs_limit = e->cs_limit;
	u->mode = mode;
	u->cp = cp;
	u->fixed = !t->may_move;

	*res = decode_unit(t);
	if (*res != CPU_OK)
		return NULL;
	u->n_insns = (u8)t->n;
	e->counts.insns += t->n;
	liveness(t);
	if (!(mode & (MODE_ALIGN | MODE_NOGROUP | MODE_BOUNCE | MODE_STEP)) &&
	    !in_range(&e->no_group, u->rip))
		make_groups(t), t->grouped = true;
	else
		for (u32 i = 0; i < t->n; i++) {
			t->d[i].group = -1;
			t->d[i].reload = t->d[i].keep_ptr = false;
		}

	mark_checks(t);
	t->p = codemem_rw(m, m->hot);
	emit_unit(t);
	u->code_end = code_off(t, t->p);
	emit_cold(t);
	if (t->oom || !keep_places(t))
		return NULL;
	m->hot = codemem_at(m, ALIGN_UP(u->code_end, 16));
	cache_insert(e, u);
	translator_took(e);
	if (unlikely(e->dump_fd >= 0 || e->perf_fd >= 0))
		show_unit(t, u);
	return u;
}
