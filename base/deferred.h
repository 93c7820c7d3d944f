/* SPDX-License-Identifier: MIT */
/*
 * base/deferred.h - handlers of the program that wait until its request is done.
 *
 * In KVM a request is a system call: a handler never runs in the middle of one, and what ends
 * KVM_RUN is that a signal is *pending*. Here a request is code of the program's own process. A
 * handler that ran inside of it would meet a locked vCPU or VM, and one that jumps away
 * (siglongjmp) would leave it locked.
 *
 * Whoever owns the program's signal handlers keeps one struct deferred a thread. While the thread
 * is inside a request, the function that the kernel calls for a signal gives it to
 * deferred_take(), says so to vcpu_signal_seen() if that took it, and returns; when the request is
 * done and nothing is locked any more, deferred_run() calls the handlers. Faults
 * (siginfo_is_fault()) are never deferred.
 *
 * What the kernel would have seen to is kept: the signal and what its handler masks are blocked
 * from the moment it is taken, so that what is queued behind it stays queued, in its order; the
 * handler runs with sa_mask, on the alternate stack if it wants that, gets the whole siginfo, and a
 * context that it may read, change, or never return to.
 *
 * No libc, no thread-local storage: usable where the program's are not to be touched. A struct
 * deferred is used by its own thread and by handlers on that thread, which may nest while the
 * request runs; no locks.
 */
#ifndef BASE_DEFERRED_H
#define BASE_DEFERRED_H

#include <signal.h>
#include <stdatomic.h>
#include <ucontext.h>

#include "base/types.h"

/* The first, one that came in spite of its mask, and the five that are never blocked. */
#define DEFERRED_MAX 7

/* What was asked of sigaction(2). */
struct deferred_action {
	void (*handler)(int sig, siginfo_t *info, void *ucontext);
	u64 mask;
	u32 flags;	/* SA_* */
};

struct deferred {
	_Atomic u32 n;	/* handlers that wait */
	bool now_known;
	u64 never;	/* signals that must not be blocked on this thread; set by the owner */
	u64 now;	/* the thread's mask while n is not 0, if now_known ... */
	u64 resume;	/* ... and what it is to be when all handlers have run */
	/* Of the thread, as the kernel's frames show them. */
	stack_t alt;
	u64 uc_flags, segments;
	struct deferred_signal {
		siginfo_t info;
		struct deferred_action a;
	} q[DEFERRED_MAX];
};

/* From a signal handler, with the kernel's context. False: no room, the handler is to run now. */
bool deferred_take(struct deferred *d, int sig, const siginfo_t *info, ucontext_t *uc,
		   const struct deferred_action *a);
/* A request begins although n is not 0: a handler has jumped away, or makes a request itself. */
void deferred_again(struct deferred *d);
/* The request has changed the thread's mask and put it back to what it is outside of it. */
void deferred_mask_restored(struct deferred *d, u64 mask);
/* Call the handlers, oldest first. May not return. */
void deferred_run(struct deferred *d);

#endif
