/* SPDX-License-Identifier: MIT */
/* base/cpus.c - how many CPUs this process may keep busy, and how many tasks want one. */
#include "base/cpus.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"

#define CGROUP "/sys/fs/cgroup"

/* Not stdio: a VMM may sandbox itself, and this is asked for each VM. */
static bool read_text(const char *path, char *buf, size_t size)
{
	int fd = sys_open(path, O_RDONLY | O_CLOEXEC);
	long n;

	if (fd < 0)
		return false;
	n = sys_read(fd, buf, size - 1);
	sys_close(fd);
	buf[n > 0 ? n : 0] = 0;
	return n > 0;
}

u32 cpus_of_quota(const char *text)
{
	unsigned long long quota, period = 0;
	char *end;

	quota = strtoull(text, &end, 10);
	if (end == text)	/* "max" */
		return ~0u;
	period = strtoull(end, NULL, 10);
	if (!period)
		return ~0u;
	quota /= period;
	return quota < 1 ? 1 : quota > ~0u ? ~0u : (u32)quota;
}

/* The group's own limit and its parents'. Version 2 only. */
static u32 quota(void)
{
	char groups[2048], path[sizeof(CGROUP) + 1024 + 16], text[64], *p, *slash;
	u32 least = ~0u;

	if (!read_text("/proc/self/cgroup", groups, sizeof(groups)))
		return ~0u;
	p = strncmp(groups, "0::", 3) ? strstr(groups, "\n0::") : groups;
	if (!p)
		return ~0u;
	p = strstr(p, "::") + 2;
	p[strcspn(p, "\n")] = 0;
	if (strlen(p) > 1024)
		return ~0u;
	for (;;) {
		snprintf(path, sizeof(path), CGROUP "%s/cpu.max", p);
		if (read_text(path, text, sizeof(text))) {
			u32 n = cpus_of_quota(text);

			least = n < least ? n : least;
		}
		slash = strrchr(p, '/');
		if (!slash || (slash == p && !p[1]))
			return least;
		slash[slash == p] = 0;
	}
}

u32 cpus_usable(void)
{
	u8 set[1024] __attribute__((aligned(sizeof(long)))) = { 0 };	/* 8192 CPUs */
	u32 n = 1, limit = quota();

	if (!sched_getaffinity(0, sizeof(set), (cpu_set_t *)set))
		n = (u32)CPU_COUNT_S(sizeof(set), (cpu_set_t *)set);
	n = n ? n : 1;
	return n < limit ? n : limit;
}

u32 cpus_online(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? (u32)n : 1;
}

int cpus_open_load(void)
{
	return sys_open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
}

/* "0.20 0.18 0.12 1/80 11206": the fourth word. */
u32 cpus_running_in(const char *loadavg)
{
	const char *p = strchr(loadavg, '/');

	if (!p)
		return 0;
	while (p > loadavg && p[-1] >= '0' && p[-1] <= '9')
		p--;
	return (u32)strtoul(p, NULL, 10);
}

u32 cpus_running(int fd)
{
	char text[64];
	long n;

	if (fd < 0)
		return 0;
	n = sys_pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = 0;
	return cpus_running_in(text);
}

bool cpus_smt_possible(void)
{
	char text[32];

	if (!read_text("/sys/devices/system/cpu/smt/control", text, sizeof(text)))
		return true;
	return strncmp(text, "forceoff", 8) && strncmp(text, "notsupported", 12);
}
