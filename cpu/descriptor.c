/* SPDX-License-Identifier: MIT */
/* cpu/descriptor.c - descriptor table accesses. */
#include "cpu/descriptor.h"
#include "cpu/exec_priv.h"

enum cpu_result desc_read(struct cpu *c, u16 sel, struct desc *d, u8 vec, u32 ext)
{
	u32 off = sel & 0xfff8;
	u64 base;
	u32 limit;

	if (sel & 4) {
		const struct cpu_seg *ldt = &c->seg[S_LDTR];

		if (!(ldt->attr & SEG_P))
			return cpu_raise_err(c, vec, sel_error(sel, ext));
		base = ldt->base;
		limit = ldt->limit;
	} else {
		base = c->gdtr.base;
		limit = c->gdtr.limit;
	}
	/* The whole descriptor must lie inside the table (APM2 4.6.1). */
	if (off + 7 > limit)
		return cpu_raise_err(c, vec, sel_error(sel, ext));
	d->sel = sel;
	d->hi = 0;
	d->addr = cpu_sys_addr(c, base + off);
	return sys_read(c, d->addr, &d->lo, 8);
}

enum cpu_result desc_read_wide(struct cpu *c, struct desc *d, u8 vec, u32 ext)
{
	u32 off = d->sel & 0xfff8;
	u32 limit = d->sel & 4 ? c->seg[S_LDTR].limit : c->gdtr.limit;
	enum cpu_result r;

	if (off + 15 > limit)
		return cpu_raise_err(c, vec, sel_error(d->sel, ext));
	r = sys_read(c, d->addr + 8, &d->hi, 8);
	if (r)
		return r;
	/* The type field of the upper half must be an illegal type (APM2 4.8.3). */
	if (d->hi >> 40 & 0x1f)
		return cpu_raise_err(c, vec, sel_error(d->sel, ext));
	d->hi &= 0xffffffff;
	return CPU_OK;
}

/*
 * Bits of the type are set and cleared by locked operations (APM2 7.3.2, SDM3 8.1.2.1): others may
 * be at work on the same byte. *was: what it was.
 */
static enum cpu_result change_type(struct cpu *c, struct desc *d, u8 set, u8 clear, u8 *was)
{
	struct mem_ref m;
	u8 *host, type;
	enum cpu_result r = c->ops->mem_open(c, d->addr + 5, 1, MEM_W, MMU_KERNEL, &m);

	*was = d->lo >> 40;
	type = (*was | set) & (u8)~clear;
	d->lo = (d->lo & ~(0xffull << 40)) | (u64)type << 40;
	if (r)
		return r;
	host = mem_place(&m, true);
	if (unlikely(!host)) {
		r = c->ops->mem_store(c, &m, &type);
		/* A descriptor table in MMIO: the write is queued, which is all we need. */
		return r == CPU_DONE ? CPU_OK : r;
	}
	*was = set ? __atomic_fetch_or(host, set, __ATOMIC_SEQ_CST)
		   : __atomic_fetch_and(host, (u8)~clear, __ATOMIC_SEQ_CST);
	c->ops->mem_used(c, &m, true);
	return CPU_OK;
}

enum cpu_result desc_set_accessed(struct cpu *c, struct desc *d)
{
	u8 was;

	if (d->lo & (u64)SEG_ACCESSED << 40)
		return CPU_OK;
	return change_type(c, d, SEG_ACCESSED, 0, &was);
}

enum cpu_result desc_set_busy(struct cpu *c, struct desc *d, bool busy, bool *was_busy)
{
	u8 was;
	enum cpu_result r = change_type(c, d, busy ? DT_BUSY : 0, busy ? 0 : DT_BUSY, &was);

	*was_busy = was & DT_BUSY;
	return r;
}

void desc_to_seg(const struct desc *d, u16 sel, struct cpu_seg *s)
{
	/* One word: it is copied by words at once, which would wait for narrower stores. */
	u64 rest = desc_limit(d) | (u64)sel << 32 | (u64)desc_attr(d) << 48;

	_Static_assert(offsetof(struct cpu_seg, sel) == offsetof(struct cpu_seg, limit) + 4 &&
			       offsetof(struct cpu_seg, attr) ==
				       offsetof(struct cpu_seg, limit) + 6,
		       "rest");
	s->base = desc_base(d);
	__builtin_memcpy(&s->limit, &rest, sizeof(rest));
}
