/* SPDX-License-Identifier: MIT */
/* tools/trace_area.c - see trace_area.h. */
#include "tools/trace_area.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/standin.h"

#define SIZE sizeof(struct trace_area)

static struct trace_area *map(int fd, const char *what)
{
	struct trace_area *a = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (a == MAP_FAILED) {
		fprintf(stderr, "standin: %s: %s\n", what, strerror(errno));
		return NULL;
	}
	if (a->magic != TRACE_MAGIC || a->size != SIZE) {
		fprintf(stderr, "standin: %s: made by another version of standin\n", what);
		munmap(a, SIZE);
		return NULL;
	}
	return a;
}

struct trace_area *area_make(char *path, size_t size)
{
	const char *dir = getenv("TMPDIR");
	const u64 head[2] = { TRACE_MAGIC, SIZE };	/* magic, size */
	struct trace_area *a = NULL;
	int fd;

	if ((size_t)snprintf(path, size, "%s/standin-trace.XXXXXX",
			     dir && *dir == '/' ? dir : "/tmp") >= size) {
		fprintf(stderr, "standin: TMPDIR is too long\n");
		return NULL;
	}
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "standin: %s: %s\n", path, strerror(errno));
		return NULL;
	}
	if (ftruncate(fd, (off_t)SIZE) || pwrite(fd, head, sizeof(head), 0) != sizeof(head))
		fprintf(stderr, "standin: %s: %s\n", path, strerror(errno));
	else
		a = map(fd, path);
	close(fd);
	if (!a)
		unlink(path);
	return a;
}

struct trace_area *area_of_pid(int pid)
{
	char dir[64], path[sizeof(dir) + 256], link[64];
	struct trace_area *a = NULL;
	struct dirent *e;
	DIR *d;

	snprintf(dir, sizeof(dir), "/proc/%d/fd", pid);
	d = opendir(dir);
	if (!d) {
		fprintf(stderr, "standin: process %d: %s\n", pid, strerror(errno));
		return NULL;
	}
	while (!a && (e = readdir(d))) {
		ssize_t n;
		int fd;

		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		n = readlink(path, link, sizeof(link) - 1);
		if (n < 0)
			continue;
		link[n] = 0;
		if (strcmp(link, "/memfd:standin (deleted)") && !strstr(link, "/standin-trace."))
			continue;
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		a = map(fd, path);
		close(fd);
	}
	closedir(d);
	if (!a)
		fprintf(stderr, "standin: process %d has no VM of standin, or is somebody else's\n",
			pid);
	return a;
}

void area_close(struct trace_area *a)
{
	munmap(a, SIZE);
}

u64 area_events(const char *patterns)
{
	/* Two for every time round the loop; asked for by name only. */
	const u64 chatty = BIT64(TRACE_kvm_entry) | BIT64(TRACE_kvm_exit);
	char *copy, *save = NULL;
	u64 mask = 0;

	if (!patterns)
		return (BIT64(TRACE_EVENT_COUNT) - 1) & ~chatty;
	copy = strdup(patterns);
	if (!copy)
		return 0;
	for (char *p = strtok_r(copy, ",", &save); p; p = strtok_r(NULL, ",", &save))
		for (u32 i = 0; i < TRACE_EVENT_COUNT; i++)
			if (!fnmatch(p, area_event_name(i), 0))
				mask |= BIT64(i);
	free(copy);
	return mask;
}

int trace_read(struct trace_reader *rd, struct trace_record *r)
{
	struct trace_area *a = rd->area;
	struct trace_record *at;
	u64 head = atomic_load_explicit(&a->head, memory_order_acquire);
	u32 seq;

	if (head - rd->next > TRACE_RING && head > rd->next) {
		rd->lost += head - TRACE_RING - rd->next;
		rd->next = head - TRACE_RING;
	}
	while (rd->next < head) {
		at = &a->ring[rd->next % TRACE_RING];
		seq = atomic_load_explicit(&at->seq, memory_order_acquire);
		if (seq == (u32)rd->next + 1) {
			__builtin_memcpy(r, at, sizeof(*r));
			atomic_thread_fence(memory_order_acquire);
			if (atomic_load_explicit(&at->seq, memory_order_relaxed) == seq) {
				rd->next++;
				return 1;
			}
		}
		/* Overwritten by a later one, or still being written. */
		head = atomic_load_explicit(&a->head, memory_order_acquire);
		if (head - rd->next < TRACE_RING / 2)
			return 0;
		rd->lost++;
		rd->next++;
	}
	return 0;
}

u64 trace_ns(const struct trace_area *a, u64 tsc)
{
	s64 d = (s64)(tsc - a->tsc);
	u64 khz = a->tsc_khz ? a->tsc_khz : 1000000;

	if (d >= 0)
		return a->ns + (u64)((u128)(u64)d * 1000000 / khz);
	return a->ns - (u64)((u128)(u64)-d * 1000000 / khz);
}
