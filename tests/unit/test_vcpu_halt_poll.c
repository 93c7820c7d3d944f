/* SPDX-License-Identifier: MIT */
/* The policy of polling in HLT: KVM's growing and shrinking, and the rules about other tasks. */
/* Run: build/tests/unit/test_vcpu_halt_poll [NAME...] */

#include "tests/unit/unit.h"

#include "base/types.h"
#include "vcpu/halt_poll.h"

#define MAX 200000u
#define MS 1000000ull

static u64 now = 5000 * MS;

/* A halt of that length; how long the next one may poll. */
static u32 halt(struct halt_poll *h, u32 max, u64 ns)
{
	bool polled = halt_poll_window(h, max, now) != 0;
	struct halt_poll_result r = { .halted = ns, .polled = polled };

	r.now = now += ns;
	halt_poll_learn(h, max, &r);
	return halt_poll_window(h, max, now);
}

static u32 interrupted(struct halt_poll *h)
{
	struct halt_poll_result r = { .now = now += 50000, .halted = 50000, .polled = true,
				      .preempted = true };

	halt_poll_learn(h, MAX, &r);
	return halt_poll_window(h, MAX, now);
}

T(grows_by_two_from_10_us_to_the_limit)
{
	struct halt_poll h = { 0 };

	assert_int_equal(halt_poll_window(&h, MAX, now), 0);
	assert_int_equal(halt(&h, MAX, 150000), 10000);
	assert_int_equal(halt(&h, MAX, 150000), 20000);
	assert_int_equal(halt(&h, MAX, 150000), 40000);
	assert_int_equal(halt(&h, MAX, 150000), 80000);
	assert_int_equal(halt(&h, MAX, 150000), 160000);
	assert_int_equal(halt(&h, MAX, 199999), 200000);
	assert_int_equal(halt(&h, MAX, 199999), 200000);
}

T(stays_while_it_is_long_enough)
{
	struct halt_poll h = { .ns = 40000 };

	assert_int_equal(halt(&h, MAX, 40000), 40000);
	assert_int_equal(halt(&h, MAX, 1), 40000);
	assert_int_equal(halt(&h, MAX, 40001), 80000);
	/* exactly the limit: neither short nor long */
	assert_int_equal(halt(&h, MAX, MAX), 80000);
}

T(halves_after_long_halts_down_to_nothing)
{
	struct halt_poll h = { .ns = MAX };

	assert_int_equal(halt(&h, MAX, MAX + 1), 100000);
	assert_int_equal(halt(&h, MAX, 4 * MS), 50000);
	assert_int_equal(halt(&h, MAX, 4 * MS), 25000);
	assert_int_equal(halt(&h, MAX, 4 * MS), 12500);
	assert_int_equal(halt(&h, MAX, 4 * MS), 0);
	assert_int_equal(halt(&h, MAX, 4 * MS), 0);
}

T(a_lower_limit_takes_effect_at_once)
{
	struct halt_poll h = { .ns = MAX };

	assert_int_equal(halt_poll_window(&h, 30000, now), 30000);
	assert_int_equal(halt_poll_window(&h, MAX, now), 30000);
	assert_int_equal(halt_poll_window(&h, 0, now), 0);
	/* below where growing starts */
	h.ns = 0;
	assert_int_equal(halt(&h, 5000, 4000), 5000);
	/* no limit: no poll, and nothing is learnt */
	assert_int_equal(halt(&h, 0, 10), 0);
	assert_int_equal(halt(&h, 0, 10), 0);
	/* the largest limit there is */
	h.ns = 3000000000u;
	assert_int_equal(halt(&h, ~0u, 4000000000u), ~0u);
}

T(another_task_stops_it_for_a_while)
{
	struct halt_poll h = { .ns = MAX };
	u64 end;

	assert_int_equal(interrupted(&h), 0);
	end = now + HALT_POLL_PAUSE_MIN;
	/* short halts do not bring it back sooner */
	while (now + 100000 < end)
		assert_int_equal(halt(&h, MAX, 100000), 0);
	now = end;
	assert_int_equal(halt(&h, MAX, 100000), 10000);
}

T(the_pause_doubles_up_to_its_limit_and_good_polls_shorten_it)
{
	struct halt_poll h = { 0 };
	u64 pause = HALT_POLL_PAUSE_MIN;

	for (int i = 0; i < 40; i++) {
		interrupted(&h);
		assert_int_equal(h.off_until, now + pause);
		pause = pause * 2 < HALT_POLL_PAUSE_MAX ? pause * 2 : HALT_POLL_PAUSE_MAX;
	}
	now = h.off_until;
	/* without a poll nothing is known */
	assert_int_equal(halt(&h, MAX, 100000), 10000);
	assert_int_equal(h.pause, HALT_POLL_PAUSE_MAX);
	assert_int_equal(halt(&h, MAX, 10000), 10000);
	assert_int_equal(h.pause, HALT_POLL_PAUSE_MAX / 8 * 7);
	for (int i = 0; i < 40; i++)
		halt(&h, MAX, 10000);
	interrupted(&h);
	assert_int_equal(h.off_until, now + HALT_POLL_PAUSE_MIN);
}

T(only_with_a_cpu_to_spare)
{
	static const struct { struct halt_poll_crowd c; bool yes; } t[] = {
		/* the waker needs a CPU too */
		{ { 1, 1, 1, 8 }, false }, { { 1, 2, 1, 2 }, true },
		/* one runs, one polls: somebody else may wake up */
		{ { 2, 2, 2, 2 }, false }, { { 2, 3, 2, 3 }, true },
		{ { 3, 2, 3, 2 }, false }, { { 8, 8, 8, 8 }, false }, { { 7, 8, 8, 8 }, true },
		/* other programs */
		{ { 1, 2, 2, 2 }, true }, { { 1, 2, 3, 2 }, false },
		{ { 1, 2, 64, 64 }, true }, { { 1, 2, 65, 64 }, false },
		/* nobody says how many they are */
		{ { 1, 2, 0, 2 }, true },
	};

	for (u32 i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(halt_poll_spare(&t[i].c), t[i].yes);
}
