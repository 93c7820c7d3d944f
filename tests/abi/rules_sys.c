/* SPDX-License-Identifier: MIT */
/* tests/abi/rules_sys.c - dispatch, the system fd, capabilities (docs/kvm-abi.md 5.2, 5.3). */
/* Run: build/standin run -- build/tests/abi/abi_rules [NAME...] */
#include <cpuid.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/abi/abi.h"

#define UNKNOWN _IO(KVMIO, 0xfe)

T(dispatch_unknown, "5.2: unknown ioctl: EINVAL on /dev/kvm and a vCPU, ENOTTY on a VM")
{
	machine(0);
	IS(ioctl(m.sys, UNKNOWN, 0), -EINVAL);
	IS(ioctl(m.cpu, UNKNOWN, 0), -EINVAL);
	IS(ioctl(m.vm, UNKNOWN, 0), -ENOTTY);
	/* One of another kind of fd is unknown as well. */
	IS(ioctl(m.sys, KVM_RUN, 0), -EINVAL);
	IS(ioctl(m.sys, KVM_CREATE_VCPU, 0), -EINVAL);
	IS(ioctl(m.vm, KVM_GET_REGS, BAD), -ENOTTY);
	IS(ioctl(m.vm, KVM_GET_API_VERSION, 0), -ENOTTY);
	IS(ioctl(m.cpu, KVM_CREATE_VM, 0), -EINVAL);
	IS(ioctl(m.cpu, KVM_CHECK_EXTENSION, 0), -EINVAL);
}

T(dispatch_type, "5.2: wrong ioctl type byte on a vCPU: EINVAL")
{
	machine(0);
	IS(ioctl(m.cpu, _IO('x', 0x80), 0), -EINVAL);
}

T(dispatch_code, "5.2: the full 32-bit code selects: a number with another size is unknown")
{
	struct kvm_regs r;

	machine(0);
	IS(ioctl(m.cpu, _IOR(KVMIO, 0x81, u64), &r), -EINVAL);
	IS(ioctl(m.cpu, _IOW(KVMIO, 0x81, struct kvm_regs), &r), -EINVAL);
	IS(ioctl(m.vm, _IOW(KVMIO, 0x66, struct kvm_pit_state), BAD), -ENOTTY);
	IS(ioctl(m.cpu, KVM_GET_REGS, &r), 0);
}

T(dispatch_fork, "5.2: another mm: EIO for every VM and vCPU ioctl")
{
	int status = 0;
	pid_t p;

	machine(0);
	p = fork();
	if (!p) {
		struct kvm_regs r;

		IS(ioctl(m.vm, KVM_CREATE_VCPU, 1), -EIO);
		IS(ioctl(m.vm, UNKNOWN, 0), -EIO);
		IS(ioctl(m.vm, KVM_CHECK_EXTENSION, 0), -EIO);
		IS(ioctl(m.cpu, KVM_GET_REGS, &r), -EIO);
		IS(ioctl(m.cpu, KVM_RUN, 1), -EIO);
		IS(ioctl(m.cpu, UNKNOWN, 0), -EIO);
		IS(ioctl(m.sys, KVM_GET_API_VERSION, 0), 12);
		fflush(stdout);
		_exit(0);
	}
	EQ(waitpid(p, &status, 0), p);
	EQ(status, 0);
	IS(ioctl(m.vm, KVM_CREATE_VCPU, 1) < 0, 0);
}

T(sys_zero_argument, "5.2: GET_API_VERSION, GET_VCPU_MMAP_SIZE, RUN: argument not 0: EINVAL")
{
	machine(0);
	IS(ioctl(m.sys, KVM_GET_API_VERSION, 0), 12);
	IS(ioctl(m.sys, KVM_GET_API_VERSION, 1), -EINVAL);
	IS(ioctl(m.sys, KVM_GET_VCPU_MMAP_SIZE, 0), 12288);
	IS(ioctl(m.sys, KVM_GET_VCPU_MMAP_SIZE, 1), -EINVAL);
	IS(ioctl(m.cpu, KVM_RUN, 1), -EINVAL);
}

T(sys_create_vm, "5.2: CREATE_VM: the types of VM_TYPES only")
{
	long types;
	int vm;

	machine(M_NO_CPU);
	types = cap(m.sys, 235);
	vm = ioctl(m.sys, KVM_CREATE_VM, 0);
	TRUE(vm >= 0);
	TRUE(fcntl(vm, F_GETFD) & FD_CLOEXEC);
	EQ(types & 1, 1);
	for (unsigned long t = 1; t < 6; t++)
		if (!(types & (1l << t)))
			IS(ioctl(m.sys, KVM_CREATE_VM, t), -EINVAL);
	IS(ioctl(m.sys, KVM_CREATE_VM, 77), -EINVAL);
}

static void list_rule(unsigned long req, bool may_be_empty)
{
	struct kvm_msr_list *l = calloc(1, sizeof(*l) + 1024 * 4);
	u32 n;

	MUST(l);
	IS(ioctl(m.sys, req, BAD), -EFAULT);
	l->nmsrs = 0;
	IS(ioctl(m.sys, req, l), may_be_empty && !l->nmsrs ? 0 : -E2BIG);
	n = l->nmsrs;
	TRUE(n > 0 || may_be_empty);
	MUST(n < 1024);
	if (n > 1) {
		l->nmsrs = n - 1;
		IS(ioctl(m.sys, req, l), -E2BIG);
		EQ(l->nmsrs, n);
	}
	l->nmsrs = 1024;
	IS(ioctl(m.sys, req, l), 0);
	EQ(l->nmsrs, n);
	for (u32 i = 0; i < n; i++)
		for (u32 j = 0; j < i; j++)
			if (l->indices[i] == l->indices[j])
				EQ(l->indices[i], 0);
}

T(sys_msr_lists, "5.2: GET_MSR_INDEX_LIST: nmsrs too small: writes the needed n, E2BIG")
{
	machine(M_NO_CPU);
	list_rule(KVM_GET_MSR_INDEX_LIST, false);
	list_rule(KVM_GET_MSR_FEATURE_INDEX_LIST, true);
}

T(sys_msr_list_works, "5.2: every MSR of the list can be read, and written back by user space")
{
	struct kvm_msr_list *l = calloc(1, sizeof(*l) + 1024 * 4);
	u64 v;

	machine(M_CPUID | M_IRQCHIP);
	MUST(l);
	l->nmsrs = 1024;
	MUST(!ioctl(m.sys, KVM_GET_MSR_INDEX_LIST, l));
	for (u32 i = 0; i < l->nmsrs; i++) {
		int g = get_msr(m.cpu, l->indices[i], &v);
		int s = set_msr(m.cpu, l->indices[i], v);

		if (g != 1 || s != 1) {
			EQ(l->indices[i], 0);	/* names it */
			EQ(g, 1);
			EQ(s, 1);
		}
	}
}

T(sys_feature_msrs, "6.9: feature MSRs are read on /dev/kvm; others end the count")
{
	struct {
		struct kvm_msrs h;
		struct kvm_msr_entry e[2];
	} q = { .h.nmsrs = 2, .e = { { .index = 0x8b }, { .index = 0x10 } } };

	machine(M_NO_CPU);
	IS(ioctl(m.sys, KVM_GET_MSRS, &q), 1);
	TRUE(q.e[0].data);
	IS(ioctl(m.sys, KVM_GET_MSRS, BAD), -EFAULT);
	q.h.nmsrs = 256;
	IS(ioctl(m.sys, KVM_GET_MSRS, &q), -E2BIG);
	q.h.nmsrs = 1;
	IS(ioctl(m.sys, KVM_SET_MSRS, &q), -EINVAL);
}

T(sys_supported_cpuid, "5.2: GET_SUPPORTED_CPUID: nent 0 or too small: E2BIG; clipped to 256")
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 512 * sizeof(c->entries[0]));
	u32 n;

	machine(M_NO_CPU);
	MUST(c);
	IS(ioctl(m.sys, KVM_GET_SUPPORTED_CPUID, BAD), -EFAULT);
	c->nent = 0;
	IS(ioctl(m.sys, KVM_GET_SUPPORTED_CPUID, c), -E2BIG);
	c->nent = 1;
	IS(ioctl(m.sys, KVM_GET_SUPPORTED_CPUID, c), -E2BIG);
	EQ(c->nent, 1);
	EQ(c->entries[0].ebx, 0);	/* nothing was copied */
	c->nent = 512;
	IS(ioctl(m.sys, KVM_GET_SUPPORTED_CPUID, c), 0);
	n = c->nent;
	TRUE(n > 10 && n <= 256);
	c->nent = n;
	IS(ioctl(m.sys, KVM_GET_SUPPORTED_CPUID, c), 0);
	EQ(c->nent, n);
	c->nent = n - 1;
	IS(ioctl(m.sys, KVM_GET_SUPPORTED_CPUID, c), -E2BIG);
}

T(sys_emulated_cpuid, "5.2: GET_EMULATED_CPUID: padding not zero: EINVAL")
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 256 * sizeof(c->entries[0]));

	machine(M_NO_CPU);
	MUST(c);
	c->nent = 0;
	IS(ioctl(m.sys, KVM_GET_EMULATED_CPUID, c), -E2BIG);
	c->nent = 16;
	IS(ioctl(m.sys, KVM_GET_EMULATED_CPUID, c), 0);
	c->nent = 16;
	c->entries[3].padding[1] = 1;
	IS(ioctl(m.sys, KVM_GET_EMULATED_CPUID, c), -EINVAL);
	IS(ioctl(m.sys, KVM_GET_EMULATED_CPUID, BAD), -EFAULT);
}

T(sys_mce_cap, "5.2: X86_GET_MCE_CAP_SUPPORTED: CTL_P at least")
{
	u64 v = 0;

	machine(M_NO_CPU);
	IS(ioctl(m.sys, KVM_X86_GET_MCE_CAP_SUPPORTED, &v), 0);
	TRUE(v & 0x100);
	IS(ioctl(m.sys, KVM_X86_GET_MCE_CAP_SUPPORTED, BAD), -EFAULT);
}

T(sys_attributes, "5.1: /dev/kvm: group 0 attribute 0 = XCOMP_GUEST_SUPP, unknown: ENXIO")
{
	u64 v = 0;
	struct kvm_device_attr a = { .addr = (uintptr_t)&v }, b = { .attr = 9 }, c = { .group = 7 };

	machine(M_NO_CPU);
	IS(ioctl(m.sys, KVM_HAS_DEVICE_ATTR, &a), 0);
	IS(ioctl(m.sys, KVM_GET_DEVICE_ATTR, &a), 0);
	EQ(v & 3, 3);
	IS(ioctl(m.sys, KVM_HAS_DEVICE_ATTR, &b), -ENXIO);
	IS(ioctl(m.sys, KVM_GET_DEVICE_ATTR, &b), -ENXIO);
	IS(ioctl(m.sys, KVM_HAS_DEVICE_ATTR, &c), -ENXIO);
	IS(ioctl(m.sys, KVM_HAS_DEVICE_ATTR, BAD), -EFAULT);
	IS(ioctl(m.sys, KVM_SET_DEVICE_ATTR, &a), -EINVAL);
	a.addr = 8;
	IS(ioctl(m.sys, KVM_GET_DEVICE_ATTR, &a), -EFAULT);
	/* A VM has none on x86. */
	IS(ioctl(m.vm, KVM_HAS_DEVICE_ATTR, &b), -ENOTTY);
	IS(ioctl(m.vm, KVM_GET_DEVICE_ATTR, &b), -ENOTTY);
	IS(ioctl(m.vm, KVM_SET_DEVICE_ATTR, &b), -ENOTTY);
}

/* -- capabilities -- */

#define HV "a kernel without CONFIG_KVM_HYPERV; what is 0 here, VMX and a Hyper-V below have"
#define SEV "standin has no encrypted VMs"
#define NO_PMU "a host without performance counters"

#define V(nr, value) { nr, value, value, NULL }
static const struct cap_row {
	u16 nr;
	u32 value;
	u32 other;	/* of a kernel with what standin leaves out, or newer */
	const char *why;
} caps[] = {
	V(0, 1),
	V(1, 1),
	V(2, 1),
	V(3, 1),
	V(4, 1),
	V(6, 1),
	V(7, 1),
	V(8, 1),
	V(10, 32764),
	V(11, 1),
	V(12, 1),
	V(14, 1),
	V(15, 2),
	V(16, 1),
	V(21, 1),
	V(22, 1),
	V(23, 1),
	V(24, 1),
	V(25, 4096),
	V(26, 1),
	V(30, 1),
	V(31, 32),
	V(32, 1),
	V(33, 1),
	V(34, 1),
	V(35, 1),
	V(36, 1),
	V(37, 1),
	{ 38, 0, 0x3f, "no Xen" },
	V(39, 0xe),
	V(40, 1),
	V(41, 1),
	{ 44, 1, 0, HV },
	{ 45, 1, 0, HV },
	{ 46, 1, 0, HV },
	V(47, 1),
	V(50, 1),
	V(51, 1),
	V(54, 1),
	V(55, 1),
	V(56, 1),
	V(59, 1),
	{ 60, 1, 0, "no TSC scaling" },
	V(61, 1),
	V(66, 1024),
	{ 70, 1, 0, "before 6.18" },
	V(72, 1),
	V(74, 7),
	V(76, 1),
	V(77, 1),
	V(81, 1),
	V(82, 1),
	V(89, 1),
	V(95, 1),
	{ 96, 1, 0, HV },
	V(97, 1),
	V(98, 1),
	V(100, 1),
	V(105, 1),
	V(116, 1),
	V(121, 1),
	V(122, 1),
	{ 123, 1, 0, HV },
	V(127, 1),
	V(128, 4096),
	{ 129, 0xf, 3, "before 7.0" },
	V(136, 1),
	{ 148, 1, 0, HV },
	{ 149, 1, 0, HV },
	V(153, 1),
	{ 154, 1, 0, HV },
	{ 155, 1, 0, HV },
	V(159, 1),
	{ 161, 1, 0, HV },
	V(162, 1),
	{ 163, 0, 1, HV },
	V(164, 1),
	{ 167, 1, 0, HV },
	V(168, 3),
	V(173, 1),
	{ 175, 0, 1, HV },
	V(182, 1),
	V(183, 1),
	V(184, 1),
	V(187, 1),
	V(188, 1),
	V(189, 1),
	V(190, 1),
	{ 191, 1, 0, HV },
	V(192, 1u << 20),
	{ 193, 3, 0, "no bus lock detection" },
	V(195, 0x1f0003),
	{ 197, 0, 1, SEV },
	{ 199, 1, 0, HV },
	V(200, 1),
	V(201, 0x1000),
	V(203, 1),
	V(204, 1),
	{ 206, 0, 1, SEV },
	V(209, 1),
	{ 212, 1, 0, NO_PMU },
	{ 214, 1, 0, "no TSC scaling" },
	V(215, 1),
	V(218, 1),
	{ 219, 0, 1, "VMX notify exits" },
	V(220, 1),
	V(223, 1u << 20),
	V(226, 1),
	V(231, 1),
	V(232, 1),
	{ 233, 0, 8, "guest_memfd" },
	{ 234, 0, 1, "guest_memfd" },
	{ 235, 1, 3, "SW_PROTECTED_VM" },
	{ 236, 1, 0, "without TDP" },
	V(237, 1),
	{ 238, 1, 0, "before 6.13" },
};

/* Checked by rules of their own, or dependent on the build. */
static bool elsewhere(u32 nr)
{
	switch (nr) {
	case 9: case 117: case 118: case 143: case 157: case 185: case 208: case 213: case 244:
		return true;
	}
	return false;
}

T(cap_values, "5.3: KVM_CHECK_EXTENSION: the value of every number; unknown: 0")
{
	u32 i = 0;

	machine(M_NO_CPU);
	for (u32 nr = 0; nr < 260; nr++) {
		long got = cap(m.sys, nr), vm = cap(m.vm, nr), want = 0, alt = 0;
		const char *why = "newer than the rules";
		char name[40];

		if (elsewhere(nr))
			continue;
		if (i < ARRAY_SIZE(caps) && caps[i].nr == nr) {
			want = caps[i].value;
			alt = caps[i].why ? caps[i].other : want;
			why = caps[i].why;
			i++;
		} else if (nr > 238) {
			alt = got;
		}
		snprintf(name, sizeof(name), "capability %u", nr);
		check(__FILE__, __LINE__, name, want, got, true, true, alt, why);
		snprintf(name, sizeof(name), "capability %u of a VM", nr);
		check(__FILE__, __LINE__, name, want, vm, true, true, alt, why);
	}
	EQ(cap(m.sys, 99999), 0);
	EQ(cap(m.sys, ~0ul), 0);
}

T(cap_dependent, "5.3: capabilities whose value depends on host and build")
{
	long n = sysconf(_SC_NPROCESSORS_ONLN), v;

	machine(M_NO_CPU);
	EQ(cap(m.sys, KVM_CAP_NR_VCPUS), n < 1024 ? n : 1024);
	TRUE(cap(m.sys, KVM_CAP_XSAVE2) >= 4096);
	v = cap(m.sys, KVM_CAP_X86_SMM);
	/* A second address space comes with SMM. */
	EQ(cap(m.sys, KVM_CAP_MULTI_ADDRESS_SPACE), v ? 2 : 1);
	v = cap(m.sys, KVM_CAP_X86_DISABLE_EXITS);
	EQ(v & (KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE),
	   KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE);
	v = cap(m.sys, KVM_CAP_DISABLE_QUIRKS2);
	EQ(v & 0x7f, 0x7f);
}

T(cap_mwait,
  "5.3: X86_DISABLE_EXITS of MWAIT: where the processor has it, and a timer that goes on meanwhile")
{
	u32 a, b, c, d, power;
	long has;

	__cpuid_count(6, 0, power, b, c, d);
	__cpuid(1, a, b, c, d);
	has = (c >> 3 & 1) && (power >> 2 & 1);
	machine(M_NO_CPU);
	EQ(cap(m.vm, KVM_CAP_X86_DISABLE_EXITS) & KVM_X86_DISABLE_EXITS_MWAIT, has);
	IS(enable(m.vm, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_MWAIT), has ? 0 : -EINVAL);
}

T(no_hyperv, "5.3: Hyper-V, Xen, SEV, guest_memfd: as a kernel built without them")
{
	u8 arg[256] = { 0 };

	machine(0);
	NEED(!cap(m.sys, KVM_CAP_HYPERV), "this kernel has Hyper-V");
	IS(ioctl(m.sys, KVM_GET_SUPPORTED_HV_CPUID, arg), -EINVAL);
	IS(ioctl(m.cpu, KVM_GET_SUPPORTED_HV_CPUID, arg), -EINVAL);
	IS(ioctl(m.vm, KVM_HYPERV_EVENTFD, arg), -ENOTTY);
	IS(enable(m.cpu, KVM_CAP_HYPERV_SYNIC, 0), -EINVAL);
	IS(enable(m.cpu, KVM_CAP_HYPERV_SYNIC2, 0), -EINVAL);
	IS(enable(m.cpu, KVM_CAP_HYPERV_ENFORCE_CPUID, 1), -EINVAL);
	IS(ioctl(m.vm, KVM_XEN_HVM_CONFIG, arg), -ENOTTY);
	IS(ioctl(m.vm, KVM_XEN_HVM_GET_ATTR, arg), -ENOTTY);
	IS(ioctl(m.vm, KVM_XEN_HVM_SET_ATTR, arg), -ENOTTY);
	IS(ioctl(m.cpu, KVM_XEN_VCPU_GET_ATTR, arg), -EINVAL);
	IS(ioctl(m.cpu, KVM_XEN_VCPU_SET_ATTR, arg), -EINVAL);
	IS(ioctl(m.vm, 0x400caed0, arg), -ENOTTY);	/* XEN_HVM_EVTCHN_SEND */
	IS(ioctl(m.vm, KVM_MEMORY_ENCRYPT_OP, arg), -ENOTTY);
	IS(ioctl(m.vm, KVM_MEMORY_ENCRYPT_REG_REGION, arg), -ENOTTY);
	IS(ioctl(m.vm, KVM_MEMORY_ENCRYPT_UNREG_REGION, arg), -ENOTTY);
	IS(ioctl(m.vm, 0x4020aed2, arg), -ENOTTY);	/* SET_MEMORY_ATTRIBUTES */
	IS(ioctl(m.vm, 0xc040aed4, arg), -ENOTTY);	/* CREATE_GUEST_MEMFD */
}

T(one_reg, "5.1: GET/SET_ONE_REG: 64-bit MSRs by id, else EINVAL; GET_REG_LIST: no others")
{
	const u64 id = 0x2030000200000000;	/* x86, 64 bits, MSR */
	u64 val = 0x1234, list[2] = { 1 };
	struct kvm_one_reg r = { .id = id | 0x174, .addr = (uintptr_t)&val }, bad;

	machine(M_CPUID);
	NEED(cap(m.sys, KVM_CAP_ONE_REG), "before 6.18");
	IS(ioctl(m.cpu, KVM_SET_ONE_REG, &r), 0);
	val = 0;
	IS(ioctl(m.cpu, KVM_GET_ONE_REG, &r), 0);
	EQ(val, 0x1234);
	EQ(get_msr(m.cpu, 0x174, &val), 1);
	EQ(val, 0x1234);
	bad = r;
	bad.id = id | 0x12345678;		/* no such MSR */
	IS(ioctl(m.cpu, KVM_GET_ONE_REG, &bad), -EINVAL);
	bad.id = r.id ^ 0x0010000000000000;	/* 32 bits */
	IS(ioctl(m.cpu, KVM_GET_ONE_REG, &bad), -EINVAL);
	bad.id = r.id ^ 0x0000000700000000;	/* a type that is not there */
	IS(ioctl(m.cpu, KVM_SET_ONE_REG, &bad), -EINVAL);
	bad.id = r.id ^ 0x4000000000000000;	/* another architecture */
	IS(ioctl(m.cpu, KVM_GET_ONE_REG, &bad), -EINVAL);
	bad.id = r.id | 0x0000010000000000;	/* reserved */
	IS(ioctl(m.cpu, KVM_GET_ONE_REG, &bad), -EINVAL);
	bad = r;
	bad.addr = (uintptr_t)BAD;
	IS(ioctl(m.cpu, KVM_GET_ONE_REG, &bad), -EFAULT);
	IS(ioctl(m.cpu, KVM_SET_ONE_REG, &bad), -EFAULT);
	IS(ioctl(m.cpu, KVM_GET_ONE_REG, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_GET_REG_LIST, list), 0);
	EQ(list[0], 0);
	IS(ioctl(m.cpu, KVM_GET_REG_LIST, BAD), -EFAULT);
}
