/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/far.c - far transfers: call gates, IRET in its forms, conforming code,
 * task switches (APM2 4.11, 8.7-8.9, 12.4; SDM3 5.8, 6.14, 7).
 */
/* Run: build/standin run -- build/tests/guest/guest_far [NAME...] */
#include "tests/guest/harness/harness.h"

enum { SEL_GATE = SEL_FREE, SEL_CONF = SEL_FREE + 16, SEL_TGATE = SEL_FREE + 24 };

static u64 gate(u16 sel, u32 off, u8 type, u8 dpl, u8 params)
{
	return (off & 0xffff) | (u64)sel << 16 | (u64)(params & 31) << 32 |
	       (u64)(0x80 | dpl << 5 | type) << 40 | (u64)(off >> 16) << 48;
}

/* -- same privilege -- */
CODE32(far32, "lcall $0x08, $" LOC(far32, far32_in) "\n mov %esp, %esi" DONE "far32_in: mov "
	"%esp, %edi\n mov %cs, %eax\n lret");
CODE32(far32g, "lcall $0x80, $0x12345678\n mov %esp, %esi" DONE "far32g_in: mov %esp, %edi\n"
	" mov %cs, %eax\n lret");
LABEL(far32g_in);
T(far32, "far CALL and RET in 32-bit code, direct and through a call gate")
{
	struct guest *g = guest_with(M_PM32, far32);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.rax & 0xffff, SEL_CODE32);
	CHECK_EQ(s.r.rdi, G_STACK - 8);
	CHECK_EQ(s.r.rsi, G_STACK);
	g = guest_with(M_PM32, far32g);
	guest_gdt(g, SEL_GATE, gate(SEL_CODE32, (u32)AT(far32g, far32g_in), 0xc, 0, 0));
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rdi, G_STACK - 8);
	CHECK_EQ(s.r.rsi, G_STACK);
}
CODE64(far64m, "lcall *(%rdi)\n mov %rsp, %rsi" DONE "far64m_in: mov %rsp, %rbx\n mov %cs, %eax\n"
	" lretq");
LABEL(far64m_in);
T(far64, "64-bit far CALL through memory and a 64-bit call gate")
{
	struct guest *g = guest_with(M_LONG, far64m);
	struct stop s;

	/* m16:32 leads to a gate; its 8-byte frames are what LRETQ takes. */
	*g32(g, G_DATA) = 0;
	*g16(g, G_DATA + 4) = SEL_GATE;
	guest_gdt(g, SEL_GATE, gate(SEL_CODE64, (u32)AT(far64m, far64m_in), 0xc, 0, 0));
	guest_gdt(g, SEL_GATE + 8, 0);
	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rbx, G_STACK - 16);
	CHECK_EQ(s.r.rsi, G_STACK);
	CHECK_EQ(s.r.rax & 0xffff, SEL_CODE64);
}
CODE64(compat, "push $0x08\n push $" LOC(compat, compat_in) "\n lretq\n .code32\n"
	" compat_in: mov $-1, %eax\n inc %eax\n"
	" mov $0x10000, %edi\n mov %cs, %ebx\n .byte 0x40\n push %eax\n pop %ecx\n ljmp $0x18, $"
	LOC(compat, compat_out) "\n"
	" .code64\n compat_out: mov %rcx, %rdx" DONE);
T(compat, "64-bit to compatibility mode and back")
{
	struct stop s = RUN_TO(guest_with(M_LONG, compat), ST_DONE);

	CHECK_EQ(s.r.rax, 1);	/* 0x40 is INC EAX there */
	CHECK_EQ(s.r.rbx & 0xffff, SEL_CODE32);
	CHECK_EQ(s.r.rdx, 1);
	CHECK_EQ(s.r.rsp, G_STACK);
}

/* -- to ring 3 and back -- */
CODE32(outer, "push $0x3b\n push $0x2f000\n pushf\n push $0x33\n push $" LOC(outer, outer3) "\n"
	" iret\n"
	" outer3: mov %cs, %eax\n mov %esp, %esi\n mov %ds, %ecx\n push $1\n push $2\n"
	" lcall $0x83, $0\n"
	" outer_back: mov %esp, %ebx\n" DONE3
	" outer0: mov %cs, %edx\n mov %esp, %ebp\n mov 8(%esp), %edi\n lret $8");
LABEL(outer0);
LABEL(outer_back);
T(gate_inner, "call gate to ring 0 with parameters, RET n back")
{
	struct guest *g = guest_with(M_PM32, outer);
	struct stop s;

	need_stack_switch32();
	guest_gdt(g, SEL_GATE, gate(SEL_CODE32, (u32)AT(outer, outer0), 0xc, 3, 2));
	s = RUN_EXC(g, VEC_DONE3, -1);
	CHECK_EQ(s.r.rax & 0xffff, SEL_UCODE32);
	CHECK_EQ(s.r.rsi, 0x2f000);
	CHECK_EQ(s.r.rcx & 0xffff, 0);		/* DS of DPL 0 is cleared on the way out */
	CHECK_EQ(s.r.rdx & 0xffff, SEL_CODE32);
	CHECK_EQ(s.r.rbp, G_STACK - 6 * 4);	/* SS ESP, two parameters, CS EIP */
	CHECK_EQ(s.r.rdi, 2);
	CHECK_EQ(s.r.rbx, 0x2f000);
	CHECK(s.outer);
	CHECK_EQ(s.ss, SEL_UDATA);
}
T(gate_dpl, "a call gate of DPL 0 from ring 3 is #GP(selector)")
{
	struct guest *g = guest_with(M_PM32, outer);

	need_stack_switch32();
	guest_gdt(g, SEL_GATE, gate(SEL_CODE32, (u32)AT(outer, outer0), 0xc, 0, 2));
	RUN_EXC(g, 13, SEL_GATE);
}
CODE64(outer64, "push $0x3b\n push $0x2f000\n pushf\n push $0x43\n"
	" push $" LOC(outer64, outer64_3) "\n iretq\n"
	" outer64_3: mov %cs, %eax\n mov %rsp, %rsi" DONE3);
T(iret64, "IRETQ to ring 3, INT back on RSP0")
{
	struct stop s = RUN_EXC(guest_with(M_LONG, outer64), VEC_DONE3, -1);

	CHECK_EQ(s.r.rax & 0xffff, SEL_UCODE64);
	CHECK_EQ(s.r.rsi, 0x2f000);
	CHECK_EQ(s.sp, 0x2f000);
	CHECK_EQ(s.ss, SEL_UDATA);
	CHECK_EQ(s.r.rsp, G_STACK - 5 * 8);
}
CODE64(iret_same, "mov %rsp, %rbx\n push $0x10\n push %rbx\n push $0x202\n push $0x18\n"
	" push $" LOC(iret_same, is_to)
	"\n iretq\n hlt\n is_to: mov %rsp, %rcx" DONE);
T(iret_same, "IRETQ to the same ring pops SS and RSP")
{
	struct stop s = RUN_TO(guest_with(M_LONG, iret_same), ST_DONE);

	CHECK_EQ(s.r.rcx, G_STACK);
	CHECK_EQ(s.r.rflags & 0x200, 0x200);
}
T(ist, "an IST gate switches the stack in ring 0 too, aligned to 16")
{
	struct guest *g = guest_with_code(M_LONG, "\x50\xcd\x81", 3);
	struct stop s;

	guest_gate(g, 0x81, SEL_CODE64, G_STUBS + 0x81 * 16, 0xe, 0, 1);
	s = RUN_EXC(g, 0x81, -1);
	CHECK_EQ(s.r.rsp, G_IST1 - 40);
	CHECK_EQ(s.sp, G_STACK - 8);
	guest_free(g);
	g = guest_with_code(M_LONG, "\x50\xcd\x81", 3);	/* push rax: RSP is 8 mod 16 */
	s = RUN_EXC(g, 0x81, -1);
	CHECK_EQ(s.r.rsp, G_STACK - 16 - 40);
}
CODE32(conf, "lcall $0x90, $" LOC(conf, conf_in) "\n" DONE3 "conf_in: mov %cs, %eax\n lret");
T(conforming, "conforming code keeps the caller's ring")
{
	struct guest *g = guest_with(M_PM32, conf);
	struct stop s;

	guest_gdt(g, SEL_CONF, gdt_desc(0, 0xffffffff, 0x9f, 0xc));
	cpu_ring3(cpu0(g), G_CODE);
	s = RUN_EXC(g, VEC_DONE3, -1);
	CHECK_EQ(s.r.rax & 0xffff, SEL_CONF | 3);
}
CODE32(popf3, "pushf\n orl $0x3200, (%esp)\n popf\n pushf\n pop %eax\n mov $0x10000, %ebx" DONE3);
T(popf, "POPF in ring 3 cannot change IOPL, nor IF when IOPL is 0")
{
	struct guest *g = guest_with(M_PM32, popf3);
	struct stop s;

	cpu_ring3(cpu0(g), G_CODE);
	s = RUN_EXC(g, VEC_DONE3, -1);
	CHECK_EQ(s.r.rax & 0x3200, 0);
	guest_free(g);
	g = guest_with(M_PM32, popf3);
	cpu_ring3(cpu0(g), G_CODE);
	WITH_REGS(cpu0(g), r)
		r.rflags |= 0x3000;
	s = run(g);
	CHECK_EQ(s.r.rax & 0x3200, 0x3200);
}

/* -- virtual 8086 -- */
CODE32(v86, "push $0\n push $0\n push $0x1000\n push $0\n push $0x2000\n push $0xfff0\n"
	" push $0x23202\n push $0x700\n push $0x1000 + v86_in - v86_b\n"
	" iret\n .code16\n v86_in: mov $0x55, %al\n mov %al, 0x10\n mov $0x2345, %bx\n"
	" mov %bx, %es\n mov %cs, %cx\n int3");
T(v86, "IRET to virtual-8086 mode and INT3 out of it")
{
	struct guest *g = guest_with(M_PM32, v86);
	struct stop s;

	need_stack_switch32();
	guest_gate(g, 3, SEL_CODE32, G_STUBS + 3 * 16, 0xe, 3, 0);
	s = RUN_EXC(g, 3, -1);
	CHECK_EQ(g->ram[0x10010], 0x55);
	CHECK_EQ(s.r.rcx & 0xffff, 0x700);
	CHECK_EQ(s.cs, 0x700);
	CHECK(s.rflags & 0x20000);
	CHECK_EQ(s.sp, 0xfff0);
	CHECK_EQ(s.ss, 0x2000);
	/* ES DS FS GS are pushed above SS and cleared. */
	CHECK_EQ(*g32(g, (u64)s.r.rsp + 20), 0x2345);
	CHECK_EQ(*g32(g, (u64)s.r.rsp + 24), 0x1000);
	CHECK_EQ(cpu_sregs(cpu0(g)).ds.selector, 0);
}

/* -- task switches -- */
CODE32(task, "mov $0x11, %ebx\n ljmp $0x70, $0\n mov %ebx, %esi\n mov $0x5a, %al" DONE
	"task2: mov %ebx, %ecx\n str %dx\n smsw %ax\n mov $0x99, %ebx\n ljmp $0x48, $0");
LABEL(task2);
static void make_task(struct guest *g, u32 eip)
{
	u32 *t = g32(g, G_TSS2);

	memset(t, 0, 0x68);
	t[1] = G_STACK;
	t[2] = SEL_DATA;
	t[8] = eip;
	t[9] = 2;
	t[13] = 0x7000;		/* EBX..: EAX is [10], ECX EDX EBX ESP follow */
	t[14] = 0x6800;
	t[13] = 0x77;
	t[18] = SEL_DATA;
	t[19] = SEL_CODE32;
	t[20] = t[21] = t[22] = t[23] = SEL_DATA;
	t[25] = 0x680000;
}
T(task_jmp, "JMP to a task and back: registers, busy bits, TS")
{
	struct guest *g = guest_with(M_PM32, task);
	struct stop s;

	make_task(g, (u32)AT(task, task2));
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rsi, 0x11);
	CHECK_EQ(g32(g, G_TSS2)[13], 0x99);	/* saved EBX of the second task */
	CHECK_EQ(g32(g, G_TSS2)[11], 0x77);	/* ECX took the EBX it was given */
	CHECK_EQ(g32(g, G_TSS2)[12] & 0xffff, SEL_TSS2);
	CHECK_EQ(g32(g, G_TSS2)[10] & 8, 8);	/* CR0.TS */
	CHECK_EQ(g->ram[G_GDT + SEL_TSS2 + 5] & 2, 0);
	CHECK_EQ(g->ram[G_GDT + SEL_TSS + 5] & 2, 2);
	CHECK_EQ(cpu_sregs(cpu0(g)).tr.selector, SEL_TSS);
}
CODE32(task_call, "mov $0x11, %ebx\n lcall $0x70, $0\n mov %ebx, %esi" DONE
	"task2c: pushf\n pop %eax\n mov $0x99, %ebx\n iret");
LABEL(task2c);
T(task_call, "CALL to a task nests: NT, back link, IRET returns")
{
	struct guest *g = guest_with(M_PM32, task_call);
	struct stop s;

	make_task(g, (u32)AT(task_call, task2c));
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rsi, 0x11);
	CHECK_EQ(*g16(g, G_TSS2), SEL_TSS);
	CHECK_EQ(g32(g, G_TSS2)[10] & 0x4000, 0x4000);
	CHECK_EQ(s.r.rflags & 0x4000, 0);
	CHECK_EQ(g->ram[G_GDT + SEL_TSS2 + 5] & 2, 0);
}
CODE32(task_int, "mov $0x11, %ebx\n int $0x82\n mov %ebx, %esi" DONE "task2i: mov $0x99, %ebx\n"
	" iret");
LABEL(task2i);
T(task_gate, "INT through a task gate")
{
	struct guest *g = guest_with(M_PM32, task_int);
	struct stop s;

	make_task(g, (u32)AT(task_int, task2i));
	guest_gate(g, 0x82, SEL_TSS2, 0, 5, 0, 0);
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rsi, 0x11);
	CHECK_EQ(g32(g, G_TSS2)[13], 0x99);
}

CODE32(task_ud, "task_ud_x: ud2\n nop" DONE "task_udh: mov $0x99, %ebx" DONE);
LABEL(task_ud_x);
LABEL(task_udh);
CODE32(task_intn, "int $0x82\n nop" DONE "task_intnh: mov $0x99, %ebx" DONE);
LABEL(task_intnh);
T(task_rf, "a fault through a task gate leaves RF in the outgoing TSS, INT n does not (APM2 3.1.6)")
{
	struct guest *g = guest_with(M_PM32, task_ud);
	struct stop s;

	make_task(g, (u32)AT(task_ud, task_udh));
	guest_gate(g, 6, SEL_TSS2, 0, 5, 0, 0);
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rbx & 0xff, 0x99);
	CHECK_EQ(g32(g, G_TSS)[8], AT(task_ud, task_ud_x));
	CHECK_EQ(g32(g, G_TSS)[9] & 0x10000, 0x10000);
	guest_free(g);

	g = guest_with(M_PM32, task_intn);
	make_task(g, (u32)AT(task_intn, task_intnh));
	guest_gate(g, 0x82, SEL_TSS2, 0, 5, 0, 0);
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rbx & 0xff, 0x99);
	CHECK_EQ(g32(g, G_TSS)[9] & 0x10000, 0);
	guest_free(g);
}
