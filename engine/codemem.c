/* SPDX-License-Identifier: MIT */
/*
 * engine/codemem.c - the memory of a vCPU's engine: one reservation, made with the vCPU.
 *
 * Nothing is mapped while the guest runs. A mapping that comes then may land in a hole that the VMM
 * has unmapped inside a slot, where the guest would see it, and it may fail, with nobody to tell.
 * All of it is in place from the start instead, and pages come into being when touched: it costs
 * address space only.
 *
 *	rx	code, executable, never writable
 *	rw	the same pages again, writable, never executable (W^X)
 *	pool	tables of a fixed size (pool_take())
 *	arena	what is known about units (arena.c): 256 KiB, the rest in huge pages where the host
 *		has them, because each small page would cost a fault
 *	memo	one huge page (decode_memo.c)
 */
#include <errno.h>
#include <sys/resource.h>

#include "base/optional.h"
#include "base/options.h"
#include "base/sys.h"
#include "engine/engine_priv.h"

/* Three fifths are for what runs, the rest for what leaves it (stubs.c): some 290,000 units. A
 * kernel and a compiler with its tools are 140,000; what has moved or was dropped is in the way
 * until all is thrown away. */
#define CODE_MEM_SIZE (160ull << 20)
#define CODE_MEM_MIN (1ull << 20)	/* for tests */
#define CODE_MEM_SMALL (4ull << 20)	/* what a vCPU gets where address space is short */
#define HUGE (2ull << 20)
#define ARENA_FIRST (256ull << 10)	/* does for a small guest */
#define ARENA_MIN (8ull << 20)
/* Most of what an exit touches begins with a page: the first units' records should not. */
#define ARENA_SKEW 0x8c0u
#define POOL_FIXED ((4ull << 20) + TLB2_SIZE * sizeof(struct tlb2_entry))

struct layout {
	u64 code, pool, arena, total;	/* bytes */
};

static struct layout layout_of(u64 code)
{
	struct layout l = { .code = code };

	/* The arena's first part ends where a huge page begins. */
	l.pool =
		ALIGN_UP(POOL_FIXED + UNITS_MAX(code) * sizeof(struct unit *) + ARENA_FIRST, HUGE) -
		ARENA_FIRST;
	l.arena = code / 3 * 4 > ARENA_MIN ? code / 3 * 4 : ARENA_MIN;
	l.arena = ALIGN_UP(l.arena, HUGE) + ARENA_FIRST;
	l.total = 2 * ALIGN_UP(code, HUGE) + l.pool + l.arena + MEMO_BYTES + HUGE;
	return l;
}

/* PROT_NONE: nothing of it is there, whatever mlockall(MCL_FUTURE) says; and it is not to be locked
 * when it comes. */
static void *reserve(void *at, u64 bytes, int flags)
{
	void *p = sys_mmap(at, bytes, PROT_NONE, MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);

	if (sys_map_error(p)) {
		errno = -sys_map_error(p);
		return NULL;
	}
	munlock(p, bytes);
	return p;
}

void *pages_at(void *at, size_t bytes)
{
	void *p = reserve(at, bytes, MAP_PRIVATE | MAP_FIXED_NOREPLACE);

	/* A kernel without the flag takes the address for a hint. */
	if (p && (p != at || mprotect(p, bytes, PROT_READ | PROT_WRITE))) {
		munmap(p, bytes);
		return NULL;
	}
	return p;
}

/* The pages of [rw, rw + size), which is shared memory, at rx too. */
static int map_twice(u8 *rx, u8 *rw, u64 size)
{
	/* A length of 0 makes a second mapping of the same pages (mremap(2)). No file, no
	 * descriptor: RLIMIT_FSIZE and RLIMIT_NOFILE have no say. */
	if (!reserve(rw, size, MAP_SHARED | MAP_FIXED) ||
	    mremap(rw, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, rx) == MAP_FAILED ||
	    mprotect(rx, size, PROT_READ | PROT_EXEC) || mprotect(rw, size, PROT_READ | PROT_WRITE))
		return -errno;
	return 0;
}

static int map(struct engine *e, const struct layout *l, void *near)
{
	struct code_mem *m = &e->mem;
	u8 *base = reserve(near, l->total, MAP_PRIVATE), *data;
	int err;

	if (!base)
		return -errno;
	m->reserved = base;
	m->reserved_bytes = l->total;
	m->size = l->code;
	m->rx = (u8 *)ALIGN_UP((u64)base, HUGE);
	m->rw = m->rx + ALIGN_UP(l->code, HUGE);
	data = m->rw + ALIGN_UP(l->code, HUGE);
	e->pool = data;
	e->pool_end = data + l->pool;
	e->arena = (struct arena){ .mem = e->pool_end + ARENA_SKEW, .size = l->arena - ARENA_SKEW };
	e->memo = e->pool_end + l->arena;
	err = map_twice(m->rx, m->rw, l->code);
	if (!err && mprotect(data, (size_t)(e->memo + MEMO_BYTES - data), PROT_READ | PROT_WRITE))
		err = -errno;
	if (err) {
		codemem_destroy(e);
		return err;
	}
	madvise(e->pool_end + ARENA_FIRST,
		(size_t)(e->memo + MEMO_BYTES - e->pool_end) - ARENA_FIRST, MADV_HUGEPAGE);
	madvise(base, l->total, MADV_DONTFORK);
	return 0;
}

static u64 wanted_size(void)
{
	u64 size = option_number(OPT_CODE_MEM, 0) << 20;

	return size >= CODE_MEM_MIN && size < CODE_MEM_SIZE ? size : CODE_MEM_SIZE;
}

int codemem_init(struct engine *e, void *near)
{
	u64 size = wanted_size(), most = ~0ull;
	struct rlimit limit;
	struct layout l;
	int err;

	/* Leave the better part of a limited address space to the VMM and its other vCPUs. */
	if (!getrlimit(RLIMIT_AS, &limit) && limit.rlim_cur != RLIM_INFINITY)
		most = limit.rlim_cur / 16;
	for (;;) {
		l = layout_of(size);
		if (l.total <= most || size <= CODE_MEM_SMALL) {
			err = map(e, &l, near);
			if (!err || size <= CODE_MEM_SMALL)
				return err;
		}
		size = ALIGN_DOWN(size / 2, CODE_MEM_MIN);
	}
}

void *pool_take(struct engine *e, size_t bytes)
{
	u8 *p = e->pool;

	if (bytes > (size_t)(e->pool_end - p))
		return NULL;
	e->pool = p + ALIGN_UP(bytes, PAGE_SIZE);
	return p;
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23	/* Linux 5.14 */
#endif
#define POPULATE_MAX (128u << 10)

void codemem_populate(struct code_mem *m, u8 *at, const u8 *start, const u8 *end, u8 **there)
{
	u64 step = ALIGN_UP((u64)(at - start), PAGE_SIZE);
	u8 *from = *there;

	if (step > POPULATE_MAX)
		step = POPULATE_MAX;
	if (from < at)
		from = (u8 *)ALIGN_DOWN((u64)at, PAGE_SIZE);
	if (step > (u64)(end - from))
		step = (u64)(end - from);
	/* Fails on old kernels: then the pages come one fault at a time. */
	if (step && optional_may(OPTIONAL_POPULATE))
		madvise(codemem_rw(m, from), step, MADV_POPULATE_WRITE);
	*there = from + step;
}

void codemem_destroy(struct engine *e)
{
	if (e->mem.reserved)
		munmap(e->mem.reserved, e->mem.reserved_bytes);
	e->mem.reserved = e->mem.rx = e->mem.rw = NULL;
}
