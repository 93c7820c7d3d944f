/* SPDX-License-Identifier: MIT */
/*
 * shim/spawn.c - posix_spawn(3), system(3) and popen(3), which start programs inside libc.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/raw.h"
#include "shim/exec.h"


enum { HIGH_FD = 200 };

/* path: what is looked at; the call gets what the caller has named. The second door is another path
 * and other arguments; a name that the file actions may give another meaning stays away from it. */
static int spawn(__typeof__(&posix_spawn) next, pid_t *pid, const char *path, const char *name,
		 const posix_spawn_file_actions_t *fa, const posix_spawnattr_t *attr,
		 char *const argv[], char *const envp[])
{
	char by_fd[OBJECT_NAME_BYTES];
	struct launch l;
	void *room;
	int r;

	if (unlikely(shim_off) || !shim_path(path) || shim_list(argv) < 0 || shim_list(envp) < 0)
		return next(pid, name, fa, attr, argv, envp);
	room = alloca(launch_room(argv, envp));
	launch_prepare(&l, AT_FDCWD, path, 0, argv, envp, room);
	if (l.second && (*path == '/' || !fa)) {
		const char *start = l.by.path;

		if (l.by.fd != AT_FDCWD && !*start) {
			snprintf(by_fd, sizeof(by_fd), "/proc/self/fd/%d", l.by.fd);
			start = by_fd;
		}
		r = NEXT(posix_spawn)(pid, start, fa, attr, l.by.argv, l.by.envp);
	} else {
		r = next(pid, name, fa, attr, argv, l.envp);
	}
	launch_end(&l);
	return r;
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *fa,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	return spawn(NEXT(posix_spawn), pid, path, path, fa, attr, argv, envp);
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *fa,
			const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	char path[PATH_MAX];
	bool found = shim_path(file) && launch_search(file, path);

	return spawn(NEXT(posix_spawnp), pid, found ? path : file, file, fa, attr, argv, envp);
}

/* libc opens the file in the child. It gets a copy of ours instead: one for all, which is opened
 * anew if the program has closed it. */
EXPORT int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *restrict fa, int fd,
					    const char *restrict path, int flags, mode_t mode)
{
	static _Atomic int node = -1;
	int now = atomic_load(&node), fresh;

	if (!shim_path(path) ||
	    (!shim_is_node_read(AT_FDCWD, path) && !shim_leads_to_node(AT_FDCWD, path)))
		return NEXT(posix_spawn_file_actions_addopen)(fa, fd, path, flags, mode);
	if (now < 0 || !shim_is_node_fd(now)) {
		int first = shim_open_node((flags & ~(O_CREAT | O_EXCL | O_TRUNC)) | O_CLOEXEC);

		if (first < 0)
			return -first;
		fresh = fcntl(first, F_DUPFD_CLOEXEC, HIGH_FD);
		if (fresh < 0) {
			fresh = first;
		} else {
			close(first);
		}
		atomic_store(&node, fresh);
		now = fresh;
	}
	return posix_spawn_file_actions_adddup2(fa, now, fd);
}

/* -- the shell: libc starts it itself, with environ as it is -- */

static size_t quoted_size(const char *s)
{
	size_t n = 3;

	for (; *s; s++)
		n += *s == '\'' ? 4 : 1;
	return n;
}

/* NAME='VALUE' */
static char *put_quoted(char *to, const char *s)
{
	to = stpncpy(to, s, strcspn(s, "=") + 1);
	s += strcspn(s, "=") + 1;
	*to++ = '\'';
	for (; *s; s++) {
		if (*s == '\'')
			to = stpcpy(to, "'\\'");
		*to++ = *s;
	}
	*to++ = '\'';
	*to = 0;
	return to;
}

static bool is_for_us(const char *e)
{
	return !strncmp(e, ENV_PRELOAD, strlen(ENV_PRELOAD)) ||
	       !strncmp(e, ENV_OURS, strlen(ENV_OURS));
}

static bool has_all(char *const *wanted)
{
	for (; *wanted; wanted++) {
		bool there = false;

		for (char **e = environ; !there && e && *e; e++)
			there = !strcmp(*e, *wanted);
		if (!there)
			return false;
	}
	return true;
}

/* "export LD_PRELOAD='...' STANDIN_NODE='...'\ncommand", or NULL: as it is. free() it. *fd: to be
 * closed when the shell has been started, or -1. */
static char *with_exports(const char *command, int *fd)
{
	size_t bytes = strlen(command) + sizeof("export ;\n");
	char name[OBJECT_NAME_BYTES], *text, *p;
	const char *word;
	char *const *env;
	void *room;

	*fd = -1;
	if (shim_off || environ_is_off(environ) || !(word = object_word(name, fd)))
		return NULL;
	room = malloc(environ_room(environ));
	if (!room)
		return NULL;
	env = environ_for(environ, word, room);
	if (has_all(env)) {
		free(room);
		return NULL;
	}
	for (char *const *e = env; *e; e++)
		bytes += is_for_us(*e) ? quoted_size(*e) + 1 : 0;
	text = malloc(bytes);
	if (text) {
		p = stpcpy(text, "export");
		for (char *const *e = env; *e; e++)
			if (is_for_us(*e)) {
				*p++ = ' ';
				p = put_quoted(p, *e);
			}
		*p++ = '\n';
		strcpy(p, command);
	}
	free(room);
	return text;
}

EXPORT int system(const char *command)
{
	int fd = -1, saved;
	char *text = command ? with_exports(command, &fd) : NULL;
	int r = NEXT(system)(text ? text : command);

	saved = errno;
	free(text);
	if (fd >= 0)
		RAW(SYS_close, fd);
	errno = saved;
	return r;
}

EXPORT FILE *popen(const char *command, const char *mode)
{
	int fd = -1, saved;
	char *text = command ? with_exports(command, &fd) : NULL;
	FILE *f = NEXT(popen)(text ? text : command, mode);

	saved = errno;
	free(text);
	if (fd >= 0)
		RAW(SYS_close, fd);
	errno = saved;
	return f;
}
