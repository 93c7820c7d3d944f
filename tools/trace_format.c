/* SPDX-License-Identifier: MIT */
/* tools/trace_format.c - records as text: formats of base/trace_events.h, ftrace's layout. */
#include <inttypes.h>
#include <string.h>

#include "base/user_exits.h"
#include "irq/apicv.h"
#include "irq/lapic_regs.h"
#include "svm/checks.h"
#include "tools/trace_area.h"
#include "tools/standin.h"

static const struct event {
	const char *name;
	u32 args;
	const char *format;
} events[] = {
#define X(n, a, f) { #n, a, f },
	TRACE_EVENTS(X)
#undef X
};

static const struct list {
	const char *name;
	const char *const *of;
	u32 n;
} lists[] = {
#define X(n, ...) { #n, (const char *const[]){ __VA_ARGS__ }, \
		    ARRAY_SIZE(((const char *const[]){ __VA_ARGS__ })) },
	TRACE_ENUMS(X)
#undef X
};

const char *trace_inhibit_name(u64 reason)
{
	static const char *const names[] = {
#define X(n, why) #n,
		APICV_INHIBITS(X)
#undef X
	};

	return reason < ARRAY_SIZE(names) ? names[reason] : "?";
}

const char *area_event_name(u32 event)
{
	return event < ARRAY_SIZE(events) ? events[event].name : "?";
}

static const char *lapic_reg_name(u32 offset)
{
#define X(name, at, count, ...) \
	if (offset >= (at) && offset < (at) + (count) * 16) \
		return #name;
	LAPIC_REGS(X)
#undef X
	return NULL;
}

static const char *list_name(const char *conv, size_t len, u64 v)
{
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (strlen(lists[i].name) == len && !strncmp(lists[i].name, conv, len))
			return v < lists[i].n ? lists[i].of[v] : "?";
	return NULL;
}

/* Interrupt command (SDM3 11.6.1) as vector and modes. */
static int put_icr(char *to, size_t size, u64 icr)
{
	static const char *const shorthand[] = { "dst", "self", "all", "all-but-self" };

	return snprintf(to, size, "%u (%s|%s|%s|%s|%s)", (u32)icr & 0xff,
			list_name("delivery", 8, icr >> 8 & 7),
			icr >> 11 & 1 ? "logical" : "physical",
			icr >> 14 & 1 ? "assert" : "de-assert", icr >> 15 & 1 ? "level" : "edge",
			shorthand[icr >> 18 & 3]);
}

/* rule, value, aux */
static int put_refusal(char *to, size_t size, const u64 *arg)
{
	char reason[SVM_TEXT_MAX];
	struct svm_refusal why;

	if (arg[0] >= SVM_RULE_COUNT)
		return snprintf(to, size, "?");
	svm_refuse(&why, (enum svm_rule)arg[0], arg[1], arg[2]);
	svm_refusal_reason(&why, reason);
	return snprintf(to, size, "%s", reason);
}

static int put(char *to, size_t size, const char *conv, size_t len, u64 v)
{
	const char *name;

	if (!len)
		return snprintf(to, size, "%" PRIu64, v);
	if (len == 1 && *conv == 'd')
		return snprintf(to, size, "%" PRId64, (s64)v);
	if (len == 1 && *conv == 'x')
		return snprintf(to, size, "0x%" PRIx64, v);
	if (len == 1 && *conv == 'h')
		return snprintf(to, size, "%" PRIx64, v);
	if (len == 7 && !strncmp(conv, "inhibit", 7))
		return snprintf(to, size, "%s", trace_inhibit_name(v));
	if (len == 4 && !strncmp(conv, "user", 4))
		return snprintf(to, size, "KVM_EXIT_%s", user_exit_name(v));
	if (len == 3 && !strncmp(conv, "svm", 3)) {
		char exit[32];

		return snprintf(to, size, "%s", svm_exit_name(v, exit));
	}
	if (len == 3 && !strncmp(conv, "icr", 3))
		return put_icr(to, size, v);
	if (len == 7 && !strncmp(conv, "apicreg", 7)) {
		name = lapic_reg_name((u32)v);
		return name ? snprintf(to, size, "APIC_%s", name)
			    : snprintf(to, size, "0x%" PRIx64, v);
	}
	name = list_name(conv, len, v);
	return name ? snprintf(to, size, "%s", name) : snprintf(to, size, "%" PRIu64, v);
}

int trace_format(const struct trace_record *r, char *buf, size_t size)
{
	const char *f = r->event < ARRAY_SIZE(events) ? events[r->event].format : "?";
	size_t n = 0;
	u32 arg = 0;

	buf[0] = 0;
	while (*f && n + 1 < size) {
		size_t name, conv = 0;
		int k;

		if (*f != '{') {
			buf[n++] = *f++;
			continue;
		}
		name = strcspn(++f, ":}");
		f += name;
		if (*f == ':')
			conv = strcspn(++f, "}");
		if (conv == 7 && !strncmp(f, "refusal", 7))
			k = put_refusal(buf + n, size - n, &r->arg[arg]);
		else
			k = put(buf + n, size - n, f, conv, arg < TRACE_MAX_ARGS ? r->arg[arg] : 0);
		arg++;
		n += (size_t)k < size - n ? (size_t)k : size - n - 1;
		f += conv;
		f += *f == '}';
	}
	buf[n] = 0;
	return (int)n;
}

/* A thread's name, looked up once while it lives. */
static const char *comm(u32 tid)
{
	static struct {
		u32 tid;
		char name[16];
	} cache[256];
	u32 slot = tid % ARRAY_SIZE(cache);
	char path[64];
	FILE *f;

	if (cache[slot].tid == tid)
		return cache[slot].name;
	cache[slot].tid = tid;
	strcpy(cache[slot].name, "<...>");
	snprintf(path, sizeof(path), "/proc/%u/comm", tid);
	f = fopen(path, "re");
	if (f) {
		if (fgets(cache[slot].name, sizeof(cache[slot].name), f))
			cache[slot].name[strcspn(cache[slot].name, "\n")] = 0;
		fclose(f);
	}
	/* Words are what separates columns. */
	for (char *p = cache[slot].name; *p; p++)
		if (*p == ' ' || *p == '/')
			*p = '-';
	return cache[slot].name;
}

void trace_text_head(FILE *f)
{
	fprintf(f, "# tracer: nop\n#\n"
		   "#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n"
		   "#              | |         |   |||||     |         |\n");
}

void trace_text_line(FILE *f, const struct trace_area *a, const struct trace_record *r)
{
	char text[256];
	u64 us = trace_ns(a, r->tsc) / 1000;

	trace_format(r, text, sizeof(text));
	fprintf(f, "%16s-%-7u [%03u] ..... %5" PRIu64 ".%06" PRIu64 ": %s: ", comm(r->tid), r->tid,
		r->cpu, us / 1000000, us % 1000000, area_event_name(r->event));
	if (r->vcpu >= 0)
		fprintf(f, "vm %u vcpu %d, %s\n", r->vm, r->vcpu, text);
	else
		fprintf(f, "vm %u, %s\n", r->vm, text);
}
