/* SPDX-License-Identifier: MIT */
/*
 * irq/lapic_fast.c - the register accesses that acceleration makes without an exit (facts 3.6:
 * TPR, EOI of an edge interrupt, fixed edge IPIs, plain reads), for use straight from
 * translated code. No locks beyond the APIC map's grace period, no callbacks but `wake`.
 *
 * false: not one of those, and nothing has been done; the full access decides.
 */
#include "irq/irq_priv.h"

static void set_tpr(struct lapic *l, u32 v)
{
	lapic_put(l, APIC_TPR, v);
	lapic_update_ppr(l);
	lapic_wake_if_pending(l);
}

/* Level interrupts, and edges whose end somebody wants to hear of, take the long way. */
static bool eoi(struct lapic *l)
{
	int v = lapic_find_highest(l, APIC_ISR);
	u32 word;

	if (v < 0)
		return true;
	if (lapic_test(l, APIC_TMR, (u8)v) || l->handled[v / 64] >> (v % 64) & 1)
		return false;
	word = APIC_ISR + (u32)v / 32 * 16;
	lapic_put(l, word, lapic_get(l, word) & ~(1u << (v % 32)));
	lapic_update_ppr(l);
	lapic_wake_if_pending(l);
	return true;
}

/* Facts 3.7: other delivery modes, level triggers and vectors below 16 are not for hardware. */
static bool icr_is_plain(u32 icr)
{
	return !(icr & (7u << 8 | ICR_LEVEL)) && (icr & 0xff) >= 16;
}

static bool self_ipi(struct lapic *l, u32 vector)
{
	if (vector < 16)
		return false;
	lapic_set_irq(l, (u8)vector, false);
	return true;
}

static bool send(struct lapic *l, u32 icr, u32 dest)
{
	if ((icr & ICR_SHORTHAND) >> 18 == APIC_TO_SELF)
		return self_ipi(l, icr & 0xff);
	lapic_send_ipi(l, icr, dest);
	return true;
}

bool lapic_fast_mmio_write(struct lapic *l, u32 offset, u32 v)
{
	switch (offset) {
	case APIC_TPR:
		set_tpr(l, v & 0xff);
		return true;
	case APIC_EOI:
		return eoi(l);
	case APIC_ICR:
		v &= ~ICR_BUSY;
		if (!icr_is_plain(v))
			return false;
		lapic_put(l, APIC_ICR, v);
		return send(l, v, lapic_get(l, APIC_ICR2) >> 24);
	case APIC_ICR2:
		lapic_put(l, APIC_ICR2, v & 0xff000000);
		return true;
	default:
		return false;
	}
}

/* Registers that read as the page has them. */
static bool reads_plainly(u32 offset)
{
	switch (offset) {
	case APIC_ID: case APIC_LVR: case APIC_TPR: case APIC_PPR: case APIC_SPIV:
	case APIC_ICR: case APIC_LVTT:
		return true;
	default:
		return offset >= APIC_ISR && offset < APIC_IRR + 0x80 && !(offset & 15);
	}
}

bool lapic_fast_mmio_read(struct lapic *l, u32 offset, u32 *v)
{
	if (!reads_plainly(offset) && offset != APIC_ICR2 && offset != APIC_LDR)
		return false;
	*v = lapic_get(l, offset);
	return true;
}

bool lapic_fast_msr_write(struct lapic *l, u32 msr, u64 v)
{
	u32 lo = (u32)v;

	switch ((msr - 0x800) * 16) {
	case APIC_TPR:
		if (v >> 8)
			return false;
		set_tpr(l, lo);
		return true;
	case APIC_EOI:
		return !(v >> 32) && eoi(l);
	case APIC_ICR:
		if (v & ICR_X2_RESERVED)
			return false;
		lo &= ~ICR_BUSY;
		if (!icr_is_plain(lo))
			return false;
		lapic_put(l, APIC_ICR, lo);
		lapic_put(l, APIC_ICR2, v >> 32);
		return send(l, lo, v >> 32);
	case APIC_SELF_IPI:
		return !(v & ~0xffull) && self_ipi(l, lo);
	default:
		return false;
	}
}

/* ICR is not among them: its upper half does not fit. */
bool lapic_fast_msr_read(struct lapic *l, u32 msr, u32 *v)
{
	u32 offset = (msr - 0x800) * 16;

	if (!reads_plainly(offset) || offset == APIC_ICR)
		return false;
	*v = lapic_get(l, offset);
	return true;
}

void lapic_fast_set_tpr(struct lapic *l, u8 cr8)
{
	set_tpr(l, (cr8 & 15u) << 4);
}
