/* SPDX-License-Identifier: MIT */
/*
 * vm/dirty.c - dirty bitmaps. A page that is not marked has no write entry in any TLB, so
 * its first write goes through the mmu, which marks it. After bits are taken out, all write
 * entries are dropped and the vCPUs waited for: a store that still went through an old entry
 * happened before the ioctl returned, and the page is in the set being returned.
 */
#include <errno.h>

#include "base/user.h"
#include "vm/vm.h"

static int find_logged(struct vm *vm, u32 id, struct vm_slot **out)
{
	if (!vm_slot_id_ok(id))
		return -EINVAL;
	*out = vm_slot_find(vm, id);
	return *out && (*out)->s.dirty ? 0 : -ENOENT;
}

static void bits_taken(struct vm *vm)
{
	vm_count(vm->stats, dirty_log_clears);
	vm_request_all(vm, VREQ_WRITES_FLUSH, true);
}

int vm_get_dirty_log(struct vm *vm, const struct kvm_dirty_log *d)
{
	bool manual, any = false;
	struct vm_slot *s;
	int r;

	if (vm->ring_bytes)
		return -ENXIO;
	pthread_rwlock_wrlock(&vm->slots_lock);
	manual = vm->manual_dirty & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
	r = find_logged(vm, d->slot, &s);
	for (size_t i = 0; !r && i < s->dirty_bytes / 8; i++) {
		u64 w = atomic_load_explicit(&s->s.dirty[i], memory_order_relaxed);

		if (w && !manual) {
			w = atomic_exchange(&s->s.dirty[i], 0);
			any = true;
		}
		r = user_put((u64 *)d->dirty_bitmap + i, &w, sizeof(w));
		if (r && w && !manual)	/* not delivered: still dirty */
			atomic_fetch_or(&s->s.dirty[i], w);
	}
	if (any)
		bits_taken(vm);
	pthread_rwlock_unlock(&vm->slots_lock);
	return r;
}

int vm_clear_dirty_log(struct vm *vm, const struct kvm_clear_dirty_log *d)
{
	struct vm_slot *s;
	u64 pages;
	bool any = false;
	int r;

	if (vm->ring_bytes)
		return -ENXIO;
	if (!vm_slot_id_ok(d->slot) || d->first_page % 64)
		return -EINVAL;
	pthread_rwlock_wrlock(&vm->slots_lock);
	r = find_logged(vm, d->slot, &s);
	if (r)
		goto out;
	pages = s->s.size >> PAGE_SHIFT;
	if (d->first_page > pages || d->num_pages > pages - d->first_page ||
	    (d->num_pages < pages - d->first_page && d->num_pages % 64)) {
		r = -EINVAL;
		goto out;
	}
	for (u64 i = 0; i < (d->num_pages + 63) / 64; i++) {
		u64 w;

		r = user_get(&w, (u64 *)d->dirty_bitmap + i, sizeof(w));
		if (r)
			break;
		if (w)
			any |= atomic_fetch_and(&s->s.dirty[d->first_page / 64 + i], ~w) & w;
	}
	if (any)
		bits_taken(vm);
out:
	pthread_rwlock_unlock(&vm->slots_lock);
	return r;
}
