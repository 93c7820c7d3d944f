/* SPDX-License-Identifier: MIT */
/* tests/guest/harness/alone.c - for programs that are one test of their own instead of T()s. */
#include <stdarg.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"

static _Noreturn void bail(const char *fmt, va_list ap)
{
	printf("Bail out! ");
	vprintf(fmt, ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

void test_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	bail(fmt, ap);
}

/* They are to run: what they need is there, or their main() has said that it is not. */
void test_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	bail(fmt, ap);
}

/* The harness's checks, of which such a program makes none itself: it says what it expected. */
void test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	printf("# %s:%d\n", file, line);
	va_start(ap, fmt);
	bail(fmt, ap);
}

bool check_eq(const char *file, int line, const char *what, u64 got, u64 want)
{
	return got == want;
}
