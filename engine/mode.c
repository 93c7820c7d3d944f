/* SPDX-License-Identifier: MIT */
/* engine/mode.c - what of the CPU state translations depend on. */
#include "engine/engine_priv.h"
#include "engine/xstate.h"

static bool seg_flat_data(const struct cpu_seg *s)
{
	return s->base == 0 && s->limit == 0xffffffffu &&
	       (s->attr & (SEG_P | SEG_S | SEG_CODE | SEG_RW | SEG_EC)) == (SEG_P | SEG_S | SEG_RW);
}

/* Offsets below the result can be accessed without asking C. */
static void seg_limits(struct seg_lim *l, const struct cpu_seg *s)
{
	u64 end = (u64)s->limit + 1;

	l->read = l->write = 0;
	if (!(s->attr & SEG_P) || !(s->attr & SEG_S))
		return;
	if (s->attr & SEG_CODE) {
		if (s->attr & SEG_RW)
			l->read = end;
		return;
	}
	if (s->attr & SEG_EC)
		return; /* expand-down: rare enough for C */
	l->read = end;
	if (s->attr & SEG_RW)
		l->write = end;
}

static void __attribute__((noinline)) compute(struct engine *e)
{
	struct cpu *c = e->c;
	u32 m = 0;

	if (cpu_in_64(c))
		m |= MODE_SIZE64;
	else if (c->seg[S_CS].attr & SEG_DB)
		m |= MODE_SIZE32;
	m |= (u32)cpu_mmu_idx(c) << MODE_IDX_SHIFT;
	if (c->cpl == 0)
		m |= MODE_CPL0;
	if (unlikely(cpu_align_checked(c)))
		m |= MODE_ALIGN;
	if (unlikely(c->in_l2 && (c->l2_inline & (L2_CLI | L2_PUSHF))))
		m |= MODE_L2_FLAGS;
	if (unlikely((c->cr4 & CR4_LA57) && cpu_in_64(c)))
		m |= MODE_LA57;
	if (unlikely(c->count.on))
		m |= MODE_COUNT;

	bool nm = c->cr0 & (CR0_EM | CR0_TS);

	if (!nm)
		m |= MODE_X87;
	if (!(c->cr0 & (CR0_EM | CR0_TS)) && (c->cr4 & CR4_OSFXSR))
		m |= MODE_SSE;
	if (!(c->cr0 & CR0_PE) || (c->rflags & FL_VM))
		m |= MODE_NOVEX;
	else if ((c->cr4 & CR4_OSXSAVE) && (c->xcr0 & 6) == 6 && !(c->cr0 & CR0_TS))
		m |= MODE_AVX | (c->xcr0 & XSTATE_AVX512 ? MODE_AVX512 : 0);
	if ((c->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		m |= MODE_FWAIT;

	e->cs_base = 0;
	e->cs_limit = ~0u;
	if ((m & MODE_SIZE) != MODE_SIZE64) {
		if (seg_flat_data(&c->seg[S_DS]) && seg_flat_data(&c->seg[S_ES]) &&
		    seg_flat_data(&c->seg[S_SS]))
			m |= MODE_FLAT;
		if (c->seg[S_SS].attr & SEG_DB)
			m |= MODE_SS32;
		e->cs_base = (u32)c->seg[S_CS].base;
		e->cs_limit = c->seg[S_CS].limit;
		if (e->cs_base || e->cs_limit != ~0u)
			m |= MODE_CSBASE;
		for (u32 i = 0; i < 6; i++)
			seg_limits(&e->lim[i], &c->seg[i]);
	}
	e->mode = m;
	jump_cache_mode(e);
}

/*
 * All that compute() looks at in 64-bit code but guest mode and CPL: programs go back and forth
 * between two or three modes at each system call. Not 0: PE is set.
 */
static u64 key_of(const struct cpu *c)
{
	_Static_assert(((L2_CLI | L2_PUSHF) << 4 & (15u | CR0_AM)) == 0, "between bits of CR0");
	_Static_assert(((6 | XSTATE_AVX512) & ~0xffu) == 0, "below count.on");
	return (c->cr0 & (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_AM)) |
	       (c->in_l2 ? (c->l2_inline & (L2_CLI | L2_PUSHF)) << 4 : 0) |
	       (c->cr4 & (CR4_OSFXSR | CR4_LA57 | CR4_OSXSAVE)) << 20 |
	       (c->rflags & (FL_AC | FL_VM)) << 24 | (c->xcr0 & (6 | XSTATE_AVX512)) << 48 |
	       (u64)c->count.on << 56;
}

static void __attribute__((noinline)) mode_learn(struct engine *e, struct mode_memo *m, u64 key)
{
	compute(e);
	*m = (struct mode_memo){ .key = key, .mode = e->mode, .bank = jc_bank(e->mode) };
}

static inline void update(struct engine *e)
{
	struct cpu *c = e->c;
	struct mode_memo *m;
	u64 key;

	c->mode_stale = 0;
	if (unlikely(!cpu_in_64(c))) {
		compute(e);
		return;
	}
	m = &e->modes[c->in_l2][c->cpl];
	key = key_of(c);
	if (unlikely(m->key != key || e->jc[m->bank].mode != m->mode)) {
		mode_learn(e, m, key);
		return;
	}
	e->cs_base = 0;
	e->cs_limit = ~0u;
	e->mode = m->mode;
	jump_cache_use(e, m->bank);
}

static void __attribute__((noinline)) update_watched(struct engine *e)
{
	e->c->ops->counted(e->c);
	update(e);
}

/* Each system call comes by twice: whatever is called is called at the end, so that nothing is
 * saved for it. */
void mode_update(struct engine *e)
{
	if (unlikely(e->c->count.watched))
		update_watched(e);
	else
		update(e);
}
