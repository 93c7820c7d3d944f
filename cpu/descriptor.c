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

static enum cpu_result write_access_byte(struct cpu *c, struct desc *d)
{
	u8 b = d->lo >> 40;

	return sys_write(c, d->addr + 5, &b, 1);
}

enum cpu_result desc_set_accessed(struct cpu *c, struct desc *d)
{
	if (d->lo & (u64)SEG_ACCESSED << 40)
		return CPU_OK;
	d->lo |= (u64)SEG_ACCESSED << 40;
	return write_access_byte(c, d);
}

enum cpu_result desc_set_busy(struct cpu *c, struct desc *d, bool busy)
{
	if (busy)
		d->lo |= (u64)DT_BUSY << 40;
	else
		d->lo &= ~((u64)DT_BUSY << 40);
	return write_access_byte(c, d);
}

void desc_to_seg(const struct desc *d, u16 sel, struct cpu_seg *s)
{
	s->base = desc_base(d);
	s->limit = desc_limit(d);
	s->sel = sel;
	s->attr = desc_attr(d);
}
