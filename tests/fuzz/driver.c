/* SPDX-License-Identifier: MIT */
/* tests/fuzz/driver.c - see driver.h. */
#include "tests/fuzz/driver.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FAILED = 5 };

struct fuzz_progress *fuzz;

typedef unsigned long long ull;

double fuzz_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Wait for the child, reporting; true when it ended well. */
static bool watch(const struct fuzzer *f, pid_t pid)
{
	struct timespec nap = { 0, 50 * 1000 * 1000 };
	double since = fuzz_now(), note = since;
	u64 last = ~0ull;
	int status;

	for (;;) {
		u64 now = atomic_load(&fuzz->beat) + atomic_load(&fuzz->seed);

		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
		if (now != last) {
			last = now;
			since = fuzz_now();
		} else if (fuzz_now() - since > f->hang_s) {
			printf("# seed %llu (%s): no end\n", (ull)fuzz->seed, f->kind(fuzz->seed));
			/* For whoever wants to look at it with a debugger. */
			if (getenv("FUZZ_KEEP_HUNG"))
				pause();
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return false;
		}
		if (fuzz_now() - note >= 10) {
			note = fuzz_now();
			printf("# %llu cases, at seed %llu\n", (ull)fuzz->done, (ull)fuzz->seed);
		}
		nanosleep(&nap, NULL);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	if (WIFSIGNALED(status))
		printf("# seed %llu (%s): ended by signal %d\n", (ull)fuzz->seed,
		       f->kind(fuzz->seed), WTERMSIG(status));
	else
		printf("# seed %llu (%s): exit code %d\n", (ull)fuzz->seed, f->kind(fuzz->seed),
		       WEXITSTATUS(status));
	return false;
}

static int campaign(const struct fuzzer *f, u64 seed, u32 seconds)
{
	double end = fuzz_now() + seconds;
	u32 failed = 0;

	printf("# first seed %llu\n", (ull)seed);
	while (fuzz_now() < end && failed < MAX_FAILED) {
		pid_t pid;

		fflush(stdout);
		atomic_store(&fuzz->seed, seed);
		pid = fork();
		if (pid < 0)
			return 1;
		if (!pid) {
			bool ok = f->cases(seed, end);

			/* With exit handlers, for the sake of leak checkers. */
			exit(ok ? 0 : 1);
		}
		if (!watch(f, pid))
			failed++;
		seed = atomic_load(&fuzz->seed) + 1;
	}
	printf("# %llu cases\n", (ull)fuzz->done);
	if (f->report)
		f->report();
	printf("%s 1 - %s\n", failed ? "not ok" : "ok", f->title);
	return failed ? 1 : 0;
}

int fuzz_main(const struct fuzzer *f, int argc, char **argv)
{
	u64 seed = (u64)time(NULL) * 1000;
	u32 seconds = 60;

	setvbuf(stdout, NULL, _IOLBF, 0);
	fuzz = mmap(NULL, sizeof(*fuzz), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fuzz == MAP_FAILED)
		return 1;
	printf("TAP version 13\n1..1\n");
	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc) {
			fprintf(stderr, "usage: %s [--seconds N] [--seed S] [--case SEED]\n",
				argv[0]);
			return 2;
		} else if (!strcmp(argv[i], "--seconds")) {
			seconds = (u32)atoi(argv[i + 1]);
		} else if (!strcmp(argv[i], "--seed")) {
			seed = strtoull(argv[i + 1], NULL, 0);
		} else if (!strcmp(argv[i], "--case")) {
			bool ok;

			seed = strtoull(argv[i + 1], NULL, 0);
			atomic_store(&fuzz->seed, seed);
			printf("# %s\n", f->kind(seed));
			ok = f->one(seed);
			printf("%s 1 - seed %llu\n", ok ? "ok" : "not ok", (ull)seed);
			return ok ? 0 : 1;
		} else {
			fprintf(stderr, "usage: %s [--seconds N] [--seed S] [--case SEED]\n",
				argv[0]);
			return 2;
		}
	}
	return campaign(f, seed, seconds);
}
