/* SPDX-License-Identifier: MIT */
/*
 * engine/signal.c - host exceptions raised by translated code become guest
 * exceptions. At the faulting host instruction all guest registers are in their
 * places, except those listed in unit_insn.spilled, and the flags unless put aside, so the handler
 * only redirects the thread to the exit stub. Async-signal-safe.
 */
#include <signal.h>
#include <ucontext.h>

#include "base/siginfo.h"
#include "engine/engine_priv.h"

static const u8 greg_of[16] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

bool engine_signal(int sig, void *siginfo, void *ucontext)
{
	struct engine *e = engine_current;
	ucontext_t *uc = ucontext;
	greg_t *g = uc->uc_mcontext.gregs;
	u64 rip = (u64)g[REG_RIP];

	/* A sent one would be taken for the fault that this thread had last (REG_TRAPNO). */
	if (!siginfo_is_fault(sig, siginfo))
		return false;
	if (!e || rip < (u64)e->mem.rx || rip >= (u64)e->mem.rx + e->mem.size)
		return false;
	if (sig != SIGSEGV && sig != SIGBUS && sig != SIGFPE && sig != SIGILL && sig != SIGTRAP)
		return false;

	struct unit *u = cache_unit_at(e, rip);

	if (!u)
		return false;
	const u32 i = unit_insn_at(e, u, rip);
	const struct unit_insn *at = &u->insns[i];

	for (u32 k = 0; k < 2; k++)
		if (at->spilled[k] != 0xff)
			g[greg_of[at->spilled[k]]] = (greg_t)e->spill[k];
	if (at->aside)
		g[REG_EFL] =
			(g[REG_EFL] & ~(greg_t)FL_ARITH) | (greg_t)flags_of_image(e->save_flags);

	count_signal(e, u, i);

	struct cpu *c = e->c;

	c->rip = u->rip + (u64)(s64)at->guest;
	if ((u->mode & MODE_SIZE) != MODE_SIZE64)
		c->rip = (u32)c->rip;
	switch (g[REG_TRAPNO]) {
	case EXC_DE: cpu_raise(c, EXC_DE); break;
	case EXC_UD: cpu_raise(c, EXC_UD); break;
	case EXC_MF: cpu_raise(c, EXC_MF); break;
	case EXC_XF: cpu_raise(c, c->cr4 & CR4_OSXMMEXCPT ? EXC_XF : EXC_UD); break;
	case EXC_AC: cpu_raise_err(c, EXC_AC, 0); break;
	case EXC_GP: case EXC_SS: cpu_raise_err(c, EXC_GP, 0); break;
	default:
		e->fault_address = (u64)(uintptr_t)((siginfo_t *)siginfo)->si_addr;
		cpu_raise(c, ENGINE_HOST_FAULT);
		break;
	}
	e->fault_rec.kind = REC_FAULT;
	g[REG_RCX] = (greg_t)(uintptr_t)&e->fault_rec;
	g[REG_RIP] = (greg_t)(uintptr_t)e->stub_exit;
	g[REG_EFL] &= ~(greg_t)(FL_TF | FL_AC | FL_DF);
	return true;
}
