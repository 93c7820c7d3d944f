/* SPDX-License-Identifier: MIT */
/*
 * irq/apicv.c - the reasons against APIC acceleration, and which set of lapic_ops is live on a vCPU
 * (docs/kvm-apic.md 3.1-3.4). inhibit_lock orders changes of the mask against vCPUs that follow it:
 * a vCPU that has been told of a change waits here until the new mask is visible.
 */
#include "irq/irq_priv.h"

const char *apicv_inhibit_name(enum apicv_inhibit reason)
{
	static const char *const names[] = {
#define X(n, why) #n,
		APICV_INHIBITS(X)
#undef X
	};

	return reason < APICV_INHIBIT_COUNT ? names[reason] : "?";
}

const char *apicv_inhibit_why(enum apicv_inhibit reason)
{
	static const char *const whys[] = {
#define X(n, why) why,
		APICV_INHIBITS(X)
#undef X
	};

	return reason < APICV_INHIBIT_COUNT ? whys[reason] : "?";
}

u32 avic_kind_max_id(enum avic_kind kind)
{
	static const u32 max[] = {
#define X(n, text, max) max,
		AVIC_KINDS(X)
#undef X
	};

	return kind < AVIC_KIND_COUNT ? max[kind] : 0;
}

/* -- the mask -- */

u32 apicv_inhibits(struct irqchip *chip)
{
	return atomic_load(&chip->inhibits);
}

s64 apicv_inhibit_by(struct irqchip *chip, enum apicv_inhibit reason)
{
	if (reason >= APICV_INHIBIT_COUNT || !(apicv_inhibits(chip) & BIT(reason)))
		return -1;
	return atomic_load(&chip->inhibit_by[reason]);
}

/*
 * IRQWIN follows the count of waiting vCPUs only while it alone decides (docs/kvm-apic.md 3.2): a
 * window that is asked for because of another reason must not change the mask. A count that changes
 * while we look is seen here, or its changer sees the mask without other reasons.
 */
static u32 with_irqwin(struct irqchip *chip, u32 mask)
{
	u32 irqwin = BIT(APICV_INHIBIT_IRQWIN);

	if (mask & ~irqwin)
		return mask;
	return atomic_load(&chip->irq_windows) ? irqwin : 0;
}

/* inhibit_lock held: what is told is in the order of the changes. */
static void changed(struct irqchip *chip, u32 old, u32 now, s64 by)
{
	for (u32 i = 0; i < APICV_INHIBIT_COUNT; i++) {
		if (!((old ^ now) & BIT(i)))
			continue;
		if (now & BIT(i))
			atomic_store(&chip->inhibit_by[i], by);
		irq_trace_inhibit(chip->trace_vm, i, now & BIT(i), now, by);
	}
	if (chip->ops->inhibits && old != now)
		chip->ops->inhibits(chip->vm, now);
}

/* inhibit_lock held. */
static void change(struct irqchip *chip, u32 set, u32 clear, s64 by)
{
	u32 old = atomic_load(&chip->inhibits), now;

	do {
		now = with_irqwin(chip, (old | set) & ~clear);
		/* A moved APIC page stays a reason for ever (docs/kvm-apic.md 3.1). */
		now |= old & BIT(APICV_INHIBIT_APIC_BASE_MODIFIED);
		if (!old != !now)
			apic_wake_all(chip, IRQ_WAKE_APICV);
		atomic_store(&chip->inhibits, now);
		changed(chip, old, now, by);
		old = now;
	} while (with_irqwin(chip, now) != now);
}

static void set_inhibit(struct irqchip *chip, enum apicv_inhibit reason, bool on, s64 by)
{
	pthread_mutex_lock(&chip->inhibit_lock);
	change(chip, on ? BIT(reason) : 0, on ? 0 : BIT(reason), by);
	pthread_mutex_unlock(&chip->inhibit_lock);
}

/* NESTED is one vCPU's; nothing may put it into the mask. */
void apicv_set_inhibit(struct irqchip *chip, enum apicv_inhibit reason, bool on)
{
	if (reason < APICV_INHIBIT_COUNT && reason != APICV_INHIBIT_NESTED)
		set_inhibit(chip, reason, on, -1);
}

void apicv_set_inhibit_by(struct lapic *l, enum apicv_inhibit reason, bool on)
{
	set_inhibit(l->chip, reason, on, l->id);
}

void apicv_vcpu_reason(struct lapic *l, enum apicv_inhibit reason, bool on)
{
	struct irqchip *chip = l->chip;
	u32 *count = reason == APICV_INHIBIT_HYPERV ? &chip->nr_autoeoi : &chip->nr_blockirq;
	u32 bit = BIT(reason);

	if (reason != APICV_INHIBIT_HYPERV && reason != APICV_INHIBIT_BLOCKIRQ)
		return;
	pthread_mutex_lock(&chip->inhibit_lock);
	if (!!(l->reasons & bit) != on) {
		l->reasons ^= bit;
		*count += on ? 1u : -1u;
	}
	change(chip, *count ? bit : 0, *count ? 0 : bit, l->id);
	pthread_mutex_unlock(&chip->inhibit_lock);
}

bool apicv_irq_window(struct lapic *l)
{
	return l->irq_window;
}

bool apicv_count_irq_window(struct lapic *l, bool on)
{
	struct irqchip *chip = l->chip;
	u32 before;

	if (l->irq_window == on || chip->avic_kind == AVIC_KIND_NONE)
		return false;
	l->irq_window = on;
	before = atomic_fetch_add(&chip->irq_windows, on ? 1u : -1u);
	if (before != (on ? 0 : 1))
		return false;
	return !(atomic_load(&chip->inhibits) & ~BIT(APICV_INHIBIT_IRQWIN));
}

void apicv_eval_irq_window(struct lapic *l)
{
	set_inhibit(l->chip, APICV_INHIBIT_IRQWIN, atomic_load(&l->chip->irq_windows), l->id);
}

/* -- which ops are live -- */

/* What the mask and the vCPU's own state make of it. */
static const struct lapic_ops *wanted(struct lapic *l, u32 inhibits)
{
	if (inhibits || l->in_l2 || !lapic_hw_enabled(l) || !l->hw.page)
		return &lapic_soft_ops;
	if (lapic_x2apic(l) && l->chip->avic_kind == AVIC_KIND_AVIC)
		return &lapic_hybrid_ops;
	return &lapic_avic_ops;
}

/* The VMCB fields that follow the APIC's mode (docs/kvm-apic.md 3.5): xAPIC ids end at 254. */
static void load_hw(struct lapic *l)
{
	struct avic_tables *t = &l->chip->avic;

	l->hw.x2apic = lapic_x2apic(l);
	l->hw.max_index = l->hw.x2apic || t->max_index < 0xfe ? t->max_index : 0xfe;
}

static void set_ops(struct lapic *l, const struct lapic_ops *ops)
{
	atomic_store_explicit(&l->ops, ops, memory_order_release);
	l->fast.apicv_active = ops == &lapic_avic_ops;
}

static void follow(struct lapic *l, u32 inhibits)
{
	const struct lapic_ops *ops = wanted(l, inhibits);

	load_hw(l);
	if (ops == lapic_ops(l))
		return;
	set_ops(l, ops);
	lapic_count(l, apicv_updates);
	lapic_trace(standin_apicv, l, l->fast.apicv_active, inhibits);
	lapic_refresh_hint(l);
	/* What is pending must be looked at anew by whoever now delivers it. */
	lapic_wake(l, IRQ_WAKE_EVENT);
}

void apicv_update(struct lapic *l)
{
	struct irqchip *chip = l->chip;

	pthread_mutex_lock(&chip->inhibit_lock);
	follow(l, atomic_load(&chip->inhibits));
	pthread_mutex_unlock(&chip->inhibit_lock);
}

/* The mask may be about to change; then a request has been posted already and is served next. */
void apicv_refresh(struct lapic *l)
{
	follow(l, atomic_load(&l->chip->inhibits));
}

void apicv_set_nested(struct lapic *l, bool in_l2)
{
	if (l->in_l2 == in_l2)
		return;
	l->in_l2 = in_l2;
	/* On the path of VMRUN: nobody needs to look at IRR because of it. */
	set_ops(l, wanted(l, atomic_load(&l->chip->inhibits)));
}

bool apicv_active(struct lapic *l)
{
	return l->fast.apicv_active;
}

/* The one place where acceleration of a vCPU is set up (seed 003). Every id may be created; one
 * that the tables cannot address rules acceleration out for the VM. */
int apicv_init_vcpu(struct lapic *l)
{
	struct irqchip *chip = l->chip;
	int r;

	atomic_init(&l->ops, &lapic_soft_ops);
	if (chip->avic_kind == AVIC_KIND_NONE)
		return 0;
	pthread_mutex_lock(&chip->map_lock);
	r = avic_tables_init(chip);
	pthread_mutex_unlock(&chip->map_lock);
	if (r)
		return r;
	if (l->id > chip->avic.max_index) {
		apicv_set_inhibit_by(l, APICV_INHIBIT_PHYSICAL_ID_TOO_BIG, true);
		return 0;
	}
	l->hw = (struct avic_hw){
		.page = l->fast.page,
		.phys_table = (u64)(uintptr_t)chip->avic.phys,
		.logical_table = (u64)(uintptr_t)chip->avic.logical,
		.ops = &avic_local_hw_ops, .arg = l,
	};
	load_hw(l);
	return 0;
}

/* -- invariants -- */

bool apicv_consistent(struct lapic *l)
{
	return wanted(l, atomic_load(&l->chip->inhibits)) == lapic_ops(l);
}

void apicv_report_broken(struct irqchip *chip)
{
	atomic_fetch_add(&chip->broken, 1);
}

u64 apicv_broken(struct irqchip *chip)
{
	return atomic_load(&chip->broken);
}
