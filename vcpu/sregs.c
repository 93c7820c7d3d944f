/* SPDX-License-Identifier: MIT */
/* vcpu/sregs.c - KVM_GET/SET_SREGS and SREGS2 (validity: docs/kvm-abi.md 5.2, APM2 3.1.7, 14.5). */
#include "mmu/mmu.h"
#include "vcpu/vcpu_priv.h"

#define EFER_KNOWN (EFER_SCE | EFER_LME | EFER_LMA | EFER_NX | EFER_SVME | BIT64(13) | \
		    EFER_FFXSR | EFER_TCE | BIT64(17) | BIT64(18) | BIT64(21))

static void seg_get(const struct cpu *c, enum cpu_sreg n, struct kvm_segment *k)
{
	const struct cpu_seg *s = &c->seg[n];
	u16 a = s->attr;

	*k = (struct kvm_segment){
		.base = s->base, .limit = s->limit, .selector = s->sel,
		.type = a & SEG_TYPE, .s = !!(a & SEG_S),
		.dpl = (a & SEG_DPL) >> SEG_DPL_SHIFT, .present = !!(a & SEG_P),
		.avl = !!(a & SEG_AVL), .l = !!(a & SEG_L), .db = !!(a & SEG_DB),
		/* Derived from the limit, as AMD-V's VMCB has it. */
		.g = s->limit > 0xfffff,
		.unusable = !(a & SEG_P),
	};
	switch (n) {
	case S_TR:
		k->type |= 2;	/* busy, what VMX hosts insist on after migration */
		break;
	case S_ES:
	case S_DS:
	case S_FS:
	case S_GS:
		if (!k->unusable)
			k->type |= SEG_ACCESSED;
		break;
	case S_SS:
		if (k->unusable)
			k->db = 0;
		k->dpl = c->cpl;
		break;
	default:
		break;
	}
}

static void seg_set(struct cpu *c, enum cpu_sreg n, const struct kvm_segment *k)
{
	struct cpu_seg *s = &c->seg[n];

	s->base = k->base;
	s->limit = k->limit;
	s->sel = k->selector;
	s->attr = (u16)((k->type & SEG_TYPE) | (k->s ? SEG_S : 0) | (k->dpl & 3) << SEG_DPL_SHIFT |
			(k->avl ? SEG_AVL : 0) | (k->l ? SEG_L : 0) | (k->db ? SEG_DB : 0) |
			(k->g ? SEG_G : 0) | (k->present && !k->unusable ? SEG_P : 0));
}

#define SEGS(X) X(cs, S_CS) X(ds, S_DS) X(es, S_ES) X(fs, S_FS) X(gs, S_GS) X(ss, S_SS) \
	X(tr, S_TR) X(ldt, S_LDTR)

/* The part that kvm_sregs and kvm_sregs2 share. */
static void get_common(struct vcpu *v, struct kvm_sregs2 *s)
{
	const struct cpu *c = v->c;

#define X(field, n) seg_get(c, n, &s->field);
	SEGS(X)
#undef X
	s->gdt = (struct kvm_dtable){ .base = c->gdtr.base, .limit = (u16)c->gdtr.limit };
	s->idt = (struct kvm_dtable){ .base = c->idtr.base, .limit = (u16)c->idtr.limit };
	s->cr0 = c->cr0;
	s->cr2 = c->cr2;
	s->cr3 = c->cr3;
	s->cr4 = c->cr4;
	s->cr8 = vcpu_get_cr8(v);
	s->efer = c->efer;
	s->apic_base = vcpu_get_apic_base(v);
}

static bool pae_paging(u64 cr0, u64 cr4, u64 efer)
{
	return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LMA);
}

static bool valid(const struct vcpu *v, const struct kvm_sregs2 *s)
{
	const struct cpu *c = v->c;

	if ((s->efer & EFER_LME) && (s->cr0 & CR0_PG)) {
		if (!(s->cr4 & CR4_PAE) || !(s->efer & EFER_LMA))
			return false;
		/* Bits above MAXPHYADDR; bit 63 (no flush) is not part of the value. */
		if (s->cr3 & ~GENMASK64(c->maxphyaddr - 1, 0))
			return false;
	} else if ((s->efer & EFER_LMA) || s->cs.l) {
		return false;
	}
	if (s->cr4 & c->cr4_reserved)
		return false;
	if (s->efer & ~EFER_KNOWN)
		return false;
	if (s->cr0 >> 32)
		return false;
	if ((s->cr0 & CR0_NW) && !(s->cr0 & CR0_CD))
		return false;
	return !(s->cr0 & CR0_PG) || (s->cr0 & CR0_PE);
}

static int load(struct vcpu *v, void *arg)
{
	mmu_load_pdptes(v->c, v->c->cr3);
	return 0;
}

/* 0 or -EINVAL with nothing changed. */
static int set_common(struct vcpu *v, const struct kvm_sregs2 *s, bool load_pdptes)
{
	struct cpu *c = v->c;
	bool cr4_changed;

	if (!valid(v, s))
		return -EINVAL;
	if (s->cr8 > 15 && !v->lapic)
		return -EINVAL;
	if (vcpu_set_apic_base(v, s->apic_base, true))
		return -EINVAL;

	svm_efer_forced(c, s->efer);
	nested_note(v);
	c->idtr = (struct cpu_dtr){ .base = s->idt.base, .limit = s->idt.limit };
	c->gdtr = (struct cpu_dtr){ .base = s->gdt.base, .limit = s->gdt.limit };
	c->cr2 = s->cr2;
	c->cr3 = s->cr3;
	vcpu_set_cr8(v, s->cr8);
	cr4_changed = (c->cr4 ^ s->cr4) & (CR4_OSXSAVE | CR4_PKE);
	c->efer = s->efer;
	c->cr0 = s->cr0 | CR0_ET;
	c->cr4 = s->cr4;
	if (cr4_changed)
		cpuid_update_dynamic(v);
#define X(field, n) seg_set(c, n, &s->field);
	SEGS(X)
#undef X
	if (!(c->cr0 & CR0_PE))
		c->cpl = 0;
	else if (c->rflags & FL_VM)
		c->cpl = 3;
	else
		c->cpl = s->ss.dpl & 3;
	cpu_mode_changed(c);
	mmu_flush_all(c);
	/* Bad ones fault when they are used. */
	if (load_pdptes && pae_paging(c->cr0, c->cr4, c->efer))
		vcpu_mem_do(v, load, NULL);

	/* A VMM that predates MP states resets the boot CPU by its registers alone. */
	if (v->id == v->cfg->bsp_id && c->rip == 0xfff0 && c->seg[S_CS].sel == 0xf000 &&
	    !(c->cr0 & CR0_PE))
		vcpu_set_mp(v, KVM_MP_STATE_RUNNABLE);
	vcpu_request(v, VREQ_EVENT);
	return 0;
}

int vcpu_get_sregs(struct vcpu *v, struct kvm_sregs *s)
{
	const struct vcpu_events *ev = &v->p->ev;
	struct kvm_sregs2 t;

	get_common(v, &t);
	cpu_copy(s, &t, offsetof(struct kvm_sregs, interrupt_bitmap));
	cpu_zero(s->interrupt_bitmap, sizeof(s->interrupt_bitmap));
	if (ev->intr_injected && !ev->intr_soft)
		s->interrupt_bitmap[ev->intr_vector / 64] |= BIT64(ev->intr_vector % 64);
	return 0;
}

int vcpu_set_sregs(struct vcpu *v, const struct kvm_sregs *s)
{
	struct kvm_sregs2 t = { 0 };
	int r;

	cpu_copy(&t, s, offsetof(struct kvm_sregs, interrupt_bitmap));
	r = set_common(v, &t, true);
	if (r)
		return r;
	v->p->user_pdptes = false;
	for (u32 i = 0; i < ARRAY_SIZE(s->interrupt_bitmap); i++) {
		if (!s->interrupt_bitmap[i])
			continue;
		v->p->ev.intr_injected = true;
		v->p->ev.intr_soft = false;
		v->p->ev.intr_vector = (u8)(i * 64 + (u32)__builtin_ctzll(s->interrupt_bitmap[i]));
		break;
	}
	return 0;
}

int vcpu_get_sregs2(struct vcpu *v, struct kvm_sregs2 *s)
{
	const struct cpu *c = v->c;

	cpu_zero(s, sizeof(*s));
	get_common(v, s);
	if (pae_paging(c->cr0, c->cr4, c->efer)) {
		for (u32 i = 0; i < 4; i++)
			s->pdptrs[i] = c->pdpte[i];
		s->flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	}
	return 0;
}

int vcpu_set_sregs2(struct vcpu *v, const struct kvm_sregs2 *s)
{
	bool pdptrs = s->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID;
	int r;

	if (s->flags & ~(u64)KVM_SREGS2_FLAGS_PDPTRS_VALID)
		return -EINVAL;
	if (pdptrs && !pae_paging(s->cr0, s->cr4, s->efer))
		return -EINVAL;
	r = set_common(v, s, !pdptrs);
	if (r)
		return r;
	v->p->user_pdptes = pdptrs;
	if (pdptrs)
		for (u32 i = 0; i < 4; i++)
			v->c->pdpte[i] = s->pdptrs[i];
	return 0;
}
