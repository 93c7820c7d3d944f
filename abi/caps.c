/* SPDX-License-Identifier: MIT */
/* abi/caps.c - KVM_CHECK_EXTENSION from the table in caps.h. */
#include "abi/caps.h"

#include <unistd.h>

#include "abi/abi.h"
#include "base/cpuid_bits.h"
#include "base/cpuid_leaves.h"
#include "base/host_cpuid.h"
#include "vm/vm.h"

static int cap_nr_vcpus(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > VM_MAX_VCPUS ? VM_MAX_VCPUS : (int)n;
}

/*
 * As KVM: where the host has MWAIT, and a timer that goes on meanwhile. A guest's ends at once, as
 * every MWAIT may (APM3 MWAIT). A processor that a guest sleeps on is not free for others either.
 */
static int cap_mwait(void)
{
	u32 basic[4], power[4];

	cpuid_host(CPUID_L_BASIC, 0, basic);
	cpuid_host(CPUID_L_THERMAL, 0, power);
	return basic[CPUID_ECX] & CPUID_MASK(MONITOR) && power[CPUID_EAX] & CPUID_MASK(ARAT)
		       ? KVM_X86_DISABLE_EXITS_MWAIT
		       : 0;
}

int cap_check(struct vm *vm, unsigned long nr)
{
	switch (nr) {
#define X(name, number, value) \
	case number: \
		return value;
		KVM_CAPS(X)
#undef X
	}
	return 0;
}

const char *cap_name(unsigned long nr)
{
	switch (nr) {
#define X(name, number, value) \
	case number: \
		return #name;
		KVM_CAPS(X)
#undef X
	}
	return NULL;
}
