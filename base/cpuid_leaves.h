/* SPDX-License-Identifier: MIT */
/*
 * base/cpuid_leaves.h - the leaves of CPUID, by name: the CPU we are, but for its feature bits
 * (base/cpuid_bits.h), and the numbers in it that anything here reads.
 *
 * Row of a leaf: name, leaf, sub-leaf, does the sub-leaf count, EAX, EBX, ECX, EDX. An AMD CPU of
 * family 19h, the same on every host. Leaves of which a VMM may ask are there although empty.
 */
#ifndef BASE_CPUID_LEAVES_H
#define BASE_CPUID_LEAVES_H

#include "base/cpuid_bits.h"

#define CPUID_TEXT(a, b, c, d) ((u32)(a) | (u32)(b) << 8 | (u32)(c) << 16 | (u32)(d) << 24)
/* As EBX, ECX, EDX have them. */
#define CPUID_AMD CPUID_TEXT('A', 'u', 't', 'h'), CPUID_TEXT('c', 'A', 'M', 'D'), \
		  CPUID_TEXT('e', 'n', 't', 'i')
#define CPUID_HYGON CPUID_TEXT('H', 'y', 'g', 'o'), CPUID_TEXT('u', 'i', 'n', 'e'), \
		    CPUID_TEXT('n', 'G', 'e', 'n')
#define CPUID_KVM CPUID_TEXT('K', 'V', 'M', 'K'), CPUID_TEXT('V', 'M', 'K', 'V'), \
		  CPUID_TEXT('M', 0, 0, 0)
/* VMMs know KVM's Hyper-V by this vendor and show the guest Microsoft's. */
#define CPUID_KVM_HV CPUID_TEXT('L', 'i', 'n', 'u'), CPUID_TEXT('x', ' ', 'K', 'V'), \
		     CPUID_TEXT('M', ' ', 'H', 'v')

#define CPUID_HV_SIGNATURE CPUID_TEXT('H', 'v', '#', '1')

#define CPUID_SIGNATURE 0x00a00f11u	/* family 19h, model 1, stepping 1 */

#define CPUID_LEAVES(X) \
	X(VENDOR,	0, 0, N, 0x10 /* the last of these */, CPUID_AMD) \
	X(BASIC,	1, 0, N, CPUID_SIGNATURE, 8 << 8 /* CLFLUSH line */, 0, 0) \
	X(TLB_BYTES,	2, 0, N, 0, 0, 0, 0) \
	X(SERIAL,	3, 0, N, 0, 0, 0, 0) \
	X(CACHES_INTEL,	4, 0, Y, 0, 0, 0, 0) \
	X(MWAIT,	5, 0, N, 0, 0, 0, 0) \
	X(THERMAL,	6, 0, N, 0, 0, 0, 0) \
	X(STRUCTURED,	7, 0, Y, 1 /* highest sub-leaf */, 0, 0, 0) \
	X(STRUCTURED_1,	7, 1, Y, 0, 0, 0, 0) \
	X(8,		8, 0, N, 0, 0, 0, 0) \
	X(DCA,		9, 0, N, 0, 0, 0, 0) \
	X(PERFMON_INTEL, 0xa, 0, N, 0, 0, 0, 0) \
	X(TOPOLOGY,	0xb, 0, Y, 0, 0, 0, 0) \
	X(C,		0xc, 0, N, 0, 0, 0, 0) \
	X(XSAVE,	0xd, 0, Y, 0, 0, 0, 0) \
	X(XSAVE_1,	0xd, 1, Y, 0, 0, 0, 0) \
	X(XSAVE_AVX,	0xd, 2, Y, 0, 0, 0, 0) \
	X(XSAVE_OPMASK,	0xd, 5, Y, 0, 0, 0, 0) \
	X(XSAVE_ZMM,	0xd, 6, Y, 0, 0, 0, 0) \
	X(XSAVE_HI_ZMM,	0xd, 7, Y, 0, 0, 0, 0) \
	X(XSAVE_PKRU,	0xd, 9, Y, 0, 0, 0, 0) \
	X(E,		0xe, 0, N, 0, 0, 0, 0) \
	X(QOS_MONITOR,	0xf, 0, Y, 0, 0, 0, 0) \
	X(QOS,		0x10, 0, Y, 0, 0, 0, 0) \
	X(KVM,		0x40000000, 0, N, 0x40000001, CPUID_KVM) \
	X(KVM_FEATURES,	0x40000001, 0, N, 0, 0, 0, 0) \
	X(EXT,		0x80000000, 0, N, 0x80000022 /* the last of these */, CPUID_AMD) \
	X(EXT_BASIC,	0x80000001, 0, N, CPUID_SIGNATURE, 0, 0, 0) \
	X(NAME_1,	0x80000002, 0, N, CPUID_TEXT('s', 't', 'a', 'n'), \
	  CPUID_TEXT('d', 'i', 'n', ' '), CPUID_TEXT('v', 'i', 'r', 't'), \
	  CPUID_TEXT('u', 'a', 'l', ' ')) \
	X(NAME_2,	0x80000003, 0, N, CPUID_TEXT('C', 'P', 'U', 0), 0, 0, 0) \
	X(NAME_3,	0x80000004, 0, N, 0, 0, 0, 0) \
	/* Caches and TLBs: 32K+32K L1 8-way, 512K L2, 32M L3 (APM3 E.4.4, E.4.5). */ \
	X(CACHES_L1,	0x80000005, 0, N, 0xff40ff40, 0xff40ff40, 0x20080140, 0x20080140) \
	X(CACHES_L2,	0x80000006, 0, N, 0x48002200, 0x68004200, 0x02006140, 0x01009140) \
	X(POWER,	0x80000007, 0, N, 0, 0, 0, 0) \
	X(SIZES,	0x80000008, 0, N, 48 | 48 << 8, 0, 0, 0) \
	X(80000009,	0x80000009, 0, N, 0, 0, 0, 0) \
	X(SVM,		0x8000000a, 0, N, 1 /* revision */, 8 /* ASIDs */, 0, 0) \
	X(TLB_1G,	0x80000019, 0, N, 0xf040f040, 0xf0400000, 0, 0) \
	X(TUNING,	0x8000001a, 0, N, 6, 0, 0, 0) \
	/* type, level; ways-1, line-1; sets-1 (APM3 E.4.15) */ \
	X(CACHE_L1D,	0x8000001d, 0, Y, 0x121, 7 << 22 | 63, 63, 0) \
	X(CACHE_L1I,	0x8000001d, 1, Y, 0x122, 7 << 22 | 63, 63, 0) \
	X(CACHE_L2,	0x8000001d, 2, Y, 0x143, 7 << 22 | 63, 1023, 2) \
	X(CACHE_L3,	0x8000001d, 3, Y, 0x163, 15 << 22 | 63, 32767, 1) \
	X(PROCESSOR,	0x8000001e, 0, N, 0, 0, 0, 0) \
	X(EXT_2,	0x80000021, 0, N, 0, 0, 0, 0) \
	X(PERFMON,	0x80000022, 0, N, 0, 0, 0, 0)

/* KVM_GET_EMULATED_CPUID: what is there although slow. */
#define CPUID_EMULATED_LEAVES(X) \
	X(VENDOR,	0, 0, N, 7, 0, 0, 0) \
	X(BASIC,	1, 0, N, 0, 0, CPUID_MASK(MOVBE), 0) \
	X(STRUCTURED,	7, 0, Y, 0, 0, CPUID_MASK(RDPID), 0)

/* KVM_GET_SUPPORTED_HV_CPUID, but for the bits of vcpu/hyperv.h (TLFS 2.4). */
#define CPUID_HV_LEAVES(X) \
	X(HV,		0x40000000, 0, N, 0x40000082, CPUID_KVM_HV) \
	X(HV_INTERFACE,	0x40000001, 0, N, CPUID_HV_SIGNATURE, 0, 0, 0) \
	X(HV_VERSION,	0x40000002, 0, N, 0x3839, 0xa0000, 0, 0) /* Server 2016 */ \
	X(HV_FEATURES,	0x40000003, 0, N, 0, 0, 0, 0) \
	X(HV_HINTS,	0x40000004, 0, N, 0, 0xfff /* spins before a call */, 0, 0) \
	X(HV_LIMITS,	0x40000005, 0, N, 0, 64 /* processors of the host */, 0, 0) \
	X(HV_DEBUG,	0x40000080, 0, N, 0, CPUID_KVM_HV) \
	X(HV_DEBUG_INTERFACE, 0x40000081, 0, N, CPUID_TEXT('V', 'S', '#', '1'), 0, 0, 0) \
	X(HV_DEBUG_FEATURES, 0x40000082, 0, N, CPUID_HV_DEBUGGING, 0, 0, 0) \
	X(HV_NESTED,	0x4000000a, 0, N, 0, 0, 0, 0)

#define CPUID_HV_DEBUGGING BIT(1)

/* Leaves that only a VMM gives, the host has, or that begin a class. */
#define CPUID_OTHER_LEAVES(X) \
	X(TSC,		0x15, 0, N, 0, 0, 0, 0) \
	X(TOPOLOGY_2,	0x1f, 0, Y, 0, 0, 0, 0) \
	X(HYPERVISORS_END, 0x40010000, 0, N, 0, 0, 0, 0) \
	X(CENTAUR,	0xc0000000, 0, N, 0, 0, 0, 0)

enum cpuid_leaf {
#define X(name, leaf, ...) CPUID_L_##name = leaf,
	CPUID_LEAVES(X)
	CPUID_HV_LEAVES(X)
	CPUID_OTHER_LEAVES(X)
#undef X
};
/* Hypervisors' leaves stand in blocks of this, each with its signature in the first. */
#define CPUID_HV_BLOCK 0x100u

/* The class of a leaf is named by its first one: 0, EXT and others. */
static inline u32 cpuid_class(u32 leaf) { return leaf & CPUID_L_EXT; }

/* Numbers: name, leaf, sub-leaf, register, lowest bit, bits. */
#define CPUID_NUMBERS(X) \
	X(STEPPING,	BASIC, 0, EAX, 0, 4) \
	X(MODEL,	BASIC, 0, EAX, 4, 4) \
	X(FAMILY,	BASIC, 0, EAX, 8, 4) \
	X(EXT_MODEL,	BASIC, 0, EAX, 16, 4) \
	X(EXT_FAMILY,	BASIC, 0, EAX, 20, 8) \
	X(XCR0_LOW,	XSAVE, 0, EAX, 0, 32) \
	X(XCR0_HIGH,	XSAVE, 0, EDX, 0, 32) \
	X(KVM_FEATURES,	KVM_FEATURES, 0, EAX, 0, 32) \
	X(PHYS_BITS,	SIZES, 0, EAX, 0, 8) \
	X(LINEAR_BITS,	SIZES, 0, EAX, 8, 8) \
	X(PMCS,		PERFMON, 0, EBX, 0, 4)

#endif
