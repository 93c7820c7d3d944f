/* SPDX-License-Identifier: MIT */
/* tests/fuzz/leaks.c - see leaks.h. */
#include "tests/fuzz/leaks.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* glibc keeps stacks of ended threads (40 MiB at most) and an arena for every thread at work. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { MAPS_ALLOWED = 1000000 };	/* most are the sanitizer's own */
#else
enum { MAPS_ALLOWED = 60 };
#endif

static u32 entries(const char *path)
{
	DIR *d = opendir(path);
	u32 n = 0;

	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static u32 lines(const char *path)
{
	FILE *f = fopen(path, "re");
	u32 n = 0;
	int c;

	if (!f)
		return 0;
	while ((c = fgetc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

void leaks_count(struct leaks *l)
{
	char line[256];
	unsigned long v;
	FILE *f;

	memset(l, 0, sizeof(*l));
	l->fds = entries("/proc/self/fd");
	l->threads = entries("/proc/self/task");
	l->maps = lines("/proc/self/maps");
	f = fopen("/proc/self/status", "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "VmRSS: %lu", &v) == 1)
			l->rss = v;
		if (sscanf(line, "VmSize: %lu", &v) == 1)
			l->virtual = v;
	}
	if (f)
		fclose(f);
}

void leaks_print_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char target[128];
		ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);

		if (n > 0)
			printf("# fd %s: %.*s\n", e->d_name, (int)n, target);
	}
	if (d)
		closedir(d);
}

/* A thread that has been joined is listed until the kernel has buried it. */
static u32 threads_in_the_end(u32 now, u32 wanted)
{
	for (u32 i = 0; i < 200 && now > wanted; i++) {
		usleep(10000);
		now = entries("/proc/self/task");
	}
	return now;
}

const char *leaks_found(const struct leaks *b, const struct leaks *a)
{
	static char text[160];
	u32 threads = threads_in_the_end(a->threads, b->threads);

	if (a->fds <= b->fds && threads <= b->threads && a->maps <= b->maps + MAPS_ALLOWED)
		return NULL;
	snprintf(text, sizeof(text), "descriptors %u -> %u, threads %u -> %u, mappings %u -> %u",
		 b->fds, a->fds, b->threads, threads, b->maps, a->maps);
	return text;
}
