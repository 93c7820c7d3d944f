/* SPDX-License-Identifier: MIT */
/* vcpu/mce.c - machine checks (APM2 9.3): the MSRs, and what user space injects. */
#include "irq/lapic.h"
#include "vcpu/msr_priv.h"

#define MCG_CTL_P BIT64(8)
#define MCG_CMCI_P BIT64(10)

MSR_RD(mcg_ctl)
{
	if (!(v->p->msr.mcg_cap & MCG_CTL_P) && !host)
		return -EINVAL;
	*val = v->p->msr.mcg_ctl;
	return 0;
}

MSR_WR(mcg_ctl)
{
	if (!(v->p->msr.mcg_cap & MCG_CTL_P) && (val || !host))
		return -EINVAL;
	if (val && val != MSR_ALL)
		return -EINVAL;
	v->p->msr.mcg_ctl = val;
	return 0;
}

static u64 *mc_bank(struct vcpu *v, u32 msr)
{
	u32 bank = (msr - MSR_MC_BANKS) / 4;

	return bank < (v->p->msr.mcg_cap & 0xff) ? &v->p->msr.mc[bank][msr % 4] : NULL;
}

MSR_RD(mc)
{
	u64 *p = mc_bank(v, msr);

	if (!p)
		return -EINVAL;
	*val = *p;
	return 0;
}

MSR_WR(mc)
{
	u64 *p = mc_bank(v, msr);

	if (!p)
		return -EINVAL;
	/* CTL: all or nothing, save for bits that some Linux (10) and UnixWare (0) leave clear. */
	if (msr % 4 == 0 && val && (val | BIT64(10) | BIT64(0)) != MSR_ALL)
		return -EINVAL;
	/* STATUS: only zero, unless HWCR.McStatusWrEn, which is AMD's. */
	if (!host && msr % 4 == 1 && val && !(v->p->cpuid.amd && v->p->msr.hwcr & BIT64(18)))
		return -EINVAL;
	*p = val;
	return 0;
}

/* SDM3 16.3.2.5: there with CMCI only; user space may read and clear them always. */
static u64 *mc_ctl2(struct vcpu *v, u32 msr, bool ok)
{
	u32 bank = msr - MSR_MCI_CTL2;

	if (bank >= (v->p->msr.mcg_cap & 0xff) || (!(v->p->msr.mcg_cap & MCG_CMCI_P) && !ok))
		return NULL;
	return &v->p->msr.mc_ctl2[bank];
}

MSR_RD(mc_ctl2)
{
	u64 *p = mc_ctl2(v, msr, host);

	if (!p)
		return -EINVAL;
	*val = *p;
	return 0;
}

MSR_WR(mc_ctl2)
{
	u64 *p = mc_ctl2(v, msr, host && !val);

	if (!p)
		return -EINVAL;
	*p = val;
	return 0;
}

/* -- from user space -- */

#define MCG_CAP_VALID (MCG_CTL_P | BIT64(24) /* SER_P */ | MCG_CMCI_P)

u64 mce_cap_supported(void)
{
	return MCG_CAP_VALID;
}

int vcpu_setup_mce(struct vcpu *v, u64 cap)
{
	u32 banks = cap & 0xff;

	if (!banks || banks > MC_BANKS || (cap & ~(MCG_CAP_VALID | 0xff | 0xff0000)))
		return -EINVAL;
	v->p->msr.mcg_cap = cap;
	if (cap & MCG_CTL_P)
		v->p->msr.mcg_ctl = MSR_ALL;
	for (u32 i = 0; i < banks; i++) {
		v->p->msr.mc[i][0] = MSR_ALL;
		if (cap & MCG_CMCI_P)
			v->p->msr.mc_ctl2[i] = 0;
	}
	cpuid_update_dynamic(v);
	return 0;
}

#define MCI_VAL BIT64(63)
#define MCI_OVER BIT64(62)
#define MCI_UC BIT64(61)
#define MCI_PCC BIT64(57)
#define MCI_S BIT64(56)
#define MCI_AR BIT64(55)
#define MCG_MCIP BIT64(2)

/* Uncorrected, no action required: nobody is interrupted but by CMCI. */
static bool is_ucna(const struct kvm_x86_mce *m)
{
	return !m->mcg_status && (m->status & MCI_UC) && !(m->status & (MCI_PCC | MCI_S | MCI_AR));
}

int vcpu_set_mce(struct vcpu *v, const struct kvm_x86_mce *m)
{
	struct vcpu_msrs *s = &v->p->msr;
	u64 *bank;

	if (m->bank >= (s->mcg_cap & 0xff) || !(m->status & MCI_VAL))
		return -EINVAL;
	bank = s->mc[m->bank];
	if (is_ucna(m)) {
		bank[1] = m->status;
		bank[2] = m->addr;
		bank[3] = m->misc;
		s->mcg_status = 0;
		if (v->lapic && s->mcg_cap & MCG_CMCI_P && s->mc_ctl2[m->bank] & MC_CTL2_EN)
			lapic_deliver_lvt(v->lapic, LVT_CMCI);
		return 0;
	}
	/* Reporting is switched off: nothing is even logged. */
	if ((m->status & MCI_UC) &&
	    ((s->mcg_cap & MCG_CTL_P && s->mcg_ctl != MSR_ALL) || bank[0] != MSR_ALL))
		return 0;
	if (m->status & MCI_UC) {
		struct cpu_fault f = { .vector = EXC_MC };

		if ((s->mcg_status & MCG_MCIP) || !(v->c->cr4 & CR4_MCE)) {
			vcpu_request(v, VREQ_TRIPLE_FAULT);
			return 0;
		}
		bank[1] = m->status | (bank[1] & MCI_VAL ? MCI_OVER : 0);
		bank[2] = m->addr;
		bank[3] = m->misc;
		s->mcg_status = m->mcg_status;
		vcpu_queue_exception(v, &f);
	} else if (!(bank[1] & MCI_VAL) || !(bank[1] & MCI_UC)) {
		bank[1] = m->status | (bank[1] & MCI_VAL ? MCI_OVER : 0);
		bank[2] = m->addr;
		bank[3] = m->misc;
	} else {
		bank[1] |= MCI_OVER;
	}
	return 0;
}
