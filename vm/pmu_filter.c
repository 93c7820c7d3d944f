/* SPDX-License-Identifier: MIT */
/* vm/pmu_filter.c - KVM_SET_PMU_EVENT_FILTER: which events a guest may count (docs/kvm-abi.md 5.1).
 * */
#include <errno.h>
#include <stdlib.h>

#include "base/user.h"
#include "vm/vm.h"

#define EVENTS_MAX 300u
#define FLAG_MASKED 1u		/* KVM_PMU_EVENT_FLAG_MASKED_EVENTS of newer headers */
#define EVENT (0xffull | 0xfull << 32)
#define UMASK 0xff00ull		/* an event's; the value to be matched */
#define EXCLUDE BIT64(55)
#define MASK_SHIFT 56		/* of the unit mask, before it is compared */

struct vm_pmu_filter {
	bool deny;
	u32 n;
	u64 e[];	/* masked events */
};

static int copy(struct vm_pmu_filter *f, const struct kvm_pmu_event_filter *u, const void *user)
{
	u64 e;

	/* Not masked: all bits of the unit mask count, and what no event can be like matches none.
	 * All are fetched before any is judged. */
	for (u32 i = 0; i < u->nevents; i++)
		if (user_get(&f->e[i], (const u8 *)user + sizeof(*u) + i * sizeof(e), sizeof(e)))
			return -EFAULT;
	for (u32 i = 0; i < u->nevents; i++) {
		e = f->e[i];
		if (u->flags & FLAG_MASKED) {
			if (e & ~(EVENT | UMASK | EXCLUDE | 0xffull << MASK_SHIFT))
				return -EINVAL;
			f->e[f->n++] = e;
		} else if (!(e & ~(EVENT | UMASK))) {
			f->e[f->n++] = e | 0xffull << MASK_SHIFT;
		}
	}
	return 0;
}

int vm_set_pmu_filter(struct vm *vm, const void *user)
{
	struct kvm_pmu_event_filter u;
	struct vm_pmu_filter *f, *old;
	int r;

	if (user_get(&u, user, sizeof(u)))
		return -EFAULT;
	if (u.action > KVM_PMU_EVENT_DENY || (u.flags & ~FLAG_MASKED))
		return -EINVAL;
	if (u.nevents > EVENTS_MAX)
		return -E2BIG;
	f = calloc(1, sizeof(*f) + u.nevents * sizeof(f->e[0]));
	if (!f)
		return -ENOMEM;
	f->deny = u.action == KVM_PMU_EVENT_DENY;
	r = copy(f, &u, user);
	if (r) {
		free(f);
		return r;
	}
	pthread_mutex_lock(&vm->pmu_lock);
	old = vm->pmu_filter;
	vm->pmu_filter = f;
	pthread_mutex_unlock(&vm->pmu_lock);
	free(old);
	pthread_mutex_lock(&vm->lock);
	vm->cfg.pmu_filter = true;
	vm_request_all(vm, VREQ_PMU, true);
	pthread_mutex_unlock(&vm->lock);
	return 0;
}

/* Is the event in the list, among those that exclude or those that do not? */
static bool listed(const struct vm_pmu_filter *f, u64 event, bool exclude)
{
	for (u32 i = 0; i < f->n; i++) {
		u64 e = f->e[i];

		if (!!(e & EXCLUDE) == exclude && !((e ^ event) & EVENT) &&
		    (event & UMASK & (e >> MASK_SHIFT << 8)) == (e & UMASK))
			return true;
	}
	return false;
}

bool vm_pmu_allowed(struct vm *vm, u64 event)
{
	const struct vm_pmu_filter *f;
	bool r = true;

	pthread_mutex_lock(&vm->pmu_lock);
	f = vm->pmu_filter;
	if (f)
		r = (listed(f, event, false) && !listed(f, event, true)) != f->deny;
	pthread_mutex_unlock(&vm->pmu_lock);
	return r;
}

void vm_pmu_filter_destroy(struct vm *vm)
{
	free(vm->pmu_filter);
	pthread_mutex_destroy(&vm->pmu_lock);
}
