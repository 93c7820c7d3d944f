/* SPDX-License-Identifier: MIT */
/*
 * abi/stats.c - KVM_GET_STATS_FD: a memfd in KVM's binary format (header, id, descriptors,
 * data; two pages). The counters themselves live there from the first request on, so that the
 * fd is live without anybody serving reads.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "abi/abi.h"
#include "base/memfd.h"
#include "base/sys.h"
#include "vm/vm.h"

#define NAME_SIZE 48

struct desc {
	struct kvm_stats_desc d;
	char name[NAME_SIZE];
};
_Static_assert(sizeof(struct desc) == 16 + NAME_SIZE, "packed as KVM does");

struct page {
	struct kvm_stats_header h;
	char id[NAME_SIZE];
	struct desc desc[];
};

#define CUMULATIVE(unit) (KVM_STATS_TYPE_CUMULATIVE | KVM_STATS_UNIT_##unit)
#define KIND_COUNT CUMULATIVE(NONE) | KVM_STATS_BASE_POW10, 0
#define KIND_NS CUMULATIVE(SECONDS) | KVM_STATS_BASE_POW10, -9
#define KIND_GAUGE KVM_STATS_TYPE_INSTANT | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10, 0
#define KIND_PEAK KVM_STATS_TYPE_PEAK | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10, 0
#define KIND_FLAG KVM_STATS_TYPE_INSTANT | KVM_STATS_UNIT_BOOLEAN | KVM_STATS_BASE_POW10, 0
#define KIND_HIST KVM_STATS_TYPE_LOG_HIST | KVM_STATS_UNIT_SECONDS | KVM_STATS_BASE_POW10, -9

struct row {
	u32 flags;
	s16 exponent;
	u16 words;
	const char *name;
};
#define X(n, kind, words, what) { KIND_##kind, words, #n },
static const struct row vm_rows[] = { VM_STATS(X) };
static const struct row vcpu_rows[] = { VCPU_STATS(X) };
#undef X

#define DATA_OFFSET(n) ALIGN_UP(sizeof(struct page) + (n) * sizeof(struct desc), 64)
/* The counters begin in the first page: vm.c finds the mapping by that. */
_Static_assert(DATA_OFFSET(ARRAY_SIZE(vm_rows)) < PAGE_SIZE, "first page");
_Static_assert(DATA_OFFSET(ARRAY_SIZE(vcpu_rows)) < PAGE_SIZE, "first page");
_Static_assert(DATA_OFFSET(ARRAY_SIZE(vm_rows)) + sizeof(struct vm_stats) <= VM_STATS_BYTES,
	       "fits");
_Static_assert(DATA_OFFSET(ARRAY_SIZE(vcpu_rows)) + sizeof(struct vcpu_stats) <= VM_STATS_BYTES,
	       "fits");

/* New pages with the counters copied from `now`. *data: where they live from here on. */
static int make(const char *id, const struct row *rows, u32 n, const void *now, size_t bytes,
		void **data)
{
	struct page *p;
	u32 offset = 0;
	int fd = memfd_create("standin:kvm-stats", MFD_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = memfd_size(fd, DATA_OFFSET(n) + bytes);
	p = r ? NULL : sys_map_file(fd, VM_STATS_BYTES, 0);
	r = r ? r : sys_map_error(p);
	if (r) {
		sys_close(fd);
		return r;
	}
	p->h.name_size = NAME_SIZE;
	p->h.num_desc = n;
	p->h.id_offset = offsetof(struct page, id);
	p->h.desc_offset = offsetof(struct page, desc);
	p->h.data_offset = (u32)DATA_OFFSET(n);
	snprintf(p->id, NAME_SIZE, "%s", id);
	for (u32 i = 0; i < n; i++) {
		p->desc[i].d.flags = rows[i].flags;
		p->desc[i].d.exponent = rows[i].exponent;
		p->desc[i].d.size = rows[i].words;
		p->desc[i].d.offset = offset;
		offset += rows[i].words * 8u;
		snprintf(p->desc[i].name, NAME_SIZE, "%s", rows[i].name);
	}
	*data = (u8 *)p + DATA_OFFSET(n);
	memcpy(*data, now, bytes);
	return fd;
}

/* The caller's own open file: read-only, with its own position. */
static int reopen(int fd)
{
	char path[40];
	int r;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = sys_open(path, O_RDONLY | O_CLOEXEC);
	return r < 0 ? sys_dup(fd) : r;
}

int stats_vm_fd(struct vm *vm)
{
	char id[NAME_SIZE];
	void *data;
	int fd;

	pthread_mutex_lock(&vm->lock);
	if (vm->stats_fd < 0) {
		snprintf(id, sizeof(id), "kvm-%d-%u", sys_getpid(), vm->serial);
		fd = make(id, vm_rows, ARRAY_SIZE(vm_rows), vm->stats, sizeof(*vm->stats), &data);
		if (fd < 0)
			goto out;
		vm->stats_fd = fd;
		vm->stats = data;
	}
	fd = reopen(vm->stats_fd);
out:
	pthread_mutex_unlock(&vm->lock);
	return fd;
}

/* vCPU lock held. */
int stats_vcpu_fd(struct vm_vcpu *vv)
{
	char id[NAME_SIZE];
	void *data;
	int fd;

	if (vv->stats_fd < 0) {
		snprintf(id, sizeof(id), "kvm-%d-%u/vcpu-%u", sys_getpid(), vv->vm->serial,
			 vv->v->id);
		fd = make(id, vcpu_rows, ARRAY_SIZE(vcpu_rows), vv->v->stats, sizeof(*vv->v->stats),
			  &data);
		if (fd < 0)
			return fd;
		vv->stats_fd = fd;
		vv->v->stats = data;
	}
	return reopen(vv->stats_fd);
}
