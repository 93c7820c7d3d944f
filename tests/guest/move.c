/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/move.c - the same code at one address after the other, as address randomisation has
 * it: translations that go along (engine/move.c) know everything by its new address.
 */
/* Run: build/standin run -- build/tests/guest/guest_move [NAME...] */
#include <unistd.h>

#include "tests/guest/harness/harness.h"

#define TEXT (G_FREE + 0x0ull)		/* two pages of code */
#define DATA (G_FREE + 0x2000ull)	/* one of data, behind them */
#define TEXT_PAGES 2
#define TABLES (G_FREE + 0x100000ull)
#define TABLE_END (G_FREE + 0x200000ull)

/* The engine takes a page for left when nobody has run it for 8M cycles. */
#define LEFT_US 8000

struct space {
	struct guest *g;
	u64 next;	/* free page for a table */
};

static u64 *entry(struct space *s, u64 table, u32 level, u64 lin)
{
	return (u64 *)(void *)(s->g->ram + table + 8 * (lin >> (12 + 9 * level) & 511));
}

/* User, writable; gpa 0: not present. */
static void map(struct space *s, u64 lin, u64 gpa)
{
	u64 table = G_PT;

	for (u32 level = 3; level; level--) {
		u64 *e = entry(s, table, level, lin);

		if (!(*e & PTE_P)) {
			if (s->next == TABLE_END)
				test_die("no room for page tables");
			*e = s->next | 7;
			s->next += 0x1000;
		}
		table = *e & PTE_ADDR;
	}
	*entry(s, table, 0, lin) = gpa ? gpa | 7 : 0;
}

static void map_all(struct space *s, u64 lin, bool there)
{
	for (u32 i = 0; i < TEXT_PAGES + 1; i++)
		map(s, lin + i * 0x1000, there ? TEXT + i * 0x1000 : 0);
}

/* Each address by itself, as after an exec: nothing of the last one is left. rflags: besides those
 * that ring 3 has. */
static struct stop run_with(struct space *s, u64 lin, u64 off, u64 rflags)
{
	struct guest_cpu *c = cpu0(s->g);
	struct stop stop;

	map_all(s, lin, true);
	WITH_SREGS(c, r) r.cr3 ^= 8;	/* another value: flushes */
	cpu_ring3(c, lin + off);
	WITH_REGS(c, r)
		r.rflags |= rflags;
	stop = cpu_run(c);
	map_all(s, lin, false);
	return stop;
}

static struct stop run_at(struct space *s, u64 lin, u64 off)
{
	return run_with(s, lin, off, 0);
}

static struct space space_with(const u8 *b, const u8 *e)
{
	struct space s = { .g = guest_new(M_LONG), .next = TABLES };

	guest_write(s.g, TEXT, b, (u32)(e - b));
	return s;
}

/* Where position-independent programs and their libraries are put. */
static const u64 places[] = {
	0x555555554000, 0x7ffff7dc3000, 0x7f0012345000, 0x5600abcde000, 0x7e00fff80000, 0x100000000,
};
#define ROUNDS 4

static void wait_until_left(void) { usleep(LEFT_US); }

#define LOOP(n) "mov $" #n ", %ecx\n 1: "
/* All that depends on where it is: LEA, a load, a store, what CALL pushes, a target behind RIP. */
CODE64(pic, LOOP(300)
	"lea pic_here(%rip), %rsi\n pic_here:\n"
	"mov pic_b + 0x2000(%rip), %rax\n mov %rsi, pic_b + 0x2008(%rip)\n"
	"add %rcx, pic_b + 0x2010(%rip)\n"
	"call 2f\n pic_ret:\n"
	"lea 3f(%rip), %rbx\n call *%rbx\n"
	"mov %rbx, pic_b + 0x2018(%rip)\n call *pic_b + 0x2018(%rip)\n"
	"dec %ecx\n jnz 1b" DONE3
	"2: mov (%rsp), %rdi\n ret\n"
	"3: inc %rdx\n ret");
LABEL(pic_here);
LABEL(pic_ret);

static void expect_pic_with(struct space *s, u64 lin, u64 rflags)
{
	u64 sum = *g64(s->g, DATA + 0x10);
	struct stop stop;

	WITH_REGS(cpu0(s->g), r)
		r.rdx = 0;
	*g64(s->g, DATA) = lin ^ 0x1234;
	stop = run_with(s, lin, 0, rflags);
	CHECK_EXC(stop, VEC_DONE3, -1);
	CHECK_EQ(stop.r.rsi, lin + (u64)(pic_here - pic_b));
	CHECK_EQ(stop.r.rdi, lin + (u64)(pic_ret - pic_b));
	CHECK_EQ(stop.r.rax, lin ^ 0x1234);
	CHECK_EQ(stop.r.rdx, 600);
	CHECK_EQ(*g64(s->g, DATA + 8), lin + (u64)(pic_here - pic_b));
	CHECK_EQ(*g64(s->g, DATA + 0x10), sum + 300 * 301 / 2);
}

static void expect_pic(struct space *s, u64 lin)
{
	expect_pic_with(s, lin, 0);
}

T(pic, "operands, return addresses and targets relative to RIP")
{
	struct space s = space_with(pic_b, pic_e);

	for (u32 k = 0; k < ROUNDS * ARRAY_SIZE(places); k++) {
		expect_pic(&s, places[k % ARRAY_SIZE(places)] + (k << 12));
		wait_until_left();
	}
}

static void moves(u64 rflags)
{
	struct space s = space_with(pic_b, pic_e);
	struct guest_cpu *c = cpu0(s.g);
	u64 units = 0;

	if (cpu_counter(c, "pages_moved") == ~0ull)
		test_skip("no such counter: not standin");
	for (u32 k = 0; k < 20; k++) {
		expect_pic_with(&s, places[0] + ((u64)k << 16), rflags);
		wait_until_left();
		if (k == 4)
			units = cpu_counter(c, "units_made");
	}
	CHECK(cpu_counter(c, "pages_moved") >= 10);
	CHECK_EQ(cpu_counter(c, "units_made"), units);
}

T(moves, "the translations go along: nothing is made anew, and far less than one unit each")
{
	moves(0);
}

/* So does code begin whose page a handler has just mapped. */
T(moves_rf, "they do where the first instruction runs alone: RF is set")
{
	moves(0x10000);
}

/* A short function in another page becomes part of its caller, which then cannot go along. */
CODE64(leaf, LOOP(300) "call leaf_b + 0x1100\n call leaf_b + 0x1180\n dec %ecx\n jnz 1b" DONE3
	".org leaf_b + 0x1100\n mov (%rsp), %rdi\n ret\n"
	".org leaf_b + 0x1180\n inc %rdx\n ret\n .org leaf_b + 0x1200\n");

T(moves_leaf, "... also if it calls short functions of another page, once its page has moved")
{
	struct space s = space_with(leaf_b, leaf_e);
	struct guest_cpu *c = cpu0(s.g);
	u64 units = 0;

	if (cpu_counter(c, "pages_moved") == ~0ull)
		test_skip("no such counter: not standin");
	for (u32 k = 0; k < 24; k++) {
		WITH_REGS(c, r)
			r.rdx = 0;
		CHECK_EQ(run_at(&s, places[0] + ((u64)k << 16), 0).r.rdx, 300);
		wait_until_left();
		if (k == 9)
			units = cpu_counter(c, "units_made");
	}
	CHECK(cpu_counter(c, "pages_moved") >= 20);
	CHECK_EQ(cpu_counter(c, "units_made"), units);
}

T(side_by_side, "at two addresses at once, in turn")
{
	struct space s = space_with(pic_b, pic_e);

	for (u32 k = 0; k < 12; k++) {
		expect_pic(&s, places[0]);
		expect_pic(&s, places[1]);
		expect_pic(&s, places[2 + k % 3] + ((u64)k << 13));
		if (k % 4 == 3)
			wait_until_left();
	}
}

/* What it counts in RDX, to its end. */
static struct stop count_at(struct space *s, u64 lin)
{
	struct stop stop;

	WITH_REGS(cpu0(s->g), r)
		r.rdx = 0;
	stop = run_at(s, lin, 0);
	CHECK_EXC(stop, VEC_DONE3, -1);
	return stop;
}

/* Jumps between the two pages both ways, an instruction that lies in both, and a short tail that is
 * followed (engine/follow.c). */
CODE64(two, LOOP(300) "call two_b + 0x1100\n two_back:\n jmp two_b + 0xffb\n"
	".org two_b + 0xff0\n 2: dec %ecx\n jnz 1b" DONE3
	".org two_b + 0xffb\n movabs $0x1122334455667788, %rax\n"
	"add two_b + 0x2000(%rip), %rdx\n jmp 2b\n"
	".org two_b + 0x1100\n jmp two_b + 0x80\n"
	".org two_b + 0x1200\n");
LABEL(two_back);

T(two, "jumps between pages, and an instruction in both")
{
	struct space s = space_with(two_b, two_e);
	/* At +80: the way back is all that it does. */
	static const u8 ret[] = { 0x48, 0x8b, 0x3c, 0x24, 0xc3 };	/* mov (%rsp), %rdi; ret */

	guest_write(s.g, TEXT + 0x80, ret, sizeof(ret));
	*g64(s.g, DATA) = 7;
	for (u32 k = 0; k < ROUNDS * ARRAY_SIZE(places); k++) {
		u64 lin = places[k % ARRAY_SIZE(places)] + (k << 12);
		struct stop stop = count_at(&s, lin);

		CHECK_EQ(stop.r.rax, 0x1122334455667788);
		CHECK_EQ(stop.r.rdx, 2100);
		CHECK_EQ(stop.r.rdi, lin + (u64)(two_back - two_b));
		wait_until_left();
	}
}

/* Loops in both pages: too long to be followed, so they are linked. */
CODE64(far_loop, LOOP(300) "call far_loop_b + 0x1100\n mov %rax, %rdi\n dec %ecx\n jnz 1b" DONE3
	".org far_loop_b + 0x200\n 3: add $2, %rdx\n 4: dec %eax\n jnz 4b\n"
	" jmp far_loop_b + 0x1180\n"
	".org far_loop_b + 0x1100\n mov $2, %eax\n 2: add $1, %rdx\n dec %eax\n jnz 2b\n"
	" mov $3, %eax\n"
	"jmp 3b\n"
	".org far_loop_b + 0x1180\n mov $1, %eax\n 5: dec %eax\n jnz 5b\n lea 5b(%rip), %rax\n"
	" ret\n"
	".org far_loop_b + 0x1200\n");

T(linked, "loops in two pages that jump to each other")
{
	struct space s = space_with(far_loop_b, far_loop_e);

	for (u32 k = 0; k < ROUNDS * ARRAY_SIZE(places); k++) {
		u64 lin = places[k % ARRAY_SIZE(places)] + (k << 12);
		struct stop stop = count_at(&s, lin);

		CHECK_EQ(stop.r.rdx, 1200);
		CHECK_EQ(stop.r.rdi, lin + 0x1185);
		wait_until_left();
	}
}

T(at_once, "mapped at all addresses all the time, with nothing flushed")
{
	struct space s = space_with(pic_b, pic_e);

	for (u32 k = 0; k < ARRAY_SIZE(places); k++)
		map_all(&s, places[k], true);
	for (u32 k = 0; k < ROUNDS * ARRAY_SIZE(places); k++) {
		u64 lin = places[k % ARRAY_SIZE(places)];
		struct stop stop;

		WITH_REGS(cpu0(s.g), r)
			r.rdx = 0;
		cpu_ring3(cpu0(s.g), lin);
		stop = RUN_EXC(s.g, VEC_DONE3, -1);
		CHECK_EQ(stop.r.rsi, lin + (u64)(pic_here - pic_b));
		CHECK_EQ(stop.r.rdi, lin + (u64)(pic_ret - pic_b));
		CHECK_EQ(stop.r.rdx, 600);
		wait_until_left();
	}
}

T(pages_apart, "its second page is another one at the next address")
{
	struct space s = space_with(two_b, two_e);
	static const u8 ret[] = { 0x48, 0x8b, 0x3c, 0x24, 0xc3 };
	static const u8 other[] = { 0xff, 0xc6, 0xe9, 0x79, 0xef, 0xff,
				    0xff };	/* inc %esi; jmp +80 */
	const u64 copy = G_FREE + 0x8000;

	guest_write(s.g, TEXT + 0x80, ret, sizeof(ret));
	guest_write(s.g, copy, two_b + 0x1000, 0x200);
	guest_write(s.g, copy + 0x100, other, sizeof(other));
	*g64(s.g, DATA) = 7;
	for (u32 k = 0; k < 16; k++) {
		u64 lin = places[0] + ((u64)k << 16);
		struct guest_cpu *c = cpu0(s.g);
		struct stop stop;

		map_all(&s, lin, true);
		if (k & 1)
			map(&s, lin + 0x1000, copy);
		WITH_SREGS(c, r)
			r.cr3 ^= 8;
		WITH_REGS(c, r)
			r.rdx = r.rsi = 0;
		cpu_ring3(c, lin);
		stop = cpu_run(c);
		CHECK_EXC(stop, VEC_DONE3, -1);
		CHECK_EQ(stop.r.rdx, 2100);
		CHECK_EQ(stop.r.rsi, k & 1 ? 300 : 0);
		map_all(&s, lin, false);
		wait_until_left();
	}
}

/* What is told of an exception: by C, by the host's signal, by a missing page. */
CODE64(faults, "fault_ud: ud2\n"
	".org faults_b + 0x40\n xor %ecx, %ecx\n mov $1, %eax\n cltd\n fault_de: div %ecx\n"
	".org faults_b + 0x80\n nop\n fault_pf: mov faults_b + 0x3010(%rip), %eax\n"
	".org faults_b + 0xc0\n nop\n fault_fetch: jmp faults_b + 0x3020\n");
LABEL(fault_ud);
LABEL(fault_de);
LABEL(fault_pf);

T(faults, "RIP and CR2 of exceptions")
{
	struct space s = space_with(faults_b, faults_e);

	for (u32 k = 0; k < ROUNDS * ARRAY_SIZE(places); k++) {
		u64 lin = places[k % ARRAY_SIZE(places)] + (k << 12);
		struct stop stop = run_at(&s, lin, 0);

		CHECK_EXC(stop, 6, -1);
		CHECK_EQ(stop.rip, lin);
		stop = run_at(&s, lin, 0x40);
		CHECK_EXC(stop, 0, -1);
		CHECK_EQ(stop.rip, lin + (u64)(fault_de - faults_b));
		stop = run_at(&s, lin, 0x80);
		CHECK_EXC(stop, 14, 4);
		CHECK_EQ(stop.rip, lin + (u64)(fault_pf - faults_b));
		CHECK_EQ(stop.cr2, lin + 0x3010);
		stop = run_at(&s, lin, 0xc0);
		CHECK_EXC(stop, 14, 4);
		CHECK_EQ(stop.rip, lin + 0x3020);
		CHECK_EQ(stop.cr2, lin + 0x3020);
		wait_until_left();
	}
}

T(changed, "the code changes while it is on its way")
{
	struct space s = space_with(pic_b, pic_e);

	for (u32 k = 0; k < 12; k++) {
		u8 add = (u8)(k + 1);
		/* add $k + 1, %rdx in the place of inc %rdx and ret */
		const u8 code[] = { 0x48, 0x83, 0xc2, add, 0xc3 };
		u64 lin = places[k % ARRAY_SIZE(places)] + (k << 12);
		struct stop stop;

		guest_write(s.g, TEXT + (u64)(pic_e - pic_b) - 4, code, sizeof(code));
		WITH_REGS(cpu0(s.g), r)
			r.rdx = 0;
		stop = run_at(&s, lin, 0);
		CHECK_EXC(stop, VEC_DONE3, -1);
		CHECK_EQ(stop.r.rdx, 600u * add);
		wait_until_left();
	}
}

/* Two ways in, of which a round takes one: what belongs to the other stays behind for some
 * rounds. */
CODE64(ways, LOOP(200) "call 3f\n dec %ecx\n jnz 1b" DONE3
	"3: test $1, %ecx\n jz 4f\n lea ways_odd(%rip), %rsi\n ways_odd: inc %rdx\n ret\n"
	"4: lea ways_even(%rip), %rdi\n ways_even: inc %rdx\n ret\n"
	".org ways_b + 0x100\n" LOOP(200) "call 4b\n dec %ecx\n jnz 1b" DONE3
	".org ways_b + 0x180\n" LOOP(200) "call 5f\n dec %ecx\n jnz 1b" DONE3
	"5: lea ways_own(%rip), %rbx\n ways_own: inc %rdx\n dec %eax\n jnz 5b\n mov $2, %eax\n"
	" jmp 3b\n");
LABEL(ways_odd);
LABEL(ways_even);
LABEL(ways_own);

T(ways, "units that were left behind come after when they are wanted, with all that they lead to")
{
	static const u16 entries[] = { 0, 0x100, 0x180, 0x100, 0x100, 0x180, 0 };
	struct space s = space_with(ways_b, ways_e);
	struct guest_cpu *c = cpu0(s.g);
	u64 before = 0;

	for (u32 k = 0; k < 40; k++) {
		u64 lin = places[k % ARRAY_SIZE(places)] + ((u64)k << 12);
		u16 off = entries[k % ARRAY_SIZE(entries)];
		struct stop stop;

		WITH_REGS(c, r)
			r.rax = r.rdx = r.rsi = r.rdi = r.rbx = 0;
		WITH_REGS(c, r)
			r.rax = off == 0x180 ? 2 : 0;
		stop = run_at(&s, lin, off);
		CHECK_EXC(stop, VEC_DONE3, -1);
		CHECK_EQ(stop.r.rsi, off == 0x100 ? 0 : lin + (u64)(ways_odd - ways_b));
		CHECK_EQ(stop.r.rdi, lin + (u64)(ways_even - ways_b));
		CHECK_EQ(stop.r.rbx, off == 0x180 ? lin + (u64)(ways_own - ways_b) : 0);
		CHECK_EQ(stop.r.rdx, off == 0x180 ? 600 : 200);
		if (k == 20)
			before = cpu_counter(c, "units_made");
		wait_until_left();
	}
	if (before != ~0ull)
		CHECK_EQ(cpu_counter(c, "units_made"), before);
}

/* What stands at another address of the same execute-TLB slot, when code there is wanted that a
 * page has left behind. */
CODE64(same_slot, "call *%rbx\n dec %ecx\n jnz same_slot_b" DONE3
	".org same_slot_b + 0x100\n inc %rdx\n ret\n"
	".org same_slot_b + 0x180\n add $2, %rdx\n ret\n");
#define SLOT_TWIN 0x1001000ull

/* The page is at home first, then at `between` other places, where it calls its other function. */
static void expect_other(u32 between)
{
	struct space s = space_with(same_slot_b, same_slot_e);
	static const u8 other[] = { 0x48, 0x83, 0xc2, 100, 0xc3 };	/* add $100, %rdx; ret */
	const u64 copy = G_FREE + 0x8000, home = places[0];
	struct guest_cpu *c = cpu0(s.g);

	guest_write(s.g, copy + 0x100, other, sizeof(other));
	for (u32 k = 0; k < 4 + between; k++) {
		bool last = k == 3 + between;
		u64 lin = last ? home ^ SLOT_TWIN : places[k];
		struct stop stop;

		map_all(&s, lin, true);
		if (last)
			map(&s, home, copy);
		WITH_SREGS(c, r)
			r.cr3 ^= 8;
		WITH_REGS(c, r) {
			r.rcx = 300;
			r.rdx = 0;
			r.rbx = last ? home + 0x100 : lin + (k < 3 ? 0x100 : 0x180);
		}
		cpu_ring3(c, lin);
		stop = cpu_run(c);
		CHECK_EXC(stop, VEC_DONE3, -1);
		CHECK_EQ(stop.r.rdx, last ? 30000 : k < 3 ? 300 : 600);
		map_all(&s, lin, false);
		wait_until_left();
	}
}

T(same_slot, "units that were left behind are not run in the name of what is there now")
{
	expect_other(0);
	expect_other(3);
}

/* A driver that stays where it is calls the same page at one address after the other, and waits
 * between two until that one counts as left. */
CODE64(turn, "lea turn_b + 0x1000(%rip), %rsi\n"
	"1: mov (%rsi,%rdi,8), %rbx\n call *%rbx\n cmp %rbx, %rax\n jne 3f\n"
	"rdtsc\n shl $32, %rdx\n or %rdx, %rax\n mov %rax, %r9\n"
	"2: rdtsc\n shl $32, %rdx\n or %rdx, %rax\n sub %r9, %rax\n cmp $9000000, %rax\n jb 2b\n"
	"inc %edi\n cmp %ecx, %edi\n jb 1b\n 3:" DONE3);
CODE64(turn_text, "lea turn_text_b(%rip), %rax\n ret\n");

T(in_turn, "mapped at all addresses, which take turns while the guest runs on")
{
	struct space s = space_with(turn_text_b, turn_text_e);
	const u64 driver = G_FREE + 0x8000, at = 0x40000000;
	struct guest_cpu *c = cpu0(s.g);
	u32 turns = 3 * ARRAY_SIZE(places);
	struct stop stop;

	guest_write(s.g, driver, turn_b, (u32)(turn_e - turn_b));
	for (u32 k = 0; k < turns; k++)
		*g64(s.g, driver + 0x1000 + 8 * k) = places[k % ARRAY_SIZE(places)];
	for (u32 k = 0; k < ARRAY_SIZE(places); k++)
		map_all(&s, places[k], true);
	map(&s, at, driver);
	map(&s, at + 0x1000, driver + 0x1000);
	WITH_REGS(c, r) {
		r.rcx = turns;
		r.rdi = 0;
	}
	cpu_ring3(c, at);
	stop = cpu_run(c);
	CHECK_EXC(stop, VEC_DONE3, -1);
	CHECK_EQ(stop.r.rax >= 9000000, 1);
	CHECK_EQ(stop.r.rdi, turns);
}

/* One page twice in a row, and an instruction that begins at its end and ends at its start. */
CODE64(twice, ".word 0x1234\n lea twice_here(%rip), %rsi\n twice_here: inc %rdx\n dec %ecx\n"
	"jnz twice_b - 3\n" DONE3);
LABEL(twice_here);

T(twice, "its second page is itself: no page moves that is being looked at")
{
	struct space s = space_with(twice_b, twice_e);
	struct guest_cpu *c = cpu0(s.g);

	guest_write(s.g, TEXT + 0xffd, "\xb8\x78\x56", 3);	/* mov $0x12345678, %eax */
	for (u32 k = 0; k < 20; k++) {
		u64 lin = places[k % ARRAY_SIZE(places)] + ((u64)k << 13);
		bool alone = k % 2 == 0;	/* one place first, so that one page has units */
		struct stop stop;

		map(&s, lin, TEXT);
		map(&s, lin + 0x1000, alone ? 0 : TEXT);
		WITH_SREGS(c, r)
			r.cr3 ^= 8;
		WITH_REGS(c, r) {
			r.rax = r.rdx = 0;
			r.rcx = alone ? 1 : 300;
		}
		cpu_ring3(c, lin + (alone ? 2 : 0xffd));
		stop = cpu_run(c);
		CHECK_EXC(stop, VEC_DONE3, -1);
		CHECK_EQ(stop.r.rdx, alone ? 1 : 300);
		CHECK_EQ(stop.r.rax, alone ? 0 : 0x12345678);
		CHECK_EQ(stop.r.rsi, lin + (alone ? 0 : 0x1000) + (u64)(twice_here - twice_b));
		map(&s, lin, 0);
		map(&s, lin + 0x1000, 0);
		wait_until_left();
	}
	/* They move from round to round, not while one is run. */
	if (cpu_counter(c, "pages_moved") != ~0ull)
		CHECK(cpu_counter(c, "pages_moved") < 100);
}
