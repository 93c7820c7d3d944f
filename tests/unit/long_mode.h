/* SPDX-License-Identifier: MIT */
/* tests/unit/long_mode.h - a CPU in 64-bit mode, for what needs the engine alone. */
#ifndef TESTS_UNIT_LONG_MODE_H
#define TESTS_UNIT_LONG_MODE_H

#include "engine/cpu.h"

static inline void long_mode(struct cpu *c, const struct cpu_ops *ops)
{
	c->ops = ops;
	c->cr0 = CR0_PE | CR0_PG;
	c->cr4 = CR4_OSFXSR | CR4_OSXSAVE;
	c->xcr0 = 7;
	c->efer = EFER_LMA | EFER_LME;
	c->seg[S_CS].attr = SEG_P | SEG_S | SEG_CODE | SEG_RW | SEG_L;
}

#endif
