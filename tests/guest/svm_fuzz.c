/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/svm_fuzz.c - whatever a VMCB contains, and whoever writes to it meanwhile: VMRUN ends
 * with a documented exit and the program survives.
 *
 * SEED and ROUNDS in the environment make another or a longer run.
 */
/* Run: build/standin run -- build/tests/guest/guest_svm_fuzz [NAME...] */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

#include "tests/guest/harness/svm.h"

static u64 seed = 1;
static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static u32 rounds(u32 normal)
{
	const char *s = getenv("SEED"), *r = getenv("ROUNDS");

	seed = s ? strtoull(s, NULL, 0) | 1 : 0x9e3779b97f4a7c15;
	return r ? (u32)strtoul(r, NULL, 0) : normal;
}

/* L2 may well run for ever: a signal ends KVM_RUN then. */
static void tick(int sig)
{
}

static void ticks(u32 us)
{
	struct sigaction a = { .sa_handler = tick };
	struct itimerval t = { { 0, us }, { 0, us } };

	sigaction(SIGALRM, &a, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
}

/* A bit of everything, so that faults, port and MSR accesses and mode changes happen. */
CODE64(l2, "mov %cr0, %rax\n cpuid\n rdtsc\n push %rax\n popfq\n sti\n in $0x40, %al\n"
	"out %al, $0x41\n"
	   "mov $0x277, %ecx\n rdmsr\n wrmsr\n mov %cr4, %rax\n mov %rax, %cr4\n int $0x40\n int3\n"
	   "mov (%rbx), %rax\n lgdt (%rsp)\n invlpg (%rax)\n vmload %rax\n iretq\n hlt");

static bool plausible(const struct svm_guest *s, const struct stop *st)
{
	u64 code = s->ctl->exit_code;

	if (st->kind != ST_OUT || st->port != PORT_L1)
		return true;	/* L2's own business */
	return code == SVM_EXIT_INVALID || code == SVM_EXIT_NPF || code < 0xa7;
}

/* Back to a start from which VMRUN can be tried again, whatever state L2 has left. */
static void fresh(struct svm_guest *s, const struct kvm_sregs *sr, const struct kvm_regs *r)
{
	struct kvm_vcpu_events ev = { .flags = 0 };

	cpu_set_msr(s->c, 0xc0000080, sr->efer & ~BIT64(12));	/* out of L2 */
	cpu_set_sregs(s->c, sr);
	cpu_set_regs(s->c, r);
	vcpu_ioctl(s->c, KVM_SET_VCPU_EVENTS, &ev, "KVM_SET_VCPU_EVENTS");
}

static void mutate(struct svm_guest *s)
{
	u32 n = 1 + rnd() % 6;

	svm_rewind(s);
	for (u32 i = 0; i < 6; i++)
		s->ctl->intercept[i] |= (u32)(rnd() & rnd());
	/* Never left to itself for long: a HLT, a shutdown and a timer end L2. */
	svm_want(s, SVM_I_HLT);
	svm_want(s, SVM_I_SHUTDOWN);
	if (rnd() % 3 == 0)
		svm_npt(s);
	while (n--) {
		u8 *p = (u8 *)s->vmcb;
		u32 at = rnd() % 4 ? 0x400 + rnd() % 0x298 : rnd() % 0x140;

		switch (rnd() % 4) {
		case 0:
			p[at] ^= (u8)(1u << rnd() % 8);
			break;
		case 1:
			p[at] = (u8)rnd();
			break;
		case 2:
			*(g_u64 *)(void *)(p + (at & ~7u)) = rnd();
			break;
		default:
			*(g_u64 *)(void *)(p + (at & ~7u)) = BIT64(rnd() % 64) - rnd() % 2;
			break;
		}
	}
	if (rnd() % 8)
		svm_want(s, SVM_I_VMRUN);
}

T(any, "random VMCBs end in a documented way")
{
	u32 n = rounds(10000), exits[3] = { 0 };
	struct svm_guest s = svm_with(l2);
	struct kvm_sregs sr = cpu_sregs(s.c);
	struct kvm_regs r = cpu_regs(s.c);

	ticks(3000);
	for (u32 i = 0; i < n; i++) {
		u64 was = seed;
		struct stop st;

		fresh(&s, &sr, &r);
		mutate(&s);
		for (u32 k = 0; k < 4; k++) {
			st = svm_run(&s);
			if (st.kind != ST_OUT && st.kind != ST_IN)
				break;
			if (st.port == PORT_L1)
				break;
		}
		if (!plausible(&s, &st)) {
			printf("# seed %llx round %u: exit code %llx\n", (unsigned long long)was, i,
			       (unsigned long long)s.ctl->exit_code);
			test_fail(__FILE__, __LINE__, "not an exit code");
			return;
		}
		if (st.kind == ST_ERROR) {
			printf("# seed %llx round %u: errno %u\n", (unsigned long long)was, i,
			       st.err);
			test_fail(__FILE__, __LINE__, "KVM_RUN failed");
			return;
		}
		exits[st.kind != ST_OUT || st.port != PORT_L1
			      ? 2
			      : s.ctl->exit_code == SVM_EXIT_INVALID]++;
		/* L2's writes may have hit anything. */
		if (i % 64 == 63) {
			guest_free(s.g);
			s = svm_with(l2);
		}
	}
	printf("# %u exits, %u refused, %u other ends\n", exits[0], exits[1], exits[2]);
	CHECK(exits[0] > n / 20);
	CHECK(exits[1] > n / 20);
}

/* -- another CPU writes to the VMCB while VMRUN reads it -- */
struct writer {
	struct svm_guest *s;
	_Atomic bool stop;
	u64 seed;
};

static void *scribble(void *arg)
{
	struct writer *w = arg;
	volatile u64 *p = (volatile u64 *)(void *)w->s->vmcb;
	u64 x = w->seed;

	while (!w->stop) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		/* EVENTINJ, ASID, CR0, EFER, nCR3, intercepts: good and bad values */
		static const u16 at[] = { 0xa8, 0x58, 0x558, 0x4d0, 0xb0, 0x10, 0x90, 0x548 };
		u32 f = at[x % 8] / 8;
		u64 old = p[f];

		p[f] = x;
		for (u32 i = 0; i < x % 50; i++)
			__builtin_ia32_pause();
		p[f] = old;
	}
	return NULL;
}

CODE64(quick, "quick_1: vmmcall\n jmp quick_1");
T(race, "a VMCB that changes while VMRUN reads it: refused or run, never half of each")
{
	struct svm_guest s = svm_with(quick);
	struct writer w = { .s = &s, .seed = 0x1234567 };
	struct kvm_sregs sr = cpu_sregs(s.c);
	struct kvm_regs r = cpu_regs(s.c);
	u32 n = rounds(10000);
	pthread_t t;

	if (pthread_create(&t, NULL, scribble, &w))
		test_die("no thread");
	ticks(3000);
	for (u32 i = 0; i < n; i++) {
		struct stop st = svm_run(&s);

		/* An event was injected, CR0 made it another mode, VMMCALL was not intercepted. */
		if (st.kind != ST_OUT) {
			fresh(&s, &sr, &r);
			continue;
		}
		if (!plausible(&s, &st) || st.kind == ST_ERROR) {
			test_fail(__FILE__, __LINE__, "%s, exit code %llx", stop_text(&st),
				  (unsigned long long)s.ctl->exit_code);
			break;
		}
		if (i % 16 == 0)
			s.save->rip = G_L2;
	}
	w.stop = true;
	pthread_join(t, NULL);
}
