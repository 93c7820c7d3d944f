/* SPDX-License-Identifier: MIT */
/*
 * tools/wrapper.c - the command by another name, for tools that take the path of an emulator
 * (libvirt's <emulator>, virtme-ng's --qemu): a link called like a program runs that program on
 * standin; standin-NAME runs NAME, and standin-qemu the QEMU for this kind of machine.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/standin.h"

#define OURS "standin"

/* The first file of that name in PATH which is not this command. */
static bool find(const char *name, char *path)
{
	const char *p = getenv("PATH");
	struct stat self, st;
	char own[PATH_MAX];

	if (!own_path(own) || stat(own, &self))
		return false;
	if (!p)
		p = "/bin:/usr/bin";
	for (;;) {
		int n = (int)strcspn(p, ":");

		if (snprintf(path, PATH_MAX, "%.*s%s%s", n, p, n ? "/" : "", name) < PATH_MAX &&
		    !access(path, X_OK) && !stat(path, &st) && S_ISREG(st.st_mode) &&
		    (st.st_dev != self.st_dev || st.st_ino != self.st_ino))
			return true;
		if (!p[n])
			return false;
		p += n + 1;
	}
}

int wrapper(char **argv)
{
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
	bool named = !strncmp(name, OURS "-", strlen(OURS "-"));
	static char path[PATH_MAX];

	if (!strcmp(name, OURS))
		return -1;
	if (named)
		name += strlen(OURS "-");
	if (!find(!strcmp(name, "qemu") ? "qemu-system-x86_64" : name, path)) {
		/* A copy of the command by whatever name is the command. */
		if (!named)
			return -1;
		fprintf(stderr, "standin: %s: there is no %s in PATH\n", argv[0], name);
		return 127;
	}
	argv[0] = path;
	return start_program(argv);
}
