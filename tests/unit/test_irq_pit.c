/* SPDX-License-Identifier: MIT */
/* The 8254 and port 0x61. */
/* Run: build/tests/unit/test_irq_pit [NAME...] */
#include "irq_rig.h"

#include <errno.h>

#define HZ 1193182ull
#define VEC 0x30

static u64 clocks(u64 n)
{
	return n * 1000000000ull / HZ + 1;
}

static struct rig *pc(void)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);

	assert_int_equal(irqchip_pit_create(r->chip, KVM_PIT_SPEAKER_DUMMY), 0);
	rig_rte(r, 0, VEC, 0);
	rig_out(r, 0x21, 0xff);
	return r;
}

static void program(struct rig *r, u32 ch, u32 mode, u32 count)
{
	rig_out(r, 0x43, (u8)(ch << 6 | 3 << 4 | mode << 1));
	rig_out(r, (u16)(0x40 + ch), (u8)count);
	rig_out(r, (u16)(0x40 + ch), (u8)(count >> 8));
}

static u32 read16(struct rig *r, u32 ch)
{
	u32 lo = rig_in(r, (u16)(0x40 + ch));

	return lo | (u32)rig_in(r, (u16)(0x40 + ch)) << 8;
}

/* Advance and count the ticks the guest sees when it acknowledges each at once. */
static u32 run(struct rig *r, u64 until)
{
	u32 n = 0;

	while (irqchip_next_event_ns(r->chip) && irqchip_next_event_ns(r->chip) <= until) {
		rig_now = irqchip_next_event_ns(r->chip);
		irqchip_timer(r->chip);
		while (lapic_ack(r->cpu[0].l) == VEC) {
			n++;
			lapic_eoi(r->cpu[0].l);
		}
	}
	rig_now = until;
	return n;
}

T(create_rules)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1), *s = rig_new(IRQCHIP_SPLIT, 1);
	struct kvm_pit_state2 st;
	u8 v;

	assert_int_equal(irqchip_pit_get(r->chip, &st), -ENXIO);
	assert_int_equal(irqchip_pit_reinject(r->chip, false), -ENXIO);
	assert_int_equal(irqchip_pio_read(r->chip, 0x61, &v, 1), -ENOENT);
	assert_int_equal(irqchip_pit_create(r->chip, 0), 0);
	assert_int_equal(irqchip_pit_create(r->chip, 0), -EEXIST);
	assert_int_equal(irqchip_pit_create(s->chip, 0), -ENOENT);
	assert_int_equal(irqchip_pio_read(r->chip, 0x43, &v, 1), 0);
	assert_int_equal(irqchip_pio_read(r->chip, 0x61, &v, 1), -ENOENT);	/* no dummy asked */
	assert_true(apicv_inhibits(r->chip) & BIT(APICV_INHIBIT_PIT_REINJ));
	assert_int_equal(irqchip_pit_reinject(r->chip, false), 0);
	assert_false(apicv_inhibits(r->chip) & BIT(APICV_INHIBIT_PIT_REINJ));
	rig_free(r);
	rig_free(s);
}

T(periodic_ticks)
{
	struct rig *r = pc();
	u64 t0 = rig_now;

	program(r, 0, 2, 11932);	/* 100 Hz */
	assert_int_equal(run(r, t0 + 1000000000ull), 100 - 1);	/* 10.00015 ms each */
	program(r, 0, 3, 11932);
	t0 = rig_now;
	assert_int_equal(run(r, t0 + 1000200000ull), 100);
	/* the control word alone stops it */
	rig_out(r, 0x43, 0x30);
	assert_int_equal(run(r, rig_now + 1000000000ull), 0);
	rig_free(r);
}

T(one_shot)
{
	struct rig *r = pc();

	program(r, 0, 0, 1000);
	assert_int_equal(run(r, rig_now + clocks(999)), 0);
	assert_int_equal(run(r, rig_now + clocks(100000)), 1);
	program(r, 0, 4, 1000);
	assert_int_equal(run(r, rig_now + clocks(100000)), 1);
	program(r, 0, 0, 0);		/* 65536 */
	assert_int_equal(run(r, rig_now + clocks(65530)), 0);
	assert_int_equal(run(r, rig_now + clocks(10)), 1);
	rig_free(r);
}

T(reinjection)
{
	struct rig *r = pc();
	struct lapic *l = r->cpu[0].l;
	u32 n = 0;

	program(r, 0, 2, 11932);
	/* five ticks while the guest sleeps are made up for, one per EOI */
	rig_now += 5 * clocks(11932);
	irqchip_timer(r->chip);
	while (lapic_ack(l) == VEC) {
		n++;
		lapic_eoi(l);
	}
	assert_int_equal(n, 5);
	irqchip_pit_reinject(r->chip, false);
	rig_now += 5 * clocks(11932);
	irqchip_timer(r->chip);
	for (n = 0; lapic_ack(l) == VEC; n++)
		lapic_eoi(l);
	assert_int_equal(n, 1);
	irqchip_pit_reinject(r->chip, true);
	/* masked for a while: what was lost then stays lost */
	rig_rte(r, 0, VEC | RTE_MASKED, 0);
	rig_now += 5 * clocks(11932);
	irqchip_timer(r->chip);
	rig_rte(r, 0, VEC, 0);
	rig_now += clocks(11932);
	irqchip_timer(r->chip);
	for (n = 0; lapic_ack(l) == VEC; n++)
		lapic_eoi(l);
	assert_int_equal(n, 1);
	rig_free(r);
}

T(counting)
{
	struct rig *r = pc();
	u64 t0;

	program(r, 2, 0, 0x8000);
	t0 = rig_now;
	assert_int_equal(read16(r, 2), 0x8000);
	rig_now = t0 + clocks(0x1000);
	assert_int_equal(read16(r, 2), 0x7000);
	assert_int_equal(rig_in(r, 0x61) & 0x20, 0);
	rig_now = t0 + clocks(0x8000);
	assert_int_equal(rig_in(r, 0x61) & 0x20, 0x20);
	rig_now = t0 + clocks(0x8002);
	assert_int_equal(read16(r, 2), 0xfffe);		/* wraps on */
	program(r, 2, 2, 1000);
	t0 = rig_now;
	rig_now = t0 + clocks(2300);
	assert_int_equal(read16(r, 2), 700);
	program(r, 2, 3, 1000);
	t0 = rig_now;
	rig_now = t0 + clocks(100);
	assert_int_equal(read16(r, 2), 800);
	assert_int_equal(rig_in(r, 0x61) & 0x20, 0x20);
	rig_now = t0 + clocks(600);
	assert_int_equal(rig_in(r, 0x61) & 0x20, 0);
	rig_free(r);
}

T(latches)
{
	struct rig *r = pc();
	u64 t0 = rig_now;

	program(r, 0, 2, 50000);
	rig_now = t0 + clocks(1000);
	rig_out(r, 0x43, 0x00);			/* latch channel 0 */
	rig_now = t0 + clocks(2000);
	rig_out(r, 0x43, 0x00);			/* a second one is ignored */
	assert_int_equal(read16(r, 0), 49000);
	assert_int_equal(read16(r, 0), 48000);
	rig_out(r, 0x43, 0xe2);			/* read back status of channel 0 */
	assert_int_equal(rig_in(r, 0x40), 0x80 | 3 << 4 | 2 << 1);
	rig_out(r, 0x43, 0xc2);			/* status and count: status first */
	assert_int_equal(rig_in(r, 0x40), 0x80 | 3 << 4 | 2 << 1);
	assert_int_equal(read16(r, 0), 48000);
	rig_out(r, 0x43, 0x14);			/* low byte only */
	rig_out(r, 0x40, 200);
	assert_int_equal(rig_in(r, 0x40), 200);
	rig_out(r, 0x43, 0x24);			/* high byte only */
	rig_out(r, 0x40, 2);
	assert_int_equal(rig_in(r, 0x40), 2);
	rig_out(r, 0x43, 0xb6 | 0x0e);		/* mode 7 is mode 3 */
	assert_int_equal(r->chip->pit.ch[2].mode, 3);
	rig_free(r);
}

T(speaker_port)
{
	struct rig *r = pc();
	u8 v;

	program(r, 2, 1, 1000);
	rig_out(r, 0x61, 0);
	assert_int_equal(rig_in(r, 0x61) & 3, 0);
	rig_now += clocks(5000);
	rig_out(r, 0x61, 3);			/* a rising gate restarts */
	assert_int_equal(rig_in(r, 0x61) & 0x23, 3);
	rig_now += clocks(1001);
	assert_int_equal(rig_in(r, 0x61) & 0x20, 0x20);
	v = rig_in(r, 0x61) & 0x10;
	rig_now += 1 << 14;
	assert_int_not_equal(rig_in(r, 0x61) & 0x10, v);
	rig_free(r);
}

T(state_and_hpet)
{
	struct rig *r = pc();
	struct kvm_pit_state2 s, t;

	program(r, 0, 2, 11932);
	rig_out(r, 0x61, 2);
	assert_int_equal(irqchip_pit_get(r->chip, &s), 0);
	assert_int_equal(s.flags, KVM_PIT_FLAGS_SPEAKER_DATA_ON);
	assert_int_equal(s.channels[0].count, 11932);
	assert_int_equal(s.channels[0].mode, 2);
	assert_int_equal(irqchip_pit_set(r->chip, &s), 0);
	assert_int_equal(irqchip_pit_get(r->chip, &t), 0);
	assert_memory_equal(&s, &t, sizeof(s));
	assert_true(irqchip_next_event_ns(r->chip) != 0);
	s.flags = KVM_PIT_FLAGS_HPET_LEGACY;
	assert_int_equal(irqchip_pit_set(r->chip, &s), 0);
	assert_int_equal(irqchip_next_event_ns(r->chip), 0);
	assert_int_equal(r->timer, 0);
	program(r, 0, 2, 11932);
	assert_int_equal(irqchip_next_event_ns(r->chip), 0);
	s.flags = 0;
	s.channels[0].mode = 200;		/* nonsense does no harm */
	s.channels[1].rw_mode = 99;
	s.channels[1].read_state = 99;
	s.channels[2].count_latched = 99;
	assert_int_equal(irqchip_pit_set(r->chip, &s), 0);
	for (u16 p = 0x40; p < 0x43; p++)
		rig_in(r, p);
	rig_out(r, 0x43, 0xce);
	for (u16 p = 0x40; p < 0x43; p++)
		rig_in(r, p);
	rig_free(r);
}

T(nmi_watchdog)
{
	struct rig *r = pc();

	rig_write(r->cpu[0].l, APIC_LVT0, 0x400);
	program(r, 0, 2, 11932);
	rig_now += clocks(11932);
	irqchip_timer(r->chip);
	assert_int_equal(lapic_take_events(r->cpu[0].l, ~0u, NULL), LAPIC_EV_NMI);
	rig_free(r);
}

T(pic_eoi_counts_as_ack)
{
	struct rig *r = pc();

	rig_rte(r, 0, VEC | RTE_MASKED, 0);
	rig_out(r, 0x20, 0x11);
	rig_out(r, 0x21, 0x08);
	rig_out(r, 0x21, 0x04);
	rig_out(r, 0x21, 0x01);
	rig_out(r, 0x21, 0xfe);
	program(r, 0, 2, 11932);
	rig_now += 3 * clocks(11932);
	irqchip_timer(r->chip);
	for (u32 i = 0; i < 3; i++) {
		assert_true(irqchip_extint_pending(r->chip));
		assert_int_equal(irqchip_extint_ack(r->chip), 8);
		rig_out(r, 0x20, 0x20);
	}
	assert_false(irqchip_extint_pending(r->chip));
	rig_free(r);
}

RIG_BOTH_KINDS
