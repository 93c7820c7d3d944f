/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/harness/smm.h - a guest with SMRAM: the second address space shows all of its RAM,
 * and at G_SMBASE memory that nobody else sees. The test writes the handler and the save-state
 * area from outside.
 */
#ifndef GUEST_SMM_H
#define GUEST_SMM_H

#include "tests/guest/harness/harness.h"

enum {
	G_SMBASE = 0x2000000,
	SMRAM_ALL = 0x30000,	/* bytes of it */
};

struct smm {
	struct guest *g;
	struct guest_cpu *c;
	u8 *smram;
	u64 base;	/* SMBASE of vCPU 0 in the beginning */
};

/* Skips the test when there is no SMM. */
/* SMRAM for a guest that is there. */
struct smm smm_attach(struct guest *g);
struct smm smm_new_flags(enum mode m, u32 flags);
static inline struct smm smm_new(enum mode m)
{
	return smm_new_flags(m, 0);
}
void smm_free(struct smm *m);
struct smm smm_with_code(enum mode m, const u8 *code, u32 n, const u8 *handler, u32 hn);
#define smm_with(mode, code, h) smm_with_code(mode, code##_b, (u32)LEN(code), h##_b, (u32)LEN(h))
#define smm_handler(m, h) memcpy((m)->smram + 0x8000, h##_b, LEN(h))
/* SMRAM, and SMBASE with it, to another address; RAM is not shown in SMM any more. */
void smm_move(struct smm *m, u64 base);
void smm_slot(struct smm *m, u32 slot, u64 gpa, u64 size, u8 *at);	/* of the second space */
void smm_log(struct smm *m, bool on);	/* dirty logs of RAM, in both spaces */
void smm_smi(struct guest_cpu *c);
struct kvm_vcpu_events smm_events(struct guest_cpu *c);
/* A bit of CPUID (eax to edx are 0 to 3) away; before the vCPU has run. */
void smm_cpuid_clear(struct smm *m, u32 leaf, int reg, int bit);
/* The save-state area of vCPU 0, by the offsets of the manual. */
u64 smm_get(const struct smm *m, u32 at, u32 bytes);
void smm_put(struct smm *m, u32 at, u32 bytes, u64 v);

#endif
