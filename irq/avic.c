/* SPDX-License-Identifier: MIT */
/*
 * irq/avic.c - the AVIC hardware model: accesses to the register page (APM2 15.29.3) and
 * inter-processor interrupts through the id tables (APM2 15.29.4-15.29.6).
 */
#include "irq/avic.h"

#include <errno.h>

#include "irq/apic_page.h"
#include "irq/irq_priv.h"

static const struct reg {
	u8 access, read, write;
} regs[64] = {
#define X(name, offset, count, access, avic_read, avic_write, handler) \
	[(offset) / 16 ... (offset) / 16 + (count) - 1] = \
		{ (access), AVIC_ACT_##avic_read, AVIC_ACT_##avic_write },
	LAPIC_REGS(X)
#undef X
};

enum avic_act avic_act(u32 offset, bool write)
{
	if (offset >= 0x400 || offset & 15)
		return AVIC_ACT_FAULT;
	return write ? regs[offset / 16].write : regs[offset / 16].read;
}

const char *avic_ipi_failure_name(u32 id)
{
	static const char *const names[] = {
#define X(n) #n,
		AVIC_IPI_FAILURES(X)
#undef X
	};

	return id < ARRAY_SIZE(names) ? names[id] : "?";
}

static void unaccelerated(struct avic_exit *x, u32 offset, bool write, u32 vector)
{
	*x = (struct avic_exit){
		.code = AVIC_EXIT_UNACCELERATED, .info2 = vector,
		.info1 = (offset & 0xff0) | (write ? AVIC_UNACCELERATED_WRITE : 0),
	};
}

/* -- IPIs -- */

struct ipi {
	struct avic_hw *hw;
	u8 vector;
	u32 failure;		/* enum avic_ipi_failure */
	u32 index;		/* of the table entry that failed */
	bool failed;
};

static bool fail(struct ipi *i, u32 failure, u32 index)
{
	if (!i->failed) {
		i->failure = failure;
		i->index = index;
		i->failed = true;
	}
	return false;
}

static void *table_page(struct avic_hw *hw, u64 pa)
{
	if (hw->ops->page)
		return hw->ops->page(hw->arg, pa & PAGE_MASK);
	return (void *)(uintptr_t)(pa & PAGE_MASK);
}

static _Atomic u64 *phys_entry(struct avic_hw *hw, u32 index)
{
	u64 pa = hw->phys_table + (u64)index * 8;
	u8 *page = table_page(hw, pa);

	return page ? (_Atomic u64 *)(void *)(page + (pa & ~PAGE_MASK)) : NULL;
}

static bool target_valid(struct ipi *i, u32 id, u32 index)
{
	_Atomic u64 *e;

	if (id > i->hw->max_index)
		return fail(i, AVIC_IPI_INVALID_TARGET, index);
	e = phys_entry(i->hw, id);
	if (!e || !(atomic_load(e) & AVIC_PHYS_VALID))
		return fail(i, AVIC_IPI_INVALID_TARGET, index);
	return true;
}

/* The request is in the target's page before IsRunning is looked at: a CPU that clears the bit
 * looks at its page afterwards (APM2 15.29.4.2), so one of the two sees the other. */
static void post(struct ipi *i, u32 id, u32 index)
{
	struct avic_hw *hw = i->hw;
	_Atomic u64 *p = phys_entry(hw, id);
	u64 e = p ? atomic_load(p) : 0;
	u8 *page;

	if (!(e & AVIC_PHYS_VALID))
		return;
	page = table_page(hw, e & AVIC_PHYS_PAGE);
	if (!page) {
		fail(i, AVIC_IPI_INVALID_PAGE, index);
		return;
	}
	apic_post(page, i->vector, false);
	if (hw->ops->posted)
		hw->ops->posted(hw->arg, e);
	if (atomic_load(p) & AVIC_PHYS_RUNNING)
		hw->ops->doorbell(hw->arg, e & (hw->max_index > 0xff ? AVIC_PHYS_ID : 0xff));
	else
		fail(i, AVIC_IPI_NOT_RUNNING, index);
}

/* Entries that are not valid do not count (docs/kvm-apic.md 3.9). */
static void broadcast(struct ipi *i, bool self)
{
	for (u32 id = 0; id <= i->hw->max_index; id++) {
		_Atomic u64 *p = phys_entry(i->hw, id);
		u64 e = p ? atomic_load(p) : 0;

		if (!(e & AVIC_PHYS_VALID))
			continue;
		if (!self && table_page(i->hw, e & AVIC_PHYS_PAGE) == i->hw->page)
			continue;
		post(i, id, id);
	}
}

static u32 logical_id(struct avic_hw *hw, u32 index, bool *valid)
{
	_Atomic u32 *page = table_page(hw, hw->logical_table);
	u32 e = page ? atomic_load(&page[index]) : 0;

	*valid = e & AVIC_LOGICAL_VALID;
	return e & AVIC_LOGICAL_ID;
}

/* All targets are looked up before the first is sent to: an exit for a missing one makes software
 * send the whole message, which must not happen twice. */
static void logical(struct ipi *i, u32 dest)
{
	struct avic_hw *hw = i->hw;
	u32 base, bits;

	if (hw->x2apic) {
		base = (dest >> 16) * 16;
		bits = dest & 0xffff;
	} else if (apic_get(hw->page, APIC_DFR) == DFR_FLAT) {
		base = 0;
		bits = dest & 0xff;
	} else {
		base = (dest >> 4 & 15) * 4;
		bits = dest & 15;
		if ((dest >> 4 & 15) == 15) {	/* there is no cluster 15 */
			fail(i, AVIC_IPI_INVALID_TARGET, base);
			return;
		}
	}
	for (int pass = 0; pass < 2; pass++) {
		for (u32 rest = bits; rest; rest &= rest - 1) {
			u32 index = base + (u32)__builtin_ctz(rest), id = index;
			bool valid = true;

			if (!hw->x2apic)
				id = logical_id(hw, index, &valid);
			if (pass)
				post(i, id, index);
			else if (!valid)
				fail(i, AVIC_IPI_INVALID_TARGET, index);
			else
				target_valid(i, id, index);
		}
		if (i->failed)
			return;
	}
}

enum avic_outcome avic_ipi(struct avic_hw *hw, u32 icr, u32 dest, struct avic_exit *x)
{
	struct ipi i = { .hw = hw, .vector = (u8)icr };
	u32 all = hw->x2apic ? X2APIC_BROADCAST : XAPIC_BROADCAST;

	if (icr & (0x700 | ICR_BUSY | ICR_LEVEL)) {	/* fixed and edge triggered only */
		fail(&i, AVIC_IPI_INVALID_TYPE, 0);
	} else if (i.vector < 16) {
		fail(&i, AVIC_IPI_INVALID_VECTOR, 0);
	} else {
		switch ((icr & ICR_SHORTHAND) >> 18) {
		case APIC_TO_SELF:
			apic_post(hw->page, i.vector, false);
			break;
		case APIC_TO_ALL:
			broadcast(&i, true);
			break;
		case APIC_TO_OTHERS:
			broadcast(&i, false);
			break;
		default:
			if (dest == all)
				broadcast(&i, true);
			else if (icr & ICR_LOGICAL)
				logical(&i, dest);
			else if (target_valid(&i, dest, dest))
				post(&i, dest, dest);
		}
	}
	if (!i.failed)
		return AVIC_DONE;
	*x = (struct avic_exit){
		.code = AVIC_EXIT_INCOMPLETE_IPI,
		.info1 = (u64)(hw->x2apic ? dest : dest << 24) << 32 | icr,
		.info2 = (u64)i.failure << 32 | i.index,
	};
	return AVIC_TRAP;
}

/* -- registers -- */

enum avic_outcome avic_read(struct avic_hw *hw, u32 offset, u32 *v, struct avic_exit *x)
{
	if (avic_act(offset, false) != AVIC_ACT_ACCEL) {
		unaccelerated(x, offset, false, 0);
		return AVIC_FAULT;
	}
	*v = apic_get(hw->page, offset);
	return AVIC_DONE;
}

static enum avic_outcome write_eoi(struct avic_hw *hw, struct avic_exit *x)
{
	int v = apic_highest(hw->page, APIC_ISR);

	if (v < 0)
		return AVIC_DONE;
	if (apic_test(hw->page, APIC_TMR, (u8)v)) {	/* ISR is left to the hypervisor */
		unaccelerated(x, APIC_EOI, true, (u32)v);
		return AVIC_TRAP;
	}
	apic_finish(hw->page, (u8)v);
	return AVIC_DONE;
}

bool avic_can_write(const struct avic_hw *hw, u32 offset)
{
	enum avic_act act = avic_act(offset, true);

	if (act == AVIC_ACT_ACCEL)
		return regs[offset / 16].access & (hw->x2apic ? W2 : WX);
	return act != AVIC_ACT_FAULT;
}

enum avic_outcome avic_write(struct avic_hw *hw, u32 offset, u32 v, struct avic_exit *x)
{
	enum avic_act act = avic_act(offset, true);

	if (!avic_can_write(hw, offset)) {
		unaccelerated(x, offset, true, 0);
		return AVIC_FAULT;
	}
	if (act == AVIC_ACT_TRAP) {
		apic_put(hw->page, offset, v);
		unaccelerated(x, offset, true, 0);
		return AVIC_TRAP;
	}
	switch (offset) {
	case APIC_TPR:
		apic_put(hw->page, APIC_TPR, v & 0xff);
		apic_update_ppr(hw->page);
		return AVIC_DONE;
	case APIC_EOI:
		return write_eoi(hw, x);
	case APIC_ICR:
		apic_put(hw->page, APIC_ICR, v);
		return avic_ipi(hw, v, apic_get(hw->page, APIC_ICR2) >> 24, x);
	case APIC_SELF_IPI:
		return avic_ipi(hw, (v & 0xff) | APIC_TO_SELF << 18, 0, x);
	default:	/* ICR high, with the reserved bits */
		apic_put(hw->page, offset, v);
		return AVIC_DONE;
	}
}

int avic_msr_read(struct avic_hw *hw, u32 msr, u64 *v, struct avic_exit *x)
{
	u32 offset = (msr & 0xff) * 16, lo;
	enum avic_outcome r;

	if (offset < 0x400 && !(regs[offset / 16].access & R2)) {
		unaccelerated(x, offset, false, 0);
		return AVIC_FAULT;
	}
	r = avic_read(hw, offset, &lo, x);
	if (r == AVIC_DONE) {
		*v = lo;
		if (offset == APIC_ICR)
			*v |= (u64)apic_get(hw->page, APIC_ICR2) << 32;
	}
	return r;
}

int avic_msr_write(struct avic_hw *hw, u32 msr, u64 v, struct avic_exit *x)
{
	u32 offset = (msr & 0xff) * 16;

	switch (offset) {	/* what the hardware carries out, it also checks (APM2 16.11) */
	case APIC_ICR:
		if (v & ICR_X2_RESERVED)
			return -EINVAL;
		apic_put(hw->page, APIC_ICR, (u32)v);
		apic_put(hw->page, APIC_ICR2, v >> 32);
		return avic_ipi(hw, (u32)v, v >> 32, x);
	case APIC_TPR:
	case APIC_SELF_IPI:
		if (v & ~0xffull)
			return -EINVAL;
		break;
	case APIC_EOI:
		if (v)
			return -EINVAL;
		break;
	}
	return avic_write(hw, offset, (u32)v, x);
}

/* -- interrupts -- */

int avic_pending(const struct avic_hw *hw)
{
	return apic_deliverable(hw->page);
}

int avic_take(struct avic_hw *hw)
{
	int v = apic_deliverable(hw->page);

	if (v >= 0)
		apic_begin(hw->page, (u8)v);
	return v;
}
