/* SPDX-License-Identifier: MIT */
/* tests/fuzz/code.h - bytes that look like code often enough to get somewhere. */
#ifndef FUZZ_CODE_H
#define FUZZ_CODE_H

#include "base/types.h"

static inline u64 fuzz_next(u64 *s)
{
	u64 z = (*s += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* Fill n bytes: plain noise, or opcodes drawn mostly from what the engine leaves to C. */
void fuzz_code(u8 *out, u32 n, u64 *rng);

#endif
