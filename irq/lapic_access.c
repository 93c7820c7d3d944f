/* SPDX-License-Identifier: MIT */
/*
 * irq/lapic_access.c - guest access to the registers: MMIO page (SDM3 11.4.1) and x2APIC MSRs
 * (SDM3 11.12.1). What may be accessed comes from LAPIC_REGS; only effects are here.
 */
#include "irq/irq_priv.h"

#include <errno.h>

#include "base/mem.h"
#include "base/msrs.h"

/* Effects of writes, below; the register exists and may be written. 0 or -EINVAL. */
typedef int write_fn(struct lapic *l, u32 offset, u32 v);
static write_fn write_none, write_id, write_tpr, write_eoi, write_ldr, write_dfr, write_spiv,
	write_esr, write_icr, write_icr2, write_lvt, write_tmict, write_tdcr, write_self_ipi;

static const struct {
	u8 access;
	write_fn *write;
} regs[64] = {
#define X(name, offset, count, access, avic_read, avic_write, handler) \
	[(offset) / 16 ... (offset) / 16 + (count) - 1] = { (access), write_##handler },
	LAPIC_REGS(X)
#undef X
};

bool lapic_may(struct lapic *l, u32 offset, bool write)
{
	u32 need = lapic_x2apic(l) ? R2 : RX;

	if (offset >= 0x400 || offset & 15)
		return false;
	if (offset == APIC_LVT_CMCI && l->nr_lvt < 7)
		return false;
	return regs[offset / 16].access & (write ? need << 1 : need);
}
_Static_assert(WX == RX << 1 && W2 == R2 << 1, "lapic_may()");

int lapic_reg_read(struct lapic *l, u32 offset, u32 *v)
{
	if (!lapic_may(l, offset, false))
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

	lapic_trace(kvm_apic_ipi, l, dest, icr);
	lapic_count(l, ipi);
	apic_deliver(l->chip, &m, l);
}

void lapic_soft_write_icr(struct lapic *l, u64 v)
{
	lapic_put(l, APIC_ICR, (u32)v);
	lapic_put(l, APIC_ICR2, v >> 32);
	lapic_send_ipi(l, (u32)v, v >> 32);
}

int lapic_reg_write(struct lapic *l, u32 offset, u32 v)
{
	if (!lapic_may(l, offset, true))
		return -EINVAL;
	return regs[offset / 16].write(l, offset, v);
}

static int write_none(struct lapic *l, u32 offset, u32 v)
{
	return 0;
}

static int write_id(struct lapic *l, u32 offset, u32 v)
{
	lapic_put(l, APIC_ID, v & 0xff000000);
	apic_map_update(l->chip);
	return 0;
}

static int write_tpr(struct lapic *l, u32 offset, u32 v)
{
	lapic_fast_tpr(&l->fast, (u8)v);
	lapic_recheck(l);
	return 0;
}

static int write_eoi(struct lapic *l, u32 offset, u32 v)
{
	lapic_eoi(l);
	return 0;
}

static int write_ldr(struct lapic *l, u32 offset, u32 v)
{
	lapic_put(l, APIC_LDR, v & 0xff000000);
	apic_map_update(l->chip);
	return 0;
}

static int write_dfr(struct lapic *l, u32 offset, u32 v)
{
	lapic_put(l, APIC_DFR, v | 0x0fffffff);
	apic_map_update(l->chip);
	return 0;
}

static int write_spiv(struct lapic *l, u32 offset, u32 v)
{
	u32 mask = SPIV_WRITABLE;

	if (lapic_get(l, APIC_LVR) & LVR_DIRECTED_EOI)
		mask |= SPIV_DIRECTED_EOI;
	lapic_set_spiv(l, v & mask);
	if (v & SPIV_ENABLE)
		return 0;
	/* SDM3 11.4.7.2: a software-disabled APIC has all LVT entries masked. */
	for (u32 i = 0; i < l->nr_lvt; i++) {
		u32 o = lapic_lvt_offset(i);

		lapic_put(l, o, lapic_get(l, o) | LVT_MASKED);
	}
	lapic_timer_mode_changed(l);
	return 0;
}

/* Errors are not recorded, as in KVM; x2APIC allows 0 only (SDM3 table 11-6). */
static int write_esr(struct lapic *l, u32 offset, u32 v)
{
	return lapic_x2apic(l) && v ? -EINVAL : 0;
}

/* xAPIC; the 64-bit register of x2APIC mode is written whole. */
static int write_icr(struct lapic *l, u32 offset, u32 v)
{
	v &= ~ICR_BUSY;
	lapic_put(l, APIC_ICR, v);
	lapic_send_ipi(l, v, lapic_get(l, APIC_ICR2) >> 24);
	return 0;
}

/* A CPU with AVIC keeps the reserved bits of ICR high, others drop them. So do we, accelerated or
 * not: that must not be visible. */
static int write_icr2(struct lapic *l, u32 offset, u32 v)
{
	lapic_put(l, APIC_ICR2, l->chip->avic_kind == AVIC_KIND_NONE ? v & 0xff000000 : v);
	return 0;
}

static enum lapic_lvt lvt_at(u32 offset)
{
	u32 i = LVT_TIMER;

	while (lapic_lvt_offset(i) != offset)
		i++;
	return i;
}

static int write_lvt(struct lapic *l, u32 offset, u32 v)
{
	enum lapic_lvt which = lvt_at(offset);
	u32 mask = lapic_lvt_mask(which);

	if (which == LVT_TIMER) {
		mask |= lapic_timer_mode_mask(l);
		lapic_poll_timer(l);	/* what has run out by now is the old entry's */
	}
	if (!lapic_sw_enabled(l))
		v |= LVT_MASKED;
	lapic_put(l, offset, v & mask);
	if (which == LVT_TIMER)
		lapic_timer_mode_changed(l);
	/* LINT0 may have been opened to the PIC. */
	if (which == LVT_LINT0 && lapic_accepts_extint(l) && irqchip_extint_pending(l->chip))
		lapic_wake(l, IRQ_WAKE_EVENT);
	return 0;
}

static int write_tmict(struct lapic *l, u32 offset, u32 v)
{
	if (l->timer_mode == LVT_TIMER_TSC_DEADLINE)	/* SDM3 11.5.4.1 */
		return 0;
	lapic_put(l, APIC_TMICT, v);
	lapic_timer_start(l, v);
	return 0;
}

static int write_tdcr(struct lapic *l, u32 offset, u32 v)
{
	lapic_put(l, APIC_TDCR, v & 0xb);
	lapic_timer_divide_changed(l);
	return 0;
}

static int write_self_ipi(struct lapic *l, u32 offset, u32 v)
{
	if (v & ~0xffu)
		return -EINVAL;
	lapic_send_ipi(l, v | APIC_TO_SELF << 18, 0);
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
	return !(atomic_load_explicit(&l->chip->set->disabled_quirks, memory_order_relaxed) &
		 KVM_X86_QUIRK_LAPIC_MMIO_HOLE);
}

int lapic_mmio_read(struct lapic *l, u32 offset, void *buf, u32 len)
{
	u8 *b = buf;
	u64 part;
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
	if ((offset & 15) + len > 4 || lapic_ops(l)->read(l, offset & ~15u, &v))
		return 0;
	lapic_trace(kvm_apic, l, 0, offset & ~15u, v);
	part = v >> (offset & 15) * 8;
	cpu_copy_few(buf, &part, len);
	return 0;
}

int lapic_mmio_write(struct lapic *l, u32 offset, const void *buf, u32 len)
{
	u32 v;

	if (page_absent(l))
		return hole_is_ours(l) ? 0 : -ENOENT;
	if (len != 4 || offset & 15)
		return 0;
	__builtin_memcpy(&v, buf, 4);
	lapic_trace(kvm_apic, l, 1, offset, v);
	lapic_ops(l)->write(l, offset, v);	/* read-only and absent registers swallow writes */
	return 0;
}

/* -- x2APIC MSRs -- */

int lapic_msr_read(struct lapic *l, u32 msr, u64 *v)
{
	u32 offset = (msr - MSR_X2APIC) * 16, lo;

	if (!msr_is_x2apic(msr) || !lapic_x2apic(l))
		return -EINVAL;
	if (lapic_ops(l)->read(l, offset, &lo))
		return -EINVAL;
	*v = lo;
	if (offset == APIC_ICR)
		*v |= (u64)lapic_get(l, APIC_ICR2) << 32;
	lapic_trace(kvm_apic, l, 0, offset, *v);
	return 0;
}

int lapic_msr_write(struct lapic *l, u32 msr, u64 v)
{
	u32 offset = (msr - MSR_X2APIC) * 16;

	if (!msr_is_x2apic(msr) || !lapic_x2apic(l))
		return -EINVAL;
	lapic_trace(kvm_apic, l, 1, offset, v);
	if (offset == APIC_ICR) {
		if (v & ICR_X2_RESERVED)
			return -EINVAL;
		lapic_ops(l)->write_icr(l, v & ~(u64)ICR_BUSY);
		return 0;
	}
	if (v >> 32)	/* SDM3 11.12.1.2: the upper half is reserved in all others */
		return -EINVAL;
	return lapic_ops(l)->write(l, offset, (u32)v);
}
