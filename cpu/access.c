/* SPDX-License-Identifier: MIT */
/* cpu/access.c - segmentation, segment-relative memory and the stack. */
#include "cpu/access.h"
#include "cpu/sys.h"

static enum cpu_result segment_fault(struct cpu *c, enum cpu_sreg s)
{
	return cpu_raise_err(c, s == S_SS ? EXC_SS : EXC_GP, 0);
}

/* APM2 4.7: a code segment is never writable, a data segment always readable.
 * Real and virtual-8086 mode check the limit only. */
static bool type_allows(const struct cpu *c, const struct cpu_seg *seg, bool write)
{
	if (cpu_real_mode(c) || cpu_v86(c))
		return true;
	if (!(seg->attr & SEG_P))
		return false;
	if (seg->attr & SEG_CODE)
		return !write && (seg->attr & SEG_RW);
	return !write || (seg->attr & SEG_RW);
}

static bool limit_allows(const struct cpu_seg *seg, u64 ea, u32 len)
{
	u64 last = ea + (len ? len - 1 : 0);

	if ((seg->attr & (SEG_S | SEG_CODE | SEG_EC)) == (SEG_S | SEG_EC)) {
		u64 top = seg->attr & SEG_DB ? 0xffffffffull : 0xffffull;

		return ea > seg->limit && last <= top;
	}
	/* So a 4 GiB segment ends, too, and does not wrap. */
	return last <= seg->limit;
}

enum cpu_result cpu_linear(struct cpu *c, enum cpu_sreg s, u64 ea, u32 len, bool write, u64 *lin)
{
	const struct cpu_seg *seg = &c->seg[s];

	if (cpu_in_64(c)) {
		u64 a = s == S_FS || s == S_GS ? seg->base + ea : ea;

		if (unlikely(!cpu_canonical(c, a) || !cpu_canonical(c, a + (len ? len - 1 : 0))))
			return segment_fault(c, s);
		*lin = a;
		return CPU_OK;
	}
	if (unlikely(!type_allows(c, seg, write) || !limit_allows(seg, ea, len)))
		return segment_fault(c, s);
	*lin = (u32)(seg->base + ea);
	return CPU_OK;
}

/* Alignment of an operand that is one number; images have none. */
static u32 number_mask(u32 len)
{
	return len == 2 || len == 4 || len == 8 ? len - 1 : 0;
}

enum cpu_result cpu_read_aligned(struct cpu *c, enum cpu_sreg s, u64 ea, void *buf, u32 len,
				 u32 align)
{
	u64 lin;
	enum cpu_result r = cpu_linear(c, s, ea, len, false, &lin);

	if (!r)
		r = cpu_align(c, lin, align - 1);
	return r ? r : c->ops->mem_read(c, lin, buf, len, cpu_mmu_idx(c));
}

enum cpu_result cpu_read(struct cpu *c, enum cpu_sreg s, u64 ea, void *buf, u32 len)
{
	return cpu_read_aligned(c, s, ea, buf, len, number_mask(len) + 1);
}

enum cpu_result cpu_write(struct cpu *c, enum cpu_sreg s, u64 ea, const void *buf, u32 len)
{
	u64 lin;
	enum cpu_result r = cpu_linear(c, s, ea, len, true, &lin);

	if (!r)
		r = cpu_align(c, lin, number_mask(len));
	return r ? r : c->ops->mem_write(c, lin, buf, len, cpu_mmu_idx(c));
}

enum cpu_result cpu_probe_w(struct cpu *c, enum cpu_sreg s, u64 ea, u32 len)
{
	u64 lin;
	enum cpu_result r = cpu_linear(c, s, ea, len, true, &lin);

	if (!r)
		r = cpu_align(c, lin, number_mask(len));
	return r ? r : c->ops->mem_probe_w(c, lin, len, cpu_mmu_idx(c));
}

enum cpu_result cpu_sys_read(struct cpu *c, u64 lin, void *buf, u32 len)
{
	return c->ops->mem_read(c, lin, buf, len, MMU_KERNEL);
}

u64 cpu_stack_mask(const struct cpu *c)
{
	if (cpu_in_64(c))
		return ~0ull;
	return c->seg[S_SS].attr & SEG_DB ? 0xffffffffull : 0xffffull;
}

void cpu_set_sp(struct cpu *c, u64 sp)
{
	u64 mask = cpu_stack_mask(c);

	/* A 32-bit stack in legacy mode has no upper half to preserve. */
	if (mask == 0xffff)
		c->gpr[R_RSP] = (c->gpr[R_RSP] & ~mask) | (sp & mask);
	else
		c->gpr[R_RSP] = sp & mask;
}

enum cpu_result cpu_push(struct cpu *c, u64 val, u32 size)
{
	u64 sp = (c->gpr[R_RSP] - size) & cpu_stack_mask(c);
	enum cpu_result r = cpu_write(c, S_SS, sp, &val, size);

	if (r != CPU_FAULT)
		cpu_set_sp(c, sp);
	return r;
}

enum cpu_result cpu_pop(struct cpu *c, u64 *val, u32 size)
{
	u64 sp = c->gpr[R_RSP] & cpu_stack_mask(c);
	u64 v = 0;
	enum cpu_result r = cpu_read(c, S_SS, sp, &v, size);

	if (r != CPU_OK)
		return r;
	*val = v;
	cpu_set_sp(c, sp + size);
	return CPU_OK;
}

enum cpu_sreg cpu_data_seg(const struct insn *in)
{
	static const u8 prefix[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
	enum cpu_sreg seg = S_DS;

	/* The last override wins; 64-bit mode knows only FS and GS (APM3 1.2.4). */
	if (!(in->prefixes & PFX_SEG))
		return seg;
	for (u32 i = 0; i < in->len && i < sizeof(in->bytes); i++) {
		u8 b = in->bytes[i];
		u32 p;

		for (p = 0; p < ARRAY_SIZE(prefix) && prefix[p] != b; p++)
			;
		if (p < ARRAY_SIZE(prefix)) {
			if (in->mode != 8 || p >= 4)
				seg = (enum cpu_sreg)p;
		} else if (b != 0x66 && b != 0x67 && b != 0xf0 && b != 0xf2 && b != 0xf3 &&
			   !(in->mode == 8 && (b & 0xf0) == 0x40)) {
			break;	/* a REX may stand before other prefixes, without effect */
		}
	}
	return seg;
}

enum cpu_result cpu_span(struct cpu *c, enum cpu_sreg s, u64 ea, u32 size, u32 addrsize, bool write,
			 u64 *n, u64 *lin)
{
	u64 mask = cpu_addr_mask(addrsize);
	bool back = c->rflags & FL_DF;
	u64 off, room, whole, unused;
	enum cpu_result r = cpu_linear(c, s, ea, size, write, lin);

	if (!r)
		r = cpu_align(c, *lin, size - 1);
	if (r)
		return r;
	off = *lin & ~PAGE_MASK;
	if (off + size > PAGE_SIZE) {
		*n = 0;
		return CPU_OK;
	}
	room = back ? off / size + 1 : (PAGE_SIZE - off) / size;
	if (mask - ea < size - 1)
		whole = 1;
	else
		whole = back ? ea / size + 1 : (mask - ea - (size - 1)) / size + 1;
	if (room > whole)
		room = whole;
	if (room < *n)
		*n = room;
	/* Inside a page nothing but a limit can change; near one, go singly. */
	if (*n > 1 && !cpu_in_64(c) &&
	    cpu_linear(c, s, back ? ea - (*n - 1) * size : ea, (u32)*n * size, write, &unused))
		*n = 1;
	return CPU_OK;
}
