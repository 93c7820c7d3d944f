/* SPDX-License-Identifier: MIT */
/*
 * engine/engine_priv.h - data structures of the translator.
 *
 * Everything here belongs to one vCPU and is touched by its thread only: each
 * vCPU has its own code cache, so no translated code, link or table is shared.
 *
 * Terms. A *unit* is one translated run of guest instructions inside one guest
 * page, with one entry and several exits. A *record* describes one place where
 * a unit leaves translated code. A *code page* is one (linear page, physical
 * page) pair; its token proves that the mapping still holds.
 */
#ifndef ENGINE_PRIV_H
#define ENGINE_PRIV_H

#include <Zydis/Zydis.h>

#include "base/options.h"
#include "engine/engine.h"

/*
 * Where guest registers are while translated code runs. Scratch registers must
 * be legacy ones (instructions with AH..DH cannot take a REX prefix), so guest
 * RCX and RSI move up and guest R13-R15 stay in memory.
 */
enum {
	H_RAX, H_RCX, H_RDX, H_RBX, H_RSP, H_RBP, H_RSI, H_RDI,
	H_R8, H_R9, H_R10, H_R11, H_R12, H_R13, H_R14, H_R15,
};
#define SCR_PTR H_RCX	/* host pointer of the current access or group */
#define SCR_TMP H_RSI
#define HREG_MEM 0xff
extern const u8 engine_hreg[16];

/* -- execution mode: what a translation depends on besides its bytes -- */
enum {
	MODE_SIZE = 0x3,	/* 0: 16-bit, 1: 32-bit, 2: 64-bit code */
	MODE_SIZE16 = 0, MODE_SIZE32 = 1, MODE_SIZE64 = 2,
	MODE_IDX_SHIFT = 2, MODE_IDX = 0x7 << 2,	/* enum mmu_idx; tells L1 from L2 too */
	MODE_FLAT = 1 << 5,	/* DS ES SS: base 0, 4 GiB, writable */
	MODE_SS32 = 1 << 6,	/* 32-bit stack pointer */
	MODE_X87 = 1 << 7,	/* x87/MMX usable */
	MODE_SSE = 1 << 8,
	MODE_AVX = 1 << 9,
	MODE_CPL0 = 1 << 10,
	MODE_FWAIT = 1 << 11,	/* WAIT raises #NM */
	MODE_CSBASE = 1 << 12,	/* cs_base != 0, or CS ends below 4 GiB */
	MODE_ALIGN = 1 << 13,	/* misaligned data references raise #AC */
	MODE_LA57 = 1 << 14,	/* addresses may differ by more than 2^48 */
	MODE_L2_FLAGS = 1 << 15,	/* L2: CLI or PUSHF is L1's business */
	MODE_NOVEX = 1 << 19,	/* real and virtual-8086 mode: no VEX encodings */
	MODE_AVX512 = 1 << 20,
	MODE_COUNT = 1 << 21,	/* what retires is counted (count.c) */
	/* all of the above come from the CPU state */
	MODE_CPU = 0xffff | MODE_NOVEX | MODE_AVX512 | MODE_COUNT,
	/* flavours of a unit */
	MODE_NOGROUP = 1 << 16,	/* every access checked on its own */
	MODE_BOUNCE = 1 << 17,	/* one instruction, memory operand in the bounce buffer */
	MODE_STEP = 1 << 18,	/* one instruction */
};
static inline u32 mode_bytes(u32 mode) { return 2u << (mode & MODE_SIZE); }
static inline enum mmu_idx mode_idx(u32 mode)
{
	return (enum mmu_idx)((mode & MODE_IDX) >> MODE_IDX_SHIFT);
}

/* Execute translations are kept apart by guest mode and CPL 3. */
#define ITLB_CLASSES 4
static inline u32 itlb_class(enum mmu_idx idx)
{
	return (idx >= MMU_L2 ? 2 : 0) + (idx % MMU_L2 == MMU_USER);
}

#define UNIT_MAX_INSNS 48
/* A kernel with its modules runs in more than 1024 pages: at 10 bits most entries of units were
 * refused because of another page in the slot. */
#define ITLB_BITS 12
#define ITLB_SIZE (1u << ITLB_BITS)
#define JC_BANKS (4 * MMU_IDX_COUNT)	/* jump_cache.c */
#define JC_UNUSED (~0u)
#define JC2_MULT 0x9e3779b1u
#define UNIT_HASH_BITS 17
#define NARROW_BITS 12
#define CPAGE_HASH_BITS 12
#define RF_UNITS 64
#define LIVE_MAX 16
#define CODE_LINE_SHIFT 6	/* validation granule: 64 bytes */

struct unit;
struct cpage;

enum record_kind {
	REC_LINK,	/* direct jump to `target`, not linked yet */
	REC_INDIRECT,	/* jump cache miss: target RIP in c->rip already */
	REC_TLB,	/* access check failed */
	REC_EXEC,	/* instruction is done by C */
	REC_ENTRY,	/* unit entry refused: mapping token stale */
	REC_POLL,	/* c->poll was set */
	REC_FPU,	/* vector state must be loaded */
	REC_UD,		/* #UD */
	REC_NM,		/* FPU not available: #NM or #UD by state */
	REC_BOUNCED,	/* the bounce unit has run its instruction */
	REC_STEPPED,
	REC_SLOW,	/* slow_exec() */
	REC_TOO_LONG,	/* #GP: more than 15 bytes */
	REC_FAULT,	/* host signal in translated code */
	REC_COUNT,	/* more instructions than may retire (count.c) */
	REC_DONE,	/* C was called for an instruction: engine.done_res */
};
_Static_assert((int)REC_LINK == WORK_left_link && (int)REC_TLB == WORK_left_access &&
		       (int)REC_FPU == WORK_left_fpu && (int)REC_STEPPED == WORK_left_stepped &&
		       (int)REC_DONE == WORK_left_done,
	       "engine_counts.n[]");

/*
 * A guest has hundreds of thousands of units, most of which run a few times: what is kept about
 * each is as much memory as its code. Places in code memory are offsets from its start
 * (codemem_at()), and a record is as long as its kind needs.
 */
struct record {
	u8 kind;
	/* REC_TLB */
	bool write : 1;
	bool special : 1;	/* a fault depends on what insn is */
	bool grouped : 1;	/* more than the instruction at rip is covered */
	bool site_flags : 1;	/* the check has put the flags aside */
	bool site_const : 1;	/* the address is part of the code */
	bool aside : 1;		/* and before it: `resume` wants them in save_flags */
	/* REC_LINK */
	bool backward : 1;	/* poll at the target */
	bool cross : 1;		/* leaves the page */
	u16 len;	/* REC_TLB: bytes. REC_LINK: 1 = a call */
	u32 resume;	/* REC_TLB, REC_FPU: try again here */
	s64 rel;	/* record_rip(), from the unit's rip on */
	struct unit *unit;
	union {
		struct unit *linked;	/* REC_LINK */
		/* REC_EXEC, REC_SLOW, REC_NM. REC_TLB: NULL until record_insn() is asked. */
		struct insn *insn;
	};
};

struct rec_link {	/* REC_LINK */
	struct record r;
	u32 patch;	/* the rel32 */
	u32 stub;	/* where it points while unlinked */
	struct rec_link *next;	/* of r.unit */
	struct rec_link *next_in;	/* list of links into r.linked */
};

struct rec_tlb {	/* REC_TLB */
	struct record r;
	u32 patch;	/* the rel32 of the check, for apic_patch(); 0 = not suited */
	u32 behind;	/* behind the instruction */
	/* address of the first byte: an insn-like expression; INSN_RIP is record_rip() */
	s64 disp;
	u8 base, index, scale, seg, addrsize;
	u8 bitreg, bitsize;
	u8 crossed : 7;	/* the group lay in two pages so often */
	bool flagless : 1;	/* the check has spared the flags, and left nothing of the
				 * address */
};
_Static_assert(sizeof(struct rec_link) <= 56 && sizeof(struct rec_tlb) <= 56, "a cache line");

/* The RIP of the instruction that a record is about; of REC_LINK, the target's. */
static inline u64 record_rip(const struct record *r);

static inline struct rec_link *link_of(struct record *r) { return (struct rec_link *)r; }
static inline struct rec_tlb *tlb_of(struct record *r) { return (struct rec_tlb *)r; }

/* For host signals: where an instruction of a unit is. */
struct unit_insn {
	u16 host : 15;	/* offset from unit.code */
	u16 aside : 1;	/* the flags are in engine.save_flags when its operand is accessed */
	u8 spilled[2];	/* host registers in engine.spill[], 0xff = none */
	s32 guest;	/* offset from unit.rip */
};

struct unit {
	/* -- one cache line: what a look-up reads -- */
	u64 lin;	/* linear address of the first byte */
	struct cpage *cp;
	u32 cs_base, cs_limit;	/* not of 64-bit code: 0, ~0 */
	struct unit *hash_next;
	struct cpage *cp2;	/* page-crossing single instruction: second page */
	u32 mode;
	u16 len;	/* guest bytes */
	u8 n_insns;
	bool dead : 1;
	bool served : 1;	/* C may carry out its first instruction in line, or may not
				 * (apic.c) */
	bool fixed : 1;	/* cannot go to another address (move.c) */
	bool beyond : 1;	/* one instruction, which CS's limit cuts: never entered */
	bool branch : 1;	/* the last instruction is one; of MODE_COUNT */
	/* Flags are live where it begins: e_poll looks for a kick only, calls come by e_cross. */
	bool live : 1;
	bool jc2 : 1;		/* it has been put into engine.jc2 */
	bool crossed : 1;	/* links of other pages have led to it */
	/* entries, in code memory; e_ind and e_cross are 0 until somebody wants them */
	u32 e_ind, e_cross, e_poll, e_body;
	/* -- the rest -- */
	u64 rip;	/* offset within CS */
	u32 code, code_end;
	struct unit *page_next;	/* units of cp */
	union {
		struct unit *page2_next;	/* units that end in cp2 */
		struct unit *move_next;		/* without cp2: while units move */
	};
	struct rec_link *links_in;
	struct rec_link *links;
	struct unit_insn *insns;
	u16 peek_lo, peek_hi;	/* bytes of the page looked at to find dead flags */
	u32 n_fixups;	/* behind insns[] */
};
_Static_assert(sizeof(struct unit) <= 128, "two cache lines");

static inline u64 record_rip(const struct record *r) { return r->unit->rip + (u64)r->rel; }

/* A place in a unit's code that depends on the address that its page is mapped at (move.c). */
struct fixup {
	u16 at;		/* offset from unit.code */
	u16 kind;
};
enum {
	FIX_RIP,	/* a 64-bit address */
	FIX_MINUS_RIP,	/* its negative */
	FIX_TLB,	/* the 32-bit address of something in a TLB entry */
	/* The same of a page that is compared by four bytes of its address (lower_mem.c): those
	 * stand behind it, and in the form that spares the flags their negative. */
	FIX_TLB_PAGE,
	FIX_TLB_MINUS_PAGE,
};
static inline struct fixup *unit_fixups(const struct unit *u)
{
	return (struct fixup *)(u->insns + u->n_insns);
}

/* What this vCPU has translated of one physical page. */
struct ppage {
	u64 gpa;
	struct ppage *hash_next;
	struct cpage *cpages;
	u64 lines;	/* 64-byte lines that units cover */
	u32 checked;	/* engine->suspect_gen at which bytes were last compared */
	u32 writes;	/* slow stores since the last validation */
	u32 ref;	/* result of ops->code_page; 0: not held */
	const u8 *host;
	u8 *copy;	/* the bytes as translated, valid in `lines` */
};

#define CPAGE_PAST 14
struct cpage {
	u64 lin;
	u64 used;	/* when it was last put into an execute-TLB slot: the host's TSC */
	u64 token;	/* of its own, see TOKEN_SHIFT */
	struct ppage *pp;
	struct cpage *hash_next;
	struct cpage *pp_next;
	struct unit *units;
	struct unit *units2;	/* units that end in this page */
	struct unit_dep *deps;
	u32 held;	/* the last engine.move_gen in which it was resolved */
	bool moved;	/* once at least: likely again (follow.c) */
	/* Execute-TLB slots of where it was since all of its units have moved for the last time. */
	u16 past[CPAGE_PAST];
	u32 n_past;
};

/* A unit that has followed a jump into this page: bytes [lo, hi) of it are in the unit. */
struct unit_dep {
	struct unit *u;
	struct unit_dep *next;
	u16 lo, hi;
};

/*
 * The upper 16 bits of a token are its page's own. One sum compares a token and an address
 * (emit_ind()): the numbers are odd, so tokens differ by more than any two canonical addresses do.
 * The other bits are noise: no address that is not canonical makes up for the difference, but by a
 * chance of 2^-48.
 */
#define TOKEN_SHIFT 48
#define TOKEN_MAX 0xffffu

struct itlb_slot {
	u64 tag;	/* linear page | 1, 0 = empty */
	struct cpage *cp;
	struct ppage *pp;	/* cp->pp */
	u64 global;
};

struct code_mem {
	u8 *rx;		/* executable mapping */
	u8 *rw;		/* writable alias of the same pages */
	u64 size;
	void *reserved;	/* all that the engine has, see codemem.c */
	u64 reserved_bytes;
	u8 *hot, *hot_start, *hot_end;	/* rx addresses */
	u8 *cold, *cold_start, *cold_end;
	u8 *hot_there, *cold_there;	/* memory exists up to here, as far as we have cared */
};

/* Bump allocator; freed as a whole. */
struct arena {
	u8 *mem;
	size_t used, size;
};

/* More units than code memory of that size holds. */
#define UNITS_MAX(code_bytes) ((code_bytes) / 64)
#define MEMO_BYTES (2u << 20)	/* decode_memo.c */

struct seg_lim {
	u64 read, write;	/* offsets below this may be accessed; 0 = ask C */
};

/* RIPs from first to last, if it is on. */
struct rip_range {
	u64 first, last;
	bool on;
};
static inline bool in_range(const struct rip_range *r, u64 rip)
{
	return r->on && rip >= r->first && rip <= r->last;
}

/* Of struct cpu_ops what translated code calls, where its 32-bit addresses reach; NULL: not
 * called. */
struct near_calls {
	u64 (*sti)(struct cpu *c, u64 unused, u64 unused2);
	u64 (*tlb_again)(struct cpu *c, u64 gva, u64 what);
};

struct engine {
	/* -- addressed by translated code (the struct is below 2 GiB) -- */
	u64 host_rsp;		/* while no guest's call is on the host's stack */
	u64 call_rbx;		/* of the guest, while C is called out of translated code */
	u64 save_rax;	/* flag save area of access checks */
	u64 save_flags;
	u64 spill[2];
	u64 tmp, tmp2;
	u64 bounce_ptr;
	u32 jc_mask[JC_BANKS];	/* the bits of RIP that choose a slot */
	u8 cli_table[256];	/* second byte of RFLAGS with IF cleared */
	u64 bit_mask[3];	/* 15, 31, 63: flag-free AND through PEXT */
	u64 group_ptr[UNIT_MAX_INSNS];	/* what several groups of a unit share SCR_PTR with */
	u64 page_bits;		/* of a linear address, for PEXT */
	u64 slot_bits;		/* of an offset in a TLB array, for PDEP */
	/* page_bits, and those that 1, 2, 4, 8 bytes in one page have clear if they are aligned */
	u64 window_bits[4];
	/* of a stack pointer's distance from its limit: none of them may be set */
	u64 ret_bits;
	u8 *ret_none;		/* stub_ret_none of the mode as it is now */
	u32 again_turn;		/* again.c */
	u64 ea;			/* of a check without flags, where it cannot be computed twice */
	/* The indirect branch that was made last: offset in code memory. 0: C has set RIP. */
	u32 branch_at;
	u64 pushed_over;	/* by an indirect CALL: what was on the stack */
	u32 exit_flags;	/* LAHF in bits 8-15, OF in bit 0 */
	u64 apic_rax, apic_flags, apic_saved[6];	/* during a call of apic_fn */
	struct cpu_apic_ops apic_fn;
	struct near_calls near;
	u64 (*confirm_fn)(struct cpu *c, const struct unit *u);	/* itlb_confirm() */
	/* engine_exec_in_line(), and by which record translated code is left when it says so. */
	u8 *(*exec_in_line)(struct engine *e, struct record *r);
	struct record *left_by;
	struct seg_lim lim[6];
	/* What has lost its slot to another: 2^jc2_bits of them. */
	struct jc2_entry {
		u64 rip, salt;	/* both must be those wanted: a RIP may be any number */
		u8 *code;	/* e_cross */
		u64 unused;
	} * jc2;
	u64 jc_salt;		/* of the mode as it is now; never 0 */
	u64 itlb_token[ITLB_CLASSES][ITLB_SIZE];	/* 0 = must ask C */
	u8 bounce[1024] __attribute__((aligned(64)));

	/* -- C only -- */
	/* Where the operand was that an instruction had alone, and its linear address. */
	u64 x87_host, x87_lin;
	bool env_used;	/* the guest uses FNSTENV or FNSAVE, which show the x87's pointers */
	struct cpu *c;
	u32 mode;
	u32 cs_base, cs_limit;
	u8 **jc_slots;	/* with jc2 behind this struct; below 2 GiB, too */
	u32 jc2_bits;
	size_t map_bytes;	/* of struct cpu and all that */
	struct jc_bank {
		u8 **slots;
		u64 salt;
		u32 mode;	/* JC_UNUSED: the slots are not filled in yet */
	} jc[JC_BANKS];
	/* Modes of 64-bit code that have been computed, by guest mode and CPL (mode.c). */
	struct mode_memo {
		u64 key;
		u32 mode, bank;
	} modes[2][4];
	struct itlb_slot *itlb[ITLB_CLASSES];
	u64 next_salt;
	u32 next_token;
	u64 token_noise;
	u32 suspect_gen;
	/* TSC of the last look that was for an event that comes often. 0: another came since. */
	u64 suspected;
	u64 look_wait;		/* so long after it pays to do that again (itlb.c) */
	/* The slots of the mode as it is now, and what chooses among them. */
	u8 **jc_now;
	u32 jc_now_mask;
	/* Events that come often (engine_serialise()): since when, how many have looked at the
	 * clock, and how many more need not. */
	u64 burst_began;
	u32 burst_seen, burst_left;
	/* Units that were entered with RF set, by RIP: a page that is not there yet is met by the
	 * same instruction again and again. */
	struct unit *rf_units[RF_UNITS];
	u32 rechecks;		/* in a row */
	u32 move_gen;		/* move.c */
	bool may_move;
	bool move_eager;	/* STANDIN_MOVE: as often as possible (debugging aid) */
	struct code_mem mem;
	struct arena arena;
	struct unit **hash;
	struct cpage **cpages;
	struct ppage **ppages;
	struct unit **by_addr;	/* in order of code address */
	u32 n_units, cap_units;
	u8 *pool, *pool_end, *memo;	/* codemem.c */
	struct record fault_rec;
	u64 fault_address;
	struct record miss_rec;
	struct record done_rec;
	enum cpu_result done_res;
	struct record *fill_rec;	/* last access check that was filled for, only compared */
	u64 fill_addr;
	u32 fill_tries;
	u32 host_mxcsr;
	u16 host_fcw;
	bool flush_pending;
	struct record *replay;	/* see run.c */
	u64 replay_gen;
	/* Where debugging switches hold: RIPs of units (show.c). */
	struct rip_range max1;		/* one instruction a unit */
	struct rip_range no_group;
	struct rip_range precise_flags;	/* keep flags that are dead exact at faults too */
	struct rip_range dump_range;
	int dump_fd, perf_fd;		/* -1: not wanted */
	u64 itlb_filled[ITLB_CLASSES][ITLB_SIZE / 64];
	u64 itlb_words[ITLB_CLASSES];	/* words of it that may be non-zero, one bit each */
	/* Slots in which a token was set since the last engine_code_suspect(): which, if they are
	 * few, and the words of itlb_filled they are in. */
	struct {
		u32 class, slot;
	} live[LIVE_MAX];
	u32 n_live;
	u64 itlb_live[ITLB_CLASSES];
	u64 ret_limit;		/* returns.c: cpu.poll_sp, unless it is a kick */
	/* fixed stubs */
	struct record *(*enter)(u8 *code);
	u8 *stub_exit;	/* rcx = record */
	/* rcx = unit, rsi = record: called where its page is in doubt, returns if it may go on. */
	u8 *stub_confirm;
	u8 *stub_exec;	/* rcx = record of REC_EXEC, of a unit that is not of one instruction */
	/* Indirect jump to cpu.rip that the jump cache did not lead to: look in jc2, or leave;
	 * leave. */
	u8 *stub_ind_miss, *stub_ind_leave;
	/* RET with nothing on the stack of return addresses; RET to another place than was
	 * called from (returns.c). By bank of the jump cache. */
	u8 *stub_ret_none[JC_BANKS], *stub_ret_lost[JC_BANKS];
	u8 *stub_apic_store, *stub_apic_load, *stub_apic_wrmsr, *stub_apic_rdmsr,
		*stub_apic_set_tpr, *stub_apic_get_tpr; /* apic.c */
	u8 *stub_sti;
	/* again.c: of L1's privilege, for reads and writes, by address or by what is left of it. */
	u8 *stub_again[MMU_L2][2][2];
	u8 *stub_window[MMU_IDX_COUNT][2];	/* window.c: reads, writes */
	struct translator *tr;
	/* How near to each other accesses must be to share a check, by a hash of the unit's
	 * address (narrow_of()): those whose groups lie in two pages get smaller ones. */
	u8 narrow[1 << NARROW_BITS];
	struct engine_counts counts;
};

/* How a unit is reached: which of its entries must be there. */
enum unit_way {
	WAY_BODY,	/* by a link of its own page */
	WAY_CROSS,	/* by a link of another page */
	WAY_IND,	/* by RIP: through the jump cache the next time */
};

/* decode.c */
int insn_from_zydis(struct insn *in, const ZydisDecodedInstruction *zi,
		    const ZydisDecodedOperand *op, const u8 *bytes, u32 mode_size);
extern ZydisDecoder engine_decoder[3], engine_decoder_older[3];
/* ZydisDecoderDecodeFull(), and what it does not know. */
ZyanStatus insn_zydis(const ZydisDecoder *dec, const u8 *p, u32 n, ZydisDecodedInstruction *zi,
		      ZydisDecodedOperand *op);
s64 insn_bit_displacement(u64 offset, u32 size);

/* cache.c */
int cache_init(struct engine *e);
void cache_destroy(struct engine *e);
void cache_flush(struct engine *e);
struct unit *cache_lookup(struct engine *e, struct cpage *cp, u64 lin, u32 mode);
/* Is it of the code segment that is in CS? A CS of another limit has other units. */
static inline bool unit_in_cs(const struct unit *u, const struct engine *e)
{
	return u->cs_base == e->cs_base && u->cs_limit == e->cs_limit;
}

void cache_insert(struct engine *e, struct unit *u);
void cache_kill_unit(struct engine *e, struct unit *u);
/* Out of the hash table, and back. */
void cache_cpage_unhash(struct engine *e, struct cpage *cp);
void cache_cpage_rehash(struct engine *e, struct cpage *cp);
void cache_unlink(struct engine *e, struct rec_link *r);
struct cpage *cache_cpage(struct engine *e, u64 lin, const struct fetch_page *fp);
void cache_fetch_lines(struct engine *e, struct ppage *pp, u32 off, u32 len);
void cache_validate(struct engine *e, struct ppage *pp);
void cache_compare(struct engine *e, struct ppage *pp);	/* whatever was checked before */
/* The page is known to be as it was. Nothing happens if it is not, or that takes more than a look
 * at it. */
bool cache_confirm(struct engine *e, struct ppage *pp);
u32 itlb_index(u64 lin);	/* of its slot and token */
void engine_fpu_load(struct cpu *c);
struct unit *cache_unit_at(struct engine *e, u64 host_rip);
/* Zeroed memory until the next flush, or NULL. n is at most a page. */
void *arena_alloc(struct engine *e, size_t n);
void *arena_alloc_line(struct engine *e, size_t n);	/* begins a cache line */
void *arena_alloc_raw(struct engine *e, size_t n);	/* the same, not zeroed */
void arena_free(struct arena *a);
void link_patch(struct engine *e, struct rec_link *r, struct unit *to);
void link_break(struct engine *e, struct rec_link *r);

/* jump_cache.c */
size_t jump_cache_bytes(bool small);	/* of both tables */
void jump_cache_init(struct engine *e, void *tables, bool small);
void jump_cache_flush(struct engine *e);
void jump_cache_mode(struct engine *e);	/* engine.mode has changed */
/* Its bank has the slots of engine.mode. */
static inline void jump_cache_use(struct engine *e, u32 bank)
{
	e->jc_salt = e->jc[bank].salt;
	e->jc_now = e->jc[bank].slots;
	e->jc_now_mask = e->jc_mask[bank];
	e->ret_none = e->stub_ret_none[bank];
}
u32 jc_bank(u32 mode);
u8 **engine_jc_slot(struct engine *e, u32 mode, u64 rip);
void cache_jc_fill(struct engine *e, struct unit *u);	/* of the current mode */
/* No indirect jump leads to u any more. */
void cache_forget_jumps(struct engine *e, const struct unit *u);
/* Those that knew u find it at `rip`, where it will be. */
void cache_move_jumps(struct engine *e, const struct unit *u, u64 rip);

/* move.c: may translations be moved that are made at this RIP? */
bool move_worth(u32 mode, u64 rip);
/* move.c: a code page of pp that nobody has run for a while, mapped at lin from now on, with its
 * units; NULL: there is none, or this is not the time. */
struct cpage *cpage_move(struct engine *e, struct ppage *pp, u64 lin);
/* Its page has moved since it was last wanted. */
static inline bool unit_left(const struct unit *u)
{
	return ((u->lin ^ u->cp->lin) & PAGE_MASK) != 0;
}
/* move.c: u, which was left, goes to where its page is now. False: it cannot, and is no more. */
bool unit_follow_page(struct engine *e, struct unit *u);
/* Between the two pages may be moved (if `may`), but none that itlb_get() has given in between. */
static inline void moving_begin(struct engine *e, bool may)
{
	e->move_gen++;
	e->may_move = may;
}
static inline void moving_end(struct engine *e) { e->may_move = false; }

/* itlb.c: resolve the page of `lin` for execution; CPU_OK with *cp, CPU_FAULT,
 * CPU_UNBACKED, or CPU_AGAIN when translations are in the way */
enum cpu_result itlb_get(struct engine *e, u64 lin, struct cpage **cp);
/* A page has been compared because of engine_code_suspect(). */
void itlb_compared(struct engine *e);

/* u, of 64-bit code, may not be entered because its page has not been compared since somebody may
 * have written it. 0: it has been now, and is as it was. Otherwise nothing has happened. */
u64 itlb_confirm(struct cpu *c, const struct unit *u);
/* The page is not in any slot. */
void itlb_forget(struct engine *e, const struct cpage *cp);
void itlb_distrust(struct engine *e, const struct cpage *cp);

static inline bool engine_canonical(const struct cpu *c, u64 va)
{
	u32 sh = c->cr4 & CR4_LA57 ? 7 : 16;

	return (u64)((s64)(va << sh) >> sh) == va;
}

/* Flags as LAHF and SETO leave them in EAX, and back: exit_flags, save_flags. */
static inline u64 flags_of_image(u64 image)
{
	return (image >> 8 & (FL_ARITH & 0xff)) | (image & 1) << 11;
}
static inline u64 flags_image(u64 rflags)
{
	return (rflags & (FL_ARITH & 0xff)) << 8 | (rflags >> 11 & 1);
}

/* run.c: called by stub_exec. */
u8 *engine_exec_in_line(struct engine *e, struct record *r);

/* codemem.c */
/* The reservation, at `near` if that is free. 0 or -errno. */
int codemem_init(struct engine *e, void *near);
void codemem_destroy(struct engine *e);
/* Zeroed pages of it, for as long as there is an engine: NULL when it has been laid out too
 * small. */
void *pool_take(struct engine *e, size_t bytes);
/* Zeroed pages at this address, if nothing is there yet. */
void *pages_at(void *at, size_t bytes);
/* Have the memory behind `at` made, in steps that grow with what is used already. */
void codemem_populate(struct code_mem *m, u8 *at, const u8 *start, const u8 *end, u8 **there);
static inline u8 *codemem_rw(const struct code_mem *m, const u8 *rx)
{
	return m->rw + (rx - m->rx);
}
/* Offsets name places in it. 0 is in the fixed stubs: never a place of a unit. */
static inline u8 *codemem_at(const struct code_mem *m, u32 off) { return m->rx + off; }
/* Of a unit: the number of the instruction to which the host's one at `rip` belongs. */
static inline u32 unit_insn_at(const struct engine *e, const struct unit *u, u64 rip)
{
	u32 off = (u32)(rip - (u64)codemem_at(&e->mem, u->code)), i = u->n_insns - 1u;

	while (i && u->insns[i].host > off)
		i--;
	return i;
}

/* translate.c */
int translator_init(struct engine *e);
/* The groups of u are in two pages too often: translate it anew with smaller ones. */
void translator_narrow(struct engine *e, struct unit *u);
/* Something has been taken of what is for all units. If little is left a flush is due, between two
 * instructions. */
void translator_took(struct engine *e);
/* Builds the unit at rip. NULL: code memory is full (the caller flushes and tries again), or the
 * first instruction could not be fetched: then *res says why. */
struct unit *translate(struct engine *e, struct cpage *cp, u64 rip, u32 mode, enum unit_way way,
		       enum cpu_result *res);

/* lower_branch.c: u is to be where its page is mapped now, delta further on. */
void unit_entries_move(struct engine *e, struct unit *u, u64 delta);
/* lower_branch.c: make an entry of u that has not been wanted before. It is 0 afterwards if there
 * cannot be one. */
void unit_want_cross(struct engine *e, struct unit *u);
void unit_want_ind(struct engine *e, struct unit *u);

/* stubs.c */
int stubs_emit(struct engine *e);

/* returns.c: translated code is going to be entered from the function with this frame. */
void returns_begin(struct engine *e, const void *frame);
void returns_mode(struct engine *e);	/* engine.mode has changed */
/* Translated code has been left at a poll: is it a kick, or has the stack been full? It is empty
 * then. */
void returns_polled(struct engine *e);

/* apic.c */
bool apic_insn(const struct insn *in);
bool apic_page_hit(const struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx);
void apic_patch(struct engine *e, struct rec_tlb *r, u64 gva);
void apic_refuse_all(struct engine *e);

/* show.c */
struct rip_range range_of(enum option o);	/* of a switch whose value may be "LOW-HIGH" */
void show_init(struct engine *e);
void show_destroy(struct engine *e);
void show_unit(struct translator *t, const struct unit *u);	/* it has just been made */

/* count.c: a unit is left through r, or by a signal at instruction number `at`, and is not to go
 * on there */
void count_leave(struct engine *e, const struct record *r);
void count_signal(struct engine *e, const struct unit *u, u32 at);
/* Of one instruction: its unit was left through r; C was asked for `in` (or NULL) at `from`, in
 * this mode, and says whether it is done. */
void count_stepped(struct engine *e, const struct record *r);
void count_done(struct engine *e, const struct insn *in, u64 from, bool l2, bool done);
static inline bool counting(const struct engine *e) { return unlikely(e->mode & MODE_COUNT); }

/* mode.c */
void mode_update(struct engine *e);

/* x87.c */
struct x87_pointers {
	u64 ip, dp;	/* offsets in CS and DS */
	u16 cs, ds, op;
};
/* Those of the registers. */
void x87_pointers(struct engine *e, struct x87_pointers *p);
/* ... into what FNSTENV or FNSAVE has made. */
void x87_put_env(const struct cpu *c, const struct insn *in, const struct x87_pointers *p, u8 *env);
static inline bool insn_stores_env(const struct insn *in)
{
	return in->mnemonic == ZYDIS_MNEMONIC_FNSTENV || in->mnemonic == ZYDIS_MNEMONIC_FNSAVE;
}

/* slow.c: execute the one instruction at c->rip with full generality */
enum cpu_result slow_exec(struct engine *e, const struct insn *in);
/* Is it #MF before anything else, because of an exception of an x87 instruction before? */
bool slow_mf_pending(struct cpu *c, const struct insn *in);
/* Is what it does to memory one indivisible access? */
bool insn_is_locked(const struct insn *in);
/* Where the operand is, of which `len` bytes are accessed at once, aligned as the instruction wants
 * it: the bounce buffer's alignment says nothing about that. On the stack misalignment is found
 * before an address that is not canonical or beyond the limit. */
enum cpu_result slow_operand(struct cpu *c, const struct insn *in, u32 len, u64 *lin);
/* The computation of the instruction at c->rip, with its memory operand at ptr. */
enum cpu_result slow_run_alone(struct engine *e, u8 *ptr);
/* Of gathers and scatters: are indices of 64 bits? The address of element i, with the index
 * register's bytes. */
bool slow_wide_indices(const struct insn *in);
u64 slow_vsib_ea(const struct cpu *c, const struct insn *in, const u8 *idx, u32 i);
enum cpu_result slow_gather(struct engine *e, const struct insn *in);
/* *exit: a store has been queued, and counts as done. */
enum cpu_result slow_evex_vsib(struct engine *e, const struct insn *in, bool *exit);
enum cpu_result slow_masked(struct engine *e, const struct insn *in, bool *exit);
enum cpu_result slow_maskmov(struct engine *e, const struct insn *in);
enum cpu_result slow_vmaskmov(struct engine *e, const struct insn *in);
static inline bool insn_is_vmaskmov(const struct insn *in)
{
	return in->mnemonic == ZYDIS_MNEMONIC_VMASKMOVPS ||
	       in->mnemonic == ZYDIS_MNEMONIC_VMASKMOVPD ||
	       in->mnemonic == ZYDIS_MNEMONIC_VPMASKMOVD ||
	       in->mnemonic == ZYDIS_MNEMONIC_VPMASKMOVQ;
}

/* run.c */
struct record *engine_enter(struct engine *e, u8 *code);
enum cpu_result engine_find_unit(struct engine *e, u32 mode, enum unit_way way, struct unit **out);
enum cpu_result engine_fpu_fault(struct engine *e, const struct insn *in);
/* The instruction a record is about. NULL: it cannot be told any more, find the unit anew. */
const struct insn *record_insn(struct engine *e, struct record *r);
#define ENGINE_HOST_FAULT 0xff	/* pseudo vector: the VMM's memory is gone */

/* signal.c */
extern __thread struct engine *engine_current;

#endif
