/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/lbr.c - recording of control transfers, and single-stepping by them (APM2 13.1.6).
 */
/* Run: build/standin run -- build/tests/guest/guest_lbr [NAME...] */
#include "tests/guest/harness/harness.h"

#define DEBUGCTL 0x1d9
#define LBR 1ull
#define BTF 2ull
#define FROM 0x1db
#define TO 0x1dc
#define INT_FROM 0x1dd
#define INT_TO 0x1de
#define TF 0x100u
#define IF 0x200u

#define STUB(vec) (G_STUBS + 16ull * (vec))

#define CHECK_LBR(c, from, to) do { \
	CHECK_EQ(cpu_msr(c, FROM), from); \
	CHECK_EQ(cpu_msr(c, TO), to); \
} while (0)
#define CHECK_INT(c, from, to) do { \
	CHECK_EQ(cpu_msr(c, INT_FROM), from); \
	CHECK_EQ(cpu_msr(c, INT_TO), to); \
} while (0)

/* From lNf to lNt, then OUT to port N: no OUT is a branch. */
#define HOP(n, from, to) "l" #n "f: " from "\n nop\n l" #n "t: " to "\n out %al, $" #n "\n"
CODE64(ways, HOP(1, "jmp l1t", "")
	/* to the next instruction: taken all the same */
	"l2f: jmp l2t\n l2t: out %al, $2\n"
	"xor %eax, %eax\n" HOP(3, "jz l3t", "")
	HOP(4, "call l4t", "")
	"lea l5t(%rip), %rbx\n" HOP(5, "jmp *%rbx", "")
	"lea l6t(%rip), %rbx\n" HOP(6, "call *%rbx", "")
	"lea l7t(%rip), %rbx\n push %rbx\n" HOP(7, "ret", "")
	"lea l8t(%rip), %rbx\n push %rbx\n" HOP(8, "jmp *(%rsp)", "")
	"mov $2, %ecx\n" HOP(9, "loop l9t", "")
	"xor %ecx, %ecx\n" HOP(10, "jrcxz l10t", "")
	"lea l11t(%rip), %rbx\n push $0x18\n push %rbx\n" HOP(11, "lretq", "")
	"lea l12t(%rip), %rbx\n mov %rsp, %rdx\n mov %ss, %eax\n push %rax\n push %rdx\n pushf\n"
	"push $0x18\n push %rbx\n" HOP(12, "iretq", "")
	HOP(13, "syscall", ""));
#define WAYS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)
#define X(n) LABEL(l##n##f); LABEL(l##n##t);
WAYS(X)
#undef X

T(branches, "LBR: every taken branch is recorded, near, far, direct or not")
{
	static const struct {
		u8 port;
		const u8 *from, *to;
	} way[] = {
#define X(n) { n, l##n##f, l##n##t },
		WAYS(X)
#undef X
	};
	struct guest *g = guest_with(M_LONG, ways);
	struct guest_cpu *c = cpu0(g);
	struct stop st;

	cpu_set_msr(c, 0xc0000081, (u64)SEL_CODE64 << 32);
	cpu_set_msr(c, 0xc0000082, AT(ways, l13t));
	cpu_set_msr(c, 0xc0000080, cpu_msr(c, 0xc0000080) | 1);
	cpu_set_msr(c, DEBUGCTL, LBR);
	for (u32 i = 0; i < ARRAY_SIZE(way); i++) {
		st = RUN_TO(g, ST_OUT);
		CHECK_EQ(st.port, way[i].port);
		CHECK_LBR(c, AT(ways, way[i].from), AT(ways, way[i].to));
		CHECK_INT(c, 0, 0);
	}
	CHECK_EQ(cpu_msr(c, DEBUGCTL), LBR);
}

CODE64(untaken, "un_f: jmp un_t\n un_t: or $1, %eax\n jz un_f\n mov $1, %ecx\n loop un_f\n"
	"inc %ecx\n jrcxz un_f\n out %al, $0x10");
LABEL(un_f);
LABEL(un_t);
T(untaken, "LBR: a conditional branch that is not taken leaves the record")
{
	struct guest *g = guest_with(M_LONG, untaken);
	struct guest_cpu *c = cpu0(g);

	cpu_set_msr(c, DEBUGCTL, LBR);
	RUN_TO(g, ST_OUT);
	CHECK_LBR(c, AT(untaken, un_f), AT(untaken, un_t));
}

/* ECX is DEBUGCTL all the time. */
CODE64(gates, "mov $0x1d9, %ecx\n xor %edx, %edx\n ga_0: jmp ga_1\n nop\n"
	"ga_1: mov $1, %eax\n wrmsr\n ga_2: jmp ga_3\n nop\n"
	"ga_3: xor %eax, %eax\n wrmsr\n ga_4: jmp ga_5\n nop\n ga_5: out %al, $0x10");
LABEL(ga_2);
LABEL(ga_3);
T(gates, "LBR: only branches while DEBUGCTL.LBR is set are recorded, at once")
{
	struct guest *g = guest_with(M_LONG, gates);
	struct guest_cpu *c = cpu0(g);

	RUN_TO(g, ST_OUT);
	CHECK_LBR(c, AT(gates, ga_2), AT(gates, ga_3));
	CHECK_EQ(cpu_msr(c, DEBUGCTL), 0);
}

CODE16(hop16, "h16_f: jmp h16_t\n nop\n h16_t: out %al, $0x10");
CODE32(hop32, "h32_f: call h32_t\n nop\n h32_t: out %al, $0x10");
LABEL(h16_f);
LABEL(h16_t);
LABEL(h32_f);
LABEL(h32_t);
T(offsets, "LBR: the records are offsets in the code segment")
{
	for (u32 i = 0; i < 2; i++) {
		struct guest *g = i ? guest_with(M_PM32, hop32) : guest_with(M_REAL, hop16);
		struct guest_cpu *c = cpu0(g);
		u64 base = i ? 0x1000 : 0x4000, f, t;

		WITH_SREGS(c, s) {
			s.cs.base = base;
			if (!i)
				s.cs.selector = 0x400;
		}
		WITH_REGS(c, r)
			r.rip -= base;
		cpu_set_msr(c, DEBUGCTL, LBR);
		RUN_TO(g, ST_OUT);
		f = i ? AT(hop32, h32_f) : AT(hop16, h16_f);
		t = i ? AT(hop32, h32_t) : AT(hop16, h16_t);
		CHECK_LBR(c, f - base, t - base);
		guest_free(g);
	}
}

/* A branch, and then what raises an event at evN. */
#define EVENT(n, insn) CODE64(event##n, "ev_f" #n ": jmp ev_t" #n "\n nop\n ev_t" #n ": nop\n" \
		"ev" #n ": " insn "\n nop"); LABEL(ev_f##n); LABEL(ev_t##n); LABEL(ev##n)
EVENT(0, "ud2");
EVENT(1, "int $0x40");
EVENT(2, "int3");
EVENT(3, "int $1");
T(events, "LBR: exceptions and INT n are recorded, the branch before them is put aside")
{
	static const struct {
		const u8 *b, *e, *f, *t, *at;
		u8 vec;
	} ev[] = {
#define X(n, vec) { event##n##_b, event##n##_e, ev_f##n, ev_t##n, ev##n, vec }
		X(0, 6),
		X(1, 0x40),
		X(2, 3),
		X(3, 1),
#undef X
	};

	for (u32 i = 0; i < ARRAY_SIZE(ev); i++) {
		struct guest *g = guest_with_code(M_LONG, ev[i].b, (u32)(ev[i].e - ev[i].b));
		struct guest_cpu *c = cpu0(g);

		cpu_set_msr(c, DEBUGCTL, LBR);
		RUN_EXC(g, ev[i].vec, -1);
		CHECK_LBR(c, G_CODE + (u64)(ev[i].at - ev[i].b), STUB(ev[i].vec));
		CHECK_INT(c, G_CODE + (u64)(ev[i].f - ev[i].b), G_CODE + (u64)(ev[i].t - ev[i].b));
		CHECK_EQ(cpu_msr(c, DEBUGCTL), LBR);
		guest_free(g);
	}
}

CODE64(intr, "in_f: jmp in_t\n nop\n in_t: out %al, $0x10\n in_1: nop\n hlt");
LABEL(in_f);
LABEL(in_t);
LABEL(in_1);
T(interrupt, "LBR: an interrupt is recorded with the instruction that it came before")
{
	struct guest *g = guest_with(M_LONG, intr);
	struct guest_cpu *c = cpu0(g);

	WITH_REGS(c, r)
		r.rflags |= IF;
	cpu_set_msr(c, DEBUGCTL, LBR);
	RUN_TO(g, ST_OUT);
	cpu_interrupt(c, 0x50);
	RUN_EXC(g, 0x50, -1);
	CHECK_LBR(c, AT(intr, in_1), STUB(0x50));
	CHECK_INT(c, AT(intr, in_f), AT(intr, in_t));
}

EVENT(4, ".byte 0xf1");
CODE64(step, "st_f: jmp st_t\n nop\n st_t: pushf\n orl $0x100, (%rsp)\n popf\n nop\n nop");
LABEL(st_f);
LABEL(st_t);
T(debug, "LBR: a #DB clears DEBUGCTL.LBR and BTF and leaves the records")
{
	struct guest *g = guest_with(M_LONG, step);
	struct guest_cpu *c = cpu0(g);

	cpu_set_msr(c, DEBUGCTL, LBR);
	RUN_EXC(g, 1, -1);
	CHECK_EQ(cpu_msr(c, DEBUGCTL), 0);
	CHECK_LBR(c, AT(step, st_f), AT(step, st_t));
	CHECK_INT(c, 0, 0);
	guest_free(g);
	g = guest_with(M_LONG, event4);
	c = cpu0(g);
	cpu_set_msr(c, DEBUGCTL, LBR | BTF);
	RUN_EXC(g, 1, -1);
	CHECK_EQ(cpu_msr(c, DEBUGCTL), 0);
	CHECK_LBR(c, AT(event4, ev_f4), AT(event4, ev_t4));
	CHECK_INT(c, 0, 0);
}

CODE64(btf, "pushf\n orl $0x100, (%rsp)\n popf\n nop\n or $1, %eax\n jz bt_1\n jmp bt_1\n nop\n"
	"bt_1: nop\n nop");
LABEL(bt_1);
T(btf, "BTF: with TF the #DB comes behind a branch that is taken, not behind each instruction")
{
	struct guest *g = guest_with(M_LONG, btf);
	struct guest_cpu *c = cpu0(g);
	struct stop st;

	cpu_set_msr(c, DEBUGCTL, BTF);
	st = RUN_EXC(g, 1, -1);
	CHECK_EQ(st.rip, AT(btf, bt_1));
	CHECK_EQ(cpu_msr(c, DEBUGCTL), 0);
}

CODE64(write, "mov $0x1db, %ecx\n wr_1: wrmsr");
LABEL(wr_1);
T(read_only, "the records are the CPU's: a guest's WRMSR is #GP, user space may set them")
{
	struct guest *g = guest_with(M_LONG, write);
	struct guest_cpu *c = cpu0(g);
	struct stop st = RUN_EXC(g, 13, 0);

	CHECK_EQ(st.rip, AT(write, wr_1));
	for (u32 m = FROM; m <= INT_TO; m++) {
		cpu_set_msr(c, m, 0x1234567800ull + m);
		CHECK_EQ(cpu_msr(c, m), 0x1234567800ull + m);
	}
}
