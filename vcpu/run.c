/* SPDX-License-Identifier: MIT */
/*
 * vcpu/run.c - KVM_RUN: requests, injection, the engine, and the order in which
 * KVM does these things (docs/kvm-apic.md 1.4, docs/kvm-abi.md 5.7).
 *
 * Nothing on the path of an ordinary exit makes a system call or touches the
 * guest's vector state when it is not loaded.
 */

#include "base/log.h"
#include "base/optional.h"
#include "base/sys.h"
#include "direct/direct.h"
#include "irq/apicv.h"
#include "irq/lapic.h"
#include "vcpu/vcpu_priv.h"

static bool runnable(const struct vcpu *v)
{
	return vcpu_mp(v) == KVM_MP_STATE_RUNNABLE && !v->p->hw_halted;
}

static bool take(struct vcpu *v, enum vcpu_request r)
{
	if (!(atomic_load_explicit(&v->requests, memory_order_relaxed) & BIT64(r)))
		return false;
	atomic_fetch_and(&v->requests, ~BIT64(r));
	return true;
}

u64 vcpu_next_timer(struct vcpu *v)
{
	u64 ns = v->lapic ? lapic_next_event_ns(v->lapic) : 0;
	u64 hv = v->p->hv.synic ? hyperv_stimers_next(v) : 0;

	u64 pmu = v->p->pmu.deadline ? pmu_deadline_ns(v) : 0;

	if (hv && (!ns || hv < ns))
		ns = hv;
	return unlikely(pmu) && (!ns || pmu < ns) ? pmu : ns;
}

static void rearm_timer(struct vcpu *v)
{
	u64 ns = vcpu_next_timer(v);

	if (ns == v->p->armed_ns)
		return;
	v->p->armed_ns = ns;
	if (v->vm_ops->arm_timer)
		v->vm_ops->arm_timer(v->vm, v, ns);
}

/* CPU_OK or CPU_USER. Order: docs/kvm-apic.md 1.4. */
static enum cpu_result service(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	u8 vector;

	vcpu_flush_requests(v);
	if (unlikely(v->cfg->dead))
		return CPU_DEAD;
	if (!atomic_load(&v->requests))
		return CPU_OK;
	/* The rest may call out of the guest side. */
	engine_fpu_save(v->c);
	if (take(v, VREQ_NESTED_STATE) && vcpu_finish_nested_state(v))
		return CPU_USER;
	if (take(v, VREQ_DIRTY_FULL) && v->vm_ops->dirty_ring_full &&
	    v->vm_ops->dirty_ring_full(v->vm, v)) {
		/* Until user space has harvested, every entry ends here. */
		atomic_fetch_or(&v->requests, BIT64(VREQ_DIRTY_FULL));
		run->exit_reason = KVM_EXIT_DIRTY_RING_FULL;
		return CPU_USER;
	}
	if (take(v, VREQ_REPORT_TPR)) {
		run->exit_reason = KVM_EXIT_TPR_ACCESS;
		return CPU_USER;
	}
	if (take(v, VREQ_CLOCK_UPDATE)) {
		kvmclock_update(v);
		hyperv_tsc_page_update(v);
	}
	if (take(v, VREQ_TRIPLE_FAULT) || v->p->ev.triple_fault) {
		v->p->ev.triple_fault = false;
		return exit_shutdown(v);
	}
	if (take(v, VREQ_STEAL_UPDATE))
		steal_update(v);
	if (take(v, VREQ_SMI))
		vcpu_take_smi(v);
	if (take(v, VREQ_NMI))
		vcpu_take_nmis(v);
	if (take(v, VREQ_IOAPIC_EOI_EXIT) && v->lapic &&
	    lapic_take_pending_eoi(v->lapic, &vector)) {
		run->exit_reason = KVM_EXIT_IOAPIC_EOI;
		run->eoi.vector = vector;
		return CPU_USER;
	}
	if (take(v, VREQ_SCAN_IOAPIC) && v->lapic)
		lapic_scan(v->lapic);
	if (take(v, VREQ_PMU))
		pmu_reprogram(v);
	if (take(v, VREQ_HYPERV) && hyperv_service(v) == CPU_USER)
		return CPU_USER;
	if (take(v, VREQ_APICV_UPDATE) && v->lapic)
		apicv_update(v->lapic);
	if (take(v, VREQ_TIMER))
		rearm_timer(v);
	if (take(v, VREQ_UNBLOCK) && v->lapic && lapic_take_events(v->lapic, LAPIC_EV_UNHALT, NULL))
		v->p->pv_unhalted = true;
	if (take(v, VREQ_EVENT) && v->lapic) {
		vcpu_count(v, req_event);
		lapic_poll_timer(v->lapic);
		if (unlikely(v->p->hv.synic))
			hyperv_stimers_poll(v);
		if (unlikely(v->p->pmu.deadline))
			pmu_poll(v);
		/* Fired early: the VM's timer has forgotten the deadline, we have not. */
		if (v->p->armed_ns && vcpu_next_timer(v) == v->p->armed_ns)
			v->p->armed_ns = 0;
		rearm_timer(v);
	}
	if (take(v, VREQ_APIC_EVENT))
		vcpu_apic_events(v);
	return CPU_OK;
}

/* Every entry: requests come before the mask they announce, so a mask that is not followed has
 * its request pending. */
static void check_apicv(struct vcpu *v)
{
	/* Guest mode may have been entered or left by an ioctl. */
	apicv_set_nested(v->lapic, v->c->in_l2);
	if (likely(apicv_consistent(v->lapic)) ||
	    atomic_load(&v->requests) & BIT64(VREQ_APICV_UPDATE))
		return;
	engine_fpu_save(v->c);
	if (!apicv_broken(v->cfg->irq))
		log_error("vCPU %u enters the guest with APIC acceleration that its VM forbids",
			  v->id);
	apicv_report_broken(v->cfg->irq);
}

/* c->fault came out of the guest: a debugger's business, or the guest's. */
static enum cpu_result fault(struct vcpu *v)
{
	struct cpu *c = v->c;
	u32 control = v->p->dbg.control;

	/* L1 may have it, or another comes of it. */
	if (likely(!control && !c->in_l2))
		return vcpu_settle(v, vcpu_deliver_fault(v, &c->fault));
	struct cpu_fault f = c->fault;

	if (unlikely(control)) {
		if (f.vector == EXC_BP && control & KVM_GUESTDBG_USE_SW_BP)
			return exit_debug(v, EXC_BP, vcpu_linear_rip(v), c->dr6, c->dr7);
		if (f.vector == EXC_DB &&
		    control & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP))
			return exit_debug(v, EXC_DB, vcpu_linear_rip(v), f.payload, c->dr7);
	}
	return vcpu_settle(v, vcpu_deliver_fault(v, &f));
}

enum cpu_result vcpu_settle(struct vcpu *v, enum cpu_result r)
{
	switch (r) {
	case CPU_OK:
		return CPU_OK;
	case CPU_SHUTDOWN:
		return exit_shutdown(v);
	case CPU_UNBACKED:	/* KVM cannot fetch from MMIO either */
	case CPU_NOMEM:
		return exit_internal_error(v, KVM_INTERNAL_ERROR_EMULATION);
	case CPU_USER: case CPU_EFAULT: case CPU_EINTR: case CPU_DEAD:
		return r;
	default:	/* stores to devices are shown when the guest is left for whatever reason */
		return mmio_emit_write(v);
	}
}

/* In the order of TRACE_ENUMS' exit. */
static u32 trace_number(enum cpu_result why)
{
	switch (why) {
	case CPU_POLL: return 0;
	case CPU_FAULT: return 1;
	case CPU_STEP: return 3;
	case CPU_UNBACKED: return 4;
	case CPU_EFAULT: return 5;
	default: return 2;	/* an instruction, or an access of one */
	}
}

/* For standin stat: what the engine has done since the last report of this look. */
static void report_work(struct vcpu *v)
{
	u32 look = atomic_load_explicit(&trace_area->look, memory_order_relaxed);
	const struct engine_counts *now = engine_counts(v->c);
	struct trace_vm *vm = trace_vm_get(v->cfg->trace_vm);

	for (u32 k = 0; k < WORK_COUNT; k++) {
		u64 more = now->n[k] - v->reported.n[k];

		v->reported.n[k] = now->n[k];
		if (more && v->look == look)
			atomic_fetch_add_explicit(&vm->work[k], more, memory_order_relaxed);
	}
	v->look = look;
}

static void trace_exit(struct vcpu *v, enum cpu_result why)
{
	report_work(v);
	const struct cpu *c = v->c;
	bool exception = why == CPU_FAULT;

	vcpu_trace(kvm_exit, v, trace_number(why), c->rip, exception ? c->fault.vector : 0,
		   exception ? c->fault.error : 0);
}

static bool single_step_due(const struct cpu *c, bool tf)
{
	if (c->debug_note & NOTE_STEP_NOW)
		return c->rflags & FL_TF;
	return tf && !(c->debug_note & NOTE_NO_STEP);
}

/* An instruction has retired behind which somebody wants to look. */
static enum cpu_result stepped(struct vcpu *v, bool tf)
{
	/* A trap after MOV SS is held back (APM2 13.1.2). */
	return v->c->shadow_ss ? CPU_OK : debug_stepped(v, single_step_due(v->c, tf));
}

/*
 * A fault out of L1 has been delivered: is that all there is? Whatever else may have come about
 * meanwhile has set poll, and what waited does so still: a handler that begins opens no window.
 */
static bool only_delivered(const struct vcpu *v)
{
	const struct vcpu_priv *p = v->p;
	const struct cpu *c = v->c;

	return !(atomic_load_explicit(&c->poll, memory_order_acquire) |
		 atomic_load_explicit(&v->requests, memory_order_acquire) | c->watch_hit |
		 c->in_l2) &&
	       !(p->dbg.stale | p->dbg.step_owed | p->dbg.tf_owed | p->dbg.watching |
		 p->pv_eoi_pending | v->run->request_interrupt_window | !!p->pmu.deadline);
}

enum cpu_result vcpu_enter(struct vcpu *v, bool replay)
{
	struct vcpu_priv *p = v->p;
	struct cpu *c = v->c;
	bool tf, debug, shadow;
	u64 from, held;
	enum cpu_result why, r;

again:
	tf = c->rflags & FL_TF;
	debug = debug_wants_step(v);
	from = c->rip;
	held = c->watch_hit;
	c->single_step = replay || tf || debug || p->step_shadow;
	c->debug_note = 0;
	vcpu_trace(kvm_entry, v, c->rip);
	if (unlikely(p->vapic) && !replay)
		vapic_store(v);
	vcpu_count(v, exits);
	why = engine_run(c);
	if (unlikely(p->vapic))
		vapic_load(v);
	if (unlikely(trace_any()))
		trace_exit(v, why);
	/* Between instructions: the one in the shadow has been executed. */
	if (why == CPU_POLL || why == CPU_STEP)
		c->shadow_left = 0;
	if (unlikely(c->in_l2)) {
		if (svm_avic_trapped(c))
			svm_avic_exit(c);
		nested_stopped(v, why);
	}
	switch (why) {
	case CPU_POLL:
		r = replay ? CPU_POLL : CPU_OK;
		if (unlikely(c->debug_note & NOTE_STEP_NOW) && (c->rflags & FL_TF))
			r = stepped(v, true);
		break;
	case CPU_STEP:
		r = CPU_OK;
		if (unlikely(tf || debug || c->debug_note))
			r = stepped(v, tf);
		break;
	case CPU_FAULT:
		/* What did not retire has hit nothing. */
		c->watch_hit = held;
		/* The window of an interrupt may have waited for its end. */
		shadow = c->shadow_sti | c->shadow_ss | c->shadow_left | c->single_step | c->in_l2;
		r = fault(v);
		if (likely(r == CPU_OK && !shadow && only_delivered(v))) {
			p->insn = NULL;
			goto again;
		}
		break;
	case CPU_EFAULT:	/* guest memory without a page behind it on the host */
		c->watch_hit = held;
		r = exit_memory_fault(v, engine_fault_address(c));
		break;
	case CPU_UNBACKED: case CPU_NOMEM:
		r = vcpu_settle(v, why);
		break;
	default:	/* an instruction or access */
		if (unlikely(debug || tf))
			debug_left(v, why, c->rip != from, tf, held);
		r = vcpu_settle(v, why);
		break;
	}
	p->insn = NULL;
	if (unlikely(p->pv_eoi_pending))
		pv_eoi_sync(v);
	return r;
}

static enum cpu_result guest(struct vcpu *v)
{
	struct vcpu_priv *p = v->p;
	enum cpu_result r;

	p->ran = true;
	debug_update(v);
	/* Traps of the last instruction come before whatever else waits (APM2 8.5). */
	if (unlikely(v->c->watch_hit | p->dbg.step_owed | p->dbg.tf_owed) && debug_pending(v, &r))
		return r;
	r = vcpu_inject(v);
	if (unlikely(r != CPU_OK))
		return vcpu_settle(v, r);
	if (unlikely(p->dbg.watching) && debug_at_breakpoint(v, &r))
		return r;
	return vcpu_enter(v, false);
}

/* Why KVM_RUN ends: CPU_USER, CPU_EINTR, CPU_EFAULT or CPU_DEAD. */
static enum cpu_result loop(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	struct vcpu_priv *p = v->p;
	enum cpu_result r;

	for (;;) {
		/* Cleared before looking for work, so that work posted later leaves again. */
		if (atomic_load_explicit(&v->c->poll, memory_order_acquire))
			atomic_store(&v->c->poll, 0);
		/* A thread that has waited for its CPU finds a counter's NMI and an interrupt due.
		 * The NMI comes first, at what was counted and not at the interrupt's handler. */
		if (unlikely(p->pmu.deadline) && tsc_host() >= p->pmu.deadline)
			pmu_poll(v);
		if (atomic_load(&v->requests)) {
			r = service(v);
			if (r != CPU_OK)
				break;
		}
		if (vcpu_signal_pending(v)) {
			run->exit_reason = KVM_EXIT_INTR;
			vcpu_count(v, signal_exits);
			r = CPU_EINTR;
			break;
		}
		if (likely(runnable(v))) {
			if (v->lapic && v->cfg->irq)
				check_apicv(v);
			r = guest(v);
		} else {
			r = vcpu_block(v);
		}
		if (r != CPU_OK)
			break;
		if (unlikely(p->set_tpr_exit)) {
			p->set_tpr_exit = false;
			run->exit_reason = KVM_EXIT_SET_TPR;
			r = CPU_USER;
			break;
		}
		if (unlikely(run->request_interrupt_window) && vcpu_userspace_pic(v) &&
		    vcpu_ready_for_interrupt(v)) {
			run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
			vcpu_count(v, request_irq_exits);
			r = CPU_USER;
			break;
		}
	}
	return r;
}

static int errno_of(enum cpu_result r)
{
	return r == CPU_EINTR ? -EINTR : r == CPU_EFAULT ? -EFAULT : r == CPU_DEAD ? -EIO : 0;
}

/* An AP before its INIT: wait for it, let user space call again (docs/kvm-abi.md 5.7 step 2). */
static int wait_for_init(struct vcpu *v)
{
	enum cpu_result r;

	if (v->run->immediate_exit)
		return -EINTR;
	r = vcpu_block(v);
	vcpu_apic_events(v);
	if (r == CPU_EINTR || vcpu_signal_pending(v)) {
		v->run->exit_reason = KVM_EXIT_INTR;
		return -EINTR;
	}
	return -EAGAIN;
}

static int run_unmasked(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	struct vcpu_priv *p = v->p;
	int r;

	run->flags = 0;
	if (unlikely(vcpu_mp(v) == KVM_MP_STATE_UNINITIALIZED))
		return wait_for_init(v);
	/* INIT waits for GIF (APM2 15.17) and for RSM: nobody but user space can have made this. */
	if (unlikely(vcpu_mp(v) == KVM_MP_STATE_INIT_RECEIVED) && !vcpu_init_allowed(v))
		return -EINVAL;
	if (unlikely(run->kvm_valid_regs | run->kvm_dirty_regs)) {
		r = sync_regs_load(v);
		if (r)
			return r;
	}
	if (!v->lapic && run->cr8 != p->cr8 && vcpu_set_cr8(v, run->cr8))
		return -EINVAL;
	vcpu_apic_page_update(v);
	/* The program may have written guest memory behind us, code included. */
	vcpu_flush_requests(v);
	engine_code_recheck(v->c);
	if (p->pend != PEND_NONE || p->mmio.written < p->mmio.writes) {
		enum cpu_result done = vcpu_complete(v);

		if (done != CPU_OK)
			return errno_of(done);
	}
	if (run->immediate_exit)
		return -EINTR;
	/* Time is stolen while this thread waits outside too; looking costs system calls. */
	if (unlikely(p->msr.steal & 1) && tsc_host() - p->clock.steal_tsc > (u64)tsc_host_khz() / 5)
		atomic_fetch_or(&v->requests, BIT64(VREQ_STEAL_UPDATE));
	return errno_of(loop(v));
}

#define RUN_X86_SMM BIT(0)
#define RUN_X86_GUEST_MODE BIT(2)	/* KVM_RUN_X86_GUEST_MODE of newer headers */

static void post_run(struct vcpu *v)
{
	struct kvm_run *run = v->run;

	run->flags = (v->c->in_l2 ? RUN_X86_GUEST_MODE : 0) | (v->c->in_smm ? RUN_X86_SMM : 0);
	if (unlikely(run->exit_reason == KVM_EXIT_X86_BUS_LOCK))
		run->flags |= KVM_RUN_X86_BUS_LOCK;
	run->if_flag = !!(v->c->rflags & FL_IF);
	run->cr8 = vcpu_get_cr8(v);
	run->apic_base = vcpu_get_apic_base(v);
	run->ready_for_interrupt_injection = v->cfg->irqchip == 1 || vcpu_ready_for_interrupt(v);
	if (unlikely(run->kvm_valid_regs))
		sync_regs_store(v);
}

static void swap_mask(const sigset_t *set, sigset_t *old)
{
	sys_sigmask(SIG_SETMASK, set, old);
}

u64 vcpu_signals_held(struct vcpu *v)
{
	struct vcpu_priv *p = v->p;
	u64 now = 0, mask, held;

	sys_sigmask(SIG_SETMASK, NULL, &now);
	__builtin_memcpy(&mask, &p->sigmask, sizeof(mask));
	held = now & ~mask;
	if (unlikely(held & ~p->held_prepared) && vcpu_signals_prepare) {
		vcpu_signals_prepare(held & ~p->held_prepared);
		p->held_prepared |= held;
	}
	return held;
}

/* A signal that KVM_SET_SIGNAL_MASK unblocks is pending already: KVM returns at once and
 * leaves it pending for the program to collect. */
static bool mask_has_pending(const sigset_t *mask)
{
	u64 m;

	__builtin_memcpy(&m, mask, sizeof(m));
	return sys_sigpending() & ~m;
}

/*
 * pthread_cancel() with asynchronous type unwinds the thread out of translated code, as
 * it does out of the real ioctl. Leave the vCPU as KVM would: not running, not locked.
 */
static void cancelled(void *arg)
{
	struct vcpu *v = arg;

	v->c->fpu_live = 0;	/* the registers are gone */
	pmu_pause(v);
	vcpu_unguard(v);
	vcpu_alone(v, false);
	v->p->delivering = false;
	atomic_store(&v->p->held, 0);
	if (v->lapic)
		lapic_put_away(v->lapic);
	crowd_join(v, false);
	atomic_store(&v->blocked, 0);
	atomic_store(&v->servicing, 0);
	atomic_store(&v->parked, 0);
	atomic_store(&v->in_guest, 0);
	vcpu_set_current(NULL);
	pthread_mutex_unlock(&v->lock);
}

static int __attribute__((noinline)) run_here(struct vcpu *v)
{
	struct vcpu_priv *p = v->p;
	sigset_t saved;
	bool masked = false;
	int r;

	atomic_store_explicit(&p->signal_seen, 0, memory_order_relaxed);
	vcpu_set_current(v);
	vcpu_trace(standin_run, v);
	/* One that came earlier has told nobody. */
	if (unlikely(vcpu_signals_wait()))
		atomic_store(&p->signal_seen, 1);
	crowd_join(v, true);
	if (unlikely(p->sigmask_set)) {
		masked = !mask_has_pending(&p->sigmask);
		if (masked) {
			atomic_store(&p->held, vcpu_signals_held(v));
			swap_mask(&p->sigmask, &saved);
		} else {
			atomic_store(&p->signal_seen, 1);
		}
	}
	atomic_store(&v->in_guest, 1);
	if (v->lapic)
		lapic_load(v->lapic);

	pmu_resume(v);
	r = vcpu_run_guarded(v, run_unmasked);
	pmu_pause(v);

	if (v->lapic)
		lapic_put_away(v->lapic);

	engine_fpu_save(v->c);
	vcpu_count(v, host_state_reload);
	const struct engine_counts *n = engine_counts(v->c);

	u64 made = n->units + n->moved + n->units_moved + n->flushes;

	if (unlikely(made != v->made_told)) {
		v->made_told = made;
		vcpu_stat_set(v, units_made, n->units);
		vcpu_stat_set(v, pages_moved, n->moved);
		vcpu_stat_set(v, units_moved, n->units_moved);
		vcpu_stat_set(v, code_flushes, n->flushes);
	}
	const struct direct_counts *dn = direct_counts(v->c);

	if (unlikely(dn)) {
		direct_rest(v->c);
#define X(name) vcpu_stat_set(v, direct_##name, dn->name);
		X(stays)
		X(turns)
		X(fills)
		X(pages)
		X(ended) X(left_syscall) X(left_fault) X(left_code) X(left_kick) X(left_other)
#undef X
	}
	post_run(v);
	vcpu_trace(kvm_userspace_exit, v, v->run->exit_reason, (u64)(s64)r);
	past_add(&p->past, v->c->rip, PAST_EXIT, v->run->exit_reason, 0);
	atomic_store_explicit(&v->in_guest, 0, memory_order_release);
	if (unlikely(masked)) {
		u64 mask;

		swap_mask(&saved, NULL);
		atomic_store(&p->held, 0);
		__builtin_memcpy(&mask, &saved, sizeof(mask));
		if (vcpu_signals_restored)
			vcpu_signals_restored(mask);
	}
	/* After any other exit user space may leave the vCPU alone for long. */
	if (r || (v->run->exit_reason != KVM_EXIT_IO && v->run->exit_reason != KVM_EXIT_MMIO))
		crowd_join(v, false);
	vcpu_set_current(NULL);
	return r;
}

void vcpu_thread_ready(void)
{
	/* A halted vCPU sleeps until its timer fires, here; 50 us late is the default. */
	if (optional_may(OPTIONAL_SLACK))
		sys_timer_slack(1);
}

int vcpu_run(struct vcpu *v)
{
	int r;

	pthread_cleanup_push(cancelled, v);
	r = run_here(v);
	pthread_cleanup_pop(0);
	return r;
}
