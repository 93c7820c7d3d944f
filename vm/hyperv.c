/* SPDX-License-Identifier: MIT */
/*
 * vm/hyperv.c - KVM_HYPERV_EVENTFD: HvSignalEvent on a connection becomes an eventfd's signal, so that
 * VMBus devices can be served without an exit.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
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
	close(c->fd);
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
	c->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (c->fd < 0) {
		r = -errno;
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
	u64 one = 1;
	struct vm_hyperv_conn *c;

	pthread_rwlock_rdlock(&vm->bus_lock);
	c = *place(vm, id);
	/* EAGAIN: the counter is full, so the reader has a signal pending. */
	if (c && write(c->fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_warn("vm%u: eventfd of connection %u: errno %d", vm->serial, id, errno);
	pthread_rwlock_unlock(&vm->bus_lock);
	return c;
}
