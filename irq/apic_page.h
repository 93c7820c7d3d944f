/* SPDX-License-Identifier: MIT */
/*
 * irq/apic_page.h - what the registers in a 4 KiB APIC page do by themselves: priority, taking and
 * finishing interrupts. Shared by the software APIC, the AVIC model and the fast path; no
 * locks, no callbacks.
 *
 * IRR and TMR are changed by any thread with atomic operations; all other registers by the page's
 * owner with relaxed stores, and are read by anyone.
 */
#ifndef IRQ_APIC_PAGE_H
#define IRQ_APIC_PAGE_H

#include <stdatomic.h>

#include "irq/avic.h"
#include "irq/lapic_regs.h"

static inline _Atomic u32 *apic_reg(u8 *page, u32 offset)
{
	return (_Atomic u32 *)(void *)(page + offset);
}

static inline u32 apic_get(u8 *page, u32 offset)
{
	return atomic_load_explicit(apic_reg(page, offset), memory_order_relaxed);
}

static inline void apic_put(u8 *page, u32 offset, u32 v)
{
	atomic_store_explicit(apic_reg(page, offset), v, memory_order_relaxed);
}

/* Bit `vector` of the 256-bit register at `offset` (ISR, TMR, IRR). */
static inline u32 apic_vector_reg(u32 offset, u8 vector)
{
	return offset + vector / 32 * 16;
}

static inline bool apic_test(u8 *page, u32 offset, u8 vector)
{
	return apic_get(page, apic_vector_reg(offset, vector)) >> (vector % 32) & 1;
}

/* Highest bit of ISR, TMR or IRR, or -1. */
static inline int apic_highest(u8 *page, u32 offset)
{
	for (int i = 7; i >= 0; i--) {
		u32 v = atomic_load(apic_reg(page, offset + (u32)i * 16));

		if (v)
			return i * 32 + 31 - __builtin_clz(v);
	}
	return -1;
}

/* SDM3 11.8.3.1. The same register file in APM2 16.6.4. */
static inline void apic_update_ppr(u8 *page)
{
	u32 tpr = apic_get(page, APIC_TPR);
	int isr = apic_highest(page, APIC_ISR);
	u32 isrv = isr < 0 ? 0 : (u32)isr;

	apic_put(page, APIC_PPR, (tpr & 0xf0) >= (isrv & 0xf0) ? tpr & 0xff : isrv & 0xf0);
}

/* Any thread. TMR first (SDM3 11.8.4): whoever sees the request sees its trigger mode. */
static inline void apic_post(u8 *page, u8 vector, bool level)
{
	u32 bit = 1u << (vector % 32);

	if (apic_test(page, APIC_TMR, vector) != level) {
		if (level)
			atomic_fetch_or(apic_reg(page, apic_vector_reg(APIC_TMR, vector)), bit);
		else
			atomic_fetch_and(apic_reg(page, apic_vector_reg(APIC_TMR, vector)), ~bit);
	}
	atomic_fetch_or(apic_reg(page, apic_vector_reg(APIC_IRR, vector)), bit);
}

/* Owner. The vector to be taken next, or -1. */
static inline int apic_deliverable(u8 *page)
{
	int v = apic_highest(page, APIC_IRR);

	return v >= 0 && (u32)(v & 0xf0) > apic_get(page, APIC_PPR) ? v : -1;
}

/* Owner. IRR -> ISR. PPR is the vector's class: only a higher one than PPR was taken. */
static inline void apic_begin(u8 *page, u8 vector)
{
	u32 bit = 1u << (vector % 32), isr = apic_vector_reg(APIC_ISR, vector);

	atomic_fetch_and(apic_reg(page, apic_vector_reg(APIC_IRR, vector)), ~bit);
	apic_put(page, isr, apic_get(page, isr) | bit);
	apic_update_ppr(page);
}

/* Owner. The highest vector in service is finished; the caller knows that there is one. */
static inline void apic_finish(u8 *page, u8 vector)
{
	u32 isr = apic_vector_reg(APIC_ISR, vector);

	apic_put(page, isr, apic_get(page, isr) & ~(1u << (vector % 32)));
	apic_update_ppr(page);
}

/* -- accelerated accesses of our own vCPUs; owner, only while apicv_active -- */

/* An interrupt may now be taken: the caller makes the vCPU look (poll). */
static inline bool lapic_fast_deliverable(struct apic_fast *f)
{
	return atomic_load_explicit(&f->irr_pending, memory_order_acquire) &&
	       apic_deliverable(f->page) >= 0;
}

/*
 * EOI. True: done. False: nothing was done, the full path must be taken (lapic_mmio_write or
 * lapic_msr_write): TMR is set, or the I/O APIC side listens to this vector.
 */
static inline bool lapic_fast_eoi(struct apic_fast *f)
{
	int v = apic_highest(f->page, APIC_ISR);

	if (v < 0)
		return true;
	if (apic_test(f->page, APIC_TMR, (u8)v) || f->eoi_exit[v / 64] >> (v % 64) & 1)
		return false;
	apic_finish(f->page, (u8)v);
	return true;
}

static inline void lapic_fast_tpr(struct apic_fast *f, u8 tpr)
{
	apic_put(f->page, APIC_TPR, tpr);
	apic_update_ppr(f->page);
}

#endif
