/* SPDX-License-Identifier: MIT */
/*
 * vm/coalesced.c - coalesced MMIO and PIO: writes inside a zone are queued in the ring page
 * and user space drains it at its leisure (docs/kvm-abi.md 5.6). The ring is the VM's: page 2 of
 * vCPU 0's memfd; the shim maps that page over page 2 of every other vCPU's mapping.
 */
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "vm/vm.h"

#define RING_MAX ((4096 - sizeof(struct kvm_coalesced_mmio_ring)) / \
		  sizeof(struct kvm_coalesced_mmio))

int vm_coalesced_register(struct vm *vm, const struct kvm_coalesced_mmio_zone *z)
{
	struct kvm_coalesced_mmio_zone *grown;
	int r = -ENOMEM;

	if (z->pio > 1)
		return -EINVAL;
	pthread_rwlock_wrlock(&vm->bus_lock);
	grown = realloc(vm->zones, (vm->nr_zones + 1) * sizeof(*grown));
	if (grown) {
		vm->zones = grown;
		grown[vm->nr_zones++] = *z;
		r = 0;
	}
	pthread_rwlock_unlock(&vm->bus_lock);
	return r;
}

static bool within(const struct kvm_coalesced_mmio_zone *z, u32 pio, u64 addr, u64 len)
{
	return z->pio == pio && addr >= z->addr && addr + len >= addr &&
	       addr + len <= z->addr + z->size;
}

/* Removes every zone that contains the given range. */
int vm_coalesced_unregister(struct vm *vm, const struct kvm_coalesced_mmio_zone *z)
{
	if (z->pio > 1)
		return -EINVAL;
	pthread_rwlock_wrlock(&vm->bus_lock);
	for (u32 i = 0; i < vm->nr_zones;) {
		if (within(&vm->zones[i], z->pio, z->addr, z->size))
			vm->zones[i] = vm->zones[--vm->nr_zones];
		else
			i++;
	}
	pthread_rwlock_unlock(&vm->bus_lock);
	return 0;
}

bool vm_coalesced_write(struct vm *vm, bool pio, u64 addr, const void *buf, u32 len)
{
	struct kvm_coalesced_mmio_ring *ring = vm->ring;
	bool hit = false;
	u32 last, next;

	if (!vm->nr_zones || !ring || len > 8)
		return false;
	pthread_rwlock_rdlock(&vm->bus_lock);
	for (u32 i = 0; i < vm->nr_zones && !hit; i++)
		hit = within(&vm->zones[i], pio, addr, len);
	pthread_rwlock_unlock(&vm->bus_lock);
	if (!hit)
		return false;

	pthread_mutex_lock(&vm->ring_lock);
	/* User space can write the whole page: trust no index. */
	last = __atomic_load_n(&ring->last, __ATOMIC_RELAXED);
	next = (last + 1) % RING_MAX;
	if (last >= RING_MAX || next == __atomic_load_n(&ring->first, __ATOMIC_ACQUIRE)) {
		hit = false;
	} else {
		struct kvm_coalesced_mmio *e = &ring->coalesced_mmio[last];

		e->phys_addr = addr;
		e->len = len;
		memcpy(e->data, buf, len);
		e->pio = pio;
		__atomic_store_n(&ring->last, next, __ATOMIC_RELEASE);
		vm_count(vm->stats, coalesced_writes);
	}
	pthread_mutex_unlock(&vm->ring_lock);
	return hit;
}

/* The first vCPU's memfd provides the ring. vm.lock held. */
int vm_coalesced_attach(struct vm *vm, int run_fd)
{
	void *p;
	int fd;

	if (vm->ring)
		return 0;
	fd = sys_dup(run_fd);
	if (fd < 0)
		return fd;
	p = sys_map_file(fd, PAGE_SIZE, VM_COALESCED_PAGE * PAGE_SIZE);
	if (sys_map_error(p)) {
		sys_close(fd);
		return sys_map_error(p);
	}
	vm->ring = p;
	vm->ring_fd = fd;
	return 0;
}
