/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/exits.c - what leaves to user space: ports, MMIO, HLT, shutdown, and
 * fetching from where there is no memory (facts of the KVM API, Documentation/virt/kvm/api.rst).
 */
/* Run: build/standin run -- build/tests/guest/guest_exits [NAME...] */
#include "tests/guest/harness/harness.h"

/* -- ports -- */
CODE64(pio_out, "mov $0x11223344, %eax\n out %al, $0x20\n out %ax, $0x21\n out %eax, $0x22\n"
	" mov $0x1234, %edx\n out %eax, %dx" DONE);
T(out, "OUT of each size, immediate and DX")
{
	static const struct { u16 port; u8 size; u64 val; } want[] = {
		{ 0x20, 1, 0x44 }, { 0x21, 2, 0x3344 }, { 0x22, 4, 0x11223344 },
		{ 0x1234, 4, 0x11223344 },
	};
	struct guest *g = guest_with(M_LONG, pio_out);
	struct stop s;

	for (u32 i = 0; i < ARRAY_SIZE(want); i++) {
		s = RUN_TO(g, ST_OUT);
		CHECK_EQ(s.port, want[i].port);
		CHECK_EQ(s.size, want[i].size);
		CHECK_EQ(s.val, want[i].val);
		CHECK_EQ(s.count, 1);
	}
	s = RUN_TO(g, ST_DONE);
}
CODE64(pio_in, "mov $0x1122334455667788, %rax\n in $0x20, %al\n mov %rax, %rbx\n"
	" mov $0x1122334455667788, %rax\n"
	" in $0x21, %ax\n mov %rax, %rcx\n mov $0x1122334455667788, %rax\n mov $0x55aa, %edx\n"
	" in %dx, %eax" DONE);
T(in, "IN merges by size")
{
	struct guest *g = guest_with(M_LONG, pio_in);
	struct stop s = RUN_TO(g, ST_IN);

	CHECK_EQ(s.r.rip, G_CODE + 10);
	cpu_answer(cpu0(g), 0xaabbccdd);
	s = run(g);
	CHECK_EQ(s.size, 2);
	cpu_answer(cpu0(g), 0xaabbccdd);
	s = run(g);
	CHECK_EQ(s.size, 4);
	CHECK_EQ(s.port, 0x55aa);
	cpu_answer(cpu0(g), 0xaabbccdd);
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rbx, 0x11223344556677dd);
	CHECK_EQ(s.r.rcx, 0x112233445566ccdd);
	CHECK_EQ(s.r.rax, 0xaabbccdd);
}
T(in_complete, "immediate_exit finishes a pending IN")
{
	struct guest *g = guest_with(M_LONG, pio_in);
	struct stop s = RUN_TO(g, ST_IN);

	cpu_answer(cpu0(g), 0x42);
	cpu_complete(cpu0(g));
	CHECK_EQ(cpu_regs(cpu0(g)).rax, 0x1122334455667742);
	CHECK_EQ(cpu_regs(cpu0(g)).rip, G_CODE + 12);
	s = RUN_TO(g, ST_IN);
	CHECK_EQ(s.size, 2);
}
CODE64(pio_loop, "mov $1000, %ecx\n 1: out %eax, $0x30\n inc %eax\n dec %ecx\n jnz 1b" DONE);
T(out_loop, "a thousand OUTs in order")
{
	struct guest *g = guest_with(M_LONG, pio_loop);
	struct stop s;

	for (u32 i = 0; i < 1000; i++) {
		s = run(g);
		if (s.kind != ST_OUT || s.val != i) {
			CHECK_STOP(s, ST_OUT);
			CHECK_EQ(s.val, i);
			return;
		}
	}
	s = RUN_TO(g, ST_DONE);
}
CODE64(iobm, "in $0x40, %al\n iobm_at: in $0x48, %al" DONE3);
LABEL(iobm_at);
T(iobm, "ring 3 ports through the I/O permission bitmap")
{
	struct guest *g = guest_with(M_LONG, iobm);
	struct stop s;

	cpu_ring3(cpu0(g), G_CODE);
	WITH_SREGS(cpu0(g), sr)
		sr.tr.limit = 0x68 + 0x20;
	memset(g->ram + G_TSS + 0x68, 0, 0x21);
	g->ram[G_TSS + 0x68 + 0x48 / 8] = 1;
	s = RUN_TO(g, ST_IN);
	s = RUN_EXC(g, 13, 0);
	CHECK_EQ(s.rip, AT(iobm, iobm_at));
}

/* -- MMIO -- */
CODE64(mmio_w, "mov %al, (%rdi)\n mov %ax, 2(%rdi)\n mov %eax, 4(%rdi)\n mov %rax, 8(%rdi)\n"
	       " movb $0x5a, 16(%rdi)" DONE);
T(mmio_write, "MMIO writes of each size, RIP is after the instruction")
{
	static const struct { u64 off; u8 size; u64 val; } want[] = {
		{ 0, 1, 0x88 }, { 2, 2, 0x7788 }, { 4, 4, 0x55667788 },
		{ 8, 8, 0x1122334455667788 },
		{ 16, 1, 0x5a },
	};
	struct guest *g = guest_with(M_LONG, mmio_w);
	struct stop s;

	WITH_REGS(cpu0(g), r) {
		r.rdi = G_MMIO + 0x100;
		r.rax = 0x1122334455667788;
	}
	for (u32 i = 0; i < ARRAY_SIZE(want); i++) {
		s = RUN_TO(g, ST_MMIO);
		CHECK_EQ(s.write, 1);
		CHECK_EQ(s.gpa, G_MMIO + 0x100 + want[i].off);
		CHECK_EQ(s.size, want[i].size);
		CHECK_EQ(s.val & (~0ull >> (64 - 8 * want[i].size)), want[i].val);
		if (i == 0)
			CHECK_EQ(s.r.rip, G_CODE + 2);
	}
	s = RUN_TO(g, ST_DONE);
}
CODE64(mmio_r, "mov $-1, %rax\n mov (%rdi), %al\n mov $-1, %rbx\n mov 2(%rdi), %bx\n"
	" mov $-1, %rcx\n mov 4(%rdi), %ecx\n"
	" mov 8(%rdi), %rdx\n movzbl 16(%rdi), %esi\n movsbq 16(%rdi), %r8" DONE);
T(mmio_read, "MMIO reads of each size, with extension")
{
	struct guest *g = guest_with(M_LONG, mmio_r);
	struct stop s;

	WITH_REGS(cpu0(g), r)
		r.rdi = G_MMIO;
	for (;;) {
		s = run(g);
		if (s.kind != ST_MMIO)
			break;
		CHECK_EQ(s.write, 0);
		cpu_answer(cpu0(g), s.gpa == G_MMIO + 16 ? 0x9a : 0x8899aabbccddeeff);
	}
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rax, 0xffffffffffffffff);
	CHECK_EQ(s.r.rbx, 0xffffffffffffeeff);
	CHECK_EQ(s.r.rcx, 0xccddeeff);
	CHECK_EQ(s.r.rdx, 0x8899aabbccddeeff);
	CHECK_EQ(s.r.rsi, 0x9a);
	CHECK_EQ(s.r.r8, 0xffffffffffffff9a);
}
CODE64(mmio_rmw, "addl $5, (%rdi)\n xchg %eax, (%rdi)\n lock incl (%rdi)\n xor %ebx, %ebx\n"
	" cmp $7, %ebx\n notl (%rdi)\n setb %bl\n"
	" add (%rdi), %ecx" DONE);
T(mmio_rmw, "read-modify-write on MMIO reads once and writes once")
{
	struct guest *g = guest_with(M_LONG, mmio_rmw);
	u32 dev = 10, reads = 0, writes = 0;
	struct stop s;

	WITH_REGS(cpu0(g), r) {
		r.rdi = G_MMIO;
		r.rax = 0x100;
		r.rcx = 1;
	}
	for (;;) {
		s = run(g);
		if (s.kind != ST_MMIO)
			break;
		CHECK_EQ(s.size, 4);
		if (s.write) {
			dev = (u32)s.val;
			writes++;
		} else {
			cpu_answer(cpu0(g), dev);
			reads++;
		}
	}
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(reads, 5);
	CHECK_EQ(writes, 4);
	CHECK_EQ(s.r.rax, 15);
	CHECK_EQ(dev, ~0x101u);
	CHECK_EQ(s.r.rcx, 1 + ~0x101u);
	CHECK_EQ(s.r.rbx, 1);
}
CODE64(mmio_stack, "mov %rsp, %rbx\n lea 0x20(%rdi), %rsp\n push %rax\n pop %rcx\n pushq (%rdi)\n"
		   " popq 8(%rdi)\n mov %rbx, %rsp" DONE);
T(mmio_stack, "PUSH and POP with a stack or operand in MMIO")
{
	struct guest *g = guest_with(M_LONG, mmio_stack);
	u64 dev[8] = { 0x1111, 0, 0, 0, 0, 0, 0, 0 };
	struct stop s;

	WITH_REGS(cpu0(g), r) {
		r.rdi = G_MMIO;
		r.rax = 0xabcdef;
	}
	for (u32 n = 0; n < 20; n++) {
		s = run(g);
		if (s.kind != ST_MMIO || s.gpa - G_MMIO >= 64)
			break;
		if (s.write)
			dev[(s.gpa - G_MMIO) / 8] = s.val;
		else
			cpu_answer(cpu0(g), dev[(s.gpa - G_MMIO) / 8]);
	}
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rcx, 0xabcdef);
	CHECK_EQ(dev[1], 0x1111);
}
CODE64(mmio_sse, "movdqu (%rdi), %xmm0\n movdqu %xmm0, 0x20(%rdi)\n movd (%rdi), %xmm1\n"
		 " movq %xmm1, 0x40(%rdi)" DONE);
T(mmio_sse, "16-byte SSE accesses come as pieces of 8")
{
	struct guest *g = guest_with(M_LONG, mmio_sse);
	u64 dev[16] = { 0x1111, 0x2222 };
	struct stop s;

	WITH_REGS(cpu0(g), r)
		r.rdi = G_MMIO;
	for (u32 n = 0; n < 20; n++) {
		s = run(g);
		if (s.kind != ST_MMIO || s.gpa - G_MMIO >= sizeof(dev))
			break;
		CHECK(s.size <= 8);
		if (s.write)
			memcpy((u8 *)dev + (s.gpa - G_MMIO), &s.val, s.size);
		else
			cpu_answer(cpu0(g), dev[(s.gpa - G_MMIO) / 8]);
	}
	/* KVM's own emulator knows MOVDQU but not MOVD. */
	if (s.kind == ST_INTERNAL && s.r.rip > G_CODE + 4)
		test_skip("this KVM does not emulate MOVD on MMIO");
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(dev[4], 0x1111);
	CHECK_EQ(dev[5], 0x2222);
	CHECK_EQ(dev[8], 0x1111);
}
CODE64(mmio_str, "rep movsb" DONE);
T(mmio_string, "REP MOVSB from memory to MMIO and back")
{
	struct guest *g = guest_with(M_LONG, mmio_str);
	u8 dev[32] = { 0 };
	struct stop s;

	memcpy(g->ram + G_DATA, "0123456789abcdef", 16);
	WITH_REGS(cpu0(g), r) {
		r.rsi = G_DATA;
		r.rdi = G_MMIO;
		r.rcx = 16;
	}
	for (u32 n = 0; n < 40; n++) {
		s = run(g);
		if (s.kind != ST_MMIO)
			break;
		CHECK_EQ(s.write, 1);
		memcpy(dev + (s.gpa - G_MMIO), &s.val, s.size);
	}
	CHECK_STOP(s, ST_DONE);
	CHECK(!memcmp(dev, "0123456789abcdef", 16));
	guest_free(g);
	g = guest_with(M_LONG, mmio_str);
	WITH_REGS(cpu0(g), r) {
		r.rsi = G_MMIO;
		r.rdi = G_DATA;
		r.rcx = 16;
	}
	for (u32 n = 0; n < 40; n++) {
		u64 v = 0;

		s = run(g);
		if (s.kind != ST_MMIO)
			break;
		memcpy(&v, dev + (s.gpa - G_MMIO), s.size);
		cpu_answer(cpu0(g), v);
	}
	CHECK_STOP(s, ST_DONE);
	CHECK(!memcmp(g->ram + G_DATA, "0123456789abcdef", 16));
}
CODE64(mmio_cross, "mov (%rdi), %rax\n mov %rax, (%rdi)" DONE);
T(mmio_cross, "an access half in memory, half in MMIO")
{
	struct guest *g = guest_with(M_LONG, mmio_cross);
	u32 dev = 0xddccbbaa;
	struct stop s;

	/* The last page of the window leads to MMIO, the one before is memory. */
	*guest_pte(g, 0x3ff000) = G_MMIO | 7;
	*g32(g, 0x3feffc) = 0x11223344;
	WITH_REGS(cpu0(g), r)
		r.rdi = 0x3feffc;
	s = RUN_TO(g, ST_MMIO);
	CHECK_EQ(s.gpa, G_MMIO);
	CHECK_EQ(s.size, 4);
	cpu_answer(cpu0(g), dev);
	s = RUN_TO(g, ST_MMIO);
	CHECK_EQ(s.write, 1);
	CHECK_EQ(s.r.rax, 0xddccbbaa11223344);
	CHECK_EQ(s.size, 4);
	s = RUN_TO(g, ST_DONE);
}
/* The same load first reaches memory, thousands of times, then MMIO. */
CODE64(mmio_warm, "mov $3000, %ecx\n 1: mov (%rdi), %eax\n dec %ecx\n jnz 1b\n mov %rsi, %rdi\n"
	" inc %ecx\n cmp $2, %ebp\n"
	" je 2f\n inc %ebp\n jmp 1b\n 2: mov %eax, %ebx" DONE);
T(mmio_warm, "warm code meets MMIO")
{
	struct guest *g = guest_with(M_LONG, mmio_warm);
	struct stop s;

	WITH_REGS(cpu0(g), r) {
		r.rdi = G_DATA;
		r.rsi = G_MMIO + 8;
	}
	for (u32 i = 0; i < 2; i++) {
		s = RUN_TO(g, ST_MMIO);
		CHECK_EQ(s.r.rip, G_CODE + 5);
		CHECK_EQ(s.r.rcx, 1);
		cpu_answer(cpu0(g), 0x77 + i);
	}
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rbx, 0x78);
}

/* -- HLT, shutdown, no memory -- */
CODE64(hlt, "mov $5, %eax\n hlt\n mov $6, %eax" DONE);
T(hlt, "HLT exits with RIP after it")
{
	struct guest *g = guest_with(M_LONG, hlt);
	struct stop s = RUN_TO(g, ST_HLT);

	CHECK_EQ(s.r.rip, G_CODE + 6);
	CHECK_EQ(s.r.rax, 5);
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rax, 6);
}
CODE64(triple, "lidt 0x6000\n ud2");
T(triple, "a fault without an IDT is a shutdown")
{
	struct guest *g = guest_with(M_LONG, triple);

	memset(g->ram + 0x6000, 0, 16);
	RUN_TO(g, ST_SHUTDOWN);
	guest_free(g);
	g = guest_with_code(M_PM32, "\x0f\x0b", 2);
	WITH_SREGS(cpu0(g), sr)
		sr.idt.limit = 0;
	RUN_TO(g, ST_SHUTDOWN);
}
CODE64(dfault, "mov $0x8000000000000000, %rsp\n push %rax\n");
T(double_fault, "#SS that cannot be delivered is #DF(0)")
{
	struct guest *g = guest_with(M_LONG, dfault);

	guest_gate(g, 8, SEL_CODE64, G_STUBS + 8 * 16, 0xe, 0, 1);
	RUN_EXC(g, 8, 0);
	guest_free(g);
	/* #PF while delivering #GP: a gate that leads to a page that is not there. */
	g = guest_with_code(M_LONG, "\xcd\x81", 2);
	*guest_pte(g, G_IDT) &= ~(u64)PTE_P;
	RUN_TO(g, ST_SHUTDOWN);	/* the IDT itself is gone: #PF, #DF, out */
}
CODE64(nowhere, "jmp *%rdi");
T(unbacked, "fetching from MMIO ends KVM_RUN in a documented way")
{
	struct guest *g = guest_with(M_LONG, nowhere);
	struct stop s;

	WITH_REGS(cpu0(g), r)
		r.rdi = G_MMIO;
	s = run(g);
	if (s.kind == ST_MMIO)	/* KVM reads the opcode by MMIO when it emulates */
		return;
	CHECK_STOP(s, ST_INTERNAL);
	CHECK_EQ(s.err, KVM_INTERNAL_ERROR_EMULATION);
	CHECK_EQ(s.r.rip, G_MMIO);
}
