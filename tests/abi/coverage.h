/* SPDX-License-Identifier: MIT */
/* tests/abi/coverage.h - the table of ioctls and the rules that test them. */
#ifndef TESTS_ABI_COVERAGE_H
#define TESTS_ABI_COVERAGE_H

#include "tests/abi/abi.h"

struct coverage {
	const char *fd, *name;
	const struct t *success, *refusal, *round_trip;
};
extern const struct coverage coverage[];
extern const u32 coverage_rows;

#endif
