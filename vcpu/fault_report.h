/* SPDX-License-Identifier: MIT */
/* vcpu/fault_report.h - what is kept of exceptions that cannot be delivered, and told when a guest
 * ends. */
#ifndef VCPU_FAULT_REPORT_H
#define VCPU_FAULT_REPORT_H

#include "cpu/sys.h"

struct vcpu;

enum { FAULT_CHAIN_MAX = 4, PAST_EVENTS = 16, PAST_EXIT = 0xff };

/* Under the vCPU's lock. */
struct fault_chain {
	struct cpu_event e[FAULT_CHAIN_MAX];
	struct cpu_fault last;	/* what came of the last one's delivery */
	u32 n;
};

/* What has happened to a vCPU: an event that was delivered, or an exit to the VMM (kind PAST_EXIT,
 * the reason in `error`). The same one again is counted. */
struct past_event {
	u64 rip, payload;
	u32 error, times;
	u8 kind, vector;
	bool has_error;
};

/* A ring. Under the vCPU's lock. */
struct past {
	struct past_event e[PAST_EVENTS];
	u32 n;
};

static inline void past_add(struct past *p, const struct past_event *e)
{
	struct past_event *last = &p->e[(p->n - 1) % PAST_EVENTS];

	if (p->n && last->rip == e->rip && last->kind == e->kind && last->vector == e->vector &&
	    last->error == e->error && last->payload == e->payload) {
		last->times++;
		return;
	}
	p->e[p->n++ % PAST_EVENTS] = *e;
}

/* An exit to the VMM. */
static inline void past_exit(struct past *p, u64 rip, u32 reason)
{
	struct past_event *last = &p->e[(p->n - 1) % PAST_EVENTS];

	if (likely(last->rip == rip && last->kind == PAST_EXIT && last->error == reason))
		last->times++;
	else
		p->e[p->n++ % PAST_EVENTS] = (struct past_event){
			.rip = rip, .error = reason, .times = 1, .kind = PAST_EXIT };
}

/* The delivery of e has raised f. first: no other event's delivery has raised e. */
void fault_chain_add(struct vcpu *v, bool first, const struct cpu_event *e,
		     const struct cpu_fault *f);
/* The guest ends here. chain: because of exceptions. Written to the log at level info. */
void fault_report(struct vcpu *v, const char *what, bool chain);

#endif
