/* SPDX-License-Identifier: MIT */
/*
 * engine/returns.c - the guest's calls and returns are the host's too, for the sake of its
 * predictor.
 *
 * A guest's CALL does what it does to the guest's stack and is a host's CALL; behind that stands a
 * site that goes on where the guest's return address says, if RIP is that address. A guest's RET
 * has RIP in RCX and is a host's RET. So a return never depends on what the host's stack holds: a
 * wrong site refuses, and the jump cache is asked.
 *
 * Nothing of a guest's is on the stack when translated code is entered from C. While it holds an
 * address, then, no C has run that unmaps pages or kills units, and the page that the site is in
 * need not be looked at again. Below all of them lies the address of a stub that asks the jump
 * cache, and stays there.
 *
 * It is the thread's own stack: signal handlers, and where they find their stack, are none the
 * wiser. Every call leads to an entry that polls, which compares the stack pointer with
 * cpu.poll_sp. When the room is used up the unit is left as for a kick, and the stack is empty
 * again. Between two polls there are fewer calls than fit into a page.
 */
#include "engine/emit.h"

#define RET_ROOM (4u << 10)	/* 512 calls deep, and then up to PAGE_SIZE / 5 more */
#define RET_FRAME 1024u		/* of run(), and what `enter` pushes */
#define RET_NEAR 2048u		/* so much more or less of RET_ROOM may there be */
/* emit_poll(): what is right differs from the limit in lower bits only. */
#define RET_BITS (~(u64)(2 * RET_ROOM - 1))
_Static_assert(!(RET_ROOM & (RET_ROOM - 1)) && RET_FRAME + RET_NEAR < RET_ROOM, "RET_BITS");

void returns_begin(struct engine *e, const void *frame)
{
	u64 limit = (u64)frame - RET_FRAME - RET_ROOM;

	/* KVM_RUN comes from several depths of C in turn, and to change poll_sp takes a fence. */
	if (likely(limit - e->ret_limit + RET_NEAR <= 2 * RET_NEAR))
		return;
	e->ret_limit = limit;
	e->ret_bits = RET_BITS;
	returns_polled(e);
}

void returns_mode(struct engine *e)
{
	e->ret_none = e->stub_ret_none[jc_bank(e->mode)];
}

void returns_polled(struct engine *e)
{
	/* Before poll is looked at: who kicks sets that one first. */
	atomic_store(&e->c->poll_sp, e->ret_limit);
}

/* Through the jump cache to RIP in RCX. */
static void jump_by_cache(struct translator *t, u32 bank)
{
	struct engine *e = t->e;

	pext32_abs(t, H_RSI, H_RCX, &e->jc_mask[bank]);
	jmp_table(t, H_RSI, e->jc[bank].slots, false);
}

void returns_stubs(struct translator *t)
{
	struct engine *e = t->e;

	for (u32 b = 0; b < JC_BANKS; b++) {
		e->stub_ret_none[b] = rx_of(t, t->p);
		op_mem(t, true, OP_LEA, H_RSP, H_RSP, -8);	/* it stays there */
		e->stub_ret_lost[b] = rx_of(t, t->p);
		jump_by_cache(t, b);
	}
	returns_mode(e);
}

bool returns_pair(const struct translator *t, const struct di *d)
{
	return t64(t) && !(t->mode & ~MODE_CPU) && d->in.opsize == 8;
}

void emit_return(struct translator *t)
{
	emit_branch_at(t);
	ret(t);
}

static bool short_site(const struct translator *t, u64 to)
{
	return !t->may_move && is_simm32(to) && is_simm32(-to);
}

void emit_return_site(struct translator *t, u64 from, u64 to)
{
	if (short_site(t, to)) {
		op_mem(t, true, OP_LEA, H_RCX, H_RCX, (s32)(1 - to));
	} else {
		mov_ri64(t, H_RSI, -to);
		if (t->may_move)
			note_fixup(t, t->p - 8, FIX_MINUS_RIP);
		lea(t, true, H_RCX, H_RCX, H_RSI, 1, 1);
	}
	u8 *lost = loop(t);	/* on if nothing is left */

	emit_link(t, from, to);
	jump_here(t, lost);
	add_cold(t, jmp32(t), NULL, FLAGS_HOST);
	if (t->n_cold) {
		t->cold[t->n_cold - 1].lost = true;
		t->cold[t->n_cold - 1].ret = to;
	}
}

/* RIP is what is left of it plus what was taken from it. */
void emit_return_lost(struct translator *t, const struct cold_stub *s)
{
	if (short_site(t, s->ret)) {
		op_mem(t, true, OP_LEA, H_RCX, H_RCX, (s32)s->ret);
	} else {
		not_r(t, H_RSI);
		lea(t, true, H_RCX, H_RCX, H_RSI, 1, 1);
	}
	jmp_rx(t, t->e->stub_ret_lost[jc_bank(t->mode)]);
}
