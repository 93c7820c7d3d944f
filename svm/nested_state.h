/* SPDX-License-Identifier: MIT */
/*
 * svm/nested_state.h - KVM_GET/SET_NESTED_STATE for SVM: a header of 128 bytes and, in guest mode,
 * a page with L1's control area and L1's registers in the form of a VMCB. L2's
 * registers travel by KVM_GET/SET_REGS, SREGS and MSRS.
 *
 * The holder of the vCPU's lock. Nothing here reads guest memory: what has to be looked up there
 * is done by svm_finish_resume() at the next KVM_RUN.
 */
#ifndef SVM_NESTED_STATE_H
#define SVM_NESTED_STATE_H

#include <linux/kvm.h>

#include "svm/svm.h"

#define SVM_NESTED_HEADER sizeof(struct kvm_nested_state)
#define SVM_NESTED_MAX (SVM_NESTED_HEADER + KVM_STATE_NESTED_SVM_VMCB_SIZE)
_Static_assert(SVM_NESTED_HEADER == 128 && SVM_NESTED_MAX == 0x1080, "KVM's sizes");

/* Size of what svm_nested_get() would write. */
u32 svm_nested_size(const struct cpu *c);
/* *image is written in guest mode only. */
void svm_nested_get(const struct cpu *c, struct kvm_nested_state *hdr, struct vmcb *image);
/* 0: done, the CPU is out of guest mode. 1: the image is needed. -EINVAL: nothing has changed. */
int svm_nested_header(struct cpu *c, const struct kvm_nested_state *hdr);
/* Into guest mode, after svm_nested_header() asked for it. 0, or -EINVAL and nothing has
 * changed. */
int svm_nested_set(struct cpu *c, const struct kvm_nested_state *hdr, const struct vmcb *image);

#endif
