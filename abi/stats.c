/* SPDX-License-Identifier: MIT */
/*
 * abi/stats.c - KVM_GET_STATS_FD: a memfd in KVM's binary format (header, id, descriptors,
 * data; one page). The counters themselves live in that page from the first request on, so
 * the fd is live without anybody serving reads.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/abi.h"
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

static const char *const vm_names[] = {
#define X(n, d) #n,
	VM_STATS(X)
#undef X
};
static const char *const vcpu_names[] = {
#define X(n, d) #n,
	VCPU_STATS(X)
#undef X
};

#define DATA_OFFSET(n) ALIGN_UP(sizeof(struct page) + (n) * sizeof(struct desc), 64)
_Static_assert(DATA_OFFSET(ARRAY_SIZE(vm_names)) + sizeof(struct vm_stats) <= 4096, "one page");
_Static_assert(DATA_OFFSET(ARRAY_SIZE(vcpu_names)) + sizeof(struct vcpu_stats) <= 4096, "one page");

/* A new page with the counters copied from `now`. *data: where they live from here on. */
static int make(const char *id, const char *const *names, u32 n, const void *now, void **data)
{
	struct page *p;
	int fd = memfd_create("standin:kvm-stats", MFD_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)(DATA_OFFSET(n) + n * 8)))
		goto fail;
	p = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		goto fail;
	p->h.name_size = NAME_SIZE;
	p->h.num_desc = n;
	p->h.id_offset = offsetof(struct page, id);
	p->h.desc_offset = offsetof(struct page, desc);
	p->h.data_offset = (u32)DATA_OFFSET(n);
	snprintf(p->id, NAME_SIZE, "%s", id);
	for (u32 i = 0; i < n; i++) {
		p->desc[i].d.flags = KVM_STATS_TYPE_CUMULATIVE | KVM_STATS_UNIT_NONE |
				     KVM_STATS_BASE_POW10;
		p->desc[i].d.size = 1;
		p->desc[i].d.offset = i * 8;
		snprintf(p->desc[i].name, NAME_SIZE, "%s", names[i]);
	}
	*data = (u8 *)p + DATA_OFFSET(n);
	memcpy(*data, now, n * 8);
	return fd;
fail:
	r = -errno;
	close(fd);
	return r;
}

/* The caller's own open file: read-only, with its own position. */
static int reopen(int fd)
{
	char path[40];
	int r;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = open(path, O_RDONLY | O_CLOEXEC);
	if (r < 0)
		r = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return r < 0 ? -errno : r;
}

int stats_vm_fd(struct vm *vm)
{
	char id[NAME_SIZE];
	void *data;
	int fd;

	pthread_mutex_lock(&vm->lock);
	if (vm->stats_fd < 0) {
		snprintf(id, sizeof(id), "kvm-%d-%u", getpid(), vm->serial);
		fd = make(id, vm_names, ARRAY_SIZE(vm_names), vm->stats, &data);
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
		snprintf(id, sizeof(id), "kvm-%d-%u/vcpu-%u", getpid(), vv->vm->serial, vv->v->id);
		fd = make(id, vcpu_names, ARRAY_SIZE(vcpu_names), vv->stats, &data);
		if (fd < 0)
			return fd;
		vv->stats_fd = fd;
		vv->stats = data;
	}
	return reopen(vv->stats_fd);
}
