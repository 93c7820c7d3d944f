/* SPDX-License-Identifier: MIT */
/*
 * vcpu/block.c - sleeping in HLT and while waiting for INIT or SIPI.
 *
 * The futex word wake_seq is raised by everything that could end the sleep,
 * signal handlers included, before the sleeper compares it.
 */
#include "base/futex.h"
#include "irq/lapic.h"
#include "vcpu/priv.h"

#define NSEC 1000000000ull
/* Requests that are no reason to leave a sleep: they wait for the next entry. */
#define QUIET (BIT64(VREQ_EVENT) | BIT64(VREQ_TLB_FLUSH) | BIT64(VREQ_WRITES_FLUSH) | \
	       BIT64(VREQ_CODE_PAGES) | BIT64(VREQ_CODE_SUSPECT) | BIT64(VREQ_SCAN_IOAPIC))

bool vcpu_signal_pending(struct vcpu *v)
{
	return atomic_load_explicit(&v->p->signal_seen, memory_order_acquire) ||
	       *(volatile u8 *)&v->run->immediate_exit;
}

/* 0, or an errno. A timeout is always given: only then does the kernel return EINTR after a
 * handler with SA_RESTART instead of going back to sleep. */
static int sleep_on(struct vcpu *v, u32 seq, u64 deadline)
{
	struct sleeper idle = { 0 };
	u64 cap = monotonic_ns() + NSEC;

	if (!deadline || deadline > cap)	/* no need to be punctual */
		return futex_sleep(&v->wake_seq, seq, cap, &idle);
	return futex_sleep(&v->wake_seq, seq, deadline, &v->p->sleeper);
}

static void wake_up(struct vcpu *v)
{
	u32 mp = vcpu_mp(v);

	v->p->hw_halted = false;
	if (mp == KVM_MP_STATE_HALTED || mp == KVM_MP_STATE_AP_RESET_HOLD) {
		v->p->pv_unhalted = false;
		vcpu_set_mp(v, KVM_MP_STATE_RUNNABLE);
	}
}

static void waited(struct vcpu *v, const struct timespec *since)
{
	struct timespec now;
	u64 ns;
	u32 i;

	clock_gettime(CLOCK_MONOTONIC, &now);
	ns = (u64)(now.tv_sec - since->tv_sec) * NSEC + (u64)now.tv_nsec - (u64)since->tv_nsec;
	i = ns ? 64 - (u32)__builtin_clzll(ns) : 0;
	vcpu_stat_add(v, halt_wait_ns, ns);
	vcpu_stat_add(v, halt_wait_hist + (i < STATS_HIST_WORDS ? i : STATS_HIST_WORDS - 1), 1);
}

/* The virtual APIC of an L2 that sleeps is in guest memory. */
static bool has_events(struct vcpu *v)
{
	bool yes;

	if (likely(!v->c->in_l2 || !v->c->svm->avic_on))
		return vcpu_has_events(v);
	atomic_store(&v->in_guest, 1);
	vcpu_flush_requests(v);
	yes = vcpu_has_events(v);
	atomic_store(&v->in_guest, 0);
	return yes;
}

int vcpu_block(struct vcpu *v)
{
	struct timespec t0;
	u64 since = trace_watched(TRACE_kvm_vcpu_wakeup) ? tsc_host() : 0;
	int r;

	engine_fpu_save(v->c);
	/* Asleep, we use no guest memory: nobody has to wait for us. */
	atomic_store(&v->in_guest, 0);
	/* From here on senders wake us; what came before is seen below (facts 3.8). */
	if (v->lapic)
		lapic_put_away(v->lapic);
	atomic_store(&v->blocked, 1);
	clock_gettime(CLOCK_MONOTONIC, &t0);
	vcpu_stat_set(v, blocking, 1);
	for (;;) {
		u32 seq = atomic_load(&v->wake_seq);
		u64 deadline = 0;

		r = RUN_AGAIN;
		if (vcpu_signal_pending(v)) {
			v->run->exit_reason = KVM_EXIT_INTR;
			r = -EINTR;
			break;
		}
		if (v->lapic)
			lapic_poll_timer(v->lapic);
		if (has_events(v)) {
			wake_up(v);
			vcpu_count(v, halt_wakeup);
			break;
		}
		/* An AP looks at its requests once its INIT has come. */
		if (atomic_load(&v->requests) & (vcpu_mp(v) == KVM_MP_STATE_UNINITIALIZED ?
						 BIT64(VREQ_VM_DEAD) : ~QUIET))
			break;
		/* Nothing to inject after all. */
		atomic_fetch_and(&v->requests, ~BIT64(VREQ_EVENT));
		if (v->lapic)
			deadline = lapic_next_event_ns(v->lapic);
		if (sleep_on(v, seq, deadline) == EINTR) {
			v->run->exit_reason = KVM_EXIT_INTR;
			r = -EINTR;
			break;
		}
	}
	atomic_store(&v->blocked, 0);
	vcpu_stat_set(v, blocking, 0);
	waited(v, &t0);
	if (v->lapic)
		lapic_load(v->lapic);
	if (since)
		vcpu_trace(kvm_vcpu_wakeup, v, tsc_host_to_ns(tsc_host() - since));
	atomic_store(&v->in_guest, 1);
	vcpu_flush_requests(v);
	return r;
}
