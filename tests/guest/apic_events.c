/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/apic_events.c - what the local APIC does by itself: its timer in all three modes,
 * NMIs sent by ICR, and a disabled APIC (SDM3 11.4, 11.5.4, 11.6.1).
 */
/* Run: build/standin run -- build/tests/guest/guest_apic_events [NAME...] */
#include <sys/ioctl.h>

#include "tests/guest/harness/harness.h"

#define VEC 0xee
#define BEGIN G_APIC_ON "xor %r8d, %r8d\n"
#define EOI G_APIC_EOI

/* -- timer -- */

/* r10 rounds, r11 those in which the interrupt was not there in time, r12 deadlines left armed */
CODE64(deadline, BEGIN "movl $0x400ee, 0x320(%rbp)\n sti\n mov $3000, %edi\n"
	"xor %r10d, %r10d\n xor %r11d, %r11d\n xor %r12d, %r12d\n"
	"1: rdtsc\n mov $0x6e0, %ecx\n wrmsr\n nop\n inc %r10d\n cmp %r10d, %r8d\n je 2f\n"
	"inc %r11d\n"
	"2: rdmsr\n or %edx, %eax\n jz 3f\n inc %r12d\n 3: dec %edi\n jnz 1b" DONE
	"deadline_h: inc %r8d\n" EOI "iretq\n");
LABEL(deadline_h);

T(deadline, "a TSC deadline that is reached already fires at once, and is disarmed")
{
	struct guest *g = guest_apic_irq(deadline, VEC);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.r10, 3000);
	CHECK_EQ(s.r.r8, 3000);
	CHECK_EQ(s.r.r11, 0);
	CHECK_EQ(s.r.r12, 0);
	guest_free(g);
}

/* TMICT in one-shot and periodic mode is not there in deadline mode, and changing to or from that
 * disarms (SDM3 11.5.4.1). */
CODE64(modes, BEGIN "movl $0xb, 0x3e0(%rbp)\n movl $0x100ee, 0x320(%rbp)\n"
	"movl $0x7fffffff, 0x380(%rbp)\n mov 0x390(%rbp), %r10d\n"
	"movl $0x300ee, 0x320(%rbp)\n mov 0x380(%rbp), %r11d\n mov 0x390(%rbp), %r12d\n"
	"movl $0x500ee, 0x320(%rbp)\n mov 0x380(%rbp), %r13d\n mov 0x390(%rbp), %r14d\n"
	"movl $0x1000, 0x380(%rbp)\n mov 0x380(%rbp), %r15d\n"
	"mov $0x6e0, %ecx\n mov $-1, %eax\n mov $0x7fffffff, %edx\n wrmsr\n"
	"movl $0x100ee, 0x320(%rbp)\n rdmsr\n mov %eax, %esi\n mov 0x390(%rbp), %edi\n"
	"movl $0x500ee, 0x320(%rbp)\n rdmsr" DONE "modes_h: iretq\n");
LABEL(modes_h);

T(modes, "one-shot and periodic share the count; TSC-deadline mode begins and ends disarmed")
{
	struct guest *g = guest_apic_irq(modes, VEC);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK(s.r.r10 > 0x40000000 && s.r.r10 <= 0x7fffffff);
	CHECK_EQ(s.r.r11, 0x7fffffff);
	CHECK(s.r.r12 > 0x40000000 && s.r.r12 <= s.r.r10);	/* it ran on */
	CHECK_EQ(s.r.r13, 0);
	CHECK_EQ(s.r.r14, 0);
	CHECK_EQ(s.r.r15, 0);
	CHECK_EQ(s.r.rsi, 0);
	CHECK_EQ(s.r.rdi, 0);
	CHECK_EQ((u32)s.r.rax, 0);
	guest_free(g);
}

/* A one-shot that is made periodic goes on from where it is, then begins anew; one that has run
 * out stays at 0. 5 ms at divide 1. All again if the host has let half of that pass between two
 * instructions. */
#define HALF "cmp $2500000, %eax\n"
CODE64(change, BEGIN "movl $0xb, 0x3e0(%rbp)\n"
	"9: movl $0x100ee, 0x320(%rbp)\n movl $5000000, 0x380(%rbp)\n"
	"1: mov 0x390(%rbp), %eax\n" HALF "ja 1b\n"
	"movl $0x300ee, 0x320(%rbp)\n mov 0x390(%rbp), %r10d\n test %r10d, %r10d\n jz 9b\n"
	"2: mov 0x390(%rbp), %eax\n" HALF "jbe 2b\n mov %eax, %r11d\n"
	"3: mov 0x390(%rbp), %eax\n" HALF "ja 3b\n"
	"movl $0x100ee, 0x320(%rbp)\n mov 0x390(%rbp), %r12d\n cmp $2500000, %r12d\n ja 9b\n"
	"4: mov 0x390(%rbp), %eax\n test %eax, %eax\n jnz 4b\n"
	"movl $0x300ee, 0x320(%rbp)\n mov 0x390(%rbp), %r13d\n mov 0x380(%rbp), %r14d" DONE
	"change_h: iretq\n");
LABEL(change_h);

T(change, "a change between one-shot and periodic lets the count run on")
{
	struct guest *g = guest_apic_irq(change, VEC);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK(s.r.r10 <= 2500000);	/* it has not begun anew */
	CHECK(s.r.r11 > 2500000 && s.r.r11 <= 5000000);
	CHECK(s.r.r12 <= 2500000);
	CHECK_EQ(s.r.r13, 0);
	CHECK_EQ(s.r.r14, 5000000);
	guest_free(g);
}

/* -- NMI -- */

/* r8 NMIs, r10 rounds, r11 those in which the count was not two at the next instruction */
#define SEND_NMI "movl $0x400, 0x300(%rbp)\n"
CODE64(nmis, BEGIN "movl $0, 0x310(%rbp)\n xor %r10d, %r10d\n xor %r11d, %r11d\n"
	"1: xor %r8d, %r8d\n" SEND_NMI "cmp $2, %r8d\n je 2f\n inc %r11d\n"
	"2: inc %r10d\n cmp $3000, %r10d\n jne 1b" DONE
	"nmis_h: inc %r8d\n cmp $1, %r8d\n jne 4f\n"
	"mov $10, %ecx\n 3: " SEND_NMI "dec %ecx\n jnz 3b\n cmp $1, %r8d\n je 4f\n"
	"inc %r11d\n 4: iretq\n");
LABEL(nmis_h);

T(nmis, "of many NMIs sent to oneself in an NMI handler one is left, taken after IRET")
{
	struct guest *g = guest_apic_irq(nmis, 2);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.r10, 3000);
	CHECK_EQ(s.r.r11, 0);
	CHECK_EQ(s.r.r8, 2);
	guest_free(g);
}

CODE64(lint1, BEGIN "movl $0x400, 0x360(%rbp)\n movl $0x10400, 0x360(%rbp)\n nop" DONE
	"lint1_h: inc %r8d\n iretq\n");
LABEL(lint1_h);

T(lint1, "opening LINT1 for NMI raises none by itself")
{
	struct guest *g = guest_apic_irq(lint1, 2);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.r8, 0);
	guest_free(g);
}

/* In the shadow of STI or MOV SS an NMI waits for one instruction. */
T(nmi_shadow, "an NMI waits for the instruction after STI or MOV SS")
{
	for (u8 shadow = KVM_X86_SHADOW_INT_MOV_SS; shadow <= KVM_X86_SHADOW_INT_STI; shadow++) {
		struct guest *g = guest_with_code(M_LONG, "\x90\x90\x90\xf4", 4);
		struct kvm_vcpu_events e;
		struct stop s;

		vcpu_ioctl(cpu0(g), KVM_GET_VCPU_EVENTS, &e, "KVM_GET_VCPU_EVENTS");
		e.flags = KVM_VCPUEVENT_VALID_SHADOW;
		e.interrupt.shadow = shadow;
		vcpu_ioctl(cpu0(g), KVM_SET_VCPU_EVENTS, &e, "KVM_SET_VCPU_EVENTS");
		vcpu_ioctl(cpu0(g), KVM_NMI, NULL, "KVM_NMI");
		s = RUN_EXC(g, 2, -1);
		CHECK_EQ(s.rip, G_CODE + 1);
		guest_free(g);
	}
}

/* -- a disabled APIC -- */

#define BASE(set, clear) \
	"mov $0x1b, %ecx\n rdmsr\n and $~(" clear "), %eax\n or $(" set "), %eax\n wrmsr\n"
CODE64(disabled, BEGIN "mov $5, %eax\n mov %rax, %cr8\n mov 0x80(%rbp), %r10d\n"
	BASE("0", "0xc00") "mov 0x30(%rbp), %r11d\n movl $0, 0x80(%rbp)\n mov %cr8, %r12\n"
	"mov $9, %eax\n mov %rax, %cr8\n mov %cr8, %r13\n"
	"mov $1, %eax\n xor %ecx, %ecx\n cpuid\n mov %edx, %r14d\n"
	BASE("0x800", "0") "mov $0xfee00000, %ebp\n mov 0x80(%rbp), %r15d\n"
	"mov $1, %eax\n xor %ecx, %ecx\n cpuid\n mov %edx, %esi\n"
	BASE("0x400", "0") "mov 0x30(%rbp), %edi\n movl $0, 0x80(%rbp)\n mov %cr8, %r8" DONE
	"disabled_h: iretq\n");
LABEL(disabled_h);

T(disabled, "a disabled APIC has no page and no CPUID bit, but CR8; x2APIC mode has no page")
{
	struct guest *g = guest_apic_irq(disabled, VEC);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.r10, 0x50);
	CHECK_EQ((u32)s.r.r11, ~0u);
	CHECK_EQ(s.r.r12, 5);
	CHECK_EQ(s.r.r13, 9);
	CHECK_EQ(s.r.r14 >> 9 & 1, 0);
	CHECK_EQ(s.r.r15, 0x90);
	CHECK_EQ(s.r.rsi >> 9 & 1, 1);
	CHECK_EQ((u32)s.r.rdi, ~0u);
	CHECK_EQ(s.r.r8, 9);
	guest_free(g);
}

/* Each row: the base register's mode bits before and after, and whether WRMSR takes it. */
CODE64(base, "wrmsr" DONE);

T(transitions, "which changes of mode IA32_APIC_BASE takes from the guest")
{
	static const struct { u32 from, to; bool ok; } rows[] = {
		{ 0x800, 0x800, true }, { 0x800, 0xc00, true }, { 0x800, 0, true },
		{ 0x800, 0x400, false }, { 0xc00, 0xc00, true }, { 0xc00, 0x800, false },
		{ 0xc00, 0, true }, { 0xc00, 0x400, false }, { 0, 0xc00, false },
		{ 0, 0x400, false }, { 0, 0x800, true }, { 0, 0, true },
		{ 0x800, 0x801, false }, { 0x800, 0xa00, false },
	};

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_new_flags(M_LONG, GUEST_IRQCHIP);
		struct stop s;

		guest_load(g, G_CODE, base);
		cpu_set_msr(cpu0(g), 0x1b, 0xfee00100 | rows[i].from);
		WITH_REGS(cpu0(g), r) {
			r.rcx = 0x1b;
			r.rax = 0xfee00100 | rows[i].to;
			r.rdx = 0;
		}
		s = run(g);
		if (rows[i].ok ? s.kind != ST_DONE : s.kind != ST_EXC || s.vec != 13)
			test_fail(__FILE__, __LINE__, "%x to %x: %s", rows[i].from, rows[i].to,
				  stop_text(&s));
		CHECK_EQ(cpu_msr(cpu0(g), 0x1b) & 0xfff,
			 0x100 | (rows[i].ok ? rows[i].to : rows[i].from));
		guest_free(g);
	}
}
