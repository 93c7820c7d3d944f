/* SPDX-License-Identifier: MIT */
/*
 * svm/intercept.c - does L1 want this instruction of L2 (APM2 15.7 to 15.11, appendix C)?
 *
 * Asked before an instruction is executed by C. Exceptions that come before the intercept are the
 * instruction's own business: then the answer is no, and its handler raises them (APM2 15.7.1:
 * mode, CPL and permission checks come first, faults of memory operands and
 * bad values after).
 */
#include "base/msrs.h"
#include "cpu/access.h"
#include "engine/insns.h"
#include "svm/svm_priv.h"

typedef bool test_fn(struct cpu *c, const struct insn *in, enum cpu_result *res);
static test_fn mov, lmsw, clts, int3, into, int1, pause_insn, vmcall, vmmcall, rdpmc, xsetbv,
	invlpg, invpcid, int_n;

/* Those that are more than one bit: FN in the table. */
#define SPECIAL(X) \
	X(MOV, mov) X(LMSW, lmsw) X(CLTS, clts) X(INT, int_n) X(INT3, int3) X(INTO, into) \
	X(INT1, int1) X(PAUSE, pause_insn) X(VMCALL, vmcall) X(VMMCALL, vmmcall) X(RDPMC, rdpmc) \
	X(XSETBV, xsetbv) X(INVLPG, invlpg) X(INVPCID, invpcid) X(RDMSR, svm_intercept_msr) \
	X(WRMSR, svm_intercept_msr) X(IN, svm_intercept_io) X(OUT, svm_intercept_io) \
	X(INSB, svm_intercept_io) X(INSW, svm_intercept_io) X(INSD, svm_intercept_io) \
	X(OUTSB, svm_intercept_io) X(OUTSW, svm_intercept_io) X(OUTSD, svm_intercept_io)

static test_fn *const special[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#define X(m, function) [ZYDIS_MNEMONIC_##m] = function,
	SPECIAL(X)
#undef X
};

/* The rest: the bit, plus one. */
enum { SVM_I_NONE = -1, SVM_I_FN = -1 };
static const u8 plain[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#define X(m, way, rules, features, fn, i) [ZYDIS_MNEMONIC_##m] = SVM_I_##i + 1,
	INSN_SYSTEM(X)
#undef X
};

static bool exits(struct cpu *c, const struct insn *in, u32 number, u64 info1, enum cpu_result *res)
{
	if (!svm_intercepts(c, number))
		return false;
	*res = svm_vmexit_insn(c, in, number, info1, 0);
	return true;
}

static u64 assist(const struct cpu *c, u64 info1)
{
	return svm_has(&c->svm->caps, SVM_FEAT_DECODE_ASSISTS) ? info1 : 0;
}

/* -- control and debug registers (APM2 15.8) -- */

/* EXITINFO1 of MOV to and from control and debug registers with decode assists. */
static u64 mov_info(const struct cpu *c, const struct insn *in, u64 flag)
{
	return assist(c, flag | in->rm);
}

/* APM2 15.9: a write that changes more than TS and MP. */
static bool selective(struct cpu *c, const struct insn *in, u64 v, enum cpu_result *res)
{
	return ((c->cr0 ^ v) & ~(CR0_TS | CR0_MP)) && exits(c, in, SVM_I_CR0_SEL_WRITE, 0, res);
}

static bool mov_cr(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	u32 cr = in->reg + (in->prefixes & PFX_LOCK ? 8 : 0);
	bool write = in->opcode == 0x22;

	if ((cr > 4 && cr != 8) || cr == 1 || c->cpl)
		return false;
	if (exits(c, in, (write ? SVM_I_CR_WRITE : SVM_I_CR_READ) + cr, mov_info(c, in, BIT64(63)),
		  res))
		return true;
	return write && cr == 0 &&
	       selective(c, in, insn_reg(c, in->rm, in->mode == 8 ? 8 : 4), res);
}

static bool mov_dr(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	u32 dr = in->reg;

	if (dr > 7 || ((dr & ~1u) == 4 && (c->cr4 & CR4_DE)) || c->cpl || (c->dr7 & DR7_GD) ||
	    (in->prefixes & PFX_LOCK))
		return false;
	return exits(c, in, (in->opcode == 0x23 ? SVM_I_DR_WRITE : SVM_I_DR_READ) + dr,
		     mov_info(c, in, 0), res);
}

static bool mov(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	if (in->map != 1)
		return false;
	switch (in->opcode) {
	case 0x20: case 0x22: return mov_cr(c, in, res);
	case 0x21: case 0x23: return mov_dr(c, in, res);
	}
	return false;
}

/* The selective intercept takes LMSW whatever it writes (APM2 15.9), before its operand is read. */
static bool lmsw(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	return exits(c, in, SVM_I_CR_WRITE, 0, res) || exits(c, in, SVM_I_CR0_SEL_WRITE, 0, res);
}

static bool clts(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	return exits(c, in, SVM_I_CR_WRITE, 0, res);
}

/* -- software interrupts (APM2 15.12, 15.13.3) -- */

static bool int_n(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	return exits(c, in, SVM_I_INTN, assist(c, in->imm & 0xff), res);
}

/* RIP stays at the instruction for #BP and #OF (APM2 15.12.4, 15.12.5). */
static bool int3(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	if (!svm_intercepts(c, SVM_I_EXCP + EXC_BP))
		return false;
	/* A debugger outside has the first say. */
	*res = cpu_hooks->breakpoint ? cpu_hooks->breakpoint(c, EXC_BP) : CPU_OK;
	if (*res != CPU_OK)
		return true;
	return exits(c, in, SVM_I_EXCP + EXC_BP, 0, res);
}

static bool into(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	return in->mode != 8 && (c->rflags & FL_OF) && exits(c, in, SVM_I_EXCP + EXC_OF, 0, res);
}

static bool int1(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	if (exits(c, in, SVM_I_ICEBP, 0, res))
		return true;
	if (!svm_intercepts(c, SVM_I_EXCP + EXC_DB))
		return false;
	insn_retire(c, in);	/* a trap */
	cpu_debugctl_db(c);
	*res = svm_vmexit(c, SVM_EXIT_EXCP + EXC_DB, 0, 0);
	return true;
}

/* -- PAUSE (APM2 15.14.4) -- */

bool svm_pause_exits(struct cpu *c)
{
	struct svm *s = c->svm;
	u64 now;

	if (!svm_has(&s->caps, SVM_FEAT_PAUSE_FILTER) || !s->ctl.pause_count)
		return true;
	if (svm_has(&s->caps, SVM_FEAT_PAUSE_THRESH) && s->ctl.pause_thresh) {
		now = __builtin_ia32_rdtsc();
		/* A PAUSE outside a tight loop: count again. */
		if (now - s->pause_tsc > s->ctl.pause_thresh)
			s->pause_left = s->ctl.pause_count;
		s->pause_tsc = now;
	}
	if (s->pause_left) {
		s->pause_left--;
		return false;
	}
	return true;
}

static bool pause_insn(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	/* With REX.B, F3 90 is XCHG r8, rAX. */
	if (in->opcode == 0x90 && in->opreg != 0)
		return false;
	return svm_intercepts(c, SVM_I_PAUSE) && svm_pause_exits(c) &&
	       exits(c, in, SVM_I_PAUSE, 0, res);
}

/* -- the rest -- */

/* The other maker's hypercall is #UD here, unless the VM repairs it (quirk). */
static bool vmcall(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	u64 rip = c->rip, next;
	struct insn copy = *in;

	insn_retire(c, in);
	next = c->rip;
	c->rip = rip;
	if (c->cpl && !svm_intercepts(c, SVM_I_EXCP + EXC_UD)) {
		*res = cpu_raise_err(c, EXC_GP, 0);	/* as in L1 (vcpu/hypercall.c) */
		return true;
	}
	/* The repair may throw the translation away, and `in` with it. */
	if (svm_intercepts(c, SVM_I_EXCP + EXC_UD) || !c->svm->ops->fix_hypercall(c)) {
		*res = cpu_raise(c, EXC_UD);
		return true;
	}
	if (svm_hv_call(c, &copy, res))
		return true;
	/* Not intercepted: it is executed again, as a VMMCALL. */
	*res = CPU_OK;
	if (svm_intercepts(c, SVM_I_VMMCALL)) {
		c->svm->exit_next_rip = next;
		*res = svm_vmexit(c, SVM_EXIT_VMMCALL, 0, 0);
	}
	return true;
}

static bool vmmcall(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	return svm_hv_call(c, in, res) || exits(c, in, SVM_I_VMMCALL, 0, res);
}

static bool rdpmc(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	/* All its exceptions come first (APM2 15.9). */
	return (u32)c->gpr[R_RCX] < c->pmcs && (!c->cpl || (c->cr4 & CR4_PCE)) &&
	       exits(c, in, SVM_I_RDPMC, 0, res);
}

static bool xsetbv(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	return (c->cr4 & CR4_OSXSAVE) && exits(c, in, SVM_I_XSETBV, 0, res);
}

static u64 linear(struct cpu *c, const struct insn *in)
{
	u64 a = insn_ea(c, in);

	if (!cpu_in_64(c))
		return (u32)(c->seg[in->seg].base + a);
	if (in->seg == S_FS || in->seg == S_GS)
		a += c->seg[in->seg].base;
	return a;
}

static bool invlpg(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	return exits(c, in, SVM_I_INVLPG, assist(c, linear(c, in)), res);
}

/*
 * EXITINFO1 is the descriptor's linear address, EXITINFO2 the type in the register: a hypervisor
 * that shadows page tables has nothing else to do INVPCID with. No decode assist (Linux reads
 * both without asking for them).
 */
static bool invpcid(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	if (!svm_intercepts(c, SVM_I_INVPCID))
		return false;
	*res = svm_vmexit_insn(c, in, SVM_I_INVPCID, linear(c, in),
			       insn_reg(c, in->reg, in->mode == 8 ? 8 : 4));
	return true;
}

/* -- write traps: after the instruction, with the new value -- */

void svm_write_trap(struct cpu *c, const struct insn *in)
{
	u32 cr = 0;
	u64 v = c->cr0;

	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
		if (in->map != 1 || in->opcode != 0x22)
			return;
		cr = in->reg + (in->prefixes & PFX_LOCK ? 8 : 0);
		v = insn_reg(c, in->rm, in->mode == 8 ? 8 : 4);
		break;
	case ZYDIS_MNEMONIC_LMSW: case ZYDIS_MNEMONIC_CLTS:
		break;
	case ZYDIS_MNEMONIC_WRMSR:
		if ((u32)c->gpr[R_RCX] == MSR_EFER && svm_intercepts(c, SVM_I_EFER_WRITE_TRAP))
			svm_vmexit(c, SVM_EXIT_EFER_WRITE_TRAP, c->efer, 0);
		return;
	default:
		return;
	}
	if (svm_intercepts(c, SVM_I_CR_WRITE_TRAP + cr))
		svm_vmexit(c, SVM_EXIT_CR_WRITE_TRAP + cr, v, 0);
}

/* The exceptions of the table's rules. */
static bool comes_first(const struct cpu *c, u32 rules)
{
	if ((rules & R_PROT) && (cpu_real_mode(c) || cpu_v86(c)))
		return true;
	if (!c->cpl)
		return false;
	return (rules & (R_CPL0 | R_UD_CPL)) || ((rules & R_UMIP) && (c->cr4 & CR4_UMIP)) ||
	       ((rules & R_TSD) && (c->cr4 & CR4_TSD));
}

bool svm_intercept(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	test_fn *fn = special[in->mnemonic];
	u32 bit = plain[in->mnemonic];

	if (likely(!fn && !bit))
		return false;
	/* LOCK is #UD, except before MOV CRn. */
	if (unlikely((in->prefixes & PFX_LOCK) && in->mnemonic != ZYDIS_MNEMONIC_MOV))
		return false;
	if (comes_first(c, insn_rows[in->mnemonic].rules))
		return false;
	return fn ? fn(c, in, res) : exits(c, in, bit - 1, 0, res);
}
