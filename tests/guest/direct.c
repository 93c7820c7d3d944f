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

static void user(struct guest *g, u64 rip)
{
	struct guest_cpu *c = cpu0(g);
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
	struct stop s = run(g);

	CHECK_EXC(s, VEC_DONE3, -1);
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
	s = run(g);
	CHECK_EXC(s, VEC_DONE3, -1);
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
	s = run(g);
	CHECK_EXC(s, 14, err);
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
	struct stop s;

	*guest_pte(g, U_DATA) = U_DATA | PTE_P | PTE_W | PTE_U;
	*guest_pte(g, U_DATA + 0x1000) = (U_DATA + 0x1000) | PTE_P | PTE_W | PTE_U;
	WITH_REGS(cpu0(g), r)
		r.rdi = U_DATA;
	s = run(g);
	CHECK_EXC(s, VEC_DONE3, -1);
	CHECK_EQ(*guest_pte(g, U_DATA) & (PTE_A | PTE_D), PTE_A);
	CHECK_EQ(*guest_pte(g, U_DATA + 0x1000) & (PTE_A | PTE_D), 0);
	CHECK_DIRECT(g, 1);
	g = USER(store);
	*guest_pte(g, U_DATA) = U_DATA | PTE_P | PTE_W | PTE_U | PTE_A;
	WITH_REGS(cpu0(g), r)
		r.rdi = U_DATA;
	s = run(g);
	CHECK_EXC(s, VEC_DONE3, -1);
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
	s = run(g);
	CHECK_EXC(s, VEC_DONE3, -1);
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
	struct stop s = run(g);

	CHECK_EXC(s, VEC_DONE3, -1);
	CHECK_EQ(s.r.rax, 300 * 301 / 2);
	CHECK_DIRECT(g, 1);
	g = USER(other);
	*guest_pte(g, U_DATA) = (U_DATA + 0x3000) | 0x67;
	guest_write(g, U_DATA + 0x3000, fn, sizeof(fn));
	WITH_REGS(cpu0(g), r) {
		r.rdi = U_DATA;
		r.rsi = U_DATA + 0x3000;
	}
	s = run(g);
	CHECK_EXC(s, VEC_DONE3, -1);
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
		s = run(g);
		CHECK_EXC(s, VEC_DONE3, -1);
		CHECK_EQ(s.r.rsi, name);
		CHECK_EQ(s.r.rdi, 7);
		CHECK(s.r.rbp < 1ull << 38);	/* a minute or so */
		CHECK_DIRECT(g, 1);
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
		struct stop s = run(g);

		CHECK_EXC(s, t[i].vec, t[i].err);
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
	s = run(g);
	CHECK_EXC(s, 3, -1);
	CHECK_EQ(s.rip, UAT(x_bp, x_bp_at));
	CHECK_DIRECT(g, 1);
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
		s = run(g);
		CHECK_STOP(s, ST_INTR);
		CHECK(s.r.rax > 1000);
		CHECK_EQ(s.r.rip & ~7ull, U_CODE);
	}
	CHECK_DIRECT(g, 3);
}

/* Ends our child processes, a moment from now. */
static void *killer(void *arg)
{
	char path[64], text[256];
	int *n = arg;

	usleep(200000);
	for (int pid = getpid() + 1; pid < getpid() + 2000; pid++) {
		FILE *f;
		int ppid = 0;

		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fgets(text, sizeof(text), f) && strrchr(text, ')') &&
		    sscanf(strrchr(text, ')'), ") %*c %d", &ppid) == 1 && ppid == getpid()) {
			kill(pid, SIGKILL);
			++*n;
		}
		fclose(f);
	}
	return NULL;
}
T(killed, "a stub that is killed in the middle ends KVM_RUN, and no more than that")
{
	struct guest *g = USER(forever);
	pthread_t t;
	struct stop s;
	int n = 0;

	pthread_create(&t, NULL, killer, &n);
	s = run(g);
	pthread_join(t, NULL);
	CHECK_EQ(n, 1);
	CHECK_STOP(s, ST_INTERNAL);
	g = USER(sum);
	s = run(g);
	CHECK_EXC(s, VEC_DONE3, -1);
	CHECK_DIRECT(g, 1);
}

/* What the program finds of ours it may overwrite, and jump to: its own state is at stake, no
 * more. */
CODE64(vandal, "mov $100000, %ecx\n 1: dec %ecx\n jnz 1b\n mov %r8, %rdi\n mov $0x1000, %ecx\n"
	       " mov $-1, %rax\n rep stosq\n ud2");
CODE64(jumper, "mov $100000, %ecx\n 1: dec %ecx\n jnz 1b\n mov $9, %eax\n mov $0x10000000, %edi\n"
	       " mov $0x1000, %esi\n jmp *%r8");
T(hostile,
  "a program that overwrites the stub's pages, or jumps into its code, does not stop the VMM")
{
	const u64 base = 0x2f5e70000000;

	for (u32 i = 0; i < 24; i++) {
		struct guest *g = i < 4 ? USER(vandal) : USER(jumper);
		struct itimerval t = { .it_value.tv_sec = 4 };
		struct sigaction a = { .sa_handler = nothing };
		struct stop s;

		sigaction(SIGALRM, &a, NULL);
		setitimer(ITIMER_REAL, &t, NULL);
		WITH_REGS(cpu0(g), r)
			r.r8 = i < 4 ? base + 0x8000 + i * 0x1000 : base + 0x100 + i * 13;
		s = run(g);
		CHECK(s.kind == ST_EXC || s.kind == ST_INTERNAL || s.kind == ST_INTR ||
		      s.kind == ST_SHUTDOWN);
		t.it_value.tv_sec = 0;
		setitimer(ITIMER_REAL, &t, NULL);
		guest_free(g);
	}
	struct guest *g = USER(sum);
	struct stop s = run(g);

	CHECK_EXC(s, VEC_DONE3, -1);
	CHECK_EQ(s.r.rax, 1000000ull * 1000001 / 2);
	CHECK_DIRECT(g, 1);
}
