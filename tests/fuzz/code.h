/* SPDX-License-Identifier: MIT */
/* tests/fuzz/code.h - bytes that look like code often enough to get somewhere. */
#ifndef FUZZ_CODE_H
#define FUZZ_CODE_H

#include "tests/random.h"

/* Fill n bytes: plain noise, or opcodes drawn mostly from what the engine leaves to C. */
void fuzz_code(u8 *out, u32 n, u64 *rng);

#endif
