/* SPDX-License-Identifier: MIT */
/* cpu/exec.c - from a mnemonic to the function that executes it: the table is engine/insns.h. */
#include "cpu/access.h"
#include "cpu/exec_priv.h"
#include "engine/insns.h"

/* Mnemonics whose system forms are told apart by the opcode. */

static enum cpu_result exec_mov(struct cpu *c, const struct insn *in)
{
	if (in->map == 1)
		switch (in->opcode) {
		case 0x20: case 0x22:
			return exec_mov_cr(c, in);
		case 0x21: case 0x23:
			if (!(in->prefixes & PFX_LOCK))
				return exec_mov_dr(c, in);
		}
	if (in->map == 0 && (in->opcode == 0x8c || in->opcode == 0x8e) &&
	    !(in->prefixes & PFX_LOCK))
		return exec_mov_sreg(c, in);
	return cpu_raise(c, EXC_UD);
}

static bool is_sreg_push(const struct insn *in)
{
	if (in->map == 1)
		return (in->opcode & 0xf6) == 0xa0;
	return in->map == 0 && in->opcode < 0x20 && (in->opcode & 6) == 6;
}

static enum cpu_result exec_push(struct cpu *c, const struct insn *in)
{
	return is_sreg_push(in) ? exec_push_sreg(c, in) : cpu_raise(c, EXC_UD);
}

static enum cpu_result exec_pop(struct cpu *c, const struct insn *in)
{
	return is_sreg_push(in) ? exec_pop_sreg(c, in) : cpu_raise(c, EXC_UD);
}

static enum cpu_result exec_call(struct cpu *c, const struct insn *in)
{
	bool far = in->opcode == 0x9a || (in->opcode == 0xff && in->has_mem && (in->reg & 7) == 3);

	return far && in->map == 0 ? exec_far_call(c, in) : cpu_raise(c, EXC_UD);
}

static enum cpu_result exec_jmp(struct cpu *c, const struct insn *in)
{
	bool far = in->opcode == 0xea || (in->opcode == 0xff && in->has_mem && (in->reg & 7) == 5);

	return far && in->map == 0 ? exec_far_jmp(c, in) : cpu_raise(c, EXC_UD);
}

static enum cpu_result exec_ret(struct cpu *c, const struct insn *in)
{
	bool far = in->opcode == 0xca || in->opcode == 0xcb;

	return far && in->map == 0 ? exec_far_ret(c, in) : cpu_raise(c, EXC_UD);
}

/* MOVSD and CMPSD are also SSE instructions. */
static enum cpu_result exec_string(struct cpu *c, const struct insn *in)
{
	return in->map == 0 ? cpu_exec_string(c, in) : cpu_raise(c, EXC_UD);
}

/* MONITOR and MWAIT are no-ops, as KVM has them. */
static enum cpu_result exec_mwait(struct cpu *c, const struct insn *in)
{
	enum cpu_result r = cpu_hooks->monitor(c);

	return r == CPU_OK ? exec_pause(c, in) : r;
}

static exec_fn *const handlers[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#define X(m, way, rules, features, fn, intercept) [ZYDIS_MNEMONIC_##m] = fn,
	INSN_SYSTEM(X)
#undef X
};

/*
 * RF shields one instruction (APM2 3.1.6): what has completed clears it, unless it has loaded it;
 * a switch to another task or guest has. A string instruction between two repetitions has not
 * completed.
 */
static enum cpu_result __attribute__((noinline))
exec_self(struct cpu *c, const struct insn *in, exec_fn *fn)
{
	u64 rip = c->rip;
	bool l2 = c->in_l2;
	enum cpu_result r;

	c->debug_note &= (u8)~NOTE_RF;
	r = fn(c, in);
	if (r != CPU_FAULT && c->rip != rip && !(c->debug_note & NOTE_RF) && c->in_l2 == l2)
		c->rflags &= ~(u64)FL_RF;
	return r;
}

/* What does not move RIP itself. */
static enum cpu_result __attribute__((noinline))
exec_retire(struct cpu *c, const struct insn *in, exec_fn *fn)
{
	enum cpu_result r = fn(c, in);

	if (r != CPU_OK && r != CPU_DONE)
		return r;
	insn_retire(c, in);
	/* RF shields one instruction (APM2 3.1.6). */
	c->rflags &= ~(u64)FL_RF;
	return r;
}

/* At another CPL than 0. */
static bool refused(const struct cpu *c, u32 rules)
{
	return (rules & R_CPL0) || ((rules & R_UMIP) && umip_blocks(c)) ||
	       ((rules & R_TSD) && (c->cr4 & CR4_TSD));
}

/* Ways on are calls at its end, so that nothing is saved for them. */
enum cpu_result cpu_exec(struct cpu *c, const struct insn *in)
{
	exec_fn *fn;
	u32 rules;

	/* What the table does not list, UD0, UD1 and UD2 included. */
	if (unlikely(in->mnemonic >= ARRAY_SIZE(handlers) || !handlers[in->mnemonic]))
		return cpu_raise(c, EXC_UD);
	fn = handlers[in->mnemonic];
	rules = insn_rows[in->mnemonic].rules;
	/* LOCK belongs to read-modify-write instructions only (APM3 1.2.5). */
	if (unlikely((in->prefixes & PFX_LOCK) && !(rules & R_LOCK)))
		return cpu_raise(c, EXC_UD);
	if ((rules & R_PROT) && (cpu_real_mode(c) || cpu_v86(c)))
		return cpu_raise(c, EXC_UD);
	if ((rules & (R_UD_CPL | R_CPL0 | R_UMIP | R_TSD)) && c->cpl) {
		if (rules & R_UD_CPL)
			return cpu_raise(c, EXC_UD);
		if (refused(c, rules))
			return cpu_raise_err(c, EXC_GP, 0);
	}
	if (!(rules & R_SELF))
		return exec_retire(c, in, fn);
	return unlikely(c->rflags & FL_RF) ? exec_self(c, in, fn) : fn(c, in);
}
