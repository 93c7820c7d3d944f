/* SPDX-License-Identifier: MIT */
/*
 * irq/irq.h - the x86 interrupt fabric as a pure library: no thread, no fd, no
 * global state. Time and wake-ups come in through callbacks.
 *
 * Headers: lapic.h (one per vCPU), irqchip.h (one per VM: PIC, PIT, I/O APIC, routing,
 * MSI and the APIC bus), apicv.h (inhibit reasons). irq_priv.h is for irq/ alone.
 *
 * Locking: `irqchip.lock` serialises PIC, PIT, I/O APIC and ack bookkeeping;
 * `irqchip.map_lock` the list of LAPICs and the making of the APIC map. Order: map_lock,
 * then lock (never both in the delivery path). A LAPIC's IRR, TMR and pending events may be
 * set by any thread with atomic operations; its other registers are changed by its vCPU's
 * lock holder only and read by anyone. The APIC map and the routing table are immutable
 * arrays behind atomic pointers, freed after a grace period (base/grace.h).
 *
 * Callbacks: `wake` and `timer` may be called with irqchip locks held and must not call
 * back into irq/. `ack` is called with no lock held and may.
 */
#ifndef IRQ_IRQ_H
#define IRQ_IRQ_H

#include "base/types.h"

struct lapic;
struct irqchip;

enum apic_delivery {
	APIC_FIXED = 0, APIC_LOWEST = 1, APIC_SMI = 2,
	APIC_REMOTE_READ = 3,	/* KVM's paravirtual kick (KVM_HC_KICK_CPU) */
	APIC_NMI = 4, APIC_INIT = 5, APIC_STARTUP = 6, APIC_EXTINT = 7,
};

enum apic_shorthand { APIC_TO_DEST, APIC_TO_SELF, APIC_TO_ALL, APIC_TO_OTHERS };

/* A message on the APIC bus (MSI, I/O APIC, IPI). */
struct apic_msg {
	u32 dest;
	u8 vector;
	u8 delivery;	/* enum apic_delivery */
	u8 dest_logical;
	u8 level;	/* 1 = assert */
	u8 trigger_level;
	u8 shorthand;	/* enum apic_shorthand */
	bool redirect_hint;	/* MSI address bit 3: deliver to one of the destinations */
};

enum irq_wake {
	IRQ_WAKE_EVENT,		/* something to inject: re-evaluate, wake from HLT, kick */
	/* lapic_take_events() has news: */
	IRQ_WAKE_NMI, IRQ_WAKE_SMI, IRQ_WAKE_INIT, IRQ_WAKE_SIPI,
	IRQ_WAKE_UNHALT,	/* KVM_HC_KICK_CPU: sets pv_unhalted */
	IRQ_WAKE_IOAPIC_EOI,	/* lapic_take_pending_eoi() holds the vector */
	IRQ_WAKE_SCAN,		/* rebuild the set of reported EOI vectors: lapic_scan() */
	IRQ_WAKE_TIMER,		/* the deadline changed: re-read lapic_next_event_ns() */
	IRQ_WAKE_APICV,		/* the inhibit mask became zero or non-zero: apicv_update() */
	/* AVIC doorbell to a vCPU between lapic_load() and lapic_put_away(): have it look for
	 * something to inject; it does not sleep. */
	IRQ_WAKE_DOORBELL,
};

struct irq_ops {
	u64 (*now_ns)(void *vm);		/* monotonic ns, the base of all timers here */
	u64 (*tsc_now)(void *vcpu);		/* guest TSC of a vCPU */
	u64 (*tsc_to_ns)(void *vcpu, u64 tsc_delta);
	void (*wake)(void *vcpu, enum irq_wake why);	/* any thread; takes no irq/ lock */
	/* The guest finished a GSI that has an ack notifier (irqchip_ack_register): signal its
	 * resample eventfds. Source IRQ_SOURCE_RESAMPLE has already been lowered. */
	void (*ack)(void *vm, u32 gsi);
	/* Optional, Hyper-V (irq/lapic.h): the guest finished a vector of lapic_set_synic().
	 * [owner], no lock held. */
	void (*synic_eoi)(void *vcpu, u8 vector);
	/* Optional: a KVM_IRQ_ROUTING_HV_SINT entry is raised (result as apic_deliver()); or, after
	 * a change of the table, exists. No irq/ lock is held. */
	int (*hv_sint)(void *vm, u32 vp, u32 sint);
	void (*hv_sint_route)(void *vm, u32 vp, u32 sint, u32 gsi);
	/* irqchip_timer() is wanted at this time (now_ns clock); 0 = no more. */
	void (*timer)(void *vm, u64 deadline_ns);
	/* Optional. The mask of irq/apicv.h has changed; in the order of the changes, locks
	 * held. */
	void (*inhibits)(void *vm, u32 mask);
};

#endif
