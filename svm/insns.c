/* SPDX-License-Identifier: MIT */
/* svm/insns.c - the SVM instructions (APM3, and APM2 15.5, 15.16.3, 15.17). */
#include <Zydis/Zydis.h>

#include "svm/svm_priv.h"

/* -- VMLOAD and VMSAVE (APM2 15.5.2) -- */

#define LAZY_SEGS(X) X(fs, S_FS) X(gs, S_GS) X(ldtr, S_LDTR) X(tr, S_TR)
#define LAZY_MSRS(X) X(star) X(lstar) X(cstar) X(sfmask) X(kernel_gs_base) X(sysenter_cs) \
	X(sysenter_esp) X(sysenter_eip)

static u64 canonical(const struct cpu *c, u64 va)
{
	u32 shift = c->cr4 & CR4_LA57 ? 7 : 16;

	return (u64)((s64)(va << shift) >> shift);
}

static void load(struct cpu *c, const struct vmcb_save *v)
{
	/* Bases are made canonical, not checked (APM3 VMLOAD). */
#define X(name, n) \
	svm_seg_load(&c->seg[n], &v->name); \
	c->seg[n].base = canonical(c, c->seg[n].base);
	LAZY_SEGS(X)
#undef X
#define X(name) c->name = v->name;
	LAZY_MSRS(X)
#undef X
	c->kernel_gs_base = canonical(c, c->kernel_gs_base);
	cpu_mode_changed(c);
}

static void save(const struct cpu *c, struct vmcb_save *v)
{
#define X(name, n) svm_seg_store(&v->name, &c->seg[n]);
	LAZY_SEGS(X)
#undef X
#define X(name) v->name = c->name;
	LAZY_MSRS(X)
#undef X
}

/* The operand as L1 sees it. L2's goes through nested paging when VMLOAD and VMSAVE are
 * virtualised (APM2 15.33.1). */
static enum cpu_result operand(struct cpu *c, const struct insn *in, bool write, u64 *pa)
{
	const struct svm *s = c->svm;

	*pa = svm_operand(c, in);
	if (!svm_pa_legal(c, *pa))
		return cpu_raise_err(c, EXC_GP, 0);
	if (c->in_l2 && (s->ctl.misc_ctl2 & SVM_VLS_ENABLE) && (s->ctl.misc_ctl & SVM_NP_ENABLE))
		return mmu_nested_translate(c, *pa, write ? MEM_W : MEM_R, pa);
	return CPU_OK;
}

static enum cpu_result vmload(struct cpu *c, const struct insn *in)
{
	const struct phys_slot *slot;
	struct vmcb_save v;
	const u8 *host;
	u64 pa;
	enum cpu_result r = operand(c, in, false, &pa);

	if (r)
		return r;
	slot = phys_find(c->phys, pa);
	if (!slot)
		return c->svm->ops->unbacked(c);
	host = slot->hva + (pa - slot->gpa) + SVM_SAVE_OFFSET;
#define X(name, n) v.name = *(const volatile struct vmcb_seg *)(host + \
								offsetof(struct vmcb_save, name));
	LAZY_SEGS(X)
#undef X
#define X(name) v.name = *(const volatile u64 *)(host + offsetof(struct vmcb_save, name));
	LAZY_MSRS(X)
#undef X
	load(c, &v);
	svm_retire(c, in);
	return CPU_OK;
}

static enum cpu_result vmsave(struct cpu *c, const struct insn *in)
{
	struct vmcb_window w;
	u64 pa;
	enum cpu_result r = operand(c, in, true, &pa);

	if (r)
		return r;
	if (!svm_window_open(c, &w, pa))
		return c->svm->ops->unbacked(c);
	save(c, &w.vmcb->save);
	/* Before the page is reported: that may throw the instruction away. */
	svm_retire(c, in);
	svm_window_close(c, &w);
	return CPU_OK;
}

/* -- GIF (APM2 15.17, 15.33.2) -- */

static enum cpu_result set_gif(struct cpu *c, const struct insn *in, bool gif)
{
	struct svm *s = c->svm;

	svm_retire(c, in);
	if (c->in_l2 && svm_vgif_on(s)) {
		s->ctl.int_ctl = gif ? s->ctl.int_ctl | SVM_V_GIF : s->ctl.int_ctl & ~SVM_V_GIF;
	} else {
		s->gif = gif;
	}
	if (gif)
		s->ops->gif_set(c);
	return CPU_OK;
}

static enum cpu_result invlpga(struct cpu *c, const struct insn *in)
{
	u64 a = svm_operand(c, in);

	svm_trace(kvm_invlpga, c->svm, c->rip, (u32)c->gpr[R_RCX], a);
	mmu_invlpga(c, a, (u32)c->gpr[R_RCX]);
	svm_retire(c, in);
	return CPU_OK;
}

static u32 intercept_of(const struct insn *in)
{
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_VMRUN: return SVM_I_VMRUN;
	case ZYDIS_MNEMONIC_VMLOAD: return SVM_I_VMLOAD;
	case ZYDIS_MNEMONIC_VMSAVE: return SVM_I_VMSAVE;
	case ZYDIS_MNEMONIC_STGI: return SVM_I_STGI;
	case ZYDIS_MNEMONIC_CLGI: return SVM_I_CLGI;
	default: return SVM_I_INVLPGA;
	}
}

enum cpu_result svm_exec(struct cpu *c, const struct insn *in)
{
	/* APM2 15.4, docs/kvm-svm.md 4.2: SVME and protected mode with paging, then CPL 0. */
	if (!(c->efer & EFER_SVME) || !(c->cr0 & CR0_PG) || cpu_v86(c) ||
	    in->mnemonic == ZYDIS_MNEMONIC_SKINIT)
		return cpu_raise(c, EXC_UD);
	if (c->cpl)
		return cpu_raise_err(c, EXC_GP, 0);
	if (c->in_l2 && svm_intercepts(c, intercept_of(in)))
		return svm_vmexit_insn(c, in, intercept_of(in), 0, 0);
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_VMRUN: return svm_vmrun(c, in);
	case ZYDIS_MNEMONIC_VMLOAD: return vmload(c, in);
	case ZYDIS_MNEMONIC_VMSAVE: return vmsave(c, in);
	case ZYDIS_MNEMONIC_STGI: return set_gif(c, in, true);
	case ZYDIS_MNEMONIC_CLGI: return set_gif(c, in, false);
	default: return invlpga(c, in);
	}
}
