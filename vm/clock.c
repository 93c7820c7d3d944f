/* SPDX-License-Identifier: MIT */
/*
 * vm/clock.c - the VM-wide clock of kvmclock guests (KVM_GET_CLOCK, KVM_SET_CLOCK; docs/kvm-abi.md
 * 6.3).
 *
 * It is a straight line over the host's TSC: the same pair (TSC, ns) that every vCPU writes
 * into its time page, so that what user space reads and what guests compute are one clock.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/host_cpuid.h"
#include "vm/vm.h"

#ifndef KVM_CLOCK_REALTIME
#define KVM_CLOCK_REALTIME (1 << 2)
#define KVM_CLOCK_HOST_TSC (1 << 3)
#endif
#define CLOCK_FLAGS (KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC)

static u64 realtime_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

static bool tsc_invariant(void)
{
	static _Atomic u8 known;	/* 0 not asked, 1 no, 2 yes: CPUID traps in a VM */
	u32 r[4];

	if (!known) {
		cpuid_host(CPUID_L_EXT, 0, r);
		if (r[CPUID_EAX] >= CPUID_L_POWER)
			cpuid_host(CPUID_L_POWER, 0, r);
		else
			r[CPUID_EDX] = 0;
		known = r[CPUID_EDX] & CPUID_MASK(INVARIANT_TSC) ? 2 : 1;
	}
	return known == 2;
}

static void clock_set(struct vm *vm, u64 ns)
{
	pthread_mutex_lock(&vm->clock_lock);
	vm->clock_tsc = __builtin_ia32_rdtsc();
	vm->clock_base = ns;
	pthread_mutex_unlock(&vm->clock_lock);
}

void vm_clock_start(struct vm *vm)
{
	clock_set(vm, 0);
}

static u64 clock_at(struct vm *vm, u64 tsc)
{
	u64 ns;

	pthread_mutex_lock(&vm->clock_lock);
	ns = vm->clock_base + (tsc > vm->clock_tsc ? tsc_host_to_ns(tsc - vm->clock_tsc) : 0);
	pthread_mutex_unlock(&vm->clock_lock);
	return ns;
}

u64 vm_clock_ns(struct vm *vm)
{
	return clock_at(vm, __builtin_ia32_rdtsc());
}

bool vm_master_clock(struct vm *vm, u64 *host_tsc, u64 *ns)
{
	if (!tsc_invariant())
		return false;
	pthread_mutex_lock(&vm->clock_lock);
	*host_tsc = vm->clock_tsc;
	*ns = vm->clock_base;
	pthread_mutex_unlock(&vm->clock_lock);
	return true;
}

int vm_get_clock(struct vm *vm, struct kvm_clock_data *c)
{
	memset(c, 0, sizeof(*c));
	c->realtime = realtime_ns();
	c->host_tsc = __builtin_ia32_rdtsc();
	c->clock = clock_at(vm, c->host_tsc);
	c->flags = KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
	if (tsc_invariant())
		c->flags |= KVM_CLOCK_TSC_STABLE;
	return 0;
}

int vm_set_clock(struct vm *vm, const struct kvm_clock_data *c)
{
	u64 clock = c->clock, now;

	if (c->flags & ~(u32)CLOCK_FLAGS)
		return -EINVAL;
	now = realtime_ns();
	if ((c->flags & KVM_CLOCK_REALTIME) && now > c->realtime)
		clock += now - c->realtime;
	clock_set(vm, clock);
	hyperv_clock_changed(&vm->hyperv);
	vm_request_all(vm, VREQ_CLOCK_UPDATE, false);
	return 0;
}
