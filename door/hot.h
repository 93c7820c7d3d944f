/* SPDX-License-Identifier: MIT */
/*
 * door/hot.h - KVM_RUN without a trap, where the program makes it often: between door/hot.c and
 * door/hot_entry.c, and what the rest of door/ may use of them.
 *
 * A *site* is a system call instruction of the program's text that has been rewritten to a jump,
 * its *stub* is where the jump goes.
 */
#ifndef DOOR_HOT_H
#define DOOR_HOT_H

#include "door/door.h"

enum {
	HOT_TIDS = 1 << 16,	/* a power of two: the entry takes the low 16 bits */
	HOT_BYTES = 20 << 10,	/* of a region, below its stack */
	HOT_BELOW = 64,		/* of these, below the frame */
};

struct hot_site {
	u64 again;	/* as if the call had not begun */
	u64 call;	/* a system call instruction that is not rewritten, RAX being set */
	u64 back;	/* behind the call */
	u64 stub, end;
	u64 called;	/* in the stub, behind its own system call; or 0 */
};

/* In a thread's region: the frame of a trap that the kernel has not made. hot_entry.c pushes on
 * what is below. */
struct hot_frame {
	struct ksigframe frame;
	u64 thread;
	u64 top;	/* of its signal stack */
	u64 xmask;	/* XSAVE: what the kernel saves in its frames */
};

/* From a thread's number to its frame; no other thread's slot is ever changed. */
extern _Atomic u32 hot_tid[HOT_TIDS];
extern u64 hot_frames[HOT_TIDS];

/* -- hot_entry.c -- */
extern const u8 hot_entry[], hot_missed[], hot_inside[], hot_window[], hot_leave[],
	hot_window_end[], hot_slow[];

/* -- hot.c -- */
void hot_init(u64 first, u64 end);	/* the program's own text */
/* KVM_RUN was trapped; its frame. */
void hot_seen(struct door_thread *t, const struct kucontext *uc);
void hot_gone(struct door_thread *t);	/* it ends */
void hot_forked(struct door_thread *t);	/* the only thread of a new process */
/* A signal came to the program: nothing of ours is to be seen. */
void hot_outside(struct kucontext *uc);
/* A signal was held that the way out would leave blocked. */
void hot_held(const struct door_thread *t, struct kucontext *uc);

/* signal.c: as a trap. What FS is to be; t->masked: the signal mask is to be restored. */
u64 hot_call(struct door_thread *t, struct kucontext *uc, u64 fs);

#endif
