/* SPDX-License-Identifier: MIT */
/* svm/fields.c - the VMCB's fields by name. */
#include "svm/fields.h"

#define CONTROL_F(off, type, name, keep, what) { #name, what, off, sizeof(type), 1 },
#define CONTROL_A(off, type, name, count, keep, what) { #name, what, off, sizeof(type), count },
#define SAVE_F(off, type, name, keep, what) \
	{ #name, what, SVM_SAVE_OFFSET + off, sizeof(type), 1 },
#define SAVE_A(off, type, name, count, keep, what) \
	{ #name, what, SVM_SAVE_OFFSET + off, sizeof(type), count },
#define GAP(off, bytes)

const struct vmcb_field vmcb_fields[] = {
	SVM_CONTROL_FIELDS(CONTROL_F, CONTROL_A, GAP)
	SVM_SAVE_FIELDS(SAVE_F, SAVE_A, GAP)
};
const u32 vmcb_field_count = ARRAY_SIZE(vmcb_fields);

const struct vmcb_field *vmcb_field_at(u32 offset)
{
	for (u32 i = 0; i < vmcb_field_count; i++) {
		const struct vmcb_field *f = &vmcb_fields[i];

		if (offset - f->offset < (u32)f->size * f->count)
			return f;
	}
	return NULL;
}
