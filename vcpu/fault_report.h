/* SPDX-License-Identifier: MIT */
/* vcpu/fault_report.h - what is kept of exceptions that cannot be delivered, and told when a guest ends. */
#ifndef VCPU_FAULT_REPORT_H
#define VCPU_FAULT_REPORT_H

#include "cpu/sys.h"

struct vcpu;

enum { FAULT_CHAIN_MAX = 4 };

/* Under the vCPU's lock. */
struct fault_chain {
	struct cpu_event e[FAULT_CHAIN_MAX];
	struct cpu_fault last;	/* what came of the last one's delivery */
	u32 n;
};

/* The delivery of e has raised f. first: no other event's delivery has raised e. */
void fault_chain_add(struct vcpu *v, bool first, const struct cpu_event *e, const struct cpu_fault *f);
/* The guest ends here. chain: because of exceptions. Written to the log at level info. */
void fault_report(struct vcpu *v, const char *what, bool chain);

#endif
