/* SPDX-License-Identifier: MIT */
/*
 * base/cpuid_bits.h - the one table of the bits of CPUID that anything here depends on.
 *
 * Row: name, leaf, sub-leaf, register, bit, host requirement. H: offered when the
 * host's CPUID has the same bit, because its instructions run on the host. V: the same, and
 * the host's XCR0 must have AVX. Z: likewise AVX-512. Y: protection
 * keys, where XCR0 may have them. N: ours alone, offered everywhere. O: the
 * same, when the environment asks for it (docs/engine.md). S: what a nested hypervisor gets by
 * option. P: of the performance counters, unless STANDIN_PMU says no. U: not offered, but works
 * where a VMM says so. D: not offered, follows the CPU's state. K: not offered; the checks of
 * VMRUN know what it allows.
 */
#ifndef BASE_CPUID_BITS_H
#define BASE_CPUID_BITS_H

#include "base/types.h"

enum cpuid_reg { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };
enum cpuid_host {
	CPUID_N, CPUID_H, CPUID_V, CPUID_Z, CPUID_Y, CPUID_O, CPUID_S, CPUID_P, CPUID_U, CPUID_D,
	CPUID_K
};

#define CPUID_FEATURES(X) \
	X(FPU,		1, 0, EDX, 0, N) \
	X(VME,		1, 0, EDX, 1, N) \
	X(DE,		1, 0, EDX, 2, N) \
	X(PSE,		1, 0, EDX, 3, N) \
	X(TSC,		1, 0, EDX, 4, N) \
	X(MSR,		1, 0, EDX, 5, N) \
	X(PAE,		1, 0, EDX, 6, N) \
	X(MCE,		1, 0, EDX, 7, N) \
	X(CX8,		1, 0, EDX, 8, H) \
	X(APIC,		1, 0, EDX, 9, N) \
	X(SEP,		1, 0, EDX, 11, N) \
	X(MTRR,		1, 0, EDX, 12, N) \
	X(PGE,		1, 0, EDX, 13, N) \
	X(MCA,		1, 0, EDX, 14, N) \
	X(CMOV,		1, 0, EDX, 15, H) \
	X(PAT,		1, 0, EDX, 16, N) \
	X(PSE36,	1, 0, EDX, 17, N) \
	X(CLFLUSH,	1, 0, EDX, 19, H) \
	X(MMX,		1, 0, EDX, 23, H) \
	X(FXSR,		1, 0, EDX, 24, H) \
	X(SSE,		1, 0, EDX, 25, H) \
	X(SSE2,		1, 0, EDX, 26, H) \
	X(SSE3,		1, 0, ECX, 0, H) \
	X(PCLMULQDQ,	1, 0, ECX, 1, H) \
	X(MONITOR,	1, 0, ECX, 3, U) \
	X(VMX,		1, 0, ECX, 5, K) \
	X(SSSE3,	1, 0, ECX, 9, H) \
	X(FMA,		1, 0, ECX, 12, V) \
	X(CX16,		1, 0, ECX, 13, H) \
	X(PCID,		1, 0, ECX, 17, N) \
	X(SSE4_1,	1, 0, ECX, 19, H) \
	X(SSE4_2,	1, 0, ECX, 20, H) \
	X(X2APIC,	1, 0, ECX, 21, N) \
	X(MOVBE,	1, 0, ECX, 22, H) \
	X(POPCNT,	1, 0, ECX, 23, H) \
	X(TSC_DEADLINE,	1, 0, ECX, 24, N) \
	X(AES,		1, 0, ECX, 25, H) \
	X(XSAVE,	1, 0, ECX, 26, H) \
	X(OSXSAVE,	1, 0, ECX, 27, D) \
	X(AVX,		1, 0, ECX, 28, V) \
	X(F16C,		1, 0, ECX, 29, V) \
	X(RDRAND,	1, 0, ECX, 30, H) \
	X(HYPERVISOR,	1, 0, ECX, 31, N) \
	X(ARAT,		6, 0, EAX, 2, N) \
	X(FSGSBASE,	7, 0, EBX, 0, N) \
	X(TSC_ADJUST,	7, 0, EBX, 1, N) \
	X(BMI1,		7, 0, EBX, 3, V) \
	X(AVX2,		7, 0, EBX, 5, V) \
	X(SMEP,		7, 0, EBX, 7, N) \
	X(BMI2,		7, 0, EBX, 8, V) \
	X(ERMS,		7, 0, EBX, 9, H) \
	X(INVPCID,	7, 0, EBX, 10, N) \
	X(AVX512F,	7, 0, EBX, 16, Z) \
	X(AVX512DQ,	7, 0, EBX, 17, Z) \
	X(RDSEED,	7, 0, EBX, 18, H) \
	X(ADX,		7, 0, EBX, 19, H) \
	X(SMAP,		7, 0, EBX, 20, N) \
	X(AVX512_IFMA,	7, 0, EBX, 21, Z) \
	X(CLFLUSHOPT,	7, 0, EBX, 23, H) \
	X(CLWB,		7, 0, EBX, 24, N) \
	X(AVX512CD,	7, 0, EBX, 28, Z) \
	X(SHA,		7, 0, EBX, 29, H) \
	X(AVX512BW,	7, 0, EBX, 30, Z) \
	X(AVX512VL,	7, 0, EBX, 31, Z) \
	X(AVX512_VBMI,	7, 0, ECX, 1, Z) \
	X(UMIP,		7, 0, ECX, 2, N) \
	X(PKU,		7, 0, ECX, 3, Y) \
	X(OSPKE,	7, 0, ECX, 4, D) \
	X(AVX512_VBMI2,	7, 0, ECX, 6, Z) \
	X(GFNI,		7, 0, ECX, 8, V) \
	X(VAES,		7, 0, ECX, 9, V) \
	X(VPCLMULQDQ,	7, 0, ECX, 10, V) \
	X(AVX512_VNNI,	7, 0, ECX, 11, Z) \
	X(AVX512_BITALG, 7, 0, ECX, 12, Z) \
	X(AVX512_VPOPCNTDQ, 7, 0, ECX, 14, Z) \
	X(LA57,		7, 0, ECX, 16, O) \
	X(RDPID,	7, 0, ECX, 22, N) \
	X(FSRM,		7, 0, EDX, 4, H) \
	X(ARCH_CAPABILITIES, 7, 0, EDX, 29, N) \
	X(AVX512_BF16,	7, 1, EAX, 5, Z) \
	X(XSAVEOPT,	0xd, 1, EAX, 0, H) \
	X(XSAVEC,	0xd, 1, EAX, 1, H) \
	X(XGETBV1,	0xd, 1, EAX, 2, N) \
	X(XSAVES,	0xd, 1, EAX, 3, N) \
	X(LAHF_LM,	0x80000001, 0, ECX, 0, N) \
	X(CMP_LEGACY,	0x80000001, 0, ECX, 1, N) \
	X(SVM,		0x80000001, 0, ECX, 2, N) \
	X(CR8_LEGACY,	0x80000001, 0, ECX, 4, N) \
	X(LZCNT,	0x80000001, 0, ECX, 5, H) \
	X(SSE4A,	0x80000001, 0, ECX, 6, H) \
	X(MISALIGNSSE,	0x80000001, 0, ECX, 7, H) \
	X(PREFETCHW,	0x80000001, 0, ECX, 8, H) \
	X(OSVW,		0x80000001, 0, ECX, 9, N) \
	X(TOPOEXT,	0x80000001, 0, ECX, 22, N) \
	X(PERFCTR_CORE,	0x80000001, 0, ECX, 23, P) \
	X(SYSCALL,	0x80000001, 0, EDX, 11, N) \
	X(NX,		0x80000001, 0, EDX, 20, N) \
	X(MMXEXT,	0x80000001, 0, EDX, 22, H) \
	X(FXSR_OPT,	0x80000001, 0, EDX, 25, N) \
	X(GBPAGES,	0x80000001, 0, EDX, 26, N) \
	X(RDTSCP,	0x80000001, 0, EDX, 27, N) \
	X(LM,		0x80000001, 0, EDX, 29, N) \
	X(INVARIANT_TSC, 0x80000007, 0, EDX, 8, N) \
	X(CLZERO,	0x80000008, 0, EBX, 0, N) \
	X(XSAVEERPTR,	0x80000008, 0, EBX, 2, H) \
	/* A guest's mitigations protect nothing here: its RETs and indirect jumps are executed as \
	 * other instructions than it wrote. They only cost, so it is told that it needs none: by \
	 * the bits below, and for a VMM that does not know leaf 8000_0021 by MSR_ARCH_CAP. */ \
	X(WBNOINVD,	0x80000008, 0, EBX, 9, N) \
	X(IBPB,		0x80000008, 0, EBX, 12, N) \
	X(IBRS,		0x80000008, 0, EBX, 14, N) \
	X(STIBP,	0x80000008, 0, EBX, 15, N) \
	X(STIBP_ALWAYS,	0x80000008, 0, EBX, 17, N) \
	X(AMD_SSBD,	0x80000008, 0, EBX, 24, N) \
	X(VIRT_SSBD,	0x80000008, 0, EBX, 25, U) \
	X(SSB_NO,	0x80000008, 0, EBX, 26, N) \
	X(AMD_PSFD,	0x80000008, 0, EBX, 28, N) \
	X(BTC_NO,	0x80000008, 0, EBX, 29, N) \
	/* What of SVM a nested hypervisor gets (docs/kvm-svm.md 4.1). */ \
	X(SVM_NPT,	0x8000000a, 0, EDX, 0, N) \
	X(SVM_LBRV,	0x8000000a, 0, EDX, 1, N) \
	X(SVM_NRIPS,	0x8000000a, 0, EDX, 3, N) \
	X(SVM_TSC_RATE,	0x8000000a, 0, EDX, 4, N) \
	X(SVM_CLEAN,	0x8000000a, 0, EDX, 5, N) \
	X(SVM_FLUSHBYASID, 0x8000000a, 0, EDX, 6, N) \
	X(SVM_PAUSEFILTER, 0x8000000a, 0, EDX, 10, N) \
	X(SVM_PFTHRESHOLD, 0x8000000a, 0, EDX, 12, N) \
	X(SVM_VLS,	0x8000000a, 0, EDX, 15, N) \
	X(SVM_VGIF,	0x8000000a, 0, EDX, 16, N) \
	X(SVM_VNMI,	0x8000000a, 0, EDX, 25, N) \
	X(SVM_ADDR_CHK,	0x8000000a, 0, EDX, 28, N) \
	/* ... and what KVM does not give one, by option. */ \
	X(SVM_DECODE,	0x8000000a, 0, EDX, 7, S) \
	X(SVM_AVIC,	0x8000000a, 0, EDX, 13, S) \
	X(SVM_X2AVIC,	0x8000000a, 0, EDX, 18, S) \
	X(SVM_X2AVIC_EXT, 0x8000000a, 0, ECX, 6, S) \
	X(SVM_SVML,	0x8000000a, 0, EDX, 2, K) \
	X(SVM_GMET,	0x8000000a, 0, EDX, 17, K) \
	X(SHSTK,	7, 0, ECX, 7, K) \
	X(SEV_ES,	0x8000001f, 0, EAX, 3, K) \
	X(SKINIT,	0x80000001, 0, ECX, 12, K) \
	X(RDPRU,	0x80000008, 0, EBX, 4, K) \
	X(NO_NESTED_DATA_BP, 0x80000021, 0, EAX, 0, N) \
	X(WRMSR_XX_BASE_NS, 0x80000021, 0, EAX, 1, N) \
	X(LFENCE_SERIAL, 0x80000021, 0, EAX, 2, N) \
	X(NULL_SEL_CLR_BASE, 0x80000021, 0, EAX, 6, N) \
	X(AUTO_IBRS,	0x80000021, 0, EAX, 8, N) \
	/* Of code: NOPs where the host does not know them (APM3, PREFETCHIT0). */ \
	X(PREFETCHI,	0x80000021, 0, EAX, 20, N) \
	X(SBPB,		0x80000021, 0, EAX, 27, N) \
	X(IBPB_BRTYPE,	0x80000021, 0, EAX, 28, N) \
	X(SRSO_NO,	0x80000021, 0, EAX, 29, N) \
	X(SRSO_UK_NO,	0x80000021, 0, EAX, 30, N) \
	X(TSA_SQ_NO,	0x80000021, 0, ECX, 1, N) \
	X(TSA_L1_NO,	0x80000021, 0, ECX, 2, N) \
	X(PERFMON_V2,	0x80000022, 0, EAX, 0, P) \
	X(KVM_CLOCKSOURCE,	0x40000001, 0, EAX, 0, N) \
	X(KVM_NOP_IO_DELAY,	0x40000001, 0, EAX, 1, N) \
	X(KVM_CLOCKSOURCE2,	0x40000001, 0, EAX, 3, N) \
	X(KVM_ASYNC_PF,		0x40000001, 0, EAX, 4, N) \
	X(KVM_STEAL_TIME,	0x40000001, 0, EAX, 5, N) \
	X(KVM_PV_EOI,		0x40000001, 0, EAX, 6, N) \
	X(KVM_PV_UNHALT,	0x40000001, 0, EAX, 7, N) \
	X(KVM_PV_TLB_FLUSH,	0x40000001, 0, EAX, 9, N) \
	X(KVM_ASYNC_PF_VMEXIT,	0x40000001, 0, EAX, 10, N) \
	X(KVM_PV_SEND_IPI,	0x40000001, 0, EAX, 11, N) \
	X(KVM_POLL_CONTROL,	0x40000001, 0, EAX, 12, N) \
	X(KVM_PV_SCHED_YIELD,	0x40000001, 0, EAX, 13, N) \
	X(KVM_ASYNC_PF_INT,	0x40000001, 0, EAX, 14, N) \
	X(KVM_CLOCK_STABLE,	0x40000001, 0, EAX, 24, N)

enum cpuid_feature {
#define X(name, leaf, sub, reg, bit, host) CPUID_F_##name,
	CPUID_FEATURES(X)
#undef X
	CPUID_F_COUNT
};

/* In its register. */
enum cpuid_bit {
#define X(name, leaf, sub, reg, bit, host) CPUID_BIT_##name = bit,
	CPUID_FEATURES(X)
#undef X
};
#define CPUID_MASK(name) BIT(CPUID_BIT_##name)

#endif
