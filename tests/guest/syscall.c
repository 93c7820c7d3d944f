/* SPDX-License-Identifier: MIT */
/* tests/guest/syscall.c - SYSCALL, SYSRET, SYSENTER, SYSEXIT (APM3; APM2 6.1). */
/* Run: build/standin run -- build/tests/guest/guest_syscall [NAME...] */
#include "tests/guest/harness/harness.h"

enum { MSR_STAR = 0xc0000081, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK };

CODE64(sc, "mov $3000, %esi\n 1: syscall\n sc_next: dec %esi\n jnz 1b\n mov %cs, %ebx\n"
	" mov %ss, %edx" DONE3
	"sc_entry: mov %cs, %edi\n mov %rcx, %r8\n mov %r11, %r9\n pushfq\n pop %r10\n inc %rbp\n"
	" sysretq");
LABEL(sc_next);
LABEL(sc_entry);
static struct guest *prepare(void)
{
	struct guest *g = guest_with(M_LONG, sc);
	struct guest_cpu *c = cpu0(g);

	cpu_ring3(c, G_CODE);
	WITH_SREGS(c, sr)
		sr.efer |= 1;
	cpu_set_msr(c, MSR_STAR, (u64)0x33 << 48 | (u64)SEL_CODE64 << 32);
	cpu_set_msr(c, MSR_LSTAR, AT(sc, sc_entry));
	cpu_set_msr(c, MSR_SFMASK, 0x400 | 0x200);
	/* The stack is not switched: the handler pushes onto ring 3's. */
	WITH_REGS(c, r)
		r.rflags = 0x602;
	return g;
}
T(syscall, "SYSCALL and SYSRETQ, three thousand times")
{
	struct guest *g = prepare();
	struct stop s = RUN_EXC(g, VEC_DONE3, -1);

	CHECK_EQ(s.r.rbp, 3000);
	CHECK_EQ(s.r.r8, AT(sc, sc_next));
	CHECK_EQ(s.r.r9 & 0x600, 0x600);
	CHECK_EQ(s.r.r10 & 0x600, 0);
	CHECK_EQ(s.r.rdi & 0xffff, SEL_CODE64);
	CHECK_EQ(s.r.rbx & 0xffff, SEL_UCODE64);
	CHECK_EQ(s.r.rdx & 0xffff, SEL_UDATA);
	CHECK_EQ(s.rflags & 0x600, 0x600);
}
T(sce, "SYSCALL without EFER.SCE is #UD")
{
	struct guest *g = prepare();

	WITH_SREGS(cpu0(g), sr)
		sr.efer &= ~1ull;
	RUN_EXC(g, 6, -1);
}
CODE64(sysret_nc, "mov $0x8000000000000000, %rcx\n sysretq" DONE);
T(sysret_cpl, "SYSRET in ring 3 is #GP(0)")
{
	struct guest *g = guest_with(M_LONG, sysret_nc);

	cpu_ring3(cpu0(g), G_CODE);
	WITH_SREGS(cpu0(g), sr)
		sr.efer |= 1;
	RUN_EXC(g, 13, 0);
}
CODE32(sc_compat, "syscall\n nop" DONE3 "\n .code64\n scc_entry: mov %cs, %edi\n mov %ecx, %ebx\n"
					" sysretl");
LABEL(scc_entry);
T(syscall_compat, "SYSCALL from compatibility mode enters at CSTAR (AMD)")
{
	struct guest *g = guest_with(M_COMPAT, sc_compat);
	struct guest_cpu *c = cpu0(g);
	struct stop s;

	if (!guest_is_amd(g))
		test_skip("not an AMD CPU");
	cpu_ring3(c, G_CODE);
	WITH_SREGS(c, sr)
		sr.efer |= 1;
	cpu_set_msr(c, MSR_STAR, (u64)0x33 << 48 | (u64)SEL_CODE64 << 32);
	cpu_set_msr(c, MSR_CSTAR, AT(sc_compat, scc_entry));
	cpu_set_msr(c, MSR_SFMASK, 0);
	s = RUN_EXC(g, VEC_DONE3, -1);
	CHECK_EQ(s.r.rdi & 0xffff, SEL_CODE64);
	CHECK_EQ(s.r.rbx, G_CODE + 2);
	CHECK_EQ(s.cs, SEL_UCODE32);
}
CODE32(se, "mov $0x2f000, %ecx\n mov $" LOC(se, se_back) ", %edx\n sysenter\n"
	" se_back: mov %cs, %edi\n mov %esp, %ebp" DONE3
	"se_entry: mov %cs, %eax\n mov %ss, %ebx\n mov %esp, %esi\n sysexit");
LABEL(se_entry);
T(sysenter, "SYSENTER and SYSEXIT in 32-bit protected mode")
{
	struct guest *g = guest_with(M_PM32, se);
	struct guest_cpu *c = cpu0(g);
	struct stop s;

	cpu_ring3(c, G_CODE);
	/* SYSEXIT takes CS+16 and CS+24, flat, ring 3. */
	cpu_set_msr(c, 0x174, SEL_CODE32);
	cpu_set_msr(c, 0x175, 0x7800);
	cpu_set_msr(c, 0x176, AT(se, se_entry));
	s = RUN_EXC(g, VEC_DONE3, -1);
	CHECK_EQ(s.r.rax & 0xffff, SEL_CODE32);
	CHECK_EQ(s.r.rbx & 0xffff, SEL_DATA);
	CHECK_EQ(s.r.rsi, 0x7800);
	CHECK_EQ(s.r.rdi & 0xffff, SEL_CODE32 + 16 + 3);
	CHECK_EQ(s.r.rbp, 0x2f000);
}
/* r13 CS and r14 SS of the entry, r15 its stack */
CODE64(se64, "mov $0x2f000, %ecx\n lea se64_back(%rip), %rdx\n sysenter\n"
	"se64_back: mov %cs, %edi\n mov %rsp, %rbp" DONE3
	"se64_entry: mov %cs, %r13d\n mov %ss, %r14d\n mov %rsp, %r15\n pushf\n pop %r12\n"
	"sysexitq");
LABEL(se64_entry);
/* KVM on an AMD CPU hands it to an emulator that does not know it in 64-bit code: #UD there too. */
static bool on_standin(struct guest *g)
{
	for (u32 i = 0; i < g->cpuid->nent; i++)
		if (g->cpuid->entries[i].function == 0x80000002)
			return !memcmp(&g->cpuid->entries[i].eax, "stan", 4);
	return false;
}
T(sysenter64, "in long mode SYSENTER is #UD on AMD's CPUs, and works on others'")
{
	static const char vendor[2][13] = { "AuthenticAMD", "GenuineIntel" };

	for (int intel = 0; intel < 2; intel++) {
		struct guest *g = guest_with(M_LONG, se64);
		struct guest_cpu *c = cpu0(g);
		struct stop s;

		for (u32 i = 0; i < g->cpuid->nent; i++) {
			struct kvm_cpuid_entry2 *e = &g->cpuid->entries[i];

			if (e->function && e->function != 0x80000000)
				continue;
			memcpy(&e->ebx, vendor[intel], 4);
			memcpy(&e->edx, vendor[intel] + 4, 4);
			memcpy(&e->ecx, vendor[intel] + 8, 4);
		}
		vcpu_ioctl(c, KVM_SET_CPUID2, g->cpuid, "KVM_SET_CPUID2");
		cpu_ring3(c, G_CODE);
		/* SYSEXIT takes CS+32 and CS+40 here. */
		cpu_set_msr(c, 0x174, SEL_CODE64);
		cpu_set_msr(c, 0x175, 0x7800);
		cpu_set_msr(c, 0x176, AT(se64, se64_entry));
		s = run(g);
		if (!intel || !on_standin(g)) {
			CHECK_EXC(s, 6, -1);
			guest_free(g);
			continue;
		}
		CHECK_EXC(s, VEC_DONE3, -1);
		CHECK_EQ(s.r.r13 & 0xffff, SEL_CODE64);
		CHECK_EQ(s.r.r14 & 0xffff, SEL_CODE64 + 8);
		CHECK_EQ(s.r.r15, 0x7800);
		CHECK_EQ(s.r.r12 & 0x200, 0);		/* IF */
		CHECK_EQ(s.r.rdi & 0xffff, SEL_CODE64 + 32 + 3);
		CHECK_EQ(s.r.rbp, 0x2f000);
		guest_free(g);
	}
}
T(sysenter_null, "SYSENTER with a null CS MSR is #GP(0)")
{
	struct guest *g = guest_with(M_PM32, se);

	cpu_ring3(cpu0(g), G_CODE);
	cpu_set_msr(cpu0(g), 0x174, 0);
	RUN_EXC(g, 13, 0);
}
