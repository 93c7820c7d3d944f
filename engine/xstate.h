/* SPDX-License-Identifier: MIT */
/*
 * engine/xstate.h - the components of XSAVE areas that guests may have, and where they lie.
 *
 * PKRU is never in the host's registers: cpu.pkru has it, and cpu.xsave only while an instruction
 * stores or loads an area. cpu.xsave is in the host's standard form, for the host saves and loads
 * it. Sizes are architectural (SDM1 13.4, APM2 11.5.2); places beyond AVX's are what the host's
 * CPUID says, and AMD's and Intel's differ. Guests are told the same places.
 */
#ifndef ENGINE_XSTATE_H
#define ENGINE_XSTATE_H

#include "base/types.h"

/* X(name, bit, bytes); of those from AVX on an area beyond the header */
#define XSTATE_COMPONENTS(X) \
	X(X87, 0, 0) X(SSE, 1, 0) X(AVX, 2, 256) X(OPMASK, 5, 64) X(ZMM_HI256, 6, 512) \
	X(HI16_ZMM, 7, 1024) X(PKRU, 9, 8)

enum xstate_bit {
#define X(name, bit, bytes) XSTATE_##name##_BIT = (bit), XSTATE_##name = 1 << (bit),
	XSTATE_COMPONENTS(X)
#undef X
	XSTATE_AVX512 = XSTATE_OPMASK | XSTATE_ZMM_HI256 | XSTATE_HI16_ZMM,
	XSTATE_ALL = XSTATE_X87 | XSTATE_SSE | XSTATE_AVX | XSTATE_AVX512 | XSTATE_PKRU,
	XSTATE_LAST = XSTATE_PKRU_BIT,
};

/* Where what is in an area: the legacy part, FXSAVE's, and the header (APM2 11.5.2). */
enum xsave_at {
	XSAVE_FCW = 0, XSAVE_FSW = 2, XSAVE_FTW = 4, XSAVE_IP = 8 /* that of data is behind it */,
	XSAVE_MXCSR = 24, XSAVE_MXCSR_MASK = 28, XSAVE_ST = 32, XSAVE_XMM = 160,
	XSAVE_SOFTWARE = 416 /* not state */,
	XSAVE_BV = 512, XSAVE_XCOMP_BV = 520, XSAVE_RESERVED = 528,
	XSTATE_LEGACY_BYTES = 512, XSTATE_EXTENDED = 576 /* where the header ends */,
};
#define FCW_INIT 0x37fu
#define MXCSR_INIT 0x1f80u

/* XRSTOR loads the x87's pointers, 0 where no exception waits. Only after xcr0_host_supported(). */
bool xstate_pointers_restored(void);
/* Bytes of component `bit` beyond the header; 0: it has none there. */
u32 xstate_bytes(u32 bit);
/* Where it is in the standard form. Only after xcr0_host_supported(), which making a vCPU calls. */
u32 xstate_offset(u32 bit);
/* Where it is in the compacted form of an area with these components (SDM1 13.4.3). */
u32 xstate_compact_offset(u64 components, u32 bit);
/* Bytes of an area with these components. */
u32 xstate_size(u64 components, bool compact);
/* The bits of XCR0 that guests may have: x87 and SSE, and of AVX and AVX-512 what the host has. Any
 * thread. */
u64 xcr0_host_supported(void);
/* Bits of MXCSR that may be set: the host's, since it will load the value. Any thread. */
u32 xstate_mxcsr_mask(void);
/* May XCR0 be v? (APM2 11.5.2: x87 always, AVX wants SSE; SDM1 13.3: AVX-512's three go together,
 * with AVX) */
bool xcr0_valid(u64 v, u64 supported);

#endif
