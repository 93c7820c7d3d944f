/* SPDX-License-Identifier: MIT */
/* abi/sys.c - ioctls of the system fd, and the entry points of abi.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "abi/abi.h"
#include "abi/arrays.h"
#include "abi/ioctls.h"
#include "base/log.h"
#include "engine/xstate.h"
#include "vm/vm.h"

#define OBJ struct handle *
#include "abi/dispatch.h"

static long sys_api_version(struct handle *h)
{
	return KVM_API_VERSION;
}

static long sys_mmap_size(struct handle *h)
{
	return VM_RUN_BYTES;
}

static long sys_check_extension(struct handle *h, unsigned long nr)
{
	return cap_check(NULL, nr);
}

static long sys_create_vm(struct handle *h, unsigned long type)
{
	struct vm *vm;
	int r;

	if (type)	/* only the default type; the others are encrypted VMs */
		return -EINVAL;
	r = vm_create(&vm);
	if (r)
		return r;
	r = handle_new(HANDLE_VM, 0, O_CLOEXEC, vm, NULL);
	if (r < 0)
		vm_put(vm);
	return r;
}

/* Both MSR index lists: the count is written back even when it did not fit. */
static long msr_list(void *user, u32 (*list)(u32 *, u32))
{
	u32 given, total = list(NULL, 0);
	u32 *index;
	long r = 0;

	if (user_get(&given, user, sizeof(given)) || user_put(user, &total, sizeof(total)))
		return -EFAULT;
	if (given < total)
		return -E2BIG;
	index = calloc(total ? total : 1, sizeof(*index));
	if (!index)
		return -ENOMEM;
	list(index, total);
	if (user_put((u8 *)user + offsetof(struct kvm_msr_list, indices), index,
		     total * sizeof(*index)))
		r = -EFAULT;
	free(index);
	return r;
}

static long sys_msr_index_list(struct handle *h, void *user)
{
	return msr_list(user, msr_index_list);
}

static long sys_msr_feature_list(struct handle *h, void *user)
{
	return msr_list(user, msr_feature_list);
}

static long cpuid_list(void *user, int (*fill)(struct kvm_cpuid_entry2 *, u32 *), bool check_pad)
{
	struct kvm_cpuid_entry2 *e;
	struct kvm_cpuid2 hdr;
	u32 n;
	long r;

	if (user_get(&hdr, user, sizeof(hdr)))
		return -EFAULT;
	if (!hdr.nent)
		return -E2BIG;
	n = hdr.nent > CPUID_ENTRIES_MAX ? CPUID_ENTRIES_MAX : hdr.nent;
	e = calloc(n, sizeof(*e));
	if (!e)
		return -ENOMEM;
	r = 0;
	if (check_pad && user_get(e, (u8 *)user + sizeof(hdr), n * sizeof(*e)))
		r = -EFAULT;
	for (u32 i = 0; !r && check_pad && i < n; i++)
		if (e[i].padding[0] || e[i].padding[1] || e[i].padding[2])
			r = -EINVAL;
	if (!r) {
		memset(e, 0, n * sizeof(*e));
		r = fill(e, &n);
	}
	if (!r)
		r = cpuid_put(user, &hdr, e, n);
	free(e);
	return r;
}

static long sys_supported_cpuid(struct handle *h, void *user)
{
	return cpuid_list(user, cpuid_supported, false);
}

static long sys_emulated_cpuid(struct handle *h, void *user)
{
	return cpuid_list(user, cpuid_emulated, true);
}

long hyperv_cpuid_list(struct vcpu *v, void *user)
{
	struct kvm_cpuid_entry2 e[16];
	struct kvm_cpuid2 hdr;
	u32 n;
	int r;

	if (user_get(&hdr, user, sizeof(hdr)))
		return -EFAULT;
	n = hdr.nent < ARRAY_SIZE(e) ? hdr.nent : ARRAY_SIZE(e);
	r = hyperv_cpuid(v, e, &n);
	return r ? r : cpuid_put(user, &hdr, e, n);
}

static long sys_hv_cpuid(struct handle *h, void *user)
{
	return hyperv_cpuid_list(NULL, user);
}

static int feature_msr(void *o, u32 index, u64 *val)
{
	return msr_feature_get(index, val);
}

static long sys_get_msrs(struct handle *h, void *user)
{
	return msrs_io(user, feature_msr, NULL, true);
}

static long sys_mce_cap(struct handle *h, u64 *cap)
{
	*cap = mce_cap_supported();
	return 0;
}

static long sys_has_attr(struct handle *h, struct kvm_device_attr *a)
{
	return a->group == 0 && a->attr == KVM_X86_XCOMP_GUEST_SUPP ? 0 : -ENXIO;
}

static long sys_get_attr(struct handle *h, struct kvm_device_attr *a)
{
	u64 v = xcr0_host_supported();
	long r = sys_has_attr(h, a);

	if (r)
		return r;
	return user_put(user_ptr(a->addr), &v, sizeof(v));
}

IOCTL_DISPATCHER(SYSTEM_IOCTLS, sys_dispatch, -EINVAL)

long sys_ioctl(struct handle *h, u32 code, unsigned long arg)
{
	return sys_dispatch(h, code, arg);
}

int abi_open(int open_flags)
{
	int r;

	if (open_flags & O_PATH)
		return handle_new_path(open_flags);
	r = engine_init();
	if (r)
		return r;
	return handle_new(HANDLE_SYSTEM, 0, open_flags, NULL, NULL);
}

long abi_ioctl(struct handle *h, unsigned long request, unsigned long arg)
{
	static const char *const kind[] = { "system", "VM", "vCPU", "device" };
	u32 code = (u32)request;
	long r;

	if (h->kind != HANDLE_SYSTEM && unlikely(handle_foreign_mm(h)))
		return -EIO;
	switch (h->kind) {
	case HANDLE_VCPU:
		r = vcpu_ioctl(h->vcpu, code, arg);
		break;
	case HANDLE_VM:
		r = vm_ioctl(h->vm, code, arg);
		break;
	case HANDLE_DEVICE:
		r = device_ioctl(h->vm, code, arg);
		break;
	default:
		r = sys_ioctl(h, code, arg);
		break;
	}
	if (unlikely(log_threshold >= LOG_info) && r < 0 && r != -EINTR && r != -EAGAIN)
		log_info("%s ioctl %#x arg %#lx: errno %ld", kind[h->kind], code, arg, -r);
	return r;
}

int abi_ring_fd(struct handle *h)
{
	struct vm_vcpu *vv;

	if (h->kind != HANDLE_VCPU || handle_foreign_mm(h))
		return -1;
	vv = h->vcpu;
	if (!vv || !vv->index)
		return -1;
	return h->vm->ring_fd;
}

bool abi_avic(void)
{
	return vm_avic_kind() != AVIC_KIND_NONE;
}

u32 abi_halt_poll_ns(void)
{
	return vm_halt_poll_ns();
}
