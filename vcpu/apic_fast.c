/* SPDX-License-Identifier: MIT */
/*
 * vcpu/apic_fast.c - the local APIC straight from translated code, while acceleration is
 * active (facts 3.6-3.10). What these functions refuse runs in full, through mmio.c, msr.c
 * and hooks.c, with the same result.
 *
 * An inhibit that becomes true while the guest runs closes the short cuts when its request
 * is serviced, which is at the next poll point: a hardware CPU would not learn of it earlier.
 */
#include "base/trace.h"
#include "irq/apicv.h"
#include "irq/lapic.h"
#include "vcpu/hooks.h"
#include "vcpu/priv.h"

void vcpu_apic_fast_update(struct vcpu *v)
{
	struct cpu *c = v->c;
	bool on = v->lapic && v->cfg->irq && !apicv_inhibits(v->cfg->irq) &&
		  lapic_hw_enabled(v->lapic) && !v->p->dbg.control;
	bool x2 = on && lapic_x2apic(v->lapic);

	c->apic_page = on && !x2 ? lapic_get_base(v->lapic) & PAGE_MASK : ~0ull;
	v->p->fast_msr = x2;
	v->p->fast_tpr = on;
}

/* Accesses that somebody traces are made in full: that is where the trace points are. */
static bool refused(bool open)
{
	return !open || unlikely(trace_any());
}

static u64 outcome(const struct cpu *c)
{
	return atomic_load_explicit(&c->poll, memory_order_relaxed) ?
	       APIC_RESULT(APIC_POLL, 0) : APIC_RESULT(APIC_DONE, 0);
}

static const struct mmu_io_entry *page(const struct cpu *c, u64 gva, enum mem_access acc)
{
	const struct mmu_io_entry *io = &c->io_tlb[(gva >> PAGE_SHIFT) % IO_TLB_SIZE];

	if (io->tag != ((gva & PAGE_MASK) | acc) || io->idx != cpu_mmu_idx(c) ||
	    refused(io->gpa == c->apic_page) || unlikely(c->watch_dr7))
		return NULL;
	return io;
}

static u64 store(struct cpu *c, u64 gva, u64 val)
{
	const struct vcpu *v = c->owner;

	if (!page(c, gva, MEM_W) || gva & 15 ||
	    !lapic_fast_mmio_write(v->lapic, (u32)(gva & ~PAGE_MASK), (u32)val))
		return APIC_RESULT(APIC_SLOW, 0);
	return outcome(c);
}

static u64 load(struct cpu *c, u64 gva, u64 unused)
{
	const struct vcpu *v = c->owner;
	u32 val;

	if (!page(c, gva, MEM_R) || gva & 15 ||
	    !lapic_fast_mmio_read(v->lapic, (u32)(gva & ~PAGE_MASK), &val))
		return APIC_RESULT(APIC_SLOW, 0);
	return APIC_RESULT(APIC_DONE, val);
}

static u64 wrmsr(struct cpu *c, u64 msr, u64 val)
{
	const struct vcpu *v = c->owner;

	if (msr - 0x800 >= 0x100 || refused(v->p->fast_msr) ||
	    !lapic_fast_msr_write(v->lapic, (u32)msr, val))
		return APIC_RESULT(APIC_SLOW, 0);
	return outcome(c);
}

static u64 rdmsr(struct cpu *c, u64 msr, u64 unused)
{
	const struct vcpu *v = c->owner;
	u32 val;

	if (msr - 0x800 >= 0x100 || refused(v->p->fast_msr) ||
	    !lapic_fast_msr_read(v->lapic, (u32)msr, &val))
		return APIC_RESULT(APIC_SLOW, 0);
	return APIC_RESULT(APIC_DONE, val);
}

static u64 set_tpr(struct cpu *c, u64 cr8, u64 unused)
{
	const struct vcpu *v = c->owner;

	if (refused(v->p->fast_tpr) || cr8 > 15)
		return APIC_RESULT(APIC_SLOW, 0);
	v->p->cr8 = cr8;
	lapic_fast_set_tpr(v->lapic, (u8)cr8);
	return outcome(c);
}

static u64 get_tpr(struct cpu *c, u64 unused, u64 unused2)
{
	const struct vcpu *v = c->owner;

	if (refused(v->p->fast_tpr))
		return APIC_RESULT(APIC_SLOW, 0);
	return APIC_RESULT(APIC_DONE, lapic_get_tpr(v->lapic));
}

const struct cpu_apic_ops vcpu_apic_ops = {
	.store = store,
	.load = load,
	.wrmsr = wrmsr,
	.rdmsr = rdmsr,
	.set_tpr = set_tpr,
	.get_tpr = get_tpr,
};
