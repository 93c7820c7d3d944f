/* SPDX-License-Identifier: MIT */
/*
 * vcpu/halt_poll.h - how long a halted vCPU looks around before it sleeps.
 *
 * The adaptive part is KVM's (kvm_vcpu_halt()): halts that are shorter than the limit let the time
 * grow, longer ones let it shrink. The kernel polls only while no other task wants the CPU; it
 * knows, we have to find out: halt_poll_spare() goes by how many vCPUs this process has awake and
 * how many tasks the host has, and a poll that another task interrupted all the same is not tried
 * again for a while.
 *
 * Pure: no threads, no clocks.
 */
#ifndef VCPU_HALT_POLL_H
#define VCPU_HALT_POLL_H

#include "base/types.h"

/* KVM's module parameters on x86: halt_poll_ns, halt_poll_ns_grow_start, _grow, _shrink. */
#define HALT_POLL_DEFAULT 200000u	/* ns */
#define HALT_POLL_START 10000u		/* ns */
#define HALT_POLL_GROW 2u
#define HALT_POLL_SHRINK 2u

/* A look that comes so much after the last one: another task has had the CPU. */
#define HALT_POLL_GAP 30000u		/* ns */
/* No polls for that long then; twice as long each time. A good poll takes back an eighth. */
#define HALT_POLL_PAUSE_MIN 4000000u
#define HALT_POLL_PAUSE_MAX 512000000u

/* Zero-filled at first; the vCPU thread's. */
struct halt_poll {
	u32 ns;			/* how long to look around */
	u32 pause;		/* ns; the last pause, made shorter by good polls */
	u64 off_until;		/* no polls before (monotonic ns) */
};

struct halt_poll_result {
	u64 now;		/* monotonic ns */
	u64 halted;		/* ns, polling included */
	bool polled;
	bool preempted;		/* while polling */
};

/* How long to poll now; 0: not at all. max: KVM_CAP_HALT_POLL or the default. */
u32 halt_poll_window(struct halt_poll *h, u32 max, u64 now);
/* A halt is over. */
void halt_poll_learn(struct halt_poll *h, u32 max, const struct halt_poll_result *r);

struct halt_poll_crowd {
	u32 awake;	/* vCPUs of the process that run or poll, the one that asks included */
	u32 cpus;	/* the process may use */
	u32 running;	/* tasks of the host that run or want to; 0: unknown */
	u32 online;	/* CPUs of the host */
};
/* There is a CPU that nobody misses. */
bool halt_poll_spare(const struct halt_poll_crowd *c);

#endif
