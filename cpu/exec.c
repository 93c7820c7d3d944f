/* SPDX-License-Identifier: MIT */
/* cpu/exec.c - from a mnemonic to the function that executes it. */
#include <Zydis/Zydis.h>

#include "cpu/access.h"
#include "cpu/exec_priv.h"

enum {
	AT_CPL0 = 1,	/* #GP(0) at any other CPL */
	UD_CPL = 2,	/* #UD at any other CPL */
	PROT = 4,	/* #UD in real and virtual-8086 mode */
	SELF = 8,	/* the handler moves RIP */
	LOCK_OK = 16,	/* LOCK means something else here */
};

/* Mnemonics whose system forms are told apart by the opcode. */

static int exec_mov(struct cpu *c, const struct insn *in)
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

static int exec_push(struct cpu *c, const struct insn *in)
{
	return is_sreg_push(in) ? exec_push_sreg(c, in) : cpu_raise(c, EXC_UD);
}

static int exec_pop(struct cpu *c, const struct insn *in)
{
	return is_sreg_push(in) ? exec_pop_sreg(c, in) : cpu_raise(c, EXC_UD);
}

static int exec_call(struct cpu *c, const struct insn *in)
{
	bool far = in->opcode == 0x9a || (in->opcode == 0xff && in->has_mem && (in->reg & 7) == 3);

	return far && in->map == 0 ? exec_far_call(c, in) : cpu_raise(c, EXC_UD);
}

static int exec_jmp(struct cpu *c, const struct insn *in)
{
	bool far = in->opcode == 0xea || (in->opcode == 0xff && in->has_mem && (in->reg & 7) == 5);

	return far && in->map == 0 ? exec_far_jmp(c, in) : cpu_raise(c, EXC_UD);
}

static int exec_ret(struct cpu *c, const struct insn *in)
{
	bool far = in->opcode == 0xca || in->opcode == 0xcb;

	return far && in->map == 0 ? exec_far_ret(c, in) : cpu_raise(c, EXC_UD);
}

/* MOVSD and CMPSD are also SSE instructions. */
static int exec_string(struct cpu *c, const struct insn *in)
{
	return in->map == 0 ? cpu_exec_string(c, in) : cpu_raise(c, EXC_UD);
}

/*
 * MONITOR and MWAIT are not offered in CPUID, but a guest that uses them anyway gets a no-op,
 * as KVM gives it.
 */
static int exec_mwait(struct cpu *c, const struct insn *in)
{
	return exec_pause(c, in);
}

#define EXEC_TABLE(X) \
	/* data transfer and control flow */ \
	X(MOV, exec_mov, LOCK_OK) \
	X(PUSH, exec_push, 0) X(POP, exec_pop, 0) \
	X(LES, exec_load_far, 0) X(LDS, exec_load_far, 0) X(LSS, exec_load_far, 0) \
	X(LFS, exec_load_far, 0) X(LGS, exec_load_far, 0) \
	X(CALL, exec_call, SELF) X(JMP, exec_jmp, SELF) X(RET, exec_ret, SELF) \
	X(INT, exec_int, SELF) X(INT1, exec_int1, SELF) X(INT3, exec_int3, SELF) \
	X(INTO, exec_into, SELF) \
	X(IRET, exec_iret, SELF) X(IRETD, exec_iret, SELF) X(IRETQ, exec_iret, SELF) \
	X(SYSCALL, exec_syscall, SELF) X(SYSRET, exec_sysret, SELF) \
	X(SYSENTER, exec_sysenter, SELF) X(SYSEXIT, exec_sysexit, SELF) \
	/* flags */ \
	X(PUSHF, exec_pushf, 0) X(PUSHFD, exec_pushf, 0) X(PUSHFQ, exec_pushf, 0) \
	X(POPF, exec_popf, 0) X(POPFD, exec_popf, 0) X(POPFQ, exec_popf, 0) \
	X(CLI, exec_cli, 0) X(STI, exec_sti, 0) X(CLD, exec_cld, 0) X(STD, exec_std, 0) \
	X(CLAC, exec_clac, 0) X(STAC, exec_stac, 0) \
	/* control registers and descriptor tables */ \
	X(CLTS, exec_clts, AT_CPL0) X(LMSW, exec_lmsw, AT_CPL0) X(SMSW, exec_smsw, 0) \
	X(LGDT, exec_lgdt, AT_CPL0) X(LIDT, exec_lidt, AT_CPL0) \
	X(SGDT, exec_sgdt, 0) X(SIDT, exec_sidt, 0) \
	X(LLDT, exec_lldt, PROT | AT_CPL0) X(LTR, exec_ltr, PROT | AT_CPL0) \
	X(SLDT, exec_sldt, PROT) X(STR, exec_str, PROT) \
	X(LAR, exec_lar, PROT) X(LSL, exec_lsl, PROT) \
	X(VERR, exec_verr, PROT) X(VERW, exec_verw, PROT) \
	/* the rest of the system instructions */ \
	X(HLT, exec_hlt, AT_CPL0 | SELF) X(CPUID, exec_cpuid, 0) \
	X(RDMSR, exec_rdmsr, AT_CPL0) X(WRMSR, exec_wrmsr, AT_CPL0) \
	X(RDTSC, exec_rdtsc, 0) X(RDTSCP, exec_rdtscp, 0) \
	X(RDPMC, exec_rdpmc, 0) X(RDPID, exec_rdpid, 0) \
	X(INVLPG, exec_invlpg, AT_CPL0) X(INVPCID, exec_invpcid, AT_CPL0) \
	X(INVD, exec_cache, AT_CPL0 | SELF) X(WBINVD, exec_cache, AT_CPL0 | SELF) \
	X(SWAPGS, exec_swapgs, 0) \
	X(RDFSBASE, exec_fsgsbase, 0) X(RDGSBASE, exec_fsgsbase, 0) \
	X(WRFSBASE, exec_fsgsbase, 0) X(WRGSBASE, exec_fsgsbase, 0) \
	X(PAUSE, exec_pause, SELF) \
	X(MONITOR, exec_mwait, UD_CPL | SELF) X(MWAIT, exec_mwait, UD_CPL | SELF) \
	X(VMCALL, exec_hypercall, SELF) X(VMMCALL, exec_hypercall, SELF) \
	X(VMRUN, exec_svm, SELF) X(VMLOAD, exec_svm, SELF) X(VMSAVE, exec_svm, SELF) \
	X(STGI, exec_svm, SELF) X(CLGI, exec_svm, SELF) X(SKINIT, exec_svm, SELF) \
	X(INVLPGA, exec_svm, SELF) \
	X(RSM, exec_rsm, SELF) \
	/* strings and port I/O */ \
	X(MOVSB, exec_string, SELF) X(MOVSW, exec_string, SELF) X(MOVSD, exec_string, SELF) \
	X(MOVSQ, exec_string, SELF) X(STOSB, exec_string, SELF) X(STOSW, exec_string, SELF) \
	X(STOSD, exec_string, SELF) X(STOSQ, exec_string, SELF) X(LODSB, exec_string, SELF) \
	X(LODSW, exec_string, SELF) X(LODSD, exec_string, SELF) X(LODSQ, exec_string, SELF) \
	X(CMPSB, exec_string, SELF) X(CMPSW, exec_string, SELF) X(CMPSD, exec_string, SELF) \
	X(CMPSQ, exec_string, SELF) X(SCASB, exec_string, SELF) X(SCASW, exec_string, SELF) \
	X(SCASD, exec_string, SELF) X(SCASQ, exec_string, SELF) \
	X(IN, cpu_exec_io, SELF) X(OUT, cpu_exec_io, SELF) \
	X(INSB, cpu_exec_io, SELF) X(INSW, cpu_exec_io, SELF) X(INSD, cpu_exec_io, SELF) \
	X(OUTSB, cpu_exec_io, SELF) X(OUTSW, cpu_exec_io, SELF) X(OUTSD, cpu_exec_io, SELF) \
	/* extended state */ \
	X(FXSAVE, cpu_exec_xsave, SELF) X(FXSAVE64, cpu_exec_xsave, SELF) \
	X(FXRSTOR, cpu_exec_xsave, SELF) X(FXRSTOR64, cpu_exec_xsave, SELF) \
	X(XSAVE, cpu_exec_xsave, SELF) X(XSAVE64, cpu_exec_xsave, SELF) \
	X(XSAVEOPT, cpu_exec_xsave, SELF) X(XSAVEOPT64, cpu_exec_xsave, SELF) \
	X(XSAVEC, cpu_exec_xsave, SELF) X(XSAVEC64, cpu_exec_xsave, SELF) \
	X(XRSTOR, cpu_exec_xsave, SELF) X(XRSTOR64, cpu_exec_xsave, SELF) \
	X(XGETBV, cpu_exec_xsave, SELF) X(XSETBV, cpu_exec_xsave, SELF) \
	/* outside 64-bit mode, mostly */ \
	X(AAA, cpu_exec_legacy, SELF) X(AAS, cpu_exec_legacy, SELF) X(DAA, cpu_exec_legacy, SELF) \
	X(DAS, cpu_exec_legacy, SELF) X(AAM, cpu_exec_legacy, SELF) X(AAD, cpu_exec_legacy, SELF) \
	X(PUSHA, cpu_exec_legacy, SELF) X(PUSHAD, cpu_exec_legacy, SELF) \
	X(POPA, cpu_exec_legacy, SELF) X(POPAD, cpu_exec_legacy, SELF) \
	X(BOUND, cpu_exec_legacy, SELF) X(ENTER, cpu_exec_legacy, SELF) \
	X(ARPL, cpu_exec_legacy, SELF | PROT) X(SALC, cpu_exec_legacy, SELF) \
	X(XLAT, cpu_exec_legacy, SELF)

/* Everything that is not here, UD0/UD1/UD2 included, is #UD. */
static const struct row {
	exec_fn *fn;
	u32 flags;
} rows[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#define X(m, f, fl) [ZYDIS_MNEMONIC_##m] = { f, fl },
	EXEC_TABLE(X)
#undef X
};

/*
 * RF shields one instruction (APM2 3.1.6): what has completed clears it, unless it has loaded it; a switch to
 * another task or guest has. A string instruction between two repetitions has not completed.
 */
static int exec_self(struct cpu *c, const struct insn *in, const struct row *row)
{
	u64 rip = c->rip;
	bool l2 = c->in_l2;
	int r;

	c->debug_note &= (u8)~NOTE_RF;
	r = row->fn(c, in);
	if (r != CPU_FAULT && c->rip != rip && !(c->debug_note & NOTE_RF) && c->in_l2 == l2)
		c->rflags &= ~(u64)FL_RF;
	return r;
}

int cpu_exec(struct cpu *c, const struct insn *in)
{
	const struct row *row;
	int r;

	if (unlikely(in->mnemonic >= ARRAY_SIZE(rows)))
		return cpu_raise(c, EXC_UD);
	row = &rows[in->mnemonic];
	if (unlikely(!row->fn))
		return cpu_raise(c, EXC_UD);
	/* LOCK belongs to read-modify-write instructions only (APM3 1.2.5). */
	if (unlikely((in->prefixes & PFX_LOCK) && !(row->flags & LOCK_OK)))
		return cpu_raise(c, EXC_UD);
	if ((row->flags & PROT) && (cpu_real_mode(c) || cpu_v86(c)))
		return cpu_raise(c, EXC_UD);
	if (c->cpl) {
		if (row->flags & AT_CPL0)
			return cpu_raise_err(c, EXC_GP, 0);
		if (row->flags & UD_CPL)
			return cpu_raise(c, EXC_UD);
	}
	if (row->flags & SELF)
		return unlikely(c->rflags & FL_RF) ? exec_self(c, in, row) : row->fn(c, in);
	r = row->fn(c, in);
	if (r != CPU_OK && r != CPU_DONE_EXIT)
		return r;
	insn_retire(c, in);
	/* RF shields one instruction (APM2 3.1.6). */
	c->rflags &= ~(u64)FL_RF;
	return r == CPU_OK ? CPU_OK : CPU_EXIT;
}
