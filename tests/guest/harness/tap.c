/* SPDX-License-Identifier: MIT */
/* tests/guest/harness/tap.c - runs the T()s of a program, each in a child, and prints TAP. */
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"
#include "tests/guest/harness/who.h"

enum { EXIT_FAILED = 1, EXIT_SKIPPED = 77, MAX_COMPLAINTS = 20 };

static int failures;
static int time_limit = 20;

/* End of a child. scripts/coverage wants what the program and KVM have counted: GUEST_EXIT. */
__attribute__((noreturn)) static void leave(int code)
{
	fflush(stdout);
	if (getenv("GUEST_EXIT"))
		exit(code);
	_exit(code);
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
	const char *base = strrchr(file, '/');
	va_list ap;

	if (failures++ > MAX_COMPLAINTS)
		return;
	printf("# %s:%d: ", base ? base + 1 : file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
}

void test_die(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	leave(EXIT_FAILED);
}

void test_skip(const char *fmt, ...)
{
	va_list ap;

	printf("# skipped: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	leave(failures ? EXIT_FAILED : EXIT_SKIPPED);
}

bool check_eq(const char *file, int line, const char *what, u64 got, u64 want)
{
	if (got == want)
		return true;
	test_fail(file, line, "%s is %#llx, expected %#llx", what, (unsigned long long)got,
		  (unsigned long long)want);
	return false;
}

bool check_stop(const char *file, int line, const struct stop *s, enum stop_kind k, int vec,
		s64 err)
{
	struct stop want = { .kind = k, .vec = (u8)vec, .err = (u32)err };
	char expected[160];

	if (s->kind == k && (vec < 0 || s->vec == vec) && (err < 0 || s->err == (u32)err))
		return true;
	snprintf(expected, sizeof(expected), "%s", stop_text(&want));
	test_fail(file, line, "stopped by %s; expected %s%s", stop_text(s), expected,
		  vec >= 0 && err < 0 ? " (any error code)" : "");
	return false;
}

/* The child's end, or a kill when it takes too long. Returns its wait status. */
static int wait_limited(pid_t pid)
{
	struct timespec nap = { 0, 5 * 1000 * 1000 };
	time_t end = time(NULL) + time_limit;
	int status;

	for (;;) {
		pid_t r = waitpid(pid, &status, WNOHANG);

		if (r == pid)
			return status;
		if (r < 0)
			return -1;
		if (time(NULL) > end) {
			printf("# no end after %d s\n", time_limit);
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return status;
		}
		nanosleep(&nap, NULL);
	}
}

static int run_one(struct t *t, bool in_child)
{
	pid_t pid;
	int status;

	fflush(stdout);
	if (!in_child) {
		failures = 0;
		t->fn(NULL);
		return failures ? EXIT_FAILED : 0;
	}
	pid = fork();
	if (pid < 0)
		return EXIT_FAILED;
	if (!pid) {
		t->fn(NULL);
		fflush(stdout);
		leave(failures ? EXIT_FAILED : 0);
	}
	status = wait_limited(pid);
	if (status >= 0 && WIFEXITED(status))
		return WEXITSTATUS(status);
	if (status >= 0 && WIFSIGNALED(status))
		printf("# ended by signal %d\n", WTERMSIG(status));
	return EXIT_FAILED;
}

void need_stack_switch32(void)
{
	if (getenv("GUEST_ON_TCG"))
		test_skip("TCG aborts at a 32-bit stack switch");
}

int main(int argc, char **argv)
{
	bool in_child = true;
	int n = 0, failed = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--no-fork")) {
			in_child = false;
		} else if (!strcmp(argv[i], "--list")) {
			t_list();
			return 0;
		} else if (!strcmp(argv[i], "--who")) {
			return who_answers(stdout);
		} else if (!strcmp(argv[i], "--time-limit") && i + 1 < argc) {
			time_limit = atoi(argv[++i]);
		} else if (argv[i][0] != '-') {
			t_choose(argv[i]);
		} else {
			fprintf(stderr,
				"usage: %s [--who] [--list] [--no-fork] [--time-limit S]"
				" [NAME...]\n",
				argv[0]);
			return 2;
		}
	}
	for (struct t *t = t_tests; t; t = t->next)
		n += t_chosen(t);
	printf("TAP version 13\n1..%d\n", n);
	n = 0;
	for (struct t *t = t_tests; t; t = t->next) {
		int r;

		if (!t_chosen(t))
			continue;
		r = run_one(t, in_child);
		n++;
		if (r == EXIT_SKIPPED) {
			printf("ok %d - %s # SKIP\n", n, t->rule);
		} else {
			printf("%s %d - %s\n", r ? "not ok" : "ok", n, t->rule);
			failed += r != 0;
		}
		if (r && r != EXIT_SKIPPED)
			t_again(t);
	}
	return failed ? 1 : 0;
}
