/* SPDX-License-Identifier: MIT */
/*
 * irq/ioapic.c - the I/O APIC (82093AA; version 0x20 of later chipsets when directed EOI is
 * enabled). docs/kvm-apic.md 1.6. All functions: chip->lock held.
 */
#include "irq/irq_priv.h"

#include "base/mem.h"

#define RTC_PIN 8
/* A pin that is served anew this many times at its own EOI is a storm: slow it down. */
#define STORM_EOIS 10000
#define STORM_DELAY_NS 10000000

static bool has_eoir(struct irqchip *chip)
{
	return atomic_load_explicit(&chip->set->eoi_mode, memory_order_relaxed) ==
	       EOI_SUPPRESS_ENABLED;
}

static void set_remote_irr(struct irqchip *chip, u32 pin, bool set)
{
	union ioapic_entry *e = &chip->ioapic.e[pin];

	if (e->remote_irr != set)
		irq_trace(standin_remote_irr, chip, pin, e->vector, set);
	e->remote_irr = set;
}

static s32 pin_gsi(struct irqchip *chip, u32 pin)
{
	return routing_pin_gsi(chip, KVM_IRQCHIP_IOAPIC, pin);
}

static struct apic_msg entry_msg(union ioapic_entry e)
{
	return (struct apic_msg){
		.dest = e.dest, .vector = e.vector, .delivery = e.delivery,
		.dest_logical = e.logical, .level = 1, .trigger_level = e.level,
	};
}

static void ioapic_reset(struct irqchip *chip)
{
	struct ioapic *io = &chip->ioapic;

	*io = (struct ioapic){ 0 };
	for (u32 i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		io->e[i].mask = 1;
}

/* -- delivery -- */

static int service(struct irqchip *chip, u32 pin, bool line_status)
{
	struct ioapic *io = &chip->ioapic;
	union ioapic_entry *e = &io->e[pin];
	struct apic_msg m;
	int ret;

	if (e->mask || (e->level && e->remote_irr))
		return -1;
	m = entry_msg(*e);
	if (!e->level)
		io->irr_delivered |= BIT(pin);
	if (pin == RTC_PIN && line_status)
		ret = apic_deliver_rtc(chip, &m);
	else
		ret = apic_deliver(chip, &m, NULL);
	irq_trace(kvm_ioapic_set_irq, chip, pin, e->dest, e->vector, ret == 0);
	if (ret && e->level)
		set_remote_irr(chip, pin, true);
	return ret;
}

/* The pin is high. */
static int assert_pin(struct irqchip *chip, u32 pin, bool line_status)
{
	struct ioapic *io = &chip->ioapic;
	u32 old = io->irr;

	/* The RTC is edge triggered, but its device model wants to know about ticks that the guest
	 * has not acknowledged yet. */
	if (pin == RTC_PIN && line_status && io->rtc_pending)
		return 0;
	io->irr |= BIT(pin);
	if (!io->e[pin].level) {
		io->irr_delivered &= ~BIT(pin);
		if (old & BIT(pin))
			return 0;	/* no edge */
	}
	return service(chip, pin, line_status);
}

int ioapic_set_irq(struct irqchip *chip, u32 pin, int level, enum irq_source source,
		   bool line_status)
{
	struct ioapic *io = &chip->ioapic;

	if (level)
		io->lines[pin] |= BIT(source);
	else
		io->lines[pin] &= ~BIT(source);
	if (io->lines[pin])
		return assert_pin(chip, pin, line_status);
	io->irr &= ~BIT(pin);
	return 1;
}

/* -- EOI -- */

static void finish_level(struct irqchip *chip, u32 pin)
{
	struct ioapic *io = &chip->ioapic;
	union ioapic_entry *e = &io->e[pin];

	set_remote_irr(chip, pin, false);
	if (e->mask || !(io->irr & BIT(pin))) {
		io->eoi_streak[pin] = 0;
		return;
	}
	if (++io->eoi_streak[pin] == STORM_EOIS) {
		io->eoi_streak[pin] = 0;
		if (!io->delayed_ns)
			io->delayed_ns = irqchip_now(chip) + STORM_DELAY_NS;
		return;
	}
	service(chip, pin, false);
}

static void rtc_eoi(struct irqchip *chip, struct lapic *l, u8 vector)
{
	if (l->rtc_vector != vector)
		return;
	l->rtc_vector = -1;
	chip->ioapic.rtc_pending--;
}

void ioapic_local_eoi(struct irqchip *chip, struct lapic *l, u8 vector, bool level)
{
	bool suppressed = level && eoi_suppressed(l);

	rtc_eoi(chip, l, vector);
	/* With an EOI register the guest says later when it is done (docs/kvm-apic.md 2.5a). */
	if (suppressed && has_eoir(chip))
		return;
	for (u32 pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++) {
		if (chip->ioapic.e[pin].vector != vector)
			continue;
		irq_trace(kvm_ack_irq, chip, KVM_IRQCHIP_IOAPIC, pin);
		irqchip_notify_ack(chip, pin_gsi(chip, pin));
		if (level && !suppressed)
			finish_level(chip, pin);
	}
}

/* Register 0x40 of version 0x20: EOI for one vector, by the entry's own trigger mode. */
static void write_eoir(struct irqchip *chip, u8 vector)
{
	for (u32 pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++) {
		if (chip->ioapic.e[pin].vector != vector || !chip->ioapic.e[pin].level)
			continue;
		irq_trace(kvm_ack_irq, chip, KVM_IRQCHIP_IOAPIC, pin);
		irqchip_notify_ack(chip, pin_gsi(chip, pin));
		finish_level(chip, pin);
	}
}

static void ioapic_run_delayed(struct irqchip *chip, u64 now)
{
	struct ioapic *io = &chip->ioapic;

	if (!io->delayed_ns || now < io->delayed_ns)
		return;
	io->delayed_ns = 0;
	for (u32 pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++)
		if (io->e[pin].level && io->irr & BIT(pin) && !io->e[pin].remote_irr) {
			irq_trace(kvm_ioapic_delayed_eoi_inj, chip, pin, io->e[pin].dest,
				  io->e[pin].vector);
			service(chip, pin, false);
		}
}

void ioapic_scan(struct irqchip *chip, void (*fn)(void *arg, const struct apic_msg *m), void *arg)
{
	struct ioapic *io = &chip->ioapic;

	/* The mask bit does not count: an interrupt may have been taken before it was set. */
	for (u32 pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++) {
		struct apic_msg m = entry_msg(io->e[pin]);

		if (io->e[pin].level || pin == RTC_PIN || irqchip_has_ack(chip, pin_gsi(chip, pin)))
			fn(arg, &m);
	}
}

/* -- registers -- */

static void write_entry(struct irqchip *chip, u32 pin, bool high, u32 v)
{
	struct ioapic *io = &chip->ioapic;
	union ioapic_entry *e = &io->e[pin], old = *e;

	if (high)
		e->bits = (u32)e->bits | (u64)v << 32;
	else
		e->bits = (e->bits & ~0xffffffffull) | v;
	e->remote_irr = old.remote_irr;
	e->status = old.status;
	/* Guests without an EOI register flip an entry to edge and back to clear this. */
	if (!e->level)
		set_remote_irr(chip, pin, false);
	if (e->mask != old.mask)
		irqchip_notify_mask(chip, pin_gsi(chip, pin), e->mask);
	if (e->level && !e->mask && !e->remote_irr && io->irr & BIT(pin)) {
		/* The line may have dropped while the pin was masked: where the device can be asked
		 * to raise it again, do that instead of injecting on old news. */
		if (irqchip_notify_resample(chip, pin_gsi(chip, pin)))
			io->irr &= ~BIT(pin);
		else
			service(chip, pin, false);
	}
	apic_wake_all(chip, IRQ_WAKE_SCAN);
}

static u32 read_indirect(struct irqchip *chip)
{
	struct ioapic *io = &chip->ioapic;
	u32 pin = (io->select - 0x10) >> 1;

	switch (io->select) {
	case 0:
	case 2:		/* arbitration id: always that of the id register */
		return (io->id & 15) << 24;
	case 1:
		return (KVM_IOAPIC_NUM_PINS - 1) << 16 | (has_eoir(chip) ? 0x20 : 0x11);
	case 3:		/* boot configuration: delivery by bus message */
		return has_eoir(chip) ? 1 : 0xffffffff;
	}
	if (io->select < 0x10 || pin >= KVM_IOAPIC_NUM_PINS)
		return 0xffffffff;
	return io->select & 1 ? io->e[pin].bits >> 32 : (u32)io->e[pin].bits;
}

static u32 ioapic_read(struct irqchip *chip, u32 offset)
{
	switch (offset) {
	case 0x00:
		return chip->ioapic.select;
	case 0x10:
		return read_indirect(chip);
	default:
		return 0;
	}
}

static void ioapic_write(struct irqchip *chip, u32 offset, u32 v)
{
	struct ioapic *io = &chip->ioapic;
	u32 pin = (io->select - 0x10) >> 1;

	switch (offset) {
	case 0x00:
		io->select = v & 0xff;
		break;
	case 0x10:
		if (io->select == 0)
			io->id = v >> 24 & 15;
		else if (io->select >= 0x10 && pin < KVM_IOAPIC_NUM_PINS)
			write_entry(chip, pin, io->select & 1, v);
		break;
	case 0x40:
		if (has_eoir(chip))
			write_eoir(chip, (u8)v);
		break;
	}
}

/* -- state -- */

static void ioapic_get_state(struct irqchip *chip, struct kvm_ioapic_state *s)
{
	struct ioapic *io = &chip->ioapic;

	*s = (struct kvm_ioapic_state){
		.base_address = IOAPIC_BASE, .ioregsel = io->select, .id = io->id,
		.irr = io->irr & ~io->irr_delivered,
	};
	for (u32 i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		s->redirtbl[i].bits = io->e[i].bits;
}

/* Is this vCPU still to EOI the RTC interrupt? Known from its IRR and ISR after a restore. */
void ioapic_rtc_restore(struct irqchip *chip, struct lapic *l)
{
	union ioapic_entry e = chip->ioapic.e[RTC_PIN];
	bool want;

	if (chip->mode != IRQCHIP_FULL)
		return;
	want = apic_match(l, NULL, APIC_TO_DEST, e.dest, e.logical) &&
	       (lapic_test(l, APIC_IRR, e.vector) || lapic_test(l, APIC_ISR, e.vector));
	if (want && l->rtc_vector < 0)
		chip->ioapic.rtc_pending++;
	else if (!want && l->rtc_vector >= 0)
		chip->ioapic.rtc_pending--;
	l->rtc_vector = want ? e.vector : -1;
}

static void ioapic_set_state(struct irqchip *chip, const struct kvm_ioapic_state *s)
{
	struct ioapic *io = &chip->ioapic;
	struct apic_map *map;
	u32 g;

	io->select = s->ioregsel & 0xff;
	io->id = s->id & 15;
	for (u32 i = 0; i < KVM_IOAPIC_NUM_PINS; i++) {
		io->e[i].bits = s->redirtbl[i].bits;
		/* No such thing; were it kept, making the entry level would stick the pin. */
		if (!io->e[i].level)
			io->e[i].remote_irr = 0;
	}
	io->irr = 0;
	io->irr_delivered = 0;
	g = grace_enter(&chip->map_grace);
	map = atomic_load(&chip->map);
	for (u32 i = 0; map && i < map->n; i++)
		ioapic_rtc_restore(chip, map->all[i]);
	grace_leave(&chip->map_grace, g);
	apic_wake_all(chip, IRQ_WAKE_SCAN);
	/* Who holds the line is not part of the state: the sources say so again themselves. */
	for (u32 i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		if (s->irr & BIT(i))
			assert_pin(chip, i, true);
}

/* -- the row -- */

/* Registers are 16 bytes apart and answer at their own address. */
static void read(struct irqchip *chip, u64 gpa, void *buf, u32 len)
{
	u32 v = gpa & 15 ? 0 : ioapic_read(chip, gpa & 0xff);

	cpu_copy(buf, &v, len < 4 ? len : 4);
}

static void write(struct irqchip *chip, u64 gpa, const void *buf, u32 len)
{
	u32 v = 0;

	if (gpa & 15)
		return;
	cpu_copy(&v, buf, len < 4 ? len : 4);
	ioapic_write(chip, gpa & 0xff, v);
}

static void get(struct irqchip *chip, struct kvm_irqchip *s)
{
	ioapic_get_state(chip, &s->chip.ioapic);
}

static void set(struct irqchip *chip, const struct kvm_irqchip *s)
{
	ioapic_set_state(chip, &s->chip.ioapic);
}

const struct irq_device ioapic_device = {
	.range = { { IOAPIC_BASE, IOAPIC_SIZE } },
	.mmio = true,
	.read = read,
	.write = write,
	.deadline = offsetof(struct irqchip, ioapic.delayed_ns),
	.timer = ioapic_run_delayed,
	.reset = ioapic_reset,
	.chip_ids = BIT(KVM_IRQCHIP_IOAPIC),
	.get = get,
	.set = set,
};
