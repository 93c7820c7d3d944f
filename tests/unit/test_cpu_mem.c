/* SPDX-License-Identifier: MIT */
/*
 * tests/unit/test_cpu_mem.c - instructions of cpu/ that are mostly memory: segment
 * checks, strings, port I/O, XSAVE, legacy stack instructions.
 */
/* Run: build/tests/unit/test_cpu_mem [NAME...] */
#include "rig.h"

#define GVA 0x40403000ull

static struct insn decoded;

static const struct insn *decode(u32 mode, const char *bytes, u32 n)
{
	u8 b[15] = { 0 };

	memcpy(b, bytes, n);
	assert_int_equal(insn_decode(&decoded, b, 15, mode), 0);
	assert_int_equal(decoded.len, n);
	return &decoded;
}
#define I(mode, bytes) decode(mode, bytes, sizeof(bytes) - 1)

/* n consecutive pages from GVA on, backed from gpa on, all rights. */
static void map_pages(u64 gva, u64 gpa, u32 n)
{
	for (u32 i = 0; i < n; i++)
		rig_map4k(gva + i * 4096, gpa + i * 4096, P | W | A | D);
}

static void mode64(void) { rig_paging(PG_LONG); }

/* 16- or 32-bit protected mode without paging. */
static void legacy(bool wide)
{
	rig_paging(PG_NONE);
	rig_segments(rig.c, SEG_P | SEG_S | SEG_CODE | SEG_RW | (wide ? SEG_DB : 0),
		     SEG_P | SEG_S | SEG_RW | (wide ? SEG_DB : 0));
	if (!wide)
		for (int s = S_ES; s <= S_GS; s++)
			rig.c->seg[s].limit = 0xffff;
}

/* -- segmentation -- */

T(linear)
{
	struct cpu *c = rig.c;
	u64 lin;

	mode64();
	c->seg[S_DS].base = 0x1000;
	c->seg[S_FS].base = 0xffff800000000000;
	assert_int_equal(cpu_linear(c, S_DS, 5, 1, true, &lin), CPU_OK);
	assert_int_equal(lin, 5);
	assert_int_equal(cpu_linear(c, S_FS, 5, 1, true, &lin), CPU_OK);
	assert_int_equal(lin, 0xffff800000000005);
	assert_fault(cpu_linear(c, S_DS, 0x7fffffffffff, 2, false, &lin), EXC_GP, 0);
	assert_fault(cpu_linear(c, S_SS, 0x800000000000, 1, false, &lin), EXC_SS, 0);

	legacy(true);
	c->seg[S_DS].base = 0xfffff000;
	assert_int_equal(cpu_linear(c, S_DS, 0x1004, 4, true, &lin), CPU_OK);
	assert_int_equal(lin, 4);
	c->seg[S_DS].limit = 0xfff;
	assert_int_equal(cpu_linear(c, S_DS, 0xffc, 4, true, &lin), CPU_OK);
	assert_fault(cpu_linear(c, S_DS, 0xffd, 4, true, &lin), EXC_GP, 0);
	c->seg[S_SS].limit = 0xfff;
	assert_fault(cpu_linear(c, S_SS, 0xffd, 4, true, &lin), EXC_SS, 0);
	/* expand down: above the limit only */
	c->seg[S_DS].attr |= SEG_EC;
	assert_fault(cpu_linear(c, S_DS, 0xfff, 1, true, &lin), EXC_GP, 0);
	assert_int_equal(cpu_linear(c, S_DS, 0x1000, 4, true, &lin), CPU_OK);
	assert_int_equal(cpu_linear(c, S_DS, 0xfffffffc, 4, true, &lin), CPU_OK);
	assert_fault(cpu_linear(c, S_DS, 0xfffffffd, 4, true, &lin), EXC_GP, 0);
	c->seg[S_DS].attr &= ~SEG_DB;
	assert_fault(cpu_linear(c, S_DS, 0xfffd, 4, true, &lin), EXC_GP, 0);
	/* types */
	c->seg[S_ES].attr &= ~SEG_RW;
	assert_int_equal(cpu_linear(c, S_ES, 0, 4, false, &lin), CPU_OK);
	assert_fault(cpu_linear(c, S_ES, 0, 4, true, &lin), EXC_GP, 0);
	assert_fault(cpu_linear(c, S_CS, 0, 4, true, &lin), EXC_GP, 0);
	assert_int_equal(cpu_linear(c, S_CS, 0, 4, false, &lin), CPU_OK);
	c->seg[S_CS].attr &= ~SEG_RW;
	assert_fault(cpu_linear(c, S_CS, 0, 4, false, &lin), EXC_GP, 0);
	c->seg[S_ES].attr = 0;
	assert_fault(cpu_linear(c, S_ES, 0, 4, false, &lin), EXC_GP, 0);
	c->cr0 = 0;	/* real mode: the limit alone */
	assert_int_equal(cpu_linear(c, S_CS, 0, 4, true, &lin), CPU_OK);
}

T(stack)
{
	struct cpu *c = rig.c;
	u64 v;

	legacy(false);
	c->gpr[R_RSP] = 0x12340000;
	assert_int_equal(cpu_push(c, 0xaabb, 2), CPU_OK);
	assert_int_equal(c->gpr[R_RSP], 0x1234fffe);
	assert_int_equal(*(u16 *)(rig.ram + 0xfffe), 0xaabb);
	assert_int_equal(cpu_pop(c, &v, 2), CPU_OK);
	assert_int_equal(v, 0xaabb);
	assert_int_equal(c->gpr[R_RSP], 0x12340000);
	c->gpr[R_RSP] = 1;
	assert_fault(cpu_push(c, 1, 2), EXC_SS, 0);
	assert_int_equal(c->gpr[R_RSP], 1);
}

/* -- strings -- */

#define REP_MOVSB "\xf3\xa4"
#define REP_MOVSQ "\xf3\x48\xa5"

static void regs(u64 si, u64 di, u64 cx)
{
	rig.c->rip = 0x1000;
	rig.c->gpr[R_RSI] = si;
	rig.c->gpr[R_RDI] = di;
	rig.c->gpr[R_RCX] = cx;
}

T(movs)
{
	struct cpu *c = rig.c;
	u8 *src = rig.ram + 0x10000, *dst = rig.ram + 0x20000;

	mode64();
	map_pages(GVA, 0x10000, 4);
	map_pages(GVA + 0x10000, 0x20000, 4);
	for (u32 i = 0; i < 16384; i++)
		src[i] = (u8)(i * 13 + (i >> 8));
	regs(GVA + 3, GVA + 0x10000 + 500, 10000);
	assert_int_equal(cpu_exec_string(c, I(8, REP_MOVSB)), CPU_OK);
	assert_int_equal(c->rip, 0x1002);
	assert_int_equal(c->gpr[R_RCX], 0);
	assert_int_equal(c->gpr[R_RSI], GVA + 10003);
	assert_int_equal(c->gpr[R_RDI], GVA + 0x10000 + 10500);
	assert_memory_equal(src + 3, dst + 500, 10000);
	assert_int_equal(dst[499], 0);
	assert_int_equal(dst[10500], 0);
	/* elements across page ends, at odd addresses */
	memset(dst, 0, 16384);
	regs(GVA + 1, GVA + 0x10000 + 5, 1500);
	assert_int_equal(cpu_exec_string(c, I(8, REP_MOVSQ)), CPU_OK);
	assert_memory_equal(src + 1, dst + 5, 12000);
	assert_int_equal(dst[12005], 0);
	/* backwards */
	memset(dst, 0, 16384);
	c->rflags |= FL_DF;
	regs(GVA + 8 * 1499 + 1, GVA + 0x10000 + 8 * 1499 + 5, 1500);
	assert_int_equal(cpu_exec_string(c, I(8, REP_MOVSQ)), CPU_OK);
	assert_int_equal(c->gpr[R_RSI], GVA + 1 - 8);
	assert_memory_equal(src + 1, dst + 5, 12000);
	assert_int_equal(dst[4], 0);
	c->rflags &= ~(u64)FL_DF;
	/* the overlap that replicates */
	memcpy(dst, "abc", 3);
	regs(GVA + 0x10000, GVA + 0x10003, 9000);
	assert_int_equal(cpu_exec_string(c, I(8, REP_MOVSB)), CPU_OK);
	for (u32 i = 0; i < 9003; i++)
		assert_int_equal(dst[i], "abc"[i % 3]);
	/* count 0, and no repeat */
	regs(1, 2, 0);
	assert_int_equal(cpu_exec_string(c, I(8, REP_MOVSB)), CPU_OK);
	assert_int_equal(c->rip, 0x1002);
	regs(GVA, GVA + 0x10000, 77);
	assert_int_equal(cpu_exec_string(c, I(8, "\xa5")), CPU_OK);
	assert_int_equal(c->gpr[R_RSI], GVA + 4);
	assert_int_equal(c->gpr[R_RCX], 77);
}

T(restart)
{
	struct cpu *c = rig.c;

	mode64();
	map_pages(GVA, 0x10000, 4);
	map_pages(GVA + 0x10000, 0x20000, 1);
	memset(rig.ram + 0x10000, 0x5a, 16384);
	/* the second destination page is missing */
	regs(GVA + 16, GVA + 0x10000 + 8, 8000);
	assert_fault(cpu_exec_string(c, I(8, REP_MOVSB)), EXC_PF, PF_W);
	assert_int_equal(c->fault.payload, GVA + 0x11000);
	assert_int_equal(c->rip, 0x1000);
	assert_int_equal(c->gpr[R_RCX], 8000 - 4088);
	assert_int_equal(c->gpr[R_RSI], GVA + 16 + 4088);
	assert_int_equal(c->gpr[R_RDI], GVA + 0x11000);
	map_pages(GVA + 0x11000, 0x21000, 1);
	assert_int_equal(cpu_exec_string(c, &decoded), CPU_OK);
	assert_int_equal(c->rip, 0x1002);
	assert_int_equal(rig.ram[0x20008 + 7999], 0x5a);
	assert_int_equal(rig.ram[0x20008 + 8000], 0);
	/* an element across the end: faults before its first byte is stored */
	rig_map4k(GVA + 0x11000, 0, 0);
	mmu_flush(c, true);
	memset(rig.ram + 0x20000, 0, 4096);
	regs(GVA, GVA + 0x10000 + 4090, 2);
	assert_fault(cpu_exec_string(c, I(8, "\xf3\xa5")), EXC_PF, PF_W);
	assert_int_equal(c->gpr[R_RCX], 1);
	assert_int_equal(rig.ram[0x20ffd], 0x5a);
	assert_int_equal(rig.ram[0x20ffe], 0);
	/* a request stops it between pages, RIP stays */
	map_pages(GVA + 0x11000, 0x21000, 1);
	regs(GVA, GVA + 0x10000, 8192);
	engine_kick(c);
	assert_int_equal(cpu_exec_string(c, I(8, REP_MOVSB)), CPU_OK);
	assert_int_equal(c->rip, 0x1000);
	assert_int_equal(c->gpr[R_RCX], 4096);
	atomic_store(&c->poll, 0);
	assert_int_equal(cpu_exec_string(c, &decoded), CPU_OK);
	assert_int_equal(c->rip, 0x1002);
	/* TF: one element at a time */
	c->rflags |= FL_TF;
	regs(GVA, GVA + 0x10000, 2);
	assert_int_equal(cpu_exec_string(c, &decoded), CPU_OK);
	assert_int_equal(c->rip, 0x1000);
	assert_int_equal(c->gpr[R_RCX], 1);
	assert_int_equal(cpu_exec_string(c, &decoded), CPU_OK);
	assert_int_equal(c->rip, 0x1002);
}

T(string_mmio)
{
	struct cpu *c = rig.c;

	mode64();
	map_pages(GVA, 0x10000, 1);
	rig_map4k(GVA + 0x1000, MMIO_GPA, P | W | A | D);
	/* stores: each is queued and leaves, committed */
	rig.mmio_result = CPU_DONE;
	c->gpr[R_RAX] = 0x1122334455667788;
	regs(0, GVA + 0x1000, 3);
	for (u32 i = 0; i < 3; i++) {
		assert_int_equal(c->rip, 0x1000);
		assert_int_equal(cpu_exec_string(c, I(8, "\xf3\xab")), CPU_DONE);
		assert_int_equal(c->gpr[R_RCX], 2 - i);
		assert_int_equal(rig.mmio_gpa[i], MMIO_GPA + i * 4);
		assert_int_equal(rig.mmio_val[i], 0x55667788);
	}
	assert_int_equal(c->rip, 0x1002);
	/* loads: nothing moves until the data is there */
	rig.mmio_result = CPU_USER;
	regs(GVA + 0x1010, GVA, 2);
	assert_int_equal(cpu_exec_string(c, I(8, "\xf3\xa5")), CPU_USER);
	assert_int_equal(c->gpr[R_RCX], 2);
	rig.mmio_result = CPU_OK;
	assert_int_equal(cpu_exec_string(c, &decoded), CPU_OK);
	assert_int_equal(*(u32 *)(rig.ram + 0x10004), 0x17161514);
	/* the device is not read for a store that faults */
	rig.mmio_reads = 0;
	regs(GVA + 0x1010, GVA + 0x100000, 2);
	assert_fault(cpu_exec_string(c, &decoded), EXC_PF, PF_W);
	assert_int_equal(rig.mmio_reads, 0);
	/* a page with code */
	mmu_code_page(c, 0x10000, NULL, 0);
	c->gpr[R_RAX] = 0x77;
	regs(0, GVA + 10, 5);
	assert_int_equal(cpu_exec_string(c, I(8, "\xf3\xaa")), CPU_OK);
	assert_int_equal(rig.code_writes, 5);
	assert_int_equal(rig.ram[0x1000e], 0x77);
}

T(compare)
{
	struct cpu *c = rig.c;
	u8 *m = rig.ram + 0x10000;

	mode64();
	map_pages(GVA, 0x10000, 4);
	memset(m, 'x', 16384);
	m[9000] = 'y';
	c->gpr[R_RAX] = 'y';
	regs(0, GVA, ~0ull);
	assert_int_equal(cpu_exec_string(c, I(8, "\xf2\xae")), CPU_OK);
	assert_int_equal(c->gpr[R_RDI], GVA + 9001);
	assert_int_equal(c->gpr[R_RCX], ~0ull - 9001);
	assert_true(c->rflags & FL_ZF);
	assert_int_equal(c->rip, 0x1002);
	/* flags of the last pair, also across a page: every byte pair against arithmetic */
	for (u32 i = 0; i < 65536; i += 7) {
		u8 a = (u8)i, b = (u8)(i >> 8), r = a - b;
		u32 want = (a < b ? FL_CF : 0) | ((a & 15) < (b & 15) ? FL_AF : 0) |
			   (!r ? FL_ZF : 0) | (r & 0x80 ? FL_SF : 0) |
			   (__builtin_parity(r) ? 0 : FL_PF) |
			   ((a ^ b) & (a ^ r) & 0x80 ? FL_OF : 0);

		m[4000] = a;
		m[5000] = b;
		regs(GVA + 4000, GVA + 5000, 0);
		assert_int_equal(cpu_exec_string(c, I(8, "\xa6")), CPU_OK);
		assert_int_equal(c->rflags & FL_ARITH, want);
	}
	memset(m, 1, 16384);
	m[4096 + 100] = 2;
	regs(GVA, GVA + 1, 5000);	/* equal up to 4195 against 4196 */
	assert_int_equal(cpu_exec_string(c, I(8, "\xf3\xa6")), CPU_OK);
	assert_int_equal(c->gpr[R_RSI], GVA + 4196);
	assert_int_equal(c->rflags & (FL_ZF | FL_CF | FL_SF), FL_CF | FL_SF);
	/* a 4-byte element over the page end, backwards */
	memcpy(m + 4094, &(u32){ 0x12345678 }, 4);
	c->gpr[R_RAX] = 0x12345678;
	c->rflags |= FL_DF;
	regs(0, GVA + 4094 + 40, 100);
	assert_int_equal(cpu_exec_string(c, I(8, "\xf2\xaf")), CPU_OK);
	assert_int_equal(c->gpr[R_RDI], GVA + 4090);
	assert_int_equal(c->gpr[R_RCX], 89);
	assert_true(c->rflags & FL_ZF);
	c->rflags &= ~(u64)FL_DF;
	/* LODS */
	m[0] = 0x21;
	m[1] = 0x43;
	c->gpr[R_RAX] = ~0ull;
	regs(GVA, 0, 0);
	assert_int_equal(cpu_exec_string(c, I(8, "\x66\xad")), CPU_OK);
	assert_int_equal(c->gpr[R_RAX], 0xffffffffffff4321);
}

T(string_legacy)
{
	struct cpu *c = rig.c;

	legacy(false);
	c->seg[S_ES].base = 0x20000;
	c->seg[S_FS].base = 0x30000;
	memset(rig.ram + 0x30000, 0x66, 0x10000);
	/* FS override; DI wraps at 64 KiB, upper halves stay */
	regs(0xabcd0010, 0x1234fff0, 0x77770020);
	assert_int_equal(cpu_exec_string(c, I(2, "\xf3\x64\xa4")), CPU_OK);
	assert_int_equal(c->gpr[R_RSI], 0xabcd0030);
	assert_int_equal(c->gpr[R_RDI], 0x12340010);
	assert_int_equal(c->gpr[R_RCX], 0x77770000);
	assert_int_equal(rig.ram[0x2ffff], 0x66);
	assert_int_equal(rig.ram[0x2000f], 0x66);
	assert_int_equal(rig.ram[0x20010], 0);
	/* the limit ends it in the middle of a page, precisely */
	c->seg[S_ES].limit = 0x8005;
	regs(0, 0x8000, 0x10);
	assert_fault(cpu_exec_string(c, I(2, "\xf3\x64\xa5")), EXC_GP, 0);
	assert_int_equal(c->gpr[R_RCX], 0x10 - 3);
	assert_int_equal(c->gpr[R_RDI], 0x8006);
	/* a word at FFFF */
	c->seg[S_ES].limit = 0xffff;
	regs(0, 0xffff, 1);
	assert_fault(cpu_exec_string(c, I(2, "\xab")), EXC_GP, 0);
}

/* -- port I/O -- */

static u32 pio_calls, pio_counts[8], pio_limit;
static u16 pio_port;
static int pio_result;
static u8 pio_data[4096];
static u32 pio_len;

static enum cpu_result pio_in(struct cpu *c, const struct insn *in, u16 port, u32 size, void *buf,
			      u32 *count)
{
	if (pio_result)
		return pio_result;
	if (pio_limit && *count > pio_limit)
		*count = pio_limit;
	for (u32 i = 0; i < size * *count; i++)
		((u8 *)buf)[i] = (u8)(pio_len++);
	pio_counts[pio_calls++ % 8] = *count;
	pio_port = port;
	return CPU_OK;
}
static enum cpu_result pio_out(struct cpu *c, const struct insn *in, u16 port, u32 size,
			       const void *buf, u32 *count)
{
	if (pio_limit && *count > pio_limit)
		*count = pio_limit;
	memcpy(pio_data + pio_len, buf, size * *count);
	pio_len += size * *count;
	pio_counts[pio_calls++ % 8] = *count;
	pio_port = port;
	return pio_result;
}
static const struct cpu_hooks hooks = { .pio_in = pio_in, .pio_out = pio_out };

static void pio_reset(void)
{
	cpu_hooks = &hooks;
	pio_calls = pio_len = pio_limit = 0;
	pio_result = CPU_OK;
}

T(pio_scalar)
{
	struct cpu *c = rig.c;

	mode64();
	pio_reset();
	regs(0, 0, 0);
	c->gpr[R_RAX] = 0xffffffff11223344;
	c->gpr[R_RDX] = 0x10cf8;
	assert_int_equal(cpu_exec_io(c, I(8, "\xef")), CPU_OK);
	assert_int_equal(pio_port, 0xcf8);
	assert_int_equal(pio_len, 4);
	assert_int_equal(*(u32 *)pio_data, 0x11223344);
	assert_int_equal(c->rip, 0x1001);
	assert_int_equal(cpu_exec_io(c, I(8, "\xe4\xfe")), CPU_OK);
	assert_int_equal(pio_port, 0xfe);
	assert_int_equal(c->gpr[R_RAX], 0xffffffff11223304);
	assert_int_equal(cpu_exec_io(c, I(8, "\xed")), CPU_OK);
	assert_int_equal(c->gpr[R_RAX], 0x08070605);
	c->rip = 0x1000;
	pio_result = CPU_USER;
	assert_int_equal(cpu_exec_io(c, I(8, "\xed")), CPU_USER);
	assert_int_equal(cpu_exec_io(c, I(8, "\xee")), CPU_USER);
	assert_int_equal(c->rip, 0x1000);
}

T(pio_string)
{
	struct cpu *c = rig.c;

	mode64();
	pio_reset();
	map_pages(GVA, 0x10000, 2);
	c->gpr[R_RDX] = 0x1f0;
	/* blocks end at pages, at 1024 bytes, and where the hook says */
	regs(0, GVA + 4096 - 200, 700);
	assert_int_equal(cpu_exec_io(c, I(8, "\xf3\x66\x6d")), CPU_OK);
	assert_int_equal(pio_calls, 3);
	assert_int_equal(pio_counts[0], 100);
	assert_int_equal(pio_counts[1], 512);
	assert_int_equal(pio_counts[2], 88);
	assert_int_equal(c->gpr[R_RCX], 0);
	assert_int_equal(c->gpr[R_RDI], GVA + 4096 + 1200);
	assert_int_equal(rig.ram[0x10000 + 4096 - 200 + 255], 255);
	assert_int_equal(c->rip, 0x1003);
	pio_reset();
	pio_limit = 10;
	regs(GVA, 0, 25);
	for (u32 i = 0; i < 100; i++)
		rig.ram[0x10000 + i] = (u8)(i * 3);
	assert_int_equal(cpu_exec_io(c, I(8, "\xf3\x6f")), CPU_OK);
	assert_int_equal(pio_calls, 3);
	assert_memory_equal(pio_data, rig.ram + 0x10000, 100);
	/* OUTS that leaves is done; INS that leaves has not begun */
	pio_result = CPU_USER;
	pio_len = 0;
	regs(GVA, 0, 15);
	assert_int_equal(cpu_exec_io(c, I(8, "\xf3\x6f")), CPU_USER);
	assert_int_equal(c->gpr[R_RCX], 5);
	assert_int_equal(c->rip, 0x1000);
	assert_int_equal(cpu_exec_io(c, I(8, "\xf3\x6f")), CPU_USER);
	assert_int_equal(c->rip, 0x1002);
	regs(0, GVA, 15);
	assert_int_equal(cpu_exec_io(c, I(8, "\xf3\x6c")), CPU_USER);
	assert_int_equal(c->gpr[R_RCX], 15);
	/* the destination is checked before the port is touched */
	pio_reset();
	regs(0, GVA + 0x5000, 1);
	assert_fault(cpu_exec_io(c, I(8, "\x6c")), EXC_PF, PF_W);
	assert_int_equal(pio_calls, 0);
	/* descending, one by one, over a page end */
	c->rflags |= FL_DF;
	regs(0, GVA + 4094, 2);
	assert_int_equal(cpu_exec_io(c, I(8, "\xf3\x6d")), CPU_OK);
	assert_int_equal(c->gpr[R_RDI], GVA + 4086);
	assert_memory_equal(rig.ram + 0x10000 + 4094, &(u32){ 0x03020100 }, 4);
	assert_memory_equal(rig.ram + 0x10000 + 4090, &(u32){ 0x07060504 }, 4);
	/* count 0 */
	regs(0, 0, 0);
	assert_int_equal(cpu_exec_io(c, I(8, "\xf3\x6c")), CPU_OK);
	assert_int_equal(c->rip, 0x1002);
}

T(pio_bitmap)
{
	struct cpu *c = rig.c;
	u8 *tss = rig.ram + 0x9000;

	legacy(true);
	c->cpl = 3;
	assert_fault(cpu_io_allowed(c, 0x80, 1), EXC_GP, 0);	/* no TSS */
	c->seg[S_TR] = (struct cpu_seg){ .base = 0x9000, .limit = 103 + 33, .attr = SEG_P | 0xb };
	*(u16 *)(tss + 102) = 104;
	memset(tss + 104, 0xff, 33);
	tss[104 + 0x80 / 8] = 0xf0;
	assert_int_equal(cpu_io_allowed(c, 0x80, 4), CPU_OK);
	assert_fault(cpu_io_allowed(c, 0x81, 4), EXC_GP, 0);
	assert_int_equal(cpu_io_allowed(c, 0x83, 1), CPU_OK);
	assert_fault(cpu_io_allowed(c, 0x84, 1), EXC_GP, 0);
	/* the last byte read must lie inside the limit */
	memset(tss + 104, 0, 33);
	assert_int_equal(cpu_io_allowed(c, 0xff, 1), CPU_OK);
	assert_fault(cpu_io_allowed(c, 0x100, 1), EXC_GP, 0);
	/* IOPL overrides the bitmap, but not in virtual-8086 mode */
	c->rflags |= FL_IOPL;
	assert_int_equal(cpu_io_allowed(c, 0x1000, 1), CPU_OK);
	c->rflags |= FL_VM;
	assert_fault(cpu_io_allowed(c, 0x1000, 1), EXC_GP, 0);
	assert_int_equal(cpu_io_allowed(c, 0x10, 1), CPU_OK);
	c->seg[S_TR].attr = SEG_P | 0x3;	/* 16-bit TSS */
	assert_fault(cpu_io_allowed(c, 0x10, 1), EXC_GP, 0);
	c->cr0 = 0;
	assert_int_equal(cpu_io_allowed(c, 0x10, 1), CPU_OK);
}

/* -- XSAVE -- */

#define FXSAVE "\x0f\xae\x00"		/* [rax] */
#define FXSAVE64 "\x48\x0f\xae\x00"
#define FXRSTOR "\x0f\xae\x08"
#define XSAVE64 "\x48\x0f\xae\x23"	/* [rbx] */
#define XRSTOR64 "\x48\x0f\xae\x2b"
#define XSAVEOPT64 "\x48\x0f\xae\x33"
#define XSAVEC64 "\x48\x0f\xc7\x23"

static void xsave_setup(void)
{
	struct cpu *c = rig.c;

	mode64();
	map_pages(GVA, 0x10000, 2);
	c->cr4 |= CR4_OSXSAVE | CR4_OSFXSR;
	c->xcr0 = 7;
	for (u32 i = 0; i < 832; i++)
		c->xsave[i] = (u8)(i * 5 + 1);
	*(u32 *)(c->xsave + 24) = 0x1fa0;
	memset(c->xsave + 512, 0, 64);
	*(u64 *)(c->xsave + 512) = 7;
	c->gpr[R_RBX] = c->gpr[R_RAX] = GVA;
	c->rip = 0x1000;
}

T(fxsave)
{
	struct cpu *c = rig.c;
	u8 *m = rig.ram + 0x10000;
	u8 saved[832];

	xsave_setup();
	memset(m, 0xcc, 1024);
	assert_int_equal(cpu_exec_xsave(c, I(8, FXSAVE64)), CPU_OK);
	assert_memory_equal(m, c->xsave, 28);
	assert_memory_equal(m + 32, c->xsave + 32, 384);
	assert_int_equal(m[464], 0xcc);
	assert_int_equal(m[511], 0xcc);
	assert_int_equal(c->rip, 0x1004);
	memcpy(saved, c->xsave, sizeof(saved));
	memset(c->xsave, 0, 416);
	assert_int_equal(cpu_exec_xsave(c, I(8, "\x48\x0f\xae\x08")), CPU_OK);
	assert_memory_equal(saved, c->xsave, 28);
	assert_memory_equal(saved + 32, c->xsave + 32, 384);
	/* short form: no selectors */
	assert_int_equal(cpu_exec_xsave(c, I(8, FXSAVE)), CPU_OK);
	assert_int_equal(*(u32 *)(m + 12), 0);
	assert_memory_equal(m + 8, saved + 8, 4);
	/* refusals */
	*(u32 *)(m + 24) |= 1u << 30;
	assert_fault(cpu_exec_xsave(c, I(8, FXRSTOR)), EXC_GP, 0);
	c->gpr[R_RAX] = GVA + 8;
	assert_fault(cpu_exec_xsave(c, I(8, FXSAVE)), EXC_GP, 0);
	c->gpr[R_RAX] = GVA + 8192 - 256;
	memset(m + 8192 - 256, 0xcc, 256);
	assert_fault(cpu_exec_xsave(c, I(8, FXSAVE)), EXC_PF, PF_W);
	assert_int_equal(m[8192 - 256], 0xcc);
	c->cr0 |= CR0_TS;
	assert_fault(cpu_exec_xsave(c, I(8, FXSAVE)), EXC_NM, 0);
	c->cr0 = (c->cr0 & ~CR0_TS) | CR0_EM;
	assert_fault(cpu_exec_xsave(c, I(8, FXSAVE)), EXC_NM, 0);
	assert_int_equal(c->rip, 0x1007 + 0x4);
}

static void request(u64 mask)
{
	rig.c->gpr[R_RAX] = (u32)mask;
	rig.c->gpr[R_RDX] = mask >> 32;
}

T(xsave)
{
	struct cpu *c = rig.c;
	u8 *m = rig.ram + 0x10000;
	u64 *bv = (u64 *)(m + 512);
	u8 saved[832];

	xsave_setup();
	memcpy(saved, c->xsave, sizeof(saved));
	request(~0ull);
	assert_int_equal(cpu_exec_xsave(c, I(8, XSAVE64)), CPU_OK);
	assert_int_equal(bv[0], 7);
	assert_int_equal(bv[1], 0);
	assert_memory_equal(m + 32, saved + 32, 384);
	assert_memory_equal(m + 576, saved + 576, 256);
	/* AVX alone: SSE registers and other bits of XSTATE_BV stay, MXCSR is written */
	memset(m, 0xcc, 832);
	memset(m + 512, 0, 64);
	bv[0] = 1;
	request(4);
	assert_int_equal(cpu_exec_xsave(c, I(8, XSAVE64)), CPU_OK);
	assert_int_equal(bv[0], 5);
	assert_int_equal(*(u32 *)(m + 24), 0x1fa0);
	assert_int_equal(m[160], 0xcc);
	assert_int_equal(m[0], 0xcc);
	/* a component in its initial state */
	*(u64 *)(c->xsave + 512) = 3;
	request(7);
	assert_int_equal(cpu_exec_xsave(c, I(8, XSAVE64)), CPU_OK);
	assert_int_equal(bv[0], 3);
	assert_int_equal(m[576], 0);
	memset(m + 576, 0xcc, 256);
	assert_int_equal(cpu_exec_xsave(c, I(8, XSAVEOPT64)), CPU_OK);
	assert_int_equal(bv[0], 3);
	assert_int_equal(m[576], 0xcc);
	/* compaction */
	bv[0] = ~0ull;
	request(6);
	assert_int_equal(cpu_exec_xsave(c, I(8, XSAVEC64)), CPU_OK);
	assert_int_equal(bv[0], 2);
	assert_int_equal(bv[1], BIT64(63) | 6);
	/* and back: AVX is initialised, x87 untouched */
	*(u64 *)(c->xsave + 512) = 7;
	memset(c->xsave + 160, 0x99, 256);
	memset(c->xsave + 576, 0x99, 256);
	*(u32 *)(c->xsave + 24) = 0x1f80;
	request(6);
	assert_int_equal(cpu_exec_xsave(c, I(8, XRSTOR64)), CPU_OK);
	assert_int_equal(*(u64 *)(c->xsave + 512), 3);
	assert_memory_equal(c->xsave + 160, saved + 160, 256);
	assert_memory_equal(c->xsave, saved, 24);
	assert_int_equal(*(u32 *)(c->xsave + 24), 0x1fa0);
	assert_int_equal(c->xsave[576], 0);
}

T(xrstor_refusals)
{
	struct cpu *c = rig.c;
	u8 *m = rig.ram + 0x10000;
	u64 *h = (u64 *)(m + 512);
	static const struct {
		u64 bv, comp, rsvd0, rsvd5;
		bool gp;
	} t[] = {
		{ 7, 0, 0, 0, false },
		{ 8, 0, 0, 0, true },
		{ 1, 1, 0, 0, true },
		{ 1, 0, 1, 0, true },
		{ 1, 0, 0, 1, false },
		{ 1, BIT64(63) | 7, 0, 0, false },
		{ 1, BIT64(63) | 6, 0, 0, true },
		{ 1, BIT64(63) | 15, 0, 0, true },
		{ 1, BIT64(63) | 1, 0, 1, true },
		{ 0, BIT64(63), 0, 0, false },
	};

	xsave_setup();
	*(u32 *)(m + 24) = 0x1f80;
	for (u32 i = 0; i < ARRAY_SIZE(t); i++) {
		h[0] = t[i].bv;
		h[1] = t[i].comp;
		h[2] = t[i].rsvd0;
		h[7] = t[i].rsvd5;
		request(7);
		if (t[i].gp)
			assert_fault(cpu_exec_xsave(c, I(8, XRSTOR64)), EXC_GP, 0);
		else
			assert_int_equal(cpu_exec_xsave(c, I(8, XRSTOR64)), CPU_OK);
	}
	/* MXCSR counts even when XSTATE_BV leaves SSE out */
	h[0] = h[1] = h[2] = h[7] = 0;
	*(u32 *)(m + 24) = 0xffffffff;
	assert_fault(cpu_exec_xsave(c, I(8, XRSTOR64)), EXC_GP, 0);
	request(1);
	assert_int_equal(cpu_exec_xsave(c, I(8, XRSTOR64)), CPU_OK);
	c->gpr[R_RBX] = GVA + 16;
	assert_fault(cpu_exec_xsave(c, I(8, XRSTOR64)), EXC_GP, 0);
	c->cr0 |= CR0_TS | CR0_EM;
	assert_fault(cpu_exec_xsave(c, I(8, XRSTOR64)), EXC_NM, 0);
	c->cr4 &= ~CR4_OSXSAVE;
	assert_fault(cpu_exec_xsave(c, I(8, XRSTOR64)), EXC_UD, 0);
}

T(xcr)
{
	struct cpu *c = rig.c;

	xsave_setup();
	c->gpr[R_RCX] = 0;
	assert_int_equal(cpu_exec_xsave(c, I(8, "\x0f\x01\xd0")), CPU_OK);
	assert_int_equal(c->gpr[R_RAX], 7);
	c->gpr[R_RCX] = 1;
	*(u64 *)(c->xsave + 512) = 2;
	assert_fault(cpu_exec_xsave(c, I(8, "\x0f\x01\xd0")), EXC_GP, 0); /* no XGETBV1 in CPUID */
	c->has_xgetbv1 = true;
	assert_int_equal(cpu_exec_xsave(c, I(8, "\x0f\x01\xd0")), CPU_OK);
	assert_int_equal(c->gpr[R_RAX], 2);
	c->gpr[R_RCX] = 2;
	assert_fault(cpu_exec_xsave(c, I(8, "\x0f\x01\xd0")), EXC_GP, 0);
	c->gpr[R_RCX] = 0;
	request(3);
	assert_int_equal(cpu_exec_xsave(c, I(8, "\x0f\x01\xd1")), CPU_OK);
	assert_int_equal(c->xcr0, 3);
	c->cpl = 3;
	assert_fault(cpu_exec_xsave(c, I(8, "\x0f\x01\xd1")), EXC_GP, 0);
	c->cr4 &= ~CR4_OSXSAVE;
	assert_fault(cpu_exec_xsave(c, I(8, "\x0f\x01\xd1")), EXC_UD, 0);
}

/* -- legacy -- */

T(pusha)
{
	struct cpu *c = rig.c;
	u64 before[8];

	legacy(false);
	for (u32 i = 0; i < 8; i++)
		before[i] = c->gpr[i] = 0x11110000 * (i + 1) + i;
	c->gpr[R_RSP] = before[R_RSP] = 0x55550006;	/* wraps after three */
	assert_int_equal(cpu_exec_legacy(c, I(2, "\x60")), CPU_OK);
	assert_int_equal(c->gpr[R_RSP], 0x5555fff6);
	assert_int_equal(*(u16 *)(rig.ram + 4), 0);
	assert_int_equal(*(u16 *)(rig.ram + 0xfffc), 6);	/* SP as it was */
	assert_int_equal(*(u16 *)(rig.ram + 0xfff6), 7);
	for (u32 i = 0; i < 8; i++)
		if (i != R_RSP)
			c->gpr[i] ^= 0xffff;
	assert_int_equal(cpu_exec_legacy(c, I(2, "\x61")), CPU_OK);
	for (u32 i = 0; i < 8; i++)
		assert_int_equal(c->gpr[i], before[i]);
	assert_int_equal(c->rip, 2);
}

T(enter)
{
	struct cpu *c = rig.c;
	u64 *stack = (u64 *)(rig.ram + 0x10000);

	mode64();
	map_pages(GVA, 0x10000, 1);
	c->gpr[R_RSP] = GVA + 0x800;
	c->gpr[R_RBP] = GVA + 0x900;
	stack[0x8f8 / 8] = 0x1111;
	stack[0x8f0 / 8] = 0x2222;
	assert_int_equal(cpu_exec_legacy(c, I(8, "\xc8\x20\x00\x03")), CPU_OK);
	assert_int_equal(c->gpr[R_RBP], GVA + 0x7f8);
	assert_int_equal(stack[0x7f8 / 8], GVA + 0x900);
	assert_int_equal(stack[0x7f0 / 8], 0x1111);
	assert_int_equal(stack[0x7e8 / 8], 0x2222);
	assert_int_equal(stack[0x7e0 / 8], GVA + 0x7f8);
	assert_int_equal(c->gpr[R_RSP], GVA + 0x7e0 - 0x20);
	/* no room: nothing changes */
	c->gpr[R_RSP] = GVA + 0x10;
	assert_fault(cpu_exec_legacy(c, I(8, "\xc8\x20\x00\x00")), EXC_PF, PF_W);
	assert_int_equal(c->gpr[R_RSP], GVA + 0x10);
	assert_int_equal(c->gpr[R_RBP], GVA + 0x7f8);
}

T(small)
{
	struct cpu *c = rig.c;

	legacy(true);
	/* BOUND eax, [ebx] */
	c->gpr[R_RBX] = 0x4000;
	*(s32 *)(rig.ram + 0x4000) = -5;
	*(s32 *)(rig.ram + 0x4004) = 5;
	c->gpr[R_RAX] = 5;
	assert_int_equal(cpu_exec_legacy(c, I(4, "\x62\x03")), CPU_OK);
	c->gpr[R_RAX] = (u32)-6;
	assert_fault(cpu_exec_legacy(c, I(4, "\x62\x03")), EXC_BR, 0);
	/* ARPL [ebx], cx */
	*(u16 *)(rig.ram + 0x4000) = 0x10;
	c->gpr[R_RCX] = 3;
	assert_int_equal(cpu_exec_legacy(c, I(4, "\x63\x0b")), CPU_OK);
	assert_int_equal(*(u16 *)(rig.ram + 0x4000), 0x13);
	assert_true(c->rflags & FL_ZF);
	assert_int_equal(cpu_exec_legacy(c, I(4, "\x63\x0b")), CPU_OK);
	assert_false(c->rflags & FL_ZF);
	/* XLAT with FS */
	c->seg[S_FS].base = 0x100;
	rig.ram[0x4000 + 0x100 + 7] = 0x99;
	c->gpr[R_RAX] = 0xff07;
	assert_int_equal(cpu_exec_legacy(c, I(4, "\x64\xd7")), CPU_OK);
	assert_int_equal(c->gpr[R_RAX], 0xff99);
	/* AAM by zero, by ten; DAA */
	assert_fault(cpu_exec_legacy(c, I(4, "\xd4\x00")), EXC_DE, 0);
	c->gpr[R_RAX] = 0x3f;
	assert_int_equal(cpu_exec_legacy(c, I(4, "\xd4\x0a")), CPU_OK);
	assert_int_equal(c->gpr[R_RAX], 0x0603);
	c->gpr[R_RAX] = 0xae;
	c->rflags = FL_FIXED;
	assert_int_equal(cpu_exec_legacy(c, I(4, "\x27")), CPU_OK);
	assert_int_equal(c->gpr[R_RAX], 0x14);
	assert_int_equal(c->rflags & (FL_CF | FL_AF), FL_CF | FL_AF);
	c->cr0 = 0;
	assert_fault(cpu_exec_legacy(c, I(4, "\x63\x0b")), EXC_UD, 0);
}

T_EACH(rig_setup, rig_teardown);
