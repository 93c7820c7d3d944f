/* SPDX-License-Identifier: MIT */
/* tests/fuzz/leaks.h - what a process holds, counted before and after. */
#ifndef FUZZ_LEAKS_H
#define FUZZ_LEAKS_H

#include "base/types.h"

struct leaks {
	u32 fds, threads, maps;
	u64 rss, virtual;	/* KiB */
};

void leaks_count(struct leaks *l);
/* What is more than before: "descriptors" (with numbers), or NULL. Descriptors and threads are
 * compared exactly; mappings with an allowance for malloc's arenas and thread stacks. */
const char *leaks_found(const struct leaks *before, const struct leaks *after);
/* As TAP comments. */
void leaks_print_fds(void);

#endif
