/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/faults.c - exceptions an instruction raises: vector, error code, the
 * address that is pushed, and registers that must not have changed (APM2 8.2).
 */
/* Run: build/standin run -- build/tests/guest/guest_faults [NAME...] */
#include "tests/guest/harness/harness.h"

/* -- #DE -- */
CODE64(de_div, "mov $3000, %ecx\n mov $5, %ebx\n 1: mov $100, %eax\n xor %edx, %edx\n"
	" de_at: div %ebx\n dec %ecx\n jnz 2f\n xor %ebx, %ebx\n 2: jmp 1b\n");
LABEL(de_at);
T(div_zero, "#DE by zero in warm code leaves RAX and RDX")
{
	struct guest *g = guest_with(M_LONG, de_div);
	struct stop s = RUN_EXC(g, 0, -1);

	CHECK_EQ(s.rip, AT(de_div, de_at));
	CHECK_EQ(s.r.rax, 100);
	CHECK_EQ(s.r.rdx, 0);
	CHECK_EQ(s.r.rcx, 0);
}
CODE64(de_over, "mov $1, %edx\n xor %eax, %eax\n mov $1, %ebx\n div %ebx" DONE);
CODE64(de_idiv8, "mov $0x8000, %eax\n mov $0xff, %bl\n idiv %bl" DONE);
CODE32(de_mem, "movl $0, 0x10000\n mov $7, %eax\n cltd\n idivl 0x10000" DONE);
T(div_forms, "#DE by overflow, 8-bit, memory operand")
{
	RUN_EXC(guest_with(M_LONG, de_over), 0, -1);
	RUN_EXC(guest_with(M_LONG, de_idiv8), 0, -1);
	RUN_EXC(guest_with(M_PM32, de_mem), 0, -1);
}
CODE32(aam0, "mov $0x1234, %eax\n .byte 0xd4, 0" DONE);
T(aam, "AAM 0 is #DE") { struct stop s = run(guest_with(M_PM32, aam0)); CHECK_EXC(s, 0, -1); }

/* -- #UD -- */
CODE64(ud2, "nop\n ud2\n nop" DONE);
CODE64(ud_lock, "lock; mov %eax, (%rdi)" DONE);
CODE64(ud_lock_reg, ".byte 0xf0, 0x01, 0xc0" DONE);		/* lock add eax, eax */
CODE64(ud_push_es, ".byte 0x06" DONE);
CODE64(ud_aas, ".byte 0x3f" DONE);
CODE64(ud_movcs, ".byte 0x8e, 0xc8" DONE);			/* mov cs, eax */
CODE64(ud_lea, ".byte 0x8d, 0xc0" DONE);			/* lea eax, eax */
CODE64(ud_cr1, ".byte 0x0f, 0x20, 0xc8" DONE);			/* mov rax, cr1 */
CODE64(ud_ff7, ".byte 0xff, 0xf8" DONE);			/* ff /7 */
CODE64(ud_rsm, "rsm" DONE);
CODE64(ud_ud0, ".byte 0x0f, 0xff, 0xc0" DONE);
T(ud, "#UD of invalid encodings")
{
	static const struct { const u8 *p; u64 n; u32 off; const char *name; } rows[] = {
		{ ud2_b, 0, 1, "ud2" }, { ud_lock_b, 0, 0, "lock mov" },
		{ ud_lock_reg_b, 0, 0, "lock on a register" }, { ud_push_es_b, 0, 0, "push es" },
		{ ud_aas_b, 0, 0, "aas" }, { ud_movcs_b, 0, 0, "mov cs" },
		{ ud_lea_b, 0, 0, "lea" },
		{ ud_cr1_b, 0, 0, "cr1" }, { ud_ff7_b, 0, 0, "ff /7" }, { ud_rsm_b, 0, 0, "rsm" },
		{ ud_ud0_b, 0, 0, "ud0" },
	};

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_with_code(M_LONG, rows[i].p, 16);
		struct stop s = run(g);

		if (s.kind != ST_EXC || s.vec != 6 || s.rip != G_CODE + rows[i].off)
			test_fail(__FILE__, __LINE__, "%s: %s", rows[i].name, stop_text(&s));
		guest_free(g);
	}
}
T(too_long, "more than 15 bytes are #GP(0)")
{
	u8 code[20];
	struct guest *g;
	struct stop s;

	memset(code, 0x66, sizeof(code));
	code[15] = 0x90;
	g = guest_with_code(M_LONG, code, sizeof(code));
	s = RUN_EXC(g, 13, 0);
	CHECK_EQ(s.rip, G_CODE);
}

/* -- software interrupts -- */
CODE64(int3, "nop\n int3\n nop" DONE);
CODE64(int_n, "nop\n int $0x81\n nop" DONE);
CODE32(into, "mov $0x7fffffff, %eax\n add $1, %eax\n into\n nop" DONE);
CODE32(into_not, "xor %eax, %eax\n into" DONE);
CODE32(bound, "movl $5, 0x10000\n movl $9, 0x10004\n mov $3, %eax\n bound_at: bound %eax, 0x10000"
       DONE);
LABEL(bound_at);
T(soft, "INT3, INT n and INTO push the next address; BOUND its own")
{
	struct stop s = RUN_EXC(guest_with(M_LONG, int3), 3, -1);

	CHECK_EQ(s.rip, G_CODE + 2);
	s = RUN_EXC(guest_with(M_LONG, int_n), 0x81, -1);
	CHECK_EQ(s.rip, G_CODE + 3);
	CHECK_EQ(s.cs, SEL_CODE64);
	CHECK_EQ(s.ss, SEL_DATA);
	s = RUN_EXC(guest_with(M_PM32, into), 4, -1);
	CHECK_EQ(s.rip, G_CODE + LEN(into) - 3);
	s = RUN_TO(guest_with(M_PM32, into_not), ST_DONE);
	s = RUN_EXC(guest_with(M_PM32, bound), 5, -1);
	CHECK_EQ(s.rip, AT(bound, bound_at));
}
static void int_dpl(enum mode m)
{
	struct guest *g = m == M_LONG ? guest_with(m, int_n) : guest_with(m, int_n);
	struct stop s;

	cpu_ring3(cpu0(g), G_CODE);
	s = RUN_EXC(g, 13, 0x81 * 8 + 2);
	CHECK_EQ(s.rip, G_CODE + 1);
	CHECK(s.outer);
	CHECK_EQ(s.sp, G_STACK3);
	CHECK_EQ(s.ss, SEL_UDATA);
}
T(int_dpl64, "INT n through a DPL 0 gate from ring 3 is #GP(n*8+2)") { int_dpl(M_LONG); }
T(int_dpl32, "the same in 32-bit mode") { int_dpl(M_PG32); }

/* -- #GP and #SS of addresses -- */
CODE64(nc_read, "mov (%rdi), %eax" DONE);
CODE64(nc_stack, "mov %rdi, %rsp\n nc_push: push %rax" DONE);
CODE64(nc_bp, "mov %rdi, %rbp\n mov 8(%rbp), %eax" DONE);
CODE64(nc_jmp, "jmp *%rdi" DONE);
T(noncanonical, "non-canonical data is #GP(0), through RSP or RBP #SS(0)")
{
	static const struct { const u8 *p; u64 n; int vec; } rows[] = {
		{ nc_read_b, 16, 13 }, { nc_stack_b, 16, 12 }, { nc_bp_b, 16, 12 },
		{ nc_jmp_b, 16, 13 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_with_code(M_LONG, rows[i].p, (u32)rows[i].n);
		struct stop s;

		/* A stack that is no address needs IST to deliver its fault. */
		for (u32 v = 12; v <= 13; v++)
			guest_gate(g, (u8)v, SEL_CODE64, G_STUBS + v * 16, 0xe, 0, 1);
		WITH_REGS(cpu0(g), r)
			r.rdi = 0x8000000000000000;
		s = run(g);
		if (s.kind != ST_EXC || s.vec != rows[i].vec || s.err)
			test_fail(__FILE__, __LINE__, "row %u: %s", i, stop_text(&s));
		guest_free(g);
	}
}
CODE64(sse_mis, "mov $3000, %ecx\n mov $0x10000, %edi\n 1: movaps (%rdi), %xmm0\n dec %ecx\n"
	" jnz 1b\n"
	" inc %edi\n inc %ecx\n jmp 1b\n");
T(sse_align, "a misaligned SSE operand is #GP(0), MOVUPS is not")
{
	struct stop s = RUN_EXC(guest_with(M_LONG, sse_mis), 13, 0);

	CHECK_EQ(s.r.rdi, 0x10001);
}
CODE64(cx16_mis, "mov $0x10008, %edi\n cmpxchg16b (%rdi)" DONE);
T(cx16, "misaligned CMPXCHG16B is #GP(0)")
{
	RUN_EXC(guest_with(M_LONG, cx16_mis), 13, 0);
}

/* -- privilege -- */
CODE64(priv_hlt, "hlt" DONE);
CODE64(priv_cli, "cli" DONE);
CODE64(priv_out, "out %al, $0x80" DONE);
CODE64(priv_cr, "mov %cr0, %rax" DONE);
CODE64(priv_wrmsr, "wrmsr" DONE);
CODE64(priv_lgdt, "lgdt (%rdi)" DONE);
CODE64(priv_invlpg, "invlpg (%rdi)" DONE);
CODE64(priv_ltr, "ltr %ax" DONE);
CODE64(priv_wbinvd, "wbinvd" DONE);
CODE64(priv_dr, "mov %dr7, %rax" DONE);
T(privileged, "privileged instructions in ring 3 are #GP(0)")
{
	static const u8 *const rows[] = {
		priv_hlt_b, priv_cli_b, priv_out_b, priv_cr_b, priv_wrmsr_b, priv_lgdt_b,
		priv_invlpg_b, priv_ltr_b, priv_wbinvd_b, priv_dr_b,
	};

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_with_code(M_LONG, rows[i], 16);
		struct stop s;

		cpu_ring3(cpu0(g), G_CODE);
		s = run(g);
		if (s.kind != ST_EXC || s.vec != 13 || s.err || s.rip != G_CODE)
			test_fail(__FILE__, __LINE__, "row %u: %s", i, stop_text(&s));
		guest_free(g);
	}
}
CODE64(cpuid_fault, "xor %eax, %eax\n cpuid" DONE3);
T(cpuid_faulting, "MISC_FEATURES_ENABLES.CPUID_FAULT: CPUID in ring 3 is #GP(0), not in ring 0")
{
	struct guest *g = guest_with(M_LONG, cpuid_fault);
	struct stop s;

	/* Guests find the ability in PLATFORM_INFO. */
	CHECK_EQ(cpu_msr(cpu0(g), 0xce) >> 31 & 1, 1);
	cpu_set_msr(cpu0(g), 0x140, 1);
	s = RUN_EXC(g, VEC_DONE3, -1);
	WITH_REGS(cpu0(g), r) {
		r.rax = r.rbx = 0;
	}
	cpu_ring3(cpu0(g), G_CODE);
	s = RUN_EXC(g, 13, 0);
	CHECK_EQ(s.rip, G_CODE + 2);
	CHECK_EQ(s.r.rbx, 0);
	cpu_set_msr(cpu0(g), 0x140, 0);
	cpu_ring3(cpu0(g), G_CODE);
	s = RUN_EXC(g, VEC_DONE3, -1);
	guest_free(g);
}
CODE64(umip_sgdt, "sgdt (%rdi)" DONE3);
T(umip, "SGDT in ring 3: allowed, with CR4.UMIP #GP(0)")
{
	struct guest *g = guest_with(M_LONG, umip_sgdt);

	if (!guest_has(g, 7, 2, 2))
		test_skip("no UMIP");
	cpu_ring3(cpu0(g), G_CODE);
	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	RUN_EXC(g, VEC_DONE3, -1);
	CHECK_EQ(*g16(g, G_DATA), GDT_BYTES - 1);
	CHECK_EQ(*g64(g, G_DATA + 2), G_GDT);
	guest_free(g);
	g = guest_with(M_LONG, umip_sgdt);
	cpu_ring3(cpu0(g), G_CODE);
	WITH_SREGS(cpu0(g), sr)
		sr.cr4 |= 1u << 11;
	RUN_EXC(g, 13, 0);
}

/* -- #NM, #MF, #XF -- */
CODE64(nm_x87, "fld1" DONE);
CODE64(nm_sse, "addps %xmm1, %xmm0" DONE);
CODE64(nm_clts, "clts\n fld1\n addps %xmm1, %xmm0" DONE);
CODE64(nm_wait, "fwait" DONE);
static struct stop with_cr0(const u8 *p, u64 bits, u64 cr4_off)
{
	struct guest *g = guest_with_code(M_LONG, p, 16);

	WITH_SREGS(cpu0(g), sr) {
		sr.cr0 = (sr.cr0 & ~14ull) | bits;
		sr.cr4 &= ~cr4_off;
	}
	return run(g);
}
T(nm, "CR0.TS, EM and MP against x87, SSE and WAIT")
{
	struct stop s = with_cr0(nm_x87_b, 8, 0);

	CHECK_EXC(s, 7, -1);
	CHECK_EQ(s.rip, G_CODE);
	s = with_cr0(nm_x87_b, 4, 0);
	CHECK_EXC(s, 7, -1);
	s = with_cr0(nm_sse_b, 8, 0);
	CHECK_EXC(s, 7, -1);
	s = with_cr0(nm_sse_b, 4, 0);
	CHECK_EXC(s, 6, -1);
	s = with_cr0(nm_sse_b, 2, 0x200);	/* no OSFXSR */
	CHECK_EXC(s, 6, -1);
	s = with_cr0(nm_wait_b, 8, 0);
	CHECK_STOP(s, ST_DONE);
	s = with_cr0(nm_wait_b, 8 | 2, 0);
	CHECK_EXC(s, 7, -1);
	s = with_cr0(nm_clts_b, 8, 0);
	CHECK_STOP(s, ST_DONE);
}
CODE64(nm_warm, "mov $3000, %ecx\n 1: addps %xmm1, %xmm0\n fldz\n fstp %st(0)\n dec %ecx\n jnz 1b\n"
	" mov %cr0, %rax\n or $8, %al\n mov %rax, %cr0\n inc %ecx\n jmp 1b");
T(nm_warm, "CR0.TS set under warm vector code")
{
	struct stop s = RUN_EXC(guest_with(M_LONG, nm_warm), 7, -1);

	CHECK_EQ(s.r.rcx, 1);
}
CODE64(mf, "fninit\n movw $0x37b, (%rdi)\n fldcw (%rdi)\n fld1\n fldz\n .byte 0xde, 0xf9\n"
	" mov $1, %eax\n mf_next: fld1" DONE);
LABEL(mf_next);
static struct guest *with_ne(struct guest *g)
{
	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	WITH_SREGS(cpu0(g), sr)
		sr.cr0 |= 0x20;
	return g;
}
T(mf, "#MF comes with the next waiting x87 instruction")
{
	struct stop s = RUN_EXC(with_ne(guest_with(M_LONG, mf)), 16, -1);

	CHECK_EQ(s.rip, AT(mf, mf_next));
	CHECK_EQ(s.r.rax, 1);
}
#define MF_PENDING "fninit\n movw $0x37b, (%rdi)\n fldcw (%rdi)\n fld1\n fldz\n" \
	" .byte 0xde, 0xf9\n mov $0x80000000, %esi\n mov %esi, %esi\n"
CODE64(mf_mem, MF_PENDING "mf_at: fldl (%rsi)" DONE);
CODE64(mf_not, MF_PENDING "mf_at2: fnstcw (%rsi)" DONE);
LABEL(mf_at);
LABEL(mf_at2);
T(mf_mem, "and before that instruction's page fault, unless it does not wait")
{
	struct guest *g = with_ne(guest_with(M_LONG, mf_mem));
	struct stop s = RUN_EXC(g, 16, -1);

	CHECK_EQ(s.rip, AT(mf_mem, mf_at));
	guest_free(g);
	g = with_ne(guest_with(M_LONG, mf_not));
	s = RUN_EXC(g, 14, -1);
	CHECK_EQ(s.rip, AT(mf_not, mf_at2));
}
CODE64(xf, "movl $0x1d80, (%rdi)\n ldmxcsr (%rdi)\n xorps %xmm1, %xmm1\n movaps %xmm0, %xmm2\n"
	" xf_at: divss %xmm1, %xmm0" DONE);
LABEL(xf_at);
static struct stop xf_run(u64 cr4_off)
{
	struct guest *g = guest_with(M_LONG, xf);

	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	WITH_SREGS(cpu0(g), sr)
		sr.cr4 &= ~cr4_off;
	*g32(g, G_DATA + 4) = 0;
	return run(g);
}
CODE64(xf_one, "movl $0x1d80, (%rdi)\n ldmxcsr (%rdi)\n movl $0x3f800000, (%rdi)\n"
	" movss (%rdi), %xmm0\n"
	" xorps %xmm1, %xmm1\n xf1_at: divss %xmm1, %xmm0" DONE);
LABEL(xf1_at);
T(xf, "an unmasked SSE exception is #XF, without OSXMMEXCPT #UD")
{
	struct guest *g = guest_with(M_LONG, xf_one);
	struct stop s;

	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	s = RUN_EXC(g, 19, -1);
	CHECK_EQ(s.rip, AT(xf_one, xf1_at));
	guest_free(g);
	g = guest_with(M_LONG, xf_one);
	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	WITH_SREGS(cpu0(g), sr)
		sr.cr4 &= ~0x400ull;
	s = RUN_EXC(g, 6, -1);
	/* 0/0 is an invalid operation, masked here: no fault. */
	s = xf_run(0);
	CHECK_STOP(s, ST_DONE);
}
CODE64(ac, "mov 1(%rdi), %eax" DONE3);
static struct guest *ac_guest(enum mode m, const u8 *p, u32 n, bool am, bool ac)
{
	struct guest *g = guest_with_code(m, p, n);

	cpu_ring3(cpu0(g), G_CODE);
	WITH_SREGS(cpu0(g), sr)
		sr.cr0 = (sr.cr0 & ~BIT64(18)) | (am ? BIT64(18) : 0);
	WITH_REGS(cpu0(g), r) {
		r.rdi = G_DATA;
		r.rsi = G_DATA + 0x100;
		r.rflags |= ac ? 1u << 18 : 0;
	}
	return g;
}
#define AC_GUEST(m, snip, am, ac) ac_guest(m, snip##_b, (u32)LEN(snip), am, ac)
T(ac, "misaligned data with AM and AC in ring 3 is #AC(0)")
{
	struct guest *g = AC_GUEST(M_LONG, ac, true, true);
	struct stop s = RUN_EXC(g, 17, 0);

	CHECK_EQ(s.rip, G_CODE);
	guest_free(g);
	g = AC_GUEST(M_LONG, ac, true, false);
	s = RUN_EXC(g, VEC_DONE3, -1);
	guest_free(g);
	g = AC_GUEST(M_LONG, ac, false, true);
	s = RUN_EXC(g, VEC_DONE3, -1);
}
CODE64(ac_ring0, "mov 1(%rdi), %eax" DONE);
T(ac_ring0, "and in ring 0 nothing")
{
	struct guest *g = guest_with(M_LONG, ac_ring0);

	WITH_SREGS(cpu0(g), sr)
		sr.cr0 |= BIT64(18);
	WITH_REGS(cpu0(g), r) {
		r.rdi = G_DATA;
		r.rflags |= 1u << 18;
	}
	RUN_TO(g, ST_DONE);
}
/* As an AMD CPU does it, measured: frames by the size of their numbers, FXSAVE and FXRSTOR at what
 * is no multiple of four, else #GP; XSAVE #GP always. */
CODE64(ac_lretq, "lea 1f(%rip), %rax\n mov %cs, %ecx\n mov %rdi, %rsp\n pushfq\n"
       " andl $~0x40000, (%rsp)\n popfq\n"
       "mov %rax, (%rsi)\n mov %rcx, 8(%rsi)\n pushfq\n orl $0x40000, (%rsp)\n popfq\n"
       " mov %rsi, %rsp\n"
       "acf_lretq: lretq\n 1: mov %rdi, %rsp" DONE3);
CODE64(ac_lretl, "lea 1f(%rip), %eax\n mov %cs, %ecx\n mov %rdi, %rsp\n pushfq\n"
       " andl $~0x40000, (%rsp)\n popfq\n"
       "mov %eax, (%rsi)\n mov %ecx, 4(%rsi)\n pushfq\n orl $0x40000, (%rsp)\n popfq\n"
       " mov %rsi, %rsp\n"
       "acf_lretl: lret\n 1: mov %rdi, %rsp" DONE3);
CODE64(ac_iretq, "lea 1f(%rip), %rax\n mov %cs, %ecx\n mov %ss, %edx\n mov %rdi, %rsp\n pushfq\n"
       "andl $~0x40000, (%rsp)\n popfq\n mov %rax, (%rsi)\n mov %rcx, 8(%rsi)\n"
       " movq $0x202, 16(%rsi)\n"
       "mov %rdi, 24(%rsi)\n mov %rdx, 32(%rsi)\n pushfq\n orl $0x40000, (%rsp)\n popfq\n"
       " mov %rsi, %rsp\n"
       "acf_iretq: iretq\n 1:" DONE3);
CODE64(ac_lcall, "lea 1f(%rip), %eax\n mov %cs, %ecx\n mov %eax, (%rdi)\n mov %ecx, 4(%rdi)\n"
       " mov %rsi, %rsp\n"
       "acf_lcall: lcall *(%rdi)\n 1: lea 0x800(%rdi), %rsp" DONE3);
CODE64(ac_fxsave, "acf_fxsave: fxsave (%rsi)" DONE3);
CODE64(ac_fxrstor, "acf_fxrstor: fxrstor (%rsi)" DONE3);
LABEL(acf_lretq);
LABEL(acf_lretl);
LABEL(acf_iretq);
LABEL(acf_lcall);
LABEL(acf_fxsave);
LABEL(acf_fxrstor);
T(ac_frames,
  "#AC in the frames of far calls, far returns and IRET in ring 3, and of FXSAVE and FXRSTOR")
{
#define F(n, ac, gp) { ac_##n##_b, ac_##n##_e, acf_##n, ac, gp }
	static const struct {
		const u8 *p, *e, *at;
		u8 ac, gp;	/* address bits that may not be set */
	} f[] = { F(lretq, 7, 0), F(lretl, 3, 0),   F(iretq, 7, 0),
		  F(lcall, 3, 0), F(fxsave, 3, 15), F(fxrstor, 3, 15) };
#undef F

	for (u32 i = 0; i < ARRAY_SIZE(f); i++)
		for (u32 off = 0; off <= 16; off++) {
			struct guest *g =
				ac_guest(M_LONG, f[i].p, (u32)(f[i].e - f[i].p), true, true);
			u64 at = G_CODE + (u64)(f[i].at - f[i].p);
			struct stop s;

			WITH_SREGS(cpu0(g), sr)
				sr.cr4 |= 1u << 9;
			WITH_REGS(cpu0(g), r) {
				r.rdi = G_DATA + 0x800;
				r.rsi = G_DATA + 0x100 + off;
			}
			s = run(g);
			if (off & f[i].ac)
				CHECK_EXC(s, 17, 0);
			else if (off & f[i].gp)
				CHECK_EXC(s, 13, 0);
			else
				CHECK_EXC(s, VEC_DONE3, -1);
			if (off & (f[i].ac | f[i].gp))
				CHECK_EQ(s.rip, at);
			guest_free(g);
		}
}
CODE64(ac_a8, "mov 1(%rdi), %al\n movzbl 3(%rdi), %eax" DONE3);
CODE64(ac_a16, "mov 2(%rdi), %ax\n pushw %ax\n popw %ax" DONE3);
CODE64(ac_a64, "push %rax\n pop %rax\n mov 8(%rdi), %rax\n cmpxchg8b 16(%rdi)" DONE3);
CODE64(ac_a_ld, "fldt 8(%rdi)\n fstpt 24(%rdi)\n fnstenv 36(%rdi)\n fldenv 36(%rdi)" DONE3);
CODE64(ac_a_rep, "lea 1(%rdi), %rdi\n mov $9, %ecx\n rep movsb" DONE3);
CODE64(ac_a_repq, "mov $9, %ecx\n rep movsq\n rep stosl" DONE3);
CODE64(ac_a_rep0, "lea 1(%rdi), %rdi\n xor %ecx, %ecx\n rep movsq" DONE3);
CODE64(ac_a_lea, "lea 1(%rdi), %rax\n nopl 1(%rdi)\n prefetcht0 1(%rdi)" DONE3);
CODE64(ac_a_abs, "mov 0x10004, %eax" DONE3);
CODE64(ac_m16, "mov 1(%rdi), %ax" DONE3);
CODE64(ac_m64, "mov 4(%rdi), %rax" DONE3);
CODE64(ac_m_st, "mov %eax, 2(%rdi)" DONE3);
CODE64(ac_m_rmw, "addl $1, 2(%rdi)" DONE3);
CODE64(ac_m_lock, "lock; incq 4(%rdi)" DONE3);
CODE64(ac_m_cx8, "cmpxchg8b 4(%rdi)" DONE3);
CODE64(ac_m_bt, "bt %rax, 4(%rdi)" DONE3);
CODE64(ac_m_sse, "movss 1(%rdi), %xmm0" DONE3);
CODE64(ac_m_sd, "movsd 4(%rdi), %xmm0" DONE3);
CODE64(ac_m_ups, "movups 8(%rdi), %xmm0" DONE3);
CODE64(ac_m_ld, "fldt 4(%rdi)" DONE3);
CODE64(ac_m_env, "fnstenv 2(%rdi)" DONE3);
CODE64(ac_m_movs, "inc %rsi\n ac_at1: movsl" DONE3);
CODE64(ac_m_stos, "inc %rdi\n mov $4, %ecx\n rep stosl" DONE3);
CODE64(ac_m_cmps, "inc %rdi\n cmpsw" DONE3);
CODE64(ac_m_abs, "mov 0x10001, %eax" DONE3);
CODE64(ac_m_cross, "mov 4094(%rdi), %eax" DONE3);
CODE64(ac_m_sreg, "mov 1(%rdi), %ds" DONE3);
CODE64(ac_m_jmp, "jmp *1(%rdi)" DONE3);
CODE64(ac_m_unmapped, "mov $0x40000001, %edi\n mov (%rdi), %eax" DONE3);
CODE64(ac_m_push, "lea 0x204(%rdi), %rsp\n push %rax" DONE3);
CODE64(ac_m_pop, "lea 0x204(%rdi), %rsp\n pop %rax" DONE3);
CODE64(ac_m_pushf, "lea 0x204(%rdi), %rsp\n pushf" DONE3);
CODE64(ac_m_call, "lea 0x204(%rdi), %rsp\n call 1f\n 1:" DONE3);
CODE64(ac_m_enter, "lea 0x204(%rdi), %rsp\n enter $0, $0" DONE3);
CODE64(ac_nc, "bts $63, %rdi\n mov 1(%rdi), %eax" DONE3);
CODE64(ac_aps, "movaps 8(%rdi), %xmm0" DONE3);
T(ac_kinds, "which types are checked, and what comes first")
{
#define ROW(name, vec, e) { #name, name##_b, name##_e, vec, e }
	static const struct {
		const char *name;
		const u8 *b, *e;
		int vec, err;
	} rows[] = {
		ROW(ac_a8, VEC_DONE3, -1),
		ROW(ac_a16, VEC_DONE3, -1),
		ROW(ac_a64, VEC_DONE3, -1),
		ROW(ac_a_ld, VEC_DONE3, -1),
		ROW(ac_a_rep, VEC_DONE3, -1),
		ROW(ac_a_repq, VEC_DONE3, -1),
		ROW(ac_a_rep0, VEC_DONE3, -1),
		ROW(ac_a_lea, VEC_DONE3, -1),
		ROW(ac_a_abs, VEC_DONE3, -1),
		ROW(ac_m16, 17, 0),
		ROW(ac_m64, 17, 0),
		ROW(ac_m_st, 17, 0),
		ROW(ac_m_rmw, 17, 0),
		ROW(ac_m_lock, 17, 0),
		ROW(ac_m_cx8, 17, 0),
		ROW(ac_m_bt, 17, 0),
		ROW(ac_m_sse, 17, 0),
		ROW(ac_m_sd, 17, 0),
		ROW(ac_m_ups, 17, 0),
		ROW(ac_m_ld, 17, 0),
		ROW(ac_m_env, 17, 0),
		ROW(ac_m_movs, 17, 0),
		ROW(ac_m_stos, 17, 0),
		ROW(ac_m_cmps, 17, 0),
		ROW(ac_m_abs, 17, 0),
		ROW(ac_m_cross, 17, 0),
		ROW(ac_m_sreg, 17, 0),
		ROW(ac_m_jmp, 17, 0),
		ROW(ac_m_unmapped, 17, 0),
		ROW(ac_m_push, 17, 0),
		ROW(ac_m_pop, 17, 0),
		ROW(ac_m_pushf, 17, 0),
		ROW(ac_m_call, 17, 0),
		ROW(ac_m_enter, 17, 0),
		ROW(ac_nc, 13, 0),
		ROW(ac_aps, 13, 0),
	};

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g =
			ac_guest(M_LONG, rows[i].b, (u32)(rows[i].e - rows[i].b), true, true);
		struct stop s = run(g);

		if (s.kind != ST_EXC || s.vec != rows[i].vec || (rows[i].err >= 0 && s.err))
			test_fail(__FILE__, __LINE__, "%s: %s", rows[i].name, stop_text(&s));
		guest_free(g);
	}
}
CODE64(ac_warm, "mov $3000, %ecx\n xor %ebx, %ebx\n 1: mov (%rdi), %eax\n add 4(%rdi), %eax\n"
	" movq $7, 8(%rdi)\n stc\n adc $0, %ebx\n ac_w: mov (%rdi), %edx\n dec %ecx\n jnz 1b\n"
	" pushf\n orl $0x40000, (%rsp)\n popf\n inc %ecx\n test $1, %dil\n jnz 1b\n"
	" stc\n ac_pre: mov %ebx, 12(%rdi)\n adc $0, %ebx\n inc %rdi\n jmp 1b\n");
T(ac_popf, "POPF switches it on under warm code, flags survive the checks")
{
	struct guest *g = AC_GUEST(M_LONG, ac_warm, true, false);
	struct stop s = RUN_EXC(g, 17, 0);

	CHECK_EQ(s.r.rdi, G_DATA + 1);
	CHECK_EQ(s.r.rbx, 3001);
	CHECK_EQ(s.r.rcx, 1);
	CHECK_EQ(*g32(g, G_DATA + 12), 3000);
}
CODE32(ac32, "mov (%edi), %eax\n mov %ds, %ecx\n push %ecx\n pop %es\n"
	     " ac32_at: mov %es:2(%edi), %eax" DONE3);
LABEL(ac32_at);
T(ac32, "the same in 32-bit code")
{
	struct guest *g = AC_GUEST(M_PG32, ac32, true, true);
	struct stop s = RUN_EXC(g, 17, 0);

	CHECK_EQ(s.rip, AT(ac32, ac32_at));
}

/* No table of jump targets may take a number for an address because of what it adds to it. */
CODE64(far_off, "1: jmp *%rax");
T(jump_nowhere, "an indirect jump to any multiple of 2^48, or that far from code, is #GP")
{
	static const u64 places[] = { 0, G_CODE, 0x300000 };
	struct guest *g = guest_with(M_LONG, far_off);
	struct stop s;

	for (u64 k = 1; k < 0x10000; k += k < 300 || k >= 0xff00 ? 1 : 16)
		for (u32 i = 0; i < ARRAY_SIZE(places); i++) {
			WITH_REGS(cpu0(g), r) {
				r.rip = G_CODE;
				r.rsp = G_STACK;
				r.rax = (k << 48) + places[i];
			}
			s = run(g);
			if (s.kind != ST_EXC || s.vec != 13) {
				test_fail(__FILE__, __LINE__, "to %llx: %s",
					  (unsigned long long)((k << 48) + places[i]),
					  stop_text(&s));
				return;
			}
		}
}
