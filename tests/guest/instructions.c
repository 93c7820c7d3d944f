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
