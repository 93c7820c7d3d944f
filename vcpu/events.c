/* SPDX-License-Identifier: MIT */
/* vcpu/events.c - KVM_GET/SET_VCPU_EVENTS (rules: docs/kvm-abi.md 5.2). */
#include "irq/lapic.h"
#include "vcpu/vcpu_priv.h"

#define FLAGS_VALID 0x3fu

#define SHADOW_MOV_SS 1
#define SHADOW_STI 2

static bool soft(u8 vector)
{
	return vector == EXC_BP || vector == EXC_OF;
}

/* A pending exception's payload goes where the handler looks for it. */
static void apply_payload(struct vcpu *v)
{
	struct vcpu_exception *x = &v->p->ev.exc;

	if (!x->has_payload)
		return;
	if (x->vector == EXC_PF)
		v->c->cr2 = x->payload;
	if (x->vector == EXC_DB)
		v->c->dr6 = (v->c->dr6 & ~0xfull) | x->payload;
	x->has_payload = false;
	x->payload = 0;
}

int vcpu_get_events(struct vcpu *v, struct kvm_vcpu_events *e)
{
	struct vcpu_events *ev = &v->p->ev;
	struct vcpu_exception *x = &ev->exc;
	struct cpu *c = v->c;

	vcpu_take_nmis(v);
	vcpu_take_smi(v);
	if (!v->cfg->exception_payload && x->pending)
		apply_payload(v);
	cpu_zero(e, sizeof(*e));
	/* The ABI has no instruction length: software exceptions are done again instead. */
	if (!soft(x->vector)) {
		e->exception.injected = x->injected;
		e->exception.pending = x->pending;
		/* Without the payload capability user space knows one state only. */
		if (!v->cfg->exception_payload)
			e->exception.injected |= x->pending;
	}
	e->exception.nr = x->vector;
	e->exception.has_error_code = x->has_error;
	e->exception.error_code = x->error;
	e->exception_has_payload = x->has_payload;
	e->exception_payload = x->payload;
	e->interrupt.injected = (ev->intr_injected && !ev->intr_soft) || ev->held;
	e->interrupt.nr = ev->held && !ev->intr_injected ? (u8)ev->held : ev->intr_vector;
	e->interrupt.shadow = (c->shadow_ss ? SHADOW_MOV_SS : 0) | (c->shadow_sti ? SHADOW_STI : 0);
	e->nmi.injected = ev->nmi_injected;
	e->nmi.pending = ev->nmi_pending;
	e->nmi.masked = ev->nmi_masked;
	e->smi.smm = c->in_smm;
	e->smi.pending = ev->smi_pending;
	e->smi.smm_inside_nmi = ev->smm_in_nmi;
	/* An INIT that waits: not only in SMM, also while GIF is 0 or until the next KVM_RUN. */
	e->smi.latched_init = v->lapic && (lapic_peek_events(v->lapic) & LAPIC_EV_INIT);
	e->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW |
		   KVM_VCPUEVENT_VALID_SMM;
	if (v->cfg->exception_payload)
		e->flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	if (v->cfg->triple_fault_event) {
		e->triple_fault.pending = ev->triple_fault;
		e->flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	}
	return 0;
}

int vcpu_set_events(struct vcpu *v, const struct kvm_vcpu_events *e)
{
	struct vcpu_events *ev = &v->p->ev;
	bool pending = e->exception.pending, injected = e->exception.injected;
	bool has_payload = e->exception_has_payload;

	if (e->flags & ~FLAGS_VALID)
		return -EINVAL;
	if (e->flags & KVM_VCPUEVENT_VALID_PAYLOAD) {
		if (!v->cfg->exception_payload)
			return -EINVAL;
		if (pending)
			injected = false;
		else
			has_payload = false;
	} else {
		pending = false;
		has_payload = false;
	}
	if ((injected || pending) && (e->exception.nr > 31 || e->exception.nr == EXC_NMI))
		return -EINVAL;
	/* SMM latches INIT. */
	if ((e->flags & KVM_VCPUEVENT_VALID_SMM) && (e->smi.smm || e->smi.pending) &&
	    vcpu_mp(v) == KVM_MP_STATE_INIT_RECEIVED)
		return -EINVAL;
	if ((e->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) && !v->cfg->triple_fault_event)
		return -EINVAL;

	vcpu_take_nmis(v);
	ev->exc = (struct vcpu_exception){
		.pending = pending, .injected = injected, .vector = e->exception.nr,
		.has_error = e->exception.has_error_code, .error = e->exception.error_code,
		.has_payload = has_payload, .payload = has_payload ? e->exception_payload : 0,
	};
	ev->intr_injected = e->interrupt.injected;
	ev->intr_vector = e->interrupt.nr;
	ev->held = 0;
	ev->intr_soft = e->interrupt.soft;
	if (e->flags & KVM_VCPUEVENT_VALID_SHADOW) {
		v->c->shadow_ss = !!(e->interrupt.shadow & SHADOW_MOV_SS);
		v->c->shadow_sti = !!(e->interrupt.shadow & SHADOW_STI);
	}
	ev->nmi_injected = e->nmi.injected;
	ev->nmi_masked = e->nmi.masked;
	if (e->flags & KVM_VCPUEVENT_VALID_NMI_PENDING) {
		u8 limit = ev->nmi_masked || ev->nmi_injected ? 1 : 2;

		ev->nmi_pending = e->nmi.pending < limit ? e->nmi.pending : limit;
	}
	if ((e->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR) && v->lapic) {
		ev->sipi_vector = e->sipi_vector;
		lapic_set_sipi_vector(v->lapic, (u8)e->sipi_vector);
	}
	if (e->flags & KVM_VCPUEVENT_VALID_SMM) {
		vcpu_take_smi(v);
		if (v->c->in_smm != !!e->smi.smm) {
			svm_leave(v->c);
			nested_note(v);
			vcpu_smm_changed(v, e->smi.smm);
		}
		ev->smi_pending = e->smi.pending;
		if (e->smi.smm)
			ev->smm_in_nmi = e->smi.smm_inside_nmi;
	}
	if ((e->flags & KVM_VCPUEVENT_VALID_SMM) && v->lapic) {
		if (e->smi.latched_init) {
			lapic_post_events(v->lapic, LAPIC_EV_INIT);
			vcpu_request(v, VREQ_APIC_EVENT);
		} else {
			lapic_take_events(v->lapic, LAPIC_EV_INIT, NULL);
		}
	}
	if (e->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) {
		ev->triple_fault = e->triple_fault.pending;
		if (ev->triple_fault)
			vcpu_request(v, VREQ_TRIPLE_FAULT);
		else
			atomic_fetch_and(&v->requests, ~BIT64(VREQ_TRIPLE_FAULT));
	}
	vcpu_request(v, VREQ_EVENT);
	return 0;
}
