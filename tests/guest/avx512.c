/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/avx512.c - AVX-512 state and memory under masks (SDM1 13, 15; SDM2 2.8). What the
 * instructions compute is insn_random's business.
 */
/* Run: build/standin run -- build/tests/guest/guest_avx512 [NAME...] */
#include "tests/guest/harness/harness.h"

#define SET_XCR0 "xor %ecx, %ecx\n xor %edx, %edx\n mov $0xe7, %eax\n xsetbv\n"
#define PAGE G_DATA
#define NEXT (G_DATA + 0x1000)	/* not present where a test says so */

static struct guest *with_avx512(const u8 *p, u64 n)
{
	struct guest *g = guest_with_code(M_LONG, p, (u32)n);

	if (!guest_has(g, 7, 1, 16))
		test_skip("no AVX-512");
	WITH_SREGS(cpu0(g), sr)
		sr.cr4 |= 1u << 18;
	WITH_REGS(cpu0(g), r)
		r.rdi = PAGE;
	return g;
}
#define WITH(s) with_avx512(s##_b, LEN(s))

static u32 place(struct guest *g, u32 component, u32 *bytes)
{
	for (u32 i = 0; i < g->cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &g->cpuid->entries[i];

		if (e->function != 0xd || e->index != component)
			continue;
		*bytes = e->eax;
		return e->ebx;
	}
	test_die("CPUID has no component %u", component);
}

CODE64(no_xcr0, "mov $7, %eax\n xor %ecx, %ecx\n xor %edx, %edx\n xsetbv\n"
		" vpxord %zmm0, %zmm0, %zmm0" DONE);
CODE64(no_xcr0_k, "mov $7, %eax\n xor %ecx, %ecx\n xor %edx, %edx\n xsetbv\n kxorw %k1, %k1, %k1"
       DONE);
CODE64(ts, SET_XCR0 "mov %cr0, %rax\n or $8, %rax\n mov %rax, %cr0\n vpxord %zmm0, %zmm0, %zmm0"
       DONE);
T(switched, "without its bits in XCR0 #UD, with CR0.TS #NM")
{
	RUN_EXC(WITH(no_xcr0), 6, -1);
	RUN_EXC(WITH(no_xcr0_k), 6, -1);
	RUN_EXC(WITH(ts), 7, -1);
}
CODE64(partial, "xor %ecx, %ecx\n xor %edx, %edx\n mov %esi, %eax\n xsetbv" DONE);
T(xcr0, "the three bits of XCR0 go together, and with AVX")
{
	static const u32 bad[] = { 0x27, 0x67, 0xa7, 0xc7, 0xe3, 0xe1 };

	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		struct guest *g = WITH(partial);

		WITH_REGS(cpu0(g), r)
			r.rsi = bad[i];
		RUN_EXC(g, 13, 0);
		guest_free(g);
	}
}
CODE64(fresh, SET_XCR0 "vmovdqu64 %zmm16, (%rdi)\n vmovdqu64 %zmm0, 0x40(%rdi)\n kmovq %k3, %rbx\n"
	" mov $1, %ecx\n xgetbv\n mov %eax, %esi\n mov $-1, %eax\n kmovd %eax, %k1\n mov $1, %ecx\n"
	" xgetbv" DONE);
T(fresh, "what the VMM has left in the registers is not seen; XGETBV tells what is in use")
{
	struct guest *g = WITH(fresh);
	struct stop s;

	memset(g->ram + PAGE, 0x55, 128);
	__asm__ volatile("vpternlogd $0xff, %%zmm16, %%zmm16, %%zmm16\n"
			 " vpternlogd $0xff, %%zmm0, %%zmm0, %%zmm0\n"
			 " kxnorw %%k3, %%k3, %%k3" : : : "xmm0");
	s = RUN_TO(g, ST_DONE);
	for (u32 i = 0; i < 128; i++)
		CHECK_EQ(g->ram[PAGE + i], 0);
	CHECK_EQ(s.r.rbx, 0);
	CHECK_EQ(s.r.rsi & 0xe0, 0);
	CHECK_EQ(s.r.rax & 0xe0, 0x20);
}
/* zmm3: 0x33 bytes, zmm20: 0x44 bytes, k5: 0x5555 */
#define FILL "mov $0x33, %eax\n vpbroadcastb %eax, %zmm3\n mov $0x44, %eax\n" \
	" vpbroadcastb %eax, %zmm20\n" \
	" mov $0x5555, %eax\n kmovd %eax, %k5\n"
CODE64(api, SET_XCR0 FILL STOP(1) "vmovdqu64 %zmm3, (%rdi)\n vmovdqu64 %zmm20, 0x40(%rdi)\n"
	" kmovq %k5, %rbx\n"
	" kmovq %k6, %rsi" DONE);
T(api, "the state survives exits, and is what KVM_GET_XSAVE shows and KVM_SET_XSAVE sets")
{
	struct guest *g = WITH(api);
	u32 n, k = place(g, 5, &n), hi, hi16;
	static u8 x[4096] __attribute__((aligned(64)));
	u64 v = 0x6666;
	struct stop s;

	CHECK_EQ(n, 64);
	hi = place(g, 6, &n);
	CHECK_EQ(n, 512);
	hi16 = place(g, 7, &n);
	CHECK_EQ(n, 1024);
	s = RUN_TO(g, ST_OUT);
	vcpu_ioctl(cpu0(g), KVM_GET_XSAVE, x, "KVM_GET_XSAVE");
	CHECK_EQ(x[512] & 0xe0, 0xe0);
	for (u32 i = 0; i < 32; i++)
		CHECK_EQ(x[hi + 3 * 32 + i], 0x33);
	for (u32 i = 0; i < 64; i++)
		CHECK_EQ(x[hi16 + 4 * 64 + i], 0x44);
	memcpy(x + k + 8 * 6, &v, 8);
	memset(x + hi16 + 4 * 64, 0x77, 64);
	vcpu_ioctl(cpu0(g), KVM_SET_XSAVE, x, "KVM_SET_XSAVE");
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rbx, 0x5555);
	CHECK_EQ(s.r.rsi, 0x6666);
	for (u32 i = 0; i < 64; i++) {
		CHECK_EQ(g->ram[PAGE + i], 0x33);
		CHECK_EQ(g->ram[PAGE + 64 + i], 0x77);
	}
}
#define ALL_ON "mov $0xe7, %eax\n xor %edx, %edx\n"
#define CLEAR "vpxord %zmm3, %zmm3, %zmm3\n vpxord %zmm20, %zmm20, %zmm20\n kxorq %k5, %k5, %k5\n"
#define SHOW "vmovdqu64 %zmm3, 0x1000(%rdi)\n vmovdqu64 %zmm20, 0x1040(%rdi)\n kmovq %k5, %rbx\n"
CODE64(plain, SET_XCR0 FILL ALL_ON "xsave64 (%rdi)\n" CLEAR ALL_ON "xrstor64 (%rdi)\n" SHOW DONE);
CODE64(compact, SET_XCR0 FILL ALL_ON "xsavec64 (%rdi)\n" CLEAR ALL_ON "xrstor64 (%rdi)\n"
       SHOW DONE);
CODE64(some, SET_XCR0 FILL "mov $0x80, %eax\n xor %edx, %edx\n xsavec64 (%rdi)\n"
       CLEAR "mov $0xc0, %eax\n"
	" xor %edx, %edx\n xrstor64 (%rdi)\n" SHOW DONE);
T(areas, "XSAVE and XSAVEC put each component where CPUID says, and XRSTOR takes it from there")
{
	struct guest *g = WITH(plain);
	u32 n, hi16 = place(g, 7, &n), k = place(g, 5, &n);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(*g64(g, PAGE + 512) & 0xe0, 0xe0);
	CHECK_EQ(*g64(g, PAGE + hi16 + 4 * 64), 0x4444444444444444);
	CHECK_EQ(*g64(g, PAGE + k + 5 * 8), 0x5555);
	CHECK_EQ(*g64(g, PAGE + 0x1020), 0x3333333333333333);
	CHECK_EQ(*g64(g, PAGE + 0x1040), 0x4444444444444444);
	CHECK_EQ(s.r.rbx, 0x5555);
	g = WITH(compact);
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(*g64(g, PAGE + 520), 0x80000000000000e7);
	CHECK_EQ(*g64(g, PAGE + 576 + 256 + 5 * 8), 0x5555);
	CHECK_EQ(*g64(g, PAGE + 576 + 256 + 64 + 512 + 4 * 64), 0x4444444444444444);
	CHECK_EQ(*g64(g, PAGE + 0x1020), 0x3333333333333333);
	CHECK_EQ(*g64(g, PAGE + 0x1040), 0x4444444444444444);
	CHECK_EQ(s.r.rbx, 0x5555);
	g = WITH(some);		/* one component, which is the first then; the other is
				 * initialised */
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(*g64(g, PAGE + 576 + 4 * 64), 0x4444444444444444);
	CHECK_EQ(*g64(g, PAGE + 0x1020), 0);
	CHECK_EQ(*g64(g, PAGE + 0x1040), 0x4444444444444444);
	CHECK_EQ(s.r.rbx, 0);
}
/* The last 16 bytes of a page; behind it there is none. */
#define AT_END "lea 0xff0(%rdi), %rsi\n"
CODE64(load, SET_XCR0 AT_END "mov $0xf, %eax\n kmovw %eax, %k1\n vmovdqu32 (%rsi), %zmm1{%k1}{z}\n"
	" vmovd %xmm1, %ebx\n"
	" mov $0x20f, %eax\n kmovw %eax, %k1\n vmovdqu32 (%rsi), %zmm1{%k1}{z}" DONE);
CODE64(store, SET_XCR0 AT_END FILL "mov $0xf, %eax\n kmovw %eax, %k1\n"
	" vmovdqu32 %zmm3, (%rsi){%k1}\n"
	" mov $0x20f, %eax\n kmovw %eax, %k1\n vmovdqu32 %zmm20, (%rsi){%k1}" DONE);
CODE64(packed, SET_XCR0 AT_END FILL "mov $0x8421, %eax\n kmovw %eax, %k1\n"
	" vpcompressd %zmm3, (%rsi){%k1}\n"
	" mov $0x8c21, %eax\n kmovw %eax, %k1\n vpcompressd %zmm20, (%rsi){%k1}" DONE);
T(suppressed,
  "what a mask leaves out cannot fault; a fault is that of the first element that does, and stores "
  "nothing")
{
	struct guest *g = WITH(load);
	struct stop s;

	*guest_pte(g, NEXT) = 0;
	*g32(g, PAGE + 0xff0) = 0x1234;
	s = RUN_EXC(g, 14, 0);
	CHECK_EQ(s.r.rbx, 0x1234);
	CHECK_EQ(s.cr2, NEXT + 0x14);
	g = WITH(store);
	*guest_pte(g, NEXT) = 0;
	s = RUN_EXC(g, 14, 2);
	CHECK_EQ(s.cr2, NEXT + 0x14);
	CHECK_EQ(*g64(g, PAGE + 0xff0), 0x3333333333333333);
	g = WITH(packed);
	*guest_pte(g, NEXT) = 0;
	s = RUN_EXC(g, 14, 2);
	CHECK_EQ(s.cr2, NEXT);
	CHECK_EQ(*g64(g, PAGE + 0xff8), 0x3333333333333333);
}
/* Indices 0, 1024 (the next page), 2, ... in dwords. */
#define INDICES "xor %eax, %eax\n vpxord %zmm2, %zmm2, %zmm2\n mov $0x400, %eax\n" \
	" vmovd %eax, %xmm2\n" \
	" vpslldq $4, %xmm2, %xmm2\n mov $7, %eax\n kmovw %eax, %k1\n"
CODE64(gather, SET_XCR0 INDICES "vpgatherdd (%rdi,%zmm2,4), %zmm1{%k1}" DONE);
CODE64(scatter, SET_XCR0 INDICES FILL "mov $7, %eax\n kmovw %eax, %k1\n"
				      " vpscatterdd %zmm3, (%rdi,%zmm2,4){%k1}" DONE);
T(one_by_one, "gather and scatter: the mask's bits go with what is done")
{
	struct guest *g = WITH(gather);
	static u8 x[4096] __attribute__((aligned(64)));
	u32 n, k = place(g, 5, &n);
	struct stop s;
	u64 mask;

	*guest_pte(g, NEXT) = 0;
	s = RUN_EXC(g, 14, 0);
	CHECK_EQ(s.cr2, NEXT);
	vcpu_ioctl(cpu0(g), KVM_GET_XSAVE, x, "KVM_GET_XSAVE");
	memcpy(&mask, x + k + 8, 8);
	CHECK_EQ(mask, 6);
	*guest_pte(g, NEXT) = NEXT | PTE_P | PTE_W;
	g = WITH(scatter);
	*guest_pte(g, NEXT) = 0;
	s = RUN_EXC(g, 14, 2);
	CHECK_EQ(s.cr2, NEXT);
	CHECK_EQ(*g32(g, PAGE), 0x33333333);
}
CODE64(device, SET_XCR0 FILL "mov $0x8001, %eax\n kmovw %eax, %k1\n mov $0x10000000, %esi\n"
	" vmovdqu32 %zmm3, (%rsi){%k1}\n vmovdqu32 (%rsi), %zmm1{%k1}{z}\n vmovd %xmm1, %ebx" DONE);
T(device, "a device sees the elements that the mask chooses, and no others")
{
	struct guest *g = WITH(device);
	static const u64 at[] = { 0x10000000, 0x1000003c };
	struct stop s;

	for (u32 i = 0; i < 2; i++) {
		s = RUN_TO(g, ST_MMIO);
		CHECK(s.write);
		CHECK_EQ(s.gpa, at[i]);
		CHECK_EQ(s.size, 4);
	}
	for (u32 i = 0; i < 2; i++) {
		s = RUN_TO(g, ST_MMIO);
		CHECK(!s.write);
		CHECK_EQ(s.gpa, at[i]);
		cpu_answer(cpu0(g), 0x1000 + i);
	}
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rbx, 0x1000);
}
CODE64(aligned, SET_XCR0 "lea 0xff8(%rdi), %rsi\n kxorw %k1, %k1, %k1\n"
	" vmovdqa32 (%rsi), %zmm1{%k1}{z}\n vmovdqa32 %zmm1, (%rsi){%k1}\n"
	" mov $1, %eax\n kmovw %eax, %k1\n mov $1, %ebx\n vmovdqa32 (%rsi), %zmm1{%k1}{z}" DONE);
T(alignment, "what is not accessed is not misaligned")
{
	struct guest *g = WITH(aligned);
	struct stop s;

	*guest_pte(g, NEXT) = 0;
	s = RUN_EXC(g, 13, 0);
	CHECK_EQ(s.r.rbx, 1);
}
