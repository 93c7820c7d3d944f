/* SPDX-License-Identifier: MIT */
/*
 * direct/mirror.c - which pages a stub has, by which entries of the guest's page tables, and
 * keeping that true.
 *
 * A mirror is a TLB: an entry is there only if the guest's tables allow it now, or did when they
 * were last said to have changed. So a flush need not empty it: it is enough to compare every entry
 * with the tables before the stub runs again. It holds what a TLB may hold: A is set in the tables,
 * and D where it can be written. A page can be written or executed, not both; one that can be
 * executed counts as one with translations, so that every store to it is noticed.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/mem.h"
#include "direct/direct_priv.h"

enum { P = BIT(0), W = BIT(1), U = BIT(2), A = BIT(5), D = BIT(6), PS = BIT(7) };
#define NX BIT64(63)
#define ADDR GENMASK64(51, 12)
#define HOST_MIN 0x10000	/* vm.mmap_min_addr */
/* Pages that are looked at around one that is wanted. */
#define WINDOW 16
#define WINDOW_LARGE 512

struct leaf {
	const u64 *table;	/* NULL: one large page */
	u64 large;
	u64 rights;
	u64 bad;		/* reserved bits */
};

static bool can_be_there(u64 gva)
{
	return gva >= HOST_MIN && gva < USER_TOP &&
	       gva - atomic_load_explicit(&direct_stub_base, memory_order_relaxed) >= STUB_SIZE;
}

static const void *host_of(struct cpu *c, u64 gpa)
{
	const struct phys_slot *s = phys_find(c->phys, gpa);

	return s ? s->hva + (gpa - s->gpa) : NULL;
}

/* What maps the 2 MiB around gva; false: nothing, or an entry there has not been used yet. */
static bool leaf_of(struct cpu *c, u64 gva, struct leaf *l)
{
	u64 table = c->cr3 & ADDR, e;

	l->rights = P | W | U;
	l->table = NULL;
	l->bad = BIT64(52) - BIT64(c->maxphyaddr < 52 ? c->maxphyaddr : 52);
	if (!(c->efer & EFER_NX))
		l->bad |= NX;
	for (u32 shift = 39; shift > 12; shift -= 9) {
		const u64 *p = host_of(c, table + (gva >> shift & 511) * 8);

		if (!p)
			return false;
		e = __atomic_load_n(p, __ATOMIC_RELAXED);
		if ((e & (P | U | A)) != (P | U | A) || (e & l->bad))
			return false;
		l->rights = (l->rights & e & (P | W | U)) | ((l->rights | e) & NX);
		if (e & PS) {
			u64 in = BIT64(shift) - 1;

			if (shift > 30 || (e & ADDR & in & ~0x1fffull) ||
			    (shift == 30 && !c->has_1g_pages))
				return false;
			l->large = (e & ADDR & ~in) | (gva & in & ~(BIT64(21) - 1)) |
				   (e & (P | W | U | A | D));
			return true;
		}
		table = e & ADDR;
	}
	l->table = host_of(c, table);
	return l->table;
}

/* The entry of page i with all that counts; 0: not to be mapped. */
static u64 entry(const struct leaf *l, u32 i)
{
	u64 e = l->table ? __atomic_load_n(&l->table[i], __ATOMIC_RELAXED)
			 : l->large + i * PAGE_SIZE;

	if ((e & (P | U | A)) != (P | U | A) || (e & l->bad))
		return 0;
	e &= ADDR | P | W | U | A | D | NX;
	return (e & (~(u64)W | l->rights)) | (l->rights & NX);
}

static struct region *region_find(const struct mirror *m, u64 key)
{
	struct region *r = m->bucket[key % MIRROR_BUCKETS];

	while (r && r->key != key)
		r = r->next;
	return r;
}

static struct region *region_get(struct mirror *m, u64 key)
{
	struct region *r = region_find(m, key);

	if (r)
		return r;
	r = calloc(1, sizeof(*r));
	if (r) {
		r->key = key;
		r->next = m->bucket[key % MIRROR_BUCKETS];
		m->bucket[key % MIRROR_BUCKETS] = r;
	}
	return r;
}

/* -- what a mapping holds -- */

static void writer(struct direct *d, place_t p, bool more)
{
	u8 *n = &d->writers[PLACE_RAM(p)][PLACE_OFF(p) >> PAGE_SHIFT];

	/* A saturated count has lost track and stays. */
	if (*n != UINT8_MAX)
		*n = (u8)(more ? *n + 1 : *n - 1);
}

bool mirror_writes(const struct direct *d, const u8 *hva)
{
	place_t p = place_of(hva);

	return p != PLACE_NONE && d->writers[PLACE_RAM(p)] &&
	       d->writers[PLACE_RAM(p)][PLACE_OFF(p) >> PAGE_SHIFT];
}

static void release(struct direct *d, struct mirror *m, struct region *r, u32 i)
{
	if (r->prot[i] & MAP_W)
		writer(d, r->place[i], false);
	if ((r->prot[i] & MAP_X) && r->serial[i])
		d->c->ops->code_page(d->c, r->pte[i] & ADDR, NULL, r->serial[i]);
	if (r->prot[i] & MAP_BREAKS)
		for (u32 k = 0; k < SPOTS; k++)
			if ((m->breaks[k] & PAGE_MASK) == (r->key << 21) + i * PAGE_SIZE) {
				m->breaks[k] = 0;
				m->breaks_wait = true;
			}
	r->prot[i] = 0;
	r->set[i / 64] &= ~BIT64(i % 64);
	m->pages--;
}

void mirror_clear(struct direct *d, struct mirror *m)
{
	for (u32 b = 0; b < MIRROR_BUCKETS; b++) {
		struct region *r;

		while ((r = m->bucket[b])) {
			for (u32 i = 0; i < 512; i++)
				if (r->prot[i])
					release(d, m, r, i);
			m->bucket[b] = r->next;
			free(r);
		}
	}
	m->checks = 0;
	cpu_zero(m->breaks, sizeof(m->breaks));
	m->breaks_wait = false;
	m->seen = d->gens;
}

/* -- keeping it true -- */

static bool may_write(const struct phys_slot *s, u64 gpa)
{
	return !(s->flags & PHYS_READONLY) && !phys_is_code(s, gpa) && !phys_is_clean(s, gpa);
}

static bool drop(struct direct *d, struct space *s, struct region *r, u32 i, u32 n)
{
	for (u32 k = i; k < i + n; k++)
		release(d, &s->m, r, k);
	d->n.dropped += n;
	return stub_order(s->stub, SYS_munmap, (r->key << 21) + i * PAGE_SIZE, n * PAGE_SIZE, 0, 0,
			  0, 0);
}

/* Since `from` of gens.code. */
static bool written(const struct direct *d, u64 from, u64 gpa)
{
	if (d->gens.code - from > MIRROR_CHECKS)
		return true;
	for (u64 k = from; k != d->gens.code; k++)
		if (d->written[k % MIRROR_CHECKS] == gpa ||
		    d->written[k % MIRROR_CHECKS] == DIRECT_ALL)
			return true;
	return false;
}

/* Of the bytes of a page. That it may have been written is said too often: by every other vCPU that
 * hears that it is code now. */
static u64 sum_of(const u8 *page)
{
	const u64 *w = (const u64 *)(const void *)page;
	u64 a = 0, b = 0;

	for (u32 i = 0; i < PAGE_SIZE / 8; i += 2) {
		a = (a ^ w[i]) * 0x9e3779b97f4a7c15ull;
		b = (b ^ w[i + 1]) * 0xc2b2ae3d27d4eb4full;
		a ^= a >> 29;
		b ^= b >> 31;
	}
	return a + b;
}

/* since: what the mirror had seen. */
static bool still_good(struct direct *d, const struct leaf *l, const struct region *r, u32 i,
		       const struct gens *since)
{
	u64 gpa = r->pte[i] & ADDR;

	if (entry(l, i) != r->pte[i])
		return false;
	if ((r->prot[i] & MAP_W) && since->writes != d->gens.writes) {
		const struct phys_slot *ps = phys_find(d->c->phys, gpa);

		return ps && may_write(ps, gpa);
	}
	if ((r->prot[i] & MAP_X) && written(d, since->code, gpa)) {
		const u8 *page = host_of(d->c, gpa);

		return page && sum_of(page) == r->sum[i];
	}
	return true;
}

static bool recheck_region(struct direct *d, struct space *s, struct region *r,
			   const struct gens *since)
{
	struct leaf l;
	bool have = leaf_of(d->c, r->key << 21, &l);
	u32 from = 0, n = 0;

	for (u32 w = 0; w < 8; w++) {
		r->noexec[w] = 0;
		for (u64 bits = r->set[w]; bits; bits &= bits - 1) {
			u32 i = w * 64 + (u32)__builtin_ctzll(bits);

			if (have && still_good(d, &l, r, i, since))
				continue;
			if (n && i == from + n) {
				n++;
				continue;
			}
			if (n && !drop(d, s, r, from, n))
				return false;
			from = i;
			n = 1;
		}
	}
	return !n || drop(d, s, r, from, n);
}

void mirror_check_page(struct mirror *m, u64 gva)
{
	for (u32 i = 0; i < m->checks && i < MIRROR_CHECKS; i++)
		if (m->check[i] == gva)
			return;
	if (m->checks < MIRROR_CHECKS)
		m->check[m->checks] = gva;
	if (m->checks <= MIRROR_CHECKS)
		m->checks++;
}

bool mirror_recheck(struct direct *d, struct space *s, bool all)
{
	struct mirror *m = &s->m;
	struct gens since = m->seen;
	u32 checks = m->checks;

	m->checks = 0;
	if (all || since.writes != d->gens.writes || since.code != d->gens.code ||
	    since.tables != d->gens.tables || checks > MIRROR_CHECKS) {
		m->seen.writes = d->gens.writes;
		m->seen.code = d->gens.code;
		m->seen.tables = d->gens.tables;
		d->n.compared++;
		for (u32 b = 0; b < MIRROR_BUCKETS; b++)
			for (struct region *r = m->bucket[b]; r; r = r->next)
				if (!recheck_region(d, s, r, &since))
					return false;
		return true;
	}
	for (u32 k = 0; k < checks; k++) {
		struct region *r = region_find(m, m->check[k] >> 21);
		u32 i = (u32)(m->check[k] >> 12) & 511;
		struct leaf l;

		if (!r)
			continue;
		r->noexec[i / 64] &= ~BIT64(i % 64);
		if (r->prot[i] &&
		    !(leaf_of(d->c, m->check[k], &l) && still_good(d, &l, r, i, &since)) &&
		    !drop(d, s, r, i, 1))
			return false;
	}
	return true;
}

/* -- filling it -- */

/* Pages that are one in the file and in rights. */
struct run {
	u64 gva, n;
	place_t place;
	int prot;
};

static bool map_run(struct direct *d, struct space *s, struct run *u)
{
	int prot = (u->prot & MAP_R ? PROT_READ : 0) | (u->prot & MAP_W ? PROT_WRITE : 0) |
		   (u->prot & MAP_X ? PROT_EXEC : 0);
	u64 n = u->n;

	if (!n)
		return true;
	u->n = 0;
	d->n.mappings++;
	d->n.pages += n;
	return stub_order(s->stub, SYS_mmap, u->gva, n * PAGE_SIZE, (u64)prot,
			  MAP_SHARED | MAP_FIXED | MAP_POPULATE, STUB_FD_RAM + PLACE_RAM(u->place),
			  PLACE_OFF(u->place));
}

/* The bytes of a page that the stub may execute. */
static const u8 *executable(struct direct *d, struct mirror *m, u64 gva)
{
	struct region *r = region_find(m, gva >> 21);
	u32 i = (u32)(gva >> 12) & 511;

	return r && (r->prot[i] & MAP_X) ? host_of(d->c, r->pte[i] & ADDR) : NULL;
}

/* Breakpoints for the page; those of other pages go if there are not enough left. But never those
 * of the page before: an instruction that lies in both would never run. */
static bool set_breaks(struct direct *d, struct space *s, u64 gva, const struct spots *spots)
{
	struct mirror *m = &s->m;
	u32 left = SPOTS, n = 0;

	for (u32 k = 0; k < SPOTS; k++)
		left -= !!m->breaks[k];
	for (u32 k = 0; k < SPOTS && left < spots->n; k++) {
		u64 other = m->breaks[(d->break_next + k) % SPOTS] & PAGE_MASK;
		struct region *r = region_find(m, other >> 21);

		if (!other || other == gva - PAGE_SIZE)
			continue;
		if (!r || !drop(d, s, r, (u32)(other >> 12) & 511, 1))
			return false;
		left = SPOTS;
		for (u32 j = 0; j < SPOTS; j++)
			left -= !!m->breaks[j];
	}
	if (left < spots->n)
		return false;
	d->break_next += spots->n;
	for (u32 k = 0; k < SPOTS && n < spots->n; k++)
		if (!m->breaks[k])
			m->breaks[k] = gva + spots->at[n++];
	m->breaks_wait = true;
	return true;
}

static bool scan(struct direct *d, const u8 *page, u64 sum, const u8 *front, struct spots *spots)
{
	u64 key = sum;
	struct scanned *k;

	/* Decoding begins there. */
	if (front) {
		const u64 *w = (const u64 *)(const void *)(front + PAGE_SIZE - SCAN_AHEAD);

		for (u32 i = 0; i < SCAN_AHEAD / 8; i++)
			key = (key ^ w[i]) * 0x9e3779b97f4a7c15ull;
		key ^= key >> 32;
	}
	k = &d->scanned[key % SCANNED];
	if (!key || k->key != key) {
		k->ok = scan_page(page, front, &k->spots);
		k->key = key;
	}
	*spots = k->spots;
	return k->ok;
}

/* What it takes to execute a page: MAP_X, with breakpoints or without; 0: it cannot be, or, where
 * it is not the one that is wanted, that is not worth breakpoints. front: the bytes of the page
 * before, whether or not it may be executed yet. */
static u8 may_execute(struct direct *d, struct space *s, u64 gva, const u8 *page, u64 sum,
		      const u8 *front, bool wanted, bool *never)
{
	const u8 *before = executable(d, &s->m, gva - PAGE_SIZE),
		 *behind = executable(d, &s->m, gva + PAGE_SIZE);
	struct spots spots;

	*never = !scan(d, page, sum, front, &spots) || (before && !scan_edge(before, page)) ||
		 (behind && !scan_edge(page, behind)) || (spots.n && s->no_breaks);
	if (*never)
		return 0;
	if (!spots.n)
		return MAP_X;
	*never = wanted && !set_breaks(d, s, gva, &spots);
	return wanted && !*never ? MAP_X | MAP_BREAKS : 0;
}

const u8 *mirror_code(struct direct *d, struct space *s, u64 gva)
{
	return executable(d, &s->m, gva);
}

bool mirror_has(const struct space *s, u64 gva)
{
	const struct region *r = region_find(&s->m, gva >> 21);

	return r && r->prot[gva >> 12 & 511];
}

static bool count_writers(struct direct *d, place_t p)
{
	u8 **w = &d->writers[PLACE_RAM(p)];

	if (!*w)
		*w = calloc(direct_ram[PLACE_RAM(p)].size >> PAGE_SHIFT, 1);
	return *w;
}

/* What page i can have, and what that takes. 0: nothing. */
static u8 rights(struct direct *d, struct space *s, struct region *r, const struct leaf *l, u32 i,
		 u64 e, enum mem_access acc, bool wanted, place_t *place)
{
	struct cpu *c = d->c;
	u64 gpa = e & ADDR, gva = (r->key << 21) + i * PAGE_SIZE;
	const struct phys_slot *ps = phys_find(c->phys, gpa);
	const u8 *host;

	if (!ps)
		return 0;
	host = ps->hva + (gpa - ps->gpa);
	*place = place_of(host);
	if (*place == PLACE_NONE || PLACE_RAM(*place) >= s->ram_n)
		return 0;
	if (wanted && acc == MEM_W && (ps->flags & PHYS_LOG_DIRTY) && !phys_is_code(ps, gpa))
		phys_mark_dirty(c->phys, ps, gpa);
	if ((e & W) && (e & D) && !(wanted && acc == MEM_X) && may_write(ps, gpa) &&
	    count_writers(d, *place))
		return MAP_R | MAP_W;
	if ((e & NX) || acc != MEM_X || (r->noexec[i / 64] & BIT64(i % 64)))
		return MAP_R;
	/* Counted first: from now on every store is noticed. */
	u32 serial = c->ops->code_page(c, gpa, NULL, 0);
	u64 sum = serial ? sum_of(host) : 0;
	u64 f = i ? entry(l, i - 1) : 0;

	u8 x = 0;
	bool never = false;

	if (serial)
		x = may_execute(d, s, gva, host, sum, f && !(f & NX) ? host_of(c, f & ADDR) : NULL,
				wanted, &never);
	if (x) {
		r->serial[i] = serial;
		r->sum[i] = sum;
		return MAP_R | x;
	}
	if (serial)
		c->ops->code_page(c, gpa, NULL, serial);
	if (never || !serial)
		r->noexec[i / 64] |= BIT64(i % 64);
	return MAP_R;
}

bool mirror_fill(struct direct *d, struct space *s, u64 gva, enum mem_access acc)
{
	const u8 need = acc == MEM_W ? MAP_W : acc == MEM_X ? MAP_X : MAP_R;
	u32 at = (u32)(gva >> 12) & 511, lo, window = WINDOW;
	struct run run = { 0 };
	struct region *r;
	struct leaf l;

	if (!leaf_of(d->c, gva, &l) || !can_be_there(gva & PAGE_MASK))
		return false;
	r = region_get(&s->m, gva >> 21);
	if (!r)
		return false;
	/* An instruction that writes to its own page would want it to be both in turn, for ever:
	 * the translator makes the store. */
	if (acc == MEM_W && (r->prot[at] & MAP_X)) {
		drop(d, s, r, at, 1);
		return false;
	}
	/* It is there to be read, and that is all it can have. */
	if (acc == MEM_X && r->prot[at] && (r->noexec[at / 64] & BIT64(at % 64)) &&
	    entry(&l, at) == r->pte[at])
		return false;
	if (!l.table && acc != MEM_X)
		window = WINDOW_LARGE;
	lo = at & ~(window - 1);
	for (u32 i = lo; i < lo + window; i++) {
		u64 a = (r->key << 21) + i * PAGE_SIZE, e = entry(&l, i);
		place_t place = 0;
		u8 prot;

		/* What is there already stays as it is. */
		if (!e || !can_be_there(a) || (i != at && r->prot[i]))
			continue;
		if (i == at && r->prot[i]) {
			if (r->pte[i] == e && (r->prot[i] & need))
				continue;
			if (!drop(d, s, r, i, 1))
				return false;
		}
		prot = rights(d, s, r, &l, i, e, acc, i == at, &place);
		if (!prot)
			continue;
		s->m.pages++;
		r->prot[i] = prot;
		r->pte[i] = e;
		r->place[i] = place;
		r->set[i / 64] |= BIT64(i % 64);
		if (prot & MAP_W)
			writer(d, place, true);
		if (run.n && a == run.gva + run.n * PAGE_SIZE && place == run.place + run.n &&
		    prot == run.prot) {
			run.n++;
			continue;
		}
		if (!map_run(d, s, &run))
			return false;
		run = (struct run){ .gva = a, .n = 1, .place = place, .prot = prot };
	}
	return map_run(d, s, &run) && (r->prot[at] & need);
}
