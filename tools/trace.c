/* SPDX-License-Identifier: MIT */
/*
 * tools/trace.c - standin trace: record a program, or a process that is running already.
 * BASE.txt is in the layout of ftrace's trace file, BASE.json opens in Perfetto; --html writes a
 * page.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/standin.h"
#include "tools/trace_exits.h"
#include "tools/trace_html.h"
#include "tools/trace_spans.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = sig;
}

struct session {
	struct trace_reader rd;
	struct spans *spans;
	struct exits *exits;
	struct html *html;	/* NULL: not wanted */
	FILE *text;
	u64 records, last_ns;
};

static void drain(struct session *s)
{
	struct trace_record r;

	while (trace_read(&s->rd, &r)) {
		u64 ns = trace_ns(s->rd.area, r.tsc);

		trace_text_line(s->text, s->rd.area, &r);
		spans_record(s->spans, &r);
		exits_record(s->exits, &r, ns);
		if (s->html)
			html_record(s->html, &r, ns);
		s->records++;
		if (ns > s->last_ns)
			s->last_ns = ns;
	}
}

static FILE *create(const char *base, const char *suffix)
{
	char path[4096];
	FILE *f;

	if (snprintf(path, sizeof(path), "%s%s", base, suffix) >= (int)sizeof(path)) {
		fprintf(stderr, "standin: trace: the name is too long\n");
		return NULL;
	}
	f = fopen(path, "we");
	if (!f)
		fprintf(stderr, "standin: %s: %s\n", path, strerror(errno));
	return f;
}

static void watch(struct trace_area *a, u64 events)
{
	atomic_store(&a->recorded, events);
	atomic_store(&a->watched, events | atomic_load(&a->counted));
}

static void pause_ms(long ms)
{
	struct timespec t = { 0, ms * 1000000 };

	nanosleep(&t, NULL);
}

/* The program as a child. -1 + message. */
static pid_t start(char **argv, const char *area)
{
	pid_t pid;

	if (setenv("STANDIN_TRACE", area, 1))
		return -1;
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		fprintf(stderr, "standin: fork: %s\n", strerror(errno));
	if (!pid)
		_exit(start_program(argv));
	return pid;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Until the child ends, the process is gone, or time is up. The child's wait status. */
static int follow(struct session *s, pid_t child, int pid, double seconds)
{
	double until = seconds > 0 ? now() + seconds : 0;
	int status = 0;

	for (;;) {
		drain(s);
		if (child > 0 && waitpid(child, &status, WNOHANG) == child)
			return status;
		if (!child && (interrupted || (kill(pid, 0) && errno == ESRCH)))
			return 0;
		if (until && now() >= until) {
			if (child > 0) {
				kill(child, SIGTERM);
				waitpid(child, &status, 0);
			}
			return status;
		}
		pause_ms(5);
	}
}

/* Is all of a file on the disk? Otherwise the exit status has to tell. */
static void written(FILE *f, const char *base, const char *suffix, int *status)
{
	bool bad = f && ferror(f);

	errno = 0;
	if (!f || (!fclose(f) && !bad))
		return;
	fprintf(stderr, "standin: %s%s: %s\n", base, suffix,
		errno ? strerror(errno) : "write error");
	if (!*status)
		*status = 1 << 8;
}

static const struct cli_option trace_options[] = {
	{ 'o', "output", "BASE", "names of the files: BASE.txt, BASE.json (standin-trace)" },
	{ 'e', "events", "LIST", "wildcards with commas; else all but kvm_entry and kvm_exit" },
	{ 't', "time", "SECONDS", "then stop" },
	{ 'H', "html", "FILE", "also one page with timeline, exits and faults, for any "
			       "browser, offline" },
	{ 'p', "pid", "PID", "a process that is running on standin already" },
	{ 0 },
};

static int trace_fn(const struct verb *v, int argc, char **argv)
{
	const char *base = "standin-trace", *events = NULL, *page = NULL;
	struct session s = { 0 };
	struct sigaction sa = { .sa_handler = on_signal };
	char path[256] = "";
	FILE *json = NULL, *html = NULL;
	double seconds = 0;
	int id, status = 0;
	u64 mask, pid = 0;
	pid_t child = 0;
	struct cli c;

	cli_begin(&c, v, argc, argv);
	while ((id = cli_next(&c)) > 0) {
		if (id == 'o')
			base = c.arg;
		if (id == 'e')
			events = c.arg;
		if (id == 'H')
			page = c.arg;
		if (id == 'p' && !cli_number(v, "--pid", c.arg, 1, 0x7fffffff, &pid))
			return EXIT_USAGE;
		if (id == 't' && !cli_seconds(v, "--time", c.arg, 1e9, &seconds))
			return EXIT_USAGE;
	}
	if (id != CLI_END)
		return cli_status(id);
	if (!pid == (c.at >= argc))
		return cli_error(v,
				 pid ? "a program or --pid, not both" : "which program, or --pid?");
	mask = area_events(events);
	if (!mask)
		return cli_error(v, "--events=%s matches no event", events);
	s.rd.area = pid ? area_of_pid((int)pid) : area_make(path, sizeof(path));
	if (!s.rd.area)
		return 1;
	s.text = create(base, ".txt");
	json = create(base, ".json");
	s.spans = json ? spans_begin(json, s.rd.area) : NULL;
	s.exits = exits_begin();
	if (page) {
		html = create(page, "");
		s.html = html ? html_begin(s.rd.area) : NULL;
	}
	if (!s.text || !s.spans || !s.exits || (page && !s.html)) {
		status = 1 << 8;
		goto out;
	}
	trace_text_head(s.text);
	s.rd.next = atomic_load(&s.rd.area->head);
	watch(s.rd.area, mask);
	/* The program decides what a ^C means; we stay to write down how it ended. */
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (!pid) {
		child = start(argv + c.at, path);
		if (child < 0) {
			status = 1 << 8;
			goto out;
		}
	}
	status = follow(&s, child, (int)pid, seconds);
	watch(s.rd.area, 0);
	drain(&s);
	spans_end(s.spans, s.last_ns);
	fprintf(stderr, "standin: %llu events", (unsigned long long)s.records);
	if (s.rd.lost)
		fprintf(stderr, ", %llu lost (choose fewer with -e)",
			(unsigned long long)s.rd.lost);
	fprintf(stderr, "; %s.txt, and %s.json for https://ui.perfetto.dev\n", base, base);
	if (s.records) {
		exits_report(s.exits, stderr);
		spans_report(s.spans, stderr);
	}
	if (s.html)
		html_write(s.html, html, pid ? NULL : argv + c.at, s.rd.lost, s.exits, s.spans);
out:
	written(s.text, base, ".txt", &status);
	written(json, base, ".json", &status);
	written(html, page, "", &status);
	if (s.html)
		html_free(s.html);
	if (s.spans)
		spans_free(s.spans);
	if (s.exits)
		exits_free(s.exits);
	area_close(s.rd.area);
	if (*path)
		unlink(path);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

const struct verb verb_trace = {
	.name = "trace", .args = "[OPTION...] [--] PROGRAM [ARG...]",
	.what = "events under KVM's names: BASE.txt as ftrace prints them, BASE.json for Perfetto",
	.fn = trace_fn,
	.options = trace_options, .program = true,
	.more = "At the end a table of exits by reason and one of interrupts by vector are "
		"printed. Exit status: the program's; 0 with\n"
		"--pid; 1 a file could not be written or standin cannot start, 2 wrong usage.\n",
	.example = "  standin trace -e 'kvm_*eoi*,kvm_apic*' -- qemu-system-x86_64 -accel kvm "
		   "...\n",
};
