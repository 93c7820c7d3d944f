/* SPDX-License-Identifier: MIT */
/* tests/abi/rules_smm.c - rules about SMM: address spaces, SMIs, and what shows both. */
/* Run: build/standin run -- build/tests/abi/abi_rules [NAME...] */
#include "tests/abi/abi.h"

#define SMBASE_MSR 0x9e

static u8 *pages(size_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static struct kvm_vcpu_events events(void)
{
	struct kvm_vcpu_events e;

	MUST(!ioctl(m.cpu, KVM_GET_VCPU_EVENTS, &e));
	return e;
}

T(smm_round_trip, "5.9: SET_VCPU_EVENTS with the SMM flag sets smm, pending, inside_nmi")
{
	struct kvm_vcpu_events e;

	machine(M_IRQCHIP | M_CPUID);
	NEED(cap(m.sys, KVM_CAP_X86_SMM), "no SMM");
	e = events();
	EQ(e.smi.smm | e.smi.pending | e.smi.smm_inside_nmi, 0);
	e.smi.smm = e.smi.pending = e.smi.smm_inside_nmi = 1;
	e.flags = 0;
	IS(ioctl(m.cpu, KVM_SET_VCPU_EVENTS, &e), 0);
	EQ(events().smi.smm, 0);
	e.flags = KVM_VCPUEVENT_VALID_SMM;
	IS(ioctl(m.cpu, KVM_SET_VCPU_EVENTS, &e), 0);
	e = events();
	EQ(e.smi.smm, 1);
	EQ(e.smi.pending, 1);
	EQ(e.smi.smm_inside_nmi, 1);
	e.smi.smm = e.smi.pending = 0;
	IS(ioctl(m.cpu, KVM_SET_VCPU_EVENTS, &e), 0);
	e = events();
	EQ(e.smi.smm | e.smi.pending | e.smi.smm_inside_nmi, 0);
}

T(smm_and_init, "5.2: smm or pending while the MP state is INIT_RECEIVED: EINVAL")
{
	struct kvm_mp_state s = { .mp_state = KVM_MP_STATE_INIT_RECEIVED };
	struct kvm_vcpu_events e;

	machine(M_IRQCHIP | M_CPUID);
	NEED(cap(m.sys, KVM_CAP_X86_SMM), "no SMM");
	e = events();
	IS(ioctl(m.cpu, KVM_SET_MP_STATE, &s), 0);
	e.smi.smm = 1;
	IS(ioctl(m.cpu, KVM_SET_VCPU_EVENTS, &e), -EINVAL);
	e.smi.smm = 0;
	e.smi.pending = 1;
	IS(ioctl(m.cpu, KVM_SET_VCPU_EVENTS, &e), -EINVAL);
	s.mp_state = KVM_MP_STATE_RUNNABLE;
	IS(ioctl(m.cpu, KVM_SET_MP_STATE, &s), 0);
	IS(ioctl(m.cpu, KVM_SET_VCPU_EVENTS, &e), 0);
}

T(smbase, "5.9: the MSR SMBASE: listed, 30000h at first, any value; without an irqchip, too")
{
	u64 v = 0;

	machine(0);
	NEED(cap(m.sys, KVM_CAP_X86_SMM), "no SMM");
	EQ(get_msr(m.cpu, SMBASE_MSR, &v), 1);
	EQ(v, 0x30000);
	EQ(set_msr(m.cpu, SMBASE_MSR, 0xdeadbeef), 1);
	EQ(get_msr(m.cpu, SMBASE_MSR, &v), 1);
	EQ(v, 0xdeadbeef);
}

T(smm_slots, "5.2: slots of address space 1: dirty logs of their own, no third space")
{
	static u64 bits[64];
	struct kvm_dirty_log d = { .slot = 1 << 16 | 3, .dirty_bitmap = bits };
	u8 *h;

	machine(M_NO_CPU);
	NEED(cap(m.vm, KVM_CAP_MULTI_ADDRESS_SPACE) > 1, "no SMM");
	h = pages(0x4000);
	IS(ioctl(m.vm, KVM_GET_DIRTY_LOG, &d), -ENOENT);
	IS(slot(m.vm, 1 << 16 | 3, KVM_MEM_LOG_DIRTY_PAGES, 0, 0x4000, h), 0);
	IS(ioctl(m.vm, KVM_GET_DIRTY_LOG, &d), 0);
	d.slot = 2 << 16 | 3;
	IS(ioctl(m.vm, KVM_GET_DIRTY_LOG, &d), -EINVAL);
	IS(slot(m.vm, 2 << 16, 0, 0x100000, 0x4000, h), -EINVAL);
	/* The same number in the other space is another slot. */
	IS(slot(m.vm, 3, 0, 0x200000, 0x4000, h), 0);
	IS(slot(m.vm, 1 << 16 | 3, 0, 0x300000, 0x4000, h), 0);
	IS(slot(m.vm, 1 << 16 | 3, 0, 0, 0, NULL), 0);
	IS(slot(m.vm, 3, 0, 0, 0, NULL), 0);
}

T(smm_run, "5.9: an SMI without memory for its area: KVM_RUN EIO, and every ioctl from then on")
{
	struct kvm_regs r;

	machine(0);
	NEED(cap(m.sys, KVM_CAP_X86_SMM), "no SMM");
	LOAD(0xf4);
	IS(ioctl(m.cpu, KVM_SMI, 0), 0);
	EQ(run(), -EIO);
	IS(ioctl(m.cpu, KVM_GET_REGS, &r), -EIO);
	IS(ioctl(m.vm, KVM_CREATE_VCPU, 1), -EIO);
}
