/* SPDX-License-Identifier: MIT */
/*
 * tools/trace_html.h - a trace as one HTML file that needs nothing else: a timeline of each vCPU,
 * the table of exits, faults with what came before them, the last events. One reader's thread.
 *
 * What is kept does not grow with the trace: bins that become wider, and rings.
 */
#ifndef TOOLS_TRACE_HTML_H
#define TOOLS_TRACE_HTML_H

#include <stdio.h>

#include "tools/trace_exits.h"
#include "tools/trace_spans.h"

struct html;

/* NULL: no memory. */
struct html *html_begin(const struct trace_area *a);
void html_record(struct html *h, const struct trace_record *r, u64 ns);
/* The file. command: argv of what was traced, or NULL. */
void html_write(const struct html *h, FILE *f, char *const *command, u64 lost,
		const struct exits *e, const struct spans *s);
void html_free(struct html *h);

#endif
