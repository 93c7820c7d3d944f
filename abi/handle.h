/* SPDX-License-Identifier: MIT */
/*
 * abi/handle.h - file descriptors that are KVM objects.
 *
 * Every handle is a memfd, so dup, poll, close-on-exec, fork and SCM_RIGHTS are
 * the kernel's. What object an fd is follows from its inode. Asking fstat(2) on
 * every ioctl would cost more than a KVM_RUN round trip, hence a cache indexed
 * by fd number, kept right by three rules:
 *
 *  1. close, dup*, fcntl(F_DUPFD*), close_range and closefrom are interposed and
 *     keep the entry of each fd they touch; an entry owns one reference.
 *  2. An fd without an entry (dup by raw system call, SCM_RIGHTS, inherited
 *     through exec) is resolved by fstat once, and then has one.
 *  3. An entry left behind by a raw close is harmless: only ioctls of type 0xAE
 *     look at it, and a new KVM fd under that number overwrites it.
 *
 * An object is released when its last counted fd is closed. Mappings of a vCPU
 * fd outlive it as they do in KVM, since they belong to the memfd. A VM is kept
 * by its own fds and by those of its vCPUs. An fd on its way through a socket
 * has no entry anywhere: objects that were sent are asked of the kernel (lend.c).
 *
 * struct handle is type-stable memory (recycled, never unmapped): a reader may
 * take a reference on a handle that is being freed, notice by re-reading the
 * entry, and drop it again.
 */
#ifndef ABI_HANDLE_H
#define ABI_HANDLE_H

#include <stdatomic.h>
#include <sys/types.h>

#include "base/types.h"

struct stat;
struct vm;
struct vm_vcpu;

enum handle_kind { HANDLE_SYSTEM, HANDLE_VM, HANDLE_VCPU, HANDLE_DEVICE };

struct handle {
	_Atomic u32 refs;	/* entries + running ioctls; 0 = free or being freed */
	u8 kind;
	u32 fork_gen;		/* value of handle_fork_gen when made */
	dev_t dev;
	ino_t ino;
	struct vm *vm;		/* all but the system: one VM reference */
	struct vm_vcpu *_Atomic vcpu;	/* NULL until the vCPU is complete */
	struct handle *next;	/* hash chain or free list; handle_lock */
	_Atomic int lent_fd;	/* see handle_lend(), -1: not lent; set once, under handle_lock */
};

/* Counts fork()s on the way to this process: objects of the parent answer -EIO,
 * like KVM's when the mm differs. Written in the atfork child handler only. */
extern u32 handle_fork_gen;
static inline bool handle_foreign_mm(const struct handle *h)
{
	return h->fork_gen != handle_fork_gen;
}

/* Make a memfd of `size` bytes and its handle. The fd, or -errno. Takes over one VM reference
 * on success. open_flags: O_CLOEXEC or 0. */
int handle_new(enum handle_kind kind, size_t size, int open_flags, struct vm *vm,
	       struct vm_vcpu *vcpu);
/* A descriptor of the system object that is only a name: O_PATH, without a handle. open_flags: of
 * open(2). The fd, or -errno. */
int handle_new_path(int open_flags);
/* Is this inode the system object's? Also in a process that has never had a handle. */
bool handle_is_system(const struct stat *st);
/* The object behind fd with a reference, or NULL: not ours. */
struct handle *handle_get(int fd);
/* The same without the fstat for unknown fds. */
struct handle *handle_peek(int fd);
void handle_put(struct handle *h);

/* For the interposed descriptor calls. take: forget fd's entry before it is
 * closed; its reference (or NULL) goes to the caller, who gives it back after the close. */
struct handle *handle_take(int fd);
void handle_closed(int fd, struct handle *h);	/* h: what take gave, or NULL */
/* fd is about to be sent with SCM_RIGHTS: from now on its object lives until the kernel
 * has no reference to the open file left, here, in flight or in another process. */
void handle_lend(int fd);
bool handle_any(void);	/* false: this process has never had a KVM object */
/* Around the system call that makes `to` (negative: it failed) what `from` is: the object is held
 * meanwhile, so that it does not end when `from` is closed at the same time. Not around dup2() of
 * a number to itself; dup() may give the number that was copied, if another thread closes it.
 * end: false if `from` was closed, and its number given to something else, before it was copied:
 * `to` is that, without an entry, and the object behind it may have ended. */
struct handle *handle_dup_begin(int from);
bool handle_dup_end(struct handle *h, int to);
/* Forget [lo, hi] (close_range after it has succeeded). */
void handle_forget(u32 lo, u32 hi);
/* False in a vfork child: the tables are the parent's. */
bool handle_own_process(void);
/* An fd that we keep on an object's memfd: whoever uses its number by mistake gets nothing of
 * the object, and no reference to it. It is to be closed by handle_close_own(). */
void handle_hide(int fd);
void handle_close_own(int fd);
void handle_init(void);

/* -- between handle.c and lend.c; handle_lock is held -- */
int lend_start(int fd);		/* the value of lent_fd, or -1 */
bool lend_is_over(int lent_fd);
/* Hand the last reference to a thread that drops it when lending is over. 0 or -errno. */
int lend_wait(struct handle *h);

#endif
