/* SPDX-License-Identifier: MIT */
/* cpu/flags.c - PUSHF, POPF and the instructions that change one system flag. */
#include "cpu/access.h"
#include "cpu/exec_priv.h"

static enum cpu_result gp0(struct cpu *c)
{
	return cpu_raise_err(c, EXC_GP, 0);
}

/* Virtual-8086 code below IOPL 3 works on VIF through the 16-bit forms, with CR4.VME
 * (APM2 8.10.1). */
static bool v86_virtual(const struct cpu *c)
{
	return cpu_v86(c) && cpu_iopl(c) < 3;
}

enum cpu_result exec_pushf(struct cpu *c, const struct insn *in)
{
	u32 size = push_opsize(in);
	u64 v = c->rflags & ~(u64)(FL_VM | FL_RF);
	enum cpu_result r;

	if (v86_virtual(c)) {
		if (!(c->cr4 & CR4_VME) || size != 2)
			return gp0(c);
		v = (v & ~(u64)FL_IF) | FL_IOPL | (v & FL_VIF ? FL_IF : 0);
	}
	r = cpu_push(c, v, size);
	return r;
}

enum cpu_result exec_popf(struct cpu *c, const struct insn *in)
{
	u32 size = push_opsize(in);
	u64 mask = size == 2 ? FL_POP16 : FL_POP32;
	bool virt = v86_virtual(c);
	u64 rsp = c->gpr[R_RSP];
	u64 v;
	enum cpu_result r;

	if (virt && (!(c->cr4 & CR4_VME) || size != 2))
		return gp0(c);
	r = cpu_pop(c, &v, size);
	if (r)
		return r;
	if (virt) {
		/* TF, and IF with an interrupt pending, need the monitor. */
		if ((v & FL_TF) || ((v & FL_IF) && (c->rflags & FL_VIP))) {
			c->gpr[R_RSP] = rsp;
			return gp0(c);
		}
		v = (v & ~(u64)FL_VIF) | (v & FL_IF ? FL_VIF : 0);
		mask |= FL_VIF;
	} else if (cpu_v86(c) || c->cpl <= cpu_iopl(c)) {
		mask |= FL_IF;
	}
	/* IOPL changes at CPL 0 only (APM2 3.1.6). RF is always cleared. */
	if (c->cpl == 0)
		mask |= FL_IOPL;
	cpu_set_flags(c, v & ~(u64)FL_RF, mask | FL_RF);
	return CPU_OK;
}

/* What CLI and STI act on. */
static u64 if_target(const struct cpu *c)
{
	if (cpu_real_mode(c) || c->cpl <= cpu_iopl(c))
		return FL_IF;
	/* VIF: virtual-8086 mode with VME, or CPL 3 with PVI (APM2 8.10.2). */
	if (cpu_v86(c) ? c->cr4 & CR4_VME : (c->cr4 & CR4_PVI) && c->cpl == 3)
		return FL_VIF;
	return 0;
}

enum cpu_result exec_cli(struct cpu *c, const struct insn *in)
{
	u64 f = if_target(c);

	if (!f)
		return gp0(c);
	c->rflags &= ~f;
	return CPU_OK;
}

enum cpu_result exec_sti(struct cpu *c, const struct insn *in)
{
	u64 f = if_target(c);

	if (!f || (f == FL_VIF && (c->rflags & FL_VIP)))
		return gp0(c);
	/* The next instruction still runs with interrupts held off (APM2 8.1.4), once. */
	if (f == FL_IF && !(c->rflags & FL_IF))
		c->shadow_sti = 1;
	cpu_set_flags(c, f, f);
	return CPU_OK;
}

u64 cpu_sti(struct cpu *c, u64 unused, u64 unused2)
{
	if (!(c->rflags & FL_IF)) {
		c->shadow_sti = 1;
		cpu_set_flags(c, FL_IF, FL_IF);
	}
	return 0;
}

enum cpu_result exec_cld(struct cpu *c, const struct insn *in)
{
	c->rflags &= ~(u64)FL_DF;
	return CPU_OK;
}

enum cpu_result exec_std(struct cpu *c, const struct insn *in)
{
	c->rflags |= FL_DF;
	return CPU_OK;
}

static enum cpu_result set_ac(struct cpu *c, u64 v)
{
	cpu_set_flags(c, v, FL_AC);
	return CPU_OK;
}

enum cpu_result exec_clac(struct cpu *c, const struct insn *in)
{
	return set_ac(c, 0);
}

enum cpu_result exec_stac(struct cpu *c, const struct insn *in)
{
	return set_ac(c, FL_AC);
}
