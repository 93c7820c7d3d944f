/* SPDX-License-Identifier: MIT */
/*
 * vm/hyperv.c - KVM_HYPERV_EVENTFD: HvSignalEvent on a connection becomes an eventfd's signal, so
 * that VMBus devices can be served without an exit.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/sys.h"
#include "vm/vm.h"

_Static_assert(HYPERV_MAX_VPS == VM_MAX_VCPUS, "the highest VP index");

struct vm_hyperv_conn {
	u32 id;
	int fd;
	struct vm_hyperv_conn *next;
};

/* bus_lock held. Where the pointer to it is, or the end. */
static struct vm_hyperv_conn **place(struct vm *vm, u32 id)
{
	struct vm_hyperv_conn **p = &vm->hyperv_conns;

	while (*p && (*p)->id != id)
		p = &(*p)->next;
	return p;
}

static void conn_free(struct vm_hyperv_conn *c)
{
	sys_close(c->fd);
	free(c);
}

static int assign(struct vm *vm, u32 id, int fd)
{
	struct vm_hyperv_conn *c;
	int r = vm_eventfd_check(fd);

	if (r)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->id = id;
	c->fd = sys_dup(fd);
	if (c->fd < 0) {
		r = c->fd;
		free(c);
		return r;
	}
	pthread_rwlock_wrlock(&vm->bus_lock);
	if (*place(vm, id)) {
		r = -EEXIST;
	} else {
		c->next = vm->hyperv_conns;
		vm->hyperv_conns = c;
	}
	pthread_rwlock_unlock(&vm->bus_lock);
	if (r)
		conn_free(c);
	return r;
}

static int deassign(struct vm *vm, u32 id)
{
	struct vm_hyperv_conn **p, *c;

	pthread_rwlock_wrlock(&vm->bus_lock);
	p = place(vm, id);
	c = *p;
	if (c)
		*p = c->next;
	pthread_rwlock_unlock(&vm->bus_lock);
	if (!c)
		return -ENOENT;
	conn_free(c);
	return 0;
}

int vm_hyperv_eventfd(struct vm *vm, const struct kvm_hyperv_eventfd *p)
{
	if ((p->flags & ~(u32)KVM_HYPERV_EVENTFD_DEASSIGN) ||
	    (p->conn_id & ~(u32)KVM_HYPERV_CONN_ID_MASK))
		return -EINVAL;
	return p->flags ? deassign(vm, p->conn_id) : assign(vm, p->conn_id, p->fd);
}

void vm_hyperv_release(struct vm *vm)
{
	struct vm_hyperv_conn *c;

	pthread_rwlock_wrlock(&vm->bus_lock);
	while ((c = vm->hyperv_conns)) {
		vm->hyperv_conns = c->next;
		conn_free(c);
	}
	pthread_rwlock_unlock(&vm->bus_lock);
}

bool vm_hyperv_signal(struct vm *vm, u32 id)
{
	struct vm_hyperv_conn *c;

	pthread_rwlock_rdlock(&vm->bus_lock);
	c = *place(vm, id);
	if (c)
		vm_eventfd_signal(vm, c->fd, "connection", id);
	pthread_rwlock_unlock(&vm->bus_lock);
	return c;
}
