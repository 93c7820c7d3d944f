/* SPDX-License-Identifier: MIT */
/*
 * States and messages that no hardware produces, through every door of the VMM: KVM's errno, or a
 * value the fabric can live with. Afterwards everything must still work.
 */
/* Run: build/tests/unit/test_irq_bad [NAME...] */
#include "irq_rig.h"

#include <errno.h>

#include "irq/apic_page.h"

static u64 seed = 0xbadc0ffee0ddf00dull;

static u64 rnd64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void fill(void *p, size_t n)
{
	u8 *b = p;
	u32 how = rnd64() % 4;

	for (size_t i = 0; i < n; i++)
		b[i] = how == 0 ? 0xff : how == 1 ? 0 : (u8)(rnd64() >> 24);
}

static void lapic_with(struct lapic *l, u32 offset, u32 v)
{
	u8 page[LAPIC_STATE_SIZE];

	assert_int_equal(lapic_get_state(l, page, false), 0);
	memcpy(page + offset, &v, 4);
	assert_int_equal(lapic_set_state(l, page, false), 0);
}

/* -- KVM_SET_LAPIC -- */

T(isr_bits_out_of_order_are_served_highest_first)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	/* Three of one class in service at once, and one lower. */
	lapic_with(l, APIC_ISR + 0x20, BIT(0) | BIT(5) | BIT(9));	/* 0x40 0x45 0x49 */
	lapic_with(l, APIC_ISR + 0x10, BIT(1));				/* 0x21 */
	assert_int_equal(rig_read(l, APIC_PPR), 0x40);
	rig_write(l, APIC_EOI, 0);
	assert_int_equal(rig_read(l, APIC_ISR + 0x20), BIT(0) | BIT(5));
	rig_write(l, APIC_EOI, 0);
	rig_write(l, APIC_EOI, 0);
	assert_int_equal(rig_read(l, APIC_PPR), 0x20);
	rig_write(l, APIC_EOI, 0);
	assert_int_equal(rig_read(l, APIC_PPR), 0);
	rig_free(r);
}

T(vectors_below_16_do_not_block_the_others)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	lapic_with(l, APIC_IRR, 0xffff);
	assert_int_equal(lapic_pending_vector(l), -1);
	assert_int_equal(lapic_ack(l), -1);
	lapic_set_irq(l, 0x31, false);
	assert_int_equal(lapic_ack(l), 0x31);
	rig_write(l, APIC_EOI, 0);
	lapic_with(l, APIC_ISR, 0xffff);
	assert_int_equal(rig_read(l, APIC_PPR), 0);
	lapic_set_irq(l, 0x32, false);
	assert_int_equal(lapic_ack(l), 0x32);
	rig_free(r);
}

T(tmr_garbage_is_gone_with_the_next_message)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	for (u32 i = 0; i < 8; i++)
		lapic_with(l, APIC_TMR + i * 16, 0xffffffff);
	lapic_set_irq(l, 0x31, false);
	assert_false(lapic_test(l, APIC_TMR, 0x31));
	assert_true(lapic_test(l, APIC_TMR, 0x32));
	assert_int_equal(lapic_ack(l), 0x31);
	rig_write(l, APIC_EOI, 0);
	/* In service with a TMR bit that no level message set: an ordinary EOI. */
	lapic_with(l, APIC_ISR + 0x10, BIT(2));
	rig_write(l, APIC_EOI, 0);
	assert_int_equal(lapic_find_highest(l, APIC_ISR), -1);
	rig_free(r);
}

T(ids_that_do_not_match)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);
	struct lapic *l = r->cpu[1].l;
	u8 page[LAPIC_STATE_SIZE];
	u32 v = 9;

	lapic_with(l, APIC_ID, 9u << 24);	/* xAPIC: the register is the guest's to write */
	assert_int_equal(rig_read(l, APIC_ID), 9u << 24);
	assert_true(apicv_inhibits(r->chip) & BIT(APICV_INHIBIT_APIC_ID_MODIFIED));
	lapic_with(l, APIC_ID, 1u << 24);
	rig_x2apic(l);
	lapic_with(l, APIC_ID, 0x12345678);	/* x2APIC: read-only, ignored */
	assert_int_equal(lapic_get(l, APIC_ID), 1);
	lapic_with(l, APIC_LDR, 0x12345678);
	assert_int_equal(lapic_get(l, APIC_LDR), x2apic_ldr(1));
	assert_int_equal(lapic_get_state(l, page, true), 0);
	memcpy(page + APIC_ID, &v, 4);
	assert_int_equal(lapic_set_state(l, page, true), -EINVAL);
	assert_int_equal(lapic_get(l, APIC_ID), 1);
	rig_free(r);
}

T(version_is_ours)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	u32 v = rig_read(r->cpu[0].l, APIC_LVR);

	lapic_with(r->cpu[0].l, APIC_LVR, 0xffffffff);
	assert_int_equal(rig_read(r->cpu[0].l, APIC_LVR), v);
	rig_free(r);
}

/* -- MSIs and routes -- */

T(msi_reserved_bits_are_ignored)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);

	/* Address bits 11:4 and 1:0, data bits 31:16 and 13:11 mean nothing. */
	assert_int_equal(irqchip_send_msi(r->chip, 0xfee01000 | 0xff3, 0, 0xffff3800 | 0x41), 1);
	assert_int_equal(lapic_ack(r->cpu[1].l), 0x41);
	/* Not even the page is looked at: KVM_SIGNAL_MSI is not a memory write. */
	assert_int_equal(irqchip_send_msi(r->chip, 0x00001000, 0xdeadbe00, 0x52), 1);
	assert_int_equal(lapic_ack(r->cpu[1].l), 0x52);
	/* With 32-bit ids the upper half counts, and its low byte must be 0. */
	rig_set_x2apic_api(r->chip, true, true);
	assert_true(irqchip_send_msi(r->chip, 0xfee01000, 0xdeadbe00, 0x63) <= 0);
	assert_int_equal(irqchip_send_msi(r->chip, 0xfee01000, 1, 0x63), -1);
	assert_int_equal(lapic_ack(r->cpu[1].l), -1);
	rig_free(r);
}

T(delivery_modes_that_do_not_exist)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);

	for (u32 mode = 0; mode < 8; mode++) {
		int ret = irqchip_send_msi(r->chip, 0xfee00000, 0, 0x55 | mode << 8);

		assert_true(ret == (mode == APIC_EXTINT ? 0 : 1));
	}
	assert_int_equal(lapic_ack(r->cpu[0].l), 0x55);
	rig_free(r);
}

T(malformed_routes_change_nothing)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct kvm_irq_routing_entry e[8];

	for (u32 i = 0; i < 20000; i++) {
		u32 n = rnd64() % 8;
		int ret;

		fill(e, sizeof(e));
		for (u32 k = 0; k < n && rnd64() % 8; k++) {
			e[k].gsi = rnd64() % 30;
			e[k].type = rnd64() % 6;
			e[k].flags = rnd64() % 4 ? 0 : (u32)rnd64();
			e[k].u.irqchip.irqchip = rnd64() % 4;
			e[k].u.irqchip.pin = rnd64() % 26;
		}
		ret = irqchip_set_routing(r->chip, e, n);
		assert_true(ret == 0 || ret == -EINVAL);
		irqchip_set_irq(r->chip, rnd64() % 30, rnd64() & 1, rnd64() % 2, rnd64() & 1);
	}
	rig_free(r);
}

/* -- everything at once -- */

static void check(struct rig *r)
{
	u32 rtc = 0;

	for (u32 i = 0; i < r->n; i++) {
		struct lapic *l = r->cpu[i].l;
		u32 ppr = lapic_get(l, APIC_PPR), tpr = lapic_get(l, APIC_TPR) & 0xff;
		int isr = lapic_find_highest(l, APIC_ISR);
		u32 isrv = isr < 0 ? 0 : (u32)isr & 0xf0;

		assert_int_equal(ppr, (tpr & 0xf0) >= isrv ? tpr : isrv);
		if (lapic_find_highest(l, APIC_IRR) >= 0)
			assert_true(lapic_has_pending(l));
		assert_true(l->divide && l->divide <= 128);
		assert_true(apicv_consistent(l) || r->cpu[i].wakes[IRQ_WAKE_APICV]);
		rtc += l->rtc_vector >= 0;
	}
	for (u32 i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		if (r->chip->ioapic.e[i].remote_irr)
			assert_true(r->chip->ioapic.e[i].level);
	assert_int_equal(rtc, r->chip->ioapic.rtc_pending);
}

static void use(struct rig *r)
{
	struct lapic *l = r->cpu[rnd64() % r->n].l;
	u32 v = (u32)rnd64();
	u64 v64;
	u8 b = (u8)rnd64();

	rig_now += rnd64() % 3000000;
	irqchip_timer(r->chip);
	for (u32 i = 0; i < r->n; i++) {
		lapic_poll_timer(r->cpu[i].l);
		lapic_scan(r->cpu[i].l);
		apicv_update(r->cpu[i].l);
		r->cpu[i].wakes[IRQ_WAKE_APICV] = 0;
	}
	lapic_ack(l);
	lapic_mmio_write(l, (v >> 8) & 0xff0, &v, 4);
	lapic_mmio_read(l, (v >> 4) & 0xff0, &v, 4);
	lapic_msr_read(l, 0x800 + (v & 0x3f), &v64);
	lapic_msr_write(l, 0x800 + (v >> 8 & 0x3f), v & 0xff);
	irqchip_pio_write(r->chip, 0x40 + (v & 3), &b, 1);
	irqchip_pio_read(r->chip, 0x40 + (v & 3), &b, 1);
	irqchip_pio_read(r->chip, 0x61, &b, 1);
	irqchip_pio_write(r->chip, v & 1 ? 0x20 : 0xa1, &b, 1);
	irqchip_pio_read(r->chip, v & 2 ? 0x20 : 0xa0, &b, 1);
	if (irqchip_extint_pending(r->chip))
		irqchip_extint_ack(r->chip);
	rig_io_write(r, v % 0x42, v);
	irqchip_set_irq(r->chip, v % 26, v & 1, v >> 1 & 1, v >> 2 & 1);
	lapic_eoi(l);
}

T(any_state_leaves_a_working_fabric)
{
	for (u32 round = 0; round < 40; round++) {
		struct rig *r = rig_new(IRQCHIP_FULL, 3);

		irqchip_pit_create(r->chip, KVM_PIT_SPEAKER_DUMMY);
		irqchip_pit_reinject(r->chip, round & 1);
		for (u32 i = 0; i < 500; i++) {
			struct lapic *l = r->cpu[rnd64() % r->n].l;
			struct kvm_pit_state2 pit;
			struct kvm_irqchip chip;
			u8 page[LAPIC_STATE_SIZE];

			switch (rnd64() % 5) {
			case 0:
				fill(page, sizeof(page));
				lapic_set_state(l, page, rnd64() & 1);
				break;
			case 1:
				fill(&chip, sizeof(chip));
				chip.chip_id = rnd64() % 4;
				assert_int_equal(irqchip_set_state(r->chip, &chip),
						 chip.chip_id == 3 ? -EINVAL : 0);
				break;
			case 2:
				fill(&pit, sizeof(pit));
				assert_int_equal(irqchip_pit_set(r->chip, &pit), 0);
				break;
			case 3:
				lapic_set_base(l, rnd64() & 0xfffffffff, true);
				break;
			default:
				irqchip_send_msi(r->chip, (u32)rnd64(), (u32)rnd64(), (u32)rnd64());
			}
			use(r);
			check(r);
		}
		/* Put in order again, it delivers. */
		for (u32 i = 0; i < r->n; i++) {
			lapic_reset(r->cpu[i].l, false);
			assert_int_equal(lapic_reg_write(r->cpu[i].l, APIC_SPIV, 0x1ff), 0);
		}
		assert_int_equal(irqchip_send_msi(r->chip, 0xfee02000, 0, 0x77), 1);
		assert_int_equal(lapic_ack(r->cpu[2].l), 0x77);
		rig_free(r);
	}
}

RIG_BOTH_KINDS
