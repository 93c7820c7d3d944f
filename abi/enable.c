/* SPDX-License-Identifier: MIT */
/* abi/enable.c - KVM_ENABLE_CAP on a VM (docs/kvm-abi.md 5.4). */
#include <errno.h>

#include "abi/abi.h"
#include "abi/caps.h"
#include "base/sys.h"
#include "vm/vm.h"

#define DISABLE_EXITS_VALID ((u64)cap_check(vm, KVM_CAP_X86_DISABLE_EXITS))
#define CAP_APIC_BUS_CYCLES_NS 237
#define PMU_CAP_DISABLE 1u
#define USER_SPACE_MSR_VALID (KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | \
			      KVM_MSR_EXIT_REASON_FILTER)

static int disable_quirks(struct vm *vm, u64 mask)
{
	vm->cfg.shared.disabled_quirks |= mask;
	return 0;
}

static int set_max_vcpu_id(struct vm *vm, u64 max)
{
	if (max > VM_MAX_VCPU_ID || vm->bsp_id > max || (vm->max_vcpu_id && vm->max_vcpu_id != max))
		return -EINVAL;
	vm->max_vcpu_id = (u32)max;
	return 0;
}

static int set_apic_bus(struct vm *vm, u64 ns)
{
	/* The period of the largest count at divide 128 must fit into 64 bits of ns. */
	if (!ns || ns > (~0ull >> 1) / ((u64)~0u * 128))
		return -EINVAL;
	if (!vm_chip(vm))
		return -ENXIO;
	if (vm_has_vcpus(vm))
		return -EINVAL;
	vm->cfg.shared.apic_bus_ns = (u32)ns;
	return 0;
}

static int set_manual_dirty(struct vm *vm, u64 v)
{
	u64 valid = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;

	/* INITIALLY_SET is meaningless on its own. */
	if (v & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE)
		valid |= KVM_DIRTY_LOG_INITIALLY_SET;
	if (v & ~valid)
		return -EINVAL;
	pthread_rwlock_wrlock(&vm->slots_lock);
	vm->manual_dirty = (u32)v;
	pthread_rwlock_unlock(&vm->slots_lock);
	return 0;
}

/* Huge pages of the host hold no translated code, so nothing has to be done; but who asks has to be
 * allowed to crash the machine, as KVM wants it. */
static int disable_nx_huge_pages(struct vm *vm, u64 arg)
{
	if (!sys_capable(CAP_SYS_BOOT))
		return -EPERM;
	return arg || vm_has_vcpus(vm) ? -EINVAL : 0;
}

/* Once on it stays on. */
static int set_bus_lock(struct vm *vm, u64 mode)
{
	if (mode & ~(u64)(KVM_BUS_LOCK_DETECTION_OFF | KVM_BUS_LOCK_DETECTION_EXIT) || mode == 3)
		return -EINVAL;
	if (mode & KVM_BUS_LOCK_DETECTION_EXIT)
		vm->cfg.bus_lock_exit = true;
	return 0;
}

static int set_pmu(struct vm *vm, u64 arg)
{
	if (!pmu_offered() || (arg & ~(u64)PMU_CAP_DISABLE) || vm_has_vcpus(vm))
		return -EINVAL;
	vm->cfg.pmu_off = arg & PMU_CAP_DISABLE;
	return 0;
}

static int set_masked(u64 arg, u64 valid)
{
	return arg & ~valid ? -EINVAL : 0;
}

static int enable(struct vm *vm, const struct kvm_enable_cap *cap)
{
	u64 a = cap->args[0];
	int r;

	switch (cap->cap) {
	case KVM_CAP_DISABLE_QUIRKS:
		return disable_quirks(vm, a & CAP_QUIRKS);
	case KVM_CAP_DISABLE_QUIRKS2:
		return a & ~(u64)CAP_QUIRKS ? -EINVAL : disable_quirks(vm, a);
	case KVM_CAP_SPLIT_IRQCHIP:
		return vm_enable_split(vm, a);
	case KVM_CAP_X2APIC_API:
		return vm_x2apic_api(vm, a);
	case KVM_CAP_X86_DISABLE_EXITS:
		if ((a & ~DISABLE_EXITS_VALID) || vm_has_vcpus(vm))
			return -EINVAL;
		vm->cfg.disabled_exits |= a;
		return 0;
	case KVM_CAP_VM_DISABLE_NX_HUGE_PAGES:
		return disable_nx_huge_pages(vm, a);
	case KVM_CAP_X86_BUS_LOCK_EXIT:
		return set_bus_lock(vm, a);
	case KVM_CAP_PMU_CAPABILITY:
		return set_pmu(vm, a);
	case KVM_CAP_MSR_PLATFORM_INFO:
		vm->cfg.msr_platform_info_off = !a;
		return 0;
	case KVM_CAP_EXCEPTION_PAYLOAD:
		vm->cfg.exception_payload = a;
		return 0;
	case KVM_CAP_X86_TRIPLE_FAULT_EVENT:
		vm->cfg.triple_fault_event = a;
		return 0;
	case KVM_CAP_X86_USER_SPACE_MSR:
		r = set_masked(a, USER_SPACE_MSR_VALID);
		if (!r)
			vm->cfg.user_space_msr_mask = (u32)a;
		return r;
	case KVM_CAP_EXIT_HYPERCALL:
		r = set_masked(a, 1u << 12);	/* KVM_HC_MAP_GPA_RANGE */
		if (!r)
			vm->cfg.hypercall_map_gpa_range = a;
		return r;
	case KVM_CAP_EXIT_ON_EMULATION_FAILURE:
		r = set_masked(a, 1);
		if (!r)
			vm->cfg.exit_on_emulation_failure = a;
		return r;
	case KVM_CAP_MAX_VCPU_ID:
		return set_max_vcpu_id(vm, a);
	case CAP_APIC_BUS_CYCLES_NS:
		return set_apic_bus(vm, a);
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		return set_manual_dirty(vm, a);
	case KVM_CAP_DIRTY_LOG_RING:
	case KVM_CAP_DIRTY_LOG_RING_ACQ_REL:
		return vm_dirty_ring_enable(vm, a);
	case KVM_CAP_HALT_POLL:
		if (a > 0xffffffffu)
			return -EINVAL;
		vm->cfg.halt_poll_ns = (u32)a;
		return 0;
	}
	return -EINVAL;
}

int vm_enable_cap(struct vm *vm, const struct kvm_enable_cap *cap)
{
	int r;

	if (cap->flags)
		return -EINVAL;
	pthread_mutex_lock(&vm->lock);
	r = enable(vm, cap);
	pthread_mutex_unlock(&vm->lock);
	return r;
}
