/* SPDX-License-Identifier: MIT */
/*
 * engine/lower_mem.c - memory operands: effective address, segmentation, and
 * the software TLB check that turns a linear address into a host pointer.
 *
 * The check needs the arithmetic flags. Where they are live it is wrapped in
 * LAHF/SETO ... SAHF, unless grouping could hoist it above the instruction
 * that makes them. Where several checks follow each other and nothing in between looks at
 * the flags, as where a function ends, they stay put aside from the first to the last.
 */
#include "engine/emit.h"

void emit_flags_to_ax(struct translator *t)
{
	lahf(t);
	seto_al(t);
}

void emit_flags_from_ax(struct translator *t)
{
	alu_al(t, ALU_ADD, 0x7f);	/* OF = al */
	sahf(t);
}

void emit_flags_save(struct translator *t, bool keep_rax)
{
	struct engine *e = t->e;

	st_abs(t, H_RAX, &e->save_rax);
	emit_flags_to_ax(t);
	op_abs(t, false, OP_STORE, H_RAX, &e->save_flags);
	t->hold &= (u8)~HOLD_FLAGS;
	if (keep_rax)
		ld_abs(t, H_RAX, &e->save_rax);
}

void emit_flags_restore(struct translator *t)
{
	struct engine *e = t->e;

	ld_abs32(t, H_RAX, &e->save_flags);
	emit_flags_from_ax(t);
	t->hold |= HOLD_FLAGS;
	ld_abs(t, H_RAX, &e->save_rax);
}

void emit_flags_unaside(struct translator *t)
{
	st_abs(t, H_RAX, &t->e->save_rax);
	emit_flags_restore(t);
}

void emit_flags_aside(struct translator *t)
{
	if (t->aside)
		return;
	emit_flags_save(t, true);
	t->aside = true;
}

void emit_flags_back(struct translator *t)
{
	if (!t->aside)
		return;
	emit_flags_unaside(t);
	t->aside = false;
}

bool access_const(const struct translator *t, const struct access *a)
{
	if (a->bitreg != INSN_NOREG)
		return false;
	if (a->index != INSN_NOREG || (a->base != INSN_NOREG && a->base != INSN_RIP))
		return false;
	if (t64(t))
		return a->seg != S_FS && a->seg != S_GS;
	return (t->mode & MODE_FLAT) && a->seg != S_FS && a->seg != S_GS && a->seg != S_CS;
}

static bool seg_is_flat(const struct translator *t, const struct access *a)
{
	if (t64(t))
		return a->seg != S_FS && a->seg != S_GS;
	return (t->mode & MODE_FLAT) && a->seg != S_FS && a->seg != S_GS && a->seg != S_CS;
}

void emit_ea_plain(struct translator *t, const struct access *a)
{
	int base = -1, index = -1;
	s64 disp = a->disp;
	bool w = a->addrsize == 8;

	if (a->base == INSN_NOREG && a->index == INSN_NOREG) {
		u64 v = (u64)disp;

		if (a->addrsize == 4)
			v = (u32)v;
		else if (a->addrsize == 2)
			v = (u16)v;
		if (t->rip_operand)
			mov_rip(t, SCR_PTR, v);
		else
			mov_ri(t, SCR_PTR, v);
		return;
	}
	if (a->base != INSN_NOREG) {
		base = hreg(a->base);
		if (base < 0) {
			ld_abs(t, SCR_PTR, greg_mem(t, a->base));
			base = SCR_PTR;
		}
	}
	if (a->index != INSN_NOREG) {
		index = hreg(a->index);
		if (index < 0) {
			ld_abs(t, SCR_TMP, greg_mem(t, a->index));
			index = SCR_TMP;
		}
	}
	lea(t, w, SCR_PTR, base, index, a->scale, (s32)disp);
	if (a->addrsize == 2)
		movzx16(t, SCR_PTR, SCR_PTR);
}

/* Offset within the segment into SCR_PTR. Uses SCR_TMP, and the flags for bit strings. */
static void emit_ea(struct translator *t, const struct access *a)
{
	emit_ea_plain(t, a);
	if (a->bitreg == INSN_NOREG)
		return;

	int h = load_greg(t, a->bitreg, SCR_TMP);

	if (a->size == 8) {
		mov_rr(t, SCR_TMP, (u32)h);
	} else if (a->size == 4) {
		op_rr(t, true, OP_MOVSXD, SCR_TMP, (u32)h);
	} else {
		movsx16(t, SCR_TMP, (u32)h);
	}
	shift_ri(t, SHIFT_AR, true, SCR_TMP, 3);
	alu_ri8(t, ALU_AND, true, SCR_TMP, (s8) - (s32)a->size);
	lea(t, a->addrsize == 8, SCR_PTR, SCR_PTR, SCR_TMP, 1, 0);
	if (a->addrsize == 2)
		movzx16(t, SCR_PTR, SCR_PTR);
}

static u8 *emit_seg(struct translator *t, const struct access *a, u32 len, bool write)
{
	struct engine *e = t->e;
	u8 *fail = NULL;

	if (seg_is_flat(t, a))
		return NULL;
	if (!t64(t)) {
		const struct seg_lim *l = &e->lim[a->seg];

		/* An access is inside when offset + len <= limit + 1. */
		lea(t, true, SCR_TMP, SCR_PTR, -1, 1, (s32)len);
		op_abs(t, true, OP_CMP, SCR_TMP, write ? &l->write : &l->read);
		fail = jcc32(t, CC_A);
		op_abs(t, false, OP_ADD, SCR_PTR, &e->c->seg[a->seg].base);
		return fail;
	}
	op_abs(t, true, OP_ADD, SCR_PTR, &e->c->seg[a->seg].base);
	return NULL;
}

/* Does it stand in one piece in the page that the unit begins in? */
static bool in_first_page(const struct translator *t, const struct di *d)
{
	u64 lin = d->rip + t->cs_base;

	if (!t64(t))
		lin = (u32)lin;
	return !t->u->cp2 && !((lin ^ t->u->lin) & PAGE_MASK);
}

static struct rec_tlb *tlb_record(struct translator *t, const struct access *a, u32 len, bool write,
				  u64 rip, const struct di *d, bool grouped)
{
	struct rec_tlb *r = new_tlb_record(t, rip);

	if (!r)
		return NULL;
	r->r.write = write;
	r->r.len = (u16)len;
	r->r.grouped = grouped;
	r->r.special = d->fpu || len >= 16;
	/* Most are never asked for: record_insn() makes those that are. */
	if (!grouped && !in_first_page(t, d))
		r->r.insn = keep_insn(t, d);
	r->base = a->base;
	r->index = a->index;
	r->scale = a->scale;
	r->seg = a->seg;
	r->addrsize = a->addrsize;
	r->bitreg = a->bitreg;
	r->bitsize = (u8)a->size;
	r->disp = a->disp;
	r->r.resume = code_off(t, t->p);
	return r;
}

/* The branch that a missed TLB slot takes. The local APIC's page is always missed: then
 * the branch may be moved (apic.c). */
static void add_check(struct translator *t, u8 *site, struct rec_tlb *r, const struct insn *in,
		      enum flags_at flags, bool is_const)
{
	add_cold(t, site, &r->r, flags);
	if (r->r.grouped || flags == FLAGS_ASIDE || (t->mode & ~MODE_CPU & ~MODE_NOGROUP) ||
	    !apic_insn(in))
		return;
	r->patch = code_off(t, site);
	r->r.site_flags = flags != FLAGS_HOST;
	r->r.site_const = is_const;
	t->apic_rec = r;
}

/* Do four bytes of a page's address tell it from all that may be in its slot? Not an empty tag (0
 * there), no address that is not canonical, and with 57 bits they are too few. */
static bool short_page(const struct translator *t, u64 addr)
{
	return t64(t) && !(t->mode & MODE_LA57) && addr >> TLB_PAGE_SHIFT &&
	       (u64)((s64)(addr << 16) >> 16) == addr;
}

static const void *short_tag(const struct tlb_entry *te)
{
	return (const u8 *)&te->tag + TLB_PAGE_SHIFT / 8;
}

/* SCR_PTR := host pointer of the access; returns what must be added to it. */
static s32 check_const(struct translator *t, const struct access *a, u32 len, bool write, u32 align,
		       struct rec_tlb *r, const struct insn *in, enum flags_at flags)
{
	struct cpu *c = t->e->c;
	u64 addr = (u64)a->disp;

	if (a->addrsize == 2)
		addr = (u16)addr;
	if (a->addrsize == 4 || !t64(t))
		addr = (u32)addr;
	struct tlb *tlb = &c->tlb[mode_idx(t->mode)];
	u32 slot = (u32)(addr >> PAGE_SHIFT) & (TLB_SIZE - 1);
	struct tlb_entry *te = write ? &tlb->w[slot] : &tlb->r[slot];
	u64 page = addr & PAGE_MASK;
	u32 off = (u32)(addr & ~PAGE_MASK);

	if (off + len > PAGE_SIZE || (addr & align)) {
		add_cold(t, jmp32(t), &r->r, flags);
		return 0;
	}
	if (short_page(t, addr)) {
		cmp_abs_i(t, false, short_tag(te), (u32)(addr >> TLB_PAGE_SHIFT));
		if (t->rip_operand)
			note_fixup(t, t->p - 8, FIX_TLB_PAGE);
	} else if (!t->rip_operand && is_simm32(page)) {
		cmp_abs_i(t, true, &te->tag, (u32)page);
	} else {
		if (t->rip_operand)
			mov_rip(t, SCR_TMP, page);
		else
			mov_ri(t, SCR_TMP, page);
		op_abs(t, true, OP_CMP_TO, SCR_TMP, &te->tag);
		if (t->rip_operand)
			note_fixup(t, t->p - 4, FIX_TLB);
	}
	add_check(t, jcc32(t, CC_NE), r, in, flags, true);
	ld_abs(t, SCR_PTR, &te->host);
	if (t->rip_operand)
		note_fixup(t, t->p - 4, FIX_TLB);
	return (s32)off;
}

/* Look SCR_PTR up: it becomes the offset in the page whose host address is at [SCR_TMP + te->host],
 * unless the branch that is returned is taken. */
u8 *emit_tlb_check(struct translator *t, const struct tlb_entry *te, u32 len)
{
	/* The page number lands at the slot's byte offset. */
	rorx32(t, SCR_TMP, SCR_PTR, 8);
	alu_ri(t, ALU_AND, false, SCR_TMP, (TLB_SIZE - 1) << 4);
	op_mem(t, true, OP_SUB, SCR_PTR, SCR_TMP, (s32)lo32(&te->tag));
	alu_ri(t, ALU_CMP, true, SCR_PTR, (u32)PAGE_SIZE - len);
	return jcc32(t, CC_A);
}

/* -- the same where flags are live, with instructions that spare them -- */

static bool flagless(const struct translator *t, const struct access *a)
{
	if (a->bitreg != INSN_NOREG || t->mode & MODE_ALIGN)
		return false;
	return t64(t) || seg_is_flat(t, a);
}

/* Of the check whose way out has been added last. */
static void ask_again(struct translator *t, const struct access *a, enum again again)
{
	if (!t->n_cold)
		return;
	t->cold[t->n_cold - 1].again = (u8)again;
	t->cold[t->n_cold - 1].a = *a;
}

/* SCR_PTR is the pointer: here whoever has found it elsewhere goes on. */
static void found_here(struct translator *t)
{
	if (t->n_cold)
		t->cold[t->n_cold - 1].behind = code_off(t, t->p);
}

/* Go on behind this if RCX is zero. The branch that is not taken leaves, as a rule. */
static void unless_zero(struct translator *t, struct rec_tlb *r, const struct insn *in,
			bool is_const)
{
	u8 *over = jrcxz(t);

	add_check(t, jmp32(t), r, in, FLAGS_HOST, is_const);
	jump_here(t, over);
}

/* SCR_PTR := 0 if the slot is this page's. */
static void check_page_flagless(struct translator *t, const struct tlb_entry *te, u64 page)
{
	ld_abs(t, SCR_PTR, &te->tag);
	if (t->rip_operand)
		note_fixup(t, t->p - 4, FIX_TLB);
	if (!t->rip_operand && is_simm32(-page)) {
		lea(t, true, SCR_PTR, SCR_PTR, -1, 1, (s32)-page);
		return;
	}
	if (t->rip_operand)
		mov_rip(t, SCR_TMP, page);
	else
		mov_ri(t, SCR_TMP, page);
	not_r(t, SCR_TMP);
	lea(t, true, SCR_PTR, SCR_PTR, SCR_TMP, 1, 1);
}

static s32 check_const_flagless(struct translator *t, const struct access *a, u32 len, bool write,
				struct rec_tlb *r, const struct insn *in)
{
	u64 addr = a->addrsize == 2		 ? (u16)a->disp
		   : a->addrsize == 4 || !t64(t) ? (u32)a->disp
						 : (u64)a->disp;
	struct tlb *tlb = &t->e->c->tlb[mode_idx(t->mode)];
	u32 slot = (u32)(addr >> PAGE_SHIFT) & (TLB_SIZE - 1);
	struct tlb_entry *te = write ? &tlb->w[slot] : &tlb->r[slot];
	u64 page = addr & PAGE_MASK;
	u32 off = (u32)(addr & ~PAGE_MASK);

	if (off + len > PAGE_SIZE) {
		add_cold(t, jmp32(t), &r->r, FLAGS_HOST);
		return 0;
	}
	if (short_page(t, addr)) {
		ld_abs32(t, SCR_PTR, short_tag(te));
		lea(t, false, SCR_PTR, -1, SCR_PTR, 1, -(s32)(u32)(addr >> TLB_PAGE_SHIFT));
		if (t->rip_operand)
			note_fixup(t, t->p - 4 - TLB_MINUS_AT, FIX_TLB_MINUS_PAGE);
	} else {
		check_page_flagless(t, te, page);
	}
	unless_zero(t, r, in, true);
	ld_abs(t, SCR_PTR, &te->host);
	if (t->rip_operand)
		note_fixup(t, t->p - 4, FIX_TLB);
	return (s32)off;
}

/* The address into SCR_PTR. `again`: SCR_TMP is to stay. */
void emit_ea_flagless(struct translator *t, const struct access *a, bool again)
{
	bool twice = seg_is_flat(t, a) && (a->index == INSN_NOREG || hreg(a->index) >= 0);

	if (again && !twice) {
		ld_abs(t, SCR_PTR, &t->e->ea);
		return;
	}
	emit_ea_plain(t, a);
	if (!seg_is_flat(t, a)) {
		ld_abs(t, SCR_TMP, &t->e->c->seg[a->seg].base);
		lea(t, true, SCR_PTR, SCR_PTR, SCR_TMP, 1, 0);
	}
	if (!twice)
		st_abs(t, SCR_PTR, &t->e->ea);
}

static void emit_slot(struct translator *t, u32 dst)
{
	rorx32(t, dst, SCR_PTR, PAGE_SHIFT);
	pdep32_abs(t, dst, dst, &t->e->slot_bits);
}

/* The last byte must be in the page that the slot of the first is for. */
static void check_flagless(struct translator *t, const struct access *a, u32 len,
			   const struct tlb_entry *te, struct rec_tlb *r, const struct insn *in)
{
	emit_ea_flagless(t, a, false);
	emit_slot(t, SCR_TMP);
	op_mem(t, true, OP_LOAD, SCR_TMP, SCR_TMP, (s32)lo32(&te->tag));
	not_r(t, SCR_TMP);
	lea(t, true, SCR_TMP, SCR_TMP, SCR_PTR, 1, (s32)len);	/* ~tag + 1 + len - 1 */
	pext_abs(t, SCR_PTR, SCR_TMP, &t->e->page_bits);
	unless_zero(t, r, in, false);
	ask_again(t, a, AGAIN_EA);
	emit_ea_flagless(t, a, true);
	emit_slot(t, SCR_PTR);
	op_mem(t, true, OP_LOAD, SCR_PTR, SCR_PTR, (s32)lo32(&te->host));
	lea(t, true, SCR_PTR, SCR_PTR, SCR_TMP, 1, 1 - (s32)len);
	found_here(t);
}

s32 emit_check(struct translator *t, const struct access *a0, u32 len, bool write, u64 rip,
	       const struct di *d, bool grouped, bool save_flags)
{
	struct access ac = *a0, *a = &ac;
	const struct insn *in = &d->in;
	s32 off = 0;

	/* rip is the instruction's own */
	if (a->base == INSN_RIP)
		a->disp += in->len;
	struct rec_tlb *r = tlb_record(t, a, len, write, rip, d, grouped);

	if (!r)
		return 0;
	t->rip_operand = false;
	if (a->base == INSN_RIP) {
		a->disp += (s64)rip;
		a->base = INSN_NOREG;
		if (a->addrsize == 8)
			t->rip_operand = t->may_move;
		else
			t->u->fixed = true;
	}
	u32 align = t->mode & MODE_ALIGN ? insn_align_mask(in, len) : 0;

	if (window_serves(t, a)) {
		emit_window_check(t, a, len, r, save_flags);
		return 0;
	}

	enum flags_at flags = save_flags ? FLAGS_SAVED : FLAGS_HOST;

	if (save_flags && !t->aside && !t->may_aside && flagless(t, a)) {
		struct tlb *tlb = &t->e->c->tlb[mode_idx(t->mode)];

		r->flagless = true;
		if (access_const(t, a))
			return check_const_flagless(t, a, len, write, r, in);
		check_flagless(t, a, len, write ? tlb->w : tlb->r, r, in);
		return 0;
	}
	if (t->aside || (save_flags && t->may_aside)) {
		flags = FLAGS_ASIDE;
		r->r.aside = t->aside;
		emit_flags_aside(t);
		t->aside_used = true;
	} else if (save_flags) {
		emit_flags_save(t, a->base == R_RAX || a->index == R_RAX || a->bitreg == R_RAX);
	}

	if (access_const(t, a)) {
		off = check_const(t, a, len, write, align, r, in, flags);
	} else {
		struct tlb *tlb = &t->e->c->tlb[mode_idx(t->mode)];
		struct tlb_entry *te = write ? tlb->w : tlb->r;

		emit_ea(t, a);
		u8 *fail = emit_seg(t, a, len, write);

		if (fail)
			add_cold(t, fail, &r->r, flags);
		if (unlikely(align)) {
			test8_ri(t, SCR_PTR, (u8)align);
			add_cold(t, jcc32(t, CC_NE), &r->r, flags);
		}
		add_check(t, emit_tlb_check(t, te, len), r, in, flags, false);
		ask_again(t, a, AGAIN_SUB);
		op_mem(t, true, OP_ADD, SCR_PTR, SCR_TMP, (s32)lo32(&te->host));
		found_here(t);
	}
	if (flags == FLAGS_SAVED)
		emit_flags_restore(t);
	return off;
}

/*
 * Make acc[n] of instruction i addressable: *ptr (host register, or -1 for an
 * absolute address) and *off.
 */
void emit_access(struct translator *t, struct di *d, u32 n, int *ptr, s32 *off)
{
	struct access *a = &d->acc[n];

	*ptr = SCR_PTR;
	if (t->mode & MODE_BOUNCE) {
		ld_abs(t, SCR_PTR, &t->e->bounce_ptr);
		*off = 0;
		return;
	}
	if (n == 0 && d->group >= 0) {
		if (d->reload)
			ld_abs(t, SCR_PTR, &t->e->group_ptr[t->g[(u32)d->group].kept]);
		*off = d->group_off + t->g[(u32)d->group].add;
		hold_ptr(t, d->keep_ptr);
		return;
	}
	*off = emit_check(t, a, a->size, a->write, d->rip, d, false, d->live != 0);
}

/* Leave the unit's fast path unless the guest's vector state is loaded. */
void emit_fpu_check(struct translator *t, u64 rip, bool save_flags)
{
	struct record *r = new_record(t, REC_FPU, rip);

	if (!r)
		return;
	r->resume = code_off(t, t->p);
	if (save_flags) {
		ldzx8_abs(t, H_RCX, &t->e->c->fpu_live);
		lea(t, false, H_RCX, H_RCX, -1, 1, -1);
		need_rcx_zero(t, r);
		return;
	}
	cmp8_abs_i(t, &t->e->c->fpu_live, 0);
	add_cold(t, jcc32(t, CC_E), r, FLAGS_HOST);
}
