/* SPDX-License-Identifier: MIT */
/*
 * irq/avic.h - AMD's virtual interrupt controller (APM2 15.29) as a model of the hardware, and what
 * the fast path of a vCPU may do by itself.
 *
 * The model is used twice. As the accelerator of our own vCPUs its tables hold host
 * pointers (irq/avic_local.c). As the hardware that a guest hypervisor programs in a VMCB they
 * hold that guest's physical addresses: fill a struct avic_hw from the VMCB and turn
 * struct avic_exit into EXITCODE and EXITINFO.
 *
 * Which accesses are accelerated (docs/kvm-apic.md 3.6, 3.9; APM2 15.29.3.1; all others trap or
 * fault):
 *   reads	every register that can be read but APR (0x90) and TMCCT (0x390)
 *   writes	TPR; EOI of a vector whose TMR bit is clear; ICR high; ICR low and SELF_IPI of
 *		fixed, edge-triggered IPIs that the tables can address
 */
#ifndef IRQ_AVIC_H
#define IRQ_AVIC_H

#include <stdatomic.h>

#include "irq/irq.h"

/* What is modelled; the numbers are the highest APIC id that can be addressed. */
#define AVIC_KINDS(X) \
	X(NONE, "none", 0) \
	X(AVIC, "avic", 0xfe)		/* 255 is broadcast */ \
	X(X2AVIC, "x2avic", 0x1ff)	/* CPUID 8000_000A EDX[18] */ \
	X(X2AVIC_EXT, "x2avic-ext", 0xfff)	/* CPUID 8000_000A ECX[6] */

enum avic_kind {
#define X(n, text, max) AVIC_KIND_##n,
	AVIC_KINDS(X)
#undef X
	AVIC_KIND_COUNT
};
/* Highest id, 0 for none. */
u32 avic_kind_max_id(enum avic_kind kind);

/* -- the register page of our own vCPUs -- */

/*
 * The beginning of every struct lapic. `apicv_active` is the one flag that gates the
 * fast path: while it is not 0, the vCPU's owner may serve the accelerated accesses listed
 * above on `page` with lapic_fast_*() (irq/apic_page.h), in the APIC's current mode (MMIO in xAPIC,
 * MSR in x2APIC mode). Only the owner changes it, while it services IRQ_WAKE_APICV, changes
 * IA32_APIC_BASE or enters and leaves L2; so a test before each access is enough.
 */
struct apic_fast {
	u8 *page;			/* 4 KiB, registers at their xAPIC offsets */
	u8 apicv_active;		/* owner */
	_Atomic bool irr_pending;	/* false only if IRR is empty */
	u64 eoi_exit[4];		/* owner: EOIs that the I/O APIC must hear of */
};

static inline struct apic_fast *lapic_fast(struct lapic *l)
{
	return (struct apic_fast *)(void *)l;
}

/* -- tables (APM2 15.29.4) -- */

#define AVIC_PHYS_ID		0xfffull	/* APIC id of the CPU it runs on (7:0 in AVIC) */
#define AVIC_PHYS_PAGE		0x000ffffffffff000ull
#define AVIC_PHYS_RUNNING	BIT64(62)
#define AVIC_PHYS_VALID		BIT64(63)
#define AVIC_LOGICAL_ID		0xffu
#define AVIC_LOGICAL_VALID	BIT(31)

/* -- exits -- */

#define AVIC_EXIT_INCOMPLETE_IPI	0x401
#define AVIC_EXIT_UNACCELERATED		0x402
#define AVIC_UNACCELERATED_WRITE	BIT64(32)	/* EXITINFO1 */

#define AVIC_IPI_FAILURES(X) \
	X(INVALID_TYPE) X(NOT_RUNNING) X(INVALID_TARGET) X(INVALID_PAGE) X(INVALID_VECTOR)
enum avic_ipi_failure {
#define X(n) AVIC_IPI_##n,
	AVIC_IPI_FAILURES(X)
#undef X
};

struct avic_exit {
	u32 code;
	u64 info1, info2;
};

enum avic_outcome {
	AVIC_DONE,	/* by the hardware, no exit */
	AVIC_TRAP,	/* the instruction is complete, then an exit */
	AVIC_FAULT,	/* the instruction has not happened: an exit instead */
};

/* -- the hardware -- */

struct avic_ops {
	/* 4 KiB of memory at a physical address of the tables, or NULL. Optional: the address
	 * is a pointer. */
	void *(*page)(void *arg, u64 pa);
	/* Optional. A vector was put into the IRR of the page of a table entry; IsRunning is
	 * looked at afterwards. */
	void (*posted)(void *arg, u64 entry);
	/* Have a running CPU look at its IRR (MSR C001_011B sends the same). */
	void (*doorbell)(void *arg, u32 host_id);
};

/* One virtual CPU; the fields are those of the VMCB. All functions: its own thread. */
struct avic_hw {
	u8 *page;			/* backing page (VMCB 0xe0) */
	u64 phys_table;			/* VMCB 0xf8, address part */
	u32 max_index;			/* VMCB 0xf8, index part */
	u64 logical_table;		/* VMCB 0xf0 */
	bool x2apic;			/* VMCB 0x60 bit 30 */
	const struct avic_ops *ops;
	void *arg;
};

/* An aligned 32-bit access to the APIC page. v is set only if AVIC_DONE, x only if not. */
enum avic_outcome avic_read(struct avic_hw *hw, u32 offset, u32 *v, struct avic_exit *x);
enum avic_outcome avic_write(struct avic_hw *hw, u32 offset, u32 v, struct avic_exit *x);
/* Would a write not fault? */
bool avic_can_write(const struct avic_hw *hw, u32 offset);
/* MSR 0x800-0x8ff that the MSR permission map lets through. -EINVAL: #GP(0), else an
 * enum avic_outcome. */
int avic_msr_read(struct avic_hw *hw, u32 msr, u64 *v, struct avic_exit *x);
int avic_msr_write(struct avic_hw *hw, u32 msr, u64 v, struct avic_exit *x);
/* An IPI alone (ICR is not stored): AVIC_DONE or AVIC_TRAP. */
enum avic_outcome avic_ipi(struct avic_hw *hw, u32 icr, u32 dest, struct avic_exit *x);
/* Highest vector in the backing page that PPR lets through, or -1; take: IRR -> ISR. */
int avic_pending(const struct avic_hw *hw);
int avic_take(struct avic_hw *hw);
const char *avic_ipi_failure_name(u32 id);	/* for tests */

#endif
