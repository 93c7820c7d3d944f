/* SPDX-License-Identifier: MIT */
/*
 * cpu/sys.h - instructions that translated code leaves to C, and exception
 * delivery. Thread rule: the CPU's own thread. Results: enum cpu_result.
 */
#ifndef CPU_SYS_H
#define CPU_SYS_H

#include "engine/cpu.h"
#include "engine/insn.h"

enum cpu_task_why { TASK_JMP, TASK_CALL, TASK_IRET, TASK_EVENT };
struct cpu_task {
	u16 sel;
	u8 why;		/* enum cpu_task_why */
	bool has_error;
	u32 error;
	u32 event;	/* TASK_EVENT: which, cpu_event_info() */
	bool rf;	/* RFLAGS.RF as it would be saved */
};

/* What the virtual CPU asks of vcpu/. Set once, process-wide. */
struct cpu_hooks {
	/* RDMSR/WRMSR after the CPL check. CPU_FAULT with #GP(0), or CPU_USER (the
	 * instruction retires at re-entry, done by vcpu/). */
	enum cpu_result (*msr_read)(struct cpu *c, u32 msr, u64 *val);
	enum cpu_result (*msr_write)(struct cpu *c, u32 msr, u64 val);
	void (*cpuid)(struct cpu *c, u32 leaf, u32 subleaf, u32 out[4]);
	/* IN/OUT/INS/OUTS after permission checks. size 1,2,4.
	 * in: CPU_OK = buf filled with size*count bytes. CPU_USER = user space must
	 * provide the data; scalar IN: vcpu/ completes it (RAX, RIP) at re-entry; string: the
	 * instruction runs again and this call then returns CPU_OK with the data.
	 * out: scalar: CPU_USER leaves RIP at the instruction, vcpu/ retires it at re-entry.
	 * string: the caller updates registers as if done, then returns CPU_USER on.
	 * `*count` may be lowered by the hook to what it accepts in one go. */
	enum cpu_result (*pio_in)(struct cpu *c, const struct insn *in, u16 port, u32 size,
				  void *buf, u32 *count);
	enum cpu_result (*pio_out)(struct cpu *c, const struct insn *in, u16 port, u32 size,
				   const void *buf, u32 *count);
	/* RDPMC of a counter that is there, by one who may. */
	u64 (*rdpmc)(struct cpu *c, u32 index);
	/* HLT has retired (RIP after it). */
	enum cpu_result (*hlt)(struct cpu *c);
	/* VMMCALL or VMCALL (see in->mnemonic); the hook retires it. */
	enum cpu_result (*hypercall)(struct cpu *c, const struct insn *in);
	u64 (*read_cr8)(struct cpu *c);
	enum cpu_result (*write_cr8)(struct cpu *c, u64 v);	/* CPU_FAULT: #GP(0) when v > 15 */
	/* The CPU's interruptibility may have grown (STI, POPF, IRET, CR8), or TF was set:
	 * re-evaluate pending events and single-stepping before the next instruction. */
	void (*window)(struct cpu *c);
	/* SVM instructions and everything else that is not the plain CPU's; the
	 * default raises #UD. */
	enum cpu_result (*svm)(struct cpu *c, const struct insn *in);
	/* MONITOR and MWAIT: CPU_OK, or CPU_FAULT where this CPU has none. Default: it has. */
	enum cpu_result (*monitor)(struct cpu *c);
	/* PAUSE, MONITOR, MWAIT, INVD, WBINVD: retired already; may yield the thread. */
	void (*pause)(struct cpu *c);
	/* NMI unblocked by IRET. */
	void (*iret)(struct cpu *c);
	/* RSM (only in SMM; default #UD). */
	enum cpu_result (*rsm)(struct cpu *c);
	/* Optional. INT3 (3) or INT1 (1) is about to be delivered, RIP still at it: CPU_OK
	 * lets the guest have it, CPU_USER when a debugger took it. */
	enum cpu_result (*breakpoint)(struct cpu *c, u8 vector);
	/* Optional. A task switch is about to happen, its TSS is good: CPU_OK, or what to return
	 * instead (SVM's intercept). */
	enum cpu_result (*task_switch)(struct cpu *c, const struct cpu_task *t);
	/* DR0-DR3 or DR7 changed while breakpoints were or are enabled. Default: put the
	 * guest's data breakpoints in force (mmu_set_watch). */
	void (*debug_changed)(struct cpu *c);
};
/* Copies *h; a NULL hook keeps its default (no device, no MSR, #UD). */
void cpu_set_hooks(const struct cpu_hooks *h);
extern const struct cpu_hooks *cpu_hooks;

/* cpu_ops.exec */
enum cpu_result cpu_exec(struct cpu *c, const struct insn *in);
/* cpu_ops.sti */
u64 cpu_sti(struct cpu *c, u64 unused, u64 unused2);

/* -- events (cpu/exception.c) -- */
enum cpu_event_kind {
	EV_INTR,
	EV_NMI,
	EV_EXCEPTION,
	EV_SOFT_INT /* INT n */,
	EV_SOFT_EXC /* INT3, INTO */,
	EV_PRIV_SOFT /* INT1 */
};
struct cpu_event {
	union {
		struct {
			u8 vector;
			u8 kind;
			bool has_error;
			u32 error;
		};
		u64 head;	/* all of these */
	};
	u64 payload;	/* #PF: CR2, #DB: DR6 bits; applied on delivery */
	u64 next_rip;	/* software events: return address */
};
_Static_assert(offsetof(struct cpu_event, has_error) == 2 && offsetof(struct cpu_event, error) == 4,
	       "cpu_event.head");
/*
 * Deliver one event through the IVT/IDT of the current mode (real, protected 16/32 with
 * task gates, VM86, long mode with IST), including privilege change and stack switch.
 * CPU_OK: c->rip is at the handler. CPU_FAULT: a new exception arose while delivering (c->fault);
 * the caller merges it (#DF, triple fault). CPU_DONE: what was pushed is for
 * a device. CPU_USER: a table is not memory. CPU_WORK: L1 has taken the task switch.
 */
enum cpu_result cpu_deliver(struct cpu *c, const struct cpu_event *e);
/* The event as EXITINTINFO shows it (APM2 15.7.2). */
u32 cpu_event_info(const struct cpu_event *e);
/* Merge rule of APM2 8.2.9: 0 = handle second serially, EXC_DF, or -1 = shutdown. */
int cpu_merge_faults(u8 first, u8 second);

/* -- segments (cpu/segment.c) -- */
/* MOV/POP to a segment register with all checks of the current mode. */
enum cpu_result cpu_load_seg(struct cpu *c, enum cpu_sreg s, u16 sel);
void cpu_load_seg_real(struct cpu *c, enum cpu_sreg s, u16 sel);

/* -- control registers (cpu/control.c): also used by SET_SREGS-like paths with checks -- */
enum cpu_result cpu_set_cr0(struct cpu *c, u64 v);
enum cpu_result cpu_set_cr3(struct cpu *c, u64 v);
enum cpu_result cpu_set_cr4(struct cpu *c, u64 v);
enum cpu_result cpu_set_efer(struct cpu *c, u64 v);
enum cpu_result cpu_set_xcr0(struct cpu *c, u64 v);
void cpu_set_pkru(struct cpu *c, u32 v);
/* An address that is used now, and a base that is only stored (MSRs, descriptor tables, segment
 * bases): the latter may be as wide as the CPU can at all (APM2 5.3.1). */
static inline u64 cpu_sign_extend(u64 va, bool la57)
{
	u32 sh = la57 ? 7 : 16;

	return (u64)((s64)(va << sh) >> sh);
}
static inline bool cpu_canonical(const struct cpu *c, u64 va)
{
	return cpu_sign_extend(va, c->cr4 & CR4_LA57) == va;
}
static inline bool cpu_has_la57(const struct cpu *c) { return !(c->cr4_reserved & CR4_LA57); }
static inline bool cpu_canonical_base(const struct cpu *c, u64 va)
{
	return cpu_sign_extend(va, cpu_has_la57(c)) == va;
}

/* Guest TSC now. */
u64 cpu_rdtsc(const struct cpu *c);

/* INIT / RESET values (APM2 14.1.3). init: keep FPU and MSRs as INIT does. */
void cpu_reset(struct cpu *c, bool init);

#endif
