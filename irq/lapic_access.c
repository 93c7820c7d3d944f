/* SPDX-License-Identifier: MIT */
/*
 * irq/lapic_access.c - guest access to the registers: MMIO page (SDM3 11.4.1) and x2APIC MSRs
 * (SDM3 11.12.1). What may be accessed comes from LAPIC_REGS; only effects are here.
 */
#include "irq/irq_priv.h"

#include <errno.h>

#include "base/mem.h"

/* Access rights by offset / 16. */
static const u8 access_of[64] = {
#define X(name, offset, count, access, avic) \
	[(offset) / 16 ... (offset) / 16 + (count) - 1] = (access),
	LAPIC_REGS(X)
#undef X
};

static bool may(struct lapic *l, u32 offset, u32 xapic, u32 x2apic)
{
	if (offset >= 0x400 || offset & 15)
		return false;
	if (offset == APIC_LVT_CMCI && l->nr_lvt < 7)
		return false;
	return access_of[offset / 16] & (lapic_x2apic(l) ? x2apic : xapic);
}

int lapic_reg_read(struct lapic *l, u32 offset, u32 *v)
{
	if (!may(l, offset, RX, R2))
		return -EINVAL;
	switch (offset) {
	case APIC_APR:		/* arbitration is not modelled; no such register since the P4 */
		*v = 0;
		break;
	case APIC_TMCCT:
		*v = lapic_timer_count(l);
		break;
	default:
		*v = lapic_get(l, offset);
	}
	return 0;
}

void lapic_send_ipi(struct lapic *l, u32 icr, u32 dest)
{
	struct apic_msg m = {
		.dest = dest,
		.vector = (u8)icr,
		.delivery = icr >> 8 & 7,
		.dest_logical = !!(icr & ICR_LOGICAL),
		.level = !!(icr & ICR_ASSERT),
		.trigger_level = !!(icr & ICR_LEVEL),
		.shorthand = (icr & ICR_SHORTHAND) >> 18,
	};

	apic_deliver(l->chip, &m, l);
}

static void write_spiv(struct lapic *l, u32 v)
{
	u32 mask = SPIV_WRITABLE;

	if (lapic_get(l, APIC_LVR) & LVR_DIRECTED_EOI)
		mask |= SPIV_DIRECTED_EOI;
	lapic_set_spiv(l, v & mask);
	if (v & SPIV_ENABLE)
		return;
	/* SDM3 11.4.7.2: a software-disabled APIC has all LVT entries masked. */
	for (u32 i = 0; i < l->nr_lvt; i++) {
		u32 o = lapic_lvt_offset(i);

		lapic_put(l, o, lapic_get(l, o) | LVT_MASKED);
	}
	lapic_timer_mode_changed(l);
}

static void write_lvt(struct lapic *l, enum lapic_lvt which, u32 v)
{
	u32 mask = lapic_lvt_mask(which);

	if (which == LVT_TIMER)
		mask |= lapic_timer_mode_mask(l);
	if (!lapic_sw_enabled(l))
		v |= LVT_MASKED;
	lapic_put(l, lapic_lvt_offset(which), v & mask);
	if (which == LVT_TIMER)
		lapic_timer_mode_changed(l);
	/* LINT0 may have been opened to the PIC. */
	if (which == LVT_LINT0 && lapic_accepts_extint(l) && irqchip_extint_pending(l->chip))
		lapic_wake(l, IRQ_WAKE_EVENT);
}

int lapic_reg_write(struct lapic *l, u32 offset, u32 v)
{
	bool x2 = lapic_x2apic(l);

	if (!may(l, offset, WX, W2))
		return -EINVAL;
	switch (offset) {
	case APIC_ID:
		lapic_put(l, APIC_ID, v & 0xff000000);
		apic_map_update(l->chip);
		break;
	case APIC_TPR:
		lapic_put(l, APIC_TPR, v & 0xff);
		lapic_update_ppr(l);
		lapic_wake_if_pending(l);
		break;
	case APIC_EOI:
		lapic_eoi(l);
		break;
	case APIC_LDR:
		lapic_put(l, APIC_LDR, v & 0xff000000);
		apic_map_update(l->chip);
		break;
	case APIC_DFR:
		lapic_put(l, APIC_DFR, v | 0x0fffffff);
		apic_map_update(l->chip);
		break;
	case APIC_SPIV:
		write_spiv(l, v);
		break;
	case APIC_ESR:
		/* Errors are not recorded, as in KVM; x2APIC allows 0 only (SDM3 table 11-6). */
		return x2 && v ? -EINVAL : 0;
	case APIC_ICR:
		v &= ~ICR_BUSY;
		lapic_put(l, APIC_ICR, v);
		lapic_send_ipi(l, v, lapic_get(l, APIC_ICR2) >> 24);
		break;
	case APIC_ICR2:
		lapic_put(l, APIC_ICR2, v & 0xff000000);
		break;
	case APIC_TMICT:
		if (l->timer_mode == LVT_TIMER_TSC_DEADLINE)	/* SDM3 11.5.4.1 */
			break;
		lapic_put(l, APIC_TMICT, v);
		lapic_timer_start(l, v);
		break;
	case APIC_TDCR:
		lapic_put(l, APIC_TDCR, v & 0xb);
		lapic_timer_divide_changed(l);
		break;
	case APIC_SELF_IPI:
		if (v & ~0xffu)
			return -EINVAL;
		lapic_send_ipi(l, v | APIC_TO_SELF << 18, 0);
		break;
	default:
		for (u32 i = 0; i < l->nr_lvt; i++)
			if (lapic_lvt_offset(i) == offset)
				write_lvt(l, i, v);
	}
	return 0;
}

/* -- MMIO -- */

/* A disabled APIC or one in x2APIC mode has no page. KVM swallows accesses unless the quirk
 * is off. */
static bool page_absent(struct lapic *l)
{
	return !lapic_hw_enabled(l) || lapic_x2apic(l);
}

static bool hole_is_ours(struct lapic *l)
{
	return !(atomic_load_explicit(&l->chip->disabled_quirks, memory_order_relaxed) &
		 KVM_X86_QUIRK_LAPIC_MMIO_HOLE);
}

int lapic_mmio_read(struct lapic *l, u32 offset, void *buf, u32 len)
{
	u8 *b = buf;
	u32 v;

	if (page_absent(l)) {
		if (!hole_is_ours(l))
			return -ENOENT;
		for (u32 i = 0; i < len; i++)
			b[i] = 0xff;
		return 0;
	}
	cpu_zero(buf, len);
	/* At most the four bytes of one register (SDM3 11.4.1.1 leaves others undefined). */
	if ((offset & 15) + len > 4 || lapic_reg_read(l, offset & ~15u, &v))
		return 0;
	v >>= (offset & 15) * 8;
	cpu_copy(buf, &v, len);
	return 0;
}

int lapic_mmio_write(struct lapic *l, u32 offset, const void *buf, u32 len)
{
	u32 v;

	if (page_absent(l))
		return hole_is_ours(l) ? 0 : -ENOENT;
	if (len != 4 || offset & 15)
		return 0;
	cpu_copy(&v, buf, 4);
	lapic_reg_write(l, offset, v);	/* read-only and absent registers swallow writes */
	return 0;
}

/* -- x2APIC MSRs -- */

int lapic_msr_read(struct lapic *l, u32 msr, u64 *v)
{
	u32 offset = (msr - 0x800) * 16, lo;

	if (msr < 0x800 || msr > 0x8ff || !lapic_x2apic(l))
		return -EINVAL;
	if (lapic_reg_read(l, offset, &lo))
		return -EINVAL;
	*v = lo;
	if (offset == APIC_ICR)
		*v |= (u64)lapic_get(l, APIC_ICR2) << 32;
	return 0;
}

int lapic_msr_write(struct lapic *l, u32 msr, u64 v)
{
	u32 offset = (msr - 0x800) * 16;

	if (msr < 0x800 || msr > 0x8ff || !lapic_x2apic(l))
		return -EINVAL;
	if (offset == APIC_ICR) {
		if (v & ICR_X2_RESERVED)
			return -EINVAL;
		v &= ~(u64)ICR_BUSY;
		lapic_put(l, APIC_ICR, (u32)v);
		lapic_put(l, APIC_ICR2, v >> 32);
		lapic_send_ipi(l, (u32)v, v >> 32);
		return 0;
	}
	if (v >> 32)	/* SDM3 11.12.1.2: the upper half is reserved in all others */
		return -EINVAL;
	return lapic_reg_write(l, offset, (u32)v);
}
