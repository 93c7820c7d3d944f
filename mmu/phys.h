/* SPDX-License-Identifier: MIT */
/*
 * mmu/phys.h - the guest-physical map of one VM: which guest-physical pages
 * are memory, where they are in this process, and what must be noticed when
 * they are written.
 *
 * The map is immutable and behind one atomic pointer: a sorted array of chunks of sorted slots, so
 * that a change copies one chunk and the array of chunks, not the slots of the whole VM. vm/ builds
 * a new one for every slot change, publishes it, makes every vCPU drop its TLB
 * and leave the old one (request + wait), and frees it then. Readers are vCPU
 * threads inside KVM_RUN and whoever holds the VM's slots lock.
 */
#ifndef MMU_PHYS_H
#define MMU_PHYS_H

#include <stdatomic.h>

#include "base/types.h"

enum {
	PHYS_READONLY = 1, PHYS_LOG_DIRTY = 2,
	/* Another slot may show the same host memory, with the same code_serial, elsewhere. */
	PHYS_ALIASED = 4,
};

struct phys_slot {
	u64 gpa, size;		/* bytes, page aligned */
	u8 *hva;
	u32 flags;
	u32 id;			/* KVM slot number (as_id << 16 | id) */
	_Atomic u64 *dirty;	/* bitmap, one bit a page; NULL without LOG_DIRTY */
	_Atomic u8 *code;	/* per page: how many vCPUs hold translations of it (saturating
				 * at 255); NULL: not tracked */
	u32 code_serial;	/* names the counts; not 0 when there are any */
};

#define PHYS_CHUNK 64u

struct phys_chunk {
	u32 n;			/* 1 to PHYS_CHUNK; the others are zero, hence hold no address */
	u32 serial;		/* vm/slot_map.c: of the change that made it */
	struct phys_slot slot[PHYS_CHUNK];
};

struct phys_map {
	u32 n;
	struct phys_part {
		u64 gpa;	/* of the chunk's first slot */
		struct phys_chunk *chunk;
	} part[];
};
#define phys_for_each_slot(m, s) \
	for (u32 k_ = 0; k_ < (m)->n; k_++) \
		for (const struct phys_slot *s = (m)->part[k_].chunk->slot, \
					   *end_ = s + (m)->part[k_].chunk->n; s < end_; s++)

/* `by` of phys_write(): no vCPU has dealt with the write itself. */
#define PHYS_BY_NOBODY UINT32_MAX

struct phys_ops {
	/* A page became dirty (dirty ring). May be NULL. */
	void (*dirty)(void *owner, const struct phys_slot *s, u64 gpa);
	/* `by` (index of a vCPU) holds the first translation of a page of address space `as`: every
	 * other vCPU must drop it from its write TLB (posted, not waited for). A store made before
	 * it does so is not reported, so it must post a revalidation back when done. */
	void (*code_page)(void *owner, u32 as, u64 gpa, u32 by);
	/* vCPU `by` wrote in a page that holds translations: others must revalidate it, in every
	 * address space. `len` 0: they must revalidate everything. */
	void (*code_written)(void *owner, u64 gpa, u32 len, u32 by);
};

struct phys {
	_Atomic(struct phys_map *) map;
	const struct phys_ops *ops;
	void *owner;		/* struct vm */
	struct phys *twin;	/* the VM's other address space; NULL: there is none */
	u32 as;			/* 0: ordinary, 1: in SMM */
};

/* The slot that holds `gpa`, or NULL. Wait-free. */
const struct phys_slot *phys_find(const struct phys *p, u64 gpa);
/* The same in one map; *at: which it is, of all slots there is room for. */
const struct phys_slot *phys_find_in(const struct phys_map *m, u64 gpa, u32 *at);
/* The last part that does not begin above `gpa`; ~0: none. */
u32 phys_part_of(const struct phys_map *m, u64 gpa);
/* A map of at most PHYS_CHUNK slots, in order. NULL: no memory. */
struct phys_map *phys_map_new(const struct phys_slot *slots, u32 n);
void phys_map_free(struct phys_map *m);	/* with its chunks */

/* Host address of a guest-physical byte that is memory; NULL otherwise. For
 * writers: NULL also for read-only slots, and the page is marked dirty. */
u8 *phys_ptr(struct phys *p, u64 gpa, bool write);

/* Copy from / to guest-physical memory. 0, or -EFAULT when part of the range is not memory, is
 * read-only, or the VMM has unmapped it: usable anywhere. Writes are dirty-logged and reported
 * to code tracking. */
int phys_read(struct phys *p, u64 gpa, void *buf, u64 len);
int phys_write(struct phys *p, u64 gpa, const void *buf, u64 len);

void phys_mark_dirty(struct phys *p, const struct phys_slot *s, u64 gpa);
/* Would phys_mark_dirty() change anything? */
static inline bool phys_is_clean(const struct phys_slot *s, u64 gpa)
{
	u64 page = (gpa - s->gpa) >> PAGE_SHIFT;

	return s->dirty && !(s->flags & PHYS_READONLY) &&
	       !(atomic_load_explicit(&s->dirty[page / 64], memory_order_relaxed) &
		 BIT64(page % 64));
}

/* Code tracking (engine/ through mmu/). The first ref of a page calls ops->code_page. get returns
 * which counts it used, 0 for none; put finds the page, which may be in the other address space,
 * by where it was (`host`; NULL: wherever it is here), and does nothing when other counts are in
 * force by now. */
u32 phys_code_get(struct phys *p, u64 gpa, u32 by);
void phys_code_put(struct phys *p, u64 gpa, const u8 *host, u32 serial);
/* Tell the other vCPUs of a store in a page of s that holds translations. */
void phys_code_written(struct phys *p, const struct phys_slot *s, u64 gpa, u32 len, u32 by);
static inline bool phys_is_code(const struct phys_slot *s, u64 gpa)
{
	return s->code &&
	       atomic_load_explicit(&s->code[(gpa - s->gpa) >> PAGE_SHIFT], memory_order_acquire);
}

#endif
