/* SPDX-License-Identifier: MIT */
/*
 * direct/scan.c - where has a page an instruction that answers differently on the host than in the
 * guest, or stops there in a way that says too little?
 *
 * Bytes that could be one are looked for; two in five pages of a compiler have some, nearly all of
 * them in the middle of other instructions. So it is decoded from sixteen places in a row that lie
 * some way before: whoever begins in the wrong place falls into step after a few instructions. What
 * any of them finds counts, and with it every place behind one of its prefixes. A program that
 * jumps into the middle of an instruction on purpose is not seen.
 */
#include "direct/direct_priv.h"
#include "engine/insn.h"

#define STARTS 16
#define AHEAD SCAN_AHEAD

/* p[0] is 0F, or CD. */
static bool tells(const u8 *p)
{
	u8 m = p[2], reg = m >> 3 & 7;
	bool mem = m < 0xc0;

	/* INT 3, INT 4: as INT3 and INTO are, for a tracer. */
	if (p[0] == 0xcd)
		return p[1] == 3 || p[1] == 4;
	switch (p[1]) {
	case 0xa2:	/* CPUID */
	case 0x34:	/* SYSENTER */
	case 0x02:	/* LAR */
	case 0x03:	/* LSL */
		return true;
	case 0x00:	/* SLDT, STR, VERR, VERW */
		return reg <= 1 || reg == 4 || reg == 5;
	case 0x01:	/* SGDT, SIDT, SMSW; XGETBV, VMCALL, VMMCALL, RDTSCP, MONITORX, MWAITX,
			 * CLZERO, RDPRU */
		return mem ? reg <= 1 || reg == 4
			   : reg == 4 || m == 0xd0 || m == 0xc1 || m == 0xd9 ||
				       (m >= 0xf9 && m <= 0xfd);
	case 0xc7:	/* XRSTORS, XSAVEC, XSAVES; RDPID */
		return mem ? reg >= 3 && reg <= 5 : reg == 7;
	case 0xae:	/* XSAVE, XRSTOR, XSAVEOPT */
		return mem && reg >= 4 && reg <= 6;
	}
	return false;
}

/* Where the opcode of the instruction at p begins. */
static u32 opcode_at(const u8 *p, u32 len)
{
	u32 i = 0;

	for (; i < len; i++)
		switch (p[i]) {
		case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: case 0x66:
		case 0x67: case 0xf0: case 0xf2: case 0xf3:
			continue;
		default:
			if ((p[i] & 0xf0) == 0x40)
				continue;
			return i;
		}
	return i;
}

/* Is there a way of decoding that finds an instruction whose opcode is at `hit`? Where it begins;
 * or -1. buf: from the page's start to `end`. */
static int reached(const u8 *buf, u32 hit, u32 end)
{
	u32 from = hit > AHEAD ? hit - AHEAD : 0;
	u8 at[AHEAD + 1] = { 0 };
	struct insn in;

	for (u32 k = 0; k < STARTS && from + k <= hit; k++)
		at[k] = 1;
	for (u32 o = from; o <= hit; o++) {
		u32 len;

		if (!at[o - from])
			continue;
		if (insn_decode(&in, buf + o, end - o > 15 ? 15 : end - o, 8)) {
			/* Cut off, or none: prefixes in front of the hit make a hit all the
			 * same. */
			if (o + opcode_at(buf + o, end - o) == hit)
				return (int)o;
			continue;
		}
		len = in.len;
		if (o + len > hit) {
			if (o + opcode_at(buf + o, len) == hit)
				return (int)o;
			continue;
		}
		at[o + len - from] = 1;
	}
	return -1;
}

/* So near the page's start that decoding has to begin in the page before. It begins at -1 or before
 * if that is so of the instruction. */
static int reached_early(const u8 *page, u32 hit, const u8 *before, bool *found)
{
	u8 b[2 * AHEAD + 16];
	int r;

	for (u32 k = 0; k < sizeof(b); k++)
		b[k] = k < AHEAD ? before[PAGE_SIZE - AHEAD + k] : page[k - AHEAD];
	r = reached(b, AHEAD + hit, sizeof(b));
	*found = r >= 0;
	return r - AHEAD;
}

/* Bytes of x that are b: their high bits. The lowest is right, those above may be false alarms. */
static u64 equal(u64 x, u8 b)
{
	x ^= b * 0x0101010101010101ull;
	return (x - 0x0101010101010101ull) & ~x & 0x8080808080808080ull;
}

bool scan_page(const u8 *page, const u8 *before, struct spots *s)
{
	const u64 *w = (const u64 *)(const void *)page;

	s->n = 0;
	for (u32 i = 0; i < PAGE_SIZE / 8; i++) {
		u64 hit = equal(w[i], 0x0f) | equal(w[i], 0xcd);

		for (; hit; hit &= hit - 1) {
			u32 at = i * 8 + (u32)__builtin_ctzll(hit) / 8;
			bool found;
			int o;

			if ((page[at] != 0x0f && page[at] != 0xcd) || at + 2 > PAGE_SIZE)
				continue;
			/* With a third byte in the next page it is scan_edge()'s. */
			if (at + 2 == PAGE_SIZE && page[at] == 0x0f
				    ? page[at + 1] != 0xa2 && page[at + 1] != 0x34
				    : !tells(page + at))
				continue;
			if (at < AHEAD && before) {
				o = reached_early(page, at, before, &found);
			} else {
				o = reached(page, at, PAGE_SIZE);
				found = o >= 0;
			}
			if (!found)
				continue;
			if (o < 0 || s->n + (at - (u32)o + 1) > SPOTS)
				return false;
			while ((u32)o <= at)
				s->at[s->n++] = (u16)o++;
		}
	}
	return true;
}

bool scan_edge(const u8 *page, const u8 *next)
{
	enum { BEFORE = AHEAD + 8 };
	const u8 *last = page + PAGE_SIZE - 1;
	u8 b[BEFORE + 16];

	if (last[0] != 0x0f && last[0] != 0xcd && last[-1] != 0x0f)
		return true;
	for (u32 k = 0; k < sizeof(b); k++)
		b[k] = k < BEFORE ? page[PAGE_SIZE - BEFORE + k] : next[k - BEFORE];
	for (u32 at = BEFORE - 2; at < BEFORE; at++)
		if ((b[at] == 0x0f || (b[at] == 0xcd && at == BEFORE - 1)) && tells(b + at) &&
		    reached(b, at, sizeof(b)) >= 0)
			return false;
	return true;
}
