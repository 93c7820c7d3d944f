/* SPDX-License-Identifier: MIT */
/* vcpu/tsc.c - the host's TSC rate, guest TSC offset and scaling. */
#include <time.h>

#include "base/host_cpuid.h"
#include "irq/lapic.h"
#include "vcpu/cpuid.h"
#include "vcpu/vcpu_priv.h"

#define TOLERANCE_PPM 250	/* KVM's: closer than this is not worth scaling */

/* -- the host -- */

struct sample {
	u64 tsc, ns;
};

/* The pair with the least time between two reads of the TSC is the most exact one. */
static struct sample sample(void)
{
	struct sample best = { 0 };
	u64 width = ~0ull;

	for (u32 i = 0; i < 8; i++) {
		struct timespec ts;
		u64 t0 = tsc_host(), t1;

		clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
		t1 = tsc_host();
		if (t1 - t0 >= width)
			continue;
		width = t1 - t0;
		best.tsc = t0 + width / 2;
		best.ns = (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec;
	}
	return best;
}

/* Each end of the measurement is good to some 10 ns. Beginning it when the library is
 * loaded makes it longer than that, and first use need not wait. */
#define WINDOW 1000000
static struct sample at_load;

__attribute__((constructor)) static void begin(void)
{
	at_load = sample();
}

static u32 measure(void)
{
	u32 r[4];
	struct sample a, b;

	/* SDM2 CPUID 15H: crystal Hz * EBX / EAX, exact where it is given at all. */
	cpuid_host(CPUID_L_VENDOR, 0, r);
	if (r[CPUID_EAX] >= CPUID_L_TSC) {
		cpuid_host(CPUID_L_TSC, 0, r);
		if (r[CPUID_EAX] && r[CPUID_EBX] && r[CPUID_ECX])
			return (u32)((u64)r[CPUID_ECX] * r[CPUID_EBX] / r[CPUID_EAX] / 1000);
	}
	a = at_load.ns ? at_load : sample();
	do
		b = sample();
	while (b.ns - a.ns < WINDOW);
	return (u32)((u128)(b.tsc - a.tsc) * 1000000 / (b.ns - a.ns));
}

u32 tsc_host_khz(void)
{
	static _Atomic u32 khz;
	u32 k = atomic_load_explicit(&khz, memory_order_relaxed);

	if (!k) {
		u32 none = 0;

		k = measure();
		/* Two threads may both have measured: one result counts. */
		if (!atomic_compare_exchange_strong(&khz, &none, k))
			k = none;
	}
	return k;
}

u64 tsc_host_to_ns(u64 delta)
{
	return (u64)((u128)delta * 1000000 / tsc_host_khz());
}

/* -- the guest -- */

u64 tsc_guest(const struct vcpu *v)
{
	return tsc_scale(tsc_host(), tsc_ratio(v)) + tsc_offset(v);
}

u64 vcpu_tsc_now(void *vcpu)
{
	return tsc_guest(vcpu);
}

u64 vcpu_tsc_to_ns(void *vcpu, u64 delta)
{
	const struct vcpu *v = vcpu;

	return (u64)((u128)delta * 1000000 / v->p->tsc_khz);
}

static void changed(struct vcpu *v)
{
	if (v->lapic)
		lapic_tsc_changed(v->lapic);
	if (v->cfg->hv)
		hyperv_clock_changed(v->cfg->hv);
	vcpu_request(v, VREQ_CLOCK_UPDATE);
}

static void lock(struct vcpu_tsc_sync *s)
{
	while (atomic_exchange_explicit(&s->lock, 1, memory_order_acquire))
		__builtin_ia32_pause();
}

static void unlock(struct vcpu_tsc_sync *s)
{
	atomic_store_explicit(&s->lock, 0, memory_order_release);
}

static u64 offset_for(const struct vcpu *v, u64 val)
{
	return val - tsc_scale(tsc_host(), tsc_ratio(v));
}

/*
 * User space sets TSCs one vCPU after the other and means them to be equal: a write of
 * zero, or of what the last written TSC has become give or take a second, gets the same
 * offset (KVM's rule). That is no reason to drop the first value it writes: what stands there
 * then comes from the creation of the VM, and a guest may well be younger than a second.
 */
static u64 synchronised(struct vcpu *v, u64 val, bool user)
{
	struct vcpu_tsc_sync *s = v->cfg->tsc_sync;
	u64 now, expected, second = (u64)v->p->tsc_khz * 1000, offset;
	struct timespec ts;
	bool match;

	if (!s)
		return offset_for(v, val);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec;
	lock(s);
	expected = s->tsc + (u64)((u128)(now - s->ns) * v->p->tsc_khz / 1000000);
	match = s->ratio == tsc_ratio(v) &&
		(!val || (s->user_set && val < expected + second && val + second > expected));
	s->user_set |= user;
	offset = match ? s->offset : offset_for(v, val);
	if (!match || val) {
		s->tsc = val;
		s->ns = now;
	}
	s->offset = offset;
	s->ratio = tsc_ratio(v);
	unlock(s);
	return offset;
}

void tsc_host_write(struct vcpu *v, u64 val)
{
	tsc_set(v, synchronised(v, val, true), tsc_ratio(v));
	changed(v);
}

static u64 ratio_for(u32 khz)
{
	u32 host = tsc_host_khz();
	u64 slack = (u64)host * TOLERANCE_PPM / 1000000;

	if (!khz || (khz + slack >= host && khz <= host + slack))
		return BIT64(32);
	return (u64)(((u128)khz << 32) / host);
}

void tsc_init(struct vcpu *v)
{
	u32 khz = v->cfg->tsc_khz;

	v->p->tsc_khz = khz ? khz : tsc_host_khz();
	v->c->tsc_ratio = ratio_for(khz);
	/* A VM's TSCs start at zero with its first vCPU, the others join it. */
	v->c->tsc_offset = v->cfg->tsc_sync ? synchronised(v, 0, false) : v->cfg->tsc_offset;
}

int vcpu_set_tsc_khz(struct vcpu *v, u32 khz)
{
	/* The rate must stay below 2^31 kHz and the ratio within what TSC_RATIO could hold. */
	if (khz >= 0x7fffffff || (u64)khz > (u64)tsc_host_khz() * 255)
		return -EINVAL;
	v->p->tsc_khz = khz ? khz : tsc_host_khz();
	tsc_set(v, tsc_offset(v), ratio_for(khz));
	changed(v);
	return 0;
}

u32 vcpu_get_tsc_khz(struct vcpu *v)
{
	return v->p->tsc_khz;
}

int vcpu_get_tsc_offset(struct vcpu *v, u64 *off)
{
	*off = tsc_offset(v);
	return 0;
}

int vcpu_set_tsc_offset(struct vcpu *v, u64 off)
{
	struct vcpu_tsc_sync *s = v->cfg->tsc_sync;

	tsc_set(v, off, tsc_ratio(v));
	if (s) {
		lock(s);
		s->user_set = true;
		if (s->offset != off) {
			struct timespec ts;

			clock_gettime(CLOCK_MONOTONIC, &ts);
			s->ns = (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec;
			s->tsc = tsc_guest(v);
			s->offset = off;
			s->ratio = tsc_ratio(v);
		}
		unlock(s);
	}
	changed(v);
	return 0;
}
