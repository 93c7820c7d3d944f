/* SPDX-License-Identifier: MIT */
/* vcpu/msr_pv.c - MSRs of KVM's paravirtual interface, and the way to Hyper-V's. */
#include "irq/lapic.h"
#include "vcpu/msr_priv.h"

/* -- KVM's own (docs/kvm-abi.md 6.2) -- */

MSR_WR(wall)
{
	v->p->msr.wall_clock = val;
	vcpu_mem_begin(v);
	kvmclock_write_wall(v, val);
	vcpu_mem_end(v);
	return 0;
}

MSR_WR(system_time)
{
	return kvmclock_set_system_time(v, val, host);
}

MSR_WR(steal)
{
	if ((val & 0x3e))
		return -EINVAL;
	return steal_set(v, val);
}

MSR_WR(pv_eoi)
{
	u8 byte;

	if (!v->lapic || (val & 2))
		return -EINVAL;
	if (val & 1) {
		int r;

		vcpu_mem_begin(v);
		r = phys_read(v->phys, val & ~3ull, &byte, 1);
		vcpu_mem_end(v);
		if (r)
			return -EINVAL;
	}
	pv_eoi_set(v, val);
	return 0;
}

void pv_eoi_set(struct vcpu *v, u64 val)
{
	/* An EOI the guest made through the old byte must not be lost with it. */
	if (v->p->pv_eoi_pending)
		pv_eoi_sync(v);
	v->p->msr.pv_eoi = val;
}

MSR_RD(hyperv)
{
	return hyperv_msr_read(v, msr, val, host);
}

MSR_WR(hyperv)
{
	return hyperv_msr_write(v, msr, val, host);
}

/* "Page ready" comes as an interrupt, or not at all. */
#define APF_ENABLED (BIT64(0) | BIT64(3))

/* A page of the host that is away is waited for, so nothing is ever reported (docs/abi-rules.md);
 * who enables it gets all of KVM's checks (docs/kvm-abi.md 6.7). */
MSR_WR(apf_en)
{
	u8 byte;

	if ((val & 0x30) || ((val & BIT64(2)) && !pv_has(v, KVM_FEATURE_ASYNC_PF_VMEXIT)) ||
	    ((val & BIT64(3)) && !pv_has(v, KVM_FEATURE_ASYNC_PF_INT)))
		return -EINVAL;
	if (!v->lapic && val)
		return -EINVAL;
	if ((val & APF_ENABLED) == APF_ENABLED) {
		int r;

		vcpu_mem_begin(v);
		r = phys_read(v->phys, val & ~0x3full, &byte, 1);
		vcpu_mem_end(v);
		if (r)
			return -EINVAL;
	}
	v->p->msr.apf_en = val;
	return 0;
}

MSR_WR(apf_int)
{
	if (!v->lapic)
		return -EINVAL;
	v->p->msr.apf_int = val;
	return 0;
}

MSR_RD(apf_ack)
{
	*val = 0;
	return 0;
}

MSR_WR(apf_ack)
{
	return 0;
}
