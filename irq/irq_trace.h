/* SPDX-License-Identifier: MIT */
/*
 * irq/irq_trace.h - where the fabric tells what it does: one function per event, named as in KVM's
 * trace/events/kvm without its prefix and with its arguments. Nothing listens yet, so they
 * are empty.
 *
 * Any thread, irq/ locks may be held: a listener must not call back into irq/.
 */
#ifndef IRQ_IRQ_TRACE_H
#define IRQ_IRQ_TRACE_H

#include "irq/irq.h"

/* Into IRR, or an event: vector and enum apic_delivery; `apicv` if it went by doorbell. */
static inline void irq_trace_apic_accept_irq(u32 apic_id, u8 delivery, bool level, u8 vector,
					     bool apicv)
{
}

static inline void irq_trace_apic_ipi(u32 apic_id, u32 icr, u32 dest)
{
}

static inline void irq_trace_eoi(u32 apic_id, u8 vector, bool accelerated)
{
}

static inline void irq_trace_pv_eoi(u32 apic_id, u8 vector)
{
}

/* IRR -> ISR: kvm_inj_virq. */
static inline void irq_trace_inj_virq(u32 apic_id, u8 vector)
{
}

static inline void irq_trace_msi_set_irq(u64 address, u32 data)
{
}

/* result: as irqchip_set_irq(); 0 = coalesced, < 0 masked or Remote IRR. */
static inline void irq_trace_ioapic_set_irq(u64 entry, u32 pin, int result)
{
}

static inline void irq_trace_ioapic_delayed_eoi_inj(u64 entry, u32 pin)
{
}

static inline void irq_trace_pic_set_irq(u32 chip, u32 pin, u8 elcr, u8 imr, int result)
{
}

static inline void irq_trace_set_irq(u32 gsi, int level, u32 source)
{
}

/* chip: KVM_IRQCHIP_*, or -1 where only the GSI is known. */
static inline void irq_trace_ack_irq(int chip, u32 gsi)
{
}

static inline void irq_trace_apicv_inhibit_changed(u32 reason, bool set, u32 inhibits,
						   s64 vcpu_id)
{
}

static inline void irq_trace_avic_incomplete_ipi(u32 apic_id, u64 icr, u32 failure, u32 index)
{
}

static inline void irq_trace_avic_unaccelerated_access(u32 apic_id, u32 offset, bool trap,
						       bool write, u32 vector)
{
}

static inline void irq_trace_avic_kick_vcpu_slowpath(u32 icr_hi, u32 icr_lo, u32 index)
{
}

static inline void irq_trace_avic_doorbell(u32 from, u32 to)
{
}

#endif
