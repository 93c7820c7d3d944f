/* SPDX-License-Identifier: MIT */
/*
 * tests/insn/filter.c - which decoded instructions a sequence may contain.
 *
 * Out: whatever leaves user mode or shows something that differs by nature
 * (time, randomness, selectors, addresses of the host's own code in the x87
 * environment), and extensions the guest's CPUID does not offer.
 */
#include "tests/insn/filter.h"

#include "engine/cpu.h"

#define ALWAYS 255

static const struct {
	u8 ext;
	u8 feature;
} exts[] = {
	{ ZYDIS_ISA_EXT_BASE, ALWAYS },
	{ ZYDIS_ISA_EXT_LONGMODE, ALWAYS },
	{ ZYDIS_ISA_EXT_X87, ALWAYS },
	{ ZYDIS_ISA_EXT_PAUSE, ALWAYS },
	{ ZYDIS_ISA_EXT_MMX, GF_MMX },
	{ ZYDIS_ISA_EXT_SSE, ALWAYS },
	{ ZYDIS_ISA_EXT_SSE2, ALWAYS },
	{ ZYDIS_ISA_EXT_SSE3, GF_SSE3 },
	{ ZYDIS_ISA_EXT_SSSE3, GF_SSSE3 },
	{ ZYDIS_ISA_EXT_SSE4, GF_SSE42 },
	{ ZYDIS_ISA_EXT_SSE4A, GF_SSE4A },
	{ ZYDIS_ISA_EXT_AES, GF_AES },
	{ ZYDIS_ISA_EXT_PCLMULQDQ, GF_PCLMUL },
	{ ZYDIS_ISA_EXT_MOVBE, GF_MOVBE },
	{ ZYDIS_ISA_EXT_AVX, GF_AVX },
	{ ZYDIS_ISA_EXT_AVX2, GF_AVX2 },
	{ ZYDIS_ISA_EXT_AVX2GATHER, GF_AVX2 },
	{ ZYDIS_ISA_EXT_AVXAES, GF_AES },
	{ ZYDIS_ISA_EXT_FMA, GF_FMA },
	{ ZYDIS_ISA_EXT_F16C, GF_F16C },
	{ ZYDIS_ISA_EXT_BMI1, GF_BMI1 },
	{ ZYDIS_ISA_EXT_BMI2, GF_BMI2 },
	{ ZYDIS_ISA_EXT_ADOX_ADCX, GF_ADX },
	{ ZYDIS_ISA_EXT_LZCNT, GF_LZCNT },
	{ ZYDIS_ISA_EXT_SHA, GF_SHA },
	{ ZYDIS_ISA_EXT_GFNI, GF_GFNI },
	{ ZYDIS_ISA_EXT_VAES, GF_VAES },
	{ ZYDIS_ISA_EXT_VPCLMULQDQ, GF_VPCLMUL },
	{ ZYDIS_ISA_EXT_AVX512EVEX, GF_AVX512F },
	{ ZYDIS_ISA_EXT_AVX512VEX, GF_AVX512F },
};

/* Of AVX-512 what a host may have and no guest. */
static bool set_allowed(ZydisISASet set)
{
	switch (set) {
	case ZYDIS_ISA_SET_AVX512_FP16_128: case ZYDIS_ISA_SET_AVX512_FP16_128N:
	case ZYDIS_ISA_SET_AVX512_FP16_256: case ZYDIS_ISA_SET_AVX512_FP16_512:
	case ZYDIS_ISA_SET_AVX512_FP16_SCALAR: case ZYDIS_ISA_SET_AVX512ER_512:
	case ZYDIS_ISA_SET_AVX512ER_SCALAR: case ZYDIS_ISA_SET_AVX512PF_512:
	case ZYDIS_ISA_SET_AVX512_4FMAPS_512: case ZYDIS_ISA_SET_AVX512_4FMAPS_SCALAR:
	case ZYDIS_ISA_SET_AVX512_4VNNIW_512: case ZYDIS_ISA_SET_AVX512_VP2INTERSECT_128:
	case ZYDIS_ISA_SET_AVX512_VP2INTERSECT_256: case ZYDIS_ISA_SET_AVX512_VP2INTERSECT_512:
		return false;
	default:
		return true;
	}
}

static bool ext_allowed(u32 ext, u64 features)
{
	for (u32 i = 0; i < ARRAY_SIZE(exts); i++)
		if (exts[i].ext == ext)
			return exts[i].feature == ALWAYS || features >> exts[i].feature & 1;
	return false;
}

static bool category_allowed(u32 cat)
{
	switch (cat) {
	case ZYDIS_CATEGORY_CALL: case ZYDIS_CATEGORY_RET: case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_INTERRUPT: case ZYDIS_CATEGORY_IO: case ZYDIS_CATEGORY_IOSTRINGOP:
	case ZYDIS_CATEGORY_SYSCALL: case ZYDIS_CATEGORY_SYSRET: case ZYDIS_CATEGORY_SYSTEM:
	case ZYDIS_CATEGORY_SEGOP: case ZYDIS_CATEGORY_SGX: case ZYDIS_CATEGORY_VTX:
	case ZYDIS_CATEGORY_RDRAND: case ZYDIS_CATEGORY_RDSEED: case ZYDIS_CATEGORY_RDWRFSGS:
	case ZYDIS_CATEGORY_XSAVE: case ZYDIS_CATEGORY_XSAVEOPT: case ZYDIS_CATEGORY_CLZERO:
	case ZYDIS_CATEGORY_MPX: case ZYDIS_CATEGORY_CET: case ZYDIS_CATEGORY_PKU:
	case ZYDIS_CATEGORY_SMAP: case ZYDIS_CATEGORY_RDPRU:
		return false;
	}
	return true;
}

static bool mnemonic_allowed(u32 m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_CLI: case ZYDIS_MNEMONIC_STI: case ZYDIS_MNEMONIC_PUSHF:
	case ZYDIS_MNEMONIC_PUSHFD: case ZYDIS_MNEMONIC_PUSHFQ: case ZYDIS_MNEMONIC_POPF:
	case ZYDIS_MNEMONIC_POPFD: case ZYDIS_MNEMONIC_POPFQ: case ZYDIS_MNEMONIC_CPUID:
	case ZYDIS_MNEMONIC_RDTSC: case ZYDIS_MNEMONIC_RDTSCP: case ZYDIS_MNEMONIC_RDPMC:
	case ZYDIS_MNEMONIC_FNSTENV: case ZYDIS_MNEMONIC_FNSAVE: case ZYDIS_MNEMONIC_FLDENV:
	case ZYDIS_MNEMONIC_FRSTOR: case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXSAVE64: case ZYDIS_MNEMONIC_FXRSTOR64:
	case ZYDIS_MNEMONIC_LAR: case ZYDIS_MNEMONIC_LSL: case ZYDIS_MNEMONIC_VERR:
	case ZYDIS_MNEMONIC_VERW: case ZYDIS_MNEMONIC_SLDT: case ZYDIS_MNEMONIC_STR:
	case ZYDIS_MNEMONIC_SMSW: case ZYDIS_MNEMONIC_SGDT: case ZYDIS_MNEMONIC_SIDT:
	case ZYDIS_MNEMONIC_LSS: case ZYDIS_MNEMONIC_LFS: case ZYDIS_MNEMONIC_LGS:
	case ZYDIS_MNEMONIC_XGETBV: case ZYDIS_MNEMONIC_UD0: case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
		return false;
	}
	return true;
}

/* A count for all elements: of its 16 bytes in memory some CPUs read eight, which breakpoints
 * show. */
static bool wide_count(u32 m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_PSLLW: case ZYDIS_MNEMONIC_PSLLD: case ZYDIS_MNEMONIC_PSLLQ:
	case ZYDIS_MNEMONIC_PSRLW: case ZYDIS_MNEMONIC_PSRLD: case ZYDIS_MNEMONIC_PSRLQ:
	case ZYDIS_MNEMONIC_PSRAW: case ZYDIS_MNEMONIC_PSRAD:
	case ZYDIS_MNEMONIC_VPSLLW: case ZYDIS_MNEMONIC_VPSLLD: case ZYDIS_MNEMONIC_VPSLLQ:
	case ZYDIS_MNEMONIC_VPSRLW: case ZYDIS_MNEMONIC_VPSRLD: case ZYDIS_MNEMONIC_VPSRLQ:
	case ZYDIS_MNEMONIC_VPSRAW: case ZYDIS_MNEMONIC_VPSRAD:
		return true;
	}
	return false;
}

static bool is_stack_pointer(ZydisRegister r)
{
	return r == ZYDIS_REGISTER_RSP || r == ZYDIS_REGISTER_ESP || r == ZYDIS_REGISTER_SP ||
	       r == ZYDIS_REGISTER_SPL;
}

bool filter_allows(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops,
		   const struct gen_options *o)
{
	if (in->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	    in->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX &&
	    in->encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX)
		return false;
	bool narrow = o->world->bits != 64;

	if (narrow && (in->mnemonic == ZYDIS_MNEMONIC_INTO || in->mnemonic == ZYDIS_MNEMONIC_BOUND))
		return true;
	if (!ext_allowed(in->meta.isa_ext, o->features) || !set_allowed(in->meta.isa_set) ||
	    !category_allowed(in->meta.category) || !mnemonic_allowed(in->mnemonic) ||
	    in->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED)
		return false;
	if (o->watch && wide_count(in->mnemonic))
		return false;
	/* Some CPUs take F2 and F3 as the condition of LOOPcc: nothing one should rely on. */
	if (in->mnemonic == ZYDIS_MNEMONIC_LOOPE || in->mnemonic == ZYDIS_MNEMONIC_LOOPNE)
		for (u32 i = 0; i < in->raw.prefix_count; i++)
			if ((in->raw.prefixes[i].value & 0xfe) == 0xf2)
				return false;
	if (in->mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B && !(o->features >> GF_CX16 & 1))
		return false;
	for (u32 i = 0; i < in->operand_count; i++) {
		if (ops[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		/* Behind a PUSH, CPUs of family 25 take for RSP in such an instruction what it was
		 * before. */
		if (in->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX &&
		    is_stack_pointer(ops[i].reg.value))
			return false;
		switch (ZydisRegisterGetClass(ops[i].reg.value)) {
		case ZYDIS_REGCLASS_SEGMENT:	/* an LDT has the same selectors on both sides */
			if (narrow && !(ops[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
				break;
			return false;
		case ZYDIS_REGCLASS_CONTROL: case ZYDIS_REGCLASS_DEBUG:
		case ZYDIS_REGCLASS_TABLE: case ZYDIS_REGCLASS_TEST:
			return false;
		default:
			break;
		}
	}
	return true;
}

bool filter_may_keep_flags(const ZydisDecodedInstruction *in)
{
	return in->meta.category == ZYDIS_CATEGORY_SHIFT ||
	       in->meta.category == ZYDIS_CATEGORY_ROTATE ||
	       in->meta.category == ZYDIS_CATEGORY_STRINGOP;
}

/* Where Zydis 4.0 says less than the manual (APM3, the instruction's flag table). */
static u32 more_undefined(u32 m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_BSF: case ZYDIS_MNEMONIC_BSR:
		return FL_CF | FL_PF | FL_AF | FL_SF | FL_OF;
	case ZYDIS_MNEMONIC_LZCNT: case ZYDIS_MNEMONIC_TZCNT: case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTC: case ZYDIS_MNEMONIC_BTR: case ZYDIS_MNEMONIC_BTS:
		return FL_PF | FL_AF | FL_SF | FL_OF;
	case ZYDIS_MNEMONIC_MUL: case ZYDIS_MNEMONIC_IMUL:
		return FL_PF | FL_AF | FL_ZF | FL_SF;
	case ZYDIS_MNEMONIC_DIV: case ZYDIS_MNEMONIC_IDIV:
		return FL_ARITH;
	case ZYDIS_MNEMONIC_SHLD: case ZYDIS_MNEMONIC_SHRD:
		return FL_AF | FL_OF;
	case ZYDIS_MNEMONIC_BEXTR:
		return FL_PF | FL_AF | FL_SF;
	case ZYDIS_MNEMONIC_ANDN: case ZYDIS_MNEMONIC_BLSI: case ZYDIS_MNEMONIC_BLSMSK:
	case ZYDIS_MNEMONIC_BLSR: case ZYDIS_MNEMONIC_BZHI:
		return FL_PF | FL_AF;
	}
	return 0;
}

u32 filter_undefined(const ZydisDecodedInstruction *in)
{
	return more_undefined(in->mnemonic) |
	       (in->cpu_flags ? in->cpu_flags->undefined & FL_ARITH : 0);
}
