/* SPDX-License-Identifier: MIT */
/*
 * engine/classify.c - which way an instruction goes. Everything the host can
 * execute on the guest's behalf is CL_COMPUTE; the list below names what must
 * not run natively. Unknown extensions are #UD, as on a CPU without them.
 */
#include "engine/translate_priv.h"

/* Extensions the virtual CPU can have (vcpu/cpuid.c offers a subset of them). */
static bool ext_known(const ZydisDecodedInstruction *zi)
{
	switch (zi->meta.isa_ext) {
	case ZYDIS_ISA_EXT_BASE: case ZYDIS_ISA_EXT_ADOX_ADCX: case ZYDIS_ISA_EXT_AES:
	case ZYDIS_ISA_EXT_AVX: case ZYDIS_ISA_EXT_AVX2: case ZYDIS_ISA_EXT_AVX2GATHER:
	case ZYDIS_ISA_EXT_AVXAES: case ZYDIS_ISA_EXT_BMI1: case ZYDIS_ISA_EXT_BMI2:
	case ZYDIS_ISA_EXT_CLFLUSHOPT: case ZYDIS_ISA_EXT_CLFSH: case ZYDIS_ISA_EXT_CLWB:
	case ZYDIS_ISA_EXT_F16C: case ZYDIS_ISA_EXT_FMA: case ZYDIS_ISA_EXT_INVPCID:
	case ZYDIS_ISA_EXT_LONGMODE: case ZYDIS_ISA_EXT_LZCNT: case ZYDIS_ISA_EXT_MMX:
	case ZYDIS_ISA_EXT_MOVBE: case ZYDIS_ISA_EXT_PAUSE: case ZYDIS_ISA_EXT_PCLMULQDQ:
	case ZYDIS_ISA_EXT_RDPID: case ZYDIS_ISA_EXT_RDRAND: case ZYDIS_ISA_EXT_RDSEED:
	case ZYDIS_ISA_EXT_RDTSCP: case ZYDIS_ISA_EXT_RDWRFSGS: case ZYDIS_ISA_EXT_SHA:
	case ZYDIS_ISA_EXT_SMAP: case ZYDIS_ISA_EXT_SSE: case ZYDIS_ISA_EXT_SSE2:
	case ZYDIS_ISA_EXT_SSE3: case ZYDIS_ISA_EXT_SSE4: case ZYDIS_ISA_EXT_SSE4A:
	case ZYDIS_ISA_EXT_SSSE3: case ZYDIS_ISA_EXT_X87: case ZYDIS_ISA_EXT_XSAVE:
	case ZYDIS_ISA_EXT_XSAVEC: case ZYDIS_ISA_EXT_XSAVEOPT: case ZYDIS_ISA_EXT_MONITOR:
	case ZYDIS_ISA_EXT_SVM: case ZYDIS_ISA_EXT_AMD3DNOW_PREFETCH:
	case ZYDIS_ISA_EXT_PREFETCHWT1:
		return true;
	default:
		return zi->mnemonic == ZYDIS_MNEMONIC_VMCALL;
	}
}

static bool left_to_c(const ZydisDecodedInstruction *zi)
{
	switch (zi->meta.category) {
	case ZYDIS_CATEGORY_STRINGOP: case ZYDIS_CATEGORY_IO: case ZYDIS_CATEGORY_IOSTRINGOP:
	case ZYDIS_CATEGORY_INTERRUPT: case ZYDIS_CATEGORY_SYSCALL: case ZYDIS_CATEGORY_SYSRET:
	case ZYDIS_CATEGORY_SYSTEM: case ZYDIS_CATEGORY_XSAVE: case ZYDIS_CATEGORY_XSAVEOPT:
	case ZYDIS_CATEGORY_RDWRFSGS: case ZYDIS_CATEGORY_RDPID: case ZYDIS_CATEGORY_DECIMAL:
	case ZYDIS_CATEGORY_SMAP: case ZYDIS_CATEGORY_VTX: case ZYDIS_CATEGORY_SEGOP:
		return true;
	default:
		break;
	}
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_PUSHF: case ZYDIS_MNEMONIC_PUSHFD: case ZYDIS_MNEMONIC_PUSHFQ:
	case ZYDIS_MNEMONIC_POPF: case ZYDIS_MNEMONIC_POPFD: case ZYDIS_MNEMONIC_POPFQ:
	case ZYDIS_MNEMONIC_PUSHA: case ZYDIS_MNEMONIC_PUSHAD: case ZYDIS_MNEMONIC_POPA:
	case ZYDIS_MNEMONIC_POPAD: case ZYDIS_MNEMONIC_ENTER: case ZYDIS_MNEMONIC_BOUND:
	case ZYDIS_MNEMONIC_CLI: case ZYDIS_MNEMONIC_STI: case ZYDIS_MNEMONIC_CLD:
	case ZYDIS_MNEMONIC_STD: case ZYDIS_MNEMONIC_CLTS: case ZYDIS_MNEMONIC_HLT:
	case ZYDIS_MNEMONIC_CPUID: case ZYDIS_MNEMONIC_RDTSC: case ZYDIS_MNEMONIC_RDTSCP:
	case ZYDIS_MNEMONIC_RDPMC: case ZYDIS_MNEMONIC_RDMSR: case ZYDIS_MNEMONIC_WRMSR:
	case ZYDIS_MNEMONIC_INVLPG: case ZYDIS_MNEMONIC_INVPCID: case ZYDIS_MNEMONIC_INVD:
	case ZYDIS_MNEMONIC_WBINVD: case ZYDIS_MNEMONIC_SWAPGS:
	case ZYDIS_MNEMONIC_LGDT: case ZYDIS_MNEMONIC_LIDT: case ZYDIS_MNEMONIC_SGDT:
	case ZYDIS_MNEMONIC_SIDT: case ZYDIS_MNEMONIC_LLDT: case ZYDIS_MNEMONIC_LTR:
	case ZYDIS_MNEMONIC_SLDT: case ZYDIS_MNEMONIC_STR: case ZYDIS_MNEMONIC_LAR:
	case ZYDIS_MNEMONIC_LSL: case ZYDIS_MNEMONIC_VERR: case ZYDIS_MNEMONIC_VERW:
	case ZYDIS_MNEMONIC_LMSW: case ZYDIS_MNEMONIC_SMSW: case ZYDIS_MNEMONIC_ARPL:
	case ZYDIS_MNEMONIC_MONITOR: case ZYDIS_MNEMONIC_MWAIT: case ZYDIS_MNEMONIC_PAUSE:
	case ZYDIS_MNEMONIC_LDS: case ZYDIS_MNEMONIC_LES: case ZYDIS_MNEMONIC_LFS:
	case ZYDIS_MNEMONIC_LGS: case ZYDIS_MNEMONIC_LSS: case ZYDIS_MNEMONIC_XLAT:
	case ZYDIS_MNEMONIC_SALC: case ZYDIS_MNEMONIC_AAA: case ZYDIS_MNEMONIC_AAS:
	case ZYDIS_MNEMONIC_AAM: case ZYDIS_MNEMONIC_AAD: case ZYDIS_MNEMONIC_DAA:
	case ZYDIS_MNEMONIC_DAS: case ZYDIS_MNEMONIC_XGETBV: case ZYDIS_MNEMONIC_XSETBV:
	case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64: case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64: case ZYDIS_MNEMONIC_RSM: case ZYDIS_MNEMONIC_IRET:
	case ZYDIS_MNEMONIC_IRETD: case ZYDIS_MNEMONIC_IRETQ: case ZYDIS_MNEMONIC_CLAC:
	case ZYDIS_MNEMONIC_STAC: case ZYDIS_MNEMONIC_VMCALL: case ZYDIS_MNEMONIC_VMMCALL:
	case ZYDIS_MNEMONIC_VMRUN: case ZYDIS_MNEMONIC_VMLOAD: case ZYDIS_MNEMONIC_VMSAVE:
	case ZYDIS_MNEMONIC_STGI: case ZYDIS_MNEMONIC_CLGI: case ZYDIS_MNEMONIC_SKINIT:
	case ZYDIS_MNEMONIC_INVLPGA: case ZYDIS_MNEMONIC_RDPID:
		return true;
	default:
		return false;
	}
}

static bool uses_class(const struct translator *t, ZydisRegisterClass a)
{
	for (u32 i = 0; i < t->zi.operand_count; i++)
		if (t->op[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ZydisRegisterGetClass(t->op[i].reg.value) == a)
			return true;
	return false;
}

/* SSE without a vector register among the operands. */
static bool uses_mxcsr_only(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_LDMXCSR: case ZYDIS_MNEMONIC_STMXCSR:
	case ZYDIS_MNEMONIC_CVTSS2SI: case ZYDIS_MNEMONIC_CVTTSS2SI:
	case ZYDIS_MNEMONIC_CVTSD2SI: case ZYDIS_MNEMONIC_CVTTSD2SI:
		return true;
	default:
		return false;
	}
}

/* Is the FPU, SSE or AVX state this instruction needs enabled? */
static bool fpu_allowed(struct translator *t, struct di *d)
{
	const ZydisDecodedInstruction *zi = &t->zi;
	u32 need = 0;

	if (zi->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
		if (uses_class(t, ZYDIS_REGCLASS_XMM) || uses_class(t, ZYDIS_REGCLASS_YMM) ||
		    zi->meta.isa_ext == ZYDIS_ISA_EXT_AVX)
			need = MODE_AVX;
	} else if (zi->meta.isa_ext == ZYDIS_ISA_EXT_X87 ||
		   zi->mnemonic == ZYDIS_MNEMONIC_FISTTP /* came with SSE3 */) {
		need = MODE_X87;
		if (zi->mnemonic == ZYDIS_MNEMONIC_FWAIT) {
			d->fpu = true;
			return !(t->mode & MODE_FWAIT);
		}
	} else if (uses_class(t, ZYDIS_REGCLASS_XMM) || uses_mxcsr_only(zi->mnemonic)) {
		need = MODE_SSE;
	} else if (uses_class(t, ZYDIS_REGCLASS_MMX) || zi->meta.isa_ext == ZYDIS_ISA_EXT_MMX) {
		need = MODE_X87;
	}
	d->fpu = need != 0;
	return !need || (t->mode & need);
}

static void set_flags(const struct translator *t, struct di *d)
{
	const ZydisAccessedFlags *f = t->zi.cpu_flags;

	if (!f)
		return;
	d->fl_read = (u16)(f->tested & FL_ARITH);
	d->fl_kill = (u16)((f->modified | f->set_0 | f->set_1 | f->undefined) & FL_ARITH);

	switch (t->zi.mnemonic) {
	case ZYDIS_MNEMONIC_SHL: case ZYDIS_MNEMONIC_SHR: case ZYDIS_MNEMONIC_SAR:
	case ZYDIS_MNEMONIC_ROL: case ZYDIS_MNEMONIC_ROR: case ZYDIS_MNEMONIC_RCL:
	case ZYDIS_MNEMONIC_RCR: case ZYDIS_MNEMONIC_SHLD: case ZYDIS_MNEMONIC_SHRD: {
		/* A count of 0 leaves all flags alone (APM3, shifts); rotates never
		 * touch more than CF and OF. */
		const ZydisDecodedOperand *count = &t->op[t->zi.operand_count_visible - 1];

		if (count->type != ZYDIS_OPERAND_TYPE_IMMEDIATE || !(count->imm.value.u & 31))
			d->fl_kill = 0;
		break;
	}
	case ZYDIS_MNEMONIC_LAHF:
		d->fl_read = FL_ARITH & 0xff;
		d->fl_kill = 0;
		break;
	case ZYDIS_MNEMONIC_FNSTENV: case ZYDIS_MNEMONIC_FNSAVE:
		break;
	default:
		break;
	}
}

static void add_stack_access(struct translator *t, struct di *d, u8 base, s64 disp, u32 size, bool write)
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

void classify(struct translator *t, struct di *d)
{
	const ZydisDecodedInstruction *zi = &t->zi;
	const struct insn *in = &d->in;

	set_flags(t, d);

	if ((zi->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	     zi->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX) || !ext_known(zi)) {
		d->cls = CL_UD;
		return;
	}
	/* VEX encodings do not exist in real and VM86 mode, and with a legacy 66/F2/F3/LOCK/REX
	 * prefix; the decoder refuses the latter. */

	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_UD0: case ZYDIS_MNEMONIC_UD1: case ZYDIS_MNEMONIC_UD2:
		d->cls = CL_UD;
		return;
	case ZYDIS_MNEMONIC_MOV: {
		for (u32 i = 0; i < 2; i++) {
			if (t->op[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
				continue;
			ZydisRegisterClass k = ZydisRegisterGetClass(t->op[i].reg.value);

			if (k == ZYDIS_REGCLASS_CONTROL) {
				try_apic(t, d);
				return;
			}
			if (k == ZYDIS_REGCLASS_SEGMENT || k == ZYDIS_REGCLASS_DEBUG ||
			    k == ZYDIS_REGCLASS_TEST) {
				d->cls = in->opcode == 0x8c && in->map == 0 && in->mod == 3 &&
					 in->reg <= S_GS && !(in->prefixes & PFX_LOCK) ?
					 CL_GET_SREG : CL_EXEC;
				return;
			}
		}
		if (in->map == 0 && in->opcode >= 0xa0 && in->opcode <= 0xa3) {
			d->cls = CL_MOFFS;
			add_mem_access(t, d);
			return;
		}
		break;
	}
	case ZYDIS_MNEMONIC_WRMSR: case ZYDIS_MNEMONIC_RDMSR:
		try_apic(t, d);
		return;
	case ZYDIS_MNEMONIC_PUSH:
		if (t->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER) {
			if (ZydisRegisterGetClass(t->op[0].reg.value) == ZYDIS_REGCLASS_SEGMENT) {
				d->cls = CL_EXEC;
				return;
			}
			d->cls = CL_PUSH_REG;
		} else {
			d->cls = t->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? CL_PUSH_IMM : CL_PUSH_MEM;
		}
		if (d->cls == CL_PUSH_MEM)
			add_mem_access(t, d);
		add_stack_access(t, d, R_RSP, -(s64)in->opsize, in->opsize, true);
		return;
	case ZYDIS_MNEMONIC_POP:
		if (t->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER) {
			if (ZydisRegisterGetClass(t->op[0].reg.value) == ZYDIS_REGCLASS_SEGMENT) {
				d->cls = CL_EXEC;
				return;
			}
			d->cls = CL_POP_REG;
			add_stack_access(t, d, R_RSP, 0, in->opsize, false);
		} else {
			d->cls = CL_SLOW;
		}
		return;
	case ZYDIS_MNEMONIC_LEAVE:
		if (!t64(t) && !(t->mode & MODE_SS32)) {
			d->cls = CL_SLOW;
			return;
		}
		d->cls = CL_LEAVE;
		add_stack_access(t, d, R_RBP, 0, in->opsize, false);
		return;
	/* Frequent in kernels and plain at CPL 0; the rest is C's. */
	case ZYDIS_MNEMONIC_SWAPGS:
		at_cpl0(t, d, CL_SWAPGS, t64(t));
		return;
	case ZYDIS_MNEMONIC_CLI:
		at_cpl0(t, d, CL_CLI, !(t->mode & MODE_L2_FLAGS));
		return;
	case ZYDIS_MNEMONIC_STI:
		at_cpl0(t, d, CL_STI, t->e->c->ops->sti != NULL);
		return;
	case ZYDIS_MNEMONIC_PUSHFQ:
		d->cls = CL_EXEC;
		if (in->opsize != 8 || in->prefixes & PFX_LOCK || t->mode & (MODE_L2_FLAGS | MODE_STEP))
			return;
		d->cls = CL_PUSHF;
		d->fl_read = FL_ARITH;
		d->fl_kill = 0;
		add_stack_access(t, d, R_RSP, -8, 8, true);
		return;
	case ZYDIS_MNEMONIC_MOVSB: case ZYDIS_MNEMONIC_MOVSD: case ZYDIS_MNEMONIC_MOVSQ:
	case ZYDIS_MNEMONIC_STOSB: case ZYDIS_MNEMONIC_STOSD: case ZYDIS_MNEMONIC_STOSQ:
		if (!rep_inline(t, in))
			break;
		d->cls = CL_REP;
		d->needs_rcx = true;
		d->exits = true;
		return;
	case ZYDIS_MNEMONIC_LEA:
		d->cls = t->op[1].type == ZYDIS_OPERAND_TYPE_MEMORY ? CL_LEA : CL_UD;
		return;
	case ZYDIS_MNEMONIC_JCXZ: case ZYDIS_MNEMONIC_JECXZ: case ZYDIS_MNEMONIC_JRCXZ:
		d->cls = CL_JCXZ;
		d->exits = true;
		d->needs_rcx = true;
		return;
	case ZYDIS_MNEMONIC_LOOP: case ZYDIS_MNEMONIC_LOOPE: case ZYDIS_MNEMONIC_LOOPNE:
		d->cls = CL_LOOP;
		d->exits = true;
		d->needs_rcx = true;
		return;
	case ZYDIS_MNEMONIC_MASKMOVQ: case ZYDIS_MNEMONIC_MASKMOVDQU:
	case ZYDIS_MNEMONIC_VMASKMOVDQU:
		d->cls = fpu_allowed(t, d) ? CL_SLOW : CL_NM;
		return;
	default:
		break;
	}

	/* PREFETCH with a register is no NOP on AMD. */
	if (in->map == 1 && in->opcode == 0x0d && in->mod == 3) {
		d->cls = CL_UD;
		return;
	}
	switch (zi->meta.category) {
	case ZYDIS_CATEGORY_NOP: case ZYDIS_CATEGORY_WIDENOP: case ZYDIS_CATEGORY_PREFETCH:
	case ZYDIS_CATEGORY_PREFETCHWT1: case ZYDIS_CATEGORY_CET:
		d->cls = CL_NOP;
		return;
	case ZYDIS_CATEGORY_COND_BR:
		d->cls = CL_JCC;
		d->exits = true;
		return;
	case ZYDIS_CATEGORY_UNCOND_BR:
		if (zi->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) {
			d->cls = CL_EXEC;
		} else if (t->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
			d->cls = CL_JMP;
		} else {
			d->cls = CL_JMP_IND;
			add_mem_access(t, d);
		}
		return;
	case ZYDIS_CATEGORY_CALL:
		if (zi->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) {
			d->cls = CL_EXEC;
			return;
		}
		if (t->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
			d->cls = CL_CALL;
		} else {
			d->cls = CL_CALL_IND;
			add_mem_access(t, d);
		}
		add_stack_access(t, d, R_RSP, -(s64)in->opsize, in->opsize, true);
		return;
	case ZYDIS_CATEGORY_RET:
		if (zi->mnemonic != ZYDIS_MNEMONIC_RET ||
		    zi->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || in->opcode == 0xca ||
		    in->opcode == 0xcb) {
			d->cls = CL_EXEC;
			return;
		}
		d->cls = CL_RET;
		add_stack_access(t, d, R_RSP, 0, in->opsize, false);
		return;
	default:
		break;
	}
	if (insn_is_flush(in)) {	/* nothing to do but to see whether it may be done */
		d->cls = CL_NOP;
		add_mem_access(t, d);
		d->acc[0].size = 1;
		return;
	}
	if (left_to_c(zi)) {
		d->cls = CL_EXEC;
		return;
	}
	if (!fpu_allowed(t, d)) {
		d->cls = CL_NM;
		return;
	}
	if (zi->meta.isa_ext == ZYDIS_ISA_EXT_AVX2GATHER) {
		d->cls = CL_SLOW;
		return;
	}
	d->cls = CL_COMPUTE;
	classify_needs_rcx(t, d);
	add_mem_access(t, d);
}
