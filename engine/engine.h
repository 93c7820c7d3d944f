/* SPDX-License-Identifier: MIT */
/*
 * engine/engine.h - what the rest of standin asks of the translator.
 *
 * Thread rule: every function with a `struct cpu *` runs on that CPU's own
 * thread (or under its vCPU lock while it is not running), except
 * engine_kick().
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "base/work.h"
#include "engine/cpu.h"
#include "engine/insn.h"

/* A code page as cpu_ops.fetch resolves it. */
struct fetch_page {
	u64 gpa;	/* of the page */
	const u8 *host;	/* its bytes; NULL: not backed by memory (execution from MMIO) */
	bool global;	/* the mapping survives a CR3 load */
};

/* Allocate a zeroed struct cpu (below 2 GiB) with its engine. NULL + errno. */
/* `near`: where its reservation should be, if it is free there; NULL: anywhere. */
struct cpu *engine_cpu_create(void *near);
void engine_cpu_destroy(struct cpu *c);
/* Is any of its memory in [at, at + bytes)? */
bool engine_cpu_within(const struct cpu *c, const void *at, u64 bytes);

/* Process-wide, idempotent: host feature checks. 0, or -ENOTSUP. */
int engine_init(void);

/* To be called first for SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGTRAP: true when
 * translated code raised it and it has been turned into a guest exception. */
bool engine_signal(int sig, void *siginfo, void *ucontext);

/* Run from c->rip until something is not CPU_OK: what a callback has answered, or the engine itself
 * (CPU_FAULT, CPU_AGAIN, CPU_POLL, CPU_STEP, CPU_UNBACKED, CPU_NOMEM, CPU_EFAULT). */
enum cpu_result engine_run(struct cpu *c);

/* CPU_EFAULT: the host address that could not be accessed. */
u64 engine_fault_address(const struct cpu *c);

/* What the engine has done since the vCPU was made; its own thread reads it. */
struct engine_counts {
	union {
		struct {
#define X(name, what) u64 name;
			ENGINE_WORK(X)
#undef X
		};
		u64 n[WORK_COUNT];
	};
};
const struct engine_counts *engine_counts(const struct cpu *c);
/* engine_run() or a callback was left by a jump over its head: be ready to run again. */
void engine_abandon(struct cpu *c);

/* Any thread: make `c` leave translated code soon. */
static inline void engine_kick(struct cpu *c)
{
	atomic_store_explicit(&c->poll, 1, memory_order_release);
	atomic_store_explicit(&c->poll_sp, ~0ull, memory_order_release);
	if (unlikely(c->direct))
		c->direct->call_back(c);
}

/* The short cuts of this CPU; c->apic_page says when the first two may be taken. */
void engine_set_apic(struct cpu *c, const struct cpu_apic_ops *ops);

/* The guest's CPUID is another one: these are the instructions it lacks (enum insn_feature). */
void engine_cpuid_changed(struct cpu *c, u64 missing);

/* Bring the guest's vector state into c->xsave (XSAVE standard form, no
 * compaction) so that C may read, change or clobber it. Idempotent. */
void engine_fpu_save(struct cpu *c);
/* In c->xsave, where it has just been saved: the guest's pointers to its last x87 instruction. */
void engine_x87_pointers(struct cpu *c);

/* -- called by mmu/ -- */
/* Linear-to-physical mappings of L1 or L2 may have changed: forget execute
 * translations. global: also those marked global. */
void engine_itlb_flush(struct cpu *c, bool l2, bool global);
void engine_itlb_flush_page(struct cpu *c, bool l2, u64 gva);
/* Guest-physical bytes were written by this CPU's slow path, or (other CPUs,
 * the VMM) may have been: drop blocks made from [gpa, gpa+len). */
void engine_code_written(struct cpu *c, u64 gpa, u32 len);
/* Something outside may have written any code: revalidate before executing. */
void engine_code_suspect(struct cpu *c);
/* The same; but code run since the last time is compared at once if it is little. Reads guest
 * memory: the map must be the current one. */
void engine_code_recheck(struct cpu *c);
/* The same where an event or instruction has serialised: what is executed from now on is what is
 * in memory now, whoever has written it. often: of a kind that may come a hundred thousand times a
 * second. */
void engine_serialise(struct cpu *c, bool often);
/* The same of the page of gpa only. */
void engine_page_suspect(struct cpu *c, u64 gpa);
/* The guest-physical map is another one: hold pages by its counts, compare all code again. */
void engine_map_changed(struct cpu *c);
/* Throw all translations away (slot changes, debug). */
void engine_flush_all(struct cpu *c);

#endif
