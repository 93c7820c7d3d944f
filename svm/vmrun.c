/* SPDX-License-Identifier: MIT */
/* svm/vmrun.c - VMRUN: from L1 into L2 (APM2 15.5). */
#include "svm/svm_priv.h"

#include "base/log.h"
#include "base/mem.h"
#include "engine/engine.h"

#define CR0_DEFINED (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | \
		     CR0_NW | CR0_CD | CR0_PG)
/* The parts of a VMCB that VMRUN looks at. */
#define CONTROL_USED 0x140
#define CONTROL_SOFTWARE 0x3e0
#define SAVE_USED 0x2a0

/* -- time (APM2 15.30.5) -- */

static u64 ratio_of(const struct svm *s)
{
	return svm_has(&s->caps, SVM_FEAT_TSC_RATE) ? s->msr.tsc_ratio : BIT64(32);
}

void svm_set_l1_tsc(struct cpu *c, u64 offset, u64 ratio)
{
	c->svm->l1_tsc_offset = offset;
	c->svm->l1_tsc_ratio = ratio;
	svm_tsc_changed(c);
}

void svm_tsc_changed(struct cpu *c)
{
	const struct svm *s = c->svm;
	u64 ratio = ratio_of(s);

	c->tsc_ratio = s->l1_tsc_ratio;
	c->tsc_offset = s->l1_tsc_offset;
	if (ratio != BIT64(32)) {
		c->tsc_ratio = (u64)((u128)s->l1_tsc_ratio * ratio >> 32);
		c->tsc_offset = (u64)((__int128)(s64)s->l1_tsc_offset * ratio >> 32);
	}
	c->tsc_offset += s->ctl.tsc_offset;
}

/* -- registers -- */

static void save_l1(const struct cpu *c, struct svm_l1 *l)
{
	l->es = c->seg[S_ES];
	l->cs = c->seg[S_CS];
	l->ss = c->seg[S_SS];
	l->ds = c->seg[S_DS];
	l->gdtr = c->gdtr;
	l->idtr = c->idtr;
	l->cr0 = c->cr0;
	l->cr3 = c->cr3;
	l->cr4 = c->cr4;
	l->efer = c->efer;
	l->rflags = c->rflags;
	l->rip = c->rip;
	l->rsp = c->gpr[R_RSP];
	l->rax = c->gpr[R_RAX];
}

static void load_l2(struct cpu *c, const struct vmcb_save *v)
{
	svm_seg_load(&c->seg[S_ES], &v->es);
	svm_seg_load(&c->seg[S_CS], &v->cs);
	svm_seg_load(&c->seg[S_SS], &v->ss);
	svm_seg_load(&c->seg[S_DS], &v->ds);
	c->gdtr = (struct cpu_dtr){ .base = v->gdtr.base, .limit = v->gdtr.limit };
	c->idtr = (struct cpu_dtr){ .base = v->idtr.base, .limit = v->idtr.limit };
	c->cr0 = (v->cr0 & CR0_DEFINED) | CR0_ET;
	c->cr2 = v->cr2;
	c->cr3 = v->cr3;
	c->cr4 = v->cr4;
	c->efer = v->efer & ~EFER_LMA;
	if ((c->efer & EFER_LME) && (c->cr0 & CR0_PG))
		c->efer |= EFER_LMA;
	c->rflags = (v->rflags & FL_DEFINED) | FL_FIXED;
	c->rip = v->rip;
	c->gpr[R_RSP] = v->rsp;
	c->gpr[R_RAX] = v->rax;
	c->dr6 = (v->dr6 & 0xffffffff) | DR6_FIXED;
	svm_set_dr7(c, (v->dr7 & 0xffffffff) | DR7_FIXED);
	/* APM2 15.5.1: real mode has CPL 0, virtual-8086 mode 3, whatever the VMCB says. */
	c->cpl = !(c->cr0 & CR0_PE) ? 0 : c->rflags & FL_VM ? 3 : v->cpl & 3;
}

static bool pae_paging(const struct cpu *c)
{
	return (c->cr0 & CR0_PG) && (c->cr4 & CR4_PAE) && !(c->efer & EFER_LMA);
}

/* -- what the engine may do by itself in L2 -- */

static u32 inline_mask(const struct svm *s)
{
	static const struct {
		u32 bit;
		u8 intercept;
	} by_intercept[] = {
		{ L2_PUSHF, SVM_I_PUSHF }, { L2_POPF, SVM_I_POPF },   { L2_IRET, SVM_I_IRET },
		{ L2_INT, SVM_I_INTN },	   { L2_RDTSC, SVM_I_RDTSC }, { L2_RDTSCP, SVM_I_RDTSCP },
		{ L2_PAUSE, SVM_I_PAUSE }, { L2_CPUID, SVM_I_CPUID }, { L2_HLT, SVM_I_HLT },
	};
	u32 m = 0;

	for (u32 i = 0; i < ARRAY_SIZE(by_intercept); i++)
		if (vmcb_intercepts(&s->ctl, by_intercept[i].intercept))
			m |= by_intercept[i].bit;
	/* What sets IF opens a window for a virtual interrupt. */
	if (s->ctl.int_ctl & (SVM_V_IRQ | SVM_V_INTR_MASKING | SVM_AVIC_ENABLE))
		m |= L2_STI | L2_POPF | L2_IRET;
	if (svm_vnmi_on(s))
		m |= L2_IRET;
	return m;
}

static struct mmu_nested nested_of(const struct svm *s)
{
	return (struct mmu_nested){
		.np = s->ctl.misc_ctl & SVM_NP_ENABLE, .ncr3 = s->ctl.ncr3,
		.asid = s->ctl.asid, .tlb_ctl = s->ctl.tlb_ctl,
		.apic_page = svm_avic_bar(s),
		.host_cr0 = s->l1.cr0, .host_cr4 = s->l1.cr4, .host_efer = s->l1.efer,
	};
}

/* The registers are L2's: switch what depends on them. */
static void enter_guest(struct cpu *c)
{
	struct svm *s = c->svm;
	struct mmu_nested n = nested_of(s);

	s->l1_tsc_offset = c->tsc_offset;
	s->l1_tsc_ratio = c->tsc_ratio;
	svm_tsc_changed(c);
	/* Numbers 143 to 159. */
	s->write_traps = s->ctl.intercept[4] & 0xffff8000;
	s->pause_left = s->ctl.pause_count;
	s->pause_tsc = 0;
	c->l2_inline = inline_mask(s);
	mmu_enter_guest(c, &n);
	cpu_mode_changed(c);
}

/* Both pages, since a map that cannot be read cannot be obeyed. */
static bool msrpm_readable(const struct cpu *c)
{
	u64 base = c->svm->ctl.msrpm;

	return !vmcb_intercepts(&c->svm->ctl, SVM_I_MSR) ||
	       (phys_find(c->phys, base) && phys_find(c->phys, base + PAGE_SIZE));
}

/* -- refusal -- */

static void say(struct cpu *c, const struct svm_refusal *why)
{
	char text[SVM_TEXT_MAX];

	svm_trace(kvm_nested_vmenter_failed, c->svm, why->rule, why->value, why->aux);
	if (log_threshold < LOG_info)
		return;
	engine_fpu_save(c);
	svm_refusal_format(why, text);
	log_info("vCPU %u: %s", c->index, text);
}

/* VMRUN has retired and L1 finds VMEXIT_INVALID in the VMCB (APM2 15.5.1). */
static enum cpu_result refuse(struct cpu *c, u64 pa, const struct svm_refusal *why)
{
	struct vmcb_window w;

	say(c, why);
	c->svm->gif = false;
	if (!svm_window_open(c, &w, pa))
		return c->svm->ops->triple_fault(c);
	w.vmcb->control.exit_code = SVM_EXIT_INVALID;
	w.vmcb->control.exit_info_1 = 0;
	w.vmcb->control.exit_info_2 = 0;
	w.vmcb->control.event_inj = 0;
	w.vmcb->control.event_inj_err = 0;
	svm_window_close(c, &w);
	return CPU_OK;
}

/* Found after the registers were switched: a #VMEXIT with the same code. */
static enum cpu_result refuse_late(struct cpu *c, const struct svm_refusal *why)
{
	say(c, why);
	c->svm->run_pending = false;
	return svm_vmexit(c, SVM_EXIT_INVALID, 0, 0);
}

/* -- EVENTINJ (APM2 15.20) -- */

static void note_injection(struct svm *s)
{
	u32 ev = s->ctl.event_inj, type = svm_event_type(ev);
	u8 vector = ev & SVM_EVENT_VECTOR;

	s->soft_rip = false;
	if (!(ev & SVM_EVENT_VALID))
		return;
	/* Of what an instruction of L2 would have raised, nRIP is the return address. */
	if (type == SVM_EVENT_SOFT ||
	    (type == SVM_EVENT_EXC && (vector == EXC_BP || vector == EXC_OF))) {
		s->soft_rip = svm_has(&s->caps, SVM_FEAT_NRIPS);
		s->inj_rip = s->ctl.next_rip;
	}
	/* APM2 15.21.10: an injected NMI masks virtual NMIs. */
	if (type == SVM_EVENT_NMI && svm_vnmi_on(s))
		s->ctl.int_ctl |= SVM_V_NMI_BLOCKING;
}

/* -- what RSM shares (svm/smm.c) -- */

bool svm_vmcb_read(struct cpu *c, u64 pa, struct vmcb_control *raw, struct vmcb_save *save)
{
	const struct phys_slot *slot = phys_find(c->phys, pa);
	const u8 *host;

	if (!slot || (slot->flags & PHYS_READONLY))
		return false;
	/* Read once: other CPUs may be writing to it. */
	host = slot->hva + (pa - slot->gpa);
	cpu_copy(raw, host, CONTROL_USED);
	cpu_copy(&raw->hv_control, host + CONTROL_SOFTWARE, SVM_SAVE_OFFSET - CONTROL_SOFTWARE);
	cpu_copy(save, host + SVM_SAVE_OFFSET, SAVE_USED);
	return true;
}

bool svm_switch(struct cpu *c, const struct vmcb_save *save, struct svm_refusal *why)
{
	struct svm *s = c->svm;

	load_l2(c, save);
	if (s->ctl.misc_ctl2 & SVM_LBRV_ENABLE)
		svm_lbr_load(c, save);
	svm_pat_load(c, save->g_pat);
	c->shadow_sti = s->ctl.int_state & SVM_INT_SHADOW;
	c->shadow_ss = 0;
	c->single_step = 0;
	s->gif = true;
	s->run_pending = true;
	s->last_next_rip = 0;
	enter_guest(c);
	if (unlikely(svm_check_late(&s->caps, save, why)))
		return false;
	if (unlikely(!msrpm_readable(c))) {
		svm_refuse(why, SVM_RULE_MSRPM_READ, s->ctl.msrpm, s->ctl.msrpm);
		return false;
	}
	svm_hv_msrpm(c);
	if (unlikely(!svm_avic_enter(c))) {
		svm_refuse(why, SVM_RULE_AVIC_PAGE, s->ctl.avic_backing, s->ctl.avic_backing);
		return false;
	}
	return true;
}

/* -- the instruction; permissions have been checked -- */

enum cpu_result svm_vmrun(struct cpu *c, const struct insn *in)
{
	struct svm *s = c->svm;
	u64 pa = svm_operand(c, in);
	struct vmcb_control raw;
	struct vmcb_save save;
	struct svm_refusal why;

	if (!s->msr.hsave_pa)
		return cpu_raise_err(c, EXC_GP, 0);
	/* Behind the check of VM_HSAVE_PA: KVM's order (docs/kvm-svm.md 4.2). */
	if (unlikely(c->in_smm))
		return cpu_raise(c, EXC_UD);
	if (!svm_pa_legal(c, pa))
		return cpu_raise_err(c, EXC_GP, 0);
	if (!svm_vmcb_read(c, pa, &raw, &save))
		return s->ops->unbacked(c);

	svm_retire(c, in);
	engine_serialise(c, true);
	s->vmcb_pa = pa;
	svm_sanitize(&s->caps, &s->ctl, &raw);
	svm_hv_claims(c);
	if (unlikely(svm_check_save(&s->caps, &s->ctl, &save, &why) ||
		     svm_check_control(&s->caps, &s->ctl, &why)))
		return refuse(c, pa, &why);

	svm_trace(kvm_nested_vmenter, s, c->rip, pa, save.rip, s->ctl.int_ctl, s->ctl.event_inj);
	save_l1(c, &s->l1);
	if (unlikely(!svm_switch(c, &save, &why)))
		return refuse_late(c, &why);
	if (!(s->ctl.misc_ctl & SVM_NP_ENABLE) && pae_paging(c) && mmu_load_pdptes(c, c->cr3)) {
		svm_refuse(&why, SVM_RULE_PDPTE, c->cr3, 0);
		return refuse_late(c, &why);
	}
	note_injection(s);
	return s->ops->entered(c) ? CPU_WORK : CPU_OK;
}

/* -- a state that user space restores -- */

void svm_resume(struct cpu *c)
{
	struct svm *s = c->svm;

	s->soft_rip = false;
	s->resume = true;
	enter_guest(c);
}

int svm_finish_resume(struct cpu *c, bool load_pdptes)
{
	struct svm *s = c->svm;
	struct mmu_nested n = nested_of(s);

	/* SREGS have come since: the guest's registers decide what its translations mean. */
	n.tlb_ctl = TLB_CTL_ALL;
	mmu_enter_guest(c, &n);
	cpu_mode_changed(c);
	if (!msrpm_readable(c))
		return -EINVAL;
	/* Only now is there what says whether L1 uses Hyper-V's interface. */
	svm_hv_claims(c);
	svm_hv_msrpm(c);
	if (!svm_avic_enter(c))
		return -EINVAL;
	if (load_pdptes && !n.np && pae_paging(c) && mmu_load_pdptes(c, c->cr3))
		return -EINVAL;
	s->resume = false;
	if (s->ctl.event_inj & SVM_EVENT_VALID) {
		note_injection(s);
		s->ops->entered(c);
	}
	return 0;
}
