/* SPDX-License-Identifier: MIT */
/*
 * engine/classify.c - which way an instruction goes: the table's way (engine/insns.h), made
 * exact by its operands and the mode. What the table does not list is #UD.
 */
#include "engine/insns.h"
#include "engine/translate_priv.h"

static bool uses_class(const struct translator *t, ZydisRegisterClass a)
{
	for (u32 i = 0; i < t->zi.operand_count; i++)
		if (t->op[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ZydisRegisterGetClass(t->op[i].reg.value) == a)
			return true;
	return false;
}

/* What SSE has added to MMX needs no more than MMX. */
static u8 state_of(const struct translator *t, u8 state)
{
	if (state == STATE_SSE && uses_class(t, ZYDIS_REGCLASS_MMX) &&
	    !uses_class(t, ZYDIS_REGCLASS_XMM))
		return STATE_MMX;
	return state;
}

/* Is the FPU, SSE or AVX state this instruction needs enabled? */
static bool state_allowed(struct translator *t, struct di *d, u8 state)
{
	static const u32 needs[] = {
		[STATE_X87] = MODE_X87, [STATE_MMX] = MODE_X87, [STATE_SSE] = MODE_SSE,
		[STATE_AVX] = MODE_AVX,
		[STATE_AVX512] = MODE_AVX512,
	};

	d->fpu = state != STATE_NONE;
	if (t->zi.mnemonic == ZYDIS_MNEMONIC_FWAIT)
		return !(t->mode & MODE_FWAIT);
	return !needs[state] || (t->mode & needs[state]);
}

static void set_flags(const struct translator *t, struct di *d, u16 rules)
{
	const ZydisAccessedFlags *f = t->zi.cpu_flags;

	if (!f)
		return;
	d->fl_read = (u16)(f->tested & FL_ARITH);
	d->fl_kill = (u16)((f->modified | f->set_0 | f->set_1 | f->undefined) & FL_ARITH);

	/* A count of 0 leaves all flags alone (APM3, shifts); rotates never touch more than CF
	 * and OF. */
	if (rules & R_COUNT) {
		const ZydisDecodedOperand *count = &t->op[t->zi.operand_count_visible - 1];

		if (count->type != ZYDIS_OPERAND_TYPE_IMMEDIATE || !(count->imm.value.u & 31))
			d->fl_kill = 0;
	}
	/* Zydis forgets what it reads. */
	if (t->zi.mnemonic == ZYDIS_MNEMONIC_LAHF) {
		d->fl_read = FL_ARITH & 0xff;
		d->fl_kill = 0;
	}
}

static void add_stack_access(struct translator *t, struct di *d, u8 base, s64 disp, u32 size,
			     bool write)
{
	struct access *a = &d->acc[d->n_acc++];

	*a = (struct access){
		.base = base, .index = INSN_NOREG, .scale = 1, .seg = S_SS, .write = write,
		.stack = true, .size = size, .disp = disp, .bitreg = INSN_NOREG,
		.addrsize = t64(t) ? 8 : (t->mode & MODE_SS32) ? 4 : 2,
	};
}

static void add_mem_access(const struct translator *t, struct di *d)
{
	const struct insn *in = &d->in;

	for (u32 i = 0; i < t->zi.operand_count; i++)
		if (t->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    t->op[i].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
			d->acc[d->n_acc++] = (struct access){
				.base = in->base, .index = in->index, .scale = in->scale,
				.seg = in->seg, .addrsize = in->addrsize, .write = in->mem_w,
				.size = t->op[i].size / 8u, .disp = in->disp,
				.bitreg = insn_is_bitstring(in) ? in->reg : INSN_NOREG,
			};
			if (insn_is_bitstring(in)) {
				d->bitop = true;
				d->acc[d->n_acc - 1].size = in->opsize;
			}
			return;
		}
}

static void classify_needs_rcx(const struct translator *t, struct di *d)
{
	bool high = false, cl = false;

	for (u32 i = 0; i < t->zi.operand_count; i++) {
		const ZydisDecodedOperand *o = &t->op[i];

		if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		ZydisRegister r = o->reg.value;
		bool rcx = r == ZYDIS_REGISTER_CL || r == ZYDIS_REGISTER_CX ||
			   r == ZYDIS_REGISTER_ECX || r == ZYDIS_REGISTER_RCX;

		if (r == ZYDIS_REGISTER_CH)
			d->needs_rcx = true;
		if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
			high = true;
		if (rcx)
			cl = true;
		/* Fixed registers have no field to rename. */
		if (rcx && o->encoding == ZYDIS_OPERAND_ENCODING_NONE)
			d->needs_rcx = true;
	}
	if (high && cl)
		d->needs_rcx = true;
}

/* Left to C, unless it may concern the local APIC. */
static void try_apic(const struct translator *t, struct di *d)
{
	d->cls = apic_class(t, &d->in, t->zi.mnemonic);
	if (d->cls == CL_EXEC)
		return;
	d->needs_rcx = true;
	d->exits = true;
}

static void at_cpl0(const struct translator *t, struct di *d, u8 cls, bool possible)
{
	d->cls = CL_EXEC;
	if (!possible || !(t->mode & MODE_CPL0) || t->mode & MODE_STEP || d->in.prefixes & PFX_LOCK)
		return;
	d->cls = cls;
	d->needs_rcx = true;
	d->exits = cls == CL_STI;
}

/* MOV from and to system registers; the rest is left to the host. */
static bool system_mov(const struct translator *t, struct di *d)
{
	const struct insn *in = &d->in;

	for (u32 i = 0; i < 2; i++) {
		if (t->op[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		switch (ZydisRegisterGetClass(t->op[i].reg.value)) {
		case ZYDIS_REGCLASS_CONTROL:
			try_apic(t, d);
			/* LOCK MOV CR0 */
			if ((in->prefixes & PFX_LOCK) && (t->e->c->insn_missing & NEED(CR8_LEGACY)))
				d->cls = CL_UD;
			return true;
		case ZYDIS_REGCLASS_SEGMENT:
			d->cls = in->opcode == 0x8c && in->mod == 3 && in->reg <= S_GS ? CL_GET_SREG
										       : CL_EXEC;
			return true;
		case ZYDIS_REGCLASS_DEBUG:
			d->cls = CL_EXEC;
			return true;
		case ZYDIS_REGCLASS_TEST:
			d->cls = CL_UD;
			return true;
		default:
			break;
		}
	}
	return false;
}

static bool is_sreg(const ZydisDecodedOperand *o)
{
	return o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

static void push(struct translator *t, struct di *d)
{
	const struct insn *in = &d->in;

	if (is_sreg(&t->op[0])) {
		d->cls = CL_EXEC;
		return;
	}
	switch (t->op[0].type) {
	case ZYDIS_OPERAND_TYPE_REGISTER: d->cls = CL_PUSH_REG; break;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE: d->cls = CL_PUSH_IMM; break;
	default:
		d->cls = CL_PUSH_MEM;
		add_mem_access(t, d);
	}
	add_stack_access(t, d, R_RSP, -(s64)in->opsize, in->opsize, true);
}

static void pop(struct translator *t, struct di *d)
{
	if (t->op[0].type != ZYDIS_OPERAND_TYPE_REGISTER) {
		d->cls = CL_SLOW;
		return;
	}
	d->cls = is_sreg(&t->op[0]) ? CL_EXEC : CL_POP_REG;
	if (d->cls == CL_POP_REG)
		add_stack_access(t, d, R_RSP, 0, d->in.opsize, false);
}

static bool is_far(const ZydisDecodedInstruction *zi)
{
	return zi->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

/* JMP and CALL */
static void jump(struct translator *t, struct di *d, u8 direct, u8 indirect)
{
	if (is_far(&t->zi)) {
		d->cls = CL_EXEC;
		return;
	}
	d->cls = t->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? direct : indirect;
	if (d->cls == indirect)
		add_mem_access(t, d);
	if (direct == CL_CALL)
		add_stack_access(t, d, R_RSP, -(s64)d->in.opsize, d->in.opsize, true);
}

static void ret(struct translator *t, struct di *d)
{
	if (is_far(&t->zi) || d->in.opcode == 0xca || d->in.opcode == 0xcb) {
		d->cls = CL_EXEC;
		return;
	}
	d->cls = CL_RET;
	add_stack_access(t, d, R_RSP, 0, d->in.opsize, false);
}

/* To the host as it is, but for its registers and its memory operand. */
static void host(struct translator *t, struct di *d)
{
	if (d->in.map == 0 && d->in.opcode >= 0xa0 && d->in.opcode <= 0xa3) {
		d->cls = CL_MOFFS;
		add_mem_access(t, d);
		return;
	}
	d->cls = CL_COMPUTE;
	classify_needs_rcx(t, d);
	add_mem_access(t, d);
}

/* Forms that Zydis takes and AMD's CPUs refuse: VEX in real mode, and of 64-bit mode outside of
 * it. */
static bool refused_form(const struct translator *t)
{
	if (t->zi.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX)
		return t->mode & MODE_NOVEX;
	if (t->zi.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX)
		return false;
	if (t->mode & MODE_NOVEX)
		return true;
	return !t64(t) && t->zi.raw.vex.W &&
	       (t->zi.mnemonic == ZYDIS_MNEMONIC_VPEXTRD ||
		t->zi.mnemonic == ZYDIS_MNEMONIC_VPINSRD);
}

static bool known_encoding(const ZydisDecodedInstruction *zi)
{
	/* Zydis knows the VEX forms of Knights Corner whatever it is told. */
	return zi->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
	       zi->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
	       (zi->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX &&
		zi->meta.isa_set != ZYDIS_ISA_SET_KNCV);
}

/* Neither looks at the flags nor changes them, and leaves them to nobody else before its memory
 * operand has been accessed. */
static bool spares_flags(const struct di *d)
{
	if (d->fpu || d->n_acc > 1)
		return false;
	switch (d->cls) {
	case CL_NOP: case CL_LEA: case CL_MOFFS: case CL_PUSH_REG: case CL_PUSH_IMM:
	case CL_POP_REG: case CL_LEAVE: case CL_CALL: case CL_CALL_ON: case CL_CALL_IND:
	case CL_JMP_ON: case CL_JMP_IND: case CL_RET:
		return true;
	case CL_COMPUTE:
		switch (d->in.mnemonic) {
		case ZYDIS_MNEMONIC_MOV: case ZYDIS_MNEMONIC_MOVZX: case ZYDIS_MNEMONIC_MOVSX:
		case ZYDIS_MNEMONIC_MOVSXD:
			return !apic_insn(&d->in);
		}
		return false;
	default:
		return false;
	}
}

static void choose(struct translator *t, struct di *d)
{
	const ZydisDecodedInstruction *zi = &t->zi;
	const struct insn *in = &d->in;
	struct insn_row row = insn_row(zi);
	u8 state = state_of(t, row.state);

	set_flags(t, d, row.rules);
	d->rules = row.rules;
	if (!known_encoding(zi) || refused_form(t))
		row.way = WAY_REFUSED;
	if (unlikely(row.features & t->e->c->insn_missing) && !((row.rules & R_LM_BIT) && !t64(t)))
		row.way = WAY_REFUSED;
	if (row.way != WAY_REFUSED && !state_allowed(t, d, state)) {
		d->in.state = state;
		d->cls = CL_NM;
		return;
	}
	switch ((enum insn_way)row.way) {
	case WAY_REFUSED:
		d->cls = CL_UD;
		break;
	case WAY_C:
		d->cls = CL_EXEC;
		break;
	case WAY_SLOW:
		d->cls = CL_SLOW;
		break;
	case WAY_NOP:
		/* PREFETCH with a register is no NOP on AMD. */
		d->cls = in->map == 1 && in->opcode == 0x0d && in->mod == 3 ? CL_UD : CL_NOP;
		break;
	case WAY_FLUSH:		/* nothing to do but to see whether it may be done */
		d->cls = CL_NOP;
		add_mem_access(t, d);
		d->acc[0].size = 1;
		break;
	case WAY_MOV:
		if (system_mov(t, d))
			break;
		/* fall through */
	case WAY_HOST:
		host(t, d);
		break;
	case WAY_PUSH:
		push(t, d);
		break;
	case WAY_POP:
		pop(t, d);
		break;
	case WAY_LEAVE:
		if (!t64(t) && !(t->mode & MODE_SS32)) {
			d->cls = CL_SLOW;
			break;
		}
		d->cls = CL_LEAVE;
		add_stack_access(t, d, R_RBP, 0, in->opsize, false);
		break;
	case WAY_LEA:
		d->cls = t->op[1].type == ZYDIS_OPERAND_TYPE_MEMORY ? CL_LEA : CL_UD;
		break;
	case WAY_JCC:
		d->cls = CL_JCC;
		d->exits = true;
		break;
	case WAY_JCXZ: case WAY_LOOP:
		d->cls = row.way == WAY_LOOP ? CL_LOOP : CL_JCXZ;
		d->exits = true;
		d->needs_rcx = true;
		break;
	case WAY_JMP:
		jump(t, d, CL_JMP, CL_JMP_IND);
		break;
	case WAY_CALL:
		jump(t, d, CL_CALL, CL_CALL_IND);
		break;
	case WAY_RET:
		ret(t, d);
		break;
	/* Frequent in kernels and plain at CPL 0; the rest is C's. */
	case WAY_SWAPGS:
		at_cpl0(t, d, CL_SWAPGS, t64(t));
		break;
	case WAY_CLI:
		at_cpl0(t, d, CL_CLI, !(t->mode & MODE_L2_FLAGS));
		break;
	case WAY_STI:
		at_cpl0(t, d, CL_STI, t->e->c->ops->sti != NULL);
		break;
	case WAY_PUSHF:
		d->cls = CL_EXEC;
		if (in->opsize != 8 || t->mode & (MODE_L2_FLAGS | MODE_STEP))
			break;
		d->cls = CL_PUSHF;
		d->fl_read = FL_ARITH;
		d->fl_kill = 0;
		add_stack_access(t, d, R_RSP, -8, 8, true);
		break;
	case WAY_MSR:
		try_apic(t, d);
		break;
	case WAY_STRING:
		d->cls = CL_EXEC;
		if (rep_inline(t, in)) {
			d->cls = CL_REP;
			d->needs_rcx = true;
			d->exits = true;
		}
		break;
	}
}

void classify(struct translator *t, struct di *d)
{
	choose(t, d);
	/* C looks where it lies; or at what is stored. */
	if (d->cls == CL_COMPUTE && !(t->mode & MODE_BOUNCE) && d->n_acc &&
	    ((unlikely(t->e->c->bus_locks) && insn_is_locked(&d->in)) || insn_stores_env(&d->in))) {
		d->cls = CL_SLOW;
		d->n_acc = 0;
	}
	d->spares = spares_flags(d);
}
