/* SPDX-License-Identifier: MIT */
/* tests/bench/machine.h - what the benchmarks that are VMMs themselves share. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	fflush(stdout);
	_exit(1);
}

static int must(int fd, unsigned long request, void *argument, const char *what)
{
	int r = ioctl(fd, request, argument);

	if (r < 0)
		die(what);
	return r;
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Resident memory of this process in KiB. */
static long resident_kib(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%*d %ld", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return pages * 4;
}

/* The guest's. */
static unsigned char *memory;

static void put64(unsigned at, uint64_t value)
{
	memcpy(memory + at, &value, 8);
}

#endif
