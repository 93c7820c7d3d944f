/* SPDX-License-Identifier: MIT */
/*
 * shim/environ.c - the environment of the programs that a program starts: they run on standin too,
 * also when it was cleared, so LD_PRELOAD and the STANDIN_ settings are passed on. Where LD_PRELOAD
 * would change a program that cannot be reached, our word is taken out.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "shim/exec.h"

enum { MAX_SETTINGS = 32, SETTINGS_BYTES = 4096 };


/* Written by the constructor only. */
static char settings[SETTINGS_BYTES];	/* NAME=VALUE strings */
static const char *setting[MAX_SETTINGS];
static u32 nr_settings;

/* The words of a list: the loader splits it at blanks and colons. */
static const char *next_word(const char *p, size_t *n)
{
	p += strspn(p, " :");
	*n = strcspn(p, " :");
	return *n ? p : NULL;
}

static bool has_us(const char *list)
{
	size_t n;

	for (const char *p = list; (p = next_word(p, &n)); p += n)
		if (object_is(p, n))
			return true;
	return false;
}

static bool has_word(const char *list, const char *word)
{
	size_t n;

	for (const char *p = list; (p = next_word(p, &n)); p += n)
		if (n == strlen(word) && !memcmp(p, word, n))
			return true;
	return false;
}

/* The list without us. False: nothing is left. */
static bool without_us(char *to, const char *list)
{
	char *start = to;
	size_t n;

	for (const char *p = list; (p = next_word(p, &n)); p += n) {
		if (object_is(p, n))
			continue;
		if (to != start)
			*to++ = ':';
		memcpy(to, p, n);
		to += n;
	}
	*to = 0;
	return to != start;
}

/* A word that names a descriptor is of no use to anybody but the loader that has used it. */
static void forget_descriptor(void)
{
	for (char **e = environ; e && *e; e++) {
		char *list = *e + strlen(ENV_PRELOAD);

		if (strncmp(*e, ENV_PRELOAD, strlen(ENV_PRELOAD)) ||
		    !strstr(list, "/proc/self/fd/"))
			continue;
		/* Shorter than before, from front to back: in place. */
		if (!without_us(list, list))
			for (char **rest = e; (*rest = rest[1]); rest++)
				;
		return;
	}
}

void environ_init(void)
{
	size_t used = 0;

	for (char **e = environ; e && *e; e++) {
		size_t n = strlen(*e) + 1;

		if (strncmp(*e, ENV_OURS, strlen(ENV_OURS)) || nr_settings >= MAX_SETTINGS ||
		    used + n > sizeof(settings))
			continue;
		memcpy(settings + used, *e, n);
		setting[nr_settings++] = settings + used;
		used += n;
	}
	forget_descriptor();
}

const char *environ_find(char *const *env, const char *name)
{
	for (; env && *env; env++)
		if (!strncmp(*env, name, strlen(name)))
			return *env;
	return NULL;
}

bool environ_is_off(char *const *env)
{
	return environ_find(env, ENV_OFF) != NULL;
}

size_t environ_count(char *const *env)
{
	size_t n = 0;

	while (env && env[n])
		n++;
	return n;
}

size_t environ_room(char *const *env)
{
	const char *list = environ_find(env, ENV_PRELOAD);

	return (environ_count(env) + MAX_SETTINGS + 2) * sizeof(char *) + sizeof(ENV_PRELOAD) +
	       PATH_MAX + (list ? strlen(list) : 0);
}

static bool has_setting(char *const *env, const char *s)
{
	size_t n = strcspn(s, "=") + 1;

	for (; env && *env; env++)
		if (!strncmp(*env, s, n))
			return true;
	return false;
}

char *const *environ_for(char *const *env, const char *word, void *room)
{
	const char *old = environ_find(env, ENV_PRELOAD),
		   *list = old ? old + strlen(ENV_PRELOAD) : NULL;
	bool off = environ_is_off(env);
	char **out = room, *text;
	size_t n = 0;

	text = (char *)(out + environ_count(env) + MAX_SETTINGS + 2);
	for (char *const *e = env; e && *e; e++)
		if (*e != old)
			out[n++] = *e;
	/* Ours first, unless the program has put itself in front of us. */
	if (!word && list && has_us(list)) {
		strcpy(text, ENV_PRELOAD);
		if (without_us(text + strlen(ENV_PRELOAD), list))
			out[n++] = text;
	} else if (old && (!word || has_word(list, word))) {
		out[n++] = (char *)old;
	} else if (word) {
		char *p = stpcpy(stpcpy(text, ENV_PRELOAD), word);

		if (list && *list) {
			*p++ = ':';
			if (!without_us(p, list))
				p[-1] = 0;
		}
		out[n++] = text;
	}
	for (u32 i = 0; i < nr_settings && !off; i++)
		if (!has_setting(env, setting[i]))
			out[n++] = (char *)setting[i];
	out[n] = NULL;
	return out;
}
