/* SPDX-License-Identifier: MIT */
/*
 * tests/run/probe.c - is this process on standin, and are its children?
 *
 *	probe			exit code 0 and "on standin NODE" when it is
 * 	probe start HOW		become (or start) "probe" by HOW, with an empty environment where
 * HOW
 *				takes one
 *	probe cpuid		what a program sees that looks for VT-x or AMD-V itself
 *	probe paths		every way of asking about the node; prints what is wrong
 */
/* Run: meson test -C build run */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kvm.h>
#include <linux/openat2.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

extern char **environ;
int eaccess(const char *path, int mode);

static const char *node(void)
{
	const char *n = getenv("STANDIN_NODE");

	return n ? n : "/dev/kvm";
}

static int here(void)
{
	int fd = open(node(), O_RDWR | O_CLOEXEC);

	/* The tests' node does not exist. */
	if (fd < 0 || ioctl(fd, KVM_GET_API_VERSION, 0) != 12) {
		printf("not on standin\n");
		return 1;
	}
	printf("on standin %s\n", node());
	return 0;
}

/* -- children -- */

static char self[PATH_MAX];
static char *no_environment[] = { NULL };

static int result(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

static int start(const char *how)
{
	char *argv[] = { self, NULL }, line[PATH_MAX];
	pid_t pid = -1;
	FILE *f;
	int fd;

#define IS(name) (!strcmp(how, name))
	if (IS("execve"))
		return execve(self, argv, no_environment);
	if (IS("execle"))
		return execle(self, self, NULL, no_environment);
	if (IS("execvpe"))
		return execvpe(self, argv, no_environment);
	if (IS("fexecve"))
		return fexecve(open(self, O_RDONLY | O_CLOEXEC), argv, no_environment);
	if (IS("execveat")) {
		fd = open("/", O_RDONLY | O_DIRECTORY);
		return execveat(fd, self, argv, no_environment, 0);
	}
	if (IS("syscall"))
		return (int)syscall(SYS_execve, self, argv, no_environment);
	if (IS("posix_spawn"))
		return posix_spawn(&pid, self, NULL, NULL, argv, no_environment) ? 98 : result(pid);
	if (IS("posix_spawnp"))
		return posix_spawnp(&pid, self, NULL, NULL, argv, no_environment) ? 98
										  : result(pid);
	if (IS("vfork")) {
		pid = vfork();
		if (!pid) {
			execve(self, argv, no_environment);
			_exit(97);
		}
		return result(pid);
	}
	/* These have no environment of their own to give. */
	clearenv();
	if (IS("execv"))
		return execv(self, argv);
	if (IS("execvp"))
		return execvp(self, argv);
	if (IS("execl"))
		return execl(self, self, NULL);
	if (IS("execlp"))
		return execlp(self, self, NULL);
	fflush(stdout);
	if (IS("system"))
		return WEXITSTATUS(system(self));
	if (IS("popen")) {
		f = popen(self, "r");
		while (f && fgets(line, sizeof(line), f))
			fputs(line, stdout);
		return f ? WEXITSTATUS(pclose(f)) : 96;
	}
	return 2;
}

/* -- the node -- */

static int closes(int fd)
{
	return fd >= 0 && ioctl(fd, KVM_GET_API_VERSION, 0) == 12 && !close(fd);
}

static int paths(void)
{
	struct open_how how = { .flags = O_RDWR | O_CLOEXEC }, unknown = { .flags = 1ull << 40 };
	char dir_name[PATH_MAX], odd[2 * PATH_MAX], buf[PATH_MAX];
	const char *n = node(), *base = strrchr(n, '/') + 1;
	struct statx sx;
	struct stat st;
	FILE *f;
	int dir, fd;

	snprintf(dir_name, sizeof(dir_name), "%.*s", (int)(base - n), n);
	snprintf(odd, sizeof(odd), "%s../dev/./%s", dir_name, base);
	dir = open(dir_name, O_RDONLY | O_DIRECTORY);
	CHECK(dir >= 0);

	CHECK(closes(open(n, O_RDWR)));
	CHECK(closes(open64(n, O_RDWR)));
	CHECK(closes(openat(AT_FDCWD, n, O_RDWR)));
	CHECK(closes(openat(dir, base, O_RDWR)));
	CHECK(closes(openat64(dir, base, O_RDWR)));
	CHECK(closes(open(odd, O_RDWR)));
	CHECK(closes((int)syscall(SYS_open, n, O_RDWR)));
	CHECK(closes((int)syscall(SYS_openat, dir, base, O_RDWR)));
	CHECK(closes((int)syscall(SYS_openat2, dir, base, &how, sizeof(how))));
	CHECK(syscall(SYS_openat2, dir, base, &unknown, sizeof(how)) == -1 && errno == EINVAL);
	CHECK(syscall(SYS_openat2, dir, base, &how, 8) == -1 && errno == EINVAL);
	CHECK(open(n, O_RDWR | O_CREAT | O_EXCL, 0600) == -1 && errno == EEXIST);
	CHECK(open(n, O_RDONLY | O_DIRECTORY) == -1 && errno == ENOTDIR);
	f = fopen(n, "r+");
	CHECK(f != NULL);
	if (f)
		fclose(f);

	CHECK(!access(n, F_OK) && !access(n, R_OK | W_OK));
	CHECK(access(n, X_OK) == -1 && errno == EACCES);
	CHECK(access(n, 64) == -1 && errno == EINVAL);
	CHECK(!eaccess(n, R_OK | W_OK));
	CHECK(!euidaccess(n, R_OK | W_OK));
	CHECK(!faccessat(dir, base, R_OK | W_OK, AT_EACCESS));
	CHECK(!syscall(SYS_access, n, R_OK | W_OK));
	CHECK(!syscall(SYS_faccessat, dir, base, R_OK));
	CHECK(!syscall(SYS_faccessat2, dir, base, R_OK, AT_EACCESS));

	CHECK(!stat(n, &st) && is_node(&st));
	CHECK(!lstat(n, &st) && is_node(&st));
	CHECK(!stat(odd, &st) && is_node(&st));
	CHECK(!fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) && is_node(&st));
	CHECK(!syscall(SYS_stat, n, &st) && is_node(&st));
	CHECK(!syscall(SYS_lstat, n, &st) && is_node(&st));
	CHECK(!syscall(SYS_newfstatat, dir, base, &st, 0) && is_node(&st));
	CHECK(!statx(dir, base, 0, STATX_BASIC_STATS, &sx) && S_ISCHR(sx.stx_mode));
	CHECK(!syscall(SYS_statx, dir, base, 0, STATX_BASIC_STATS, &sx) &&
	      sx.stx_rdev_minor == 232);
	fd = open(n, O_RDWR);
	CHECK(!fstat(fd, &st) && is_node(&st));
	CHECK(!fstatat(fd, "", &st, AT_EMPTY_PATH) && is_node(&st));
	CHECK(!statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx) && sx.stx_rdev_major == 10);
	close(fd);
	CHECK(!fstat(dir, &st) && S_ISDIR(st.st_mode));

	CHECK(readlink(n, buf, sizeof(buf)) == -1 && errno == EINVAL);
	CHECK(readlinkat(dir, base, buf, sizeof(buf)) == -1 && errno == EINVAL);
	CHECK(syscall(SYS_readlink, n, buf, sizeof(buf)) == -1 && errno == EINVAL);
	CHECK(syscall(SYS_readlinkat, dir, base, buf, sizeof(buf)) == -1 && errno == EINVAL);
	CHECK(realpath(n, buf) && !strcmp(buf, n));
	CHECK(!strcmp(canonicalize_file_name(odd), n));
	close(dir);
	return wrong;
}

static int cpuid(void)
{
	unsigned int a, b, c, d, ext = 0;

	__cpuid(1, a, b, c, d);
	__get_cpuid(0x80000001, &a, &b, &ext, &d);
	printf("%s\n", c >> 5 & 1 || ext >> 2 & 1 ? "virtualization" : "no virtualization");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 3;
	if (argc == 3 && !strcmp(argv[1], "start"))
		return start(argv[2]);
	if (argc == 2 && !strcmp(argv[1], "paths"))
		return paths();
	if (argc == 2 && !strcmp(argv[1], "cpuid"))
		return cpuid();
	return here();
}
