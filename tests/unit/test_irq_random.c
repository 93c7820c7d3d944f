/* SPDX-License-Identifier: MIT */
/*
 * Random streams of operations with invariants after each step, and posting threads
 * against a running owner.
 */
/* Run: build/tests/unit/test_irq_random [NAME...] */
#include "irq_rig.h"

#include <pthread.h>
#include <stdio.h>

#define CPUS 4
#define STEPS 60000

static u64 seed;

static u32 rnd(u32 n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (u32)(seed >> 32) % n;
}

/* -- invariants -- */

static void check_lapic(struct rig *r, u32 cpu)
{
	struct lapic *l = r->cpu[cpu].l;
	u32 ppr = lapic_get(l, APIC_PPR), tpr = lapic_get(l, APIC_TPR);
	int isr = lapic_find_highest(l, APIC_ISR), irr = lapic_find_highest(l, APIC_IRR);
	u32 isrv = isr < 0 ? 0 : (u32)isr & 0xf0;

	assert_int_equal(ppr, (tpr & 0xf0) >= isrv ? tpr : isrv);
	if (irr >= 0)
		assert_true(lapic_has_pending(l));
	if (!lapic_sw_enabled(l))
		for (u32 i = 0; i < l->nr_lvt; i++)
			if (i != LVT_LINT0 || !l->bsp)	/* reset leaves it open there */
				assert_true(lapic_get(l, lapic_lvt_offset(i)) & LVT_MASKED);
	if (lapic_x2apic(l)) {
		assert_int_equal(lapic_get(l, APIC_ID), cpu);
		assert_int_equal(lapic_get(l, APIC_LDR), x2apic_ldr(cpu));
	}
	if (!(lapic_get(l, APIC_SPIV) & SPIV_ENABLE))
		assert_false(lapic_set_irq(l, 0x20, false));
	assert_true(l->highest_stale < 256);
	if (l->highest_stale >= 0)
		assert_true(l->fast.eoi_exit[l->highest_stale / 64] >> (l->highest_stale % 64) & 1);
	if (l->timer_mode == LVT_TIMER_TSC_DEADLINE)
		assert_int_equal(lapic_get(l, APIC_TMICT), 0);
	assert_true(l->divide && !(l->divide & (l->divide - 1)) && l->divide <= 128);
}

/* In service: strictly rising priority classes, as only a higher one interrupts. */
static void check_nesting(struct rig *r, u32 cpu, const u8 *stack, u32 depth)
{
	struct lapic *l = r->cpu[cpu].l;
	u32 n = 0;

	for (u32 i = 0; i < 8; i++)
		n += (u32)__builtin_popcount(lapic_get(l, APIC_ISR + i * 16));
	assert_int_equal(n, depth);
	for (u32 i = 0; i < depth; i++) {
		assert_true(lapic_test(l, APIC_ISR, stack[i]));
		if (i)
			assert_true(stack[i] >> 4 > stack[i - 1] >> 4);
	}
}

static u32 restored;	/* pins that a state was loaded for */

static void check_ioapic(struct rig *r)
{
	struct ioapic *io = &r->chip->ioapic;
	u32 rtc = 0;

	for (u32 i = 0; i < KVM_IOAPIC_NUM_PINS; i++) {
		if (io->e[i].remote_irr)
			assert_true(io->e[i].level);
		/* Set by KVM_SET_IRQCHIP, a request stands without a line until that moves. */
		if (!io->lines[i] && io->irr & BIT(i))
			assert_true(restored & BIT(i));
	}
	restored &= io->irr;
	for (u32 i = 0; i < r->n; i++)
		rtc += r->cpu[i].l->rtc_vector >= 0;
	assert_int_equal(rtc, io->rtc_pending);
}

static void check_map(struct rig *r)
{
	struct apic_map *m = atomic_load(&r->chip->map);

	assert_int_equal(m->n, r->n);
	for (u32 id = 0; id <= m->max_id && m->one_to_one; id++) {
		if (!m->phys[id])
			continue;
		assert_true(lapic_hw_enabled(m->phys[id]));
		assert_true(apic_match(m->phys[id], NULL, APIC_TO_DEST, id, false));
	}
	assert_int_equal(!m->one_to_one,
			 !!(apicv_inhibits(r->chip) & BIT(APICV_INHIBIT_PHYSICAL_ID_ALIASED)));
}

/* -- the fast path must address exactly the APICs that match one by one -- */
static void check_delivery(struct rig *r)
{
	struct apic_msg m = {
		.dest = rnd(3) ? rnd(CPUS + 2) : rnd(256), .vector = 0xee, .level = 1,
		.dest_logical = (u8)rnd(2),
	};
	u32 want = 0, got = 0;
	int ret;

	for (u32 i = 0; i < r->n; i++) {
		struct lapic *l = r->cpu[i].l;

		if (lapic_hw_enabled(l) && lapic_sw_enabled(l) && !lapic_test(l, APIC_IRR, 0xee) &&
		    apic_match(l, NULL, APIC_TO_DEST, m.dest, m.dest_logical))
			want |= BIT(i);
		else if (lapic_test(l, APIC_IRR, 0xee))
			return;
	}
	ret = apic_deliver(r->chip, &m, NULL);
	for (u32 i = 0; i < r->n; i++) {
		if (!lapic_test(r->cpu[i].l, APIC_IRR, 0xee))
			continue;
		got |= BIT(i);
		atomic_fetch_and(lapic_reg(r->cpu[i].l, APIC_IRR + 0xee / 32 * 16),
				 ~(1u << (0xee % 32)));
	}
	assert_int_equal(got, want);
	if (want)
		assert_int_equal(ret, __builtin_popcount(want));
	else
		assert_true(ret <= 0);
}

struct model {
	u8 stack[16];
	u32 depth;
};

static void step_lapic(struct rig *r, struct model *m, u32 cpu)
{
	static const u16 regs[] = {
		APIC_ID, APIC_TPR, APIC_LDR, APIC_DFR, APIC_SPIV, APIC_ICR, APIC_ICR2, APIC_LVTT,
		APIC_LVT0, APIC_LVT1, APIC_LVTERR, APIC_TMICT, APIC_TDCR, APIC_ESR, APIC_LVTPC,
	};
	struct lapic *l = r->cpu[cpu].l;
	u32 v = rnd(3) ? rnd(0x20000) : rnd(0xffffffff), reg;
	u64 x;
	int vec;

	switch (rnd(10)) {
	case 0:
	case 1:
		vec = lapic_ack(l);
		if (vec >= 0)
			m->stack[m->depth++] = (u8)vec;
		break;
	case 2:
	case 3:
		if (m->depth)
			m->depth--;
		lapic_eoi(l);
		break;
	case 4:
		lapic_set_irq(l, (u8)(16 + rnd(240)), rnd(2));
		break;
	case 5:
	case 6:
		reg = regs[rnd(ARRAY_SIZE(regs))];
		if (reg == APIC_SPIV && rnd(4))
			v |= SPIV_ENABLE;
		if (reg == APIC_ID && rnd(4))
			v = cpu << 24;
		if (reg == APIC_LDR && rnd(4))
			v = 1u << (24 + cpu);
		if (lapic_x2apic(l))
			lapic_msr_write(l, 0x800 + reg / 16, v);
		else
			lapic_mmio_write(l, reg, &v, 4);
		break;
	case 7:
		reg = rnd(0x100);
		lapic_msr_read(l, 0x800 + reg, &x);
		lapic_mmio_read(l, reg * 16, &x, 4);
		lapic_take_events(l, ~0u, (u8 *)&x);
		break;
	case 8:
		if (!rnd(20)) {
			static const u64 modes[] = {
				0, APIC_BASE_EN, APIC_BASE_EN, APIC_BASE_EN | APIC_BASE_EXTD,
			};

			lapic_set_base(l, APIC_DEFAULT_BASE | modes[rnd(4)], rnd(2));
		}
		lapic_set_tsc_deadline(l, rnd(2) ? (rig_now + rnd(100000)) * TSC_PER_NS : 0);
		break;
	default:
		if (!rnd(100)) {
			lapic_reset(l, rnd(2));
			m->depth = 0;
		} else if (!rnd(50)) {
			u8 s[LAPIC_STATE_SIZE];

			lapic_get_state(l, s, false);
			assert_int_equal(lapic_set_state(l, s, false), 0);
		}
		lapic_poll_timer(l);
	}
	if (r->cpu[cpu].wakes[IRQ_WAKE_SCAN]) {
		r->cpu[cpu].wakes[IRQ_WAKE_SCAN] = 0;
		lapic_scan(l);
	}
	check_nesting(r, cpu, m->stack, m->depth);
}

static void step_chip(struct rig *r)
{
	static const u16 ports[] = {
		0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x41, 0x42, 0x43, 0x61,
	};
	u16 port = ports[rnd(ARRAY_SIZE(ports))];
	struct kvm_irqchip s;
	u32 v = rnd(0xffffffff);
	u8 b = (u8)rnd(256);

	switch (rnd(8)) {
	case 0:
	case 1:
		irqchip_set_irq(r->chip, rnd(26), (int)rnd(2), rnd(2), rnd(2));
		break;
	case 2:
		irqchip_pio_write(r->chip, port, &b, 1);
		break;
	case 3:
		irqchip_pio_read(r->chip, port, &b, 1);
		break;
	case 4:
		rig_io_write(r, rnd(0x42), rnd(2) ? v & 0xffff : v);
		break;
	case 5:
		irqchip_send_msi(r->chip, 0xfee00000 | (v & 0xff00c), 0, rnd(0x10000));
		break;
	case 6:
		rig_now += rnd(1000000);
		irqchip_timer(r->chip);
		break;
	default:
		if (irqchip_extint_pending(r->chip))
			irqchip_extint_ack(r->chip);
		if (!rnd(20)) {
			s.chip_id = rnd(3);
			assert_int_equal(irqchip_get_state(r->chip, &s), 0);
			if (s.chip_id == KVM_IRQCHIP_IOAPIC)
				restored |= s.chip.ioapic.irr;
			assert_int_equal(irqchip_set_state(r->chip, &s), 0);
		}
		if (!rnd(20))
			rig_set_eoi_mode(r->chip, rnd(3));
		if (!rnd(20))
			irqchip_pit_reinject(r->chip, rnd(2));
		if (!rnd(10)) {
			u32 gsi = rnd(24);

			if (r->chip->ack_refs[gsi])
				irqchip_ack_unregister(r->chip, gsi);
			else
				irqchip_ack_register(r->chip, gsi);
		}
	}
}

T(random_operations)
{
	const char *env = getenv("STANDIN_SEED");
	u64 first = env ? strtoull(env, NULL, 0) : 0x9e3779b97f4a7c15ull;

	for (u32 round = 0; round < 4; round++) {
		struct rig *r = rig_new(IRQCHIP_FULL, CPUS);
		struct model m[CPUS] = { 0 };

		seed = first + round;
		irqchip_pit_create(r->chip, KVM_PIT_SPEAKER_DUMMY);
		for (u32 i = 0; i < STEPS / 4; i++) {
			if (rnd(3)) {
				u32 cpu = rnd(CPUS);

				step_lapic(r, &m[cpu], cpu);
			} else {
				step_chip(r);
			}
			for (u32 c = 0; c < CPUS; c++)
				check_lapic(r, c);
			check_ioapic(r);
			check_map(r);
			if (!rnd(8))
				check_delivery(r);
		}
		rig_free(r);
	}
}

/* -- threads: every posted vector is acknowledged, none is lost -- */

#define POSTS 20000

struct poster {
	struct rig *r;
	u8 vector;
	_Atomic u32 acked;
};

static void *post(void *arg)
{
	struct poster *p = arg;

	for (u32 i = 0; i < POSTS; i++) {
		struct apic_msg m = { .vector = p->vector, .level = 1 };

		if (apic_deliver(p->r->chip, &m, NULL) != 1)
			return (void *)1;
		while (atomic_load(&p->acked) <= i)
			sched_yield();
	}
	return NULL;
}

/* Map updates run against the senders. */
static void *churn(void *arg)
{
	struct rig *r = arg;

	for (u32 i = 0; i < POSTS / 10; i++)
		rig_write(r->cpu[1].l, APIC_LDR, i << 24);
	return NULL;
}

T(posting_threads)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);
	struct poster p[3];
	pthread_t t[4];
	u32 done = 0;
	void *ret;

	for (u32 i = 0; i < 3; i++) {
		p[i] = (struct poster){ .r = r, .vector = (u8)(0x40 + 0x33 * i) };
		assert_int_equal(pthread_create(&t[i], NULL, post, &p[i]), 0);
	}
	assert_int_equal(pthread_create(&t[3], NULL, churn, r), 0);
	while (done < 3 * POSTS) {
		int v = lapic_has_pending(r->cpu[0].l) ? lapic_ack(r->cpu[0].l) : -1;

		if (v < 0) {
			sched_yield();
			continue;
		}
		lapic_eoi(r->cpu[0].l);
		atomic_fetch_add(&p[(v - 0x40) / 0x33].acked, 1);
		done++;
	}
	for (u32 i = 0; i < 4; i++) {
		pthread_join(t[i], &ret);
		assert_null(ret);
	}
	for (u32 i = 0; i < 3; i++)
		assert_int_equal(p[i].acked, POSTS);
	rig_free(r);
}

RIG_BOTH_KINDS
