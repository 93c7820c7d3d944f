/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/strings.c - repeated string instructions: a fault in the middle leaves
 * RCX, RSI and RDI at the element that faulted (APM3 "Repeat Prefixes", SDM1 7.3.9.1).
 */
/* Run: build/standin run -- build/tests/guest/guest_strings [NAME...] */
#include "tests/guest/harness/harness.h"

#define VA 0x300000ull
#define VA2 0x301000ull
#define SRC 0x410000ull

CODE64(movsb, "rep movsb" DONE);
CODE64(movsl, "rep movsl" DONE);
CODE64(movsq, "rep movsq" DONE);
CODE64(stosq, "rep stosq" DONE);
CODE64(stosw, "rep stosw" DONE);
CODE64(lodsb, "rep lodsb" DONE);
CODE64(scasb, "repne scasb" DONE);
CODE64(cmpsl, "repe cmpsl" DONE);

static struct guest *prepare(const u8 *p, u64 n, u64 rsi, u64 rdi, u64 rcx, bool df)
{
	struct guest *g = guest_with_code(M_LONG, p, (u32)n);

	WITH_REGS(cpu0(g), r) {
		r.rsi = rsi;
		r.rdi = rdi;
		r.rcx = rcx;
		r.rax = 0x1122334455667788;
		r.rflags |= df ? 0x400 : 0;
	}
	return g;
}
#define PREPARE(s, rsi, rdi, rcx, df) prepare(s##_b, LEN(s), rsi, rdi, rcx, df)

static void fault_half(const u8 *p, u64 n, u32 size, u64 rsi, u64 rdi, u32 elements, u32 before,
		       u32 err, const char *name)
{
	struct guest *g = prepare(p, n, rsi, rdi, elements, false);
	bool source = rsi && rsi + (u64)size * before == VA2;
	struct stop s;

	*guest_pte(g, VA2) &= ~(u64)PTE_P;
	s = run(g);
	if (s.kind != ST_EXC || s.vec != 14 || s.err != err || s.rip != G_CODE || s.cr2 != VA2)
		test_fail(__FILE__, __LINE__, "%s: %s", name, stop_text(&s));
	CHECK_EQ(s.r.rcx, elements - before);
	if (rsi)
		CHECK_EQ(s.r.rsi, rsi + (u64)size * before);
	if (rdi)
		CHECK_EQ(s.r.rdi, rdi + (u64)size * before);
	(void)source;
	/* With the page back the instruction goes on from there. */
	*guest_pte(g, VA2) |= PTE_P;
	cpu_resume(cpu0(g), &s, s.rip);
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rcx, 0);
	guest_free(g);
}

T(fault_half, "a page fault half-way, then resumed")
{
	fault_half(movsb_b, LEN(movsb), 1, SRC, VA2 - 100, 300, 100, 2, "movsb to");
	fault_half(movsb_b, LEN(movsb), 1, VA2 - 77, SRC, 300, 77, 0, "movsb from");
	fault_half(movsl_b, LEN(movsl), 4, SRC, VA2 - 400, 300, 100, 2, "movsl to");
	fault_half(movsq_b, LEN(movsq), 8, VA2 - 800, SRC, 300, 100, 0, "movsq from");
	fault_half(stosq_b, LEN(stosq), 8, 0, VA2 - 80, 30, 10, 2, "stosq");
	fault_half(stosw_b, LEN(stosw), 2, 0, VA2 - 80, 60, 40, 2, "stosw");
	fault_half(lodsb_b, LEN(lodsb), 1, VA2 - 80, 0, 100, 80, 0, "lodsb");
}

T(straddle, "an element over the boundary faults as a whole")
{
	struct guest *g = PREPARE(stosq, 0, VA2 - 84, 30, false);
	struct stop s;

	*guest_pte(g, VA2) &= ~(u64)PTE_P;
	s = RUN_EXC(g, 14, 2);
	CHECK_EQ(s.cr2, VA2);
	CHECK_EQ(s.r.rcx, 20);
	CHECK_EQ(s.r.rdi, VA2 - 4);
	CHECK_EQ(*g32(g, VA2 - 4), 0);
}

T(backwards, "DF counts down, also across a page boundary")
{
	struct guest *g = PREPARE(movsl, SRC + 0x1ffc, VA + 0x1ffc, 0x800, true);
	struct stop s;

	for (u32 i = 0; i < 0x800; i++)
		*g32(g, SRC + 4 * i) = i * 3;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rdi, VA - 4);
	CHECK(!memcmp(g->ram + VA, g->ram + SRC, 0x2000));
	guest_free(g);
	g = PREPARE(movsl, SRC + 0x1ffc, VA2 + 0xffc, 0x800, true);
	*guest_pte(g, VA) &= ~(u64)PTE_P;
	s = RUN_EXC(g, 14, 2);
	CHECK_EQ(s.cr2, VA2 - 4);
	CHECK_EQ(s.r.rcx, 0x400);
}

T(overlap, "a forward MOVSB onto itself repeats the byte")
{
	struct guest *g = PREPARE(movsb, VA, VA + 1, 5000, false);

	g->ram[VA] = 0x5c;
	RUN_TO(g, ST_DONE);
	for (u32 i = 0; i <= 5000; i++)
		if (g->ram[VA + i] != 0x5c) {
			test_fail(__FILE__, __LINE__, "byte %u is %#x", i, g->ram[VA + i]);
			break;
		}
}

T(scan, "REPNE SCASB and REPE CMPS stop where they should, with flags")
{
	struct guest *g = PREPARE(scasb, 0, VA, 1000, false);
	struct stop s;

	memset(g->ram + VA, 0x11, 1000);
	g->ram[VA + 321] = 0x88;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rdi, VA + 322);
	CHECK_EQ(s.r.rcx, 1000 - 322);
	CHECK_EQ(s.r.rflags & 0x40, 0x40);
	guest_free(g);
	g = PREPARE(cmpsl, VA, SRC, 1000, false);
	*g32(g, SRC + 4 * 500) = 1;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rcx, 499);
	CHECK_EQ(s.r.rsi, VA + 4 * 501);
	CHECK_EQ(s.r.rflags & 0x41, 1);		/* 0 - 1: CF */
	guest_free(g);
	g = PREPARE(cmpsl, VA, SRC, 0, false);
	WITH_REGS(cpu0(g), r)
		r.rflags |= 0x40;
	s = run(g);
	CHECK_EQ(s.r.rflags & 0x40, 0x40);	/* no round: flags stay */
	CHECK_EQ(s.r.rsi, VA);
}

CODE64(addr32, "mov $0xffffffff00000005, %rcx\n addr32 rep stosb" DONE);
T(addr32, "a 32-bit address size counts in ECX and wraps EDI")
{
	struct guest *g = guest_with(M_LONG, addr32);
	struct stop s;

	WITH_REGS(cpu0(g), r) {
		r.rdi = 0xdead000000000000 | VA;
		r.rax = 0x41;
	}
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rdi, VA + 5);
	CHECK_EQ(s.r.rcx, 0);
	CHECK(!memcmp(g->ram + VA, "AAAAA", 6));
}

CODE16(di_wrap, "cld\n mov $0xfffe, %di\n mov $4, %cx\n mov $0x2000, %bx\n mov %bx, %es\n"
	" mov $0x55, %al\n rep stosb" DONE);
T(di_wrap, "a 16-bit address size wraps DI")
{
	struct guest *g = guest_with(M_REAL, di_wrap);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.rdi, 2);
	CHECK_EQ(g->ram[0x20000 + 0xfffe], 0x55);
	CHECK_EQ(g->ram[0x20000 + 0xffff], 0x55);
	CHECK_EQ(g->ram[0x20000], 0x55);
	CHECK_EQ(g->ram[0x20001], 0x55);
	CHECK_EQ(g->ram[0x20002], 0);
	CHECK_EQ(g->ram[0x30000], 0);
}

/* -- INS and OUTS -- */
CODE64(insb, "mov $0x77, %edx\n rep insb" DONE);
CODE64(outsw, "mov $0x78, %edx\n rep outsw" DONE);
T(ins, "REP INSB fills memory from port reads")
{
	struct guest *g = PREPARE(insb, 0, VA2 - 3, 8, false);
	struct guest_cpu *c = cpu0(g);
	u32 got = 0;
	struct stop s;

	for (;;) {
		s = run(g);
		if (s.kind != ST_IN)
			break;
		CHECK_EQ(s.port, 0x77);
		CHECK_EQ(s.size, 1);
		for (u32 i = 0; i < s.count; i++)
			((u8 *)c->run)[c->run->io.data_offset + i] = (u8)('a' + got++);
	}
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(got, 8);
	CHECK_EQ(s.r.rcx, 0);
	CHECK_EQ(s.r.rdi, VA2 + 5);
	CHECK(!memcmp(g->ram + VA2 - 3, "abcdefgh", 8));
}
T(outs, "REP OUTSW writes all elements in order")
{
	struct guest *g = PREPARE(outsw, VA2 - 7, 0, 9, false);
	struct guest_cpu *c = cpu0(g);
	u16 want[9], got[16];
	u32 n = 0;
	struct stop s;

	for (u32 i = 0; i < 9; i++)
		want[i] = (u16)(0x1000 + i);
	guest_write(g, VA2 - 7, want, sizeof(want));
	for (;;) {
		s = run(g);
		if (s.kind != ST_OUT)
			break;
		CHECK_EQ(s.size, 2);
		for (u32 i = 0; i < s.count && n < 16; i++)
			memcpy(&got[n++], (u8 *)c->run + c->run->io.data_offset + 2 * i, 2);
	}
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(n, 9);
	CHECK(!memcmp(want, got, sizeof(want)));
	CHECK_EQ(s.r.rsi, VA2 - 7 + 18);
}
T(ins_fault, "INS to an absent page faults before any port read is lost")
{
	struct guest *g = PREPARE(insb, 0, VA2, 4, false);
	struct stop s;

	*guest_pte(g, VA2) &= ~(u64)PTE_P;
	s = run(g);
	/* KVM may read the port first; the architecture faults first. */
	if (s.kind == ST_IN)
		s = run(g);
	CHECK_EXC(s, 14, 2);
	CHECK_EQ(s.r.rcx, 4);
}
