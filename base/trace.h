/* SPDX-License-Identifier: MIT */
/*
 * base/trace.h - trace points, and the area of shared memory that carries their records and the
 * state of each VM out of the process.
 *
 * The area is a memfd that `standin stat` and `standin trace -p` find under /proc/PID/fd, or the
 * file that `standin trace -- PROGRAM` names in STANDIN_TRACE, which several processes may share.
 * It is laid out by the structs below; readers and writers are of one version (`magic`).
 *
 * Thread rules: everything may be called by any thread, in the guest too (no vector registers,
 * no libc). All shared fields are atomics; a record is complete when its `seq` is its number + 1.
 * A point that nobody looks at costs one load and one branch.
 */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include <stdatomic.h>

#include "base/trace_events.h"
#include "base/types.h"
#include "base/work.h"

enum trace_event {
#define X(name, n, format) TRACE_##name,
	TRACE_EVENTS(X)
#undef X
	TRACE_EVENT_COUNT
};
enum {
#define X(name, n, format) TRACE_ARGS_##name = (n),
	TRACE_EVENTS(X)
#undef X
};
_Static_assert(TRACE_EVENT_COUNT <= 64, "events are bits of a u64");

#define TRACE_MAGIC	0x32656361727473ull	/* "strace2" of this layout */
#define TRACE_MAX_ARGS	5
#define TRACE_MAX_VMS	128
#define TRACE_RING	262144	/* records; a power of two */
#define TRACE_REASONS	16	/* apicv inhibit bits */

struct trace_record {
	u64 tsc;
	_Atomic u32 seq;	/* number of the record + 1 (modulo 2^32), stored last */
	u16 event;
	u16 cpu;		/* of the host */
	u16 vm;			/* index into vms[] */
	s16 vcpu;		/* APIC id, -1: none */
	u32 tid;
	u64 arg[TRACE_MAX_ARGS];
};
_Static_assert(sizeof(struct trace_record) == 64, "one cache line");

enum { TRACE_VM_FREE, TRACE_VM_LIVE, TRACE_VM_CLAIMED };

/* What `standin stat` shows of a VM. Kept up whether or not anybody looks. */
struct trace_vm {
	_Atomic u32 alive;	/* set last, cleared when the VM ends; then it is used again */
	s32 pid;
	u32 serial;		/* number of the VM in its process */
	_Atomic u32 nr_vcpus;
	_Atomic u32 irqchip;	/* 0 none, 1 full, 2 split */
	_Atomic u32 eoi_mode;
	_Atomic u32 avic_max_id;	/* 0: the modelled hardware has no AVIC */
	_Atomic u32 inhibits;
	struct {
		_Atomic u32 times;	/* set so many times */
		_Atomic s32 vcpu;	/* by whom last; -1: not a vCPU */
		_Atomic u64 tsc;	/* when last */
	} why[TRACE_REASONS];
	_Atomic u64 count[TRACE_EVENT_COUNT];	/* of the events in `counted` */
	_Atomic u64 work[WORK_COUNT];	/* of all vCPUs, while anybody looks */
};

struct trace_area {
	u64 magic;
	u64 size;		/* of the area */
	u64 tsc, ns;		/* one moment on both clocks (CLOCK_MONOTONIC) */
	u64 tsc_khz;
	_Atomic u64 watched;	/* recorded | counted: what trace points look at */
	_Atomic u64 recorded;	/* events that go into the ring */
	_Atomic u64 counted;	/* events that are counted in vms[].count */
	_Atomic u32 nr_vms;
	_Atomic u32 look;	/* who looks adds one: vCPUs report work from here on, not what was
				 * before */
	_Atomic u64 head __attribute__((aligned(64)));	/* number of the next record */
	struct trace_vm vms[TRACE_MAX_VMS];
	struct trace_record ring[TRACE_RING] __attribute__((aligned(4096)));
};

extern struct trace_area *trace_area;	/* never NULL */

/* Make or open the area. Idempotent, any thread, outside the guest. Without memory for it tracing
 * stays off: nothing else depends on it. */
void trace_init(u64 tsc_khz);
/* A VM begins. Its index for trace_emit(); TRACE_NO_VM when the table is full. */
#define TRACE_NO_VM 0xffff
u16 trace_vm_add(u32 serial);
void trace_vm_remove(u16 vm);
/* The VM's entry, or a scratch entry that nobody reads. */
struct trace_vm *trace_vm_get(u16 vm);

void trace_emit(enum trace_event e, u16 vm, s32 vcpu, const u64 *args, u32 n);

static inline bool trace_watched(enum trace_event e)
{
	return unlikely(atomic_load_explicit(&trace_area->watched, memory_order_relaxed) &
			BIT64(e));
}
/* Somebody looks at any event: fast paths that skip trace points should not be taken. */
static inline bool trace_any(void)
{
	return unlikely(atomic_load_explicit(&trace_area->watched, memory_order_relaxed) != 0);
}

/* trace(kvm_eoi, vm, vcpu, apicid, vector, ...): arguments are evaluated only when watched. */
#define trace(name, vm, vcpu, ...) \
	do { \
		if (trace_watched(TRACE_##name)) { \
			const u64 args_[] = { 0, ##__VA_ARGS__ }; \
			_Static_assert(ARRAY_SIZE(args_) == TRACE_ARGS_##name + 1, \
				       "arguments of " #name); \
			trace_emit(TRACE_##name, (vm), (vcpu), args_ + 1, \
				   TRACE_ARGS_##name); \
		} \
	} while (0)

#endif
