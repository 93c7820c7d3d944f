/* SPDX-License-Identifier: MIT */
/* tools/trace_html.c - see trace_html.h. The page is tools/trace.html; its data is JSON in its
 * middle. */
#include "tools/trace_html.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#include "trace_page.h"	/* page: made of trace.html */

/* A bin is BIN_NS long at first, and twice as long each time there are more than BINS. */
enum {
	BINS = 2048,
	BIN_NS = 1 << 14,
	LAST = 4096,
	ENDS = 64,
	BEFORE = 24,
	VECTORS = 32,
	TEXT = 160
};

/* What a vCPU's time is spent on, and what happens to it, by bin. */
#define LANES(X) X(vmm) X(halted) X(exits) X(interrupts) X(faults)
enum lane {
#define X(n) LANE_##n,
	LANES(X)
#undef X
	LANE_COUNT
};

struct line {		/* an event as text */
	u64 ns;
	u16 vm, event;
	s16 vcpu;
	char text[TEXT];
};

struct track {		/* a vCPU */
	struct track *next;
	u16 vm;
	s16 vcpu;
	u64 first, last;
	u64 away;	/* with the VMM since then; 0: it is not */
	u64 exceptions[VECTORS];
	u64 bins[LANE_COUNT][BINS];
	struct line before[BEFORE];	/* a ring */
	u32 nr_before;
};

struct end {		/* a guest that ended, or a refused VMRUN, and what came before */
	struct line what, before[BEFORE];
	u32 n;
};

struct html {
	const struct trace_area *area;
	struct track *tracks;
	u64 start, bin_ns, last_ns, records;
	struct line *last;	/* a ring of LAST */
	struct end *ends;	/* the first ENDS */
	u32 nr_ends, more_ends;
};

struct html *html_begin(const struct trace_area *a)
{
	struct html *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->area = a;
	h->bin_ns = BIN_NS;
	h->last = calloc(LAST, sizeof(*h->last));
	h->ends = calloc(ENDS, sizeof(*h->ends));
	if (h->last && h->ends)
		return h;
	html_free(h);
	return NULL;
}

static struct track *track(struct html *h, const struct trace_record *r, u64 ns)
{
	struct track **at = &h->tracks;

	while (*at && ((*at)->vm != r->vm || (*at)->vcpu != r->vcpu))
		at = &(*at)->next;
	if (!*at) {
		*at = calloc(1, sizeof(**at));
		if (*at)
			**at = (struct track){ .vm = r->vm, .vcpu = r->vcpu, .first = ns };
	}
	return *at;
}

static void widen(struct html *h)
{
	for (struct track *t = h->tracks; t; t = t->next)
		for (u32 l = 0; l < LANE_COUNT; l++) {
			u64 *b = t->bins[l];

			for (u32 i = 0; i < BINS / 2; i++)
				b[i] = b[2 * i] + b[2 * i + 1];
			memset(b + BINS / 2, 0, BINS / 2 * sizeof(*b));
		}
	h->bin_ns *= 2;
}

static void count(struct html *h, struct track *t, enum lane l, u64 ns)
{
	t->bins[l][(ns - h->start) / h->bin_ns]++;
}

static void spent(struct html *h, struct track *t, enum lane l, u64 from, u64 to)
{
	if (from < t->first)
		from = t->first;
	while (from < to) {
		u64 bin = (from - h->start) / h->bin_ns, end = h->start + (bin + 1) * h->bin_ns;

		if (end > to)
			end = to;
		t->bins[l][bin] += end - from;
		from = end;
	}
}

static bool ends_guest(const struct trace_record *r)
{
	if (r->event == TRACE_kvm_nested_vmenter_failed)
		return true;
	if (r->event != TRACE_kvm_userspace_exit)
		return false;
	return (r->arg[1] && (s64)r->arg[1] != -EINTR && (s64)r->arg[1] != -EAGAIN) ||
	       r->arg[0] == KVM_EXIT_SHUTDOWN || r->arg[0] == KVM_EXIT_INTERNAL_ERROR ||
	       r->arg[0] == KVM_EXIT_FAIL_ENTRY;
}

static void end(struct html *h, const struct track *t, const struct line *what)
{
	struct end *e = &h->ends[h->nr_ends];

	if (h->nr_ends == ENDS) {
		h->more_ends++;
		return;
	}
	h->nr_ends++;
	e->what = *what;
	for (u32 i = t->nr_before > BEFORE ? t->nr_before - BEFORE : 0; i < t->nr_before; i++)
		e->before[e->n++] = t->before[i % BEFORE];
}

static void on_vcpu(struct html *h, struct track *t, const struct trace_record *r, u64 ns)
{
	t->last = ns;
	switch (r->event) {
	case TRACE_kvm_userspace_exit:
		count(h, t, LANE_exits, ns);
		t->away = ns;
		break;
	case TRACE_standin_run:
		if (t->away)
			spent(h, t, LANE_vmm, t->away, ns);
		t->away = 0;
		break;
	case TRACE_kvm_vcpu_wakeup:
		spent(h, t, LANE_halted, ns - h->start > r->arg[0] ? ns - r->arg[0] : h->start, ns);
		break;
	case TRACE_kvm_inj_virq:
		count(h, t, LANE_interrupts, ns);
		break;
	case TRACE_kvm_inj_exception:
		count(h, t, LANE_faults, ns);
		t->exceptions[r->arg[0] % VECTORS]++;
		break;
	}
}

void html_record(struct html *h, const struct trace_record *r, u64 ns)
{
	struct line *l = &h->last[h->records % LAST];
	struct track *t = NULL;

	if (!h->records)
		h->start = ns;
	if (ns < h->start)	/* another CPU's */
		ns = h->start;
	while ((ns - h->start) / h->bin_ns >= BINS)
		widen(h);
	if (ns > h->last_ns)
		h->last_ns = ns;
	h->records++;
	*l = (struct line){ .ns = ns, .vm = r->vm, .event = r->event, .vcpu = r->vcpu };
	trace_format(r, l->text, sizeof(l->text));
	if (r->vcpu >= 0)
		t = track(h, r, ns);
	if (!t)
		return;
	on_vcpu(h, t, r, ns);
	if (ends_guest(r))
		end(h, t, l);
	t->before[t->nr_before++ % BEFORE] = *l;
}

/* -- the file -- */

/* Of JSON inside a script element: "</script>" must not appear. */
static void put_text(FILE *f, const char *s)
{
	putc('"', f);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c == '<' || c == '"' || c == '\\' || c == 0x7f)
			fprintf(f, "\\u%04x", c);
		else
			putc(c, f);
	}
	putc('"', f);
}

static void put_line(const struct html *h, FILE *f, const struct line *l)
{
	fprintf(f, "[%" PRIu64 ",%u,%d,\"%s\",", l->ns - h->start, l->vm, l->vcpu,
		area_event_name(l->event));
	put_text(f, l->text);
	putc(']', f);
}

static void put_track(const struct html *h, FILE *f, const struct track *t)
{
	static const char *const names[] = {
#define X(n) #n,
		LANES(X)
#undef X
	};
	u64 used = (h->last_ns - h->start) / h->bin_ns + 1;
	bool comma = false;

	fprintf(f, "{\"vm\":%u,\"vcpu\":%d,\"first\":%" PRIu64 ",\"last\":%" PRIu64, t->vm, t->vcpu,
		t->first - h->start, t->last - h->start);
	for (u32 l = 0; l < LANE_COUNT; l++) {
		fprintf(f, ",\"%s\":[", names[l]);
		for (u64 i = 0; i < used; i++)
			fprintf(f, i ? ",%" PRIu64 : "%" PRIu64, t->bins[l][i]);
		putc(']', f);
	}
	fprintf(f, ",\"exceptions\":{");
	for (u32 i = 0; i < VECTORS; i++) {
		if (!t->exceptions[i])
			continue;
		fprintf(f, "%s\"%u\":%" PRIu64, comma ? "," : "", i, t->exceptions[i]);
		comma = true;
	}
	fputs("}}", f);
}

struct table {
	FILE *f;
	bool comma;
};

static void put_exit(void *arg, const struct exit_line *l)
{
	struct table *t = arg;

	fputs(t->comma ? ",\n" : "", t->f);
	t->comma = true;
	fputs("{\"name\":", t->f);
	put_text(t->f, l->name);
	fprintf(t->f,
		",\"vmm\":%s,\"count\":%" PRIu64 ",\"timed\":%" PRIu64 ",\"ns\":%" PRIu64
		",\"max\":%" PRIu64 "}",
		l->to_vmm ? "true" : "false", l->count, l->timed, l->ns, l->max);
}

static void put_interrupts(FILE *f, const struct spans *s)
{
	char *text = NULL;
	size_t size;
	FILE *m = open_memstream(&text, &size);

	if (m) {
		spans_report(s, m);
		fclose(m);
	}
	fputs(",\n\"interrupts\":", f);
	put_text(f, text ? text : "");
	free(text);
}

static void put_command(FILE *f, char *const *command)
{
	fputs("\"command\":[", f);
	for (u32 i = 0; command && command[i]; i++) {
		fputs(i ? "," : "", f);
		put_text(f, command[i]);
	}
	putc(']', f);
}

void html_write(const struct html *h, FILE *f, char *const *command, u64 lost,
		const struct exits *e, const struct spans *s)
{
	static const char mark[] = "@DATA@";
	const char *at = strstr(page, mark);
	struct table table = { .f = f };
	u64 first = h->records > LAST ? h->records - LAST : 0;

	fwrite(page, 1, (size_t)(at - page), f);
	fprintf(f, "{\"version\":\"%s\",", STANDIN_VERSION);
	put_command(f, command);
	fprintf(f,
		",\"records\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"ns\":%" PRIu64 ",\"bin\":%" PRIu64
		",\n\"tracks\":[",
		h->records, lost, h->last_ns - h->start, h->bin_ns);
	for (const struct track *t = h->tracks; t; t = t->next) {
		put_track(h, f, t);
		fputs(t->next ? ",\n" : "", f);
	}
	fputs("],\n\"exits\":[", f);
	exits_each(e, put_exit, &table);
	fprintf(f, "],\n\"moreEnds\":%u,\"ends\":[", h->more_ends);
	for (u32 i = 0; i < h->nr_ends; i++) {
		fputs(i ? ",\n{\"what\":" : "{\"what\":", f);
		put_line(h, f, &h->ends[i].what);
		fputs(",\"before\":[", f);
		for (u32 k = 0; k < h->ends[i].n; k++) {
			fputs(k ? ",\n" : "", f);
			put_line(h, f, &h->ends[i].before[k]);
		}
		fputs("]}", f);
	}
	putc(']', f);
	put_interrupts(f, s);
	fputs(",\n\"last\":[", f);
	for (u64 i = first; i < h->records; i++) {
		fputs(i > first ? ",\n" : "", f);
		put_line(h, f, &h->last[i % LAST]);
	}
	fputs("]}", f);
	fputs(at + sizeof(mark) - 1, f);
}

void html_free(struct html *h)
{
	struct track *next;

	for (struct track *t = h->tracks; t; t = next) {
		next = t->next;
		free(t);
	}
	free(h->last);
	free(h->ends);
	free(h);
}
