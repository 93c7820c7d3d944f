/* SPDX-License-Identifier: MIT */
/*
 * abi/vcpu.c - ioctls of a vCPU fd. All run under the vCPU's lock, as in KVM: a state ioctl
 * from another thread waits while KVM_RUN executes. Those that may touch guest memory also
 * hold slots_lock, because nothing else keeps the map in place outside the guest.
 */
#include <stdlib.h>
#include <string.h>

#include "abi/abi.h"
#include "abi/arrays.h"
#include "abi/ioctls.h"
#include "abi/one_reg.h"
#include "vm/vm.h"

#define OBJ struct vm_vcpu *
#include "abi/dispatch.h"

#define MEMORY_SAFE(vv, call) \
	({ \
		long r_; \
		pthread_rwlock_rdlock(&(vv)->vm->slots_lock); \
		r_ = (call); \
		pthread_rwlock_unlock(&(vv)->vm->slots_lock); \
		r_; \
	})

/* State in, state out: one line each. */
#define SIMPLE(fn, type, target) \
	static long fn(struct vm_vcpu *vv, type *a) \
	{ \
		return target(vv->v, a); \
	}
SIMPLE(vci_get_regs, struct kvm_regs, vcpu_get_regs)
SIMPLE(vci_set_regs, struct kvm_regs, vcpu_set_regs)
SIMPLE(vci_get_sregs, struct kvm_sregs, vcpu_get_sregs)
SIMPLE(vci_get_sregs2, struct kvm_sregs2, vcpu_get_sregs2)
SIMPLE(vci_get_fpu, struct kvm_fpu, vcpu_get_fpu)
SIMPLE(vci_set_fpu, struct kvm_fpu, vcpu_set_fpu)
SIMPLE(vci_get_xcrs, struct kvm_xcrs, vcpu_get_xcrs)
SIMPLE(vci_set_xcrs, struct kvm_xcrs, vcpu_set_xcrs)
SIMPLE(vci_get_debugregs, struct kvm_debugregs, vcpu_get_debugregs)
SIMPLE(vci_set_debugregs, struct kvm_debugregs, vcpu_set_debugregs)
SIMPLE(vci_get_events, struct kvm_vcpu_events, vcpu_get_events)
SIMPLE(vci_set_events, struct kvm_vcpu_events, vcpu_set_events)
SIMPLE(vci_get_mp_state, struct kvm_mp_state, vcpu_get_mp_state)
SIMPLE(vci_set_mp_state, struct kvm_mp_state, vcpu_set_mp_state)
SIMPLE(vci_get_lapic, struct kvm_lapic_state, vcpu_get_lapic)
SIMPLE(vci_set_lapic, struct kvm_lapic_state, vcpu_set_lapic)
SIMPLE(vci_set_debug, struct kvm_guest_debug, vcpu_set_guest_debug)
SIMPLE(vci_set_mce, struct kvm_x86_mce, vcpu_set_mce)
SIMPLE(vci_enable_cap, struct kvm_enable_cap, vcpu_enable_cap)

static long vci_run(struct vm_vcpu *vv)
{
	return vcpu_run(vv->v);
}

static long vci_set_sregs(struct vm_vcpu *vv, struct kvm_sregs *s)
{
	return MEMORY_SAFE(vv, vcpu_set_sregs(vv->v, s));
}

static long vci_set_sregs2(struct vm_vcpu *vv, struct kvm_sregs2 *s)
{
	return MEMORY_SAFE(vv, vcpu_set_sregs2(vv->v, s));
}

static long vci_translate(struct vm_vcpu *vv, struct kvm_translation *t)
{
	return MEMORY_SAFE(vv, vcpu_translate(vv->v, t));
}

static long vci_kvmclock_ctrl(struct vm_vcpu *vv)
{
	return MEMORY_SAFE(vv, vcpu_kvmclock_ctrl(vv->v));
}

static long vci_interrupt(struct vm_vcpu *vv, struct kvm_interrupt *i)
{
	return vcpu_interrupt(vv->v, i->irq);
}

static long vci_nmi(struct vm_vcpu *vv)
{
	return vcpu_nmi(vv->v);
}

static long vci_smi(struct vm_vcpu *vv)
{
	return vcpu_smi(vv->v);
}

static int get_msr(void *o, u32 index, u64 *val)
{
	return vcpu_get_msr(o, index, val);
}

static int set_msr(void *o, u32 index, u64 *val)
{
	return vcpu_set_msr(o, index, *val);
}

static long vci_get_msrs(struct vm_vcpu *vv, void *user)
{
	return msrs_io(user, get_msr, vv->v, true);
}

static long vci_set_msrs(struct vm_vcpu *vv, void *user)
{
	return MEMORY_SAFE(vv, msrs_io(user, set_msr, vv->v, false));
}

static int entries_get(struct kvm_cpuid_entry2 *e, const u8 *user, u32 n)
{
	return user_get(e, user, n * sizeof(*e));
}

/* The old form without sub-leaves. */
static int old_entries_get(struct kvm_cpuid_entry2 *e, const u8 *user, u32 n)
{
	int r = 0;

	for (u32 i = 0; i < n && !r; i++) {
		struct kvm_cpuid_entry o;

		r = user_get(&o, user + i * sizeof(o), sizeof(o));
		e[i].function = o.function;
		e[i].eax = o.eax;
		e[i].ebx = o.ebx;
		e[i].ecx = o.ecx;
		e[i].edx = o.edx;
	}
	return r;
}

_Static_assert(sizeof(struct kvm_cpuid) == sizeof(struct kvm_cpuid2), "one header for both");

static long set_cpuid(struct vm_vcpu *vv, void *user,
		      int (*get)(struct kvm_cpuid_entry2 *, const u8 *, u32))
{
	struct kvm_cpuid_entry2 *e;
	struct kvm_cpuid2 hdr;
	long r;

	if (user_get(&hdr, user, sizeof(hdr)))
		return -EFAULT;
	if (hdr.nent > CPUID_ENTRIES_MAX)
		return -E2BIG;
	e = calloc(hdr.nent ? hdr.nent : 1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	r = get(e, (u8 *)user + sizeof(hdr), hdr.nent);
	if (!r)
		r = vcpu_set_cpuid2(vv->v, e, hdr.nent);
	free(e);
	return r;
}

static long vci_set_cpuid2(struct vm_vcpu *vv, void *user)
{
	return set_cpuid(vv, user, entries_get);
}

static long vci_set_cpuid(struct vm_vcpu *vv, void *user)
{
	return set_cpuid(vv, user, old_entries_get);
}

static long vci_get_cpuid2(struct vm_vcpu *vv, void *user)
{
	struct kvm_cpuid_entry2 *e;
	struct kvm_cpuid2 hdr;
	u32 n = CPUID_ENTRIES_MAX;
	long r;

	if (user_get(&hdr, user, sizeof(hdr)))
		return -EFAULT;
	e = calloc(n, sizeof(*e));
	if (!e)
		return -ENOMEM;
	r = vcpu_get_cpuid2(vv->v, e, &n);
	if (!r && hdr.nent < n)
		r = -E2BIG;
	if (!r)
		r = cpuid_put(user, &hdr, e, n);
	free(e);
	return r;
}

static long vci_set_signal_mask(struct vm_vcpu *vv, void *user)
{
	struct {
		u32 len;
		u8 set[8];
	} m;

	if (!user)
		return vcpu_set_signal_mask(vv->v, NULL);
	if (user_get(&m.len, user, sizeof(m.len)))
		return -EFAULT;
	if (m.len != sizeof(m.set))
		return -EINVAL;
	if (user_get(m.set, (u8 *)user + offsetof(struct kvm_signal_mask, sigset), sizeof(m.set)))
		return -EFAULT;
	return vcpu_set_signal_mask(vv->v, m.set);
}

static long vci_tpr_access(struct vm_vcpu *vv, struct kvm_tpr_access_ctl *c)
{
	if (c->flags)
		return -EINVAL;
	vcpu_set_tpr_reporting(vv->v, c->enabled);
	return 0;
}

static long vci_set_vapic(struct vm_vcpu *vv, struct kvm_vapic_addr *a)
{
	return MEMORY_SAFE(vv, vcpu_set_vapic(vv->v, a->vapic_addr));
}

/* Touch each page so that the host has it; the rest of the range is handed back. */
static long pre_fault(struct vm_vcpu *vv, struct kvm_pre_fault_memory *p)
{
	u64 size = p->size;
	long r = 0;
	u8 byte;

	while (p->size) {
		if (!phys_find(vv->v->c->phys, p->gpa)) {
			r = -ENOENT;
			break;
		}
		r = phys_read(vv->v->c->phys, p->gpa, &byte, 1);
		if (r)
			break;
		p->gpa += PAGE_SIZE;
		p->size -= PAGE_SIZE;
	}
	return p->size == size ? r : 0;
}

static long vci_pre_fault(struct vm_vcpu *vv, void *user)
{
	struct kvm_pre_fault_memory p;
	long r;

	if (user_get(&p, user, sizeof(p)))
		return -EFAULT;
	if (p.flags || (p.gpa & ~PAGE_MASK) || (p.size & ~PAGE_MASK) || p.gpa + p.size <= p.gpa)
		return -EINVAL;
	r = MEMORY_SAFE(vv, pre_fault(vv, &p));
	return user_put(user, &p, sizeof(p)) ? -EFAULT : r;
}

static long vci_hv_cpuid(struct vm_vcpu *vv, void *user)
{
	return hyperv_cpuid_list(vv->v, user);
}

static long vci_setup_mce(struct vm_vcpu *vv, u64 *cap)
{
	return vcpu_setup_mce(vv->v, *cap);
}

static long vci_set_tsc_khz(struct vm_vcpu *vv, unsigned long khz)
{
	if (khz > 0x7fffffff)
		return -EINVAL;
	return vcpu_set_tsc_khz(vv->v, khz ? (u32)khz : tsc_host_khz());
}

static long vci_get_tsc_khz(struct vm_vcpu *vv)
{
	return vcpu_get_tsc_khz(vv->v);
}

static long vci_get_xsave(struct vm_vcpu *vv, struct kvm_xsave *x)
{
	return vcpu_get_xsave(vv->v, x, sizeof(*x));
}

static long vci_set_xsave(struct vm_vcpu *vv, struct kvm_xsave *x)
{
	return vcpu_set_xsave(vv->v, x, sizeof(*x));
}

static long vci_stats_fd(struct vm_vcpu *vv)
{
	return stats_vcpu_fd(vv);
}

static long vci_has_attr(struct vm_vcpu *vv, struct kvm_device_attr *a)
{
	return a->group == KVM_VCPU_TSC_CTRL && a->attr == KVM_VCPU_TSC_OFFSET ? 0 : -ENXIO;
}

static long vci_get_attr(struct vm_vcpu *vv, struct kvm_device_attr *a)
{
	long r = vci_has_attr(vv, a);
	u64 off;

	if (!r)
		r = vcpu_get_tsc_offset(vv->v, &off);
	return r ? r : user_put(user_ptr(a->addr), &off, sizeof(off));
}

static long vci_set_attr(struct vm_vcpu *vv, struct kvm_device_attr *a)
{
	long r = vci_has_attr(vv, a);
	u64 off;

	if (!r)
		r = user_get(&off, user_ptr(a->addr), sizeof(off));
	return r ? r : vcpu_set_tsc_offset(vv->v, off);
}

IOCTL_DISPATCHER(VCPU_IOCTLS, vcpu_dispatch, -EINVAL)

long vcpu_ioctl(struct vm_vcpu *vv, u32 code, unsigned long arg)
{
	long r;

	if (unlikely(!vv))	/* its creation has not finished */
		return -EINVAL;
	pthread_mutex_lock(&vv->v->lock);
	if (unlikely(vv->vm->cfg.dead))
		r = -EIO;
	else if (likely(code == KVM_RUN))
		r = do_RUN(vv, arg);
	else
		r = vcpu_dispatch(vv, code, arg);
	pthread_mutex_unlock(&vv->v->lock);
	return r;
}
