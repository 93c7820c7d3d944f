/* SPDX-License-Identifier: MIT */
/* GSI routing and MSI (docs/kvm-abi.md 5.2). */
/* Run: build/tests/unit/test_irq_routing [NAME...] */
#include "irq_rig.h"

#include <errno.h>

static struct kvm_irq_routing_entry pin(u32 gsi, u32 chip, u32 n)
{
	struct kvm_irq_routing_entry e = { .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP };

	e.u.irqchip.irqchip = chip;
	e.u.irqchip.pin = n;
	return e;
}

static struct kvm_irq_routing_entry msi(u32 gsi, u32 lo, u32 hi, u32 data)
{
	struct kvm_irq_routing_entry e = { .gsi = gsi, .type = KVM_IRQ_ROUTING_MSI };

	e.u.msi.address_lo = lo;
	e.u.msi.address_hi = hi;
	e.u.msi.data = data;
	return e;
}

static int set(struct rig *r, struct kvm_irq_routing_entry a, struct kvm_irq_routing_entry b)
{
	struct kvm_irq_routing_entry e[2] = { a, b };

	return irqchip_set_routing(r->chip, e, 2);
}

T(rules)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1), *s = rig_new(IRQCHIP_SPLIT, 1);
	struct kvm_irq_routing_entry e, m = msi(30, 0xfee00000, 0, 0x40);

	assert_int_equal(set(r, pin(0, 2, 2), m), 0);
	assert_int_equal(set(r, pin(0, 2, 24), m), -EINVAL);
	assert_int_equal(set(r, pin(0, 0, 8), m), -EINVAL);
	assert_int_equal(set(r, pin(0, 1, 7), m), 0);
	assert_int_equal(set(r, pin(0, 3, 0), m), -EINVAL);
	assert_int_equal(set(r, pin(4096, 2, 0), m), -EINVAL);
	assert_int_equal(set(r, pin(4095, 2, 0), m), 0);
	assert_int_equal(set(r, pin(5, 2, 1), pin(5, 2, 2)), -EINVAL);	/* same chip twice */
	assert_int_equal(set(r, pin(5, 2, 1), pin(5, 0, 1)), 0);
	assert_int_equal(set(r, pin(5, 0, 1), pin(5, 1, 1)), 0);
	assert_int_equal(set(r, pin(30, 2, 1), m), -EINVAL);		/* MSI shares with none */
	assert_int_equal(set(r, m, m), -EINVAL);
	assert_int_equal(set(s, pin(0, 2, 0), m), -EINVAL);		/* split: no pins */
	assert_int_equal(irqchip_set_routing(s->chip, &m, 1), 0);
	e = m;
	e.flags = KVM_MSI_VALID_DEVID;
	assert_int_equal(irqchip_set_routing(r->chip, &e, 1), 0);
	e.flags = 2;
	assert_int_equal(irqchip_set_routing(r->chip, &e, 1), -EINVAL);
	e = pin(0, 2, 0);
	e.flags = 1;
	assert_int_equal(irqchip_set_routing(r->chip, &e, 1), -EINVAL);
	e = m;
	e.type = 9;
	assert_int_equal(irqchip_set_routing(r->chip, &e, 1), -EINVAL);
	e.type = KVM_IRQ_ROUTING_HV_SINT;
	assert_int_equal(irqchip_set_routing(r->chip, &e, 1), -EINVAL);
	e = msi(3, 0xfee00000, 0x101, 0x40);
	assert_int_equal(irqchip_set_routing(r->chip, &e, 1), 0);
	rig_set_x2apic_api(r->chip, true, false);
	assert_int_equal(irqchip_set_routing(r->chip, &e, 1), -EINVAL);
	assert_int_equal(irqchip_set_routing(r->chip, &e, 4097), -EINVAL);
	assert_int_equal(irqchip_set_routing(r->chip, NULL, 0), 0);
	assert_int_equal(rig_line(r, 0, 1), -1);	/* empty table */
	rig_free(r);
	rig_free(s);
}

T(failure_keeps_the_old_table)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);

	rig_rte(r, 20, 0x44, 0);
	assert_int_equal(set(r, pin(0, 2, 24), pin(1, 2, 1)), -EINVAL);
	assert_int_equal(rig_line(r, 20, 1), 1);
	rig_free(r);
}

T(default_table)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);

	for (u32 i = 0; i < 24; i++)
		rig_rte(r, i, 0x30 + i, 0);
	for (u32 i = 0; i < 24; i++) {
		/* both controllers below 16; pin 2 of the master is the cascade's */
		assert_int_equal(rig_line(r, i, 1), i < 16 ? 2 : 1);
		assert_true(lapic_test(r->cpu[0].l, APIC_IRR, (u8)(0x30 + i)));
	}
	assert_int_equal(rig_line(r, 24, 1), -1);
	rig_free(r);
}

T(qemu_irq0_override)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);

	assert_int_equal(set(r, pin(0, 2, 2), pin(0, 0, 0)), 0);
	rig_rte(r, 2, 0x42, 0);
	assert_int_equal(rig_line(r, 0, 1), 2);
	assert_int_equal(lapic_pending_vector(r->cpu[0].l), 0x42);
	assert_int_equal(routing_pin_gsi(r->chip, KVM_IRQCHIP_IOAPIC, 2), 0);
	assert_int_equal(routing_pin_gsi(r->chip, KVM_IRQCHIP_IOAPIC, 0), -1);
	assert_false(irqchip_gsi_is_msi(r->chip, 0));
	rig_free(r);
}

T(msi_fields)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 4);

	for (u32 i = 0; i < 4; i++)
		rig_write(r->cpu[i].l, APIC_LDR, 1u << (24 + i));
	assert_int_equal(irqchip_send_msi(r->chip, 0xfee02000, 0, 0x4041), 1);
	assert_true(lapic_test(r->cpu[2].l, APIC_IRR, 0x41));
	assert_false(lapic_test(r->cpu[2].l, APIC_TMR, 0x41));
	assert_int_equal(irqchip_send_msi(r->chip, 0xfee02000, 0, 0x8041), 1);	/* level */
	assert_true(lapic_test(r->cpu[2].l, APIC_TMR, 0x41));
	assert_int_equal(irqchip_send_msi(r->chip, 0xfee03004, 0, 0x42), 2);	/* logical */
	assert_int_equal(irqchip_send_msi(r->chip, 0xfee0f00c, 0, 0x43), 1);	/* + redirect */
	assert_int_equal(irqchip_send_msi(r->chip, 0xfee01000, 0, 0x400), 1);	/* NMI */
	assert_int_equal(lapic_take_events(r->cpu[1].l, ~0u, NULL), LAPIC_EV_NMI);
	assert_int_equal(irqchip_send_msi(r->chip, 0xfee09000, 0, 0x44), 0);	/* absent */
	/* address_hi counts in the 32-bit format only */
	assert_int_equal(irqchip_send_msi(r->chip, 0xfee02000, 0x101, 0x45), 1);
	rig_set_x2apic_api(r->chip, true, true);
	assert_int_equal(irqchip_send_msi(r->chip, 0xfee02000, 0x101, 0x45), -1);
	assert_int_equal(irqchip_send_msi(r->chip, 0xfee02000, 0x100, 0x45), 0);
	rig_free(r);
}

T(msi_line)
{
	struct rig *r = rig_new(IRQCHIP_SPLIT, 1);
	struct kvm_irq_routing_entry e = msi(9, 0xfee00000, 0, 0x40);

	assert_int_equal(rig_line(r, 9, 1), -1);
	assert_int_equal(irqchip_set_routing(r->chip, &e, 1), 0);
	assert_true(irqchip_gsi_is_msi(r->chip, 9));
	assert_int_equal(rig_line(r, 9, 1), 1);
	assert_int_equal(rig_line(r, 9, 0), -1);
	rig_free(r);
}

RIG_BOTH_KINDS
