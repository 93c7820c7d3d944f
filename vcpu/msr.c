/* SPDX-License-Identifier: MIT */
/*
 * vcpu/msr.c - MSR reads and writes, by the guest and by user space: the table of base/msrs.h at
 * work. The handlers are in msr_cpu.c, mce.c and msr_pv.c.
 */
#include "base/log.h"
#include "base/options.h"
#include "vcpu/msr_priv.h"

/* -- the table -- */

enum { LIST_N, LIST_L, LIST_F, LIST_V };

static bool has_bit(const struct vcpu *v, enum cpuid_feature f)
{
	return cpuid_has(v, f);
}

#define has has_bit
#define pv pv_has
#define X(name, ...) \
	static bool needs_##name(const struct vcpu *v, bool host, bool write) \
	{ \
		return __VA_ARGS__; \
	}
MSR_NEEDS(X)
#undef X
#undef has
#undef pv

static const struct msr_row rows[] = {
#define X(name, idx, n, l, v, need, h, a, w) \
	{ .first = idx, .count = n, .list = LIST_##l, .value = v, .needs = needs_##need, \
	  .rd = msr_rd_##h, .wr = msr_wr_##h, .arg = a, .writable = w },
	MSRS(X)
#undef X
};

_Static_assert((u32)MSR_HYPERV == HV_MSR_FIRST && (u32)MSR_HYPERV_COUNT == HV_MSR_COUNT,
	       "hyperv.h");

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

static bool has(struct vcpu *v, const struct msr_row *row, bool host, bool write)
{
	return row->needs == needs_NOTHING || row->needs(v, host, write);
}

/* Of what user space chooses for a model: fixed with it. */
static bool feature(const struct msr_row *row)
{
	return row->list == LIST_F || row->list == LIST_V;
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
	if (row && unlikely(!has(v, row, host, false)))
		return -EINVAL;
	r = row ? row->rd(v, row, msr, val, host) : -ENOENT;
	return unlikely(r == -ENOENT) ? unknown(v, msr, false) : r;
}

static int msr_write(struct vcpu *v, u32 msr, u64 val, bool host)
{
	const struct msr_row *row = find(msr);

	if (!row)
		return unknown(v, msr, true);
	if (unlikely(host && feature(row)) && msr != MSR_UCODE_REV && vcpu_frozen(v)) {
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
	return likely(has(v, row, host, true)) ? row->wr(v, row, msr, val, host) : -EINVAL;
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
	if (likely(!v->cfg->msr_filter) || msr_is_x2apic(msr))
		return false;
	engine_fpu_save(v->c);
	return !v->vm_ops->msr_allowed(v->vm, msr, write);
}

static enum cpu_result refuse(struct vcpu *v, u32 msr, u64 val, bool write, int why)
{
	struct kvm_run *run = v->run;
	u32 reason = why == -EACCES   ? KVM_MSR_EXIT_REASON_FILTER
		     : why == -ENOENT ? KVM_MSR_EXIT_REASON_UNKNOWN
				      : KVM_MSR_EXIT_REASON_INVAL;

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
	if (msr_is_x2apic(msr))
		engine_fpu_save(c);
	if (!filtered(v, msr, false))
		r = msr_read(v, msr, val, false);
	vcpu_trace(kvm_msr, v, 0, msr, r ? 0 : *val, r != 0);
	return likely(!r) ? CPU_OK : refuse(v, msr, 0, false, r);
}

/* These stay inside the CPU; all others may call out. */
static bool quiet(u32 msr)
{
	return msr - MSR_EFER < 0x100;
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

enum cpu_result msr_complete(struct vcpu *v, bool read)
{
	struct cpu *c = v->c;
	const struct kvm_run *run = v->run;
	u64 data = run->msr.data;

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
	/* Feature MSRs begin as 0, except those that KVM set for old programs (its quirk). */
	bool stuff = !(v->cfg->shared.disabled_quirks & QUIRK_STUFF_FEATURE_MSRS);

	for (const struct msr_row *r = rows; r < rows + ARRAY_SIZE(rows); r++)
		if (r->value)
			*msr_field(v, r) =
				r->list != LIST_V && (r->list != LIST_F || stuff) ? r->value : 0;
}

static u32 list(u32 *out, u32 max, bool features)
{
	u32 n = 0;

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		if (features ? !feature(&rows[i]) : rows[i].list == LIST_N)
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
	const struct msr_row *row = find(msr);

	if (!row || !feature(row))
		return -EINVAL;
	*val = row->value;
	return 0;
}
