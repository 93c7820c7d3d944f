/* SPDX-License-Identifier: MIT */
/* direct/direct_priv.h - shared by the files of direct/ only. */
#ifndef DIRECT_PRIV_H
#define DIRECT_PRIV_H

#include "direct/direct.h"
#include "mmu/mmu.h"

/* -- the stub's own pages (trampoline.c) -- */

#define STUB_BASE 0x2f5e70000000ull
enum {
	STUB_ORDERS = 0x1000,	/* read-only to the stub */
	STUB_COMM = 0x9000,
	STUB_STACK = 0xa000,
	STUB_SIZE = 0x12000,
	STUB_SHARED = STUB_SIZE - STUB_ORDERS,	/* all but the code */
};
#define STUB_ORDERS_MAX 440
#define STUB_CODE_AT 0x100	/* where the code lies in its page */
#define USER_TOP 0x7ffffffff000ull

struct order {
	u64 nr, arg[6], unused;
};

/* What the stub is to do at its next turn: system calls, then go on in the guest unless `stay`. */
struct orders {
	u32 n, stay;
	u64 uc;		/* stack pointer of rt_sigreturn */
	u64 fs, gs;
	u64 unused[4];
	struct order op[STUB_ORDERS_MAX];
	u64 data[];	/* what the system calls of the start point to */
};

/* What it says. The guest's program can write here: nothing of it is to be believed. */
struct comm {
	_Atomic u32 turn;	/* 1: the stub's, 0: ours; a futex */
	u32 sig;
	u64 uc, info;
	u64 fs, gs;
	s64 error;		/* of the order ... */
	u32 error_left, unused;	/* ... that many before the last */
	u64 unused2;
	u32 ds, es, sel_fs, sel_gs;
};

extern const u8 direct_stub_code[], direct_stub_handler[], direct_stub_end[];

/* -- the process (stub.c) -- */

struct stub {
	int pid;
	int owner;		/* the thread that made it: it ends with that (PR_SET_PDEATHSIG) */
	bool broken;
	bool gone;		/* ... because it has ended, or was ended */
	u8 *shared;		/* our view of its pages from STUB_ORDERS on */
	struct orders *orders;
	struct comm *comm;
	u64 uc;			/* of the frame that rt_sigreturn takes */
	u32 n;			/* orders that wait */

	int cpu;
	const _Atomic u32 *hurry;	/* not 0: it is expected back */
};

struct stub *stub_new(const _Atomic u32 *hurry);
void stub_free(struct stub *s);
/* Give it its turn and wait. False: it is no more, or an order failed: then it is broken. */
bool stub_turn(struct stub *s, bool stay);
/* Add an order; carries out those that wait if there is no room. */
bool stub_order(struct stub *s, u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f);
/* Our view of [addr, addr + len) of its signal stack; NULL: it is not there. */
static inline void *stub_at(struct stub *s, u64 addr, u64 len)
{
	u64 off = addr - (STUB_BASE + STUB_STACK);

	if (off >= STUB_SIZE - STUB_STACK || len > STUB_SIZE - STUB_STACK - off || addr % 8)
		return NULL;
	return s->shared + (STUB_STACK - STUB_ORDERS) + off;
}

/* -- guest memory as files (ram.c) -- */

#define RAM_MAX 128
struct ram {
	u8 *hva;
	_Atomic u64 size;	/* 0: of a VM that is gone */
	int fd;
	const void *owner;
};
/* Only grows: an entry below the count changes no more but for its end. Written under a lock of
 * ram.c. */
extern struct ram direct_ram[RAM_MAX];
extern _Atomic u32 direct_ram_n;
#define STUB_FD_COMM 3
#define STUB_FD_RAM 4	/* the first */

/* A page of it: which file, which page of that. */
typedef u64 place_t;
#define PLACE(ram, off) ((u64)(ram) << 56 | (off) >> PAGE_SHIFT)
#define PLACE_NONE (~0ull)
#define PLACE_RAM(p) ((u32)((p) >> 56))
#define PLACE_OFF(p) (((p) & (BIT64(56) - 1)) << PAGE_SHIFT)

static inline place_t place_of(const u8 *hva)
{
	u32 n = atomic_load_explicit(&direct_ram_n, memory_order_acquire);

	for (u32 i = 0; i < n; i++)
		if ((u64)(hva - direct_ram[i].hva) < direct_ram[i].size)
			return PLACE(i, (u64)(hva - direct_ram[i].hva));
	return PLACE_NONE;
}

/* -- the mirror (mirror.c) -- */

enum { MAP_R = 1, MAP_W = 2, MAP_X = 4 };

struct region {		/* 2 MiB of a guest's address space */
	struct region *next;
	u64 key;
	u64 set[8];		/* which pages are there */
	u64 noexec[8];		/* which were looked at and may not be executed */
	u64 pte[512];		/* by which entry, with the rights of the upper levels */
	place_t place[512];
	u32 serial[512];	/* MAP_X: of cpu_ops.code_page */
	u8 prot[512];
};
#define MIRROR_BUCKETS 512
#define MIRROR_CHECKS 32
struct gens {
	u64 tables, writes, code, map;
};
struct mirror {
	struct region *bucket[MIRROR_BUCKETS];
	u64 pages;
	struct gens seen;		/* of direct.gens, when it was compared */
	u64 check[MIRROR_CHECKS];	/* pages to be compared */
	u32 checks;
};

struct space {			/* an address space of the guest, by CR3 */
	u64 cr3;
	u64 usual;		/* TSC between entering and leaving CPL 3, averaged */
	u64 used;
	u64 fault;		/* page of the last page fault that the guest was given, and what
				 * for; 0 */
	u32 refusals;
	struct stub *stub;
	u32 ram_n;		/* files it knows */
	struct mirror m;
};

#define SPACES 64
struct direct {
	struct cpu *c;
	struct space space[SPACES];
	struct space *now;	/* since CPL 3 was entered; NULL */
	struct space *last;	/* whose stub ran last */
	u64 since;
	struct gens gens;
	u64 written[MIRROR_CHECKS];	/* guest-physical pages, by gens.code */
	u64 on, off;		/* space.usual from which on one is worth it, and below which not
				 * any more */
	u64 creep_page;
	u32 creep_left;
	u8 cpl;
	u8 *writers[RAM_MAX];	/* per page: how many mirrors can write it (saturating); made when
				 * needed */
	struct direct_counts n;
};

/* Map what is around gva. False: gva itself could not be, for acc; or the stub is broken. */
bool mirror_fill(struct direct *d, struct space *s, u64 gva, enum mem_access acc);
/* Compare with the guest's tables what may have changed. all: everything. */
bool mirror_recheck(struct direct *d, struct space *s, bool all);
void mirror_check_page(struct mirror *m, u64 gva);
/* Forget all of it; the stub's mappings stay. */
void mirror_clear(struct direct *d, struct mirror *m);
static inline bool mirror_stale(const struct direct *d, const struct mirror *m)
{
	return m->checks || m->seen.tables != d->gens.tables || m->seen.writes != d->gens.writes ||
	       m->seen.code != d->gens.code;
}
/* Can any mirror write the page? */
bool mirror_writes(const struct direct *d, const u8 *hva);

/* May the page be executed? before: what the page in front of it has, or NULL. And an instruction
 * that reaches from it into the next? */
bool scan_page(const u8 *page, const u8 *before);
bool scan_edge(const u8 *page, const u8 *next);

#endif
