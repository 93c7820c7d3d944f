/* SPDX-License-Identifier: MIT */
/* tools/run.c - standin run: start a program with the preload object in place. */
#include "tools/standin.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "irq/avic.h"

const char *preload_path(void)
{
	static char path[PATH_MAX + sizeof("/" PRELOAD_NAME)];
	const char *const where[] = { "/", "/../lib/", "/../lib64/", "/../" STANDIN_LIBDIR "/" };
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *slash;

	if (n > 0) {
		exe[n] = 0;
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

int preload_env(void)
{
	const char *lib = preload_path(), *old = getenv("LD_PRELOAD");
	char *value;
	int r;

	if (!lib)
		return -1;
	/* The loader splits the list at spaces and colons. */
	if (strpbrk(lib, " :")) {
		fprintf(stderr, "standin: %s: LD_PRELOAD cannot carry a path with a blank or colon\n",
			lib);
		return -1;
	}
	if (old && strstr(old, lib))
		return 0;
	if (asprintf(&value, "%s%s%s", lib, old && *old ? ":" : "", old ? old : "") < 0) {
		fprintf(stderr, "standin: out of memory\n");
		return -1;
	}
	r = setenv("LD_PRELOAD", value, 1);
	free(value);
	if (r)
		fprintf(stderr, "standin: setenv: %s\n", strerror(errno));
	return r;
}

/* A static or setuid program ignores LD_PRELOAD. It may still start dynamic ones, so say
 * it and go on. */
static void warn_unreachable(const char *path)
{
	Elf64_Ehdr eh;
	struct stat st;
	bool dynamic = false;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (!fstat(fd, &st) && (st.st_mode & (S_ISUID | S_ISGID)) && geteuid())
		fprintf(stderr, "standin: warning: %s is setuid: it cannot be preloaded\n", path);
	if (read(fd, &eh, sizeof(eh)) == (ssize_t)sizeof(eh) &&
	    !memcmp(eh.e_ident, ELFMAG, SELFMAG) && eh.e_ident[EI_CLASS] == ELFCLASS64 &&
	    eh.e_phentsize == sizeof(Elf64_Phdr)) {
		for (int i = 0; i < eh.e_phnum; i++) {
			Elf64_Phdr ph;
			off_t at = (off_t)(eh.e_phoff + (u64)i * sizeof(ph));

			if (pread(fd, &ph, sizeof(ph), at) != (ssize_t)sizeof(ph))
				break;
			dynamic |= ph.p_type == PT_INTERP;
		}
		if (!dynamic)
			fprintf(stderr, "standin: warning: %s is statically linked: it cannot be reached "
				"and will not see the stand-in (programs it starts can)\n", path);
	}
	close(fd);
}

static void check_program(const char *prog)
{
	const char *p = getenv("PATH");
	char path[PATH_MAX];

	if (strchr(prog, '/')) {
		warn_unreachable(prog);
		return;
	}
	while (p && *p) {
		int n = (int)strcspn(p, ":");

		snprintf(path, sizeof(path), "%.*s/%s", n, p, prog);
		if (!access(path, X_OK)) {
			warn_unreachable(path);
			return;
		}
		p += n + (p[n] == ':');
	}
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

enum { RUN_AVIC = CLI_LONG(0) };
static const struct cli_option run_options[] = {
	{ RUN_AVIC, "avic", "KIND", "interrupt hardware that is modelled: none, avic, x2avic, x2avic-ext" },
	{ 0 },
};

static int run_fn(const struct verb *v, int argc, char **argv)
{
	struct cli c;
	int id;

	cli_begin(&c, v, argc, argv);
	while ((id = cli_next(&c)) > 0)
		if (id == RUN_AVIC && !set_avic(c.arg))
			return cli_error(v, "--avic=%s is none of none, avic, x2avic, x2avic-ext", c.arg);
	if (id != CLI_END)
		return cli_status(id);
	if (c.at >= argc)
		return cli_error(v, "which program?");
	if (preload_env())
		return 1;
	check_program(argv[c.at]);
	execvp(argv[c.at], argv + c.at);
	fprintf(stderr, "standin: %s: %s\n", argv[c.at], strerror(errno));
	return errno == ENOENT ? 127 : 126;
}

const struct verb verb_run = {
	.name = "run", .args = "[OPTION...] [--] PROGRAM [ARG...]",
	.what = "run a program that expects /dev/kvm", .fn = run_fn, .options = run_options, .program = true,
	.more = "So are the programs that it starts. The exit status is the program's; 127: it is not\n"
		"there, 126: it cannot be executed, 1: standin cannot start, 2: wrong usage.\n",
	.example = "  standin run -- qemu-system-x86_64 -accel kvm -cpu max -m 512 ...\n",
};
