/* SPDX-License-Identifier: MIT */
/* tests/guest/instructions.c - which instructions exist, and in which of their forms. */
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

TEST(no_bit, "an instruction is #UD without its CPUID bit, and executed with it")
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

TEST(rdtscp_by_rdpid, "RDPID in CPUID does not let RDTSCP through, nor RDTSCP RDPID")
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

TEST(older, "without LZCNT and BMI1, LZCNT is BSR and TZCNT is BSF")
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

TEST(undescribed, "a CPUID that describes no CPU hides only what KVM intercepts")
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

TEST(alt_mov_cr8, "LOCK MOV CR0 is MOV CR8, in 32-bit code too; without AltMovCr8 it is #UD")
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

TEST(far_pointers, "REX.W does not make far pointers longer: LGS, far JMP and CALL take m16:32")
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

TEST(enter_stack16, "ENTER with a 32-bit operand on a 16-bit stack keeps the upper half of ESP")
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
	s = run(g);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rsp, 0x1235ffe8);
	CHECK_EQ(s.r.rbp, 0x1235fffc);
	CHECK_EQ(*g32(g, 0x2fff0), 0x1235fffc);
	guest_free(g);
}

TEST(end_of_4g, "an operand that lies behind the last address of a 4 GiB segment is #GP or #SS")
{
	static const enum mode modes[] = { M_PM32, M_PG32, M_COMPAT };

	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		struct guest *g = guest_new(modes[i]);
		struct stop s = run_bytes(g, "\xa1\xfe\xff\xff\xff", 5);	/* mov 0xfffffffe, %eax */

		CHECK_EXC(s, 13, 0);
		guest_free(g);
		g = guest_new(modes[i]);
		s = run_bytes(g, "\x36\xa1\xfe\xff\xff\xff", 6);
		CHECK_EXC(s, 12, 0);
		guest_free(g);
	}
}

TEST(vex_w, "outside 64-bit mode VEX.W widens nothing: VPEXTRQ is #UD, VCVTSI2SD reads 32 bits")
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
