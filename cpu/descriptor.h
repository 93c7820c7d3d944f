/* SPDX-License-Identifier: MIT */
/*
 * cpu/descriptor.h - descriptors as they lie in memory, and how to fetch them
 * from the GDT or LDT. Private to cpu/.
 */
#ifndef CPU_DESCRIPTOR_H
#define CPU_DESCRIPTOR_H

#include "engine/cpu.h"

struct desc {
	u64 lo;
	u64 hi;		/* second half of a long-mode system descriptor, else 0 */
	u64 addr;	/* linear address of lo */
	u16 sel;
};

/* System types (APM2 tables 4-5 and 4-6). */
enum {
	DT_TSS16 = 1, DT_LDT = 2, DT_TSS16_BUSY = 3, DT_CALL16 = 4, DT_TASK_GATE = 5,
	DT_INT16 = 6, DT_TRAP16 = 7, DT_TSS32 = 9, DT_TSS32_BUSY = 11, DT_CALL32 = 12,
	DT_INT32 = 14, DT_TRAP32 = 15,
	DT_BUSY = 2,	/* the bit that tells an available TSS from a busy one */
	DT_32 = 8,	/* the bit that tells 16-bit from 32-bit */
};

static inline u32 desc_attr(const struct desc *d)
{
	return (d->lo >> 40 & 0xff) | (d->lo >> 44 & 0xf00);
}
static inline u32 desc_type(const struct desc *d) { return d->lo >> 40 & 0xf; }
static inline bool desc_s(const struct desc *d) { return d->lo >> 44 & 1; }
static inline u32 desc_dpl(const struct desc *d) { return d->lo >> 45 & 3; }
static inline bool desc_p(const struct desc *d) { return d->lo >> 47 & 1; }
static inline bool desc_l(const struct desc *d) { return d->lo >> 53 & 1; }
static inline bool desc_db(const struct desc *d) { return d->lo >> 54 & 1; }
static inline u64 desc_base(const struct desc *d)
{
	return (d->lo >> 16 & 0xffffff) | (d->lo >> 32 & 0xff000000) | d->hi << 32;
}
static inline u32 desc_limit(const struct desc *d)
{
	u32 l = (d->lo & 0xffff) | (d->lo >> 32 & 0xf0000);

	return d->lo >> 55 & 1 ? l << 12 | 0xfff : l;
}
static inline bool desc_is_code(const struct desc *d)
{
	return desc_s(d) && (desc_type(d) & SEG_CODE);
}
static inline bool desc_is_conforming(const struct desc *d)
{
	return (desc_type(d) & (SEG_CODE | SEG_EC)) == (SEG_CODE | SEG_EC);
}
static inline bool desc_is_stack(const struct desc *d)
{
	return desc_s(d) && (desc_type(d) & (SEG_CODE | SEG_RW)) == SEG_RW;
}

/* Gates. */
static inline u64 gate_offset(const struct desc *d)
{
	return (d->lo & 0xffff) | (d->lo >> 32 & 0xffff0000) | d->hi << 32;
}
static inline u16 gate_sel(const struct desc *d) { return d->lo >> 16; }
static inline u32 gate_count(const struct desc *d) { return d->lo >> 32 & 0x1f; }
static inline u32 gate_ist(const struct desc *d) { return d->lo >> 32 & 7; }

static inline bool sel_null(u16 sel) { return !(sel & 0xfffc); }
static inline u32 sel_rpl(u16 sel) { return sel & 3; }
/* Error code that names a selector (APM2 8.4.1). ext: the EXT bit. */
static inline u32 sel_error(u16 sel, u32 ext) { return (sel & 0xfffc) | ext; }

/* Fetch the 8 bytes `sel` names. Outside the table: exception `vec` with the selector. */
enum cpu_result desc_read(struct cpu *c, u16 sel, struct desc *d, u8 vec, u32 ext);
/* Fetch the second half of a 16-byte long-mode descriptor (APM2 4.8.3). */
enum cpu_result desc_read_wide(struct cpu *c, struct desc *d, u8 vec, u32 ext);
/* Set the accessed bit in memory and in *d (APM2 4.7.1). */
enum cpu_result desc_set_accessed(struct cpu *c, struct desc *d);
/* Set or clear the busy bit of the TSS descriptor (APM2 12.2.2). *was_busy: what it was just
 * before, which another CPU may have changed since the descriptor was read. */
enum cpu_result desc_set_busy(struct cpu *c, struct desc *d, bool busy, bool *was_busy);
void desc_to_seg(const struct desc *d, u16 sel, struct cpu_seg *s);

#endif
