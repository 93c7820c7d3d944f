/* SPDX-License-Identifier: MIT */
/*
 * tests/door/clear.c - clone3() with CLONE_CLEAR_SIGHAND, as posix_spawn() of newer libcs makes it:
 * the child's handlers are the default, what is ignored stays so.
 */
/* Run: tests/door/run build/standin-door tests/door quick */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void handler(int sig)
{
}

int main(void)
{
	/* flags, ..., exit signal (struct clone_args) */
	unsigned long args[11] = { 0x100000000ul, 0, 0, 0, SIGCHLD };
	struct sigaction a;
	int status = 0, cleared, ignored;
	long p;

	signal(SIGUSR1, handler);
	signal(SIGUSR2, SIG_IGN);
	p = syscall(SYS_clone3, args, sizeof(args));
	if (!p) {
		sigaction(SIGUSR1, NULL, &a);
		cleared = a.sa_handler == SIG_DFL;
		sigaction(SIGUSR2, NULL, &a);
		ignored = a.sa_handler == SIG_IGN;
		_exit(cleared && ignored && !access("/", F_OK) ? 7 : 8);
	}
	if (p < 0 && (errno == ENOSYS || errno == EINVAL)) {
		printf("clear: ok\n");	/* a kernel before 5.5 */
		return 0;
	}
	waitpid((pid_t)p, &status, 0);
	if (status != 7 << 8) {
		printf("the child: status %x\n", status);
		return 1;
	}
	printf("clear: ok\n");
	return 0;
}
