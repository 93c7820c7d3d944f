/* SPDX-License-Identifier: MIT */
/*
 * vcpu/cpuid.c - the CPUID of one vCPU: storage, look-up, and what follows from it.
 *
 * Bits that follow the CPU's state (OSXSAVE, the APIC bit, save-area sizes) are made when
 * they are looked at, so that nobody has to report changes.
 */
#include <linux/kvm_para.h>

#include "engine/engine.h"
#include "engine/insns.h"
#include "engine/xstate.h"
#include "irq/lapic.h"
#include "vcpu/cpuid.h"
#include "vcpu/vcpu_priv.h"

static int compare(const struct kvm_cpuid_entry2 *a, u32 leaf)
{
	return a->function < leaf ? -1 : a->function > leaf;
}

const struct kvm_cpuid_entry2 *cpuid_find(const struct vcpu *v, u32 leaf, u32 sub)
{
	const struct vcpu_cpuid *t = &v->p->cpuid;
	u32 lo = 0, hi = t->n;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (compare(&t->e[t->order[mid]], leaf) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < t->n; lo++) {
		const struct kvm_cpuid_entry2 *e = &t->e[t->order[lo]];

		if (e->function != leaf)
			break;
		if (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == sub)
			return e;
	}
	return NULL;
}

static void registers(const struct kvm_cpuid_entry2 *e, u32 out[4])
{
	out[CPUID_EAX] = e->eax;
	out[CPUID_EBX] = e->ebx;
	out[CPUID_ECX] = e->ecx;
	out[CPUID_EDX] = e->edx;
}

/* A register of a leaf; 0: there is no such leaf. */
static u32 stored(const struct vcpu *v, u32 leaf, u32 sub, u32 reg)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(v, leaf, sub);
	u32 r[4];

	if (!e)
		return 0;
	registers(e, r);
	return r[reg];
}

bool cpuid_has(const struct vcpu *v, enum cpuid_feature f)
{
	const struct cpuid_feature_row *row = &cpuid_feature_rows[f];

	return stored(v, row->leaf, row->sub, row->reg) & BIT(row->bit);
}

u32 cpuid_number(const struct vcpu *v, enum cpuid_number n)
{
	const struct cpuid_number_row *row = &cpuid_number_rows[n];

	return stored(v, row->leaf, row->sub, row->reg) >> row->shift & row->mask;
}

/* The state-dependent bits of one entry. */
static void dynamic(const struct vcpu *v, struct kvm_cpuid_entry2 *e)
{
	const struct cpu *c = v->c;

	switch (e->function) {
	case CPUID_L_BASIC:
		e->ecx &= ~CPUID_MASK(OSXSAVE);
		if ((e->ecx & CPUID_MASK(XSAVE)) && (c->cr4 & CR4_OSXSAVE))
			e->ecx |= CPUID_MASK(OSXSAVE);
		e->edx &= ~CPUID_MASK(APIC);
		/* KVM shows the bit whenever the APIC is enabled, whatever user space gave. */
		if (vcpu_get_apic_base((struct vcpu *)v) & APIC_BASE_EN)
			e->edx |= CPUID_MASK(APIC);
		if (v->cfg->shared.disabled_quirks & KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT) {
			e->ecx &= ~CPUID_MASK(MONITOR);
			if (v->p->msr.misc_enable & BIT(18))
				e->ecx |= CPUID_MASK(MONITOR);
		}
		break;
	case CPUID_L_STRUCTURED:
		if (e->index)
			break;
		e->ecx &= ~CPUID_MASK(OSPKE);
		if ((e->ecx & CPUID_MASK(PKU)) && (c->cr4 & CR4_PKE))
			e->ecx |= CPUID_MASK(OSPKE);
		break;
	case CPUID_L_XSAVE:
		if (e->index == 0)
			e->ebx = xstate_size(c->xcr0, false);
		else if (e->index == 1 && (e->eax & (CPUID_MASK(XSAVEC) | CPUID_MASK(XSAVES))))
			e->ebx = xstate_size(c->xcr0, true);
		else if (e->index > 1 && e->index <= XSTATE_LAST && e->eax && !e->ebx &&
			 !(e->ecx & BIT(0)))
			/* QEMU asks its own processor where a component is, and knows 0 where
			 * that has none (protection keys). A guest would lay out areas by it. */
			e->ebx = xstate_offset(e->index);
		break;
	default:
		/* Nobody could kick a vCPU that halts without an exit. */
		if (e->function == v->p->cpuid.pv_leaf && e->function &&
		    v->cfg->disabled_exits & KVM_X86_DISABLE_EXITS_HLT)
			e->eax &= ~BIT(KVM_FEATURE_PV_UNHALT);
		break;
	}
}

/* CPUs of other makers than AMD answer an unknown leaf with their highest basic one. */
static const struct kvm_cpuid_entry2 *out_of_range(const struct vcpu *v, u32 leaf, u32 sub)
{
	const struct kvm_cpuid_entry2 *basic = cpuid_find(v, CPUID_L_VENDOR, 0), *class;

	if (!basic || v->p->cpuid.amd)
		return NULL;
	if (leaf >> 28 == CPUID_L_KVM >> 28)
		class = cpuid_find(v, leaf & ~(CPUID_HV_BLOCK - 1), 0);
	else if (leaf >= CPUID_L_CENTAUR)
		class = cpuid_find(v, CPUID_L_CENTAUR, 0);
	else
		class = cpuid_find(v, cpuid_class(leaf), 0);
	if (class && leaf <= class->eax)
		return NULL;
	return cpuid_find(v, basic->eax, sub);
}

static void look_up(const struct vcpu *v, u32 leaf, u32 sub, u32 out[4])
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(v, leaf, sub);
	struct kvm_cpuid_entry2 t;

	if (!e)
		e = out_of_range(v, leaf, sub);
	out[0] = out[1] = out[2] = out[3] = 0;
	if (e) {
		t = *e;
		dynamic(v, &t);
		if (unlikely(leaf == CPUID_L_POWER) && hyperv_hides_invariant_tsc(v))
			t.edx &= ~CPUID_MASK(INVARIANT_TSC);
		registers(&t, out);
		return;
	}
	/* SDM2 CPUID: levels past the last still say the level asked for and the x2APIC id. */
	if (leaf == CPUID_L_TOPOLOGY || leaf == CPUID_L_TOPOLOGY_2) {
		e = cpuid_find(v, leaf, 0);
		if (e) {
			out[CPUID_ECX] = sub & 0xff;
			out[CPUID_EDX] = e->edx;
		}
	}
}

void cpuid_hook(struct cpu *c, u32 leaf, u32 sub, u32 out[4])
{
	const struct vcpu *v = c->owner;

	look_up(v, leaf, sub, out);
	vcpu_trace(kvm_cpuid, v, leaf, out[CPUID_EAX], out[CPUID_EBX], out[CPUID_ECX],
		   out[CPUID_EDX]);
}

static bool vendor_is(const struct kvm_cpuid_entry2 *e, u32 ebx, u32 ecx, u32 edx)
{
	return e && e->ebx == ebx && e->ecx == ecx && e->edx == edx;
}
#define VENDOR_IS(e, words) vendor_is(e, words)	/* three of them */

/* With Hyper-V's leaves at the front, KVM's are behind. That with the feature bits, 0 = none. */
static u32 pv_leaf(const struct vcpu *v)
{
	for (u32 base = CPUID_L_KVM; base < CPUID_L_HYPERVISORS_END; base += CPUID_HV_BLOCK)
		if (VENDOR_IS(cpuid_find(v, base, 0), CPUID_KVM))
			return base + (CPUID_L_KVM_FEATURES - CPUID_L_KVM);
	return 0;
}

/*
 * The instructions that this guest does not have. A CPUID that describes no CPU (none was set, or
 * one without features) hides only what KVM itself intercepts: its processor would execute the rest
 * (docs/instructions.md).
 */
static u64 missing_insns(const struct vcpu *v)
{
	u64 missing = 0;

#define X(name)						\
	if (!cpuid_has(v, CPUID_F_##name))		\
		missing |= NEED(name);
	INSN_FEATURES(X)
#undef X
	return stored(v, CPUID_L_BASIC, 0, CPUID_EDX) & ~CPUID_MASK(APIC)
		       ? missing
		       : missing & INSN_F_TRAPPED;
}

/* Fill in what other layers read from struct cpu. */
static void derive(struct vcpu *v)
{
	const struct kvm_cpuid_entry2 *e;
	struct cpu *c = v->c;
	u64 cr4, efer;
	u32 width;

#define HAS(f) cpuid_has(v, CPUID_F_##f)
	c->has_nx = HAS(NX);
	c->has_1g_pages = HAS(GBPAGES);
	c->has_pcid = HAS(PCID);
	c->has_smep = HAS(SMEP);
	c->has_smap = HAS(SMAP);
	c->has_umip = HAS(UMIP);
	c->null_clears_base = HAS(NULL_SEL_CLR_BASE);
	c->has_fsgsbase = HAS(FSGSBASE);
	c->has_tsc_aux = HAS(RDTSCP) || HAS(RDPID);
	c->has_xsave = HAS(XSAVE);
	c->has_xgetbv1 = HAS(XGETBV1);
	c->has_lm = HAS(LM);
	c->has_syscall = HAS(SYSCALL);
	engine_cpuid_changed(c, missing_insns(v));

	cr4 = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE |
	      CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	cr4 |= (c->has_umip ? CR4_UMIP : 0) | (c->has_fsgsbase ? CR4_FSGSBASE : 0) |
	       (c->has_pcid ? CR4_PCIDE : 0) | (c->has_xsave ? CR4_OSXSAVE : 0) |
	       (c->has_smep ? CR4_SMEP : 0) | (c->has_smap ? CR4_SMAP : 0) |
	       (HAS(LA57) ? CR4_LA57 : 0) | (HAS(PKU) ? CR4_PKE : 0);
	c->cr4_reserved = ~cr4;
	efer = EFER_SCE | (HAS(FXSR_OPT) ? EFER_FFXSR : 0) | (c->has_lm ? EFER_LME | EFER_LMA : 0) |
	       (c->has_nx ? EFER_NX : 0) | (HAS(AUTO_IBRS) ? BIT64(21) : 0) |
	       (HAS(SVM) ? EFER_SVME : 0);
	c->efer_reserved = ~efer;
#undef HAS

	c->xcr0_supported = 1;
	if (cpuid_find(v, CPUID_L_XSAVE, 0))
		c->xcr0_supported = (cpuid_number(v, CPUID_V_XCR0_LOW) |
				     (u64)cpuid_number(v, CPUID_V_XCR0_HIGH) << 32) &
				    xcr0_host_supported();
	width = cpuid_number(v, CPUID_V_PHYS_BITS);
	/* 36: KVM's guess when nothing is said. */
	c->maxphyaddr = (u8)(!width ? 36 : width < 52 ? width : 52);

	e = cpuid_find(v, CPUID_L_VENDOR, 0);
	v->p->cpuid.amd = !e || VENDOR_IS(e, CPUID_AMD) || VENDOR_IS(e, CPUID_HYGON);
	c->sysenter_in_lm = !v->p->cpuid.amd;
	v->p->cpuid.pv_leaf = pv_leaf(v);
	v->p->cpuid.pv_features =
		v->p->cpuid.pv_leaf ? stored(v, v->p->cpuid.pv_leaf, 0, CPUID_EAX) : 0;
	hyperv_cpuid_changed(v);
	nested_caps(v);
	pmu_refresh(v);
}

void cpuid_update_dynamic(struct vcpu *v)
{
	struct vcpu_cpuid *t = &v->p->cpuid;
	u32 features = 0;

	for (u32 i = 0; i < t->n; i++)
		dynamic(v, &t->e[i]);
	if (!v->lapic)
		return;
	if (cpuid_has(v, CPUID_F_X2APIC))
		features |= LAPIC_HAS_X2APIC;
	if (cpuid_has(v, CPUID_F_TSC_DEADLINE))
		features |= LAPIC_HAS_TSC_DEADLINE;
	if (v->p->msr.mcg_cap & BIT64(10))
		features |= LAPIC_HAS_CMCI;
	if (!t->amd)
		features |= LAPIC_MASKS_LVTPC;
	if (features == t->apic_features && t->apic_lapic == v->lapic)
		return;
	t->apic_features = features;
	t->apic_lapic = v->lapic;
	lapic_set_features(v->lapic, features, v->c->maxphyaddr);
}

static bool same(const struct kvm_cpuid_entry2 *a, const struct kvm_cpuid_entry2 *b)
{
	return a->function == b->function && a->index == b->index && a->flags == b->flags &&
	       a->eax == b->eax && a->ebx == b->ebx && a->ecx == b->ecx && a->edx == b->edx;
}

int vcpu_set_cpuid2(struct vcpu *v, const struct kvm_cpuid_entry2 *e, u32 n)
{
	struct vcpu_cpuid *t = &v->p->cpuid;

	if (n > CPUID_MAX)
		return -E2BIG;
	if (vcpu_frozen(v)) {	/* the same again is all that is allowed */
		cpuid_update_dynamic(v);
		if (n != t->n)
			return -EINVAL;
		for (u32 i = 0; i < n; i++) {
			struct kvm_cpuid_entry2 x = e[i];

			dynamic(v, &x);
			if (!same(&x, &t->e[i]))
				return -EINVAL;
		}
		return 0;
	}
	for (u32 i = 0; i < n; i++) {
		const struct cpuid_number_row *row = &cpuid_number_rows[CPUID_V_LINEAR_BITS];
		u32 bits = e[i].eax >> row->shift & row->mask;

		if (e[i].function == row->leaf && bits && bits != 48 && bits != 57)
			return -EINVAL;
	}
	for (u32 i = 0; i < n; i++) {
		u32 j = i;

		t->e[i] = e[i];
		/* Stable: of several entries for a leaf the first one given wins. */
		for (; j > 0 && t->e[t->order[j - 1]].function > e[i].function; j--)
			t->order[j] = t->order[j - 1];
		t->order[j] = (u16)i;
	}
	t->n = n;
	derive(v);
	t->apic_lapic = NULL;	/* tell it again: the address width may be another one */
	cpuid_update_dynamic(v);
	return 0;
}

/* A new vCPU: no CPUID yet. */
void cpuid_init(struct vcpu *v)
{
	derive(v);
}

int vcpu_get_cpuid2(struct vcpu *v, struct kvm_cpuid_entry2 *e, u32 *n)
{
	struct vcpu_cpuid *t = &v->p->cpuid;

	if (*n < t->n)
		return -E2BIG;
	cpuid_update_dynamic(v);
	for (u32 i = 0; i < t->n; i++)
		e[i] = t->e[i];
	*n = t->n;
	return 0;
}
