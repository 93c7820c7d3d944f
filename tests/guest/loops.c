/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/loops.c - getting a vCPU out of a loop that never exits: signals,
 * immediate_exit, interrupts from other threads and other vCPUs; locked operations
 * between vCPUs.
 */
/* Run: build/standin run -- build/tests/guest/guest_loops [NAME...] */
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"

#define VEC 0x55
/* Three shapes: one block onto itself, chained blocks, calls and returns. */
CODE64(self, "1: jmp 1b");
CODE64(chain, "1: inc %rax\n test $1, %al\n jz 2f\n nop\n 2: jmp 3f\n ud2\n 3: jmp 1b");
CODE64(calls, "1: call 2f\n jmp 1b\n 2: inc %rax\n ret");
CODE64(indirect, "lea 1f(%rip), %rdi\n 1: inc %rax\n jmp *%rdi");
CODE64(loads, "1: mov (%rsi), %rbx\n mov %rbx, 8(%rsi)\n dec %ecx\n jnz 1b\n jmp 1b");
/* 2^60 calls, none of them backwards. */
CODE64(forward, "1: .rept 60\n call 2f\n call 2f\n ret\n 2:\n .endr\n nop\n ret");
static const struct { const u8 *b, *e; const char *name; } shapes[] = {
	{ self_b, self_e, "self" }, { chain_b, chain_e, "chain" }, { calls_b, calls_e, "calls" },
	{ indirect_b, indirect_e, "indirect" }, { loads_b, loads_e, "loads" },
	{ forward_b, forward_e, "forward calls" },
};

static struct guest_cpu *kicked;
static void on_kick(int sig)
{
	kicked->run->immediate_exit = 1;
}
static void plain_handler(int sig)
{
}

struct kicker {
	pthread_t target, thread;
	_Atomic bool seen;
};
/* On a busy host the first may come before KVM_RUN. */
static void *kick(void *p)
{
	struct kicker *k = p;

	do {
		usleep(50000);
		pthread_kill(k->target, SIGUSR1);
	} while (!k->seen);
	return NULL;
}

static void start_kicker(struct kicker *k, void (*fn)(int))
{
	struct sigaction sa = { .sa_handler = fn };

	sigaction(SIGUSR1, &sa, NULL);
	k->target = pthread_self();
	k->seen = false;
	pthread_create(&k->thread, NULL, kick, k);
}

static void stop_kicker(struct kicker *k)
{
	k->seen = true;
	pthread_join(k->thread, NULL);
}

static void kick_out(const u8 *p, u32 n, const char *name, void (*fn)(int))
{
	struct guest *g = guest_with_code(M_LONG, p, n);
	struct kicker k;
	struct stop s;

	kicked = cpu0(g);
	WITH_REGS(cpu0(g), r) {
		r.rsi = G_DATA;
		r.rflags |= 0x200;
	}
	start_kicker(&k, fn);
	s = run(g);
	stop_kicker(&k);
	if (s.kind != ST_INTR)
		test_fail(__FILE__, __LINE__, "%s: %s", name, stop_text(&s));
	g->cpu[0].run->immediate_exit = 0;
	/* And an interrupt given now is taken at once. */
	cpu_interrupt(cpu0(g), VEC);
	s = RUN_EXC(g, VEC, -1);
	if (s.rip < G_CODE || s.rip >= G_CODE + n)
		test_fail(__FILE__, __LINE__, "%s: interrupted at %#llx", name,
			  (unsigned long long)s.rip);
	guest_free(g);
}
T(kick_immediate, "a signal whose handler sets immediate_exit ends KVM_RUN with EINTR")
{
	for (u32 i = 0; i < ARRAY_SIZE(shapes); i++)
		kick_out(shapes[i].b, (u32)(shapes[i].e - shapes[i].b), shapes[i].name, on_kick);
}
T(kick_plain, "a signal with a plain handler ends KVM_RUN with EINTR")
{
	for (u32 i = 0; i < ARRAY_SIZE(shapes); i++)
		kick_out(shapes[i].b, (u32)(shapes[i].e - shapes[i].b), shapes[i].name,
			 plain_handler);
}
T(sigmask, "a blocked signal that KVM_SET_SIGNAL_MASK opens ends KVM_RUN")
{
	/* struct kvm_signal_mask with its set: none is blocked while the guest runs. */
	struct {
		u32 len;
		u8 set[8];
	} arg = { .len = 8 };
	struct guest *g = guest_with(M_LONG, chain);
	struct kicker k;
	sigset_t blocked;
	struct stop s;

	vcpu_ioctl(cpu0(g), KVM_SET_SIGNAL_MASK, &arg, "KVM_SET_SIGNAL_MASK");
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);
	start_kicker(&k, plain_handler);
	s = run(g);
	stop_kicker(&k);
	CHECK_STOP(s, ST_INTR);
	/* Pending before the call: returns at once. */
	pthread_kill(pthread_self(), SIGUSR1);
	s = RUN_TO(g, ST_INTR);
}
T(immediate, "immediate_exit returns EINTR without running the guest")
{
	struct guest *g = guest_with(M_LONG, chain);

	cpu_complete(cpu0(g));
	CHECK_EQ(cpu_regs(cpu0(g)).rax, 0);
}

/* -- in-kernel LAPIC -- */
CODE64(ipi_target, G_APIC_ON "sti\n movl $1, (%rsi)\n 1: inc %rax\n test $1, %al\n jz 2f\n nop\n"
			      " 2: jmp 1b");
CODE64(ipi_sender, G_APIC_ON "1: pause\n mov (%rsi), %eax\n test %eax, %eax\n jz 1b\n"
	" mov $5000000, %ecx\n 2: dec %ecx\n jnz 2b\n"
	" movl $0, 0x310(%rbp)\n movl $0x4055, 0x300(%rbp)" DONE);
CODE64(ipi_self, G_APIC_ON "sti\n movl $0x44055, 0x300(%rbp)\n 1: jmp 1b");
static void *run_sender(void *p)
{
	struct stop s = cpu_run(p);

	CHECK_STOP(s, ST_DONE);
	return NULL;
}
T(ipi_self, "a self-IPI in a loop without exits")
{
	struct guest *g = guest_apic(ipi_self);

	RUN_EXC(g, VEC, -1);
}
T(ipi, "an IPI from another vCPU interrupts a loop without exits")
{
	struct guest *g = guest_new_flags(M_LONG, GUEST_IRQCHIP);
	struct guest_cpu *c = guest_add_cpu(g);
	struct kvm_mp_state run_now = { .mp_state = KVM_MP_STATE_RUNNABLE };
	pthread_t t;
	struct stop s;

	vcpu_ioctl(c, KVM_SET_MP_STATE, &run_now, "KVM_SET_MP_STATE");
	guest_load(g, G_CODE, ipi_target);
	guest_load(g, 0x9000, ipi_sender);
	guest_map_apic(g);
	for (u32 i = 0; i < 2; i++)
		WITH_REGS(&g->cpu[i], r) {
			r.rsi = G_DATA;
			r.rip = i ? 0x9000 : G_CODE;
		}
	pthread_create(&t, NULL, run_sender, c);
	s = run(g);
	pthread_join(t, NULL);
	CHECK_EXC(s, VEC, -1);
	CHECK(s.rip >= G_CODE && s.rip < G_CODE + LEN(ipi_target));
}

/* -- locked operations between two vCPUs -- */
CODE64(locked, "mov $200000, %ecx\n 1: lock incl (%rsi)\n lock xaddl %edx, 4(%rsi)\n mov $1, %edx\n"
	" 2: mov 8(%rsi), %eax\n lea 1(%rax), %ebx\n"
	" lock cmpxchg %ebx, 8(%rsi)\n jne 2b\n dec %ecx\n jnz 1b" DONE);
T(locked, "LOCKed operations of two vCPUs add up")
{
	struct guest *g = guest_with(M_LONG, locked);
	struct guest_cpu *c = guest_add_cpu(g);
	pthread_t t;
	struct stop s;

	for (u32 i = 0; i < 2; i++)
		WITH_REGS(&g->cpu[i], r) {
			r.rsi = G_DATA;
			r.rdx = 1;
		}
	pthread_create(&t, NULL, run_sender, c);
	s = run(g);
	pthread_join(t, NULL);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(*g32(g, G_DATA), 400000);
	CHECK_EQ(*g32(g, G_DATA + 4), 400000);
	CHECK_EQ(*g32(g, G_DATA + 8), 400000);
}

/* -- time under a lock -- */
CODE64(stamps, "mov $300000, %edi\n 1: mov $1, %eax\n xchg %eax, (%rsi)\n test %eax, %eax\n"
	" jnz 1b\n"
	" rdtscp\n shl $32, %rdx\n or %rdx, %rax\n cmp 8(%rsi), %rax\n jae 2f\n incl 4(%rsi)\n"
	" 2: mov %rax, 8(%rsi)\n"
	" movl $0, (%rsi)\n dec %edi\n jnz 1b" DONE);
T(stamps,
  "RDTSCP waits for what is in front of it: two vCPUs take times under a lock, none goes back")
{
	struct guest *g = guest_with(M_LONG, stamps);
	struct guest_cpu *c = guest_add_cpu(g);
	pthread_t t;
	struct stop s;

	for (u32 i = 0; i < 2; i++)
		WITH_REGS(&g->cpu[i], r)
			r.rsi = G_DATA;
	pthread_create(&t, NULL, run_sender, c);
	s = run(g);
	pthread_join(t, NULL);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(*g32(g, G_DATA + 4), 0);
}
