/* SPDX-License-Identifier: MIT */
/* cpu/system.c - CPUID, MSRs, time stamps, TLB and cache instructions, bases, HLT. */
#include <Zydis/Zydis.h>

#include "cpu/access.h"
#include "cpu/exec_priv.h"
#include "engine/engine.h"
#include "mmu/mmu.h"

static enum cpu_result gp0(struct cpu *c)
{
	return cpu_raise_err(c, EXC_GP, 0);
}

static void set32(struct cpu *c, enum cpu_gpr r, u32 v)
{
	c->gpr[r] = v;
}

enum cpu_result exec_cpuid(struct cpu *c, const struct insn *in)
{
	u32 out[4];

	if (unlikely(c->cpuid_faults) && c->cpl)
		return cpu_raise_err(c, EXC_GP, 0);
	/* The usual way to run what was written and told of through memory (APM2 7.6.1, 7.6.4). */
	engine_serialise(c, false);
	__asm__ volatile("lfence" : : : "memory");
	cpu_hooks->cpuid(c, c->gpr[R_RAX], c->gpr[R_RCX], out);
	set32(c, R_RAX, out[0]);
	set32(c, R_RBX, out[1]);
	set32(c, R_RCX, out[2]);
	set32(c, R_RDX, out[3]);
	return CPU_OK;
}

enum cpu_result exec_rdmsr(struct cpu *c, const struct insn *in)
{
	u64 v;
	enum cpu_result r = cpu_hooks->msr_read(c, c->gpr[R_RCX], &v);

	if (r)
		return r;
	set32(c, R_RAX, v);
	set32(c, R_RDX, v >> 32);
	return CPU_OK;
}

enum cpu_result exec_wrmsr(struct cpu *c, const struct insn *in)
{
	u64 v = (u32)c->gpr[R_RAX] | c->gpr[R_RDX] << 32;

	engine_serialise(c, true);
	return cpu_hooks->msr_write(c, c->gpr[R_RCX], v);
}

/* -- time -- */

u64 cpu_rdtsc(const struct cpu *c)
{
	u64 t = __builtin_ia32_rdtsc();

	if (c->tsc_ratio != BIT64(32))
		t = (u128)t * c->tsc_ratio >> 32;
	return t + c->tsc_offset;
}

enum cpu_result exec_rdtsc(struct cpu *c, const struct insn *in)
{
	u64 t = cpu_rdtsc(c);

	set32(c, R_RAX, t);
	set32(c, R_RDX, t >> 32);
	return CPU_OK;
}

enum cpu_result exec_rdtscp(struct cpu *c, const struct insn *in)
{
	/* What is older is done before the time is read (APM3, RDTSCP); RDTSC alone waits for
	 * nothing. */
	__asm__ volatile("lfence" : : : "memory");
	exec_rdtsc(c, in);
	set32(c, R_RCX, c->tsc_aux);
	return CPU_OK;
}

enum cpu_result exec_rdpmc(struct cpu *c, const struct insn *in)
{
	u32 i = (u32)c->gpr[R_RCX];
	u64 n;

	if (i >= c->pmcs || (c->cpl && !(c->cr4 & CR4_PCE) && !cpu_real_mode(c)))
		return gp0(c);
	n = cpu_hooks->rdpmc(c, i);
	set32(c, R_RAX, n);
	set32(c, R_RDX, n >> 32);
	return CPU_OK;
}

enum cpu_result exec_rdpid(struct cpu *c, const struct insn *in)
{
	c->gpr[in->rm] = (u32)c->tsc_aux;
	return CPU_OK;
}

/* RDPKRU and WRPKRU (APM3): of every ring. */
enum cpu_result exec_pkru(struct cpu *c, const struct insn *in)
{
	if (!(c->cr4 & CR4_PKE))
		return cpu_raise(c, EXC_UD);
	if ((u32)c->gpr[R_RCX] || (in->mnemonic == ZYDIS_MNEMONIC_WRPKRU && (u32)c->gpr[R_RDX]))
		return cpu_raise_err(c, EXC_GP, 0);
	if (in->mnemonic == ZYDIS_MNEMONIC_WRPKRU) {
		cpu_set_pkru(c, (u32)c->gpr[R_RAX]);
		return CPU_OK;
	}
	insn_set_reg(c, R_RAX, 4, c->pkru);
	insn_set_reg(c, R_RDX, 4, 0);
	return CPU_OK;
}

/* -- translations and caches -- */

enum cpu_result exec_invlpg(struct cpu *c, const struct insn *in)
{
	u64 a = insn_ea(c, in);

	/* No limit or canonical check; nothing is accessed (APM3 INVLPG). */
	if (!cpu_in_64(c))
		a = (u32)(c->seg[in->seg].base + a);
	else if (in->seg == S_FS || in->seg == S_GS)
		a += c->seg[in->seg].base;
	if (cpu_canonical(c, a))
		mmu_invlpg(c, a);
	engine_serialise(c, true);
	return CPU_OK;
}

enum cpu_result exec_invpcid(struct cpu *c, const struct insn *in)
{
	enum { ADDRESS, SINGLE, ALL_GLOBAL, ALL };
	u64 type = insn_reg(c, in->reg, in->mode == 8 ? 8 : 4);
	u64 d[2];
	enum cpu_result r;

	if (type > ALL)
		return gp0(c);
	r = cpu_read(c, in->seg, insn_ea(c, in), d, sizeof(d));
	if (r)
		return r;
	/* Bits 63:12 are MBZ; without PCIDE only PCID 0 exists (APM3 INVPCID). */
	if (d[0] >> 12)
		return gp0(c);
	if (type <= SINGLE && d[0] && !(c->cr4 & CR4_PCIDE))
		return gp0(c);
	if (type == ADDRESS) {
		if (!cpu_canonical_base(c, d[1]))
			return gp0(c);
		mmu_invlpg(c, d[1]);
	} else {
		mmu_flush(c, type == ALL_GLOBAL);
	}
	engine_serialise(c, true);
	return CPU_OK;
}

static enum cpu_result retire_and_pause(struct cpu *c, const struct insn *in)
{
	insn_retire(c, in);
	cpu_hooks->pause(c);
	return CPU_OK;
}

/* APM3 CLZERO: the cache line that rAX points into, as stores like any others. */
enum cpu_result exec_clzero(struct cpu *c, const struct insn *in)
{
	static const u8 line[64];
	u64 ea = insn_reg(c, R_RAX, in->addrsize) & ~63ull;
	enum cpu_result r = cpu_write(c, in->seg, ea, line, sizeof(line));

	/* A store that waits for user space is made as far as the guest can see. */
	if (r == CPU_OK || r == CPU_DONE)
		insn_retire(c, in);
	return r;
}

/* INVD, WBINVD, WBNOINVD: guest memory is coherent, there is nothing to write back. */
enum cpu_result exec_cache(struct cpu *c, const struct insn *in)
{
	engine_serialise(c, false);
	return retire_and_pause(c, in);
}

enum cpu_result exec_pause(struct cpu *c, const struct insn *in)
{
	/* With REX.B, F3 90 is XCHG r8, rAX (APM3, PAUSE). */
	if (in->opcode == 0x90 && in->opreg != 0) {
		u64 a = insn_reg(c, R_RAX, in->opsize), b = insn_reg(c, in->opreg, in->opsize);

		insn_set_reg(c, R_RAX, in->opsize, b);
		insn_set_reg(c, in->opreg, in->opsize, a);
		insn_retire(c, in);
		return CPU_OK;
	}
	return retire_and_pause(c, in);
}

enum cpu_result exec_hlt(struct cpu *c, const struct insn *in)
{
	insn_retire(c, in);
	return cpu_hooks->hlt(c);
}

/* -- segment bases -- */

enum cpu_result exec_swapgs(struct cpu *c, const struct insn *in)
{
	u64 v = c->seg[S_GS].base;

	/* 64-bit mode only: #UD elsewhere (APM3 SWAPGS). */
	if (!cpu_in_64(c))
		return cpu_raise(c, EXC_UD);
	c->seg[S_GS].base = c->kernel_gs_base;
	c->kernel_gs_base = v;
	cpu_mode_changed(c);
	return CPU_OK;
}

enum cpu_result exec_fsgsbase(struct cpu *c, const struct insn *in)
{
	enum cpu_sreg s;
	bool write;
	u64 v;

	if (!cpu_in_64(c) || !(c->cr4 & CR4_FSGSBASE))
		return cpu_raise(c, EXC_UD);
	s = in->mnemonic == ZYDIS_MNEMONIC_RDFSBASE || in->mnemonic == ZYDIS_MNEMONIC_WRFSBASE
		    ? S_FS
		    : S_GS;
	write = in->mnemonic == ZYDIS_MNEMONIC_WRFSBASE || in->mnemonic == ZYDIS_MNEMONIC_WRGSBASE;
	if (!write) {
		insn_set_reg(c, in->rm, in->rex_w ? 8 : 4, c->seg[s].base);
		return CPU_OK;
	}
	v = insn_reg(c, in->rm, in->rex_w ? 8 : 4);
	if (!cpu_canonical_base(c, v))
		return gp0(c);
	c->seg[s].base = v;
	cpu_mode_changed(c);
	return CPU_OK;
}

/* -- what belongs to vcpu/ -- */

enum cpu_result exec_hypercall(struct cpu *c, const struct insn *in)
{
	return cpu_hooks->hypercall(c, in);
}

enum cpu_result exec_svm(struct cpu *c, const struct insn *in)
{
	return cpu_hooks->svm(c, in);
}

enum cpu_result exec_rsm(struct cpu *c, const struct insn *in)
{
	return cpu_hooks->rsm(c);
}
