/* SPDX-License-Identifier: MIT */
/*
 * tools/stat.c - standin stat: the VMs of a running process, why APIC acceleration is off and
 * which vCPU is to blame, and how often each event happens.
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
	return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
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

static void show_counts(struct trace_area *a, int pid, u64 (*before)[TRACE_EVENT_COUNT],
			double seconds)
{
	printf("%-34s %14s %14s\n", "event", "count", "per second");
	for (u32 e = 0; e < TRACE_EVENT_COUNT; e++) {
		u64 n = 0;

		for (u32 i = 0; i < TRACE_MAX_VMS && i < atomic_load(&a->nr_vms); i++) {
			u64 c = atomic_load(&a->vms[i].count[e]);

			if (live(&a->vms[i], pid))
				n += c - before[i][e];
			before[i][e] = c;
		}
		if (n)
			printf("%-34s %14" PRIu64 " %14.0f\n", area_event_name(e), n,
			       (double)n / seconds);
	}
}

int verb_stat(int argc, char **argv)
{
	static u64 before[TRACE_MAX_VMS][TRACE_EVENT_COUNT];
	struct sigaction sa = { .sa_handler = on_signal };
	double interval = 1;
	long rounds = 1;
	int pid = 0, status = 0;
	struct trace_area *a;

	for (int at = 1; at < argc; at++) {
		if (!strcmp(argv[at], "-i") && at + 1 < argc)
			interval = atof(argv[++at]);
		else if (!strcmp(argv[at], "-n") && at + 1 < argc)
			rounds = atol(argv[++at]);
		else if (argv[at][0] != '-' && !pid)
			pid = atoi(argv[at]);
		else
			return usage("stat: unknown option");
	}
	if (pid <= 0 || interval <= 0 || interval > 86400)
		return usage("stat: which process?");
	a = area_of_pid(pid);
	if (!a)
		return 1;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	for (u32 i = 0; i < TRACE_MAX_VMS; i++)
		for (u32 e = 0; e < TRACE_EVENT_COUNT; e++)
			before[i][e] = atomic_load(&a->vms[i].count[e]);
	atomic_store(&a->counted, ~0ull);
	atomic_store(&a->watched, ~0ull);
	for (long n = 0; (rounds <= 0 || n < rounds) && !stop; n++) {
		struct timespec t = { (time_t)interval,
				      (long)((interval - (double)(time_t)interval) * 1e9) };
		u64 since = now_ns();
		u32 shown = 0;

		nanosleep(&t, NULL);
		if (kill(pid, 0) && errno == ESRCH) {
			fprintf(stderr, "standin: process %d has ended\n", pid);
			status = 1;
			break;
		}
		for (u32 i = 0; i < TRACE_MAX_VMS && i < atomic_load(&a->nr_vms); i++)
			if (live(&a->vms[i], pid)) {
				show_vm(a, &a->vms[i]);
				shown++;
			}
		if (!shown)
			printf("process %d has no VM now\n", pid);
		show_counts(a, pid, before, (double)(now_ns() - since) / 1e9);
		fflush(stdout);
	}
	atomic_store(&a->counted, 0);
	atomic_store(&a->watched, atomic_load(&a->recorded));
	area_close(a);
	return status;
}
