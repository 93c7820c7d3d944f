/* SPDX-License-Identifier: MIT */
/*
 * tools/stat.c - standin stat: the VMs of a running process, why APIC acceleration is off and
 * which vCPU is to blame, how often each event happens, and what the engine does.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/standin.h"
#include "tools/trace_area.h"

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	stop = sig;
}

static u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * NSEC_PER_SEC + (u64)t.tv_nsec;
}

static void show_inhibits(const struct trace_area *a, struct trace_vm *vm)
{
	u32 mask = atomic_load(&vm->inhibits);

	for (u32 i = 0; i < TRACE_REASONS; i++) {
		u32 times = atomic_load(&vm->why[i].times);
		s32 vcpu = atomic_load(&vm->why[i].vcpu);
		u64 tsc = atomic_load(&vm->why[i].tsc);

		if (!times && !(mask & BIT(i)))
			continue;
		printf("  %-9s %-20s set %u time%s", mask & BIT(i) ? "inhibited" : "was",
		       trace_inhibit_name(i), times, times == 1 ? "" : "s");
		if (vcpu >= 0)
			printf(", last by vCPU %d", vcpu);
		if (tsc)
			printf(", %.3f s ago", (double)(now_ns() - trace_ns(a, tsc)) / 1e9);
		putchar('\n');
	}
}

static void show_vm(const struct trace_area *a, struct trace_vm *vm)
{
	static const char *const chips[] = { "no irqchip", "full irqchip", "split irqchip" };
	static const char *const modes[] = { "quirked", "suppression enabled",
					     "suppression disabled" };
	u32 chip = atomic_load(&vm->irqchip), mode = atomic_load(&vm->eoi_mode);
	u32 max = atomic_load(&vm->avic_max_id);

	printf("VM %u of process %d: %u vCPU%s, %s, EOI broadcast %s, ", vm->serial, vm->pid,
	       atomic_load(&vm->nr_vcpus), atomic_load(&vm->nr_vcpus) == 1 ? "" : "s",
	       chip < ARRAY_SIZE(chips) ? chips[chip] : "?",
	       mode < ARRAY_SIZE(modes) ? modes[mode] : "?");
	if (max)
		printf("AVIC for ids up to %u %s\n", max,
		       atomic_load(&vm->inhibits) ? "inhibited" : "active");
	else
		printf("no AVIC\n");
	show_inhibits(a, vm);
}

static bool live(struct trace_vm *vm, int pid)
{
	return atomic_load(&vm->alive) == TRACE_VM_LIVE && vm->pid == pid;
}

/* A process that is looked at. */
struct target {
	int pid;
	struct trace_area *area;
	u64 before[TRACE_MAX_VMS][TRACE_EVENT_COUNT];
	u64 work[TRACE_MAX_VMS][WORK_COUNT];
	u64 since;	/* ns, when `before` was read */
};

/* How often event e happened in the VMs of t since the last round. */
static u64 counted(struct target *t, u32 e)
{
	struct trace_area *a = t->area;
	u64 n = 0;

	for (u32 i = 0; i < TRACE_MAX_VMS && i < atomic_load(&a->nr_vms); i++) {
		u64 c = atomic_load(&a->vms[i].count[e]);

		if (live(&a->vms[i], t->pid))
			n += c - t->before[i][e];
		t->before[i][e] = c;
	}
	return n;
}

static const struct {
	const char *name, *what;
} works[WORK_COUNT] = {
#define X(name, what) { #name, what },
	ENGINE_WORK(X)
#undef X
};

/* How much of work w the engines of t have done since the last round. */
static u64 worked(struct target *t, u32 w)
{
	struct trace_area *a = t->area;
	u64 n = 0;

	for (u32 i = 0; i < TRACE_MAX_VMS && i < atomic_load(&a->nr_vms); i++) {
		u64 c = atomic_load(&a->vms[i].work[w]);

		if (live(&a->vms[i], t->pid))
			n += c - t->work[i][w];
		t->work[i][w] = c;
	}
	return n;
}

static void show_text(struct target *t, double seconds)
{
	struct trace_area *a = t->area;
	u32 shown = 0;

	for (u32 i = 0; i < TRACE_MAX_VMS && i < atomic_load(&a->nr_vms); i++)
		if (live(&a->vms[i], t->pid)) {
			show_vm(a, &a->vms[i]);
			shown++;
		}
	if (!shown)
		printf("process %d has no VM now\n", t->pid);
	printf("%-34s %14s %14s\n", "event", "count", "per second");
	for (u32 e = 0; e < TRACE_EVENT_COUNT; e++) {
		u64 n = counted(t, e);

		if (n)
			printf("%-34s %14" PRIu64 " %14.0f\n", area_event_name(e), n,
			       (double)n / seconds);
	}
	printf("%-34s %14s %14s\n", "engine", "count", "per second");
	for (u32 w = 0; w < WORK_COUNT; w++) {
		u64 n = worked(t, w);

		if (n)
			printf("%-34s %14" PRIu64 " %14.0f\n", works[w].what, n,
			       (double)n / seconds);
	}
}

static void json_vm(const struct trace_area *a, struct trace_vm *vm)
{
	static const char *const chips[] = { "none", "full", "split" };
	static const char *const modes[] = { "quirked", "enabled", "disabled" };
	u32 chip = atomic_load(&vm->irqchip), mode = atomic_load(&vm->eoi_mode);
	u32 mask = atomic_load(&vm->inhibits);
	bool more = false;

	printf("{\"vm\": %u, \"vcpus\": %u, \"irqchip\": \"%s\", \"suppress_eoi_broadcast\": "
	       "\"%s\", "
	       "\"avic_max_id\": %u, \"inhibits\": [",
	       vm->serial, atomic_load(&vm->nr_vcpus), chip < ARRAY_SIZE(chips) ? chips[chip] : "?",
	       mode < ARRAY_SIZE(modes) ? modes[mode] : "?", atomic_load(&vm->avic_max_id));
	for (u32 i = 0; i < TRACE_REASONS; i++) {
		u32 times = atomic_load(&vm->why[i].times);
		u64 tsc = atomic_load(&vm->why[i].tsc);

		if (!times && !(mask & BIT(i)))
			continue;
		printf("%s{\"reason\": \"%s\", \"now\": %s, \"times\": %u, \"vcpu\": "
		       "%d, \"seconds_ago\": ",
		       more ? ", " : "", trace_inhibit_name(i), mask & BIT(i) ? "true" : "false",
		       times, atomic_load(&vm->why[i].vcpu));
		if (tsc)
			printf("%.3f}", (double)(now_ns() - trace_ns(a, tsc)) / 1e9);
		else
			printf("null}");
		more = true;
	}
	printf("]}");
}

/* One object a line: rounds can be read as they come. */
static void show_json(struct target *t, double seconds)
{
	struct trace_area *a = t->area;
	bool more = false;

	printf("{\"pid\": %d, \"seconds\": %.3f, \"vms\": [", t->pid, seconds);
	for (u32 i = 0; i < TRACE_MAX_VMS && i < atomic_load(&a->nr_vms); i++)
		if (live(&a->vms[i], t->pid)) {
			printf("%s", more ? ", " : "");
			json_vm(a, &a->vms[i]);
			more = true;
		}
	printf("], \"events\": {");
	more = false;
	for (u32 e = 0; e < TRACE_EVENT_COUNT; e++) {
		u64 n = counted(t, e);

		if (n)
			printf("%s\"%s\": %" PRIu64, more ? ", " : "", area_event_name(e), n);
		more |= n != 0;
	}
	printf("}, \"engine\": {");
	more = false;
	for (u32 w = 0; w < WORK_COUNT; w++) {
		u64 n = worked(t, w);

		if (n)
			printf("%s\"%s\": %" PRIu64, more ? ", " : "", works[w].name, n);
		more |= n != 0;
	}
	printf("}}\n");
}

static void start(struct target *t)
{
	for (u32 e = 0; e < TRACE_EVENT_COUNT; e++)
		counted(t, e);
	for (u32 w = 0; w < WORK_COUNT; w++)
		worked(t, w);
	atomic_fetch_add(&t->area->look, 1);
	t->since = now_ns();
	atomic_store(&t->area->counted, ~0ull);
	atomic_store(&t->area->watched, ~0ull);
}

static void finish(struct target *t)
{
	atomic_store(&t->area->counted, 0);
	atomic_store(&t->area->watched, atomic_load(&t->area->recorded));
	area_close(t->area);
	t->area = NULL;
}

/* One look at a process. False: it has ended. */
static bool look(struct target *t, bool json)
{
	u64 now = now_ns();
	double seconds = (double)(now - t->since) / 1e9;

	if (kill(t->pid, 0) && errno == ESRCH) {
		fprintf(stderr, "standin: process %d has ended\n", t->pid);
		finish(t);
		return false;
	}
	t->since = now;
	if (json)
		show_json(t, seconds);
	else
		show_text(t, seconds);
	return true;
}

/* Rounds over all that live. 1: one has ended, or nobody reads. */
static int follow(struct target *targets, int nr, double interval, u64 rounds, bool json)
{
	struct timespec pause = { (time_t)interval,
				  (long)((interval - (double)(time_t)interval) * 1e9) };
	int left = nr, status = 0;

	for (u64 n = 0; left && (!rounds || n < rounds) && !stop; n++) {
		nanosleep(&pause, NULL);
		for (int i = 0; i < nr; i++)
			if (targets[i].area && !look(&targets[i], json)) {
				left--;
				status = 1;
			}
		if (fflush(stdout))
			return 1;
	}
	return status;
}

enum { STAT_JSON = CLI_LONG(0) };
static const struct cli_option stat_options[] = {
	{ 'i', "interval", "SECONDS", "length of a round (1)" },
	{ 'n', "rounds", "COUNT", "how many (1); 0: until it is interrupted" },
	{ STAT_JSON, "json", NULL, "for programs: one object a line, for each process in each "
				   "round" },
	{ 0 },
};

static int stat_fn(const struct verb *v, int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct target *targets;
	double interval = 1;
	bool json = false;
	int id, nr, status = 1;
	u64 rounds = 1, pid;
	struct cli c;

	cli_begin(&c, v, argc, argv);
	while ((id = cli_next(&c)) > 0) {
		if (id == 'i' && !cli_seconds(v, "--interval", c.arg, 86400, &interval))
			return EXIT_USAGE;
		if (id == 'n' && !cli_number(v, "--rounds", c.arg, 0, 1ull << 62, &rounds))
			return EXIT_USAGE;
		json |= id == STAT_JSON;
	}
	if (id != CLI_END)
		return cli_status(id);
	nr = argc - c.at;
	if (!nr)
		return cli_error(v, "which process?");
	targets = calloc((size_t)nr, sizeof(*targets));
	if (!targets) {
		fprintf(stderr, "standin: stat: %s\n", strerror(errno));
		return 1;
	}
	for (int i = 0; i < nr; i++) {
		if (!cli_number(v, "PID", argv[c.at + i], 1, 0x7fffffff, &pid)) {
			status = EXIT_USAGE;
			goto out;
		}
		targets[i].pid = (int)pid;
		targets[i].area = area_of_pid((int)pid);
		if (!targets[i].area)
			goto out;
	}
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	for (int i = 0; i < nr; i++)
		start(&targets[i]);
	status = follow(targets, nr, interval, rounds, json);
out:
	for (int i = 0; i < nr; i++)
		if (targets[i].area)
			finish(&targets[i]);
	free(targets);
	return status;
}

const struct verb verb_stat = {
	.name = "stat", .args = "[OPTION...] PID...",
	.what = "VMs of processes, why APIC acceleration is off, events and the engine's work per "
		"second",
	.fn = stat_fn,
	.options = stat_options,
	.more = "Exit status: 0, 1 a process is not on standin or has ended, 2 wrong usage.\n",
	.example = "  standin stat --interval=5 --rounds=0 $(pidof qemu-system-x86_64)\n",
};
