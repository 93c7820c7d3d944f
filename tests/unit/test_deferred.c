/* SPDX-License-Identifier: MIT */
/* tests/unit/test_deferred.c - handlers that wait, and the mask of a request that has its own. */
/* Run: build/tests/unit/test_deferred [NAME...] */
#include "tests/unit/unit.h"

#include <signal.h>

#include "base/deferred.h"

static struct deferred d;
static int called;

static void handler(int sig, siginfo_t *info, void *uc)
{
	called++;
}

/* What the kernel calls while the thread is inside a request. */
static void take(int sig, siginfo_t *info, void *uc)
{
	struct deferred_action a = { .handler = handler, .flags = SA_SIGINFO };

	if (!deferred_take(&d, sig, info, uc, &a))
		abort();
}

static u64 mask_now(void)
{
	sigset_t set;
	u64 m;

	pthread_sigmask(SIG_SETMASK, NULL, &set);
	memcpy(&m, &set, sizeof(m));
	return m;
}

static int setup(void **state)
{
	struct sigaction sa = { .sa_sigaction = take, .sa_flags = SA_SIGINFO };

	memset(&d, 0, sizeof(d));
	called = 0;
	return sigaction(SIGUSR1, &sa, NULL);
}

T(blocked_until_its_handler_has_run)
{
	u64 before = mask_now();

	raise(SIGUSR1);
	assert_int_equal(called, 0);
	assert_true(mask_now() & BIT64(SIGUSR1 - 1));
	deferred_run(&d);
	assert_int_equal(called, 1);
	assert_true(mask_now() == before);
}

/* KVM_RUN with KVM_SET_SIGNAL_MASK saves the mask, and puts it back, after the signal was taken. */
T(taken_before_the_request_changes_the_mask)
{
	u64 before = mask_now();

	raise(SIGUSR1);
	deferred_mask_restored(&d, mask_now());
	deferred_run(&d);
	assert_int_equal(called, 1);
	assert_true(mask_now() == before);
}

/* Taken under the request's own mask: that is not what the program goes back to. */
T(taken_while_the_mask_is_the_requests)
{
	u64 before = mask_now(), after;
	sigset_t own;

	sigemptyset(&own);
	sigaddset(&own, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &own, NULL);
	raise(SIGUSR1);
	memcpy(&own, &before, sizeof(before));
	pthread_sigmask(SIG_SETMASK, &own, NULL);
	deferred_mask_restored(&d, before);
	deferred_run(&d);
	after = mask_now();
	assert_int_equal(called, 1);
	assert_true(after == before);
}

T_EACH(setup, NULL);
