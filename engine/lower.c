/* SPDX-License-Identifier: MIT */
/*
 * engine/lower.c - computational instructions: one re-encoding rule for all.
 * Opcode, immediate and operation stay; register fields are renamed and the
 * memory operand is replaced by a plain host pointer.
 */
#include "engine/emit.h"

/* RAX RCX RDX RBX RSP RBP RSI RDI R8..R15 */
const u8 engine_hreg[16] = {
	H_RAX, H_R14, H_RDX, H_RBX, H_R13, H_RBP, H_R15, H_RDI,
	H_R8, H_R9, H_R10, H_R11, H_R12, HREG_MEM, HREG_MEM, HREG_MEM,
};

enum field { F_REG, F_RM, F_VVVV, F_OPC, F_NONE };

struct greg_field {
	enum field where;
	u8 greg;
	u8 size;
	bool high;	/* AH BH CH DH */
	bool load, store;
	int host;
	int home;	/* >= 0: lives in this host register, but the encoding cannot name it */
};

struct reenc {
	struct greg_field f[4];
	u32 n;
	u32 used;	/* host registers the instruction touches */
	bool high;
	bool writes_rcx;
	bool vector;
};

static bool is_gpr(ZydisRegister r, u8 *size, bool *high)
{
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
	u8 id = (u8)ZydisRegisterGetId(r);

	if (size != 1)
		return id;
	if (high)
		return (u8)(r - ZYDIS_REGISTER_AH); /* AH -> RAX ... BH -> RBX */
	if (r <= ZYDIS_REGISTER_BL)
		return (u8)(r - ZYDIS_REGISTER_AL);
	return (u8)(r - ZYDIS_REGISTER_SPL + 4);
}

static void collect(struct reenc *x, const struct di *d)
{
	*x = (struct reenc){ 0 };
	for (u32 i = 0; i < d->zi.operand_count; i++) {
		const ZydisDecodedOperand *o = &d->op[i];
		u8 size = 0;
		bool high = false;

		if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		if (!is_gpr(o->reg.value, &size, &high)) {
			ZydisRegisterClass k = ZydisRegisterGetClass(o->reg.value);

			if (k == ZYDIS_REGCLASS_MMX || k == ZYDIS_REGCLASS_XMM || k == ZYDIS_REGCLASS_YMM)
				x->vector = true;
			continue;
		}
		u8 g = gpr_num(o->reg.value, size, high);
		bool wr = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
		enum field w = F_NONE;

		switch (o->encoding) {
		case ZYDIS_OPERAND_ENCODING_MODRM_REG: w = F_REG; break;
		case ZYDIS_OPERAND_ENCODING_MODRM_RM: w = F_RM; break;
		case ZYDIS_OPERAND_ENCODING_NDSNDD: w = F_VVVV; break;
		case ZYDIS_OPERAND_ENCODING_OPCODE: w = F_OPC; break;
		default: break;
		}
		if (w == F_NONE) {
			if (g == R_RCX) {
				x->used |= BIT(H_RCX);
				x->writes_rcx |= wr;
			} else if (hreg(g) >= 0) {
				x->used |= BIT(hreg(g));
			}
			continue;
		}
		struct greg_field *f = &x->f[x->n++];

		*f = (struct greg_field){
			.where = w, .greg = g, .size = size, .high = high,
			/* Everything but a full write keeps old bits; BSF and BSR leave the
			 * register alone when they find nothing. */
			.load = size < 4 || d->zi.mnemonic == ZYDIS_MNEMONIC_BSF ||
				d->zi.mnemonic == ZYDIS_MNEMONIC_BSR || (o->actions & (ZYDIS_OPERAND_ACTION_MASK_READ |
							   ZYDIS_OPERAND_ACTION_CONDWRITE)),
			.store = wr,
		};
		x->high |= high;
	}
}

static int pick_spill(u32 used, bool legacy)
{
	static const u8 order[] = { H_R8, H_R9, H_R10, H_R11, H_R12, H_RDI, H_RBP, H_RBX, H_RDX, H_RAX };

	for (u32 i = legacy ? 5 : 0; i < ARRAY_SIZE(order); i++)
		if (!(used & BIT(order[i])))
			return order[i];
	return H_RAX;
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
static bool needs_66(const struct di *d, const struct reenc *x)
{
	const ZydisDecodedInstruction *zi = &d->zi;

	if (has_mandatory(zi, 0x66))
		return true;
	if (zi->operand_width != 16 || x->vector)
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

static u32 field_host(const struct reenc *x, enum field w, u32 raw)
{
	for (u32 i = 0; i < x->n; i++)
		if (x->f[i].where == w)
			return (u32)x->f[i].host;
	return raw;
}

static bool has_field(const struct reenc *x, enum field w)
{
	for (u32 i = 0; i < x->n; i++)
		if (x->f[i].where == w)
			return true;
	return false;
}

static void emit_bytes(struct translator *t, const struct di *d, const struct reenc *x, int ptr,
		       s32 off)
{
	const ZydisDecodedInstruction *zi = &d->zi;
	bool mem = d->n_acc && zi->raw.modrm.mod != 3 && (zi->attributes & ZYDIS_ATTRIB_HAS_MODRM);
	bool modrm = zi->attributes & ZYDIS_ATTRIB_HAS_MODRM;
	u32 raw_r = zi->raw.modrm.reg, raw_b = zi->raw.modrm.rm;
	u32 opc = zi->opcode;
	bool vex = zi->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
	bool w64 = t64(t) && (vex ? zi->raw.vex.W : zi->raw.rex.W);

	/* Vector register numbers use the extension bits as they stand. */
	if (vex) {
		raw_r |= zi->raw.vex.R ? 0 : 8;
		raw_b |= zi->raw.vex.B ? 0 : 8;
		if (!t64(t)) {
			raw_r &= 7;
			raw_b &= 7;
		}
	} else {
		raw_r |= (u32)zi->raw.rex.R << 3;
		raw_b |= (u32)zi->raw.rex.B << 3;
	}

	u32 reg = field_host(x, F_REG, raw_r);
	u32 rm = mem ? 0 : field_host(x, F_RM, raw_b);
	u32 base = mem ? (ptr < 0 ? 0 : (u32)ptr) : rm;
	/* One-byte INC/DEC are REX prefixes on the host. */
	bool incdec = !vex && zi->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && opc >= 0x40 && opc <= 0x4f;
	u32 oreg = 0;

	if (has_field(x, F_OPC)) {
		oreg = field_host(x, F_OPC, 0);
		base = oreg;
	}
	if (vex) {
		u32 vvvv = 15u - (u32)zi->raw.vex.vvvv;

		if (!t64(t))
			vvvv &= 7;
		if (has_field(x, F_VVVV))
			vvvv = field_host(x, F_VVVV, 0);
		b1(t, 0xc4);
		b1(t, (reg & 8 ? 0 : 0x80) | 0x40 | (base & 8 ? 0 : 0x20) | zi->raw.vex.m_mmmm);
		/* W widens general registers; outside 64-bit mode it is ignored for them. */
		bool w = x->n && !t64(t) ? false : zi->raw.vex.W;

		b1(t, (w ? 0x80u : 0) | (~vvvv & 15) << 3 | (u32)zi->raw.vex.L << 2 | zi->raw.vex.pp);
	} else {
		if (needs_66(d, x))
			b1(t, 0x66);
		if (has_mandatory(zi, 0xf2))
			b1(t, 0xf2);
		if (has_mandatory(zi, 0xf3))
			b1(t, 0xf3);
		if (zi->attributes & ZYDIS_ATTRIB_HAS_LOCK)
			b1(t, 0xf0);

		u32 r = (w64 ? 8u : 0) | ((reg >> 3) & 1) << 2 | ((base >> 3) & 1);

		if (!modrm && !has_field(x, F_OPC))
			r &= 8;
		bool force = false;

		for (u32 i = 0; i < x->n; i++)
			if (x->f[i].size == 1 && !x->f[i].high && x->f[i].host >= 4)
				force = true;
		if (r || force)
			b1(t, 0x40 | r);
		switch (zi->opcode_map) {
		case ZYDIS_OPCODE_MAP_0F: b1(t, 0x0f); break;
		case ZYDIS_OPCODE_MAP_0F38: b2(t, 0x0f, 0x38); break;
		case ZYDIS_OPCODE_MAP_0F3A: b2(t, 0x0f, 0x3a); break;
		default: break;
		}
	}
	if (incdec) {
		b2(t, 0xff, 0xc0 | (opc & 8) | (oreg & 7));
	} else {
		if (has_field(x, F_OPC)) {
			bool high = false;

			for (u32 i = 0; i < x->n; i++)
				high |= x->f[i].where == F_OPC && x->f[i].high;
			opc = (opc & ~7u) | (high ? 4 : 0) | (oreg & 7);
			if (high)
				opc = (opc & ~7u) | ((oreg & 3) | 4);
		} else if (!vex && zi->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && opc == 0x82) {
			opc = 0x80;
		}
		b1(t, opc);
	}
	if (modrm) {
		u32 rfield = reg & 7, mfield = rm & 7;

		for (u32 i = 0; i < x->n; i++) {
			if (!x->f[i].high)
				continue;
			if (x->f[i].where == F_REG)
				rfield = ((u32)x->f[i].host & 3) | 4;
			else if (x->f[i].where == F_RM)
				mfield = ((u32)x->f[i].host & 3) | 4;
		}
		if (mem)
			modrm_mem(t, rfield, ptr, off);
		else
			b1(t, 0xc0 | rfield << 3 | mfield);
	}
	for (u32 i = 0; i < 2; i++) {
		if (!zi->raw.imm[i].size)
			continue;
		for (u32 k = 0; k < zi->raw.imm[i].size / 8u; k++)
			b1(t, d->in.bytes[zi->raw.imm[i].offset + k]);
	}
}

static void load_field(struct translator *t, const struct greg_field *f)
{
	if (f->home >= 0)
		mov_rr(t, (u32)f->host, (u32)f->home);
	else
		ld_abs(t, (u32)f->host, greg_mem(t, f->greg));
}

static void store_field(struct translator *t, const struct greg_field *f)
{
	if (f->home < 0)
		st_abs(t, (u32)f->host, greg_mem(t, f->greg));
	else
		mov_rr(t, (u32)f->home, (u32)f->host);
}

/*
 * ptr/off: where the memory operand is (ptr < 0: absolute). keep_ptr: SCR_PTR
 * must survive, a later instruction of the group uses it.
 */
void emit_compute(struct translator *t, struct di *d, int ptr, s32 off, bool keep_ptr)
{
	struct reenc x;
	int spill[2] = { -1, -1 };
	u32 n_spill = 0;

	collect(&x, d);
	for (u32 i = 0; i < x.n; i++)
		if (hreg(x.f[i].greg) >= 0)
			x.used |= BIT(hreg(x.f[i].greg));

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
		struct greg_field *f = &x.f[i];

		f->host = hreg(f->greg);
		f->home = -1;
		if (f->greg == R_RCX && d->needs_rcx) {
			f->host = H_RCX;
			x.writes_rcx |= f->store;
			f->store = f->load = false;
			continue;
		}
		/* AH..DH exclude a REX prefix, and with it the upper host registers that
		 * guest RSP, RSI and RCX live in. */
		if (x.high && f->host >= 8) {
			f->home = f->host;
			f->host = -1;
		}
		if (f->host >= 0) {
			f->store = f->load = false;
			continue;
		}
		for (u32 k = 0; k < i; k++) /* the same register twice */
			if (x.f[k].greg == f->greg) {
				f->host = x.f[k].host;
				if (f->load && !x.f[k].load)
					load_field(t, f);
				x.f[k].store |= f->store;
				f->store = false;
			}
		if (f->host >= 0)
			continue;
		if (!(busy & BIT(SCR_TMP))) {
			f->host = SCR_TMP;
		} else if (!(busy & BIT(SCR_PTR)) && !keep_ptr) {
			f->host = SCR_PTR;
		} else {
			f->host = pick_spill(x.used | busy, x.high);
			x.used |= BIT(f->host);
			st_abs(t, (u32)f->host, &t->e->spill[n_spill]);
			spill[n_spill++] = f->host;
		}
		busy |= BIT(f->host);
		if (f->load)
			load_field(t, f);
	}

	if (d->bitop) {
		/* The address has been moved already: only the offset inside the
		 * operand is left. pext rsi, reg, [mask] is an AND without flags. */
		for (u32 i = 0; i < x.n; i++) {
			if (x.f[i].where != F_REG)
				continue;
			u32 s = d->in.opsize == 8 ? 2 : d->in.opsize == 4 ? 1 : 0;
			u32 h = (u32)x.f[i].host;

			b3(t, 0xc4, 0xe2, 0x80 | (~h & 15) << 3 | 2);
			b3(t, 0xf5, 0x04 | SCR_TMP << 3, 0x25);
			d4(t, lo32(&t->e->bit_mask[s]));
			x.f[i].host = SCR_TMP;
		}
	}
	for (u32 i = 0; i < n_spill; i++)
		t->spill_reg[i] = (u8)spill[i];
	t->n_spilled = n_spill;
	emit_bytes(t, d, &x, ptr, off);

	for (u32 i = 0; i < x.n; i++)
		if (x.f[i].store)
			store_field(t, &x.f[i]);
	if (x.writes_rcx)
		mov_rr(t, engine_hreg[R_RCX], H_RCX);
	for (u32 i = 0; i < n_spill; i++)
		ld_abs(t, (u32)spill[i], &t->e->spill[i]);
}

/* Host register that holds guest register g, loading it into tmp when it is in memory. */
int load_greg(struct translator *t, u8 g, int tmp)
{
	int h = hreg(g);

	if (h >= 0)
		return h;
	ld_abs(t, (u32)tmp, greg_mem(t, g));
	return tmp;
}

/* tmp (or a host register) to a guest register, operand size 2, 4 or 8. */
void store_greg(struct translator *t, u8 g, int src, u32 size)
{
	int h = hreg(g);

	if (h >= 0) {
		if (size == 2) {
			b1(t, 0x66);
			op_rr(t, false, 0x8b, (u32)h, (u32)src);
		} else if (size == 4) {
			mov_rr32(t, (u32)h, (u32)src);
		} else {
			mov_rr(t, (u32)h, (u32)src);
		}
		return;
	}
	if (size == 2) {
		b1(t, 0x66);
		op_abs(t, false, 0x89, (u32)src, greg_mem(t, g));
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
	bool direct = dst >= 0 && in->addrsize == 8 && in->opsize == 8;

	if (in->base == INSN_RIP) {
		u64 v = d->rip + in->len + (u64)disp;

		if (in->addrsize == 4)
			v = (u32)v;
		mov_ri(t, SCR_TMP, in->opsize == 4 ? (u32)v : v);
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
				int b = dst >= 0 ? dst : H_RDI;

				if (b == H_RDI && dst != H_RDI)
					st_abs(t, H_RDI, &t->e->spill[0]);
				ld_abs(t, (u32)b, greg_mem(t, in->index));
				lea(t, in->addrsize == 8, SCR_TMP, SCR_TMP, b, in->scale, (s32)disp);
				if (b == H_RDI && dst != H_RDI)
					ld_abs(t, H_RDI, &t->e->spill[0]);
				store_greg(t, in->reg, SCR_TMP, in->opsize);
				return;
			}
		}
	}
	if (direct) {
		lea(t, true, (u32)dst, base, index, in->scale, (s32)disp);
		return;
	}
	lea(t, in->addrsize == 8 && in->opsize == 8, SCR_TMP, base, index, in->scale, (s32)disp);
	if (in->addrsize == 2)
		movzx16(t, SCR_TMP, SCR_TMP);
	store_greg(t, in->reg, SCR_TMP, in->opsize);
}
