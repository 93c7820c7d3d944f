/* SPDX-License-Identifier: MIT */
/* vcpu/cpuid.h - the guest's CPUID. The bits are rows of base/cpuid_bits.h. */
#ifndef VCPU_CPUID_H
#define VCPU_CPUID_H

#include "base/cpuid_bits.h"
#include "vcpu/vcpu.h"

struct cpuid_feature_row {
	u32 leaf;
	u8 sub, reg, bit, host;
};
extern const struct cpuid_feature_row cpuid_feature_rows[CPUID_F_COUNT];

/* Does the guest's CPUID have it? */
bool cpuid_has(const struct vcpu *v, enum cpuid_feature f);

#endif
