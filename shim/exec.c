/* SPDX-License-Identifier: MIT */
/*
 * shim/exec.c - a program becomes another: by which door that comes to standin is decided by
 * base/door.h, and here is done what it says. A caller that sets STANDIN_OFF in the new
 * environment is left alone.
 *
 * These run in vfork children, so they take memory from the stack only. Arguments that cannot be
 * read are the kernel's to refuse.
 */
#include "shim/exec.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "base/raw.h"

void shim_exec_init(void)
{
	object_init();
	environ_init();
}

size_t launch_room(char *const argv[], char *const envp[])
{
	return ALIGN_UP(environ_room(envp), 16) + door_second_room(argv, envp);
}

/* In the log only: a line that nobody asked for changes what the program says. */
static void say(const struct door_choice *c, const char *path)
{
	if (log_threshold >= LOG_warn && door_reason(c->kind))
		log_warn("%s %s: it cannot be reached and will not see %s",
			 c->scripts ? c->program : path, door_reason(c->kind), shim_node());
}

void launch_prepare(struct launch *l, int dir, const char *path, int flags, char *const argv[],
		    char *const envp[], void *room)
{
	u8 *more = (u8 *)room + ALIGN_UP(environ_room(envp), 16);
	const char *word = NULL;

	l->fd = -1;
	l->second = false;
	l->envp = envp;
	if (environ_is_off(envp)) {
		l->envp = environ_for(envp, NULL, room);
		return;
	}
	door_for(dir, path, flags, &l->choice);
	if (!door_strips(l->choice.kind))
		word = object_word(l->name, &l->fd);
	/* Where our object cannot be loaded from, the second door, which needs nothing of the
	 * program's root, is the way for all. */
	if ((l->choice.door == DOOR_SECOND || (l->choice.door == DOOR_PRELOAD && !word)) &&
	    shim_wanted(l->choice.scripts ? l->choice.program : path)) {
		l->envp = environ_for(envp, NULL, room);
		l->second = !door_second(&l->by, dir, path, flags, argv, l->envp, more);
		if (l->second && l->fd >= 0) {
			RAW(SYS_close, l->fd);
			l->fd = -1;
		}
		if (l->second)
			return;
	}
	if (l->choice.door != DOOR_PRELOAD)
		say(&l->choice, path);
	/* What the loader does not open, a program without it does not mind. */
	if (l->fd >= 0 && l->choice.door != DOOR_PRELOAD) {
		RAW(SYS_close, l->fd);
		l->fd = -1;
		word = NULL;
	}
	l->envp = environ_for(envp, word, room);
}

void launch_end(struct launch *l)
{
	if (l->fd >= 0)
		RAW(SYS_close, l->fd);
	if (l->second && l->by.fd != AT_FDCWD)
		RAW(SYS_close, l->by.fd);
}

/* Around a call of libc's that starts `path`: `plain` with env for its environment. On the caller's
 * stack. */
#define LAUNCH(dir_, path_, flags_, argv_, given, plain) \
	struct launch l_; \
	char *const *env = (given); \
	int r_; \
	void *room_; \
	if (unlikely(shim_off) || shim_list(env) < 0 || shim_list(argv_) < 0) \
		return plain; \
	room_ = alloca(launch_room(argv_, env)); \
	launch_prepare(&l_, dir_, path_, flags_, argv_, env, room_); \
	env = l_.envp; \
	r_ = l_.second ? (int)shim_ret(RAW(SYS_execveat, l_.by.fd, l_.by.path, l_.by.argv, \
					   l_.by.envp, l_.by.flags)) : \
			 plain; \
	launch_end(&l_); \
	return r_

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	LAUNCH(AT_FDCWD, path, 0, argv, envp, NEXT(execve)(path, argv, env));
}

EXPORT int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	LAUNCH(fd, "", AT_EMPTY_PATH, argv, envp, NEXT(fexecve)(fd, argv, env));
}

EXPORT int execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
	LAUNCH(dir, path, flags, argv, envp, NEXT(execveat)(dir, path, argv, env, flags));
}

/* -- PATH, as libc goes through it -- */

/* The next folder of the list with "/file" behind it, in path; false: it is too long. */
static bool join(const char **list, const char *file, char *path)
{
	size_t n = strcspn(*list, ":"), m = strlen(file);
	const char *folder = *list;

	*list += n;
	if (**list)
		(*list)++;
	else
		*list = NULL;
	if (n + m + 2 > PATH_MAX)
		return false;
	memcpy(path, folder, n);
	if (n)
		path[n++] = '/';
	memcpy(path + n, file, m + 1);
	return true;
}

static const char *search_list(void)
{
	const char *list = getenv("PATH");

	return list ? list : "/bin:/usr/bin";
}

bool launch_search(const char *file, char *path)
{
	const char *list = search_list();

	if (!*file || strchr(file, '/') || strlen(file) > NAME_MAX)
		return false;
	while (list)
		if (join(&list, file, path) && !RAW(SYS_faccessat, AT_FDCWD, path, X_OK))
			return true;
	return false;
}

/* A file that no kernel knows is a script for the shell. */
static int execve_or_shell(const char *path, char *const argv[], char *const envp[])
{
	size_t n = environ_count(argv);
	char **args;

	execve(path, argv, envp);
	if (errno != ENOEXEC)
		return -1;
	args = alloca((n + 3) * sizeof(*args));
	args[0] = (char *)"/bin/sh";
	args[1] = (char *)path;
	args[2] = NULL;
	if (n > 1)
		memcpy(args + 2, argv + 1, n * sizeof(*args));
	return execve(args[0], args, envp);
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	bool denied = false;
	const char *list;
	char path[PATH_MAX];
	ssize_t n = shim_string(file, PATH_MAX);

	if (unlikely(shim_off) || n < 0 || shim_list(argv) < 0 || shim_list(envp) < 0)
		return NEXT(execvpe)(file, argv, envp);
	if (!n)
		return (int)shim_ret(-ENOENT);
	if (strchr(file, '/'))
		return execve_or_shell(file, argv, envp);
	if (n > NAME_MAX)
		return (int)shim_ret(-ENAMETOOLONG);
	for (list = search_list(); list;) {
		if (!join(&list, file, path))
			continue;
		execve_or_shell(path, argv, envp);
		switch (errno) {
		case EACCES:
			denied = true;
			break;
		case ENOENT:
		case ESTALE:
		case ENOTDIR:
		case ENODEV:
		case ETIMEDOUT:
			break;
		default:
			return -1;
		}
	}
	if (denied)
		errno = EACCES;
	return -1;
}

EXPORT int execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

/* The list forms: the arguments, and what comes behind them, as an array. */
#define LIST_TO_ARRAY(first, last, argv, ap) \
	size_t n_ = 1; \
	char **argv; \
	va_start(ap, last); \
	while (va_arg(ap, char *)) \
		n_++; \
	va_end(ap); \
	argv = alloca((n_ + 1) * sizeof(*argv)); \
	argv[0] = (char *)(first); \
	va_start(ap, last); \
	for (size_t i_ = 1; i_ <= n_; i_++) \
		argv[i_] = va_arg(ap, char *)

EXPORT int execl(const char *path, const char *arg, ...)
{
	va_list ap;

	LIST_TO_ARRAY(arg, arg, argv, ap);
	va_end(ap);
	return execve(path, argv, environ);
}

EXPORT int execlp(const char *file, const char *arg, ...)
{
	va_list ap;

	LIST_TO_ARRAY(arg, arg, argv, ap);
	va_end(ap);
	return execvpe(file, argv, environ);
}

EXPORT int execle(const char *path, const char *arg, ...)
{
	char **envp;
	va_list ap;

	LIST_TO_ARRAY(arg, arg, argv, ap);
	envp = va_arg(ap, char **);
	va_end(ap);
	return execve(path, argv, envp);
}
