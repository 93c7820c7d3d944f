/* SPDX-License-Identifier: MIT */
/* abi/vm.c - ioctls of a VM fd: what needs more than a call into vm/. */
#include "vm/vm.h"

#include <stdio.h>
#include <stdlib.h>

#include "abi/abi.h"
#include "abi/ioctls.h"
#include "base/log.h"

#define OBJ struct vm *
#include "abi/dispatch.h"
#include "base/sys.h"

bool abi_irqfd_maybe(int fd)
{
	return vm_irqfd_maybe(fd);
}

bool abi_irqfd_written(int fd)
{
	return vm_irqfd_written(fd);
}

void abi_irqfd_closed(u32 first, u32 last)
{
	vm_irqfd_closed(first, last);
}

static long vmi_check_extension(struct vm *vm, unsigned long nr)
{
	return cap_check(vm, nr);
}

static int create_on(struct vm *vm, u32 id, int fd, struct vm_vcpu **vv)
{
	char path[40];
	int own, r;

	/* Our mappings belong to an open file of our own: the program's must not look
	 * referenced because of them (abi/lend.c). */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = sys_open(path, O_RDWR | O_CLOEXEC);
	r = vm_vcpu_create(vm, id, own < 0 ? fd : own, vv);
	if (own >= 0)
		handle_close_own(own);
	if (!r && vm->ring_fd >= 0)
		handle_hide(vm->ring_fd);
	return r;
}

static long vmi_create_vcpu(struct vm *vm, unsigned long id)
{
	struct vm_vcpu *vv;
	struct handle *h;
	int fd, r;

	pthread_mutex_lock(&vm->lock);
	fd = vm_vcpu_check(vm, id);
	if (fd)
		goto out;
	vm_get(vm);
	fd = handle_new(HANDLE_VCPU, vm_vcpu_fd_bytes(vm), O_CLOEXEC, vm, NULL);
	if (fd < 0) {
		vm_put(vm);
		goto out;
	}
	h = handle_peek(fd);
	r = h ? create_on(vm, (u32)id, fd, &vv) : -EBADF;
	if (r) {
		/* The handle's release drops the VM reference. */
		handle_close_own(fd);
		fd = r;
	} else {
		h->vcpu = vv;
	}
	if (h)
		handle_put(h);
out:
	pthread_mutex_unlock(&vm->lock);
	return fd;
}

static long vmi_set_nr_mmu_pages(struct vm *vm, unsigned long n)
{
	return n < 64 ? -EINVAL : 0;
}

static long vmi_get_nr_mmu_pages(struct vm *vm)
{
	return 0;
}

static long vmi_set_memory(struct vm *vm, struct kvm_userspace_memory_region *r)
{
	struct kvm_userspace_memory_region2 m = {
		.slot = r->slot, .flags = r->flags, .guest_phys_addr = r->guest_phys_addr,
		.memory_size = r->memory_size, .userspace_addr = r->userspace_addr,
	};

	return vm_set_memory(vm, &m);
}

static long vmi_set_tss_addr(struct vm *vm, unsigned long addr)
{
	return addr > 0xffffffffu - 3 * PAGE_SIZE ? -EINVAL : 0;
}

static long vmi_set_identity_map(struct vm *vm, u64 *addr)
{
	return vm_has_vcpus(vm) ? -EINVAL : 0;
}

static long vmi_irq_line(struct vm *vm, struct kvm_irq_level *l)
{
	int r = vm_irq_line(vm, l->irq, l->level, false);

	return r == -ENXIO && !vm_chip(vm) ? r : 0;
}

static long vmi_irq_line_status(struct vm *vm, struct kvm_irq_level *l)
{
	if (!vm_chip(vm))
		return -ENXIO;
	l->status = (u32)vm_irq_line(vm, l->irq, l->level, true);
	return 0;
}

static struct irqchip *full_chip(struct vm *vm)
{
	struct irqchip *chip = vm_chip(vm);

	return chip && irqchip_get_mode(chip) == IRQCHIP_FULL ? chip : NULL;
}

static long vmi_get_irqchip(struct vm *vm, struct kvm_irqchip *s)
{
	return full_chip(vm) ? irqchip_get_state(full_chip(vm), s) : -ENXIO;
}

static long vmi_set_irqchip(struct vm *vm, struct kvm_irqchip *s)
{
	return full_chip(vm) ? irqchip_set_state(full_chip(vm), s) : -ENXIO;
}

static struct irqchip *pit_chip(struct vm *vm)
{
	struct irqchip *chip = vm_chip(vm);

	return chip && irqchip_has_pit(chip) ? chip : NULL;
}

static long vmi_create_pit(struct vm *vm)
{
	return vm_create_pit(vm, KVM_PIT_SPEAKER_DUMMY);
}

static long vmi_create_pit2(struct vm *vm, struct kvm_pit_config *c)
{
	return vm_create_pit(vm, c->flags);
}

static long vmi_get_pit2(struct vm *vm, struct kvm_pit_state2 *s)
{
	return pit_chip(vm) ? irqchip_pit_get(pit_chip(vm), s) : -ENXIO;
}

static long vmi_set_pit2(struct vm *vm, struct kvm_pit_state2 *s)
{
	return pit_chip(vm) ? irqchip_pit_set(pit_chip(vm), s) : -ENXIO;
}

static long vmi_get_pit(struct vm *vm, struct kvm_pit_state *s)
{
	struct kvm_pit_state2 s2 = { 0 };
	long r = vmi_get_pit2(vm, &s2);

	memcpy(s->channels, s2.channels, sizeof(s->channels));
	return r;
}

static long vmi_set_pit(struct vm *vm, struct kvm_pit_state *s)
{
	struct kvm_pit_state2 s2 = { 0 };

	memcpy(s2.channels, s->channels, sizeof(s2.channels));
	return vmi_set_pit2(vm, &s2);
}

static long vmi_reinject(struct vm *vm, struct kvm_reinject_control *c)
{
	return pit_chip(vm) ? irqchip_pit_reinject(pit_chip(vm), c->pit_reinject) : -ENXIO;
}

static long vmi_set_gsi_routing(struct vm *vm, void *user)
{
	struct kvm_irq_routing_entry *e = NULL;
	struct kvm_irq_routing hdr;
	size_t bytes;
	long r;

	if (user_get(&hdr, user, sizeof(hdr)))
		return -EFAULT;
	if (!vm_chip(vm) || hdr.nr > VM_MAX_ROUTES || hdr.flags)
		return -EINVAL;
	bytes = hdr.nr * sizeof(*e);
	e = malloc(bytes ? bytes : 1);
	if (!e)
		return -ENOMEM;
	r = user_get(e, (u8 *)user + sizeof(hdr), bytes);
	if (!r)
		r = vm_set_routing(vm, &hdr, e);
	free(e);
	return r;
}

static long vmi_set_boot_cpu(struct vm *vm, unsigned long id)
{
	long r = 0;

	pthread_mutex_lock(&vm->lock);
	if (vm_has_vcpus(vm))
		r = -EBUSY;
	else if (id >= (vm->max_vcpu_id ? vm->max_vcpu_id : VM_MAX_VCPU_ID))
		r = -EINVAL;
	else
		vm->bsp_id = (u32)id;
	pthread_mutex_unlock(&vm->lock);
	return r;
}

static long vmi_set_tsc_khz(struct vm *vm, unsigned long khz)
{
	long r = 0;

	/* The ratio is 32.32: nothing a 32-bit count of kHz can ask for is out of reach. */
	if (khz > 0x7fffffff)
		return -EINVAL;
	pthread_mutex_lock(&vm->lock);
	/* It is the default of new vCPUs: with some made already they would differ. */
	if (vm_has_vcpus(vm))
		r = -EINVAL;
	else
		vm->cfg.tsc_khz = khz ? (u32)khz : tsc_host_khz();
	pthread_mutex_unlock(&vm->lock);
	return r;
}

static long vmi_get_tsc_khz(struct vm *vm)
{
	return vm->cfg.tsc_khz;
}

static long vmi_enable_cap(struct vm *vm, struct kvm_enable_cap *cap)
{
	return vm_enable_cap(vm, cap);
}

static long vmi_stats_fd(struct vm *vm)
{
	return stats_vm_fd(vm);
}

static long vmi_pmu_filter(struct vm *vm, void *user)
{
	return vm_set_pmu_filter(vm, user);
}

IOCTL_DISPATCHER(VM_IOCTLS, vm_dispatch, -ENOTTY)

long vm_ioctl(struct vm *vm, u32 code, unsigned long arg)
{
	return unlikely(vm->cfg.dead) ? -EIO : vm_dispatch(vm, code, arg);
}
