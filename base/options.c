/* SPDX-License-Identifier: MIT */
/* base/options.c - see options.h. */
#include "base/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "STANDIN_"

enum kind { KIND_WORD, KIND_WORDS, KIND_NUMBER, KIND_PATH, KIND_ANY };

static const struct row {
	const char *name;
	enum kind kind;
	const char *values;
} rows[] = {
#define X(name, kind, values, ...) { PREFIX #name, KIND_##kind, values },
	OPTIONS(X)
#undef X
};

const char *option_name(enum option o)
{
	return rows[o].name;
}

/* Which of the words between bars? -1: none. */
static int find_word(const char *words, const char *word, size_t n)
{
	for (int i = 0;; i++) {
		size_t len = strcspn(words, "|");

		if (len == n && !strncmp(words, word, n))
			return i;
		words += len;
		if (!*words++)
			return -1;
	}
}

static bool all_words(const char *words, const char *list)
{
	for (;;) {
		size_t n = strcspn(list, ",");

		if (n && find_word(words, list, n) < 0)
			return false;
		list += n;
		if (!*list++)
			return true;
	}
}

/* Decimal, all of it, and in the range "LOW..HIGH". */
static bool number(const char *range, const char *text, u64 *out)
{
	char *end;
	u64 low = strtoull(range, &end, 10), high = strtoull(end + 2, NULL, 10), v;

	if (*text < '0' || *text > '9')	/* strtoull takes signs and blanks */
		return false;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (*end || errno || v < low || v > high)
		return false;
	*out = v;
	return true;
}

bool option_allows(enum option o, const char *value)
{
	const struct row *r = &rows[o];
	u64 n;

	switch (r->kind) {
	case KIND_WORD:
		return find_word(r->values, value, strlen(value)) >= 0;
	case KIND_WORDS:
		return all_words(r->values, value);
	case KIND_NUMBER:
		return number(r->values, value, &n);
	case KIND_PATH:	/* a relative node would be another one after each chdir() */
		return o == OPT_NODE ? *value == '/' : *value != 0;
	case KIND_ANY:
		return true;
	}
	return false;
}

const char *option_text(enum option o)
{
	const char *v = getenv(rows[o].name);

	return v && *v && option_allows(o, v) ? v : NULL;
}

int option_word(enum option o)
{
	const char *v = getenv(rows[o].name);

	return v ? find_word(rows[o].values, v, strlen(v)) : -1;
}

/* What is known of a list counts, also beside words that are not. */
bool option_has(enum option o, const char *word)
{
	const char *v = getenv(rows[o].name);

	while (v && *v) {
		size_t n = strcspn(v, ",");

		if (n == strlen(word) && !strncmp(v, word, n))
			return true;
		v += n + (v[n] == ',');
	}
	return false;
}

u64 option_number(enum option o, u64 otherwise)
{
	const char *v = getenv(rows[o].name);
	u64 n;

	return v && number(rows[o].values, v, &n) ? n : otherwise;
}

bool option_given(enum option o)
{
	return getenv(rows[o].name) != NULL;
}

/* -- what is wrong with the environment -- */

enum { NAME_MAX_LEN = 32 };

static u32 least(u32 a, u32 b)
{
	return a < b ? a : b;
}

/* How many letters have to be changed, put in or left out (Levenshtein). */
static u32 distance(const char *a, const char *b)
{
	u32 row[NAME_MAX_LEN + 1], m = (u32)strlen(b);

	for (u32 j = 0; j <= m; j++)
		row[j] = j;
	for (u32 i = 1; *a; a++, i++) {
		u32 corner = row[0];

		row[0] = i;
		for (u32 j = 1; j <= m; j++) {
			u32 up = row[j];

			row[j] = least(least(up, row[j - 1]) + 1, corner + (*a != b[j - 1]));
			corner = up;
		}
	}
	return row[m];
}

static const char *nearest(const char *name)
{
	const char *best = NULL;
	u32 best_d = 3;

	for (u32 o = 0; o < OPTION_COUNT; o++) {
		u32 d = distance(name, rows[o].name);

		if (d < best_d) {
			best_d = d;
			best = rows[o].name;
		}
	}
	return best;
}

static const char *wanted(enum option o, char *buf, size_t size)
{
	const struct row *r = &rows[o];

	switch (r->kind) {
	case KIND_WORD:
		snprintf(buf, size, "one of %s", r->values);
		break;
	case KIND_WORDS:
		snprintf(buf, size, "words of %s with commas", r->values);
		break;
	case KIND_NUMBER:
		snprintf(buf, size, "a number in %s", r->values);
		break;
	default:
		snprintf(buf, size, o == OPT_NODE ? "an absolute path" : "a path");
	}
	return buf;
}

static bool check(const char *entry, char *text, size_t size)
{
	size_t n = strcspn(entry, "=");
	char name[NAME_MAX_LEN], values[96];
	const char *meant;

	for (u32 o = 0; o < OPTION_COUNT; o++) {
		if (strlen(rows[o].name) != n || strncmp(rows[o].name, entry, n))
			continue;
		if (!entry[n] || !entry[n + 1] || option_allows(o, entry + n + 1))
			return true;
		snprintf(text, size, "%.*s=%.64s is ignored: it has to be %s", (int)n, entry,
			 entry + n + 1, wanted(o, values, sizeof(values)));
		return false;
	}
	if (n >= sizeof(name)) {
		snprintf(text, size, "there is no setting %.*s...", NAME_MAX_LEN, entry);
		return false;
	}
	memcpy(name, entry, n);
	name[n] = 0;
	meant = nearest(name);
	snprintf(text, size, "there is no setting %s%s%s%s", name, meant ? "; do you mean " : "",
		 meant ? meant : "", meant ? "?" : "");
	return false;
}

u32 options_check(void (*say)(const char *text))
{
	char text[256];
	u32 bad = 0;

	for (char **e = environ; e && *e; e++)
		if (!strncmp(*e, PREFIX, strlen(PREFIX)) && !check(*e, text, sizeof(text))) {
			say(text);
			bad++;
		}
	return bad;
}
