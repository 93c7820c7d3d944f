/* SPDX-License-Identifier: MIT */
/*
 * door/main.c - standin-door: a program is started inside a process that is ours.
 *
 *	standin-door WHERE NAME OPTIONS PROGRAM'S ARGUMENTS...
 *
 * WHERE is the file, as "path" or "@fd"; NAME is what execve() was given (AT_EXECFN); OPTIONS is
 * "-", or "@fd": our own object, which has no name here. Four words of ours keep the kernel's stack
 * aligned when the program's argument list begins behind them.
 */
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/prctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/handle.h"
#include "base/log.h"
#include "door/door.h"
#include "door/hot.h"
#include "door/launch.h"
#include "door/zydis.h"
#include "shim/shim.h"

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE (1 << 1)
#endif

enum { OURS = 4 };

static char self[PATH_MAX];

static char *const *program_argv;

/* The program runs without us, or fails as it would have. */
static _Noreturn void fail(const char *name, const char *what, int r)
{
	const char *where = program_argv[-(int)OURS + 1];

	if (r != -ENOENT && r != -ENOEXEC && r != -EACCES)
		fprintf(stderr, "standin: %s: %s%s%s: it runs without standin\n", name, what,
			*what ? ": " : "", strerror(-r));
	if (where[0] == '@')
		execveat(atoi(where + 1), "", program_argv, environ, AT_EMPTY_PATH);
	else
		execve(where, program_argv, environ);
	r = errno == ENOEXEC ? r : -errno;
	fprintf(stderr, "standin: %s: %s%s%s\n", name, what, *what ? ": " : "", strerror(-r));
	_exit(r == -ENOENT ? 127 : 126);
}

static int open_program(const char *where)
{
	int fd;

	if (where[0] == '@')
		return atoi(where + 1);
	fd = open(where, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* What our libc has registered for this thread is the program's to register. */
static void give_up_registrations(void)
{
	extern const ptrdiff_t __rseq_offset __attribute__((weak));
	extern const unsigned int __rseq_size __attribute__((weak));
	u8 *area;

	RAW(SYS_set_robust_list, NULL, 24);
	if (!&__rseq_offset || !&__rseq_size || !__rseq_size)
		return;
	area = (u8 *)(uintptr_t)(door_get_fs() + (u64)__rseq_offset);
	/* flags 1: unregister; the signature is x86's RSEQ_SIG. */
	if (!RAW(SYS_rseq, area, 32, 1, 0x53053053))
		memcpy(area + 4, &(s32){ -1 }, 4);	/* cpu_id: not registered */
}

static void set_auxv(char **envp, const struct image *program, const struct image *loader,
		     const char *name)
{
	Elf64_auxv_t *a;

	while (*envp)
		envp++;
	for (a = (Elf64_auxv_t *)(void *)(envp + 1); a->a_type != AT_NULL; a++) {
		switch (a->a_type) {
		case AT_PHDR: a->a_un.a_val = program->phdr; break;
		case AT_PHNUM: a->a_un.a_val = program->phnum; break;
		case AT_ENTRY: a->a_un.a_val = program->entry; break;
		case AT_BASE: a->a_un.a_val = loader ? loader->bias : 0; break;
		case AT_EXECFN: a->a_un.a_val = (u64)(uintptr_t)name; break;
		}
	}
}

/* /proc/self/cmdline and comm. The kernel would not change exe while we are mapped. */
static void set_names(char **argv, char **envp, const char *name)
{
	const char *base = strrchr(name, '/');
	struct prctl_mm_map map;
	unsigned int size;
	char **last = argv, line[1024], *p;
	unsigned long v[53] = { 0 };
	FILE *f = fopen("/proc/self/stat", "re");
	int n = 0;

	prctl(PR_SET_NAME, base ? base + 1 : name);
	if (!f)
		return;
	p = fgets(line, sizeof(line), f);
	fclose(f);
	p = p ? strrchr(p, ')') : NULL;
	if (!p)
		return;
	/* Field 3 comes behind the name; proc(5). */
	for (p = strtok(p + 2, " "); p && n < 50; p = strtok(NULL, " "))
		v[3 + n++] = strtoul(p, NULL, 10);
	if (prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) || size != sizeof(map) || n < 49)
		return;
	while (last[1])
		last++;
	map = (struct prctl_mm_map){
		.start_code = v[26], .end_code = v[27], .start_stack = v[28], .start_data = v[45],
		.end_data = v[46], .start_brk = v[47], .brk = (u64)RAW(SYS_brk, 0),
		.arg_start = (u64)(uintptr_t)argv[0],
		.arg_end = (u64)(uintptr_t)*last + strlen(*last) + 1,
		.env_start = v[50], .env_end = v[51], .exe_fd = ~0u,
	};
	prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0);
}

/* Another libc's loader cannot load our preload object; it stays in the lists of glibc programs
 * below. */
static void leave_preload(void)
{
	char *list = getenv("LD_PRELOAD"), *p, *end, *to;

	if (!list)
		return;
	for (p = to = list; *p; p = end) {
		size_t skip = strspn(p, " :"), n = strcspn(p + skip, " :");

		end = p + skip + n;
		if (n && memmem(p + skip, n, "libstandin-preload.so", 21))
			continue;
		memmove(to, p, skip + n);
		to += skip + n;
	}
	*to = 0;
}

/* Our own file, to start others with. */
static void find_object(const char *option)
{
	if (option[0] == '@')
		door_object_fd(atoi(option + 1));
	else if (readlink("/proc/self/exe", self, sizeof(self) - 1) > 0)
		door_object(self);
	else if (strlen((const char *)getauxval(AT_EXECFN)) < sizeof(self))
		door_object(strcpy(self, (const char *)getauxval(AT_EXECFN)));
}

static void start(int r, const char *name, const char *what)
{
	if (r)
		fail(name, what, r);
}

int main(int argc, char **argv, char **envp)
{
	struct image program, loader;
	char path[PATH_MAX], link[40];
	const char *name;
	bool interp;
	ssize_t n;
	int fd;

	if (argc <= OURS) {
		fprintf(stderr, "standin-door is started by standin; see standin(1)\n");
		return 1;
	}
	name = argv[2];
	program_argv = argv + OURS;
	heap_init();
	door_has_fsgsbase = getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE;
	log_init();
	handle_init();
	start(zydis_init(), name, "Zydis");
	fd = open_program(argv[1]);
	start(fd < 0 ? fd : 0, name, "");
	start(image_load(fd, PROGRAM_BASE, &program), name, "");
	interp = program.interp[0];
	if (interp) {
		int lfd = open(program.interp, O_RDONLY | O_CLOEXEC);

		start(lfd < 0 ? -errno : 0, name, program.interp);
		start(image_load(lfd, LOADER_BASE, &loader), name, program.interp);
		close(lfd);
		if (!strstr(program.interp, "ld-linux-x86-64"))
			leave_preload();
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = 0;
	find_object(argv[3]);
	exec_init(self);
	program_invocation_name = argv[2];
	shim_chosen_init();
	shim_node_init();
	set_auxv(envp, &program, interp ? &loader : NULL, name);
	set_names(argv + OURS, envp, name);
	file_init(path);
	close(fd);
	start(threads_init(), name, "threads");
	start(door_pass_init(), name, "memory");
	start(signals_init(), name, "signals");
	give_up_registrations();
	hot_init(program.base, program.end);
	if (!shim_passive)
		shim_cpuid_init();
	start(filter_install(program.base, program.end - 1), name, "seccomp");
	argv[OURS - 1] = (char *)(uintptr_t)(argc - OURS);
	door_start(interp ? loader.entry : program.entry, (u64)(uintptr_t)(argv + OURS - 1), 0);
}
