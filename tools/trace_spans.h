/* SPDX-License-Identifier: MIT */
/*
 * tools/trace_spans.h - interrupts as spans: from the assertion through IRR and ISR to the EOI
 * and, for level-triggered ones, to the EOI of the I/O APIC.
 *
 * Records go in, in order; a Chrome trace (JSON object format, which Perfetto opens) and a table
 * of what each vector did come out. One reader's thread.
 */
#ifndef TOOLS_TRACE_SPANS_H
#define TOOLS_TRACE_SPANS_H

#include <stdio.h>

#include "tools/trace_area.h"

struct spans;

/* json: where the trace goes, or NULL for the table alone. NULL: no memory. */
struct spans *spans_begin(FILE *json, const struct trace_area *a);
void spans_record(struct spans *s, const struct trace_record *r);
/* Close what is open at time `ns` and finish the JSON text. */
void spans_end(struct spans *s, u64 ns);
/* One line for each vector of each vCPU, then what looks wrong: interrupts that were never
 * taken or finished, Remote IRR bits that stayed set, storms. Returns the number of findings. */
u32 spans_report(const struct spans *s, FILE *f);
void spans_free(struct spans *s);

#endif
