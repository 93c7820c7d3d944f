/* SPDX-License-Identifier: MIT */
/*
 * base/work.h - what the engine counts of its own work, one row a counter: engine_counts() has them
 * of a vCPU, `standin stat` shows them of a VM.
 *
 *	X(name, what it counts)
 */
#ifndef BASE_WORK_H
#define BASE_WORK_H

#include "base/types.h"

/* The first ones say why translated code was left, in the order of enum record_kind. */
#define ENGINE_WORK(X) \
	X(left_link, "left: jump not linked yet") \
	X(left_indirect, "left: indirect jump not known") \
	X(left_access, "left: access not in the TLB") \
	X(left_exec, "left: instruction for C") \
	X(left_entry, "left: page in doubt") \
	X(left_poll, "left: attention wanted") \
	X(left_fpu, "left: vector state wanted") \
	X(left_ud, "left: undefined instruction") \
	X(left_nm, "left: state switched off") \
	X(left_bounced, "left: run on a copy of memory") \
	X(left_stepped, "left: instruction run alone") \
	X(left_slow, "left: operand not plain memory") \
	X(left_too_long, "left: instruction too long") \
	X(left_fault, "left: signal of the host") \
	X(left_count, "left: a counter is about to overflow") \
	X(left_done, "left: behind an instruction for C") \
	X(units, "units made") \
	X(insns, "instructions in them") \
	X(dropped, "units dropped") \
	X(moved, "code pages moved") \
	X(units_moved, "units moved") \
	X(flushes, "all units thrown away") \
	X(fetches, "code pages looked up") \
	X(compared, "code pages compared")

enum engine_work {
#define X(name, what) WORK_##name,
	ENGINE_WORK(X)
#undef X
	WORK_COUNT
};

#endif
