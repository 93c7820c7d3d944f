/* SPDX-License-Identifier: MIT */
/* tests/fuzz/ioctl_args.h - an argument for any KVM request: plausible, on the border, or wrong. */
#ifndef FUZZ_IOCTL_ARGS_H
#define FUZZ_IOCTL_ARGS_H

#include "base/types.h"
#include "tests/fuzz/code.h"

enum fd_kind { FD_SYSTEM, FD_VM, FD_VCPU, FD_KINDS };

enum {
	ARENA_BYTES = 1 << 20,		/* memory that guests may have */
	ARENA_RESERVED = 1u << 31,	/* nothing else lies in the address space up to there */
	BUF_BYTES = 64 << 10,
	EVENTFDS = 4,
	KICK_SIGNAL = 10,		/* SIGUSR1: no signal mask of a vCPU may hold it back */
};

/* One thread's means. */
struct args {
	u64 rng;
	u8 *buf;		/* BUF_BYTES, with an inaccessible page behind */
	u8 *readonly;		/* a page */
	u8 *arena;
	int eventfd[EVENTFDS];
};

struct request {
	const char *name;
	u32 code;
	enum fd_kind kind;
	u8 how;			/* enum how */
	u8 weight;		/* of 16; the rest is drawn again */
};
enum how { HOW_NONE, HOW_ZERO, HOW_VAL, HOW_IN, HOW_OUT, HOW_IO, HOW_RAW };

extern const struct request requests[];
extern const u32 nr_requests;

static inline u64 pick(struct args *a, u64 n)
{
	return random_next(&a->rng) % n;
}
/* A number that somebody may have got wrong. */
u64 border(struct args *a);
/* Memory maps, 0 <= i < 8: always the same, so that slots meet each other. */
u64 some_gpa(struct args *a);
/* The argument of `r`, in a->buf where it is an address. fd: the object, asked for its present
 * state as a base to change. */
unsigned long make_arg(struct args *a, const struct request *r, int fd);

#endif
