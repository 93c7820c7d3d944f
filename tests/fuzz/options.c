/* SPDX-License-Identifier: MIT */
/* tests/fuzz/options.c - see options.h. */
#include "tests/fuzz/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool fuzz_options(int argc, char **argv, u64 *count, u64 *seed)
{
	for (int i = 1; i < argc; i += 2) {
		u64 v = i + 1 < argc ? strtoull(argv[i + 1], NULL, 0) : 0;

		if (i + 1 < argc && !strcmp(argv[i], "--count")) {
			*count = v;
		} else if (i + 1 < argc && !strcmp(argv[i], "--seed")) {
			*seed = v;
		} else {
			fprintf(stderr, "usage: %s [--count N] [--seed S]\n", argv[0]);
			return false;
		}
	}
	return true;
}
