/* SPDX-License-Identifier: MIT */
/* engine/decode.c - Zydis's view of an instruction, cut down to struct insn. */
#include <errno.h>

#include "engine/engine_priv.h"
#include "engine/insns.h"

ZydisDecoder engine_decoder[3], engine_decoder_older[3];

static const ZydisMachineMode machine_modes[3] = {
	ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_MACHINE_MODE_LONG_64,
};
static const ZydisStackWidth stack_widths[3] = {
	ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64,
};

__attribute__((constructor)) static void decoder_init(void)
{
	for (int i = 0; i < 3; i++) {
		ZydisDecoderInit(&engine_decoder[i], machine_modes[i], stack_widths[i]);
		/* AMD decoding: near branches obey 66 in 64-bit mode (APM3 1.2.2); CET and
		 * MPX hints are plain NOPs on a CPU without them. */
		ZydisDecoderEnableMode(&engine_decoder[i], ZYDIS_DECODER_MODE_AMD_BRANCHES,
				       ZYAN_TRUE);
		ZydisDecoderEnableMode(&engine_decoder[i], ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
		ZydisDecoderEnableMode(&engine_decoder[i], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
		ZydisDecoderEnableMode(&engine_decoder[i], ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
		/* What F3 0F BC and F3 0F BD were before BMI1 and LZCNT (APM3 TZCNT, LZCNT). */
		engine_decoder_older[i] = engine_decoder[i];
		ZydisDecoderEnableMode(&engine_decoder_older[i], ZYDIS_DECODER_MODE_TZCNT,
				       ZYAN_FALSE);
		ZydisDecoderEnableMode(&engine_decoder_older[i], ZYDIS_DECODER_MODE_LZCNT,
				       ZYAN_FALSE);
	}
}

static u8 seg_of(ZydisRegister r)
{
	switch (r) {
	case ZYDIS_REGISTER_ES: return S_ES;
	case ZYDIS_REGISTER_CS: return S_CS;
	case ZYDIS_REGISTER_SS: return S_SS;
	case ZYDIS_REGISTER_FS: return S_FS;
	case ZYDIS_REGISTER_GS: return S_GS;
	default: return S_DS;
	}
}

static u8 reg_of(ZydisRegister r)
{
	if (r == ZYDIS_REGISTER_NONE)
		return INSN_NOREG;
	if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP || r == ZYDIS_REGISTER_IP)
		return INSN_RIP;
	return (u8)ZydisRegisterGetId(r);
}

/* Which exception classes have no fault suppression: the whole operand is accessed (SDM2 2.8). */
static bool whole_operand(const ZydisDecodedInstruction *zi)
{
	/* Of class E4NF as well (SDM2; measured), whatever Zydis 4.0 says. */
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_VDBPSADBW: case ZYDIS_MNEMONIC_VGF2P8AFFINEQB:
	case ZYDIS_MNEMONIC_VGF2P8AFFINEINVQB: case ZYDIS_MNEMONIC_VCVTNE2PS2BF16:
		return true;
	default:
		break;
	}
	switch (zi->meta.exception_class) {
	case ZYDIS_EXCEPTION_CLASS_E1NF: case ZYDIS_EXCEPTION_CLASS_E2NF:
	case ZYDIS_EXCEPTION_CLASS_E3NF: case ZYDIS_EXCEPTION_CLASS_E4NF:
	case ZYDIS_EXCEPTION_CLASS_E5NF: case ZYDIS_EXCEPTION_CLASS_E6NF:
	case ZYDIS_EXCEPTION_CLASS_E9NF: case ZYDIS_EXCEPTION_CLASS_E10NF:
	case ZYDIS_EXCEPTION_CLASS_E11NF:
		return true;
	default:
		return false;
	}
}

/* Copies of a broadcast operand; 0: it is none. */
static u8 broadcast_copies(ZydisBroadcastMode mode)
{
	static const u8 copies[] = {
		[ZYDIS_BROADCAST_MODE_1_TO_2] = 2, [ZYDIS_BROADCAST_MODE_1_TO_4] = 4,
		[ZYDIS_BROADCAST_MODE_1_TO_8] = 8, [ZYDIS_BROADCAST_MODE_1_TO_16] = 16,
		[ZYDIS_BROADCAST_MODE_1_TO_32] = 32, [ZYDIS_BROADCAST_MODE_1_TO_64] = 64,
		[ZYDIS_BROADCAST_MODE_2_TO_4] = 4, [ZYDIS_BROADCAST_MODE_2_TO_8] = 8,
		[ZYDIS_BROADCAST_MODE_2_TO_16] = 16, [ZYDIS_BROADCAST_MODE_4_TO_8] = 8,
		[ZYDIS_BROADCAST_MODE_4_TO_16] = 16, [ZYDIS_BROADCAST_MODE_8_TO_16] = 16,
	};

	return (u32)mode < ARRAY_SIZE(copies) ? copies[mode] : 0;
}

static void note_mask(struct insn *in, const ZydisDecodedInstruction *zi,
		      const ZydisDecodedOperand *o)
{
	u8 copies = broadcast_copies(zi->avx.broadcast.mode);

	if (o->mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
		in->vsib_mask = zi->raw.evex.aaa;
		return;
	}
	if (!zi->raw.evex.aaa || whole_operand(zi))
		return;
	in->mask = zi->raw.evex.aaa;
	in->mask_elem = (u8)(o->element_size / 8);
	in->mask_n = (u8)o->element_count;
	if (copies) {
		in->mask_form = MASK_ANY;
		in->mask_n = copies;
	} else if (zi->meta.category == ZYDIS_CATEGORY_COMPRESS ||
		   zi->meta.category == ZYDIS_CATEGORY_EXPAND) {
		in->mask_form = MASK_PACKED;
	}
}

int insn_from_zydis(struct insn *in, const ZydisDecodedInstruction *zi,
		    const ZydisDecodedOperand *op, const u8 *bytes, u32 mode_size)
{
	/* raw.rex, raw.vex and raw.evex share their memory; VEX and EVEX have R and B inverted. */
	bool vex = zi->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
	bool evex = zi->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
	u8 r8, b8;

	if (evex) {
		bool m64 = mode_size == MODE_SIZE64;

		r8 = m64 ? (u8)(!zi->raw.evex.R << 3 | !zi->raw.evex.R2 << 4) : 0;
		b8 = m64 ? (u8)(!zi->raw.evex.B << 3) : 0;
		if (m64 && zi->raw.modrm.mod == 3 && !zi->raw.evex.X)
			b8 |= 16;	/* of a vector register */
	} else if (vex) {
		r8 = zi->raw.vex.R || mode_size != MODE_SIZE64 ? 0 : 8;
		b8 = zi->raw.vex.B || mode_size != MODE_SIZE64 ? 0 : 8;
	} else {
		r8 = (u8)(zi->raw.rex.R << 3);
		b8 = (u8)(zi->raw.rex.B << 3);
	}
	*in = (struct insn){
		.mnemonic = (u16)zi->mnemonic,
		.len = zi->length,
		.opcode = zi->opcode,
		.mode = (u8)(2u << mode_size),
		.addrsize = (u8)(zi->address_width / 8),
		.opsize = (u8)(zi->operand_width / 8),
		.has_modrm = zi->attributes & ZYDIS_ATTRIB_HAS_MODRM,
		.has_rex = zi->attributes & ZYDIS_ATTRIB_HAS_REX,
		.rex_w = evex ? zi->raw.evex.W : vex ? zi->raw.vex.W : zi->raw.rex.W,
		.mod = zi->raw.modrm.mod,
		.reg = (u8)(zi->raw.modrm.reg | r8),
		.rm = (u8)(zi->raw.modrm.rm | b8),
		.opreg = (u8)((zi->opcode & 7) | b8),
		.vex_l = evex ? (u8)(zi->raw.evex.L2 << 1 | zi->raw.evex.L)
			 : vex ? zi->raw.vex.L
			       : 0,
		.evex = evex,
		.seg = S_DS,
		.base = INSN_NOREG,
		.index = INSN_NOREG,
		.scale = 1,
	};
	for (u32 i = 0; i < zi->length; i++)
		in->bytes[i] = bytes[i];

	switch (zi->opcode_map) {
	case ZYDIS_OPCODE_MAP_0F: in->map = 1; break;
	case ZYDIS_OPCODE_MAP_0F38: in->map = 2; break;
	case ZYDIS_OPCODE_MAP_0F3A: in->map = 3; break;
	default: in->map = 0; break;
	}
	if (vex || evex)
		in->map |= 8;

	bool opsize_pfx = false;

	for (u32 i = 0; i < zi->raw.prefix_count; i++) {
		switch (zi->raw.prefixes[i].value) {
		case 0x66: in->prefixes |= PFX_OPSIZE; opsize_pfx = true; break;
		case 0x67: in->prefixes |= PFX_ADDRSIZE; break;
		case 0xf0: in->prefixes |= PFX_LOCK; break;
		/* The last of F2/F3 counts. */
		case 0xf3: in->prefixes = (u8)((in->prefixes & ~PFX_REPNE) | PFX_REP); break;
		case 0xf2: in->prefixes = (u8)((in->prefixes & ~PFX_REP) | PFX_REPNE); break;
		case 0x2e: case 0x36: case 0x3e: case 0x26: case 0x64: case 0x65:
			in->prefixes |= PFX_SEG;
			break;
		}
	}
	if (in->opsize < 2) { /* byte forms: what a wider form would have used */
		bool small = (mode_size == MODE_SIZE16) != opsize_pfx;

		in->opsize = in->rex_w && mode_size == MODE_SIZE64 ? 8 : small ? 2 : 4;
	}

	u32 imms = 0;

	for (u32 i = 0; i < zi->operand_count; i++) {
		const ZydisDecodedOperand *o = &op[i];

		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    o->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT && !in->has_mem) {
			in->has_mem = true;
			in->seg = seg_of(o->mem.segment);
			in->base = reg_of(o->mem.base);
			in->index = reg_of(o->mem.index);
			in->scale = o->mem.scale ? o->mem.scale : 1;
			in->disp = o->mem.disp.has_displacement ? o->mem.disp.value : 0;
			in->memsize = o->mem.type == ZYDIS_MEMOP_TYPE_AGEN ? 0 :
				(u8)(o->size / 8 > 255 ? 255 : o->size / 8);
			in->mem_r = !!(o->actions & ZYDIS_OPERAND_ACTION_MASK_READ);
			in->mem_w = !!(o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
			if (evex)
				note_mask(in, zi, o);
			/* SIB base 5 with mod 0 is no base also with REX.B or VEX.B set; Zydis 4.0
			 * forgets that (APM3 table 1-15). */
			if ((zi->attributes & ZYDIS_ATTRIB_HAS_SIB) && zi->raw.modrm.mod == 0 &&
			    zi->raw.sib.base == 5) {
				in->base = INSN_NOREG;
				in->disp = zi->raw.disp.value;
			}
		} else if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
			if (imms++ == 0)
				in->imm = o->imm.value.u;
			else
				in->imm2 = o->imm.value.u;
		} else if (o->type == ZYDIS_OPERAND_TYPE_POINTER) {
			in->imm = o->ptr.offset;
			in->imm2 = o->ptr.segment;
		} else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
			   o->encoding == ZYDIS_OPERAND_ENCODING_NDSNDD) {
			in->vvvv = reg_of(o->reg.value);
		}
	}
	if (!in->has_mem) { /* segment override still matters to string instructions, MASKMOV */
		for (u32 i = 0; i < zi->operand_count; i++)
			if (op[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
			    (ZydisRegisterGetId(op[i].mem.base) == R_RSI || (in->map & 7) == 1))
				in->seg = seg_of(op[i].mem.segment);
	}
	return 0;
}

/* LOCK MOV CR0 is MOV CR8 (APM3 MOV CRn, AltMovCr8), which Zydis does not know: shown to it without
 * LOCK. */
static ZyanStatus alt_mov_cr8(const ZydisDecoder *dec, const u8 *p, u32 n,
			      ZydisDecodedInstruction *zi, ZydisDecodedOperand *op)
{
	u8 b[ZYDIS_MAX_INSTRUCTION_LENGTH];
	u32 len = 0, locks = 0;
	bool prefixes = true;
	ZyanStatus st;

	for (u32 i = 0; i < n && i < sizeof(b); i++) {
		if (prefixes && p[i] == 0xf0) {
			locks++;
			continue;
		}
		prefixes &= p[i] != 0x0f;
		b[len++] = p[i];
	}
	st = ZydisDecoderDecodeFull(dec, b, len, zi, op);
	if (!ZYAN_SUCCESS(st))
		return ZYDIS_STATUS_ILLEGAL_LOCK;
	if (zi->mnemonic != ZYDIS_MNEMONIC_MOV || zi->opcode_map != ZYDIS_OPCODE_MAP_0F ||
	    (zi->opcode != 0x20 && zi->opcode != 0x22) || zi->raw.modrm.reg || zi->raw.rex.R)
		return ZYDIS_STATUS_ILLEGAL_LOCK;
	if (zi->length + locks > ZYDIS_MAX_INSTRUCTION_LENGTH)
		return ZYDIS_STATUS_INSTRUCTION_TOO_LONG;
	zi->length = (u8)(zi->length + locks);
	zi->attributes |= ZYDIS_ATTRIB_HAS_LOCK;
	zi->raw.prefixes[zi->raw.prefix_count++] = (__typeof__(zi->raw.prefixes[0])){
		.type = ZYDIS_PREFIX_TYPE_EFFECTIVE, .value = 0xf0,
	};
	return st;
}

ZyanStatus insn_zydis(const ZydisDecoder *dec, const u8 *p, u32 n, ZydisDecodedInstruction *zi,
		      ZydisDecodedOperand *op)
{
	ZyanStatus st = ZydisDecoderDecodeFull(dec, p, n, zi, op);

	return unlikely(st == ZYDIS_STATUS_ILLEGAL_LOCK) ? alt_mov_cr8(dec, p, n, zi, op) : st;
}

int insn_decode(struct insn *in, const u8 *bytes, u32 n, u32 mode)
{
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	u32 size = mode == 8 ? MODE_SIZE64 : mode == 4 ? MODE_SIZE32 : MODE_SIZE16;
	ZyanStatus st = insn_zydis(&engine_decoder[size], bytes, n, &zi, op);

	if (ZYAN_SUCCESS(st))
		return insn_from_zydis(in, &zi, op, bytes, size);
	if (st == ZYDIS_STATUS_NO_MORE_DATA)
		return n >= 15 ? -E2BIG : -EAGAIN;
	if (st == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
		return -E2BIG;
	return -EILSEQ;
}

/* Has it MMX registers among its operands? Of what has a memory operand, and MASKMOVQ. */
static bool is_mmx(const struct insn *in)
{
	bool plain = !(in->prefixes & PFX_OPSIZE);
	u8 op = in->opcode;

	if (in->prefixes & (PFX_REP | PFX_REPNE))
		return false;
	switch (in->map) {
	case 1:
		if (op == 0x2c || op == 0x2d)	/* CVTTPS2PI, CVTPS2PI; with 66 of doubles */
			return true;
		if (op == 0xc4 || op == 0xe7 || (op >= 0xd1 && op <= 0xfe))
			return plain;
		return plain && op >= 0x60 && op <= 0x7f && op != 0x77;
	case 2:
		return plain && (op <= 0x0b || (op >= 0x1c && op <= 0x1e));
	case 3:
		return plain && op == 0x0f;
	default:
		return false;
	}
}

bool insn_waits(const struct insn *in)
{
	u32 ext = in->reg & 7;

	if (in->map)
		return is_mmx(in);
	/* FNSTENV, FNSTCW, FNSAVE and FNSTSW do not wait. */
	return (in->opcode & 0xf8) == 0xd8 &&
	       !((in->opcode == 0xd9 || in->opcode == 0xdd) && ext >= 6);
}

bool insn_is_flush(const struct insn *in)
{
	return insn_rows[in->mnemonic].way == WAY_FLUSH;
}

bool insn_is_bitstring(const struct insn *in)
{
	return in->has_mem && in->map == 1 &&
	       (in->opcode == 0xa3 || in->opcode == 0xab || in->opcode == 0xb3 ||
		in->opcode == 0xbb);
}

bool insn_needs_alignment(const struct insn *in)
{
	if (!in->has_mem || in->memsize < 16 || in->map == 0)
		return false;
	if ((in->map == 2 && in->opcode >= 0xc8 && in->opcode <= 0xcd) ||
	    (in->map == 3 && in->opcode == 0xcc))
		return false;	/* SHA: AMD does not check */
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_MOVUPS: case ZYDIS_MNEMONIC_MOVUPD: case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_LDDQU: case ZYDIS_MNEMONIC_PCMPESTRI: case ZYDIS_MNEMONIC_PCMPESTRM:
	case ZYDIS_MNEMONIC_PCMPISTRI: case ZYDIS_MNEMONIC_PCMPISTRM:
		return false;
	case ZYDIS_MNEMONIC_VMOVAPS: case ZYDIS_MNEMONIC_VMOVAPD: case ZYDIS_MNEMONIC_VMOVDQA:
	case ZYDIS_MNEMONIC_VMOVNTPS: case ZYDIS_MNEMONIC_VMOVNTPD: case ZYDIS_MNEMONIC_VMOVNTDQ:
	case ZYDIS_MNEMONIC_VMOVNTDQA: case ZYDIS_MNEMONIC_VMOVDQA32: case ZYDIS_MNEMONIC_VMOVDQA64:
		return true;
	default:
		return in->memsize == 16 && !(in->map & 8);
	}
}

bool insn_may_skip_store(const struct insn *in)
{
	return in->mem_w && (insn_rows[in->mnemonic].rules & R_SKIPS);
}

u32 insn_align_mask(const struct insn *in, u32 size)
{
	/* What has an alignment of its own raises #GP; elements under a mask have none. */
	if (insn_needs_alignment(in) || insn_is_vmaskmov(in))
		return 0;
	switch (size) {
	case 2: case 4: case 8: case 16: return size - 1;
	case 10: case 32: return 7;	/* as measured: the parts' alignment */
	case 14: case 94: return 1;	/* x87 environment and state, 16-bit form */
	case 28: case 108: return 3;
	default: return 0;
	}
}

/* Bytes by which a bit offset moves an operand of `size` bytes. */
s64 insn_bit_displacement(u64 offset, u32 size)
{
	s64 v = size == 8 ? (s64)offset : size == 4 ? (s32)offset : (s16)offset;

	return (v >> 3) & -(s64)size;
}

u64 insn_ea(const struct cpu *c, const struct insn *in)
{
	u64 a = (u64)in->disp;

	if (in->base == INSN_RIP)
		a += c->rip + in->len;
	else if (in->base != INSN_NOREG)
		a += c->gpr[in->base];
	if (in->index != INSN_NOREG)
		a += c->gpr[in->index] * in->scale;
	if (insn_is_bitstring(in))
		a += (u64)insn_bit_displacement(c->gpr[in->reg], in->opsize);
	if (in->addrsize == 4)
		a = (u32)a;
	else if (in->addrsize == 2)
		a = (u16)a;
	return a;
}

void insn_retire(struct cpu *c, const struct insn *in)
{
	c->rip += in->len;
	if (in->mode == 4)
		c->rip = (u32)c->rip;
	else if (in->mode == 2)
		c->rip = (u32)c->rip; /* 16-bit code may run past 64 KiB only by faulting */
}

u64 insn_reg(const struct cpu *c, u8 r, u32 size)
{
	u64 v = c->gpr[r];

	return size == 8 ? v : size == 4 ? (u32)v : size == 2 ? (u16)v : (u8)v;
}

void insn_set_reg(struct cpu *c, u8 r, u32 size, u64 v)
{
	switch (size) {
	case 8: c->gpr[r] = v; break;
	case 4: c->gpr[r] = (u32)v; break;
	case 2: c->gpr[r] = (c->gpr[r] & ~0xffffull) | (u16)v; break;
	default: c->gpr[r] = (c->gpr[r] & ~0xffull) | (u8)v; break;
	}
}
