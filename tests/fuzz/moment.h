/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/moment.h - a guest runs whatever it has for a moment: an alarm takes KVM_RUN back, and
 * the ways in which it stops are counted. One guest at a time, in a process of one thread.
 */
#ifndef FUZZ_MOMENT_H
#define FUZZ_MOMENT_H

#include "tests/guest/harness/harness.h"

void moment_begin(struct guest_cpu *c);
/* cpu_run(), counted in fuzz->count; loud: and printed. */
struct stop moment_run(struct guest_cpu *c, bool loud);
void moment_end(struct guest_cpu *c);
/* A TAP comment with the counts: struct fuzzer's `report`. */
void moment_report(void);

#endif
