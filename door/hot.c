/* SPDX-License-Identifier: MIT */
/*
 * door/hot.c - a system call instruction from which KVM_RUN comes again and again is rewritten to a
 * jump to a stub, from where it is answered without a trap (hot_entry.c).
 *
 * SYSCALL has two bytes, a jump five. No instruction behind it may be overwritten: threads return
 * there from the calls they wait in, others may jump there. So there are two ways:
 *
 * - Only SYSCALL itself is overwritten, by the first two bytes of a jump; the three that follow, as
 *   they are, are the upper bytes of its distance. If memory can be had at the place they name,
 *   that is where the stub is.
 * - "mov $16, %eax" in front of it, if it is one: five bytes. SYSCALL stays.
 *
 * Both are one store within an aligned quadword, which other processors see whole or not at all
 * (APM2 7.6.1, asynchronous modification). Any other call from the same site is made as it was.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "base/options.h"
#include "door/hot.h"
#include "shim/shim.h"

enum {
	SITES = 32, STUB = 64, SEEN = 16,
	AFTER = 64,			/* traps, before a site is worth it */
	MOV = 5,			/* bytes of mov $nr, %eax */
	BEFORE = 80, BEHIND = 48,	/* bytes looked at around a site */
	KVM_RUN_CMD = 0xae80,
	FP_XSTATE_MAGIC = 0x46505853,
	TRAP_FLAG = 0x100,
};

/* Pages of its own: hot_forked(). */
_Atomic u32 hot_tid[HOT_TIDS] __attribute__((aligned(PAGE_SIZE)));
u64 hot_frames[HOT_TIDS];

static u64 text_first, text_end;
static bool off;

static struct hot_site sites[SITES];	/* hot_lock; those below nr_sites do not change */
static _Atomic u32 nr_sites;
static pthread_mutex_t hot_lock = PTHREAD_MUTEX_INITIALIZER;

/* Pages of stubs, and which of their places are taken; hot_lock. */
static struct {
	u64 at, taken;
} pages[SITES];
static u32 nr_pages;

/* Where KVM_RUN comes from. Lost counts only cost time. */
static struct {
	_Atomic u64 back;
	_Atomic u32 n;
} seen[SEEN];

static void lock(void)
{
	pthread_mutex_lock(&hot_lock);
}

static void unlock(void)
{
	pthread_mutex_unlock(&hot_lock);
}

void hot_init(u64 first, u64 end)
{
	text_first = first;
	text_end = end;
	off = !door_has_fsgsbase || option_word(OPT_HOT) == 0;
	pthread_atfork(lock, unlock, unlock);
}

static struct hot_frame *frame_of(const struct door_thread *t)
{
	return (struct hot_frame *)(uintptr_t)((u64)(uintptr_t)t + PAGE_SIZE + HOT_BELOW);
}

/* -- threads -- */

static void add_thread(struct door_thread *t, const struct kucontext *uc)
{
	const struct {
		u32 magic, bytes;
		u64 features;
	} *sw = user_ptr(uc->fpstate + 464);
	struct hot_frame *h = frame_of(t);
	u64 fp = ALIGN_UP((u64)(uintptr_t)(h + 1), 64);
	u32 tid, none = 0;

	if (t->hot || t->other_process || !uc->fpstate || sw->magic != FP_XSTATE_MAGIC ||
	    fp + sw->bytes > (u64)(uintptr_t)h + HOT_BYTES - HOT_BELOW)
		return;
	tid = (u32)RAW(SYS_gettid);
	if (!atomic_compare_exchange_strong(&hot_tid[tid % HOT_TIDS], &none, ~0u))
		return;		/* a neighbour's */
	h->frame.uc = *uc;
	h->frame.uc.fpstate = fp;
	memcpy(user_ptr(fp), user_ptr(uc->fpstate), sw->bytes);
	h->thread = (u64)(uintptr_t)t;
	/* Within the region: inside(). */
	h->top = ALIGN_DOWN((u64)uc->stack.ss_sp + uc->stack.ss_size - 1, 64);
	h->xmask = sw->features;
	hot_frames[tid % HOT_TIDS] = (u64)(uintptr_t)&h->frame;
	t->hot = tid;
	atomic_store(&hot_tid[tid % HOT_TIDS], tid);
}

void hot_gone(struct door_thread *t)
{
	if (t->hot && !t->other_process)
		atomic_store(&hot_tid[t->hot % HOT_TIDS], 0);
}

void hot_forked(struct door_thread *t)
{
	t->hot = 0;
	if (atomic_load(&nr_sites))
		madvise((void *)hot_tid, sizeof(hot_tid), MADV_DONTNEED);
}

/* -- sites -- */

/* Memory of the program's that is private: nothing else than this process sees what we write. */
static bool is_text(u64 at)
{
	return (at >= text_first && at < text_end) || (at >= LOADER_BASE && at < MAPPED_END);
}

/* The filter has to see a system call there as it does at the site. */
static bool is_alike(u64 at, u64 like)
{
	u64 hi = at >> 32;

	if (like >> 32 == 0)
		return hi == 0;
	return hi >= PROGRAM_HI_FIRST && hi < PROGRAM_HI_END && like >> 32 >= PROGRAM_HI_FIRST &&
	       like >> 32 < PROGRAM_HI_END;
}

/* The places of [first, last] for stubs: one that is free, or 0. hot_lock. */
static u64 take(u64 first, u64 last)
{
	for (u64 at = ALIGN_UP(first, STUB); at <= last; at += STUB) {
		u64 page = at & PAGE_MASK, bit = BIT64((at - page) / STUB);
		u32 i = 0;

		while (i < nr_pages && pages[i].at != page)
			i++;
		if (i == nr_pages) {
			void *p;

			if (i == ARRAY_SIZE(pages))
				return 0;
			p = mmap(user_ptr(page), PAGE_SIZE, PROT_READ | PROT_EXEC,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
			if (p == MAP_FAILED)
				continue;
			if (p != user_ptr(page)) {
				munmap(p, PAGE_SIZE);
				continue;
			}
			pages[nr_pages++].at = page;
		}
		if (pages[i].taken & bit)
			continue;
		pages[i].taken |= bit;
		return at;
	}
	return 0;
}

/* Code that others may be executing stays executable. */
static bool writable(u64 at, bool yes)
{
	return !mprotect(user_ptr(at & PAGE_MASK), PAGE_SIZE,
			 PROT_READ | PROT_EXEC | (yes ? PROT_WRITE : 0));
}

struct code {
	u8 bytes[STUB];
	u32 n;
};

static void put(struct code *c, const void *bytes, u32 n)
{
	memcpy(c->bytes + c->n, bytes, n);
	c->n += n;
}

static void put_jump(struct code *c, u64 stub, u64 to)
{
	s32 rel = (s32)(to - (stub + c->n + 5));

	put(c, "\xe9", 1);
	put(c, &rel, 4);
}

/* lea -0xae80(%rsi), %rcx; jrcxz over the next two or five bytes */
static void put_is_run(struct code *c, u8 over)
{
	put(c, "\x48\x8d\x8e\x80\x51\xff\xff\xe3", 8);
	put(c, &over, 1);
}

/* mov $site, %rsi; mov $hot_entry, %rcx; jmp *%rcx */
static void put_enter(struct code *c, const struct hot_site *s)
{
	u64 site = (u64)(uintptr_t)s, entry = (u64)(uintptr_t)hot_entry;

	put(c, "\x48\xbe", 2);
	put(c, &site, 8);
	put(c, "\x48\xb9", 2);
	put(c, &entry, 8);
	put(c, "\xff\xe1", 2);
}

/* In place of SYSCALL. */
static void make_call_stub(struct code *c, struct hot_site *s)
{
	/* lea -16(%rax), %rcx; jrcxz 1f; 2: syscall; jmp back; 1: RUN? else jmp 2b */
	put(c, "\x48\x8d\x48\xf0\xe3\x07\x0f\x05", 8);
	s->call = s->stub + 6;
	s->called = s->stub + 8;
	put_jump(c, s->stub, s->back);
	put_is_run(c, 2);
	put(c, "\xeb", 1);
	put(c, &(s8){ (s8)(6 - (s32)(c->n + 1)) }, 1);
	put_enter(c, s);
}

/* In place of mov $16, %eax. */
static void make_mov_stub(struct code *c, struct hot_site *s)
{
	put(c, "\xb8\x10\0\0\0", MOV);
	put_is_run(c, 5);
	put_jump(c, s->stub, s->call);
	put_enter(c, s);
}

/* One store: n bytes at `at` become `new` if they are `old`. */
static bool replace(u64 at, const void *old, const void *new, u32 n)
{
	u64 q = ALIGN_DOWN(at, 8), was, is;
	_Atomic u64 *p = (_Atomic u64 *)user_ptr(q);
	bool done;

	was = atomic_load(p);
	if (memcmp((u8 *)&was + (at - q), old, n))
		return false;
	is = was;
	memcpy((u8 *)&is + (at - q), new, n);
	if (!writable(at, true))
		return false;
	done = atomic_compare_exchange_strong(p, &was, is);
	writable(at, false);
	return done;
}

static bool fill(u64 stub, const struct code *c)
{
	if (!writable(stub, true))
		return false;
	memcpy(user_ptr(stub), c->bytes, c->n);
	return writable(stub, false);
}

/* The site is known before anybody can come from it. */
static bool add_site(u64 at, const void *old, u32 n, struct hot_site *s,
		     void (*make)(struct code *c, struct hot_site *s))
{
	u32 nr = atomic_load(&nr_sites);
	struct code c = { .n = 0 };
	u8 jump[5] = { 0xe9 };
	s32 rel;

	sites[nr] = *s;
	make(&c, &sites[nr]);
	sites[nr].end = sites[nr].stub + c.n;
	rel = (s32)(s->stub - (at + 5));
	memcpy(jump + 1, &rel, 4);
	if (!fill(s->stub, &c))
		return false;
	atomic_store(&nr_sites, nr + 1);
	if (replace(at, old, jump, n))
		return true;
	atomic_store(&nr_sites, nr);
	return false;
}

/* Is there memory where the bytes behind SYSCALL say? */
static bool rewrite_call(u64 at, const u8 *code)
{
	struct hot_site s = { .again = at, .back = at + 2 };
	u64 first;
	s32 rel;

	if (at % 8 == 7)
		return false;
	memcpy(&rel, code + 1, 4);
	first = at + 5 + (u64)(s64)(s32)((u32)rel & ~0xffu);
	if (!is_alike(first, at) || !is_alike(first + PAGE_SIZE, at))
		return false;
	s.stub = take(first, first + 0xff);
	return s.stub && add_site(at, "\x0f\x05", 2, &s, make_call_stub);
}

static bool rewrite_mov(u64 at, const u8 *around)
{
	struct hot_site s = { .again = at - MOV, .call = at, .back = at + 2 };

	if (memcmp(around + BEFORE - MOV, "\xb8\x10\0\0\0", MOV) || s.again % 8 > 8 - MOV ||
	    !shim_cpuid_text_likely((u64)(uintptr_t)around, (u64)(uintptr_t)around + BEFORE - MOV,
				    (u64)(uintptr_t)around + BEFORE + BEHIND))
		return false;
	for (u64 far = 1; far < 512 && !s.stub; far++)
		for (int sign = 0; sign < 2 && !s.stub; sign++) {
			u64 page = (at & PAGE_MASK) + (sign ? -far : far) * (1ull << 20);

			if (is_alike(page, at) && page >> 20 && is_alike(page + PAGE_SIZE, at))
				s.stub = take(page, page + PAGE_SIZE - STUB);
		}
	return s.stub && add_site(s.again, "\xb8\x10\0\0\0", MOV, &s, make_mov_stub);
}

static void rewrite(u64 at)
{
	u8 around[BEFORE + BEHIND];
	bool done;

	if (!is_text(at) || user_get(around, user_ptr(at - BEFORE), sizeof(around)) ||
	    memcmp(around + BEFORE, "\x0f\x05", 2))
		return;
	pthread_mutex_lock(&hot_lock);
	done = atomic_load(&nr_sites) < SITES &&
	       (rewrite_call(at, around + BEFORE) || rewrite_mov(at, around));
	pthread_mutex_unlock(&hot_lock);
	log_info("KVM_RUN from %llx: %s", (unsigned long long)at,
		 done ? "without a trap from now on" : "it stays a trap");
}

void hot_seen(struct door_thread *t, const struct kucontext *uc)
{
	u64 back = (u64)uc->gregs[REG_RIP];
	u32 i = (u32)(back / 2 % SEEN), n = atomic_load(&nr_sites);

	if (off)
		return;
	for (u32 k = 0; k < n; k++)
		if (sites[k].back == back) {
			add_thread(t, uc);
			return;
		}
	if (atomic_load(&seen[i].back) != back) {
		atomic_store(&seen[i].n, 0);
		atomic_store(&seen[i].back, back);
	}
	if (atomic_fetch_add(&seen[i].n, 1) == AFTER)
		rewrite(back - 2);
}

/* -- signals -- */

static void restore_run(struct kucontext *uc, const struct hot_site *s)
{
	if (uc->gregs[REG_RSI] == (greg_t)(uintptr_t)s)
		uc->gregs[REG_RSI] = KVM_RUN_CMD;
}

/* Where the program is that has not made its call yet. One that steps through itself would never
 * get beyond the first instruction of the stub: it makes the call with a trap. */
static u64 before_call(const struct kucontext *uc, const struct hot_site *s)
{
	return uc->gregs[REG_EFL] & TRAP_FLAG ? s->call : s->again;
}

void hot_outside(struct kucontext *uc)
{
	u64 rip = (u64)uc->gregs[REG_RIP], rsi = (u64)uc->gregs[REG_RSI];
	u32 n = atomic_load_explicit(&nr_sites, memory_order_acquire);

	if (likely(!n))
		return;
	if (rip - (u64)(uintptr_t)hot_entry < (u64)(hot_inside - hot_entry)) {
		bool missed = rip >= (u64)(uintptr_t)hot_missed && rsi == KVM_RUN_CMD;

		if (missed) {
			uc->gregs[REG_RIP] = uc->gregs[REG_RCX];
		} else {
			const struct hot_site *s = user_ptr(rsi);

			uc->gregs[REG_RIP] = (greg_t)before_call(uc, s);
			uc->gregs[REG_RSI] = KVM_RUN_CMD;
		}
		uc->gregs[REG_RAX] = SYS_ioctl;
		rip = (u64)uc->gregs[REG_RIP];
	} else if (rip == (u64)(uintptr_t)hot_leave) {
		uc->gregs[REG_RIP] = uc->gregs[REG_RCX];
	}
	for (u32 k = 0; k < n; k++) {
		const struct hot_site *s = &sites[k];

		if (rip < s->stub || rip >= s->end)
			continue;
		if (s->called && rip == s->called)
			uc->gregs[REG_RIP] = (greg_t)s->back;
		else
			uc->gregs[REG_RIP] = (greg_t)before_call(uc, s);
		/* In front of the mov in the stub. */
		if (!s->called && uc->gregs[REG_EFL] & TRAP_FLAG)
			uc->gregs[REG_RAX] = SYS_ioctl;
		restore_run(uc, s);
	}
}

void hot_held(const struct door_thread *t, struct kucontext *uc)
{
	u64 rip = (u64)uc->gregs[REG_RIP];

	if (rip < (u64)(uintptr_t)hot_window || rip >= (u64)(uintptr_t)hot_window_end)
		return;
	uc->gregs[REG_RIP] = (greg_t)(uintptr_t)hot_slow;
	uc->gregs[REG_RBP] = (greg_t)(uintptr_t)&frame_of(t)->frame;
}
