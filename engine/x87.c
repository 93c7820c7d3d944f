/* SPDX-License-Identifier: MIT */
/*
 * engine/x87.c - the pointers to the last x87 instruction and its operand (APM1 6.2.6, 6.9.2).
 *
 * The host's processor keeps those of translated code, and of memory where the program has it. A
 * guest may see neither: it gets the instruction that this code was made of, and the address by
 * which the TLB has that memory. What is known of neither any more is 0.
 */
#include "engine/engine_priv.h"
#include "engine/xstate.h"

#define FOP_MASK 0x7ffu

static u64 linear_of(const struct engine *e, u64 host, u64 bits)
{
	const struct cpu *c = e->c;
	u32 idx = cpu_mmu_idx(c);

	if (!((host ^ e->x87_host) & bits))
		return e->x87_lin;
	for (u32 write = 0; write < 2; write++) {
		const struct tlb_entry *t = write ? c->tlb[idx].w : c->tlb[idx].r;

		for (u32 i = 0; i < TLB_SIZE; i++)
			if (!((t[i].host ^ host) & bits & PAGE_MASK) &&
			    t[i].tag != tlb_empty_tag(i))
				return (t[i].tag & PAGE_MASK) | (host & ~PAGE_MASK);
	}
	return 0;
}

/* What is not code of ours the guest has loaded by itself (fpu.c). bits: those that are known. */
static void own(const struct engine *e, struct x87_pointers *p, u64 bits)
{
	const struct cpu *c = e->c;
	u64 off = (p->ip - (u64)e->mem.rx) & bits, at = (u64)e->mem.rx + off, seg = 0;
	struct unit *u;
	u32 i;

	if (off >= e->mem.size)
		return;
	u = cache_unit_at(c->engine, at);
	p->ip = 0;
	if (u) {
		i = unit_insn_at(e, u, at);
		p->ip = u->rip + (u64)(s64)u->insns[i].guest;
	}
	p->dp = p->dp ? linear_of(e, p->dp, bits) : 0;
	if (!cpu_in_64(c)) {
		seg = c->seg[S_DS].base;
		p->ip = (u32)p->ip;
		p->dp = p->dp ? (u32)(p->dp - seg) : 0;
	}
	p->cs = p->cs ? c->seg[S_CS].sel : 0;
	p->ds = p->ds ? c->seg[S_DS].sel : 0;
}

/* What FNSTENV stores: words of the 32-bit forms (APM1 6.2.6). */
enum { ENV_IP = 3, ENV_CS_OP, ENV_DP, ENV_DS, ENV_WORDS };

void x87_pointers(struct engine *e, struct x87_pointers *p)
{
	u32 env[ENV_WORDS];

	engine_fpu_load(e->c);
	/* FNSTENV masks all exceptions; nothing else changes. */
	__asm__ volatile("fnstenv %0; fldenv %0" : "=m"(env) : : "memory");
	*p = (struct x87_pointers){ .ip = env[ENV_IP], .dp = env[ENV_DP],
				    .cs = (u16)env[ENV_CS_OP], .ds = (u16)env[ENV_DS],
				    .op = env[ENV_CS_OP] >> 16 & FOP_MASK };
	/* Whose they are is not known yet, if they are not of our code (fpu.c). */
	if (!e->env_used && !xstate_pointers_restored()) {
		e->env_used = true;
		if (((p->ip - (u64)e->mem.rx) & 0xffffffff) >= e->mem.size)
			*p = (struct x87_pointers){ 0 };
	}
	own(e, p, 0xffffffff);
}

void x87_put_env(const struct cpu *c, const struct insn *in, const struct x87_pointers *p, u8 *env)
{
	bool real = !(c->cr0 & CR0_PE) || c->rflags & FL_VM;
	u64 ip = p->ip, dp = p->dp;

	if (real) {
		ip += c->seg[S_CS].base;
		dp += dp ? c->seg[S_DS].base : 0;
	}
	if (in->opsize == 2) {
		u16 *w = (u16 *)env;

		w[ENV_IP] = (u16)ip;
		w[ENV_CS_OP] = real ? (u16)((ip >> 4 & 0xf000) | p->op) : p->cs;
		w[ENV_DP] = (u16)dp;
		w[ENV_DS] = real ? (u16)(dp >> 4 & 0xf000) : p->ds;
	} else {
		u32 *w = (u32 *)env;

		w[ENV_IP] = real ? (w[ENV_IP] & 0xffff0000) | (u16)ip : (u32)ip;
		w[ENV_CS_OP] =
			real ? (u32)(ip >> 4 & 0x0ffff000) | p->op : p->cs | (u32)p->op << 16;
		w[ENV_DP] = real ? (w[ENV_DP] & 0xffff0000) | (u16)dp : (u32)dp;
		w[ENV_DS] = real ? (u32)(dp >> 4 & 0x0ffff000) : (w[ENV_DS] & 0xffff0000) | p->ds;
	}
}

void engine_x87_pointers(struct cpu *c)
{
	u64 *at = (u64 *)(c->xsave + XSAVE_IP);
	struct x87_pointers p = { .ip = at[0], .dp = at[1] };

	if (!p.ip || !(*(u64 *)(c->xsave + XSTATE_LEGACY_BYTES) & XSTATE_X87))
		return;
	own(c->engine, &p, ~0ull);
	at[0] = p.ip;
	at[1] = p.dp;
}
