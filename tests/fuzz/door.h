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
static inline void door_signal_seen(void) { standin_interrupt(); }
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
static inline void door_signal_seen(void) { }
#endif

#endif
