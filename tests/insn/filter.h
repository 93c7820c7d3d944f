/* SPDX-License-Identifier: MIT */
/* tests/insn/filter.h - which decoded instructions a sequence may contain. */
#ifndef INSN_FILTER_H
#define INSN_FILTER_H

#include <Zydis/Zydis.h>

#include "tests/insn/gen.h"

bool filter_allows(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops,
		   const struct gen_options *o);
/* Flags without a defined value after the instruction. */
u32 filter_undefined(const ZydisDecodedInstruction *in);
/* Whether it may leave all flags as they were (shift by a zero count). */
bool filter_may_keep_flags(const ZydisDecodedInstruction *in);

#endif
