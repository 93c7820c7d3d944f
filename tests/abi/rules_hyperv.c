/* SPDX-License-Identifier: MIT */
/* tests/abi/rules_hyperv.c - Hyper-V's interface as user space sees it. What the guest sees of it:
 * tests/guest/hyperv.c. */
/* Run: build/standin run -- build/tests/abi/abi_rules [NAME...] */
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "tests/abi/abi.h"

static struct kvm_cpuid2 *leaves(int fd, u32 n)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 64 * sizeof(c->entries[0]));

	MUST(c);
	c->nent = n;
	errno = 0;
	if (ioctl(fd, KVM_GET_SUPPORTED_HV_CPUID, c))
		c->nent = 0;
	return c;
}

static const struct kvm_cpuid_entry2 *leaf(const struct kvm_cpuid2 *c, u32 function)
{
	for (u32 i = 0; i < c->nent; i++)
		if (c->entries[i].function == function)
			return &c->entries[i];
	MUST(!"leaf");
	return NULL;
}

T(hyperv_cpuid, "6.8: GET_SUPPORTED_HV_CPUID: system and vCPU; too few entries E2BIG, nent as is")
{
	struct kvm_cpuid2 *c, *d;

	machine(0);
	NEED(cap(m.sys, KVM_CAP_HYPERV_CPUID) == 1, "no Hyper-V");
	EQ(cap(m.sys, KVM_CAP_HYPERV), 1);
	EQ(cap(m.sys, KVM_CAP_SYS_HYPERV_CPUID), 1);
	c = leaves(m.sys, 3);
	EQ(errno, E2BIG);
	c = leaves(m.sys, 0);
	EQ(errno, E2BIG);
	c = leaves(m.sys, 64);
	TRUE(c->nent >= 9);
	EQ(leaf(c, 0x40000001)->eax, 0x31237648);
	/* hypercalls, VP index, reference counter, TSC page, APIC MSRs, runtime, frequencies */
	EQ(leaf(c, 0x40000003)->eax & 0xa73, 0xa73);
	EQ(leaf(c, 0x40000004)->eax & 0x28, 0x28);	/* APIC MSRs, relaxed timing */
	/* Nested: direct flush and MSR bitmap; a bit of VMX's that KVM shows on every host. */
	EQ(leaf(c, 0x4000000a)->eax, 0xa0000);
	EQ(leaf(c, 0x4000000a)->ebx, 1);
	/* Direct timers and IPIs need a local APIC. */
	d = leaves(m.cpu, 64);
	EQ(leaf(c, 0x40000003)->edx >> 19 & 1, 1);
	EQ(leaf(d, 0x40000003)->edx >> 19 & 1, 0);
	EQ(leaf(d, 0x40000004)->eax >> 10 & 1, 0);
	IS(ioctl(m.sys, KVM_GET_SUPPORTED_HV_CPUID, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_GET_SUPPORTED_HV_CPUID, BAD), -EFAULT);
}

T(hyperv_msrs_of_user,
  "6.8: user space reads and writes all of Hyper-V's MSRs, whatever CPUID says")
{
	static const u32 kept[] = { 0x40000000, 0x40000073, 0x40000100, 0x40000104, 0x40000106,
				    0x40000107, 0x40000108, 0x400000f2 };
	u64 v;

	machine(M_IRQCHIP | M_CPUID);
	NEED(cap(m.sys, KVM_CAP_HYPERV) == 1, "no Hyper-V");
	for (u32 i = 0; i < ARRAY_SIZE(kept); i++) {
		EQ(set_msr(m.cpu, kept[i], 0x1234000), 1);
		EQ(get_msr(m.cpu, kept[i], &v), 1);
		EQ(v, 0x1234000);
	}
	EQ(set_msr(m.cpu, 0x40000002, 7), 1);		/* VP index */
	EQ(get_msr(m.cpu, 0x40000002, &v), 1);
	EQ(v, 7);
	EQ(set_msr(m.cpu, 0x40000002, 1 << 20), 0);
	EQ(get_msr(m.cpu, 0x40000022, &v), 1);
	EQ(v, 1000ull * (u64)ioctl(m.cpu, KVM_GET_TSC_KHZ, 0));
	EQ(set_msr(m.cpu, 0x40000020, 1), 1);		/* read-only: ignored */
	EQ(set_msr(m.cpu, 0x40000118, 2), 0);
	EQ(set_msr(m.cpu, 0x40000118, 1), 1);
	EQ(set_msr(m.cpu, 0x40000105, ~0ull), 1);	/* what the guest may use */
	EQ(get_msr(m.cpu, 0x40000105, &v), 1);
	EQ(v, 1ull << 63);
	EQ(get_msr(m.cpu, 0x40000060, &v), 0);
	/* Nothing is mapped there. */
	EQ(set_msr(m.cpu, 0x40000073, 0x40000001), 0);
	/* No SynIC yet: only zeroes. */
	EQ(set_msr(m.cpu, 0x40000090, 0), 1);
	EQ(set_msr(m.cpu, 0x40000090, 0x20), 0);
	IS(enable(m.cpu, KVM_CAP_HYPERV_SYNIC, 0), 0);
	EQ(set_msr(m.cpu, 0x40000090, 0x20), 1);
}

T(hyperv_enable, "5.4: vCPU ENABLE_CAP: SYNIC needs an irqchip; SYNIC2 takes 0 only; ENFORCE; "
		 "others ENOTTY")
{
	machine(0);
	NEED(cap(m.sys, KVM_CAP_HYPERV) == 1, "no Hyper-V");
	IS(enable(m.cpu, KVM_CAP_HYPERV_SYNIC, 0), -EINVAL);
	IS(enable(m.cpu, KVM_CAP_HYPERV_SYNIC2, 0), -EINVAL);
	IS(enable(m.cpu, KVM_CAP_HYPERV_ENFORCE_CPUID, 1), 0);
	/* The VMCS is Intel's; direct flushes of the second are for a KVM on Hyper-V. */
	EQ(cap(m.sys, KVM_CAP_HYPERV_ENLIGHTENED_VMCS), 0);
	EQ(cap(m.sys, KVM_CAP_HYPERV_DIRECT_TLBFLUSH), 0);
	IS(enable(m.cpu, KVM_CAP_HYPERV_ENLIGHTENED_VMCS, 0), -ENOTTY);
	IS(enable(m.cpu, KVM_CAP_HYPERV_DIRECT_TLBFLUSH, 0), -ENOTTY);
	machine(M_SPLIT);
	IS(enable(m.cpu, KVM_CAP_HYPERV_SYNIC2, 1), -EINVAL);
	IS(enable(m.cpu, KVM_CAP_HYPERV_SYNIC2, 0), 0);
	IS(enable(m.cpu, KVM_CAP_HYPERV_SYNIC, 0), 0);
}

T(hyperv_eventfd, "6.8: HYPERV_EVENTFD: unknown flags, ids above 24 bits EINVAL; twice EEXIST")
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct kvm_hyperv_eventfd e = { .conn_id = 5, .fd = fd };

	machine(M_NO_CPU);
	NEED(cap(m.sys, KVM_CAP_HYPERV_EVENTFD) == 1, "no Hyper-V");
	MUST(fd >= 0);
	IS(ioctl(m.vm, KVM_HYPERV_EVENTFD, &e), 0);
	IS(ioctl(m.vm, KVM_HYPERV_EVENTFD, &e), -EEXIST);
	e.flags = 2;
	IS(ioctl(m.vm, KVM_HYPERV_EVENTFD, &e), -EINVAL);
	e.flags = 0;
	e.conn_id = 1 << 24;
	IS(ioctl(m.vm, KVM_HYPERV_EVENTFD, &e), -EINVAL);
	e.conn_id = 6;
	e.fd = m.vm;
	IS(ioctl(m.vm, KVM_HYPERV_EVENTFD, &e), -EINVAL);
	e.fd = -1;
	IS(ioctl(m.vm, KVM_HYPERV_EVENTFD, &e), -EBADF);
	e.flags = KVM_HYPERV_EVENTFD_DEASSIGN;
	IS(ioctl(m.vm, KVM_HYPERV_EVENTFD, &e), -ENOENT);
	e.conn_id = 5;
	IS(ioctl(m.vm, KVM_HYPERV_EVENTFD, &e), 0);
	IS(ioctl(m.vm, KVM_HYPERV_EVENTFD, &e), -ENOENT);
	IS(ioctl(m.vm, KVM_HYPERV_EVENTFD, BAD), -EFAULT);
}

T(hyperv_sint_route,
  "5.2: routing HV_SINT: alone on its GSI; raising it without SynIC goes nowhere")
{
	struct {
		struct kvm_irq_routing h;
		struct kvm_irq_routing_entry e[2];
	} r = { .h.nr = 1,
		.e = { { .gsi = 30,
			 .type = KVM_IRQ_ROUTING_HV_SINT,
			 .u.hv_sint = { .vcpu = 0, .sint = 2 } },
		       { .gsi = 30, .type = KVM_IRQ_ROUTING_MSI } } };
	struct kvm_irq_level l = { .irq = 30, .level = 1 };

	machine(M_IRQCHIP | M_CPUID);
	NEED(cap(m.sys, KVM_CAP_HYPERV) == 1, "no Hyper-V");
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), 0);
	r.h.nr = 2;
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	IS(ioctl(m.vm, KVM_IRQ_LINE_STATUS, &l), 0);
	TRUE((s32)l.status < 0);
}
