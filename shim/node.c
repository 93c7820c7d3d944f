/* SPDX-License-Identifier: MIT */
/*
 * shim/node.c - is a path the node? By its own name, by another spelling of it, by a symbolic link
 * that leads there, or by a device that has its number.
 */
#include "shim/shim.h"

#include <limits.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/node.h"
#include "base/options.h"
#include "base/raw.h"

#define DEFAULT_NODE "/dev/kvm"
#define LINKS_MAX 40	/* of Linux */

static char node_path[PATH_MAX] = DEFAULT_NODE;	/* written by the constructor only */

void shim_node_init(void)
{
	const char *node = option_text(OPT_NODE);

	/* No path is this one: it has a component that is too long. */
	if (shim_passive) {
		memset(node_path, 'x', NAME_MAX + 2);
		node_path[0] = '/';
		node_path[NAME_MAX + 2] = 0;
		return;
	}
	if (node && strlen(node) < sizeof(node_path))
		strcpy(node_path, node);
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

/* Two spellings of one folder? Each is what stands before the last component of a path. */
static bool same_folder(int dir, const char *a, size_t na, const char *b, size_t nb)
{
	char d[PATH_MAX];
	struct stat sa, sb;

	if (na + 2 > sizeof(d) || nb + 2 > sizeof(d))
		return false;
	memcpy(d, a, na);
	strcpy(d + na, ".");
	if (RAW(SYS_newfstatat, dir, d, &sa, 0))
		return false;
	memcpy(d, b, nb);
	strcpy(d + nb, ".");
	if (RAW(SYS_newfstatat, AT_FDCWD, d, &sb, 0))
		return false;
	return sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

bool shim_is_file(int dir, const char *path, const char *name)
{
	const char *base;

	if (!strcmp(path, name))
		return true;
	base = last_component(path);
	if (likely(strcmp(base, last_component(name))))
		return false;
	return same_folder(dir, path, (size_t)(base - path), name,
			   (size_t)(last_component(name) - name));
}

bool shim_is_node_read(int dir, const char *path)
{
	return shim_is_file(dir, path, node_path);
}

/* A symbolic link whose end is the node, which is not there for the kernel to follow it to. */
bool shim_leads_to_node(int dir, const char *path)
{
	char name[PATH_MAX], target[PATH_MAX];
	struct stat st;
	size_t n;
	long r;

	if (strlen(path) >= sizeof(name))
		return false;
	strcpy(name, path);
	for (int i = 0; i < LINKS_MAX; i++) {
		if (RAW(SYS_newfstatat, dir, name, &st, AT_SYMLINK_NOFOLLOW) ||
		    !S_ISLNK(st.st_mode))
			return false;
		r = RAW(SYS_readlinkat, dir, name, target, sizeof(target) - 1);
		if (r <= 0)
			return false;
		target[r] = 0;
		n = *target == '/' ? 0 : (size_t)(last_component(name) - name);
		if (n + (size_t)r + 1 > sizeof(name))
			return false;
		strcpy(name + n, target);
		if (*target == '/')
			dir = AT_FDCWD;
		if (shim_is_node_read(dir, name))
			return true;
	}
	return false;
}

bool shim_is_device(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == NODE_RDEV && shim_node_is_default();
}

static bool has_its_number(int dir, const char *path)
{
	struct stat st;

	return shim_node_is_default() && !RAW(SYS_newfstatat, dir, path, &st, 0) &&
	       shim_is_device(&st);
}

bool shim_was_node(bool failed, int dir, const char *path, bool follow)
{
	int saved = errno;
	bool yes;

	if (failed)
		switch (saved) {
		case ENOENT:
			yes = shim_is_node_read(dir, path) ||
			      (follow && shim_leads_to_node(dir, path));
			break;
		/* A node without its driver, or on a file system that has no devices. */
		case ENODEV:
		case ENXIO:
		case EACCES:
		case EPERM:
		case EROFS:
		case ENODATA:
		case EOPNOTSUPP:
		case ENOTTY:
		case EINVAL:
		case EEXIST:
			yes = shim_path(path) &&
			      (shim_is_node_read(dir, path) || has_its_number(dir, path));
			break;
		/* Bad addresses, among others: path may not be touched. */
		default:
			return false;
		}
	else
		yes = shim_is_node_read(dir, path);
	errno = saved;
	return yes;
}
