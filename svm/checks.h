/* SPDX-License-Identifier: MIT */
/*
 * svm/checks.h - may VMRUN enter this VMCB, and if not, why (APM2 15.5.1, 15.20, 15.25.4).
 *
 * Pure functions of a private copy of the VMCB and of what the vCPU's CPUID offers; never of
 * the host. The order is: svm_sanitize() the control area, svm_check_save(),
 * svm_check_control(), switch to the guest, svm_check_late().
 * What only the caller can know is the caller's: with the MSR intercept set both pages of
 * the MSR permission map must be readable (SVM_RULE_MSRPM_READ), without nested paging the
 * PAE page-directory-pointer entries must be loadable (SVM_RULE_PDPTE): svm_refuse().
 */
#ifndef SVM_CHECKS_H
#define SVM_CHECKS_H

#include <stdatomic.h>

#include "base/cpuid_bits.h"
#include "base/exceptions.h"
#include "svm/vmcb.h"

/* X(name, option of `standin explain`, bit of CPUID: base/cpuid_bits.h) */
#define SVM_FEATURES(X) \
	X(SVM, "svm", SVM) \
	X(NPT, "npt", SVM_NPT) \
	X(LBRV, "lbrv", SVM_LBRV) \
	X(SVML, "svml", SVM_SVML) \
	X(NRIPS, "nrips", SVM_NRIPS) \
	X(TSC_RATE, "tscrate", SVM_TSC_RATE) \
	X(VMCB_CLEAN, "vmcbclean", SVM_CLEAN) \
	X(FLUSH_BY_ASID, "flushbyasid", SVM_FLUSHBYASID) \
	X(DECODE_ASSISTS, "decodeassists", SVM_DECODE) \
	X(PAUSE_FILTER, "pausefilter", SVM_PAUSEFILTER) \
	X(PAUSE_THRESH, "pfthreshold", SVM_PFTHRESHOLD) \
	X(AVIC, "avic", SVM_AVIC) \
	X(VLS, "vls", SVM_VLS) \
	X(VGIF, "vgif", SVM_VGIF) \
	X(GMET, "gmet", SVM_GMET) \
	X(X2AVIC, "x2avic", SVM_X2AVIC) \
	X(VNMI, "vnmi", SVM_VNMI) \
	X(X2AVIC_EXT, "x2avic-ext", SVM_X2AVIC_EXT) \
	X(SVME_ADDR_CHK, "svme-addr-chk", SVM_ADDR_CHK) \
	X(SHSTK, "shstk", SHSTK) \
	X(SEV_ES, "sev-es", SEV_ES) \
	X(SKINIT, "skinit", SKINIT) \
	X(RDTSCP, "rdtscp", RDTSCP) \
	X(XSAVE, "xsave", XSAVE) \
	X(INVPCID, "invpcid", INVPCID) \
	X(RDPRU, "rdpru", RDPRU)

enum svm_feature {
#define X(name, ...) SVM_FEAT_##name,
	SVM_FEATURES(X)
#undef X
	SVM_FEAT_COUNT,
	SVM_FEAT_NONE = SVM_FEAT_COUNT,
};
_Static_assert(SVM_FEAT_COUNT <= 64, "svm_caps.features has one bit each");

/* KVM_X86_QUIRK_* of newer headers: L2 under nested paging has no PAT of its own. */
#define QUIRK_NESTED_SVM_SHARED_PAT BIT64(11)

/* What VMRUN depends on. Owner: the vCPU; changes only with its CPUID. */
struct svm_caps {
	u64 features;		/* bit enum svm_feature */
	u64 cr4_reserved;
	u64 efer_reserved;
	u32 exceptions;		/* bit n: vector n is an exception of this CPU */
	u8 maxphyaddr;
	/* The VM's KVM_X86_QUIRK_* that user space has disabled, at any time; NULL: none. */
	const _Atomic u64 *quirks_off;
};
static inline bool svm_separate_pat(const struct svm_caps *k)
{
	return k->quirks_off && (atomic_load_explicit(k->quirks_off, memory_order_relaxed) &
				 QUIRK_NESTED_SVM_SHARED_PAT);
}
static inline bool svm_has(const struct svm_caps *k, enum svm_feature f)
{
	return k->features >> f & 1;
}
/* Sets `features` and `exceptions`; has() answers from the vCPU's CPUID. */
void svm_caps_set(struct svm_caps *k, bool (*has)(const void *arg, enum cpuid_feature f),
		  const void *arg);
/* The same from a feature mask (unit tests, standin explain). */
void svm_caps_features(struct svm_caps *k, u64 features);

/*
 * X(id, who checks it, field of struct vmcb, its name in the manual, manual section, text).
 * In the text $x is the field's value, $a the offending part or the limit that was
 * violated, $t and $v an event's type and vector.
 */
#define SVM_RULES(X) \
	X(SVME, SAVE, save.efer, "EFER", "APM2 15.5.1", "$x: SVME is clear") \
	X(CACHE, SAVE, save.cr0, "CR0", "APM2 15.5.1", "$x: NW is set and CD is clear") \
	X(CR0_HIGH, SAVE, save.cr0, "CR0", "APM2 15.5.1", "$x: bits 63:32 must be zero") \
	X(DR6_HIGH, SAVE, save.dr6, "DR6", "APM2 15.5.1", "$x: bits 63:32 must be zero") \
	X(DR7_HIGH, SAVE, save.dr7, "DR7", "APM2 15.5.1", "$x: bits 63:32 must be zero") \
	X(LM_PAE, SAVE, save.cr4, "CR4", "APM2 15.5.1", \
	  "$x: PAE is clear, but EFER.LME and CR0.PG are set") \
	X(LM_PE, SAVE, save.cr0, "CR0", "APM2 15.5.1", \
	  "$x: PE is clear, but EFER.LME and CR0.PG are set") \
	X(LM_CR3, SAVE, save.cr3, "CR3", "APM2 15.5.1", \
	  "$x sets bits $a beyond the physical address size") \
	X(LM_CS, SAVE, save.cs, "CS attributes", "APM2 15.5.1", \
	  "$x: L and D are both set in long mode") \
	X(CR4_RESERVED, SAVE, save.cr4, "CR4", "APM2 15.5.1", \
	  "$x sets bits $a that this CPU reserves") \
	X(EFER_RESERVED, SAVE, save.efer, "EFER", "APM2 15.5.1", \
	  "$x sets bits $a that this CPU reserves") \
	X(G_PAT, SAVE, save.g_pat, "G_PAT", "APM2 15.25.4", "$x holds memory type $a") \
	X(VMRUN_INTERCEPT, CONTROL, control.intercept[4], "intercept word 4", "APM2 15.5.1", \
	  "$x: VMRUN is not intercepted") \
	X(ASID, CONTROL, control.asid, "ASID", "APM2 15.5.1", "$x belongs to the host") \
	X(NCR3, CONTROL, control.ncr3, "N_CR3", "APM2 15.25.4", \
	  "$x sets bits $a beyond the physical address size") \
	X(MSRPM, CONTROL, control.msrpm, "MSRPM_BASE_PA", "APM2 15.5.1", \
	  "$x: the map ends at $a, beyond the physical address size") \
	X(IOPM, CONTROL, control.iopm, "IOPM_BASE_PA", "APM2 15.5.1", \
	  "$x: the map ends at $a, beyond the physical address size") \
	X(VNMI_INTERCEPT, CONTROL, control.int_ctl, "V_NMI_ENABLE", "APM2 15.21.10", \
	  "is set ($x), but NMI is not intercepted") \
	X(EVENT_TYPE, CONTROL, control.event_inj, "EVENTINJ", "APM2 15.20", \
	  "type $t vector $v has a reserved type") \
	X(EVENT_VECTOR, CONTROL, control.event_inj, "EVENTINJ", "APM2 15.20", \
	  "type $t vector $v is not an exception this CPU has") \
	X(AVIC_POINTER, CONTROL, control.int_ctl, "AVIC", "APM2 15.29.4", \
	  "is enabled ($x), but a table's address sets bits $a beyond the physical address size") \
	/* Found after the switch to the guest: the same exit code by way of a full #VMEXIT. */ \
	X(CR3, LATE, save.cr3, "CR3", "APM2 3.1.2", \
	  "$x sets bits $a beyond the physical address size") \
	/* ... and by the caller. */ \
	X(MSRPM_READ, CALLER, control.msrpm, "MSRPM_BASE_PA", "APM2 15.11", \
	  "$x: the map at $a is not backed by memory") \
	X(AVIC_PAGE, CALLER, control.avic_backing, "AVIC_BACKING_PAGE", "APM2 15.29.4", \
	  "$x is not memory") \
	X(PDPTE, CALLER, save.cr3, "CR3", "APM2 15.5.1", \
	  "$x: a page-directory-pointer entry has reserved bits set")

enum svm_rule {
#define X(id, ...) SVM_RULE_##id,
	SVM_RULES(X)
#undef X
	SVM_RULE_COUNT
};

struct svm_refusal {
	enum svm_rule rule;
	const char *name;	/* of the rule */
	const char *field;	/* of the VMCB, as the manual calls it */
	u16 offset;		/* in the VMCB */
	u64 value, aux;
	const char *text, *section;
};

/* The part of *from that VMRUN takes over, features the CPU lacks removed (docs/kvm-svm.md 4.3). */
void svm_sanitize(const struct svm_caps *k, struct vmcb_control *to,
		  const struct vmcb_control *from);

/* 0, or -EINVAL with the first violated rule in *why (may be NULL). Any thread. */
int svm_check_control(const struct svm_caps *k, const struct vmcb_control *ctl,
		      struct svm_refusal *why);
int svm_check_save(const struct svm_caps *k, const struct vmcb_control *ctl,
		   const struct vmcb_save *save, struct svm_refusal *why);
int svm_check_late(const struct svm_caps *k, const struct vmcb_save *save, struct svm_refusal *why);
/* Every violated rule, in the order of SVM_RULES; returns how many. */
u32 svm_check_all(const struct svm_caps *k, const struct vmcb *vmcb,
		  void (*visit)(void *arg, const struct svm_refusal *why), void *arg);

/* Every byte a memory type, none reserved (APM2 7.8.1). */
bool svm_pat_valid(u64 pat);
/* Fills *why for a rule the caller found broken; returns -EINVAL. */
int svm_refuse(struct svm_refusal *why, enum svm_rule rule, u64 value, u64 aux);

/* -- text (svm/explain.c): no libc, usable while the guest's vector state is live -- */

#define SVM_TEXT_MAX 192
/* "VMRUN refused: EVENTINJ type 3 vector 20 is not an exception this CPU has (APM2 15.20)".
 * Returns the length, always terminated. */
size_t svm_refusal_format(const struct svm_refusal *why, char buf[SVM_TEXT_MAX]);
/* The same without "VMRUN refused: ". */
size_t svm_refusal_reason(const struct svm_refusal *why, char buf[SVM_TEXT_MAX]);
/* "VMRUN", "EXCP_PF", "CR_WRITE_4", "NPF", "INVALID"; a hexadecimal number when it has no name. */
const char *svm_exit_name(u64 code, char buf[32]);

#endif
