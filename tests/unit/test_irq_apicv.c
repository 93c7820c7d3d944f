/* SPDX-License-Identifier: MIT */
/* The inhibit reasons and which vCPUs are accelerated: docs/kvm-apic.md 3.1-3.4, one test a
 * rule. */
/* Run: build/tests/unit/test_irq_apicv [NAME...] */
#include "irq_rig.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#define INHIBITED(r, n) (!!(apicv_inhibits((r)->chip) & BIT(APICV_INHIBIT_##n)))

static struct rig *rig_of(enum avic_kind kind, u32 n)
{
	rig_kind = kind;
	return rig_new(IRQCHIP_FULL, n);
}

/* Serve what the vCPUs are asked for. */
static void follow(struct rig *r)
{
	for (u32 i = 0; i < r->n; i++) {
		if (!r->cpu[i].wakes[IRQ_WAKE_APICV])
			continue;
		r->cpu[i].wakes[IRQ_WAKE_APICV] = 0;
		apicv_update(r->cpu[i].l);
	}
}

static bool all_active(struct rig *r)
{
	bool active = true;

	follow(r);
	for (u32 i = 0; i < r->n; i++) {
		assert_true(apicv_consistent(r->cpu[i].l));
		active &= apicv_active(r->cpu[i].l);
	}
	return active;
}

T(numbers_are_kvms)
{
	assert_int_equal(APICV_INHIBIT_DISABLED, 0);
	assert_int_equal(APICV_INHIBIT_HYPERV, 1);
	assert_int_equal(APICV_INHIBIT_ABSENT, 2);
	assert_int_equal(APICV_INHIBIT_BLOCKIRQ, 3);
	assert_int_equal(APICV_INHIBIT_PHYSICAL_ID_ALIASED, 4);
	assert_int_equal(APICV_INHIBIT_APIC_ID_MODIFIED, 5);
	assert_int_equal(APICV_INHIBIT_APIC_BASE_MODIFIED, 6);
	assert_int_equal(APICV_INHIBIT_NESTED, 7);
	assert_int_equal(APICV_INHIBIT_IRQWIN, 8);
	assert_int_equal(APICV_INHIBIT_PIT_REINJ, 9);
	assert_int_equal(APICV_INHIBIT_SEV, 10);
	assert_int_equal(APICV_INHIBIT_LOGICAL_ID_ALIASED, 11);
	assert_int_equal(APICV_INHIBIT_PHYSICAL_ID_TOO_BIG, 12);
	assert_int_equal(APICV_INHIBIT_COUNT, 13);
	assert_string_equal(apicv_inhibit_name(12), "PHYSICAL_ID_TOO_BIG");
	assert_string_equal(apicv_inhibit_name(13), "?");
}

/* bit 0 */
T(disabled_is_set_without_avic_and_stays)
{
	struct rig *r = rig_of(AVIC_KIND_NONE, 2);

	assert_int_equal(apicv_inhibits(r->chip), BIT(APICV_INHIBIT_DISABLED));
	assert_false(all_active(r));
	assert_false(apicv_count_irq_window(r->cpu[0].l, true));
	rig_free(r);
	r = rig_of(AVIC_KIND_X2AVIC_EXT, 2);
	assert_int_equal(apicv_inhibits(r->chip), 0);
	assert_true(all_active(r));
	rig_free(r);
}

/* bit 1 */
T(hyperv_follows_the_count_of_autoeoi_users)
{
	struct rig *r = rig_of(AVIC_KIND_X2AVIC, 3);

	apicv_vcpu_reason(r->cpu[1].l, APICV_INHIBIT_HYPERV, true);
	apicv_vcpu_reason(r->cpu[2].l, APICV_INHIBIT_HYPERV, true);
	assert_true(INHIBITED(r, HYPERV));
	apicv_vcpu_reason(r->cpu[1].l, APICV_INHIBIT_HYPERV, false);
	apicv_vcpu_reason(r->cpu[1].l, APICV_INHIBIT_HYPERV, false);
	assert_true(INHIBITED(r, HYPERV));
	assert_false(all_active(r));
	apicv_vcpu_reason(r->cpu[2].l, APICV_INHIBIT_HYPERV, false);
	assert_false(INHIBITED(r, HYPERV));
	assert_true(all_active(r));
	rig_free(r);
}

/* bit 2; without a chip the VM has it (tests/unit/test_abi_apicv.c) */
T(absent_is_cleared_by_a_chip)
{
	struct rig *r = rig_of(AVIC_KIND_X2AVIC, 0);

	assert_false(INHIBITED(r, ABSENT));
	rig_free(r);
}

/* bit 3 */
T(blockirq_while_any_vcpu_has_it)
{
	struct rig *r = rig_of(AVIC_KIND_X2AVIC, 2);

	apicv_vcpu_reason(r->cpu[0].l, APICV_INHIBIT_BLOCKIRQ, true);
	apicv_vcpu_reason(r->cpu[1].l, APICV_INHIBIT_BLOCKIRQ, true);
	assert_int_equal(apicv_inhibit_by(r->chip, APICV_INHIBIT_BLOCKIRQ), 0);
	apicv_vcpu_reason(r->cpu[0].l, APICV_INHIBIT_BLOCKIRQ, false);
	assert_true(INHIBITED(r, BLOCKIRQ));
	/* Destroyed with it: the VM does not stay inhibited. */
	lapic_destroy(r->cpu[1].l);
	r->n = 1;
	assert_false(INHIBITED(r, BLOCKIRQ));
	assert_int_equal(apicv_inhibit_by(r->chip, APICV_INHIBIT_BLOCKIRQ), -1);
	rig_free(r);
}

/* bits 4 and 5 */
T(ids_modified_and_aliased_follow_the_map)
{
	struct rig *r = rig_of(AVIC_KIND_X2AVIC, 3);

	rig_write(r->cpu[2].l, APIC_ID, 9u << 24);
	assert_true(INHIBITED(r, APIC_ID_MODIFIED));
	assert_false(INHIBITED(r, PHYSICAL_ID_ALIASED));
	assert_false(all_active(r));
	rig_write(r->cpu[2].l, APIC_ID, 1u << 24);
	assert_true(INHIBITED(r, PHYSICAL_ID_ALIASED));
	assert_true(INHIBITED(r, LOGICAL_ID_ALIASED));	/* no map at all */
	rig_write(r->cpu[2].l, APIC_ID, 2u << 24);
	assert_int_equal(apicv_inhibits(r->chip), 0);
	assert_true(all_active(r));
	rig_free(r);
}

/* An id that wraps in 8 bits is not a modified id. */
T(truncated_id_is_not_modified)
{
	struct rig *r = rig_of(AVIC_KIND_X2AVIC, 1);
	struct lapic *l = lapic_create(r->chip, NULL, 300, false);

	assert_non_null(l);
	assert_false(INHIBITED(r, APIC_ID_MODIFIED));
	assert_int_equal(lapic_get(l, APIC_ID), 300u << 24);
	lapic_destroy(l);
	rig_free(r);
}

/* bit 6 */
T(moved_base_inhibits_for_ever)
{
	struct rig *r = rig_of(AVIC_KIND_X2AVIC, 2);
	struct lapic *l = r->cpu[1].l;

	/* Not while the APIC is disabled. */
	assert_int_equal(lapic_set_base(l, 0xfed00000, false), 0);
	assert_false(INHIBITED(r, APIC_BASE_MODIFIED));
	assert_int_equal(lapic_set_base(l, 0xfed00000 | APIC_BASE_EN, false), 0);
	assert_true(INHIBITED(r, APIC_BASE_MODIFIED));
	assert_int_equal(apicv_inhibit_by(r->chip, APICV_INHIBIT_APIC_BASE_MODIFIED), 1);
	assert_int_equal(lapic_set_base(l, APIC_DEFAULT_BASE | APIC_BASE_EN, false), 0);
	lapic_reset(l, false);
	apicv_set_inhibit(r->chip, APICV_INHIBIT_APIC_BASE_MODIFIED, false);
	assert_true(INHIBITED(r, APIC_BASE_MODIFIED));
	assert_false(all_active(r));
	rig_free(r);
}

/* bit 7 */
T(nested_is_one_vcpus_and_takes_effect_at_once)
{
	struct rig *r = rig_of(AVIC_KIND_X2AVIC, 2);

	assert_true(all_active(r));
	rig_clear(r);
	apicv_set_nested(r->cpu[0].l, true);
	assert_int_equal(apicv_inhibits(r->chip), 0);
	assert_false(apicv_active(r->cpu[0].l));
	assert_true(apicv_active(r->cpu[1].l));
	assert_true(apicv_consistent(r->cpu[0].l));
	apicv_set_inhibit(r->chip, APICV_INHIBIT_NESTED, true);		/* never in the mask */
	assert_int_equal(apicv_inhibits(r->chip), 0);
	apicv_set_nested(r->cpu[0].l, false);
	assert_true(apicv_active(r->cpu[0].l));
	assert_int_equal(r->cpu[0].wakes[IRQ_WAKE_APICV], 0);	/* VMRUN is a hot path */
	rig_free(r);
}

/* bit 8 */
T(irqwin_counts_each_vcpu_once)
{
	struct rig *r = rig_of(AVIC_KIND_X2AVIC, 2);
	struct lapic *a = r->cpu[0].l, *b = r->cpu[1].l;

	assert_true(apicv_count_irq_window(a, true));
	apicv_eval_irq_window(a);
	assert_true(INHIBITED(r, IRQWIN));
	assert_false(all_active(r));
	assert_false(apicv_count_irq_window(a, true));		/* once */
	assert_false(apicv_count_irq_window(b, true));		/* the bit is set already */
	assert_false(apicv_count_irq_window(a, false));		/* b still needs it (3.2) */
	assert_true(INHIBITED(r, IRQWIN));
	assert_true(apicv_count_irq_window(b, false));
	apicv_eval_irq_window(b);
	assert_false(INHIBITED(r, IRQWIN));
	assert_true(all_active(r));
	rig_free(r);
}

T(irqwin_is_not_touched_while_another_reason_is_set)
{
	struct rig *r = rig_of(AVIC_KIND_X2AVIC, 2);
	struct lapic *a = r->cpu[0].l;

	apicv_set_inhibit(r->chip, APICV_INHIBIT_PIT_REINJ, true);
	assert_false(apicv_count_irq_window(a, true));
	assert_false(INHIBITED(r, IRQWIN));
	/* The count decides when the other reason goes, and the mask does not pass through 0. */
	rig_clear(r);
	follow(r);
	apicv_set_inhibit(r->chip, APICV_INHIBIT_PIT_REINJ, false);
	assert_int_equal(apicv_inhibits(r->chip), BIT(APICV_INHIBIT_IRQWIN));
	assert_int_equal(r->cpu[1].wakes[IRQ_WAKE_APICV], 0);
	apicv_set_inhibit(r->chip, APICV_INHIBIT_PIT_REINJ, true);
	assert_false(apicv_count_irq_window(a, false));
	assert_true(INHIBITED(r, IRQWIN));			/* stale, and harmless */
	apicv_set_inhibit(r->chip, APICV_INHIBIT_PIT_REINJ, false);
	assert_int_equal(apicv_inhibits(r->chip), 0);
	rig_free(r);
}

/* bit 9 */
T(pit_reinject_is_the_default_and_inhibits)
{
	struct rig *r = rig_of(AVIC_KIND_X2AVIC, 1);

	assert_int_equal(irqchip_pit_create(r->chip, 0), 0);
	assert_true(INHIBITED(r, PIT_REINJ));
	assert_int_equal(apicv_inhibit_by(r->chip, APICV_INHIBIT_PIT_REINJ), -1);
	assert_int_equal(irqchip_pit_reinject(r->chip, false), 0);
	assert_false(INHIBITED(r, PIT_REINJ));
	assert_true(all_active(r));
	assert_int_equal(irqchip_pit_reinject(r->chip, true), 0);
	assert_true(INHIBITED(r, PIT_REINJ));
	rig_free(r);
}

/* bit 11 */
T(logical_ids_aliased_or_of_two_models)
{
	struct rig *r = rig_of(AVIC_KIND_X2AVIC, 2);

	rig_write(r->cpu[0].l, APIC_LDR, 1u << 24);
	rig_write(r->cpu[1].l, APIC_LDR, 3u << 24);		/* two bits */
	assert_true(INHIBITED(r, LOGICAL_ID_ALIASED));
	rig_write(r->cpu[1].l, APIC_LDR, 1u << 24);		/* the other's bit */
	assert_true(INHIBITED(r, LOGICAL_ID_ALIASED));
	rig_write(r->cpu[1].l, APIC_LDR, 2u << 24);
	assert_false(INHIBITED(r, LOGICAL_ID_ALIASED));
	rig_write(r->cpu[1].l, APIC_DFR, DFR_CLUSTER);
	assert_true(INHIBITED(r, LOGICAL_ID_ALIASED));
	rig_write(r->cpu[0].l, APIC_DFR, DFR_CLUSTER);
	assert_false(INHIBITED(r, LOGICAL_ID_ALIASED));
	assert_true(all_active(r));
	rig_free(r);
}

/* bit 12 and seed 003: the limit belongs to the hardware, the id to the VM */
T(every_id_can_be_created_on_every_kind)
{
	static const struct { enum avic_kind kind; u32 last; } t[] = {
		{ AVIC_KIND_AVIC, 254 }, { AVIC_KIND_X2AVIC, 511 }, { AVIC_KIND_X2AVIC_EXT, 4095 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(t); i++) {
		struct rig *r = rig_of(t[i].kind, 1);
		struct lapic *last = lapic_create(r->chip, NULL, t[i].last, false), *big;
		u32 id = t[i].last + 1;

		assert_non_null(last);
		assert_true(apicv_active(last));
		assert_false(INHIBITED(r, PHYSICAL_ID_TOO_BIG));
		big = lapic_create(r->chip, NULL, id, false);
		assert_non_null(big);
		assert_true(INHIBITED(r, PHYSICAL_ID_TOO_BIG));
		assert_int_equal(apicv_inhibit_by(r->chip, APICV_INHIBIT_PHYSICAL_ID_TOO_BIG), id);
		assert_false(apicv_active(big));		/* at once, not at the first run */
		assert_true(apicv_consistent(big));
		assert_int_equal(r->cpu[0].wakes[IRQ_WAKE_APICV] > 0, 1);
		assert_false(all_active(r));
		/* It works, by software. */
		assert_int_equal(lapic_set_base(big, lapic_get_base(big) | APIC_BASE_EXTD, true),
				 -EINVAL);
		lapic_set_features(big, LAPIC_HAS_X2APIC, 48);
		assert_int_equal(lapic_set_base(big, lapic_get_base(big) | APIC_BASE_EXTD, true),
				 0);
		assert_int_equal(lapic_msr_write(big, 0x80f, 0x1ff), 0);
		assert_true(apic_deliver(r->chip, &(struct apic_msg){	/* 255 reaches all */
			.dest = id, .vector = 0x55, .level = 1 }, NULL) >= 1);
		assert_int_equal(lapic_ack(big), 0x55);
		/* Never cleared (3.1). */
		lapic_destroy(big);
		assert_true(INHIBITED(r, PHYSICAL_ID_TOO_BIG));
		lapic_destroy(last);
		rig_free(r);
	}
}

/* 3.3: requests come before the mask is visible; only a mask that crosses zero kicks. */
static _Atomic u32 mask_at_request;
static struct rig *watched;

static void watching_wake(void *vcpu, enum irq_wake why)
{
	if (why == IRQ_WAKE_APICV && watched)
		mask_at_request = apicv_inhibits(watched->chip) | BIT(31);
	rig_wake(vcpu, why);
}

T(requests_come_before_the_mask)
{
	static struct irq_ops ops;
	struct rig *r = calloc(1, sizeof(*r));

	ops = rig_ops;
	ops.wake = watching_wake;
	watched = NULL;
	r->chip = irqchip_create(IRQCHIP_FULL, &ops, r, &r->set, 24);
	r->cpu[0].l = lapic_create(r->chip, &r->cpu[0], 0, true);
	r->n = 1;
	watched = r;
	apicv_set_inhibit(r->chip, APICV_INHIBIT_SEV, true);
	assert_int_equal(mask_at_request, BIT(31));		/* was still 0 */
	mask_at_request = 0;
	apicv_set_inhibit(r->chip, APICV_INHIBIT_PIT_REINJ, true);
	apicv_set_inhibit(r->chip, APICV_INHIBIT_PIT_REINJ, false);
	assert_int_equal(mask_at_request, 0);			/* no crossing, no request */
	apicv_set_inhibit(r->chip, APICV_INHIBIT_SEV, false);
	assert_int_equal(mask_at_request, BIT(31) | BIT(APICV_INHIBIT_SEV));
	watched = NULL;
	rig_free(r);
}

/* A disabled APIC is never accelerated, and that does not inhibit the VM. */
T(disabled_apic_is_inactive)
{
	struct rig *r = rig_of(AVIC_KIND_X2AVIC, 2);
	struct lapic *l = r->cpu[1].l;

	assert_int_equal(lapic_set_base(l, APIC_DEFAULT_BASE, false), 0);
	assert_false(apicv_active(l));
	assert_int_equal(apicv_inhibits(r->chip), 0);
	assert_true(r->cpu[1].wakes[IRQ_WAKE_APICV] > 0);
	assert_int_equal(lapic_set_base(l, APIC_DEFAULT_BASE | APIC_BASE_EN, false), 0);
	assert_true(apicv_active(l));
	rig_free(r);
}

/* 3.5, hybrid: x2APIC mode on AVIC is delivered to by doorbell, its MSRs are intercepted. */
T(x2apic_on_plain_avic_is_hybrid)
{
	struct rig *r = rig_of(AVIC_KIND_AVIC, 2);
	struct lapic *l = r->cpu[1].l;

	rig_x2apic(l);
	assert_false(apicv_active(l));
	assert_true(apicv_consistent(l));
	lapic_load(l);
	rig_clear(r);
	assert_true(lapic_set_irq(l, 0x44, false));
	assert_int_equal(r->cpu[1].wakes[IRQ_WAKE_DOORBELL], 1);
	assert_int_equal(r->cpu[1].wakes[IRQ_WAKE_EVENT], 0);
	rig_free(r);
}

/* 3.3: what is pending is looked at anew when acceleration ends. */
T(deactivation_asks_for_an_event)
{
	struct rig *r = rig_of(AVIC_KIND_X2AVIC, 1);
	struct lapic *l = r->cpu[0].l;

	lapic_set_irq(l, 0x66, false);
	apicv_set_inhibit(r->chip, APICV_INHIBIT_SEV, true);
	rig_clear(r);
	apicv_update(l);
	assert_int_equal(r->cpu[0].wakes[IRQ_WAKE_EVENT], 1);
	assert_int_equal(lapic_pending_vector(l), 0x66);
	apicv_update(l);	/* nothing changes: nothing happens */
	assert_int_equal(r->cpu[0].wakes[IRQ_WAKE_EVENT], 1);
	rig_free(r);
}

/* 3.8: running targets by doorbell, others are woken; no request is lost between the two. */
T(doorbell_or_wake_by_isrunning)
{
	struct rig *r = rig_of(AVIC_KIND_X2AVIC, 2);
	struct lapic *a = r->cpu[0].l, *b = r->cpu[1].l;

	lapic_load(a);
	lapic_load(b);
	rig_clear(r);
	rig_write(a, APIC_ICR2, 1u << 24);
	rig_write(a, APIC_ICR, 0x4041);
	assert_int_equal(r->cpu[1].wakes[IRQ_WAKE_DOORBELL], 1);
	assert_int_equal(r->cpu[1].wakes[IRQ_WAKE_EVENT], 0);
	assert_int_equal(a->stats.ipi_accelerated, 1);
	lapic_put_away(b);
	rig_write(a, APIC_ICR, 0x4042);
	assert_int_equal(r->cpu[1].wakes[IRQ_WAKE_DOORBELL], 1);
	assert_int_equal(r->cpu[1].wakes[IRQ_WAKE_EVENT], 1);
	assert_int_equal(a->stats.ipi_incomplete, 1);
	assert_int_equal(lapic_pending_vector(b), 0x42);
	assert_true(lapic_test(b, APIC_IRR, 0x41));
	rig_free(r);
}

/* 3.10 (1): no I/O APIC work for an edge EOI; (2) all of it for a level one. */
T(level_eoi_takes_the_whole_path)
{
	struct rig *r = rig_of(AVIC_KIND_X2AVIC, 1);
	struct lapic *l = r->cpu[0].l;

	assert_true(apicv_active(l));
	rig_rte(r, 5, 0x55 | RTE_LEVEL, 0);
	rig_line(r, 5, 1);
	rig_line(r, 5, 0);
	assert_int_equal(lapic_ack(l), 0x55);
	assert_true(rig_remote_irr(r, 5));
	rig_write(l, APIC_EOI, 0);
	assert_false(rig_remote_irr(r, 5));
	assert_int_equal(l->stats.eoi, 1);
	lapic_set_irq(l, 0x66, false);
	assert_int_equal(lapic_ack(l), 0x66);
	rig_write(l, APIC_EOI, 0);
	assert_int_equal(l->stats.eoi, 1);
	assert_int_equal(l->stats.eoi_accelerated, 1);
	rig_free(r);
}

/* 1.6, last line: an edge RTC interrupt is tracked although its EOI could be accelerated. */
T(tracked_rtc_eoi_is_not_accelerated)
{
	struct rig *r = rig_of(AVIC_KIND_X2AVIC, 1);
	struct lapic *l = r->cpu[0].l;

	rig_rte(r, 8, 0x48, 0);
	assert_true(irqchip_set_irq(r->chip, 8, 1, IRQ_SOURCE_USER, true) > 0);
	irqchip_set_irq(r->chip, 8, 0, IRQ_SOURCE_USER, true);
	assert_int_equal(irqchip_set_irq(r->chip, 8, 1, IRQ_SOURCE_USER, true), 0);
	assert_int_equal(lapic_ack(l), 0x48);
	rig_write(l, APIC_EOI, 0);
	irqchip_set_irq(r->chip, 8, 0, IRQ_SOURCE_USER, true);
	assert_true(irqchip_set_irq(r->chip, 8, 1, IRQ_SOURCE_USER, true) > 0);
	rig_free(r);
}

/* -- threads: masks change while vCPUs follow; nobody is left behind -- */

struct follower {
	struct lapic *l;
	_Atomic u32 asked;
	_Atomic bool stop;
	u64 bad;
};

static void ask(void *vcpu, enum irq_wake why)
{
	struct follower *f = vcpu;

	if (why == IRQ_WAKE_APICV)
		atomic_store(&f->asked, 1);
}

/* The run loop's order: requests first, then what must hold. */
static void *run(void *arg)
{
	struct follower *f = arg;

	while (!atomic_load(&f->stop)) {
		if (atomic_exchange(&f->asked, 0))
			apicv_update(f->l);
		if (!apicv_consistent(f->l) && !atomic_load(&f->asked))
			f->bad++;
	}
	return NULL;
}

static void *toggle(void *arg)
{
	struct irqchip *chip = arg;

	for (u32 i = 0; i < 20000; i++)
		apicv_set_inhibit(chip, i & 2 ? APICV_INHIBIT_SEV : APICV_INHIBIT_PIT_REINJ,
				  !(i & 1));
	return NULL;
}

T(mask_changes_are_never_missed)
{
	static struct irq_ops ops;
	struct irq_settings set = { 0 };
	struct follower f[2] = { 0 };
	struct irqchip *chip;
	pthread_t t[4];

	ops = rig_ops;
	ops.wake = ask;
	chip = irqchip_create(IRQCHIP_FULL, &ops, NULL, &set, 24);
	assert_non_null(chip);
	for (u32 i = 0; i < 2; i++) {
		f[i].l = lapic_create(chip, &f[i], i, false);
		assert_int_equal(pthread_create(&t[i], NULL, run, &f[i]), 0);
	}
	for (u32 i = 2; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, toggle, chip), 0);
	pthread_join(t[2], NULL);
	pthread_join(t[3], NULL);
	for (u32 i = 0; i < 2; i++) {
		atomic_store(&f[i].stop, true);
		pthread_join(t[i], NULL);
		assert_int_equal(f[i].bad, 0);
		apicv_update(f[i].l);
		assert_true(apicv_active(f[i].l));
		lapic_destroy(f[i].l);
	}
	irqchip_destroy(chip);
}

/*
 * Three vCPUs hand interrupts round through the tables, edge EOIs and all, and sleep whenever they
 * have none; a fourth changes its logical id, and acceleration goes on and off. A request that is
 * lost between IsRunning and sleep stops its token for good.
 */
#define HOPS 20000
#define TOKENS 3

struct runner {
	struct lapic *l;
	pthread_mutex_t lock;		/* over seq, with cond */
	pthread_cond_t cond;
	u32 seq;
	_Atomic u32 apicv, scan;
	u32 next;			/* whom to hand on to */
	u64 sleeps, timeouts;
};

static _Atomic u32 hops[TOKENS], running_tokens;
static _Atomic bool over;

static void wake_runner(void *vcpu, enum irq_wake why)
{
	struct runner *c = vcpu;

	if (why == IRQ_WAKE_APICV)
		atomic_store(&c->apicv, 1);
	if (why == IRQ_WAKE_SCAN)
		atomic_store(&c->scan, 1);
	/* Doorbells go to those that are not asleep; the other two wait for the next wake-up. */
	if (why != IRQ_WAKE_EVENT)
		return;
	pthread_mutex_lock(&c->lock);
	c->seq++;
	pthread_cond_signal(&c->cond);
	pthread_mutex_unlock(&c->lock);
}

static void nap(struct runner *c)
{
	struct timespec t;
	u32 seq;

	pthread_mutex_lock(&c->lock);
	seq = c->seq;
	pthread_mutex_unlock(&c->lock);
	lapic_put_away(c->l);
	if (lapic_pending_vector(c->l) < 0 && !atomic_load(&over)) {
		c->sleeps++;
		clock_gettime(CLOCK_REALTIME, &t);
		t.tv_sec += 10;
		pthread_mutex_lock(&c->lock);
		while (c->seq == seq)
			if (pthread_cond_timedwait(&c->cond, &c->lock, &t)) {
				c->timeouts++;
				atomic_store(&over, true);
				break;
			}
		pthread_mutex_unlock(&c->lock);
	}
	lapic_load(c->l);
}

static void *run_tokens(void *arg)
{
	struct runner *c = arg;

	lapic_load(c->l);
	while (!atomic_load(&over)) {
		int v;

		if (atomic_exchange(&c->apicv, 0))
			apicv_update(c->l);
		if (atomic_exchange(&c->scan, 0))
			lapic_scan(c->l);
		v = lapic_ack(c->l);
		if (v < 0) {
			nap(c);
			continue;
		}
		rig_write(c->l, APIC_EOI, 0);
		if (atomic_fetch_add(&hops[(v - 0x40) >> 4], 1) + 1 >= HOPS) {
			if (atomic_fetch_sub(&running_tokens, 1) == 1)
				atomic_store(&over, true);
			continue;
		}
		rig_write(c->l, APIC_ICR2, c->next << 24);
		rig_write(c->l, APIC_ICR, 0x4000 | (u32)v);
	}
	lapic_put_away(c->l);
	return NULL;
}

static void *disturb(void *arg)
{
	struct lapic *l = arg;

	for (u32 i = 0; !atomic_load(&over); i++) {
		rig_write(l, APIC_LDR, i << 24);
		apicv_set_inhibit(l->chip, APICV_INHIBIT_SEV, i % 8 < 2);
		sched_yield();
	}
	return NULL;
}

T(no_ipi_is_lost_between_running_and_sleeping)
{
	static struct irq_ops ops;
	struct irq_settings set = { 0 };
	struct runner c[4];
	struct irqchip *chip;
	pthread_t t[4];
	u64 sleeps = 0, accelerated = 0;

	ops = rig_ops;
	ops.wake = wake_runner;
	chip = irqchip_create(IRQCHIP_FULL, &ops, NULL, &set, 24);
	assert_non_null(chip);
	memset(c, 0, sizeof(c));
	atomic_store(&over, false);
	atomic_store(&running_tokens, TOKENS);
	for (u32 i = 0; i < 4; i++) {
		pthread_mutex_init(&c[i].lock, NULL);
		pthread_cond_init(&c[i].cond, NULL);
		c[i].next = (i + 1) % 3;
		c[i].l = lapic_create(chip, &c[i], i, false);
		assert_non_null(c[i].l);
		assert_int_equal(lapic_reg_write(c[i].l, APIC_SPIV, 0x1ff), 0);
	}
	for (u32 i = 0; i < TOKENS; i++) {
		hops[i] = 0;
		assert_true(lapic_set_irq(c[i].l, (u8)(0x40 + 16 * i), false));
	}
	for (u32 i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, run_tokens, &c[i]), 0);
	assert_int_equal(pthread_create(&t[3], NULL, disturb, c[3].l), 0);
	/* The last vCPU to see the end may be asleep. */
	while (!atomic_load(&over))
		sched_yield();
	for (u32 i = 0; i < 3; i++)
		wake_runner(&c[i], IRQ_WAKE_EVENT);
	for (u32 i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	for (u32 i = 0; i < TOKENS; i++)
		assert_int_equal(hops[i], HOPS);
	for (u32 i = 0; i < 4; i++) {
		assert_int_equal(c[i].timeouts, 0);
		sleeps += c[i].sleeps;
		accelerated += c[i].l->stats.ipi_accelerated + c[i].l->stats.ipi_incomplete;
		lapic_destroy(c[i].l);
	}
	assert_true(sleeps > 0 && accelerated > 0);
	irqchip_destroy(chip);
}
