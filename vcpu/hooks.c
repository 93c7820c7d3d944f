/* SPDX-License-Identifier: MIT */
/*
 * vcpu/hooks.c - what the engine, the MMU and the instruction handlers call.
 *
 * These run on in-guest paths: the guest's vector state may be in the host's
 * registers, so whatever may reach libc or the VM saves it first.
 */
#include <sched.h>

#include "irq/lapic.h"
#include "mmu/mmu.h"
#include "vcpu/hooks.h"
#include "vcpu/priv.h"

/* -- instructions -- */

static int exec(struct cpu *c, const struct insn *in)
{
	struct vcpu *v = c->owner;
	int r;

	v->p->insn = in;
	if (unlikely(v->p->dbg.control | v->p->dbg.watching)) {
		r = debug_exec(c, in);
		if (r != CPU_OK)
			return r;
	}
	r = cpu_exec(c, in);
	/* MOV DR7 changes what must be watched: back to the run loop at once. */
	if (unlikely(c->dr7 != v->p->dbg.seen_dr7))
		engine_kick(c);
	return r;
}

static int hlt(struct cpu *c)
{
	struct vcpu *v = c->owner;

	if (v->cfg->disabled_exits & KVM_X86_DISABLE_EXITS_HLT) {
		v->p->hw_halted = true;
		return CPU_EXIT;
	}
	if (!v->lapic) {
		v->run->exit_reason = KVM_EXIT_HLT;
		v->p->user_exit = true;
		return CPU_EXIT;
	}
	if (v->p->pv_unhalted)
		v->p->pv_unhalted = false;
	else
		vcpu_set_mp(v, KVM_MP_STATE_HALTED);
	return CPU_EXIT;
}

static u64 read_cr8(struct cpu *c)
{
	return vcpu_get_cr8(c->owner);
}

static int write_cr8(struct cpu *c, u64 val)
{
	struct vcpu *v = c->owner;
	u64 old = vcpu_get_cr8(v);

	if (vcpu_set_cr8(v, val))
		return cpu_raise_err(c, EXC_GP, 0);
	if (v->lapic) {
		if (val < old)
			engine_kick(c);
	} else if (val < old) {
		/* User space owns the APIC and wants to know (KVM_EXIT_SET_TPR). */
		v->p->set_tpr_exit = true;
		engine_kick(c);
	}
	return CPU_OK;
}

/* IF may have been set, a shadow may have ended: worth a look only if something waits. */
static void window(struct cpu *c)
{
	struct vcpu *v = c->owner;
	const struct vcpu_events *ev = &v->p->ev;

	if (v->run->request_interrupt_window || ev->nmi_pending || ev->ext_vector >= 0 ||
	    vcpu_has_interrupt(v))
		engine_kick(c);
}

static void iret(struct cpu *c)
{
	struct vcpu *v = c->owner;

	v->p->ev.nmi_masked = false;
	if (v->p->ev.nmi_pending)
		engine_kick(c);
}

/* A spinning vCPU gives the host CPU away now and then: the lock holder may need it. */
static void pause_hook(struct cpu *c)
{
	struct vcpu *v = c->owner;

	if (++v->p->pauses % 1024)
		return;
	if (v->cfg->disabled_exits & KVM_X86_DISABLE_EXITS_PAUSE)
		return;
	engine_fpu_save(c);
	sched_yield();
}

static int no_svm(struct cpu *c, const struct insn *in)
{
	return cpu_raise(c, EXC_UD);
}

static int no_rsm(struct cpu *c)
{
	return cpu_raise(c, EXC_UD);
}

static const struct cpu_hooks hooks = {
	.msr_read = msr_hook_read,
	.msr_write = msr_hook_write,
	.cpuid = cpuid_hook,
	.pio_in = pio_in,
	.pio_out = pio_out,
	.hlt = hlt,
	.hypercall = hypercall_hook,
	.read_cr8 = read_cr8,
	.write_cr8 = write_cr8,
	.window = window,
	.svm = no_svm,
	.pause = pause_hook,
	.iret = iret,
	.rsm = no_rsm,
};

const struct cpu_ops vcpu_cpu_ops = {
	.tlb_fill = mmu_tlb_fill,
	.fetch = mmu_fetch,
	.mem_read = mmu_mem_read,
	.mem_write = mmu_mem_write,
	.mem_probe_w = mmu_mem_probe_w,
	.exec = exec,
};

/* -- breakpoints: keep watched pages out of the TLB and look at every access -- */

static bool watched(const struct vcpu *v, u64 lo, u64 len, bool write, u64 *hit)
{
	const struct vcpu_debug *d = &v->p->dbg;
	bool user = d->control & KVM_GUESTDBG_USE_HW_BP;
	u64 dr7 = user ? d->dr7 : v->c->dr7;
	bool any = false;

	for (u32 i = 0; i < 4; i++) {
		u32 type = dr7 >> (16 + 4 * i) & 3;
		u64 size = (dr7 >> (18 + 4 * i) & 3) + 1;
		u64 at;

		if (!(dr7 >> (2 * i) & 3) || !(type & 1) || (type == 1 && !write))
			continue;
		if (size == 3)	/* encoding 2 is eight bytes, APM2 13.1.1.4 */
			size = 8;
		at = (user ? d->dr[i] : v->c->dr[i]) & ~(size - 1);
		if (lo < at + size && at < lo + len) {
			any = true;
			if (hit)
				*hit |= BIT64(i);
		}
	}
	return any;
}

static int watch_tlb_fill(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx)
{
	/* Reads of a page with a write-only watchpoint may be direct. */
	if (acc != MEM_X && watched(c->owner, gva & PAGE_MASK, PAGE_SIZE, acc == MEM_W, NULL))
		return CPU_EXIT;
	return mmu_tlb_fill(c, gva, acc, idx);
}

static int watch_mem_read(struct cpu *c, u64 gva, void *buf, u32 len, enum mmu_idx idx)
{
	struct vcpu *v = c->owner;
	u64 hit = 0;
	int r = mmu_mem_read(c, gva, buf, len, idx);

	if (r == CPU_OK && watched(v, gva, len, false, &hit))
		v->p->dbg.hit |= hit;
	return r;
}

static int watch_mem_write(struct cpu *c, u64 gva, const void *buf, u32 len, enum mmu_idx idx)
{
	struct vcpu *v = c->owner;
	u64 hit = 0;
	int r = mmu_mem_write(c, gva, buf, len, idx);

	if (r != CPU_FAULT && watched(v, gva, len, true, &hit))
		v->p->dbg.hit |= hit;
	return r;
}

const struct cpu_ops vcpu_watch_ops = {
	.tlb_fill = watch_tlb_fill,
	.fetch = mmu_fetch,
	.mem_read = watch_mem_read,
	.mem_write = watch_mem_write,
	.mem_probe_w = mmu_mem_probe_w,
	.exec = exec,
};

static const struct mmio_ops mmio = { .read = mmio_read, .write = mmio_write };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_result;

static void init_once(void)
{
	once_result = engine_init();
	if (once_result)
		return;
	cpu_set_hooks(&hooks);
	mmu_set_mmio(&mmio);
	tsc_host_khz();
}

int vcpu_init_once(void)
{
	pthread_once(&once, init_once);
	return once_result;
}
