/* SPDX-License-Identifier: MIT */
/*
 * vcpu/hyperv_synic.c - the synthetic interrupt controller and its timers (TLFS 11, 12.3). A source
 * (SINT) is a vector of the local APIC; a message page has one slot for each.
 */
#include <time.h>

#include "irq/apicv.h"
#include "irq/irqchip.h"
#include "irq/lapic.h"
#include "vcpu/hyperv_priv.h"
#include "vcpu/vcpu_priv.h"

#define PAGE_OF(v) ((v) & PAGE_MASK)
#define FIRST_VECTOR 16

/* -- sources -- */

/* -1: masked. */
static int vector_of(u64 sint)
{
	return sint & HV_SINT_MASKED ? -1 : (int)(sint & 0xff);
}

/* What the local APIC has to know: whose EOI is ours, and which vectors need none. */
static void sources_changed(struct vcpu *v)
{
	struct hyperv_vcpu *h = &v->p->hv;
	u64 ours[4] = { 0 }, auto_eoi[4] = { 0 };
	bool any = false;

	for (u32 i = 0; i < HV_SINTS; i++) {
		int vec = vector_of(h->sint[i]);

		if (vec < FIRST_VECTOR)
			continue;
		ours[vec / 64] |= BIT64(vec % 64);
		if (h->sint[i] & HV_SINT_AUTO_EOI) {
			auto_eoi[vec / 64] |= BIT64(vec % 64);
			any = true;
		}
	}
	if (!v->lapic)
		return;
	lapic_set_synic(v->lapic, ours, auto_eoi);
	/* Such an interrupt is over when it is taken, which hardware cannot do (docs/kvm-apic.md
	 * 3.1). */
	apicv_vcpu_reason(v->lapic, APICV_INHIBIT_HYPERV, any);
	vcpu_irq_wake(v, IRQ_WAKE_SCAN);
}

int hyperv_set_sint(struct vcpu *v, u32 sint)
{
	struct hyperv_vcpu *h = &v->p->hv;
	int vec;

	if (!atomic_load(&h->synic) || !v->lapic || sint >= HV_SINTS)
		return -EINVAL;
	vec = vector_of(atomic_load(&h->sint[sint]));
	return vec < 0 ? -ENOENT : lapic_set_irq(v->lapic, (u8)vec, false);
}

void hyperv_sint_gsi(struct vcpu *v, u32 sint, u32 gsi)
{
	if (atomic_load(&v->p->hv.synic) && sint < HV_SINTS)
		atomic_store(&v->p->hv.sint_gsi[sint], (s32)gsi);
}

bool hyperv_is_vp(const struct vcpu *v, u32 index)
{
	return atomic_load(&v->p->hv.vp_index) == index;
}

/* The guest is done with a source's message: timers that wait for the slot, resample irqfds. */
static void acked(struct vcpu *v, u32 sint)
{
	struct hyperv_vcpu *h = &v->p->hv;
	s32 gsi = atomic_load(&h->sint_gsi[sint]);

	for (u32 i = 0; i < HV_STIMERS; i++) {
		struct hyperv_stimer *t = &h->stimer[i];

		if (t->undelivered && t->config & 1 && !(t->config & BIT64(12)) &&
		    (t->config >> 16 & 15) == sint) {
			t->pending = true;
			vcpu_request(v, VREQ_HYPERV);
		}
	}
	if (gsi >= 0 && v->cfg->irq)
		irqchip_ack(v->cfg->irq, (u32)gsi);
}

void hyperv_synic_eoi(void *vcpu, u8 vector)
{
	struct vcpu *v = vcpu;

	for (u32 i = 0; i < HV_SINTS; i++)
		if (vector_of(v->p->hv.sint[i]) == vector)
			acked(v, i);
}

int hyperv_synic_enable(struct vcpu *v, bool keep_pages)
{
	struct hyperv_vcpu *h = &v->p->hv;

	if (!v->cfg->irq || !v->cfg->hv)
		return -EINVAL;
	h->keep_pages = keep_pages;
	h->control = HV_ENABLE;
	atomic_store(&h->synic, true);
	return 0;
}

/* -- its MSRs -- */

int hyperv_synic_read(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	struct hyperv_vcpu *h = &v->p->hv;

	if (!h->synic && !host)
		return -EINVAL;
	switch (msr) {
	case HV_MSR_SCONTROL:
		*val = h->control;
		break;
	case HV_MSR_SVERSION:
		*val = h->version;
		break;
	case HV_MSR_SIEFP:
		*val = h->siefp;
		break;
	case HV_MSR_SIMP:
		*val = h->simp;
		break;
	case HV_MSR_EOM:
		*val = 0;
		break;
	default:
		*val = h->sint[msr - HV_MSR_SINT];
		break;
	}
	return 0;
}

/* User space may have a part in it: message and event pages are also written by its devices. */
static void tell(struct vcpu *v, u32 msr)
{
	struct hyperv_vcpu *h = &v->p->hv;

	h->exit = (struct kvm_hyperv_exit){
		.type = KVM_EXIT_HYPERV_SYNIC,
		.u.synic = { .msr = msr, .control = h->control, .evt_page = h->siefp,
			     .msg_page = h->simp },
	};
	h->todo |= HV_TODO_EXIT;
	vcpu_request(v, VREQ_HYPERV);
}

static int set_page(struct vcpu *v, u32 msr, u64 *page, u64 val, bool host)
{
	static const u8 zeros[256];
	int r = 0;

	if (val & HV_ENABLE && !host && !v->p->hv.keep_pages) {
		vcpu_mem_begin(v);
		for (u32 off = 0; off < PAGE_SIZE && !r; off += sizeof(zeros))
			r = phys_write(v->phys, PAGE_OF(val) + off, zeros, sizeof(zeros));
		vcpu_mem_end(v);
		if (r)
			return -EINVAL;
	}
	*page = val;
	if (!host)
		tell(v, msr);
	return 0;
}

int hyperv_synic_write(struct vcpu *v, u32 msr, u64 val, bool host)
{
	struct hyperv_vcpu *h = &v->p->hv;

	if (!h->synic && (!host || val))
		return -EINVAL;
	switch (msr) {
	case HV_MSR_SCONTROL:
		h->control = val;
		if (!host)
			tell(v, msr);
		return 0;
	case HV_MSR_SVERSION:
		if (!host)
			return -EINVAL;
		h->version = val;
		return 0;
	case HV_MSR_SIEFP:
		return set_page(v, msr, &h->siefp, val, host);
	case HV_MSR_SIMP:
		return set_page(v, msr, &h->simp, val, host);
	case HV_MSR_EOM:
		for (u32 i = 0; h->synic && i < HV_SINTS; i++)
			acked(v, i);
		return 0;
	}
	/* Vectors begin at 16 (TLFS 11.8.4); nested Hyper-V writes 0 to masked ones. */
	if ((val & 0xff) < FIRST_VECTOR && !host && !(val & HV_SINT_MASKED))
		return -EINVAL;
	atomic_store(&h->sint[msr - HV_MSR_SINT], val);
	sources_changed(v);
	return 0;
}

/* -- messages -- */

enum { MSG_NONE = 0, MSG_TIMER_EXPIRED = (int)0x80000010 };

struct message {
	u32 type;
	u8 payload_size, flags, rsvd[2];
	u64 origin;
	u32 timer, rsvd1;
	u64 expiration, delivery;
};
#define MESSAGE_SLOT 256
#define MESSAGE_PENDING 1

/* 0, -EAGAIN: the slot is taken and the guest will say when it is free, or another -errno. */
static int post(struct vcpu *v, u32 sint, const struct message *m, bool retry)
{
	u64 gpa = PAGE_OF(v->p->hv.simp) + sint * MESSAGE_SLOT;
	u8 pending = MESSAGE_PENDING;
	u32 type;
	int r;

	if (!(v->p->hv.simp & HV_ENABLE))
		return -ENOENT;
	r = phys_read(v->phys, gpa, &type, 4);
	if (r)
		return r;
	if (type != MSG_NONE) {
		if (!retry)
			return 0;
		r = phys_write(v->phys, gpa + offsetof(struct message, flags), &pending, 1);
		return r ? r : -EAGAIN;
	}
	r = phys_write(v->phys, gpa, m, sizeof(*m));
	if (r)
		return r;
	r = hyperv_set_sint(v, sint);
	return r < 0 ? r : r ? 0 : -EFAULT;
}

/* -- timers -- */

#define ST_ENABLE BIT64(0)
#define ST_PERIODIC BIT64(1)
#define ST_AUTO BIT64(3)
#define ST_DIRECT BIT64(12)
#define ST_SINT(c) ((u32)((c) >> 16 & 15))
#define ST_VECTOR(c) ((u8)((c) >> 4))

static u64 monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

static void look_at(struct vcpu *v, struct hyperv_stimer *t)
{
	t->pending = true;
	vcpu_request(v, VREQ_HYPERV);
}

static void stop(struct hyperv_stimer *t)
{
	t->pending = t->undelivered = false;
	t->expires = t->deadline_ns = 0;
}

static void arm(struct vcpu *v, struct hyperv_stimer *t, u64 now_ref)
{
	u64 delta = t->expires - now_ref, now = monotonic();

	t->deadline_ns = delta > (~0ull >> 1) / 100 ? ~0ull >> 1 : now + delta * 100;
	vcpu_request(v, VREQ_TIMER);
}

static void start(struct vcpu *v, struct hyperv_stimer *t)
{
	u64 now = hyperv_ref_time(v);

	if (t->config & ST_PERIODIC) {
		/* Periods that were missed are left out; the phase stays. */
		if (!t->expires)
			t->expires = now + t->count;
		else if (now >= t->expires)
			t->expires = now + (t->count - (now - t->expires) % t->count);
		arm(v, t, now);
		return;
	}
	t->expires = t->count;
	if (now >= t->count)	/* TLFS 12.3.2: in the past is at once */
		look_at(v, t);
	else
		arm(v, t, now);
}

static void expire(struct vcpu *v, struct hyperv_stimer *t)
{
	u32 index = (u32)(t - v->p->hv.stimer);
	struct message m = {
		.type = (u32)MSG_TIMER_EXPIRED, .payload_size = 24, .timer = index,
		.expiration = t->expires, .delivery = hyperv_ref_time(v),
	};
	int r;

	t->undelivered = true;
	if (!(t->config & ST_DIRECT))
		r = post(v, ST_SINT(t->config), &m, !(t->config & ST_PERIODIC));
	else
		r = v->lapic && !lapic_set_irq(v->lapic, ST_VECTOR(t->config), false);
	if (r)
		return;
	t->undelivered = false;
	if (!(t->config & ST_PERIODIC))
		t->config &= ~ST_ENABLE;
}

void hyperv_stimers_poll(struct vcpu *v)
{
	struct hyperv_vcpu *h = &v->p->hv;
	u64 now = 0;

	for (u32 i = 0; i < HV_STIMERS; i++) {
		struct hyperv_stimer *t = &h->stimer[i];

		if (t->deadline_ns) {
			if (!now)
				now = monotonic();
			if (now >= t->deadline_ns) {
				t->deadline_ns = 0;
				t->pending = true;
			}
		}
		if (!t->pending)
			continue;
		t->pending = false;
		if (!(t->config & ST_ENABLE))
			continue;
		if (t->expires && hyperv_ref_time(v) >= t->expires)
			expire(v, t);
		if (!(t->config & ST_ENABLE) || !t->count)
			stop(t);
		else if (!t->undelivered)
			start(v, t);
	}
}

u64 hyperv_stimers_next(const struct vcpu *v)
{
	u64 next = 0;

	for (u32 i = 0; i < HV_STIMERS; i++) {
		u64 d = v->p->hv.stimer[i].deadline_ns;

		if (d && (!next || d < next))
			next = d;
	}
	return next;
}

/* CONFIG and COUNT alternate. */
static struct hyperv_stimer *stimer(struct vcpu *v, u32 msr)
{
	return &v->p->hv.stimer[(msr - HV_MSR_STIMER0_CONFIG) / 2];
}

static bool is_count(u32 msr)
{
	return (msr - HV_MSR_STIMER0_CONFIG) & 1;
}

int hyperv_stimer_read(struct vcpu *v, u32 msr, u64 *val)
{
	*val = is_count(msr) ? stimer(v, msr)->count : stimer(v, msr)->config;
	return 0;
}

int hyperv_stimer_write(struct vcpu *v, u32 msr, u64 val, bool host)
{
	struct hyperv_stimer *t = stimer(v, msr);

	if (!v->p->hv.synic && (!host || val))
		return -EINVAL;
	if (is_count(msr)) {
		stop(t);
		t->count = val;
		if (!host && !val)
			t->config &= ~ST_ENABLE;
		else if (!host && t->config & ST_AUTO)
			t->config |= ST_ENABLE;
	} else {
		if (!host && val & ST_DIRECT && !hyperv_may(v, HVB_STIMER_DIRECT))
			return -EINVAL;
		stop(t);
		/* Source 0 is the hypervisor's own (TLFS 12.3.3). */
		if (t->config & ST_ENABLE && !(val & ST_DIRECT) && !ST_SINT(val))
			val &= ~ST_ENABLE;
		t->config = val;
	}
	if (t->config & ST_ENABLE)
		look_at(v, t);
	return 0;
}
