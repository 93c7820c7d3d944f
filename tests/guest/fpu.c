/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/fpu.c - XSAVE family, and vector state through the API: what the guest
 * leaves in registers is what KVM_GET_FPU and KVM_GET_XSAVE show (APM2 11.5; SDM1 13).
 */
/* Run: build/standin run -- build/tests/guest/guest_fpu [NAME...] */
#include "tests/guest/harness/harness.h"

static struct guest *with_avx(const u8 *p, u64 n)
{
	struct guest *g = guest_with_code(M_LONG, p, (u32)n);

	if (!guest_has(g, 1, 2, 26) || !guest_has(g, 1, 2, 28))
		test_skip("no XSAVE or no AVX");
	WITH_SREGS(cpu0(g), sr)
		sr.cr4 |= 1u << 18;
	return g;
}
#define WITH_AVX(s) with_avx(s##_b, LEN(s))
#define SET_XCR0 "xor %ecx, %ecx\n xor %edx, %edx\n mov $7, %eax\n xsetbv\n"

CODE64(get, "mov $0x1122334455667788, %rax\n movq %rax, %xmm3\n movq %rax, %xmm15\n fld1\n"
	" fldpi" STOP(1)
	"movq %xmm3, %rbx\n movq %xmm4, %rcx" DONE);
T(get_fpu, "KVM_GET_FPU and KVM_SET_FPU see the guest's registers")
{
	struct guest *g = guest_with(M_LONG, get);
	struct kvm_fpu f;
	u64 v;
	struct stop s = RUN_TO(g, ST_OUT);

	vcpu_ioctl(cpu0(g), KVM_GET_FPU, &f, "KVM_GET_FPU");
	memcpy(&v, f.xmm[3], 8);
	CHECK_EQ(v, 0x1122334455667788);
	memcpy(&v, f.xmm[15], 8);
	CHECK_EQ(v, 0x1122334455667788);
	CHECK_EQ(f.fcw, 0x37f);
	CHECK_EQ(f.fsw >> 11 & 7, 6);
	memcpy(&v, f.fpr[1], 8);
	CHECK_EQ(v, 0x8000000000000000);
	v = 0x55aa;
	memcpy(f.xmm[4], &v, 8);
	vcpu_ioctl(cpu0(g), KVM_SET_FPU, &f, "KVM_SET_FPU");
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rbx, 0x1122334455667788);
	CHECK_EQ(s.r.rcx, 0x55aa);
}

CODE64(mxcsr, "ldmxcsr (%rdi)" STOP(1) "stmxcsr 4(%rdi)" DONE);
T(mxcsr, "KVM_GET_XSAVE and SET keep MXCSR where XMM registers are zero, and AMD's MM in it")
{
	static u8 x[4096], init[4096];

	for (u32 i = 0; i < 2; i++) {
		struct guest *g = guest_with(M_LONG, mxcsr);
		u32 v = i ? 0x21fa0 : 0x1fa0;

		vcpu_ioctl(cpu0(g), KVM_GET_XSAVE, init, "KVM_GET_XSAVE");
		if (v & ~*(u32 *)(init + 28))
			test_skip("no misaligned SSE mode");
		*g32(g, G_DATA) = v;
		WITH_REGS(cpu0(g), r)
			r.rdi = G_DATA;
		RUN_TO(g, ST_OUT);
		vcpu_ioctl(cpu0(g), KVM_GET_XSAVE, x, "KVM_GET_XSAVE");
		CHECK_EQ(*(u32 *)(x + 24), v);
		CHECK_EQ(x[512] & 2, 2);
		vcpu_ioctl(cpu0(g), KVM_SET_XSAVE, init, "KVM_SET_XSAVE");
		vcpu_ioctl(cpu0(g), KVM_SET_XSAVE, x, "KVM_SET_XSAVE");
		RUN_TO(g, ST_DONE);
		CHECK_EQ(*g32(g, G_DATA + 4), v);
		guest_free(g);
	}
}
CODE64(avx, SET_XCR0 "mov $0x77, %eax\n movd %eax, %xmm5\n vpbroadcastb %xmm5, %ymm5"
       STOP(1) "vmovdqu %ymm5, (%rdi)\n"
	" vzeroupper\n xgetbv\n mov %eax, %ebx\n vmovdqu %ymm5, 0x40(%rdi)" DONE);
T(avx, "AVX state survives an exit; XGETBV")
{
	struct guest *g = WITH_AVX(avx);
	static u8 x[4096];
	struct stop s;

	if (!guest_has(g, 7, 1, 5))
		test_skip("no AVX2");
	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	s = RUN_TO(g, ST_OUT);
	vcpu_ioctl(cpu0(g), KVM_GET_XSAVE, x, "KVM_GET_XSAVE");
	CHECK_EQ(x[512] & 7, x[512]);
	CHECK_EQ(x[576 + 5 * 16], 0x77);	/* high half of YMM5, standard format */
	s = RUN_TO(g, ST_DONE);
	for (u32 i = 0; i < 32; i++)
		CHECK_EQ(g->ram[G_DATA + i], 0x77);
	CHECK_EQ(g->ram[G_DATA + 0x40 + 15], 0x77);
	CHECK_EQ(g->ram[G_DATA + 0x40 + 16], 0);
	CHECK_EQ(s.r.rbx, 7);
}
CODE64(xsave, SET_XCR0 "mov $-1, %eax\n movq %rax, %xmm1\n fld1\n mov $7, %eax\n xor %edx, %edx\n"
	" xsave (%rdi)\n"
	" pxor %xmm1, %xmm1\n fninit\n mov $2, %eax\n xrstor (%rdi)\n movq %xmm1, %rbx\n"
	" fnstsw %ax\n mov %eax, %esi\n"
	" mov $5, %eax\n xrstor (%rdi)\n fnstsw %ax" DONE);
T(xsave, "XSAVE and partial XRSTOR")
{
	struct guest *g = WITH_AVX(xsave);
	struct stop s;

	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rbx, 0xffffffff);
	CHECK_EQ(s.r.rsi >> 11 & 7, 0);
	CHECK_EQ(s.r.rax >> 11 & 7, 7);
	CHECK_EQ(*g64(g, G_DATA + 512) & 3, 3);
	CHECK_EQ(*g64(g, G_DATA + 520), 0);
}
CODE64(xsave_gp, SET_XCR0 "mov $7, %eax\n xsave_gp_at: xsave 8(%rdi)" DONE);
CODE64(xrstor_gp, SET_XCR0 "mov $7, %eax\n xrstor (%rdi)" DONE);
CODE64(xsetbv_gp, "xor %ecx, %ecx\n xor %edx, %edx\n mov %esi, %eax\n xsetbv" DONE);
T(xsave_faults, "misaligned XSAVE, reserved header bits, invalid XCR0 are #GP; no OSXSAVE #UD")
{
	struct guest *g = WITH_AVX(xsave_gp);
	static const u32 bad[] = { 0, 2, 5, 0x80000001 };

	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	RUN_EXC(g, 13, 0);
	g = WITH_AVX(xrstor_gp);
	*g64(g, G_DATA + 520) = 1;
	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	RUN_EXC(g, 13, 0);
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		g = WITH_AVX(xsetbv_gp);
		WITH_REGS(cpu0(g), r)
			r.rsi = bad[i];
		RUN_EXC(g, 13, 0);
		guest_free(g);
	}
	g = WITH_AVX(xsetbv_gp);
	WITH_SREGS(cpu0(g), sr)
		sr.cr4 &= ~(1ull << 18);
	WITH_REGS(cpu0(g), r)
		r.rsi = 7;
	RUN_EXC(g, 6, -1);
}
CODE64(avx_off, "vaddps %ymm0, %ymm1, %ymm2" DONE);
T(avx_off, "AVX without XCR0.AVX is #UD")
{
	struct guest *g = WITH_AVX(avx_off);

	RUN_EXC(g, 6, -1);
}
CODE64(xsaveopt, SET_XCR0 "mov $7, %eax\n xor %edx, %edx\n fninit\n xsavec (%rdi)\n"
	" mov 512(%rdi), %rbx\n mov 520(%rdi), %rcx\n"
	" movl $0x1f80, %esi\n xrstor (%rdi)" DONE);
T(xsavec, "XSAVEC writes the compacted form, XRSTOR reads it")
{
	struct guest *g = WITH_AVX(xsaveopt);
	struct stop s;

	if (!guest_has(g, 0xd, 0, 0))
		test_skip("no leaf 0xd");
	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	s = run(g);
	if (s.kind == ST_EXC && s.vec == 6)
		test_skip("no XSAVEC");
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rcx, 0x8000000000000007);
}
CODE64(fxsave, "mov $0x99, %eax\n movd %eax, %xmm2\n fld1\n fxsave64 (%rdi)\n pxor %xmm2, %xmm2\n"
	" fninit\n fxrstor64 (%rdi)\n"
	" movd %xmm2, %ebx\n fstpl 0x300(%rdi)" DONE);
T(fxsave, "FXSAVE and FXRSTOR")
{
	struct guest *g = guest_with(M_LONG, fxsave);
	struct stop s;

	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rbx, 0x99);
	CHECK_EQ(*g64(g, G_DATA + 0x300), 0x3ff0000000000000);
	CHECK_EQ(*g32(g, G_DATA + 24), 0x1f80);
}
CODE64(keep, "mov $1000, %ecx\n mov $1, %eax\n movd %eax, %xmm7\n movd %eax, %xmm6\n"
	" 1: paddd %xmm6, %xmm7\n out %al, $0x80\n"
	" dec %ecx\n jnz 1b\n movd %xmm7, %ebx" DONE);
T(keep, "vector registers over a thousand exits")
{
	struct guest *g = guest_with(M_LONG, keep);
	struct stop s;
	u32 n = 0;

	while ((s = run(g)).kind == ST_OUT)
		n++;
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(n, 1000);
	CHECK_EQ(s.r.rbx, 1001);
}
/* Only RAX, RCX and RDX: what was EFER, with bit 14 set. */
#define SET_FFXSR "mov $0xc0000080, %ecx\n rdmsr\n bts $14, %eax\n wrmsr\n"
CODE64(ffxsr, SET_FFXSR "rdmsr\n mov %eax, %r8d\n mov $0x99, %eax\n movd %eax, %xmm2\n fld1\n"
	" fxsave64 (%rdi)\n"
	" mov $0x55, %eax\n movd %eax, %xmm2\n fninit\n fxrstor64 (%rdi)\n movd %xmm2, %ebx\n"
	" fstpl 0x300(%rdi)" DONE);
CODE64(ffxsr3, "mov $0x99, %eax\n movd %eax, %xmm2\n fxsave64 (%rdi)\n mov $0x55, %eax\n"
	" movd %eax, %xmm2\n"
	" fxrstor64 (%rdi)\n movd %xmm2, %ebx" DONE3);
T(ffxsr, "EFER.FFXSR: FXSAVE and FXRSTOR leave XMM registers out, at CPL 0 in 64-bit mode only")
{
	struct guest *g = guest_with(M_LONG, ffxsr);
	struct stop s;

	if (!guest_has(g, 0x80000001, 3, 25))
		test_skip("no FXSR_OPT");
	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.r8 >> 14 & 1, 1);
	CHECK_EQ(s.r.rbx, 0x55);
	CHECK_EQ(*g64(g, G_DATA + 160 + 2 * 16), 0);
	CHECK_EQ(*g64(g, G_DATA + 0x300), 0x3ff0000000000000);
	guest_free(g);
	g = guest_with(M_LONG, ffxsr3);
	cpu_ring3(cpu0(g), G_CODE);
	WITH_SREGS(cpu0(g), sr)
		sr.efer |= BIT64(14);
	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	s = RUN_EXC(g, VEC_DONE3, -1);
	CHECK_EQ(s.r.rbx, 0x99);
	CHECK_EQ(*g64(g, G_DATA + 160 + 2 * 16), 0x99);
}
CODE64(xgetbv1, SET_XCR0 "vzeroall\n fninit\n mov $1, %ecx\n xgetbv\n mov %eax, %esi\n fld1\n"
	" xgetbv\n mov %eax, %ebx\n"
	" vpcmpeqd %xmm0, %xmm0, %xmm0\n vinsertf128 $1, %xmm0, %ymm0, %ymm0\n xgetbv\n"
	" mov %edx, %edi" DONE);
CODE64(xgetbv2, SET_XCR0 "mov $2, %ecx\n xgetbv" DONE);
T(xgetbv1, "XGETBV with ECX = 1: the components in use; ECX = 2 is #GP")
{
	struct guest *g = WITH_AVX(xgetbv1);
	struct stop s;

	if (!guest_has(g, 0xd, 0, 0))
		test_skip("no leaf 0xd");
	s = run(g);
	if (s.kind == ST_EXC && s.vec == 13)
		test_skip("no XGETBV1");
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rsi & 5, 0);
	CHECK_EQ(s.r.rbx & 5, 1);
	CHECK_EQ(s.r.rax & 7, 7);
	CHECK_EQ(s.r.rdi, 0);
	guest_free(g);
	g = WITH_AVX(xgetbv2);
	s = RUN_EXC(g, 13, 0);
}

/* -- XSAVES, XRSTORS -- */

CODE64(xsaves, SET_XCR0 "mov $0xda0, %ecx\n rdmsr\n mov %eax, %r8d\n mov $-1, %eax\n"
	" movq %rax, %xmm1\n fld1\n"
	" mov $-1, %eax\n mov $-1, %edx\n xsaves64 (%rdi)\n mov 512(%rdi), %rbx\n"
	" mov 520(%rdi), %rcx\n"
	" pxor %xmm1, %xmm1\n fninit\n xrstors64 (%rdi)\n movq %xmm1, %rsi\n fnstsw %ax" DONE);
CODE64(xrstors_gp, SET_XCR0 "mov $7, %eax\n xrstors (%rdi)" DONE);
CODE64(xsaves3, "xsaves (%rdi)" DONE3);
CODE64(xss_gp, "mov $0xda0, %ecx\n mov $0x100, %eax\n xor %edx, %edx\n wrmsr" DONE);
T(xsaves, "XSAVES writes the compacted form, XRSTORS takes nothing else; CPL 0 only; IA32_XSS is 0")
{
	struct guest *g = WITH_AVX(xsaves);
	struct stop s;
	bool has = false;

	for (u32 i = 0; i < g->cpuid->nent; i++)
		if (g->cpuid->entries[i].function == 0xd && g->cpuid->entries[i].index == 1)
			has = g->cpuid->entries[i].eax & 8;
	if (!has)
		test_skip("no XSAVES");
	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.r8, 0);
	CHECK_EQ(s.r.rbx & 3, 3);
	CHECK_EQ(s.r.rcx, 0x8000000000000007);
	CHECK_EQ(s.r.rsi, 0xffffffff);
	CHECK_EQ(s.r.rax >> 11 & 7, 7);
	guest_free(g);
	g = WITH_AVX(xrstors_gp);	/* a zero header is the standard form */
	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	s = RUN_EXC(g, 13, 0);
	guest_free(g);
	g = WITH_AVX(xsaves3);
	cpu_ring3(cpu0(g), G_CODE);
	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	s = RUN_EXC(g, 13, 0);
	WITH_SREGS(cpu0(g), sr)
		sr.cr4 &= ~(1ull << 18);
	cpu_ring3(cpu0(g), G_CODE);
	s = RUN_EXC(g, 6, -1);
	guest_free(g);
	g = guest_with(M_LONG, xss_gp);
	s = RUN_EXC(g, 13, 0);
	guest_free(g);
}

/* -- CLZERO, WBNOINVD -- */

CODE64(clzero, "mov $0x10045, %eax\n .byte 0x0f, 0x01, 0xfc\n clzero_next: .byte 0xf3, 0x0f, 0x09"
       DONE);
CODE64(clzero_pf, "clzero_at: .byte 0x0f, 0x01, 0xfc" DONE);
LABEL(clzero_at);
T(clzero, "CLZERO clears the line that RAX points into, and faults like a store; WBNOINVD")
{
	struct guest *g = guest_with(M_LONG, clzero);
	struct stop s;

	if (!guest_has(g, 0x80000008, 1, 0))
		test_skip("no CLZERO");
	memset(g->ram + G_DATA, 0xaa, 256);
	s = RUN_TO(g, ST_DONE);
	for (u32 i = 0; i < 256; i++)
		CHECK_EQ(g->ram[G_DATA + i], i >= 64 && i < 128 ? 0 : 0xaa);
	guest_free(g);
	g = guest_with(M_LONG, clzero_pf);
	*guest_pte(g, G_WINDOW) &= ~(u64)(PTE_W | PTE_D);
	memset(g->ram + G_WINDOW, 0xaa, 64);
	WITH_REGS(cpu0(g), r)
		r.rax = G_WINDOW + 63;
	WITH_SREGS(cpu0(g), sr)
		sr.cr0 |= 1 << 16;
	s = RUN_EXC(g, 14, 3);
	CHECK_EQ(s.cr2, G_WINDOW);
	CHECK_EQ(s.rip, AT(clzero_pf, clzero_at));
	CHECK_EQ(g->ram[G_WINDOW], 0xaa);
	guest_free(g);
}

/* -- VAES, VPCLMULQDQ, GFNI: the host's own results -- */

#define CRYPTO "vmovdqu (%rdi), %ymm1\n vaesenc 0x20(%rdi), %ymm1, %ymm2\n" \
	" vmovdqu %ymm2, 0x100(%rdi)\n" \
	"vaesdeclast %ymm1, %ymm2, %ymm3\n vmovdqu %ymm3, 0x120(%rdi)\n" \
	"vpclmulqdq $0x11, 0x20(%rdi), %ymm1, %ymm2\n vmovdqu %ymm2, 0x140(%rdi)\n" \
	"vgf2p8mulb 0x20(%rdi), %ymm1, %ymm2\n vmovdqu %ymm2, 0x160(%rdi)\n" \
	"movdqu 0x20(%rdi), %xmm4\n gf2p8affineqb $0x5a, (%rdi), %xmm4\n" \
	" movdqu %xmm4, 0x180(%rdi)\n" \
	"vgf2p8affineinvqb $3, 0x20(%rdi), %ymm1, %ymm5\n vmovdqu %ymm5, 0x1a0(%rdi)\n"
CODE64(crypto, SET_XCR0 CRYPTO DONE);
__asm__(".text\n crypto_native:\n" CRYPTO "vzeroupper\n ret\n");
void crypto_native(u8 *m);
T(crypto, "VAES, VPCLMULQDQ and GFNI give what the host gives")
{
	static u8 m[0x200] __attribute__((aligned(64)));
	struct guest *g = WITH_AVX(crypto);

	if (!guest_has(g, 7, 2, 8) || !guest_has(g, 7, 2, 9) || !guest_has(g, 7, 2, 10))
		test_skip("the host has not all of them");
	for (u32 i = 0; i < 0x40; i++)
		m[i] = (u8)(i * 37 + 11);
	memcpy(g->ram + G_DATA, m, sizeof(m));
	crypto_native(m);
	WITH_REGS(cpu0(g), r)
		r.rdi = G_DATA;
	RUN_TO(g, ST_DONE);
	CHECK(!memcmp(g->ram + G_DATA, m, sizeof(m)));
	guest_free(g);
}

/* -- pointers to the last x87 instruction -- */

#define ENV(g, off) (*g32(g, G_DATA + 0x100 + (off)))
LABEL(xp_1); LABEL(xp_2); LABEL(xp_3);
/* A store before: who maps memory late (an L1's KVM) has the registers in between, and XSAVE drops
 * the pointers. */
CODE64(xp, "mov $0x10040, %ecx\n mov $0x10100, %edi\n mov %ecx, (%rdi)\n fninit\n fldpi\n"
	"xp_1: fldl (%rcx)\n fnstenv (%rdi)\n"
	"xp_2: fldl (%rcx)\n fnsave 0x40(%rdi)\n"
	"xp_3: fldpi\n fnstenv 0xc0(%rdi)" DONE);
LABEL(xe_i);
/* An exception that waits: FXSAVE has the pointers too, on AMD's processors only then. */
CODE64(xe, "mov $0x10040, %ecx\n mov $0x10100, %edi\n fninit\n fldcw 8(%rcx)\nxe_i: fldl (%rcx)\n"
	"fxsave64 (%rdi)" DONE);
T(pointers,
  "the pointers to the last x87 instruction are the guest's: FNSTENV, FNSAVE, FXSAVE, API")
{
	struct guest *g = guest_with(M_LONG, xp);
	struct kvm_fpu f;

	RUN_TO(g, ST_DONE);
	CHECK_EQ(ENV(g, 12), AT(xp, xp_1));
	CHECK_EQ(ENV(g, 20), 0x10040);
	CHECK((ENV(g, 16) & 0xffff) == SEL_CODE64 || !(ENV(g, 16) & 0xffff));
	CHECK_EQ(ENV(g, 0x4c), AT(xp, xp_2));
	CHECK_EQ(ENV(g, 0x54), 0x10040);
	CHECK_EQ(ENV(g, 0xcc), AT(xp, xp_3));
	guest_free(g);

	g = guest_with(M_LONG, xe);
	*g64(g, G_DATA + 0x40) = 0x7ff0000000000001;	/* a signalling NaN */
	*g16(g, G_DATA + 0x48) = 0x37e;
	RUN_TO(g, ST_DONE);
	CHECK_EQ(*g64(g, G_DATA + 0x108), AT(xe, xe_i));
	CHECK_EQ(*g64(g, G_DATA + 0x110), 0x10040);
	vcpu_ioctl(cpu0(g), KVM_GET_FPU, &f, "KVM_GET_FPU");
	CHECK_EQ(f.last_ip, AT(xe, xe_i));
	CHECK_EQ(f.last_dp, 0x10040);
}

LABEL(xc_i);
CODE64(xc, "mov $0x10ffc, %ecx\n mov $0x10100, %edi\n fninit\n fldcw 8(%rdi)\nxc_i: fldl (%rcx)\n"
	"fnstenv (%rdi)\n fninit\n fldenv 0x40(%rdi)\n fnstenv 0x80(%rdi)\n"
	"xorl $0x80000000, 0x4c(%rdi)\n fldenv 0x40(%rdi)\n fnstenv 0xc0(%rdi)" DONE);
T(pointers_slow, "... of an operand in two pages, and those that FLDENV has loaded")
{
	struct guest *g = guest_with(M_LONG, xc);

	*g64(g, G_DATA + 0xffc) = 0x7ff0000000000001;
	ENV(g, 8) = 0x37e;
	ENV(g, 0x40) = 0x37f;
	ENV(g, 0x48) = 0xffff;
	ENV(g, 0x4c) = 0x12345678;
	ENV(g, 0x54) = 0x1abcdef0;
	RUN_TO(g, ST_DONE);
	CHECK_EQ(ENV(g, 12), AT(xc, xc_i));
	CHECK_EQ(ENV(g, 20), 0x10ffc);
	/* One of the two may look as if it were code of the host's. */
	CHECK((ENV(g, 0x8c) == 0x12345678 && ENV(g, 0x94) == 0x1abcdef0) ||
	      (ENV(g, 0xcc) == 0x92345678 && ENV(g, 0xd4) == 0x1abcdef0));
}

CODE64(xv, "mov $0x10100, %edi\n fldpi" STOP(1) "movaps %xmm0, %xmm1\n fnstenv (%rdi)" STOP(1)
	"movaps %xmm0, %xmm1\n fnstenv (%rdi)" DONE);
T(pointers_vmm, "... and not those of what the VMM's thread has computed")
{
	struct guest *g = guest_with(M_LONG, xv);
	static const double d = 1.5;

	RUN_TO(g, ST_OUT);
	for (u32 i = 0; i < 2; i++) {
		__asm__ volatile("fninit; fldl %0; fstp %%st(0)" : : "m"(d));
		RUN_TO(g, i ? ST_DONE : ST_OUT);
		CHECK_EQ(ENV(g, 12), 0);
		CHECK_EQ(ENV(g, 16), 0);
		CHECK_EQ(ENV(g, 20), 0);
	}
}

LABEL(xp32_1); LABEL(xp32_2);
CODE32(xp32, "mov $0x10040, %ecx\n mov $0x10100, %edi\n mov %ecx, (%edi)\n fninit\n"
	"xp32_1: fldl (%ecx)\n fnstenv (%edi)\n"
	"xp32_2: fldl (%ecx)\n data16 fnstenv 0x40(%edi)" DONE);
LABEL(xp16_1); LABEL(xp16_2);
CODE16(xp16, "mov $0x1000, %ax\n mov %ax, %ds\n mov $0x40, %si\n mov $0x100, %di\n"
	"mov %si, (%di)\n fninit\n"
	"xp16_1: fldl (%si)\n .byte 0xd9, 0x35\n"
	"xp16_2: fldl (%si)\n .byte 0x66, 0xd9, 0x75, 0x40" DONE);
T(pointers_forms, "... in the forms of 32- and 16-bit code, protected and real mode")
{
	struct guest *g = guest_with(M_PM32, xp32);

	RUN_TO(g, ST_DONE);
	CHECK_EQ(ENV(g, 12), AT(xp32, xp32_1));
	CHECK_EQ(ENV(g, 20), 0x10040);
	CHECK_EQ(*g16(g, G_DATA + 0x146), AT(xp32, xp32_2));
	CHECK_EQ(*g16(g, G_DATA + 0x14a), 0x0040);
	guest_free(g);

	g = guest_with(M_REAL, xp16);
	RUN_TO(g, ST_DONE);
	CHECK_EQ(*g16(g, G_DATA + 0x106), AT(xp16, xp16_1) & 0xffff);
	CHECK_EQ(*g16(g, G_DATA + 0x108) >> 12, AT(xp16, xp16_1) >> 16);
	CHECK_EQ(*g16(g, G_DATA + 0x10a), 0x0040);
	CHECK_EQ(*g16(g, G_DATA + 0x10c), 0x1000);
	CHECK_EQ(ENV(g, 0x40 + 12) & 0xffff, AT(xp16, xp16_2) & 0xffff);
	CHECK_EQ(ENV(g, 0x40 + 20) & 0xffff, 0x0040);
	CHECK_EQ(ENV(g, 0x40 + 24), 0x1000);
}
