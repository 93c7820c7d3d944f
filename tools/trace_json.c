/* SPDX-License-Identifier: MIT */
/* tools/trace_json.c - see trace_json.h. Times are microseconds with three decimals. */
#include "tools/trace_json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PIN_TID 100000
#define MAX_COUNTERS 512

struct json {
	FILE *f;
	const struct trace_area *area;
	bool comma;
	bool named_vm[TRACE_MAX_VMS];
	u8 named_vcpu[TRACE_MAX_VMS][4096 / 8];
	u8 named_pin[TRACE_MAX_VMS][8];
	/* What json_interrupt_end() needs of spans that are open. */
	struct open {
		u64 id;
		s32 vcpu;
		u32 vec;
	} open[4096];
	struct counter {
		bool used;
		u16 vm;
		s32 vcpu;
		u32 vec;
		u64 ms;
		u32 n;
	} counters[MAX_COUNTERS];
};

static void item(struct json *j)
{
	fputs(j->comma ? ",\n" : "\n", j->f);
	j->comma = true;
}

struct json *json_begin(FILE *f, const struct trace_area *a)
{
	struct json *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->f = f;
	j->area = a;
	fputs("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[", f);
	return j;
}

static void text(FILE *f, const char *s)
{
	for (; *s; s++)
		if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else if ((unsigned char)*s >= 0x20)
			putc(*s, f);
}

static void name_vm(struct json *j, u16 vm)
{
	if (vm >= TRACE_MAX_VMS || j->named_vm[vm])
		return;
	j->named_vm[vm] = true;
	item(j);
	fprintf(j->f,
		"{\"ph\":\"M\",\"pid\":%u,\"name\":\"process_name\",\"args\":{\"name\":"
		"\"VM %u of process %d\"}}",
		vm + 1, j->area->vms[vm].serial, j->area->vms[vm].pid);
}

static u32 vcpu_tid(struct json *j, u16 vm, s32 vcpu)
{
	name_vm(j, vm);
	if (vcpu < 0 || vcpu >= 4096 || vm >= TRACE_MAX_VMS)
		return 0;
	if (!(j->named_vcpu[vm][vcpu / 8] & BIT(vcpu % 8))) {
		j->named_vcpu[vm][vcpu / 8] |= (u8)BIT(vcpu % 8);
		item(j);
		fprintf(j->f,
			"{\"ph\":\"M\",\"pid\":%u,\"tid\":%d,\"name\":\"thread_name\","
			"\"args\":{\"name\":\"vCPU %d\"}}",
			vm + 1, vcpu + 1, vcpu);
	}
	return (u32)vcpu + 1;
}

static void head(struct json *j, const char *ph, u16 vm, u32 tid, u64 ns)
{
	item(j);
	fprintf(j->f, "{\"ph\":\"%s\",\"pid\":%u,\"tid\":%u,\"ts\":%" PRIu64 ".%03u", ph, vm + 1,
		tid, ns / 1000, (u32)(ns % 1000));
}

static struct open *open_of(struct json *j, u64 id)
{
	return &j->open[id % ARRAY_SIZE(j->open)];
}

void json_interrupt(struct json *j, u16 vm, s32 vcpu, u32 vec, u64 id, u64 ns, bool level,
		    const char *why)
{
	u32 tid;

	if (!j)
		return;
	*open_of(j, id) = (struct open){ .id = id, .vcpu = vcpu, .vec = vec };
	tid = vcpu_tid(j, vm, vcpu);
	head(j, "b", vm, tid, ns);
	fprintf(j->f,
		",\"cat\":\"interrupt\",\"id\":%" PRIu64 ",\"name\":\"vCPU %d vector 0x%02x\","
		"\"args\":{\"trigger\":\"%s\",\"cause\":\"",
		id, vcpu, vec, level ? "level" : "edge");
	text(j->f, why);
	fputs("\"}}", j->f);
}

void json_phase(struct json *j, u16 vm, u64 id, u64 ns, const char *phase, bool begin)
{
	if (!j)
		return;
	head(j, begin ? "b" : "e", vm, vcpu_tid(j, vm, open_of(j, id)->vcpu), ns);
	fprintf(j->f, ",\"cat\":\"interrupt\",\"id\":%" PRIu64 ",\"name\":\"%s\"}", id, phase);
}

void json_interrupt_end(struct json *j, u16 vm, u64 id, u64 ns)
{
	struct open *o;

	if (!j)
		return;
	o = open_of(j, id);
	head(j, "e", vm, vcpu_tid(j, vm, o->vcpu), ns);
	fprintf(j->f,
		",\"cat\":\"interrupt\",\"id\":%" PRIu64 ",\"name\":\"vCPU %d vector 0x%02x\"}", id,
		o->vcpu, o->vec);
}

void json_pin(struct json *j, u16 vm, u32 pin, u32 vec, u64 ns, bool set)
{
	if (!j)
		return;
	name_vm(j, vm);
	if (vm < TRACE_MAX_VMS && !(j->named_pin[vm][pin / 8] & BIT(pin % 8))) {
		j->named_pin[vm][pin / 8] |= (u8)BIT(pin % 8);
		item(j);
		fprintf(j->f,
			"{\"ph\":\"M\",\"pid\":%u,\"tid\":%u,\"name\":\"thread_name\","
			"\"args\":{\"name\":\"I/O APIC pin %u\"}}",
			vm + 1, PIN_TID + pin, pin);
	}
	head(j, set ? "B" : "E", vm, PIN_TID + pin, ns);
	if (set)
		fprintf(j->f, ",\"cat\":\"ioapic\",\"name\":\"Remote IRR (vector 0x%02x)\"", vec);
	putc('}', j->f);
}

void json_instant(struct json *j, const struct trace_record *r, u64 ns)
{
	char buf[256];

	if (!j)
		return;
	trace_format(r, buf, sizeof(buf));
	head(j, "i", r->vm, vcpu_tid(j, r->vm, r->vcpu), ns);
	fprintf(j->f, ",\"s\":\"t\",\"cat\":\"event\",\"name\":\"%s\",\"args\":{\"what\":\"",
		area_event_name(r->event));
	text(j->f, buf);
	fprintf(j->f, "\",\"tid\":%u,\"cpu\":%u}}", r->tid, r->cpu);
}

static void put_counter(struct json *j, const struct counter *c, u64 ms, u32 n)
{
	head(j, "C", c->vm, 0, ms * 1000000);
	fprintf(j->f,
		",\"name\":\"interrupts per ms: vCPU %d vector 0x%02x\","
		"\"args\":{\"n\":%u}}",
		c->vcpu, c->vec, n);
}

void json_rate(struct json *j, u16 vm, s32 vcpu, u32 vec, u64 ns)
{
	u32 i = (vm * 31u + (u32)vcpu * 257u + vec) % MAX_COUNTERS;
	u64 ms = ns / 1000000;
	struct counter *c = NULL;

	if (!j)
		return;
	for (u32 k = 0; k < 16 && !c; k++, i = (i + 1) % MAX_COUNTERS) {
		struct counter *at = &j->counters[i];

		if (!at->used)
			*at = (struct counter){ .used = true, .vm = vm, .vcpu = vcpu, .vec = vec,
						.ms = ms };
		if (at->vm == vm && at->vcpu == vcpu && at->vec == vec)
			c = at;
	}
	if (!c)
		return;	/* the table is full: this one has no counter, its spans are all there */
	if (c->ms != ms) {
		put_counter(j, c, c->ms, c->n);
		if (ms > c->ms + 1)
			put_counter(j, c, c->ms + 1, 0);
		c->ms = ms;
		c->n = 0;
	}
	c->n++;
}

void json_end(struct json *j)
{
	if (!j)
		return;
	for (u32 i = 0; i < MAX_COUNTERS; i++)
		if (j->counters[i].used) {
			put_counter(j, &j->counters[i], j->counters[i].ms, j->counters[i].n);
			put_counter(j, &j->counters[i], j->counters[i].ms + 1, 0);
		}
	fputs("\n]}\n", j->f);
	free(j);
}
