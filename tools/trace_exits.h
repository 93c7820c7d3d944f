/* SPDX-License-Identifier: MIT */
/*
 * tools/trace_exits.h - a table of exits by reason: those that the VMM handled, with the time that
 * it took from kvm_userspace_exit to standin_run, and those handled inside. One reader's thread.
 */
#ifndef TOOLS_TRACE_EXITS_H
#define TOOLS_TRACE_EXITS_H

#include <stdio.h>

#include "tools/trace_area.h"

struct exits;

/* NULL: no memory. */
struct exits *exits_begin(void);
void exits_record(struct exits *e, const struct trace_record *r, u64 ns);
void exits_report(const struct exits *e, FILE *f);
double exits_seconds(const struct exits *e);	/* from the first record to the last */

/* A row of the table. */
struct exit_line {
	const char *name;
	bool to_vmm;		/* otherwise handled inside, and there are no times */
	u64 count, timed, ns, max;	/* timed: of how many ns is the sum */
};
typedef void exit_line_fn(void *arg, const struct exit_line *l);
void exits_each(const struct exits *e, exit_line_fn *fn, void *arg);	/* those to the VMM first */
void exits_free(struct exits *e);

#endif
