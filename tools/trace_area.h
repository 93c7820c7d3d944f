/* SPDX-License-Identifier: MIT */
/*
 * tools/trace_area.h - reading what base/trace.h writes: the area of a process or of a traced
 * command, its records in order, and their text.
 */
#ifndef TOOLS_TRACE_AREA_H
#define TOOLS_TRACE_AREA_H

#include <stdio.h>

#include "base/trace.h"

/* A new area in an unlinked-later file under $TMPDIR; path gets its name. NULL + message. */
struct trace_area *area_make(char *path, size_t size);
/* The area of a running process. NULL + message on stderr. */
struct trace_area *area_of_pid(int pid);
void area_close(struct trace_area *a);

/* What to look at: `patterns` is a comma-separated list of shell wildcards; NULL = all but the
 * chatty ones. 0: nothing matches. */
u64 area_events(const char *patterns);
const char *area_event_name(u32 event);

/* Where a reader is. */
struct trace_reader {
	struct trace_area *area;
	u64 next;	/* number of the record to read next */
	u64 lost;	/* overwritten before they were read */
};
/* The next complete record: 1 and *r, or 0 when there is none now. */
int trace_read(struct trace_reader *rd, struct trace_record *r);

/* CLOCK_MONOTONIC in ns of a record. */
u64 trace_ns(const struct trace_area *a, u64 tsc);
/* The arguments as text, without the event's name. Returns the length. */
int trace_format(const struct trace_record *r, char *buf, size_t size);
const char *trace_inhibit_name(u64 reason);

/* One line in the layout of ftrace's trace file; the head that explains the columns. */
void trace_text_head(FILE *f);
void trace_text_line(FILE *f, const struct trace_area *a, const struct trace_record *r);

#endif
