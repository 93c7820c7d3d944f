/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/shared.c - descriptors that two CPUs use at once: setting the accessed bit and the
 * busy bit are locked operations (APM2 7.3.2, "Access Atomicity"; SDM3 8.1.2.1).
 */
/* Run: build/standin run -- build/tests/guest/guest_shared [NAME...] */
#include <pthread.h>

#include "tests/guest/harness/harness.h"

#define DESC (G_GDT + SEL_FREE)

static void *other(void *p)
{
	struct stop s = cpu_run(p);

	CHECK_STOP(s, ST_DONE);
	return NULL;
}

/* Both from `a` and `b` on: rsi is the descriptor's type byte, rdi memory of both. */
static struct guest *both(struct guest *g, u64 a, u64 b)
{
	struct guest_cpu *c = guest_add_cpu(g);
	pthread_t t;

	for (u32 i = 0; i < 2; i++)
		WITH_REGS(&g->cpu[i], r) {
			r.rip = i ? b : a;
			r.rsi = DESC + 5;
			r.rdi = G_DATA;
			r.r10 = r.rsp;
			r.r11 = i;
		}
	pthread_create(&t, NULL, other, c);
	RUN_TO(g, ST_DONE);
	pthread_join(t, NULL);
	return g;
}

/* rbx counts how often its own bit was not what it had made it. */
CODE64(toggle, "3: pause\n cmpl $0, 4(%rdi)\n je 3b\n mov $8000000, %ecx\n xor %ebx, %ebx\n"
	"mov (%rsi), %dl\n and $0x20, %dl\n"
	"1: lock xorb $0x20, (%rsi)\n xor $0x20, %dl\n mov (%rsi), %al\n and $0x20, %al\n"
	"cmp %al, %dl\n je 2f\n inc %ebx\n mov %al, %dl\n 2: dec %ecx\n jnz 1b\n"
	"movl $1, (%rdi)" DONE);
CODE64(load, "movl $1, 4(%rdi)\n mov $0x80, %eax\n"
	"1: lock andb $0xfe, (%rsi)\n mov %eax, %es\n cmpl $0, (%rdi)\n je 1b" DONE);
T(accessed, "a segment load sets the accessed bit, and undoes nothing that another CPU does there")
{
	struct guest *g = guest_with(M_LONG, toggle);

	guest_load(g, 0x9000, load);
	guest_gdt(g, SEL_FREE, gdt_desc(0, 0xffffffff, 0x92, 0xc));
	both(g, G_CODE, 0x9000);
	CHECK_EQ((u32)cpu_regs(cpu0(g)).rbx, 0);
}

/*
 * Each round both load it; CPU 0 makes it available again, and ends the test: after 40,000 rounds,
 * or when time is up on hosts where the two take turns.
 */
LABEL(take_gp);
CODE64(take, "mov $40000, %r8d\n mov $2, %r9d\n"
	"rdtsc\n shl $32, %rdx\n or %rdx, %rax\n mov %rax, %r12\n"
	"1: lock incl 8(%rdi)\n 2: pause\n cmp %r9d, 8(%rdi)\n jb 2b\n"
	"cmpl $0, 20(%rdi)\n jne 9f\n"
	"mov $0x80, %eax\n ltr %ax\n lock incl 4(%rdi)\n jmp 3f\n"
	"take_gp: lock incl 16(%rdi)\n"
	"3: mov %r10, %rsp\n lock incl 12(%rdi)\n 4: pause\n cmp %r9d, 12(%rdi)\n jb 4b\n"
	"add $2, %r9d\n cmp $0, %r11d\n jne 1b\n"
	"lock andb $0xfd, (%rsi)\n incl 24(%rdi)\n dec %r8d\n jz 5f\n"
	"rdtsc\n shl $32, %rdx\n or %rdx, %rax\n sub %r12, %rax\n cmp $2000000000, %rax\n jb 1b\n"
	"5: movl $1, 20(%rdi)\n jmp 1b\n 9: nop" DONE);
T(busy, "of two CPUs that load the same task register one finds it busy")
{
	struct guest *g = guest_with(M_LONG, take);
	u32 rounds;

	guest_gdt(g, SEL_FREE, gdt_desc(G_TSS2, 0x67, 0x89, 0));
	guest_handler(g, 13, AT(take, take_gp));
	both(g, G_CODE, G_CODE);
	rounds = *g32(g, G_DATA + 24);
	CHECK(rounds > 0);
	CHECK_EQ(*g32(g, G_DATA + 4), rounds);
	CHECK_EQ(*g32(g, G_DATA + 16), rounds);
}
