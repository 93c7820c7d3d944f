/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/la57.c - 5-level paging (APM2 5.3): canonical addresses, walks, and control flow
 * between pages whose addresses differ only above bit 47.
 */
/* Run: build/standin run -- build/tests/guest/guest_la57 [NAME...] */
#include <sys/ioctl.h>

#include "tests/guest/harness/harness.h"

#define CR4_LA57 BIT64(12)
#define PML5 (G_FREE + 0x1000ull)
#define FAR_PML4 (G_FREE + 0x2000ull)	/* what lies at 2^48 */
#define FAR_PDPT (G_FREE + 0x3000ull)
#define FAR_PD (G_FREE + 0x4000ull)
#define FAR_PT (G_FREE + 0x5000ull)
#define FAR_CODE (G_FREE + 0x6000ull)
#define FAR BIT64(48)

/* Linear FAR + G_WINDOW.. is FAR_CODE; everything else as without LA57. */
static struct guest *la57(const u8 *b, u64 n)
{
	struct guest *g = guest_new(M_LONG);
	struct kvm_sregs s;

	for (u32 i = 0; i < g->cpuid->nent; i++)
		if (g->cpuid->entries[i].function == 7 && g->cpuid->entries[i].index == 0)
			g->cpuid->entries[i].ecx |= BIT(16);
	vcpu_ioctl(cpu0(g), KVM_SET_CPUID2, g->cpuid, "KVM_SET_CPUID2");
	s = cpu_sregs(cpu0(g));
	*g64(g, PML5) = s.cr3 | 7;
	*g64(g, PML5 + 8) = FAR_PML4 | 7;
	*g64(g, PML5 + 511 * 8) = FAR_PML4 | 7;
	*g64(g, FAR_PML4) = FAR_PDPT | 7;
	*g64(g, FAR_PDPT) = FAR_PD | 7;
	*g64(g, FAR_PD + (G_WINDOW >> 21) * 8) = FAR_PT | 7;
	*g64(g, FAR_PT) = FAR_CODE | 7;
	s.cr4 |= CR4_LA57;
	s.cr3 = PML5;
	if (ioctl(cpu0(g)->fd, KVM_SET_SREGS, &s))
		test_skip("no LA57");
	guest_write(g, G_CODE, b, (u32)n);
	return g;
}
#define LA57(snip) la57(snip##_b, LEN(snip))

CODE64(load, "mov (%rdi), %rax\n" DONE);

T(canonical, "57-bit addresses: mapped, not mapped, not canonical")
{
	struct guest *g = LA57(load);
	struct stop st;

	*g64(g, FAR_CODE + 8) = 0x1234;
	WITH_REGS(cpu0(g), r)
		r.rdi = FAR + G_WINDOW + 8;
	st = RUN_TO(g, ST_DONE);
	CHECK_EQ(st.r.rax, 0x1234);
	/* the top of the negative half: bits 63:56 set */
	WITH_REGS(cpu0(g), r) {
		r.rip = G_CODE;
		r.rdi = (0xffull << 56 | 511ull << 48) + G_WINDOW + 8;
	}
	st = RUN_TO(g, ST_DONE);
	CHECK_EQ(st.r.rax, 0x1234);
	WITH_REGS(cpu0(g), r) {
		r.rip = G_CODE;
		r.rdi = BIT64(55);
	}
	st = RUN_EXC(g, 14, 0);
	CHECK_EQ(st.cr2, BIT64(55));
	WITH_REGS(cpu0(g), r) {
		r.rip = G_CODE;
		r.rdi = BIT64(56);
	}
	st = RUN_EXC(g, 13, 0);
}

/* RSI and RDI are called in turn: two pages that differ in bit 48 and in what they add. The calls
 * of RDX, elsewhere in RDI's page, bring that page in between. */
CODE64(turns, "xor %ebx, %ebx\n mov $3000, %ecx\n"
	      "1: call *%rdx\n call *%rsi\n call *%rdx\n call *%rdi\n dec %ecx\n jnz 1b\n" DONE);
CODE64(nothing, "ret");
CODE64(add1, "add $1, %rbx\n ret");
CODE64(add64k, "add $0x10000, %rbx\n ret");

T(indirect, "indirect calls tell targets apart that differ by 2^48 only")
{
	for (int k = 0; k < 2; k++) {	/* either page first */
		struct guest *g = LA57(turns);
		struct stop st;

		for (u64 at = 0; at < 0x100; at += 0x40) {
			guest_load(g, G_WINDOW + at, add1);
			guest_load(g, FAR_CODE + at, add64k);
			guest_load(g, (k ? G_WINDOW : FAR_CODE) + 0x800, nothing);
			WITH_REGS(cpu0(g), r) {
				r.rip = G_CODE;
				r.rsp = G_STACK;
				r.rsi = G_WINDOW + at + (k ? FAR : 0);
				r.rdi = G_WINDOW + at + (k ? 0 : FAR);
				r.rdx = G_WINDOW + 0x800 + (k ? 0 : FAR);
			}
			st = RUN_TO(g, ST_DONE);
			CHECK_EQ(st.r.rbx, 3000 * 0x10001);
		}
		guest_free(g);
	}
}

CODE64(toggle, "mov %cr4, %rax\n xor $0x1000, %rax\n mov %rax, %cr4\n" DONE);
T(fixed, "CR4.LA57 cannot change in long mode")
{
	struct guest *g = LA57(toggle);

	RUN_EXC(g, 13, 0);
	CHECK(cpu_sregs(cpu0(g)).cr4 & CR4_LA57);
}

CODE64(msr, "mov $0xc0000102, %ecx\n mov $0x00800000, %edx\n xor %eax, %eax\n wrmsr\n rdmsr\n"
	    STOP(1)
	    "mov $0x01000000, %edx\n wrmsr\n" DONE);
T(bases, "bases in MSRs are checked against 57 bits")
{
	struct guest *g = LA57(msr);

	RUN_TO(g, ST_OUT);
	CHECK_EQ(cpu_msr(cpu0(g), 0xc0000102), BIT64(55));
	RUN_EXC(g, 13, 0);
}
