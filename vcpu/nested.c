/* SPDX-License-Identifier: MIT */
/*
 * vcpu/nested.c - what svm/ asks of a vCPU, and the vCPU of svm/: events across VMRUN and
 * #VMEXIT, CPUID, task switches.
 */
#include "irq/apicv.h"
#include "irq/irqchip.h"
#include "irq/lapic.h"
#include "vcpu/cpuid.h"
#include "vcpu/vcpu_priv.h"


/* EVENTINJ becomes an event that has been injected already: it is not intercepted. */
static void take_event_inj(struct vcpu *v)
{
	struct vcpu_events *ev = &v->p->ev;
	const struct vmcb_control *ctl = svm_control(v->c);
	u8 vector = ctl->event_inj & SVM_EVENT_VECTOR;

	switch (svm_event_type(ctl->event_inj)) {
	case SVM_EVENT_INTR:
	case SVM_EVENT_SOFT:
		ev->intr_injected = true;
		ev->intr_soft = svm_event_type(ctl->event_inj) == SVM_EVENT_SOFT;
		ev->intr_vector = vector;
		break;
	case SVM_EVENT_NMI:
		ev->nmi_injected = true;
		break;
	case SVM_EVENT_EXC:
		ev->exc = (struct vcpu_exception){
			.injected = true, .vector = vector,
			.has_error = ctl->event_inj & SVM_EVENT_ERROR,
			.error = ctl->event_inj_err,
		};
		break;
	}
}

/* Something may be deliverable now that was not before. */
static bool waiting(struct vcpu *v)
{
	return v->p->ev.nmi_pending || v->p->ev.smi_pending || v->run->request_interrupt_window ||
	       vcpu_has_interrupt(v) || svm_virtual_waits(v->c) ||
	       (v->lapic && lapic_peek_events(v->lapic));
}

/* What has waited for GIF in the local APIC. */
static void request_held(struct vcpu *v)
{
	u32 events = v->lapic ? lapic_peek_events(v->lapic) : 0;

	if (events & (LAPIC_EV_INIT | LAPIC_EV_SIPI))
		vcpu_request(v, VREQ_APIC_EVENT);
	if (events & LAPIC_EV_SMI)
		vcpu_request(v, VREQ_SMI);
}

static bool stepping(const struct vcpu *v)
{
	return (v->c->rflags & FL_TF) || v->p->dbg.control || v->p->dbg.watching;
}

static bool entered(struct cpu *c)
{
	struct vcpu *v = c->owner;

	vcpu_count(v, nested_run);
	if (unlikely(v->p->hv.on))
		hyperv_l2_entered(v);
	vcpu_stat_set(v, guest_mode, 1);
	if (v->lapic)
		apicv_set_nested(v->lapic, true);
	if (svm_control(c)->event_inj & SVM_EVENT_VALID) {
		take_event_inj(v);
		return true;
	}
	svm_event_done(c);
	request_held(v);
	return stepping(v) || waiting(v);
}

void nested_injected(struct vcpu *v)
{
	svm_event_done(v->c);
	request_held(v);
}

/* L2 has come to L0: the processor would have written nRIP for an instruction's exit, and 0 for any
 * other (APM2 15.7.1). */
void nested_stopped(struct vcpu *v, enum cpu_result why)
{
	u64 next = 0;

	if (why == CPU_USER || why == CPU_DONE || why == CPU_WORK) {
		switch (v->p->pend) {
		case PEND_PIO_OUT: case PEND_PIO_IN: case PEND_PIO_INS:
		case PEND_MSR_READ: case PEND_MSR_WRITE: case PEND_HYPERCALL:
			next = v->p->pend_next;
			break;
		default:	/* OUTS, HLT: RIP has moved */
			if (vcpu_mp(v) == KVM_MP_STATE_HALTED || v->p->hw_halted ||
			    (why == CPU_USER && (v->run->exit_reason == KVM_EXIT_HLT ||
						 v->run->exit_reason == KVM_EXIT_IO)))
				next = v->c->rip;
		}
	}
	svm_stopped(v->c, next);
}

static void left(struct cpu *c, bool trap)
{
	struct vcpu *v = c->owner;
	struct vcpu_events *ev = &v->p->ev;

	if (v->lapic)
		apicv_set_nested(v->lapic, false);
	vcpu_stat_set(v, guest_mode, 0);
	ev->exc = (struct vcpu_exception){ 0 };
	ev->nmi_injected = ev->intr_injected = ev->intr_soft = false;
	if (vcpu_mp(v) == KVM_MP_STATE_HALTED)
		vcpu_set_mp(v, KVM_MP_STATE_RUNNABLE);
	v->p->hw_halted = false;
	if (unlikely(trap))
		ev->exc = (struct vcpu_exception){ .pending = true, .vector = EXC_DB,
						   .has_payload = true, .payload = DR6_BS };
	if (unlikely(trap || stepping(v)))
		engine_kick(c);
}

void nested_note(struct vcpu *v)
{
	vcpu_stat_set(v, guest_mode, v->c->in_l2);
}

static void gif_set(struct cpu *c)
{
	struct vcpu *v = c->owner;

	request_held(v);
	if (waiting(v))
		engine_kick(c);
}

static enum cpu_result triple_fault(struct cpu *c)
{
	/* The #VMEXIT that failed may have left L2 (svm/vmexit.c). */
	nested_note(c->owner);
	vcpu_request(c->owner, VREQ_TRIPLE_FAULT);
	return CPU_WORK;
}

static enum cpu_result unbacked(struct cpu *c)
{
	struct vcpu *v = c->owner;

	return exit_internal_error(v, KVM_INTERNAL_ERROR_EMULATION);
}

static bool hyperv(struct cpu *c)
{
	return hyperv_call_enabled(c->owner);
}

static void doorbell(struct cpu *c, u32 apic_id)
{
	struct vcpu *v = c->owner, *to;

	if (!v->cfg->irq)
		return;
	to = apic_find_vcpu(v->cfg->irq, apic_id);
	if (!to)
		return;
	engine_fpu_save(c);
	vcpu_request(to, VREQ_EVENT);
}

static const struct svm_ops ops = {
	.doorbell = doorbell,
	.entered = entered,
	.left = left,
	.gif_set = gif_set,
	.triple_fault = triple_fault,
	.fix_hypercall = hypercall_fix,
	.hyperv = hyperv,
	.hv_call = hyperv_l2_call,
	.unbacked = unbacked,
};

/* Task switch intercept (APM2 15.14.1). */
enum cpu_result nested_task_switch(struct cpu *c, const struct cpu_task *t)
{
	u64 info2 = t->error;

	if (!svm_intercepts(c, SVM_I_TASK_SWITCH))
		return CPU_OK;
	if (t->why == TASK_IRET)
		info2 |= BIT64(36);
	if (t->why == TASK_JMP)
		info2 |= BIT64(38);
	if (t->has_error)
		info2 |= BIT64(44);
	if (t->rf)
		info2 |= BIT64(48);
	svm_delivering(c, t->event, t->error);
	svm_vmexit(c, SVM_EXIT_TASK_SWITCH, t->sel, info2);
	return CPU_WORK;
}

static bool has(const void *v, enum cpuid_feature f)
{
	return cpuid_has(v, f);
}

void nested_caps(struct vcpu *v)
{
	struct svm_caps *k = svm_caps(v->c);

	svm_caps_set(k, has, v);
	k->cr4_reserved = v->c->cr4_reserved;
	k->efer_reserved = v->c->efer_reserved;
	k->maxphyaddr = v->c->maxphyaddr;
}

void nested_init(struct vcpu *v)
{
	svm_init(v->c, &v->p->svm, &ops, v->cfg->trace_vm, (s16)v->id);
	svm_caps(v->c)->quirks_off = &v->cfg->shared.disabled_quirks;
}
