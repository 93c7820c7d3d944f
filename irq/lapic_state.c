/* SPDX-License-Identifier: MIT */
/*
 * irq/lapic_state.c - KVM_GET_LAPIC and KVM_SET_LAPIC: the first KiB of the register page.
 */
#include "irq/irq_priv.h"

#include <errno.h>

#include "base/mem.h"

static u32 state_get(const u8 *page, u32 offset)
{
	u32 v;

	cpu_copy(&v, page + offset, 4);
	return v;
}

static void state_put(u8 *page, u32 offset, u32 v)
{
	cpu_copy(page + offset, &v, 4);
}

int lapic_get_state(struct lapic *l, u8 page[LAPIC_STATE_SIZE], bool x2apic_32bit_ids)
{
	for (u32 o = 0; o < LAPIC_STATE_SIZE; o += 4)
		state_put(page, o, lapic_get(l, o));
	state_put(page, APIC_TMCCT, lapic_timer_count(l));
	if (!lapic_x2apic(l))
		return 0;
	/* docs/kvm-apic.md 3.9: the old format has the id where xAPIC has it. */
	if (x2apic_32bit_ids)
		return lapic_get(l, APIC_ID) == l->id ? 0 : -EINVAL;
	state_put(page, APIC_ID, l->id << 24);
	return 0;
}

int lapic_set_state(struct lapic *l, const u8 page[LAPIC_STATE_SIZE], bool x2apic_32bit_ids)
{
	bool x2 = lapic_x2apic(l);

	if (x2 && x2apic_32bit_ids && state_get(page, APIC_ID) != l->id)
		return -EINVAL;
	/* IRR may be posted to at the same time: such an interrupt may be lost or kept,
	 * as when the state had been set a moment later or earlier. */
	for (u32 o = 0; o < LAPIC_STATE_SIZE; o += 4)
		lapic_put(l, o, state_get(page, o));
	if (x2) {
		lapic_put(l, APIC_ID, l->id);
		lapic_put(l, APIC_LDR, x2apic_ldr(l->id));
	}
	apic_map_update(l->chip);
	lapic_update_version(l);
	lapic_update_ppr(l);
	lapic_refresh_hint(l);
	/* Re-arm from what is left of the count. A TSC deadline is restored by its own MSR. */
	lapic_timer_load_divide(l);
	{
		u32 tmict = lapic_get(l, APIC_TMICT), left = lapic_get(l, APIC_TMCCT);

		lapic_timer_mode_changed(l);	/* clears TMICT when TSC-deadline is involved */
		if (l->timer_mode != LVT_TIMER_TSC_DEADLINE)
			lapic_put(l, APIC_TMICT, tmict);
		lapic_put(l, APIC_TMCCT, 0);
		lapic_timer_start(l, left);
	}
	irqchip_lock(l->chip);
	ioapic_rtc_restore(l->chip, l);
	irqchip_unlock(l->chip);
	lapic_wake(l, IRQ_WAKE_EVENT);
	return 0;
}
