/* SPDX-License-Identifier: MIT */
/* tests/guest/harness/area.h - what standin says of the newest VM of this process. */
#ifndef GUEST_AREA_H
#define GUEST_AREA_H

#include "base/types.h"

/* The mask of reasons against APIC acceleration. False: it is not standin that runs the guest. */
bool area_inhibits(u32 *mask);

#endif
