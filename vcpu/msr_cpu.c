/* SPDX-License-Identifier: MIT */
/* vcpu/msr_cpu.c - MSRs of the processor: plain storage, time, APIC, control, features, SVM. */
#include "irq/lapic.h"
#include "mmu/mmu.h"
#include "vcpu/msr_priv.h"

/* -- plain storage -- */

MSR_RD(field)
{
	*val = *msr_field(v, row);
	return 0;
}

MSR_WR(field)
{
	*msr_field(v, row) = val;
	return 0;
}

/* Addresses the CPU will use: #GP unless canonical (APM2 3.2). FS and GS bases are part of
 * what translated code has baked in. */
MSR_WR(canon)
{
	if (!cpu_canonical_base(v->c, val))
		return -EINVAL;
	*msr_field(v, row) = val;
	if (msr == MSR_FS_BASE || msr == MSR_GS_BASE)
		cpu_mode_changed(v->c);
	return 0;
}

/* SYSENTER_ESP/EIP have no such check. AMD has SYSENTER in 32-bit code only and keeps as much; what
 * a guest on another maker's CPU sees is 64 bits, those above the width following its top one. */
MSR_WR(addr)
{
	*msr_field(v, row) = v->p->cpuid.amd ? (u32)val : cpu_sign_extend(val, cpu_has_la57(v->c));
	return 0;
}

MSR_WR(host_only)
{
	return host ? msr_wr_field(v, row, msr, val, host) : -EINVAL;
}

/* The guest sees it in its save-state area only. */
MSR_RD(smbase)
{
	return host ? msr_rd_field(v, row, msr, val, host) : -EINVAL;
}

MSR_RD(ignore)
{
	*val = 0;
	return 0;
}

MSR_WR(ignore)
{
	return 0;
}

MSR_RD(constant)
{
	*val = row->arg;
	return 0;
}

MSR_WR(constant)
{
	return -EINVAL;
}

/* -- time -- */

MSR_RD(tsc)
{
	/* L2 reads its own (docs/kvm-svm.md 4.11). */
	*val = host ? tsc_guest(v) : cpu_rdtsc(v->c);
	return 0;
}

MSR_WR(tsc)
{
	u64 adj;

	if (host) {
		tsc_host_write(v, val);
		return 0;
	}
	/* SDM3 18.17.3: a write to the TSC moves TSC_ADJUST by the same amount. */
	adj = val - tsc_guest(v);
	tsc_set(v, tsc_offset(v) + adj, tsc_ratio(v));
	v->p->msr.tsc_adjust += adj;
	if (v->lapic)
		lapic_tsc_changed(v->lapic);
	return 0;
}

MSR_WR(tsc_adjust)
{
	if (!host) {
		tsc_set(v, tsc_offset(v) + val - v->p->msr.tsc_adjust, tsc_ratio(v));
		if (v->lapic)
			lapic_tsc_changed(v->lapic);
	}
	/* User space restores the TSC and this separately: no side effect then. */
	v->p->msr.tsc_adjust = val;
	return 0;
}

#define DISABLE_EXITS_APERFMPERF BIT64(4)	/* of newer headers */

/* KVM_CAP_X86_DISABLE_EXITS gives the guest what the processor counts. Ours runs at its nominal
 * rate as far as a guest can tell: both are the TSC (APM2 17.3.5), unscaled. */
MSR_RD(aperfmperf)
{
	if (host || !(v->cfg->disabled_exits & DISABLE_EXITS_APERFMPERF))
		return -ENOENT;
	*val = tsc_host();
	return 0;
}

MSR_WR(aperfmperf)
{
	return -ENOENT;
}

MSR_RD(tsc_deadline)
{
	*val = v->lapic ? lapic_get_tsc_deadline(v->lapic) : 0;
	return 0;
}

MSR_WR(tsc_deadline)
{
	if (v->lapic)
		lapic_set_tsc_deadline(v->lapic, val);
	return 0;
}

MSR_RD(tsc_aux)
{
	*val = v->c->tsc_aux;
	return 0;
}

MSR_WR(tsc_aux)
{
	/* Bits 63:32 are ignored by AMD's, reserved in others (SDM4 table 2-2). */
	if (!v->p->cpuid.amd && val >> 32)
		return -EINVAL;
	v->c->tsc_aux = (u32)val;
	return 0;
}

/* -- APIC -- */

MSR_RD(apic_base)
{
	*val = vcpu_get_apic_base(v);
	return 0;
}

MSR_WR(apic_base)
{
	return vcpu_set_apic_base(v, val, host) ? -EINVAL : 0;
}

MSR_RD(x2apic)
{
	return v->lapic ? lapic_msr_read(v->lapic, msr, val) : -EINVAL;
}

MSR_WR(x2apic)
{
	return v->lapic ? lapic_msr_write(v->lapic, msr, val) : -EINVAL;
}

/* -- CPU control -- */

MSR_WR(efer)
{
	struct cpu *c = v->c;
	u64 old = c->efer;

	if (!host) {
		int r = svm_efer_check(c, val);

		if (r < 0 || cpu_set_efer(c, val) != CPU_OK)
			return -EINVAL;
		if (unlikely((old ^ val) & EFER_SVME))
			svm_efer_changed(c);
		return 0;
	}
	if (val & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NX | EFER_SVME | EFER_FFXSR | EFER_TCE |
		    BIT64(21)))
		return -EINVAL;
	svm_efer_forced(c, val);
	nested_note(v);
	c->efer = (val & ~EFER_LMA) | (c->efer & EFER_LMA);
	if (c->efer != old) {
		cpu_mode_changed(c);
		mmu_flush_all(c);
	}
	return 0;
}

/* APM2 7.8.2: memory types 2, 3 and above 7 are reserved. */
static bool pat_valid(u64 val)
{
	for (u32 i = 0; i < 8; i++) {
		u32 type = val >> (8 * i) & 0xff;

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

/* User space sees L1's, whoever runs. */
static u64 *pat_of(struct vcpu *v, bool host)
{
	return host ? svm_l1_pat(v->c) : &v->c->pat;
}

MSR_RD(pat)
{
	*val = *pat_of(v, host);
	return 0;
}

MSR_WR(pat)
{
	if (!pat_valid(val))
		return -EINVAL;
	*pat_of(v, host) = val;
	return 0;
}

static u64 *mtrr(struct vcpu *v, u32 msr)
{
	struct vcpu_msrs *m = &v->p->msr;

	if (msr == MSR_MTRR_DEF)
		return &m->mtrr_def;
	if (msr < MSR_MTRR_FIX64K)
		return &m->mtrr_var[msr - MSR_MTRR_VAR];
	if (msr == MSR_MTRR_FIX64K)
		return &m->mtrr_fixed[0];
	return msr < MSR_MTRR_FIX4K ? &m->mtrr_fixed[1 + (msr - MSR_MTRR_FIX16K)]
				    : &m->mtrr_fixed[3 + (msr - MSR_MTRR_FIX4K)];
}

static bool mtrr_type(u64 t)
{
	return t < 7 && t != 2 && t != 3;
}

MSR_RD(mtrr)
{
	*val = *mtrr(v, msr);
	return 0;
}

/* Stored only: guest memory is write-back whatever they say. Rules: APM2 7.7. */
MSR_WR(mtrr)
{
	u64 reserved = ~GENMASK64(v->c->maxphyaddr - 1, 0);

	if (msr == MSR_MTRR_DEF) {
		if ((val & ~0xcffull) || !mtrr_type(val & 0xff))
			return -EINVAL;
	} else if (msr < MSR_MTRR_FIX64K) {
		if (msr & 1 ? val & (reserved | 0x7ff)
			    : (val & (reserved | 0xf00)) || !mtrr_type(val & 0xff))
			return -EINVAL;
	} else {
		for (u32 i = 0; i < 8; i++)
			if (!mtrr_type(val >> (8 * i) & 0xff))
				return -EINVAL;
	}
	*mtrr(v, msr) = val;
	return 0;
}

/* SDM4 table 2-2. */
#define MISC_EMON BIT64(7)

MSR_WR(misc_enable)
{
	u64 old = v->p->msr.misc_enable;

	if (!host) {
		if ((old ^ val) & MISC_UNAVAILABLE)
			return -EINVAL;
		val = (val & ~MISC_EMON) | (old & MISC_EMON);
	}
	v->p->msr.misc_enable = val;
	return 0;
}

MSR_RD(platform_info)
{
	if (!host && v->cfg->msr_platform_info_off)
		return -EINVAL;
	*val = v->p->msr.platform_info;
	return 0;
}

MSR_WR(platform_info)
{
	if (!host)
		return -EINVAL;
	v->p->msr.platform_info = val;
	return 0;
}

MSR_WR(misc_features)
{
	if ((val & 1) && !host && !(v->p->msr.platform_info & MSR_CPUID_FAULT))
		return -EINVAL;
	v->p->msr.misc_features = val;
	v->c->cpuid_faults = val & 1;
	return 0;
}

MSR_WR(ucode)
{
	if (host)
		v->p->msr.ucode_rev = val;
	return 0;	/* a guest's write asks for the revision: nothing to do */
}

MSR_WR(arch_cap)
{
	if (!host)
		return -EINVAL;
	/* User space may always write 0 to what is listed. */
	if (!cpuid_has(v, CPUID_F_ARCH_CAPABILITIES))
		return val ? -EINVAL : 0;
	v->p->msr.arch_cap = val;
	return 0;
}

/* No PMU, hence none of its capabilities; not even readable without CPUID's PDCM. */
MSR_RD(perf_cap)
{
	if (!host)
		return -EINVAL;
	*val = 0;
	return 0;
}

MSR_WR(perf_cap)
{
	return host ? 0 : -EINVAL;
}

/* Write-only: the barrier is asked for, not kept. The host's predictors never see the guest's
 * branches, so that there is nothing to throw away. */
MSR_RD(pred_cmd)
{
	return -ENOENT;
}

MSR_WR(pred_cmd)
{
	u64 allowed = (cpuid_has(v, CPUID_F_IBPB) ? PRED_CMD_IBPB : 0) |
		      (cpuid_has(v, CPUID_F_SBPB) ? PRED_CMD_SBPB : 0);

	return host || !(val & ~allowed) ? 0 : -EINVAL;
}

/* No supervisor state: zero is all it can be. */
MSR_RD(xss)
{
	*val = 0;
	return 0;
}

MSR_WR(xss)
{
	return 0;
}

/* Models 2 to 1fh of family 15h say that errata of their instruction cache have been dealt with. */
MSR_RD(f15h_ic_cfg)
{
	u32 family = cpuid_number(v, CPUID_V_FAMILY), model;

	if (!cpuid_find(v, CPUID_L_BASIC, 0))
		return -ENOENT;
	/* APM3 E.3.2: the extended fields count with base family fh. */
	if (family == 15)
		family += cpuid_number(v, CPUID_V_EXT_FAMILY);
	model = cpuid_number(v, CPUID_V_MODEL) | cpuid_number(v, CPUID_V_EXT_MODEL) << 4;
	*val = family == 0x15 && model >= 2 && model < 0x20 ? 0x1e : 0;
	return 0;
}

/* Bits 3, 6, 8 are accepted and dropped; McStatusWrEn and TscFreqSel stay (docs/kvm-abi.md 6.9). */
MSR_WR(hwcr)
{
	val &= ~(BIT64(3) | BIT64(6) | BIT64(8));
	if (val & ~(BIT64(18) | BIT64(24)))
		return -EINVAL;
	v->p->msr.hwcr = val;
	return 0;
}

/* -- SVM -- */

MSR_RD(svm)
{
	return svm_msr_read(v->c, msr, val, host);
}

MSR_WR(svm)
{
	return svm_msr_write(v->c, msr, val, host);
}

/* Read-only for the guest (APM2 13.1.1.7); a VMM restores them. */
MSR_RD(lbr)
{
	*val = v->c->lbr[msr - row->first];
	return 0;
}

MSR_WR(lbr)
{
	if (!host)
		return -EINVAL;
	v->c->lbr[msr - row->first] = val;
	return 0;
}
