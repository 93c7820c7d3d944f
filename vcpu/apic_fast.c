/* SPDX-License-Identifier: MIT */
/*
 * vcpu/apic_fast.c - the local APIC straight from translated code, while acceleration is
 * active (docs/kvm-apic.md 3.6-3.10): TPR, the EOI of an edge, fixed IPIs, and plain reads. What
 * these functions refuse runs in full, through mmio.c, msr.c and hooks.c, with the same result.
 *
 * An inhibit that becomes true while the guest runs ends this when its request is serviced,
 * which is at the next poll point: a hardware CPU would not learn of it earlier.
 */
#include "base/trace.h"
#include "irq/apic_page.h"
#include "irq/lapic.h"
#include "vcpu/hooks.h"
#include "vcpu/vcpu_priv.h"

void vcpu_apic_page_update(struct vcpu *v)
{
	v->c->apic_page = v->lapic && lapic_hw_enabled(v->lapic) && !lapic_x2apic(v->lapic)
				  ? lapic_get_base(v->lapic) & PAGE_MASK
				  : ~0ull;
}

/* The APIC's fast side, or NULL. Accesses that somebody traces or debugs are made in full. */
static inline struct apic_fast *open_for(const struct vcpu *v)
{
	struct apic_fast *f;

	if (!v->lapic || unlikely(v->p->dbg.control) || unlikely(trace_any()))
		return NULL;
	f = lapic_fast(v->lapic);
	return f->apicv_active ? f : NULL;
}

static inline u64 slow(void)
{
	return cpu_short_cut(CPU_SLOW, 0);
}

static inline u64 done(const struct cpu *c)
{
	return cpu_short_cut(
		atomic_load_explicit(&c->poll, memory_order_relaxed) ? CPU_POLL : CPU_OK, 0);
}

/* What is deliverable may have grown. */
static inline u64 recheck(struct cpu *c, struct apic_fast *f)
{
	if (lapic_fast_deliverable(f))
		engine_kick(c);
	return done(c);
}

static inline u64 write_tpr(struct cpu *c, struct apic_fast *f, u8 tpr)
{
	lapic_fast_tpr(f, tpr);
	return recheck(c, f);
}

/*
 * What is not accelerated (an EOI that somebody waits for; without acceleration TPR as well) may be
 * done from here, too. It may take locks and call out: only while no vector state is live, because
 * it cannot be saved in the middle of a unit.
 */
static inline bool whole(const struct vcpu *v)
{
	return !v->c->fpu_live && !v->c->in_l2;
}

/* By itself: the short way keeps no register for it. */
static u64 __attribute__((noinline)) whole_eoi(struct vcpu *v)
{
	if (!whole(v))
		return slow();
	lapic_eoi(v->lapic);
	return done(v->c);
}

static inline u64 write_eoi(struct vcpu *v, struct apic_fast *f)
{
	return likely(lapic_fast_eoi(f)) ? recheck(v->c, f) : whole_eoi(v);
}

/* docs/kvm-apic.md 3.7: other delivery modes, level triggers and vectors below 16 are
 * software's. */
static inline bool fixed_edge(u32 icr)
{
	return !(icr & (7u << 8 | ICR_LEVEL)) && (icr & 0xff) >= 16;
}

/* -- the MMIO page -- */

static inline bool is_page(const struct cpu *c, u64 gva, enum mem_access acc)
{
	return cpu_io_page(c, gva, acc, cpu_mmu_idx(c), c->apic_page) && likely(!c->watch_dr7);
}

/* Not accelerated. */
static u64 whole_write(struct vcpu *v, u32 offset, u32 val)
{
	if (!v->lapic || !whole(v) || v->p->dbg.control || v->p->tpr_reporting || trace_any())
		return slow();
	return lapic_mmio_write(v->lapic, offset, &val, 4) ? slow() : done(v->c);
}

static u64 store(struct cpu *c, u64 gva, u64 val)
{
	struct vcpu *v = c->owner;
	struct apic_fast *f = open_for(v);
	u32 offset = (u32)(gva & ~PAGE_MASK), lo = (u32)val;

	if (!is_page(c, gva, MEM_W))
		return slow();
	if (!f)
		return offset == APIC_EOI || offset == APIC_TPR ? whole_write(v, offset, lo)
								: slow();
	switch (offset) {
	case APIC_EOI:
		return write_eoi(v, f);
	case APIC_TPR:
		return write_tpr(c, f, (u8)lo);
	case APIC_ICR:
		if (!fixed_edge(lo))
			return slow();
		break;
	case APIC_ICR2:
		break;
	default:
		return slow();
	}
	return lapic_mmio_write(v->lapic, offset, &lo, 4) ? slow() : done(c);
}

/* Not those that take computing: the timer's count calls out. */
static bool plain_read(u32 offset)
{
	return !(offset & 15) && offset < 0x400 && offset != APIC_TMCCT && offset != APIC_APR;
}

static u64 load(struct cpu *c, u64 gva, u64 unused)
{
	struct vcpu *v = c->owner;
	u32 offset = (u32)(gva & ~PAGE_MASK), val;

	if (!open_for(v) || !is_page(c, gva, MEM_R) || !plain_read(offset) ||
	    lapic_mmio_read(v->lapic, offset, &val, 4))
		return slow();
	return cpu_short_cut(CPU_OK, val);
}

/* -- x2APIC -- */

static u64 wrmsr(struct cpu *c, u64 msr, u64 val)
{
	struct vcpu *v = c->owner;
	struct apic_fast *f;

	if (msr - MSR_X2APIC >= 0x40)
		return slow();
	f = open_for(v);
	if (!f || !lapic_x2apic(v->lapic))
		return slow();
	switch ((u32)(msr - MSR_X2APIC) * 16) {
	case APIC_EOI:
		return val ? slow() : write_eoi(v, f);
	case APIC_TPR:
		return val >> 8 ? slow() : write_tpr(c, f, (u8)val);
	case APIC_ICR:
		if (!fixed_edge((u32)val))
			return slow();
		break;
	case APIC_SELF_IPI:
		if (val < 16)
			return slow();
		break;
	default:
		return slow();
	}
	return lapic_msr_write(v->lapic, (u32)msr, val) ? slow() : done(c);
}

static u64 rdmsr(struct cpu *c, u64 msr, u64 unused)
{
	struct vcpu *v = c->owner;
	u64 val;

	if (msr - MSR_X2APIC >= 0x40 || !plain_read((u32)(msr - MSR_X2APIC) * 16) || !open_for(v) ||
	    lapic_msr_read(v->lapic, (u32)msr, &val) || val >> 32)
		return slow();
	return cpu_short_cut(CPU_OK, val);
}

/* -- CR8 -- */

static u64 set_tpr(struct cpu *c, u64 cr8, u64 unused)
{
	struct vcpu *v = c->owner;
	struct apic_fast *f = open_for(v);

	if (!f || cr8 > 15)
		return slow();
	v->p->cr8 = cr8;
	return write_tpr(c, f, (u8)(cr8 << 4));
}

static u64 get_tpr(struct cpu *c, u64 unused, u64 unused2)
{
	struct vcpu *v = c->owner;

	return open_for(v) ? cpu_short_cut(CPU_OK, lapic_get_tpr(v->lapic)) : slow();
}

const struct cpu_apic_ops vcpu_apic_ops = {
	.store = store,
	.load = load,
	.wrmsr = wrmsr,
	.rdmsr = rdmsr,
	.set_tpr = set_tpr,
	.get_tpr = get_tpr,
};
