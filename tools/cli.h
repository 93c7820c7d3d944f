/* SPDX-License-Identifier: MIT */
/*
 * tools/cli.h - one scheme for all verbs: a table of options makes the parser, `--help`, the words
 * of bash's completion, and is what tests/run/cli compares the manual pages with.
 */
#ifndef TOOLS_CLI_H
#define TOOLS_CLI_H

#include <stdio.h>

#include "base/types.h"

#define EXIT_USAGE 2

/* The id of an option is its letter; one without a letter has CLI_LONG(n). */
#define CLI_LONG(n) (256 + (n))

struct cli_option {
	int id;
	const char *name;	/* without the dashes; NULL ends the table */
	const char *arg;	/* NULL: takes none */
	const char *help;
};

struct verb {
	const char *name, *args, *what;
	int (*fn)(const struct verb *v, int argc, char **argv);
	const struct cli_option *options;	/* --help and -h are everybody's */
	bool program;		/* options end at the first word: the rest is a command */
	const char *more;	/* behind the options; exit codes are here */
	const char *example;	/* lines */
};

struct cli {
	const struct verb *verb;
	int argc;
	char **argv;
	const char *arg;	/* of the option that was returned */
	int at;			/* at CLI_END: the first word that is no option */
};
enum { CLI_END = -1, CLI_BAD = -2, CLI_HELP = -3 };

/* argv[0] is the verb. */
void cli_begin(struct cli *c, const struct verb *v, int argc, char **argv);
/* The next option's id, CLI_END, CLI_BAD (it has been told), CLI_HELP (it has been printed). */
int cli_next(struct cli *c);
/* Exit status after CLI_BAD or CLI_HELP. */
int cli_status(int id);
/* "standin: VERB: ..." and where help is. Returns EXIT_USAGE. */
int cli_error(const struct verb *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The whole of text as a number in low..high; false + message that names `what`. */
bool cli_number(const struct verb *v, const char *what, const char *text, u64 low, u64 high,
		u64 *out);
/* Seconds, with a fraction perhaps. */
bool cli_seconds(const struct verb *v, const char *what, const char *text, double high,
		 double *out);

void cli_help(const struct verb *v, FILE *f);
/* What bash's completion offers for it. */
void cli_words(const struct verb *v);
/* A JSON string with its quotes. */
void json_string(FILE *f, const char *text);

#endif
