/* SPDX-License-Identifier: MIT */
/*
 * tests/run/neighbours.c - what else is done with a file by its name: as if the node were there,
 * crw-rw-rw- root 10:232. Says what is wrong; silence and 0 are success.
 */
/* Run: meson test -C build run-silent */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/kvm.h>
#include <linux/openat2.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include "check.h"

static const char *node;
static char folder[PATH_MAX], tmp[] = "/tmp/standin-neighbours.XXXXXX";
static const char *base;
static int closes(int fd)
{
	return fd >= 0 && ioctl(fd, KVM_GET_API_VERSION, 0) == 12 && !close(fd);
}

static int is_as_devtmpfs_has_it(const struct stat *st)
{
	return is_node(st) && (st->st_mode & 07777) == 0666 && !st->st_uid && !st->st_gid &&
	       st->st_nlink == 1;
}

static void opens(void)
{
	FILE *f;

	CHECK(closes(creat(node, 0600)));
	CHECK(closes(creat64(node, 0600)));
	CHECK(closes((int)syscall(SYS_creat, node, 0600)));
	CHECK(closes(open(node, O_RDWR | O_CREAT | O_TRUNC, 0600)));
	CHECK(closes(open(node, O_RDWR | O_NOFOLLOW)));
	CHECK(closes(open(node, O_RDWR | O_APPEND | O_NONBLOCK)));
	FAILS(EEXIST, open(node, O_RDWR | O_CREAT | O_EXCL, 0600));
	FAILS(ENOTDIR, open(node, O_RDONLY | O_DIRECTORY));
	FAILS(ENOTDIR, open(node, O_PATH | O_DIRECTORY));
	f = freopen(node, "r+", stdin);
	CHECK(f == stdin && ioctl(fileno(f), KVM_GET_API_VERSION, 0) == 12);
	f = fopen(node, "w+e");
	CHECK(f && ioctl(fileno(f), KVM_GET_API_VERSION, 0) == 12);
	CHECK(f && fcntl(fileno(f), F_GETFD) == FD_CLOEXEC);
	if (f)
		fclose(f);
	CHECK(!fopen(node, "wx") && errno == EEXIST);
}

static void open_how(void)
{
	struct open_how how = { .flags = O_RDWR | O_CLOEXEC };
	int dir = open(folder, O_PATH | O_DIRECTORY);
	const size_t n = sizeof(how);

	how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
	CHECK(closes((int)syscall(SYS_openat2, dir, base, &how, n)));
	FAILS(EXDEV, syscall(SYS_openat2, dir, node, &how, n));
	how.resolve = RESOLVE_IN_ROOT;
	CHECK(closes((int)syscall(SYS_openat2, dir, base, &how, n)));
	how.resolve = 1ull << 40;
	FAILS(EINVAL, syscall(SYS_openat2, dir, base, &how, n));
	how.resolve = 0;
	how.mode = 0600;
	FAILS(EINVAL, syscall(SYS_openat2, dir, base, &how, n));
	how.flags |= O_CREAT;
	CHECK(closes((int)syscall(SYS_openat2, dir, base, &how, n)));
	how.flags |= O_EXCL;
	FAILS(EEXIST, syscall(SYS_openat2, dir, base, &how, n));
	close(dir);
}

static void rights(void)
{
	int dir = open(folder, O_PATH | O_DIRECTORY), fd = open(node, O_RDWR);

	CHECK(!faccessat(dir, base, R_OK | W_OK, AT_EACCESS | AT_SYMLINK_NOFOLLOW));
	FAILS(EACCES, faccessat(dir, base, X_OK, AT_EACCESS));
	CHECK(!syscall(SYS_faccessat2, fd, "", R_OK | W_OK, AT_EMPTY_PATH));
	FAILS(EACCES, syscall(SYS_faccessat2, fd, "", X_OK, AT_EMPTY_PATH));
	FAILS(EINVAL, syscall(SYS_faccessat2, dir, base, R_OK, 0x40000000));
	FAILS(EINVAL, syscall(SYS_faccessat2, dir, base, 64, 0));
	close(dir);
	close(fd);
}

static void links(void)
{
	char first[PATH_MAX], second[PATH_MAX], buf[PATH_MAX];
	struct stat st;

	snprintf(first, sizeof(first), "%s/link", tmp);
	snprintf(second, sizeof(second), "%s/second", tmp);
	CHECK(!symlink(node, first) && !symlink("link", second));
	CHECK(closes(open(first, O_RDWR)));
	CHECK(closes(open(second, O_RDWR)));
	CHECK(closes(open(second, O_RDWR | O_CREAT, 0600)));
	CHECK(closes(creat(second, 0600)));
	FAILS(EEXIST, open(second, O_RDWR | O_CREAT | O_EXCL, 0600));
	FAILS(ELOOP, open(second, O_RDWR | O_NOFOLLOW));
	CHECK(!stat(second, &st) && is_as_devtmpfs_has_it(&st));
	CHECK(!lstat(second, &st) && S_ISLNK(st.st_mode));
	CHECK(!access(second, R_OK | W_OK));
	CHECK(readlink(second, buf, sizeof(buf)) == 4);
	CHECK(realpath(second, buf) && !strcmp(buf, node));
	CHECK(getxattr(second, "system.posix_acl_access", buf, 8) == -1 && errno == ENODATA);
	FAILS(EEXIST, symlink("x", node));
	FAILS(EEXIST, link(first, node));
	unlink(first);
	unlink(second);
}

static void changes(void)
{
	const struct timespec some[2] = { { 1, 0 }, { 1, 0 } };
	const struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };
	int root = !geteuid(), dir = open(folder, O_PATH | O_DIRECTORY), fd = open(node, O_RDWR);
	struct stat st;
	char buf[64];

#define OWNERS(...) do { if (root) CHECK(!(__VA_ARGS__)); else FAILS(EPERM, __VA_ARGS__); \
			 } while (0)
	OWNERS(chmod(node, 0600));
	OWNERS(fchmodat(dir, base, 0600, 0));
	OWNERS(fchmod(fd, 0600));
	OWNERS(chown(node, 1, 1));
	OWNERS(lchown(node, 1, 1));
	OWNERS(fchownat(dir, base, 1, 1, 0));
	OWNERS(fchown(fd, 1, 1));
	OWNERS(syscall(SYS_chmod, node, 0600));
	OWNERS(syscall(SYS_fchownat, dir, base, 1, 1, 0));
	OWNERS(utimensat(dir, base, some, 0));
	OWNERS(futimens(fd, some));
	CHECK(!utimensat(dir, base, now, 0) && !utimensat(dir, base, NULL, 0));
	CHECK(!utimes(node, NULL) && !utime(node, NULL) && !futimens(fd, NULL));
	CHECK(!fstat(fd, &st) && is_as_devtmpfs_has_it(&st));
	CHECK(!stat(node, &st) && is_as_devtmpfs_has_it(&st));

	FAILS(ENODATA, getxattr(node, "system.posix_acl_access", buf, sizeof(buf)));
	FAILS(ENODATA, lgetxattr(node, "security.selinux", buf, sizeof(buf)));
	FAILS(ENODATA, fgetxattr(fd, "user.x", buf, sizeof(buf)));
	FAILS(EOPNOTSUPP, getxattr(node, "none.x", buf, sizeof(buf)));
	FAILS(EFAULT, getxattr(node, (char *)8, buf, sizeof(buf)));
	CHECK(listxattr(node, buf, sizeof(buf)) == 0 && llistxattr(node, NULL, 0) == 0);
	OWNERS(setxattr(node, "system.posix_acl_access", "", 0, 0));
	FAILS(EPERM, setxattr(node, "user.x", "", 0, 0));
	OWNERS(removexattr(node, "system.posix_acl_access"));

	FAILS(EEXIST, mknod(node, S_IFCHR | 0666, makedev(10, 232)));
	FAILS(EEXIST, mknodat(dir, base, S_IFIFO | 0666, 0));
	FAILS(EEXIST, mkdir(node, 0700));
	FAILS(EEXIST, mkfifo(node, 0700));
	close(dir);
	close(fd);
}

static int in_list(int (*next)(DIR *, char *), DIR *d)
{
	char name[NAME_MAX + 1];
	int n = 0;

	while (next(d, name))
		n += !strcmp(name, base);
	return n;
}

static int next32(DIR *d, char *name)
{
	struct dirent *e = readdir(d);

	return e && strcpy(name, e->d_name);
}

static int next64(DIR *d, char *name)
{
	struct dirent64 *e = readdir64(d);

	return e && strcpy(name, e->d_name);
}

static int only_node(const struct dirent *e)
{
	return !strcmp(e->d_name, base);
}

static void lists(void)
{
	char pattern[PATH_MAX + 8];
	struct dirent **list;
	DIR *d = opendir(folder);
	glob_t g;

	CHECK(in_list(next32, d) == 1);
	CHECK(!readdir(d) && !errno);
	rewinddir(d);
	CHECK(in_list(next64, d) == 1);
	closedir(d);
	d = opendir(folder);
	CHECK(in_list(next64, d) == 1);
	closedir(d);
	d = opendir("/");
	CHECK(in_list(next32, d) == 0);
	closedir(d);
	CHECK(scandir(folder, &list, only_node, alphasort) == 1 && list[0]->d_type == DT_CHR);
	CHECK(scandir("/", &list, only_node, alphasort) == 0);
	snprintf(pattern, sizeof(pattern), "%s*[%c]", folder, base[strlen(base) - 1]);
	memset(&g, 0, sizeof(g));
	CHECK(!glob(pattern, 0, NULL, &g));
	int found = 0;
	for (size_t i = 0; i < g.gl_pathc; i++)
		found += !strcmp(g.gl_pathv[i], node);
	CHECK(found == 1);
	globfree(&g);
	CHECK(!glob(node, 0, NULL, &g) && g.gl_pathc == 1);
}

static void watches(void)
{
	int in = inotify_init1(IN_NONBLOCK);
	char buf[256];

	CHECK(inotify_add_watch(in, node, IN_ALL_EVENTS) > 0);
	CHECK(closes(open(node, O_RDWR)));
	FAILS(EAGAIN, read(in, buf, sizeof(buf)));
	FAILS(ENOTDIR, inotify_add_watch(in, node, IN_OPEN | IN_ONLYDIR));
	FAILS(EBADF, inotify_add_watch(-1, node, IN_OPEN));
	close(in);
}

static void spawned(const char *self)
{
	char *args[] = { (char *)self, "stdin", NULL };
	posix_spawn_file_actions_t fa;
	int st = 1;
	pid_t pid;

	CHECK(!posix_spawn_file_actions_init(&fa));
	CHECK(!posix_spawn_file_actions_addopen(&fa, 0, node, O_RDWR, 0));
	CHECK(!posix_spawn(&pid, self, &fa, NULL, args, environ));
	waitpid(pid, &st, 0);
	CHECK(!st);
	posix_spawn_file_actions_destroy(&fa);
}

int main(int argc, char **argv)
{
	node = getenv("STANDIN_NODE");
	if (!node)
		node = "/dev/kvm";
	if (argc == 2)
		return ioctl(0, KVM_GET_API_VERSION, 0) != 12;
	base = strrchr(node, '/') + 1;
	snprintf(folder, sizeof(folder), "%.*s", (int)(base - node), node);
	if (!mkdtemp(tmp))
		return 1;
	opens();
	open_how();
	rights();
	links();
	changes();
	lists();
	watches();
	spawned(argv[0]);
	rmdir(tmp);
	return wrong;
}
