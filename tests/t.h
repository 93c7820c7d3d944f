/* SPDX-License-Identifier: MIT */
/*
 * tests/t.h - T(): the one way in which a test is written, whatever it is about.
 *
 *   T(eoi_once, "a level interrupt has one EOI")
 *   {
 *           CHECK_EQ(eois(), 1);
 *   }
 *
 * defines a test and makes it known to the program's runner; nothing else has to be told of it, so
 * it cannot be forgotten. The sentence is the rule it checks; without one the name is. A set-up and
 * a way to take it down follow if need be: T(name, "rule", .setup = s, .teardown = t); T_EACH()
 * gives them to all tests of a program that name none, T_ALL() surrounds the whole program.
 *
 * Runners: tests/guest/harness/tap.c (CHECK..., a child for each test), tests/abi/main.c (IS,
 * EQ..., a child for each), tests/unit/main.c (cmocka's assertions). All know --list and the names
 * of tests, and say after a failure how that one test is run again.
 */
#ifndef TESTS_T_H
#define TESTS_T_H

#include <stdbool.h>

struct t {
	const char *name;
	void (*fn)(void **state);
	const char *rule;
	/* Unit tests only; *state is what setup left there. Both return 0. */
	int (*setup)(void **state), (*teardown)(void **state);
	struct t *next;
};

#define T(id, ...) \
	static void t_body_##id(void **state); \
	struct t test_##id = { .name = #id, .fn = t_body_##id, ##__VA_ARGS__ }; \
	static __attribute__((constructor)) void t_add_##id(void) { t_add(&test_##id); } \
	static void t_body_##id(void **state)

struct t_around {
	int (*setup)(void **state), (*teardown)(void **state);
};
#define T_EACH(s, t) struct t_around t_each = { s, t }
#define T_ALL(s, t) struct t_around t_all = { s, t }
/* What a program does before its tests, with its arguments. Returns how many of them it took. */
#define T_START(argc, argv) int t_start(int argc, char **argv)
T_START(argc, argv);

/* A program whose tests run more than once: prepares round i and names it; NULL after the last. */
const char *t_round(int i);

/* -- for runners -- */
extern struct t *t_tests;	/* as they stand in the files */
void t_add(struct t *t);
/* A name from the command line: the test of that name, else all that have it in name or rule. */
void t_choose(const char *name);
bool t_chosen(const struct t *t);
const char *t_rule(const struct t *t);	/* "" without one */
void t_list(void);
/* Prints the command that runs this test alone. */
void t_again(const struct t *t);

#endif
