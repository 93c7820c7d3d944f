/* SPDX-License-Identifier: MIT */
/*
 * irq/lapic.c - the local APIC itself: life cycle, mode, accepting interrupts, priority.
 */
#include "irq/irq_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"

void *lapic_vcpu(struct lapic *l)
{
	return atomic_load(&l->vcpu);
}

void lapic_set_vcpu(struct lapic *l, void *vcpu)
{
	atomic_store(&l->vcpu, vcpu);
	if (!vcpu)
		return;
	lapic_wake(l, IRQ_WAKE_SCAN);	/* whatever came before now */
	lapic_wake(l, IRQ_WAKE_APICV);
	lapic_wake(l, IRQ_WAKE_EVENT);
}

/* -- mode -- */

u64 lapic_get_base(struct lapic *l)
{
	return atomic_load_explicit(&l->base, memory_order_relaxed);
}

bool lapic_hw_enabled(struct lapic *l)
{
	return lapic_get_base(l) & APIC_BASE_EN;
}

bool lapic_x2apic(struct lapic *l)
{
	return (lapic_get_base(l) & (APIC_BASE_EN | APIC_BASE_EXTD)) ==
	       (APIC_BASE_EN | APIC_BASE_EXTD);
}

int lapic_set_base(struct lapic *l, u64 v, bool host)
{
	u64 old = lapic_get_base(l), mode = v & APIC_BASE_MODE, old_mode = old & APIC_BASE_MODE;

	if (v == old)	/* whatever CPUID says by now */
		return 0;
	if (v & l->base_reserved || mode == APIC_BASE_EXTD)
		return -EINVAL;
	if (!host && !apic_base_step(old, v))
		return -EINVAL;
	atomic_store(&l->base, v);
	if ((old ^ v) & v & APIC_BASE_EN)
		lapic_put(l, APIC_ID, l->id << 24);
	if ((old ^ v) & v & APIC_BASE_EXTD) {
		lapic_put(l, APIC_ID, l->id);
		lapic_put(l, APIC_LDR, x2apic_ldr(l->id));
	} else if (host && old_mode != mode && mode == APIC_BASE_EN) {
		lapic_put(l, APIC_ID, l->id << 24);	/* user space may go back to xAPIC */
	}
	if (v & APIC_BASE_EN && (v & PAGE_MASK) != APIC_DEFAULT_BASE)
		apicv_set_inhibit_by(l, APICV_INHIBIT_APIC_BASE_MODIFIED, true);
	if ((old ^ v) & (APIC_BASE_EN | APIC_BASE_EXTD)) {
		apicv_refresh(l);
		apic_map_update(l->chip);
		lapic_wake(l, IRQ_WAKE_APICV);
		lapic_wake(l, IRQ_WAKE_EVENT);
	}
	return 0;
}

/* Bit 24 offers directed EOI to the guest; docs/kvm-apic.md 2.4 has the table of who sees it. */
void lapic_update_version(struct lapic *l)
{
	u32 mode = atomic_load_explicit(&l->chip->set->eoi_mode, memory_order_relaxed);
	bool offer = mode == EOI_SUPPRESS_ENABLED ||
		     (mode == EOI_QUIRKED && l->chip->mode == IRQCHIP_SPLIT);
	u32 v = 0x14 | (l->nr_lvt - 1) << 16;

	if (offer && l->features & LAPIC_HAS_X2APIC)
		v |= LVR_DIRECTED_EOI;
	lapic_put(l, APIC_LVR, v);
}

void lapic_set_features(struct lapic *l, u32 features, u32 maxphyaddr)
{
	u32 nr = features & LAPIC_HAS_CMCI ? 7 : 6;

	if (maxphyaddr < 32 || maxphyaddr > 52)
		maxphyaddr = 52;
	if (nr > l->nr_lvt)
		lapic_put(l, APIC_LVT_CMCI, LVT_MASKED);
	l->features = features;
	l->nr_lvt = nr;
	l->base_reserved = ~(BIT64(maxphyaddr) - 1) | 0x2ff;
	if (!(features & LAPIC_HAS_X2APIC))
		l->base_reserved |= APIC_BASE_EXTD;
	lapic_update_version(l);
}

/* -- local vector table -- */

static const struct { u16 offset; u32 mask; } lvts[] = {
#define X(index, reg, mask) [index] = { APIC_##reg, mask },
	LAPIC_LVTS(X)
#undef X
};

u32 lapic_lvt_offset(enum lapic_lvt which)
{
	return lvts[which].offset;
}

u32 lapic_lvt_mask(enum lapic_lvt which)
{
	return lvts[which].mask;
}

bool lapic_deliver_lvt(struct lapic *l, enum lapic_lvt which)
{
	u32 v;
	struct apic_msg m;

	if (which >= l->nr_lvt || !lapic_hw_enabled(l))
		return false;
	v = lapic_get(l, lvts[which].offset);
	if (v & LVT_MASKED)
		return false;
	m = (struct apic_msg){
		.vector = (u8)v, .delivery = v >> 8 & 7, .level = 1,
		.trigger_level = v >> 15 & 1,
	};
	if (!lapic_accept(l, &m))
		return false;
	if (which == LVT_PERF && l->features & LAPIC_MASKS_LVTPC)
		lapic_put(l, APIC_LVTPC, v | LVT_MASKED);
	return true;
}

bool lapic_accepts_extint(struct lapic *l)
{
	u32 lvt0 = lapic_get(l, APIC_LVT0);

	/* A disabled APIC connects INTR straight to the core (SDM3 11.4.3). */
	return !lapic_hw_enabled(l) || (lvt0 & (LVT_MASKED | LVT_MODE)) == APIC_EXTINT << 8;
}

void lapic_set_spiv(struct lapic *l, u32 v)
{
	u32 old = lapic_get(l, APIC_SPIV);

	lapic_put(l, APIC_SPIV, v);
	if ((old ^ v) & SPIV_ENABLE)
		apic_map_update(l->chip);
}

/* -- life cycle -- */

void lapic_reset(struct lapic *l, bool init_event)
{
	bool x2;

	if (!init_event) {
		atomic_store(&l->base,
			     APIC_DEFAULT_BASE | APIC_BASE_EN | (l->bsp ? APIC_BASE_BSP : 0));
		lapic_put(l, APIC_ID, l->id << 24);
	}
	lapic_timer_stop(l);
	lapic_update_version(l);
	for (u32 i = 0; i < l->nr_lvt; i++)
		lapic_put(l, lvts[i].offset, LVT_MASKED);
	lapic_timer_mode_changed(l);
	/* Firmware that relies on virtual wire mode (KVM's LINT0_REENABLED quirk). */
	if (l->bsp &&
	    !(atomic_load(&l->chip->set->disabled_quirks) & KVM_X86_QUIRK_LINT0_REENABLED))
		lapic_put(l, APIC_LVT0, APIC_EXTINT << 8);
	x2 = lapic_x2apic(l);
	lapic_put(l, APIC_DFR, DFR_FLAT);
	lapic_put(l, APIC_SPIV, 0xff);
	lapic_put(l, APIC_TPR, 0);
	if (!x2)
		lapic_put(l, APIC_LDR, 0);
	lapic_put(l, APIC_ESR, 0);
	lapic_put(l, APIC_ICR, 0);
	lapic_put(l, APIC_ICR2, 0);
	lapic_put(l, APIC_TDCR, 0);
	lapic_put(l, APIC_TMICT, 0);
	for (u32 i = 0; i < 8; i++) {
		lapic_put(l, APIC_ISR + i * 16, 0);
		lapic_put(l, APIC_TMR + i * 16, 0);
		lapic_put(l, APIC_IRR + i * 16, 0);
	}
	atomic_store(&l->fast.irr_pending, false);
	lapic_timer_load_divide(l);
	lapic_update_ppr(l);
	apicv_refresh(l);
	apic_map_update(l->chip);
	/* An RTC interrupt that was requested or in service will not be ended any more. */
	irqchip_lock(l->chip);
	ioapic_rtc_restore(l->chip, l);
	irqchip_unlock(l->chip);
}

struct lapic *lapic_create(struct irqchip *chip, void *vcpu, u32 id, bool bsp)
{
	struct lapic *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->fast.page = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
	if (!l->fast.page) {
		free(l);
		return NULL;
	}
	cpu_zero(l->fast.page, PAGE_SIZE);
	l->chip = chip;
	atomic_init(&l->vcpu, vcpu);
	l->id = id;
	l->bsp = bsp;
	l->highest_stale = -1;
	l->rtc_vector = -1;
	lapic_set_features(l, 0, 52);
	lapic_put(l, APIC_ID, id << 24);
	if (apicv_init_vcpu(l) || apic_map_add(chip, l)) {
		free(l->fast.page);
		free(l);
		return NULL;
	}
	lapic_reset(l, false);
	lapic_wake(l, IRQ_WAKE_APICV);
	return l;
}

void lapic_destroy(struct lapic *l)
{
	if (!l)
		return;
	apicv_vcpu_reason(l, APICV_INHIBIT_BLOCKIRQ, false);
	apicv_vcpu_reason(l, APICV_INHIBIT_HYPERV, false);
	if (apicv_count_irq_window(l, false))
		apicv_eval_irq_window(l);
	apic_map_remove(l->chip, l);
	irqchip_lock(l->chip);
	if (l->rtc_vector >= 0)
		l->chip->ioapic.rtc_pending--;
	irqchip_unlock(l->chip);
	free(l->fast.page);
	free(l);
}

/* -- priority -- */

bool lapic_has_pending(struct lapic *l)
{
	return atomic_load_explicit(&l->fast.irr_pending, memory_order_acquire);
}

int lapic_pending_vector(struct lapic *l)
{
	if (!lapic_has_pending(l) || !lapic_hw_enabled(l))
		return -1;
	return apic_deliverable(l->fast.page);
}

/* The hint is raised after IRR and before the wake-up: whoever sees the later sees the
 * earlier (all sequentially consistent). */
static void soft_post(struct lapic *l, u8 vector, bool level)
{
	apic_post(l->fast.page, vector, level);
	atomic_store(&l->fast.irr_pending, true);
	lapic_wake(l, IRQ_WAKE_EVENT);
}

/* Drop the hint, then look: a poster in between either is found by the look or raises the
 * hint after us. */
void lapic_refresh_hint(struct lapic *l)
{
	atomic_store(&l->fast.irr_pending, false);
	if (lapic_find_highest(l, APIC_IRR) >= 0)
		atomic_store(&l->fast.irr_pending, true);
}

int lapic_ack(struct lapic *l)
{
	int v = lapic_pending_vector(l);

	if (v >= 0)
		lapic_take(l, (u8)v);
	return v;
}

void lapic_take(struct lapic *l, u8 v)
{
	apic_begin(l->fast.page, v);
	if (unlikely(l->has_auto_eoi) && l->auto_eoi[v / 64] >> (v % 64) & 1)
		apic_finish(l->fast.page, v);
	lapic_refresh_hint(l);
}

static void soft_recheck(struct lapic *l)
{
	if (lapic_pending_vector(l) >= 0)
		lapic_wake(l, IRQ_WAKE_EVENT);
}

const struct lapic_ops lapic_soft_ops = {
	.name = "software",
	.post = soft_post,
	.read = lapic_reg_read,
	.write = lapic_reg_write,
	.write_icr = lapic_soft_write_icr,
	.recheck = soft_recheck,
};

void lapic_recheck(struct lapic *l)
{
	lapic_ops(l)->recheck(l);
}

const struct lapic_stats *lapic_stats(struct lapic *l)
{
	return &l->stats;
}

u8 lapic_get_tpr(struct lapic *l)
{
	return lapic_get(l, APIC_TPR) >> 4 & 15;
}

u8 lapic_get_tpr_raw(struct lapic *l)
{
	return (u8)lapic_get(l, APIC_TPR);
}

void lapic_set_tpr(struct lapic *l, u8 cr8)
{
	lapic_fast_tpr(&l->fast, (u8)(cr8 << 4));
	lapic_recheck(l);
}

/* -- events and messages -- */

u32 lapic_peek_events(struct lapic *l)
{
	return atomic_load_explicit(&l->events, memory_order_acquire);
}

u32 lapic_take_events(struct lapic *l, u32 mask, u8 *sipi_vector)
{
	u32 got;

	if (!(lapic_peek_events(l) & mask))
		return 0;
	got = atomic_fetch_and(&l->events, ~mask) & mask;
	if (got & LAPIC_EV_SIPI && sipi_vector)
		*sipi_vector = atomic_load(&l->sipi_vector);
	return got;
}

void lapic_post_events(struct lapic *l, u32 events)
{
	u32 old = atomic_load(&l->events), v;

	do {
		v = old | events;
		/* INIT starts the sequence anew: an earlier SIPI is void (docs/kvm-abi.md 5). */
		if (events & LAPIC_EV_INIT)
			v = (v & ~LAPIC_EV_SIPI) | (events & LAPIC_EV_SIPI);
		if (events & old & LAPIC_EV_NMI)
			v |= LAPIC_EV_NMI2;
	} while (!atomic_compare_exchange_weak(&l->events, &old, v));
}

void lapic_set_sipi_vector(struct lapic *l, u8 vector)
{
	atomic_store(&l->sipi_vector, vector);
}

bool lapic_accept(struct lapic *l, const struct apic_msg *m)
{
	const struct lapic_ops *ops = lapic_ops(l);

	switch (m->delivery) {
	case APIC_FIXED:
	case APIC_LOWEST:
		if ((m->trigger_level && !m->level) || !lapic_hw_enabled(l) || !lapic_sw_enabled(l))
			return false;
		ops->post(l, m->vector, m->trigger_level);
		lapic_count_any(l, accepted);
		irq_trace_accept(l->chip->trace_vm, l->id, m, ops != &lapic_soft_ops);
		return true;
	case APIC_SMI:
		irq_trace_accept(l->chip->trace_vm, l->id, m, false);
		lapic_post_events(l, LAPIC_EV_SMI);
		lapic_wake(l, IRQ_WAKE_SMI);
		return true;
	case APIC_REMOTE_READ:
		lapic_post_events(l, LAPIC_EV_UNHALT);
		lapic_wake(l, IRQ_WAKE_UNHALT);
		return true;
	case APIC_NMI:
		irq_trace_accept(l->chip->trace_vm, l->id, m, false);
		lapic_post_events(l, LAPIC_EV_NMI);
		lapic_wake(l, IRQ_WAKE_NMI);
		return true;
	case APIC_INIT:
		/* The level de-assert of SDM3 11.6.1 does nothing on any CPU since the P4. */
		if (m->trigger_level && !m->level)
			return false;
		irq_trace_accept(l->chip->trace_vm, l->id, m, false);
		lapic_post_events(l, LAPIC_EV_INIT);
		lapic_wake(l, IRQ_WAKE_INIT);
		return true;
	case APIC_STARTUP:
		irq_trace_accept(l->chip->trace_vm, l->id, m, false);
		lapic_set_sipi_vector(l, m->vector);
		lapic_post_events(l, LAPIC_EV_SIPI);
		lapic_wake(l, IRQ_WAKE_SIPI);
		return true;
	default:	/* ExtINT comes from the PIC, never over the bus */
		return false;
	}
}

bool lapic_set_irq(struct lapic *l, u8 vector, bool trigger_level)
{
	struct apic_msg m = {
		.vector = vector, .level = 1, .trigger_level = trigger_level,
	};

	return lapic_accept(l, &m);
}
