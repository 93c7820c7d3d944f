/* SPDX-License-Identifier: MIT */
/*
 * mmu/mmu.h - page walks, the software TLB and linear memory access.
 * Thread rule: the CPU's own thread.
 */
#ifndef MMU_MMU_H
#define MMU_MMU_H

#include "engine/cpu.h"
#include "mmu/phys.h"

/* One completed walk. */
struct mmu_walk {
	u64 gpa;	/* of the byte asked for */
	u64 page_size;	/* 4K, 2M, 4M, 1G */
	bool global;
	bool writable;	/* writes allowed for this idx and D already set */
	bool user;
};

/*
 * Translate gva for `acc` by `idx` with all rules of the current paging mode
 * (none, 32-bit, PAE, 4- and 5-level): P, W, U/S, NX, WP, SMEP, SMAP, reserved bits,
 * canonicality; sets A (and D for writes) atomically in guest memory.
 * CPU_OK, or CPU_FAULT with c->fault (#PF with CR2 in payload; #GP(0)/#SS(0) is the caller's
 * business: non-canonical addresses give #GP(0)). In L2 with nested paging gpa is L1's,
 * and the fault may be EXC_NPF.
 */
enum cpu_result mmu_translate(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx,
			      struct mmu_walk *w);
/* The same without side effects or faults, as supervisor (KVM_TRANSLATE,
 * debuggers). False: unmapped. */
bool mmu_peek(struct cpu *c, u64 gva, u64 *gpa);

/* cpu_ops.tlb_fill and cpu_ops.fetch. */
struct fetch_page;
/* cpu_ops.tlb_again */
u64 mmu_tlb_again(struct cpu *c, u64 gva, u64 what);
enum cpu_result mmu_tlb_fill(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx);
enum cpu_result mmu_fetch(struct cpu *c, u64 gva, struct fetch_page *out);

/* cpu_ops.mem_*: any length up to 4096, any alignment, crossing pages. MMIO goes to
 * the hooks below. */
enum cpu_result mmu_mem_read(struct cpu *c, u64 gva, void *buf, u32 len, enum mmu_idx idx);
enum cpu_result mmu_mem_write(struct cpu *c, u64 gva, const void *buf, u32 len, enum mmu_idx idx);
enum cpu_result mmu_mem_probe_w(struct cpu *c, u64 gva, u32 len, enum mmu_idx idx);
enum cpu_result mmu_mem_open(struct cpu *c, u64 gva, u32 len, enum mem_access acc, enum mmu_idx idx,
			     struct mem_ref *m);
enum cpu_result mmu_mem_load(struct cpu *c, const struct mem_ref *m, void *buf);
enum cpu_result mmu_mem_store(struct cpu *c, const struct mem_ref *m, const void *buf);
void mmu_mem_used(struct cpu *c, const struct mem_ref *m, bool write);

/* MMIO hooks, set by vcpu/: an access to guest-physical space that is not memory (or
 * a write to a read-only slot), never crossing a page, len 1..8 pieces. Same
 * results as mem_read/mem_write. */
struct mmio_ops {
	enum cpu_result (*read)(struct cpu *c, u64 gpa, void *buf, u32 len);
	enum cpu_result (*write)(struct cpu *c, u64 gpa, const void *buf, u32 len);
	/* Asked before an instruction that writes to something that is not memory: CPU_OK, or
	 * CPU_FAULT or CPU_USER to refuse it. May be NULL. */
	enum cpu_result (*probe_w)(struct cpu *c, u64 gpa, u32 len);
};
void mmu_set_mmio(const struct mmio_ops *ops);	/* process-wide, at start-up */

/* Load the PAE PDPTEs for a CR3 value; CPU_FAULT (#GP 0) on reserved bits. */
enum cpu_result mmu_load_pdptes(struct cpu *c, u64 cr3);

/* TLB maintenance; each also tells the engine. The first two act on the guest mode (L1 or
 * L2) that the CPU is in, mmu_flush_all() on both. */
void mmu_flush(struct cpu *c, bool global);	/* CR3 load: false; CR4/CR0 changes: true */
void mmu_invlpg(struct cpu *c, u64 gva);
void mmu_flush_all(struct cpu *c);
/* Guest-physical addresses mean another address space of the VM from now on (SMM). Translations are
 * kept: pages are compared with memory before they run again. */
void mmu_switch_space(struct cpu *c, struct phys *to);
/* PKRU is another: what the TLBs let data accesses do may be wrong. */
void mmu_keys_changed(struct cpu *c);
/* Drop write entries whose host page backs this guest page (it now holds code
 * or is dirty-logged). True: there was one. */
bool mmu_drop_writes(struct cpu *c, u64 gpa);	/* for tests */
/* The same for a page of address space `as` that another CPU made code: reports that it may have
 * been written. */
void mmu_drop_code_writes(struct cpu *c, u32 as, u64 gpa);
void mmu_drop_all_writes(struct cpu *c);
/* cpu_ops.code_page. To get, call it before the bytes are read for translation. */
u32 mmu_code_page(struct cpu *c, u64 gpa, const u8 *host, u32 put);
void mmu_tlb_init(struct cpu *c);	/* of a zeroed *c */

/* Put data watchpoints in force (addresses and a DR7 value; I/O and execute
 * entries are ignored) and drop the TLB so that they are seen. Accesses that hit
 * set DR6 bits in c->watch_hit; the engine or vcpu/ turns those into a #DB trap. */
void mmu_set_watch(struct cpu *c, const u64 addr[4], u32 dr7);

#endif
