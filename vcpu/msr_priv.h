/* SPDX-License-Identifier: MIT */
/*
 * vcpu/msr_priv.h - between the files that carry MSRs out: msr.c (the table base/msrs.h at work),
 * msr_cpu.c (time, APIC, control, features, SVM), mce.c (machine checks), msr_pv.c (KVM's own and
 * Hyper-V's).
 *
 * A handler is MSR_RD(name) or MSR_WR(name). It returns 0, -EINVAL (a known MSR, a bad value:
 * #GP(0)) or -ENOENT (no such MSR here). `host` is true for KVM_GET/SET_MSRS, which may do more
 * than the guest. What the row's `needs` and `writable` rule out never comes here.
 */
#ifndef VCPU_MSR_PRIV_H
#define VCPU_MSR_PRIV_H

#include <linux/kvm_para.h>

#include "base/msrs.h"
#include "vcpu/cpuid.h"
#include "vcpu/vcpu_priv.h"

struct msr_row {
	u32 first, count;
	bool (*needs)(const struct vcpu *v, bool host, bool write);
	int (*rd)(struct vcpu *v, const struct msr_row *row, u32 msr, u64 *val, bool host);
	int (*wr)(struct vcpu *v, const struct msr_row *row, u32 msr, u64 val, bool host);
	u64 value, arg, writable;
	u8 list;
};

/* Where the value is kept, as an argument. */
#define MSR_IN_CPU BIT64(62)
#define MSR_IN_VCPU BIT64(63)
#define CPU_OFF(f) (MSR_IN_CPU | offsetof(struct cpu, f))
#define MSR_OFF(f) (MSR_IN_VCPU | offsetof(struct vcpu_msrs, f))
static inline u64 *msr_field(struct vcpu *v, const struct msr_row *row)
{
	u32 offset = (u32)row->arg;

	return (u64 *)(row->arg & MSR_IN_CPU ? (u8 *)v->c + offset : (u8 *)&v->p->msr + offset);
}

#define MSR_RD(name) \
	int msr_rd_##name(struct vcpu *v, const struct msr_row *row, u32 msr, u64 *val, bool host)
#define MSR_WR(name) \
	int msr_wr_##name(struct vcpu *v, const struct msr_row *row, u32 msr, u64 val, bool host)

/* One half of a pair that is the same as another's. */
#define msr_rd_canon msr_rd_field
#define msr_rd_addr msr_rd_field
#define msr_rd_host_only msr_rd_field
#define msr_wr_smbase msr_wr_host_only
#define msr_rd_read_only msr_rd_field
#define msr_rd_tsc_adjust msr_rd_field
#define msr_rd_efer msr_rd_field
#define msr_rd_misc_enable msr_rd_field
#define msr_rd_misc_features msr_rd_field
#define msr_rd_ucode msr_rd_field
#define msr_rd_arch_cap msr_rd_field
#define msr_rd_hwcr msr_rd_field
#define msr_rd_wall msr_rd_field
#define msr_rd_system_time msr_rd_field
#define msr_rd_steal msr_rd_field
#define msr_rd_pv_eoi msr_rd_field
#define msr_rd_apf_en msr_rd_field
#define msr_rd_apf_int msr_rd_field
#define msr_wr_read_only msr_wr_constant
/* Gone from newer processors, but old systems touch them: a value, and writes are dropped. */
#define msr_rd_legacy msr_rd_constant
#define msr_wr_legacy msr_wr_ignore
#define msr_wr_f15h_ic_cfg msr_wr_constant

#define X(name, first, count, list, value, needs, handler, ...) \
	MSR_RD(handler); \
	MSR_WR(handler);
MSRS(X)
#undef X

#endif
