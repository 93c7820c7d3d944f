/* SPDX-License-Identifier: MIT */
/*
 * vm/msr_filter.c - KVM_X86_SET_MSR_FILTER. The filter is immutable behind an atomic pointer;
 * a replaced one is freed when every vCPU has been seen outside the guest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/msrs.h"
#include "base/user.h"
#include "vm/vm.h"

#define BITMAP_MAX 0x600u	/* bytes of one range's bitmap */
#define RANGE_FLAGS (KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE)

struct vm_msr_filter {
	bool deny;
	u32 n;
	struct {
		u32 flags, base, count;
		u8 *bits;
	} r[KVM_MSR_FILTER_MAX_RANGES];
};

static void filter_free(struct vm_msr_filter *f)
{
	if (!f)
		return;
	for (u32 i = 0; i < f->n; i++)
		free(f->r[i].bits);
	free(f);
}

static int add_range(struct vm_msr_filter *f, const struct kvm_msr_filter_range *u)
{
	size_t bytes = ALIGN_UP((size_t)u->nmsrs, 64) / 8;
	u8 *bits;

	if (!u->nmsrs)
		return 0;
	if (!u->flags || (u->flags & ~(u32)RANGE_FLAGS) || !bytes || bytes > BITMAP_MAX)
		return -EINVAL;
	bits = malloc(bytes);
	if (!bits)
		return -ENOMEM;
	f->r[f->n].bits = bits;
	f->r[f->n].flags = u->flags;
	f->r[f->n].base = u->base;
	f->r[f->n].count = u->nmsrs;
	f->n++;
	return user_get(bits, u->bitmap, bytes);
}

int vm_set_msr_filter(struct vm *vm, const struct kvm_msr_filter *u)
{
	struct vm_msr_filter *f, *old;
	bool empty = true;
	int r = 0;

	if (u->flags & ~(u32)KVM_MSR_FILTER_DEFAULT_DENY)
		return -EINVAL;
	for (u32 i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++)
		empty &= !u->ranges[i].nmsrs;
	if (empty && (u->flags & KVM_MSR_FILTER_DEFAULT_DENY))
		return -EINVAL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->deny = u->flags & KVM_MSR_FILTER_DEFAULT_DENY;
	for (u32 i = 0; i < KVM_MSR_FILTER_MAX_RANGES && !r; i++)
		r = add_range(f, &u->ranges[i]);
	if (r) {
		filter_free(f);
		return r;
	}
	pthread_mutex_lock(&vm->lock);
	old = atomic_exchange(&vm->msr_filter, f);
	vm->cfg.msr_filter = true;
	vm_request_all(vm, VREQ_EVENT, true);
	pthread_mutex_unlock(&vm->lock);
	filter_free(old);
	return 0;
}

bool vm_msr_allowed(struct vm *vm, u32 msr, bool write)
{
	struct vm_msr_filter *f = atomic_load_explicit(&vm->msr_filter, memory_order_acquire);
	u32 type = write ? KVM_MSR_FILTER_WRITE : KVM_MSR_FILTER_READ;

	/* The x2APIC range is never filtered. */
	if (!f || msr_is_x2apic(msr))
		return true;
	for (u32 i = 0; i < f->n; i++) {
		u32 n = msr - f->r[i].base;

		if (msr >= f->r[i].base && n < f->r[i].count && (f->r[i].flags & type))
			return f->r[i].bits[n / 8] & BIT(n % 8);
	}
	return !f->deny;
}

void vm_msr_filter_destroy(struct vm *vm)
{
	filter_free(atomic_exchange(&vm->msr_filter, NULL));
}
