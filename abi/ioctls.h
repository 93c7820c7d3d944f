/* SPDX-License-Identifier: MIT */
/*
 * abi/ioctls.h - every ioctl, one list per kind of fd.
 *
 *   X(NAME, code, how, type, handler)
 *
 * code is the full 32-bit request: numbers alone are ambiguous (0x67, 0x9f, 0xa0, 0xa2, 0xa3
 * are used twice) and two encodings lie about their direction. `how` says what happens
 * to the argument:
 *   NONE  ignored			int handler(obj)
 *   ZERO  must be 0, else EINVAL	int handler(obj)
 *   VAL   is the value itself		int handler(obj, unsigned long)
 *   IN    points to `type`, copied in	int handler(obj, type *)
 *   OUT   copied out on success		int handler(obj, type *)	(comes zeroed)
 *   IO    both				int handler(obj, type *)
 *   RAW   is left to the handler	int handler(obj, void *user)
 * Handlers return >= 0 or -errno.
 *
 * Not listed, hence EINVAL or ENOTTY as on a kernel built without them: Xen, SEV,
 * SMM, guest_memfd, memory attributes.
 */
#ifndef ABI_IOCTLS_H
#define ABI_IOCTLS_H

#define SYSTEM_IOCTLS(X) \
	X(GET_API_VERSION, 0x0000ae00, ZERO, void, sys_api_version) \
	X(CREATE_VM, 0x0000ae01, VAL, void, sys_create_vm) \
	X(GET_MSR_INDEX_LIST, 0xc004ae02, RAW, void, sys_msr_index_list) \
	X(CHECK_EXTENSION, 0x0000ae03, VAL, void, sys_check_extension) \
	X(GET_VCPU_MMAP_SIZE, 0x0000ae04, ZERO, void, sys_mmap_size) \
	X(GET_SUPPORTED_CPUID, 0xc008ae05, RAW, void, sys_supported_cpuid) \
	X(GET_EMULATED_CPUID, 0xc008ae09, RAW, void, sys_emulated_cpuid) \
	X(GET_MSR_FEATURE_INDEX_LIST, 0xc004ae0a, RAW, void, sys_msr_feature_list) \
	X(GET_MSRS, 0xc008ae88, RAW, void, sys_get_msrs) \
	X(GET_SUPPORTED_HV_CPUID, 0xc008aec1, RAW, void, sys_hv_cpuid) \
	X(X86_GET_MCE_CAP_SUPPORTED, 0x8008ae9d, OUT, u64, sys_mce_cap) \
	X(GET_DEVICE_ATTR, 0x4018aee2, IN, struct kvm_device_attr, sys_get_attr) \
	X(HAS_DEVICE_ATTR, 0x4018aee3, IN, struct kvm_device_attr, sys_has_attr)

#define VM_IOCTLS(X) \
	X(CHECK_EXTENSION, 0x0000ae03, VAL, void, vmi_check_extension) \
	X(CREATE_VCPU, 0x0000ae41, VAL, void, vmi_create_vcpu) \
	X(GET_DIRTY_LOG, 0x4010ae42, IN, struct kvm_dirty_log, vm_get_dirty_log) \
	X(SET_NR_MMU_PAGES, 0x0000ae44, VAL, void, vmi_set_nr_mmu_pages) \
	X(GET_NR_MMU_PAGES, 0x0000ae45, NONE, void, vmi_get_nr_mmu_pages) \
	X(SET_USER_MEMORY_REGION, 0x4020ae46, IN, struct kvm_userspace_memory_region, \
	  vmi_set_memory) \
	X(SET_TSS_ADDR, 0x0000ae47, VAL, void, vmi_set_tss_addr) \
	X(SET_IDENTITY_MAP_ADDR, 0x4008ae48, IN, u64, vmi_set_identity_map) \
	X(SET_USER_MEMORY_REGION2, 0x40a0ae49, IN, struct kvm_userspace_memory_region2, \
	  vm_set_memory) \
	X(CREATE_IRQCHIP, 0x0000ae60, NONE, void, vm_create_irqchip) \
	X(IRQ_LINE, 0x4008ae61, IN, struct kvm_irq_level, vmi_irq_line) \
	X(GET_IRQCHIP, 0xc208ae62, IO, struct kvm_irqchip, vmi_get_irqchip) \
	X(SET_IRQCHIP, 0x8208ae63, IN, struct kvm_irqchip, vmi_set_irqchip) \
	X(CREATE_PIT, 0x0000ae64, NONE, void, vmi_create_pit) \
	X(GET_PIT, 0xc048ae65, OUT, struct kvm_pit_state, vmi_get_pit) \
	X(SET_PIT, 0x8048ae66, IN, struct kvm_pit_state, vmi_set_pit) \
	X(IRQ_LINE_STATUS, 0xc008ae67, IO, struct kvm_irq_level, vmi_irq_line_status) \
	X(REGISTER_COALESCED_MMIO, 0x4010ae67, IN, struct kvm_coalesced_mmio_zone, \
	  vm_coalesced_register) \
	X(UNREGISTER_COALESCED_MMIO, 0x4010ae68, IN, struct kvm_coalesced_mmio_zone, \
	  vm_coalesced_unregister) \
	X(SET_GSI_ROUTING, 0x4008ae6a, RAW, void, vmi_set_gsi_routing) \
	X(REINJECT_CONTROL, 0x0000ae71, IN, struct kvm_reinject_control, vmi_reinject) \
	X(IRQFD, 0x4020ae76, IN, struct kvm_irqfd, vm_irqfd) \
	X(CREATE_PIT2, 0x4040ae77, IN, struct kvm_pit_config, vmi_create_pit2) \
	X(SET_BOOT_CPU_ID, 0x0000ae78, VAL, void, vmi_set_boot_cpu) \
	X(IOEVENTFD, 0x4040ae79, IN, struct kvm_ioeventfd, vm_ioeventfd) \
	X(SET_CLOCK, 0x4030ae7b, IN, struct kvm_clock_data, vm_set_clock) \
	X(GET_CLOCK, 0x8030ae7c, OUT, struct kvm_clock_data, vm_get_clock) \
	X(GET_PIT2, 0x8070ae9f, OUT, struct kvm_pit_state2, vmi_get_pit2) \
	X(SET_PIT2, 0x4070aea0, IN, struct kvm_pit_state2, vmi_set_pit2) \
	X(SET_TSC_KHZ, 0x0000aea2, VAL, void, vmi_set_tsc_khz) \
	X(GET_TSC_KHZ, 0x0000aea3, NONE, void, vmi_get_tsc_khz) \
	X(ENABLE_CAP, 0x4068aea3, IN, struct kvm_enable_cap, vmi_enable_cap) \
	X(SIGNAL_MSI, 0x4020aea5, IN, struct kvm_msi, vm_signal_msi) \
	X(SET_PMU_EVENT_FILTER, 0x4020aeb2, RAW, void, vmi_pmu_filter) \
	X(HYPERV_EVENTFD, 0x4018aebd, IN, struct kvm_hyperv_eventfd, vm_hyperv_eventfd) \
	X(CLEAR_DIRTY_LOG, 0xc018aec0, IN, struct kvm_clear_dirty_log, vm_clear_dirty_log) \
	X(X86_SET_MSR_FILTER, 0x4188aec6, IN, struct kvm_msr_filter, vm_set_msr_filter) \
	X(RESET_DIRTY_RINGS, 0x0000aec7, NONE, void, vm_reset_dirty_rings) \
	X(GET_STATS_FD, 0x0000aece, NONE, void, vmi_stats_fd) \
	X(CREATE_DEVICE, 0xc00caee0, IO, struct kvm_create_device, device_create)

#define DEVICE_IOCTLS(X) \
	X(SET_DEVICE_ATTR, 0x4018aee1, IN, struct kvm_device_attr, dev_set_attr) \
	X(GET_DEVICE_ATTR, 0x4018aee2, IN, struct kvm_device_attr, dev_get_attr) \
	X(HAS_DEVICE_ATTR, 0x4018aee3, IN, struct kvm_device_attr, dev_has_attr)

#define VCPU_IOCTLS(X) \
	X(RUN, 0x0000ae80, ZERO, void, vci_run) \
	X(GET_REGS, 0x8090ae81, OUT, struct kvm_regs, vci_get_regs) \
	X(SET_REGS, 0x4090ae82, IN, struct kvm_regs, vci_set_regs) \
	X(GET_SREGS, 0x8138ae83, OUT, struct kvm_sregs, vci_get_sregs) \
	X(SET_SREGS, 0x4138ae84, IN, struct kvm_sregs, vci_set_sregs) \
	X(TRANSLATE, 0xc018ae85, IO, struct kvm_translation, vci_translate) \
	X(INTERRUPT, 0x4004ae86, IN, struct kvm_interrupt, vci_interrupt) \
	X(GET_MSRS, 0xc008ae88, RAW, void, vci_get_msrs) \
	X(SET_MSRS, 0x4008ae89, RAW, void, vci_set_msrs) \
	X(SET_CPUID, 0x4008ae8a, RAW, void, vci_set_cpuid) \
	X(SET_SIGNAL_MASK, 0x4004ae8b, RAW, void, vci_set_signal_mask) \
	X(GET_FPU, 0x81a0ae8c, OUT, struct kvm_fpu, vci_get_fpu) \
	X(SET_FPU, 0x41a0ae8d, IN, struct kvm_fpu, vci_set_fpu) \
	X(GET_LAPIC, 0x8400ae8e, OUT, struct kvm_lapic_state, vci_get_lapic) \
	X(SET_LAPIC, 0x4400ae8f, IN, struct kvm_lapic_state, vci_set_lapic) \
	X(SET_CPUID2, 0x4008ae90, RAW, void, vci_set_cpuid2) \
	X(GET_CPUID2, 0xc008ae91, RAW, void, vci_get_cpuid2) \
	X(TPR_ACCESS_REPORTING, 0xc028ae92, IO, struct kvm_tpr_access_ctl, vci_tpr_access) \
	X(SET_VAPIC_ADDR, 0x4008ae93, IN, struct kvm_vapic_addr, vci_set_vapic) \
	X(GET_MP_STATE, 0x8004ae98, OUT, struct kvm_mp_state, vci_get_mp_state) \
	X(SET_MP_STATE, 0x4004ae99, IN, struct kvm_mp_state, vci_set_mp_state) \
	X(NMI, 0x0000ae9a, NONE, void, vci_nmi) \
	X(SMI, 0x0000aeb7, NONE, void, vci_smi) \
	X(PRE_FAULT_MEMORY, 0xc040aed5, RAW, void, vci_pre_fault) \
	X(SET_GUEST_DEBUG, 0x4048ae9b, IN, struct kvm_guest_debug, vci_set_debug) \
	X(X86_SETUP_MCE, 0x4008ae9c, IN, u64, vci_setup_mce) \
	X(X86_SET_MCE, 0x4040ae9e, IN, struct kvm_x86_mce, vci_set_mce) \
	X(GET_VCPU_EVENTS, 0x8040ae9f, OUT, struct kvm_vcpu_events, vci_get_events) \
	X(SET_VCPU_EVENTS, 0x4040aea0, IN, struct kvm_vcpu_events, vci_set_events) \
	X(GET_DEBUGREGS, 0x8080aea1, OUT, struct kvm_debugregs, vci_get_debugregs) \
	X(SET_DEBUGREGS, 0x4080aea2, IN, struct kvm_debugregs, vci_set_debugregs) \
	X(SET_TSC_KHZ, 0x0000aea2, VAL, void, vci_set_tsc_khz) \
	X(GET_TSC_KHZ, 0x0000aea3, NONE, void, vci_get_tsc_khz) \
	X(ENABLE_CAP, 0x4068aea3, IN, struct kvm_enable_cap, vci_enable_cap) \
	X(GET_XSAVE, 0x9000aea4, OUT, struct kvm_xsave, vci_get_xsave) \
	X(SET_XSAVE, 0x5000aea5, IN, struct kvm_xsave, vci_set_xsave) \
	X(GET_XCRS, 0x8188aea6, OUT, struct kvm_xcrs, vci_get_xcrs) \
	X(SET_XCRS, 0x4188aea7, IN, struct kvm_xcrs, vci_set_xcrs) \
	X(GET_ONE_REG, 0x4010aeab, IN, struct kvm_one_reg, vci_get_one_reg) \
	X(SET_ONE_REG, 0x4010aeac, IN, struct kvm_one_reg, vci_set_one_reg) \
	X(GET_REG_LIST, 0xc008aeb0, RAW, void, vci_reg_list) \
	X(KVMCLOCK_CTRL, 0x0000aead, NONE, void, vci_kvmclock_ctrl) \
	X(GET_SUPPORTED_HV_CPUID, 0xc008aec1, RAW, void, vci_hv_cpuid) \
	X(GET_NESTED_STATE, 0xc080aebe, RAW, void, vci_get_nested_state) \
	X(SET_NESTED_STATE, 0x4080aebf, RAW, void, vci_set_nested_state) \
	X(GET_SREGS2, 0x8140aecc, OUT, struct kvm_sregs2, vci_get_sregs2) \
	X(SET_SREGS2, 0x4140aecd, IN, struct kvm_sregs2, vci_set_sregs2) \
	X(GET_STATS_FD, 0x0000aece, NONE, void, vci_stats_fd) \
	X(GET_XSAVE2, 0x9000aecf, OUT, struct kvm_xsave, vci_get_xsave) \
	X(SET_DEVICE_ATTR, 0x4018aee1, IN, struct kvm_device_attr, vci_set_attr) \
	X(GET_DEVICE_ATTR, 0x4018aee2, IN, struct kvm_device_attr, vci_get_attr) \
	X(HAS_DEVICE_ATTR, 0x4018aee3, IN, struct kvm_device_attr, vci_has_attr)

#endif
