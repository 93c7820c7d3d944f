/* SPDX-License-Identifier: MIT */
/*
 * irq/eoi.c - end of interrupt: from the local APIC's register to the I/O APIC, which is ours
 * (full mode) or user space's (split mode, KVM_EXIT_IOAPIC_EOI). docs/kvm-apic.md 1.2-1.5 and 2.4.
 *
 * A vector is a u8 from here to the exit: an out-of-range one cannot be expressed.
 */
#include "irq/irq_priv.h"

static bool is_handled(struct lapic *l, u8 vector)
{
	return l->handled[vector / 64] >> (vector % 64) & 1;
}

/* The guest asked (SPIV.12) that its local EOIs of level interrupts stay local. */
bool eoi_suppressed(struct lapic *l)
{
	if (!(lapic_get(l, APIC_SPIV) & SPIV_DIRECTED_EOI))
		return false;
	switch (atomic_load_explicit(&l->chip->set->eoi_mode, memory_order_relaxed)) {
	case EOI_SUPPRESS_ENABLED:
		return true;
	case EOI_SUPPRESS_DISABLED:
		return false;
	default:	/* KVM's history: honoured by the kernel's I/O APIC, not in split mode */
		return l->chip->mode == IRQCHIP_FULL;
	}
}

static void send_to_ioapic(struct lapic *l, u8 vector)
{
	if (!is_handled(l, vector))
		return;
	if (l->highest_stale == vector)
		lapic_wake(l, IRQ_WAKE_SCAN);
	if (l->chip->mode == IRQCHIP_SPLIT) {
		if (eoi_suppressed(l))
			return;
		l->eoi_vector = vector;
		l->eoi_pending = true;
		lapic_wake(l, IRQ_WAKE_IOAPIC_EOI);
		return;
	}
	irqchip_lock(l->chip);
	ioapic_local_eoi(l->chip, l, vector, lapic_test(l, APIC_TMR, vector));
	irqchip_unlock(l->chip);
}

void lapic_eoi(struct lapic *l)
{
	int v = lapic_find_highest(l, APIC_ISR);

	if (v < 0)
		return;
	apic_finish(l->fast.page, (u8)v);
	lapic_count(l, eoi);
	if (unlikely(l->synic[v / 64] >> (v % 64) & 1) && l->chip->ops->synic_eoi)
		l->chip->ops->synic_eoi(atomic_load_explicit(&l->vcpu, memory_order_acquire),
					(u8)v);
	lapic_trace(kvm_eoi, l, l->id, (u32)v, lapic_test(l, APIC_TMR, (u8)v),
		    atomic_load(&l->chip->set->eoi_mode));
	send_to_ioapic(l, (u8)v);
	lapic_recheck(l);
}

void lapic_pv_eoi(struct lapic *l)
{
	int v = lapic_find_highest(l, APIC_ISR);

	if (v >= 0)
		lapic_trace(kvm_pv_eoi, l, l->id, (u32)v);
	lapic_eoi(l);
}

bool lapic_pv_eoi_ok(struct lapic *l)
{
	u32 n = 0;
	int v = lapic_find_highest(l, APIC_ISR);

	/* An accelerated EOI is cheaper than the guest's test of a byte (KVM offers none
	 * either). */
	if (v < 0 || apicv_active(l) || lapic_has_pending(l) || is_handled(l, (u8)v))
		return false;
	for (u32 i = 0; i < 8; i++)
		n += (u32)__builtin_popcount(lapic_get(l, APIC_ISR + i * 16));
	return n == 1;
}

bool lapic_pending_eoi_valid(struct lapic *l)
{
	return l->eoi_pending && is_handled(l, l->eoi_vector);
}

bool lapic_take_pending_eoi(struct lapic *l, u8 *vec)
{
	bool valid = lapic_pending_eoi_valid(l);

	*vec = l->eoi_vector;
	if (l->eoi_pending)
		lapic_trace(standin_eoi_exit, l, *vec, !valid);
	l->eoi_pending = false;
	return valid;
}

/* One I/O APIC entry or level MSI that may need this vCPU's EOI. */
static void scan_entry(void *arg, const struct apic_msg *m)
{
	struct lapic *l = arg;

	if (!apic_match(l, NULL, APIC_TO_DEST, m->dest, m->dest_logical)) {
		/* Routed elsewhere by now, but an earlier interrupt is still on its way to EOI. */
		if (!lapic_test(l, APIC_IRR, m->vector) && !lapic_test(l, APIC_ISR, m->vector))
			return;
		if (m->vector > l->highest_stale)
			l->highest_stale = m->vector;
	}
	l->handled[m->vector / 64] |= BIT64(m->vector % 64);
}

void lapic_set_synic(struct lapic *l, const u64 vectors[4], const u64 auto_eoi[4])
{
	l->has_auto_eoi = false;
	for (u32 i = 0; i < 4; i++) {
		l->synic[i] = vectors[i];
		l->auto_eoi[i] = auto_eoi[i];
		l->has_auto_eoi |= auto_eoi[i] != 0;
	}
}

/* EOIs of SynIC's vectors come to us as well, but are no business of an I/O APIC. */
static void publish(struct lapic *l)
{
	for (u32 i = 0; i < ARRAY_SIZE(l->handled); i++)
		l->fast.eoi_exit[i] = l->handled[i] | l->synic[i];
}

void lapic_scan(struct lapic *l)
{
	if (!lapic_hw_enabled(l))
		return;
	for (u32 i = 0; i < ARRAY_SIZE(l->handled); i++)
		l->handled[i] = 0;
	l->highest_stale = -1;
	if (l->chip->mode == IRQCHIP_SPLIT) {
		routing_each_level_msi(l->chip, scan_entry, l);
		publish(l);
		return;
	}
	irqchip_lock(l->chip);
	if (l->rtc_vector >= 0)
		l->handled[l->rtc_vector / 64] |= BIT64(l->rtc_vector % 64);
	ioapic_scan(l->chip, scan_entry, l);
	irqchip_unlock(l->chip);
	publish(l);
}
