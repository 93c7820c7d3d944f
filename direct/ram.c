/* SPDX-License-Identifier: MIT */
/*
 * direct/ram.c - guest memory becomes shared memory, so that stubs can map it: a memfd with the
 * same contents takes the place of private anonymous memory, at the same address.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memfd.h"
#include "base/sys.h"
#include "direct/direct_priv.h"

struct ram direct_ram[RAM_MAX];
_Atomic u32 direct_ram_n;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define MAPS_MAX (4u << 20)	/* bytes of /proc/self/maps */

/* Is all of it private anonymous memory that can be read and written? In the text of maps. */
static bool all_private(const char *line, u64 lo, u64 hi)
{
	for (; line && *line; line = strchr(line, '\n'), line += !!line) {
		unsigned long a, b, ino;
		char prot[8];

		if (sscanf(line, "%lx-%lx %7s %*s %*s %lu", &a, &b, prot, &ino) != 4 || b <= lo)
			continue;
		if (a > lo || ino || strcmp(prot, "rw-p"))
			return false;
		lo = b;
		if (lo >= hi)
			return true;
	}
	return false;
}

static bool is_private(u64 lo, u64 hi)
{
	int fd = sys_open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	char *text = malloc(MAPS_MAX + 1);
	u64 n = 0;
	long r = -1;

	while (text && fd >= 0 && n < MAPS_MAX && (r = sys_read(fd, text + n, MAPS_MAX - n)) > 0)
		n += (u64)r;
	if (text)
		text[n] = 0;
	if (fd >= 0)
		sys_close(fd);
	bool ok = !r && all_private(text, lo, hi);

	free(text);
	return ok;
}

/* Pages that are there, or swapped out. */
static bool copy(int fd, const u8 *hva, u64 size)
{
	u64 map[512];
	int pm = sys_open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	bool ok = pm >= 0;

	for (u64 at = 0; ok && at < size; at += sizeof(map) / 8 * PAGE_SIZE) {
		u64 n = (size - at) / PAGE_SIZE;

		if (n > ARRAY_SIZE(map))
			n = ARRAY_SIZE(map);
		ok = sys_pread(pm, map, n * 8, ((u64)hva + at) / PAGE_SIZE * 8) == (long)(n * 8);
		for (u64 i = 0; ok && i < n; i++)
			if (map[i] >> 62)
				ok = RAW(SYS_pwrite64, fd, hva + at + i * PAGE_SIZE, PAGE_SIZE,
					 at + i * PAGE_SIZE) == (long)PAGE_SIZE;
	}
	if (pm >= 0)
		sys_close(pm);
	return ok;
}

static void share(const void *owner, u8 *hva, u64 size)
{
	u32 n = atomic_load(&direct_ram_n);
	int fd;

	if (n == RAM_MAX || place_of(hva) != PLACE_NONE || !is_private((u64)hva, (u64)hva + size))
		return;
	fd = memfd_create("standin-ram", MFD_CLOEXEC);
	if (fd < 0)
		return;
	if (memfd_size(fd, size) || !copy(fd, hva, size) ||
	    sys_mmap(hva, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd,
		     0) != hva) {
		sys_close(fd);
		return;
	}
	direct_ram[n] = (struct ram){ .hva = hva, .size = size, .fd = fd, .owner = owner };
	atomic_store(&direct_ram_n, n + 1);
	log_info("direct: %lu MiB at %p are shared", (unsigned long)(size >> 20), (void *)hva);
}

void direct_share(const void *owner, u8 *hva, u64 size)
{
	if (!direct_wanted() || size < 1u << 20)
		return;
	pthread_mutex_lock(&lock);
	share(owner, hva, size);
	pthread_mutex_unlock(&lock);
}

void direct_unshare(const void *owner)
{
	if (!direct_wanted())
		return;
	pthread_mutex_lock(&lock);
	for (u32 i = 0; i < atomic_load(&direct_ram_n); i++)
		if (direct_ram[i].size && direct_ram[i].owner == owner) {
			atomic_store(&direct_ram[i].size, 0);
			sys_close(direct_ram[i].fd);
			direct_ram[i].fd = -1;
		}
	pthread_mutex_unlock(&lock);
}
