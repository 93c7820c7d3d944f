/* SPDX-License-Identifier: MIT */
/*
 * vcpu/block.c - sleeping in HLT and while waiting for INIT or SIPI.
 *
 * The futex word wake_seq is raised by everything that could end the sleep,
 * signal handlers included, before the sleeper compares it. While `blocked` is 0 the sleeper only
 * polls (halt_poll.h) and a waker is spared the system call.
 */
#include <limits.h>
#include <sched.h>
#include <sys/resource.h>

#include "base/cpus.h"
#include "base/futex.h"
#include "base/optional.h"
#include "irq/lapic.h"
#include "vcpu/vcpu_priv.h"

/* Requests that are no reason to leave a sleep: they wait for the next entry. */
#define QUIET (BIT64(VREQ_EVENT) | BIT64(VREQ_TLB_FLUSH) | BIT64(VREQ_WRITES_FLUSH) | \
	       BIT64(VREQ_CODE_PAGES) | BIT64(VREQ_CODE_SUSPECT) | BIT64(VREQ_ALONE) | \
	       BIT64(VREQ_SCAN_IOAPIC) | BIT64(VREQ_GUEST_TLB))

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
	u64 cap = monotonic_ns() + NSEC_PER_SEC;

	if (!deadline || deadline > cap)	/* no need to be punctual */
		return futex_sleep(&v->wake_seq, seq, cap, &idle);
	return futex_sleep(&v->wake_seq, seq, deadline, &v->p->sleeper);
}

static void wake_up(struct vcpu *v)
{
	u32 mp = vcpu_mp(v);

	v->p->hw_halted = false;
	v->p->woken = mp != KVM_MP_STATE_AP_RESET_HOLD;
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

	if (likely(!v->c->in_l2 || !svm_avic_on(v->c)))
		return vcpu_has_events(v);
	atomic_store(&v->in_guest, 1);
	vcpu_flush_requests(v);
	yes = vcpu_has_events(v);
	atomic_store(&v->in_guest, 0);
	return yes;
}

/*
 * The vCPUs of the process whose threads want a CPU: nobody polls on a CPU that another
 * vCPU could use. Each field is changed with single atomic operations; readers want no more than a
 * good guess, so all of them are relaxed.
 */
static struct {
	_Atomic u32 awake;
	_Atomic u32 wakes;	/* counts sleepers that have been woken, before they run */
	_Atomic u32 running;	/* tasks of the host ... */
	_Atomic u64 counted;	/* ... at that time (monotonic ns) */
} crowd;

void crowd_join(struct vcpu *v, bool awake)
{
	if (likely(v->p->in_crowd == awake))
		return;
	v->p->in_crowd = awake;
	if (awake)
		atomic_fetch_add_explicit(&crowd.awake, 1, memory_order_relaxed);
	else
		atomic_fetch_sub_explicit(&crowd.awake, 1, memory_order_relaxed);
}

/* Wake the vCPU if it sleeps in vcpu_block(). Costs a system call only then. */
void vcpu_wake(struct vcpu *v)
{
	atomic_fetch_add(&v->wake_seq, 1);
	if (atomic_load(&v->blocked)) {
		/* Who polls may have to make room for it. */
		atomic_fetch_add_explicit(&crowd.wakes, 1, memory_order_relaxed);
		futex_wake(&v->wake_seq, INT_MAX);
	}
}

/* While polling: time between two offers of the CPU to other tasks, and between two looks at how
 * many the host has. Either costs about 1 us. */
#define POLL_YIELD 10000u	/* ns */
#define POLL_COUNT 20000u
#define POLL_COUNT_CROWDED 100000u	/* ... once there were too many */

/* One halt. */
struct poll {
	u64 start;
	u64 until;	/* 0: not polling, or no more */
	u64 ended;	/* when polling ended without success; start */
	u32 wakes;	/* crowd.wakes at the start */
	bool allowed, polled, preempted, slept;
	bool yielded;
	long switches;	/* before the first yield */
};

static bool cpu_to_spare(const struct vcpu *v, const struct poll *p, u64 now)
{
	struct halt_poll_crowd c = {
		.awake = atomic_load_explicit(&crowd.awake, memory_order_relaxed),
		.cpus = v->cfg->host_cpus,
		.running = atomic_load_explicit(&crowd.running, memory_order_relaxed),
		.online = v->cfg->online_cpus,
	};
	u64 age = now - atomic_load_explicit(&crowd.counted, memory_order_relaxed);

	/* A sleeper that has been woken does not count itself until it runs. */
	c.awake += atomic_load_explicit(&crowd.wakes, memory_order_relaxed) != p->wakes;
	if (optional_may(OPTIONAL_LOAD) &&
	    age >= (c.running > c.online ? POLL_COUNT_CROWDED : POLL_COUNT)) {
		atomic_store_explicit(&crowd.counted, now, memory_order_relaxed);
		c.running = cpus_running(v->cfg->load_fd);
		atomic_store_explicit(&crowd.running, c.running, memory_order_relaxed);
	}
	return halt_poll_spare(&c);
}

/* From here on wakers make the system call. The caller looks for events once more. */
static void stop_polling(struct vcpu *v, struct poll *p, u64 now)
{
	p->until = 0;
	p->ended = now;
	atomic_store(&v->blocked, 1);
	vcpu_stat_set(v, blocking, 1);
}

/* How often the thread has had to give its CPU to another one; 0: unknown. */
static long switches(void)
{
	struct rusage u = { 0 };

	if (optional_may(OPTIONAL_RUSAGE))
		getrusage(RUSAGE_THREAD, &u);
	return u.ru_nivcsw;
}

/*
 * Until wake_seq is no longer seq, the deadline, or the end of polling.
 *
 * KVM polls while its CPU has no other task to run. sched_yield() is how a program asks for that:
 * it returns at once if there is none. If it took long and was a switch there was one, and there
 * may be again; other gaps are interrupts, or the doing of a hypervisor below us.
 */
static void look_around(struct vcpu *v, struct poll *p, u32 seq, u64 deadline)
{
	u64 now = monotonic_ns(), last, yielded = now;

	for (;;) {
		for (u32 i = 0; i < 32; i++) {
			if (atomic_load_explicit(&v->wake_seq, memory_order_acquire) != seq ||
			    vcpu_signal_pending(v))
				return;
			__builtin_ia32_pause();
		}
		last = now;
		now = monotonic_ns();
		if (unlikely(now - last > HALT_POLL_GAP) && p->yielded)
			p->preempted = switches() != p->switches;
		if (p->preempted || now >= p->until || !cpu_to_spare(v, p, now)) {
			stop_polling(v, p, now);
			return;
		}
		if (deadline && now >= deadline)
			return;
		if (now - yielded >= POLL_YIELD && optional_may(OPTIONAL_YIELD)) {
			if (!p->yielded) {
				p->yielded = true;
				p->switches = switches();
			}
			sched_yield();
			yielded = now;
		}
	}
}

static void halt_begin(struct vcpu *v, struct poll *p)
{
	u32 ns = 0;

	*p = (struct poll){ .start = monotonic_ns() };
	p->wakes = atomic_load_explicit(&crowd.wakes, memory_order_relaxed);
	/* As in KVM: not while waiting for INIT, nor when the guest polls itself. */
	p->allowed = (vcpu_mp(v) == KVM_MP_STATE_HALTED || v->p->hw_halted) &&
		     v->p->msr.poll_control & 1;
	if (p->allowed)
		ns = halt_poll_window(&v->p->halt_poll, v->cfg->halt_poll_ns, p->start);
	p->polled = ns;
	p->until = ns ? p->start + ns : 0;
	if (!ns)
		stop_polling(v, p, p->start);
}

static void halt_end(struct vcpu *v, struct poll *p)
{
	struct halt_poll_result r = { .now = monotonic_ns(), .polled = p->polled,
				      .preempted = p->preempted };
	u64 ns = (p->slept ? p->ended : r.now) - p->start;

	atomic_store(&v->blocked, 0);
	vcpu_stat_set(v, blocking, 0);
	if (p->polled) {
		vcpu_stat_add(v, halt_attempted_poll, 1);
		if (!p->slept) {
			vcpu_stat_add(v, halt_successful_poll, 1);
			stat_time(v, halt_poll_success_ns, halt_poll_success_hist, ns);
		} else {
			stat_time(v, halt_poll_fail_ns, halt_poll_fail_hist, ns);
		}
	}
	if (p->slept)
		stat_time(v, halt_wait_ns, halt_wait_hist, r.now - p->ended);
	r.halted = r.now - p->start;
	if (p->allowed)
		halt_poll_learn(&v->p->halt_poll, v->cfg->halt_poll_ns, &r);
}

enum cpu_result vcpu_block(struct vcpu *v)
{
	u64 since = trace_watched(TRACE_kvm_vcpu_wakeup) ? tsc_host() : 0;
	struct poll p;
	enum cpu_result r;

	engine_fpu_save(v->c);
	/* Asleep, we use no guest memory: nobody has to wait for us. */
	atomic_store(&v->in_guest, 0);
	/* From here on senders wake us; what came before is seen below (docs/kvm-apic.md 3.8). */
	if (v->lapic)
		lapic_put_away(v->lapic);
	pmu_pause(v);
	halt_begin(v, &p);
	for (;;) {
		u32 seq = atomic_load(&v->wake_seq);
		u64 deadline = 0;
		int err;

		r = CPU_OK;
		if (vcpu_signal_pending(v)) {
			v->run->exit_reason = KVM_EXIT_INTR;
			r = CPU_EINTR;
			break;
		}
		if (v->lapic)
			lapic_poll_timer(v->lapic);
		if (unlikely(v->p->hv.synic))
			hyperv_stimers_poll(v);
		if (has_events(v)) {
			wake_up(v);
			if (p.slept)
				vcpu_count(v, halt_wakeup);
			break;
		}
		/* An AP looks at its requests once its INIT has come. */
		if (vcpu_mp(v) != KVM_MP_STATE_UNINITIALIZED && atomic_load(&v->requests) & ~QUIET)
			break;
		/* Nothing to inject after all. */
		atomic_fetch_and(&v->requests, ~BIT64(VREQ_EVENT));
		if (v->lapic)
			deadline = vcpu_next_timer(v);
		if (p.until) {
			look_around(v, &p, seq, deadline);
			continue;
		}
		p.slept = true;
		if (unlikely(v->p->msr.steal & 1) && !v->p->clock.away) {
			atomic_store(&v->in_guest, 1);
			vcpu_flush_requests(v);
			steal_away(v);
			atomic_store(&v->in_guest, 0);
		}
		crowd_join(v, false);
		err = sleep_on(v, seq, deadline);
		crowd_join(v, true);
		if (err == EINTR) {
			v->run->exit_reason = KVM_EXIT_INTR;
			r = CPU_EINTR;
			break;
		}
	}
	halt_end(v, &p);
	if (v->lapic)
		lapic_load(v->lapic);
	if (since)
		vcpu_trace(kvm_vcpu_wakeup, v, tsc_host_to_ns(tsc_host() - since));
	atomic_store(&v->in_guest, 1);
	vcpu_flush_requests(v);
	pmu_resume(v);
	if (unlikely(v->p->clock.away))
		steal_back(v);
	/* A device may have written code that ran before, and the wake-up be how it says so. */
	engine_code_recheck(v->c);
	return r;
}
