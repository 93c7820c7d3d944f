/* SPDX-License-Identifier: MIT */
/*
 * tests/door/notify.c - a filter that asks a supervisor (SECCOMP_RET_USER_NOTIF), of a call that
 * standin traps as well and of one that it does not: its answer is weaker than a trap and must not
 * be hidden by one.
 */
/* Run: tests/door/run build/standin-door tests/door quick */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CALLS = 2, ERRNO = 77 };

static int listener, asked[CALLS];

/* The first call is refused, the second goes on. */
static void *supervisor(void *arg)
{
	struct seccomp_notif_resp r;
	struct seccomp_notif n;

	for (int i = 0; i < CALLS; i++) {
		memset(&n, 0, sizeof(n));
		memset(&r, 0, sizeof(r));
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &n))
			return NULL;
		asked[i] = n.data.nr;
		r.id = n.id;
		if (i)
			r.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		else
			r.error = -ERRNO;
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &r))
			return NULL;
	}
	return NULL;
}

int main(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_readlink, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { sizeof(f) / sizeof(*f), f };
	char text[256];
	pthread_t t;
	long first, second;
	int error;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				SECCOMP_FILTER_FLAG_NEW_LISTENER, &p);
	if (listener < 0) {
		printf("no listener: %s\n", strerror(errno));
		return 1;
	}
	pthread_create(&t, NULL, supervisor, NULL);
	first = syscall(SYS_getppid);
	error = errno;
	second = syscall(SYS_readlink, "/proc/self/cwd", text, sizeof(text));
	pthread_join(t, NULL);
	if (first != -1 || error != ERRNO || second <= 0 || asked[0] != SYS_getppid ||
	    asked[1] != SYS_readlink) {
		printf("%ld, errno %d, %ld; asked of %d, %d\n", first, error, second, asked[0],
		       asked[1]);
		return 1;
	}
	printf("notify: ok\n");
	return 0;
}
