/* SPDX-License-Identifier: MIT */
/* tests/run/check.h - how the programs here say what is wrong; silence and 0 are success. */
#ifndef TESTS_RUN_CHECK_H
#define TESTS_RUN_CHECK_H

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static int wrong;

static inline void check(int ok, const char *what)
{
	if (!ok)
		printf("%s: errno %d\n", what, errno);
	wrong |= !ok;
}
#define CHECK(expression) (errno = 0, check(expression, #expression))
#define FAILS(want, ...) CHECK((long)(__VA_ARGS__) == -1 && errno == (want))

static inline int is_node(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(10, 232);
}

#endif
