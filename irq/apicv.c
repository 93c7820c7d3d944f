/* SPDX-License-Identifier: MIT */
/* irq/apicv.c - the VM-wide mask of reasons against APIC acceleration. */
#include "irq/irq_priv.h"

const char *apicv_inhibit_name(enum apicv_inhibit reason)
{
	static const char *const names[] = {
#define X(n, why) #n,
		APICV_INHIBITS(X)
#undef X
	};

	return reason < APICV_INHIBIT_COUNT ? names[reason] : "?";
}

u32 apicv_inhibits(struct irqchip *chip)
{
	return atomic_load_explicit(&chip->inhibits, memory_order_acquire);
}

void apicv_set_inhibit(struct irqchip *chip, enum apicv_inhibit reason, bool on)
{
	u32 old, now;

	pthread_mutex_lock(&chip->inhibit_lock);
	old = atomic_load(&chip->inhibits);
	now = on ? old | BIT(reason) : old & ~BIT(reason);
	/* A moved APIC page stays a reason for ever (facts 3.1). */
	now |= old & BIT(APICV_INHIBIT_APIC_BASE_MODIFIED);
	if (!old != !now)
		apic_wake_all(chip, IRQ_WAKE_APICV);
	atomic_store(&chip->inhibits, now);
	pthread_mutex_unlock(&chip->inhibit_lock);
}
