/* SPDX-License-Identifier: MIT */
/* irq/msi.c - message signalled interrupts: address and data to a bus message (SDM3 11.11). */
#include "irq/irq_priv.h"

bool msi_decode(struct irqchip *chip, const struct msi *msi, struct apic_msg *m)
{
	u32 dest = msi->lo >> 12 & 0xff;

	if (atomic_load_explicit(&chip->set->ids_32bit, memory_order_relaxed)) {
		/* KVM's format: destination bits 31:8 in the upper address. */
		if (msi->hi & 0xff)
			return false;
		dest |= msi->hi;
	}
	*m = (struct apic_msg){
		.dest = dest,
		.vector = (u8)msi->data,
		.delivery = msi->data >> 8 & 7,
		.dest_logical = msi->lo >> 2 & 1,
		.level = 1,
		.trigger_level = msi->data >> 15 & 1,
		.redirect_hint = msi->lo >> 3 & 1,
	};
	return true;
}

int msi_send(struct irqchip *chip, const struct msi *msi)
{
	struct apic_msg m;

	irq_trace(kvm_msi_set_irq, chip, (u64)msi->hi << 32 | msi->lo, msi->data);
	return msi_decode(chip, msi, &m) ? apic_deliver(chip, &m, NULL) : -1;
}

int irqchip_send_msi(struct irqchip *chip, u32 addr_lo, u32 addr_hi, u32 data)
{
	return msi_send(chip, &(struct msi){ addr_lo, addr_hi, data });
}
