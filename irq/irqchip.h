/* SPDX-License-Identifier: MIT */
/*
 * irq/irqchip.h - the interrupt controllers of one VM: PIC pair, PIT, I/O APIC (full mode),
 * GSI routing, MSI and the APIC bus (both modes).
 *
 * All functions: any thread, no irq/ lock held, vector state saved, unless noted.
 */
#ifndef IRQ_IRQCHIP_H
#define IRQ_IRQCHIP_H

#include <linux/kvm.h>

#include "irq/avic.h"
#include "irq/irq.h"

enum irqchip_mode { IRQCHIP_FULL = 1, IRQCHIP_SPLIT = 2 };	/* vcpu_vm_config.irqchip */

/* KVM_CAP_X2APIC_API bits 2 and 3 (docs/kvm-apic.md 2). */
enum eoi_mode { EOI_QUIRKED, EOI_SUPPRESS_ENABLED, EOI_SUPPRESS_DISABLED };

/* A line is high while any source holds it high. */
enum irq_source { IRQ_SOURCE_USER, IRQ_SOURCE_RESAMPLE, IRQ_SOURCE_PIT };

#define IRQCHIP_MAX_GSI	4096
#define IOAPIC_BASE	0xfec00000ull
#define IOAPIC_SIZE	0x100

/* What irq/ shares with the layers above: whoever makes the chip has them, beside what it keeps for
 * itself, and changes them at any time. Relaxed atomics, effective at once. */
struct irq_settings {
	_Atomic u32 eoi_mode;		/* then irqchip_settings_changed(), as for the next two */
	_Atomic bool ids_32bit, no_broadcast_quirk;	/* KVM_CAP_X2APIC_API */
	_Atomic u32 apic_bus_ns;	/* not 0; before vCPUs */
	_Atomic u64 disabled_quirks;	/* KVM_X86_QUIRK_* */
};

/* nr_reserved_pins: split mode, the argument of KVM_CAP_SPLIT_IRQCHIP. Full mode starts with
 * KVM's default routing, split mode with none. NULL: no memory. ops and set must outlive the
 * chip. */
struct irqchip *irqchip_create(enum irqchip_mode mode, const struct irq_ops *ops, void *vm,
			       struct irq_settings *set, u32 nr_reserved_pins);
void irqchip_destroy(struct irqchip *chip);	/* after all its LAPICs */

/* -- settings -- */
void irqchip_settings_changed(struct irqchip *chip);
/* The AVIC to model. vCPU ids above what it addresses rule acceleration out for the VM
 * (PHYSICAL_ID_TOO_BIG), they do not fail. Before vCPUs; the default is x2AVIC with extension. */
void irqchip_set_avic(struct irqchip *chip, enum avic_kind kind);
enum irqchip_mode irqchip_get_mode(struct irqchip *chip);
void irqchip_set_trace_vm(struct irqchip *chip, u16 vm);	/* of trace records; before vCPUs */

/* -- lines and messages -- */
/* KVM_IRQ_LINE, irqfd. > 0 vCPUs reached, 0 coalesced, < 0 masked or nobody there. line_status:
 * the caller reports the result to its device model (KVM_IRQ_LINE_STATUS). */
int irqchip_set_irq(struct irqchip *chip, u32 gsi, int level, enum irq_source source,
		    bool line_status);
/* KVM_SIGNAL_MSI, device writes to 0xFEExxxxx. Same results. */
int irqchip_send_msi(struct irqchip *chip, u32 addr_lo, u32 addr_hi, u32 data);
/* The bus. src: the sending APIC of an IPI, else NULL. Same results. */
int apic_deliver(struct irqchip *chip, const struct apic_msg *msg, struct lapic *src);
/* KVM_HC_SEND_IPI: number reached, -EINVAL, or -EOPNOTSUPP while ids are aliased. width: 64
 * in long mode, else 32. */
int apic_send_pv_ipi(struct irqchip *chip, u64 lo, u64 hi, u32 min, u64 icr, u32 width);
/* For KVM_HC_SCHED_YIELD and the like: the vCPU with this x2APIC id, or NULL. */
void *apic_find_vcpu(struct irqchip *chip, u32 id);

/* KVM_SET_GSI_ROUTING: replaces the whole table. 0, -EINVAL, -ENOMEM. */
int irqchip_set_routing(struct irqchip *chip, const struct kvm_irq_routing_entry *e, u32 n);
/* The MSI that a GSI is routed to (for irqfd fast paths): true if it is exactly that. */
bool irqchip_gsi_is_msi(struct irqchip *chip, u32 gsi);	/* for tests */

/* Ack notifiers: irq_ops.ack(vm, gsi) is called at each EOI of the GSI. Counted. */
int irqchip_ack_register(struct irqchip *chip, u32 gsi);	/* 0 or -EINVAL */
void irqchip_ack_unregister(struct irqchip *chip, u32 gsi);

void irqchip_ack(struct irqchip *chip, u32 gsi);	/* an EOI of a GSI that no controller
							 * serves */

/* -- guest access -- */
/* 0 handled; -ENOENT: not a port of ours (any size; partial sizes as KVM, docs/kvm-abi.md 5.8). */
int irqchip_pio_read(struct irqchip *chip, u16 port, void *buf, u32 size);
int irqchip_pio_write(struct irqchip *chip, u16 port, const void *buf, u32 size);
int irqchip_mmio_read(struct irqchip *chip, u64 gpa, void *buf, u32 len);
int irqchip_mmio_write(struct irqchip *chip, u64 gpa, const void *buf, u32 len);

/* -- PIC to CPU -- */
bool irqchip_extint_pending(struct irqchip *chip);	/* INTR is high; lock-free */
int irqchip_extint_ack(struct irqchip *chip);		/* INTA: the vector; -1 without PIC */

/* -- state ioctls: 0, -ENXIO (no such device), -EINVAL -- */
int irqchip_get_state(struct irqchip *chip, struct kvm_irqchip *s);	/* s->chip_id is input */
int irqchip_set_state(struct irqchip *chip, const struct kvm_irqchip *s);

/* -- PIT -- */
int irqchip_pit_create(struct irqchip *chip, u32 flags);	/* -EEXIST, -ENOENT (split) */
bool irqchip_has_pit(struct irqchip *chip);
int irqchip_pit_get(struct irqchip *chip, struct kvm_pit_state2 *s);
int irqchip_pit_set(struct irqchip *chip, const struct kvm_pit_state2 *s);
int irqchip_pit_reinject(struct irqchip *chip, bool on);	/* KVM_REINJECT_CONTROL */

/* -- time -- */
/* Fire what is due of the PIT and of delayed I/O APIC work. Called by the VM's timer at the
 * deadline given to irq_ops.timer (early and extra calls do no harm). */
void irqchip_timer(struct irqchip *chip);
u64 irqchip_next_event_ns(struct irqchip *chip);	/* for tests; 0 = none */

#endif
