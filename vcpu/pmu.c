/* SPDX-License-Identifier: MIT */
/*
 * vcpu/pmu.c - performance counters: AMD's six of the core, with PerfMonV2's global registers (APM2
 * 13.2).
 *
 * Instructions and branches are counted by the engine (engine/count.c), exactly, and only while a
 * counter wants them; a counter overflows behind the very instruction. Cycles are the host's TSC
 * while the vCPU's thread is in the guest; they overflow by the VM's timer. What passes is added to
 * the counters when the state that decides who counts changes (settle()): CPL, guest mode, a
 * register of ours. Events that nobody here can know (caches, predictions) stay at 0, as those of a
 * processor without them.
 */
#include "base/futex.h"
#include "base/options.h"
#include "irq/lapic.h"
#include "vcpu/msr_priv.h"

/* PERF_CTL (APM2 13.2.1) */
#define SEL_EVENT (0xffull | 0xfull << 32)
#define SEL_UMASK 0xff00ull
#define SEL_USR BIT64(16)
#define SEL_OS BIT64(17)
#define SEL_INT BIT64(20)
#define SEL_EN BIT64(22)
#define SEL_GUEST BIT64(40)
#define SEL_HOST BIT64(41)
/* Writes of these are dropped: pin control, bit 21, and what is behind the event's upper bits. */
#define SEL_RESERVED (0xfffffff000280000ull & ~(SEL_GUEST | SEL_HOST))

#define CTR_MASK (BIT64(48) - 1)
#define LEGACY 4u	/* counters of the MSRs at C001_0000, and without PERFCTR_CORE */
#define FAR ((s64)1 << 62)

/* What can be counted. X(name, event) */
#define PMU_EVENTS(X) \
	X(CYCLES, 0x076)	/* not halted */ \
	X(INSNS, 0x0c0)		/* retired */ \
	X(BRANCHES, 0x0c2)	/* retired, events included */ \
	X(LS_DISPATCH, 0x029)	/* by unit mask: loads, stores, both in one */

enum { WHAT_NOTHING, WHAT_CYCLES, WHAT_INSNS, WHAT_BRANCHES, WHAT_LS_DISPATCH };

static u8 what_of(u64 sel)
{
	u32 event = (u32)((sel & 0xff) | (sel >> 24 & 0xf00));

#define X(name, number) \
	if (event == (number)) \
		return WHAT_##name;
	PMU_EVENTS(X)
#undef X
	return WHAT_NOTHING;
}

bool pmu_offered(void)
{
	return option_word(OPT_PMU) != 0;
}

static bool enabled(const struct vcpu *v)
{
	return pmu_offered() && !v->cfg->pmu_off;
}

/* -- who counts -- */

enum { STATE_USER = 1, STATE_L2 = 2 };
enum { STATES_OS = 5, STATES_USER = 10, STATES_L1 = 3, STATES_L2 = 12 };

static u8 state_of(const struct cpu *c)
{
	return (c->cpl ? STATE_USER : 0) | (c->in_l2 ? STATE_L2 : 0);
}

/* In which states, one bit each. */
static u8 where(const struct cpu *c, u64 sel)
{
	u8 w = (sel & SEL_OS ? STATES_OS : 0) | (sel & SEL_USR ? STATES_USER : 0);

	/* APM2 13.2.1: both bits are both modes, and none of them means anything without SVM. */
	if (!(sel & (SEL_GUEST | SEL_HOST)))
		return w;
	if (!(c->efer & EFER_SVME))
		return 0;
	return w & ((sel & SEL_GUEST ? STATES_L2 : 0) | (sel & SEL_HOST ? STATES_L1 : 0));
}

static bool counts_now(const struct vcpu_pmu *p, u32 i)
{
	return p->where[i] >> p->state & 1;
}

/* -- what has passed -- */

static u64 passed(const struct vcpu *v, u32 i, u64 cycles)
{
	const struct vcpu_pmu *p = &v->p->pmu;
	const struct cpu_count *k = &v->c->count;
	u64 n = 0;

	switch (p->what[i]) {
	case WHAT_CYCLES:
		return cycles;
	case WHAT_INSNS:
		return (u64)(p->given - k->left);
	case WHAT_BRANCHES:
		return k->n[COUNT_BRANCH] - p->seen[COUNT_BRANCH];
	case WHAT_LS_DISPATCH:
		for (u32 j = 0; j < 3; j++)
			if (p->sel[i] >> (8 + j) & 1)
				n += k->n[COUNT_LOAD + j] - p->seen[COUNT_LOAD + j];
		return n;
	}
	return 0;
}

static void overflow(struct vcpu *v, u32 i)
{
	v->p->pmu.status |= BIT64(i);
	/* Without our APIC nobody hears of it, as in KVM. */
	if (!(v->p->pmu.sel[i] & SEL_INT) || !v->lapic)
		return;
	engine_fpu_save(v->c);
	lapic_deliver_lvt(v->lapic, LVT_PERF);
}

/* Add it to the counters. */
static void settle(struct vcpu *v)
{
	struct vcpu_pmu *p = &v->p->pmu;
	struct cpu_count *k = &v->c->count;
	u64 now = tsc_host(), cycles = p->running ? now - p->since : 0;
	u8 over = 0;

	for (u32 i = 0; i < PMU_COUNTERS; i++) {
		u64 n;

		if (!(p->active >> i & 1) || !counts_now(p, i))
			continue;
		n = p->ctr[i] + passed(v, i, cycles);
		p->ctr[i] = n & CTR_MASK;
		over |= (n > CTR_MASK) << i;
	}
	p->since = now;
	p->given = k->left;
	for (u32 j = 0; j < COUNT_KINDS; j++)
		p->seen[j] = k->n[j];
	for (u32 i = 0; over >> i; i++)
		if (over >> i & 1)
			overflow(v, i);
}

/* -- what is to come -- */

/* ms that units go on counting: a handler stops the counters, and starts them again. */
#define LINGER 8

static void plan(struct vcpu *v)
{
	struct vcpu_pmu *p = &v->p->pmu;
	struct cpu *c = v->c;
	bool by_mode = false, insns = false;
	s64 left = FAR;

	p->state = state_of(c);
	for (u32 i = 0; i < PMU_COUNTERS; i++) {
		s64 more = (s64)(CTR_MASK + 1 - p->ctr[i]);

		if (!(p->active >> i & 1))
			continue;
		p->where[i] = where(c, p->sel[i]);
		by_mode |= p->where[i] != (STATES_L1 | STATES_L2) ||
			   p->sel[i] & (SEL_GUEST | SEL_HOST);
		if (p->what[i] == WHAT_CYCLES || p->what[i] == WHAT_NOTHING)
			continue;
		insns = true;
		/* None of them counts more than one for an instruction. */
		if (counts_now(p, i) && more < left)
			left = more;
	}
	p->given = c->count.left = left;
	if (insns)
		p->linger = p->since + (u64)tsc_host_khz() * LINGER;
	else if (c->count.on && (s64)(p->since - p->linger) < 0)
		insns = true;
	by_mode |= insns && !p->active;	/* the end of that is to be noticed */
	if (c->count.on != insns || c->count.watched != by_mode)
		cpu_mode_changed(c);
	c->count.on = insns;
	c->count.watched = by_mode;
}

/* The TSC at which the next counter of cycles interrupts, if it counts all the time until then; 0:
 * none. */
static void set_deadline(struct vcpu *v)
{
	struct vcpu_pmu *p = &v->p->pmu;
	u64 next = 0;

	for (u32 i = 0; i < PMU_COUNTERS; i++) {
		u64 at = p->since + (CTR_MASK + 1 - p->ctr[i]);

		if (p->active >> i & 1 && p->what[i] == WHAT_CYCLES && p->sel[i] & SEL_INT &&
		    p->where[i] && (!next || at < next))
			next = at;
	}
	if (next == p->deadline)
		return;
	p->deadline = next;
	atomic_fetch_or(&v->requests, BIT64(VREQ_TIMER));
	atomic_store(&v->c->poll, 1);
}

u64 pmu_deadline_ns(const struct vcpu *v)
{
	const struct vcpu_pmu *p = &v->p->pmu;
	u64 now = tsc_host();

	if (!p->deadline || !p->running)
		return 0;
	return monotonic_ns() + (p->deadline > now ? tsc_host_to_ns(p->deadline - now) : 0) + 1;
}

void pmu_poll(struct vcpu *v)
{
	settle(v);
	plan(v);
	set_deadline(v);
}

void pmu_counted(struct cpu *c)
{
	struct vcpu *v = c->owner;

	settle(v);
	plan(v);
}

/* Registers, the filter or CPUID have changed, and settle() has been called before. */
static void reprogram(struct vcpu *v)
{
	struct vcpu_pmu *p = &v->p->pmu;

	p->active = 0;
	for (u32 i = 0; i < p->n; i++) {
		u64 sel = p->sel[i];

		if (!(sel & SEL_EN) || (p->version > 1 && !(p->ctl >> i & 1)))
			continue;
		if (v->cfg->pmu_filter &&
		    !v->vm_ops->pmu_allowed(v->vm, sel & (SEL_EVENT | SEL_UMASK)))
			continue;
		p->what[i] = what_of(sel);
		p->active |= BIT(i);
	}
	plan(v);
	set_deadline(v);
}

void pmu_reprogram(struct vcpu *v)
{
	engine_fpu_save(v->c);
	settle(v);
	reprogram(v);
}

void pmu_resume(struct vcpu *v)
{
	struct vcpu_pmu *p = &v->p->pmu;
	u64 now;

	p->running = true;
	if (likely(!p->active))
		return;
	now = tsc_host();
	if (p->deadline) {
		p->deadline += now - p->since;
		v->p->armed_ns = 0;
		atomic_fetch_or(&v->requests, BIT64(VREQ_TIMER));
	}
	p->since = now;
}

void pmu_pause(struct vcpu *v)
{
	struct vcpu_pmu *p = &v->p->pmu;

	if (p->active)
		settle(v);
	p->running = false;
}

/* -- registers -- */

static bool has_core(const struct vcpu *v)
{
	return cpuid_has(v, CPUID_F_PERFCTR_CORE);
}

void pmu_refresh(struct vcpu *v)
{
	struct vcpu_pmu *p = &v->p->pmu;
	bool running = p->running;

	*p = (struct vcpu_pmu){ .running = running, .given = FAR };
	v->c->count.left = FAR;
	if (enabled(v)) {
		p->version = 1;
		p->n = has_core(v) ? PMU_COUNTERS : LEGACY;
		if (cpuid_has(v, CPUID_F_PERFMON_V2)) {
			p->version = 2;
			p->n = cpuid_number(v, CPUID_V_PMCS);
		}
		if (p->n > PMU_COUNTERS)
			p->n = PMU_COUNTERS;
		/* At RESET they are all enabled, for those who know version 1 only. */
		if (p->version > 1)
			p->ctl = BIT64(p->n) - 1;
	}
	v->c->pmcs = p->n;
	reprogram(v);
}

static u64 read_counter(struct vcpu *v, u32 i)
{
	if (v->p->pmu.active >> i & 1)
		pmu_poll(v);
	return v->p->pmu.ctr[i];
}

static void write_counter(struct vcpu *v, u32 i, u64 val)
{
	settle(v);
	v->p->pmu.ctr[i] = val & CTR_MASK;
	plan(v);
	set_deadline(v);
}

static void write_select(struct vcpu *v, u32 i, u64 val)
{
	struct vcpu_pmu *p = &v->p->pmu;

	val &= ~SEL_RESERVED;
	if (val == p->sel[i])
		return;
	settle(v);
	p->sel[i] = val;
	reprogram(v);
}

u64 pmu_rdpmc(struct cpu *c, u32 i)
{
	return read_counter(c->owner, i);
}

/* A register of ours that is not there: a VMM may read what is listed as 0, and write that. */
static int absent(bool host, u64 val)
{
	return host && !val ? 0 : -ENOENT;
}

/* C001_0000 to 3: PERF_CTL, 4 to 7: PERF_CTR. Without a PMU they are there for old systems. */
MSR_RD(pmu_legacy)
{
	struct vcpu_pmu *p = &v->p->pmu;
	u32 i = msr & 3;

	*val = 0;
	if (!p->version)
		return 0;
	if (i >= p->n)
		return -EINVAL;
	*val = msr & 4 ? read_counter(v, i) : p->sel[i];
	return 0;
}

MSR_WR(pmu_legacy)
{
	u32 i = msr & 3;

	if (!v->p->pmu.version)
		return 0;
	if (i >= v->p->pmu.n)
		return -EINVAL;
	if (msr & 4)
		write_counter(v, i, val);
	else
		write_select(v, i, val);
	return 0;
}

/* C001_0200 and on: PERF_CTL and PERF_CTR in turn. */
MSR_RD(pmu_core)
{
	u32 i = (msr - row->first) / 2;

	*val = 0;
	if (!has_core(v))
		return absent(host, 0);
	if (i >= v->p->pmu.n)
		return -EINVAL;
	*val = msr & 1 ? read_counter(v, i) : v->p->pmu.sel[i];
	return 0;
}

MSR_WR(pmu_core)
{
	u32 i = (msr - row->first) / 2;

	if (!has_core(v))
		return absent(host, val);
	if (i >= v->p->pmu.n)
		return -EINVAL;
	if (msr & 1)
		write_counter(v, i, val);
	else
		write_select(v, i, val);
	return 0;
}

enum { GLOBAL_STATUS, GLOBAL_CTL, GLOBAL_CLR, GLOBAL_SET };

MSR_RD(pmu_global)
{
	struct vcpu_pmu *p = &v->p->pmu;

	*val = 0;
	if (p->version < 2)
		return absent(host, 0);
	if (p->active)
		pmu_poll(v);
	if (msr - row->first == GLOBAL_STATUS)
		*val = p->status;
	else if (msr - row->first == GLOBAL_CTL)
		*val = p->ctl;
	return 0;
}

MSR_WR(pmu_global)
{
	struct vcpu_pmu *p = &v->p->pmu;
	u64 valid = BIT64(p->n) - 1;

	if (p->version < 2)
		return absent(host, val);
	settle(v);
	switch (msr - row->first) {
	case GLOBAL_STATUS:	/* read-only: a guest's writes are dropped */
		if (!host)
			break;
		if (val & ~valid)
			return -EINVAL;
		p->status = val;
		break;
	case GLOBAL_CTL:
		p->ctl = val & valid;
		break;
	/* A VMM that writes back all it has read must not change the status by these. */
	case GLOBAL_CLR:
		if (!host)
			p->status &= ~val;
		break;
	default:
		if (!host)
			p->status |= val & valid;
		break;
	}
	reprogram(v);
	return 0;
}
