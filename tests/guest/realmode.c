/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/realmode.c - real mode: segment arithmetic, 64 KiB limits, the IVT,
 * far transfers, unreal segments and the way up to long mode (APM2 1.2.1, 14.4-14.6).
 */
/* Run: build/standin run -- build/tests/guest/guest_realmode [NAME...] */
#include "tests/guest/harness/harness.h"

CODE16(segs, "mov $0x2000, %ax\n mov %ax, %ds\n mov $0x1234, %bx\n movw $0xbeef, (%bx)\n"
	" mov $0x2100, %ax\n mov %ax, %es\n mov %es:0x234, %cx\n mov %ss, %dx" DONE);
T(segments, "base is selector times 16")
{
	struct guest *g = guest_with(M_REAL, segs);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(*g16(g, 0x21234), 0xbeef);
	CHECK_EQ(s.r.rcx & 0xffff, 0xbeef);
}

CODE16(wrap_ea, "mov $0x2000, %ax\n mov %ax, %ds\n mov $0xfff0, %bx\n mov $0x20, %si\n"
	" movb $0x5a, (%bx,%si)" DONE);
CODE16(limit_w, "mov $0xffff, %bx\n limit_at: mov (%bx), %ax" DONE);
CODE16(limit_s, "mov $0xffff, %bp\n mov (%bp), %ax" DONE);
CODE16(push_wrap, "xor %sp, %sp\n push $0x1234\n mov %sp, %ax" DONE);
LABEL(limit_at);
T(limit, "addresses wrap at 64 KiB; a word at 0xffff is #GP or #SS")
{
	struct guest *g = guest_with(M_REAL, wrap_ea);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(g->ram[0x20010], 0x5a);
	s = RUN_EXC(guest_with(M_REAL, limit_w), 13, -1);
	CHECK_EQ(s.rip, AT(limit_w, limit_at));
	s = RUN_EXC(guest_with(M_REAL, limit_s), 12, -1);
	g = guest_with(M_REAL, push_wrap);
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rax & 0xffff, 0xfffe);
	CHECK_EQ(*g16(g, 0xfffe), 0x1234);
}

CODE16(ivt, "sti\n stc\n int $0x42\n ivt_next: nop" DONE);
LABEL(ivt_next);
T(ivt, "INT n pushes FLAGS, CS, IP and clears IF")
{
	struct guest *g = guest_with(M_REAL, ivt);
	struct stop s = RUN_EXC(g, 0x42, -1);

	CHECK_EQ(s.rip, AT(ivt, ivt_next));
	CHECK_EQ(s.cs, 0);
	CHECK_EQ(s.rflags, 0x203);
	CHECK_EQ(s.r.rsp, G_STACK - 6);
	CHECK_EQ(s.r.rflags & 0x200, 0);
	cpu_resume(cpu0(g), &s, s.rip);
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rflags & 0x201, 0x201);
}
CODE16(iret16, "pushw $0x246\n pushw $0x100\n pushw $(0x7000 + iret_to - iret16_b)\n iret\n"
	" hlt\n iret_to: mov %cs, %ax" DONE);
T(iret, "IRET to another segment")
{
	struct stop s = run(guest_with(M_REAL, iret16));	/* 0x100:0x7000 is 0x8000 */

	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rax & 0xffff, 0x100);
	CHECK_EQ(s.r.rflags & 0xfff, 0x246);
}

CODE16(far16, "lcall $0x800, $far_in - far16_b\n mov %cs, %bx" DONE
	"far_in: mov %cs, %ax\n mov %sp, %cx\n lret");
CODE16(far16m, "movw $far_m_in - far16m_b, 0x6000\n movw $0x800, 0x6002\n lcall *0x6000\n"
	" mov %cs, %bx" DONE
	"far_m_in: mov %cs, %ax\n mov %sp, %cx\n lret $0");
T(far, "far CALL and RET, immediate and through memory")
{
	struct stop s = RUN_TO(guest_with(M_REAL, far16), ST_DONE);

	CHECK_EQ(s.r.rax & 0xffff, 0x800);
	CHECK_EQ(s.r.rbx & 0xffff, 0);
	CHECK_EQ(s.r.rcx, G_STACK - 4);
	CHECK_EQ(s.r.rsp, G_STACK);
	s = RUN_TO(guest_with(M_REAL, far16m), ST_DONE);
	CHECK_EQ(s.r.rax & 0xffff, 0x800);
	CHECK_EQ(s.r.rsp, G_STACK);
}

CODE16(op32, "mov $0x12345678, %eax\n push %eax\n pop %bx\n pop %dx\n mov $0x20000, %edi\n"
	" mov $0x10, %ecx\n lea 4(%edi,%ecx,4), %esi\n loop1: dec %cx\n jnz loop1" DONE);
T(op32, "operand and address size prefixes in 16-bit code")
{
	struct stop s = RUN_TO(guest_with(M_REAL, op32), ST_DONE);

	CHECK_EQ(s.r.rbx & 0xffff, 0x5678);
	CHECK_EQ(s.r.rdx & 0xffff, 0x1234);
	CHECK_EQ(s.r.rsi, 0x20044);
	CHECK_EQ(s.r.rcx, 0);
}

/* Unreal: a limit of 4 GiB loaded in protected mode stays in real mode. */
CODE16(unreal, "lgdtl 0x6100\n mov %cr0, %eax\n or $1, %al\n mov %eax, %cr0\n jmp 1f\n"
	" 1: mov $0x10, %bx\n mov %bx, %ds\n and $0xfe, %al\n mov %eax, %cr0\n jmp 2f\n"
	" 2: xor %bx, %bx\n mov %bx, %ds\n mov $0x500000, %edi\n movl $0xcafe, (%edi)\n"
	" mov $3000, %cx\n 3: incl (%edi)\n dec %cx\n jnz 3b" DONE);
T(unreal, "unreal mode reaches memory above 1 MiB")
{
	struct guest *g = guest_with(M_REAL, unreal);

	*g16(g, 0x6100) = GDT_BYTES - 1;
	*g32(g, 0x6102) = G_GDT;
	RUN_TO(g, ST_DONE);
	CHECK_EQ(*g32(g, 0x500000), 0xcafe + 3000);
}

/* Real to protected to long and back down to 16-bit code, all by the guest. */
CODE16(up, "cli\n lgdtl 0x6100\n mov %cr0, %eax\n or $1, %al\n mov %eax, %cr0\n"
	" ljmpl $0x08, $" LOC(up, up32) "\n .code32\n up32: mov $0x10, %eax\n mov %eax, %ds\n"
	" mov %eax, %es\n mov %eax, %ss\n mov $0x7f00, %esp\n"
	" mov %cr4, %eax\n or $0x20, %eax\n mov %eax, %cr4\n mov $0x100000, %eax\n mov %eax, %cr3\n"
	" mov $0xc0000080, %ecx\n rdmsr\n or $0x100, %eax\n wrmsr\n"
	" mov %cr0, %eax\n or $0x80000000, %eax\n mov %eax, %cr0\n rdmsr\n mov %eax, 0x6200\n"
	" ljmp $0x18, $" LOC(up, up64) "\n .code64\n up64: mov $0x123456789abcdef0, %r8\n"
	" mov %r8, 0x6208\n push %r8\n pop %r9" DONE
	" movabs $" LOC(up, upc) ", %rax\n movq %rax, 0x6210\n movw $8, 0x6214\n ljmpl *0x6210\n"
	" .code32\n upc: mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n"
	" rdmsr\n mov %eax, 0x6204\n ljmp $0x28, $" LOC(up, up16) "\n .code16\n"
	" up16: mov $0x58, %ax\n"
	" mov %ax, %ds\n mov %ax, %ss\n mov %cr0, %eax\n and $0xfe, %al\n mov %eax, %cr0\n"
	" ljmp $0, $" LOC(up, upr) "\n upr: xor %ax, %ax\n mov %ax, %ds\n mov %ax, %ss\n"
	" mov %cs, %dx\n mov $0x77, %al" STOP(2));
T(up, "real to protected to long mode and back, by the guest itself")
{
	struct guest *g = guest_new(M_LONG);	/* for its page tables */
	struct stop s;

	guest_load(g, G_CODE, up);
	*g16(g, 0x6100) = GDT_BYTES - 1;
	*g32(g, 0x6102) = G_GDT;
	g->mode = M_REAL;
	cpu_setup(cpu0(g));
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(*g32(g, 0x6200) & 0x500, 0x500);
	CHECK_EQ(*g64(g, 0x6208), 0x123456789abcdef0);
	CHECK_EQ(s.r.r9, 0x123456789abcdef0);
	s = RUN_TO(g, ST_OUT);
	CHECK_EQ(*g32(g, 0x6204) & 0x500, 0x100);
	CHECK_EQ(s.r.rdx & 0xffff, 0);
	CHECK_EQ(s.val, 0x77);
}
