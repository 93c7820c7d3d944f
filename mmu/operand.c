/* SPDX-License-Identifier: MIT */
/*
 * mmu/operand.c - memory operands: found once, in the at most two pages they lie in, then read,
 * written or worked on where they are.
 */
#include "base/mem.h"
#include "engine/engine.h"
#include "mmu/mmu_priv.h"

static const struct mmio_ops *mmio;	/* set once before any vCPU exists */

void mmu_set_mmio(const struct mmio_ops *ops)
{
	mmio = ops;
}

/* One load and one store on the guest's side: aligned accesses up to 8 bytes are
 * atomic (APM2 7.3.2). */
typedef volatile u16 __attribute__((aligned(1), may_alias)) any16;
typedef volatile u32 __attribute__((aligned(1), may_alias)) any32;
typedef volatile u64 __attribute__((aligned(1), may_alias)) any64;

static inline void copy_guest(void *d, const void *s, u32 n)
{
	switch (n) {
	case 1:
		*(volatile u8 *)d = *(const volatile u8 *)s;
		return;
	case 2:
		*(any16 *)d = *(const any16 *)s;
		return;
	case 4:
		*(any32 *)d = *(const any32 *)s;
		return;
	case 8:
		*(any64 *)d = *(const any64 *)s;
		return;
	}
	if (n <= 64 && n % 8 == 0) {
		for (u32 i = 0; i < n; i += 8)
			*(any64 *)((u8 *)d + i) = *(const any64 *)((const u8 *)s + i);
		return;
	}
	cpu_copy(d, s, n);
}

static inline void watch_note(struct cpu *c, u64 gva, u32 len, bool write)
{
	if (unlikely(c->watch_dr7))
		mmu_watch_hit(c, gva, len, write);
}

static inline u8 *tlb_hit(struct cpu *c, u64 gva, u32 len, enum mmu_idx idx, bool write)
{
	u32 slot = (u32)(gva >> PAGE_SHIFT) % TLB_SIZE;
	const struct tlb_entry *e = write ? &c->tlb[idx].w[slot] : &c->tlb[idx].r[slot];

	if (likely(gva - e->tag <= PAGE_SIZE - len))
		return (u8 *)(uintptr_t)e->host + (gva - e->tag);
	return NULL;
}

/* Would a store in both pages go through? With c->fault if not; no bit is set in any table for a
 * store that does not come about (APM2 5.4.2: D). */
static enum cpu_result both_writable(struct cpu *c, const u64 gva[2], enum mmu_idx idx)
{
	struct mmu_walk w;
	enum cpu_result r;

	c->tentative = 1;
	r = mmu_translate(c, gva[0], MEM_W, idx, &w);
	if (!r)
		r = mmu_translate(c, gva[1], MEM_W, idx, &w);
	c->tentative = 0;
	return r;
}

/* Everything is resolved before anything is transferred, so that a fault on the second page leaves
 * no trace of the first. */
static enum cpu_result open_ref(struct cpu *c, u64 gva, u32 len, enum mem_access acc,
				enum mmu_idx idx, struct mem_ref *m)
{
	u32 room = (u32)(PAGE_SIZE - (gva & ~PAGE_MASK));
	bool two = len > room, write = acc == MEM_W;
	u64 at[2] = { gva, gva + room };

	m->gva = gva;
	m->len = len;
	m->n = two ? 2 : 1;
	/* Linear addresses wrap at 4 GiB outside long mode (APM2 1.3). */
	if (!cpu_in_lm(c))
		at[1] = (u32)at[1];
	if (two && write) {
		enum cpu_result r = both_writable(c, at, idx);

		if (r)
			return r;
	}
	for (u32 i = 0; i < m->n; i++) {
		struct mem_part *p = &m->p[i];
		struct mmu_target t;
		enum cpu_result r;
		u8 *host;

		*p = (struct mem_part){ .len = i ? len - room : two ? room : len };
		host = tlb_hit(c, at[i], p->len, idx, write);
		if (host) {
			p->src = host;
			p->dst = write ? host : NULL;
			continue;
		}
		r = mmu_resolve(c, at[i], acc, idx, &t);
		if (r)
			return r;
		p->gpa = t.gpa;
		p->src = t.host;
		if (!write)
			continue;
		p->dst = t.host;
		/* Reads of a read-only slot come from its memory, writes are the device's. */
		if (!t.host && t.slot)
			p->src = t.slot->hva + (t.gpa - t.slot->gpa);
		/* Code is here, or a watchpoint: look again after the store. */
		if (!t.direct)
			p->slot = t.slot;
	}
	return CPU_OK;
}

static enum cpu_result device_read(struct cpu *c, u64 gpa, u8 *buf, u32 len)
{
	while (len) {
		u32 n = len < 8 ? len : 8;
		enum cpu_result r;

		if (!mmio) {
			for (u32 i = 0; i < n; i++)
				buf[i] = 0xff;
		} else {
			r = mmio->read(c, gpa, buf, n);
			if (r)
				return r;
		}
		gpa += n;
		buf += n;
		len -= n;
	}
	return CPU_OK;
}

static enum cpu_result device_write(struct cpu *c, u64 gpa, const u8 *buf, u32 len)
{
	enum cpu_result ret = CPU_OK;

	while (len && mmio) {
		u32 n = len < 8 ? len : 8;
		enum cpu_result r = mmio->write(c, gpa, buf, n);

		if (r == CPU_FAULT)
			return r;
		if (r)
			ret = r;
		gpa += n;
		buf += n;
		len -= n;
	}
	return ret;
}

/* A store has been made there. */
static inline void part_written(struct cpu *c, const struct mem_part *p)
{
	if (unlikely(p->slot && p->dst) && phys_is_code(p->slot, p->gpa))
		mmu_wrote(c, p->slot, p->gpa, p->len);
}

/* Before an instruction that writes is executed: do the devices among its parts let it? */
static enum cpu_result ask_devices(struct cpu *c, const struct mem_ref *m)
{
	enum cpu_result r = CPU_OK;

	for (u32 i = 0; unlikely(!r && i < m->n); i++)
		if (!m->p[i].dst && mmio && mmio->probe_w)
			r = mmio->probe_w(c, m->p[i].gpa, m->p[i].len);
	return r;
}

enum cpu_result mmu_mem_open(struct cpu *c, u64 gva, u32 len, enum mem_access acc, enum mmu_idx idx,
			     struct mem_ref *m)
{
	enum cpu_result r = open_ref(c, gva, len, acc, cpu_idx_here(c, idx), m);

	return r || acc != MEM_W ? r : ask_devices(c, m);
}

enum cpu_result mmu_mem_load(struct cpu *c, const struct mem_ref *m, void *buf)
{
	u8 *d = buf;

	for (u32 i = 0; i < m->n; i++) {
		const struct mem_part *p = &m->p[i];

		if (p->src) {
			copy_guest(d, p->src, p->len);
		} else {
			enum cpu_result r = device_read(c, p->gpa, d, p->len);

			if (r)
				return r;
		}
		d += p->len;
	}
	watch_note(c, m->gva, m->len, false);
	return CPU_OK;
}

enum cpu_result mmu_mem_store(struct cpu *c, const struct mem_ref *m, const void *buf)
{
	const u8 *s = buf;
	enum cpu_result ret = CPU_OK;

	for (u32 i = 0; i < m->n; i++) {
		const struct mem_part *p = &m->p[i];

		if (p->dst) {
			copy_guest(p->dst, s, p->len);
			part_written(c, p);
		} else {
			enum cpu_result r = device_write(c, p->gpa, s, p->len);

			if (r == CPU_FAULT)
				return r;
			if (r)
				ret = r;
		}
		s += p->len;
	}
	watch_note(c, m->gva, m->len, true);
	return ret;
}

void mmu_mem_used(struct cpu *c, const struct mem_ref *m, bool write)
{
	if (write)
		for (u32 i = 0; i < m->n; i++)
			part_written(c, &m->p[i]);
	watch_note(c, m->gva, m->len, write);
}

/* Where it is: *host, if the TLB has its page, else *m. */
static inline enum cpu_result locate(struct cpu *c, u64 gva, u32 len, enum mem_access acc,
				     enum mmu_idx idx, u8 **host, struct mem_ref *m)
{
	idx = cpu_idx_here(c, idx);
	*host = tlb_hit(c, gva, len, idx, acc == MEM_W);
	return likely(*host) ? CPU_OK : open_ref(c, gva, len, acc, idx, m);
}

enum cpu_result mmu_mem_read(struct cpu *c, u64 gva, void *buf, u32 len, enum mmu_idx idx)
{
	struct mem_ref m;
	u8 *host;
	enum cpu_result r = len ? locate(c, gva, len, MEM_R, idx, &host, &m) : CPU_OK;

	if (unlikely(r || !len))
		return r;
	if (unlikely(!host))
		return mmu_mem_load(c, &m, buf);
	copy_guest(buf, host, len);
	return CPU_OK;
}

enum cpu_result mmu_mem_write(struct cpu *c, u64 gva, const void *buf, u32 len, enum mmu_idx idx)
{
	struct mem_ref m;
	u8 *host;
	enum cpu_result r = len ? locate(c, gva, len, MEM_W, idx, &host, &m) : CPU_OK;

	if (unlikely(r || !len))
		return r;
	if (unlikely(!host))
		return mmu_mem_store(c, &m, buf);
	copy_guest(host, buf, len);
	return CPU_OK;
}

enum cpu_result mmu_mem_probe_w(struct cpu *c, u64 gva, u32 len, enum mmu_idx idx)
{
	struct mem_ref m;

	idx = cpu_idx_here(c, idx);
	if (!len || tlb_hit(c, gva, len, idx, true))
		return CPU_OK;
	return mmu_mem_open(c, gva, len, MEM_W, idx, &m);
}
