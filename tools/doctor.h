/* SPDX-License-Identifier: MIT */
/*
 * tools/doctor.h - what `standin doctor` finds out: facts in sections, which are printed or become
 * JSON.
 */
#ifndef TOOLS_DOCTOR_H
#define TOOLS_DOCTOR_H

#include "base/types.h"

enum verdict {
	FACT_OK,
	FACT_NOTE,	/* neither good nor bad */
	FACT_WARN,	/* some programs or guests will miss it */
	FACT_NO,	/* of the real KVM: standin does not need it */
	FACT_FAIL,	/* standin cannot run */
};

/* section and what: string literals. Never fails: what does not fit is dropped. */
void fact(enum verdict v, const char *section, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#define SECTION_REAL "real KVM"
#define SECTION_STANDIN "standin"
#define SECTION_MACHINE "this machine"

/* A small guest on KVM at `node`, in this process: it multiplies, writes the product to a port and
 * halts. NULL: it did; else what went wrong, in a static buffer. */
const char *doctor_guest(const char *node);
/* The same through a door, as `standin run` starts programs: facts about both. */
void doctor_doors(void);

/* What the machine is and permits. */
void doctor_machine(void);

#endif
