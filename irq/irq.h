/* SPDX-License-Identifier: MIT */
/*
 * irq/irq.h - the x86 interrupt fabric as a pure library: no thread, no fd, no
 * global state. Time, wake-ups and guest memory come in through callbacks.
 *
 * Locking: `irqchip.lock` (a plain mutex supplied here) serialises PIC, PIT, I/O APIC and routing; a LAPIC's
 * IRR may be set by any thread (atomic or), its other registers belong to its vCPU's lock holder/thread.
 * The APIC map (id -> lapic, logical clusters) is an immutable array behind an atomic pointer.
 */
#ifndef IRQ_IRQ_H
#define IRQ_IRQ_H

#include "base/types.h"

struct lapic;
struct irqchip;

/* A message on the APIC bus (MSI, I/O APIC, IPI). */
struct apic_msg {
	u32 dest;
	u8 vector;
	u8 delivery;	/* 0 fixed 1 lowest 2 SMI 4 NMI 5 INIT 6 SIPI 7 ExtINT */
	u8 dest_logical;
	u8 level;	/* 1 = assert */
	u8 trigger_level;
	u8 shorthand;	/* 0 none 1 self 2 all 3 all but self */
	bool x2apic_dest;	/* 32-bit destination (broadcast = 0xffffffff) */
};

enum irq_wake {
	IRQ_WAKE_EVENT,		/* something to inject: re-evaluate, wake from HLT, kick */
	IRQ_WAKE_NMI, IRQ_WAKE_SMI, IRQ_WAKE_INIT, IRQ_WAKE_SIPI, /* process APIC events */
	IRQ_WAKE_IOAPIC_EOI,	/* lapic_pending_eoi() holds the vector */
	IRQ_WAKE_SCAN,		/* rebuild ioapic_handled_vectors (lapic_scan) */
	IRQ_WAKE_TIMER,		/* the deadline changed: re-read lapic_next_event() */
};

struct irq_ops {
	u64 (*now_ns)(void *vm);			/* monotonic ns, the base of all timers here */
	u64 (*tsc_now)(void *vcpu);			/* guest TSC of a vCPU */
	u64 (*tsc_to_ns)(void *vcpu, u64 tsc_delta);
	void (*wake)(void *vcpu, enum irq_wake why);	/* any thread */
	void (*ack)(void *vm, u32 gsi);			/* EOI reached a GSI with an ack notifier (resample irqfd) */
	void (*timer)(void *vm, u64 deadline_ns);	/* PIT / delayed I/O APIC work wants irqchip_timer() at this time; 0 = none */
};

#endif
