/* SPDX-License-Identifier: MIT */
/* tests/unit/test_cpu_event.c - delivery of exceptions and interrupts, and IRET from them. */
/* Run: build/tests/unit/test_cpu_event [NAME...] */
#include "cpu_fake.h"

static enum cpu_result run(struct cpu *c, u16 mnemonic, u8 opcode, u8 rex_w)
{
	struct insn in = mkinsn(c, mnemonic, opcode);

	in.rex_w = rex_w;
	return cpu_exec(c, &in);
}

static void idt_set(struct cpu *c, u8 vec, u16 sel, u64 off, u32 type, u32 dpl, u32 ist)
{
	u32 size = cpu_in_lm(c) ? 16 : 8;

	poke(IDT + vec * size, mkgate(sel, off, type, dpl, ist), 8);
	if (size == 16)
		poke(IDT + vec * size + 8, off >> 32, 8);
}

T(real_int_iret)
{
	struct cpu *c = fake_cpu();
	struct insn in;

	cpu_load_seg_real(c, S_CS, 0x1000);
	cpu_load_seg_real(c, S_SS, 0x0900);
	c->gpr[R_RSP] = 0xabcd0100;
	c->rip = 0x20;
	c->rflags |= FL_IF | FL_TF | FL_CF;
	poke(0x21 * 4, 0x20001234, 4);
	in = mkinsn(c, M(INT), 0xcd);
	in.imm = 0x21;
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->rip, 0x1234);
	assert_int_equal(c->seg[S_CS].base, 0x20000);
	assert_int_equal(c->gpr[R_RSP], 0xabcd00fa);
	assert_int_equal(peek(0x90fa, 2), 0x22);
	assert_int_equal(peek(0x90fc, 2), 0x1000);
	assert_int_equal(peek(0x90fe, 2), FL_IF | FL_TF | FL_CF | FL_FIXED);
	assert_int_equal(c->rflags & (FL_IF | FL_TF), 0);
	assert_int_equal(run(c, M(IRET), 0xcf, 0), CPU_OK);
	assert_int_equal(c->rip, 0x22);
	assert_int_equal(c->seg[S_CS].sel, 0x1000);
	assert_int_equal(c->rflags & (FL_IF | FL_TF), FL_IF | FL_TF);
	assert_int_equal(fake_window, 1);
	assert_int_equal(fake_iret, 1);

	/* Outside the IVT. */
	c->idtr.limit = 0x7f;
	expect_fault(c, cpu_exec(c, &in), EXC_GP, 0x21 * 8 + 2);
	fake_free(c);
}

T(long_page_fault)
{
	struct cpu *c = fake_cpu();
	struct cpu_event e = {
		.vector = EXC_PF, .kind = EV_EXCEPTION, .has_error = true, .error = 0x6,
		.payload = 0x123456789000,
	};

	fake_long(c, 3);
	c->rflags |= FL_IF | FL_ZF;
	c->gpr[R_RSP] = 0x7fffffffe123;
	idt_set(c, EXC_PF, CODE64, 0xffffffff81000000, 0xe, 0, 0);
	assert_int_equal(cpu_deliver(c, &e), CPU_OK);
	assert_int_equal(c->rip, 0xffffffff81000000);
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->cr2, 0x123456789000);
	assert_int_equal(c->seg[S_CS].sel, CODE64);
	assert_int_equal(c->seg[S_SS].sel, 0);
	assert_int_equal(c->gpr[R_RSP], STK0 - 48);
	assert_int_equal(peek(STK0 - 48, 8), 6);
	assert_int_equal(peek(STK0 - 40, 8), 0x6000);
	assert_int_equal(peek(STK0 - 32, 8), USER64);
	assert_int_equal(peek(STK0 - 24, 8), FL_IF | FL_ZF | FL_FIXED | FL_RF);
	assert_int_equal(peek(STK0 - 16, 8), 0x7fffffffe123);
	assert_int_equal(peek(STK0 - 8, 8), DATA3);
	assert_int_equal(c->rflags & FL_IF, 0);
	assert_int_equal(fake_last_idx, MMU_KERNEL);

	/* IRETQ goes back to the user. */
	c->gpr[R_RSP] += 8;
	assert_int_equal(run(c, M(IRETQ), 0xcf, 1), CPU_OK);
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->rip, 0x6000);
	assert_int_equal(c->seg[S_CS].sel, USER64);
	assert_int_equal(c->seg[S_SS].sel, DATA3);
	assert_int_equal(c->gpr[R_RSP], 0x7fffffffe123);
	assert_int_equal(c->rflags, FL_IF | FL_ZF | FL_FIXED | FL_RF);
	fake_free(c);
}

T(long_ist)
{
	struct cpu *c = fake_cpu();
	struct cpu_event e = { .vector = EXC_NMI, .kind = EV_NMI };

	fake_long(c, 0);
	c->gpr[R_RSP] = 0x9abc;
	c->shadow_sti = 1;
	idt_set(c, EXC_NMI, CODE64, 0x7000, 0xe, 0, 1);
	assert_int_equal(cpu_deliver(c, &e), CPU_OK);
	assert_int_equal(c->gpr[R_RSP], IST1 - 40);
	assert_int_equal(peek(IST1 - 16, 8), 0x9abc);
	/* Same level: SS stays. */
	assert_int_equal(c->seg[S_SS].sel, DATA0);
	assert_int_equal(c->shadow_sti, 0);

	/* Without IST: the current stack, aligned down. */
	c->gpr[R_RSP] = 0x9abc;
	idt_set(c, EXC_NMI, CODE64, 0x7000, 0xe, 0, 0);
	assert_int_equal(cpu_deliver(c, &e), CPU_OK);
	assert_int_equal(c->gpr[R_RSP], 0x9ab0 - 40);
	assert_int_equal(peek(0x9ab0 - 16, 8), 0x9abc);
	fake_free(c);
}

/* Errors on the way: which exception, with which code. */
T(gate_errors)
{
	static const struct {
		u16 sel;
		u8 type, dpl, kind, vec;
		bool present;
		u32 err;
	} row[] = {
		/* wrong type: task gate and 16-bit gate do not exist in long mode */
		{ CODE64, 0x5, 0, EV_INTR, EXC_GP, true, 0x30 * 8 + 3 },
		{ CODE64, 0x6, 0, EV_INTR, EXC_GP, true, 0x30 * 8 + 3 },
		/* gate DPL counts for INT n only */
		{ CODE64, 0xe, 0, EV_SOFT_INT, EXC_GP, true, 0x30 * 8 + 2 },
		{ CODE64, 0xe, 0, EV_INTR, 0xff, true, 0 },
		{ CODE64, 0xe, 0, EV_PRIV_SOFT, 0xff, true, 0 },
		{ CODE64, 0xe, 3, EV_SOFT_INT, 0xff, true, 0 },
		{ CODE64, 0xe, 0, EV_INTR, EXC_NP, false, 0x30 * 8 + 3 },
		{ CODE64, 0xe, 3, EV_SOFT_INT, EXC_NP, false, 0x30 * 8 + 2 },
		/* target */
		{ 0, 0xe, 0, EV_INTR, EXC_GP, true, 1 },
		{ CODE0, 0xe, 0, EV_INTR, EXC_GP, true, CODE0 | 1 },
		{ DATA0, 0xf, 3, EV_SOFT_INT, EXC_GP, true, DATA0 },
		/* EXT says that the source is external to the CPU (APM2 8.4.1): not an exception */
		{ 0x108, 0xe, 0, EV_EXCEPTION, EXC_GP, true, 0x108 },
		{ 0x108, 0xe, 0, EV_NMI, EXC_GP, true, 0x108 | 1 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(row); i++) {
		struct cpu *c = fake_cpu();
		struct cpu_event e = { .vector = 0x30, .kind = row[i].kind, .next_rip = 0x6002 };
		int r;

		fake_long(c, 3);
		idt_set(c, 0x30, row[i].sel, 0x7000, row[i].type, row[i].dpl, 0);
		if (!row[i].present)
			fake_mem[IDT + 0x30 * 16 + 5] &= 0x7f;
		r = cpu_deliver(c, &e);
		if (row[i].vec == 0xff) {
			assert_int_equal(r, CPU_OK);
		} else {
			expect_fault(c, r, row[i].vec, row[i].err);
			assert_int_equal(c->rip, 0x6000);
			assert_int_equal(c->cpl, 3);
			assert_int_equal(c->gpr[R_RSP], STK3);
		}
		fake_free(c);
	}
}

T(legacy_inner)
{
	struct cpu *c = fake_cpu();
	struct cpu_event e = {
		.vector = EXC_GP, .kind = EV_EXCEPTION, .has_error = true, .error = 0x18,
	};

	fake_prot(c, 3);
	c->rflags |= FL_IF;
	idt_set(c, EXC_GP, CODE0, 0x7000, 0xf, 0, 0);
	assert_int_equal(cpu_deliver(c, &e), CPU_OK);
	assert_int_equal(c->gpr[R_RSP], STK0 - 24);
	assert_int_equal(peek(STK0 - 24, 4), 0x18);
	assert_int_equal(peek(STK0 - 20, 4), 0x6000);
	assert_int_equal(peek(STK0 - 16, 4), CODE3);
	assert_int_equal(peek(STK0 - 8, 4), STK3);
	assert_int_equal(peek(STK0 - 4, 4), DATA3);
	assert_int_equal(c->seg[S_SS].sel, DATA0);
	/* trap gate */
	assert_int_equal(c->rflags & FL_IF, FL_IF);

	/* IRETD to the outer level drops the inner data segments. */
	fake_seg(c, S_ES, DATA0);
	c->gpr[R_RSP] += 4;
	assert_int_equal(run(c, M(IRETD), 0xcf, 0), CPU_OK);
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->gpr[R_RSP], STK3);
	assert_int_equal(c->seg[S_SS].sel, DATA3);
	assert_int_equal(c->seg[S_ES].attr & SEG_P, 0);
	assert_int_equal(c->seg[S_DS].sel, DATA3);

	/* A bad stack in the TSS: #TS with the selector, and EXT for what comes from outside. */
	poke(TSS + 8, DATA3, 4);
	expect_fault(c, cpu_deliver(c, &e), EXC_TS, DATA3 & ~3);
	poke(TSS + 8, 0, 4);
	expect_fault(c, cpu_deliver(c, &e), EXC_TS, 0);
	e.kind = EV_INTR;
	expect_fault(c, cpu_deliver(c, &e), EXC_TS, 1);
	fake_free(c);
}

T(v86_round_trip)
{
	struct cpu *c = fake_cpu();
	struct cpu_event e = { .vector = 0x20, .kind = EV_INTR };
	u64 sp;

	fake_prot(c, 3);
	c->rflags |= FL_VM | FL_IF;
	for (u32 s = S_ES; s <= S_GS; s++)
		cpu_load_seg_real(c, s, 0x800 + s);
	c->gpr[R_RSP] = 0x40;
	c->rip = 0x10;
	idt_set(c, 0x20, CODE0, 0x7000, 0xe, 0, 0);
	assert_int_equal(cpu_deliver(c, &e), CPU_OK);
	assert_int_equal(c->rflags & FL_VM, 0);
	assert_int_equal(c->cpl, 0);
	sp = c->gpr[R_RSP];
	assert_int_equal(sp, STK0 - 36);
	assert_int_equal(peek(sp + 4, 4), 0x800 + S_CS);
	assert_int_equal(peek(sp + 8, 4) & FL_VM, FL_VM);
	assert_int_equal(peek(sp + 16, 4), 0x800 + S_SS);
	assert_int_equal(peek(sp + 20, 4), 0x800 + S_ES);
	assert_int_equal(peek(sp + 32, 4), 0x800 + S_GS);
	assert_int_equal(c->seg[S_DS].attr & SEG_P, 0);

	assert_int_equal(run(c, M(IRETD), 0xcf, 0), CPU_OK);
	assert_int_equal(c->rflags & (FL_VM | FL_IF), FL_VM | FL_IF);
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->rip, 0x10);
	assert_int_equal(c->gpr[R_RSP], 0x40);
	assert_int_equal(c->seg[S_GS].base, (0x800 + S_GS) << 4);

	/* The handler must be CPL 0. */
	idt_set(c, 0x20, CODE3, 0x7000, 0xe, 0, 0);
	expect_fault(c, cpu_deliver(c, &e), EXC_GP, (CODE3 & ~3) | 1);
	/* INT n needs IOPL 3. */
	struct insn in = mkinsn(c, M(INT), 0xcd);

	in.imm = 0x20;
	expect_fault(c, cpu_exec(c, &in), EXC_GP, 0);
	fake_free(c);
}

T(debug_exception)
{
	struct cpu *c = fake_cpu();
	struct cpu_event e = { .vector = EXC_DB, .kind = EV_EXCEPTION, .payload = BIT64(14) | 2 };

	fake_long(c, 0);
	c->dr6 |= 1;
	c->dr7 |= BIT64(13);
	c->rflags |= FL_TF;
	idt_set(c, EXC_DB, CODE64, 0x7000, 0xe, 0, 0);
	assert_int_equal(cpu_deliver(c, &e), CPU_OK);
	assert_int_equal(c->dr6, 0xffff0ff0 | BIT64(14) | 2);
	assert_int_equal(c->dr7, 0x400);
	assert_int_equal(peek(c->gpr[R_RSP] + 16, 8) & (FL_RF | FL_TF), FL_TF);
	assert_int_equal(c->rflags & FL_TF, 0);
	fake_free(c);
}

T(nested_page_fault)
{
	struct cpu *c = fake_cpu();
	struct cpu_event e = { .vector = EXC_UD, .kind = EV_EXCEPTION };

	fake_long(c, 3);
	idt_set(c, EXC_UD, CODE64, 0x7000, 0xe, 0, 0);
	fake_absent = STK0 - 8;
	expect_fault(c, cpu_deliver(c, &e), EXC_PF, PF_W);
	assert_int_equal(c->rip, 0x6000);
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->seg[S_SS].sel, DATA3);
	/* A non-canonical stack is #SS. */
	fake_absent = ~0ull;
	poke(TSS + 4, 0x900000000000, 8);
	expect_fault(c, cpu_deliver(c, &e), EXC_SS, 0);
	/* A TSS too short is #TS. */
	c->seg[S_TR].limit = 8;
	expect_fault(c, cpu_deliver(c, &e), EXC_TS, SEL_TSS);
	e.kind = EV_INTR;
	expect_fault(c, cpu_deliver(c, &e), EXC_TS, SEL_TSS | 1);
	fake_free(c);
}

T(merging)
{
	assert_int_equal(cpu_merge_faults(EXC_GP, EXC_NP), EXC_DF);
	assert_int_equal(cpu_merge_faults(EXC_GP, EXC_PF), 0);
	assert_int_equal(cpu_merge_faults(EXC_PF, EXC_PF), EXC_DF);
	assert_int_equal(cpu_merge_faults(EXC_PF, EXC_GP), EXC_DF);
	assert_int_equal(cpu_merge_faults(EXC_UD, EXC_GP), 0);
	assert_int_equal(cpu_merge_faults(EXC_DB, EXC_PF), 0);
	assert_int_equal(cpu_merge_faults(EXC_DF, EXC_GP), -1);
}

T(task_gate_event)
{
	struct cpu *c = fake_cpu();
	struct cpu_event e = {
		.vector = EXC_DF, .kind = EV_EXCEPTION, .has_error = true, .error = 0,
	};

	fake_prot(c, 3);
	poke(IDT + 8 * 8, mkgate(SEL_TSS2, 0, 5, 0, 0), 8);
	poke(TSS2 + 0x20, 0x7700, 4);		/* EIP */
	poke(TSS2 + 0x24, 2, 4);
	poke(TSS2 + 0x38, STK0, 4);		/* ESP */
	for (u32 i = 0; i < 6; i++)
		poke(TSS2 + 0x48 + i * 4, i == S_CS ? CODE0 : DATA0, 4);
	assert_int_equal(cpu_deliver(c, &e), CPU_OK);
	assert_int_equal(c->rip, 0x7700);
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->gpr[R_RSP], STK0 - 4);
	assert_int_equal(c->seg[S_TR].sel, SEL_TSS2);
	assert_int_equal(c->rflags & FL_NT, FL_NT);
	assert_int_equal(peek(TSS2, 2), SEL_TSS);
	assert_int_equal(peek(TSS + 0x20, 4), 0x6000);
	assert_int_equal(peek(TSS + 0x4c, 2), CODE3);
	assert_int_equal(gdt_type(SEL_TSS), 11);
	assert_int_equal(gdt_type(SEL_TSS2), 11);
	assert_true(c->cr0 & CR0_TS);

	/* IRET with NT returns to the interrupted task. */
	c->gpr[R_RSP] += 4;
	assert_int_equal(run(c, M(IRETD), 0xcf, 0), CPU_OK);
	assert_int_equal(c->rip, 0x6000);
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->gpr[R_RSP], STK3);
	assert_int_equal(c->seg[S_TR].sel, SEL_TSS);
	assert_int_equal(gdt_type(SEL_TSS2), 9);
	assert_int_equal(peek(TSS2 + 0x24, 4) & FL_NT, 0);
	fake_free(c);
}
