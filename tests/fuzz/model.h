/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/model.h - random cases against a model of the rules, in batches. A guest takes one
 * case after the other from a table, does it and notes what came of it; the host makes the table
 * and compares. Prints TAP.
 *
 *	PROGRAM [--count N] [--seed S]
 */
#ifndef FUZZ_MODEL_H
#define FUZZ_MODEL_H

#include "tests/guest/harness/harness.h"
#include "tests/guest/harness/tables.h"
#include "tests/insn/layout.h"

/* Words of the guest's memory: the case that runs, and how many there are. */
#define V_NEXT 0x10000
#define V_COUNT 0x10004
/* A number in the guest's assembler. */
#define S(x) A_STR(x)

struct model_fuzz {
	const char *title;		/* of the TAP line */
	u32 batch;			/* cases at a time */
	struct guest *(*start)(void);	/* its code begins at G_CODE */
	void (*make)(struct guest *g);	/* a batch of cases */
	bool (*wrong)(struct guest *g, u32 i);
	void (*show)(struct guest *g, u32 i);
	void (*report)(void);		/* may be NULL: a TAP comment at the end */
};

int model_main(const struct model_fuzz *m, int argc, char **argv);

/* Random numbers of this run's seed. */
u64 model_next(void);
u32 below(u32 n);

/* Gates for the vectors up to 30h, which ring 3 may use: each comes to `common` with error code (0
 * if there is none) and vector pushed. */
void model_vectors(struct guest *g, u32 common, u16 sel, u32 ist);

#endif
