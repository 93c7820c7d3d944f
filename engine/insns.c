/* SPDX-License-Identifier: MIT */
/* engine/insns.c - looking an instruction up in the table of engine/insns.h. */
#include "engine/insns.h"

/* A mnemonic that stands in two lists, or twice in one, does not compile (-Woverride-init). */
const struct insn_row insn_rows[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#define X(m, w, r, f, fn, i) \
	[ZYDIS_MNEMONIC_##m] = { .way = WAY_##w, .rules = (r), .features = (f) },
	INSN_SYSTEM(X)
#undef X
#define X(m, r, f) [ZYDIS_MNEMONIC_##m] = { .way = WAY_HOST, .rules = (r), .features = (f) },
	INSN_HOST(X)
#undef X
};

const struct insn_row insn_sets[ZYDIS_ISA_SET_MAX_VALUE + 1] = {
#define X(s, w, st, r, f) \
	[ZYDIS_ISA_SET_##s] = { .way = WAY_##w, .state = STATE_##st, .rules = (r), \
				.features = (f) },
	INSN_SETS(X)
#undef X
};

/* Does it calculate in floating point, and so raise #XM (SDM2 2.4, types 2, 3 and 11)? What has a
 * vector register and no class works on the x87's registers as well and raises #MF. */
static bool raises_xm(const ZydisDecodedInstruction *zi)
{
	switch (zi->meta.exception_class) {
	case ZYDIS_EXCEPTION_CLASS_NONE:
	case ZYDIS_EXCEPTION_CLASS_SSE2: case ZYDIS_EXCEPTION_CLASS_SSE3:
	case ZYDIS_EXCEPTION_CLASS_AVX2: case ZYDIS_EXCEPTION_CLASS_AVX3:
	case ZYDIS_EXCEPTION_CLASS_AVX11:
	case ZYDIS_EXCEPTION_CLASS_E2: case ZYDIS_EXCEPTION_CLASS_E2NF:
	case ZYDIS_EXCEPTION_CLASS_E3: case ZYDIS_EXCEPTION_CLASS_E3NF:
	case ZYDIS_EXCEPTION_CLASS_E11: case ZYDIS_EXCEPTION_CLASS_E11NF:
		return true;
	default:
		return false;
	}
}

/* Versions of Zydis have FCOMI and its like in different sets, and FISTTP as SSE3. */
static ZydisISASet set_of(const ZydisDecodedInstruction *zi)
{
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_FCOMI: case ZYDIS_MNEMONIC_FCOMIP:
	case ZYDIS_MNEMONIC_FUCOMI: case ZYDIS_MNEMONIC_FUCOMIP:
		return ZYDIS_ISA_SET_FCMOV;
	case ZYDIS_MNEMONIC_FISTTP:
		return ZYDIS_ISA_SET_SSE3X87;
	default:
		return zi->meta.isa_set;
	}
}

struct insn_row insn_row(const ZydisDecodedInstruction *zi)
{
	const struct insn_row *set = &insn_sets[set_of(zi)];
	struct insn_row row = insn_rows[zi->mnemonic];

	/* MOVSD and CMPSD are also SSE instructions. */
	if (row.way == WAY_REFUSED ||
	    (row.way == WAY_STRING && zi->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)) {
		row = *set;
	} else {
		row.features |= set->features;
		if (!(row.rules & R_STATELESS))
			row.state = set->state;
	}
	if (row.state >= STATE_SSE && raises_xm(zi))
		row.rules |= R_FAULTS;
	return row;
}
