/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/slow.c - memory operands that are carried out by themselves (engine/slow.c): what they
 * leave in memory when the instruction stores less than its operand, or nothing.
 */
#include "tests/guest/harness/harness.h"

/* Two pages that are neighbours, and whose memory is apart: nothing can be done in place. */
#define SPLIT_LO (G_WINDOW + 0x10000)
#define SPLIT_HI (SPLIT_LO + 0x1000)
static void split_pages(struct guest *g)
{
	*guest_pte(g, SPLIT_LO) = (G_WINDOW + 0x20000) | PTE_P | PTE_W | PTE_U;
	*guest_pte(g, SPLIT_HI) = (G_WINDOW + 0x30000) | PTE_P | PTE_W | PTE_U;
}
static void split_write(struct guest *g, u64 va, const u8 *p, u32 n)
{
	for (u32 i = 0; i < n; i++)
		g->ram[(*guest_pte(g, va + i) & PTE_ADDR) + (va + i) % 4096] = p[i];
}
static void split_read(struct guest *g, u64 va, u8 *p, u32 n)
{
	for (u32 i = 0; i < n; i++)
		p[i] = g->ram[(*guest_pte(g, va + i) & PTE_ADDR) + (va + i) % 4096];
}

/*
 * A store of the x87 that raises an unmasked exception is not carried out, except for precision
 * (SDM1 8.5; APM1 6.8.2). Everything that stores, with every exception unmasked by itself and
 * all together, in one page and over two.
 */
static const struct x87_store {
	u8 opcode, reg, size;
} x87_stores[] = {
	{ 0xd9, 2, 4 }, { 0xd9, 3, 4 }, { 0xdd, 2, 8 }, { 0xdd, 3, 8 }, { 0xdb, 7, 10 },
	{ 0xdb, 2, 4 }, { 0xdb, 3, 4 }, { 0xdf, 2, 2 }, { 0xdf, 3, 2 }, { 0xdf, 7, 8 },
	{ 0xdb, 1, 4 }, { 0xdd, 1, 8 }, { 0xdf, 1, 2 }, { 0xdf, 6, 10 },
};
CODE64(x87_store, "addq $0, (%rdi)\n fninit\n fldcw (%rbx)\n test %ecx, %ecx\n jnz 1f\n fldt 16(%rbx)\n"
	"1: xs_op: .byte 0x90, 0x90\n fnstsw %ax\n fnclex" DONE);
LABEL(xs_op);
static struct stop x87_run(struct guest *g, u16 cw, const u8 value[10], bool empty, u64 at)
{
	*g16(g, G_DATA) = cw;
	if (value)
		memcpy(g->ram + G_DATA + 16, value, 10);
	WITH_REGS(cpu0(g), r) {
		r.rip = G_CODE;
		r.rbx = G_DATA;
		r.rcx = empty;
		r.rsi = at;
		r.rdi = SPLIT_HI - 4;	/* what a bounce buffer would remember */
	}
	return run(g);
}
TEST(x87_skipped, "x87 stores that an exception keeps from memory, in one page and in two")
{
	static const u8 values[][10] = {
		{ 0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f },			/* 1 */
		{ 0x35, 0xc2, 0x68, 0x21, 0xa2, 0xda, 0x0f, 0xc9, 0x00, 0x40 },	/* pi */
		{ 0, 0, 0, 0, 0, 0, 0, 0x80, 0x00, 0x41 },			/* 2^257 */
		{ 0, 0, 0, 0, 0, 0, 0, 0x80, 0xf0, 0x7f },			/* beyond doubles */
		{ 0x35, 0xc2, 0x68, 0x21, 0xa2, 0xda, 0x0f, 0xc9, 0x10, 0x00 },	/* tiny */
		{ 1, 0, 0, 0, 0, 0, 0, 0, 0, 0 },				/* denormal */
		{ 1, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x7f },			/* signalling NaN */
		{ 0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff },			/* NaN */
	};
	static const u16 unmasked[] = { 0, 1, 2, 8, 16, 32, 0x3f, 0x18, 0x38 };
	struct guest *g = guest_with(M_LONG, x87_store);
	u64 at[] = { G_WINDOW + 0x800, SPLIT_HI - 1 };
	u32 skipped = 0;

	split_pages(g);
	for (u32 i = 0; i < ARRAY_SIZE(x87_stores); i++) {
		const struct x87_store *x = &x87_stores[i];
		u8 op[2] = { x->opcode, (u8)(x->reg << 3 | 6) };

		guest_write(g, AT(x87_store, xs_op), op, 2);
		for (u32 k = 0; k < (ARRAY_SIZE(values) + 1) * ARRAY_SIZE(unmasked); k++) {
			u32 n = k / ARRAY_SIZE(unmasked);
			u16 cw = 0x37f & ~unmasked[k % ARRAY_SIZE(unmasked)];
			const u8 *v = n < ARRAY_SIZE(values) ? values[n] : NULL;
			u8 was[16], got[2][16];
			struct stop s[2];
			bool same;

			memset(was, 0xa5, sizeof(was));
			for (u32 j = 0; j < 2; j++) {
				split_write(g, SPLIT_HI - 4, (const u8 *)"kernels secret", 14);
				split_write(g, at[j], was, sizeof(was));
				s[j] = x87_run(g, cw, v, !v, at[j]);
				CHECK_STOP(s[j], ST_DONE);
				split_read(g, at[j], got[j], sizeof(was));
			}
			skipped += !memcmp(got[0], was, sizeof(was));
			same = !memcmp(got[0], got[1], sizeof(was)) && s[0].r.rax == s[1].r.rax;
			if (!same)
				test_fail(__FILE__, __LINE__, "%02x /%u cw %x value %u: %02x%02x.. sw %llx in one page, "
					  "%02x%02x.. sw %llx in two", x->opcode, x->reg, cw, n, got[0][0], got[0][1],
					  s[0].r.rax, got[1][0], got[1][1], s[1].r.rax);
		}
	}
	CHECK(skipped > 100);
}
