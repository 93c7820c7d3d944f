/* SPDX-License-Identifier: MIT */
/*
 * direct/enter.c - when user code runs directly, and what happens when it stops.
 *
 * Whatever stops it, the vCPU has the state of an instruction boundary then and goes on translated
 * from there: the translator finds the same instruction and does what it does. Only page faults and
 * single-step traps are given to the guest from here.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/options.h"
#include "base/sys.h"
#include "direct/direct_priv.h"
#include "engine/engine.h"
#include "engine/insn.h"
#include "engine/xstate.h"

#define FXSAVE_SPARE 464	/* from here to 512 is the kernel's */
#define MIRROR_MAX 30000	/* pages: a mapping each at worst, of the host's 65,530 */
#define REFUSALS 3	/* times that a stub may fail an address space */
/* Instructions that are translated one by one in a page that may not run directly. */
#define CREEP_MAX 2000
/* Time between entering and leaving CPL 3, in TSC: worth it from 100 us of translated code on, and
 * not any more below 20 us. A stay costs some 15 us. */
#define TSC_MS 2600000
#define WORTH_TSC 260000
#define WORTHLESS_TSC 52000
#define HOLD_TSC TSC_MS
/* A stay is judged by what it has brought: the CPU time of user code (it would have taken twice as
 * long translated, at least), against that of the vCPU's thread. An address space has so much
 * credit, in ns; one that has lost it is translated for a while, twice as long each time. So the
 * loss is bounded, whatever it does. */
#define CREDIT 500000
#define CREDIT_MAX (8 * CREDIT)
#define SHORT 20000	/* ns of user code: for a stay that one instruction has ended */
#define SWITCH 3500	/* ns, of what a turn takes: the stub's part */
#define SWITCH_MAP 8000	/* and where it maps pages */
#define PENALTY_MIN 32	/* ms */
#define PENALTY_MAX 1024
/* What is spent once for a page, or for the stub, pays later. So it does not count there, but has a
 * budget, which grows with the time that the program uses. */
#define BUDGET 2000000
#define BUDGET_MAX (32 * BUDGET)
#define BUDGET_SHARE 8

enum { WORD_0, WORD_1, WORD_AUTO, WORD_ALWAYS };	/* of STANDIN_DIRECT */

bool direct_wanted(void)
{
	return option_word(OPT_DIRECT) >= WORD_1;
}

/* -- whether -- */

/* The descriptors that user code of Linux can load are the same in its guest, but for the accessed
 * bit. */
static bool linux_gdt(struct cpu *c)
{
	static const u64 want[] = { 0x00cffa000000ffff, 0x00cff2000000ffff, 0x00affa000000ffff };

	if (c->gdtr.limit < 0x37)
		return false;
	for (u32 i = 0; i < ARRAY_SIZE(want); i++) {
		u64 gpa, d;

		if (!mmu_peek(c, c->gdtr.base + 0x20 + i * 8, &gpa) ||
		    phys_read(c->phys, gpa, &d, 8) || (d & ~BIT64(40)) != want[i])
			return false;
	}
	return true;
}

/* What the virtual CPU and the stub must have in common. */
static bool suits(const struct cpu *c)
{
	const u64 cr0 = CR0_PE | CR0_PG | CR0_EM | CR0_TS | CR0_AM;
	const u64 cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE;
	const u64 fl = FL_IF | FL_IOPL | FL_TF | FL_NT | FL_VM | FL_VIF | FL_VIP;

	return c->cpl == 3 && cpu_in_64(c) && !c->in_l2 && !c->single_step && !c->shadow_sti &&
	       !c->shadow_ss && (c->cr0 & cr0) == (CR0_PE | CR0_PG | CR0_AM) &&
	       (c->cr4 & cr4) == cr4 && !(c->cr4 & (CR4_LA57 | CR4_PKE)) && (c->xcr0 & 7) == 7 &&
	       (c->efer & EFER_SCE) && (c->rflags & fl) == FL_IF && c->seg[S_CS].sel == USER_CS &&
	       c->seg[S_SS].sel == USER_DS && !c->seg[S_DS].sel && !c->seg[S_ES].sel &&
	       !c->seg[S_FS].sel && !c->seg[S_GS].sel && !c->debugctl && !c->watch_dr7 &&
	       !(c->dr7 & 0xff);
}

static void unmake(struct direct *d, struct space *s)
{
	stub_free(s->stub);
	s->stub = NULL;
	mirror_clear(d, &s->m);
	if (d->last == s)
		d->last = NULL;
}

static struct space *space_of(struct direct *d, u64 cr3)
{
	struct space *oldest = &d->space[0];

	cr3 &= GENMASK64(51, 12);
	for (u32 i = 0; i < SPACES; i++) {
		struct space *s = &d->space[i];

		if (s->cr3 == cr3)
			return s;
		if (s->used < oldest->used)
			oldest = s;
	}
	if (oldest->stub) {
		engine_fpu_save(d->c);
		unmake(d, oldest);
	}
	*oldest = (struct space){ .cr3 = cr3, .credit = CREDIT, .budget = BUDGET };
	return oldest;
}

/* How many vCPUs of this process are held on a CPU. */
static _Atomic u32 crowd[CPU_SETSIZE];

static void hold_on(struct direct *d, int cpu)
{
	cpu_set_t here;

	CPU_ZERO(&d->before);
	if (cpu < 0 || cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof(d->before), &d->before))
		return;
	if (atomic_load(&crowd[cpu]))
		for (int i = 0; i < CPU_SETSIZE; i++)
			if (CPU_ISSET(i, &d->before) && !atomic_load(&crowd[i])) {
				cpu = i;
				break;
			}
	atomic_fetch_add(&crowd[cpu], 1);
	d->cpu = cpu + 1;
	CPU_ZERO(&here);
	CPU_SET(cpu, &here);
	if (CPU_COUNT(&d->before) > 1)
		sched_setaffinity(0, sizeof(here), &here);
}

static void let_go(struct direct *d)
{
	cpu_set_t now;

	if (!d->cpu)
		return;
	atomic_fetch_sub(&crowd[d->cpu - 1], 1);
	/* Somebody else may have had other plans meanwhile. */
	if (CPU_COUNT(&d->before) > 1 && !sched_getaffinity(0, sizeof(now), &now) &&
	    CPU_COUNT(&now) == 1 && CPU_ISSET(d->cpu - 1, &now))
		sched_setaffinity(0, sizeof(d->before), &d->before);
	d->cpu = 0;
}

static void earn(struct space *s, s64 ns)
{
	s->budget += ns / BUDGET_SHARE;
	if (s->budget > BUDGET_MAX)
		s->budget = BUDGET_MAX;
}

static bool mode(struct cpu *c)
{
	struct direct *d = c->direct_state;
	u64 now, t;

	if (c->cpl == d->cpl)
		return false;
	d->cpl = c->cpl;
	now = __builtin_ia32_rdtsc();
	if (unlikely(d->cpu && now - d->left > HOLD_TSC)) {
		engine_fpu_save(c);
		let_go(d);
	}
	if (d->now) {
		t = now - d->since;
		/* One long pause says little. */
		if (t > 8 * WORTH_TSC)
			t = 8 * WORTH_TSC;
		d->now->usual += (t >> 3) - (d->now->usual >> 3);
		if (d->stays == d->n.stays)
			earn(d->now, (s64)(t * 1000 / (TSC_MS / 1000)));
		d->now = NULL;
	}
	if (c->cpl != 3 || c->in_l2 || !cpu_in_64(c))
		return false;
	d->now = space_of(d, c->cr3);
	d->now->used = now;
	d->since = now;
	d->stays = d->n.stays;
	return true;
}

/* -- the registers -- */

static u64 *gpr_of(struct stub_regs *r, u32 i)
{
	static const u8 at[16] = {
#define AT(name) (u8)offsetof(struct stub_regs, name)
		AT(rax), AT(rcx), AT(rdx), AT(rbx), AT(rsp), AT(rbp), AT(rsi), AT(rdi),
		AT(r8),  AT(r9),  AT(r10), AT(r11), AT(r12), AT(r13), AT(r14), AT(r15),
#undef AT
	};

	return (u64 *)(void *)((u8 *)r + at[i]);
}

static bool same(const u8 *a, const u8 *b, u32 from, u32 to)
{
	u64 d = 0;

	for (u32 i = from; i < to; i += 8)
		d |= *(const u64 *)(const void *)(a + i) ^ *(const u64 *)(const void *)(b + i);
	return !d;
}

/* Vector state: the other way is seldom needed, the guest's kernel leaves it alone as a rule. */
static void put_vectors(struct cpu *c, struct stub *st)
{
	u32 size = xstate_size(c->xcr0, false);
	u64 *bv = (u64 *)(void *)(st->x + XSAVE_BV), others = *bv & ~c->xcr0;
	u64 want = (*(u64 *)(void *)(c->xsave + XSAVE_BV) & c->xcr0) | others;

	if (st->x_known && *bv == want && same(c->xsave, st->x, 0, FXSAVE_SPARE) &&
	    same(c->xsave, st->x, XSTATE_EXTENDED, size))
		return;
	cpu_copy(st->x, c->xsave, FXSAVE_SPARE);
	cpu_copy(st->x + XSTATE_EXTENDED, c->xsave + XSTATE_EXTENDED, size - XSTATE_EXTENDED);
	*bv = want;
	st->x_known = st->x_wait = true;
}

static bool put_regs(struct cpu *c, struct stub *st)
{
	struct stub_regs *r = &st->regs;

	/* A tracer cannot change ID. */
	if (st->ran && ((c->rflags ^ r->eflags) & FL_ID))
		return false;
	if (!st->ran && (c->rflags & FL_ID))
		return false;
	if (c->seg[S_FS].base >= USER_TOP || c->seg[S_GS].base >= USER_TOP)
		return false;
	for (u32 i = 0; i < 16; i++)
		*gpr_of(r, i) = c->gpr[i];
	r->rip = c->rip;
	r->eflags = c->rflags;
	r->cs = USER_CS;
	r->ss = USER_DS;
	r->ds = r->es = r->fs = r->gs = 0;
	r->fs_base = c->seg[S_FS].base;
	r->gs_base = c->seg[S_GS].base;
	st->regs_wait = true;
	put_vectors(c, st);
	return true;
}

/* The program has loaded a selector: the guest's descriptor is the host's (linux_gdt()). */
static bool load_segment(struct cpu *c, enum cpu_sreg n, u16 sel)
{
	struct cpu_seg *s = &c->seg[n];
	u64 gpa, desc;

	if (s->sel == sel)
		return true;
	if (!(sel & ~3)) {
		*s = (struct cpu_seg){ .sel = sel, .base = s->base };
		return true;
	}
	if ((sel & 4) || (sel | 7u) > c->gdtr.limit ||
	    !mmu_peek(c, c->gdtr.base + (sel & ~7u), &gpa) || phys_read(c->phys, gpa, &desc, 8))
		return false;
	*s = (struct cpu_seg){
		.sel = sel, .attr = (u16)((desc >> 40 & 0xff) | (desc >> 44 & 0xf00)),
		.limit = (u32)((desc & 0xffff) | (desc >> 32 & 0xf0000)),
		.base = (desc >> 16 & 0xffffff) | (desc >> 32 & 0xff000000),
	};
	if (s->attr & SEG_G)
		s->limit = s->limit << 12 | 0xfff;
	s->attr |= SEG_ACCESSED;
	return s->attr & SEG_P;
}

#define FLAGS_BACK (FL_ARITH | FL_TF | FL_DF | FL_NT | FL_RF | FL_AC | FL_ID)

/* The state as it is: what a CPU cannot have is made harmless, as in KVM_SET_REGS. */
static bool take_regs(struct cpu *c, struct stub *st, bool fault)
{
	struct stub_regs *r = &st->regs;
	u32 size = xstate_size(c->xcr0, false);

	if (!stub_vectors(st))
		return false;
	for (u32 i = 0; i < 16; i++)
		c->gpr[i] = *gpr_of(r, i);
	c->rip = r->rip;
	c->rflags = (c->rflags & ~(u64)FLAGS_BACK) | (r->eflags & FLAGS_BACK);
	/* A fault sets it in the image, to run the instruction again: here that begins anew. */
	if (fault)
		c->rflags &= ~(u64)FL_RF;
	cpu_copy(c->xsave, st->x, FXSAVE_SPARE);
	cpu_copy(c->xsave + XSAVE_BV, st->x + XSAVE_BV, size - XSAVE_BV);
	*(u64 *)(void *)(c->xsave + XSAVE_BV) &= c->xcr0;
	cpu_zero(c->xsave + XSAVE_XCOMP_BV, XSTATE_EXTENDED - XSAVE_XCOMP_BV);
	if (!load_segment(c, S_DS, (u16)r->ds) || !load_segment(c, S_ES, (u16)r->es) ||
	    !load_segment(c, S_FS, (u16)r->fs) || !load_segment(c, S_GS, (u16)r->gs) ||
	    !load_segment(c, S_CS, (u16)r->cs) || !load_segment(c, S_SS, (u16)r->ss))
		return false;
	if ((c->seg[S_CS].sel & c->seg[S_SS].sel & 3) != 3)
		return false;
	c->seg[S_FS].base = r->fs_base;
	c->seg[S_GS].base = r->gs_base;
	/* Segments, AC and TF are part of it. */
	cpu_mode_changed(c);
	return true;
}

/* -- a stay -- */

static bool prepare(struct direct *d, struct space *s)
{
	u32 n = atomic_load(&direct_ram_n);

	if (s->stub && (s->ram_n != n || s->m.pages > MIRROR_MAX || s->m.seen.map != d->gens.map ||
			s->stub->owner != sys_gettid()))
		unmake(d, s);
	if (s->stub)
		return true;
	s->ram_n = n;
	if (!n || !linux_gdt(d->c))
		return false;
	s->stub = stub_new(option_word(OPT_DIRECT) != WORD_AUTO);
	d->n.stubs += !!s->stub;
	mirror_clear(d, &s->m);
	return s->stub;
}

/* Two threads that take turns do so three times as fast on one CPU; but two vCPUs that are held on
 * one CPU could not be parted by the host's scheduler. It lasts until KVM_RUN returns, or no stay
 * has followed for a while. */
static void stay_together(struct direct *d, struct stub *st)
{
	cpu_set_t here;

	if (!d->cpu || atomic_load(&crowd[d->cpu - 1]) > 1) {
		let_go(d);
		hold_on(d, sched_getcpu());
	}
	if (!d->cpu || st->cpu == d->cpu - 1)
		return;
	CPU_ZERO(&here);
	CPU_SET(d->cpu - 1, &here);
	if (!sched_setaffinity(st->pid, sizeof(here), &here))
		st->cpu = d->cpu - 1;
}

static s64 cpu_time(int clock)
{
	struct timespec t = { 0 };

	RAW(SYS_clock_gettime, clock, &t);
	return (s64)t.tv_sec * 1000000000 + t.tv_nsec;
}
#define PROCESS_CLOCK(pid) ((int)(~(u32)(pid) << 3 | 2))	/* clock_getcpuclockid(3) */

struct bill {
	s64 made;	/* of the thread's time: making the stub */
	s64 cost;	/* the rest of it */
	s64 ran;	/* of the stub's time */
	u64 turns, fills, injected;
};

/* A fill is two hand-overs more: to map pages, and to go on. */
static void judge(struct direct *d, struct space *s, u64 now, const struct bill *b)
{
	u64 n = b->turns + b->injected, fills = 2 * b->fills < n ? 2 * b->fills : n;
	s64 once = n ? b->cost * (s64)fills / (s64)n : 0;
	s64 used = b->ran - (s64)(b->turns * SWITCH + b->injected * SWITCH_MAP);

	if (used < 0)
		used = 0;
	earn(s, used);
	s->budget -= b->made + once;
	s->credit += used - (b->cost - once) - (s64)((n - fills) * SWITCH);
	if (s->credit > CREDIT_MAX) {
		s->credit = CREDIT_MAX;
		s->penalty = 0;
	} else if (s->credit < 0) {
		s->penalty = s->penalty ? s->penalty * 2 : PENALTY_MIN;
		if (s->penalty > PENALTY_MAX)
			s->penalty = PENALTY_MAX;
		s->not_before = now + s->penalty * TSC_MS;
		s->credit = CREDIT;
		d->n.ended++;
	}
}

/* What becomes of a stop: it can run on, or enum cpu_direct. */
struct verdict {
	bool more;
	enum cpu_direct r;
};
#define MORE ((struct verdict){ .more = true })
#define LEAVE(x) ((struct verdict){ .r = (x) })

static struct verdict leave(struct direct *d, struct space *s, bool fault, enum cpu_direct r)
{
	return LEAVE(take_regs(d->c, s->stub, fault) ? r : DIRECT_LOST);
}

/* The instruction at RIP: 0, or as insn_decode() says. Up to `n` bytes of it could be executed. */
static int decode(struct direct *d, struct space *s, struct insn *in, u32 *n)
{
	u64 rip = s->stub->regs.rip;
	const u8 *page = mirror_code(d, s, rip);
	u8 b[15];

	if (!page)
		return -EFAULT;
	*n = PAGE_SIZE - (rip & ~PAGE_MASK);
	if (*n >= sizeof(b)) {
		*n = sizeof(b);
	} else {
		const u8 *next = mirror_code(d, s, rip + *n);

		for (u32 i = 0; i < sizeof(b); i++)
			b[i] = i < *n ? page[(rip & ~PAGE_MASK) + i] : next ? next[i - *n] : 0;
		if (next)
			*n = sizeof(b);
		return insn_decode(in, b, *n, 8);
	}
	return insn_decode(in, page + (rip & ~PAGE_MASK), *n, 8);
}

/* The host does not tell how memory was accessed. It was fetched if the instruction was not there;
 * else read, unless what is there can be read. */
static enum mem_access access_of(struct direct *d, struct space *s, u64 gva)
{
	u64 rip = s->stub->regs.rip;
	struct insn in;
	u32 n = 0;
	int r;

	if (gva == rip && !mirror_code(d, s, rip))
		return MEM_X;
	if (!(gva & ~PAGE_MASK) && gva - rip < 15 && !mirror_code(d, s, gva)) {
		r = decode(d, s, &in, &n);
		if (r == -EAGAIN || (!r && rip + in.len > gva))
			return MEM_X;
	}
	return mirror_has(s, gva) ? MEM_W : MEM_R;
}

/* The guest's tables do not allow it: is it clear how the instruction accesses memory there? The
 * registers have been taken. */
static bool explain(struct direct *d, struct space *s, u64 gva, enum mem_access *acc)
{
	struct cpu *c = d->c;
	struct insn in;
	u64 ea;
	u32 n;

	if (*acc == MEM_X)
		return true;
	if (decode(d, s, &in, &n) || !in.has_mem || !in.memsize || in.mask ||
	    (!in.mem_r && !in.mem_w) || insn_may_skip_store(&in) || insn_is_bitstring(&in))
		return false;
	ea = insn_ea(c, &in);
	if (in.seg == S_FS || in.seg == S_GS)
		ea += c->seg[in.seg].base;
	if (gva - ea >= in.memsize)
		return false;
	*acc = in.mem_w ? MEM_W : MEM_R;
	return true;
}

/* One instruction at a time as long as RIP is in the page. */
static struct verdict creep_from(struct direct *d, u64 page, u32 n)
{
	d->creep_page = page;
	d->creep_left = n;
	d->creep_first = true;
	return LEAVE(DIRECT_CREEP);
}
#define CREEP_ONE (~0ull)	/* no page: only that one */

/* The instruction at RIP is the translator's. */
static struct verdict pass(struct direct *d, struct space *s)
{
	return take_regs(d->c, s->stub, true) ? creep_from(d, CREEP_ONE, 1) : LEAVE(DIRECT_LOST);
}

static struct verdict page_fault(struct direct *d, struct space *s, u64 gva)
{
	enum mem_access acc = access_of(d, s, gva);
	struct cpu *c = d->c;
	struct mmu_walk w;

	bool refused = gva < USER_TOP && mmu_translate(c, gva, acc, MMU_USER, &w) == CPU_FAULT;

	if (gva < USER_TOP && !refused && mirror_fill(d, s, gva, acc)) {
		d->n.fills++;
		return MORE;
	}
	if (!take_regs(c, s->stub, true))
		return LEAVE(DIRECT_LOST);
	if (refused && explain(d, s, gva, &acc) &&
	    mmu_translate(c, gva, acc, MMU_USER, &w) == CPU_FAULT) {
		s->fault = (gva & PAGE_MASK) | (u64)acc;
		d->n.left_fault++;
		return LEAVE(DIRECT_FAULT);
	}
	if (acc != MEM_X) {
		d->n.left_other++;
		s->fault = gva < USER_TOP ? (gva & PAGE_MASK) | (u64)acc : 0;
		return creep_from(d, CREEP_ONE, 1);
	}
	d->n.left_code++;
	return creep_from(d, gva & PAGE_MASK, CREEP_MAX);
}

static struct verdict trap(struct direct *d, struct space *s)
{
	struct stub *st = s->stub;
	struct cpu *c = d->c;
	u8 last = 0;

	if (st->code == TRAP_HWBKPT) {
		d->n.left_code++;
		return pass(d, s);
	}
	d->n.left_other++;
	if (st->code == TRAP_TRACE) {
		if (!take_regs(c, st, false))
			return LEAVE(DIRECT_LOST);
		if (!(c->rflags & FL_TF))
			return LEAVE(DIRECT_GO_ON);
		c->fault = (struct cpu_fault){ .vector = EXC_DB, .payload = DR6_BS };
		return LEAVE(DIRECT_FAULT);
	}
	/* INT3, INT1: behind it. */
	if (!take_regs(c, st, true))
		return LEAVE(DIRECT_LOST);
	if (mmu_mem_read(c, c->rip - 1, &last, 1, MMU_USER) == CPU_OK &&
	    (last == 0xcc || last == 0xf1))
		c->rip--;
	return LEAVE(DIRECT_GO_ON);
}

static struct verdict stopped(struct direct *d, struct space *s)
{
	struct stub *st = s->stub;

	switch (st->why) {
	case STUB_SYSCALL:
		/* SYSCALL has two bytes, and has changed nothing but what it does. */
		d->n.left_syscall++;
		st->regs.rip -= 2;
		return leave(d, s, true, DIRECT_GO_ON);
	case STUB_ENDS:
		return leave(d, s, true, DIRECT_GO_ON);
	case STUB_LOST:
		return LEAVE(DIRECT_LOST);
	case STUB_SIGNAL:
		break;
	}
	switch (st->sig) {
	case SIGUSR1:
		d->n.left_kick++;
		return leave(d, s, false, DIRECT_GO_ON);
	case SIGTRAP:
		return trap(d, s);
	case SIGSYS:
		/* Linux has begun to carry out a call of its vsyscall page. */
		if (st->addr >= 0xffffffffff600000) {
			st->regs.rsp -= 8;
			st->regs.rip = st->addr;
		}
		break;
	case SIGSEGV:
		if (st->code == SEGV_MAPERR || st->code == SEGV_ACCERR)
			return page_fault(d, s, st->addr);
		break;
	}
	d->n.left_other++;
	return pass(d, s);
}

static bool breaks(const struct mirror *m)
{
	u64 all = 0;

	for (u32 k = 0; k < SPOTS; k++)
		all |= m->breaks[k];
	return all;
}

/* Until it must be left. */
static enum cpu_direct stay(struct direct *d, struct space *s)
{
	struct cpu *c = d->c;
	struct stub *st = s->stub;
	bool first = true, ok;
	struct verdict v;

	for (;;) {
		if (mirror_stale(d, &s->m) && !mirror_recheck(d, s, false))
			break;
		if (!stub_flush(st))
			break;
		if (s->m.breaks_wait && !stub_breaks(st, s->m.breaks)) {
			log_info("direct: the host has no breakpoints for it");
			s->no_breaks = st->broken = true;
			break;
		}
		s->m.breaks_wait = false;
		/* RF, which a fault's handler may have set, would let the first of them pass. */
		if (st->regs_wait && breaks(&s->m))
			st->regs.eflags &= ~(u64)FL_RF;
		atomic_store(&c->away, (u32)st->pid);
		if (atomic_load(&c->poll)) {
			atomic_store(&c->away, 0);
			d->n.left_kick++;
			/* Before the first turn nothing has changed. */
			return first || take_regs(c, st, false) ? DIRECT_GO_ON : DIRECT_LOST;
		}
		d->n.turns++;
		ok = stub_run(st);
		atomic_store(&c->away, 0);
		if (!ok)
			break;
		st->ran = true;
		first = false;
		v = stopped(d, s);
		if (!v.more)
			return v.r;
		if (st->broken)
			break;
	}
	/* An order that failed, or it was ended meanwhile: user code has not gone on. */
	return first || (st->why != STUB_LOST && take_regs(c, st, false)) ? DIRECT_GO_ON
									  : DIRECT_LOST;
}

static enum cpu_direct enter(struct cpu *c)
{
	struct direct *d = c->direct_state;
	struct space *s = d->now;
	enum cpu_direct r;
	struct bill b = { 0 };
	struct stub *st;
	s64 t;

	if (!s || s->usual < (s->stub ? d->off : d->on) || s->refusals > REFUSALS || !suits(c))
		return DIRECT_NOT;
	if (d->on && (s->budget < 0 || __builtin_ia32_rdtsc() < s->not_before))
		return DIRECT_NOT;
	engine_fpu_save(c);
	if (!s->stub)
		b.made = -cpu_time(CLOCK_THREAD_CPUTIME_ID);
	if (!prepare(d, s)) {
		s->refusals++;
		return DIRECT_NOT;
	}
	t = cpu_time(CLOCK_THREAD_CPUTIME_ID);
	if (b.made)
		b.made += t;
	st = s->stub;
	if (!mirror_recheck(d, s, d->last != s))
		goto broken;
	d->last = s;
	/* The guest has mapped it by now, most likely. */
	if (s->fault)
		mirror_fill(d, s, s->fault & PAGE_MASK, (enum mem_access)(s->fault & 3));
	s->fault = 0;
	if (st->broken)
		goto broken;
	if (!put_regs(c, st))
		return DIRECT_NOT;
	b.turns = d->n.turns;
	b.fills = d->n.fills;
	b.injected = st->injected;
	stay_together(d, st);
	d->n.stays++;
	r = stay(d, s);
	b.cost = cpu_time(CLOCK_THREAD_CPUTIME_ID) - t;
	b.ran = cpu_time(PROCESS_CLOCK(st->pid));
	t = b.ran;
	b.ran -= st->time;
	st->time = t;
	b.injected = st->injected - b.injected;
	d->left = __builtin_ia32_rdtsc();
	b.turns = d->n.turns - b.turns;
	b.fills = d->n.fills - b.fills;
	judge(d, s, d->left, &b);
	/* Soon the next of the kind: until the kernel is entered again it is the translator's. */
	if (r == DIRECT_CREEP && d->on && b.ran < SHORT)
		r = DIRECT_GO_ON;
	if (r == DIRECT_LOST)
		log_error("direct: a stub was lost, and with it the registers of user code");
	if (s->stub->broken) {
		unmake(d, s);
		s->refusals++;
	}
	return r;
broken:
	unmake(d, s);
	s->refusals++;
	return DIRECT_NOT;
}

/* In a page that may not run directly. */
static enum cpu_direct creep(struct cpu *c)
{
	struct direct *d = c->direct_state;
	bool first = d->creep_first;

	d->creep_first = false;
	/* The first may begin in the page before. */
	if (c->cpl != 3 || (!first && (c->rip & PAGE_MASK) != d->creep_page))
		return DIRECT_GO_ON;
	d->n.crept++;
	return d->creep_left-- ? DIRECT_CREEP : DIRECT_NOT;
}

static void changed(struct cpu *c, enum cpu_direct_change what, u64 addr)
{
	struct direct *d = c->direct_state;

	switch (what) {
	case DIRECT_TABLES:
		if (addr == DIRECT_ALL)
			d->gens.tables++;
		else if (d->last)
			mirror_check_page(&d->last->m, addr & PAGE_MASK);
		break;
	case DIRECT_WRITES:
		if (addr == DIRECT_ALL || mirror_writes(d, (const u8 *)(uintptr_t)addr))
			d->gens.writes++;
		break;
	case DIRECT_CODE:
		d->written[d->gens.code++ % MIRROR_CHECKS] =
			addr == DIRECT_ALL ? addr : addr & PAGE_MASK;
		break;
	case DIRECT_MAP:
		d->gens.map++;
		break;
	}
}

/* Ordered against the owner, who stores `away` and then looks at `poll`. */
static void call_back(struct cpu *c)
{
	u32 pid;

	atomic_thread_fence(memory_order_seq_cst);
	pid = atomic_load(&c->away);
	if (pid)
		RAW(SYS_kill, pid, SIGUSR1);
}

void direct_rest(struct cpu *c)
{
	let_go(c->direct_state);
}

static const struct cpu_direct_ops ops = {
	.mode = mode, .enter = enter, .creep = creep, .changed = changed, .call_back = call_back,
};

void direct_attach(struct cpu *c)
{
	bool always = option_word(OPT_DIRECT) == WORD_ALWAYS;
	struct direct *d;

	if (!direct_wanted())
		return;
	d = calloc(1, sizeof(*d));
	if (!d)
		return;
	d->c = c;
	d->on = always ? 0 : WORTH_TSC;
	d->off = always ? 0 : WORTHLESS_TSC;
	c->direct_state = d;
	c->direct = &ops;
}

void direct_detach(struct cpu *c)
{
	struct direct *d = c->direct_state;

	if (!d)
		return;
	log_info("direct: %lu stays in %lu stubs, %lu turns, %lu times compared, %lu crept, "
		 "%lu mappings, %lu pages dropped",
		 d->n.stays, d->n.stubs, d->n.turns, d->n.compared, d->n.crept, d->n.mappings,
		 d->n.dropped);
	for (u32 i = 0; i < SPACES; i++)
		if (d->space[i].stub)
			unmake(d, &d->space[i]);
	for (u32 i = 0; i < RAM_MAX; i++)
		free(d->writers[i]);
	c->direct = NULL;
	c->direct_state = NULL;
	free(d);
}

const struct direct_counts *direct_counts(const struct cpu *c)
{
	const struct direct *d = c->direct_state;

	return d ? &d->n : NULL;
}
