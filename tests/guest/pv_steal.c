/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/pv_steal.c - steal time's `preempted` byte: a vCPU that sleeps in HLT says so, and
 * flushes its TLB when it wakes if somebody has asked for that there (KVM's paravirtual TLB flush).
 */
/* Run: build/standin run -- build/tests/guest/guest_pv_steal [NAME...] */
#include <pthread.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"

#define STEAL 0x20000u
#define PREEMPTED (STEAL + 16)
#define PAGE_A 0x500000u
#define PAGE_B 0x501000u

/* r12: before the halt, r13: after it; the handler ends it. */
CODE64(halt, G_APIC_ON
	"mov $0x4b564d03, %ecx\n mov $0x20001, %eax\n xor %edx, %edx\n wrmsr\n"
	"mov $0x200000, %esi\n mov (%rsi), %r12d\n sti\n hlt\n mov (%rsi), %r13d" DONE
	"halt_h: movl $0, 0xb0(%rbp)\n iretq\n");
LABEL(halt_h);

struct runner {
	struct guest *g;
	struct stop s;
};

static void *runs(void *arg)
{
	struct runner *r = arg;

	r->s = run(r->g);
	return NULL;
}

static struct stop halted(struct guest *g, u8 ask)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x50 };
	volatile u8 *byte = g->ram + PREEMPTED;
	struct runner r = { .g = g };
	pthread_t t;

	guest_map_apic(g);
	guest_handler(g, 0x50, AT(halt, halt_h));
	*g32(g, PAGE_A) = 0x11;
	*g32(g, PAGE_B) = 0x22;
	*guest_pte(g, G_WINDOW) = PAGE_A | PTE_P | PTE_W | PTE_A | PTE_D;
	pthread_create(&t, NULL, runs, &r);
	for (int i = 0; i < 2000 && !(*byte & 1); i++)
		usleep(1000);
	CHECK_EQ(*byte, 1);
	*guest_pte(g, G_WINDOW) = PAGE_B | PTE_P | PTE_W | PTE_A | PTE_D;
	__atomic_fetch_or(byte, ask, __ATOMIC_SEQ_CST);
	CHECK_EQ(ioctl(g->vm, KVM_SIGNAL_MSI, &msi), 1);
	pthread_join(t, NULL);
	CHECK_EQ(*byte, 0);
	return r.s;
}

static struct guest *make(void)
{
	struct guest *g = guest_new_flags(M_LONG, GUEST_IRQCHIP);

	guest_write(g, G_CODE, halt_b, (u32)LEN(halt));
	if (!guest_has(g, 0x40000001, 0, 5) || !guest_has(g, 0x40000001, 0, 9))
		test_skip("no steal time or no paravirtual TLB flush");
	return g;
}

T(flush, "a flush that was asked for while the vCPU slept is made before it goes on")
{
	struct guest *g = make();
	struct stop s = halted(g, 2);

	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.r12, 0x11);
	CHECK_EQ(s.r.r13, 0x22);
	guest_free(g);
}

T(preempted, "sleeping is said and taken back, again and again")
{
	struct guest *g = make();
	struct stop s = halted(g, 0);

	CHECK_STOP(s, ST_DONE);
	for (int i = 0; i < 3; i++) {
		WITH_REGS(cpu0(g), r)
			r.rip = G_CODE;
		s = halted(g, 2);
		CHECK_STOP(s, ST_DONE);
		CHECK_EQ(s.r.r13, 0x22);
		*guest_pte(g, G_WINDOW) = PAGE_A | PTE_P | PTE_W | PTE_A | PTE_D;
	}
	guest_free(g);
}
