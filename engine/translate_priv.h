/* SPDX-License-Identifier: MIT */
/* engine/translate_priv.h - shared by the passes of the translator. */
#ifndef ENGINE_TRANSLATE_PRIV_H
#define ENGINE_TRANSLATE_PRIV_H

#include "engine/engine_priv.h"

/* How an instruction is handled (classify.c decides, lower*.c emit). */
enum insn_class {
	CL_COMPUTE,	/* re-encoded and run by the host */
	CL_NOP,
	CL_LEA,
	CL_MOFFS,	/* MOV accumulator, [absolute] */
	CL_PUSH_REG, CL_PUSH_IMM, CL_PUSH_MEM, CL_POP_REG, CL_LEAVE,
	CL_JCC, CL_JMP, CL_JMP_IND, CL_CALL, CL_CALL_IND, CL_RET,
	CL_JMP_ON, CL_CALL_ON,	/* and the unit goes on at the target */
	CL_LOOP, CL_JCXZ,
	CL_SWAPGS, CL_CLI, CL_STI,	/* at CPL 0 */
	CL_PUSHF,
	CL_GET_SREG,	/* MOV register, segment register */
	CL_REP,		/* REP MOVS or STOS that stays in its pages, else C */
	CL_WRMSR, CL_RDMSR, CL_SET_CR8, CL_GET_CR8,	/* at CPL 0: apic.c, else C */
	CL_EXEC,	/* C handler of the layer above */
	CL_SLOW,	/* slow_exec() */
	CL_UD,
	CL_NM,		/* FPU, SSE or AVX is not enabled */
};

struct access {
	u8 base, index, scale, seg;
	u8 addrsize;
	bool write;
	bool stack;	/* stack access: addrsize is the stack's */
	u8 bitreg;	/* BT family: register whose bits above the operand move the address */
	u32 size;
	s64 disp;
};

/* A general register in a field of the instruction, which may be given another number. */
enum field { F_REG, F_RM, F_VVVV, F_OPC };
struct greg_field {
	u8 where;	/* enum field */
	u8 greg;
	u8 size;
	bool high : 1;	/* AH BH CH DH */
	bool load : 1, store : 1;
};

/* How to write a CL_COMPUTE again (encoding.c). */
struct encoding {
	u8 reg, rm, vvvv;	/* fields as they stand, with extension bits: of what is not
				 * renamed */
	u8 imm_at, imm_len;	/* copied as they stand */
	u8 vex_lpp, vex_map;	/* L and pp where the third byte has them; vex_map 0: no VEX, no
				 * EVEX */
	u8 evex_last;		/* z, L'L, b and aaa where EVEX's last byte has them */
	bool evex;
	u8 n_fields;
	u16 used;		/* host registers touched otherwise */
	bool opsize : 1, repne : 1, rep : 1, lock : 1, w : 1;
	bool high : 1;		/* one of the fields is */
	bool writes_rcx : 1;	/* without a field */
	bool is4 : 1;		/* bit 7 of the immediate must not get there */
	struct greg_field f[4];
};

/* One instruction of the unit being built. */
struct di {
	/* -- follows from its bytes and the mode, and is remembered (decode_memo.c) -- */
	struct insn in;
	struct access acc[2];
	struct encoding enc;
	u16 fl_read, fl_kill;	/* arithmetic flags */
	u16 gpr_written;
	u16 rules;	/* enum insn_rule (engine/insns.h) */
	u8 cls;
	u8 n_acc;
	u8 greg;		/* the register of CL_PUSH_REG, CL_POP_REG and of `add` */
	s8 add;			/* ADD (1) or SUB (-1) of an immediate to a whole register, else
				 * 0 */
	bool fpu;
	bool bitop;		/* BT/BTS/BTR/BTC mem, reg */
	bool spares;		/* spares_flags(), but for `shadowed` */
	bool needs_rcx;		/* host RCX must hold guest RCX */
	bool too_long;
	bool exits;		/* may leave the unit after it (side exit) */
	/* -- this one -- */
	bool shadowed;		/* the instruction after STI: interrupts are let in behind it */
	u16 off;
	u64 rip;
	struct cpage *to;	/* CL_JMP_ON, CL_CALL_ON: the page entered; NULL: the unit's */
	u32 live;		/* live before the instruction */
	u32 live_out;		/* live after it */
	bool reload;		/* the group's pointer is in engine.group_ptr[], not in SCR_PTR any
				 * more */
	bool keep_ptr;		/* SCR_PTR is still needed after it */
	s8 group;		/* index of the group acc[0] belongs to, or -1 */
	s32 group_off;		/* from the group's first byte */
};

struct group {
	struct access a;	/* of the lowest byte, at the check */
	u32 len;
	bool write;
	u8 at;			/* check goes before this instruction */
	u8 first, last;		/* instructions that use it */
	u8 count;
	s64 lo, hi;		/* range relative to the first access */
	bool save_flags;
	bool exit_since;	/* the unit may be left between its first access and the next one */
	s8 kept;		/* in engine.group_ptr[]: other accesses stand in between; -1:
				 * not */
	u16 base_ver, index_ver;
	s32 index_off;
	s32 add;		/* constant part of the pointer, known at the check */
};

/* Where the guest's arithmetic flags are. */
enum flags_at {
	FLAGS_HOST,	/* in the host's */
	FLAGS_SAVED,	/* in save_flags, and RAX in save_rax */
	FLAGS_ASIDE,	/* in save_flags; RAX is where it belongs */
};

struct cold_stub {
	u8 *site;		/* rel32 (rw address) to point at the stub */
	struct record *rec;
	u8 flags;		/* enum flags_at */
	u8 again;		/* enum again */
	bool lost;		/* no record: emit_return_lost() */
	bool doubt;		/* itlb_confirm() may know better, then on behind the site */
	u16 window;		/* bytes that the stack's window missed (window.c); 0: none */
	u32 behind;		/* where to go on with the pointer, if it is found after all */
	union {
		struct access a;	/* AGAIN_EA */
		u64 ret;		/* lost */
	};
};

/* A missed check may ask again (again.c): what is left of the address. */
enum again {
	AGAIN_NEVER,
	AGAIN_SUB,	/* less the slot's tag, and the slot */
	AGAIN_EA,	/* nothing, and the flags are live */
};

/* What the forms of emit.h may not write. */
enum hold {
	HOLD_FLAGS = 1,	/* the guest's are in the host's, and live */
	HOLD_PTR = 2,	/* SCR_PTR is a group's pointer */
};

#define MAX_GROUPS UNIT_MAX_INSNS
#define MAX_COLD (UNIT_MAX_INSNS * 7 + 16)	/* REP MOVS has seven */

/* CALL of memory: two accesses, an address. */
#define MAX_FIXUPS (UNIT_MAX_INSNS * 7)

struct translator {
	struct engine *e;
	u8 *p;			/* rw cursor, hot */
	u32 mode;
	u64 cs_base;
	enum unit_way way;
	struct unit *u;
	u32 n;
	u32 n_groups, n_cold;
	u32 open_from;		/* the groups from this one on can still be joined */
	bool oom;
	bool grouped;	/* ver[] holds */
	bool may_move;	/* the unit: it is in a place that address randomisation moves */
	bool rip_operand;	/* the access that is being checked: its address moves too */
	u32 n_fixups;
	struct fixup fixups[MAX_FIXUPS];
	struct unit_insn at[UNIT_MAX_INSNS];
	struct di d[UNIT_MAX_INSNS];
	struct group g[MAX_GROUPS];
	bool check_at[UNIT_MAX_INSNS];	/* a group's check goes before the instruction */
	bool tlb_at[UNIT_MAX_INSNS];	/* ... and one of them asks the TLB */
	struct cold_stub cold[MAX_COLD];
	struct regver {
		u16 ver[16];
		s32 off[16];
	} ver[UNIT_MAX_INSNS];
	struct di peek;
	/* What Zydis says of the instruction being decoded. */
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	struct memo *memo;	/* decode_memo.c; NULL until it is worth its memory */
	/* Up to this place SCR_TMP is known to hold a guest register whose home is memory. */
	const u8 *tmp_at;
	u8 tmp_greg;
	/* Flags that are live across several checks are put aside once (lower_mem.c). */
	bool may_aside;		/* by a check of this instruction */
	bool aside;		/* they are: FLAGS_ASIDE */
	bool aside_used;	/* ... during an access of this instruction */
	struct rec_tlb *apic_rec;	/* of this instruction's access, if apic_patch() may want
					 * it */
	/* enum hold: what is still needed; and what was written all the same */
	u8 hold, spoilt;
	u32 n_spilled;
	u8 spill_reg[2];
};

static inline bool t64(const struct translator *t)
{
	return (t->mode & MODE_SIZE) == MODE_SIZE64;
}

/* translate.c */
/* The instruction at an offset of a page, of which n bytes may be looked at. */
bool decode_insn(struct translator *t, struct di *d, struct cpage *cp, u32 off, u32 n, u64 rip);
void note_peek(struct unit *u, u32 from, u32 to);

/* follow.c: the last instruction decoded is a jump: add what it leads to to the unit, if it may
 * be. */
void follow(struct translator *t);

/* decode_memo.c: decode and classify what stands at p, of which n bytes may be looked at. d->rip
 * and d->off are the caller's to set, afterwards. */
#define DECODE_MEMO_AFTER 2000u	/* units: a small guest does without the memory */
ZyanStatus decode_one(struct translator *t, struct di *d, const u8 *p, u32 n);
/* Only what it is: not the values of displacements and immediates. Until the next instruction is
 * decoded; NULL: none. */
const struct di *decode_peek(struct translator *t, const u8 *p, u32 n);
/* The same as the first without the memory. */
ZyanStatus decode_afresh(struct translator *t, struct di *d, const u8 *p, u32 n);
/* What an instruction is has changed. */
void memo_forget(struct translator *t);

/* classify.c: from t->zi, t->op and d->in; the rest of what is remembered is zero */
void classify(struct translator *t, struct di *d);

/* encoding.c: likewise, of an instruction that is classified */
void note_registers(struct translator *t, struct di *d);
void note_encoding(struct translator *t, struct di *d);

/* The four or eight bytes at `at` (rw) of the unit's code. */
static inline void note_fixup(struct translator *t, const u8 *at, u32 kind)
{
	if (t->n_fixups == MAX_FIXUPS) {
		t->u->fixed = true;
		return;
	}
	t->fixups[t->n_fixups++] = (struct fixup){
		.at = (u16)((u32)(at - t->e->mem.rw) - t->u->code), .kind = (u16)kind,
	};
}

/* lower_mem.c */
/* The slot of the TLB tells these bits of a page's address; the four bytes above them are compared
 * where that is enough. */
#define TLB_PAGE_SHIFT (PAGE_SHIFT + TLB_BITS)
_Static_assert(TLB_PAGE_SHIFT % 8 == 0, "bytes of tlb_entry.tag");
enum { TLB_MINUS_AT = 7 };	/* of FIX_TLB_MINUS_PAGE: from the one to the other */
/* Before the instruction at rip; of instruction d, or (grouped) of more than the one at rip. */
s32 emit_check(struct translator *t, const struct access *a, u32 len, bool write, u64 rip,
	       const struct di *d, bool grouped, bool save_flags);
void emit_access(struct translator *t, struct di *d, u32 n, int *ptr, s32 *off);
void emit_ea_flagless(struct translator *t, const struct access *a, bool again);
void emit_ea_plain(struct translator *t, const struct access *a);	/* the offset into SCR_PTR;
									 * SCR_TMP is lost */
u8 *emit_tlb_check(struct translator *t, const struct tlb_entry *te, u32 len);
/* The status flags to AH and AL (OF), and back. */
void emit_flags_to_ax(struct translator *t);
void emit_flags_from_ax(struct translator *t);
void emit_flags_save(struct translator *t, bool keep_rax);
void emit_flags_restore(struct translator *t);
void emit_flags_unaside(struct translator *t);	/* from FLAGS_ASIDE to FLAGS_HOST */
void emit_flags_aside(struct translator *t);	/* FLAGS_ASIDE from here on; only before what spares
						 * them */
void emit_flags_back(struct translator *t);	/* FLAGS_ASIDE is over, if it has begun */
void emit_fpu_check(struct translator *t, u64 rip, bool save_flags);
bool access_const(const struct translator *t, const struct access *a);

/* window.c */
/* Has this access, of 64-bit code, the stack's window for its check? */
bool window_serves(const struct translator *t, const struct access *a);
void emit_window_check(struct translator *t, const struct access *a, u32 len, struct rec_tlb *r,
		       bool save_flags);
void emit_window_miss(struct translator *t, const struct cold_stub *s);	/* goes on if it fails */
void window_stubs(struct translator *t);

/* again.c */
void emit_again(struct translator *t, const struct cold_stub *s);	/* goes on if it fails */
void again_stubs(struct translator *t);

/* apic.c */
u8 apic_class(const struct translator *t, const struct insn *in, ZydisMnemonic m);
void emit_apic(struct translator *t, const struct di *d);
void apic_stubs(struct translator *t);
/* A subroutine that calls *fn(c, rcx, rsi) with nothing else changed. */
u8 *emit_call(struct translator *t, const void *fn, bool pair);
void call_rx(struct translator *t, const u8 *rx);

/* count.c */
void emit_count(struct translator *t);

/* lower_system.c */
void emit_cli(struct translator *t);
void emit_swapgs(struct translator *t);
void emit_sti(struct translator *t);
void emit_shadow_end(struct translator *t, u64 rip);
void emit_pushf_value(struct translator *t);
void emit_get_sreg(struct translator *t, const struct insn *in);
bool rep_inline(const struct translator *t, const struct insn *in);
void emit_rep(struct translator *t, struct di *d);

/* returns.c */
void returns_stubs(struct translator *t);
/* Does the guest's call or return use the host's stack as well? */
bool returns_pair(const struct translator *t, const struct di *d);
void emit_return(struct translator *t);	/* the guest's RIP is in SCR_PTR */
/* Behind a host's CALL: the way back to `to`, or wherever RIP in SCR_PTR says. */
void emit_return_site(struct translator *t, u64 from, u64 to);
void emit_return_lost(struct translator *t, const struct cold_stub *s);

/* lower.c */
void emit_compute(struct translator *t, struct di *d, int ptr, s32 off, bool keep_ptr);
void emit_lea(struct translator *t, struct di *d, bool keep_ptr);
void store_greg(struct translator *t, u8 g, int src, u32 size);
int load_greg(struct translator *t, u8 greg, int tmp);

/* lower_branch.c */
void emit_link(struct translator *t, u64 from, u64 target);
void emit_call_link(struct translator *t, u64 from, u64 target);
void emit_ind_jump(struct translator *t, u32 opsize, bool call);
void emit_branch_at(struct translator *t);
void emit_jcc_link(struct translator *t, u8 cc, u64 from, u64 target);
void emit_branch(struct translator *t, struct di *d, u32 i);
void emit_stack(struct translator *t, struct di *d, u32 i);
void emit_exit(struct translator *t, u8 kind, u64 rip, struct insn *in);
void emit_exec(struct translator *t, const struct di *d);
void emit_entry(struct translator *t);
void need_rcx_zero(struct translator *t, struct record *r);
void emit_cold(struct translator *t);

struct record *new_record(struct translator *t, u8 kind, u64 rip);
struct rec_tlb *new_tlb_record(struct translator *t, u64 rip);
void add_cold(struct translator *t, u8 *site, struct record *rec, enum flags_at flags);
struct insn *keep_insn(struct translator *t, const struct di *d);

#endif
