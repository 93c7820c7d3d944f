/* SPDX-License-Identifier: MIT */
/*
 * irq/irq_trace.h - trace points of the fabric (base/trace_events.h) and what `standin stat` shows
 * of a VM. Any thread; irq/ locks may be held.
 */
#ifndef IRQ_IRQ_TRACE_H
#define IRQ_IRQ_TRACE_H

#include "base/trace.h"
#include "irq/irq.h"

/* Of no vCPU in particular, and of one. */
#define irq_trace(name, chip, ...) trace(name, (chip)->trace_vm, -1, __VA_ARGS__)
#define lapic_trace(name, l, ...) trace(name, (l)->chip->trace_vm, (s32)(l)->id, __VA_ARGS__)

static inline void irq_trace_accept(u16 vm, u32 apic_id, const struct apic_msg *m, bool apicv)
{
	if (apicv)
		trace(kvm_apicv_accept_irq, vm, (s32)apic_id, apic_id, m->vector, m->delivery,
		      m->trigger_level);
	else
		trace(kvm_apic_accept_irq, vm, (s32)apic_id, apic_id, m->vector, m->delivery,
		      m->trigger_level);
}

/* by: the vCPU's id, or -1. */
static inline void irq_trace_inhibit(u16 vm, u32 reason, bool on, u32 mask, s64 by)
{
	struct trace_vm *t = trace_vm_get(vm);

	atomic_store(&t->inhibits, mask);
	if (on) {
		atomic_fetch_add(&t->why[reason].times, 1);
		atomic_store(&t->why[reason].vcpu, (s32)by);
		atomic_store(&t->why[reason].tsc, __builtin_ia32_rdtsc());
	}
	trace(kvm_apicv_inhibit_changed, vm, (s32)by, on, reason, mask);
}

#endif
