/* SPDX-License-Identifier: MIT */
/* engine/reencode.h - how lower.c tells reencode.c what the host's registers are. */
#ifndef ENGINE_REENCODE_H
#define ENGINE_REENCODE_H

#include "engine/translate_priv.h"

/* A field, and the register that it names on the host. */
struct renamed {
	struct greg_field f;
	int host;
	int home;	/* >= 0: lives in this host register, but the encoding cannot name it */
};

struct renaming {
	struct renamed r[4];
	u32 n;
	u32 used;	/* host registers the instruction touches */
	bool high;
	bool writes_rcx;
};

/* ptr, off: where the memory operand is (ptr < 0: absolute). */
void reencode(struct translator *t, const struct di *d, const struct renaming *x, int ptr, s32 off);

#endif
