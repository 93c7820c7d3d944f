/* SPDX-License-Identifier: MIT */
/* tools/run.c - standin run, and where our objects are. */
#include "tools/standin.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "irq/avic.h"

bool own_path(char path[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);

	if (n <= 0)
		return realpath((const char *)getauxval(AT_EXECFN), path) != NULL;
	path[n] = 0;
	return true;
}

const char *preload_path(void)
{
	static char path[PATH_MAX + sizeof("/" PRELOAD_NAME)];
	const char *const where[] = { "/", "/../lib/", "/../lib64/", "/../" STANDIN_LIBDIR "/" };
	char exe[PATH_MAX];
	char *slash;

	if (own_path(exe)) {
		slash = strrchr(exe, '/');
		if (slash)
			*slash = 0;
		for (size_t i = 0; i < ARRAY_SIZE(where); i++) {
			if (strlen(exe) + strlen(where[i]) >= PATH_MAX)
				continue;
			strcpy(path, exe);
			strcat(path, where[i]);
			strcat(path, PRELOAD_NAME);
			if (!access(path, R_OK))
				return path;
		}
	}
	if (!access(STANDIN_PREFIX_LIBDIR "/" PRELOAD_NAME, R_OK))
		return STANDIN_PREFIX_LIBDIR "/" PRELOAD_NAME;
	fprintf(stderr, "standin: %s is neither next to this command nor in %s\n", PRELOAD_NAME,
		STANDIN_PREFIX_LIBDIR);
	return NULL;
}

/* --avic=KIND: what the modelled hardware has, for the program and its children. */
static bool set_avic(const char *kind)
{
	static const char *const kinds[] = {
#define X(n, text, max) text,
		AVIC_KINDS(X)
#undef X
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kind, kinds[i]))
			return !setenv("STANDIN_AVIC", kind, 1);
	return false;
}

enum {
	RUN_AVIC = CLI_LONG(0), RUN_ONLY = CLI_LONG(1), RUN_EXCEPT = CLI_LONG(2),
	RUN_REAL = CLI_LONG(3),
};
static const struct cli_option run_options[] = {
	{ RUN_AVIC, "avic", "KIND", "interrupt hardware that is modelled: none, avic, x2avic, "
				    "x2avic-ext" },
	{ RUN_ONLY, "only", "NAMES", "put only programs of these names (with commas) on standin" },
	{ RUN_EXCEPT, "except", "NAMES", "leave programs of these names alone" },
	{ RUN_REAL, "prefer-real", NULL, "if the machine's own KVM works, run the program on "
					 "that" },
	{ 0 },
};

static int run_fn(const struct verb *v, int argc, char **argv)
{
	bool prefer_real = false;
	struct cli c;
	int id;

	cli_begin(&c, v, argc, argv);
	while ((id = cli_next(&c)) > 0) {
		if (id == RUN_AVIC && !set_avic(c.arg))
			return cli_error(v, "--avic=%s is none of none, avic, x2avic, x2avic-ext",
					 c.arg);
		if (id == RUN_ONLY)
			setenv("STANDIN_ONLY", c.arg, 1);
		if (id == RUN_EXCEPT)
			setenv("STANDIN_EXCEPT", c.arg, 1);
		if (id == RUN_REAL)
			prefer_real = true;
	}
	if (id != CLI_END)
		return cli_status(id);
	if (c.at >= argc)
		return cli_error(v, "which program?");
	if (getenv("STANDIN_OFF") || (prefer_real && real_kvm_works()))
		return start_natively(argv + c.at);
	return start_program(argv + c.at);
}

const struct verb verb_run = {
	.name = "run", .args = "[OPTION...] [--] PROGRAM [ARG...]",
	.what = "run a program that expects /dev/kvm", .fn = run_fn, .options = run_options,
	.program = true,
	.more = "So are the programs that it starts. The exit status is the program's; "
		"127: it is not\n"
		"there, 126: it cannot be executed, 1: standin cannot start, 2: wrong usage.\n",
	.example = "  standin run -- qemu-system-x86_64 -accel kvm -cpu max -m 512 ...\n",
};
