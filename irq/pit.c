/* SPDX-License-Identifier: MIT */
/*
 * irq/pit.c - the 8254 timer with the PC's port 0x61. Only channel 0 makes interrupts; the others
 * are computed when read. State is kept in KVM's own structs. chip->lock held, except
 * in the irqchip_pit_* entry points.
 */
#include "irq/irq_priv.h"

#include <errno.h>

#define PIT_HZ 1193182ull
#define NS_PER_S 1000000000ull
#define MIN_PERIOD_NS 200000	/* a guest must not make the host spin; as for the APIC timer */

/* kvm_pit_channel_state.rw_mode and read_state, write_state: how bytes go in and out. */
enum { RW_LSB = 1, RW_MSB = 2, RW_WORD_LSB = 3, RW_WORD_MSB = 4 };

#define MODE_NONE 0xff	/* not programmed */

static u64 ticks_to_ns(u64 ticks)
{
	return (u64)((u128)ticks * NS_PER_S / PIT_HZ);
}

/* Input clocks since the count was loaded. */
static u64 elapsed(struct irqchip *chip, const struct kvm_pit_channel_state *c)
{
	s64 ns = (s64)irqchip_now(chip) - c->count_load_time;

	return ns <= 0 ? 0 : (u64)((u128)(u64)ns * PIT_HZ / NS_PER_S);
}

static u32 reload(const struct kvm_pit_channel_state *c)
{
	return c->count ? c->count : 0x10000;
}

static u16 counter(struct irqchip *chip, const struct kvm_pit_channel_state *c)
{
	u64 d = elapsed(chip, c);
	u32 n = reload(c);

	switch (c->mode) {
	case 0:
	case 1:
	case 4:
	case 5:
		return (u16)(n - d);
	case 3:		/* counts down by twos, twice per period */
		return (u16)(n - 2 * d % n);
	default:
		return (u16)(n - d % n);
	}
}

/* The OUT pin (8254 data sheet, mode definitions). */
static bool out_pin(struct irqchip *chip, const struct kvm_pit_channel_state *c)
{
	u64 d = elapsed(chip, c);
	u32 n = reload(c);

	switch (c->mode) {
	case 0:
		return d >= n;
	case 1:
		return d >= n;
	case 2:
		return d % n != n - 1;
	case 3:
		return d % n < (n + 1) / 2;
	case 4:
	case 5:
		return d != n;
	default:
		return false;
	}
}

/* -- channel 0's interrupt -- */

static void start_timer(struct irqchip *chip)
{
	struct pit *p = &chip->pit;
	struct kvm_pit_channel_state *c = &p->ch[0];
	u64 ns = ticks_to_ns(reload(c));

	p->deadline_ns = 0;
	p->period_ns = 0;
	/* The HPET has taken over the PIT's interrupt. */
	if (p->state_flags & KVM_PIT_FLAGS_HPET_LEGACY)
		return;
	switch (c->mode) {
	case 0:
	case 1:
	case 4:
		break;
	case 2:
	case 3:
		if (ns < MIN_PERIOD_NS)
			ns = MIN_PERIOD_NS;
		p->period_ns = ns;
		break;
	default:
		return;
	}
	p->deadline_ns = (u64)c->count_load_time + ns;
}

static void load_count(struct irqchip *chip, u32 ch, u32 v)
{
	struct kvm_pit_channel_state *c = &chip->pit.ch[ch];

	c->count = v ? v : 0x10000;
	c->count_load_time = (s64)irqchip_now(chip);
	if (ch == 0)
		start_timer(chip);
}

static void pit_expire(struct irqchip *chip, u64 now)
{
	struct pit *p = &chip->pit;
	u64 n = 1;

	if (!p->present || !p->deadline_ns || now < p->deadline_ns)
		return;
	if (p->period_ns) {
		n = (now - p->deadline_ns) / p->period_ns + 1;
		p->deadline_ns += n * p->period_ns;
	} else {
		p->deadline_ns = 0;
	}
	/* Ticks that came while one was being served are made up for (reinject) or lost. */
	if (p->reinject)
		p->pending = n > 0xffffffff - p->pending ? 0xffffffff : p->pending + (u32)n;
	p->tick = true;
}

/* IRQ0 pulses; also the NMI watchdog that rides on LINT0 in NMI mode. */
static void pit_run_tick(struct irqchip *chip)
{
	struct pit *p = &chip->pit;
	struct apic_map *map;
	u32 g;

	if (!p->tick)
		return;
	p->tick = false;
	if (p->reinject) {
		if (!p->irq_ack)
			return;
		p->irq_ack = false;
	}
	irqchip_set_irq_locked(chip, 0, 1, IRQ_SOURCE_PIT, false);
	irqchip_set_irq_locked(chip, 0, 0, IRQ_SOURCE_PIT, false);
	g = grace_enter(&chip->map_grace);
	map = atomic_load(&chip->map);
	for (u32 i = 0; map && i < map->n; i++)
		if ((lapic_get(map->all[i], APIC_LVT0) & (LVT_MASKED | LVT_MODE)) == APIC_NMI << 8)
			lapic_deliver_lvt(map->all[i], LVT_LINT0);
	grace_leave(&chip->map_grace, g);
}

static void pit_acked(struct irqchip *chip)
{
	struct pit *p = &chip->pit;

	if (!p->present || !p->reinject)
		return;
	p->irq_ack = true;
	if (p->pending && --p->pending)
		p->tick = true;
}

static void forget_missed(struct pit *p)
{
	p->pending = 0;
	p->irq_ack = true;
}

static void pit_unmasked(struct irqchip *chip)
{
	if (chip->pit.present && chip->pit.reinject)
		forget_missed(&chip->pit);
}

/* -- registers -- */

static void latch_count(struct irqchip *chip, struct kvm_pit_channel_state *c)
{
	if (c->count_latched)
		return;
	c->latched_count = counter(chip, c);
	c->count_latched = c->rw_mode;
}

static void latch_status(struct irqchip *chip, struct kvm_pit_channel_state *c)
{
	if (c->status_latched)
		return;
	c->status = (u8)(out_pin(chip, c) << 7 | c->rw_mode << 4 | c->mode << 1 | c->bcd);
	c->status_latched = 1;
}

static void write_control(struct irqchip *chip, u8 v)
{
	struct kvm_pit_channel_state *c;
	u32 ch = v >> 6;

	if (ch == 3) {		/* read-back */
		for (ch = 0; ch < 3; ch++) {
			if (!(v >> (ch + 1) & 1))
				continue;
			if (!(v & BIT(5)))
				latch_count(chip, &chip->pit.ch[ch]);
			if (!(v & BIT(4)))
				latch_status(chip, &chip->pit.ch[ch]);
		}
		return;
	}
	c = &chip->pit.ch[ch];
	if (!(v >> 4 & 3)) {
		latch_count(chip, c);
		return;
	}
	c->rw_mode = v >> 4 & 3;
	c->read_state = c->rw_mode;
	c->write_state = c->rw_mode;
	c->mode = v >> 1 & 7;
	if (c->mode > 5)
		c->mode -= 4;
	c->bcd = v & 1;
	c->count_latched = 0;
	/* Counting stops until a count is written; this is how guests stop the tick. */
	if (ch == 0) {
		chip->pit.deadline_ns = 0;
		chip->pit.period_ns = 0;
	}
}

static void write_count(struct irqchip *chip, u32 ch, u8 v)
{
	struct kvm_pit_channel_state *c = &chip->pit.ch[ch];

	switch (c->write_state) {
	default:
	case RW_LSB:
		load_count(chip, ch, v);
		break;
	case RW_MSB:
		load_count(chip, ch, (u32)v << 8);
		break;
	case RW_WORD_LSB:
		c->write_latch = v;
		c->write_state = RW_WORD_MSB;
		break;
	case RW_WORD_MSB:
		c->write_state = RW_WORD_LSB;
		load_count(chip, ch, c->write_latch | (u32)v << 8);
		break;
	}
}

static u8 read_count(struct irqchip *chip, struct kvm_pit_channel_state *c)
{
	u16 n;

	if (c->status_latched) {
		c->status_latched = 0;
		return c->status;
	}
	switch (c->count_latched) {
	case 0:
		break;
	case RW_MSB:
		c->count_latched = 0;
		return c->latched_count >> 8;
	case RW_WORD_LSB:
		c->count_latched = RW_MSB;
		return (u8)c->latched_count;
	default:
		c->count_latched = 0;
		return (u8)c->latched_count;
	}
	n = counter(chip, c);
	switch (c->read_state) {
	default:
	case RW_LSB:
		return (u8)n;
	case RW_MSB:
		return n >> 8;
	case RW_WORD_LSB:
		c->read_state = RW_WORD_MSB;
		return (u8)n;
	case RW_WORD_MSB:
		c->read_state = RW_WORD_LSB;
		return n >> 8;
	}
}

static void set_gate(struct irqchip *chip, struct kvm_pit_channel_state *c, bool gate)
{
	/* A rising gate restarts all modes but 0 and 4. */
	if (gate && !c->gate && c->mode != 0 && c->mode != 4)
		c->count_load_time = (s64)irqchip_now(chip);
	c->gate = gate;
}

static int pit_pio_write(struct irqchip *chip, u16 port, u8 v)
{
	switch (port) {
	case 0x40 ... 0x42:
		write_count(chip, port - 0x40, v);
		return 0;
	case 0x43:
		write_control(chip, v);
		return 0;
	case 0x61:
		chip->pit.speaker_on = v >> 1 & 1;
		set_gate(chip, &chip->pit.ch[2], v & 1);
		return 0;
	}
	return -ENOENT;
}

static int pit_pio_read(struct irqchip *chip, u16 port, u8 *v)
{
	struct kvm_pit_channel_state *c2 = &chip->pit.ch[2];

	switch (port) {
	case 0x40 ... 0x42:
		*v = read_count(chip, &chip->pit.ch[port - 0x40]);
		return 0;
	case 0x43:	/* write only */
		*v = 0;
		return 0;
	case 0x61:
		/* Bit 4 toggles with every DRAM refresh, some 15 us. */
		*v = (u8)(c2->gate | chip->pit.speaker_on << 1 | out_pin(chip, c2) << 5 |
			  (irqchip_now(chip) >> 14 & 1) << 4);
		return 0;
	}
	return -ENOENT;
}

/* -- VMM side -- */

bool irqchip_has_pit(struct irqchip *chip)
{
	bool present;

	irqchip_lock(chip);
	present = chip->pit.present;
	irqchip_unlock(chip);
	return present;
}

/* Lost ticks are made up for by watching EOIs, which acceleration would hide. */
static void set_reinject(struct irqchip *chip, bool on)
{
	if (on)
		forget_missed(&chip->pit);
	chip->pit.reinject = on;
	apicv_set_inhibit(chip, APICV_INHIBIT_PIT_REINJ, on);
	apic_wake_all(chip, IRQ_WAKE_SCAN);
}

int irqchip_pit_create(struct irqchip *chip, u32 flags)
{
	struct pit *p = &chip->pit;
	int ret = 0;

	irqchip_lock(chip);
	if (p->present) {
		ret = -EEXIST;
	} else if (chip->mode != IRQCHIP_FULL) {
		ret = -ENOENT;
	} else {
		*p = (struct pit){ .present = true, .create_flags = flags };
		for (u32 i = 0; i < 3; i++) {
			p->ch[i].mode = MODE_NONE;
			p->ch[i].gate = i != 2;
			load_count(chip, i, 0);
		}
		set_reinject(chip, true);
	}
	irqchip_unlock(chip);
	return ret;
}

int irqchip_pit_get(struct irqchip *chip, struct kvm_pit_state2 *s)
{
	struct pit *p = &chip->pit;
	int ret = -ENXIO;

	irqchip_lock(chip);
	if (p->present) {
		ret = 0;
		*s = (struct kvm_pit_state2){ .flags = p->state_flags };
		if (p->speaker_on)
			s->flags |= KVM_PIT_FLAGS_SPEAKER_DATA_ON;
		for (u32 i = 0; i < 3; i++)
			s->channels[i] = p->ch[i];
	}
	irqchip_unlock(chip);
	return ret;
}

int irqchip_pit_set(struct irqchip *chip, const struct kvm_pit_state2 *s)
{
	struct pit *p = &chip->pit;
	int ret = -ENXIO;

	irqchip_lock(chip);
	if (p->present) {
		ret = 0;
		for (u32 i = 0; i < 3; i++)
			p->ch[i] = s->channels[i];
		p->state_flags = s->flags & KVM_PIT_FLAGS_HPET_LEGACY;
		p->speaker_on = !!(s->flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON);
		/* Time does not travel: channel 0 starts a fresh period, as in KVM. */
		load_count(chip, 0, p->ch[0].count);
		forget_missed(p);
	}
	irqchip_unlock(chip);
	return ret;
}

int irqchip_pit_reinject(struct irqchip *chip, bool on)
{
	int ret = -ENXIO;

	irqchip_lock(chip);
	if (chip->pit.present) {
		ret = 0;
		if (chip->pit.reinject != on)
			set_reinject(chip, on);
	}
	irqchip_unlock(chip);
	return ret;
}

/* -- the row -- */

static bool answers(const struct irqchip *chip, u64 port)
{
	if (!chip->pit.present)
		return false;
	return port < 0x61 || (port == 0x61 && chip->pit.create_flags & KVM_PIT_SPEAKER_DUMMY);
}

/* Any size counts as a byte. */
static void read(struct irqchip *chip, u64 port, void *buf, u32 len)
{
	pit_pio_read(chip, (u16)port, buf);
}

static void write(struct irqchip *chip, u64 port, const void *buf, u32 len)
{
	pit_pio_write(chip, (u16)port, *(const u8 *)buf);
}

static bool wants_ack(const struct irqchip *chip)
{
	return chip->pit.present && chip->pit.reinject;
}

const struct irq_device pit_device = {
	.range = { { 0x40, 4 }, { 0x61, 4 } },
	.answers = answers,
	.read = read,
	.write = write,
	.deadline = offsetof(struct irqchip, pit.deadline_ns),
	.timer = pit_expire,
	.settle = pit_run_tick,
	.has_line = true,
	.gsi = 0,
	.wants_ack = wants_ack,
	.acked = pit_acked,
	.unmasked = pit_unmasked,
};
