/* SPDX-License-Identifier: MIT */
/*
 * engine/lower_branch.c - entries, exits, control flow and stack instructions.
 *
 * A unit has up to four entries that fall through into each other: e_ind
 * proves that RIP is the unit's (indirect jumps come here), e_cross that its
 * page is still mapped there, e_poll that nobody wants the CPU's attention,
 * e_body does the work. Every cycle passes an e_poll or an indirect jump.
 * What the first who comes does not need is left out, for the sake of the host's caches, and
 * made apart from the unit if it is ever wanted.
 */
#include "engine/emit.h"
#include "engine/insns.h"

static struct record *record_of_size(struct translator *t, u8 kind, u64 rip, size_t size)
{
	struct record *r = arena_alloc(t->e, size);

	if (!r) {
		t->oom = true;
		return NULL;
	}
	r->kind = kind;
	r->rel = (s64)(rip - t->u->rip);
	r->unit = t->u;
	return r;
}

struct record *new_record(struct translator *t, u8 kind, u64 rip)
{
	return record_of_size(t, kind, rip, sizeof(struct record));
}

struct rec_tlb *new_tlb_record(struct translator *t, u64 rip)
{
	return (struct rec_tlb *)record_of_size(t, REC_TLB, rip, sizeof(struct rec_tlb));
}

struct insn *keep_insn(struct translator *t, const struct di *d)
{
	struct insn *in = arena_alloc(t->e, sizeof(*in));

	if (!in) {
		t->oom = true;
		return NULL;
	}
	*in = d->in;
	return in;
}

void add_cold(struct translator *t, u8 *site, struct record *rec, enum flags_at flags)
{
	if (t->n_cold == MAX_COLD) {
		t->oom = true;
		return;
	}
	t->cold[t->n_cold++] = (struct cold_stub){
		.site = site, .rec = rec, .flags = flags,
	};
}

static void emit_leave(struct translator *t, const struct record *r)
{
	mov_ri(t, H_RCX, (u64)(uintptr_t)r);
	jmp_rx(t, t->e->stub_exit);
}

void emit_exit(struct translator *t, u8 kind, u64 rip, struct insn *in)
{
	struct record *r = new_record(t, kind, rip);

	if (!r)
		return;
	r->insn = in;
	emit_leave(t, r);
}

void emit_cold(struct translator *t)
{
	u8 *hot = t->p;

	t->p = codemem_rw(&t->e->mem, t->e->mem.cold);
	t->e->near.tlb_again = t->e->c->tlb2 ? t->e->c->ops->tlb_again : NULL;
	for (u32 i = 0; i < t->n_cold; i++) {
		struct cold_stub *s = &t->cold[i];

		t->hold = 0;
		set_rel32(s->site, t->p);
		if (s->lost) {
			emit_return_lost(t, s);
			continue;
		}
		if (s->window)
			emit_window_miss(t, s);
		if (s->again && t->e->near.tlb_again && mode_idx(t->mode) < MMU_L2)
			emit_again(t, s);
		if (s->flags == FLAGS_ASIDE)
			emit_flags_unaside(t);
		else if (s->flags == FLAGS_SAVED)
			emit_flags_restore(t);
		if (s->doubt) {
			mov_ri(t, H_RCX, (u64)(uintptr_t)s->rec->unit);
			mov_ri(t, H_RSI, (u64)(uintptr_t)s->rec);
			call_rx(t, t->e->stub_confirm);
			jmp_rx(t, rx_of(t, s->site + 4));
			continue;
		}
		if (s->rec->kind == REC_LINK)
			link_of(s->rec)->stub = code_off(t, t->p);
		emit_leave(t, s->rec);
	}
	t->e->mem.cold = rx_of(t, t->p);
	t->p = hot;
}

/* C is called, and goes on without having been returned to where that is all there is. */
void emit_exec(struct translator *t, const struct di *d)
{
	struct record *r = new_record(t, REC_EXEC, d->rip);

	if (!r)
		return;
	r->insn = keep_insn(t, d);
	mov_ri(t, H_RCX, (u64)(uintptr_t)r);
	jmp_rx(t, t->mode & (MODE_STEP | MODE_BOUNCE | MODE_COUNT) ||
				  insn_rows[d->in.mnemonic].rules & R_LEAVES
			  ? t->e->stub_exit
			  : t->e->stub_exec);
}

static u64 *token_of(struct translator *t, const struct cpage *cp)
{
	return &t->e->itlb_token[itlb_class(mode_idx(t->mode))][itlb_index(cp->lin)];
}

/* jrcxz over a jump to a cold stub: the only conditional that spares the flags. */
void need_rcx_zero(struct translator *t, struct record *r)
{
	u8 *over = jrcxz(t);

	add_cold(t, jmp32(t), r, FLAGS_HOST);
	jump_here(t, over);
}

/* Leave unless the page of cp is still mapped as it was. No flags are touched: what is mapped
 * there instead may want them. */
static void check_token(struct translator *t, const struct cpage *cp, struct record *r)
{
	ldzx16_abs(t, H_RCX, (u8 *)token_of(t, cp) + 6);
	lea(t, false, H_RCX, H_RCX, -1, 1, -(s32)(cp->token >> TOKEN_SHIFT));
	need_rcx_zero(t, r);
}

/* No flags are touched. */
static void rcx_minus_rsi(struct translator *t)
{
	not_r(t, H_RSI);
	lea(t, true, H_RCX, H_RCX, H_RSI, 1, 1);
}

/* Through here with RIP in rcx. Where rcx is zero then, RIP and token are the unit's: *over is to
 * be pointed there. NULL: only RIP has been looked at. Who is sent away has RIP in rcx again. */
static void emit_ind(struct translator *t, struct unit *u, u8 **over)
{
	t->hold = HOLD_FLAGS;	/* whoever is meant instead may want them */
	u->e_ind = code_off(t, t->p);
	*over = NULL;
	if (t->mode & MODE_LA57) {
		/* The trick below wants addresses of 48 bits: one after the other. */
		mov_ri(t, H_RSI, -u->rip);
		lea(t, true, H_RCX, H_RCX, H_RSI, 1, 0);
		u8 *is_rip = jrcxz(t);

		rcx_minus_rsi(t);
		jmp_rx(t, t->e->stub_ind_miss);
		jump_here(t, is_rip);
		return;
	}
	/* RIP and token must both be ours. Addresses differ by less than 2^48, tokens by multiples
	 * of it, so the sum of the differences is zero only if both are. */
	mov_ri(t, H_RSI, -(u->rip + u->cp->token));
	lea(t, true, H_RCX, H_RCX, H_RSI, 1, 0);
	ld_abs(t, H_RSI, token_of(t, u->cp));
	lea(t, true, H_RCX, H_RCX, H_RSI, 1, 0);
	*over = jrcxz(t);
	rcx_minus_rsi(t);
	mov_ri(t, H_RSI, u->rip + u->cp->token);
	lea(t, true, H_RCX, H_RCX, H_RSI, 1, 0);
	jmp_rx(t, t->e->stub_ind_miss);
}

static void emit_cross(struct translator *t, struct unit *u)
{
	struct record *r = new_record(t, REC_ENTRY, u->rip);

	if (!r)
		return;
	t->hold = HOLD_FLAGS;
	u->e_cross = code_off(t, t->p);
	check_token(t, u->cp, r);
	if (u->cp2)
		check_token(t, u->cp2, r);
	else if (t64(t) && t->n_cold)
		t->cold[t->n_cold - 1].doubt = true;
}

/* Where the two sequences above have what unit_entries_move() changes. */
enum { IND_RIP_AT = 2, IND_TOKEN_AT = 18, IND_BACK_AT = 38, CROSS_TOKEN_AT = 4 };

void unit_entries_move(struct engine *e, struct unit *u, u64 delta)
{
	u32 token = lo32(&e->itlb_token[itlb_class(mode_idx(u->mode))][itlb_index(u->lin)]);

	if (u->mode & ~MODE_CPU)
		return;
	if (u->e_ind) {
		u8 *p = e->mem.rw + u->e_ind;
		u64 v;

		__builtin_memcpy(&v, p + IND_RIP_AT, 8);
		v -= delta;
		__builtin_memcpy(p + IND_RIP_AT, &v, 8);
		if (!(u->mode & MODE_LA57)) {
			__builtin_memcpy(p + IND_TOKEN_AT, &token, 4);
			v = -v;
			__builtin_memcpy(p + IND_BACK_AT, &v, 8);
		}
	}
	if (u->e_cross) {
		token += 6;
		__builtin_memcpy(e->mem.rw + u->e_cross + CROSS_TOKEN_AT, &token, 4);
	}
}

static bool can_ind(const struct unit *u)
{
	return !(u->mode & (~MODE_CPU | MODE_CSBASE)) && !u->cp2;
}

/* A kick, or no room for another return address (returns.c). Without flags that takes so much more
 * that only those look for the latter through whom a call may come. */
static void emit_poll(struct translator *t, struct record *r, bool live)
{
	t->hold = live ? HOLD_FLAGS : 0;
	if (live) {
		ld_abs32(t, H_RCX, (void *)&t->e->c->poll);
		need_rcx_zero(t, r);
		return;
	}
	op_abs(t, true, OP_CMP_TO, H_RSP, (void *)&t->e->c->poll_sp);
	add_cold(t, jcc32(t, CC_A), r, FLAGS_HOST);
}

/* Behind the entries that calls come by. */
static void emit_stack_check(struct translator *t, const struct unit *u)
{
	struct record *r;

	if (!u->live || !(r = new_record(t, REC_POLL, u->rip)))
		return;
	ld_abs(t, H_RCX, (void *)&t->e->c->poll_sp);
	not_r(t, H_RCX);
	lea(t, true, H_RCX, H_RSP, H_RCX, 1, 1);
	pext_abs(t, H_RCX, H_RCX, &t->e->ret_bits);
	need_rcx_zero(t, r);
}

void emit_entry(struct translator *t)
{
	struct unit *u = t->u;
	bool live = t->d[0].live != 0;
	u8 *over = NULL;

	u->code = code_off(t, t->p);
	if (t->mode & ~MODE_CPU) { /* only entered from C, which has checked */
		u->e_cross = u->e_poll = u->e_body = u->code;
		return;
	}
	struct record *rp = new_record(t, REC_POLL, u->rip);

	if (!rp)
		return;
	if (t->way == WAY_IND && can_ind(u))
		emit_ind(t, u, &over);
	if (t->way == WAY_CROSS || u->cp2 || (u->e_ind && !over))
		emit_cross(t, u);
	if (over)
		jump_here(t, over);
	u->live = live;
	if (u->e_ind || u->e_cross)
		emit_stack_check(t, u);
	u->e_poll = code_off(t, t->p);
	emit_poll(t, rp, live);
	u->e_body = code_off(t, t->p);
	if (u->cp2) /* the second page may move while the first does not */
		u->e_poll = u->e_body = u->e_cross;
}

#define ENTRY_MAX 256u	/* bytes of entries made later, with the ways out */

/* Begin to write entries of u. False: no room, or it is none to have any. */
static bool entries_begin(struct engine *e, struct unit *u)
{
	struct translator *t = e->tr;

	if (u->mode & ~MODE_CPU || (u64)(e->mem.cold_end - e->mem.cold) < ENTRY_MAX)
		return false;
	t->u = u;
	t->mode = u->mode;
	t->cs_base = u->cs_base;
	t->n_cold = 0;
	t->oom = false;
	t->p = codemem_rw(&e->mem, e->mem.cold);
	return true;
}

static void entries_end(struct engine *e, struct unit *u)
{
	struct translator *t = e->tr;

	emit_stack_check(t, u);
	jmp_rx(t, codemem_at(&e->mem, u->e_poll));
	e->mem.cold = rx_of(t, t->p);
	emit_cold(t);
	translator_took(e);
}

void unit_want_cross(struct engine *e, struct unit *u)
{
	if (u->e_cross || !entries_begin(e, u))
		return;
	emit_cross(e->tr, u);
	if (e->tr->oom)
		u->e_cross = 0;
	else
		entries_end(e, u);
}

void unit_want_ind(struct engine *e, struct unit *u)
{
	struct translator *t = e->tr;
	u8 *over;

	if (u->e_ind || !can_ind(u) || !entries_begin(e, u))
		return;
	emit_ind(t, u, &over);
	if (over)
		jump_here(t, over);
	else
		emit_cross(t, u);
	if (t->oom)
		u->e_ind = u->e_cross = 0;
	else
		entries_end(e, u);
}

static void link_at(struct translator *t, u8 *site, u64 from, u64 target, bool poll)
{
	struct unit *u = t->u;
	u64 lin = target + t->cs_base;

	if (!t64(t))
		lin = (u32)lin;
	if (target == u->rip && !(t->mode & ~MODE_CPU) && u->e_poll && !(poll && u->live)) {
		set_rel32(site, t->e->mem.rw + u->e_poll);
		return;
	}
	struct rec_link *r = (struct rec_link *)record_of_size(t, REC_LINK, target, sizeof(*r));

	if (!r)
		return;
	r->patch = code_off(t, site);
	r->r.cross = ((lin ^ u->lin) & PAGE_MASK) != 0;
	r->r.backward = poll || target <= from;
	r->r.len = poll;
	r->next = u->links;
	u->links = r;
	add_cold(t, site, &r->r, FLAGS_HOST);
}

void emit_link(struct translator *t, u64 from, u64 target)
{
	link_at(t, jmp32(t), from, target, false);
}

/* Every call polls: that bounds how deep the host's stack gets, and how long forward calls go
 * on. */
void emit_call_link(struct translator *t, u64 from, u64 target)
{
	link_at(t, call32(t), from, target, true);
}

void emit_jcc_link(struct translator *t, u8 cc, u64 from, u64 target)
{
	link_at(t, jcc32(t, cc), from, target, false);
}

/* RIP stays in rcx as long as nobody leaves: what is stored is which branch it is. */
void emit_branch_at(struct translator *t)
{
	u32 here = code_off(t, t->p);

	st_imm(t, 4, here, -1, (s32)lo32(&t->e->branch_at));
}

/* Jump to the guest RIP in SCR_PTR. Flags may be live at the target. */
void emit_ind_jump(struct translator *t, u32 opsize, bool call)
{
	struct engine *e = t->e;

	if (opsize == 2)
		movzx16(t, SCR_PTR, SCR_PTR);
	if ((t->mode & MODE_CSBASE) || (t->mode & MODE_STEP)) {
		st_abs(t, SCR_PTR, &e->c->rip);
		jmp_rx(t, e->stub_ind_leave);
		return;
	}
	emit_branch_at(t);
	/* pext esi, ecx, [jc_mask]: the only hash that spares the flags */
	pext32_abs(t, H_RSI, H_RCX, &e->jc_mask[jc_bank(t->mode)]);
	jmp_table(t, H_RSI, e->jc[jc_bank(t->mode)].slots, call);
}

static void store_val(struct translator *t, int src, u32 size, int ptr, s32 off)
{
	st_size(t, size, (u32)src, ptr, off);
}

static void load_val(struct translator *t, int dst, u32 size, int ptr, s32 off)
{
	ld_size(t, size, (u32)dst, ptr, off);
}

static void store_imm(struct translator *t, u64 v, u32 size, int ptr, s32 off)
{
	if (size == 8 && !is_simm32(v)) {
		mov_ri(t, SCR_TMP, v);
		store_val(t, SCR_TMP, 8, ptr, off);
		return;
	}
	st_imm(t, size, (u32)v, ptr, off);
}

/* RSP += delta in the stack's width; no flags. */
static void adjust_sp(struct translator *t, s32 delta)
{
	if (t64(t)) {
		lea(t, true, H_R13, H_R13, -1, 1, delta);
	} else if (t->mode & MODE_SS32) {
		lea(t, false, H_R13, H_R13, -1, 1, delta);
	} else {
		lea(t, false, SCR_TMP, H_R13, -1, 1, delta);
		mov_rr16(t, H_R13, SCR_TMP);
	}
}

void emit_stack(struct translator *t, struct di *d, u32 i)
{
	const struct insn *in = &d->in;
	u32 n = in->opsize;
	int ptr;
	s32 off;

	emit_access(t, d, 0, &ptr, &off);
	switch (d->cls) {
	case CL_PUSH_REG:
		store_val(t, load_greg(t, d->greg, SCR_TMP), n, ptr, off);
		adjust_sp(t, -(s32)n);
		break;
	case CL_PUSH_IMM:
		store_imm(t, in->imm, n, ptr, off);
		adjust_sp(t, -(s32)n);
		break;
	case CL_PUSHF:
		emit_pushf_value(t);
		store_val(t, SCR_TMP, n, ptr, off);
		adjust_sp(t, -(s32)n);
		break;
	case CL_PUSH_MEM:
		load_val(t, SCR_TMP, n, ptr, off);
		st_abs(t, SCR_TMP, &t->e->tmp);
		emit_access(t, d, 1, &ptr, &off);
		ld_abs(t, SCR_TMP, &t->e->tmp);
		store_val(t, SCR_TMP, n, ptr, off);
		adjust_sp(t, -(s32)n);
		break;
	case CL_POP_REG: {
		/* 16 bits would leave the rest of the register. */
		bool whole = n >= 4 && (t64(t) || t->mode & MODE_SS32);

		if (whole && d->greg != R_RSP && hreg(d->greg) >= 0) {
			load_val(t, hreg(d->greg), n, ptr, off);
			adjust_sp(t, (s32)n);
			break;
		}
		/* SCR_PTR may still be wanted by the group; a 16-bit stack has none. */
		int v = t64(t) || (t->mode & MODE_SS32) ? SCR_TMP : SCR_PTR;

		load_val(t, v, n, ptr, off);
		adjust_sp(t, (s32)n);
		store_greg(t, d->greg, v, n);
		break;
	}
	case CL_LEAVE:
		load_val(t, SCR_PTR, n, ptr, off);
		lea(t, t64(t), H_R13, H_RBP, -1, 1, (s32)n);
		store_greg(t, R_RBP, SCR_PTR, n);
		break;
	default:
		break;
	}
}

/* Target of a direct near branch, truncated as the operand size says (APM3 1.2.2). */
static u64 branch_target(const struct translator *t, const struct di *d)
{
	u64 v = d->rip + d->in.len + d->in.imm;

	if (d->in.opsize == 2)
		return (u16)v;
	if (!t64(t))
		return (u32)v;
	return v;
}

static void emit_call_push(struct translator *t, struct di *d, u32 n_acc)
{
	u64 ret = d->rip + d->in.len;
	int ptr;
	s32 off;

	emit_access(t, d, n_acc, &ptr, &off);
	/* Where the target is not canonical nothing must have been pushed. */
	if (d->in.opsize == 8 &&
	    (d->cls == CL_CALL_IND ||
	     (d->cls == CL_CALL && !engine_canonical(t->e->c, branch_target(t, d))))) {
		load_val(t, SCR_TMP, 8, ptr, off);
		st_abs(t, SCR_TMP, &t->e->pushed_over);
	}
	if (t->may_move && d->in.opsize == 8) {
		mov_rip(t, SCR_TMP, ret);
		store_val(t, SCR_TMP, 8, ptr, off);
	} else {
		store_imm(t,
			  t64(t)	      ? ret
			  : d->in.opsize == 2 ? (u16)ret
					      : (u32)ret,
			  d->in.opsize, ptr, off);
	}
	adjust_sp(t, -(s32)d->in.opsize);
}

static void emit_loop(struct translator *t, struct di *d)
{
	const struct insn *in = &d->in;
	u64 target = branch_target(t, d);
	u32 rcx = engine_hreg[R_RCX];
	u8 *skip, *skip2 = NULL;

	if (d->cls == CL_LOOP) {
		if (in->addrsize == 8) {
			lea(t, true, rcx, (int)rcx, -1, 1, -1);
		} else if (in->addrsize == 4) {
			lea(t, false, rcx, (int)rcx, -1, 1, -1);
		} else {
			lea(t, false, SCR_TMP, (int)rcx, -1, 1, -1);
			mov_rr16(t, rcx, SCR_TMP);
		}
	}
	if (in->addrsize == 8)
		mov_rr(t, H_RCX, rcx);
	else if (in->addrsize == 4)
		mov_rr32(t, H_RCX, rcx);
	else
		movzx16(t, H_RCX, rcx);
	skip = jrcxz(t);
	if (d->cls == CL_JCXZ) {
		skip2 = jmp8(t);
		jump_here(t, skip);
		emit_link(t, d->rip, target);
		jump_here(t, skip2);
		return;
	}
	if (in->mnemonic == ZYDIS_MNEMONIC_LOOPE || in->mnemonic == ZYDIS_MNEMONIC_LOOPNE) {
		skip2 = jcc8(t, in->mnemonic == ZYDIS_MNEMONIC_LOOPE ? CC_NE : CC_E);
	}
	emit_link(t, d->rip, target);
	jump_here(t, skip);
	if (skip2)
		jump_here(t, skip2);
}

/* The unit goes on in another page, if that is still the one that was decoded. */
static void enter_page(struct translator *t, const struct di *d)
{
	struct record *r;

	if (!d->to)
		return;
	r = new_record(t, REC_ENTRY, branch_target(t, d));
	if (!r)
		return;
	/* What is mapped there instead may want the flags. */
	if (!t->aside && !d->keep_ptr) {
		check_token(t, d->to, r);
		return;
	}
	/* The stack's group still needs SCR_PTR. */
	emit_flags_aside(t);
	cmp_abs_i(t, false, (u8 *)token_of(t, d->to) + 4, (u32)(d->to->token >> 32));
	add_cold(t, jcc32(t, CC_NE), r, FLAGS_ASIDE);
}

/*
 * The unit's last instruction jumps to RIP in SCR_PTR. It may have followed calls (follow.c): RET
 * takes what one of them has pushed, as in a retpoline, or a thunk that was called jumps on to what
 * is meant and will return behind the call.
 */
static void emit_last_jump(struct translator *t, u32 i)
{
	const struct di *d = &t->d[i], *open = NULL;
	s32 sp = t->ver[i].off[R_RSP];
	bool popped = false, pair = returns_pair(t, d);
	u32 n_open = 0;

	for (u32 k = 0; k < i && pair; k++) {
		if (t->d[k].cls != CL_CALL_ON)
			continue;
		s32 at = t->ver[k].off[R_RSP] - 8;

		pair = t->grouped && t->ver[k].ver[R_RSP] == t->ver[i].ver[R_RSP];
		if (d->cls == CL_RET && at == sp)
			popped = true;
		else if (at >= sp)
			n_open++, open = &t->d[k];
	}
	if (d->cls == CL_CALL_IND)
		n_open++, open = d;
	if (!pair || n_open > 1) {
		emit_ind_jump(t, d->in.opsize, false);
	} else if (n_open) {
		emit_ind_jump(t, d->in.opsize, true);
		emit_return_site(t, open->rip, open->rip + open->in.len);
	} else if (d->cls == CL_RET && !popped) {
		emit_return(t);
	} else {
		emit_ind_jump(t, d->in.opsize, false);
	}
}

/* RIP to SCR_PTR, and what a CALL pushes. */
static void emit_ind_target(struct translator *t, struct di *d)
{
	const struct insn *in = &d->in;
	bool call = d->cls == CL_CALL_IND;
	int ptr;
	s32 off;

	if (in->has_mem) {
		emit_access(t, d, 0, &ptr, &off);
		load_val(t, call ? SCR_TMP : SCR_PTR, in->opsize, ptr, off);
		if (!call)
			return;
		/* SCR_PTR may hold the stack group's pointer. */
		st_abs(t, SCR_TMP, &t->e->tmp);
		emit_call_push(t, d, 1);
		ld_abs(t, SCR_PTR, &t->e->tmp);
		return;
	}
	if (call && in->rm == R_RSP) {	/* as it was before */
		st_abs(t, H_R13, &t->e->tmp);
		emit_call_push(t, d, 0);
		ld_size(t, in->opsize == 8 ? 8 : 4, SCR_PTR, -1, (s32)lo32(&t->e->tmp));
		return;
	}
	if (call)
		emit_call_push(t, d, 0);
	int h = load_greg(t, in->rm, SCR_PTR);

	if (in->opsize == 8)
		mov_rr(t, SCR_PTR, (u32)h);
	else
		mov_rr32(t, SCR_PTR, (u32)h);
}

void emit_branch(struct translator *t, struct di *d, u32 i)
{
	const struct insn *in = &d->in;
	int ptr;
	s32 off;

	switch (d->cls) {
	case CL_JCC:
		emit_jcc_link(t, (u8)(in->opcode & 15), d->rip, branch_target(t, d));
		break;
	case CL_JMP:
		emit_link(t, d->rip, branch_target(t, d));
		break;
	case CL_LOOP:
	case CL_JCXZ:
		emit_loop(t, d);
		break;
	case CL_CALL_ON:
		emit_call_push(t, d, 0);
		enter_page(t, d);
		break;
	case CL_JMP_ON:
		enter_page(t, d);
		break;
	case CL_CALL:
		emit_call_push(t, d, 0);
		emit_flags_back(t);
		if (!returns_pair(t, d)) {
			emit_link(t, d->rip, branch_target(t, d));
			break;
		}
		emit_call_link(t, d->rip, branch_target(t, d));
		emit_return_site(t, d->rip, d->rip + in->len);
		break;
	case CL_JMP_IND:
	case CL_CALL_IND:
		emit_ind_target(t, d);
		emit_flags_back(t);
		emit_last_jump(t, i);
		break;
	case CL_RET:
		emit_access(t, d, 0, &ptr, &off);
		load_val(t, SCR_PTR, in->opsize, ptr, off);
		adjust_sp(t, (s32)in->opsize + (in->opcode == 0xc2 ? (s32)(u16)in->imm : 0));
		emit_flags_back(t);
		emit_last_jump(t, i);
		break;
	default:
		break;
	}
}
