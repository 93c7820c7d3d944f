/* SPDX-License-Identifier: MIT */
/*
 * irq/lapic_regs.h - the one table of local APIC registers (SDM3 table 11-1 and 11-6,
 * APM2 15.29.3). MMIO access, x2APIC MSR access (0x800 + offset / 16), the AVIC model and
 * traces are driven by it.
 *
 * X(name, offset, count, access, avic_read, avic_write, handler): count registers at a distance of
 * 16 bytes.
 * access: RX/WX readable/writable in xAPIC mode, R2/W2 in x2APIC mode.
 * avic_*: what AVIC makes of a guest access: ACCEL in hardware, TRAP after it, FAULT before it.
 * EOI, ICR and SELF_IPI are ACCEL where their value permits (irq/avic.c).
 * handler: the write_*() of irq/lapic_access.c; `none` where nothing is writable.
 */
#ifndef IRQ_LAPIC_REGS_H
#define IRQ_LAPIC_REGS_H

#include "base/types.h"

#define RX 1u
#define WX 2u
#define R2 4u
#define W2 8u
#define R_BOTH (RX | R2)
#define W_BOTH (WX | W2)
#define RW_BOTH (R_BOTH | W_BOTH)

#define LAPIC_REGS(X) \
	X(ID,       0x020, 1, R_BOTH | WX,   ACCEL, TRAP,  id) \
	X(LVR,      0x030, 1, R_BOTH,        ACCEL, FAULT, none) \
	X(TPR,      0x080, 1, RW_BOTH,       ACCEL, ACCEL, tpr) \
	X(APR,      0x090, 1, RX,            FAULT, FAULT, none) \
	X(PPR,      0x0a0, 1, R_BOTH,        ACCEL, FAULT, none) \
	X(EOI,      0x0b0, 1, W_BOTH,        FAULT, ACCEL, eoi) \
	X(RRR,      0x0c0, 1, 0,             ACCEL, TRAP,  none) \
	X(LDR,      0x0d0, 1, R_BOTH | WX,   ACCEL, TRAP,  ldr) \
	X(DFR,      0x0e0, 1, RX | WX,       ACCEL, TRAP,  dfr) \
	X(SPIV,     0x0f0, 1, RW_BOTH,       ACCEL, TRAP,  spiv) \
	X(ISR,      0x100, 8, R_BOTH,        ACCEL, FAULT, none) \
	X(TMR,      0x180, 8, R_BOTH,        ACCEL, FAULT, none) \
	X(IRR,      0x200, 8, R_BOTH,        ACCEL, FAULT, none) \
	X(ESR,      0x280, 1, RW_BOTH,       ACCEL, TRAP,  esr) \
	X(LVT_CMCI, 0x2f0, 1, RW_BOTH,       FAULT, FAULT, lvt) \
	X(ICR,      0x300, 1, RW_BOTH,       ACCEL, ACCEL, icr) \
	X(ICR2,     0x310, 1, RX | WX,       ACCEL, ACCEL, icr2) \
	X(LVTT,     0x320, 1, RW_BOTH,       ACCEL, TRAP,  lvt) \
	X(LVTTHMR,  0x330, 1, RW_BOTH,       ACCEL, TRAP,  lvt) \
	X(LVTPC,    0x340, 1, RW_BOTH,       ACCEL, TRAP,  lvt) \
	X(LVT0,     0x350, 1, RW_BOTH,       ACCEL, TRAP,  lvt) \
	X(LVT1,     0x360, 1, RW_BOTH,       ACCEL, TRAP,  lvt) \
	X(LVTERR,   0x370, 1, RW_BOTH,       ACCEL, TRAP,  lvt) \
	X(TMICT,    0x380, 1, RW_BOTH,       ACCEL, TRAP,  tmict) \
	X(TMCCT,    0x390, 1, R_BOTH,        FAULT, FAULT, none) \
	X(TDCR,     0x3e0, 1, RW_BOTH,       ACCEL, TRAP,  tdcr) \
	X(SELF_IPI, 0x3f0, 1, W2,            FAULT, ACCEL, self_ipi)

enum {
#define X(name, offset, count, access, avic_read, avic_write, handler) APIC_##name = offset,
	LAPIC_REGS(X)
#undef X
};

enum avic_act { AVIC_ACT_FAULT, AVIC_ACT_TRAP, AVIC_ACT_ACCEL };

/* Local vector table: index = enum lapic_lvt. X(index, register, writable bits). The timer's
 * mode bits depend on CPUID and are added where it is written. */
#define LVT_VECTOR	0x000000ffu
#define LVT_MODE	0x00000700u
#define LVT_PENDING	0x00001000u
#define LVT_POLARITY	0x00002000u
#define LVT_REMOTE_IRR	0x00004000u
#define LVT_LEVEL	0x00008000u
#define LVT_MASKED	0x00010000u
#define LVT_PLAIN	(LVT_VECTOR | LVT_PENDING | LVT_MASKED)
#define LVT_PIN		(LVT_PLAIN | LVT_MODE | LVT_POLARITY | LVT_REMOTE_IRR | LVT_LEVEL)
#define LAPIC_LVTS(X) \
	X(LVT_TIMER,   LVTT,     LVT_PLAIN) \
	X(LVT_THERMAL, LVTTHMR,  LVT_PLAIN | LVT_MODE) \
	X(LVT_PERF,    LVTPC,    LVT_PLAIN | LVT_MODE) \
	X(LVT_LINT0,   LVT0,     LVT_PIN) \
	X(LVT_LINT1,   LVT1,     LVT_PIN) \
	X(LVT_ERROR,   LVTERR,   LVT_PLAIN) \
	X(LVT_CMCI,    LVT_CMCI, LVT_PLAIN | LVT_MODE)

#define LVT_TIMER_MODE		0x00060000u	/* SDM3 11.5.1 */
#define LVT_TIMER_PERIODIC	0x00020000u
#define LVT_TIMER_TSC_DEADLINE	0x00040000u

#define LVR_DIRECTED_EOI	BIT(24)
#define SPIV_ENABLE		BIT(8)
#define SPIV_WRITABLE		0x3ffu
#define SPIV_DIRECTED_EOI	BIT(12)
#define DFR_FLAT		0xffffffffu
#define DFR_CLUSTER		0x0fffffffu

#define ICR_LOGICAL		BIT(11)
#define ICR_BUSY		BIT(12)
#define ICR_ASSERT		BIT(14)
#define ICR_LEVEL		BIT(15)
#define ICR_SHORTHAND		0x000c0000u
#define ICR_X2_RESERVED		(0xfff00000ull | 0x00030000ull | BIT64(13))

#define XAPIC_BROADCAST		0xffu
#define X2APIC_BROADCAST	0xffffffffu

#endif
