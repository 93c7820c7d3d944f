/* SPDX-License-Identifier: MIT */
/* tests/random.h - random numbers of the tests: the same seed, the same cases. */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include "base/types.h"

/* SplitMix64. */
static inline u64 random_next(u64 *s)
{
	u64 z = (*s += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

#endif
