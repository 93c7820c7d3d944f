/* SPDX-License-Identifier: MIT */
/* tools/standin.c - the standin command: picks the verb. */
#include "tools/standin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/options.h"

static int help_fn(const struct verb *v, int argc, char **argv);
static int version_fn(const struct verb *v, int argc, char **argv);

enum { HELP_MARKDOWN = CLI_LONG(0), HELP_WORDS };
static const struct cli_option help_options[] = {
	{ HELP_MARKDOWN, "markdown", NULL, "the settings as in docs/options.md" },
	{ HELP_WORDS, "words", NULL, "words that may follow, for a shell's completion" },
	{ 0 },
};
static const struct verb verb_help = {
	.name = "help", .args = "[VERB | settings]", .what = "about a verb, or the environment",
	.fn = help_fn,
	.options = help_options, .more = "", .example = "  standin help run\n",
};
static const struct verb verb_version = {
	.name = "version", .args = "", .what = "which standin this is", .fn = version_fn,
	.more = "",
	.example = "  standin version\n",
};

static const struct verb *const verbs[] = {
	&verb_run, &verb_doctor, &verb_info, &verb_explain, &verb_trace, &verb_stat, &verb_help,
	&verb_version,
};

/* -- the settings -- */

enum group { GROUP_USER, GROUP_DEVEL, GROUP_SCRIPTS, GROUP_OWN };
static const struct setting {
	const char *name, *kind, *values;
	enum group group;
	const char *help, *more;
} settings[] = {
#define X(name, kind, values, group, help, more) \
	{ "STANDIN_" #name, #kind, values, GROUP_##group, help, more },
	OPTIONS(X)
#undef X
};

static const char *values_of(const struct setting *s)
{
	if (*s->values)
		return s->values;
	return strcmp(s->kind, "PATH") ? "1" : "PATH";
}

static void settings_help(FILE *f, bool all)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		char text[96];

		if (settings[i].group != GROUP_USER && (!all || settings[i].group == GROUP_OWN))
			continue;
		snprintf(text, sizeof(text), "%s=%s", settings[i].name, values_of(&settings[i]));
		fprintf(f, strlen(text) > 30 ? "  %s\n  %30s  %s\n" : "  %-30s%s  %s\n", text, "",
			settings[i].help);
	}
}

/* A cell of a table: the bar between words would end it. */
static void cell(const char *text)
{
	for (; *text; text++)
		printf(*text == '|' ? "`, `" : "%c", *text);
}

static void settings_markdown(void)
{
	static const char *const titles[] = {
		[GROUP_USER] = "## For everybody",
		[GROUP_DEVEL] = "## For finding faults in standin itself",
		[GROUP_SCRIPTS] = "## For the scripts",
		[GROUP_OWN] = "## Set by standin's own programs",
	};

	for (size_t g = 0; g < ARRAY_SIZE(titles); g++) {
		printf("%s%s\n\n| variable | values | meaning |\n|---|---|---|\n", g ? "\n" : "",
		       titles[g]);
		for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
			const struct setting *s = &settings[i];

			if (s->group != g)
				continue;
			printf("| `%s` | ", s->name);
			if (!*s->values) {
				printf("%s", strcmp(s->kind, "PATH") ? "anything" : "a path");
			} else {
				if (!strcmp(s->kind, "WORDS"))
					printf("words with commas: ");
				putchar('`');
				cell(s->values);
				putchar('`');
			}
			printf(" | %s%s%s |\n", s->help, *s->more ? ". " : "", s->more);
		}
	}
}

/* -- help and version -- */

static void help(FILE *f)
{
	fprintf(f, "usage: standin VERB ...\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(f, "  %-8s  %s\n", verbs[i]->name, verbs[i]->what);
	fprintf(f, "\n'standin VERB --help' has more about one, with an example.\n"
		   "\nenvironment ('standin help settings', docs/options.md):\n");
	settings_help(f, false);
}

static const struct verb *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(name, verbs[i]->name))
			return verbs[i];
	return NULL;
}

static int unknown(const char *word)
{
	char path[PATH_MAX];

	fprintf(stderr, "standin: '%s' is no verb. Verbs are", word);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(stderr, "%s %s", i ? "," : "", verbs[i]->name);
	fprintf(stderr, ".\n");
	if (find_program(word, path))
		fprintf(stderr, "To run that program: standin run -- %s ...\n", word);
	fprintf(stderr, "Try 'standin --help'.\n");
	return EXIT_USAGE;
}

static int help_fn(const struct verb *v, int argc, char **argv)
{
	bool markdown = false, words = false;
	const struct verb *about;
	struct cli c;
	int id;

	cli_begin(&c, v, argc, argv);
	while ((id = cli_next(&c)) > 0) {
		markdown |= id == HELP_MARKDOWN;
		words |= id == HELP_WORDS;
	}
	if (id != CLI_END)
		return cli_status(id);
	if (argc - c.at > 1)
		return cli_error(v, "one verb, please");
	if (words && c.at == argc) {
		for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
			printf("%s\n", verbs[i]->name);
		printf("--help\n--version\n");
		return 0;
	}
	if (c.at == argc && !markdown) {
		help(stdout);
		return 0;
	}
	if (markdown || !strcmp(argv[c.at], "settings")) {
		if (markdown)
			settings_markdown();
		else
			settings_help(stdout, true);
		return 0;
	}
	about = find(argv[c.at]);
	if (!about)
		return unknown(argv[c.at]);
	if (words)
		cli_words(about);
	else
		cli_help(about, stdout);
	return 0;
}

static int version_fn(const struct verb *v, int argc, char **argv)
{
	struct cli c;
	int id;

	cli_begin(&c, v, argc, argv);
	id = cli_next(&c);
	if (id != CLI_END)
		return cli_status(id);
	if (c.at < argc)
		return cli_error(v, "'%s' is not expected", argv[c.at]);
	printf("standin %s\n", STANDIN_VERSION);
	return 0;
}

static void say(const char *text)
{
	fprintf(stderr, "standin: warning: %s\n", text);
}

/* A program may go to another folder before it logs something (daemons do): the name is made
 * absolute for it. A log that cannot be written is told here, and goes to standard error there. */
static void check_log_file(void)
{
	const char *name = option_name(OPT_LOG_FILE), *file = option_text(OPT_LOG_FILE);
	char path[PATH_MAX], folder[PATH_MAX];
	int fd;

	if (!file || !*file)
		return;
	if (!option_given(OPT_LOG)) {
		fprintf(stderr, "standin: warning: %s does nothing without %s\n", name,
			option_name(OPT_LOG));
		return;
	}
	if (*file != '/' && getcwd(folder, sizeof(folder)) &&
	    snprintf(path, sizeof(path), "%s/%s", folder, file) < (int)sizeof(path)) {
		setenv(name, path, 1);
		file = path;
	}
	fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0)
		fprintf(stderr, "standin: warning: %s=%s: %s\n", name, file, strerror(errno));
	else
		close(fd);
}

/* A file that is opened must not become the standard output that somebody closed. A program that is
 * started finds things as they are: closed again. */
static void reserve_descriptors(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			/* Writing there fails, as it would have done. */
			if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0)
				return;
}

/* What was printed has to have arrived. */
static int close_output(int status)
{
	bool failed = ferror(stdout);

	errno = 0;
	if (!fclose(stdout) && !failed)
		return status;
	fprintf(stderr, "standin: write error%s%s\n", errno ? ": " : "",
		errno ? strerror(errno) : "");
	return status ? status : 1;
}

static int run_verb(int argc, char **argv)
{
	const struct verb *v;

	if (argc < 2) {
		fprintf(stderr, "standin: which verb?\n");
		help(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		argv[1] = (char *)"help";
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
		argv[1] = (char *)"version";
	v = find(argv[1]);
	if (!v)
		return unknown(argv[1]);
	options_check(say);
	check_log_file();
	return v->fn(v, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	int status = argc ? wrapper(argv) : -1;

	if (status >= 0)
		return status;
	reserve_descriptors();
	return close_output(run_verb(argc, argv));
}
