/* SPDX-License-Identifier: MIT */
/*
 * vcpu/cpuid.h - the guest's CPUID. The bits are rows of base/cpuid_bits.h, leaves and numbers of
 * base/cpuid_leaves.h.
 */
#ifndef VCPU_CPUID_H
#define VCPU_CPUID_H

#include "base/cpuid_leaves.h"
#include "vcpu/vcpu.h"

struct cpuid_feature_row {
	u32 leaf;
	u8 sub, reg, bit, host;
};
extern const struct cpuid_feature_row cpuid_feature_rows[CPUID_F_COUNT];

enum cpuid_number {
#define X(name, ...) CPUID_V_##name,
	CPUID_NUMBERS(X)
#undef X
	CPUID_V_COUNT
};
struct cpuid_number_row {
	u32 leaf, mask;
	u8 sub, reg, shift;
};
extern const struct cpuid_number_row cpuid_number_rows[CPUID_V_COUNT];

/* A row of base/cpuid_leaves.h as KVM's ABI has it. */
#define CPUID_ENTRY(name, leaf, sub, counts, ...) \
	{ leaf, sub, CPUID_SUB_##counts, __VA_ARGS__, { 0 } },
enum { CPUID_SUB_N, CPUID_SUB_Y = KVM_CPUID_FLAG_SIGNIFCANT_INDEX };

/* Does the guest's CPUID have it? */
bool cpuid_has(const struct vcpu *v, enum cpuid_feature f);
/* 0: it has no such leaf, too. */
u32 cpuid_number(const struct vcpu *v, enum cpuid_number n);

#endif
