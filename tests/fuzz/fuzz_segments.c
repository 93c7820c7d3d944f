/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/fuzz_segments.c - random descriptors, selectors and rings against a model of the
 * rules: loads of each segment register, accesses through it, VERR, VERW, LAR, LSL, far JMP, CALL,
 * RET, IRET, INT n and gates (APM2 4.7 to 4.12; APM3, the instructions).
 *
 * The guest writes a case's descriptor, goes to its ring and executes its instruction.
 */
/* Run: build/standin run -- build/tests/fuzz/fuzz_segments --count 100000 */
#include "tests/fuzz/model.h"

#define FARP 0x10010		/* a far pointer, for ring 3 too */
#define FARP16 0x10018		/* the same in four bytes */
#define CASES 0x600000
#define RESULTS 0x800000
#define AREA 0x400000		/* what segments reach */
#define SELECTOR 0x80		/* the case's descriptor */
#define GATE 0xa8		/* and its call gate */
enum { BATCH_CASES = 8192, AREA_BYTES = 0x200000, CODE1 = 0x88, DATA1 = 0x90, CODE2 = 0x98,
       DATA2 = 0xa0 };

/* One case; the offsets are in the loop below. */
struct fuzz_case {
	u32 desc[2];
	u32 eip, cs, ss;	/* 8, 12, 16 */
	u32 eax, esi, edx;	/* 20, 24, 28 */
	u32 linear;		/* 32: a dword to look at afterwards */
	u32 far_off, far_sel;	/* 36, 40 */
	u32 ring;		/* 44 */
	u32 was;		/* 48: what the dword was */
	u32 op;
	u32 gate[2];		/* 56: of vector 31h, and to call */
};
struct fuzz_result {
	u32 vec, err, eip;
	u32 eax, ebx, flags, cs;	/* 12, 16, 20, 24 */
	u32 dword, desc_hi;		/* 28, 32 */
	u16 ds, es, fs, gs;		/* 36 */
	u32 pad[5];
};
_Static_assert(sizeof(struct fuzz_case) == 64 && sizeof(struct fuzz_result) == 64, "tables");

enum what { LOAD, READ, WRITE, ADD, PEEK, FAR };
enum seg { ES, CS, SS, DS, FS, GS };
enum {
	F_JMP,
	F_CALL,
	F_RET,
	F_IRET,
	F_INT,
	F_CALL_GATE,
	F_JMP_GATE,
	P_VERR = 0,
	P_VERW,
	P_LAR,
	P_LSL
};
/* name, what, segment or which, size, before it, the instruction, and one that uses what was
 * loaded */
#define OPS(X)											\
	X(mov_es, LOAD, ES, 0, "", "mov %ax, %es", "") \
	X(mov_ss, LOAD, SS, 0, "", "mov %ax, %ss", "") \
	X(mov_ds, LOAD, DS, 0, "", "mov %ax, %ds", "") \
	X(mov_fs, LOAD, FS, 0, "", "mov %ax, %fs", "") \
	X(mov_gs, LOAD, GS, 0, "", "mov %ax, %gs", "") \
	X(pop_es, LOAD, ES, 0, "push %eax", "pop %es", "") \
	X(pop_ss, LOAD, SS, 0, "push %eax", "pop %ss", "") \
	X(pop_ds, LOAD, DS, 0, "push %eax", "pop %ds", "") \
	X(pop_fs, LOAD, FS, 0, "push %eax", "pop %fs", "") \
	X(pop_gs, LOAD, GS, 0, "push %eax", "pop %gs", "") \
	X(les, LOAD, ES, 0, "", "les " S(FARP) ", %ebx", "")	\
	X(lds, LOAD, DS, 0, "", "lds " S(FARP) ", %ebx", "")	\
	X(lss, LOAD, SS, 0, "mov %esp, " S(FARP), "lss " S(FARP) ", %esp", "") \
	X(lfs, LOAD, FS, 0, "", "lfs " S(FARP) ", %ebx", "")	\
	X(lgs, LOAD, GS, 0, "", "lgs " S(FARP) ", %ebx", "")	\
	X(read_es, READ, ES, 4, "", "mov %ax, %es", "mov %es:(%esi), %ebx") \
	X(read_ds, READ, DS, 4, "", "mov %ax, %ds", "mov %ds:(%esi), %ebx") \
	X(read_ss, READ, SS, 4, "", "mov %ax, %ss", "mov %ss:(%esi), %ebx") \
	X(read_fs, READ, FS, 2, "", "mov %ax, %fs", "movzwl %fs:(%esi), %ebx") \
	X(read_gs, READ, GS, 1, "", "mov %ax, %gs", "movzbl %gs:(%esi), %ebx") \
	X(write_es, WRITE, ES, 1, "", "mov %ax, %es", "mov %dl, %es:(%esi)") \
	X(write_ds, WRITE, DS, 2, "", "mov %ax, %ds", "mov %dx, %ds:(%esi)") \
	X(write_ss, WRITE, SS, 4, "", "mov %ax, %ss", "mov %edx, %ss:(%esi)") \
	X(write_fs, WRITE, FS, 4, "", "mov %ax, %fs", "mov %edx, %fs:(%esi)") \
	X(write_gs, WRITE, GS, 4, "", "mov %ax, %gs", "mov %edx, %gs:(%esi)") \
	X(add_es, ADD, ES, 4, "", "mov %ax, %es", "lock addl %edx, %es:(%esi)") \
	X(add_gs, ADD, GS, 4, "", "mov %ax, %gs", "addl %edx, %gs:(%esi)") \
	X(verr, PEEK, P_VERR, 0, "xor %ebx, %ebx", "verr %ax", "") \
	X(verw, PEEK, P_VERW, 0, "xor %ebx, %ebx", "verw %ax", "") \
	X(lar, PEEK, P_LAR, 0, "", "lar %eax, %ebx", "") \
	X(lsl, PEEK, P_LSL, 0, "", "lsl %eax, %ebx", "")	\
	X(jmp, FAR, F_JMP, 0, "", "ljmpl *" S(FARP), "") \
	X(call, FAR, F_CALL, 0, "", "lcall *" S(FARP), "") \
	X(ret, FAR, F_RET, 0, "push %edx\n push $0x2f000\n pushl " S(FARP) "+4\n pushl " S(FARP), \
	  "lret", "") \
	X(iret, FAR, F_IRET, 0, "push %edx\n push $0x2f000\n pushf\n pushl " S(FARP) "+4\n" \
		" pushl " S(FARP), "iret", "") \
	X(les16, LOAD, ES, 0, "", "lesw " S(FARP16) ", %bx", "") \
	X(lss16, LOAD, SS, 0, "mov %sp, " S(FARP16), "lssw " S(FARP16) ", %sp", "") \
	X(jmp16, FAR, F_JMP, 0, "", "ljmpw *" S(FARP16), "") \
	X(call16, FAR, F_CALL, 0, "", "lcallw *" S(FARP16), "")					\
	X(ret16, FAR, F_RET, 0, "pushw %dx\n pushw $0xf000\n pushl " S(FARP16), "lretw", "") \
	X(iret16, FAR, F_IRET, 0, "pushw %dx\n pushw $0xf000\n pushfw\n pushl " S(FARP16), \
	  "iretw", "") \
	X(int_n, FAR, F_INT, 0, "", "int $0x31", "")						\
	X(call_gate, FAR, F_CALL_GATE, 0, "", "lcall *" S(FARP), "")				\
	X(jmp_gate, FAR, F_JMP_GATE, 0, "", "ljmpl *" S(FARP), "")

#define X(name, what, seg, size, before, first, second)	\
	#name "_0: " before "\n" #name "_1: " first "\n" #name "_2: " second "\n" \
		"	int $0x30\n" #name "_3:\n"
CODE32(loop,
	"seg_next:\n"
	"	mov $0x10, %eax\n	mov %eax, %ds\n	mov %eax, %es\n	mov %eax, %fs\n"
	"	mov %eax, %ss\n"
	"	mov $0x8000, %esp\n	xor %eax, %eax\n	mov %eax, %gs\n"
	"	mov " S(V_NEXT) ", %ebp\n"
	"	cmp " S(V_COUNT) ", %ebp\n"
	"	jae 9f\n"
	"	shl $6, %ebp\n"
	"	lea " S(CASES) "(%ebp), %ebx\n"
	"	mov (%ebx), %eax\n	mov %eax, 0x1000 + " S(SELECTOR) "\n"
	"	mov 4(%ebx), %eax\n	mov %eax, 0x1004 + " S(SELECTOR) "\n"
	"	mov 56(%ebx), %eax\n	mov %eax, 0x2000 + 8 * 0x31\n	mov %eax, 0x1000 + "
	S(GATE) "\n"
	"	mov 60(%ebx), %eax\n	mov %eax, 0x2004 + 8 * 0x31\n	mov %eax, 0x1004 + "
	S(GATE) "\n"
	"	mov 36(%ebx), %eax\n	mov %eax, " S(FARP) "\n"
	"	mov 40(%ebx), %eax\n	mov %eax, " S(FARP) " + 4\n"
	"	mov %ax, " S(FARP16) " + 2\n"
	"	mov 36(%ebx), %eax\n	mov %ax, " S(FARP16) "\n"
	"	mov 20(%ebx), %eax\n	mov 24(%ebx), %esi\n	mov 28(%ebx), %edx\n"
	"	mov $0x3b, %ecx\n	mov %ecx, %ds\n	mov %ecx, %es\n"
	"	cmpl $0, 44(%ebx)\n"
	"	je 1f\n"
	"	pushl 16(%ebx)\n	pushl $0x30000\n"
	"1:	pushl $2\n	pushl 12(%ebx)\n	pushl 8(%ebx)\n"
	"	xor %ebx, %ebx\n"
	"	iret\n"
	"9:	out %al, $0xf0\n"
	"seg_land:	int $0x30\n"
	"seg_common:\n"
	"	pusha\n"
	"	mov %ds, %ecx\n"
	"	mov $0x10, %eax\n	mov %eax, %ds\n"
	"	mov " S(V_NEXT) ", %ebp\n	shl $6, %ebp\n"
	"	lea " S(RESULTS) "(%ebp), %ebx\n"
	"	mov %cx, 36(%ebx)\n	mov %es, 38(%ebx)\n	mov %fs, 40(%ebx)\n"
	"	mov %gs, 42(%ebx)\n"
	"	mov 32(%esp), %eax\n	mov %eax, (%ebx)\n"
	"	mov 36(%esp), %eax\n	mov %eax, 4(%ebx)\n"
	"	mov 40(%esp), %eax\n	mov %eax, 8(%ebx)\n"
	"	mov 44(%esp), %eax\n	mov %eax, 24(%ebx)\n"
	"	mov 48(%esp), %eax\n	mov %eax, 20(%ebx)\n"
	"	mov 28(%esp), %eax\n	mov %eax, 12(%ebx)\n"
	"	mov 16(%esp), %eax\n	mov %eax, 16(%ebx)\n"
	"	lea " S(CASES) "(%ebp), %esi\n"
	"	mov 32(%esi), %ecx\n"
	"	mov (%ecx), %eax\n	mov %eax, 28(%ebx)\n"
	"	mov 48(%esi), %eax\n	mov %eax, (%ecx)\n"
	"	mov 0x1004 + " S(SELECTOR) ", %eax\n	mov %eax, 32(%ebx)\n"
	"	incl " S(V_NEXT) "\n"
	"	jmp seg_next\n"
	OPS(X));
#undef X
LABEL(seg_land);
LABEL(seg_common);
#define X(name, what, seg, size, before, first, second) \
	LABEL(name##_0); LABEL(name##_1); LABEL(name##_2); LABEL(name##_3);
OPS(X)
#undef X

static const struct op {
	const char *name;
	u8 what, which, size;
	const u8 *begin, *first, *second, *end;
} ops[] = {
#define X(name, what, seg, size, before, first, second) \
	{ #name, what, seg, size, name##_0, name##_1, name##_2, name##_3 },
	OPS(X)
#undef X
};

static u32 at(const u8 *label)
{
	return G_CODE + (u32)(label - loop_b);
}

/* -- the cases -- */

static u32 desc_limit(const u32 *d)
{
	u32 limit = (d[0] & 0xffff) | (d[1] & 0xf0000);

	return d[1] & 1u << 23 ? limit << 12 | 0xfff : limit;
}

static u32 desc_base(const u32 *d)
{
	return d[0] >> 16 | (d[1] & 0xff) << 16 | (d[1] & 0xff000000);
}

static u32 desc_dpl(const u32 *d) { return d[1] >> 13 & 3; }
static bool desc_present(const u32 *d) { return d[1] >> 15 & 1; }
static bool is_segment(const u32 *d) { return d[1] >> 12 & 1; }
static u32 desc_type(const u32 *d) { return d[1] >> 8 & 15; }
static bool is_code(const u32 *d) { return is_segment(d) && desc_type(d) & 8; }
static bool is_conforming(const u32 *d) { return is_code(d) && desc_type(d) & 4; }
static bool is_readable(const u32 *d) { return is_segment(d) && (!is_code(d) || desc_type(d) & 2); }
static bool is_writable(const u32 *d) { return is_segment(d) && !is_code(d) && desc_type(d) & 2; }

static void set_desc(u32 *d, u32 base, u32 limit, u32 access, u32 flags)
{
	u64 v = gdt_desc(base, limit, (u8)access, (u8)flags);

	d[0] = (u32)v;
	d[1] = (u32)(v >> 32);
}

static u32 random_access(void)
{
	u32 present = below(8) ? 0x80 : 0, segment = below(10) ? 0x10 : 0;

	return present | below(4) << 5 | segment | below(16);
}

/* Limits and offsets meet at the edge; everything stays in the area, whatever the type. */
static void data_case(struct fuzz_case *c)
{
	static const u32 limits[] = { 0, 1, 2, 3, 0xff, 0xfff, 0x1000, 0xffff, 0x10000, 0x7ffff };
	u32 limit = below(4) ? limits[below(ARRAY_SIZE(limits))] : below(0x80000),
	    flags = below(4) << 2 | below(2);
	u32 access = random_access(), edge;

	/* D decides, L is reserved. */
	flags &= 0xd;
	set_desc(c->desc, AREA + below(0x1000), limit, access, flags);
	edge = desc_limit(c->desc);
	c->esi = below(3) ? edge - 4 + below(9) : below(2) ? below(0x10000) : 0xfffc + below(8);
	if (c->esi > 0x1fff00)
		c->esi &= 0xfffff;
	c->edx = (u32)model_next();
}

static void far_case(struct fuzz_case *c, u32 land)
{
	u32 back = below(4) ? below(0x100) : land, access = random_access(), limit;

	/* Gates and tasks go elsewhere. */
	if (!(access & 0x10))
		access = (access & ~15u) | (u32) "\0\2\6\7\10\12\15\16\17"[below(9)];
	else if (below(4))
		access |= 8;
	limit = below(3) ? back + below(4) - 1 : below(2) ? 0xffff : 0xfffff;
	set_desc(c->desc, land - back, limit & 0xfffff, access, below(2) << 2);
	c->far_off = back;
}

/* A gate of either width, seldom something else; none of a task. */
static void gate_case(struct fuzz_case *c, u32 which)
{
	u32 type = which != F_INT ? below(2) * 8 + 4
		   : below(8)	  ? (u32) "\6\7\16\17"[below(4)]
				  : (u32) "\0\1\2\3\4\10\11\12\13\14\15"[below(11)];
	u32 present = below(8) ? 1 : 0, dpl = below(2) ? 3 : below(4);

	c->gate[0] = (c->far_off & 0xffff) | c->far_sel << 16;
	c->gate[1] = (c->far_off & 0xffff0000) | present << 15 | dpl << 13 | type << 8;
	if (which == F_CALL_GATE || which == F_JMP_GATE)
		c->far_sel = GATE | below(4);
}

static u32 random_selector(void)
{
	u32 rpl = below(4);

	switch (below(24)) {
	case 0: return rpl;
	case 1: return GDT_BYTES | rpl;
	case 2: return SELECTOR | 4 | rpl;	/* there is no LDT */
	default: return SELECTOR | rpl;
	}
}

static u16 stack_of(u32 ring)
{
	static const u16 sel[] = { SEL_DATA, DATA1 | 1, DATA2 | 2, SEL_UDATA };

	return sel[ring];
}

static u16 code_of(u32 ring)
{
	static const u16 sel[] = { SEL_CODE32, CODE1 | 1, CODE2 | 2, SEL_UCODE32 };

	return sel[ring];
}

static bool is_null(u32 sel) { return !(sel & 0xfffc); }
static bool in_table(u32 sel) { return (sel & 0xfffc) == SELECTOR; }

static void make_case(struct fuzz_case *c, const u8 *ram)
{
	u32 i = below(ARRAY_SIZE(ops)), sel = random_selector();
	const struct op *o = &ops[i];

	memset(c, 0, sizeof(*c));
	c->op = i;
	c->eip = at(o->begin);
	c->ring = below(3) ? below(2) * 3 : below(4);
	c->cs = code_of(c->ring);
	c->ss = stack_of(c->ring);
	c->eax = sel;
	c->far_sel = sel;
	c->linear = AREA;
	data_case(c);
	if (o->what == FAR) {
		far_case(c, at(seg_land));
		gate_case(c, o->which);
		/* The stack of an outer ring that is returned to. */
		c->edx = stack_of(sel & 3);
		if (!below(8))
			c->edx = below(2) ? sel & 3 : (c->edx ^ 1);
	} else if (o->which == SS && o->what < PEEK && !c->ring) {
		/* It is the handler's as well: one that works, or none. */
		if (below(2))
			set_desc(c->desc, 0, 0xffffffff, 0x92, 0xc);
		else if (is_writable(c->desc) && !desc_dpl(c->desc) && desc_present(c->desc))
			c->desc[1] ^= 1u << 15;
		if (o->what != LOAD)
			c->esi = AREA + below(0x1000);
	}
	if (o->what == READ || o->what == WRITE || o->what == ADD) {
		u32 l = desc_base(c->desc) + c->esi;

		if (l >= AREA && l < AREA + AREA_BYTES - 8)
			c->linear = l;
	}
	memcpy(&c->was, ram + c->linear, 4);
}

/* -- the rules -- */

struct expected {
	u32 vec, err, eip, cs;
	bool loaded;		/* the descriptor is in a register: its accessed bit is set */
	bool touched;		/* or it may be: the stack's selector is looked at after that of the
				 * code */
	bool reads;		/* EBX is a value */
	u32 ebx, ebx_mask, dword;
	bool zf_counts, zf;
	u32 fs_after;		/* FS, when nothing loads it */
};

static bool fault(struct expected *e, u32 vec, u32 err, u32 eip)
{
	e->vec = vec;
	e->err = err;
	e->eip = eip;
	return false;
}

/* MOV, POP, Lxx to a data or stack segment register. */
static bool load(const struct fuzz_case *c, u32 seg, u32 eip, struct expected *e)
{
	u32 sel = c->eax & 0xffff, rpl = sel & 3, dpl = desc_dpl(c->desc);
	const u32 *d = c->desc;

	if (is_null(sel))
		return seg == SS ? fault(e, 13, 0, eip) : true;
	if (!in_table(sel))
		return fault(e, 13, sel & 0xfffc, eip);
	if (seg == SS) {
		if (rpl != c->ring || dpl != c->ring || !is_writable(d))
			return fault(e, 13, sel & 0xfffc, eip);
		if (!desc_present(d))
			return fault(e, 12, sel & 0xfffc, eip);
	} else {
		if (!is_readable(d) || (!is_conforming(d) && (rpl > dpl || c->ring > dpl)))
			return fault(e, 13, sel & 0xfffc, eip);
		if (!desc_present(d))
			return fault(e, 11, sel & 0xfffc, eip);
	}
	e->loaded = true;
	return true;
}

static bool within(const u32 *d, u32 off, u32 size)
{
	u64 last = (u64)off + size - 1, limit = desc_limit(d);

	if (!is_code(d) && desc_type(d) & 4)
		return off > limit && last <= (d[1] >> 22 & 1 ? 0xffffffffull : 0xffffull);
	return last <= limit;
}

static void use(const struct fuzz_case *c, const struct op *o, u32 eip, struct expected *e)
{
	u32 mask = o->size == 4 ? ~0u : (1u << 8 * o->size) - 1;

	if (is_null(c->eax & 0xffff) || !within(c->desc, c->esi, o->size) ||
	    (o->what != READ && !is_writable(c->desc))) {
		fault(e, o->which == SS ? 12 : 13, 0, eip);
		return;
	}
	if (o->what == READ) {
		e->reads = true;
		e->ebx = c->was & mask;
		e->ebx_mask = ~0u;
	} else if (o->what == WRITE) {
		e->dword = (c->was & ~mask) | (c->edx & mask);
	} else {
		e->dword = c->was + c->edx;
	}
}

static void peek(const struct fuzz_case *c, u32 which, struct expected *e)
{
	static const u16 lar_types = 0x1a3e, lsl_types = 0x0a0e;	/* 1 2 3 4 5 9 b c; 1 2 3 9
									 * b */
	u32 sel = c->eax & 0xffff, rpl = sel & 3, dpl = desc_dpl(c->desc);
	const u32 *d = c->desc;
	bool reach = is_conforming(d) || (c->ring <= dpl && rpl <= dpl), ok;

	if (!in_table(sel))
		ok = false;
	else if (which == P_VERR)
		ok = is_readable(d) && reach;
	else if (which == P_VERW)
		ok = is_writable(d) && reach;
	else
		ok = reach && (is_segment(d) ||
			       (which == P_LAR ? lar_types : lsl_types) >> desc_type(d) & 1);
	e->zf_counts = true;
	e->zf = ok;
	e->reads = ok && (which == P_LAR || which == P_LSL);
	e->ebx = which == P_LAR ? d[1] : desc_limit(d);
	e->ebx_mask = which == P_LAR ? 0x00ffff00 : ~0u;
}

static void far(const struct fuzz_case *c, u32 which, u32 eip, struct expected *e)
{
	u32 sel = c->far_sel & 0xffff, rpl = sel & 3, dpl = desc_dpl(c->desc), ring = c->ring;
	const u32 *d = c->desc;
	bool back = which == F_RET || which == F_IRET, gate = which == F_INT;
	u32 gate_dpl = c->gate[1] >> 13 & 3;

	if (which == F_CALL_GATE || which == F_JMP_GATE) {
		gate = which == F_CALL_GATE;
		if (ring > gate_dpl || rpl > gate_dpl) {
			fault(e, 13, GATE, eip);
			return;
		}
		if (!(c->gate[1] >> 15 & 1)) {
			fault(e, 11, GATE, eip);
			return;
		}
		sel = c->gate[0] >> 16;
		rpl = 0;	/* of no matter from here on */
	}
	if (which == F_INT) {
		u32 type = c->gate[1] >> 8 & 31;

		if ((type != 6 && type != 7 && type != 14 && type != 15) || gate_dpl < ring) {
			fault(e, 13, 0x31 * 8 + 2, eip);
			return;
		}
		if (!(c->gate[1] >> 15 & 1)) {
			fault(e, 11, 0x31 * 8 + 2, eip);
			return;
		}
	}
	if (is_null(sel)) {
		fault(e, 13, 0, eip);
		return;
	}
	if (!in_table(sel) || !is_code(d) || (back && rpl < ring)) {
		fault(e, 13, sel & 0xfffc, eip);
		return;
	}
	if (gate   ? dpl > ring
	    : back ? (is_conforming(d) ? dpl > rpl : dpl != rpl)
		   : (is_conforming(d) ? dpl > ring : rpl > ring || dpl != ring)) {
		fault(e, 13, sel & 0xfffc, eip);
		return;
	}
	if (!desc_present(d)) {
		fault(e, 11, sel & 0xfffc, eip);
		return;
	}
	if (back)
		ring = rpl;
	else if (gate && !is_conforming(d))
		ring = dpl;
	if (c->far_off > desc_limit(d)) {
		fault(e, 13, 0, eip);
		return;
	}
	if (ring > c->ring && c->edx != stack_of(ring)) {
		fault(e, 13, c->edx & 0xfffc, eip);
		e->touched = true;
		return;
	}
	e->loaded = true;
	e->cs = (sel & 0xfffc) | ring;
	if (ring > c->ring)
		e->fs_after = 0;
	/* INT n is two bytes. */
	if (c->far_off == desc_limit(d))
		fault(e, 13, 0, c->far_off);
	else
		e->eip = c->far_off + 2;
}

static struct expected model(const struct fuzz_case *c)
{
	const struct op *o = &ops[c->op];
	u32 first = at(o->first), second = at(o->second);
	struct expected e = { .vec = 0x30, .eip = at(o->end), .cs = c->cs, .dword = c->was,
			      .fs_after = c->ring ? 0 : SEL_DATA };

	switch (o->what) {
	case PEEK:
		peek(c, o->which, &e);
		return e;
	case FAR:
		far(c, o->which, first, &e);
		return e;
	default:
		if (load(c, o->which, first, &e) && o->what != LOAD)
			use(c, o, second, &e);
		return e;
	}
}

static bool wrong(const struct fuzz_case *c, const struct fuzz_result *r, const struct expected *e)
{
	const struct op *o = &ops[c->op];
	u32 hi = c->desc[1] | (e->loaded ? 0x100 : 0);
	bool error = e->vec >= 10 && e->vec <= 13;

	if (r->vec != e->vec || r->eip != e->eip || (r->cs & 0xffff) != e->cs ||
	    (error && r->err != e->err))
		return true;
	if ((r->desc_hi ^ hi) & ~(e->touched ? 0x100u : 0) || r->dword != e->dword)
		return true;
	if (e->zf_counts && (r->flags >> 6 & 1) != e->zf)
		return true;
	if (e->reads && (r->ebx ^ e->ebx) & e->ebx_mask)
		return true;
	if (!(o->what < PEEK && o->which == FS) && r->fs != e->fs_after)
		return true;
	return false;
}

static void show(const struct fuzz_case *c, const struct fuzz_result *r, const struct expected *e)
{
	printf("# %s ring %u descriptor %08x%08x selector %x esi %x far %x:%x edx %x gate "
	       "%08x%08x\n",
	       ops[c->op].name, c->ring, c->desc[1], c->desc[0], c->eax, c->esi, c->far_sel,
	       c->far_off, c->edx, c->gate[1], c->gate[0]);
	printf("#   rules: vector %x(%x) at %x:%x descriptor %08x dword %08x ebx %08x zf %u fs "
	       "%x\n",
	       e->vec, e->err, e->cs, e->eip, c->desc[1] | (e->loaded ? 0x100 : 0), e->dword,
	       e->ebx, e->zf, e->fs_after);
	printf("#   guest: vector %x(%x) at %x:%x descriptor %08x dword %08x ebx %08x zf %u fs "
	       "%x\n",
	       r->vec, r->err, r->cs & 0xffff, r->eip, r->desc_hi, r->dword, r->ebx,
	       r->flags >> 6 & 1, r->fs);
}

/* -- the guest -- */

static struct guest *start(void)
{
	struct guest *g = guest_new(M_PM32);

	guest_load(g, G_CODE, loop);
	guest_gdt(g, CODE1, gdt_desc(0, 0xffffffff, 0xbb, 0xc));
	guest_gdt(g, DATA1, gdt_desc(0, 0xffffffff, 0xb3, 0xc));
	guest_gdt(g, CODE2, gdt_desc(0, 0xffffffff, 0xdb, 0xc));
	guest_gdt(g, DATA2, gdt_desc(0, 0xffffffff, 0xd3, 0xc));
	/* Stacks of the rings 1 and 2; that of ring 0 is there. */
	*g32(g, G_TSS + 12) = 0x2e000;
	*g32(g, G_TSS + 16) = DATA1 | 1;
	*g32(g, G_TSS + 20) = 0x2d000;
	*g32(g, G_TSS + 24) = DATA2 | 2;
	model_vectors(g, at(seg_common), SEL_CODE32, 0);
	for (u32 i = 0; i < AREA_BYTES; i += 8) {
		u64 v = model_next();

		memcpy(g->ram + AREA + i, &v, 8);
	}
	return g;
}

static struct fuzz_case *case_of(struct guest *g, u32 i)
{
	return (struct fuzz_case *)(g->ram + CASES) + i;
}

static struct fuzz_result *result_of(struct guest *g, u32 i)
{
	return (struct fuzz_result *)(g->ram + RESULTS) + i;
}

static void make(struct guest *g)
{
	for (u32 i = 0; i < BATCH_CASES; i++)
		make_case(case_of(g, i), g->ram);
}

static bool is_wrong(struct guest *g, u32 i)
{
	struct expected e = model(case_of(g, i));

	return wrong(case_of(g, i), result_of(g, i), &e);
}

static void show_one(struct guest *g, u32 i)
{
	struct expected e = model(case_of(g, i));

	show(case_of(g, i), result_of(g, i), &e);
}

int main(int argc, char **argv)
{
	static const struct model_fuzz m = {
		.title = "segments: random descriptors, selectors and rings", .batch = BATCH_CASES,
		.start = start, .make = make, .wrong = is_wrong, .show = show_one,
	};

	return model_main(&m, argc, argv);
}
