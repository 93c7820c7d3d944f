/* SPDX-License-Identifier: MIT */
/*
 * door/hot_entry.c - KVM_RUN from a rewritten system call: what the kernel does for a trap, without
 * the kernel. The registers go to a frame like the kernel's, so that all else is as after a trap,
 * and what cannot be undone quickly (a signal mask) leaves by rt_sigreturn.
 *
 * A system call leaves all registers as they are but RAX, RCX and R11, and the flags, too. So until
 * the registers are saved only these three are used, and RSI, which is known to be KVM_RUN; and
 * nothing that changes flags.
 */
#include "door/hot.h"

_Static_assert(offsetof(struct ksigframe, uc) + offsetof(struct kucontext, gregs) == 48,
	       "below: registers from 48 on");
_Static_assert(offsetof(struct ksigframe, uc) + offsetof(struct kucontext, fpstate) == 232,
	       "below");
_Static_assert(offsetof(struct hot_frame, thread) - offsetof(struct hot_frame, frame) == 440 &&
		       offsetof(struct hot_frame, top) - offsetof(struct hot_frame, frame) == 448 &&
		       offsetof(struct hot_frame, xmask) - offsetof(struct hot_frame, frame) == 456,
	       "below");
_Static_assert(REG_R8 == 0 && REG_R15 == 7 && REG_RDI == 8 && REG_RSI == 9 && REG_RBP == 10 &&
		       REG_RBX == 11 && REG_RDX == 12 && REG_RAX == 13 && REG_RCX == 14 &&
		       REG_RSP == 15 && REG_RIP == 16 && REG_EFL == 17,
	       "below");
_Static_assert(offsetof(struct hot_site, call) == 8 && offsetof(struct hot_site, back) == 16,
	       "below");
_Static_assert(offsetof(struct door_thread, masked) == 8, "below");
_Static_assert(HOT_TIDS == 1 << 16, "below: movzwl");

__asm__(".text\n"
	".p2align 4\n"
	".globl hot_entry, hot_missed, hot_inside\n"
	".globl hot_window, hot_leave, hot_window_end, hot_slow\n"
	".hidden hot_entry, hot_missed, hot_inside\n"
	".hidden hot_window, hot_leave, hot_window_end, hot_slow\n"
	".type hot_entry, @function\n"
	/* RSI: the site. Which thread is this? */
	"hot_entry:\n"
	"	mov $186, %eax\n" /* gettid */
	"	syscall\n"
	"	movzwl %ax, %ecx\n"
	"	lea hot_tid(%rip), %r11\n"
	"	mov (%r11,%rcx,4), %r11d\n"
	"	not %rax\n"
	"	lea 1(%rax,%r11), %rax\n"
	"	xchg %rax, %rcx\n"
	"	jrcxz 1f\n"
	/* Not one that is known. */
	"	mov 8(%rsi), %rcx\n"
	"	mov $0xae80, %esi\n"
	"hot_missed:\n"
	"	mov $16, %eax\n"
	"	jmp *%rcx\n"
	"1:	lea hot_frames(%rip), %r11\n"
	"	mov (%r11,%rax,8), %r11\n"
	"	mov 440(%r11), %rcx\n"
	"	movq $0, 8(%rcx)\n"
	"	mov %rsp, 168(%r11)\n"
	"	mov 448(%r11), %rsp\n"
	/* From here on signals are held. */
	"hot_inside:\n"
	/* TF is a debugger's that steps over PUSHF: not to be set by us when it has gone. */
	"	pushfq\n"
	"	popq 184(%r11)\n"
	"	andl $~0x100, 184(%r11)\n"
	"	cld\n"
	"	mov %r8, 48(%r11)\n"
	"	mov %r9, 56(%r11)\n"
	"	mov %r10, 64(%r11)\n"
	"	mov %r12, 80(%r11)\n"
	"	mov %r13, 88(%r11)\n"
	"	mov %r14, 96(%r11)\n"
	"	mov %r15, 104(%r11)\n"
	"	mov %rdi, 112(%r11)\n"
	"	movq $0xae80, 120(%r11)\n"
	"	mov %rbp, 128(%r11)\n"
	"	mov %rbx, 136(%r11)\n"
	"	mov %rdx, 144(%r11)\n"
	"	movq $16, 152(%r11)\n"
	"	mov 16(%rsi), %rax\n"
	"	mov %rax, 160(%r11)\n"
	"	mov %rax, 176(%r11)\n"
	"	mov 184(%r11), %rax\n"
	"	mov %rax, 72(%r11)\n"
	"	mov %r11, %rbp\n"
	"	rdfsbase %r12\n"
	"	mov 440(%rbp), %rbx\n"
	"	mov (%rbx), %rax\n"
	"	wrfsbase %rax\n"
	"	mov 456(%rbp), %eax\n"
	"	mov 460(%rbp), %edx\n"
	"	mov 232(%rbp), %rcx\n"
	"	xsave64 (%rcx)\n"
	/* As the kernel enters a handler. */
	"	fninit\n"
	"	ldmxcsr hot_mxcsr(%rip)\n"
	"	mov %rbx, %rdi\n"
	"	lea 8(%rbp), %rsi\n"
	"	mov %r12, %rdx\n"
	"	call hot_call\n"
	"	mov %rax, %r12\n"
	"	mov 456(%rbp), %eax\n"
	"	mov 460(%rbp), %edx\n"
	"	mov 232(%rbp), %rcx\n"
	"	xrstor64 (%rcx)\n"
	"	wrfsbase %r12\n"
	/* A signal that is held from here on sends us to hot_slow. */
	"hot_window:\n"
	"	cmpq $0, 8(%rbx)\n"
	"	jne hot_slow\n"
	"	mov %rbp, %rsp\n"
	"	mov 48(%rsp), %r8\n"
	"	mov 56(%rsp), %r9\n"
	"	mov 64(%rsp), %r10\n"
	"	mov 80(%rsp), %r12\n"
	"	mov 88(%rsp), %r13\n"
	"	mov 96(%rsp), %r14\n"
	"	mov 104(%rsp), %r15\n"
	"	mov 112(%rsp), %rdi\n"
	"	mov 120(%rsp), %rsi\n"
	"	mov 128(%rsp), %rbp\n"
	"	mov 136(%rsp), %rbx\n"
	"	mov 144(%rsp), %rdx\n"
	"	mov 152(%rsp), %rax\n"
	"	mov 184(%rsp), %r11\n"
	"	push %r11\n"
	"	popfq\n"
	"	mov 176(%rsp), %rcx\n"
	"	mov 168(%rsp), %rsp\n"
	"hot_leave:\n"
	"	jmp *%rcx\n"
	"hot_window_end:\n"
	/* RBP: the frame. */
	"hot_slow:\n"
	"	lea 8(%rbp), %rsp\n"
	"	mov $15, %eax\n" /* rt_sigreturn */
	"	syscall\n"
	"	hlt\n"
	".size hot_entry, . - hot_entry\n"
	".section .rodata\n"
	".p2align 2\n"
	"hot_mxcsr: .long 0x1f80\n"
	".text\n");
