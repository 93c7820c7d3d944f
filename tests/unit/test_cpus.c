/* SPDX-License-Identifier: MIT */
/* How many CPUs the process may keep busy. */
/* Run: build/tests/unit/test_cpus [NAME...] */
#include "tests/unit/unit.h"

#include <sched.h>
#include <unistd.h>

#include "base/cpus.h"

T(quotas_are_whole_cpus)
{
	assert_int_equal(cpus_of_quota("max 100000\n"), ~0u);
	assert_int_equal(cpus_of_quota(""), ~0u);
	assert_int_equal(cpus_of_quota("200000 100000\n"), 2);
	assert_int_equal(cpus_of_quota("399999 100000\n"), 3);
	assert_int_equal(cpus_of_quota("5000 100000\n"), 1);
	assert_int_equal(cpus_of_quota("5000\n"), ~0u);
	assert_int_equal(cpus_of_quota("5000 0\n"), ~0u);
}

T(affinity_is_the_upper_bound)
{
	cpu_set_t all, one;
	int cpu = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	assert_in_range(cpus_usable(), 1, CPU_COUNT(&all));
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(cpus_usable(), 1);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

T(running_tasks_are_the_fourth_word)
{
	int fd = cpus_open_load();

	assert_int_equal(cpus_running_in("0.61 0.91 1.02 3/123 4567\n"), 3);
	assert_int_equal(cpus_running_in("0.61 0.91 1.02 117/4123 4567\n"), 117);
	assert_int_equal(cpus_running_in("0.00 0.00 0.00 0/0 0\n"), 0);
	assert_int_equal(cpus_running_in("/"), 0);
	assert_int_equal(cpus_running_in(""), 0);
	assert_int_equal(cpus_running(-1), 0);
	assert_in_range(fd, 0, 1000);
	assert_in_range(cpus_running(fd), 1, 1000000);
	close(fd);
	assert_in_range(cpus_online(), 1, 1000000);
}
