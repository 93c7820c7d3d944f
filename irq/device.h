/* SPDX-License-Identifier: MIT */
/*
 * irq/device.h - an in-kernel device of the full irqchip: one file, which fills in one row, and one
 * name in the list below. irqchip.c finds ports and MMIO by the rows, runs their timers and hands
 * out their state.
 *
 * All functions with chip->lock held; any may be NULL.
 */
#ifndef IRQ_DEVICE_H
#define IRQ_DEVICE_H

#include <linux/kvm.h>

#include "base/types.h"

struct irqchip;

struct irq_device {
	/* An access is the device's if it lies within a range, and answers() agrees (lock-free). */
	struct {
		u64 first;
		u32 len;
	} range[4];
	bool mmio;	/* else ports */
	bool (*answers)(const struct irqchip *chip, u64 addr);
	/* buf is zero before; len up to 8. */
	void (*read)(struct irqchip *chip, u64 addr, void *buf, u32 len);
	void (*write)(struct irqchip *chip, u64 addr, const void *buf, u32 len);
	/* Offset in struct irqchip of a u64, ns, 0 = none: when timer() is due. */
	size_t deadline;
	void (*timer)(struct irqchip *chip, u64 now);
	/* The lock is about to be dropped: what the device has put off until now. */
	void (*settle)(struct irqchip *chip);
	void (*reset)(struct irqchip *chip);
	/* KVM_GET/SET_IRQCHIP: which chip_ids are its, one bit each. */
	u32 chip_ids;
	void (*get)(struct irqchip *chip, struct kvm_irqchip *s);
	void (*set)(struct irqchip *chip, const struct kvm_irqchip *s);
	/* Its own line, if it wants to know what becomes of it. */
	bool has_line;
	u32 gsi;
	bool (*wants_ack)(const struct irqchip *chip);
	void (*acked)(struct irqchip *chip);
	void (*unmasked)(struct irqchip *chip);
};

#define IRQ_DEVICES(X) X(pic) X(ioapic) X(pit)
#define X(name) extern const struct irq_device name##_device;
IRQ_DEVICES(X)
#undef X

#endif
