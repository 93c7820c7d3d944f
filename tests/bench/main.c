/* SPDX-License-Identifier: MIT */
/* Entry point: bench NAME [PERCENT] prints "NAME seconds"; bench list prints the names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

static const struct {
	const char *name;
	const char *kind;
	bench_fn *fn;
	long work;
} benches[] = {
	{ "int", "compute", bench_int, 60000000 },
	{ "chase", "compute", bench_chase, 24000000 },
	{ "mem", "compute", bench_mem, 20000 },
	{ "sse2", "compute", bench_sse2, 16 },
	{ "avx2", "compute", bench_avx2, 12 },
	{ "flat", "compute", bench_flat, 5000 },
	{ "deflate", "compute", bench_deflate, 32 },
	{ "syscall", "system", bench_syscall, 1500000 },
	{ "forkexec", "system", bench_forkexec, 500 },
	{ "fault", "system", bench_fault, 250000 },
	{ "pipe", "system", bench_pipe, 60000 },
};
#define COUNT (int)(sizeof(benches) / sizeof(benches[0]))

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	long percent = argc > 2 ? atol(argv[2]) : 100;
	int found = 0;

	/* What forkexec executes: as little as possible. */
	if (argc == 2 && !strcmp(argv[1], "nothing"))
		return 0;
	for (int i = 0; i < COUNT; i++) {
		double start;
		volatile uint64_t sink;
		long work = benches[i].work * percent / 100;

		if (argc == 2 && !strcmp(argv[1], "list")) {
			printf("%s %s\n", benches[i].name, benches[i].kind);
			found = 1;
			continue;
		}
		if (argc < 2 || (strcmp(argv[1], benches[i].name) && strcmp(argv[1], "all")))
			continue;
		found = 1;
		start = now();
		sink = benches[i].fn(work > 0 ? work : 1);
		printf("%s %.6f\n", benches[i].name, now() - start);
		fflush(stdout);
		(void)sink;
	}
	if (!found)
		fprintf(stderr, "usage: bench list | all | NAME [PERCENT]\n");
	return found ? 0 : 2;
}
