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
		pic_reset(chip);
		ioapic_reset(chip);
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
	u64 next;

	if (chip->pit.tick)
		pit_run_tick(chip);
	next = earliest(chip->pit.deadline_ns, chip->ioapic.delayed_ns);
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
	pit_expire(chip, now);
	ioapic_run_delayed(chip, now);
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
	return gsi >= 0 && (chip->ack_refs[gsi] ||
			    (gsi == 0 && chip->pit.present && chip->pit.reinject));
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
	if (gsi == 0)
		pit_acked(chip);
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
	if (gsi == 0 && !masked)
		pit_unmasked(chip);
}

/* -- ports (docs/kvm-abi.md 5.8) -- */

/* Device regions: an access belongs to one if it lies within. */
static const struct pio_region {
	u16 first, len;
	bool pit, speaker;
	int (*read)(struct irqchip *chip, u16 port, u8 *v);
	int (*write)(struct irqchip *chip, u16 port, u8 v);
} pio_regions[] = {
	{ 0x20, 2, false, false, pic_pio_read, pic_pio_write },
	{ 0xa0, 2, false, false, pic_pio_read, pic_pio_write },
	{ 0x4d0, 2, false, false, pic_pio_read, pic_pio_write },
	{ 0x40, 4, true, false, pit_pio_read, pit_pio_write },
	{ 0x61, 4, true, true, pit_pio_read, pit_pio_write },
};

static const struct pio_region *pio_find(struct irqchip *chip, u16 port, u32 size)
{
	if (chip->mode != IRQCHIP_FULL)
		return NULL;
	for (u32 i = 0; i < ARRAY_SIZE(pio_regions); i++) {
		const struct pio_region *r = &pio_regions[i];

		if (port < r->first || port + size > (u32)r->first + r->len)
			continue;
		if (r->pit && !chip->pit.present)
			continue;
		if (r->speaker && (port != 0x61 ||
				   !(chip->pit.create_flags & KVM_PIT_SPEAKER_DUMMY)))
			continue;
		return r;
	}
	return NULL;
}

int irqchip_pio_read(struct irqchip *chip, u16 port, void *buf, u32 size)
{
	const struct pio_region *r = pio_find(chip, port, size);
	u8 v = 0;

	if (!r)
		return -ENOENT;
	cpu_zero(buf, size);
	if (size != 1 && !r->pit)	/* the PIC answers bytes only */
		return 0;
	irqchip_lock(chip);
	r->read(chip, port, &v);
	irqchip_unlock(chip);
	*(u8 *)buf = v;
	return 0;
}

int irqchip_pio_write(struct irqchip *chip, u16 port, const void *buf, u32 size)
{
	const struct pio_region *r = pio_find(chip, port, size);

	if (!r)
		return -ENOENT;
	if (size != 1 && !r->pit)
		return 0;
	irqchip_lock(chip);
	r->write(chip, port, *(const u8 *)buf);
	irqchip_unlock(chip);
	return 0;
}

/* -- I/O APIC page -- */

static bool in_ioapic(struct irqchip *chip, u64 gpa, u32 len)
{
	return chip->mode == IRQCHIP_FULL && gpa >= IOAPIC_BASE &&
	       gpa + len <= IOAPIC_BASE + IOAPIC_SIZE;
}

int irqchip_mmio_read(struct irqchip *chip, u64 gpa, void *buf, u32 len)
{
	u64 v;

	if (!in_ioapic(chip, gpa, len))
		return -ENOENT;
	if (gpa & 15)	/* registers are 16 bytes apart and answer at their own address */
		v = 0;
	else {
		irqchip_lock(chip);
		v = ioapic_read(chip, gpa & 0xff);
		irqchip_unlock(chip);
	}
	cpu_zero(buf, len);
	cpu_copy(buf, &v, len < 8 ? len : 8);
	return 0;
}

int irqchip_mmio_write(struct irqchip *chip, u64 gpa, const void *buf, u32 len)
{
	u32 v = 0;

	if (!in_ioapic(chip, gpa, len))
		return -ENOENT;
	if (gpa & 15)
		return 0;
	cpu_copy(&v, buf, len < 4 ? len : 4);
	irqchip_lock(chip);
	ioapic_write(chip, gpa & 0xff, v);
	irqchip_unlock(chip);
	return 0;
}

/* -- PIC to CPU -- */

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

/* -- state -- */

int irqchip_get_state(struct irqchip *chip, struct kvm_irqchip *s)
{
	if (chip->mode != IRQCHIP_FULL)
		return -ENXIO;
	if (s->chip_id >= KVM_NR_IRQCHIPS)
		return -EINVAL;
	irqchip_lock(chip);
	if (s->chip_id == KVM_IRQCHIP_IOAPIC)
		ioapic_get_state(chip, &s->chip.ioapic);
	else
		s->chip.pic = chip->pic.s[s->chip_id];
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
	if (s->chip_id == KVM_IRQCHIP_IOAPIC) {
		ioapic_set_state(chip, &s->chip.ioapic);
	} else {
		chip->pic.s[s->chip_id] = s->chip.pic;
		pic_update(chip);
	}
	irqchip_unlock(chip);
	return 0;
}
