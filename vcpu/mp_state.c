/* SPDX-License-Identifier: MIT */
/* vcpu/mp_state.c - MP states, INIT and SIPI (SDM3 8.4). */
#include "irq/lapic.h"
#include "vcpu/vcpu_priv.h"

#define SX_INIT 1	/* error code of #SX: an INIT was redirected (APM2 8.2.20) */

void vcpu_set_mp(struct vcpu *v, u32 state)
{
	atomic_store_explicit(&v->p->mp_state, state, memory_order_release);
}

static void do_init(struct vcpu *v)
{
	struct vcpu_priv *p = v->p;

	engine_fpu_save(v->c);
	svm_reset(v->c, true);
	nested_note(v);
	cpu_reset(v->c, true);
	p->ev = (struct vcpu_events){ .ext_vector = p->ev.ext_vector };
	p->pend = PEND_NONE;
	p->mmio.reads = p->mmio.replay = p->mmio.writes = p->mmio.written = 0;
	p->hw_halted = false;
	p->pv_unhalted = false;
	p->pv_eoi_pending = false;
	/* What is written to or read from the guest's memory behind its back ends here: the program
	 * that starts next has its own use for that memory. */
	p->msr.apf_en = p->msr.apf_int = 0;
	p->msr.pv_eoi = p->msr.steal = p->msr.system_time = 0;
	p->clock.stopped = false;
	if (v->lapic) {
		lapic_take_events(v->lapic, LAPIC_EV_NMI | LAPIC_EV_NMI2, NULL);
		lapic_reset(v->lapic, true);
	}
	cpuid_update_dynamic(v);
	vcpu_set_mp(v,
		    v->id == v->cfg->bsp_id ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_INIT_RECEIVED);
}

/* APM2 15.28: an INIT may be redirected to an exception, which the guest's L1 can intercept. */
static void redirect_init(struct vcpu *v)
{
	if (v->p->ev.exc.pending || v->p->ev.exc.injected) {
		vcpu_request(v, VREQ_APIC_EVENT);	/* behind that one */
		return;
	}
	lapic_take_events(v->lapic, LAPIC_EV_INIT, NULL);
	vcpu_queue_exception(v, &(struct cpu_fault){
		.vector = EXC_SX, .has_error = true, .error = SX_INIT });
}

int vcpu_apic_events(struct vcpu *v)
{
	struct cpu *c = v->c;
	u8 vector = 0;

	if (!v->lapic)
		return 0;
	if (unlikely(c->in_l2) && nested_gif(v) && (lapic_peek_events(v->lapic) & LAPIC_EV_INIT) &&
	    svm_intercepts(c, SVM_I_INIT))
		svm_vmexit(c, SVM_EXIT_INIT, 0, 0);
	/* Held pending while GIF is clear (APM2 15.17), in SMM, or while an event of VMRUN's
	 * comes first; who ends that asks again. A SIPI is not held by the first two: the CPU
	 * does not wait for one. */
	if (!nested_gif(v) || c->in_smm) {
		if (!vcpu_init_allowed(v))
			lapic_take_events(v->lapic, LAPIC_EV_SIPI, NULL);
		return 0;
	}
	/* A CPU that waits for a SIPI executes nothing that could take the exception. */
	if (unlikely(svm_init_redirected(c)) && vcpu_mp(v) != KVM_MP_STATE_INIT_RECEIVED &&
	    vcpu_mp(v) != KVM_MP_STATE_UNINITIALIZED) {
		if (lapic_peek_events(v->lapic) & LAPIC_EV_INIT)
			redirect_init(v);
	} else if (lapic_take_events(v->lapic, LAPIC_EV_INIT, NULL)) {
		do_init(v);
	}
	if (!(lapic_peek_events(v->lapic) & LAPIC_EV_SIPI))
		return 0;
	if (!lapic_take_events(v->lapic, LAPIC_EV_SIPI, &vector))
		return 0;
	/* A SIPI counts only after INIT; otherwise it is lost. */
	if (vcpu_mp(v) != KVM_MP_STATE_INIT_RECEIVED)
		return 0;
	v->p->ev.sipi_vector = vector;
	c->seg[S_CS].sel = (u16)(vector << 8);
	c->seg[S_CS].base = (u64)vector << 12;
	c->rip = 0;
	cpu_mode_changed(c);
	vcpu_set_mp(v, KVM_MP_STATE_RUNNABLE);
	return 0;
}

int vcpu_get_mp_state(struct vcpu *v, struct kvm_mp_state *m)
{
	vcpu_apic_events(v);
	m->mp_state = vcpu_mp(v);
	if ((m->mp_state == KVM_MP_STATE_HALTED || m->mp_state == KVM_MP_STATE_AP_RESET_HOLD) &&
	    v->p->pv_unhalted)
		m->mp_state = KVM_MP_STATE_RUNNABLE;
	return 0;
}

int vcpu_set_mp_state(struct vcpu *v, const struct kvm_mp_state *m)
{
	u32 state = m->mp_state;

	switch (state) {
	case KVM_MP_STATE_RUNNABLE:
		break;
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED:
	case KVM_MP_STATE_HALTED:
	case KVM_MP_STATE_SIPI_RECEIVED:
	case KVM_MP_STATE_AP_RESET_HOLD:
		if (!v->lapic)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	if (state == KVM_MP_STATE_SIPI_RECEIVED) {
		state = KVM_MP_STATE_INIT_RECEIVED;
		lapic_post_events(v->lapic, LAPIC_EV_SIPI);
		vcpu_request(v, VREQ_APIC_EVENT);
	}
	v->p->pv_unhalted = false;
	v->p->hw_halted = false;
	vcpu_set_mp(v, state);
	vcpu_request(v, VREQ_EVENT);
	return 0;
}

int vcpu_get_lapic(struct vcpu *v, struct kvm_lapic_state *s)
{
	if (!v->lapic)
		return -EINVAL;
	return lapic_get_state(v->lapic, (u8 *)s->regs, v->cfg->shared.ids_32bit);
}

int vcpu_set_lapic(struct vcpu *v, const struct kvm_lapic_state *s)
{
	int r;

	if (!v->lapic)
		return -EINVAL;
	r = lapic_set_state(v->lapic, (const u8 *)s->regs, v->cfg->shared.ids_32bit);
	vcpu_request(v, VREQ_EVENT);
	vcpu_request(v, VREQ_TIMER);
	return r;
}

int vcpu_interrupt(struct vcpu *v, u32 irq)
{
	if (irq > 255)
		return -EINVAL;
	switch (atomic_load(&v->cfg->irqchip)) {
	case 0:	/* delivered at the next entry, whatever RFLAGS.IF says */
		if (v->c->in_l2 || !svm_gif(v->c)) {
			/* But L1 must be there to take it. */
			v->p->ev.held = (u16)(0x100 | irq);
			return 0;
		}
		v->p->ev.intr_injected = true;
		v->p->ev.intr_soft = false;
		v->p->ev.intr_vector = (u8)irq;
		return 0;
	case 2:
		if (v->p->ev.ext_vector >= 0)
			return -EEXIST;
		v->p->ev.ext_vector = (s16)irq;
		vcpu_request(v, VREQ_EVENT);
		return 0;
	default:
		return -ENXIO;
	}
}

int vcpu_nmi(struct vcpu *v)
{
	struct vcpu_events *ev = &v->p->ev;
	u32 limit = ev->nmi_masked || ev->nmi_injected ? 1 : 2;

	if (ev->nmi_pending < limit)
		ev->nmi_pending++;
	vcpu_request(v, VREQ_EVENT);
	return 0;
}
