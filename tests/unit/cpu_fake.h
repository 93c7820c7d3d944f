/* SPDX-License-Identifier: MIT */
/*
 * tests/unit/cpu_fake.h - a struct cpu over flat fake memory, for tests of
 * cpu/. Linear addresses below FAKE_SIZE are memory, one page can be made absent.
 */
#ifndef TESTS_CPU_FAKE_H
#define TESTS_CPU_FAKE_H

#include "tests/unit/unit.h"

#include <errno.h>

#include <Zydis/Zydis.h>

#include "cpu/sys.h"
#include "engine/engine.h"

#define FAKE_SIZE 0x40000u
enum {
	GDT = 0x1000, IDT = 0x2000, TSS = 0x3000, TSS2 = 0x4000, LDT = 0x5000,
	STK0 = 0x9000, STK3 = 0xb000, IST1 = 0xd000,
	/* selectors every test's GDT has */
	CODE0 = 0x08, DATA0 = 0x10, CODE3 = 0x18 | 3, DATA3 = 0x20 | 3, CODE64 = 0x28,
	USER64 = 0x30 | 3, SEL_TSS = 0x40, SEL_TSS2 = 0x50, SEL_LDT = 0x60, GATE = 0x70,
	CONF0 = 0x80, CODE16 = 0x88, DATA_RO3 = 0x90 | 3, DATA_NP = 0x98,
};

static u8 fake_mem[FAKE_SIZE];
static u64 fake_absent = ~0ull;
static enum mmu_idx fake_last_idx;
static unsigned fake_window, fake_iret;

static enum cpu_result fake_check(struct cpu *c, u64 a, u32 n, bool w)
{
	if (a + n <= FAKE_SIZE && (fake_absent >> 12 != a >> 12) &&
	    fake_absent >> 12 != (a + n - 1) >> 12)
		return CPU_OK;
	cpu_raise_err(c, EXC_PF, w ? PF_W : 0);
	c->fault.payload = a;
	return CPU_FAULT;
}
static enum cpu_result fake_read(struct cpu *c, u64 a, void *b, u32 n, enum mmu_idx idx)
{
	if (fake_check(c, a, n, false))
		return CPU_FAULT;
	fake_last_idx = idx;
	memcpy(b, fake_mem + a, n);
	return CPU_OK;
}
static enum cpu_result fake_write(struct cpu *c, u64 a, const void *b, u32 n, enum mmu_idx idx)
{
	if (fake_check(c, a, n, true))
		return CPU_FAULT;
	fake_last_idx = idx;
	memcpy(fake_mem + a, b, n);
	return CPU_OK;
}
static enum cpu_result fake_probe(struct cpu *c, u64 a, u32 n, enum mmu_idx idx)
{
	return fake_check(c, a, n, true);
}
static enum cpu_result fake_open(struct cpu *c, u64 a, u32 n, enum mem_access acc, enum mmu_idx idx,
				 struct mem_ref *m)
{
	u8 *at = fake_mem + a;

	if (fake_check(c, a, n, acc == MEM_W))
		return CPU_FAULT;
	fake_last_idx = idx;
	*m = (struct mem_ref){ .gva = a, .len = n, .n = 1, .p[0] = { at, at, a, NULL, n } };
	return CPU_OK;
}
static void fake_used(struct cpu *c, const struct mem_ref *m, bool write)
{
}
static const struct cpu_ops fake_ops = {
	.mem_read = fake_read, .mem_write = fake_write, .mem_probe_w = fake_probe,
	.mem_open = fake_open, .mem_used = fake_used,
	.exec = cpu_exec,
};

static inline u64 peek(u64 a, u32 n)
{
	u64 v = 0;

	memcpy(&v, fake_mem + a, n);
	return v;
}
static inline void poke(u64 a, u64 v, u32 n)
{
	memcpy(fake_mem + a, &v, n);
}

/* A descriptor from base, limit (already in its own granularity) and VMCB attributes. */
static inline u64 mkdesc(u64 base, u32 limit, u32 attr)
{
	return (limit & 0xffff) | (base & 0xffffff) << 16 | (u64)(attr & 0xff) << 40 |
	       (u64)(limit >> 16 & 0xf) << 48 | (u64)(attr >> 8 & 0xf) << 52 |
	       (base >> 24 & 0xff) << 56;
}
static inline void gdt_set(u16 sel, u64 d) { poke(GDT + (sel & 0xfff8), d, 8); }
static inline u32 gdt_type(u16 sel) { return peek(GDT + (sel & 0xfff8) + 5, 1) & 0xf; }
static inline u64 mkgate(u16 sel, u64 off, u32 type, u32 dpl, u32 count)
{
	return (off & 0xffff) | (u64)sel << 16 | (u64)count << 32 |
	       (u64)(type | dpl << 5 | 0x80) << 40 | (off >> 16 & 0xffff) << 48;
}

enum { A_DATA = 0x93, A_CODE = 0x9b, A_32 = 0xc00, A_64 = 0xa00, A_DPL3 = 0x60 };

static void fake_window_hook(struct cpu *c) { fake_window++; }
static void fake_iret_hook(struct cpu *c) { fake_iret++; }
static const struct cpu_hooks fake_hooks = {
	.window = fake_window_hook, .iret = fake_iret_hook,
};

static struct cpu *fake_cpu(void)
{
	/* With its engine: a change of paging or of a mode tells the engine too. */
	struct cpu *c = engine_cpu_create(NULL);

	if (!c)
		fail_msg("engine_cpu_create: %s", strerror(errno));
	memset(fake_mem, 0, sizeof(fake_mem));
	fake_absent = ~0ull;
	fake_window = fake_iret = 0;
	c->ops = &fake_ops;
	c->maxphyaddr = 40;
	c->tsc_ratio = BIT64(32);
	c->has_smap = c->has_tsc_aux = 1;
	c->efer_reserved = ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NX);
	c->cr4_reserved = ~GENMASK64(21, 0) | CR4_LA57;
	c->xcr0_supported = 7;
	cpu_set_hooks(&fake_hooks);
	cpu_reset(c, false);

	gdt_set(CODE0, mkdesc(0, 0xfffff, A_CODE | A_32));
	gdt_set(DATA0, mkdesc(0, 0xfffff, A_DATA | A_32));
	gdt_set(CODE3, mkdesc(0, 0xfffff, A_CODE | A_32 | A_DPL3));
	gdt_set(DATA3, mkdesc(0, 0xfffff, A_DATA | A_32 | A_DPL3));
	gdt_set(CODE64, mkdesc(0, 0xfffff, A_CODE | A_64));
	gdt_set(USER64, mkdesc(0, 0xfffff, A_CODE | A_64 | A_DPL3));
	gdt_set(SEL_TSS, mkdesc(TSS, 0x67, 0x8b));
	gdt_set(SEL_TSS2, mkdesc(TSS2, 0x67, 0x89));
	gdt_set(SEL_LDT, mkdesc(LDT, 0xff, 0x82));
	gdt_set(CONF0, mkdesc(0, 0xfffff, A_CODE | 4 | A_32));
	gdt_set(CODE16, mkdesc(0, 0xffff, A_CODE));
	gdt_set(DATA_RO3, mkdesc(0, 0xfffff, 0x91 | A_32 | A_DPL3));
	gdt_set(DATA_NP, mkdesc(0, 0xfffff, 0x13 | A_32));
	return c;
}

static void fake_free(struct cpu *c) { engine_cpu_destroy(c); }

static void fake_seg(struct cpu *c, enum cpu_sreg s, u16 sel)
{
	u64 d = peek(GDT + (sel & 0xfff8), 8);
	u32 limit = (d & 0xffff) | (d >> 32 & 0xf0000);

	c->seg[s] = (struct cpu_seg){
		.sel = sel, .attr = (d >> 40 & 0xff) | (d >> 44 & 0xf00),
		.base = (d >> 16 & 0xffffff) | (d >> 32 & 0xff000000),
		.limit = d >> 55 & 1 ? limit << 12 | 0xfff : limit,
	};
}

/* Protected mode, 32-bit, no paging; at CPL 0 or 3. */
static void fake_prot(struct cpu *c, u32 cpl)
{
	c->cr0 |= CR0_PE;
	c->cpl = cpl;
	c->gdtr = (struct cpu_dtr){ GDT, 0xff };
	c->idtr = (struct cpu_dtr){ IDT, 0x7ff };
	fake_seg(c, S_CS, cpl ? CODE3 : CODE0);
	for (u32 s = S_ES; s <= S_GS; s++)
		if (s != S_CS)
			fake_seg(c, s, cpl ? DATA3 : DATA0);
	fake_seg(c, S_TR, SEL_TSS);
	poke(TSS + 4, STK0, 4);
	poke(TSS + 8, DATA0, 4);
	c->gpr[R_RSP] = cpl ? STK3 : STK0;
	c->rip = 0x6000;
}

/* Long mode, 64-bit code. */
static void fake_long(struct cpu *c, u32 cpl)
{
	fake_prot(c, cpl);
	c->cr4 |= CR4_PAE;
	c->cr0 |= CR0_PG;
	c->efer = EFER_LME | EFER_LMA | EFER_SCE;
	c->idtr.limit = 0xfff;
	fake_seg(c, S_CS, cpl ? USER64 : CODE64);
	poke(TSS + 4, STK0, 8);
	poke(TSS + 0x24, IST1, 8);
}

static inline struct insn mkinsn(const struct cpu *c, u16 mnemonic, u8 opcode)
{
	u32 mode = cpu_in_64(c) ? 8 : c->seg[S_CS].attr & SEG_DB ? 4 : 2;

	return (struct insn){
		.mnemonic = mnemonic, .opcode = opcode, .len = 2, .mode = mode,
		.opsize = mode == 8 ? 4 : mode, .addrsize = mode, .seg = S_DS,
		.base = INSN_NOREG, .index = INSN_NOREG, .scale = 1,
	};
}
#define M(n) ZYDIS_MNEMONIC_##n

static inline void expect_fault(const struct cpu *c, int r, u8 vec, u32 err)
{
	assert_int_equal(r, CPU_FAULT);
	assert_int_equal(c->fault.vector, vec);
	assert_int_equal(c->fault.error, err);
}

#endif
