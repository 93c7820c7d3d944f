/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/svm_intercepts.c - instruction, control register and exception intercepts: exit
 * codes, RIP, nRIP, and what comes first (APM2 15.7 to 15.14; docs/kvm-svm.md 4.9).
 */
/* Run: build/standin run -- build/tests/guest/guest_svm_intercepts [NAME...] */
#include "tests/guest/harness/svm.h"

/*
 * One instruction between `a` and `b`, then VMMCALL. Without the intercept L2 reaches VMMCALL
 * or, for what cannot go on, is not run.
 */
#define INSN(id, setup, text) CODE64(id, setup "\n" #id "_a: " text "\n" #id "_b2: vmmcall"); \
	LABEL(id##_a); LABEL(id##_b2)
INSN(cr0r, "", "mov %cr0, %rbx");
INSN(cr2r, "", "mov %cr2, %rbx");
INSN(cr3r, "", "mov %cr3, %r9");
INSN(cr4r, "", "mov %cr4, %rbx");
INSN(cr8r, "", "mov %cr8, %rbx");
INSN(cr0w, "mov %cr0, %rbx", "mov %rbx, %cr0");
INSN(cr2w, "", "mov %rbx, %cr2");
INSN(cr3w, "mov %cr3, %rbx", "mov %rbx, %cr3");
INSN(cr4w, "mov %cr4, %rbx", "mov %rbx, %cr4");
INSN(cr8w, "xor %ebx, %ebx", "mov %rbx, %cr8");
INSN(clts, "", "clts");
INSN(smsw, "", "smsw %bx");
INSN(lmsw, "smsw %bx", "lmsw %bx");
INSN(dr0r, "", "mov %db0, %rbx");
INSN(dr6r, "", "mov %db6, %rbx");
INSN(dr7r, "", "mov %db7, %rbx");
INSN(dr3w, "xor %ebx, %ebx", "mov %rbx, %db3");
INSN(dr7w, "mov $0x400, %ebx", "mov %rbx, %db7");
INSN(sidt, "mov $0x10000, %ebx", "sidt (%rbx)");
INSN(sgdt, "mov $0x10000, %ebx", "sgdt (%rbx)");
INSN(sldt, "", "sldt %ebx");
INSN(str, "", "str %ebx");
INSN(lidt, "mov $0x10000, %ebx\n sidt (%rbx)", "lidt (%rbx)");
INSN(lgdt, "mov $0x10000, %ebx\n sgdt (%rbx)", "lgdt (%rbx)");
INSN(lldt, "xor %ebx, %ebx", "lldt %bx");
INSN(ltr, "mov $0x1048, %ebx\n andb $0xfd, 5(%rbx)\n mov $0x48, %ebx", "ltr %bx");
INSN(rdtsc, "", "rdtsc");
INSN(rdtscp, "", "rdtscp");
INSN(pushf, "", "pushfq");
INSN(popf, "push $2", "popfq");
INSN(cpuid, "xor %eax, %eax", "cpuid");
INSN(iret, "mov %rsp, %rbx\n mov %ss, %ecx\n push %rcx\n push %rbx\n push $2\n mov %cs, %ecx\n"
	"push %rcx\n lea iret_b2(%rip), %rcx\n push %rcx", "iretq");
INSN(intn, "", "int $0x80");
INSN(invd, "", "invd");
INSN(wbinvd, "", "wbinvd");
INSN(hlt, "", "hlt");
INSN(pause, "", "pause");
INSN(invlpg, "", "invlpg (%rbx)");
INSN(invlpga, "mov $0x10000, %eax\n mov $1, %ecx", "invlpga");
INSN(vmrun, "", "vmrun %rax");
INSN(vmload, "mov $0x401000, %eax\n vmsave %rax", "vmload %rax");
INSN(vmsave, "mov $0x401000, %eax", "vmsave %rax");
INSN(stgi, "", "stgi");
INSN(clgi, "", "clgi");
INSN(icebp, "", ".byte 0xf1");
INSN(monitor, "mov $0x10000, %eax\n xor %ecx, %ecx\n xor %edx, %edx", "monitor");
INSN(mwait, "xor %eax, %eax\n xor %ecx, %ecx", "mwait");
INSN(xsetbv, "mov %cr4, %rax\n or $0x40000, %eax\n mov %rax, %cr4\n xor %ecx, %ecx\n"
	"xgetbv", "xsetbv");
INSN(invpcid, "mov $0x10000, %ebx\n movq $0, (%rbx)\n movq $0, 8(%rbx)\n"
	"mov $2, %eax", "invpcid (%rbx), %rax");
INSN(rsm, "", "rsm");
INSN(rdpmc, "xor %ecx, %ecx", "rdpmc");

enum { NO_FREE = 1 /* does not go on without the intercept */ };
static const struct row {
	const char *name;
	const u8 *b, *e, *a, *n;
	u32 number, flags;
	u64 info1, info2;
} rows[] = {
#define ROW(id, num, fl, ...) { .name = #id, .b = id##_b, .e = id##_e, .a = id##_a, \
	.n = id##_b2, .number = num, .flags = fl, ##__VA_ARGS__ }
	ROW(cr0r, SVM_I_CR_READ + 0, 0),
	ROW(cr2r, SVM_I_CR_READ + 2, 0),
	ROW(cr3r, SVM_I_CR_READ + 3, 0),
	ROW(cr4r, SVM_I_CR_READ + 4, 0),
	ROW(cr8r, SVM_I_CR_READ + 8, 0),
	ROW(cr0w, SVM_I_CR_WRITE + 0, 0),
	ROW(cr2w, SVM_I_CR_WRITE + 2, 0),
	ROW(cr3w, SVM_I_CR_WRITE + 3, 0),
	ROW(cr4w, SVM_I_CR_WRITE + 4, 0),
	ROW(cr8w, SVM_I_CR_WRITE + 8, 0),
	ROW(clts, SVM_I_CR_WRITE + 0, 0),
	ROW(smsw, SVM_I_CR_READ + 0, 0),
	ROW(lmsw, SVM_I_CR_WRITE + 0, 0),
	ROW(dr0r, SVM_I_DR_READ + 0, 0),
	ROW(dr6r, SVM_I_DR_READ + 6, 0),
	ROW(dr7r, SVM_I_DR_READ + 7, 0),
	ROW(dr3w, SVM_I_DR_WRITE + 3, 0),
	ROW(dr7w, SVM_I_DR_WRITE + 7, 0),
	ROW(sidt, SVM_I_SIDT, 0),
	ROW(sgdt, SVM_I_SGDT, 0),
	ROW(sldt, SVM_I_SLDT, 0),
	ROW(str, SVM_I_STR, 0),
	ROW(lidt, SVM_I_LIDT, 0),
	ROW(lgdt, SVM_I_LGDT, 0),
	ROW(lldt, SVM_I_LLDT, 0),
	ROW(ltr, SVM_I_LTR, 0),
	ROW(rdtsc, SVM_I_RDTSC, 0),
	ROW(rdtscp, SVM_I_RDTSCP, 0),
	ROW(pushf, SVM_I_PUSHF, 0),
	ROW(popf, SVM_I_POPF, 0),
	ROW(cpuid, SVM_I_CPUID, 0),
	ROW(iret, SVM_I_IRET, 0),
	ROW(intn, SVM_I_INTN, NO_FREE),
	ROW(invd, SVM_I_INVD, 0),
	ROW(wbinvd, SVM_I_WBINVD, 0),
	ROW(hlt, SVM_I_HLT, NO_FREE),
	ROW(pause, SVM_I_PAUSE, 0),
	ROW(invlpg, SVM_I_INVLPG, 0),
	ROW(invlpga, SVM_I_INVLPGA, 0),
	ROW(vmrun, SVM_I_VMRUN, NO_FREE),
	ROW(vmload, SVM_I_VMLOAD, 0),
	ROW(vmsave, SVM_I_VMSAVE, 0),
	ROW(stgi, SVM_I_STGI, 0),
	ROW(clgi, SVM_I_CLGI, 0),
	ROW(icebp, SVM_I_ICEBP, NO_FREE),
	ROW(monitor, SVM_I_MONITOR, 0),
	ROW(mwait, SVM_I_MWAIT, 0),
	ROW(xsetbv, SVM_I_XSETBV, 0),
	/* The descriptor's linear address and the type. */
	ROW(invpcid, SVM_I_INVPCID, 0, .info1 = 0x10000, .info2 = 2),
	ROW(rsm, SVM_I_RSM, NO_FREE),
	ROW(rdpmc, SVM_I_RDPMC, 0),
};

static struct svm_guest start(const struct row *r)
{
	return svm_new(M_LONG, 0, r->b, (u64)(r->e - r->b));
}

T(instructions, "every instruction intercept: exit code, RIP at the instruction, nRIP behind it")
{
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		struct svm_guest s = start(r);
		struct stop st;
		bool ok;

		svm_want(&s, r->number);
		st = svm_run(&s);
		ok = CHECK_EXIT(&s, st, r->number) &&
		     CHECK_EQ(s.save->rip, G_L2 + (u64)(r->a - r->b)) &&
		     CHECK_EQ(s.ctl->next_rip, G_L2 + (u64)(r->n - r->b)) &&
		     CHECK_EQ(s.ctl->exit_info_1, r->info1) &&
		     CHECK_EQ(s.ctl->exit_info_2, r->info2);
		if (!ok)
			printf("# %s with its intercept\n", r->name);
		guest_free(s.g);
	}
}

T(without, "without its intercept the instruction is L2's own")
{
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		struct svm_guest s;
		struct stop st;

		if (r->flags & NO_FREE)
			continue;
		s = start(r);
		/* All others that have nothing to do with it. */
		for (u32 n = SVM_I_CR0_SEL_WRITE; n <= SVM_I_INVPCID; n++)
			if (n != r->number && n != SVM_I_IOIO && n != SVM_I_CR0_SEL_WRITE &&
			    (n < SVM_I_EFER_WRITE_TRAP || n >= SVM_I_CR_WRITE_TRAP + 16))
				svm_want(&s, n);
		for (u32 k = 0; k < ARRAY_SIZE(rows); k++)
			if (rows[k].number != r->number)
				svm_want(&s, rows[k].number);
		/* Only from the instruction itself on. */
		memcpy(s.g->ram + G_L2, r->b, (size_t)(r->e - r->b));
		vmcb_clear_intercept(s.ctl, r->number);
		if (r->a == r->b) {
			st = svm_run(&s);
			if (!CHECK_EXIT(&s, st, SVM_EXIT_VMMCALL))
				printf("# %s without its intercept\n", r->name);
		}
		guest_free(s.g);
		s = start(r);
		st = svm_run(&s);
		if (!CHECK_EXIT(&s, st, SVM_EXIT_VMMCALL))
			printf("# %s without any intercept\n", r->name);
		guest_free(s.g);
	}
}

/* -- CPL and mode come before the intercept, memory after -- */
static struct stop in_ring3(struct svm_guest *s, u32 number)
{
	s->save->cs.attrib |= 0x60;
	s->save->ss.attrib |= 0x60;
	s->save->cs.selector = SEL_UCODE64;
	s->save->ss.selector = SEL_UDATA;
	s->save->cpl = 3;
	s->save->rsp = G_STACK3;
	svm_want(s, number);
	return svm_run(s);
}

CODE64(u_hlt, "hlt");
CODE64(u_rdmsr, "rdmsr");
CODE64(u_cr, "mov %cr0, %rax");
CODE64(u_dr, "mov %db0, %rax");
CODE64(u_lgdt, "lgdt (%rax)");
CODE64(u_invlpg, "invlpg (%rax)");
CODE64(u_wbinvd, "wbinvd");
CODE64(u_vmload, "vmload %rax");
CODE64(u_stgi, "stgi");
CODE64(u_clts, "clts");
T(cpl, "#GP(0) of a privileged instruction comes before its intercept")
{
	static const struct {
		const u8 *b, *e;
		u32 number;
	} u[] = {
		{ u_hlt_b, u_hlt_e, SVM_I_HLT },	  { u_rdmsr_b, u_rdmsr_e, SVM_I_MSR },
		{ u_cr_b, u_cr_e, SVM_I_CR_READ },	  { u_dr_b, u_dr_e, SVM_I_DR_READ },
		{ u_lgdt_b, u_lgdt_e, SVM_I_LGDT },	  { u_invlpg_b, u_invlpg_e, SVM_I_INVLPG },
		{ u_wbinvd_b, u_wbinvd_e, SVM_I_WBINVD }, { u_vmload_b, u_vmload_e, SVM_I_VMLOAD },
		{ u_stgi_b, u_stgi_e, SVM_I_STGI },	  { u_clts_b, u_clts_e, SVM_I_CR_WRITE },
	};

	for (u32 i = 0; i < ARRAY_SIZE(u); i++) {
		struct svm_guest s = svm_new(M_LONG, 0, u[i].b, (u64)(u[i].e - u[i].b));
		struct stop st;

		svm_want(&s, SVM_I_EXCP + 13);
		st = in_ring3(&s, u[i].number);
		CHECK_EXIT(&s, st, SVM_EXIT_EXCP + 13);
		CHECK_EQ(s.ctl->exit_info_1, 0);
		CHECK_EQ(s.save->rip, G_L2);
		guest_free(s.g);
	}
}

CODE64(mem_lgdt, "mov $0x900000000000, %rax\n mem_lgdt_a: lgdt (%rax)");
LABEL(mem_lgdt_a);
T(memory, "a fault of the memory operand comes after the intercept")
{
	struct svm_guest s = svm_with(mem_lgdt);

	svm_want(&s, SVM_I_LGDT);
	svm_want(&s, SVM_I_EXCP + 13);
	SVM_EXITS(&s, SVM_EXIT_LGDT);
	CHECK_EQ(s.save->rip, AT_L2(mem_lgdt, mem_lgdt_a));
}

/* -- CR0 selective write (APM2 15.9) -- */
CODE64(sel, "mov %cr0, %rbx\n mov %rbx, %cr0\n mov %rbx, %rcx\n xor $0xa, %ecx\n mov %rcx, %cr0\n"
	    "mov %rbx, %cr0\n xor $0x10000, %ebx\n sel_a: mov %rbx, %cr0\n hlt");
CODE64(sel_lmsw, "smsw %bx\n clts\n sel_b2: lmsw %bx\n hlt");
CODE64(sel_lmsw_mem, "mov $0x900000000000, %rax\n sel_c: lmsw (%rax)\n hlt");
LABEL(sel_c);
LABEL(sel_a);
LABEL(sel_b2);
T(selective, "CR0 selective write: all but changes of TS and MP by MOV; LMSW always, CLTS never")
{
	struct svm_guest s = svm_with(sel);

	svm_want(&s, SVM_I_CR0_SEL_WRITE);
	SVM_EXITS(&s, SVM_EXIT_CR0_SEL_WRITE);
	CHECK_EQ(s.save->rip, AT_L2(sel, sel_a));
	/* the plain intercept has priority */
	svm_rewind(&s);
	WITH_REGS(s.c, r)
		r.rip = G_CODE, r.rax = G_VMCB;
	s.save->rip = AT_L2(sel, sel_a);
	svm_want(&s, SVM_I_CR0_SEL_WRITE);
	svm_want(&s, SVM_I_CR_WRITE);
	SVM_EXITS(&s, SVM_EXIT_CR_WRITE);

	s = svm_with(sel_lmsw);
	svm_want(&s, SVM_I_CR0_SEL_WRITE);
	SVM_EXITS(&s, SVM_EXIT_CR0_SEL_WRITE);
	CHECK_EQ(s.save->rip, AT_L2(sel_lmsw, sel_b2));
	/* the plain intercept has priority here too */
	svm_want(&s, SVM_I_CR_WRITE);
	SVM_EXITS(&s, SVM_EXIT_CR_WRITE);

	s = svm_with(sel_lmsw_mem);
	svm_want(&s, SVM_I_CR0_SEL_WRITE);
	svm_want(&s, SVM_I_EXCP + 13);
	SVM_EXITS(&s, SVM_EXIT_CR0_SEL_WRITE);
	CHECK_EQ(s.save->rip, AT_L2(sel_lmsw_mem, sel_c));
}

/* -- exceptions (APM2 15.12) -- */
CODE64(x_de, "xor %ecx, %ecx\n x_de_a: div %ecx");
CODE64(x_bp, "x_bp_a: int3");
CODE64(x_ud, "x_ud_a: ud2");
CODE64(x_gp, "mov $0x1ff8, %eax\n x_gp_a: mov %eax, %ds");
CODE64(x_pf, "mov $0x7fff0000, %eax\n x_pf_a: movb $1, (%rax)");
CODE64(x_nm, "mov %cr0, %rax\n or $8, %eax\n mov %rax, %cr0\n x_nm_a: fnop");
CODE64(x_db, "x_db_a: .byte 0xf1\n x_db_n: nop");
CODE64(x_ss, "mov $0x900000000000, %rbp\n x_ss_a: mov (%rbp), %eax");
CODE64(x_np, "mov $0x10, %eax\n movl $0, 0x1080\n movl $0x00401300, 0x1084\n mov $0x80, %eax\n"
	"x_np_a: mov %eax, %fs");
LABEL(x_de_a); LABEL(x_bp_a); LABEL(x_ud_a); LABEL(x_gp_a); LABEL(x_pf_a); LABEL(x_nm_a);
LABEL(x_db_n); LABEL(x_ss_a); LABEL(x_np_a);
T(exceptions, "exception intercepts: code, error code, CR2 in EXITINFO2 only, RIP")
{
	static const struct {
		const u8 *b, *e, *at;
		u8 vec;
		u32 err;
	} x[] = {
		{ x_de_b, x_de_e, x_de_a, 0, 0 },     { x_bp_b, x_bp_e, x_bp_a, 3, 0 },
		{ x_ud_b, x_ud_e, x_ud_a, 6, 0 },     { x_gp_b, x_gp_e, x_gp_a, 13, 0x1ff8 },
		{ x_pf_b, x_pf_e, x_pf_a, 14, 2 },    { x_nm_b, x_nm_e, x_nm_a, 7, 0 },
		{ x_db_b, x_db_e, x_db_n, 1, 0 },     { x_ss_b, x_ss_e, x_ss_a, 12, 0 },
		{ x_np_b, x_np_e, x_np_a, 11, 0x80 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(x); i++) {
		struct svm_guest s = svm_new(M_LONG, 0, x[i].b, (u64)(x[i].e - x[i].b));
		struct stop st;

		s.save->cr2 = 0x1234;
		svm_want(&s, SVM_I_EXCP + x[i].vec);
		st = svm_run(&s);
		if (!CHECK_EXIT(&s, st, SVM_EXIT_EXCP + x[i].vec))
			printf("# vector %u\n", x[i].vec);
		CHECK_EQ(s.ctl->exit_info_1, x[i].err);
		CHECK_EQ(s.ctl->exit_info_2, x[i].vec == 14 ? 0x7fff0000 : 0);
		CHECK_EQ(s.save->cr2, 0x1234);
		CHECK_EQ(s.save->rip, G_L2 + (u64)(x[i].at - x[i].b));
		CHECK_EQ(s.ctl->exit_int_info, 0);
		guest_free(s.g);
		/* and not intercepted: through L2's IDT */
		s = svm_new(M_LONG, 0, x[i].b, (u64)(x[i].e - x[i].b));
		st = svm_run(&s);
		CHECK_EXC(st, x[i].vec, -1);
		CHECK_EQ(st.rip, G_L2 + (u64)(x[i].at - x[i].b) + (x[i].vec == 3));
		guest_free(s.g);
	}
}

CODE32(into, "mov $0x7fffffff, %eax\n inc %eax\n into_a: into\n nop");
LABEL(into_a);
T(into, "#OF: RIP at INTO, nRIP behind")
{
	struct svm_guest s = svm_new(M_PAE, 0, into_b, LEN(into));

	svm_want(&s, SVM_I_EXCP + 4);
	SVM_EXITS(&s, SVM_EXIT_EXCP + 4);
	CHECK_EQ(s.save->rip, AT_L2(into, into_a));
	CHECK_EQ(s.ctl->next_rip, AT_L2(into, into_a) + 1);
}

/* -- an exit while something is being delivered: EXITINTINFO (APM2 15.7.2) -- */
T(vectoring, "an intercepted fault in delivery leaves the first event in EXITINTINFO")
{
	static const struct {
		const u8 *b, *e;
		u32 info, err;
	} x[] = {
		{ x_ud_b, x_ud_e, 0x80000306, 0 },   { x_gp_b, x_gp_e, 0x80000b0d, 0x1ff8 },
		{ x_bp_b, x_bp_e, 0x80000303, 0 },   { intn_b, intn_e, 0x80000480, 0 },
		{ icebp_b, icebp_e, 0x80000301, 0 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(x); i++) {
		struct svm_guest s = svm_new(M_LONG, 0, x[i].b, (u64)(x[i].e - x[i].b));
		struct stop st;

		s.save->idtr.base = 0x7ff00000;	/* not mapped */
		svm_want(&s, SVM_I_EXCP + 14);
		st = svm_run(&s);
		if (!CHECK_EXIT(&s, st, SVM_EXIT_EXCP + 14))
			printf("# event %x\n", x[i].info);
		CHECK_EQ(s.ctl->exit_int_info, x[i].info);
		CHECK_EQ(s.ctl->exit_int_info_err, x[i].err);
		guest_free(s.g);
	}
}

T(double_fault, "unintercepted faults merge to #DF, which can be intercepted; then shutdown")
{
	struct svm_guest s = svm_with(x_gp);
	struct stop st;

	s.save->idtr.limit = 0;
	svm_want(&s, SVM_I_EXCP + 8);
	st = SVM_EXITS(&s, SVM_EXIT_EXCP + 8);
	CHECK_EQ(s.ctl->exit_info_1, 0);
	svm_rewind(&s);
	WITH_REGS(s.c, r)
		r.rip = G_CODE, r.rax = G_VMCB;
	s.save->idtr.limit = 0;
	svm_want(&s, SVM_I_SHUTDOWN);
	st = SVM_EXITS(&s, SVM_EXIT_SHUTDOWN);
	svm_rewind(&s);
	WITH_REGS(s.c, r)
		r.rip = G_CODE, r.rax = G_VMCB;
	s.save->idtr.limit = 0;
	st = svm_run(&s);
	CHECK_STOP(st, ST_SHUTDOWN);
}

/* -- task switches (APM2 15.14.1) -- */
CODE32(task, "task_a: ljmp $0x70, $0\n nop");
CODE32(task_int, "int $0x40");
T(task_switch, "task switch: selector in EXITINFO1, why in EXITINFO2")
{
	struct svm_guest s = svm_new(M_PG32, 0, task_b, LEN(task));

	guest_gdt(s.g, SEL_TSS2, gdt_desc(G_TSS2, 0x67, 0x89, 0));
	svm_want(&s, SVM_I_TASK_SWITCH);
	SVM_EXITS(&s, SVM_EXIT_TASK_SWITCH);
	CHECK_EQ(s.ctl->exit_info_1, SEL_TSS2);
	CHECK_EQ(s.ctl->exit_info_2, BIT64(38));
	CHECK_EQ(s.save->rip, G_L2);
	CHECK_EQ(s.ctl->exit_int_info, 0);

	s = svm_new(M_PG32, 0, task_int_b, LEN(task_int));
	guest_gdt(s.g, SEL_TSS2, gdt_desc(G_TSS2, 0x67, 0x89, 0));
	guest_gate(s.g, 0x40, SEL_TSS2, 0, 5, 0, 0);
	svm_want(&s, SVM_I_TASK_SWITCH);
	SVM_EXITS(&s, SVM_EXIT_TASK_SWITCH);
	CHECK_EQ(s.ctl->exit_info_2, 0);
	CHECK_EQ(s.ctl->exit_int_info, 0x80000440);
}

/* Every event that may come through a task gate. */
CODE32(task_nop, "nop\n hlt");
CODE32(task_ud, "ud2\n hlt");
CODE32(task_gp, "mov $0x1ff8, %eax\n mov %eax, %ds\n hlt");
CODE32(task_icebp, ".byte 0xf1\n hlt");
CODE32(task_loop, "sti\n 1: jmp 1b");
T(task_events, "a task gate in L2's IDT: exceptions, injected events and INT n exit, L1 goes on")
{
	static const struct {
		const u8 *b, *e;
		u32 inject, err;	/* EVENTINJ */
		u8 vec;
		u32 event;		/* EXITINTINFO */
		u64 info2;
	} x[] = {
		{ task_ud_b, task_ud_e, 0, 0, 6, 0x80000306, BIT64(48) },
		{ task_gp_b, task_gp_e, 0, 0, 13, 0x80000b0d, BIT64(48) | BIT64(44) | 0x1ff8 },
		{ task_icebp_b, task_icebp_e, 0, 0, 1, 0x80000301, 0 },
		{ task_nop_b, task_nop_e, 0x80000202, 0, 2, 0x80000202, 0 },
		{ task_nop_b, task_nop_e, 0x80000055, 0, 0x55, 0x80000055, 0 },
		{ task_nop_b, task_nop_e, 0x80000306, 0, 6, 0x80000306, BIT64(48) },
		{ task_nop_b, task_nop_e, 0x80000b0d, 0x77, 13, 0x80000b0d,
		  BIT64(48) | BIT64(44) | 0x77 },
		{ task_nop_b, task_nop_e, 0x80000440, 0, 0x40, 0x80000440, 0 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(x); i++) {
		struct svm_guest s = svm_new(M_PG32, 0, x[i].b, (u64)(x[i].e - x[i].b));
		struct stop st;

		guest_gdt(s.g, SEL_TSS2, gdt_desc(G_TSS2, 0x67, 0x89, 0));
		guest_gate(s.g, x[i].vec, SEL_TSS2, 0, 5, 0, 0);
		svm_want(&s, SVM_I_TASK_SWITCH);
		s.ctl->event_inj = x[i].inject;
		s.ctl->event_inj_err = x[i].err;
		s.ctl->next_rip = G_L2;
		st = svm_run(&s);
		if (!CHECK_EXIT(&s, st, SVM_EXIT_TASK_SWITCH))
			printf("# event %x\n", x[i].event);
		CHECK_EQ(s.ctl->exit_info_1, SEL_TSS2);
		CHECK_EQ(s.ctl->exit_info_2, x[i].info2);
		CHECK_EQ(s.ctl->exit_int_info, x[i].event);
		CHECK_EQ(s.ctl->event_inj, 0);
		/* and again, without the event */
		vmcb_clear_intercept(s.ctl, SVM_I_TASK_SWITCH);
		svm_want(&s, SVM_I_HLT);
		guest_load(s.g, G_L2, task_nop);
		s.save->rip = G_L2;
		st = SVM_EXITS(&s, SVM_EXIT_HLT);
		guest_free(s.g);
	}
}

T(task_irq, "a task gate in L2's IDT: an interrupt, and a virtual one")
{
	struct svm_guest s = svm_new(M_PG32, 0, task_loop_b, LEN(task_loop));

	guest_gdt(s.g, SEL_TSS2, gdt_desc(G_TSS2, 0x67, 0x89, 0));
	guest_gate(s.g, 0x66, SEL_TSS2, 0, 5, 0, 0);
	svm_want(&s, SVM_I_TASK_SWITCH);
	s.ctl->int_ctl = SVM_V_IRQ | SVM_V_IGN_TPR;
	s.ctl->int_vector = 0x66;
	SVM_EXITS(&s, SVM_EXIT_TASK_SWITCH);
	CHECK_EQ(s.ctl->exit_int_info, 0x80000066);
	CHECK_EQ(s.ctl->int_ctl & SVM_V_IRQ, 0);
	cpu_complete(s.c);
	s.ctl->int_ctl = 0;
	s.save->rflags |= 0x200;
	cpu_interrupt(s.c, 0x66);
	/* Held until L1 sets its GIF, by VMRUN. */
	WITH_REGS(s.c, r)
		r.rax = G_VMCB;
	SVM_EXITS(&s, SVM_EXIT_TASK_SWITCH);
	CHECK_EQ(s.ctl->exit_int_info, 0x80000066);
}

CODE64(vmcall, "vmcall\n nop");
T(vmcall, "VMCALL is taken for VMMCALL, unless #UD is intercepted")
{
	struct svm_guest s = svm_with(vmcall);

	svm_want(&s, SVM_I_EXCP + 6);
	SVM_EXITS(&s, SVM_EXIT_EXCP + 6);
	CHECK_EQ(s.save->rip, G_L2);
	CHECK_EQ(s.g->ram[G_L2 + 2], 0xc1);
	vmcb_clear_intercept(s.ctl, SVM_I_EXCP + 6);
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rip, G_L2);
	CHECK_EQ(s.ctl->next_rip, G_L2 + 3);
}

CODE64(mf, "mov %cr0, %rax\n and $~0x2c, %eax\n mov %rax, %cr0\n fninit\n"
	"movw $0x37b, 0x10000\n fldcw 0x10000\n"
	   "fld1\n fldz\n fdivrp\n mf_1: fwait\n vmmcall");
LABEL(mf_1);
T(ferr, "#MF without CR0.NE is FERR_FREEZE, with it exception 16")
{
	struct svm_guest s = svm_with(mf);

	svm_want(&s, SVM_I_FERR_FREEZE);
	svm_want(&s, SVM_I_EXCP + 16);
	SVM_EXITS(&s, SVM_EXIT_FERR_FREEZE);
	CHECK_EQ(s.save->rip, AT_L2(mf, mf_1));
	s.save->cr0 |= 0x20;
	SVM_EXITS(&s, SVM_EXIT_EXCP + 16);
}
