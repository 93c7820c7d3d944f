/* SPDX-License-Identifier: MIT */
/*
 * engine/fpu.c - moving the guest's vector state between c->xsave and the
 * host's registers. It is loaded by the first unit that needs it and saved
 * when C wants it, so system code and device exits never pay for it.
 */
#include "engine/engine_priv.h"

#define XFEATURES 7u /* x87, SSE, AVX */

void engine_fpu_load(struct cpu *c)
{
	if (c->fpu_live)
		return;
	__asm__ volatile("stmxcsr %0" : "=m"(c->engine->host_mxcsr));
	__asm__ volatile("fnstcw %0" : "=m"(c->engine->host_fcw));
	/* Bits of a component that the header does not name are initialised. */
	__asm__ volatile("xrstor64 %0" : : "m"(c->xsave), "a"(XFEATURES), "d"(0) : "memory");
	c->fpu_live = 1;
}

void engine_fpu_save(struct cpu *c)
{
	if (!c->fpu_live)
		return;
	__asm__ volatile("xsave64 %0" : "=m"(c->xsave) : "a"(XFEATURES), "d"(0) : "memory");
	/* Leave the host what its ABI promises: empty x87 stack, its own control
	 * words, clean upper halves. */
	__asm__ volatile("fninit; fldcw %0" : : "m"(c->engine->host_fcw));
	__asm__ volatile("ldmxcsr %0" : : "m"(c->engine->host_mxcsr));
	__asm__ volatile(".byte 0xc5,0xf8,0x77"); /* vzeroupper */
	c->fpu_live = 0;
}
