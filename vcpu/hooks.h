/* SPDX-License-Identifier: MIT */
/* vcpu/hooks.h - the callbacks a vCPU gives to the layers below. */
#ifndef VCPU_HOOKS_H
#define VCPU_HOOKS_H

#include "engine/cpu.h"

extern const struct cpu_ops vcpu_cpu_ops;
extern const struct cpu_apic_ops vcpu_apic_ops;

#endif
