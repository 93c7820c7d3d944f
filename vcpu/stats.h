/* SPDX-License-Identifier: MIT */
/*
 * vcpu/stats.h - the counters of a vCPU, under KVM's names (KVM_GET_STATS_FD).
 *
 *   X(name, kind, words, what it counts)
 *
 * kind: COUNT events, NS nanoseconds, FLAG a state that is on or off, HIST a histogram of
 * nanoseconds by powers of two. ABSENT are those whose event does not exist here, or cannot be told
 * apart (no shadow page tables, no VMX, no interrupts of the host): programs ask for them, and they
 * stay 0. tests/unit/facts.py holds both lists against the code. The last ones are our own.
 *
 * One writer, the vCPU's own thread; readers see whole words. They live in shared memory
 * once somebody has asked for the fd.
 */
#ifndef VCPU_STATS_H
#define VCPU_STATS_H

#include "base/types.h"

#define STATS_HIST_WORDS 32

#define VCPU_STATS_KEPT(X) \
	X(halt_successful_poll, COUNT, 1, "halts that polling ended") \
	X(halt_attempted_poll, COUNT, 1, "halts that polled") \
	X(halt_wakeup, COUNT, 1, "halts that slept and were woken") \
	X(halt_poll_success_ns, NS, 1, "time polled with success") \
	X(halt_poll_fail_ns, NS, 1, "time polled in vain") \
	X(halt_wait_ns, NS, 1, "time slept in HLT") \
	X(halt_poll_success_hist, HIST, STATS_HIST_WORDS, "of halt_poll_success_ns") \
	X(halt_poll_fail_hist, HIST, STATS_HIST_WORDS, "of halt_poll_fail_ns") \
	X(halt_wait_hist, HIST, STATS_HIST_WORDS, "of halt_wait_ns") \
	X(blocking, FLAG, 1, "asleep in HLT or waiting for INIT") \
	X(pf_guest, COUNT, 1, "page faults given to the guest") \
	X(tlb_flush, COUNT, 1, "flushes of the whole TLB asked for from outside") \
	X(exits, COUNT, 1, "times the guest was left") \
	X(io_exits, COUNT, 1, "port accesses") \
	X(mmio_exits, COUNT, 1, "MMIO accesses given to user space") \
	X(signal_exits, COUNT, 1, "returns with EINTR") \
	X(halt_exits, COUNT, 1, "HLT instructions") \
	X(request_irq_exits, COUNT, 1, "returns for an interrupt window of user space") \
	X(host_state_reload, COUNT, 1, "returns of KVM_RUN to user space") \
	X(insn_emulation, COUNT, 1, "instructions done in C or against a device") \
	X(insn_emulation_fail, COUNT, 1, "instructions that could not be") \
	X(hypercalls, COUNT, 1, "hypercalls") \
	X(irq_injections, COUNT, 1, "interrupts delivered") \
	X(nmi_injections, COUNT, 1, "NMIs delivered") \
	X(req_event, COUNT, 1, "entries that looked for events") \
	X(nested_run, COUNT, 1, "entries into L2") \
	X(directed_yield_attempted, COUNT, 1, "yields to a vCPU asked for") \
	X(directed_yield_successful, COUNT, 1, "of these, done") \
	X(preemption_reported, COUNT, 1, "preemptions written to the guest's steal time") \
	X(guest_mode, FLAG, 1, "L2 is running") \
	X(units_made, COUNT, 1, "units of guest code translated") \
	X(pages_moved, COUNT, 1, "code pages that took their units to another address") \
	X(units_moved, COUNT, 1, "units that were wanted there and went along") \
	X(code_flushes, COUNT, 1, "times all translations were thrown away") \
	X(direct_stays, COUNT, 1, "times user code ran in a process of its own (STANDIN_DIRECT)") \
	X(direct_turns, COUNT, 1, "times that process was let go") \
	X(direct_fills, COUNT, 1, "... after pages that it did not have were mapped") \
	X(direct_pages, COUNT, 1, "pages that were mapped for them") \
	X(direct_ended, COUNT, 1, "times a program was left to the translator for a while") \
	X(direct_left_syscall, COUNT, 1, "stays that a system call ended") \
	X(direct_left_fault, COUNT, 1, "... a page fault of the guest") \
	X(direct_left_code, COUNT, 1, "... a page that may not run directly") \
	X(direct_left_kick, COUNT, 1, "... work for the vCPU") \
	X(direct_left_other, COUNT, 1, "... something else")

#define VCPU_STATS_ABSENT(X) \
	X(halt_poll_invalid, COUNT, 1, "polls that a wake-up of no use ended (s390 only)") \
	X(pf_taken, COUNT, 1, "page faults of shadow paging") \
	X(pf_fixed, COUNT, 1, "of these, mapped") \
	X(pf_emulate, COUNT, 1, "of these, emulated") \
	X(pf_spurious, COUNT, 1, "of these, already mapped") \
	X(pf_fast, COUNT, 1, "of these, fixed without a lock") \
	X(pf_mmio_spte_created, COUNT, 1, "of these, marked as MMIO") \
	X(invlpg, COUNT, 1, "INVLPGs that were intercepted") \
	X(irq_window_exits, COUNT, 1, "exits because interrupts can be taken now") \
	X(nmi_window_exits, COUNT, 1, "exits because NMIs can be taken now") \
	X(l1d_flush, COUNT, 1, "L1 data cache flushes at entry") \
	X(irq_exits, COUNT, 1, "exits for an interrupt of the host") \
	X(fpu_reload, COUNT, 1, "entries that loaded the vector state") \
	X(preemption_other, COUNT, 1, "other preemptions") \
	X(notify_window_exits, COUNT, 1, "exits of VMX notification")

#define VCPU_STATS(X) VCPU_STATS_KEPT(X) VCPU_STATS_ABSENT(X)

struct vcpu_stats {
#define X(n, kind, words, what) _Atomic u64 n[words];
	VCPU_STATS(X)
#undef X
};

#define vcpu_stat_add(v, field, x) do { \
		_Atomic u64 *p_ = atomic_load_explicit(&(v)->stats, memory_order_relaxed)->field; \
		atomic_store_explicit(p_, atomic_load_explicit(p_, memory_order_relaxed) + (x), \
				      memory_order_relaxed); \
	} while (0)
#define vcpu_count(v, field) vcpu_stat_add(v, field, 1)
#define vcpu_stat_set(v, field, x) \
	atomic_store_explicit(atomic_load_explicit(&(v)->stats, memory_order_relaxed)->field, x, \
			      memory_order_relaxed)

#endif
