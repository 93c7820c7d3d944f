/* SPDX-License-Identifier: MIT */
/*
 * tests/unit/test_svm_border.c - VMCBs near the border between valid and invalid: the rules of
 * svm/ and an independent list of them must agree on each, in verdict and in order.
 *
 * usage: test_svm_border [COUNT [SEED]]
 */
/* Run: build/tests/unit/test_svm_border [COUNT [SEED]] */
#include <stdio.h>
#include <stdlib.h>

#include "engine/cpu.h"
#include "svm/checks.h"
#include "svm_border.h"

static const char letter[SVM_RULE_COUNT] = {
	[SVM_RULE_SVME] = 'S', [SVM_RULE_CACHE] = 'N', [SVM_RULE_CR0_HIGH] = '0',
	[SVM_RULE_DR6_HIGH] = '6', [SVM_RULE_DR7_HIGH] = '7', [SVM_RULE_LM_PAE] = 'P',
	[SVM_RULE_LM_PE] = 'E', [SVM_RULE_LM_CR3] = '3', [SVM_RULE_LM_CS] = 'C',
	[SVM_RULE_CR4_RESERVED] = '4', [SVM_RULE_EFER_RESERVED] = 'F', [SVM_RULE_G_PAT] = 'G',
	[SVM_RULE_VMRUN_INTERCEPT] = 'V', [SVM_RULE_ASID] = 'A', [SVM_RULE_NCR3] = 'n',
	[SVM_RULE_MSRPM] = 'm', [SVM_RULE_IOPM] = 'i', [SVM_RULE_VNMI_INTERCEPT] = 'v',
	[SVM_RULE_EVENT_TYPE] = 't', [SVM_RULE_EVENT_VECTOR] = 'x',
	[SVM_RULE_AVIC_POINTER] = 'a', [SVM_RULE_CR3] = 'c',
};

static void fail(const struct oracle_cpu *cpu, const u8 *img, const char *want, const char *got)
{
	FILE *f = fopen("svm_border.vmcb", "wb");

	printf("not ok - %d bits npt %d shstk %d sev-es %d avic %d pat %d: "
	       "expected \"%s\", got \"%s\"%s\n",
	       cpu->phys_bits, cpu->npt, cpu->shstk, cpu->sev_es, cpu->avic, cpu->own_pat, want,
	       got, f ? ", image in svm_border.vmcb" : "");
	if (f) {
		fwrite(img, 1, 4096, f);
		fclose(f);
	}
	exit(1);
}

static const _Atomic u64 own_pat = QUIRK_NESTED_SVM_SHARED_PAT;

static struct oracle_cpu random_cpu(struct svm_caps *k)
{
	static const u8 widths[] = { 36, 40, 48, 52 };
	struct oracle_cpu cpu = {
		.npt = below(4), .shstk = below(2), .sev_es = below(2), .avic = below(2),
		.own_pat = below(2), .phys_bits = widths[below(4)],
		.cr4_allowed = 0x7ff | (below(2) ? 0x370000 : 0),
		.efer_allowed = 0x1000 | (below(8) ? 0xd01 : 0),
	};

	*k = (struct svm_caps){
		.maxphyaddr = (u8)cpu.phys_bits, .cr4_reserved = ~cpu.cr4_allowed,
		.efer_reserved = ~cpu.efer_allowed, .quirks_off = cpu.own_pat ? &own_pat : NULL,
	};
	svm_caps_features(k, (cpu.npt ? BIT64(SVM_FEAT_NPT) : 0) |
				     (cpu.shstk ? BIT64(SVM_FEAT_SHSTK) : 0) |
				     (cpu.sev_es ? BIT64(SVM_FEAT_SEV_ES) : 0) |
				     (cpu.avic ? BIT64(SVM_FEAT_AVIC) : 0));
	return cpu;
}

/* What VMRUN would report: one letter or none. */
static char first(const struct svm_caps *k, const struct vmcb *v)
{
	struct vmcb_control ctl;
	struct svm_refusal why;

	svm_sanitize(k, &ctl, &v->control);
	if (svm_check_save(k, &ctl, &v->save, &why) || svm_check_control(k, &ctl, &why) ||
	    svm_check_late(k, &v->save, &why))
		return letter[why.rule];
	return 0;
}

static void collect(void *arg, const struct svm_refusal *why)
{
	char **p = arg;

	*(*p)++ = letter[why->rule];
}

static void start_image(u8 *img)
{
	static const struct {
		u16 at;
		u64 v;
	} init[] = {
		{ 0x10, 1 },
		{ 0x40, 0x12000 },
		{ 0x48, 0x10000 },
		{ 0x58, 1 },
		{ 0x90, 1 },
		{ 0xb0, 0x5000 },
		{ 0x4d0, 0x1000 },
		{ 0x548, 0x20 },
		{ 0x550, 0x3000 },
		{ 0x558, 0x80000011 },
		{ 0x560, 0x400 },
		{ 0x568, 0xffff0ff0 },
		{ 0x668, 0x0007040600070406ull },
	};

	memset(img, 0, 4096);
	for (u32 i = 0; i < ARRAY_SIZE(init); i++)
		memcpy(img + init[i].at, &init[i].v, 8);
	img[0x4d1] |= below(3) ? 1 : 0;		/* LME */
	img[0x413] |= below(2) ? 2 : 0;		/* CS.L */
}

int main(int argc, char **argv)
{
	u64 count = argc > 1 ? strtoull(argv[1], NULL, 0) : 4000000;
	u64 seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 0x2545f4914f6cdd1dull;
	u64 valid = 0, by_rule[256] = { 0 };
	static union {
		struct vmcb v;
		u8 img[4096];
	} u;

	border_state = seed;
	for (u64 n = 0; n < count; n++) {
		char want[32], got[32], *end = got, one;
		struct oracle_cpu cpu;
		struct svm_caps k;

		cpu = random_cpu(&k);
		start_image(u.img);
		border_move(u.img, &cpu, below(5));
		/* Anything anywhere else. */
		if (!below(4))
			u.img[below(4096)] = (u8)rnd();

		oracle(&cpu, u.img, want);
		svm_check_all(&k, &u.v, collect, &end);
		*end = 0;
		if (strcmp(want, got))
			fail(&cpu, u.img, want, got);
		one = first(&k, &u.v);
		if (one != want[0])
			fail(&cpu, u.img, want, (char[]){ one, 0 });
		valid += !want[0];
		by_rule[(u8)want[0]]++;
	}
	printf("%llu VMCBs, %llu of them valid; first refusal by rule:", (unsigned long long)count,
	       (unsigned long long)valid);
	for (u32 i = 1; i < 256; i++)
		if (by_rule[i])
			printf(" %c %llu", (int)i, (unsigned long long)by_rule[i]);
	printf("\n");
	/* A generator that never reaches a rule tests nothing. */
	for (u32 r = 0; r < SVM_RULE_COUNT; r++)
		if (letter[r] && count >= 100000 && !by_rule[(u8)letter[r]]) {
			printf("not ok - rule %c was never the first to be broken\n", letter[r]);
			return 1;
		}
	return valid * 10 > count && valid * 10 < count * 9 ? 0 : 1;
}
