/* SPDX-License-Identifier: MIT */
/* tests/unit/test_cpu_far.c - far CALL, JMP, RET, task switches, SYSCALL and SYSENTER. */
/* Run: build/tests/unit/test_cpu_far [NAME...] */
#include "cpu_fake.h"

static enum cpu_result far_direct(struct cpu *c, bool call, u16 sel, u32 off)
{
	struct insn in = mkinsn(c, call ? M(CALL) : M(JMP), call ? 0x9a : 0xea);

	in.imm = off;
	in.imm2 = sel;
	in.len = 7;
	return cpu_exec(c, &in);
}

static enum cpu_result far_ret(struct cpu *c, u16 extra)
{
	struct insn in = mkinsn(c, M(RET), extra ? 0xca : 0xcb);

	in.imm = extra;
	return cpu_exec(c, &in);
}

T(real_far)
{
	struct cpu *c = fake_cpu();

	cpu_load_seg_real(c, S_CS, 0x100);
	cpu_load_seg_real(c, S_SS, 0x900);
	c->gpr[R_RSP] = 0x100;
	c->rip = 0x10;
	assert_int_equal(far_direct(c, true, 0x234, 0x56), CPU_OK);
	assert_int_equal(c->rip, 0x56);
	assert_int_equal(c->seg[S_CS].base, 0x2340);
	assert_int_equal(peek(0x90fc, 4), 0x01000017);
	assert_int_equal(far_ret(c, 0), CPU_OK);
	assert_int_equal(c->rip, 0x17);
	assert_int_equal(c->gpr[R_RSP], 0x100);
	fake_free(c);
}

/* Entering protected mode: far JMP right after PE is set. */
T(enter_protected)
{
	struct cpu *c = fake_cpu();
	struct insn in;

	cpu_load_seg_real(c, S_CS, 0);
	c->gdtr = (struct cpu_dtr){ GDT, 0xff };
	c->rip = 0x6000;
	assert_int_equal(cpu_set_cr0(c, c->cr0 | CR0_PE), CPU_OK);
	in = mkinsn(c, M(JMP), 0xea);
	in.prefixes = PFX_OPSIZE;
	in.opsize = 4;
	in.imm = 0x16000;
	in.imm2 = CODE0;
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->rip, 0x16000);
	assert_int_equal(c->seg[S_CS].attr, A_CODE | A_32);
	fake_free(c);
}

T(call_gate)
{
	struct cpu *c = fake_cpu();

	fake_prot(c, 3);
	gdt_set(GATE, mkgate(CODE0, 0x7123, 0xc, 3, 2));
	poke(STK3, 0x11111111, 4);
	poke(STK3 + 4, 0x22222222, 4);
	assert_int_equal(far_direct(c, true, GATE | 3, 0xdead), CPU_OK);
	assert_int_equal(c->rip, 0x7123);
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->seg[S_CS].sel, CODE0);
	assert_int_equal(c->seg[S_SS].sel, DATA0);
	assert_int_equal(c->gpr[R_RSP], STK0 - 24);
	assert_int_equal(peek(STK0 - 24, 4), 0x6007);
	assert_int_equal(peek(STK0 - 20, 4), CODE3);
	assert_int_equal(peek(STK0 - 16, 4), 0x11111111);
	assert_int_equal(peek(STK0 - 12, 4), 0x22222222);
	assert_int_equal(peek(STK0 - 8, 4), STK3);
	assert_int_equal(peek(STK0 - 4, 4), DATA3);

	/* Return to the outer level releases the parameters on both stacks. */
	fake_seg(c, S_FS, DATA0);
	assert_int_equal(far_ret(c, 8), CPU_OK);
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->rip, 0x6007);
	assert_int_equal(c->gpr[R_RSP], STK3 + 8);
	assert_int_equal(c->seg[S_SS].sel, DATA3);
	assert_int_equal(c->seg[S_FS].attr & SEG_P, 0);
	assert_int_equal(c->seg[S_DS].sel, DATA3);

	/* JMP may not raise the privilege; a gate of DPL 0 is out of reach. */
	expect_fault(c, far_direct(c, false, GATE | 3, 0), EXC_GP, CODE0);
	gdt_set(GATE, mkgate(CODE0, 0x7123, 0xc, 0, 2));
	expect_fault(c, far_direct(c, true, GATE | 3, 0), EXC_GP, GATE);
	fake_free(c);
}

T(long_call_gate)
{
	struct cpu *c = fake_cpu();
	struct insn in;

	fake_long(c, 3);
	gdt_set(GATE, mkgate(CODE64, 0x81000000, 0xc, 3, 0));
	poke(GDT + GATE + 8, 0xffffffff, 8);
	in = mkinsn(c, M(CALL), 0xff);
	in.has_mem = true;
	in.reg = 3;
	in.disp = 0x8000;
	poke(0x8000, (u64)(GATE | 3) << 32 | 0x1234, 6);
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->rip, 0xffffffff81000000);
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->seg[S_SS].sel, 0);
	assert_int_equal(c->gpr[R_RSP], STK0 - 32);
	assert_int_equal(peek(STK0 - 32, 8), 0x6002);
	assert_int_equal(peek(STK0 - 24, 8), USER64);
	assert_int_equal(peek(STK0 - 16, 8), STK3);

	in = mkinsn(c, M(RET), 0xcb);
	in.rex_w = 1;
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->gpr[R_RSP], STK3);
	assert_int_equal(c->rip, 0x6002);

	/* 32-bit code behind a long-mode gate. */
	gdt_set(GATE, mkgate(CODE0, 0x7000, 0xc, 3, 0));
	poke(GDT + GATE + 8, 0, 8);
	in = mkinsn(c, M(CALL), 0xff);
	in.has_mem = true;
	in.reg = 3;
	in.disp = 0x8000;
	expect_fault(c, cpu_exec(c, &in), EXC_GP, CODE0);
	fake_free(c);
}

T(far_code_rules)
{
	static const struct { u8 cpl; u16 sel; u8 vec; u32 err; } row[] = {
		{ 0, CODE0, 0xff, 0 },
		{ 0, 0, EXC_GP, 0 },
		{ 0, 3, EXC_GP, 0 },
		{ 0, 0x100, EXC_GP, 0x100 },		/* outside the GDT */
		{ 0, 0x0c, EXC_GP, 0x0c },		/* LDT is null */
		{ 0, DATA0, EXC_GP, DATA0 },
		{ 0, CODE3, EXC_GP, CODE3 & ~3 },	/* DPL != CPL */
		{ 0, CODE0 | 1, EXC_GP, CODE0 },	/* RPL > CPL */
		{ 3, CODE0, EXC_GP, CODE0 },
		{ 3, CONF0, 0xff, 0 },			/* conforming keeps the CPL */
		{ 3, CODE3 & ~3, 0xff, 0 },
		{ 0, SEL_LDT, EXC_GP, SEL_LDT },
		{ 0, SEL_TSS, EXC_GP, SEL_TSS },	/* busy */
	};

	for (u32 i = 0; i < ARRAY_SIZE(row); i++) {
		struct cpu *c = fake_cpu();
		int r;

		fake_prot(c, row[i].cpl);
		r = far_direct(c, false, row[i].sel, 0x7000);
		if (row[i].vec == 0xff) {
			assert_int_equal(r, CPU_OK);
			assert_int_equal(c->rip, 0x7000);
			assert_int_equal(c->cpl, row[i].cpl);
			assert_int_equal(c->seg[S_CS].sel, (row[i].sel & ~3) | row[i].cpl);
		} else {
			expect_fault(c, r, row[i].vec, row[i].err);
			assert_int_equal(c->rip, 0x6000);
		}
		fake_free(c);
	}
}

T(syscall_long)
{
	struct cpu *c = fake_cpu();
	struct insn in;

	fake_long(c, 3);
	c->star = (u64)0x23 << 48 | (u64)0x10 << 32;
	c->lstar = 0xffffffff81800000;
	c->cstar = 0xffffffff81900000;
	c->sfmask = FL_IF | FL_TF | FL_DF;
	c->rflags |= FL_IF | FL_CF | FL_DF;
	in = mkinsn(c, M(SYSCALL), 0x05);
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->rip, 0xffffffff81800000);
	assert_int_equal(c->gpr[R_RCX], 0x6002);
	assert_int_equal(c->gpr[R_R11], FL_IF | FL_CF | FL_DF | FL_FIXED);
	assert_int_equal(c->rflags, FL_CF | FL_FIXED);
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->seg[S_CS].sel, 0x10);
	assert_int_equal(c->seg[S_SS].sel, 0x18);
	assert_true(cpu_in_64(c));

	in = mkinsn(c, M(SYSRET), 0x07);
	in.rex_w = 1;
	fake_window = 0;
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->rip, 0x6002);
	assert_int_equal(c->seg[S_CS].sel, 0x33);
	assert_int_equal(c->seg[S_SS].sel, 0x2b);
	assert_int_equal(c->rflags, FL_IF | FL_CF | FL_DF | FL_FIXED);
	assert_int_equal(fake_window, 1);

	/* SYSRET at CPL 3; then to compatibility mode. */
	expect_fault(c, cpu_exec(c, &in), EXC_GP, 0);
	c->cpl = 0;
	in.rex_w = 0;
	c->gpr[R_RCX] = 0x100006000;
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->rip, 0x6000);
	assert_int_equal(c->seg[S_CS].sel, 0x23);
	assert_false(cpu_in_64(c));
	/* From there SYSCALL goes to CSTAR. */
	in = mkinsn(c, M(SYSCALL), 0x05);
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->rip, 0xffffffff81900000);

	c->efer &= ~EFER_SCE;
	expect_fault(c, cpu_exec(c, &in), EXC_UD, 0);
	in = mkinsn(c, M(SYSENTER), 0x34);
	expect_fault(c, cpu_exec(c, &in), EXC_UD, 0);
	fake_free(c);
}

T(sysenter_legacy)
{
	struct cpu *c = fake_cpu();
	struct insn in;

	fake_prot(c, 3);
	c->rflags |= FL_IF;
	in = mkinsn(c, M(SYSENTER), 0x34);
	expect_fault(c, cpu_exec(c, &in), EXC_GP, 0);
	c->sysenter_cs = CODE0;
	c->sysenter_eip = 0x7000;
	c->sysenter_esp = STK0;
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->rip, 0x7000);
	assert_int_equal(c->seg[S_SS].sel, CODE0 + 8);
	assert_int_equal(c->rflags & FL_IF, 0);
	c->gpr[R_RCX] = STK3;
	c->gpr[R_RDX] = 0x6002;
	in = mkinsn(c, M(SYSEXIT), 0x35);
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->seg[S_CS].sel, (CODE0 + 16) | 3);
	assert_int_equal(c->seg[S_SS].sel, (CODE0 + 24) | 3);
	assert_int_equal(c->gpr[R_RSP], STK3);
	fake_free(c);
}

static void fill_tss2(void)
{
	poke(TSS2 + 0x20, 0x7700, 4);
	poke(TSS2 + 0x24, FL_FIXED | FL_ZF, 4);
	poke(TSS2 + 0x28, 0xaaaaaaaa, 4);
	poke(TSS2 + 0x38, STK0 - 0x100, 4);
	for (u32 i = 0; i < 6; i++)
		poke(TSS2 + 0x48 + i * 4, i == S_CS ? CODE0 : DATA0, 4);
	poke(TSS2 + 0x60, SEL_LDT, 4);
}

T(task_switch)
{
	struct cpu *c = fake_cpu();
	struct insn in;

	fake_prot(c, 0);
	fill_tss2();
	c->gpr[R_RAX] = 0x12345678;
	assert_int_equal(far_direct(c, false, SEL_TSS2, 0), CPU_OK);
	assert_int_equal(c->rip, 0x7700);
	assert_int_equal(c->gpr[R_RAX], 0xaaaaaaaa);
	assert_int_equal(c->gpr[R_RSP], STK0 - 0x100);
	assert_int_equal(c->rflags, FL_FIXED | FL_ZF);
	assert_int_equal(c->seg[S_LDTR].base, LDT);
	assert_int_equal(gdt_type(SEL_TSS), 9);
	assert_int_equal(gdt_type(SEL_TSS2), 11);
	assert_int_equal(peek(TSS + 0x20, 4), 0x6007);
	assert_int_equal(peek(TSS + 0x28, 4), 0x12345678);
	assert_true(c->cr0 & CR0_TS);

	/* CALL back nests, IRET returns. */
	assert_int_equal(far_direct(c, true, SEL_TSS, 0), CPU_OK);
	assert_int_equal(c->rip, 0x6007);
	assert_int_equal(c->rflags & FL_NT, FL_NT);
	assert_int_equal(peek(TSS, 2), SEL_TSS2);
	assert_int_equal(gdt_type(SEL_TSS2), 11);
	in = mkinsn(c, M(IRETD), 0xcf);
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->seg[S_TR].sel, SEL_TSS2);
	assert_int_equal(c->rip, 0x7707);
	assert_int_equal(gdt_type(SEL_TSS), 9);
	fake_free(c);
}

T(task_switch_errors)
{
	struct cpu *c = fake_cpu();

	fake_prot(c, 0);
	fill_tss2();
	gdt_set(SEL_TSS2, mkdesc(TSS2, 0x66, 0x89));
	expect_fault(c, far_direct(c, false, SEL_TSS2, 0), EXC_TS, SEL_TSS2);
	gdt_set(SEL_TSS2, mkdesc(TSS2, 0x67, 0x09));
	expect_fault(c, far_direct(c, false, SEL_TSS2, 0), EXC_NP, SEL_TSS2);
	gdt_set(SEL_TSS2, mkdesc(TSS2, 0x67, 0x89));
	assert_int_equal(c->rip, 0x6000);
	/* A bad SS is found in the new task. */
	poke(TSS2 + 0x48 + S_SS * 4, DATA3, 4);
	expect_fault(c, far_direct(c, false, SEL_TSS2, 0), EXC_TS, DATA3 & ~3);
	assert_int_equal(c->rip, 0x7700);
	assert_int_equal(c->seg[S_TR].sel, SEL_TSS2);
	fake_free(c);

	/* T bit: debug trap in the new task. */
	c = fake_cpu();
	fake_prot(c, 0);
	fill_tss2();
	poke(TSS2 + 0x64, 1, 2);
	expect_fault(c, far_direct(c, false, SEL_TSS2, 0), EXC_DB, 0);
	assert_int_equal(c->fault.payload, BIT64(15));
	assert_int_equal(c->rip, 0x7700);
	fake_free(c);
}

T(iretq_rules)
{
	static const struct { u16 cs, ss; u64 rip; u8 vec; u32 err; } row[] = {
		{ CODE64, 0, 0x7000, 0xff, 0 },
		{ CODE64, DATA0, 0x7000, 0xff, 0 },
		{ USER64, DATA3, 0x7000, 0xff, 0 },
		{ CODE3, DATA3, 0x7000, 0xff, 0 },
		{ USER64, 0, 0x7000, EXC_GP, 0 },		/* null SS at CPL 3 */
		{ USER64, DATA0, 0x7000, EXC_GP, DATA0 },
		{ USER64, DATA_RO3, 0x7000, EXC_GP, DATA_RO3 & ~3 },
		{ USER64 & ~3, 0, 0x7000, EXC_GP, USER64 & ~3 },
		{ 0, 0, 0x7000, EXC_GP, 0 },
		{ CODE64, 0, 0x800000000000, EXC_GP, 0 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(row); i++) {
		struct cpu *c = fake_cpu();
		struct insn in;
		int r;

		fake_long(c, 0);
		c->gpr[R_RSP] = 0x9800;
		poke(0x9800, row[i].rip, 8);
		poke(0x9808, row[i].cs, 8);
		poke(0x9810, FL_IF, 8);
		poke(0x9818, 0xb123, 8);
		poke(0x9820, row[i].ss, 8);
		in = mkinsn(c, M(IRETQ), 0xcf);
		in.rex_w = 1;
		r = cpu_exec(c, &in);
		if (row[i].vec == 0xff) {
			assert_int_equal(r, CPU_OK);
			assert_int_equal(c->rip, row[i].rip);
			assert_int_equal(c->gpr[R_RSP], 0xb123);
			assert_int_equal(c->cpl, row[i].cs & 3);
			assert_int_equal(fake_iret, 1);
		} else {
			expect_fault(c, r, row[i].vec, row[i].err);
			assert_int_equal(c->gpr[R_RSP], 0x9800);
			assert_int_equal(c->rip, 0x6000);
			assert_int_equal(fake_iret, 0);
		}
		fake_free(c);
	}
}
