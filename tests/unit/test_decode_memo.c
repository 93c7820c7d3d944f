/* SPDX-License-Identifier: MIT */
/*
 * tests/unit/test_decode_memo.c - what the memory of the decoder answers is what decoding afresh
 * says, for random instructions that come again with other displacements and immediates.
 */
/* Run: build/tests/unit/test_decode_memo [NAME...] */

#include "tests/unit/unit.h"

#include "engine/translate_priv.h"

static u64 seed = 1;

static u32 rnd(u32 n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)((seed >> 33) % n);
}

static u64 t_sti(struct cpu *c, u64 a, u64 b) { return 0; }
static const struct cpu_ops ops = { .sti = t_sti };

/* Prefixes, one of the opcode maps, then anything. */
static void random_insn(u8 *p)
{
	static const u8 prefixes[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x64, 0x65 };
	u32 i = 0;

	while (i < 3 && !rnd(6))
		p[i++] = prefixes[rnd(sizeof(prefixes))];
	if (!rnd(3))
		p[i++] = (u8)(0x40 | rnd(16));
	switch (rnd(8)) {
	case 0: case 1:
		p[i++] = 0x0f;
		break;
	case 2:
		p[i++] = 0x0f;
		p[i++] = rnd(2) ? 0x38 : 0x3a;
		break;
	case 3:
		if (rnd(2)) {
			p[i++] = 0xc5;
		} else {
			p[i++] = 0xc4;
			p[i++] = (u8)(rnd(8) << 5 | (1 + rnd(3)));
		}
		p[i++] = (u8)rnd(256);
		break;
	}
	while (i < 16)
		p[i++] = (u8)rnd(256);
}

static bool same_access(const struct access *a, const struct access *b)
{
	return a->base == b->base && a->index == b->index && a->scale == b->scale &&
	       a->seg == b->seg && a->addrsize == b->addrsize && a->write == b->write &&
	       a->stack == b->stack && a->bitreg == b->bitreg && a->size == b->size &&
	       a->disp == b->disp;
}

static bool same_encoding(const struct encoding *a, const struct encoding *b)
{
	if (a->reg != b->reg || a->rm != b->rm || a->vvvv != b->vvvv || a->imm_at != b->imm_at ||
	    a->imm_len != b->imm_len || a->vex_lpp != b->vex_lpp || a->vex_map != b->vex_map ||
	    a->evex != b->evex || a->evex_last != b->evex_last || a->n_fields != b->n_fields ||
	    a->used != b->used || a->opsize != b->opsize || a->repne != b->repne ||
	    a->rep != b->rep || a->lock != b->lock || a->w != b->w || a->high != b->high ||
	    a->writes_rcx != b->writes_rcx)
		return false;
	for (u32 i = 0; i < a->n_fields; i++) {
		const struct greg_field *x = &a->f[i], *y = &b->f[i];

		if (x->where != y->where || x->greg != y->greg || x->size != y->size ||
		    x->high != y->high || x->load != y->load || x->store != y->store)
			return false;
	}
	return true;
}

/* Field by field: nobody says what is in the gaps. */
static bool same(const struct di *a, const struct di *b)
{
	const struct insn *x = &a->in, *y = &b->in;

	if (x->mnemonic != y->mnemonic || x->len != y->len || x->map != y->map ||
	    x->opcode != y->opcode || x->prefixes != y->prefixes || x->rex_w != y->rex_w ||
	    x->mode != y->mode || x->opsize != y->opsize || x->addrsize != y->addrsize ||
	    x->has_modrm != y->has_modrm || x->has_mem != y->has_mem || x->has_rex != y->has_rex ||
	    x->mod != y->mod || x->reg != y->reg || x->rm != y->rm || x->vvvv != y->vvvv ||
	    x->opreg != y->opreg || x->vex_l != y->vex_l || x->evex != y->evex ||
	    x->mask != y->mask || x->mask_form != y->mask_form || x->mask_n != y->mask_n ||
	    x->mask_elem != y->mask_elem || x->seg != y->seg || x->base != y->base ||
	    x->index != y->index || x->scale != y->scale || x->memsize != y->memsize ||
	    x->mem_r != y->mem_r || x->mem_w != y->mem_w || x->disp != y->disp ||
	    x->imm != y->imm || x->imm2 != y->imm2 || memcmp(x->bytes, y->bytes, x->len))
		return false;
	if (a->n_acc != b->n_acc || a->fl_read != b->fl_read || a->fl_kill != b->fl_kill ||
	    a->gpr_written != b->gpr_written || a->cls != b->cls || a->greg != b->greg ||
	    a->add != b->add || a->fpu != b->fpu || a->bitop != b->bitop ||
	    a->needs_rcx != b->needs_rcx || a->too_long != b->too_long || a->exits != b->exits ||
	    a->shadowed != b->shadowed || a->group != b->group)
		return false;
	for (u32 i = 0; i < a->n_acc; i++)
		if (!same_access(&a->acc[i], &b->acc[i]))
			return false;
	return same_encoding(&a->enc, &b->enc);
}

static void check(struct translator *t, const u8 *p, u32 n)
{
	static struct di a, b;
	ZyanStatus x, y;

	memset(&a, 0xa5, sizeof(a));
	memset(&b, 0x5a, sizeof(b));
	x = decode_one(t, &a, p, n);
	y = decode_afresh(t, &b, p, n);
	if (x == y && (!ZYAN_SUCCESS(x) || same(&a, &b)))
		return;
	print_error("mode %x, %u of:", t->mode, n);
	for (u32 i = 0; i < 16; i++)
		print_error(" %02x", p[i]);
	fail_msg("%s: %x and %x", "remembered differently", x, y);
}

T(same_as_afresh)
{
	static const u32 modes[] = {
		MODE_SIZE64 | MODE_CPL0 | MODE_X87 | MODE_SSE | MODE_AVX,
		MODE_SIZE64 | MMU_USER << MODE_IDX_SHIFT | MODE_X87 | MODE_SSE,
		MODE_SIZE32 | MODE_FLAT | MODE_SS32 | MODE_X87 | MODE_SSE,
		MODE_SIZE16 | MODE_CSBASE,
	};
	struct cpu *c = engine_cpu_create(NULL);

	assert_non_null(c);
	c->ops = &ops;

	struct translator *t = c->engine->tr;

	c->engine->n_units = DECODE_MEMO_AFTER + 1;
	for (u32 k = 0; k < 300000; k++) {
		u8 p[16];
		struct di d;

		random_insn(p);
		t->mode = modes[rnd(ARRAY_SIZE(modes))];
		if (!ZYAN_SUCCESS(decode_afresh(t, &d, p, 15)))
			continue;
		check(t, p, 15);
		/* Other bytes behind any place, the opcode among them; and too few. */
		for (u32 again = 0; again < 6; again++) {
			u8 q[16];
			u32 keep = again < 4 && d.in.len > 1
					   ? d.in.len - 1 - rnd(d.in.len < 9 ? d.in.len - 1u : 8)
					   : d.in.len;

			for (u32 i = 0; i < 16; i++)
				q[i] = i < keep ? p[i]
						: (u8)(rnd(3)	? rnd(256)
						       : rnd(2) ? 0xff
								: 0);
			check(t, q, again == 5 ? 1 + rnd(15) : 15);
		}
		check(t, p, 15);
	}
	c->engine->n_units = 0;
	engine_cpu_destroy(c);
}
