/* SPDX-License-Identifier: MIT */
/*
 * vcpu/cpuid_table.c - KVM_GET_SUPPORTED_CPUID: the CPU we can be.
 *
 * The same on every host (base/cpuid_leaves.h); only instructions that the host has to execute
 * depend on it.
 */
#include <pthread.h>
#include <string.h>

#include "base/cpuid_leaves.h"
#include "base/host_cpuid.h"
#include "base/options.h"
#include "engine/xstate.h"
#include "vcpu/cpuid.h"
#include "vcpu/vcpu_priv.h"

const struct cpuid_feature_row cpuid_feature_rows[CPUID_F_COUNT] = {
#define X(name, l, s, r, b, h) \
	[CPUID_F_##name] = { .leaf = l, .sub = s, .reg = CPUID_##r, .bit = b, .host = CPUID_##h },
	CPUID_FEATURES(X)
#undef X
};

const struct cpuid_number_row cpuid_number_rows[CPUID_V_COUNT] = {
#define X(name, l, s, r, low, n) [CPUID_V_##name] = {						\
		.leaf = CPUID_L_##l, .sub = s, .reg = CPUID_##r, .shift = low,			\
		.mask = ~0u >> (32 - (n)) },
	CPUID_NUMBERS(X)
#undef X
};

/* Bits of the feature table are OR-ed in. */
static const struct kvm_cpuid_entry2 base[] = {
#define X(...) CPUID_ENTRY(__VA_ARGS__)
	CPUID_LEAVES(X)
#undef X
};

/* CPUID traps on a virtual host, at a cost of microseconds: ask once for each leaf. */
struct host_leaf {
	u32 leaf, sub;
	u32 r[4];
	bool valid;
};

/* What a nested hypervisor gets beyond KVM's own offer. */
static bool svm_option(enum cpuid_feature f)
{
	static const struct {
		enum cpuid_feature f;
		const char *word;
	} words[] = {
		{ CPUID_F_SVM_DECODE, "decodeassists" },
		{ CPUID_F_SVM_AVIC, "avic" },
		{ CPUID_F_SVM_X2AVIC, "x2avic" },
		{ CPUID_F_SVM_X2AVIC_EXT, "x2avic-ext" },
	};

	for (u32 i = 0; i < ARRAY_SIZE(words); i++)
		if (words[i].f == f)
			return option_has(OPT_SVM, words[i].word);
	return false;
}

/* 5-level paging costs time, and guests use what they see. */
static bool la57_option(void)
{
	return option_word(OPT_LA57) == 0;
}

static bool host_offers(const struct cpuid_feature_row *f, struct host_leaf *h)
{
	u32 r[4];

	if (f->host == CPUID_N)
		return true;
	if (f->host == CPUID_U || f->host == CPUID_D || f->host == CPUID_K)
		return false;
	if (f->host == CPUID_O)
		return la57_option();
	if (f->host == CPUID_P)
		return pmu_offered();
	if (f->host == CPUID_S)
		return svm_option((enum cpuid_feature)(f - cpuid_feature_rows));
	if (f->host == CPUID_V && !(xcr0_host_supported() & XSTATE_AVX))
		return false;
	if (f->host == CPUID_Y)
		return xcr0_host_supported() & XSTATE_PKRU;
	if (f->host == CPUID_Z && !(xcr0_host_supported() & XSTATE_AVX512))
		return false;
	if (!h->valid || h->leaf != f->leaf || h->sub != f->sub) {
		*h = (struct host_leaf){ .leaf = f->leaf, .sub = f->sub, .valid = true };
		cpuid_host(cpuid_class(f->leaf), 0, r);
		if (f->leaf <= r[0])
			cpuid_host(f->leaf, f->sub, h->r);
	}
	return h->r[f->reg] & BIT(f->bit);
}

static u32 *reg(struct kvm_cpuid_entry2 *e, u32 r)
{
	u32 *const regs[] = { &e->eax, &e->ebx, &e->ecx, &e->edx };

	return regs[r];
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid_entry2 *e, u32 leaf, u32 sub)
{
	for (u32 i = 0; i < ARRAY_SIZE(base); i++)
		if (e[i].function == leaf && e[i].index == sub)
			return &e[i];
	return NULL;
}

static bool offered(struct kvm_cpuid_entry2 *e, enum cpuid_feature f)
{
	const struct cpuid_feature_row *row = &cpuid_feature_rows[f];

	return *reg(find(e, row->leaf, row->sub), row->reg) & BIT(row->bit);
}

static void put(struct kvm_cpuid_entry2 *e, enum cpuid_number n, u32 val)
{
	const struct cpuid_number_row *row = &cpuid_number_rows[n];
	u32 *r = reg(find(e, row->leaf, row->sub), row->reg);

	*r = (*r & ~(row->mask << row->shift)) | (val & row->mask) << row->shift;
}

/* Leaves that follow from others. */
static void derive(struct kvm_cpuid_entry2 *e)
{
	struct kvm_cpuid_entry2 *xsave = find(e, CPUID_L_XSAVE, 0);
	u64 xcr0 = xcr0_host_supported();

	/* Linear address width (APM3 E.4.7). */
	if (offered(e, CPUID_F_LA57))
		put(e, CPUID_V_LINEAR_BITS, 57);
	if (pmu_offered())
		put(e, CPUID_V_PMCS, PMU_COUNTERS);
	/* APM3 E.4.2: Fn8000_0001 EDX repeats these bits of Fn0000_0001 EDX. */
	find(e, CPUID_L_EXT_BASIC, 0)->edx |= find(e, CPUID_L_BASIC, 0)->edx & 0x0183f3ff;
	if (!offered(e, CPUID_F_XSAVE)) {
		find(e, CPUID_L_XSAVE, 1)->eax = 0;
		return;
	}
	put(e, CPUID_V_XCR0_LOW, (u32)xcr0);
	xsave->ebx = xstate_size(xcr0 & 3, false);
	xsave->ecx = xstate_size(xcr0, false);
	for (u32 i = XSTATE_AVX_BIT; i <= XSTATE_LAST; i++)
		if (xcr0 >> i & 1) {
			find(e, CPUID_L_XSAVE, i)->eax = xstate_bytes(i);
			find(e, CPUID_L_XSAVE, i)->ebx = xstate_offset(i);
		}
}

static struct kvm_cpuid_entry2 supported[ARRAY_SIZE(base)];	/* once */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_supported(void)
{
	struct kvm_cpuid_entry2 *e = supported;
	struct host_leaf h = { 0 };

	for (u32 i = 0; i < ARRAY_SIZE(base); i++)
		e[i] = base[i];
	for (u32 i = 0; i < CPUID_F_COUNT; i++) {
		const struct cpuid_feature_row *f = &cpuid_feature_rows[i];
		struct kvm_cpuid_entry2 *at = find(e, f->leaf, f->sub);

		if (at && host_offers(f, &h))
			*reg(at, f->reg) |= BIT(f->bit);
	}
	derive(e);
}

int cpuid_supported(struct kvm_cpuid_entry2 *e, u32 *n)
{
	if (*n < ARRAY_SIZE(base))
		return -E2BIG;
	pthread_once(&once, make_supported);
	for (u32 i = 0; i < ARRAY_SIZE(base); i++)
		e[i] = supported[i];
	*n = ARRAY_SIZE(base);
	return 0;
}

int cpuid_emulated(struct kvm_cpuid_entry2 *e, u32 *n)
{
	static const struct kvm_cpuid_entry2 emulated[] = {
#define X(...) CPUID_ENTRY(__VA_ARGS__)
		CPUID_EMULATED_LEAVES(X)
#undef X
	};

	if (*n < ARRAY_SIZE(emulated))
		return -E2BIG;
	for (u32 i = 0; i < ARRAY_SIZE(emulated); i++)
		e[i] = emulated[i];
	*n = ARRAY_SIZE(emulated);
	return 0;
}
