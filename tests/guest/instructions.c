/* SPDX-License-Identifier: MIT */
/* tests/guest/instructions.c - which instructions exist, and in which of their forms. */
/* Run: build/standin run -- build/tests/guest/guest_instructions [NAME...] */
#include "tests/guest/harness/harness.h"

/* CPUID bits: leaf, register (0 eax .. 3 edx), bit. */
#define EDX1 1, 3
#define ECX1 1, 2
#define EBX7 7, 1
#define ECX7 7, 2
#define ECXE 0x80000001, 2
#define EDXE 0x80000001, 3

static void set_cpuid(struct guest *g)
{
	vcpu_ioctl(cpu0(g), KVM_SET_CPUID2, g->cpuid, "KVM_SET_CPUID2");
}

static void without(struct guest *g, u32 leaf, int reg, int bit)
{
	for (u32 i = 0; i < g->cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &g->cpuid->entries[i];

		if (e->function == leaf && e->index == 0)
			(&e->eax)[reg] &= ~BIT(bit);
	}
	set_cpuid(g);
}

/* One instruction, RBX at data, then the end. */
static struct stop run_bytes(struct guest *g, const char *bytes, u32 n)
{
	guest_write(g, G_CODE, bytes, n);
	guest_write(g, G_CODE + n, "\xe6\xf0", 2);	/* out 0xf0, al */
	WITH_REGS(cpu0(g), r) {
		r.rbx = G_DATA;
		r.rax = r.rcx = r.rdx = 0;
	}
	return run(g);
}

static const struct {
	const char *name;
	u32 leaf;
	int reg, bit;
	const char *bytes;
	u32 n;
} insns[] = {
	{ "RDTSCP", EDXE, 27, "\x0f\x01\xf9", 3 },
	{ "INVPCID", EBX7, 10, "\x66\x0f\x38\x82\x03", 5 },
	{ "RDPID", ECX7, 22, "\xf3\x0f\xc7\xf8", 4 },
	{ "STAC", EBX7, 20, "\x0f\x01\xcb", 3 },
	{ "LAHF", ECXE, 0, "\x9f", 1 },
	{ "CMPXCHG16B", ECX1, 13, "\x48\x0f\xc7\x0b", 4 },
	{ "POPCNT", ECX1, 23, "\xf3\x0f\xb8\xc1", 4 },
	{ "MOVBE", ECX1, 22, "\x0f\x38\xf0\x03", 4 },
	{ "CMOVZ", EDX1, 15, "\x0f\x44\xc0", 3 },
	{ "PSHUFB", ECX1, 9, "\x66\x0f\x38\x00\xc1", 5 },
	{ "PTEST", ECX1, 19, "\x66\x0f\x38\x17\xc1", 5 },
	{ "CRC32", ECX1, 20, "\xf2\x0f\x38\xf1\xc1", 5 },
	{ "AESENC", ECX1, 25, "\x66\x0f\x38\xdc\xc1", 5 },
	{ "ANDN", EBX7, 3, "\xc4\xe2\x70\xf2\xc2", 5 },
	{ "PEXT", EBX7, 8, "\xc4\xe2\x72\xf5\xc2", 5 },
	{ "ADCX", EBX7, 19, "\x66\x0f\x38\xf6\xc1", 5 },
	{ "RDRAND", ECX1, 30, "\x0f\xc7\xf0", 3 },
};

T(no_bit, "an instruction is #UD without its CPUID bit, and executed with it")
{
	for (u32 i = 0; i < ARRAY_SIZE(insns); i++) {
		struct guest *g = guest_new(M_LONG);
		struct stop s;

		if (!guest_has(g, insns[i].leaf, insns[i].reg, insns[i].bit)) {
			guest_free(g);
			continue;
		}
		s = run_bytes(g, insns[i].bytes, insns[i].n);
		if (!CHECK_STOP(s, ST_DONE))
			printf("# %s with its bit\n", insns[i].name);
		guest_free(g);
		g = guest_new(M_LONG);
		without(g, insns[i].leaf, insns[i].reg, insns[i].bit);
		s = run_bytes(g, insns[i].bytes, insns[i].n);
		if (!CHECK_EXC(s, 6, -1))
			printf("# %s without its bit\n", insns[i].name);
		guest_free(g);
	}
}

T(rdtscp_by_rdpid, "RDPID in CPUID does not let RDTSCP through, nor RDTSCP RDPID")
{
	struct guest *g = guest_new(M_LONG);
	struct stop s;

	without(g, EDXE, 27);
	s = run_bytes(g, "\xf3\x0f\xc7\xf8", 4);
	CHECK_STOP(s, ST_DONE);
	guest_free(g);
	g = guest_new(M_LONG);
	without(g, ECX7, 22);
	s = run_bytes(g, "\x0f\x01\xf9", 3);
	CHECK_STOP(s, ST_DONE);
	guest_free(g);
}

T(older, "without LZCNT and BMI1, LZCNT is BSR and TZCNT is BSF")
{
	struct guest *g = guest_new(M_LONG);
	struct stop s;

	without(g, ECXE, 5);
	without(g, EBX7, 3);
	/* mov $0x100, %ecx; lzcnt %ecx, %eax; tzcnt %ecx, %edx */
	s = run_bytes(g, "\xb9\x00\x01\x00\x00\xf3\x0f\xbd\xc1\xf3\x0f\xbc\xd1", 13);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rax, 8);
	CHECK_EQ(s.r.rdx, 8);
	guest_free(g);
	g = guest_new(M_LONG);
	s = run_bytes(g, "\xb9\x00\x01\x00\x00\xf3\x0f\xbd\xc1\xf3\x0f\xbc\xd1", 13);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rax, guest_has(g, ECXE, 5) ? 23 : 8);
	CHECK_EQ(s.r.rdx, 8);
	guest_free(g);
}

T(undescribed, "a CPUID that describes no CPU hides only what KVM intercepts")
{
	static const struct { const char *bytes; u32 n; bool there; } with_none[] = {
		{ "\xf3\x0f\xb8\xc1", 4, true }, { "\x0f\x44\xc0", 3, true },
		{ "\x66\x0f\xef\xc0", 4, true }, { "\x0f\x31", 2, true },
		{ "\x0f\x01\xf9", 3, false }, { "\x66\x0f\x38\x82\x03", 5, false },
		{ "\xf3\x0f\xc7\xf8", 4, false },
	};

	for (u32 i = 0; i < ARRAY_SIZE(with_none); i++) {
		struct guest *g = guest_new(M_LONG);
		struct stop s;

		g->cpuid->nent = 0;
		set_cpuid(g);
		s = run_bytes(g, with_none[i].bytes, with_none[i].n);
		if (with_none[i].there)
			CHECK_STOP(s, ST_DONE);
		else
			CHECK_EXC(s, 6, -1);
		guest_free(g);
	}
}

T(alt_mov_cr8, "LOCK MOV CR0 is MOV CR8, in 32-bit code too; without AltMovCr8 it is #UD")
{
	/* mov $5, %ecx; lock mov %ecx, %cr0; lock mov %cr0, %edx */
	static const char bytes[] = "\xb9\x05\x00\x00\x00\xf0\x0f\x22\xc1\xf0\x0f\x20\xc2";
	static const enum mode modes[] = { M_LONG, M_COMPAT, M_PM32 };

	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		struct guest *g = guest_new_flags(modes[i], GUEST_IRQCHIP);
		u64 cr0 = cpu_sregs(cpu0(g)).cr0;
		struct stop s = run_bytes(g, bytes, 13);

		CHECK_STOP(s, ST_DONE);
		CHECK_EQ(s.r.rdx, 5);
		CHECK_EQ(cpu_sregs(cpu0(g)).cr0, cr0);
		CHECK_EQ(cpu_sregs(cpu0(g)).cr8, 5);
		guest_free(g);
	}
	struct guest *g = guest_new(M_LONG);
	struct stop s;

	without(g, ECXE, 4);
	s = run_bytes(g, bytes, 13);
	CHECK_EXC(s, 6, -1);
	CHECK_EQ(s.rip, G_CODE + 5);
	guest_free(g);
	/* LOCK is for CR0 alone, and for no other form of it. */
	g = guest_new(M_LONG);
	s = run_bytes(g, "\xf0\x0f\x22\xd9", 4);	/* %cr3 */
	CHECK_EXC(s, 6, -1);
	guest_free(g);
	g = guest_new(M_LONG);
	s = run_bytes(g, "\xf0\x44\x0f\x20\xc2", 5);	/* %cr8 */
	CHECK_EXC(s, 6, -1);
	guest_free(g);
}

T(far_pointers, "REX.W does not make far pointers longer: LGS, far JMP and CALL take m16:32")
{
	struct guest *g = guest_new(M_LONG);
	struct stop s;

	/* 91223344h : SEL_DATA, and something behind that is no selector */
	guest_write(g, G_DATA, "\x44\x33\x22\x91\x10\x00\xff\xff\xff\xff", 10);
	s = run_bytes(g, "\x48\x0f\xb5\x03", 4);	/* rex.w lgs (%rbx), %rax */
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rax, 0x91223344);
	CHECK_EQ(cpu_sregs(cpu0(g)).gs.selector, SEL_DATA);
	guest_free(g);

	g = guest_new(M_LONG);
	*g32(g, G_DATA) = G_CODE + 0x100;
	*g32(g, G_DATA + 4) = 0xffff0000 | SEL_CODE64;
	*g32(g, G_DATA + 8) = 0xffffffff;
	guest_write(g, G_CODE + 0x100, "\xe6\xf0", 2);
	s = run_bytes(g, "\x48\xff\x2b", 3);		/* rex.w ljmp *(%rbx) */
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rip, G_CODE + 0x100);
	guest_free(g);

	/* The call pushes eight bytes each all the same. */
	g = guest_new(M_LONG);
	*g32(g, G_DATA) = G_CODE + 0x100;
	*g32(g, G_DATA + 4) = 0xffff0000 | SEL_CODE64;
	*g32(g, G_DATA + 8) = 0xffffffff;
	guest_write(g, G_CODE + 0x100, "\xe6\xf0", 2);
	u64 sp = cpu_regs(cpu0(g)).rsp;

	s = run_bytes(g, "\x48\xff\x1b", 3);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rsp, sp - 16);
	CHECK_EQ(*g64(g, sp - 16), G_CODE + 3);
	CHECK_EQ(*g64(g, sp - 8), SEL_CODE64);
	guest_free(g);
}

T(enter_stack16, "ENTER with a 32-bit operand on a 16-bit stack keeps the upper half of ESP")
{
	struct guest *g = guest_new(M_PM32);
	struct stop s;

	WITH_SREGS(cpu0(g), sr) {
		sr.ss.base = 0x20000;
		sr.ss.limit = 0xffff;
		sr.ss.db = sr.ss.g = 0;
	}
	guest_write(g, G_CODE, "\xc8\x08\x00\x03\xe6\xf0", 6);	/* enter $8, $3 */
	WITH_REGS(cpu0(g), r) {
		r.rsp = 0x12350000;
		r.rbp = 0x1234ff20;
	}
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rsp, 0x1235ffe8);
	CHECK_EQ(s.r.rbp, 0x1235fffc);
	CHECK_EQ(*g32(g, 0x2fff0), 0x1235fffc);
	guest_free(g);
}

T(end_of_4g, "an operand that lies behind the last address of a 4 GiB segment is #GP or #SS")
{
	static const enum mode modes[] = { M_PM32, M_PG32, M_COMPAT };

	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		struct guest *g = guest_new(modes[i]);
		struct stop s = run_bytes(g, "\xa1\xfe\xff\xff\xff", 5); /* mov 0xfffffffe, %eax */

		CHECK_EXC(s, 13, 0);
		guest_free(g);
		g = guest_new(modes[i]);
		s = run_bytes(g, "\x36\xa1\xfe\xff\xff\xff", 6);
		CHECK_EXC(s, 12, 0);
		guest_free(g);
	}
}

T(vex_w, "outside 64-bit mode VEX.W widens nothing: VPEXTRQ is #UD, VCVTSI2SD reads 32 bits")
{
	struct guest *g = guest_new(M_COMPAT);
	struct stop s;

	if (!guest_has(g, 1, 2, 28))
		test_skip("no AVX");
	WITH_SREGS(cpu0(g), sr)
		sr.cr4 |= 1u << 18 | 1u << 9;
	struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs[0] = { .xcr = 0, .value = 7 } };

	vcpu_ioctl(cpu0(g), KVM_SET_XCRS, &x, "KVM_SET_XCRS");
	*g64(g, G_DATA) = 0x100000007;
	/* vcvtsi2sd.w (%ebx), %xmm0, %xmm0; vcvttsd2si %xmm0, %eax */
	s = run_bytes(g, "\xc4\xe1\xfb\x2a\x03\xc5\xfb\x2c\xc0", 9);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rax, 7);
	guest_free(g);
	g = guest_new(M_COMPAT);
	WITH_SREGS(cpu0(g), sr)
		sr.cr4 |= 1u << 18 | 1u << 9;
	vcpu_ioctl(cpu0(g), KVM_SET_XCRS, &x, "KVM_SET_XCRS");
	s = run_bytes(g, "\xc4\xe3\xf9\x16\xc0\x00", 6);	/* vpextrd.w */
	CHECK_EXC(s, 6, -1);
	guest_free(g);
}

/* -- which exception when a state is switched off -- */

#define CR0_MP_ BIT(1)
#define CR0_EM_ BIT(2)
#define CR0_TS_ BIT(3)
#define CR4_FXSR BIT(9)
#define CR4_XSAVE BIT(18)

enum kind { K_NONE, K_X87, K_WAIT, K_MMX, K_SSE, K_FXSAVE, K_AVX, K_XSAVE, K_XGETBV, K_VEX };

/* APM4: the tables of exceptions; APM2 3.1.1 for EM, MP and TS. */
static int state_exception(enum kind k, u64 cr0, u64 cr4, bool real)
{
	bool em = cr0 & CR0_EM_, ts = cr0 & CR0_TS_;

	switch (k) {
	case K_X87: return em || ts ? 7 : -1;
	case K_WAIT: return ts && (cr0 & CR0_MP_) ? 7 : -1;
	case K_MMX: return em ? 6 : ts ? 7 : -1;
	case K_SSE: return em || !(cr4 & CR4_FXSR) ? 6 : ts ? 7 : -1;
	case K_FXSAVE: return em || ts ? 7 : -1;
	case K_AVX: return real || !(cr4 & CR4_XSAVE) ? 6 : ts ? 7 : -1;
	case K_XSAVE: return !(cr4 & CR4_XSAVE) ? 6 : ts ? 7 : -1;
	case K_XGETBV: return !(cr4 & CR4_XSAVE) ? 6 : -1;
	case K_VEX: return real ? 6 : -1;
	default: return -1;
	}
}

static const struct {
	const char *name;
	enum kind kind;
	u32 leaf;	/* 0: always there */
	int reg, bit;
	const char *bytes;
	u32 n;
} state_insns[] = {
	{ "FLD1", K_X87, 0, 0, 0, "\xd9\xe8", 2 },
	{ "FNSTSW", K_X87, 0, 0, 0, "\xdf\xe0", 2 },
	{ "FNINIT", K_X87, 0, 0, 0, "\xdb\xe3", 2 },
	{ "FCOMI", K_X87, 0, 0, 0, "\xdb\xf1", 2 },
	{ "FCMOVB", K_X87, 0, 0, 0, "\xda\xc0", 2 },
	{ "FWAIT", K_WAIT, 0, 0, 0, "\x9b", 1 },
	{ "PADDB mm", K_MMX, 0, 0, 0, "\x0f\xfc\xc1", 3 },
	{ "EMMS", K_MMX, 0, 0, 0, "\x0f\x77", 2 },
	{ "PSHUFW", K_MMX, 0, 0, 0, "\x0f\x70\xc1\x00", 4 },
	{ "PMOVMSKB mm", K_MMX, 0, 0, 0, "\x0f\xd7\xc1", 3 },
	{ "PADDQ mm", K_MMX, 0, 0, 0, "\x0f\xd4\xc1", 3 },
	{ "PABSB mm", K_MMX, ECX1, 9, "\x0f\x38\x1c\xc1", 4 },
	{ "ADDPS", K_SSE, 0, 0, 0, "\x0f\x58\xc1", 3 },
	{ "PADDB xmm", K_SSE, 0, 0, 0, "\x66\x0f\xfc\xc1", 4 },
	{ "CVTPS2PI", K_SSE, 0, 0, 0, "\x0f\x2d\xc0", 3 },
	{ "CVTSS2SI", K_SSE, 0, 0, 0, "\xf3\x0f\x2d\xc0", 4 },
	{ "MOVDQ2Q", K_SSE, 0, 0, 0, "\xf2\x0f\xd6\xc0", 4 },
	{ "STMXCSR", K_SSE, 0, 0, 0, "\x0f\xae\x1b", 3 },
	{ "MOVD", K_SSE, 0, 0, 0, "\x66\x0f\x6e\xc0", 4 },
	{ "PABSB xmm", K_SSE, ECX1, 9, "\x66\x0f\x38\x1c\xc1", 5 },
	{ "PTEST", K_SSE, ECX1, 19, "\x66\x0f\x38\x17\xc1", 5 },
	{ "AESENC", K_SSE, ECX1, 25, "\x66\x0f\x38\xdc\xc1", 5 },
	{ "EXTRQ", K_SSE, ECXE, 6, "\x66\x0f\x79\xc1", 4 },
	{ "SFENCE", K_NONE, 0, 0, 0, "\x0f\xae\xf8", 3 },
	{ "MOVNTI", K_NONE, 0, 0, 0, "\x0f\xc3\x03", 3 },
	{ "CRC32", K_NONE, ECX1, 20, "\xf2\x0f\x38\xf1\xc1", 5 },
	{ "PREFETCHNTA", K_NONE, 0, 0, 0, "\x0f\x18\x03", 3 },
	{ "FXSAVE", K_FXSAVE, 0, 0, 0, "\x0f\xae\x03", 3 },
	{ "FXRSTOR", K_FXSAVE, 0, 0, 0, "\x0f\xae\x0b", 3 },
	{ "VADDPS", K_AVX, ECX1, 28, "\xc5\xf4\x58\xc2", 4 },
	{ "VZEROUPPER", K_AVX, ECX1, 28, "\xc5\xf8\x77", 3 },
	{ "VMOVD", K_AVX, ECX1, 28, "\xc5\xf9\x6e\xc0", 4 },
	{ "VSTMXCSR", K_AVX, ECX1, 28, "\xc5\xf8\xae\x1b", 4 },
	{ "VCVTSS2SI", K_AVX, ECX1, 28, "\xc5\xfa\x2d\xc0", 4 },
	{ "VCVTPH2PS", K_AVX, ECX1, 29, "\xc4\xe2\x79\x13\xc0", 5 },
	{ "VPGATHERDD", K_AVX, EBX7, 5, "\xc4\xe2\x69\x90\x04\x0b", 6 },
	{ "ANDN", K_VEX, EBX7, 3, "\xc4\xe2\x70\xf2\xc2", 5 },
	{ "RORX", K_VEX, EBX7, 8, "\xc4\xe3\x7b\xf0\xc0\x01", 6 },
	{ "XSAVE", K_XSAVE, ECX1, 26, "\x0f\xae\x23", 3 },
	{ "XGETBV", K_XGETBV, ECX1, 26, "\x0f\x01\xd0", 3 },
};

T(switched_off,
  "CR0.EM, MP, TS and CR4.OSFXSR, OSXSAVE: each class of instructions in each of 32 ways")
{
	static const enum mode modes[] = { M_LONG, M_COMPAT, M_PG32, M_PM16, M_REAL };

	for (u32 m = 0; m < ARRAY_SIZE(modes); m++) {
		struct guest *g = guest_new(modes[m]);
		struct kvm_sregs s0 = cpu_sregs(cpu0(g));
		struct kvm_regs r0 = cpu_regs(cpu0(g));
		bool narrow = modes[m] == M_REAL || modes[m] == M_PM16;
		u64 data = narrow ? 0xc000 : G_DATA;

		if (guest_has(g, 1, 2, 28)) {
			struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs[0] = { .xcr = 0, .value = 7 } };

			vcpu_ioctl(cpu0(g), KVM_SET_XCRS, &x, "KVM_SET_XCRS");
		}
		for (u32 way = 0; way < 32; way++)
			for (u32 i = 0; i < ARRAY_SIZE(state_insns); i++) {
				struct kvm_sregs s = s0;
				struct kvm_regs r = r0;
				struct stop st;
				int want;

				/* There is no SIB byte in 16-bit addresses. */
				if (narrow && !strcmp(state_insns[i].name, "VPGATHERDD"))
					continue;
				if (state_insns[i].leaf &&
				    !guest_has(g, state_insns[i].leaf, state_insns[i].reg,
					       state_insns[i].bit))
					continue;
				s.cr0 = (s0.cr0 & ~14ull) | (way & 1 ? CR0_EM_ : 0) |
					(way & 2 ? CR0_MP_ : 0) | (way & 4 ? CR0_TS_ : 0);
				s.cr4 = (s0.cr4 & ~(u64)(CR4_FXSR | CR4_XSAVE)) |
					(way & 8 ? CR4_FXSR : 0) | (way & 16 ? CR4_XSAVE : 0);
				r.rbx = r.rbp = data;	/* 16-bit addresses are [BP+DI] */
				r.rsi = r.rdi = r.rcx = r.rax = r.rdx = 0;
				cpu_set_sregs(cpu0(g), &s);
				cpu_set_regs(cpu0(g), &r);
				memset(g->ram + data, 0, 1024);
				guest_write(g, G_CODE, state_insns[i].bytes, state_insns[i].n);
				guest_write(g, G_CODE + state_insns[i].n, "\xe6\xf0", 2);
				st = run(g);
				want = state_exception(state_insns[i].kind, s.cr0, s.cr4,
						       modes[m] == M_REAL);
				if (!(want < 0 ? CHECK_STOP(st, ST_DONE)
					       : CHECK_EXC(st, (u8)want, -1)))
					printf("# %s in %s, CR0 %#llx, CR4 %#llx\n",
					       state_insns[i].name, mode_name[modes[m]],
					       (unsigned long long)s.cr0,
					       (unsigned long long)s.cr4);
			}
		guest_free(g);
	}
}
