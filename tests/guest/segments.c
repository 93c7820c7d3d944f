/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/segments.c - protected-mode segmentation: limits, rights, loads
 * (APM2 4.7-4.12).
 */
/* Run: build/standin run -- build/tests/guest/guest_segments [NAME...] */
#include "tests/guest/harness/area.h"
#include "tests/guest/harness/harness.h"

enum { SEL_A = SEL_FREE, SEL_B = SEL_FREE + 8 };

/* A loop of good accesses first: the last one is the row's. */
CODE32(seg_read, "mov %eax, %fs\n mov $3000, %ecx\n xor %edi, %edi\n 1: mov %fs:(%edi), %bl\n"
	" dec %ecx\n"
	" jnz 1b\n seg_read_at: mov %fs:(%esi), %eax" DONE);
CODE32(seg_write, "mov %eax, %fs\n seg_write_at: mov %edx, %fs:(%esi)" DONE);
CODE32(seg_stack, "mov %eax, %ss\n mov %esi, %esp\n seg_stack_at: pop %ebx" DONE);
LABEL(seg_read_at);
LABEL(seg_write_at);
LABEL(seg_stack_at);

static struct stop with_desc(const u8 *p, u64 desc, u64 esi)
{
	struct guest *g = guest_with_code(M_PM32, p, 64);

	guest_gdt(g, SEL_A, desc);
	*g32(g, 0x400000) = 0x44332211;
	WITH_REGS(cpu0(g), r) {
		r.rax = SEL_A;
		r.rsi = esi;
		r.rdx = 0x99;
	}
	return run(g);
}

T(limit, "limit checks of expand-up data, byte and page granular")
{
	struct stop s = with_desc(seg_read_b, gdt_desc(0x400000, 0xfff, 0x93, 4), 0xffc);

	CHECK_STOP(s, ST_DONE);
	s = with_desc(seg_read_b, gdt_desc(0x400000, 0xfff, 0x93, 4), 0xffd);
	CHECK_EXC(s, 13, 0);
	CHECK_EQ(s.rip, AT(seg_read, seg_read_at));
	s = with_desc(seg_read_b, gdt_desc(0x400000, 0xffff, 0x93, 0xc), 0xfffc);
	CHECK_STOP(s, ST_DONE);
	s = with_desc(seg_read_b, gdt_desc(0x400000, 0xffff, 0x93, 0xc), 0xfffe);
	CHECK_EXC(s, 13, 0);
	s = with_desc(seg_read_b, gdt_desc(0x400000, 0xfff, 0x93, 4), 0xfffffffe);
	CHECK_EXC(s, 13, 0);
	s = with_desc(seg_write_b, gdt_desc(0x400000, 0xfff, 0x93, 4), 0xffe);
	CHECK_EXC(s, 13, 0);
}
T(base, "the base is added and wraps at 4 GiB")
{
	struct stop s =
		with_desc(seg_read_b, gdt_desc(0xfff00000, 0xffffffff, 0x93, 0xc), 0x500000);

	/* The warm loop reads 0xfff00000: unbacked, an MMIO read. */
	while (s.kind == ST_MMIO)
		return;
	CHECK_STOP(s, ST_DONE);
}
/* ADDR16 MOV to 0xc5c5 and from it, in bytes: clang's assembler gives the address 32 bits. */
CODE32(abs16, "mov $0x5a, %al\n .byte 0x67, 0xa2, 0xc5, 0xc5\n"
	".byte 0x67, 0x8a, 0x1e, 0xc5, 0xc5" DONE);
T(abs16, "a 16-bit absolute address above 0x7fff in 32-bit code")
{
	struct guest *g = guest_with(M_PM32, abs16);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(g->ram[0xc5c5], 0x5a);
	CHECK_EQ(s.r.rbx & 0xff, 0x5a);
}
CODE32(seg_wrap, "mov %eax, %fs\n mov $3000, %ecx\n 1: mov %fs:(%esi), %eax\n dec %ecx\n"
		 " jnz 1b" DONE);
T(base_wrap, "base plus offset wraps at 4 GiB")
{
	struct stop s =
		with_desc(seg_wrap_b, gdt_desc(0xfff00000, 0xffffffff, 0x93, 0xc), 0x500000);

	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rax, 0x44332211);
}
T(rights, "writes to read-only, reads of execute-only code")
{
	struct stop s = with_desc(seg_write_b, gdt_desc(0, 0xffffffff, 0x91, 0xc), 0x400000);

	CHECK_EXC(s, 13, 0);
	CHECK_EQ(s.rip, AT(seg_write, seg_write_at));
	s = with_desc(seg_write_b, gdt_desc(0, 0xffffffff, 0x9b, 0xc), 0x400000);
	CHECK_EXC(s, 13, 0);
	s = with_desc(seg_read_b, gdt_desc(0, 0xffffffff, 0x99, 0xc), 0x400000);
	CHECK_EXC(s, 13, SEL_A);	/* not even loadable */
	s = with_desc(seg_read_b, gdt_desc(0, 0xffffffff, 0x9b, 0xc), 0x400000);
	CHECK_STOP(s, ST_DONE);
}
T(expand_down, "expand-down: valid above the limit, up to 64 KiB or 4 GiB")
{
	struct stop s = with_desc(seg_write_b, gdt_desc(0x400000, 0xfff, 0x97, 0), 0x1000);

	CHECK_STOP(s, ST_DONE);
	s = with_desc(seg_write_b, gdt_desc(0x400000, 0xfff, 0x97, 0), 0xfff);
	CHECK_EXC(s, 13, 0);
	s = with_desc(seg_write_b, gdt_desc(0x400000, 0xfff, 0x97, 0), 0xfffd);
	CHECK_EXC(s, 13, 0);
	s = with_desc(seg_write_b, gdt_desc(0x400000, 0xfff, 0x97, 4), 0xfffd);
	CHECK_STOP(s, ST_DONE);
}
T(stack, "stack faults are #SS(0)")
{
	struct stop s = with_desc(seg_stack_b, gdt_desc(0, 0xfffff, 0x93, 4), 0xffffe);

	CHECK_EXC(s, 12, 0);
	CHECK_EQ(s.rip, AT(seg_stack, seg_stack_at));
	s = with_desc(seg_stack_b, gdt_desc(0, 0xfffff, 0x93, 4), 0x40000);
	CHECK_STOP(s, ST_DONE);
}

CODE32(load_ds, "mov %eax, %ds" DONE);
CODE32(load_ss, "mov %eax, %ss" DONE);
CODE32(load_cs_far, "movl $0x8000, 0x6000\n mov %ax, 0x6004\n ljmp *0x6000" DONE);
T(loads, "loading selectors: null, not present, wrong type, beyond the table")
{
	static const struct { const u8 *p; u16 sel; u64 d; int vec; u32 err; } rows[] = {
		{ load_ds_b, 0, 0, -1, 0 },
		{ load_ds_b, 3, 0, -1, 0 },
		{ load_ss_b, 0, 0, 13, 0 },
		{ load_ds_b, SEL_A, 0x00cf13000000ffff, 11, SEL_A },	/* not present */
		{ load_ss_b, SEL_A, 0x00cf13000000ffff, 12, SEL_A },
		{ load_ss_b, SEL_A, 0x00cf91000000ffff, 13, SEL_A },	/* read-only */
		{ load_ss_b, SEL_A, 0x00cff3000000ffff, 13, SEL_A },	/* DPL 3 */
		{ load_ss_b, SEL_A | 1, 0x00cf93000000ffff, 13, SEL_A },/* RPL 1 */
		{ load_ds_b, SEL_A, 0x0000890000000067, 13, SEL_A },	/* system */
		{ load_ds_b, GDT_BYTES, 0, 13, GDT_BYTES },
		{ load_ds_b, SEL_A | 4, 0, 13, SEL_A | 4 },		/* no LDT */
		{ load_cs_far_b, SEL_A, 0x00cf93000000ffff, 13, SEL_A },
		{ load_cs_far_b, SEL_A, 0x00cf1b000000ffff, 11, SEL_A },
		{ load_cs_far_b, 0, 0, 13, 0 },
		{ load_cs_far_b, SEL_A, 0x00cffb000000ffff, 13, SEL_A },/* DPL 3 code */
	};

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_with_code(M_PM32, rows[i].p, 32);
		struct stop s;

		guest_gdt(g, SEL_A, rows[i].d);
		WITH_REGS(cpu0(g), r)
			r.rax = rows[i].sel;
		s = run(g);
		if (rows[i].vec < 0
			    ? s.kind != ST_DONE
			    : s.kind != ST_EXC || s.vec != rows[i].vec || s.err != rows[i].err)
			test_fail(__FILE__, __LINE__, "row %u: %s", i, stop_text(&s));
		guest_free(g);
	}
}
CODE32(null_use, "xor %eax, %eax\n mov %eax, %es\n null_at: mov %es:(%edi), %eax" DONE);
LABEL(null_at);
T(null_use, "a null segment faults when used")
{
	struct stop s = RUN_EXC(guest_with(M_PM32, null_use), 13, 0);

	CHECK_EQ(s.rip, AT(null_use, null_at));
}
CODE32(accessed, "mov %eax, %fs" DONE);
T(accessed, "loading sets the accessed bit")
{
	struct guest *g = guest_with(M_PM32, accessed);

	guest_gdt(g, SEL_A, gdt_desc(0, 0xffffffff, 0x92, 0xc));
	WITH_REGS(cpu0(g), r)
		r.rax = SEL_A;
	RUN_TO(g, ST_DONE);
	CHECK_EQ(g->ram[G_GDT + SEL_A + 5], 0x93);
}
CODE32(cs_end, "jmp *%esi");
T(cs_limit, "running over the code segment's limit is #GP(0)")
{
	struct guest *g = guest_with(M_PM32, cs_end);
	struct stop s;

	memset(g->ram + 0x9000, 0x90, 0x1000);
	WITH_SREGS(cpu0(g), sr) {
		sr.cs.limit = 0x9fff;
		sr.cs.g = 0;
	}
	WITH_REGS(cpu0(g), r)
		r.rsi = 0x9f00;
	s = RUN_EXC(g, 13, 0);
	CHECK_EQ(s.rip, 0xa000);
}
/* A jump to esi, and there five bytes of MOV; the second time in translated code of a wider
 * segment. */
CODE32(cs_edge, "jmp *%esi");
CODE32(cs_mov, "mov $0x12345678, %eax\n out %al, $0xf0");
T(cs_edge, "an instruction that the limit of CS cuts is #GP(0) at its own address")
{
	static const struct { u32 at, limit; bool ok; } rows[] = {
		{ 0x9100, ~0u, true }, { 0x9100, 0x9106, true }, { 0x9100, 0x9103, false },
		{ 0x9100, 0x9104, true }, { 0x9100, 0x9100, false }, { 0x9100, ~0u, true },
		/* In two pages. */
		{ 0x9ffe, ~0u, true }, { 0x9ffe, 0x9fff, false }, { 0x9ffe, 0xa001, false },
		{ 0x9ffe, 0xa004, true },
	};
	struct guest *g = guest_with(M_PM32, cs_edge);

	guest_load(g, 0x9100, cs_mov);
	guest_load(g, 0x9ffe, cs_mov);
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct stop s;

		WITH_SREGS(cpu0(g), sr) {
			sr.cs.limit = rows[i].limit;
			sr.cs.g = rows[i].limit == ~0u;
		}
		WITH_REGS(cpu0(g), r) {
			r.rip = G_CODE;
			r.rsi = rows[i].at;
			r.rax = 0;
		}
		s = run(g);
		/* The OUT may be cut in its turn. */
		if (rows[i].ok && rows[i].limit < rows[i].at + 6) {
			CHECK_EXC(s, 13, 0);
			CHECK_EQ(s.rip, rows[i].at + 5);
		} else if (rows[i].ok) {
			CHECK_STOP(s, ST_DONE);
		} else {
			CHECK_EXC(s, 13, 0);
			CHECK_EQ(s.rip, rows[i].at);
		}
		CHECK_EQ(s.r.rax, rows[i].ok ? 0x12345678 : 0);
		WITH_REGS(cpu0(g), r)
			r.rsp = G_STACK;
	}
}
CODE16(pm16, "mov $0x58, %ax\n mov %ax, %es\n mov $3000, %cx\n xor %bx, %bx\n 1: incw %es:(%bx)\n"
	" add $2, %bx\n"
	" and $0xff, %bx\n dec %cx\n jnz 1b\n lcall $0x28, $" LOC(pm16, pm16_in) "\n"
	" mov $0xffff, %bx\n"
	" pm16_at: mov %es:(%bx), %ax" DONE "pm16_in: mov %sp, %dx\n lret");
LABEL(pm16_at);
T(pm16, "16-bit protected mode: loops, far call, limit")
{
	struct guest *g = guest_with(M_PM16, pm16);
	struct stop s;

	guest_gdt(g, SEL_DATA16, gdt_desc(0x400000, 0xffff, 0x93, 0));
	s = RUN_EXC(g, 13, 0);
	CHECK_EQ(s.rip, AT(pm16, pm16_at));
	CHECK_EQ(s.r.rdx & 0xffff, G_STACK - 4);
	CHECK(*g16(g, 0x400000) >= 23);
}
CODE64(long_null, "xor %eax, %eax\n mov %eax, %ds\n mov %eax, %es\n mov %eax, %ss\n"
	" mov 0x10000, %eax\n"
	" push %rax\n mov %eax, %fs\n mov $0xc0000100, %ecx\n mov $0x400000, %eax\n"
	" xor %edx, %edx\n wrmsr\n"
	" mov %fs:0, %ebx\n rdmsr" DONE);
T(long_null, "64-bit mode ignores null segments; FS base by MSR")
{
	struct guest *g = guest_with(M_LONG, long_null);
	struct stop s;

	*g32(g, 0x400000) = 0x55aa;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rbx, 0x55aa);
	CHECK_EQ(s.r.rax, 0x400000);
	CHECK_EQ(cpu_sregs(cpu0(g)).fs.base, 0x400000);
}
CODE64(swapgs, "swapgs\n mov %gs:0, %eax\n swapgs\n mov %gs:0, %ebx\n rdgsbase %rdx\n"
	" wrfsbase %rsi\n"
	" mov %fs:4, %ecx" DONE);
T(swapgs, "SWAPGS, RDGSBASE and WRFSBASE")
{
	struct guest *g = guest_with(M_LONG, swapgs);
	struct stop s;

	if (!guest_has(g, 7, 1, 0))
		test_skip("no FSGSBASE");
	*g32(g, 0x400000) = 1;
	*g32(g, 0x410000) = 2;
	*g32(g, 0x420004) = 3;
	cpu_set_msr(cpu0(g), 0xc0000101, 0x400000);
	cpu_set_msr(cpu0(g), 0xc0000102, 0x410000);
	WITH_SREGS(cpu0(g), sr)
		sr.cr4 |= 1u << 16;
	WITH_REGS(cpu0(g), r)
		r.rsi = 0x420000;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rax, 2);
	CHECK_EQ(s.r.rbx, 1);
	CHECK_EQ(s.r.rdx, 0x400000);
	CHECK_EQ(s.r.rcx, 3);
}
CODE64(read_sreg, "mov $-1, %rax\n mov $-1, %rbx\n mov $-1, %rcx\n mov $-1, %r13\n mov $-1, %r15\n"
	" .byte 0x48, 0x8c, 0xc8\n"	/* mov rax, cs */
	" .byte 0x66, 0x8c, 0xcb\n"	/* mov bx, cs */
	" mov %cs, %ecx\n mov %ss, %r13d\n"
	" .byte 0x66, 0x41, 0x8c, 0xd7\n"	/* mov r15w, ss */
	" cmp $-1, %r15\n mov %ds, %edx\n jne 1f\n ud2\n 1:" DONE);
T(read_sreg, "a segment register is read with each operand size, and no flag changes")
{
	struct guest *g = guest_with(M_LONG, read_sreg);
	struct kvm_sregs sr = cpu_sregs(cpu0(g));
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.rax, sr.cs.selector);
	CHECK_EQ(s.r.rbx, (~0ull << 16) | sr.cs.selector);
	CHECK_EQ(s.r.rcx, sr.cs.selector);
	CHECK_EQ(s.r.rdx, sr.ds.selector);
	CHECK_EQ(s.r.r13, sr.ss.selector);
	CHECK_EQ(s.r.r15, (~0ull << 16) | sr.ss.selector);
}

/* -- null selectors and the hidden part (CPUID 8000_0021 EAX[6]) -- */

static void null_clears(struct guest *g, bool on)
{
	for (u32 i = 0; i < g->cpuid->nent; i++)
		if (g->cpuid->entries[i].function == 0x80000021)
			g->cpuid->entries[i].eax =
				(g->cpuid->entries[i].eax & ~0x40u) | (on ? 0x40 : 0);
	vcpu_ioctl(cpu0(g), KVM_SET_CPUID2, g->cpuid, "KVM_SET_CPUID2");
}

/* Elsewhere the processor does what it does, whatever the guest's CPUID says. */
static void need_model(void)
{
	u32 mask;

	if (!area_inhibits(&mask))
		test_skip("the processor decides here");
}

static void set_gs(struct guest *g)
{
	WITH_SREGS(cpu0(g), s) {
		s.gs = seg_flat(SEL_DATA, 3, 0, 32);
		s.gs.base = G_DATA + 0x100;
		s.gs.limit = 0x12345;
		s.gs.g = 0;
	}
	*g32(g, G_DATA + 0x100) = 0xabcd;
	*g32(g, 0) = 0x1111;
}

/* gs: in 64-bit code afterwards reads at the base that is left. */
CODE64(null_mov, "xor %eax, %eax\n mov %eax, %gs\n mov %gs:0, %ebx\n mov %gs, %ecx" DONE);
CODE64(null_iret, "push $0x3b\n push $0x2f000\n pushf\n push $0x43\n"
	" push $" LOC(null_iret, null_iret3)
	"\n iretq\n null_iret3: mov %gs:0, %ebx\n mov %gs, %ecx" DONE3);
CODE64(null_lret, "push $0x3b\n push $0x2f000\n push $0x43\n push $" LOC(null_lret, null_lret3)
	"\n lretq\n null_lret3: mov %gs:0, %ebx\n mov %gs, %ecx" DONE3);
T(null_hidden, "a null selector by MOV, IRET or far RET leaves base and limit, if CPUID lets it")
{
	static const struct {
		const u8 *b, *e;
	} x[] = {
		{ null_mov_b, null_mov_e },
		{ null_iret_b, null_iret_e },
		{ null_lret_b, null_lret_e },
	};

	for (u32 i = 0; i < 2 * ARRAY_SIZE(x); i++) {
		bool clears = i & 1;
		struct guest *g =
			guest_with_code(M_LONG, x[i / 2].b, (u32)(x[i / 2].e - x[i / 2].b));
		struct kvm_sregs sr;
		struct stop s;

		need_model();
		null_clears(g, clears);
		set_gs(g);
		s = run(g);
		if (i / 2)
			CHECK_EXC(s, VEC_DONE3, -1);
		else
			CHECK_STOP(s, ST_DONE);
		CHECK_EQ(s.r.rcx & 0xffff, 0);
		CHECK_EQ(s.r.rbx & 0xffffffff, clears ? 0x1111 : 0xabcd);
		sr = cpu_sregs(cpu0(g));
		CHECK_EQ(sr.gs.base, clears ? 0 : G_DATA + 0x100);
		CHECK_EQ(sr.gs.limit, clears ? 0 : 0x12345);
		CHECK_EQ(sr.gs.unusable, 1);
		guest_free(g);
	}
}

CODE32(null_ret32, "push $0x3b\n push $0x2f000\n push $0x33\n push $" LOC(null_ret32, null_ret32_3)
	"\n lret\n null_ret32_3: mov %gs:0, %ebx" DONE3);
T(null_hidden32, "and 32-bit code cannot use the segment whatever is left of it")
{
	struct guest *g = guest_with(M_PM32, null_ret32);

	need_model();
	null_clears(g, false);
	set_gs(g);
	RUN_EXC(g, 13, 0);
	CHECK_EQ(cpu_sregs(cpu0(g)).gs.base, G_DATA + 0x100);
}

T(null_offered, "NullSelectorClearsBase is offered, and true")
{
	struct guest *g = guest_with(M_LONG, null_mov);
	struct stop s;

	need_model();
	CHECK(guest_has(g, 0x80000021, 0, 6));
	set_gs(g);
	s = run(g);
	CHECK_EQ(s.r.rbx & 0xffffffff, 0x1111);
}
