/* SPDX-License-Identifier: MIT */
/*
 * irq/apicv.h - whether APIC accesses are accelerated, and why not. One VM-wide mask of
 * reasons; the numbers are KVM's. Acceleration may be live on a vCPU only while the mask
 * is zero, its APIC is enabled and it is not in L2 (NESTED, which is never in the mask).
 */
#ifndef IRQ_APICV_H
#define IRQ_APICV_H

#include "irq/avic.h"
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
const char *apicv_inhibit_why(enum apicv_inhibit reason);

/* Any thread. Every vCPU gets IRQ_WAKE_APICV before a mask that crosses zero is visible. */
void apicv_set_inhibit(struct irqchip *chip, enum apicv_inhibit reason, bool on);
u32 apicv_inhibits(struct irqchip *chip);
/* The vCPU id that last set a reason that is set, or -1 (not set, or the VM did it). */
s64 apicv_inhibit_by(struct irqchip *chip, enum apicv_inhibit reason);	/* for tests */

/* BLOCKIRQ and HYPERV are set while at least one vCPU has them. [any] */
void apicv_vcpu_reason(struct lapic *l, enum apicv_inhibit reason, bool on);
/* IRQWIN: the vCPU waits for an interrupt window, or no longer (docs/kvm-apic.md 3.2). [owner]
 * count is [lock-free]; if it returns true, eval must follow. */
bool apicv_irq_window(struct lapic *l);
bool apicv_count_irq_window(struct lapic *l, bool on);
void apicv_eval_irq_window(struct lapic *l);
/* NESTED: into L2, and back. [owner] [lock-free] */
void apicv_set_nested(struct lapic *l, bool in_l2);

/* Service of IRQ_WAKE_APICV. [owner] */
void apicv_update(struct lapic *l);
/* [owner] Accesses of this vCPU are accelerated now. */
bool apicv_active(struct lapic *l);
/* [owner] At guest entry with no IRQ_WAKE_APICV outstanding: what is live follows from the mask.
 * A false answer without such a request is a bug; apicv_broken() counts them. */
bool apicv_consistent(struct lapic *l);
void apicv_report_broken(struct irqchip *chip);
u64 apicv_broken(struct irqchip *chip);

#endif
