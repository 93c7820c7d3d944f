/* SPDX-License-Identifier: MIT */
/* tests/insn/compare.h - do two results of one case agree? */
#ifndef INSN_COMPARE_H
#define INSN_COMPARE_H

#include <stdio.h>

#include "tests/insn/gen.h"

/* precise: all flags at a fault count, also those nothing would read. True when they differ; the
 * differences are printed to f unless NULL. */
bool compare_results(const struct gen_case *c, const struct insn_result *want,
		     const struct insn_result *got, bool ring0, bool precise, FILE *f);

#endif
