/* SPDX-License-Identifier: MIT */
/*
 * Two fabrics are fed one stream of random operations: in one AVIC is active whenever
 * nothing forbids it, in the other it is inhibited. After every operation all registers
 * of all APICs, the I/O APIC, the PIC and every result must be the same, a vCPU that has
 * something new to take must have been told, and nothing in IRR or ISR may get lost.
 *
 * test_irq_twin [operations [seed]]
 */
/* Run: build/tests/unit/test_irq_twin [COUNT [SEED]] */
#include "irq_rig.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define CPUS 4
#define ROUND 20000	/* operations with one pair of fabrics */

static u64 seed = 0x9e3779b97f4a7c15ull, operations = 10000000;
static u64 seen_active, seen_accelerated, seen_incomplete, seen_acks, round_seed;

static u32 rnd(u32 n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (u32)(seed >> 32) % n;
}

static bool one_in(u32 n)
{
	return rnd(n) == 0;
}

/* -- operations -- */

enum kind {
	OP_ACK, OP_EOI, OP_TPR, OP_CR8, OP_ICR, OP_SELF, OP_POST, OP_REG, OP_READ, OP_LINE, OP_MSI,
	OP_RUNNING, OP_TIME, OP_BASE, OP_RESET, OP_STATE, OP_IOAPIC, OP_PORT, OP_INHIBIT, OP_EXTINT,
	OP_LVT, OP_CHIPSTATE, OP_DEADLINE, OP_NESTED, OP_PVIPI, OP_ACKREG,
	OP_ORDER,	/* the operating system sets all APICs up again */
};

/* How often, of 256. */
static const u8 weights[][2] = {
	{ OP_ACK, 44 }, { OP_EOI, 41 }, { OP_TPR, 9 }, { OP_CR8, 8 }, { OP_ICR, 34 },
	{ OP_SELF, 8 }, { OP_POST, 12 }, { OP_REG, 10 }, { OP_READ, 11 }, { OP_LINE, 16 },
	{ OP_MSI, 12 }, { OP_RUNNING, 16 }, { OP_TIME, 4 }, { OP_BASE, 1 }, { OP_RESET, 1 },
	{ OP_STATE, 1 }, { OP_IOAPIC, 6 }, { OP_PORT, 4 }, { OP_INHIBIT, 2 }, { OP_EXTINT, 2 },
	{ OP_LVT, 2 }, { OP_CHIPSTATE, 1 }, { OP_DEADLINE, 1 }, { OP_NESTED, 2 }, { OP_PVIPI, 1 },
	{ OP_ACKREG, 1 }, { OP_ORDER, 6 },
};
static u8 by_weight[256];

struct op {
	u8 kind, cpu;
	bool flag;
	u32 reg;
	u64 v, w;
};

static const u16 writable[] = {
	APIC_ID, APIC_TPR, APIC_EOI, APIC_LDR, APIC_DFR, APIC_SPIV, APIC_ICR2, APIC_LVTT, APIC_LVT0,
	APIC_LVT1, APIC_LVTERR, APIC_LVTPC, APIC_TMICT, APIC_TDCR, APIC_ESR, APIC_RRR, APIC_ISR,
	APIC_IRR + 0x20, APIC_PPR, 0x2f0, 0x3f0, 0x3c0,
};

/* Mostly what an operating system writes, sometimes anything. */
static bool cluster_model;	/* of OP_ORDER */

static u32 good_ldr(u32 cpu)
{
	return (cluster_model ? 0x10u | 1u << cpu : 1u << cpu) << 24;
}

static u32 reg_value(u32 reg, u32 cpu, u32 id)
{
	u32 any = rnd(2) ? rnd(0x20000) : rnd(0xffffffff);

	switch (reg) {
	case APIC_ID:
		return one_in(20) ? any : id << 24;
	case APIC_LDR:
		return one_in(20) ? any : good_ldr(cpu);
	case APIC_DFR:
		return one_in(20) ? any : cluster_model ? DFR_CLUSTER : DFR_FLAT;
	case APIC_SPIV:
		return one_in(6) ? any : any | SPIV_ENABLE;
	default:
		return any;
	}
}

static u32 random_icr(void)
{
	u32 vector = one_in(40) ? rnd(16) : one_in(2) ? 0x40 + rnd(32) : 16 + rnd(240);
	u32 icr = vector | ICR_ASSERT | rnd(4) << 18;

	if (one_in(3))
		icr &= ~ICR_SHORTHAND;
	if (rnd(2))
		icr |= ICR_LOGICAL;
	if (one_in(10))
		icr ^= rnd(0x10000) & 0xff00;	/* delivery mode, level, busy ... */
	return icr;
}

static u64 random_dest(struct rig *r, bool x2)
{
	u32 id = r->cpu[rnd(CPUS)].l->id;

	switch (rnd(8)) {
	case 0:
		return x2 ? X2APIC_BROADCAST : XAPIC_BROADCAST;
	case 1:
		return rnd(256);
	case 2:
		return x2 ? rnd(0xffffffff) : rnd(256);
	case 3:
		return 0x10 | rnd(16);
	case 4:
		return x2 ? x2apic_ldr(id) | (rnd(2) ? rnd(16) : 0) : id & 0xff;
	case 5:
		return id;
	default:
		return rnd(1u << CPUS);
	}
}

static struct op choose(struct rig *r)
{
	struct op o = { .kind = by_weight[rnd(256)], .cpu = (u8)rnd(CPUS), .flag = rnd(2) };
	struct lapic *l = r->cpu[o.cpu].l;

	o.v = rnd(0xffffffff);
	switch (o.kind) {
	case OP_TPR:
	case OP_CR8:
		if (rnd(4))
			o.v = rnd(2);
		break;
	case OP_ICR:
		o.v = random_icr();
		o.w = random_dest(r, lapic_x2apic(l));
		break;
	case OP_REG:
		o.reg = writable[rnd(ARRAY_SIZE(writable))];
		o.v = reg_value(o.reg, o.cpu, l->id);
		break;
	case OP_READ:
		o.reg = rnd(0x44) * 16;
		break;
	case OP_INHIBIT:
		o.reg = rnd(4);
		break;
	case OP_BASE:
		o.v = one_in(8) ? 0 : APIC_BASE_EN | (rnd(2) ? APIC_BASE_EXTD : 0);
		o.flag = one_in(2);
		break;
	case OP_IOAPIC:
		o.reg = one_in(8) ? rnd(0x42) : 0x10 + rnd(48);
		o.v = o.reg & 1	  ? (u64)rnd(1u << CPUS) << 24
		      : one_in(8) ? o.v
				  : (o.v & 0xf8ff & ~0x700u) | (one_in(4) ? RTE_MASKED : 0);
		break;
	case OP_RUNNING:
		break;
	case OP_ORDER:
		cluster_model = o.v & 1;
		break;
	default:
		o.w = rnd(0xffffffff);
	}
	return o;
}

/* A guest's access in the current mode; what it reads, or a marker for #GP. */
static u64 guest_write(struct lapic *l, u32 reg, u64 v)
{
	u32 v32 = (u32)v;

	if (lapic_x2apic(l))
		return lapic_msr_write(l, 0x800 + reg / 16, v) ? 0xbad : 0;
	return lapic_mmio_write(l, reg, &v32, 4) ? 0xbad : 0;
}

static u64 guest_read(struct lapic *l, u32 reg)
{
	u64 v = 0;

	if (lapic_x2apic(l))
		return lapic_msr_read(l, 0x800 + reg / 16, &v) ? 0xbadull << 32 : v;
	return lapic_mmio_read(l, reg, &v, 4) ? 0xbadull << 32 : v;
}

static u64 set_state(struct rig *r, struct lapic *l, const struct op *o)
{
	u8 page[LAPIC_STATE_SIZE];
	bool wide = atomic_load(&r->chip->set->ids_32bit);
	u64 garbage = o->w << 32 | o->v | 1;

	(void)lapic_get_state(l, page, wide);
	if (o->flag)	/* any register, any value; at times all of them */
		for (u32 i = o->v % 64; i < 64; i += o->w & 3 ? 64 : 1) {
			u32 v = (u32)(garbage >> (i % 32));

			memcpy(page + i * 16, &v, 4);
		}
	return (u64)(s64)lapic_set_state(l, page, wide);
}

static u64 inhibit(struct rig *r, const struct op *o)
{
	struct lapic *l = r->cpu[o->cpu].l;

	switch (o->reg) {
	case 0:
		apicv_vcpu_reason(l, APICV_INHIBIT_BLOCKIRQ, o->flag);
		break;
	case 1:
		if (apicv_count_irq_window(l, o->flag))
			apicv_eval_irq_window(l);
		break;
	case 2:
		apicv_vcpu_reason(l, APICV_INHIBIT_HYPERV, o->flag);
		break;
	default:
		if (!o->flag)
			return (u64)(s64)irqchip_pit_reinject(r->chip, false);
		return (u64)(s64)irqchip_pit_reinject(r->chip, o->v & 1);
	}
	return 0;
}

static void order(struct rig *r, const struct op *o)
{
	for (u32 i = 0; i < CPUS; i++) {
		struct lapic *l = r->cpu[i].l;

		lapic_set_base(l, APIC_DEFAULT_BASE | APIC_BASE_EN, true);
		guest_write(l, APIC_SPIV, 0x1ff);
		guest_write(l, APIC_DFR, cluster_model ? DFR_CLUSTER : DFR_FLAT);
		guest_write(l, APIC_ID, l->id << 24);
		guest_write(l, APIC_LDR, good_ldr(i));
		if (o->flag)
			lapic_set_base(l, APIC_DEFAULT_BASE | APIC_BASE_EN | APIC_BASE_EXTD, true);
		apicv_vcpu_reason(l, APICV_INHIBIT_BLOCKIRQ, false);
		apicv_vcpu_reason(l, APICV_INHIBIT_HYPERV, false);
		if (apicv_count_irq_window(l, false))
			apicv_eval_irq_window(l);
		apicv_set_nested(l, false);
	}
	irqchip_pit_reinject(r->chip, false);
}

static u64 apply(struct rig *r, const struct op *o)
{
	static const u16 ports[] = {
		0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x42, 0x43, 0x61,
	};
	struct lapic *l = r->cpu[o->cpu].l;
	struct kvm_irqchip s = { .chip_id = o->v % 3 };
	u8 b = (u8)o->w;
	u16 port;

	switch (o->kind) {
	case OP_ACK:
		return (u64)(s64)lapic_ack(l);
	case OP_EOI:
		return guest_write(l, APIC_EOI, 0);
	case OP_TPR:
		return guest_write(l, APIC_TPR, o->v & 0xff);
	case OP_CR8:
		lapic_set_tpr(l, o->v & 15);
		return lapic_get_tpr(l);
	case OP_ICR:
		if (lapic_x2apic(l))
			return guest_write(l, APIC_ICR, o->w << 32 | o->v);
		guest_write(l, APIC_ICR2, o->w << 24);
		return guest_write(l, APIC_ICR, o->v);
	case OP_SELF:
		return guest_write(l, APIC_SELF_IPI, o->flag ? 16 + o->v % 240 : o->v);
	case OP_POST:
		return lapic_set_irq(l, (u8)(16 + o->v % 240), o->flag);
	case OP_REG:
		return guest_write(l, o->reg, o->v);
	case OP_READ:
		return guest_read(l, o->reg);
	case OP_LINE:
		return (u64)(s64)irqchip_set_irq(r->chip, o->v % 26, o->flag, (o->v >> 8) % 2,
						 o->v >> 16 & 1);
	case OP_MSI:
		return (u64)(s64)irqchip_send_msi(r->chip, 0xfee00000 | (o->v & 0xf00c), 0,
						  o->w & 0x80ff);
	case OP_RUNNING:
		if (o->flag)
			lapic_load(l);
		else
			lapic_put_away(l);
		return (u64)(s64)lapic_pending_vector(l);
	case OP_TIME:
		irqchip_timer(r->chip);
		for (u32 i = 0; i < CPUS; i++)
			lapic_poll_timer(r->cpu[i].l);
		return lapic_next_event_ns(l);
	case OP_BASE:
		return (u64)(s64)lapic_set_base(l, APIC_DEFAULT_BASE | o->v, o->flag);
	case OP_RESET:
		lapic_reset(l, o->flag);
		return 0;
	case OP_STATE:
		return set_state(r, l, o);
	case OP_IOAPIC:
		rig_io_write(r, o->reg, (u32)o->v);
		return rig_io_read(r, o->reg);
	case OP_PORT:
		port = ports[o->v % ARRAY_SIZE(ports)];
		if (o->flag)
			return (u64)(s64)irqchip_pio_write(r->chip, port, &b, 1);
		irqchip_pio_read(r->chip, port, &b, 1);
		return b;
	case OP_INHIBIT:
		return inhibit(r, o);
	case OP_EXTINT:
		if (!irqchip_extint_pending(r->chip) || !lapic_accepts_extint(l))
			return 0;
		return (u64)(s64)irqchip_extint_ack(r->chip);
	case OP_LVT:
		return lapic_deliver_lvt(l, o->v % 7);
	case OP_CHIPSTATE:
		if (irqchip_get_state(r->chip, &s))
			return 1;
		return (u64)(s64)irqchip_set_state(r->chip, &s);
	case OP_DEADLINE:
		lapic_set_tsc_deadline(l, o->flag ? (rig_now + o->v % 1000000) * TSC_PER_NS : 0);
		return lapic_get_tsc_deadline(l);
	case OP_NESTED:
		apicv_set_nested(l, o->flag && o->v & 1);
		return 0;
	case OP_ORDER:
		order(r, o);
		return 0;
	case OP_PVIPI:
		return (u64)(s64)apic_send_pv_ipi(r->chip, o->v & 15, 0, 0, 0x4000 | (o->w & 0xff),
						  64);
	case OP_ACKREG:
		if (o->flag)
			return (u64)(s64)irqchip_ack_register(r->chip, o->v % 24);
		irqchip_ack_unregister(r->chip, o->v % 24);
		return 0;
	}
	return 0;
}

/* What a vCPU does before it enters the guest (docs/kvm-apic.md 1.4). Exits are part of what is
 * compared. */
static u64 serve(struct rig *r, u32 cpu)
{
	struct rig_cpu *c = &r->cpu[cpu];
	u64 exits = 0;
	u8 vector;

	if (c->wakes[IRQ_WAKE_IOAPIC_EOI]) {
		c->wakes[IRQ_WAKE_IOAPIC_EOI] = 0;
		if (lapic_take_pending_eoi(c->l, &vector))
			exits = 0x100 | vector;
	}
	while (c->wakes[IRQ_WAKE_SCAN] || c->wakes[IRQ_WAKE_APICV]) {
		if (c->wakes[IRQ_WAKE_SCAN]) {
			c->wakes[IRQ_WAKE_SCAN] = 0;
			lapic_scan(c->l);
		}
		if (c->wakes[IRQ_WAKE_APICV]) {
			c->wakes[IRQ_WAKE_APICV] = 0;
			apicv_update(c->l);
		}
	}
	assert_true(apicv_consistent(c->l));
	return exits;
}

/* -- what must hold -- */

struct before {
	u32 irr[8], isr[8];
	int pending;
	u32 told;
};

static void take(struct rig *r, struct before b[CPUS])
{
	for (u32 i = 0; i < CPUS; i++) {
		struct lapic *l = r->cpu[i].l;

		for (u32 w = 0; w < 8; w++) {
			b[i].irr[w] = lapic_get(l, APIC_IRR + w * 16);
			b[i].isr[w] = lapic_get(l, APIC_ISR + w * 16);
		}
		b[i].pending = lapic_pending_vector(l);
		b[i].told = rig_told(r, i);
	}
}

static u32 differing(const u32 *was, struct lapic *l, u32 reg, bool lost)
{
	u32 n = 0;

	for (u32 w = 0; w < 8; w++) {
		u32 now = lapic_get(l, reg + w * 16);

		n += (u32)__builtin_popcount(lost ? was[w] & ~now : now & ~was[w]);
	}
	return n;
}

static void check_kept(struct rig *r, const struct op *o, const struct before b[CPUS], u64 result)
{
	for (u32 i = 0; i < CPUS; i++) {
		struct lapic *l = r->cpu[i].l;
		bool own = i == o->cpu;
		u32 irr_lost, isr_lost, isr_new;
		int pending = lapic_pending_vector(l);

		/* Told of everything new. Its own acknowledge, reset and loaded state need no
		 * telling; time is polled by the vCPU itself. */
		if (pending >= 0 && pending != b[i].pending &&
		    !(own && (o->kind == OP_ACK || o->kind == OP_RESET || o->kind == OP_STATE)))
			assert_int_not_equal(rig_told(r, i), b[i].told);
		if (own && (o->kind == OP_RESET || o->kind == OP_STATE))
			continue;
		irr_lost = differing(b[i].irr, l, APIC_IRR, true);
		isr_lost = differing(b[i].isr, l, APIC_ISR, true);
		isr_new = differing(b[i].isr, l, APIC_ISR, false);
		if (own && o->kind == OP_ACK && (s64)result >= 0) {
			assert_int_equal(irr_lost, 1);
			assert_int_equal(isr_new, 1);
			assert_int_equal(isr_lost, 0);
			assert_int_equal(lapic_find_highest(l, APIC_ISR), result);
		} else {
			assert_int_equal(irr_lost, 0);
			assert_int_equal(isr_new, 0);
			if (!own ||
			    (o->kind != OP_EOI && !(o->kind == OP_REG && o->reg == APIC_EOI)))
				assert_int_equal(isr_lost, 0);
			assert_true(isr_lost <= 1);
		}
	}
}

static void check_state(struct rig *r)
{
	struct ioapic *io = &r->chip->ioapic;

	for (u32 i = 0; i < CPUS; i++) {
		struct lapic *l = r->cpu[i].l;
		u32 ppr = lapic_get(l, APIC_PPR), tpr = lapic_get(l, APIC_TPR);
		int isr = lapic_find_highest(l, APIC_ISR);
		u32 isrv = isr < 0 ? 0 : (u32)isr & 0xf0;

		assert_int_equal(ppr, (tpr & 0xf0) >= isrv ? tpr & 0xff : isrv);
		if (lapic_find_highest(l, APIC_IRR) >= 0)
			assert_true(lapic_has_pending(l));
	}
	for (u32 pin = 0; r->chip->mode == IRQCHIP_FULL && pin < KVM_IOAPIC_NUM_PINS; pin++) {
		union ioapic_entry e = io->e[pin];

		if (!e.level) {
			assert_false(e.remote_irr);
			continue;
		}
		/* TMR and the set of reported EOIs: what a level entry has sent is reported. */
		for (u32 i = 0; e.remote_irr && i < CPUS; i++) {
			struct lapic *l = r->cpu[i].l;

			if (lapic_hw_enabled(l) &&
			    apic_match(l, NULL, APIC_TO_DEST, e.dest, e.logical))
				assert_true(l->fast.eoi_exit[e.vector / 64] >> (e.vector % 64) & 1);
		}
	}
}

/* cmocka's assertions cost a call each; the comparison itself must be cheap. */
static void differ(struct rig *a, struct rig *b, const struct op *o, u64 at, const char *what)
{
	print_error("round seed %#" PRIx64 " operation %" PRIu64
		    ": kind %u cpu %u reg %#x v %#" PRIx64 " w %#" PRIx64 " flag %d: %s differs\n",
		    round_seed, at, o->kind, o->cpu, o->reg, o->v, o->w, o->flag, what);
	for (u32 i = 0; i < CPUS; i++)
		for (u32 reg = 0; reg < 0x400; reg += 16)
			if (lapic_get(a->cpu[i].l, reg) != lapic_get(b->cpu[i].l, reg))
				print_error("cpu %u reg %#x: %#x (AVIC), %#x\n", i, reg,
					    lapic_get(a->cpu[i].l, reg),
					    lapic_get(b->cpu[i].l, reg));
	fail();
}

static void compare(struct rig *a, struct rig *b, const struct op *o, u64 at)
{
	struct irqchip *x = a->chip, *y = b->chip;

	for (u32 i = 0; i < CPUS; i++) {
		struct lapic *l = a->cpu[i].l, *m = b->cpu[i].l;

		if (memcmp(l->fast.page, m->fast.page, LAPIC_STATE_SIZE))
			differ(a, b, o, at, "register");
		if (atomic_load(&l->events) != atomic_load(&m->events) ||
		    lapic_get_base(l) != lapic_get_base(m) ||
		    lapic_next_event_ns(l) != lapic_next_event_ns(m) ||
		    l->rtc_vector != m->rtc_vector || l->highest_stale != m->highest_stale ||
		    memcmp(l->fast.eoi_exit, m->fast.eoi_exit, sizeof(l->fast.eoi_exit)))
			differ(a, b, o, at, "state");
	}
	if (memcmp(x->ioapic.e, y->ioapic.e, sizeof(x->ioapic.e)) ||
	    x->ioapic.irr != y->ioapic.irr || x->ioapic.irr_delivered != y->ioapic.irr_delivered ||
	    x->ioapic.rtc_pending != y->ioapic.rtc_pending)
		differ(a, b, o, at, "I/O APIC");
	if (memcmp(x->pic.s, y->pic.s, sizeof(x->pic.s)) || x->pit.pending != y->pit.pending ||
	    x->pit.irq_ack != y->pit.irq_ack)
		differ(a, b, o, at, "PIC or PIT");
	if (memcmp(a->acks, b->acks, sizeof(a->acks)))
		differ(a, b, o, at, "acks");
}

/* -- a pair -- */

static struct rig *twin(enum irqchip_mode mode, enum avic_kind kind, const u32 *ids, bool wide,
			bool no_quirk, enum eoi_mode eoi)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->chip = irqchip_create(mode, &rig_ops, r, &r->set, 24);
	assert_non_null(r->chip);
	irqchip_set_avic(r->chip, kind);
	rig_set_x2apic_api(r->chip, wide, no_quirk);
	rig_set_eoi_mode(r->chip, eoi);
	r->n = CPUS;
	for (u32 i = 0; i < CPUS; i++) {
		struct lapic *l = lapic_create(r->chip, &r->cpu[i], ids[i], i == 0);

		assert_non_null(l);
		r->cpu[i].l = l;
		lapic_set_features(l, LAPIC_HAS_X2APIC | LAPIC_HAS_TSC_DEADLINE, 48);
		assert_int_equal(lapic_reg_write(l, APIC_SPIV, 0x1ff), 0);
		assert_int_equal(lapic_reg_write(l, APIC_LDR, 1u << (24 + i)), 0);
	}
	return r;
}

static void set_routes(struct rig *r)
{
	struct kvm_irq_routing_entry e[24];

	memset(e, 0, sizeof(e));
	for (u32 i = 0; i < 24; i++) {
		e[i].gsi = i;
		e[i].type = KVM_IRQ_ROUTING_MSI;
		e[i].u.msi.address_lo = 0xfee00000 | (i % CPUS) << 12 | (i & 4);
		e[i].u.msi.data = (0x40 + i) | (i & 1) << 15;
	}
	assert_int_equal(irqchip_set_routing(r->chip, e, 24), 0);
}

static void one_round(u64 n, u64 first)
{
	static const u32 id_sets[][CPUS] = {
		{ 0, 1, 2, 3 }, { 0, 1, 2, 3 }, { 0, 1, 2, 254 }, { 0, 1, 2, 255 },
		{ 0, 1, 16, 300 }, { 0, 1, 2, 600 },
	};
	enum irqchip_mode mode = one_in(3) ? IRQCHIP_SPLIT : IRQCHIP_FULL;
	enum avic_kind kind = 1 + rnd(3);
	const u32 *ids = id_sets[rnd(ARRAY_SIZE(id_sets))];
	bool wide = rnd(2), no_quirk = rnd(2), pit = one_in(6), x2 = one_in(3);
	enum eoi_mode eoi = rnd(3);
	struct rig *a = twin(mode, kind, ids, wide, no_quirk, eoi);
	struct rig *b = twin(mode, kind, ids, wide, no_quirk, eoi);
	struct before before[CPUS];

	apicv_set_inhibit(b->chip, APICV_INHIBIT_SEV, true);
	if (mode == IRQCHIP_SPLIT) {
		set_routes(a);
		set_routes(b);
	} else if (pit) {
		irqchip_pit_create(a->chip, KVM_PIT_SPEAKER_DUMMY);
		irqchip_pit_create(b->chip, KVM_PIT_SPEAKER_DUMMY);
	}
	for (u32 i = 0; x2 && i < CPUS; i++) {
		rig_x2apic(a->cpu[i].l);
		rig_x2apic(b->cpu[i].l);
	}
	for (u32 i = 0; i < CPUS; i++) {
		serve(a, i);
		serve(b, i);
	}
	for (u64 k = 0; k < n; k++) {
		struct op o = choose(a);
		u64 ra, rb;

		if (o.kind == OP_TIME)
			rig_now += o.v % 1000000;
		take(a, before);
		ra = apply(a, &o);
		rb = apply(b, &o);
		if (ra != rb) {
			print_error("result %#" PRIx64 " and %#" PRIx64 "\n", ra, rb);
			differ(a, b, &o, first + k, "result");
		}
		check_kept(a, &o, before, ra);
		for (u32 i = 0; i < CPUS; i++)
			if (serve(a, i) != serve(b, i))
				differ(a, b, &o, first + k, "EOI exit");
		compare(a, b, &o, first + k);
		if (!(k % 16))
			check_state(a);
		seen_active += apicv_active(a->cpu[o.cpu].l);
		assert_false(apicv_active(b->cpu[o.cpu].l));
		seen_acks += o.kind == OP_ACK && (s64)ra >= 0;
	}
	for (u32 i = 0; i < CPUS; i++) {
		seen_accelerated += a->cpu[i].l->stats.ipi_accelerated;
		seen_incomplete += a->cpu[i].l->stats.ipi_incomplete;
	}
	rig_free(a);
	rig_free(b);
}

T(accelerated_and_inhibited_agree)
{
	struct timespec from, to;
	u64 done = 0;
	u32 k = 0;

	for (u32 i = 0; i < ARRAY_SIZE(weights); i++)
		for (u32 j = 0; j < weights[i][1]; j++)
			by_weight[k++] = weights[i][0];
	assert_int_equal(k, 256);
	rig_now = 1000000;
	clock_gettime(CLOCK_MONOTONIC, &from);
	while (done < operations) {
		u64 n = operations - done < ROUND ? operations - done : ROUND;

		round_seed = seed;
		one_round(n, done);
		done += n;
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	print_message("%" PRIu64 " operations in %ld s: %" PRIu64 " with AVIC active, %" PRIu64
		      " interrupts, IPIs %" PRIu64 " accelerated and %" PRIu64 " not\n",
		      done, (long)(to.tv_sec - from.tv_sec), seen_active, seen_acks,
		      seen_accelerated, seen_incomplete);
	/* The point of it all. */
	assert_true(seen_active > done / 4);
	if (done >= 1000000)
		assert_true(seen_accelerated > done / 100);
}

T_START(argc, argv)
{
	if (argc > 1)
		operations = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0);
	return argc - 1;
}
