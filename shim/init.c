/* SPDX-License-Identifier: MIT */
/* shim/init.c - start-up, the next definitions, and which path is the node. */
#include "shim/shim.h"

#include <dlfcn.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>

#include "abi/handle.h"
#include "base/log.h"
#include "base/options.h"

#define DEFAULT_NODE "/dev/kvm"

/* Lets a program (and our own command) see that it runs under the stand-in. */
EXPORT extern const char standin_preload_version[];
const char standin_preload_version[] = STANDIN_VERSION;

void *_Atomic shim_next_table[NEXT_COUNT];
static const char *const next_name[] = {
#define X(n) #n,
	SHIM_NEXT(X)
#undef X
};

static char node_path[PATH_MAX] = DEFAULT_NODE;	/* written by the constructor only */

void *shim_next_find(enum shim_next n)
{
	void *p = dlsym(RTLD_NEXT, next_name[n]);

	/* The __xstat family is there for old binaries only, which plain dlsym does not see. */
	if (!p)
		p = dlvsym(RTLD_NEXT, next_name[n], "GLIBC_2.2.5");
	atomic_store(&shim_next_table[n], p);
	return p;
}

const char *shim_node(void)
{
	return node_path;
}

bool shim_node_is_default(void)
{
	return !strcmp(node_path, DEFAULT_NODE);
}

static const char *last_component(const char *p)
{
	const char *s = strrchr(p, '/');

	return s ? s + 1 : p;
}

bool shim_is_node(int dir, const char *path)
{
	char d[PATH_MAX];
	struct stat a, b;
	const char *base;
	size_t n;

	if (!path)
		return false;
	if (!strcmp(path, node_path))
		return true;
	base = last_component(path);
	if (strcmp(base, last_component(node_path)))
		return false;
	/* Spelled differently: the same name in the same directory? */
	n = (size_t)(base - path);
	if (n + 2 > sizeof(d))
		return false;
	memcpy(d, path, n);
	strcpy(d + n, ".");
	if (syscall(SYS_newfstatat, dir, d, &a, 0))
		return false;
	n = (size_t)(last_component(node_path) - node_path);
	memcpy(d, node_path, n);
	strcpy(d + n, ".");
	if (syscall(SYS_newfstatat, AT_FDCWD, d, &b, 0))
		return false;
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

__attribute__((constructor(101))) static void shim_start(void)
{
	const char *node = option_text(OPT_NODE);
	int saved = errno;

	log_init();
	handle_init();
	shim_signals_init();
	shim_exec_init();
	if (node && strlen(node) < sizeof(node_path))
		strcpy(node_path, node);
	shim_cpuid_init();
	errno = saved;
}
