/* SPDX-License-Identifier: MIT */
/*
 * svm/vmcb.h - the VMCB (APM2 appendix B): one list of fields for each area.
 *
 * The structs and their static assertions, the names that `standin explain` and the trace
 * print, and the copy that VMRUN checks (svm/sanitize.c) all derive from the lists.
 *
 * F(offset, type, name, keep, what): a field; A(offset, type, name, count, keep, what): an array;
 * R(offset, bytes): reserved or not ours. Offsets are those inside the area. `keep`: the bits
 * that VMRUN takes over, before what depends on the CPU's features is removed; 0 for
 * what #VMEXIT only writes.
 */
#ifndef SVM_VMCB_H
#define SVM_VMCB_H

#include "base/types.h"

#define SVM_ALL (~0ull)

#define SVM_CONTROL_FIELDS(F, A, R) \
	A(0x000, u32, intercept, 6, SVM_ALL, "intercepts, by number") \
	R(0x018, 0x24) \
	F(0x03c, u16, pause_thresh, SVM_ALL, "PAUSE filter threshold") \
	F(0x03e, u16, pause_count, SVM_ALL, "PAUSE filter count") \
	F(0x040, u64, iopm, ~0xfffull, "IOPM_BASE_PA") \
	F(0x048, u64, msrpm, ~0xfffull, "MSRPM_BASE_PA") \
	F(0x050, u64, tsc_offset, SVM_ALL, "TSC_OFFSET") \
	F(0x058, u32, asid, SVM_ALL, "guest ASID") \
	F(0x05c, u8, tlb_ctl, 0x7, "TLB_CONTROL") \
	F(0x05d, u8, erap_ctl, SVM_ALL, "ERAP control") \
	R(0x05e, 0x02) \
	F(0x060, u32, int_ctl, SVM_ALL, "V_TPR, V_IRQ, VGIF, V_NMI, V_INTR, AVIC") \
	F(0x064, u32, int_vector, 0xff, "V_INTR_VECTOR") \
	F(0x068, u32, int_state, SVM_INT_SHADOW, "INTERRUPT_SHADOW, GUEST_INTERRUPT_MASK") \
	R(0x06c, 0x04) \
	F(0x070, u64, exit_code, SVM_ALL, "EXITCODE") \
	F(0x078, u64, exit_info_1, SVM_ALL, "EXITINFO1") \
	F(0x080, u64, exit_info_2, SVM_ALL, "EXITINFO2") \
	F(0x088, u32, exit_int_info, SVM_ALL, "EXITINTINFO") \
	F(0x08c, u32, exit_int_info_err, SVM_ALL, "EXITINTINFO error code") \
	F(0x090, u64, misc_ctl, SVM_MISC_KNOWN, "NP_ENABLE, SEV, SEV-ES, GMET") \
	F(0x098, u64, avic_bar, SVM_ALL, "AVIC APIC_BAR") \
	F(0x0a0, u64, ghcb, 0, "GHCB address") \
	F(0x0a8, u32, event_inj, SVM_EVENT_KNOWN, "EVENTINJ") \
	F(0x0ac, u32, event_inj_err, SVM_ALL, "EVENTINJ error code") \
	F(0x0b0, u64, ncr3, SVM_ALL, "N_CR3") \
	F(0x0b8, u64, misc_ctl2, SVM_MISC2_KNOWN, "LBR and VMLOAD/VMSAVE virtualization") \
	F(0x0c0, u32, clean, SVM_ALL, "VMCB clean bits") \
	R(0x0c4, 0x04) \
	F(0x0c8, u64, next_rip, SVM_ALL, "nRIP") \
	F(0x0d0, u8, insn_len, 0, "number of instruction bytes") \
	A(0x0d1, u8, insn_bytes, 15, 0, "instruction bytes") \
	F(0x0e0, u64, avic_backing, SVM_ALL, "AVIC_BACKING_PAGE pointer") \
	R(0x0e8, 0x08) \
	F(0x0f0, u64, avic_logical, SVM_ALL, "AVIC_LOGICAL_TABLE pointer") \
	F(0x0f8, u64, avic_physical, SVM_ALL, "AVIC_PHYSICAL_TABLE pointer and index") \
	R(0x100, 0x08) \
	F(0x108, u64, vmsa, 0, "VMSA pointer") \
	R(0x110, 0x10) \
	F(0x120, u32, bus_lock_counter, SVM_ALL, "bus lock threshold counter") \
	R(0x124, 0x14) \
	F(0x138, u64, allowed_sev_features, 0, "ALLOWED_SEV_FEATURES") \
	R(0x140, 0x2a0) \
	F(0x3e0, u32, hv_control, SVM_ALL, "Hyper-V's enlightenments") \
	F(0x3e4, u32, hv_vp_id, SVM_ALL, "Hyper-V: L2's processor") \
	F(0x3e8, u64, hv_vm_id, SVM_ALL, "Hyper-V: L2's partition") \
	F(0x3f0, u64, hv_assist, SVM_ALL, "Hyper-V: partition assist page") \
	R(0x3f8, 0x08)

/* Attributes in 12 bits: descriptor bits 55:52,47:40, as in struct cpu_seg. */
struct vmcb_seg {
	u16 selector, attrib;
	u32 limit;
	u64 base;
};

#define SVM_SAVE_FIELDS(F, A, R) \
	F(0x000, struct vmcb_seg, es, SVM_ALL, "ES") \
	F(0x010, struct vmcb_seg, cs, SVM_ALL, "CS") \
	F(0x020, struct vmcb_seg, ss, SVM_ALL, "SS") \
	F(0x030, struct vmcb_seg, ds, SVM_ALL, "DS") \
	F(0x040, struct vmcb_seg, fs, 0, "FS") \
	F(0x050, struct vmcb_seg, gs, 0, "GS") \
	F(0x060, struct vmcb_seg, gdtr, SVM_ALL, "GDTR") \
	F(0x070, struct vmcb_seg, ldtr, 0, "LDTR") \
	F(0x080, struct vmcb_seg, idtr, SVM_ALL, "IDTR") \
	F(0x090, struct vmcb_seg, tr, 0, "TR") \
	R(0x0a0, 0x2a) \
	F(0x0ca, u8, vmpl, 0, "VMPL") \
	F(0x0cb, u8, cpl, SVM_ALL, "CPL") \
	R(0x0cc, 0x04) \
	F(0x0d0, u64, efer, SVM_ALL, "EFER") \
	R(0x0d8, 0x70) \
	F(0x148, u64, cr4, SVM_ALL, "CR4") \
	F(0x150, u64, cr3, SVM_ALL, "CR3") \
	F(0x158, u64, cr0, SVM_ALL, "CR0") \
	F(0x160, u64, dr7, SVM_ALL, "DR7") \
	F(0x168, u64, dr6, SVM_ALL, "DR6") \
	F(0x170, u64, rflags, SVM_ALL, "RFLAGS") \
	F(0x178, u64, rip, SVM_ALL, "RIP") \
	R(0x180, 0x58) \
	F(0x1d8, u64, rsp, SVM_ALL, "RSP") \
	F(0x1e0, u64, s_cet, SVM_ALL, "S_CET") \
	F(0x1e8, u64, ssp, SVM_ALL, "SSP") \
	F(0x1f0, u64, isst, SVM_ALL, "ISST_ADDR") \
	F(0x1f8, u64, rax, SVM_ALL, "RAX") \
	F(0x200, u64, star, 0, "STAR") \
	F(0x208, u64, lstar, 0, "LSTAR") \
	F(0x210, u64, cstar, 0, "CSTAR") \
	F(0x218, u64, sfmask, 0, "SFMASK") \
	F(0x220, u64, kernel_gs_base, 0, "KernelGsBase") \
	F(0x228, u64, sysenter_cs, 0, "SYSENTER_CS") \
	F(0x230, u64, sysenter_esp, 0, "SYSENTER_ESP") \
	F(0x238, u64, sysenter_eip, 0, "SYSENTER_EIP") \
	F(0x240, u64, cr2, SVM_ALL, "CR2") \
	R(0x248, 0x20) \
	F(0x268, u64, g_pat, SVM_ALL, "G_PAT") \
	F(0x270, u64, dbgctl, SVM_ALL, "DBGCTL") \
	F(0x278, u64, br_from, SVM_ALL, "BR_FROM") \
	F(0x280, u64, br_to, SVM_ALL, "BR_TO") \
	F(0x288, u64, last_excp_from, SVM_ALL, "LASTEXCPFROM") \
	F(0x290, u64, last_excp_to, SVM_ALL, "LASTEXCPTO") \
	R(0x298, 0x48) \
	F(0x2e0, u64, spec_ctrl, SVM_ALL, "SPEC_CTRL")

/* -- bits -- */

/* int_ctl (APM2 15.21) */
#define SVM_V_TPR 0xfu
#define SVM_V_TPR_FIELD 0xffu
#define SVM_V_IRQ BIT(8)
#define SVM_V_GIF BIT(9)
#define SVM_V_NMI_PENDING BIT(11)
#define SVM_V_NMI_BLOCKING BIT(12)
#define SVM_V_PRIO_SHIFT 16
#define SVM_V_PRIO (0xfu << SVM_V_PRIO_SHIFT)
#define SVM_V_IGN_TPR BIT(20)
#define SVM_V_INTR_MASKING BIT(24)
#define SVM_V_GIF_ENABLE BIT(25)
#define SVM_V_NMI_ENABLE BIT(26)
#define SVM_X2AVIC_ENABLE BIT(30)
#define SVM_AVIC_ENABLE BIT(31)

/* int_state */
#define SVM_INT_SHADOW BIT(0)
#define SVM_GUEST_INT_MASK BIT(1)	/* written by #VMEXIT of SEV-ES guests only */

/* misc_ctl */
#define SVM_NP_ENABLE BIT64(0)
#define SVM_SEV_ENABLE BIT64(1)
#define SVM_SEV_ES_ENABLE BIT64(2)
#define SVM_GMET_ENABLE BIT64(3)
#define SVM_MISC_KNOWN (SVM_NP_ENABLE | SVM_GMET_ENABLE)

/* misc_ctl2 */
#define SVM_LBRV_ENABLE BIT64(0)
#define SVM_VLS_ENABLE BIT64(1)
#define SVM_MISC2_KNOWN (SVM_LBRV_ENABLE | SVM_VLS_ENABLE)

/* hv_control: what the VMCB's software area means to a hypervisor that uses Hyper-V's interface
 * (TLFS, nested virtualization; clean bit 31 covers it). */
#define SVM_HV_DIRECT_FLUSH BIT(0)	/* L0 carries out L2's TLB-flush hypercalls */
#define SVM_HV_MSR_BITMAP BIT(1)	/* the MSR permission map changes only with that bit
					 * clear */

/* event_inj and exit_int_info (APM2 15.20, 15.7.2) */
#define SVM_EVENT_VECTOR 0xffu
#define SVM_EVENT_TYPE_SHIFT 8
#define SVM_EVENT_TYPE (7u << SVM_EVENT_TYPE_SHIFT)
#define SVM_EVENT_ERROR BIT(11)
#define SVM_EVENT_VALID BIT(31)
#define SVM_EVENT_KNOWN (SVM_EVENT_VALID | SVM_EVENT_ERROR | SVM_EVENT_TYPE | SVM_EVENT_VECTOR)
enum svm_event_type {
	SVM_EVENT_INTR = 0,
	SVM_EVENT_NMI = 2,
	SVM_EVENT_EXC = 3,
	SVM_EVENT_SOFT = 4
};
static inline u32 svm_event_type(u32 ev)
{
	return (ev & SVM_EVENT_TYPE) >> SVM_EVENT_TYPE_SHIFT;
}

/* tlb_ctl (APM2 15.16.2) */
enum svm_tlb_ctl { SVM_TLB_NONE = 0, SVM_TLB_ALL = 1, SVM_TLB_ASID = 3, SVM_TLB_ASID_LOCAL = 7 };

/* clean (APM2 15.15.3): set = not changed since the last #VMEXIT of this VMCB. */
#define SVM_CLEAN_BITS(X) X(INTERCEPTS, 0) X(IOPM_MSRPM, 1) X(ASID, 2) X(TPR, 3) X(NP, 4) X(CR, 5) \
	X(DR, 6) X(DT, 7) X(SEG, 8) X(CR2, 9) X(LBR, 10) X(AVIC, 11) X(CET, 12) X(SOFTWARE, 31)
enum svm_clean {
#define X(name, bit) SVM_CLEAN_##name = bit,
	SVM_CLEAN_BITS(X)
#undef X
};

/* -- intercepts; an intercept's number is its exit code (APM2 appendix C) -- */

/* Families: the number of the first, one each for register or vector 0.. */
#define SVM_INTERCEPT_FAMILIES(X) \
	X(CR_READ, 0, 16) X(CR_WRITE, 16, 16) X(DR_READ, 32, 16) X(DR_WRITE, 48, 16) \
	X(EXCP, 64, 32) X(CR_WRITE_TRAP, 144, 16)

/* X(name, number, feature without which the bit is ignored: enum svm_feature, or NONE) */
#define SVM_INTERCEPTS(X) \
	X(INTR, 96, NONE) X(NMI, 97, NONE) X(SMI, 98, NONE) X(INIT, 99, NONE) \
	X(VINTR, 100, NONE) X(CR0_SEL_WRITE, 101, NONE) X(SIDT, 102, NONE) X(SGDT, 103, NONE) \
	X(SLDT, 104, NONE) X(STR, 105, NONE) X(LIDT, 106, NONE) X(LGDT, 107, NONE) \
	X(LLDT, 108, NONE) X(LTR, 109, NONE) X(RDTSC, 110, NONE) X(RDPMC, 111, NONE) \
	X(PUSHF, 112, NONE) X(POPF, 113, NONE) X(CPUID, 114, NONE) X(RSM, 115, NONE) \
	X(IRET, 116, NONE) X(INTN, 117, NONE) X(INVD, 118, NONE) X(PAUSE, 119, NONE) \
	X(HLT, 120, NONE) X(INVLPG, 121, NONE) X(INVLPGA, 122, NONE) X(IOIO, 123, NONE) \
	X(MSR, 124, NONE) X(TASK_SWITCH, 125, NONE) X(FERR_FREEZE, 126, NONE) \
	X(SHUTDOWN, 127, NONE) X(VMRUN, 128, NONE) X(VMMCALL, 129, NONE) X(VMLOAD, 130, NONE) \
	X(VMSAVE, 131, NONE) X(STGI, 132, NONE) X(CLGI, 133, NONE) X(SKINIT, 134, SKINIT) \
	X(RDTSCP, 135, RDTSCP) X(ICEBP, 136, NONE) X(WBINVD, 137, NONE) X(MONITOR, 138, NONE) \
	X(MWAIT, 139, NONE) X(MWAIT_ARMED, 140, NONE) X(XSETBV, 141, XSAVE) \
	X(RDPRU, 142, RDPRU) X(EFER_WRITE_TRAP, 143, NONE) X(INVLPGB, 160, NONE) \
	X(INVLPGB_ILLEGAL, 161, NONE) X(INVPCID, 162, INVPCID) X(MCOMMIT, 163, NONE) \
	X(TLBSYNC, 164, NONE) X(BUSLOCK, 165, NONE) X(IDLE_HLT, 166, NONE)

/* Exits without an intercept bit. */
#define SVM_EXTRA_EXITS(X) \
	X(NPF, 0x400) X(AVIC_INCOMPLETE_IPI, 0x401) X(AVIC_UNACCELERATED_ACCESS, 0x402) \
	X(VMGEXIT, 0x403)

enum svm_intercept {
#define X(name, first, count) SVM_I_##name = first,
	SVM_INTERCEPT_FAMILIES(X)
#undef X
#define X(name, number, feature) SVM_I_##name = number,
	SVM_INTERCEPTS(X)
#undef X
};

enum svm_exit {
#define X(name, first, count) SVM_EXIT_##name = first,
	SVM_INTERCEPT_FAMILIES(X)
#undef X
#define X(name, number, feature) SVM_EXIT_##name = number,
	SVM_INTERCEPTS(X)
#undef X
#define X(name, code) SVM_EXIT_##name = code,
	SVM_EXTRA_EXITS(X)
#undef X
};
#define SVM_EXIT_INVALID (~0ull)
#define SVM_EXIT_SOFTWARE 0xf0000000ull	/* and above: for software; this one is Hyper-V's */
#define SVM_HV_TRAP_AFTER_FLUSH 1	/* its EXITINFO1: L2 has flushed, and is to be stopped */

/* -- layout -- */

#define SVM_F(off, type, name, keep, what) type name;
#define SVM_A(off, type, name, count, keep, what) type name[count];
#define SVM_R(off, bytes) u8 reserved_##off[bytes];
struct vmcb_control {
	SVM_CONTROL_FIELDS(SVM_F, SVM_A, SVM_R)
};
struct vmcb_save {
	SVM_SAVE_FIELDS(SVM_F, SVM_A, SVM_R)
	u8 reserved_tail[0x918];
};
#undef SVM_F
#undef SVM_A
#undef SVM_R

struct vmcb {
	struct vmcb_control control;
	struct vmcb_save save;
} __attribute__((aligned(8)));

#define SVM_SAVE_OFFSET 0x400

#define SVM_R(off, bytes)
#define SVM_F(off, type, name, ...) \
	_Static_assert(offsetof(struct vmcb_control, name) == (off), "VMCB control." #name);
#define SVM_A SVM_F
SVM_CONTROL_FIELDS(SVM_F, SVM_A, SVM_R)
#undef SVM_F
#define SVM_F(off, type, name, ...) \
	_Static_assert(offsetof(struct vmcb_save, name) == (off), "VMCB save." #name);
SVM_SAVE_FIELDS(SVM_F, SVM_A, SVM_R)
#undef SVM_F
#undef SVM_A
#undef SVM_R
_Static_assert(sizeof(struct vmcb_control) == SVM_SAVE_OFFSET, "control area");
_Static_assert(sizeof(struct vmcb) == PAGE_SIZE, "VMCB");

static inline bool vmcb_intercepts(const struct vmcb_control *ctl, u32 number)
{
	return ctl->intercept[number / 32] & BIT(number % 32);
}
static inline void vmcb_set_intercept(struct vmcb_control *ctl, u32 number)
{
	ctl->intercept[number / 32] |= BIT(number % 32);
}
static inline void vmcb_clear_intercept(struct vmcb_control *ctl, u32 number)
{
	ctl->intercept[number / 32] &= ~BIT(number % 32);
}

/* Permission maps (APM2 15.10.1, 15.11). */
#define SVM_MSRPM_SIZE 0x2000ull
#define SVM_MSRPM_USED 0x1800ull
#define SVM_IOPM_SIZE 0x3000ull

/* Bit number of the read half of an MSR's pair; the write half is the next. -1: not in the map. */
static inline s32 svm_msrpm_bit(u32 msr)
{
	u32 low = msr & 0x1fff;

	switch (msr & ~0x1fffu) {
	case 0x00000000: return (s32)(low * 2);
	case 0xc0000000: return (s32)(0x800 * 8 + low * 2);
	case 0xc0010000: return (s32)(0x1000 * 8 + low * 2);
	}
	return -1;
}

#endif
