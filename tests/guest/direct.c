/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/direct.c - user code that runs directly (STANDIN_DIRECT=always): what it sees and
 * what the kernel sees of it is what translation shows. Every test looks at the counters: it did
 * run directly.
 */
/* Run: build/standin run -- build/tests/guest/guest_direct [NAME...] */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"

enum { MSR_TSC = 0x10, MSR_STAR = 0xc0000081, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK };
/* Where the host would have a mapping, too; Linux's selectors. */
enum { U_CODE = 0x300000, U_DATA = 0x320000, SEL_UCS = 0x33, SEL_UDS = 0x2b };
#define UAT(name, label) (U_CODE + (u64)((label) - name##_b))

static void user_cpu(struct guest_cpu *c, u64 rip)
{
	struct guest *g = c->g;
	struct kvm_xcrs x = { .nr_xcrs = 1 };

	guest_gdt(g, 0x20, 0x00cffb000000ffff);
	guest_gdt(g, 0x28, 0x00cff3000000ffff);
	guest_gdt(g, 0x30, 0x00affb000000ffff);
	WITH_SREGS(c, s) {
		struct kvm_segment null = { .unusable = 1 };

		s.cs = seg_flat(SEL_UCS, 0xb, 3, 64);
		s.ss = seg_flat(SEL_UDS, 3, 3, 32);
		s.ds = s.es = s.fs = s.gs = null;
		s.cr0 |= 1u << 18;
		s.cr4 |= 1u << 9 | 1u << 10 | 1u << 16 | 1u << 18;
		s.efer |= 1;
	}
	vcpu_ioctl(c, KVM_GET_XCRS, &x, "KVM_GET_XCRS");
	x.xcrs[0].value = 7;
	vcpu_ioctl(c, KVM_SET_XCRS, &x, "KVM_SET_XCRS");
	WITH_REGS(c, r) {
		r.rip = rip;
		r.rsp = G_STACK3;
		r.rflags = 0x202;
	}
}
static void user(struct guest *g, u64 rip)
{
	user_cpu(cpu0(g), rip);
}
static struct guest *user_guest(const u8 *p, u64 n)
{
	struct guest *g = guest_new(M_LONG);

	if (cpu_counter(cpu0(g), "direct_stays") == ~0ull)
		test_skip("not standin");
	if (!getenv("STANDIN_DIRECT"))
		test_skip("STANDIN_DIRECT is not set");
	if (!guest_has(g, 7, 1, 0))
		test_skip("no FSGSBASE");
	guest_write(g, U_CODE, p, (u32)n);
	user(g, U_CODE);
	return g;
}
#define USER(s) user_guest(s##_b, LEN(s))
#define CHECK_DIRECT(g, n) CHECK(cpu_counter(cpu0(g), "direct_stays") >= (n))
/* SYSCALL leads to `entry`, which lies in the user's page. */
static void kernel_at(struct guest *g, u64 entry)
{
	cpu_set_msr(cpu0(g), MSR_STAR, (u64)(SEL_UCS - 16) << 48 | (u64)SEL_CODE64 << 32);
	cpu_set_msr(cpu0(g), MSR_LSTAR, entry);
	cpu_set_msr(cpu0(g), MSR_SFMASK, 0x200);
}

CODE64(sum, "mov $1000000, %ecx\n xor %eax, %eax\n 1: add %rcx, %rax\n push %rax\n pop %rdx\n"
	    " dec %ecx\n jnz 1b" DONE3);
T(loop, "a loop with a stack")
{
	struct guest *g = USER(sum);
	struct stop s = RUN_EXC(g, VEC_DONE3, -1);

	CHECK_EQ(s.r.rax, 1000000ull * 1000001 / 2);
	CHECK_EQ(s.r.rdx, s.r.rax);
	CHECK_EQ(s.cs, SEL_UCS);
	CHECK_EQ(s.ss, SEL_UDS);
	CHECK_EQ(s.sp, G_STACK3);
	CHECK_DIRECT(g, 1);
}

CODE64(calls, "mov $300, %esi\n mov $0x1234, %eax\n movq %rax, %xmm7\n vpbroadcastq %xmm7, %ymm7\n"
	" fldpi\n"
	"wrfsbase %rsp\n 1: mov $39, %eax\n syscall\n c_next: add %rax, %rdi\n dec %esi\n jnz 1b\n"
	"vextracti128 $1, %ymm7, %xmm7\n movq %xmm7, %r12\n fstpt -16(%rsp)\n mov -16(%rsp), %r13\n"
	" rdfsbase %r14" DONE3
	"c_entry: mov %rcx, %r8\n mov %r11, %r9\n lea 1(%rax), %rax\n sysretq");
LABEL(c_next);
LABEL(c_entry);
T(system_calls, "SYSCALL is the guest's, whatever number it has; the state goes over and back")
{
	struct guest *g = USER(calls);
	struct stop s;

	kernel_at(g, UAT(calls, c_entry));
	s = RUN_EXC(g, VEC_DONE3, -1);
	CHECK_EQ(s.r.rdi, 300 * 40);
	CHECK_EQ(s.r.r8, UAT(calls, c_next));
	CHECK_EQ(s.r.r9 & 0xf02, 0x202);
	CHECK_EQ(s.r.r12, 0x1234);
	CHECK_EQ(s.r.r13, 0xc90fdaa22168c235);
	CHECK_EQ(s.r.r14, G_STACK3);
	CHECK_DIRECT(g, 300);
	CHECK(cpu_counter(cpu0(g), "direct_left_syscall") >= 300);
}

CODE64(fault, "mov $100000, %ecx\n 1: dec %ecx\n jnz 1b\n mov $0x55, %ebx\n"
	      " f_read: mov (%rdi), %eax" DONE3);
CODE64(store, "mov $100000, %ecx\n 1: dec %ecx\n jnz 1b\n mov $0x55, %ebx\n"
	      " f_store: mov %ebx, (%rdi)" DONE3);
CODE64(jump, "mov $100000, %ecx\n 1: dec %ecx\n jnz 1b\n mov $0x55, %ebx\n jmp *%rdi");
LABEL(f_read);
LABEL(f_store);
static void page_fault(struct guest *g, u64 pte, u64 rip, u32 err)
{
	struct stop s;

	*guest_pte(g, U_DATA) = pte;
	WITH_SREGS(cpu0(g), sr)
		sr.efer |= 1u << 11;
	WITH_REGS(cpu0(g), r)
		r.rdi = U_DATA + 8;
	s = RUN_EXC(g, 14, err);
	CHECK_EQ(s.cr2, U_DATA + 8);
	CHECK_EQ(s.rip, rip);
	CHECK_EQ(s.r.rbx, 0x55);
	CHECK_EQ(s.rflags & 0x10000, 0x10000);
	CHECK_DIRECT(g, 1);
	CHECK(cpu_counter(cpu0(g), "direct_left_fault") >= 1);
}
T(page_faults, "page faults have the guest's error code, CR2 and RIP")
{
	page_fault(USER(fault), 0, UAT(fault, f_read), 4);
	page_fault(USER(fault), U_DATA | PTE_P | PTE_W, UAT(fault, f_read), 5);
	page_fault(USER(fault), U_DATA | PTE_P | PTE_U | BIT64(51), UAT(fault, f_read), 13);
	page_fault(USER(store), 0, UAT(store, f_store), 6);
	page_fault(USER(store), U_DATA | PTE_P | PTE_U, UAT(store, f_store), 7);
	page_fault(USER(jump), 0, U_DATA + 8, 0x14);
	page_fault(USER(jump), U_DATA | PTE_P | PTE_W | PTE_U | PTE_NX, U_DATA + 8, 0x15);
}
T(accessed, "A and D are set when they have to be, and no earlier")
{
	struct guest *g = USER(fault);

	*guest_pte(g, U_DATA) = U_DATA | PTE_P | PTE_W | PTE_U;
	*guest_pte(g, U_DATA + 0x1000) = (U_DATA + 0x1000) | PTE_P | PTE_W | PTE_U;
	WITH_REGS(cpu0(g), r)
		r.rdi = U_DATA;
	RUN_EXC(g, VEC_DONE3, -1);
	CHECK_EQ(*guest_pte(g, U_DATA) & (PTE_A | PTE_D), PTE_A);
	CHECK_EQ(*guest_pte(g, U_DATA + 0x1000) & (PTE_A | PTE_D), 0);
	CHECK_DIRECT(g, 1);
	g = USER(store);
	*guest_pte(g, U_DATA) = U_DATA | PTE_P | PTE_W | PTE_U | PTE_A;
	WITH_REGS(cpu0(g), r)
		r.rdi = U_DATA;
	RUN_EXC(g, VEC_DONE3, -1);
	CHECK_EQ(*guest_pte(g, U_DATA) & (PTE_A | PTE_D), PTE_A | PTE_D);
	CHECK_DIRECT(g, 1);
}

/* The kernel maps U_DATA to the one page and to the other in turn: r10 is where the entry is, r12
 * and r13 are what goes there. */
#define REMAP(name, flush) CODE64(name, "mov $200, %esi\n 1: add (%rdi), %rbx\n shl $1, %rbp\n" \
	" syscall\n" \
	"mov (%rdi), %rax\n add %rax, %r15\n mov %rax, 8(%rdi)\n dec %esi\n jnz 1b" DONE3 \
	#name "_entry: xchg %r12, %r13\n mov %r12, (%r10)\n" flush "\n sysretq"); \
	LABEL(name##_entry)
REMAP(remap_invlpg, "invlpg (%rdi)");
REMAP(remap_cr3, "mov %cr3, %rax\n mov %rax, %cr3");
REMAP(remap_cr4, "mov %cr4, %rax\n xor $0x80, %rax\n mov %rax, %cr4");
static void remap(struct guest *g, u64 entry)
{
	struct stop s;

	kernel_at(g, entry);
	*guest_pte(g, U_DATA) = U_DATA | 0x67;
	*g64(g, U_DATA) = 1;
	*g64(g, U_DATA + 0x1000) = 1000;
	WITH_REGS(cpu0(g), r) {
		r.rdi = U_DATA;
		r.r10 = (u64)((u8 *)guest_pte(g, U_DATA) - g->ram);
		r.r12 = U_DATA | 0x67;
		r.r13 = (U_DATA + 0x1000) | 0x67;
	}
	s = RUN_EXC(g, VEC_DONE3, -1);
	CHECK_EQ(s.r.rbx, 100 * 1001);
	CHECK_EQ(s.r.r15, 100 * 1001);
	CHECK_EQ(*g64(g, U_DATA + 8), 1);
	CHECK_EQ(*g64(g, U_DATA + 0x1008), 1000);
	CHECK_DIRECT(g, 200);
}
T(remap, "an entry that changes is followed after INVLPG, MOV to CR3 and MOV to CR4")
{
	remap(USER(remap_invlpg), UAT(remap_invlpg, remap_invlpg_entry));
	remap(USER(remap_cr3), UAT(remap_cr3, remap_cr3_entry));
	remap(USER(remap_cr4), UAT(remap_cr4, remap_cr4_entry));
}

CODE64(own, "mov $300, %ecx\n xor %eax, %eax\n 1: mov %ecx, own_imm+1(%rip)\n own_imm: .byte 0x05\n"
	    " .long 0\n dec %ecx\n jnz 1b" DONE3);
CODE64(other, "mov $300, %ecx\n xor %eax, %eax\n 1: mov %ecx, 1(%rdi)\n call *%rsi\n dec %ecx\n"
	      " jnz 1b" DONE3);
T(changing_code, "code that changes itself, also through another address of its page")
{
	static const u8 fn[] = { 0x05, 0, 0, 0, 0, 0xc3 };	/* add eax, imm32; ret */
	struct guest *g = USER(own);
	struct stop s = RUN_EXC(g, VEC_DONE3, -1);

	CHECK_EQ(s.r.rax, 300 * 301 / 2);
	CHECK_DIRECT(g, 1);
	g = USER(other);
	*guest_pte(g, U_DATA) = (U_DATA + 0x3000) | 0x67;
	guest_write(g, U_DATA + 0x3000, fn, sizeof(fn));
	WITH_REGS(cpu0(g), r) {
		r.rdi = U_DATA;
		r.rsi = U_DATA + 0x3000;
	}
	s = RUN_EXC(g, VEC_DONE3, -1);
	CHECK_EQ(s.r.rax, 300 * 301 / 2);
	CHECK_DIRECT(g, 1);
}

/* r8: where CPUID is planted, r9: XGETBV; both followed by RET. */
CODE64(truth, "mov $100000, %ecx\n 1: dec %ecx\n jnz 1b\n mov $0x80000002, %eax\n call *%r8\n"
	" mov %eax, %esi\n"
	"xor %ecx, %ecx\n call *%r9\n mov %eax, %edi\n rdtsc\n shl $32, %rdx\n or %rax, %rdx\n"
	" mov %rdx, %rbp" DONE3);
T(truth, "CPUID, XGETBV and RDTSC answer as the virtual CPU does, also over the end of a page")
{
	static const u8 cpuid[] = { 0x0f, 0xa2, 0xc3 }, xgetbv[] = { 0x0f, 0x01, 0xd0, 0xc3 };
	static const u64 at[] = { U_DATA, U_DATA + 0xffe, U_DATA + 0xfff };
	u32 name = 0;

	for (u32 i = 0; i < ARRAY_SIZE(at); i++) {
		struct guest *g = USER(truth);
		struct stop s;

		for (u32 k = 0; k < g->cpuid->nent; k++)
			if (g->cpuid->entries[k].function == 0x80000002)
				name = g->cpuid->entries[k].eax;
		guest_write(g, at[i], cpuid, sizeof(cpuid));
		guest_write(g, at[i] + 0x2000, xgetbv, sizeof(xgetbv));
		cpu_set_msr(cpu0(g), MSR_TSC, 0);
		WITH_REGS(cpu0(g), r) {
			r.r8 = at[i];
			r.r9 = at[i] + 0x2000;
		}
		s = RUN_EXC(g, VEC_DONE3, -1);
		CHECK_EQ(s.r.rsi, name);
		CHECK_EQ(s.r.rdi, 7);
		CHECK(s.r.rbp < 1ull << 38);	/* a minute or so */
		CHECK_DIRECT(g, 1);
	}
}

/* CPUID in the page, twelve times behind a loop with a system call; the kernel returns by IRET with
 * RF set where r12 says so. */
CODE64(beside, "mov $300, %esi\n b_loop: syscall\n add %rsi, %rdi\n dec %esi\n jnz b_loop\n"
	"mov $12, %esi\n 2: mov $0x80000002, %eax\n syscall\n cpuid\n cmp %eax, %r13d\n"
	" setne %al\n movzbl %al, %eax\n add %rax, %rbp\n dec %esi\n jnz 2b" DONE3
	"b_entry: test %r12, %r12\n jnz 3f\n sysretq\n 3: mov %rsp, %r15\n bts $16, %r11\n"
	" push $0x2b\n push %r15\n push %r11\n push $0x33\n push %rcx\n iretq");
LABEL(b_entry);
T(beside, "what lies beside CPUID in its page runs directly; CPUID does not, not even after RF")
{
	for (u32 rf = 0; rf < 2; rf++) {
		struct guest *g = USER(beside);
		u32 name = 0x4242;
		struct stop s;

		for (u32 k = 0; k < g->cpuid->nent; k++)
			if (g->cpuid->entries[k].function == 0x80000002)
				g->cpuid->entries[k].eax = name;
		vcpu_ioctl(cpu0(g), KVM_SET_CPUID2, g->cpuid, "KVM_SET_CPUID2");
		kernel_at(g, UAT(beside, b_entry));
		WITH_REGS(cpu0(g), r) {
			r.rdi = r.rbp = 0;
			r.r12 = rf;
			r.r13 = name;
		}
		s = RUN_EXC(g, VEC_DONE3, -1);
		CHECK_EQ(s.r.rdi, 300 * 301 / 2);
		CHECK_EQ(s.r.rbp, 0);
		CHECK_DIRECT(g, 312);
		CHECK_EQ(cpu_counter(cpu0(g), "direct_left_code"), 12);
	}
}

/* A function in the first page goes over into the second in the middle of an instruction. */
static void spots(u32 first, u32 second)
{
	static const u8 cpuid[] = { 0x0f, 0xa2, 0xc3 }, fn[] = { 0x05, 1, 0, 0, 0, 0xc3 };
	struct guest *g = USER(other);
	struct stop s;

	for (u32 i = 0; i < first; i++)
		guest_write(g, U_DATA + 0x100 + i * 0x100, cpuid, sizeof(cpuid));
	for (u32 i = 0; i < second; i++)
		guest_write(g, U_DATA + 0x1100 + i * 0x100, cpuid, sizeof(cpuid));
	guest_write(g, U_DATA + 0xffd, fn, sizeof(fn));
	WITH_REGS(cpu0(g), r) {
		r.rdi = U_DATA + 0x5000;
		r.rsi = U_DATA + 0xffd;
	}
	s = RUN_EXC(g, VEC_DONE3, -1);
	CHECK_EQ(s.r.rax, 300);
	CHECK_DIRECT(g, 1);
}
T(many_spots,
  "pages with more of them than there are breakpoints, and instructions that lie in two")
{
	spots(1, 1);
	spots(2, 3);
	spots(4, 4);
	spots(5, 1);
	spots(1, 9);
}

/* Both CPUs: a system call, then one of eight pages; r13 is the first, which the kernel writes, but
 * always with what is there. */
CODE64(pair, "mov $4000, %esi\n p_loop: mov %esi, %eax\n syscall\n and $7, %eax\n shl $12, %eax\n"
	" add %r13, %rax\n call *%rax\n dec %esi\n jnz p_loop" DONE3
	"p_entry: mov (%r13), %r14\n mov %r14, (%r13)\n sysretq");
LABEL(p_entry);
static void *run_other(void *cpu)
{
	static struct stop s;

	s = cpu_run(cpu);
	return &s;
}
T(pair, "two CPUs run directly side by side, and keep the pages that they execute")
{
	static const u8 fn[] = { 0x48, 0xff, 0xc3, 0xc3 };	/* inc %rbx; ret */
	struct guest *g = USER(pair);
	struct guest_cpu *c[2] = { cpu0(g), guest_add_cpu(g) };
	struct stop s, *other;
	pthread_t t;

	cpu_setup(c[1]);
	user_cpu(c[1], U_CODE);
	for (u32 i = 0; i < 16; i++)
		guest_write(g, U_DATA + i * 0x1000, fn, sizeof(fn));
	for (u32 i = 0; i < 2; i++) {
		cpu_set_msr(c[i], MSR_STAR, (u64)(SEL_UCS - 16) << 48 | (u64)SEL_CODE64 << 32);
		cpu_set_msr(c[i], MSR_LSTAR, UAT(pair, p_entry));
		cpu_set_msr(c[i], MSR_SFMASK, 0x200);
		WITH_REGS(c[i], r) {
			r.rbx = 0;
			r.r13 = U_DATA + i * 0x8000;
			r.rsp = i ? G_STACK3 - 0x800 : G_STACK3;
		}
	}
	if (pthread_create(&t, NULL, run_other, c[1]))
		test_die("pthread_create");
	s = run(g);
	pthread_join(t, (void **)&other);
	CHECK_EXC(s, VEC_DONE3, -1);
	CHECK_EQ(s.r.rbx, 4000);
	CHECK_EQ(other->r.rbx, 4000);
	for (u32 i = 0; i < 2; i++) {
		CHECK(cpu_counter(c[i], "direct_stays") >= 4000);
		CHECK(cpu_counter(c[i], "direct_fills") < 200);
	}
}

#define EXC_CODE(name, text) CODE64(name, "mov $100000, %ecx\n 1: dec %ecx\n jnz 1b\n" text DONE3 \
				    "ud2")
EXC_CODE(x_de, "xor %edx, %edx\n xor %ecx, %ecx\n x_de_at: div %ecx");
EXC_CODE(x_ud, "x_ud_at: ud2");
EXC_CODE(x_gp, "mov $1, %eax\n shl $63, %rax\n x_gp_at: mov (%rax), %eax");
EXC_CODE(x_hlt, "x_hlt_at: hlt");
EXC_CODE(x_db, "pushfq\n orq $0x100, (%rsp)\n popfq\n nop\n x_db_at: nop");
EXC_CODE(x_ac, "pushfq\n orq $0x40000, (%rsp)\n popfq\n x_ac_at: mov 1(%rsp), %eax");
EXC_CODE(x_xf, "mov $0, %eax\n push %rax\n ldmxcsr (%rsp)\n mov $1, %eax\n cvtsi2sd %eax, %xmm0\n"
	       " xorpd %xmm1, %xmm1\n x_xf_at: divsd %xmm1, %xmm0");
LABEL(x_de_at); LABEL(x_ud_at); LABEL(x_gp_at); LABEL(x_hlt_at); LABEL(x_db_at); LABEL(x_ac_at);
LABEL(x_xf_at);
T(exceptions, "exceptions are the guest's")
{
	static const struct {
		const u8 *b, *e, *at;
		u8 vec;
		s32 err;
	} t[] = {
#define ROW(n, vec, err) { n##_b, n##_e, n##_at, vec, err }
		ROW(x_de, 0, -1), ROW(x_ud, 6, -1), ROW(x_gp, 13, 0),  ROW(x_hlt, 13, 0),
		ROW(x_db, 1, -1), ROW(x_ac, 17, 0), ROW(x_xf, 19, -1),
	};

	for (u32 i = 0; i < ARRAY_SIZE(t); i++) {
		struct guest *g = user_guest(t[i].b, (u64)(t[i].e - t[i].b));
		struct stop s = RUN_EXC(g, t[i].vec, t[i].err);

		CHECK_EQ(s.rip, U_CODE + (u64)(t[i].at - t[i].b));
		CHECK_DIRECT(g, 1);
	}
}
EXC_CODE(x_bp, "int3\n x_bp_at: nop");
LABEL(x_bp_at);
T(int3, "INT3 goes through its gate")
{
	struct guest *g = USER(x_bp);
	struct stop s;

	guest_gate(g, 3, SEL_CODE64, G_STUBS + 3 * 16, 0xe, 3, 0);
	s = RUN_EXC(g, 3, -1);
	CHECK_EQ(s.rip, UAT(x_bp, x_bp_at));
	CHECK_DIRECT(g, 1);
}
EXC_CODE(x_i3, ".byte 0xcd, 3\n x_i3_at: nop");
EXC_CODE(x_i4, ".byte 0xcd, 4\n x_i4_at: nop");
LABEL(x_i3_at); LABEL(x_i4_at);
T(int_n, "INT 3 and INT 4 of two bytes go through their gates")
{
	struct guest *g = USER(x_i3);
	struct stop s;

	guest_gate(g, 3, SEL_CODE64, G_STUBS + 3 * 16, 0xe, 3, 0);
	s = RUN_EXC(g, 3, -1);
	CHECK_EQ(s.rip, UAT(x_i3, x_i3_at));
	CHECK_DIRECT(g, 1);
	g = USER(x_i4);
	guest_gate(g, 4, SEL_CODE64, G_STUBS + 4 * 16, 0xe, 3, 0);
	s = RUN_EXC(g, 4, -1);
	CHECK_EQ(s.rip, UAT(x_i4, x_i4_at));
	CHECK_DIRECT(g, 1);
}

/* -- the mirror against the walk that the manuals describe -- */

/* A list of steps: the kernel writes an entry and flushes, then user code reads, writes or
 * executes. r8 to r10 and rsi say what the kernel does; #PF goes on behind the access, with the
 * error code and CR2 - RDI in RAX. */
CODE64(mirror, "m_loop: mov (%rbx), %rdi\n mov 8(%rbx), %rdx\n"
	"mov 16(%rbx), %r8\n mov 24(%rbx), %r9\n"
	"mov 32(%rbx), %r10\n mov 40(%rbx), %rsi\n syscall\n xor %eax, %eax\n"
	"cmp $1, %edx\n jb 1f\n je 2f\n call *%rdi\n jmp m_next\n"
	"1: mov 0x108(%rdi), %rax\n jmp m_next\n"
	"2: mov %rbx, 0x108(%rdi)\n"
	"m_next: mov %r14, %rsp\n mov %rax, 48(%rbx)\n add $64, %rbx\n dec %ebp\n jnz m_loop" DONE3
	"m_entry: mov %r9, (%r8)\n cmp $1, %r10d\n jb 3f\n je 4f\n invlpg (%rsi)\n sysretq\n"
	"3: mov %cr3, %rax\n mov %rax, %cr3\n sysretq\n"
	"4: mov %cr4, %rax\n xor $0x80, %rax\n mov %rax, %cr4\n sysretq\n"
	"m_fault: pop %rax\n bts $40, %rax\n mov %cr2, %r15\n sub %rdi, %r15\n shl $12, %r15\n"
	"or %r15, %rax\n lea m_next(%rip), %rcx\n mov %rcx, (%rsp)\n iretq");
LABEL(m_entry);
LABEL(m_fault);
enum { MV = 16, MP = 8, M_BATCH = 512, M_LIST = 0x340000, M_PHYS = 0x360000 };
struct mirror_step {
	u64 at, kind, pte_at, pte, flush, edit, got, unused;
};
struct mirror_model {
	u64 pte[MV], value[MP];
	bool touched[MV];	/* since the entry was written */
};
static u64 mirror_random(u64 *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x >> 11;
}
/* What the step's access does by the tables: what is read, or BIT 40, CR2's offset and the error
 * code. */
static u64 mirror_expect(struct mirror_model *m, const struct mirror_step *st, u64 value)
{
	u32 v = (u32)(st->at - U_DATA) / 4096, p;
	u64 *e = &m->pte[v], err = 4 | (st->kind == 1 ? 2 : 0) | (st->kind == 2 ? 16 : 0);
	bool ok = *e & PTE_P;

	m->touched[v] = true;
	if (ok) {
		err |= 1;
		if (*e & BIT64(51)) {
			err |= 8;
			ok = false;
		} else {
			ok = (*e & PTE_U) && !(st->kind == 1 && !(*e & PTE_W)) &&
			     !(st->kind == 2 && (*e & PTE_NX));
		}
	}
	if (!ok)
		return BIT64(40) | err | (st->kind == 2 ? 0 : 0x108ull << 12);
	p = (u32)((*e & 0xffffff000) - M_PHYS) / 4096;
	*e |= PTE_A | (st->kind == 1 ? PTE_D : 0);
	if (st->kind == 1)
		m->value[p] = value;
	return st->kind == 0 ? m->value[p] : st->kind == 1 ? 0 : 0x100 + p;
}
T(mirror, "user code sees what the page tables say, whatever the kernel writes there")
{
	struct guest *g = USER(mirror);
	u32 count = getenv("DIRECT_STEPS") ? (u32)atoi(getenv("DIRECT_STEPS")) : 20000;
	struct mirror_model m = { 0 };
	u64 rnd = 0x9e3779b97f4a7c15, bad = 0;

	kernel_at(g, UAT(mirror, m_entry));
	guest_gate(g, 14, SEL_CODE64, UAT(mirror, m_fault), 0xe, 0, 0);
	WITH_SREGS(cpu0(g), sr)
		sr.efer |= 1u << 11;
	for (u32 p = 0; p < MP; p++) {
		u8 fn[] = { 0xb8, (u8)p, 1, 0, 0, 0xc3 };	/* mov $0x100 + p, %eax; ret */

		guest_write(g, M_PHYS + p * 4096, fn, sizeof(fn));
		m.value[p] = *g64(g, M_PHYS + p * 4096 + 0x108) = p;
	}
	for (u32 v = 0; v < MV; v++)
		m.pte[v] = *guest_pte(g, U_DATA + v * 4096) = 0;
	for (u32 done = 0; done < count && !bad; done += M_BATCH) {
		struct mirror_step *st = (void *)(g->ram + M_LIST);
		struct stop s;

		for (u32 i = 0; i < M_BATCH; i++) {
			u32 v = (u32)mirror_random(&rnd) % MV;
			u64 r = mirror_random(&rnd), e = M_PHYS + r % MP * 4096;

			e |= (r >> 8 & 7 ? PTE_P : 0) | (r >> 11 & 1 ? PTE_W : 0) |
			     (r >> 12 & 7 ? PTE_U : 0) | (r >> 15 & 3 ? 0 : PTE_NX) |
			     (r >> 17 & 1 ? PTE_A : 0) | (r >> 18 & 1 ? PTE_D : 0) |
			     (r >> 19 & 31 ? 0 : BIT64(51));
			st[i] = (struct mirror_step){
				.pte_at = (u64)((u8 *)guest_pte(g, U_DATA + v * 4096) - g->ram),
				.pte = e, .flush = r >> 24 & 3, .edit = U_DATA + v * 4096,
				.kind = (r >> 26 & 0xff) % 3,
			};
			/* Often no change: what is there must stay good. */
			if (r >> 34 & 1)
				v = (u32)mirror_random(&rnd) % MV;
			st[i].at = U_DATA + v * 4096;
		}
		user(g, U_CODE);
		WITH_REGS(cpu0(g), rg) {
			rg.rbx = M_LIST;
			rg.rbp = M_BATCH;
			rg.r14 = rg.rsp;
		}
		s = run(g);
		CHECK_EXC(s, VEC_DONE3, -1);
		for (u32 i = 0; i < M_BATCH && !bad; i++) {
			u32 v = (u32)(st[i].edit - U_DATA) / 4096;
			u64 want;

			m.pte[v] = st[i].pte;
			m.touched[v] = false;
			want = mirror_expect(&m, &st[i], M_LIST + i * 64);
			if (st[i].got == want)
				continue;
			printf("# step %u: access %llu at %#llx: %#llx, expected %#llx\n", done + i,
			       (unsigned long long)st[i].kind, (unsigned long long)st[i].at,
			       (unsigned long long)st[i].got, (unsigned long long)want);
			bad++;
		}
		for (u32 v = 0; v < MV && !bad; v++) {
			u64 e = *guest_pte(g, U_DATA + v * 4096);

			/* A may be set by an access that was refused, never by none. */
			if (m.touched[v])
				m.pte[v] |= e & PTE_A;
			CHECK_EQ(e, m.pte[v]);
			m.pte[v] = e;
		}
	}
	CHECK(!bad);
	CHECK_DIRECT(g, count / 2);
}

CODE64(forever, "1: inc %rax\n jmp 1b");
static void nothing(int sig)
{
}
T(kick, "a signal ends KVM_RUN while user code loops")
{
	struct sigaction a = { .sa_handler = nothing };
	struct itimerval t = { .it_value.tv_usec = 100000 };
	struct guest *g = USER(forever);
	struct stop s;

	sigaction(SIGALRM, &a, NULL);
	for (int i = 0; i < 3; i++) {
		setitimer(ITIMER_REAL, &t, NULL);
		s = RUN_TO(g, ST_INTR);
		CHECK(s.r.rax > 1000);
		CHECK_EQ(s.r.rip & ~7ull, U_CODE);
	}
	CHECK_DIRECT(g, 3);
}

/* The stubs: our child processes. The last one of them; 0: there is none. */
static int stub_pid(void)
{
	char path[64];
	int pid = 0, p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	f = fopen(path, "re");
	while (f && fscanf(f, "%d", &p) == 1)
		pid = p;
	if (f)
		fclose(f);
	return pid;
}
static void *killer(void *arg)
{
	int *n = arg;

	usleep(200000);
	*n = stub_pid();
	if (*n)
		kill(*n, SIGKILL);
	return NULL;
}
CODE64(pairs, "mov $3, %ecx\n cvtsi2sd %rcx, %xmm6\n movapd %xmm6, %xmm7\n 1: inc %rax\n"
	"lea (%rax,%rax,2), %rbx\n addsd %xmm6, %xmm7\n mov %rbx, (%rdi)\n jmp 1b");
T(killed, "a stub that is killed in the middle is not missed: the program goes on translated")
{
	struct sigaction a = { .sa_handler = nothing };
	struct itimerval t = { .it_value.tv_usec = 400000 };
	struct guest *g = USER(pairs);
	struct kvm_fpu f;
	pthread_t th;
	struct stop s;
	int n = 0;
	double x;

	*guest_pte(g, U_DATA) = U_DATA | 0x67;
	WITH_REGS(cpu0(g), r) {
		r.rax = 0;
		r.rdi = U_DATA;
	}
	sigaction(SIGALRM, &a, NULL);
	pthread_create(&th, NULL, killer, &n);
	setitimer(ITIMER_REAL, &t, NULL);
	s = run(g);
	pthread_join(th, NULL);
	CHECK(n);
	CHECK_STOP(s, ST_INTR);
	CHECK(s.r.rax > 1000);
	CHECK(s.r.rbx == s.r.rax * 3 || s.r.rbx == s.r.rax * 3 - 3);
	CHECK(*g64(g, U_DATA) == s.r.rbx || *g64(g, U_DATA) == s.r.rbx - 3);
	vcpu_ioctl(cpu0(g), KVM_GET_FPU, &f, "KVM_GET_FPU");
	memcpy(&x, f.xmm[7], 8);
	CHECK(x == 3.0 + 3.0 * (double)s.r.rax || x == 3.0 * (double)s.r.rax);
	CHECK_DIRECT(g, 1);
	guest_free(g);
	g = USER(sum);
	s = RUN_EXC(g, VEC_DONE3, -1);
	CHECK_DIRECT(g, 1);
}

/* -- a program that attacks its stub -- */

/* Its address space as the host sees it. Our own pages: from *base on; what is beside them is the
 * mirror's. */
static u32 stub_maps(int pid, u64 *base, u64 allowed_lo, u64 allowed_hi)
{
	char path[64], line[512];
	u32 strange = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	if (!f)
		return ~0u;
	while (fgets(line, sizeof(line), f)) {
		unsigned long a, b;
		char prot[8];

		if (sscanf(line, "%lx-%lx %7s", &a, &b, prot) != 3)
			continue;
		if (strstr(line, "standin-stub"))
			*base = a;
		else if (strstr(line, "standin-direct"))
			strange += prot[0] != 'r' || prot[1] != '-' || prot[2] != '-';
		else if (a >= 0xffffffffff600000)
			continue;
		else
			strange += a < allowed_lo || b > allowed_hi ||
				   (prot[1] == 'w' && prot[2] == 'x');
	}
	fclose(f);
	return strange;
}

/* It stops in the guest's kernel by SYSCALL first, so that there is a stub to look at; then attacks
 * at r8. */
CODE64(attack, "mov $39, %eax\n syscall\n"
	"at_now: mov %r9, %rax\n mov %r10, %rdi\n mov %r12, %rsi\n mov %r13, %rdx\n"
	"mov $0x11, %r10d\n mov %r14, %r8\n xor %r9d, %r9d\n mov %r15, %rbx\n"
	"mov %rsp, %r13\n jmp *%rbp\n"
	"at_call: syscall\n ud2\n at_int: int $0x80\n ud2\n"
	"at_store: mov %rax, (%rdi)\n ud2\n"
	"at_entry: hlt");
LABEL(at_now);
LABEL(at_call);
LABEL(at_int);
LABEL(at_store);
LABEL(at_entry);
enum { SECRET_AT = G_DATA };

struct attack {
	u64 at, rax, rdi, rsi, rdx, r8, rbx;
};
/* What it does to the guest may be a fault, or a call of the guest's kernel: nothing else, and
 * nothing beside it. */
static void attack(const struct attack *a, s64 off)
{
	struct itimerval t = { .it_value.tv_sec = 5 };
	struct sigaction act = { .sa_handler = nothing };
	struct guest *g = USER(attack);
	u64 base = 0, lo = G_WINDOW, hi = G_FREE;
	struct stop s;
	int pid;

	sigaction(SIGALRM, &act, NULL);
	kernel_at(g, UAT(attack, at_entry));
	*g64(g, SECRET_AT) = 0x5ec2e7;
	*guest_pte(g, U_DATA) = U_DATA | 0x67;
	s = RUN_TO(g, ST_HLT);
	pid = stub_pid();
	CHECK(pid);
	CHECK_EQ(stub_maps(pid, &base, lo, hi), 0);
	CHECK(base);
	user(g, UAT(attack, at_now));
	/* A list of system calls of its own, where our code would find it. */
	for (u32 i = 0; i < 4; i++) {
		u64 op[8] = { a->rax, a->rdi, a->rsi, a->rdx, 0x11, a->r8 };

		memcpy(g64(g, U_DATA + i * 64), op, sizeof(op));
	}
	WITH_REGS(cpu0(g), r) {
		r.rbp = a->at ? a->at : base + (u64)off;
		r.r9 = a->rax;
		r.r10 = a->rdi == ~0ull ? base + 0x1000 : a->rdi;
		r.r12 = a->rsi;
		r.r13 = a->rdx;
		r.r14 = a->r8;
		r.r15 = a->rbx;
		r.rsp = U_DATA;
	}
	setitimer(ITIMER_REAL, &t, NULL);
	s = run(g);
	t.it_value.tv_sec = 0;
	setitimer(ITIMER_REAL, &t, NULL);
	CHECK(s.kind == ST_EXC || s.kind == ST_HLT);
	CHECK_EQ(*g64(g, SECRET_AT), 0x5ec2e7);
	if (stub_pid() == pid)
		CHECK_EQ(stub_maps(pid, &base, lo, hi), 0);
	CHECK_DIRECT(g, 2);
	guest_free(g);
}
T(hostile_jump,
  "a program that jumps into the stub's code, anywhere and with any registers, maps nothing")
{
	static const u64 nrs[] = { 9, 10, 11, 15, 1, 62, 101, 231 };

	for (s64 off = 0x100; off < 0x148; off++) {
		u64 nr = nrs[off % (s64)ARRAY_SIZE(nrs)];

		/* mmap of the first file of guest memory, all of it; or the same numbers for
		 * another call. */
		attack(&(struct attack){ .rax = nr,
					 .rdi = 0x10000000,
					 .rsi = 0x100000,
					 .rdx = 7,
					 .r8 = 4,
					 .rbx = 4 },
		       off);
		attack(&(struct attack){ .rax = 9,
					 .rdi = 0x10000000,
					 .rsi = 0x100000,
					 .rdx = 3,
					 .r8 = 4,
					 .rbx = 1 },
		       off);
		attack(&(struct attack){ .rax = 11, .rdi = ~0ull, .rsi = 0x2000, .rbx = 0 }, off);
	}
}
T(hostile_calls,
  "system calls of any number, by SYSCALL and INT 80h, reach the guest's kernel only")
{
	for (u64 nr = 0; nr < 480; nr += nr < 24 ? 1 : 19) {
		struct attack a = { .rax = nr, .rdi = 1, .rsi = U_CODE, .rdx = 16, .r8 = 4 };

		a.at = UAT(attack, at_call);
		attack(&a, 0);
		a.at = UAT(attack, at_int);
		attack(&a, 0);
	}
	/* x32's, and one that only a debugger may make */
	attack(&(struct attack){ .at = UAT(attack, at_call), .rax = 0x40000009 }, 0);
	attack(&(struct attack){ .at = UAT(attack, at_call), .rax = ~0ull }, 0);
}
T(hostile_store, "a program that finds the stub's pages cannot write to them")
{
	for (s64 off = 0; off < 0x3000; off += 0x800) {
		struct attack a = { .at = UAT(attack, at_store), .rax = ~0ull, .rdi = ~0ull };

		attack(&a, 0);
	}
}

/* TF, AC and whatever else the program can set, and a loop that nothing of its own ends. */
CODE64(stubborn, "pushfq\n orq $0x40000, (%rsp)\n popfq\n std\n xor %esp, %esp\n"
	"1: inc %rax\n jmp 1b");
T(hostile_loop, "a program without a stack that loops is called back as fast as any other")
{
	struct sigaction a = { .sa_handler = nothing };
	struct itimerval t = { .it_value.tv_usec = 20000 };
	struct guest *g = USER(stubborn);
	struct timespec t0, t1;

	sigaction(SIGALRM, &a, NULL);
	for (int i = 0; i < 5; i++) {
		setitimer(ITIMER_REAL, &t, NULL);
		clock_gettime(CLOCK_MONOTONIC, &t0);
		struct stop s = run(g);

		clock_gettime(CLOCK_MONOTONIC, &t1);
		CHECK_STOP(s, ST_INTR);
		CHECK((t1.tv_sec - t0.tv_sec) * 1000 + (t1.tv_nsec - t0.tv_nsec) / 1000000 < 1000);
	}
	CHECK_DIRECT(g, 5);
}
