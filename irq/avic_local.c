/* SPDX-License-Identifier: MIT */
/*
 * irq/avic_local.c - AVIC as the accelerator of our own vCPUs: the tables, and what KVM's exit
 * handlers do with accesses and IPIs that the hardware leaves to software (docs/kvm-apic.md
 * 3.6-3.9).
 *
 * The tables are made from the APIC map, whole, whenever that is published. They are stricter
 * than KVM's: an entry is valid only while software would deliver to that APIC by its id, and
 * an IPI is given to the model only where model and map agree on whom it addresses. So the two sets
 * of lapic_ops cannot be told apart by the guest.
 */
#include "irq/irq_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"

/* -- tables -- */

int avic_tables_init(struct irqchip *chip)
{
	struct avic_tables *t = &chip->avic;
	size_t bytes;

	if (t->phys || chip->avic_kind == AVIC_KIND_NONE)
		return 0;
	t->max_index = avic_kind_max_id(chip->avic_kind);
	bytes = ALIGN_UP((t->max_index + 1) * sizeof(*t->phys), PAGE_SIZE);
	t->phys = aligned_alloc(PAGE_SIZE, bytes);
	t->logical = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
	t->owner = calloc(t->max_index + 1, sizeof(*t->owner));
	if (!t->phys || !t->logical || !t->owner) {
		avic_tables_free(chip);
		return -ENOMEM;
	}
	cpu_zero((void *)t->phys, bytes);
	cpu_zero((void *)t->logical, PAGE_SIZE);
	return 0;
}

void avic_tables_free(struct irqchip *chip)
{
	struct avic_tables *t = &chip->avic;

	free((void *)t->phys);
	free((void *)t->logical);
	free((void *)t->owner);
	*t = (struct avic_tables){ 0 };
}

static void set_entry(_Atomic u64 *e, u64 v)
{
	u64 old = atomic_load(e);

	/* IsRunning is its vCPU's (lapic_load). */
	while (!atomic_compare_exchange_weak(e, &old, v | (old & AVIC_PHYS_RUNNING)))
		;
}

static u32 logical_entry(struct lapic *l)
{
	return l && l->id <= AVIC_LOGICAL_ID ? AVIC_LOGICAL_VALID | l->id : 0;
}

void avic_tables_update(struct irqchip *chip, struct apic_map *m)
{
	struct avic_tables *t = &chip->avic;
	u32 index = 0;

	if (!t->phys)
		return;
	for (u32 i = 0; i < m->n; i++) {
		struct lapic *l = m->all[i];
		u64 e = (u64)(uintptr_t)l->fast.page | l->id;

		if (l->id > t->max_index)
			continue;
		atomic_store(&t->owner[l->id], l);
		if (m->one_to_one && l->id <= m->max_id && m->phys[l->id] == l &&
		    lapic_sw_enabled(l))
			e |= AVIC_PHYS_VALID;
		set_entry(&t->phys[l->id], e);
	}
	if (m->logical == LOGICAL_FLAT)
		for (; index < 8; index++)
			atomic_store(&t->logical[index], logical_entry(m->flat[index]));
	else if (m->logical == LOGICAL_CLUSTER)
		for (; index < 60; index++)
			atomic_store(&t->logical[index],
				     logical_entry(m->cluster[index / 4][index % 4]));
	for (; index < 60; index++)
		atomic_store(&t->logical[index], 0);
}

void avic_tables_remove(struct irqchip *chip, struct lapic *l)
{
	struct avic_tables *t = &chip->avic;

	if (!t->phys || l->id > t->max_index)
		return;
	atomic_store(&t->phys[l->id], 0);
	atomic_store(&t->owner[l->id], NULL);
}

static _Atomic u64 *own_entry(struct lapic *l)
{
	struct avic_tables *t = &l->chip->avic;

	return t->phys && l->id <= t->max_index ? &t->phys[l->id] : NULL;
}

/* Sequentially consistent, against posters that set IRR and then look here. */
void lapic_load(struct lapic *l)
{
	_Atomic u64 *e = own_entry(l);

	if (!e) {
		atomic_store(&l->running, true);
		return;
	}
	atomic_store_explicit(&l->running, true, memory_order_release);
	atomic_fetch_or(e, AVIC_PHYS_RUNNING);	/* a fence for both */
}

void lapic_put_away(struct lapic *l)
{
	_Atomic u64 *e = own_entry(l);

	if (!e) {
		atomic_store(&l->running, false);
		return;
	}
	atomic_store_explicit(&l->running, false, memory_order_release);
	atomic_fetch_and(e, ~AVIC_PHYS_RUNNING);
}

/* -- callbacks of the model -- */

static struct lapic *owner_of(struct lapic *self, u64 id)
{
	struct avic_tables *t = &self->chip->avic;

	return id <= t->max_index ? atomic_load(&t->owner[id]) : NULL;
}

static void posted(void *arg, u64 entry)
{
	struct lapic *self = arg, *l = owner_of(self, entry & AVIC_PHYS_ID);

	if (!l)
		return;
	atomic_store(&l->fast.irr_pending, true);
	lapic_count_any(l, accepted);
}

static void doorbell(void *arg, u32 id)
{
	struct lapic *self = arg, *l = owner_of(self, id);

	if (!l)
		return;
	lapic_trace(kvm_avic_doorbell, l, id);
	lapic_wake(l, IRQ_WAKE_DOORBELL);
}

const struct avic_ops avic_local_hw_ops = { .posted = posted, .doorbell = doorbell };

/* -- IPIs -- */

/* Do the model and the map agree on whom this IPI addresses? Not while APICs are in different
 * modes, for one: the tables do not know an APIC's mode. */
static bool table_knows(struct lapic *l, struct apic_map *m, u32 icr, u32 dest)
{
	bool x2 = l->hw.x2apic;
	bool uniform = m->uniform && m->x2apic == x2 && m->top_id <= l->hw.max_index;

	switch ((icr & ICR_SHORTHAND) >> 18) {
	case APIC_TO_SELF:
		return lapic_sw_enabled(l);
	case APIC_TO_ALL:
	case APIC_TO_OTHERS:
		return uniform;
	}
	if (!m->one_to_one)
		return false;
	if (dest == (x2 ? X2APIC_BROADCAST : XAPIC_BROADCAST))
		return uniform;
	if (x2 && dest == XAPIC_BROADCAST)	/* broadcast to others, depending on a quirk */
		return false;
	if (!(icr & ICR_LOGICAL))
		return true;
	if (x2)
		return uniform && m->logical == LOGICAL_X2APIC;
	if (lapic_get(l, APIC_DFR) == DFR_FLAT)
		return m->logical == LOGICAL_FLAT;
	return m->logical == LOGICAL_CLUSTER && lapic_get(l, APIC_DFR) == DFR_CLUSTER;
}

/* IRR bits are set: wake those that no doorbell reaches (docs/kvm-apic.md 3.7, id 1). */
static void kick_sleepers(struct lapic *l, struct apic_map *m, u32 icr, u32 dest, u32 index)
{
	lapic_trace(kvm_avic_kick_vcpu_slowpath, l, dest, icr, index);
	for (u32 i = 0; i < m->n; i++) {
		struct lapic *to = m->all[i];

		if (!atomic_load(&to->running) &&
		    apic_match(to, l, (icr & ICR_SHORTHAND) >> 18, dest, icr & ICR_LOGICAL))
			lapic_wake(to, IRQ_WAKE_EVENT);
	}
}

/* The model has set IRR bits by itself: say whose. */
static void trace_accepted(struct lapic *l, struct apic_map *m, u32 icr, u32 dest)
{
	const struct apic_msg msg = { .vector = (u8)icr };

	for (u32 i = 0; i < m->n; i++)
		if (apic_match(m->all[i], l, (icr & ICR_SHORTHAND) >> 18, dest, icr & ICR_LOGICAL))
			irq_trace_accept(l->chip->trace_vm, m->all[i]->id, &msg, true);
}

/* ICR has been stored. */
static void send(struct lapic *l, u32 icr, u32 dest)
{
	u32 g = grace_enter(&l->chip->map_grace);
	struct apic_map *m = atomic_load(&l->chip->map);
	enum avic_outcome r = AVIC_TRAP;
	struct avic_exit x = { 0 };
	u32 id = AVIC_IPI_INVALID_TARGET;

	if (m && table_knows(l, m, icr, dest)) {
		r = avic_ipi(&l->hw, icr, dest, &x);
		id = x.info2 >> 32;
	}
	if (r == AVIC_DONE) {
		lapic_count(l, ipi_accelerated);
		lapic_trace(kvm_apic_ipi, l, dest, icr);
		if (trace_watched(TRACE_kvm_apicv_accept_irq))
			trace_accepted(l, m, icr, dest);
		if ((icr & ICR_SHORTHAND) >> 18 == APIC_TO_SELF) {
			atomic_store(&l->fast.irr_pending, true);
			lapic_wake(l, IRQ_WAKE_DOORBELL);
		}
	} else {
		lapic_count(l, ipi_incomplete);
		lapic_trace(kvm_avic_incomplete_ipi, l, dest, icr, id, (u32)x.info2);
		if (id == AVIC_IPI_NOT_RUNNING && trace_watched(TRACE_kvm_apicv_accept_irq))
			trace_accepted(l, m, icr, dest);
		if (id == AVIC_IPI_NOT_RUNNING)
			kick_sleepers(l, m, icr, dest, (u32)x.info2);
	}
	grace_leave(&l->chip->map_grace, g);
	/* KVM ignores vectors below 16 here and its software APIC sets their IRR bits. They can
	 * never be delivered; we let both do the latter. */
	if (r != AVIC_DONE && id != AVIC_IPI_NOT_RUNNING)
		lapic_send_ipi(l, icr, dest);
}

/* -- lapic_ops -- */

static void avic_post(struct lapic *l, u8 vector, bool level)
{
	apic_post(l->fast.page, vector, level);
	atomic_store(&l->fast.irr_pending, true);
	lapic_wake(l, atomic_load(&l->running) ? IRQ_WAKE_DOORBELL : IRQ_WAKE_EVENT);
}

static void avic_recheck(struct lapic *l)
{
	if (lapic_fast_deliverable(&l->fast))
		lapic_wake(l, IRQ_WAKE_DOORBELL);
}

static int avic_guest_read(struct lapic *l, u32 offset, u32 *v)
{
	if (avic_act(offset, false) == AVIC_ACT_ACCEL && lapic_may(l, offset, false)) {
		*v = lapic_get(l, offset);
		return 0;
	}
	lapic_trace(kvm_avic_unaccelerated_access, l, offset, false, false, 0);
	return lapic_reg_read(l, offset, v);
}

static int avic_guest_write(struct lapic *l, u32 offset, u32 v)
{
	bool trap = avic_act(offset, true) == AVIC_ACT_TRAP;
	int vector = 0;

	switch (offset) {
	case APIC_TPR:
		lapic_fast_tpr(&l->fast, (u8)v);
		avic_recheck(l);
		return 0;
	case APIC_EOI:
		vector = trace_any() ? lapic_find_highest(l, APIC_ISR) : -1;
		if (lapic_fast_eoi(&l->fast)) {
			if (vector >= 0)
				lapic_trace(kvm_eoi, l, l->id, (u32)vector, 0,
					    atomic_load(&l->chip->set->eoi_mode));
			lapic_count(l, eoi_accelerated);
			avic_recheck(l);
			return 0;
		}
		trap = true;
		break;
	case APIC_ICR:		/* xAPIC mode only: x2APIC has write_icr */
		lapic_put(l, APIC_ICR, v & ~ICR_BUSY);
		send(l, v & ~ICR_BUSY, lapic_get(l, APIC_ICR2) >> 24);
		return 0;
	case APIC_ICR2:
		if (l->hw.x2apic)
			break;
		lapic_put(l, APIC_ICR2, v);
		return 0;
	case APIC_SELF_IPI:
		if (!l->hw.x2apic || v & ~0xffu)
			break;
		send(l, v | APIC_TO_SELF << 18, 0);
		return 0;
	}
	/* A trap leaves the value in the page for the handler; ours is handed it. */
	lapic_trace(kvm_avic_unaccelerated_access, l, offset, trap, true, (u32)vector);
	return lapic_reg_write(l, offset, v);
}

static void avic_write_icr(struct lapic *l, u64 v)
{
	lapic_put(l, APIC_ICR, (u32)v);
	lapic_put(l, APIC_ICR2, v >> 32);
	send(l, (u32)v, v >> 32);
}

const struct lapic_ops lapic_avic_ops = {
	.name = "AVIC",
	.post = avic_post,
	.read = avic_guest_read,
	.write = avic_guest_write,
	.write_icr = avic_write_icr,
	.recheck = avic_recheck,
};

const struct lapic_ops lapic_hybrid_ops = {
	.name = "AVIC, hybrid",
	.post = avic_post,
	.read = lapic_reg_read,
	.write = lapic_reg_write,
	.write_icr = lapic_soft_write_icr,
	.recheck = avic_recheck,
};
