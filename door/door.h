/* SPDX-License-Identifier: MIT */
/*
 * door/door.h - the second door: between the files of door/. docs/doors.md tells how it works.
 *
 * Words: a *trap* is a SIGSYS that our filter raised for a system call of the program; a *region*
 * is the memory that we own for one thread of the process. "Inside" is a thread whose stack pointer
 * is in its region.
 */
#ifndef DOOR_DOOR_H
#define DOOR_DOOR_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <ucontext.h>

#include "base/raw.h"
#include "base/types.h"
#include "base/user.h"

/* Addresses by their upper half. Our own object is linked where nothing else ever is, so that a
 * filter can tell its system calls, also after an exec and in another instance of us. Programs that
 * can be moved, and what they map from files, come into the range before it, where the kernel puts
 * nothing by itself. */
#define DOOR_HI 0x5540u
#define PROGRAM_HI_FIRST 0x5500u
#define PROGRAM_HI_END 0x5540u
#define PROGRAM_BASE ((u64)PROGRAM_HI_FIRST << 32)
#define LOADER_BASE (PROGRAM_BASE + (0x20ull << 32))
#define MAPPED_BASE (PROGRAM_BASE + (0x30ull << 32))
#define MAPPED_END ((u64)PROGRAM_HI_END << 32)
/* Our own memory: behind what the program's break, which begins behind our object, is left. */
#define HEAP_BASE 0x554800000000ull
#define HEAP_BYTES (4ull << 30)
#define REGIONS_BASE (HEAP_BASE + HEAP_BYTES)
#define REGIONS_END 0x555000000000ull

/* As the kernel has it. */
struct ksigaction {
	u64 handler;
	u64 flags;
	u64 restorer;
	u64 mask;
};

struct kucontext {
	u64 flags;
	u64 link;
	stack_t stack;
	greg_t gregs[NGREG];
	u64 fpstate;
	u64 reserved[8];
	u64 sigmask;
};

struct ksigframe {
	u64 restorer;
	struct kucontext uc;
	u8 info[128];
};

/* How much the kernel has saved at uc->fpstate (struct _fpx_sw_bytes). */
static inline size_t fpstate_bytes(const struct kucontext *uc)
{
	const struct {
		u32 magic, size;
	} *sw = user_ptr(uc->fpstate + 464);

	return sw->magic == 0x46505853 ? sw->size : 512;
}

#define SIGBIT(sig) BIT64((sig) - 1)
#define FAULT_BITS \
	(SIGBIT(SIGSEGV) | SIGBIT(SIGBUS) | SIGBIT(SIGFPE) | SIGBIT(SIGILL) | SIGBIT(SIGTRAP))

enum {
	REGION_BYTES = 512 << 10,	/* and alignment: the stack pointer tells the region */
	REGION_GUARD = 4096,
};

/* At REGION_GUARD of its region; the signal stack follows, then what pthread_create() puts at the
 * end. Fields are the thread's own, except where noted. */
struct door_thread {
	u64 fs;			/* of our libc on this thread */
	_Atomic u64 masked;	/* signals held since the last hot call began (hot.h) */
	u32 hot;		/* its number, if it is known to hot.c */
	stack_t alt;		/* the program's signal stack, as it set it */
	stack_t disarmed;	/* the same while a handler runs (SS_AUTODISARM) */
	u64 unblocked;		/* signals it has blocked, but the kernel does not know */
	_Atomic u32 held;	/* a signal waits for the end of this trap */
	u32 trapped;		/* door_pass(): a filter of the program's answered with a trap */
	u8 trap_info[128];	/* its siginfo */
	bool other_process;	/* vfork: our memory, but not our process */
	struct door_thread *next;	/* gone threads, under thread_lock */
	_Atomic u32 gone;
	pthread_t libc;
	u32 libc_tid;
};

static inline struct door_thread *region_thread(u64 base)
{
	return (struct door_thread *)(uintptr_t)(base + REGION_GUARD);
}

static inline u64 region_base(const struct door_thread *t)
{
	return (u64)(uintptr_t)t - REGION_GUARD;
}

static inline bool inside(const struct door_thread *t, const struct kucontext *uc)
{
	return (u64)uc->gregs[REG_RSP] - region_base(t) < REGION_BYTES;
}

/* -- entry.c: what has to be assembly -- */
extern const char door_signal_entry[], door_signal_entry_slow[], door_restorer[], door_rearm[];
extern bool door_has_fsgsbase;	/* set before the first signal */
u64 door_get_fs(void);
/* Leave for the program: at rip with this stack pointer, registers as after exec. */
_Noreturn void door_start(u64 rip, u64 rsp, u64 fs);
/* Enter a handler of the program: see deliver(). */
_Noreturn void door_enter(u64 sig, u64 info, u64 uc, u64 handler, u64 rsp, u64 fs);
/* clone() or clone3() of what is to return to the program through the frame at `frame`. */
long door_clone_to(long nr, const u64 args[5], u64 frame, u64 fs);
_Noreturn void door_exit_thread(_Atomic u32 *gone, long status);
_Noreturn void door_exit_donor(_Atomic u32 *ready);
/* A system call as if from the program's text, where its filters judge it. -errno, or DOOR_RESTART:
 * a signal has come, deliver it and make the call again; DOOR_TRAPPED: t->trapped. */
#define DOOR_RESTART (-600)
#define DOOR_TRAPPED (-601)
int door_pass_init(void);
long door_pass_call(struct door_thread *t, long nr, const u64 a[6]);
/* What does not block: no signal needs to interrupt it. */
long door_pass_now(struct door_thread *t, long nr, const u64 a[6]);
#define PASS(t, nr, ...) PASS_(t, nr, __VA_ARGS__ __VA_OPT__(,) 0, 0, 0, 0, 0, 0)
#define PASS_(t, nr, a, b, c, d, e, f, ...) \
	door_pass_call(t, nr, (const u64[6]){ RAW_ARG(a), RAW_ARG(b), RAW_ARG(c), RAW_ARG(d), \
					      RAW_ARG(e), RAW_ARG(f) })
/* Is rip in that code? Before or at its system call: true, and *again is where to go on instead. */
bool door_pass_unstarted(u64 rip, u64 *again);
bool door_pass_trapped(u64 rip);	/* just behind its system call */

/* -- thread.c -- */
int threads_init(void);		/* the main thread's region */
struct door_thread *thread_main(void);
/* What is to be in RAX, in parent and child. *fs: the child of a fork may have another. */
long thread_clone(struct door_thread *t, struct kucontext *uc, u64 *fs, long nr, const u64 a[6]);
_Noreturn void thread_exit(struct door_thread *t, long status);

/* -- signal.c -- */
int signals_init(void);
long signal_action(struct door_thread *t, const u64 a[6]);
long signal_stack(struct door_thread *t, const struct kucontext *uc, const u64 a[6]);
long signal_mask(struct door_thread *t, struct kucontext *uc, const u64 a[6]);
void signal_engine_started(void);
void signals_clear(void);	/* handlers of the program's become the default */
void signal_around_exec(const struct door_thread *t, bool undo);
/* Called by the entry stub for every signal. fs: what FS was. */
u64 door_signal(int sig, siginfo_t *info, void *uc, u64 fs, struct door_thread *t);
void signals_block(u64 *old);
void signals_restore(const u64 *old);

/* -- call.c: one trapped call -- */
/* What to give back in RAX; DOOR_RESTART and DOOR_TRAPPED as above. */
long door_call(struct door_thread *t, struct kucontext *uc, u64 *fs);

/* -- file.c: the node, and what else is not as the kernel says -- */
enum { DOOR_PATH = 4096 };
long file_call(struct door_thread *t, long nr, const u64 a[6]);
/* program: what /proc/self/exe is to say, NULL: the kernel says it right. */
void file_init(const char *program);
/* path, or what it is to mean where it is /proc/self/exe. */
const char *file_program_of(const char *path);
/* 0 or -errno: a path of the program's memory. */
int user_path(char out[DOOR_PATH], u64 user);

/* -- exec.c -- */
long exec_call(struct door_thread *t, long nr, const u64 a[6]);
void exec_init(const char *self);

/* -- fds.c: descriptors that are ours -- */
long fd_call(struct door_thread *t, long nr, const u64 a[6]);
int fd_engine_start(void);
void fd_watch(void);	/* calls that concern descriptors are trapped from now on */

/* -- filter.c -- */
enum { DOOR_TRAP_DATA = 0xd00a };	/* SECCOMP_RET_DATA of our filter */
int filter_install(u64 first, u64 end);	/* the program's own text, if it is somewhere else */
int filter_install_fds(void);
long filter_program(struct door_thread *t, long nr, const u64 a[6]);
extern _Atomic bool filter_program_has;	/* the program has installed a filter of its own */
extern bool filter_no_privileges;	/* ours could not be had without no_new_privs */

/* -- sbrk.c -- */
void heap_init(void);

/* -- load.c -- */
struct image {
	u64 base, end;		/* addresses */
	u64 bias;
	u64 entry;
	u64 phdr;
	u32 phnum;
	char interp[DOOR_PATH];
};
/* 0 or -errno. near: where an image that can be moved is put. */
int image_load(int fd, u64 near, struct image *im);

#endif
