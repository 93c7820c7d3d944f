/* SPDX-License-Identifier: MIT */
/* tests/insn/subject.h - the guest that runs the same batches through the KVM ABI. */
#ifndef INSN_SUBJECT_H
#define INSN_SUBJECT_H

#include "tests/guest/harness/harness.h"
#include "tests/insn/world.h"

struct subject {
	struct guest *g;
	u8 *arena;	/* the guest's own copy of the arena */
	bool ring0;
	bool direct;	/* user code is to look like Linux's */
};

/* narrow: with the LDT for 16- and 32-bit code, which runs in ring 3. */
void subject_start(struct subject *s, bool ring0, bool narrow);
/* Run the batch that lies in the arena; NULL, or what went wrong. */
const char *subject_run(struct subject *s);
u64 subject_features(struct subject *s);
void subject_watch(struct subject *s, const struct watch *w);

#endif
