/* SPDX-License-Identifier: MIT */
/* tools/cli.c - see cli.h. */
#include "tools/cli.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPTIONS = 24, HELP_COLUMN = 20 };

static char title[32];			/* argv[0] of getopt's messages */
static char letters[2 * MAX_OPTIONS + 4];
static struct option longs[MAX_OPTIONS + 2];

void cli_begin(struct cli *c, const struct verb *v, int argc, char **argv)
{
	size_t n = 0, l = 0;

	*c = (struct cli){ .verb = v, .argc = argc, .argv = argv };
	snprintf(title, sizeof(title), "standin %s", v->name);
	argv[0] = title;
	if (v->program)
		letters[l++] = '+';
	letters[l++] = 'h';
	longs[n++] = (struct option){ "help", no_argument, NULL, 'h' };
	for (const struct cli_option *o = v->options; o && o->name && n < MAX_OPTIONS; o++, n++) {
		longs[n] = (struct option){ o->name, o->arg ? required_argument : no_argument, NULL,
					    o->id };
		if (o->id >= 256)
			continue;
		letters[l++] = (char)o->id;
		if (o->arg)
			letters[l++] = ':';
	}
	longs[n] = (struct option){ 0 };
	letters[l] = 0;
	optind = 0;	/* glibc: start anew, and look at '+' again */
}

int cli_next(struct cli *c)
{
	int id = getopt_long(c->argc, c->argv, letters, longs, NULL);

	c->arg = optarg;
	c->at = optind;
	switch (id) {
	case -1:
		return CLI_END;
	case '?':	/* getopt has named it */
		fprintf(stderr, "Try '%s --help'.\n", title);
		return CLI_BAD;
	case 'h':
		cli_help(c->verb, stdout);
		return CLI_HELP;
	}
	return id;
}

int cli_status(int id)
{
	return id == CLI_HELP ? 0 : EXIT_USAGE;
}

int cli_error(const struct verb *v, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "standin: %s: ", v->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry 'standin %s --help'.\n", v->name);
	return EXIT_USAGE;
}

bool cli_number(const struct verb *v, const char *what, const char *text, u64 low, u64 high,
		u64 *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	if (isdigit((unsigned char)*text) && !*end && !errno && *out >= low && *out <= high)
		return true;
	cli_error(v, "%s: '%s' is not a number from %llu to %llu", what, text,
		  (unsigned long long)low, (unsigned long long)high);
	return false;
}

bool cli_seconds(const struct verb *v, const char *what, const char *text, double high, double *out)
{
	char *end;

	*out = strtod(text, &end);
	if (end != text && !*end && isfinite(*out) && *out > 0 && *out <= high)
		return true;
	cli_error(v, "%s: '%s' is not a number of seconds from above 0 to %.0f", what, text, high);
	return false;
}

static void help_option(FILE *f, int id, const char *name, const char *arg, const char *help)
{
	char text[64];

	snprintf(text, sizeof(text), "%s%c%s--%s%s%s", id < 256 ? "-" : " ", id < 256 ? id : ' ',
		 id < 256 ? ", " : "  ", name, arg ? "=" : "", arg ? arg : "");
	if (strlen(text) > HELP_COLUMN)
		fprintf(f, "  %s\n  %*s  %s\n", text, HELP_COLUMN, "", help);
	else
		fprintf(f, "  %-*s  %s\n", HELP_COLUMN, text, help);
}

void cli_help(const struct verb *v, FILE *f)
{
	fprintf(f, "usage: standin %s %s\n\n%s\n\n", v->name, v->args, v->what);
	for (const struct cli_option *o = v->options; o && o->name; o++)
		help_option(f, o->id, o->name, o->arg, o->help);
	help_option(f, 'h', "help", NULL, "print this");
	if (*v->more)
		fprintf(f, "\n%s", v->more);
	fprintf(f, "\nexample:\n%s", v->example);
}

void cli_words(const struct verb *v)
{
	for (const struct cli_option *o = v->options; o && o->name; o++)
		printf("--%s%s\n", o->name, o->arg ? "=" : "");
	printf("--help\n");
}

void json_string(FILE *f, const char *text)
{
	putc('"', f);
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p == '"' || *p == '\\')
			fprintf(f, "\\%c", *p);
		else if (*p < 0x20 || *p >= 0x7f)	/* bytes as Latin 1: always valid */
			fprintf(f, "\\u%04x", *p);
		else
			putc(*p, f);
	}
	putc('"', f);
}
