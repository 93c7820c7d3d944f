/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/sti.c - the interrupt shadow of STI (APM2 8.1.4): an interrupt that waits is taken
 * behind the next instruction, whatever that one needs, and never in front of it.
 */
/* Run: build/standin run -- build/tests/guest/guest_sti [NAME...] */
#include "tests/guest/harness/harness.h"

#define VEC 0x55
/* RDI says where the interrupt has to be taken. */
#define WAITING(insn, after) \
	"lea " after "(%rip), %rdi\n" G_APIC_ON "cli\n movl $0x44055, 0x300(%rbp)\n" \
	" mov $0x1234, %eax\n sti\n " insn "\n 9: nop\n nop\n mov $1, %ebx\n 8: nop" DONE
CODE64(nop, WAITING("nop", "9f"));
CODE64(load, WAITING("mov (%rsi), %rax", "9f"));
CODE64(store, WAITING("mov %rax, (%rsi)", "9f"));
CODE64(pushes, WAITING("push %rax", "9f"));
CODE64(flags, WAITING("pushfq", "9f"));
CODE64(adds, WAITING("lock addl $1, (%rsi)", "9f"));
CODE64(vector, WAITING("movups (%rsi), %xmm0", "9f"));
CODE64(jump, WAITING("jmp 8f", "8f"));

CODE64(calls, WAITING("call 8f", "8f"));
CODE64(halts, WAITING("hlt", "9f"));
CODE64(again, WAITING("sti", "9f"));
CODE64(cpuid, WAITING("cpuid", "9f"));
CODE64(moves, WAITING("mov %rax, %rdx", "9f"));

static const struct variant {
	const char *name;
	const u8 *b, *e;
} variants[] = {
	{ "nop", nop_b, nop_e },	  { "load", load_b, load_e },
	{ "store", store_b, store_e },	  { "push", pushes_b, pushes_e },
	{ "pushf", flags_b, flags_e },	  { "lock add", adds_b, adds_e },
	{ "vector", vector_b, vector_e }, { "jmp", jump_b, jump_e },
	{ "call", calls_b, calls_e },	  { "hlt", halts_b, halts_e },
	{ "sti", again_b, again_e },	  { "cpuid", cpuid_b, cpuid_e },
	{ "mov", moves_b, moves_e },
};

static struct guest *prepare(const u8 *b, const u8 *e, u64 rsi)
{
	struct guest *g = guest_apic_code(b, (u32)(e - b));

	WITH_REGS(cpu0(g), r)
		r.rsi = rsi;
	return g;
}

static void taken(struct guest *g, const char *name, const char *where)
{
	struct stop s = run(g);

	if (s.kind != ST_EXC || s.vec != VEC || s.rip != cpu_regs(cpu0(g)).rdi)
		test_fail(__FILE__, __LINE__, "%s, %s: %s at %#llx, wanted at %#llx", name, where,
			  stop_text(&s), (unsigned long long)s.rip,
			  (unsigned long long)cpu_regs(cpu0(g)).rdi);
}

T(shadow, "an interrupt is taken behind the instruction that follows STI")
{
	/* The first page touched here, a page that code has been fetched from, two pages at
	 * once. */
	static const struct { u64 at; const char *name; } places[] = {
		{ G_FREE + 0x5000, "fresh page" }, { G_CODE + 0x800, "page with code" },
		{ G_FREE + 0x6ffc, "two pages" },
	};

	for (u32 i = 0; i < ARRAY_SIZE(variants); i++)
		for (u32 k = 0; k < ARRAY_SIZE(places); k++) {
			const struct variant *v = &variants[i];
			struct guest *g = prepare(v->b, v->e, places[k].at);

			taken(g, v->name, places[k].name);
			guest_free(g);
		}
}

T(mmio, "the instruction behind STI may leave for user space")
{
	struct guest *g = prepare(load_b, load_e, G_MMIO);

	RUN_TO(g, ST_MMIO);
	cpu_answer(cpu0(g), 0x55aa);
	taken(g, "load", "MMIO");
	CHECK_EQ(cpu_regs(cpu0(g)).rax, 0x55aa);
	guest_free(g);

	g = prepare(store_b, store_e, G_MMIO);
	RUN_TO(g, ST_MMIO);
	taken(g, "store", "MMIO");
}

CODE64(fault, WAITING("mov %rax, (%rsi)", "9f"));
T(fault, "a fault behind STI comes before the interrupt")
{
	struct guest *g = prepare(fault_b, fault_e, 0x8000000000000000);

	RUN_EXC(g, 13, 0);
}

CODE64(closed, G_APIC_ON "cli\n movl $0x44055, 0x300(%rbp)\n mov $1000, %ecx\n"
	"1: sti\n cli\n dec %ecx\n jnz 1b" DONE);
T(closed, "STI and CLI in a row let nothing in")
{
	struct guest *g = prepare(closed_b, closed_e, 0);


	RUN_TO(g, ST_DONE);
}

CODE64(open, G_APIC_ON "lea 9f(%rip), %rdi\n sti\n movl $0x44055, 0x300(%rbp)\n 9: nop\n sti\n"
			" nop" DONE);
T(open, "STI with IF set already holds nothing back")
{
	struct guest *g = prepare(open_b, open_e, 0);

	taken(g, "open", "");
}
