/* SPDX-License-Identifier: MIT */
/*
 * engine/reencode.c - the guest's own instruction once more, with its registers renamed and its
 * memory operand at a host pointer. Beside emit.h the one place where bytes are written.
 */
#include "engine/emit.h"
#include "engine/reencode.h"

static u32 field_host(const struct renaming *x, enum field w, u32 raw)
{
	for (u32 i = 0; i < x->n; i++)
		if (x->r[i].f.where == w)
			return (u32)x->r[i].host;
	return raw;
}

static const struct renamed *field(const struct renaming *x, enum field w)
{
	for (u32 i = 0; i < x->n; i++)
		if (x->r[i].f.where == w)
			return &x->r[i];
	return NULL;
}

static void emit_vex(struct translator *t, const struct di *d, const struct renaming *x, u32 reg,
		     u32 base)
{
	const struct encoding *n = &d->enc;
	u32 vvvv = field_host(x, F_VVVV, n->vvvv);

	b1(t, 0xc4);
	b1(t, (reg & 8 ? 0 : 0x80) | 0x40 | (base & 8 ? 0 : 0x20) | n->vex_map);
	b1(t, (n->w ? 0x80u : 0) | (~vvvv & 15) << 3 | n->vex_lpp);
}

/* base: of memory, or n->rm. There is no index, whose bit is the vector register's fifth. */
static void emit_evex(struct translator *t, const struct di *d, u32 reg, u32 base)
{
	const struct encoding *n = &d->enc;

	b2(t, 0x62,
	   (reg & 8 ? 0 : 0x80) | (base & 16 ? 0 : 0x40) | (base & 8 ? 0 : 0x20) |
		   (reg & 16 ? 0 : 0x10) | n->vex_map);
	b2(t, (n->w ? 0x80u : 0) | (~(u32)n->vvvv & 15) << 3 | 4 | n->vex_lpp,
	   n->evex_last | (n->vvvv & 16 ? 0 : 8));
}

static void emit_prefixes(struct translator *t, const struct di *d, const struct renaming *x,
			  u32 reg, u32 base)
{
	const struct encoding *n = &d->enc;
	bool force = false;
	u32 r;

	if (n->opsize)
		b1(t, 0x66);
	if (n->repne)
		b1(t, 0xf2);
	if (n->rep)
		b1(t, 0xf3);
	if (n->lock)
		b1(t, 0xf0);
	r = (n->w ? 8u : 0) | ((reg >> 3) & 1) << 2 | ((base >> 3) & 1);
	if (!d->in.has_modrm && !field(x, F_OPC))
		r &= 8;
	for (u32 i = 0; i < x->n; i++)
		if (x->r[i].f.size == 1 && !x->r[i].f.high && x->r[i].host >= 4)
			force = true;
	if (r || force)
		b1(t, 0x40 | r);
	switch (d->in.map) {
	case 1: b1(t, 0x0f); break;
	case 2: b2(t, 0x0f, 0x38); break;
	case 3: b2(t, 0x0f, 0x3a); break;
	default: break;
	}
}

/* The number of AH..DH in a field that names host register h. */
static u32 high_number(int h) { return ((u32)h & 3) | 4; }

void reencode(struct translator *t, const struct di *d, const struct renaming *x, int ptr, s32 off)
{
	const struct encoding *n = &d->enc;
	const struct insn *in = &d->in;
	const struct renamed *opc = field(x, F_OPC);
	bool mem = d->n_acc && in->has_modrm && in->mod != 3;
	u32 reg = field_host(x, F_REG, n->reg);
	u32 rm = mem ? 0 : field_host(x, F_RM, n->rm);
	u32 base = opc ? (u32)opc->host : !mem ? rm : ptr < 0 ? 0 : (u32)ptr;
	u32 code = in->opcode;

	if (n->evex)
		emit_evex(t, d, reg, base);
	else if (n->vex_map)
		emit_vex(t, d, x, reg, base);
	else
		emit_prefixes(t, d, x, reg, base);
	if (in->map == 0 && code >= 0x40 && code <= 0x4f) {
		/* One-byte INC and DEC are REX prefixes on the host. */
		b2(t, 0xff, 0xc0 | (code & 8) | (base & 7));
	} else {
		if (opc)
			code = (code & ~7u) | (opc->f.high ? high_number(opc->host) : base & 7);
		else if (in->map == 0 && code == 0x82)
			code = 0x80;
		b1(t, code);
	}
	if (in->has_modrm) {
		u32 rfield = reg & 7, mfield = rm & 7;

		for (u32 i = 0; i < x->n; i++) {
			if (!x->r[i].f.high)
				continue;
			if (x->r[i].f.where == F_REG)
				rfield = high_number(x->r[i].host);
			else if (x->r[i].f.where == F_RM)
				mfield = high_number(x->r[i].host);
		}
		if (mem && n->evex)
			modrm_mem32(t, rfield, ptr, off);
		else if (mem)
			modrm_mem(t, rfield, ptr, off);
		else
			b1(t, 0xc0 | rfield << 3 | mfield);
	}
	for (u32 k = 0; k < n->imm_len; k++)
		b1(t, in->bytes[n->imm_at + k] & (n->is4 ? 0x7fu : 0xffu));
}
