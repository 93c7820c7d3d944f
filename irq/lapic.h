/* SPDX-License-Identifier: MIT */
/*
 * irq/lapic.h - one local APIC (xAPIC and x2APIC, SDM3 11).
 *
 * Thread rules: [any] any thread; [owner] the vCPU's lock holder (its own thread while it
 * runs). Owner functions may take irq/ locks and make callbacks; save the guest's vector
 * state first. The ones marked [lock-free] do not.
 */
#ifndef IRQ_LAPIC_H
#define IRQ_LAPIC_H

#include "irq/irq.h"

#define APIC_DEFAULT_BASE	0xfee00000ull
#define APIC_BASE_BSP		BIT64(8)
#define APIC_BASE_EXTD		BIT64(10)
#define APIC_BASE_EN		BIT64(11)
#define APIC_BASE_MODE		(APIC_BASE_EN | APIC_BASE_EXTD)
#define LAPIC_STATE_SIZE	1024	/* KVM_GET_LAPIC */

/* SDM3 figure 11-27: x2APIC mode is entered from xAPIC mode only and left to disabled only. User
 * space may do more. */
static inline bool apic_base_step(u64 from, u64 to)
{
	u64 a = from & APIC_BASE_MODE, b = to & APIC_BASE_MODE;

	return !(a == APIC_BASE_MODE && b == APIC_BASE_EN) && !(!a && b == APIC_BASE_MODE);
}

/* -- life cycle: the VM's lock holder -- */
/* vcpu: handed back to irq_ops. id: the x2APIC id (KVM's vcpu id), < 2^31. The APIC comes up
 * reset, with neither x2APIC nor TSC-deadline. NULL: no memory, or the id is taken. */
struct lapic *lapic_create(struct irqchip *chip, void *vcpu, u32 id, bool bsp);
void lapic_destroy(struct lapic *l);
/* vcpu may be NULL at creation (then nobody is woken) and given here later. [any] */
void lapic_set_vcpu(struct lapic *l, void *vcpu);	/* for tests */

/* What the vCPU's CPUID and MCG_CAP say. [owner]; recomputes the version register. */
#define LAPIC_HAS_X2APIC	BIT(0)	/* CPUID.1:ECX.21 */
#define LAPIC_HAS_TSC_DEADLINE	BIT(1)	/* CPUID.1:ECX.24 */
#define LAPIC_HAS_CMCI		BIT(2)	/* MCG_CAP.10: a seventh LVT entry */
#define LAPIC_MASKS_LVTPC	BIT(3)	/* not AMD's: that entry masks itself (SDM3 11.5.1) */
void lapic_set_features(struct lapic *l, u32 features, u32 maxphyaddr);

void lapic_reset(struct lapic *l, bool init_event);	/* [owner] INIT keeps base, mode and id */

/* -- register access [owner] -- */
/* offset: within the 4 KiB page at lapic_get_base() & ~0xfff. 0, or -ENOENT: the APIC is disabled
 * or in x2APIC mode and KVM_X86_QUIRK_LAPIC_MMIO_HOLE is off: give the access to user space. */
int lapic_mmio_read(struct lapic *l, u32 offset, void *buf, u32 len);
int lapic_mmio_write(struct lapic *l, u32 offset, const void *buf, u32 len);
/* MSR 0x800-0x8ff. 0, or -EINVAL: #GP(0). */
int lapic_msr_read(struct lapic *l, u32 msr, u64 *v);
int lapic_msr_write(struct lapic *l, u32 msr, u64 v);
/* IA32_APIC_BASE. get: [any] [lock-free]. set: 0, or -EINVAL for reserved bits and, unless
 * host, for a transition that SDM3 11.12.5 forbids. */
u64 lapic_get_base(struct lapic *l);
int lapic_set_base(struct lapic *l, u64 v, bool host);
bool lapic_x2apic(struct lapic *l);		/* [any] [lock-free] */
bool lapic_hw_enabled(struct lapic *l);		/* [any] [lock-free] */
u8 lapic_get_tpr(struct lapic *l);		/* CR8: bits 7:4 of TPR. [any] [lock-free] */
/* [lock-free]; IRQ_WAKE_EVENT if a vector becomes deliverable. */
void lapic_set_tpr(struct lapic *l, u8 cr8);
u8 lapic_get_tpr_raw(struct lapic *l);		/* all 8 bits, [lock-free] */
/* IA32_TSC_DEADLINE: reads 0 and ignores writes unless the timer is in that mode. */
u64 lapic_get_tsc_deadline(struct lapic *l);
void lapic_set_tsc_deadline(struct lapic *l, u64 v);
void lapic_tsc_changed(struct lapic *l);	/* TSC offset or rate changed: re-arm */

/* KVM_GET/SET_LAPIC. x2apic_32bit_ids: KVM_X2APIC_API_USE_32BIT_IDS. 0 or -EINVAL. */
int lapic_get_state(struct lapic *l, u8 page[LAPIC_STATE_SIZE], bool x2apic_32bit_ids);
int lapic_set_state(struct lapic *l, const u8 page[LAPIC_STATE_SIZE], bool x2apic_32bit_ids);

/* -- interrupts -- */
bool lapic_has_pending(struct lapic *l);	/* [any] [lock-free] IRR is not empty */
/* [owner] [lock-free] highest vector that PPR lets through, or -1. */
int lapic_pending_vector(struct lapic *l);
/* [owner] [lock-free] take it: IRR -> ISR, raise PPR. The vector, or -1 if none. */
int lapic_ack(struct lapic *l);
/* [owner] [lock-free] The same with what lapic_pending_vector() has found since the last change. */
void lapic_take(struct lapic *l, u8 v);
/* [owner] EOI: what a write of register 0xB0 does (also for PV EOI). */
void lapic_eoi(struct lapic *l);
/* [owner] The same, which the guest did by clearing its PV EOI bit (docs/kvm-abi.md 6.5). */
void lapic_pv_eoi(struct lapic *l);
/* [owner] [lock-free] PV EOI may be offered for the vector just acknowledged (docs/kvm-abi.md
 * 6.5). */
bool lapic_pv_eoi_ok(struct lapic *l);
/* [any] [lock-free] the PIC's ExtINT reaches this vCPU (virtual wire or APIC disabled). */
bool lapic_accepts_extint(struct lapic *l);
/* [owner] Vectors of Hyper-V's SynIC, 256 bits: irq_ops.synic_eoi hears of their EOIs; those of
 * auto_eoi are over as soon as they are taken (with them acceleration must be inhibited). */
void lapic_set_synic(struct lapic *l, const u64 vectors[4], const u64 auto_eoi[4]);
/* [any] post a fixed interrupt; true if accepted. */
bool lapic_set_irq(struct lapic *l, u8 vector, bool trigger_level);
/* [any] an LVT entry fires (0 timer 1 thermal 2 perf 3 LINT0 4 LINT1 5 error 6 CMCI);
 * true if it was accepted. */
enum lapic_lvt { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_CMCI };
bool lapic_deliver_lvt(struct lapic *l, enum lapic_lvt which);

/*
 * Events that are not vectors. take: removes and returns those of `mask` that are pending.
 * An INIT cancels an earlier SIPI. *sipi_vector is written when LAPIC_EV_SIPI is taken
 * (may be NULL). NMIs that arrive faster than they are taken merge to two, as in KVM.
 */
#define LAPIC_EV_INIT	BIT(0)
#define LAPIC_EV_SIPI	BIT(1)
#define LAPIC_EV_NMI	BIT(2)
#define LAPIC_EV_NMI2	BIT(3)	/* a second one */
#define LAPIC_EV_SMI	BIT(4)
#define LAPIC_EV_UNHALT	BIT(5)
u32 lapic_peek_events(struct lapic *l);					/* [any] [lock-free] */
u32 lapic_take_events(struct lapic *l, u32 mask, u8 *sipi_vector);	/* [owner] [lock-free] */
void lapic_post_events(struct lapic *l, u32 events);	/* [any] no wake; e.g. SET_MP_STATE */
void lapic_set_sipi_vector(struct lapic *l, u8 vector);	/* KVM_SET_VCPU_EVENTS */

/* -- EOI reporting (docs/kvm-apic.md 1) [owner] -- */
void lapic_scan(struct lapic *l);		/* service of IRQ_WAKE_SCAN */
bool lapic_pending_eoi_valid(struct lapic *l);	/* take would succeed */
/* Service of IRQ_WAKE_IOAPIC_EOI: true = KVM_EXIT_IOAPIC_EOI with *vec; false = dropped,
 * user space no longer wants this vector. */
bool lapic_take_pending_eoi(struct lapic *l, u8 *vec);

/* -- timer -- */
u64 lapic_next_event_ns(struct lapic *l);	/* [any] [lock-free] absolute; 0 = none */
/* [owner] fire what is due, before guest entry and after wake-ups. Cheap when nothing is:
 * it compares now_ns with the deadline. */
void lapic_poll_timer(struct lapic *l);

/* -- acceleration (irq/apicv.h, irq/avic.h) -- */
/* [owner] [lock-free] The vCPU is about to run the guest; has stopped doing so, or is about to
 * sleep: then look at lapic_pending_vector() once more before sleeping (docs/kvm-apic.md 3.8). */
void lapic_load(struct lapic *l);
void lapic_put_away(struct lapic *l);

/* Counters; relaxed atomics, read by anyone. */
#define LAPIC_STATS(X) \
	X(accepted, "interrupts that reached this APIC") \
	X(eoi, "EOIs served by software") \
	X(eoi_accelerated, "EOIs served on the register page (calls only, not inline ones)") \
	X(ipi, "IPIs sent by software") \
	X(ipi_accelerated, "IPIs sent through the AVIC tables") \
	X(ipi_incomplete, "IPIs that the AVIC tables could not complete") \
	X(apicv_updates, "changes between software APIC and AVIC")
struct lapic_stats {
#define X(n, d) _Atomic u64 n;
	LAPIC_STATS(X)
#undef X
};
const struct lapic_stats *lapic_stats(struct lapic *l);

void *lapic_vcpu(struct lapic *l);

#endif
