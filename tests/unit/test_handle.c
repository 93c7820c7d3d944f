/* SPDX-License-Identifier: MIT */
/* abi/handle.c - which object a descriptor is, when numbers are reused at the same time. */
/* Run: build/tests/unit/test_handle [NAME...] */

#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "abi/abi.h"
#include "include/standin.h"
#include "tests/fuzz/leaks.h"

static int new_system(void)
{
	int fd = abi_open(O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void assert_is(int fd, const struct handle *h)
{
	struct handle *found = handle_peek(fd);

	assert_ptr_equal(found, h);
	handle_put(found);
}

/* The steps of two threads in the order that the race needs. */
T(a_number_that_became_another_object_is_no_copy)
{
	int a = new_system(), b, to;
	struct handle *h = handle_dup_begin(a);

	assert_non_null(h);
	handle_close_own(a);
	b = new_system();
	assert_int_equal(b, a);
	to = fcntl(a, F_DUPFD_CLOEXEC, 0);
	assert_false(handle_dup_end(h, to));
	assert_null(handle_peek(to));
	close(to);
	handle_close_own(b);
}

T(a_number_that_became_a_stranger_is_no_copy)
{
	int a = new_system(), to;
	struct handle *h = handle_dup_begin(a);

	assert_non_null(h);
	handle_close_own(a);
	assert_int_equal(eventfd(0, EFD_CLOEXEC), a);
	to = fcntl(a, F_DUPFD_CLOEXEC, 0);
	assert_false(handle_dup_end(h, to));
	close(to);
	close(a);
}

T(a_copy_is_the_object)
{
	int a = new_system(), to;
	struct handle *h = handle_dup_begin(a);

	to = fcntl(a, F_DUPFD_CLOEXEC, 0);
	assert_true(handle_dup_end(h, to));
	assert_is(to, h);
	handle_close_own(a);
	handle_close_own(to);
	/* A call that failed has copied nothing. */
	assert_true(handle_dup_end(handle_dup_begin(a), -1));
}

/* The kernel holds the file, another thread closes the number, and the copy gets it. */
T(a_copy_may_get_the_number_that_was_copied)
{
	int a = new_system(), kept = fcntl(a, F_DUPFD_CLOEXEC, 0);
	struct handle *h = handle_dup_begin(a);

	handle_close_own(a);
	assert_int_equal(fcntl(kept, F_DUPFD_CLOEXEC, 0), a);
	assert_true(handle_dup_end(h, a));
	assert_is(a, h);
	handle_close_own(a);
	close(kept);
}

/* -- the library, with real threads -- */

static _Atomic int number = -1, stop;

static void *open_and_close(void *arg)
{
	int sys = standin_open(0);

	for (u32 i = 0; i < 3000; i++) {
		int vm = (int)standin_ioctl(sys, KVM_CREATE_VM, 0), other;

		atomic_store(&number, vm);
		standin_close(vm);
		other = i % 2 ? eventfd(0, EFD_CLOEXEC) : (int)standin_ioctl(sys, KVM_CREATE_VM, 0);
		if (i % 2)
			close(other);
		else
			standin_close(other);
	}
	standin_close(sys);
	atomic_store(&stop, 1);
	return NULL;
}

/* Whatever happens to the number: a handle of this process works, or there is none. */
T(a_copy_works_or_is_none)
{
	struct leaks before, after;
	int sys = standin_open(0);
	pthread_t t;
	u32 bad = 0;

	/* What the first use of anything keeps is no leak. */
	standin_close((int)standin_ioctl(sys, KVM_CREATE_VM, 0));
	standin_close(sys);
	leaks_count(&before);
	assert_int_equal(pthread_create(&t, NULL, open_and_close, NULL), 0);
	while (!atomic_load(&stop)) {
		int to = standin_dup(atomic_load(&number));

		if (to < 0)
			continue;
		bad += standin_ioctl(to, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) != 1;
		bad += standin_close(to) != 0;
	}
	pthread_join(t, NULL);
	leaks_count(&after);
	assert_int_equal(bad, 0);
	assert_int_equal(after.fds, before.fds);
}

T_START(argc, argv)
{
	handle_init();
	return 0;
}
