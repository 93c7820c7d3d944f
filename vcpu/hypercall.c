/* SPDX-License-Identifier: MIT */
/* vcpu/hypercall.c - KVM's hypercalls (docs/kvm-abi.md 6.6). */
#include <linux/kvm_para.h>
#include <sched.h>
#include <time.h>

#include "irq/irqchip.h"
#include "mmu/phys.h"
#include "vcpu/cpuid.h"
#include "vcpu/vcpu_priv.h"

#define VMCALL_RM 0xc1
#define VMMCALL_RM 0xd9

static s64 kick(struct vcpu *v, u64 apic_id)
{
	struct apic_msg m = { .dest = (u32)apic_id, .delivery = APIC_REMOTE_READ };

	if (!pv_has(v, KVM_FEATURE_PV_UNHALT) || !v->cfg->irq)
		return -KVM_ENOSYS;
	apic_deliver(v->cfg->irq, &m, NULL);
	sched_yield();
	return 0;
}

static s64 clock_pairing(struct vcpu *v, u64 gpa, u64 type)
{
	struct kvm_clock_pairing p;
	struct timespec ts;

	if (type != KVM_CLOCK_PAIRING_WALLCLOCK)
		return -KVM_EOPNOTSUPP;
	cpu_zero(&p, sizeof(p));
	clock_gettime(CLOCK_REALTIME, &ts);
	p.tsc = tsc_guest(v);
	p.sec = ts.tv_sec;
	p.nsec = ts.tv_nsec;
	return phys_write(v->phys, gpa, &p, sizeof(p)) ? -KVM_EFAULT : 0;
}

/* CPU_USER: the instruction retires at re-entry. */
static enum cpu_result map_gpa_range(struct vcpu *v, const struct insn *in, const u64 a[4],
				     s64 *ret)
{
	struct kvm_run *run = v->run;

	*ret = -KVM_ENOSYS;
	if (!v->cfg->hypercall_map_gpa_range)
		return CPU_OK;
	if ((a[0] & ~PAGE_MASK) || !a[1] || (a[0] >> PAGE_SHIFT) + a[1] <= (a[0] >> PAGE_SHIFT)) {
		*ret = -KVM_EINVAL;
		return CPU_OK;
	}
	run->exit_reason = KVM_EXIT_HYPERCALL;
	run->hypercall.nr = KVM_HC_MAP_GPA_RANGE;
	for (u32 i = 0; i < 6; i++)
		run->hypercall.args[i] = i < 3 ? a[i] : 0;
	run->hypercall.ret = 0;
	run->hypercall.longmode = cpu_in_64(v->c);
	vcpu_pend(v, PEND_HYPERCALL, in);
	return CPU_USER;
}

/* Quirk: the other maker's instruction is rewritten in place, as KVM does. */
static void patch(struct cpu *c, u64 rip)
{
	static const u8 vmmcall[3] = { 0x0f, 0x01, VMMCALL_RM };
	struct cpu_fault saved = c->fault;
	u64 lin = cpu_in_64(c) ? rip : (u32)(c->seg[S_CS].base + rip);

	/* Read-only text stays as it is: the call works all the same. */
	if (c->ops->mem_write(c, lin, vmmcall, sizeof(vmmcall), cpu_mmu_idx(c)) == CPU_FAULT)
		c->fault = saved;
}

bool hypercall_fix(struct cpu *c)
{
	struct vcpu *v = c->owner;

	if (v->cfg->shared.disabled_quirks & KVM_X86_QUIRK_FIX_HYPERCALL_INSN)
		return false;
	patch(c, c->rip);
	return true;
}

enum cpu_result hypercall_hook(struct cpu *c, const struct insn *in)
{
	struct vcpu *v = c->owner;
	bool wide = cpu_in_64(c);
	/* 0F 01 C1 is VMCALL, 0F 01 D9 VMMCALL, which an AMD CPU has. */
	bool foreign = in->mod == 3 && (in->reg & 7) == 0;
	u64 rip = c->rip, nr = c->gpr[R_RAX];
	u64 a[4] = { c->gpr[R_RBX], c->gpr[R_RCX], c->gpr[R_RDX], c->gpr[R_RSI] };
	s64 ret;

	/* KVM's emulator, which makes a VMMCALL of it, takes it for a privileged instruction. */
	if (foreign && c->cpl)
		return cpu_raise_err(c, EXC_GP, 0);
	if (foreign && (v->cfg->shared.disabled_quirks & KVM_X86_QUIRK_FIX_HYPERCALL_INSN))
		return cpu_raise(c, EXC_UD);
	if (!wide) {
		nr = (u32)nr;
		for (u32 i = 0; i < 4; i++)
			a[i] = (u32)a[i];
	}
	engine_fpu_save(c);
	if (unlikely(hyperv_call_enabled(v))) {
		enum cpu_result r = hyperv_call(v, in);

		if (foreign && r == CPU_OK)
			patch(c, rip);
		return r;
	}
	vcpu_count(v, hypercalls);
	vcpu_trace(kvm_hypercall, v, nr, a[0], a[1], a[2], a[3]);
	if (c->cpl) {
		ret = -KVM_EPERM;
		goto done;
	}
	switch (nr) {
	case KVM_HC_VAPIC_POLL_IRQ:
		ret = 0;
		break;
	case KVM_HC_KICK_CPU:
		ret = kick(v, a[1]);
		break;
	case KVM_HC_CLOCK_PAIRING:
		ret = clock_pairing(v, a[0], a[1]);
		break;
	case KVM_HC_SEND_IPI:
		ret = pv_has(v, KVM_FEATURE_PV_SEND_IPI) && v->cfg->irq
			      ? apic_send_pv_ipi(v->cfg->irq, a[0], a[1], (u32)a[2], a[3],
						 wide ? 64 : 32)
			      : -KVM_ENOSYS;
		break;
	case KVM_HC_SCHED_YIELD:
		ret = -KVM_ENOSYS;
		if (pv_has(v, KVM_FEATURE_PV_SCHED_YIELD)) {
			vcpu_count(v, directed_yield_attempted);
			sched_yield();
			vcpu_count(v, directed_yield_successful);
			ret = 0;
		}
		break;
	case KVM_HC_MAP_GPA_RANGE:
		if (map_gpa_range(v, in, a, &ret) == CPU_USER)
			return CPU_USER;
		break;
	default:
		ret = -KVM_ENOSYS;
	}
done:
	c->gpr[R_RAX] = wide ? (u64)ret : (u32)ret;
	insn_retire(c, in);
	/* Last: the write may throw away the translation that holds `in`. */
	if (foreign)
		patch(c, rip);
	return CPU_OK;
}
