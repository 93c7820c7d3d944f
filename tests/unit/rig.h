/* SPDX-License-Identifier: MIT */
/*
 * tests/unit/rig.h - one CPU with guest memory and page tables, and a stand-in for
 * the engine that only counts what it is told. Included by one test program each.
 */
#ifndef RIG_H
#define RIG_H

#include "tests/unit/memory.h"

#include "cpu/access.h"
#include "cpu/sys.h"
#include "engine/engine.h"
#include "mmu/mmu.h"

enum {
	RAM_SIZE = 16 << 20, ROM_GPA = 0x4000000, ROM_SIZE = 64 << 10, MMIO_GPA = 0x8000000,
	TABLES = 0x100000,	/* page tables are built from here on */
};
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX BIT64(63)

struct rig {
	struct cpu *c;
	struct phys_slot slot[2];
	u8 *ram, *rom;
	struct phys phys;
	_Atomic u64 *dirty;
	_Atomic u8 *code;
	u64 next_table;
	/* what was called */
	u32 itlb_flushes, itlb_global, itlb_pages, itlb_l2, code_writes, code_told, dirtied;
	u64 code_gpa;
	u32 mmio_reads, mmio_writes, mmio_len[16];
	u64 mmio_gpa[16], mmio_val[16];
	int mmio_result;
};
static struct rig rig;

/* -- the engine's side -- */
void engine_itlb_flush(struct cpu *c, bool l2, bool global)
{
	rig.itlb_flushes++;
	rig.itlb_l2 += l2;
	rig.itlb_global += global;
}
void engine_itlb_flush_page(struct cpu *c, bool l2, u64 gva) { rig.itlb_pages++; }
void engine_code_written(struct cpu *c, u64 gpa, u32 len)
{
	rig.code_writes++;
	rig.code_gpa = gpa;
}
void engine_fpu_save(struct cpu *c) { c->fpu_live = 0; }
void engine_x87_pointers(struct cpu *c) { (void)c; }
enum cpu_result cpu_set_xcr0(struct cpu *c, u64 v)
{
	c->xcr0 = v;
	return CPU_OK;
}
const struct cpu_hooks *cpu_hooks;

static void rig_code_written(void *owner, u64 gpa, u32 len, u32 by) { rig.code_told++; }
static void rig_dirty(void *owner, const struct phys_slot *s, u64 gpa) { rig.dirtied++; }
static const struct phys_ops rig_phys_ops = {
	.dirty = rig_dirty, .code_written = rig_code_written,
};

static enum cpu_result rig_mmio_read(struct cpu *c, u64 gpa, void *buf, u32 len)
{
	u32 i = rig.mmio_reads++ % 16;

	rig.mmio_gpa[i] = gpa;
	rig.mmio_len[i] = len;
	for (u32 k = 0; k < len; k++)
		((u8 *)buf)[k] = (u8)(gpa + k);
	return rig.mmio_result;
}
static enum cpu_result rig_mmio_write(struct cpu *c, u64 gpa, const void *buf, u32 len)
{
	u32 i = rig.mmio_writes++ % 16;

	rig.mmio_gpa[i] = gpa;
	rig.mmio_len[i] = len;
	rig.mmio_val[i] = 0;
	memcpy(&rig.mmio_val[i], buf, len);
	return rig.mmio_result;
}
static const struct mmio_ops rig_mmio = { .read = rig_mmio_read, .write = rig_mmio_write };

static const struct cpu_ops rig_ops = {
	.tlb_fill = mmu_tlb_fill, .fetch = mmu_fetch, .mem_read = mmu_mem_read,
	.mem_write = mmu_mem_write, .mem_probe_w = mmu_mem_probe_w,
};

static void rig_segments(struct cpu *c, u16 code_attr, u16 data_attr)
{
	for (int s = S_ES; s <= S_GS; s++)
		c->seg[s] = (struct cpu_seg){
			.limit = 0xffffffff, .attr = s == S_CS ? code_attr : data_attr,
		};
}

static int rig_setup(void **state)
{
	struct cpu *c;

	memset(&rig, 0, sizeof(rig));
	rig.slot[0] = memory_slot(0, RAM_SIZE, 0);
	rig.slot[1] = memory_slot(ROM_GPA, ROM_SIZE, PHYS_READONLY);
	rig.slot[1].id = 1;
	rig.ram = rig.slot[0].hva;
	rig.rom = rig.slot[1].hva;
	rig.code = rig.slot[0].code;
	rig.dirty = calloc(RAM_SIZE / 4096 / 64, 8);
	rig.phys.ops = &rig_phys_ops;
	atomic_store(&rig.phys.map, phys_map_new(rig.slot, 2));
	rig.c = c = memory_map(ALIGN_UP(sizeof(*c), 4096));
	c->phys = &rig.phys;
	c->ops = &rig_ops;
	c->maxphyaddr = 40;
	c->has_nx = c->has_1g_pages = 1;
	c->rflags = FL_FIXED;
	rig_segments(c, SEG_P | SEG_S | SEG_CODE | SEG_RW | SEG_L, SEG_P | SEG_S | SEG_RW | SEG_DB);
	mmu_set_mmio(&rig_mmio);
	mmu_tlb_init(c);
	rig.next_table = TABLES;
	return 0;
}

static int rig_teardown(void **state)
{
	phys_map_free(atomic_load(&rig.phys.map));
	free((void *)rig.dirty);
	memory_free(&rig.slot[0]);
	memory_free(&rig.slot[1]);
	munmap(rig.c, ALIGN_UP(sizeof(struct cpu), 4096));
	return 0;
}

static inline struct phys_slot *rig_slot(int i)
{
	return &atomic_load(&rig.phys.map)->part[0].chunk->slot[i];
}

static inline void rig_log_dirty(void)
{
	rig_slot(0)->flags = PHYS_LOG_DIRTY;
	rig_slot(0)->dirty = rig.dirty;
}

static inline bool rig_is_dirty(u64 gpa)
{
	return rig.dirty[gpa / 4096 / 64] >> (gpa / 4096 % 64) & 1;
}

/* -- paging -- */
enum paging { PG_NONE, PG_32, PG_PAE, PG_LONG, PG_LA57 };

static u64 rig_table(void)
{
	u64 t = rig.next_table;

	rig.next_table += 4096;
	memset(rig.ram + t, 0, 4096);
	return t;
}

static inline void rig_paging(enum paging pg)
{
	struct cpu *c = rig.c;

	c->cr0 = CR0_PE | CR0_WP | (pg == PG_NONE ? 0 : CR0_PG);
	c->cr4 = (pg >= PG_PAE ? CR4_PAE : 0) | CR4_PSE | CR4_PGE;
	c->cr4 |= pg == PG_LA57 ? CR4_LA57 : 0;
	c->efer = pg >= PG_LONG ? EFER_LME | EFER_LMA | EFER_NX : pg == PG_PAE ? EFER_NX : 0;
	c->cr3 = rig_table();
	if (pg == PG_PAE) {
		for (int i = 0; i < 4; i++)
			*(u64 *)(rig.ram + c->cr3 + i * 8) = rig_table() | P;
		assert_int_equal(mmu_load_pdptes(c, c->cr3), CPU_OK);
	}
	mmu_flush(c, true);
}

/* Address of the entry for gva at a level (0 = 4K); tables above it are made as
 * needed with `upper`. */
static inline void *rig_entry(enum paging pg, u64 gva, int level, u64 upper)
{
	u32 bits = pg == PG_32 ? 10 : 9, size = pg == PG_32 ? 4 : 8;
	int top = pg == PG_LA57 ? 4 : pg == PG_LONG ? 3 : 1;
	u64 table = rig.c->cr3 & ~0xfffull;

	if (pg == PG_PAE)
		table = *(u64 *)(rig.ram + rig.c->cr3 + (gva >> 30 & 3) * 8) & ~0xfffull;
	for (int l = top;; l--) {
		u64 i = gva >> (12 + bits * (u32)l) & ((1u << bits) - 1);
		u8 *e = rig.ram + table + i * size;
		u64 v = 0;

		if (l == level)
			return e;
		memcpy(&v, e, size);
		if (!(v & P)) {
			v = rig_table() | upper;
			memcpy(e, &v, size);
		}
		table = v & 0xfffffff000;
	}
}

static inline void rig_page(enum paging pg, u64 gva, int level, u64 upper, u64 leaf)
{
	void *e = rig_entry(pg, gva, level, upper);

	memcpy(e, &leaf, pg == PG_32 ? 4 : 8);
}

static inline u64 rig_pte(enum paging pg, u64 gva, int level)
{
	u64 v = 0;

	memcpy(&v, rig_entry(pg, gva, level, P | W | U), pg == PG_32 ? 4 : 8);
	return v;
}

/* Plain user-writable 4K page. */
static inline void rig_map4k(u64 gva, u64 gpa, u64 flags)
{
	rig_page(PG_LONG, gva, 0, P | W | U | A, gpa | flags);
}

static inline void assert_fault(int r, u8 vector, u32 error)
{
	assert_int_equal(r, CPU_FAULT);
	assert_int_equal(rig.c->fault.vector, vector);
	assert_int_equal(rig.c->fault.error, error);
}

#endif
