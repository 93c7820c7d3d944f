/* SPDX-License-Identifier: MIT */
/*
 * base/siginfo.h - a fault, or a signal that somebody sent?
 *
 * kill(2), sigqueue(3), timers and tgkill(2) leave an si_code of 0 or less, and what the
 * interrupted instruction did has a positive one (sigaction(2)). Two positive ones are news of
 * something else than that instruction: BUS_MCEERR_AO (memory that is broken but that nobody has
 * read) and TRAP_PERF (a performance event of the program's).
 */
#ifndef BASE_SIGINFO_H
#define BASE_SIGINFO_H

#include <signal.h>

#include "base/types.h"

static inline bool siginfo_is_fault(int sig, const siginfo_t *info)
{
	enum { MCEERR_AO = 5, PERF = 6 };	/* not in every header */

	if (info->si_code <= 0)
		return false;
	switch (sig) {
	case SIGSEGV: case SIGFPE: case SIGILL:
	case SIGSYS:	/* a seccomp filter's */
		return true;
	case SIGBUS:
		return info->si_code != MCEERR_AO;
	case SIGTRAP:
		return info->si_code != PERF;
	default:
		return false;
	}
}

#endif
