/* SPDX-License-Identifier: MIT */
/*
 * abi/device.c - KVM_CREATE_DEVICE and the ioctls on what it makes. The only type on x86 is the
 * VFIO bridge, to which user space names the groups and devices that it gives a guest. There is no
 * VFIO here, so it never has any: no file is one of VFIO's (docs/kvm-abi.md 5.1).
 */
#include <errno.h>
#include <fcntl.h>

#include "abi/abi.h"
#include "abi/dispatch.h"
#include "abi/ioctls.h"
#include "base/sys.h"
#include "vm/vm.h"

#define OBJ struct vm *

int device_create(struct vm *vm, struct kvm_create_device *d)
{
	int fd;

	if (d->type != KVM_DEV_TYPE_VFIO)
		return -ENODEV;
	if (d->flags & KVM_CREATE_DEVICE_TEST)
		return 0;
	if (atomic_exchange(&vm->vfio, true))
		return -EBUSY;
	vm_get(vm);
	fd = handle_new(HANDLE_DEVICE, 0, O_CLOEXEC, vm, NULL);
	if (fd < 0) {
		atomic_store(&vm->vfio, false);
		vm_put(vm);
		return fd;
	}
	d->fd = (u32)fd;
	return 0;
}

static long dev_has_attr(struct vm *vm, struct kvm_device_attr *a)
{
	if (a->group != KVM_DEV_VFIO_GROUP)
		return -ENXIO;
	return a->attr == KVM_DEV_VFIO_GROUP_ADD || a->attr == KVM_DEV_VFIO_GROUP_DEL ? 0 : -ENXIO;
}

static long dev_set_attr(struct vm *vm, struct kvm_device_attr *a)
{
	s32 fd;

	if (dev_has_attr(vm, a))
		return -ENXIO;
	if (user_get(&fd, user_ptr(a->addr), sizeof(fd)))
		return -EFAULT;
	if (sys_fcntl(fd, F_GETFD, 0) < 0)
		return -EBADF;
	/* It is none of VFIO's; nothing has been added that could be taken away. */
	return a->attr == KVM_DEV_VFIO_GROUP_ADD ? -EINVAL : -ENOENT;
}

/* That device has no attributes to be read. */
static long dev_get_attr(struct vm *vm, struct kvm_device_attr *a)
{
	return -EPERM;
}

IOCTL_DISPATCHER(DEVICE_IOCTLS, device_dispatch, -ENOTTY)

long device_ioctl(struct vm *vm, u32 code, unsigned long arg)
{
	return device_dispatch(vm, code, arg);
}
