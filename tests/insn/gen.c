/* SPDX-License-Identifier: MIT */
/*
 * tests/insn/gen.c - random sequences: random bytes kept when Zydis can decode them,
 * the filter allows them and their memory operand probably lies in the data pages.
 */
#include "tests/insn/gen.h"

#include <string.h>

#include "engine/cpu.h"
#include "tests/insn/filter.h"
#include "tests/random.h"

enum role { ROLE_PTR, ROLE_SMALL, ROLE_ANY };

struct gen {
	u64 rng;
	struct gen_case *c;
	const struct gen_options *o;
	u8 role[16];
	u32 undef;	/* flags without a defined value here */
	u8 group;
	bool branched;	/* undefined flags can only grow from here on */
	ZydisDecoder dec;
};

static u32 below(struct gen *g, u32 n)
{
	return (u32)((random_next(&g->rng) >> 32) * n >> 32);
}

static bool chance(struct gen *g, u32 percent)
{
	return below(g, 100) < percent;
}

/* A number of the kind that finds bugs. */
static u64 interesting(u64 *rng)
{
	static const u64 nice[] = {
		0, 1, 2, 3, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
		0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, ~0ull, ~1ull,
		0x3ff0000000000000, 0x4000000000000000, 0x7ff0000000000000, 0x7ff8000000000000,
		0x0000000000000001, 0x3f8000003f800000, 0x7f8000007fc00000, 0xbff0000000000000,
	};
	u64 r = random_next(rng), v = random_next(rng);

	switch (r % 4) {
	case 0: return nice[v % ARRAY_SIZE(nice)];
	case 1: return v >> (r >> 8) % 64;
	case 2:
		return 0x3f00000000000000 + (v >> 8) % 0x0200000000000000; /* doubles near 1 */
	default: return v;
	}
}

void gen_data(u64 seed, u8 *data, u32 n)
{
	for (u32 i = 0; i + 8 <= n; i += 8) {
		u64 v = interesting(&seed);

		memcpy(data + i, &v, 8);
	}
}

static bool is64(const struct gen *g) { return g->o->world->bits == 64; }

/* Addresses that are no linear ones: of the segment a base register goes with, or of an operand. */
static u32 base_of_reg(const struct gen *g, u32 reg)
{
	return reg == 4 || reg == 5 ? g->o->world->ss_base : g->o->world->base;
}

static u32 base_of(const struct gen *g, const ZydisDecodedOperand *m)
{
	return m->mem.segment == ZYDIS_REGISTER_SS   ? g->o->world->ss_base
	       : m->mem.segment == ZYDIS_REGISTER_CS ? g->o->world->cs_base
						     : g->o->world->base;
}

/* A register of 16- and 32-bit code: where SP or 16-bit addresses use its lower half only, anything
 * above. */
static u64 narrow(struct gen *g, u32 reg, u64 v)
{
	bool half = g->o->world->bits == 16 || (g->o->world->ss16 && reg == 4);

	if (is64(g) || reg > 7)
		return v;
	return half && chance(g, 50) ? (v & 0xffff) | (random_next(&g->rng) & 0xffff0000) : (u32)v;
}

static u64 data_pointer(struct gen *g)
{
	u64 p = A_DATA + 0x100 + below(g, DATA_BYTES - 0x200);

	if (chance(g, 8))	/* near an end or the page boundary */
		p = A_DATA + (u64)below(g, 3) * 0x1000 + below(g, 64) - 32;
	return chance(g, 60) ? p & ~15ull : p;
}

static void make_fpu(struct gen *g, u8 *fx, u8 (*hi)[16])
{
	u16 fcw = chance(g, 60) ? 0x37f : (u16)(0x40 | below(g, 0x1000)), fsw = 0;
	u32 mxcsr = 0x1f80;

	if (chance(g, 30))
		mxcsr |= (u32)random_next(&g->rng) & 0xe07f;	/* RC FTZ DAZ, sticky flags */
	if (chance(g, 6))
		mxcsr &= ~((u32)random_next(&g->rng) & 0x1f80);
	if (chance(g, 85))
		fcw |= 0x3f;
	if (chance(g, 60))
		fsw = (u16)(below(g, 8) << 11);
	memset(fx, 0, 512);
	memcpy(fx, &fcw, 2);
	memcpy(fx + 2, &fsw, 2);
	fx[4] = chance(g, 40) ? 0xff : (u8)below(g, 256);	/* abridged tag word */
	memcpy(fx + 24, &mxcsr, 4);
	for (u32 i = 0; i < 8; i++) {
		u64 man = interesting(&g->rng) | BIT64(63);
		u16 exp = (u16)(chance(g, 80) ? 0x3fff - 20 + below(g, 40) : below(g, 0x8000));

		exp |= (u16)(below(g, 2) << 15);
		if (chance(g, 10))
			man = random_next(&g->rng);
		memcpy(fx + 32 + 16 * i, &man, 8);
		memcpy(fx + 32 + 16 * i + 8, &exp, 2);
	}
	for (u32 i = 0; i < 16; i++) {
		u64 v[4];

		for (u32 k = 0; k < 4; k++)
			v[k] = chance(g, 10) ? below(g, 256) : interesting(&g->rng);
		memcpy(fx + 160 + 16 * i, v, 16);
		memcpy(hi[i], v + 2, 16);
	}
}

static void make_avx512(struct gen *g, struct insn_state *s)
{
	u64 v;

	for (u32 i = 0; i < sizeof(s->zmm_hi) + sizeof(s->zmm16); i += 8) {
		v = chance(g, 10) ? below(g, 256) : interesting(&g->rng);
		memcpy(&s->zmm_hi[0][0] + i, &v, 8);
	}
	for (u32 i = 0; i < 8; i++) {
		u32 r = below(g, 100);

		s->k[i] = r < 20   ? ~0ull
			  : r < 30 ? 0
			  : r < 45 ? BIT64(below(g, 64)) - 1
			  : r < 60 ? ~0ull << below(g, 64)
				   : random_next(&g->rng);
	}
}

static void make_state(struct gen *g)
{
	struct insn_state *s = &g->c->in;

	memset(s, 0, sizeof(*s));
	for (u32 i = 0; i < 16; i++) {
		u32 r = below(g, 100);

		g->role[i] = r < 45 ? ROLE_PTR : r < 65 ? ROLE_SMALL : ROLE_ANY;
		if (i == 4 || i == 6 || i == 7)
			g->role[i] = ROLE_PTR;
		else if (i == 1)
			g->role[i] = r < 70 ? ROLE_SMALL : ROLE_ANY;
		switch (g->role[i]) {
		case ROLE_PTR: s->gpr[i] = narrow(g, i, data_pointer(g) - base_of_reg(g, i)); break;
		case ROLE_SMALL: s->gpr[i] = below(g, 70); break;
		default: s->gpr[i] = narrow(g, i, interesting(&g->rng));
		}
	}
	s->gpr[4] = narrow(g, 4,
			   A_DATA + 0x800 - base_of_reg(g, 4) +
				   (below(g, 0x1000) & ~(chance(g, 85) ? 7u : 0u)));
	s->rflags = 0x202 | ((u32)random_next(&g->rng) & 0x8d5) | (chance(g, 10) ? 0x400 : 0);
	if (g->o->step)
		s->rflags |= (chance(g, 85) ? 0x100 : 0) | (chance(g, 20) ? 0x10000 : 0);
	make_fpu(g, s->fx, s->ymm_hi);
	if (g->o->features >> GF_AVX512F & 1)
		make_avx512(g, s);
}

/* Random bytes of one instruction, padded with random ones. */
static void random_bytes(struct gen *g, u8 *b)
{
	u32 i = 0, map = below(g, 100);

	for (u32 k = 0; k < 16; k++)
		b[k] = (u8)random_next(&g->rng);
	if (chance(g, 4))
		b[i++] = (u8)(chance(g, 50) ? 0x64 : 0x65);
	if (!is64(g) && chance(g, 12))
		b[i++] = (u8)(0x26 | below(g, 4) << 3);
	if (chance(g, is64(g) ? 3 : 15))
		b[i++] = 0x67;
	if (g->o->features >> GF_AVX512F & 1 && !g->o->watch && chance(g, g->o->evex)) {
		if (chance(g, 12)) {	/* of mask registers: VEX */
			b[i] = 0xc4;
			b[i + 1] = (u8)((b[i + 1] & 0xe0) | (chance(g, 80) ? 1 : 3) |
					(is64(g) ? 0 : 0xc0));
			b[i + 3] = chance(g, 50)   ? (u8)(0x40 + below(g, 12))
				   : chance(g, 60) ? (u8)(0x90 + below(g, 10))
						   : (u8)(0x30 + below(g, 4));
			return;
		}
		b[i] = 0x62;
		b[i + 1] = (u8)((b[i + 1] & 0xf0) | (1 + below(g, 3)) | (is64(g) ? 0 : 0xc0));
		b[i + 2] |= 4;
		if (chance(g, 50))
			b[i + 3] &= 0x68;	/* no mask, no broadcast */
		return;
	}
	if (map >= 78) {	/* VEX */
		b[i] = chance(g, 30) ? 0xc5 : 0xc4;
		if (b[i] == 0xc4)
			b[i + 1] = (u8)((b[i + 1] & 0xe0) | (1 + below(g, 3)));
		if (!is64(g))	/* or it is LES or LDS */
			b[i + 1] |= 0xc0;
		return;
	}
	if (chance(g, 3))
		b[i++] = 0xf0;
	if (chance(g, map < 35 ? 15 : 30))
		b[i++] = 0x66;
	if (chance(g, map < 35 ? 8 : 35))
		b[i++] = (u8)(0xf2 + below(g, 2));
	if (is64(g) && chance(g, 50))
		b[i++] = (u8)(0x40 | below(g, 16));
	if (map < 35)
		return;
	b[i++] = 0x0f;
	if (map >= 73)
		b[i] = 0x3a;
	else if (map >= 63)
		b[i] = 0x38;
}

static bool is_gpr_index(const ZydisDecodedOperand *m)
{
	switch (ZydisRegisterGetClass(m->mem.index)) {
	case ZYDIS_REGCLASS_GPR16: case ZYDIS_REGCLASS_GPR32: case ZYDIS_REGCLASS_GPR64:
		return true;
	default:
		return false;
	}
}

/* Aim a full displacement at the data; *at is where it points then. */
static bool patch_disp(struct gen *g, ZydisDecodedInstruction *in, const ZydisDecodedOperand *m,
		       struct gen_insn *out, u64 *where)
{
	const u64 *gpr = g->c->in.gpr;
	u64 at = data_pointer(g), sum = 0;
	s64 disp;
	s32 d32;

	*where = at;
	if (in->raw.disp.size == 64) {
		memcpy(out->bytes + in->raw.disp.offset, &at, 8);
		return true;
	}
	if (in->raw.disp.size == 16) {
		u16 d16 = (u16)(at - base_of(g, m));

		if (m->mem.base != ZYDIS_REGISTER_NONE)
			d16 -= (u16)gpr[ZydisRegisterGetId(m->mem.base)];
		if (m->mem.index != ZYDIS_REGISTER_NONE)
			d16 -= (u16)gpr[ZydisRegisterGetId(m->mem.index)];
		memcpy(out->bytes + in->raw.disp.offset, &d16, 2);
		return true;
	}
	if (in->raw.disp.size != 32)
		return false;
	if (m->mem.base == ZYDIS_REGISTER_RIP || m->mem.base == ZYDIS_REGISTER_EIP) {
		out->fix = FIX_RIPREL;
		out->fix_off = in->raw.disp.offset;
		out->fix_size = 4;
		out->target = at;
		return true;
	}
	if (m->mem.base != ZYDIS_REGISTER_NONE)
		sum += gpr[ZydisRegisterGetId(m->mem.base)];
	if (m->mem.index != ZYDIS_REGISTER_NONE) {
		if (!is_gpr_index(m))
			return false;
		sum += gpr[ZydisRegisterGetId(m->mem.index)] * m->mem.scale;
	}
	disp = (s64)(at - base_of(g, m) - sum);
	d32 = (s32)disp;
	if (d32 != disp && is64(g))
		return false;
	memcpy(out->bytes + in->raw.disp.offset, &d32, 4);
	return true;
}

/* Where an operand with a plain base and index points at first. */
static u64 first_address(const struct gen *g, const ZydisDecodedInstruction *in,
			 const ZydisDecodedOperand *m)
{
	const u64 *gpr = g->c->in.gpr;
	u64 a = (u64)m->mem.disp.value;

	if (m->mem.base != ZYDIS_REGISTER_NONE)
		a += gpr[ZydisRegisterGetId(m->mem.base) & 15];
	if (m->mem.index != ZYDIS_REGISTER_NONE && is_gpr_index(m))
		a += gpr[ZydisRegisterGetId(m->mem.index)] * m->mem.scale;
	if (is64(g))
		return a;
	a = in->address_width == 16 ? (u16)a : (u32)a;
	return a + base_of(g, m);
}

/* Keep most operands inside the data, and locked ones inside a cache line. */
static bool memory_fits(struct gen *g, ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops,
			struct gen_insn *out)
{
	for (u32 i = 0; i < in->operand_count; i++) {
		const ZydisDecodedOperand *m = &ops[i];
		u64 a;

		if (m->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		if (!patch_disp(g, in, m, out, &a)) {
			a = first_address(g, in, m);
			if ((a < A_RO || a >= A_DATA_END) && !chance(g, 3))
				return false;
		}
		/* A split lock makes some hosts stop the oracle for a while. */
		if ((in->attributes & ZYDIS_ATTRIB_HAS_LOCK ||
		     in->mnemonic == ZYDIS_MNEMONIC_XCHG) &&
		    a % 64 + 16 > 64)
			return false;
	}
	return true;
}

static bool keeps_pointers(struct gen *g, const ZydisDecodedInstruction *in,
			   const ZydisDecodedOperand *ops)
{
	for (u32 i = 0; i < in->operand_count; i++) {
		const ZydisDecodedOperand *r = &ops[i];
		ZydisRegister full;

		if (r->type != ZYDIS_OPERAND_TYPE_REGISTER ||
		    !(r->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			continue;
		full = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r->reg.value);
		if (ZydisRegisterGetClass(full) != ZYDIS_REGCLASS_GPR64)
			continue;
		if (r->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT &&
		    (in->meta.category == ZYDIS_CATEGORY_STRINGOP ||
		     in->meta.category == ZYDIS_CATEGORY_PUSH ||
		     in->meta.category == ZYDIS_CATEGORY_POP))
			continue;
		if (g->role[ZydisRegisterGetId(full)] == ROLE_PTR && !chance(g, 8))
			return false;
	}
	return true;
}

/* Follow which flags are defined; false when the instruction would read others. */
static bool follow_flags(struct gen *g, const ZydisDecodedInstruction *in, struct gen_insn *out)
{
	u32 undef = filter_undefined(in), known = 0;

	if (in->cpu_flags) {
		if (in->cpu_flags->tested & g->undef)
			return false;
		known = (in->cpu_flags->modified | in->cpu_flags->set_0 | in->cpu_flags->set_1) &
			~undef;
	}
	out->undef_before = g->undef;
	if (!g->branched && !filter_may_keep_flags(in))
		g->undef &= ~known;
	g->undef |= undef;
	/* A repeated comparison may fault half-way with the flags of its progress. */
	out->undef_after = g->undef;
	return true;
}

static bool one_random(struct gen *g, u32 slots_left)
{
	struct gen_insn *out = &g->c->insn[g->c->n];
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction in;

	memset(out, 0, sizeof(*out));
	random_bytes(g, out->bytes);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&g->dec, out->bytes, 15, &in, ops)))
		return false;
	if (!filter_allows(&in, ops, g->o))
		return false;
	out->len = in.length;
	if (in.meta.category == ZYDIS_CATEGORY_COND_BR) {
		/* Near ones with a plain displacement; always forward. */
		if (!in.raw.imm[0].size || in.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE ||
		    in.mnemonic == ZYDIS_MNEMONIC_XBEGIN || slots_left < 2)
			return false;
		out->fix = FIX_JUMP;
		out->fix_off = in.raw.imm[0].offset;
		out->fix_size = in.raw.imm[0].size / 8;
		out->to = (u8)(g->c->n + 1 + below(g, slots_left));
		if (out->fix_size == 2 && g->o->world->bits != 16)
			return false;
	} else if (!memory_fits(g, &in, ops, out) || !keeps_pointers(g, &in, ops)) {
		return false;
	}
	if (!follow_flags(g, &in, out))
		return false;
	if (out->fix == FIX_JUMP)
		g->branched = true;
	g->c->n++;
	return true;
}

static struct gen_insn *put(struct gen *g, const void *bytes, u32 len)
{
	struct gen_insn *i = &g->c->insn[g->c->n++];

	memset(i, 0, sizeof(*i));
	memcpy(i->bytes, bytes, len);
	i->len = (u8)len;
	i->undef_before = i->undef_after = g->undef;
	i->group = g->group;
	return i;
}

static void put_jump(struct gen *g, const void *op, u32 op_len, u32 size, u32 to)
{
	u8 b[16] = { 0 };
	struct gen_insn *i;

	memcpy(b, op, op_len);
	i = put(g, b, op_len + size);
	i->fix = FIX_JUMP;
	i->fix_off = (u8)op_len;
	i->fix_size = (u8)size;
	i->to = (u8)to;
	g->branched = true;
}

/* The same as below, for 16- and 32-bit code. */
static void one_narrow_template(struct gen *g)
{
	u32 n = g->c->n, word = g->o->world->bits / 8;
	u8 b[8] = { 0 };

	g->group++;
	switch (below(g, g->o->step ? 9 : 7)) {
	case 7:		/* push ss, pop ss: what is pending waits for the next instruction */
		put(g, "\x16", 1);
		put(g, "\x17", 1);
		put(g, "\x40", 1);
		g->undef = 0;
		return;
	case 8:
		put(g, "\x8c\xd0", 2);			/* mov eax, ss */
		put(g, "\x8e\xd0", 2);			/* mov ss, eax */
		return;
	case 0:		/* call over a jump; the callee returns to the jump */
		put_jump(g, "\xe8", 1, word, n + 2);
		put_jump(g, "\xeb", 1, 1, n + 4);
		put(g, "\x40", 1);			/* inc eax */
		put(g, "\xc3", 1);
		g->undef = 0;
		return;
	case 1:		/* a loop of a few rounds */
		b[0] = 0xb9;
		b[1] = 5;
		put(g, b, 1 + word);			/* mov ecx, 5 */
		put(g, "\x8d\x40\x03", 3);		/* lea eax, [eax+3]; lea ax, [bx+si+3] */
		put_jump(g, "\xe2", 1, 1, n + 1);	/* loop */
		return;
	case 2: {	/* push imm; popf */
		u32 fl = ((u32)random_next(&g->rng) & 0x8d5) | 2 | (chance(g, 20) ? 0x400 : 0) |
			 (g->o->step && chance(g, 50) ? 0x100 : 0);

		b[0] = 0x68;
		memcpy(b + 1, &fl, word);
		put(g, b, 1 + word);
		put(g, "\x9d", 1);
		if (!g->branched)
			g->undef = 0;
		return;
	}
	case 3: {	/* indirect jump to the next item but one */
		u8 reg = (u8)below(g, 3), jmp[2] = { 0xff, (u8)(0xe0 | reg) };
		struct gen_insn *i;

		b[0] = (u8)(0xb8 | reg);
		i = put(g, b, 1 + word);
		i->fix = FIX_ADDRESS;
		i->fix_off = 1;
		i->fix_size = (u8)word;
		i->to = (u8)(n + 3);
		g->branched = true;
		put(g, jmp, 2);
		put(g, "\x0f\x0b", 2);			/* jumped over */
		g->role[reg] = ROLE_ANY;
		return;
	}
	case 4:		/* all registers through the stack */
		put(g, "\x60", 1);
		put(g, "\x61", 1);
		return;
	case 5:
		if (chance(g, 40))
			put(g, chance(g, 50) ? "\xcc" : "\xce", 1);	/* int3, into */
		return;
	default:
		if (chance(g, 20))
			put(g, "\x0f\x0b", 2);			/* ud2 */
	}
}

/* Short fixed shapes for what random bytes seldom make meaningful. */
static void one_template(struct gen *g)
{
	u32 n = g->c->n;

	if (!is64(g)) {
		one_narrow_template(g);
		return;
	}
	g->group++;
	switch (below(g, g->o->step ? 9 : 8)) {
	case 8:		/* what is pending waits for the next instruction; the selectors differ */
		put(g, "\x8c\xd0", 2);			/* mov eax, ss */
		put(g, "\x8e\xd0", 2);			/* mov ss, eax */
		put(g, "\xb8\x05\x00\x00\x00", 5);	/* mov eax, 5 */
		g->role[0] = ROLE_ANY;
		return;
	case 0:		/* call over a jump; the callee returns to the jump */
		put_jump(g, "\xe8", 1, 4, n + 2);
		put_jump(g, "\xeb", 1, 1, n + 4);
		put(g, "\x48\xff\xc0", 3);		/* inc rax */
		put(g, "\xc3", 1);
		g->undef = 0;
		return;
	case 1:		/* a loop of a few rounds */
		put(g, "\xb9\x05\x00\x00\x00", 5);	/* mov ecx, 5 */
		put(g, "\x48\x8d\x40\x03", 4);		/* lea rax, [rax+3] */
		put_jump(g, "\xe2", 1, 1, n + 1);	/* loop */
		return;
	case 2:		/* flags through the stack */
		if (g->undef || g->o->ring0)
			return;
		put(g, "\x9c", 1);			/* pushfq */
		put(g, "\x48\x81\x24\x24\xd5\x0c\x00\x00", 8);	/* and qword [rsp], 0xcd5 */
		put(g, "\x9d", 1);			/* popfq */
		return;
	case 3: {	/* push imm32; popf */
		u8 b[5] = { 0x68 };
		u32 fl = ((u32)random_next(&g->rng) & 0x8d5) | 2 | (chance(g, 20) ? 0x400 : 0) |
			 (g->o->step && chance(g, 50) ? 0x100 : 0);

		if (g->o->ring0)
			return;
		memcpy(b + 1, &fl, 4);
		put(g, b, 5);
		put(g, "\x9d", 1);
		if (!g->branched)
			g->undef = 0;
		return;
	}
	case 4: {	/* indirect jump to the next item but one */
		u8 reg = (u8)below(g, 3), lea[7] = { 0x48, 0x8d, (u8)(0x05 | reg << 3) };
		u8 jmp[2] = { 0xff, (u8)(0xe0 | reg) };
		struct gen_insn *i = put(g, lea, 7);

		i->fix = FIX_JUMP;
		i->fix_off = 3;
		i->fix_size = 4;
		i->to = (u8)(n + 3);
		put(g, jmp, 2);
		put(g, "\x0f\x0b", 2);			/* jumped over */
		g->role[reg] = ROLE_ANY;
		return;
	}
	case 5:		/* indirect call through memory on the stack, ret imm16 */
		put_jump(g, "\x48\x8d\x05", 3, 4, n + 5);	/* lea rax, [callee] */
		g->branched = true;
		put(g, "\x50", 1);				/* push rax */
		put(g, "\xff\x14\x24", 3);			/* call [rsp] */
		put_jump(g, "\xe9", 1, 4, n + 6);
		put(g, "\xcc", 1);
		put(g, "\xc2\x08\x00", 3);			/* ret 8 */
		g->role[0] = ROLE_ANY;
		return;
	case 6:
		if (chance(g, 40))
			put(g, chance(g, 50) ? "\xcc" : "\x90", 1);	/* int3 */
		return;
	default:
		if (chance(g, 20))
			put(g, "\x0f\x0b", 2);			/* ud2 */
	}
}

/* A random branch into the middle of a template would meet half of its stack effects. */
static void keep_templates_whole(struct gen_case *c)
{
	for (u32 i = 0; i < c->n; i++) {
		struct gen_insn *in = &c->insn[i];

		if (in->fix != FIX_JUMP || in->group)
			continue;
		while (in->to < c->n && in->to > 0 && c->insn[in->to].group &&
		       c->insn[in->to].group == c->insn[in->to - 1].group)
			in->to++;
	}
}

void gen_set_dead(struct gen_case *c, u32 i, bool dead)
{
	u8 group = c->insn[i].group;

	c->insn[i].dead = dead;
	for (u32 k = 0; group && k < c->n; k++)
		if (c->insn[k].group == group)
			c->insn[k].dead = dead;
}

/*
 * Which flags are undefined where, forwards. A branch makes them only grow. Returns the
 * first item that reads one, or n.
 */
static u32 follow_undefined(struct gen_case *c)
{
	u32 first_ill = c->n;
	bool branched = false;
	u16 undef = 0;

	c->ill = false;
	for (u32 i = 0; i < c->n; i++) {
		struct gen_insn *in = &c->insn[i];

		if (in->dead)
			continue;
		in->undef_before = undef;
		if (in->reads & undef && !c->ill) {
			c->ill = true;
			first_ill = i;
		}
		if (!branched && !in->may_keep)
			undef &= (u16) ~(in->kills & ~in->leaves);
		undef |= in->leaves;
		in->undef_after = undef;
		branched |= in->fix == FIX_JUMP;
	}
	return first_ill;
}

static bool uses_cl(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops)
{
	const ZydisDecodedOperand *last = &ops[in->operand_count_visible - 1u];

	return in->meta.category == ZYDIS_CATEGORY_STRINGOP ||
	       (in->operand_count_visible && last->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		last->reg.value == ZYDIS_REGISTER_CL);
}

/* Elements done before the fault, and the address reported, are not architectural. */
static bool odd_fault(const ZydisDecodedInstruction *in)
{
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_MASKMOVQ: case ZYDIS_MNEMONIC_MASKMOVDQU:
	case ZYDIS_MNEMONIC_VMASKMOVDQU: case ZYDIS_MNEMONIC_VMASKMOVPS:
	case ZYDIS_MNEMONIC_VMASKMOVPD: case ZYDIS_MNEMONIC_VPMASKMOVD:
	case ZYDIS_MNEMONIC_VPMASKMOVQ: case ZYDIS_MNEMONIC_PUSHA: case ZYDIS_MNEMONIC_PUSHAD:
	case ZYDIS_MNEMONIC_POPA: case ZYDIS_MNEMONIC_POPAD: case ZYDIS_MNEMONIC_ENTER:
		return true;
	default:
		/* Elements beside the one that faults may have been done as well. */
		return in->meta.isa_ext == ZYDIS_ISA_EXT_AVX2GATHER ||
		       in->meta.category == ZYDIS_CATEGORY_GATHER ||
		       in->meta.category == ZYDIS_CATEGORY_SCATTER;
	}
}

static void note_flags(struct gen *g)
{
	for (u32 i = 0; i < g->c->n; i++) {
		struct gen_insn *in = &g->c->insn[i];
		ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
		ZydisDecodedInstruction zi;

		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&g->dec, in->bytes, in->len, &zi, ops)) ||
		    !zi.cpu_flags)
			continue;
		in->may_keep = filter_may_keep_flags(&zi) &&
			       (uses_cl(&zi, ops) ||
				(zi.raw.imm[0].size && !(zi.raw.imm[0].value.u & 31)));
		in->leaves = (u16)filter_undefined(&zi);
		in->odd_fault = odd_fault(&zi);
		in->two_reads =
			zi.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (zi.opcode & 0xfe) == 0xa6;
		in->reads = (u16)(zi.cpu_flags->tested & FL_ARITH);
		/* A shift by CL may be one by nothing. */
		if (!in->may_keep)
			in->kills = (u16)((zi.cpu_flags->modified | zi.cpu_flags->set_0 |
					   zi.cpu_flags->set_1 | filter_undefined(&zi)) &
					  FL_ARITH);
	}
}

static const ZydisMachineMode *machine_mode(u32 bits)
{
	static const ZydisMachineMode modes[] = {
		ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32,
		ZYDIS_MACHINE_MODE_LONG_64,
	};

	return &modes[bits / 32];
}

static void init_decoder(ZydisDecoder *d, u32 bits)
{
	ZydisDecoderInit(d, *machine_mode(bits),
			 bits == 64   ? ZYDIS_STACK_WIDTH_64
			 : bits == 32 ? ZYDIS_STACK_WIDTH_32
				      : ZYDIS_STACK_WIDTH_16);
}

void gen_make(struct gen_case *c, u64 seed, const struct gen_options *o)
{
	struct gen g = { .rng = seed, .c = c, .o = o };
	u32 want, tries = 0;

	random_next(&g.rng);
	init_decoder(&g.dec, o->world->bits);
	c->seed = seed;
	c->world = o->world;
	c->n = 0;
	make_state(&g);
	want = 1 + below(&g, SEQ_MAX);
	while (c->n < want && tries++ < 4000) {
		if (chance(&g, o->step ? 8 : 3))
			one_template(&g);
		else
			one_random(&g, want - c->n);
	}
	keep_templates_whole(c);
	note_flags(&g);
	/* Templates do not look what they read. */
	for (u32 i = follow_undefined(c); i < c->n; i = follow_undefined(c))
		gen_set_dead(c, i, true);
}

static bool has_successor(const struct gen_insn *in)
{
	u8 op = in->bytes[0], field = in->bytes[1] >> 3 & 7;

	/* RET, RET imm16, and jumps and calls through FF /2 and /4. */
	return op != 0xc3 && op != 0xc2 && !(op == 0xff && (field == 2 || field == 4));
}

static u16 live_at(const struct gen_case *c, u32 i)
{
	while (i < c->n && c->insn[i].dead)
		i++;
	return i < c->n ? c->insn[i].live : FL_ARITH;
}

/* Liveness of flags over the sequence; its end reads them all. */
static void follow_liveness(struct gen_case *c)
{
	for (u32 i = 0; i < c->n; i++)
		c->insn[i].live = 0;
	for (u32 round = 0; round < 3; round++)	/* the one backward branch needs a second */
		for (u32 i = c->n; i-- > 0;) {
			struct gen_insn *in = &c->insn[i];
			bool always = in->bytes[0] == 0xe8 || in->bytes[0] == 0xe9 ||
				      in->bytes[0] == 0xeb;
			u16 out = 0;

			if (!has_successor(in))
				out = FL_ARITH;
			if (in->fix == FIX_JUMP || in->fix == FIX_ADDRESS)
				out |= live_at(c, in->to);
			if (in->fix != FIX_JUMP || !always)
				out |= live_at(c, i + 1);
			in->live = (u16)((out & ~in->kills) | in->reads);
		}
}

static const struct gen_insn *insn_at(const struct gen_case *c, u64 rip)
{
	for (u32 i = 0; i < c->n; i++)
		if (!c->insn[i].dead && c->insn[i].addr == rip)
			return &c->insn[i];
	return NULL;
}

bool gen_odd_fault(const struct gen_case *c, u64 rip)
{
	const struct gen_insn *in = insn_at(c, rip);

	return in && in->odd_fault;
}

bool gen_two_reads(const struct gen_case *c, u64 rip)
{
	const struct gen_insn *in = insn_at(c, rip);

	return in && in->two_reads;
}

u32 gen_live(const struct gen_case *c, u64 rip)
{
	const struct gen_insn *in = insn_at(c, rip);

	return in ? in->live : FL_ARITH;
}

u32 gen_layout(struct gen_case *c, u8 *out, u64 at, u64 exit_at)
{
	u32 len = 0;
	s32 rel;
	u64 end;

	for (u32 i = 0; i < c->n; i++) {
		c->insn[i].addr = at + len;
		if (!c->insn[i].dead)
			len += c->insn[i].len;
	}
	end = at + len;
	for (u32 i = 0; i < c->n; i++) {
		struct gen_insn *in = &c->insn[i];
		u64 to = in->target;

		if (in->dead)
			continue;
		if (in->fix == FIX_JUMP || in->fix == FIX_ADDRESS)
			to = in->to < c->n ? c->insn[in->to].addr : end;
		if (in->fix) {
			rel = (s32)(in->fix == FIX_ADDRESS ? to : to - (in->addr + in->len));
			memcpy(in->bytes + in->fix_off, &rel, in->fix_size);
		}
		memcpy(out + (in->addr - at), in->bytes, in->len);
	}
	follow_liveness(c);
	follow_undefined(c);
	c->in.entry = at | (u64)c->world->cs << 32;
	if (c->world->bits != 64) {	/* far jump with a 32-bit offset */
		u32 low = A_LOW;
		u16 cs = USER_CS;

		if (c->world->bits == 16)
			out[len++] = 0x66;
		out[len++] = 0xea;
		memcpy(out + len, &low, 4);
		memcpy(out + len + 4, &cs, 2);
		return len + 6;
	}
	memcpy(out + len, "\xff\x25\x00\x00\x00\x00", 6);	/* jmp [rip] */
	memcpy(out + len + 6, &exit_at, 8);
	return len + 14;
}

u32 gen_undef(const struct gen_case *c, u64 rip, bool fault)
{
	u32 last = 0;

	for (u32 i = 0; i < c->n; i++) {
		const struct gen_insn *in = &c->insn[i];

		if (in->dead)
			continue;
		/* A trap (INT3) reports the address behind it. */
		if (fault && (in->addr == rip || in->addr + in->len == rip))
			return in->undef_before | (in->addr == rip ? 0 : in->undef_after);
		last = in->undef_after;
	}
	return last;
}

void gen_print(const struct gen_case *c, FILE *f)
{
	ZydisDisassembledInstruction d;

	for (u32 i = 0; i < 16; i++)
		fprintf(f, "%s%llx%s", i % 8 ? " " : "#   gpr ", (unsigned long long)c->in.gpr[i],
			i % 8 == 7 ? "\n" : "");
	fprintf(f, "#   flags %llx\n", (unsigned long long)c->in.rflags);
	for (u32 i = 0; i < c->n; i++) {
		const struct gen_insn *in = &c->insn[i];

		if (in->dead)
			continue;
		fprintf(f, "#   %08llx ", (unsigned long long)in->addr);
		for (u32 k = 0; k < in->len; k++)
			fprintf(f, "%02x", in->bytes[k]);
		if (ZYAN_SUCCESS(ZydisDisassembleIntel(*machine_mode(c->world->bits), in->addr,
						       in->bytes, in->len, &d)))
			fprintf(f, "%*s %s", 2 * (12 - (int)in->len), "", d.text);
		fprintf(f, "\n");
	}
}
