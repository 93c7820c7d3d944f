/* SPDX-License-Identifier: MIT */
/* tools/trace_exits.c - see trace_exits.h. */
#include "tools/trace_exits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/user_exits.h"

enum { REASONS = 64, SIGNAL = REASONS, OTHER, ROWS };

/* What a real KVM exits for, and does without the VMM: its name there, our event. */
#define INSIDE(X) \
	X("msr", kvm_msr) X("cpuid", kvm_cpuid) X("hypercall", kvm_hypercall) \
	X("halt", kvm_vcpu_wakeup) \
	X("mmio (read, write)", kvm_mmio) X("io", kvm_pio) X("vmrun", kvm_nested_vmenter) \
	X("#vmexit of L2", kvm_nested_vmexit) X("avic incomplete ipi", kvm_avic_incomplete_ipi) \
	X("avic unaccelerated access", kvm_avic_unaccelerated_access)

struct row {
	u64 count, timed, ns, max;
};

struct away {	/* a vCPU, and since when it has been with the VMM */
	struct away *next;
	u16 vm;
	s16 vcpu;
	u32 row;
	u64 ns;		/* 0: it is not */
};

struct exits {
	struct row rows[ROWS];
	u64 inside[TRACE_EVENT_COUNT];
	struct away *vcpus;
	u64 first, last;
};

struct exits *exits_begin(void)
{
	return calloc(1, sizeof(struct exits));
}

static struct away *away(struct exits *e, const struct trace_record *r)
{
	struct away *a = e->vcpus;

	while (a && (a->vm != r->vm || a->vcpu != r->vcpu))
		a = a->next;
	if (a)
		return a;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->vm = r->vm;
	a->vcpu = (s16)r->vcpu;
	a->next = e->vcpus;
	e->vcpus = a;
	return a;
}

void exits_record(struct exits *e, const struct trace_record *r, u64 ns)
{
	struct away *a;
	struct row *row;

	if (!e->first)
		e->first = ns;
	e->last = ns;
	if (r->event < TRACE_EVENT_COUNT)
		e->inside[r->event]++;
	if (r->event != TRACE_kvm_userspace_exit && r->event != TRACE_standin_run)
		return;
	a = away(e, r);
	if (!a)
		return;
	if (r->event == TRACE_kvm_userspace_exit) {
		s64 error = (s64)r->arg[1];

		a->row = error == -EINTR		 ? SIGNAL
			 : error || r->arg[0] >= REASONS ? OTHER
							 : (u32)r->arg[0];
		a->ns = ns;
		e->rows[a->row].count++;
		return;
	}
	if (!a->ns)
		return;	/* the exit was before the trace */
	row = &e->rows[a->row];
	row->timed++;
	if (ns < a->ns)		/* another thread's record, a little out of order */
		ns = a->ns;
	row->ns += ns - a->ns;
	if (ns - a->ns > row->max)
		row->max = ns - a->ns;
	a->ns = 0;
}

static const char *row_name(u32 i, char *buf, size_t size)
{
	if (i == SIGNAL)
		return "(a signal)";
	if (i == OTHER)
		return "(an error)";
	snprintf(buf, size, "KVM_EXIT_%s", user_exit_name(i));
	return buf;
}

double exits_seconds(const struct exits *e)
{
	return e->last > e->first ? (double)(e->last - e->first) / 1e9 : 1;
}

void exits_each(const struct exits *e, exit_line_fn *fn, void *arg)
{
	bool done[ROWS] = { false };
	char name[48];

	for (;;) {	/* the most frequent first */
		const struct row *r;
		u32 best = ROWS;

		for (u32 i = 0; i < ROWS; i++)
			if (!done[i] && e->rows[i].count &&
			    (best == ROWS || e->rows[i].count > e->rows[best].count))
				best = i;
		if (best == ROWS)
			break;
		done[best] = true;
		r = &e->rows[best];
		fn(arg, &(struct exit_line){ .name = row_name(best, name, sizeof(name)),
					     .to_vmm = true,
					     .count = r->count, .timed = r->timed, .ns = r->ns,
					     .max = r->max });
	}
#define X(n, event) \
	if (e->inside[TRACE_##event]) \
		fn(arg, &(struct exit_line){ .name = n, .count = e->inside[TRACE_##event] });
	INSIDE(X)
#undef X
}

struct report {
	FILE *f;
	double seconds;
	u64 all;		/* to the VMM */
	bool vmm, inside;	/* this head is written */
};

static void count_line(void *arg, const struct exit_line *l)
{
	struct report *r = arg;

	r->all += l->to_vmm ? l->count : 0;
}

static void report_line(void *arg, const struct exit_line *l)
{
	struct report *r = arg;
	double rate = (double)l->count / r->seconds;

	if (!l->to_vmm) {
		if (!r->inside)
			fprintf(r->f, "%-32s %10s %5s %10s\n", "handled by standin, or begun",
				"count", "", "per second");
		r->inside = true;
		fprintf(r->f, "%-32s %10" PRIu64 " %5s %10.0f\n", l->name, l->count, "", rate);
		return;
	}
	if (!r->vmm)
		fprintf(r->f, "%-32s %10s %5s %10s %12s %12s %12s\n", "exits to the VMM", "count",
			"%", "per second", "VMM ms", "avg us", "max us");
	r->vmm = true;
	fprintf(r->f, "%-32s %10" PRIu64 " %5.1f %10.0f %12.3f %12.3f %12.3f\n", l->name, l->count,
		100.0 * (double)l->count / (double)r->all, rate, (double)l->ns / 1e6,
		l->timed ? (double)l->ns / 1e3 / (double)l->timed : 0, (double)l->max / 1e3);
}

void exits_report(const struct exits *e, FILE *f)
{
	struct report r = { .f = f, .seconds = exits_seconds(e) };

	exits_each(e, count_line, &r);
	exits_each(e, report_line, &r);
}

void exits_free(struct exits *e)
{
	struct away *a, *next;

	for (a = e->vcpus; a; a = next) {
		next = a->next;
		free(a);
	}
	free(e);
}
