/* SPDX-License-Identifier: MIT */
/* EOI reporting to user space and suppress-EOI-broadcast (docs/kvm-apic.md 1.2-1.5 and 2.4). */
/* Run: build/tests/unit/test_irq_eoi [NAME...] */
#include "irq_rig.h"

#include <errno.h>

#define VEC 0xa2

static void route_msi(struct rig *r, u32 gsi, u32 dest, u32 data)
{
	struct kvm_irq_routing_entry e = { .gsi = gsi, .type = KVM_IRQ_ROUTING_MSI };

	e.u.msi.address_lo = 0xfee00000 | dest << 12;
	e.u.msi.data = data;
	assert_int_equal(irqchip_set_routing(r->chip, &e, 1), 0);
}

/* A level-triggered MSI to `dest`, known to its CPU; the line goes up. */
static void level_msi_up(struct rig *r, u32 gsi, u32 dest)
{
	route_msi(r, gsi, dest, VEC | 0x8000);
	rig_scan(r);
	rig_line(r, gsi, 1);
}

/* The guest takes VEC and writes EOI. true: user space sees exit 26. */
static bool take_and_eoi(struct rig *r, u32 cpu)
{
	struct lapic *l = r->cpu[cpu].l;
	bool exit;
	u8 vec = 0;

	assert_int_equal(lapic_ack(l), VEC);
	r->cpu[cpu].wakes[IRQ_WAKE_IOAPIC_EOI] = 0;
	rig_write(l, APIC_EOI, 0);
	exit = lapic_pending_eoi_valid(l);
	assert_int_equal(exit, r->cpu[cpu].wakes[IRQ_WAKE_IOAPIC_EOI] != 0);
	assert_int_equal(lapic_take_pending_eoi(l, &vec), exit);
	if (exit)
		assert_int_equal(vec, VEC);
	assert_false(lapic_take_pending_eoi(l, &vec));
	return exit;
}

T(split_level_exits_once)
{
	struct rig *r = rig_new(IRQCHIP_SPLIT, 2);

	route_msi(r, 5, 0, VEC | 0x8000);
	rig_scan(r);
	assert_int_equal(rig_line(r, 5, 1), 1);
	assert_true(take_and_eoi(r, 0));
	rig_free(r);
}

T(split_edge_does_not)
{
	struct rig *r = rig_new(IRQCHIP_SPLIT, 2);

	route_msi(r, 5, 0, VEC);
	rig_scan(r);
	assert_int_equal(rig_line(r, 5, 1), 1);
	assert_false(take_and_eoi(r, 0));
	rig_free(r);
}

T(split_tmr_is_not_consulted)
{
	struct rig *r = rig_new(IRQCHIP_SPLIT, 1);

	route_msi(r, 5, 0, VEC | 0x8000);
	rig_scan(r);
	lapic_set_irq(r->cpu[0].l, VEC, false);
	assert_true(take_and_eoi(r, 0));
	rig_free(r);
}

T(split_unreserved_gsi_does_not)
{
	struct rig *r = rig_new(IRQCHIP_SPLIT, 1);

	level_msi_up(r, 24, 0);	/* pins 0..23 are reserved */
	assert_false(take_and_eoi(r, 0));
	level_msi_up(r, 23, 0);
	assert_true(take_and_eoi(r, 0));
	rig_free(r);
}

T(rerouted_in_service_is_stale)
{
	struct rig *r = rig_new(IRQCHIP_SPLIT, 2);
	struct lapic *l = r->cpu[0].l;
	u8 vec;

	level_msi_up(r, 5, 0);
	assert_int_equal(lapic_ack(l), VEC);
	route_msi(r, 5, 1, VEC | 0x8000);
	rig_scan(r);
	assert_int_equal(l->highest_stale, VEC);
	rig_write(l, APIC_EOI, 0);
	assert_int_equal(r->cpu[0].wakes[IRQ_WAKE_SCAN], 1);
	/* the exit comes before the re-scan in the same pass */
	assert_true(lapic_take_pending_eoi(l, &vec));
	rig_scan(r);
	lapic_set_irq(l, VEC, false);
	assert_false(take_and_eoi(r, 0));
	rig_free(r);
}

T(dropped_when_no_longer_wanted)
{
	struct rig *r = rig_new(IRQCHIP_SPLIT, 1);
	struct lapic *l = r->cpu[0].l;
	u8 vec;

	level_msi_up(r, 5, 0);
	lapic_ack(l);
	rig_write(l, APIC_EOI, 0);
	route_msi(r, 5, 0, VEC);	/* edge now */
	rig_scan(r);
	assert_false(lapic_take_pending_eoi(l, &vec));
	rig_free(r);
}

T(all_vectors_are_reportable)
{
	struct rig *r = rig_new(IRQCHIP_SPLIT, 1);
	struct lapic *l = r->cpu[0].l;

	for (u32 v = 16; v < 256; v++) {
		u8 got = 0;

		route_msi(r, 5, 0, v | 0x8000);
		rig_scan(r);
		rig_line(r, 5, 1);
		assert_int_equal(lapic_ack(l), v);
		lapic_eoi(l);
		assert_true(lapic_take_pending_eoi(l, &got));
		assert_int_equal(got, v);
	}
	rig_free(r);
}

/* -- the table of docs/kvm-apic.md 2.4, with our extension for the full irqchip (2.5a) -- */

enum { BIT_LEFT, BIT_BY_GUEST, BIT_FORCED };

static const struct {
	enum irqchip_mode chip;
	enum eoi_mode mode;
	bool lvr;
	u8 set;			/* how SPIV.12 is set */
	bool spiv;		/* is it set then? */
	bool seen;		/* exit 26, or Remote IRR cleared */
} table[] = {
	{ IRQCHIP_FULL, EOI_QUIRKED, false, BIT_LEFT, false, true },
	{ IRQCHIP_FULL, EOI_QUIRKED, false, BIT_BY_GUEST, false, true },
	{ IRQCHIP_FULL, EOI_QUIRKED, false, BIT_FORCED, true, false },
	{ IRQCHIP_FULL, EOI_SUPPRESS_DISABLED, false, BIT_BY_GUEST, false, true },
	{ IRQCHIP_FULL, EOI_SUPPRESS_DISABLED, false, BIT_FORCED, true, true },
	{ IRQCHIP_FULL, EOI_SUPPRESS_ENABLED, true, BIT_LEFT, false, true },
	{ IRQCHIP_FULL, EOI_SUPPRESS_ENABLED, true, BIT_BY_GUEST, true, false },
	{ IRQCHIP_SPLIT, EOI_QUIRKED, true, BIT_LEFT, false, true },
	{ IRQCHIP_SPLIT, EOI_QUIRKED, true, BIT_BY_GUEST, true, true },
	{ IRQCHIP_SPLIT, EOI_SUPPRESS_ENABLED, true, BIT_LEFT, false, true },
	{ IRQCHIP_SPLIT, EOI_SUPPRESS_ENABLED, true, BIT_BY_GUEST, true, false },
	{ IRQCHIP_SPLIT, EOI_SUPPRESS_DISABLED, false, BIT_BY_GUEST, false, true },
	{ IRQCHIP_SPLIT, EOI_SUPPRESS_DISABLED, false, BIT_FORCED, true, true },
};

static void force_spiv(struct lapic *l)
{
	u8 s[LAPIC_STATE_SIZE];
	u32 v = 0x1ff | SPIV_DIRECTED_EOI;

	lapic_get_state(l, s, false);
	memcpy(s + APIC_SPIV, &v, 4);
	assert_int_equal(lapic_set_state(l, s, false), 0);
}

static void suppress_one(u32 i, bool x2apic)
{
	struct rig *r = rig_new(table[i].chip, 1);
	struct lapic *l = r->cpu[0].l;
	bool seen;

	rig_set_eoi_mode(r->chip, table[i].mode);
	lapic_set_features(l, LAPIC_HAS_X2APIC, 48);
	if (x2apic)
		rig_x2apic(l);
	assert_int_equal(!!(lapic_get(l, APIC_LVR) & LVR_DIRECTED_EOI), table[i].lvr);
	if (table[i].set == BIT_BY_GUEST)
		lapic_reg_write(l, APIC_SPIV, 0x1ff | SPIV_DIRECTED_EOI);
	else if (table[i].set == BIT_FORCED)
		force_spiv(l);
	assert_int_equal(!!(lapic_get(l, APIC_SPIV) & SPIV_DIRECTED_EOI), table[i].spiv);
	if (table[i].chip == IRQCHIP_SPLIT)
		route_msi(r, 5, 0, VEC | 0x8000);
	else
		rig_rte(r, 5, VEC | RTE_LEVEL, 0);
	rig_scan(r);
	assert_true(rig_line(r, 5, 1) >= 1);	/* the PIC counts, too */
	rig_line(r, 5, 0);
	assert_int_equal(lapic_ack(l), VEC);
	assert_int_equal(lapic_reg_write(l, APIC_EOI, 0), 0);
	if (table[i].chip == IRQCHIP_SPLIT)
		seen = lapic_pending_eoi_valid(l);
	else
		seen = !rig_remote_irr(r, 5);
	assert_int_equal(seen, table[i].seen);
	rig_free(r);
}

T(suppress_table)
{
	for (u32 i = 0; i < ARRAY_SIZE(table); i++) {
		suppress_one(i, false);
		suppress_one(i, true);	/* the APIC's mode does not matter */
	}
}

T(no_offer_without_x2apic)
{
	struct rig *r = rig_new(IRQCHIP_SPLIT, 1);
	struct lapic *l = r->cpu[0].l;

	rig_set_eoi_mode(r->chip, EOI_SUPPRESS_ENABLED);
	lapic_set_features(l, 0, 48);
	assert_int_equal(rig_read(l, APIC_LVR), 0x00050014);
	lapic_set_features(l, LAPIC_HAS_X2APIC, 48);
	assert_int_equal(rig_read(l, APIC_LVR), 0x01050014);
	rig_free(r);
}

/* One CPU whose guest keeps its EOIs local. */
static struct rig *suppressing(enum irqchip_mode mode)
{
	struct rig *r = rig_new(mode, 1);
	struct lapic *l = r->cpu[0].l;

	rig_set_eoi_mode(r->chip, EOI_SUPPRESS_ENABLED);
	lapic_set_features(l, LAPIC_HAS_X2APIC, 48);
	rig_write(l, APIC_SPIV, 0x1ff | SPIV_DIRECTED_EOI);
	return r;
}

/* docs/kvm-apic.md 2.6: local EOI while the line is high, service, EOIR. No storm. */
T(credential_guard_full)
{
	struct rig *r = suppressing(IRQCHIP_FULL);
	struct lapic *l = r->cpu[0].l;
	u32 v = VEC;

	assert_int_equal(rig_io_read(r, 1), 0x00170020);
	rig_rte(r, 10, VEC | RTE_LEVEL, 0);
	assert_int_equal(irqchip_ack_register(r->chip, 10), 0);
	rig_scan(r);
	irqchip_set_irq(r->chip, 10, 1, IRQ_SOURCE_RESAMPLE, false);
	assert_int_equal(lapic_ack(l), VEC);
	rig_write(l, APIC_EOI, 0);
	assert_true(rig_remote_irr(r, 10));
	assert_int_equal(lapic_pending_vector(l), -1);
	assert_int_equal(r->acks[10], 0);	/* the device must not be re-armed yet */
	irqchip_mmio_write(r->chip, IOAPIC_BASE + 0x40, &v, 4);
	assert_false(rig_remote_irr(r, 10));
	assert_int_equal(r->acks[10], 1);
	assert_int_equal(lapic_pending_vector(l), -1);
	rig_free(r);
}

T(eoir_serves_a_high_line_again)
{
	struct rig *r = suppressing(IRQCHIP_FULL);
	struct lapic *l = r->cpu[0].l;
	u32 v = VEC;

	rig_rte(r, 10, VEC | RTE_LEVEL, 0);
	rig_line(r, 10, 1);
	lapic_ack(l);
	lapic_eoi(l);
	irqchip_mmio_write(r->chip, IOAPIC_BASE + 0x40, &v, 4);
	assert_int_equal(lapic_ack(l), VEC);
	assert_true(rig_remote_irr(r, 10));
	rig_free(r);
}

T(quirked_suppression_still_acks)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	force_spiv(l);
	rig_rte(r, 10, VEC | RTE_LEVEL, 0);
	irqchip_ack_register(r->chip, 10);
	rig_scan(r);
	irqchip_set_irq(r->chip, 10, 1, IRQ_SOURCE_RESAMPLE, false);
	lapic_ack(l);
	lapic_eoi(l);
	assert_int_equal(r->acks[10], 1);
	assert_true(rig_remote_irr(r, 10));
	rig_free(r);
}

T(unhandled_vector_does_nothing)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);
	struct lapic *l = r->cpu[1].l;

	/* entry for vCPU 0; the same vector as an edge IPI on vCPU 1 */
	rig_rte(r, 10, VEC | RTE_LEVEL, 0);
	rig_line(r, 10, 1);
	lapic_set_irq(l, VEC, true);
	lapic_ack(l);
	lapic_eoi(l);
	assert_true(rig_remote_irr(r, 10));
	rig_free(r);
}

RIG_BOTH_KINDS
