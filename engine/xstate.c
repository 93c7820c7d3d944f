/* SPDX-License-Identifier: MIT */
/* engine/xstate.c - where the components of XSAVE areas lie. */
#include "engine/xstate.h"

#include <pthread.h>

#include "base/host_cpuid.h"
#include "base/options.h"
#include "engine/cpu.h"

static const u16 bytes[XSTATE_LAST + 1] = {
#define X(name, bit, n) [bit] = (n),
	XSTATE_COMPONENTS(X)
#undef X
};

/* Written once, before anybody who reads them exists (pthread_once). */
static u16 offset[XSTATE_LAST + 1];
static _Atomic u64 supported;	/* 0: not yet; released when offset[] is there */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* AVX-512: with XGETBV1, which tells whether its 1.6 KiB are in use (engine/fpu.c). */
static bool avx512_fits(void)
{
	u32 r[4];

	cpuid_host(CPUID_L_XSAVE, 1, r);
	if (!(r[CPUID_EAX] & CPUID_MASK(XGETBV1)))
		return false;
	for (u32 i = XSTATE_OPMASK_BIT; i <= XSTATE_HI16_ZMM_BIT; i++) {
		cpuid_host(CPUID_L_XSAVE, i, r);
		if (r[0] != bytes[i] || r[1] < XSTATE_EXTENDED || r[1] + r[0] > CPU_XSAVE_SIZE)
			return false;
		offset[i] = (u16)r[1];
	}
	return true;
}

/* Protection keys: nothing of them is the host's but the place in the area; where it has none they
 * are behind the rest, and offered on demand. */
static bool pku_offered(u64 others)
{
	const int wanted = option_word(OPT_PKU);	/* the first word is 1 */
	u32 r[4];
	bool host;

	cpuid_host(CPUID_L_STRUCTURED, 0, r);
	host = r[CPUID_ECX] & CPUID_MASK(PKU);
	cpuid_host(CPUID_L_XSAVE, XSTATE_PKRU_BIT, r);
	host &= r[0] == bytes[XSTATE_PKRU_BIT] && r[1] >= xstate_size(others, false) &&
		r[1] + r[0] <= CPU_XSAVE_SIZE;
	if (wanted == 1 || (wanted && !host))
		return false;
	offset[XSTATE_PKRU_BIT] = (u16)(host ? r[1] : xstate_size(others, false));
	return true;
}

static bool pointers_restored;

bool xstate_pointers_restored(void)
{
	return pointers_restored;
}

static void look(void)
{
	u32 r[4], lo = 0, hi;
	u64 v;

	cpuid_host(CPUID_L_SIZES, 0, r);
	pointers_restored = r[CPUID_EBX] & CPUID_MASK(XSAVEERPTR);
	cpuid_host(CPUID_L_BASIC, 0, r);
	if (r[CPUID_ECX] & CPUID_MASK(OSXSAVE))
		__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	v = XSTATE_X87 | XSTATE_SSE | (lo & XSTATE_AVX);
	offset[XSTATE_AVX_BIT] = XSTATE_EXTENDED;
	if ((lo & (XSTATE_AVX | XSTATE_AVX512)) == (XSTATE_AVX | XSTATE_AVX512) && avx512_fits())
		v |= XSTATE_AVX512;
	if (pku_offered(v))
		v |= XSTATE_PKRU;
	atomic_store_explicit(&supported, v, memory_order_release);
}

u64 xcr0_host_supported(void)
{
	u64 v = atomic_load_explicit(&supported, memory_order_acquire);

	if (unlikely(!v)) {
		pthread_once(&once, look);
		v = atomic_load_explicit(&supported, memory_order_relaxed);
	}
	return v;
}

u32 xstate_bytes(u32 bit)
{
	return bytes[bit];
}

u32 xstate_offset(u32 bit)
{
	return offset[bit];
}

u32 xstate_compact_offset(u64 components, u32 bit)
{
	u32 at = XSTATE_EXTENDED;

	for (u32 i = XSTATE_AVX_BIT; i < bit; i++)
		at += components >> i & 1 ? bytes[i] : 0;
	return at;
}

u32 xstate_size(u64 components, bool compact)
{
	u32 end = XSTATE_EXTENDED;

	for (u32 i = XSTATE_AVX_BIT; i <= XSTATE_LAST; i++)
		if (components >> i & 1)
			end = (compact ? xstate_compact_offset(components, i) : offset[i]) +
			      bytes[i];
	return end;
}

bool xcr0_valid(u64 v, u64 ok)
{
	u64 avx512 = v & XSTATE_AVX512;

	if (!(v & XSTATE_X87) || (v & ~(ok | XSTATE_X87)) ||
	    ((v & XSTATE_AVX) && !(v & XSTATE_SSE)))
		return false;
	return !avx512 || (avx512 == XSTATE_AVX512 && (v & XSTATE_AVX));
}

u32 xstate_mxcsr_mask(void)
{
	static _Atomic u32 cached;
	u32 m = atomic_load_explicit(&cached, memory_order_relaxed);

	if (!m) {
		u8 fx[XSTATE_LEGACY_BYTES] __attribute__((aligned(16)));

		__asm__ volatile("fxsave %0" : "=m"(fx));
		m = *(u32 *)(fx + 28);
		if (!m)
			m = 0xffbf;	/* APM2 11.5.9: what a mask of 0 means */
		atomic_store_explicit(&cached, m, memory_order_relaxed);
	}
	return m;
}
