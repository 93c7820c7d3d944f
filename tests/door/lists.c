/* SPDX-License-Identifier: MIT */
/*
 * tests/door/lists.c - the node in the list of its folder, once, also after rewinding and in two
 * lists at a time; and behind a link.
 */
/* Run: tests/door/run build/standin-door tests/door quick */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int bad;

static void check(int good, const char *what)
{
	if (!good) {
		printf("lists: %s (%s)\n", what, strerror(errno));
		bad = 1;
	}
}

/* How often the folder lists the node; entries in all. */
static int listed(DIR *d, const char *name, int *all)
{
	struct dirent *e;
	int n = 0;

	for (*all = 0; (e = readdir(d)); ++*all)
		n += !strcmp(e->d_name, name);
	return n;
}

int main(void)
{
	char folder[PATH_MAX], link[] = "/tmp/standin-lists.XXXXXX";
	const char *node = getenv("STANDIN_NODE"), *name;
	DIR *one, *two;
	struct stat st;
	int all, again;

	if (!node)
		node = "/dev/kvm";
	name = strrchr(node, '/') + 1;
	snprintf(folder, sizeof(folder), "%.*s", (int)(name - node), node);
	one = opendir(folder);
	two = opendir(folder);
	check(one && two, "opendir");
	check(listed(one, name, &all) == 1, "it is listed once");
	check(listed(two, name, &again) == 1 && again == all, "in a second list too");
	check(!listed(one, name, &again) && !again, "the end stays the end");
	rewinddir(one);
	check(listed(one, name, &again) == 1 && again == all, "once more after rewinding");
	closedir(one);
	closedir(two);
	one = opendir(folder);
	check(listed(one, name, &again) == 1 && again == all, "again by the same number");
	closedir(one);
	one = opendir("/");
	check(!listed(one, name, &all), "it is in no other folder");
	closedir(one);

	check(mkdtemp(link) != NULL, "mkdtemp");
	strcat(strcpy(folder, link), "/link");
	check(!symlink(node, folder), "symlink");
	check(!stat(folder, &st) && S_ISCHR(st.st_mode) && st.st_rdev == makedev(10, 232),
	      "stat of a link");
	check(!lstat(folder, &st) && S_ISLNK(st.st_mode), "lstat of a link");
	check(!access(folder, R_OK | W_OK), "access of a link");
	check(access(folder, X_OK) && errno == EACCES, "access to execute it");
	unlink(folder);
	rmdir(link);
	printf("lists: %s\n", bad ? "bad" : "ok");
	return bad;
}
