/* SPDX-License-Identifier: MIT */
/* The APIC timer: one-shot, periodic, TSC-deadline, dividers, restore. */
/* Run: build/tests/unit/test_irq_timer [NAME...] */
#include "irq_rig.h"

#define VEC 0x40

static bool fired(struct lapic *l)
{
	bool f = lapic_ack(l) == VEC;

	if (f)
		lapic_eoi(l);
	return f;
}

static void to(struct rig *r, u64 ns)
{
	rig_now = ns;
	for (u32 i = 0; i < r->n; i++)
		lapic_poll_timer(r->cpu[i].l);
}

T(one_shot)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	rig_write(l, APIC_LVTT, VEC);
	rig_write(l, APIC_TDCR, 0xb);		/* divide by 1 */
	rig_clear(r);
	rig_write(l, APIC_TMICT, 1000000);
	assert_int_equal(r->cpu[0].wakes[IRQ_WAKE_TIMER], 1);
	assert_int_equal(lapic_next_event_ns(l), 2000000);
	assert_int_equal(rig_read(l, APIC_TMCCT), 1000000);
	to(r, 1250000);
	assert_int_equal(rig_read(l, APIC_TMCCT), 750000);
	assert_false(fired(l));
	to(r, 2000000);
	assert_true(fired(l));
	assert_int_equal(lapic_next_event_ns(l), 0);
	assert_int_equal(rig_read(l, APIC_TMCCT), 0);
	assert_int_equal(rig_read(l, APIC_TMICT), 1000000);
	to(r, 9000000);
	assert_false(fired(l));
	rig_write(l, APIC_TMICT, 1000000);
	rig_write(l, APIC_TMICT, 0);		/* stops it */
	assert_int_equal(lapic_next_event_ns(l), 0);
	rig_free(r);
}

T(dividers)
{
	static const struct { u32 tdcr, by; } t[] = {
		{ 0, 2 }, { 1, 4 }, { 2, 8 }, { 3, 16 }, { 8, 32 }, { 9, 64 }, { 10, 128 },
		{ 11, 1 },
	};
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	r->set.apic_bus_ns = 5;
	rig_write(l, APIC_LVTT, VEC);
	for (u32 i = 0; i < ARRAY_SIZE(t); i++) {
		rig_write(l, APIC_TDCR, t[i].tdcr);
		rig_write(l, APIC_TMICT, 1000);
		assert_int_equal(lapic_next_event_ns(l), rig_now + 5000 * t[i].by);
	}
	/* a change on the way scales what is left */
	rig_write(l, APIC_TDCR, 11);
	rig_write(l, APIC_TMICT, 1000);
	rig_now += 2500;
	rig_write(l, APIC_TDCR, 0);
	assert_int_equal(lapic_next_event_ns(l), rig_now + 5000);
	assert_int_equal(rig_read(l, APIC_TMCCT), 500);
	rig_free(r);
}

T(periodic)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	rig_write(l, APIC_TDCR, 0xb);
	rig_write(l, APIC_LVTT, VEC | LVT_TIMER_PERIODIC);
	rig_write(l, APIC_TMICT, 1000000);
	to(r, 2000000);
	assert_true(fired(l));
	assert_int_equal(lapic_next_event_ns(l), 3000000);
	to(r, 5300000);				/* missed ticks merge, phase stays */
	assert_true(fired(l));
	assert_false(fired(l));
	assert_int_equal(lapic_next_event_ns(l), 6000000);
	assert_int_equal(rig_read(l, APIC_TMCCT), 700000);
	rig_write(l, APIC_LVTT, VEC | LVT_TIMER_PERIODIC | LVT_MASKED);
	to(r, 6000000);				/* masked: counts, is not heard */
	assert_false(fired(l));
	assert_int_equal(lapic_next_event_ns(l), 7000000);
	/* no host storm */
	rig_write(l, APIC_TMICT, 10);
	assert_true(lapic_next_event_ns(l) >= rig_now + 200000);
	rig_free(r);
}

T(tsc_deadline)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	rig_write(l, APIC_LVTT, VEC);
	lapic_set_tsc_deadline(l, 12345);		/* other mode: ignored */
	assert_int_equal(lapic_get_tsc_deadline(l), 0);
	rig_write(l, APIC_TMICT, 1000);
	rig_write(l, APIC_LVTT, VEC | LVT_TIMER_TSC_DEADLINE);
	assert_int_equal(lapic_next_event_ns(l), 0);	/* mode change disarms */
	assert_int_equal(rig_read(l, APIC_TMICT), 0);
	rig_write(l, APIC_TMICT, 1000);			/* ignored in this mode */
	assert_int_equal(rig_read(l, APIC_TMICT), 0);
	lapic_set_tsc_deadline(l, 3000000 * TSC_PER_NS);
	assert_int_equal(lapic_get_tsc_deadline(l), 3000000 * TSC_PER_NS);
	to(r, 2999999);
	assert_false(fired(l));
	to(r, lapic_next_event_ns(l));
	assert_true(fired(l));
	assert_int_equal(lapic_get_tsc_deadline(l), 0);
	lapic_set_tsc_deadline(l, 5);			/* past: at once */
	to(r, rig_now);
	assert_true(fired(l));
	lapic_set_tsc_deadline(l, ~0ull);		/* never, without wrapping */
	to(r, rig_now + 1000000000);
	assert_false(fired(l));
	lapic_set_tsc_deadline(l, 0);
	assert_int_equal(lapic_next_event_ns(l), 0);
	/* leaving the mode disarms */
	lapic_set_tsc_deadline(l, 90000000000ull);
	rig_write(l, APIC_LVTT, VEC);
	assert_int_equal(lapic_next_event_ns(l), 0);
	/* without the CPUID bit there is no such mode */
	lapic_set_features(l, LAPIC_HAS_X2APIC, 48);
	rig_write(l, APIC_LVTT, VEC | LVT_TIMER_MODE);
	assert_int_equal(rig_read(l, APIC_LVTT), VEC | LVT_TIMER_PERIODIC);
	rig_free(r);
}

T(restore)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);
	struct lapic *a = r->cpu[0].l, *b = r->cpu[1].l;
	u8 s[LAPIC_STATE_SIZE];

	rig_write(a, APIC_TDCR, 0xb);
	rig_write(a, APIC_LVTT, VEC | LVT_TIMER_PERIODIC);
	rig_write(a, APIC_TMICT, 1000000);
	to(r, 1400000);
	lapic_get_state(a, s, false);
	rig_now = 50000000;
	assert_int_equal(lapic_set_state(b, s, false), 0);
	assert_int_equal(lapic_next_event_ns(b), 50600000);
	assert_int_equal(rig_read(b, APIC_TMCCT), 600000);
	to(r, 50600000);
	assert_int_equal(lapic_next_event_ns(b), 51600000);
	rig_free(r);
}

/* Nothing in the state says whether the interrupt of a one-shot that has run out was delivered, so
 * it is raised at the restore, as in KVM: one too many does no harm, a lost one does. */
T(a_restored_one_shot_that_has_run_out_fires)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);
	struct lapic *a = r->cpu[0].l, *b = r->cpu[1].l;
	u8 s[LAPIC_STATE_SIZE];

	rig_write(a, APIC_TDCR, 0xb);
	rig_write(a, APIC_LVTT, VEC);
	rig_write(a, APIC_TMICT, 1000000);
	rig_now += 1000001;		/* run out, and the vCPU has not looked yet */
	lapic_get_state(a, s, false);
	assert_int_equal(lapic_set_state(b, s, false), 0);
	lapic_poll_timer(b);
	assert_true(fired(b));
	assert_int_equal(lapic_next_event_ns(b), 0);
	assert_int_equal(rig_read(b, APIC_TMCCT), 0);
	/* without an initial count it was never started */
	rig_write(a, APIC_TMICT, 0);
	lapic_get_state(a, s, false);
	assert_int_equal(lapic_set_state(b, s, false), 0);
	assert_int_equal(lapic_next_event_ns(b), 0);
	rig_free(r);
}

/* The count is 0, so the timer has run out, also if the vCPU has not looked since. What the entry
 * becomes then is for the next count. */
T(a_change_of_the_entry_comes_after_what_has_run_out)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	rig_write(l, APIC_TDCR, 0xb);
	rig_write(l, APIC_LVTT, VEC);
	rig_write(l, APIC_TMICT, 1000000);
	rig_now += 1000001;
	assert_int_equal(rig_read(l, APIC_TMCCT), 0);
	rig_write(l, APIC_LVTT, (VEC + 1) | LVT_TIMER_PERIODIC);
	assert_true(fired(l));
	assert_int_equal(rig_read(l, APIC_TMCCT), 0);
	assert_int_equal(lapic_next_event_ns(l), 0);
	/* what ran out behind the mask is not delivered by opening it */
	rig_write(l, APIC_LVTT, VEC | LVT_MASKED);
	rig_write(l, APIC_TMICT, 1000000);
	rig_now += 1000001;
	rig_write(l, APIC_LVTT, VEC);
	lapic_poll_timer(l);
	assert_false(lapic_test(l, APIC_IRR, VEC));
	rig_free(r);
}

/* Both mode bits: reserved (SDM3 11.5.1). Nothing is started, as in KVM. */
T(the_fourth_mode_counts_nothing)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	rig_write(l, APIC_TDCR, 0xb);
	rig_write(l, APIC_LVTT, VEC | LVT_TIMER_PERIODIC | LVT_TIMER_TSC_DEADLINE);
	rig_write(l, APIC_TMICT, 1000);
	lapic_set_tsc_deadline(l, 1);
	assert_int_equal(lapic_get_tsc_deadline(l), 0);
	assert_int_equal(lapic_next_event_ns(l), 0);
	assert_int_equal(rig_read(l, APIC_TMCCT), 0);
	to(r, rig_now + 1000000);
	assert_false(fired(l));
	rig_free(r);
}

T(a_reached_deadline_fires_with_its_write)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	rig_write(l, APIC_LVTT, VEC | LVT_TIMER_TSC_DEADLINE);
	lapic_set_tsc_deadline(l, rig_now * TSC_PER_NS);
	assert_true(lapic_test(l, APIC_IRR, VEC));
	assert_int_equal(lapic_get_tsc_deadline(l), 0);
	assert_int_equal(lapic_next_event_ns(l), 0);
	rig_free(r);
}

T(software_disable_masks)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	rig_write(l, APIC_LVTT, VEC);
	rig_write(l, APIC_TMICT, 1000000);
	rig_write(l, APIC_SPIV, 0xff);
	to(r, 1000000000);
	assert_false(fired(l));
	rig_free(r);
}

RIG_BOTH_KINDS
