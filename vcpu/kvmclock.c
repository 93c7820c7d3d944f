/* SPDX-License-Identifier: MIT */
/* vcpu/kvmclock.c - the paravirtual clock, wall clock and steal time (docs/kvm-abi.md 6.3, 6.4). */
#include <time.h>

#include "base/sys.h"
#include "mmu/mmu.h"
#include "mmu/phys.h"
#include "base/optional.h"
#include "vcpu/vcpu_priv.h"

#define ENABLED 1ull
#define PREEMPTED 1	/* of steal_time.preempted */
#define FLUSH_TLB 2

enum { TIME_TSC_STABLE = 1, TIME_GUEST_STOPPED = 2 };

struct time_info {
	u32 version, pad0;
	u64 tsc_timestamp;
	u64 system_time;
	u32 tsc_to_system_mul;
	s8 tsc_shift;
	u8 flags;
	u8 pad[2];
};

struct wall_clock {
	u32 version, sec, nsec;
};

struct steal_time {
	u64 steal;
	u32 version, flags;
	u8 preempted, pad8[3];
	u32 pad[11];
};

/* ns = (ticks << shift) * mul >> 32, with mul in its upper half for precision. */
static void time_scale(u64 hz, u32 *mul, s8 *shift)
{
	u128 num = (u128)NSEC_PER_SEC << 32;
	s8 s = 0;

	while (num / hz > 0xffffffffull) {	/* slower than 1 GHz */
		hz <<= 1;
		s++;
	}
	while (num / hz < 0x80000000ull) {
		num <<= 1;
		s--;
	}
	*mul = (u32)(num / hz);
	*shift = s;
}

static void put(struct vcpu *v, u64 gpa, const void *buf, u32 len)
{
	phys_write(v->phys, gpa, buf, len);
	atomic_thread_fence(memory_order_seq_cst);
}

static void write_time(struct vcpu *v)
{
	u64 gpa = v->p->msr.system_time & ~ENABLED;
	struct time_info t, old;
	u64 tsc, ns;
	bool stable;

	if (phys_read(v->phys, gpa, &old, sizeof(old)))
		return;
	stable = v->vm_ops->master_clock && v->vm_ops->master_clock(v->vm, &tsc, &ns);
	if (!stable) {
		tsc = tsc_host();
		ns = v->vm_ops->clock_ns ? v->vm_ops->clock_ns(v->vm) : tsc_host_to_ns(tsc);
	}
	t = (struct time_info){
		.tsc_timestamp = tsc_scale(tsc, tsc_ratio(v)) + tsc_offset(v),
		.system_time = ns,
		/* The guest clears GUEST_STOPPED itself when it has seen it. */
		.flags = (u8)((stable ? TIME_TSC_STABLE : 0) | (old.flags & TIME_GUEST_STOPPED) |
			      (v->p->clock.stopped ? TIME_GUEST_STOPPED : 0)),
	};
	v->p->clock.stopped = false;
	time_scale((u64)v->p->tsc_khz * 1000, &t.tsc_to_system_mul, &t.tsc_shift);
	t.version = (old.version | 1) + (old.version & 1 ? 2 : 0);
	put(v, gpa, &t.version, 4);
	put(v, gpa + 4, (u8 *)&t + 4, sizeof(t) - 4);
	t.version++;
	put(v, gpa, &t.version, 4);
}

void kvmclock_update(struct vcpu *v)
{
	if (!(v->p->msr.system_time & ENABLED))
		return;
	engine_fpu_save(v->c);
	vcpu_mem_begin(v);
	write_time(v);
	vcpu_mem_end(v);
}

/*
 * The guest finds the page written after its WRMSR. User space's write takes effect with the next
 * KVM_RUN, as in KVM: on the target of a migration the MSR comes before KVM_SET_CLOCK, and memory
 * must not change while the vCPU stands still.
 */
int kvmclock_set_system_time(struct vcpu *v, u64 val, bool host)
{
	v->p->msr.system_time = val;
	if (host)
		vcpu_request(v, VREQ_CLOCK_UPDATE);
	else
		kvmclock_update(v);
	return 0;
}

/* Written once for each WRMSR: the time of day at which the kvmclock was zero. */
void kvmclock_write_wall(struct vcpu *v, u64 gpa)
{
	struct wall_clock w;
	struct timespec ts;
	u64 ns, clock;

	if (!gpa || phys_read(v->phys, gpa, &w.version, 4))
		return;
	clock = v->vm_ops->clock_ns ? v->vm_ops->clock_ns(v->vm) : 0;
	clock_gettime(CLOCK_REALTIME, &ts);
	ns = (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec - clock;
	w.version = (w.version | 1) + (w.version & 1 ? 2 : 0);
	put(v, gpa, &w.version, 4);
	w.sec = (u32)(ns / NSEC_PER_SEC);
	w.nsec = (u32)(ns % NSEC_PER_SEC);
	put(v, gpa + 4, &w.sec, 8);
	w.version++;
	put(v, gpa, &w.version, 4);
}

int vcpu_kvmclock_ctrl(struct vcpu *v)
{
	if (!(v->p->msr.system_time & ENABLED))
		return -EINVAL;
	v->p->clock.stopped = true;
	vcpu_request(v, VREQ_CLOCK_UPDATE);
	return 0;
}

/* -- steal time -- */

/* How long this thread has waited for a CPU, ns: second number of its schedstat. */
static bool run_delay(u64 *ns)
{
	char buf[96];
	long n;
	int fd;
	u32 i = 0;

	if (!optional_may(OPTIONAL_STEAL_OPEN) || !optional_may(OPTIONAL_STEAL_READ) ||
	    !optional_may(OPTIONAL_STEAL_CLOSE))
		return false;
	fd = sys_open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = sys_read(fd, buf, sizeof(buf) - 1);
	sys_close(fd);
	if (n <= 0)
		return false;
	buf[n] = 0;
	while (buf[i] && buf[i] != ' ')
		i++;
	if (!buf[i])
		return false;
	for (*ns = 0, i++; buf[i] >= '0' && buf[i] <= '9'; i++)
		*ns = *ns * 10 + (u64)(buf[i] - '0');
	return true;
}

static void write_steal(struct vcpu *v)
{
	u64 gpa = v->p->msr.steal & ~0x3full, delay;
	struct steal_time s;
	u32 version;

	if (!run_delay(&delay) || phys_read(v->phys, gpa, &s, sizeof(s)))
		return;
	version = (s.version | 1) + (s.version & 1 ? 2 : 0);
	put(v, gpa + offsetof(struct steal_time, version), &version, 4);
	/* A new thread starts again at zero. */
	if (delay > v->p->clock.steal_base)
		s.steal += delay - v->p->clock.steal_base;
	v->p->clock.steal_base = delay;
	put(v, gpa, &s.steal, 8);
	version++;
	put(v, gpa + offsetof(struct steal_time, version), &version, 4);
}

/* The guest's byte, for an atomic access; NULL: not memory. Within KVM_RUN only. */
static u8 *preempted(struct vcpu *v)
{
	u64 gpa = (v->p->msr.steal & ~0x3full) + offsetof(struct steal_time, preempted);
	u8 byte;

	return phys_read(v->phys, gpa, &byte, 1) ? NULL : phys_ptr(v->phys, gpa, true);
}

void steal_away(struct vcpu *v)
{
	u8 *p;

	p = preempted(v);
	if (!p)
		return;
	__atomic_store_n(p, PREEMPTED, __ATOMIC_SEQ_CST);
	v->p->clock.away = true;
	vcpu_count(v, preemption_reported);
}

/* Whoever wanted our TLB flushed meanwhile has left it to us (docs/kvm-abi.md 6.4). */
void steal_back(struct vcpu *v)
{
	u8 *p;

	v->p->clock.away = false;
	engine_fpu_save(v->c);
	p = v->p->msr.steal & ENABLED ? preempted(v) : NULL;
	if (p && __atomic_exchange_n(p, 0, __ATOMIC_SEQ_CST) & FLUSH_TLB) {
		vcpu_count(v, tlb_flush);
		mmu_flush_all(v->c);
	}
}

void steal_update(struct vcpu *v)
{
	if (!(v->p->msr.steal & ENABLED))
		return;
	engine_fpu_save(v->c);
	vcpu_mem_begin(v);
	write_steal(v);
	vcpu_mem_end(v);
	v->p->clock.steal_tsc = tsc_host();
}

int steal_set(struct vcpu *v, u64 val)
{
	u64 delay;

	v->p->msr.steal = val;
	if (!(val & ENABLED))
		return 0;
	v->p->clock.steal_base = run_delay(&delay) ? delay : 0;
	vcpu_request(v, VREQ_STEAL_UPDATE);
	return 0;
}
