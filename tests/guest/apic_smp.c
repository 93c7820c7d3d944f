/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/apic_smp.c - two CPUs that send each other what is not a vector: NMIs, INIT, SIPI
 * (SDM3 8.4, 11.6.1).
 */
/* Run: build/standin run -- build/tests/guest/guest_apic_smp [NAME...] */
#include <pthread.h>

#include "tests/guest/harness/harness.h"

#define FLUSH 0x44
/* Shared counters at G_DATA; rbp the APIC. Each CPU waits at a gate for the other. */
#define GATE(mine, other) "incl " mine "(%rbx)\n 8: pause\n mov " mine "(%rbx), %eax\n" \
	"cmpl $0, 0x40(%rbx)\n jne 9f\n cmp " other "(%rbx), %eax\n jne 8b\n"
#define APIC "mov $0xfee00000, %ebp\n mov $0x10000, %ebx\n movl $0x1ff, 0xf0(%rbp)\n"
#define SEND(to, icr) "movl $(" to " << 24), 0x310(%rbp)\n movl $" icr ", 0x300(%rbp)\n"
#define EOI "movl $0, 0xb0(%rbp)\n"

static void *run_it(void *arg)
{
	struct stop *s = arg;
	struct guest_cpu *c = (struct guest_cpu *)(uintptr_t)s->val;

	do	/* a CPU that waited for INIT is to be run again */
		*s = cpu_run(c);
	while (s->kind == ST_ERROR && s->err == EAGAIN);
	return NULL;
}

/* CPU 1 starts at `code`, or waits for INIT if that is 0. */
static struct guest *make(const void *code, u32 len, u64 code1)
{
	struct guest *g = guest_new_flags(M_LONG, GUEST_IRQCHIP);
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct guest_cpu *c = guest_add_cpu(g);

	guest_write(g, G_CODE, code, len);
	guest_map_apic(g);
	cpu_setup(c);
	if (code1) {
		vcpu_ioctl(c, KVM_SET_MP_STATE, &mp, "KVM_SET_MP_STATE");
		WITH_REGS(c, r) {
			r.rip = code1;
			r.rsp = G_IST1;
		}
	}
	return g;
}

static struct stop run_both(struct guest *g, struct stop *other)
{
	pthread_t t;
	struct stop s;

	*other = (struct stop){ .val = (u64)(uintptr_t)&g->cpu[1] };
	if (pthread_create(&t, NULL, run_it, other))
		test_die("pthread_create");
	s = run(g);
	*g32(g, G_DATA + 0x40) = 1;
	pthread_join(t, NULL);
	return s;
}

/* r8 NMIs of this round, r10 rounds. CPU 1's fixed IPI tells that its NMI has arrived. */
CODE64(both, APIC "xor %r10d, %r10d\n sti\n"
	"1: xor %r8d, %r8d\n movl $0, 0x20(%rbx)\n" GATE("0", "4")
	SEND("0", "0x400") "2: pause\n cmpl $0, 0x20(%rbx)\n je 2b\n"
	"cmp $2, %r8d\n jne 9f\n" GATE("8", "12")
	"inc %r10d\n cmp $2000, %r10d\n jne 1b\n 9:" DONE
	"both_1: " APIC "3: " GATE("4", "0") SEND("0", "0x400") SEND("0", "0x4044") GATE("12", "8")
	"jmp 3b\n 9:" DONE
	"both_nmi: inc %r8d\n iretq\n"
	"both_flush: movl $1, 0x10020\n" EOI "iretq\n");
LABEL(both_1);
LABEL(both_nmi);
LABEL(both_flush);

T(both, "an NMI of one's own and one from another CPU are two, before a later interrupt")
{
	struct guest *g = make(both_b, (u32)LEN(both), AT(both, both_1));
	struct stop s, other;

	guest_handler(g, 2, AT(both, both_nmi));
	guest_handler(g, FLUSH, AT(both, both_flush));
	s = run_both(g, &other);
	CHECK_STOP(s, ST_DONE);
	CHECK_STOP(other, ST_DONE);
	CHECK_EQ(s.r.r8, 2);
	CHECK_EQ(s.r.r10, 2000);
	guest_free(g);
}

/* CPU 1 opens and closes interrupts all the time, CPU 0 throws NMIs at it: none is taken at the
 * instruction behind STI (r9), which is still in its shadow. */
CODE64(sti, APIC "xor %r10d, %r10d\n"
	"1: mov 0x24(%rbx), %eax\n" SEND("1", "0x400") "2: pause\n cmp 0x24(%rbx), %eax\n je 2b\n"
	"inc %r10d\n cmp $2000, %r10d\n jne 1b" DONE
	"sti_1: " APIC "xor %r9d, %r9d\n lea sti_at(%rip), %r11\n"
	"3: sti\n sti_at: testb $0, (%rbx)\n nop\n cli\n cmpl $0, 0x40(%rbx)\n je 3b" DONE
	"sti_nmi: incl 0x10024\n cmp %r11, (%rsp)\n jne 4f\n inc %r9d\n 4: iretq\n");
LABEL(sti_1);
LABEL(sti_nmi);

T(sti, "NMIs from another CPU are not taken in the shadow of STI")
{
	struct guest *g = make(sti_b, (u32)LEN(sti), AT(sti, sti_1));
	struct stop s, other;

	guest_handler(g, 2, AT(sti, sti_nmi));
	s = run_both(g, &other);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.r10, 2000);
	CHECK_STOP(other, ST_DONE);
	CHECK_EQ(other.r.r9, 0);
	CHECK(*g32(g, G_DATA + 0x24) >= 2000);
	guest_free(g);
}

/* CPU 1 in real mode at 7000h counts and halts; each INIT and SIPI starts it anew. A second SIPI
 * is lost, and so is one without INIT. */
CODE16(ap, "xor %ax, %ax\n mov %ax, %ds\n lock incw 0x7f00\n hlt\n");
CODE64(start, APIC "mov $0x7f00, %edx\n"
	SEND("1", "0x607")				/* before any INIT: lost */
	"mov $100000, %ecx\n 1: pause\n loop 1b\n movzwl (%rdx), %r10d\n"
	"xor %r11d, %r11d\n"
	"2: " SEND("1", "0xc500") SEND("1", "0x8500")	/* INIT: level assert, de-assert */
	SEND("1", "0x607") SEND("1", "0x607")
	"inc %r11d\n 3: pause\n cmp %r11w, (%rdx)\n jb 3b\n cmp $200, %r11d\n jne 2b\n"
	"movzwl (%rdx), %r12d" DONE);

T(start, "INIT and SIPI start a CPU, as often as they are sent; SIPIs alone do nothing")
{
	struct guest *g = make(start_b, (u32)LEN(start), 0);
	pthread_t t;
	struct stop s, other = { .val = (u64)(uintptr_t)&g->cpu[1] };

	guest_load(g, 0x7000, ap);
	*g32(g, 0x7f00) = 0;
	if (pthread_create(&t, NULL, run_it, &other))
		test_die("pthread_create");
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.r10, 0);
	CHECK_EQ(s.r.r12, 200);
	/* The other CPU is halted for good: the process ends with it. */
}
