/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/stepping.c - single steps that meet something else: the shadow of MOV SS, ICEBP,
 * general detect, HLT, instructions that leave the CPU (SDM3 17.3; kvm-unit-tests' debug has the
 * same cases).
 */
/* Run: build/standin run -- build/tests/guest/guest_stepping [NAME...] */
#include "tests/guest/harness/harness.h"

#define DR6_INIT 0xffff0ff0u
#define BS 0x4000u
#define BD 0x2000u

/* RFLAGS.TF by POPF: the first trap comes after the instruction behind it. */
#define TF_ON "pushf\n orl $0x100, (%rsp)\n popf\n"
#define TF_OFF "pushf\n andl $0xfffffeff, (%rsp)\n popf\n"

struct trap {
	u64 rip;
	u32 dr6;
};

static u32 dr6(struct guest *g)
{
	struct kvm_debugregs d;

	vcpu_ioctl(cpu0(g), KVM_GET_DEBUGREGS, &d, "KVM_GET_DEBUGREGS");
	return (u32)d.dr6;
}

static void clear_dr6(struct guest *g)
{
	struct kvm_debugregs d;

	vcpu_ioctl(cpu0(g), KVM_GET_DEBUGREGS, &d, "KVM_GET_DEBUGREGS");
	d.dr6 = DR6_INIT;
	vcpu_ioctl(cpu0(g), KVM_SET_DEBUGREGS, &d, "KVM_SET_DEBUGREGS");
}

/* Exactly these #DBs, then the end. */
static void expect(struct guest *g, const struct trap *t, u32 n)
{
	for (u32 i = 0;; i++) {
		struct stop s = run(g);

		if (i == n) {
			CHECK_STOP(s, ST_DONE);
			return;
		}
		if (s.kind != ST_EXC || s.vec != 1) {
			test_fail(__FILE__, __LINE__, "trap %u: %s", i, stop_text(&s));
			return;
		}
		if (s.rip != t[i].rip || dr6(g) != (DR6_INIT | t[i].dr6))
			test_fail(__FILE__, __LINE__, "trap %u: rip %llx dr6 %x, expected %llx %x",
				  i, (unsigned long long)s.rip, dr6(g),
				  (unsigned long long)t[i].rip, DR6_INIT | t[i].dr6);
		clear_dr6(g);
		cpu_resume(cpu0(g), &s, s.rip);
	}
}

CODE64(icebp, "mov %ss, %cx\n" TF_ON "mov %cx, %ss\n .byte 0xf1\n"
	"icebp_1: .byte 0xf1\n icebp_2: nop\n icebp_3: pushf\n"
	"icebp_4: andl $0xfffffeff, (%rsp)\n icebp_5: popf\n icebp_6: nop" DONE);
LABEL(icebp_1);
LABEL(icebp_2);
LABEL(icebp_3);
LABEL(icebp_4);
LABEL(icebp_5);
LABEL(icebp_6);

T(icebp, "ICEBP under TF reports itself only, also in the shadow of MOV SS")
{
	struct guest *g = guest_with(M_LONG, icebp);
	const struct trap t[] = {
		{ AT(icebp, icebp_1), 0 }, { AT(icebp, icebp_2), 0 }, { AT(icebp, icebp_3), BS },
		{ AT(icebp, icebp_4), BS }, { AT(icebp, icebp_5), BS }, { AT(icebp, icebp_6), BS },
	};

	expect(g, t, ARRAY_SIZE(t));
	guest_free(g);
}

CODE64(detect, "mov %ss, %cx\n xor %eax, %eax\n mov $0x2400, %edx\n mov %rdx, %dr7\n"
	TF_ON "mov %cx, %ss\n detect_1: mov %rax, %dr6\n detect_2: nop\n detect_3: pushf\n"
	"detect_4: andl $0xfffffeff, (%rsp)\n detect_5: popf\n detect_6: nop" DONE);
LABEL(detect_1);
LABEL(detect_2);
LABEL(detect_3);
LABEL(detect_4);
LABEL(detect_5);
LABEL(detect_6);

T(detect, "general detect is a fault also in the shadow of MOV SS, and clears DR7.GD")
{
	struct guest *g = guest_with(M_LONG, detect);
	const struct trap t[] = {
		{ AT(detect, detect_1), BD }, { AT(detect, detect_2), BS },
		{ AT(detect, detect_3), BS }, { AT(detect, detect_4), BS },
		{ AT(detect, detect_5), BS }, { AT(detect, detect_6), BS },
	};

	expect(g, t, ARRAY_SIZE(t));
	guest_free(g);
}

CODE64(leaving, TF_ON "leaving_0: xor %eax, %eax\n leaving_1: cpuid\n leaving_2: mov $0x1b, %ecx\n"
	"leaving_3: rdmsr\n leaving_4: nop\n leaving_5: pushf\n"
	"leaving_6: andl $0xfffffeff, (%rsp)\n leaving_7: popf\n leaving_8: nop" DONE);
LABEL(leaving_1);
LABEL(leaving_2);
LABEL(leaving_3);
LABEL(leaving_4);
LABEL(leaving_5);
LABEL(leaving_6);
LABEL(leaving_7);
LABEL(leaving_8);

T(leaving, "CPUID and RDMSR are stepped like any other instruction")
{
	struct guest *g = guest_with(M_LONG, leaving);
	const u8 *const at[] = { leaving_1, leaving_2, leaving_3, leaving_4, leaving_5, leaving_6,
				 leaving_7, leaving_8 };
	struct trap t[ARRAY_SIZE(at)];

	for (u32 i = 0; i < ARRAY_SIZE(at); i++)
		t[i] = (struct trap){ AT(leaving, at[i]), BS };
	expect(g, t, ARRAY_SIZE(t));
	guest_free(g);
}

/* IN leaves KVM_RUN: the trap comes when it has been completed. */
CODE64(port, TF_ON "port_0: in $0x71, %al\n port_1: out %al, $0x72\n port_2: pushf\n"
	"port_3: andl $0xfffffeff, (%rsp)\n port_4: popf\n port_5: nop" DONE);
LABEL(port_1);
LABEL(port_2);

T(port, "IN and OUT that leave KVM_RUN are stepped when they are complete")
{
	struct guest *g = guest_with(M_LONG, port);
	struct stop s = RUN_TO(g, ST_IN);

	cpu_answer(cpu0(g), 0x5a);
	s = RUN_EXC(g, 1, -1);
	CHECK_EQ(s.rip, AT(port, port_1));
	CHECK_EQ(s.r.rax & 0xff, 0x5a);
	CHECK_EQ(dr6(g), DR6_INIT | BS);
	cpu_resume(cpu0(g), &s, s.rip);
	s = RUN_TO(g, ST_OUT);
	s = RUN_EXC(g, 1, -1);
	CHECK_EQ(s.rip, AT(port, port_2));
	guest_free(g);
}

/* STI; HLT with the APIC's timer as the alarm: the step over STI, the one over HLT, which is there
 * before the interrupt that would have woken it. */
CODE64(halt, "mov $0xfee00000, %ebp\n xor %r8d, %r8d\n movl $0x1ff, 0xf0(%rbp)\n"
	"movl $0xb, 0x3e0(%rbp)\n movl $0xee, 0x320(%rbp)\n movl $3000000, 0x380(%rbp)\n"
	TF_ON "sti\n halt_1: hlt\n halt_2: cli\n halt_3: pushf\n halt_4: andl $0xfffffeff, (%rsp)\n"
	"halt_5: popf\n halt_6: nop" DONE
	"halt_h: inc %r8d\n movl $0, 0xb0(%rbp)\n iretq\n");
LABEL(halt_1);
LABEL(halt_2);
LABEL(halt_3);
LABEL(halt_4);
LABEL(halt_5);
LABEL(halt_6);
LABEL(halt_h);

T(halt, "HLT under TF is a step like any other")
{
	struct guest *g = guest_apic_irq(halt, 0xee);
	const struct trap t[] = {
		{ AT(halt, halt_1), BS }, { AT(halt, halt_2), BS }, { AT(halt, halt_3), BS },
		{ AT(halt, halt_4), BS }, { AT(halt, halt_5), BS }, { AT(halt, halt_6), BS },
	};

	expect(g, t, ARRAY_SIZE(t));
	guest_free(g);
}

T(debugger, "a debugger that steps over HLT gets control behind it; the CPU stays halted")
{
	struct guest *g = guest_new_flags(M_LONG, GUEST_IRQCHIP);
	struct kvm_guest_debug d = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
	};
	struct kvm_mp_state mp;

	guest_write(g, G_CODE, "\x90\xf4\x90", 3);
	vcpu_ioctl(cpu0(g), KVM_SET_GUEST_DEBUG, &d, "KVM_SET_GUEST_DEBUG");
	RUN_TO(g, ST_DEBUG);
	RUN_TO(g, ST_DEBUG);
	CHECK_EQ(cpu_regs(cpu0(g)).rip, G_CODE + 2);
	vcpu_ioctl(cpu0(g), KVM_GET_MP_STATE, &mp, "KVM_GET_MP_STATE");
	CHECK_EQ(mp.mp_state, KVM_MP_STATE_HALTED);
	guest_free(g);
}

/* A data breakpoint on what MOV SS loads is held back like a step (SDM3 17.3.1.1), and is told with
 * or behind what the next instruction raises. r8 #DBs, r9 #BPs. */
#define WATCHED(insn) \
	"xor %r8d, %r8d\n xor %r9d, %r9d\n mov $0x10000, %edi\n" \
	"mov %ss, %eax\n mov %eax, (%rdi)\n" \
	"mov %rdi, %dr1\n mov $0x00f0040a, %eax\n mov %rax, %dr7\n mov (%rdi), %ss\n" insn \
	"nop\n xor %eax, %eax\n mov %rax, %dr7" DONE
#define HANDLERS(n) n "_db: inc %r8d\n iretq\n" n "_bp: inc %r9d\n iretq\n"
CODE64(watch_icebp, WATCHED(".byte 0x2e, 0x2e, 0xf1\n") HANDLERS("watch_icebp"));
CODE64(watch_int1, WATCHED("int $1\n") HANDLERS("watch_int1"));
CODE64(watch_int3, WATCHED("int3\n") HANDLERS("watch_int3"));
CODE64(watch_nop, WATCHED("nop\n") HANDLERS("watch_nop"));
LABEL(watch_icebp_db); LABEL(watch_icebp_bp);
LABEL(watch_int1_db); LABEL(watch_int1_bp);
LABEL(watch_int3_db); LABEL(watch_int3_bp);
LABEL(watch_nop_db); LABEL(watch_nop_bp);

static void watched(const void *code, u64 len, u64 db, u64 bp, u32 dbs, u32 bps)
{
	struct guest *g = guest_with_code(M_LONG, code, (u32)len);
	struct stop s;

	guest_gate(g, 1, SEL_CODE64, db, 0xe, 0, 0);
	guest_gate(g, 3, SEL_CODE64, bp, 0xe, 0, 0);
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.r8, dbs);
	CHECK_EQ(s.r.r9, bps);
	CHECK_EQ(dr6(g) & 0xf, 2);
	guest_free(g);
}
#define WATCH_CASE(n, dbs, bps) watched(n##_b, LEN(n), AT(n, n##_db), AT(n, n##_bp), dbs, bps)

T(watched_ss, "a data breakpoint hit by MOV SS and the next instruction's own exception")
{
	WATCH_CASE(watch_nop, 1, 0);
	WATCH_CASE(watch_icebp, 1, 0);
	WATCH_CASE(watch_int1, 2, 0);
	WATCH_CASE(watch_int3, 1, 1);
}

/* The operands lie in pages that no access has been made to: both are looked up in the middle. */
CODE64(step_vector, "movq %rbx, %xmm0\n" TF_ON "movups %xmm0, 0x1ff8(%rdi)\n movups (%rdi), %xmm0\n"
	" fldl 0x3000(%rdi)\n" TF_OFF "movq %xmm0, %rax\n fistpll 0x10000\n mov 0x10000, %rcx\n"
				      " mov 0x1ff8(%rdi), %rdx" DONE);
T(step_vector, "vector and x87 state is kept when a step meets a page for the first time")
{
	static const u64 in = 0x1122334455667788, five = 0x4014000000000000;	/* 5.0 */
	struct guest *g = guest_with(M_LONG, step_vector);
	struct stop s;

	guest_write(g, 0x340000, &in, sizeof(in));
	guest_write(g, 0x343000, &five, sizeof(five));
	WITH_REGS(cpu0(g), r) {
		r.rdi = 0x340000;
		r.rbx = 0xabcdef;
	}
	for (;;) {
		s = run(g);
		if (s.kind != ST_EXC || s.vec != 1)
			break;
		cpu_resume(cpu0(g), &s, s.rip);
	}
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rax, in);
	CHECK_EQ(s.r.rcx, 5);
	CHECK_EQ(s.r.rdx, 0xabcdef);
}

/* Watched besides the data: where the #DB's frame goes, and its gate. */
CODE64(nested_bp, "xor %r8d, %r8d\n mov $0x10000, %edi\n mov %rsp, %rax\n and $~15, %rax\n"
	" sub $8, %rax\n"
	" mov %rax, %dr0\n mov %rdi, %dr1\n mov $0x2010, %eax\n mov %rax, %dr2\n"
	" mov $0x0bd9042a, %eax\n mov %rax, %dr7\n"
	" movl $1, (%rdi)\n nop\n mov %dr6, %r10\n mov $0xffff0ff0, %eax\n mov %rax, %dr6\n"
	" .byte 0xf1\n nop\n mov %dr6, %r11\n mov %r8d, %r9d\n pushq $1\n nop\n xor %eax, %eax\n"
	" mov %rax, %dr7" DONE
	"nested_bp_db: inc %r8d\n cmp $5, %r8d\n jb 1f\n xor %eax, %eax\n mov %rax, %dr7\n"
	" 1: iretq\n");
LABEL(nested_bp_db);

T(nested_breakpoints, "data breakpoints that the delivery of a #DB hits are ignored, as CPUID says")
{
	struct guest *g = guest_with(M_LONG, nested_bp);
	struct stop s;

	guest_handler(g, 1, AT(nested_bp, nested_bp_db));
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.r9, 2);		/* the store's and ICEBP's */
	CHECK_EQ(s.r.r10 & 0xf, 2);
	CHECK_EQ(s.r.r11 & 0xf, 0);
	CHECK_EQ(s.r.r8, 3);		/* the slot itself is watched */
	CHECK_EQ(dr6(g) & 0xf, 1);
	CHECK(guest_has(g, 0x80000021, 0, 0));
	guest_free(g);
}
