/* SPDX-License-Identifier: MIT */
/* base/host_cpuid.h - what the host's processor says of itself. On a virtual host it takes
 * microseconds, and it is intercepted: who needs an answer often keeps it. */
#ifndef BASE_HOST_CPUID_H
#define BASE_HOST_CPUID_H

#include "base/cpuid_leaves.h"

/* out: by enum cpuid_reg */
static inline void cpuid_host(u32 leaf, u32 sub, u32 out[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(out[CPUID_EAX]), "=b"(out[CPUID_EBX]), "=c"(out[CPUID_ECX]),
			   "=d"(out[CPUID_EDX])
			 : "a"(leaf), "c"(sub));
}

#endif
