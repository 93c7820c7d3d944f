/* SPDX-License-Identifier: MIT */
/*
 * irq/irq_priv.h - the insides of the interrupt fabric, for irq/ and its tests only.
 */
#ifndef IRQ_IRQ_PRIV_H
#define IRQ_IRQ_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/grace.h"
#include "irq/apic_page.h"
#include "irq/apicv.h"
#include "irq/avic.h"
#include "irq/device.h"
#include "irq/irqchip.h"
#include "irq/lapic.h"
#include "irq/lapic_regs.h"
#include "irq/irq_trace.h"

/* -- local APIC -- */

/*
 * The seam at which acceleration plugs in: the software APIC and AVIC each provide one set.
 * apicv.c decides which is live; switched by the owner only. All but post: owner.
 */
struct lapic_ops {
	const char *name;
	/* Any thread: into IRR, then have the vCPU look. */
	void (*post)(struct lapic *l, u8 vector, bool level);
	/* A guest access to a register in the current mode; 0 or -EINVAL (#GP in x2APIC mode). */
	int (*read)(struct lapic *l, u32 offset, u32 *v);
	int (*write)(struct lapic *l, u32 offset, u32 v);
	/* The 64-bit ICR of x2APIC mode; reserved bits are checked and BUSY is clear. */
	void (*write_icr)(struct lapic *l, u64 v);
	/* The owner has changed what is deliverable: look again before the next instruction. */
	void (*recheck)(struct lapic *l);
};
extern const struct lapic_ops lapic_soft_ops;
extern const struct lapic_ops lapic_avic_ops;	/* register accesses accelerated */
/* Only delivery: x2APIC mode on AVIC (docs/kvm-apic.md 3.5). */
extern const struct lapic_ops lapic_hybrid_ops;

struct lapic {
	/* First: lapic_fast(). The page is 4 KiB aligned, KVM_GET_LAPIC layout. */
	struct apic_fast fast;

	struct irqchip *chip;
	void *_Atomic vcpu;	/* NULL until known; no wake-ups then */
	u32 id;			/* x2APIC id */
	bool bsp;
	const struct lapic_ops *_Atomic ops;

	_Atomic u64 base;		/* IA32_APIC_BASE; written by the owner */
	_Atomic u32 events;		/* LAPIC_EV_* */
	_Atomic u8 sipi_vector;		/* stored before LAPIC_EV_SIPI is set */

	/* owner */
	u32 features;
	u32 nr_lvt;
	u64 base_reserved;		/* IA32_APIC_BASE bits that must be 0 */

	/* acceleration (apicv.c, avic_local.c); owner unless noted */
	struct avic_hw hw;
	bool in_l2, irq_window;
	_Atomic bool running;		/* between lapic_load() and lapic_put_away(); read by
					 * anyone */
	u32 reasons;			/* chip->inhibit_lock: this vCPU's part of the counted
					 * ones */
	struct lapic_stats stats;

	/* EOI reporting; owner. fast.eoi_exit has these vectors, and SynIC's. */
	u64 handled[4];
	int highest_stale;		/* reported only until its EOI; -1 = none */
	bool eoi_pending;
	u8 eoi_vector;

	/* Hyper-V; owner */
	u64 synic[4], auto_eoi[4];
	bool has_auto_eoi;

	/* timer; owner, the deadline is read by anyone */
	_Atomic u64 deadline_ns;
	u64 period_ns;
	u64 tsc_deadline;
	u32 timer_mode;
	u32 divide;

	int rtc_vector;			/* chip->lock: RTC interrupt not yet EOIed here, or -1 */
};
_Static_assert(offsetof(struct lapic, fast) == 0, "lapic_fast()");

/* By the owner alone, and by any thread. */
#define lapic_count(l, field) \
	atomic_store_explicit(&(l)->stats.field, \
			      atomic_load_explicit(&(l)->stats.field, memory_order_relaxed) + 1, \
			      memory_order_relaxed)
#define lapic_count_any(l, field) \
	atomic_fetch_add_explicit(&(l)->stats.field, 1, memory_order_relaxed)

static inline u32 lapic_get(struct lapic *l, u32 offset)
{
	return apic_get(l->fast.page, offset);
}

static inline void lapic_put(struct lapic *l, u32 offset, u32 v)
{
	apic_put(l->fast.page, offset, v);
}

static inline _Atomic u32 *lapic_reg(struct lapic *l, u32 offset)
{
	return apic_reg(l->fast.page, offset);
}

static inline bool lapic_test(struct lapic *l, u32 offset, u8 vector)
{
	return apic_test(l->fast.page, offset, vector);
}

static inline int lapic_find_highest(struct lapic *l, u32 offset)
{
	return apic_highest(l->fast.page, offset);
}

static inline void lapic_update_ppr(struct lapic *l)
{
	apic_update_ppr(l->fast.page);
}

static inline const struct lapic_ops *lapic_ops(struct lapic *l)
{
	return atomic_load_explicit(&l->ops, memory_order_acquire);
}

static inline bool lapic_sw_enabled(struct lapic *l)
{
	return lapic_get(l, APIC_SPIV) & SPIV_ENABLE;
}

static inline u32 lapic_xapic_id(struct lapic *l)
{
	return lapic_get(l, APIC_ID) >> 24;
}

static inline u32 x2apic_ldr(u32 id)	/* SDM3 11.12.10.2 */
{
	return (id >> 4) << 16 | 1u << (id & 15);
}

void lapic_update_version(struct lapic *l);
void lapic_set_spiv(struct lapic *l, u32 v);
void lapic_recheck(struct lapic *l);		/* owner: wake itself if a vector is deliverable */
void lapic_refresh_hint(struct lapic *l);	/* owner: irr_pending from IRR */
bool lapic_accept(struct lapic *l, const struct apic_msg *m);
/* The register exists and may be read or written in the current mode. */
bool lapic_may(struct lapic *l, u32 offset, bool write);
/* The software APIC's register file. */
int lapic_reg_read(struct lapic *l, u32 offset, u32 *v);
int lapic_reg_write(struct lapic *l, u32 offset, u32 v);
void lapic_soft_write_icr(struct lapic *l, u64 v);
void lapic_send_ipi(struct lapic *l, u32 icr, u32 dest);
u32 lapic_lvt_offset(enum lapic_lvt which);
u32 lapic_lvt_mask(enum lapic_lvt which);

static inline u32 lapic_timer_mode_mask(struct lapic *l)
{
	return l->features & LAPIC_HAS_TSC_DEADLINE ? LVT_TIMER_MODE : LVT_TIMER_PERIODIC;
}
void lapic_timer_stop(struct lapic *l);
void lapic_timer_start(struct lapic *l, u32 count);	/* count: what remains of TMICT */
void lapic_timer_mode_changed(struct lapic *l);
void lapic_timer_divide_changed(struct lapic *l);
u32 lapic_timer_count(struct lapic *l);
void lapic_timer_load_divide(struct lapic *l);

/* -- APIC map (apic_map.c) -- */

enum logical_mode { LOGICAL_NONE, LOGICAL_FLAT, LOGICAL_CLUSTER, LOGICAL_X2APIC, LOGICAL_MIXED };

struct apic_map {
	bool uniform;		/* all present APICs are in one mode and ... */
	u32 top_id;		/* ... this is their highest id */
	u32 present;		/* how many are hardware-enabled */
	bool x2apic;		/* which mode, if uniform */
	u32 n;			/* all LAPICs, in order of creation */
	u32 max_id;		/* highest usable index of phys[] */
	u32 room;		/* allocated size of phys[] and all[] each */
	bool one_to_one;	/* phys[] is valid: no two present APICs share an id */
	enum logical_mode logical;
	struct lapic *flat[8];
	struct lapic *cluster[16][4];
	struct lapic **phys;
	struct lapic **all;
};

int apic_map_add(struct irqchip *chip, struct lapic *l);	/* -ENOMEM, -EEXIST */
void apic_map_remove(struct irqchip *chip, struct lapic *l);
void apic_map_update(struct irqchip *chip);	/* an id, LDR, DFR, mode or enable has changed */
void apic_map_free(struct irqchip *chip);
bool apic_match(struct lapic *l, struct lapic *src, u32 shorthand, u32 dest, bool logical);
/* Wake all vCPUs. */
void apic_wake_all(struct irqchip *chip, enum irq_wake why);
/* apic_deliver, recording for the RTC which vCPUs must EOI. Caller holds chip->lock. */
int apic_deliver_rtc(struct irqchip *chip, const struct apic_msg *m);

/* -- routing (routing.c) -- */

struct msi {
	u32 lo, hi, data;
};

struct route {
	u32 gsi;
	u32 type;		/* KVM_IRQ_ROUTING_IRQCHIP, _MSI or _HV_SINT */
	u32 chip;		/* KVM_IRQCHIP_*; HV_SINT: the VP's index */
	u32 pin;		/* slave PIC: 8-15; HV_SINT: the source */
	struct msi msi;
};

#define ROUTES_PER_GSI 3	/* both PICs and the I/O APIC, or one MSI */

struct routing {
	u32 nr_gsi;
	s32 pic_gsi[16];	/* pin -> GSI, -1 = none */
	s32 ioapic_gsi[KVM_IOAPIC_NUM_PINS];
	u32 *first;		/* nr_gsi + 1 indices into e[] */
	struct route *e;	/* sorted by GSI */
};

int routing_set_default(struct irqchip *chip);
void routing_free(struct routing *r);
s32 routing_pin_gsi(struct irqchip *chip, u32 chip_id, u32 pin);
/* Caller holds chip->lock. */
int irqchip_set_irq_locked(struct irqchip *chip, u32 gsi, int level, enum irq_source source,
			   bool line_status);
/* fn(arg, msi) for each level MSI below the reserved pin count (split mode). */
void routing_each_level_msi(struct irqchip *chip, void (*fn)(void *arg, const struct apic_msg *m),
			    void *arg);
/* false: malformed under 32-bit ids. */
bool msi_decode(struct irqchip *chip, const struct msi *msi, struct apic_msg *m);
int msi_send(struct irqchip *chip, const struct msi *msi);

/* -- devices -- */

struct pic {			/* chip->lock */
	struct kvm_pic_state s[2];
	u32 lines[16];		/* sources holding the pin high */
	_Atomic bool output;	/* INTR of the master; read without lock */
};

union ioapic_entry {
	u64 bits;
	struct {
		u8 vector;
		u8 delivery : 3, logical : 1, status : 1, polarity : 1, remote_irr : 1, level : 1;
		u8 mask : 1, : 7;
		u8 zero[4];
		u8 dest;
	};
};

struct ioapic {			/* chip->lock */
	u32 select, id, irr, irr_delivered;
	u32 lines[KVM_IOAPIC_NUM_PINS];
	u32 eoi_streak[KVM_IOAPIC_NUM_PINS];
	u64 delayed_ns;		/* re-injection of storming pins; 0 = none */
	u32 rtc_pending;	/* vCPUs that still have to EOI the RTC interrupt */
	union ioapic_entry e[KVM_IOAPIC_NUM_PINS];
};

struct pit {			/* chip->lock */
	_Atomic bool present;	/* read without the lock by port decoding */
	bool reinject, irq_ack, speaker_on, tick;
	u32 create_flags, state_flags;
	u32 pending;		/* ticks not yet acknowledged (reinject) */
	u64 deadline_ns, period_ns;
	struct kvm_pit_channel_state ch[3];
};

/* The tables that a CPU with AVIC would use for our vCPUs; the addresses in them are pointers.
 * Made with the first LAPIC, changed under map_lock, read by anyone. */
struct avic_tables {
	_Atomic u64 *phys;		/* max_index + 1 entries, whole pages */
	_Atomic u32 *logical;		/* one page */
	struct lapic *_Atomic *owner;	/* by physical index, for posted and doorbell */
	u32 max_index;
};

#define PORT_WORDS (0x10000 / 32 / 64)
struct irqchip {
	enum irqchip_mode mode;
	const struct irq_ops *ops;
	void *vm;
	u32 nr_reserved_pins;
	u16 trace_vm;

	struct irq_settings *set;	/* the maker's */

	/* acceleration (apicv.c) */
	enum avic_kind avic_kind;	/* before LAPICs */
	_Atomic u32 inhibits;		/* changes under inhibit_lock, read by anyone */
	_Atomic s64 inhibit_by[APICV_INHIBIT_COUNT];	/* likewise: vCPU id, -1 = the VM */
	_Atomic u32 irq_windows;	/* vCPUs that wait for an interrupt window */
	u32 nr_blockirq, nr_autoeoi;	/* inhibit_lock: vCPUs with that reason */
	_Atomic u64 broken;		/* invariants found violated; must stay 0 */
	pthread_mutex_t inhibit_lock;	/* innermost */
	struct avic_tables avic;	/* avic_local.c */

	/* LAPICs. map_lock: list and map; readers: grace. */
	pthread_mutex_t map_lock;
	struct grace map_grace;
	struct apic_map *_Atomic map;
	struct apic_map *spare;

	/* routing. route_lock: writers; readers: grace. */
	pthread_mutex_t route_lock;
	struct grace route_grace;
	struct routing *_Atomic routing;

	pthread_mutex_t lock;
	struct pic pic;
	struct ioapic ioapic;
	struct pit pit;
	u16 *ack_refs;			/* lock: ack notifiers per GSI */
	u32 acked[64];			/* lock: GSIs to report when the lock is dropped */
	u32 nr_acked;
	u64 ports[PORT_WORDS];		/* constant: 32 ports a bit, those with a device */
	u64 mmio_first, mmio_last;	/* constant: no device is outside */
	_Atomic u64 armed_ns;		/* lock; what irq_ops.timer was last told */
};

static inline void lapic_wake(struct lapic *l, enum irq_wake why)
{
	void *vcpu = atomic_load_explicit(&l->vcpu, memory_order_acquire);

	if (vcpu)
		l->chip->ops->wake(vcpu, why);
}

/* Dropping the lock also runs what was put off: PIT ticks, timer arming, ack callbacks. */
void irqchip_lock(struct irqchip *chip);
void irqchip_unlock(struct irqchip *chip);
static inline u64 irqchip_now(struct irqchip *chip)
{
	return chip->ops->now_ns(chip->vm);
}

/* All below: caller holds chip->lock. */
void irqchip_notify_ack(struct irqchip *chip, s32 gsi);	/* an EOI reached the GSI */
bool irqchip_has_ack(struct irqchip *chip, s32 gsi);	/* somebody wants to know */
bool irqchip_notify_resample(struct irqchip *chip, s32 gsi);
void irqchip_notify_mask(struct irqchip *chip, s32 gsi, bool masked);

int pic_set_irq(struct irqchip *chip, u32 pin, int level, enum irq_source source);

int ioapic_set_irq(struct irqchip *chip, u32 pin, int level, enum irq_source source,
		   bool line_status);
void ioapic_local_eoi(struct irqchip *chip, struct lapic *l, u8 vector, bool level);
void ioapic_scan(struct irqchip *chip, void (*fn)(void *arg, const struct apic_msg *m), void *arg);
void ioapic_rtc_restore(struct irqchip *chip, struct lapic *l);


/* -- acceleration (apicv.c, avic_local.c) -- */
extern const struct avic_ops avic_local_hw_ops;
void apicv_set_inhibit_by(struct lapic *l, enum apicv_inhibit reason, bool on);
int apicv_init_vcpu(struct lapic *l);		/* the one place where it is set up; 0 or -ENOMEM */
void apicv_refresh(struct lapic *l);		/* owner: mode, nesting or the mask has changed */
enum avic_act avic_act(u32 offset, bool write);
int avic_tables_init(struct irqchip *chip);	/* map_lock; 0 or -ENOMEM */
void avic_tables_free(struct irqchip *chip);
void avic_tables_update(struct irqchip *chip, struct apic_map *m);	/* map_lock */
void avic_tables_remove(struct irqchip *chip, struct lapic *l);		/* map_lock */


/* -- EOI (eoi.c) -- */
bool eoi_suppressed(struct lapic *l);

#endif
