/* SPDX-License-Identifier: MIT */
/*
 * base/result.h - the one vocabulary of everything that runs the guest: whether to go on, and if
 * not, why. The translator, its callbacks, the instructions in C and the run loop all answer with
 * it; nobody has to find out afterwards what was meant. Only KVM_RUN itself turns it into an errno.
 */
#ifndef BASE_RESULT_H
#define BASE_RESULT_H

enum cpu_result {
	CPU_OK = 0,	/* done; go on at c->rip */
	CPU_FAULT,	/* c->fault is an exception to deliver; c->rip is at the instruction */

	/* Nothing has happened, and ... */
	CPU_SLOW,	/* it cannot be done in this way: a device, code, a watchpoint, a rare
			 * case */
	CPU_AGAIN,	/* the same is to be tried anew: translations are gone, or have to go */
	CPU_RESUME,	/* the same is to be tried anew where it was: what was missing is there
			 * now */

	/* The guest is left. */
	CPU_USER,	/* struct kvm_run says why: user space's turn */
	CPU_DONE,	/* the instruction is complete; then: its stores to devices, an EOI to
			 * report, L1's #VMEXIT */
	CPU_WORK,	/* the run loop has something to look at: a halt, a request, another guest
			 * mode */
	CPU_POLL,	/* c->poll was set, and has been cleared */
	CPU_STEP,	/* single_step: one instruction has retired */
	CPU_SHUTDOWN,	/* an exception that cannot be delivered any more (APM2 8.2.9) */
	CPU_UNBACKED,	/* what is to be executed is not in memory */
	CPU_NOMEM,	/* no room to translate it, though all else has been thrown away */
	CPU_EFAULT,	/* the VMM's memory behind a slot cannot be accessed */
	CPU_DEAD,	/* the VM is: nothing more can be asked of it */
	CPU_EINTR,	/* a signal of the VMM's waits */
};

#endif
