/* SPDX-License-Identifier: MIT */
/*
 * shim/exec.c - programs that a program starts run on standin too, also when their environment was
 * cleared: every way of libc to execute a program passes LD_PRELOAD and the STANDIN_* settings
 * on. A caller that sets STANDIN_OFF in the new environment is left alone.
 *
 * These run in vfork children, so they take memory from the stack only.
 */
#include "shim/shim.h"

#include <alloca.h>
#include <dlfcn.h>
#include <elf.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/log.h"

enum { MAX_SETTINGS = 24, SETTINGS_BYTES = 4096, PRELOAD_BYTES = 2 * PATH_MAX };

/* Written by the constructor only. */
static char library[PATH_MAX];		/* our own path; empty: nothing is carried */
static char settings[SETTINGS_BYTES];	/* NAME=VALUE strings */
static const char *setting[MAX_SETTINGS];
static u32 nr_settings;

#define PRELOAD "LD_PRELOAD="
#define OURS "STANDIN_"

void shim_exec_init(void)
{
	size_t used = 0;
	Dl_info info;

	if (!dladdr(settings, &info) || !info.dli_fname || !realpath(info.dli_fname, library) ||
	    strpbrk(library, " :"))
		library[0] = 0;
	for (char **e = environ; e && *e; e++) {
		size_t n = strlen(*e) + 1;

		if (strncmp(*e, OURS, strlen(OURS)) || nr_settings >= MAX_SETTINGS ||
		    used + n > sizeof(settings))
			continue;
		memcpy(settings + used, *e, n);
		setting[nr_settings++] = settings + used;
		used += n;
	}
}

static const char *find(char *const *env, const char *name, size_t n)
{
	for (; env && *env; env++)
		if (!strncmp(*env, name, n))
			return *env;
	return NULL;
}

/* Is our path an element of a list that spaces and colons separate? */
static bool lists_us(const char *list)
{
	size_t n = strlen(library);

	for (const char *p = list; (p = strstr(p, library)); p += n)
		if ((p == list || strchr(" :", p[-1])) && strchr(" :", p[n]))
			return true;
	return false;
}

/* Nothing reaches a program that the dynamic loader does not load. Says so, nothing else: it may
 * start others that are reached. Runs in vfork children too. */
static void warn_static(const char *path)
{
	u8 page[1024];
	const Elf64_Ehdr *eh = (const void *)page;
	const Elf64_Phdr *ph;
	long fd, n;

	if (log_threshold < LOG_warn || !path)
		return;
	fd = syscall(SYS_open, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read((int)fd, page, sizeof(page));
	syscall(SYS_close, fd);
	if (n < (long)sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) ||
	    eh->e_ident[EI_CLASS] != ELFCLASS64)
		return;
	ph = (const void *)(page + eh->e_phoff);
	for (u32 i = 0; i < eh->e_phnum; i++, ph++) {
		if ((const u8 *)(ph + 1) > page + n || ph->p_type == PT_INTERP)
			return;
	}
	log_warn("%s is statically linked: it cannot be reached and will not see %s", path,
		 shim_node());
}

static size_t count(char *const *env)
{
	size_t n = 0;

	while (env && env[n])
		n++;
	return n;
}

static bool carry_needed(char *const *env)
{
	const char *p;

	if (!library[0] || find(env, "STANDIN_OFF=", 12))
		return false;
	p = find(env, PRELOAD, strlen(PRELOAD));
	if (!p || !lists_us(p + strlen(PRELOAD)))
		return true;
	for (u32 i = 0; i < nr_settings; i++)
		if (!find(env, setting[i], strcspn(setting[i], "=") + 1))
			return true;
	return false;
}

/* out: room for count(env) + MAX_SETTINGS + 2 pointers; preload: PRELOAD_BYTES. */
static void carry(char *const *env, char **out, char *preload)
{
	const char *p = find(env, PRELOAD, strlen(PRELOAD));
	size_t n = 0;

	for (; env && *env; env++)
		if (*env != p)
			out[n++] = *env;
	/* Ours first. A list too long for us stays as it is. */
	if (p && (lists_us(p + strlen(PRELOAD)) ||
		  strlen(p) + strlen(library) + 2 > PRELOAD_BYTES)) {
		out[n++] = (char *)p;
	} else {
		strcpy(preload, PRELOAD);
		strcat(preload, library);
		if (p && p[strlen(PRELOAD)]) {
			strcat(preload, ":");
			strcat(preload, p + strlen(PRELOAD));
		}
		out[n++] = preload;
	}
	for (u32 i = 0; i < nr_settings; i++)
		if (!find(out, setting[i], strcspn(setting[i], "=") + 1)) {
			out[n++] = (char *)setting[i];
			out[n] = NULL;
		}
	out[n] = NULL;
}

/* An expression with `env` standing for the environment to use. On the caller's stack. */
#define WITH_ENV(given) \
	char *const *env = (given); \
	if (shim_list(env) >= 0 && carry_needed(env)) { \
		size_t bytes_ = (count(env) + MAX_SETTINGS + 2) * sizeof(char *); \
		char **new_ = alloca(bytes_); \
		memset(new_, 0, bytes_); \
		carry(env, new_, alloca(PRELOAD_BYTES)); \
		env = new_; \
	}

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	WITH_ENV(envp);
	warn_static(path);
	return NEXT(execve)(path, argv, env);
}

EXPORT int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	WITH_ENV(envp);
	return NEXT(execvpe)(file, argv, env);
}

EXPORT int execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	WITH_ENV(envp);
	return NEXT(fexecve)(fd, argv, env);
}

EXPORT int execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
	WITH_ENV(envp);
	return NEXT(execveat)(dir, path, argv, env, flags);
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

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *fa,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	WITH_ENV(envp);
	warn_static(path);
	return NEXT(posix_spawn)(pid, path, fa, attr, argv, env);
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *fa,
			const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	WITH_ENV(envp);
	return NEXT(posix_spawnp)(pid, file, fa, attr, argv, env);
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

/* "export LD_PRELOAD='...' STANDIN_NODE='...'; command", or NULL: as it is. free() it. */
static char *with_exports(const char *command)
{
	size_t bytes = strlen(command) + sizeof("export ;\n");
	char preload[PRELOAD_BYTES], **env, *text, *p;

	if (!carry_needed(environ))
		return NULL;
	env = calloc(count(environ) + MAX_SETTINGS + 2, sizeof(*env));
	if (!env)
		return NULL;
	carry(environ, env, preload);
	for (char **e = env; *e; e++)
		bytes += quoted_size(*e) + 1;
	text = malloc(bytes);
	if (text) {
		p = stpcpy(text, "export");
		for (char **e = env; *e; e++)
			if (!strncmp(*e, PRELOAD, strlen(PRELOAD)) || !strncmp(*e, OURS, strlen(OURS))) {
				*p++ = ' ';
				p = put_quoted(p, *e);
			}
		*p++ = '\n';
		strcpy(p, command);
	}
	free(env);
	return text;
}

EXPORT int system(const char *command)
{
	char *text = command ? with_exports(command) : NULL;
	int r = NEXT(system)(text ? text : command), saved = errno;

	free(text);
	errno = saved;
	return r;
}

EXPORT FILE *popen(const char *command, const char *mode)
{
	char *text = command ? with_exports(command) : NULL;
	FILE *f = NEXT(popen)(text ? text : command, mode);
	int saved = errno;

	free(text);
	errno = saved;
	return f;
}
