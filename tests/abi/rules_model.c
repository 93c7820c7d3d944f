/* SPDX-License-Identifier: MIT */
/*
 * tests/abi/rules_model.c - what makes a virtual CPU the model it is: MSRs that every KVM answers,
 * when CPUID and the feature MSRs are frozen, where the PV leaves stand, the first TSC.
 *
 *   build/tests/abi/abi_rules NAME        one rule, under scripts/hide-kvm and standin run
 */
/* Run: build/standin run -- build/tests/abi/abi_rules [NAME...] */
#include <stdlib.h>
#include <time.h>

#include "tests/abi/abi.h"

#define RDMSR(msr) \
	0x66, 0xb9, (msr) & 0xff, (msr) >> 8 & 0xff, (msr) >> 16 & 0xff, (u8)((msr) >> 24), 0x0f, \
	0x32

/* The guest executes RDMSR or WRMSR (EDX:EAX = 0:val) and HLT. The exit; *val is what it read. */
static long guest_msr(u32 msr, bool write, u32 in, u64 *val)
{
	u8 code[] = { RDMSR(msr), 0xf4 };
	struct kvm_regs r;
	long why;

	if (write)
		code[7] = 0x30;
	load(code, sizeof(code));
	r = regs();
	r.rax = in;
	set_regs(&r);
	why = run();
	r = regs();
	*val = (r.rax & 0xffffffff) | r.rdx << 32;
	return why;
}

/* Faulting RDMSR and WRMSR become exits. */
static void faults_exit(void)
{
	MUST(!enable(m.vm, KVM_CAP_X86_USER_SPACE_MSR,
		     KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN));
}

/* -- MSRs -- */

static const struct {
	u32 msr;
	u64 val;
	bool writes_ignored;
} every_amd[] = {
	{ 0xc0011022, 0, true },	  /* DC_CFG */
	{ 0xc0011023, 0, true },	  /* TW_CFG */
	{ 0xc001102a, 0, true },	  /* BU_CFG2 */
	{ 0xc001102c, 0, true },	  /* EX_CFG */
	{ 0xc001001b, 0x20000000, true }, /* K7_CLK_CTL */
	{ 0x11e, 0xbe702111, true },	  /* BBL_CR_CTL3 */
	{ 0x2c, 1 << 24, false },	  /* EBC_FREQUENCY_ID */
	{ 0xc0011021, 0, false },	  /* F15H_IC_CFG */
};

T(msrs_of_every_model, "6.9: MSRs that KVM answers on every AMD model, host and guest; writes")
{
	machine(M_CPUID);
	faults_exit();
	for (u32 i = 0; i < ARRAY_SIZE(every_amd); i++) {
		u32 msr = every_amd[i].msr;
		u64 v = ~0ull;
		char name[40];
		long why;

		snprintf(name, sizeof(name), "MSR %#x", msr);
#define SAYS(want, got) check(__FILE__, __LINE__, name, want, got, true, false, 0, NULL)
		SAYS(1, get_msr(m.cpu, msr, &v));
		SAYS((long)every_amd[i].val, (long)v);
		SAYS(KVM_EXIT_HLT, guest_msr(msr, false, 0, &v));
		SAYS((long)every_amd[i].val, (long)v);
		why = guest_msr(msr, true, 0x55, &v);
		SAYS(every_amd[i].writes_ignored ? KVM_EXIT_HLT : KVM_EXIT_X86_WRMSR, why);
		m.run->msr.error = 1;
		machine(M_CPUID);
		faults_exit();
	}
}

T(msr_virt_spec_ctrl, "6.9: VIRT_SPEC_CTRL: user space always, the guest by VIRT_SSBD; bit 2 only")
{
	u64 v = 1;

	machine(M_CPUID);
	faults_exit();
	EQ(get_msr(m.cpu, 0xc001011f, &v), 1);
	EQ(v, 0);
	EQ(set_msr(m.cpu, 0xc001011f, 4), 1);
	EQ(get_msr(m.cpu, 0xc001011f, &v), 1);
	EQ(v, 4);
	EQ(set_msr(m.cpu, 0xc001011f, 2), 0);
	EQ(guest_msr(0xc001011f, false, 0, &v), KVM_EXIT_X86_RDMSR);
}

T(msr_osvw, "6.9: the OSVW MSRs are there by their CPUID bit, for user space too")
{
	u64 v;

	machine(0);
	EQ(get_msr(m.cpu, 0xc0010140, &v), 0);
	EQ(set_msr(m.cpu, 0xc0010141, 1), 0);
	MUST(!set_cpuid(m.cpu));
	EQ(get_msr(m.cpu, 0xc0010140, &v), 1);
	EQ(set_msr(m.cpu, 0xc0010141, 1), 1);
}

T(msr_speculation,
  "6.9: SPEC_CTRL keeps IBRS, STIBP, SSBD and PSFD; PRED_CMD takes IBPB and SBPB, write-only")
{
	u64 v;

	machine(M_CPUID);
	faults_exit();
	EQ(set_msr(m.cpu, 0x48, 0x87), 1);
	EQ(get_msr(m.cpu, 0x48, &v), 1);
	EQ(v, 0x87);
	EQ(set_msr(m.cpu, 0x48, 1ull << 32), 0);
	EQ(guest_msr(0x48, true, 6, &v), KVM_EXIT_HLT);
	EQ(get_msr(m.cpu, 0x48, &v), 1);
	EQ(v, 6);
	EQ(get_msr(m.cpu, 0x49, &v), 0);
	EQ(guest_msr(0x49, true, 1, &v), KVM_EXIT_HLT);
	EQ(guest_msr(0x49, true, 0x80, &v), KVM_EXIT_HLT);
	EQ(guest_msr(0x49, true, 2, &v), KVM_EXIT_X86_WRMSR);
	m.run->msr.error = 1;
	machine(0);		/* a CPUID without IBPB */
	faults_exit();
	EQ(guest_msr(0x49, true, 1, &v), KVM_EXIT_X86_WRMSR);
	machine(0);
	faults_exit();
	EQ(guest_msr(0x49, true, 0x80, &v), KVM_EXIT_X86_WRMSR);
}

T(msr_async_pf, "6.7: ASYNC_PF_EN: reserved bits; features asked for; memory where it is enabled")
{
	u64 v;

	machine(M_IRQCHIP | M_CPUID);
	EQ(set_msr(m.cpu, 0x4b564d02, DATA | 0x10), 0);
	EQ(set_msr(m.cpu, 0x4b564d02, DATA | 0x20), 0);
	EQ(set_msr(m.cpu, 0x4b564d02, DATA | 0xf), 1);
	EQ(get_msr(m.cpu, 0x4b564d02, &v), 1);
	EQ(v, DATA | 0xf);
	EQ(set_msr(m.cpu, 0x4b564d02, 0x40000000 | 9), 0);
	EQ(set_msr(m.cpu, 0x4b564d02, 0x40000000 | 1), 1);
	EQ(set_msr(m.cpu, 0x4b564d02, 0), 1);
	machine(M_CPUID);	/* no local APIC to tell it by */
	EQ(set_msr(m.cpu, 0x4b564d02, DATA | 9), 0);
	EQ(set_msr(m.cpu, 0x4b564d02, 0), 1);
}

T(mcg_cap_new, "5.1: MCG_CAP of a new vCPU: 32 banks, none of the optional features")
{
	u64 v = 0;

	machine(M_CPUID);
	EQ(get_msr(m.cpu, 0x179, &v), 1);
	EQ(v, 32);
	EQ(get_msr(m.cpu, 0x47f, &v), 1);	/* MISC of the last bank */
	EQ(get_msr(m.cpu, 0x480, &v), 0);
}

T(msr_ignored, "6.9: with ignore_msrs MSRs that are not there read as 0 and take writes")
{
	u64 v = 1;

	machine(M_CPUID);
	NEED(getenv("STANDIN_IGNORE_MSRS"), "STANDIN_IGNORE_MSRS is not set");
	faults_exit();
	EQ(set_msr(m.cpu, 0x12345678, 5), 1);
	EQ(get_msr(m.cpu, 0x12345678, &v), 1);
	EQ(v, 0);
	EQ(guest_msr(0x12345678, false, 0, &v), KVM_EXIT_HLT);
	EQ(v, 0);
	EQ(guest_msr(0xc00000e7, true, 5, &v), KVM_EXIT_HLT);
	/* A bad value is still one. */
	EQ(set_msr(m.cpu, 0x277, ~0ull), 0);
}

/* -- frozen -- */

static struct kvm_cpuid2 *cpuid_of(int cpu)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 256 * sizeof(c->entries[0]));

	MUST(c);
	c->nent = 256;
	MUST(!ioctl(cpu, KVM_GET_CPUID2, c));
	return c;
}

static void is_frozen(bool frozen)
{
	static const u32 immutable[] = { 0x10a, 0xce, 0x345, 0xc0011029 };
	struct kvm_cpuid2 *c = cpuid_of(m.cpu);
	u64 v, now;

	IS(ioctl(m.cpu, KVM_SET_CPUID2, c), 0);
	c->entries[0].eax ^= 1;
	IS(ioctl(m.cpu, KVM_SET_CPUID2, c), frozen ? -EINVAL : 0);
	free(c);
	for (u32 i = 0; i < ARRAY_SIZE(immutable); i++) {
		MUST(get_msr(m.cpu, immutable[i], &v) == 1);
		EQ(set_msr(m.cpu, immutable[i], v), 1);
		/* Of PERF_CAPABILITIES there is only the one value. */
		if (immutable[i] == 0x345)
			continue;
		EQ(set_msr(m.cpu, immutable[i], v ^ 2), !frozen);
		EQ(get_msr(m.cpu, immutable[i], &now), 1);
		EQ(now, frozen ? v : v ^ 2);
		EQ(set_msr(m.cpu, immutable[i], v), 1);
	}
	/* The microcode revision follows what is loaded, at any time. */
	EQ(set_msr(m.cpu, 0x8b, 0x1234567), 1);
	EQ(get_msr(m.cpu, 0x8b, &v), 1);
	EQ(v, 0x1234567);
}

T(model_frozen, "5.2: after KVM_RUN CPUID and the feature MSRs may only be set to what they are")
{
	machine(M_CPUID);
	is_frozen(false);
	machine(M_CPUID);
	LOAD(0xf4);
	EQ(run(), KVM_EXIT_HLT);
	is_frozen(true);
}

T(model_frozen_nested, "5.2: a vCPU in guest mode is frozen too, although it never ran")
{
	struct {
		struct kvm_nested_state h;
		u8 image[4096];
	} n = { .h = { .flags = KVM_STATE_NESTED_GUEST_MODE | KVM_STATE_NESTED_GIF_SET,
		       .format = 1,
		       .size = sizeof(n) } };
	struct kvm_sregs s;

	machine(M_CPUID);
	NEED(cap(m.sys, KVM_CAP_NESTED_STATE) && is_amd_guest(), "no nested SVM");
	MUST(!enter64());
	s = sregs();
	s.efer |= 0x1000;
	MUST(!ioctl(m.cpu, KVM_SET_SREGS, &s));
	n.h.hdr.svm.vmcb_pa = 0x5000;
	*(u32 *)(n.image + 0x10) = 1;		/* intercept VMRUN */
	*(u32 *)(n.image + 0x58) = 1;		/* ASID */
	*(u64 *)(n.image + 0x4d0) = s.efer;
	*(u64 *)(n.image + 0x548) = s.cr4;
	*(u64 *)(n.image + 0x550) = s.cr3;
	*(u64 *)(n.image + 0x558) = s.cr0;
	*(u64 *)(n.image + 0x560) = 0x400;
	*(u64 *)(n.image + 0x568) = 0xffff0ff0;
	*(u64 *)(n.image + 0x570) = 2;
	IS(ioctl(m.cpu, KVM_SET_NESTED_STATE, &n), 0);
	is_frozen(true);
}

T(model_counts_from_creation,
  "5.2: CPUID counts from creation: SET_SREGS before SET_CPUID2 refuses what an empty CPUID lacks")
{
	static const u64 cr4[] = { 1 << 20 /* SMEP */, 1 << 21 /* SMAP */, 1 << 11 /* UMIP */,
				   1 << 16 /* FSGSBASE */, 1 << 17 /* PCIDE */,
				   1 << 18 /* OSXSAVE */ };
	struct kvm_sregs s;

	machine(0);
	s = sregs();
	IS(ioctl(m.cpu, KVM_SET_SREGS, &s), 0);
	for (u32 i = 0; i < ARRAY_SIZE(cr4); i++) {
		s.cr4 = cr4[i];
		IS_OR(ioctl(m.cpu, KVM_SET_SREGS, &s), -EINVAL, 0, "before 6.14");
	}
	MUST(!set_cpuid(m.cpu));
	s.cr4 = 1 << 20;
	IS(ioctl(m.cpu, KVM_SET_SREGS, &s), 0);
}

T(settings_before_vcpus,
  "5.4: DISABLE_EXITS and the VM's SET_TSC_KHZ: EINVAL once there is a vCPU, mask 0 included")
{
	machine(M_NO_CPU);
	IS(enable(m.vm, KVM_CAP_X86_DISABLE_EXITS, 0), 0);
	IS(ioctl(m.vm, KVM_SET_TSC_KHZ, 1000000), 0);
	MUST(ioctl(m.vm, KVM_CREATE_VCPU, 0) >= 0);
	IS_OR(enable(m.vm, KVM_CAP_X86_DISABLE_EXITS, 0), -EINVAL, 0, "before 6.16");
	IS_OR(enable(m.vm, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_HLT), -EINVAL, 0,
	      "before 6.16");
	IS_OR(ioctl(m.vm, KVM_SET_TSC_KHZ, 2000000), -EINVAL, 0, "before 6.16");
	EQ(ioctl(m.vm, KVM_GET_TSC_KHZ, 0), 1000000);
}

/* -- time -- */

static u64 tsc_of(int cpu)
{
	u64 v = 0;

	MUST(get_msr(cpu, 0x10, &v) == 1);
	return v;
}

T(tsc_first_write,
  "5.2: the first TSC that user space sets is taken; later ones within a second are the same")
{
	u64 want, khz;
	int other;

	machine(M_IRQCHIP | M_CPUID);
	khz = (u64)ioctl(m.cpu, KVM_GET_TSC_KHZ, 0);
	want = khz * 800;	/* 0.8 s */
	EQ(set_msr(m.cpu, 0x10, want), 1);
	TRUE(tsc_of(m.cpu) >= want);
	TRUE(tsc_of(m.cpu) < want + khz * 5000);
	/* Another vCPU, and a value that is half a second off: meant to be the same. */
	other = ioctl(m.vm, KVM_CREATE_VCPU, 1);
	MUST(other >= 0);
	TRUE(tsc_of(other) >= want);
	EQ(set_msr(other, 0x10, want - khz * 500), 1);
	TRUE(tsc_of(other) >= want);
}

T(tsc_first_offset, "5.2: the TSC offset attribute counts as a first write")
{
	u64 off, khz, want;
	struct kvm_device_attr a = { .addr = (uintptr_t)&off };

	machine(M_IRQCHIP | M_CPUID);
	khz = (u64)ioctl(m.cpu, KVM_GET_TSC_KHZ, 0);
	MUST(!ioctl(m.cpu, KVM_GET_DEVICE_ATTR, &a));
	off += khz * 10000;
	MUST(!ioctl(m.cpu, KVM_SET_DEVICE_ATTR, &a));
	want = tsc_of(m.cpu);
	TRUE(want >= khz * 10000);
	EQ(set_msr(m.cpu, 0x10, want - khz * 500), 1);
	TRUE(tsc_of(m.cpu) >= want);
}

/* -- PV leaves -- */

static void set_leaves(u32 base, const char *signature, u32 features)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 256 * sizeof(c->entries[0]));
	u32 n = 0;

	MUST(c);
	c->nent = 250;
	MUST(!ioctl(m.sys, KVM_GET_SUPPORTED_CPUID, c));
	for (u32 i = 0; i < c->nent; i++)
		if (c->entries[i].function >> 16 != 0x4000)
			c->entries[n++] = c->entries[i];
	c->entries[n] = (struct kvm_cpuid_entry2){ .function = base, .eax = base | 1 };
	memcpy(&c->entries[n++].ebx, signature, 12);
	c->entries[n++] = (struct kvm_cpuid_entry2){ .function = base | 1, .eax = features };
	c->nent = n;
	MUST(!ioctl(m.cpu, KVM_SET_CPUID2, c));
	free(c);
	MUST(!enable(m.cpu, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1));
}

T(pv_leaves_base, "6.1: the PV leaves stand where KVM's signature is, at 0x40000000 + n x 0x100")
{
	static const char kvm[12] = "KVMKVMKVM";
	u64 v;

	machine(0);
	set_leaves(0x40000000, kvm, 1 << 12 /* POLL_CONTROL */);
	EQ(get_msr(m.cpu, 0x4b564d05, &v), 1);
	machine(0);
	set_leaves(0x40000100, kvm, 1 << 12);
	EQ(get_msr(m.cpu, 0x4b564d05, &v), 1);
	machine(0);
	set_leaves(0x4000f300, kvm, 1 << 12);
	EQ(get_msr(m.cpu, 0x4b564d05, &v), 1);
	machine(0);
	set_leaves(0x40000100, kvm, 0);
	EQ(get_msr(m.cpu, 0x4b564d05, &v), 0);
	machine(0);
	set_leaves(0x40000000, "Microsoft Hv", ~0u);
	EQ(get_msr(m.cpu, 0x4b564d05, &v), 0);
	machine(0);
	set_leaves(0x40000080, kvm, ~0u);
	EQ(get_msr(m.cpu, 0x4b564d05, &v), 0);
}

/* -- INIT -- */

T(events_latched_init, "5.2: a pending INIT is smi.latched_init, and SET with the SMM flag sets it")
{
	struct kvm_msi init = { .address_lo = 0xfee00000, .data = 0x4500 };
	struct kvm_vcpu_events e;

	machine(M_IRQCHIP | M_CPUID);
	MUST(!ioctl(m.cpu, KVM_GET_VCPU_EVENTS, &e));
	EQ(e.smi.latched_init, 0);
	EQ(ioctl(m.vm, KVM_SIGNAL_MSI, &init), 1);
	MUST(!ioctl(m.cpu, KVM_GET_VCPU_EVENTS, &e));
	EQ(e.smi.latched_init, 1);
	e.smi.latched_init = 0;
	IS(ioctl(m.cpu, KVM_SET_VCPU_EVENTS, &e), 0);
	MUST(!ioctl(m.cpu, KVM_GET_VCPU_EVENTS, &e));
	EQ(e.smi.latched_init, 0);
	LOAD(0xe6, 0x10, 0xf4);
	EQ(run(), KVM_EXIT_IO);			/* no INIT came */
	e.smi.latched_init = 1;
	IS(ioctl(m.cpu, KVM_SET_VCPU_EVENTS, &e), 0);
	e.flags &= ~(u32)KVM_VCPUEVENT_VALID_SMM;
	e.smi.latched_init = 0;			/* without the flag: left alone */
	IS(ioctl(m.cpu, KVM_SET_VCPU_EVENTS, &e), 0);
	m.run->immediate_exit = 1;
	EQ(run(), -EINTR);			/* ends the OUT */
	m.run->immediate_exit = 0;
	MUST(!ioctl(m.cpu, KVM_GET_VCPU_EVENTS, &e));
	EQ(e.smi.latched_init, 1);
	LOAD(0xf4);
	/* The reset vector is not memory here. */
	EQ(run(), KVM_EXIT_INTERNAL_ERROR);
	EQ(regs().rip, 0xfff0);
}

T(mp_state_init_blocked, "5.2: INIT_RECEIVED while INIT is blocked: accepted, KVM_RUN is EINVAL")
{
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_INIT_RECEIVED };
	struct kvm_nested_state *n = calloc(1, 8192);
	struct kvm_sregs s;

	MUST(n);
	machine(M_IRQCHIP | M_CPUID);
	NEED(cap(m.sys, KVM_CAP_NESTED_STATE) && is_amd_guest(), "no nested SVM");
	s = sregs();
	s.efer |= 0x1000;
	MUST(!ioctl(m.cpu, KVM_SET_SREGS, &s));
	n->format = 1;
	n->size = 128;				/* GIF = 0 */
	MUST(!ioctl(m.cpu, KVM_SET_NESTED_STATE, n));
	IS_OR(ioctl(m.cpu, KVM_SET_MP_STATE, &mp), 0, -EINVAL, "before 6.15");
	EQ(run(), -EINVAL);
	mp.mp_state = KVM_MP_STATE_SIPI_RECEIVED;
	IS_OR(ioctl(m.cpu, KVM_SET_MP_STATE, &mp), 0, -EINVAL, "before 6.15");
	EQ(run(), -EINVAL);
	n->flags = KVM_STATE_NESTED_GIF_SET;
	MUST(!ioctl(m.cpu, KVM_SET_NESTED_STATE, n));
	mp.mp_state = KVM_MP_STATE_RUNNABLE;
	IS(ioctl(m.cpu, KVM_SET_MP_STATE, &mp), 0);
	LOAD(0xe6, 0x10, 0xf4);
	EQ(run(), KVM_EXIT_IO);
}

/* -- the rest of corrections -- */

T(clear_log_order, "5.2: CLEAR_DIRTY_LOG: a first page that is no multiple of 64 before ENOENT")
{
	u64 bits = 0;
	struct kvm_clear_dirty_log l = { .slot = 7, .first_page = 1, .num_pages = 64,
					 .dirty_bitmap = &bits };

	machine(M_NO_CPU);
	IS(ioctl(m.vm, KVM_CLEAR_DIRTY_LOG, &l), -EINVAL);
	l.first_page = 64;
	IS(ioctl(m.vm, KVM_CLEAR_DIRTY_LOG, &l), -ENOENT);
	/* It needs no capability. */
	MUST(!slot(m.vm, 1, KVM_MEM_LOG_DIRTY_PAGES, 0x100000, 0x40000, m.ram));
	l = (struct kvm_clear_dirty_log){ .slot = 1, .num_pages = 64, .dirty_bitmap = &bits };
	IS(ioctl(m.vm, KVM_CLEAR_DIRTY_LOG, &l), 0);
	l.num_pages = 65;
	IS(ioctl(m.vm, KVM_CLEAR_DIRTY_LOG, &l), -EINVAL);
}

T(translate_without_paging, "5.2: TRANSLATE without paging: beyond the physical range: invalid")
{
	struct kvm_translation t = { .linear_address = 1ull << 32 | 0x5123 };

	machine(M_CPUID);
	IS(ioctl(m.cpu, KVM_TRANSLATE, &t), 0);
	EQ(t.valid, 1);
	EQ(t.physical_address, 1ull << 32 | 0x5123);
	t.linear_address = 1ull << 52;
	IS(ioctl(m.cpu, KVM_TRANSLATE, &t), 0);
	EQ(t.valid, 0);
}

T(delivery_error_data,
  "5.5: DELIVERY_EV: 5 words: EXITINTINFO, exit code, exit info 1, the GPA, the last CPU")
{
	struct kvm_sregs s;

	machine(M_CPUID);
	MUST(!enter64());
	s = sregs();
	s.idt.base = NOWHERE;
	s.idt.limit = 0xfff;
	MUST(!ioctl(m.cpu, KVM_SET_SREGS, &s));
	m.ram[CODE] = 0x0f;			/* UD2 */
	m.ram[CODE + 1] = 0x0b;
	set_regs(&(struct kvm_regs){ .rip = CODE, .rsp = 0x8000, .rflags = 2 });
	EQ(run(), KVM_EXIT_INTERNAL_ERROR);
	EQ(m.run->internal.suberror, KVM_INTERNAL_ERROR_DELIVERY_EV);
	EQ(m.run->internal.ndata, 5);
	NEED(is_amd_guest(), "the words are SVM's");
	EQ(m.run->internal.data[0], 0x80000306);	/* valid, exception, #UD */
	EQ(m.run->internal.data[1], 0x400);		/* nested page fault */
	EQ(m.run->internal.data[3], NOWHERE + 6 * 16);
}
