/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/fuzz_paging.c - random page tables against a model of the rules: which access faults,
 * with which error code and address, and which accessed and dirty bits are set afterwards (APM2 5.4
 * to 5.6, 8.2.15).
 *
 * Six entries are a case: those of all levels for an operand that may lie in two pages, below two
 * page directory entries. The guest writes them, goes to the ring, executes and notes what came of
 * it: one instruction of each kind, or a random sequence of loads and stores, made anew for each
 * batch. All memory behind the entries holds one pattern, which every operation leaves as it is.
 */
/* Run: build/standin run -- build/tests/fuzz/fuzz_paging --count 100000 */
#include "tests/fuzz/model.h"

#define CASES 0x700000
#define RESULTS 0x800000
#define T_PDPT 0x500000
#define T_PD 0x501000
#define T_PT1 0x502000
#define T_PT2 0x503000
/* The 4 KiB frames and the 2 MiB ones. */
#define FRAMES 0x600000
#define BIG 0xa00000
#define BATCH_CASES 4096
#define SEQ_CODE 0x50000
#define SEQ_BYTES 64
/* Seven prefixes and RET. */
#define PATTERN 0xc366666666666666ull
/* The last page below one page directory entry, and the first below the next. */
#define PAGE1 ((8ull << 39) | (3ull << 30) | (5ull << 21) | (511ull << 12))
#define PAGE2 (PAGE1 + 0x1000)
/* The guest's own memory again, where ring 3 may go; at its own address it may not. */
#define ALIAS (9ull << 39)

enum { SEQS = 64, SEQ_MAX_INSNS = 8 };
enum { E_PML4, E_PDPT, E_PD1, E_PD2, E_PT1, E_PT2, ENTRIES };

struct fuzz_case {
	u64 e[ENTRIES];
	u64 rsi, rdi, rdx;		/* 48, 56, 64 */
	u64 ss, rsp, flags, cs, rip;	/* 72 to 104 */
	u32 op;		/* from OPS on: a sequence */
	bool user;
	u8 pad[11];
};
struct fuzz_result {
	u32 vec, err;
	u64 cr2, rip, rax;		/* 8, 16, 24 */
	u64 e[ENTRIES];			/* 32 */
	u64 pad[6];
};
_Static_assert(sizeof(struct fuzz_case) == 128 && sizeof(struct fuzz_result) == 128, "tables");

/* First operand at RSI, second at RDI: how each is used. */
enum { NO, RD, WR, EX };
/* name, first, bytes of it, second, code */
#define OPS(X)										\
	X(mov_load, RD, 8, NO, "mov (%rsi), %rax") X(mov_store, WR, 8, NO, "mov %rdx, (%rsi)")	\
	X(add, WR, 8, NO, "addq $0, (%rsi)") X(lock_add, WR, 8, NO, "lock addq $0, (%rsi)")	\
	X(xchg, WR, 8, NO, "xchg %rdx, (%rsi)") X(bt, RD, 8, NO, "btq $1, (%rsi)")		\
	X(bts, WR, 8, NO, "btsq $1, (%rsi)") X(cmp, RD, 8, NO, "cmpq $1, (%rsi)")		\
	X(cmpxchg_no, WR, 8, NO, "xor %eax, %eax\n cmpxchg %rdx, (%rsi)")			\
	X(cmpxchg_yes, WR, 8, NO, "mov %rdx, %rax\n lock cmpxchg %rdx, (%rsi)")			\
	X(movq_load, RD, 8, NO, "movq (%rsi), %xmm0")						\
	X(movq_store, WR, 8, NO, "movq %rdx, %xmm0\n movq %xmm0, (%rsi)")			\
	X(fild, RD, 8, NO, "fninit\n fildq (%rsi)")						\
	X(fistp, WR, 8, NO, "fninit\n push %rdx\n fildq (%rsp)\n pop %rdx\n fistpq (%rsi)")	\
	X(push_mem, RD, 8, NO, "pushq (%rsi)") X(pop_mem, WR, 8, NO, "push %rdx\n popq (%rsi)")	\
	X(push, WR, 8, NO, "lea 8(%rsi), %rsp\n push %rdx") \
	X(pop, RD, 8, NO, "mov %rsi, %rsp\n pop %rax") \
	X(lods, RD, 8, NO, "lodsq") X(stos, WR, 8, NO, "mov %rsi, %rdi\n mov %rdx, %rax\n stosq") \
	X(movs, RD, 8, WR, "movsq") X(rep_movs, RD, 8, WR, "mov $1, %ecx\n rep movsq")		\
	X(cmps, RD, 8, RD, "cmpsq") X(clflush, RD, 1, NO, "clflush (%rsi)")			\
	X(setc, WR, 1, NO, "movb $0x66, (%rsi)") X(call, EX, 8, NO, "call *%rsi")		\
	/* several accesses of one translated run of code */					\
	X(two_loads, RD, 8, RD, "mov (%rsi), %rax\n mov (%rdi), %rcx")				\
	X(load_store, RD, 8, WR, "mov (%rsi), %rax\n mov %rdx, (%rdi)")				\
	X(store_load, WR, 8, RD, "mov %rdx, (%rsi)\n mov (%rdi), %rcx")				\
	X(two_stores, WR, 8, WR, "mov %rdx, (%rsi)\n mov %rdx, (%rdi)")

#define X(name, first, bytes, second, code) #name "_0: " code "\n int $0x30\n" #name "_1:\n"
CODE64(loop,
	"page_next:\n"
	"	mov " S(V_NEXT) ", %ebp\n"
	"	cmp " S(V_COUNT) ", %ebp\n"
	"	jae 9f\n"
	"	shl $7, %rbp\n"
	"	lea " S(CASES) "(%rbp), %rbx\n"
	"	mov (%rbx), %rax\n	mov %rax, 0x100040\n"
	"	mov 8(%rbx), %rax\n	mov %rax, " S(T_PDPT) " + 24\n"
	"	mov 16(%rbx), %rax\n	mov %rax, " S(T_PD) " + 40\n"
	"	mov 24(%rbx), %rax\n	mov %rax, " S(T_PD) " + 48\n"
	"	mov 32(%rbx), %rax\n	mov %rax, " S(T_PT1) " + 8 * 511\n"
	"	mov 40(%rbx), %rax\n	mov %rax, " S(T_PT2) "\n"
	"	mov %cr3, %rax\n	mov %rax, %cr3\n"
	"	mov 48(%rbx), %rsi\n	mov 56(%rbx), %rdi\n	mov 64(%rbx), %rdx\n"
	"	mov $0x8000, %esp\n"
	"	pushq 72(%rbx)\n	pushq 80(%rbx)\n	pushq 88(%rbx)\n"
	"	pushq 96(%rbx)\n	pushq 104(%rbx)\n"
	"	iretq\n"
	"9:	out %al, $0xf0\n"
	"page_common:\n"
	"	push %rax\n"
	"	mov " S(V_NEXT) ", %ebp\n	shl $7, %rbp\n"
	"	lea " S(RESULTS) "(%rbp), %rbx\n"
	"	pop 24(%rbx)\n"
	"	pop %rax\n	mov %eax, (%rbx)\n"
	"	pop %rax\n	mov %eax, 4(%rbx)\n"
	"	pop 16(%rbx)\n"
	"	mov %cr2, %rax\n	mov %rax, 8(%rbx)\n"
	"	mov 0x100040, %rax\n	mov %rax, 32(%rbx)\n"
	"	mov " S(T_PDPT) " + 24, %rax\n	mov %rax, 40(%rbx)\n"
	"	mov " S(T_PD) " + 40, %rax\n	mov %rax, 48(%rbx)\n"
	"	mov " S(T_PD) " + 48, %rax\n	mov %rax, 56(%rbx)\n"
	"	mov " S(T_PT1) " + 8 * 511, %rax\n	mov %rax, 64(%rbx)\n"
	"	mov " S(T_PT2) ", %rax\n	mov %rax, 72(%rbx)\n"
	"	incl " S(V_NEXT) "\n"
	"	jmp page_next\n"
	OPS(X));
#undef X
LABEL(page_common);
#define X(name, first, bytes, second, code) LABEL(name##_0); LABEL(name##_1);
OPS(X)
#undef X

static const struct op {
	const char *name;
	u8 first, bytes, second;
	const u8 *begin, *end;
} ops[] = {
#define X(name, first, bytes, second, code) { #name, first, bytes, second, name##_0, name##_1 },
	OPS(X)
#undef X
};

/* What is accessed, in which instruction. */
struct access {
	u8 kind, bytes, disp, insn;
	bool rdi;
	u32 rip;	/* of a sequence */
};
static struct seq {
	struct access a[SEQ_MAX_INSNS];
	u32 n, end;
} seqs[SEQS];

static bool wp, smep, smap;
static u64 faults;

static u32 at(const u8 *label)
{
	return G_CODE + (u32)(label - loop_b);
}

/* -- the cases -- */

/* Loads and stores at RSI and RDI, each with a displacement. */
static void make_seq(struct seq *s, u8 *code, u32 where)
{
	static const struct { u8 len, kind, bytes, b[6]; u8 disp; } insns[] = {
		{ 4, RD, 8, { 0x48, 0x8b, 0x46 }, 3 },		/* mov disp(%rsi), %rax */
		{ 4, WR, 8, { 0x48, 0x89, 0x56 }, 3 },		/* mov %rdx, disp(%rsi) */
		{ 5, WR, 8, { 0x48, 0x83, 0x46, 0, 0 }, 3 },	/* addq $0, disp(%rsi) */
		{ 6, WR, 8, { 0xf0, 0x48, 0x83, 0x46, 0, 0 }, 4 },	/* lock addq */
		{ 3, RD, 4, { 0x8b, 0x46 }, 2 },		/* mov disp(%rsi), %eax */
		{ 4, WR, 1, { 0xc6, 0x46, 0, 0x66 }, 2 },	/* movb $0x66, disp(%rsi) */
		{ 4, RD, 16, { 0x0f, 0x10, 0x46 }, 3 },		/* movups disp(%rsi), %xmm0 */
		{ 3, RD, 8, { 0xff, 0x76 }, 2 },		/* push disp(%rsi) */
	};
	u32 at = 0;

	s->n = 2 + below(SEQ_MAX_INSNS - 2);
	for (u32 i = 0; i < s->n; i++) {
		u32 k = below(ARRAY_SIZE(insns)), disp = 8 * below(16);
		bool rdi = below(2);

		memcpy(code + at, insns[k].b, insns[k].len);
		code[at + insns[k].disp] = (u8)disp;
		code[at + insns[k].disp - 1] |= rdi;
		s->a[i] = (struct access){ insns[k].kind, insns[k].bytes, (u8)disp, (u8)i,
					   rdi,		  where + at };
		at += insns[k].len;
	}
	code[at] = 0xcd;
	code[at + 1] = 0x30;
	s->end = where + at + 2;
}

static u64 random_entry(u64 to, u32 odd)
{
	u64 e = to | PTE_P | PTE_W | PTE_U;

	/* Most of it in order, or nothing would ever be reached. */
	if (!below(odd))
		e &= ~(u64)PTE_P;
	if (!below(8))
		e &= ~(u64)PTE_W;
	if (!below(8))
		e &= ~(u64)PTE_U;
	if (!below(20))
		e |= PTE_NX;
	e |= below(2) ? PTE_A : 0;
	e |= below(2) ? PTE_D : 0;
	return e;
}

static u64 random_pd(u64 table, u64 big)
{
	return below(6) ? random_entry(table, 12) : random_entry(big, 8) | PTE_PS;
}

static void make_case(struct fuzz_case *c)
{
	u32 off = below(2) ? 0x100 : 0xffc;

	memset(c, 0, sizeof(*c));
	c->op = below(2) ? below(ARRAY_SIZE(ops)) : (u32)ARRAY_SIZE(ops) + below(SEQS);
	c->user = below(2);
	c->e[E_PML4] = random_entry(T_PDPT, 20);
	c->e[E_PDPT] = random_entry(T_PD, 20);
	c->e[E_PD1] = random_pd(T_PT1, BIG);
	c->e[E_PD2] = random_pd(T_PT2, BIG + 0x200000);
	c->e[E_PT1] = random_entry(FRAMES + (below(8) << 12), 8);
	c->e[E_PT2] = random_entry(FRAMES + (below(8) << 12), 8);
	c->rsi = PAGE1 + off;
	c->rdi = PAGE2 + 0x100;
	if (!below(8)) {	/* both in one page */
		c->rsi = PAGE2 + 0x100;
	} else if (!below(8)) {
		c->rdi = PAGE1 + 0x100;
	}
	c->rdx = PATTERN;
	c->cs = c->user ? SEL_UCODE64 : SEL_CODE64;
	c->ss = c->user ? SEL_UDATA : SEL_DATA;
	c->rsp = c->user ? ALIAS + G_STACK3 : 0x7000;
	c->flags = 2 | (below(2) ? 1u << 18 : 0);
	c->rip = c->op < ARRAY_SIZE(ops) ? at(ops[c->op].begin)
					 : SEQ_CODE + (c->op - (u32)ARRAY_SIZE(ops)) * SEQ_BYTES;
	c->rip += c->user ? ALIAS : 0;
}

/* -- the rules -- */

struct expected {
	u32 vec, err;
	u64 cr2;
	u32 rip;	/* 0: anywhere */
	u64 must[ENTRIES], may[ENTRIES];	/* A and D that are set */
};

/* One page. False: a fault. */
static bool walk(const struct fuzz_case *c, u64 va, u32 kind, struct expected *e)
{
	static const u8 path[2][4] = { { E_PML4, E_PDPT, E_PD1, E_PT1 },
				       { E_PML4, E_PDPT, E_PD2, E_PT2 } };
	const u8 *p = path[va >= PAGE2];
	u32 code = (kind == WR ? 2 : 0) | (c->user ? 4 : 0) | (kind == EX ? 16 : 0), leaf = 3;
	bool user = true, wr = true, nx = false, bad;

	for (u32 i = 0; i < 4; i++) {
		u64 v = c->e[p[i]];

		if (!(v & PTE_P)) {
			e->err = code;
			goto fault;
		}
		user &= !!(v & PTE_U);
		wr &= !!(v & PTE_W);
		nx |= !!(v & PTE_NX);
		e->may[p[i]] |= PTE_A;
		if (i == 2 && v & PTE_PS) {
			leaf = 2;
			break;
		}
	}
	bad = (c->user && !user) || (kind == WR && !wr && (c->user || wp)) || (kind == EX && nx);
	if (!c->user && user)
		bad |= kind == EX ? smep : smap && !(c->flags >> 18 & 1);
	if (bad) {
		e->err = code | 1;
		goto fault;
	}
	for (u32 i = 0; i <= leaf; i++)
		e->must[p[i]] |= PTE_A;
	if (kind == WR)
		e->must[p[leaf]] |= PTE_D;
	return true;
fault:
	e->vec = 14;
	e->cr2 = va;
	return false;
}

/* An operand, in one page or two; a store that does not come off leaves D alone in both. */
static bool access_to(const struct fuzz_case *c, u64 va, u32 bytes, u32 kind, struct expected *e)
{
	struct expected before = *e;

	if (kind == NO)
		return true;
	if (!walk(c, va, kind, e))
		return false;
	if ((va & 0xfff) + bytes <= 0x1000 || walk(c, (va + 0x1000) & ~0xfffull, kind, e))
		return true;
	for (u32 i = 0; i < ENTRIES; i++) {
		e->may[i] |= e->must[i] & PTE_A;
		e->must[i] = before.must[i];
	}
	return false;
}

/* Is all of it one instruction? */
static bool is_one(const struct op *o)
{
	return o->second == NO || strstr(o->name, "movs") || !strcmp(o->name, "cmps");
}

static const char *name_of(const struct fuzz_case *c)
{
	return c->op < ARRAY_SIZE(ops) ? ops[c->op].name : "sequence";
}

static struct expected model(const struct fuzz_case *c, bool other_first)
{
	struct expected e = { .vec = 0x30 }, before = e;
	struct seq one = { .n = 2 };
	const struct seq *s = &one;
	u32 insn = 0;

	if (c->op < ARRAY_SIZE(ops)) {
		const struct op *o = &ops[c->op];

		one.a[other_first] = (struct access){ .kind = o->first, .bytes = o->bytes };
		one.a[!other_first] = (struct access){ .kind = o->second, .bytes = 8, .rdi = true };
		one.a[1].insn = !is_one(o);
		one.end = at(o->end);
	} else {
		s = &seqs[c->op - ARRAY_SIZE(ops)];
	}
	for (u32 i = 0; i < s->n; i++) {
		const struct access *a = &s->a[i];

		if (a->insn != insn) {
			before = e;
			insn = a->insn;
		}
		if (access_to(c, (a->rdi ? c->rdi : c->rsi) + a->disp, a->bytes, a->kind, &e))
			continue;
		/* What an instruction that faults has read is marked, or not. */
		for (u32 k = 0; k < ENTRIES; k++) {
			e.may[k] |= e.must[k] & PTE_A;
			e.must[k] = before.must[k];
		}
		e.rip = a->rip;
		return e;
	}
	e.rip = s->end;
	return e;
}

static bool differs(const struct fuzz_case *c, const struct fuzz_result *r,
		    const struct expected *e)
{
	if (r->vec != e->vec || (e->vec == 14 && (r->err != e->err || r->cr2 != e->cr2)))
		return true;
	if (e->rip && (u32)r->rip != e->rip)
		return true;
	for (u32 i = 0; i < ENTRIES; i++)
		if ((r->e[i] | e->may[i]) != (c->e[i] | e->must[i] | e->may[i]))
			return true;
	return false;
}

static bool wrong(const struct fuzz_case *c, const struct fuzz_result *r)
{
	struct expected e = model(c, false);

	if (!differs(c, r, &e))
		return false;
	/* CMPS reads in an order of its own. */
	if (strcmp(name_of(c), "cmps"))
		return true;
	e = model(c, true);
	return differs(c, r, &e);
}

static void show(const struct fuzz_case *c, const struct fuzz_result *r)
{
	static const char *const names[] = { "PML4E", "PDPTE", "PDE 1", "PDE 2", "PTE 1", "PTE 2" };
	struct expected e = model(c, false);

	printf("# %s, ring %u, rsi %llx rdi %llx, WP %u SMEP %u SMAP %u AC %u\n", name_of(c),
	       c->user ? 3 : 0, (unsigned long long)c->rsi, (unsigned long long)c->rdi, wp, smep,
	       smap, (u32)(c->flags >> 18 & 1));
	if (c->op >= ARRAY_SIZE(ops)) {
		const struct seq *q = &seqs[c->op - ARRAY_SIZE(ops)];

		for (u32 i = 0; i < q->n; i++)
			printf("#   %x: %s %u bytes at %x(%s)\n", q->a[i].rip,
			       q->a[i].kind == RD ? "read" : "write", q->a[i].bytes, q->a[i].disp,
			       q->a[i].rdi ? "rdi" : "rsi");
	}
	printf("#   rules: vector %x(%x) cr2 %llx; guest: %x(%x) %llx at %llx\n", e.vec, e.err,
	       (unsigned long long)e.cr2, r->vec, r->err, (unsigned long long)r->cr2,
	       (unsigned long long)r->rip);
	for (u32 i = 0; i < ENTRIES; i++)
		printf("#   %s %016llx: must %02llx, may %02llx; is %016llx\n", names[i],
		       (unsigned long long)c->e[i], (unsigned long long)e.must[i],
		       (unsigned long long)e.may[i], (unsigned long long)r->e[i]);
}

/* -- the guest -- */

static struct guest *start(void)
{
	struct guest *g = guest_new(M_LONG);

	guest_load(g, G_CODE, loop);
	model_vectors(g, at(page_common), SEL_CODE64, 1);
	*g64(g, G_PT + 8 * 9) = *g64(g, G_PT);
	*g64(g, G_PT) &= ~(u64)PTE_U;
	for (u32 i = 0; i < 8; i++) {
		u64 v = PATTERN;

		memcpy(g->ram + FRAMES + (i << 12) + 0x100, &v, 8);
		memcpy(g->ram + FRAMES + (i << 12) + 0xffc, &v, 4);
		memcpy(g->ram + FRAMES + (i << 12), (u8 *)&v + 4, 4);
	}
	for (u32 i = 0; i < 2; i++) {
		u64 v = PATTERN, big = BIG + i * 0x200000, page = i ? 0 : 511ull << 12;

		memcpy(g->ram + big + page + 0x100, &v, 8);
		memcpy(g->ram + big + page + 0xffc, &v, 4);
		memcpy(g->ram + big + page, (u8 *)&v + 4, 4);
	}
	WITH_SREGS(cpu0(g), sr)
		sr.efer |= 0x800;
	return g;
}

static struct fuzz_case *case_of(struct guest *g, u32 i)
{
	return (struct fuzz_case *)(g->ram + CASES) + i;
}

static struct fuzz_result *result_of(struct guest *g, u32 i)
{
	return (struct fuzz_result *)(g->ram + RESULTS) + i;
}

/* The bits of CR0 and CR4 are those of a batch. */
static void make(struct guest *g)
{
	wp = below(2);
	smep = guest_has(g, 7, 1, 7) && below(2);
	smap = guest_has(g, 7, 1, 20) && below(2);
	WITH_SREGS(cpu0(g), sr) {
		sr.cr0 = (sr.cr0 & ~(1ull << 16)) | (u64)wp << 16;
		sr.cr4 = (sr.cr4 & ~(3ull << 20)) | (u64)smep << 20 | (u64)smap << 21;
	}
	for (u32 i = 0; i < SEQS; i++)
		make_seq(&seqs[i], g->ram + SEQ_CODE + i * SEQ_BYTES, SEQ_CODE + i * SEQ_BYTES);
	for (u32 i = 0; i < BATCH_CASES; i++)
		make_case(case_of(g, i));
}

static bool is_wrong(struct guest *g, u32 i)
{
	faults += result_of(g, i)->vec == 14;
	return wrong(case_of(g, i), result_of(g, i));
}

static void show_one(struct guest *g, u32 i)
{
	show(case_of(g, i), result_of(g, i));
}

static void report(void)
{
	printf("# %llu page faults\n", (unsigned long long)faults);
}

int main(int argc, char **argv)
{
	static const struct model_fuzz m = {
		.title = "paging: random tables, faults and A and D bits", .batch = BATCH_CASES,
		.start = start, .make = make, .wrong = is_wrong, .show = show_one, .report = report,
	};

	return model_main(&m, argc, argv);
}
