/* SPDX-License-Identifier: MIT */
/* tests/insn/compare.c - do two results of one case agree? */
#include "tests/insn/compare.h"

#include <inttypes.h>
#include <string.h>

#define ALL ~0ull

static bool word(FILE *f, const char *name, u64 want, u64 got, u64 mask)
{
	if (((want ^ got) & mask) == 0)
		return false;
	if (f)
		fprintf(f, "#   %-6s host %016" PRIx64 "  guest %016" PRIx64 "\n", name,
			want & mask, got & mask);
	return true;
}

/* Bits of the #PF error code that must agree. */
static u64 error_mask(const struct insn_state *want, bool ring0)
{
	u64 m = ALL;

	if (want->vec != 14)
		return m;
	if (ring0)
		m &= ~4ull;
	/* What else is mapped, and how it is reported, differs outside the arena. */
	if (want->cr2 - A_BASE >= A_END - A_BASE)
		m &= ~1ull;
	return m;
}

static bool canonical(u64 a) { return (u64)((s64)(a << 16) >> 16) == a; }

static bool reports(const struct insn_state *s, u64 operand)
{
	return (s->vec == 14 && s->cr2 == operand) || (s->vec == 13 && !canonical(operand));
}

/* Two operands fault and the CPU reports one (Zen 3 that of RDI, Zen 5 that of RSI). The
 * registers, which are compared as well, say where both are. */
static bool other_operand(const struct insn_state *want, const struct insn_state *got)
{
	u64 rsi = want->gpr[6], rdi = want->gpr[7];

	/* Two #GPs differ in nothing. */
	return (want->vec == 14 || got->vec == 14) && ((reports(want, rdi) && reports(got, rsi)) ||
						       (reports(want, rsi) && reports(got, rdi)));
}

static bool fault_differs(const struct gen_case *c, const struct insn_state *want,
			  const struct insn_state *got, bool ring0, FILE *f)
{
	bool d;

	/* A pending x87 exception and a bad address at once: the order is not compared. */
	if (want->vec == 16 && got->vec >= 12 && got->vec <= 14)
		return word(f, "rip", want->fault_rip, got->fault_rip, ALL);
	/* Segments: each operand has its own limit and its own page. */
	if (c->world->bits != 64 && got->vec >= 12 && got->vec <= 14 && want->vec >= 12 &&
	    want->vec <= 14 && gen_two_reads(c, want->fault_rip))
		return word(f, "rip", want->fault_rip, got->fault_rip, ALL);
	if (other_operand(want, got) && gen_two_reads(c, want->fault_rip))
		return word(f, "rip", want->fault_rip, got->fault_rip, ALL);
	d = word(f, "vector", want->vec, got->vec, ALL);
	if (d || want->vec == ALL)
		return d;
	d |= word(f, "rip", want->fault_rip, got->fault_rip, ALL);
	if (want->vec == 14)
		d |= word(f, "cr2", want->cr2, got->cr2, ALL);
	if (want->vec >= 8 && want->vec != 16 && want->vec != 19)
		d |= word(f, "error", want->err, got->err, error_mask(want, ring0));
	return d;
}

static bool fpu_differs(const u8 *want, const u8 *got, FILE *f)
{
	static const struct { u16 at, len; const char *name; } fields[] = {
		{ 0, 2, "fcw" }, { 2, 2, "fsw" }, { 4, 1, "ftw" }, { 24, 4, "mxcsr" },
	};
	bool d = false;
	char name[8];

	for (u32 i = 0; i < ARRAY_SIZE(fields); i++) {
		u64 a = 0, b = 0;

		memcpy(&a, want + fields[i].at, fields[i].len);
		memcpy(&b, got + fields[i].at, fields[i].len);
		d |= word(f, fields[i].name, a, b, ALL);
	}
	for (u32 i = 0; i < 8; i++) {
		u64 a[2] = { 0 }, b[2] = { 0 };

		memcpy(a, want + 32 + 16 * i, 10);
		memcpy(b, got + 32 + 16 * i, 10);
		snprintf(name, sizeof(name), "st%u", i);
		d |= word(f, name, a[0], b[0], ALL);
		d |= word(f, name, a[1], b[1], ALL);
	}
	return d;
}

static bool vectors_differ(const struct insn_state *want, const struct insn_state *got, FILE *f)
{
	bool d = false;
	char name[12];

	for (u32 i = 0; i < 16; i++) {
		u64 a[4], b[4];

		memcpy(a, want->fx + 160 + 16 * i, 16);
		memcpy(a + 2, want->ymm_hi[i], 16);
		memcpy(b, got->fx + 160 + 16 * i, 16);
		memcpy(b + 2, got->ymm_hi[i], 16);
		for (u32 k = 0; k < 4; k++) {
			snprintf(name, sizeof(name), "y%u.%u", i, k);
			d |= word(f, name, a[k], b[k], ALL);
		}
	}
	return d;
}

/* The same #DBs, as far as each side noted them. */
static bool steps_differ(const struct gen_case *c, const struct insn_steps *want,
			 const struct insn_steps *got, FILE *f)
{
	bool d = word(f, "traps", want->n, got->n, ALL);
	char name[12];

	for (u64 i = 0; i < want->n && i < got->n && i < STEPS_MAX; i++) {
		u64 rip = (u32)want->at[i], mask = ALL;

		mask &= ~((u64)gen_undef(c, rip, true) << 32);
		snprintf(name, sizeof(name), "#%llu", (unsigned long long)i);
		if (word(f, name, want->at[i], got->at[i], mask))
			return true;
	}
	/* What one side has and the other has not. */
	if (d && f && want->n != got->n) {
		u64 i = want->n < got->n ? want->n : got->n;

		fprintf(f, "#   first at %016" PRIx64 "\n",
			want->n < got->n ? got->at[i] : want->at[i]);
	}
	return d;
}

static bool avx512_differs(const struct insn_state *want, const struct insn_state *got, FILE *f)
{
	bool d = false;
	char name[12];

	for (u32 i = 0; i < 32; i++) {
		const u8 *w = i < 16 ? want->zmm_hi[i] : want->zmm16[i - 16];
		const u8 *g = i < 16 ? got->zmm_hi[i] : got->zmm16[i - 16];

		for (u32 k = 0; k < (i < 16 ? 4 : 8); k++) {
			u64 a, b;

			memcpy(&a, w + 8 * k, 8);
			memcpy(&b, g + 8 * k, 8);
			snprintf(name, sizeof(name), "z%u.%u", i, k + (i < 16 ? 4 : 0));
			d |= word(f, name, a, b, ALL);
		}
	}
	for (u32 i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "k%u", i);
		d |= word(f, name, want->k[i], got->k[i], ALL);
	}
	return d;
}

bool compare_results(const struct gen_case *c, const struct insn_result *want,
		     const struct insn_result *got, bool ring0, bool precise, FILE *f)
{
	static const char *const names[16] = {
		"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11",
		"r12", "r13", "r14", "r15",
	};
	bool fault = want->s.vec != ALL, d;
	u64 flags = 0xcd5 & ~(u64)gen_undef(c, want->s.fault_rip, fault);

	/* Some CPUs fault at a masked store whose mask is all zero; what follows it then
	 * cannot be compared at all. */
	if (fault && gen_odd_fault(c, want->s.fault_rip))
		return got->s.fault_rip == want->s.fault_rip && got->s.vec != ALL &&
		       word(f, "vector", want->s.vec, got->s.vec, ALL);
	d = fault_differs(c, &want->s, &got->s, ring0, f);
	d |= steps_differ(c, &want->steps, &got->steps, f);
	if (fault && !precise)
		flags &= gen_live(c, want->s.fault_rip) | 0x400;
	/* Leaving 64-bit mode leaves no upper halves (APM1 3.1.2). */
	for (u32 i = 0; i < 16; i++)
		d |= word(f, names[i], want->s.gpr[i], got->s.gpr[i],
			  c->world->bits == 64 || i > 7 ? ALL : 0xffffffff);
	d |= word(f, "flags", want->s.rflags, got->s.rflags, flags);
	d |= fpu_differs(want->s.fx, got->s.fx, f);
	d |= vectors_differ(&want->s, &got->s, f);
	d |= avx512_differs(&want->s, &got->s, f);
	if (!memcmp(want->data, got->data, DATA_BYTES))
		return d;
	for (u32 i = 0, shown = 0; f && i < DATA_BYTES && shown < 8; i += 8) {
		u64 a, b;
		char name[16];

		memcpy(&a, want->data + i, 8);
		memcpy(&b, got->data + i, 8);
		snprintf(name, sizeof(name), "+%x", i);
		shown += word(f, name, a, b, ALL);
	}
	return true;
}
