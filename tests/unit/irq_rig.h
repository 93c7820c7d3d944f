/* SPDX-License-Identifier: MIT */
/*
 * tests/unit/irq_rig.h - an interrupt fabric without CPUs: a clock under the test's
 * control and a record of every callback.
 */
#ifndef TESTS_UNIT_IRQ_RIG_H
#define TESTS_UNIT_IRQ_RIG_H

#include "tests/unit/unit.h"

#include "irq/irq_priv.h"

#define RIG_CPUS 8
#define TSC_PER_NS 2

struct rig_cpu {
	struct lapic *l;
	_Atomic u32 wakes[IRQ_WAKE_DOORBELL + 1];
};

struct rig {
	struct irqchip *chip;
	struct rig_cpu cpu[RIG_CPUS];
	u32 n;
	u32 acks[64];
	u64 timer;
	struct irq_settings set;
};

static u64 rig_now;		/* ns */
static enum avic_kind rig_kind = AVIC_KIND_X2AVIC_EXT;
/* For most programs: every test runs on the software APIC and with AVIC active. */
#define RIG_BOTH_KINDS \
	const char *t_round(int i) \
	{ \
		rig_kind = i ? AVIC_KIND_X2AVIC_EXT : AVIC_KIND_NONE; \
		return i == 0 ? "software" : i == 1 ? "AVIC" : NULL; \
	}

static inline void rig_set_eoi_mode(struct irqchip *chip, enum eoi_mode mode)
{
	chip->set->eoi_mode = mode;
	irqchip_settings_changed(chip);
}

static inline void rig_set_x2apic_api(struct irqchip *chip, bool ids_32bit, bool no_broadcast_quirk)
{
	chip->set->ids_32bit = ids_32bit;
	chip->set->no_broadcast_quirk = no_broadcast_quirk;
	irqchip_settings_changed(chip);
}

static u64 rig_now_ns(void *vm)
{
	return rig_now;
}

static u64 rig_tsc(void *vcpu)
{
	return rig_now * TSC_PER_NS;
}

static u64 rig_tsc_to_ns(void *vcpu, u64 d)
{
	return d / TSC_PER_NS;
}

static void rig_wake(void *vcpu, enum irq_wake why)
{
	struct rig_cpu *c = vcpu;

	c->wakes[why]++;
}

static void rig_ack(void *vm, u32 gsi)
{
	struct rig *r = vm;

	r->acks[gsi % 64]++;
}

static void rig_timer(void *vm, u64 deadline)
{
	struct rig *r = vm;

	r->timer = deadline;
}

static const struct irq_ops rig_ops = {
	.now_ns = rig_now_ns, .tsc_now = rig_tsc, .tsc_to_ns = rig_tsc_to_ns,
	.wake = rig_wake, .ack = rig_ack, .timer = rig_timer,
};

/* n vCPUs with ids 0..n-1, software-enabled, with x2APIC and TSC-deadline in CPUID. */
static inline struct rig *rig_new(enum irqchip_mode mode, u32 n)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	rig_now = 1000000;
	r->chip = irqchip_create(mode, &rig_ops, r, &r->set, 24);
	assert_non_null(r->chip);
	irqchip_set_avic(r->chip, rig_kind);
	r->n = n;
	for (u32 i = 0; i < n; i++) {
		r->cpu[i].l = lapic_create(r->chip, &r->cpu[i], i, i == 0);
		assert_non_null(r->cpu[i].l);
		lapic_set_features(r->cpu[i].l, LAPIC_HAS_X2APIC | LAPIC_HAS_TSC_DEADLINE, 48);
		assert_int_equal(lapic_reg_write(r->cpu[i].l, APIC_SPIV, 0x1ff), 0);
	}
	return r;
}

static inline void rig_free(struct rig *r)
{
	for (u32 i = 0; i < r->n; i++)
		lapic_destroy(r->cpu[i].l);
	irqchip_destroy(r->chip);
	free(r);
}

/* Serve what the vCPUs would serve before they enter the guest. */
static inline void rig_scan(struct rig *r)
{
	for (u32 i = 0; i < r->n; i++) {
		while (r->cpu[i].wakes[IRQ_WAKE_SCAN]) {
			r->cpu[i].wakes[IRQ_WAKE_SCAN] = 0;
			lapic_scan(r->cpu[i].l);
		}
	}
}

/* The vCPU has been told to look for something to inject. */
static inline u32 rig_told(struct rig *r, u32 cpu)
{
	return r->cpu[cpu].wakes[IRQ_WAKE_EVENT] + r->cpu[cpu].wakes[IRQ_WAKE_DOORBELL];
}

static inline void rig_clear(struct rig *r)
{
	for (u32 i = 0; i < r->n; i++)
		for (u32 j = 0; j <= IRQ_WAKE_DOORBELL; j++)
			r->cpu[i].wakes[j] = 0;
}

static inline void rig_x2apic(struct lapic *l)
{
	assert_int_equal(lapic_set_base(l, lapic_get_base(l) | APIC_BASE_EXTD, false), 0);
}

static inline u32 rig_read(struct lapic *l, u32 offset)
{
	u32 v = 0xdeadbeef;

	assert_int_equal(lapic_mmio_read(l, offset, &v, 4), 0);
	return v;
}

static inline void rig_write(struct lapic *l, u32 offset, u32 v)
{
	assert_int_equal(lapic_mmio_write(l, offset, &v, 4), 0);
}

/* I/O APIC through its page. */
static inline u32 rig_io_read(struct rig *r, u32 reg)
{
	u32 v = 0;

	irqchip_mmio_write(r->chip, IOAPIC_BASE, &reg, 4);
	irqchip_mmio_read(r->chip, IOAPIC_BASE + 0x10, &v, 4);
	return v;
}

static inline void rig_io_write(struct rig *r, u32 reg, u32 v)
{
	irqchip_mmio_write(r->chip, IOAPIC_BASE, &reg, 4);
	irqchip_mmio_write(r->chip, IOAPIC_BASE + 0x10, &v, 4);
}

#define RTE_LEVEL BIT(15)
#define RTE_MASKED BIT(16)
#define RTE_REMOTE_IRR BIT(14)
#define RTE_LOGICAL BIT(11)

static inline void rig_rte(struct rig *r, u32 pin, u32 lo, u32 dest)
{
	rig_io_write(r, 0x11 + 2 * pin, dest << 24);
	rig_io_write(r, 0x10 + 2 * pin, lo);
	rig_scan(r);
}

static inline bool rig_remote_irr(struct rig *r, u32 pin)
{
	return rig_io_read(r, 0x10 + 2 * pin) & RTE_REMOTE_IRR;
}

static inline int rig_line(struct rig *r, u32 gsi, int level)
{
	return irqchip_set_irq(r->chip, gsi, level, IRQ_SOURCE_USER, false);
}

static inline void rig_out(struct rig *r, u16 port, u8 v)
{
	assert_int_equal(irqchip_pio_write(r->chip, port, &v, 1), 0);
}

static inline u8 rig_in(struct rig *r, u16 port)
{
	u8 v = 0;

	assert_int_equal(irqchip_pio_read(r->chip, port, &v, 1), 0);
	return v;
}

#endif
