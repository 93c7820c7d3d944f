/* SPDX-License-Identifier: MIT */
/*
 * cpu/exec_priv.h - what the files of cpu/ share: instruction handlers, the
 * stack cursor and small helpers. Private to cpu/.
 */
#ifndef CPU_EXEC_PRIV_H
#define CPU_EXEC_PRIV_H

#include "cpu/descriptor.h"
#include "cpu/sys.h"

typedef enum cpu_result exec_fn(struct cpu *c, const struct insn *in);

/* Instructions in files of their own. */
exec_fn cpu_exec_string, cpu_exec_io, cpu_exec_xsave, cpu_exec_legacy;
exec_fn exec_far_call, exec_far_jmp, exec_far_ret, exec_iret;
exec_fn exec_syscall, exec_sysret, exec_sysenter, exec_sysexit;
exec_fn exec_int, exec_int3, exec_into, exec_int1;
exec_fn exec_mov_cr, exec_mov_dr, exec_clts, exec_lmsw, exec_smsw;
exec_fn exec_mov_sreg, exec_push_sreg, exec_pop_sreg, exec_load_far;
exec_fn exec_lgdt, exec_lidt, exec_sgdt, exec_sidt, exec_lldt, exec_ltr, exec_sldt, exec_str;
exec_fn exec_lar, exec_lsl, exec_verr, exec_verw;
exec_fn exec_pushf, exec_popf, exec_cli, exec_sti, exec_cld, exec_std, exec_clac, exec_stac;
exec_fn exec_hlt, exec_cpuid, exec_rdmsr, exec_wrmsr, exec_rdtsc, exec_rdtscp, exec_rdpmc;
exec_fn exec_pkru, exec_rdpid, exec_invlpg, exec_invpcid, exec_cache, exec_clzero, exec_swapgs,
	exec_fsgsbase;
exec_fn exec_pause, exec_hypercall, exec_svm, exec_rsm;

/* -- linear accesses -- */
/* Outside long mode linear addresses are 32 bits wide (APM2 1.2.4). */
static inline u64 cpu_sys_addr(const struct cpu *c, u64 a)
{
	return cpu_in_lm(c) ? a : (u32)a;
}
/* System structures are read and written as supervisor whatever the CPL (APM2 5.6.6). */
static inline enum cpu_result sys_read(struct cpu *c, u64 lin, void *buf, u32 n)
{
	return c->ops->mem_read(c, lin, buf, n, MMU_KERNEL);
}
static inline enum cpu_result sys_write(struct cpu *c, u64 lin, const void *buf, u32 n)
{
	enum cpu_result r = c->ops->mem_write(c, lin, buf, n, MMU_KERNEL);

	/* A descriptor table in MMIO: the write is queued, which is all we need. */
	return r == CPU_DONE ? CPU_OK : r;
}
static inline enum mmu_idx idx_for_cpl(const struct cpu *c, u32 cpl)
{
	return cpl == 3 ? MMU_USER : (c->rflags & FL_AC) ? MMU_KERNEL_AC : MMU_KERNEL;
}

/* -- code addresses and operand sizes -- */
static inline u64 code_mask(u32 mode)
{
	return mode == 8 ? ~0ull : mode == 4 ? 0xffffffff : 0xffff;
}
static inline u64 next_rip(const struct cpu *c, const struct insn *in)
{
	return (c->rip + in->len) & code_mask(in->mode);
}
/* Operand size of far transfers and IRET: 32 bits by default in 64-bit mode (APM3 1.2.2). */
static inline u32 far_opsize(const struct insn *in)
{
	if (in->mode == 8 && in->rex_w)
		return 8;
	return (in->mode == 2) == !(in->prefixes & PFX_OPSIZE) ? 2 : 4;
}
/* Operand size of pushes and pops: 64 bits by default in 64-bit mode (APM3 1.2.2). */
static inline u32 push_opsize(const struct insn *in)
{
	if (in->mode == 8)
		return in->prefixes & PFX_OPSIZE ? 2 : 8;
	return (in->mode == 2) == !(in->prefixes & PFX_OPSIZE) ? 2 : 4;
}

/* -- flags -- */
/* Replace the flags in `mask`; tells the engine and vcpu/ what they must know. */
static inline void cpu_set_flags(struct cpu *c, u64 v, u64 mask)
{
	u64 old = c->rflags;
	u64 new = (old & ~mask) | (v & mask) | FL_FIXED;

	c->rflags = new;
	if ((old ^ new) & (FL_TF | FL_VM | FL_AC))
		cpu_mode_changed(c);
	if (new & ~old &(FL_IF | FL_TF))
		cpu_hooks->window(c);
}
/* Flags POPF and IRET may change at CPL > IOPL, 16-bit and wider forms. */
enum {
	FL_POP16 = FL_ARITH | FL_TF | FL_DF | FL_NT,
	FL_POP32 = FL_POP16 | FL_AC | FL_ID,
};
static inline u32 cpu_iopl(const struct cpu *c) { return c->rflags >> FL_IOPL_SHIFT & 3; }

/* -- debug registers -- */
/* Set DR7; breakpoints that were or become enabled must be put in force again. */
static inline void cpu_set_dr7(struct cpu *c, u64 v)
{
	u64 old = c->dr7;

	c->dr7 = v;
	if (old != v && ((old | v) & DR7_ENABLES))
		cpu_hooks->debug_changed(c);
}

/* -- the stack cursor (cpu/stack.c) -- */
/*
 * Pushes and pops go through a copy of SS:RSP, which becomes the CPU's when
 * the instruction can no longer fault.
 */
struct stk {
	struct cpu_seg ss;
	u64 sp;
	u64 mask;	/* stack address size: 16, 32 or 64 bits */
	u32 err;	/* error code of #SS on a limit violation */
	u8 idx;		/* enum mmu_idx */
	bool queued;	/* a push went to user space: leave after retiring */
};
void stk_current(const struct cpu *c, struct stk *s);
/* A stack being switched to. lm: 64-bit stack whatever SS says. */
void stk_new(const struct cpu *c, struct stk *s, const struct cpu_seg *ss, u64 sp, u32 cpl, bool lm,
	     u32 err);
enum cpu_result stk_push(struct cpu *c, struct stk *s, u64 v, u32 size);
enum cpu_result stk_pop(struct cpu *c, struct stk *s, u64 *v, u32 size);
/* n quadwords at once on a 64-bit stack; v[0] is at the lowest address. */
enum cpu_result stk_push_block(struct cpu *c, struct stk *s, const u64 *v, u32 n);
enum cpu_result stk_pop_block(struct cpu *c, struct stk *s, u64 *v, u32 n);
void stk_skip(struct stk *s, u64 bytes);
/* RSP only, or SS:RSP. */
void stk_commit_sp(struct cpu *c, const struct stk *s);
void stk_commit(struct cpu *c, const struct stk *s);
/* Stack of an inner privilege level from the TSS (APM2 12.2.5, 8.9.3). */
enum cpu_result stk_from_tss(struct cpu *c, struct stk *s, u32 cpl, u32 ist, bool switch_ss,
			     u32 ext);

/* -- segments (cpu/segment.c) -- */
struct code_target {
	struct cpu_seg cs;
	u64 rip;
	u8 cpl;
	bool is64;
};
/*
 * All checks for loading a data or stack segment in protected mode; *out is the
 * result. is64: the code that will use it is 64-bit code. vec: EXC_GP, or EXC_TS in task switches.
 */
enum cpu_result seg_prepare(struct cpu *c, enum cpu_sreg s, u16 sel, u32 cpl, bool is64, u8 vec,
			    u32 ext, struct cpu_seg *out);
void seg_commit(struct cpu *c, enum cpu_sreg s, const struct cpu_seg *seg);
void seg_real(const struct cpu *c, enum cpu_sreg s, u16 sel, struct cpu_seg *out);
void seg_set_null(struct cpu_seg *s, u16 sel, u32 cpl);
/* A null selector on its way into c->seg[s]. */
void seg_load_null(const struct cpu *c, enum cpu_sreg s, u16 sel, u32 cpl, struct cpu_seg *out);
/* Common tail of every protected-mode CS load: L/D rule, accessed bit, RIP range. */
enum cpu_result code_prepare(struct cpu *c, struct desc *d, u32 cpl, u64 rip, u32 ext,
			     struct code_target *t);
void code_commit(struct cpu *c, const struct code_target *t);
/* CS rules of RETF and IRET (APM2 4.11.5). new CPL = RPL of sel. */
enum cpu_result code_return(struct cpu *c, u16 sel, u64 rip, struct code_target *t);
/* After a return to an outer level: null what it may not keep (APM2 4.11.5). */
void seg_drop_inner(struct cpu *c);
enum cpu_result ldtr_prepare(struct cpu *c, u16 sel, u8 vec, struct cpu_seg *out);

/* -- tasks (cpu/task.c) -- */
struct task_switch {
	u16 sel;
	u8 why;		/* enum cpu_task_why */
	u8 ext;
	bool has_error;	/* push `error` on the new stack */
	u32 error;
	u64 rip;	/* saved in the old TSS */
	u32 event;	/* TASK_EVENT: which, cpu_event_info() */
	u64 rflags;	/* saved in the old TSS */
};
enum cpu_result cpu_task_switch(struct cpu *c, const struct task_switch *t);

/* UMIP (SDM3 2.5): SGDT, SIDT, SLDT, STR and SMSW are CPL 0 only. */
static inline bool umip_blocks(const struct cpu *c)
{
	return (c->cr4 & CR4_UMIP) && c->cpl;
}

#endif
