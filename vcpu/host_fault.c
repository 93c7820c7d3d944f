/* SPDX-License-Identifier: MIT */
/*
 * vcpu/host_fault.c - the VMM's memory behind a slot cannot be accessed: unmapped, without
 * the right, or a file that has become shorter. KVM_RUN is -EFAULT, with the address in
 * kvm_run.memory_fault (KVM_CAP_MEMORY_FAULT_INFO).
 *
 * The access may be translated code's (CPU_EFAULT) or any C function's below
 * KVM_RUN: injection, page walks, string instructions, fetching code. For the latter the
 * whole KVM_RUN is abandoned at its guard; no lock is held where guest memory is touched.
 */
#include <errno.h>
#include <signal.h>
#include <ucontext.h>

#include "base/siginfo.h"
#include "mmu/mmu.h"
#include "vcpu/vcpu_priv.h"

/* Newer than the oldest headers we build with. */
enum { EXIT_MEMORY_FAULT = 39 };

static bool host_to_gpa(const struct vcpu *v, u64 hva, u64 *gpa)
{
	const struct phys_map *m =
		v->c->phys ? atomic_load_explicit(&v->c->phys->map, memory_order_acquire) : NULL;

	if (!m)
		return false;
	phys_for_each_slot(m, s) {
		u64 off = hva - (u64)(uintptr_t)s->hva;

		if (off < s->size) {
			*gpa = s->gpa + off;
			return true;
		}
	}
	return false;
}

enum cpu_result exit_memory_fault(struct vcpu *v, u64 hva)
{
	/* flags, gpa and size, where struct kvm_run has its union. */
	u64 *info = (u64 *)(void *)&v->run->hw;
	u64 gpa;

	if (host_to_gpa(v, hva, &gpa)) {
		v->run->exit_reason = EXIT_MEMORY_FAULT;
		info[0] = 0;
		info[1] = gpa & PAGE_MASK;
		info[2] = PAGE_SIZE;
	}
	return CPU_EFAULT;
}

/* The vCPU whose guard this thread has set. */
static __thread struct vcpu *guarding __attribute__((tls_model("initial-exec")));

bool vcpu_host_fault(int sig, void *siginfo, void *ucontext)
{
	struct vcpu *v = guarding;
	const siginfo_t *si = siginfo;
	u64 gpa;

	if (!v || !v->p->guarded || (sig != SIGSEGV && sig != SIGBUS) || !siginfo_is_fault(sig, si))
		return false;
	if (!host_to_gpa(v, (u64)(uintptr_t)si->si_addr, &gpa))
		return false;
	v->p->guarded = false;
	v->p->fault_hva = (u64)(uintptr_t)si->si_addr;
	guard_land(&v->p->guard, ucontext);
	return true;
}

/* Before the vCPU may go away. */
void vcpu_unguard(struct vcpu *v)
{
	guarding = NULL;
	v->p->guarded = false;
}

int vcpu_run_guarded(struct vcpu *v, int (*run)(struct vcpu *v))
{
	struct vcpu_priv *p = v->p;
	int r;

	if (guard_set(&p->guard)) {
		guard_landed();
		guarding = NULL;
		engine_abandon(v->c);
		vcpu_alone(v, false);
		mmu_flush_all(v->c);
		atomic_store(&v->servicing, 0);
		vcpu_undeliver(v);
		p->insn = NULL;
		v->c->accessing = NULL;
		exit_memory_fault(v, p->fault_hva);
		return -EFAULT;
	}
	guarding = v;
	p->guarded = true;
	r = run(v);
	vcpu_unguard(v);
	return r;
}

int vcpu_mem_do(struct vcpu *v, int (*fn)(struct vcpu *v, void *arg), void *arg)
{
	struct vcpu_priv *p = v->p;
	int r;

	if (vcpu_current() == v)	/* within KVM_RUN and its guard */
		return fn(v, arg);
	vcpu_mem_begin(v);
	if (guard_set(&p->guard)) {
		guard_landed();
		guarding = NULL;
		mmu_flush_all(v->c);
		atomic_store(&v->servicing, 0);
		r = -EFAULT;
	} else {
		guarding = v;
		p->guarded = true;
		r = fn(v, arg);
		vcpu_unguard(v);
	}
	vcpu_mem_end(v);
	return r;
}
