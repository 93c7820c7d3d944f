/* SPDX-License-Identifier: MIT */
/* tools/trace_spans.c - see trace_spans.h. */
#include "tools/trace_spans.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/trace_json.h"

#define PINS 64		/* I/O APIC pins that are followed */
#define STORM_PER_MS 100
/* A level line that stays in service this long at the end of the trace is worth a word. */
#define STUCK_NS 10000000

/* Where an interrupt came from: the last assertion seen on the thread that delivers it. */
struct cause {
	u64 ns;		/* 0 = none */
	u16 event;
	u64 arg[2];
};

/* One interrupt on its way. */
struct flight {
	u64 id;		/* of the span; 0 = none */
	u64 ns;		/* when the present phase began */
	bool level;
};

/* A vector of a local APIC: at most one in IRR and one in ISR (SDM3 11.8.4). */
struct vector {
	struct flight irr, isr, eoi;	/* eoi: waits for the I/O APIC to hear of it */
	u64 taken, merged;		/* merged: came while IRR was set */
	u64 wait_ns, wait_max, service_ns, service_max;
	u64 ms, in_ms, most_in_ms;	/* injections in one millisecond */
};

struct pin {
	bool set;
	u32 vec;
	u64 ns, times, longest;
};

struct apic {
	struct apic *next;
	u64 last_ns;	/* when its vCPU was last seen at work */
	u16 vm;
	s32 id;
	struct vector *v[256];
};

struct spans {
	struct json *json;
	const struct trace_area *area;
	u64 next_id;
	struct apic *apics;
	struct pin pins[TRACE_MAX_VMS][PINS];
	struct {
		u32 tid;
		struct cause c;
	} cause[64]; /* by thread */
};

struct spans *spans_begin(FILE *json, const struct trace_area *a)
{
	struct spans *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->area = a;
	s->next_id = 1;
	if (json) {
		s->json = json_begin(json, a);
		if (!s->json) {
			free(s);
			return NULL;
		}
	}
	return s;
}

static struct vector *vector(struct spans *s, u16 vm, s32 id, u32 vec)
{
	struct apic *a = s->apics;

	while (a && (a->vm != vm || a->id != id))
		a = a->next;
	if (!a) {
		a = calloc(1, sizeof(*a));
		if (!a)
			return NULL;
		a->vm = vm;
		a->id = id;
		a->next = s->apics;
		s->apics = a;
	}
	if (!a->v[vec & 255])
		a->v[vec & 255] = calloc(1, sizeof(struct vector));
	return a->v[vec & 255];
}

static struct cause *cause(struct spans *s, u32 tid)
{
	u32 i = tid % ARRAY_SIZE(s->cause);

	if (s->cause[i].tid != tid) {
		s->cause[i].tid = tid;
		s->cause[i].c.ns = 0;
	}
	return &s->cause[i].c;
}

static void describe(const struct cause *c, char *buf, size_t size)
{
	struct trace_record r = { .event = c->event, .arg = { c->arg[0], c->arg[1] } };
	int n = snprintf(buf, size, "%s: ", area_event_name(c->event));

	trace_format(&r, buf + n, size - (size_t)n);
}

static void begin(struct spans *s, const struct trace_record *r, u64 ns, const char *phase,
		  struct flight *f)
{
	f->ns = ns;
	json_phase(s->json, r->vm, f->id, ns, phase, true);
}

static void end(struct spans *s, u16 vm, u64 ns, const char *phase, struct flight *f)
{
	json_phase(s->json, vm, f->id, ns, phase, false);
}

static void finish(struct spans *s, u16 vm, u64 ns, struct flight *f)
{
	json_interrupt_end(s->json, vm, f->id, ns);
	f->id = 0;
}

static void accepted(struct spans *s, const struct trace_record *r, u64 ns)
{
	u32 vec = (u32)r->arg[1] & 255;
	struct vector *v = vector(s, r->vm, (s32)r->arg[0], vec);
	struct cause *c = cause(s, r->tid);
	char why[128] = "";

	if (!v || r->arg[2] > 1)	/* Fixed and lowest priority only */
		return;
	if (v->irr.id) {
		v->merged++;
		return;
	}
	v->irr = (struct flight){ .id = s->next_id++, .level = r->arg[3] };
	if (c->ns)
		describe(c, why, sizeof(why));
	json_interrupt(s->json, r->vm, (s32)r->arg[0], vec, v->irr.id, c->ns ? c->ns : ns,
		       v->irr.level, why);
	begin(s, r, ns, "IRR", &v->irr);
}

static void injected(struct spans *s, const struct trace_record *r, u64 ns)
{
	struct vector *v = vector(s, r->vm, r->vcpu, (u32)r->arg[0]);
	u64 waited;

	if (!v || !v->irr.id || r->arg[1])
		return;	/* ExtINT or a software interrupt: the local APIC has no part in it */
	/* Two threads' records may be a little out of order. */
	waited = ns > v->irr.ns ? ns - v->irr.ns : 0;
	end(s, r->vm, ns, "IRR", &v->irr);
	if (v->isr.id) {	/* its EOI was not seen (PV EOI by memory, trace begun late) */
		end(s, r->vm, ns, "ISR", &v->isr);
		finish(s, r->vm, ns, &v->isr);
	}
	v->isr = v->irr;
	v->irr.id = 0;
	begin(s, r, ns, "ISR", &v->isr);
	v->taken++;
	v->wait_ns += waited;
	if (waited > v->wait_max)
		v->wait_max = waited;
	if (ns / 1000000 != v->ms) {
		v->ms = ns / 1000000;
		v->in_ms = 0;
	}
	if (++v->in_ms > v->most_in_ms)
		v->most_in_ms = v->in_ms;
	json_rate(s->json, r->vm, r->vcpu, (u32)r->arg[0], ns);
}

static bool pin_waits(const struct spans *s, u16 vm, u32 vec)
{
	for (u32 i = 0; vm < TRACE_MAX_VMS && i < PINS; i++)
		if (s->pins[vm][i].set && s->pins[vm][i].vec == vec)
			return true;
	return false;
}

static void ended(struct spans *s, const struct trace_record *r, u64 ns)
{
	u32 vec = (u32)r->arg[1] & 255;
	struct vector *v = vector(s, r->vm, (s32)r->arg[0], vec);
	u64 took;

	if (!v || !v->isr.id)
		return;
	took = ns > v->isr.ns ? ns - v->isr.ns : 0;
	v->service_ns += took;
	if (took > v->service_max)
		v->service_max = took;
	end(s, r->vm, ns, "ISR", &v->isr);
	if (v->isr.level && pin_waits(s, r->vm, vec)) {
		if (v->eoi.id) {
			end(s, r->vm, ns, "until I/O APIC EOI", &v->eoi);
			finish(s, r->vm, ns, &v->eoi);
		}
		v->eoi = v->isr;
		v->isr.id = 0;
		begin(s, r, ns, "until I/O APIC EOI", &v->eoi);
		return;
	}
	finish(s, r->vm, ns, &v->isr);
}

static void remote_irr(struct spans *s, const struct trace_record *r, u64 ns)
{
	struct pin *p;
	u64 took;

	if (r->arg[0] >= PINS || r->vm >= TRACE_MAX_VMS)
		return;
	p = &s->pins[r->vm][r->arg[0]];
	if (!!r->arg[2] == p->set)
		return;
	p->set = r->arg[2];
	json_pin(s->json, r->vm, (u32)r->arg[0], (u32)r->arg[1], ns, p->set);
	if (p->set) {
		p->vec = (u32)r->arg[1];
		p->ns = ns;
		p->times++;
		return;
	}
	took = ns - p->ns;
	if (took > p->longest)
		p->longest = took;
	for (struct apic *a = s->apics; a; a = a->next) {
		struct vector *v = a->vm == r->vm ? a->v[p->vec & 255] : NULL;

		if (!v || !v->eoi.id)
			continue;
		end(s, a->vm, ns, "until I/O APIC EOI", &v->eoi);
		finish(s, a->vm, ns, &v->eoi);
	}
}

/* A vCPU that does nothing any more has not failed to take what comes. */
static void seen_at_work(struct spans *s, const struct trace_record *r, u64 ns)
{
	for (struct apic *a = s->apics; a; a = a->next)
		if (a->vm == r->vm && a->id == r->vcpu)
			a->last_ns = ns;
}

void spans_record(struct spans *s, const struct trace_record *r)
{
	u64 ns = trace_ns(s->area, r->tsc);

	if (r->vcpu >= 0)
		seen_at_work(s, r, ns);
	switch (r->event) {
	case TRACE_kvm_set_irq:
	case TRACE_kvm_msi_set_irq:
	case TRACE_kvm_apic_ipi:
		/* An MSI that a GSI is routed to: the line is the better name. */
		if (r->event == TRACE_kvm_msi_set_irq && cause(s, r->tid)->ns &&
		    ns - cause(s, r->tid)->ns < 50000)
			break;
		*cause(s, r->tid) = (struct cause){
			.ns = ns, .event = r->event, .arg = { r->arg[0], r->arg[1] } };
		break;
	case TRACE_kvm_apic_accept_irq:
	case TRACE_kvm_apicv_accept_irq:
		accepted(s, r, ns);
		cause(s, r->tid)->ns = 0;
		return;
	case TRACE_kvm_inj_virq:
		injected(s, r, ns);
		return;
	case TRACE_kvm_eoi:
	case TRACE_kvm_pv_eoi:
		ended(s, r, ns);
		return;
	case TRACE_standin_remote_irr:
		remote_irr(s, r, ns);
		return;
	case TRACE_kvm_entry:
	case TRACE_kvm_exit:
		return;
	}
	json_instant(s->json, r, ns);
}

static void close_flight(struct spans *s, u16 vm, u64 ns, const char *phase, struct flight *f)
{
	if (!f->id)
		return;
	end(s, vm, ns, phase, f);
	json_interrupt_end(s->json, vm, f->id, ns);	/* f->id stays: the report tells of it */
}

void spans_end(struct spans *s, u64 ns)
{
	for (struct apic *a = s->apics; a; a = a->next)
		for (u32 i = 0; i < 256; i++) {
			if (!a->v[i])
				continue;
			close_flight(s, a->vm, ns, "IRR", &a->v[i]->irr);
			close_flight(s, a->vm, ns, "ISR", &a->v[i]->isr);
			close_flight(s, a->vm, ns, "until I/O APIC EOI", &a->v[i]->eoi);
		}
	for (u32 vm = 0; vm < TRACE_MAX_VMS; vm++)
		for (u32 i = 0; i < PINS; i++)
			if (s->pins[vm][i].set) {
				json_pin(s->json, (u16)vm, i, s->pins[vm][i].vec, ns, false);
				s->pins[vm][i].longest = ns - s->pins[vm][i].ns;
			}
	json_end(s->json);
	s->json = NULL;
}

static u32 findings(const struct apic *a, u32 vec, const struct vector *v, FILE *f)
{
	u32 n = 0;

	if (v->most_in_ms >= STORM_PER_MS) {
		fprintf(f,
			"storm: vm %u vCPU %d took vector 0x%02x %" PRIu64
			" times in one millisecond\n",
			a->vm, a->id, vec, v->most_in_ms);
		n++;
	}
	/* At a power-off the last ones always stay behind. */
	if (v->irr.id && a->last_ns >= v->irr.ns + STUCK_NS) {
		fprintf(f, "not taken: vm %u vCPU %d has vector 0x%02x in IRR at the end\n", a->vm,
			a->id, vec);
		n++;
	}
	if (v->eoi.id) {
		fprintf(f,
			"no I/O APIC EOI: vm %u vCPU %d ended vector 0x%02x, the I/O APIC has "
			"not heard of it\n",
			a->vm, a->id, vec);
		n++;
	}
	return n;
}

u32 spans_report(const struct spans *s, FILE *f)
{
	u32 found = 0;

	fprintf(f, "%-4s %-5s %-6s %10s %8s %12s %12s %12s %12s %8s\n", "vm", "vcpu", "vector",
		"taken", "merged", "IRR avg us", "IRR max us", "ISR avg us", "ISR max us",
		"max/ms");
	for (struct apic *a = s->apics; a; a = a->next)
		for (u32 i = 0; i < 256; i++) {
			const struct vector *v = a->v[i];
			double n = v && v->taken ? (double)v->taken * 1e3 : 1;

			if (!v || (!v->taken && !v->irr.id))
				continue;
			fprintf(f,
				"%-4u %-5d 0x%02x   %10" PRIu64 " %8" PRIu64
				" %12.3f %12.3f %12.3f %12.3f %8" PRIu64 "\n",
				a->vm, a->id, i, v->taken, v->merged, (double)v->wait_ns / n,
				(double)v->wait_max / 1e3, (double)v->service_ns / n,
				(double)v->service_max / 1e3, v->most_in_ms);
		}
	for (const struct apic *a = s->apics; a; a = a->next)
		for (u32 i = 0; i < 256; i++)
			if (a->v[i])
				found += findings(a, i, a->v[i], f);
	for (u32 vm = 0; vm < TRACE_MAX_VMS; vm++)
		for (u32 i = 0; i < PINS; i++) {
			const struct pin *p = &s->pins[vm][i];

			if (!p->set || p->longest < STUCK_NS)
				continue;
			fprintf(f,
				"stuck: vm %u I/O APIC pin %u has had Remote IRR set for %.3f ms "
				"(vector 0x%02x)\n",
				vm, i, (double)p->longest / 1e6, p->vec);
			found++;
		}
	return found;
}

void spans_free(struct spans *s)
{
	struct apic *a, *next;

	for (a = s->apics; a; a = next) {
		next = a->next;
		for (u32 i = 0; i < 256; i++)
			free(a->v[i]);
		free(a);
	}
	free(s);
}
