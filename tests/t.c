/* SPDX-License-Identifier: MIT */
/* tests/t.c - which tests a program has, which of them were asked for, and how to run one again. */
#include "tests/t.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_CHOSEN = 32 };

extern char **environ;
struct t *t_tests;
static struct t **tail = &t_tests;
static const char *chosen[MAX_CHOSEN];
static int choices;

void t_add(struct t *t)
{
	*tail = t;
	tail = &t->next;
}

const char *t_rule(const struct t *t)
{
	return t->rule ? t->rule : "";
}

void t_choose(const char *name)
{
	if (choices < MAX_CHOSEN)
		chosen[choices++] = name;
}

static bool is_a_name(const char *name)
{
	for (const struct t *t = t_tests; t; t = t->next)
		if (!strcmp(t->name, name))
			return true;
	return false;
}

bool t_chosen(const struct t *t)
{
	for (int i = 0; i < choices; i++) {
		if (is_a_name(chosen[i])
			    ? !strcmp(t->name, chosen[i])
			    : strstr(t->name, chosen[i]) || strstr(t_rule(t), chosen[i]))
			return true;
	}
	return !choices;
}

void t_list(void)
{
	for (const struct t *t = t_tests; t; t = t->next)
		printf(t->rule ? "%-28s %s\n" : "%s\n", t->name, t->rule);
}

/* A path as one types it from here, or, where Meson has started us, from the sources' top. */
static const char *from_here(const char *path)
{
	static char here[PATH_MAX];
	size_t n;

	if (!getcwd(here, sizeof(here)))
		return path;
	n = strlen(here);
	if (!access("build.ninja", F_OK))
		while (n && here[--n] != '/')
			;
	return !strncmp(path, here, n) && path[n] == '/' ? path + n + 1 : path;
}

/* The command that has loaded the preload object which this process has. */
static void print_command(void)
{
	const char *preload = getenv("LD_PRELOAD"), *name;

	name = preload ? strstr(preload, "/libstandin-preload.so") : NULL;
	if (name)
		printf("%.*s/standin run -- ", (int)(name - from_here(preload)),
		       from_here(preload));
}

void t_again(const struct t *t)
{
	char self[PATH_MAX] = "";

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return;
	printf("# again: ");
	/* The node is one that the tests agree on, not a setting. */
	for (char **e = environ; *e; e++)
		if (!strncmp(*e, "STANDIN_", 8) && strncmp(*e, "STANDIN_NODE=", 13))
			printf("%s ", *e);
	print_command();
	printf("%s %s\n", from_here(self), t->name);
	fflush(stdout);
}
