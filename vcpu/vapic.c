/* SPDX-License-Identifier: MIT */
/*
 * vcpu/vapic.c - help for guests that write the TPR all the time (32-bit Windows): user space
 * hears of each access by MMIO (KVM_EXIT_TPR_ACCESS) and patches the instruction to use a page
 * of memory instead, which is kept in step with the APIC (KVM_SET_VAPIC_ADDR).
 */
#include "irq/apicv.h"
#include "irq/lapic.h"
#include "vcpu/vcpu_priv.h"

#define TPR 0x80
#define ISR 0x100
#define IRR 0x200

void tpr_accessed(struct vcpu *v, u32 offset, bool write)
{
	struct kvm_run *run = v->run;
	const struct cpu *c = v->c;

	/* Hardware that accelerates the APIC does not stop at its TPR (docs/kvm-apic.md 3.6). */
	if (likely(!v->p->tpr_reporting) || offset != TPR || apicv_active(v->lapic))
		return;
	/* Where the instruction begins; a write comes when it has retired. */
	run->tpr_access.rip = c->rip - (write && c->accessing ? c->accessing->len : 0);
	run->tpr_access.is_write = write;
	vcpu_request(v, VREQ_REPORT_TPR);
}

/* The highest vector of a 256-bit register, 0 for none. */
static u32 highest(const u8 *page, u32 base)
{
	for (u32 i = 8; i-- > 0;) {
		u32 word;

		__builtin_memcpy(&word, page + base + i * 16, 4);
		if (word)
			return i * 32 + 31 - (u32)__builtin_clz(word);
	}
	return 0;
}

/* Before the guest runs: bits 7:0 TPR, 15:8 class in service, 31:24 highest request. */
void vapic_store(struct vcpu *v)
{
	u8 page[LAPIC_STATE_SIZE];
	u32 data, old;

	engine_fpu_save(v->c);
	if (lapic_get_state(v->lapic, page, true))
		return;
	data = page[TPR] | (highest(page, ISR) & 0xf0) << 8 | highest(page, IRR) << 24;
	/* Where the page holds code, a write makes the engine look again before it runs anything:
	 * one at every entry would keep it from running at all. */
	if (phys_read(v->phys, v->p->vapic, &old, sizeof(old)) || old != data)
		phys_write(v->phys, v->p->vapic, &data, sizeof(data));
}

/* After it has run: the guest may have changed the TPR in the page. */
void vapic_load(struct vcpu *v)
{
	u32 data, tpr;

	engine_fpu_save(v->c);
	if (phys_read(v->phys, v->p->vapic, &data, sizeof(data)))
		return;
	tpr = data & 0xff;
	if (!lapic_x2apic(v->lapic) && tpr != lapic_get_tpr_raw(v->lapic))
		lapic_mmio_write(v->lapic, TPR, &tpr, sizeof(tpr));
}

int vcpu_set_vapic(struct vcpu *v, u64 gpa)
{
	u32 data;
	int r = 0;

	if (!v->lapic)
		return -EINVAL;
	vcpu_mem_begin(v);
	if (gpa && phys_read(v->phys, gpa, &data, sizeof(data)))
		r = -EINVAL;
	vcpu_mem_end(v);
	if (!r)
		v->p->vapic = gpa;
	return r;
}

void vcpu_set_tpr_reporting(struct vcpu *v, bool on)
{
	v->p->tpr_reporting = on;
}
