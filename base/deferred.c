/* SPDX-License-Identifier: MIT */
/* base/deferred.c - see deferred.h. */
#include "base/deferred.h"

#include <stddef.h>
#include <sys/syscall.h>

#include "base/mem.h"

enum { SET_BYTES = 8 };	/* of the kernel's signal set */
#define ALT_AUTODISARM (1u << 31)	/* SS_AUTODISARM, sigaltstack(2) */

static long sys4(long nr, u64 a, u64 b, u64 c, u64 d)
{
	register u64 r10 __asm__("r10") = d;
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r) : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return r;
}

static void set_mask(struct deferred *d, u64 mask)
{
	d->now = mask;
	d->now_known = true;
	sys4(SYS_rt_sigprocmask, SIG_SETMASK, (u64)(uintptr_t)&mask, 0, SET_BYTES);
}

static void set_alt(const stack_t *s)
{
	sys4(SYS_sigaltstack, (u64)(uintptr_t)s, 0, 0, 0);
}

bool deferred_take(struct deferred *d, int sig, const siginfo_t *info, ucontext_t *uc,
		   const struct deferred_action *a)
{
	u64 bit = BIT64(sig - 1), mask;
	struct deferred_signal *s;
	u32 i;

	/* One that cannot be blocked comes again: a pending standard signal is pending once. */
	if (bit & d->never)
		for (i = 0; i < atomic_load(&d->n) && i < DEFERRED_MAX; i++)
			if (d->q[i].info.si_signo == sig)
				return true;
	/* From here on another signal may nest: the place is ours already. */
	i = atomic_fetch_add(&d->n, 1);
	if (i >= DEFERRED_MAX) {
		atomic_fetch_sub(&d->n, 1);
		return false;
	}
	s = &d->q[i];
	s->info = *info;
	s->a = *a;
	__builtin_memcpy(&mask, &uc->uc_sigmask, sizeof(mask));
	if (!i) {
		d->resume = mask;
		d->alt = uc->uc_stack;
		d->uc_flags = uc->uc_flags;
		d->segments = (u64)uc->uc_mcontext.gregs[REG_CSGSFS];
	}
	mask |= a->mask | bit;
	/* Whatever else comes stays where it is: in the kernel, in its order. */
	if (atomic_load(&d->n) > 1)
		mask = ~0ull;
	mask &= ~d->never;
	d->now = mask;
	d->now_known = true;
	__builtin_memcpy(&uc->uc_sigmask, &mask, sizeof(mask));
	return true;
}

void deferred_again(struct deferred *d)
{
	sys4(SYS_rt_sigprocmask, SIG_BLOCK, 0, (u64)(uintptr_t)&d->now, SET_BYTES);
	d->now_known = true;
	d->resume = d->now;
}

void deferred_mask_restored(struct deferred *d, u64 mask)
{
	d->now = mask;
	d->now_known = true;
	/* Taken before the request changed the mask, which had it blocked by then: where to go back
	 * to is known already. */
	if (atomic_load(&d->n) && mask & BIT64(d->q[0].info.si_signo - 1))
		return;
	d->resume = mask;
}

/*
 * void call(handler, sig, info, uc, sp): calls handler(sig, info, uc) on the stack whose top is sp
 * (0: on this one). The context is that of the return from here. A handler that has changed
 * where that is gets all of it, as the kernel would give it.
 */
__asm__(
	".text\n"
	".p2align 4\n"
	".local standin_deferred_call\n"
	".type standin_deferred_call, @function\n"
	"standin_deferred_call:\n"
	"	.cfi_startproc\n"
	"	mov %r12, 72(%rcx)\n"
	"	mov %r13, 80(%rcx)\n"
	"	mov %r14, 88(%rcx)\n"
	"	mov %r15, 96(%rcx)\n"
	"	mov %rbp, 120(%rcx)\n"
	"	mov %rbx, 128(%rcx)\n"
	"	lea 8(%rsp), %rax\n"
	"	mov %rax, 160(%rcx)\n"
	"	mov (%rsp), %rax\n"
	"	mov %rax, 168(%rcx)\n"
	"	push %rbp\n"
	"	.cfi_def_cfa_offset 16\n"
	"	.cfi_offset %rbp, -16\n"
	"	mov %rsp, %rbp\n"
	"	.cfi_def_cfa_register %rbp\n"
	"	push %rbx\n"
	"	.cfi_offset %rbx, -24\n"
	"	mov %rcx, %rbx\n"
	"	test %r8, %r8\n"
	"	jz 1f\n"
	"	mov %r8, %rsp\n"
	"1:	and $-16, %rsp\n"
	"	mov %rdi, %rax\n"
	"	mov %esi, %edi\n"
	"	mov %rdx, %rsi\n"
	"	mov %rcx, %rdx\n"
	"	call *%rax\n"
	"	lea 16(%rbp), %rax\n"
	"	cmp %rax, 160(%rbx)\n"
	"	jne 2f\n"
	"	mov 8(%rbp), %rax\n"
	"	cmp %rax, 168(%rbx)\n"
	"	jne 2f\n"
	"	lea -8(%rbp), %rsp\n"
	"	pop %rbx\n"
	"	.cfi_restore %rbx\n"
	"	pop %rbp\n"
	"	.cfi_restore %rbp\n"
	"	.cfi_def_cfa %rsp, 8\n"
	"	ret\n"
	"2:	mov %rbx, %rsp\n"
	"	mov $15, %eax\n"	/* rt_sigreturn */
	"	syscall\n"
	"	hlt\n"
	"	.cfi_endproc\n"
	".size standin_deferred_call, . - standin_deferred_call\n");
extern void standin_deferred_call(void (*handler)(int, siginfo_t *, void *), int sig,
				  siginfo_t *info, ucontext_t *uc, u64 sp);

#define GREG(r) (offsetof(ucontext_t, uc_mcontext.gregs) + 8 * (r))
_Static_assert(GREG(REG_R12) == 72 && GREG(REG_R15) == 96 && GREG(REG_RBP) == 120 &&
		       GREG(REG_RBX) == 128 && GREG(REG_RSP) == 160 && GREG(REG_RIP) == 168,
	       "used above");

/* The top of the alternate stack, or 0: the handler runs where we are. */
static u64 alt_top(const struct deferred *d, const struct deferred_action *a)
{
	u64 here = (u64)(uintptr_t)__builtin_frame_address(0);
	u64 low = (u64)(uintptr_t)d->alt.ss_sp;

	if (!(a->flags & SA_ONSTACK) || d->alt.ss_flags & SS_DISABLE || !d->alt.ss_size)
		return 0;
	if (!((u32)d->alt.ss_flags & ALT_AUTODISARM) && here - low < d->alt.ss_size)
		return 0;
	return low + d->alt.ss_size;
}

static void call_one(struct deferred *d, struct deferred_signal *s)
{
	static const stack_t disabled = { .ss_flags = SS_DISABLE };
	u8 fp[512] __attribute__((aligned(64)));
	u64 bit = BIT64(s->info.si_signo - 1), top, want;
	bool disarm;
	ucontext_t uc;

	cpu_zero(&uc, offsetof(ucontext_t, uc_sigmask) + sizeof(uc.uc_sigmask));
	__asm__ volatile("fxsave64 %0" : "=m"(fp));
	uc.uc_flags = d->uc_flags & ~1ul;	/* it has no XSAVE image */
	uc.uc_stack = d->alt;
	uc.uc_mcontext.gregs[REG_CSGSFS] = (greg_t)d->segments;
	uc.uc_mcontext.gregs[REG_EFL] = 0x202;
	uc.uc_mcontext.fpregs = (fpregset_t)(void *)fp;
	__builtin_memcpy(&uc.uc_sigmask, &d->resume, sizeof(d->resume));
	top = alt_top(d, &s->a);
	disarm = top && (u32)d->alt.ss_flags & ALT_AUTODISARM;
	if (disarm)
		set_alt(&disabled);
	want = (d->resume | s->a.mask | (s->a.flags & SA_NODEFER ? 0 : bit)) & ~d->never;
	if (!d->now_known || want != d->now)
		set_mask(d, want);
	standin_deferred_call(s->a.handler, s->info.si_signo, &s->info, &uc, top);
	/* The control words belong to the interrupted code (psABI 3.2.3). */
	__asm__ volatile("ldmxcsr %0" : : "m"(fp[24]));
	__asm__ volatile("fldcw %0" : : "m"(fp[0]));
	if (disarm)
		set_alt(&uc.uc_stack);
	/* The handler may have changed the mask that it returns to. */
	__builtin_memcpy(&d->resume, &uc.uc_sigmask, sizeof(d->resume));
	d->resume &= ~d->never;
	d->now_known = false;	/* the handler may have changed it */
}

void deferred_run(struct deferred *d)
{
	u32 n;

	while ((n = atomic_load(&d->n))) {
		struct deferred_signal s = d->q[0];

		for (u32 i = 1; i < n; i++)
			d->q[i - 1] = d->q[i];
		d->q[n - 1].info.si_signo = 0;
		atomic_store(&d->n, n - 1);
		call_one(d, &s);
	}
	set_mask(d, d->resume);
}
