/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/pmu.c - performance counters (APM2 13.2): what is counted, exactly, and by whom;
 * overflow; the registers; RDPMC; nested guests; the event filter.
 */
/* Run: build/standin run -- build/tests/guest/guest_pmu [NAME...] */
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"
#include "tests/random.h"

enum {
	EFER = 0xc0000080, STAR = 0xc0000081, LSTAR = 0xc0000082,
	STATUS = 0xc0000300, CTL = 0xc0000301, CLR = 0xc0000302, SET = 0xc0000303,
	K7_SEL = 0xc0010000, K7_CTR = 0xc0010004, SEL0 = 0xc0010200,
};
#define SEL(i) (SEL0 + 2 * (i))
#define CTR(i) (SEL0 + 2 * (i) + 1)
#define USR BIT64(16)
#define OS BIT64(17)
#define INT BIT64(20)
#define EN BIT64(22)
#define GUEST_ONLY BIT64(40)
#define HOST_ONLY BIT64(41)
#define CYCLES 0x76
#define INSNS 0xc0
#define BRANCHES 0xc2
#define LOADS 0x129
#define STORES 0x229
#define BOTH 0x429
#define ALL (USR | OS | EN)
#define MAX48 (BIT64(48) - 1)
#define GP 13

static struct guest *pmu_guest_flags(const u8 *b, const u8 *e, u32 flags)
{
	struct guest *g = guest_new_flags(M_LONG, flags);

	if (!guest_has(g, 0x80000001, 2, 23))
		test_skip("no performance counters");
	guest_write(g, G_CODE, b, (u32)(e - b));
	return g;
}
#define pmu_guest(snip) pmu_guest_flags(snip##_b, snip##_e, 0)

/* It runs to its end. */
#define CHECK_DONE(run) do { \
	struct stop stop_ = run; \
	CHECK_STOP(stop_, ST_DONE); \
} while (0)

static void start(struct guest *g, int i, u64 sel)
{
	cpu_set_msr(cpu0(g), CTR(i), 0);
	cpu_set_msr(cpu0(g), SEL(i), sel);
}

static u64 count(struct guest *g, int i)
{
	return cpu_msr(cpu0(g), CTR(i));
}

/* How many instructions and branches the counters say, from the start to the next stop. */
static struct stop counted(struct guest *g, u64 *insns, u64 *branches)
{
	struct stop st;

	start(g, 0, ALL | INSNS);
	start(g, 1, ALL | BRANCHES);
	st = run(g);
	*insns = count(g, 0);
	*branches = count(g, 1);
	return st;
}

CODE64(straight, "mov $1, %eax\n add $2, %eax\n nop\n nop\n lea 4(%rax), %rbx" DONE);

T(leaf, "CPUID: six counters, PerfMonV2")
{
	struct guest *g = pmu_guest(straight);

	CHECK(guest_has(g, 0x80000022, 0, 0));
	for (u32 i = 0; i < g->cpuid->nent; i++)
		if (g->cpuid->entries[i].function == 0x80000022)
			CHECK_EQ(g->cpuid->entries[i].ebx & 15, 6);
}

/* OUT has not retired when it is seen outside. */
T(instructions, "C0h: each instruction once; OUT when the VMM has done it")
{
	struct guest *g = pmu_guest(straight);
	u64 n, b;
	struct stop st = counted(g, &n, &b);

	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(n, 5);
	CHECK_EQ(b, 0);
	cpu_complete(cpu0(g));
	CHECK_EQ(count(g, 0), 6);
}

CODE64(looping, "mov $1000, %ecx\n xor %eax, %eax\n"
		"1: inc %eax\n test $3, %al\n jnz 2f\n call 3f\n 2: dec %ecx\n jnz 1b\n jmp 4f\n"
		"3: ret\n 4:" DONE);
/* 2 + 1000 * (inc test jnz dec jnz) + 250 * (call ret) + jmp */
T(branches, "C2h: each branch once, taken or not, calls and returns")
{
	struct guest *g = pmu_guest(looping);
	u64 n, b;
	struct stop st = counted(g, &n, &b);

	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(n, 2 + 5000 + 500 + 1);
	CHECK_EQ(b, 2000 + 500 + 1);
}

CODE64(loop_insn, "mov $42, %ecx\n 1: loop 1b\n jecxz 2f\n nop\n 2:" DONE);

T(loops, "LOOP and JCXZ are branches")
{
	struct guest *g = pmu_guest(loop_insn);
	u64 n, b;
	struct stop st = counted(g, &n, &b);

	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(n, 44);
	CHECK_EQ(b, 43);
}

CODE64(rep, "mov $0x10000, %edi\n mov $0x14000, %esi\n mov $5000, %ecx\n rep movsb\n"
	    "mov $0x10000, %edi\n mov $3000, %ecx\n std\n rep stosb\n cld" DONE);

T(strings, "a repeated string instruction retires once")
{
	struct guest *g = pmu_guest(rep);
	u64 n, b;
	struct stop st = counted(g, &n, &b);

	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(n, 9);
	CHECK_EQ(b, 0);
}

/* Everything that leaves units half way: accesses in two pages, grouped ones, devices, far ones,
 * vector state, system registers, branches through memory, code that is written. */
CODE64(mixed,
	"mov $0x10000, %ebx\n mov $60, %r12d\n"
	"1: mov $0x10ffc, %eax\n movq %rbx, (%rax)\n addq $1, (%rax)\n mov 8(%rbx), %rcx\n"
	"mov %rcx, 16(%rbx)\n mov 0xff8(%rbx), %rcx\n add 0x1000(%rbx), %rcx\n"
	"movq %rax, %xmm0\n paddq %xmm0, %xmm0\n movq %xmm0, 0x20(%rbx)\n fld1\n fstpl 0x30(%rbx)\n"
	"pushf\n popf\n push %rbx\n pop %rbx\n lea 2f(%rip), %rax\n mov %rax, 0x40(%rbx)\n"
	"jmp *0x40(%rbx)\n ud2\n 2: mov %cr0, %rax\n mov %rax, %cr0\n"
	"xor %eax, %eax\n cpuid\n mov $0x10000, %ebx\n"
	"cli\n sti\n nop\n cli\n swapgs\n swapgs\n"
	"lock incl 0x10fff\n xchg %rax, 0x1fff8\n bts %rax, 0x10050\n"
	"mov $0x10000, %edi\n mov $0x12000, %esi\n mov $9, %ecx\n rep movsb\n"
	"movb $0x90, 3f(%rip)\n 3: nop\n rdtsc\n xlat\n cmpxchg16b 0x60(%rbx)\n"
	"mov $0xc0000100, %ecx\n rdmsr\n wrmsr\n lea 5f(%rip), %rax\n push $0x18\n push %rax\n"
	"lretq\n ud2\n 5: enter $16, $0\n leave\n mov %ss, %eax\n mov %eax, %ss\n nop\n"
	"dec %r12d\n jnz 1b" DONE);

/* The debugger outside counts too. */
static u64 steps(struct guest *g, u64 *branches)
{
	struct kvm_guest_debug d = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
	u64 n = 0;

	vcpu_ioctl(cpu0(g), KVM_SET_GUEST_DEBUG, &d, "KVM_SET_GUEST_DEBUG");
	start(g, 0, ALL | INSNS);
	start(g, 1, ALL | BRANCHES);
	for (;;) {
		struct stop st = run(g);

		if (st.kind != ST_DEBUG) {
			CHECK_STOP(st, ST_DONE);
			break;
		}
		n++;
	}
	*branches = count(g, 1);
	/* MOV SS holds the debugger's trap back, REP MOVSB has one for each of nine bytes. */
	CHECK_EQ(count(g, 0), n + 60 * (1 - 8));
	return count(g, 0);
}

T(exact, "what leaves translated code half way is counted once: as when stepped")
{
	struct guest *g = pmu_guest(mixed);
	u64 n, b, stepped, stepped_b, first;
	struct kvm_regs regs = cpu_regs(cpu0(g));
	struct kvm_sregs sregs = cpu_sregs(cpu0(g));

	CHECK_DONE(counted(g, &n, &b));
	first = n;
	cpu_complete(cpu0(g));
	cpu_set_sregs(cpu0(g), &sregs);
	cpu_set_regs(cpu0(g), &regs);
	CHECK_DONE(counted(g, &n, &b));
	CHECK_EQ(n, first);
	CHECK_EQ(n, 2 + 60 * 56);	/* of which JMP, LRET and JNZ branch */
	CHECK_EQ(b, 180);
	cpu_complete(cpu0(g));
	cpu_set_sregs(cpu0(g), &sregs);
	cpu_set_regs(cpu0(g), &regs);
	stepped = steps(g, &stepped_b);
	CHECK_EQ(n, stepped);
	CHECK_EQ(b, stepped_b);
}

CODE64(faulting, "mov $0x300000, %eax\n nop\n mov (%rax), %ebx\n nop" DONE);

T(faults, "what faults has not retired; its event is a branch")
{
	struct guest *g = pmu_guest(faulting);
	u64 n, b;
	struct stop st;

	*guest_pte(g, 0x300000) = 0;
	st = counted(g, &n, &b);
	CHECK_EXC(st, 14, 0);
	CHECK_EQ(b, 1);
	/* up to the fault 2, then the stub's PUSH and so on: not more than a few */
	CHECK(n >= 2 && n < 6);
	cpu_complete(cpu0(g));
	*guest_pte(g, 0x300000) = 0x300000 | PTE_P | PTE_W | PTE_U;
	cpu_resume(cpu0(g), &st, st.rip);
	start(g, 0, EN | OS | INSNS);
	st = run(g);
	CHECK_STOP(st, ST_DONE);
	/* cpu_resume() goes back by IRET */
	CHECK(count(g, 0) - 2 <= 1);
}

CODE64(mmio, "mov $0x10000000, %eax\n mov (%rax), %ebx\n mov %ebx, 4(%rax)\n in $0x80, %al\n"
	     "nop" DONE);

T(devices, "an instruction that user space completes is counted once")
{
	struct guest *g = pmu_guest(mmio);
	struct stop st;

	start(g, 0, ALL | INSNS);
	st = run(g);
	CHECK_STOP(st, ST_MMIO);
	CHECK_EQ(count(g, 0), 1);
	cpu_answer(cpu0(g), 7);
	st = run(g);
	CHECK_STOP(st, ST_MMIO);
	CHECK_EQ(count(g, 0), 3);	/* a store has retired when it is shown */
	st = run(g);
	CHECK_STOP(st, ST_IN);
	CHECK_EQ(count(g, 0), 3);
	cpu_answer(cpu0(g), 7);
	st = run(g);
	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(count(g, 0), 5);
}

CODE64(user, "u_user: nop\n nop\n nop\n syscall\n nop\n int $0x30\n"
	     "u_kernel: nop\n nop\n sysretq\n");
LABEL(u_kernel);

T(modes, "USR and OS: CPL 3 and CPL 0, each by itself")
{
	struct guest *g = pmu_guest(user);
	struct stop st;
	u64 u, o, a;

	cpu_set_msr(cpu0(g), STAR, (u64)(SEL_UDATA - 8) << 48 | (u64)SEL_CODE64 << 32);
	cpu_set_msr(cpu0(g), LSTAR, AT(user, u_kernel));
	cpu_set_msr(cpu0(g), EFER, cpu_msr(cpu0(g), EFER) | 1);
	cpu_ring3(cpu0(g), G_CODE);
	start(g, 0, EN | USR | INSNS);
	start(g, 1, EN | OS | INSNS);
	start(g, 2, EN | INSNS);
	start(g, 3, ALL | INSNS);
	st = run(g);
	CHECK_EXC(st, VEC_DONE3, -1);
	u = count(g, 0);
	o = count(g, 1);
	a = count(g, 3);
	/* user: three, SYSCALL, NOP, INT; kernel: two, SYSRET, and the stub */
	CHECK_EQ(u, 6);
	CHECK(o >= 3 && o < 8);
	CHECK_EQ(a, u + o);
	CHECK_EQ(count(g, 2), 0);
}

CODE64(accesses, "mov $0x10000, %ebx\n mov $10, %ecx\n 1: mov (%rbx), %eax\n mov 8(%rbx), %eax\n"
		 "mov %eax, 16(%rbx)\n addl $1, 24(%rbx)\n dec %ecx\n jnz 1b" DONE);

T(accesses, "29h: loads, stores, and instructions that do both")
{
	struct guest *g = pmu_guest(accesses);

	start(g, 0, ALL | LOADS);
	start(g, 1, ALL | STORES);
	start(g, 2, ALL | BOTH);
	CHECK_DONE(run(g));
	/* Dispatched, not retired: what was begun anew counts again. */
	CHECK(count(g, 0) >= 20 && count(g, 0) <= 24);
	CHECK(count(g, 1) >= 10 && count(g, 1) <= 12);
	CHECK(count(g, 2) >= 10 && count(g, 2) <= 12);
}

CODE64(spin, "mov $20000000, %ecx\n 1: dec %ecx\n jnz 1b" DONE);

T(cycles, "76h: time in the guest, of the TSC's rate, and none outside")
{
	struct guest *g = pmu_guest(spin);
	u64 t, n;

	start(g, 0, ALL | CYCLES);
	start(g, 1, EN | USR | CYCLES);
	t = __builtin_ia32_rdtsc();
	CHECK_DONE(run(g));
	t = __builtin_ia32_rdtsc() - t;
	n = count(g, 0);
	CHECK(n > t / 4 && n <= t);
	CHECK_EQ(count(g, 1), 0);
	usleep(1000);
	CHECK_EQ(count(g, 0), n);
	start(g, 2, ALL | 0x141);	/* nobody knows: stays 0 */
	CHECK_EQ(count(g, 2), 0);
}

/* -- overflow -- */

CODE64(pmi, G_APIC_ON "movl $0x40, 0x340(%rbp)\n sti\n"
	    "mov $0xc0010200, %ecx\n mov $0x5300c0, %eax\n xor %edx, %edx\n wrmsr\n"
	    "p_from:\n .rept 64\n inc %ebx\n .endr\n"
	    "1: inc %ebx\n cmp $5000, %ebx\n jb 1b\n cli" DONE "p_irq:\n mov %ebx, %eax" STOP(1));
LABEL(p_irq);
LABEL(p_from);

static struct guest *pmi_guest(void)
{
	return guest_with_apic(pmi_b, (u32)(pmi_e - pmi_b), 0x40, AT(pmi, p_irq));
}

T(overflow, "a counter of instructions interrupts behind the one that makes it 0, wherever that is")
{
	for (u32 n = 1; n < 200; n += n < 70 ? 1 : 13) {
		struct guest *g = pmi_guest();
		struct stop st;

		if (!guest_has(g, 0x80000001, 2, 23))
			test_skip("no performance counters");
		/* The WRMSR that starts it is not counted. */
		cpu_set_msr(cpu0(g), CTR(0), -(u64)n);
		st = run(g);
		CHECK_STOP(st, ST_OUT);
		CHECK_EQ(st.port, 1);
		if (n <= 64)
			CHECK_EQ(st.r.rax, n);
		CHECK_EQ(cpu_msr(cpu0(g), STATUS), 1);
		CHECK(count(g, 0) < 8);
		guest_free(g);
	}
}

T(overflow_branches, "likewise one of branches")
{
	struct guest *g = pmi_guest();
	struct stop st;

	if (!guest_has(g, 0x80000001, 2, 23))
		test_skip("no performance counters");
	cpu_set_msr(cpu0(g), CTR(1), -100ull);
	cpu_set_msr(cpu0(g), SEL(1), ALL | INT | BRANCHES);
	cpu_set_msr(cpu0(g), CTL, 2);
	st = run(g);
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 1);
	CHECK_EQ(st.r.rax, 64 + 100);
	CHECK_EQ(cpu_msr(cpu0(g), STATUS), 2);
}

CODE64(pmi_cycles, G_APIC_ON "movl $0x40, 0x340(%rbp)\n sti\n"
		   "1: jmp 1b\n c_irq:" STOP(1));
LABEL(c_irq);

T(overflow_cycles, "a counter of cycles interrupts when its time has come, and not before")
{
	struct guest *g = guest_with_apic(pmi_cycles_b, (u32)(pmi_cycles_e - pmi_cycles_b), 0x40,
					  AT(pmi_cycles, c_irq));
	struct stop st;
	u64 t, n = 30000000;

	if (!guest_has(g, 0x80000001, 2, 23))
		test_skip("no performance counters");
	cpu_set_msr(cpu0(g), CTR(2), -n);
	cpu_set_msr(cpu0(g), SEL(2), ALL | INT | CYCLES);
	t = __builtin_ia32_rdtsc();
	st = run(g);
	t = __builtin_ia32_rdtsc() - t;
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 1);
	CHECK(t >= n);
	CHECK_EQ(cpu_msr(cpu0(g), STATUS), 4);
}

CODE64(pmi_late, G_APIC_ON "movl $0x400, 0x340(%rbp)\n movl $0xb, 0x3e0(%rbp)\n"
       "movl $0x51, 0x320(%rbp)\n movl $20000000, 0x380(%rbp)\n sti\n"
       "late_at: jmp late_at\n late_nmi:" STOP(1) "late_irq:" STOP(2));
LABEL(late_at);
LABEL(late_nmi);
LABEL(late_irq);

/* Stops all threads of this process for 100 ms, as a busy host does. */
static void busy_host(void)
{
	pid_t us = getpid();

	if (fork())
		return;
	usleep(5000);
	kill(us, SIGSTOP);
	usleep(100000);
	kill(us, SIGCONT);
	_exit(0);
}

T(overflow_late,
  "a vCPU that was kept waiting takes the counter's NMI where it was, the timer behind it")
{
	struct guest *g = guest_with_apic(pmi_late_b, (u32)(pmi_late_e - pmi_late_b), 0x51,
					  AT(pmi_late, late_irq));
	struct stop st;

	if (!guest_has(g, 0x80000001, 2, 23))
		test_skip("no performance counters");
	guest_handler(g, 2, AT(pmi_late, late_nmi));
	cpu_set_msr(cpu0(g), CTR(2), -30000000ull);
	cpu_set_msr(cpu0(g), SEL(2), ALL | INT | CYCLES);
	busy_host();
	do
		st = run(g);
	while (st.kind == ST_INTR);
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 1);
	CHECK_EQ(*g64(g, st.r.rsp), AT(pmi_late, late_at));
	wait(NULL);
	guest_free(g);
}

T(overflow_masked, "without INT, or with LVTPC masked, only the status says so")
{
	struct guest *g = guest_with_apic(straight_b, (u32)(straight_e - straight_b), 0x40, 0);

	if (!guest_has(g, 0x80000001, 2, 23))
		test_skip("no performance counters");
	cpu_set_msr(cpu0(g), CTR(0), MAX48);
	cpu_set_msr(cpu0(g), SEL(0), ALL | INSNS);
	cpu_set_msr(cpu0(g), CTR(1), MAX48 - 1);
	cpu_set_msr(cpu0(g), SEL(1), ALL | INT | INSNS);
	CHECK_DONE(run(g));
	CHECK_EQ(cpu_msr(cpu0(g), STATUS), 3);
	CHECK_EQ(count(g, 0), 4);
	CHECK_EQ(count(g, 1), 3);
}

/* -- registers -- */

CODE64(wr, "wrmsr" DONE);
CODE64(rd, "rdmsr" DONE);
CODE64(pmc, "rdpmc" DONE);
CODE64(pmc3, "rdpmc" DONE3);

static int access_(struct guest *g, const u8 *b, const u8 *e, u32 rcx, u64 *val)
{
	struct stop st;

	guest_write(g, G_CODE, b, (u32)(e - b));
	WITH_REGS(cpu0(g), r) {
		r.rip = G_CODE;
		r.rsp = G_STACK;
		r.rcx = rcx;
		r.rax = (u32)*val;
		r.rdx = *val >> 32;
	}
	st = run(g);
	*val = (u32)st.r.rax | st.r.rdx << 32;
	cpu_complete(cpu0(g));
	if (st.kind == ST_EXC)
		return st.vec;
	CHECK_STOP(st, ST_DONE);
	return 0;
}
static int write_msr(struct guest *g, u32 msr, u64 v) { return access_(g, wr_b, wr_e, msr, &v); }
static int read_msr(struct guest *g, u32 msr, u64 *v) { return access_(g, rd_b, rd_e, msr, v); }

T(registers, "PERF_CTL drops reserved bits, PERF_CTR has 48; C001_0000 are the first four")
{
	struct guest *g = pmu_guest(wr);
	u64 v = 0;

	CHECK_EQ(write_msr(g, SEL(5), ~0ull & ~EN), 0);
	CHECK_EQ(read_msr(g, SEL(5), &v), 0);
	CHECK_EQ(v, 0x030fffd7ffffull & ~EN);
	CHECK_EQ(write_msr(g, CTR(5), ~0ull), 0);
	CHECK_EQ(read_msr(g, CTR(5), &v), 0);
	CHECK_EQ(v, MAX48);
	CHECK_EQ(write_msr(g, SEL(3), 0x1234), 0);
	CHECK_EQ(write_msr(g, K7_CTR + 3, 0x5678), 0);
	CHECK_EQ(read_msr(g, K7_SEL + 3, &v), 0);
	CHECK_EQ(v, 0x1234);
	CHECK_EQ(read_msr(g, CTR(3), &v), 0);
	CHECK_EQ(v, 0x5678);
	CHECK_EQ(read_msr(g, SEL(6), &v), GP);
}

T(global, "global control starts with all on; status is read-only, CLR and SET change it")
{
	struct guest *g = pmu_guest(wr);
	u64 v = 0;

	CHECK_EQ(read_msr(g, CTL, &v), 0);
	CHECK_EQ(v, 0x3f);
	CHECK_EQ(write_msr(g, CTL, ~0ull), 0);
	CHECK_EQ(read_msr(g, CTL, &v), 0);
	CHECK_EQ(v, 0x3f);
	CHECK_EQ(write_msr(g, STATUS, 0x3f), 0);
	CHECK_EQ(read_msr(g, STATUS, &v), 0);
	CHECK_EQ(v, 0);
	CHECK_EQ(write_msr(g, SET, 0xff), 0);
	CHECK_EQ(read_msr(g, STATUS, &v), 0);
	CHECK_EQ(v, 0x3f);
	CHECK_EQ(write_msr(g, CLR, 0x15), 0);
	CHECK_EQ(read_msr(g, STATUS, &v), 0);
	CHECK_EQ(v, 0x2a);
	CHECK_EQ(read_msr(g, CLR, &v), 0);
	CHECK_EQ(v, 0);
	/* A VMM writes the status itself. */
	cpu_set_msr(cpu0(g), STATUS, 5);
	CHECK_EQ(cpu_msr(cpu0(g), STATUS), 5);
	cpu_set_msr(cpu0(g), CLR, 5);
	CHECK_EQ(cpu_msr(cpu0(g), STATUS), 5);
}

T(global_off, "a counter that global control leaves out stands still")
{
	struct guest *g = pmu_guest(straight);

	cpu_set_msr(cpu0(g), CTL, 2);
	start(g, 0, ALL | INSNS);
	start(g, 1, ALL | INSNS);
	CHECK_DONE(run(g));
	CHECK_EQ(count(g, 0), 0);
	CHECK_EQ(count(g, 1), 5);
}

T(rdpmc, "RDPMC: CPL 0, or CR4.PCE; #GP for a counter that is not there")
{
	struct guest *g = pmu_guest(pmc);
	struct stop st;
	u64 v = 0;

	cpu_set_msr(cpu0(g), CTR(5), 0x123456789abcull);
	CHECK_EQ(access_(g, pmc_b, pmc_e, 5, &v), 0);
	CHECK_EQ(v, 0x123456789abcull);
	CHECK_EQ(access_(g, pmc_b, pmc_e, 6, &v), GP);
	CHECK_EQ(access_(g, pmc_b, pmc_e, 0x80000000, &v), GP);
	for (int pce = 0; pce < 2; pce++) {
		guest_load(g, G_CODE, pmc3);
		WITH_SREGS(cpu0(g), s)
			s.cr4 = (s.cr4 & ~BIT64(8)) | (u64)pce << 8;
		cpu_ring3(cpu0(g), G_CODE);
		WITH_REGS(cpu0(g), r)
			r.rcx = 5;
		st = run(g);
		cpu_complete(cpu0(g));
		if (pce)
			CHECK_EXC(st, VEC_DONE3, -1);
		else
			CHECK_EXC(st, GP, 0);
	}
}

CODE64(self, "xor %ecx, %ecx\n rdpmc\n mov %eax, %ebx\n nop\n nop\n nop\n"
	     "rdpmc\n sub %ebx, %eax" DONE);

T(rdpmc_exact, "RDPMC has what has retired before it")
{
	struct guest *g = pmu_guest(self);
	struct stop st;

	start(g, 0, ALL | INSNS);
	st = run(g);
	CHECK_STOP(st, ST_DONE);
	CHECK_EQ(st.r.rax, 5);
	CHECK_EQ(st.r.rbx, 1);
}

/* -- KVM's side -- */

struct filter {
	struct kvm_pmu_event_filter f;
	u64 e[4];
};

static void set_filter(struct guest *g, u32 action, u32 flags, u32 n, u64 a, u64 b)
{
	struct filter f = {
		.f = { .action = action, .nevents = n, .flags = flags }, .e = { a, b },
	};

	CHECK_EQ(ioctl(g->vm, KVM_SET_PMU_EVENT_FILTER, &f), 0);
}

T(filter, "KVM_SET_PMU_EVENT_FILTER: lists that allow and that deny, at once and by unit mask")
{
	static const struct {
		u32 action, flags, n;
		u64 a, b;
		bool insns, loads;
	} t[] = {
		{ 0, 0, 1, INSNS, 0, true, false },
		{ 1, 0, 1, INSNS, 0, false, true },
		{ 0, 0, 2, INSNS, LOADS, true, true },
		/* no event can be like it */
		{ 0, 0, 1, BIT64(40) | INSNS, 0, false, false },
		{ 1, 0, 0, 0, 0, true, true },
		{ 0, 0, 0, 0, 0, false, false },
		/* masked: the unit mask & 0 is 0; 0xff must be equal; excluded again */
		{ 0, 1, 1, 0x29, 0, false, true },
		{ 0, 1, 1, 0xff00000000000229, 0, false, false },
		{ 0, 1, 2, 0x29, BIT64(55) | 0xff00000000000129, false, false },
		{ 1, 1, 2, 0x29, BIT64(55) | 0xff00000000000129, true, true },
	};

	for (u32 i = 0; i < ARRAY_SIZE(t); i++) {
		struct guest *g = pmu_guest(accesses);

		start(g, 0, ALL | INSNS);
		start(g, 1, ALL | LOADS);
		set_filter(g, t[i].action, t[i].flags, t[i].n, t[i].a, t[i].b);
		CHECK_DONE(run(g));
		if (!CHECK_EQ(!!count(g, 0), t[i].insns) || !CHECK_EQ(!!count(g, 1), t[i].loads))
			printf("# row %u\n", i);
		guest_free(g);
	}
}

/* A write, its value read back, then the counter of ESI. */
CODE64(any, "wrmsr\n rdmsr\n shl $32, %rdx\n or %rdx, %rax\n mov %rax, %r12\n"
	    "mov %esi, %ecx\n rdpmc\n shl $32, %rdx\n or %rdx, %rax\n mov %rax, %r13" DONE);
#define SEL_NOT (BIT64(19) | BIT64(21) | GENMASK64(39, 36) | GENMASK64(63, 42))	/* reserved */

T(any, "20,000 random writes to the counters' MSRs, random filters: no reserved bit, no other end")
{
	static const u32 base[] = { K7_SEL, SEL0, STATUS };
	struct guest *g = pmu_guest(any);
	struct guest_cpu *c = cpu0(g);
	u64 seed = 17;

	for (u32 i = 0; i < 20000; i++) {
		u64 r = random_next(&seed), v = random_next(&seed), f = random_next(&seed);
		u32 msr = base[r % 3] + (u32)(r >> 8) % 16;
		struct stop s;

		/* What counts. */
		if (r & BIT64(20))
			v = (v & (ALL | INT | GUEST_ONLY | HOST_ONLY)) | (f & 1 ? INSNS : CYCLES);
		if (!(r & 0xf0000000)) {
			u64 bits = f & 1 ? 0xff8000000000ffff : ~0ull;

			set_filter(g, f >> 1 & 1, f & 1, (u32)(f >> 2) % 3, v & bits, f & bits);
		}
		WITH_REGS(c, x) {
			x.rip = G_CODE;
			x.rflags = 2;
			x.rcx = msr;
			x.rax = (u32)v;
			x.rdx = v >> 32;
			x.rsi = r >> 40 & 7;
		}
		s = run(g);
		if (s.kind == ST_EXC && s.vec == GP) {
			cpu_setup(c);
			continue;
		}
		if (!CHECK_STOP(s, ST_DONE) || !CHECK_EQ(s.r.r13 & ~MAX48, 0))
			break;
		if (msr >= SEL0 && msr < SEL(6) && msr % 2 == 0 && !CHECK_EQ(s.r.r12 & SEL_NOT, 0))
			break;
	}
	guest_free(g);
}

T(saved, "a vCPU's counters go on in another one")
{
	struct guest *g = pmu_guest(looping), *h = pmu_guest(looping);
	u64 n, b, m;

	counted(h, &n, &b);
	start(g, 0, ALL | INSNS);
	cpu_set_msr(cpu0(g), CTL, 1);
	CHECK_DONE(run(g));
	m = count(g, 0);
	CHECK_EQ(m, n);
	h = pmu_guest(straight);
	for (u32 msr = SEL(0); msr <= CTR(5); msr++)
		cpu_set_msr(cpu0(h), msr, cpu_msr(cpu0(g), msr));
	for (u32 msr = STATUS; msr <= SET; msr++)
		cpu_set_msr(cpu0(h), msr, cpu_msr(cpu0(g), msr));
	CHECK_DONE(run(h));
	CHECK_EQ(count(h, 0), m + 5);
	CHECK_EQ(cpu_msr(cpu0(h), CTL), 1);
}
