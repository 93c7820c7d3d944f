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

/* A duration, and the power of two above it in a histogram. */
#define stat_time(v, ns_field, hist_field, ns) do { \
	u32 i_ = (ns) ? 64 - (u32)__builtin_clzll(ns) : 0; \
	vcpu_stat_add(v, ns_field, ns); \
	vcpu_stat_add(v, hist_field + (i_ < STATS_HIST_WORDS ? i_ : STATS_HIST_WORDS - 1), 1); \
} while (0)

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

/*
 * If user space asks for it (KVM_CAP_HALT_POLL): a vCPU that has been woken soon after it went
 * to sleep looks around for a while the next time before it really does, since sleeping and waking
 * cost more than that. Where spinning does not help, because the waker wants this very CPU, it is
 * soon given up. Not the default: on a host with few CPUs it costs others more than it gains.
 */
#define POLL_MIN 10000u		/* ns */
#define POLL_FAILS 3
#define POLL_PAUSE 20000000u

static bool woken(struct vcpu *v, u32 seq)
{
	return atomic_load(&v->wake_seq) != seq || vcpu_signal_pending(v);
}

/* True: something has come. */
static bool halt_poll(struct vcpu *v, u64 start)
{
	struct vcpu_halt_poll *h = &v->p->halt_poll;
	u32 seq = atomic_load(&v->wake_seq);
	u64 now;

	if (!h->ns || atomic_load(&v->requests) || has_events(v))
		return true;
	vcpu_stat_add(v, halt_attempted_poll, 1);
	do {
		for (u32 i = 0; i < 32; i++) {
			if (woken(v, seq)) {
				h->fails = 0;
				now = monotonic_ns() - start;
				vcpu_stat_add(v, halt_successful_poll, 1);
				stat_time(v, halt_poll_success_ns, halt_poll_success_hist, now);
				return true;
			}
			__builtin_ia32_pause();
		}
		now = monotonic_ns() - start;
	} while (now < h->ns);
	stat_time(v, halt_poll_fail_ns, halt_poll_fail_hist, now);
	return false;
}

static void halt_poll_learn(struct vcpu *v, u64 start, u64 asleep, bool failed)
{
	struct vcpu_halt_poll *h = &v->p->halt_poll;
	u64 max = v->cfg->halt_poll_ns, now = monotonic_ns();

	stat_time(v, halt_wait_ns, halt_wait_hist, now - asleep);
	if (failed && h->ns >= max && ++h->fails >= POLL_FAILS) {
		h->fails = 0;
		h->off_until = now + POLL_PAUSE;
	}
	if (!max || now - start > max || now < h->off_until)
		h->ns = 0;
	else if (!h->ns)
		h->ns = POLL_MIN < max ? POLL_MIN : max;
	else if (failed)
		h->ns = 2 * h->ns < max ? 2 * h->ns : max;
}

int vcpu_block(struct vcpu *v)
{
	u64 start = monotonic_ns(), asleep;
	bool polled;
	u64 since = trace_watched(TRACE_kvm_vcpu_wakeup) ? tsc_host() : 0;
	int r;

	engine_fpu_save(v->c);
	/* Asleep, we use no guest memory: nobody has to wait for us. */
	atomic_store(&v->in_guest, 0);
	/* From here on senders wake us; what came before is seen below (facts 3.8). */
	if (v->lapic)
		lapic_put_away(v->lapic);
	polled = halt_poll(v, start);
	atomic_store(&v->blocked, 1);
	asleep = polled ? start : monotonic_ns();
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
	halt_poll_learn(v, start, asleep, !polled);
	if (v->lapic)
		lapic_load(v->lapic);
	if (since)
		vcpu_trace(kvm_vcpu_wakeup, v, tsc_host_to_ns(tsc_host() - since));
	atomic_store(&v->in_guest, 1);
	vcpu_flush_requests(v);
	return r;
}
