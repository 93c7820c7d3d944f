/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/debug_insns.c - TF, RF, data and instruction breakpoints around each class of
 * instruction (APM2 13.1, 3.1.6; SDM3 17.3 where it says more). Each case is a snippet with marks,
 * in the order in which the #DBs come.
 */
/* Run: build/standin run -- build/tests/guest/guest_debug_insns [NAME...] */
#include "tests/guest/harness/svm.h"

#define BS 0x4000
#define DR6_INIT 0xffff0ff0u
enum { MSR_STAR = 0xc0000081, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK };

/* A #DB is due here, with these bits in DR6: a line of the case's own table. */
#define DB(name, bits) \
	"\n991:\n.pushsection .rodata.marks." #name ",\"a\"\n.long 991b - " #name "_b, " #bits \
	"\n.popsection\n"
/* The same for the instruction behind it having been one that does not go on in line. */
#define DB_AT(name, label, bits) \
	"\n.pushsection .rodata.marks." #name ",\"a\"\n.long " #label " - " #name "_b, " #bits \
	"\n.popsection\n"
/* The table begins in front of the code and ends behind it. */
#define CASE(bits, name, text) \
	__asm__(".pushsection .rodata.marks." #name ",\"a\"\n.balign 8\n" #name "_m:\n" \
		".popsection\n"); \
	CODE##bits(name, text); \
	__asm__(".pushsection .rodata.marks." #name ",\"a\"\n" #name "_n:\n.popsection\n"); \
	extern const u32 name##_m[], name##_n[]

struct at {
	u64 base;
	const u32 *m, *n;
};
#define MARKS(name) (struct at){ G_CODE, name##_m, name##_n }

static u32 dr6_take(struct guest *g)
{
	struct kvm_debugregs d;
	u32 v;

	vcpu_ioctl(cpu0(g), KVM_GET_DEBUGREGS, &d, "KVM_GET_DEBUGREGS");
	v = (u32)d.dr6;
	d.dr6 = DR6_INIT;
	vcpu_ioctl(cpu0(g), KVM_SET_DEBUGREGS, &d, "KVM_SET_DEBUGREGS");
	return v;
}

static void set_dr(struct guest *g, u32 n, u64 addr, u64 dr7)
{
	struct kvm_debugregs d;

	vcpu_ioctl(cpu0(g), KVM_GET_DEBUGREGS, &d, "KVM_GET_DEBUGREGS");
	d.db[n] = addr;
	d.dr7 |= dr7 | 0x400;
	vcpu_ioctl(cpu0(g), KVM_SET_DEBUGREGS, &d, "KVM_SET_DEBUGREGS");
}
/* DR7 of breakpoint n: type 0 execute, 1 write, 3 read or write; length code 0, 1, 3 for 1, 2,
 * 4. */
#define DR7(n, type, len) (2ull << 2 * (n) | (u64)((type) | (len) << 2) << (16 + 4 * (n)))

/* The #DBs of the table and no others; user space answers what is its own. */
static void follow(struct guest *g, const struct at t)
{
	const u32 *m = t.m;

	for (u32 i = 0; i < 200; i++) {
		struct stop s = run(g);

		switch (s.kind) {
		case ST_DONE:
			if (m != t.n)
				test_fail(__FILE__, __LINE__, "the end, expected #DB at +%x", m[0]);
			return;
		case ST_IN:
			cpu_answer(cpu0(g), 0x1234);
			continue;
		case ST_MMIO:
			if (!s.write)
				cpu_answer(cpu0(g), 0x5678);
			continue;
		case ST_OUT:
			continue;
		default:
			break;
		}
		if (s.kind == ST_EXC && s.vec == VEC_DONE3) {
			CHECK(m == t.n);
			return;
		}
		if (s.kind != ST_EXC || s.vec != 1) {
			test_fail(__FILE__, __LINE__, "%s, code +%llx", stop_text(&s),
				  (unsigned long long)(s.rip - t.base));
			return;
		}
		u32 dr6 = dr6_take(g);

		if (m == t.n) {
			test_fail(__FILE__, __LINE__, "#DB at +%llx dr6 %x, expected the end",
				  (unsigned long long)(s.rip - t.base), dr6);
			return;
		}
		if (s.rip - t.base != m[0] || dr6 != (DR6_INIT | m[1])) {
			test_fail(__FILE__, __LINE__, "#DB at +%llx dr6 %x, expected +%x %x",
				  (unsigned long long)(s.rip - t.base), dr6, m[0], DR6_INIT | m[1]);
			return;
		}
		m += 2;
		cpu_resume(cpu0(g), &s, s.rip);
	}
	test_fail(__FILE__, __LINE__, "no end");
}

static struct guest *with_tf(const u8 *code, u64 len)
{
	struct guest *g = guest_with_code(M_LONG, code, (u32)len);

	WITH_REGS(cpu0(g), r) {
		r.rflags |= 0x100;
		r.rdi = G_DATA;
		r.rsi = G_DATA + 0x100;
		r.rbp = G_MMIO;
	}
	return g;
}
#define TF(name) \
	do { \
		struct guest *g_ = with_tf(name##_b, LEN(name)); \
		follow(g_, MARKS(name)); \
		guest_free(g_); \
	} while (0)

/* -- TF -- */

CASE(64, t_plain, "nop" DB(t_plain, 0x4000) "jmp 1f\n 1:" DB(t_plain, 0x4000) "call 2f\n 2:"
	DB(t_plain, 0x4000) "pop %rax" DB(t_plain, 0x4000) "lock incl (%rdi)" DB(t_plain, 0x4000)
	"cpuid" DB(t_plain, 0x4000) "rdtsc" DB(t_plain, 0x4000) "mov %cr0, %rax" DB(t_plain, 0x4000)
	"mov %rax, %cr0" DB(t_plain, 0x4000) "push %rsp" DB(t_plain, 0x4000) "pop %rax"
	DB(t_plain, 0x4000) DONE);
T(t_plain, "TF: every instruction, also those that C executes")
{
	TF(t_plain);
}

CASE(64, t_shadow, "mov %ss, %eax" DB(t_shadow, 0x4000) "mov %eax, %ss\n nop" DB(t_shadow, 0x4000)
	"push %rax" DB(t_shadow, 0x4000) "pop %rcx" DB(t_shadow, 0x4000) "mov %eax, %ss\n"
		" mov %eax, %ss\n nop"
	DB(t_shadow, 0x4000) "sti" DB(t_shadow, 0x4000) "cli" DB(t_shadow, 0x4000) DONE);
T(t_shadow, "TF: MOV SS holds it back behind the next instruction, STI does not")
{
	TF(t_shadow);
}

CASE(64, t_flags, "pushf" DB(t_flags, 0x4000) "pop %rax" DB(t_flags, 0x4000) "push %rax"
	DB(t_flags, 0x4000) "popf" DB(t_flags, 0x4000) "push $2" DB(t_flags, 0x4000)
	/* begun with TF */
	"popf" DB(t_flags, 0x4000) "nop\n push $0x102\n popf\n nop" DB(t_flags, 0x4000) DONE);
T(t_flags, "TF: POPF that clears it traps, POPF that sets it does not")
{
	TF(t_flags);
}

CASE(64, t_iret, "mov %rsp, %rbx" DB(t_iret, 0x4000) "mov %ss, %eax" DB(t_iret, 0x4000)
	"mov %cs, %ecx" DB(t_iret, 0x4000) "lea 1f(%rip), %rdx" DB(t_iret, 0x4000) "push %rax"
	DB(t_iret, 0x4000) "push %rbx" DB(t_iret, 0x4000) "push $2" DB(t_iret, 0x4000) "push %rcx"
	DB(t_iret, 0x4000) "push %rdx" DB(t_iret, 0x4000)
	"iretq\n nop\n 1:" DB(t_iret, 0x4000)
	"nop\n lea 2f(%rip), %rdx\n push %rax\n push %rbx\n push $0x102\n push %rcx\n push %rdx\n"
	"iretq\n nop\n 2: nop" DB(t_iret, 0x4000) DONE);
T(t_iret, "TF: IRET that clears it traps at its target, IRET that sets it behind the target")
{
	TF(t_iret);
}

CASE(64, t_far, "mov %cs, %eax" DB(t_far, 0x4000) "push %rax" DB(t_far, 0x4000)
	"lea 1f(%rip), %rcx" DB(t_far, 0x4000) "push %rcx" DB(t_far, 0x4000) "lretq\n nop\n 1:"
	DB(t_far, 0x4000) DONE);
T(t_far, "TF: a far RET")
{
	TF(t_far);
}

CASE(64, t_rep, "mov $3, %ecx" DB(t_rep, 0x4000) "1: rep movsb"
	DB_AT(t_rep, 1b, 0x4000) DB_AT(t_rep, 1b, 0x4000) DB(t_rep, 0x4000)
	"rep stosb" DB(t_rep, 0x4000) "mov $2, %ecx" DB(t_rep, 0x4000) "xor %eax, %eax"
	DB(t_rep, 0x4000)
	"cld" DB(t_rep, 0x4000) "2: repe scasb" DB_AT(t_rep, 2b, 0x4000) DB(t_rep, 0x4000) DONE);
T(t_rep, "TF: behind every round of REP, and once with a count of 0")
{
	TF(t_rep);
}

CASE(64, t_io, "in $0x71, %al" DB(t_io, 0x4000) "out %al, $0x72" DB(t_io, 0x4000)
	"mov $0x72, %edx" DB(t_io, 0x4000) "insb" DB(t_io, 0x4000) "outsb" DB(t_io, 0x4000)
	"mov $2, %ecx" DB(t_io, 0x4000) "1: rep insb" DB_AT(t_io, 1b, 0x4000) DB(t_io, 0x4000)
	"mov $2, %ecx" DB(t_io, 0x4000) "2: rep outsb" DB_AT(t_io, 2b, 0x4000) DB(t_io,
		0x4000) DONE);
T(t_io, "TF: ports, also strings that leave KVM_RUN")
{
	TF(t_io);
}

CASE(64, t_mmio, "mov (%rbp), %eax" DB(t_mmio, 0x4000) "mov %eax, (%rbp)" DB(t_mmio, 0x4000)
	"add %eax, (%rbp)" DB(t_mmio, 0x4000) "movsb" DB(t_mmio, 0x4000)
	"mov %rbp, %rdi" DB(t_mmio, 0x4000) "mov $2, %ecx" DB(t_mmio, 0x4000)
	"1: rep stosb" DB_AT(t_mmio, 1b, 0x4000) DB(t_mmio, 0x4000) DONE);
T(t_mmio, "TF: devices; the trap of a write comes when user space has seen it")
{
	TF(t_mmio);
}

CASE(64, t_int, "nop" DB(t_int, 0x4000) "int $0x81" DB(t_int, 0x4000) "nop" DB(t_int, 0x4000) DONE
	"\n t_int_h: nop\n iretq\n");
LABEL(t_int_h);
T(t_int, "TF: INT n clears it, and the IRET of the handler steps the instruction behind")
{
	struct guest *g = with_tf(t_int_b, LEN(t_int));
	struct stop s;

	guest_handler(g, 0x81, AT(t_int, t_int_h));
	s = RUN_EXC(g, 1, -1);
	CHECK_EQ(dr6_take(g), DR6_INIT | BS);
	cpu_resume(cpu0(g), &s, s.rip);
	/* Behind INT n no trap: TF was off at its end and the IRET was begun without. */
	s = RUN_EXC(g, 1, -1);
	CHECK_EQ(s.rip, G_CODE + 4);
	CHECK_EQ(dr6_take(g), DR6_INIT | BS);
	guest_free(g);
}

/* -- SYSCALL and SYSRET -- */

CASE(64, sys, "sys_u: syscall\n sys_r: nop\n nop" DONE3
	"\n sys_k: nop\n sys_k1: or %r12, %r11\n andn %r11, %r13, %r11\n sysretq\n");
LABEL(sys_u); LABEL(sys_r); LABEL(sys_k); LABEL(sys_k1);
static struct guest *sys_guest(u64 mask, u64 flags, u64 set, u64 clear)
{
	struct guest *g = guest_with(M_LONG, sys);
	struct guest_cpu *c = cpu0(g);

	cpu_ring3(c, G_CODE);
	WITH_SREGS(c, sr)
		sr.efer |= 1;
	cpu_set_msr(c, MSR_STAR, (u64)0x33 << 48 | (u64)SEL_CODE64 << 32);
	cpu_set_msr(c, MSR_LSTAR, AT(sys, sys_k));
	cpu_set_msr(c, MSR_SFMASK, mask);
	WITH_REGS(c, r) {
		r.rflags = 2 | flags;
		r.r12 = set;
		r.r13 = clear;
	}
	return g;
}

static void db_at(struct guest *g, u64 rip, u32 bits)
{
	struct stop s = RUN_EXC(g, 1, -1);

	CHECK_EQ(s.rip, rip);
	CHECK_EQ(dr6_take(g), DR6_INIT | bits);
	cpu_resume(cpu0(g), &s, s.rip);
}

T(sys_masked, "TF: SFMASK takes it away, SYSCALL does not trap at the kernel's entry")
{
	struct guest *g = sys_guest(0x100, 0x100, 0, 0);

	/* SYSRET brings it back out of R11 and traps before the user's next instruction. */
	db_at(g, AT(sys, sys_r), BS);
	db_at(g, AT(sys, sys_r) + 1, BS);
	db_at(g, AT(sys, sys_r) + 2, BS);
	RUN_EXC(g, VEC_DONE3, -1);
	guest_free(g);
}

T(sys_unmasked, "TF: without SFMASK the trap is at the kernel's entry")
{
	struct guest *g = sys_guest(0, 0x100, 0, 0x100);

	db_at(g, AT(sys, sys_k), BS);
	db_at(g, AT(sys, sys_k1), BS);
	db_at(g, AT(sys, sys_k1) + 3, BS);
	db_at(g, AT(sys, sys_k1) + 8, BS);
	/* SYSRET was begun with TF and ends without. */
	RUN_EXC(g, VEC_DONE3, -1);
	guest_free(g);
}

T(sys_sets, "TF: SYSRET that sets it traps in front of the first instruction of the user")
{
	struct guest *g = sys_guest(0, 0, 0x100, 0);

	db_at(g, AT(sys, sys_r), BS);
	db_at(g, AT(sys, sys_r) + 1, BS);
	guest_free(g);
}

T(sys_break, "an instruction breakpoint at the kernel's entry")
{
	struct guest *g = sys_guest(0x100, 0x100, 0, 0x100);

	set_dr(g, 0, AT(sys, sys_k), DR7(0, 0, 0));
	db_at(g, AT(sys, sys_k), 1);
	RUN_EXC(g, VEC_DONE3, -1);
	guest_free(g);
}

T(sys_debugger, "a debugger outside steps into SYSCALL and out of SYSRET")
{
	static const u8 *const at[] = { sys_k, sys_k1 };
	struct guest *g = sys_guest(0x100, 0x100, 0, 0x100);
	struct kvm_guest_debug d = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
	};
	struct stop s;

	vcpu_ioctl(cpu0(g), KVM_SET_GUEST_DEBUG, &d, "KVM_SET_GUEST_DEBUG");
	for (u32 i = 0; i < ARRAY_SIZE(at); i++) {
		s = RUN_TO(g, ST_DEBUG);
		CHECK_EQ(s.r.rip, AT(sys, at[i]));
	}
	guest_free(g);
}

CODE64(dbg_int, "int $0x81\n dbg_int_n: nop" DONE "dbg_int_h: nop\n dbg_int_h1: nop\n iretq");
LABEL(dbg_int_h); LABEL(dbg_int_h1);
T(int_debugger, "a debugger outside steps into INT n, also under the guest's own TF")
{
	for (u32 tf = 0; tf < 2; tf++) {
		struct guest *g = guest_with(M_LONG, dbg_int);
		struct kvm_guest_debug d = {
			.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
		};
		struct stop s;

		guest_handler(g, 0x81, AT(dbg_int, dbg_int_h));
		WITH_REGS(cpu0(g), r)
			r.rflags |= tf << 8;
		vcpu_ioctl(cpu0(g), KVM_SET_GUEST_DEBUG, &d, "KVM_SET_GUEST_DEBUG");
		s = RUN_TO(g, ST_DEBUG);
		CHECK_EQ(s.r.rip, AT(dbg_int, dbg_int_h));
		s = RUN_TO(g, ST_DEBUG);
		CHECK_EQ(s.r.rip, AT(dbg_int, dbg_int_h1));
		guest_free(g);
	}
}

/* -- data breakpoints: DR0 on 4 bytes at G_DATA, read or write -- */

/* #DB on a stack of its own, which is not watched. */
static void db_elsewhere(struct guest *g)
{
	guest_gate(g, 1, SEL_CODE64, G_STUBS + 16, 0xe, 0, 1);
	*g64(g, G_TSS + 0x24) = G_IST1;
}

#define WATCH(name) \
	do { \
		struct guest *g_ = guest_with_code(M_LONG, name##_b, (u32)LEN(name)); \
		WITH_REGS(cpu0(g_), r_) { \
			r_.rdi = G_DATA; \
			r_.rsi = G_DATA + 0x100; \
			r_.rbp = G_MMIO; \
		} \
		*g32(g_, G_DATA) = SEL_DATA; \
		db_elsewhere(g_); \
		set_dr(g_, 0, G_DATA, DR7(0, 3, 3)); \
		follow(g_, MARKS(name)); \
		guest_free(g_); \
	} while (0)

CASE(64, w_plain, "mov (%rdi), %eax" DB(w_plain, 1) "mov %eax, (%rdi)" DB(w_plain, 1) "addl "
	"$0, (%rdi)"
	DB(w_plain, 1) "mov 4(%rdi), %eax\n mov -1(%rdi), %eax" DB(w_plain, 1) "lea 4(%rdi), %rsp\n"
	" pop %rax\n"
	"mov %rdi, %rsp\n pop %rax" DB(w_plain, 1) "push %rax" DB(w_plain, 1) "call 1f\n 1: nop\n"
	"lea 8(%rdi), %rsp\n call 1f\n 1:" DB(w_plain, 1) "lock xaddl %eax, (%rdi)" DB(w_plain, 1)
	"mov $0x10, %eax\n movups (%rdi), %xmm0" DB(w_plain, 1) "movups %xmm0, -8(%rdi)"
	DB(w_plain, 1)
	"xor %eax, %eax\n cmpxchg %ecx, 0x40(%rdi)\n lock cmpxchg %ecx, (%rdi)" DB(w_plain, 1)
	"prefetcht0 (%rdi)\n nopl (%rdi)" DONE);
T(w_plain, "data breakpoint: loads, stores, stack, LOCK, vectors; not prefetches")
{
	WATCH(w_plain);
}

CASE(64, w_shadow, "mov (%rdi), %ss\n nop" DB(w_shadow, 1) "mov (%rdi), %ss\n mov %eax, (%rdi)"
     DB(w_shadow, 1)
	"movl $0x10, (%rdi)" DB(w_shadow, 1) "mov (%rdi), %ss\n 1: jmp 2f\n nop\n 2:"
	DB(w_shadow, 1)
	"mov (%rdi), %ss\n mov %ss, %eax" DB(w_shadow, 1) DONE);
T(w_shadow, "data breakpoint: one that MOV SS has hit comes behind the next instruction")
{
	WATCH(w_shadow);
}

CASE(64, w_shadow_io, "mov (%rdi), %ss\n in $0x71, %al" DB(w_shadow_io, 1)
	"mov (%rdi), %ss\n out %al, $0x72" DB(w_shadow_io, 1) "mov (%rdi), %ss\n mov (%rbp), %eax"
	DB(w_shadow_io, 1) "mov (%rdi), %ss\n mov %eax, (%rbp)" DB(w_shadow_io, 1) DONE);
T(w_shadow_io, "data breakpoint: MOV SS, then an instruction that leaves KVM_RUN")
{
	WATCH(w_shadow_io);
}

CASE(64, w_rep, "lea -1(%rdi), %rdi\n mov $3, %ecx\n cld\n 1: rep stosb"
	DB_AT(w_rep, 1b, 1) DB(w_rep, 1) "mov $0x72, %edx\n lea -1(%rdi), %rdi\n insb" DB(w_rep, 1)
	"lea -1(%rdi), %rsi\n outsb" DB(w_rep, 1) DONE);
T(w_rep, "data breakpoint: behind the round of REP that has hit, INS and OUTS")
{
	WATCH(w_rep);
}

CASE(64, w_iret, "mov %ss, %eax\n mov %cs, %ecx\n mov %rsp, %rbx\n lea 1f(%rip), %rdx\n"
	" lea 0x28(%rdi), %rsp\n"
	"push %rax\n push %rbx\n push $2\n push %rcx\n push %rdx" DB(w_iret, 1) "iretq\n nop\n 1:"
	DB(w_iret, 1) "mov %rsp, %rbx\n lea 8(%rdi), %rsp\n push %rdx" DB(w_iret, 1)
	"movq $0, 8(%rdi)\n mov %cs, %ecx\n mov %rcx, 8(%rdi)\n lea 2f(%rip), %rdx\n"
	" mov %rdx, (%rdi)"
	DB(w_iret, 1) "lretq\n nop\n 2:" DB(w_iret, 1) DONE);
T(w_iret, "data breakpoint: IRET and a far RET that pop from there, at their target")
{
	WATCH(w_iret);
}

CASE(64, w_int, "lea 0x28(%rdi), %rsp\n int $0x81\n nop" DONE "\n w_int_h: nop\n mov %rsp, %rax\n"
	" iretq\n");
LABEL(w_int_h);
T(w_int, "data breakpoint: the frame of INT n, in front of the handler's first instruction")
{
	struct guest *g = guest_with(M_LONG, w_int);
	struct stop s;

	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	guest_handler(g, 0x81, AT(w_int, w_int_h));
	db_elsewhere(g);
	set_dr(g, 0, G_DATA, DR7(0, 3, 3));
	s = RUN_EXC(g, 1, -1);
	CHECK_EQ(s.rip, AT(w_int, w_int_h));
	CHECK_EQ(dr6_take(g), DR6_INIT | 1);
	guest_free(g);
}

CODE64(w_fault, "w_fault_1: movsq\n nop" DONE);
T(w_fault, "data breakpoint: an instruction that faults has hit nothing")
{
	struct guest *g = guest_with(M_LONG, w_fault);
	struct stop s;

	WITH_REGS(cpu0(g), r) {
		r.rsi = G_DATA;
		r.rdi = G_WINDOW + 0x1000;
	}
	*guest_pte(g, G_WINDOW + 0x1000) = 0;
	set_dr(g, 0, G_DATA, DR7(0, 3, 3));
	s = RUN_EXC(g, 14, 2);
	CHECK_EQ(dr6_take(g), DR6_INIT);
	*guest_pte(g, G_WINDOW + 0x1000) = (G_WINDOW + 0x1000) | 7;
	cpu_resume(cpu0(g), &s, s.rip);
	s = RUN_EXC(g, 1, -1);
	CHECK_EQ(s.rip, G_CODE + 2);
	CHECK_EQ(dr6_take(g), DR6_INIT | 1);
	guest_free(g);
}

CODE64(w_ss_fault, "mov (%rdi), %ss\n ud2" DONE);
T(w_ss_fault, "data breakpoint: MOV SS, then a fault: #DB in front of the fault's handler")
{
	struct guest *g = guest_with(M_LONG, w_ss_fault);
	struct stop s;

	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	*g32(g, G_DATA) = SEL_DATA;
	set_dr(g, 0, G_DATA, DR7(0, 3, 3));
	s = RUN_EXC(g, 1, -1);
	CHECK_EQ(s.rip, G_STUBS + 6 * 16);
	CHECK_EQ(dr6_take(g), DR6_INIT | 1);
	cpu_resume(cpu0(g), &s, s.rip);
	s = RUN_EXC(g, 6, -1);
	CHECK_EQ(s.rip, G_CODE + 2);
	CHECK_EQ(dr6_take(g), DR6_INIT);
	guest_free(g);
}

CODE64(w_hlt, "mov (%rdi), %ss\n hlt\n nop" DONE);
T(w_hlt, "data breakpoint: MOV SS, then HLT: the trap ends the halt")
{
	struct guest *g = guest_new_flags(M_LONG, GUEST_IRQCHIP);
	struct stop s;

	guest_load(g, G_CODE, w_hlt);
	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	*g32(g, G_DATA) = SEL_DATA;
	set_dr(g, 0, G_DATA, DR7(0, 3, 3));
	s = RUN_EXC(g, 1, -1);
	CHECK_EQ(s.rip, G_CODE + 3);
	CHECK_EQ(dr6_take(g), DR6_INIT | 1);
	guest_free(g);
}

/* -- instruction breakpoints: DR1 at the label `_x`; data breakpoint 0 as above -- */

#define BREAK(name) \
	do { \
		struct guest *g_ = guest_with_code(M_LONG, name##_b, (u32)LEN(name)); \
		WITH_REGS(cpu0(g_), r_) { \
			r_.rdi = G_DATA; \
			r_.rsi = G_DATA + 0x100; \
			r_.rbp = G_MMIO; \
		} \
		*g32(g_, G_DATA) = SEL_DATA; \
		set_dr(g_, 0, G_DATA, DR7(0, 3, 3)); \
		set_dr(g_, 1, AT(name, name##_x), DR7(1, 0, 0)); \
		follow(g_, MARKS(name)); \
		guest_free(g_); \
	} while (0)

CASE(64, x_ss, "mov (%rdi), %ss" DB(x_ss, 3) "x_ss_x: nop\n nop" DONE);
LABEL(x_ss_x);
T(x_ss, "MOV SS with a data breakpoint, instruction breakpoint behind it: one #DB with both")
{
	BREAK(x_ss);
}

CASE(64, x_data, "mov (%rdi), %eax" DB(x_data, 1) DB(x_data, 2) "x_data_x: mov (%rdi), %eax"
     DB(x_data, 1) DONE);
LABEL(x_data_x);
T(x_data, "a data breakpoint's trap, then the next instruction's breakpoint, then its trap")
{
	BREAK(x_data);
}

CASE(64, x_rep, "mov $3, %ecx" DB(x_rep, 2) "x_rep_x: rep lodsb\n mov $2, %ecx\n"
					    " lea -1(%rdi), %rdi\n nop\n nop" DONE);
LABEL(x_rep_x);
T(x_rep, "RF shields REP until it is through: one #DB, not one a round")
{
	BREAK(x_rep);
}

CASE(64, x_jmp, "mov $2, %ecx" DB(x_jmp, 2) DB_AT(x_jmp, x_jmp_x, 2) "x_jmp_x: dec %ecx\n"
	" jnz x_jmp_x\n nop" DONE);
LABEL(x_jmp_x);
T(x_jmp, "RF shields one instruction: the breakpoint in a loop comes every time")
{
	BREAK(x_jmp);
}

CASE(64, x_self, "mov $1, %ecx" DB(x_self, 2) "x_self_x: loop x_self_x" DONE);
LABEL(x_self_x);
T(x_self, "a LOOP to itself that ends")
{
	BREAK(x_self);
}

CASE(64, x_io, "nop" DB(x_io, 2) "x_io_x: in $0x71, %al\n pushf\n pop %rax\n nop" DONE);
LABEL(x_io_x);
T(x_io, "at an instruction that leaves KVM_RUN")
{
	BREAK(x_io);
}

CASE(64, x_mmio, "mov $2, %ecx" DB(x_mmio, 2) DB_AT(x_mmio, x_mmio_x, 2)
	"x_mmio_x: mov %eax, (%rbp)\n dec %ecx\n jnz x_mmio_x\n nop" DONE);
LABEL(x_mmio_x);
T(x_mmio, "at a write to a device, twice: RF is gone when it has retired")
{
	BREAK(x_mmio);
}

/* The frame's RF shields the target of IRET. */
#define IRET_TO(name, flags, label) \
	"mov %ss, %eax\n mov %cs, %ecx\n mov %rsp, %rbx\n lea " #label "(%rip), %rdx\n" \
	"push %rax\n push %rbx\n push $" #flags "\n push %rcx\n push %rdx\n iretq\n nop\n"
CASE(64, x_iret, IRET_TO(x_iret, 0x10002, x_iret_x) "x_iret_x: nop\n nop" DONE);
LABEL(x_iret_x);
CASE(64, x_iret0, IRET_TO(x_iret0, 2, x_iret0_x) DB(x_iret0, 2) "x_iret0_x: nop\n nop" DONE);
LABEL(x_iret0_x);
CASE(64, x_iret2, IRET_TO(x_iret2, 0x10002, 1f) "1:" IRET_TO(x_iret2, 0x10002, x_iret2_x)
	"x_iret2_x: nop\n nop" DONE);
LABEL(x_iret2_x);
T(x_iret, "IRET loads RF: with it the target's breakpoint does not count, without it does")
{
	BREAK(x_iret);
	BREAK(x_iret0);
	BREAK(x_iret2);
}

CASE(64, x_popf, "push $0x10002\n popf" DB(x_popf, 2) "x_popf_x: nop" DONE);
LABEL(x_popf_x);
T(x_popf, "POPF does not load RF")
{
	BREAK(x_popf);
}

CASE(64, x_fault, "nop" DB(x_fault, 2) "x_fault_x: nop\n nop" DONE);
LABEL(x_fault_x);
CODE64(x_pf, "nop\n x_pf_x: mov (%rsi), %eax\n nop" DONE);
LABEL(x_pf_x);
T(x_pf, "the breakpoint comes before the instruction's fault; the fault's frame has RF")
{
	struct guest *g = guest_with(M_LONG, x_pf);
	struct stop s;

	BREAK(x_fault);
	WITH_REGS(cpu0(g), r)
		r.rsi = G_WINDOW + 0x1000;
	*guest_pte(g, G_WINDOW + 0x1000) = 0;
	set_dr(g, 1, AT(x_pf, x_pf_x), DR7(1, 0, 0));
	s = RUN_EXC(g, 1, -1);
	CHECK_EQ(s.rip, AT(x_pf, x_pf_x));
	CHECK_EQ(s.rflags & 0x10000, 0x10000);
	CHECK_EQ(dr6_take(g), DR6_INIT | 2);
	cpu_resume(cpu0(g), &s, s.rip);
	s = RUN_EXC(g, 14, 0);
	CHECK_EQ(s.rflags & 0x10000, 0x10000);
	*guest_pte(g, G_WINDOW + 0x1000) = (G_WINDOW + 0x1000) | 7;
	cpu_resume(cpu0(g), &s, s.rip);
	s = RUN_TO(g, ST_DONE);
	guest_free(g);
}

CODE64(x_int, "nop\n x_int_x: int $0x81\n nop" DONE "x_int_h: nop\n iretq");
LABEL(x_int_x); LABEL(x_int_h);
T(x_int, "at INT n, and at its handler's first instruction")
{
	struct guest *g = guest_with(M_LONG, x_int);

	guest_handler(g, 0x81, AT(x_int, x_int_h));
	set_dr(g, 1, AT(x_int, x_int_x), DR7(1, 0, 0));
	set_dr(g, 2, AT(x_int, x_int_h), DR7(2, 0, 0));
	db_at(g, AT(x_int, x_int_x), 2);
	db_at(g, AT(x_int, x_int_h), 4);
	RUN_TO(g, ST_DONE);
	guest_free(g);
}

/* -- VMRUN -- */

CODE64(l2, "l2_0: nop\n l2_1: nop\n l2_2: vmmcall");
LABEL(l2_0); LABEL(l2_1); LABEL(l2_2);
T(vmrun_tf, "TF of L1: VMRUN is stepped behind #VMEXIT; TF of L2: behind its first instruction")
{
	struct svm_guest s = svm_with(l2);
	struct stop st;

	WITH_REGS(s.c, r)
		r.rflags |= 0x100;
	st = svm_run(&s);
	CHECK_EXC(st, 1, -1);
	CHECK_EQ(s.ctl->exit_code, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.rip, G_CODE + 3);
	CHECK_EQ(dr6_take(s.g), DR6_INIT | BS);
	guest_free(s.g);

	s = svm_with(l2);
	s.save->rflags |= 0x100;
	svm_want(&s, SVM_I_EXCP + 1);
	st = SVM_EXITS(&s, SVM_EXIT_EXCP + 1);
	CHECK_EQ(s.save->rip, AT_L2(l2, l2_1));
	CHECK_EQ(s.save->dr6, DR6_INIT | BS);
	guest_free(s.g);
}

T(vmrun_break, "an instruction breakpoint of L2 at its first instruction, and RF in the VMCB")
{
	for (u32 rf = 0; rf < 2; rf++) {
		struct svm_guest s = svm_with(l2);
		struct kvm_debugregs d = { .dr6 = DR6_INIT, .dr7 = 0x400 };
		struct stop st;

		d.db[1] = AT_L2(l2, l2_0);
		vcpu_ioctl(s.c, KVM_SET_DEBUGREGS, &d, "KVM_SET_DEBUGREGS");
		s.save->dr7 = 0x400 | DR7(1, 0, 0);
		s.save->rflags |= rf << 16;
		svm_want(&s, SVM_I_EXCP + 1);
		st = svm_run(&s);
		if (rf) {
			CHECK_EXIT(&s, st, SVM_EXIT_VMMCALL);
			CHECK_EQ(s.save->rflags & 0x10000, 0);
		} else {
			CHECK_EXIT(&s, st, SVM_EXIT_EXCP + 1);
			CHECK_EQ(s.save->rip, AT_L2(l2, l2_0));
			CHECK_EQ(s.save->dr6, DR6_INIT | 2);
		}
		guest_free(s.g);
	}
}

CODE64(l2_ss, "mov (%rdi), %ss\n l2_ss_1: vmmcall\n l2_ss_2: nop\n vmmcall");
LABEL(l2_ss_1); LABEL(l2_ss_2);
T(vmexit_held, "what MOV SS of L2 has hit is not told to L1 when the next instruction exits")
{
	struct svm_guest s = svm_with(l2_ss);
	struct kvm_debugregs d = { .dr6 = DR6_INIT, .dr7 = 0x400 };

	d.db[0] = G_DATA;
	vcpu_ioctl(s.c, KVM_SET_DEBUGREGS, &d, "KVM_SET_DEBUGREGS");
	s.save->dr7 = 0x400 | DR7(0, 3, 3);
	WITH_REGS(s.c, r)
		r.rdi = G_DATA;
	*g32(s.g, G_DATA) = SEL_DATA;
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rip, AT_L2(l2_ss, l2_ss_1));
	CHECK_EQ(s.save->dr6, DR6_INIT);
	/* and L1 runs on without a #DB of its own */
	s.save->rip = AT_L2(l2_ss, l2_ss_2);
	s.save->dr7 = 0x400;
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(dr6_take(s.g), DR6_INIT);
	guest_free(s.g);
}

/* -- 32-bit protected mode -- */

CASE(32, p_flags, "pushf" DB(p_flags, 0x4000) "pop %eax" DB(p_flags, 0x4000) "pushf"
     DB(p_flags, 0x4000)
	"popf" DB(p_flags, 0x4000) "pushf" DB(p_flags, 0x4000) "push %cs" DB(p_flags, 0x4000)
	"push $" LOC(p_flags, p_flags_1) DB(p_flags, 0x4000) "iret\n nop\n p_flags_1:"
	DB(p_flags, 0x4000)
	"push $2" DB(p_flags, 0x4000) "popf" DB(p_flags, 0x4000) "nop\n nop" DONE);
T(p_flags, "32-bit: POPF and IRET with TF, and POPF that clears it")
{
	struct guest *g = guest_with(M_PM32, p_flags);

	WITH_REGS(cpu0(g), r)
		r.rflags |= 0x100;
	follow(g, MARKS(p_flags));
	guest_free(g);
}

CASE(32, p_ss, "mov %ss, %eax" DB(p_ss, 0x4000) "mov %eax, %ss\n nop" DB(p_ss, 0x4000) "push %ss"
	DB(p_ss, 0x4000) "pop %ss\n nop" DB(p_ss, 0x4000) "push $0x102" DB(p_ss, 0x4000)
	"mov %eax, %ss\n popf" DB(p_ss, 0x4000) "lss (%edi), %esp" DB(p_ss, 0x4000) DONE);
T(p_ss, "32-bit: MOV SS and POP SS hold TF's trap back, LSS does not")
{
	struct guest *g = guest_with(M_PM32, p_ss);

	*g32(g, G_DATA) = G_STACK - 0x40;
	*g32(g, G_DATA + 4) = SEL_DATA;
	WITH_REGS(cpu0(g), r) {
		r.rflags |= 0x100;
		r.rdi = G_DATA;
	}
	follow(g, MARKS(p_ss));
	guest_free(g);
}

CASE(32, p_watch, "mov (%edi), %ss" DB(p_watch, 3) "p_watch_x: nop\n mov %eax, (%edi)"
     DB(p_watch, 1) DONE);
LABEL(p_watch_x);
T(p_watch, "32-bit: MOV SS with a data breakpoint, an instruction breakpoint behind it")
{
	struct guest *g = guest_with(M_PM32, p_watch);

	*g32(g, G_DATA) = SEL_DATA;
	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	set_dr(g, 0, G_DATA, DR7(0, 3, 3));
	set_dr(g, 1, AT(p_watch, p_watch_x), DR7(1, 0, 0));
	follow(g, MARKS(p_watch));
	guest_free(g);
}
