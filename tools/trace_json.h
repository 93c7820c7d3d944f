/* SPDX-License-Identifier: MIT */
/*
 * tools/trace_json.h - the Chrome trace event format, as Perfetto's UI opens it: a process for
 * each VM, a thread for each vCPU and I/O APIC pin, nested asynchronous spans for interrupts.
 * A NULL writer ignores everything.
 */
#ifndef TOOLS_TRACE_JSON_H
#define TOOLS_TRACE_JSON_H

#include <stdio.h>

#include "tools/trace_area.h"

struct json;
struct json *json_begin(FILE *f, const struct trace_area *a);
void json_end(struct json *j);
/* An interrupt of a vCPU begins, has phases, and ends. */
void json_interrupt(struct json *j, u16 vm, s32 vcpu, u32 vec, u64 id, u64 ns, bool level,
		    const char *why);
void json_phase(struct json *j, u16 vm, u64 id, u64 ns, const char *phase, bool begin);
void json_interrupt_end(struct json *j, u16 vm, u64 id, u64 ns);
/* Remote IRR of a pin. */
void json_pin(struct json *j, u16 vm, u32 pin, u32 vec, u64 ns, bool set);
/* Any other event: a mark on its vCPU's thread. */
void json_instant(struct json *j, const struct trace_record *r, u64 ns);
/* A vector was injected: the counter of injections per millisecond. */
void json_rate(struct json *j, u16 vm, s32 vcpu, u32 vec, u64 ns);

#endif
