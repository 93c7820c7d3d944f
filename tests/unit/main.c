/* SPDX-License-Identifier: MIT */
/* tests/unit/main.c - runs the T()s of a program with cmocka. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/t.h"
#include "tests/unit/unit.h"

/* Not const: a compiler may take a weak constant for what it says here (clang does). */
__attribute__((weak)) struct t_around t_each, t_all;
__attribute__((weak)) T_START(argc, argv)
{
	return 0;
}

__attribute__((weak)) const char *t_round(int i)
{
	return i ? NULL : "tests";
}

static const struct t *running;
static bool passed;

void t_skipping(void)
{
	passed = true;
}

/* Each test through these, to know how it ended. The state is the test's until it has a set-up. */
static int before(void **state)
{
	const struct t *t = *state;
	int (*setup)(void **) = t->setup ? t->setup : t_each.setup;

	running = t;
	passed = false;
	*state = NULL;
	return setup ? setup(state) : 0;
}

static void during(void **state)
{
	running->fn(state);
	passed = true;
}

static int after(void **state)
{
	const struct t *t = running;
	int (*teardown)(void **) = t->teardown ? t->teardown : t_each.teardown;

	if (!passed)
		t_again(t);
	return teardown ? teardown(state) : 0;
}

int main(int argc, char **argv)
{
	struct CMUnitTest *tests;
	const char *round;
	int failed = 0;
	size_t n = 0;

	if (argc == 2 && !strcmp(argv[1], "--list")) {
		t_list();
		return 0;
	}
	for (int i = 1 + t_start(argc, argv); i < argc; i++)
		t_choose(argv[i]);
	for (struct t *t = t_tests; t; t = t->next)
		n += t_chosen(t);
	tests = calloc(n + 1, sizeof(*tests));
	if (!tests || !n) {
		fprintf(stderr, "usage: %s [--list] [NAME...]: no test has such a name\n", argv[0]);
		return 2;
	}
	n = 0;
	for (struct t *t = t_tests; t; t = t->next)
		if (t_chosen(t))
			tests[n++] = (struct CMUnitTest){ t->name, during, before, after, t };
	for (int i = 0; (round = t_round(i)); i++)
		failed += _cmocka_run_group_tests(round, tests, n, t_all.setup, t_all.teardown);
	free(tests);
	return failed;
}
