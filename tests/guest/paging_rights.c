/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/paging_rights.c - who may read, write and execute a page, and the
 * error code of #PF when not (APM2 5.6, 8.2.15; SDM3 4.6, 4.7).
 *
 * Every row runs a loop over pointers whose last one is the page in question,
 * so that the access that faults was translated and taken many times before.
 */
/* Run: build/standin run -- build/tests/guest/guest_paging_rights [NAME...] */
#include <stdlib.h>

#include "tests/guest/harness/harness.h"

enum access { R, W, X };
enum { USER = 1, WP = 2, SMEP = 4, SMAP = 8, AC = 16, NXE = 32, NO_NXE = 0 };
enum { OK = -1 };
#define PAGE_VA 0x300000ull
#define GOOD_VA 0x280000ull

CODE64(read64, "1: mov (%rsi), %rdi\n add $8, %rsi\n read64_at: mov 8(%rdi), %rax\n"
	" dec %ecx\n jnz 1b\n" DONE3);
CODE64(write64, "1: mov (%rsi), %rdi\n add $8, %rsi\n write64_at: mov %rcx, 8(%rdi)\n"
	" dec %ecx\n jnz 1b\n" DONE3);
CODE64(exec64, "1: mov (%rsi), %rdi\n add $8, %rsi\n call *%rdi\n dec %ecx\n jnz 1b\n" DONE3);
CODE32(read32, "1: mov (%esi), %edi\n add $8, %esi\n read32_at: mov 8(%edi), %eax\n"
	" dec %ecx\n jnz 1b\n" DONE3);
CODE32(write32, "1: mov (%esi), %edi\n add $8, %esi\n write32_at: mov %ecx, 8(%edi)\n"
	" dec %ecx\n jnz 1b\n" DONE3);
CODE32(exec32, "1: mov (%esi), %edi\n add $8, %esi\n call *%edi\n dec %ecx\n jnz 1b\n" DONE3);
LABEL(read64_at);
LABEL(write64_at);
LABEL(read32_at);
LABEL(write32_at);

struct row {
	enum access acc;
	u32 how;
	u64 pte;	/* low bits and NX of the page's entry */
	int err;	/* expected error code, or OK */
};

static const struct row rows[] = {
	{ R, 0, 0, 0 },
	{ W, 0, 0, 2 },
	{ X, NXE, 0, 0x10 },
	{ R, USER, 0, 4 },
	{ W, USER, 0, 6 },
	{ X, USER | NXE, 0, 0x14 },
	{ R, 0, PTE_P, OK },
	{ W, 0, PTE_P, OK },			/* supervisor ignores R/W when WP = 0 */
	{ W, WP, PTE_P, 3 },
	{ W, WP, PTE_P | PTE_U, 3 },
	{ W, WP, PTE_P | PTE_W, OK },
	{ R, USER, PTE_P | PTE_W, 5 },
	{ W, USER, PTE_P | PTE_W, 7 },
	{ X, USER | NXE, PTE_P | PTE_W, 0x15 },
	{ W, USER, PTE_P | PTE_U, 7 },
	{ R, USER, PTE_P | PTE_U, OK },
	{ W, USER, PTE_P | PTE_U | PTE_W, OK },
	{ X, NXE, PTE_P | PTE_NX, 0x11 },
	{ X, USER | NXE, PTE_P | PTE_U | PTE_NX, 0x15 },
	{ R, NXE, PTE_P | PTE_NX, OK },
	{ X, NXE, PTE_P, OK },
	{ X, USER | NXE, PTE_P | PTE_U, OK },
	{ X, SMEP, PTE_P | PTE_U, 0x11 },	/* SMEP reports I/D without NXE too */
	{ X, SMEP, PTE_P, OK },
	{ X, SMEP | USER, PTE_P | PTE_U, OK },
	{ R, SMEP, PTE_P | PTE_U, OK },
	{ R, SMAP, PTE_P | PTE_U, 1 },
	{ W, SMAP, PTE_P | PTE_U | PTE_W, 3 },
	{ R, SMAP | AC, PTE_P | PTE_U, OK },
	{ R, SMAP, PTE_P, OK },
	{ R, SMAP | USER, PTE_P | PTE_U, OK },
	{ R, NO_NXE, PTE_P | PTE_NX, 9 },	/* NX is reserved while NXE = 0 */
	{ W, NO_NXE, PTE_P | PTE_W | PTE_NX, 11 },
	{ R, USER, PTE_P | PTE_U | PTE_NX, 13 },
};

/* Whether the row makes sense in this mode on this CPU. */
static bool applies(struct guest *g, const struct row *r)
{
	if (g->mode == M_PG32 && (r->pte & PTE_NX || r->how & NXE))
		return false;
	if (r->how & SMEP && !guest_has(g, 7, 1, 7))
		return false;
	return !(r->how & SMAP) || guest_has(g, 7, 1, 20);
}

static void put_code(struct guest *g, enum access a)
{
	if (g->mode == M_LONG) {
		switch (a) {
		case R: guest_load(g, G_CODE, read64); break;
		case W: guest_load(g, G_CODE, write64); break;
		case X: guest_load(g, G_CODE, exec64); break;
		}
		return;
	}
	switch (a) {
	case R: guest_load(g, G_CODE, read32); break;
	case W: guest_load(g, G_CODE, write32); break;
	case X: guest_load(g, G_CODE, exec32); break;
	}
}

static u64 fault_rip(const struct guest *g, enum access a)
{
	bool is64 = g->mode == M_LONG;

	switch (a) {
	case R: return is64 ? AT(read64, read64_at) : AT(read32, read32_at);
	case W: return is64 ? AT(write64, write64_at) : AT(write32, write32_at);
	default: return PAGE_VA;
	}
}

/* Our own code and data follow the ring; tables and handlers are the supervisor's. */
static void own_pages_to(struct guest *g, bool user)
{
	for (u64 va = 0; va < G_WINDOW; va += 4096) {
		u32 *lo = g->mode == M_PG32 ? guest_pte32(g, va) : (u32 *)guest_pte(g, va);

		*lo = user && va >= G_CODE ? *lo | PTE_U : *lo & ~(u32)PTE_U;
	}
}

static void set_pte(struct guest *g, u64 va, u64 bits)
{
	if (g->mode == M_PG32)
		*guest_pte32(g, va) = (u32)(va | bits);
	else
		*guest_pte(g, va) = va | bits;
}

static void one(enum mode m, const struct row *r, int i, u32 warm)
{
	struct guest *g = guest_new(m);
	struct guest_cpu *c = cpu0(g);
	bool user = r->how & USER;
	struct stop s;

	if (!applies(g, r)) {
		guest_free(g);
		return;
	}
	put_code(g, r->acc);
	own_pages_to(g, user);
	set_pte(g, GOOD_VA, PTE_P | PTE_W | (user ? PTE_U : 0));
	set_pte(g, PAGE_VA, r->pte);
	g->ram[GOOD_VA] = g->ram[PAGE_VA] = 0xc3;	/* RET, in every mode */
	for (u32 k = 0; k < warm; k++)
		*g64(g, G_DATA + 8 * k) = GOOD_VA;
	*g64(g, G_DATA + 8 * warm) = PAGE_VA;
	if (user)
		cpu_ring3(c, G_CODE);
	WITH_SREGS(c, s1) {
		s1.cr0 = r->how & WP ? s1.cr0 | 1u << 16 : s1.cr0 & ~(1ull << 16);
		s1.cr4 |= (r->how & SMEP ? 1u << 20 : 0) | (r->how & SMAP ? 1u << 21 : 0);
		if (m != M_PG32)
			s1.efer = r->how & NXE ? s1.efer | 0x800 : s1.efer & ~0x800ull;
	}
	WITH_REGS(c, regs) {
		regs.rsi = G_DATA;
		regs.rcx = warm + 1;
		regs.rax = 0x1234;
		regs.rflags |= r->how & AC ? 1u << 18 : 0;
	}
	s = run(g);
	if (r->err == OK) {
		if (s.kind != ST_EXC || s.vec != VEC_DONE3)
			test_fail(__FILE__, __LINE__, "row %d, %s, warm %u: %s", i, mode_name[m],
				  warm, stop_text(&s));
	} else if (s.kind != ST_EXC || s.vec != 14 || s.err != (u32)r->err ||
		   s.rip != fault_rip(g, r->acc) ||
		   s.cr2 != (r->acc == X ? PAGE_VA : PAGE_VA + 8) || s.r.rcx != 1) {
		test_fail(__FILE__, __LINE__, "row %d, %s, warm %u: %s; expected #PF(%#x) at %llx",
			  i, mode_name[m], warm, stop_text(&s), r->err,
			  (unsigned long long)fault_rip(g, r->acc));
	}
	guest_free(g);
}

static void all(enum mode m)
{
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		one(m, &rows[i], (int)i, 0);
		one(m, &rows[i], (int)i, WARM);
	}
}

T(rights64, "page rights in long mode") { all(M_LONG); }
T(rightspae, "page rights under PAE") { all(M_PAE); }
T(rights32, "page rights under 32-bit paging") { all(M_PG32); }

CODE64(narrow, "mov $0x300000, %rsi\n narrow_at: mov (%rsi), %rax" DONE);
LABEL(narrow_at);
T(narrow, "address bits beyond the guest's own MAXPHYADDR are reserved: #PF 9")
{
	static const struct {
		u64 bit;
		u32 level;	/* of the entry: 0 a page's, 1 a table's */
		bool fault;
	} x[] = { { BIT64(36), 0, true },
		  { BIT64(35), 0, false },
		  { BIT64(51), 0, true },
		  { BIT64(36), 1, true } };

	for (u32 i = 0; i < ARRAY_SIZE(x); i++) {
		struct guest *g = guest_with(M_LONG, narrow);
		u64 table, *e = NULL;
		struct stop s;

		for (u32 k = 0; k < g->cpuid->nent; k++)
			if (g->cpuid->entries[k].function == 0x80000008)
				g->cpuid->entries[k].eax = (g->cpuid->entries[k].eax & ~0xffu) | 36;
		vcpu_ioctl(cpu0(g), KVM_SET_CPUID2, g->cpuid, "KVM_SET_CPUID2");
		table = cpu_sregs(cpu0(g)).cr3;
		for (u32 level = 3;; level--) {
			e = (u64 *)(void *)(g->ram + table +
					    8 * (PAGE_VA >> (12 + 9 * level) & 511));
			if (level == x[i].level)
				break;
			table = *e & PTE_ADDR;
		}
		*e |= x[i].bit;
		s = run(g);
		if (x[i].fault) {
			CHECK_EXC(s, 14, 9);
			CHECK_EQ(s.rip, AT(narrow, narrow_at));
		} else {
			CHECK_STOP(s, ST_MMIO);
			CHECK_EQ(s.gpa, PAGE_VA | x[i].bit);
		}
		guest_free(g);
	}
}
