/* SPDX-License-Identifier: MIT */
/* tests/unit/memory.h - guest memory for a test: slots of a physical map, with what they need. */
#ifndef TESTS_UNIT_MEMORY_H
#define TESTS_UNIT_MEMORY_H

#include "tests/unit/unit.h"

#include <sys/mman.h>

#include "mmu/phys.h"

enum { MEMORY_SERIAL = 7 };	/* phys_slot.code_serial */

static inline void *memory_map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static inline struct phys_slot memory_slot(u64 gpa, u64 bytes, u32 flags)
{
	struct phys_slot s = {
		.gpa = gpa, .size = bytes, .flags = flags, .hva = memory_map(bytes),
		.code = calloc(bytes >> PAGE_SHIFT, 1), .code_serial = MEMORY_SERIAL,
	};

	assert_non_null((void *)s.code);
	return s;
}

static inline void memory_free(struct phys_slot *s)
{
	free((void *)s->code);
	munmap(s->hva, s->size);
}

#endif
