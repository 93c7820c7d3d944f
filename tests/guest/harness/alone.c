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
