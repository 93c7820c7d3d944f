/* SPDX-License-Identifier: MIT */
/* svm/fields.h - the VMCB's fields by name, for output. */
#ifndef SVM_FIELDS_H
#define SVM_FIELDS_H

#include "svm/vmcb.h"

struct vmcb_field {
	const char *name, *what;
	u16 offset;	/* in the VMCB */
	u8 size;	/* of one element; 16: a segment */
	u8 count;
};
extern const struct vmcb_field vmcb_fields[];
extern const u32 vmcb_field_count;

/* The field that holds the byte at `offset`, or NULL. */
const struct vmcb_field *vmcb_field_at(u32 offset);

#endif
