/* SPDX-License-Identifier: MIT */
/*
 * engine/lower.c - computational instructions: one re-encoding rule for all.
 * Opcode, immediate and operation stay; register fields are renamed and the
 * memory operand is replaced by a plain host pointer (reencode.c writes it).
 */
#include "engine/emit.h"
#include "engine/reencode.h"

/* RAX RCX RDX RBX RSP RBP RSI RDI R8..R15 */
const u8 engine_hreg[16] = {
	H_RAX, H_R14, H_RDX, H_RBX, H_R13, H_RBP, H_R15, H_RDI,
	H_R8, H_R9, H_R10, H_R11, H_R12, HREG_MEM, HREG_MEM, HREG_MEM,
};

static int pick_spill(u32 used, bool legacy)
{
	static const u8 order[] = { H_R8,  H_R9,  H_R10, H_R11, H_R12,
				    H_RDI, H_RBP, H_RBX, H_RDX, H_RAX };

	for (u32 i = legacy ? 5 : 0; i < ARRAY_SIZE(order); i++)
		if (!(used & BIT(order[i])))
			return order[i];
	return H_RAX;
}

/* SCR_TMP has guest register g where the next byte of code goes. */
static void tmp_is(struct translator *t, u8 g)
{
	t->tmp_at = t->p;
	t->tmp_greg = g;
}

/* Guest register g, which lives in memory. One instruction often takes up what the last one
 * left. */
static void load_home(struct translator *t, u32 host, u8 g)
{
	if (t->tmp_at != t->p || t->tmp_greg != g)
		ld_abs(t, host, greg_mem(t, g));
	else if (host != SCR_TMP)
		mov_rr(t, host, SCR_TMP);
}

static void load_field(struct translator *t, const struct renamed *r)
{
	if (r->home >= 0)
		mov_rr(t, (u32)r->host, (u32)r->home);
	else
		load_home(t, (u32)r->host, r->f.greg);
}

static void store_field(struct translator *t, const struct renamed *r)
{
	if (r->home < 0)
		st_abs(t, (u32)r->host, greg_mem(t, r->f.greg));
	else
		mov_rr(t, (u32)r->home, (u32)r->host);
}

/*
 * ptr/off: where the memory operand is (ptr < 0: absolute). keep_ptr: SCR_PTR
 * must survive, a later instruction of the group uses it.
 */
/* VZEROALL and VZEROUPPER outside 64-bit mode: of eight registers, and the other eight keep what
 * 64-bit code has in them (APM4). VPXOR and VMOVAPS of XMM registers clear the upper half as
 * well. */
static void emit_vzero(struct translator *t, bool all)
{
	for (u32 i = 0; i < 8; i++) {
		if (all)
			vpxor_self(t, i);
		else
			vmovaps_self(t, i);
	}
}

void emit_compute(struct translator *t, struct di *d, int ptr, s32 off, bool keep_ptr)
{
	const struct encoding *n = &d->enc;
	struct renaming x = {
		.n = n->n_fields, .used = n->used, .high = n->high, .writes_rcx = n->writes_rcx,
	};
	int spill[2] = { -1, -1 };
	u32 n_spill = 0;

	if (unlikely(!t64(t) && (d->in.mnemonic == ZYDIS_MNEMONIC_VZEROALL ||
				 d->in.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER))) {
		emit_vzero(t, d->in.mnemonic == ZYDIS_MNEMONIC_VZEROALL);
		return;
	}
	for (u32 i = 0; i < x.n; i++) {
		x.r[i].f = n->f[i];
		if (hreg(n->f[i].greg) >= 0)
			x.used |= BIT(hreg(n->f[i].greg));
	}

	u32 busy = 0; /* of the two scratch registers */

	if (d->n_acc && ptr >= 0)
		busy |= BIT(ptr);
	if (keep_ptr)
		busy |= BIT(SCR_PTR);
	if (d->needs_rcx) {
		if (d->n_acc && ptr == SCR_PTR) {
			mov_rr(t, SCR_TMP, SCR_PTR);
			ptr = SCR_TMP;
			busy |= BIT(SCR_TMP);
		}
		busy |= BIT(H_RCX);
		mov_rr(t, H_RCX, engine_hreg[R_RCX]);
	}

	for (u32 i = 0; i < x.n; i++) {
		struct renamed *r = &x.r[i];
		struct greg_field *f = &r->f;

		r->host = hreg(f->greg);
		r->home = -1;
		if (f->greg == R_RCX && d->needs_rcx) {
			r->host = H_RCX;
			x.writes_rcx |= f->store;
			f->store = f->load = false;
			continue;
		}
		/* AH..DH exclude a REX prefix, and with it the upper host registers that
		 * guest RSP, RSI and RCX live in. */
		if (x.high && r->host >= 8) {
			r->home = r->host;
			r->host = -1;
		}
		if (r->host >= 0) {
			f->store = f->load = false;
			continue;
		}
		for (u32 k = 0; k < i; k++) /* the same register twice */
			if (x.r[k].f.greg == f->greg) {
				r->host = x.r[k].host;
				if (f->load && !x.r[k].f.load)
					load_field(t, r);
				x.r[k].f.store |= f->store;
				f->store = false;
			}
		if (r->host >= 0)
			continue;
		if (!(busy & BIT(SCR_TMP))) {
			r->host = SCR_TMP;
		} else if (!(busy & BIT(SCR_PTR)) && !keep_ptr) {
			r->host = SCR_PTR;
		} else {
			r->host = pick_spill(x.used | busy, x.high);
			x.used |= BIT(r->host);
			st_abs(t, (u32)r->host, &t->e->spill[n_spill]);
			spill[n_spill++] = r->host;
		}
		busy |= BIT(r->host);
		if (f->load)
			load_field(t, r);
	}

	if (d->bitop) {
		/* The address has been moved already: only the offset inside the
		 * operand is left. pext rsi, reg, [mask] is an AND without flags. */
		for (u32 i = 0; i < x.n; i++) {
			if (x.r[i].f.where != F_REG)
				continue;
			u32 s = d->in.opsize == 8 ? 2 : d->in.opsize == 4 ? 1 : 0;
			u32 h = (u32)x.r[i].host;

			pext_abs(t, SCR_TMP, h, &t->e->bit_mask[s]);
			x.r[i].host = SCR_TMP;
		}
	}
	for (u32 i = 0; i < n_spill; i++)
		t->spill_reg[i] = (u8)spill[i];
	t->n_spilled = n_spill;
	reencode(t, d, &x, ptr, off);

	for (u32 i = 0; i < x.n; i++)
		if (x.r[i].f.store)
			store_field(t, &x.r[i]);
	if (x.writes_rcx)
		mov_rr(t, engine_hreg[R_RCX], H_RCX);
	for (u32 i = 0; i < n_spill; i++)
		ld_abs(t, (u32)spill[i], &t->e->spill[i]);
	/* What was loaded there, or has been stored from there, is there still. */
	for (u32 i = 0; i < x.n && !d->bitop; i++)
		if (x.r[i].host == SCR_TMP && hreg(x.r[i].f.greg) < 0)
			tmp_is(t, x.r[i].f.greg);
}

/* Host register that holds guest register g, loading it into tmp when it is in memory. */
int load_greg(struct translator *t, u8 g, int tmp)
{
	int h = hreg(g);

	if (h >= 0)
		return h;
	load_home(t, (u32)tmp, g);
	return tmp;
}

/* tmp (or a host register) to a guest register, operand size 2, 4 or 8. */
void store_greg(struct translator *t, u8 g, int src, u32 size)
{
	int h = hreg(g);

	if (h >= 0) {
		if (size == 2) {
			mov_rr16(t, (u32)h, (u32)src);
		} else if (size == 4) {
			mov_rr32(t, (u32)h, (u32)src);
		} else {
			mov_rr(t, (u32)h, (u32)src);
		}
		return;
	}
	if (size == 2) {
		st16_abs(t, (u32)src, greg_mem(t, g));
		return;
	}
	if (size == 4)
		mov_rr32(t, (u32)src, (u32)src);
	st_abs(t, (u32)src, greg_mem(t, g));
}

/* LEA: the effective address without segment, truncated to the operand size. */
void emit_lea(struct translator *t, struct di *d, bool keep_ptr)
{
	const struct insn *in = &d->in;
	int dst = hreg(in->reg), base = -1, index = -1;
	s64 disp = in->disp;
	/* Into the register itself: 32 bits of either width clear the rest. */
	bool direct = dst >= 0 && ((in->addrsize == 8 && in->opsize == 8) ||
				   (in->addrsize >= 4 && in->opsize == 4));

	if (in->base == INSN_RIP) {
		u64 v = d->rip + in->len + (u64)disp;

		if (in->addrsize == 8 && in->opsize == 8) {
			mov_rip(t, SCR_TMP, v);
		} else {
			t->u->fixed = true;
			if (in->addrsize == 4)
				v = (u32)v;
			mov_ri(t, SCR_TMP, in->opsize == 4 ? (u32)v : v);
		}
		store_greg(t, in->reg, SCR_TMP, in->opsize);
		return;
	}
	if (in->base == INSN_NOREG && in->index == INSN_NOREG) {
		u64 v = in->addrsize == 8 ? (u64)disp : in->addrsize == 4 ? (u32)disp : (u16)disp;

		mov_ri(t, SCR_TMP, v);
		store_greg(t, in->reg, SCR_TMP, in->opsize);
		return;
	}
	if (in->base != INSN_NOREG)
		base = load_greg(t, in->base, SCR_TMP);
	if (in->index != INSN_NOREG) {
		index = hreg(in->index);
		if (index < 0) {
			if (base != SCR_TMP) {
				ld_abs(t, SCR_TMP, greg_mem(t, in->index));
				index = SCR_TMP;
			} else if (!keep_ptr) {
				ld_abs(t, SCR_PTR, greg_mem(t, in->index));
				index = SCR_PTR;
			} else { /* both in memory, one scratch: go through a borrowed register */
				/* Of a 16-bit destination something is kept. */
				bool borrow = dst < 0 || in->opsize == 2;
				int b = borrow ? H_RDI : dst;

				if (borrow)
					st_abs(t, H_RDI, &t->e->spill[0]);
				ld_abs(t, (u32)b, greg_mem(t, in->index));
				lea(t, in->addrsize == 8, SCR_TMP, SCR_TMP, b, in->scale,
				    (s32)disp);
				if (borrow)
					ld_abs(t, H_RDI, &t->e->spill[0]);
				store_greg(t, in->reg, SCR_TMP, in->opsize);
				return;
			}
		}
	}
	if (direct) {
		lea(t, in->opsize == 8, (u32)dst, base, index, in->scale, (s32)disp);
		return;
	}
	lea(t, in->addrsize == 8 && in->opsize == 8, SCR_TMP, base, index, in->scale, (s32)disp);
	if (in->addrsize == 2)
		movzx16(t, SCR_TMP, SCR_TMP);
	store_greg(t, in->reg, SCR_TMP, in->opsize);
}
