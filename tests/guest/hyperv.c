/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/hyperv.c - a guest that uses Hyper-V's interface (TLFS): hypercalls, reference time,
 * VP assist page and APIC MSRs, crash and reset, SynIC, synthetic timers, IPIs and events.
 *
 *   build/tests/guest/guest_hyperv NAME...    under scripts/hide-kvm build/standin run --
 */
/* Run: build/standin run -- build/tests/guest/guest_hyperv [NAME...] */
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"

#define PAGE_CALL 0x20000u	/* hypercall page */
#define PAGE_TSC 0x21000u
#define PAGE_ASSIST 0x22000u
#define PAGE_SIMP 0x23000u
#define PAGE_SIEFP 0x24000u
#define PAGE_INPUT 0x25000u

#define STR_(x) #x
#define STR(x) STR_(x)
/* Only EAX, ECX, EDX change. */
#define WRMSR(msr, val) "mov $" STR(msr) ", %ecx\n mov $" STR(val) ", %eax\n xor %edx, %edx\n" \
	" wrmsr\n"
#define RDMSR(msr) "mov $" STR(msr) ", %ecx\n rdmsr\n shl $32, %rdx\n or %rdx, %rax\n"
#define ENABLE WRMSR(0x40000000, 1) WRMSR(0x40000001, 0x20001)
/* The call's control word is in RCX, input in RDX and R8. */
#define CALL "mov $0x20000, %rbx\n call *%rbx\n"

static struct guest *hyperv(u32 flags, const void *code, u32 n)
{
	struct guest *g = guest_new_flags(M_LONG, flags);

	guest_write(g, G_CODE, code, n);
	cpu_hyperv(cpu0(g), NULL);
	return g;
}
#define HYPERV(flags, snip) hyperv(flags, snip##_b, (u32)LEN(snip))

static void synic(struct guest_cpu *c)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_HYPERV_SYNIC2 };

	vcpu_ioctl(c, KVM_ENABLE_CAP, &cap, "KVM_CAP_HYPERV_SYNIC2");
}

/* -- hypercalls -- */

CODE64(calls, ENABLE "mov $0x1234, %ecx\n" CALL "mov %rax, %r12\n mov $8, %ecx\n"
       CALL "mov %rax, %r13\n"
	" mov $0x80000008, %ecx\n" CALL "mov %rax, %r14\n mov $0x20008, %ecx\n"
	CALL "mov %rax, %r15" DONE);
T(calls, "the hypercall page calls; unknown code, a spin, reserved bits, an unwanted header")
{
	static const u8 code[] = { 0x0f, 0x01, 0xd9, 0xc3 };
	struct guest *g = HYPERV(0, calls);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK(!memcmp(g->ram + PAGE_CALL, code, 4));
	CHECK_EQ(s.r.r12, 2);
	CHECK_EQ(s.r.r13, 0);
	CHECK_EQ(s.r.r14, 3);
	CHECK_EQ(s.r.r15, 3);
	guest_free(g);
}

CODE64(calls3, "mov $8, %ecx\n calls3_at: vmmcall" DONE3);
LABEL(calls3_at);
T(calls3, "a hypercall outside ring 0 is #UD")
{
	struct guest *g = HYPERV(0, calls3);
	struct stop s;

	cpu_set_msr(cpu0(g), 0x40000000, 1);
	cpu_ring3(cpu0(g), G_CODE);
	s = RUN_EXC(g, 6, -1);
	CHECK_EQ(s.rip, AT(calls3, calls3_at));
	guest_free(g);
}

CODE64(no_os, WRMSR(0x40000001, 0x20001) RDMSR(0x40000001) "mov %rax, %r12\n"
       ENABLE WRMSR(0x40000000, 0)
	RDMSR(0x40000001) "mov %rax, %r13" DONE);
T(no_os, "without a guest OS id there is no hypercall page, and zeroing it takes it away")
{
	struct guest *g = HYPERV(0, no_os);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.r12, 0);
	CHECK_EQ(s.r.r13, 0x20000);
	guest_free(g);
}

CODE64(hidden, RDMSR(0x40000002) DONE);
T(hidden, "without the interface in CPUID, or with it enforced and the bit missing, MSRs are #GP")
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_HYPERV_ENFORCE_CPUID, .args = { 1 } };
	struct guest *g = guest_with(M_LONG, hidden);

	RUN_EXC(g, 13, 0);
	guest_free(g);
	g = HYPERV(0, hidden);
	vcpu_ioctl(cpu0(g), KVM_ENABLE_CAP, &cap, "KVM_CAP_HYPERV_ENFORCE_CPUID");
	RUN_TO(g, ST_DONE);
	guest_free(g);
	g = guest_with(M_LONG, hidden);
	for (u32 i = 0; i < g->cpuid->nent; i++)
		if (g->cpuid->entries[i].function == 0x40000001)
			g->cpuid->entries[i].eax = 0x31237648;	/* the interface, no features */
	vcpu_ioctl(cpu0(g), KVM_SET_CPUID2, g->cpuid, "KVM_SET_CPUID2");
	vcpu_ioctl(cpu0(g), KVM_ENABLE_CAP, &cap, "KVM_CAP_HYPERV_ENFORCE_CPUID");
	RUN_EXC(g, 13, 0);
	guest_free(g);
}

/* -- time -- */

/* r12 before, r13 the page's time, r14 after; all from one clock. */
CODE64(ref_time, WRMSR(0x40000021, 0x21001) "mov $0x21000, %rsi\n" RDMSR(0x40000020) "mov "
	"%rax, %r12\n"
	" rdtsc\n shl $32, %rdx\n or %rdx, %rax\n mulq 8(%rsi)\n add 16(%rsi), %rdx\n"
	" mov %rdx, %r13\n"
	RDMSR(0x40000020) "mov %rax, %r14\n mov (%rsi), %r15d\n"
	RDMSR(0x40000022) "mov %rax, %rdi\n" RDMSR(0x40000023) "mov %rax, %rbp\n" DONE);
T(ref_time, "reference counter and TSC page are one clock; frequencies")
{
	struct guest *g = HYPERV(0, ref_time);
	struct kvm_clock_data cd = { .clock = 5000000000ull };
	u64 offset;
	struct stop s;

	usleep(2000);
	s = RUN_TO(g, ST_DONE);
	CHECK(s.r.r15 != 0);
	CHECK(s.r.r12 >= 20000);
	CHECK(s.r.r12 <= s.r.r13 && s.r.r13 <= s.r.r14);
	CHECK(s.r.r14 - s.r.r12 < 10000000);
	CHECK_EQ(s.r.rdi, 1000ull * (u64)ioctl(cpu0(g)->fd, KVM_GET_TSC_KHZ, 0));
	CHECK_EQ(s.r.rbp, 1000000000);
	/* The clock is set: the page follows at the next entry, with another sequence. */
	offset = *g64(g, PAGE_TSC + 16);
	CHECK_EQ(ioctl(g->vm, KVM_SET_CLOCK, &cd), 0);
	CHECK_EQ(*g64(g, PAGE_TSC + 16), offset);
	WITH_REGS(cpu0(g), r)
		r.rip = G_CODE;
	s = RUN_TO(g, ST_DONE);
	CHECK(*g64(g, PAGE_TSC + 16) != offset);
	CHECK(s.r.r12 >= 50000000 && s.r.r12 < 60000000 + 300000000);
	guest_free(g);
}

CODE64(invariant, "mov $0x80000007, %eax\n cpuid\n mov %edx, %r12d\n" WRMSR(0x40000118, 1)
	"mov $0x80000007, %eax\n cpuid\n mov %edx, %r13d" DONE);
T(invariant, "CPUID shows the invariant TSC when the guest has asked Hyper-V for it")
{
	struct guest *g = HYPERV(0, invariant);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.r12 >> 8 & 1, 0);
	CHECK_EQ(s.r.r13 >> 8 & 1, 1);
	guest_free(g);
}

/* -- local APIC -- */

CODE64(apic, WRMSR(0x40000073, 0x22001) WRMSR(0x40000072, 0x35) RDMSR(0x40000072) "mov %rax, %r12\n"
	" mov %cr8, %r13\n" WRMSR(0x40000072, 0) G_APIC_ON
	/* to itself, vector 0x61 */
	WRMSR(0x40000071, 0x44061) "sti\n nop\n" DONE);
T(apic, "TPR, ICR and EOI by MSR; the VP assist page begins as zero")
{
	struct guest *g = HYPERV(GUEST_IRQCHIP, apic);
	struct stop s;

	guest_map_apic(g);
	*g64(g, PAGE_ASSIST) = ~0ull;
	s = RUN_EXC(g, 0x61, -1);
	CHECK_EQ(s.r.r12, 0x35);
	CHECK_EQ(s.r.r13, 3);
	CHECK_EQ(*g32(g, PAGE_ASSIST) & ~1u, 0);
	CHECK_EQ(*g32(g, PAGE_ASSIST + 4), ~0u);
	guest_free(g);
}

CODE64(eoi, G_APIC_ON WRMSR(0x40000071, 0x44061)
	WRMSR(0x40000071, 0x44062) "sti\n nop\n cli" DONE
	"eoi_h: push %rax\n push %rcx\n push %rdx\n inc %r10d\n" WRMSR(0x40000070, 0)
	"pop %rdx\n pop %rcx\n pop %rax\n iretq\n");
LABEL(eoi_h);
T(eoi, "the EOI MSR ends an interrupt: the next one comes")
{
	struct guest *g = HYPERV(GUEST_IRQCHIP, eoi);
	struct stop s;

	guest_map_apic(g);
	guest_handler(g, 0x61, AT(eoi, eoi_h));
	guest_handler(g, 0x62, AT(eoi, eoi_h));
	WITH_REGS(cpu0(g), r)
		r.r10 = 0;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.r10, 2);
	guest_free(g);
}

/* -- crash, reset, user space's calls -- */

CODE64(crash, WRMSR(0x40000100, 0x11) WRMSR(0x40000104, 0x55) "mov $0x40000105, %ecx\n"
	" xor %eax, %eax\n"
	" mov $0x80000000, %edx\n wrmsr\n crash_next: nop\n" WRMSR(0x40000003, 1) "nop" DONE);
T(crash, "a crash and a reset are system events; user space reads the parameters")
{
	struct guest *g = HYPERV(0, crash);
	struct guest_cpu *c = cpu0(g);

	RUN_TO(g, ST_OTHER);
	CHECK_EQ(c->run->exit_reason, KVM_EXIT_SYSTEM_EVENT);
	CHECK_EQ(c->run->system_event.type, KVM_SYSTEM_EVENT_CRASH);
	CHECK_EQ(cpu_msr(c, 0x40000100), 0x11);
	CHECK_EQ(cpu_msr(c, 0x40000104), 0x55);
	RUN_TO(g, ST_OTHER);
	CHECK_EQ(c->run->exit_reason, KVM_EXIT_SYSTEM_EVENT);
	CHECK_EQ(c->run->system_event.type, KVM_SYSTEM_EVENT_RESET);
	RUN_TO(g, ST_DONE);
	guest_free(g);
}

/* SignalEvent on connection 5 (fast), then on 6, then PostMessage. */
CODE64(event, ENABLE "mov $0x1005d, %ecx\n mov $5, %edx\n" CALL "mov %rax, %r12\n"
	" mov $0x1005d, %ecx\n mov $6, %edx\n" CALL "mov %rax, %r13\n"
	" mov $0x5c, %ecx\n mov $0x25000, %edx\n" CALL "mov %rax, %r14" DONE);
T(event, "HvSignalEvent: an eventfd, else user space, whose result the guest gets; HvPostMessage")
{
	struct guest *g = HYPERV(GUEST_IRQCHIP, event);
	struct guest_cpu *c = cpu0(g);
	int fd = eventfd(0, EFD_NONBLOCK);
	struct kvm_hyperv_eventfd e = { .conn_id = 5, .fd = fd };
	struct stop s;
	u64 n = 0;

	CHECK_EQ(ioctl(g->vm, KVM_HYPERV_EVENTFD, &e), 0);
	synic(c);
	s = RUN_TO(g, ST_OTHER);
	CHECK_EQ(c->run->exit_reason, KVM_EXIT_HYPERV);
	CHECK_EQ(c->run->hyperv.type, KVM_EXIT_HYPERV_HCALL);
	CHECK_EQ(c->run->hyperv.u.hcall.input, 0x1005d);
	CHECK_EQ(c->run->hyperv.u.hcall.params[0], 6);
	CHECK_EQ(read(fd, &n, 8), 8);
	CHECK_EQ(n, 1);
	c->run->hyperv.u.hcall.result = 0x11;
	s = run(g);
	CHECK_EQ(c->run->hyperv.u.hcall.input, 0x5c);
	CHECK_EQ(c->run->hyperv.u.hcall.params[0], PAGE_INPUT);
	c->run->hyperv.u.hcall.result = 0;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.r12, 0);
	CHECK_EQ(s.r.r13, 0x11);
	CHECK_EQ(s.r.r14, 0);
	close(fd);
	guest_free(g);
}

/* -- re-enlightenment, run time, the kernel debugger -- */

CODE64(reenlighten, WRMSR(0x40000106, 0x10050) RDMSR(0x40000106) "mov %rax, %r12\n"
       WRMSR(0x40000107, 1) RDMSR(0x40000107) "mov %rax, %r13\n"
       RDMSR(0x40000108) "mov %rax, %r14\n" WRMSR(0x40000108, 0)
       RDMSR(0x40000108) "mov %rax, %r15\n" STOP(1)
       RDMSR(0x40000108) "mov %rax, %r15\n" WRMSR(0x40000108, 1) DONE);
T(reenlighten, "TSC emulation is asked for and told by MSRs; only user space says that it goes on")
{
	struct guest *g = HYPERV(0, reenlighten);
	struct guest_cpu *c = cpu0(g);
	struct stop s;

	cpu_set_msr(c, 0x40000108, 1);
	s = RUN_TO(g, ST_OUT);
	CHECK_EQ(s.r.r12, 0x10050);
	CHECK_EQ(s.r.r13, 1);
	CHECK_EQ(s.r.r14, 1);
	CHECK_EQ(s.r.r15, 0);
	CHECK_EQ(cpu_msr(c, 0x40000106), 0x10050);
	CHECK_EQ(cpu_msr(c, 0x40000107), 1);
	CHECK_EQ(cpu_msr(c, 0x40000108), 0);
	cpu_set_msr(c, 0x40000108, 1);
	s = RUN_EXC(g, 13, 0);
	CHECK_EQ(s.r.r15, 1);
	guest_free(g);
}

CODE64(runtime, RDMSR(0x40000010) "mov %rax, %r12\n mov $20000000, %ebx\n 1: dec %ebx\n jnz 1b\n"
       RDMSR(0x40000010) "mov %rax, %r13\n" STOP(1) RDMSR(0x40000010) "mov %rax, %r14\n"
       WRMSR(0x40000010, 0) DONE);
T(runtime, "the run time rises while the vCPU runs, not while it is outside; it is read-only")
{
	struct guest *g = HYPERV(0, runtime);
	struct guest_cpu *c = cpu0(g);
	struct stop s = RUN_TO(g, ST_OUT);
	u64 ran = s.r.r13 - s.r.r12, at;

	CHECK(ran > 20000 && ran < 100000000);	/* of 100 ns */
	usleep(300000);
	s = RUN_EXC(g, 13, 0);
	CHECK(s.r.r14 >= s.r.r13 && s.r.r14 - s.r.r13 < 2000000);
	/* A guest that moves takes it along. */
	cpu_set_msr(c, 0x40000010, 1ull << 40);
	at = cpu_msr(c, 0x40000010);
	CHECK(at >= 1ull << 40 && at < (1ull << 40) + 100000000);
	guest_free(g);
}

static void debugger(struct kvm_cpuid_entry2 *e)
{
	if (e->function == 0x40000082)
		e->eax |= 2;
}

static void no_debugger(struct kvm_cpuid_entry2 *e)
{
	if (e->function == 0x40000082)
		e->eax = 0;
}

/* By MSRs: buffers, then a command. By hypercalls: a reset, before and after it is said so. */
CODE64(syndbg, ENABLE WRMSR(0x400000f3, 0x30000) WRMSR(0x400000f4, 0x31000)
       WRMSR(0x400000f1, 0x80000001)
       RDMSR(0x400000f2) "mov %rax, %r12\n" WRMSR(0x400000f5, 0x32000)
       "mov $0x1006b, %ecx\n xor %edx, %edx\n" CALL "mov %rax, %r13\n" WRMSR(0x400000ff, 4)
       "mov $0x6b, %ecx\n mov $0x25000, %edx\n" CALL "mov %rax, %r14" DONE);
T(syndbg, "the debugger's MSRs and calls go to user space, if CPUID has a debugger")
{
	struct guest *g = HYPERV(0, syndbg);
	struct guest_cpu *c = cpu0(g);
	struct kvm_hyperv_exit *e = &c->run->hyperv;
	struct stop s;

	cpu_hyperv(c, debugger);
	run(g);
	CHECK_EQ(c->run->exit_reason, KVM_EXIT_HYPERV);
	CHECK_EQ(e->type, KVM_EXIT_HYPERV_SYNDBG);
	CHECK_EQ(e->u.syndbg.msr, 0x400000f1);
	CHECK_EQ(e->u.syndbg.control, 0x80000001);
	CHECK_EQ(e->u.syndbg.send_page, 0x30000);
	CHECK_EQ(e->u.syndbg.recv_page, 0x31000);
	e->u.syndbg.status = 0x77;
	run(g);
	CHECK_EQ(e->type, KVM_EXIT_HYPERV_SYNDBG);
	CHECK_EQ(e->u.syndbg.msr, 0x400000f5);
	CHECK_EQ(e->u.syndbg.pending_page, 0x32000);
	run(g);
	CHECK_EQ(e->type, KVM_EXIT_HYPERV_HCALL);
	CHECK_EQ(e->u.hcall.input, 0x6b);
	e->u.hcall.result = 0x12;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.r12, 0x77);
	CHECK_EQ(s.r.r13, 8);	/* HV_STATUS_OPERATION_DENIED */
	CHECK_EQ(s.r.r14, 0x12);
	guest_free(g);
	g = HYPERV(0, syndbg);
	cpu_hyperv(cpu0(g), no_debugger);
	RUN_EXC(g, 13, 0);
	guest_free(g);
}

/* -- SynIC -- */

#define SYNIC_ON G_APIC_ON WRMSR(0x40000083, 0x23001) \
	WRMSR(0x40000082, 0x24001)

struct one_route {
	struct kvm_irq_routing h;
	struct kvm_irq_routing_entry e[1];
};
/* GSI 40 to a source of vCPU 0. */
static struct one_route route_to_source(u32 sint)
{
	return (struct one_route){
		.h.nr = 1,
		.e = { { .gsi = 40, .type = KVM_IRQ_ROUTING_HV_SINT, .u.hv_sint.sint = sint } },
	};
}

/* Source 2 at vector 0x50. */
CODE64(sint, SYNIC_ON WRMSR(0x40000092, 0x50) "xor %r10d, %r10d\n sti\n" STOP(1)
	"1: pause\n test %r10d, %r10d\n jz 1b\n cli" DONE
	"sint_h: inc %r10d\n movl $0, 0xb0(%rbp)\n iretq\n");
LABEL(sint_h);
T(sint,
  "the message page's set-up is told to user space; a routed source interrupts; irqfd resamples")
{
	struct guest *g = HYPERV(GUEST_IRQCHIP, sint);
	struct guest_cpu *c = cpu0(g);
	struct one_route r = route_to_source(2);
	int fd = eventfd(0, EFD_NONBLOCK), again = eventfd(0, EFD_NONBLOCK);
	struct kvm_irqfd f = { .fd = (u32)fd, .gsi = 40, .flags = KVM_IRQFD_FLAG_RESAMPLE,
			       .resamplefd = (u32)again };
	struct pollfd p = { .fd = again, .events = POLLIN };
	u64 one = 1;
	struct stop s;

	guest_map_apic(g);
	guest_handler(g, 0x50, AT(sint, sint_h));
	synic(c);
	CHECK_EQ(ioctl(g->vm, KVM_SET_GSI_ROUTING, &r), 0);
	CHECK_EQ(ioctl(g->vm, KVM_IRQFD, &f), 0);
	s = run(g);
	CHECK_EQ(c->run->exit_reason, KVM_EXIT_HYPERV);
	CHECK_EQ(c->run->hyperv.type, KVM_EXIT_HYPERV_SYNIC);
	CHECK_EQ(c->run->hyperv.u.synic.msr, 0x40000083);
	CHECK_EQ(c->run->hyperv.u.synic.msg_page, 0x23001);
	s = run(g);
	CHECK_EQ(c->run->hyperv.u.synic.evt_page, 0x24001);
	s = RUN_TO(g, ST_OUT);
	CHECK_EQ(write(fd, &one, 8), 8);
	/* A thread of its own may look at the eventfd: the guest waits. */
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.r10, 1);
	CHECK_EQ(poll(&p, 1, 2000), 1);		/* its EOI */
	guest_free(g);
	close(fd);
	close(again);
}

CODE64(auto_eoi, SYNIC_ON WRMSR(0x40000093, 0x20051) "xor %r10d, %r10d\n sti\n" STOP(1) "nop\n"
	" mov 0x120(%rbp), %r11d\n" STOP(2) "nop\n cli" DONE "auto_eoi_h: inc %r10d\n iretq\n");
LABEL(auto_eoi_h);

/* -- timers -- */

/* Timer 0: direct, vector 0x70, one shot 2 ms from now. */
CODE64(direct, G_APIC_ON "xor %r10d, %r10d\n"
	WRMSR(0x400000b0, 0x1708) /* direct, vector 0x70, auto-enable */
	RDMSR(0x40000020) "add $20000, %rax\n mov %rax, %r12\n mov %rax, %rdx\n shr $32, %rdx\n"
	" mov $0x400000b1, %ecx\n wrmsr\n sti\n 1: hlt\n test %r10d, %r10d\n jz 1b\n cli\n"
	RDMSR(0x40000020) "mov %rax, %r13\n" RDMSR(0x400000b0) "mov %rax, %r14" DONE
	"direct_h: inc %r10d\n movl $0, 0xb0(%rbp)\n iretq\n");
LABEL(direct_h);
T(direct,
  "a synthetic timer in direct mode wakes a halted CPU, not before its time, and is off then")
{
	struct guest *g = HYPERV(GUEST_IRQCHIP, direct);
	struct stop s;

	guest_map_apic(g);
	guest_handler(g, 0x70, AT(direct, direct_h));
	synic(cpu0(g));
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.r10, 1);
	CHECK(s.r.r13 >= s.r.r12);
	CHECK(s.r.r13 - s.r.r12 < 10000000);
	CHECK_EQ(s.r.r14 & 1, 0);
	guest_free(g);
}

/* Timer 1: periodic, 1 ms, messages through source 2 at vector 0x50, while the guest computes. */
CODE64(periodic, SYNIC_ON WRMSR(0x40000092, 0x50) "xor %r10d, %r10d\n"
	WRMSR(0x400000b3, 10000) WRMSR(0x400000b2, 0x20003) "sti\n 1: pause\n cmp $3, %r10d\n"
		" jb 1b\n cli\n"
	WRMSR(0x400000b2, 0) DONE
	"periodic_h: inc %r10d\n mov 0x23200, %r11d\n mov 0x23210, %r12d\n mov 0x23218, %r13\n"
	" mov 0x23220, %r14\n"
	" movl $0, 0x23200\n movl $0, 0xb0(%rbp)\n iretq\n");
LABEL(periodic_h);
T(periodic, "a periodic timer posts messages to its source's slot")
{
	struct guest *g = HYPERV(GUEST_IRQCHIP, periodic);
	struct stop s;

	guest_map_apic(g);
	guest_handler(g, 0x50, AT(periodic, periodic_h));
	synic(cpu0(g));
	do
		s = run(g);
	while (cpu0(g)->run->exit_reason == KVM_EXIT_HYPERV);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.r10, 3);
	CHECK_EQ(s.r.r11, 0x80000010);
	CHECK_EQ(s.r.r12, 1);
	CHECK(s.r.r14 >= s.r.r13);
	guest_free(g);
}

T(auto_eoi, "AutoEOI: a source's interrupt is over when it is taken")
{
	struct guest *g = HYPERV(GUEST_IRQCHIP, auto_eoi);
	struct guest_cpu *c = cpu0(g);
	struct one_route r = route_to_source(3);
	struct kvm_irq_level l = { .irq = 40, .level = 1 };
	struct stop s;

	guest_map_apic(g);
	guest_handler(g, 0x51, AT(auto_eoi, auto_eoi_h));
	synic(c);
	CHECK_EQ(ioctl(g->vm, KVM_SET_GSI_ROUTING, &r), 0);
	do
		s = run(g);
	while (c->run->exit_reason == KVM_EXIT_HYPERV);
	CHECK_STOP(s, ST_OUT);
	CHECK_EQ(ioctl(g->vm, KVM_IRQ_LINE_STATUS, &l), 0);
	CHECK_EQ(l.status, 1);
	s = RUN_TO(g, ST_OUT);
	CHECK_EQ(s.r.r10, 1);
	CHECK_EQ(s.r.r11, 0);		/* ISR, vectors 0x40 to 0x5f */
	l.irq = 40;		/* it was the status */
	CHECK_EQ(ioctl(g->vm, KVM_IRQ_LINE, &l), 0);
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.r10, 2);
	guest_free(g);
}

/* -- IPIs and flushes -- */

/* SendIpi, fast: vector 0x62 to processor 0. SendIpiEx, fast with XMM: sparse set, bank 0.
 * Flushes. */
CODE64(ipi, ENABLE G_APIC_ON "xor %r10d, %r10d\n sti\n"
	" mov $0x1000b, %ecx\n mov $0x62, %edx\n mov $1, %r8d\n" CALL "mov %rax, %r12\n nop\n"
	" mov $1, %eax\n movq %rax, %xmm0\n pinsrq $1, %rax, %xmm0\n"
	" mov $0x30015, %ecx\n mov $0x62, %edx\n xor %r8d, %r8d\n" CALL "mov %rax, %r13\n nop\n"
	" mov $0x1000b, %ecx\n mov $5, %edx\n mov $1, %r8d\n" CALL "mov %rax, %r14\n"
	" mov $0x10002, %ecx\n xor %edx, %edx\n mov $1, %r8d\n" CALL "mov %rax, %r15\n"
	" movl $2, 0x25000\n movl $0, 0x25008\n movl $1, 0x25010\n mov $0x1200000003, %rcx\n"
	" mov $0x25000, %edx\n" CALL "mov %rax, %rsi\n cli" DONE
	"ipi_h: inc %r10d\n movl $0, 0xb0(%rbp)\n iretq\n");
LABEL(ipi_h);
T(ipi, "IPI and flush calls: fast, with XMM, from memory; a vector below 16 is refused")
{
	struct guest *g = HYPERV(GUEST_IRQCHIP, ipi);
	struct stop s;

	guest_map_apic(g);
	guest_handler(g, 0x62, AT(ipi, ipi_h));
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.r12, 0);
	CHECK_EQ(s.r.r13, 0);
	CHECK_EQ(s.r.r10, 2);
	CHECK_EQ(s.r.r14, 3);
	CHECK_EQ(s.r.r15, 0);
	CHECK_EQ(s.r.rsi, 0x1200000000);	/* all 18 repetitions done */
	guest_free(g);
}

/* -- anything at all -- */

static u64 seed = 0x9e3779b97f4a7c15;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

/* Mostly what could be a call. */
static u64 control_word(void)
{
	static const u16 codes[] = { 2, 3, 8, 0xb, 0x13, 0x14, 0x15, 0x5c, 0x5d, 0x69, 0x6a, 0x6b,
				     0x8001,
				     0x8041, 0x8042, 0, 0xffff };
	u64 w = codes[rnd() % ARRAY_SIZE(codes)] | (rnd() & 1) << 16;

	if (!(rnd() & 3))
		w |= (rnd() & 0x3ff) << 17;
	else if (rnd() & 1)
		w |= (rnd() & 3) << 17;
	if (rnd() & 1)
		w |= (rnd() & 0x1f) << 32;
	if (!(rnd() & 7))
		w = rnd();
	return w;
}

static u64 operand(void)
{
	switch (rnd() & 7) {
	case 0: return rnd();
	case 1: return PAGE_INPUT + 0x1000 - (rnd() & 0x3f);
	case 2: return G_RAM_SIZE - (rnd() & 0x1f);
	case 3: return rnd() & 0x3ff;
	default: return PAGE_INPUT + (rnd() & 0xf8);
	}
}

CODE64(any, "vmmcall\n any_next:" DONE);
LABEL(any_next);
T(any_call, "20,000 random hypercalls: a status, #UD or user space's exit, and the guest goes on")
{
	struct guest *g = HYPERV(GUEST_IRQCHIP, any);
	struct guest_cpu *c = cpu0(g);
	u32 bad = 0, kinds = 0;

	synic(c);
	guest_add_cpu(g);
	cpu_set_msr(c, 0x40000000, 1);
	for (u32 i = 0; i < 20000; i++) {
		struct stop s;

		for (u32 k = 0; k < 8; k++)
			*g64(g, PAGE_INPUT + 8 * (rnd() & 31)) = rnd() & 1 ? rnd() & 3 : rnd();
		WITH_REGS(c, r) {
			r.rip = G_CODE;
			r.rflags = 2;
			r.rcx = control_word();
			r.rdx = operand();
			r.r8 = operand();
		}
		s = run(g);
		if (s.kind == ST_OTHER && c->run->exit_reason == KVM_EXIT_HYPERV) {
			kinds |= 1;
			c->run->hyperv.u.hcall.result = 5;
			s = run(g);
			bad += s.r.rax != 5;
		}
		bad += s.kind != ST_DONE;
		kinds |= s.r.rax == 0 ? 2 : (u16)s.r.rax == 3 ? 4 : 0;
		if (bad)
			break;
	}
	CHECK_EQ(bad, 0);
	CHECK_EQ(kinds, 7);
	guest_free(g);
}

CODE64(any_msr, "wrmsr\n rdmsr\n any_msr_next:" DONE);
T(any_msr, "20,000 random writes to Hyper-V's MSRs: taken, #GP or an exit, and the guest goes on")
{
	struct guest *g = HYPERV(GUEST_IRQCHIP, any_msr);
	struct guest_cpu *c = cpu0(g);
	u32 bad = 0;

	synic(c);
	for (u32 i = 0; i < 20000 && !bad; i++) {
		u32 msr = 0x40000000 + (rnd() & 3 ? rnd() % 0x120 : rnd() & 0x1ff);
		u64 v = rnd() & 1 ? operand() | (rnd() & 1) : rnd();
		struct stop s;
		u32 exits = 0;

		/* What would interrupt, or write over code and tables, is for other tests. */
		if ((msr >= 0x40000070 && msr <= 0x40000072) || (msr & 0xf0) == 0xb0)
			continue;
		if (v < 0x20000 + (msr == 0x40000001 ? 0 : 1))
			v = 0;
		WITH_REGS(c, r) {
			r.rip = G_CODE;
			r.rflags = 2;
			r.rcx = msr;
			r.rax = (u32)v;
			r.rdx = v >> 32;
		}
		do
			s = run(g);
		while (s.kind == ST_OTHER &&
		       (c->run->exit_reason == KVM_EXIT_HYPERV ||
			c->run->exit_reason == KVM_EXIT_SYSTEM_EVENT) &&
		       exits++ < 5);
		bad += s.kind != ST_DONE && (s.kind != ST_EXC || s.vec != 13);
		if (s.kind == ST_EXC)
			cpu_setup(c);
		if (bad)
			test_fail(__FILE__, __LINE__, "MSR %#x value %#llx: %s", msr,
				  (unsigned long long)v, stop_text(&s));
	}
	guest_free(g);
}
