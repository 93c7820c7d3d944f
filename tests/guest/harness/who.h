/* SPDX-License-Identifier: MIT */
/* tests/guest/harness/who.h - which KVM a test talks to. */
#ifndef GUEST_WHO_H
#define GUEST_WHO_H

#include <linux/kvm.h>
#include <stdio.h>

/* $KVM_NODE or /dev/kvm, open; negative errno. */
int kvm_node_open(void);
/* The whole of KVM_GET_SUPPORTED_CPUID; free() it. NULL on failure. */
struct kvm_cpuid2 *kvm_supported_cpuid(int sys);
/* Print API version, vendor and model string of the CPU on offer. */
int who_answers(FILE *f);

#endif
