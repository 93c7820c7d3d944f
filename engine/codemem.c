/* SPDX-License-Identifier: MIT */
/*
 * engine/codemem.c - code memory. One memfd mapped twice: the executable view
 * is never writable and the writable view never executable (W^X). Pages come
 * into being when touched, so a large reservation costs address space only.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/engine_priv.h"

void *pages_alloc(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void *pages_alloc_huge(size_t bytes)
{
	const u64 huge = 2u << 20;
	u8 *p = pages_alloc(bytes + huge);

	if (!p)
		return NULL;
	u8 *at = (u8 *)ALIGN_UP((u64)p, huge);

	if (at > p)
		munmap(p, (size_t)(at - p));
	if (at < p + huge)
		munmap(at + bytes, (size_t)(p + huge - at));
	madvise(at, bytes, MADV_HUGEPAGE);
	return at;
}

void pages_free(void *p, size_t bytes)
{
	if (p)
		munmap(p, bytes);
}

int codemem_init(struct code_mem *m, u64 size)
{
	int fd = memfd_create("standin-code", MFD_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	m->size = size;
	m->rx = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	m->rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	err = m->rx == MAP_FAILED || m->rw == MAP_FAILED ? -errno : 0;
	close(fd);
	if (err) {
		codemem_destroy(m);
		return err;
	}
	madvise(m->rw, size, MADV_DONTFORK);
	madvise(m->rx, size, MADV_DONTFORK);
	return 0;
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23	/* Linux 5.14 */
#endif
#define POPULATE_MAX (128u << 10)

void codemem_populate(struct code_mem *m, u8 *at, const u8 *start, const u8 *end, u8 **there)
{
	u64 step = ALIGN_UP((u64)(at - start), PAGE_SIZE);
	u8 *from = *there;

	if (step > POPULATE_MAX)
		step = POPULATE_MAX;
	if (from < at)
		from = (u8 *)ALIGN_DOWN((u64)at, PAGE_SIZE);
	if (step > (u64)(end - from))
		step = (u64)(end - from);
	/* Fails on old kernels: then the pages come one fault at a time. */
	if (step)
		madvise(codemem_rw(m, from), step, MADV_POPULATE_WRITE);
	*there = from + step;
}

void codemem_destroy(struct code_mem *m)
{
	if (m->rx && m->rx != MAP_FAILED)
		munmap(m->rx, m->size);
	if (m->rw && m->rw != MAP_FAILED)
		munmap(m->rw, m->size);
	m->rx = m->rw = NULL;
}
