/* SPDX-License-Identifier: MIT */
/* base/futex.c - sleeping until a time, without waking up late. */
#include "base/futex.h"

#include <errno.h>
#include <time.h>

#include "base/sys.h"


u64 monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec;
}

/* Follows the low end of what is seen: a sleep that was early enough costs less than one
 * that spins for long. */
static void learn(struct sleeper *s, u64 late)
{
	if (late < s->early) {
		s->early -= (s->early - late) / 4;
		return;
	}
	late -= s->early;
	s->early += late / 32 < 500 ? late / 32 : 500;
	if (s->early > SLEEPER_SPIN_MAX)
		s->early = SLEEPER_SPIN_MAX;
}

int futex_sleep(_Atomic u32 *word, u32 seq, u64 deadline, struct sleeper *s)
{
	u64 until = deadline - s->early, now;
	struct timespec ts;
	int r;

	if (deadline == ~0ull)
		return -sys_futex(word, FUTEX_WAIT_BITSET_PRIVATE, seq, NULL,
				  FUTEX_BITSET_MATCH_ANY);
	now = monotonic_ns();
	if (deadline > s->early && now < until) {
		ts.tv_sec = (time_t)(until / NSEC_PER_SEC);
		ts.tv_nsec = (long)(until % NSEC_PER_SEC);
		/* FUTEX_WAIT_BITSET: the timeout is absolute. */
		r = -sys_futex(word, FUTEX_WAIT_BITSET_PRIVATE, seq, &ts, FUTEX_BITSET_MATCH_ANY);
		if (r != ETIMEDOUT)
			return r;
		now = monotonic_ns();
		learn(s, now - until);
	}
	while (now < deadline) {
		if (atomic_load(word) != seq)
			return EAGAIN;
		__builtin_ia32_pause();
		now = monotonic_ns();
	}
	return ETIMEDOUT;
}
