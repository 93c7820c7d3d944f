/* SPDX-License-Identifier: MIT */
/* The I/O APIC (docs/kvm-apic.md 1.6 and 1.8). */
/* Run: build/tests/unit/test_irq_ioapic [NAME...] */
#include "irq_rig.h"

#include <errno.h>

T(registers)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	u64 v = 0;
	u32 eoi = 0x40;

	assert_int_equal(rig_io_read(r, 0), 0);
	rig_io_write(r, 0, 0xffffffff);
	assert_int_equal(rig_io_read(r, 0), 0x0f000000);
	assert_int_equal(rig_io_read(r, 2), 0x0f000000);
	rig_io_write(r, 1, 0);
	assert_int_equal(rig_io_read(r, 1), 0x00170011);
	assert_int_equal(rig_io_read(r, 3), 0xffffffff);
	assert_int_equal(rig_io_read(r, 0x40), 0xffffffff);
	rig_io_write(r, 0x40, 1);
	assert_int_equal(rig_io_read(r, 0x3e), RTE_MASKED);
	rig_io_write(r, 0x10, 0xffffffff);
	assert_int_equal(rig_io_read(r, 0x10), 0xffffffff & ~(RTE_REMOTE_IRR | BIT(12)));
	rig_io_write(r, 0x11, 0x12345678);
	assert_int_equal(rig_io_read(r, 0x11), 0x12345678);
	/* select register, odd addresses, widths, edges of the page */
	irqchip_mmio_read(r->chip, IOAPIC_BASE, &v, 8);
	assert_int_equal(v, 0x11);
	irqchip_mmio_read(r->chip, IOAPIC_BASE + 0x20, &v, 8);
	assert_int_equal(v, 0);
	irqchip_mmio_read(r->chip, IOAPIC_BASE + 4, &v, 4);
	assert_int_equal(v, 0);
	v = 0;
	irqchip_mmio_read(r->chip, IOAPIC_BASE + 0x10, &v, 2);
	assert_int_equal(v, 0x5678);
	assert_int_equal(irqchip_mmio_read(r->chip, IOAPIC_BASE + 0x100, &v, 4), -ENOENT);
	assert_int_equal(irqchip_mmio_read(r->chip, IOAPIC_BASE - 4, &v, 4), -ENOENT);
	/* no EOI register in version 0x11 */
	assert_int_equal(irqchip_mmio_write(r->chip, IOAPIC_BASE + 0x40, &eoi, 4), 0);
	rig_free(r);
}

T(edge_line)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	assert_int_equal(rig_line(r, 20, 1), -1);	/* masked */
	assert_int_equal(rig_line(r, 20, 0), 1);
	rig_rte(r, 20, 0x44, 0);
	assert_int_equal(rig_line(r, 20, 1), 1);
	assert_int_equal(rig_line(r, 20, 1), 0);	/* no new edge */
	assert_int_equal(lapic_ack(l), 0x44);
	lapic_eoi(l);
	assert_int_equal(lapic_ack(l), -1);
	assert_int_equal(rig_line(r, 20, 0), 1);
	assert_int_equal(rig_line(r, 20, 1), 1);
	assert_false(rig_remote_irr(r, 20));
	rig_free(r);
}

T(level_line)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	rig_rte(r, 20, 0x44 | RTE_LEVEL, 0);
	assert_int_equal(rig_line(r, 20, 1), 1);
	assert_true(rig_remote_irr(r, 20));
	assert_true(lapic_test(l, APIC_TMR, 0x44));
	assert_int_equal(rig_line(r, 20, 1), -1);	/* waits for EOI */
	assert_int_equal(lapic_ack(l), 0x44);
	lapic_eoi(l);					/* still high: again */
	assert_true(rig_remote_irr(r, 20));
	assert_int_equal(lapic_ack(l), 0x44);
	rig_line(r, 20, 0);
	assert_true(rig_remote_irr(r, 20));
	lapic_eoi(l);
	assert_false(rig_remote_irr(r, 20));
	assert_int_equal(lapic_ack(l), -1);
	rig_free(r);
}

T(sources_are_ored)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct irqchip *c = r->chip;

	rig_rte(r, 20, 0x44 | RTE_LEVEL | RTE_MASKED, 0);
	irqchip_set_irq(c, 20, 1, IRQ_SOURCE_USER, false);
	irqchip_set_irq(c, 20, 1, IRQ_SOURCE_RESAMPLE, false);
	irqchip_set_irq(c, 20, 0, IRQ_SOURCE_USER, false);
	rig_rte(r, 20, 0x44 | RTE_LEVEL, 0);
	assert_int_equal(lapic_pending_vector(r->cpu[0].l), 0x44);
	irqchip_set_irq(c, 20, 0, IRQ_SOURCE_RESAMPLE, false);
	assert_int_equal(c->ioapic.irr & BIT(20), 0);
	rig_free(r);
}

T(remote_irr_by_hand)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);

	rig_rte(r, 20, 0x44 | RTE_LEVEL, 0);
	rig_line(r, 20, 1);
	rig_line(r, 20, 0);
	rig_io_write(r, 0x10 + 40, 0x44 | RTE_LEVEL | RTE_MASKED);
	assert_true(rig_remote_irr(r, 20));		/* read-only */
	rig_io_write(r, 0x10 + 40, 0x44 | RTE_MASKED);	/* to edge: cleared */
	assert_false(rig_remote_irr(r, 20));
	rig_io_write(r, 0x10 + 40, 0x44 | RTE_LEVEL | RTE_REMOTE_IRR);
	assert_false(rig_remote_irr(r, 20));
	rig_free(r);
}

T(nobody_home)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);

	rig_rte(r, 20, 0x44 | RTE_LEVEL, 7);		/* absent id: 0 reached */
	assert_int_equal(rig_line(r, 20, 1), 0);
	assert_false(rig_remote_irr(r, 20));
	/* asked one by one (ids aliased), nobody: -1, and Remote IRR sticks, as in KVM */
	rig_line(r, 20, 0);
	rig_write(r->cpu[1].l, APIC_ID, 0);
	assert_int_equal(rig_line(r, 20, 1), -1);
	assert_true(rig_remote_irr(r, 20));
	rig_free(r);
}

T(unmask_serves_pending_level)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);

	rig_rte(r, 20, 0x44 | RTE_LEVEL | RTE_MASKED, 0);
	assert_int_equal(rig_line(r, 20, 1), -1);
	assert_int_equal(lapic_pending_vector(r->cpu[0].l), -1);
	rig_rte(r, 20, 0x44 | RTE_LEVEL, 0);
	assert_int_equal(lapic_pending_vector(r->cpu[0].l), 0x44);
	rig_free(r);
}

T(unmask_asks_the_resampler)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);

	irqchip_ack_register(r->chip, 20);
	rig_rte(r, 20, 0x44 | RTE_LEVEL | RTE_MASKED, 0);
	irqchip_set_irq(r->chip, 20, 1, IRQ_SOURCE_RESAMPLE, false);
	rig_rte(r, 20, 0x44 | RTE_LEVEL, 0);
	assert_int_equal(lapic_pending_vector(r->cpu[0].l), -1);
	assert_int_equal(r->acks[20], 1);
	rig_free(r);
}

T(resample_cycle)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	irqchip_ack_register(r->chip, 20);
	rig_rte(r, 20, 0x44 | RTE_LEVEL, 0);
	irqchip_set_irq(r->chip, 20, 1, IRQ_SOURCE_RESAMPLE, false);
	assert_int_equal(lapic_ack(l), 0x44);
	lapic_eoi(l);
	assert_int_equal(r->acks[20], 1);
	assert_int_equal(lapic_ack(l), -1);	/* lowered before it could be served again */
	assert_false(rig_remote_irr(r, 20));
	irqchip_ack_unregister(r->chip, 20);
	irqchip_set_irq(r->chip, 20, 1, IRQ_SOURCE_RESAMPLE, false);
	lapic_ack(l);
	lapic_eoi(l);
	assert_int_equal(r->acks[20], 1);
	assert_int_equal(irqchip_ack_register(r->chip, 4096), -EINVAL);
	rig_free(r);
}

/* Nobody is left who could say that the device has let go of the line. */
T(the_last_resampler_lowers_its_line)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);

	rig_rte(r, 5, 0x55 | BIT(15), 0);
	irqchip_ack_register(r->chip, 5);
	irqchip_ack_register(r->chip, 5);
	irqchip_set_irq(r->chip, 5, 1, IRQ_SOURCE_RESAMPLE, false);
	irqchip_ack_unregister(r->chip, 5);
	assert_true(r->chip->ioapic.irr & BIT(5));
	irqchip_ack_unregister(r->chip, 5);
	assert_false(r->chip->ioapic.irr & BIT(5));
	/* what user space drives is not touched */
	irqchip_ack_register(r->chip, 5);
	irqchip_set_irq(r->chip, 5, 1, IRQ_SOURCE_USER, false);
	irqchip_ack_unregister(r->chip, 5);
	assert_true(r->chip->ioapic.irr & BIT(5));
	rig_free(r);
}

T(edge_ack_notifier)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	rig_rte(r, 20, 0x44, 0);
	rig_line(r, 20, 1);
	lapic_ack(l);
	lapic_eoi(l);
	assert_int_equal(r->acks[20], 0);
	irqchip_ack_register(r->chip, 20);
	rig_scan(r);
	rig_line(r, 20, 0);
	rig_line(r, 20, 1);
	lapic_ack(l);
	lapic_eoi(l);
	assert_int_equal(r->acks[20], 1);
	rig_free(r);
}

T(same_vector_on_two_pins)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);

	rig_rte(r, 20, 0x44 | RTE_LEVEL, 0);
	rig_rte(r, 21, 0x44 | RTE_LEVEL, 1);
	rig_line(r, 20, 1);
	rig_line(r, 21, 1);
	rig_line(r, 20, 0);
	rig_line(r, 21, 0);
	lapic_ack(r->cpu[0].l);
	lapic_eoi(r->cpu[0].l);		/* destinations are not compared */
	assert_false(rig_remote_irr(r, 20));
	assert_false(rig_remote_irr(r, 21));
	rig_free(r);
}

T(eoi_storm_is_slowed)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;
	u32 served = 0;

	rig_rte(r, 20, 0x44 | RTE_LEVEL, 0);
	rig_line(r, 20, 1);
	while (lapic_ack(l) == 0x44) {
		served++;
		lapic_eoi(l);
		assert_true(served < 20000);
	}
	assert_int_equal(served, 10000);
	assert_int_equal(r->timer, rig_now + 10000000);
	assert_int_equal(irqchip_next_event_ns(r->chip), r->timer);
	rig_now += 9999999;
	irqchip_timer(r->chip);
	assert_int_equal(lapic_ack(l), -1);
	rig_now++;
	irqchip_timer(r->chip);
	assert_int_equal(lapic_ack(l), 0x44);
	assert_int_equal(r->timer, 0);
	rig_free(r);
}

T(rtc_coalescing)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);
	struct lapic *l = r->cpu[0].l;
	u8 s[LAPIC_STATE_SIZE];

	rig_rte(r, 8, 0x77, 0);
	assert_int_equal(irqchip_set_irq(r->chip, 8, 1, IRQ_SOURCE_USER, true), 2);	/* + PIC */
	irqchip_set_irq(r->chip, 8, 0, IRQ_SOURCE_USER, true);
	r->chip->pic.s[1].imr = 0xff;		/* leave the I/O APIC alone */
	assert_int_equal(irqchip_set_irq(r->chip, 8, 1, IRQ_SOURCE_USER, true), 0);
	irqchip_set_irq(r->chip, 8, 0, IRQ_SOURCE_USER, true);
	lapic_ack(l);
	lapic_get_state(l, s, false);
	lapic_eoi(l);
	assert_int_equal(r->chip->ioapic.rtc_pending, 0);
	assert_int_equal(irqchip_set_irq(r->chip, 8, 1, IRQ_SOURCE_USER, true), 1);
	irqchip_set_irq(r->chip, 8, 0, IRQ_SOURCE_USER, true);
	lapic_ack(l);
	lapic_eoi(l);
	/* known again from ISR after a restore */
	assert_int_equal(lapic_set_state(l, s, false), 0);
	assert_int_equal(r->chip->ioapic.rtc_pending, 1);
	lapic_eoi(l);
	assert_int_equal(r->chip->ioapic.rtc_pending, 0);
	rig_free(r);
}

/* Nobody will end an interrupt that INIT has cleared from the APIC. */
T(init_ends_rtc_tracking)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);
	struct lapic *l = r->cpu[0].l;

	rig_rte(r, 8, 0x77, 0);
	r->chip->pic.s[1].imr = 0xff;		/* leave the I/O APIC alone */
	assert_int_equal(irqchip_set_irq(r->chip, 8, 1, IRQ_SOURCE_USER, true), 1);
	irqchip_set_irq(r->chip, 8, 0, IRQ_SOURCE_USER, true);
	lapic_ack(l);
	lapic_reset(l, true);
	assert_int_equal(r->chip->ioapic.rtc_pending, 0);
	rig_write(l, APIC_SPIV, 0x1ff);
	assert_int_equal(irqchip_set_irq(r->chip, 8, 1, IRQ_SOURCE_USER, true), 1);
	rig_free(r);
}

T(state_round_trip)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1), *q;
	struct kvm_irqchip s = { .chip_id = KVM_IRQCHIP_IOAPIC }, t = s;

	rig_io_write(r, 0, 3u << 24);
	rig_rte(r, 20, 0x44 | RTE_LEVEL | RTE_MASKED, 0);
	rig_rte(r, 21, 0x45, 0);
	rig_line(r, 20, 1);
	rig_line(r, 21, 1);		/* delivered: not reported as pending */
	assert_int_equal(irqchip_get_state(r->chip, &s), 0);
	assert_int_equal(s.chip.ioapic.irr, BIT(20));
	assert_int_equal(s.chip.ioapic.base_address, IOAPIC_BASE);
	q = rig_new(IRQCHIP_FULL, 1);
	assert_int_equal(irqchip_set_state(q->chip, &s), 0);
	assert_int_equal(irqchip_get_state(q->chip, &t), 0);
	assert_memory_equal(&s, &t, sizeof(s));
	/* a pending pin is raised anew */
	s.chip.ioapic.redirtbl[20].bits &= ~(u64)RTE_MASKED;
	assert_int_equal(irqchip_set_state(q->chip, &s), 0);
	assert_int_equal(lapic_pending_vector(q->cpu[0].l), 0x44);
	s.chip_id = 3;
	assert_int_equal(irqchip_get_state(q->chip, &s), -EINVAL);
	assert_int_equal(irqchip_set_state(q->chip, &s), -EINVAL);
	rig_free(q);
	rig_free(r);
	r = rig_new(IRQCHIP_SPLIT, 1);
	s.chip_id = 0;
	assert_int_equal(irqchip_get_state(r->chip, &s), -ENXIO);
	assert_int_equal(irqchip_mmio_read(r->chip, IOAPIC_BASE, &t, 4), -ENOENT);
	rig_free(r);
}

/* Which source holds a line is not in the state: the one that lets go of it later decides. */
T(restored_request_belongs_to_no_source)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct kvm_irqchip s = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct lapic *l = r->cpu[0].l;

	rig_rte(r, 20, 0x44 | RTE_LEVEL, 0);
	assert_int_equal(irqchip_get_state(r->chip, &s), 0);
	s.chip.ioapic.irr = BIT(20);
	assert_int_equal(irqchip_set_state(r->chip, &s), 0);
	rig_scan(r);
	assert_int_equal(lapic_ack(l), 0x44);
	irqchip_set_irq(r->chip, 20, 0, IRQ_SOURCE_RESAMPLE, false);
	rig_write(l, APIC_EOI, 0);
	assert_int_equal(lapic_pending_vector(l), -1);
	assert_false(rig_remote_irr(r, 20));
	rig_free(r);
}

T(remote_irr_of_an_edge_entry_is_not_restored)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct kvm_irqchip s = { .chip_id = KVM_IRQCHIP_IOAPIC };

	assert_int_equal(irqchip_get_state(r->chip, &s), 0);
	s.chip.ioapic.redirtbl[20].bits = 0x44 | RTE_REMOTE_IRR;
	assert_int_equal(irqchip_set_state(r->chip, &s), 0);
	rig_rte(r, 20, 0x44 | RTE_LEVEL, 0);
	assert_int_equal(rig_line(r, 20, 1), 1);
	assert_int_equal(lapic_ack(r->cpu[0].l), 0x44);
	rig_free(r);
}

T(logical_and_lowest)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);

	rig_write(r->cpu[0].l, APIC_LDR, 1u << 24);
	rig_write(r->cpu[1].l, APIC_LDR, 2u << 24);
	rig_rte(r, 20, 0x44 | RTE_LOGICAL, 3);
	assert_int_equal(rig_line(r, 20, 1), 2);
	rig_line(r, 20, 0);
	rig_rte(r, 20, 0x145 | RTE_LOGICAL, 3);
	assert_int_equal(rig_line(r, 20, 1), 1);
	rig_free(r);
}

RIG_BOTH_KINDS
