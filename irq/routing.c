/* SPDX-License-Identifier: MIT */
/*
 * irq/routing.c - the GSI routing table (KVM_SET_GSI_ROUTING, docs/kvm-abi.md 5.2) and line
 * changes. The table is immutable; readers are counted (base/grace.h) and never block.
 */
#include "irq/irq_priv.h"

#include <errno.h>
#include <stdlib.h>

void routing_free(struct routing *r)
{
	if (!r)
		return;
	free(r->first);
	free(r->e);
	free(r);
}

/* 0 or -EINVAL. */
static int check_entry(struct irqchip *chip, const struct kvm_irq_routing_entry *in,
		       struct route *out)
{
	static const u8 pins[] = { 8, 8, KVM_IOAPIC_NUM_PINS };

	if (in->gsi >= IRQCHIP_MAX_GSI)
		return -EINVAL;
	*out = (struct route){ .gsi = in->gsi, .type = in->type };
	switch (in->type) {
	case KVM_IRQ_ROUTING_IRQCHIP:
		if (in->flags || chip->mode != IRQCHIP_FULL ||
		    in->u.irqchip.irqchip >= KVM_NR_IRQCHIPS ||
		    in->u.irqchip.pin >= pins[in->u.irqchip.irqchip])
			return -EINVAL;
		out->chip = in->u.irqchip.irqchip;
		out->pin = in->u.irqchip.pin;
		if (out->chip == KVM_IRQCHIP_PIC_SLAVE)
			out->pin += 8;
		return 0;
	case KVM_IRQ_ROUTING_MSI:
		if (in->flags & ~(u32)KVM_MSI_VALID_DEVID)
			return -EINVAL;
		out->msi = (struct msi){
			in->u.msi.address_lo, in->u.msi.address_hi, in->u.msi.data,
		};
		if (atomic_load(&chip->set->ids_32bit) && out->msi.hi & 0xff)
			return -EINVAL;
		return 0;
	case KVM_IRQ_ROUTING_HV_SINT:
		if (in->flags || !chip->ops->hv_sint)
			return -EINVAL;
		out->chip = in->u.hv_sint.vcpu;
		out->pin = in->u.hv_sint.sint;
		return 0;
	default:
		return -EINVAL;
	}
}

/* Messages and sources stand alone on their GSI and are raised without the chip's lock. */
static bool alone(u32 type)
{
	return type != KVM_IRQ_ROUTING_IRQCHIP;
}

static int routing_build(struct irqchip *chip, const struct kvm_irq_routing_entry *in, u32 n,
			 struct routing **out)
{
	struct routing *r = calloc(1, sizeof(*r));
	struct route e;
	int ret = -ENOMEM;

	if (!r)
		return -ENOMEM;
	for (u32 i = 0; i < 16; i++)
		r->pic_gsi[i] = -1;
	for (u32 i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		r->ioapic_gsi[i] = -1;
	for (u32 i = 0; i < n; i++) {
		if (in[i].gsi >= IRQCHIP_MAX_GSI) {
			ret = -EINVAL;
			goto fail;
		}
		if (in[i].gsi >= r->nr_gsi)
			r->nr_gsi = in[i].gsi + 1;
	}
	r->first = calloc(r->nr_gsi + 1, sizeof(*r->first));
	r->e = calloc(n ? n : 1, sizeof(*r->e));
	if (!r->first || !r->e)
		goto fail;
	ret = -EINVAL;
	/* Counting sort by GSI; a slot is free while its type is 0. */
	for (u32 i = 0; i < n; i++)
		r->first[in[i].gsi + 1]++;
	for (u32 g = 0; g < r->nr_gsi; g++)
		r->first[g + 1] += r->first[g];
	for (u32 i = 0; i < n; i++) {
		u32 slot;

		if (check_entry(chip, &in[i], &e))
			goto fail;
		/* One GSI may lead to one MSI, or to a pin of each controller. */
		slot = r->first[e.gsi];
		while (r->e[slot].type) {
			if (alone(r->e[slot].type) || alone(e.type) || r->e[slot].chip == e.chip)
				goto fail;
			slot++;
		}
		r->e[slot] = e;
		if (e.type != KVM_IRQ_ROUTING_IRQCHIP)
			continue;
		if (e.chip == KVM_IRQCHIP_IOAPIC)
			r->ioapic_gsi[e.pin] = (s32)e.gsi;
		else
			r->pic_gsi[e.pin] = (s32)e.gsi;
	}
	*out = r;
	return 0;
fail:
	routing_free(r);
	return ret;
}

int irqchip_set_routing(struct irqchip *chip, const struct kvm_irq_routing_entry *e, u32 n)
{
	struct routing *r, *old;
	int ret;

	if (n > IRQCHIP_MAX_GSI)
		return -EINVAL;
	ret = routing_build(chip, e, n, &r);
	if (ret)
		return ret;
	pthread_mutex_lock(&chip->route_lock);
	old = atomic_load(&chip->routing);
	atomic_store(&chip->routing, r);
	grace_wait(&chip->route_grace);
	pthread_mutex_unlock(&chip->route_lock);
	routing_free(old);
	for (u32 i = 0; i < n && chip->ops->hv_sint_route; i++)
		if (e[i].type == KVM_IRQ_ROUTING_HV_SINT)
			chip->ops->hv_sint_route(chip->vm, e[i].u.hv_sint.vcpu, e[i].u.hv_sint.sint,
						 e[i].gsi);
	/* Which EOIs matter has changed (docs/kvm-apic.md 1.5). */
	apic_wake_all(chip, IRQ_WAKE_SCAN);
	return 0;
}

int routing_set_default(struct irqchip *chip)
{
	struct kvm_irq_routing_entry e[KVM_IOAPIC_NUM_PINS + 16] = { 0 };
	u32 n = 0;

	for (u32 pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++) {
		e[n].gsi = pin;
		e[n].type = KVM_IRQ_ROUTING_IRQCHIP;
		e[n].u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
		e[n++].u.irqchip.pin = pin;
		if (pin >= 16)
			continue;
		e[n].gsi = pin;
		e[n].type = KVM_IRQ_ROUTING_IRQCHIP;
		e[n].u.irqchip.irqchip = pin < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
		e[n++].u.irqchip.pin = pin % 8;
	}
	return irqchip_set_routing(chip, e, n);
}

/* Copy out what a GSI leads to. */
static u32 routing_lookup(struct irqchip *chip, u32 gsi, struct route out[ROUTES_PER_GSI])
{
	u32 g = grace_enter(&chip->route_grace), n = 0;
	struct routing *r = atomic_load(&chip->routing);

	if (r && gsi < r->nr_gsi)
		for (u32 i = r->first[gsi]; i < r->first[gsi + 1] && n < ROUTES_PER_GSI; i++)
			out[n++] = r->e[i];
	grace_leave(&chip->route_grace, g);
	return n;
}

s32 routing_pin_gsi(struct irqchip *chip, u32 chip_id, u32 pin)
{
	u32 g = grace_enter(&chip->route_grace);
	struct routing *r = atomic_load(&chip->routing);
	s32 gsi = -1;

	if (r)
		gsi = chip_id == KVM_IRQCHIP_IOAPIC ? r->ioapic_gsi[pin] : r->pic_gsi[pin];
	grace_leave(&chip->route_grace, g);
	return gsi;
}

bool irqchip_gsi_is_msi(struct irqchip *chip, u32 gsi)
{
	struct route e[ROUTES_PER_GSI];

	return routing_lookup(chip, gsi, e) == 1 && e[0].type == KVM_IRQ_ROUTING_MSI;
}

static int set_one(struct irqchip *chip, const struct route *e, int level, enum irq_source source,
		   bool line_status)
{
	if (e->type == KVM_IRQ_ROUTING_MSI)
		return level ? msi_send(chip, &e->msi) : -1;
	if (e->type == KVM_IRQ_ROUTING_HV_SINT)
		return level ? chip->ops->hv_sint(chip->vm, e->chip, e->pin) : -1;
	if (e->chip == KVM_IRQCHIP_IOAPIC)
		return ioapic_set_irq(chip, e->pin, level, source, line_status);
	return pic_set_irq(chip, e->pin, level, source);
}

static int set_all(struct irqchip *chip, const struct route *e, u32 n, int level,
		   enum irq_source source, bool line_status)
{
	int ret = -1;

	for (u32 i = 0; i < n; i++) {
		int one = set_one(chip, &e[i], level, source, line_status);

		if (one >= 0)
			ret = one + (ret < 0 ? 0 : ret);
	}
	return ret;
}

int irqchip_set_irq_locked(struct irqchip *chip, u32 gsi, int level, enum irq_source source,
			   bool line_status)
{
	struct route e[ROUTES_PER_GSI];
	u32 n = routing_lookup(chip, gsi, e);

	irq_trace(kvm_set_irq, chip, gsi, level, source);
	return set_all(chip, e, n, level, source, line_status);
}

int irqchip_set_irq(struct irqchip *chip, u32 gsi, int level, enum irq_source source,
		    bool line_status)
{
	struct route e[ROUTES_PER_GSI];
	u32 n = routing_lookup(chip, gsi, e);
	int ret;

	irq_trace(kvm_set_irq, chip, gsi, level, source);
	if (n == 1 && alone(e[0].type))	/* needs no lock */
		return set_all(chip, e, n, level, source, line_status);
	irqchip_lock(chip);
	ret = set_all(chip, e, n, level, source, line_status);
	irqchip_unlock(chip);
	return ret;
}

void routing_each_level_msi(struct irqchip *chip, void (*fn)(void *arg, const struct apic_msg *m),
			    void *arg)
{
	u32 g = grace_enter(&chip->route_grace);
	struct routing *r = atomic_load(&chip->routing);
	u32 gsis = r ? r->nr_gsi : 0;
	struct apic_msg m;

	if (gsis > chip->nr_reserved_pins)
		gsis = chip->nr_reserved_pins;
	for (u32 i = 0; gsis && i < r->first[gsis]; i++)
		if (r->e[i].type == KVM_IRQ_ROUTING_MSI && msi_decode(chip, &r->e[i].msi, &m) &&
		    m.trigger_level)
			fn(arg, &m);
	grace_leave(&chip->route_grace, g);
}
