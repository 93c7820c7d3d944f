/* SPDX-License-Identifier: MIT */
/*
 * tests/door/jail.c - what Firecracker's jailer does: a root of its own in which nothing of ours
 * is, all descriptors closed, a node that it makes itself or may not make, no privileges, no
 * environment; then the program.
 *
 *	jail chroot|pivot FOLDER PROGRAM
 */
/* Run: tests/door/run build/standin-door tests/door quick */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void check(const char *what, long r)
{
	if (!r)
		return;
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static void optional(const char *what, long r)
{
	if (!r)
		return;
	printf("not here: %s: %s\n", what, strerror(errno));
	exit(0);
}

int main(int argc, char **argv)
{
	char *none[] = { NULL }, *words[] = { argv[3], NULL };
	const char *node = getenv("STANDIN_NODE");

	if (geteuid())
		optional("unshare", unshare(CLONE_NEWUSER));
	if (!strcmp(argv[1], "pivot")) {
		optional("unshare", unshare(CLONE_NEWNS));
		optional("private", mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
		optional("bind", mount(argv[2], argv[2], NULL, MS_BIND | MS_REC, NULL));
		check("chdir", chdir(argv[2]));
		check("pivot_root", syscall(SYS_pivot_root, ".", "."));
		check("umount", umount2(".", MNT_DETACH));
	} else {
		optional("chroot", chroot(argv[2]));
	}
	check("chdir", chdir("/"));
	for (int fd = 3; fd < 1024; fd++)
		if (!close(fd))
			printf("descriptor %d was open\n", fd);
	if (!node)
		node = "/dev/kvm";
	check("mknod", mknod(node, S_IFCHR | 0600, makedev(10, 232)));
	check("chown", chown(node, 1000, 1000));
	check("chmod", chmod(node, 0600));
	if (!geteuid() && getuid() == 0) {
		setgid(1000);
		setuid(1000);
	}
	fflush(stdout);
	execve(argv[3], words, none);
	check("execve", -1);
}
