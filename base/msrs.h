/* SPDX-License-Identifier: MIT */
/*
 * base/msrs.h - the one table of MSRs: numbers, names, what they are worth, who has them, and
 * whether a VMM saves them. Rows are in ascending order of index.
 *
 *   X(name, first, count, list, value, needs, handler, argument, writable)
 *
 * first, count	MSR_name and MSR_name_COUNT
 * list		L: in KVM_GET_MSR_INDEX_LIST; F: a feature MSR as well; V: the same, but a new
 *		vCPU begins with 0; N: neither
 * value	what a new vCPU has; of F and V: what is offered
 * needs	without what it is not there: a name of MSR_NEEDS
 * handler	MSR_RD(handler) and MSR_WR(handler), vcpu/msr_priv.h
 * argument	CPU_OFF or MSR_OFF: where it is kept (64 bits), or the handler's own
 * writable	the bits that may be written
 */
#ifndef BASE_MSRS_H
#define BASE_MSRS_H

#include "base/types.h"

#define MSR_ALL (~0ull)
#define QUIRK_STUFF_FEATURE_MSRS BIT64(8)	/* KVM_X86_QUIRK_*, of newer headers */
#define MC_BANKS 32
#define MC_CTL2_EN BIT64(30)
#define MC_CTL2_THRESHOLD 0x7fffull
#define MSR_CPUID_FAULT BIT64(31)	/* of PLATFORM_INFO: CPUID can be made to fault */
/* Of MISC_ENABLE (SDM4 table 2-2): no BTS, no PEBS. */
#define MISC_UNAVAILABLE (BIT64(11) | BIT64(12))

#define PRED_CMD_IBPB	BIT64(0)
#define PRED_CMD_SBPB	BIT64(7)

/*
 * ARCH_CAPABILITIES (SDM4 table 2-2): KVM offers it on AMD processors as well. Enhanced IBRS, and
 * not affected by Meltdown, L1TF, SSB, MDS, iTLB multihit, TAA, MMIO stale data, post-barrier RSB,
 * BHI, GDS, RFDS and ITS.
 */
#define ARCH_CAP_OFFERED \
	(BIT64(0) | BIT64(1) | BIT64(3) | BIT64(4) | BIT64(5) | BIT64(6) | BIT64(8) | BIT64(13) | \
	 BIT64(14) | BIT64(15) | BIT64(20) | BIT64(24) | BIT64(26) | BIT64(27) | BIT64(62))

/*
 * X(name, what must hold, else -EINVAL: #GP(0)). Known are host (user space), write, has() a bit
 * of CPUID, pv() one of KVM's own features.
 */
#define MSR_NEEDS(X) \
	X(NOTHING,	true) \
	X(TSC_ADJUST,	host || !write || has(v, CPUID_F_TSC_ADJUST)) \
	X(SPEC_CTRL,	host || has(v, CPUID_F_IBRS) || has(v, CPUID_F_STIBP) || \
			has(v, CPUID_F_AMD_SSBD) || has(v, CPUID_F_AMD_PSFD)) \
	X(PRED_CMD,	host || !write || has(v, CPUID_F_IBPB) || has(v, CPUID_F_SBPB)) \
	X(ARCH_CAP,	host || has(v, CPUID_F_ARCH_CAPABILITIES)) \
	X(XSAVES,	host || has(v, CPUID_F_XSAVES)) \
	X(TSC_AUX,	host || v->c->has_tsc_aux) \
	X(VIRT_SSBD,	host || has(v, CPUID_F_VIRT_SSBD)) \
	X(OSVW,		has(v, CPUID_F_OSVW)) \
	X(PV_CLOCK,	pv(v, KVM_FEATURE_CLOCKSOURCE)) \
	X(PV_CLOCK2,	pv(v, KVM_FEATURE_CLOCKSOURCE2)) \
	X(PV_APF,	pv(v, KVM_FEATURE_ASYNC_PF)) \
	X(PV_STEAL,	pv(v, KVM_FEATURE_STEAL_TIME)) \
	X(PV_EOI,	pv(v, KVM_FEATURE_PV_EOI)) \
	X(PV_POLL,	pv(v, KVM_FEATURE_POLL_CONTROL)) \
	X(PV_APF_INT,	pv(v, KVM_FEATURE_ASYNC_PF_INT))

#define MSRS(X) \
	X(P5_MC,        0x0, 2, N, 0, NOTHING, ignore, 0, MSR_ALL) \
	X(TSC,          0x10, 1, L, 0, NOTHING, tsc, 0, MSR_ALL) \
	X(KVM_WALL_OLD, 0x11, 1, L, 0, PV_CLOCK, wall, MSR_OFF(wall_clock), MSR_ALL) \
	X(KVM_TIME_OLD, 0x12, 1, L, 0, PV_CLOCK, system_time, MSR_OFF(system_time), MSR_ALL) \
	X(PLATFORM_ID,  0x17, 1, N, 0, NOTHING, ignore, 0, 0) \
	X(APIC_BASE,    0x1b, 1, N, 0, NOTHING, apic_base, 0, MSR_ALL) \
	X(EBL_CR_POWERON, 0x2a, 1, N, 0, NOTHING, ignore, 0, 0) \
	X(EBC_FREQ,     0x2c, 1, N, 0, NOTHING, constant, 1 << 24, 0) \
	X(SMI_COUNT,    0x34, 1, L, 0, NOTHING, host_only, MSR_OFF(smi_count), MSR_ALL) \
	X(TSC_ADJUST,   0x3b, 1, L, 0, TSC_ADJUST, tsc_adjust, MSR_OFF(tsc_adjust), MSR_ALL) \
	X(SPEC_CTRL,    0x48, 1, L, 0, SPEC_CTRL, field, MSR_OFF(spec_ctrl), 0x87) \
	X(PRED_CMD,     0x49, 1, N, 0, PRED_CMD, pred_cmd, 0, PRED_CMD_IBPB | PRED_CMD_SBPB) \
	X(UCODE_WRITE,  0x79, 1, N, 0, NOTHING, ignore, 0, MSR_ALL) \
	X(UCODE_REV,    0x8b, 1, F, 0x01000065, NOTHING, ucode, MSR_OFF(ucode_rev), MSR_ALL) \
	X(SMBASE,       0x9e, 1, L, 0x30000, NOTHING, smbase, MSR_OFF(smbase), MSR_ALL) \
	X(P6_PERFCTR,   0xc1, 2, N, 0, NOTHING, ignore, 0, MSR_ALL) \
	X(FSB_FREQ,     0xcd, 1, N, 0, NOTHING, constant, 3, 0) \
	X(PLATFORM_INFO, 0xce, 1, F, MSR_CPUID_FAULT, NOTHING, platform_info, \
			MSR_OFF(platform_info), MSR_ALL) \
	X(MPERF_APERF,  0xe7, 2, N, 0, NOTHING, aperfmperf, 0, 0) \
	X(MTRRCAP,      0xfe, 1, N, 0, NOTHING, constant, 0x508, 0) \
	X(ARCH_CAP,     0x10a, 1, F, ARCH_CAP_OFFERED, ARCH_CAP, arch_cap, MSR_OFF(arch_cap), \
			MSR_ALL) \
	X(BBL_CR_CTL3,  0x11e, 1, N, 0, NOTHING, legacy, 0xbe702111, MSR_ALL) \
	X(MISC_FEATURES, 0x140, 1, L, 0, NOTHING, misc_features, MSR_OFF(misc_features), 1) \
	X(SYSENTER_CS,  0x174, 1, L, 0, NOTHING, field, CPU_OFF(sysenter_cs), MSR_ALL) \
	X(SYSENTER_ESP, 0x175, 1, L, 0, NOTHING, addr, CPU_OFF(sysenter_esp), MSR_ALL) \
	X(SYSENTER_EIP, 0x176, 1, L, 0, NOTHING, addr, CPU_OFF(sysenter_eip), MSR_ALL) \
	X(MCG_CAP,      0x179, 1, N, MC_BANKS, NOTHING, read_only, MSR_OFF(mcg_cap), 0) \
	X(MCG_STATUS,   0x17a, 1, L, 0, NOTHING, field, MSR_OFF(mcg_status), MSR_ALL) \
	X(MCG_CTL,      0x17b, 1, L, 0, NOTHING, mcg_ctl, MSR_OFF(mcg_ctl), MSR_ALL) \
	X(P6_EVNTSEL,   0x186, 2, N, 0, NOTHING, ignore, 0, MSR_ALL) \
	X(PERF_STATUS,  0x198, 1, N, 0, NOTHING, constant, 0x40000000003e8, 0) \
	X(PERF_CTL,     0x199, 1, N, 0, NOTHING, ignore, 0, MSR_ALL) \
	X(MISC_ENABLE,  0x1a0, 1, L, MISC_UNAVAILABLE, NOTHING, misc_enable, \
			MSR_OFF(misc_enable), MSR_ALL) \
	X(DEBUGCTL,     0x1d9, 1, L, 0, NOTHING, field, CPU_OFF(debugctl), DEBUGCTL_VALID) \
	X(LBR,          0x1db, 4, L, 0, NOTHING, lbr, 0, MSR_ALL) \
	X(POWER_CTL,    0x1fc, 1, L, 0, NOTHING, field, MSR_OFF(power_ctl), MSR_ALL) \
	X(MTRR_VAR,     0x200, 16, N, 0, NOTHING, mtrr, 0, MSR_ALL) \
	X(MTRR_FIX64K,  0x250, 1, N, 0, NOTHING, mtrr, 0, MSR_ALL) \
	X(MTRR_FIX16K,  0x258, 2, N, 0, NOTHING, mtrr, 0, MSR_ALL) \
	X(MTRR_FIX4K,   0x268, 8, N, 0, NOTHING, mtrr, 0, MSR_ALL) \
	X(PAT,          0x277, 1, L, 0x0007040600070406, NOTHING, pat, CPU_OFF(pat), MSR_ALL) \
	X(MCI_CTL2,     0x280, 32, N, 0, NOTHING, mc_ctl2, 0, MC_CTL2_EN | MC_CTL2_THRESHOLD) \
	X(MTRR_DEF,     0x2ff, 1, N, 0, NOTHING, mtrr, 0, MSR_ALL) \
	X(PERF_CAP,     0x345, 1, V, 0, NOTHING, perf_cap, 0, 0) \
	X(MC_BANKS,     0x400, 128, N, 0, NOTHING, mc, 0, MSR_ALL) \
	X(RAPL_UNIT,    0x606, 1, N, 0, NOTHING, ignore, 0, 0) \
	X(PKG_ENERGY,   0x611, 1, N, 0, NOTHING, ignore, 0, 0) \
	X(DRAM_ENERGY,  0x619, 1, N, 0, NOTHING, ignore, 0, 0) \
	X(PP0_ENERGY,   0x639, 1, N, 0, NOTHING, ignore, 0, 0) \
	X(PP1_ENERGY,   0x641, 1, N, 0, NOTHING, ignore, 0, 0) \
	X(TSC_DEADLINE, 0x6e0, 1, L, 0, NOTHING, tsc_deadline, 0, MSR_ALL) \
	X(X2APIC,       0x800, 256, N, 0, NOTHING, x2apic, 0, MSR_ALL) \
	X(XSS,          0xda0, 1, N, 0, XSAVES, xss, 0, 0) \
	X(HYPERV,       0x40000000, 0x200, N, 0, NOTHING, hyperv, 0, MSR_ALL) \
	X(KVM_WALL,     0x4b564d00, 1, L, 0, PV_CLOCK2, wall, MSR_OFF(wall_clock), MSR_ALL) \
	X(KVM_TIME,     0x4b564d01, 1, L, 0, PV_CLOCK2, system_time, MSR_OFF(system_time), \
			MSR_ALL) \
	X(KVM_APF_EN,   0x4b564d02, 1, L, 0, PV_APF, apf_en, MSR_OFF(apf_en), MSR_ALL) \
	X(KVM_STEAL,    0x4b564d03, 1, L, 0, PV_STEAL, steal, MSR_OFF(steal), MSR_ALL) \
	X(KVM_PV_EOI,   0x4b564d04, 1, L, 0, PV_EOI, pv_eoi, MSR_OFF(pv_eoi), MSR_ALL) \
	X(KVM_POLL,     0x4b564d05, 1, L, 1, PV_POLL, field, MSR_OFF(poll_control), 1) \
	X(KVM_APF_INT,  0x4b564d06, 1, L, 0, PV_APF_INT, apf_int, MSR_OFF(apf_int), 0xff) \
	X(KVM_APF_ACK,  0x4b564d07, 1, L, 0, PV_APF_INT, apf_ack, 0, MSR_ALL) \
	X(EFER,         0xc0000080, 1, N, 0, NOTHING, efer, CPU_OFF(efer), MSR_ALL) \
	X(STAR,         0xc0000081, 1, L, 0, NOTHING, field, CPU_OFF(star), MSR_ALL) \
	X(LSTAR,        0xc0000082, 1, L, 0, NOTHING, canon, CPU_OFF(lstar), MSR_ALL) \
	X(CSTAR,        0xc0000083, 1, L, 0, NOTHING, canon, CPU_OFF(cstar), MSR_ALL) \
	X(SFMASK,       0xc0000084, 1, L, 0, NOTHING, field, CPU_OFF(sfmask), MSR_ALL) \
	X(FS_BASE,      0xc0000100, 1, N, 0, NOTHING, canon, CPU_OFF(seg[S_FS].base), MSR_ALL) \
	X(GS_BASE,      0xc0000101, 1, N, 0, NOTHING, canon, CPU_OFF(seg[S_GS].base), MSR_ALL) \
	X(KERNEL_GS,    0xc0000102, 1, L, 0, NOTHING, canon, CPU_OFF(kernel_gs_base), MSR_ALL) \
	X(TSC_AUX,      0xc0000103, 1, L, 0, TSC_AUX, tsc_aux, 0, MSR_ALL) \
	X(TSC_RATIO,    0xc0000104, 1, L, 0, NOTHING, svm, 0, MSR_ALL) \
	X(PERF_GLOBAL,  0xc0000300, 4, L, 0, NOTHING, pmu_global, 0, MSR_ALL) \
	X(PERF_LEGACY,  0xc0010000, 8, L, 0, NOTHING, pmu_legacy, 0, MSR_ALL) \
	X(SYSCFG,       0xc0010010, 1, N, 0, NOTHING, ignore, 0, MSR_ALL) \
	X(HWCR,         0xc0010015, 1, L, 0, NOTHING, hwcr, MSR_OFF(hwcr), MSR_ALL) \
	X(K7_CLK_CTL,   0xc001001b, 1, N, 0, NOTHING, legacy, 0x20000000, MSR_ALL) \
	X(NB_CFG,       0xc001001f, 1, N, 0, NOTHING, ignore, 0, MSR_ALL) \
	X(PATCH_LOADER, 0xc0010020, 1, N, 0, NOTHING, ignore, 0, MSR_ALL) \
	X(INT_PENDING,  0xc0010055, 1, N, 0, NOTHING, ignore, 0, MSR_ALL) \
	X(MMIO_CONF,    0xc0010058, 1, N, 0, NOTHING, ignore, 0, 0) \
	X(TSEG,         0xc0010112, 2, N, 0, NOTHING, ignore, 0, 0) \
	X(VM_CR,        0xc0010114, 1, N, 0, NOTHING, svm, 0, MSR_ALL) \
	X(IGNNE,        0xc0010115, 1, N, 0, NOTHING, svm, 0, MSR_ALL) \
	X(HSAVE_PA,     0xc0010117, 1, L, 0, NOTHING, svm, 0, MSR_ALL) \
	X(AVIC_DOORBELL, 0xc001011b, 1, N, 0, NOTHING, svm, 0, MSR_ALL) \
	X(VIRT_SPEC_CTRL, 0xc001011f, 1, L, 0, VIRT_SSBD, field, MSR_OFF(virt_spec_ctrl), 4) \
	X(OSVW_LEN,     0xc0010140, 1, N, 0, OSVW, field, MSR_OFF(osvw_len), MSR_ALL) \
	X(OSVW_STATUS,  0xc0010141, 1, N, 0, OSVW, field, MSR_OFF(osvw_status), MSR_ALL) \
	X(PERF_CORE,    0xc0010200, 12, L, 0, NOTHING, pmu_core, 0, MSR_ALL) \
	X(F15H_IC_CFG,  0xc0011021, 1, N, 0, NOTHING, f15h_ic_cfg, 0, 0) \
	X(DC_CFG,       0xc0011022, 1, N, 0, NOTHING, ignore, 0, MSR_ALL) \
	X(TW_CFG,       0xc0011023, 1, N, 0, NOTHING, ignore, 0, MSR_ALL) \
	X(DE_CFG,       0xc0011029, 1, V, 2, NOTHING, field, MSR_OFF(de_cfg), 2) \
	X(BU_CFG2,      0xc001102a, 1, N, 0, NOTHING, ignore, 0, MSR_ALL) \
	X(EX_CFG,       0xc001102c, 1, N, 0, NOTHING, ignore, 0, MSR_ALL)

enum msr {
#define X(name, first, count, ...) MSR_##name = first, MSR_##name##_COUNT = count,
	MSRS(X)
#undef X
};

static inline bool msr_is_x2apic(u32 msr)
{
	return msr - MSR_X2APIC < MSR_X2APIC_COUNT;
}

#endif
