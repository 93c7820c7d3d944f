/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/flags.c - arithmetic flags that live across instructions that have nothing to do with
 * them: loads, stores, PUSH, POP, CALL and RET, whatever those run into.
 */
/* Run: build/standin run -- build/tests/guest/guest_flags [NAME...] */
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "tests/guest/harness/harness.h"

#define ARITH 0x8d5u	/* CF PF AF ZF SF OF */
enum { PAGE0 = G_WINDOW + 0x10000, STEP = 0x4000, PAGES = 5, R13_WAS = 0x1313131313131313 };

/* RAX: the flags. RSI, RDI, R8, R9, R10: a page each. RBX, RCX, RDX, RBP and R13 change. */
CODE64(chain, "mov (%rsp), %r11\n push %rax\n popfq\n jmp 2f\n 2: mov (%rsi), %rdx\n push %rdx\n"
	" mov 8(%rdi), %rbx\n"
	" pop %rcx\n mov %rbx, (%r8)\n lea 1(%rbx), %rbx\n mov (%r9), %r13\n lea 2(%r13), %r14\n"
	" call 1f\n chain_ret: jmp 3f\n 1: mov %r13, 8(%r10)\n mov %rax, %r15\n ret\n"
	" 3: pushfq\n pop %rbp" DONE);

static void start(struct guest *g, u64 flags)
{
	WITH_REGS(cpu0(g), r) {
		r.rip = G_CODE;
		r.rsp = G_STACK - 8;
		r.rax = flags | 2;
		r.rsi = PAGE0;
		r.rdi = PAGE0 + STEP;
		r.r8 = PAGE0 + 2 * STEP;
		r.r9 = PAGE0 + 3 * STEP;
		r.r10 = PAGE0 + 4 * STEP;
		r.rbx = r.rcx = r.rdx = r.rbp = r.r13 = r.r14 = r.r15 = 0;
	}
	*g64(g, PAGE0) = 0x1111;
	*g64(g, PAGE0 + STEP + 8) = 0x2222;
	*g64(g, PAGE0 + 3 * STEP) = R13_WAS;
	*g64(g, PAGE0 + 2 * STEP) = *g64(g, PAGE0 + 4 * STEP + 8) = 0;
}

static void check_done(struct guest *g, const struct stop *s, u64 flags, const char *what)
{
	const struct kvm_regs *r = &s->r;

	if (!CHECK_STOP(*s, ST_DONE) || (r->rbp & ARITH) != flags || (r->rflags & ARITH) != flags ||
	    r->rax != (flags | 2) || r->r15 != r->rax)
		test_fail(__FILE__, __LINE__, "%s: flags %#llx, wanted %#llx", what,
			  (unsigned long long)r->rbp, (unsigned long long)flags);
	CHECK_EQ(r->rdx, 0x1111);
	CHECK_EQ(r->rcx, 0x1111);
	CHECK_EQ(r->rbx, 0x2223);
	CHECK_EQ(r->r13, R13_WAS);
	CHECK_EQ(r->r14, R13_WAS + 2);
	CHECK_EQ(*g64(g, PAGE0 + 2 * STEP), 0x2222);
	CHECK_EQ(*g64(g, PAGE0 + 4 * STEP + 8), R13_WAS);
}

/* Each of the 64 combinations. */
static u64 combination(u32 i)
{
	return (i & 1) | (i & 2) << 1 | (i & 4) << 2 | (i & 8) << 3 | (i & 16) << 3 | (i & 32) << 6;
}

static void flush_tlb(struct guest *g)
{
	WITH_SREGS(cpu0(g), s) s.cr3 ^= 8;	/* PWT: another value, the same tables */
}

T(kept, "flags live across accesses, with and without translations at hand")
{
	struct guest *g = guest_with(M_LONG, chain);

	for (u32 i = 0; i < 64; i++)
		for (u32 k = 0; k < 3; k++) {
			struct stop s;

			if (k == 1)
				flush_tlb(g);
			start(g, combination(i));
			s = run(g);
			check_done(g, &s, combination(i), k == 1 ? "after a flush" : "warm");
		}
	guest_free(g);
}

T(faults, "flags in the frame of a page fault in between")
{
	struct guest *g = guest_with(M_LONG, chain);

	for (u32 i = 0; i < 64; i++)
		for (u32 k = 0; k < PAGES; k++) {
			u64 flags = combination(i), va = PAGE0 + k * STEP, pte = *guest_pte(g, va);
			struct stop s;

			start(g, flags);
			*guest_pte(g, va) = 0;
			flush_tlb(g);
			s = run(g);
			if (!check_stop(__FILE__, __LINE__, &s, ST_EXC, 14, -1) ||
			    (s.rflags & ARITH) != flags || s.r.rax != (flags | 2))
				test_fail(__FILE__, __LINE__, "page %u: flags %#llx, wanted %#llx",
					  k, (unsigned long long)s.rflags,
					  (unsigned long long)flags);
			*guest_pte(g, va) = pte;
			cpu_resume(cpu0(g), &s, s.rip);
			s = run(g);
			check_done(g, &s, flags, "after the fault");
		}
	guest_free(g);
}

T(gone, "flags where KVM_RUN ends with EFAULT in between")
{
	struct guest *g = guest_with(M_LONG, chain);

	for (u32 i = 0; i < 64; i++)
		for (u32 k = 0; k < PAGES; k++) {
			u64 flags = combination(i);
			u8 *page = g->ram + PAGE0 + k * STEP, keep[16];
			struct stop s;
			struct kvm_regs r;

			start(g, flags);
			memcpy(keep, page, sizeof(keep));
			/* The translation is at hand: the host finds out. */
			if (munmap(page, 4096))
				test_die("munmap: %s", strerror(errno));
			s = run(g);
			r = cpu_regs(cpu0(g));
			if (s.kind != ST_ERROR || s.err != EFAULT || (r.rflags & ARITH) != flags ||
			    r.rax != (flags | 2))
				test_fail(__FILE__, __LINE__,
					  "page %u: %s, flags %#llx, wanted %#llx", k,
					  stop_text(&s), (unsigned long long)r.rflags,
					  (unsigned long long)flags);
			if (mmap(page, 4096, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
				test_die("mmap: %s", strerror(errno));
			memcpy(page, keep, sizeof(keep));
			s = run(g);
			check_done(g, &s, flags, "with the memory back");
		}
	guest_free(g);
}

T(device, "flags where user space answers a load in between")
{
	struct guest *g = guest_with(M_LONG, chain);

	for (u32 i = 0; i < 64; i++) {
		u64 flags = combination(i);
		struct stop s;

		start(g, flags);
		WITH_REGS(cpu0(g), r)
			r.rdi = G_MMIO;
		s = RUN_TO(g, ST_MMIO);
		CHECK_EQ(cpu_regs(cpu0(g)).rflags & ARITH, flags);
		cpu_answer(cpu0(g), 0x2222);
		s = run(g);
		check_done(g, &s, flags, "answered");
	}
	guest_free(g);
}

/* Guest R13 to R15 have no host register: what one instruction leaves there the next one takes
 * up. */
CODE64(homes, "mov %rsi, %r13\n add %rdi, %r13\n mov %r13, %r14\n shl $7, %r14d\n"
	" mov %r14d, %r15d\n"
	" sub %r13, %r15\n sbb %r13, %r15\n mov $0x5a, %r13b\n xchg %r13, %r14\n setc %r14b\n"
	" mov %r14w, %r13w\n lea 3(%r13, %r14, 2), %r15\n add %r15w, %r15w\n bswap %r15\n"
	" imul $3, %r15, %r14\n cmp %r14, %r15\n cmovb %r14d, %r15d\n push %r15\n mov %r15, %r8\n"
	" pop %r13\n cmp %r13, %r15\n bt %r13d, %r13d\n rcl $1, %r13\n not %r13\n"
	" movzbl %r13b, %r14d\n"
	" movsbq %r14b, %r15\n mov %r15, (%rbx)\n mov (%rbx), %r13\n add %r13, (%rbx)\n"
	" mov (%rbx), %r15" DONE);

/* The same by the host CPU. */
static void homes_here(const struct kvm_regs *in, u64 *r13, u64 *r14, u64 *r15)
{
	u64 cell, a, b, c;

	__asm__ volatile("mov %[si], %%r13\n add %[di], %%r13\n mov %%r13, %%r14\n shl $7, %%r14d\n"
		" mov %%r14d, %%r15d\n sub %%r13, %%r15\n sbb %%r13, %%r15\n mov $0x5a, %%r13b\n"
		" xchg %%r13, %%r14\n setc %%r14b\n mov %%r14w, %%r13w\n"
		" lea 3(%%r13, %%r14, 2), %%r15\n"
		" add %%r15w, %%r15w\n bswap %%r15\n imul $3, %%r15, %%r14\n cmp %%r14, %%r15\n"
		" cmovb %%r14d, %%r15d\n mov %%r15, %%r13\n cmp %%r13, %%r15\n"
		" bt %%r13d, %%r13d\n rcl $1, %%r13\n not %%r13\n movzbl %%r13b, %%r14d\n"
		" movsbq %%r14b, %%r15\n mov %%r15, (%[m])\n mov (%[m]), %%r13\n"
		" add %%r13, (%[m])\n"
		" mov (%[m]), %%r15\n mov %%r13, %[a]\n mov %%r14, %[b]\n mov %%r15, %[c]"
		: [a] "=&m"(a), [b] "=&m"(b), [c] "=&m"(c)
		: [si] "r"(in->rsi), [di] "r"(in->rdi), [m] "r"(&cell)
		: "r13", "r14", "r15", "cc", "memory");
	*r13 = a;
	*r14 = b;
	*r15 = c;
}

T(homes, "registers without a host register, used one after the other")
{
	struct guest *g = guest_with(M_LONG, homes);
	u64 seed = 0x9e3779b97f4a7c15ull;

	for (u32 i = 0; i < 1000; i++) {
		struct kvm_regs in;
		struct stop s;
		u64 want[3];

		WITH_REGS(cpu0(g), r) {
			r.rip = G_CODE;
			r.rbx = G_DATA;
			r.rsi = seed *= 6364136223846793005ull;
			r.rdi = seed *= 6364136223846793005ull;
			in = r;
		}
		s = RUN_TO(g, ST_DONE);
		homes_here(&in, &want[0], &want[1], &want[2]);
		CHECK_EQ(s.r.r13, want[0]);
		CHECK_EQ(s.r.r14, want[1]);
		CHECK_EQ(s.r.r15, want[2]);
	}
	guest_free(g);
}

#define R13_SEEN 0x1234567800000020ull
CODE64(apic, G_APIC_ON "mov $3000, %ecx\n xor %ebx, %ebx\n"
	" 1: mov %r13d, 0x80(%rbp)\n add %r13, %rbx\n mov 0x80(%rbp), %r14d\n add %r14, %rbx\n"
	" dec %ecx\n jnz 1b" DONE);
T(apic, "... and the local APIC in between, which has a way of its own")
{
	struct guest *g = guest_apic(apic);
	struct stop s;

	WITH_REGS(cpu0(g), r)
		r.r13 = R13_SEEN;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.r13, R13_SEEN);
	CHECK_EQ(s.r.r14, 0x20);
	CHECK_EQ(s.r.rbx, 3000 * (R13_SEEN + 0x20));
	guest_free(g);
}

CODE64(apic_live, G_APIC_ON "mov $3000, %ecx\n"
	" xor %ebx, %ebx\n mov $0x30, %edx\n"
	" xor %r8d, %r8d\n 1: add $0x60000000, %ebx\n mov %edx, 0x80(%rbp)\n mov 0x80(%rbp), %eax\n"
	" adc $0, %r8\n"
	" add $0x60000000, %ebx\n mov %eax, 0xfee00080\n mov 0x80(%rbp,%r9,4), %r13d\n"
	" adc $0, %r8\n"
	" dec %ecx\n jnz 1b" DONE);
T(apic_flags, "the local APIC is accessed with flags live")
{
	struct guest *g = guest_apic(apic_live);
	struct stop s;

	WITH_REGS(cpu0(g), r)
		r.r9 = 0;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rax, 0x30);
	CHECK_EQ(s.r.r13, 0x30);
	/* Carries of 6,000 additions. */
	CHECK_EQ(s.r.r8, 6000ull * 0x60000000 >> 32);
	guest_free(g);
}

CODE64(edge, "cmp %rcx, %rcx\n mov (%rsi), %rax\n sete %dl\n cmp %rcx, %rcx\n mov (%rdi), %rbx\n"
	     " sete %dh" DONE);
T(edge, "an operand in two pages is found so where flags are live, with nothing in the TLB")
{
	/* The slots of the first page, of the one before 16 MiB and of the last one of all. */
	struct guest *g = guest_with(M_LONG, edge);
	struct stop s;

	*g64(g, 0xffc) = 0x1122334455667788;
	WITH_REGS(cpu0(g), r) {
		r.rsi = 0xffc;
		r.rdi = ~3ull;
	}
	s = RUN_EXC(g, 14, 0);
	CHECK_EQ(s.cr2, ~3ull);
	CHECK_EQ(s.r.rax, 0x1122334455667788);
	CHECK_EQ(s.r.rdx & 0xff, 1);
	guest_free(g);
}

/*
 * RF is for one instruction (APM2 3.1.6): one that has completed has cleared it, whoever executed
 * it. An IRETQ sets it and leads to the instruction in question; INT3 behind that shows it.
 */
#define WITH_RF(name, text) CODE64(rf_##name, "mov %ss, %eax\n push %rax\n lea 8(%rsp), %rax\n" \
	" push %rax\n" \
	"pushfq\n orl $0x10000, (%rsp)\n mov %cs, %eax\n push %rax\n lea 1f(%rip), %rax\n" \
	" push %rax\n" \
	"mov $1, %eax\n iretq\n 1: " text "\n int3" DONE)
WITH_RF(nop, "nop");
WITH_RF(add, "add %rax, %rbx");
WITH_RF(load, "mov (%rsi), %rbx");
WITH_RF(store, "mov %rbx, (%rsi)");
WITH_RF(split, "lock incq 4092(%rsi)");
WITH_RF(split_push, "lea 4100(%rsi), %rsp\n push %rax");
WITH_RF(push, "push %rbx");
WITH_RF(popf, "pushfq\n popfq");
WITH_RF(jmp, "jmp 2f\n nop\n 2: ");
WITH_RF(jcc, "jnz 2f\n 2: ");
WITH_RF(call, "call 2f\n 2: ");
WITH_RF(ret, "lea 2f(%rip), %rax\n push %rax\n ret\n 2: ");
WITH_RF(ind, "lea 2f(%rip), %rax\n jmp *%rax\n 2: ");
WITH_RF(far, "mov %cs, %eax\n push %rax\n lea 2f(%rip), %rax\n push %rax\n lretq\n 2: ");
WITH_RF(movs, "mov %rsi, %rdi\n mov $4, %ecx\n rep movsb");
WITH_RF(cmps, "cmpsb");
WITH_RF(cpuid, "cpuid");
WITH_RF(sgdt, "sgdt (%rsi)");
WITH_RF(sti, "sti\n cli");
WITH_RF(movss, "mov %ss, %eax\n mov %eax, %ss\n nop");
WITH_RF(fld, "fld1");
WITH_RF(fxsave, "fxsave (%rsi)");
WITH_RF(maskmov, "maskmovdqu %xmm0, %xmm1");
WITH_RF(clflush, "clflush (%rsi)");
WITH_RF(out, "out %al, $0x10");
WITH_RF(in, "in $0x10, %al");
WITH_RF(mmio, "mov %rax, (%r8)");
WITH_RF(mmio_read, "mov (%r8), %rax");
WITH_RF(mmio_rmw, "lock incq (%r8)");
WITH_RF(cr, "mov %cr0, %rax\n mov %rax, %cr0");
WITH_RF(msr, "mov $0xc0000100, %ecx\n rdmsr\n wrmsr");
WITH_RF(int3, "");
WITH_RF(syscall, "mov $0xc0000084, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n nop\n");
static const struct {
	const char *name;
	const u8 *p, *e;
} with_rf[] = {
#define X(n) { #n, rf_##n##_b, rf_##n##_e },
	X(nop) X(add) X(load) X(store) X(split) X(split_push) X(push) X(popf) X(jmp) X(jcc) X(call)
		X(ret) X(ind) X(far) X(movs) X(cmps) X(cpuid) X(sgdt) X(sti) X(movss) X(fld)
			X(fxsave) X(maskmov) X(clflush) X(out) X(in) X(mmio) X(mmio_read)
				X(mmio_rmw) X(cr) X(msr) X(int3) X(syscall)
#undef X
};
T(rf_cleared, "RF is gone when the instruction after the IRET has completed, whatever it was")
{
	for (u32 i = 0; i < ARRAY_SIZE(with_rf); i++) {
		struct guest *g =
			guest_with_code(M_LONG, with_rf[i].p, (u32)(with_rf[i].e - with_rf[i].p));
		u32 exits = 0;
		struct stop s;

		WITH_SREGS(cpu0(g), sr)
			sr.cr4 |= 1u << 9;
		WITH_REGS(cpu0(g), r) {
			r.rsi = r.rdi = G_WINDOW;
			r.r8 = G_MMIO;
		}
		for (;;) {
			s = run(g);
			if (s.kind != ST_IN && s.kind != ST_OUT && s.kind != ST_MMIO)
				break;
			if (s.kind == ST_MMIO && s.write && s.r.rflags & 0x10000)
				test_fail(__FILE__, __LINE__, "%s: RF at the exit",
					  with_rf[i].name);
			if ((s.kind == ST_MMIO && !s.write) || s.kind == ST_IN)
				cpu_answer(cpu0(g), 0);
			if (++exits > 8)
				break;
		}
		CHECK_EXC(s, 3, -1);
		if (s.rflags & 0x10000)
			test_fail(__FILE__, __LINE__, "%s: RF in the frame", with_rf[i].name);
		guest_free(g);
	}
}
WITH_RF(div, "xor %ecx, %ecx\n div %ecx");
WITH_RF(loop, "nop\n mov $100000, %ecx\n 2: dec %ecx\n jnz 2b\n out %al, $0x10\n sti\n 3: jmp 3b");
T(rf_frames, "RF in the frame of a fault is set, in that of an interrupt behind a loop it is not")
{
	struct guest *g = guest_with(M_LONG, rf_div);
	struct stop s = RUN_EXC(g, 0, -1);

	CHECK(s.rflags & 0x10000);
	g = guest_with(M_LONG, rf_loop);
	s = RUN_TO(g, ST_OUT);
	CHECK(!(s.r.rflags & 0x10000));
	cpu0(g)->run->request_interrupt_window = 1;
	s = RUN_TO(g, ST_WINDOW);
	CHECK(!(s.r.rflags & 0x10000));
	cpu0(g)->run->request_interrupt_window = 0;
	cpu_interrupt(cpu0(g), 0x40);
	s = RUN_EXC(g, 0x40, -1);
	CHECK(!(s.rflags & 0x10000));
}

/*
 * What comes round to the instruction again is not the instruction any more. The first read of the
 * page behind the window's is at the very address that IRETQ led to.
 */
WITH_RF(again, "2: mov (%rdi), %rax\n add $4096, %rdi\n jmp 2b");
WITH_RF(again_far, "2: mov (%rdi), %rax\n add $4096, %rdi\n lea 2b(%rip), %rax\n jmp *%rax");
WITH_RF(again_call, "2: mov (%rdi), %rax\n add $4096, %rdi\n call 3f\n 3: pop %rax\n nop\n nop\n"
		    " dec %ecx\n jnz 2b");
T(rf_again, "RF is set at the exit of the very instruction, not when a loop has come round to it")
{
	static const struct {
		const u8 *p, *e;
	} loops[] = {
		{ rf_again_b, rf_again_e },
		{ rf_again_far_b, rf_again_far_e },
		{ rf_again_call_b, rf_again_call_e },
	};

	for (u32 i = 0; i < ARRAY_SIZE(loops); i++)
		for (u64 before = 0; before < 4; before++) {
			struct guest *g =
				guest_with_code(M_LONG, loops[i].p, (u32)(loops[i].e - loops[i].p));
			struct stop s;

			WITH_REGS(cpu0(g), r) {
				r.rdi = G_WINDOW;
				r.rcx = 1000;
			}
			for (u64 k = before; k < before + 2; k++)
				*guest_pte(g, G_WINDOW + 4096 * k) = G_MMIO | PTE_P | PTE_W;
			s = RUN_TO(g, ST_MMIO);
			CHECK_EQ(!!(s.r.rflags & 0x10000), !before);
			cpu_answer(cpu0(g), 0);
			/* It is the next page's turn: something has completed. */
			s = RUN_TO(g, ST_MMIO);
			CHECK(!(s.r.rflags & 0x10000));
			guest_free(g);
		}
}

static void on_alarm(int sig) { (void)sig; }

/* IRETQ sets IF as well; an interrupt waits already, or comes while the instruction goes round. */
#define RF_IF(name, text) CODE64(name, "mov %ss, %eax\n push %rax\n lea 8(%rsp), %rax\n" \
	" push %rax\n" \
	"pushfq\n orl $0x10200, (%rsp)\n mov %cs, %eax\n push %rax\n lea 1f(%rip), %rax\n" \
	" push %rax\n" \
	"out %al, $0x10\n iretq\n 1: " text)
RF_IF(rf_self, "jmp 1b");
RF_IF(rf_rep, "mov $1, %eax\n jmp 1b");
T(rf_interrupt,
  "an interrupt before the instruction saves RF, one that comes when it has completed does not")
{
	const struct itimerval soon = { .it_value.tv_usec = 10000 };
	const struct sigaction alarm = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &alarm, NULL);
	for (u32 i = 0; i < 2; i++)
		for (u32 late = 0; late < 2; late++) {
			struct guest *g =
				i ? guest_with(M_LONG, rf_rep) : guest_with(M_LONG, rf_self);
			struct stop s = RUN_TO(g, ST_OUT);

			/* The window opens before the instruction. */
			cpu0(g)->run->request_interrupt_window = 1;
			s = RUN_TO(g, ST_WINDOW);
			CHECK(s.r.rflags & 0x10000);
			cpu0(g)->run->request_interrupt_window = 0;
			if (late) {
				setitimer(ITIMER_REAL, &soon, NULL);
				s = RUN_TO(g, ST_INTR);
				CHECK(!(s.r.rflags & 0x10000));
			}
			cpu_interrupt(cpu0(g), 0x40);
			s = RUN_EXC(g, 0x40, -1);
			CHECK_EQ(!!(s.rflags & 0x10000), !late);
			guest_free(g);
		}
}
