/* SPDX-License-Identifier: MIT */
/* cpu/reset.c - the state after RESET and INIT (APM2 14.1.3, table 14-1). */
#include "base/mem.h"
#include "cpu/exec_priv.h"
#include "engine/engine.h"
#include "engine/xstate.h"
#include "mmu/mmu.h"

enum {
	ATTR_REAL_DATA = SEG_P | SEG_S | SEG_RW | SEG_ACCESSED,
	ATTR_REAL_CODE = ATTR_REAL_DATA | SEG_CODE,
	ATTR_LDT = SEG_P | DT_LDT,
	ATTR_TSS = SEG_P | DT_TSS16_BUSY,
};

static void reset_segments(struct cpu *c)
{
	for (u32 i = 0; i < S_COUNT; i++)
		c->seg[i] = (struct cpu_seg){ .limit = 0xffff, .attr = ATTR_REAL_DATA };
	/* The first fetch is 16 bytes below 4 GiB; the base lasts until CS is loaded. */
	c->seg[S_CS] = (struct cpu_seg){
		.sel = 0xf000, .base = 0xffff0000, .limit = 0xffff, .attr = ATTR_REAL_CODE,
	};
	c->seg[S_LDTR].attr = ATTR_LDT;
	c->seg[S_TR].attr = ATTR_TSS;
	c->gdtr = (struct cpu_dtr){ .limit = 0xffff };
	c->idtr = (struct cpu_dtr){ .limit = 0xffff };
}

/* x87 and SSE as FNINIT and a default MXCSR leave them. */
static void reset_fpu(struct cpu *c)
{
	engine_fpu_save(c);
	cpu_zero(c->xsave, sizeof(c->xsave));
	*(u16 *)(c->xsave + XSAVE_FCW) = FCW_INIT;
	*(u32 *)(c->xsave + XSAVE_MXCSR) = MXCSR_INIT;
	c->xcr0 = 1;
	cpu_set_pkru(c, 0);
}

static void reset_msrs(struct cpu *c)
{
	c->star = c->lstar = c->cstar = c->sfmask = c->kernel_gs_base = 0;
	c->sysenter_cs = c->sysenter_esp = c->sysenter_eip = 0;
	c->tsc_aux = 0;
	c->pat = 0x0007040600070406ull;
}

void cpu_reset(struct cpu *c, bool init)
{
	u64 cache = c->cr0 & (CR0_CD | CR0_NW);
	u32 id[4];

	if (!init) {
		cache = CR0_CD | CR0_NW;
		reset_fpu(c);
		reset_msrs(c);
	}
	for (u32 i = 0; i < ARRAY_SIZE(c->gpr); i++)
		c->gpr[i] = 0;
	cpu_hooks->cpuid(c, 1, 0, id);
	c->gpr[R_RDX] = id[0] ? id[0] : 0x600;	/* family, model, stepping */
	c->rip = 0xfff0;
	c->rflags = FL_FIXED;
	reset_segments(c);
	c->cr0 = CR0_ET | cache;
	c->cr2 = c->cr3 = c->cr4 = 0;
	c->efer = 0;
	for (u32 i = 0; i < ARRAY_SIZE(c->dr); i++)
		c->dr[i] = 0;
	c->dr6 = DR6_FIXED;
	cpu_set_dr7(c, DR7_FIXED);
	c->debugctl = 0;
	c->cpl = 0;
	c->halted = 0;
	c->shadow_sti = c->shadow_ss = 0;
	cpu_mode_changed(c);
	mmu_flush_all(c);
}
