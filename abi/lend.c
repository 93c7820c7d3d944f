/* SPDX-License-Identifier: MIT */
/*
 * abi/lend.c - objects whose descriptor was sent through a socket. In flight nobody has an
 * entry for it (handle.h), but the object must live: the program may close its own and
 * receive it back later.
 *
 * The kernel is asked whether the open file is still referenced anywhere. A lock of flock(2)
 * belongs to the open file and goes with its last reference: one is taken through the sent
 * descriptor, and a second open file of the same memfd (lent_fd) can have it only when
 * the first is gone.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/file.h>

#include "abi/handle.h"
#include "base/log.h"
#include "base/sys.h"
#include "vm/vm.h"

int lend_start(int fd)
{
	char path[40];
	int w;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	w = sys_open(path, O_RDWR | O_CLOEXEC);
	if (w < 0)
		return -1;	/* no /proc: the object ends with its last counted descriptor */
	if (!flock(fd, LOCK_EX | LOCK_NB))
		return w;
	sys_close(w);
	return -1;
}

bool lend_is_over(int lent_fd)
{
	return !flock(lent_fd, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK;
}

static void *waiter(void *arg)
{
	struct handle *h = arg;

	while (flock(atomic_load(&h->lent_fd), LOCK_EX) && errno == EINTR)
		;
	handle_put(h);
	return NULL;
}

int lend_wait(struct handle *h)
{
	pthread_t t;
	int r = vm_thread_start(&t, waiter, h, "standin-lent");

	if (!r)
		pthread_detach(t);
	return r;
}
