/* SPDX-License-Identifier: MIT */
/*
 * vm/vm.h - one virtual machine: memory slots, vCPUs, interrupt plumbing, clock.
 *
 * Locks, in the order in which they nest:
 *   vm.lock	  creation of vCPUs and irqchip, capabilities, irqfds
 *   vm.slots_lock  write: slot changes and dirty logs (they wait for vCPUs to leave the
 *		  guest); read: vCPU state ioctls, which touch guest memory outside the guest.
 *		  Never taken from inside the guest.
 *   vm.bus_lock	  ioeventfds and coalesced zones; read side on the in-guest device path
 * Nothing waits for a vCPU while it holds bus_lock.
 */
#ifndef VM_VM_H
#define VM_VM_H

#include <pthread.h>
#include <stdatomic.h>

#include "irq/irqchip.h"
#include "mmu/phys.h"
#include "vcpu/hyperv.h"
#include "vcpu/vcpu.h"
#include "vm/kvm_uapi.h"

struct vm;
struct vm_slot;
struct vm_irqfd;
struct vm_poller;
struct vm_timer;
struct vm_msr_filter;
struct vm_pmu_filter;

/* Counters (KVM_GET_STATS_FD). Relaxed atomics; they live in shared memory so that
 * the stats fd shows them without being asked. */
#define VM_STATS_KEPT(X) \
	X(remote_tlb_flush, COUNT, 1, "memory map changes that every vCPU had to follow") \
	X(remote_tlb_flush_requests, COUNT, 1, "the same, asked for") \
	X(dirty_log_clears, COUNT, 1, "dirty bitmaps harvested or cleared") \
	X(irqfd_injections, COUNT, 1, "interrupts raised by an eventfd") \
	X(ioeventfd_signals, COUNT, 1, "guest writes turned into an eventfd") \
	X(coalesced_writes, COUNT, 1, "guest writes queued in the coalesced ring") \
	X(apicv_inhibits, GAUGE, 1, "reasons against APIC acceleration, as bits (irq/apicv.h)")
/* There are no page tables of ours: as in vcpu/stats.h. */
#define VM_STATS_ABSENT(X) \
	X(mmu_shadow_zapped, COUNT, 1, "shadow pages dropped") \
	X(mmu_pte_write, COUNT, 1, "writes to shadowed page tables") \
	X(mmu_pde_zapped, COUNT, 1, "shadow page tables dropped") \
	X(mmu_flooded, COUNT, 1, "page tables written too often") \
	X(mmu_recycled, COUNT, 1, "shadow pages reclaimed") \
	X(mmu_cache_miss, COUNT, 1, "shadow pages made") \
	X(mmu_unsync, GAUGE, 1, "shadow pages that may be stale") \
	X(pages_4k, GAUGE, 1, "4 KiB pages mapped by tables of the host") \
	X(pages_2m, GAUGE, 1, "2 MiB pages") \
	X(pages_1g, GAUGE, 1, "1 GiB pages") \
	X(nx_lpage_splits, GAUGE, 1, "huge pages split for execution") \
	X(max_mmu_rmap_size, PEAK, 1, "longest reverse map") \
	X(max_mmu_page_hash_collisions, PEAK, 1, "most collisions of shadow pages")
#define VM_STATS(X) VM_STATS_KEPT(X) VM_STATS_ABSENT(X)
struct vm_stats {
#define X(n, kind, words, what) _Atomic u64 n[words];
	VM_STATS(X)
#undef X
};
#define VM_STATS_BYTES 8192	/* of a stats fd */
#define vm_count(s, field) atomic_fetch_add_explicit((s)->field, 1, memory_order_relaxed)

/* A vCPU's dirty ring (vm/dirty_ring.c). */
#define VM_RING_OVERFLOW 4096
struct vm_dirty_ring {
	struct kvm_dirty_gfn *gfn;	/* shared with user space; NULL: no ring */
	u32 size;			/* entries, a power of two */
	_Atomic u32 dirty;		/* next to fill; lock */
	_Atomic u32 reset;		/* next to be reset; slots_lock */
	pthread_mutex_t lock;		/* over filling and overflow */
	_Atomic u32 overflowed;
	struct {
		u32 slot;
		u64 page;
	} * overflow;
};

/* A vCPU as its VM sees it. Made once, freed with the VM. */
struct vm_vcpu {
	struct vcpu *v;
	struct vm *vm;
	u32 index;
	struct lapic *lapic;
	_Atomic u64 deadline;	/* LAPIC timer, monotonic ns, 0 = none (vm/timer.c) */
	int stats_fd;		/* memfd behind v->stats, -1 = plain memory; vCPU lock */
	struct vm_dirty_ring ring;
};

struct vm {
	_Atomic u32 refs;
	pthread_mutex_t lock;
	pthread_rwlock_t slots_lock;
	pthread_rwlock_t bus_lock;
	struct vcpu_vm_config cfg;	/* lock; vCPUs read single fields */
	struct phys phys[VM_SPACES];	/* what a vCPU sees outside of SMM, and inside */
	struct vm_slot *slots;		/* slots_lock: list */
	struct vm_slot **by_id[VM_SPACES];	/* slots_lock; NULL before the first slot */
	struct vm_code_area *areas;	/* slots_lock: tree by host address */
	u32 map_serial, code_serial;	/* slots_lock */
	struct vm_retired {		/* slots_lock: freed at the next change */
		struct phys_map *map[VM_SPACES];
		struct vm_chunks {
			struct phys_chunk **chunk;
			u32 n, room;
		} chunks[VM_SPACES]; /* of the map */
		void *dirty;
		size_t dirty_bytes;
		struct vm_code_area *areas;	/* list */
	} retired;
	u32 manual_dirty;		/* slots_lock: KVM_DIRTY_LOG_* of the capability */
	u32 ring_bytes;			/* of a dirty ring, 0 = bitmaps; lock, before vCPUs */

	_Atomic u32 nr_vcpus;		/* entries of vcpus[]; grows under lock */
	_Atomic(struct vm_vcpu *) vcpus[VM_MAX_VCPUS];
	_Atomic u32 alone;		/* vm/alone.c: index + 1 of the vCPU that is, 0 = none */
	u32 max_vcpu_id;		/* lock; KVM_CAP_MAX_VCPU_ID, 0 = not set */
	u32 bsp_id;			/* lock */

	_Atomic(struct irqchip *) chip;	/* set once */
	u32 split_pins;

	pthread_mutex_t irqfd_lock;	/* recursive; nests inside lock */
	struct vm_irqfd *irqfds;	/* irqfd_lock: list */
	struct vm_poller *poller;	/* lock: NULL until the first irqfd */
	struct vm_timer *timer;		/* made with the VM; thread starts lazily */

	struct vm_ioeventfd *ioevents;	/* bus_lock: sorted by (bus, addr) */
	u32 nr_ioevents;
	struct kvm_coalesced_mmio_zone *zones;	/* bus_lock */
	_Atomic u32 nr_zones;		/* written under bus_lock; 0 is read without */
	struct kvm_coalesced_mmio_ring *ring;	/* page of vCPU 0, set before any vCPU runs */
	int ring_fd;
	pthread_mutex_t ring_lock;	/* producers of `ring` */

	pthread_mutex_t clock_lock;	/* nests inside everything */
	u64 clock_tsc, clock_base;	/* clock_lock: the clock read clock_base at that host TSC */
	_Atomic bool vfio;		/* it has a KVM_DEV_TYPE_VFIO */
	struct vcpu_tsc_sync tsc_sync;	/* vcpu/'s */
	struct hyperv_vm hyperv;	/* vcpu/'s */
	struct vm_hyperv_conn *hyperv_conns;	/* bus_lock: list */
	_Atomic(struct vm_msr_filter *) msr_filter;
	pthread_mutex_t pmu_lock;	/* innermost */
	struct vm_pmu_filter *pmu_filter;	/* pmu_lock */
	struct vm_stats *_Atomic stats;
	int stats_fd;			/* lock */
	struct vm_stats plain_stats;
	u32 serial;			/* number in this process, for stats ids and logs */
};

/* -- vm.c -- */
int vm_create(struct vm **out);
/* The last reference: -1, or the coalesced ring's descriptor, for who has hidden it to close. */
int vm_put(struct vm *vm);
void vm_get(struct vm *vm);
void vm_release(struct vm *vm);	/* the last VM fd is closed: stop eventfds */
int vm_vcpu_create(struct vm *vm, u32 id, int run_fd, struct vm_vcpu **out);
int vm_vcpu_check(struct vm *vm, unsigned long id);	/* vm.lock held */
void vm_request_all(struct vm *vm, enum vcpu_request r, bool wait);
struct vm_vcpu *vm_find_vcpu(struct vm *vm, u32 id);
/* vm/alone.c: vcpu_vm_ops.alone; a vCPU has been added, which whoever is alone may not know. */
void vm_alone(void *vm, struct vcpu *v, bool on);
void vm_alone_created(struct vm *vm);

#define vm_for_each_vcpu(vm, i, vv) \
	for (u32 i = 0, n_ = atomic_load(&(vm)->nr_vcpus); \
	     i < n_ && ((vv) = atomic_load(&(vm)->vcpus[i]), true); i++)
static inline bool vm_has_vcpus(struct vm *vm)
{
	return atomic_load(&vm->nr_vcpus) != 0;
}
static inline struct irqchip *vm_chip(struct vm *vm)
{
	return atomic_load_explicit(&vm->chip, memory_order_acquire);
}

/* -- memslot.c, dirty.c -- */
/* A slot's id: its address space in the upper half (docs/kvm-abi.md 5.2). */
#define VM_SPACE_SHIFT 16
static inline bool vm_slot_id_ok(u32 id)
{
	return (id & 0xffff) < VM_USER_SLOTS && id >> VM_SPACE_SHIFT < VM_SPACES;
}
struct vm_slot {
	struct phys_slot s;
	size_t dirty_bytes;
	struct vm_code_area *area;
	struct vm_slot *next, **prev;
	struct vm_slot *area_next, **area_prev;	/* that show the same area */
};
int vm_set_memory(struct vm *vm, const struct kvm_userspace_memory_region2 *m);
void vm_memory_destroy(struct vm *vm);
struct vm_slot *vm_slot_find(struct vm *vm, u32 id);	/* slots_lock */
int vm_get_dirty_log(struct vm *vm, const struct kvm_dirty_log *d);
int vm_clear_dirty_log(struct vm *vm, const struct kvm_clear_dirty_log *d);

/* -- code_area.c -- */
struct vm_code_area {
	u8 *hva;
	u64 size;		/* bytes of host memory */
	u32 serial;		/* never used again */
	bool mixed;		/* not all of them show it at the same distance from its address */
	u32 slots;		/* that show a part of it ... */
	struct vm_slot *first;	/* ... in a list */
	_Atomic u8 *count;	/* a page */
	struct vm_code_area *left, *right;	/* in the tree */
	struct vm_code_area *next;	/* of the retired ones */
};
struct slot_edit;
/* A new slot, which is not in the map yet. Fills in its code fields, and in the new map those of
 * all slots it now shares host memory with. 0 or -ENOMEM with nothing changed but in `e`. */
int vm_code_join(struct slot_edit *e, struct vm_slot *slot);
/* Before the change is committed: what has to change in other slots when this one goes. */
int vm_code_may_leave(struct slot_edit *e, struct vm_slot *slot);
/* A slot, whose entry in the new map is at `to`, goes on from there: may: what can fail of that;
 * then, after all else, do. */
int vm_code_may_move(struct slot_edit *e, const struct vm_slot *slot, u64 to);
void vm_code_move(struct slot_edit *e, struct vm_slot *slot);
void vm_code_leave(struct vm *vm, struct vm_slot *slot);
void vm_code_area_free(struct vm_code_area *a);
void vm_code_areas_free(struct vm *vm);
void *vm_zeroed(size_t bytes);
void vm_zeroed_free(void *p, size_t bytes);

/* -- dirty_ring.c, guest.c -- */
int vm_dirty_ring_enable(struct vm *vm, u64 bytes);
int vm_reset_dirty_rings(struct vm *vm);
int vm_dirty_ring_attach(struct vm_vcpu *vv, int run_fd);
void vm_dirty_ring_detach(struct vm_vcpu *vv);
void vm_dirty_ring_refill(struct vm_dirty_ring *r);
bool vm_dirty_ring_soft_full(const struct vm_dirty_ring *r);
/* May the pages [off, off + len) of a vCPU fd be mapped so? */
bool vm_dirty_ring_map_ok(const struct vm *vm, u64 off, u64 len, bool exec, bool shared);
size_t vm_vcpu_fd_bytes(const struct vm *vm);

/* -- guest.c: callbacks that run inside the guest, vector state live -- */
extern const struct phys_ops vm_phys_ops;

/* -- vm.c -- */
u32 vm_halt_poll_ns(void);	/* KVM's parameter halt_poll_ns: STANDIN_HALT_POLL */

/* -- irqchip.c -- */
enum avic_kind vm_avic_kind(void);
void vm_apicv_init(struct vm *vm);
void vm_apicv_changed(struct vm *vm, u32 mask);
int vm_create_irqchip(struct vm *vm);
int vm_enable_split(struct vm *vm, u64 pins);
int vm_x2apic_api(struct vm *vm, u64 flags);
int vm_create_pit(struct vm *vm, u32 flags);
int vm_set_routing(struct vm *vm, const struct kvm_irq_routing *hdr,
		   const struct kvm_irq_routing_entry *e);
int vm_irq_line(struct vm *vm, u32 gsi, u32 level, bool want_status);
int vm_signal_msi(struct vm *vm, const struct kvm_msi *m);

/* -- irqfd.c, ioeventfd.c, coalesced.c -- */
int vm_irqfd(struct vm *vm, const struct kvm_irqfd *p);
void vm_irqfd_release(struct vm *vm);
void vm_irqfd_ack(struct vm *vm, u32 gsi);
/* Any thread outside of all ioctls: the program is about to add to this descriptor. True: it is an
 * irqfd, and its interrupt has been raised; the write must not be made. */
bool vm_irqfd_maybe(int fd);	/* worth asking */
bool vm_irqfd_written(int fd);
void vm_irqfd_closed(u32 first, u32 last);	/* these numbers mean something else now */
void vm_irqfd_forked(void);			/* in a child: none is ours */
int vm_ioeventfd(struct vm *vm, const struct kvm_ioeventfd *p);
void vm_ioeventfd_release(struct vm *vm);
bool vm_ioeventfd_write(struct vm *vm, bool pio, u64 addr, const void *buf, u32 len);
int vm_hyperv_eventfd(struct vm *vm, const struct kvm_hyperv_eventfd *p);
void vm_hyperv_release(struct vm *vm);
bool vm_hyperv_signal(struct vm *vm, u32 conn);
int vm_coalesced_register(struct vm *vm, const struct kvm_coalesced_mmio_zone *z);
int vm_coalesced_unregister(struct vm *vm, const struct kvm_coalesced_mmio_zone *z);
bool vm_coalesced_write(struct vm *vm, bool pio, u64 addr, const void *buf, u32 len);
int vm_coalesced_attach(struct vm *vm, int run_fd);
void vm_eventfd_prepare(void);	/* before the first of these */
int vm_eventfd_check(int fd);	/* 0, -EBADF, -EINVAL: not an eventfd */
bool vm_eventfd_same(int a, int b);
long long vm_eventfd_id(int fd);	/* the kernel's number for it; -1: not known */
/* What the kernel says of it (proc(5), fdinfo). False: not all of it. */
bool vm_fdinfo(int fd, char *text, size_t size);
/* Add 1; what and which: for the log when that fails. */
void vm_eventfd_signal(const struct vm *vm, int fd, const char *what, u64 which);

/* -- bus.c -- */
extern const struct vcpu_vm_ops vm_bus_ops;

/* -- timer.c -- */
int vm_timer_init(struct vm *vm);
/* Its thread: before anything is armed. 0 or -errno. vm.lock held. */
int vm_timer_start(struct vm *vm);
void vm_timer_destroy(struct vm *vm);
void vm_timer_arm_chip(struct vm *vm, u64 deadline_ns);
void vm_timer_arm(struct vm_vcpu *vv, u64 deadline_ns);	/* 0 = none */
/* pthread_create with every signal blocked: none of our threads takes the VMM's. */
int vm_thread_start(pthread_t *t, void *(*fn)(void *), void *arg, const char *name);

/* -- clock.c, msr_filter.c, pmu_filter.c -- */
void vm_clock_start(struct vm *vm);
u64 vm_clock_ns(struct vm *vm);
bool vm_master_clock(struct vm *vm, u64 *host_tsc, u64 *ns);
int vm_get_clock(struct vm *vm, struct kvm_clock_data *c);
int vm_set_clock(struct vm *vm, const struct kvm_clock_data *c);
bool vm_msr_allowed(struct vm *vm, u32 msr, bool write);
int vm_set_msr_filter(struct vm *vm, const struct kvm_msr_filter *f);
void vm_msr_filter_destroy(struct vm *vm);
bool vm_pmu_allowed(struct vm *vm, u64 event);
int vm_set_pmu_filter(struct vm *vm, const void *user);
void vm_pmu_filter_destroy(struct vm *vm);

#endif
