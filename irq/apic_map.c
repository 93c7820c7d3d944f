/* SPDX-License-Identifier: MIT */
/*
 * irq/apic_map.c - the APIC bus: who is addressed by a message, and delivery.
 *
 * The map is built anew after each change of an id or destination register and published whole;
 * senders take no lock. Two buffers take turns, so an update cannot fail for want of memory.
 */
#include "irq/irq_priv.h"

#include <errno.h>
#include <stdlib.h>

/* -- building -- */

static struct apic_map *map_alloc(u32 room)
{
	struct apic_map *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->room = room;
	m->phys = calloc(room, sizeof(*m->phys));
	m->all = calloc(room, sizeof(*m->all));
	if (!m->phys || !m->all) {
		free(m->phys);
		free(m->all);
		free(m);
		return NULL;
	}
	return m;
}

static void map_release(struct apic_map *m)
{
	if (!m)
		return;
	free(m->phys);
	free(m->all);
	free(m);
}

static void map_clear(struct apic_map *m)
{
	m->one_to_one = true;
	m->uniform = true;
	m->top_id = 0;
	m->present = 0;
	m->logical = LOGICAL_NONE;
	for (u32 i = 0; i < m->room; i++)
		m->phys[i] = NULL;
	for (u32 i = 0; i < 8; i++)
		m->flat[i] = NULL;
	for (u32 i = 0; i < 16; i++)
		for (u32 j = 0; j < 4; j++)
			m->cluster[i][j] = NULL;
}

/* false: two APICs answer to one id, which the table cannot express. */
static bool map_phys(struct apic_map *m, struct lapic *l, bool ids_32bit)
{
	bool x2 = lapic_x2apic(l);
	u32 xid = lapic_xapic_id(l);

	if (ids_32bit) {
		/* Hot-plugged CPUs with big ids start in xAPIC mode: they answer to the full id
		 * as well, and their truncated ids yield to others (as KVM). */
		if (x2 || l->id > 0xff)
			m->phys[l->id] = l;
		if (!x2 && !m->phys[xid])
			m->phys[xid] = l;
		return true;
	}
	if (x2)
		xid = l->id;
	if (m->phys[xid])
		return false;
	m->phys[xid] = l;
	return true;
}

/* SDM3 11.6.2.2 and 11.12.10.2. LOGICAL_MIXED: only asking each APIC will do. */
static void map_logical(struct apic_map *m, struct lapic *l)
{
	u32 ldr = lapic_get(l, APIC_LDR), bits;
	enum logical_mode mode;
	struct lapic **slots;

	if (m->logical == LOGICAL_MIXED || !lapic_sw_enabled(l) || !ldr)
		return;
	if (lapic_x2apic(l))
		mode = LOGICAL_X2APIC;
	else if (lapic_get(l, APIC_DFR) == DFR_FLAT)
		mode = LOGICAL_FLAT;
	else if (lapic_get(l, APIC_DFR) == DFR_CLUSTER)
		mode = LOGICAL_CLUSTER;
	else
		return;		/* an undefined model matches nothing */
	if (m->logical != LOGICAL_NONE && m->logical != mode) {
		m->logical = LOGICAL_MIXED;
		return;
	}
	m->logical = mode;
	if (mode == LOGICAL_X2APIC)
		return;		/* found through phys[]: the logical id follows from the id */
	ldr >>= 24;
	if (mode == LOGICAL_FLAT) {
		slots = m->flat;
		bits = ldr;
	} else {
		slots = m->cluster[ldr >> 4];
		bits = ldr & 15;
	}
	if (!bits)
		return;
	if (bits & (bits - 1) || slots[__builtin_ctz(bits)]) {
		m->logical = LOGICAL_MIXED;
		return;
	}
	slots[__builtin_ctz(bits)] = l;
}

static void map_build(struct irqchip *chip, struct apic_map *m)
{
	bool ids_32bit = atomic_load(&chip->set->ids_32bit);

	map_clear(m);
	m->max_id = 0xff;
	for (u32 i = 0; i < m->n; i++)
		if (lapic_hw_enabled(m->all[i]) && m->all[i]->id > m->max_id)
			m->max_id = m->all[i]->id;
	for (u32 i = 0; i < m->n; i++) {
		struct lapic *l = m->all[i];

		if (!lapic_hw_enabled(l))
			continue;
		if (!m->present++)
			m->x2apic = lapic_x2apic(l);
		else if (m->x2apic != lapic_x2apic(l))
			m->uniform = false;
		if (l->id > m->top_id)
			m->top_id = l->id;
		if (!map_phys(m, l, ids_32bit))
			m->one_to_one = false;
		map_logical(m, l);
	}
	if (!m->one_to_one)
		m->logical = LOGICAL_MIXED;
}

static bool xapic_id_changed(struct apic_map *m)
{
	for (u32 i = 0; i < m->n; i++) {
		struct lapic *l = m->all[i];

		/* Truncated on purpose: a big id that wraps is seen as an alias instead. */
		if (lapic_hw_enabled(l) && !lapic_x2apic(l) && lapic_xapic_id(l) != (u8)l->id)
			return true;
	}
	return false;
}

/* map_lock held. `m` has n and all[] filled in. */
static void map_publish(struct irqchip *chip, struct apic_map *m)
{
	struct apic_map *old = atomic_load(&chip->map);

	map_build(chip, m);
	/* Entries that go are invalid before the new map is seen, new ones become valid with it. */
	avic_tables_update(chip, m);
	atomic_store(&chip->map, m);
	grace_wait(&chip->map_grace);
	if (old && old->room == m->room)
		chip->spare = old;
	else
		map_release(old);
	apicv_set_inhibit(chip, APICV_INHIBIT_PHYSICAL_ID_ALIASED, !m->one_to_one);
	apicv_set_inhibit(chip, APICV_INHIBIT_APIC_ID_MODIFIED, xapic_id_changed(m));
	apicv_set_inhibit(chip, APICV_INHIBIT_LOGICAL_ID_ALIASED, m->logical == LOGICAL_MIXED);
	apic_wake_all(chip, IRQ_WAKE_SCAN);
}

void apic_map_update(struct irqchip *chip)
{
	struct apic_map *old, *m;

	pthread_mutex_lock(&chip->map_lock);
	old = atomic_load(&chip->map);
	if (old) {
		m = chip->spare;
		m->n = old->n;
		for (u32 i = 0; i < old->n; i++)
			m->all[i] = old->all[i];
		map_publish(chip, m);
	}
	pthread_mutex_unlock(&chip->map_lock);
}

int apic_map_add(struct irqchip *chip, struct lapic *l)
{
	struct apic_map *old, *m, *second;
	u32 room, n;
	int ret = 0;

	pthread_mutex_lock(&chip->map_lock);
	old = atomic_load(&chip->map);
	n = old ? old->n : 0;
	room = old ? old->room : 256;
	while (room <= l->id || room <= n)
		room *= 2;
	for (u32 i = 0; i < n; i++) {
		if (old->all[i]->id == l->id) {
			ret = -EEXIST;
			goto out;
		}
	}
	if (old && room == old->room) {
		m = chip->spare;
	} else {
		m = map_alloc(room);
		second = map_alloc(room);
		if (!m || !second) {
			map_release(m);
			map_release(second);
			ret = -ENOMEM;
			goto out;
		}
		map_release(chip->spare);
		chip->spare = second;
	}
	m->n = n + 1;
	for (u32 i = 0; i < n; i++)
		m->all[i] = old->all[i];
	m->all[n] = l;
	map_publish(chip, m);
out:
	pthread_mutex_unlock(&chip->map_lock);
	return ret;
}

void apic_map_remove(struct irqchip *chip, struct lapic *l)
{
	struct apic_map *old, *m;

	pthread_mutex_lock(&chip->map_lock);
	old = atomic_load(&chip->map);
	m = chip->spare;
	m->n = 0;
	for (u32 i = 0; i < old->n; i++)
		if (old->all[i] != l)
			m->all[m->n++] = old->all[i];
	avic_tables_remove(chip, l);
	map_publish(chip, m);
	pthread_mutex_unlock(&chip->map_lock);
}

void apic_map_free(struct irqchip *chip)
{
	map_release(atomic_load(&chip->map));
	map_release(chip->spare);
}

/* -- matching, one APIC at a time -- */

static bool match_physical(struct lapic *l, u32 dest)
{
	bool x2 = lapic_x2apic(l);

	if (dest == (x2 ? X2APIC_BROADCAST : XAPIC_BROADCAST))
		return true;
	if (x2)
		return dest == l->id;
	return dest == lapic_xapic_id(l) || (l->id > 0xff && dest == l->id);
}

static bool match_logical(struct lapic *l, u32 dest)
{
	bool x2 = lapic_x2apic(l);
	u32 ldr = lapic_get(l, APIC_LDR);

	if (dest == (x2 ? X2APIC_BROADCAST : XAPIC_BROADCAST))
		return true;
	if (x2)
		return ldr >> 16 == dest >> 16 && ldr & dest & 0xffff;
	ldr >>= 24;
	switch (lapic_get(l, APIC_DFR)) {
	case DFR_FLAT:
		return ldr & dest;
	case DFR_CLUSTER:
		return ldr >> 4 == dest >> 4 && ldr & dest & 15;
	default:
		return false;
	}
}

bool apic_match(struct lapic *l, struct lapic *src, u32 shorthand, u32 dest, bool logical)
{
	switch (shorthand) {
	case APIC_TO_SELF:
		return l == src;
	case APIC_TO_ALL:
		return true;
	case APIC_TO_OTHERS:
		return l != src;
	}
	/* KVM's broadcast quirk: devices address x2APICs, too, with 0xff. */
	if (!src && dest == XAPIC_BROADCAST && lapic_x2apic(l) &&
	    !atomic_load_explicit(&l->chip->set->no_broadcast_quirk, memory_order_relaxed))
		dest = X2APIC_BROADCAST;
	return logical ? match_logical(l, dest) : match_physical(l, dest);
}

/* -- delivery -- */

struct delivery {
	struct irqchip *chip;
	const struct apic_msg *m;
	struct lapic *src;
	bool lowest;		/* to one of the addressed */
	bool rtc;
};

static int accept(struct delivery *d, struct lapic *l)
{
	struct ioapic *io = &d->chip->ioapic;

	if (!lapic_accept(l, d->m))
		return 0;
	if (d->rtc) {
		if (l->rtc_vector < 0)
			io->rtc_pending++;
		l->rtc_vector = d->m->vector;
	}
	return 1;
}

static bool is_broadcast(struct delivery *d, struct apic_map *map)
{
	if (atomic_load_explicit(&d->chip->set->no_broadcast_quirk, memory_order_relaxed))
		return d->m->dest == X2APIC_BROADCAST ||
		       (d->m->dest == XAPIC_BROADCAST && map->logical != LOGICAL_X2APIC);
	return d->m->dest == (d->src && lapic_x2apic(d->src) ? X2APIC_BROADCAST : XAPIC_BROADCAST);
}

/* Sixteen slots and a mask of those addressed. false: the map cannot tell. */
static bool map_logical_dest(struct apic_map *map, u32 dest, struct lapic ***slots, u32 *mask)
{
	u32 first;

	*mask = 0;
	*slots = map->flat;
	switch (map->logical) {
	case LOGICAL_NONE:
		return true;
	case LOGICAL_FLAT:
		*mask = dest & 0xff;
		return true;
	case LOGICAL_CLUSTER:
		*slots = map->cluster[dest >> 4 & 15];
		*mask = dest & 15;
		return true;
	case LOGICAL_X2APIC:
		first = (dest >> 16) * 16;
		if (first > map->max_id)
			return true;
		*slots = map->phys + first;
		*mask = dest & 0xffff;
		if (map->max_id - first < 15)
			*mask &= (2u << (map->max_id - first)) - 1;
		return true;
	default:
		return false;
	}
}

/* Lowest priority is a choice by vector, which spreads vectors over CPUs (KVM's hashing;
 * SDM3 11.6.2.4 leaves the choice open). */
static u32 nth_set(u32 mask, u32 n)
{
	while (n--)
		mask &= mask - 1;
	return (u32)__builtin_ctz(mask);
}

/* true: done, *ret is the result. */
static bool deliver_mapped(struct delivery *d, struct apic_map *map, int *ret)
{
	const struct apic_msg *m = d->m;
	struct lapic **slots;
	u32 mask;

	if (m->shorthand != APIC_TO_DEST || !map->one_to_one || is_broadcast(d, map))
		return false;
	*ret = 0;
	if (!m->dest_logical) {
		if (m->dest <= map->max_id && map->phys[m->dest])
			*ret = accept(d, map->phys[m->dest]);
		return true;
	}
	if (!map_logical_dest(map, m->dest, &slots, &mask))
		return false;
	for (u32 rest = mask; rest; rest &= rest - 1) {
		u32 i = (u32)__builtin_ctz(rest);

		/* phys[] also holds xAPICs, which no x2APIC logical id addresses. */
		if (!slots[i] || (map->logical == LOGICAL_X2APIC && !lapic_x2apic(slots[i])))
			mask &= ~(1u << i);
	}
	if (d->lowest && mask)
		mask = 1u << nth_set(mask, m->vector % (u32)__builtin_popcount(mask));
	for (; mask; mask &= mask - 1)
		*ret += accept(d, slots[__builtin_ctz(mask)]);
	return true;
}

static int deliver_asking(struct delivery *d, struct apic_map *map)
{
	const struct apic_msg *m = d->m;
	u32 candidates = 0, pick = 0;
	int ret = -1;

	for (int pass = 0; pass < 2; pass++) {
		u32 seen = 0;

		for (u32 i = 0; i < map->n; i++) {
			struct lapic *l = map->all[i];

			if (!lapic_hw_enabled(l) ||
			    !apic_match(l, d->src, m->shorthand, m->dest, m->dest_logical))
				continue;
			if (!d->lowest)
				ret = (ret < 0 ? 0 : ret) + accept(d, l);
			else if (!lapic_sw_enabled(l))
				continue;
			else if (!pass)
				candidates++;
			else if (seen++ == pick)
				return accept(d, l);
		}
		if (!d->lowest || !candidates)
			break;
		pick = m->vector % candidates;
	}
	return ret;
}

static int deliver(struct irqchip *chip, const struct apic_msg *msg, struct lapic *src, bool rtc)
{
	struct apic_msg m = *msg;
	struct delivery d = {
		.chip = chip, .m = &m, .src = src, .rtc = rtc,
		.lowest = m.delivery == APIC_LOWEST || m.redirect_hint,
	};
	u32 g;
	int ret;

	if (m.shorthand == APIC_TO_SELF)
		return src ? accept(&d, src) : 0;
	/* SDM3 11.6.2.1: lowest priority with a physical broadcast is not supported. */
	if (d.lowest && !m.dest_logical && m.dest == XAPIC_BROADCAST && !m.shorthand) {
		m.delivery = APIC_FIXED;
		d.lowest = m.redirect_hint;
	}
	g = grace_enter(&chip->map_grace);
	{
		struct apic_map *map = atomic_load(&chip->map);

		if (!map)
			ret = -1;
		else if (!deliver_mapped(&d, map, &ret))
			ret = deliver_asking(&d, map);
	}
	grace_leave(&chip->map_grace, g);
	return ret;
}

int apic_deliver(struct irqchip *chip, const struct apic_msg *msg, struct lapic *src)
{
	return deliver(chip, msg, src, false);
}

int apic_deliver_rtc(struct irqchip *chip, const struct apic_msg *m)
{
	return deliver(chip, m, NULL, true);
}

int apic_send_pv_ipi(struct irqchip *chip, u64 lo, u64 hi, u32 min, u64 icr, u32 width)
{
	struct apic_msg m = {
		.vector = (u8)icr,
		.delivery = icr >> 8 & 7,
		.level = !!(icr & ICR_ASSERT),
		.trigger_level = !!(icr & ICR_LEVEL),
	};
	struct delivery d = { .chip = chip, .m = &m };
	struct apic_map *map;
	int ret = 0;
	u32 g;

	if (icr & (ICR_LOGICAL | ICR_SHORTHAND))
		return -EINVAL;
	g = grace_enter(&chip->map_grace);
	map = atomic_load(&chip->map);
	if (!map || !map->one_to_one)
		ret = -EOPNOTSUPP;
	for (u32 i = 0; ret >= 0 && i < 2 * width; i++) {
		u64 word = i < width ? lo : hi;
		u64 id = (u64)min + i;

		if (id > map->max_id)
			break;
		if (word >> (i % width) & 1 && map->phys[id])
			ret += accept(&d, map->phys[id]);
	}
	grace_leave(&chip->map_grace, g);
	return ret;
}

void *apic_find_vcpu(struct irqchip *chip, u32 id)
{
	void *vcpu = NULL;
	u32 g = grace_enter(&chip->map_grace);
	struct apic_map *map = atomic_load(&chip->map);

	for (u32 i = 0; map && i < map->n; i++)
		if (map->all[i]->id == id)
			vcpu = lapic_vcpu(map->all[i]);
	grace_leave(&chip->map_grace, g);
	return vcpu;
}

void apic_wake_all(struct irqchip *chip, enum irq_wake why)
{
	u32 g = grace_enter(&chip->map_grace);
	struct apic_map *map = atomic_load(&chip->map);

	for (u32 i = 0; map && i < map->n; i++)
		lapic_wake(map->all[i], why);
	grace_leave(&chip->map_grace, g);
}
