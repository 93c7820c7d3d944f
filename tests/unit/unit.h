/* SPDX-License-Identifier: MIT */
/* tests/unit/unit.h - what every unit test includes first: cmocka's assertions, and T(). */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/t.h"

/* cmocka's own does not come back, and the runner must know that this is no failure. */
void t_skipping(void);
#undef skip
#define skip() (t_skipping(), _skip(__FILE__, __LINE__))

#endif
