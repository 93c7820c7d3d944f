/* SPDX-License-Identifier: MIT */
/*
 * tests/unit/svm_oracle.h - which VMCBs VMRUN refuses, written a second time.
 *
 * From the manual and the behaviour reference, without svm/: raw offsets into the
 * image, no shared constant, no shared control flow. Returns a set of letters, one per rule.
 */
#ifndef SVM_ORACLE_H
#define SVM_ORACLE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct oracle_cpu {
	bool npt, shstk, sev_es, avic, own_pat;
	int phys_bits;
	uint64_t cr4_allowed, efer_allowed;
};

static inline uint64_t img64(const uint8_t *img, int at)
{
	uint64_t v;

	memcpy(&v, img + at, sizeof(v));
	return v;
}

static inline uint32_t img32(const uint8_t *img, int at)
{
	return (uint32_t)img64(img, at);
}

static inline bool fits(const struct oracle_cpu *cpu, uint64_t pa)
{
	return pa < (uint64_t)1 << cpu->phys_bits;
}

/* The vectors of 15.20 by name of their exception: DE DB BP OF BR UD NM DF TS NP SS GP PF MF
 * AC MC XF HV SX on every CPU. */
static inline bool oracle_vector(const struct oracle_cpu *cpu, int vector)
{
	static const int always[] = { 0, 1, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19,
				      28, 30 };

	for (unsigned i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		if (always[i] == vector)
			return true;
	return (vector == 21 && cpu->shstk) || (vector == 29 && cpu->sev_es);
}

static inline bool oracle_event_type_ok(uint32_t ev)
{
	int type = ev / 256 % 8;

	return ev < 0x80000000u || (type != 1 && type < 5);
}

static inline bool oracle_event_vector_ok(const struct oracle_cpu *cpu, uint32_t ev)
{
	return ev < 0x80000000u || ev / 256 % 8 != 3 || oracle_vector(cpu, ev % 256);
}

static inline bool oracle_pat_ok(uint64_t pat)
{
	for (; pat; pat >>= 8)
		if (!strchr("\1\4\5\6\7", (int)(pat & 0xff)) && (pat & 0xff))
			return false;
	return true;
}

/*
 * Letters: S no SVME, N CR0.NW alone, 0 CR0 high half, 6 DR6, 7 DR7, P no PAE, E no PE,
 * 3 CR3 in long mode, C CS.L and D, 4 CR4, F EFER, G G_PAT, V VMRUN not intercepted, A ASID,
 * n nCR3, m MSRPM, i IOPM, v V_NMI, a AVIC, t type, x vector, c CR3 otherwise.
 */
static inline void oracle(const struct oracle_cpu *cpu, const uint8_t *img, char *verdict)
{
	const uint64_t efer = img64(img, 0x4d0), cr4 = img64(img, 0x548), cr3 = img64(img, 0x550),
		       cr0 = img64(img, 0x558);
	const bool lm = (efer & 0x100) != 0 && (cr0 & 0x80000000) != 0;
	const bool np = cpu->npt && (img[0x90] & 1);
	const uint32_t ev = img32(img, 0xa8);
	const uint64_t msrpm = img64(img, 0x48) / 4096 * 4096,
		       iopm = img64(img, 0x40) / 4096 * 4096;

#define REFUSE_IF(cond, letter) do { if (cond) *verdict++ = (letter); } while (0)
	REFUSE_IF((efer & 0x1000) == 0, 'S');
	REFUSE_IF((cr0 & 0x20000000) != 0 && (cr0 & 0x40000000) == 0, 'N');
	REFUSE_IF(cr0 > 0xffffffffull, '0');
	REFUSE_IF(img32(img, 0x56c) != 0, '6');
	REFUSE_IF(img32(img, 0x564) != 0, '7');
	REFUSE_IF(lm && (cr4 & 0x20) == 0, 'P');
	REFUSE_IF(lm && (cr0 & 1) == 0, 'E');
	REFUSE_IF(lm && !fits(cpu, cr3), '3');
	REFUSE_IF(lm && (img[0x413] & 6) == 6, 'C');
	REFUSE_IF((cr4 | cpu->cr4_allowed) != cpu->cr4_allowed, '4');
	REFUSE_IF((efer | cpu->efer_allowed) != cpu->efer_allowed, 'F');
	REFUSE_IF(np && cpu->own_pat && !oracle_pat_ok(img64(img, 0x668)), 'G');
	REFUSE_IF((img[0x10] & 1) == 0, 'V');
	REFUSE_IF(img32(img, 0x58) == 0, 'A');
	REFUSE_IF(np && !fits(cpu, img64(img, 0xb0)), 'n');
	REFUSE_IF(!fits(cpu, msrpm) || !fits(cpu, msrpm + 8191), 'm');
	REFUSE_IF(!fits(cpu, iopm) || !fits(cpu, iopm + 12287), 'i');
	REFUSE_IF((img[0x63] & 4) != 0 && (img[0x0c] & 2) == 0, 'v');
	REFUSE_IF(!oracle_event_type_ok(ev), 't');
	REFUSE_IF(!oracle_event_vector_ok(cpu, ev), 'x');
	REFUSE_IF(cpu->avic && img[0x63] >= 0x80 &&
			  !(fits(cpu, img64(img, 0xe0)) && fits(cpu, img64(img, 0xf0)) &&
			    fits(cpu, img64(img, 0xf8))),
		  'a');
	REFUSE_IF(!lm && !fits(cpu, cr3), 'c');
#undef REFUSE_IF
	*verdict = 0;
}

#endif
