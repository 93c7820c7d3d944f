/* SPDX-License-Identifier: MIT */
/*
 * vcpu/msr.c - MSR reads and writes, by the guest and by user space.
 *
 * Handlers return 0, -EINVAL (a known MSR, a bad value: #GP(0)) or -ENOENT (no such
 * MSR here). `host` is true for KVM_GET/SET_MSRS, which may do more than the guest.
 */
#include <linux/kvm_para.h>

#include "base/log.h"
#include "base/options.h"
#include "irq/lapic.h"
#include "mmu/mmu.h"
#include "vcpu/cpuid.h"
#include "vcpu/msr.h"
#include "vcpu/vcpu_priv.h"

#define CPU_OFF(f) offsetof(struct cpu, f)
#define MSR_OFF(f) offsetof(struct vcpu_msrs, f)

struct msr_row {
	u32 first, count;
	int (*rd)(struct vcpu *v, const struct msr_row *row, u32 msr, u64 *val, bool host);
	int (*wr)(struct vcpu *v, const struct msr_row *row, u32 msr, u64 val, bool host);
	u64 arg, writable;
	u8 list;
};

enum { LIST_N, LIST_L, LIST_F };

/* The one feature MSR that is not part of the model: microcode can be loaded at any time. */
#define MSR_UCODE_REV 0x8b

#define RD(name) static int rd_##name(struct vcpu *v, const struct msr_row *row, u32 msr, \
				      u64 *val, bool host)
#define WR(name) static int wr_##name(struct vcpu *v, const struct msr_row *row, u32 msr, \
				      u64 val, bool host)

/* -- plain storage -- */

static u64 *cpu_field(struct vcpu *v, const struct msr_row *row)
{
	return (u64 *)((u8 *)v->c + row->arg);
}

static u64 *priv_field(struct vcpu *v, const struct msr_row *row)
{
	return (u64 *)((u8 *)&v->p->msr + row->arg);
}

RD(cpu)
{
	*val = *cpu_field(v, row);
	return 0;
}

WR(cpu)
{
	*cpu_field(v, row) = val;
	return 0;
}

#define rd_cpu_canon rd_cpu
#define rd_cpu_addr rd_cpu

/* Addresses the CPU will use: #GP unless canonical (APM2 3.2). FS and GS bases are part of
 * what translated code has baked in. */
WR(cpu_canon)
{
	if (!cpu_canonical_base(v->c, val))
		return -EINVAL;
	*cpu_field(v, row) = val;
	if (msr == 0xc0000100 || msr == 0xc0000101)
		cpu_mode_changed(v->c);
	return 0;
}

/* SYSENTER_ESP/EIP have no such check. AMD has SYSENTER in 32-bit code only and keeps as much; what
 * a guest on another maker's CPU sees is 64 bits, those above the width following its top one. */
WR(cpu_addr)
{
	*cpu_field(v, row) = v->p->cpuid.amd ? (u32)val :
					       cpu_sign_extend(val, cpu_has_la57(v->c));
	return 0;
}

RD(priv)
{
	*val = *priv_field(v, row);
	return 0;
}

WR(priv)
{
	*priv_field(v, row) = val;
	return 0;
}

#define rd_host_only rd_priv

WR(host_only)
{
	return host ? wr_priv(v, row, msr, val, host) : -EINVAL;
}

RD(ignore)
{
	*val = 0;
	return 0;
}

WR(ignore)
{
	return 0;
}

RD(constant)
{
	*val = row->arg;
	return 0;
}

WR(constant)
{
	return -EINVAL;
}

/* Gone from newer processors, but old systems touch them: a value, and writes are dropped. */
#define rd_legacy rd_constant
#define wr_legacy wr_ignore

/* -- time -- */

RD(tsc)
{
	/* L2 reads its own (docs/kvm-svm.md 4.11). */
	*val = host ? tsc_guest(v) : cpu_rdtsc(v->c);
	return 0;
}

WR(tsc)
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

RD(tsc_adjust)
{
	*val = v->p->msr.tsc_adjust;
	return 0;
}

WR(tsc_adjust)
{
	if (!host) {
		if (!cpuid_has(v, CPUID_F_TSC_ADJUST))
			return -EINVAL;
		tsc_set(v, tsc_offset(v) + val - v->p->msr.tsc_adjust, tsc_ratio(v));
		if (v->lapic)
			lapic_tsc_changed(v->lapic);
	}
	/* User space restores the TSC and this separately: no side effect then. */
	v->p->msr.tsc_adjust = val;
	return 0;
}

#define DISABLE_EXITS_APERFMPERF BIT64(4)	/* of newer headers */

/* KVM_CAP_X86_DISABLE_EXITS gives the guest what the processor counts. Ours runs at its nominal rate as
 * far as a guest can tell: both are the TSC (APM2 17.3.5), unscaled. */
RD(aperfmperf)
{
	if (host || !(v->cfg->disabled_exits & DISABLE_EXITS_APERFMPERF))
		return -ENOENT;
	*val = tsc_host();
	return 0;
}

WR(aperfmperf)
{
	return -ENOENT;
}

RD(tsc_deadline)
{
	*val = v->lapic ? lapic_get_tsc_deadline(v->lapic) : 0;
	return 0;
}

WR(tsc_deadline)
{
	if (v->lapic)
		lapic_set_tsc_deadline(v->lapic, val);
	return 0;
}

RD(tsc_aux)
{
	if (!host && !v->c->has_tsc_aux)
		return -EINVAL;
	*val = v->c->tsc_aux;
	return 0;
}

WR(tsc_aux)
{
	if (!host && !v->c->has_tsc_aux)
		return -EINVAL;
	/* Bits 63:32 are ignored by AMD's, reserved in others (SDM4 table 2-2). */
	if (!v->p->cpuid.amd && val >> 32)
		return -EINVAL;
	v->c->tsc_aux = (u32)val;
	return 0;
}

/* -- APIC -- */

RD(apic_base)
{
	*val = vcpu_get_apic_base(v);
	return 0;
}

WR(apic_base)
{
	return vcpu_set_apic_base(v, val, host) ? -EINVAL : 0;
}

RD(x2apic)
{
	return v->lapic ? lapic_msr_read(v->lapic, msr, val) : -EINVAL;
}

WR(x2apic)
{
	return v->lapic ? lapic_msr_write(v->lapic, msr, val) : -EINVAL;
}

/* -- CPU control -- */

RD(efer)
{
	*val = v->c->efer;
	return 0;
}

WR(efer)
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
	if (val & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NX | EFER_SVME | EFER_FFXSR |
		    EFER_TCE | BIT64(21)))
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

RD(pat)
{
	*val = *pat_of(v, host);
	return 0;
}

WR(pat)
{
	if (!pat_valid(val))
		return -EINVAL;
	*pat_of(v, host) = val;
	return 0;
}

static u64 *mtrr(struct vcpu *v, u32 msr)
{
	struct vcpu_msrs *m = &v->p->msr;

	if (msr == 0x2ff)
		return &m->mtrr_def;
	if (msr < 0x250)
		return &m->mtrr_var[msr - 0x200];
	if (msr == 0x250)
		return &m->mtrr_fixed[0];
	return msr < 0x268 ? &m->mtrr_fixed[1 + (msr - 0x258)] : &m->mtrr_fixed[3 + (msr - 0x268)];
}

static bool mtrr_type(u64 t)
{
	return t < 7 && t != 2 && t != 3;
}

RD(mtrr)
{
	*val = *mtrr(v, msr);
	return 0;
}

/* Stored only: guest memory is write-back whatever they say. Rules: APM2 7.7. */
WR(mtrr)
{
	u64 reserved = ~GENMASK64(v->c->maxphyaddr - 1, 0);

	if (msr == 0x2ff) {
		if ((val & ~0xcffull) || !mtrr_type(val & 0xff))
			return -EINVAL;
	} else if (msr < 0x250) {
		if (msr & 1 ? val & (reserved | 0x7ff) :
			      (val & (reserved | 0xf00)) || !mtrr_type(val & 0xff))
			return -EINVAL;
	} else {
		for (u32 i = 0; i < 8; i++)
			if (!mtrr_type(val >> (8 * i) & 0xff))
				return -EINVAL;
	}
	*mtrr(v, msr) = val;
	return 0;
}

/* SDM4 table 2-2: EMON; no BTS, no PEBS. */
#define MISC_EMON BIT64(7)
#define MISC_UNAVAILABLE (BIT64(11) | BIT64(12))

RD(misc_enable)
{
	*val = v->p->msr.misc_enable;
	return 0;
}

WR(misc_enable)
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

#define CPUID_FAULT BIT64(31)

RD(platform_info)
{
	if (!host && v->cfg->msr_platform_info_off)
		return -EINVAL;
	*val = v->p->msr.platform_info;
	return 0;
}

WR(platform_info)
{
	if (!host)
		return -EINVAL;
	v->p->msr.platform_info = val;
	return 0;
}

RD(misc_features)
{
	*val = v->p->msr.misc_features;
	return 0;
}

WR(misc_features)
{
	if ((val & 1) && !host && !(v->p->msr.platform_info & CPUID_FAULT))
		return -EINVAL;
	v->p->msr.misc_features = val;
	v->c->cpuid_faults = val & 1;
	return 0;
}

RD(ucode)
{
	*val = v->p->msr.ucode_rev;
	return 0;
}

WR(ucode)
{
	if (host)
		v->p->msr.ucode_rev = val;
	return 0;	/* a guest's write asks for the revision: nothing to do */
}

RD(arch_cap)
{
	if (!host && !cpuid_has(v, CPUID_F_ARCH_CAPABILITIES))
		return -EINVAL;
	*val = v->p->msr.arch_cap;
	return 0;
}

WR(arch_cap)
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
RD(perf_cap)
{
	if (!host)
		return -EINVAL;
	*val = 0;
	return 0;
}

WR(perf_cap)
{
	return host ? 0 : -EINVAL;
}

/* IBRS, STIBP, SSBD and PSFD can be set, and mean nothing: neither branches nor loads of the guest are
 * executed as it wrote them. */
static bool has_spec_ctrl(const struct vcpu *v)
{
	return cpuid_has(v, CPUID_F_IBRS) || cpuid_has(v, CPUID_F_STIBP) ||
	       cpuid_has(v, CPUID_F_AMD_SSBD) || cpuid_has(v, CPUID_F_AMD_PSFD);
}

RD(spec_ctrl)
{
	if (!host && !has_spec_ctrl(v))
		return -EINVAL;
	*val = v->p->msr.spec_ctrl;
	return 0;
}

WR(spec_ctrl)
{
	if (!host && !has_spec_ctrl(v))
		return -EINVAL;
	v->p->msr.spec_ctrl = val;
	return 0;
}

/* Write-only: the barrier is asked for, not kept. The host's predictors never see the guest's
 * branches, so that there is nothing to throw away. */
RD(pred_cmd)
{
	return -ENOENT;
}

WR(pred_cmd)
{
	return host || cpuid_has(v, CPUID_F_IBPB) ? 0 : -EINVAL;
}

/* No supervisor state: zero is all it can be. */
RD(xss)
{
	return host || cpuid_has(v, CPUID_F_XSAVES) ? 0 : -EINVAL;
}

WR(xss)
{
	return host || cpuid_has(v, CPUID_F_XSAVES) ? 0 : -EINVAL;
}

/* The virtual form of SPEC_CTRL.SSBD (CPUID 8000_0008 EBX[25]): nothing here bypasses a store. */
RD(virt_spec_ctrl)
{
	if (!host && !cpuid_has(v, CPUID_F_VIRT_SSBD))
		return -EINVAL;
	*val = v->p->msr.virt_spec_ctrl;
	return 0;
}

WR(virt_spec_ctrl)
{
	if (!host && !cpuid_has(v, CPUID_F_VIRT_SSBD))
		return -EINVAL;
	v->p->msr.virt_spec_ctrl = val;
	return 0;
}

RD(osvw)
{
	return cpuid_has(v, CPUID_F_OSVW) ? rd_priv(v, row, msr, val, host) : -EINVAL;
}

WR(osvw)
{
	return cpuid_has(v, CPUID_F_OSVW) ? wr_priv(v, row, msr, val, host) : -EINVAL;
}

/* Models 2 to 1fh of family 15h say that errata of their instruction cache have been dealt with. */
RD(f15h_ic_cfg)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(v, 1, 0);
	u32 family, model;

	if (!e)
		return -ENOENT;
	/* APM3 E.3.2: the extended fields count with base family fh. */
	family = (e->eax >> 8 & 15) + ((e->eax >> 8 & 15) == 15 ? e->eax >> 20 & 255 : 0);
	model = (e->eax >> 4 & 15) | (e->eax >> 12 & 0xf0);
	*val = family == 0x15 && model >= 2 && model < 0x20 ? 0x1e : 0;
	return 0;
}

#define wr_f15h_ic_cfg wr_constant

RD(hwcr)
{
	*val = v->p->msr.hwcr;
	return 0;
}

/* Bits 3, 6, 8 are accepted and dropped; McStatusWrEn and TscFreqSel stay (docs/kvm-abi.md 6.9). */
WR(hwcr)
{
	val &= ~(BIT64(3) | BIT64(6) | BIT64(8));
	if (val & ~(BIT64(18) | BIT64(24)))
		return -EINVAL;
	v->p->msr.hwcr = val;
	return 0;
}

/* -- SVM -- */

RD(svm)
{
	return svm_msr_read(v->c, msr, val, host);
}

WR(svm)
{
	return svm_msr_write(v->c, msr, val, host);
}

/* Read-only for the guest (APM2 13.1.1.7); a VMM restores them. */
RD(lbr)
{
	*val = v->c->lbr[msr - row->first];
	return 0;
}

WR(lbr)
{
	if (!host)
		return -EINVAL;
	v->c->lbr[msr - row->first] = val;
	return 0;
}

/* -- machine check (APM2 9.3) -- */

#define MCG_CTL_P BIT64(8)
#define MCG_CMCI_P BIT64(10)

RD(mcg_cap)
{
	*val = v->p->msr.mcg_cap;
	return 0;
}

WR(mcg_cap)
{
	return -EINVAL;
}

RD(mcg_ctl)
{
	if (!(v->p->msr.mcg_cap & MCG_CTL_P) && !host)
		return -EINVAL;
	*val = v->p->msr.mcg_ctl;
	return 0;
}

WR(mcg_ctl)
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
	u32 bank = (msr - 0x400) / 4;

	return bank < (v->p->msr.mcg_cap & 0xff) ? &v->p->msr.mc[bank][msr % 4] : NULL;
}

RD(mc)
{
	u64 *p = mc_bank(v, msr);

	if (!p)
		return -EINVAL;
	*val = *p;
	return 0;
}

WR(mc)
{
	u64 *p = mc_bank(v, msr);

	if (!p)
		return -EINVAL;
	/* CTL: all or nothing, save for bits that some Linux (10) and UnixWare (0) leave clear. */
	if (msr % 4 == 0 && val && (val | BIT64(10) | BIT64(0)) != MSR_ALL)
		return -EINVAL;
	/* STATUS: only zero, unless HWCR.McStatusWrEn, which is AMD's. */
	if (!host && msr % 4 == 1 && val &&
	    !(v->p->cpuid.amd && v->p->msr.hwcr & BIT64(18)))
		return -EINVAL;
	*p = val;
	return 0;
}

/* SDM3 16.3.2.5: there with CMCI only; user space may read and clear them always. */
static u64 *mc_ctl2(struct vcpu *v, u32 msr, bool ok)
{
	u32 bank = msr - 0x280;

	if (bank >= (v->p->msr.mcg_cap & 0xff) || (!(v->p->msr.mcg_cap & MCG_CMCI_P) && !ok))
		return NULL;
	return &v->p->msr.mc_ctl2[bank];
}

RD(mc_ctl2)
{
	u64 *p = mc_ctl2(v, msr, host);

	if (!p)
		return -EINVAL;
	*val = *p;
	return 0;
}

WR(mc_ctl2)
{
	u64 *p = mc_ctl2(v, msr, host && !val);

	if (!p)
		return -EINVAL;
	*p = val;
	return 0;
}

/* -- KVM's own (docs/kvm-abi.md 6.2); row->arg is the feature bit -- */

static bool pv_has(const struct vcpu *v, u64 feature)
{
	return !v->p->enforce_pv || (v->p->cpuid.pv_features & BIT(feature));
}

#define PV_RD(name, field) \
	RD(name) \
	{ \
		if (!pv_has(v, row->arg)) \
			return -EINVAL; \
		*val = v->p->msr.field; \
		return 0; \
	}

PV_RD(wall, wall_clock)
PV_RD(system_time, system_time)
PV_RD(steal, steal)
PV_RD(pv_eoi, pv_eoi)
PV_RD(poll, poll_control)
PV_RD(apf_en, apf_en)
PV_RD(apf_int, apf_int)

WR(wall)
{
	if (!pv_has(v, row->arg))
		return -EINVAL;
	v->p->msr.wall_clock = val;
	vcpu_mem_begin(v);
	kvmclock_write_wall(v, val);
	vcpu_mem_end(v);
	return 0;
}

WR(system_time)
{
	if (!pv_has(v, row->arg))
		return -EINVAL;
	return kvmclock_set_system_time(v, val, host);
}

WR(steal)
{
	if (!pv_has(v, row->arg) || (val & 0x3e))
		return -EINVAL;
	return steal_set(v, val);
}

WR(pv_eoi)
{
	u8 byte;

	if (!pv_has(v, row->arg) || !v->lapic || (val & 2))
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

RD(hyperv)
{
	return hyperv_msr_read(v, msr, val, host);
}

WR(hyperv)
{
	return hyperv_msr_write(v, msr, val, host);
}

WR(poll)
{
	if (!pv_has(v, row->arg))
		return -EINVAL;
	v->p->msr.poll_control = val;
	return 0;
}

#define APF_ENABLED (BIT64(0) | BIT64(3))	/* "page ready" comes as an interrupt, or not at all */

/* A page of the host that is away is waited for, so nothing is ever reported (docs/abi-rules.md);
 * who enables it gets all of KVM's checks (docs/kvm-abi.md 6.7). */
WR(apf_en)
{
	u8 byte;

	if (!pv_has(v, row->arg) || (val & 0x30) ||
	    ((val & BIT64(2)) && !pv_has(v, KVM_FEATURE_ASYNC_PF_VMEXIT)) ||
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

WR(apf_int)
{
	if (!pv_has(v, row->arg) || !v->lapic)
		return -EINVAL;
	v->p->msr.apf_int = val;
	return 0;
}

RD(apf_ack)
{
	if (!pv_has(v, row->arg))
		return -EINVAL;
	*val = 0;
	return 0;
}

WR(apf_ack)
{
	return pv_has(v, row->arg) ? 0 : -EINVAL;
}

/* -- the table -- */

static const struct msr_row rows[] = {
#define X(name, idx, n, l, h, a, w) \
	{ .first = idx, .count = n, .list = LIST_##l, .rd = rd_##h, .wr = wr_##h, .arg = a, \
	  .writable = w },
	MSRS(X)
#undef X
};

static const struct msr_row *find(u32 msr)
{
	u32 lo = 0, hi = ARRAY_SIZE(rows);

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (msr < rows[mid].first)
			hi = mid;
		else if (msr - rows[mid].first >= rows[mid].count)
			lo = mid + 1;
		else
			return &rows[mid];
	}
	return NULL;
}

/* STANDIN_IGNORE_MSRS, KVM's parameter ignore_msrs: what no CPU of ours has reads as zero. */
static int unknown(struct vcpu *v, u32 msr, bool write)
{
	engine_fpu_save(v->c);
	if (!option_number(OPT_IGNORE_MSRS, 0))
		return -ENOENT;
	log_info("%s of MSR %#x ignored", write ? "write" : "read", msr);
	return 0;
}

static int msr_read(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	const struct msr_row *row = find(msr);
	int r;

	*val = 0;
	r = row ? row->rd(v, row, msr, val, host) : -ENOENT;
	return unlikely(r == -ENOENT) ? unknown(v, msr, false) : r;
}

static int msr_write(struct vcpu *v, u32 msr, u64 val, bool host)
{
	const struct msr_row *row = find(msr);

	if (!row)
		return unknown(v, msr, true);
	if (unlikely(host && row->list == LIST_F) && msr != MSR_UCODE_REV && vcpu_frozen(v)) {
		u64 cur;

		return row->rd(v, row, msr, &cur, true) || cur != val ? -EINVAL : 0;
	}
	if (val & ~row->writable) {
		/* Rows without writable bits are read-only; user space may restore them. */
		u64 cur;

		if (!host || row->writable || row->rd(v, row, msr, &cur, true) || cur != val)
			return -EINVAL;
		return 0;
	}
	return row->wr(v, row, msr, val, host);
}

int vcpu_get_msr(struct vcpu *v, u32 msr, u64 *val)
{
	return msr_read(v, msr, val, true) ? -EINVAL : 0;
}

int vcpu_set_msr(struct vcpu *v, u32 msr, u64 val)
{
	return msr_write(v, msr, val, true) ? -EINVAL : 0;
}

/* -- RDMSR and WRMSR -- */

static bool filtered(struct vcpu *v, u32 msr, bool write)
{
	if (likely(!v->cfg->msr_filter) || msr - 0x800 < 0x100)
		return false;
	engine_fpu_save(v->c);
	return !v->vm_ops->msr_allowed(v->vm, msr, write);
}

static enum cpu_result refuse(struct vcpu *v, u32 msr, u64 val, bool write, int why)
{
	struct kvm_run *run = v->run;
	u32 reason = why == -EACCES ? KVM_MSR_EXIT_REASON_FILTER :
		     why == -ENOENT ? KVM_MSR_EXIT_REASON_UNKNOWN : KVM_MSR_EXIT_REASON_INVAL;

	if (!(v->cfg->user_space_msr_mask & reason))
		return cpu_raise_err(v->c, EXC_GP, 0);
	run->exit_reason = write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR;
	run->msr.error = 0;
	cpu_zero(run->msr.pad, sizeof(run->msr.pad));
	run->msr.reason = reason;
	run->msr.index = msr;
	run->msr.data = val;
	vcpu_pend(v, write ? PEND_MSR_WRITE : PEND_MSR_READ, v->p->insn);
	return CPU_USER;
}

enum cpu_result msr_hook_read(struct cpu *c, u32 msr, u64 *val)
{
	struct vcpu *v = c->owner;
	int r = -EACCES;

	if (unlikely(c->in_l2) && svm_avic_has_msr(c, msr))
		return svm_avic_rdmsr(c, msr, val);
	if (msr - 0x800 < 0x100)
		engine_fpu_save(c);
	if (!filtered(v, msr, false))
		r = msr_read(v, msr, val, false);
	vcpu_trace(kvm_msr, v, 0, msr, r ? 0 : *val, r != 0);
	return likely(!r) ? CPU_OK : refuse(v, msr, 0, false, r);
}

/* These stay inside the CPU; all others may call out. */
static bool quiet(u32 msr)
{
	return msr - 0xc0000080 < 0x100;
}

enum cpu_result msr_hook_write(struct cpu *c, u32 msr, u64 val)
{
	struct vcpu *v = c->owner;
	int r = -EACCES;

	if (unlikely(c->in_l2) && svm_avic_has_msr(c, msr))
		return svm_avic_wrmsr(c, msr, val);
	if (!quiet(msr))
		engine_fpu_save(c);
	if (!filtered(v, msr, true))
		r = msr_write(v, msr, val, false);
	vcpu_trace(kvm_msr, v, 1, msr, val, r != 0);
	return likely(!r) ? CPU_OK : refuse(v, msr, val, true, r);
}

enum cpu_result msr_complete(struct vcpu *v)
{
	struct cpu *c = v->c;
	const struct kvm_run *run = v->run;
	bool read = v->p->pend == PEND_MSR_READ;
	u64 data = run->msr.data;

	v->p->pend = PEND_NONE;
	if (vcpu_linear_rip(v) != v->p->pend_rip)
		return CPU_OK;
	if (run->msr.error) {
		struct cpu_fault f = { .vector = EXC_GP, .has_error = true };

		vcpu_queue_exception(v, &f);
		return CPU_OK;
	}
	if (read) {
		c->gpr[R_RAX] = (u32)data;
		c->gpr[R_RDX] = data >> 32;
	}
	return vcpu_retire(v, v->p->pend_next);
}

/* -- values at creation, lists -- */

void msr_reset(struct vcpu *v)
{
	struct vcpu_msrs *m = &v->p->msr;

	/* Feature MSRs begin as 0, except those that KVM set for old programs (its quirk). */
	m->ucode_rev = m->arch_cap = m->platform_info = 0;
	if (!(v->cfg->shared.disabled_quirks & QUIRK_STUFF_FEATURE_MSRS)) {
		msr_feature_get(MSR_UCODE_REV, &m->ucode_rev);
		msr_feature_get(0x10a, &m->arch_cap);
		m->platform_info = CPUID_FAULT;
	}
	m->poll_control = 1;
	m->misc_enable = MISC_UNAVAILABLE;
	m->mcg_cap = MC_BANKS;
	v->c->pat = 0x0007040600070406ull;
}

static u32 list(u32 *out, u32 max, bool feature)
{
	u32 n = 0;

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		if (feature ? rows[i].list != LIST_F : rows[i].list == LIST_N)
			continue;
		for (u32 j = 0; j < rows[i].count; j++, n++)
			if (n < max)
				out[n] = rows[i].first + j;
	}
	return n;
}

u32 msr_index_list(u32 *out, u32 max)
{
	u32 n = list(out, max, false);

	return n + hyperv_msr_list(n < max ? out + n : out, n < max ? max - n : 0);
}

u32 msr_feature_list(u32 *out, u32 max)
{
	return list(out, max, true);
}

int msr_feature_get(u32 msr, u64 *val)
{
	switch (msr) {
	case MSR_UCODE_REV:
		*val = 0x01000065;
		return 0;
	case 0xce:
		*val = CPUID_FAULT;
		return 0;
	case 0x345:
		*val = 0;
		return 0;
	case 0x10a:
		*val = MSR_ARCH_CAP;
		return 0;
	case 0xc0011029:
		*val = 2;	/* LFENCE is serialising */
		return 0;
	}
	return -EINVAL;
}

/* -- machine checks from user space -- */

#define MCG_CAP_BANKS MC_BANKS
#define MCG_CAP_VALID (MCG_CTL_P | BIT64(24) /* SER_P */ | MCG_CMCI_P)

u64 mce_cap_supported(void)
{
	return MCG_CAP_VALID;
}

int vcpu_setup_mce(struct vcpu *v, u64 cap)
{
	u32 banks = cap & 0xff;

	if (!banks || banks > MCG_CAP_BANKS || (cap & ~(MCG_CAP_VALID | 0xff | 0xff0000)))
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
	if ((m->status & MCI_UC) && ((s->mcg_cap & MCG_CTL_P && s->mcg_ctl != MSR_ALL) ||
				     bank[0] != MSR_ALL))
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
