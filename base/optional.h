/* SPDX-License-Identifier: MIT */
/*
 * base/optional.h - system calls of the run path that it can do without.
 *
 * KVM_RUN is one system call, and a program may confine its vCPU threads to that with seccomp. What
 * KVM_RUN itself needs here is short (docs/run-path.md). Beyond it there are calls that make things
 * faster or more exact: they are made unless a filter that the program has installed refuses them.
 */
#ifndef BASE_OPTIONAL_H
#define BASE_OPTIONAL_H

#include <stdatomic.h>

#include "base/types.h"

struct sock_filter;

/* X(name, system call, what for) */
#define OPTIONAL_CALLS(X) \
	X(YIELD, sched_yield, "polling in HLT offers the CPU to others") \
	X(RUSAGE, getrusage, "polling in HLT sees that another task had the CPU") \
	X(LOAD, pread64, "polling in HLT sees that the host is busy") \
	X(POPULATE, madvise, "pages of code memory come several at a time") \
	X(SLACK, prctl, "a halted vCPU's timer is not up to 50 us late") \
	X(OWN, getpid, "a write to an irqfd raises the interrupt without another thread") \
	X(STEAL_OPEN, openat, "steal time: the thread's schedstat") \
	X(STEAL_READ, read, "the same") \
	X(STEAL_CLOSE, close, "the same") \
	X(LOOK, epoll_ctl, "an irqfd ends with its eventfd; as getpid, pread64 and close") \
	X(LOOK_AT, fcntl, "the same")
enum optional_call {
#define X(n, call, why) OPTIONAL_##n,
	OPTIONAL_CALLS(X)
#undef X
	OPTIONAL_COUNT
};

extern _Atomic u32 optional_refused;	/* one bit each; bits are only ever set */

static inline bool optional_may(enum optional_call c)
{
	return !(atomic_load_explicit(&optional_refused, memory_order_relaxed) & BIT(c));
}

/* A seccomp filter is about to be installed, on whatever thread. */
void optional_filter(const struct sock_filter *code, u32 n);
/* SECCOMP_MODE_STRICT, or a filter that cannot be read. */
void optional_refuse_all(void);

#endif
