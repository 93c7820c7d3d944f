/* SPDX-License-Identifier: MIT */
/*
 * Which EOIs are reported and when the set is made anew (docs/kvm-apic.md 1.3, 1.5), trigger modes
 * (1.7), and what KVM_SET_LAPIC and mode changes do to directed EOI (2.4): one test a rule.
 */
/* Run: build/tests/unit/test_irq_scan [NAME...] */
#include "irq_rig.h"

#include <errno.h>

static bool reported(struct lapic *l, u8 vector)
{
	return l->fast.eoi_exit[vector / 64] >> (vector % 64) & 1;
}

static void route(struct rig *r, u32 gsi, u32 lo, u32 hi, u32 data)
{
	struct kvm_irq_routing_entry e = {
		.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = 0xfee00000 | lo, .address_hi = hi, .data = data },
	};

	assert_int_equal(irqchip_set_routing(r->chip, &e, 1), 0);
	rig_scan(r);
}

/* All vCPUs have been asked to rebuild the set since the last call. */
static bool asked(struct rig *r)
{
	bool all = true;

	for (u32 i = 0; i < r->n; i++)
		all &= r->cpu[i].wakes[IRQ_WAKE_SCAN] != 0;
	rig_scan(r);
	return all;
}

/* -- 1.5 -- */

T(the_mask_bit_does_not_count)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);

	rig_rte(r, 20, 0x44 | RTE_LEVEL | RTE_MASKED, 0);
	assert_true(reported(r->cpu[0].l, 0x44));
	rig_free(r);
}

T(edge_pins_count_only_for_the_rtc_and_ack_notifiers)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	rig_rte(r, 20, 0x44, 0);
	rig_rte(r, 8, 0x48, 0);
	assert_false(reported(l, 0x44));
	assert_true(reported(l, 0x48));
	assert_int_equal(irqchip_ack_register(r->chip, 20), 0);
	assert_true(asked(r));
	assert_true(reported(l, 0x44));
	irqchip_ack_unregister(r->chip, 20);
	assert_true(asked(r));
	assert_false(reported(l, 0x44));
	rig_free(r);
}

T(a_tracked_rtc_vector_stays_reported)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	rig_rte(r, 8, 0x48, 0);
	irqchip_set_irq(r->chip, 8, 1, IRQ_SOURCE_USER, true);
	rig_rte(r, 8, 0x59, 0);		/* the guest changes the vector meanwhile */
	assert_true(reported(l, 0x48));
	assert_true(reported(l, 0x59));
	rig_free(r);
}

T(other_vcpus_entries_do_not_count)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);

	rig_rte(r, 20, 0x44 | RTE_LEVEL, 1);
	assert_false(reported(r->cpu[0].l, 0x44));
	assert_true(reported(r->cpu[1].l, 0x44));
	assert_int_equal(r->cpu[1].l->highest_stale, -1);
	rig_free(r);
}

T(requested_or_in_service_counts_as_stale_and_the_highest_is_kept)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);
	struct lapic *l = r->cpu[0].l;

	rig_rte(r, 20, 0x44 | RTE_LEVEL, 0);
	rig_rte(r, 21, 0x55 | RTE_LEVEL, 0);
	rig_line(r, 20, 1);
	assert_int_equal(lapic_ack(l), 0x44);		/* in service */
	rig_line(r, 21, 1);				/* requested */
	rig_rte(r, 20, 0x44 | RTE_LEVEL, 1);
	rig_rte(r, 21, 0x55 | RTE_LEVEL, 1);
	assert_true(reported(l, 0x44) && reported(l, 0x55));
	assert_int_equal(l->highest_stale, 0x55);
	rig_free(r);
}

T(a_disabled_apic_keeps_its_set)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	rig_rte(r, 20, 0x44 | RTE_LEVEL, 0);
	assert_int_equal(lapic_set_base(l, APIC_DEFAULT_BASE, false), 0);
	rig_rte(r, 20, 0x55 | RTE_LEVEL, 0);
	assert_true(reported(l, 0x44));
	assert_false(reported(l, 0x55));
	rig_free(r);
}

T(split_takes_level_msis_below_the_reserved_pins)
{
	struct rig *r = rig_new(IRQCHIP_SPLIT, 1);
	struct lapic *l = r->cpu[0].l;

	route(r, 23, 0, 0, 0x44 | 1 << 15);
	assert_true(reported(l, 0x44));
	route(r, 23, 0, 0, 0x44);
	assert_false(reported(l, 0x44));
	route(r, 24, 0, 0, 0x44 | 1 << 15);		/* the rig reserves 24 */
	assert_false(reported(l, 0x44));
	rig_free(r);
}

T(split_decodes_32_bit_destinations)
{
	struct rig *r = rig_new(IRQCHIP_SPLIT, 1);
	struct lapic *big = lapic_create(r->chip, &r->cpu[1], 0x105, false);

	assert_non_null(big);
	r->cpu[1].l = big;
	r->n = 2;
	lapic_set_features(big, LAPIC_HAS_X2APIC, 48);
	assert_int_equal(lapic_set_base(big, lapic_get_base(big) | APIC_BASE_EXTD, true), 0);
	rig_set_x2apic_api(r->chip, true, true);
	route(r, 5, 0x05000, 0x100, 0x44 | 1 << 15);
	assert_true(reported(big, 0x44));
	assert_false(reported(r->cpu[0].l, 0x44));
	rig_free(r);
}

T(what_asks_for_a_scan)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);
	struct kvm_irqchip s = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct lapic *l = r->cpu[1].l;
	u8 page[LAPIC_STATE_SIZE];

	rig_scan(r);
	assert_false(asked(r));
	rig_io_write(r, 0x10 + 2 * 20, 0x44 | RTE_LEVEL);
	assert_true(asked(r));
	assert_int_equal(irqchip_get_state(r->chip, &s), 0);
	assert_false(asked(r));
	assert_int_equal(irqchip_set_state(r->chip, &s), 0);
	assert_true(asked(r));
	rig_write(l, APIC_ID, 1u << 24);
	assert_true(asked(r));
	rig_write(l, APIC_LDR, 1u << 25);
	assert_true(asked(r));
	rig_write(l, APIC_DFR, DFR_FLAT);
	assert_true(asked(r));
	rig_write(l, APIC_SPIV, 0xff);
	assert_true(asked(r));
	rig_write(l, APIC_SPIV, 0xef);			/* enabled as before */
	assert_false(asked(r));
	rig_x2apic(l);
	assert_true(asked(r));
	assert_int_equal(lapic_get_state(l, page, false), 0);
	assert_int_equal(lapic_set_state(l, page, false), 0);
	assert_true(asked(r));
	lapic_reset(l, false);
	assert_true(asked(r));
	rig_write(l, APIC_TPR, 0x20);
	rig_line(r, 20, 1);
	assert_false(asked(r));
	rig_free(r);
	r = rig_new(IRQCHIP_SPLIT, 2);
	rig_scan(r);
	assert_int_equal(irqchip_set_routing(r->chip, NULL, 0), 0);
	assert_true(asked(r));
	rig_free(r);
}

/* -- 1.3 -- */

T(a_stale_vector_asks_even_if_its_eoi_is_suppressed)
{
	struct rig *r = rig_new(IRQCHIP_SPLIT, 2);
	struct lapic *l = r->cpu[0].l;
	u8 vector;

	rig_set_eoi_mode(r->chip, EOI_SUPPRESS_ENABLED);
	lapic_set_features(l, LAPIC_HAS_X2APIC, 48);
	rig_write(l, APIC_SPIV, 0x1ff | SPIV_DIRECTED_EOI);
	route(r, 5, 0, 0, 0x44 | 1 << 15);
	rig_line(r, 5, 1);
	assert_int_equal(lapic_ack(l), 0x44);
	route(r, 5, 0x1000, 0, 0x44 | 1 << 15);
	assert_int_equal(l->highest_stale, 0x44);
	rig_write(l, APIC_EOI, 0);
	assert_int_equal(r->cpu[0].wakes[IRQ_WAKE_SCAN], 1);
	assert_false(lapic_take_pending_eoi(l, &vector));
	rig_free(r);
}

/* -- 1.2 -- */

T(x2apic_eoi_checks_its_upper_half_only)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	rig_x2apic(l);
	lapic_set_irq(l, 0x44, false);
	assert_int_equal(lapic_ack(l), 0x44);
	assert_int_equal(lapic_msr_write(l, 0x80b, BIT64(32)), -EINVAL);
	assert_true(lapic_test(l, APIC_ISR, 0x44));
	assert_int_equal(lapic_msr_write(l, 0x80b, 0x1234), 0);
	assert_false(lapic_test(l, APIC_ISR, 0x44));
	rig_free(r);
}

/* -- 1.7 -- */

T(trigger_mode_comes_from_the_message)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	irqchip_send_msi(r->chip, 0xfee00000, 0, 0x44 | 1 << 15);	/* bit 14 is not needed */
	assert_true(lapic_test(l, APIC_TMR, 0x44));
	irqchip_send_msi(r->chip, 0xfee00000, 0, 0x44);
	assert_false(lapic_test(l, APIC_TMR, 0x44));
	rig_write(l, APIC_LVT0, 0x55 | LVT_LEVEL);
	assert_true(lapic_deliver_lvt(l, LVT_LINT0));
	assert_true(lapic_test(l, APIC_TMR, 0x55));
	rig_write(l, APIC_ICR, 0x66 | ICR_LEVEL | ICR_ASSERT | APIC_TO_SELF << 18);
	assert_true(lapic_test(l, APIC_TMR, 0x66));
	rig_write(l, APIC_ICR, 0x77 | ICR_LEVEL | APIC_TO_SELF << 18);	/* de-assert */
	assert_false(lapic_test(l, APIC_IRR, 0x77));
	rig_write(l, APIC_ICR, 0x66 | APIC_TO_SELF << 18);
	assert_false(lapic_test(l, APIC_TMR, 0x66));
	rig_free(r);
}

/* -- 2.4 -- */

T(spiv_bit_12_is_kept_by_set_lapic_whatever_is_offered)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;
	u32 v = 0x1ff | SPIV_DIRECTED_EOI;
	u8 page[LAPIC_STATE_SIZE];

	assert_false(lapic_get(l, APIC_LVR) & LVR_DIRECTED_EOI);
	rig_write(l, APIC_SPIV, v);
	assert_int_equal(rig_read(l, APIC_SPIV), 0x1ff);
	assert_int_equal(lapic_get_state(l, page, false), 0);
	memcpy(page + APIC_SPIV, &v, 4);
	assert_int_equal(lapic_set_state(l, page, false), 0);
	assert_int_equal(rig_read(l, APIC_SPIV), v);
	rig_write(l, APIC_SPIV, v);		/* the guest's own write is masked again */
	assert_int_equal(rig_read(l, APIC_SPIV), 0x1ff);
	rig_free(r);
}

T(changing_the_mode_does_not_rewrite_the_version)
{
	struct rig *r = rig_new(IRQCHIP_SPLIT, 1);
	struct lapic *l = r->cpu[0].l;

	assert_int_equal(rig_read(l, APIC_LVR), 0x01050014);
	rig_set_eoi_mode(r->chip, EOI_SUPPRESS_DISABLED);
	assert_int_equal(rig_read(l, APIC_LVR), 0x01050014);
	lapic_reset(l, true);
	assert_int_equal(rig_read(l, APIC_LVR), 0x00050014);
	rig_set_eoi_mode(r->chip, EOI_QUIRKED);
	lapic_set_features(l, LAPIC_HAS_X2APIC | LAPIC_HAS_CMCI, 48);
	assert_int_equal(rig_read(l, APIC_LVR), 0x01060014);
	lapic_set_features(l, LAPIC_HAS_CMCI, 48);
	assert_int_equal(rig_read(l, APIC_LVR), 0x00060014);
	rig_free(r);
}

RIG_BOTH_KINDS
