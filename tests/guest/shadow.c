/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/shadow.c - when an interrupt may be taken: IF, the instruction after STI and
 * MOV SS, the interrupt window; and single steps by TF (APM2 8.1.4, 8.2.2, 13.1.4).
 */
/* Run: build/standin run -- build/tests/guest/guest_shadow [NAME...] */
#include "tests/guest/harness/harness.h"

#define VEC 0x55

CODE64(closed, G_APIC_ON G_APIC_SELF "nop\n nop\n sti\n closed_1: nop\n closed_2: nop\n hlt");
CODE64(popf, G_APIC_ON G_APIC_SELF "push $0x202\n popfq\n popf_1: nop\n hlt");
LABEL(closed_2);
LABEL(popf_1);
T(sti, "a pending interrupt is taken after the instruction behind STI")
{
	struct stop s = RUN_EXC(guest_apic(closed), VEC, -1);

	CHECK_EQ(s.rip, AT(closed, closed_2));
	CHECK_EQ(s.rflags & 0x200, 0x200);
}
T(popf, "POPF that sets IF has no shadow")
{
	struct stop s = RUN_EXC(guest_apic(popf), VEC, -1);

	CHECK_EQ(s.rip, AT(popf, popf_1));
}
CODE64(window, "mov $5, %eax\n nop" STOP(1) "sti\n window_1: nop\n window_2: nop\n hlt");
LABEL(window_2);
T(window, "request_interrupt_window exits once interrupts are possible")
{
	struct guest *g = guest_with(M_LONG, window);
	struct guest_cpu *c = cpu0(g);
	struct stop s;

	c->run->request_interrupt_window = 1;
	s = RUN_TO(g, ST_OUT);
	CHECK_EQ(c->run->ready_for_interrupt_injection, 0);
	CHECK_EQ(c->run->if_flag, 0);
	s = RUN_TO(g, ST_WINDOW);
	CHECK_EQ(c->run->ready_for_interrupt_injection, 1);
	CHECK_EQ(c->run->if_flag, 1);
	CHECK_EQ(s.r.rip, AT(window, window_2));
	c->run->request_interrupt_window = 0;
	cpu_interrupt(c, VEC);
	s = RUN_EXC(g, VEC, -1);
	CHECK_EQ(s.rip, AT(window, window_2));
}
CODE64(sti_hlt, "sti\n hlt\n sti_hlt_next: nop" DONE);
LABEL(sti_hlt_next);
T(sti_hlt, "STI; HLT halts first, then takes the interrupt")
{
	struct guest *g = guest_with(M_LONG, sti_hlt);
	struct stop s = RUN_TO(g, ST_HLT);

	cpu_interrupt(cpu0(g), VEC);
	s = RUN_EXC(g, VEC, -1);
	CHECK_EQ(s.rip, AT(sti_hlt, sti_hlt_next));
}
CODE32(movss, "mov %ss, %eax\n pushf\n" STOP(1) "orl $0x200, (%esp)\n popf\n hlt");
CODE32(movss_tf, "pushf\n orl $0x100, (%esp)\n mov %ss, %eax\n popf\n movss_a: mov %eax, %ss\n"
		 " movss_b2: mov %esp, %ebx\n movss_c: nop" DONE);
LABEL(movss_a);
LABEL(movss_c);
T(movss_tf, "MOV SS holds the single step until after the next instruction")
{
	struct guest *g = guest_with(M_PM32, movss_tf);
	struct stop s = RUN_EXC(g, 1, -1);

	/* After POPF one instruction runs; it is MOV SS, whose trap is held back. */
	CHECK_EQ(s.rip, AT(movss_tf, movss_c));
	CHECK_EQ(s.rflags & 0x100, 0x100);
	CHECK_EQ(s.r.rflags & 0x100, 0);
}

/* -- TF -- */
CODE64(tf, "pushfq\n orl $0x100, (%rsp)\n popfq\n tf_0: mov $1, %eax\n tf_1: add $2, %eax\n"
	" tf_2: jmp tf_3\n ud2\n tf_3: nop\n tf_4: "
	"pushfq\n tf_5: andl $~0x100, (%rsp)\n tf_6: popfq\n tf_7: nop\n nop" DONE);
LABEL(tf_1);
LABEL(tf_2);
LABEL(tf_3);
LABEL(tf_4);
LABEL(tf_5);
LABEL(tf_6);
LABEL(tf_7);
T(tf, "TF traps after each instruction with DR6.BS")
{
	struct guest *g = guest_with(M_LONG, tf);
	struct guest_cpu *c = cpu0(g);
	const u64 at[] = {
		AT(tf, tf_1), AT(tf, tf_2), AT(tf, tf_3), AT(tf, tf_4), AT(tf, tf_5), AT(tf, tf_6),
	};
	struct stop s;

	for (u32 i = 0; i < ARRAY_SIZE(at); i++) {
		struct kvm_debugregs d;

		s = RUN_EXC(g, 1, -1);
		if (!CHECK_EQ(s.rip, at[i]))
			return;
		vcpu_ioctl(c, KVM_GET_DEBUGREGS, &d, "KVM_GET_DEBUGREGS");
		CHECK_EQ(d.dr6 & 0x400f, 0x4000);
		cpu_resume(c, &s, s.rip);
	}
	/* The POPF that clears TF was begun with TF set: it traps (SDM3 17.3.1.4). */
	s = run(g);
	if (s.kind == ST_EXC && s.vec == 1) {
		CHECK_EQ(s.rip, AT(tf, tf_7));
		cpu_resume(c, &s, s.rip);
		s = run(g);
	}
	CHECK_STOP(s, ST_DONE);
}
CODE64(tf_rep, "pushfq\n orl $0x100, (%rsp)\n popfq\n tf_rep_at: rep stosb\n tf_rep_next: nop"
       DONE);
LABEL(tf_rep_at);
LABEL(tf_rep_next);
T(tf_rep, "TF traps after each round of a repeated instruction")
{
	struct guest *g = guest_with(M_LONG, tf_rep);
	struct stop s;

	WITH_REGS(cpu0(g), r) {
		r.rdi = G_DATA;
		r.rcx = 3;
	}
	for (u64 left = 2; left < 3; left--) {
		s = RUN_EXC(g, 1, -1);
		CHECK_EQ(s.r.rcx, left);
		CHECK_EQ(s.rip, left ? AT(tf_rep, tf_rep_at) : AT(tf_rep, tf_rep_next));
		cpu_resume(cpu0(g), &s, s.rip);
	}
}
CODE64(tf_int, "pushfq\n orl $0x100, (%rsp)\n popfq\n int $0x81\n tf_int_next: nop" DONE);
LABEL(tf_int_next);
T(tf_int, "INT n clears TF: the handler is not stepped")
{
	struct guest *g = guest_with(M_LONG, tf_int);
	struct stop s = RUN_EXC(g, 0x81, -1);

	CHECK_EQ(s.rflags & 0x100, 0x100);
	CHECK_EQ(s.rip, AT(tf_int, tf_int_next));
}
CODE64(icebp, "nop\n .byte 0xf1\n nop" DONE);
T(icebp, "INT1 is a trap #DB without DR6.BS")
{
	struct guest *g = guest_with(M_LONG, icebp);
	struct stop s = RUN_EXC(g, 1, -1);

	CHECK_EQ(s.rip, G_CODE + 2);
}
/* -- NMI -- */
CODE64(nmi, "1: pause\n jmp 1b");
T(nmi, "an NMI ignores IF and is blocked until IRET")
{
	struct guest *g = guest_with_code(M_LONG, "\x90\xe6\x01\x90\x90\xe6\x02\xf4", 8);
	struct guest_cpu *c = cpu0(g);
	struct stop s = RUN_TO(g, ST_OUT);

	cpu_complete(c);
	vcpu_ioctl(c, KVM_NMI, NULL, "KVM_NMI");
	s = RUN_EXC(g, 2, -1);
	CHECK_EQ(s.rip, G_CODE + 3);
	vcpu_ioctl(c, KVM_NMI, NULL, "KVM_NMI");
	s = run(g);		/* the stub exits again: still blocked */
	CHECK_EQ(s.kind, ST_EXC);
	CHECK_EQ(s.r.rsp, G_STACK - 40);
	cpu_complete(c);
	s.vec = 2;
	cpu_resume(c, &s, G_CODE + 3);
	s = RUN_EXC(g, 2, -1);
	CHECK_EQ(s.rip, G_CODE + 3);
	cpu_resume(c, &s, s.rip);
	s = RUN_TO(g, ST_OUT);
	CHECK_EQ(s.port, 2);
}
