/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/harness/svm.h - a guest that runs a guest of its own with SVM.
 *
 * L1 is a loop of VMRUN and OUT; the test writes the VMCB from outside and reads what #VMEXIT
 * left there. L2 starts in L1's mode, with L1's tables, at G_L2.
 */
#ifndef GUEST_SVM_H
#define GUEST_SVM_H

#include "svm/vmcb.h"
#include "tests/guest/harness/harness.h"

enum {
	G_VMCB = G_FREE,
	G_HSAVE = G_FREE + 0x1000,
	G_MSRPM = G_FREE + 0x2000,	/* 2 pages */
	G_IOPM = G_FREE + 0x4000,	/* 3 pages */
	G_NPT = G_FREE + 0x8000,	/* nested tables: 8 pages */
	G_L2 = G_FREE + 0x10000,	/* L2's code: 16 pages */
	G_L2_STACK = G_FREE + 0x30000,	/* top */
	G_SVM_DATA = G_FREE + 0x40000,	/* the test's */
};

#define PORT_L1 0xf1		/* L1 after #VMEXIT */
#define SEG_PART_CODE64 0x29b	/* VMCB attributes */

struct svm_guest {
	struct guest *g;
	struct guest_cpu *c;
	struct vmcb *vmcb;
	struct vmcb_control *ctl;
	struct vmcb_save *save;
};

/* Skips the test when the CPU has no SVM. */
struct svm_guest svm_new(enum mode m, u32 flags, const u8 *l2, u64 len);
#define svm_with(snip) svm_new(M_LONG, 0, snip##_b, LEN(snip))
#define svm_with_apic(snip) svm_new(M_LONG, GUEST_IRQCHIP, snip##_b, LEN(snip))
/* VMRUN until L1 is back, or anything else stops it. */
struct stop svm_run(struct svm_guest *s);
/* KVM_STATE_NESTED_* as KVM_GET_NESTED_STATE has them. */
u32 nested_flags(struct guest_cpu *c);
/* The VMCB as it was in the beginning, L2 at its first instruction. */
void svm_rewind(struct svm_guest *s);
/* An identity map of the first GiB and the APIC for nested paging, user rights. */
void svm_npt(struct svm_guest *s);
static inline void svm_want(struct svm_guest *s, u32 number)
{
	vmcb_set_intercept(s->ctl, number);
}

/* Address of a label of L2's snippet. */
#define AT_L2(name, label) (G_L2 + (u64)((label) - name##_b))

bool check_exit(const char *file, int line, const struct svm_guest *s, const struct stop *st,
		u64 code);
/* L1 is back, with this exit code. */
#define CHECK_EXIT(s, st, code) check_exit(__FILE__, __LINE__, s, &(st), code)
/* VMRUN until L1 is back, and it is with this exit code. */
#define SVM_EXITS(s, code) svm_exits(__FILE__, __LINE__, s, code)
static inline struct stop svm_exits(const char *file, int line, struct svm_guest *s, u64 code)
{
	struct stop st = svm_run(s);

	check_exit(file, line, s, &st, code);
	return st;
}

#endif
