/* SPDX-License-Identifier: MIT */
/*
 * Costs of nested SVM: a bare-metal L1 (multiboot, 64-bit) with a small L2, for any machine with
 * SVM and nested paging. Prints "name nanoseconds" lines on the first serial port and leaves
 * through QEMU's isa-debug-exit at port 0xf4. Time is the TSC, calibrated with the PIT.
 *
 * Each of compute, syscall and fault is measured in L1 and in L2 with the same code; the rest are
 * exits: VMRUN, the instruction or fault, #VMEXIT, and the few instructions of L1 that answer.
 */
#include "bare.h"

PAGE static u64 fault_pt[512], npt_pml4[512], npt_pdpt[512], npt_pd[512], npt_pt[512];
PAGE static u8 vmcb[4096], hsave[4096], spare[4096], iopm[3 * 4096], msrpm[2 * 4096];
PAGE static u8 l2_stack[4 * 4096];

enum { FAULT_VA = 0x30000000, NPF_GPA = 0x34000000 };	/* inside the mapped GiB */

/* -- what runs in L1 and in L2 -- */

static u32 table[16384];

/* Integer work with memory accesses of two strides. */
static void compute(u64 n)
{
	u32 x = 1;

	for (u64 k = 0; k < n; k++) {
		for (u32 i = 0; i < 16384; i++) {
			x = x * 1664525 + 1013904223;
			table[i] += x >> 3;
			x ^= table[(i * 5) & 16383];
		}
	}
	table[0] = x;
}

/* n + 1 system calls of a program at CPL 3, the last of which comes back here. */
void syscall_entry(void);
void user_loop(void);
void go_user(u64 n);
__asm__("go_user: push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
	"mov %rsp, kernel_sp(%rip)\nmov %rdi, %rbx\n"
	"lea user_loop(%rip), %rcx\nmov $2, %r11d\nxor %eax, %eax\nsysretq\n"
	"user_loop: 1: syscall\ndec %rbx\njnz 1b\nmov $1, %eax\nsyscall\n"
	"syscall_entry: test %eax, %eax\njnz 1f\nsysretq\n"
	"1: mov kernel_sp(%rip), %rsp\nmov $16, %eax\nmov %eax, %ss\n"
	"pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n"
	".local kernel_sp\n.comm kernel_sp, 8");

/* The page-fault handler maps the page that the loop unmaps. */
void page_fault(void);
void fault_loop(u64 n, u64 *pte, void *at, u64 value);
__asm__("fault_loop: mov %rcx, %r8\n"
	"1: movq $0, (%rsi)\ninvlpg (%rdx)\nmov (%rdx), %al\ndec %rdi\njnz 1b\nret\n"
	"page_fault: add $8, %rsp\nmov %r8, (%rsi)\niretq");

static void faults(u64 n)
{
	u64 *pte = fault_pt;

	fault_loop(n, pte, (void *)(u64)FAULT_VA, (u64)spare | 7);
}

static void work(u64 n) { compute(n); }

/* -- L2 -- */

#define AT(type, offset) (*(volatile type *)(vmcb + (offset)))
enum {
	V_INTERCEPT3 = 0x0c, V_INTERCEPT4 = 0x10, V_IOPM = 0x40, V_MSRPM = 0x48, V_ASID = 0x58,
	V_EXIT = 0x70, V_INFO2 = 0x80, V_NP = 0x90, V_NCR3 = 0xb0, V_EFER = 0x4d0, V_CR4 = 0x548,
	V_CR3 = 0x550, V_CR0 = 0x558, V_DR7 = 0x560, V_DR6 = 0x568, V_RFLAGS = 0x570, V_RIP = 0x578,
	V_RSP = 0x5d8, V_RAX = 0x5f8, V_PAT = 0x668,
	EXIT_CPUID = 0x72, EXIT_VMMCALL = 0x81, EXIT_NPF = 0x400,
};

static void segment(u32 at, u16 sel, u16 attr)
{
	AT(u16, at) = sel;
	AT(u16, at + 2) = attr;
	AT(u32, at + 4) = 0xffffffff;
	AT(u64, at + 8) = 0;
}

/* L2 begins at rip with RDI = arg. */
static void l2_at(void *rip)
{
	u64 gdtr[2] = { 0 }, v;

	__asm__ volatile("sgdt %0" : "=m"(*(u8 *)gdtr));
	AT(u32, V_INTERCEPT3) = 1u << 18;		/* CPUID */
	AT(u32, V_INTERCEPT4) = 1 | 1 << 1;		/* VMRUN VMMCALL */
	AT(u64, V_IOPM) = (u64)iopm;
	AT(u64, V_MSRPM) = (u64)msrpm;
	AT(u32, V_ASID) = 1;
	AT(u64, V_NP) = 1;
	AT(u64, V_NCR3) = (u64)npt_pml4;
	segment(0x400, 16, 0xc93);
	segment(0x410, 8, 0xa9b);
	segment(0x420, 16, 0xc93);
	segment(0x430, 16, 0xc93);
	AT(u32, 0x464) = (u16)gdtr[0];
	AT(u64, 0x468) = gdtr[0] >> 16 | gdtr[1] << 48;
	AT(u32, 0x484) = sizeof(idt) - 1;
	AT(u64, 0x488) = (u64)idt;
	AT(u64, V_EFER) = rdmsr(0xc0000080);
	__asm__ volatile("mov %%cr0, %0" : "=r"(v));
	AT(u64, V_CR0) = v;
	__asm__ volatile("mov %%cr3, %0" : "=r"(v));
	AT(u64, V_CR3) = v;
	__asm__ volatile("mov %%cr4, %0" : "=r"(v));
	AT(u64, V_CR4) = v;
	AT(u64, V_DR6) = 0xffff0ff0;
	AT(u64, V_DR7) = 0x400;
	AT(u64, V_PAT) = 0x0007040600070406;
	AT(u64, V_RFLAGS) = 2;
	AT(u64, V_RIP) = (u64)rip;
	AT(u64, V_RSP) = (u64)l2_stack + sizeof(l2_stack) - 8;
}

/* One VMRUN; L2 has its general registers in l2_gpr between runs. */
static u64 l2_gpr[2];	/* RDI, RSI */
static void vmrun(void)
{
	__asm__ volatile("push %%rbp\npush %%rbx\nmov %0, %%rdi\nmov %1, %%rsi\nvmrun %%rax\n"
			 "mov %%rdi, %0\nmov %%rsi, %1\npop %%rbx\npop %%rbp\n"
			 : "+m"(l2_gpr[0]), "+m"(l2_gpr[1]) : "a"(vmcb)
			 : "rcx", "rdx", "rdi", "rsi", "r8", "r9", "r10", "r11", "r12", "r13",
			 "r14",
			    "r15", "memory", "cc");
}

static void expect(u64 code)
{
	vmrun();
	if (AT(u64, V_EXIT) == code)
		return;
	say("exit ");
	say_number(AT(u64, V_EXIT));
	say(" info ");
	say_number(AT(u64, V_INFO2));
	say(" at ");
	say_number(AT(u64, V_RIP));
	say("\n");
	stop("unexpected #VMEXIT");
}

void l2_call(void);	/* call RSI with RDI, then VMMCALL */
void l2_vmmcall(void);
void l2_cpuid(void);
void l2_touch(void);
__asm__("l2_call: call *%rsi\nvmmcall\nud2\n"
	"l2_vmmcall: vmmcall\njmp l2_vmmcall\n"
	"l2_cpuid: cpuid\njmp l2_cpuid\n"
	"l2_touch: mov (%rdi), %al\nvmmcall\njmp l2_touch\n");

typedef void body(u64 n);

static u64 in_l1(body *f, u64 n)
{
	u64 best = ~0ull;

	f(n / 16 + 1);
	for (int k = 0; k < 5; k++) {
		u64 t = tsc();

		f(n);
		t = tsc() - t;
		best = t < best ? t : best;
	}
	return best;
}

static void run_l2(body *f, u64 n)
{
	l2_at(l2_call);
	l2_gpr[0] = n;
	l2_gpr[1] = (u64)f;
	expect(EXIT_VMMCALL);
}

static u64 in_l2(body *f, u64 n)
{
	u64 best = ~0ull;

	run_l2(f, n / 16 + 1);
	for (int k = 0; k < 5; k++) {
		u64 t = tsc();

		run_l2(f, n);
		t = tsc() - t;
		best = t < best ? t : best;
	}
	return best;
}

/* Exits of one instruction of `len` bytes in a loop. */
static u64 exits(void *code, u64 exit, u32 len, u64 n)
{
	u64 best = ~0ull;

	l2_at(code);
	for (int k = 0; k < 5; k++) {
		u64 t = tsc();

		for (u64 i = 0; i < n; i++) {
			expect(exit);
			AT(u64, V_RIP) += len;
		}
		t = tsc() - t;
		best = t < best ? t : best;
	}
	return best;
}

/* A nested page fault, L1 maps the page; VMMCALL, L1 unmaps it again and flushes. */
static u64 nested_faults(u64 n)
{
	u64 best = ~0ull;

	l2_at(l2_touch);
	l2_gpr[0] = NPF_GPA;
	for (int k = 0; k < 5; k++) {
		u64 t = tsc();

		for (u64 i = 0; i < n; i++) {
			npt_pt[0] = 0;
			AT(u8, 0x5c) = 3;	/* flush this ASID */
			expect(EXIT_NPF);
			AT(u8, 0x5c) = 0;
			if (AT(u64, V_INFO2) != NPF_GPA)
				stop("address of a nested page fault");
			npt_pt[0] = (u64)spare | 7;
			expect(EXIT_VMMCALL);
			AT(u64, V_RIP) += 3;
		}
		t = tsc() - t;
		best = t < best ? t : best;
	}
	return best;
}

static void setup(void)
{
	u32 a, b, c, d;
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) r = { sizeof(idt) - 1, (u64)idt };

	__asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0x80000001), "c"(0));
	if (!(c & 4))
		stop("no SVM");
	__asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0x8000000a), "c"(0));
	if (!(d & 1))
		stop("no nested paging");
	gate(14, page_fault);
	__asm__ volatile("lidt %0" :: "m"(r));
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 1 << 12);
	wrmsr(0xc0010117, (u64)hsave);
	wrmsr(0xc0000081, 0x13ull << 48 | 8ull << 32);
	wrmsr(0xc0000082, (u64)syscall_entry);
	wrmsr(0xc0000084, 0);
	pd[FAULT_VA >> 21] = (u64)fault_pt | 7;
	npt_pml4[0] = (u64)npt_pdpt | 7;
	npt_pdpt[0] = (u64)npt_pd | 7;
	for (u64 i = 0; i < 512; i++)
		npt_pd[i] = i << 21 | 0x87;
	npt_pd[NPF_GPA >> 21] = (u64)npt_pt | 7;
	for (u64 i = 1; i < 512; i++)
		npt_pt[i] = (NPF_GPA + (i << 12)) | 7;
}

KEEP void bare_main(void)
{
	enum { N = 20000 };

	out8(0x3f9, 0);
	calibrate();
	setup();
	report("l1.compute", in_l1(work, 100), 100);
	report("l2.compute", in_l2(work, 100), 100);
	report("l1.syscall", in_l1(go_user, N * 5), N * 5);
	report("l2.syscall", in_l2(go_user, N * 5), N * 5);
	report("l1.fault", in_l1(faults, N), N);
	report("l2.fault", in_l2(faults, N), N);
	report("vmmcall", exits(l2_vmmcall, EXIT_VMMCALL, 3, N), N);
	report("cpuid", exits(l2_cpuid, EXIT_CPUID, 2, N), N);
	report("npf", nested_faults(N / 4), N / 4);
	stop(0);
}
