/* SPDX-License-Identifier: MIT */
/* vm/irqchip.c - the VM's interrupt controllers: creation, modes, ioctls, callbacks of irq/. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/options.h"
#include "base/trace.h"
#include "irq/apicv.h"
#include "vm/vm.h"

static u64 op_now_ns(void *vm)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

static void op_ack(void *vm, u32 gsi)
{
	vm_irqfd_ack(vm, gsi);
}

static void op_timer(void *vm, u64 deadline)
{
	vm_timer_arm_chip(vm, deadline);
}

static void op_inhibits(void *vm, u32 mask)
{
	vm_apicv_changed(vm, mask);
}

/* The vCPU whose VP index it is; the same as its number, unless user space has set it. */
static struct vcpu *vp(struct vm *vm, u32 index)
{
	struct vm_vcpu *vv;

	vm_for_each_vcpu(vm, i, vv) if (hyperv_is_vp(vv->v, index)) return vv->v;
	return NULL;
}

static int op_hv_sint(void *vm, u32 index, u32 sint)
{
	struct vcpu *v = vp(vm, index);

	return v ? hyperv_set_sint(v, sint) : -EINVAL;
}

static void op_hv_sint_route(void *vm, u32 index, u32 sint, u32 gsi)
{
	struct vcpu *v = vp(vm, index);

	if (v)
		hyperv_sint_gsi(v, sint, gsi);
}

static const struct irq_ops irq_ops = {
	.now_ns = op_now_ns,
	.tsc_now = vcpu_tsc_now,
	.tsc_to_ns = vcpu_tsc_to_ns,
	.wake = vcpu_irq_wake,
	.ack = op_ack,
	.synic_eoi = hyperv_synic_eoi,
	.hv_sint = op_hv_sint,
	.hv_sint_route = op_hv_sint_route,
	.timer = op_timer,
	.inhibits = op_inhibits,
};

/* What the modelled hardware has. The setting's words are in the order of AVIC_KINDS. */
enum avic_kind vm_avic_kind(void)
{
	int k = option_word(OPT_AVIC);

	return k < 0 ? AVIC_KIND_X2AVIC_EXT : (enum avic_kind)k;
}

/* The inhibit mask as a counter, and in the log by name. */
void vm_apicv_changed(struct vm *vm, u32 mask)
{
	u64 old = atomic_exchange(vm->stats->apicv_inhibits, mask);

	if (log_threshold < LOG_info)
		return;
	for (u32 i = 0; i < APICV_INHIBIT_COUNT; i++)
		if ((old ^ mask) & BIT(i))
			log_info("vm%u: APIC acceleration: %s %s (%s)", vm->serial,
				 mask & BIT(i) ? "+" : "-", apicv_inhibit_name(i),
				 apicv_inhibit_why(i));
}

/* docs/kvm-apic.md 3.1: what a VM has against acceleration before it has an irqchip. */
void vm_apicv_init(struct vm *vm)
{
	enum avic_kind kind = vm_avic_kind();
	u32 mask = kind == AVIC_KIND_NONE ? BIT(APICV_INHIBIT_DISABLED) : BIT(APICV_INHIBIT_ABSENT);
	struct trace_vm *t = trace_vm_get(vm->cfg.trace_vm);

	vm_apicv_changed(vm, mask);
	atomic_store(&t->avic_max_id, avic_kind_max_id(kind));
	atomic_store(&t->inhibits, mask);
}

/* vm.lock held, no chip yet. */
static int chip_make(struct vm *vm, enum irqchip_mode mode, u32 pins)
{
	struct irqchip *chip;
	int r = vm_timer_start(vm);

	if (r)
		return r;
	chip = irqchip_create(mode, &irq_ops, vm, &vm->cfg.shared, pins);
	if (!chip)
		return -ENOMEM;
	irqchip_set_trace_vm(chip, vm->cfg.trace_vm);
	atomic_store(&trace_vm_get(vm->cfg.trace_vm)->irqchip, mode);
	atomic_store(&trace_vm_get(vm->cfg.trace_vm)->inhibits, apicv_inhibits(chip));
	irqchip_set_avic(chip, vm_avic_kind());
	irqchip_settings_changed(chip);
	vm->cfg.irqchip = mode;
	vm->cfg.irq = chip;
	atomic_store_explicit(&vm->chip, chip, memory_order_release);
	return 0;
}

int vm_create_irqchip(struct vm *vm)
{
	int r;

	pthread_mutex_lock(&vm->lock);
	if (vm_chip(vm))
		r = -EEXIST;
	else if (vm_has_vcpus(vm))
		r = -EINVAL;
	else
		r = chip_make(vm, IRQCHIP_FULL, 0);
	pthread_mutex_unlock(&vm->lock);
	return r;
}

/* KVM_CAP_SPLIT_IRQCHIP; vm.lock held. */
int vm_enable_split(struct vm *vm, u64 pins)
{
	if (pins > VM_MAX_ROUTES)
		return -EINVAL;
	if (vm_chip(vm) || vm_has_vcpus(vm))
		return -EEXIST;
	return chip_make(vm, IRQCHIP_SPLIT, (u32)pins);
}

/* KVM_CAP_X2APIC_API; vm.lock held. docs/kvm-apic.md 2.3 and 2.5a. Bits only ever set things. */
int vm_x2apic_api(struct vm *vm, u64 flags)
{
	const u64 enable = KVM_UAPI_X2APIC_ENABLE_SEOIB, disable = KVM_UAPI_X2APIC_DISABLE_SEOIB;
	struct irq_settings *set = &vm->cfg.shared;
	struct irqchip *chip = vm_chip(vm);

	if (flags & ~(KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK |
		      enable | disable))
		return -EINVAL;
	if ((flags & enable) && (flags & disable))
		return -EINVAL;
	if ((flags & enable) && !chip)
		return -EINVAL;
	if (flags & KVM_X2APIC_API_USE_32BIT_IDS)
		atomic_store(&set->ids_32bit, true);
	if (flags & KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK)
		atomic_store(&set->no_broadcast_quirk, true);
	if (flags & enable)
		atomic_store(&set->eoi_mode, EOI_SUPPRESS_ENABLED);
	if (flags & disable)
		atomic_store(&set->eoi_mode, EOI_SUPPRESS_DISABLED);
	if (chip)
		irqchip_settings_changed(chip);
	return 0;
}

int vm_create_pit(struct vm *vm, u32 flags)
{
	int r;

	pthread_mutex_lock(&vm->lock);
	r = vm_chip(vm) ? irqchip_pit_create(vm_chip(vm), flags) : -ENOENT;
	pthread_mutex_unlock(&vm->lock);
	return r;
}

int vm_set_routing(struct vm *vm, const struct kvm_irq_routing *hdr,
		   const struct kvm_irq_routing_entry *e)
{
	int r;

	if (!vm_chip(vm) || hdr->nr > VM_MAX_ROUTES || hdr->flags)
		return -EINVAL;
	pthread_mutex_lock(&vm->lock);
	r = irqchip_set_routing(vm_chip(vm), e, hdr->nr);
	pthread_mutex_unlock(&vm->lock);
	return r;
}

int vm_irq_line(struct vm *vm, u32 gsi, u32 level, bool want_status)
{
	struct irqchip *chip = vm_chip(vm);

	if (!chip)
		return -ENXIO;
	return irqchip_set_irq(chip, gsi, (int)level, IRQ_SOURCE_USER, want_status);
}

/* The result is a count or KVM's -1, which user space sees as EPERM. */
int vm_signal_msi(struct vm *vm, const struct kvm_msi *m)
{
	struct irqchip *chip = vm_chip(vm);

	if (!chip || (m->flags & ~(u32)KVM_MSI_VALID_DEVID))
		return -EINVAL;
	if (atomic_load(&vm->cfg.shared.ids_32bit) && (m->address_hi & 0xff))
		return -EINVAL;
	return irqchip_send_msi(chip, m->address_lo, m->address_hi, m->data);
}
