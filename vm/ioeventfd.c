/* SPDX-License-Identifier: MIT */
/*
 * vm/ioeventfd.c - guest writes that become an eventfd signal (KVM_IOEVENTFD). A sorted
 * array under bus_lock; several entries may share an address (docs/kvm-abi.md 5.2).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sys.h"
#include "vm/vm.h"

enum { BUS_MMIO, BUS_PIO, BUS_CCW };

struct vm_ioeventfd {
	u64 addr, data;
	u32 len;
	u8 bus;
	bool has_data;
	int fd;
};

#define FLAGS_VALID (KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_PIO | \
		     KVM_IOEVENTFD_FLAG_DEASSIGN | KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY)

static u8 bus_of(u32 flags)
{
	if (flags & KVM_IOEVENTFD_FLAG_PIO)
		return BUS_PIO;
	return flags & KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY ? BUS_CCW : BUS_MMIO;
}

/* First index whose (bus, addr) is not below. bus_lock held. */
static u32 lower_bound(struct vm *vm, u8 bus, u64 addr)
{
	u32 lo = 0, hi = vm->nr_ioevents;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;
		struct vm_ioeventfd *e = &vm->ioevents[mid];

		if (e->bus < bus || (e->bus == bus && e->addr < addr))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

#define for_each_at(vm, i, bus_, addr_) \
	for (u32 i = lower_bound(vm, bus_, addr_); i < (vm)->nr_ioevents && \
	     (vm)->ioevents[i].bus == (bus_) && (vm)->ioevents[i].addr == (addr_); i++)

static bool collides(const struct vm_ioeventfd *a, const struct vm_ioeventfd *b)
{
	return !a->len || !b->len ||
	       (a->len == b->len && (!a->has_data || !b->has_data || a->data == b->data));
}

static int assign(struct vm *vm, struct vm_ioeventfd *n, int fd)
{
	struct vm_ioeventfd *grown;
	u32 at;

	for_each_at(vm, i, n->bus, n->addr) if (collides(&vm->ioevents[i], n)) return -EEXIST;
	grown = realloc(vm->ioevents, (vm->nr_ioevents + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	vm->ioevents = grown;
	n->fd = sys_dup(fd);
	if (n->fd < 0)
		return n->fd;
	at = lower_bound(vm, n->bus, n->addr);
	memmove(&grown[at + 1], &grown[at], (vm->nr_ioevents - at) * sizeof(*grown));
	grown[at] = *n;
	vm->nr_ioevents++;
	return 0;
}

static int deassign(struct vm *vm, const struct vm_ioeventfd *n, int fd)
{
	for_each_at(vm, i, n->bus, n->addr) {
		struct vm_ioeventfd *e = &vm->ioevents[i];

		if (e->len != n->len || e->has_data != n->has_data ||
		    (e->has_data && e->data != n->data) || !vm_eventfd_same(e->fd, fd))
			continue;
		sys_close(e->fd);
		vm->nr_ioevents--;
		memmove(e, e + 1, (vm->nr_ioevents - i) * sizeof(*e));
		return 0;
	}
	return -ENOENT;
}

int vm_ioeventfd(struct vm *vm, const struct kvm_ioeventfd *p)
{
	struct vm_ioeventfd n = {
		.addr = p->addr, .len = p->len, .bus = bus_of(p->flags),
		.has_data = p->flags & KVM_IOEVENTFD_FLAG_DATAMATCH, .fd = -1,
	};
	int r;

	if (p->len > 8 || (p->len & (p->len - 1)) || p->addr + p->len < p->addr ||
	    (p->flags & ~(u32)FLAGS_VALID) || (!p->len && n.has_data))
		return -EINVAL;
	/* Not cut to the length: a value that does not fit never matches. */
	if (n.has_data)
		n.data = p->datamatch;
	r = vm_eventfd_check(p->fd);
	if (r)
		return r;
	pthread_rwlock_wrlock(&vm->bus_lock);
	r = p->flags & KVM_IOEVENTFD_FLAG_DEASSIGN ? deassign(vm, &n, p->fd)
						   : assign(vm, &n, p->fd);
	pthread_rwlock_unlock(&vm->bus_lock);
	return r;
}

bool vm_ioeventfd_write(struct vm *vm, bool pio, u64 addr, const void *buf, u32 len)
{
	u64 data = 0;
	bool hit = false;

	memcpy(&data, buf, len > 8 ? 8 : len);
	pthread_rwlock_rdlock(&vm->bus_lock);
	for_each_at(vm, i, pio ? BUS_PIO : BUS_MMIO, addr) {
		struct vm_ioeventfd *e = &vm->ioevents[i];

		if ((e->len && e->len != len) || (e->has_data && e->data != data))
			continue;
		hit = true;
		vm_eventfd_signal(vm, e->fd, "ioeventfd", addr);
		vm_count(vm->stats, ioeventfd_signals);
		break;
	}
	pthread_rwlock_unlock(&vm->bus_lock);
	return hit;
}

void vm_ioeventfd_release(struct vm *vm)
{
	pthread_rwlock_wrlock(&vm->bus_lock);
	for (u32 i = 0; i < vm->nr_ioevents; i++)
		sys_close(vm->ioevents[i].fd);
	free(vm->ioevents);
	vm->ioevents = NULL;
	vm->nr_ioevents = 0;
	pthread_rwlock_unlock(&vm->bus_lock);
}
