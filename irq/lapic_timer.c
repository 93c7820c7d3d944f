/* SPDX-License-Identifier: MIT */
/*
 * irq/lapic_timer.c - the APIC timer (SDM3 11.5.4): one-shot, periodic, TSC-deadline. No host
 * timer is armed here: the owner polls, and somebody wakes it at lapic_next_event_ns().
 */
#include "irq/irq_priv.h"

/* A guest must not make the host spin on its timer; KVM's default for a period. */
#define MIN_PERIOD_NS 200000

static void set_deadline(struct lapic *l, u64 ns)
{
	if (atomic_load_explicit(&l->deadline_ns, memory_order_relaxed) == ns)
		return;
	atomic_store(&l->deadline_ns, ns);
	if (ns)
		lapic_wake(l, IRQ_WAKE_TIMER);
}

static u64 ticks_to_ns(struct lapic *l, u32 ticks)
{
	u64 bus = atomic_load_explicit(&l->chip->set->apic_bus_ns, memory_order_relaxed);

	return (u64)ticks * l->divide * bus;
}

void lapic_timer_load_divide(struct lapic *l)
{
	u32 v = lapic_get(l, APIC_TDCR);

	/* SDM3 figure 11-10: bits 3,1,0; 0 means 2, 7 means 1. */
	l->divide = 1u << ((((v & 3) | (v & 8) >> 1) + 1) & 7);
}

void lapic_timer_stop(struct lapic *l)
{
	set_deadline(l, 0);
	l->period_ns = 0;
	l->tsc_deadline = 0;
}

static void clamp_period(struct lapic *l)
{
	if (l->timer_mode == LVT_TIMER_PERIODIC && l->period_ns && l->period_ns < MIN_PERIOD_NS)
		l->period_ns = MIN_PERIOD_NS;
}

/* More than 2^63 ns ahead is never; keeps the arithmetic below from wrapping. */
static u64 after(u64 now, u64 delta)
{
	return delta >> 63 ? 0 : now + delta;
}

/* True: it is reached already. */
static bool arm_tsc(struct lapic *l)
{
	const struct irq_ops *ops = l->chip->ops;
	void *vcpu = lapic_vcpu(l);
	u64 now, tsc;

	if (!l->tsc_deadline || !vcpu) {
		set_deadline(l, 0);
		return false;
	}
	now = irqchip_now(l->chip);
	tsc = ops->tsc_now(vcpu);
	if (l->tsc_deadline <= tsc) {
		set_deadline(l, now ? now : 1);
		return true;
	}
	/* +1: conversion rounds down, the timer must not be early */
	set_deadline(l, after(now, ops->tsc_to_ns(vcpu, l->tsc_deadline - tsc) + 1));
	return false;
}

void lapic_timer_start(struct lapic *l, u32 count)
{
	u64 left, now;

	if (l->timer_mode == LVT_TIMER_TSC_DEADLINE) {
		arm_tsc(l);
		return;
	}
	set_deadline(l, 0);
	if (l->timer_mode == LVT_TIMER_MODE)	/* both bits: reserved */
		return;
	l->period_ns = ticks_to_ns(l, lapic_get(l, APIC_TMICT));
	if (!l->period_ns)
		return;
	left = ticks_to_ns(l, count);
	clamp_period(l);
	if (count == lapic_get(l, APIC_TMICT) || left > l->period_ns)
		left = l->period_ns;
	/* Nothing left of a restored one-shot: whether its interrupt was delivered, the state does
	 * not say. Fire, as KVM does, rather than lose it. */
	if (!left && l->timer_mode == LVT_TIMER_PERIODIC)
		left = l->period_ns;
	now = irqchip_now(l->chip);
	set_deadline(l, after(now ? now : 1, left));
}

u32 lapic_timer_count(struct lapic *l)
{
	u64 end = lapic_next_event_ns(l), now, unit = ticks_to_ns(l, 1);

	if (l->timer_mode == LVT_TIMER_TSC_DEADLINE || !end || !l->period_ns || !unit)
		return 0;
	now = irqchip_now(l->chip);
	if (now >= end) {	/* expired, not polled yet: a periodic one has reloaded */
		if (l->timer_mode != LVT_TIMER_PERIODIC)
			return 0;
		return (u32)((l->period_ns - (now - end) % l->period_ns) / unit);
	}
	return (u32)((end - now) / unit);
}

/* SDM3 11.5.4.1: going to or from TSC-deadline mode disarms the timer. */
void lapic_timer_mode_changed(struct lapic *l)
{
	u32 mode = lapic_get(l, APIC_LVTT) & lapic_timer_mode_mask(l);

	if (mode == l->timer_mode)
		return;
	if ((mode == LVT_TIMER_TSC_DEADLINE) != (l->timer_mode == LVT_TIMER_TSC_DEADLINE)) {
		lapic_timer_stop(l);
		lapic_put(l, APIC_TMICT, 0);
	}
	l->timer_mode = mode;
	clamp_period(l);
}

void lapic_timer_divide_changed(struct lapic *l)
{
	u32 old = l->divide;
	u64 end = lapic_next_event_ns(l), now, left;

	lapic_timer_load_divide(l);
	if (old == l->divide || !end || l->timer_mode == LVT_TIMER_TSC_DEADLINE)
		return;
	/* What is left of the count runs on at the new speed. */
	now = irqchip_now(l->chip);
	left = end > now ? (u64)((u128)(end - now) * l->divide / old) : 0;
	l->period_ns = ticks_to_ns(l, lapic_get(l, APIC_TMICT));
	clamp_period(l);
	set_deadline(l, after(now ? now : 1, left));
}

u64 lapic_get_tsc_deadline(struct lapic *l)
{
	if (!lapic_hw_enabled(l) || l->timer_mode != LVT_TIMER_TSC_DEADLINE)
		return 0;
	return l->tsc_deadline;
}

void lapic_set_tsc_deadline(struct lapic *l, u64 v)
{
	if (!lapic_hw_enabled(l) || l->timer_mode != LVT_TIMER_TSC_DEADLINE)
		return;
	l->tsc_deadline = v;
	if (arm_tsc(l))		/* the guest expects the interrupt at its next instruction */
		lapic_poll_timer(l);
}

void lapic_tsc_changed(struct lapic *l)
{
	if (l->timer_mode == LVT_TIMER_TSC_DEADLINE && l->tsc_deadline)
		arm_tsc(l);
}

u64 lapic_next_event_ns(struct lapic *l)
{
	return atomic_load_explicit(&l->deadline_ns, memory_order_relaxed);
}

void lapic_poll_timer(struct lapic *l)
{
	u64 end = lapic_next_event_ns(l), now;

	if (likely(!end))
		return;
	now = irqchip_now(l->chip);
	if (now < end)
		return;
	switch (l->timer_mode) {
	case LVT_TIMER_TSC_DEADLINE:
		if (l->chip->ops->tsc_now(lapic_vcpu(l)) < l->tsc_deadline) {
			arm_tsc(l);
			return;
		}
		l->tsc_deadline = 0;	/* SDM3 11.5.4.1: disarmed by firing */
		set_deadline(l, 0);
		break;
	case LVT_TIMER_PERIODIC:
		/* Missed ticks merge, the phase is kept. */
		set_deadline(l, l->period_ns ? end + ((now - end) / l->period_ns + 1) * l->period_ns
					     : 0);
		break;
	default:
		set_deadline(l, 0);
	}
	lapic_deliver_lvt(l, LVT_TIMER);
}
