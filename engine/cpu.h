/* SPDX-License-Identifier: MIT */
/*
 * engine/cpu.h - the architectural state of one virtual CPU, and what
 * translated code needs beside it.
 *
 * One `struct cpu` lives below 2 GiB so that translated code reaches every
 * field by an absolute 32-bit address (3-8 % faster than a prefix or base).
 * It belongs to the thread that is inside KVM_RUN on it, or to whoever holds
 * the vCPU lock; the exceptions say so at the field.
 *
 * While translated code runs, the guest's general registers, arithmetic flags
 * and (when `fpu_live`) vector state are in host registers. Whenever C code
 * runs (ops callbacks included) gpr[], rip and rflags here are exact. The
 * vector state must be taken through engine_fpu_save() first.
 */
#ifndef ENGINE_CPU_H
#define ENGINE_CPU_H

#include <stdatomic.h>

#include "base/exceptions.h"
#include "base/result.h"
#include "base/types.h"

/* Register numbers are the encoding's own (APM3 1.4). */
enum cpu_gpr {
	R_RAX, R_RCX, R_RDX, R_RBX, R_RSP, R_RBP, R_RSI, R_RDI,
	R_R8, R_R9, R_R10, R_R11, R_R12, R_R13, R_R14, R_R15,
};

enum cpu_sreg { S_ES, S_CS, S_SS, S_DS, S_FS, S_GS, S_LDTR, S_TR, S_COUNT };

/*
 * A segment register with its hidden part. `limit` is in bytes (granularity
 * applied). `attr` is the VMCB form: descriptor bits 55:52,47:40 packed.
 */
struct cpu_seg {
	u64 base;
	u32 limit;
	u16 sel;
	u16 attr;
};
enum cpu_seg_attr {
	SEG_TYPE = 0x00f,	/* 4-bit type */
	SEG_ACCESSED = 0x001,	/* code/data */
	SEG_RW = 0x002,		/* data: writable, code: readable */
	SEG_EC = 0x004,		/* data: expand down, code: conforming */
	SEG_CODE = 0x008,
	SEG_S = 0x010,		/* 1 = code/data */
	SEG_DPL = 0x060,
	SEG_DPL_SHIFT = 5,
	SEG_P = 0x080,		/* clear = unusable (null) */
	SEG_AVL = 0x100,
	SEG_L = 0x200,
	SEG_DB = 0x400,
	SEG_G = 0x800,
};

struct cpu_dtr {
	u64 base;
	u32 limit;
};

enum {
	FL_CF = 1u << 0, FL_FIXED = 1u << 1, FL_PF = 1u << 2, FL_AF = 1u << 4,
	FL_ZF = 1u << 6, FL_SF = 1u << 7, FL_TF = 1u << 8, FL_IF = 1u << 9,
	FL_DF = 1u << 10, FL_OF = 1u << 11, FL_IOPL = 3u << 12,
	FL_IOPL_SHIFT = 12, FL_NT = 1u << 14, FL_RF = 1u << 16,
	FL_VM = 1u << 17, FL_AC = 1u << 18, FL_VIF = 1u << 19,
	FL_VIP = 1u << 20, FL_ID = 1u << 21,
	FL_ARITH = 0x8d5,	/* CF PF AF ZF SF OF */
};
/* Those that are not 0 or 1 for ever. */
#define FL_DEFINED (FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC | \
		    FL_VIF | FL_VIP | FL_ID)

/* Debug registers (APM2 13.1.1): bits that read as 1, and those that can be written. */
#define DR6_FIXED 0xffff0ff0ull
#define DR6_WRITABLE 0xe00full
#define DR6_BD BIT64(13)
#define DR6_BS BIT64(14)
#define DR7_FIXED 0x400ull
#define DR7_WRITABLE 0xffff23ffull
#define DR7_GD BIT64(13)
#define DR7_ENABLES 0xffull

/* DEBUGCTL (APM2 13.1.1.6) */
#define DEBUGCTL_LBR BIT64(0)
#define DEBUGCTL_BTF BIT64(1)
#define DEBUGCTL_VALID 0x3full	/* bits 5:2 drive pins, or nothing */

#define CR0_PE BIT64(0)
#define CR0_MP BIT64(1)
#define CR0_EM BIT64(2)
#define CR0_TS BIT64(3)
#define CR0_ET BIT64(4)
#define CR0_NE BIT64(5)
#define CR0_WP BIT64(16)
#define CR0_AM BIT64(18)
#define CR0_NW BIT64(29)
#define CR0_CD BIT64(30)
#define CR0_PG BIT64(31)

#define CR4_VME BIT64(0)
#define CR4_PVI BIT64(1)
#define CR4_TSD BIT64(2)
#define CR4_DE BIT64(3)
#define CR4_PSE BIT64(4)
#define CR4_PAE BIT64(5)
#define CR4_MCE BIT64(6)
#define CR4_PGE BIT64(7)
#define CR4_PCE BIT64(8)
#define CR4_OSFXSR BIT64(9)
#define CR4_OSXMMEXCPT BIT64(10)
#define CR4_UMIP BIT64(11)
#define CR4_LA57 BIT64(12)
#define CR4_FSGSBASE BIT64(16)
#define CR4_PCIDE BIT64(17)
#define CR4_OSXSAVE BIT64(18)
#define CR4_SMEP BIT64(20)
#define CR4_SMAP BIT64(21)
#define CR4_PKE BIT64(22)

#define EFER_SCE BIT64(0)
#define EFER_LME BIT64(8)
#define EFER_LMA BIT64(10)
#define EFER_NX BIT64(11)
#define EFER_SVME BIT64(12)
#define EFER_FFXSR BIT64(14)
#define EFER_TCE BIT64(15)

enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16, PF_PK = 32 };
enum { PKRU_AD = 1, PKRU_WD = 2 };	/* of each key */

/* EXITINFO1 of a nested page fault: the above and */
#define NPF_FINAL BIT64(32)	/* on the guest's final address */
#define NPF_TABLE BIT64(33)	/* on an access to the guest's page tables */

/* An exception raised by an instruction; rip is still at that instruction
 * for faults, after it for traps. */
struct cpu_fault {
	u64 payload;	/* #PF: CR2; #DB: the DR6 bits to set; NPF: guest-physical address */
	u64 info;	/* NPF: EXITINFO1 */
	u32 error;
	/* Raised while a software interrupt was delivered: which, as EXITINTINFO has it. */
	u32 during;
	u8 vector;
	bool has_error;
};

enum mem_access { MEM_R = 0, MEM_W = 1, MEM_X = 2 };

/*
 * Which privilege a linear access is made with. Each has its own software
 * TLB, and translated code has the choice baked in.
 */
enum mmu_idx {
	MMU_KERNEL,	/* CPL < 3 (SMAP enforced when CR4.SMAP) */
	MMU_USER,	/* CPL 3 */
	MMU_KERNEL_AC,	/* CPL < 3, EFLAGS.AC set: SMAP overridden */
	MMU_L2,		/* the same three of a nested guest: add this to the above */
	MMU_IDX_COUNT = 2 * MMU_L2,
};

/*
 * tag: linear page address. host: host address of that page. A lookup of
 * address A in slot (A >> 12) % TLB_SIZE hits when A - tag <= 4096 - size.
 * The check without flags looks at the last byte instead: A + size - 1 - tag < 4096. So an empty
 * slot's tag must be no page that belongs into the slot, and none behind such a page. It is 0
 * almost everywhere, and a zeroed TLB is empty and costs no memory.
 */
struct tlb_entry {
	u64 tag;
	u64 host;
};
#define TLB_BITS 12
#define TLB_SIZE (1u << TLB_BITS)
#define IO_TLB_SIZE 8
_Static_assert(TLB_SIZE / 64 <= 64, "tlb_used_words has one bit a word");
#define TLB_ARRAYS (MMU_IDX_COUNT * 2)
static inline u64 tlb_empty_tag(u32 slot)
{
	return slot == 0 ? 2 * PAGE_SIZE : slot == TLB_SIZE - 1 ? PAGE_SIZE : 0;
}

/* The second level (mmu/tlb2.c); translated code reads it (engine/again.c). */
struct tlb2_entry {
	u64 tag, host;	/* with more in their low bits */
};
/* In the low bits of a tag, beside the privilege, and of the host address. */
enum {
	T2_IDX = 3, T2_GLOBAL = 4, T2_LARGE = 8,
	T2_WRITE_SHIFT = 5, T2_WRITE_MAX = 127,	/* tag: generation of the right to write, 0: none */
	T2_GEN_MAX = 4095,			/* host: generation of the mapping, from 1 on */
};
#define TLB2_BITS 16
#define TLB2_SIZE (1u << TLB2_BITS)

/* The page that RSP was in last, if the TLB has it for writes: translated code fills it
 * (engine/window.c), mmu/tlb.c empties it. An empty one is of a page at an address that nothing can
 * have, and that the host cannot access. */
struct cpu_window {
	u64 minus;	/* what makes an address the offset in the page */
	u64 host;	/* of the page */
	u64 delta;	/* both */
};
#define WINDOW_NONE BIT64(63)
static inline void cpu_window_empty(struct cpu_window *w)
{
	*w = (struct cpu_window){ .minus = -WINDOW_NONE, .delta = -WINDOW_NONE };
}

struct tlb {
	struct tlb_entry r[TLB_SIZE];	/* reads; maintained by mmu/tlb.c */
	struct tlb_entry w[TLB_SIZE];	/* writes: dirty-logged, no code */
};

/* Of a zeroed array. */
static inline void tlb_array_init(struct tlb_entry *e)
{
	e[0].tag = tlb_empty_tag(0);
	e[TLB_SIZE - 1].tag = tlb_empty_tag(TLB_SIZE - 1);
}

/* Page-walk cache: the last-level table that maps a 2 MiB (PAE, long mode)
 * region, with the rights collected on the way (APM2 5.5.3). mmu/ only. */
struct mmu_pwc {
	u64 tag;	/* gva >> 21; ~0 = empty */
	u64 *table;	/* host address */
	u64 rights;	/* P W U of all upper levels, and NX if any had it */
	u64 gpa;	/* of the table */
};
#define PWC_SIZE 16

/* What L1 and L2 each have of the MMU, beside their TLB arrays. mmu/ only. */
struct mmu_ctx {
	/* Addresses of the large pages behind tlb_large, per address half. */
	u64 large_lo[2], large_hi[2];
	u64 large_size;		/* biggest page behind tlb_large; 0 = none */
	/* Range of the large pages code was fetched from, per address half. */
	u64 xbase[2], xmask[2];
	struct mmu_pwc pwc[PWC_SIZE];
};

/* Nested translation: whose L2's TLB is, and the walk cache of the nested tables. mmu/ only. */
struct mmu_l2 {
	u32 asid;	/* 0: nobody's */
	u8 np, mode;	/* nested paging; enum npt_mode */
	bool nx, smep;	/* of the host */
	u64 ncr3, apic_page;
	u64 rsvd;	/* bits that are zero in every present nested entry */
	u64 cr0, cr3, cr4, efer;	/* L2's own that its TLB was filled under */
	struct mmu_npwc {
		u64 tag;	/* gpa >> 21; ~0 = empty */
		u64 *p;		/* last-level table, or (large) the entry of a 2 MiB page */
		u64 rights;	/* of the levels above */
		u64 gpa;	/* of *p, in L1's space */
		bool large;
	} npwc[PWC_SIZE];
};

/*
 * Instructions that translated code may do by itself unless L1 intercepts them or what
 * they change is virtual in L2: bits of cpu.l2_inline, set by svm/ before L2 is entered.
 */
enum cpu_l2_insn {
	L2_PUSHF = BIT(0), L2_POPF = BIT(1), L2_IRET = BIT(2), L2_INT = BIT(3),
	L2_RDTSC = BIT(4), L2_RDTSCP = BIT(5), L2_CLI = BIT(6), L2_STI = BIT(7),
	L2_PAUSE = BIT(8), L2_CPUID = BIT(9), L2_HLT = BIT(10), L2_SWAPGS = BIT(11),
};

struct insn;
struct cpu;
struct engine;
struct svm;
struct phys;
struct phys_slot;
struct fetch_page;

/* A memory operand, found once: where its at most two parts are, one a page. Good for one
 * instruction. */
struct mem_ref {
	u64 gva;
	u32 len, n;
	struct mem_part {
		u8 *src;	/* reads come from here; NULL: a device */
		u8 *dst;	/* writes go here; NULL: a device, or it was not opened for
				 * writing */
		u64 gpa;	/* unless both are known from the TLB */
		const struct phys_slot *slot;	/* there may be code, or a watchpoint; else NULL */
		u32 len;
	} p[2];
};

/* Memory in one piece, and the same for reads and writes: the instruction can work there. */
static inline u8 *mem_place(const struct mem_ref *m, bool write)
{
	u8 *p = m->p[0].src;

	if (write && m->p[0].dst != p)
		return NULL;
	if (m->n == 2 && (m->p[1].src != p + m->p[0].len || (write && m->p[1].dst != m->p[1].src)))
		return NULL;
	return p;
}

/* Supplied by the layer above; all run on the CPU's own thread. */
struct cpu_ops {
	/* Resolve [gva, gva+1) for `acc` with privilege `idx` and install the
	 * TLB entry when the page may be accessed directly.
	 * CPU_OK: installed. CPU_FAULT: #PF (or #GP non-canonical) in c->fault.
	 * CPU_SLOW: not directly accessible (MMIO, page with translated code,
	 * read-only slot, watchpoint): use mem_read/mem_write. */
	enum cpu_result (*tlb_fill)(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx);
	/* The same out of translated code, like cpu_apic_ops, from what is known without a look at
	 * guest memory; what: idx * 2, and 1 for a write. Refused with cpu_short_cut(). NULL:
	 * nothing is known. */
	u64 (*tlb_again)(struct cpu *c, u64 gva, u64 what);
	/* Resolve a code page for execution at the current CPL. */
	enum cpu_result (*fetch)(struct cpu *c, u64 gva, struct fetch_page *out);
	/* Access that may cross pages, hit MMIO or code. CPU_USER from
	 * mem_read: user space must provide data, the whole instruction is
	 * executed again on re-entry. mem_write never asks for a repeat: CPU_DONE
	 * means the write is queued and the loop must be left after the
	 * instruction retires. mem_probe_w checks write permission only. */
	enum cpu_result (*mem_read)(struct cpu *c, u64 gva, void *buf, u32 len, enum mmu_idx idx);
	enum cpu_result (*mem_write)(struct cpu *c, u64 gva, const void *buf, u32 len,
				     enum mmu_idx idx);
	enum cpu_result (*mem_probe_w)(struct cpu *c, u64 gva, u32 len, enum mmu_idx idx);
	/* The same in steps, for an instruction that is carried out by itself. open finds the
	 * operand and checks what has to be checked before the instruction runs (MEM_W: of an
	 * operand that may be read as well); load and store are as above. used: it has been worked
	 * on in place instead. */
	enum cpu_result (*mem_open)(struct cpu *c, u64 gva, u32 len, enum mem_access acc,
				    enum mmu_idx idx, struct mem_ref *m);
	enum cpu_result (*mem_load)(struct cpu *c, const struct mem_ref *m, void *buf);
	enum cpu_result (*mem_store)(struct cpu *c, const struct mem_ref *m, const void *buf);
	void (*mem_used)(struct cpu *c, const struct mem_ref *m, bool write);
	/* begin: no other CPU of the VM accesses memory until the call with false. What has been
	 * opened before must be opened again: requests of others may have been served meanwhile. */
	void (*alone)(struct cpu *c, bool begin);
	/* Segmentation: offset `ea` in segment `seg` -> linear address, with all
	 * checks of the current mode for an access of len bytes. */
	enum cpu_result (*linear)(struct cpu *c, enum cpu_sreg seg, u64 ea, u32 len, bool write,
				  u64 *lin);
	/* This CPU now holds translations of a page, which leaves the write TLBs: put is 0, and
	 * the result names what has been taken. With that as `put`: it holds none any more of the
	 * page that was there, at `host` (NULL: that is there now). */
	u32 (*code_page)(struct cpu *c, u64 gpa, const u8 *host, u32 put);
	/* STI at CPL 0, called out of translated code like cpu_apic_ops: sets IF and the shadow,
	 * and c->poll if something waits for them. NULL: every STI is left to exec. The result
	 * means nothing. */
	u64 (*sti)(struct cpu *c, u64 unused, u64 unused2);
	/* With cpu.bus_locks: a locked access over two lines of the caches is about to be made.
	 * CPU_OK: make it. */
	enum cpu_result (*bus_lock)(struct cpu *c);
	/* cpu.count: at an instruction's end. NULL: nobody counts. */
	void (*counted)(struct cpu *c);
	/* Execute one instruction that is left to C. c->rip is at it. On CPU_OK
	 * c->rip has been moved on. */
	enum cpu_result (*exec)(struct cpu *c, const struct insn *in);
};

/*
 * Optional short cuts to the local APIC. They are called out of translated code: gpr[], rip and
 * the arithmetic flags here are stale, the vector state is live, and neither the mode nor the
 * memory map may change. A refusal (CPU_SLOW) must have had no effect: the instruction is
 * then executed in full. CPU_OK: go on behind it. CPU_POLL: done, and c->poll wants to be seen
 * before the next instruction.
 */
static inline u64 cpu_short_cut(enum cpu_result how, u32 value)
{
	return (u64)how << 32 | value;
}
struct cpu_apic_ops {
	/* MOV of 32 bits to or from the APIC's page at a linear address. */
	u64 (*store)(struct cpu *c, u64 gva, u64 val);
	u64 (*load)(struct cpu *c, u64 gva, u64 unused);
	/* At CPL 0. rdmsr is for MSRs whose upper half is zero. */
	u64 (*wrmsr)(struct cpu *c, u64 msr, u64 val);
	u64 (*rdmsr)(struct cpu *c, u64 msr, u64 unused);
	u64 (*set_tpr)(struct cpu *c, u64 cr8, u64 unused);
	u64 (*get_tpr)(struct cpu *c, u64 unused, u64 unused2);
};

/* Another way to run user code than to translate it (direct/). NULL: there is none. */
enum cpu_direct {
	DIRECT_NOT,	/* nothing was done */
	DIRECT_GO_ON,	/* it has run to where rip is */
	DIRECT_CREEP,	/* the same; now one instruction at a time, until creep says otherwise */
	DIRECT_FAULT,	/* it has run to where rip is, and c->fault is to be delivered */
	DIRECT_LOST,	/* it is gone, and its registers with it */
};
enum cpu_direct_change {
	DIRECT_TABLES,	/* translations of a linear address */
	DIRECT_WRITES,	/* the page at a host address must not be written unnoticed any more */
	DIRECT_CODE,	/* a guest-physical page that may be executed has been written */
	DIRECT_MAP,	/* the guest-physical map */
};
#define DIRECT_ALL (~0ull)	/* for an address */
struct cpu_direct_ops {
	/* On the CPU's own thread: the mode was computed anew. True: CPL 3 was entered. */
	bool (*mode)(struct cpu *c);
	/* At CPL 3, between instructions. */
	enum cpu_direct (*enter)(struct cpu *c);
	enum cpu_direct (*creep)(struct cpu *c);
	/* Vector state may be live. */
	void (*changed)(struct cpu *c, enum cpu_direct_change what, u64 addr);
	/* Any thread, also in signal handlers: poll has been set. */
	void (*call_back)(struct cpu *c);
};

/* Bytes of the XSAVE image we keep: engine/xstate.h, in any host's standard form. */
#define CPU_XSAVE_SIZE 2752

/* What instructions that set TF or RF by themselves say of the traps behind them. */
enum cpu_debug_note {
	NOTE_NO_STEP = 1,	/* INT n: TF was set and the gate has cleared it, no trap follows */
	NOTE_STEP_NOW = 2,	/* SYSCALL, SYSRET: TF as it is now decides, not as it was */
	NOTE_RF = 4,		/* IRET, a task switch: RF is for the next instruction */
};

/* Beside instructions. */
enum cpu_count_kind { COUNT_BRANCH, COUNT_LOAD, COUNT_STORE, COUNT_LOAD_STORE, COUNT_KINDS };

/*
 * What retires, for performance counters (engine/count.c). Its user sets `on` and `left`, and
 * mode_stale, and is asked through cpu_ops.counted when nothing is left and whenever the mode is
 * computed anew while `watched`. Instructions show here only while `on`.
 */
struct cpu_count {
	s64 left;		/* instructions until then */
	u64 n[COUNT_KINDS];
	bool on, watched;
};

struct cpu {
	/* -- touched by translated code; keep together -- */
	u64 gpr[16];
	u64 rip;
	/* System flags (IF DF IOPL AC ...) are always exact here; arithmetic
	 * flags only while C code runs. */
	u64 rflags;
	/* Non-zero: leave translated code at the next poll point. Set by any
	 * thread (release), cleared by the owner before it looks for work. */
	_Atomic u32 poll;
	/* The same for translated code, which compares its stack pointer with it: ~0 is a kick,
	 * else the lowest address at which a call may still put its return address
	 * (engine/returns.c). */
	_Atomic u64 poll_sp;
	/* Vector state of the guest is in the host's registers. */
	u8 fpu_live;
	/* Set by C code that changed CR0/CR4/EFER/XCR0/CPL/a segment/RFLAGS
	 * TF,VM,AC: the engine recomputes its mode before the next block. */
	u8 mode_stale;
	/* Instruction-boundary blocks (APM2 8.1.4): after STI, after MOV SS. */
	u8 shadow_sti;
	u8 shadow_ss;
	/* The engine has taken a shadow away for the instruction at shadow_rip. */
	u8 shadow_left;
	u8 cpl;
	u8 halted;	/* HLT executed; cleared by whoever wakes it */
	u8 single_step;	/* run one instruction per engine_run() call */
	u8 branched;	/* that instruction has transferred control */
	/* enum cpu_debug_note, of the instruction that has retired last; cleared by the owner
	 * before it runs the engine. */
	u8 debug_note;
	u8 in_l2;	/* SVM guest mode (APM2 15.5); set and cleared with mmu_enter_guest()
			 * and mmu_leave_guest() */
	u8 in_smm;	/* system management mode (APM2 10.3); set and cleared by vcpu/smm.c */
	u32 l2_inline;	/* enum cpu_l2_insn: left to C in L2. Meaningful while in_l2. */
	u64 shadow_rip;
	struct cpu_count count;
	u64 debugctl;	/* DEBUGCTL_*: the engine looks at it between units */
	u64 tsc_offset;	/* guest TSC = host TSC (scaled) + offset */
	u64 tsc_ratio;	/* 32.32 fixed point; 1 << 32 = unscaled */

	struct cpu_seg seg[S_COUNT];
	struct cpu_dtr gdtr, idtr;
	u64 cr0, cr2, cr3, cr4;
	u64 efer, xcr0;
	u64 dr[4], dr6, dr7;
	u64 star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 tsc_aux, pat;
	u64 lbr[4];		/* branch from, to, exception from, to (APM2 13.1.1.7) */
	u64 pdpte[4];		/* PAE: loaded with CR3 (APM2 5.2.3) */

	struct cpu_fault fault;
	u64 frames[4];		/* RSP behind the last frames that events have pushed */
	u32 frame;
	/* The instruction whose memory operand is being carried by engine/slow.c, else NULL. */
	const struct insn *accessing;

	/* -- fixed by the vCPU's CPUID -- */
	u64 insn_missing;	/* enum insn_feature that it lacks: see engine_cpuid_changed() */
	u64 cr4_reserved;	/* bits a MOV to CR4 may not set */
	u64 efer_reserved;
	u64 xcr0_supported;
	u8 maxphyaddr;		/* bits */
	u8 has_nx, has_1g_pages, has_pcid, has_smep, has_smap, has_umip, has_fsgsbase, has_tsc_aux,
		has_xsave, has_xgetbv1, has_lm, has_syscall;
	u8 bus_locks;		/* cpu_ops.bus_lock is asked; set before it runs */
	u8 pmcs;		/* performance counters that RDPMC knows */
	u8 null_clears_base;	/* NullSelectorClearsBase (CPUID 8000_0021) */
	u8 sysenter_in_lm;	/* not an AMD CPU: SYSENTER is there in long mode too */
	u8 cpuid_faults;	/* CPUID is for ring 0 only (MISC_FEATURES_ENABLES) */

	const struct cpu_ops *ops;
	void *owner;		/* struct vcpu of the layer above */
	struct engine *engine;
	struct phys *phys;	/* guest-physical map of the VM */
	const struct cpu_direct_ops *direct;	/* set before the CPU runs; or NULL */
	void *direct_state;
	/* The process in which it runs, 0: here. The owner stores it and then looks at poll; who
	 * sets poll looks at it afterwards. */
	_Atomic u32 away;
	struct svm *svm;	/* nested virtualisation; always there */
	u32 index;		/* dense number inside the VM, 0.. */
	/* Guest-physical page for which cpu_apic_ops.store and load may be asked; ~0 = none.
	 * The owner of the CPU changes it between runs or in a callback. */
	u64 apic_page;

	struct cpu_window window[MMU_IDX_COUNT] __attribute__((aligned(64)));
	/* TLB bookkeeping, mmu/ only. One bit per TLB entry, by array
	 * (idx * 2 + write): holds a [global] mapping; was cut from a large page. */
	u64 tlb_used[2][TLB_ARRAYS][TLB_SIZE / 64];
	u64 tlb_large[TLB_ARRAYS][TLB_SIZE / 64];
	/* One bit per word of tlb_used that may be non-zero. */
	u64 tlb_used_words[2][TLB_ARRAYS];
	struct tlb2_entry *tlb2;	/* NULL: there is none */
	u32 tlb2_gen[2], tlb2_wgen;
	u64 tlb2_used[TLB2_SIZE * sizeof(struct tlb2_entry) / 4096 / 64];
	struct mmu_ctx mmu[2];	/* by in_l2 */
	struct mmu_l2 l2;
	/* Translations of pages that are not memory, so that devices cost no walk: of mmu/access.c,
	 * and read by nobody else but cpu_io_page(). */
	struct mmu_io_entry {
		u64 tag;	/* page | acc; ~0 = empty */
		u64 gpa;
		u8 idx;
	} io_tlb[IO_TLB_SIZE];
	u32 phys_hint[2];	/* last slot hit: page tables, data */
	/* The access that is asked about may not come about: no bit of any table is set for it,
	 * and unmarked says that one would have been; tlb_fill then answers CPU_SLOW. Set around
	 * the call. */
	u8 tentative, unmarked;
	/* Data watchpoints in force (DR7 layout; 0 = none), see mmu_set_watch(),
	 * and the DR6 bits of those hit since the owner last cleared them. */
	u64 watch_addr[4];
	u32 watch_dr7, watch_hit;
	u32 pkru;		/* rights of user pages by key, with CR4.PKE: cpu_set_pkru() */

	u8 xsave[CPU_XSAVE_SIZE] __attribute__((aligned(64)));
	struct tlb tlb[MMU_IDX_COUNT] __attribute__((aligned(64)));
};

/* The last slot of an array and the first one of the next are in one page. */
_Static_assert(offsetof(struct cpu, tlb) % 4096 != 0, "tlb_array_init() touches a page, not two");

static inline bool cpu_in_lm(const struct cpu *c) { return c->efer & EFER_LMA; }
static inline bool cpu_in_64(const struct cpu *c)
{
	return (c->efer & EFER_LMA) && (c->seg[S_CS].attr & SEG_L);
}
static inline bool cpu_real_mode(const struct cpu *c) { return !(c->cr0 & CR0_PE); }
static inline bool cpu_v86(const struct cpu *c)
{
	return (c->cr0 & CR0_PE) && (c->rflags & FL_VM);
}
/* Was gva's page found to be the page gpa, which is not memory, for such an access? */
static inline bool cpu_io_page(const struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx,
			       u64 gpa)
{
	const struct mmu_io_entry *io = &c->io_tlb[(gva >> PAGE_SHIFT) % IO_TLB_SIZE];

	return io->tag == ((gva & PAGE_MASK) | acc) && io->idx == idx && io->gpa == gpa;
}
/* The TLB for a privilege in the current guest mode; idx may be of that mode already. */
static inline enum mmu_idx cpu_idx_here(const struct cpu *c, enum mmu_idx idx)
{
	return c->in_l2 && idx < MMU_L2 ? idx + MMU_L2 : idx;
}
static inline enum mmu_idx cpu_mmu_idx(const struct cpu *c)
{
	return cpu_idx_here(c, c->cpl == 3	     ? MMU_USER
			       : (c->rflags & FL_AC) ? MMU_KERNEL_AC
						     : MMU_KERNEL);
}
static inline void cpu_direct_changed(struct cpu *c, enum cpu_direct_change what, u64 addr)
{
	if (unlikely(c->direct))
		c->direct->changed(c, what, addr);
}
static inline void cpu_mode_changed(struct cpu *c) { c->mode_stale = 1; }

/* An instruction has retired that translated code has not counted. */
static inline void cpu_count_retired(struct cpu *c, bool branch)
{
	c->count.left--;
	c->count.n[COUNT_BRANCH] += branch;
}

/* Offsets in CS, of the branch and of what runs next (APM2 13.1.6.1). */
static inline void cpu_record_branch(struct cpu *c, u64 from, u64 to)
{
	c->lbr[0] = from;
	c->lbr[1] = to;
}

/* A #DB stops both and leaves the records alone (APM2 13.1.6). */
static inline void cpu_debugctl_db(struct cpu *c)
{
	c->debugctl &= ~(DEBUGCTL_LBR | DEBUGCTL_BTF);
}

/* Raise an exception from C: `return cpu_raise_err(c, EXC_GP, 0);` */
static inline enum cpu_result cpu_raise(struct cpu *c, u8 vector)
{
	c->fault = (struct cpu_fault){ .vector = vector };
	return CPU_FAULT;
}
static inline enum cpu_result cpu_raise_err(struct cpu *c, u8 vector, u32 error)
{
	c->fault = (struct cpu_fault){ .vector = vector, .has_error = true, .error = error };
	return CPU_FAULT;
}

/* Data references of this CPU must be aligned now (APM2 8.2.18). */
static inline bool cpu_align_checked(const struct cpu *c)
{
	return c->cpl == 3 && (c->rflags & FL_AC) && (c->cr0 & CR0_AM);
}
/* CPU_OK or #AC(0) for a reference to `lin` of a type that `mask` + 1 aligns. */
static inline enum cpu_result cpu_align(struct cpu *c, u64 lin, u32 mask)
{
	if (likely(!(lin & mask) || !cpu_align_checked(c)))
		return CPU_OK;
	return cpu_raise_err(c, EXC_AC, 0);
}

#endif
