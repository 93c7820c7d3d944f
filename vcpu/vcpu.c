/* SPDX-License-Identifier: MIT */
/*
 * vcpu/vcpu.c - life of a vCPU, and the requests other threads make of it.
 *
 * Request protocol. A poster sets the bit, then kicks. The owner announces itself
 * with in_guest = 1 before it looks at the bits, so either it sees the bit or the
 * poster sees in_guest. All four accesses are sequentially consistent.
 */
#include <limits.h>
#include <sched.h>
#include <stdlib.h>

#include "base/futex.h"
#include "base/optional.h"
#include "base/sys.h"
#include "direct/direct.h"
#include "irq/lapic.h"
#include "mmu/mmu.h"
#include "vcpu/hooks.h"
#include "vcpu/vcpu_priv.h"

#define CODE_WAS_WRITTEN 1ull	/* in code_queue */
#define CODE_IN_SMM 2ull	/* a page of address space 1 */
#define FLUSHES (BIT64(VREQ_TLB_FLUSH) | BIT64(VREQ_WRITES_FLUSH) | \
		 BIT64(VREQ_CODE_PAGES) | BIT64(VREQ_CODE_SUSPECT) | BIT64(VREQ_GUEST_TLB))

/* No reason to wake a sleeper. */
#define POSTED (FLUSHES | BIT64(VREQ_ALONE))

static __thread struct vcpu *current __attribute__((tls_model("initial-exec")));

struct vcpu *vcpu_current(void)
{
	return current;
}

void vcpu_set_current(struct vcpu *v)
{
	current = v;
}

/* Outside KVM_RUN. */
static __thread struct vcpu *in_ioctl __attribute__((tls_model("initial-exec")));

struct vcpu *vcpu_touching(void)
{
	return current ? current : in_ioctl;
}

int vcpu_create(struct vcpu **out, u32 id, u32 index, int run_fd, void *vm,
		const struct vcpu_vm_ops *ops, const struct vcpu_vm_config *cfg, struct phys *phys,
		struct lapic *lapic)
{
	struct vcpu *v = NULL;
	void *run;
	int r;

	r = vcpu_init_once();
	if (r)
		return r;
	run = sys_map_file(run_fd, 3 * PAGE_SIZE, 0);
	r = sys_map_error(run);
	if (r)
		return r;
	v = calloc(1, sizeof(*v));
	if (v)
		v->p = calloc(1, sizeof(*v->p));
	if (!v || !v->p) {
		r = -ENOMEM;
		goto fail;
	}
	v->c = engine_cpu_create(cfg->place);
	if (!v->c) {
		r = errno ? -errno : -ENOMEM;
		goto fail;
	}
	v->run = run;
	v->stats = &v->plain_stats;
	v->pio_data = (u8 *)run + PAGE_SIZE;
	v->id = id;
	v->vm = vm;
	v->vm_ops = ops;
	v->cfg = cfg;
	v->phys = phys;
	v->lapic = lapic;
	pthread_mutex_init(&v->lock, NULL);
	pthread_mutex_init(&v->p->code_lock, NULL);
	v->c->owner = v;
	v->c->phys = phys;
	v->c->index = index;
	v->c->ops = &vcpu_cpu_ops;
	v->c->bus_locks = cfg->bus_lock_exit;
	engine_set_apic(v->c, &vcpu_apic_ops);
	nested_init(v);
	mmu_tlb_init(v->c);
	cpu_reset(v->c, false);
	v->p->ev.ext_vector = -1;
	v->p->apic_base =
		APIC_DEFAULT_BASE | APIC_BASE_EN | (id == cfg->bsp_id ? APIC_BASE_BSP : 0);
	msr_reset(v);
	hyperv_init(v);
	tsc_init(v);
	/* KVM: an AP with an in-kernel LAPIC waits for INIT; everything else runs. */
	vcpu_set_mp(v, !cfg->irqchip || id == cfg->bsp_id ? KVM_MP_STATE_RUNNABLE
							  : KVM_MP_STATE_UNINITIALIZED);
	cpuid_init(v);
	direct_attach(v->c);
	*out = v;
	return 0;

fail:
	if (v)
		free(v->p);
	free(v);
	munmap(run, 3 * PAGE_SIZE);
	return r;
}

void vcpu_attach_lapic(struct vcpu *v, struct lapic *lapic)
{
	v->lapic = lapic;
	cpuid_update_dynamic(v);
}

bool vcpu_within(const struct vcpu *v, const void *hva, u64 bytes)
{
	return engine_cpu_within(v->c, hva, bytes);
}

void vcpu_destroy(struct vcpu *v)
{
	if (!v)
		return;
	crowd_join(v, false);
	direct_detach(v->c);
	engine_cpu_destroy(v->c);
	munmap(v->run, 3 * PAGE_SIZE);
	pthread_mutex_destroy(&v->lock);
	pthread_mutex_destroy(&v->p->code_lock);
	free(v->p);
	free(v);
}

void vcpu_kick(struct vcpu *v)
{
	engine_kick(v->c);
	vcpu_wake(v);
}

/* An interrupt may be taken before this is seen: then nobody has told, which counts as outside. */
static void note_teller(struct vcpu *v)
{
	u32 who = current ? TOLD_INSIDE : TOLD_OUTSIDE;
	struct vcpu_priv *p = v->p;

	if (current == v)
		p->told_self = true;	/* nobody else looks: no locked operation */
	else if (!(atomic_load_explicit(&p->told, memory_order_relaxed) & who))
		atomic_fetch_or(&p->told, who);
}

void vcpu_request(struct vcpu *v, enum vcpu_request r)
{
	note_teller(v);
	u64 old = atomic_fetch_or(&v->requests, BIT64(r));

	/* Code tracking posts these from in-guest paths of other vCPUs, often many before the
	 * owner looks: one kick is enough. Flushes need not wake a sleeper. */
	if (old & BIT64(r) && !(BIT64(r) & ~POSTED))
		return;
	engine_kick(v->c);
	if (BIT64(r) & ~POSTED)
		vcpu_wake(v);
}

/* Waiting for v to leave translated code, or (NULL) for somebody who does not have to. */
static void wait_step(struct vcpu *v, u32 *spins)
{
	if (++*spins < 64) {
		__builtin_ia32_pause();
	} else if (*spins < 256 && optional_may(OPTIONAL_YIELD)) {
		sched_yield();
	} else {
		_Atomic u32 nobodys = 0;
		struct sleeper s = { 0 };

		if (v)
			engine_kick(v->c);
		futex_sleep(&nobodys, 0, monotonic_ns() + 50000, &s);
	}
}

/* Another vCPU has the guest's memory to itself (vm/alone.c). */
static void park(struct vcpu *v)
{
	u32 spins = 0;

	engine_fpu_save(v->c);
	atomic_store(&v->parked, 1);
	while (atomic_load(&v->requests) & BIT64(VREQ_ALONE))
		wait_step(NULL, &spins);
	atomic_store(&v->parked, 0);
}

void vcpu_alone_wait(struct vcpu *self, struct vcpu *v)
{
	u32 spins = 0;

	while (!v || (atomic_load(&v->in_guest) && !atomic_load(&v->parked))) {
		/* Whoever waits for us goes on. */
		vcpu_flush_requests(self);
		wait_step(v, &spins);
		if (!v)
			return;
	}
}

void vcpu_alone(struct vcpu *v, bool begin)
{
	if (!v->vm_ops->alone || v->p->alone == begin)
		return;
	v->p->alone = begin;
	v->vm_ops->alone(v->vm, v, begin);
}

/*
 * Carry out the flushes that have been asked for. `servicing` lets a poster that
 * sees its bit gone know whether the work is done too.
 */
void vcpu_flush_requests(struct vcpu *v)
{
	struct cpu *c = v->c;
	u64 req;

	req = atomic_load(&v->requests);
	if (req & BIT64(VREQ_ALONE))
		park(v);
	if (!(req & FLUSHES))
		return;
	atomic_store(&v->servicing, 1);
	req = atomic_fetch_and(&v->requests, ~FLUSHES) & FLUSHES;
	if (req & BIT64(VREQ_TLB_FLUSH)) {
		vcpu_count(v, tlb_flush);
		mmu_flush_all(c);
		engine_map_changed(c);
		cpu_direct_changed(c, DIRECT_MAP, DIRECT_ALL);
		/* Stores up to here were made by the old map's rules: others may have looked at
		 * the bytes already. */
		if (v->phys->ops)
			v->phys->ops->code_written(v->phys->owner, 0, 0, c->index);
	}
	if (req & BIT64(VREQ_GUEST_TLB))
		mmu_flush_all(c);
	if (req & BIT64(VREQ_CODE_PAGES)) {
		u64 q[ARRAY_SIZE(v->p->code_queue)];
		u32 n, i;

		engine_fpu_save(c);
		pthread_mutex_lock(&v->p->code_lock);
		n = v->p->code_queued;
		for (i = 0; i < n && i < ARRAY_SIZE(q); i++)
			q[i] = v->p->code_queue[i];
		v->p->code_queued = 0;
		pthread_mutex_unlock(&v->p->code_lock);
		if (n > ARRAY_SIZE(q))
			req |= BIT64(VREQ_WRITES_FLUSH) | BIT64(VREQ_CODE_SUSPECT);
		else
			for (i = 0; i < n; i++)
				if (q[i] & CODE_WAS_WRITTEN) {
					engine_page_suspect(c, q[i] & PAGE_MASK);
					cpu_direct_changed(c, DIRECT_CODE, q[i] & PAGE_MASK);
				} else {
					mmu_drop_code_writes(c, !!(q[i] & CODE_IN_SMM), q[i]);
				}
	}
	if (req & BIT64(VREQ_WRITES_FLUSH)) {
		mmu_drop_all_writes(c);
		/* Code pages may have been among them, written since they became that. */
		if (req & BIT64(VREQ_CODE_PAGES) && v->phys->ops)
			v->phys->ops->code_written(v->phys->owner, 0, 0, c->index);
	}
	if (req & BIT64(VREQ_CODE_SUSPECT)) {
		engine_code_suspect(c);
		cpu_direct_changed(c, DIRECT_CODE, DIRECT_ALL);
	}
	atomic_store(&v->servicing, 0);
}

void vcpu_request_wait(struct vcpu *v, enum vcpu_request r)
{
	struct vcpu *self = current;
	u32 spins = 0;

	vcpu_request(v, r);
	if (v == self) {
		vcpu_flush_requests(v);
		return;
	}
	while (atomic_load(&v->in_guest)) {
		/* The bit first: it goes after `servicing` has been raised. */
		if (!(atomic_load(&v->requests) & BIT64(r)) && !atomic_load(&v->servicing))
			return;
		/* Two vCPUs that wait for each other must both make progress. */
		if (self && atomic_load(&self->in_guest))
			vcpu_flush_requests(self);
		wait_step(v, &spins);
	}
}

static void queue_page(struct vcpu *v, u64 entry)
{
	struct vcpu_priv *p = v->p;
	u32 i;

	pthread_mutex_lock(&p->code_lock);
	/* Kernels patch a page in many places. */
	for (i = 0; i < p->code_queued && i < ARRAY_SIZE(p->code_queue); i++)
		if (p->code_queue[i] == entry)
			break;
	if (i == p->code_queued && i < ARRAY_SIZE(p->code_queue))
		p->code_queue[i] = entry;
	if (i == p->code_queued)
		p->code_queued++;
	pthread_mutex_unlock(&p->code_lock);
	vcpu_request(v, VREQ_CODE_PAGES);
}

void vcpu_code_page(struct vcpu *v, u32 as, u64 gpa)
{
	queue_page(v, (gpa & PAGE_MASK) | (as ? CODE_IN_SMM : 0));
}

void vcpu_code_written(struct vcpu *v, u64 gpa)
{
	queue_page(v, (gpa & PAGE_MASK) | CODE_WAS_WRITTEN);
}

/* Uses of the memory map outside the run loop count as "in the guest". */
void vcpu_mem_begin(struct vcpu *v)
{
	if (current == v)
		return;
	in_ioctl = v;
	atomic_store(&v->in_guest, 1);
	vcpu_flush_requests(v);
}

void vcpu_mem_end(struct vcpu *v)
{
	if (current == v)
		return;
	atomic_store(&v->in_guest, 0);
	in_ioctl = NULL;
}

void vcpu_irq_wake(void *vcpu, enum irq_wake why)
{
	struct vcpu *v = vcpu;

	note_teller(v);
	switch (why) {
	case IRQ_WAKE_IOAPIC_EOI:
		vcpu_request(v, VREQ_IOAPIC_EOI_EXIT);
		break;
	case IRQ_WAKE_SCAN:
		/* KVM makes this one wait; our scan reads immutable tables, so posting is
		 * enough, and it does not wake a sleeper: the scan runs before entry. */
		atomic_fetch_or(&v->requests, BIT64(VREQ_SCAN_IOAPIC));
		engine_kick(v->c);
		break;
	case IRQ_WAKE_TIMER:
		vcpu_request(v, VREQ_TIMER);
		break;
	case IRQ_WAKE_INIT:
	case IRQ_WAKE_SIPI:
		vcpu_request(v, VREQ_APIC_EVENT);
		break;
	case IRQ_WAKE_NMI:
		vcpu_request(v, VREQ_NMI);
		break;
	case IRQ_WAKE_SMI:
		vcpu_request(v, VREQ_SMI);
		break;
	case IRQ_WAKE_UNHALT:
		vcpu_request(v, VREQ_UNBLOCK);
		break;
	case IRQ_WAKE_APICV:
		vcpu_request(v, VREQ_APICV_UPDATE);
		break;
	case IRQ_WAKE_EVENT:
		vcpu_request(v, VREQ_EVENT);
		break;
	case IRQ_WAKE_DOORBELL:	/* it runs: leaving translated code makes it look */
		engine_kick(v->c);
		break;
	}
}

void (*vcpu_signals_prepare)(u64 set);
void (*vcpu_signals_restored)(u64 mask);
static __thread const _Atomic u32 *waiting __attribute__((tls_model("initial-exec")));

void vcpu_signals_wait_at(const _Atomic u32 *n)
{
	waiting = n;
}

bool vcpu_signals_wait(void)
{
	return waiting && atomic_load_explicit(waiting, memory_order_relaxed);
}

bool vcpu_signal_hold(int sig)
{
	struct vcpu *v = current;

	return v && v->p->held & BIT64(sig - 1);
}

void vcpu_signal_seen(void)
{
	struct vcpu *v = current;

	if (!v)
		return;
	atomic_store(&v->p->signal_seen, 1);
	engine_kick(v->c);
	atomic_fetch_add(&v->wake_seq, 1);	/* a sleep about to begin fails with EAGAIN */
}

void vcpu_end_run(struct vcpu *v)
{
	atomic_store(&v->p->signal_seen, 1);
	vcpu_kick(v);
}
