/* SPDX-License-Identifier: MIT */
/* Benchmarks that use the kernel: system calls, page faults, processes, context switches. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static void die(const char *what)
{
	perror(what);
	exit(1);
}

uint64_t bench_syscall(long n)
{
	uint64_t sum = 0;

	for (long i = 0; i < n; i++)
		sum += syscall(SYS_getppid);
	return sum;
}

uint64_t bench_forkexec(long n)
{
	for (long i = 0; i < n; i++) {
		int status;
		pid_t p = fork();

		if (p < 0)
			die("fork");
		if (!p) {
			execl("/proc/self/exe", "bench", "nothing", (char *)NULL);
			_exit(127);
		}
		if (waitpid(p, &status, 0) != p || status)
			die("forkexec");
	}
	return n;
}

/* n first touches of a page. */
uint64_t bench_fault(long n)
{
	enum { PAGES = 2048 };
	uint64_t sum = 0;

	for (long done = 0; done < n; done += PAGES) {
		unsigned char *p = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			die("mmap");
		madvise(p, PAGES * 4096, MADV_NOHUGEPAGE);
		for (long i = 0; i < PAGES; i++)
			sum += p[i * 4096]++;
		munmap(p, PAGES * 4096);
	}
	return sum;
}

/* n round trips of one byte between two processes. */
uint64_t bench_pipe(long n)
{
	int to[2], from[2], status;
	char byte = 1;
	pid_t p;

	if (pipe(to) || pipe(from))
		die("pipe");
	p = fork();
	if (p < 0)
		die("fork");
	if (!p) {
		for (long i = 0; i < n; i++)
			if (read(to[0], &byte, 1) != 1 || write(from[1], &byte, 1) != 1)
				_exit(1);
		_exit(0);
	}
	for (long i = 0; i < n; i++)
		if (write(to[1], &byte, 1) != 1 || read(from[0], &byte, 1) != 1)
			die("pipe");
	if (waitpid(p, &status, 0) != p || status)
		die("pipe");
	return n;
}
