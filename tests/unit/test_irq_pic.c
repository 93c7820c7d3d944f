/* SPDX-License-Identifier: MIT */
/* The 8259A pair. */
/* Run: build/tests/unit/test_irq_pic [NAME...] */
#include "irq_rig.h"

#include <errno.h>

/* The PC's initialisation: vectors 0x20 and 0x28, cascade on 2, everything open. */
static struct rig *pc(u8 icw4)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);

	rig_out(r, 0x20, 0x11);
	rig_out(r, 0x21, 0x20);
	rig_out(r, 0x21, 0x04);
	rig_out(r, 0x21, icw4);
	rig_out(r, 0xa0, 0x11);
	rig_out(r, 0xa1, 0x28);
	rig_out(r, 0xa1, 0x02);
	rig_out(r, 0xa1, icw4);
	rig_out(r, 0x21, 0);
	rig_out(r, 0xa1, 0);
	rig_clear(r);
	return r;
}

static void pulse(struct rig *r, u32 gsi)
{
	rig_line(r, gsi, 1);
	rig_line(r, gsi, 0);
}

T(edge_cycle)
{
	struct rig *r = pc(1);

	assert_false(irqchip_extint_pending(r->chip));
	pulse(r, 4);
	assert_true(irqchip_extint_pending(r->chip));
	assert_int_equal(r->cpu[0].wakes[IRQ_WAKE_EVENT], 1);	/* the BSP's LINT0 is ExtINT */
	assert_int_equal(r->cpu[1].wakes[IRQ_WAKE_EVENT], 0);
	assert_int_equal(rig_in(r, 0x20), 0x10);
	assert_int_equal(irqchip_extint_ack(r->chip), 0x24);
	assert_int_equal(rig_in(r, 0x20), 0);
	rig_out(r, 0x20, 0x0b);					/* read ISR */
	assert_int_equal(rig_in(r, 0x20), 0x10);
	assert_false(irqchip_extint_pending(r->chip));
	rig_out(r, 0x20, 0x20);
	assert_int_equal(rig_in(r, 0x20), 0);
	rig_free(r);
}

T(line_result)
{
	struct rig *r = pc(1);

	assert_int_equal(rig_line(r, 4, 1), 1);
	rig_line(r, 4, 0);
	assert_int_equal(rig_line(r, 4, 1), 0);		/* coalesced */
	rig_line(r, 4, 0);
	rig_out(r, 0x21, 0x10);
	assert_int_equal(rig_line(r, 4, 1), -1);	/* masked, also at the I/O APIC */
	rig_free(r);
}

T(fixed_priority)
{
	struct rig *r = pc(1);

	pulse(r, 5);
	pulse(r, 3);
	assert_int_equal(irqchip_extint_ack(r->chip), 0x23);
	assert_false(irqchip_extint_pending(r->chip));	/* 5 waits for 3's EOI */
	pulse(r, 1);
	assert_int_equal(irqchip_extint_ack(r->chip), 0x21);
	rig_out(r, 0x20, 0x20);
	rig_out(r, 0x20, 0x20);
	assert_int_equal(irqchip_extint_ack(r->chip), 0x25);
	rig_free(r);
}

T(cascade)
{
	struct rig *r = pc(1);

	pulse(r, 12);
	assert_int_equal(irqchip_extint_ack(r->chip), 0x2c);
	pulse(r, 9);		/* higher in the slave, but 2 is in service */
	assert_false(irqchip_extint_pending(r->chip));
	rig_out(r, 0x20, 0x62);
	assert_true(irqchip_extint_pending(r->chip));
	assert_int_equal(irqchip_extint_ack(r->chip), 0x29);
	rig_out(r, 0xa0, 0x61);
	rig_out(r, 0xa0, 0x64);
	rig_out(r, 0x20, 0x62);
	rig_out(r, 0xa0, 0x0b);
	assert_int_equal(rig_in(r, 0xa0), 0);
	rig_free(r);
}

T(special_fully_nested)
{
	struct rig *r = pc(0x11);

	pulse(r, 12);
	assert_int_equal(irqchip_extint_ack(r->chip), 0x2c);
	pulse(r, 9);
	assert_int_equal(irqchip_extint_ack(r->chip), 0x29);
	rig_free(r);
}

T(special_mask)
{
	struct rig *r = pc(1);

	pulse(r, 3);
	assert_int_equal(irqchip_extint_ack(r->chip), 0x23);
	pulse(r, 6);
	assert_false(irqchip_extint_pending(r->chip));
	rig_out(r, 0x20, 0x68);		/* special mask mode, then mask the one in service */
	rig_out(r, 0x21, 0x08);
	assert_int_equal(irqchip_extint_ack(r->chip), 0x26);
	rig_free(r);
}

T(masks)
{
	struct rig *r = pc(1);

	rig_out(r, 0x21, 0x10);
	assert_int_equal(rig_in(r, 0x21), 0x10);
	pulse(r, 4);
	assert_false(irqchip_extint_pending(r->chip));
	rig_out(r, 0x21, 0);
	assert_int_equal(irqchip_extint_ack(r->chip), 0x24);
	rig_free(r);
}

T(spurious)
{
	struct rig *r = pc(1);

	assert_int_equal(irqchip_extint_ack(r->chip), 0x27);
	pulse(r, 12);
	rig_out(r, 0xa1, 0xff);		/* the slave's request vanishes after the cascade rose */
	assert_int_equal(irqchip_extint_ack(r->chip), 0x2f);
	rig_free(r);
}

T(elcr)
{
	struct rig *r = pc(1);

	rig_out(r, 0x4d0, 0xff);
	rig_out(r, 0x4d1, 0xff);
	assert_int_equal(rig_in(r, 0x4d0), 0xf8);
	assert_int_equal(rig_in(r, 0x4d1), 0xde);
	rig_line(r, 5, 1);
	assert_int_equal(irqchip_extint_ack(r->chip), 0x25);
	rig_out(r, 0x20, 0x20);
	assert_true(irqchip_extint_pending(r->chip));	/* still high */
	rig_line(r, 5, 0);
	assert_false(irqchip_extint_pending(r->chip));
	rig_free(r);
}

T(auto_eoi)
{
	struct rig *r = pc(3);

	pulse(r, 4);
	assert_int_equal(irqchip_extint_ack(r->chip), 0x24);
	rig_out(r, 0x20, 0x0b);
	assert_int_equal(rig_in(r, 0x20), 0);
	rig_out(r, 0x20, 0x80);		/* rotate */
	pulse(r, 4);
	irqchip_extint_ack(r->chip);
	pulse(r, 4);
	pulse(r, 5);
	assert_int_equal(irqchip_extint_ack(r->chip), 0x25);
	rig_free(r);
}

T(rotation)
{
	struct rig *r = pc(1);

	rig_out(r, 0x20, 0xc3);		/* 3 is the lowest: 4 first */
	pulse(r, 3);
	pulse(r, 4);
	assert_int_equal(irqchip_extint_ack(r->chip), 0x24);
	rig_out(r, 0x20, 0xa0);		/* rotate on EOI: 4 becomes the lowest */
	assert_int_equal(irqchip_extint_ack(r->chip), 0x23);
	rig_out(r, 0x20, 0xe3);
	pulse(r, 0);
	pulse(r, 7);
	assert_int_equal(irqchip_extint_ack(r->chip), 0x27);
	rig_free(r);
}

T(poll)
{
	struct rig *r = pc(1);

	pulse(r, 6);
	rig_out(r, 0x20, 0x0c);
	assert_int_equal(rig_in(r, 0x20), 0x86);
	assert_false(irqchip_extint_pending(r->chip));
	rig_out(r, 0x20, 0x0c);
	assert_int_equal(rig_in(r, 0x20) & 0x80, 0);
	rig_free(r);
}

T(eoi_acks_notifiers)
{
	struct rig *r = pc(1);

	irqchip_ack_register(r->chip, 10);
	rig_out(r, 0x4d1, 0x04);
	irqchip_set_irq(r->chip, 10, 1, IRQ_SOURCE_RESAMPLE, false);
	assert_int_equal(irqchip_extint_ack(r->chip), 0x2a);
	rig_out(r, 0xa0, 0x20);
	assert_int_equal(r->acks[10], 1);
	rig_out(r, 0x20, 0x20);
	assert_false(irqchip_extint_pending(r->chip));
	rig_free(r);
}

T(ports)
{
	struct rig *r = pc(1), *s = rig_new(IRQCHIP_SPLIT, 1);
	u32 v = 0x55555555;
	u8 b = 0;

	assert_int_equal(irqchip_pio_read(r->chip, 0x20, &v, 2), 0);
	assert_int_equal(v, 0x55550000);
	/* leaves the region */
	assert_int_equal(irqchip_pio_read(r->chip, 0x21, &v, 2), -ENOENT);
	assert_int_equal(irqchip_pio_read(r->chip, 0x22, &v, 1), -ENOENT);
	assert_int_equal(irqchip_pio_write(r->chip, 0x40, &b, 1), -ENOENT);	/* no PIT yet */
	assert_int_equal(irqchip_pio_write(s->chip, 0x20, &b, 1), -ENOENT);
	assert_int_equal(irqchip_extint_ack(s->chip), -1);
	assert_false(irqchip_extint_pending(s->chip));
	rig_free(r);
	rig_free(s);
}

T(state_round_trip)
{
	struct rig *r = pc(1), *q = rig_new(IRQCHIP_FULL, 1);
	struct kvm_irqchip m = { .chip_id = 0 }, s = { .chip_id = 1 };

	pulse(r, 3);
	irqchip_extint_ack(r->chip);
	pulse(r, 12);
	pulse(r, 1);
	irqchip_get_state(r->chip, &m);
	irqchip_get_state(r->chip, &s);
	assert_int_equal(m.chip.pic.irq_base, 0x20);
	assert_int_equal(m.chip.pic.isr, 8);
	assert_int_equal(s.chip.pic.elcr_mask, 0xde);
	assert_int_equal(irqchip_set_state(q->chip, &s), 0);
	assert_int_equal(irqchip_set_state(q->chip, &m), 0);
	assert_true(irqchip_extint_pending(q->chip));
	assert_int_equal(irqchip_extint_ack(q->chip), 0x21);
	rig_out(q, 0x20, 0x61);
	assert_int_equal(irqchip_extint_ack(q->chip), 0x2c);
	rig_free(r);
	rig_free(q);
}

RIG_BOTH_KINDS
