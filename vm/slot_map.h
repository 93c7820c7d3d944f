/* SPDX-License-Identifier: MIT */
/*
 * vm/slot_map.h - one change of the physical maps: for each address space that it touches a new
 * array of chunks, in which the chunks that change are copies. All of it under slots_lock, for
 * writing.
 *
 *   begin; any of insert, remove, edit; then commit or abort
 */
#ifndef VM_SLOT_MAP_H
#define VM_SLOT_MAP_H

#include "vm/vm.h"

#define EDIT_CHUNKS 8u	/* new or old ones that a change may hold before it has to ask for memory */

struct slot_edit {
	struct vm *vm;
	u32 serial;				/* of its own chunks */
	struct slot_space {
		struct phys_map *map;		/* the new one; NULL: not touched */
		u32 room;			/* parts it can have */
		struct vm_chunks fresh, old;	/* made here; not in the new map */
	} as[VM_SPACES];
};

void slot_edit_begin(struct slot_edit *e, struct vm *vm);
/* 0 or -ENOMEM. The slot's id says in which address space it is. */
int slot_edit_insert(struct slot_edit *e, const struct phys_slot *s);
int slot_edit_remove(struct slot_edit *e, const struct phys_slot *s);
/* What the new map has of slot s, to be written. NULL: no memory; or it is not there. Good until
 * the next call. */
struct phys_slot *slot_edit_slot(struct slot_edit *e, const struct phys_slot *s);
void slot_edit_abort(struct slot_edit *e);
/* Makes the new maps the current ones; what they replace goes to vm->retired. */
void slot_edit_commit(struct slot_edit *e);
void slot_chunks_free(struct vm_chunks *c);	/* the chunks as well */

#endif
