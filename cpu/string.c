/* SPDX-License-Identifier: MIT */
/*
 * cpu/string.c - MOVS, STOS, LODS, CMPS, SCAS with their repeats (APM3 1.2.6).
 *
 * As many elements as stay inside one page run natively on host addresses. What
 * cannot be reached directly (MMIO, pages with code, page crossings) goes element
 * by element. Registers are committed after every piece, so a fault or an exit
 * restarts the instruction where it stopped.
 */
#include "cpu/access.h"

enum { OP_MOVS = 0xa4, OP_CMPS = 0xa6, OP_STOS = 0xaa, OP_LODS = 0xac, OP_SCAS = 0xae };

struct str {
	struct cpu *c;
	u32 size;		/* of an element */
	u32 addrsize;
	enum cpu_sreg src;
	enum mmu_idx idx;
	bool back;		/* DF */
	bool rep, repne;
	bool stop;		/* the compare ended the repeat */
};

static u64 reg_ea(const struct str *s, u32 reg)
{
	return s->c->gpr[reg] & cpu_addr_mask(s->addrsize);
}

/* Host address of the element at seg:reg, and in *n how many may be used from it.
 * NULL: not directly; the element path finds out why. */
static u8 *window(struct str *s, enum cpu_sreg seg, u32 reg, bool write, u64 *n)
{
	struct cpu *c = s->c;
	const struct tlb_entry *e;
	u64 lin;

	if (cpu_span(c, seg, reg_ea(s, reg), s->size, s->addrsize, write, n, &lin) || !*n)
		return NULL;
	e = &(write ? c->tlb[s->idx].w : c->tlb[s->idx].r)[(lin >> PAGE_SHIFT) % TLB_SIZE];
	if (e->tag != (lin & PAGE_MASK) &&
	    (c->ops->tlb_fill(c, lin, write ? MEM_W : MEM_R, s->idx) ||
	     e->tag != (lin & PAGE_MASK)))
		return NULL;
	return (u8 *)(uintptr_t)e->host + (lin & ~PAGE_MASK);
}

/* One native repeat. Element order is the guest's, so overlaps come out right. */
#define REP(size, back, pre, op, ...) do {						\
	if (back) {									\
		switch (size) {								\
		case 1: __asm__ volatile("std; " pre op "b; cld" __VA_ARGS__); break;	\
		case 2: __asm__ volatile("std; " pre op "w; cld" __VA_ARGS__); break;	\
		case 4: __asm__ volatile("std; " pre op "l; cld" __VA_ARGS__); break;	\
		default: __asm__ volatile("std; " pre op "q; cld" __VA_ARGS__); break;	\
		}									\
	} else {									\
		switch (size) {								\
		case 1: __asm__ volatile(pre op "b" __VA_ARGS__); break;		\
		case 2: __asm__ volatile(pre op "w" __VA_ARGS__); break;		\
		case 4: __asm__ volatile(pre op "l" __VA_ARGS__); break;		\
		default: __asm__ volatile(pre op "q" __VA_ARGS__); break;		\
		}									\
	}										\
} while (0)

static void native_movs(u32 size, bool back, u8 *d, const u8 *s, u64 n)
{
	REP(size, back, "rep ", "movs", : "+D"(d), "+S"(s), "+c"(n) : : "memory", "cc");
}

static void native_stos(u32 size, bool back, u8 *d, u64 val, u64 n)
{
	REP(size, back, "rep ", "stos", : "+D"(d), "+c"(n) : "a"(val) : "memory", "cc");
}

/* The compares: returns how many elements were looked at; flags of the last. */
#define COMPARE_OPERANDS : "+D"(d), "+S"(a), "+c"(left), "=@ccc"(cf), "=@ccz"(zf), "=@ccs"(sf), \
	"=@cco"(of), "=@ccp"(pf) : "a"(rax) : "memory"

static u64 native_compare(bool scas, bool repne, u32 size, bool back, const u8 *a, u64 rax,
			  const u8 *d, u64 n, u32 *flags)
{
	bool cf, zf, sf, of, pf;
	const u8 *a0 = a, *d0 = d;
	u64 left = n, used;
	u64 x = rax, y = 0;

	if (scas) {
		if (repne)
			REP(size, back, "repne ", "scas", COMPARE_OPERANDS);
		else
			REP(size, back, "repe ", "scas", COMPARE_OPERANDS);
	} else {
		if (repne)
			REP(size, back, "repne ", "cmps", COMPARE_OPERANDS);
		else
			REP(size, back, "repe ", "cmps", COMPARE_OPERANDS);
	}
	used = n - left;
	/* AF has no condition code: carry out of bit 3 of the last pair. The low byte
	 * is read again; what another CPU does meanwhile can only change AF. */
	if (back) {
		y = d0[-(s64)((used - 1) * size)];
		x = scas ? rax : a0[-(s64)((used - 1) * size)];
	} else {
		y = d0[(used - 1) * size];
		x = scas ? rax : a0[(used - 1) * size];
	}
	*flags = (cf ? FL_CF : 0) | (zf ? FL_ZF : 0) | (sf ? FL_SF : 0) | (of ? FL_OF : 0) |
		 (pf ? FL_PF : 0) | ((x & 15) < (y & 15) ? FL_AF : 0);
	return used;
}

static void compare(struct str *s, bool scas, const u8 *a, const u8 *d, u64 n, u64 *done)
{
	struct cpu *c = s->c;
	u32 flags;

	*done = native_compare(scas, s->repne, s->size, s->back, a, c->gpr[R_RAX], d, n, &flags);
	c->rflags = (c->rflags & ~(u64)FL_ARITH) | flags;
	if (s->rep)
		s->stop = s->repne == !!(flags & FL_ZF);
}

static enum cpu_result read_element(struct str *s, enum cpu_sreg seg, u32 reg, u64 *v)
{
	*v = 0;
	return cpu_read(s->c, seg, reg_ea(s, reg), v, s->size);
}

/*
 * Each step handles up to n elements and says how many in *done. CPU_USER:
 * a read must be completed first; CPU_DONE: the element is done, leave.
 */
static enum cpu_result step_movs(struct str *s, u64 n, u64 *done)
{
	struct cpu *c = s->c;
	u64 k = n, lin, v;
	u8 *from, *to;
	enum cpu_result r;

	from = window(s, s->src, R_RSI, false, &k);
	to = from ? window(s, S_ES, R_RDI, true, &k) : NULL;
	if (likely(to)) {
		native_movs(s->size, s->back, to, from, k);
		*done = k;
		return CPU_OK;
	}
	/* A device must not be read for a store that will fault; but the source's
	 * own fault comes first. */
	r = cpu_linear(c, s->src, reg_ea(s, R_RSI), s->size, false, &lin);
	if (!r)
		r = cpu_align(c, lin, s->size - 1);
	if (!r && (c->ops->tlb_fill(c, lin, MEM_R, s->idx) == CPU_FAULT ||
		   ((lin & ~PAGE_MASK) + s->size > PAGE_SIZE &&
		    c->ops->tlb_fill(c, ALIGN_UP(lin, PAGE_SIZE), MEM_R, s->idx) == CPU_FAULT)))
		r = CPU_FAULT;
	if (!r)
		r = cpu_probe_w(c, S_ES, reg_ea(s, R_RDI), s->size);
	if (!r)
		r = read_element(s, s->src, R_RSI, &v);
	if (r)
		return r;
	r = cpu_write(c, S_ES, reg_ea(s, R_RDI), &v, s->size);
	*done = r != CPU_FAULT;
	return r;
}

static enum cpu_result step_stos(struct str *s, u64 n, u64 *done)
{
	struct cpu *c = s->c;
	u64 k = n;
	u8 *to = window(s, S_ES, R_RDI, true, &k);
	enum cpu_result r;

	if (likely(to)) {
		native_stos(s->size, s->back, to, c->gpr[R_RAX], k);
		*done = k;
		return CPU_OK;
	}
	r = cpu_write(c, S_ES, reg_ea(s, R_RDI), &c->gpr[R_RAX], s->size);
	*done = r != CPU_FAULT;
	return r;
}

static enum cpu_result step_lods(struct str *s, u64 n, u64 *done)
{
	u64 k = n, v = 0;
	const u8 *from = window(s, s->src, R_RSI, false, &k);

	if (likely(from)) {
		/* Only the last one is seen. */
		from += (k - 1) * (s->back ? -(s64)s->size : (s64)s->size);
		native_movs(s->size, false, (u8 *)&v, from, 1);
	} else {
		enum cpu_result r = read_element(s, s->src, R_RSI, &v);

		if (r)
			return r;
		k = 1;
	}
	insn_set_reg(s->c, R_RAX, s->size, v);
	*done = k;
	return CPU_OK;
}

static enum cpu_result step_cmps(struct str *s, u64 n, u64 *done)
{
	u64 k = n, a, d;
	const u8 *from = window(s, s->src, R_RSI, false, &k);
	const u8 *to = from ? window(s, S_ES, R_RDI, false, &k) : NULL;
	enum cpu_result r;

	if (likely(to)) {
		compare(s, false, from, to, k, done);
		return CPU_OK;
	}
	r = read_element(s, s->src, R_RSI, &a);
	if (!r)
		r = read_element(s, S_ES, R_RDI, &d);
	if (r)
		return r;
	compare(s, false, (u8 *)&a, (u8 *)&d, 1, done);
	return CPU_OK;
}

static enum cpu_result step_scas(struct str *s, u64 n, u64 *done)
{
	u64 k = n, d;
	const u8 *to = window(s, S_ES, R_RDI, false, &k);
	enum cpu_result r;

	if (likely(to)) {
		compare(s, true, NULL, to, k, done);
		return CPU_OK;
	}
	r = read_element(s, S_ES, R_RDI, &d);
	if (r)
		return r;
	compare(s, true, NULL, (u8 *)&d, 1, done);
	return CPU_OK;
}

static const struct op {
	u8 opcode;
	bool si, di;	/* registers that move */
	enum cpu_result (*step)(struct str *s, u64 n, u64 *done);
} ops[] = {
	{ OP_MOVS, true, true, step_movs },  { OP_STOS, false, true, step_stos },
	{ OP_LODS, true, false, step_lods }, { OP_CMPS, true, true, step_cmps },
	{ OP_SCAS, false, true, step_scas },
};

static void advance(struct str *s, u32 reg, u64 n)
{
	u64 by = n * s->size;

	cpu_set_addr_reg(s->c, reg, s->addrsize, s->c->gpr[reg] + (s->back ? -by : by));
}

enum cpu_result cpu_exec_string(struct cpu *c, const struct insn *in)
{
	struct str s = {
		.c = c,
		.size = in->opcode & 1 ? in->opsize : 1,
		.addrsize = in->addrsize,
		.src = cpu_data_seg(in),
		.idx = cpu_mmu_idx(c),
		.back = c->rflags & FL_DF,
		.rep = in->prefixes & (PFX_REP | PFX_REPNE),
		.repne = in->prefixes & PFX_REPNE,
	};
	bool singly = c->single_step || (c->rflags & FL_TF) || c->watch_dr7;
	const struct op *op = ops;
	u64 left = 1;

	while (op < ops + ARRAY_SIZE(ops) && op->opcode != (in->opcode & 0xfe))
		op++;
	if (op == ops + ARRAY_SIZE(ops) || (in->prefixes & PFX_LOCK))
		return cpu_raise(c, EXC_UD);
	for (;;) {
		u64 done = 0;
		enum cpu_result r;

		if (s.rep)
			left = reg_ea(&s, R_RCX);
		if (!left)
			break;
		r = op->step(&s, singly ? 1 : left, &done);
		if (!done)
			return r;
		if (op->si)
			advance(&s, R_RSI, done);
		if (op->di)
			advance(&s, R_RDI, done);
		left -= done;
		if (s.rep)
			cpu_set_addr_reg(c, R_RCX, s.addrsize, left);
		if (!left || s.stop) {
			insn_retire(c, in);
			return r;
		}
		/* RIP stays: the rest is this same instruction again. */
		if (r || singly || atomic_load_explicit(&c->poll, memory_order_relaxed))
			return r;
	}
	insn_retire(c, in);
	return CPU_OK;
}
