/* SPDX-License-Identifier: MIT */
/*
 * tests/insn/main.c - insn_random: the same random instruction sequences on the host
 * CPU and in a guest; every register, flag, fault and byte of memory must agree.
 *
 * A case depends on its own seed only, so `--case SEED` repeats one found earlier.
 */
/* Run: build/standin run -- build/tests/insn/insn_random --ring 3 --count 100000 */
#include <cpuid.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/guest/harness/who.h"
#include "tests/insn/compare.h"
#include "tests/insn/gen.h"
#include "tests/insn/oracle.h"
#include "tests/insn/subject.h"
#include "tests/random.h"

#define DATA_SEED 0x5eed

/* Few cases share debug registers. */
enum { WATCH_BATCH = 32 };

struct session {
	struct oracle oracle;
	struct oracle twin;	/* --self: the host stands in for the guest */
	bool self;
	bool precise;
	struct watch w;		/* those of this batch */
	u32 again;
	u64 rng;
	struct subject subject;
	struct gen_options gen;
	struct gen_case cases[BATCH];
	u64 insns, faults, traps;
	u32 failed;
};

static void *part(u8 *arena, u64 at)
{
	return arena + arena_offset(at);
}

static struct insn_result *result_of(u8 *arena, u32 i)
{
	return (struct insn_result *)part(arena, A_RESULTS) + i;
}

/* Write n cases into both arenas. */
static void load_batch(struct session *s, u32 n)
{
	u8 *a = s->oracle.arena, *b = s->subject.arena;
	u64 exit_at = A_TRAMP + (u64)(tramp_exit - tramp_start);
	struct insn_state *in = part(a, A_CASES);
	u8 *code = part(a, A_CODE);

	for (u32 i = 0; i < n; i++) {
		gen_layout(&s->cases[i], code + i * SLOT,
			   A_CODE + i * (u64)SLOT - s->gen.world->cs_base, exit_at);
		in[i] = s->cases[i].in;
	}
	memcpy(part(b, A_CODE), code, n * SLOT);
	memcpy(part(b, A_CASES), in, n * sizeof(*in));
	for (u32 k = 0; k < 2; k++) {
		struct arena_ctrl *ctrl = part(k ? b : a, A_CTRL);

		ctrl->i = 0;
		ctrl->n = n;
		ctrl->ds = s->gen.world->ds;
		ctrl->es = s->gen.world->es;
		ctrl->fs = s->gen.world->fs;
		ctrl->gs = s->gen.world->gs;
		ctrl->ss = s->gen.world->ss;
		ctrl->traps = s->gen.step;
		ctrl->avx512 = s->gen.features >> GF_AVX512F & 1;
	}
}

/* Run the loaded batch on both sides; NULL or what went wrong as a whole. */
static const char *run_both(struct session *s)
{
	const char *why;

	if (oracle_begin(&s->oracle))
		return "the oracle is gone";
	if (s->self)
		why = oracle_begin(&s->twin) || oracle_wait(&s->twin) ? "the twin died" : NULL;
	else
		why = subject_run(&s->subject);
	if (oracle_wait(&s->oracle))
		return "the oracle died";
	return why;
}

/* What a random case of the batch has written, in the run before this one; 0: nothing. */
static u64 written_data(struct session *s, u32 n)
{
	u64 r = random_next(&s->rng);
	const u8 *data = result_of(s->oracle.arena, (u32)(r >> 8) % n)->data;
	u32 from = (u32)(r >> 40) % (DATA_BYTES / 8);

	for (u32 i = 0; i < DATA_BYTES / 8; i++) {
		u32 at = (from + i) % (DATA_BYTES / 8) * 8;

		if (memcmp(data + at, (u8 *)part(s->oracle.arena, A_INIT) + at, 8))
			return A_DATA + at + (r & 7);
	}
	return 0;
}

/* Where a random case of the batch is likely to read or write, or anywhere in the data. */
static u64 watched_data(struct session *s, u32 n)
{
	static const u8 pointers[] = { 4, 4, 6, 7, 0, 3, 5 };
	u64 written = written_data(s, n), r = random_next(&s->rng);
	const struct world *w = s->gen.world;
	u32 reg = pointers[(r >> 8) % ARRAY_SIZE(pointers)];
	u64 at =
		s->cases[(r >> 16) % n].in.gpr[reg] + (reg == 4 || reg == 5 ? w->ss_base : w->base);

	if (written && r & 3)
		return written;
	at += (r >> 32) % 32;
	at -= 16;
	return at >= A_DATA && at < A_DATA_END ? at : A_DATA + (r >> 40) % DATA_BYTES;
}

static const char *arm(struct session *s)
{
	int e = -oracle_watch(&s->oracle, &s->w);

	if (e)
		return strerror(e);
	subject_watch(&s->subject, &s->w);
	return NULL;
}

/* Watch data by DR0 (reads and writes of eight bytes) and DR1 (writes of one to eight), an
 * instruction each by DR2 and DR3. */
static const char *set_watch(struct session *s, u32 n)
{
	static const u8 lens[] = { 0, 1, 3, 2 };	/* of DR7: 1, 2, 4, 8 bytes */
	u64 r = random_next(&s->rng);
	u32 len = r & 3;
	struct watch w = { .dr7 = 0x55 | 0xbu << 16 | (u32)(1 | lens[len] << 2) << 20 };

	w.dr[0] = watched_data(s, n) & ~7ull;
	w.dr[1] = watched_data(s, n) & ~((1ull << len) - 1);
	for (u32 i = 2; i < 4; i++) {
		const struct gen_case *c = &s->cases[(r >> (8 * i)) % n];

		w.dr[i] = c->insn[(r >> (8 * i + 8)) % c->n].addr + s->gen.world->cs_base;
	}
	s->w = w;
	return arm(s);
}

/* A host may lose breakpoints of its own: perf, which has them, throttles what comes often. */
static bool lost_by_host(struct session *s, u32 n)
{
	for (u32 i = 0; i < n; i++)
		if (result_of(s->oracle.arena, i)->steps.n <
		    result_of(s->subject.arena, i)->steps.n)
			return true;
	return false;
}

/* One case alone: does it still differ? */
static bool differs(struct session *s, const struct gen_case *c)
{
	s->cases[0] = *c;
	load_batch(s, 1);
	if (s->cases[0].ill)
		return false;
	if (run_both(s))
		return true;
	return compare_results(&s->cases[0], result_of(s->oracle.arena, 0),
			       result_of(s->subject.arena, 0), s->gen.ring0, s->precise, NULL);
}

/* Leave out instructions as long as the difference stays; print what is left. */
static void report(struct session *s, const struct gen_case *found, const struct insn_result *want,
		   const struct insn_result *got)
{
	struct gen_case c = *found;
	const char *why;

	s->failed++;
	printf("# case %#llx, ring %d:\n", (unsigned long long)c.seed, s->gen.ring0 ? 0 : 3);
	if (s->gen.watch)
		printf("#   dr0 %llx dr1 %llx dr2 %llx dr3 %llx dr7 %x\n",
		       (unsigned long long)s->w.dr[0], (unsigned long long)s->w.dr[1],
		       (unsigned long long)s->w.dr[2], (unsigned long long)s->w.dr[3], s->w.dr7);
	if (differs(s, &c)) {
		for (u32 i = c.n; i-- > 0;) {
			if (c.insn[i].dead)
				continue;
			gen_set_dead(&c, i, true);
			if (!differs(s, &c))
				gen_set_dead(&c, i, false);
		}
	} else {
		/* As it was found; nothing can be left out. */
		printf("# differs only in its batch:\n");
		gen_print(found, stdout);
		if (want)
			compare_results(found, want, got, s->gen.ring0, s->precise, stdout);
		fflush(stdout);
		return;
	}
	s->cases[0] = c;
	load_batch(s, 1);
	gen_print(&s->cases[0], stdout);
	why = run_both(s);
	if (why)
		printf("#   %s\n", why);
	else
		compare_results(&s->cases[0], result_of(s->oracle.arena, 0),
				result_of(s->subject.arena, 0), s->gen.ring0, s->precise, stdout);
	fflush(stdout);
}

/* Compare all results of the batch; false when a case differs (and is reported). */
static bool check_batch(struct session *s, u32 n)
{
	static struct insn_result first[2];
	struct gen_case bad;

	for (u32 i = 0; i < n; i++) {
		struct insn_result *want = result_of(s->oracle.arena, i);

		s->faults += want->s.vec != ~0ull;
		s->traps += want->steps.n;
		if (!compare_results(&s->cases[i], want, result_of(s->subject.arena, i),
				     s->gen.ring0, s->precise, NULL))
			continue;
		bad = s->cases[i];
		first[0] = *want;
		first[1] = *result_of(s->subject.arena, i);
		report(s, &bad, &first[0], &first[1]);
		return false;
	}
	return true;
}

/* The batch did not come to its end: find the case. */
static void find_culprit(struct session *s, u32 n, const char *why)
{
	static struct gen_case copy[BATCH];
	struct arena_ctrl *ctrl = part(s->subject.arena, A_CTRL);
	u32 at = ctrl->i < n ? ctrl->i : 0;

	printf("# %s\n", why);
	memcpy(copy, s->cases, sizeof(copy));
	report(s, &copy[at], NULL, NULL);
}

static bool one_batch(struct session *s, u64 first_seed, u32 n)
{
	const char *why;

	for (u32 i = 0; i < n; i++) {
		gen_make(&s->cases[i], first_seed + i, &s->gen);
		s->insns += s->cases[i].n;
	}
	load_batch(s, n);
	/* Twice: the second time the guest's code has been translated. */
	for (u32 pass = 0; pass < 2; pass++) {
		((struct arena_ctrl *)part(s->oracle.arena, A_CTRL))->i = 0;
		/* The first run, with the breakpoints of the batch before, has shown what is
		 * written. */
		if (s->gen.watch && pass && (why = set_watch(s, n))) {
			printf("# the oracle cannot be watched: %s\n", why);
			s->failed++;
			return false;
		}
		why = run_both(s);
		for (u32 i = 0; s->gen.watch && !why && i < 3 && lost_by_host(s, n); i++) {
			s->again++;
			why = arm(s);
			((struct arena_ctrl *)part(s->oracle.arena, A_CTRL))->i = 0;
			why = why ? why : run_both(s);
		}
		if (why) {
			find_culprit(s, n, why);
			return false;
		}
		if (!check_batch(s, n))
			return false;
	}
	return true;
}

static void fill_constant_parts(struct session *s)
{
	u8 *a = s->oracle.arena, *b = s->subject.arena;
	u64 exit_low = A_TRAMP + (u64)(tramp_exit_low - tramp_start);

	memcpy(part(a, A_LOW), "\xff\x25\x00\x00\x00\x00", 6);	/* jmp [rip] */
	memcpy((u8 *)part(a, A_LOW) + 6, &exit_low, 8);
	memcpy(part(b, A_LOW), part(a, A_LOW), 14);

	gen_data(DATA_SEED, part(a, A_INIT), DATA_BYTES);
	gen_data(DATA_SEED + 1, part(a, A_RO), 4096);
	memcpy(part(b, A_INIT), part(a, A_INIT), DATA_BYTES);
	memcpy(part(b, A_RO), part(a, A_RO), 4096);
}

static u64 host_features(void)
{
	u64 f = 0;
	u32 r[4];

#define X(n, leaf, reg, bit)							\
	if (__get_cpuid_count(leaf, 0, &r[0], &r[1], &r[2], &r[3]) && r[reg] >> bit & 1)	\
		f |= BIT64(GF_##n);
	GEN_FEATURES(X)
#undef X
	return f;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void usage(const char *name)
{
	fprintf(stderr,
		"usage: %s [--count N] [--seed S] [--ring 0|3] [--case SEED] [--keep-going N] "
		"[--self 1] [--precise 1]\n"
		"       [--step 1] [--watch 1]\n"
		"       [--evex PERCENT]\n"
		"       [--world 64|32|32-limits|32-readonly|32-stack16|16|16-stack32|16-down]\n"
		"  N instructions (1000000 unless told) as random sequences.\n"
		"  --self 1 compares the host with itself: no KVM is used.\n"
		"  --step 1: with TF and RF set at random; --watch 1: with breakpoints on data and "
		"instructions.\n"
		"  --precise 1 compares all flags at faults and asks standin to keep them.\n",
		name);
}

int main(int argc, char **argv)
{
	static struct session s;
	u64 count = 1000000, seed = 1, one = 0, next_note = 0;
	u32 keep = 5;
	bool single = false;
	const char *why;
	double start;

	s.gen.world = world_find("64");
	s.gen.evex = 12;
	if (argc == 5 && !strcmp(argv[1], "--oracle"))
		return oracle_main(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
	for (int i = 1; i < argc; i += 2) {
		u64 v = i + 1 < argc ? strtoull(argv[i + 1], NULL, 0) : 0;

		if (i + 1 >= argc) {
			usage(argv[0]);
			return 2;
		} else if (!strcmp(argv[i], "--count")) {
			count = v;
		} else if (!strcmp(argv[i], "--seed")) {
			seed = v;
		} else if (!strcmp(argv[i], "--ring")) {
			s.gen.ring0 = v == 0;
		} else if (!strcmp(argv[i], "--evex")) {
			s.gen.evex = (u32)v;
		} else if (!strcmp(argv[i], "--keep-going")) {
			keep = (u32)v;
		} else if (!strcmp(argv[i], "--precise")) {
			s.precise = v;
			setenv("STANDIN_PRECISE_FLAGS", "1", 1);
		} else if (!strcmp(argv[i], "--step")) {
			s.gen.step = v;
		} else if (!strcmp(argv[i], "--watch")) {
			s.gen.watch = v;
		} else if (!strcmp(argv[i], "--world")) {
			s.gen.world = world_find(argv[i + 1]);
			if (!s.gen.world) {
				usage(argv[0]);
				return 2;
			}
		} else if (!strcmp(argv[i], "--self")) {
			s.self = v;
		} else if (!strcmp(argv[i], "--case")) {
			one = v;
			single = true;
		} else {
			usage(argv[0]);
			return 2;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (s.gen.world->bits != 64 && !oracle_has_ldt()) {
		printf("1..1\nok 1 - random instructions # SKIP this host gives no LDT\n");
		return 0;
	}
	printf("TAP version 13\n1..1\n");
	signal(SIGPIPE, SIG_IGN);
	if (oracle_start(&s.oracle) || (s.self && oracle_start(&s.twin)))
		test_die("the oracle does not start");
	if (s.self) {
		s.subject.arena = s.twin.arena;
		s.gen.features = host_features();
	} else {
		subject_start(&s.subject, s.gen.ring0, s.gen.world->bits != 64);
		s.gen.features = subject_features(&s.subject) & host_features();
	}
	if (!(s.gen.features >> GF_AVX & 1) || !__builtin_cpu_supports("avx")) {
		printf("ok 1 - random instructions # SKIP needs AVX on both sides\n");
		return 0;
	}
	fill_constant_parts(&s);
	if (s.gen.watch && (why = arm(&s))) {
		printf("ok 1 - random instructions # SKIP nobody may trace here: %s\n", why);
		return 0;
	}
	start = now();
	if (single) {
		gen_make(&s.cases[0], one, &s.gen);
		gen_print(&s.cases[0], stdout);
		one_batch(&s, one, 1);
	}
	/* Seeds of neighbouring cases differ by one; runs are far apart. */
	for (u64 at = seed << 32; !single && s.insns < count && s.failed < keep; at += BATCH) {
		one_batch(&s, at, s.gen.watch ? WATCH_BATCH : s.gen.world->batch);
		if (s.insns >= next_note) {
			printf("# %llu instructions, %.0f s, seed %llu\n",
			       (unsigned long long)s.insns, now() - start,
			       (unsigned long long)seed);
			next_note += count / 10 + 1;
		}
	}
	printf("# %llu instructions, %llu sequences ended by a fault, %llu debug traps, %.1f s\n",
	       (unsigned long long)s.insns, (unsigned long long)s.faults / 2,
	       (unsigned long long)s.traps / 2, now() - start);
	if (s.subject.direct) {
		u64 stays = cpu_counter(cpu0(s.subject.g), "direct_stays");

		printf("# run directly in %llu stays\n", (unsigned long long)stays);
		s.failed += !stays;
	}
	if (s.gen.watch)
		printf("# %u batches again, in which the host had fewer\n", s.again);
	printf("%s 1 - random instructions in ring %d, world %s, seed %llu\n",
	       s.failed ? "not ok" : "ok", s.gen.ring0 ? 0 : 3, s.gen.world->name,
	       (unsigned long long)seed);
	oracle_stop(&s.oracle);
	return s.failed ? 1 : 0;
}
