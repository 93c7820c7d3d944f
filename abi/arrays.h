/* SPDX-License-Identifier: MIT */
/* abi/arrays.h - ioctls whose argument is a header and an array. */
#ifndef ABI_ARRAYS_H
#define ABI_ARRAYS_H

#include <linux/kvm.h>

#include "base/types.h"

#define CPUID_ENTRIES_MAX 256
#define MSR_IO_MAX 256

typedef int msr_fn(void *o, u32 index, u64 *val);

/* KVM_GET_MSRS, KVM_SET_MSRS: the number of entries done before the first failure. */
long msrs_io(void *user, msr_fn *fn, void *o, bool writeback);

/* A struct kvm_cpuid2: 0 or -EFAULT. */
long cpuid_put(void *user, struct kvm_cpuid2 *hdr, const struct kvm_cpuid_entry2 *e, u32 n);

#endif
