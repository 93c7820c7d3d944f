/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/fault_report.c - what standin's log says when a guest ends in a shutdown or an
 * internal error (docs/troubleshooting.md). STANDIN_LOG=info and STANDIN_LOG_FILE are in the
 * environment.
 *
 *	meson test -C build fault_report
 */
/* Run: meson test -C build fault_report */
#include <stdlib.h>

#include "tests/guest/harness/harness.h"

/* What was logged since the last call, but for the prefix of each line; "" = nothing. */
static const char *logged(void)
{
	static char raw[16384], text[16384];
	static long at = -1;
	const char *path = getenv("STANDIN_LOG_FILE");
	FILE *f = path ? fopen(path, "re") : NULL;
	size_t n;

	if (!f)
		test_skip("no log of standin");
	fseek(f, 0, SEEK_END);
	if (at < 0)
		at = ftell(f);
	fseek(f, at, SEEK_SET);
	n = fread(raw, 1, sizeof(raw) - 1, f);
	raw[n] = 0;
	at += (long)n;
	fclose(f);
	text[0] = 0;
	for (char *line = strtok(raw, "\n"); line; line = strtok(NULL, "\n")) {
		const char *said = strstr(line, " info: vcpu0: ");

		if (said)
			strcat(strcat(text, said + 14), "\n");
	}
	return text;
}

#define SAYS(text, wanted) CHECK(strstr(text, wanted) != NULL)

CODE64(no_idt, "lidt 0x6000\n nop\n at_ud: ud2\n .byte 0x11, 0x22\n");
LABEL(at_ud);
T(no_gates, "an IDT without gates: each exception, each gate, where it began")
{
	struct guest *g = guest_with(M_LONG, no_idt);
	const char *text;
	char wanted[128];

	logged();
	memset(g->ram + 0x6000, 0, 16);
	RUN_TO(g, ST_SHUTDOWN);
	text = logged();
	snprintf(wanted, sizeof(wanted), "shutdown at rip %#llx, cpl 0, code 0f 0b 11 22",
		 (unsigned long long)AT(no_idt, at_ud));
	SAYS(text, wanted);
	SAYS(text, "1. #UD (invalid opcode): cannot be delivered\n"
		   "   its gate at IDT + 0x60 lies beyond the limit 0\n"
		   "2. #GP (general protection), error code 0x32: cannot be delivered\n"
		   "   its gate at IDT + 0xd0 lies beyond the limit 0\n"
		   "3. #DF (double fault), error code 0: cannot be delivered\n"
		   "   its gate at IDT + 0x80 lies beyond the limit 0\n"
		   "4. #GP (general protection), error code 0x42: shutdown\n");
	SAYS(text, "cr0 0x");
	SAYS(text, "idt 0/0 gdt 0x1000/");
}

T(idt_gone, "an IDT on a page that is not mapped: the address of the page fault")
{
	struct guest *g = guest_with_code(M_LONG, "\xcd\x81", 2);
	const char *text;

	logged();
	*guest_pte(g, G_IDT) &= ~(u64)PTE_P;
	RUN_TO(g, ST_SHUTDOWN);
	text = logged();
	SAYS(text, "#PF (page fault), error code 0, address 0x2810: cannot be delivered\n"
		   "   its gate at 0x20e0: not mapped\n");
	SAYS(text, "#DF (double fault), error code 0: cannot be delivered\n");
	SAYS(text, "#PF (page fault), error code 0, address 0x2080: shutdown\n");
}

T(absent_gate, "a gate that is there and of no use is shown")
{
	struct guest *g = guest_with_code(M_PM32, "\x0f\x0b", 2);

	logged();
	/* Neither #UD nor what comes of it has a gate: present bits gone. */
	for (u32 vec = 0; vec < 32; vec++)
		g->ram[G_IDT + vec * 8 + 5] &= 0x7f;
	RUN_TO(g, ST_SHUTDOWN);
	SAYS(logged(), "1. #UD (invalid opcode): cannot be delivered\n   its gate at 0x2030: ");
}

CODE64(busy, "mov $3, %ecx\n at_out: out %al, $0x40\n loop at_out\n lidt 0x6000\n"
	     " at_int: int $0x81\n");
LABEL(at_out);
T(before, "what happened before, the same again counted: exits to the VMM, delivered exceptions")
{
	struct guest *g = guest_with(M_LONG, busy);
	const char *text;
	char wanted[128];

	logged();
	memset(g->ram + 0x6000, 0, 16);
	for (int i = 0; i < 3; i++) {
		RUN_TO(g, ST_OUT);
	}
	RUN_TO(g, ST_SHUTDOWN);
	text = logged();
	snprintf(wanted, sizeof(wanted), "before: exit KVM_EXIT_IO at rip %#llx, 3 times\ncr0 ",
		 (unsigned long long)AT(busy, at_out));
	SAYS(text, wanted);
}

T(before_exception, "an exception that was delivered before")
{
	struct guest *g = guest_with_code(M_LONG, "\x0f\x0b", 2);
	char wanted[64];
	const char *text;

	logged();
	RUN_EXC(g, 6, -1);
	memset(g->ram + G_IDT, 0, 32 * 16);
	WITH_REGS(cpu0(g), r)
		r.rip = G_CODE;
	RUN_TO(g, ST_SHUTDOWN);
	text = logged();
	snprintf(wanted, sizeof(wanted), "before: #UD (invalid opcode) at rip %#x\n", G_CODE);
	SAYS(text, wanted);
}

T(silent, "an exception that is delivered is not reported")
{
	logged();
	RUN_EXC(guest_with_code(M_LONG, "\x0f\x0b", 2), 6, -1);
	CHECK(!*logged());
}
