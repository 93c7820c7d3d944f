/* SPDX-License-Identifier: MIT */
/*
 * engine/decode_memo.c - decoding, with a memory: the same instructions come again and again, and to
 * decode and classify one costs more than a third of its translation.
 */
#include <stddef.h>

#include "base/mem.h"
#include "engine/translate_priv.h"

#define MEMO_BITS 12
#define MEMO_AFTER 2000	/* units: a small guest does without the memory */

/* What an instruction is follows from its bytes and the mode. */
struct memo {
	u32 mode;
	u8 len;		/* 0: empty */
	u8 bytes[15];
	struct di d;
};

static struct memo *slot_of(struct translator *t, const u8 *p)
{
	u32 first;

	__builtin_memcpy(&first, p, sizeof(first));
	return &t->memo[((first ^ (u64)t->mode << 32) * 0x9e3779b97f4a7c15ull) >> (64 - MEMO_BITS)];
}

static bool same(const struct memo *m, u32 mode, const u8 *p, u32 n)
{
	return m->mode == mode && m->len && m->len <= n && cpu_equal(m->bytes, p, m->len);
}

static void copy(struct di *to, const struct di *from)
{
	cpu_copy(to, from,
		 offsetof(struct di, op) + from->zi.operand_count * sizeof(from->op[0]));
}

ZyanStatus decode_one(struct translator *t, struct di *d, const u8 *p, u32 n)
{
	struct memo *m = NULL;
	ZyanStatus st;

	if (!t->memo && t->e->n_units > MEMO_AFTER)
		t->memo = pages_alloc(sizeof(*t->memo) << MEMO_BITS);
	if (t->memo && n >= 4) {
		m = slot_of(t, p);
		if (same(m, t->mode, p, n)) {
			copy(d, &m->d);
			return ZYAN_STATUS_SUCCESS;
		}
	}
	st = ZydisDecoderDecodeFull(&engine_decoder[t->mode & MODE_SIZE], p, n, &d->zi, d->op);
	if (!ZYAN_SUCCESS(st))
		return st;
	d->too_long = false;
	insn_from_zydis(&d->in, &d->zi, d->op, p, t->mode & MODE_SIZE);
	classify(t, d);
	if (m) {
		m->mode = t->mode;
		m->len = d->in.len;
		cpu_copy(m->bytes, p, m->len);
		copy(&m->d, d);
	}
	return st;
}

void memo_free(struct translator *t)
{
	pages_free(t->memo, sizeof(*t->memo) << MEMO_BITS);
}
