/* SPDX-License-Identifier: MIT */
/*
 * engine/vecreg.h - vector and mask registers in the saved image: after engine_fpu_save(), for
 * instructions that C carries out.
 */
#ifndef ENGINE_VECREG_H
#define ENGINE_VECREG_H

#include "base/mem.h"
#include "engine/cpu.h"
#include "engine/xstate.h"

enum { VEC_BYTES = 64 };

/* The components that hold a vector register, from its lowest bytes on. */
static const u8 vec_parts[] = { XSTATE_SSE_BIT, XSTATE_AVX_BIT, XSTATE_ZMM_HI256_BIT,
				XSTATE_HI16_ZMM_BIT };

static inline u64 *vec_in_use(struct cpu *c)
{
	return (u64 *)(c->xsave + XSAVE_BV);
}

/* The bytes of vector register r that component `bit` holds, and how many; NULL: none. */
static inline u8 *vec_part(struct cpu *c, u32 r, u32 bit, u32 *n)
{
	*n = bit == XSTATE_HI16_ZMM_BIT ? 64 : bit == XSTATE_ZMM_HI256_BIT ? 32 : 16;
	if (!(xcr0_host_supported() >> bit & 1) || (bit == XSTATE_HI16_ZMM_BIT) != (r >= 16))
		return NULL;
	if (bit == XSTATE_SSE_BIT)
		return c->xsave + XSAVE_XMM + 16 * r;
	return c->xsave + xstate_offset(bit) + *n * (r & 15);
}

static inline void vec_get(struct cpu *c, u32 r, u8 v[VEC_BYTES])
{
	u32 at = 0, n;

	cpu_zero(v, VEC_BYTES);
	for (u32 i = 0; i < ARRAY_SIZE(vec_parts); i++) {
		u8 *p = vec_part(c, r, vec_parts[i], &n);

		if (p && (*vec_in_use(c) >> vec_parts[i] & 1))
			cpu_copy(v + at, p, n);
		if (p)
			at += n;
	}
}

/* All of the register: VEX and EVEX clear what is beyond their vector. */
static inline void vec_put(struct cpu *c, u32 r, const u8 v[VEC_BYTES])
{
	u32 at = 0, n;

	for (u32 i = 0; i < ARRAY_SIZE(vec_parts); i++) {
		u8 *p = vec_part(c, r, vec_parts[i], &n);
		u64 bit = BIT64(vec_parts[i]), any = 0;

		if (!p)
			continue;
		for (u32 k = 0; k < n; k++)
			any |= v[at + k];
		/* A component in its initial state stays there if it may. */
		if (any && !(*vec_in_use(c) & bit)) {
			if (vec_parts[i] == XSTATE_SSE_BIT)
				cpu_zero(c->xsave + XSAVE_XMM, 256);
			else
				cpu_zero(c->xsave + xstate_offset(vec_parts[i]),
					 xstate_bytes(vec_parts[i]));
			*vec_in_use(c) |= bit;
		}
		if (*vec_in_use(c) & bit)
			cpu_copy(p, v + at, n);
		at += n;
	}
}

static inline u64 mask_get(struct cpu *c, u32 k)
{
	u64 v = 0;

	if (*vec_in_use(c) & XSTATE_OPMASK)
		cpu_copy(&v, c->xsave + xstate_offset(XSTATE_OPMASK_BIT) + 8 * k, 8);
	return v;
}

static inline void mask_put(struct cpu *c, u32 k, u64 v)
{
	/* It was used to choose something, so it is not in its initial state; or it was zero, and
	 * is. */
	if (*vec_in_use(c) & XSTATE_OPMASK)
		cpu_copy(c->xsave + xstate_offset(XSTATE_OPMASK_BIT) + 8 * k, &v, 8);
}

#endif
