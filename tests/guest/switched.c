/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/switched.c - which exception an instruction raises that CR0.MP, EM and TS, CR4.OSFXSR
 * and OSXSAVE and XCR0 switch: every combination of them, in long, protected and real mode, against
 * the rules of APM2 11.3, APM3 and APM4 as one table.
 */
/* Run: build/standin run -- build/tests/guest/guest_switched [NAME...] */
#include "tests/guest/harness/harness.h"

enum kind { X87, WAITS, MMX, SSE, AVX, FXSR, XSAVES, XCR, VGPR, ALWAYS };

/* [rDI] in 32- and 64-bit code, [BX] in 16-bit code. */
#define M "\x07"
static const struct insn {
	const char *text;
	enum kind kind;
	/* of CPUID 7 (ebx 1, ecx 2) or 1 (ecx 12, edx 13); 0: always there */
	u8 leaf_reg, leaf_bit;
	u8 len;
	char bytes[8];
} insns[] = {
#define I(text, kind, r, bit, bytes) { text, kind, r, bit, sizeof(bytes) - 1, bytes }
	I("fld1", X87, 0, 0, "\xd9\xe8"),
	I("fld m32", X87, 0, 0, "\xd9" M),
	I("fninit", X87, 0, 0, "\xdb\xe3"),
	I("fnstsw ax", X87, 0, 0, "\xdf\xe0"),
	I("fnstcw m16", X87, 0, 0, "\xd9\x3f"),
	I("fnstenv m", X87, 0, 0, "\xd9\x37"),
	I("fnsave m", X87, 0, 0, "\xdd\x37"),
	I("fcmovb", X87, 0, 0, "\xda\xc1"),
	I("fcomi", X87, 0, 0, "\xdb\xf1"),
	I("fisttp m32", X87, 0, 0, "\xdb\x0f"),
	I("fwait", WAITS, 0, 0, "\x9b"),
	I("emms", MMX, 0, 0, "\x0f\x77"),
	I("paddb mm", MMX, 0, 0, "\x0f\xfc\xc1"),
	I("movq mm, m64", MMX, 0, 0, "\x0f\x6f" M),
	I("movd mm, r32", MMX, 0, 0, "\x0f\x6e\xc0"),
	I("pshufw mm", MMX, 0, 0, "\x0f\x70\xc1\x00"),
	I("pmovmskb r32, mm", MMX, 0, 0, "\x0f\xd7\xc1"),
	I("movntq m64, mm", MMX, 0, 0, "\x0f\xe7" M),
	I("maskmovq", MMX, 0, 0, "\x0f\xf7\xc1"),
	I("paddq mm", MMX, 0, 0, "\x0f\xd4\xc1"),
	I("pshufb mm", MMX, 12, 9, "\x0f\x38\x00\xc1"),
	I("cvtpi2ps", SSE, 0, 0, "\x0f\x2a\xc1"),
	I("cvttps2pi", SSE, 0, 0, "\x0f\x2c\xc1"),
	I("movdq2q", SSE, 0, 0, "\xf2\x0f\xd6\xc1"),
	I("movq2dq", SSE, 0, 0, "\xf3\x0f\xd6\xc1"),
	I("addps", SSE, 0, 0, "\x0f\x58\xc1"),
	I("addps m128", SSE, 0, 0, "\x0f\x58" M),
	I("movaps m128", SSE, 0, 0, "\x0f\x29" M),
	I("paddb xmm", SSE, 0, 0, "\x66\x0f\xfc\xc1"),
	I("movnti", ALWAYS, 0, 0, "\x0f\xc3" M),
	I("ldmxcsr", SSE, 0, 0, "\x0f\xae\x17"),
	I("stmxcsr", SSE, 0, 0, "\x0f\xae\x1f"),
	I("maskmovdqu", SSE, 0, 0, "\x66\x0f\xf7\xc1"),
	I("haddps", SSE, 0, 0, "\xf2\x0f\x7c\xc1"),
	I("ptest", SSE, 12, 19, "\x66\x0f\x38\x17\xc1"),
	I("aesenc", SSE, 12, 25, "\x66\x0f\x38\xdc\xc1"),
	I("pclmulqdq", SSE, 12, 1, "\x66\x0f\x3a\x44\xc1\x00"),
	I("sha1nexte", SSE, 1, 29, "\x0f\x38\xc8\xc1"),
	I("crc32", ALWAYS, 12, 20, "\xf2\x0f\x38\xf0\xc1"),
	I("popcnt", ALWAYS, 12, 23, "\xf3\x0f\xb8\xc1"),
	I("sfence", ALWAYS, 0, 0, "\x0f\xae\xf8"),
	I("lfence", ALWAYS, 0, 0, "\x0f\xae\xe8"),
	I("prefetcht0", ALWAYS, 0, 0, "\x0f\x18\x0f"),
	I("fxsave", FXSR, 0, 0, "\x0f\xae" M),
	I("fxrstor", FXSR, 0, 0, "\x0f\xae\x0f"),
	I("xsave", XSAVES, 12, 26, "\x0f\xae\x27"),
	I("xgetbv", XCR, 12, 26, "\x0f\x01\xd0"),
	I("vaddps", AVX, 12, 28, "\xc5\xf8\x58\xc1"),
	I("vaddps m256", AVX, 12, 28, "\xc5\xfc\x58" M),
	I("vzeroupper", AVX, 12, 28, "\xc5\xf8\x77"),
	I("vldmxcsr", AVX, 12, 28, "\xc5\xf8\xae\x17"),
	I("vaesenc", AVX, 12, 28, "\xc4\xe2\x79\xdc\xc1"),
	I("vpbroadcastb", AVX, 1, 5, "\xc4\xe2\x79\x78\xc1"),
	I("andn", VGPR, 1, 3, "\xc4\xe2\x78\xf2\xc1"),
	I("shlx", VGPR, 1, 8, "\xc4\xe2\x79\xf7\xc1"),
	I("mulx", VGPR, 1, 8, "\xc4\xe2\x7b\xf6\xc1"),
};

enum { MP = 2, EM = 4, TS = 8 };
enum { OSFXSR = 1 << 9, OSXSAVE = 1 << 18 };
enum { UD = 6, NM = 7 };

/* 0: none. #UD comes before #NM. */
static int wanted(enum kind k, enum mode m, u32 cr0, u32 cr4, u32 xcr0)
{
	int nm = cr0 & TS ? NM : 0;

	switch (k) {
	case X87: case FXSR:
		return cr0 & (EM | TS) ? NM : 0;
	case WAITS:
		return (cr0 & (MP | TS)) == (MP | TS) ? NM : 0;
	case MMX:
		return cr0 & EM ? UD : nm;
	case SSE:
		return cr0 & EM || !(cr4 & OSFXSR) ? UD : nm;
	case AVX:
		return m == M_REAL || !(cr4 & OSXSAVE) || (xcr0 & 6) != 6 ? UD : nm;
	case XSAVES:
		return !(cr4 & OSXSAVE) ? UD : nm;
	case XCR:
		return !(cr4 & OSXSAVE) ? UD : 0;
	case VGPR:
		return m == M_REAL ? UD : 0;
	case ALWAYS:
		break;
	}
	return 0;
}

static bool has(struct guest *g, const struct insn *in)
{
	if (!in->leaf_reg)
		return true;
	return in->leaf_reg < 10 ? guest_has(g, 7, in->leaf_reg, in->leaf_bit)
				 : guest_has(g, 1, in->leaf_reg - 10, in->leaf_bit);
}

#define G_OPERAND 0x6000	/* zeroes for FXRSTOR, as MXCSR too */

static void one(struct guest *g, enum mode m, const struct insn *in, u32 bits, u32 xcr0)
{
	static const u8 done[] = { 0xe6, PORT_DONE };
	u32 cr0 = bits & (MP | EM | TS), cr4 = (bits & 1 ? OSFXSR : 0) | (bits & 16 ? OSXSAVE : 0);
	int want = wanted(in->kind, m, cr0, cr4, xcr0);
	struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs[0].value = xcr0 };
	struct guest_cpu *c = cpu0(g);
	struct stop s;

	cpu_setup(c);
	memset(g->ram + G_OPERAND, 0, 1024);
	memcpy(g->ram + G_CODE, in->bytes, in->len);
	memcpy(g->ram + G_CODE + in->len, done, sizeof(done));
	vcpu_ioctl(c, KVM_SET_XCRS, &x, "KVM_SET_XCRS");
	WITH_SREGS(c, sr) {
		sr.cr0 = (sr.cr0 & ~(u64)(MP | EM | TS)) | cr0;
		sr.cr4 = (sr.cr4 & ~(u64)(OSFXSR | OSXSAVE)) | cr4;
	}
	WITH_REGS(c, r) {
		r.rdi = r.rbx = G_OPERAND;
		r.rax = 7;
		r.rcx = r.rdx = 0;
	}
	s = run(g);
	if (want ? s.kind != ST_EXC || s.vec != want || s.rip != G_CODE : s.kind != ST_DONE)
		test_fail(__FILE__, __LINE__, "%s in %s, cr0 %#x cr4 %#x xcr0 %u: %s, expected %d",
			  in->text, mode_name[m], cr0, cr4, xcr0, stop_text(&s), want);
}

static void all(enum mode m)
{
	struct guest *g = guest_with_code(m, "\xf4", 1);
	bool avx = guest_has(g, 1, 2, 28) && guest_has(g, 1, 2, 26);

	for (u32 i = 0; i < sizeof(insns) / sizeof(insns[0]); i++)
		for (u32 bits = 0; has(g, &insns[i]) && bits < 32; bits++)
			for (u32 xcr0 = 1; xcr0 < (avx ? 8 : 2); xcr0 = xcr0 * 2 + 1)
				if (avx || !(bits & 16))
					one(g, m, &insns[i], bits, xcr0);
}

T(long_mode, "64-bit code: each instruction with each combination")
{
	all(M_LONG);
}

T(protected, "32-bit code")
{
	all(M_PM32);
}

T(real, "16-bit code in real mode")
{
	all(M_REAL);
}
