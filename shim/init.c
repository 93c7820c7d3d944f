/* SPDX-License-Identifier: MIT */
/* shim/init.c - start-up and the next definitions. */
#include "shim/shim.h"

#include <dlfcn.h>
#include <string.h>

#include "abi/handle.h"
#include "base/log.h"

/* Lets a program (and our own command) see that it runs under the stand-in. */
EXPORT extern const char standin_preload_version[];
const char standin_preload_version[] = STANDIN_VERSION;

void *_Atomic shim_next_table[NEXT_COUNT];
static const char *const next_name[] = {
#define X(n) #n,
	SHIM_NEXT(X)
#undef X
};

void *shim_next_find(enum shim_next n)
{
	void *p = dlsym(RTLD_NEXT, next_name[n]);

	/* The __xstat family is there for old binaries only, which plain dlsym does not see. */
	if (!p)
		p = dlvsym(RTLD_NEXT, next_name[n], "GLIBC_2.2.5");
	atomic_store(&shim_next_table[n], p);
	return p;
}

__attribute__((constructor(101))) static void shim_start(void)
{
	int saved = errno;

	log_init();
	handle_init();
	shim_signals_init();
	shim_chosen_init();
	shim_exec_init();
	shim_node_init();
	if (!shim_passive)
		shim_cpuid_init();
	errno = saved;
}
