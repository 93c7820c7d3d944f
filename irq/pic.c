/* SPDX-License-Identifier: MIT */
/*
 * irq/pic.c - the pair of 8259A interrupt controllers with the ELCR of the PIIX. State is kept in
 * KVM's own struct, which is what GET/SET_IRQCHIP carry. All functions: chip->lock held.
 */
#include "irq/irq_priv.h"

#include <errno.h>

/* ICW/OCW bits (8259A data sheet). */
#define ICW1_INIT	BIT(4)
#define ICW1_ICW4	BIT(0)
#define ICW1_SINGLE	BIT(1)
#define ICW4_AUTO_EOI	BIT(1)
#define ICW4_SFNM	BIT(4)
#define OCW3		BIT(3)
#define OCW3_POLL	BIT(2)
#define OCW3_READ	BIT(1)
#define OCW3_READ_ISR	BIT(0)
#define OCW3_SMM	BIT(6)
#define OCW3_SMM_ON	BIT(5)

#define CASCADE 2
#define NONE 8

static void pic_reset(struct irqchip *chip)
{
	chip->pic.s[0] = (struct kvm_pic_state){ .elcr_mask = 0xf8 };
	chip->pic.s[1] = (struct kvm_pic_state){ .elcr_mask = 0xde };
}

/* Highest priority among `mask`, 0 = first; NONE if empty. */
static u32 priority_of(const struct kvm_pic_state *s, u32 mask)
{
	for (u32 p = 0; p < 8; p++)
		if (mask >> ((p + s->priority_add) & 7) & 1)
			return p;
	return NONE;
}

/* The input to be served next, or -1. */
static int next_irq(const struct kvm_pic_state *s, bool master)
{
	u32 isr = s->isr, want = priority_of(s, s->irr & ~(u32)s->imr);

	if (want == NONE)
		return -1;
	if (s->special_mask)
		isr &= ~(u32)s->imr;
	/* Fully nested over the cascade: another slave input may interrupt the first. */
	if (master && s->special_fully_nested_mode)
		isr &= ~BIT(CASCADE);
	if (want >= priority_of(s, isr))
		return -1;
	return (int)((want + s->priority_add) & 7);
}

/* 1 accepted, 0 it was pending already, -1 masked. */
static int set_input(struct kvm_pic_state *s, u32 pin, bool level)
{
	u8 bit = (u8)(1u << pin);
	int ret = 1;

	if (s->elcr & bit) {
		if (level) {
			ret = !(s->irr & bit);
			s->irr |= bit;
			s->last_irr |= bit;
		} else {
			s->irr &= (u8)~bit;
			s->last_irr &= (u8)~bit;
		}
	} else if (level) {
		if (!(s->last_irr & bit)) {
			ret = !(s->irr & bit);
			s->irr |= bit;
		}
		s->last_irr |= bit;
	} else {
		s->last_irr &= (u8)~bit;
	}
	return s->imr & bit ? -1 : ret;
}

/* INTR goes to the first vCPU that listens to it. */
static void wake_listener(struct irqchip *chip)
{
	u32 g = grace_enter(&chip->map_grace);
	struct apic_map *map = atomic_load(&chip->map);

	for (u32 i = 0; map && i < map->n; i++) {
		if (!lapic_accepts_extint(map->all[i]))
			continue;
		lapic_wake(map->all[i], IRQ_WAKE_EVENT);
		break;
	}
	grace_leave(&chip->map_grace, g);
}

static void pic_update(struct irqchip *chip)
{
	struct pic *p = &chip->pic;
	bool out, was = atomic_load_explicit(&p->output, memory_order_relaxed);

	if (next_irq(&p->s[1], false) >= 0) {
		/* The cascade is a pulse: each look at the slave makes a fresh edge. */
		set_input(&p->s[0], CASCADE, true);
		set_input(&p->s[0], CASCADE, false);
	}
	out = next_irq(&p->s[0], true) >= 0;
	atomic_store(&p->output, out);
	if (out && !was)
		wake_listener(chip);
}

int pic_set_irq(struct irqchip *chip, u32 pin, int level, enum irq_source source)
{
	struct pic *p = &chip->pic;
	int ret;

	if (level)
		p->lines[pin] |= BIT(source);
	else
		p->lines[pin] &= ~BIT(source);
	ret = set_input(&p->s[pin / 8], pin % 8, p->lines[pin]);
	irq_trace(kvm_pic_set_irq, chip, pin / 8, pin % 8, ret == 0);
	pic_update(chip);
	return ret;
}

/* An input has been finished with: by EOI, automatic EOI or initialisation. */
static void clear_isr(struct irqchip *chip, u32 which, u32 pin)
{
	chip->pic.s[which].isr &= (u8) ~(1u << pin);
	irq_trace(kvm_ack_irq, chip, which, pin);
	irqchip_notify_ack(chip, routing_pin_gsi(chip, which, pin + which * 8));
}

static void acknowledge(struct irqchip *chip, u32 which, u32 pin)
{
	struct kvm_pic_state *s = &chip->pic.s[which];
	u8 bit = (u8)(1u << pin);

	s->isr |= bit;
	if (!(s->elcr & bit))
		s->irr &= (u8)~bit;
	if (!s->auto_eoi)
		return;
	if (s->rotate_on_auto_eoi)
		s->priority_add = (pin + 1) & 7;
	clear_isr(chip, which, pin);
}

/* INTA cycles. A request that has gone away gives input 7's vector (spurious). */
static int pic_ack(struct irqchip *chip)
{
	struct kvm_pic_state *m = &chip->pic.s[0], *s = &chip->pic.s[1];
	int irq = next_irq(m, true), irq2, vector;

	if (irq < 0) {
		vector = m->irq_base + 7;
	} else if (irq != CASCADE) {
		vector = m->irq_base + irq;
		acknowledge(chip, 0, (u32)irq);
	} else {
		irq2 = next_irq(s, false);
		vector = s->irq_base + (irq2 < 0 ? 7 : irq2);
		if (irq2 >= 0)
			acknowledge(chip, 1, (u32)irq2);
		acknowledge(chip, 0, CASCADE);
	}
	pic_update(chip);
	return vector & 0xff;
}

/* -- registers -- */

static void initialise(struct irqchip *chip, u32 which, u8 icw1)
{
	struct kvm_pic_state *s = &chip->pic.s[which];
	u8 pending = s->isr | s->irr;

	/* Level inputs that are still high stay requested; edges are forgotten. */
	s->init4 = icw1 & ICW1_ICW4;
	s->last_irr = 0;
	s->irr &= s->elcr;
	s->imr = 0;
	s->isr = 0;
	s->priority_add = 0;
	s->special_mask = 0;
	s->read_reg_select = 0;
	if (!s->init4) {
		s->special_fully_nested_mode = 0;
		s->auto_eoi = 0;
	}
	s->init_state = 1;
	/* Whoever waits for an EOI would wait for ever. */
	for (u32 i = 0; i < 8; i++)
		if (pending >> i & 1)
			clear_isr(chip, which, i);
}

static void end_of_interrupt(struct irqchip *chip, u32 which, u8 ocw2)
{
	struct kvm_pic_state *s = &chip->pic.s[which];
	u32 level = ocw2 & 7, p;

	switch (ocw2 >> 5) {
	case 0:		/* rotate in automatic EOI: off, on */
	case 4:
		s->rotate_on_auto_eoi = ocw2 >> 7;
		break;
	case 1:		/* EOI; 5: and rotate */
	case 5:
		p = priority_of(s, s->isr);
		if (p == NONE)
			break;
		p = (p + s->priority_add) & 7;
		if (ocw2 >> 5 == 5)
			s->priority_add = (p + 1) & 7;
		clear_isr(chip, which, p);
		break;
	case 3:		/* specific EOI; 7: and rotate */
	case 7:
		if (ocw2 >> 5 == 7)
			s->priority_add = (level + 1) & 7;
		clear_isr(chip, which, level);
		break;
	case 6:		/* set priority */
		s->priority_add = (level + 1) & 7;
		break;
	}
	pic_update(chip);
}

static void write_command(struct irqchip *chip, u32 which, u8 v)
{
	struct kvm_pic_state *s = &chip->pic.s[which];

	if (v & ICW1_INIT) {
		initialise(chip, which, v);
		pic_update(chip);
	} else if (v & OCW3) {
		if (v & OCW3_POLL)
			s->poll = 1;
		if (v & OCW3_READ)
			s->read_reg_select = v & OCW3_READ_ISR;
		if (v & OCW3_SMM)
			s->special_mask = !!(v & OCW3_SMM_ON);
	} else {
		end_of_interrupt(chip, which, v);
	}
}

static void write_data(struct irqchip *chip, u32 which, u8 v)
{
	struct kvm_pic_state *s = &chip->pic.s[which];
	u8 opened;

	switch (s->init_state) {
	case 0:
		opened = s->imr & (u8)~v;
		s->imr = v;
		for (u32 i = 0; i < 8; i++)
			if (opened >> i & 1)
				irqchip_notify_mask(
					chip, routing_pin_gsi(chip, which, i + which * 8), false);
		pic_update(chip);
		break;
	case 1:
		s->irq_base = v & 0xf8;
		s->init_state = 2;
		break;
	case 2:
		s->init_state = s->init4 ? 3 : 0;
		break;
	default:
		s->special_fully_nested_mode = !!(v & ICW4_SFNM);
		s->auto_eoi = !!(v & ICW4_AUTO_EOI);
		s->init_state = 0;
	}
}

static int pic_pio_write(struct irqchip *chip, u16 port, u8 v)
{
	switch (port) {
	case 0x20:
	case 0xa0:
		write_command(chip, port >> 7, v);
		return 0;
	case 0x21:
	case 0xa1:
		write_data(chip, port >> 7, v);
		return 0;
	case 0x4d0:
	case 0x4d1:
		chip->pic.s[port & 1].elcr = v & chip->pic.s[port & 1].elcr_mask;
		return 0;
	}
	return -ENOENT;
}

/* A poll is an acknowledge by reading (8259A: bit 7 = there is one). */
static u8 poll_read(struct irqchip *chip, u32 which)
{
	int irq = next_irq(&chip->pic.s[which], which == 0);

	if (irq < 0) {
		pic_update(chip);
		return 7;
	}
	if (which) {	/* the cascade input was raised for this */
		chip->pic.s[0].isr &= (u8)~BIT(CASCADE);
		chip->pic.s[0].irr &= (u8)~BIT(CASCADE);
	}
	chip->pic.s[which].irr &= (u8) ~(1u << irq);
	clear_isr(chip, which, (u32)irq);
	pic_update(chip);
	return (u8)(0x80 | irq);
}

static int pic_pio_read(struct irqchip *chip, u16 port, u8 *v)
{
	struct kvm_pic_state *s = &chip->pic.s[port >> 7 & 1];

	switch (port) {
	case 0x20:
	case 0x21:
	case 0xa0:
	case 0xa1:
		if (s->poll) {
			s->poll = 0;
			*v = poll_read(chip, port >> 7);
		} else if (port & 1) {
			*v = s->imr;
		} else {
			*v = s->read_reg_select ? s->isr : s->irr;
		}
		return 0;
	case 0x4d0:
	case 0x4d1:
		*v = chip->pic.s[port & 1].elcr;
		return 0;
	}
	return -ENOENT;
}

/* -- to the CPU -- */

bool irqchip_extint_pending(struct irqchip *chip)
{
	return atomic_load_explicit(&chip->pic.output, memory_order_acquire);
}

int irqchip_extint_ack(struct irqchip *chip)
{
	int v;

	if (chip->mode != IRQCHIP_FULL)
		return -1;
	irqchip_lock(chip);
	v = pic_ack(chip);
	irqchip_unlock(chip);
	return v;
}

/* -- the row -- */

/* Bytes only. */
static void read(struct irqchip *chip, u64 port, void *buf, u32 len)
{
	if (len == 1)
		pic_pio_read(chip, (u16)port, buf);
}

static void write(struct irqchip *chip, u64 port, const void *buf, u32 len)
{
	if (len == 1)
		pic_pio_write(chip, (u16)port, *(const u8 *)buf);
}

static void get(struct irqchip *chip, struct kvm_irqchip *s)
{
	s->chip.pic = chip->pic.s[s->chip_id];
}

static void set(struct irqchip *chip, const struct kvm_irqchip *s)
{
	chip->pic.s[s->chip_id] = s->chip.pic;
	pic_update(chip);
}

const struct irq_device pic_device = {
	.range = { { 0x20, 2 }, { 0xa0, 2 }, { 0x4d0, 2 } },
	.read = read,
	.write = write,
	.reset = pic_reset,
	.chip_ids = BIT(KVM_IRQCHIP_PIC_MASTER) | BIT(KVM_IRQCHIP_PIC_SLAVE),
	.get = get,
	.set = set,
};
