/* SPDX-License-Identifier: MIT */
/*
 * vcpu/smm.c - system management mode: SMIs, the way in and RSM (APM2 10.3, docs/kvm-abi.md 5.9).
 *
 * In SMM guest-physical addresses are those of the VM's second address space; what KVM itself
 * reads and writes for the guest (kvmclock and the like) stays in the first. A VM that never uses
 * it pays nothing: a switch drops what the TLBs hold, as a CR3 load does, and keeps translated
 * code.
 */
#include "cpu/smram.h"
#include "irq/lapic.h"
#include "mmu/mmu.h"
#include "vcpu/cpuid.h"
#include "vcpu/vcpu_priv.h"

static bool has_lm(const struct vcpu *v)
{
	return cpuid_has(v, CPUID_F_LM);
}

void vcpu_take_smi(struct vcpu *v)
{
	if (v->lapic && lapic_take_events(v->lapic, LAPIC_EV_SMI, NULL))
		v->p->ev.smi_pending = true;
}

bool vcpu_smi_allowed(const struct vcpu *v)
{
	return !v->c->in_smm && nested_gif(v);
}

bool vcpu_init_allowed(const struct vcpu *v)
{
	return !v->c->in_smm && svm_gif(v->c);
}

int vcpu_smi(struct vcpu *v)
{
	v->p->ev.smi_pending = true;
	vcpu_request(v, VREQ_EVENT);
	return 0;
}

void vcpu_smm_changed(struct vcpu *v, bool in)
{
	struct cpu *c = v->c;

	vcpu_trace(kvm_smm_transition, v, v->p->msr.smbase, in);
	c->in_smm = in;
	if (!in) {
		v->p->ev.smm_in_nmi = false;
		v->p->user_pdptes = false;
		/* An INIT that was latched. */
		vcpu_request(v, VREQ_APIC_EVENT);
	}
	vcpu_request(v, VREQ_EVENT);
	mmu_switch_space(c, in && v->phys->twin ? v->phys->twin : v->phys);
}

/* KVM gives such a VM up: its CPU is neither here nor there. */
static enum cpu_result dead(struct vcpu *v, const char *why)
{
	fault_report(v, why, false);
	if (v->vm_ops->dead)
		v->vm_ops->dead(v->vm);
	return CPU_DEAD;
}

static u64 save_area(const struct vcpu *v)
{
	return v->p->msr.smbase + SMRAM_AT;
}

enum cpu_result vcpu_enter_smm(struct vcpu *v, bool halted)
{
	struct vcpu_events *ev = &v->p->ev;
	struct cpu *c = v->c;
	u8 map[SMRAM_BYTES];
	struct smram s;
	bool lm = has_lm(v);

	engine_fpu_save(c);
	smram_take(c, &s);
	s.smbase = (u32)v->p->msr.smbase;
	s.revision = SMM_REVISION | (lm ? 0x64 : 0);
	s.halt_restart = halted;
	if (unlikely(c->in_l2)) {
		/* The map of 32 bits has no room for it. */
		if (!lm)
			return dead(v, "SMI in guest mode without long mode");
		s.guest = 1;
		s.vmcb = svm_vmcb_pa(c);
		if (svm_enter_smm(c))
			return dead(v, "SMI in guest mode, VMCB or host save area is not memory");
		/* That VMRUN was single-stepped is forgotten: its #DB would be the handler's. */
		ev->exc.pending = false;
	}
	smram_encode(&s, lm, map);
	ev->smi_pending = false;
	v->p->msr.smi_count++;
	vcpu_smm_changed(v, true);
	if (phys_write(c->phys, save_area(v), map, sizeof(map)))
		return dead(v, "SMI, and the save-state area is not memory");
	ev->smm_in_nmi = ev->nmi_masked;
	ev->nmi_masked = true;
	cpu_enter_smm(c, v->p->msr.smbase);
	cpuid_update_dynamic(v);
	return CPU_OK;
}

/* RSM with an image that no CPU can be in (APM2 10.3.3). */
static enum cpu_result shutdown(struct vcpu *v)
{
	svm_leave(v->c);
	nested_note(v);
	vcpu_request(v, VREQ_TRIPLE_FAULT);
	return CPU_WORK;
}

enum cpu_result vcpu_rsm(struct cpu *c)
{
	struct vcpu *v = c->owner;
	struct vcpu_events *ev = &v->p->ev;
	u8 map[SMRAM_BYTES];
	struct smram s;
	bool lm = has_lm(v), tf = c->rflags & FL_TF;

	if (!c->in_smm)
		return cpu_raise(c, EXC_UD);
	engine_fpu_save(c);
	if (phys_read(c->phys, save_area(v), map, sizeof(map)))
		return shutdown(v);
	smram_decode(&s, lm, map);
	if (!ev->smm_in_nmi)
		ev->nmi_masked = false;
	vcpu_smm_changed(v, false);
	/* Guest mode comes first: control registers are checked as those of L2. */
	if (unlikely(s.guest) && (!(s.efer & EFER_SVME) || svm_leave_smm(c, s.vmcb)))
		return shutdown(v);
	if ((s.efer & EFER_SVME && svm_efer_check(c, s.efer)) || !cpu_leave_smm(c, &s, lm))
		return shutdown(v);
	/* Stepped over like any other instruction, by the TF of before. */
	v->p->dbg.step_owed = v->p->dbg.control & KVM_GUESTDBG_SINGLESTEP;
	v->p->dbg.tf_owed = tf;
	v->p->msr.smbase = s.smbase;
	cpuid_update_dynamic(v);
	/* HLT again (APM2 10.3.5); what has come meanwhile wakes it at once. */
	if (unlikely(s.halt_restart & 1)) {
		if (v->cfg->disabled_exits & KVM_X86_DISABLE_EXITS_HLT)
			v->p->hw_halted = true;
		else if (v->lapic)
			vcpu_set_mp(v, KVM_MP_STATE_HALTED);
	}
	return CPU_WORK;
}
