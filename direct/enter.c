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
#include <ucontext.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/options.h"
#include "base/sys.h"
#include "direct/direct_priv.h"
#include "engine/engine.h"
#include "engine/xstate.h"

#define USER_CS 0x33	/* of 64-bit Linux: the stub's own */
#define USER_DS 0x2b
#define XSTATE_BV 512
#define FXSAVE_SPARE 464	/* from here to 512 is the kernel's */
#define MIRROR_MAX 30000	/* pages: a mapping each at worst, of the host's 65,530 */
#define REFUSALS 3	/* times that a stub may fail an address space */
/* Instructions that are translated one by one in a page that may not run directly. */
#define CREEP_MAX 2000
/* Time between entering and leaving CPL 3, in TSC: worth it from 100 us of translated code on, and
 * not any more below 20 us. A stay costs some 15 us. */
#define WORTH_TSC 260000
#define WORTHLESS_TSC 52000

static const u8 greg_of[16] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

enum { WORD_0, WORD_1, WORD_ALWAYS };	/* of STANDIN_DIRECT */

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
	*oldest = (struct space){ .cr3 = cr3 };
	return oldest;
}

static bool mode(struct cpu *c)
{
	struct direct *d = c->direct_state;
	u64 now, t;

	if (c->cpl == d->cpl)
		return false;
	d->cpl = c->cpl;
	now = __builtin_ia32_rdtsc();
	if (d->now) {
		t = now - d->since;
		/* One long pause says little. */
		if (t > 8 * WORTH_TSC)
			t = 8 * WORTH_TSC;
		d->now->usual += (t >> 3) - (d->now->usual >> 3);
		d->now = NULL;
	}
	if (c->cpl != 3 || c->in_l2 || !cpu_in_64(c))
		return false;
	d->now = space_of(d, c->cr3);
	d->now->used = now;
	d->since = now;
	return true;
}

/* -- the register file: the stub's signal frame -- */

static bool frame_of(const struct cpu *c, struct stub *st, ucontext_t **uc, u8 **fp)
{
	*uc = stub_at(st, st->uc, offsetof(ucontext_t, uc_sigmask) + 8);
	if (!*uc)
		return false;
	*fp = stub_at(st, (u64)(*uc)->uc_mcontext.fpregs, xstate_size(c->xcr0, false));
	return *fp;
}

static bool write_frame(struct cpu *c, struct stub *st)
{
	ucontext_t *uc;
	u8 *fp;
	greg_t *g;

	if (!frame_of(c, st, &uc, &fp))
		return false;
	g = uc->uc_mcontext.gregs;
	for (u32 i = 0; i < 16; i++)
		g[greg_of[i]] = (greg_t)c->gpr[i];
	g[REG_RIP] = (greg_t)c->rip;
	g[REG_EFL] = (greg_t)c->rflags;
	g[REG_CSGSFS] = USER_CS | (greg_t)USER_DS << 48;
	*(u64 *)(void *)&uc->uc_sigmask = 0;
	cpu_copy(fp, c->xsave, FXSAVE_SPARE);
	cpu_copy(fp + XSTATE_BV, c->xsave + XSTATE_BV, xstate_size(c->xcr0, false) - XSTATE_BV);
	st->orders->fs = c->seg[S_FS].base;
	st->orders->gs = c->seg[S_GS].base;
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

/* The state as it is: what only a program can have written is made harmless, as in KVM_SET_REGS. */
static bool read_frame(struct cpu *c, struct stub *st, bool fault)
{
	const struct comm *m = st->comm;
	ucontext_t *uc;
	const greg_t *g;
	u8 *fp;

	if (!frame_of(c, st, &uc, &fp))
		return false;
	g = uc->uc_mcontext.gregs;
	for (u32 i = 0; i < 16; i++)
		c->gpr[i] = (u64)g[greg_of[i]];
	c->rip = (u64)g[REG_RIP];
	c->rflags = (c->rflags & ~(u64)FLAGS_BACK) | ((u64)g[REG_EFL] & FLAGS_BACK);
	/* A fault sets it in the image, to run the instruction again: here that begins anew. */
	if (fault)
		c->rflags &= ~(u64)FL_RF;
	cpu_copy(c->xsave, fp, FXSAVE_SPARE);
	cpu_copy(c->xsave + XSTATE_BV, fp + XSTATE_BV, xstate_size(c->xcr0, false) - XSTATE_BV);
	*(u64 *)(void *)(c->xsave + XSTATE_BV) &= c->xcr0;
	cpu_zero(c->xsave + XSTATE_BV + 8, 56);
	*(u32 *)(void *)(c->xsave + 24) &= 0xffff;	/* MXCSR */
	if (!load_segment(c, S_DS, (u16)m->ds) || !load_segment(c, S_ES, (u16)m->es) ||
	    !load_segment(c, S_FS, (u16)m->sel_fs) || !load_segment(c, S_GS, (u16)m->sel_gs) ||
	    !load_segment(c, S_CS, (u16)g[REG_CSGSFS]) ||
	    !load_segment(c, S_SS, (u16)(g[REG_CSGSFS] >> 48)))
		return false;
	if ((c->seg[S_CS].sel & c->seg[S_SS].sel & 3) != 3)
		return false;
	c->seg[S_FS].base = (u64)((s64)(m->fs << 16) >> 16);
	c->seg[S_GS].base = (u64)((s64)(m->gs << 16) >> 16);
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
	s->stub = stub_new(&d->c->poll);
	d->n.stubs += !!s->stub;
	mirror_clear(d, &s->m);
	return s->stub;
}

/* Two threads that take turns do so three times as fast on one CPU. */
static void stay_together(struct stub *st, cpu_set_t *before)
{
	cpu_set_t here;
	int cpu = sched_getcpu();

	CPU_ZERO(before);
	if (cpu < 0 || sched_getaffinity(0, sizeof(*before), before))
		return;
	CPU_ZERO(&here);
	CPU_SET(cpu, &here);
	if (CPU_COUNT(before) > 1)
		sched_setaffinity(0, sizeof(here), &here);
	if (st->cpu != cpu && !sched_setaffinity(st->pid, sizeof(here), &here))
		st->cpu = cpu;
}

enum { MORE = -1 };

/* A page fault of the host: its own, or the guest's. */
static int page_fault(struct direct *d, struct space *s, u64 gva, u64 err)
{
	enum mem_access acc = err & PF_I ? MEM_X : err & PF_W ? MEM_W : MEM_R;
	struct cpu *c = d->c;
	struct mmu_walk w;

	if (gva < USER_TOP && mmu_translate(c, gva, acc, MMU_USER, &w) == CPU_FAULT) {
		struct cpu_fault f = c->fault;

		if (!read_frame(c, s->stub, true))
			return DIRECT_LOST;
		c->fault = f;
		s->fault = (gva & PAGE_MASK) | (u64)acc;
		d->n.left_fault++;
		return DIRECT_FAULT;
	}
	if (gva < USER_TOP && mirror_fill(d, s, gva, acc))
		return MORE;
	if (!read_frame(c, s->stub, true))
		return DIRECT_LOST;
	if (acc != MEM_X) {
		d->n.left_other++;
		return DIRECT_GO_ON;
	}
	d->n.left_code++;
	d->creep_page = gva & PAGE_MASK;
	d->creep_left = CREEP_MAX;
	return DIRECT_CREEP;
}

/* MORE: it can go on; else enum cpu_direct. */
static int stopped(struct direct *d, struct space *s)
{
	struct cpu *c = d->c;
	struct stub *st = s->stub;
	ucontext_t *uc;
	u64 trap;
	u8 *fp;

	st->uc = st->comm->uc;
	if (!frame_of(c, st, &uc, &fp))
		return DIRECT_LOST;
	trap = (u64)uc->uc_mcontext.gregs[REG_TRAPNO];
	switch (st->comm->sig) {
	case SIGUSR1:
		d->n.left_kick++;
		return read_frame(c, st, false) ? DIRECT_GO_ON : DIRECT_LOST;
	case SIGSYS:
		/* SYSCALL and INT $0x80 have two bytes, and have changed nothing but what SYSCALL
		 * does. */
		d->n.left_syscall++;
		if (!read_frame(c, st, true))
			return DIRECT_LOST;
		c->rip -= 2;
		return DIRECT_GO_ON;
	case SIGTRAP:
		d->n.left_other++;
		if (!read_frame(c, st, trap == EXC_BP))
			return DIRECT_LOST;
		if (trap == EXC_DB && (c->rflags & FL_TF)) {
			c->fault = (struct cpu_fault){ .vector = EXC_DB, .payload = BIT64(14) };
			return DIRECT_FAULT;
		}
		/* INT3, INT1: behind it. INT $3 has two bytes. */
		u8 last = 0;

		if (mmu_mem_read(c, c->rip - 1, &last, 1, MMU_USER) == CPU_OK)
			c->rip -= last == 0xcc || last == 0xf1 ? 1 : 2;
		return DIRECT_GO_ON;
	case SIGSEGV:
	case SIGBUS:
		if (trap == EXC_PF)
			return page_fault(d, s, (u64)uc->uc_mcontext.gregs[REG_CR2],
					  (u64)uc->uc_mcontext.gregs[REG_ERR]);
		d->n.left_other++;
		if (!read_frame(c, st, true))
			return DIRECT_LOST;
		if (trap == EXC_OF)	/* INT $4: behind it */
			c->rip -= 2;
		return DIRECT_GO_ON;
	default:
		d->n.left_other++;
		return read_frame(c, st, true) ? DIRECT_GO_ON : DIRECT_LOST;
	}
}

/* Until it must be left. */
static int stay(struct direct *d, struct space *s)
{
	struct cpu *c = d->c;
	struct stub *st = s->stub;
	bool first = true, ok;
	int r;

	for (;;) {
		if (mirror_stale(d, &s->m) && !mirror_recheck(d, s, false))
			break;
		atomic_store(&c->away, (u32)st->pid);
		if (atomic_load(&c->poll)) {
			atomic_store(&c->away, 0);
			d->n.left_kick++;
			/* Before the first turn nothing has changed. */
			return first || read_frame(c, st, false) ? DIRECT_GO_ON : DIRECT_LOST;
		}
		d->n.turns++;
		ok = stub_turn(st, false);
		atomic_store(&c->away, 0);
		if (!ok)
			break;
		first = false;
		r = stopped(d, s);
		if (r != MORE)
			return r;
		if (st->broken)
			break;
	}
	/* An order that failed: the program has not gone on. */
	return !st->gone && (first || read_frame(c, st, false)) ? DIRECT_GO_ON : DIRECT_LOST;
}

static int enter(struct cpu *c)
{
	struct direct *d = c->direct_state;
	struct space *s = d->now;
	cpu_set_t before;
	int r;

	if (!s || s->usual < (s->stub ? d->off : d->on) || s->refusals > REFUSALS || !suits(c))
		return DIRECT_NOT;
	engine_fpu_save(c);
	if (!prepare(d, s)) {
		s->refusals++;
		return DIRECT_NOT;
	}
	if (!mirror_recheck(d, s, d->last != s))
		goto broken;
	d->last = s;
	/* The guest has mapped it by now, most likely. */
	if (s->fault)
		mirror_fill(d, s, s->fault & PAGE_MASK, (enum mem_access)(s->fault & 3));
	s->fault = 0;
	if (s->stub->broken || !write_frame(c, s->stub))
		goto broken;
	stay_together(s->stub, &before);
	d->n.stays++;
	r = stay(d, s);
	if (CPU_COUNT(&before) > 1)
		sched_setaffinity(0, sizeof(before), &before);
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
static int creep(struct cpu *c)
{
	struct direct *d = c->direct_state;

	/* The first may begin in the page before. */
	if (((c->rip & PAGE_MASK) != d->creep_page && d->creep_left != CREEP_MAX) || c->cpl != 3)
		return DIRECT_GO_ON;
	d->n.crept++;
	return --d->creep_left ? DIRECT_CREEP : DIRECT_NOT;
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
	log_info("direct: %lu stays in %lu stubs, %lu turns of the CPU, %lu pages compared, %lu "
		 "crept, %lu mappings, %lu pages dropped",
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
