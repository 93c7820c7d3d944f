/* SPDX-License-Identifier: MIT */
/* tests/fuzz/model.c - see model.h. */
#include "tests/fuzz/model.h"

#include "tests/fuzz/options.h"
#include "tests/random.h"

enum { VECTORS = 0x31, STUBS = 0x20000, STUB = 16, MAX_BAD = 8 };

static u64 rng;

u64 model_next(void)
{
	return random_next(&rng);
}

u32 below(u32 n)
{
	return (u32)((random_next(&rng) >> 32) * n >> 32);
}

void model_vectors(struct guest *g, u32 common, u16 sel, u32 ist)
{
	for (u32 v = 0; v < VECTORS; v++) {
		bool error = v == 8 || (v >= 10 && v <= 14) || v == 17;
		u32 to = STUBS + v * STUB;
		u8 *p = g->ram + to;
		s32 rel;

		if (!error) {
			*p++ = 0x6a;	/* push $0 */
			*p++ = 0;
		}
		*p++ = 0x6a;		/* push $v; jmp common */
		*p++ = (u8)v;
		*p++ = 0xe9;
		rel = (s32)(common - (u32)(p + 4 - g->ram));
		memcpy(p, &rel, 4);
		guest_gate(g, (u8)v, sel, to, 0xe, v == 0x30 ? 3 : 0, (u8)ist);
	}
}

/* How many cases of a batch were wrong. */
static u32 one_batch(const struct model_fuzz *m, struct guest *g)
{
	struct stop s;
	u32 bad = 0;

	m->make(g);
	*g32(g, V_NEXT) = 0;
	*g32(g, V_COUNT) = m->batch;
	WITH_REGS(cpu0(g), regs) {
		regs.rip = G_CODE;
		regs.rsp = G_STACK;
		regs.rflags = 2;
	}
	s = run(g);
	if (s.kind != ST_DONE) {
		u32 i = *g32(g, V_NEXT);

		printf("# case %u: %s\n", i, stop_text(&s));
		if (i < m->batch)
			m->show(g, i);
		return 1;
	}
	for (u32 i = 0; i < m->batch && bad < MAX_BAD; i++) {
		if (!m->wrong(g, i))
			continue;
		m->show(g, i);
		bad++;
	}
	return bad;
}

int model_main(const struct model_fuzz *m, int argc, char **argv)
{
	u64 count = 1000000, done = 0;
	struct guest *g;
	u32 bad = 0;

	rng = 1;
	if (!fuzz_options(argc, argv, &count, &rng))
		return 2;
	printf("TAP version 13\n1..1\n# seed %llu\n", (unsigned long long)rng);
	for (g = m->start(); done < count && !bad; done += m->batch)
		bad = one_batch(m, g);
	printf("# %llu cases\n", (unsigned long long)done);
	if (m->report)
		m->report();
	printf("%s 1 - %s\n", bad ? "not ok" : "ok", m->title);
	return bad != 0;
}
