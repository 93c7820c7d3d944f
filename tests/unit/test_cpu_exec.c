/* SPDX-License-Identifier: MIT */
/* tests/unit/test_cpu_exec.c - dispatch, flags, control registers, segments, descriptor tables. */
/* Run: build/tests/unit/test_cpu_exec [NAME...] */
#include "cpu_fake.h"

T(dispatch)
{
	struct cpu *c = fake_cpu();
	struct insn in;

	fake_prot(c, 3);
	in = mkinsn(c, M(UD2), 0x0b);
	expect_fault(c, cpu_exec(c, &in), EXC_UD, 0);
	in = mkinsn(c, M(CPUID), 0xa2);
	in.prefixes = PFX_LOCK;
	expect_fault(c, cpu_exec(c, &in), EXC_UD, 0);
	in = mkinsn(c, M(HLT), 0xf4);
	expect_fault(c, cpu_exec(c, &in), EXC_GP, 0);
	in = mkinsn(c, M(RDMSR), 0x32);
	expect_fault(c, cpu_exec(c, &in), EXC_GP, 0);
	in = mkinsn(c, M(MWAIT), 0x01);
	expect_fault(c, cpu_exec(c, &in), EXC_UD, 0);
	in = mkinsn(c, M(VMRUN), 0x01);
	expect_fault(c, cpu_exec(c, &in), EXC_UD, 0);
	c->cr0 &= ~CR0_PE;
	in = mkinsn(c, M(LAR), 0x02);
	expect_fault(c, cpu_exec(c, &in), EXC_UD, 0);
	assert_int_equal(c->rip, 0x6000);

	c->cpl = 0;
	c->rflags |= FL_RF;
	c->gpr[R_RBX] = ~0ull;
	in = mkinsn(c, M(CPUID), 0xa2);
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->rip, 0x6002);
	assert_int_equal(c->gpr[R_RBX], 0);
	assert_int_equal(c->rflags & FL_RF, 0);
	fake_free(c);
}

/* What POPFD of all ones, and of zero, changes. */
T(popf_rules)
{
	enum { BASE = 0x4dd5 | FL_AC | FL_ID };	/* arithmetic TF DF NT AC ID */
	static const struct { u8 cpl, iopl; bool size16; u32 set; } row[] = {
		{ 0, 0, false, BASE | FL_IF | FL_IOPL },
		{ 3, 0, false, BASE },
		{ 3, 3, false, BASE | FL_IF },
		{ 1, 1, false, BASE | FL_IF },
		{ 2, 1, false, BASE },
		{ 0, 0, true, (BASE & 0xffff) | FL_IF | FL_IOPL },
		{ 3, 0, true, BASE & 0xffff },
	};

	for (u32 i = 0; i < ARRAY_SIZE(row); i++) {
		struct cpu *c = fake_cpu();
		struct insn in;

		fake_prot(c, 0);
		c->cpl = row[i].cpl;
		c->gpr[R_RSP] = 0x9000;
		c->rflags = FL_FIXED | (u64)row[i].iopl << FL_IOPL_SHIFT | FL_RF;
		poke(0x9000, 0xffffffff, 4);
		in = mkinsn(c, M(POPFD), 0x9d);
		if (row[i].size16)
			in.prefixes = PFX_OPSIZE;
		assert_int_equal(cpu_exec(c, &in), CPU_OK);
		assert_int_equal(c->rflags,
				 FL_FIXED | row[i].set | (u64)row[i].iopl << FL_IOPL_SHIFT);
		assert_int_equal(c->gpr[R_RSP], row[i].size16 ? 0x9002 : 0x9004);
		assert_int_equal(fake_window, 1);	/* TF at least */
		fake_free(c);
	}
}

T(v86_flags)
{
	struct cpu *c = fake_cpu();
	struct insn in;

	fake_prot(c, 3);
	c->rflags |= FL_VM;
	for (u32 s = S_ES; s <= S_GS; s++)
		cpu_load_seg_real(c, s, 0x900);
	c->gpr[R_RSP] = 0x100;
	in = mkinsn(c, M(PUSHF), 0x9c);
	expect_fault(c, cpu_exec(c, &in), EXC_GP, 0);
	in = mkinsn(c, M(CLI), 0xfa);
	expect_fault(c, cpu_exec(c, &in), EXC_GP, 0);

	/* VME: the same on VIF. */
	c->cr4 |= CR4_VME;
	c->rflags |= FL_IF;
	in = mkinsn(c, M(STI), 0xfb);
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_true(c->rflags & FL_VIF);
	assert_int_equal(c->shadow_sti, 0);
	in = mkinsn(c, M(PUSHF), 0x9c);
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(peek(0x90fe, 2) & (FL_IF | FL_IOPL), FL_IF | FL_IOPL);
	poke(0x90fe, FL_CF, 2);
	in = mkinsn(c, M(POPF), 0x9d);
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_false(c->rflags & FL_VIF);
	assert_true(c->rflags & FL_IF);
	c->rflags |= FL_VIP;
	poke(0x9100, FL_IF, 2);
	expect_fault(c, cpu_exec(c, &in), EXC_GP, 0);
	assert_int_equal(c->gpr[R_RSP], 0x100);
	fake_free(c);
}

T(interrupt_flag)
{
	struct cpu *c = fake_cpu();
	struct insn in;

	fake_prot(c, 0);
	in = mkinsn(c, M(STI), 0xfb);
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->shadow_sti, 1);
	assert_int_equal(fake_window, 1);
	c->shadow_sti = 0;
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->shadow_sti, 0);
	c->cpl = 3;
	expect_fault(c, cpu_exec(c, &in), EXC_GP, 0);
	/* PVI */
	c->cr4 |= CR4_PVI;
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_true(c->rflags & FL_VIF);
	in = mkinsn(c, M(CLAC), 0xca);
	expect_fault(c, cpu_exec(c, &in), EXC_UD, 0);
	fake_free(c);
}

static enum cpu_result mov_cr(struct cpu *c, u32 cr, u64 v)
{
	struct insn in = mkinsn(c, M(MOV), 0x22);

	in.map = 1;
	in.reg = cr;
	in.rm = R_RAX;
	c->gpr[R_RAX] = v;
	return cpu_exec(c, &in);
}

T(cr_rules)
{
	enum { LM = 1, OK = 0xff };
	static const u64 pg = CR0_PE | CR0_PG;
	static const struct { u8 mode, cr; u64 v; u8 vec; u64 becomes; } row[] = {
		{ 0, 0, CR0_PE, OK, CR0_PE | CR0_ET },
		{ 0, 0, CR0_PE | BIT64(7), OK, CR0_PE | CR0_ET },
		{ 0, 0, CR0_NW, EXC_GP, 0 },
		{ 0, 0, CR0_NW | CR0_CD, OK, CR0_NW | CR0_CD | CR0_ET },
		{ 0, 0, CR0_PG, EXC_GP, 0 },
		{ LM, 0, BIT64(32) | pg, EXC_GP, 0 },
		{ LM, 0, CR0_PE, EXC_GP, 0 },			/* paging off in 64-bit mode */
		{ LM, 0, pg | CR0_WP, OK, pg | CR0_WP | CR0_ET },
		{ LM, 3, BIT64(40), EXC_GP, 0 },
		{ LM, 3, BIT64(63), EXC_GP, 0 },		/* without PCIDE */
		{ LM, 3, 0x5000, OK, 0x5000 },
		{ LM, 4, 0, EXC_GP, 0 },			/* PAE is needed */
		{ LM, 4, CR4_PAE | BIT64(22), EXC_GP, 0 },
		{ LM, 4, CR4_PAE | CR4_PGE | CR4_PCIDE, OK, CR4_PAE | CR4_PGE | CR4_PCIDE },
		{ 0, 4, CR4_PCIDE, EXC_GP, 0 },
		{ LM, 4, CR4_PAE | CR4_LA57, EXC_GP, 0 },
		{ LM, 1, 0, EXC_UD, 0 },
		{ LM, 5, 0, EXC_UD, 0 },
		{ LM, 9, 0, EXC_UD, 0 },
		{ LM, 8, 16, EXC_GP, 0 },
		{ LM, 2, 0xffff800000000000, OK, 0xffff800000000000 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(row); i++) {
		struct cpu *c = fake_cpu();
		int r;

		if (row[i].mode == LM)
			fake_long(c, 0);
		else
			fake_prot(c, 0);
		r = mov_cr(c, row[i].cr, row[i].v);
		if (row[i].vec != OK) {
			expect_fault(c, r, row[i].vec, 0);
			assert_int_equal(c->rip, 0x6000);
		} else {
			const u64 *cr[] = { &c->cr0, NULL, &c->cr2, &c->cr3, &c->cr4 };

			assert_int_equal(r, CPU_OK);
			assert_int_equal(*cr[row[i].cr], row[i].becomes);
		}
		c->cpl = 3;
		if (row[i].vec != EXC_UD)
			expect_fault(c, mov_cr(c, row[i].cr, row[i].v), EXC_GP, 0);
		fake_free(c);
	}
}

T(long_mode_switch)
{
	struct cpu *c = fake_cpu();

	fake_prot(c, 0);
	assert_int_equal(cpu_set_efer(c, EFER_LME | EFER_LMA), CPU_OK);
	assert_int_equal(c->efer, EFER_LME);
	expect_fault(c, cpu_set_cr0(c, CR0_PE | CR0_PG), EXC_GP, 0);
	assert_int_equal(cpu_set_cr4(c, CR4_PAE), CPU_OK);
	c->mode_stale = 0;
	assert_int_equal(cpu_set_cr0(c, CR0_PE | CR0_PG), CPU_OK);
	assert_int_equal(c->efer, EFER_LME | EFER_LMA);
	assert_int_equal(c->mode_stale, 1);
	expect_fault(c, cpu_set_efer(c, 0), EXC_GP, 0);
	expect_fault(c, cpu_set_efer(c, EFER_LME | BIT64(16)), EXC_GP, 0);
	/* Compatibility mode may leave. */
	assert_int_equal(cpu_set_cr0(c, CR0_PE), CPU_OK);
	assert_int_equal(c->efer, EFER_LME);
	/* CS.L must be clear on the way in. */
	fake_seg(c, S_CS, CODE64);
	expect_fault(c, cpu_set_cr0(c, CR0_PE | CR0_PG), EXC_GP, 0);

	expect_fault(c, cpu_set_xcr0(c, 0), EXC_GP, 0);
	expect_fault(c, cpu_set_xcr0(c, 5), EXC_GP, 0);
	expect_fault(c, cpu_set_xcr0(c, 15), EXC_GP, 0);
	assert_int_equal(cpu_set_xcr0(c, 7), CPU_OK);
	fake_free(c);
}

T(debug_registers)
{
	struct cpu *c = fake_cpu();
	struct insn in;

	fake_long(c, 0);
	in = mkinsn(c, M(MOV), 0x23);
	in.map = 1;
	in.reg = 4;
	c->gpr[R_RAX] = 0;
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->dr6, 0xffff0ff0);
	c->cr4 |= CR4_DE;
	expect_fault(c, cpu_exec(c, &in), EXC_UD, 0);
	in.reg = 7;
	c->gpr[R_RAX] = BIT64(32);
	expect_fault(c, cpu_exec(c, &in), EXC_GP, 0);
	c->gpr[R_RAX] = 0xffffffff;
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->dr7, 0xffff27ff);
	/* GD is set now. */
	expect_fault(c, cpu_exec(c, &in), EXC_DB, 0);
	assert_int_equal(c->fault.payload, BIT64(13));
	fake_free(c);
}

static enum cpu_result mov_to_sreg(struct cpu *c, u32 s, u16 sel)
{
	struct insn in = mkinsn(c, M(MOV), 0x8e);

	in.reg = s;
	in.rm = R_RAX;
	c->gpr[R_RAX] = sel;
	return cpu_exec(c, &in);
}

T(segment_loads)
{
	static const struct { u8 cpl, s; u16 sel; u8 vec; u32 err; } row[] = {
		{ 0, S_DS, DATA0, 0xff, 0 },
		{ 0, S_DS, 0, 0xff, 0 },
		{ 0, S_DS, 3, 0xff, 0 },
		{ 0, S_CS, CODE0, EXC_UD, 0 },
		{ 0, 6, DATA0, EXC_UD, 0 },
		{ 0, S_SS, 0, EXC_GP, 0 },
		{ 0, S_SS, DATA0, 0xff, 0 },
		{ 0, S_SS, DATA3, EXC_GP, DATA3 & ~3 },
		{ 0, S_SS, CODE0, EXC_GP, CODE0 },
		{ 3, S_SS, DATA_RO3, EXC_GP, DATA_RO3 & ~3 },
		{ 3, S_ES, DATA_RO3, 0xff, 0 },
		{ 3, S_ES, DATA0, EXC_GP, DATA0 },
		{ 0, S_ES, DATA0 | 3, EXC_GP, DATA0 },
		{ 3, S_FS, CONF0 | 3, 0xff, 0 },
		{ 0, S_GS, DATA_NP, EXC_NP, DATA_NP },
		{ 0, S_SS, DATA_NP, EXC_SS, DATA_NP },
		{ 0, S_DS, SEL_TSS, EXC_GP, SEL_TSS },
		{ 0, S_DS, 0x100, EXC_GP, 0x100 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(row); i++) {
		struct cpu *c = fake_cpu();
		int r;

		fake_prot(c, row[i].cpl);
		r = mov_to_sreg(c, row[i].s, row[i].sel);
		if (row[i].vec == 0xff) {
			assert_int_equal(r, CPU_OK);
			assert_int_equal(c->seg[row[i].s].sel, row[i].sel);
			assert_int_equal(!(c->seg[row[i].s].attr & SEG_P), !(row[i].sel & ~3));
			assert_int_equal(c->shadow_ss, row[i].s == S_SS);
		} else {
			expect_fault(c, r, row[i].vec, row[i].err);
			assert_int_equal(c->rip, 0x6000);
			assert_int_equal(c->shadow_ss, 0);
		}
		fake_free(c);
	}
}

T(accessed_bit)
{
	struct cpu *c = fake_cpu();

	fake_prot(c, 0);
	gdt_set(DATA0, mkdesc(0x1234, 0xfffff, 0x92 | A_32));
	assert_int_equal(mov_to_sreg(c, S_ES, DATA0), CPU_OK);
	assert_int_equal(gdt_type(DATA0), 3);
	assert_int_equal(c->seg[S_ES].base, 0x1234);
	assert_int_equal(c->seg[S_ES].limit, 0xffffffff);
	fake_free(c);
}

T(unreal_mode)
{
	struct cpu *c = fake_cpu();

	fake_prot(c, 0);
	assert_int_equal(mov_to_sreg(c, S_DS, DATA0), CPU_OK);
	assert_int_equal(cpu_set_cr0(c, 0), CPU_OK);
	assert_int_equal(mov_to_sreg(c, S_DS, 0x1234), CPU_OK);
	assert_int_equal(c->seg[S_DS].base, 0x12340);
	assert_int_equal(c->seg[S_DS].limit, 0xffffffff);
	fake_free(c);
}

T(pop_sreg_restores_rsp)
{
	struct cpu *c = fake_cpu();
	struct insn in;

	fake_prot(c, 0);
	c->gpr[R_RSP] = 0x9000;
	poke(0x9000, DATA3, 4);
	in = mkinsn(c, M(POP), 0x17);
	expect_fault(c, cpu_exec(c, &in), EXC_GP, DATA3 & ~3);
	assert_int_equal(c->gpr[R_RSP], 0x9000);
	in = mkinsn(c, M(POP), 0xa9);
	in.map = 1;
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->gpr[R_RSP], 0x9004);
	assert_int_equal(c->seg[S_GS].sel, DATA3);
	in = mkinsn(c, M(PUSH), 0x0e);
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(peek(0x9000, 4), CODE0);
	fake_free(c);
}

T(tables)
{
	struct cpu *c = fake_cpu();
	struct insn in;

	fake_long(c, 0);
	in = mkinsn(c, M(LTR), 0x00);
	in.rm = R_RAX;
	c->gpr[R_RAX] = SEL_TSS;
	expect_fault(c, cpu_exec(c, &in), EXC_GP, SEL_TSS);	/* busy */
	c->gpr[R_RAX] = SEL_TSS2;
	poke(GDT + SEL_TSS2 + 8, 0xffff8000, 8);
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->seg[S_TR].base, 0xffff800000000000 | TSS2);
	assert_int_equal(gdt_type(SEL_TSS2), 11);

	in = mkinsn(c, M(LGDT), 0x01);
	in.has_mem = true;
	in.disp = 0x8000;
	poke(0x8000, 0x1ff, 2);
	poke(0x8002, 0x800000000000, 8);
	expect_fault(c, cpu_exec(c, &in), EXC_GP, 0);
	poke(0x8002, 0xffff900000000000, 8);
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->gdtr.base, 0xffff900000000000);
	assert_int_equal(c->gdtr.limit, 0x1ff);

	/* UMIP */
	in = mkinsn(c, M(SIDT), 0x01);
	in.has_mem = true;
	in.disp = 0x8100;
	c->cpl = 3;
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(peek(0x8100, 2), 0xfff);
	assert_int_equal(peek(0x8102, 8), IDT);
	c->cr4 |= CR4_UMIP;
	expect_fault(c, cpu_exec(c, &in), EXC_GP, 0);
	fake_free(c);
}

T(lar_lsl)
{
	static const struct { u8 cpl; u16 mnemonic, sel; bool ok; u32 v; } row[] = {
		{ 0, M(LAR), CODE0, true, 0x00cf9b00 },
		{ 0, M(LSL), CODE0, true, 0xffffffff },
		{ 3, M(LAR), CODE0, false, 0 },
		{ 3, M(LAR), CONF0, true, 0x00cf9f00 },
		{ 0, M(LAR), DATA0 | 3, false, 0 },
		{ 0, M(LAR), 0, false, 0 },
		{ 0, M(LAR), 0x100, false, 0 },
		{ 0, M(LSL), SEL_TSS, true, 0x67 },
		{ 0, M(LSL), GATE, false, 0 },
		{ 0, M(LAR), GATE, true, 0x8c00 },
		{ 0, M(VERR), CODE0, true, 0 },
		{ 0, M(VERW), CODE0, false, 0 },
		{ 3, M(VERW), DATA3, true, 0 },
		{ 3, M(VERW), DATA_RO3, false, 0 },
		{ 0, M(VERR), SEL_LDT, false, 0 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(row); i++) {
		struct cpu *c = fake_cpu();
		struct insn in;

		fake_prot(c, row[i].cpl);
		gdt_set(GATE, mkgate(CODE0, 0x7000, 0xc, 0, 0));
		in = mkinsn(c, row[i].mnemonic, 0);
		in.rm = R_RAX;
		in.reg = R_RBX;
		c->gpr[R_RAX] = row[i].sel;
		c->rflags |= row[i].ok ? 0 : FL_ZF;
		assert_int_equal(cpu_exec(c, &in), CPU_OK);
		assert_int_equal(!!(c->rflags & FL_ZF), row[i].ok);
		assert_int_equal(c->gpr[R_RBX], row[i].ok ? row[i].v : 0);
		fake_free(c);
	}
}

T(bases)
{
	struct cpu *c = fake_cpu();
	struct insn in;

	fake_long(c, 0);
	c->kernel_gs_base = 0xffff888000000000;
	c->seg[S_GS].base = 0x1000;
	in = mkinsn(c, M(SWAPGS), 0x01);
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->seg[S_GS].base, 0xffff888000000000);
	assert_int_equal(c->kernel_gs_base, 0x1000);
	c->cpl = 3;
	expect_fault(c, cpu_exec(c, &in), EXC_GP, 0);

	in = mkinsn(c, M(WRFSBASE), 0xae);
	in.rm = R_RAX;
	in.rex_w = 1;
	c->gpr[R_RAX] = 0x800000000000;
	expect_fault(c, cpu_exec(c, &in), EXC_UD, 0);
	c->cr4 |= CR4_FSGSBASE;
	expect_fault(c, cpu_exec(c, &in), EXC_GP, 0);
	in.rex_w = 0;
	c->gpr[R_RAX] = 0x8000000012345678;
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	assert_int_equal(c->seg[S_FS].base, 0x12345678);

	in = mkinsn(c, M(RDTSC), 0x31);
	assert_int_equal(cpu_exec(c, &in), CPU_OK);
	c->cr4 |= CR4_TSD;
	expect_fault(c, cpu_exec(c, &in), EXC_GP, 0);
	fake_free(c);
}

T(reset_state)
{
	struct cpu *c = fake_cpu();

	assert_int_equal(c->rip, 0xfff0);
	assert_int_equal(c->seg[S_CS].base, 0xffff0000);
	assert_int_equal(c->seg[S_CS].sel, 0xf000);
	assert_int_equal(c->cr0, 0x60000010);
	assert_int_equal(c->rflags, 2);
	assert_int_equal(c->dr6, 0xffff0ff0);
	/* INIT keeps the cache bits and the MSRs. */
	c->cr0 = CR0_PE;
	c->lstar = 0x1234;
	cpu_reset(c, true);
	assert_int_equal(c->cr0, CR0_ET);
	assert_int_equal(c->lstar, 0x1234);
	/* The first far jump leaves the reset base. */
	cpu_load_seg_real(c, S_CS, 0xf000);
	assert_int_equal(c->seg[S_CS].base, 0xf0000);
	fake_free(c);
}
