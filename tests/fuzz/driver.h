/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/driver.h - what the fuzzers share. Cases run in a child process; its parent notices
 * a death or a hang and names the seed; `--case SEED` repeats one case. Prints TAP.
 *
 *	PROGRAM [--seconds N] [--seed S] [--case SEED]
 */
#ifndef FUZZ_DRIVER_H
#define FUZZ_DRIVER_H

#include <stdatomic.h>

#include "base/types.h"

/* Shared with the child; written by the child only (relaxed, a progress report). */
struct fuzz_progress {
	_Atomic u64 seed;
	_Atomic u64 done;	/* cases */
	_Atomic u64 beat;	/* anything that shows that the case goes on */
	_Atomic u64 count[32];	/* the fuzzer's own */
};
extern struct fuzz_progress *fuzz;

struct fuzzer {
	const char *title;		/* of the TAP line */
	u32 hang_s;			/* a case without progress is stuck */
	const char *(*kind)(u64 seed);	/* a word about the case, for messages */
	/* In the child: cases from seed on until end (wall-clock seconds); false: a complaint has
	 * been printed. fuzz->seed is kept up to date. */
	bool (*cases)(u64 seed, double end);
	bool (*one)(u64 seed);		/* --case: a single one, with explanations */
	void (*report)(void);		/* may be NULL: a TAP comment about fuzz->count */
};

int fuzz_main(const struct fuzzer *f, int argc, char **argv);
double fuzz_now(void);
static inline void fuzz_beat(void)
{
	atomic_fetch_add_explicit(&fuzz->beat, 1, memory_order_relaxed);
}

#endif
