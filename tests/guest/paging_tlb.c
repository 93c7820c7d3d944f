/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/paging_tlb.c - accessed and dirty bits, what flushes a translation, and
 * accesses over a page boundary (APM2 5.4.2, 5.5; SDM3 4.8, 4.10).
 */
/* Run: build/standin run -- build/tests/guest/guest_paging_tlb [NAME...] */
#include "tests/guest/harness/harness.h"

#define VA 0x300000ull
#define VA2 0x301000ull
#define OTHER 0x310000ull

/* -- accessed and dirty -- */
CODE64(ad, "mov (%rdi), %eax" STOP(1) "mov %eax, (%rdi)" STOP(2) "mov (%rdi), %eax" DONE);

T(ad64, "A is set by a read, D by a write")
{
	struct guest *g = guest_with(M_LONG, ad);
	u64 *pte = guest_pte(g, VA);

	WITH_REGS(cpu0(g), r)
		r.rdi = VA;
	CHECK_EQ(*pte & (PTE_A | PTE_D), 0);
	RUN_TO(g, ST_OUT);
	CHECK_EQ(*pte & (PTE_A | PTE_D), PTE_A);
	run(g);
	CHECK_EQ(*pte & (PTE_A | PTE_D), PTE_A | PTE_D);
	RUN_TO(g, ST_DONE);
}

CODE32(ad32, "mov (%edi), %eax" STOP(1) "mov %eax, (%edi)" DONE);
static void ad_large(enum mode m)
{
	struct guest *g = m == M_LONG ? guest_with(m, ad) : guest_with(m, ad32);
	u8 *pde = m == M_LONG ? g->ram + G_PT + 0x2000 + 8 * 3 : g->ram + G_PT + 4 * 2;

	WITH_REGS(cpu0(g), r)
		r.rdi = m == M_LONG ? 0x600000 : 0x800000;
	RUN_TO(g, ST_OUT);
	CHECK_EQ(*pde & (PTE_A | PTE_D), PTE_A);
	run(g);
	CHECK_EQ(*pde & (PTE_A | PTE_D), PTE_A | PTE_D);
}
T(ad_2m, "A and D of a 2 MiB page") { ad_large(M_LONG); }
T(ad_4m, "A and D of a 4 MiB page") { ad_large(M_PG32); }

CODE64(ad_clear, "mov %eax, (%rdi)\n andl $~0x60, (%rsi)\n invlpg (%rdi)\n mov (%rdi), %eax" DONE);
T(ad_again, "cleared A and D are set again after INVLPG, by need")
{
	struct guest *g = guest_with(M_LONG, ad_clear);

	WITH_REGS(cpu0(g), r) {
		r.rdi = VA;
		r.rsi = (u64)((u8 *)guest_pte(g, VA) - g->ram);
	}
	RUN_TO(g, ST_DONE);
	CHECK_EQ(*guest_pte(g, VA) & (PTE_A | PTE_D), PTE_A);
}

CODE64(rmw_fault, "lock addl $1, (%rdi)" DONE);
T(no_dirty_on_fault, "a write that faults sets no D")
{
	struct guest *g = guest_with(M_LONG, rmw_fault);

	*guest_pte(g, VA) &= ~(u64)PTE_W;
	WITH_SREGS(cpu0(g), sr)
		sr.cr0 |= 1u << 16;
	WITH_REGS(cpu0(g), r)
		r.rdi = VA;
	RUN_EXC(g, 14, 3);
	CHECK_EQ(*guest_pte(g, VA) & PTE_D, 0);
}

/* -- flushing: change a PTE, flush in some way, look which page answers -- */
CODE64(remap_invlpg, "mov (%rdi), %eax\n mov %rdx, (%rsi)\n invlpg (%rdi)\n mov (%rdi), %ebx" DONE);
CODE64(remap_cr3, "mov (%rdi), %eax\n mov %rdx, (%rsi)\n mov %cr3, %rcx\n mov %rcx, %cr3\n"
	" mov (%rdi), %ebx" DONE);
CODE64(remap_pge, "mov (%rdi), %eax\n mov %rdx, (%rsi)\n mov %cr4, %rcx\n xor $0x80, %cl\n"
	" mov %rcx, %cr4\n mov (%rdi), %ebx\n xor $0x80, %cl\n mov %rcx, %cr4" DONE);

static void remap(const void *code, u32 n, u64 bits, u64 cr4, u64 want)
{
	struct guest *g = guest_with_code(M_LONG, code, n);
	u64 *pte = guest_pte(g, VA);
	struct stop s;

	*g32(g, VA) = 0x11;
	*g32(g, OTHER) = 0x22;
	*pte |= bits;
	WITH_SREGS(cpu0(g), sr)
		sr.cr4 |= cr4;
	WITH_REGS(cpu0(g), r) {
		r.rdi = VA;
		r.rsi = (u64)((u8 *)pte - g->ram);
		r.rdx = OTHER | (*pte & 0xfff);
	}
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rax, 0x11);
	if (want)
		CHECK_EQ(s.r.rbx, want);
	guest_free(g);
}
#define REMAP(snip, bits, cr4, want) remap(snip##_b, LEN(snip), bits, cr4, want)
T(remap_invlpg, "INVLPG drops a translation") { REMAP(remap_invlpg, 0, 0, 0x22); }
T(remap_invlpg_g, "INVLPG drops a global translation") { REMAP(remap_invlpg, PTE_G, 0x80, 0x22); }
T(remap_cr3, "MOV CR3 drops a translation") { REMAP(remap_cr3, 0, 0, 0x22); }
T(remap_cr3_nog, "MOV CR3 drops a G page without CR4.PGE") { REMAP(remap_cr3, PTE_G, 0, 0x22); }
/* Keeping it is allowed, not required. */
T(remap_cr3_g, "MOV CR3 with a global page") { REMAP(remap_cr3, PTE_G, 0x80, 0); }
T(remap_pge, "a change of CR4.PGE drops global pages") { REMAP(remap_pge, PTE_G, 0x80, 0x22); }

/* The same for code: a function page is exchanged under a warm loop. */
CODE64(remap_code,
	"mov $3000, %ecx\n xor %eax, %eax\n 1: call *%rdi\n dec %ecx\n jnz 1b\n"
	" mov %rdx, (%rsi)\n invlpg (%rdi)\n"
	" mov $3000, %ecx\n xor %ebx, %ebx\n xchg %eax, %ebx\n 2: call *%rdi\n dec %ecx\n jnz 2b"
	DONE);
T(remap_code, "INVLPG also drops execute translations of warm code")
{
	static const u8 one[] = { 0xff, 0xc0, 0xc3 }, two[] = { 0x83, 0xc0, 0x02, 0xc3 };
	struct guest *g = guest_with(M_LONG, remap_code);
	struct stop s;

	guest_write(g, VA, one, sizeof(one));
	guest_write(g, OTHER, two, sizeof(two));
	WITH_REGS(cpu0(g), r) {
		r.rdi = VA;
		r.rsi = (u64)((u8 *)guest_pte(g, VA) - g->ram);
		r.rdx = OTHER | 7;
	}
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rbx, 3000);
	CHECK_EQ(s.r.rax, 6000);
}

/* -- PCID: two address spaces, the same linear page -- */
CODE64(pcid,
	"mov %rsi, %cr3\n mov (%rdi), %eax\n mov %rdx, %cr3\n mov (%rdi), %ebx\n"
	" bts $63, %rsi\n mov %rsi, %cr3\n mov (%rdi), %ecx" DONE);
T(pcid, "PCIDs keep address spaces apart, also without a flush")
{
	struct guest *g = guest_with(M_LONG, pcid);
	const u64 pd = G_PT + 0x2000, copy = 0x500000;
	struct stop s;

	if (!guest_has(g, 1, 2, 17))
		test_skip("no PCID");
	/* A second set of tables in which VA leads to OTHER. */
	memcpy(g->ram + copy, g->ram + G_PT, 0x5000);
	*g64(g, copy) = (copy + 0x1000) | 7;
	*g64(g, copy + 0x1000) = (copy + 0x2000) | 7;
	*g64(g, copy + 0x2008) = (copy + 0x4000) | 7;
	*g64(g, copy + 0x4000 + 8 * ((VA - 0x200000) >> 12)) = OTHER | 7;
	(void)pd;
	*g32(g, VA) = 0x11;
	*g32(g, OTHER) = 0x22;
	WITH_SREGS(cpu0(g), sr)
		sr.cr4 |= 1u << 17 | 0x80;
	WITH_REGS(cpu0(g), r) {
		r.rdi = VA;
		r.rsi = G_PT | 1;
		r.rdx = copy | 2;
	}
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rax, 0x11);
	CHECK_EQ(s.r.rbx, 0x22);
	CHECK_EQ(s.r.rcx, 0x11);
}

/* -- page-crossing accesses -- */
CODE64(cross_read, "mov $0x77, %eax\n mov (%rdi), %rax" DONE);
CODE64(cross_write, "mov %rax, (%rdi)" DONE);
CODE64(cross_rmw, "add %rax, (%rdi)" DONE);
CODE64(cross_sse, "movdqu (%rdi), %xmm0\n movdqu %xmm0, (%rsi)" DONE);

T(cross_ok, "accesses over a page boundary reach both pages")
{
	struct guest *g = guest_with(M_LONG, cross_rmw);

	/* The two linear pages are not neighbours in physical memory. */
	*guest_pte(g, VA2) = OTHER | 7;
	*g64(g, VA + 0xff8) = 0x00000000ffffffff;
	memset(g->ram + VA + 0xffc, 0xff, 4);
	memset(g->ram + OTHER, 0, 16);
	WITH_REGS(cpu0(g), r) {
		r.rdi = VA + 0xffc;
		r.rax = 1;
	}
	RUN_TO(g, ST_DONE);
	CHECK_EQ(*g32(g, VA + 0xffc), 0);
	CHECK_EQ(*g32(g, OTHER), 1);
	guest_free(g);

	g = guest_with(M_LONG, cross_sse);
	*guest_pte(g, VA2) = OTHER | 7;
	memset(g->ram + VA + 0xff0, 0x11, 16);
	memset(g->ram + OTHER, 0x22, 16);
	WITH_REGS(cpu0(g), r) {
		r.rdi = VA + 0xff8;
		r.rsi = G_DATA;
	}
	RUN_TO(g, ST_DONE);
	CHECK_EQ(*g64(g, G_DATA), 0x1111111111111111);
	CHECK_EQ(*g64(g, G_DATA + 8), 0x2222222222222222);
}

static void cross_fault(const void *code, u32 n, bool missing_first, u32 err)
{
	struct guest *g = guest_with_code(M_LONG, code, n);
	struct stop s;

	memset(g->ram + VA + 0xff0, 0x5a, 16);
	memset(g->ram + VA2, 0x5a, 16);
	*guest_pte(g, missing_first ? VA : VA2) &= ~(u64)PTE_P;
	WITH_REGS(cpu0(g), r) {
		r.rdi = VA + 0xffc;
		r.rsi = G_DATA;
		r.rax = 0x1234;
	}
	s = RUN_EXC(g, 14, err);
	CHECK_EQ(s.cr2, missing_first ? VA + 0xffc : VA2);
	/* Nothing of a store may be visible when its second half faults. */
	CHECK_EQ(*g64(g, VA + 0xff8), 0x5a5a5a5a5a5a5a5a);
	CHECK_EQ(*g64(g, VA2), 0x5a5a5a5a5a5a5a5a);
	guest_free(g);
}
T(cross_fault, "a fault on either page of a crossing access, nothing done")
{
	for (int first = 0; first < 2; first++) {
		cross_fault(cross_read_b, LEN(cross_read), first, 0);
		cross_fault(cross_write_b, LEN(cross_write), first, 2);
		cross_fault(cross_rmw_b, LEN(cross_rmw), first, 2);
		cross_fault(cross_sse_b, LEN(cross_sse), first, 0);
	}
}

CODE64(jump_to, "jmp *%rdi" DONE);
T(cross_code, "an instruction over a page boundary, second page absent, then present")
{
	static const u8 mov[] = { 0xb8, 0x78, 0x56, 0x34, 0x12, 0xe6, PORT_DONE };
	struct guest *g = guest_with(M_LONG, jump_to);
	struct stop s;

	guest_write(g, VA + 0xffe, mov, sizeof(mov));
	*guest_pte(g, VA2) &= ~(u64)PTE_P;
	WITH_SREGS(cpu0(g), sr)
		sr.efer |= 0x800;
	WITH_REGS(cpu0(g), r)
		r.rdi = VA + 0xffe;
	s = RUN_EXC(g, 14, 0x10);
	CHECK_EQ(s.rip, VA + 0xffe);
	CHECK_EQ(s.cr2, VA2);
	*guest_pte(g, VA2) |= PTE_P;
	cpu_resume(cpu0(g), &s, s.rip);
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rax, 0x12345678);
}

/* -- reserved bits above the tables' leaves, missing upper levels -- */
CODE64(read_di, "mov (%rdi), %eax" DONE);
T(levels, "a missing entry at any level; non-canonical addresses")
{
	struct guest *g = guest_with(M_LONG, read_di);
	struct stop s;

	WITH_REGS(cpu0(g), r) r.rdi = 0x80000000;	/* no PDPT entry */
	s = RUN_EXC(g, 14, 0);
	CHECK_EQ(s.cr2, 0x80000000);
	guest_free(g);
	g = guest_with(M_LONG, read_di);
	WITH_REGS(cpu0(g), r)
		r.rdi = 0xffff800000000000;
	s = RUN_EXC(g, 14, 0);
	CHECK_EQ(s.cr2, 0xffff800000000000);
	guest_free(g);
	g = guest_with(M_LONG, read_di);
	WITH_REGS(cpu0(g), r)
		r.rdi = 0x800000000000;
	s = RUN_EXC(g, 13, 0);
	guest_free(g);
	/* A large page with a bit set below its address: reserved. */
	g = guest_with(M_LONG, read_di);
	*g64(g, G_PT + 0x2000 + 8 * 3) |= 1u << 14;
	WITH_REGS(cpu0(g), r)
		r.rdi = 0x600000;
	s = RUN_EXC(g, 14, 9);
}
