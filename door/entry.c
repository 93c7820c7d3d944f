/* SPDX-License-Identifier: MIT */
/*
 * door/entry.c - the ways in and out that C cannot express: signals find our thread-local storage,
 * the program's FS base comes back, threads begin.
 *
 * A signal always arrives on the thread's region (sigaltstack), whose base is the stack pointer
 * rounded down. Nothing here may touch FS-relative memory before FS is ours: that is why it is
 * assembly.
 */
#include <asm/prctl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "door/door.h"

bool door_has_fsgsbase;

_Static_assert(offsetof(struct door_thread, fs) == 0, "entry.c");
_Static_assert(REGION_BYTES == 0x80000 && REGION_GUARD == 0x1000, "entry.c");
_Static_assert(offsetof(struct ksigframe, uc) == 8, "entry.c");

__asm__(".text\n"
	/* (sig, info, uc) on entry of the kernel's; door_signal(sig, info, uc, fs, thread)
	 * gives back what FS is to be. */
	".p2align 4\n"
	".globl door_signal_entry\n"
	".hidden door_signal_entry\n"
	".type door_signal_entry, @function\n"
	"door_signal_entry:\n"
	"	push %rbx\n"
	"	push %rbp\n"
	"	sub $8, %rsp\n"
	"	mov %rsp, %r8\n"
	"	and $-0x80000, %r8\n"
	"	add $0x1000, %r8\n"
	"	rdfsbase %rbx\n"
	"	mov (%r8), %rax\n"
	"	wrfsbase %rax\n"
	"	mov %rbx, %rcx\n"
	"	call door_signal\n"
	"	wrfsbase %rax\n"
	"	add $8, %rsp\n"
	"	pop %rbp\n"
	"	pop %rbx\n"
	"	ret\n"
	".size door_signal_entry, . - door_signal_entry\n"

	/* The same where the processor or the kernel has no FSGSBASE: arch_prctl(2). */
	".p2align 4\n"
	".globl door_signal_entry_slow\n"
	".hidden door_signal_entry_slow\n"
	".type door_signal_entry_slow, @function\n"
	"door_signal_entry_slow:\n"
	"	push %rbx\n"
	"	push %rbp\n"
	"	sub $40, %rsp\n"
	"	mov %rdi, 8(%rsp)\n"
	"	mov %rsi, 16(%rsp)\n"
	"	mov %rdx, 24(%rsp)\n"
	"	mov %rsp, %rbp\n"
	"	and $-0x80000, %rbp\n"
	"	add $0x1000, %rbp\n"
	"	mov $158, %eax\n"
	"	mov $0x1003, %edi\n" /* ARCH_GET_FS */
	"	mov %rsp, %rsi\n"
	"	syscall\n"
	"	mov (%rsp), %rbx\n"
	"	mov $158, %eax\n"
	"	mov $0x1002, %edi\n" /* ARCH_SET_FS */
	"	mov (%rbp), %rsi\n"
	"	syscall\n"
	"	mov 8(%rsp), %rdi\n"
	"	mov 16(%rsp), %rsi\n"
	"	mov 24(%rsp), %rdx\n"
	"	mov %rbx, %rcx\n"
	"	mov %rbp, %r8\n"
	"	call door_signal\n"
	"	mov %rax, %rsi\n"
	"	mov $158, %eax\n"
	"	mov $0x1002, %edi\n"
	"	syscall\n"
	"	add $40, %rsp\n"
	"	pop %rbp\n"
	"	pop %rbx\n"
	"	ret\n"
	".size door_signal_entry_slow, . - door_signal_entry_slow\n"

	".globl door_restorer\n"
	".hidden door_restorer\n"
	".type door_restorer, @function\n"
	"door_restorer:\n"
	"	mov $15, %eax\n"
	"	syscall\n"
	".size door_restorer, . - door_restorer\n"

	/* The return of a handler whose signal stack was disarmed: SIGILL tells us. */
	".globl door_rearm\n"
	".hidden door_rearm\n"
	".type door_rearm, @function\n"
	"door_rearm:\n"
	"	ud2\n"
	"	mov $15, %eax\n"
	"	syscall\n"
	".size door_rearm, . - door_rearm\n"

	/* FS = %rdi, nothing else of the general registers but rax, rcx, r11 is touched. */
	".local set_fs\n"
	".type set_fs, @function\n"
	"set_fs:\n"
	"	cmpb $0, door_has_fsgsbase(%rip)\n"
	"	je 1f\n"
	"	wrfsbase %rdi\n"
	"	ret\n"
	"1:	push %rdi\n"
	"	push %rsi\n"
	"	mov %rdi, %rsi\n"
	"	mov $0x1002, %edi\n"
	"	mov $158, %eax\n"
	"	syscall\n"
	"	pop %rsi\n"
	"	pop %rdi\n"
	"	ret\n"
	".size set_fs, . - set_fs\n"

	/* door_start(rip, rsp, fs) */
	".globl door_start\n"
	".hidden door_start\n"
	".type door_start, @function\n"
	"door_start:\n"
	"	mov %rdi, %rbx\n"
	"	mov %rsi, %rbp\n"
	"	mov %rdx, %rdi\n"
	"	call set_fs\n"
	"	mov %rbp, %rsp\n"
	"	push %rbx\n"
	"	xor %eax, %eax\n"
	"	xor %ebx, %ebx\n"
	"	xor %ecx, %ecx\n"
	"	xor %edx, %edx\n"
	"	xor %esi, %esi\n"
	"	xor %edi, %edi\n"
	"	xor %ebp, %ebp\n"
	"	xor %r8d, %r8d\n"
	"	xor %r9d, %r9d\n"
	"	xor %r10d, %r10d\n"
	"	xor %r11d, %r11d\n"
	"	xor %r12d, %r12d\n"
	"	xor %r13d, %r13d\n"
	"	xor %r14d, %r14d\n"
	"	xor %r15d, %r15d\n"
	"	ret\n"
	".size door_start, . - door_start\n"

	/* door_enter(sig, info, uc, handler, rsp, fs). Still on the region when FS is changed. */
	".globl door_enter\n"
	".hidden door_enter\n"
	".type door_enter, @function\n"
	"door_enter:\n"
	"	mov %rdi, %rbx\n"
	"	mov %rcx, %rbp\n"
	"	mov %r9, %rdi\n"
	"	call set_fs\n"
	"	mov %rbx, %rdi\n"
	"	mov %r8, %rsp\n"
	"	xor %eax, %eax\n"
	"	cld\n"
	"	jmp *%rbp\n"
	".size door_enter, . - door_enter\n"

	/* Where a child begins: rbp = its frame, rbx = the program's FS base or 0 (CLONE_SETTLS:
	 * the kernel has set it). All signals are blocked and it has no signal stack until
	 * rt_sigreturn. */
	".local clone_child\n"
	".type clone_child, @function\n"
	"clone_child:\n"
	"	mov %rbp, %rsp\n"
	/* One of the same number may have ended without telling us. */
	"	mov $186, %eax\n" /* gettid */
	"	syscall\n"
	"	movzwl %ax, %ecx\n"
	"	lea hot_tid(%rip), %rdx\n"
	"	cmp %eax, (%rdx,%rcx,4)\n"
	"	jne 1f\n"
	"	movl $0, (%rdx,%rcx,4)\n"
	"1:\n"
	"	test %rbx, %rbx\n"
	"	jz 2f\n"
	"	mov %rbx, %rdi\n"
	"	call set_fs\n"
	"2:	add $8, %rsp\n"
	"	mov $15, %eax\n"
	"	syscall\n"
	"	hlt\n"
	".size clone_child, . - clone_child\n"

	/* From the store on, the stack belongs to others. */
	".globl door_exit_thread\n"
	".hidden door_exit_thread\n"
	".type door_exit_thread, @function\n"
	"door_exit_thread:\n"
	"	mov %rdi, %rdx\n"
	"	mov %rsi, %rdi\n"
	"	movl $1, (%rdx)\n"
	"	mov $60, %eax\n"
	"	syscall\n"
	"	hlt\n"
	".size door_exit_thread, . - door_exit_thread\n"

	".globl door_exit_donor\n"
	".hidden door_exit_donor\n"
	".type door_exit_donor, @function\n"
	"door_exit_donor:\n"
	"	movl $1, (%rdi)\n"
	"	xor %edi, %edi\n"
	"	mov $60, %eax\n"
	"	syscall\n"
	"	hlt\n"
	".size door_exit_donor, . - door_exit_donor\n"

	/* Copied to a page of its own: outside our text, so that filters judge it.
	 * pass(nr, args, &held). */
	".section .rodata\n"
	".local pass_code\n"
	"pass_code:\n"
	"	push %rbx\n"
	"	mov %rdx, %rbx\n"
	"	mov %rdi, %rax\n"
	"	mov %rsi, %rcx\n"
	"	mov (%rcx), %rdi\n"
	"	mov 8(%rcx), %rsi\n"
	"	mov 16(%rcx), %rdx\n"
	"	mov 24(%rcx), %r10\n"
	"	mov 32(%rcx), %r8\n"
	"	mov 40(%rcx), %r9\n"
	"pass_check:\n"
	"	cmpl $0, (%rbx)\n"
	"	jne pass_again\n"
	"pass_syscall:\n"
	"	syscall\n"
	"pass_done:\n"
	"	pop %rbx\n"
	"	ret\n"
	"pass_again:\n"
	"	mov $-600, %rax\n"
	"	pop %rbx\n"
	"	ret\n"
	/* pass_clone(nr, args, frame, fs, clone_child) */
	"pass_clone:\n"
	"	push %rbx\n"
	"	push %rbp\n"
	"	push %r12\n"
	"	mov %rcx, %rbx\n"
	"	mov %rdx, %rbp\n"
	"	mov %r8, %r12\n"
	"	mov %rdi, %rax\n"
	"	mov %rsi, %rcx\n"
	"	mov (%rcx), %rdi\n"
	"	mov 8(%rcx), %rsi\n"
	"	mov 16(%rcx), %rdx\n"
	"	mov 24(%rcx), %r10\n"
	"	mov 32(%rcx), %r8\n"
	"	syscall\n"
	"pass_cloned:\n"
	"	test %rax, %rax\n"
	"	jz 1f\n"
	"	pop %r12\n"
	"	pop %rbp\n"
	"	pop %rbx\n"
	"	ret\n"
	"1:	jmp *%r12\n"
	"pass_end:\n"
	".text\n");
extern const u8 pass_code[], pass_check[], pass_syscall[], pass_done[], pass_again[], pass_clone[],
	pass_cloned[], pass_end[];
extern const u8 clone_child[];

static const u8 *pass;	/* the copy; set at start */

u64 door_get_fs(void)
{
	u64 fs = 0;

	RAW(SYS_arch_prctl, ARCH_GET_FS, &fs);
	return fs;
}

int door_pass_init(void)
{
	void *p = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	memcpy(p, pass_code, (size_t)(pass_end - pass_code));
	if (mprotect(p, PAGE_SIZE, PROT_READ | PROT_EXEC))
		return -errno;
	pass = p;
	return 0;
}

long door_pass_call(struct door_thread *t, long nr, const u64 a[6])
{
	long (*f)(long nr, const u64 *a, _Atomic u32 *held) =
		(long (*)(long, const u64 *, _Atomic u32 *))(uintptr_t)pass;

	return f(nr, a, &t->held);
}

long door_pass_now(struct door_thread *t, long nr, const u64 a[6])
{
	u32 held = 0;
	long r;

	do {
		held |= atomic_exchange(&t->held, 0);
		r = door_pass_call(t, nr, a);
	} while (r == DOOR_RESTART);
	if (held)
		atomic_store(&t->held, 1);
	return r;
}

long door_clone_to(long nr, const u64 args[5], u64 frame, u64 fs)
{
	long (*f)(long nr, const u64 *args, u64 frame, u64 fs, const u8 *child) =
		(long (*)(long, const u64 *, u64, u64, const u8 *))(
			(uintptr_t)pass + (uintptr_t)(pass_clone - pass_code));

	return f(nr, args, frame, fs, clone_child);
}

bool door_pass_unstarted(u64 rip, u64 *again)
{
	u64 base = (u64)(uintptr_t)pass;

	*again = base + (u64)(pass_again - pass_code);
	return rip >= base + (u64)(pass_check - pass_code) &&
	       rip <= base + (u64)(pass_syscall - pass_code);
}

bool door_pass_trapped(u64 rip)
{
	u64 at = rip - (u64)(uintptr_t)pass;

	return at == (u64)(pass_done - pass_code) || at == (u64)(pass_cloned - pass_code);
}
