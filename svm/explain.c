/* SPDX-License-Identifier: MIT */
/* svm/explain.c - refusals and exit codes in words. No libc: see checks.h. */
#include "svm/checks.h"

struct out {
	char *p, *end;	/* *end is for the terminator */
};

static void put_char(struct out *o, char ch)
{
	if (o->p < o->end)
		*o->p++ = ch;
}

static void put(struct out *o, const char *s)
{
	while (*s)
		put_char(o, *s++);
}

static void put_number(struct out *o, u64 v, u32 base)
{
	char digits[20];
	u32 n = 0;

	if (base == 16)
		put(o, "0x");
	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	while (n)
		put_char(o, digits[--n]);
}

static void put_reason(struct out *o, const struct svm_refusal *why)
{
	put(o, why->field);
	put_char(o, ' ');
	for (const char *t = why->text; *t; t++) {
		if (*t != '$') {
			put_char(o, *t);
			continue;
		}
		switch (*++t) {
		case 'x': put_number(o, why->value, 16); break;
		case 'a': put_number(o, why->aux, 16); break;
		case 't': put_number(o, svm_event_type((u32)why->value), 10); break;
		case 'v': put_number(o, why->value & SVM_EVENT_VECTOR, 10); break;
		}
	}
	put(o, " (");
	put(o, why->section);
	put_char(o, ')');
}

static size_t finish(struct out *o, const char *buf)
{
	*o->p = 0;
	return (size_t)(o->p - buf);
}

size_t svm_refusal_reason(const struct svm_refusal *why, char buf[SVM_TEXT_MAX])
{
	struct out o = { buf, buf + SVM_TEXT_MAX - 1 };

	put_reason(&o, why);
	return finish(&o, buf);
}

size_t svm_refusal_format(const struct svm_refusal *why, char buf[SVM_TEXT_MAX])
{
	struct out o = { buf, buf + SVM_TEXT_MAX - 1 };

	put(&o, "VMRUN refused: ");
	put_reason(&o, why);
	return finish(&o, buf);
}

/* EXCP_PF, EXCP_9, CR_WRITE_4. */
static const char *member(const char *family, u64 n, char buf[32])
{
	const char *exc = family[0] == 'E' ? exc_name((u8)n) : NULL;
	struct out o = { buf, buf + 31 };

	put(&o, family);
	put_char(&o, '_');
	if (exc)
		put(&o, exc);
	else
		put_number(&o, n, 10);
	finish(&o, buf);
	return buf;
}

const char *svm_exit_name(u64 code, char buf[32])
{
	struct out o = { buf, buf + 31 };

	switch (code) {
#define X(name, number, feature) case number: return #name;
		SVM_INTERCEPTS(X)
#undef X
#define X(name, number) case number: return #name;
		SVM_EXTRA_EXITS(X)
#undef X
	case SVM_EXIT_INVALID: return "INVALID";
	}
#define X(name, first, count) \
	if (code - (first) < (count)) \
		return member(#name, code - (first), buf);
	SVM_INTERCEPT_FAMILIES(X)
#undef X
	put_number(&o, code, 16);
	finish(&o, buf);
	return buf;
}
