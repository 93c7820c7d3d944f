/* SPDX-License-Identifier: MIT */
/*
 * engine/slow.c - one instruction alone, with full generality: operands that
 * cross pages, hit MMIO, code pages, or segments C must look at.
 *
 * Computation is still the host's: the operand is brought into a bounce buffer
 * and a one-instruction unit runs on it. Only stack and branch instructions,
 * whose operand is the transfer itself, are spelled out here.
 */
#include "base/mem.h"
#include "engine/engine_priv.h"
#include "engine/xstate.h"

static enum cpu_result lin_of(struct cpu *c, u8 seg, u64 ea, u32 len, bool write, u64 *lin)
{
	return c->ops->linear(c, seg, ea, len, write, lin);
}

static enum cpu_result seg_read(struct cpu *c, u8 seg, u64 ea, void *buf, u32 len)
{
	u64 lin;
	enum cpu_result r = lin_of(c, seg, ea, len, false, &lin);

	if (!r)
		r = cpu_align(c, lin, len - 1);
	return r ? r : c->ops->mem_read(c, lin, buf, len, cpu_mmu_idx(c));
}

/* A write that only queued (CPU_DONE) still counts as done: *exit remembers it. */
static enum cpu_result seg_write(struct cpu *c, u8 seg, u64 ea, const void *buf, u32 len,
				 bool *exit)
{
	u64 lin;
	enum cpu_result r = lin_of(c, seg, ea, len, true, &lin);

	if (!r)
		r = cpu_align(c, lin, len - 1);
	if (r)
		return r;
	r = c->ops->mem_write(c, lin, buf, len, cpu_mmu_idx(c));
	if (r == CPU_DONE) {
		*exit = true;
		return CPU_OK;
	}
	return r;
}

static u64 sp_mask(const struct cpu *c)
{
	if (cpu_in_64(c))
		return ~0ull;
	return c->seg[S_SS].attr & SEG_DB ? 0xffffffffu : 0xffffu;
}

static void sp_set(struct cpu *c, u64 v)
{
	u64 m = sp_mask(c);

	if (m == 0xffff)
		c->gpr[R_RSP] = (c->gpr[R_RSP] & ~m) | (v & m);
	else
		c->gpr[R_RSP] = v & m;
}

static enum cpu_result push(struct cpu *c, u64 v, u32 n, bool *exit)
{
	u64 sp = (c->gpr[R_RSP] - n) & sp_mask(c);
	enum cpu_result r = seg_write(c, S_SS, sp, &v, n, exit);

	if (r == CPU_OK)
		sp_set(c, sp);
	return r;
}

static u64 trunc_rip(const struct cpu *c, u64 v, u32 opsize)
{
	if (opsize == 2)
		return (u16)v;
	return cpu_in_64(c) ? v : (u32)v;
}

static enum cpu_result near_branch(struct engine *e, const struct insn *in, bool *exit)
{
	struct cpu *c = e->c;
	u64 next = c->rip + in->len, target = 0;
	bool call = in->mnemonic == ZYDIS_MNEMONIC_CALL;
	enum cpu_result r;

	if (!in->has_mem && in->opcode == 0xe8) {
		target = next + in->imm;
	} else if (in->has_mem) {
		r = seg_read(c, in->seg, insn_ea(c, in), &target, in->opsize);
		if (r)
			return r;
	} else {
		target = insn_reg(c, in->rm, in->opsize);
	}
	target = trunc_rip(c, target, in->opsize);
	if (cpu_in_64(c) && !engine_canonical(c, target))
		return cpu_raise_err(c, EXC_GP, 0);
	if (call) {
		r = push(c, trunc_rip(c, next, in->opsize), in->opsize, exit);
		if (r)
			return r;
	}
	c->rip = target;
	return CPU_OK;
}

static enum cpu_result stack_insn(struct engine *e, const struct insn *in, bool *exit)
{
	struct cpu *c = e->c;
	u64 m = sp_mask(c), v = 0, ea;
	u32 n = in->opsize;
	enum cpu_result r;

	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_PUSH:
		if (in->has_mem) {
			r = seg_read(c, in->seg, insn_ea(c, in), &v, n);
			if (r)
				return r;
		} else if (in->opcode == 0x6a || in->opcode == 0x68) {
			v = in->imm;
		} else {
			v = c->gpr[in->opcode == 0xff ? in->rm : in->opreg];
		}
		r = push(c, v, n, exit);
		break;
	case ZYDIS_MNEMONIC_POP:
		r = seg_read(c, S_SS, c->gpr[R_RSP] & m, &v, n);
		if (r)
			return r;
		if (in->has_mem) {
			/* An RSP base sees the incremented value (APM3, POP). */
			u64 old = c->gpr[R_RSP];

			sp_set(c, old + n);
			ea = insn_ea(c, in);
			r = seg_write(c, in->seg, ea, &v, n, exit);
			if (r)
				c->gpr[R_RSP] = old;
		} else {
			sp_set(c, c->gpr[R_RSP] + n);
			insn_set_reg(c, in->opcode == 0x8f ? in->rm : in->opreg, n, v);
		}
		break;
	case ZYDIS_MNEMONIC_LEAVE:
		r = seg_read(c, S_SS, c->gpr[R_RBP] & m, &v, n);
		if (r)
			return r;
		sp_set(c, c->gpr[R_RBP] + n);
		insn_set_reg(c, R_RBP, n, v);
		break;
	case ZYDIS_MNEMONIC_RET:
		r = seg_read(c, S_SS, c->gpr[R_RSP] & m, &v, n);
		if (r)
			return r;
		v = trunc_rip(c, v, n);
		if (cpu_in_64(c) && !engine_canonical(c, v))
			return cpu_raise_err(c, EXC_GP, 0);
		sp_set(c, c->gpr[R_RSP] + n + (in->opcode == 0xc2 ? (u16)in->imm : 0));
		c->rip = v;
		return CPU_OK;
	default:	/* the table says that it is none of these */
		return cpu_raise(c, EXC_UD);
	}
	if (r == CPU_OK)
		insn_retire(c, in);
	return r;
}

/* Run the one-instruction unit for the instruction at c->rip on *ptr. */
enum cpu_result slow_run_alone(struct engine *e, u8 *ptr)
{
	struct cpu *c = e->c;
	struct unit *u;
	enum cpu_result r = engine_find_unit(e, e->mode | MODE_BOUNCE, WAY_BODY, &u);

	if (r)
		return r;
	u8 *at = codemem_at(&e->mem, u->e_body);

	for (;;) {
		e->bounce_ptr = (u64)(uintptr_t)ptr;
		struct record *rec = engine_enter(e, at);

		switch (rec->kind) {
		case REC_FPU:
			engine_fpu_load(c);
			at = codemem_at(&e->mem, rec->resume);
			continue;
		case REC_BOUNCED:
			c->rip = record_rip(rec);
			return CPU_OK;
		case REC_NM:
			return engine_fpu_fault(e, rec->insn);
		case REC_FAULT:
			return CPU_FAULT;
		default:
			return cpu_raise(c, EXC_UD);
		}
	}
}

static void x87_words(struct cpu *c, u16 *cw, u16 *sw)
{
	if (c->fpu_live) {
		__asm__ volatile("fnstsw %0" : "=m"(*sw));
		__asm__ volatile("fnstcw %0" : "=m"(*cw));
	} else if (*(u64 *)(c->xsave + XSAVE_BV) & XSTATE_X87) {
		*cw = *(u16 *)(c->xsave + XSAVE_FCW);
		*sw = *(u16 *)(c->xsave + XSAVE_FSW);
	} else {
		*cw = FCW_INIT;
		*sw = 0;
	}
}

bool slow_mf_pending(struct cpu *c, const struct insn *in)
{
	u16 cw, sw;

	if (!insn_waits(in))
		return false;
	x87_words(c, &cw, &sw);
	return sw & 0x80;
}

/*
 * The instruction that has just run on the bounce buffer is one of insn_may_skip_store(): has it
 * stored? Every one of them waits, so what is pending now it has raised itself. Precision is
 * raised with the result in its place, the others instead of it.
 */
static bool x87_stored(struct cpu *c)
{
	u16 cw, sw;

	x87_words(c, &cw, &sw);
	return !(sw & ~cw & 0x1f);
}

/* XCHG needs no prefix for that (APM2 7.3.2). */
bool insn_is_locked(const struct insn *in)
{
	return in->prefixes & PFX_LOCK || (in->mnemonic == ZYDIS_MNEMONIC_XCHG && in->mem_w);
}

/* With the size of what has just been stored there: a wider load would wait for it. */
static u64 bounced(const u8 *p, u32 n)
{
	switch (n) {
	case 1: return *p;
	case 2: return *(const u16 *)p;
	case 4: return *(const u32 *)p;
	default: return *(const u64 *)p;
	}
}

/*
 * MOV and MOVZX of general registers, with which drivers talk to their devices, need no unit: a
 * copy from or to the bounce buffer, and they have retired. False: it is another instruction.
 */
static bool move_alone(struct engine *e, const struct insn *in)
{
	struct cpu *c = e->c;
	u8 *at = e->bounce;

	switch (in->map << 8 | in->opcode) {
	case 0x88: case 0x8a:
		/* AH..BH */
		if (!in->has_rex && in->reg & 4)
			return false;
		/* fall through */
	case 0x89: case 0x8b:
		if (in->mem_w)
			*(u64 *)at = c->gpr[in->reg];
		else
			insn_set_reg(c, in->reg, in->memsize, bounced(at, in->memsize));
		break;
	case 0x1b6: case 0x1b7:
		insn_set_reg(c, in->reg, in->opsize, bounced(at, in->memsize));
		break;
	case 0xc6: case 0xc7:
		*(u64 *)at = in->imm;
		break;
	default:
		return false;
	}
	insn_retire(c, in);
	return true;
}

/* On a copy. */
static enum cpu_result on_bounce(struct engine *e, const struct insn *in, const struct mem_ref *m,
				 bool *exit)
{
	struct x87_pointers x87;
	struct cpu *c = e->c;
	enum cpu_result r;

	if (in->mem_r) {
		r = c->ops->mem_load(c, m, e->bounce);
		if (r)
			return r;
	}
	if (!move_alone(e, in)) {
		/* Never what another access has left there. */
		if (!in->mem_r)
			cpu_zero(e->bounce, m->len);
		if (insn_stores_env(in))
			x87_pointers(e, &x87);
		r = slow_run_alone(e, e->bounce);
		if (r == CPU_OK && insn_stores_env(in))
			x87_put_env(c, in, &x87, e->bounce);
		if (r || !in->mem_w || (insn_may_skip_store(in) && !x87_stored(c)))
			return r;
	} else if (!in->mem_w) {
		return CPU_OK;
	}
	r = c->ops->mem_store(c, m, e->bounce);
	if (r == CPU_DONE) {
		*exit = true;
		r = CPU_OK;
	}
	return r;
}

/*
 * What is memory in one piece on the host is worked on where it is, also over two pages: then the
 * host's CPU makes a LOCK what it should be. One over two places has to itself what it cannot
 * lock.
 */
static enum cpu_result operand_access(struct engine *e, const struct insn *in, u64 lin, bool *exit)
{
	enum mem_access acc = in->mem_w ? MEM_W : MEM_R;
	struct cpu *c = e->c;
	struct mem_ref m;
	bool alone;
	u8 *host;
	enum cpu_result r;

	r = c->ops->mem_open(c, lin, in->memsize, acc, cpu_mmu_idx(c), &m);
	if (r)
		return r;
	host = insn_stores_env(in) ? NULL : mem_place(&m, in->mem_w);
	if ((in->opcode & 0xf8) == 0xd8 && !in->map && !insn_stores_env(in)) {
		e->x87_host = (u64)(uintptr_t)(host ?: e->bounce);
		e->x87_lin = lin;
	}
	if (host) {
		r = slow_run_alone(e, host);
		if (r == CPU_OK)
			c->ops->mem_used(c, &m, in->mem_w);
		return r;
	}
	/* A device among the parts is asked in its turn. */
	alone = insn_is_locked(in) && m.n == 2 && m.p[0].dst && m.p[1].dst;
	if (alone) {
		engine_fpu_save(c);
		c->ops->alone(c, true);
		r = c->ops->mem_open(c, lin, in->memsize, acc, cpu_mmu_idx(c), &m);
	}
	if (r == CPU_OK)
		r = on_bounce(e, in, &m, exit);
	if (alone)
		c->ops->alone(c, false);
	return r;
}

enum cpu_result slow_operand(struct cpu *c, const struct insn *in, u32 len, u64 *lin)
{
	u64 ea = insn_ea(c, in), odd = insn_needs_alignment(in) ? in->memsize - 1u : 0;
	enum cpu_result r;

	if (in->seg == S_SS && ((ea + (cpu_in_64(c) ? 0 : c->seg[S_SS].base)) & odd))
		return cpu_raise_err(c, EXC_GP, 0);
	r = lin_of(c, in->seg, ea, len, in->mem_w, lin);
	if (!r && (*lin & odd))
		r = cpu_raise_err(c, EXC_GP, 0);
	return r;
}

#define CACHE_LINE 64u

static enum cpu_result bounce_access(struct engine *e, const struct insn *in, bool *exit)
{
	struct cpu *c = e->c;
	u32 n = in->memsize;
	u64 lin;
	enum cpu_result r = slow_operand(c, in, n, &lin);

	if (r)
		return r;
	if (unlikely(cpu_align_checked(c)))
		r = cpu_align(c, lin, insn_align_mask(in, n));
	if (!r && unlikely(c->bus_locks) && insn_is_locked(in) &&
	    (lin ^ (lin + n - 1)) >= CACHE_LINE)
		r = c->ops->bus_lock(c);
	return r ? r : operand_access(e, in, lin, exit);
}

/* Only checked, also where there is no memory. Code that may not be read may be flushed (SDM2
 * CLFLUSH). */
static enum cpu_result flush_line(struct engine *e, const struct insn *in)
{
	struct cpu *c = e->c;
	struct cpu_seg *seg = &c->seg[in->seg];
	u16 attr = seg->attr;
	struct mem_ref m;
	u64 lin;
	enum cpu_result r;

	if (attr & SEG_CODE)
		seg->attr |= SEG_RW;
	r = lin_of(c, in->seg, insn_ea(c, in), 1, false, &lin);
	seg->attr = attr;
	if (!r)
		r = c->ops->mem_open(c, lin, 1, MEM_R, cpu_mmu_idx(c), &m);
	if (!r)
		insn_retire(c, in);
	return r;
}

static enum cpu_result bounce(struct engine *e, const struct insn *in, bool *exit)
{
	enum cpu_result r;

	e->c->accessing = in;
	r = bounce_access(e, in, exit);
	e->c->accessing = NULL;
	return r;
}

enum cpu_result slow_exec(struct engine *e, const struct insn *in)
{
	bool exit = false;
	enum cpu_result r;

	/* Before anything is read, too: it may be a device. */
	if (slow_mf_pending(e->c, in))
		return cpu_raise(e->c, EXC_MF);
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_PUSH: case ZYDIS_MNEMONIC_POP: case ZYDIS_MNEMONIC_LEAVE:
	case ZYDIS_MNEMONIC_RET:
		r = stack_insn(e, in, &exit);
		break;
	case ZYDIS_MNEMONIC_PUSHFQ:
		return e->c->ops->exec(e->c, in);
	case ZYDIS_MNEMONIC_CALL: case ZYDIS_MNEMONIC_JMP:
		r = near_branch(e, in, &exit);
		break;
	case ZYDIS_MNEMONIC_MASKMOVQ: case ZYDIS_MNEMONIC_MASKMOVDQU:
	case ZYDIS_MNEMONIC_VMASKMOVDQU:
		r = slow_maskmov(e, in);
		break;
	case ZYDIS_MNEMONIC_VGATHERDPD: case ZYDIS_MNEMONIC_VGATHERDPS:
	case ZYDIS_MNEMONIC_VGATHERQPD: case ZYDIS_MNEMONIC_VGATHERQPS:
	case ZYDIS_MNEMONIC_VPGATHERDD: case ZYDIS_MNEMONIC_VPGATHERDQ:
	case ZYDIS_MNEMONIC_VPGATHERQD: case ZYDIS_MNEMONIC_VPGATHERQQ:
		r = in->evex ? slow_evex_vsib(e, in, &exit) : slow_gather(e, in);
		break;
	case ZYDIS_MNEMONIC_VSCATTERDPD: case ZYDIS_MNEMONIC_VSCATTERDPS:
	case ZYDIS_MNEMONIC_VSCATTERQPD: case ZYDIS_MNEMONIC_VSCATTERQPS:
	case ZYDIS_MNEMONIC_VPSCATTERDD: case ZYDIS_MNEMONIC_VPSCATTERDQ:
	case ZYDIS_MNEMONIC_VPSCATTERQD: case ZYDIS_MNEMONIC_VPSCATTERQQ:
		r = slow_evex_vsib(e, in, &exit);
		break;
	case ZYDIS_MNEMONIC_VMASKMOVPS: case ZYDIS_MNEMONIC_VMASKMOVPD:
	case ZYDIS_MNEMONIC_VPMASKMOVD: case ZYDIS_MNEMONIC_VPMASKMOVQ:
		r = slow_vmaskmov(e, in);
		break;
	default:
		r = insn_is_flush(in) ? flush_line(e, in)
		    : in->mask	      ? slow_masked(e, in, &exit)
				      : bounce(e, in, &exit);
		break;
	}
	return r == CPU_OK && exit ? CPU_DONE : r;
}
