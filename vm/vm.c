/* SPDX-License-Identifier: MIT */
/* vm/vm.c - life of a VM and of its vCPUs. */
#include "vm/vm.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cpus.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sys.h"
#include "base/trace.h"
#include "irq/lapic.h"
#include "vcpu/halt_poll.h"

u32 vm_halt_poll_ns(void)
{
	return (u32)option_number(OPT_HALT_POLL, HALT_POLL_DEFAULT);
}

int vm_create(struct vm **out)
{
	static _Atomic u32 serial;
	struct phys_map *map = phys_map_new(NULL, 0), *smm_map = phys_map_new(NULL, 0);
	struct vm *vm = calloc(1, sizeof(*vm));
	pthread_mutexattr_t recursive;

	if (!vm || !map || !smm_map)
		goto nomem;
	atomic_store(&vm->refs, 1);
	pthread_mutex_init(&vm->lock, NULL);
	pthread_rwlock_init(&vm->slots_lock, NULL);
	pthread_rwlock_init(&vm->bus_lock, NULL);
	pthread_mutex_init(&vm->ring_lock, NULL);
	pthread_mutex_init(&vm->pmu_lock, NULL);
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&vm->irqfd_lock, &recursive);
	pthread_mutexattr_destroy(&recursive);
	for (u32 i = 0; i < VM_SPACES; i++) {
		vm->phys[i].ops = &vm_phys_ops;
		vm->phys[i].owner = vm;
		vm->phys[i].as = i;
		vm->phys[i].twin = &vm->phys[!i];
		atomic_store(&vm->phys[i].map, i ? smm_map : map);
	}
	vm->stats = &vm->plain_stats;
	vm->stats_fd = -1;
	vm->ring_fd = -1;
	vm->serial = atomic_fetch_add(&serial, 1) + 1;
	vm->cfg.tsc_khz = tsc_host_khz();
	trace_init(vm->cfg.tsc_khz);
	vm->cfg.trace_vm = trace_vm_add(vm->serial);
	vm_apicv_init(vm);
	vm->cfg.shared.apic_bus_ns = 1;
	vm->cfg.halt_poll_ns = vm_halt_poll_ns();
	vm->cfg.host_cpus = cpus_usable();
	vm->cfg.online_cpus = cpus_online();
	vm->cfg.load_fd = cpus_open_load();
	/* The guest's TSC starts at 0 with the VM, and so does its clock. */
	vm->cfg.tsc_offset = -__builtin_ia32_rdtsc();
	vm->cfg.tsc_sync = &vm->tsc_sync;
	vm_eventfd_prepare();
	hyperv_vm_init(&vm->hyperv);
	vm->cfg.hv = &vm->hyperv;
	pthread_mutex_init(&vm->clock_lock, NULL);
	vm_clock_start(vm);
	if (vm_timer_init(vm))
		goto nomem;
	log_info("vm%u: created", vm->serial);
	*out = vm;
	return 0;
nomem:
	free(map);
	free(smm_map);
	free(vm);
	return -ENOMEM;
}

void vm_get(struct vm *vm)
{
	atomic_fetch_add(&vm->refs, 1);
}

void vm_release(struct vm *vm)
{
	vm_irqfd_release(vm);
	vm_ioeventfd_release(vm);
	vm_hyperv_release(vm);
}

/* Counters in a memfd begin in its first page: abi/stats.c. */
static void stats_unmap(void *s, void *plain, int fd)
{
	if (s != plain)
		munmap((void *)((uintptr_t)s & PAGE_MASK), VM_STATS_BYTES);
	if (fd >= 0)
		sys_close(fd);
}

static void vcpu_free(struct vm_vcpu *vv)
{
	/* The APIC bus first: it can reach the vCPU until then. */
	if (vv->lapic)
		lapic_destroy(vv->lapic);
	if (vv->v) {
		stats_unmap(vv->v->stats, &vv->v->plain_stats, vv->stats_fd);
		vcpu_destroy(vv->v);
	}
	vm_dirty_ring_detach(vv);
	free(vv);
}

static int vm_destroy(struct vm *vm)
{
	int ring_fd = vm->ring_fd;

	log_info("vm%u: destroyed", vm->serial);
	trace_vm_remove(vm->cfg.trace_vm);
	vm_release(vm);
	vm_timer_destroy(vm);
	for (u32 i = 0, n = atomic_load(&vm->nr_vcpus); i < n; i++)
		vcpu_free(atomic_load(&vm->vcpus[i]));
	if (vm_chip(vm))
		irqchip_destroy(vm_chip(vm));
	vm_memory_destroy(vm);
	vm_msr_filter_destroy(vm);
	vm_pmu_filter_destroy(vm);
	if (vm->cfg.load_fd >= 0)
		sys_close(vm->cfg.load_fd);
	free(vm->zones);
	if (vm->ring)
		munmap(vm->ring, PAGE_SIZE);
	stats_unmap(vm->stats, &vm->plain_stats, vm->stats_fd);
	hyperv_vm_destroy(&vm->hyperv);
	pthread_mutex_destroy(&vm->clock_lock);
	pthread_mutex_destroy(&vm->irqfd_lock);
	pthread_mutex_destroy(&vm->ring_lock);
	pthread_rwlock_destroy(&vm->bus_lock);
	pthread_rwlock_destroy(&vm->slots_lock);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
	return ring_fd;
}

int vm_put(struct vm *vm)
{
	return atomic_fetch_sub(&vm->refs, 1) == 1 ? vm_destroy(vm) : -1;
}

void vm_request_all(struct vm *vm, enum vcpu_request r, bool wait)
{
	struct vm_vcpu *vv;

	vm_for_each_vcpu(vm, i, vv) {
		if (wait)
			vcpu_request_wait(vv->v, r);
		else
			vcpu_request(vv->v, r);
	}
}

struct vm_vcpu *vm_find_vcpu(struct vm *vm, u32 id)
{
	struct vm_vcpu *vv;

	vm_for_each_vcpu(vm, i, vv) if (vv->v->id == id) return vv;
	return NULL;
}

int vm_vcpu_check(struct vm *vm, unsigned long id)
{
	if (id >= VM_MAX_VCPU_ID || (vm->max_vcpu_id && id >= vm->max_vcpu_id) ||
	    atomic_load(&vm->nr_vcpus) >= VM_MAX_VCPUS)
		return -EINVAL;
	return vm_find_vcpu(vm, (u32)id) ? -EEXIST : 0;
}

/* NULL: v is outside all slots. Else: where the lowest of them begins. */
static u8 *in_a_slot(struct vm *vm, const struct vcpu *v)
{
	u8 *lowest = NULL;
	bool inside = false;

	pthread_rwlock_rdlock(&vm->slots_lock);
	for (const struct vm_slot *s = vm->slots; s; s = s->next) {
		inside |= vcpu_within(v, s->s.hva, s->s.size);
		if (!lowest || s->s.hva < lowest)
			lowest = s->s.hva;
	}
	pthread_rwlock_unlock(&vm->slots_lock);
	return inside ? lowest : NULL;
}

/*
 * The kernel chooses where a vCPU's memory is: maybe in a hole that the VMM has unmapped inside a
 * slot, where the guest would see it. Then it is made again, below the slots.
 */
static int make_outside_slots(struct vm *vm, u32 id, u32 index, int run_fd, struct vcpu **out)
{
	const u64 step = 1ull << 30;
	u8 *lowest;
	int r;

	vm->cfg.place = NULL;
	for (u64 i = 1; i <= 64; i++) {
		r = vcpu_create(out, id, index, run_fd, vm, &vm_bus_ops, &vm->cfg, vm->phys, NULL);
		if (r)
			return r;
		lowest = in_a_slot(vm, *out);
		if (!lowest)
			return 0;
		vcpu_destroy(*out);
		*out = NULL;
		if ((u64)(uintptr_t)lowest <= i * step)
			break;
		vm->cfg.place = lowest - i * step;
	}
	return -ENOMEM;
}

/* vm.lock held, vm_vcpu_check() passed. */
int vm_vcpu_create(struct vm *vm, u32 id, int run_fd, struct vm_vcpu **out)
{
	struct vm_vcpu *vv = calloc(1, sizeof(*vv));
	u32 index = atomic_load(&vm->nr_vcpus);
	struct vcpu *v = NULL;
	int r;

	if (!vv)
		return -ENOMEM;
	vv->vm = vm;
	vv->index = index;
	vv->stats_fd = -1;
	r = vm_coalesced_attach(vm, run_fd);
	if (!r)
		r = vm_dirty_ring_attach(vv, run_fd);
	if (r)
		goto fail;
	vm->cfg.bsp_id = vm->bsp_id;
	r = make_outside_slots(vm, id, index, run_fd, &v);
	if (r)
		goto fail;
	vv->v = v;
	if (vm_chip(vm)) {
		vv->lapic = lapic_create(vm_chip(vm), v, id, id == vm->bsp_id);
		if (!vv->lapic) {
			r = -ENOMEM;
			goto fail;
		}
		vcpu_attach_lapic(v, vv->lapic);
	}
	atomic_store(&vm->vcpus[index], vv);
	atomic_store(&vm->nr_vcpus, index + 1);
	vm_alone_created(vm);
	atomic_store(&trace_vm_get(vm->cfg.trace_vm)->nr_vcpus, index + 1);
	log_debug("vm%u: vCPU id %u index %u", vm->serial, id, index);
	*out = vv;
	return 0;
fail:
	vcpu_free(vv);
	return r;
}
