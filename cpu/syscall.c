/* SPDX-License-Identifier: MIT */
/*
 * cpu/syscall.c - SYSCALL, SYSRET, SYSENTER and SYSEXIT as an AMD CPU does them
 * (APM2 6.1, APM3): SYSCALL also from compatibility and legacy mode, SYSENTER in legacy mode only.
 * If CPUID names another maker, in long mode too (SDM2 SYSENTER), as KVM emulates it then.
 */
#include "cpu/exec_priv.h"

enum {
	ATTR_DATA = SEG_P | SEG_S | SEG_RW | SEG_ACCESSED | SEG_DB | SEG_G,
	ATTR_CODE32 = ATTR_DATA | SEG_CODE,
	ATTR_CODE64 = (ATTR_CODE32 & ~SEG_DB) | SEG_L,
};

/* These instructions read no descriptors: flat segments with fixed attributes. */
static void flat(struct cpu_seg *s, u16 sel, u16 attr, u32 dpl)
{
	*s = (struct cpu_seg){
		.sel = sel, .limit = 0xffffffff, .attr = attr | dpl << SEG_DPL_SHIFT,
	};
}

static void set_cpl(struct cpu *c, u32 cpl)
{
	c->cpl = cpl;
	cpu_mode_changed(c);
}

/*
 * TF as it is at the end decides whether a single-step trap follows: SFMASK takes it away, and what
 * SYSRET sets traps in front of the first instruction of the user (APM3 SYSCALL, SYSRET).
 */
static enum cpu_result done(struct cpu *c)
{
	c->debug_note = NOTE_STEP_NOW;
	c->branched = 1;
	return CPU_OK;
}

enum cpu_result exec_syscall(struct cpu *c, const struct insn *in)
{
	u16 sel = c->star >> 32 & 0xfffc;
	u64 ret = next_rip(c, in);

	if (!(c->efer & EFER_SCE) || cpu_real_mode(c))
		return cpu_raise(c, EXC_UD);
	if (cpu_in_lm(c)) {
		bool from64 = cpu_in_64(c);

		c->gpr[R_RCX] = ret;
		c->gpr[R_R11] = c->rflags & ~(u64)FL_RF;
		flat(&c->seg[S_CS], sel, ATTR_CODE64, 0);
		c->rip = from64 ? c->lstar : c->cstar;
		set_cpl(c, 0);
		cpu_set_flags(c, 0, c->sfmask | FL_RF);
	} else {
		c->gpr[R_RCX] = ret;
		flat(&c->seg[S_CS], sel, ATTR_CODE32, 0);
		c->rip = (u32)c->star;
		set_cpl(c, 0);
		cpu_set_flags(c, 0, FL_VM | FL_IF | FL_RF);
	}
	flat(&c->seg[S_SS], sel + 8, ATTR_DATA, 0);
	return done(c);
}

enum cpu_result exec_sysret(struct cpu *c, const struct insn *in)
{
	u16 base = c->star >> 48;
	struct cpu_seg *ss = &c->seg[S_SS];

	if (!(c->efer & EFER_SCE) || cpu_real_mode(c) || cpu_v86(c))
		return cpu_raise(c, EXC_UD);
	if (c->cpl)
		return cpu_raise_err(c, EXC_GP, 0);
	if (in->mode == 8 && in->rex_w) {
		flat(&c->seg[S_CS], (base + 16) | 3, ATTR_CODE64, 3);
		/* A non-canonical RCX faults at the fetch, in user mode already. */
		c->rip = c->gpr[R_RCX];
	} else {
		flat(&c->seg[S_CS], base | 3, ATTR_CODE32, 3);
		c->rip = (u32)c->gpr[R_RCX];
	}
	/* SS: selector only; base, limit and attributes stay (APM3 SYSRET). DPL follows the CPL. */
	ss->sel = (base + 8) | 3;
	ss->attr |= SEG_DPL;
	set_cpl(c, 3);
	if (cpu_in_lm(c))
		cpu_set_flags(c, c->gpr[R_R11] & ~(u64)(FL_RF | FL_VM),
			      FL_POP32 | FL_IF | FL_IOPL | FL_VIF | FL_VIP | FL_RF | FL_VM);
	else
		cpu_set_flags(c, FL_IF, FL_IF | FL_RF);
	return done(c);
}

enum cpu_result exec_sysenter(struct cpu *c, const struct insn *in)
{
	u16 sel = c->sysenter_cs & 0xfffc;
	bool lm = cpu_in_lm(c);

	if (lm && !c->sysenter_in_lm)
		return cpu_raise(c, EXC_UD);
	if (cpu_real_mode(c) || !sel)
		return cpu_raise_err(c, EXC_GP, 0);
	flat(&c->seg[S_CS], sel, lm ? ATTR_CODE64 : ATTR_CODE32, 0);
	flat(&c->seg[S_SS], sel + 8, ATTR_DATA, 0);
	c->gpr[R_RSP] = lm ? c->sysenter_esp : (u32)c->sysenter_esp;
	c->rip = lm ? c->sysenter_eip : (u32)c->sysenter_eip;
	set_cpl(c, 0);
	cpu_set_flags(c, 0, FL_VM | FL_IF | FL_RF);
	return CPU_OK;
}

enum cpu_result exec_sysexit(struct cpu *c, const struct insn *in)
{
	u16 sel = c->sysenter_cs & 0xfffc;
	bool wide = in->mode == 8 && in->rex_w;
	u64 sp = c->gpr[R_RCX], ip = c->gpr[R_RDX];

	if (cpu_in_lm(c) && !c->sysenter_in_lm)
		return cpu_raise(c, EXC_UD);
	if (cpu_real_mode(c) || c->cpl || !sel ||
	    (wide && !(cpu_canonical(c, sp) && cpu_canonical(c, ip))))
		return cpu_raise_err(c, EXC_GP, 0);
	if (wide)
		sel += 16;
	flat(&c->seg[S_CS], (sel + 16) | 3, wide ? ATTR_CODE64 : ATTR_CODE32, 3);
	flat(&c->seg[S_SS], (sel + 24) | 3, ATTR_DATA, 3);
	c->gpr[R_RSP] = wide ? sp : (u32)sp;
	c->rip = wide ? ip : (u32)ip;
	set_cpl(c, 3);
	return CPU_OK;
}
