/* SPDX-License-Identifier: MIT */
/* vcpu/sigmask.c - the signals that are blocked while a vCPU runs (KVM_SET_SIGNAL_MASK). */
#include <signal.h>

#include "vcpu/vcpu_priv.h"

/* Translated code raises these; one that is blocked when a fault raises it kills the process. */
#define FAULT_SIGNALS (BIT64(SIGSEGV - 1) | BIT64(SIGBUS - 1) | BIT64(SIGFPE - 1) | \
		       BIT64(SIGILL - 1) | BIT64(SIGTRAP - 1))

int vcpu_set_signal_mask(struct vcpu *v, const void *sigset8)
{
	struct vcpu_priv *p = v->p;

	p->sigmask_set = sigset8;
	if (sigset8) {
		u64 mask;

		__builtin_memcpy(&mask, sigset8, 8);
		mask &= ~FAULT_SIGNALS;
		cpu_zero(&p->sigmask, sizeof(p->sigmask));
		cpu_copy(&p->sigmask, &mask, 8);
		/* Most likely this is the vCPU's thread: nothing is left to do in KVM_RUN. */
		vcpu_signals_held(v);
	}
	return 0;
}
