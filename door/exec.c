/* SPDX-License-Identifier: MIT */
/*
 * door/exec.c - the program executes another: by which door is decided by base/door.h. Programs
 * that take the first door get its environment, as shim/exec.c does it.
 *
 * May run in a vfork child: what is allocated is freed if the program goes on here.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/door.h"
#include "base/log.h"
#include "door/door.h"
#include "door/launch.h"
#include "shim/shim.h"

#define PRELOAD_NAME "libstandin-preload.so"

enum { MAX_WORDS = 1 << 20, MAX_SETTINGS = 32, LIST_BYTES = 2 * PATH_MAX };

/* Written at the start only. */
static char preload[PATH_MAX];		/* empty: it is not beside us */
static char *settings[MAX_SETTINGS];
static u32 nr_settings;

void exec_init(const char *self)
{
	const char *slash = strrchr(self, '/');

	if (slash && self[0] == '/' &&
	    (size_t)snprintf(preload, sizeof(preload), "%.*s/%s", (int)(slash - self), self,
			     PRELOAD_NAME) < sizeof(preload) &&
	    (access(preload, R_OK) || strpbrk(preload, " :")))
		preload[0] = 0;
	for (char **e = environ; *e && nr_settings < MAX_SETTINGS; e++)
		if (!strncmp(*e, ENV_OURS, strlen(ENV_OURS)) &&
		    strncmp(*e, ENV_OFF, strlen(ENV_OFF))) {
			settings[nr_settings] = strdup(*e);
			nr_settings += settings[nr_settings] != NULL;
		}
}

/* The program's array of strings, with `more` free places behind it. NULL: *r is why. */
static char **get_words(u64 user, size_t more, long *r)
{
	size_t n = 0, room = 64;
	char **v = malloc((room + more + 1) * sizeof(*v)), **w;

	*r = -ENOMEM;
	for (; v; n++) {
		if (n == room) {
			room *= 2;
			w = realloc(v, (room + more + 1) * sizeof(*v));
			if (!w)
				break;
			v = w;
		}
		v[n] = NULL;
		if (!user)
			return v;
		if (n > MAX_WORDS) {
			*r = -E2BIG;
			break;
		}
		if (user_get(&v[n], user_ptr(user + n * sizeof(*v)), sizeof(*v))) {
			*r = -EFAULT;
			break;
		}
		if (!v[n])
			return v;
	}
	free(v);
	return NULL;
}

/* Does the program's string begin so? */
static bool begins(const char *user, const char *with)
{
	char text[64];
	size_t n = strlen(with);

	return !user_get(text, user, n) && !memcmp(text, with, n);
}

static char **find(char **env, const char *name)
{
	for (; *env; env++)
		if (begins(*env, name))
			return env;
	return NULL;
}

/* LD_PRELOAD with us in front or, !ours, without us. NULL: it stays as it is. Free it. */
static char *preload_list(const char *old, bool ours)
{
	char *list, *p, *at;

	list = malloc(LIST_BYTES + 2 * PATH_MAX);
	if (!list)
		return NULL;
	at = stpcpy(list, ENV_PRELOAD);
	if (ours)
		at = stpcpy(at, preload);
	if (old) {
		char text[LIST_BYTES], *save = NULL;

		if (user_path(text, (u64)(uintptr_t)old)) {
			free(list);
			return NULL;
		}
		p = strtok_r(text + strlen(ENV_PRELOAD), " :", &save);
		for (; p; p = strtok_r(NULL, " :", &save)) {
			if (strstr(p, PRELOAD_NAME))
				continue;
			if (at[-1] != '=')
				*at++ = ':';
			at = stpcpy(at, p);
		}
	}
	return list;
}

/* The environment of a program that the first door reaches, or ours is to be kept from. The place
 * of what is to be freed, or NULL. */
static char *set_env(char **env, bool ours, bool strip)
{
	char **old = find(env, ENV_PRELOAD), *list = NULL, name[64];
	size_t n = 0;

	if (ours ? preload[0] != 0 : old && strip)
		list = preload_list(old ? *old : NULL, ours);
	while (env[n])
		n++;
	if (list && old)
		*old = list;
	else if (list)
		env[n++] = list;
	for (u32 i = 0; i < nr_settings; i++) {
		size_t len = strcspn(settings[i], "=") + 1;

		if (len >= sizeof(name))
			continue;
		memcpy(name, settings[i], len);
		name[len] = 0;
		env[n] = NULL;
		if (!find(env, name))
			env[n++] = settings[i];
	}
	env[n] = NULL;
	return list;
}

/* On standard error: it will fail, and may not know why. */
static void say_unprivileged(const char *path)
{
	char text[PATH_MAX + 256];
	int n = snprintf(text, sizeof(text),
			 "standin: %s: setuid bits and file capabilities have no effect below a "
			 "program of the second door (no_new_privs)\n",
			 path);

	if (n > 0)
		RAW(SYS_write, 2, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

static long run(struct door_thread *t, int dir, const char *path, int flags, char **argv,
		char **env)
{
	struct door_choice c;
	struct door_launch l;
	char *list = NULL;
	void *room;
	long r;

	if (find(env, ENV_OFF))
		return PASS(t, SYS_execveat, dir, path, argv, env, flags);
	door_for(dir, path, flags, &c);
	if (c.kind == PROGRAM_SETUID && filter_no_privileges)
		say_unprivileged(path);
	else if (door_reason(c.kind) && c.door == DOOR_NONE)
		log_warn("%s %s: it runs without standin", path, door_reason(c.kind));
	/* Where the preload object is not (another root), this door: it needs nothing there. */
	if (c.door == DOOR_PRELOAD && (!preload[0] || RAW(SYS_faccessat, AT_FDCWD, preload, R_OK)))
		c.door = DOOR_SECOND;
	list = set_env(env, c.door == DOOR_PRELOAD, c.door != DOOR_SECOND && door_strips(c.kind));
	if (c.door == DOOR_SECOND && shim_wanted(c.scripts ? c.program : path)) {
		room = malloc(door_second_room(argv, env));
		r = room ? door_second(&l, dir, path, flags, argv, env, room) : -ENOMEM;
		if (!r) {
			r = PASS(t, SYS_execveat, l.fd, l.path, l.argv, l.envp, l.flags);
			if (l.fd != AT_FDCWD)
				RAW(SYS_close, l.fd);
		}
		free(room);
	} else {
		r = PASS(t, SYS_execveat, dir, path, argv, env, flags);
	}
	free(list);
	return r;
}

static long with_words(struct door_thread *t, int dir, u64 user, u64 uargv, u64 uenv, int flags)
{
	char path[DOOR_PATH], **argv, **env;
	long r = user_path(path, user);

	if (r)
		return r;
	argv = get_words(uargv, 1, &r);
	if (!argv)
		return r;
	env = get_words(uenv, MAX_SETTINGS + 2, &r);
	if (env) {
		signal_around_exec(t, false);
		r = run(t, dir, file_program_of(path), flags, argv, env);
		signal_around_exec(t, true);
		free(env);
	}
	free(argv);
	return r;
}

long exec_call(struct door_thread *t, long nr, const u64 a[6])
{
	if (nr == SYS_execve)
		return with_words(t, AT_FDCWD, a[0], a[1], a[2], 0);
	return with_words(t, (int)a[0], a[1], a[2], a[3], (int)a[4]);
}
