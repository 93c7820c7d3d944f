/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/halt_poll.c - polling before a halted vCPU sleeps: who turns it on and off, and that
 * KVM's counters say what was done. Whether a poll has success depends on the machine; the
 * tests hold wherever it is tried.
 */
/* Run: build/standin run -- build/tests/guest/guest_halt_poll [NAME...] */
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"

enum { VEC = 0x61, HALTS = 500 };

/* One-shot timers of 50000 bus cycles of 1 ns, and a HLT for each. */
#define SHORT_HALTS \
	"mov $500, %edi\n 9: mov %r8, %r9\n movl $50000, 0x380(%rbp)\n" \
	"8: cli\n cmp %r8, %r9\n jne 7f\n sti\n hlt\n jmp 8b\n 7: sti\n dec %edi\n jnz 9b\n"
#define APIC_ON \
	"mov $0xfee00000, %ebp\n xor %r8d, %r8d\n movl $0x1ff, 0xf0(%rbp)\n" \
	"movl $0xb, 0x3e0(%rbp)\n movl $0x61, 0x320(%rbp)\n"
CODE64(halts, APIC_ON SHORT_HALTS DONE
	      "halts_h: inc %r8\n movl $0, 0xb0(%rbp)\n iretq\n");
LABEL(halts_h);
/* MSR_KVM_POLL_CONTROL: the guest polls by itself. */
CODE64(polite, "mov $0x4b564d05, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n"
	       APIC_ON SHORT_HALTS DONE
	       "polite_h: inc %r8\n movl $0, 0xb0(%rbp)\n iretq\n");
LABEL(polite_h);

static void limit(struct guest *g, u64 ns)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_HALT_POLL, .args = { ns } };

	if (ioctl(g->vm, KVM_ENABLE_CAP, &cap))
		test_die("KVM_CAP_HALT_POLL: %s", strerror(errno));
}

/* Runs it; how often polling was tried. */
static u64 attempts(struct guest *g)
{
	struct guest_cpu *c = cpu0(g);
	u64 tried, good, woken;
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.r8, HALTS);
	tried = cpu_counter(c, "halt_attempted_poll");
	good = cpu_counter(c, "halt_successful_poll");
	woken = cpu_counter(c, "halt_wakeup");
	CHECK(good <= tried);
	/* A poll with success is no wake-up. */
	CHECK(good + woken <= cpu_counter(c, "halt_exits"));
	CHECK_EQ(!good, !cpu_counter(c, "halt_poll_success_ns"));
	CHECK_EQ(!woken, !cpu_counter(c, "halt_wait_ns"));
	CHECK_EQ(cpu_counter(c, "halt_poll_invalid"), 0);
	CHECK_EQ(cpu_counter(c, "blocking"), 0);
	return tried;
}

T(short_halts, "after halts that were short a vCPU polls")
{
	struct guest *g = guest_apic_irq(halts, VEC);

	/* Long enough for a machine that is very busy. */
	limit(g, 100000000);
	CHECK(attempts(g) > 0);
	guest_free(g);
}

T(never, "KVM_CAP_HALT_POLL with 0 turns it off")
{
	struct guest *g = guest_apic_irq(halts, VEC);

	limit(g, 0);
	CHECK_EQ(attempts(g), 0);
	CHECK_EQ(cpu_counter(cpu0(g), "halt_poll_fail_ns"), 0);
	guest_free(g);
}

T(guest_says_no, "MSR_KVM_POLL_CONTROL turns it off")
{
	struct guest *g = guest_apic_irq(polite, VEC);

	limit(g, 100000000);
	CHECK_EQ(attempts(g), 0);
	guest_free(g);
}
