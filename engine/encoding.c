/* SPDX-License-Identifier: MIT */
/*
 * engine/encoding.c - which registers an instruction names and where, and what else of its bytes
 * the host needs: everything that lower.c has to know to write it again, found once.
 */
#include "engine/emit.h"

static bool is_gpr(ZydisRegister r, u8 *size, bool *high)
{
	*high = false;
	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_GPR8:
		*size = 1;
		*high = r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH;
		return true;
	case ZYDIS_REGCLASS_GPR16: *size = 2; return true;
	case ZYDIS_REGCLASS_GPR32: *size = 4; return true;
	case ZYDIS_REGCLASS_GPR64: *size = 8; return true;
	default: return false;
	}
}

/* Zydis numbers AL CL DL BL AH CH DH BH SPL BPL SIL DIL R8B...: to register numbers. */
static u8 gpr_num(ZydisRegister r, u8 size, bool high)
{
	if (size != 1)
		return (u8)ZydisRegisterGetId(r);
	if (high)
		return (u8)(r - ZYDIS_REGISTER_AH); /* AH -> RAX ... BH -> RBX */
	if (r <= ZYDIS_REGISTER_BL)
		return (u8)(r - ZYDIS_REGISTER_AL);
	return (u8)(r - ZYDIS_REGISTER_SPL + 4);
}

void note_registers(struct translator *t, struct di *d)
{
	const ZydisDecodedOperand *op = t->op;
	bool reg0 = op[0].type == ZYDIS_OPERAND_TYPE_REGISTER;
	u8 size;
	bool high;

	for (u32 i = 0; i < t->zi.operand_count; i++)
		if (op[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    (op[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
		    is_gpr(op[i].reg.value, &size, &high))
			d->gpr_written |= (u16)BIT(gpr_num(op[i].reg.value, size, high));
	if (d->cls == CL_PUSH_REG || d->cls == CL_POP_REG) {
		d->greg = (u8)ZydisRegisterGetId(op[0].reg.value);
	} else if ((d->in.mnemonic == ZYDIS_MNEMONIC_ADD || d->in.mnemonic == ZYDIS_MNEMONIC_SUB) &&
		   t->zi.operand_width > 8 && reg0 && op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		d->greg = (u8)ZydisRegisterGetId(op[0].reg.value);
		d->add = d->in.mnemonic == ZYDIS_MNEMONIC_ADD ? 1 : -1;
	}
}

/* Fields that can be renamed, and registers without a field. Is there a vector register? */
static bool note_fields(struct translator *t, struct di *d)
{
	struct encoding *n = &d->enc;
	bool vector = false;

	for (u32 i = 0; i < t->zi.operand_count; i++) {
		const ZydisDecodedOperand *o = &t->op[i];
		bool wr = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
		enum field where;
		bool high;
		u8 size;

		if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		if (!is_gpr(o->reg.value, &size, &high)) {
			ZydisRegisterClass k = ZydisRegisterGetClass(o->reg.value);

			vector |= k == ZYDIS_REGCLASS_MMX || k == ZYDIS_REGCLASS_XMM ||
				  k == ZYDIS_REGCLASS_YMM;
			continue;
		}
		u8 g = gpr_num(o->reg.value, size, high);

		switch (o->encoding) {
		case ZYDIS_OPERAND_ENCODING_MODRM_REG: where = F_REG; break;
		case ZYDIS_OPERAND_ENCODING_MODRM_RM: where = F_RM; break;
		case ZYDIS_OPERAND_ENCODING_NDSNDD: where = F_VVVV; break;
		case ZYDIS_OPERAND_ENCODING_OPCODE: where = F_OPC; break;
		default:
			if (g == R_RCX) {
				n->used |= BIT(H_RCX);
				n->writes_rcx |= wr;
			} else if (hreg(g) >= 0) {
				n->used |= (u16)BIT(hreg(g));
			}
			continue;
		}
		n->f[n->n_fields++] = (struct greg_field){
			.where = (u8)where, .greg = g, .size = size, .high = high,
			/* Everything but a full write keeps old bits; BSF and BSR leave the
			 * register alone when they find nothing. */
			.load = size < 4 || d->in.mnemonic == ZYDIS_MNEMONIC_BSF ||
				d->in.mnemonic == ZYDIS_MNEMONIC_BSR ||
				(o->actions & (ZYDIS_OPERAND_ACTION_MASK_READ |
					       ZYDIS_OPERAND_ACTION_CONDWRITE)) != 0,
			.store = wr,
		};
		n->high |= high;
	}
	return vector;
}

static bool has_mandatory(const ZydisDecodedInstruction *zi, u8 v)
{
	for (u32 i = 0; i < zi->raw.prefix_count; i++)
		if (zi->raw.prefixes[i].value == v &&
		    zi->raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY)
			return true;
	return false;
}

/* Does the instruction's 16-bit form need a 66 prefix on the host? */
static bool needs_66(const ZydisDecodedInstruction *zi, bool vector)
{
	if (has_mandatory(zi, 0x66))
		return true;
	if (zi->operand_width != 16 || vector)
		return false;
	if (zi->meta.isa_ext == ZYDIS_ISA_EXT_X87) {
		switch (zi->mnemonic) { /* 14- and 94-byte environments */
		case ZYDIS_MNEMONIC_FNSTENV: case ZYDIS_MNEMONIC_FLDENV:
		case ZYDIS_MNEMONIC_FNSAVE: case ZYDIS_MNEMONIC_FRSTOR:
			return true;
		default:
			return false;
		}
	}
	switch (zi->meta.isa_ext) {
	case ZYDIS_ISA_EXT_MMX: case ZYDIS_ISA_EXT_SSE: case ZYDIS_ISA_EXT_SSE2:
	case ZYDIS_ISA_EXT_SSE3: case ZYDIS_ISA_EXT_SSSE3:
		return false;
	default:
		return true;
	}
}

static bool memory_for_gpr(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_VPINSRD: case ZYDIS_MNEMONIC_VPEXTRD: /* EVEX; see classify.c */
	case ZYDIS_MNEMONIC_VCVTSI2SS: case ZYDIS_MNEMONIC_VCVTSI2SD: case ZYDIS_MNEMONIC_VMOVD:
	case ZYDIS_MNEMONIC_VCVTUSI2SS: case ZYDIS_MNEMONIC_VCVTUSI2SD:
		return true;
	default:
		return false;
	}
}

static bool has_is4(const struct translator *t)
{
	for (u32 i = 0; i < t->zi.operand_count; i++)
		if (t->op[i].encoding == ZYDIS_OPERAND_ENCODING_IS4)
			return true;
	return false;
}

void note_encoding(struct translator *t, struct di *d)
{
	const ZydisDecodedInstruction *zi = &t->zi;
	struct encoding *n = &d->enc;
	bool vex = zi->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
	bool evex = zi->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;

	if (d->cls != CL_COMPUTE)
		return;
	bool vector = note_fields(t, d);

	/* Vector register numbers use the extension bits as they stand. */
	n->reg = zi->raw.modrm.reg;
	n->rm = zi->raw.modrm.rm;
	if (evex) {
		n->reg = d->in.reg;
		n->rm = d->in.rm;
		n->vvvv = t64(t) ? (u8)((15u - zi->raw.evex.vvvv) | !zi->raw.evex.V2 << 4)
				 : (u8)((15u - zi->raw.evex.vvvv) & 7);
		n->w = zi->raw.evex.W && (t64(t) || !(n->n_fields || memory_for_gpr(zi->mnemonic)));
		n->evex = true;
		n->evex_last = d->in.bytes[zi->raw.evex.offset + 3] & 0xf7;
		n->vex_lpp = zi->raw.evex.pp;
		n->vex_map = zi->raw.evex.mmm;
	} else if (vex) {
		n->vvvv = (u8)(15u - zi->raw.vex.vvvv);
		if (t64(t)) {
			n->reg |= zi->raw.vex.R ? 0 : 8;
			n->rm |= zi->raw.vex.B ? 0 : 8;
		} else {
			n->vvvv &= 7;
		}
		/* W widens general registers; outside 64-bit mode it is ignored for them, and for
		 * the memory in their place. The fourth register has no more than three bits
		 * there. */
		n->w = zi->raw.vex.W && (t64(t) || !(n->n_fields || memory_for_gpr(zi->mnemonic)));
		n->is4 = !t64(t) && has_is4(t);
		n->vex_lpp = (u8)(zi->raw.vex.L << 2 | zi->raw.vex.pp);
		n->vex_map = zi->raw.vex.m_mmmm;
	} else {
		n->reg |= (u8)(zi->raw.rex.R << 3);
		n->rm |= (u8)(zi->raw.rex.B << 3);
		n->w = t64(t) && zi->raw.rex.W;
		n->opsize = needs_66(zi, vector);
		n->repne = has_mandatory(zi, 0xf2);
		n->rep = has_mandatory(zi, 0xf3);
		n->lock = (zi->attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0;
	}
	for (u32 i = 0; i < 2; i++) {
		if (!zi->raw.imm[i].size)
			continue;
		if (!n->imm_len)
			n->imm_at = zi->raw.imm[i].offset;
		n->imm_len += zi->raw.imm[i].size / 8u;
	}
}
