/* SPDX-License-Identifier: MIT */
/*
 * base/grace.h - readers of an immutable object behind an atomic pointer, and a writer that
 * waits until nobody can still hold the old one (the two-counter scheme of sleepable RCU).
 *
 * Readers: short, never block, may nest. Writers: one at a time (the caller's mutex).
 */
#ifndef BASE_GRACE_H
#define BASE_GRACE_H

#include <sched.h>
#include <stdatomic.h>

#include "base/types.h"

struct grace {
	_Atomic u32 phase;
	_Atomic u32 readers[2];
};

static inline u32 grace_enter(struct grace *g)
{
	u32 i = atomic_load(&g->phase) & 1;

	atomic_fetch_add(&g->readers[i], 1);
	return i;
}

static inline void grace_leave(struct grace *g, u32 i)
{
	atomic_fetch_sub_explicit(&g->readers[i], 1, memory_order_release);
}

/*
 * After the new pointer is stored: returns when every reader that may have loaded the old one has
 * left. Two flips, because a reader may be preempted between reading the phase and
 * entering: it then counts in the old phase with a fresh or an old pointer.
 */
static inline void grace_wait(struct grace *g)
{
	for (int turn = 0; turn < 2; turn++) {
		u32 old = atomic_fetch_add(&g->phase, 1) & 1;

		while (atomic_load(&g->readers[old]))
			sched_yield();
	}
}

#endif
