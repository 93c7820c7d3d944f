/* SPDX-License-Identifier: MIT */
/*
 * engine/fpu.c - moving the guest's vector state between c->xsave and the
 * host's registers. It is loaded by the first unit that needs it and saved
 * when C wants it, so system code and device exits never pay for it.
 */
#include "engine/engine_priv.h"
#include "engine/xstate.h"

#define USUAL (XSTATE_X87 | XSTATE_SSE | XSTATE_AVX)

/* An area that says of every component that it is in its initial state. */
static const u8 initial[XSTATE_EXTENDED] __attribute__((aligned(64)));

/*
 * Guests that have not switched AVX-512 on pay nothing for its state, those that do not use it an
 * XGETBV. What the VMM's thread has left in those registers a guest may not see: XRSTOR initialises
 * what the image does not name.
 */
void engine_fpu_load(struct cpu *c)
{
	u32 what = USUAL | ((u32)c->xcr0 & XSTATE_AVX512);

	if (c->fpu_live)
		return;
	__asm__ volatile("stmxcsr %0" : "=m"(c->engine->host_mxcsr));
	__asm__ volatile("fnstcw %0" : "=m"(c->engine->host_fcw));
	/* XRSTOR leaves the x87's pointers alone on AMD's older processors, unless an exception
	 * waits: they would be those of the program's own last instruction. */
	if (unlikely(c->engine->env_used))
		__asm__ volatile("fninit");
	/* Bits of a component that the header does not name are initialised. */
	__asm__ volatile("xrstor64 %0" : : "m"(c->xsave), "a"(what), "d"(0) : "memory");
	c->fpu_live = 1;
}

/* Which is to be saved; the image says of the rest that it is not. */
static u32 avx512_in_use(struct cpu *c)
{
	u32 lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(1));
	if (lo & XSTATE_AVX512)
		return XSTATE_AVX512;
	*(u64 *)(c->xsave + XSAVE_BV) &= ~(u64)XSTATE_AVX512;
	return 0;
}

void engine_fpu_save(struct cpu *c)
{
	u32 what = USUAL;

	if (!c->fpu_live)
		return;
	if (unlikely(c->xcr0 & XSTATE_AVX512))
		what |= avx512_in_use(c);
	__asm__ volatile("xsave64 %0" : "=m"(c->xsave) : "a"(what), "d"(0) : "memory");
	if (unlikely(what & XSTATE_AVX512))
		__asm__ volatile("xrstor64 %0" : : "m"(initial), "a"(XSTATE_AVX512), "d"(0));
	/* Leave the host what its ABI promises: empty x87 stack, its own control
	 * words, clean upper halves. */
	__asm__ volatile("fninit; fldcw %0" : : "m"(c->engine->host_fcw));
	__asm__ volatile("ldmxcsr %0" : : "m"(c->engine->host_mxcsr));
	__asm__ volatile(".byte 0xc5,0xf8,0x77"); /* vzeroupper */
	c->fpu_live = 0;
}
