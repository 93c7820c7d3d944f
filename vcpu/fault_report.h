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
	union {
		struct {
			u8 kind, vector;
			bool has_error;
		};
		u32 what;	/* all of them: past_what() */
	};
};
static inline u32 past_what(u8 kind, u8 vector, bool has_error)
{
	return kind | (u32)vector << 8 | (u32)has_error << 16;
}

/* A ring. Under the vCPU's lock. */
struct past {
	struct past_event e[PAST_EVENTS];
	u32 n;
};

/* In words: bytes that have just been written are not there yet for wider loads. */
static inline void past_add(struct past *p, u64 rip, u32 what, u32 error, u64 payload)
{
	struct past_event *e = &p->e[(p->n - 1) % PAST_EVENTS];

	if (likely(e->rip == rip && e->what == what && e->error == error &&
		   e->payload == payload)) {
		e->times++;
		return;
	}
	e = &p->e[p->n++ % PAST_EVENTS];
	e->rip = rip;
	e->payload = payload;
	e->error = error;
	e->times = 1;
	e->what = what;
}

/* The delivery of e has raised f. first: no other event's delivery has raised e. */
void fault_chain_add(struct vcpu *v, bool first, const struct cpu_event *e,
		     const struct cpu_fault *f);
/* The guest ends here. chain: because of exceptions. Written to the log at level info. */
void fault_report(struct vcpu *v, const char *what, bool chain);

#endif
