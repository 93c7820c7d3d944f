/* SPDX-License-Identifier: MIT */
/*
 * engine/decode_memo.c - decoding, with a memory: the same instructions come again and again, and
 * to decode and classify one costs more than the rest of its translation.
 *
 * What an instruction is follows from the mode and its bytes up to the displacement and the
 * immediate operands, its tail. Of most instructions the tail changes nothing but the values
 * themselves: they are remembered without it, or each call and each branch would be one of its own.
 */
#include <stddef.h>

#include "base/mem.h"
#include "engine/insns.h"
#include "engine/translate_priv.h"

#define MEMO_BITS 13	/* with 2 MiB in all, one huge page where the host has them */

/* The part of struct di that is remembered, and a little of what is set afterwards. */
#define DI_WORDS ((offsetof(struct di, shadowed) + 7) / 8)

struct memo {
	u32 mode;
	u8 key;		/* leading bytes that must be the same; 0: empty */
	/* The tail: where in the instruction and how many bytes; 0 bytes: part of the key, or
	 * none. */
	u8 disp_at, disp_len;
	u8 imm_at[2], imm_len[2];
	bool imm_signed[2];
	u64 di[DI_WORDS];
};
_Static_assert(sizeof(struct memo) << MEMO_BITS <= MEMO_BYTES, "MEMO_BYTES");

/* -- how many bytes to hash: prefixes, opcode and ModRM. A wrong answer only costs a hit. -- */

/* Bit n: opcodes 16 * row + n have a ModRM byte. */
static const u16 modrm_1byte[16] = {
	0x0f0f, 0x0f0f, 0x0f0f, 0x0f0f, 0, 0, 0x0a0c, 0, 0xffff, 0, 0, 0, 0x00f3, 0xff0f, 0, 0xc0c0,
};
static const u16 modrm_0f[16] = {
	0xa00f, 0xffff, 0xffff, 0x0000, 0xffff, 0xffff, 0xffff, 0xff7f,
	0x0000, 0xffff, 0xf8f8, 0xffff, 0x00ff, 0xffff, 0xffff, 0xffff,
};

static bool bit_of(const u16 *rows, u8 op) { return rows[op >> 4] >> (op & 15) & 1; }

static bool is_prefix(u8 b, bool m64)
{
	switch (b) {
	case 0x66: case 0x67: case 0xf0: case 0xf2: case 0xf3:
	case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:
		return true;
	default:
		return m64 && (b & 0xf0) == 0x40;
	}
}

static u32 hash_len(const u8 *p, bool m64)
{
	u32 i = 0;
	u8 op;

	while (i < 4 && is_prefix(p[i], m64))
		i++;
	op = p[i++];
	if (op == 0x0f) {
		op = p[i++];
		if (op == 0x38 || op == 0x3a)
			return i + 2;
		return i + bit_of(modrm_0f, op);
	}
	if (m64 && op == 0xc5)
		return i + 3;
	if (m64 && op == 0xc4)
		return i + 4;
	if (m64 && op == 0x62)
		return i + 5;
	return i + bit_of(modrm_1byte, op);
}

/* p has at least eight bytes, and hash_len() looks at no more. */
static struct memo *slot_of(struct translator *t, const u8 *p)
{
	u32 n = hash_len(p, t64(t));
	u64 v;

	__builtin_memcpy(&v, p, sizeof(v));
	if (n < 8)
		v &= BIT64(8 * n) - 1;
	v ^= (u64)t->mode << 40;

	struct memo *m = &t->memo[v * 0x9e3779b97f4a7c15ull >> (64 - MEMO_BITS)];

	for (u32 i = 64; i < sizeof(*m); i += 64)
		__builtin_prefetch((u8 *)m + i);
	return m;
}

/* -- tails -- */

static s64 value(const u8 *p, u32 len, bool is_signed)
{
	u64 v = 0;

	for (u32 i = 0; i < len; i++)
		v |= (u64)p[i] << 8 * i;
	if (is_signed && len < 8 && v >> (8 * len - 1))
		v |= ~0ull << 8 * len;
	return (s64)v;
}

/* Does the value of an immediate decide about more than itself? Flags, for shifts (classify.c); a
 * register, in the forms with four operands; and far pointers are two values in one. */
static bool tail_matters(const struct translator *t, const struct di *d)
{
	if (t->zi.meta.category == ZYDIS_CATEGORY_SHIFT ||
	    t->zi.meta.category == ZYDIS_CATEGORY_ROTATE || d->cls == CL_UD || d->cls == CL_MOFFS)
		return true;
	if (t->zi.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	    t->zi.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX)
		return true;
	for (u32 i = 0; i < t->zi.operand_count; i++)
		if (t->op[i].encoding == ZYDIS_OPERAND_ENCODING_IS4 ||
		    t->op[i].type == ZYDIS_OPERAND_TYPE_POINTER)
			return true;
	return false;
}

static void note_tail(struct memo *m, const struct translator *t, const struct di *d, const u8 *p)
{
	const u64 imm[2] = { d->in.imm, d->in.imm2 };
	u32 key = d->in.len;

	m->disp_len = m->imm_len[0] = m->imm_len[1] = 0;
	m->key = d->in.len;
	if (tail_matters(t, d))
		return;
	if (t->zi.raw.disp.size) {
		u8 at = t->zi.raw.disp.offset, len = t->zi.raw.disp.size / 8;

		/* Of operands that only look like memory it is no part. */
		if (d->in.disp != value(p + at, len, true))
			return;
		m->disp_at = at;
		m->disp_len = len;
		key = at;
	}
	for (u32 k = 0; k < 2; k++) {
		u8 at = t->zi.raw.imm[k].offset, len = t->zi.raw.imm[k].size / 8;

		if (!len)
			continue;
		if (imm[k] != (u64)value(p + at, len, t->zi.raw.imm[k].is_signed)) {
			m->disp_len = m->imm_len[0] = 0;
			return;
		}
		m->imm_at[k] = at;
		m->imm_len[k] = len;
		m->imm_signed[k] = t->zi.raw.imm[k].is_signed;
		if (at < key)
			key = at;
	}
	m->key = (u8)key;
}

static void take_tail(const struct memo *m, struct di *d, const u8 *p)
{
	for (u32 i = m->key; i < d->in.len; i++)
		d->in.bytes[i] = p[i];
	if (m->disp_len) {
		d->in.disp = value(p + m->disp_at, m->disp_len, true);
		if (d->n_acc && !d->acc[0].stack)
			d->acc[0].disp = d->in.disp;
	}
	if (m->imm_len[0])
		d->in.imm = (u64)value(p + m->imm_at[0], m->imm_len[0], m->imm_signed[0]);
	if (m->imm_len[1])
		d->in.imm2 = (u64)value(p + m->imm_at[1], m->imm_len[1], m->imm_signed[1]);
}

static bool known(const struct memo *m, u32 mode, const u8 *p, u32 n)
{
	const struct di *d = (const struct di *)m->di;

	return m->key && m->mode == mode && d->in.len <= n && cpu_equal(d->in.bytes, p, m->key);
}

ZyanStatus decode_afresh(struct translator *t, struct di *d, const u8 *p, u32 n)
{
	ZyanStatus st = insn_zydis(&engine_decoder[t->mode & MODE_SIZE], p, n, &t->zi, t->op);

	if (!ZYAN_SUCCESS(st))
		return st;
	/* The guest's CPU is older than the prefix: that of LZCNT is ignored, and it is BSR. */
	if (unlikely(t->e->c->insn_missing & (NEED(LZCNT) | NEED(BMI1))) &&
	    (insn_rows[t->zi.mnemonic].rules & R_OLDER) &&
	    (insn_row(&t->zi).features & t->e->c->insn_missing))
		ZydisDecoderDecodeFull(&engine_decoder_older[t->mode & MODE_SIZE], p, n, &t->zi,
				       t->op);
	cpu_zero_words((u64 *)d, DI_WORDS);
	insn_from_zydis(&d->in, &t->zi, t->op, p, t->mode & MODE_SIZE);
	classify(t, d);
	note_registers(t, d);
	note_encoding(t, d);
	d->shadowed = false;
	d->group = -1;
	return st;
}

/* Where p belongs, if there is a memory. */
static struct memo *memo_of(struct translator *t, const u8 *p, u32 n)
{
	if (!t->memo && t->e->n_units > DECODE_MEMO_AFTER)
		t->memo = (struct memo *)(void *)t->e->memo;
	return t->memo && n >= 8 ? slot_of(t, p) : NULL;
}

static ZyanStatus decode_and_keep(struct translator *t, struct di *d, const u8 *p, u32 n,
				  struct memo *m)
{
	ZyanStatus st = decode_afresh(t, d, p, n);

	if (m && ZYAN_SUCCESS(st)) {
		m->mode = t->mode;
		cpu_copy_words(m->di, (const u64 *)d, DI_WORDS);
		note_tail(m, t, d, p);
	}
	return st;
}

ZyanStatus decode_one(struct translator *t, struct di *d, const u8 *p, u32 n)
{
	struct memo *m = memo_of(t, p, n);

	if (!m || !known(m, t->mode, p, n))
		return decode_and_keep(t, d, p, n, m);
	cpu_copy_words((u64 *)d, m->di, DI_WORDS);
	take_tail(m, d, p);
	d->shadowed = false;
	d->group = -1;
	return ZYAN_STATUS_SUCCESS;
}

const struct di *decode_peek(struct translator *t, const u8 *p, u32 n)
{
	struct memo *m = memo_of(t, p, n);

	if (m && known(m, t->mode, p, n))
		return (const struct di *)m->di;
	return ZYAN_SUCCESS(decode_and_keep(t, &t->peek, p, n, m)) ? &t->peek : NULL;
}

void memo_forget(struct translator *t)
{
	if (t->memo)
		cpu_zero(t->memo, MEMO_BYTES);
	t->memo = NULL;
}
