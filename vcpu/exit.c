/* SPDX-License-Identifier: MIT */
/* vcpu/exit.c - preparing user exits, and finishing them when KVM_RUN is called again. */
#include <sched.h>

#include "mmu/mmu.h"
#include "vcpu/vcpu_priv.h"

u64 vcpu_linear_rip(const struct vcpu *v)
{
	const struct cpu *c = v->c;

	return cpu_in_64(c) ? c->rip : (u32)(c->seg[S_CS].base + c->rip);
}

enum cpu_result exit_shutdown(struct vcpu *v)
{
	enum cpu_result r;

	if (unlikely(v->c->in_l2) && svm_shutdown(v->c, &r))
		return CPU_OK;
	fault_report(v, "shutdown", true);
	v->run->exit_reason = KVM_EXIT_SHUTDOWN;
	return CPU_USER;
}

enum cpu_result exit_debug(struct vcpu *v, u32 exception, u64 pc, u64 dr6, u64 dr7)
{
	v->run->exit_reason = KVM_EXIT_DEBUG;
	v->run->debug.arch = (struct kvm_debug_exit_arch){
		.exception = exception, .pc = pc, .dr6 = dr6, .dr7 = dr7,
	};
	return CPU_USER;
}

/* docs/kvm-abi.md 5.5: flags = 1 announces the instruction's bytes, which are part of the ABI. */
enum cpu_result exit_internal_error(struct vcpu *v, u32 suberror)
{
	struct kvm_run *run = v->run;
	u64 lin = vcpu_linear_rip(v), gpa;
	u32 n = 0;

	engine_fpu_save(v->c);
	fault_report(v,
		     suberror == KVM_INTERNAL_ERROR_EMULATION ? "internal error (emulation)"
		     : suberror == KVM_INTERNAL_ERROR_DELIVERY_EV
			     ? "internal error (delivery of an event)"
			     : "internal error",
		     false);
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = suberror;
	run->internal.ndata = 0;
	if (suberror != KVM_INTERNAL_ERROR_EMULATION)
		return CPU_USER;
	cpu_zero(run->emulation_failure.insn_bytes, 15);
	while (n < 15 && mmu_peek(v->c, lin + n, &gpa) &&
	       !phys_read(v->c->phys, gpa, &run->emulation_failure.insn_bytes[n], 1))
		n++;
	run->emulation_failure.flags = n ? 1 : 0;
	run->emulation_failure.insn_size = (u8)n;
	run->emulation_failure.ndata = 3;
	return CPU_USER;
}

/* An event cannot be delivered, because what it needs is not memory: as if the nested page fault
 * had met EXITINTINFO (docs/kvm-abi.md 5.5). The read that failed is the last one noted. */
enum cpu_result exit_delivery(struct vcpu *v, const struct cpu_event *e)
{
	const struct vcpu_mmio *m = &v->p->mmio;
	struct kvm_run *run = v->run;

	exit_internal_error(v, KVM_INTERNAL_ERROR_DELIVERY_EV);
	run->internal.data[0] = cpu_event_info(e);
	run->internal.data[1] = SVM_EXIT_NPF;
	run->internal.data[2] = NPF_FINAL | PF_U;
	run->internal.data[3] = m->reads ? m->read[m->reads - 1].gpa : 0;
	run->internal.data[4] = (u64)(s64)sched_getcpu();
	run->internal.ndata = 5;
	return CPU_USER;
}

/* The guest's kernel gets #UD and user space hears of it; an application just gets #UD. With
 * KVM_CAP_EXIT_ON_EMULATION_FAILURE user space decides. */
enum cpu_result exit_not_emulable(struct vcpu *v)
{
	struct cpu *c = v->c;

	if (!v->cfg->exit_on_emulation_failure) {
		struct cpu_fault f = { .vector = EXC_UD };

		if (c->cpl)
			return cpu_raise(c, EXC_UD);
		vcpu_queue_exception(v, &f);
	}
	vcpu_count(v, insn_emulation_fail);
	return exit_internal_error(v, KVM_INTERNAL_ERROR_EMULATION);
}

/* Before the access, as with AMD's threshold of 0: user space may take its time, and the same
 * instruction is let through then. */
enum cpu_result exit_bus_lock(struct cpu *c)
{
	struct vcpu *v = c->owner;
	struct vcpu_priv *p = v->p;
	u64 rip = vcpu_linear_rip(v);
	bool told = p->bus_lock_told && p->bus_lock_rip == rip;

	p->bus_lock_told = !told;
	p->bus_lock_rip = rip;
	if (told)
		return CPU_OK;
	v->run->exit_reason = KVM_EXIT_X86_BUS_LOCK;
	return CPU_USER;
}

enum cpu_result vcpu_retire(struct vcpu *v, u64 next_rip)
{
	struct cpu *c = v->c;

	c->rip = next_rip;
	cpu_count_retired(c, false);
	c->shadow_sti = 0;
	c->shadow_ss = 0;
	c->rflags &= ~(u64)FL_RF;
	if (unlikely(v->p->dbg.control & KVM_GUESTDBG_SINGLESTEP) || unlikely(c->rflags & FL_TF) ||
	    unlikely(c->watch_hit))
		return debug_stepped(v, c->rflags & FL_TF);
	return CPU_OK;
}

void vcpu_pend(struct vcpu *v, enum vcpu_pending kind, const struct insn *in)
{
	struct vcpu_priv *p = v->p;
	struct cpu *c = v->c;
	u64 rip = c->rip;

	p->pend = kind;
	p->pend_rip = vcpu_linear_rip(v);
	if (in) {
		insn_retire(c, in);
		p->pend_next = c->rip;
		c->rip = rip;
	}
}

static enum cpu_result complete_hypercall(struct vcpu *v)
{
	struct cpu *c = v->c;
	u64 ret = v->run->hypercall.ret;

	c->gpr[R_RAX] = cpu_in_64(c) ? ret : (u32)ret;
	return vcpu_retire(v, v->p->pend_next);
}

/* What an instruction waited for has been answered. */
static enum cpu_result complete_insn(struct vcpu *v, enum vcpu_pending kind)
{
	if (unlikely(vcpu_linear_rip(v) != v->p->pend_rip)) {	/* user space moved RIP:
								 * cancelled */
		v->p->mmio.reads = v->p->mmio.replay = 0;
		return CPU_OK;
	}
	switch (kind) {
	case PEND_PIO_OUT:
	case PEND_PIO_IN:
	case PEND_PIO_INS:
		return pio_complete(v, kind);
	case PEND_MMIO_READ:
		return mmio_complete(v);
	case PEND_MSR_READ:
	case PEND_MSR_WRITE:
		return msr_complete(v, kind == PEND_MSR_READ);
	case PEND_HYPERCALL:
		return complete_hypercall(v);
	case PEND_HYPERV_CALL:
		hyperv_call_complete(v);
		return vcpu_retire(v, v->p->pend_next);
	case PEND_HYPERV_SYNDBG:
	case PEND_MMIO_WRITE:
	case PEND_NONE:
		break;
	}
	return CPU_OK;
}

enum cpu_result vcpu_complete(struct vcpu *v)
{
	enum vcpu_pending kind = v->p->pend;
	enum cpu_result r = CPU_OK;

	v->p->pend = PEND_NONE;
	if (kind == PEND_HYPERV_SYNDBG)
		hyperv_syndbg_complete(v);
	else if (kind != PEND_NONE && kind != PEND_MMIO_WRITE)
		r = complete_insn(v, kind);
	if (r == CPU_OK && v->p->mmio.written < v->p->mmio.writes)
		r = mmio_emit_write(v);
	return r;
}
