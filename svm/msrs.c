/* SPDX-License-Identifier: MIT */
/* svm/msrs.c - the MSRs of SVM and EFER.SVME (APM2 15.4, 15.30; docs/kvm-svm.md 4.12). */
#include "base/msrs.h"
#include "svm/svm_priv.h"

#define VM_CR_WRITABLE 0x1full
#define VM_CR_R_INIT BIT64(1)
#define VM_CR_LOCK BIT64(3)
#define VM_CR_SVMDIS BIT64(4)
#define TSC_RATIO_MASK GENMASK64(39, 0)

int svm_msr_read(const struct cpu *c, u32 msr, u64 *val, bool host)
{
	const struct svm *s = c->svm;

	switch (msr) {
	case MSR_TSC_RATIO:
		if (!host && !svm_has(&s->caps, SVM_FEAT_TSC_RATE))
			return -EINVAL;
		*val = s->msr.tsc_ratio;
		return 0;
	case MSR_VM_CR:
		*val = s->msr.vm_cr;
		return 0;
	case MSR_IGNNE:
		*val = 0;
		return 0;
	case MSR_HSAVE_PA:
		*val = s->msr.hsave_pa;
		return 0;
	case MSR_AVIC_DOORBELL:
		return -EINVAL;
	}
	return -ENOENT;
}

static int write_vm_cr(struct cpu *c, u64 val)
{
	struct svm *s = c->svm;
	u64 mask = VM_CR_WRITABLE;

	if (val & ~VM_CR_WRITABLE)
		return -EINVAL;
	/* Once disabled, SVM stays so (APM2 15.30.1). */
	if (s->msr.vm_cr & VM_CR_SVMDIS)
		mask &= ~(VM_CR_LOCK | VM_CR_SVMDIS);
	val = (s->msr.vm_cr & ~mask) | (val & mask);
	if ((val & VM_CR_SVMDIS) && (c->efer & EFER_SVME))
		return -EINVAL;
	s->msr.vm_cr = val;
	return 0;
}

int svm_msr_write(struct cpu *c, u32 msr, u64 val, bool host)
{
	struct svm *s = c->svm;

	switch (msr) {
	case MSR_TSC_RATIO:
		if (!svm_has(&s->caps, SVM_FEAT_TSC_RATE)) {
			if (!host)
				return -EINVAL;
			/* Without the feature only the value it has at reset. */
			return val && val != s->msr.tsc_ratio ? -EINVAL : 0;
		}
		if (val & ~TSC_RATIO_MASK)
			return -EINVAL;
		s->msr.tsc_ratio = val;
		if (c->in_l2)
			svm_tsc_changed(c);
		return 0;
	case MSR_VM_CR:
		return write_vm_cr(c, val);
	case MSR_IGNNE:
		return 0;
	case MSR_HSAVE_PA:
		/* User space may hand over anything; the guest a page it could have. */
		if (!host && !svm_pa_legal(c, val))
			return -EINVAL;
		s->msr.hsave_pa = val & PAGE_MASK;
		return 0;
	case MSR_AVIC_DOORBELL:	/* write-only (APM2 15.29.8) */
		if (host || !svm_has(&s->caps, SVM_FEAT_AVIC) || val >> 32)
			return -EINVAL;
		s->ops->doorbell(c, (u32)val);
		return 0;
	}
	return -ENOENT;
}

bool svm_init_redirected(const struct cpu *c)
{
	return c->svm->msr.vm_cr & VM_CR_R_INIT;
}

int svm_efer_check(const struct cpu *c, u64 efer)
{
	/* APM2 15.30.1: with SVMDIS, SVME must be zero. */
	if ((efer & ~c->efer & EFER_SVME) && (c->svm->msr.vm_cr & VM_CR_SVMDIS))
		return -EINVAL;
	return 0;
}

/* GIF stays as it is: only STGI, VMRUN and INIT set it (APM2 15.17). */
void svm_efer_changed(struct cpu *c)
{
	if (c->efer & EFER_SVME)
		return;
	/* APM2 15.4 leaves it undefined for a running guest: nobody is left to go back to. */
	if (c->in_l2)
		c->svm->ops->triple_fault(c);
}

void svm_efer_forced(struct cpu *c, u64 efer)
{
	if ((c->efer & EFER_SVME) && !(efer & EFER_SVME))
		svm_leave(c);
}
