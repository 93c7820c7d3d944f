/* SPDX-License-Identifier: MIT */
/*
 * base/exceptions.h - the one table of x86 exceptions (APM2 8.2).
 *
 * Row: name, vector, does it push an error code, class for the double-fault rule
 * (APM2 8.2.9), the CPUID feature without which its vector is reserved, what it is.
 *
 * enum cpu_vector, delivery, the merge rule, KVM_SET_VCPU_EVENTS, VMRUN's EVENTINJ check and
 * every name in output derive from it: an exception that is not here does not exist, and
 * one that is added has to say what it needs. Vector 2 is an interrupt (NMI), vector 9 is
 * reserved on every CPU with SVM; neither is an exception.
 */
#ifndef BASE_EXCEPTIONS_H
#define BASE_EXCEPTIONS_H

#include "base/types.h"

#define EXC_HAS_ERROR true
#define EXC_NO_ERROR false

#define CPU_EXCEPTIONS(X) \
	X(DE, 0,  NO_ERROR,  CONTRIBUTORY, ALWAYS, "divide error") \
	X(DB, 1,  NO_ERROR,  BENIGN,       ALWAYS, "debug") \
	X(BP, 3,  NO_ERROR,  BENIGN,       ALWAYS, "breakpoint") \
	X(OF, 4,  NO_ERROR,  BENIGN,       ALWAYS, "overflow") \
	X(BR, 5,  NO_ERROR,  BENIGN,       ALWAYS, "bound range") \
	X(UD, 6,  NO_ERROR,  BENIGN,       ALWAYS, "invalid opcode") \
	X(NM, 7,  NO_ERROR,  BENIGN,       ALWAYS, "device not available") \
	X(DF, 8,  HAS_ERROR, DOUBLE,       ALWAYS, "double fault") \
	X(TS, 10, HAS_ERROR, CONTRIBUTORY, ALWAYS, "invalid TSS") \
	X(NP, 11, HAS_ERROR, CONTRIBUTORY, ALWAYS, "segment not present") \
	X(SS, 12, HAS_ERROR, CONTRIBUTORY, ALWAYS, "stack") \
	X(GP, 13, HAS_ERROR, CONTRIBUTORY, ALWAYS, "general protection") \
	X(PF, 14, HAS_ERROR, PAGE,         ALWAYS, "page fault") \
	X(MF, 16, NO_ERROR,  BENIGN,       ALWAYS, "x87 floating point") \
	X(AC, 17, HAS_ERROR, BENIGN,       ALWAYS, "alignment check") \
	X(MC, 18, NO_ERROR,  BENIGN,       ALWAYS, "machine check") \
	X(XF, 19, NO_ERROR,  BENIGN,       ALWAYS, "SIMD floating point") \
	X(CP, 21, HAS_ERROR, CONTRIBUTORY, SHSTK,  "control protection") \
	X(HV, 28, NO_ERROR,  BENIGN,       ALWAYS, "hypervisor injection") \
	X(VC, 29, HAS_ERROR, BENIGN,       SEV_ES, "VMM communication") \
	X(SX, 30, HAS_ERROR, BENIGN,       ALWAYS, "security")

enum exc_class { EXC_BENIGN, EXC_CONTRIBUTORY, EXC_PAGE, EXC_DOUBLE };
enum exc_need { EXC_ALWAYS, EXC_SHSTK, EXC_SEV_ES, EXC_NEEDS };

enum cpu_vector {
#define X(name, vector, error, class, need, what) EXC_##name = vector,
	CPU_EXCEPTIONS(X)
#undef X
	EXC_NMI = 2,	/* an interrupt with a vector of its own */
	/* Not a vector: L2's access failed in L1's nested page tables (APM2 15.25.6). */
	EXC_NPF = 0x40,
	/* #VMEXIT instead of an access to an APIC register: `error` is the exit code, `info` and
	 * `payload` are EXITINFO1 and 2. */
	EXC_AVIC = 0x41,
};

/* Bit n: vector n ... */
enum {
#define X(name, vector, error, class, need, what) | BIT(vector)
	EXC_MASK = 0 CPU_EXCEPTIONS(X),			/* ... is some CPU's exception */
#undef X
#define X(name, vector, error, class, need, what) | (EXC_##error ? BIT(vector) : 0)
	EXC_ERROR_MASK = 0 CPU_EXCEPTIONS(X),		/* ... pushes an error code */
#undef X
#define X(name, vector, error, class, need, what) | \
	(EXC_##class == EXC_CONTRIBUTORY ? BIT(vector) : 0)
	EXC_CONTRIBUTORY_MASK = 0 CPU_EXCEPTIONS(X),	/* ... doubles with another such */
#undef X
};

/* Vectors that feature `n` makes exceptions of. */
static inline u32 exc_mask_of(enum exc_need n)
{
	u32 m = 0;

#define X(name, vector, error, class, need, what) m |= EXC_##need == n ? BIT(vector) : 0u;
	CPU_EXCEPTIONS(X)
#undef X
	return m;
}

static inline bool exc_has_error(u8 vector)
{
	return vector < 32 && (EXC_ERROR_MASK & BIT(vector));
}

static inline bool exc_contributory(u8 vector)
{
	return vector < 32 && (EXC_CONTRIBUTORY_MASK & BIT(vector));
}

/* "PF" for 14; NULL when no CPU has such an exception. */
static inline const char *exc_name(u8 vector)
{
	switch (vector) {
#define X(name, vector, error, class, need, what) case vector: return #name;
		CPU_EXCEPTIONS(X)
#undef X
	}
	return NULL;
}

#define X(name, vector, error, class, need, what) + 1
enum { EXC_ROWS = 0 CPU_EXCEPTIONS(X) };
#undef X
#define X(name, vector, error, class, need, what) \
	_Static_assert((vector) < 32, #name ": exceptions have vectors below 32"); \
	_Static_assert((unsigned)EXC_##need < EXC_NEEDS, #name ": unknown feature");
CPU_EXCEPTIONS(X)
#undef X
_Static_assert(__builtin_popcount(EXC_MASK) == EXC_ROWS, "two exceptions share a vector");
_Static_assert(!(EXC_MASK & BIT(EXC_NMI)), "NMI is not an exception (APM2 15.20)");
_Static_assert(!(EXC_MASK & BIT(9)), "vector 9 is reserved (APM2 8.2.10)");

#endif
