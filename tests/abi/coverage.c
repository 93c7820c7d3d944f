/* SPDX-License-Identifier: MIT */
/*
 * tests/abi/coverage.c - which rule tests which ioctl: that it works, that it refuses, that
 * what was set comes back. An ioctl of abi/ioctls.h without a row does not compile; a row that
 * names no rule does not link.
 */
#include "abi/ioctls.h"
#include "tests/abi/coverage.h"

/* Y(kind, ioctl, success, bad argument, round trip) */
#define COVERED(Y) \
	Y(SYSTEM, GET_API_VERSION, sys_zero_argument, sys_zero_argument, sys_zero_argument) \
	Y(SYSTEM, CREATE_VM, sys_create_vm, sys_create_vm, sys_create_vm) \
	Y(SYSTEM, GET_MSR_INDEX_LIST, sys_msr_lists, sys_msr_lists, sys_msr_list_works) \
	Y(SYSTEM, CHECK_EXTENSION, cap_values, cap_values, cap_dependent) \
	Y(SYSTEM, GET_VCPU_MMAP_SIZE, sys_zero_argument, sys_zero_argument, run_layout) \
	Y(SYSTEM, GET_SUPPORTED_CPUID, sys_supported_cpuid, sys_supported_cpuid, cpuid_get) \
	Y(SYSTEM, GET_EMULATED_CPUID, sys_emulated_cpuid, sys_emulated_cpuid, sys_emulated_cpuid) \
	Y(SYSTEM, GET_MSR_FEATURE_INDEX_LIST, sys_msr_lists, sys_msr_lists, sys_feature_msrs) \
	Y(SYSTEM, GET_MSRS, sys_feature_msrs, sys_feature_msrs, sys_feature_msrs) \
	Y(SYSTEM, GET_SUPPORTED_HV_CPUID, hyperv_cpuid, hyperv_cpuid, hyperv_cpuid) \
	Y(SYSTEM, X86_GET_MCE_CAP_SUPPORTED, sys_mce_cap, sys_mce_cap, mce) \
	Y(SYSTEM, GET_DEVICE_ATTR, sys_attributes, sys_attributes, sys_attributes) \
	Y(SYSTEM, HAS_DEVICE_ATTR, sys_attributes, sys_attributes, sys_attributes) \
	Y(VM, CHECK_EXTENSION, cap_values, cap_values, cap_values) \
	Y(VM, CREATE_VCPU, vm_create_vcpu, vm_create_vcpu, vm_create_vcpu) \
	Y(VM, GET_DIRTY_LOG, log_get, log_get, log_get) \
	Y(VM, SET_NR_MMU_PAGES, vm_mmu_pages, vm_mmu_pages, vm_mmu_pages) \
	Y(VM, GET_NR_MMU_PAGES, vm_mmu_pages, vm_mmu_pages, vm_mmu_pages) \
	Y(VM, SET_USER_MEMORY_REGION, slot_changes, slot_arguments, slot_readonly) \
	Y(VM, SET_TSS_ADDR, vm_addresses, vm_addresses, vm_addresses) \
	Y(VM, SET_IDENTITY_MAP_ADDR, vm_addresses, vm_addresses, vm_addresses) \
	Y(VM, SET_USER_MEMORY_REGION2, slot_region2, slot_region2, slot_region2) \
	Y(VM, CREATE_IRQCHIP, irqchip_create, irqchip_create, irqchip_create) \
	Y(VM, IRQ_LINE, irq_line, irq_line, irq_line) \
	Y(VM, GET_IRQCHIP, irqchip_state, irqchip_state, irqchip_state) \
	Y(VM, SET_IRQCHIP, irqchip_state, irqchip_state, irqchip_state) \
	Y(VM, CREATE_PIT, pit_state, pit_create, pit_create) \
	Y(VM, GET_PIT, pit_state, pit_state, pit_state) \
	Y(VM, SET_PIT, pit_state, pit_state, pit_state) \
	Y(VM, IRQ_LINE_STATUS, irq_line, irq_line, irq_line) \
	Y(VM, REGISTER_COALESCED_MMIO, coalesced_ring, coalesced_zones, coalesced_ring) \
	Y(VM, UNREGISTER_COALESCED_MMIO, coalesced_ring, coalesced_zones, coalesced_ring) \
	Y(VM, SET_GSI_ROUTING, gsi_routing, gsi_routing, gsi_routing_split) \
	Y(VM, REINJECT_CONTROL, pit_state, pit_state, pit_state) \
	Y(VM, IRQFD, irqfd, irqfd, irqfd) \
	Y(VM, CREATE_PIT2, pit_create, pit_create, pit_create) \
	Y(VM, SET_BOOT_CPU_ID, vm_boot_cpu, vm_boot_cpu, vm_boot_cpu_is_bsp) \
	Y(VM, IOEVENTFD, ioeventfd, ioeventfd, ioeventfd_match) \
	Y(VM, SET_CLOCK, vm_clock, vm_clock, vm_clock) \
	Y(VM, GET_CLOCK, vm_clock, vm_clock, vm_clock) \
	Y(VM, GET_PIT2, pit_state, pit_state, pit_state) \
	Y(VM, SET_PIT2, pit_state, pit_state, pit_state) \
	Y(VM, SET_TSC_KHZ, vm_tsc_khz, vm_tsc_khz, vm_tsc_khz) \
	Y(VM, GET_TSC_KHZ, vm_tsc_khz, vm_tsc_khz, vm_tsc_khz) \
	Y(VM, ENABLE_CAP, enable_masks, enable_generic, enable_quirks) \
	Y(VM, SIGNAL_MSI, signal_msi, signal_msi, signal_msi) \
	Y(VM, SET_PMU_EVENT_FILTER, pmu_filter, pmu_filter, pmu_filter) \
	Y(VM, HYPERV_EVENTFD, hyperv_eventfd, hyperv_eventfd, hyperv_eventfd) \
	Y(VM, CLEAR_DIRTY_LOG, log_manual, log_manual, log_initially_set) \
	Y(VM, X86_SET_MSR_FILTER, msr_filter, msr_filter, msr_filter_works) \
	Y(VM, RESET_DIRTY_RINGS, ring_entries, ring_enable, ring_full) \
	Y(VM, GET_STATS_FD, stats_fds, stats_fds, stats_fds) \
	Y(VM, CREATE_DEVICE, vm_create_device, vm_create_device, vm_create_device) \
	Y(VCPU, RUN, hlt_exit, sys_zero_argument, run_immediate_exit) \
	Y(VCPU, GET_REGS, regs_round_trip, regs_round_trip, regs_round_trip) \
	Y(VCPU, SET_REGS, regs_round_trip, regs_round_trip, regs_round_trip) \
	Y(VCPU, GET_SREGS, sregs_rules, sregs_rules, sregs_rules) \
	Y(VCPU, SET_SREGS, sregs_rules, sregs_rules, sregs_bitmap) \
	Y(VCPU, TRANSLATE, translate, translate, translate) \
	Y(VCPU, INTERRUPT, interrupt, interrupt_irqchip, run_irq_window) \
	Y(VCPU, GET_MSRS, msrs_count, msrs_count, msrs_pv) \
	Y(VCPU, SET_MSRS, msrs_count, msrs_count, msrs_pv) \
	Y(VCPU, SET_CPUID, cpuid_old, cpuid_old, cpuid_old) \
	Y(VCPU, SET_SIGNAL_MASK, run_signal_mask, signal_mask, run_signal_mask) \
	Y(VCPU, GET_FPU, xsave_state, xsave_state, xsave_state) \
	Y(VCPU, SET_FPU, xsave_state, xsave_state, xsave_state) \
	Y(VCPU, GET_LAPIC, lapic_needs_irqchip, lapic_needs_irqchip, lapic_needs_irqchip) \
	Y(VCPU, SET_LAPIC, lapic_needs_irqchip, lapic_needs_irqchip, lapic_needs_irqchip) \
	Y(VCPU, SET_CPUID2, cpuid_set, cpuid_set, cpuid_get) \
	Y(VCPU, GET_CPUID2, cpuid_get, cpuid_get, cpuid_get) \
	Y(VCPU, TPR_ACCESS_REPORTING, tpr_reporting, tpr_reporting, tpr_access_exit) \
	Y(VCPU, SET_VAPIC_ADDR, lapic_needs_irqchip, lapic_needs_irqchip, vapic_page) \
	Y(VCPU, GET_MP_STATE, mp_states, mp_states, mp_states) \
	Y(VCPU, SET_MP_STATE, mp_states, mp_states, mp_states) \
	Y(VCPU, NMI, nmi, nmi, nmi) \
	Y(VCPU, SMI, smi, smi, smi) \
	Y(VCPU, SET_GUEST_DEBUG, guest_debug, guest_debug, guest_debug_breaks) \
	Y(VCPU, X86_SETUP_MCE, mce, mce, mce) \
	Y(VCPU, X86_SET_MCE, mce, mce, mce) \
	Y(VCPU, GET_VCPU_EVENTS, events_rules, events_rules, events_payload) \
	Y(VCPU, SET_VCPU_EVENTS, events_rules, events_rules, events_triple_fault) \
	Y(VCPU, GET_DEBUGREGS, debugregs, debugregs, debugregs) \
	Y(VCPU, SET_DEBUGREGS, debugregs, debugregs, debugregs) \
	Y(VCPU, SET_TSC_KHZ, vm_tsc_khz, vm_tsc_khz, vm_tsc_khz) \
	Y(VCPU, GET_TSC_KHZ, vm_tsc_khz, vm_tsc_khz, vm_tsc_khz) \
	Y(VCPU, ENABLE_CAP, enable_generic, enable_generic, enable_generic) \
	Y(VCPU, GET_XSAVE, xsave_state, xsave_state, xsave_state) \
	Y(VCPU, SET_XSAVE, xsave_state, xsave_state, xsave_state) \
	Y(VCPU, GET_XCRS, xsave_state, xsave_state, xsave_state) \
	Y(VCPU, SET_XCRS, xsave_state, xsave_state, xsave_state) \
	Y(VCPU, KVMCLOCK_CTRL, kvmclock_ctrl, kvmclock_ctrl, kvmclock_ctrl) \
	Y(VCPU, GET_SUPPORTED_HV_CPUID, hyperv_cpuid, hyperv_cpuid, hyperv_cpuid) \
	Y(VCPU, GET_NESTED_STATE, nested_state, nested_state, nested_state) \
	Y(VCPU, SET_NESTED_STATE, nested_state, nested_state, nested_state) \
	Y(VCPU, GET_ONE_REG, one_reg, one_reg, one_reg) \
	Y(VCPU, SET_ONE_REG, one_reg, one_reg, one_reg) \
	Y(VCPU, GET_REG_LIST, one_reg, one_reg, one_reg) \
	Y(VCPU, GET_SREGS2, sregs2, sregs2, sregs2) \
	Y(VCPU, SET_SREGS2, sregs2, sregs2, sregs2) \
	Y(VCPU, GET_STATS_FD, stats_fds, stats_fds, stats_fds) \
	Y(VCPU, GET_XSAVE2, xsave_state, xsave_state, xsave_state) \
	Y(VCPU, PRE_FAULT_MEMORY, pre_fault, pre_fault, pre_fault) \
	Y(VCPU, SET_DEVICE_ATTR, tsc_offset_attr, tsc_offset_attr, tsc_offset_attr) \
	Y(VCPU, GET_DEVICE_ATTR, tsc_offset_attr, tsc_offset_attr, tsc_offset_attr) \
	Y(VCPU, HAS_DEVICE_ATTR, tsc_offset_attr, tsc_offset_attr, tsc_offset_attr) \
	Y(DEVICE, SET_DEVICE_ATTR, vfio_device, vfio_device, vfio_device) \
	Y(DEVICE, GET_DEVICE_ATTR, vfio_device, vfio_device, vfio_device) \
	Y(DEVICE, HAS_DEVICE_ATTR, vfio_device, vfio_device, vfio_device)

enum {
#define Y(kind, name, ...) HAS_ROW_##kind##_##name = 1,
	COVERED(Y)
#undef Y
};
#define X(name, code, how, type, call) _Static_assert(HAS_ROW_SYSTEM_##name, "a row above");
SYSTEM_IOCTLS(X)
#undef X
#define X(name, code, how, type, call) _Static_assert(HAS_ROW_VM_##name, "a row above");
VM_IOCTLS(X)
#undef X
#define X(name, code, how, type, call) _Static_assert(HAS_ROW_VCPU_##name, "a row above");
VCPU_IOCTLS(X)
#undef X
#define X(name, code, how, type, call) _Static_assert(HAS_ROW_DEVICE_##name, "a row above");
DEVICE_IOCTLS(X)
#undef X

#define Y(kind, name, a, b, c) extern struct t test_##a, test_##b, test_##c;
COVERED(Y)
#undef Y

#define Y(kind, name, a, b, c) { #kind, #name, &test_##a, &test_##b, &test_##c },
const struct coverage coverage[] = { COVERED(Y) };
#undef Y
const u32 coverage_rows = ARRAY_SIZE(coverage);
