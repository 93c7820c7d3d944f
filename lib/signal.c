/* SPDX-License-Identifier: MIT */
/*
 * lib/signal.c - libstandin's handlers for the signals that guest code and bad argument
 * pointers raise. What is not ours goes to whoever had the signal before.
 */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/abi.h"
#include "lib/lib.h"

static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
static struct sigaction before[ARRAY_SIZE(signals)];	/* written before the handler is set */

/* The default action: for a fault by running the instruction again, for a signal that was
 * sent by sending it again. An ignored fault is fatal too, as in the kernel. */
static void act_default(int sig, const siginfo_t *info, bool ignored)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	bool sent = info->si_code <= 0;

	if (ignored && sent)
		return;
	sigaction(sig, &dfl, NULL);
	if (sent)
		syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
}

static void handler(int sig, siginfo_t *info, void *uc)
{
	const struct sigaction *a = NULL;
	int saved = errno;

	if (!abi_fault(sig, info, uc)) {
		for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
			if (signals[i] == sig)
				a = &before[i];
		/* The kernel passes all three arguments to plain handlers as well. */
		if (a->sa_handler == SIG_DFL || a->sa_handler == SIG_IGN)
			act_default(sig, info, a->sa_handler == SIG_IGN);
		else
			a->sa_sigaction(sig, info, uc);
	}
	errno = saved;
}

int lib_signals_start(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		struct sigaction a = { .sa_sigaction = handler,
				       .sa_flags = SA_SIGINFO | SA_ONSTACK };

		if (sigaction(signals[i], NULL, &before[i]))
			return -errno;
		if (before[i].sa_handler != SIG_DFL && before[i].sa_handler != SIG_IGN) {
			a.sa_mask = before[i].sa_mask;
			a.sa_flags |= before[i].sa_flags & (int)(SA_NODEFER | SA_RESTART);
		}
		if (sigaction(signals[i], &a, NULL))
			return -errno;
	}
	return 0;
}

void lib_thread_ready(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(&set, signals[i]);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	abi_thread_ready();
}
