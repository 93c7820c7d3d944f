/* SPDX-License-Identifier: MIT */
/*
 * irq/lapic.c - the local APIC itself: life cycle, mode, accepting interrupts, priority.
 */
#include "irq/irq_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"

u32 lapic_id(struct lapic *l)
{
	return l->id;
}

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
	u64 old = lapic_get_base(l), mode = v & (APIC_BASE_EN | APIC_BASE_EXTD);
	u64 old_mode = old & (APIC_BASE_EN | APIC_BASE_EXTD);

	if (v & l->base_reserved || mode == APIC_BASE_EXTD)
		return -EINVAL;
	/* SDM3 figure 11-27: x2APIC is entered from xAPIC only and left to disabled only. */
	if (!host && ((old_mode == (APIC_BASE_EN | APIC_BASE_EXTD) && mode == APIC_BASE_EN) ||
		      (!old_mode && mode == (APIC_BASE_EN | APIC_BASE_EXTD))))
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
		apicv_set_inhibit(l->chip, APICV_INHIBIT_APIC_BASE_MODIFIED, true);
	if ((old ^ v) & (APIC_BASE_EN | APIC_BASE_EXTD)) {
		apic_map_update(l->chip);
		lapic_wake(l, IRQ_WAKE_APICV);
		lapic_wake(l, IRQ_WAKE_EVENT);
	}
	return 0;
}

/* Bit 24 offers directed EOI to the guest; facts 2.4 has the table of who sees it. */
void lapic_update_version(struct lapic *l)
{
	u32 mode = atomic_load_explicit(&l->chip->eoi_mode, memory_order_relaxed);
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
	/* SDM3 11.5.1: the performance entry masks itself. */
	if (which == LVT_PERF)
		lapic_put(l, APIC_LVTPC, v | LVT_MASKED);
	return true;
}

bool lapic_accepts_extint(struct lapic *l)
{
	u32 lvt0 = lapic_get(l, APIC_LVT0);

	/* A disabled APIC connects INTR straight to the core (SDM3 11.4.3). */
	return !lapic_hw_enabled(l) ||
	       (lvt0 & (LVT_MASKED | LVT_MODE)) == APIC_EXTINT << 8;
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
		atomic_store(&l->base, APIC_DEFAULT_BASE | APIC_BASE_EN |
			     (l->bsp ? APIC_BASE_BSP : 0));
		lapic_put(l, APIC_ID, l->id << 24);
	}
	lapic_timer_stop(l);
	lapic_update_version(l);
	for (u32 i = 0; i < l->nr_lvt; i++)
		lapic_put(l, lvts[i].offset, LVT_MASKED);
	lapic_timer_mode_changed(l);
	/* Firmware that relies on virtual wire mode (KVM's LINT0_REENABLED quirk). */
	if (l->bsp && !(atomic_load(&l->chip->disabled_quirks) & KVM_X86_QUIRK_LINT0_REENABLED))
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
	atomic_store(&l->irr_pending, false);
	lapic_timer_load_divide(l);
	lapic_update_ppr(l);
	apic_map_update(l->chip);
}

struct lapic *lapic_create(struct irqchip *chip, void *vcpu, u32 id, bool bsp)
{
	struct lapic *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->page = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
	if (!l->page) {
		free(l);
		return NULL;
	}
	cpu_zero(l->page, PAGE_SIZE);
	l->chip = chip;
	atomic_init(&l->vcpu, vcpu);
	l->id = id;
	l->bsp = bsp;
	l->highest_stale = -1;
	l->rtc_vector = -1;
	atomic_init(&l->ops, &lapic_soft_ops);
	lapic_set_features(l, 0, 52);
	lapic_put(l, APIC_ID, id << 24);
	if (apic_map_add(chip, l)) {
		free(l->page);
		free(l);
		return NULL;
	}
	if (id > atomic_load(&chip->avic_max_id))
		apicv_set_inhibit(chip, APICV_INHIBIT_PHYSICAL_ID_TOO_BIG, true);
	lapic_reset(l, false);
	return l;
}

void lapic_destroy(struct lapic *l)
{
	if (!l)
		return;
	apic_map_remove(l->chip, l);
	irqchip_lock(l->chip);
	if (l->rtc_vector >= 0)
		l->chip->ioapic.rtc_pending--;
	irqchip_unlock(l->chip);
	free(l->page);
	free(l);
}

/* -- priority -- */

int lapic_find_highest(struct lapic *l, u32 offset)
{
	for (int i = 7; i >= 0; i--) {
		u32 v = atomic_load(lapic_reg(l, offset + (u32)i * 16));

		if (v)
			return i * 32 + 31 - __builtin_clz(v);
	}
	return -1;
}

/* SDM3 11.8.3.1 */
void lapic_update_ppr(struct lapic *l)
{
	u32 tpr = lapic_get(l, APIC_TPR);
	int isr = lapic_find_highest(l, APIC_ISR);
	u32 isrv = isr < 0 ? 0 : (u32)isr;

	lapic_put(l, APIC_PPR, (tpr & 0xf0) >= (isrv & 0xf0) ? tpr & 0xff : isrv & 0xf0);
}

bool lapic_has_pending(struct lapic *l)
{
	return atomic_load_explicit(&l->irr_pending, memory_order_acquire);
}

static int soft_pending(struct lapic *l)
{
	int v;

	if (!lapic_has_pending(l) || !lapic_hw_enabled(l))
		return -1;
	v = lapic_find_highest(l, APIC_IRR);
	if (v < 0 || (u32)(v & 0xf0) <= lapic_get(l, APIC_PPR))
		return -1;
	return v;
}

/* TMR first, then IRR, then the hint, then the wake-up: whoever sees the later sees the
 * earlier (all sequentially consistent). */
static void soft_post(struct lapic *l, u8 vector, bool level)
{
	u32 word = vector / 32 * 16, bit = 1u << (vector % 32);

	if (lapic_test(l, APIC_TMR, vector) != level) {
		if (level)
			atomic_fetch_or(lapic_reg(l, APIC_TMR + word), bit);
		else
			atomic_fetch_and(lapic_reg(l, APIC_TMR + word), ~bit);
	}
	atomic_fetch_or(lapic_reg(l, APIC_IRR + word), bit);
	atomic_store(&l->irr_pending, true);
	lapic_wake(l, IRQ_WAKE_EVENT);
}

const struct lapic_ops lapic_soft_ops = {
	.post = soft_post,
	.pending = soft_pending,
};

int lapic_pending_vector(struct lapic *l)
{
	return atomic_load_explicit(&l->ops, memory_order_relaxed)->pending(l);
}

int lapic_ack(struct lapic *l)
{
	int v = soft_pending(l);
	u32 word, bit;

	if (v < 0)
		return -1;
	word = (u32)v / 32 * 16;
	bit = 1u << (v % 32);
	/* Drop the hint, clear, look again: a poster in between either is found by the look
	 * or raises the hint after us. */
	atomic_store(&l->irr_pending, false);
	atomic_fetch_and(lapic_reg(l, APIC_IRR + word), ~bit);
	if (lapic_find_highest(l, APIC_IRR) >= 0)
		atomic_store(&l->irr_pending, true);
	lapic_put(l, APIC_ISR + word, lapic_get(l, APIC_ISR + word) | bit);
	lapic_update_ppr(l);
	return v;
}

void lapic_wake_if_pending(struct lapic *l)
{
	if (lapic_pending_vector(l) >= 0)
		lapic_wake(l, IRQ_WAKE_EVENT);
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
	lapic_put(l, APIC_TPR, (cr8 & 15u) << 4);
	lapic_update_ppr(l);
	lapic_wake_if_pending(l);
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
		/* INIT starts the sequence anew: an earlier SIPI is void (facts 5). */
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
	switch (m->delivery) {
	case APIC_FIXED:
	case APIC_LOWEST:
		if ((m->trigger_level && !m->level) || !lapic_hw_enabled(l) ||
		    !lapic_sw_enabled(l))
			return false;
		atomic_load_explicit(&l->ops, memory_order_relaxed)->post(l, m->vector,
									   m->trigger_level);
		return true;
	case APIC_SMI:
		lapic_post_events(l, LAPIC_EV_SMI);
		lapic_wake(l, IRQ_WAKE_SMI);
		return true;
	case APIC_REMOTE_READ:
		lapic_post_events(l, LAPIC_EV_UNHALT);
		lapic_wake(l, IRQ_WAKE_UNHALT);
		return true;
	case APIC_NMI:
		lapic_post_events(l, LAPIC_EV_NMI);
		lapic_wake(l, IRQ_WAKE_NMI);
		return true;
	case APIC_INIT:
		/* The level de-assert of SDM3 11.6.1 does nothing on any CPU since the P4. */
		if (m->trigger_level && !m->level)
			return false;
		lapic_post_events(l, LAPIC_EV_INIT);
		lapic_wake(l, IRQ_WAKE_INIT);
		return true;
	case APIC_STARTUP:
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
