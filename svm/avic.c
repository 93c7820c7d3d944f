/* SPDX-License-Identifier: MIT */
/*
 * svm/avic.c - AVIC and x2AVIC for L1 (APM2 15.29): the hardware model of irq/avic.h over tables
 * and pages in L1's memory, as the VMCB that is running names them. KVM never offers this to
 * its guests; we do by option (vcpu/cpuid.h).
 *
 * Everything runs on the CPU's own thread inside the guest. L1's other CPUs change IRR, TMR and the
 * tables at any time; the model uses atomics for those.
 */
#include "base/mem.h"
#include "base/msrs.h"
#include "engine/engine.h"
#include "irq/apic_page.h"
#include "svm/svm_priv.h"

#define PAGE_ADDR GENMASK64(51, 12)

/* 4 KiB of L1's memory that the hardware may write to, or NULL. */
static void *l1_page(void *arg, u64 pa)
{
	struct cpu *c = arg;
	const struct phys_slot *slot = phys_find(c->phys, pa);

	if (!slot || (slot->flags & PHYS_READONLY))
		return NULL;
	phys_mark_dirty(c->phys, slot, pa);
	return slot->hva + (pa - slot->gpa);
}

static void doorbell(void *arg, u32 host_id)
{
	struct cpu *c = arg;

	svm_trace(kvm_avic_doorbell, c->svm, host_id);
	c->svm->ops->doorbell(c, host_id);
}

static const struct avic_ops l1_ops = { .page = l1_page, .doorbell = doorbell };

/* The bits of the index that this CPU has (APM2 15.29.4.2, 15.29.10). */
static u32 index_mask(const struct svm *s)
{
	if (!(s->ctl.int_ctl & SVM_X2AVIC_ENABLE))
		return 0xff;
	return svm_has(&s->caps, SVM_FEAT_X2AVIC_EXT) ? 0xfff : 0x1ff;
}

/* The memory map may have changed since the last use, so the page is looked up at each. */
static struct avic_hw *hw(const struct cpu *c)
{
	struct avic_hw *h = &c->svm->avic;

	h->page = l1_page(h->arg, c->svm->ctl.avic_backing & PAGE_ADDR);
	return h->page ? h : NULL;
}

bool svm_avic_enter(struct cpu *c)
{
	struct svm *s = c->svm;

	s->avic_trapped = false;
	s->avic_on = (s->ctl.int_ctl & SVM_AVIC_ENABLE) && (s->ctl.misc_ctl & SVM_NP_ENABLE);
	if (likely(!s->avic_on))
		return true;
	s->avic = (struct avic_hw){
		.phys_table = s->ctl.avic_physical & PAGE_ADDR,
		.max_index = (u32)s->ctl.avic_physical & index_mask(s),
		.logical_table = s->ctl.avic_logical & PAGE_ADDR,
		.x2apic = s->ctl.int_ctl & SVM_X2AVIC_ENABLE,
		.ops = &l1_ops, .arg = c,
	};
	if (!hw(c))
		return false;
	/* V_TPR is where the VMCB has it; the page counts from here on (APM2 15.29.3). */
	apic_update_ppr(s->avic.page);
	return true;
}

u64 svm_avic_bar(const struct svm *s)
{
	bool mmio = (s->ctl.int_ctl & (SVM_AVIC_ENABLE | SVM_X2AVIC_ENABLE)) == SVM_AVIC_ENABLE;

	return mmio && (s->ctl.misc_ctl & SVM_NP_ENABLE) ? s->ctl.avic_bar & PAGE_ADDR : ~0ull;
}

/* -- accesses -- */

static enum cpu_result finish(struct cpu *c, enum avic_outcome r, const struct avic_exit *x)
{
	struct svm *s = c->svm;

	switch (r) {
	case AVIC_DONE:
		return CPU_OK;
	case AVIC_TRAP:	/* the exit comes when the instruction has retired */
		s->avic_trap = *x;
		s->avic_trapped = true;
		engine_kick(c);
		return CPU_DONE;
	default:
		c->fault = (struct cpu_fault){ .vector = EXC_AVIC, .error = x->code,
					       .info = x->info1, .payload = x->info2 };
		return CPU_FAULT;
	}
}

static enum cpu_result fault(struct cpu *c, u32 offset, bool write)
{
	struct avic_exit x = {
		.code = AVIC_EXIT_UNACCELERATED,
		.info1 = (offset & 0xff0) | (write ? AVIC_UNACCELERATED_WRITE : 0),
	};

	return finish(c, AVIC_FAULT, &x);
}

enum cpu_result svm_avic_read(struct cpu *c, u32 offset, void *buf, u32 len)
{
	struct avic_hw *h = hw(c);
	struct avic_exit x;
	u32 v;
	enum cpu_result r;

	if (!h)
		return fault(c, offset, false);
	r = finish(c, avic_read(h, offset & 0xff0, &v, &x), &x);
	/* Parts of a register, and what lies between registers, are the page's memory. */
	if (r == CPU_OK)
		cpu_copy(buf, h->page + offset, len);
	return r;
}

enum cpu_result svm_avic_probe(struct cpu *c, u32 offset, u32 len)
{
	struct avic_hw *h = hw(c);

	if (!h || len != 4 || (offset & 15) || !avic_can_write(h, offset))
		return fault(c, offset, true);
	return CPU_OK;
}

/* A lower priority may let something through. */
static enum cpu_result look(struct cpu *c, enum cpu_result r)
{
	if (svm_virtual_waits(c))
		engine_kick(c);
	return r;
}

enum cpu_result svm_avic_write(struct cpu *c, u32 offset, const void *buf, u32 len)
{
	struct avic_hw *h = hw(c);
	struct avic_exit x;
	u32 v = 0;

	if (!h || len != 4 || (offset & 15))
		return fault(c, offset, true);
	cpu_copy(&v, buf, 4);
	return look(c, finish(c, avic_write(h, offset, v, &x), &x));
}

bool svm_avic_has_msr(const struct cpu *c, u32 msr)
{
	return c->svm->avic_on && c->svm->avic.x2apic && msr_is_x2apic(msr);
}

static enum cpu_result msr_result(struct cpu *c, int how, const struct avic_exit *x)
{
	enum cpu_result r;

	if (how < 0)
		return cpu_raise_err(c, EXC_GP, 0);
	r = finish(c, (enum avic_outcome)how, x);
	/* The instruction retires by itself; the poll that finish() asked for comes next. */
	return r == CPU_DONE ? CPU_OK : r;
}

enum cpu_result svm_avic_rdmsr(struct cpu *c, u32 msr, u64 *val)
{
	struct avic_hw *h = hw(c);
	struct avic_exit x;

	if (!h)
		return cpu_raise_err(c, EXC_GP, 0);
	return msr_result(c, avic_msr_read(h, msr, val, &x), &x);
}

enum cpu_result svm_avic_wrmsr(struct cpu *c, u32 msr, u64 val)
{
	struct avic_hw *h = hw(c);
	struct avic_exit x;

	if (!h)
		return cpu_raise_err(c, EXC_GP, 0);
	return look(c, msr_result(c, avic_msr_write(h, msr, val, &x), &x));
}

void svm_avic_exit(struct cpu *c)
{
	struct svm *s = c->svm;

	s->avic_trapped = false;
	svm_vmexit(c, s->avic_trap.code, s->avic_trap.info1, s->avic_trap.info2);
}

/* -- priority and interrupts -- */

u64 svm_avic_cr8(const struct cpu *c)
{
	struct avic_hw *h = hw(c);

	return h ? apic_get(h->page, APIC_TPR) >> 4 & 15 : 0;
}

void svm_avic_set_cr8(struct cpu *c, u64 v)
{
	struct avic_hw *h = hw(c);

	if (!h)
		return;
	apic_put(h->page, APIC_TPR, (u32)(v & 15) << 4);
	apic_update_ppr(h->page);
}

int svm_avic_pending(const struct cpu *c)
{
	struct avic_hw *h = hw(c);

	return h ? avic_pending(h) : -1;
}

int svm_avic_take(struct cpu *c)
{
	struct avic_hw *h = hw(c);

	return h ? avic_take(h) : -1;
}
