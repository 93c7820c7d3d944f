/* SPDX-License-Identifier: MIT */
/* tests/unit/svm_border.h - makes VMCBs that lie a step to either side of what VMRUN accepts. */
#ifndef SVM_BORDER_H
#define SVM_BORDER_H

#include "base/types.h"
#include "svm_oracle.h"

static u64 border_state = 0x2545f4914f6cdd1dull;

static inline u64 rnd(void)
{
	border_state ^= border_state << 13;
	border_state ^= border_state >> 7;
	border_state ^= border_state << 17;
	return border_state;
}

static inline u64 below(u64 n)
{
	return rnd() % n;
}

/* Fields the rules look at, and where. */
static const struct knob {
	u16 at;
	u8 len;
	enum { BITS, PA, EVENT, PAT, SMALL } kind;
} knobs[] = {
	{ 0x4d0, 8, BITS }, { 0x548, 8, BITS }, { 0x558, 8, BITS }, { 0x560, 8, BITS },
	{ 0x568, 8, BITS }, { 0x410, 4, BITS }, { 0x550, 8, PA },   { 0x40, 8, PA },
	{ 0x48, 8, PA },    { 0xb0, 8, PA },	{ 0xe0, 8, PA },    { 0xf0, 8, PA },
	{ 0xf8, 8, PA },    { 0xa8, 4, EVENT }, { 0xa8, 4, EVENT }, { 0x668, 8, PAT },
	{ 0x58, 4, SMALL }, { 0x10, 4, SMALL }, { 0x0c, 4, BITS },  { 0x60, 4, BITS },
	{ 0x90, 8, SMALL }, { 0xb8, 8, SMALL },
};

/* A value on the border or one step beside it. `old` is valid. */
static inline u64 border(const struct knob *k, u64 old, const struct oracle_cpu *cpu)
{
	u64 limit = 1ull << cpu->phys_bits;

	switch (k->kind) {
	case BITS:
		return old ^ 1ull << below(k->len * 8);
	case PA:
		switch (below(4)) {
		case 0: return limit - below(6) * 4096 + below(3) - 1;
		case 1: return 1ull << below(64);
		case 2: return limit - below(0x6000);
		}
		return rnd();
	case EVENT:
		return (rnd() & ~0x800000e0ull) | (below(8) ? 1u << 31 : 0) | below(2) << 5;
	case PAT:
		return (old & ~(0xffull << 8)) | below(10) << 8;
	case SMALL:
		break;
	}
	return below(3);
}

/* Move `changes` fields of a valid image. */
static inline void border_move(u8 *img, const struct oracle_cpu *cpu, u64 changes)
{
	for (; changes; changes--) {
		const struct knob *kn = &knobs[below(ARRAY_SIZE(knobs))];
		u64 val = 0;

		memcpy(&val, img + kn->at, kn->len);
		val = border(kn, val, cpu);
		memcpy(img + kn->at, &val, kn->len);
	}
}

#endif
