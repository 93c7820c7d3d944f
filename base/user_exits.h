/* SPDX-License-Identifier: MIT */
/* base/user_exits.h - names of exit reasons without KVM_EXIT_, for those that x86 has. */
#ifndef BASE_USER_EXITS_H
#define BASE_USER_EXITS_H

#include <linux/kvm.h>

#include "base/types.h"

#define USER_EXITS(X) \
	X(UNKNOWN) X(EXCEPTION) X(IO) X(HYPERCALL) X(DEBUG) X(HLT) X(MMIO) X(IRQ_WINDOW_OPEN) \
	X(SHUTDOWN) X(FAIL_ENTRY) X(INTR) X(SET_TPR) X(TPR_ACCESS) X(NMI) X(INTERNAL_ERROR) \
	X(SYSTEM_EVENT) X(IOAPIC_EOI) X(X86_RDMSR) X(X86_WRMSR) X(DIRTY_RING_FULL) X(X86_BUS_LOCK)

static inline const char *user_exit_name(u64 reason)
{
	switch (reason) {
#define X(n) case KVM_EXIT_##n: return #n;
		USER_EXITS(X)
#undef X
	}
	return "?";
}

#endif
