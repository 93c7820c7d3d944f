/* SPDX-License-Identifier: MIT */
/* abi/handle.c - see handle.h. */
#include "abi/handle.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memfd.h"
#include "base/sys.h"
#include "vm/vm.h"

#define CHUNK_BITS 10
#define CHUNK_FDS (1u << CHUNK_BITS)
#define CHUNKS 4096
#define HASH_SIZE 1024

struct chunk {
	_Atomic(struct handle *) fd[CHUNK_FDS];
};
/* Grows only; a chunk is published once and never freed. */
static _Atomic(struct chunk *) chunks[CHUNKS];

static pthread_mutex_t handle_lock = PTHREAD_MUTEX_INITIALIZER;
static struct handle *hash[HASH_SIZE];	/* handle_lock */
static struct handle *free_list;	/* handle_lock */
static u32 live_count;			/* handle_lock */
/* Lets processes that never touch KVM skip everything. */
static _Atomic bool any_handle;

/* The entry of an fd of our own on an object's memfd; counts as none. Never released. */
static struct handle hidden = { .refs = 1u << 30 };

u32 handle_fork_gen = 1;
/* Threads between making an object's memfd and publishing the object: a number that another thread
 * guesses (or remembers of an object that is gone) may then name what is not to be adopted. */
static _Atomic u32 making;
static pid_t own_pid;			/* atfork child handler and handle_init() */

static const char *const memfd_name[] = {
	[HANDLE_SYSTEM] = "standin:kvm",
	[HANDLE_VM] = "standin:kvm-vm",
	[HANDLE_VCPU] = "standin:kvm-vcpu",
	[HANDLE_DEVICE] = "standin:kvm-vfio",
};

static void fork_prepare(void)
{
	pthread_mutex_lock(&handle_lock);
}

static void fork_parent(void)
{
	pthread_mutex_unlock(&handle_lock);
}

static void fork_child(void)
{
	handle_fork_gen++;
	atomic_store(&making, 0);	/* those threads are the parent's */
	own_pid = sys_getpid();
	vm_irqfd_forked();	/* the interrupts are the parent's */
	pthread_mutex_unlock(&handle_lock);
}

void handle_init(void)
{
	if (own_pid)
		return;
	own_pid = sys_getpid();
	if (pthread_atfork(fork_prepare, fork_parent, fork_child))
		log_error("pthread_atfork failed: objects will not be fenced after fork");
}

bool handle_own_process(void)
{
	return own_pid == sys_getpid();
}

static _Atomic(struct handle *) *slot_of(int fd, bool make)
{
	u32 n = (u32)fd >> CHUNK_BITS;
	struct chunk *c, *fresh;

	if (fd < 0 || n >= CHUNKS)
		return NULL;
	c = atomic_load_explicit(&chunks[n], memory_order_acquire);
	if (!c && make) {
		fresh = calloc(1, sizeof(*fresh));
		if (!fresh)
			return NULL;
		if (atomic_compare_exchange_strong(&chunks[n], &c, fresh))
			c = fresh;
		else
			free(fresh);
	}
	return c ? &c->fd[(u32)fd % CHUNK_FDS] : NULL;
}

static bool ref_unless_zero(struct handle *h)
{
	u32 r = atomic_load_explicit(&h->refs, memory_order_relaxed);

	do {
		if (!r)
			return false;
	} while (!atomic_compare_exchange_weak(&h->refs, &r, r + 1));
	return true;
}

static struct handle **hash_head(ino_t ino)
{
	return &hash[(ino ^ (ino >> 10)) % HASH_SIZE];
}

/* handle_lock held. */
static struct handle *hash_find(dev_t dev, ino_t ino)
{
	for (struct handle *h = *hash_head(ino); h; h = h->next)
		if (h->ino == ino && h->dev == dev)
			return h;
	return NULL;
}

static void handle_release(struct handle *h)
{
	struct handle **p;
	int lent, ring;

	pthread_mutex_lock(&handle_lock);
	lent = atomic_load(&h->lent_fd);
	if (unlikely(lent >= 0)) {
		if (!handle_foreign_mm(h) && !lend_is_over(lent)) {
			atomic_store(&h->refs, 1);
			if (!lend_wait(h)) {
				pthread_mutex_unlock(&handle_lock);
				return;
			}
			atomic_store(&h->refs, 0);
		}
		atomic_store(&h->lent_fd, -1);
	}
	for (p = hash_head(h->ino); *p && *p != h; p = &(*p)->next)
		;
	if (*p)
		*p = h->next;
	live_count--;
	pthread_mutex_unlock(&handle_lock);
	if (unlikely(lent >= 0))
		handle_close_own(lent);
	/* In a fork child the VM's threads do not exist and its memory is a copy:
	 * nothing there can be shut down in order. It is given up instead. */
	if (!handle_foreign_mm(h)) {
		if (h->kind == HANDLE_VM)
			vm_release(h->vm);
		else if (h->kind == HANDLE_DEVICE)
			atomic_store(&h->vm->vfio, false);
		ring = h->kind != HANDLE_SYSTEM ? vm_put(h->vm) : -1;
		if (ring >= 0)
			handle_close_own(ring);
	}
	pthread_mutex_lock(&handle_lock);
	h->next = free_list;
	free_list = h;
	pthread_mutex_unlock(&handle_lock);
}

void handle_put(struct handle *h)
{
	if (atomic_fetch_sub(&h->refs, 1) == 1)
		handle_release(h);
}

/* Let fd's entry be h (which brings its reference). */
static void set_entry(_Atomic(struct handle *) *slot, struct handle *h)
{
	struct handle *old = atomic_exchange(slot, h);

	if (old)
		handle_put(old);
}

/* For those who only found out what fd is: an entry that appears meanwhile is newer. */
static void offer_entry(_Atomic(struct handle *) *slot, struct handle *h)
{
	struct handle *none = NULL;

	if (!atomic_compare_exchange_strong(slot, &none, h))
		handle_put(h);
}

static struct handle *handle_alloc(void)
{
	struct handle *h;

	pthread_mutex_lock(&handle_lock);
	h = free_list;
	if (h)
		free_list = h->next;
	pthread_mutex_unlock(&handle_lock);
	return h ? h : calloc(1, sizeof(*h));
}

/* fresh: fd was made for h just now. */
static int handle_publish(struct handle *h, int fd, bool fresh)
{
	_Atomic(struct handle *) *slot = slot_of(fd, true);
	struct handle **head = hash_head(h->ino);

	if (!slot)
		return -EMFILE;
	pthread_mutex_lock(&handle_lock);
	h->next = *head;
	*head = h;
	live_count++;
	pthread_mutex_unlock(&handle_lock);
	atomic_store(&any_handle, true);
	if (fresh) {
		atomic_store(&h->refs, 1);
		set_entry(slot, h);
	} else {
		atomic_store(&h->refs, 2);	/* the entry's and the caller's */
		offer_entry(slot, h);
	}
	return 0;
}

static void handle_free_unused(struct handle *h)
{
	pthread_mutex_lock(&handle_lock);
	h->next = free_list;
	free_list = h;
	pthread_mutex_unlock(&handle_lock);
}

/* Nobody may change what an object's memory is: a vCPU's pages that are gone would be SIGBUS in
 * KVM_RUN. KVM's descriptors cannot be written or cut either. */
static int seal(int fd)
{
	return sys_fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

/* The system object has nothing but its name, and processes that do nothing with it hold it too:
 * its inode says what it is. No file of a program is unlinked, empty, and of this time. */
static const struct timespec system_time = { 232, 10232010 };

bool handle_is_system(const struct stat *st)
{
	return !st->st_nlink && S_ISREG(st->st_mode) && !st->st_size &&
	       st->st_mtim.tv_sec == system_time.tv_sec &&
	       st->st_mtim.tv_nsec == system_time.tv_nsec;
}

static int make_memfd(enum handle_kind kind, size_t size, int open_flags)
{
	const struct timespec times[2] = { system_time, system_time };
	unsigned int cloexec = open_flags & O_CLOEXEC ? MFD_CLOEXEC : 0;
	int r, fd = memfd_create(memfd_name[kind], MFD_ALLOW_SEALING | cloexec);

	if (fd < 0)
		return -errno;
	r = size ? memfd_size(fd, size) : 0;
	if (!r && kind == HANDLE_SYSTEM)
		r = sys_set_times(fd, times);
	if (!r)
		r = seal(fd);
	if (!r)
		return fd;
	sys_close(fd);
	return r;
}

int handle_new_path(int open_flags)
{
	int fd = make_memfd(HANDLE_SYSTEM, 0, open_flags), path;
	char name[32];

	if (fd < 0)
		return fd;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	path = sys_open(name, O_PATH | (open_flags & O_CLOEXEC));
	/* Without /proc one that can do more than it should. */
	if (path >= 0) {
		sys_close(fd);
		fd = path;
	}
	handle_forget((u32)fd, (u32)fd);
	return fd;
}

int handle_new(enum handle_kind kind, size_t size, int open_flags, struct vm *vm,
	       struct vm_vcpu *vcpu)
{
	struct handle *h = handle_alloc();
	struct stat st;
	int fd, r;

	if (!h)
		return -ENOMEM;
	atomic_fetch_add(&making, 1);
	fd = make_memfd(kind, size, open_flags);
	if (fd < 0) {
		r = fd;
		goto free;
	}
	r = sys_stat_of(fd, &st);
	if (r)
		goto close;
	h->kind = (u8)kind;
	h->fork_gen = handle_fork_gen;
	h->dev = st.st_dev;
	h->ino = st.st_ino;
	h->vm = vm;
	h->vcpu = vcpu;
	h->lent_fd = -1;
	r = handle_publish(h, fd, true);
	if (!r) {
		atomic_fetch_sub(&making, 1);
		return fd;
	}
close:
	sys_close(fd);
free:
	atomic_fetch_sub(&making, 1);
	handle_free_unused(h);
	return r;
}

/* What the memfd was made for, or -1: something else. */
static int kind_by_name(int fd)
{
	char link[64], target[64];
	long n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = sys_readlink(link, target, sizeof(target) - 1);
	if (n <= 0)
		return -1;
	target[n] = 0;
	for (int kind = HANDLE_DEVICE; kind > HANDLE_SYSTEM; kind--) {
		size_t len = strlen(memfd_name[kind]);

		if (!strncmp(target, "/memfd:", 7) && !strncmp(target + 7, memfd_name[kind], len) &&
		    (target[7 + len] == ' ' || !target[7 + len]))
			return kind;
	}
	return -1;
}

/* A KVM fd that this process did not make: inherited through exec or received. The system
 * object is the same in every process; a VM of another process is unusable here. With a
 * reference for the caller. */
static struct handle *adopt(int fd, const struct stat *st)
{
	struct handle *h;
	int kind;

	if (!S_ISREG(st->st_mode) || (sys_fcntl(fd, F_GETFL, 0) & O_PATH))
		return NULL;
	kind = handle_is_system(st) ? HANDLE_SYSTEM : kind_by_name(fd);
	if (kind < 0)
		return NULL;
	h = handle_alloc();
	if (!h)
		return NULL;
	h->kind = (u8)kind;
	h->fork_gen = kind == HANDLE_SYSTEM ? handle_fork_gen : 0;
	h->dev = st->st_dev;
	h->ino = st->st_ino;
	h->vm = NULL;
	h->vcpu = NULL;
	h->lent_fd = -1;
	if (handle_publish(h, fd, false)) {
		handle_free_unused(h);
		return NULL;
	}
	return h;
}

static bool fd_is(int fd, const struct handle *h)
{
	struct stat st;

	return !sys_stat_of(fd, &st) && st.st_ino == h->ino && st.st_dev == h->dev;
}

/* fd's entry may say h although fd is closed, or is something else by now: then forget it. */
static void entry_verify(int fd, struct handle *h)
{
	_Atomic(struct handle *) *slot = slot_of(fd, false);
	struct handle *expected = h;

	if (!slot || atomic_load(slot) != h || fd_is(fd, h))
		return;
	if (atomic_compare_exchange_strong(slot, &expected, NULL))
		handle_put(h);
}

static struct handle *resolve(int fd)
{
	_Atomic(struct handle *) *slot;
	struct handle *h;
	struct stat st;
	bool lent, again;

	if (sys_stat_of(fd, &st))
		return NULL;
	do {
		again = S_ISREG(st.st_mode) && atomic_load(&making);
		pthread_mutex_lock(&handle_lock);
		h = hash_find(st.st_dev, st.st_ino);
		lent = false;
		if (h && !ref_unless_zero(h)) {
			/* A lent object's last reference is on its way to the waiting thread. */
			lent = atomic_load(&h->lent_fd) >= 0;
			h = NULL;
		}
		pthread_mutex_unlock(&handle_lock);
		/* Not found while one was being made: it may be that one. */
		again = lent || (again && !h);
		if (unlikely(again))
			sched_yield();
	} while (unlikely(again));
	if (!h) {
		h = adopt(fd, &st);
		if (!h)
			return NULL;
	} else {
		slot = slot_of(fd, true);
		if (slot && ref_unless_zero(h))
			offer_entry(slot, h);
	}
	/* Another thread may be closing fd, and have taken its entry before we made one. */
	entry_verify(fd, h);
	/* Or have closed it, so that what looked like a stranger was an object at its end. */
	if (!h->vm && !fd_is(fd, h)) {
		handle_put(h);
		return NULL;
	}
	return h;
}

/* The same, &hidden included. */
static struct handle *peek(int fd)
{
	_Atomic(struct handle *) *slot = slot_of(fd, false);
	struct handle *h;

	if (!slot)
		return NULL;
	while ((h = atomic_load_explicit(slot, memory_order_acquire))) {
		if (!ref_unless_zero(h))
			continue;
		if (likely(atomic_load(slot) == h))
			return h;
		handle_put(h);
	}
	return NULL;
}

static struct handle *unless_hidden(struct handle *h)
{
	if (unlikely(h == &hidden)) {
		handle_put(h);
		return NULL;
	}
	return h;
}

struct handle *handle_peek(int fd)
{
	return unless_hidden(peek(fd));
}

struct handle *handle_get(int fd)
{
	struct handle *h = peek(fd);

	if (h)
		return unless_hidden(h);
	h = resolve(fd);
	/* The number may have become another object's meanwhile. */
	return h ? h : handle_peek(fd);
}

void handle_hide(int fd)
{
	_Atomic(struct handle *) *slot = slot_of(fd, true);

	if (slot && ref_unless_zero(&hidden))
		set_entry(slot, &hidden);
}

void handle_close_own(int fd)
{
	struct handle *h = handle_take(fd);

	sys_close(fd);
	handle_closed(fd, h);
}

bool handle_any(void)
{
	return atomic_load_explicit(&any_handle, memory_order_relaxed);
}

void handle_lend(int fd)
{
	struct handle *h = handle_get(fd);
	int own = -1;

	if (!h)
		return;
	pthread_mutex_lock(&handle_lock);
	if (h->kind != HANDLE_SYSTEM && !handle_foreign_mm(h) && atomic_load(&h->lent_fd) < 0) {
		own = lend_start(fd);
		atomic_store(&h->lent_fd, own);
	}
	pthread_mutex_unlock(&handle_lock);
	if (own >= 0)
		handle_hide(own);
	handle_put(h);
}

struct handle *handle_take(int fd)
{
	_Atomic(struct handle *) *slot = slot_of(fd, false);

	if (!slot || !atomic_load_explicit(slot, memory_order_relaxed) || !handle_own_process())
		return NULL;
	return atomic_exchange(slot, NULL);
}

void handle_closed(int fd, struct handle *h)
{
	_Atomic(struct handle *) *slot = slot_of(fd, false);
	struct handle *now = slot ? atomic_load(slot) : NULL;

	/* Somebody who used fd while it was being closed may have given it an entry. */
	if (unlikely(now != NULL) && handle_own_process())
		entry_verify(fd, now);
	if (h)
		handle_put(h);
}

struct handle *handle_dup_begin(int from)
{
	return handle_any() ? handle_peek(from) : NULL;
}

bool handle_dup_end(struct handle *h, int to)
{
	_Atomic(struct handle *) *slot = slot_of(to, h != NULL);
	bool same = true;

	if (slot && (h || atomic_load(slot)) && handle_own_process()) {
		if (h && !fd_is(to, h)) {
			handle_put(h);
			h = NULL;
			same = false;
		}
		set_entry(slot, h);
	} else if (h) {
		handle_put(h);
	}
	return same;
}

void handle_forget(u32 lo, u32 hi)
{
	if (!atomic_load_explicit(&any_handle, memory_order_relaxed) || !handle_own_process())
		return;
	if (hi >= CHUNKS * CHUNK_FDS)
		hi = CHUNKS * CHUNK_FDS - 1;
	for (u64 fd = lo; fd <= hi; fd++) {
		_Atomic(struct handle *) *slot = slot_of((int)fd, false);

		if (!slot)
			fd |= CHUNK_FDS - 1;
		else
			set_entry(slot, NULL);
	}
}
