/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/door.h - how a fuzzer reaches KVM: by system calls on the node $KVM_NODE (the
 * preload object's, or a real one), or, built with -DDOOR_LIB, by calling libstandin,
 * which works with sanitizers that do not like to be preloaded over. libc's convention.
 */
#ifndef FUZZ_DOOR_H
#define FUZZ_DOOR_H

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/types.h"

#ifdef DOOR_LIB
#include "include/standin.h"

static inline int door_result(long r)
{
	if (r < 0) {
		errno = (int)-r;
		return -1;
	}
	return (int)r;
}
static inline int door_open(void) { return door_result(standin_open(0)); }
static inline int door_ioctl(int fd, u32 nr, unsigned long arg)
{
	return door_result(standin_ioctl(fd, nr, arg));
}
static inline int door_dup(int fd) { return door_result(standin_dup(fd)); }
static inline int door_close(int fd) { return door_result(standin_close(fd)); }
static inline void *door_mmap(int fd, size_t n)
{
	void *p;

	return door_result(standin_mmap(fd, n, 0, &p)) ? MAP_FAILED : p;
}
/* A KVM_RUN that others can end: by standin_kick(), since TSan holds signals back from a thread
 * that makes no calls. `handle` is a copy, which nobody else closes. */
struct door_run {
	pthread_mutex_t lock;
	int handle;
};
static inline void door_run_init(struct door_run *d)
{
	pthread_mutex_init(&d->lock, NULL);
	d->handle = -1;
}
static inline void door_run_set(struct door_run *d, int handle)
{
	pthread_mutex_lock(&d->lock);
	d->handle = handle;
	pthread_mutex_unlock(&d->lock);
}
static inline int door_run(struct door_run *d, int fd, unsigned long arg)
{
	int copy = standin_dup(fd);
	long r;

	if (copy < 0)
		return door_result(copy);
	door_run_set(d, copy);
	r = standin_ioctl(copy, KVM_RUN, arg);
	door_run_set(d, -1);
	standin_close(copy);
	return door_result(r);
}
static inline void door_kick(struct door_run *d, pthread_t thread)
{
	pthread_mutex_lock(&d->lock);
	if (d->handle >= 0)
		standin_kick(d->handle);
	pthread_mutex_unlock(&d->lock);
}
#else
#include "tests/guest/harness/who.h"

static inline int door_open(void)
{
	int fd = kvm_node_open();

	if (fd >= 0)
		return fd;
	errno = -fd;
	return -1;
}
static inline int door_ioctl(int fd, u32 nr, unsigned long arg)
{
	return ioctl(fd, (unsigned long)nr, arg);
}
static inline int door_dup(int fd) { return dup(fd); }
static inline int door_close(int fd) { return close(fd); }
static inline void *door_mmap(int fd, size_t n)
{
	return mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}
struct door_run {
	char none;
};
static inline void door_run_init(struct door_run *d)
{
}
static inline int door_run(struct door_run *d, int fd, unsigned long arg)
{
	return ioctl(fd, KVM_RUN, arg);
}
static inline void door_kick(struct door_run *d, pthread_t thread)
{
	pthread_kill(thread, SIGUSR1);
}
#endif

#endif
