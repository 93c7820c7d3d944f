/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/clock_order.c - two CPUs take times under a lock: the TSC and the kvmclock of either
 * never go back (docs/kvm-abi.md 6.3), read with RDTSCP or LFENCE and RDTSC, which wait for the
 * loads before them (APM3 RDTSCP).
 */
/* Run: build/standin run -- build/tests/guest/guest_clock_order [NAME...] */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/guest/harness/harness.h"

enum {
	LOCK = G_DATA, LAST_TSC = G_DATA + 0x40, LAST_NS = G_DATA + 0x80, BACK = G_DATA + 0xc0,
	PAGE = G_DATA + 0x1000,	/* a kvmclock page for each CPU, 0x40 bytes apart */
	CODE1 = G_CODE + 0x1000,
};

/*
 * r8 the CPU's page, r10 rounds. In the lock: the TSC against the last one, the clock against the
 * last one. Whoever finds an older one adds to BACK.
 */
#define TAKE(read) \
	"1: mov $1, %eax\n xchg %eax, 0x10000\n test %eax, %eax\n jz 2f\n" \
	"8: pause\n cmpl $0, 0x10000\n jne 8b\n jmp 1b\n" \
	"2: mov (%r8), %r9d\n" read "shl $32, %rdx\n or %rdx, %rax\n mov %rax, %r13\n" \
	"sub 8(%r8), %rax\n movsbl 28(%r8), %ecx\n test %ecx, %ecx\n js 3f\n" \
	"shl %cl, %rax\n jmp 4f\n" \
	"3: neg %ecx\n shr %cl, %rax\n" \
	"4: mov 24(%r8), %ecx\n mul %rcx\n shrd $32, %rdx, %rax\n add 16(%r8), %rax\n" \
	"testl $1, (%r8)\n jnz 2b\n cmp (%r8), %r9d\n jne 2b\n" \
	"cmp 0x10040, %r13\n jb 5f\n cmp 0x10080, %rax\n jae 6f\n" \
	"5: incl 0x100c0\n" \
	"6: mov %r13, 0x10040\n mov %rax, 0x10080\n" \
	"movl $0, 0x10000\n dec %r10\n jnz 1b\n" DONE
#define ENABLE "mov $0x4b564d01, %ecx\n lea 1(%r8), %eax\n xor %edx, %edx\n wrmsr\n"

CODE64(by_rdtscp, ENABLE TAKE("rdtscp\n"));
CODE64(by_rdtsc, ENABLE TAKE("lfence\n rdtsc\n"));

static atomic_bool ended;

static void *load(void *arg)
{
	while (!atomic_load(&ended))
		;
	return arg;
}

static void *run_it(void *arg)
{
	struct stop *s = arg;

	*s = cpu_run((struct guest_cpu *)(uintptr_t)s->val);
	return NULL;
}

static void both(const u8 *code, u32 len, u64 rounds, bool busy)
{
	struct guest *g = guest_new_flags(M_LONG, 0);
	struct guest_cpu *c = guest_add_cpu(g);
	struct stop s, other = { .val = (u64)(uintptr_t)c };
	pthread_t t, more[2];

	guest_write(g, G_CODE, code, len);
	guest_write(g, CODE1, code, len);
	cpu_setup(c);
	for (u32 i = 0; i < 2; i++)
		WITH_REGS(&g->cpu[i], r) {
			r.rip = i ? CODE1 : G_CODE;
			r.rsp = i ? G_IST1 : G_STACK;
			r.r8 = PAGE + 0x40 * i;
			r.r10 = rounds;
		}
	atomic_store(&ended, false);
	for (u32 i = 0; i < 2 && busy; i++)
		if (pthread_create(&more[i], NULL, load, NULL))
			test_die("pthread_create");
	if (pthread_create(&t, NULL, run_it, &other))
		test_die("pthread_create");
	s = run(g);
	pthread_join(t, NULL);
	atomic_store(&ended, true);
	for (u32 i = 0; i < 2 && busy; i++)
		pthread_join(more[i], NULL);
	CHECK_STOP(s, ST_DONE);
	CHECK_STOP(other, ST_DONE);
	CHECK_EQ(*g32(g, BACK), 0);
	CHECK(*g64(g, LAST_NS) != 0);
	/* Both CPUs have the same clock. */
	CHECK(!memcmp(g->ram + PAGE + 8, g->ram + PAGE + 0x48, 21));
	guest_free(g);
}

T(rdtscp, "RDTSCP, 4 million times")
{
	both(by_rdtscp_b, (u32)LEN(by_rdtscp), 2000000, false);
}

T(rdtsc, "LFENCE and RDTSC, 4 million times")
{
	both(by_rdtsc_b, (u32)LEN(by_rdtsc), 2000000, false);
}

T(busy, "RDTSCP, 2 million times, with two more threads than CPUs")
{
	both(by_rdtscp_b, (u32)LEN(by_rdtscp), 1000000, true);
}
