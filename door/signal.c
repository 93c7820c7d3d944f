/* SPDX-License-Identifier: MIT */
/*
 * door/signal.c - the program's signals. Every handler of the kernel's is our entry stub, on our
 * stack; the program's handlers are then called as the kernel would have: the frame is built again
 * where the program wanted it.
 *
 * A signal that comes while we are inside (a trap is being answered, a guest runs) is held:
 * blocked, queued again and delivered by the kernel when the trap's own frame returns to the
 * program's mask. So the program's handlers run between two of its instructions and never with our
 * locks held or our FS base.
 *
 * SIGSYS may never be blocked (a trap would kill): what the program thinks of it is kept aside.
 */
#include "door/door.h"

#include <linux/kvm.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/abi.h"
#include "base/log.h"
#include "base/siginfo.h"
#include "door/hot.h"
#include "shim/shim.h"

#define SIGNALS 65
#define SA_RESTORER_BIT 0x04000000u
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

/* What the program asked for. Writers hold action_lock with signals blocked, and make seq odd
 * meanwhile; handlers read without a lock. */
static struct {
	_Atomic u32 seq;
	struct ksigaction a;
} views[SIGNALS];
static pthread_mutex_t action_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool engine_started;

/* Our stub takes them whatever the program has set. Grows only; action_lock. */
static _Atomic u64 forced = FAULT_BITS | SIGBIT(SIGSYS);

static long kernel_action(int sig, const struct ksigaction *new, struct ksigaction *old)
{
	return RAW(SYS_rt_sigaction, sig, new, old, 8);
}

void signals_block(u64 *old)
{
	const u64 all = ~SIGBIT(SIGSYS);

	RAW(SYS_rt_sigprocmask, SIG_SETMASK, &all, old, 8);
}

void signals_restore(const u64 *old)
{
	RAW(SYS_rt_sigprocmask, SIG_SETMASK, old, NULL, 8);
}

static bool is_handler(const struct ksigaction *a)
{
	return a->handler > 1;
}

static void view_set(int sig, const struct ksigaction *a)
{
	atomic_fetch_add(&views[sig].seq, 1);
	views[sig].a = *a;
	atomic_fetch_add(&views[sig].seq, 1);
}

static void view_get(int sig, struct ksigaction *a)
{
	u32 seq;

	do {
		while ((seq = atomic_load(&views[sig].seq)) & 1)
			__builtin_ia32_pause();
		*a = views[sig].a;
		atomic_thread_fence(memory_order_acquire);
	} while (atomic_load(&views[sig].seq) != seq);
}

static u64 entry(void)
{
	return (u64)(uintptr_t)(door_has_fsgsbase ? door_signal_entry : door_signal_entry_slow);
}

/* What the kernel is told. */
static struct ksigaction real_of(int sig, const struct ksigaction *view)
{
	const u64 kept = SA_RESTART | SA_NODEFER | SA_NOCLDSTOP | SA_NOCLDWAIT;
	struct ksigaction k = *view;

	if (!is_handler(view) && !(forced & SIGBIT(sig)))
		return k;
	k.handler = entry();
	k.restorer = (u64)(uintptr_t)door_restorer;
	k.flags = SA_SIGINFO | SA_ONSTACK | SA_RESTORER_BIT;
	k.mask = 0;
	if (sig == SIGSYS) {
		k.flags |= SA_NODEFER;
	} else if (is_handler(view)) {
		k.flags |= view->flags & kept;
		k.mask = view->mask & ~SIGBIT(SIGSYS);
	} else {
		k.flags |= SA_RESTART | SA_NODEFER;
	}
	return k;
}

/* abi_set_signal_hooks() */
static void mask_restored(u64 mask)
{
	/* What is held is blocked again when it comes again. */
}

static void force(u64 set)
{
	struct ksigaction k;
	u64 mask;

	signals_block(&mask);
	pthread_mutex_lock(&action_lock);
	atomic_fetch_or(&forced, set & ~(SIGBIT(SIGKILL) | SIGBIT(SIGSTOP)));
	for (int sig = 1; sig < SIGNALS; sig++) {
		if (!(set & forced & SIGBIT(sig)))
			continue;
		view_get(sig, &k);
		k = real_of(sig, &k);
		if (kernel_action(sig, &k, NULL))
			log_error("signal %d cannot be taken over", sig);
	}
	pthread_mutex_unlock(&action_lock);
	signals_restore(&mask);
}

/* fork() of our libc: the child has the lock free. */
static void lock_actions(void)
{
	pthread_mutex_lock(&action_lock);
}

static void unlock_actions(void)
{
	pthread_mutex_unlock(&action_lock);
}

void shim_signals_take(int sig)
{
	/* SIGSEGV is always ours. */
}

int signals_init(void)
{
	const u64 sys = SIGBIT(SIGSYS);
	struct ksigaction k;
	u64 mask = 0;

	for (int sig = 1; sig < SIGNALS; sig++) {
		if (kernel_action(sig, NULL, &k))
			continue;
		view_set(sig, &k);
		if (!(forced & SIGBIT(sig)))
			continue;
		k = real_of(sig, &k);
		if (kernel_action(sig, &k, NULL))
			return -EINVAL;
	}
	/* What the program inherits as blocked. */
	RAW(SYS_rt_sigprocmask, SIG_UNBLOCK, &sys, &mask, 8);
	thread_main()->unblocked = mask & sys;
	abi_set_signal_hooks(force, mask_restored);
	return pthread_atfork(lock_actions, unlock_actions, unlock_actions) ? -ENOMEM : 0;
}

void signal_engine_started(void)
{
	atomic_store(&engine_started, true);
}

/* An ignored signal stays so across exec; a handler becomes the default. And so does what is
 * blocked. */
void signal_around_exec(const struct door_thread *t, bool undo)
{
	const struct ksigaction ign = { .handler = 1 };

	RAW(SYS_rt_sigprocmask, undo ? SIG_UNBLOCK : SIG_BLOCK, &t->unblocked, NULL, 8);

	for (int sig = 1; sig < SIGNALS; sig++) {
		struct ksigaction a;

		view_get(sig, &a);
		if (!(forced & SIGBIT(sig)) || a.handler != 1)
			continue;
		a = undo ? real_of(sig, &a) : ign;
		kernel_action(sig, &a, NULL);
	}
}

/* -- the calls -- */

static long change(int sig, const struct ksigaction *new, struct ksigaction *old)
{
	struct ksigaction k;
	long r = 0;
	u64 mask;

	signals_block(&mask);
	pthread_mutex_lock(&action_lock);
	view_get(sig, old);
	if (new) {
		k = real_of(sig, new);
		if (is_handler(new))
			view_set(sig, new);
		r = kernel_action(sig, &k, NULL);
		view_set(sig, r ? old : new);
	}
	pthread_mutex_unlock(&action_lock);
	signals_restore(&mask);
	return r;
}

void signals_clear(void)
{
	const struct ksigaction dfl = { 0 };
	struct ksigaction a;

	for (int sig = 1; sig < SIGNALS; sig++) {
		view_get(sig, &a);
		if (is_handler(&a))
			change(sig, &dfl, &a);
	}
}

/* In a child that shares our memory, on its way to exec: the table is the parent's. */
static long change_other(int sig, const struct ksigaction *new, struct ksigaction *old)
{
	struct ksigaction k;
	long r = kernel_action(sig, NULL, old);

	if (!r && old->handler == entry())
		view_get(sig, old);
	if (r || !new)
		return r;
	k = real_of(sig, new);
	return kernel_action(sig, &k, NULL);
}

long signal_action(struct door_thread *t, const u64 a[6])
{
	struct ksigaction new, old;
	int sig = (int)a[0];
	long r;

	/* The kernel's own answer to all that is wrong but the pointers, and the program's
	 * filters'. */
	r = door_pass_now(t, SYS_rt_sigaction, (const u64[6]){ a[0], 0, 0, a[3] });
	if (r)
		return r;
	if (a[1] && user_get(&new, user_ptr(a[1]), sizeof(new)))
		return -EFAULT;
	if (a[1] && (sig == SIGKILL || sig == SIGSTOP))
		return -EINVAL;
	new.mask &= ~(SIGBIT(SIGKILL) | SIGBIT(SIGSTOP));
	r = (t->other_process ? change_other : change)(sig, a[1] ? &new : NULL, &old);
	if (!r && a[2] && user_put(user_ptr(a[2]), &old, sizeof(old)))
		return -EFAULT;
	return r;
}

static bool on_alt(const struct door_thread *t, u64 sp)
{
	const stack_t *s = &t->alt;

	return !(s->ss_flags & (int)SS_AUTODISARM) && sp > (u64)s->ss_sp &&
	       sp - (u64)s->ss_sp <= s->ss_size;
}

long signal_stack(struct door_thread *t, const struct kucontext *uc, const u64 a[6])
{
	bool on = on_alt(t, (u64)uc->gregs[REG_RSP]);
	stack_t new, old = t->alt;
	int mode;
	long r = PASS(t, SYS_sigaltstack, NULL, NULL);

	if (r)
		return r;
	if (!(old.ss_flags & SS_DISABLE) && on)
		old.ss_flags |= SS_ONSTACK;
	if (a[0]) {
		if (user_get(&new, user_ptr(a[0]), sizeof(new)))
			return -EFAULT;
		mode = new.ss_flags & ~(int)SS_AUTODISARM;
		if (on)
			return -EPERM;
		if (mode != SS_DISABLE && mode != SS_ONSTACK && mode)
			return -EINVAL;
		if (mode == SS_DISABLE) {
			new.ss_sp = NULL;
			new.ss_size = 0;
		} else if (new.ss_size < 2048) {
			return -ENOMEM;
		}
		new.ss_flags &= ~SS_ONSTACK;
		t->alt = new;
	}
	if (a[1] && user_put(user_ptr(a[1]), &old, sizeof(old)))
		return -EFAULT;
	return 0;
}

long signal_mask(struct door_thread *t, struct kucontext *uc, const u64 a[6])
{
	u64 before = uc->sigmask | t->unblocked, after = before, set;
	long r;

	r = door_pass_now(t, SYS_rt_sigprocmask, (const u64[6]){ a[0], 0, 0, a[3] });
	if (r)
		return r;
	if (a[1]) {
		if (user_get(&set, user_ptr(a[1]), sizeof(set)))
			return -EFAULT;
		set &= ~(SIGBIT(SIGKILL) | SIGBIT(SIGSTOP));
		switch ((int)a[0]) {
		case SIG_BLOCK: after |= set; break;
		case SIG_UNBLOCK: after &= ~set; break;
		case SIG_SETMASK: after = set; break;
		default: return -EINVAL;
		}
		uc->sigmask = after & ~SIGBIT(SIGSYS);
		t->unblocked = after & SIGBIT(SIGSYS);
	}
	if (a[2] && user_put(user_ptr(a[2]), &before, sizeof(before)))
		return -EFAULT;
	return 0;
}

/* -- arrivals -- */

static void send_self(int sig, siginfo_t *info)
{
	if (!info || RAW(SYS_rt_tgsigqueueinfo, getpid(), RAW(SYS_gettid), sig, info))
		RAW(SYS_tgkill, getpid(), RAW(SYS_gettid), sig);
}

/* The default action. A fault happens again on return; what was sent is sent again. */
static void act_default(int sig, bool again)
{
	const struct ksigaction dfl = { 0 };
	u64 bit = SIGBIT(sig);

	kernel_action(sig, &dfl, NULL);
	if (!again)
		return;
	send_self(sig, NULL);
	RAW(SYS_rt_sigprocmask, SIG_UNBLOCK, &bit, NULL, 8);
}

/* Before what is queued behind it: the kernel keeps the order of real-time signals. */
static void queue_front(int sig, siginfo_t *info)
{
	enum { END = -1000 };	/* a si_code that nobody uses */
	const struct timespec now = { 0 };
	siginfo_t end = { .si_signo = sig, .si_code = END }, next;
	u64 one = SIGBIT(sig);

	send_self(sig, &end);
	send_self(sig, info);
	while (RAW(SYS_rt_sigtimedwait, &one, &next, &now, 8) == sig && next.si_code != END)
		send_self(sig, &next);
}

/* It stays pending until the program goes on. */
static void hold(struct door_thread *t, int sig, siginfo_t *info, struct kucontext *uc)
{
	u64 again, one = SIGBIT(sig);

	RAW(SYS_rt_sigprocmask, SIG_BLOCK, &one, NULL, 8);
	uc->sigmask |= one;
	(sig >= 32 ? queue_front : send_self)(sig, info);
	atomic_store(&t->held, 1);
	atomic_fetch_or(&t->masked, one);
	hot_held(t, uc);
	if (door_pass_unstarted((u64)uc->gregs[REG_RIP], &again))
		uc->gregs[REG_RIP] = (greg_t)again;
}

/* As the kernel enters a handler (arch/x86: a 128-byte red zone, the FPU state aligned to 64 bytes,
 * the frame 8 below a multiple of 16). */
static _Noreturn void deliver(struct door_thread *t, int sig, const void *info,
			      const struct kucontext *uc, const struct ksigaction *a, u64 fs)
{
	const u64 sys = SIGBIT(SIGSYS);
	u64 sp = (u64)uc->gregs[REG_RSP] - 128, fpstate;
	struct ksigframe f;
	size_t fp = uc->fpstate ? fpstate_bytes(uc) : 0;
	bool alt = a->flags & SA_ONSTACK && !(t->alt.ss_flags & SS_DISABLE) &&
		   !on_alt(t, (u64)uc->gregs[REG_RSP]);

	if (alt)
		sp = (u64)t->alt.ss_sp + t->alt.ss_size;
	fpstate = ALIGN_DOWN(sp - fp, 64);
	sp = ALIGN_DOWN(fpstate - sizeof(f), 16) - 8;
	f.restorer = a->restorer;
	if (alt && t->alt.ss_flags & (int)SS_AUTODISARM) {
		t->disarmed = t->alt;
		t->alt = (stack_t){ .ss_flags = SS_DISABLE };
		f.restorer = (u64)(uintptr_t)door_rearm;
	}
	f.uc = *uc;
	if (fp)
		f.uc.fpstate = fpstate;
	memcpy(f.info, info, sizeof(f.info));
	RAW(SYS_rt_sigprocmask, SIG_UNBLOCK, &sys, NULL, 8);
	if ((fp && user_put(user_ptr(fpstate), user_ptr(uc->fpstate), fp)) ||
	    user_put(user_ptr(sp), &f, sizeof(f))) {
		act_default(SIGSEGV, true);
		RAW(SYS_exit_group, 128 + SIGSEGV);
	}
	door_enter((u64)sig, sp + offsetof(struct ksigframe, info),
		   sp + offsetof(struct ksigframe, uc), a->handler, sp, fs);
}

static void to_program(struct door_thread *t, int sig, const void *info, struct kucontext *uc,
		       u64 fs)
{
	const struct ksigaction dfl = { 0 };
	struct ksigaction a, old;
	bool sent = sig == SIGSYS || !siginfo_is_fault(sig, info);

	view_get(sig, &a);
	if (!is_handler(&a)) {
		/* An ignored fault is fatal all the same. */
		if (a.handler == 0 || !sent || sig == SIGSYS)
			act_default(sig, sent);
		return;
	}
	if (a.flags & SA_RESETHAND)
		change(sig, &dfl, &old);
	deliver(t, sig, info, uc, &a, fs);
}

static u64 trap(struct door_thread *t, struct kucontext *uc, u64 fs)
{
	long nr = uc->gregs[REG_RAX], r;
	const u64 faults = FAULT_BITS;
	siginfo_t si;

	t->trapped = 0;
	/* One that comes before KVM_RUN can see it ends it all the same. */
	abi_signals_wait_at(&t->held);
	/* A fault whose signal is blocked kills. The return from the trap blocks them again. */
	if (unlikely(uc->sigmask & FAULT_BITS))
		RAW(SYS_rt_sigprocmask, SIG_UNBLOCK, &faults, NULL, 8);
	r = door_call(t, uc, &fs);
	/* From here on nothing looks; what comes now costs the next call one more attempt. */
	atomic_store(&t->held, 0);
	if (unlikely(r == DOOR_RESTART)) {
		uc->gregs[REG_RIP] -= 2;
		uc->gregs[REG_RAX] = nr;
	} else if (unlikely(r == DOOR_TRAPPED)) {
		memcpy(&si, t->trap_info, sizeof(si));
		si.si_call_addr = user_ptr((u64)uc->gregs[REG_RIP]);
		uc->gregs[REG_RAX] = nr;
		to_program(t, SIGSYS, &si, uc, fs);
	} else {
		uc->gregs[REG_RAX] = r;
	}
	return fs;
}

u64 hot_call(struct door_thread *t, struct kucontext *uc, u64 fs)
{
	const u64 faults = FAULT_BITS;

	RAW(SYS_rt_sigprocmask, SIG_UNBLOCK, &faults, &uc->sigmask, 8);
	/* What was held meanwhile the program had not blocked. */
	uc->sigmask &= ~atomic_load(&t->masked);
	fs = trap(t, uc, fs);
	if (unlikely(uc->sigmask & faults))
		atomic_fetch_or(&t->masked, uc->sigmask & faults);
	return fs;
}

u64 door_signal(int sig, siginfo_t *info, void *context, u64 fs, struct door_thread *t)
{
	struct kucontext *uc = context;
	bool in = inside(t, uc);
	int saved = errno;

	if (!in)
		hot_outside(uc);
	if (sig == SIGSYS && info->si_code == 1 /* SYS_SECCOMP */) {
		if (in && door_pass_trapped((u64)uc->gregs[REG_RIP])) {
			t->trapped = 1;
			memcpy(t->trap_info, info, sizeof(t->trap_info));
			uc->gregs[REG_RAX] = DOOR_TRAPPED;
			return fs;
		}
		if (!in && info->si_errno == DOOR_TRAP_DATA) {
			if (uc->gregs[REG_RAX] == SYS_ioctl && uc->gregs[REG_RSI] == KVM_RUN)
				hot_seen(t, uc);
			fs = trap(t, uc, fs);
			errno = saved;
			return fs;
		}
	}
	if (sig == SIGILL && uc->gregs[REG_RIP] == (greg_t)(uintptr_t)door_rearm) {
		t->alt = t->disarmed;
		uc->gregs[REG_RIP] += 2;
		return fs;
	}
	if (shim_cpuid_fault(sig, info, context)) {
		errno = saved;
		return fs;
	}
	if (SIGBIT(sig) & FAULT_BITS && in && siginfo_is_fault(sig, info)) {
		if (((sig == SIGSEGV || sig == SIGBUS) && user_fault(uc)) ||
		    (atomic_load_explicit(&engine_started, memory_order_relaxed) &&
		     abi_fault(sig, info, uc))) {
			errno = saved;
			return fs;
		}
		/* A fault of our own: nothing is left to try. */
		log_error("signal %d in standin itself at %llx", sig,
			  (unsigned long long)uc->gregs[REG_RIP]);
		act_default(sig, false);
		return fs;
	}
	if (in) {
		abi_signal_seen();
		hold(t, sig, info, uc);
	} else {
		to_program(t, sig, info, uc, fs);
	}
	errno = saved;
	return fs;
}
