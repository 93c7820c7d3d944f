/* SPDX-License-Identifier: MIT */
/* vcpu/regs.c - KVM_GET/SET_REGS, KVM_TRANSLATE, TPR and APIC base. */
#include "irq/lapic.h"
#include "mmu/mmu.h"
#include "vcpu/cpuid.h"
#include "vcpu/vcpu_priv.h"

/* kvm_regs order, our number. */
#define GPRS(X) \
	X(rax, R_RAX) X(rbx, R_RBX) X(rcx, R_RCX) X(rdx, R_RDX) X(rsi, R_RSI) X(rdi, R_RDI) \
	X(rsp, R_RSP) X(rbp, R_RBP) X(r8, R_R8) X(r9, R_R9) X(r10, R_R10) X(r11, R_R11) \
	X(r12, R_R12) X(r13, R_R13) X(r14, R_R14) X(r15, R_R15)

int vcpu_get_regs(struct vcpu *v, struct kvm_regs *r)
{
	const struct cpu *c = v->c;

#define X(field, n) r->field = c->gpr[n];
	GPRS(X)
#undef X
	r->rip = c->rip;
	r->rflags = c->rflags;
	return 0;
}

int vcpu_set_regs(struct vcpu *v, const struct kvm_regs *r)
{
	struct cpu *c = v->c;

#define X(field, n) c->gpr[n] = r->field;
	GPRS(X)
#undef X
	c->rip = r->rip;
	/* Reserved bits read as zero, APM2 3.1.6. */
	c->rflags = (r->rflags & (FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF |
				  FL_VM | FL_AC | FL_VIF | FL_VIP | FL_ID)) |
		    FL_FIXED;
	if (c->cr0 & CR0_PE)
		c->cpl = c->rflags & FL_VM ? 3 : (c->seg[S_SS].attr & SEG_DPL) >> SEG_DPL_SHIFT;
	cpu_mode_changed(c);
	v->p->ev.exc.pending = false;
	return 0;
}

static int translate(struct vcpu *v, void *arg)
{
	struct kvm_translation *t = arg;
	u64 gpa = 0;

	/* Without paging the address is the physical one, all of it, if there is such a one. */
	if (!(v->c->cr0 & CR0_PG) && !v->c->in_l2) {
		gpa = t->linear_address;
		t->valid = !(gpa >> v->c->maxphyaddr);
	} else {
		t->valid = mmu_peek(v->c, t->linear_address, &gpa);
	}
	t->physical_address = t->valid ? gpa : ~0ull;
	return 0;
}

int vcpu_translate(struct vcpu *v, struct kvm_translation *t)
{
	if (vcpu_mem_do(v, translate, t)) {	/* page tables that are gone translate nothing */
		t->valid = 0;
		t->physical_address = ~0ull;
	}
	t->writeable = 1;
	t->usermode = 0;
	return 0;
}

u64 vcpu_get_cr8(struct vcpu *v)
{
	return v->lapic ? lapic_get_tpr(v->lapic) : v->p->cr8;
}

int vcpu_set_cr8(struct vcpu *v, u64 cr8)
{
	if (cr8 > 15)
		return -EINVAL;
	if (v->lapic)
		lapic_set_tpr(v->lapic, (u8)cr8);
	v->p->cr8 = cr8;
	return 0;
}

u64 vcpu_get_apic_base(struct vcpu *v)
{
	return v->lapic ? lapic_get_base(v->lapic) : v->p->apic_base;
}

/* SDM3 11.12.5, figure 11-26: reserved bits, and x2APIC without the APIC. */
static bool base_valid(const struct vcpu *v, u64 val)
{
	u64 reserved = ~GENMASK64(v->c->maxphyaddr - 1, 0) | 0x2ff;

	if (!cpuid_has(v, CPUID_F_X2APIC))
		reserved |= APIC_BASE_EXTD;
	return !(val & reserved) && (val & (APIC_BASE_EXTD | APIC_BASE_EN)) != APIC_BASE_EXTD;
}

int vcpu_set_apic_base(struct vcpu *v, u64 val, bool host)
{
	int r = 0;

	if (v->lapic) {
		engine_fpu_save(v->c);
		r = lapic_set_base(v->lapic, val, host);
	} else if (val != v->p->apic_base &&
		   (!base_valid(v, val) || (!host && !apic_base_step(v->p->apic_base, val)))) {
		r = -EINVAL;
	} else {
		v->p->apic_base = val;
	}
	if (!r) {
		cpuid_update_dynamic(v);
		vcpu_apic_page_update(v);
	}
	return r;
}
