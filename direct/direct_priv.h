/* SPDX-License-Identifier: MIT */
/* direct/direct_priv.h - shared by the files of direct/ only. */
#ifndef DIRECT_PRIV_H
#define DIRECT_PRIV_H

#include <sched.h>

#include "direct/direct.h"
#include "mmu/mmu.h"

#define STUB_X_MAX 12288	/* AMX included */
#define SPOTS 4	/* breakpoints of a CPU */

/* Where in a page instructions may begin that must not run directly (scan.c). */
struct spots {
	u32 n;
	u16 at[SPOTS];
};

/* -- the stub's own pages (trampoline.c): it can read them, and has no way to change that -- */

enum {
	STUB_ORDERS = 0x1000,
	STUB_SIZE = 0x3000,
	STUB_SHARED = STUB_SIZE - STUB_ORDERS,	/* all but the code */
};
#define STUB_ORDERS_MAX 96
#define STUB_CODE_AT 0x100	/* where the code lies in its page */
#define USER_TOP 0x7ffffffff000ull
#define USER_CS 0x33	/* of 64-bit Linux: the stub's own */
#define USER_DS 0x2b
/* Where they are: one place for all stubs of this process, by chance. 0: there is no stub yet. */
extern _Atomic u64 direct_stub_base;

struct order {
	u64 nr, arg[6], unused;
};

/* System calls that it is to make while no code of the guest's runs. */
struct orders {
	struct order op[STUB_ORDERS_MAX];
	u64 data[];	/* what the system calls of the start point to */
};

extern const u8 direct_stub_code[], direct_stub_loop[], direct_stub_done[], direct_stub_end[];

/* -- the process (stub.c) -- */

/* As Linux gives them to a tracer: struct user_regs_struct, whose header has names of ours. */
struct stub_regs {
	u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	u64 orig_rax, rip, cs, eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
};

enum stub_why {
	STUB_SYSCALL,	/* one was about to be made: it was not */
	STUB_SIGNAL,	/* a signal was about to be delivered: it was not */
	STUB_ENDS,	/* it was ended by somebody else; the registers are good */
	STUB_LOST,	/* so are not they */
};

struct stub {
	int pid;
	int owner;		/* the thread that made it, and traces it: nobody else can */
	bool broken;
	bool gone;		/* ... because it has ended, or was ended */
	bool regs_wait;		/* regs are not yet the process's */
	u8 *shared;		/* our view of its pages from STUB_ORDERS on */
	struct orders *orders;
	u32 n;			/* orders that wait */
	int cpu;
	s64 time;		/* CPU time that it had used after the last stay, ns */
	u64 injected;		/* times our code ran */
	bool ran;		/* user code, at all */
	struct stub_regs regs;	/* of user code */
	u32 x_size;
	bool x_known;		/* x is what user code has */
	bool x_wait;		/* ... and not yet what the process has */
	u8 x[STUB_X_MAX] __attribute__((aligned(64)));	/* vector state, in the standard form */

	/* Why it has stopped. */
	enum stub_why why;
	u32 sig;
	s32 code;		/* si_code */
	u64 addr;		/* si_addr, si_call_addr */
};

struct stub *stub_new(bool warn);
void stub_free(struct stub *s);
/* Let user code run with s->regs and s->x until the host's kernel says that it has stopped. False:
 * it is no more. */
bool stub_run(struct stub *s);
/* It stops before it executes what is at one of these; 0: none. False: the host has none of it. */
bool stub_breaks(struct stub *s, const u64 at[SPOTS]);
/* s->x := what user code has. */
bool stub_vectors(struct stub *s);
/* Add an order; carries out those that wait if there is no room. */
bool stub_order(struct stub *s, u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f);
/* Carry out those that wait. False: one failed, or the stub is no more: it is broken. */
bool stub_flush(struct stub *s);


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
#define STUB_FD_ORDERS 3
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

enum { MAP_R = 1, MAP_W = 2, MAP_X = 4, MAP_BREAKS = 8 };

struct region {		/* 2 MiB of a guest's address space */
	struct region *next;
	u64 key;
	u64 set[8];		/* which pages are there */
	u64 noexec[8];		/* which were looked at and may not be executed */
	u64 pte[512];		/* by which entry, with the rights of the upper levels */
	place_t place[512];
	u32 serial[512];	/* MAP_X: of cpu_ops.code_page */
	u64 sum[512];		/* MAP_X: of its bytes, before they were looked at */
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
	/* MAP_BREAKS: where the stub has to stop before it executes (scan.c). 0: free. */
	u64 breaks[SPOTS];
	bool breaks_wait;	/* they are not yet the stub's */
};

struct space {			/* an address space of the guest, by CR3 */
	u64 cr3;
	u64 usual;		/* TSC between entering and leaving CPL 3, averaged */
	u64 used;
	u64 fault;		/* page of the last page fault that the guest was given, and what
				 * for; 0 */
	u32 refusals;
	s64 credit, budget;	/* judge() */
	u64 penalty, not_before;	/* TSC */
	struct stub *stub;
	u32 ram_n;		/* files it knows */
	bool no_breaks;		/* the host gives none */
	struct mirror m;
};

/* What scan_page() has said of pages with such bytes: programs are started again and again. */
#define SCANNED 2048
struct scanned {
	u64 key;	/* 0: none */
	bool ok;
	struct spots spots;
};

#define SPACES 64
struct direct {
	struct cpu *c;
	struct space space[SPACES];
	struct space *now;	/* since CPL 3 was entered; NULL */
	struct space *last;	/* whose stub ran last */
	u64 since, stays;	/* then */
	u64 left;		/* TSC, when the last stay ended */
	int cpu;		/* + 1: that the vCPU's thread is held on; 0: on none */
	cpu_set_t before;	/* what it is allowed otherwise */
	struct gens gens;
	u64 written[MIRROR_CHECKS];	/* guest-physical pages, by gens.code */
	u64 on, off;		/* space.usual from which on one is worth it, and below which not
				 * any more */
	u32 break_next;
	u64 creep_page;
	u32 creep_left;
	bool creep_first;
	u8 cpl;
	u8 *writers[RAM_MAX];	/* per page: how many mirrors can write it (saturating); made when
				 * needed */
	struct scanned scanned[SCANNED];
	struct direct_counts n;
};

/* Map what is around gva. False: gva itself could not be, for acc; or the stub is broken. */
bool mirror_fill(struct direct *d, struct space *s, u64 gva, enum mem_access acc);
/* Compare with the guest's tables what may have changed. all: everything. */
bool mirror_recheck(struct direct *d, struct space *s, bool all);
void mirror_check_page(struct mirror *m, u64 gva);
/* The bytes of the page that user code can execute at gva; NULL: it cannot. */
const u8 *mirror_code(struct direct *d, struct space *s, u64 gva);
/* Can it read there? */
bool mirror_has(const struct space *s, u64 gva);
/* Forget all of it; the stub's mappings stay. */
void mirror_clear(struct direct *d, struct mirror *m);
static inline bool mirror_stale(const struct direct *d, const struct mirror *m)
{
	return m->checks || m->seen.tables != d->gens.tables || m->seen.writes != d->gens.writes ||
	       m->seen.code != d->gens.code;
}
/* Can any mirror write the page? */
bool mirror_writes(const struct direct *d, const u8 *hva);

/* Fills in *s. before: what the page in front of it has, or NULL. False: there are more of them
 * than a CPU has breakpoints. And may an instruction that reaches from it into the next run? */
#define SCAN_AHEAD 72	/* bytes before a place where decoding begins, of `before` also */
bool scan_page(const u8 *page, const u8 *before, struct spots *s);
bool scan_edge(const u8 *page, const u8 *next);

#endif
