/* SPDX-License-Identifier: MIT */
/* tests/fuzz/options.h - arguments of fuzzers that run so many cases: [--count N] [--seed S]. */
#ifndef FUZZ_OPTIONS_H
#define FUZZ_OPTIONS_H

#include "base/types.h"

/* What is not given stays as it is. False: something else was given, and has been said. */
bool fuzz_options(int argc, char **argv, u64 *count, u64 *seed);

#endif
