/* SPDX-License-Identifier: MIT */
/*
 * vm/bus.c - where a guest's port and MMIO accesses go before user space: in-kernel
 * controllers, then ioeventfds, then coalesced zones.
 */
#include <errno.h>

#include "base/log.h"
#include "vm/vm.h"

static int mmio_read(void *o, struct vcpu *v, u64 gpa, void *buf, u32 len)
{
	struct irqchip *chip = vm_chip(o);

	return chip ? irqchip_mmio_read(chip, gpa, buf, len) : -ENOENT;
}

static int mmio_write(void *o, struct vcpu *v, u64 gpa, const void *buf, u32 len)
{
	struct irqchip *chip = vm_chip(o);

	if (chip && !irqchip_mmio_write(chip, gpa, buf, len))
		return 0;
	if (vm_ioeventfd_write(o, false, gpa, buf, len) ||
	    vm_coalesced_write(o, false, gpa, buf, len))
		return 0;
	return -ENOENT;
}

static int pio_read(void *o, struct vcpu *v, u16 port, void *buf, u32 size)
{
	struct irqchip *chip = vm_chip(o);

	return chip ? irqchip_pio_read(chip, port, buf, size) : -ENOENT;
}

static int pio_write(void *o, struct vcpu *v, u16 port, const void *buf, u32 size)
{
	struct irqchip *chip = vm_chip(o);

	if (chip && !irqchip_pio_write(chip, port, buf, size))
		return 0;
	if (vm_ioeventfd_write(o, true, port, buf, size) ||
	    vm_coalesced_write(o, true, port, buf, size))
		return 0;
	return -ENOENT;
}

static int extint_pending(void *o)
{
	struct irqchip *chip = vm_chip(o);

	return chip && irqchip_extint_pending(chip);
}

static int extint_ack(void *o)
{
	struct irqchip *chip = vm_chip(o);

	return chip ? irqchip_extint_ack(chip) : -1;
}

static u64 clock_ns(void *o)
{
	return vm_clock_ns(o);
}

static bool msr_allowed(void *o, u32 msr, bool write)
{
	return vm_msr_allowed(o, msr, write);
}

static bool pmu_allowed(void *o, u64 event)
{
	return vm_pmu_allowed(o, event);
}

static void arm_timer(void *o, struct vcpu *v, u64 deadline_ns)
{
	struct vm *vm = o;

	vm_timer_arm(atomic_load(&vm->vcpus[v->c->index]), deadline_ns);
}

static bool master_clock(void *o, u64 *host_tsc, u64 *ns)
{
	return vm_master_clock(o, host_tsc, ns);
}

static bool dirty_ring_full(void *o, struct vcpu *v)
{
	struct vm *vm = o;

	return vm->ring_bytes &&
	       vm_dirty_ring_soft_full(&atomic_load(&vm->vcpus[v->c->index])->ring);
}

static struct vcpu *vcpu_at(void *o, u32 index)
{
	struct vm *vm = o;

	return index < atomic_load(&vm->nr_vcpus) ? atomic_load(&vm->vcpus[index])->v : NULL;
}

static bool hyperv_signal(void *o, u32 conn)
{
	return vm_hyperv_signal(o, conn);
}

static void dead(void *owner)
{
	struct vm *vm = owner;

	log_error("vm%u: in a state that cannot be: it is dead", vm->serial);
	atomic_store(&vm->cfg.dead, true);
	vm_request_all(vm, VREQ_EVENT, false);
}

const struct vcpu_vm_ops vm_bus_ops = {
	.mmio_read = mmio_read,
	.mmio_write = mmio_write,
	.pio_read = pio_read,
	.pio_write = pio_write,
	.extint_pending = extint_pending,
	.extint_ack = extint_ack,
	.clock_ns = clock_ns,
	.msr_allowed = msr_allowed,
	.pmu_allowed = pmu_allowed,
	.arm_timer = arm_timer,
	.master_clock = master_clock,
	.alone = vm_alone,
	.dead = dead,
	.dirty_ring_full = dirty_ring_full,
	.vcpu_at = vcpu_at,
	.hyperv_signal = hyperv_signal,
};
