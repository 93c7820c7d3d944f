/* SPDX-License-Identifier: MIT */
/*
 * vcpu/cpuid_table.c - KVM_GET_SUPPORTED_CPUID: the CPU we can be.
 *
 * An AMD CPU of family 19h, the same on every host; only instructions that the
 * host has to execute depend on it.
 */
#include <pthread.h>
#include <string.h>

#include "base/host_cpuid.h"
#include "base/options.h"
#include "engine/xstate.h"
#include "vcpu/cpuid.h"
#include "vcpu/vcpu_priv.h"

#define MAX_BASIC 0x10
#define MAX_EXTENDED 0x80000022u
#define SIGNATURE 0x00a00f11u	/* family 19h, model 1, stepping 1 */
#define IDX KVM_CPUID_FLAG_SIGNIFCANT_INDEX

#define TXT(a, b, c, d) ((u32)(a) | (u32)(b) << 8 | (u32)(c) << 16 | (u32)(d) << 24)

const struct cpuid_feature_row cpuid_feature_rows[CPUID_F_COUNT] = {
#define X(name, l, s, r, b, h) \
	[CPUID_F_##name] = { .leaf = l, .sub = s, .reg = CPUID_##r, .bit = b, .host = CPUID_##h },
	CPUID_FEATURES(X)
#undef X
};

/* What is not a feature bit. Bits of the feature table are OR-ed in. */
static const struct kvm_cpuid_entry2 base[] = {
	{ 0, 0, 0, MAX_BASIC, TXT('A', 'u', 't', 'h'), TXT('c', 'A', 'M', 'D'),
	  TXT('e', 'n', 't', 'i'), { 0 } },
	{ 1, 0, 0, SIGNATURE, 8 << 8 /* CLFLUSH line */, 0, 0, { 0 } },
	{ 2, 0, 0, 0, 0, 0, 0, { 0 } },
	{ 3, 0, 0, 0, 0, 0, 0, { 0 } },
	{ 4, 0, IDX, 0, 0, 0, 0, { 0 } },
	{ 5, 0, 0, 0, 0, 0, 0, { 0 } },
	{ 6, 0, 0, 0, 0, 0, 0, { 0 } },
	{ 7, 0, IDX, 1 /* highest sub-leaf */, 0, 0, 0, { 0 } },
	{ 7, 1, IDX, 0, 0, 0, 0, { 0 } },
	{ 8, 0, 0, 0, 0, 0, 0, { 0 } },
	{ 9, 0, 0, 0, 0, 0, 0, { 0 } },
	{ 0xa, 0, 0, 0, 0, 0, 0, { 0 } },
	{ 0xb, 0, IDX, 0, 0, 0, 0, { 0 } },
	{ 0xc, 0, 0, 0, 0, 0, 0, { 0 } },
	{ 0xd, 0, IDX, 0, 0, 0, 0, { 0 } },
	{ 0xd, 1, IDX, 0, 0, 0, 0, { 0 } },
	{ 0xd, 2, IDX, 0, 0, 0, 0, { 0 } },
	{ 0xd, 5, IDX, 0, 0, 0, 0, { 0 } },
	{ 0xd, 6, IDX, 0, 0, 0, 0, { 0 } },
	{ 0xd, 7, IDX, 0, 0, 0, 0, { 0 } },
	{ 0xd, 9, IDX, 0, 0, 0, 0, { 0 } },
	{ 0xe, 0, 0, 0, 0, 0, 0, { 0 } },
	{ 0xf, 0, IDX, 0, 0, 0, 0, { 0 } },
	{ 0x10, 0, IDX, 0, 0, 0, 0, { 0 } },
	{ 0x40000000, 0, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d, { 0 } },
	{ 0x40000001, 0, 0, 0, 0, 0, 0, { 0 } },
	{ 0x80000000, 0, 0, MAX_EXTENDED, TXT('A', 'u', 't', 'h'), TXT('c', 'A', 'M', 'D'),
	  TXT('e', 'n', 't', 'i'), { 0 } },
	{ 0x80000001, 0, 0, SIGNATURE, 0, 0, 0, { 0 } },
	{ 0x80000002, 0, 0, TXT('s', 't', 'a', 'n'), TXT('d', 'i', 'n', ' '),
	  TXT('v', 'i', 'r', 't'), TXT('u', 'a', 'l', ' '), { 0 } },
	{ 0x80000003, 0, 0, TXT('C', 'P', 'U', 0), 0, 0, 0, { 0 } },
	{ 0x80000004, 0, 0, 0, 0, 0, 0, { 0 } },
	/* Caches and TLBs: 32K+32K L1 8-way, 512K L2, 32M L3 (APM3 E.4.4, E.4.5). */
	{ 0x80000005, 0, 0, 0xff40ff40, 0xff40ff40, 0x20080140, 0x20080140, { 0 } },
	{ 0x80000006, 0, 0, 0x48002200, 0x68004200, 0x02006140, 0x01009140, { 0 } },
	{ 0x80000007, 0, 0, 0, 0, 0, 0, { 0 } },
	{ 0x80000008, 0, 0, 48 | 48 << 8, 0, 0, 0, { 0 } },
	{ 0x80000009, 0, 0, 0, 0, 0, 0, { 0 } },
	{ 0x8000000a, 0, 0, 1 /* revision */, 8 /* ASIDs */, 0, 0, { 0 } },
	{ 0x80000019, 0, 0, 0xf040f040, 0xf0400000, 0, 0, { 0 } },
	{ 0x8000001a, 0, 0, 6, 0, 0, 0, { 0 } },
	/* type, level; ways-1, line-1; sets-1 (APM3 E.4.15) */
	{ 0x8000001d, 0, IDX, 0x121, 7 << 22 | 63, 63, 0, { 0 } },
	{ 0x8000001d, 1, IDX, 0x122, 7 << 22 | 63, 63, 0, { 0 } },
	{ 0x8000001d, 2, IDX, 0x143, 7 << 22 | 63, 1023, 2, { 0 } },
	{ 0x8000001d, 3, IDX, 0x163, 15 << 22 | 63, 32767, 1, { 0 } },
	{ 0x8000001e, 0, 0, 0, 0, 0, 0, { 0 } },
	{ 0x80000021, 0, 0, 0, 0, 0, 0, { 0 } },
	{ 0x80000022, 0, 0, 0, 0, 0, 0, { 0 } },
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
	if (f->host == CPUID_U || f->host == CPUID_K)
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
		cpuid_host(f->leaf & 0x80000000u, 0, r);
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

/* Leaves that follow from others. */
static void derive(struct kvm_cpuid_entry2 *e)
{
	struct kvm_cpuid_entry2 *l1 = find(e, 1, 0), *ld = find(e, 0xd, 0);
	u64 xcr0 = xcr0_host_supported();

	/* Linear address width (APM3 E.4.7). */
	if (find(e, 7, 0)->ecx & BIT(16))
		find(e, 0x80000008, 0)->eax = 48 | 57 << 8;
	if (pmu_offered())
		find(e, 0x80000022, 0)->ebx = PMU_COUNTERS;
	/* APM3 E.4.2: Fn8000_0001 EDX repeats these bits of Fn0000_0001 EDX. */
	find(e, 0x80000001, 0)->edx |= l1->edx & 0x0183f3ff;
	if (!(l1->ecx & BIT(26))) {
		find(e, 0xd, 1)->eax = 0;
		return;
	}
	ld->eax = (u32)xcr0;
	ld->ebx = xstate_size(xcr0 & 3, false);
	ld->ecx = xstate_size(xcr0, false);
	for (u32 i = XSTATE_AVX_BIT; i <= XSTATE_LAST; i++)
		if (xcr0 >> i & 1) {
			find(e, 0xd, i)->eax = xstate_bytes(i);
			find(e, 0xd, i)->ebx = xstate_offset(i);
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

/* KVM_GET_EMULATED_CPUID: what is there although slow. */
int cpuid_emulated(struct kvm_cpuid_entry2 *e, u32 *n)
{
	static const struct kvm_cpuid_entry2 emulated[] = {
		{ 0, 0, 0, 7, 0, 0, 0, { 0 } },
		{ 1, 0, 0, 0, 0, BIT(22) /* MOVBE */, 0, { 0 } },
		{ 7, 0, IDX, 0, 0, BIT(22) /* RDPID */, 0, { 0 } },
	};

	if (*n < ARRAY_SIZE(emulated))
		return -E2BIG;
	for (u32 i = 0; i < ARRAY_SIZE(emulated); i++)
		e[i] = emulated[i];
	*n = ARRAY_SIZE(emulated);
	return 0;
}
