/* SPDX-License-Identifier: MIT */
/*
 * vcpu/inject.c - events into the guest: exceptions, NMIs, external interrupts.
 *
 * Order of KVM: what user space left injected, then a pending exception, NMI,
 * interrupt. Delivery is done at once by cpu_deliver(), so that nothing stays
 * "injected" behind our back.
 */
#include "irq/apicv.h"
#include "irq/irqchip.h"
#include "irq/lapic.h"
#include "mmu/phys.h"
#include "vcpu/vcpu_priv.h"

/* -- delivery -- */

/* #DB is a fault when it reports something about to happen: an instruction breakpoint or
 * general detect (APM2 13.1.4). cpu_deliver() knows all other classes. */
static bool is_db_fault(const struct cpu_fault *f)
{
	return f->vector == EXC_DB && !(f->payload & 0xc000);
}

static struct cpu_event exception_event(struct cpu *c, const struct cpu_fault *f, bool db_fault)
{
	/* APM2 3.1.6, RFLAGS.RF: the return goes over the breakpoint once. */
	if (db_fault)
		c->rflags |= FL_RF;
	/* One word: a wider load of bytes that have just been stored waits until they are in the
	 * cache, and this is copied twice for each page fault. */
	return (struct cpu_event){
		.head = f->vector | (u64)EV_EXCEPTION << 8 | (u64)f->has_error << 16 |
			(u64)f->error << 32,
		.payload = f->payload, .next_rip = c->rip,
	};
}

/* The same, and for the same reason. */
static struct cpu_event interrupt_event(const struct cpu *c, u8 vector)
{
	return (struct cpu_event){ .head = vector | (u64)EV_INTR << 8, .next_rip = c->rip };
}

static void trace_event(struct vcpu *v, const struct cpu_event *e)
{
	switch (e->kind) {
	case EV_INTR: case EV_SOFT_INT:
		vcpu_trace(kvm_inj_virq, v, e->vector, e->kind == EV_SOFT_INT);
		break;
	case EV_NMI:
		vcpu_trace(kvm_inj_nmi, v);
		break;
	default:
		vcpu_trace(kvm_inj_exception, v, e->vector, e->has_error, e->error);
		break;
	}
}

/* Who has posted something since the last time: TOLD_*. */
static u32 told(struct vcpu_priv *p)
{
	u32 who = p->told_self ? TOLD_INSIDE : 0;

	p->told_self = false;
	if (atomic_load(&p->told))
		who |= atomic_exchange(&p->told, 0);
	return who;
}

/* Deliver, and whatever delivery itself raises. CPU_OK, CPU_DONE, CPU_USER, CPU_SHUTDOWN. */
static enum cpu_result deliver(struct vcpu *v, struct cpu_event e)
{
	struct cpu *c = v->c;
	u32 rounds = 0;
	enum cpu_result r;

	for (;;) {
		const u64 rip = c->rip;
		struct cpu_fault f;
		int merged = 0;

		if (unlikely(trace_any()))
			trace_event(v, &e);

		/* How somebody outside says what he has written. Those of vCPUs, whose stores are
		 * seen, come more often. */
		if (e.kind == EV_INTR || e.kind == EV_NMI)
			engine_serialise(c, told(v->p) == TOLD_INSIDE);
		v->p->event = e;
		v->p->delivering = true;
		r = cpu_deliver(c, &e);
		v->p->delivering = false;
		switch (r) {
		case CPU_OK:
			past_add(&v->p->past, rip, past_what(e.kind, e.vector, e.has_error),
				 e.error, e.payload);
			if (e.kind == EV_INTR)
				vcpu_count(v, irq_injections);
			else if (e.kind == EV_NMI)
				vcpu_count(v, nmi_injections);
			else if (e.kind == EV_EXCEPTION && e.vector == EXC_PF)
				vcpu_count(v, pf_guest);
			return CPU_OK;
		case CPU_WORK:	/* L1 has taken the task switch that the event was (APM2 15.14.1) */
			return CPU_OK;
		case CPU_DONE:	/* the stack is not memory */
			return CPU_DONE;
		case CPU_FAULT:
			break;
		default:	/* a table is not memory */
			v->p->pend = PEND_NONE;
			return exit_delivery(v, &e);
		}
		f = c->fault;
		/* L1's intercept comes before the merge (APM2 15.12). */
		if (unlikely(c->in_l2) && svm_exception(c, &f, &e, &r))
			return CPU_OK;
		/* APM2 8.2.9: only a first exception can turn the second into #DF. */
		if (e.kind == EV_EXCEPTION)
			merged = cpu_merge_faults(e.vector, f.vector);
		fault_chain_add(v, !rounds, &e, &f);
		if (merged < 0 || ++rounds > 8)
			return CPU_SHUTDOWN;
		if (merged)
			f = (struct cpu_fault){ .vector = EXC_DF, .has_error = true };
		if (unlikely(c->in_l2) && merged && svm_exception(c, &f, NULL, &r))
			return CPU_OK;
		e = exception_event(c, &f, is_db_fault(&f));
	}
}

enum cpu_result vcpu_deliver_fault(struct vcpu *v, const struct cpu_fault *f)
{
	enum cpu_result r;

	if (unlikely(v->c->in_l2) && svm_exception(v->c, f, NULL, &r))
		return CPU_OK;
	return deliver(v, exception_event(v->c, f, is_db_fault(f)));
}

/* A #DB that reports something already done: single step, data breakpoints. */
enum cpu_result vcpu_deliver_trap(struct vcpu *v, const struct cpu_fault *f)
{
	enum cpu_result r;

	if (unlikely(v->c->in_l2) && svm_exception(v->c, f, NULL, &r))
		return CPU_OK;
	return deliver(v, exception_event(v->c, f, false));
}

void vcpu_queue_exception(struct vcpu *v, const struct cpu_fault *f)
{
	v->p->ev.exc = (struct vcpu_exception){
		.pending = true, .vector = f->vector, .has_error = f->has_error,
		.error = f->error, .payload = f->payload,
		.has_payload = f->vector == EXC_DB || f->vector == EXC_PF,
	};
}

/* -- what waits -- */

bool vcpu_userspace_pic(const struct vcpu *v)
{
	return v->cfg->irqchip != 1;
}

static bool extint(struct vcpu *v)
{
	if (!v->lapic || !lapic_accepts_extint(v->lapic))
		return false;
	if (v->cfg->irqchip == 2)
		return v->p->ev.ext_vector >= 0;
	if (v->cfg->irq)
		return irqchip_extint_pending(v->cfg->irq);
	return v->vm_ops->extint_pending && v->vm_ops->extint_pending(v->vm) >= 0;
}

bool vcpu_has_interrupt(struct vcpu *v)
{
	if (!v->lapic)
		return v->p->ev.intr_injected || v->p->ev.held;
	return extint(v) || lapic_pending_vector(v->lapic) >= 0;
}

bool vcpu_interrupt_allowed(const struct vcpu *v)
{
	const struct cpu *c = v->c;

	if (!svm_host_if(c) || !svm_gif(c))
		return false;
	/* An exit to L1 does not wait for L2's shadow. */
	if (unlikely(c->in_l2) && svm_intercepts(c, SVM_I_INTR))
		return true;
	return !c->shadow_sti && !c->shadow_ss;
}

static bool nmi_allowed(const struct vcpu *v)
{
	const struct cpu *c = v->c;

	if (v->p->ev.nmi_masked || !svm_gif(c))
		return false;
	if (unlikely(c->in_l2) && svm_intercepts(c, SVM_I_NMI))
		return true;
	return !c->shadow_sti && !c->shadow_ss;
}

/* An NMI beyond the one in service and one latched is lost. */
void vcpu_take_nmis(struct vcpu *v)
{
	struct vcpu_events *ev = &v->p->ev;
	u32 got, limit = ev->nmi_masked || ev->nmi_injected ? 1 : 2;

	if (!v->lapic)
		return;
	got = lapic_take_events(v->lapic, LAPIC_EV_NMI | LAPIC_EV_NMI2, NULL);
	ev->nmi_pending += !!(got & LAPIC_EV_NMI) + !!(got & LAPIC_EV_NMI2);
	if (ev->nmi_pending > limit)
		ev->nmi_pending = (u8)limit;
}

bool vcpu_has_events(struct vcpu *v)
{
	struct vcpu_priv *p = v->p;
	u32 mp = vcpu_mp(v), apic = v->lapic ? lapic_peek_events(v->lapic) : 0;

	if (apic & (LAPIC_EV_INIT | LAPIC_EV_SIPI) && vcpu_init_allowed(v))
		return true;
	if (mp == KVM_MP_STATE_UNINITIALIZED || mp == KVM_MP_STATE_INIT_RECEIVED)
		return false;
	if (apic & LAPIC_EV_UNHALT) {
		lapic_take_events(v->lapic, LAPIC_EV_UNHALT, NULL);
		p->pv_unhalted = true;
	}
	if (apic & (LAPIC_EV_NMI | LAPIC_EV_NMI2))
		vcpu_take_nmis(v);
	if (apic & LAPIC_EV_SMI)
		vcpu_take_smi(v);
	if (p->pv_unhalted || p->ev.exc.pending || p->ev.exc.injected)
		return true;
	if (p->ev.nmi_injected || (p->ev.nmi_pending && nmi_allowed(v)))
		return true;
	if (p->ev.smi_pending && vcpu_smi_allowed(v))
		return true;
	if (unlikely(v->c->in_l2) && (svm_virq(v->c) || svm_vnmi(v->c)))
		return true;
	return vcpu_has_interrupt(v) && vcpu_interrupt_allowed(v);
}

bool vcpu_ready_for_interrupt(struct vcpu *v)
{
	const struct vcpu_events *ev = &v->p->ev;

	if (!vcpu_interrupt_allowed(v))
		return false;
	if (ev->exc.pending || ev->exc.injected || ev->nmi_injected || ev->intr_injected ||
	    ev->held)
		return false;
	if (!v->lapic)
		return true;
	return ev->ext_vector < 0 && lapic_accepts_extint(v->lapic);
}

void vcpu_undeliver(struct vcpu *v)
{
	struct vcpu_events *ev = &v->p->ev;
	const struct cpu_event *e = &v->p->event;

	if (!v->p->delivering)
		return;
	v->p->delivering = false;
	switch (e->kind) {
	case EV_INTR: case EV_SOFT_INT:
		ev->intr_injected = true;
		ev->intr_soft = e->kind == EV_SOFT_INT;
		ev->intr_vector = e->vector;
		break;
	case EV_NMI:
		ev->nmi_injected = true;
		break;
	default:
		vcpu_queue_exception(v, &(struct cpu_fault){
			.vector = e->vector, .has_error = e->has_error, .error = e->error,
			.payload = e->payload });
		break;
	}
}

/* -- paravirtual EOI (docs/kvm-abi.md 6.5) -- */

static void pv_eoi_offer(struct vcpu *v)
{
	u64 msr = v->p->msr.pv_eoi;
	u8 one = 1;

	if (!(msr & 1) || !lapic_pv_eoi_ok(v->lapic))
		return;
	engine_fpu_save(v->c);
	v->p->pv_eoi_pending = !phys_write(v->phys, msr & ~3ull, &one, 1);
}

void pv_eoi_sync(struct vcpu *v)
{
	u64 gpa = v->p->msr.pv_eoi & ~3ull;
	u8 byte = 1;

	v->p->pv_eoi_pending = false;
	engine_fpu_save(v->c);
	if (!v->lapic || phys_read(v->phys, gpa, &byte, 1))
		return;
	if (!(byte & 1)) {
		lapic_pv_eoi(v->lapic);
		return;
	}
	byte &= (u8)~1;
	phys_write(v->phys, gpa, &byte, 1);
}

/* -- injection -- */

/* Does one wait? *vec is the LAPIC's, or -1: the PIC's. */
static bool interrupt_waits(struct vcpu *v, int *vec)
{
	*vec = -1;
	if (extint(v))
		return true;
	*vec = lapic_pending_vector(v->lapic);
	return *vec >= 0;
}

/* Take what interrupt_waits() has found, or what is to be delivered instead now; -1: it went away.
 * Only we take anything out of IRR. */
static int take_interrupt(struct vcpu *v, int vec)
{
	struct vcpu_events *ev = &v->p->ev;

	if (vec < 0 && extint(v)) {
		engine_fpu_save(v->c);
		if (v->cfg->irqchip == 2) {
			vec = ev->ext_vector;
			ev->ext_vector = -1;
			return vec;
		}
		return v->cfg->irq ? irqchip_extint_ack(v->cfg->irq) : v->vm_ops->extint_ack(v->vm);
	}
	if (likely(vec >= 0))
		lapic_take(v->lapic, (u8)vec);
	else
		vec = lapic_ack(v->lapic);
	if (vec >= 0 && unlikely(v->p->msr.pv_eoi & 1))
		pv_eoi_offer(v);
	return vec;
}

static enum cpu_result deliver_nmi(struct vcpu *v)
{
	v->p->ev.nmi_injected = false;
	/* An NMI that L1 injects into L2 does not mask the real ones. */
	if (!svm_event_waits(v->c))
		v->p->ev.nmi_masked = true;
	return deliver(v, (struct cpu_event){ .kind = EV_NMI, .vector = EXC_NMI,
					      .next_rip = v->c->rip });
}

static enum cpu_result deliver_injected(struct vcpu *v)
{
	struct vcpu_events *ev = &v->p->ev;

	if (ev->exc.injected) {
		struct cpu_event e = {
			.kind = EV_EXCEPTION, .vector = ev->exc.vector,
			.has_error = ev->exc.has_error, .error = ev->exc.error,
			/* CR2 and DR6 were written when it was queued (KVM's rule for injected
			 * exceptions): hand the same CR2 back. */
			.payload = ev->exc.vector == EXC_PF ? v->c->cr2 : 0,
			.next_rip = v->c->rip,
		};

		/* #BP and #OF by EVENTINJ return behind their instruction. */
		if (svm_event_soft(v->c) &&
		    (ev->exc.vector == EXC_BP || ev->exc.vector == EXC_OF)) {
			e.kind = EV_PRIV_SOFT;
			e.next_rip = svm_event_next_rip(v->c, v->c->rip);
		}
		ev->exc.injected = false;
		return deliver(v, e);
	}
	if (ev->exc.pending)
		return CPU_OK;
	if (ev->nmi_injected)
		return deliver_nmi(v);
	if (ev->intr_injected) {
		ev->intr_injected = false;
		return deliver(v, (struct cpu_event){
			.kind = ev->intr_soft ? EV_SOFT_INT : EV_INTR,
			.vector = ev->intr_vector,
			.next_rip = svm_event_next_rip(v->c, v->c->rip) });
	}
	return CPU_OK;
}

static enum cpu_result deliver_pending_exception(struct vcpu *v)
{
	struct vcpu_exception x = v->p->ev.exc;
	struct cpu_fault f = {
		.vector = x.vector, .has_error = x.has_error, .error = x.error,
		.payload = x.has_payload ? x.payload : x.vector == EXC_PF ? v->c->cr2 : 0,
	};

	v->p->ev.exc.pending = false;
	/* APM2 13.1.1.4: general-detect is switched off on entry to #DB. */
	if (f.vector == EXC_DB)
		v->c->dr7 &= ~DR7_GD;
	return vcpu_deliver_fault(v, &f);
}

/* AVIC needs no window for the vectors of the APIC, only for the PIC's, and in L2 none is
 * opened for L1 (docs/kvm-apic.md 3.2, 3.8). */
static void irq_window(struct vcpu *v, bool on)
{
	if (apicv_irq_window(v->lapic) == on || (on && apicv_active(v->lapic) && !extint(v)) ||
	    !apicv_count_irq_window(v->lapic, on))
		return;
	engine_fpu_save(v->c);
	apicv_eval_irq_window(v->lapic);
}

/* What L1 has given L2 to take by itself (APM2 15.21). */
static enum cpu_result inject_virtual(struct vcpu *v)
{
	struct cpu *c = v->c;
	enum cpu_result r;

	switch (svm_vnmi(c)) {
	case SVM_VIRQ_NOW:
		svm_vnmi_take(c);
		r = deliver(v, (struct cpu_event){ .kind = EV_NMI, .vector = EXC_NMI,
						   .next_rip = c->rip });
		if (r != CPU_OK)
			return r;
		break;
	case SVM_VIRQ_SHADOW:
		v->p->step_shadow = true;
		break;
	case SVM_VIRQ_NONE:
		break;
	}
	switch (svm_virq(c)) {
	case SVM_VIRQ_NOW:
		if (svm_intercepts(c, SVM_I_VINTR) && !svm_avic_on(c)) {
			svm_vmexit(c, SVM_EXIT_VINTR, 0, 0);
			break;
		}
		return deliver(v, interrupt_event(c, svm_virq_take(c)));
	case SVM_VIRQ_SHADOW:
		v->p->step_shadow = true;
		break;
	case SVM_VIRQ_NONE:
		break;
	}
	return CPU_OK;
}

/* Interrupts of the LAPIC and the PIC. */
static enum cpu_result inject_interrupts(struct vcpu *v)
{
	struct vcpu_priv *p = v->p;
	struct cpu *c = v->c;
	int vec;

	while (interrupt_waits(v, &vec)) {
		enum cpu_result r;

		if (!vcpu_interrupt_allowed(v)) {
			if (svm_host_if(c) && svm_gif(c))
				p->step_shadow = true;
			irq_window(v, !c->in_l2);
			return CPU_OK;	/* hooks.window() looks again */
		}
		if (unlikely(c->in_l2) && svm_intercepts(c, SVM_I_INTR)) {
			vcpu_trace(kvm_nested_intr_vmexit, v, c->rip);
			svm_vmexit(c, SVM_EXIT_INTR, 0, 0);
			break;
		}
		vec = take_interrupt(v, vec);
		if (vec < 0)
			break;
		r = deliver(v, interrupt_event(c, (u8)vec));
		if (r != CPU_OK)
			return r;
		if (p->pv_eoi_pending)
			break;
	}
	if (unlikely(apicv_irq_window(v->lapic)) && (c->in_l2 || !vcpu_has_interrupt(v)))
		irq_window(v, false);
	return CPU_OK;
}

/* User space is the interrupt controller and has given a vector while L2 ran. */
static enum cpu_result inject_held(struct vcpu *v)
{
	struct cpu *c = v->c;
	u8 vec = (u8)v->p->ev.held;

	if (!vcpu_interrupt_allowed(v)) {
		if (svm_host_if(c) && svm_gif(c))
			v->p->step_shadow = true;
		return CPU_OK;
	}
	if (c->in_l2 && svm_intercepts(c, SVM_I_INTR)) {
		svm_vmexit(c, SVM_EXIT_INTR, 0, 0);
		return CPU_OK;
	}
	v->p->ev.held = 0;
	return deliver(v, interrupt_event(c, vec));
}

/* One that L1 intercepts goes on waiting, for L1's STGI (docs/kvm-svm.md 4.7). */
static enum cpu_result take_smi(struct vcpu *v, bool halted)
{
	if (!v->c->in_l2 || !svm_intercepts(v->c, SVM_I_SMI))
		return vcpu_enter_smm(v, halted);
	svm_vmexit(v->c, SVM_EXIT_SMI, 0, 0);
	return CPU_OK;
}

enum cpu_result vcpu_inject(struct vcpu *v)
{
	struct vcpu_priv *p = v->p;
	struct vcpu_events *ev = &p->ev;
	struct cpu *c = v->c;
	bool woken = p->woken;
	enum cpu_result r;

	p->step_shadow = false;
	p->woken = false;
	if (unlikely(ev->exc.injected | ev->exc.pending | ev->nmi_injected | ev->intr_injected)) {
		r = deliver_injected(v);
		if (r == CPU_OK && ev->exc.pending)
			r = deliver_pending_exception(v);
		if (r != CPU_OK)
			return r;
		woken = false;
	}
	if (svm_event_waits(c))
		nested_injected(v);
	if (unlikely(p->dbg.control & KVM_GUESTDBG_BLOCKIRQ))
		return CPU_OK;
	if (unlikely(ev->smi_pending) && vcpu_smi_allowed(v)) {
		r = take_smi(v, woken);
		if (r != CPU_OK)
			return r;
	}
	if (unlikely(ev->nmi_pending)) {
		if (nmi_allowed(v) && c->in_l2 && svm_intercepts(c, SVM_I_NMI)) {
			svm_vmexit(c, SVM_EXIT_NMI, 0, 0);
		} else if (nmi_allowed(v)) {
			ev->nmi_pending--;
			r = deliver_nmi(v);
			if (r != CPU_OK)
				return r;
		} else if (!ev->nmi_masked && svm_gif(c)) {
			p->step_shadow = true;
		}
	}
	if (unlikely(ev->held)) {
		r = inject_held(v);
		if (r != CPU_OK)
			return r;
	}
	if (!v->lapic) {
		/* A window was asked for and only the shadow is in the way. */
		if (v->run->request_interrupt_window && (c->rflags & FL_IF) &&
		    (c->shadow_sti | c->shadow_ss))
			p->step_shadow = true;
	} else {
		r = inject_interrupts(v);
		if (r != CPU_OK)
			return r;
	}
	if (likely(!c->in_l2))
		return CPU_OK;
	return inject_virtual(v);
}
