/* SPDX-License-Identifier: MIT */
/*
 * irq/apicv.h - why APIC acceleration is off. One VM-wide mask; the numbers are KVM's.
 * Acceleration may be live only while the mask is zero. NESTED is never in the mask: it
 * is a property of one vCPU (it is in L2).
 */
#ifndef IRQ_APICV_H
#define IRQ_APICV_H

#include "irq/irq.h"

#define APICV_INHIBITS(X) \
	X(DISABLED, "acceleration is switched off") \
	X(HYPERV, "a SynIC source uses AutoEOI") \
	X(ABSENT, "the VM has no in-kernel irqchip") \
	X(BLOCKIRQ, "a debugger blocks interrupts") \
	X(PHYSICAL_ID_ALIASED, "two vCPUs answer to one APIC id") \
	X(APIC_ID_MODIFIED, "the guest changed an xAPIC id") \
	X(APIC_BASE_MODIFIED, "the guest moved an APIC") \
	X(NESTED, "the vCPU is in L2") \
	X(IRQWIN, "a vCPU waits for an ExtINT window") \
	X(PIT_REINJ, "the PIT re-injects lost ticks and must see edge EOIs") \
	X(SEV, "encrypted guest") \
	X(LOGICAL_ID_ALIASED, "logical destinations are not one to one") \
	X(PHYSICAL_ID_TOO_BIG, "a vCPU id exceeds what AVIC can address")

enum apicv_inhibit {
#define X(n, why) APICV_INHIBIT_##n,
	APICV_INHIBITS(X)
#undef X
	APICV_INHIBIT_COUNT
};

const char *apicv_inhibit_name(enum apicv_inhibit reason);

/* Any thread. Every vCPU gets IRQ_WAKE_APICV before a mask that crosses zero is visible. */
void apicv_set_inhibit(struct irqchip *chip, enum apicv_inhibit reason, bool on);
u32 apicv_inhibits(struct irqchip *chip);

#endif
