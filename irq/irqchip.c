/* SPDX-License-Identifier: MIT */
/*
 * irq/irqchip.c - the container of one VM's interrupt controllers: settings, the lock and the
 * work that is put off until it is dropped, ack notifiers, port and MMIO decoding.
 */
#include "irq/irq_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"

/* -- life cycle -- */

static const struct irq_device *const devices[] = {
#define X(name) &name##_device,
	IRQ_DEVICES(X)
#undef X
};
#define for_each_device(d) \
	for (const struct irq_device *const *p_ = devices, *d; \
	     p_ < devices + ARRAY_SIZE(devices) && (d = *p_, true); p_++)

/* Most accesses are no device's of ours: where none is, none is looked for. */
static void note_places(struct irqchip *chip)
{
	chip->mmio_first = ~0ull;
	for_each_device(d) {
		for (u32 k = 0; d->mmio && k < ARRAY_SIZE(d->range) && d->range[k].len; k++) {
			u64 first = d->range[k].first, last = first + d->range[k].len - 1;

			if (first < chip->mmio_first)
				chip->mmio_first = first;
			if (last > chip->mmio_last)
				chip->mmio_last = last;
		}
		for (u32 k = 0; !d->mmio && k < ARRAY_SIZE(d->range) && d->range[k].len; k++) {
			u64 last = d->range[k].first + d->range[k].len - 1;

			for (u64 b = d->range[k].first / 32; b <= last / 32; b++)
				chip->ports[b / 64] |= BIT64(b % 64);
		}
	}
}

struct irqchip *irqchip_create(enum irqchip_mode mode, const struct irq_ops *ops, void *vm,
			       struct irq_settings *set, u32 nr_reserved_pins)
{
	struct irqchip *chip = calloc(1, sizeof(*chip));

	if (!chip)
		return NULL;
	chip->ack_refs = calloc(IRQCHIP_MAX_GSI, sizeof(*chip->ack_refs));
	if (!chip->ack_refs) {
		free(chip);
		return NULL;
	}
	chip->mode = mode;
	chip->trace_vm = TRACE_NO_VM;
	chip->ops = ops;
	chip->vm = vm;
	chip->nr_reserved_pins = nr_reserved_pins;
	chip->set = set;
	if (!atomic_load(&set->apic_bus_ns))
		atomic_store(&set->apic_bus_ns, 1);
	chip->avic_kind = AVIC_KIND_X2AVIC_EXT;
	atomic_init(&chip->inhibits, BIT(APICV_INHIBIT_ABSENT));
	pthread_mutex_init(&chip->lock, NULL);
	pthread_mutex_init(&chip->map_lock, NULL);
	pthread_mutex_init(&chip->route_lock, NULL);
	pthread_mutex_init(&chip->inhibit_lock, NULL);
	if (mode == IRQCHIP_FULL) {
		for_each_device(d) if (d->reset) d->reset(chip);
		note_places(chip);
		if (routing_set_default(chip)) {
			irqchip_destroy(chip);
			return NULL;
		}
	}
	apicv_set_inhibit(chip, APICV_INHIBIT_ABSENT, false);
	return chip;
}

void irqchip_destroy(struct irqchip *chip)
{
	if (!chip)
		return;
	apic_map_free(chip);
	avic_tables_free(chip);
	routing_free(atomic_load(&chip->routing));
	pthread_mutex_destroy(&chip->lock);
	pthread_mutex_destroy(&chip->map_lock);
	pthread_mutex_destroy(&chip->route_lock);
	pthread_mutex_destroy(&chip->inhibit_lock);
	free(chip->ack_refs);
	free(chip);
}

/* -- settings -- */

void irqchip_settings_changed(struct irqchip *chip)
{
	atomic_store(&trace_vm_get(chip->trace_vm)->eoi_mode, atomic_load(&chip->set->eoi_mode));
	apic_map_update(chip);
}

void irqchip_set_trace_vm(struct irqchip *chip, u16 vm)
{
	chip->trace_vm = vm;
}

void irqchip_set_avic(struct irqchip *chip, enum avic_kind kind)
{
	chip->avic_kind = kind;
	apicv_set_inhibit(chip, APICV_INHIBIT_DISABLED, kind == AVIC_KIND_NONE);
}

enum irqchip_mode irqchip_get_mode(struct irqchip *chip)
{
	return chip->mode;
}

/* -- the lock -- */

void irqchip_lock(struct irqchip *chip)
{
	pthread_mutex_lock(&chip->lock);
}

static u64 earliest(u64 a, u64 b)
{
	return !a || (b && b < a) ? b : a;
}

void irqchip_unlock(struct irqchip *chip)
{
	u32 gsi[ARRAY_SIZE(chip->acked)], n;
	u64 next = 0;

	for_each_device(d) {
		if (d->settle)
			d->settle(chip);
	}
	for_each_device(d) {
		if (d->deadline)
			next = earliest(next, *(u64 *)((u8 *)chip + d->deadline));
	}
	if (next != atomic_load_explicit(&chip->armed_ns, memory_order_relaxed)) {
		atomic_store(&chip->armed_ns, next);
		chip->ops->timer(chip->vm, next);
	}
	n = chip->nr_acked;
	chip->nr_acked = 0;
	for (u32 i = 0; i < n; i++)
		gsi[i] = chip->acked[i];
	pthread_mutex_unlock(&chip->lock);
	for (u32 i = 0; i < n; i++)
		chip->ops->ack(chip->vm, gsi[i]);
}

u64 irqchip_next_event_ns(struct irqchip *chip)
{
	return atomic_load(&chip->armed_ns);
}

void irqchip_timer(struct irqchip *chip)
{
	u64 now = irqchip_now(chip);

	irqchip_lock(chip);
	for_each_device(d) if (d->timer) d->timer(chip, now);
	irqchip_unlock(chip);
}

/* -- ack and mask notifiers -- */

int irqchip_ack_register(struct irqchip *chip, u32 gsi)
{
	if (gsi >= IRQCHIP_MAX_GSI || chip->mode != IRQCHIP_FULL)
		return -EINVAL;
	irqchip_lock(chip);
	chip->ack_refs[gsi]++;
	irqchip_unlock(chip);
	apic_wake_all(chip, IRQ_WAKE_SCAN);
	return 0;
}

void irqchip_ack_unregister(struct irqchip *chip, u32 gsi)
{
	if (gsi >= IRQCHIP_MAX_GSI)
		return;
	irqchip_lock(chip);
	/* With the last one goes what they held high together. */
	if (chip->ack_refs[gsi] && !--chip->ack_refs[gsi])
		irqchip_set_irq_locked(chip, gsi, 0, IRQ_SOURCE_RESAMPLE, false);
	irqchip_unlock(chip);
	apic_wake_all(chip, IRQ_WAKE_SCAN);
}

bool irqchip_has_ack(struct irqchip *chip, s32 gsi)
{
	if (gsi < 0)
		return false;
	if (chip->ack_refs[gsi])
		return true;
	for_each_device(d) if (d->has_line && d->gsi == (u32)gsi && d->wants_ack(chip)) return true;
	return false;
}

/* Tell the resample eventfds, once the lock is dropped. */
static void report_ack(struct irqchip *chip, u32 gsi)
{
	for (u32 i = 0; i < chip->nr_acked; i++)
		if (chip->acked[i] == gsi)
			return;
	/* There are no more GSIs with pins than this; keep safe all the same. */
	if (chip->nr_acked < ARRAY_SIZE(chip->acked))
		chip->acked[chip->nr_acked++] = gsi;
}

void irqchip_notify_ack(struct irqchip *chip, s32 gsi)
{
	if (gsi < 0)
		return;
	if (chip->ack_refs[gsi]) {
		/* The line goes down now, so that the pin is not served again for a level that
		 * is about to be sampled afresh. */
		irqchip_set_irq_locked(chip, (u32)gsi, 0, IRQ_SOURCE_RESAMPLE, false);
		report_ack(chip, (u32)gsi);
	}
	for_each_device(d) if (d->has_line && d->gsi == (u32)gsi) d->acked(chip);
}

void irqchip_ack(struct irqchip *chip, u32 gsi)
{
	if (gsi >= IRQCHIP_MAX_GSI)
		return;
	irqchip_lock(chip);
	irqchip_notify_ack(chip, (s32)gsi);
	irqchip_unlock(chip);
}

bool irqchip_notify_resample(struct irqchip *chip, s32 gsi)
{
	if (gsi < 0 || !chip->ack_refs[gsi])
		return false;
	report_ack(chip, (u32)gsi);
	return true;
}

void irqchip_notify_mask(struct irqchip *chip, s32 gsi, bool masked)
{
	for_each_device(d) if (!masked && gsi >= 0 && d->has_line && d->gsi == (u32)gsi)
		d->unmasked(chip);
}

/* -- ports and MMIO (docs/kvm-abi.md 5.8) -- */

static const struct irq_device *find(struct irqchip *chip, bool mmio, u64 addr, u32 len)
{
	if (chip->mode != IRQCHIP_FULL ||
	    (mmio ? addr < chip->mmio_first || addr > chip->mmio_last
		  : !(chip->ports[addr / 32 / 64] & BIT64(addr / 32 % 64))))
		return NULL;
	for_each_device(d) {
		if (d->mmio != mmio)
			continue;
		for (u32 k = 0; k < ARRAY_SIZE(d->range) && d->range[k].len; k++)
			if (addr >= d->range[k].first &&
			    addr + len <= d->range[k].first + d->range[k].len &&
			    (!d->answers || d->answers(chip, addr)))
				return d;
	}
	return NULL;
}

static int device_read(struct irqchip *chip, bool mmio, u64 addr, void *buf, u32 len)
{
	const struct irq_device *d = find(chip, mmio, addr, len);

	if (!d)
		return -ENOENT;
	cpu_zero(buf, len);
	irqchip_lock(chip);
	d->read(chip, addr, buf, len);
	irqchip_unlock(chip);
	return 0;
}

static int device_write(struct irqchip *chip, bool mmio, u64 addr, const void *buf, u32 len)
{
	const struct irq_device *d = find(chip, mmio, addr, len);

	if (!d)
		return -ENOENT;
	irqchip_lock(chip);
	d->write(chip, addr, buf, len);
	irqchip_unlock(chip);
	return 0;
}

int irqchip_pio_read(struct irqchip *chip, u16 port, void *buf, u32 size)
{
	return device_read(chip, false, port, buf, size);
}

int irqchip_pio_write(struct irqchip *chip, u16 port, const void *buf, u32 size)
{
	return device_write(chip, false, port, buf, size);
}

int irqchip_mmio_read(struct irqchip *chip, u64 gpa, void *buf, u32 len)
{
	return device_read(chip, true, gpa, buf, len);
}

int irqchip_mmio_write(struct irqchip *chip, u64 gpa, const void *buf, u32 len)
{
	return device_write(chip, true, gpa, buf, len);
}

/* -- state -- */

static const struct irq_device *by_id(u32 id)
{
	for_each_device(d) if (d->chip_ids & BIT(id)) return d;
	return NULL;
}

int irqchip_get_state(struct irqchip *chip, struct kvm_irqchip *s)
{
	if (chip->mode != IRQCHIP_FULL)
		return -ENXIO;
	if (s->chip_id >= KVM_NR_IRQCHIPS)
		return -EINVAL;
	irqchip_lock(chip);
	by_id(s->chip_id)->get(chip, s);
	irqchip_unlock(chip);
	return 0;
}

int irqchip_set_state(struct irqchip *chip, const struct kvm_irqchip *s)
{
	if (chip->mode != IRQCHIP_FULL)
		return -ENXIO;
	if (s->chip_id >= KVM_NR_IRQCHIPS)
		return -EINVAL;
	irqchip_lock(chip);
	by_id(s->chip_id)->set(chip, s);
	irqchip_unlock(chip);
	return 0;
}
