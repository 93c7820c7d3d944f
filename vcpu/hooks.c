/* SPDX-License-Identifier: MIT */
/*
 * vcpu/hooks.c - what the engine, the MMU and the instruction handlers call.
 *
 * These run on in-guest paths: the guest's vector state may be in the host's
 * registers, so whatever may reach libc or the VM saves it first.
 */
#include <sched.h>

#include "cpu/access.h"
#include "irq/lapic.h"
#include "mmu/mmu.h"
#include "vcpu/cpuid.h"
#include "vcpu/doors.h"
#include "vcpu/hooks.h"
#include "vcpu/vcpu_priv.h"

/* -- instructions -- */

/* They are there whatever CPUID says, unless user space has had enough of that. */
static enum cpu_result monitor(struct cpu *c)
{
	const struct vcpu *v = c->owner;

	if ((v->cfg->shared.disabled_quirks & KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS) &&
	    !cpuid_has(v, CPUID_F_MONITOR))
		return cpu_raise(c, EXC_UD);
	return CPU_OK;
}

static enum cpu_result __attribute__((noinline)) exec_watched(struct cpu *c, const struct insn *in)
{
	struct vcpu *v = c->owner;
	enum cpu_result r;

	if (v->p->dbg.control) {
		r = debug_exec(c, in);
		if (r != CPU_OK)
			return r;
	}
	if (!c->in_l2)
		return cpu_exec(c, in);
	if (svm_intercept(c, in, &r))
		return r;
	r = cpu_exec(c, in);
	if (unlikely(svm_write_traps(c)) && r == CPU_OK)
		svm_write_trap(c, in);
	return r;
}

static enum cpu_result exec(struct cpu *c, const struct insn *in)
{
	struct vcpu *v = c->owner;

	v->p->insn = in;
	vcpu_count(v, insn_emulation);
	if (unlikely(v->p->dbg.control | c->in_l2))
		return exec_watched(c, in);
	return cpu_exec(c, in);
}

/* The run loop puts them in force, before the next instruction. */
static void debug_changed(struct cpu *c)
{
	struct vcpu *v = c->owner;

	v->p->dbg.stale = true;
	engine_kick(c);
}

static enum cpu_result hlt(struct cpu *c)
{
	struct vcpu *v = c->owner;
	enum cpu_result stepped;

	vcpu_count(v, halt_exits);
	stepped = debug_halted(v);
	if (v->cfg->disabled_exits & KVM_X86_DISABLE_EXITS_HLT) {
		v->p->hw_halted = true;
		return stepped == CPU_USER ? CPU_USER : CPU_WORK;
	}
	if (!v->lapic) {
		v->run->exit_reason = KVM_EXIT_HLT;
		return CPU_USER;
	}
	if (v->p->pv_unhalted)
		v->p->pv_unhalted = false;
	else
		vcpu_set_mp(v, KVM_MP_STATE_HALTED);
	return stepped == CPU_USER ? CPU_USER : CPU_WORK;
}

static u64 read_cr8(struct cpu *c)
{
	return svm_cr8_virtual(c) ? svm_read_vtpr(c) : vcpu_get_cr8(c->owner);
}

static enum cpu_result write_cr8(struct cpu *c, u64 val)
{
	struct vcpu *v = c->owner;
	u64 old;

	if (svm_cr8_virtual(c)) {
		if (val > 15)
			return cpu_raise_err(c, EXC_GP, 0);
		svm_write_vtpr(c, val);
		if (svm_virtual_waits(c))
			engine_kick(c);
		return CPU_OK;
	}
	old = vcpu_get_cr8(v);
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

	if ((c->rflags & FL_TF) || v->run->request_interrupt_window || ev->nmi_pending ||
	    ev->ext_vector >= 0 || vcpu_has_interrupt(v) || svm_virtual_waits(c))
		engine_kick(c);
}

static void iret(struct cpu *c)
{
	struct vcpu *v = c->owner;

	if (unlikely(c->in_l2) && svm_vnmi_iret(c)) {
		if (svm_virtual_waits(c))
			engine_kick(c);
		return;
	}
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

static void alone(struct cpu *c, bool begin)
{
	vcpu_alone(c->owner, begin);
}

OUTSIDE_L2_INSN(hypercall_hook)
OUTSIDE_L2_PLAIN(vcpu_rsm)

#define X(member, fn, policy, intercept) .member = policy(fn),
static const struct cpu_hooks hooks = { CPU_DOORS(X) };
#undef X

const struct cpu_ops vcpu_cpu_ops = {
	.tlb_fill = mmu_tlb_fill,
	.tlb_again = mmu_tlb_again,
	.fetch = mmu_fetch,
	.mem_read = mmu_mem_read,
	.mem_write = mmu_mem_write,
	.mem_probe_w = mmu_mem_probe_w,
	.mem_open = mmu_mem_open,
	.mem_load = mmu_mem_load,
	.mem_store = mmu_mem_store,
	.mem_used = mmu_mem_used,
	.alone = alone,
	.linear = cpu_linear,
	.code_page = mmu_code_page,
	.sti = cpu_sti,
	.counted = pmu_counted,
	.bus_lock = exit_bus_lock,
	.exec = exec,
};

#define X(member, fn, policy, intercept) .member = policy(fn),
static const struct mmio_ops mmio = { MMIO_DOORS(X) };
#undef X

/* All members are pointers: none is missing. */
#define X(member, fn, policy, intercept) + sizeof(void (*)(void))
_Static_assert(sizeof(hooks) == 0 CPU_DOORS(X), "vcpu/doors.h and struct cpu_hooks");
_Static_assert(sizeof(mmio) == 0 MMIO_DOORS(X), "vcpu/doors.h and struct mmio_ops");
#undef X
#define X(member, fn, policy, intercept) \
	_Static_assert((u32)SVM_I_##intercept <= 255, "not an intercept");
CPU_DOORS(X)
MMIO_DOORS(X)
#undef X

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
