/* SPDX-License-Identifier: MIT */
/*
 * mmu/access.c - linear memory access: TLB fill, page crossing, MMIO, writes to
 * pages that hold translated code, watchpoints.
 */
#include "base/mem.h"
#include "engine/engine.h"
#include "mmu/internal.h"

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

/* The same bytes at other guest-physical addresses. Within a page. */
static void wrote_aliases(struct cpu *c, const struct phys_slot *s, u64 gpa, u32 len)
{
	const struct phys_map *m = atomic_load_explicit(&c->phys->map, memory_order_acquire);
	const u8 *host = s->hva + (gpa - s->gpa);

	for (u32 i = 0; i < m->n; i++) {
		const struct phys_slot *t = &m->slot[i];

		if (t->code_serial == s->code_serial && t->gpa != s->gpa && host >= t->hva &&
		    (u64)(host - t->hva) < t->size)
			engine_code_written(c, t->gpa + (u64)(host - t->hva), len);
	}
}

void mmu_wrote(struct cpu *c, const struct phys_slot *s, u64 gpa, u32 len)
{
	engine_code_written(c, gpa, len);
	if (unlikely(s->flags & PHYS_ALIASED))
		wrote_aliases(c, s, gpa, len);
	phys_code_written(c->phys, s, gpa, len, c->index);
}

/* -- data watchpoints (APM2 13.1.4) -- */

void mmu_set_watch(struct cpu *c, const u64 addr[4], u32 dr7)
{
	u32 live = 0;

	for (u32 i = 0; i < 4; i++) {
		u32 rw = dr7 >> (16 + 4 * i) & 3;

		c->watch_addr[i] = addr[i];
		if ((dr7 >> (2 * i) & 3) && (rw & 1))
			live |= (3u << (2 * i)) | (dr7 & (15u << (16 + 4 * i)));
	}
	if (live || c->watch_dr7)
		mmu_flush_all(c);
	c->watch_dr7 = live;
}

/* DR6 bits of the watchpoints that [gva, gva + len) touches. */
static u32 watch_match(const struct cpu *c, u64 gva, u32 len, bool write, bool any)
{
	static const u8 size[] = { 1, 2, 8, 4 };
	u32 hit = 0;

	for (u32 i = 0; i < 4; i++) {
		u32 n = size[c->watch_dr7 >> (18 + 4 * i) & 3];
		u64 a = c->watch_addr[i] & ~(u64)(n - 1);

		if (!(c->watch_dr7 >> (2 * i) & 3))
			continue;
		if (!any && !write && (c->watch_dr7 >> (16 + 4 * i) & 3) == 1)
			continue;
		if (gva < a + n && a < gva + len)
			hit |= BIT(i);
	}
	return hit;
}

static inline void watch_note(struct cpu *c, u64 gva, u32 len, bool write)
{
	if (unlikely(c->watch_dr7))
		c->watch_hit |= watch_match(c, gva, len, write, false);
}

/* -- resolution -- */

int mmu_resolve(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx,
		struct mmu_target *t)
{
	const struct phys_slot *s;
	struct mmu_walk w;
	struct mmu_io_entry *io = &c->io_tlb[(gva >> PAGE_SHIFT) % IO_TLB_SIZE];
	u8 *page;
	bool write;
	int r;

	idx = cpu_idx_here(c, idx);
	if (io->tag == ((gva & PAGE_MASK) | acc) && io->idx == idx) {
		*t = (struct mmu_target){ .gpa = io->gpa + (gva & ~PAGE_MASK), .page_size = PAGE_SIZE };
		return CPU_OK;
	}
	r = mmu_translate(c, gva, acc, idx, &w);
	if (unlikely(r))
		return r;
	s = mmu_slot(c, w.gpa, HINT_DATA);
	*t = (struct mmu_target){
		.gpa = w.gpa, .slot = s, .global = w.global, .page_size = w.page_size,
	};
	if (unlikely(!s)) {
		if (acc != MEM_X)
			*io = (struct mmu_io_entry){ .tag = (gva & PAGE_MASK) | acc,
						     .gpa = w.gpa & PAGE_MASK, .idx = (u8)idx };
		return CPU_OK;
	}
	if (acc == MEM_W) {
		if (unlikely(s->flags & PHYS_READONLY))
			return CPU_OK;
		phys_mark_dirty(c->phys, s, w.gpa);
	}
	t->host = s->hva + (w.gpa - s->gpa);
	if (acc == MEM_X)
		return CPU_OK;
	if (unlikely(c->watch_dr7 && watch_match(c, gva & PAGE_MASK, PAGE_SIZE, true, true)))
		return CPU_OK;
	/* A write entry needs D and the dirty bit set and no code on the page; a read
	 * may bring it along when all of that holds already. */
	if (phys_is_code(s, w.gpa))
		write = false;
	else if (acc == MEM_W)
		write = true;
	else
		write = w.writable && !(s->flags & PHYS_READONLY) && !s->dirty;
	page = t->host - (gva & ~PAGE_MASK);
	t->direct = acc == MEM_R || write;
	tlb_install(c, idx, false, gva, page, &w);
	if (write)
		tlb_install(c, idx, true, gva, page, &w);
	return CPU_OK;
}

int mmu_tlb_fill(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx)
{
	struct mmu_target t;
	int r = mmu_resolve(c, gva, acc, idx, &t);

	if (r)
		return r;
	return t.direct ? CPU_OK : CPU_EXIT;
}

/* Extend the range in which INVLPG must drop all execute translations. */
static void note_large_code(struct cpu *c, u64 gva, u64 size)
{
	struct mmu_ctx *m = &c->mmu[c->in_l2];
	u32 h = gva >> 63;
	u64 mask = m->xmask[h] & ~(size - 1);

	if (m->xbase[h] == 1)
		m->xbase[h] = gva;
	while ((m->xbase[h] ^ gva) & mask)
		mask <<= 1;
	m->xmask[h] = mask;
	m->xbase[h] &= mask;
}

int mmu_fetch(struct cpu *c, u64 gva, struct fetch_page *out)
{
	struct mmu_target t;
	int r = mmu_resolve(c, gva, MEM_X, cpu_mmu_idx(c), &t);

	if (r)
		return r;
	if (t.page_size > PAGE_SIZE)
		note_large_code(c, gva, t.page_size);
	*out = (struct fetch_page){
		.gpa = t.gpa & PAGE_MASK,
		.host = t.host ? t.host - (gva & ~PAGE_MASK) : NULL,
		.global = t.global,
	};
	return CPU_OK;
}

static inline u8 *tlb_hit(struct cpu *c, u64 gva, u32 len, enum mmu_idx idx, bool write)
{
	u32 slot = (u32)(gva >> PAGE_SHIFT) % TLB_SIZE;
	const struct tlb_entry *e = write ? &c->tlb[idx].w[slot] : &c->tlb[idx].r[slot];

	if (likely(gva - e->tag <= PAGE_SIZE - len))
		return (u8 *)(uintptr_t)e->host + (gva - e->tag);
	return NULL;
}

/* The at most two pages of one access. */
struct parts {
	u32 n;
	struct {
		u64 gva;
		u32 len;
		struct mmu_target t;
	} p[2];
};

/* Resolve everything before anything is transferred, so that a fault on the second
 * page leaves no trace of the first. */
static int resolve_parts(struct cpu *c, u64 gva, u32 len, enum mem_access acc,
			 enum mmu_idx idx, struct parts *ps)
{
	u32 room = (u32)(PAGE_SIZE - (gva & ~PAGE_MASK));

	ps->n = len > room ? 2 : 1;
	ps->p[0].gva = gva;
	ps->p[0].len = len > room ? room : len;
	ps->p[1].gva = gva + room;
	ps->p[1].len = len - ps->p[0].len;
	/* Linear addresses wrap at 4 GiB outside long mode (APM2 1.3). */
	if (!cpu_in_lm(c))
		ps->p[1].gva = (u32)ps->p[1].gva;
	for (u32 i = 0; i < ps->n; i++) {
		u8 *host = tlb_hit(c, ps->p[i].gva, ps->p[i].len, idx, acc == MEM_W);
		int r;

		if (host) {
			ps->p[i].t = (struct mmu_target){ .host = host, .direct = true };
			continue;
		}
		r = mmu_resolve(c, ps->p[i].gva, acc, idx, &ps->p[i].t);
		if (r)
			return r;
	}
	return CPU_OK;
}

static int mmio_read(struct cpu *c, u64 gpa, u8 *buf, u32 len)
{
	while (len) {
		u32 n = len < 8 ? len : 8;
		int r;

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

static int mmio_write(struct cpu *c, u64 gpa, const u8 *buf, u32 len)
{
	int ret = CPU_OK;

	while (len && mmio) {
		u32 n = len < 8 ? len : 8;
		int r = mmio->write(c, gpa, buf, n);

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

int mmu_mem_read(struct cpu *c, u64 gva, void *buf, u32 len, enum mmu_idx idx)
{
	struct parts ps;
	u8 *d = buf;
	u8 *host;
	int r;

	if (unlikely(!len))
		return CPU_OK;
	idx = cpu_idx_here(c, idx);
	host = tlb_hit(c, gva, len, idx, false);
	if (likely(host)) {
		copy_guest(d, host, len);
		return CPU_OK;
	}
	r = resolve_parts(c, gva, len, MEM_R, idx, &ps);
	if (r)
		return r;
	for (u32 i = 0; i < ps.n; i++) {
		if (ps.p[i].t.host) {
			copy_guest(d, ps.p[i].t.host, ps.p[i].len);
		} else {
			r = mmio_read(c, ps.p[i].t.gpa, d, ps.p[i].len);
			if (r)
				return r;
		}
		d += ps.p[i].len;
	}
	watch_note(c, gva, len, false);
	return CPU_OK;
}

static int write_part(struct cpu *c, const struct mmu_target *t, const u8 *s, u32 len)
{
	if (!t->host)
		return mmio_write(c, t->gpa, s, len);
	copy_guest(t->host, s, len);
	/* Not direct: code was here, or a watchpoint; look again after the store. */
	if (!t->direct && phys_is_code(t->slot, t->gpa))
		mmu_wrote(c, t->slot, t->gpa, len);
	return CPU_OK;
}

int mmu_mem_write(struct cpu *c, u64 gva, const void *buf, u32 len, enum mmu_idx idx)
{
	const u8 *s = buf;
	struct parts ps;
	int ret = CPU_OK;
	u8 *host;
	int r;

	if (unlikely(!len))
		return CPU_OK;
	idx = cpu_idx_here(c, idx);
	host = tlb_hit(c, gva, len, idx, true);
	if (likely(host)) {
		copy_guest(host, s, len);
		return CPU_OK;
	}
	r = resolve_parts(c, gva, len, MEM_W, idx, &ps);
	if (r)
		return r;
	for (u32 i = 0; i < ps.n; i++) {
		r = write_part(c, &ps.p[i].t, s, ps.p[i].len);
		if (r == CPU_FAULT)
			return r;
		if (r)
			ret = r;
		s += ps.p[i].len;
	}
	watch_note(c, gva, len, true);
	return ret;
}

int mmu_mem_probe_w(struct cpu *c, u64 gva, u32 len, enum mmu_idx idx)
{
	struct parts ps;
	int r;

	idx = cpu_idx_here(c, idx);
	if (!len || tlb_hit(c, gva, len, idx, true))
		return CPU_OK;
	r = resolve_parts(c, gva, len, MEM_W, idx, &ps);
	for (u32 i = 0; unlikely(!r && i < ps.n); i++)
		if (!ps.p[i].t.host && mmio && mmio->probe_w)
			r = mmio->probe_w(c, ps.p[i].t.gpa, ps.p[i].len);
	return r;
}
