/* SPDX-License-Identifier: MIT */
/*
 * direct/direct.h - user code of the guest, run by the host's CPU itself in a process without
 * rights whose memory mirrors the guest's page tables (docs/direct-execution.md).
 *
 * A module that can be taken out: what calls it does so by cpu.direct, which is NULL without
 * STANDIN_DIRECT.
 */
#ifndef DIRECT_DIRECT_H
#define DIRECT_DIRECT_H

#include "engine/cpu.h"

bool direct_wanted(void);

/* A vCPU was made, or goes away: no thread runs it. Nothing happens where it is not wanted. */
void direct_attach(struct cpu *c);
void direct_detach(struct cpu *c);

/* KVM_RUN returns. Where there is cpu.direct. */
void direct_rest(struct cpu *c);

/* Guest memory [hva, hva + size) becomes a shared mapping with the same contents, if it is private
 * memory of this process. Under the slots lock of its VM, which is `owner`. */
void direct_share(const void *owner, u8 *hva, u64 size);
/* The VM goes away, all its vCPUs are gone. */
void direct_unshare(const void *owner);

/* What has been done since the vCPU was made; its own thread reads it. NULL: it has none of it. */
struct direct_counts {
	u64 stubs, stays, turns, fills, pages, mappings, dropped, compared, crept, ended;
	u64 left_syscall, left_fault, left_code, left_kick, left_other;
};
const struct direct_counts *direct_counts(const struct cpu *c);

#endif
