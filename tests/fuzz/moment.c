/* SPDX-License-Identifier: MIT */
/* tests/fuzz/moment.c - see moment.h. */
#include "tests/fuzz/moment.h"

#include <signal.h>
#include <sys/time.h>

#include "tests/fuzz/driver.h"

static struct guest_cpu *running;

static void on_alarm(int sig)
{
	if (running)
		running->run->immediate_exit = 1;
}

static void arm(u32 ms)
{
	struct itimerval t = {
		.it_value.tv_usec = (suseconds_t)ms * 1000, .it_interval.tv_usec = 5000,
	};

	setitimer(ITIMER_REAL, &t, NULL);
}

void moment_begin(struct guest_cpu *c)
{
	struct sigaction sa = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &sa, NULL);
	c->run->immediate_exit = 0;
	running = c;
	arm(30);
}

struct stop moment_run(struct guest_cpu *c, bool loud)
{
	struct stop s = cpu_run(c);

	atomic_fetch_add_explicit(&fuzz->count[s.kind], 1, memory_order_relaxed);
	if (loud)
		printf("# %s\n", stop_text(&s));
	return s;
}

void moment_end(struct guest_cpu *c)
{
	arm(0);
	running = NULL;
	c->run->immediate_exit = 0;
}

void moment_report(void)
{
	printf("#");
	for (u32 k = 0; k <= ST_OTHER; k++)
		printf(" %llu", (unsigned long long)fuzz->count[k]);
	printf(" stops by kind\n");
}
