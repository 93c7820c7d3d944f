/* SPDX-License-Identifier: MIT */
/* tools/trace_exits.c - see trace_exits.h. */
#include "tools/trace_exits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

enum { REASONS = 64, SIGNAL = REASONS, OTHER, ROWS };

/* What a real KVM exits for, and does without the VMM: its name there, our event. */
#define INSIDE(X) \
	X("msr", kvm_msr) X("cpuid", kvm_cpuid) X("hypercall", kvm_hypercall) X("halt", kvm_vcpu_wakeup) \
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

		a->row = error == -EINTR ? SIGNAL : error || r->arg[0] >= REASONS ? OTHER : (u32)r->arg[0];
		a->ns = ns;
		e->rows[a->row].count++;
		return;
	}
	if (!a->ns)
		return;	/* the exit was before the trace */
	row = &e->rows[a->row];
	row->timed++;
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
	snprintf(buf, size, "KVM_EXIT_%s", trace_user_exit_name(i));
	return buf;
}

static void report_row(FILE *f, const char *name, const struct row *r, u64 all, double seconds)
{
	fprintf(f, "%-32s %10" PRIu64 " %5.1f %10.0f %12.3f %12.3f %12.3f\n", name, r->count,
		100.0 * (double)r->count / (double)all, (double)r->count / seconds, (double)r->ns / 1e6,
		r->timed ? (double)r->ns / 1e3 / (double)r->timed : 0, (double)r->max / 1e3);
}

void exits_report(const struct exits *e, FILE *f)
{
	double seconds = e->last > e->first ? (double)(e->last - e->first) / 1e9 : 1;
	char name[48];
	u64 all = 0;

	for (u32 i = 0; i < ROWS; i++)
		all += e->rows[i].count;
	if (all) {
		bool done[ROWS] = { false };

		fprintf(f, "%-32s %10s %5s %10s %12s %12s %12s\n", "exits to the VMM", "count", "%", "per second",
			"VMM ms", "avg us", "max us");
		for (;;) {	/* the most frequent first */
			u32 best = ROWS;

			for (u32 i = 0; i < ROWS; i++)
				if (!done[i] && e->rows[i].count &&
				    (best == ROWS || e->rows[i].count > e->rows[best].count))
					best = i;
			if (best == ROWS)
				break;
			done[best] = true;
			report_row(f, row_name(best, name, sizeof(name)), &e->rows[best], all, seconds);
		}
	}
	all = 0;
#define X(name, event) all += e->inside[TRACE_##event];
	INSIDE(X)
	if (all)
		fprintf(f, "%-32s %10s %5s %10s\n", "handled by standin, or begun", "count", "", "per second");
#undef X
#define X(name, event) \
	if (e->inside[TRACE_##event]) \
		fprintf(f, "%-32s %10" PRIu64 " %5s %10.0f\n", name, e->inside[TRACE_##event], "", \
			(double)e->inside[TRACE_##event] / seconds);
	INSIDE(X)
#undef X
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
