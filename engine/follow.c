/* SPDX-License-Identifier: MIT */
/*
 * engine/follow.c - a direct jump or call to a few instructions that end in a return or an indirect
 * jump: they become part of the unit that goes there. Kernels return through such thunks, and
 * programs call their libraries through them. A unit of their own would cost two transitions, and
 * its one indirect jump, shared by everybody, could not be predicted.
 *
 * What is followed may lie in other pages. Where the unit crosses into one, it checks that the page
 * is still mapped; and the page knows who has its bytes (cpage.deps).
 *
 * Such a unit does not go along when one of its pages moves (move.c). Programs that start all the
 * time made most of what they made for that reason: in pages that have moved, only what lies in the
 * page itself is followed.
 */
#include <stdint.h>

#include "engine/translate_priv.h"

#define FOLLOW_JUMPS 3	/* the first included */
#define FOLLOW_INSNS 3	/* behind each jump */

/* May it stand between the jump and the end? Nothing that leaves by itself. */
static bool plain(const struct di *d)
{
	switch (d->cls) {
	case CL_COMPUTE:
		return !d->fpu;
	case CL_NOP: case CL_LEA: case CL_PUSH_REG: case CL_POP_REG:
		return true;
	default:
		return false;
	}
}

static bool is_end(const struct di *d)
{
	return d->cls == CL_RET || d->cls == CL_JMP_IND;
}

static bool is_jump(const struct di *d)
{
	return (d->cls == CL_JMP || d->cls == CL_CALL) && d->in.opsize == 8;
}

/* Pages that share a slot would push each other out of it for ever. */
static bool slots_clash(u64 a, u64 b)
{
	return ((a ^ b) & PAGE_MASK) && itlb_index(a) == itlb_index(b);
}

static struct cpage *page_at(struct translator *t, u64 lin, struct cpage **before, u32 n)
{
	struct cpage *cp;

	if (!((lin ^ t->u->lin) & PAGE_MASK))
		return t->u->cp;
	if (slots_clash(lin, t->u->lin))
		return NULL;
	for (u32 i = 0; i < n; i++)
		if (slots_clash(lin, before[i]->lin))
			return NULL;
	if (t->u->cp->moved || itlb_get(t->e, lin, &cp) != CPU_OK || cp->moved)
		return NULL;
	return cp;
}

static void depend(struct translator *t, struct cpage *cp, u32 lo, u32 hi)
{
	struct unit_dep *dep;

	if (cp == t->u->cp) {
		note_peek(t->u, lo, hi);
		return;
	}
	dep = arena_alloc(t->e, sizeof(*dep));
	if (!dep) {
		t->oom = true;
		return;
	}
	dep->u = t->u;
	dep->lo = (u16)lo;
	dep->hi = (u16)hi;
	dep->next = cp->deps;
	cp->deps = dep;
}

/* What stands at rip, in page cp, becomes d[n].. up to an end or a jump. How many d[] hold then; 0:
 * neither comes soon enough. */
static u32 take(struct translator *t, struct cpage *cp, u64 rip, u32 n)
{
	u32 off = (u32)(rip & ~PAGE_MASK);
	s64 far = (s64)(rip - t->u->rip);

	/* unit.guest_off */
	if (far > INT32_MAX - (s64)PAGE_SIZE || far < INT32_MIN)
		return 0;
	for (u32 k = 0; k < FOLLOW_INSNS && n < UNIT_MAX_INSNS; k++, n++) {
		struct di *d = &t->d[n];
		u32 left = (u32)PAGE_SIZE - off < 15 ? (u32)PAGE_SIZE - off : 15;

		if (!left || !decode_insn(t, d, cp, off, left, rip))
			return 0;
		off += d->in.len;
		rip += d->in.len;
		if (is_end(d) || is_jump(d))
			return n + 1;
		if (!plain(d))
			return 0;
	}
	return 0;
}

static void make_followed(struct translator *t, struct di *d, struct cpage *cp)
{
	d->cls = d->cls == CL_CALL ? CL_CALL_ON : CL_JMP_ON;
	d->to = cp == t->u->cp ? NULL : cp;
	d->exits = d->to;
	/* At another address another page may follow. */
	if (d->to)
		t->u->fixed = true;
}

void follow(struct translator *t)
{
	struct cpage *pages[FOLLOW_JUMPS];
	u32 at[FOLLOW_JUMPS + 1] = { t->n }, jumps = 0;	/* where in d[] the tail of each jump
							 * begins */

	if (!t64(t) || t->mode & (~MODE_CPU | MODE_COUNT) || in_range(&t->e->max1, t->u->rip) ||
	    t->u->cp2)
		return;
	while (is_jump(&t->d[at[jumps] - 1])) {
		const struct di *d = &t->d[at[jumps] - 1];
		u64 to = d->rip + d->in.len + d->in.imm;

		if (jumps == FOLLOW_JUMPS)
			return;
		pages[jumps] = page_at(t, to, pages, jumps);
		if (!pages[jumps])
			return;
		at[jumps + 1] = take(t, pages[jumps], to, at[jumps]);
		if (!at[++jumps])
			return;
	}
	for (u32 k = 0; k < jumps; k++) {
		const struct di *a = &t->d[at[k]], *z = &t->d[at[k + 1] - 1];
		u32 lo = (u32)(a->rip & ~PAGE_MASK);

		depend(t, pages[k], lo, lo + (u32)(z->rip + z->in.len - a->rip));
		make_followed(t, &t->d[at[k] - 1], pages[k]);
	}
	t->n = at[jumps];
}
