/* SPDX-License-Identifier: MIT */
/*
 * shim/signal.c - a trampoline before every signal handler of the program.
 *
 * Two reasons. A handler is to run when a request is done, not in the middle of it, and KVM_RUN has
 * to return when there is one to run, which in user space nobody can see but the handler: on
 * a thread that is inside a request the trampoline puts the signal away (base/deferred.h), tells
 * abi_signal_seen(), and shim_leave() calls the program's handler. And five signals may be raised
 * by translated code or by a copy of an ioctl argument: they are offered to their owners first.
 *
 * sigaction() shows the program its own handlers. Protocol of struct state: writers hold
 * `lock` with all signals blocked and bracket changes with odd `seq`; the trampoline reads
 * without a lock and retries. The program's view changes before the kernel's action when a
 * handler is set, after it when one is removed, so that the trampoline never runs without one
 * to call.
 */
#include "shim/shim.h"

#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>

#include "abi/abi.h"
#include "base/log.h"
#include "base/siginfo.h"

#define SIGNALS 65

static struct state {
	_Atomic u32 lock;
	_Atomic u32 seq;
	bool known;			/* view has been read from the kernel or set; lock */
	bool forced;			/* the trampoline is there whatever the view says; lock */
	struct sigaction view;		/* what the program asked for */
} states[SIGNALS];

static _Atomic bool engine_started;
static _Atomic bool interrupting[SIGNALS];	/* siginterrupt(sig, 1) */

/* A fault whose signal is blocked kills the process, so on threads that may enter the guest
 * none of the five ever is; `withheld` is what this thread of the program thinks it has blocked. */
static const u64 fault_bits = BIT64(SIGSEGV - 1) | BIT64(SIGBUS - 1) | BIT64(SIGFPE - 1) |
			      BIT64(SIGILL - 1) | BIT64(SIGTRAP - 1);
static _Thread_local u64 withheld __attribute__((tls_model("initial-exec")));

/* The kernel's 64 signals lead glibc's sigset_t. */
static u64 set_bits(const sigset_t *s)
{
	u64 v;

	memcpy(&v, s, sizeof(v));
	return v;
}

static void set_clear(sigset_t *s, u64 bits)
{
	u64 v = set_bits(s) & ~bits;

	memcpy(s, &v, sizeof(v));
}

static void set_add(sigset_t *s, u64 bits)
{
	u64 v = set_bits(s) | bits;

	memcpy(s, &v, sizeof(v));
}

static bool is_engine_signal(int sig)
{
	return sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL || sig == SIGTRAP;
}

/* glibc keeps 32 and 33 for itself and refuses them. */
static bool is_program_signal(int sig)
{
	return sig > 0 && sig < SIGNALS && sig != 32 && sig != 33 && sig != SIGKILL &&
	       sig != SIGSTOP;
}

static bool is_handler(const struct sigaction *a)
{
	return a->sa_handler != SIG_DFL && a->sa_handler != SIG_IGN;
}

static void mask_all(u64 *old)
{
	const u64 all = ~0ull;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, old, sizeof(all));
}

static void mask_restore(const u64 *old)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, old, NULL, sizeof(*old));
}

static void lock(struct state *s)
{
	while (atomic_exchange_explicit(&s->lock, 1, memory_order_acquire))
		__builtin_ia32_pause();
}

static void unlock(struct state *s)
{
	atomic_store_explicit(&s->lock, 0, memory_order_release);
}

/* lock held */
static void set_view(struct state *s, const struct sigaction *a)
{
	atomic_fetch_add(&s->seq, 1);
	s->view = *a;
	atomic_fetch_add(&s->seq, 1);
}

static void get_view(struct state *s, struct sigaction *a)
{
	u32 seq;

	do {
		while ((seq = atomic_load(&s->seq)) & 1)
			__builtin_ia32_pause();
		*a = s->view;
		atomic_thread_fence(memory_order_acquire);
	} while (atomic_load(&s->seq) != seq);
}

/* The default action, or none for an ignored signal that somebody sent; a fault that is
 * ignored is fatal all the same, as in the kernel. */
static void act_default(int sig, const siginfo_t *info, bool ignored)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	bool sent = info->si_code <= 0;

	if (ignored && sent)
		return;
	NEXT(sigaction)(sig, &dfl, NULL);
	/* A fault happens again on return; a signal that was sent must be sent again. */
	if (sent)
		syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
}

static void reset_hand(struct state *s)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	u64 old;

	mask_all(&old);
	lock(s);
	set_view(s, &dfl);
	unlock(s);
	mask_restore(&old);
}

/* si_code of what marks the end of a queue: nobody else's (all others are near 0). */
enum { QUEUE_END = -0x57d1 };

static void queue_self(int sig, const siginfo_t *info)
{
	syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), sig, info);
}

/* Signals that are being brought back into their order: too many for the stack of a handler. */
static struct {
	_Atomic u32 lock;	/* taken with all signals blocked */
	siginfo_t held[64];
} order;

/*
 * `info` was the first of the signals that are queued for this thread: bring it to the front. The
 * kernel puts what we queue behind what has arrived, so senders in the middle of a burst are
 * waited for: what arrives later is behind in any case.
 */
static void queue_front(int sig, const siginfo_t *info)
{
	const struct timespec now = { 0 }, calm = { .tv_nsec = 50000 };
	siginfo_t end = { .si_signo = sig, .si_code = QUEUE_END }, next;
	u64 one = BIT64(sig - 1), old;
	u32 n = 1;

	mask_all(&old);
	while (atomic_exchange_explicit(&order.lock, 1, memory_order_acquire))
		__builtin_ia32_pause();
	order.held[0] = *info;
	while (n < ARRAY_SIZE(order.held) &&
	       syscall(SYS_rt_sigtimedwait, &one, &order.held[n], &calm, sizeof(one)) == sig)
		n++;
	queue_self(sig, &end);
	for (u32 i = 0; i < n; i++)
		queue_self(sig, &order.held[i]);
	while (syscall(SYS_rt_sigtimedwait, &one, &next, &now, sizeof(one)) == sig &&
	       next.si_code != QUEUE_END)
		queue_self(sig, &next);
	atomic_store_explicit(&order.lock, 0, memory_order_release);
	mask_restore(&old);
}

/* Only the mask of KVM_RUN has let it through: it stays pending for the program. */
static void hold(int sig, siginfo_t *info, void *ucontext)
{
	ucontext_t *uc = ucontext;
	u64 one = BIT64(sig - 1);

	/* Both for the rest of this handler and for what it returns to. */
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &one, NULL, sizeof(one));
	sigaddset(&uc->uc_sigmask, sig);
	if (sig >= SIGRTMIN)
		queue_front(sig, info);
	else
		queue_self(sig, info);
}

static u64 unblockable(void)
{
	return atomic_load_explicit(&engine_started, memory_order_relaxed) ? fault_bits
	       : shim_cpuid_signal() ? BIT64(shim_cpuid_signal() - 1)
				     : 0;
}

static bool put_away(int sig, const siginfo_t *info, ucontext_t *uc, const struct sigaction *a)
{
	struct deferred_action d = {
		.handler = a->sa_sigaction, .mask = set_bits(&a->sa_mask),
		.flags = (u32)a->sa_flags,
	};

	shim_deferred.never = unblockable();
	return deferred_take(&shim_deferred, sig, info, uc, &d);
}

static void trampoline(int sig, siginfo_t *info, void *uc)
{
	struct state *s = &states[sig];
	struct sigaction a;
	int saved = errno;

	if (is_engine_signal(sig)) {
		if (shim_cpuid_fault(sig, info, uc)) {
			errno = saved;
			return;
		}
		if (atomic_load_explicit(&engine_started, memory_order_relaxed) &&
		    abi_fault(sig, info, uc)) {
			errno = saved;
			return;
		}
	}
	if (abi_signal_hold(sig)) {
		abi_signal_seen();
		hold(sig, info, uc);
		errno = saved;
		return;
	}
	get_view(s, &a);
	if (!is_handler(&a)) {
		if (is_engine_signal(sig) || s->forced)
			act_default(sig, info, a.sa_handler == SIG_IGN);
		errno = saved;
		return;
	}
	if (a.sa_flags & (int)SA_RESETHAND)
		reset_hand(s);
	if (shim_busy && !siginfo_is_fault(sig, info) && put_away(sig, info, uc, &a)) {
		abi_signal_seen();
		errno = saved;
		return;
	}
	abi_signal_seen();
	errno = saved;
	/* The kernel passes all three arguments to plain handlers as well. */
	a.sa_sigaction(sig, info, uc);
}

/* Do faults that belong to us arrive as this signal? */
static bool is_ours(int sig)
{
	return (is_engine_signal(sig) && atomic_load(&engine_started)) ||
	       (sig && sig == shim_cpuid_signal());
}

/* What the kernel is told when the program wants `a`. */
static struct sigaction kernel_action(int sig, const struct sigaction *a)
{
	bool ours = states[sig].forced || is_ours(sig);
	struct sigaction k = *a;

	if (!is_handler(a)) {
		if (!ours)
			return k;
		memset(&k, 0, sizeof(k));
		k.sa_flags = SA_ONSTACK | SA_RESTART;
	}
	k.sa_sigaction = trampoline;
	k.sa_flags |= SA_SIGINFO;
	set_clear(&k.sa_mask, unblockable());
	if (ours)
		k.sa_flags &= ~(int)SA_RESETHAND;
	return k;
}

/* lock held. */
static int learn(int sig, struct state *s)
{
	struct sigaction k;

	if (s->known)
		return 0;
	if (NEXT(sigaction)(sig, NULL, &k))
		return -1;
	set_view(s, &k);
	s->known = true;
	return 0;
}

static int change(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct state *s = &states[sig];
	struct sigaction want, before, k;
	u64 mask;
	int r;

	handle_init();
	/* A vfork child shares our memory but not the kernel's actions: its changes, made on the
	 * way to exec, must not reach the tables. */
	if (!handle_own_process())
		return NEXT(sigaction)(sig, act, old);
	/* The arguments may be bad pointers: touch them before anything is held. */
	if (act)
		want = *act;
	mask_all(&mask);
	lock(s);
	r = learn(sig, s);
	before = s->view;
	if (!r && act) {
		k = kernel_action(sig, &want);
		if (is_handler(&want))
			set_view(s, &want);
		r = NEXT(sigaction)(sig, &k, NULL);
		set_view(s, r ? &before : &want);
	}
	unlock(s);
	mask_restore(&mask);
	if (!r && old)
		*old = before;
	return r;
}

EXPORT int sigaction(int sig, const struct sigaction *restrict act, struct sigaction *restrict old)
{
	return is_program_signal(sig) ? change(sig, act, old) : NEXT(sigaction)(sig, act, old);
}

EXPORT int __sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return sigaction(sig, act, old);
}

static __sighandler_t simple(int sig, __sighandler_t handler, int flags, bool mask_self)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = flags }, old;

	if (handler == SIG_ERR || sig < 1 || sig >= SIGNALS) {
		errno = EINVAL;
		return SIG_ERR;
	}
	sigemptyset(&act.sa_mask);
	if (mask_self)
		sigaddset(&act.sa_mask, sig);
	return sigaction(sig, &act, &old) ? SIG_ERR : old.sa_handler;
}

EXPORT __sighandler_t signal(int sig, __sighandler_t handler)
{
	bool intr = sig > 0 && sig < SIGNALS && atomic_load(&interrupting[sig]);

	return simple(sig, handler, intr ? 0 : SA_RESTART, true);
}

EXPORT __sighandler_t bsd_signal(int sig, __sighandler_t handler)
{
	return signal(sig, handler);
}

EXPORT __sighandler_t ssignal(int sig, __sighandler_t handler)
{
	return signal(sig, handler);
}

EXPORT __sighandler_t sysv_signal(int sig, __sighandler_t handler)
{
	return simple(sig, handler, (int)(SA_RESETHAND | SA_NODEFER), false);
}

EXPORT __sighandler_t __sysv_signal(int sig, __sighandler_t handler)
{
	return sysv_signal(sig, handler);
}

EXPORT int sigignore(int sig)
{
	return simple(sig, SIG_IGN, 0, false) == SIG_ERR ? -1 : 0;
}

EXPORT __sighandler_t sigset(int sig, __sighandler_t handler)
{
	__sighandler_t old;
	sigset_t one, before;
	struct sigaction a;

	sigemptyset(&one);
	if (sigaddset(&one, sig))
		return SIG_ERR;
	if (handler == SIG_HOLD) {
		if (sigprocmask(SIG_BLOCK, &one, &before) || sigaction(sig, NULL, &a))
			return SIG_ERR;
		return sigismember(&before, sig) ? SIG_HOLD : a.sa_handler;
	}
	old = simple(sig, handler, 0, false);
	if (old == SIG_ERR || sigprocmask(SIG_UNBLOCK, &one, &before))
		return SIG_ERR;
	return sigismember(&before, sig) ? SIG_HOLD : old;
}

EXPORT int siginterrupt(int sig, int on)
{
	struct sigaction a;

	if (!is_program_signal(sig)) {
		errno = EINVAL;
		return -1;
	}
	atomic_store(&interrupting[sig], on != 0);
	if (sigaction(sig, NULL, &a))
		return -1;
	a.sa_flags = on ? a.sa_flags & ~SA_RESTART : a.sa_flags | SA_RESTART;
	return sigaction(sig, &a, NULL);
}

/* next: pthread_sigmask or sigprocmask, which differ in how they report errors. */
static int change_mask(int (*next)(int, const sigset_t *, sigset_t *), int how, const sigset_t *set,
		       sigset_t *old)
{
	u64 before = withheld, after = before, never = unblockable();
	sigset_t want;
	int r;

	if (!never)
		return next(how, set, old);
	if (set) {
		want = *set;
		if (how == SIG_BLOCK)
			after |= set_bits(set) & never;
		else if (how == SIG_UNBLOCK)
			after &= ~set_bits(set);
		else
			after = set_bits(set) & never;
		if (how != SIG_UNBLOCK)
			set_clear(&want, never);
	}
	r = next(how, set ? &want : NULL, old);
	if (r)
		return r;
	withheld = after;
	if (old)
		set_add(old, before);
	return 0;
}

EXPORT int pthread_sigmask(int how, const sigset_t *restrict set, sigset_t *restrict old)
{
	return change_mask(NEXT(pthread_sigmask), how, set, old);
}

EXPORT int sigprocmask(int how, const sigset_t *restrict set, sigset_t *restrict old)
{
	return change_mask(NEXT(sigprocmask), how, set, old);
}

/* What the thread had blocked before the engine was started, or inherited. */
void shim_thread_ready(void)
{
	u64 set = fault_bits, old = 0;

	syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, &old, sizeof(set));
	withheld |= old & fault_bits;
	abi_signals_wait_at(&shim_deferred.n);
	abi_thread_ready();
}

/* fork() may have caught another thread in the middle of a change. */
static void fork_child(void)
{
	for (size_t i = 0; i < SIGNALS; i++) {
		atomic_store(&states[i].lock, 0);
		if (atomic_load(&states[i].seq) & 1)
			atomic_fetch_add(&states[i].seq, 1);
	}
}

/* abi_set_signal_hooks() */
static void restored(u64 mask)
{
	deferred_mask_restored(&shim_deferred, mask);
}

static void force(u64 set)
{
	for (int sig = 1; sig < SIGNALS; sig++) {
		struct sigaction a;
		u64 old;

		if (!(set & BIT64(sig - 1)) || !is_program_signal(sig))
			continue;
		mask_all(&old);
		lock(&states[sig]);
		states[sig].forced = true;
		unlock(&states[sig]);
		mask_restore(&old);
		if (sigaction(sig, NULL, &a) || sigaction(sig, &a, NULL))
			log_error("signal %d cannot be taken over", sig);
	}
}

void shim_signals_init(void)
{
	abi_set_signal_hooks(force, restored);
	if (pthread_atfork(NULL, NULL, fork_child))
		log_error("pthread_atfork failed: signals may stop working after fork");
}

/* Setting what is already set puts the trampoline in place. */
void shim_signals_take(int sig)
{
	struct sigaction a;

	if (sigaction(sig, NULL, &a) || sigaction(sig, &a, NULL))
		log_error("signal %d cannot be taken over", sig);
}

void shim_signals_start(void)
{
	atomic_store(&engine_started, true);
	for (int sig = 1; sig < SIGNALS; sig++)
		if (is_engine_signal(sig))
			shim_signals_take(sig);
}
