/* SPDX-License-Identifier: MIT */
/* tests/unit/preload.h - for programs that use the public ABI and mean standin, not a kernel. */
#ifndef TESTS_UNIT_PRELOAD_H
#define TESTS_UNIT_PRELOAD_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static inline void needs_preload(void)
{
	if (dlsym(RTLD_DEFAULT, "standin_preload_version"))
		return;
	fprintf(stderr, "not under the preload object: skipped\n");
	exit(77);
}

#endif
