/* SPDX-License-Identifier: MIT */
/*
 * vcpu/hyperv.c - Hyper-V's MSRs, its reference time and its exits (TLFS 3, 9, 12; KVM's own rules
 * on who may touch what). SynIC and timers: hyperv_synic.c. Hypercalls: hyperv_call.c.
 */
#include <time.h>

#include "base/cpus.h"
#include "irq/lapic.h"
#include "irq/lapic_regs.h"
#include "vcpu/cpuid.h"
#include "vcpu/hyperv_priv.h"
#include "vcpu/vcpu_priv.h"

#define PAGE_OF(v) ((v) & PAGE_MASK)

void hyperv_vm_init(struct hyperv_vm *hv)
{
	pthread_mutex_init(&hv->lock, NULL);
}

void hyperv_vm_destroy(struct hyperv_vm *hv)
{
	pthread_mutex_destroy(&hv->lock);
}

void hyperv_init(struct vcpu *v)
{
	struct hyperv_vcpu *h = &v->p->hv;

	h->vp_index = v->c->index;
	h->version = 1;
	for (u32 i = 0; i < HV_SINTS; i++) {
		h->sint[i] = HV_SINT_MASKED;
		h->sint_gsi[i] = -1;
	}
}

/* -- CPUID -- */

static const struct {
	u8 reg, bit;
} bits[HVB_COUNT] = {
#define X(name, r, b) [HVB_##name] = { r, b },
	HYPERV_BITS(X)
#undef X
};

void hyperv_cpuid_changed(struct vcpu *v)
{
	struct hyperv_vcpu *h = &v->p->hv;
	const struct kvm_cpuid_entry2 *e = cpuid_find(v, CPUID_L_HV_INTERFACE, 0);

	h->on = e && e->eax == CPUID_HV_SIGNATURE;
	h->syndbg = false;
	cpu_zero(h->cpuid, sizeof(h->cpuid));
	if (!h->on)
		return;
	e = cpuid_find(v, CPUID_L_HV_FEATURES, 0);
	if (e) {
		h->cpuid[HV_EAX] = e->eax;
		h->cpuid[HV_EBX] = e->ebx;
		h->cpuid[HV_EDX] = e->edx;
	}
	e = cpuid_find(v, CPUID_L_HV_HINTS, 0);
	if (e) {
		h->cpuid[HV_HINT_EAX] = e->eax;
		h->cpuid[HV_HINT_EBX] = e->ebx;
	}
	e = cpuid_find(v, CPUID_L_HV_NESTED, 0);
	if (e) {
		h->cpuid[HV_NEST_EAX] = e->eax;
		h->cpuid[HV_NEST_EBX] = e->ebx;
	}
	e = cpuid_find(v, CPUID_L_HV_DEBUG_FEATURES, 0);
	h->syndbg = e && e->eax & CPUID_HV_DEBUGGING;
}

bool hyperv_has(const struct vcpu *v, enum hyperv_bit bit)
{
	return v->p->hv.cpuid[bits[bit].reg] & BIT(bits[bit].bit);
}

bool hyperv_may(const struct vcpu *v, enum hyperv_bit bit)
{
	return !v->p->hv.enforce || hyperv_has(v, bit);
}

/* With Hyper-V's own control of it, the invariant TSC is not seen before the guest asks for it. */
bool hyperv_hides_invariant_tsc(const struct vcpu *v)
{
	return v->cfg->hv && v->p->hv.on && hyperv_has(v, HVB_INVARIANT_TSC) &&
	       !(atomic_load(&v->cfg->hv->invariant) & 1);
}

/* -- reference time (TLFS 12) -- */

/* (tsc * scale) >> 64 is 100 ns units: 10,000 of them a millisecond, khz ticks. */
static u64 tsc_scale_of(u32 khz)
{
	return khz > 10000 ? (u64)(((u128)10000 << 64) / khz) : 0;
}

static u64 scaled(u64 tsc, u64 scale)
{
	return (u64)(((u128)tsc * scale) >> 64);
}

/* The TSC of vCPU 0 counts for all, as in KVM. */
static const struct vcpu *time_vcpu(struct vcpu *v)
{
	const struct vcpu *first = v->vm_ops->vcpu_at ? v->vm_ops->vcpu_at(v->vm, 0) : NULL;

	return first ? first : v;
}

static u64 ref_time_locked(struct vcpu *v)
{
	struct hyperv_vm *hv = v->cfg->hv;

	if (hv->tsc_page == HV_TSC_SET)
		return scaled(tsc_guest(time_vcpu(v)), hv->tsc_scale) + hv->tsc_offset;
	return (v->vm_ops->clock_ns ? v->vm_ops->clock_ns(v->vm) : tsc_host_to_ns(tsc_host())) /
	       100;
}

u64 hyperv_ref_time(struct vcpu *v)
{
	u64 t;

	pthread_mutex_lock(&v->cfg->hv->lock);
	t = ref_time_locked(v);
	pthread_mutex_unlock(&v->cfg->hv->lock);
	return t;
}

struct tsc_page {
	u32 sequence, rsvd;
	u64 scale, offset;
};

/* After a migration the guest emulates the old TSC until it says otherwise: the page stays. */
static bool page_is_pinned(const struct hyperv_vm *hv)
{
	return hv->tsc_page != HV_TSC_GUEST_CHANGED && hv->plain[1];
}

static enum hyperv_tsc_page write_tsc_page(struct vcpu *v)
{
	struct hyperv_vm *hv = v->cfg->hv;
	const struct vcpu *first = time_vcpu(v);
	u64 gpa = PAGE_OF(hv->ref_tsc), host, ns;
	struct tsc_page p, t = { 0 };

	if (phys_read(v->phys, gpa, &p, sizeof(p)))
		return HV_TSC_BROKEN;
	if (p.sequence && page_is_pinned(hv)) {
		hv->tsc_scale = p.scale;
		hv->tsc_offset = p.offset;
		return HV_TSC_SET;
	}
	/* Sequence 0: the MSR counts until the page is complete (TLFS 12.7). */
	if (phys_write(v->phys, gpa, &t.sequence, 4))
		return HV_TSC_BROKEN;
	t.scale = tsc_scale_of(first->p->tsc_khz);
	if (!t.scale || !v->vm_ops->master_clock || !v->vm_ops->master_clock(v->vm, &host, &ns))
		return HV_TSC_BROKEN;
	t.offset =
		ns / 100 - scaled(tsc_scale(host, tsc_ratio(first)) + tsc_offset(first), t.scale);
	if (phys_write(v->phys, gpa, &t, sizeof(t)))
		return HV_TSC_BROKEN;
	t.sequence = p.sequence + 1 == 0 || p.sequence + 1 == ~0u ? 1 : p.sequence + 1;
	atomic_thread_fence(memory_order_seq_cst);
	if (phys_write(v->phys, gpa, &t.sequence, 4))
		return HV_TSC_BROKEN;
	hv->tsc_scale = t.scale;
	hv->tsc_offset = t.offset;
	return HV_TSC_SET;
}

void hyperv_tsc_page_update(struct vcpu *v)
{
	struct hyperv_vm *hv = v->cfg->hv;

	if (!hv)
		return;
	pthread_mutex_lock(&hv->lock);
	if (hv->tsc_page == HV_TSC_GUEST_CHANGED || hv->tsc_page == HV_TSC_HOST_CHANGED) {
		vcpu_mem_begin(v);
		hv->tsc_page = write_tsc_page(v);
		vcpu_mem_end(v);
	}
	pthread_mutex_unlock(&hv->lock);
}

void hyperv_clock_changed(struct hyperv_vm *hv)
{
	pthread_mutex_lock(&hv->lock);
	if (hv->tsc_page == HV_TSC_SET && !page_is_pinned(hv))
		hv->tsc_page = HV_TSC_HOST_CHANGED;
	pthread_mutex_unlock(&hv->lock);
}

/* -- exits that follow an instruction -- */

static void ask(struct vcpu *v, u8 todo)
{
	v->p->hv.todo |= todo;
	vcpu_request(v, VREQ_HYPERV);
}

enum cpu_result hyperv_service(struct vcpu *v)
{
	struct hyperv_vcpu *h = &v->p->hv;
	struct kvm_run *run = v->run;

	if (h->todo & (HV_TODO_CRASH | HV_TODO_RESET)) {
		bool crash = h->todo & HV_TODO_CRASH;

		h->todo &= (u8) ~(crash ? HV_TODO_CRASH : HV_TODO_RESET);
		run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
		run->system_event.type = crash ? KVM_SYSTEM_EVENT_CRASH : KVM_SYSTEM_EVENT_RESET;
		run->system_event.ndata = 0;
	} else if (h->todo & HV_TODO_EXIT) {
		h->todo &= (u8)~HV_TODO_EXIT;
		run->exit_reason = KVM_EXIT_HYPERV;
		run->hyperv = h->exit;
		if (h->exit.type == KVM_EXIT_HYPERV_SYNDBG)
			v->p->pend = PEND_HYPERV_SYNDBG;
	} else {
		hyperv_stimers_poll(v);
		return CPU_OK;
	}
	/* Whatever else there is, timers included, comes at the next entry. */
	atomic_fetch_or(&v->requests, BIT64(VREQ_HYPERV));
	return CPU_USER;
}

/* -- the MSRs: 0 or -EINVAL; partition-wide ones run under the VM's lock -- */

struct row {
	u32 first, count;
	int (*rd)(struct vcpu *v, const struct row *row, u32 msr, u64 *val, bool host);
	int (*wr)(struct vcpu *v, const struct row *row, u32 msr, u64 val, bool host);
	enum hyperv_bit access;
	bool vm, listed;
	u32 arg;
};
#define RD(name) static int rd_##name(struct vcpu *v, const struct row *row, u32 msr, u64 *val, \
				      bool host)
#define WR(name) static int wr_##name(struct vcpu *v, const struct row *row, u32 msr, u64 val, \
				      bool host)

RD(os_id)
{
	*val = v->cfg->hv->os_id;
	return 0;
}

WR(os_id)
{
	struct hyperv_vm *hv = v->cfg->hv;

	atomic_store(&hv->os_id, val);
	if (!val)
		hv->hypercall &= ~HV_ENABLE;
	return 0;
}

RD(hypercall)
{
	*val = v->cfg->hv->hypercall;
	return 0;
}

/* TLFS 3.13: the page holds what makes a hypercall, whoever made the processor. */
WR(hypercall)
{
	static const u8 code[] = { 0x0f, 0x01, 0xd9 /* VMMCALL */, 0xc3 };
	struct hyperv_vm *hv = v->cfg->hv;
	int r;

	if (!hv->os_id)
		return 0;
	if (val & HV_ENABLE) {
		vcpu_mem_begin(v);
		r = phys_write(v->phys, PAGE_OF(val), code, sizeof(code));
		vcpu_mem_end(v);
		if (r)
			return -EINVAL;
	}
	hv->hypercall = val;
	return 0;
}

RD(vp_index)
{
	*val = v->p->hv.vp_index;
	return 0;
}

WR(vp_index)
{
	if (!host || (u32)val >= HYPERV_MAX_VPS)
		return -EINVAL;
	v->p->hv.vp_index = (u32)val;
	return 0;
}

RD(reset)
{
	*val = 0;
	return 0;
}

WR(reset)
{
	if (val == 1)
		ask(v, HV_TODO_RESET);
	return 0;
}

static u64 thread_time(void)
{
	struct timespec ts = { 0 };

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ((u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec) / 100;
}

RD(runtime)
{
	*val = thread_time() + v->p->hv.runtime_offset;
	return 0;
}

WR(runtime)
{
	if (!host)
		return -EINVAL;
	v->p->hv.runtime_offset = val - thread_time();
	return 0;
}

/* Read-only; user space's writes are ignored, so that it can restore all that it has read. */
static int read_only(bool host)
{
	return host ? 0 : -EINVAL;
}

RD(ref_count)
{
	*val = ref_time_locked(v);
	return 0;
}

WR(ref_count)
{
	return read_only(host);
}

RD(ref_tsc)
{
	*val = v->cfg->hv->ref_tsc;
	return 0;
}

WR(ref_tsc)
{
	struct hyperv_vm *hv = v->cfg->hv;

	hv->ref_tsc = val;
	hv->tsc_page = !(val & HV_ENABLE) ? HV_TSC_UNSET
		       : host		  ? HV_TSC_HOST_CHANGED
					  : HV_TSC_GUEST_CHANGED;
	/* The guest finds it written; memory of a VM that stands still does not change. */
	if (val & HV_ENABLE && !host) {
		vcpu_mem_begin(v);
		hv->tsc_page = write_tsc_page(v);
		vcpu_mem_end(v);
	} else if (val & HV_ENABLE) {
		vcpu_request(v, VREQ_CLOCK_UPDATE);
	}
	return 0;
}

RD(tsc_freq)
{
	*val = (u64)v->p->tsc_khz * 1000;
	return 0;
}

WR(tsc_freq)
{
	return read_only(host);
}

RD(apic_freq)
{
	u32 ns = v->cfg->shared.apic_bus_ns;

	*val = 1000000000u / (ns ? ns : 1);
	return 0;
}

WR(apic_freq)
{
	return read_only(host);
}

/* A register of the local APIC, in whichever mode it is. */
static int apic_write(struct vcpu *v, u32 offset, u64 val)
{
	u32 lo = (u32)val, hi = (u32)(val >> 32);

	if (!v->lapic)
		return -EINVAL;
	if (lapic_x2apic(v->lapic))
		return lapic_msr_write(v->lapic, MSR_X2APIC + offset / 16, val);
	if (offset == APIC_ICR && lapic_mmio_write(v->lapic, APIC_ICR2, &hi, 4))
		return -EINVAL;
	return lapic_mmio_write(v->lapic, offset, &lo, 4) ? -EINVAL : 0;
}

static int apic_read(struct vcpu *v, u32 offset, u64 *val)
{
	u32 lo = 0, hi = 0;

	if (!v->lapic)
		return -EINVAL;
	if (lapic_x2apic(v->lapic))
		return lapic_msr_read(v->lapic, MSR_X2APIC + offset / 16, val);
	if (lapic_mmio_read(v->lapic, offset, &lo, 4) ||
	    (offset == APIC_ICR && lapic_mmio_read(v->lapic, APIC_ICR2, &hi, 4)))
		return -EINVAL;
	*val = lo | (u64)hi << 32;
	return 0;
}

RD(eoi)
{
	return -EINVAL;
}

WR(eoi)
{
	if (!v->lapic)
		return -EINVAL;
	lapic_eoi(v->lapic);
	return 0;
}

RD(icr)
{
	return apic_read(v, APIC_ICR, val);
}

WR(icr)
{
	return apic_write(v, APIC_ICR, val);
}

RD(tpr)
{
	return apic_read(v, APIC_TPR, val);
}

WR(tpr)
{
	return apic_write(v, APIC_TPR, (u8)val);
}

RD(assist)
{
	*val = v->p->hv.assist;
	return 0;
}

/* TLFS 7.8.7, 10.3.5: its first word says that an EOI is not needed, which is PV EOI's idea. The
 * rest of the page may hold what a migrated guest needs. */
WR(assist)
{
	u32 zero = 0;
	int r;

	if (val & HV_ENABLE) {
		vcpu_mem_begin(v);
		r = phys_write(v->phys, PAGE_OF(val), &zero, 4);
		vcpu_mem_end(v);
		if (r)
			return -EINVAL;
	}
	v->p->hv.assist = val;
	pv_eoi_set(v, val & HV_ENABLE ? PAGE_OF(val) | 1 : 0);
	return 0;
}

RD(synic)
{
	return hyperv_synic_read(v, msr, val, host);
}

WR(synic)
{
	return hyperv_synic_write(v, msr, val, host);
}

RD(stimer)
{
	return hyperv_stimer_read(v, msr, val);
}

WR(stimer)
{
	return hyperv_stimer_write(v, msr, val, host);
}

static u64 *syndbg(struct vcpu *v, u32 msr)
{
	struct hyperv_vm *hv = v->cfg->hv;

	return msr == HV_MSR_SYNDBG_OPTIONS ? &hv->syndbg_options
					    : &hv->syndbg[msr - HV_MSR_SYNDBG];
}

RD(syndbg)
{
	if (!v->p->hv.syndbg && !host)
		return -EINVAL;
	*val = *syndbg(v, msr);
	return 0;
}

/* The debugger is user space's; it hears of commands and of the pending buffer. */
WR(syndbg)
{
	const u64 *s = v->cfg->hv->syndbg;
	u32 which = msr - HV_MSR_SYNDBG;

	if (!v->p->hv.syndbg && !host)
		return -EINVAL;
	*syndbg(v, msr) = val;
	if (host || (which != 0 && which != 4))
		return 0;
	v->p->hv.exit = (struct kvm_hyperv_exit){
		.type = KVM_EXIT_HYPERV_SYNDBG,
		.u.syndbg = { .msr = msr, .control = s[0], .send_page = s[2], .recv_page = s[3],
			      .pending_page = s[4] },
	};
	ask(v, HV_TODO_EXIT);
	return 0;
}

void hyperv_syndbg_complete(struct vcpu *v)
{
	struct hyperv_vm *hv = v->cfg->hv;

	if (v->run->hyperv.u.syndbg.msr != HV_MSR_SYNDBG)
		return;
	pthread_mutex_lock(&hv->lock);
	hv->syndbg[1] = v->run->hyperv.u.syndbg.status;
	pthread_mutex_unlock(&hv->lock);
}

RD(crash)
{
	*val = v->cfg->hv->crash[msr - row->first];
	return 0;
}

WR(crash)
{
	v->cfg->hv->crash[msr - row->first] = val;
	return 0;
}

#define CRASH_NOTIFY BIT64(63)

RD(crash_ctl)
{
	*val = v->cfg->hv->crash_ctl;
	return 0;
}

/* What user space sets is what the guest reads: what it may use. */
WR(crash_ctl)
{
	if (host)
		v->cfg->hv->crash_ctl = val & CRASH_NOTIFY;
	else if (val & CRASH_NOTIFY)
		ask(v, HV_TODO_CRASH);
	return 0;
}

RD(plain)
{
	*val = v->cfg->hv->plain[row->arg];
	return 0;
}

WR(plain)
{
	v->cfg->hv->plain[row->arg] = val;
	return 0;
}

RD(emu_status)
{
	*val = v->cfg->hv->emu_status;
	return 0;
}

WR(emu_status)
{
	if (val && !host)
		return -EINVAL;
	v->cfg->hv->emu_status = val;
	return 0;
}

RD(invariant)
{
	*val = v->cfg->hv->invariant;
	return 0;
}

WR(invariant)
{
	struct hyperv_vm *hv = v->cfg->hv;

	/* A guest cannot take it back. */
	if ((val & ~1ull) || (!host && hv->invariant && !val))
		return -EINVAL;
	atomic_store(&hv->invariant, val);
	return 0;
}

/* -- dispatch -- */

enum { SCOPE_VP, SCOPE_VM };
enum { LIST_N, LIST_L };

static const struct row rows[] = {
#define X(name, f, n, h, a, s, l, g) \
	{ .first = f, .count = n, .rd = rd_##h, .wr = wr_##h, .access = HVB_##a, \
	  .vm = SCOPE_##s, .listed = LIST_##l, .arg = g },
	HYPERV_MSRS(X)
#undef X
};

static const struct row *find(u32 msr)
{
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		if (msr - rows[i].first < rows[i].count)
			return &rows[i];
	return NULL;
}

/* The row, if the access is allowed at all. */
static const struct row *allowed(struct vcpu *v, u32 msr, bool host)
{
	const struct row *row = v->cfg->hv ? find(msr) : NULL;

	return row && (host || (v->p->hv.on && hyperv_may(v, row->access))) ? row : NULL;
}

int hyperv_msr_read(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	const struct row *row = allowed(v, msr, host);
	int r;

	if (!row)
		return -EINVAL;
	if (!row->vm)
		return row->rd(v, row, msr, val, host);
	pthread_mutex_lock(&v->cfg->hv->lock);
	r = row->rd(v, row, msr, val, host);
	pthread_mutex_unlock(&v->cfg->hv->lock);
	return r;
}

int hyperv_msr_write(struct vcpu *v, u32 msr, u64 val, bool host)
{
	const struct row *row = allowed(v, msr, host);
	int r;

	if (!row)
		return -EINVAL;
	if (!row->vm)
		return row->wr(v, row, msr, val, host);
	pthread_mutex_lock(&v->cfg->hv->lock);
	r = row->wr(v, row, msr, val, host);
	pthread_mutex_unlock(&v->cfg->hv->lock);
	return r;
}

u32 hyperv_msr_list(u32 *out, u32 max)
{
	u32 n = 0;

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		for (u32 j = 0; rows[i].listed && j < rows[i].count; j++, n++)
			if (n < max)
				out[n] = rows[i].first + j;
	return n;
}

/* -- KVM_GET_SUPPORTED_HV_CPUID -- */

/* Their places in what user space gets. */
enum {
#define X(name, ...) AT_##name,
	CPUID_HV_LEAVES(X)
#undef X
};

int hyperv_cpuid(struct vcpu *v, struct kvm_cpuid_entry2 *e, u32 *n)
{
	static const struct kvm_cpuid_entry2 leaves[] = {
#define X(...) CPUID_ENTRY(__VA_ARGS__)
		CPUID_HV_LEAVES(X)
#undef X
	};
	bool apic = !v || v->lapic;
	u32 r[HV_REGS] = { 0 };

	if (*n < ARRAY_SIZE(leaves))
		return -E2BIG;
	*n = ARRAY_SIZE(leaves);
	for (u32 i = 0; i < HVB_COUNT; i++)
		if (apic || (i != HVB_STIMER_DIRECT && i != HVB_HINT_CLUSTER_IPI))
			r[bits[i].reg] |= BIT(bits[i].bit);
	if (!cpus_smt_possible())
		r[HV_HINT_EAX] |= BIT(18);	/* no core is shared behind the guest's back */
	for (u32 i = 0; i < ARRAY_SIZE(leaves); i++)
		e[i] = leaves[i];
	e[AT_HV_FEATURES].eax = r[HV_EAX];
	e[AT_HV_FEATURES].ebx = r[HV_EBX];
	e[AT_HV_FEATURES].edx = r[HV_EDX];
	e[AT_HV_HINTS].eax = r[HV_HINT_EAX];
	e[AT_HV_LIMITS].eax = HYPERV_MAX_VPS;
	e[AT_HV_NESTED].eax = r[HV_NEST_EAX];
	e[AT_HV_NESTED].ebx = r[HV_NEST_EBX];
	return 0;
}
