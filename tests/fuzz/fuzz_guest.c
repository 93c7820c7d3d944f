/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/fuzz_guest.c - random bytes as guest code, in every mode and ring.
 *
 * Right is: KVM_RUN always ends in a documented way, in time, the process lives, and
 * memory around the guest's slot is untouched.
 */
/* Run: build/standin run -- build/tests/fuzz/fuzz_guest --seconds 20 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/code.h"
#include "tests/fuzz/driver.h"
#include "tests/fuzz/moment.h"
#include "tests/guest/harness/harness.h"
#include "tests/guest/harness/tables.h"

enum { CANARY = 4096, CASES_PER_VM = 16, MAX_EXITS = 40, HANG_S = 20 };

static void canaries_set(struct guest *g)
{
	u8 *lo = g->ram - CANARY, *hi = g->ram + G_RAM_SIZE;

	if (mprotect(lo, CANARY, PROT_READ | PROT_WRITE) ||
	    mprotect(hi, CANARY, PROT_READ | PROT_WRITE))
		test_die("mprotect: %s", strerror(errno));
	memset(lo, 0xc5, CANARY);
	memset(hi, 0xc5, CANARY);
}

static bool canaries_ok(const struct guest *g)
{
	for (u32 i = 0; i < CANARY; i++)
		if (g->ram[-1 - (s64)i] != 0xc5 || g->ram[G_RAM_SIZE + i] != 0xc5)
			return false;
	return true;
}

/* A number that is often an address somewhere interesting. */
static u64 some_address(u64 *rng)
{
	u64 r = random_next(rng);

	switch (random_next(rng) % 8) {
	case 0: return r;
	case 1: return G_MMIO + r % 0x1000;
	case 2: return G_WINDOW + r % 0x200000;
	case 3: return r % 0x10000;
	case 4: return G_RAM_SIZE - 16 + r % 32;
	case 5: return 0xfee00000 + r % 0x1000;
	default: return G_DATA + r % 0x10000;
	}
}

static void scribble(struct guest *g, u64 *rng)
{
	static const struct { u32 at, len; } places[] = {
		{ G_GDT, GDT_BYTES }, { G_IDT, 0x400 }, { G_TSS, 0x200 }, { G_PT, 0x5000 },
		{ 0, 0x400 },
	};
	u32 n = random_next(rng) % 4 ? 0 : 1 + random_next(rng) % 8;

	while (n--) {
		u32 p = random_next(rng) % ARRAY_SIZE(places);

		g->ram[places[p].at + random_next(rng) % places[p].len] ^=
			(u8)(1 << random_next(rng) % 8);
	}
}

static void put_code(struct guest *g, u64 at, u64 *rng)
{
	u8 buf[2048];

	fuzz_code(buf, sizeof(buf), rng);
	guest_write(g, at, buf, sizeof(buf));
}

/* Everything a case depends on follows from its seed. */
static void prepare(struct guest *g, u64 seed, u64 *rng)
{
	struct guest_cpu *c = cpu0(g);
	u64 flags, pick = random_next(rng);

	(void)seed;
	madvise(g->ram, G_RAM_SIZE, MADV_DONTNEED);
	tables_build(g);
	scribble(g, rng);
	put_code(g, G_CODE, rng);
	put_code(g, G_WINDOW - 1000, rng);
	put_code(g, G_DATA, rng);
	cpu_setup(c);
	if (g->mode >= M_PM32 && pick & 1)
		cpu_ring3(c, G_CODE);
	flags = 2 | (random_next(rng) & 0xfd5);
	if (pick & 2)
		flags &= ~0x100ull;
	if (pick & 4)
		flags |= random_next(rng) & 0x47000;
	WITH_SREGS(c, s) {
		if (g->mode >= M_PG32 && pick & 8)
			s.cr0 |= 1u << 16;
		if (g->mode >= M_PAE)
			s.efer |= pick & 32 ? 0x801 : 0;
		if (guest_has(g, 1, 2, 26) && pick & 64)
			s.cr4 |= 1u << 18;
		/* VM86 needs a stack and code it can reach. */
		if (g->mode >= M_PM32 && g->mode <= M_PAE && (pick & 0xf00) == 0x100) {
			flags |= 0x23000;
			s.cs = s.ss = s.ds = s.es = s.fs = s.gs = seg_flat(0, 3, 3, 16);
		}
	}
	WITH_REGS(c, r) {
		__u64 *all = &r.rax;

		for (u32 i = 0; i < 16; i++)
			if (&all[i] != &r.rsp || !(random_next(rng) % 8))
				all[i] = some_address(rng);
		r.rflags = flags;
		r.rip = random_next(rng) % 8 ? G_CODE
			: flags & 0x20000  ? G_DATA & 0xffff
					   : G_WINDOW - 1000;
	}
}

/* In every third VM what retires is counted: by user code, by the rest, by both, and with
 * overflows. */
enum {
	PERF_CTL = 0xc0010200,
	PERF_CTR = 0xc0010201,
	INSNS = 0x4000c0,
	USR = 1 << 16,
	OS = 1 << 17
};

static bool counts(struct guest *g, u64 seed)
{
	return seed / CASES_PER_VM % 3 == 0 && guest_has(g, 0x80000001, 2, 23);
}

static void start_counters(struct guest_cpu *c, u64 *rng)
{
	static const u32 sel[] = { INSNS | USR, INSNS | OS, INSNS | USR | OS };

	for (u32 i = 0; i < 3; i++) {
		cpu_set_msr(c, PERF_CTR + 2 * i, 0);
		cpu_set_msr(c, PERF_CTL + 2 * i, sel[i]);
	}
	cpu_set_msr(c, PERF_CTR + 6, -(random_next(rng) % 3000));
	cpu_set_msr(c, PERF_CTL + 6, INSNS | USR | OS | BIT(20) | (random_next(rng) & 2));
}

/* The guest may have written them. */
static bool counters_ok(struct guest_cpu *c)
{
	u64 n[3];

	for (u32 i = 0; i < 3; i++)
		n[i] = cpu_msr(c, PERF_CTR + 2 * i);
	return n[0] + n[1] == n[2] || cpu_msr(c, PERF_CTL + 4) != (INSNS | USR | OS) ||
	       n[2] > 1ull << 40;
}

static const char *bad_stop(const struct stop *s)
{
	switch (s->kind) {
	case ST_ERROR:
		return s->err == EFAULT ? NULL : "KVM_RUN failed";
	case ST_OTHER:
		switch (s->err) {
		case KVM_EXIT_FAIL_ENTRY: case KVM_EXIT_HYPERCALL: case KVM_EXIT_SET_TPR:
		case KVM_EXIT_X86_RDMSR: case KVM_EXIT_X86_WRMSR: case KVM_EXIT_IOAPIC_EOI:
			return NULL;
		}
		return "an exit reason nobody asked for";
	default:
		return NULL;
	}
}

static bool ends_case(const struct stop *s)
{
	return s->kind != ST_EXC && s->kind != ST_DONE && s->kind != ST_OUT && s->kind != ST_IN &&
	       s->kind != ST_MMIO && s->kind != ST_HLT;
}

/* False: something is wrong and has been printed. */
static bool one_case(struct guest *g, u64 seed, bool loud)
{
	struct guest_cpu *c = cpu0(g);
	u64 rng = seed * 0x9e3779b97f4a7c15ull;
	const char *why = NULL;
	struct stop s;

	atomic_store_explicit(&fuzz->seed, seed, memory_order_relaxed);
	random_next(&rng);
	prepare(g, seed, &rng);
	if (counts(g, seed))
		start_counters(c, &rng);
	moment_begin(c);
	for (u32 i = 0; i < MAX_EXITS && !why; i++) {
		s = moment_run(c, loud);
		why = bad_stop(&s);
		if (why || ends_case(&s))
			break;
		if ((s.kind == ST_IN && s.count == 1) || (s.kind == ST_MMIO && !s.write))
			cpu_answer(c, random_next(&rng));
		if (s.kind == ST_EXC || s.kind == ST_DONE)
			WITH_REGS(c, r)
				r.rip = G_CODE + random_next(&rng) % 1024;
	}
	moment_end(c);
	if (!why && counts(g, seed) && !counters_ok(c))
		why = "the counters do not agree";
	if (!why && !canaries_ok(g))
		why = "memory around the slot has changed";
	atomic_fetch_add_explicit(&fuzz->done, 1, memory_order_relaxed);
	if (!why)
		return true;
	printf("# seed %llu (%s): %s: %s\n", (unsigned long long)seed, mode_name[g->mode], why,
	       stop_text(&s));
	return false;
}

static enum mode mode_of(u64 seed)
{
	return (enum mode)(seed / CASES_PER_VM % M_COUNT);
}

static u32 vm_flags(u64 seed)
{
	return seed / CASES_PER_VM / M_COUNT % 4 == 3 ? GUEST_IRQCHIP : 0;
}

static const char *kind(u64 seed)
{
	return mode_name[mode_of(seed)];
}

static bool cases(u64 seed, double end)
{
	struct guest *g = NULL;

	for (; fuzz_now() < end; seed++) {
		if (!g || seed % CASES_PER_VM == 0) {
			if (g)
				guest_free(g);
			g = guest_new_flags(mode_of(seed), vm_flags(seed));
			canaries_set(g);
		}
		if (!one_case(g, seed, false))
			return false;
	}
	return true;
}

static bool single(u64 seed)
{
	struct guest *g = guest_new_flags(mode_of(seed), vm_flags(seed));

	canaries_set(g);
	return one_case(g, seed, true);
}

int main(int argc, char **argv)
{
	static const struct fuzzer f = {
		.title = "random guest code", .hang_s = HANG_S, .kind = kind, .cases = cases,
		.one = single, .report = moment_report,
	};

	return fuzz_main(&f, argc, argv);
}
