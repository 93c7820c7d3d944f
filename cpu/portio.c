/* SPDX-License-Identifier: MIT */
/* cpu/portio.c - IN, OUT, INS, OUTS: permission, registers, blocks for strings. */
#include "cpu/access.h"
#include "cpu/sys.h"

enum { IO_BLOCK = 1024 };	/* bytes one hook call may carry */

/* APM2 12.2.4: outside CPL <= IOPL the TSS bitmap decides; two bytes are always
 * read so that a port may straddle. */
enum cpu_result cpu_io_allowed(struct cpu *c, u16 port, u32 size)
{
	const struct cpu_seg *tr = &c->seg[S_TR];
	u32 iopl = (u32)(c->rflags & FL_IOPL) >> FL_IOPL_SHIFT;
	u32 mask = (1u << size) - 1;
	u16 base = 0, bits = 0;
	enum cpu_result r;

	if (cpu_real_mode(c) || (!cpu_v86(c) && c->cpl <= iopl))
		return CPU_OK;
	/* Only a 32/64-bit TSS has a bitmap. */
	if (!(tr->attr & SEG_P) || (tr->attr & 0xd) != 0x9 || tr->limit < 103)
		return cpu_raise_err(c, EXC_GP, 0);
	r = cpu_sys_read(c, tr->base + 102, &base, 2);
	if (r)
		return r;
	if ((u32)base + port / 8 + 1 > tr->limit)
		return cpu_raise_err(c, EXC_GP, 0);
	r = cpu_sys_read(c, tr->base + base + port / 8, &bits, 2);
	if (r)
		return r;
	if (bits >> (port & 7) & mask)
		return cpu_raise_err(c, EXC_GP, 0);
	return CPU_OK;
}

static enum cpu_result scalar(struct cpu *c, const struct insn *in, u16 port, u32 size)
{
	u32 count = 1;
	u32 v;
	enum cpu_result r;

	if (in->opcode & 2) {
		v = (u32)insn_reg(c, R_RAX, size);
		r = cpu_hooks->pio_out(c, in, port, size, &v, &count);
	} else {
		v = 0;
		r = cpu_hooks->pio_in(c, in, port, size, &v, &count);
		if (r == CPU_OK)
			insn_set_reg(c, R_RAX, size, v);
	}
	/* Otherwise vcpu/ retires it, or the fault leaves it where it is. */
	if (r == CPU_OK)
		insn_retire(c, in);
	return r;
}

struct pio_str {
	u16 port;
	u32 size;
	bool rep;
	u64 left;
};

/* Elements for one call, from seg:reg on. Descending strings go singly. */
static enum cpu_result block(struct cpu *c, const struct insn *in, const struct pio_str *p,
			     enum cpu_sreg seg, u32 reg, bool write, u64 *lin, u32 *count)
{
	u64 n = p->left;
	enum cpu_result r;

	if (n > IO_BLOCK / p->size)
		n = IO_BLOCK / p->size;
	if ((c->rflags & (FL_DF | FL_TF)) || c->single_step)
		n = 1;
	r = cpu_span(c, seg, c->gpr[reg] & cpu_addr_mask(in->addrsize), p->size, in->addrsize,
		     write, &n, lin);
	*count = n ? (u32)n : 1;
	return r;
}

static void commit(struct cpu *c, const struct insn *in, struct pio_str *p, u32 reg, u32 count)
{
	u64 by = (u64)count * p->size;

	cpu_set_addr_reg(c, reg, in->addrsize, c->gpr[reg] + (c->rflags & FL_DF ? -by : by));
	p->left -= count;
	if (p->rep)
		cpu_set_addr_reg(c, R_RCX, in->addrsize, p->left);
}

static enum cpu_result ins_block(struct cpu *c, const struct insn *in, struct pio_str *p)
{
	u8 buf[IO_BLOCK] __attribute__((aligned(8)));
	enum mmu_idx idx = cpu_mmu_idx(c);
	u32 count, wanted;
	u64 lin;
	enum cpu_result r;

	r = block(c, in, p, S_ES, R_RDI, true, &lin, &count);
	if (!r)
		r = c->ops->mem_probe_w(c, lin, count * p->size, idx);
	if (r)
		return r;
	wanted = count;
	r = cpu_hooks->pio_in(c, in, p->port, p->size, buf, &count);
	if (r)
		return r;
	if (count > wanted)
		count = wanted;
	r = c->ops->mem_write(c, lin, buf, count * p->size, idx);
	if (r != CPU_FAULT)
		commit(c, in, p, R_RDI, count);
	return r;
}

static enum cpu_result outs_block(struct cpu *c, const struct insn *in, struct pio_str *p)
{
	u8 buf[IO_BLOCK] __attribute__((aligned(8)));
	u32 count, wanted;
	u64 lin;
	enum cpu_result r;

	r = block(c, in, p, cpu_data_seg(in), R_RSI, false, &lin, &count);
	if (!r)
		r = c->ops->mem_read(c, lin, buf, count * p->size, cpu_mmu_idx(c));
	if (r)
		return r;
	wanted = count;
	r = cpu_hooks->pio_out(c, in, p->port, p->size, buf, &count);
	if (count > wanted)
		count = wanted;
	/* CPU_USER: the data is on its way, the registers show it done. */
	if (r != CPU_FAULT)
		commit(c, in, p, R_RSI, count);
	return r;
}

static enum cpu_result string(struct cpu *c, const struct insn *in, u16 port, u32 size)
{
	struct pio_str p = {
		.port = port, .size = size, .left = 1,
		.rep = in->prefixes & (PFX_REP | PFX_REPNE),
	};
	enum cpu_result r = CPU_OK;

	if (p.rep)
		p.left = c->gpr[R_RCX] & cpu_addr_mask(in->addrsize);
	while (p.left) {
		u64 before = p.left;

		r = in->opcode & 2 ? outs_block(c, in, &p) : ins_block(c, in, &p);
		/* Nothing committed: a fault, or INS waiting for user space. */
		if (p.left == before)
			return r;
		if (!p.left)
			break;
		if (r || (c->rflags & FL_TF) || c->single_step ||
		    atomic_load_explicit(&c->poll, memory_order_relaxed))
			return r;
	}
	insn_retire(c, in);
	return r;
}

enum cpu_result cpu_exec_io(struct cpu *c, const struct insn *in)
{
	u32 size = !(in->opcode & 1) ? 1 : in->opsize == 2 ? 2 : 4;
	bool str = (in->opcode & 0xfc) == 0x6c;
	u16 port;
	enum cpu_result r;

	if (in->prefixes & PFX_LOCK)
		return cpu_raise(c, EXC_UD);
	port = str || (in->opcode & 8) ? (u16)c->gpr[R_RDX] : (u8)in->imm;
	r = cpu_io_allowed(c, port, size);
	if (r)
		return r;
	return str ? string(c, in, port, size) : scalar(c, in, port, size);
}
