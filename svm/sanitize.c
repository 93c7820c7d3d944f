/* SPDX-License-Identifier: MIT */
/*
 * svm/sanitize.c - the control area as VMRUN takes it over.
 *
 * L1 and its other CPUs may change the VMCB at any time: only this copy is checked and used.
 */
#include "base/mem.h"
#include "svm/checks.h"

#define F(off, type, name, keep, what) to->name = (type)(from->name & (keep));
#define A(off, type, name, count, keep, what) \
	if (keep) \
		cpu_copy(to->name, from->name, sizeof(to->name)); \
	else \
		cpu_zero(to->name, sizeof(to->name));
#define R(off, bytes) cpu_zero(to->reserved_##off, bytes);
static void copy_fields(struct vmcb_control *to, const struct vmcb_control *from)
{
	SVM_CONTROL_FIELDS(F, A, R)
}
#undef F
#undef A
#undef R

void svm_sanitize(const struct svm_caps *k, struct vmcb_control *to,
		  const struct vmcb_control *from)
{
	copy_fields(to, from);

	/* An intercept of an instruction that the CPU lacks does nothing. */
#define X(name, number, feature) \
	if (SVM_FEAT_##feature != SVM_FEAT_NONE && !svm_has(k, SVM_FEAT_##feature)) \
		vmcb_clear_intercept(to, number);
	SVM_INTERCEPTS(X)
#undef X
	if (!svm_has(k, SVM_FEAT_NPT))
		to->misc_ctl &= ~SVM_NP_ENABLE;
	if (!svm_has(k, SVM_FEAT_GMET))
		to->misc_ctl &= ~SVM_GMET_ENABLE;
	if (!svm_has(k, SVM_FEAT_LBRV))
		to->misc_ctl2 &= ~SVM_LBRV_ENABLE;
	if (!svm_has(k, SVM_FEAT_VLS))
		to->misc_ctl2 &= ~SVM_VLS_ENABLE;
	if (!svm_has(k, SVM_FEAT_AVIC))
		to->int_ctl &= ~SVM_AVIC_ENABLE;
	if (!svm_has(k, SVM_FEAT_X2AVIC))
		to->int_ctl &= ~SVM_X2AVIC_ENABLE;
}
