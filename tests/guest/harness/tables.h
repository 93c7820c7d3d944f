/* SPDX-License-Identifier: MIT */
/* tests/guest/harness/tables.h - descriptor, interrupt and page tables of a new guest. */
#ifndef GUEST_TABLES_H
#define GUEST_TABLES_H

struct guest;

/* Write every table into the guest's RAM, for its mode. */
void tables_build(struct guest *g);

#endif
