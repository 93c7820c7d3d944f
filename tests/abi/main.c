/* SPDX-License-Identifier: MIT */
/*
 * tests/abi/main.c - runs the rules: TAP, or a report for a kernel that is not standin.
 *
 *   abi_rules [--report] [--list] [--ioctls] [NAME...]
 *
 * The node is $KVM_NODE, else $STANDIN_NODE; /dev/kvm by itself only under the preload object.
 * With --report a difference does not fail: each is named, with what the rule says about it.
 */
/* Run: build/standin run -- build/tests/abi/abi_rules [NAME...] */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "tests/abi/coverage.h"

enum { SECONDS = 20, SKIP_CODE = 77, BROKEN_CODE = 78 };

static bool report;
static const struct t *current;

/* Written by the children of this process. */
static struct shared {
	u32 checks, differences, explained;
	char note[200];
} * shared;

static const char *errname(long v, char buf[40], bool number)
{
	static const struct {
		int e;
		const char *name;
	} names[] = {
#define E(x) { x, #x }
		E(EINVAL), E(ENOTTY), E(EFAULT),     E(EEXIST), E(ENOENT),    E(EBUSY),	 E(E2BIG),
		E(ENXIO),  E(EIO),    E(EPERM),	     E(EINTR),	E(EAGAIN),    E(ENODEV), E(ENOMEM),
		E(EBADF),  E(ENOSYS), E(EOPNOTSUPP), E(ENOSPC), E(EHWPOISON), E(EACCES),
#undef E
	};

	if (!number && v < 0 && v > -4096)
		for (u32 i = 0; i < ARRAY_SIZE(names); i++)
			if (names[i].e == -v) {
				snprintf(buf, 40, "-%s", names[i].name);
				return buf;
			}
	snprintf(buf, 40, v > 0xffff || v < -0xffff ? "%#lx" : "%ld", v);
	return buf;
}

long done(long r)
{
	return r == -1 ? -errno : r;
}

void check(const char *file, int line, const char *what, long want, long got, bool number,
	   bool has_alt, long alt, const char *why)
{
	bool explained = has_alt && got == alt;
	char a[40], b[40];

	shared->checks++;
	if (got == want)
		return;
	if (explained && report)
		shared->explained++;
	else
		shared->differences++;
	if (report)
		printf("%s: %s\n    expected %s, this kernel: %s\n    rule %s\n    %s%s\n",
		       current->name, what, errname(want, a, number), errname(got, b, number),
		       current->rule,
		       explained ? "the rule knows both answers: " : "the rule supports standin",
		       explained ? why : "");
	else
		printf("# %s:%d: %s: expected %s, got %s\n", strrchr(file, '/') + 1, line, what,
		       errname(want, a, number), errname(got, b, number));
}

void skip_rule(const char *why)
{
	snprintf(shared->note, sizeof(shared->note), "%s", why);
	fflush(stdout);
	_exit(SKIP_CODE);
}

void broken(const char *file, int line, const char *what)
{
	printf("# %s:%d: %s: %s\n", strrchr(file, '/') + 1, line, what, strerror(errno));
	fflush(stdout);
	_exit(BROKEN_CODE);
}

static void child(struct t *r)
{
	signal(SIGALRM, SIG_DFL);
	alarm(SECONDS);
	r->fn(NULL);
	fflush(stdout);
	_exit(0);
}

/* True: the rule holds. */
static bool one(struct t *r, u32 n)
{
	u32 before = shared->differences;
	int status = 0;
	pid_t p;

	shared->note[0] = 0;
	current = r;
	fflush(stdout);
	p = fork();
	if (!p)
		child(r);
	if (p < 0 || waitpid(p, &status, 0) != p)
		return false;
	if (WIFSIGNALED(status))
		printf("# killed by signal %d\n", WTERMSIG(status));
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIP_CODE) {
		if (!report)
			printf("ok %u - %s # SKIP %s\n", n, r->name, shared->note);
		return true;
	}
	if (status)
		shared->differences++;
	if (!report)
		printf("%s %u - %s (%s)\n", shared->differences == before ? "ok" : "not ok", n,
		       r->name, r->rule);
	if (!report && shared->differences != before)
		t_again(r);
	return shared->differences == before;
}

int main(int argc, char **argv)
{
	u32 n = 0, total = 0, failed = 0;
	struct utsname u;
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--report") || !strcmp(argv[i], "--compare")) {
			report = true;
		} else if (!strcmp(argv[i], "--list")) {
			t_list();
			return 0;
		} else if (!strcmp(argv[i], "--ioctls")) {
			for (u32 j = 0; j < coverage_rows; j++)
				printf("%-7s %-28s %-22s %-22s %s\n", coverage[j].fd,
				       coverage[j].name, coverage[j].success->name,
				       coverage[j].refusal->name, coverage[j].round_trip->name);
			return 0;
		} else {
			fprintf(stderr,
				"usage: abi_rules [--report] [--list] [--ioctls] [NAME...]\n");
			return 2;
		}
	}
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 2;
	if (report && !uname(&u))
		printf("KVM ABI of %s %s against the rules\n\n", u.sysname, u.release);
	for (; i < argc; i++)
		t_choose(argv[i]);
	for (struct t *r = t_tests; r; r = r->next)
		total += t_chosen(r);
	if (!report)
		printf("1..%u\n", total);
	for (struct t *r = t_tests; r; r = r->next)
		if (t_chosen(r))
			failed += !one(r, ++n);
	if (report) {
		printf("\n%u rules, %u expectations: %u differences, %u more that the rules "
		       "explain\n",
		       total, shared->checks, shared->differences, shared->explained);
		return 0;
	}
	return failed != 0;
}
