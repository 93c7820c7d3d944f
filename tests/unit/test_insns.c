/* SPDX-License-Identifier: MIT */
/*
 * tests/unit/test_insns.c - the table of instructions: what it says is complete, and
 * docs/instructions.md says the same. `test_insns --print` prints what belongs under the
 * document's marker.
 */
/* Run: build/tests/unit/test_insns [docs/instructions.md] [NAME...] */

#include "tests/unit/unit.h"

#include "engine/translate_priv.h"
#include "engine/insns.h"

#define MARK "<!-- test_insns --print -->\n"

static const char *document;

/* -- printing -- */

static const struct named { const char *name, *text; } ways[] = {
#define X(name, text) [WAY_##name] = { #name, text },
	INSN_WAYS(X)
#undef X
}, rules[] = {
#define X(name, bit, text) { #name, text },
	INSN_RULES(X)
#undef X
};
static const char *const features[] = {
#define X(name) #name,
	INSN_FEATURES(X)
#undef X
}, *const states[] = { "-", "x87", "MMX", "SSE", "AVX", "AVX-512" };

static void put_list(FILE *f, u64 bits, const char *(*name)(u32 i))
{
	if (!bits)
		fprintf(f, "-");
	for (u32 i = 0, n = 0; i < 64; i++)
		if (bits >> i & 1)
			fprintf(f, "%s%s", n++ ? ", " : "", name(i));
}

static const char *rule_name(u32 i) { return rules[i].name; }
static const char *feature_name(u32 i) { return features[i]; }

struct line {
	const char *name, *way, *fn, *intercept;
	u32 rules;
	u64 features;
};

static bool same_line(const struct line *a, const struct line *b)
{
	return !strcmp(a->way, b->way) && !strcmp(a->fn, b->fn) &&
	       !strcmp(a->intercept, b->intercept) && a->rules == b->rules &&
	       a->features == b->features;
}

/* Neighbours that differ in nothing but their names share a line. */
static void put_lines(FILE *f, const struct line *l, u32 n, bool system)
{
	for (u32 i = 0; i < n;) {
		const struct line *first = &l[i];

		fprintf(f, "| %s", first->name);
		for (i++; i < n && same_line(first, &l[i]); i++)
			fprintf(f, " %s", l[i].name);
		fprintf(f, " |");
		if (system)
			fprintf(f, " %s | %s | %s |", first->way,
				strcmp(first->fn, "NULL") ? first->fn : "-",
				!strcmp(first->intercept, "NONE") ? "-"
				: !strcmp(first->intercept, "FN") ? "function"
								  : first->intercept);
		fprintf(f, " ");
		put_list(f, first->rules, rule_name);
		fprintf(f, " | ");
		put_list(f, first->features, feature_name);
		fprintf(f, " |\n");
	}
}

static const struct line system_lines[] = {
#define X(m, w, r, f, fn, i) { #m, #w, #fn, #i, r, f },
	INSN_SYSTEM(X)
#undef X
}, host_lines[] = {
#define X(m, r, f) { #m, "HOST", "NULL", "NONE", r, f },
	INSN_HOST(X)
#undef X
};

static const struct { const char *name; ZydisISASet set; } sets[] = {
#define X(s, w, st, r, f) { #s, ZYDIS_ISA_SET_##s },
	INSN_SETS(X)
#undef X
};

static void print(FILE *f)
{
	fprintf(f, "\n## Ways\n\n| way | what happens |\n|---|---|\n");
	for (u32 i = 0; i < ARRAY_SIZE(ways); i++)
		fprintf(f, "| %s | %s |\n", ways[i].name, ways[i].text);
	fprintf(f, "\n## Rules\n\n| rule | meaning |\n|---|---|\n");
	for (u32 i = 0; i < ARRAY_SIZE(rules); i++)
		fprintf(f, "| %s | %s |\n", rules[i].name, rules[i].text);
	fprintf(f, "\n## More than computations\n\n"
		   "| mnemonics | way | C | intercept of L2 | rules | CPUID |\n"
		   "|---|---|---|---|---|---|\n");
	put_lines(f, system_lines, ARRAY_SIZE(system_lines), true);
	fprintf(f, "\n## Integer computations\n\n| mnemonics | rules | CPUID |\n|---|---|---|\n");
	put_lines(f, host_lines, ARRAY_SIZE(host_lines), false);
	fprintf(f, "\n## Sets\n\n| Zydis's ISA set | way | state | rules | CPUID |\n"
		   "|---|---|---|---|---|\n");
	for (u32 i = 0; i < ARRAY_SIZE(sets); i++) {
		const struct insn_row *r = &insn_sets[sets[i].set];

		fprintf(f, "| %s | %s | %s | ", sets[i].name, ways[r->way].name, states[r->state]);
		put_list(f, r->rules, rule_name);
		fprintf(f, " | ");
		put_list(f, r->features, feature_name);
		fprintf(f, " |\n");
	}
}

/* -- tests -- */

T(document_is_current)
{
	static char old[1 << 17];
	char *now = NULL, *at;
	size_t n = 0;
	FILE *f = open_memstream(&now, &n), *d;

	print(f);
	fclose(f);
	d = fopen(document, "r");
	assert_non_null(d);
	n = fread(old, 1, sizeof(old) - 1, d);
	fclose(d);
	old[n] = 0;
	at = strstr(old, MARK);
	assert_non_null(at);
	if (strcmp(at + strlen(MARK), now))
		fail_msg("%s is not what `test_insns --print` prints", document);
	free(now);
}

/* A way that may end in C has a function there, and no other has. */
T(who_may_be_left_to_c_has_a_function)
{
	for (u32 i = 0; i < ARRAY_SIZE(system_lines); i++) {
		const struct line *l = &system_lines[i];
		bool c = strcmp(l->fn, "NULL");

		if (!strcmp(l->way, "C") || !strcmp(l->way, "MOV") || !strcmp(l->way, "PUSH") ||
		    !strcmp(l->way, "POP") || !strcmp(l->way, "JMP") || !strcmp(l->way, "CALL") ||
		    !strcmp(l->way, "RET") || !strcmp(l->way, "PUSHF") ||
		    !strcmp(l->way, "SWAPGS") || !strcmp(l->way, "CLI") || !strcmp(l->way, "STI") ||
		    !strcmp(l->way, "MSR") || !strcmp(l->way, "STRING"))
			assert_true(c);
		else
			assert_false(c);
	}
}

static u64 t_sti(struct cpu *c, u64 a, u64 b) { return 0; }
static const struct cpu_ops ops = { .sti = t_sti };
static struct translator *t;

static const struct di *decoded(const char *bytes, u32 n, u64 missing)
{
	static struct di d;
	u8 b[16];

	memset(b, 0x90, sizeof(b));
	memcpy(b, bytes, n);
	t->e->c->insn_missing = missing;
	assert_true(ZYAN_SUCCESS(decode_afresh(t, &d, b, 15)));
	t->e->c->insn_missing = 0;
	return &d;
}

/* Each CPUID bit, with an instruction that needs it. */
T(without_its_cpuid_bit_an_instruction_is_refused)
{
	static const struct { u64 need; const char *bytes; u32 n; } insns[] = {
		{ NEED(FPU), "\xd9\xe8", 2 }, { NEED(TSC), "\x0f\x31", 2 },
		{ NEED(MSR), "\x0f\x32", 2 },
		{ NEED(CX8), "\x0f\xc7\x0b", 3 }, { NEED(SEP), "\x0f\x34", 2 },
		{ NEED(CMOV), "\x0f\x44\xc0", 3 }, { NEED(CMOV), "\xda\xc0", 2 },
		{ NEED(CMOV), "\xdb\xf1", 2 }, { NEED(CLFLUSH), "\x0f\xae\x3b", 3 },
		{ NEED(MMX), "\x0f\xfc\xc1", 3 }, { NEED(FXSR), "\x0f\xae\x03", 3 },
		{ NEED(SSE), "\x0f\x58\xc1", 3 }, { NEED(SSE), "\x0f\xae\xf8", 3 },
		{ NEED(SSE2), "\x66\x0f\xfc\xc1", 4 }, { NEED(SSE2), "\x0f\xae\xf0", 3 },
		{ NEED(SSE3), "\xf2\x0f\xd0\xc1", 4 }, { NEED(SSE3), "\xdf\x0b", 2 },
		{ NEED(PCLMULQDQ), "\x66\x0f\x3a\x44\xc1\x00", 6 },
		{ NEED(SSSE3), "\x66\x0f\x38\x00\xc1", 5 }, { NEED(SSSE3), "\x0f\x38\x00\xc1", 4 },
		{ NEED(FMA), "\xc4\xe2\x71\x98\xc2", 5 }, { NEED(CX16), "\x48\x0f\xc7\x0b", 4 },
		{ NEED(SSE4_1), "\x66\x0f\x38\x17\xc1", 5 },
		{ NEED(SSE4_2), "\xf2\x0f\x38\xf1\xc1", 5 }, { NEED(MOVBE), "\x0f\x38\xf0\x03", 4 },
		{ NEED(POPCNT), "\xf3\x0f\xb8\xc1", 4 }, { NEED(AES), "\x66\x0f\x38\xdc\xc1", 5 },
		{ NEED(AES), "\xc4\xe2\x71\xdc\xc2", 5 }, { NEED(XSAVE), "\x0f\x01\xd0", 3 },
		{ NEED(AVX), "\xc5\xf1\xfc\xc2", 4 }, { NEED(F16C), "\xc4\xe2\x79\x13\xc1", 5 },
		{ NEED(RDRAND), "\x0f\xc7\xf0", 3 }, { NEED(FSGSBASE), "\xf3\x0f\xae\xc0", 4 },
		{ NEED(BMI1), "\xc4\xe2\x70\xf2\xc2", 5 }, { NEED(AVX2), "\xc5\xf5\xfc\xc2", 4 },
		{ NEED(BMI2), "\xc4\xe2\x70\xf5\xc2", 5 },
		{ NEED(INVPCID), "\x66\x0f\x38\x82\x03", 5 },
		{ NEED(RDSEED), "\x0f\xc7\xf8", 3 }, { NEED(ADX), "\xf3\x0f\x38\xf6\xc1", 5 },
		{ NEED(SMAP), "\x0f\x01\xca", 3 }, { NEED(CLFLUSHOPT), "\x66\x0f\xae\x3b", 4 },
		{ NEED(SHA), "\x0f\x38\xc8\xc1", 4 }, { NEED(RDPID), "\xf3\x0f\xc7\xf8", 4 },
		{ NEED(PKU), "\x0f\x01\xee", 3 },
		{ NEED(XSAVEOPT), "\x0f\xae\x33", 3 }, { NEED(XSAVEC), "\x0f\xc7\x23", 3 },
		{ NEED(LAHF_LM), "\x9f", 1 }, { NEED(SVM), "\x0f\x01\xd8", 3 },
		{ NEED(SSE4A), "\xf2\x0f\x79\xc1", 4 }, { NEED(RDTSCP), "\x0f\x01\xf9", 3 },
		{ NEED(CLWB), "\x66\x0f\xae\x33", 4 }, { NEED(CLZERO), "\x0f\x01\xfc", 3 },
		{ NEED(XSAVES), "\x0f\xc7\x2b", 3 }, { NEED(XSAVES), "\x48\x0f\xc7\x1b", 4 },
		{ NEED(GFNI), "\x66\x0f\x38\xcf\xc1", 5 },
		{ NEED(GFNI), "\xc4\xe2\x71\xcf\xc2", 5 },
		{ NEED(VAES), "\xc4\xe2\x75\xdc\xc2", 5 },
		{ NEED(VPCLMULQDQ), "\xc4\xe3\x75\x44\xc2\x00", 6 },
		{ NEED(CR8_LEGACY), "\xf0\x0f\x20\xc0", 4 },
		{ NEED(AVX512F), "\x62\xf1\x74\x48\x58\xc2", 6 },
		{ NEED(AVX512F), "\xc5\xf8\x90\xc1", 4 },
		{ NEED(AVX512DQ), "\x62\xf1\x74\x48\x54\xc2", 6 },
		{ NEED(AVX512_IFMA), "\x62\xf2\xf5\x48\xb4\xc2", 6 },
		{ NEED(AVX512CD), "\x62\xf2\x7d\x48\xc4\xc1", 6 },
		{ NEED(AVX512BW), "\x62\xf1\x75\x48\xfc\xc2", 6 },
		{ NEED(AVX512VL), "\x62\xf1\x74\x08\x58\xc2", 6 },
		{ NEED(AVX512_VBMI), "\x62\xf2\x75\x48\x8d\xc2", 6 },
		{ NEED(AVX512_VBMI2), "\x62\xf2\x7d\x48\x63\xc1", 6 },
		{ NEED(AVX512_VNNI), "\x62\xf2\x75\x48\x50\xc2", 6 },
		{ NEED(AVX512_BITALG), "\x62\xf2\x7d\x48\x54\xc1", 6 },
		{ NEED(AVX512_VPOPCNTDQ), "\x62\xf2\x7d\x48\x55\xc1", 6 },
		{ NEED(AVX512_BF16), "\x62\xf2\x76\x48\x52\xc2", 6 },
	};
	u64 seen = NEED(LZCNT);	/* below */

	for (u32 i = 0; i < ARRAY_SIZE(insns); i++) {
		const struct di *d = decoded(insns[i].bytes, insns[i].n, insns[i].need);

		if (d->cls != CL_UD)
			fail_msg("%s without its bit", ZydisMnemonicGetString(d->in.mnemonic));
		d = decoded(insns[i].bytes, insns[i].n, 0);
		if (d->cls == CL_UD)
			fail_msg("%s with its bit", ZydisMnemonicGetString(d->in.mnemonic));
		seen |= insns[i].need;
	}
	assert_int_equal(seen, BIT64(INSN_F_COUNT) - 1);
}

T(without_its_bit_lzcnt_is_bsr_and_tzcnt_is_bsf)
{
	assert_int_equal(decoded("\xf3\x0f\xbd\xc1", 4, 0)->in.mnemonic, ZYDIS_MNEMONIC_LZCNT);
	assert_int_equal(decoded("\xf3\x0f\xbc\xc1", 4, 0)->in.mnemonic, ZYDIS_MNEMONIC_TZCNT);

	const struct di *d = decoded("\xf3\x0f\xbd\xc1", 4, NEED(LZCNT));

	assert_int_equal(d->in.mnemonic, ZYDIS_MNEMONIC_BSR);
	assert_int_equal(d->cls, CL_COMPUTE);
	assert_false(d->enc.rep);
	d = decoded("\xf3\x0f\xbc\xc1", 4, NEED(BMI1));
	assert_int_equal(d->in.mnemonic, ZYDIS_MNEMONIC_BSF);
	assert_int_equal(d->cls, CL_COMPUTE);
	assert_false(d->enc.rep);
}

T(lahf_is_refused_in_64_bit_mode_only)
{
	t->mode = MODE_SIZE32 | MODE_SS32;
	assert_int_equal(decoded("\x9f", 1, NEED(LAHF_LM))->cls, CL_COMPUTE);
	t->mode = MODE_SIZE64 | MODE_X87 | MODE_SSE | MODE_AVX | MODE_CPL0;
}

static int setup(void **state)
{
	t = calloc(1, sizeof(*t));
	t->e = calloc(1, sizeof(*t->e));
	t->e->c = calloc(1, sizeof(*t->e->c));
	t->e->c->ops = &ops;
	t->mode = MODE_SIZE64 | MODE_X87 | MODE_SSE | MODE_AVX | MODE_CPL0;
	return 0;
}

static int teardown(void **state)
{
	free(t->e->c);
	free(t->e);
	free(t);
	return 0;
}

T_ALL(setup, teardown);

T_START(argc, argv)
{
	if (argc == 2 && !strcmp(argv[1], "--print")) {
		print(stdout);
		exit(0);
	}
	/* A document, then names of tests. */
	if (argc < 2 || !strchr(argv[1], '/'))
		return 0;
	document = argv[1];
	return 1;
}
