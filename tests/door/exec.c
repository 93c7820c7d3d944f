/* SPDX-License-Identifier: MIT */
/* tests/door/exec.c - start the program that is named, in all the ways there are. */
/* Run: tests/door/run build/standin-door tests/door quick */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void done(pid_t p)
{
	int status = -1;

	waitpid(p, &status, 0);
	if (status)
		printf("status %x\n", status);
}

static void say(const char *what)
{
	printf("%s: ", what);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	pid_t p;

	if (argc == 1) {
		printf("%s\n", argv[0]);
		return 0;
	}
	say("self");
	p = fork();
	if (!p) {
		execl("/proc/self/exe", "itself", NULL);
		_exit(9);
	}
	done(p);
	say("fork");
	p = fork();
	if (!p) {
		execv(argv[1], argv + 1);
		_exit(9);
	}
	done(p);
	say("vfork");
	p = vfork();
	if (!p) {
		execv(argv[1], argv + 1);
		_exit(9);
	}
	done(p);
	say("spawn");
	if (posix_spawn(&p, argv[1], NULL, NULL, argv + 1, environ))
		printf("failed\n");
	done(p);
	say("exec");
	execv(argv[1], argv + 1);
	return 9;
}
