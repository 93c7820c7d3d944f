/* SPDX-License-Identifier: MIT */
/* base/cpus.h - how many CPUs this process may keep busy, and how many tasks want one. */
#ifndef BASE_CPUS_H
#define BASE_CPUS_H

#include "base/types.h"

/* By its affinity and, in a control group with a quota (cpu.max), by that; at least 1. */
u32 cpus_usable(void);
u32 cpus_online(void);
/* Two threads of a core may be in use, now or later. */
bool cpus_smt_possible(void);
/* Tasks of the whole host that run or want to, the caller included; 0: unknown. fd: from
 * cpus_open_load(), -1 = none. */
u32 cpus_running(int fd);
int cpus_open_load(void);
u32 cpus_running_in(const char *loadavg);
/* The contents of a cpu.max: whole CPUs, at least 1; ~0 without a limit. */
u32 cpus_of_quota(const char *text);

#endif
