/* SPDX-License-Identifier: MIT */
/*
 * engine/run.c - the dispatcher: find or make the unit for the current RIP,
 * run it, and do what its exit record asks for.
 */
#include <errno.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/options.h"
#include "engine/engine_priv.h"
#include "engine/insns.h"
#include "engine/xstate.h"

/* Room for 1,024 vCPUs of 1.4 MiB, 100 of them of 2.4 MiB, and 260 MiB more: a program that is not
 * position-independent has its heap, tens of MiB for so many vCPUs, anywhere in the first GiB. */
#define LOW_TOP 0x7e000000ul
#define LOW_BOTTOM 0x10000000ul
#define LOW_AMPLE (LOW_TOP - 0x10000000ul)

__thread struct engine *engine_current __attribute__((tls_model("initial-exec")));

static size_t cpu_map_size(bool small)
{
	return ALIGN_UP(sizeof(struct cpu), PAGE_SIZE) +
	       ALIGN_UP(sizeof(struct engine), PAGE_SIZE) +
	       ALIGN_UP(jump_cache_bytes(small), PAGE_SIZE);
}

/* Where to look first. Any thread that makes a vCPU reads and sets it; it is only a hint. */
static _Atomic unsigned long low_hint = LOW_TOP;

/* Memory below 2 GiB, searched downwards so that it stays clear of the heap. */
static void *low_alloc(size_t size)
{
	unsigned long at = low_hint;

	for (int wrapped = 0; wrapped < 2; at -= ALIGN_UP(size, 1ul << 16)) {
		if (at < LOW_BOTTOM + size) {
			at = LOW_TOP;
			wrapped++;
		}
		void *p = pages_at((void *)(at - size), size);

		if (p) {
			low_hint = ALIGN_DOWN(at - size, 1ul << 16);
			return p;
		}
	}
	errno = ENOMEM;
	return NULL;
}

struct cpu *engine_cpu_create(void *near)
{
	/* A hundred vCPUs can have as much as they like; where there are a thousand, all must
	 * fit. */
	bool small = low_hint < LOW_AMPLE;
	size_t size = cpu_map_size(small);
	struct cpu *c = low_alloc(size);
	struct engine *e;
	int err;

	if (!c)
		return NULL;
	e = (struct engine *)((char *)c + ALIGN_UP(sizeof(struct cpu), PAGE_SIZE));
	c->engine = e;
	c->tsc_ratio = 1ull << 32;
	c->mode_stale = 1;
	c->apic_page = ~0ull;
	e->c = c;
	e->map_bytes = size;
	apic_refuse_all(e);
	jump_cache_init(e, (char *)e + ALIGN_UP(sizeof(struct engine), PAGE_SIZE), small);
	e->precise_flags = range_of(OPT_PRECISE_FLAGS);
	e->max1 = range_of(OPT_UNIT);
	e->no_group = range_of(OPT_GROUP);
	show_init(e);
	e->move_eager = option_given(OPT_MOVE);
	err = codemem_init(e, near);
	if (!err)
		err = translator_init(e);
	if (!err)
		err = cache_init(e);
	if (!err)
		err = stubs_emit(e);
	if (err) {
		engine_cpu_destroy(c);
		errno = -err;
		return NULL;
	}
	/* Where there are many vCPUs each has little. */
	c->tlb2 = small ? NULL : pool_take(e, TLB2_SIZE * sizeof(*c->tlb2));
	c->tlb2_gen[0] = c->tlb2_gen[1] = c->tlb2_wgen = 1;
	for (u32 i = 0; i < MMU_IDX_COUNT; i++)
		tlb_array_init(c->tlb[i].r), tlb_array_init(c->tlb[i].w),
			cpu_window_empty(&c->window[i]);
	cache_flush(e);
	return c;
}

void engine_cpu_destroy(struct cpu *c)
{
	struct engine *e = c->engine;

	show_destroy(e);
	cache_destroy(e);
	codemem_destroy(e);
	munmap(c, e->map_bytes);
}

static bool within(const void *a, u64 n, const void *b, u64 m)
{
	return (u64)a < (u64)b + m && (u64)b < (u64)a + n;
}

bool engine_cpu_within(const struct cpu *c, const void *at, u64 bytes)
{
	const struct engine *e = c->engine;

	return within(c, e->map_bytes, at, bytes) ||
	       within(e->mem.reserved, e->mem.reserved_bytes, at, bytes);
}

int engine_init(void)
{
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2"))
		return -ENOTSUP;
	return 0;
}

void engine_flush_all(struct cpu *c) { c->engine->flush_pending = true; }

struct record *engine_enter(struct engine *e, u8 *code)
{
	struct record *r = e->enter(code);

	e->c->rflags = (e->c->rflags & ~(u64)FL_ARITH) | flags_of_image(e->exit_flags);
	return r;
}

/* *u ends in another page: is it still that one? */
static enum cpu_result second_page(struct engine *e, struct unit **u)
{
	struct cpage *cp2;
	enum cpu_result r = itlb_get(e, ((*u)->lin & PAGE_MASK) + PAGE_SIZE, &cp2);

	if (r != CPU_OK)
		return r;
	if (!(*u)->dead && cp2 != (*u)->cp2)
		cache_kill_unit(e, *u);
	if ((*u)->dead || cp2 != (*u)->cp2)
		*u = NULL;
	return CPU_OK;
}

/* The unit for c->rip in `mode`. */
static enum cpu_result find_unit(struct engine *e, u32 mode, enum unit_way way, struct unit **out)
{
	struct cpu *c = e->c;
	u64 rip = c->rip, lin = rip;
	struct cpage *cp;
	enum cpu_result r;

	if ((mode & MODE_SIZE) != MODE_SIZE64) {
		rip = c->rip = (u32)rip;
		if (rip > c->seg[S_CS].limit)
			return cpu_raise_err(c, EXC_GP, 0);
		lin = (u32)(rip + e->cs_base);
	}
	for (int try = 0; try < 3; try++) {
		struct unit *u = NULL;

		r = itlb_get(e, lin, &cp);
		if (r == CPU_OK)
			u = cache_lookup(e, cp, lin, mode);
		if (u && u->cp2)
			r = second_page(e, &u);
		if (r == CPU_OK && !u)
			u = translate(e, cp, rip, mode, way, &r);
		if (r != CPU_OK && r != CPU_AGAIN)
			return r;
		if (r == CPU_OK && u) {
			if (unlikely(u->beyond))
				return cpu_raise_err(c, EXC_GP, 0);
			if (way == WAY_CROSS)
				unit_want_cross(e, u);
			else if (way == WAY_IND)
				cache_jc_fill(e, u);
			*out = u;
			return CPU_OK;
		}
		/* Whoever runs one instruction for C still needs what would be thrown away. */
		if (mode & MODE_BOUNCE) {
			e->flush_pending = true;
			return CPU_AGAIN;
		}
		cache_flush(e);
	}
	return CPU_NOMEM;
}

enum cpu_result engine_find_unit(struct engine *e, u32 mode, enum unit_way way, struct unit **out)
{
	enum cpu_result r;

	/* Whoever runs one instruction for C still looks at its record. */
	moving_begin(e, !(mode & MODE_BOUNCE));
	r = find_unit(e, mode, way, out);
	moving_end(e);
	return r;
}

/* Which exception an FPU, SSE or AVX instruction raises when its state is off
 * (APM2 tables 8-8, 11-1). */
enum cpu_result engine_fpu_fault(struct engine *e, const struct insn *in)
{
	struct cpu *c = e->c;

	switch (in->state) {
	case STATE_X87:
		return cpu_raise(c, EXC_NM);
	case STATE_AVX512:
		if (!(c->xcr0 & XSTATE_AVX512))
			return cpu_raise(c, EXC_UD);
		/* fall through */
	case STATE_AVX:
		return cpu_raise(c,
				 !(c->cr4 & CR4_OSXSAVE) || (c->xcr0 & 6) != 6 ? EXC_UD : EXC_NM);
	case STATE_SSE:
		if (!(c->cr4 & CR4_OSFXSR))
			return cpu_raise(c, EXC_UD);
		/* fall through */
	default:
		return cpu_raise(c, c->cr0 & CR0_EM ? EXC_UD : EXC_NM);
	}
}

/* The check and the fill must agree on what a hit is. Should they ever not, an access that
 * was filled for this often is done by C. */
#define FILL_TRIES 4

static bool fill_futile(struct engine *e, struct record *r, u64 a)
{
	if (likely(e->fill_rec != r || e->fill_addr != a)) {
		e->fill_rec = r;
		e->fill_addr = a;
		e->fill_tries = 0;
		return false;
	}
	if (++e->fill_tries < FILL_TRIES)
		return false;
	e->fill_tries = 0;
	return true;
}

const struct insn *record_insn(struct engine *e, struct record *r)
{
	struct unit *u = r->unit;
	u64 lin = record_rip(r) + u->cs_base;
	u32 off = (u32)(lin & ~PAGE_MASK);
	struct insn *in;

	if (likely(r->insn))
		return r->insn;
	/* What the unit was made from has not changed, or it would be dead. */
	if (u->dead)
		return NULL;
	/* Zydis uses vector registers. */
	engine_fpu_save(e->c);
	in = arena_alloc(e, sizeof(*in));
	if (!in ||
	    insn_decode(in, u->cp->pp->copy + off, off + 15 > PAGE_SIZE ? (u32)PAGE_SIZE - off : 15,
			mode_bytes(u->mode)))
		return NULL;
	r->insn = in;
	translator_took(e);
	return in;
}

/* A group that has lain in two pages so often does so always: part of a structure does. */
#define CROSSED_MAX 8

/* CPU_RESUME: the access will succeed now. CPU_AGAIN: from c->rip on, every access on its own. */
static enum cpu_result handle_tlb(struct engine *e, struct rec_tlb *t)
{
	struct cpu *c = e->c;
	struct record *const r = &t->r;
	enum mem_access acc = r->write ? MEM_W : MEM_R;
	const struct insn *in = NULL;
	u64 a = (u64)t->disp;
	bool slow = false;
	enum cpu_result res;

	/* Kept as a byte it would be loaded again as four: 8 ns until the store is in the cache. */
	__asm__("" : "+r"(acc));
	if (t->base == INSN_RIP)
		a += record_rip(r);
	else if (t->base != INSN_NOREG)
		a += c->gpr[t->base];
	if (t->index != INSN_NOREG)
		a += c->gpr[t->index] * t->scale;
	if (t->bitreg != INSN_NOREG)
		a += (u64)insn_bit_displacement(c->gpr[t->bitreg], t->bitsize);
	if (t->addrsize == 4)
		a = (u32)a;
	else if (t->addrsize == 2)
		a = (u16)a;
	if ((r->unit->mode & MODE_SIZE) == MODE_SIZE64) {
		if (t->seg == S_FS || t->seg == S_GS)
			a += c->seg[t->seg].base;
	} else {
		const struct seg_lim *l = &e->lim[t->seg];

		if (a + r->len > (r->write ? l->write : l->read))
			slow = true;
		a = (u32)(a + c->seg[t->seg].base);
	}
	if (unlikely(r->unit->mode & MODE_ALIGN)) {
		in = record_insn(e, r);
		if (!in)
			goto again;
		/* Misaligned: slow_exec() raises #AC, or what comes before it. */
		if (a & insn_align_mask(in, r->len))
			slow = true;
	}
	if (!slow && (a & ~PAGE_MASK) + r->len <= PAGE_SIZE) {
		/* A group is checked before it is known that all of it comes about. */
		c->tentative = r->grouped;
		res = c->ops->tlb_fill(c, a, acc, mode_idx(r->unit->mode));
		c->tentative = 0;
		if (res == CPU_OK && !fill_futile(e, r, a))
			return CPU_RESUME;
		if (res == CPU_SLOW && t->patch && c->apic_page != ~0ull &&
		    apic_page_hit(c, a, acc, mode_idx(r->unit->mode)))
			apic_patch(e, t, a);
		if (res == CPU_FAULT && !r->grouped) {
			c->rip = record_rip(r);
			if (unlikely(r->special)) {
				in = record_insn(e, r);
				if (!in)
					goto again;
				/* Elements that the mask leaves out cannot fault. */
				if (insn_is_vmaskmov(in) || in->mask)
					return slow_exec(e, in);
				/* Alignment is checked before translation (APM2 8.5). */
				if (insn_needs_alignment(in) && (a & (in->memsize - 1u))) {
					cpu_raise_err(c, EXC_GP, 0);
					return CPU_FAULT;
				}
			}
			if (c->fault.vector == EXC_GP && t->seg == S_SS)
				c->fault.vector = EXC_SS;
			return CPU_FAULT;
		}
	}
	c->rip = record_rip(r);
	if (r->grouped) {
		if (!slow && (a & ~PAGE_MASK) + r->len > PAGE_SIZE && ++t->crossed == CROSSED_MAX)
			translator_narrow(e, r->unit);
		return CPU_AGAIN;
	}
	in = record_insn(e, r);
	if (in)
		return slow_exec(e, in);
again:
	c->rip = record_rip(r);
	cache_kill_unit(e, r->unit);
	return CPU_AGAIN;
}

/* The unit of one instruction is left through r: if it retires now, is it a control transfer?
 * INT n and its like are events, and cpu_deliver()'s. */
static bool is_transfer(struct engine *e, struct record *r)
{
	const struct insn *in;

	switch (r->kind) {
	case REC_LINK: case REC_INDIRECT:
		return true;
	case REC_EXEC: case REC_SLOW: case REC_TLB:
		break;
	default:
		return false;
	}
	in = record_insn(e, r);
	return in && insn_is_branch(in);
}

/* It has retired. A #VMEXIT in its place is no branch. */
static void note_transfer(struct cpu *c, bool transfer, u64 from, bool l2)
{
	c->branched = transfer && c->in_l2 == l2;
	if (c->branched && (c->debugctl & DEBUGCTL_LBR))
		cpu_record_branch(c, from, c->rip);
}

/*
 * RF is for one instruction (APM2 3.1.6): when it completes, RF is clear. What C executes sees to
 * that itself (cpu_exec()). Translated code is entered with RF set, behind the entry's poll, and
 * clears nothing: nobody looks at RF before the next exit, which says whether the instruction has
 * completed. At an exit at the instruction's own address it has if the registers of its operand
 * differ: the way has led round to it again. If they do not this is the first time; an access at
 * the same address would have succeeded again, since only C takes anything out of the TLB. Where C
 * may refuse at will what it did before (unit.served), and in units of two pages, whose body begins
 * with their entry, the instruction is a unit of its own.
 */
static void clear_rf(struct cpu *c)
{
	c->rflags &= ~(u64)FL_RF;
}

/* The unit for c->rip, if it was entered with RF set before and its page is known to be as it
 * was. */
static struct unit **rf_unit(struct engine *e, u64 rip)
{
	return &e->rf_units[(rip ^ rip >> 6) % RF_UNITS];
}
static struct unit *known_rf_unit(struct engine *e)
{
	struct unit *u = *rf_unit(e, e->c->rip);

	if (!u || u->rip != e->c->rip || u->mode != e->mode || u->dead ||
	    e->itlb_token[itlb_class(mode_idx(u->mode))][itlb_index(u->lin)] != u->cp->token)
		return NULL;
	return u;
}

static void keep_gprs(u64 *to, const u64 *gpr)
{
#pragma GCC unroll 16
	for (u32 g = 0; g < 16; g++) {
		to[g] = gpr[g];
		__asm__ volatile("" ::: "memory");	/* no call of memcpy() */
	}
}

/* Translated code that was entered at `at`, with these registers and RF set, has been left through
 * r. */
static bool rf_is_over(struct cpu *c, struct record *r, u64 at, const u64 *gpr)
{
	const struct rec_tlb *t;

	switch (r->kind) {
	case REC_TLB:
		t = tlb_of(r);
		return record_rip(r) != at || (t->base < 16 && c->gpr[t->base] != gpr[t->base]) ||
		       (t->index < 16 && c->gpr[t->index] != gpr[t->index]) ||
		       (t->bitreg < 16 && c->gpr[t->bitreg] != gpr[t->bitreg]);
	case REC_EXEC:	/* in line: REP MOVS and STOS */
		return record_rip(r) != at || c->gpr[R_RCX] != gpr[R_RCX] ||
		       c->gpr[R_RSI] != gpr[R_RSI] || c->gpr[R_RDI] != gpr[R_RDI];
	case REC_FPU: case REC_UD: case REC_NM: case REC_SLOW: case REC_TOO_LONG: case REC_COUNT:
		return record_rip(r) != at;
	case REC_FAULT:
		return c->rip != at;
	default:
		return true;
	}
}

/*
 * The instruction whose slow path left the engine last is to run again, alone:
 * go straight to it, if its unit survived whatever happened in between.
 */
static bool replay(struct engine *e, enum cpu_result *x)
{
	struct cpu *c = e->c;
	struct record *r = e->replay;
	const struct insn *in;
	struct cpage *cp;
	bool transfer;
	u64 from;
	enum cpu_result res;

	e->replay = NULL;
	if (e->replay_gen != e->counts.flushes || record_rip(r) != c->rip || r->unit->cp2 ||
	    ((r->unit->mode ^ e->mode) & MODE_CPU) || !unit_in_cs(r->unit, e))
		return false;
	/* Looking the page up compares its bytes, which may kill the unit. */
	if (itlb_get(e, r->unit->lin, &cp) || r->unit->dead || cp != r->unit->cp)
		return false;
	in = record_insn(e, r);
	if (!in)
		return false;
	from = c->rip;
	transfer = is_transfer(e, r);
	res = slow_exec(e, in);
	if (counting(e))
		count_done(e, in, from, c->in_l2, res == CPU_OK);
	if (res == CPU_OK)
		note_transfer(c, transfer, from, c->in_l2);
	if (res == CPU_OK || c->rip != from)
		clear_rf(c);
	*x = res == CPU_OK ? CPU_STEP : res;
	return true;
}

/* The page of a unit was not known to be mapped, or unchanged: it is, and the unit can go on. */
static bool entry_confirmed(struct engine *e, const struct record *r)
{
	const struct unit *u = r->unit;
	struct cpage *cp;

	if (u->dead || u->cp2 || r->rel || u->mode != e->mode || !unit_in_cs(u, e))
		return false;
	moving_begin(e, true);
	/* Whatever is wrong is found again where it is dealt with. */
	bool ok = itlb_get(e, u->lin, &cp) == CPU_OK && cp == u->cp && !u->dead;

	moving_end(e);
	return ok;
}

/*
 * A near branch to an address that is not canonical is #GP at the branch, which has done nothing
 * (APM3 CALL, JMP, RET). It stands at the end of u; what it has done is taken back. False: there is
 * none, #GP comes where RIP is.
 */
static bool branch_back(struct engine *e, const struct unit *u, bool direct)
{
	struct cpu *c = e->c;
	struct insn in;
	struct cpage *cp;
	u64 rip;
	u32 off;

	if (!u || !u->n_insns || u->cp2 || (u->mode & MODE_SIZE) != MODE_SIZE64)
		return false;
	rip = u->rip + (u64)(s64)u->insns[u->n_insns - 1].guest;
	if (itlb_get(e, rip, &cp))
		return false;
	off = (u32)(rip & ~PAGE_MASK);
	/* Zydis uses vector registers. */
	engine_fpu_save(c);
	if (insn_decode(&in, cp->pp->copy + off, off + 15 > PAGE_SIZE ? (u32)PAGE_SIZE - off : 15,
			8))
		return false;
	/* Running on into addresses that are not canonical is the next instruction's fault. */
	if (direct && rip + in.len + in.imm != c->rip)
		return false;
	switch (in.mnemonic) {
	case ZYDIS_MNEMONIC_RET:
		c->gpr[R_RSP] -= 8 + (in.opcode == 0xc2 ? (u16)in.imm : 0);
		break;
	case ZYDIS_MNEMONIC_CALL:
		c->ops->mem_write(c, c->gpr[R_RSP], &e->pushed_over, 8, cpu_mmu_idx(c));
		c->gpr[R_RSP] += 8;
		break;
	case ZYDIS_MNEMONIC_JMP:
		break;
	default:
		return false;
	}
	c->rip = rip;
	cpu_raise_err(c, EXC_GP, 0);
	return true;
}

static bool off_limits(const struct engine *e)
{
	return (e->mode & MODE_SIZE) == MODE_SIZE64 && unlikely(!engine_canonical(e->c, e->c->rip));
}

/* Is there more to the next instruction than where it is? */
static inline bool attention(const struct cpu *c)
{
	return (c->single_step | c->shadow_sti | c->shadow_ss) | (c->rflags & FL_RF) |
	       (c->debugctl & DEBUGCTL_LBR);
}
static inline bool unusual(const struct cpu *c)
{
	return atomic_load_explicit(&c->poll, memory_order_acquire) | attention(c);
}

/*
 * The instruction of r, called out of translated code: all registers are in their places, and the
 * guest's calls are off the stack. The way of left_to_c() and prepare() where nothing is out of the
 * ordinary; the place to go on at, or NULL: to leave by left_by.
 */
u8 *engine_exec_in_line(struct engine *e, struct record *r)
{
	struct cpu *c = e->c;
	enum cpu_result res;
	u8 *at;

	e->left_by = r;
	if (unlikely(c->direct || attention(c)))
		return NULL;
	e->counts.n[REC_EXEC]++;
	e->fill_rec = NULL;
	c->rflags = (c->rflags & ~(u64)FL_ARITH) | flags_of_image(e->exit_flags);
	c->rip = record_rip(r);
	res = c->ops->exec(c, r->insn);
	if (likely(res == CPU_OK)) {
		if (c->mode_stale)
			mode_update(e);
		if (likely(!e->flush_pending && !unusual(c) &&
			   !(e->mode & (MODE_CSBASE | MODE_COUNT)))) {
			at = e->jc_now[((u32)c->rip & e->jc_now_mask) >> 1];
			if (likely(at != e->stub_ind_miss)) {
				e->branch_at = 0;
				return at;
			}
		}
	}
	e->exit_flags = (u32)flags_image(c->rflags);
	e->done_res = res;
	e->left_by = &e->done_rec;
	return NULL;
}

/* -- the loop -- */

/* What run() knows from one turn to the next. */
struct turn {
	/* For the next turn: */
	bool nogroup;	/* check each access on its own */
	bool find;	/* the jump cache has been asked */
	bool direct, creep;	/* cpu_direct_ops */
	/* Of this one: */
	bool owed;	/* the caller may have held something back for a shadow that was there */
	bool shadow, rf, step, l2;
	bool rf_pending;	/* RF is set, and C looks at the next exit whether it is over */
	bool fpu_live;	/* when translated code was left */
	bool transfer;	/* ... by a control transfer, of one instruction */
	struct unit *u;	/* entered by C last */
	u8 *at;		/* to enter */
	u64 from, rf_at, rf_gpr[16];
	enum cpu_result res;	/* NEXT_LEAVE */
};

enum next {
	NEXT_TURN,	/* look at everything anew */
	NEXT_ENTER,	/* translated code again, at turn.at */
	NEXT_RETIRED,	/* one more turn, and where one instruction runs at a time it has retired */
	NEXT_LEAVE,	/* with turn.res */
};

static enum next leave(struct turn *w, enum cpu_result res)
{
	w->res = res;
	return NEXT_LEAVE;
}

/* User code that runs without us. */
static enum next enter_direct(struct cpu *c, struct turn *w)
{
	w->direct = false;
	switch (c->direct->enter(c)) {
	case DIRECT_NOT:
		return NEXT_ENTER;
	case DIRECT_FAULT:
		return leave(w, CPU_FAULT);
	case DIRECT_LOST:
		return leave(w, CPU_UNBACKED);
	case DIRECT_CREEP:
		w->creep = true;
		return NEXT_TURN;
	default:
		return NEXT_TURN;
	}
}

/* What there is to do before translated code is entered, and where. */
static inline enum next prepare(struct engine *e, struct turn *w)
{
	struct cpu *c = e->c;
	bool last = false;

	if (c->mode_stale) {
		mode_update(e);
		if (unlikely(c->direct))
			w->direct |= c->direct->mode(c);
	}
	if (unlikely(e->flush_pending))
		cache_flush(e);
	w->shadow = w->rf = w->rf_pending = w->step = false;
	w->l2 = c->in_l2;
	/* Most often: nothing unusual, and the jump cache knows where to go on. */
	if (likely(!(w->find | w->nogroup | w->creep | w->direct) && !e->replay && !unusual(c) &&
		   !(e->mode & (MODE_CSBASE | MODE_COUNT)))) {
		w->at = e->jc_now[((u32)c->rip & e->jc_now_mask) >> 1];
		if (likely(w->at != e->stub_ind_miss)) {
			e->branch_at = 0;
			return NEXT_ENTER;
		}
	}
	w->shadow = c->shadow_sti | c->shadow_ss;
	if (unlikely(w->creep && c->direct)) {
		enum cpu_direct r = c->direct->creep(c);

		w->creep = r == DIRECT_CREEP;
		w->direct |= r == DIRECT_GO_ON;
	}
	if (counting(e)) {
		if (c->count.left <= 0)
			c->ops->counted(c);
		last = c->count.left < UNIT_MAX_INSNS;
	}
	/* Branches are recorded by looking at each instruction (APM2 13.1.6.1). */
	w->step = c->single_step | w->shadow | (c->debugctl & DEBUGCTL_LBR) | w->creep | last;
	w->rf = c->rflags & FL_RF;
	/* Inside a shadow one instruction must retire before anything else. */
	if (!w->shadow && atomic_load_explicit(&c->poll, memory_order_acquire)) {
		/* In this order: a kick that is overwritten in both was before the fence. */
		atomic_store_explicit(&c->poll_sp, e->ret_limit, memory_order_release);
		atomic_store_explicit(&c->poll, 0, memory_order_release);
		atomic_thread_fence(memory_order_seq_cst);
		return leave(w, CPU_POLL);
	}
	if (e->replay && w->step && !w->shadow && !last && replay(e, &w->res))
		return NEXT_LEAVE;
	e->replay = NULL;
	if (unlikely(w->direct) && !w->step && c->cpl == 3 && !counting(e)) {
		enum next n = enter_direct(c, w);

		if (n != NEXT_ENTER)
			return n;
	}

	u32 mode = e->mode;

	if (w->step)
		mode |= MODE_STEP | MODE_NOGROUP;
	else if (w->nogroup)
		mode |= MODE_NOGROUP;
	w->nogroup = false;
	/* The jump cache knows most targets; its entries check themselves. */
	if (!w->find && !w->rf && mode == e->mode && !(mode & MODE_CSBASE)) {
		w->at = e->jc_now[((u32)c->rip & e->jc_now_mask) >> 1];
		if (likely(w->at != e->stub_ind_miss)) {
			e->branch_at = 0;
			return NEXT_ENTER;
		}
	}
	w->find = false;
	w->rf_pending = w->rf && !w->step;
	if (!w->rf_pending || mode != e->mode || !(w->u = known_rf_unit(e))) {
		w->res = engine_find_unit(e, mode, w->rf ? WAY_BODY : WAY_IND, &w->u);
		if (unlikely(w->rf_pending && !w->res && (w->u->cp2 || w->u->served))) {
			w->step = true;
			w->rf_pending = false;
			w->res = engine_find_unit(e, e->mode | MODE_STEP | MODE_NOGROUP, WAY_BODY,
						  &w->u);
		}
		if (unlikely(w->res))
			return NEXT_LEAVE;
		if (w->rf_pending && (e->mode & MODE_SIZE) == MODE_SIZE64 && mode == e->mode)
			*rf_unit(e, c->rip) = w->u;
	}
	if (w->rf_pending) {
		w->rf_at = c->rip;
		keep_gprs(w->rf_gpr, c->gpr);
	}
	if (w->shadow) {
		c->shadow_sti = c->shadow_ss = 0;
		c->shadow_left = 1;
		c->shadow_rip = c->rip;
	}
	w->at = codemem_at(&e->mem, w->u->e_body);
	return NEXT_ENTER;
}

/* Translated code was left through r, by kind of record. */

static inline enum next left_link(struct engine *e, struct turn *w, struct record *r)
{
	struct cpu *c = e->c;
	u64 gen = e->counts.flushes, moves = e->counts.moved;

	c->rip = record_rip(r);
	if (off_limits(e) && branch_back(e, r->unit, true))
		return leave(w, CPU_FAULT);
	if (w->step)
		return NEXT_RETIRED;
	if (atomic_load_explicit(&c->poll, memory_order_relaxed) || c->mode_stale)
		return NEXT_TURN;
	w->res = engine_find_unit(e, e->mode, r->cross ? WAY_CROSS : WAY_BODY, &w->u);
	if (unlikely(w->res))
		return NEXT_LEAVE;
	/* Where either of them has gone, the next one links it. */
	if (gen == e->counts.flushes && moves == e->counts.moved && !r->unit->dead && !r->linked)
		link_patch(e, link_of(r), w->u);
	w->at = codemem_at(&e->mem, w->u->e_body);
	return NEXT_ENTER;
}

static inline enum next left_indirect(struct engine *e, struct turn *w)
{
	struct unit *u = w->u;

	if (off_limits(e)) {
		if (!w->step)
			u = e->branch_at ? cache_unit_at(e, (u64)codemem_at(&e->mem, e->branch_at))
					 : NULL;
		if (branch_back(e, u, false))
			return leave(w, CPU_FAULT);
	}
	w->find = true;
	return NEXT_RETIRED;
}

static inline enum next left_entry(struct engine *e, struct turn *w, struct record *r)
{
	e->c->rip = record_rip(r);
	if (entry_confirmed(e, r)) {
		w->at = codemem_at(&e->mem, r->unit->e_poll);
		return NEXT_ENTER;
	}
	/* It may have come by the jump cache, which is to know better. */
	w->find = true;
	return NEXT_TURN;
}

/* The access will succeed now. All registers are as before the instruction that r is about. */
static inline enum next access_again(struct engine *e, struct turn *w, struct record *r)
{
	struct cpu *c = e->c;

	if (!(c->shadow_sti | c->shadow_ss) && !w->shadow &&
	    atomic_load_explicit(&c->poll, memory_order_relaxed)) {
		c->rip = record_rip(r);
		if (counting(e))
			count_leave(e, r);
		return NEXT_TURN;
	}
	if (unlikely(w->fpu_live && !c->fpu_live))
		engine_fpu_load(c);
	if (r->aside)
		e->save_flags = flags_image(c->rflags);
	w->at = codemem_at(&e->mem, r->resume);
	return NEXT_ENTER;
}

static inline enum next left_access(struct engine *e, struct turn *w, struct record *r)
{
	struct cpu *c = e->c;
	enum cpu_result res = handle_tlb(e, tlb_of(r));
	const struct insn *in;

	if (counting(e) && res != CPU_RESUME) {
		count_leave(e, r);
		count_done(e, r->insn, record_rip(r), w->l2, res == CPU_OK);
	}
	switch (res) {
	case CPU_RESUME:
		return access_again(e, w, r);
	case CPU_AGAIN:
		w->nogroup = true;
		if (w->shadow)
			c->shadow_sti = 1;
		return NEXT_TURN;
	case CPU_FAULT:
		if (unlikely(r->special) && (in = record_insn(e, r)) && slow_mf_pending(c, in))
			cpu_raise(c, EXC_MF);
		return leave(w, CPU_FAULT);
	case CPU_OK:
		w->transfer = unlikely(w->step) && is_transfer(e, r);
		/* It may have stood behind an STI of its unit. */
		c->shadow_sti = 0;
		if (w->rf_pending)
			clear_rf(c);
		return NEXT_RETIRED;
	default:
		/* Likely a device read: the same instruction comes again. */
		e->replay = r;
		e->replay_gen = e->counts.flushes;
		if (c->rip != record_rip(r)) {	/* or a write, which is done */
			c->shadow_sti = 0;
			if (w->rf)
				clear_rf(c);
		}
		return leave(w, res);
	}
}

/* An instruction for the layer above, or (slow) for slow.c. */
static inline enum next left_to_c(struct engine *e, struct turn *w, struct record *r, bool slow)
{
	struct cpu *c = e->c;
	enum cpu_result res;

	c->rip = record_rip(r);
	e->fill_rec = NULL;	/* it may have made the entry void */
	res = slow ? slow_exec(e, r->insn) : c->ops->exec(c, r->insn);
	if (counting(e))
		count_done(e, r->insn, record_rip(r), w->l2, res == CPU_OK);
	if (slow && w->rf && c->rip != record_rip(r))
		clear_rf(c);
	return res == CPU_OK ? NEXT_RETIRED : leave(w, res);
}

static enum next left_fault(struct engine *e, struct turn *w, struct record *r)
{
	struct cpu *c = e->c;

	if (r->kind != REC_FAULT)	/* whose handler has set it */
		c->rip = record_rip(r);
	switch (r->kind) {
	case REC_FAULT:
		if (c->fault.vector != ENGINE_HOST_FAULT || e->fault_address >= PAGE_SIZE)
			break;
		/* The page of an empty window (window.c): the TLB knows better. */
		w->nogroup = true;
		if (w->shadow)
			c->shadow_sti = 1;
		return NEXT_TURN;
	case REC_UD:
		cpu_raise(c, EXC_UD);
		break;
	case REC_TOO_LONG:
		cpu_raise_err(c, EXC_GP, 0);
		break;
	case REC_NM:
		engine_fpu_fault(e, r->insn);
		break;
	default:
		break;
	}
	return leave(w, CPU_FAULT);
}

static inline enum next left(struct engine *e, struct turn *w, struct record *r)
{
	switch (r->kind) {
	case REC_LINK:
		return left_link(e, w, r);
	case REC_INDIRECT:
		return left_indirect(e, w);
	case REC_ENTRY:
		return left_entry(e, w, r);
	case REC_POLL:
		/* Calls are too deep, or what poll said is known already. */
		if (!atomic_load_explicit(&e->c->poll, memory_order_acquire))
			returns_polled(e);
		e->c->rip = record_rip(r);
		return NEXT_TURN;
	case REC_STEPPED:
	case REC_COUNT:
		e->c->rip = record_rip(r);
		return NEXT_RETIRED;
	case REC_TLB:
		return left_access(e, w, r);
	case REC_EXEC:
		return left_to_c(e, w, r, false);
	case REC_SLOW:
		return left_to_c(e, w, r, true);
	case REC_FPU:
		engine_fpu_load(e->c);
		w->at = codemem_at(&e->mem, r->resume);
		return NEXT_ENTER;
	case REC_DONE:
		return e->done_res == CPU_OK ? NEXT_RETIRED : leave(w, e->done_res);
	case REC_UD: case REC_TOO_LONG: case REC_NM: case REC_FAULT:
		return left_fault(e, w, r);
	default:
		return leave(w, CPU_UNBACKED);
	}
}

/* One instruction at a time: it has retired. */
static enum next stepped(struct engine *e, struct turn *w, struct record *r)
{
	struct cpu *c = e->c;

	if (counting(e))
		count_stepped(e, r);
	if (w->rf && r->kind != REC_EXEC)
		clear_rf(c);
	note_transfer(c, w->transfer, w->from, w->l2);
	if (c->single_step || w->owed)
		return leave(w, c->single_step ? CPU_STEP : CPU_POLL);
	/* A shadow is over that began in here: whoever waits for its end has set c->poll. */
	c->shadow_left = 0;
	return NEXT_TURN;
}

static enum cpu_result run(struct engine *e)
{
	struct cpu *c = e->c;
	struct turn w;
	struct record *r;
	enum next next = NEXT_TURN;

	w.nogroup = w.find = w.creep = false;
	w.direct = c->direct;
	w.owed = c->shadow_sti | c->shadow_ss;
	w.u = NULL;
	returns_begin(e, __builtin_frame_address(0));
	for (;;) {
		if (next == NEXT_TURN)
			next = prepare(e, &w);
		if (next == NEXT_TURN)
			continue;
		if (next == NEXT_LEAVE)
			return w.res;
		w.from = c->rip;
		r = engine_enter(e, w.at);
		e->counts.n[r->kind]++;
		if (unlikely(w.rf_pending) && rf_is_over(c, r, w.rf_at, w.rf_gpr)) {
			w.rf_pending = false;
			clear_rf(c);
		}
		/* Whoever looks into a record may put it away, in the middle of a unit too. */
		w.fpu_live = c->fpu_live;
		w.transfer = unlikely(w.step) && r->kind != REC_TLB && is_transfer(e, r);
		if (counting(e) && r->kind != REC_TLB)
			count_leave(e, r);
		next = left(e, &w, r);
		if (next == NEXT_RETIRED)
			next = unlikely(w.step) ? stepped(e, &w, r) : NEXT_TURN;
		if (next == NEXT_LEAVE)
			return w.res;
	}
}

enum cpu_result engine_run(struct cpu *c)
{
	struct engine *e = c->engine;

	engine_current = e;
	c->shadow_left = 0;
	enum cpu_result x = run(e);

	engine_current = NULL;
	if (x == CPU_FAULT && unlikely(c->fault.vector == ENGINE_HOST_FAULT))
		x = CPU_EFAULT;
	return x;
}

u64 engine_fault_address(const struct cpu *c) { return c->engine->fault_address; }
const struct engine_counts *engine_counts(const struct cpu *c) { return &c->engine->counts; }

void engine_abandon(struct cpu *c)
{
	engine_current = NULL;
	/* Bytes of a page may be half read or half compared. */
	c->engine->flush_pending = true;
}
